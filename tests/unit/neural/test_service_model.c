/* tests/unit/neural/test_service_model.c -- models from folders: shared by path and options, opened once, closed with the
 * last holder; and a real trunk behind the service. */
#include "random_model.h"

#include <errno.h>
#include <pthread.h>

#include "base/clock.h"
#include "fake_trunk.h"
#include "neural/pair.h"

enum { HIDDEN = 32, WIDE = 64, WORDS = 64, POSITIONS = 128 };

static const char *const config =
    "{\"model_type\":\"bert\",\"architectures\":[\"BertModel\"],\"hidden_size\":32,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":2,\"intermediate_size\":64,\"vocab_size\":64,"
    "\"max_position_embeddings\":128,\"type_vocab_size\":2,\"hidden_act\":\"gelu\","
    "\"layer_norm_eps\":1e-12,\"pad_token_id\":0}";

static struct random_model *folder_make(void)
{
    struct random_model *m = model_new();
    model_add(m, "embeddings.word_embeddings.weight", WORDS, HIDDEN, 0, 0, 1);
    model_add(m, "embeddings.position_embeddings.weight", POSITIONS, HIDDEN, 0, 0, .2);
    model_add(m, "embeddings.token_type_embeddings.weight", 2, HIDDEN, 0, 0, .2);
    model_norm(m, "embeddings.LayerNorm", HIDDEN, true);
    static const char *const square[] = { "attention.self.query", "attention.self.key", "attention.self.value",
                                          "attention.output.dense" };
    for (int layer = 0; layer < 2; layer++) {
        const char *at = arena_printf(m->a, "encoder.layer.%d", layer).ptr;
        for (size_t i = 0; i < COUNT_OF(square); i++)
            model_linear(m, arena_printf(m->a, "%s.%s", at, square[i]).ptr, HIDDEN, HIDDEN, true);
        model_norm(m, arena_printf(m->a, "%s.attention.output.LayerNorm", at).ptr, HIDDEN, true);
        model_linear(m, arena_printf(m->a, "%s.intermediate.dense", at).ptr, WIDE, HIDDEN, true);
        model_linear(m, arena_printf(m->a, "%s.output.dense", at).ptr, HIDDEN, WIDE, true);
        model_norm(m, arena_printf(m->a, "%s.output.LayerNorm", at).ptr, HIDDEN, true);
    }
    model_write(m, config);
    struct buf b = { 0 };
    fake_tokenizer_json(&b);
    FILE *f = fopen(arena_printf(m->a, "%s/tokenizer.json", m->folder).ptr, "w");
    assert_non_null(f);
    fwrite(b.ptr, 1, b.len, f);
    fclose(f);
    buf_free(&b);
    return m;
}

static void folder_free(struct random_model *m)
{
    unlink(arena_printf(m->a, "%s/tokenizer.json", m->folder).ptr);
    model_free(m);
}

static const struct neural_model_options exact = { .precision = PRECISION_F32 };

struct opener { pthread_t thread; const char *folder; struct neural_model *model; struct err e; };

static void *open_run(void *arg)
{
    struct opener *o = arg;
    o->model = neural_model_open(o->folder, &exact, &o->e);
    return NULL;
}

static void openers_run(struct opener *o, size_t n, const char *folder)
{
    for (size_t i = 0; i < n; i++) {
        o[i] = (struct opener){ .folder = folder };
        pthread_create(&o[i].thread, NULL, open_run, &o[i]);
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(o[i].thread, NULL);
}

static void all_who_open_a_folder_at_once_get_one_model(void **state)
{
    (void)state;
    struct random_model *f = folder_make();
    struct opener o[8];
    openers_run(o, 8, f->folder);
    for (int i = 0; i < 8; i++) {
        if (!o[i].model)
            fail_msg("%s", o[i].e.text);
        assert_ptr_equal(o[i].model, o[0].model);
    }
    const char *other_way = arena_printf(f->a, "%s/../%s", f->folder, strrchr(f->folder, '/') + 1).ptr;
    struct neural_model *same = neural_model_open(other_way, &exact, NULL);
    assert_ptr_equal(same, o[0].model);
    struct neural_model_options cut = exact;
    cut.dim = 16;
    struct neural_model *other = neural_model_open(f->folder, &cut, NULL);
    assert_ptr_not_equal(other, same);
    assert_int_equal(neural_model_dim(same), HIDDEN);
    assert_int_equal(neural_model_dim(other), 16);
    neural_model_release(other);
    neural_model_release(same);
    for (int i = 0; i < 8; i++)
        neural_model_release(o[i].model);
    folder_free(f);
}

static void a_broken_folder_is_an_error_for_all_who_waited(void **state)
{
    (void)state;
    struct random_model *f = folder_make();
    const char *weights = arena_printf(f->a, "%s/model.safetensors", f->folder).ptr;
    assert_int_equal(truncate(weights, 1000), 0);
    struct opener o[4];
    openers_run(o, 4, f->folder);
    for (int i = 0; i < 4; i++) {
        assert_null(o[i].model);
        assert_non_null(strstr(o[i].e.text, "model.safetensors"));
    }
    model_write(f, config);                             /* mended: opens */
    struct neural_model *m = neural_model_open(f->folder, &exact, NULL);
    assert_non_null(m);
    neural_model_release(m);
    struct err e = { .text = "" };
    assert_null(neural_model_open("/nowhere/at/all", &exact, &e));
    assert_non_null(strstr(e.text, "/nowhere/at/all"));
    folder_free(f);
}

static void options_that_the_model_cannot_give_are_refused(void **state)
{
    (void)state;
    struct random_model *f = folder_make();
    struct err e = { .text = "" };
    struct neural_model_options o = exact;
    o.dim = HIDDEN + 1;
    assert_null(neural_model_open(f->folder, &o, &e));
    assert_non_null(strstr(e.text, "33 dimensions"));
    e.text[0] = 0;
    o = exact;
    o.window_tokens = 4;
    assert_null(neural_model_open(f->folder, &o, &e));
    assert_non_null(strstr(e.text, "too short"));
    folder_free(f);
}

/* The same text alone, in a batch with others, and with a gang: the same vector. */
static void company_does_not_change_a_vector(void **state)
{
    (void)state;
    struct random_model *f = folder_make();
    float vectors[4][HIDDEN];
    for (unsigned round = 0; round < 4; round++) {
        struct neural_options o = { .threads = 1 + round % 2 };
        assert_int_equal(neural_start(&o, NULL), 0);
        struct neural_model *m = neural_model_open(f->folder, &exact, NULL);
        assert_non_null(m);
        struct arena *a = arena_new();
        struct neural_ask asks[40];
        size_t n = round < 2 ? 1 : 40;
        for (size_t i = 0; i < n; i++)
            asks[i] = (struct neural_ask){ .task = NEURAL_EMBED, .model = m,
                                           .text = i == n / 2 ? S("a text of some words") : arena_printf(a, "number %zu", i) };
        assert_int_equal(neural_run(asks, n, NEVER, a), n);
        memcpy(vectors[round], asks[n / 2].values, sizeof vectors[round]);
        arena_free(a);
        neural_model_release(m);
        neural_stop();
    }
    for (unsigned round = 1; round < 4; round++)
        for (int i = 0; i < HIDDEN; i++)
            assert_true(fabsf(vectors[round][i] - vectors[0][i]) < 1e-5f);
    folder_free(f);
}

static void prompts_write(const struct random_model *f, const char *text)
{
    FILE *out = fopen(arena_printf(f->a, "%s/config_sentence_transformers.json", f->folder).ptr, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* "ask: x" is what a model with that prompt reads of "x", of "ask: x" itself, and what one without prompts reads of "ask: x". */
static void a_prompt_is_read_before_every_text_once(void **state)
{
    (void)state;
    struct random_model *f = folder_make();
    assert_int_equal(neural_start(&(struct neural_options){ .threads = 1 }, NULL), 0);
    struct neural_model *plain = neural_model_open(f->folder, &exact, NULL);
    struct neural_model_options other = exact;
    other.window_tokens = 100;                          /* another model of the same folder */
    prompts_write(f, "{\"prompts\": {\"q\": \"ask me \", \"p\": \"read me \"}, \"default_prompt_name\": \"q\"}");
    struct neural_model *prompted = neural_model_open(f->folder, &other, NULL);
    assert_true(plain && prompted);
    struct arena *a = arena_new();
    struct neural_ask asks[] = {
        { .task = NEURAL_EMBED, .model = plain, .text = S("ask me a dog") },    { .task = NEURAL_EMBED, .model = plain, .text = S("read me a dog") },
        { .task = NEURAL_EMBED, .model = prompted, .text = S("a dog") },        { .task = NEURAL_EMBED, .model = prompted, .text = S("ask me a dog") },
        { .task = NEURAL_EMBED, .model = prompted, .text = S("read me a dog") },
    };
    assert_int_equal(neural_run(asks, 5, NEVER, a), 5);
    for (int i = 0; i < HIDDEN; i++) {
        assert_true(fabsf(asks[2].values[i] - asks[0].values[i]) < 1e-5f);
        assert_true(fabsf(asks[3].values[i] - asks[0].values[i]) < 1e-5f);
        assert_true(fabsf(asks[4].values[i] - asks[1].values[i]) < 1e-5f);
    }
    assert_int_equal(asks[2].n_tokens, asks[0].n_tokens);
    char *words = arena_alloc(a, 2001);
    memset(words, 'a', 2000);
    struct neural_ask many = { .task = NEURAL_EMBED, .model = prompted, .text = { words, 2000 } };
    assert_int_equal(neural_run(&many, 1, NEVER, a), 1);
    assert_true(many.n_windows > 20);                   /* each of 100 tokens, prompt and frame among them */
    arena_free(a);
    neural_model_release(plain);
    neural_model_release(prompted);
    struct err e = { 0 };
    other.window_tokens = 99;
    prompts_write(f, "{\"prompts\": {\"q\": 7}}");
    assert_null(neural_model_open(f->folder, &other, &e));
    assert_non_null(strstr(e.text, "config_sentence_transformers.json: prompt \"q\""));
    neural_stop();
    unlink(arena_printf(f->a, "%s/config_sentence_transformers.json", f->folder).ptr);
    folder_free(f);
}

/* The classifier on [CLS] first [SEP] second [SEP], with the second text's types, computed by hand. */
static void a_pair_is_two_texts_before_one_classifier(void **state)
{
    (void)state;
    struct random_model *f = folder_make();
    model_linear(f, "pooler.dense", HIDDEN, HIDDEN, true);
    model_linear(f, "classifier", 3, HIDDEN, true);
    model_write(f, "{\"model_type\":\"bert\",\"architectures\":[\"BertForSequenceClassification\"],\"hidden_size\":32,\"num_hidden_layers\":2,"
                   "\"num_attention_heads\":2,\"intermediate_size\":64,\"vocab_size\":64,\"max_position_embeddings\":128,"
                   "\"type_vocab_size\":2,\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-12,\"pad_token_id\":0,"
                   "\"id2label\":{\"0\":\"entailment\",\"1\":\"neutral\",\"2\":\"contradiction\"}}");
    struct err e = { 0 };
    struct neural_model *m = neural_model_open(f->folder, &exact, &e);
    if (!m)
        fail_msg("%s", e.text);
    float got[3], logits[3], sum = 0;
    bool is_cut = true;
    assert_int_equal(neural_pair(m, S("ab c"), S("d"), got, &is_cut), 0);
    assert_false(is_cut);
    const int32_t ids[] = { 2, FAKE_LETTER, FAKE_INSIDE + 1, FAKE_LETTER + 2, 3, FAKE_LETTER + 3, 3 };
    const uint8_t types[] = { 0, 0, 0, 0, 0, 1, 1 };
    const uint32_t starts[] = { 0, COUNT_OF(ids) };
    struct encoder *encoder = model_open(f, (struct encoder_options){ .precision = PRECISION_F32 });
    struct encoder_scratch *s = encoder_scratch_new();
    struct encoder_batch b = { .ids = ids, .types = types, .starts = starts, .n_texts = 1 };
    encoder_classify(encoder, encoder_forward(encoder, &b, s, NULL, NULL), &b, 0, logits);
    for (int i = 0; i < 3; i++)
        sum += expf(logits[i]);
    for (int i = 0; i < 3; i++)
        assert_true(fabsf(got[i] - expf(logits[i]) / sum) < 1e-5f);
    encoder_scratch_free(s);
    encoder_close(encoder);
    char words[4000];
    memset(words, 'a', sizeof words);                   /* far more than 128 positions, on either side and on both */
    assert_int_equal(neural_pair(m, (str){ words, sizeof words }, S("d"), got, &is_cut), 0);
    assert_true(is_cut && fabsf(got[0] + got[1] + got[2] - 1) < 1e-5f);
    assert_int_equal(neural_pair(m, S(""), (str){ words, sizeof words }, got, &is_cut), 0);
    assert_true(is_cut);
    assert_int_equal(neural_pair(m, (str){ words, sizeof words }, (str){ words, sizeof words }, got, NULL), 0);
    neural_model_release(m);
    folder_free(f);
    f = folder_make();
    m = neural_model_open(f->folder, &exact, NULL);
    assert_int_equal(neural_pair(m, S("a"), S("b"), got, NULL), -EINVAL);
    neural_model_release(m);
    folder_free(f);
}

static void the_middle_layer_s_vector_is_that_of_an_early_exit(void **state)
{
    (void)state;
    struct random_model *f = folder_make();
    assert_int_equal(neural_start(&(struct neural_options){ .threads = 1 }, NULL), 0);
    struct neural_model_options both = exact, early = exact;
    both.middle_layer = 1;
    early.exit_layer = 1;
    struct neural_model *m = neural_model_open(f->folder, &both, NULL), *m1 = neural_model_open(f->folder, &early, NULL);
    struct neural_model *m2 = neural_model_open(f->folder, &exact, NULL);
    assert_true(m && m1 && m2);
    struct arena *a = arena_new();
    str text = S("a text of some words");
    struct neural_ask asks[] = {
        { .task = NEURAL_MIDDLE, .model = m, .text = text }, { .task = NEURAL_EMBED, .model = m1, .text = text },
        { .task = NEURAL_EMBED, .model = m, .text = text },  { .task = NEURAL_EMBED, .model = m2, .text = text },
        { .task = NEURAL_MIDDLE, .model = m2, .text = text },
    };
    assert_int_equal(neural_run(asks, 5, NEVER, a), 4);
    assert_int_equal(asks[4].status, -EINVAL);          /* m2 keeps no middle layer */
    for (int i = 0; i < HIDDEN; i++) {
        assert_true(fabsf(asks[0].values[i] - asks[1].values[i]) < 1e-5f);
        assert_true(fabsf(asks[2].values[i] - asks[3].values[i]) < 1e-5f);
    }
    arena_free(a);
    neural_model_release(m);
    neural_model_release(m1);
    neural_model_release(m2);
    neural_stop();
    folder_free(f);
}

static void a_model_released_while_its_text_waits_lives_until_the_text_is_done(void **state)
{
    (void)state;
    struct random_model *f = folder_make();
    struct neural_options o = { .threads = 1 };
    assert_int_equal(neural_start(&o, NULL), 0);
    for (int i = 0; i < 50; i++) {
        struct neural_model *m = neural_model_open(f->folder, &exact, NULL);
        assert_non_null(m);
        struct arena *a = arena_new();
        str text = arena_printf(a, "%*d of many words that are read for a while", i % 2 ? 2000 : 1, i);
        memset((char *)(uintptr_t)text.ptr, 'a' + i % 26, i % 2 ? 1900 : 1);
        struct neural_ask ask = { .task = NEURAL_EMBED, .model = m, .text = text };
        neural_run(&ask, 1, clock_now() + 20000 + (uint64_t)i * 20000, a);      /* some give up waiting, some in a forward */
        assert_true(ask.status == 0 || ask.status == -ETIMEDOUT);
        neural_model_release(m);
        arena_free(a);
    }
    neural_stop();
    folder_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_who_open_a_folder_at_once_get_one_model),
        cmocka_unit_test(a_broken_folder_is_an_error_for_all_who_waited),
        cmocka_unit_test(options_that_the_model_cannot_give_are_refused),
        cmocka_unit_test(company_does_not_change_a_vector),
        cmocka_unit_test(a_prompt_is_read_before_every_text_once),
        cmocka_unit_test(a_pair_is_two_texts_before_one_classifier),
        cmocka_unit_test(the_middle_layer_s_vector_is_that_of_an_early_exit),
        cmocka_unit_test(a_model_released_while_its_text_waits_lives_until_the_text_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
