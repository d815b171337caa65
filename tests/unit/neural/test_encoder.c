/* tests/unit/neural/test_encoder.c -- BERT and RoBERTa against their formula, packed batches, gangs, heads, adapters, and the
 * model folders that are refused. (Other architectures and real models: tests/neural/encoder_oracle.py.) */
#include "random_model.h"

#include <sys/stat.h>

enum { H = 48, HEADS = 4, D = H / HEADS, INNER = 70, LAYERS = 3, WORDS = 50, PLACES = 40, TOKENS = 33 };

#define SIZES "\"hidden_size\": 48, \"num_attention_heads\": 4, \"num_hidden_layers\": 3, \"intermediate_size\": 70, " \
              "\"vocab_size\": 50, \"max_position_embeddings\": 40, \"layer_norm_eps\": 1e-6"
#define BERT "{\"model_type\": \"bert\", " SIZES ", \"type_vocab_size\": 2, \"architectures\": [\"BertModel\"]}"
#define TEXT_HEAD "{\"model_type\": \"bert\", " SIZES ", \"architectures\": [\"BertForSequenceClassification\"], " \
                  "\"id2label\": {\"2\": \"c\", \"0\": \"a\"}}"
#define TOKEN_HEAD "{\"model_type\": \"bert\", " SIZES ", \"architectures\": [\"BertForTokenClassification\"]}"
#define ROBERTA "{\"model_type\": \"xlm-roberta\", " SIZES ", \"type_vocab_size\": 2, \"pad_token_id\": 1, " \
                "\"architectures\": [\"XLMRobertaModel\"]}"

static struct random_model *random_bert(const char *prefix)
{
    struct random_model *m = model_new();
    char name[96];
#define NAME(...) (snprintf(name, sizeof name, __VA_ARGS__), name)
    model_add(m, NAME("%sembeddings.word_embeddings.weight", prefix), WORDS, H, 0, 0, 1);
    model_add(m, NAME("%sembeddings.position_embeddings.weight", prefix), PLACES, H, 0, 0, 1);
    model_add(m, NAME("%sembeddings.token_type_embeddings.weight", prefix), 2, H, 0, 0, 1);
    model_norm(m, NAME("%sembeddings.LayerNorm", prefix), H, true);
    for (int i = 0; i < LAYERS; i++) {
        static const char *const square[] = { "attention.self.query", "attention.self.key", "attention.self.value",
                                              "attention.output.dense" };
        for (size_t k = 0; k < COUNT_OF(square); k++)
            model_linear(m, NAME("%sencoder.layer.%d.%s", prefix, i, square[k]), H, H, true);
        model_norm(m, NAME("%sencoder.layer.%d.attention.output.LayerNorm", prefix, i), H, true);
        model_linear(m, NAME("%sencoder.layer.%d.intermediate.dense", prefix, i), INNER, H, true);
        model_linear(m, NAME("%sencoder.layer.%d.output.dense", prefix, i), H, INNER, true);
        model_norm(m, NAME("%sencoder.layer.%d.output.LayerNorm", prefix, i), H, true);
    }
    return m;
}

/* ---- the formula ---- */

static void plain_attention(const double *q, const double *k, const double *v, size_t t, double *out)
{
    for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < t; i++) {
            double score[TOKENS];
            for (size_t j = 0; j < t; j++) {
                score[j] = 0;
                for (size_t c = h * D; c < (h + 1) * D; c++)
                    score[j] += q[i * H + c] * k[j * H + c] / sqrt(D);
            }
            plain_softmax(score, t);
            for (size_t c = h * D; c < (h + 1) * D; c++) {
                out[i * H + c] = 0;
                for (size_t j = 0; j < t; j++)
                    out[i * H + c] += score[j] * v[j * H + c];
            }
        }
}

static void plain_layer(const struct random_model *m, const char *prefix, unsigned i, double *x, size_t t)
{
    static double q[TOKENS * H], k[TOKENS * H], v[TOKENS * H], context[TOKENS * H], y[TOKENS * H], up[TOKENS * INNER];
    char name[96];
    plain_linear(m, NAME("%sencoder.layer.%u.attention.self.query", prefix, i), x, t, H, H, q);
    plain_linear(m, NAME("%sencoder.layer.%u.attention.self.key", prefix, i), x, t, H, H, k);
    plain_linear(m, NAME("%sencoder.layer.%u.attention.self.value", prefix, i), x, t, H, H, v);
    plain_attention(q, k, v, t, context);
    plain_linear(m, NAME("%sencoder.layer.%u.attention.output.dense", prefix, i), context, t, H, H, y);
    for (size_t c = 0; c < t * H; c++)
        y[c] += x[c];
    plain_norm(m, NAME("%sencoder.layer.%u.attention.output.LayerNorm", prefix, i), y, t, H, 1e-6, x);
    plain_linear(m, NAME("%sencoder.layer.%u.intermediate.dense", prefix, i), x, t, INNER, H, up);
    for (size_t c = 0; c < t * INNER; c++)
        up[c] = plain_gelu(up[c]);
    plain_linear(m, NAME("%sencoder.layer.%u.output.dense", prefix, i), up, t, H, INNER, y);
    for (size_t c = 0; c < t * H; c++)
        y[c] += x[c];
    plain_norm(m, NAME("%sencoder.layer.%u.output.LayerNorm", prefix, i), y, t, H, 1e-6, x);
}

static void plain_bert(const struct random_model *m, const char *prefix, const int32_t *ids, const uint8_t *types,
                       const uint32_t *places, size_t t, unsigned layers, double *x)
{
    char name[96];
    const float *words = model_find(m, NAME("%sembeddings.word_embeddings.weight", prefix));
    const float *positions = model_find(m, NAME("%sembeddings.position_embeddings.weight", prefix));
    const float *kinds = model_find(m, NAME("%sembeddings.token_type_embeddings.weight", prefix));
    for (size_t i = 0; i < t; i++)
        for (size_t c = 0; c < H; c++)
            x[i * H + c] = (double)words[(size_t)ids[i] * H + c] + (double)positions[places[i] * H + c] +
                           (double)kinds[(types ? types[i] : 0u) * H + c];
    plain_norm(m, NAME("%sembeddings.LayerNorm", prefix), x, t, H, 1e-6, x);
    for (unsigned i = 0; i < layers; i++)
        plain_layer(m, prefix, i, x, t);
}

static const int32_t ids[TOKENS] = { 2,  9,  40, 3,  3, 17, 28, 49, 0,  5,  11, 23, 31, 44, 8,  6, 7,
                                     12, 30, 29, 1, 47, 46, 20, 21, 22, 33, 34, 35, 36, 37, 38, 39 };
static const uint32_t starts[] = { 0, 1, 13, 13, TOKENS };      /* one of one token, one empty */
static const uint8_t types[TOKENS] = { 0, 0, 0, 1, 1, 1, 0, 1 };
static const struct encoder_batch batch = { .ids = ids, .types = types, .starts = starts, .n_texts = 4 };

/* The largest difference between a forward of the batch and the formula for each of its texts. */
static double gap_of(const struct random_model *m, const char *prefix, const float *hidden, bool counts_from_pad, unsigned layers)
{
    static double x[TOKENS * H];
    double gap = 0;
    for (uint32_t i = 0; i < batch.n_texts; i++) {
        uint32_t from = starts[i], t = starts[i + 1] - from, places[TOKENS];
        for (uint32_t j = 0, count = 0; j < t; j++)
            places[j] = !counts_from_pad ? j : ids[from + j] == 1 ? 1 : 2 + count++;
        plain_bert(m, prefix, ids + from, types + from, places, t, layers, x);
        gap = fmax(gap, largest_gap(hidden + (size_t)from * H, x, (size_t)t * H));
    }
    return gap;
}

static void forwards_equal_the_formula(void **state)
{
    (void)state;
    static const struct { const char *prefix, *config; bool counts_from_pad; unsigned exit; } cases[] = {
        { "", BERT, false, 0 },
        { "bert.", BERT, false, 2 },
        { "0.auto_model.", BERT, false, 0 },
        { "inner.bert.", BERT, false, 0 },
        { "roberta.", ROBERTA, true, 0 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct random_model *m = random_bert(cases[i].prefix);
        model_write(m, cases[i].config);
        struct encoder *e = model_open(m, (struct encoder_options){ .exit_layer = cases[i].exit });
        struct encoder_scratch *s = encoder_scratch_new();
        const float *hidden = encoder_forward(e, &batch, s, NULL, NULL);
        assert_non_null(hidden);
        double gap = gap_of(m, cases[i].prefix, hidden, cases[i].counts_from_pad, cases[i].exit ? cases[i].exit : LAYERS);
        if (!(gap < 1e-4))
            fail_msg("case %zu: off by %g", i, gap);
        float middle[TOKENS * H];
        struct encoder_batch with_middle = batch;
        with_middle.middle_layer = 1, with_middle.middle = middle;
        encoder_forward(e, &with_middle, s, NULL, NULL);
        assert_true(gap_of(m, cases[i].prefix, middle, cases[i].counts_from_pad, 1) < 1e-4);
        assert_int_equal(e->shape.positions, cases[i].counts_from_pad ? PLACES - 2 : PLACES);
        encoder_scratch_free(s);
        encoder_close(e);
        model_free(m);
    }
}

/* Many texts, so that the gang deals out rows and the batch is taken in groups; then one short one, so that it shares columns. */
static void a_gang_computes_what_one_thread_does(void **state)
{
    (void)state;
    enum { TEXTS = 45, N = TEXTS * PLACES };
    static int32_t many[N];
    static uint32_t cuts[TEXTS + 1];
    for (uint32_t i = 0; i < N; i++)
        many[i] = (int32_t)(i * 7 % WORDS);
    for (uint32_t i = 0; i <= TEXTS; i++)
        cuts[i] = i * PLACES;
    struct random_model *m = random_bert("");
    model_write(m, BERT);
    struct gang *g = gang_new(3);
    for (enum precision p = PRECISION_F32; p < PRECISION_N; p++) {
        struct encoder *e = model_open(m, (struct encoder_options){ .precision = p });
        struct encoder_scratch *one = encoder_scratch_new(), *three = encoder_scratch_new();
        for (uint32_t n_texts = TEXTS; n_texts; n_texts = n_texts == TEXTS ? 1 : 0) {
            const struct encoder_batch b = { .ids = many, .starts = cuts, .n_texts = n_texts };
            const float *a = encoder_forward(e, &b, one, NULL, NULL), *c = encoder_forward(e, &b, three, g, NULL);
            for (size_t i = 0; i < (size_t)cuts[n_texts] * H; i++)
                if (!(fabsf(a[i] - c[i]) <= 1e-4f))
                    fail_msg("%s, %u texts: [%zu] %g and %g", precision_name(p), n_texts, i, (double)a[i], (double)c[i]);
        }
        encoder_scratch_free(one);
        encoder_scratch_free(three);
        encoder_close(e);
    }
    gang_free(g);
    model_free(m);
}

static void lower_precisions_stay_close(void **state)
{
    (void)state;
    static const float least[] = { [PRECISION_BF16] = .999f, [PRECISION_INT8] = .99f };
    struct random_model *m = random_bert("");
    model_write(m, BERT);
    struct encoder *exact = model_open(m, (struct encoder_options){ .precision = PRECISION_F32 });
    struct encoder_scratch *s = encoder_scratch_new(), *s2 = encoder_scratch_new();
    const float *wanted = encoder_forward(exact, &batch, s, NULL, NULL);
    for (enum precision p = PRECISION_BF16; p < PRECISION_N; p++) {
        struct encoder *e = model_open(m, (struct encoder_options){ .precision = p });
        const float *hidden = encoder_forward(e, &batch, s2, NULL, NULL);
        size_t n = TOKENS * H;
        float cosine = vector_dot(hidden, wanted, n) / sqrtf(vector_dot(hidden, hidden, n) * vector_dot(wanted, wanted, n));
        if (!(cosine >= least[p]))
            fail_msg("%s: cosine %g", precision_name(p), (double)cosine);
        encoder_close(e);
    }
    encoder_scratch_free(s);
    encoder_scratch_free(s2);
    encoder_close(exact);
    model_free(m);
}

static void scratch_is_kept_and_a_forward_can_be_stopped(void **state)
{
    (void)state;
    struct random_model *m = random_bert("");
    model_write(m, BERT);
    struct encoder *e = model_open(m, (struct encoder_options){ 0 });
    struct encoder_scratch *s = encoder_scratch_new();
    const struct encoder_batch small = { .ids = ids, .starts = starts, .n_texts = 1 };
    encoder_forward(e, &small, s, NULL, NULL);
    encoder_forward(e, &batch, s, NULL, NULL);
    const float *large = encoder_forward(e, &batch, s, NULL, NULL);
    size_t taken = encoder_taken(s);
    assert_ptr_equal(encoder_forward(e, &small, s, NULL, NULL), large);
    assert_ptr_equal(encoder_forward(e, &batch, s, NULL, NULL), large);
    assert_int_equal(encoder_taken(s), taken);
    const volatile bool stop = true;
    assert_null(encoder_forward(e, &batch, s, NULL, &stop));
    encoder_scratch_free(s);
    encoder_close(e);
    model_free(m);
}

static void what_was_taken_does_not_move(void **state)
{
    (void)state;
    struct encoder_scratch *s = encoder_scratch_new();
    for (int round = 0; round < 3; round++) {
        char *pieces[40];
        encoder_give(s, 0);
        for (size_t i = 0; i < COUNT_OF(pieces); i++) {
            size_t mark = encoder_taken(s);
            memset(encoder_take(s, 100000), 0xff, 100000);
            encoder_give(s, mark);
            pieces[i] = encoder_take(s, 1 + i * 5000);
            assert_int_equal((uintptr_t)pieces[i] % 64, 0);
            memset(pieces[i], (int)i, 1 + i * 5000);
        }
        for (size_t i = 0; i < COUNT_OF(pieces); i++)
            for (size_t k = 0; k < 1 + i * 5000; k += 1 + i * 4999)
                assert_int_equal(pieces[i][k], i);
    }
    assert_null(encoder_take(s, SIZE_MAX));
    encoder_scratch_free(s);
}

static void a_batch_that_does_not_fit_the_model_is_refused(void **state)
{
    (void)state;
    struct random_model *m = random_bert("");
    model_write(m, BERT);
    struct encoder *e = model_open(m, (struct encoder_options){ .positions_max = 20 });
    struct encoder_scratch *s = encoder_scratch_new();
    static const int32_t outside[] = { 1, WORDS, 2 }, negative[] = { -1 };
    static const uint32_t three[] = { 0, 3 }, one[] = { 0, 1 }, backwards[] = { 0, 3, 1 }, late[] = { 1, 3 };
    static const uint32_t long_text[] = { 0, 21 };
    const struct encoder_batch bad[] = {
        { .ids = outside, .starts = three, .n_texts = 1 }, { .ids = negative, .starts = one, .n_texts = 1 },
        { .ids = ids, .starts = backwards, .n_texts = 2 }, { .ids = ids, .starts = late, .n_texts = 1 },
        { .ids = ids, .starts = long_text, .n_texts = 1 },
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_null(encoder_forward(e, &bad[i], s, NULL, NULL));
    encoder_scratch_free(s);
    encoder_close(e);
    model_free(m);
}

/* ---- heads ---- */

static void heads_equal_the_formula_and_have_their_labels(void **state)
{
    (void)state;
    struct random_model *m = random_bert("bert.");
    model_linear(m, "bert.pooler.dense", H, H, true);
    model_linear(m, "classifier", 3, H, true);
    for (int is_token = 0; is_token < 2; is_token++) {
        model_write(m, is_token ? TOKEN_HEAD : TEXT_HEAD);
        struct encoder *e = model_open(m, (struct encoder_options){ 0 });
        struct encoder_scratch *s = encoder_scratch_new();
        const float *hidden = encoder_forward(e, &batch, s, NULL, NULL);
        assert_int_equal(e->shape.n_labels, 3);
        assert_int_equal(e->shape.is_token_head, is_token);
        assert_true(str_eq(e->shape.labels[0], is_token ? S("LABEL_0") : S("a")));
        assert_true(str_eq(e->shape.labels[1], S("LABEL_1")));
        assert_true(str_eq(e->shape.labels[2], is_token ? S("LABEL_2") : S("c")));
        float logits[TOKENS * 3];
        double x[TOKENS * H], inner[H], wanted[TOKENS * 3];
        encoder_classify(e, hidden, &batch, 1, logits);
        size_t t = is_token ? 12 : 1;
        for (size_t i = 0; i < t * H; i++)
            x[i] = (double)hidden[H + i];
        plain_linear(m, "bert.pooler.dense", x, 1, H, H, inner);
        for (size_t i = 0; i < H; i++)
            inner[i] = tanh(inner[i]);
        plain_linear(m, "classifier", is_token ? x : inner, t, 3, H, wanted);
        assert_true(largest_gap(logits, wanted, t * 3) < 1e-4);
        encoder_scratch_free(s);
        encoder_close(e);
    }
    model_free(m);
}

static void pooling_is_what_the_folder_asks_for(void **state)
{
    (void)state;
    static const struct { const char *modules, *pooling; int kind; const char *words; } cases[] = {
        { "[{\"type\": \"sentence_transformers.models.Transformer\", \"path\": \"\"}, "
          "{\"type\": \"sentence_transformers.models.Pooling\", \"path\": \"1_Pooling\"}]",
          "{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}", POOLING_CLS, NULL },
        { "[{\"type\": \"x.Pooling\", \"path\": \"1_Pooling\"}]", "{\"pooling_mode_lasttoken\": true}", POOLING_LAST, NULL },
        { "[{\"type\": \"x.Pooling\", \"path\": \"1_Pooling\"}]", "{\"pooling_mode\": \"mean\"}", POOLING_MEAN, NULL },
        { "[{\"type\": \"x.Pooling\", \"path\": \"1_Pooling\"}]", "{\"pooling_mode_max_tokens\": true}", 0,
          "neither cls, mean nor" },
        { "[{\"type\": \"x.Pooling\", \"path\": \"../x\"}]", "{}", 0, "is not a folder inside" },
        { "[{\"type\": \"x.Dense\", \"path\": \"2_Dense\"}]", "{}", 0, "Dense layer" },
        { "{}", "{}", 0, "expected an array" },
    };
    struct random_model *m = random_bert("");
    model_write(m, BERT);
    const char *modules = arena_printf(m->a, "%s/modules.json", m->folder).ptr;
    const char *folder = arena_printf(m->a, "%s/1_Pooling", m->folder).ptr;
    const char *pooling = arena_printf(m->a, "%s/config.json", folder).ptr;
    mkdir(folder, 0700);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        FILE *f = fopen(modules, "w");
        fputs(cases[i].modules, f);
        fclose(f);
        f = fopen(pooling, "w");
        fputs(cases[i].pooling, f);
        fclose(f);
        if (cases[i].words) {
            model_refused(m, BERT, cases[i].words);
            continue;
        }
        struct encoder *e = model_open(m, (struct encoder_options){ 0 });
        assert_int_equal(e->shape.pooling, cases[i].kind);
        encoder_close(e);
    }
    unlink(modules);
    unlink(pooling);
    rmdir(folder);
    model_free(m);
}

static void vectors_are_pooled_from_one_text_of_the_batch(void **state)
{
    (void)state;
    const struct encoder_shape shape = { .hidden = 2 };
    const float hidden[] = { 9, 9, 1, 2, 3, 6, 5, 7 };
    const uint32_t cuts[] = { 0, 1, 4, 4 };
    const struct encoder_batch b = { .starts = cuts, .n_texts = 3 };
    static const float wanted[][2] = { [POOLING_MEAN] = { 3, 5 }, [POOLING_CLS] = { 1, 2 }, [POOLING_LAST] = { 5, 7 } };
    for (enum pooling p = POOLING_MEAN; p <= POOLING_LAST; p++) {
        float out[2];
        encoder_pool(&shape, p, hidden, &b, 1, out);
        assert_true(fabsf(out[0] - wanted[p][0]) < 1e-6f && fabsf(out[1] - wanted[p][1]) < 1e-6f);
        encoder_pool(&shape, p, hidden, &b, 2, out);
        assert_true(out[0] == 0 && out[1] == 0);
    }
}

/* ---- folders that are refused ---- */

static void a_bad_configuration_is_refused_with_the_reason(void **state)
{
    (void)state;
#define C(rest) "{\"model_type\": \"bert\", " rest "}"
    static const struct { const char *config, *words; } cases[] = {
        { "{\"model_type\": \"gpt2\"}", "\"gpt2\"; those that exist here are bert, distilbert, roberta, xlm-roberta" },
        { "{}", "model_type is \"\"" },
        { "[", "not JSON" },
        { C("\"num_hidden_layers\": 3"), "hidden_size is missing" },
        { C("\"hidden_size\": -1"), "hidden_size is -1" },
        { C("\"hidden_size\": \"48\""), "expected a whole number from 1 to 8192" },
        { C(SIZES ", \"num_attention_heads\": 5"), "48 is not a multiple of 5 heads" },
        { C(SIZES ", \"hidden_act\": \"mish\""), "hidden_act is \"mish\"; known are gelu" },
        { C(SIZES ", \"position_embedding_type\": \"relative_key\""), "relative_key" },
        { C(SIZES ", \"type_vocab_size\": 3"), "token_type_embeddings.weight\" is [2, 48]; config.json makes it [3, 48]" },
        { C(SIZES ", \"architectures\": [\"BertForSequenceClassification\"]"), "\"classifier.weight\" is missing" },
        { C(SIZES ", \"num_hidden_layers\": 4"), "encoder.layer.3.attention.self.query.weight\" is missing" },
        { C(SIZES ", \"intermediate_size\": 71"), "intermediate.dense.weight\" is [70, 48]; config.json makes it [71, 48]" },
    };
    struct random_model *m = random_bert("");
    model_write(m, BERT);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        model_refused(m, cases[i].config, cases[i].words);
    struct err e = { 0 };
    model_config(m, BERT);
    assert_null(encoder_open(m->folder, &(struct encoder_options){ .exit_layer = 4 }, &e));
    assert_non_null(strstr(e.text, "early exit after layer 4, but the model has 3"));
    model_free(m);
}

static void weights_that_are_no_numbers_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const names[] = { "embeddings.word_embeddings.weight", "embeddings.LayerNorm.bias",
                                         "encoder.layer.1.attention.self.key.weight", "encoder.layer.2.output.dense.bias" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct random_model *m = random_bert("");
        float *data = (float *)(uintptr_t)model_find(m, names[i]);
        data[5] = i % 2 ? NAN : INFINITY;
        model_write(m, BERT);
        char words[128];
        snprintf(words, sizeof words, "\"%s\" has NaN or infinity at element 5", names[i]);
        model_refused(m, BERT, words);
        model_free(m);
    }
}

static void old_names_of_norms_are_known(void **state)
{
    (void)state;
    struct random_model *m = random_bert("");
    for (size_t i = 0; i < m->n; i++) {
        str *name = &m->list[i].name;
        if (str_find(*name, S("LayerNorm")) >= 0)
            *name = arena_printf(m->a, "%.*s.%s", (int)str_find(*name, S("LayerNorm")) + 9, name->ptr,
                                 str_ends(*name, S("bias")) ? "beta" : "gamma");
    }
    model_write(m, BERT);
    encoder_close(model_open(m, (struct encoder_options){ 0 }));
    model_free(m);
}

/* ---- adapters ---- */

enum { RANK = 2 };

/* Gives the adapter folder a delta of every query, and these settings. */
static void put_adapter(struct random_model *adapter, const char *module, size_t n, const char *settings)
{
    struct err e = { 0 };
    adapter->n = 0;
    model_add(adapter, arena_printf(adapter->a, "base_model.model.bert.%s.lora_A.weight", module).ptr, RANK, H, 0, 0, 1);
    model_add(adapter, arena_printf(adapter->a, "base_model.model.bert.%s.lora_B.weight", module).ptr, n, RANK, 0, 0, 1);
    model_linear(adapter, "base_model.model.classifier.modules_to_save.default", 2, H, true);
    model_linear(adapter, "base_model.model.bert.pooler.dense", H, H, true);
    FILE *f = fopen(arena_printf(adapter->a, "%s/adapter_config.json", adapter->folder).ptr, "w");
    fprintf(f, "{\"peft_type\": \"LORA\", \"task_type\": \"SEQ_CLS\", \"lora_alpha\": 6%s}", settings);
    fclose(f);
    const char *path = arena_printf(adapter->a, "%s/adapter_model.safetensors", adapter->folder).ptr;
    assert_int_equal(weights_write(path, adapter->list, adapter->n, NULL, &e), 0);
}

static void an_adapter_is_merged_into_the_weights(void **state)
{
    (void)state;
    static const struct { const char *settings; double scale; } cases[] = {
        { "", 6.0 / RANK }, { ", \"use_rslora\": true", 6 / 1.41421356 }, { ", \"alpha_pattern\": {\"query\": 2}", 2.0 / RANK },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct random_model *m = random_bert(""), *adapter = model_new();
        model_write(m, BERT);
        put_adapter(adapter, "encoder.layer.1.attention.self.query", H, cases[i].settings);
        struct encoder *e = model_open(m, (struct encoder_options){ .adapter = adapter->folder });
        struct encoder_scratch *s = encoder_scratch_new();
        const float *hidden = encoder_forward(e, &batch, s, NULL, NULL);
        float *w = (float *)(uintptr_t)model_find(m, "encoder.layer.1.attention.self.query.weight");
        for (size_t n = 0; n < H; n++)
            for (size_t k = 0; k < H; k++)
                for (size_t r = 0; r < RANK; r++)
                    w[n * H + k] += (float)(cases[i].scale * (double)adapter->list[1].data[n * RANK + r] *
                                            (double)adapter->list[0].data[r * H + k]);
        double gap = gap_of(m, "", hidden, false, LAYERS);
        if (!(gap < 1e-4))
            fail_msg("case %zu: off by %g", i, gap);
        assert_int_equal(e->shape.n_labels, 2);         /* the head came with the adapter */
        encoder_scratch_free(s);
        encoder_close(e);
        unlink(arena_printf(adapter->a, "%s/adapter_config.json", adapter->folder).ptr);
        unlink(arena_printf(adapter->a, "%s/adapter_model.safetensors", adapter->folder).ptr);
        model_free(adapter);
        model_free(m);
    }
}

static void an_adapter_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const struct { const char *module, *settings, *words; size_t n; } cases[] = {
        { "encoder.layer.7.attention.self.query", "", "no module \"bert.encoder.layer.7.attention.self.query\"", H },
        { "encoder.layer.1.attention.self.query", "", "is [48, 48] in the model, but its delta is [47, 48]", H - 1 },
        { "encoder.layer.1.attention.self.query", ", \"fan_in_fan_out\": true", "fan_in_fan_out is not supported", H },
        { "encoder.layer.1.attention.self.query", ", \"peft_type\": \"IA3\"", "peft_type is \"IA3\"", H },
        { "encoder.layer.1.attention.self.query", ", \"lora_alpha\": null", "lora_alpha is missing", H },
    };
    struct random_model *m = random_bert(""), *adapter = model_new();
    model_write(m, BERT);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = { 0 };
        put_adapter(adapter, cases[i].module, cases[i].n, cases[i].settings);
        if (encoder_open(m->folder, &(struct encoder_options){ .adapter = adapter->folder }, &e))
            fail_msg("opened, though: %s", cases[i].words);
        if (!strstr(e.text, cases[i].words))
            fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].words);
    }
    unlink(arena_printf(adapter->a, "%s/adapter_config.json", adapter->folder).ptr);
    unlink(arena_printf(adapter->a, "%s/adapter_model.safetensors", adapter->folder).ptr);
    model_free(adapter);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards_equal_the_formula),
        cmocka_unit_test(a_gang_computes_what_one_thread_does),
        cmocka_unit_test(lower_precisions_stay_close),
        cmocka_unit_test(scratch_is_kept_and_a_forward_can_be_stopped),
        cmocka_unit_test(what_was_taken_does_not_move),
        cmocka_unit_test(a_batch_that_does_not_fit_the_model_is_refused),
        cmocka_unit_test(heads_equal_the_formula_and_have_their_labels),
        cmocka_unit_test(pooling_is_what_the_folder_asks_for),
        cmocka_unit_test(vectors_are_pooled_from_one_text_of_the_batch),
        cmocka_unit_test(a_bad_configuration_is_refused_with_the_reason),
        cmocka_unit_test(weights_that_are_no_numbers_are_refused_by_name),
        cmocka_unit_test(old_names_of_norms_are_known),
        cmocka_unit_test(an_adapter_is_merged_into_the_weights),
        cmocka_unit_test(an_adapter_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
