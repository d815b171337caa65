/* tests/fuzz/fuzz_selector.c -- files that selection reads: tables of `train selector` and VSR's trained JSON.
 *
 * The first byte says which. A table gets its right checksum here, or nothing would ever get past it. What loads must predict finite numbers, and save
 * to bytes that load again. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "select/learner.h"
#include "select/select.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void table_try(struct arena *a, const uint8_t *data, size_t size)
{
    struct buf bytes = { 0 };
    struct err e = { 0 };
    buf_add(&bytes, data, size);
    uint64_t hash = hash_stable(buf_view(&bytes), 1);
    buf_add(&bytes, &hash, sizeof hash);
    struct learner *l = learner_load(buf_view(&bytes), &e);
    assert(l || e.text[0]);
    if (l && l->n_models) {
        struct features x;
        struct prediction *p = ARENA_ARRAY(a, struct prediction, l->n_models);
        features_read(&x, a, S("solve the equation in python"));
        learner_predict(l, &x, p, a);
        for (uint32_t m = 0; m < l->n_models; m++)
            assert(isfinite(p[m].score) && isfinite(p[m].quality));
        struct outcome o = { .x = &x, .query = 7, .model = 0, .quality = 1, .cost_usd = 1, .out_tokens = 5, .latency_s = NAN };
        learner_observe(l, &o, 1);
        struct buf again = { 0 };
        learner_save(l, &again);
        struct learner *copy = learner_load(buf_view(&again), &e);
        learner_free(copy);
        buf_free(&again);
    }
    learner_free(l);
    buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = { "knn", "kmeans", "svm", "mlp" };
    struct arena *a = arena_new();
    if (size > 0 && data[0] % 5 == 0) {
        table_try(a, data + 1, size - 1);
    } else if (size > 0) {
        const struct select_ops *ops = select_by_name(str_of(types[data[0] % 5 - 1]));
        struct err e = { 0 };
        const void *trained = ops->load(a, (str){ (const char *)data + 1, size - 1 }, &e);
        assert(trained || e.text[0]);
        static const float embedding[] = { 0.6f, 0.8f };
        struct candidate pool[] = { { .model = S("a"), .is_healthy = true }, { .model = S("b"), .is_healthy = true } };
        for (uint32_t dim = 1; dim <= 2 && trained; dim++) {
            struct select_in in = { .candidates = pool, .n = 2, .trained = trained, .embedding = embedding, .dim = dim };
            struct pick p;
            const char *method;
            select_run(ops, &in, a, &p, &method);
            assert(p.order[0] < 2 && p.order[1] < 2);
        }
    }
    arena_free(a);
    return 0;
}
