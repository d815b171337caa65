/* tests/unit/neural/fake_trunk.h -- a trunk of eight dimensions that tests hold in their hand.
 *
 * Tokens are single letters. Letter c adds one to dimension c % 8 of its own state, so a text's vector counts its letters.
 * As a token classifier it says B-NAME for x, I-NAME for y, O for all else; as a sequence classifier its two logits are
 * dimensions 0 and 1. Its forwards wait at a gate, watch the stop flag, and are counted. */
#ifndef FAKE_TRUNK_H
#define FAKE_TRUNK_H

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "neural/model.h"
#include "neural/ngram.h"

enum { FAKE_DIM = 8, FAKE_LETTER = 4, FAKE_INSIDE = 30 };      /* numbers of "a" and "##a" */

static atomic_bool fake_gate_shut;
static atomic_uint fake_slow_us;
static atomic_uint fake_forwards, fake_stopped, fake_texts, fake_waiting, fake_ganged, fake_tokens_most;

static inline int fake_forward(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                        const volatile bool *stop, float *hidden)
{
    (void)e;
    (void)s;
    atomic_fetch_add(&fake_forwards, 1);
    atomic_fetch_add(&fake_texts, b->n_texts);
    atomic_fetch_add(&fake_ganged, gang_size(g) > 1);
    uint32_t n = b->starts[b->n_texts];
    for (unsigned most = atomic_load(&fake_tokens_most); n > most && !atomic_compare_exchange_weak(&fake_tokens_most, &most, n);)
        ;
    atomic_fetch_add(&fake_waiting, 1);
    while (atomic_load(&fake_gate_shut) && !__atomic_load_n(stop, __ATOMIC_RELAXED))
        usleep(50);
    atomic_fetch_sub(&fake_waiting, 1);
    usleep(atomic_load(&fake_slow_us));
    if (__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        atomic_fetch_add(&fake_stopped, 1);
        return -1;
    }
    memset(hidden, 0, n * FAKE_DIM * sizeof *hidden);
    for (uint32_t i = 0; i < n; i++) {
        int letter = b->ids[i] >= FAKE_INSIDE ? b->ids[i] - FAKE_INSIDE : b->ids[i] - FAKE_LETTER;
        if (letter >= 0)
            hidden[i * FAKE_DIM + (uint32_t)letter % FAKE_DIM] = 1 + .001f * (float)letter;
    }
    return 0;
}

static inline int letter_of(const float *state)
{
    for (int d = 0; d < FAKE_DIM; d++)
        if (state[d] > 0)
            return (int)((state[d] - 1) * 1000 + .5f);
    return -1;
}

static inline void fake_classify(const struct encoder *e, const float *hidden, uint32_t n_tokens, float *logits)
{
    if (!e->shape.is_token_head) {
        logits[0] = hidden[0];
        logits[1] = hidden[1];
        return;
    }
    for (uint32_t i = 0; i < n_tokens; i++) {
        int c = letter_of(hidden + i * FAKE_DIM);
        logits[3 * i] = c == 'x' - 'a' || c == 'y' - 'a' ? -5 : 5;
        logits[3 * i + 1] = c == 'x' - 'a' ? 5 : -5;
        logits[3 * i + 2] = c == 'y' - 'a' ? 5 : -5;
    }
}

static const struct encoder_ops fake_ops __attribute__((unused)) = {
    .model_type = "fake", .forward = fake_forward, .classify = fake_classify,
};

static inline void fake_tokenizer_json(struct buf *b)
{
    buf_printf(b, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    static const char *const special[] = { "[PAD]", "[UNK]", "[CLS]", "[SEP]" };
    for (int i = 0; i < 4; i++)
        buf_printf(b, "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                   "\"normalized\":false,\"special\":true}", i ? "," : "", i, special[i]);
    buf_printf(b, "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"post_processor\":{\"type\":"
               "\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]},\"decoder\":null,\"model\":{"
               "\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
               "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":1000000,\"vocab\":{");
    for (int i = 0; i < 4; i++)
        buf_printf(b, "\"%s\":%d,", special[i], i);
    for (int i = 0; i < 26; i++)
        buf_printf(b, "\"%c\":%d,\"##%c\":%d%s", 'a' + i, FAKE_LETTER + i, 'a' + i, FAKE_INSIDE + i, i < 25 ? "," : "}}}");
}

static inline struct tokenizer *fake_tokenizer(void)
{
    struct buf b = { 0 };
    fake_tokenizer_json(&b);
    struct err e = { .text = "" };
    struct tokenizer *t = tokenizer_parse(buf_view(&b), "fake/tokenizer.json", &e);
    buf_free(&b);
    if (!t)
        fprintf(stderr, "%s\n", e.text);
    return t;
}

enum fake_kind { FAKE_PLAIN, FAKE_SEQUENCE, FAKE_TOKENS };

static inline struct neural_model *fake_model(enum fake_kind kind, uint32_t window_tokens, uint32_t dim)
{
    static str sequence[] = { { "no", 2 }, { "yes", 3 } }, token[] = { { "O", 1 }, { "B-NAME", 6 }, { "I-NAME", 6 } };
    struct arena *a = arena_new();
    struct encoder *enc = ARENA_NEW(a, struct encoder);
    enc->a = a;
    enc->ops = &fake_ops;
    enc->shape = (struct encoder_shape){
        .architecture = "fake", .layers = 1, .hidden = FAKE_DIM, .heads = 1, .vocabulary = 64, .positions = 512, .exit_layer = 1,
        .pooling = POOLING_MEAN, .is_token_head = kind == FAKE_TOKENS,
        .labels = kind == FAKE_TOKENS ? token : sequence, .n_labels = kind == FAKE_TOKENS ? 3 : kind == FAKE_SEQUENCE ? 2 : 0,
    };
    struct neural_model_options o = { .precision = PRECISION_F32, .window_tokens = window_tokens, .dim = dim };
    struct tokenizer *t = fake_tokenizer();
    return t ? neural_model_make(enc, t, &o, NULL) : NULL;
}

/* A head file of two labels over the vector (dim > 0) and a few buckets of words (if wanted); `bias` of the second label is
 * what a reload changes. */
static inline void fake_head_write(const char *path, enum head_kind kind, uint32_t dim, bool has_words, float bias)
{
    static const char *const kinds[] = { "linear", "mlp", "tokens" };
    char card[512];
    snprintf(card, sizeof card, "{\"kind\":\"%s\",\"signal\":\"test\",\"dim\":%u,\"labels\":[\"%s\",\"%s\"]%s}", kinds[kind], dim,
             kind == HEAD_TOKENS ? "O" : "no", kind == HEAD_TOKENS ? "NAME" : "yes",
             has_words ? ",\"ngrams\":{\"buckets\":64,\"word_max\":1}" : "");
    float weight[2 * FAKE_DIM] = { 0 }, biases[2] = { 0, bias }, words[128] = { 0 };
    weight[dim + ('x' - 'a') % FAKE_DIM] = 4;
    for (int i = 0; i < 128 && has_words; i++)
        words[i] = bias * .01f * (float)(i * 37 % 100);
    struct head h = { .kind = kind, .dim = dim, .n_labels = 2, .weight = weight, .bias = biases, .ngram_weight = words,
                      .ngrams.buckets = has_words ? 64 : 0, .temperature = 1, .card = str_of(card) };
    struct err e = { .text = "" };
    if (head_write(&h, path, &e) < 0)
        fprintf(stderr, "%s\n", e.text);
}

/* A head of one label that looks closer: at the two passages whose words weigh most. Only the word `bad` weighs. */
static inline void fake_guard_write(const char *path, str bad)
{
    enum { BUCKETS = 1 << 10 };
    static float words[BUCKETS];
    float weight[FAKE_DIM] = { [('x' - 'a') % FAKE_DIM] = 4 }, bias = -2;
    struct head h = { .dim = FAKE_DIM, .n_labels = 1, .weight = weight, .bias = &bias, .ngram_weight = words,
                      .ngrams = { .buckets = BUCKETS, .word_max = 1 }, .temperature = 1,
                      .card = S("{\"kind\":\"linear\",\"signal\":\"test\",\"dim\":8,\"labels\":[\"bad\"],\"ngrams\":{\"buckets\":1024,"
                                "\"word_max\":1},\"passages\":{\"most\":2,\"bytes\":100,\"from\":50,\"bar\":0.1,\"slope\":0.25,\"temperature\":2,"
                                "\"offset\":-1}}") };
    struct ngram_feature f[4];
    uint32_t n = ngram_features(&h.ngrams, bad, f, 4);
    memset(words, 0, sizeof words);
    for (uint32_t i = 0; i < n; i++)
        words[f[i].bucket] = 4;
    struct err e = { .text = "" };
    if (head_write(&h, path, &e) < 0)
        fprintf(stderr, "%s\n", e.text);
}

#endif
