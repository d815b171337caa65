/* Gates: models that come one by one, and what is forgotten. With a folder of recorded outcomes as argument, the same experiment
 * on its queries, each kind being a model: build/unit/select/test_gates DIR. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "cli/outcomes.h"
#include "select/words.h"
#include "learners.h"

enum { AGENTS = 6, TEXTS = 150, VOCABULARY = 40, EPOCHS = 5 };

struct texts { struct arena *a; struct features *x; uint32_t *agent, n, n_agents; str *names; };

/* Texts of agents with a vocabulary of their own, a third of the words being everybody's; too short to have a beginning. */
static struct texts texts_make(uint64_t seed)
{
    struct texts t = { .a = arena_new(), .n = AGENTS * TEXTS, .n_agents = AGENTS };
    t.x = ARENA_ARRAY(t.a, struct features, t.n);
    t.agent = ARENA_ARRAY(t.a, uint32_t, t.n);
    t.names = ARENA_ARRAY(t.a, str, AGENTS);
    for (uint32_t k = 0; k < AGENTS; k++)
        t.names[k] = arena_printf(t.a, "agent %u", k);
    for (uint32_t i = 0; i < t.n; i++) {
        str text = S("");
        t.agent[i] = i % AGENTS;
        for (uint32_t w = 0; w < 9; w++)
            text = arena_printf(t.a, STR_FMT " %c%02u", STR_ARG(text), w % 3 ? 'a' + (int)t.agent[i] : 'w',
                                (unsigned)rand_below(&seed, VOCABULARY));
        features_read(&t.x[i], t.a, text);
    }
    return t;
}

enum part { TRAIN, TEST, BACKGROUND };  /* three fifths, one, one */

static enum part part_of(uint32_t i)
{
    uint64_t seed = i;
    uint64_t die = rand_below(&seed, 5);
    return die < 3 ? TRAIN : die == 3 ? TEST : BACKGROUND;
}

/* Gates after the background alone: no model yet. */
static struct learner *gates_bare(const struct texts *t)
{
    uint32_t *rows = ARENA_ARRAY(t->a, uint32_t, t->n), n = 0;
    for (uint32_t i = 0; i < t->n; i++)
        if (part_of(i) == BACKGROUND)
            rows[n++] = i;
    struct err e = { 0 };
    struct learner *l = learner_new("gates", NULL);
    assert_int_equal(learner_fit(l, &(struct recorded){ .x = t->x, .n = t->n, .rows = rows, .n_rows = n }, &e), 0);
    return l;
}

static void agent_add(struct learner *l, const struct texts *t, uint32_t agent)
{
    uint32_t m = learner_model(l, t->names[agent]);
    for (uint32_t i = 0; i < t->n; i++)
        if (part_of(i) == TRAIN && t->agent[i] == agent)
            learner_observe(l, &(struct outcome){ .x = &t->x[i], .model = m, .quality = 1, .cost_usd = NAN, .out_tokens = NAN,
                                                  .latency_s = NAN }, 1);
}

struct figures { double all, first; };  /* share of test texts that go to their agent; of the first agent's */

static struct figures gates_judge(const struct learner *l, const struct texts *t, uint32_t first)
{
    struct figures f = { 0, 0 };
    double n = 0, n_first = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        if (part_of(i) != TEST)
            continue;
        struct arena *a = arena_new();
        struct prediction *p = ARENA_ARRAY(a, struct prediction, l->n_models);
        uint32_t best = 0;
        learner_predict(l, &t->x[i], p, a);
        for (uint32_t m = 1; m < l->n_models; m++)
            best = p[m].score > p[best].score ? m : best;
        bool is_right = str_eq(l->models[best], t->names[t->agent[i]]);
        f.all += is_right, n++;
        if (t->agent[i] == first)
            f.first += is_right, n_first++;
        arena_free(a);
    }
    return (struct figures){ f.all / n, f.first / n_first };
}

/* The control: one softmax over all agents, by stochastic descent; a new agent's rows are all it gets to see, or all at once. */
static struct figures softmax(const struct texts *t, const uint32_t *order, bool at_once)
{
    struct words words = { 0 };
    uint32_t k = t->n_agents, *rows = ARENA_ARRAY(t->a, uint32_t, t->n);
    size_t weights = (size_t)WORDS_DIMS * k;
    float *w = ARENA_ARRAY(t->a, float, weights), *bias = ARENA_ARRAY(t->a, float, k);
    struct gram *x = ARENA_ARRAY(t->a, struct gram, FEATURE_GRAMS_MAX);
    double *p = ARENA_ARRAY(t->a, double, k), n_test = 0, n_first = 0;
    struct figures f = { 0, 0 };
    uint64_t seed = 5;
    assert_true(words_fit(&words, &(struct recorded){ .x = t->x, .n = t->n }));
    for (uint32_t step = 0; step < (at_once ? 1 : k) + 1; step++) {
        bool is_test = step == (at_once ? 1 : k);
        uint32_t n = 0;
        for (uint32_t i = 0; i < t->n; i++)
            if (is_test ? part_of(i) == TEST : part_of(i) == TRAIN && (at_once || t->agent[i] == order[step]))
                rows[n++] = i;
        for (uint32_t visit = 0; visit < (is_test ? n : EPOCHS * n); visit++) {
            uint32_t i = rows[is_test ? visit : (uint32_t)rand_below(&seed, n)], grams = words_read(&words, &t->x[i], x), best = 0;
            double most = -HUGE_VAL, sum = 0;
            for (uint32_t m = 0; m < k; m++) {
                p[m] = (double)bias[m];
                for (uint32_t g = 0; g < grams; g++)
                    p[m] += (double)(x[g].value * w[(size_t)x[g].bucket * k + m]);
                best = p[m] > p[best] ? m : best;
                most = fmax(most, p[m]);
            }
            if (is_test) {
                f.all += best == t->agent[i], n_test++;
                f.first += t->agent[i] == order[0] && best == t->agent[i], n_first += t->agent[i] == order[0];
                continue;
            }
            for (uint32_t m = 0; m < k; m++)
                sum += p[m] = exp(p[m] - most);
            for (uint32_t m = 0; m < k; m++) {
                float slope = (float)(p[m] / sum - (m == t->agent[i]));
                bias[m] -= 0.1f * slope;
                for (uint32_t g = 0; g < grams; g++)
                    w[(size_t)x[g].bucket * k + m] -= slope * x[g].value;
            }
        }
    }
    words_clear(&words);
    return (struct figures){ f.all / n_test, f.first / n_first };
}

/* Does what `one` ends with, the sums of its only model, stand in `all`, too? */
static bool is_kept(const struct buf *one, const struct buf *all)
{
    enum { HASH = 8, SUMS = 1000 };
    assert_true(one->len > HASH + SUMS);
    return memmem(all->ptr, all->len, one->ptr + one->len - HASH - SUMS, SUMS) != NULL;
}

struct stream { struct figures gates, in_turn, at_once; bool is_first_the_same; };

/* Agents come in that order; in the end the first one's gate is what it was when it was alone, or not. */
static struct stream stream_run(const struct texts *t, const uint32_t *order)
{
    struct learner *l = gates_bare(t);
    struct buf before = { 0 }, after = { 0 };
    agent_add(l, t, order[0]);
    learner_save(l, &before);
    for (uint32_t k = 1; k < t->n_agents; k++)
        agent_add(l, t, order[k]);
    learner_save(l, &after);
    struct stream s = { .gates = gates_judge(l, t, order[0]), .in_turn = softmax(t, order, false), .at_once = softmax(t, order, true),
                        .is_first_the_same = is_kept(&before, &after) };
    buf_free(&before);
    buf_free(&after);
    learner_free(l);
    return s;
}

static void order_deal(uint32_t *order, uint32_t n, uint64_t seed)
{
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t at = (uint32_t)rand_below(&seed, i), was = order[i - 1];
        order[i - 1] = order[at];
        order[at] = was;
    }
}

/* ---- claims ---- */

static void gates_remember_what_a_softmax_forgets(void **state)
{
    (void)state;
    struct texts t = texts_make(1);
    uint32_t order[AGENTS];
    order_deal(order, AGENTS, 1);
    struct stream s = stream_run(&t, order);
    assert_true(s.is_first_the_same);
    assert_true(s.gates.all >= 0.9 && s.gates.first >= 0.9);
    assert_true(s.gates.all >= 0.88 * s.at_once.all);
    assert_true(s.in_turn.all < 0.4);           /* the control: the trouble is there */
    assert_true(s.in_turn.first < 0.2);
    arena_free(t.a);
}

static void who_comes_later_moves_no_score_of_an_open_gate(void **state)
{
    (void)state;
    struct texts t = texts_make(2);
    struct learner *l = gates_bare(&t);
    struct prediction before[AGENTS], after[AGENTS];
    agent_add(l, &t, 0);
    agent_add(l, &t, 1);
    ask(l, "a0w1 a0w2 a0w3 w1", before);
    assert_true(before[0].score > before[1].score);
    for (uint32_t k = 2; k < AGENTS; k++)
        agent_add(l, &t, k);
    ask(l, "a0w1 a0w2 a0w3 w1", after);
    assert_memory_equal(&before[0].score, &after[0].score, sizeof(float));
    assert_memory_equal(&before[1].score, &after[1].score, sizeof(float));
    l->ops->forget(l, 1, 0);                    /* and who goes takes nothing along */
    ask(l, "a0w1 a0w2 a0w3 w1", after);
    assert_memory_equal(&before[0].score, &after[0].score, sizeof(float));
    learner_free(l);
    arena_free(t.a);
}

static void where_no_gate_opens_the_best_single_model_answers(void **state)
{
    (void)state;
    struct texts t = texts_make(3);
    static const str models[] = { S("one"), S("two") };
    size_t cells = 2ull * t.n;
    float *quality = ARENA_ARRAY(t.a, float, cells);
    for (uint32_t i = 0; i < t.n; i++) {        /* nobody can do agent 5's texts; two is better on the whole */
        quality[2 * i] = t.agent[i] == 0;
        quality[2 * i + 1] = t.agent[i] > 0 && t.agent[i] < 5;
    }
    struct err e = { 0 };
    struct learner *l = learner_new("gates", NULL);
    assert_int_equal(learner_fit(l, &(struct recorded){ .x = t.x, .n = t.n, .models = models, .n_models = 2, .quality = quality }, &e),
                     0);
    struct prediction p[2], other[2];
    ask(l, "a01 a02 a03", p);
    assert_true(p[0].score > p[1].score);
    ask(l, "f01 f02 f03 f04 f05 f06", p);
    ask(l, "f07 f08 f09 f10 f11", other);
    assert_true(p[1].score > p[0].score);
    assert_memory_equal(p, other, sizeof p);    /* the mean, whatever the text */
    learner_free(l);
    arena_free(t.a);
}

/* ---- the experiment on recorded outcomes ---- */

static int folder_run(const char *folder)
{
    struct arena *a = arena_new();
    struct outcomes o;
    struct err e = { 0 };
    if (!a || outcomes_read(&o, a, folder, true, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    struct texts t = { .a = a, .x = o.x, .n = o.n, .n_agents = o.n_tasks, .names = o.tasks };
    t.agent = ARENA_ARRAY(a, uint32_t, o.n);
    for (uint32_t i = 0; i < o.n; i++)
        while (!str_eq(o.tasks[t.agent[i]], o.task[i]))
            t.agent[i]++;
    printf("%u texts, %u kinds as agents; share that goes to its agent, all / of the first agent\n", t.n, t.n_agents);
    for (uint32_t k = 0; k < 5; k++) {
        uint32_t *order = ARENA_ARRAY(a, uint32_t, t.n_agents);
        order_deal(order, t.n_agents, k + 1);
        struct stream s = stream_run(&t, order);
        printf("order %u: gates %.3f / %.3f (first gate %s), softmax in turn %.3f / %.3f, at once %.3f / %.3f\n", k + 1, s.gates.all,
               s.gates.first, s.is_first_the_same ? "the same to the bit" : "CHANGED", s.in_turn.all, s.in_turn.first, s.at_once.all,
               s.at_once.first);
    }
    arena_free(a);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_remember_what_a_softmax_forgets),
        cmocka_unit_test(who_comes_later_moves_no_score_of_an_open_gate),
        cmocka_unit_test(where_no_gate_opens_the_best_single_model_answers),
    };
    return argc > 1 ? folder_run(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
