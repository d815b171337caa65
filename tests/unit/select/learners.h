/* Learners under test: fitted to rows, and asked about a text. */
#ifndef SBX_TEST_LEARNERS_H
#define SBX_TEST_LEARNERS_H

#include <string.h>

#include "select/learner.h"

static inline struct learner *learner_fitted(const char *name, const struct recorded *r)
{
    struct err e = { 0 };
    struct learner *l = learner_new(name, NULL);
    assert_non_null(l);
    assert_int_equal(learner_fit(l, r, &e), 0);
    return l;
}

static inline void ask(const struct learner *l, const char *text, struct prediction *p)
{
    struct arena *a = arena_new();
    struct features x;
    features_read(&x, a, str_of(text));
    memset(p, 0, l->n_models * sizeof *p);      /* so that predictions can be compared as bytes */
    learner_predict(l, &x, p, a);
    arena_free(a);
}

#endif
