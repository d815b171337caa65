/* pipeline/judge.h -- a share of the answers is marked by a model, behind the client's back and after it has its answer.
 *
 *   learning_adapt   r->sample = judge_begin(r);            by the request's seed; NULL for the rest, who pay one look at a pointer
 *   relay, translate sample_delta / sample_reply / ...      keep the beginning of the text that goes by
 *   account_finish   judge_offer(r);                        puts it in the queue, which a few fibers empty
 *
 * The mark goes through the same door as POST /api/v1/outcomes, with the source `judge` and the weight that the judge has earned
 * (select/judge.h). */
#ifndef SBX_PIPELINE_JUDGE_H
#define SBX_PIPELINE_JUDGE_H

#include "pipeline/req.h"
#include "select/judge.h"

enum { JUDGE_WAITING_MAX = 64 };        /* answers that wait to be judged, 20 KB each; beyond: dropped and counted */

struct judge {                          /* of a snapshot */
    const struct judge_conf *conf;
    struct caller *payer;               /* a key of its own, whose limits are its budget */
};

/* NULL: the configuration has none, or it takes no sample. */
struct judge *judge_build(struct arena *a, const struct value *v);
void judge_check(const struct snap *s, struct findings *out);   /* what it names is there */

/* ---- the text of an answer, as far as it is kept ---- */

struct sample {
    char text[JUDGE_ANSWER_MAX + 1];    /* one byte more than is shown: the judge is told that there is more */
    size_t len;
    uint32_t block;                     /* open block of text, of a stream */
    void *reader;                       /* of a stream of OpenAI's chat that passes through */
    enum stop_reason stop;
    bool has_tools;
};

struct sample *judge_begin(struct req *r);      /* NULL: not this one */
void sample_delta(void *sample, const struct delta *d);         /* a delta_sink's take */
void sample_reply(struct sample *s, const struct reply *reply);
void sample_chat(struct req *r, str json_text);                 /* a whole answer of OpenAI's chat */
void sample_chat_event(struct req *r, str data);                /* one event of its stream */

/* At the request's end. Never waits. */
void judge_offer(struct req *r);
bool judge_is_at_work(void);                    /* some fiber of its own is in the middle of a judgement; any thread */

#endif
