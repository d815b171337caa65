/* VSR's selectors that read a trained file or a card, with files as its trainer writes them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "select/learner.h"
#include "select/select.h"

static struct arena *a;

static int set_up(void **state)    { (void)state; a = arena_new(); return 0; }
static int tear_down(void **state) { (void)state; arena_free(a); return 0; }

static struct candidate pool[] = {
    { .model = S("a"), .quality = .9, .prompt_price = 10, .completion_price = NAN, .is_healthy = true },
    { .model = S("b"), .quality = .7, .prompt_price = .5, .completion_price = NAN, .is_healthy = true },
    { .model = S("c"), .quality = .5, .prompt_price = .1, .completion_price = NAN, .is_healthy = true },
};

static const void *load(const char *type, const char *file, struct err *e)
{
    const struct select_ops *ops = select_by_name(str_of(type));
    assert_non_null(ops->load);
    assert_non_null(ops->file_key);
    return ops->load(a, str_of(file), e);
}

static struct pick pick(const char *type, const void *trained, const float *embedding, uint32_t dim, const char *category)
{
    struct pick p = { 0 };
    const char *method;
    struct select_in in = { .candidates = pool, .n = 3, .trained = trained, .embedding = embedding, .dim = dim, .category =
                            str_of(category), .seed = 1 };
    select_run(select_by_name(str_of(type)), &in, a, &p, &method);
    return p;
}

#define ZEROS "0,0,0,0,0,0,0,0,0,0,0,0,0"

static const char knn_file[] = "{\"algorithm\":\"knn\",\"trained\":true,\"k\":3,\"embeddings\":[[1,0," ZEROS ",1],[0.9,0.1," ZEROS ",1],[0,1," ZEROS ",1],"
                               "[0.1,0.9," ZEROS ",1]],\"labels\":[\"a\",\"b\",\"b\",\"b\"],\"qualities\":[1,0.2,0.9,0.8],\"latencies\":[1,2,1,1]}";
static const char kmeans_file[] = "{\"algorithm\":\"kmeans\",\"trained\":true,\"num_clusters\":2,\"centroids\":[[1,0," ZEROS ",1],[0,1," ZEROS ",1]],"
                                  "\"cluster_models\":[\"c\",\"a\"]}";
static const char svm_file[] = "{\"algorithm\":\"svm\",\"kernel_type\":\"Linear\",\"model_names\":[\"a\",\"b\"],\"linear_classifiers\":["
                               "{\"model_name\":\"a\",\"weights\":[1,-1," ZEROS ",0],\"rho\":0},{\"model_name\":\"b\",\"weights\":[-1,1," ZEROS ",0],\"rho\":0}]}";
static const char rbf_file[] = "{\"algorithm\":\"svm\",\"kernel_type\":\"Rbf\",\"gamma\":1,\"rbf_classifiers\":["
                               "{\"model_name\":\"a\",\"alpha\":[1],\"support_vectors\":[[0.7,0," ZEROS ",0.7]],\"rho\":0},"
                               "{\"model_name\":\"b\",\"alpha\":[1],\"support_vectors\":[[0,0.7," ZEROS ",0.7]],\"rho\":0}]}";
static const char mlp_file[] = "{\"algorithm\":\"mlp\",\"model_names\":[\"a\",\"c\"],\"feature_dim\":16,\"n_classes\":2,\"layers\":["
                               "{\"type\":\"linear\",\"weight\":[[1,0," ZEROS ",0],[0,1," ZEROS ",0]],\"bias\":[0,0]},{\"type\":\"relu\"},{\"type\":\"dropout\"},"
                               "{\"type\":\"batch_norm\",\"weight\":[1,1],\"bias\":[0,0],\"running_mean\":[0,0],\"running_var\":[1,1]},"
                               "{\"type\":\"linear\",\"weight\":[[2,0],[0,2]],\"bias\":[0,0]}]}";

static const float east[] = { 1, 0 }, north[] = { 0, 1 };

static void each_trained_selector_follows_its_file(void **state)
{
    (void)state;
    static const struct { const char *type, *file; const char *east, *north; } table[] = {
        { "knn", knn_file, "a", "b" }, { "kmeans", kmeans_file, "c", "a" }, { "svm", svm_file, "a", "b" },
            { "svm", rbf_file, "a", "b" },
        { "mlp", mlp_file, "a", "c" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct err e = { 0 };
        const void *trained = load(table[i].type, table[i].file, &e);
        if (!trained)
            fail_msg("%s: %s", table[i].type, e.text);
        struct pick p = pick(table[i].type, trained, east, 2, "");
        assert_true(str_eq(pool[p.order[0]].model, str_of(table[i].east)));
        assert_string_equal(p.reason, "trained");
        p = pick(table[i].type, trained, north, 2, "");
        assert_true(str_eq(pool[p.order[0]].model, str_of(table[i].north)));
    }
}

static void without_embedding_or_table_the_first_is_taken_and_why_is_said(void **state)
{
    (void)state;
    struct err e = { 0 };
    const void *trained = load("kmeans", kmeans_file, &e);
    assert_string_equal(pick("kmeans", trained, NULL, 0, "").fallback, "no-embedding");
    assert_string_equal(pick("kmeans", NULL, east, 2, "").fallback, "no-table");
    static const float long_one[] = { 1, 0, 0 };
    assert_string_equal(pick("kmeans", trained, long_one, 3, "").fallback, "dimension-mismatch");
    assert_int_equal(pick("kmeans", NULL, east, 2, "").order[0], 0);
    assert_string_equal(pick("learned", NULL, NULL, 0, "").fallback, "no-table");
}

static void a_label_that_is_no_candidate_is_not_chosen(void **state)
{
    (void)state;
    struct err e = { 0 };
    const void *trained = load("kmeans", "{\"algorithm\":\"kmeans\",\"centroids\":[[1,0," ZEROS ",1]],\"cluster_models\":[\"zzz\"]}", &e);
    assert_string_equal(pick("kmeans", trained, east, 2, "").fallback, "selector_undeclared_candidate");
}

static void broken_files_are_refused_with_a_sentence(void **state)
{
    (void)state;
    static const struct { const char *type, *file; } table[] = {
        { "knn", "" }, { "knn", "[]" }, { "knn", kmeans_file }, { "knn",
                                                                  "{\"algorithm\":\"knn\",\"embeddings\":[[1],[1,2]],\"labels\":[],\"qualities\":[]}" },
        { "knn", "{\"algorithm\":\"knn\",\"embeddings\":[[1]],\"labels\":[\"a\",\"b\"],\"qualities\":[1]}" },
        { "knn", "{\"algorithm\":\"knn\",\"embeddings\":[[\"x\"]],\"labels\":[\"a\"],\"qualities\":[1]}" },
        { "kmeans", "{\"algorithm\":\"kmeans\",\"centroids\":[[1e999]],\"cluster_models\":[\"a\"]}" },
            { "kmeans", "{\"algorithm\":\"kmeans\"}" },
        { "svm", "{\"algorithm\":\"svm\",\"kernel_type\":\"Linear\",\"linear_classifiers\":[]}" },
        { "svm", "{\"algorithm\":\"svm\",\"kernel_type\":\"Linear\",\"linear_classifiers\":[7]}" },
        { "svm", "{\"algorithm\":\"svm\",\"kernel_type\":\"Rbf\",\"rbf_classifiers\":[{\"model_name\":\"a\",\"alpha\":[1,2],\"support_vectors\":[[1]],\"rho\":0}]}" },
        { "mlp", "{\"algorithm\":\"mlp\",\"model_names\":[\"a\"],\"feature_dim\":2,\"layers\":[{\"type\":\"linear\",\"weight\":[[1,2,3]],\"bias\":[0]}]}" },
        { "mlp", "{\"algorithm\":\"mlp\",\"model_names\":[\"a\"],\"feature_dim\":2,\"layers\":[{\"type\":\"attention\"}]}" },
        { "mlp", "{\"algorithm\":\"mlp\",\"model_names\":[\"a\",\"b\",\"c\"],\"feature_dim\":2,\"layers\":[]}" },
        { "learned", "" }, { "learned", "sbx-selxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct err e = { 0 };
        assert_null(load(table[i].type, table[i].file, &e));
        assert_true(e.text[0] != 0);
    }
    for (size_t cut = 0; cut + 1 < sizeof mlp_file; cut++) {
        struct err e = { 0 };
        struct arena *scratch = a;
        assert_null(select_by_name(S("mlp"))->load(scratch, (str){ mlp_file, cut }, &e));
    }
}

static void router_dc_takes_the_card_that_reads_like_the_query(void **state)
{
    (void)state;
    pool[0].card = north, pool[2].card = east;
    struct pick p = pick("router_dc", NULL, east, 2, "");
    assert_int_equal(p.order[0], 2);
    assert_true(p.scores[2] > p.scores[0]);
    assert_float_equal(p.scores[1], .3f, 1e-6f);        /* no card */
    assert_string_equal(pick("router_dc", NULL, NULL, 0, "").fallback, "no-embedding");
    assert_int_equal(pick("hybrid", NULL, east, 2, "").order[0], 2);
    pool[0].card = pool[2].card = NULL;
    assert_string_equal(pick("router_dc", NULL, east, 2, "").fallback, "no-description");
}

static void automix_weighs_quality_against_price(void **state)
{
    (void)state;
    struct pick p = pick("automix", NULL, NULL, 0, "");
    assert_int_equal(p.order[0], 1);            /* .9 at 10 USD is too dear, .5 at .1 too bad */
    assert_true(fabs(p.confidence - .7) < 1e-9);
    p = pick("hybrid", NULL, NULL, 0, "");
    assert_int_equal(p.order[0], 1);
}

/* A table of two kinds, in each of which another model is right. */
static const struct learner *table_of_two_kinds(void)
{
    enum { ROWS = 80 };
    static const char *const texts[] = { "a python loop", "a bug in the array", "the court of appeal", "a tort, says the judge" };
    static const str models[] = { S("a"), S("b"), S("c") };
    struct features *x = ARENA_ARRAY(a, struct features, ROWS);
    float *quality = ARENA_ARRAY(a, float, 3ul * ROWS);
    struct err e = { 0 };
    struct learner *l = learner_new("table", NULL);
    for (uint32_t i = 0; i < ROWS; i++) {
        features_read(&x[i], a, str_of(texts[i % 4]));
        x[i].kind = i % 4 < 2 ? S("code") : S("law");
        quality[3 * i] = i % 4 < 2;
        quality[3 * i + 1] = i % 4 >= 2;
    }
    assert_int_equal(learner_fit(l, &(struct recorded){ .x = x, .n = ROWS, .models = models, .n_models = 3, .quality = quality }, &e), 0);
    return l;
}

static struct pick learned(const struct learner *l, const char *block, const char *text)
{
    const struct select_ops *ops = select_by_name(S("learned"));
    struct findings f = { .a = a };
    struct err e = { 0 };
    struct facts facts = { .evaluation_text = str_of(text), .context_tokens = 1000 };
    struct pick p = { 0 };
    const char *method;
    void *conf = arena_alloc(a, ops->fields.struct_size);
    assert_true(field_decode(a, &ops->fields, yaml_parse(a, str_of(block), "test", &e), S("algorithm"), conf, &f));
    struct select_in in = { .candidates = pool, .n = 3, .trained = l, .facts = &facts, .conf = conf, .seed = 1 };
    select_run(ops, &in, a, &p, &method);
    return p;
}

static void queries_of_an_uncertain_kind_go_to_the_general_model(void **state)
{
    (void)state;
    const struct learner *l = table_of_two_kinds();
    static const char with[] = "{table: t, uncertain: {threshold: 0.5, to: c}}", without[] = "{table: t}";
    assert_int_equal(learned(l, with, "a bug in the python loop").order[0], 0);
    assert_int_equal(learned(l, with, "the judge of the court").order[0], 1);
    struct pick p = learned(l, with, "zzz");
    assert_int_equal(p.order[0], 2);
    assert_string_equal(p.reason, "uncertain");
    p = learned(l, without, "zzz");
    assert_true(p.order[0] != 2);
    assert_string_equal(p.reason, "learned");
    p = learned(l, "{table: t, uncertain: {threshold: 1, to: c}}", "zzz");
    assert_true(p.order[0] != 2);               /* nothing is above 1 */
    learner_free((void *)(uintptr_t)l);
}

/* The table has never seen c: it is expected to do what models of its price do. And what fails half of the time costs double. */
static void strangers_go_by_their_price_and_failures_cost(void **state)
{
    (void)state;
    struct prediction p[] = { { .score = .9f, .cost_usd = 1e-2f, .out_tokens = 100 }, { .score = .8f, .cost_usd = 8e-3f, .out_tokens = 100 },
                              { .score = .3f, .cost_usd = 1e-5f, .out_tokens = 100 }, { .score = .2f, .cost_usd = NAN, .out_tokens = NAN } };
    assert_true(learner_stranger(p, 3, 9e-3).score > .8f);
    assert_true(learner_stranger(p, 3, 1e-5).score < .35f);
    assert_float_equal(learner_stranger(p, 4, (double)NAN).score, .55f, 1e-6f);
    assert_float_equal(learner_stranger(p, 0, 1).score, .5f, 1e-6f);
    assert_float_equal(learner_stranger(p, 4, 0).out_tokens, 100, 1e-3f);

    const struct learner *l = table_of_two_kinds();
    struct candidate before[3];
    memcpy(before, pool, sizeof before);
    for (int i = 0; i < 2; i++)
        pool[i].prompt_price = 1, pool[i].completion_price = 1;
    static const char priced[] = "{table: t, weights: {quality: 1, cost: 100}}";    /* 1,000 tokens are a tenth */
    float sound = learned(l, priced, "zzz").scores[0];
    pool[0].failures = .5;
    assert_float_equal(learned(l, priced, "zzz").scores[0], sound - .1f, 1e-5f);
    pool[0].failures = 1;                       /* of five attempts one is an answer: not worse */
    assert_float_equal(learned(l, priced, "zzz").scores[0], sound - .4f, 1e-5f);
    memcpy(pool, before, sizeof before);
    learner_free((void *)(uintptr_t)l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_trained_selector_follows_its_file),
        cmocka_unit_test(strangers_go_by_their_price_and_failures_cost),
        cmocka_unit_test(without_embedding_or_table_the_first_is_taken_and_why_is_said),
        cmocka_unit_test(a_label_that_is_no_candidate_is_not_chosen),
        cmocka_unit_test(broken_files_are_refused_with_a_sentence),
        cmocka_unit_test(router_dc_takes_the_card_that_reads_like_the_query),
        cmocka_unit_test(automix_weighs_quality_against_price),
        cmocka_unit_test(queries_of_an_uncertain_kind_go_to_the_general_model),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
