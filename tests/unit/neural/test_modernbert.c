/* tests/unit/neural/test_modernbert.c -- ModernBERT against its formula, and the spellings of its configuration. */
#include "random_model.h"

#include "neural/rope.h"

enum { H = 48, HEADS = 3, D = H / HEADS, INNER = 40, LAYERS = 4, WORDS = 50, WINDOW = 4, TOKENS = 70 };

#define SIZES "\"model_type\": \"modernbert\", \"hidden_size\": 48, \"num_attention_heads\": 3, \"num_hidden_layers\": 4, " \
              "\"intermediate_size\": 40, \"vocab_size\": 50, \"max_position_embeddings\": 64, \"norm_eps\": 1e-5, " \
              "\"local_attention\": 8"
#define OLD SIZES ", \"global_attn_every_n_layers\": 2, \"global_rope_theta\": 1000.0, \"local_rope_theta\": 100.0"
#define NEW SIZES ", \"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\", \"sliding_attention\"], " \
            "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\", \"rope_theta\": 1000.0}, " \
            "\"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\": 100.0}}"
#define YARN SIZES ", \"global_attn_every_n_layers\": 2, \"global_rope_theta\": 1000.0, \"local_rope_theta\": 1000.0, " \
             "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"original_max_position_embeddings\": 16}"
#define TEXT_HEAD ", \"architectures\": [\"ModernBertForSequenceClassification\"], \"classifier_pooling\": "
#define TOKEN_HEAD ", \"architectures\": [\"ModernBertForTokenClassification\"]"

static struct random_model *random_modernbert(const char *prefix, bool has_head)
{
    struct random_model *m = model_new();
    char name[64];
#define NAME(...) (snprintf(name, sizeof name, __VA_ARGS__), name)
    model_add(m, NAME("%sembeddings.tok_embeddings.weight", prefix), WORDS, H, 0, 0, 1);
    model_norm(m, NAME("%sembeddings.norm", prefix), H, false);
    for (int i = 0; i < LAYERS; i++) {
        if (i > 0)
            model_norm(m, NAME("%slayers.%d.attn_norm", prefix, i), H, false);
        model_linear(m, NAME("%slayers.%d.attn.Wqkv", prefix, i), (size_t)3 * H, H, false);
        model_linear(m, NAME("%slayers.%d.attn.Wo", prefix, i), H, H, false);
        model_norm(m, NAME("%slayers.%d.mlp_norm", prefix, i), H, false);
        model_linear(m, NAME("%slayers.%d.mlp.Wi", prefix, i), (size_t)2 * INNER, H, false);
        model_linear(m, NAME("%slayers.%d.mlp.Wo", prefix, i), H, INNER, false);
    }
    model_norm(m, NAME("%sfinal_norm", prefix), H, false);
    if (has_head) {
        model_linear(m, "head.dense", H, H, false);
        model_norm(m, "head.norm", H, false);
        model_linear(m, "classifier", 5, H, true);
    }
    return m;
}

/* ---- the formula ---- */

static void turn(double *x, size_t position, double theta)
{
    for (size_t i = 0; i < D / 2; i++) {
        double angle = (double)position * pow(theta, -2.0 * (double)i / D), a = x[i], b = x[i + D / 2];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + D / 2] = b * cos(angle) + a * sin(angle);
    }
}

static void plain_attention(const double *qkv, size_t t, size_t window, double *out)
{
    for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < t; i++) {
            double score[TOKENS];
            for (size_t j = 0; j < t; j++) {
                score[j] = -INFINITY;
                if (window && (i > j ? i - j : j - i) > window)
                    continue;
                score[j] = 0;
                for (size_t c = 0; c < D; c++)
                    score[j] += qkv[i * 3 * H + h * D + c] * qkv[j * 3 * H + H + h * D + c] / sqrt(D);
            }
            plain_softmax(score, t);
            for (size_t c = 0; c < D; c++) {
                out[i * H + h * D + c] = 0;
                for (size_t j = 0; j < t; j++)
                    out[i * H + h * D + c] += score[j] * qkv[j * 3 * H + 2 * H + h * D + c];
            }
        }
}

static void plain_modernbert(const struct random_model *m, const int32_t *ids, size_t t, int layers, double *h)
{
    static double x[TOKENS * H], qkv[TOKENS * 3 * H], y[TOKENS * H], wide[TOKENS * 2 * INNER], inner[TOKENS * INNER];
    const float *words = model_find(m, "embeddings.tok_embeddings.weight");
    char name[64];
    for (size_t i = 0; i < t * H; i++)
        x[i] = (double)words[(size_t)ids[i / H] * H + i % H];
    plain_norm(m, "embeddings.norm", x, t, H, 1e-5, h);
    for (int l = 0; l < layers; l++) {
        memcpy(x, h, sizeof *h * t * H);
        if (l > 0)
            plain_norm(m, NAME("layers.%d.attn_norm", l), h, t, H, 1e-5, x);
        plain_linear(m, NAME("layers.%d.attn.Wqkv", l), x, t, (size_t)3 * H, H, qkv);
        for (size_t i = 0; i < t; i++)
            for (size_t part = 0; part < (size_t)2 * HEADS; part++)
                turn(qkv + i * 3 * H + part * D, i, l % 2 ? 100 : 1000);
        plain_attention(qkv, t, l % 2 ? WINDOW : 0, x);
        plain_linear(m, NAME("layers.%d.attn.Wo", l), x, t, H, H, y);
        for (size_t i = 0; i < t * H; i++)
            h[i] += y[i];
        plain_norm(m, NAME("layers.%d.mlp_norm", l), h, t, H, 1e-5, x);
        plain_linear(m, NAME("layers.%d.mlp.Wi", l), x, t, (size_t)2 * INNER, H, wide);
        for (size_t i = 0; i < t * INNER; i++) {
            const double *row = wide + i / INNER * 2 * INNER;
            inner[i] = plain_gelu(row[i % INNER]) * row[INNER + i % INNER];
        }
        plain_linear(m, NAME("layers.%d.mlp.Wo", l), inner, t, H, INNER, y);
        for (size_t i = 0; i < t * H; i++)
            h[i] += y[i];
    }
    if (layers == LAYERS)
        plain_norm(m, "final_norm", h, t, H, 1e-5, h);
}

/* ---- claims ---- */

static const uint32_t starts[] = { 0, 1, 1, 20, TOKENS };       /* one token, none, and two longer than the window */
enum { TEXTS = COUNT_OF(starts) - 1 };
static int32_t ids[TOKENS];

static const struct encoder_batch *some_texts(void)
{
    static const struct encoder_batch batch = { .ids = ids, .starts = starts, .n_texts = TEXTS };
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (i * 37 + 11) % WORDS;
    return &batch;
}

static void forward_is(struct random_model *m, struct encoder_options o, unsigned threads, int layers, double within)
{
    const struct encoder_batch *b = some_texts();
    struct encoder *e = model_open(m, o);
    struct encoder_scratch *s = encoder_scratch_new();
    struct gang *g = threads > 1 ? gang_new(threads) : NULL;
    const float *h = encoder_forward(e, b, s, g, NULL);
    assert_non_null(h);
    for (uint32_t i = 0; i < TEXTS; i++) {
        static double wants[TOKENS * H];
        size_t t = starts[i + 1] - starts[i];
        plain_modernbert(m, ids + starts[i], t, layers, wants);
        double gap = largest_gap(h + starts[i] * H, wants, t * H);
        if (!(gap <= within))
            fail_msg("text %u is off by %g", i, gap);
    }
    gang_free(g);
    encoder_scratch_free(s);
    encoder_close(e);
}

static void a_forward_is_the_formula(void **state)
{
    (void)state;
    struct random_model *m = random_modernbert("", false);
    model_write(m, "{" OLD "}");
    forward_is(m, (struct encoder_options){ 0 }, 1, LAYERS, 1e-4);
    forward_is(m, (struct encoder_options){ .precision = PRECISION_BF16 }, 1, LAYERS, 0.1);
    forward_is(m, (struct encoder_options){ .precision = PRECISION_INT8 }, 1, LAYERS, 0.4);
    model_free(m);
}

static void layer_types_and_rope_parameters_say_the_same_in_newer_files(void **state)
{
    (void)state;
    struct random_model *m = random_modernbert("", false);
    model_write(m, "{" NEW "}");
    forward_is(m, (struct encoder_options){ 0 }, 1, LAYERS, 1e-4);
    model_free(m);
}

static void a_gang_computes_the_same(void **state)
{
    (void)state;
    struct random_model *m = random_modernbert("", false);
    model_write(m, "{" OLD "}");
    forward_is(m, (struct encoder_options){ 0 }, 2, LAYERS, 1e-4);      /* each takes rows */
    forward_is(m, (struct encoder_options){ 0 }, 3, LAYERS, 1e-4);      /* too few rows for three: columns are shared */
    model_free(m);
}

static void an_early_exit_gives_the_layers_states_without_the_final_norm(void **state)
{
    (void)state;
    struct random_model *m = random_modernbert("", false);
    model_write(m, "{" OLD "}");
    forward_is(m, (struct encoder_options){ .exit_layer = 1 }, 1, 1, 1e-4);
    forward_is(m, (struct encoder_options){ .exit_layer = 3 }, 1, 3, 1e-4);
    model_free(m);
}

static void a_forward_can_be_stopped(void **state)
{
    (void)state;
    struct random_model *m = random_modernbert("", false);
    model_write(m, "{" OLD "}");
    struct encoder *e = model_open(m, (struct encoder_options){ 0 });
    struct encoder_scratch *s = encoder_scratch_new();
    bool stop = true;
    assert_null(encoder_forward(e, some_texts(), s, NULL, &stop));
    stop = false;
    assert_non_null(encoder_forward(e, some_texts(), s, NULL, &stop));
    encoder_scratch_free(s);
    encoder_close(e);
    model_free(m);
}

/* head: norm(gelu(dense x)), then the labels */
static void head_of(const struct random_model *m, const double *row, double *logits)
{
    double x[H], y[H];
    plain_linear(m, "head.dense", row, 1, H, H, x);
    for (int i = 0; i < H; i++)
        x[i] = plain_gelu(x[i]);
    plain_norm(m, "head.norm", x, 1, H, 1e-5, y);
    plain_linear(m, "classifier", y, 1, 5, H, logits);
}

static void heads_read_the_first_token_the_mean_or_every_token(void **state)
{
    (void)state;
    static const struct { const char *config; bool is_mean, is_token; } kinds[] = {
        { "{" OLD TEXT_HEAD "\"cls\"}", false, false },
        { "{" OLD TEXT_HEAD "\"mean\"}", true, false },
        { "{" OLD TOKEN_HEAD "}", false, true },
    };
    struct random_model *m = random_modernbert("model.", true);
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        model_write(m, kinds[k].config);
        struct encoder *e = model_open(m, (struct encoder_options){ 0 });
        struct encoder_scratch *s = encoder_scratch_new();
        const struct encoder_batch *b = some_texts();
        const float *h = encoder_forward(e, b, s, NULL, NULL);
        assert_non_null(h);
        assert_int_equal(e->shape.n_labels, 5);
        assert_int_equal(e->shape.is_token_head, kinds[k].is_token);
        float logits[TOKENS * 5];
        uint32_t text = 2, from = starts[text], to = starts[text + 1];
        encoder_classify(e, h, b, text, logits);
        for (uint32_t i = from; i < (kinds[k].is_token ? to : from + 1); i++) {
            double row[H] = { 0 }, wants[5];
            for (uint32_t j = from; j < to; j++)
                for (uint32_t c = 0; c < H; c++)
                    row[c] += (double)h[j * H + c] * (kinds[k].is_mean ? 1.0 / (to - from) : j == i);
            head_of(m, row, wants);
            assert_true(largest_gap(logits + (i - from) * 5, wants, 5) < 1e-4);
        }
        encoder_scratch_free(s);
        encoder_close(e);
    }
    model_free(m);
}

/* Numbers from transformers 5.24 (ROPE_INIT_FUNCTIONS): radians a position of some pairs of a head of 64, attention factor. */
static void stretched_positions_turn_as_in_transformers(void **state)
{
    (void)state;
    static const struct { const char *params; double steps[5], warmth; } cases[] = {
        { "{\"rope_type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 8192, \"rope_theta\": 160000}",
          { 1, 0.0500000007, 0.0013068181, 3.12500015e-05, 2.27221176e-06 }, 1.13862944 },
        { "{\"type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 256, \"rope_theta\": 160000, "
          "\"beta_fast\": 16, \"beta_slow\": 2}",
          { 1, 0.0178571418, 0.000624999986, 3.12500015e-05, 2.27221176e-06 }, 1.13862944 },
        { "{\"rope_type\": \"yarn\", \"factor\": 8, \"original_max_position_embeddings\": 4096, \"attention_factor\": 1.5}",
          { 1, 0.100000001, 0.00596153876, 0.000125000006, 1.66690188e-05 }, 1.5 },
        { "{\"rope_type\": \"yarn\", \"factor\": 40, \"original_max_position_embeddings\": 4096, \"mscale\": 1, "
          "\"mscale_all_dim\": 0.5}",
          { 1, 0.100000001, 0.00550000044, 2.49999994e-05, 3.33380353e-06 }, 1.15572199 },
        { "{\"rope_type\": \"linear\", \"factor\": 2}", { 0.5, 0.0500000007, 0.00499999989, 0.000500000024, 6.66760752e-05 }, 1 },
        { "{\"rope_type\": \"dynamic\", \"factor\": 2}", { 1, 0.1, 0.01, 0.001, 0.000133352143 }, 1 },
        { "null", { 1, 0.1, 0.01, 0.001, 0.000133352143 }, 1 },
    };
    static const uint32_t pairs[] = { 0, 8, 16, 24, 31 };
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct arena *a = arena_new();
        struct json j;
        struct json_error at;
        struct err e = { 0 };
        struct rope r = { .theta = 10000, .factor = 1, .attention_factor = 1 };
        assert_int_equal(json_parse(a, str_of(cases[c].params), &j, &at), 0);
        if (rope_read(&r, &j, 0, 32768, "here", &e) < 0)
            fail_msg("%s", e.text);
        enum { AT = 1000 };
        const float *row = rope_table(&r, AT + 1, 64, a) + AT * 64;
        for (size_t i = 0; i < 5; i++) {
            assert_true(fabs((double)row[pairs[i]] - cos(AT * cases[c].steps[i]) * cases[c].warmth) < 1e-4);
            assert_true(fabs((double)row[32 + pairs[i]] - sin(AT * cases[c].steps[i]) * cases[c].warmth) < 1e-4);
        }
        arena_free(a);
    }
}

static void texts_longer_than_the_positions_asked_for_are_refused(void **state)
{
    (void)state;
    struct random_model *m = random_modernbert("", false);
    model_write(m, "{" YARN "}");
    struct encoder *e = model_open(m, (struct encoder_options){ .positions_max = 16 });
    struct encoder_scratch *s = encoder_scratch_new();
    assert_int_equal(e->shape.positions, 16);
    assert_null(encoder_forward(e, some_texts(), s, NULL, NULL));
    encoder_scratch_free(s);
    encoder_close(e);
    model_free(m);
}

static void what_a_configuration_cannot_mean_is_said(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "{" SIZES ", \"layer_types\": [\"full_attention\"]}", "layer_types has 1 names for 4 layers" },
        { "{" SIZES ", \"layer_types\": [\"full_attention\", \"causal\", \"full_attention\", 1]}", "layer_types[1]" },
        { "{" SIZES ", \"rope_scaling\": {\"rope_type\": \"longrope\"}}", "rope_type \"longrope\"" },
        { "{" SIZES ", \"rope_scaling\": {\"rope_type\": \"linear\"}}", "needs a factor" },
        { "{" SIZES ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": -1}}", "rope_scaling: factor must be" },
        { "{" SIZES ", \"rope_scaling\": 3}", "rope_scaling must be an object" },
        { "{" SIZES ", \"global_rope_theta\": 0}", "global_rope_theta" },
        { "{" SIZES ", \"local_attention\": -8}", "local_attention" },
        { "{" SIZES ", \"hidden_activation\": \"sigmoid\"}", "hidden_activation" },
        { "{" SIZES ", \"intermediate_size\": 41}", "layers.0.mlp.Wi.weight" },
        { "{" SIZES ", \"mlp_bias\": true}", "layers.0.mlp.Wi.bias" },
        { "{" SIZES TOKEN_HEAD "}", "classifier.weight" },
    };
    struct random_model *m = random_modernbert("", false);
    model_write(m, "{" OLD "}");
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        model_refused(m, cases[i][0], cases[i][1]);
    model_free(m);
}

int main(void)
{
    struct err e = { 0 };
    if (kernel_use(ISA_N, &e) < 0)
        fail_msg("%s", e.text);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forward_is_the_formula),
        cmocka_unit_test(layer_types_and_rope_parameters_say_the_same_in_newer_files),
        cmocka_unit_test(a_gang_computes_the_same),
        cmocka_unit_test(an_early_exit_gives_the_layers_states_without_the_final_norm),
        cmocka_unit_test(a_forward_can_be_stopped),
        cmocka_unit_test(heads_read_the_first_token_the_mean_or_every_token),
        cmocka_unit_test(stretched_positions_turn_as_in_transformers),
        cmocka_unit_test(texts_longer_than_the_positions_asked_for_are_refused),
        cmocka_unit_test(what_a_configuration_cannot_mean_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
