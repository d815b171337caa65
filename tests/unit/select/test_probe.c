/* What to think of a newcomer, and whose answers would tell most: against plain arithmetic and against every choice tried. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rand.h"
#include "select/probe.h"

enum { ROWS = 14, MODELS = 5, KINDS = 3, LOTS = 400 };

/* The last model is the newcomer. */
struct set {
    struct recorded r;
    struct features x[LOTS];
    float quality[LOTS * MODELS];
    uint32_t kind[LOTS];
    uint64_t query[LOTS];
    bool is_hidden[MODELS], is_known[LOTS];
    str models[MODELS];
};

static void set_make(struct set *s, uint32_t n, uint32_t n_models, uint32_t n_kinds, uint64_t *seed)
{
    memset(s, 0, sizeof *s);
    s->r = (struct recorded){ .x = s->x, .n = n, .models = s->models, .n_models = n_models, .quality = s->quality, .query = s->query };
    s->is_hidden[n_models - 1] = true;
    for (uint32_t i = 0; i < n; i++) {
        double ease = rand_unit(seed);
        s->kind[i] = (uint32_t)rand_below(seed, n_kinds);
        s->query[i] = 1000 + i;
        for (uint32_t m = 0; m < n_models; m++) {
            double skill = (m + 1.0) / n_models * ((m + s->kind[i]) % 2 ? 0.6 : 1);
            s->quality[i * n_models + m] = rand_unit(seed) < 0.5 * ease + 0.6 * skill ? 1 : 0;
        }
    }
}

static struct newcomer newcomer_of(const struct set *s, uint32_t n_kinds, struct arena *a)
{
    struct newcomer w;
    struct newcomer_prior prior = newcomer_prior(&s->r, s->is_hidden, s->kind, n_kinds);
    assert_true(prior.direction > 0 && prior.kind > 0 && prior.noise > 0 && prior.noise_doubt >= 0);
    assert_true(newcomer_make(&w, &s->r, s->is_hidden, &prior, s->kind, n_kinds, a));
    return w;
}

static float truth(const struct set *s, uint32_t i)
{
    return s->quality[i * s->r.n_models + s->r.n_models - 1];
}

/* ---- beliefs ---- */

/* The same posterior from the normal equations over all outcomes at once: (P + X'X/noise) w = X'(y - expected)/noise, by elimination. */
static void normal_equations(const struct newcomer *w, const double *prior, const struct set *s, uint32_t n, double *belief)
{
    double a[32][33] = { { 0 } };
    for (uint32_t j = 0; j < w->dim; j++)
        a[j][j] = 1 / prior[j];
    for (uint32_t i = 0; i < n; i++) {
        double x[32] = { 0 };
        for (uint32_t j = 0; j < w->rank; j++)
            x[j] = (double)w->place[i][j];
        x[w->rank + w->kind[i]] = (double)w->doubt[i];
        for (uint32_t p = 0; p < w->dim; p++) {
            for (uint32_t q = 0; q < w->dim; q++)
                a[p][q] += x[p] * x[q] / (double)w->noise[i];
            a[p][w->dim] += x[p] * (double)(truth(s, i) - w->expected[i]) / (double)w->noise[i];
        }
    }
    for (uint32_t p = 0; p < w->dim; p++)
        for (uint32_t q = 0; q < w->dim; q++)
            for (uint32_t c = w->dim + 1; q != p && c-- > p;)
                a[q][c] -= a[q][p] * a[p][c] / a[p][p];
    for (uint32_t p = 0; p < w->dim; p++)
        belief[p] = a[p][w->dim] / a[p][p];
}

static void outcomes_one_by_one_are_believed_like_all_at_once(void **state)
{
    (void)state;
    uint64_t seed = 1;
    struct set s;
    struct arena *a = arena_new();
    set_make(&s, ROWS, MODELS, KINDS, &seed);
    struct newcomer w = newcomer_of(&s, KINDS, a);
    double prior[32], want[32];
    assert_true(w.dim <= 32);
    for (uint32_t j = 0; j < w.dim; j++)
        prior[j] = w.spread[j * (w.dim + 1)];
    for (uint32_t i = 0; i < 9; i++)
        newcomer_tell(&w, i, (double)truth(&s, i));
    normal_equations(&w, prior, &s, 9, want);
    for (uint32_t j = 0; j < w.dim; j++)
        assert_true(fabs(w.belief[j] - want[j]) < 1e-6);
    arena_free(a);
}

static void the_mean_of_a_kind_is_the_mean_of_its_rows_and_doubt_shrinks(void **state)
{
    (void)state;
    uint64_t seed = 2;
    struct set s;
    struct arena *a = arena_new();
    set_make(&s, LOTS, MODELS, KINDS, &seed);
    struct newcomer w = newcomer_of(&s, KINDS, a);
    double before[KINDS];
    for (uint32_t h = 0; h < KINDS; h++)
        before[h] = newcomer_kind(&w, h).deviation;
    for (uint32_t i = 0; i < LOTS; i++)
        newcomer_tell(&w, i, (double)truth(&s, i));
    for (uint32_t h = 0; h < KINDS; h++) {
        double rows = 0, real = 0, n = 0;
        for (uint32_t i = 0; i < LOTS; i++)
            if (s.kind[i] == h)
                rows += newcomer_row(&w, i), real += (double)truth(&s, i), n++;
        struct guess g = newcomer_kind(&w, h);
        assert_true(fabs(g.mean - rows / n) < 1e-4);
        assert_true(g.deviation < 0.5 * before[h]);
        assert_true(fabs(g.mean - real / n) < 4 * g.deviation);     /* what it has seen it does not contradict */
    }
    arena_free(a);
}

static void only_what_is_sure_is_put_before_the_others(void **state)
{
    (void)state;
    uint64_t seed = 3;
    struct set s;
    struct arena *a = arena_new();
    set_make(&s, LOTS, MODELS, KINDS, &seed);
    struct newcomer w = newcomer_of(&s, KINDS, a);
    double less[NEWCOMER_KINDS + 1];
    for (uint32_t i = 0; i < 60; i++)
        newcomer_tell(&w, i, s.kind[i] == 0 ? 1 : 0);                /* right on the first kind, nowhere else */
    newcomer_doubts(&w, 1, less);
    assert_true(newcomer_kind(&w, 0).mean > w.of[0].best && less[0] == 0);
    for (uint32_t h = 1; h < KINDS; h++)
        assert_true(newcomer_kind(&w, h).mean - less[h] < w.of[h].best);
    newcomer_doubts(&w, 1000, less);                                /* nobody is that sure */
    for (uint32_t h = 0; h < w.n_kinds; h++)
        assert_true(w.of[h].share == 0 || newcomer_kind(&w, h).mean - less[h] < w.of[h].best);
    arena_free(a);
}

static void empty_cells_are_filled_and_known_ones_stay(void **state)
{
    (void)state;
    uint64_t seed = 4;
    struct set s;
    struct arena *a = arena_new();
    set_make(&s, LOTS, MODELS, KINDS, &seed);
    float before[LOTS * MODELS];
    for (uint32_t i = 20; i < LOTS; i++)
        s.quality[i * MODELS + MODELS - 1] = NAN;
    memcpy(before, s.quality, sizeof before);
    struct newcomer w = newcomer_of(&s, KINDS, a);
    for (uint32_t i = 0; i < 20; i++)
        newcomer_tell(&w, i, (double)truth(&s, i));
    newcomer_fill(&w, &s.r, MODELS - 1, 1, s.quality);
    for (uint32_t c = 0; c < LOTS * MODELS; c++)
        assert_true(isnan(before[c]) ? isfinite(s.quality[c]) : s.quality[c] == before[c]);
    arena_free(a);
}

/* ---- choices ---- */

static double best_of_all(const struct newcomer *w, uint32_t size)
{
    double best = 0;
    for (uint32_t set = 0; set < 1u << ROWS; set++) {
        uint32_t rows[ROWS], n = 0;
        for (uint32_t i = 0; i < ROWS; i++)
            if (set >> i & 1)
                rows[n++] = i;
        if (n == size)
            best = fmax(best, probe_share(w, rows, n));
    }
    return best;
}

static void the_greedy_choice_is_near_the_best_of_all_choices(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (uint32_t turn = 0; turn < 12; turn++) {
        struct set s;
        struct arena *a = arena_new();
        set_make(&s, ROWS, MODELS, KINDS, &seed);
        struct newcomer w = newcomer_of(&s, KINDS, a);
        for (uint32_t size = 1; size <= 4; size++) {
            uint32_t rows[4];
            double share[4], whole = 0;
            assert_int_equal(probe_choose(&w, &s.r, s.is_known, size, 0, 1, rows, share), size);
            for (uint32_t i = 0; i < size; i++)
                whole += share[i];
            double got = probe_share(&w, rows, size), best = best_of_all(&w, size);
            assert_true(fabs(whole - got) < 1e-9 && got > 0 && got <= 1);
            assert_true(size == 1 ? fabs(got - best) < 1e-9 : got >= 0.85 * best);
        }
        arena_free(a);
    }
}

static void rows_are_chosen_once_and_known_ones_not_at_all(void **state)
{
    (void)state;
    uint64_t seed = 6;
    struct set s;
    struct arena *a = arena_new();
    set_make(&s, ROWS, MODELS, KINDS, &seed);
    struct newcomer w = newcomer_of(&s, KINDS, a);
    uint32_t rows[2 * ROWS];
    s.is_known[3] = s.is_known[7] = true;
    s.query[5] = s.query[6];                                        /* one question that stands there twice */
    assert_int_equal(probe_choose(&w, &s.r, s.is_known, 2 * ROWS, PROBE_CHECKS, 1, rows, NULL), ROWS - 3);
    bool is_chosen[ROWS] = { false };
    for (uint32_t i = 0; i < ROWS - 3; i++) {
        assert_true(rows[i] < ROWS && !s.is_known[rows[i]] && !is_chosen[rows[i]]);
        is_chosen[rows[i]] = true;
    }
    assert_true(is_chosen[5] != is_chosen[6]);
    assert_int_equal(probe_choose(&w, &s.r, s.is_known, 0, 0, 1, rows, NULL), 0);
    arena_free(a);
}

static void every_third_row_is_drawn_by_chance(void **state)
{
    (void)state;
    uint64_t seed = 11;
    struct set s;
    struct arena *a = arena_new();
    set_make(&s, LOTS, MODELS, KINDS, &seed);
    struct newcomer w = newcomer_of(&s, KINDS, a);
    uint32_t greedy[3], rows[3], other = 0, is_easy = 0;
    assert_int_equal(probe_choose(&w, &s.r, s.is_known, 3, 0, 1, greedy, NULL), 3);
    for (uint64_t by = 1; by <= 200; by++) {
        assert_int_equal(probe_choose(&w, &s.r, s.is_known, 3, 3, by, rows, NULL), 3);
        assert_true(rows[0] == greedy[0] && rows[1] == greedy[1]);
        other += rows[2] != greedy[2];
        is_easy += w.expected[rows[2]] > 0.99f;         /* rows that all good models get right are never chosen, but drawn */
    }
    assert_true(other > 190 && is_easy > 10 && w.expected[greedy[0]] < 0.99f && w.expected[greedy[1]] < 0.99f);
    arena_free(a);
}

static void a_row_that_all_get_right_tells_less_than_one_that_parts_them(void **state)
{
    (void)state;
    uint64_t seed = 7;
    struct set s;
    struct arena *a = arena_new();
    set_make(&s, LOTS, MODELS, 1, &seed);
    for (uint32_t m = 0; m < MODELS; m++) {
        s.quality[0 * MODELS + m] = 1;
        s.quality[1 * MODELS + m] = m >= 2 ? 1 : 0;
    }
    struct newcomer w = newcomer_of(&s, 1, a);
    uint32_t easy = 0, parting = 1;
    assert_true(probe_share(&w, &parting, 1) > probe_share(&w, &easy, 1));
    arena_free(a);
}

static void every_kind_with_traffic_is_asked(void **state)
{
    (void)state;
    uint64_t seed = 8;
    struct set s;
    struct arena *a = arena_new();
    set_make(&s, LOTS, MODELS, 8, &seed);
    struct newcomer w = newcomer_of(&s, 8, a);
    uint32_t rows[40], asked[8] = { 0 };
    assert_int_equal(probe_choose(&w, &s.r, s.is_known, 40, PROBE_CHECKS, 1, rows, NULL), 40);
    for (uint32_t i = 0; i < 40; i++)
        asked[s.kind[rows[i]]]++;
    for (uint32_t h = 0; h < 8; h++)
        assert_true(asked[h] > 0);
    arena_free(a);
}

static void a_kind_that_the_newcomer_has_lost_is_asked_less(void **state)
{
    (void)state;
    uint64_t seed = 9;
    struct set s;
    struct arena *a = arena_new();
    set_make(&s, LOTS, MODELS, 2, &seed);
    struct newcomer w = newcomer_of(&s, 2, a);
    double before[NEWCOMER_KINDS + 1], after[NEWCOMER_KINDS + 1];
    probe_weigh(&w, before);
    for (uint32_t i = 0; i < 120; i++)
        newcomer_tell(&w, i, s.kind[i] == 0 ? 0 : w.of[1].best > 0.5 ? i % 3 != 0 : i % 3 == 0);
    probe_weigh(&w, after);
    assert_true(after[0] < before[0] && after[1] > before[1]);
    assert_true(fabs(after[0] + after[1] + after[2] - 1) < 1e-9);
    arena_free(a);
}

/* ---- sets that say little ---- */

static void sets_without_variety_are_no_trouble(void **state)
{
    (void)state;
    for (uint32_t shape = 0; shape < 5; shape++) {
        uint64_t seed = 10 + shape;
        struct set s;
        struct arena *a = arena_new();
        uint32_t n = shape == 4 ? 1 : 50, k = shape == 0 ? 1 : shape == 1 ? 2 : MODELS, rows[60];
        double share[60];
        set_make(&s, n, k, KINDS, &seed);
        s.is_hidden[k - 1] = shape != 0;        /* a single other model, and a newcomer that has no column */
        for (uint32_t c = 0; c < n * k && (shape == 2 || shape == 3); c++)
            s.quality[c] = shape == 2 ? 1 : NAN;        /* all right; or nobody's outcomes known */
        for (uint32_t i = 0; shape == 3 && i < n; i++)
            s.kind[i] = UINT32_MAX;
        struct newcomer w = newcomer_of(&s, KINDS, a);
        assert_int_equal(probe_choose(&w, &s.r, s.is_known, 60, PROBE_CHECKS, 1, rows, share), n);
        for (uint32_t i = 0; i < n; i++) {
            assert_true(isfinite(share[i]) && share[i] >= -1e-9 && share[i] <= 1);
            newcomer_tell(&w, rows[i], i % 2);
        }
        for (uint32_t h = 0; h < w.n_kinds; h++) {
            struct guess g = newcomer_kind(&w, h);
            assert_true(isfinite(g.mean) && isfinite(g.deviation));
        }
        arena_free(a);
    }
}

static void many_kinds_are_gathered_and_many_models_passed_over(void **state)
{
    (void)state;
    enum { MANY = 90, THOSE = 80 };
    struct arena *a = arena_new();
    uint64_t seed = 20;
    uint32_t n = 3 * MANY + 7, *kind = ARENA_ARRAY(a, uint32_t, n), rows[10];
    float *quality = arena_alloc(a, n * THOSE * sizeof *quality);
    bool *is_hidden = ARENA_ARRAY(a, bool, THOSE), *is_known = ARENA_ARRAY(a, bool, n);
    struct recorded r = { .x = ARENA_ARRAY(a, struct features, n), .n = n, .models = ARENA_ARRAY(a, str, THOSE), .n_models = THOSE,
                          .quality = quality };
    for (uint32_t i = 0; i < n; i++) {
        kind[i] = i < 3 * MANY ? i % MANY : MANY - 1;               /* the last kind is the largest */
        for (uint32_t m = 0; m < THOSE; m++)
            quality[i * THOSE + m] = rand_unit(&seed) < (m + 1.0) / THOSE;
    }
    struct newcomer w;
    struct newcomer_prior prior = newcomer_prior(&r, is_hidden, kind, MANY);
    assert_true(newcomer_make(&w, &r, is_hidden, &prior, kind, MANY, a));
    assert_int_equal(w.n_kinds, NEWCOMER_KINDS + 1);
    assert_true(fabs(w.of[0].share - 10.0 / n) < 1e-9);             /* the largest comes first */
    assert_true(fabs(w.of[NEWCOMER_KINDS].share - 3.0 * (MANY - NEWCOMER_KINDS) / n) < 1e-9);
    assert_int_equal(probe_choose(&w, &r, is_known, 10, PROBE_CHECKS, 1, rows, NULL), 10);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_one_by_one_are_believed_like_all_at_once),
        cmocka_unit_test(the_mean_of_a_kind_is_the_mean_of_its_rows_and_doubt_shrinks),
        cmocka_unit_test(only_what_is_sure_is_put_before_the_others),
        cmocka_unit_test(empty_cells_are_filled_and_known_ones_stay),
        cmocka_unit_test(the_greedy_choice_is_near_the_best_of_all_choices),
        cmocka_unit_test(rows_are_chosen_once_and_known_ones_not_at_all),
        cmocka_unit_test(every_third_row_is_drawn_by_chance),
        cmocka_unit_test(a_row_that_all_get_right_tells_less_than_one_that_parts_them),
        cmocka_unit_test(every_kind_with_traffic_is_asked),
        cmocka_unit_test(a_kind_that_the_newcomer_has_lost_is_asked_less),
        cmocka_unit_test(sets_without_variety_are_no_trouble),
        cmocka_unit_test(many_kinds_are_gathered_and_many_models_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
