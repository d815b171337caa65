/* select/judge.h -- a model marks the answers of others: which ones, what it is asked, what its mark is worth.
 *
 * A judge errs. How often is not a matter of belief: some decisions get the word of the operator as well, and these pairs say how
 * often the judge was on the wrong side. Until there are pairs it is trusted as far as a judge who errs one time in five.
 * Pure. */
#ifndef SBX_SELECT_JUDGE_H
#define SBX_SELECT_JUDGE_H

#include "select/select.h"

struct judge_conf {                     /* global.router.learning.judge */
    struct place at;
    str model, instructions;
    double sample, timeout_seconds, budget_usd;
    int64_t max_in_flight, calls_per_hour;
    struct strings decisions;
    bool judges_itself;
};
extern const struct fields judge_fields;

enum {
    JUDGE_QUESTION_MAX = 6 << 10,       /* bytes; beyond: its middle is left out */
    JUDGE_ANSWER_MAX = 12 << 10,        /* bytes; beyond: its beginning is judged */
};

/* Whether the request of this seed is in the share. Independent of what the seed decides elsewhere. */
bool judge_samples(uint64_t seed, double share);

/* What it is asked. Of an answer longer than JUDGE_ANSWER_MAX it is shown the beginning, and told so. */
void judge_ask(const struct judge_conf *c, uint64_t seed, str question, str answer, struct arena *a, struct select_question *out);

/* The mark as a reward from 0 to 1. False: *why (literal). */
bool judge_read(struct arena *a, str said, double *reward, const char **why);

/* ---- how good it is ---- */

struct agreement { double right, too_kind, too_harsh; };    /* pairs of a judge's and an operator's word on one decision */

void   agreement_add(struct agreement *g, double judge, double operator, double by);    /* by -1: takes it back */
double agreement_pairs(const struct agreement *g);
double agreement_error(const struct agreement *g);          /* share of pairs on different sides of one half; NAN: none */
void   agreement_interval(const struct agreement *g, double *low, double *high);        /* 95 %, Clopper and Pearson */
/* (1 - 2e)^2 of the error to be reckoned with, next to nothing from one half on: so much of an outcome is one of the judge's. A word
 * that is flipped with chance e brings that part of the information of one that is not. */
double agreement_weight(const struct agreement *g);
/* The word of a judge who counts so much, without the pull of its errors to one half: on average the truth. Below 0 and above 1
 * at times, which is what makes it so; at most 5 beyond one half. */
double judge_unbiased(double reward, double weight);
const char *agreement_note(const struct agreement *g);      /* a sentence for people; "" : nothing to say */

/* ---- one answer for everything ---- */

enum { CONSTANT_RING = 1024, CONSTANT_AT = 3 };     /* answers remembered; the same one to so many questions is no answer */

/* 0: too short to tell. Case, spaces and punctuation do not count. */
uint64_t judge_print(str text, bool is_answer);

struct constant { uint64_t model, question, answer; char id[64]; uint8_t id_len; };
struct constants { struct constant items[CONSTANT_RING]; uint32_t n, at; };     /* zero-initialise */

void constants_note(struct constants *c, const struct constant *one);
/* How many different questions the model has answered with that; CONSTANT_AT: so many or more. */
uint32_t constants_count(const struct constants *c, uint64_t model, uint64_t answer);

#endif
