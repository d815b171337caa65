/* tests/unit/neural/test_deberta.c -- DeBERTa v2/v3 against its formula, and the variants of its configuration. */
#include "random_model.h"

enum { H = 32, HEADS = 2, D = H / HEADS, INNER = 40, LAYERS = 3, WORDS = 50, POSITIONS = 64, TOKENS = 70, LETTERS = 24 };

#define SIZES "\"model_type\": \"deberta-v2\", \"hidden_size\": 32, \"num_attention_heads\": 2, \"num_hidden_layers\": 3, " \
              "\"intermediate_size\": 40, \"vocab_size\": 50, \"max_position_embeddings\": 64, \"layer_norm_eps\": 1e-7"

static const struct variant {
    const char *what, *config;
    bool shares, c2p, p2c, norms, has_positions, has_types;
    size_t buckets, embedding, width, groups;   /* buckets 0: distances themselves, up to POSITIONS; width 0: no convolution */
} variants[] = {
    { "v3", SIZES ", \"relative_attention\": true, \"position_buckets\": 8, \"norm_rel_ebd\": \"layer_norm\", "
      "\"share_att_key\": true, \"pos_att_type\": \"p2c|c2p\", \"position_biased_input\": false, \"type_vocab_size\": 0",
      .shares = true, .c2p = true, .p2c = true, .norms = true, .buckets = 8, .embedding = H },
    { "own projections of places", SIZES ", \"relative_attention\": true, \"position_buckets\": 16, "
      "\"pos_att_type\": [\"p2c\", \"c2p\"], \"position_biased_input\": false",
      .c2p = true, .p2c = true, .buckets = 16, .embedding = H },
    { "content to position alone", SIZES ", \"relative_attention\": true, \"position_buckets\": 8, \"share_att_key\": true, "
      "\"pos_att_type\": [\"c2p\"], \"position_biased_input\": false",
      .shares = true, .c2p = true, .buckets = 8, .embedding = H },
    { "position to content alone", SIZES ", \"relative_attention\": true, \"position_buckets\": 8, \"pos_att_type\": \"p2c\", "
      "\"position_biased_input\": false", .p2c = true, .buckets = 8, .embedding = H },
    { "no buckets, positions, types, small embeddings", SIZES ", \"relative_attention\": true, \"pos_att_type\": \"c2p|p2c\", "
      "\"share_att_key\": true, \"embedding_size\": 24, \"type_vocab_size\": 2",
      .shares = true, .c2p = true, .p2c = true, .has_positions = true, .has_types = true, .embedding = LETTERS },
    { "convolution", SIZES ", \"relative_attention\": true, \"position_buckets\": 8, \"share_att_key\": true, "
      "\"pos_att_type\": \"c2p|p2c\", \"position_biased_input\": false, \"conv_kernel_size\": 3, "
      "\"conv_act\": \"gelu\", \"conv_groups\": 4",
      .shares = true, .c2p = true, .p2c = true, .buckets = 8, .embedding = H, .width = 3, .groups = 4 },
    { "no relative places", SIZES, .has_positions = true, .embedding = H },
};

#define NAME(...) (snprintf(name, sizeof name, __VA_ARGS__), name)

static struct random_model *random_deberta(const struct variant *v)
{
    struct random_model *m = model_new();
    char name[96];
    bool is_relative = v->c2p || v->p2c;
    model_add(m, "deberta.embeddings.word_embeddings.weight", WORDS, v->embedding, 0, 0, 1);
    if (v->has_positions)
        model_add(m, "deberta.embeddings.position_embeddings.weight", POSITIONS, v->embedding, 0, 0, 1);
    if (v->has_types)
        model_add(m, "deberta.embeddings.token_type_embeddings.weight", 2, v->embedding, 0, 0, 1);
    if (v->embedding != H)
        model_linear(m, "deberta.embeddings.embed_proj", H, v->embedding, false);
    model_norm(m, "deberta.embeddings.LayerNorm", H, true);
    if (is_relative)
        model_add(m, "deberta.encoder.rel_embeddings.weight", 2 * (v->buckets ? v->buckets : POSITIONS), H, 0, 0, 1);
    if (v->norms)
        model_norm(m, "deberta.encoder.LayerNorm", H, true);
    for (int i = 0; i < LAYERS; i++) {
        static const char *const square[] = { "query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj" };
        for (size_t j = 0; j < 3 + (is_relative && !v->shares ? 2u : 0u); j++)
            model_linear(m, NAME("deberta.encoder.layer.%d.attention.self.%s", i, square[j]), H, H, true);
        model_linear(m, NAME("deberta.encoder.layer.%d.attention.output.dense", i), H, H, true);
        model_norm(m, NAME("deberta.encoder.layer.%d.attention.output.LayerNorm", i), H, true);
        model_linear(m, NAME("deberta.encoder.layer.%d.intermediate.dense", i), INNER, H, true);
        model_linear(m, NAME("deberta.encoder.layer.%d.output.dense", i), H, INNER, true);
        model_norm(m, NAME("deberta.encoder.layer.%d.output.LayerNorm", i), H, true);
    }
    if (v->width) {
        model_add(m, "deberta.encoder.conv.conv.weight", H, H / v->groups, v->width, 0, 0.5);
        model_add(m, "deberta.encoder.conv.conv.bias", H, 0, 0, 0, 0.2);
        model_norm(m, "deberta.encoder.conv.LayerNorm", H, true);
    }
    model_linear(m, "pooler.dense", H, H, true);
    model_linear(m, "classifier", 3, H, true);
    return m;
}

/* ---- the formula ---- */

/* Row of the table for a query at i and a key at j. */
static size_t place(const struct variant *v, size_t i, size_t j)
{
    double x = (double)i - (double)j, middle = (double)(v->buckets / 2), span = (double)(v->buckets ? v->buckets : POSITIONS);
    double far = ceil(log(fabs(x) / middle) / log((POSITIONS - 1) / middle) * (middle - 1)) + middle;
    double at = v->buckets && fabs(x) > middle ? copysign(far, x) : x;
    return (size_t)fmin(fmax(at + span, 0), 2 * span - 1);
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (size_t c = 0; c < D; c++)
        sum += a[c] * b[c];
    return sum;
}

static void plain_attention(const struct random_model *m, const struct variant *v, int layer, const double *h, size_t t,
                            double *out)
{
    static double q[TOKENS * H], k[TOKENS * H], value[TOKENS * H];
    static double places[2 * POSITIONS * H], pk[2 * POSITIONS * H], pq[2 * POSITIONS * H];
    char name[96];
    plain_linear(m, NAME("deberta.encoder.layer.%d.attention.self.query_proj", layer), h, t, H, H, q);
    plain_linear(m, NAME("deberta.encoder.layer.%d.attention.self.key_proj", layer), h, t, H, H, k);
    plain_linear(m, NAME("deberta.encoder.layer.%d.attention.self.value_proj", layer), h, t, H, H, value);
    if (v->c2p || v->p2c) {
        size_t rows = 2 * (v->buckets ? v->buckets : POSITIONS);
        const float *table = model_find(m, "deberta.encoder.rel_embeddings.weight");
        for (size_t i = 0; i < rows * H; i++)
            places[i] = (double)table[i];
        if (v->norms)
            plain_norm(m, "deberta.encoder.LayerNorm", places, rows, H, 1e-7, places);
        const char *key = v->shares ? "key_proj" : "pos_key_proj", *query = v->shares ? "query_proj" : "pos_query_proj";
        plain_linear(m, NAME("deberta.encoder.layer.%d.attention.self.%s", layer, key), places, rows, H, H, pk);
        plain_linear(m, NAME("deberta.encoder.layer.%d.attention.self.%s", layer, query), places, rows, H, H, pq);
    }
    for (size_t head = 0; head < H; head += D)
        for (size_t i = 0; i < t; i++) {
            double score[TOKENS];
            for (size_t j = 0; j < t; j++) {
                const double *qi = q + i * H + head, *kj = k + j * H + head;
                score[j] = dot(qi, kj);
                score[j] += v->c2p ? dot(qi, pk + place(v, i, j) * H + head) : 0;
                score[j] += v->p2c ? dot(kj, pq + place(v, i, j) * H + head) : 0;
                score[j] /= sqrt(D * (1 + v->c2p + v->p2c));
            }
            plain_softmax(score, t);
            for (size_t c = 0; c < D; c++) {
                out[i * H + head + c] = 0;
                for (size_t j = 0; j < t; j++)
                    out[i * H + head + c] += score[j] * value[j * H + head + c];
            }
        }
}

static void plain_convolution(const struct random_model *m, const struct variant *v, const double *x, size_t t, double *h)
{
    const float *w = model_find(m, "deberta.encoder.conv.conv.weight"), *b = model_find(m, "deberta.encoder.conv.conv.bias");
    size_t each = H / v->groups;
    for (size_t i = 0; i < t; i++)
        for (size_t o = 0; o < H; o++) {
            double sum = (double)b[o];
            for (size_t c = 0; c < each; c++)
                for (size_t k = 0; k < v->width; k++)
                    if (i + k >= v->width / 2 && i + k - v->width / 2 < t)
                        sum += (double)w[(o * each + c) * v->width + k] * x[(i + k - v->width / 2) * H + o / each * each + c];
            h[i * H + o] += plain_gelu(sum);
        }
    plain_norm(m, "deberta.encoder.conv.LayerNorm", h, t, H, 1e-7, h);
}

static void plain_deberta(const struct random_model *m, const struct variant *v, const int32_t *ids, const uint8_t *types,
                          size_t t, double *h)
{
    static double x[TOKENS * H], y[TOKENS * H], start[TOKENS * H], inner[TOKENS * INNER];
    const float *words = model_find(m, "deberta.embeddings.word_embeddings.weight");
    const float *at = model_find(m, "deberta.embeddings.position_embeddings.weight");
    const float *type = model_find(m, "deberta.embeddings.token_type_embeddings.weight");
    char name[96];
    size_t n = v->embedding;
    for (size_t i = 0; i < t * n; i++)
        x[i] = (double)words[(size_t)ids[i / n] * n + i % n] + (at ? (double)at[i] : 0) +
               (type ? (double)type[types[i / n] * n + i % n] : 0);
    if (n != H)
        plain_linear(m, "deberta.embeddings.embed_proj", x, t, H, n, y);
    plain_norm(m, "deberta.embeddings.LayerNorm", n == H ? x : y, t, H, 1e-7, h);
    memcpy(start, h, sizeof *h * t * H);
    for (int l = 0; l < LAYERS; l++) {
        plain_attention(m, v, l, h, t, x);
        plain_linear(m, NAME("deberta.encoder.layer.%d.attention.output.dense", l), x, t, H, H, y);
        for (size_t i = 0; i < t * H; i++)
            y[i] += h[i];
        plain_norm(m, NAME("deberta.encoder.layer.%d.attention.output.LayerNorm", l), y, t, H, 1e-7, h);
        plain_linear(m, NAME("deberta.encoder.layer.%d.intermediate.dense", l), h, t, INNER, H, inner);
        for (size_t i = 0; i < t * INNER; i++)
            inner[i] = plain_gelu(inner[i]);
        plain_linear(m, NAME("deberta.encoder.layer.%d.output.dense", l), inner, t, H, INNER, y);
        for (size_t i = 0; i < t * H; i++)
            y[i] += h[i];
        plain_norm(m, NAME("deberta.encoder.layer.%d.output.LayerNorm", l), y, t, H, 1e-7, h);
        if (l == 0 && v->width)
            plain_convolution(m, v, start, t, h);
    }
}

/* ---- claims ---- */

static const uint32_t starts[] = { 0, 1, 1, 7, TOKENS };        /* one token, none, a few, and more than the near buckets hold */
enum { TEXTS = COUNT_OF(starts) - 1 };
static int32_t ids[TOKENS];
static uint8_t types[TOKENS];

static const struct encoder_batch *some_texts(void)
{
    static const struct encoder_batch batch = { .ids = ids, .types = types, .starts = starts, .n_texts = TEXTS };
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = (i * 37 + 11) % WORDS;
        types[i] = i % 3 == 0;
    }
    return &batch;
}

static void forward_is(struct random_model *m, const struct variant *v, enum precision precision, unsigned threads, double within)
{
    const struct encoder_batch *b = some_texts();
    struct encoder *e = model_open(m, (struct encoder_options){ .precision = precision });
    struct encoder_scratch *s = encoder_scratch_new();
    struct gang *g = threads > 1 ? gang_new(threads) : NULL;
    const float *h = encoder_forward(e, b, s, g, NULL);
    assert_non_null(h);
    for (uint32_t i = 0; i < TEXTS; i++) {
        static double wants[TOKENS * H];
        size_t t = starts[i + 1] - starts[i];
        plain_deberta(m, v, ids + starts[i], types + starts[i], t, wants);
        double gap = largest_gap(h + starts[i] * H, wants, t * H);
        if (!(gap <= within))
            fail_msg("%s: text %u is off by %g", v->what, i, gap);
    }
    gang_free(g);
    encoder_scratch_free(s);
    encoder_close(e);
}

static void a_forward_is_the_formula_in_every_variant(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(variants); i++) {
        struct random_model *m = random_deberta(&variants[i]);
        model_write(m, arena_printf(m->a, "{%s}", variants[i].config).ptr);
        forward_is(m, &variants[i], PRECISION_F32, 1, 1e-4);
        forward_is(m, &variants[i], PRECISION_F32, 2, 1e-4);
        forward_is(m, &variants[i], PRECISION_F32, 3, 1e-4);
        forward_is(m, &variants[i], PRECISION_BF16, 1, 0.1);
        forward_is(m, &variants[i], PRECISION_INT8, 1, 0.4);
        model_free(m);
    }
}

static void the_head_pools_the_first_token_or_reads_every_one(void **state)
{
    (void)state;
    struct random_model *m = random_deberta(&variants[0]);
    for (int is_token = 0; is_token < 2; is_token++) {
        model_write(m, arena_printf(m->a, "{%s, \"architectures\": [\"DebertaV2For%sClassification\"]}", variants[0].config,
                                    is_token ? "Token" : "Sequence").ptr);
        struct encoder *e = model_open(m, (struct encoder_options){ 0 });
        struct encoder_scratch *s = encoder_scratch_new();
        const struct encoder_batch *b = some_texts();
        const float *h = encoder_forward(e, b, s, NULL, NULL);
        assert_non_null(h);
        assert_int_equal(e->shape.n_labels, 3);
        float logits[TOKENS * 3];
        encoder_classify(e, h, b, 2, logits);
        for (uint32_t i = starts[2]; i < (is_token ? starts[3] : starts[2] + 1); i++) {
            double row[H], inner[H], wants[3];
            for (int c = 0; c < H; c++)
                row[c] = (double)h[i * H + (uint32_t)c];
            plain_linear(m, "pooler.dense", row, 1, H, H, inner);
            for (int c = 0; c < H; c++)
                inner[c] = plain_gelu(inner[c]);
            plain_linear(m, "classifier", is_token ? row : inner, 1, 3, H, wants);
            assert_true(largest_gap(logits + (i - starts[2]) * 3, wants, 3) < 1e-4);
        }
        encoder_scratch_free(s);
        encoder_close(e);
    }
    model_free(m);
}

static void what_a_configuration_cannot_mean_is_said(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { ", \"position_buckets\": 200", "position_buckets is 200, which" },
        { ", \"position_buckets\": 1", "position_buckets is 1" },
        { ", \"position_buckets\": 6", "rel_embeddings.weight" },
        { ", \"position_buckets\": -1, \"max_relative_positions\": 100000", "100000 relative places" },
        { ", \"share_att_key\": false", "pos_key_proj" },
        { ", \"conv_kernel_size\": 4", "conv_kernel_size must be odd" },
        { ", \"conv_kernel_size\": 3", "conv.conv.weight" },
        { ", \"attention_head_size\": 8", "attention_head_size" },
        { ", \"position_biased_input\": true", "position_embeddings" },
        { ", \"type_vocab_size\": 2", "token_type_embeddings" },
        { ", \"embedding_size\": 8", "word_embeddings" },
    };
    struct random_model *m = random_deberta(&variants[0]);
    model_write(m, arena_printf(m->a, "{%s}", variants[0].config).ptr);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        model_refused(m, arena_printf(m->a, "{%s%s}", variants[0].config, cases[i][0]).ptr, cases[i][1]);
    model_free(m);
}

static void a_token_type_beyond_the_table_is_refused(void **state)
{
    (void)state;
    struct random_model *m = random_deberta(&variants[4]);
    model_write(m, arena_printf(m->a, "{%s}", variants[4].config).ptr);
    struct encoder *e = model_open(m, (struct encoder_options){ 0 });
    struct encoder_scratch *s = encoder_scratch_new();
    const struct encoder_batch *b = some_texts();
    assert_non_null(encoder_forward(e, b, s, NULL, NULL));
    types[TOKENS - 1] = 2;
    assert_null(encoder_forward(e, b, s, NULL, NULL));
    encoder_scratch_free(s);
    encoder_close(e);
    model_free(m);
}

int main(void)
{
    struct err e = { 0 };
    if (kernel_use(ISA_N, &e) < 0)
        fail_msg("%s", e.text);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forward_is_the_formula_in_every_variant),
        cmocka_unit_test(the_head_pools_the_first_token_or_reads_every_one),
        cmocka_unit_test(a_token_type_beyond_the_table_is_refused),
        cmocka_unit_test(what_a_configuration_cannot_mean_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
