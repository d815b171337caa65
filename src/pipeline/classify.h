/* pipeline/classify.h -- one text, one signal, all that its model says: for `signalbox classify` and /api/v1/classify.
 *
 * The same sources and the same reading as the signals of a policy, without rules: probabilities of every label, spans of every type. */
#ifndef SBX_CLASSIFY_H
#define SBX_CLASSIFY_H

#include "decide/facts.h"
#include "pipeline/models.h"

struct label_score { str label; float score; };
struct found_span { uint32_t from, to; str type; float score; };

struct classification {
    const char *why;                    /* NULL, or why it is not known: "no-model", "timeout" */
    str label; float score;             /* the likeliest; pii: "pii" or "none" with the surest span's score */
    struct label_score *scores; uint32_t n_scores;
    struct found_span *spans; uint32_t n_spans;         /* pii */
    uint32_t n_windows;
};

/* domain, fact_check, user_feedback, jailbreak, modality, pii, language. */
bool classify_knows(str signal);
const char *classify_names(void);       /* for messages: "domain, ..." */
WAITS void classify(struct models *m, str signal, const struct facts *f, uint64_t deadline, struct arena *a, struct classification *out);
/* The same of n texts, asked together, so that the encoder packs them: out[i] is about *f[i]. */
WAITS void classify_many(struct models *m, str signal, const struct facts *const *f, size_t n, uint64_t deadline, struct arena *a,
                         struct classification *out);

#endif
