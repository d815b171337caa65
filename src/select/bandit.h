/* select/bandit.h -- to choose well and to learn from the choice.
 *
 * A pick is two pure steps. First every candidate becomes an arm: what we expect of it and how unsure we are. Then the chance of
 * each arm to be the best one (Thompson's rule) is worked out and one die is thrown over these chances. So the propensity that
 * goes into the log is no estimate: it is the number the die was thrown with, and arms and seed are all it takes to throw it
 * again. */
#ifndef SBX_SELECT_BANDIT_H
#define SBX_SELECT_BANDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BANDIT_TOP_MAX = 16, BANDIT_ARMS_MAX = 1024 };

struct arm {                        /* one candidate for one request */
    double mean;                    /* expected value: quality less what cost and time are worth */
    double deviation;               /* of that belief; 0: sure */
    double count;                   /* outcomes behind it */
    uint32_t pending;               /* choices of it whose outcome is still to come */
    bool is_out;                    /* must not be chosen: budget, broken, excluded */
    bool is_screened;               /* has the floor's share alone */
    double share;                   /* of all weight; used by rules that go by shares */
};

struct bandit_rules {
    double scale;                   /* of deviations: 1 is Thompson's rule, 0 is greed */
    /* share of picks spread evenly over all arms, so that every policy can be judged from the log */
    double floor;
    uint32_t top;                   /* arms that survive the screen (Symphony's top L), at most BANDIT_TOP_MAX; 0: that many */
    double margin;                  /* a challenger must promise this much more than `incumbent` to count at all */
    uint32_t incumbent;             /* UINT32_MAX: none */
    bool by_share;                  /* chances are the arms' shares (adversarial bandits); means and deviations are for people */
};

/* chance[i] of each arm to be chosen; sums to 1 unless all are out (then all 0). */
void bandit_chances(const struct bandit_rules *rules, const struct arm *arms, uint32_t n, double *chance);

/* Throws the die. UINT32_MAX: all chances are 0. The same seed and chances give the same arm. */
uint32_t bandit_throw(const double *chance, uint32_t n, uint64_t seed);

/* What is left of a deviation when `pending` more outcomes were already in: choices made before their outcomes come do not all go
 * to the arm that just looks interesting (as Desautels et al. 2014 do for batches). */
double bandit_pending(double deviation, double count, uint32_t pending);

/* ---- what outcomes have added to a trained expectation ---- */

enum { CELLS_MAX = 1 << 16, CELL_ALL = 0 };  /* cells beyond are not made: their outcomes count for the model as a whole alone */

struct cell {                       /* one model on one kind of query (a decision, a domain), or on all of them */
    uint64_t key;                   /* hash of model and kind; 0: empty slot */
    uint64_t kind;
    uint32_t model;
    float wide;                     /* > 0: the trained expectation has been refuted by a change; its deviation is this now */
    double n, rest, squares;        /* outcomes; sum of reward less expectation; of its square */
};

struct cells {                      /* zero-initialise; a hash table, process life */
    struct cell *slots;
    uint32_t cap, used;             /* cap: a power of two */
};

/* A kind is any number the caller has for it (hash of the decision's name and the likeliest kind), CELL_ALL: all kinds of that
 * model. */
void cells_free(struct cells *c);
/* Adds an outcome whose reward was `expected` with weight w to the kind's cell and to the model's; w < 0 takes it back. */
void cells_add(struct cells *c, uint32_t model, uint64_t kind, double reward, double expected, double w);
/* A belief about this request: the expectation and its deviation, moved by what came in since. */
struct belief { double mean, deviation, count; };
struct belief cells_belief(const struct cells *c, uint32_t model, uint64_t kind, double expected, double deviation);
double cells_doubt(const struct cells *c, uint32_t model, double deviation);   /* of an expectation that a change may have refuted */
double reward_noise(double expected);                       /* variance of one reward */
double kind_variance(double deviation);                     /* the kind's part of an expectation's variance */
/* The model has become another one: all of its sums go; the trained expectation counts as doubtful from now on. */
void cells_reset(struct cells *c, uint32_t model);
void cells_fade(struct cells *c, double keep);
bool cells_merge(struct cells *to, const struct cells *from);   /* sums add; false: no memory */
struct cell *cells_at(struct cells *c, uint32_t model, uint64_t kind);   /* found or made; NULL: no memory or CELLS_MAX */

/* ---- linear arms: LinUCB and its Thompson form ---- */

enum { LINEAR_MAX = 24, LINEAR_TRIANGLE = LINEAR_MAX * (LINEAR_MAX + 1) / 2 };

struct linear {                     /* ridge regression of rewards on a context of d numbers */
    uint32_t d;
    double ridge;                   /* precision of the prior */
    double rows[LINEAR_TRIANGLE];   /* sum of w x x', the lower triangle */
    double b[LINEAR_MAX];           /* sum of w x reward */
    double count;                   /* sum of w */
    /* derived from the above when it is asked for: */
    double inverse[LINEAR_MAX * LINEAR_MAX];    /* [d, d] of A = ridge I + rows */
    double solved[LINEAR_MAX];                  /* inverse b */
    bool is_solved;
};

void linear_start(struct linear *l, uint32_t d, double ridge);
void linear_add(struct linear *l, const double *x, double reward, double weight);      /* weight -1 takes a row back */
/* theta is believed to be `prior` (NULL: zeros) before any outcome; count is that of the outcomes. */
struct belief linear_belief(struct linear *l, const double *x, const double *prior);
void linear_merge(struct linear *to, const struct linear *from);    /* rows add up; of the same d */
const double *linear_theta(struct linear *l);                       /* [d], without a prior */
/* What arms have in common: the posterior mean of the mean that their thetas are drawn around, each with precision `ridge` (that
 * of the arms). Every arm is one witness, however often it was asked. The regression `common` gets it as its own theta. */
void linear_witness(struct linear *common, struct linear *arm);

/* Symphony's screen: marks the arms that are not among the `top` best by .50 likeness + .35 success + .15 stability. They keep the
 * floor's share, so propensities stay positive. top 0, or as many as there are: marks none. */
struct screened { double likeness, success, load, latency_ms; bool is_available; };
void bandit_screen(const struct screened *c, uint32_t n, uint32_t top, struct arm *arms);

#endif
