/* signal/neural.h -- what the signals that ask models share: settings, sources, and reading the answers.
 *
 * A signal that needs an answer and does not get one leaves its slots unknown and says why; it never counts as "no". Reasons
 * are those of need.h, and here: "no-model" (nobody serves that role), "off" (its module is switched off), "bad-labels" (the
 * model's labels mean nothing to the signal), "no-examples" (the examples could not be embedded), "bad-answer" (not finite),
 * "not-asked". */
#ifndef SBX_SIGNAL_NEURAL_H
#define SBX_SIGNAL_NEURAL_H

#include "signal/bank.h"
#include "signal/models.h"
#include "signal/rule.h"

/* The map at global.model_catalog.PATH, decoded over the table's defaults into *dst. Returns the map, NULL if it is not there. */
const struct value *neural_settings(struct signal_build *b, const char *path, const struct fields *f, void *dst);

/* What the modules that name a classifier have in common. */
struct neural_module { bool enabled; str model_ref, model_id; double threshold; };

/* Never NULL; why_absent says that nobody serves it. */
const struct need_source *neural_source(struct signal_build *b, enum need_kind kind, const char *role, str model,
                                        const struct value *options);
/* By model_id, else by the entry of model_catalog.system that model_ref names, else the role's default. */
const struct need_source *neural_module_source(struct signal_build *b, enum need_kind kind, const char *role,
                                               const struct neural_module *m, const struct value *options);
const struct need_source *neural_embedding_source(struct signal_build *b);  /* of model_catalog.embeddings.semantic */

/* The ask of a unit whose state begins with its source: the evaluation text, if there is one. */
void neural_ask_text(const void *state, const struct facts *f, const uint64_t *wanted, struct needs *needs);

/* A unit that asks `texts` texts of a source. */
struct signal_unit *neural_unit(struct signal_build *b, const char *type, const struct need_source *s, uint32_t texts);
/* From now on all slots of the unit are unknown, and why. Nothing is asked. */
void neural_absent(struct signal_build *b, struct signal_unit *u, const char *why);
const char *neural_why_absent(const struct need_source *s);     /* NULL: it is there and well formed */

/* Embeds what was collected. False: that failed, and the unit has been made absent. examples_drop is the caller's. */
bool neural_embed(struct signal_build *b, struct signal_unit *u, struct examples *e);

/* What guards read: the evaluation text and, as a rule says, what tools brought since the assistant last spoke, and the history: earlier
 * user texts, the others' (system, developer, assistant), earlier results. Of each the latest NEURAL_TURNS_MAX: a conversation of
 * thousands of turns stays a bounded question. Results that are JSON are unfolded (unfold.h). No empty ones; in a. */
enum { NEURAL_TURNS_MAX = 128 };
enum { READS_HISTORY = 1, READS_RESULTS = 2, READS_N = 4 };     /* flags, and how many sets of them there are */
struct content { str text; uint32_t result; /* which of the tools' results in the request, from 1; 0: none of them */ };
struct contents { struct content *items; size_t n; };
struct contents neural_contents(const struct facts *f, unsigned reads, struct arena *a);
/* For people, behind what was found: " in tool result 2 of 3", "" for other texts. */
str neural_place(const struct facts *f, uint32_t result, struct arena *a);
static inline unsigned neural_reads(bool history, bool results)
{
    return (history ? READS_HISTORY : 0) | (results ? READS_RESULTS : 0);
}

/* ---- answers; NULL: nothing to look at (the text is empty), or unknown, then *why is set ---- */

const struct need *neural_answer(const struct facts *f, const struct need_source *s, str text, const char **why);
/* [dim], length 1. A text of several windows is the mean of their vectors: thresholds are chosen for one vector a text. */
const float *neural_vector(const struct facts *f, const struct need_source *s, str text, struct arena *a, const char **why);
/* [n_labels]: the mean over the windows, or nearer to the largest (need_source.window_share). */
const float *neural_labels(const struct facts *f, const struct need_source *s, str text, struct arena *a, const char **why);

/* ---- labels ---- */

/* One meaning and how models spell it. Case counts for nothing, '_', '-' and ' ' are the same; a BIO prefix is skipped. */
struct neural_spelling { const char *label; int meaning; };
bool neural_label_is(str label, str name);
str neural_label_base(str label);       /* without a BIO prefix */
int neural_meaning(str label, const struct neural_spelling *list, size_t n);    /* -1: none */
/* [n_labels] meanings of a source's labels in a; NULL: one of those in `required` (bit m: meaning m) is not among them. */
const int *neural_meanings(struct arena *a, const struct need_source *s, const struct neural_spelling *list, size_t n,
                           uint64_t required);
uint32_t neural_best(const float *values, uint32_t n);          /* index of the largest */

static inline void neural_unknown(struct sigset *out, uint32_t slot, const char *why)
{
    out->why_unknown[slot] = why;
}

/* Unknown for a reason, or without one known not to match: there was nothing to look at. */
static inline void neural_silent(struct sigset *out, uint32_t slot, const char *why)
{
    if (why)
        neural_unknown(out, slot, why);
    else
        sig_set(out, slot, false);
}

#endif
