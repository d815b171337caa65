/* neural/deberta.c -- DeBERTa v2 and v3 (He et al. 2020, arXiv 2006.03654; 2021, arXiv 2111.09543).
 *
 * BERT's post-norm layers, but a token's place is kept apart from its content: the score of query i and key j is
 *
 *     (q_i . k_j  +  q_i . K[r(i - j)]  +  k_j . Q[r(i - j)]) / sqrt(3 d)
 *
 * with K and Q the layer's projections of a table of relative places and r() a distance in buckets: exact when near,
 * logarithmic when far. K and Q do not depend on the text. They are computed and packed once, at load, divided by the root,
 * one small matrix a head; a forward multiplies a head's queries and keys with them and picks from the two results what
 * attention() adds to its scores: one [t][t] matrix a head at a time, never one for all heads.
 *
 * Stages, blocks and lanes are those of modernbert.c. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "neural/encoder.h"

enum {
    BLOCK_ROWS = 256,               /* of a rows stage: enough to pay for reading the weights again */
    SHARED_ROWS = 32,               /* fewer rows than this for each thread: columns are shared instead */
    POSITIONS_MAX = 4096,           /* a head's places take [t][t] floats: 64 MB for each thread; longer texts are windowed */
    SPAN_MAX = 4096,                /* relative places to each side */
    TILE = 16,                      /* of [t][t] when places are picked */
};

struct norm { const float *gain, *bias; };

struct places {                     /* of one head: [2 span][d] */
    struct matrix keys;             /* K, rows in falling order: then r(i - j) walks forward with j */
    struct matrix queries;          /* Q */
};

struct layer {
    struct matrix qkv, out, up, down;
    struct norm after_attention, after_mlp;
    struct places *places;          /* [heads]; NULL: no relative places */
};

struct convolution {                /* beside the first layer, in the xlarge models */
    uint32_t width;                 /* tokens, odd; 0: none */
    struct matrix taps;             /* [H][width * H] */
    enum activation activation;
    struct norm norm;
};

struct deberta {
    const struct tensor *words, *positions, *types;     /* [..][embedding]; the last two may be NULL */
    uint32_t max_positions;         /* of config.json */
    uint32_t embedding;             /* size of the embeddings; projected when it is not the hidden size */
    struct matrix project;
    struct norm embeddings;
    struct layer *layers;           /* those that are run */
    struct convolution convolution;
    enum activation activation;
    uint32_t span;                  /* relative places to each side; 0: none */
    bool has_c2p, has_p2c;          /* content to position, position to content */
    int32_t *place;                 /* [2 positions - 1]; place[positions - 1 + i - j] is the row of Q (and of K, from its end) */
    float scale;                    /* of the scores */
    struct classifier classifier;
};

/* ---- forward ---- */

struct pass {
    const struct encoder *e;
    const struct deberta *m;
    const struct encoder_batch *batch;
    struct gang *shares_columns;    /* of a gang whose rows are one block; else NULL */
    const volatile bool *stop;
    size_t n_rows, block_rows;
    float *h;                       /* [n_rows][H] */
    float *qkv, *context;           /* [n_rows][3H], [n_rows][H] */
    float *convolved;               /* [n_rows][H]; NULL: no convolution */
    uint32_t *positions;            /* [n_rows] in the row's text */
    uint32_t *lengths;              /* [n_rows] of the row's text; NULL: no convolution */
    char *lanes; size_t lane_bytes; /* scratch of each thread of the gang */
    size_t longest;
    uint32_t layer;
    atomic_size_t next;             /* block or task to be drawn */
};

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

static void *room_take(char **at, size_t bytes)
{
    void *p = *at;
    *at += round64(bytes);
    return p;
}

static void norm_rows(const struct encoder *e, struct norm n, const float *x, size_t rows, float *y)
{
    layer_norm(x, rows, e->shape.hidden, n.gain, n.bias, e->shape.norm_epsilon, y);
}

static void product(const struct pass *p, const struct matrix *w, const float *x, size_t rows, float *y,
                    enum activation activation, bool adds, void *packed)
{
    struct rows r;
    struct epilogue end = { activation, adds ? y : NULL, adds ? w->n : 0 };
    rows_prepare(&r, w->precision, x, w->k, rows, w->k, packed);
    if (p->shares_columns)
        encoder_product(p->shares_columns, w, &r, y, w->n, &end);
    else
        matrix_product(w, &r, 0, w->n, y, w->n, &end);
}

static void add_row(const struct tensor *table, size_t row, size_t n, float *room, float *x)
{
    tensor_floats(table, row * n, n, room);
    for (size_t i = 0; i < n; i++)
        x[i] += room[i];
}

static bool types_are_known(const struct deberta *m, const struct encoder_batch *b)
{
    for (uint32_t i = 0; m->types && b->types && i < b->starts[b->n_texts]; i++)
        if (b->types[i] >= m->types->dim[0])
            return false;
    return true;
}

/* x: [block][embedding], one row more than the block. */
static void block_embed(const struct pass *p, size_t from, size_t rows, float *x, void *packed)
{
    const struct deberta *m = p->m;
    size_t n = m->embedding, hidden = p->e->shape.hidden;
    float *h = p->h + from * hidden, *to = m->project.n ? x : h, *room = x + rows * n;
    for (size_t i = 0; i < rows; i++) {
        size_t row = from + i;
        tensor_floats(m->words, (size_t)p->batch->ids[row] * n, n, to + i * n);
        if (m->positions)
            add_row(m->positions, p->positions[row], n, room, to + i * n);
        if (m->types)
            add_row(m->types, p->batch->types ? p->batch->types[row] : 0, n, room, to + i * n);
    }
    if (m->project.n)
        product(p, &m->project, x, rows, h, ACTIVATION_NONE, false, packed);
    norm_rows(p->e, m->embeddings, h, rows, h);
}

/* From gathered context to the end of the layer. */
static void block_end(const struct pass *p, const struct layer *l, size_t from, size_t rows, float *inner, void *packed)
{
    size_t hidden = p->e->shape.hidden;
    float *h = p->h + from * hidden;
    product(p, &l->out, p->context + from * hidden, rows, h, ACTIVATION_NONE, true, packed);
    norm_rows(p->e, l->after_attention, h, rows, h);
    product(p, &l->up, h, rows, inner, p->m->activation, false, packed);
    product(p, &l->down, inner, rows, h, ACTIVATION_NONE, true, packed);
    norm_rows(p->e, l->after_mlp, h, rows, h);
    if (p->layer == 1 && p->convolved)
        layer_norm_add(p->convolved + from * hidden, h, rows, hidden, p->m->convolution.norm.gain, p->m->convolution.norm.bias,
                       p->e->shape.norm_epsilon, h);
}

/* The tokens around each row side by side, zeros beyond the text, times the taps. */
static void block_convolve(const struct pass *p, size_t from, size_t rows, float *x, void *packed)
{
    const struct convolution *c = &p->m->convolution;
    size_t hidden = p->e->shape.hidden;
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < c->width; k++) {
            float *to = x + (i * c->width + k) * hidden;
            size_t row = from + i, at = p->positions[row] + k;  /* in the text, plus half the width */
            if (at < c->width / 2 || at - c->width / 2 >= p->lengths[row])
                memset(to, 0, hidden * sizeof *to);
            else
                memcpy(to, p->h + (row + k - c->width / 2) * hidden, hidden * sizeof *to);
        }
    product(p, &c->taps, x, rows, p->convolved + from * hidden, c->activation, false, packed);
}

/* Floats of a row that the stages of rows need beside the batch's own, and the widest row that is made ready for a product. */
static size_t room_width(const struct encoder *e)
{
    const struct deberta *m = e->state;
    return most(most(e->shape.intermediate, m->embedding), (size_t)m->convolution.width * e->shape.hidden);
}

static size_t room_bytes(const struct encoder *e, size_t rows)
{
    size_t widest = most(room_width(e), e->shape.hidden);
    return round64((rows + 1) * room_width(e) * sizeof(float)) + rows_bytes(e->precision, rows, widest);
}

static void stage_rows(void *arg, size_t lane)
{
    struct pass *p = arg;
    const struct layer *layers = p->m->layers;
    size_t hidden = p->e->shape.hidden;
    char *at = p->lanes + lane * p->lane_bytes;
    float *x = room_take(&at, (p->block_rows + 1) * room_width(p->e) * sizeof *x);
    void *packed = at;
    for (;;) {
        size_t from = atomic_fetch_add(&p->next, 1) * p->block_rows;
        if (from >= p->n_rows || pass_is_stopped(p))
            return;
        size_t rows = p->n_rows - from < p->block_rows ? p->n_rows - from : p->block_rows;
        if (p->layer == 0)
            block_embed(p, from, rows, x, packed);
        else
            block_end(p, &layers[p->layer - 1], from, rows, x, packed);
        encoder_middle(p->batch, p->layer, p->h + from * hidden, from, rows, hidden);
        if (p->layer < p->e->shape.exit_layer)
            product(p, &layers[p->layer].qkv, p->h + from * hidden, rows, p->qkv + from * 3 * hidden, ACTIVATION_NONE, false,
                    packed);
    }
}

static void stage_convolution(void *arg, size_t lane)
{
    struct pass *p = arg;
    char *at = p->lanes + lane * p->lane_bytes;
    float *x = room_take(&at, (p->block_rows + 1) * room_width(p->e) * sizeof *x);
    for (;;) {
        size_t from = atomic_fetch_add(&p->next, 1) * p->block_rows;
        if (from >= p->n_rows || pass_is_stopped(p))
            return;
        block_convolve(p, from, p->n_rows - from < p->block_rows ? p->n_rows - from : p->block_rows, x, at);
    }
}

/* ---- attention with places ---- */

/* bias[i][j] = c2p[i][last - place(i - j)] + p2c[j][place(i - j)], both of `stride` floats a row; either may be NULL. place[0] is
 * the distance 0. By tiles: p2c is read down its columns, and a tile keeps what lies beside them cached for the next row. */
static void pick_places(const float *c2p, const float *p2c, size_t stride, const int32_t *place, size_t t, float *bias)
{
    for (size_t i0 = 0; i0 < t; i0 += TILE)
        for (size_t j0 = 0; j0 < t; j0 += TILE)
            for (size_t i = i0; i < t && i < i0 + TILE; i++) {
                const int32_t *at = place + i;
                const float *content = c2p ? c2p + i * stride + stride - 1 : NULL;
                float *to = bias + i * t;
                size_t j1 = j0 + TILE < t ? j0 + TILE : t;
                if (content && p2c)
                    for (size_t j = j0; j < j1; j++)
                        to[j] = content[-at[-(ptrdiff_t)j]] + p2c[j * stride + (size_t)at[-(ptrdiff_t)j]];
                else
                    for (size_t j = j0; j < j1; j++)
                        to[j] = content ? content[-at[-(ptrdiff_t)j]] : p2c[j * stride + (size_t)at[-(ptrdiff_t)j]];
            }
}

/* y = rows of one head times its places; only the columns that a text of t tokens reaches, lo .. hi, both included. */
static void product_places(const struct matrix *places, const float *x, size_t stride, size_t t, size_t lo, size_t hi, float *y,
                           void *packed)
{
    struct rows r;
    size_t to = (hi / KERNEL_COLUMNS + 1) * KERNEL_COLUMNS;
    rows_prepare(&r, places->precision, x, stride, t, places->k, packed);
    matrix_product(places, &r, lo / KERNEL_COLUMNS * KERNEL_COLUMNS, to < places->n ? to : places->n, y, places->n, NULL);
}

static size_t attention_room(const struct encoder *e, size_t t)
{
    const struct deberta *m = e->state;
    size_t d = e->shape.hidden / e->shape.heads, picked = round64(t * 2 * m->span * sizeof(float));
    return attention_bytes(t, d) + (m->span ? 2 * picked + round64(t * t * sizeof(float)) + rows_bytes(e->precision, t, d) : 0);
}

static void attend(const struct pass *p, size_t text, size_t head, char *at)
{
    const struct deberta *m = p->m;
    const struct places *places = p->m->layers[p->layer].places;
    size_t hidden = p->e->shape.hidden, d = hidden / p->e->shape.heads, stride = 3 * hidden, n = 2 * (size_t)m->span;
    size_t from = p->batch->starts[text], t = p->batch->starts[text + 1] - from;
    const float *q = p->qkv + from * stride + head * d, *k = q + hidden, *v = k + hidden;
    float *bias = NULL;
    if (m->span && t) {
        float *c2p = room_take(&at, t * n * sizeof(float)), *p2c = room_take(&at, t * n * sizeof(float));
        bias = room_take(&at, t * t * sizeof(float));
        void *packed = room_take(&at, rows_bytes(p->e->precision, t, d));
        const int32_t *place = m->place + p->e->shape.positions - 1;
        size_t lo = (size_t)place[1 - (ptrdiff_t)t], hi = (size_t)place[t - 1];
        if (m->has_c2p)
            product_places(&places[head].keys, q, stride, t, n - 1 - hi, n - 1 - lo, c2p, packed);
        if (m->has_p2c)
            product_places(&places[head].queries, k, stride, t, lo, hi, p2c, packed);
        pick_places(m->has_c2p ? c2p : NULL, m->has_p2c ? p2c : NULL, n, place, t, bias);
    }
    attention(p->e->precision, q, k, v, stride, t, d, 0, 1, m->scale, 0, bias, p->context + from * hidden + head * d, hidden, at);
}

static void stage_attention(void *arg, size_t lane)
{
    struct pass *p = arg;
    size_t heads = p->e->shape.heads;
    for (;;) {
        size_t task = atomic_fetch_add(&p->next, 1);
        if (task >= p->batch->n_texts * heads || pass_is_stopped(p))
            return;
        attend(p, task / heads, task % heads, p->lanes + lane * p->lane_bytes);
    }
}

static void pass_stage(struct pass *p, struct gang *g, size_t lanes, void (*stage)(void *arg, size_t lane))
{
    atomic_store(&p->next, 0);
    gang_run(lanes > 1 ? g : NULL, lanes, stage, p);
}

static int deberta_forward(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                           const volatile bool *stop, float *hidden)
{
    const struct encoder_shape *shape = &e->shape;
    const struct deberta *m = e->state;
    size_t n = b->starts[b->n_texts], lanes = gang_size(g);
    struct pass p = { .e = e, .m = m, .batch = b, .stop = stop, .n_rows = n, .h = hidden };
    if (!types_are_known(m, b))
        return -1;
    bool is_one_block = lanes == 1 || n < lanes * SHARED_ROWS;
    p.shares_columns = lanes > 1 && is_one_block ? g : NULL;
    p.block_rows = is_one_block ? n : (n + lanes - 1) / lanes;
    if (p.block_rows > BLOCK_ROWS)
        p.block_rows = BLOCK_ROWS;
    size_t row_lanes = p.shares_columns ? 1 : lanes;
    for (uint32_t i = 0; i < b->n_texts; i++)
        p.longest = most(p.longest, b->starts[i + 1] - b->starts[i]);
    p.lane_bytes = round64(most(room_bytes(e, p.block_rows), attention_room(e, p.longest)));
    p.qkv = encoder_take(s, n * 3 * shape->hidden * sizeof(float));
    p.context = encoder_take(s, n * shape->hidden * sizeof(float));
    p.positions = encoder_take(s, n * sizeof *p.positions);
    p.lanes = encoder_take(s, lanes * p.lane_bytes);
    if (!p.qkv || !p.context || !p.positions || !p.lanes)
        return -1;
    if (m->convolution.width) {
        p.convolved = encoder_take(s, n * shape->hidden * sizeof(float));
        p.lengths = encoder_take(s, n * sizeof *p.lengths);
        if (!p.convolved || !p.lengths)
            return -1;
    }
    for (uint32_t i = 0; i < b->n_texts; i++)
        for (uint32_t j = b->starts[i]; j < b->starts[i + 1]; j++) {
            p.positions[j] = j - b->starts[i];
            if (p.lengths)
                p.lengths[j] = b->starts[i + 1] - b->starts[i];
        }
    for (p.layer = 0; p.layer < shape->exit_layer; p.layer++) {
        pass_stage(&p, g, row_lanes, stage_rows);
        if (p.layer == 0 && p.convolved)
            pass_stage(&p, g, row_lanes, stage_convolution);
        pass_stage(&p, g, lanes, stage_attention);
        if (pass_is_stopped(&p))
            return -1;
    }
    pass_stage(&p, g, row_lanes, stage_rows);
    return pass_is_stopped(&p) ? -1 : 0;
}

/* A token head reads every row, the other one the first. */
static void deberta_classify(const struct encoder *e, const float *hidden, uint32_t n_tokens, float *logits)
{
    const struct deberta *m = e->state;
    uint32_t rows = e->shape.is_token_head ? n_tokens : n_tokens > 0;
    for (uint32_t i = 0; i < rows; i++)
        classifier_run(e, &m->classifier, hidden + (size_t)i * e->shape.hidden, logits + (size_t)i * e->shape.n_labels);
}

/* ---- load ---- */

static const char *const trunk[] = { "deberta.", "", NULL };
static const char *const top[] = { "", NULL };

static int load_norm(struct encoder *e, const char *name, struct norm *n, struct err *err)
{
    char weight[96], bias[96];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    n->gain = encoder_floats(e, trunk, weight, e->shape.hidden, false, err);
    n->bias = encoder_floats(e, trunk, bias, e->shape.hidden, false, err);
    return n->gain && n->bias ? 0 : -1;
}

static int load_layer(struct encoder *e, uint32_t i, struct layer *l, struct err *err)
{
    uint32_t hidden = e->shape.hidden, inner = e->shape.intermediate;
    char name[64], query[64], key[64], value[64];
#define NAMED(room, part) (snprintf(room, sizeof room, "encoder.layer.%u." part, i), room)
    const char *const qkv[] = { NAMED(query, "attention.self.query_proj"), NAMED(key, "attention.self.key_proj"),
                                NAMED(value, "attention.self.value_proj") };
    if (encoder_matrix_stack(e, trunk, qkv, 3, hidden, hidden, true, &l->qkv, err) < 0 ||
        encoder_matrix(e, trunk, NAMED(name, "attention.output.dense"), hidden, hidden, true, false, &l->out, err) < 0 ||
        load_norm(e, NAMED(name, "attention.output.LayerNorm"), &l->after_attention, err) < 0 ||
        encoder_matrix(e, trunk, NAMED(name, "intermediate.dense"), inner, hidden, true, false, &l->up, err) < 0 ||
        encoder_matrix(e, trunk, NAMED(name, "output.dense"), hidden, inner, true, false, &l->down, err) < 0 ||
        load_norm(e, NAMED(name, "output.LayerNorm"), &l->after_mlp, err) < 0)
        return -1;
#undef NAMED
    return 0;
}

/* A projection of the table of places, [2 span][H] divided by the root, cut into heads and packed: as keys or as queries. */
static int pack_places(struct encoder *e, const char *name, const float *table, struct places *places, bool is_key,
                       struct err *err)
{
    const struct deberta *m = e->state;
    uint32_t hidden = e->shape.hidden, d = hidden / e->shape.heads, n = 2 * m->span;
    struct matrix w = { 0 };
    struct rows r;
    enum precision precision = e->precision;
    size_t bytes_packed = e->bytes_packed;
    e->precision = PRECISION_F32;               /* this product is made once: exactly, with adapters merged */
    int rc = encoder_matrix(e, trunk, name, hidden, hidden, true, false, &w, err);
    e->precision = precision;
    e->bytes_packed = bytes_packed;
    if (rc < 0)
        return -1;
    void *packed = aligned_alloc(64, round64(rows_bytes(PRECISION_F32, n, hidden) + 1));
    float *all = malloc((size_t)n * hidden * sizeof *all), *one = malloc((size_t)n * d * sizeof *one);
    rc = packed && all && one ? 0 : err_set(err, "no memory for the relative places of \"%s\"", name);
    if (rc == 0) {
        rows_prepare(&r, PRECISION_F32, table, hidden, n, hidden, packed);
        matrix_product(&w, &r, 0, hidden, all, hidden, NULL);
    }
    for (uint32_t h = 0; rc == 0 && h < e->shape.heads; h++) {
        struct matrix *out = is_key ? &places[h].keys : &places[h].queries;
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t c = 0; c < d; c++)
                one[(size_t)(is_key ? n - 1 - i : i) * d + c] = all[(size_t)i * hidden + h * d + c] * m->scale;
        if (matrix_pack(out, e->precision, one, NULL, n, d, false) < 0)
            rc = err_set(err, "no memory for the relative places of \"%s\"", name);
        e->bytes_packed += out->bytes;
    }
    matrix_free(&w);
    free(packed);
    free(all);
    free(one);
    return rc;
}

static int load_places(struct encoder *e, uint32_t i, const float *table, bool is_shared, struct layer *l, struct err *err)
{
    const struct deberta *m = e->state;
    char key[64], query[64];
    snprintf(key, sizeof key, "encoder.layer.%u.attention.self.%s", i, is_shared ? "key_proj" : "pos_key_proj");
    snprintf(query, sizeof query, "encoder.layer.%u.attention.self.%s", i, is_shared ? "query_proj" : "pos_query_proj");
    l->places = ARENA_ARRAY(e->a, struct places, e->shape.heads);
    if (m->has_c2p && pack_places(e, key, table, l->places, true, err) < 0)
        return -1;
    return m->has_p2c ? pack_places(e, query, table, l->places, false, err) : 0;
}

/* The row of the table for distance x >= 0, counted from its middle: x itself up to half the buckets, from there to max_distance
 * the logarithm spread over the other half. In float, as the reference rounds. */
static int32_t bucket(uint32_t x, uint32_t buckets, uint32_t max_distance, uint32_t span)
{
    uint32_t middle = buckets / 2;
    if (!buckets || x <= middle)
        return (int32_t)(x < span ? x : span);
    float far = (float)log((double)((float)x / (float)middle));
    float whole = (float)log((double)(float)((double)(max_distance - 1) / middle));
    float at = ceilf(far / whole * (float)(middle - 1)) + (float)middle;
    return at >= 0 && at < (float)span ? (int32_t)at : (int32_t)span;
}

static void load_distances(struct encoder *e, uint32_t buckets, uint32_t max_distance)
{
    struct deberta *m = e->state;
    int32_t n = (int32_t)e->shape.positions, span = (int32_t)m->span;
    m->place = ARENA_ARRAY(e->a, int32_t, 2 * (size_t)n - 1);
    for (int32_t x = 0; x < n; x++) {
        int32_t b = bucket((uint32_t)x, buckets, max_distance, m->span);
        m->place[n - 1 + x] = span + b < 2 * span ? span + b : 2 * span - 1;
        m->place[n - 1 - x] = span - b;
    }
}

static bool config_flag(const struct json *config, const char *key, bool fallback)
{
    return json_bool(config, json_get(config, 0, str_of(key)), fallback);
}

/* pos_att_type is "p2c|c2p" or ["p2c", "c2p"]: whoever names it, it stands there literally. */
static bool config_names(const struct json *config, const char *key, const char *word)
{
    jref value = json_get(config, 0, str_of(key));
    return value != JSON_NONE && str_find(json_raw(config, value), str_of(word)) >= 0;
}

static int load_relative(struct encoder *e, const struct json *config, struct err *err)
{
    struct deberta *m = e->state;
    struct encoder_shape *shape = &e->shape;
    int64_t buckets, distance;
    uint32_t hidden = shape->hidden, d = hidden / shape->heads;
    m->has_c2p = config_names(config, "pos_att_type", "c2p");
    m->has_p2c = config_names(config, "pos_att_type", "p2c");
    m->scale = 1 / sqrtf((float)(d * (1 + m->has_c2p + m->has_p2c)));
    if (!config_flag(config, "relative_attention", false) || !(m->has_c2p || m->has_p2c))
        return 0;
    if (encoder_integer(config, "position_buckets", -1, -1, SPAN_MAX, &buckets, err) < 0 ||
        encoder_integer(config, "max_relative_positions", -1, -1, 1 << 20, &distance, err) < 0)
        return -1;
    if (distance < 1)
        distance = m->max_positions;
    if (buckets == 1 || (buckets > 0 && distance - 1 <= buckets / 2))
        return err_set(err, "config.json: position_buckets is %d, which max_relative_positions %d does not allow", (int)buckets,
                       (int)distance);
    m->span = (uint32_t)(buckets > 0 ? buckets : distance);
    if (m->span > SPAN_MAX)
        return err_set(err, "config.json: %u relative places to each side; at most %d are taken", m->span, SPAN_MAX);
    load_distances(e, buckets > 0 ? (uint32_t)buckets : 0, (uint32_t)distance);
    size_t rows = 2 * (size_t)m->span;
    const struct tensor *t = encoder_table(e, trunk, "encoder.rel_embeddings.weight", rows, hidden, err);
    float *table = t ? malloc(rows * hidden * sizeof *table) : NULL;
    if (!table)
        return t ? err_set(err, "no memory for the relative places") : -1;
    tensor_floats(t, 0, rows * hidden, table);
    struct norm norm;
    int rc = 0;
    if (config_names(config, "norm_rel_ebd", "layer_norm")) {
        rc = load_norm(e, "encoder.LayerNorm", &norm, err);
        if (rc == 0)
            norm_rows(e, norm, table, rows, table);
    }
    bool is_shared = config_flag(config, "share_att_key", false);
    for (uint32_t i = 0; rc == 0 && i < shape->exit_layer; i++)
        rc = load_places(e, i, table, is_shared, &m->layers[i], err);
    free(table);
    return rc;
}

/* conv.weight is [H][H / groups][width]; a row of the product holds the neighbours one after the other, and groups are zeros. */
static int load_convolution(struct encoder *e, const struct json *config, struct err *err)
{
    struct deberta *m = e->state;
    struct convolution *c = &m->convolution;
    uint32_t hidden = e->shape.hidden;
    int64_t width, groups;
    if (encoder_integer(config, "conv_kernel_size", 0, 0, 31, &width, err) < 0 ||
        encoder_integer(config, "conv_groups", 1, 1, hidden, &groups, err) < 0)
        return -1;
    if (width == 0)
        return 0;
    if (width % 2 == 0 || hidden % groups)
        return err_set(err, "config.json: conv_kernel_size must be odd and conv_groups divide hidden_size");
    c->activation = ACTIVATION_TANH;
    if (json_get(config, 0, S("conv_act")) != JSON_NONE && encoder_activation(config, "conv_act", &c->activation, err) < 0)
        return -1;
    size_t each = hidden / (size_t)groups, w = (size_t)width, dims[] = { hidden, each, w };
    const struct tensor *t = encoder_find(e, trunk, "encoder.conv.conv.weight");
    if (!t || t->n_dims != 3 || memcmp(t->dim, dims, sizeof dims))
        return err_set(err, "tensor \"encoder.conv.conv.weight\" must be there, [%zu, %zu, %zu]", dims[0], dims[1], dims[2]);
    size_t at;
    if (!tensor_is_finite(t, &at))
        return err_set(err, "tensor \"encoder.conv.conv.weight\" has NaN or infinity at element %zu", at);
    const float *bias = encoder_floats(e, trunk, "encoder.conv.conv.bias", hidden, false, err);
    if (!bias || load_norm(e, "encoder.conv.LayerNorm", &c->norm, err) < 0)
        return -1;
    float *given = malloc(t->n * sizeof *given), *taps = calloc((size_t)hidden * w * hidden, sizeof *taps);
    int rc = given && taps ? 0 : err_set(err, "no memory for the convolution");
    if (rc == 0) {
        tensor_floats(t, 0, t->n, given);
        for (size_t o = 0; o < hidden; o++)
            for (size_t i = 0; i < each; i++)
                for (size_t k = 0; k < w; k++)
                    taps[(o * w + k) * hidden + o / each * each + i] = given[(o * each + i) * w + k];
        c->width = (uint32_t)width;
        if (matrix_pack(&c->taps, e->precision, taps, bias, hidden, (uint32_t)w * hidden, false) < 0)
            rc = err_set(err, "no memory for the convolution");
        e->bytes_packed += c->taps.bytes;
    }
    free(given);
    free(taps);
    return rc;
}

static int load_embeddings(struct encoder *e, const struct json *config, struct err *err)
{
    struct deberta *m = e->state;
    struct encoder_shape *shape = &e->shape;
    int64_t embedding, types;
    if (encoder_integer(config, "embedding_size", shape->hidden, 1, 8192, &embedding, err) < 0 ||
        encoder_integer(config, "type_vocab_size", 0, 0, 256, &types, err) < 0)
        return -1;
    m->embedding = (uint32_t)embedding;
    encoder_unwrap(e, trunk, "embeddings.word_embeddings.weight");
    m->words = encoder_table(e, trunk, "embeddings.word_embeddings.weight", shape->vocabulary, m->embedding, err);
    if (!m->words)
        return -1;
    if (config_flag(config, "position_biased_input", true) &&
        !(m->positions = encoder_table(e, trunk, "embeddings.position_embeddings.weight", m->max_positions, m->embedding, err)))
        return -1;
    if (types &&
        !(m->types = encoder_table(e, trunk, "embeddings.token_type_embeddings.weight", (size_t)types, m->embedding, err)))
        return -1;
    if (m->embedding != shape->hidden &&
        encoder_matrix(e, trunk, "embeddings.embed_proj", shape->hidden, m->embedding, false, false, &m->project, err) < 0)
        return -1;
    return load_norm(e, "embeddings.LayerNorm", &m->embeddings, err);
}

static int load_classifier(struct encoder *e, const struct json *config, struct err *err)
{
    struct deberta *m = e->state;
    enum activation activation;
    bool has_pooler = !e->shape.is_token_head;
    if (encoder_activation(config, "pooler_hidden_act", &activation, err) < 0)
        return -1;
    return encoder_classifier(e, top, has_pooler ? "pooler.dense" : NULL, activation, "classifier", &m->classifier, err);
}

static int deberta_load(struct encoder *e, const struct json *config, const struct encoder_options *o, struct err *err)
{
    struct encoder_shape *shape = &e->shape;
    struct deberta *m = e->state = ARENA_NEW(e->a, struct deberta);
    int64_t head_size, pooler_size;
    double epsilon;
    m->layers = ARENA_ARRAY(e->a, struct layer, shape->exit_layer);
    m->max_positions = shape->positions;
    if (o->positions_max && o->positions_max < shape->positions)
        shape->positions = o->positions_max;
    if (shape->positions > POSITIONS_MAX)
        shape->positions = POSITIONS_MAX;
    if (encoder_integer(config, "attention_head_size", shape->hidden / shape->heads, 1, 8192, &head_size, err) < 0 ||
        encoder_integer(config, "pooler_hidden_size", shape->hidden, 1, 8192, &pooler_size, err) < 0 ||
        encoder_number(config, "layer_norm_eps", 1e-7, 0, 1, &epsilon, err) < 0 ||
        encoder_activation(config, "hidden_act", &m->activation, err) < 0)
        return -1;
    if (head_size != shape->hidden / shape->heads || pooler_size != shape->hidden)
        return err_set(err, "config.json: attention_head_size or pooler_hidden_size does not follow hidden_size: not built in");
    shape->norm_epsilon = (float)epsilon;
    if (load_embeddings(e, config, err) < 0)
        return -1;
    for (uint32_t i = 0; i < shape->exit_layer; i++)
        if (load_layer(e, i, &m->layers[i], err) < 0)
            return -1;
    return load_relative(e, config, err) < 0 || load_convolution(e, config, err) < 0 ? -1 : load_classifier(e, config, err);
}

static void deberta_close(struct encoder *e)
{
    struct deberta *m = e->state;
    if (!m)
        return;
    matrix_free(&m->project);
    matrix_free(&m->convolution.taps);
    for (uint32_t i = 0; i < e->shape.exit_layer; i++) {
        struct layer *l = &m->layers[i];
        matrix_free(&l->qkv);
        matrix_free(&l->out);
        matrix_free(&l->up);
        matrix_free(&l->down);
        for (uint32_t h = 0; l->places && h < e->shape.heads; h++) {
            matrix_free(&l->places[h].keys);
            matrix_free(&l->places[h].queries);
        }
    }
}

const struct encoder_ops encoder_deberta = {
    .model_type = "deberta-v2",
    .load = deberta_load,
    .forward = deberta_forward,
    .classify = deberta_classify,
    .close = deberta_close,
};
