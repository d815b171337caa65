/* neural/modernbert.c -- ModernBERT and mmBERT (Warner et al. 2024, arXiv 2412.13663).
 *
 * Pre-norm layers without biases, rotary positions, GeGLU; every n-th layer sees the whole text, the others a window of a few
 * dozen tokens to each side. The first layer has no norm before its attention, since the embeddings have just been through one.
 *
 * Only attention looks beyond its own row. So a forward alternates two stages: *rows* (end of one layer and beginning of the
 * next, a block of rows at a time, so that what lies between the matrices stays small however long the text) and *attention*
 * (a text and some heads at a time). Each stage is one call of the gang, whose threads draw blocks from a counter. With fewer
 * rows than would feed the gang, the rows are one block and the gang shares each product's columns instead.
 *
 * Early exit: the states of layer n are what `transformers` has in hidden_states[n], without the final norm unless n is the last;
 * adaptive-layer losses (2D Matryoshka) are taken on these. */
#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

#include "neural/encoder.h"
#include "neural/rope.h"

enum {
    BLOCK_ROWS = 256,               /* of a rows stage: enough to pay for reading the weights again */
    SHARED_ROWS = 32,               /* fewer rows than this for each thread: columns are shared instead */
    HIDDEN_MAX = 8192,              /* encoder.c admits no more */
    HEAD_ROWS = 16,                 /* of a token head at a time ... */
    HEAD_HIDDEN_MAX = 2048,         /* ... and how wide: 384 KB of stack. Twice the width of the largest model of this kind */
};

enum reach { REACH_GLOBAL, REACH_LOCAL, REACH_N };

struct norm { const float *gain, *bias; };      /* gain NULL: no norm; bias NULL: none */

struct layer {
    enum reach reach;
    struct norm before_attention, before_mlp;
    struct matrix qkv, out, up, down;           /* [3H][H], [H][H], [2I][H] gated, [H][I] */
};

struct modernbert {
    const struct tensor *words;                 /* [vocabulary][H] */
    struct norm embeddings, final;
    struct layer *layers;                       /* those that are run */
    const float *angles[REACH_N];               /* rope.h's tables; the same one twice where they agree */
    uint32_t window;                            /* row i of a local layer sees |i - j| <= window */
    enum activation activation;
    struct classifier classifier;               /* of the whole text; of tokens: its last layer alone, behind */
    struct matrix dense;                        /* a packed product, since it runs for every token, */
    enum activation dense_activation;
    struct norm after_dense;                    /* and this norm */
};

/* ---- forward ---- */

struct pass {
    const struct encoder *e;
    const struct modernbert *m;
    const struct encoder_batch *batch;
    struct gang *shares_columns;                /* of a gang whose rows are one block; else NULL */
    const volatile bool *stop;
    size_t n_rows, block_rows;
    size_t heads_each;                          /* heads a task of the attention stage */
    float *h;                                   /* [n_rows][H], the residual stream */
    float *qkv;                                 /* [n_rows][3H] */
    float *context;                             /* [n_rows][H], what attention gathered */
    uint32_t *positions;                        /* [n_rows] in the row's text */
    char *lanes; size_t lane_bytes;             /* scratch of each thread of the gang */
    uint32_t layer;
    atomic_size_t next;                         /* block or task to be drawn */
};

struct room { float *x, *inner; void *packed; };    /* in a lane: [block][H], [block][I], rows_prepare's */

static bool pass_is_stopped(const struct pass *p)
{
    return p->stop && __atomic_load_n(p->stop, __ATOMIC_RELAXED);
}

static size_t round64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void norm_rows(const struct encoder *e, struct norm n, const float *x, size_t rows, float *y)
{
    layer_norm(x, rows, e->shape.hidden, n.gain, n.bias, e->shape.norm_epsilon, y);
}

/* y = activation(x W^T) (+ y): one product of a block. */
static void product(const struct pass *p, const struct matrix *w, const float *x, size_t rows, float *y,
                    enum activation activation, bool adds, void *packed)
{
    struct rows r;
    size_t columns = w->is_gated ? w->n / 2 : w->n;
    struct epilogue end = { activation, adds ? y : NULL, adds ? columns : 0 };
    rows_prepare(&r, w->precision, x, w->k, rows, w->k, packed);
    if (p->shares_columns)
        encoder_product(p->shares_columns, w, &r, y, columns, &end);
    else
        matrix_product(w, &r, 0, columns, y, columns, &end);
}

static void block_embed(const struct pass *p, size_t from, size_t rows)
{
    size_t hidden = p->e->shape.hidden;
    float *h = p->h + from * hidden;
    for (size_t i = 0; i < rows; i++)
        tensor_floats(p->m->words, (size_t)p->batch->ids[from + i] * hidden, hidden, h + i * hidden);
    norm_rows(p->e, p->m->embeddings, h, rows, h);
}

/* From gathered context to the end of the layer. */
static void block_end(const struct pass *p, const struct layer *l, size_t from, size_t rows, const struct room *room)
{
    size_t hidden = p->e->shape.hidden;
    float *h = p->h + from * hidden;
    product(p, &l->out, p->context + from * hidden, rows, h, ACTIVATION_NONE, true, room->packed);
    norm_rows(p->e, l->before_mlp, h, rows, room->x);
    product(p, &l->up, room->x, rows, room->inner, p->m->activation, false, room->packed);
    product(p, &l->down, room->inner, rows, h, ACTIVATION_NONE, true, room->packed);
}

/* From the residual stream to turned queries and keys. */
static void block_begin(const struct pass *p, const struct layer *l, size_t from, size_t rows, const struct room *room)
{
    const struct encoder_shape *shape = &p->e->shape;
    size_t hidden = shape->hidden;
    const float *x = p->h + from * hidden;
    float *qkv = p->qkv + from * 3 * hidden;
    if (l->before_attention.gain) {
        norm_rows(p->e, l->before_attention, x, rows, room->x);
        x = room->x;
    }
    product(p, &l->qkv, x, rows, qkv, ACTIVATION_NONE, false, room->packed);
    rotate(qkv, 3 * hidden, rows, 2 * (size_t)shape->heads, hidden / shape->heads, p->positions + from, p->m->angles[l->reach]);
}

static void stage_rows(void *arg, size_t lane)
{
    struct pass *p = arg;
    const struct encoder_shape *shape = &p->e->shape;
    const struct layer *layers = p->m->layers;
    char *at = p->lanes + lane * p->lane_bytes;
    struct room room = { .x = (float *)(void *)at };
    at += round64(p->block_rows * shape->hidden * sizeof(float));
    room.inner = (float *)(void *)at;
    room.packed = at + round64(p->block_rows * shape->intermediate * sizeof(float));
    for (;;) {
        size_t from = atomic_fetch_add(&p->next, 1) * p->block_rows;
        if (from >= p->n_rows || pass_is_stopped(p))
            return;
        size_t rows = p->n_rows - from < p->block_rows ? p->n_rows - from : p->block_rows;
        if (p->layer == 0)
            block_embed(p, from, rows);
        else
            block_end(p, &layers[p->layer - 1], from, rows, &room);
        encoder_middle(p->batch, p->layer, p->h + from * shape->hidden, from, rows, shape->hidden);
        if (p->layer < shape->exit_layer) {
            block_begin(p, &layers[p->layer], from, rows, &room);
        } else if (shape->exit_layer == shape->layers) {
            float *h = p->h + from * shape->hidden;
            norm_rows(p->e, p->m->final, h, rows, h);
        }
    }
}

static void stage_attention(void *arg, size_t lane)
{
    struct pass *p = arg;
    const struct encoder_shape *shape = &p->e->shape;
    const struct layer *l = &p->m->layers[p->layer];
    size_t hidden = shape->hidden, d = hidden / shape->heads;
    size_t groups = (shape->heads + p->heads_each - 1) / p->heads_each;
    size_t window = l->reach == REACH_LOCAL ? p->m->window : 0;
    float scale = 1.0f / sqrtf((float)d);
    for (;;) {
        size_t task = atomic_fetch_add(&p->next, 1);
        if (task >= p->batch->n_texts * groups || pass_is_stopped(p))
            return;
        size_t text = task / groups, head = task % groups * p->heads_each;
        size_t to = head + p->heads_each < shape->heads ? head + p->heads_each : shape->heads;
        size_t from = p->batch->starts[text], t = p->batch->starts[text + 1] - from;
        const float *q = p->qkv + from * 3 * hidden;
        attention(p->e->precision, q, q + hidden, q + 2 * hidden, 3 * hidden, t, d, head, to, scale, window, NULL,
                  p->context + from * hidden, hidden, p->lanes + lane * p->lane_bytes);
    }
}

static void pass_stage(struct pass *p, struct gang *g, size_t n, void (*stage)(void *arg, size_t lane))
{
    atomic_store(&p->next, 0);
    gang_run(n > 1 ? g : NULL, n, stage, p);
}

static int modernbert_forward(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                              const volatile bool *stop, float *hidden)
{
    const struct encoder_shape *shape = &e->shape;
    size_t n = b->starts[b->n_texts], lanes = gang_size(g), longest = 0;
    struct pass p = { .e = e, .m = e->state, .batch = b, .stop = stop, .n_rows = n, .h = hidden };
    bool is_one_block = lanes == 1 || n < lanes * SHARED_ROWS;
    p.shares_columns = lanes > 1 && is_one_block ? g : NULL;
    p.block_rows = is_one_block ? n : (n + lanes - 1) / lanes;
    if (p.block_rows > BLOCK_ROWS)
        p.block_rows = BLOCK_ROWS;
    p.heads_each = lanes == 1 || b->n_texts >= 4 * lanes ? shape->heads : 1;
    size_t row_lanes = p.shares_columns ? 1 : lanes;
    for (uint32_t i = 0; i < b->n_texts; i++)
        longest = most(longest, b->starts[i + 1] - b->starts[i]);
    size_t row_bytes = round64(p.block_rows * shape->hidden * sizeof(float)) +
                       round64(p.block_rows * shape->intermediate * sizeof(float)) +
                       rows_bytes(e->precision, p.block_rows, most(shape->hidden, shape->intermediate));
    p.lane_bytes = round64(most(row_bytes, attention_bytes(longest, shape->hidden / shape->heads)));
    p.qkv = encoder_take(s, n * 3 * shape->hidden * sizeof(float));
    p.context = encoder_take(s, n * shape->hidden * sizeof(float));
    p.positions = encoder_take(s, n * sizeof *p.positions);
    p.lanes = encoder_take(s, lanes * p.lane_bytes);
    if (!p.qkv || !p.context || !p.positions || !p.lanes)
        return -1;
    for (uint32_t i = 0; i < b->n_texts; i++)
        for (uint32_t j = b->starts[i]; j < b->starts[i + 1]; j++)
            p.positions[j] = j - b->starts[i];
    for (p.layer = 0; p.layer < shape->exit_layer; p.layer++) {
        pass_stage(&p, g, row_lanes, stage_rows);
        pass_stage(&p, g, lanes, stage_attention);
        if (pass_is_stopped(&p))
            return -1;
    }
    pass_stage(&p, g, row_lanes, stage_rows);
    return pass_is_stopped(&p) ? -1 : 0;
}

/* A token head reads every row: a few at a time, so that what lies between its two layers fits on the stack. */
static void classify_tokens(const struct encoder *e, const float *hidden, uint32_t n_tokens, float *logits)
{
    const struct modernbert *m = e->state;
    size_t n = e->shape.hidden;
    _Alignas(64) float inner[HEAD_ROWS * HEAD_HIDDEN_MAX];
    _Alignas(64) char packed[HEAD_ROWS * HEAD_HIDDEN_MAX * 2 * sizeof(float)];
    assert(n <= HEAD_HIDDEN_MAX && rows_bytes(m->dense.precision, HEAD_ROWS, n) <= sizeof packed);
    struct epilogue end = { .activation = m->dense_activation };
    for (size_t from = 0; from < n_tokens; from += HEAD_ROWS) {
        size_t rows = n_tokens - from < HEAD_ROWS ? n_tokens - from : HEAD_ROWS;
        struct rows r;
        rows_prepare(&r, m->dense.precision, hidden + from * n, n, rows, n, packed);
        matrix_product(&m->dense, &r, 0, n, inner, n, &end);
        norm_rows(e, m->after_dense, inner, rows, inner);
        for (size_t i = 0; i < rows; i++)
            classifier_run(e, &m->classifier, inner + i * n, logits + (from + i) * e->shape.n_labels);
    }
}

static void modernbert_classify(const struct encoder *e, const float *hidden, uint32_t n_tokens, float *logits)
{
    const struct modernbert *m = e->state;
    float mean[HIDDEN_MAX];
    if (e->shape.is_token_head) {
        classify_tokens(e, hidden, n_tokens, logits);
        return;
    }
    if (e->shape.pooling == POOLING_MEAN && n_tokens) {
        vector_mean(hidden, n_tokens, e->shape.hidden, e->shape.hidden, mean);
        hidden = mean;
    }
    if (n_tokens)
        classifier_run(e, &m->classifier, hidden, logits);
}

/* ---- load ---- */

static const char *const trunk[] = { "model.", "", NULL };
static const char *const top[] = { "", NULL };

static int load_norm(struct encoder *e, const char *const *prefixes, const char *name, struct norm *n, struct err *err)
{
    char weight[96], bias[96];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    n->gain = encoder_floats(e, prefixes, weight, e->shape.hidden, false, err);
    n->bias = encoder_floats(e, prefixes, bias, e->shape.hidden, true, err);
    return n->gain ? 0 : -1;
}

struct biases { bool attention, mlp; };

static int load_layer(struct encoder *e, uint32_t i, struct biases has, struct layer *l, struct err *err)
{
    uint32_t hidden = e->shape.hidden, inner = e->shape.intermediate;
    char name[64];
#define NAMED(part) (snprintf(name, sizeof name, "layers.%u." part, i), name)
    if ((i > 0 && load_norm(e, trunk, NAMED("attn_norm"), &l->before_attention, err) < 0) ||
        encoder_matrix(e, trunk, NAMED("attn.Wqkv"), 3 * hidden, hidden, has.attention, false, &l->qkv, err) < 0 ||
        encoder_matrix(e, trunk, NAMED("attn.Wo"), hidden, hidden, has.attention, false, &l->out, err) < 0 ||
        load_norm(e, trunk, NAMED("mlp_norm"), &l->before_mlp, err) < 0 ||
        encoder_matrix(e, trunk, NAMED("mlp.Wi"), 2 * inner, hidden, has.mlp, true, &l->up, err) < 0 ||
        encoder_matrix(e, trunk, NAMED("mlp.Wo"), hidden, inner, has.mlp, false, &l->down, err) < 0)
        return -1;
#undef NAMED
    return 0;
}

/* Which layers are global: `layer_types`, one name a layer, or every n-th. */
static int load_reaches(const struct encoder *e, const struct json *config, struct layer *layers, struct err *err)
{
    int64_t every;
    if (encoder_integer(config, "global_attn_every_n_layers", 3, 1, 1 << 20, &every, err) < 0)
        return -1;
    jref types = json_get(config, 0, S("layer_types"));
    bool is_listed = json_is(config, types, JSON_ARRAY);
    if (is_listed && json_count(config, types) != e->shape.layers)
        return err_set(err, "config.json: layer_types has %u names for %u layers", json_count(config, types), e->shape.layers);
    jref type = is_listed ? types + 1 : JSON_NONE;
    for (uint32_t i = 0; i < e->shape.exit_layer; i++) {
        layers[i].reach = i % every ? REACH_LOCAL : REACH_GLOBAL;
        if (!is_listed)
            continue;
        bool is_string = json_is(config, type, JSON_STRING);
        if (is_string && json_key_is(config, type, S("full_attention")))
            layers[i].reach = REACH_GLOBAL;
        else if (is_string && json_key_is(config, type, S("sliding_attention")))
            layers[i].reach = REACH_LOCAL;
        else
            return err_set(err, "config.json: layer_types[%u] is neither \"full_attention\" nor \"sliding_attention\"", i);
        type = config->nodes[type].next;
    }
    return 0;
}

static const struct { const char *theta_key, *type; double theta; } rope_keys[REACH_N] = {
    [REACH_GLOBAL] = { "global_rope_theta", "full_attention", 160000 },
    [REACH_LOCAL] = { "local_rope_theta", "sliding_attention", 10000 },
};

/* Newer files have rope_parameters.{full,sliding}_attention; older ones a theta for each and perhaps rope_scaling for both. */
static int load_angles(struct encoder *e, const struct json *config, uint32_t positions_trained, struct err *err)
{
    struct modernbert *m = e->state;
    const struct encoder_shape *shape = &e->shape;
    struct rope rope[REACH_N];
    jref nested = json_get(config, 0, S("rope_parameters")), scaling = json_get(config, 0, S("rope_scaling"));
    if (nested != JSON_NONE && !json_is(config, nested, JSON_OBJECT))
        nested = JSON_NONE;
    for (enum reach i = 0; i < REACH_N; i++) {
        char place[64];
        jref own = nested == JSON_NONE ? JSON_NONE : json_get(config, nested, str_of(rope_keys[i].type));
        rope[i] = (struct rope){ .factor = 1, .attention_factor = 1 };
        snprintf(place, sizeof place, "config.json: rope_parameters.%s", rope_keys[i].type);
        if (encoder_number(config, rope_keys[i].theta_key, rope_keys[i].theta, 1.0001, 1e12, &rope[i].theta, err) < 0 ||
            rope_read(&rope[i], config, own, positions_trained, place, err) < 0 ||
            rope_read(&rope[i], config, scaling, positions_trained, "config.json: rope_scaling", err) < 0)
            return -1;
    }
    for (enum reach i = 0; i < REACH_N; i++) {
        bool is_same = i > 0 && rope_equal(&rope[i], &rope[0]);
        m->angles[i] = is_same ? m->angles[0] : rope_table(&rope[i], shape->positions, shape->hidden / shape->heads, e->a);
        if (!m->angles[i])
            return err_set(err, "no memory for the rotary table of %u positions", shape->positions);
    }
    return 0;
}

/* What config.json says beside encoder.c's shape. */
static int load_shape(struct encoder *e, const struct json *config, const struct encoder_options *o, struct err *err)
{
    struct modernbert *m = e->state;
    struct encoder_shape *shape = &e->shape;
    int64_t local;
    double epsilon;
    if (encoder_integer(config, "local_attention", 128, 2, 1 << 20, &local, err) < 0 ||
        encoder_number(config, "norm_eps", 1e-5, 0, 1, &epsilon, err) < 0 ||
        encoder_activation(config, "hidden_activation", &m->activation, err) < 0)
        return -1;
    if (shape->hidden / shape->heads % 2)
        return err_set(err, "config.json: heads of %u numbers cannot be rotated in pairs", shape->hidden / shape->heads);
    m->window = (uint32_t)local / 2;
    shape->norm_epsilon = (float)epsilon;
    if (o->positions_max && o->positions_max < shape->positions)
        shape->positions = o->positions_max;
    if (shape->positions > ENCODER_TOKENS_MAX)
        shape->positions = ENCODER_TOKENS_MAX;
    return 0;
}

static int load_token_head(struct encoder *e, struct err *err)
{
    struct modernbert *m = e->state;
    uint32_t hidden = e->shape.hidden;
    if (hidden > HEAD_HIDDEN_MAX)
        return err_set(err, "config.json: a token head on hidden_size %u; at most %d are taken", hidden, HEAD_HIDDEN_MAX);
    bool has_bias = encoder_find(e, top, "head.dense.bias") != NULL;
    if (encoder_classifier(e, top, NULL, m->dense_activation, "classifier", &m->classifier, err) < 0 ||
        encoder_matrix(e, top, "head.dense", hidden, hidden, has_bias, false, &m->dense, err) < 0)
        return -1;
    return load_norm(e, top, "head.norm", &m->after_dense, err);
}

static int load_text_head(struct encoder *e, const struct json *config, struct err *err)
{
    struct modernbert *m = e->state;
    struct norm norm;
    if (encoder_classifier(e, top, "head.dense", m->dense_activation, "classifier", &m->classifier, err) < 0)
        return -1;
    if (!e->shape.n_labels)
        return 0;
    if (load_norm(e, top, "head.norm", &norm, err) < 0)
        return -1;
    m->classifier.gain = norm.gain;
    m->classifier.norm_bias = norm.bias;
    jref pooling = json_get(config, 0, S("classifier_pooling"));
    bool is_mean = json_is(config, pooling, JSON_STRING) && json_key_is(config, pooling, S("mean"));
    if (str_ends(e->architecture_class, S("ForSequenceClassification")))
        e->shape.pooling = is_mean ? POOLING_MEAN : POOLING_CLS;
    return 0;
}

static int modernbert_load(struct encoder *e, const struct json *config, const struct encoder_options *o, struct err *err)
{
    struct encoder_shape *shape = &e->shape;
    uint32_t trained = shape->positions;
    struct modernbert *m = e->state = ARENA_NEW(e->a, struct modernbert);
    struct biases has = { json_bool(config, json_get(config, 0, S("attention_bias")), false),
                          json_bool(config, json_get(config, 0, S("mlp_bias")), false) };
    m->layers = ARENA_ARRAY(e->a, struct layer, shape->exit_layer);
    if (load_shape(e, config, o, err) < 0 || load_reaches(e, config, m->layers, err) < 0 ||
        load_angles(e, config, trained, err) < 0)
        return -1;
    encoder_unwrap(e, trunk, "embeddings.tok_embeddings.weight");
    m->words = encoder_table(e, trunk, "embeddings.tok_embeddings.weight", shape->vocabulary, shape->hidden, err);
    if (!m->words || load_norm(e, trunk, "embeddings.norm", &m->embeddings, err) < 0)
        return -1;
    for (uint32_t i = 0; i < shape->exit_layer; i++)
        if (load_layer(e, i, has, &m->layers[i], err) < 0)
            return -1;
    if (shape->exit_layer == shape->layers && load_norm(e, trunk, "final_norm", &m->final, err) < 0)
        return -1;
    if (encoder_activation(config, "classifier_activation", &m->dense_activation, err) < 0)
        return -1;
    return shape->is_token_head ? load_token_head(e, err) : load_text_head(e, config, err);
}

static void modernbert_close(struct encoder *e)
{
    struct modernbert *m = e->state;
    if (m)
        matrix_free(&m->dense);
    for (uint32_t i = 0; m && m->layers && i < e->shape.exit_layer; i++) {
        matrix_free(&m->layers[i].qkv);
        matrix_free(&m->layers[i].out);
        matrix_free(&m->layers[i].up);
        matrix_free(&m->layers[i].down);
    }
}

const struct encoder_ops encoder_modernbert = {
    .model_type = "modernbert",
    .load = modernbert_load,
    .forward = modernbert_forward,
    .classify = modernbert_classify,
    .close = modernbert_close,
};
