/* pipeline/outcomes.h -- which decision an outcome belongs to, however late it comes.
 *
 * A ring of the last decisions with an index by request id. An outcome names the request; what was expected of the chosen model
 * is found here. Every source of outcomes (a failure we saw ourselves, a judge, the user, the operator) has one place a decision:
 * said again it replaces what it said before, so posting twice is posting once, and a correction takes back exactly what it
 * corrects. The best informed source counts. Bounded by number and by age; an outcome that comes after that is told "expired".
 * Not locked. */
#ifndef SBX_OUTCOMES_H
#define SBX_OUTCOMES_H

#include "base/str.h"
#include "select/evidence.h"

enum {
    OUTCOMES_MAX = 1 << 16,             /* decisions remembered; the oldest are forgotten first */
    OUTCOME_ID_MAX = 64,                /* bytes of a request id; longer ones are kept by their hash alone */
};

/* later: better informed */
enum outcome_source { SOURCE_IMPLICIT, SOURCE_JUDGE, SOURCE_USER, SOURCE_OPERATOR, OUTCOME_SOURCES };
extern const char *const outcome_sources[OUTCOME_SOURCES + 1];      /* names; NULL-terminated */

struct verdict_said { float reward, weight; };      /* weight 0: nothing said */

struct remembered {                     /* one decision */
    uint64_t id;                        /* hash of the request's id; 0: free */
    char text[OUTCOME_ID_MAX]; uint8_t text_len;
    uint32_t model;                     /* the learning's own index */
    uint64_t kind, decision, session;
    uint32_t n_arms;                    /* candidates there were */
    float x[CONTEXT_N];                 /* the context it was chosen in */
    uint64_t at_s;                      /* wall clock, seconds */
    float expected;                     /* by the table or the card */
    float mean, deviation;              /* believed with all evidence then */
    float propensity, cost;             /* NAN: not known */
    struct verdict_said said[OUTCOME_SOURCES];
    struct verdict_said counted;        /* what the evidence holds of it now */
    bool is_pending;                    /* nothing came yet, and it is not long ago */
    uint32_t next;                      /* of the index */
};

struct memory {                         /* zero-initialise */
    struct remembered *ring; uint32_t cap, n, at;   /* cap grows to OUTCOMES_MAX */
    uint32_t *heads;                    /* [2 cap] */
    uint32_t oldest_pending;            /* position in the ring */
};

void memory_free(struct memory *m);
/* A place for a new decision, already indexed; the oldest one's if the ring is full. NULL: no memory. `*lost` is what had to go
 * (id 0: nothing). */
struct remembered *memory_add(struct memory *m, str id, struct remembered *lost);
struct remembered *memory_find(const struct memory *m, str id);     /* NULL: not known (any more) */

enum outcome_news { OUTCOME_NEW, OUTCOME_REPEATED, OUTCOME_CORRECTED, OUTCOME_OVERRULED };
/* What a source says now. *add and *take are what the evidence must gain and lose (weight 0: nothing). */
enum outcome_news remembered_say(struct remembered *d, enum outcome_source source, struct verdict_said say,
                                 struct verdict_said *take, struct verdict_said *add);

#endif
