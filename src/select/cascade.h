/* select/cascade.h -- ask one model after another until a judge accepts an answer: in which order, and when to stop. */
#ifndef SBX_SELECT_CASCADE_H
#define SBX_SELECT_CASCADE_H

#include <stdbool.h>
#include <stdint.h>

enum { CASCADE_MAX = 1024 };            /* models; as many as a learner holds */

struct cascade_model { double chance, cost; };  /* of being right, 0 .. 1; of an answer, USD */

struct cascade_terms {
    double price;                       /* quality that one USD is worth; 0: cost does not matter */
    double judge_error;                 /* chance that the judge takes wrong for right, and right for wrong; 0 .. 0.5 */
    double judge_cost;                  /* USD of one judgement */
};

struct cascade {
    uint32_t n;                         /* models that are asked at most */
    uint32_t order[CASCADE_MAX];        /* asked in this order, until an answer is accepted */
    uint32_t n_judged;                  /* the first so many answers are judged: n, or n - 1 when the last one is given as it is */
    uint32_t last;                      /* whose answer is given when the judge accepted none */
    double value;                       /* expected quality - price * cost */
    double quality, cost;               /* both expected */
};

/* The plan of the greatest expected value, were the models' successes independent of each other given the query. n > 0. */
void cascade_plan(const struct cascade_model *m, uint32_t n, const struct cascade_terms *terms, struct cascade *out);

#endif
