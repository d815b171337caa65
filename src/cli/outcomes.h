/* cli/outcomes.h -- recorded outcomes in memory: a folder of queries and of tables with one column a model.
 *
 * queries.jsonl[.gz] (qid, task, text), scores.csv[.gz] (qid, task, model ...; 0 .. 1, empty: missing), and when they are there
 * costs (USD), outtok, outchars, latency (s) of the same shape. The folders of recorded sets look like this, and so may anybody's
 * own logs. */
#ifndef SBX_CLI_OUTCOMES_H
#define SBX_CLI_OUTCOMES_H

#include "select/learner.h"

struct outcomes {
    struct arena *a;
    str name;                           /* of the folder */
    uint32_t n, n_models, n_tasks;
    str *qid, *task, *text;             /* [n] */
    str *tasks;                         /* [n_tasks] distinct */
    str *models;
    struct features *x;                 /* [n]; kind: the task */
    uint64_t *query;                    /* [n] hash of the normalised question: equal texts are one question */
    float *quality, *cost_usd, *out_tokens, *latency_s; /* [n][n_models]; NAN: missing; NULL: no such file */
    float scale;                        /* by which scores were divided: 1, 10 or 100 */
    bool has_text;                      /* some text is not empty */
    str *dropped; uint32_t n_dropped;   /* models left out because costs are known, but not theirs */
    str *constant; uint32_t n_constant; /* models left out because they answer everything alike */
};

/* Reads a folder. 0, or -1 and *e. With keep_costless, models without costs stay. */
int outcomes_read(struct outcomes *o, struct arena *a, const char *folder, bool keep_costless, struct err *e);
struct recorded outcomes_recorded(const struct outcomes *o);
uint32_t outcomes_model(const struct outcomes *o, str name);    /* its column; UINT32_MAX: there is none */

/* What the embedding model of a configuration (NULL: the default's) makes of texts: [n][*dim], as long as the arena lives; with a
 * progress bar. NULL: it has been told why. */
float *outcomes_vectors(struct arena *a, const str *texts, uint32_t n, const char *config, const char *command, uint32_t *dim);

/* fold[i] < n for every row; rows of one question are in one fold. Deterministic by seed. */
void outcomes_deal(const struct outcomes *o, uint32_t n, uint64_t seed, uint32_t *fold);

#endif
