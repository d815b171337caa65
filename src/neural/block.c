/* neural/block.c -- a forward of BERT: embeddings, then per layer attention and norm, two dense layers and norm.
 *
 * Only attention looks at other tokens. All that lies between two attentions (output product, norm, both dense layers, norm, and
 * the next layer's query, key and value) treats each row by itself; so it runs as one *stretch* over a panel of rows small enough
 * to stay in the second-level cache, and the members of a gang take panels of their own: two meetings a layer. A text too short
 * to be cut into panels is one panel, and the gang shares the columns of its products instead. */
#include "neural/block.h"

#include <math.h>
#include <stdio.h>

#include "base/json.h"

enum {
    PANEL_ROWS = 256,                   /* fewer: weights are read more often; more: rows leave the cache. Flat from 128 to 512 */
    PANEL_ROWS_MIN = 32,                /* a member of the gang with fewer rows would read the weights for too little work */
    SPREAD = 16,                        /* floats between rows: a multiple of 1 KB apart they would share a few sets of a cache */
};

struct block {
    struct matrix qkv, out;             /* [3 * hidden][hidden], [hidden][hidden] */
    struct matrix up, down;             /* [intermediate][hidden], [hidden][intermediate] */
    const float *out_gain, *out_bias, *down_gain, *down_bias;   /* norms, [hidden] */
};

struct trunk {
    const struct tensor *words, *positions;             /* tables [.][hidden] */
    const float *types; size_t n_types; /* [n_types][hidden]; where a model has none, one of zeros */
    const float *gain, *bias;           /* [hidden] */
    struct block *blocks; uint32_t n;   /* those that are run */
    enum activation activation;
    bool counts_from_pad;
    struct classifier head;
};

/* ---- load ---- */

static int load_block(struct encoder *e, const char *const *prefixes, const struct trunk_kind *kind, uint32_t i,
                      struct block *out, struct err *err);
static int load_types(struct encoder *e, const char *const *prefixes, const char *name, size_t n, struct err *err);
static int load_norm(struct encoder *e, const char *const *prefixes, const char *name, const float **gain, const float **bias,
                     struct err *err);

int trunk_load(struct encoder *e, const struct json *config, const struct trunk_kind *kind, struct err *err)
{
    struct encoder_shape *shape = &e->shape;
    struct trunk *t = e->state = ARENA_NEW(e->a, struct trunk);
    const char *const prefixes[] = { kind->prefix, "", NULL };
    encoder_unwrap(e, prefixes, "embeddings.word_embeddings.weight");
    jref how = json_get(config, 0, S("position_embedding_type"));
    if (json_is(config, how, JSON_STRING) && !json_key_is(config, how, S("absolute")))
        return err_set(err, "config.json: position_embedding_type " STR_FMT " is not supported; only \"absolute\" is",
                       STR_ARG(json_raw(config, how)));
    int64_t n_types;
    if (encoder_activation(config, kind->activation_key, &t->activation, err) < 0 ||
        encoder_integer(config, "type_vocab_size", kind->types ? 2 : 0, 0, 256, &n_types, err) < 0)
        return -1;
    uint32_t hidden = shape->hidden;
    t->counts_from_pad = kind->counts_from_pad;
    if (!(t->words = encoder_table(e, prefixes, "embeddings.word_embeddings.weight", shape->vocabulary, hidden, err)) ||
        !(t->positions = encoder_table(e, prefixes, "embeddings.position_embeddings.weight", shape->positions, hidden, err)) ||
        load_types(e, prefixes, kind->types, (size_t)n_types, err) < 0 ||
        load_norm(e, prefixes, "embeddings.LayerNorm", &t->gain, &t->bias, err) < 0)
        return -1;
    if (kind->counts_from_pad) {
        if (shape->pad_id < 0 || (uint32_t)shape->pad_id + 1 >= shape->positions)
            return err_set(err, "config.json: pad_token_id %d leaves none of %u positions", shape->pad_id, shape->positions);
        shape->positions -= (uint32_t)shape->pad_id + 1;
    }
    t->blocks = ARENA_ARRAY(e->a, struct block, shape->exit_layer);
    for (; t->n < shape->exit_layer; t->n++)
        if (load_block(e, prefixes, kind, t->n, &t->blocks[t->n], err) < 0)
            return -1;
    for (uint32_t i = 0; i < t->n; i++) {
        struct block *b = &t->blocks[i];
        b->qkv.next = &b->out;
        b->out.next = &b->up;
        b->up.next = &b->down;
        b->down.next = i + 1 < t->n ? &b[1].qkv : NULL;
    }
    const char *dense = shape->is_token_head ? kind->token_head.dense : kind->text_head.dense;
    return encoder_classifier(e, prefixes, dense, kind->text_head.activation,
                              shape->is_token_head ? kind->token_head.out : kind->text_head.out, &t->head, err);
}

static int load_types(struct encoder *e, const char *const *prefixes, const char *name, size_t n, struct err *err)
{
    struct trunk *t = e->state;
    t->n_types = n && name ? n : 1;
    size_t count = t->n_types * e->shape.hidden;
    float *rows = ARENA_ARRAY(e->a, float, count);
    memset(rows, 0, count * sizeof *rows);
    t->types = rows;
    if (!n || !name)
        return 0;
    const struct tensor *table = encoder_table(e, prefixes, name, n, e->shape.hidden, err);
    if (table)
        tensor_floats(table, 0, table->n, rows);
    return table ? 0 : -1;
}

static int load_norm(struct encoder *e, const char *const *prefixes, const char *name, const float **gain, const float **bias,
                     struct err *err)
{
    char full[256];
    snprintf(full, sizeof full, "%s.weight", name);
    *gain = encoder_floats(e, prefixes, full, e->shape.hidden, false, err);
    snprintf(full, sizeof full, "%s.bias", name);
    *bias = encoder_floats(e, prefixes, full, e->shape.hidden, false, err);
    return *gain && *bias ? 0 : -1;
}

static int load_block(struct encoder *e, const char *const *prefixes, const struct trunk_kind *kind, uint32_t i,
                      struct block *out, struct err *err)
{
    uint32_t hidden = e->shape.hidden, wide = e->shape.intermediate;
    const char *const ends[] = { kind->query, kind->key, kind->value, kind->out, kind->out_norm, kind->up, kind->down,
                                 kind->down_norm };
    char names[COUNT_OF(ends)][160];
    for (size_t k = 0; k < COUNT_OF(ends); k++)
        snprintf(names[k], sizeof names[k], "%s%u%s", kind->layer, i, ends[k]);
    const char *const qkv[] = { names[0], names[1], names[2] };
    if (encoder_matrix_stack(e, prefixes, qkv, 3, hidden, hidden, true, &out->qkv, err) < 0 ||
        encoder_matrix(e, prefixes, names[3], hidden, hidden, true, false, &out->out, err) < 0 ||
        load_norm(e, prefixes, names[4], &out->out_gain, &out->out_bias, err) < 0 ||
        encoder_matrix(e, prefixes, names[5], wide, hidden, true, false, &out->up, err) < 0 ||
        encoder_matrix(e, prefixes, names[6], hidden, wide, true, false, &out->down, err) < 0)
        return -1;
    return load_norm(e, prefixes, names[7], &out->down_gain, &out->down_bias, err);
}

void trunk_close(struct encoder *e)
{
    const struct trunk *t = e->state;
    for (uint32_t i = 0; t && t->blocks && i < e->shape.exit_layer; i++) {
        struct block *b = &t->blocks[i];
        struct matrix *all[] = { &b->qkv, &b->out, &b->up, &b->down };
        for (size_t k = 0; k < COUNT_OF(all); k++)
            matrix_free(all[k]);
    }
}

/* ---- forward ---- */

struct pass {                           /* one forward */
    const struct encoder *e;
    const struct trunk *t;
    const struct encoder_batch *b;
    const uint32_t *positions;          /* [n] rows of the position table */
    size_t n, parts;                    /* tokens; rows are dealt out in so many parts */
    float *hidden, *qkv, *context;      /* [n][hidden], [n][3 * hidden], [n][hidden] */
    float *up;                          /* parts of [PANEL_ROWS][intermediate] */
    size_t qkv_stride, context_stride, up_stride;
    char *rows; size_t rows_bytes;      /* parts of what rows_prepare needs */
    uint32_t layer;                     /* of this stretch: what ends layer - 1 (0: embeddings) and begins `layer` */
};

static const uint32_t *count_positions(const struct pass *p, struct encoder_scratch *s);
static void run_part(void *arg, size_t part);
static void run_panels(const struct pass *p, size_t part, size_t from, size_t to, struct gang *g);
static void run_panel(const struct pass *p, size_t part, size_t from, size_t n, struct gang *g);
static void embed(const struct pass *p, size_t from, size_t n);
static void finish_layer(const struct pass *p, const struct block *b, size_t part, size_t from, size_t n, struct gang *g);

int trunk_forward(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                  const volatile bool *stop, float *hidden)
{
    size_t n = b->starts[b->n_texts], width = e->shape.hidden, wide = e->shape.intermediate;
    struct pass p = { .e = e, .t = e->state, .b = b, .n = n, .hidden = hidden };
    p.parts = gang_size(g);
    if (n < p.parts * PANEL_ROWS_MIN)
        p.parts = 1;
    size_t panel = n < PANEL_ROWS ? n : PANEL_ROWS;
    p.rows_bytes = rows_bytes(e->precision, panel, wide > width ? wide : width);
    p.qkv_stride = 3 * width + SPREAD;
    p.context_stride = width + SPREAD;
    p.up_stride = wide + SPREAD;
    p.qkv = encoder_take(s, n * p.qkv_stride * sizeof *p.qkv);
    p.context = encoder_take(s, n * p.context_stride * sizeof *p.context);
    p.up = encoder_take(s, p.parts * PANEL_ROWS * p.up_stride * sizeof *p.up);
    p.rows = encoder_take(s, p.parts * p.rows_bytes);
    p.positions = count_positions(&p, s);
    if (!p.qkv || !p.context || !p.up || !p.rows || !p.positions)
        return -1;
    float scale = 1 / sqrtf((float)(width / e->shape.heads));
    for (p.layer = 0; p.layer <= p.t->n; p.layer++) {
        if (stop && __atomic_load_n(stop, __ATOMIC_RELAXED))
            return -1;
        if (p.layer > 0 && encoder_attention(e, b, s, g, p.qkv, p.qkv + width, p.qkv + 2 * width, p.qkv_stride, scale, 0,
                                             p.context, p.context_stride) < 0)
            return -1;
        if (p.parts == 1)
            run_panels(&p, 0, 0, n, g);
        else
            gang_run(g, p.parts, run_part, &p);
    }
    return 0;
}

/* transformers' create_position_ids_from_input_ids: a pad stays at pad_id, the others are counted from behind it. */
static const uint32_t *count_positions(const struct pass *p, struct encoder_scratch *s)
{
    uint32_t *out = encoder_take(s, p->n * sizeof *out);
    uint32_t pad = (uint32_t)p->e->shape.pad_id;
    for (uint32_t i = 0; out && i < p->b->n_texts; i++)
        for (uint32_t at = p->b->starts[i], count = 0; at < p->b->starts[i + 1]; at++)
            out[at] = !p->t->counts_from_pad ? at - p->b->starts[i] : p->b->ids[at] == (int32_t)pad ? pad : pad + ++count;
    return out;
}

static void run_part(void *arg, size_t part)
{
    const struct pass *p = arg;
    run_panels(p, part, p->n * part / p->parts, p->n * (part + 1) / p->parts, NULL);
}

/* As few panels as will do, about the same size: one for the last 30 rows alone would read all weights for them. */
static void run_panels(const struct pass *p, size_t part, size_t from, size_t to, struct gang *g)
{
    size_t panels = (to - from + PANEL_ROWS - 1) / PANEL_ROWS;
    for (; panels > 0; panels--) {
        size_t n = ((to - from) / panels + PANEL_ROWS_MIN - 1) / PANEL_ROWS_MIN * PANEL_ROWS_MIN;
        n = n < to - from ? n : to - from;
        run_panel(p, part, from, n, g);
        from += n;
    }
}

/* Rows from .. from + n up to the next attention. */
static void run_panel(const struct pass *p, size_t part, size_t from, size_t n, struct gang *g)
{
    size_t width = p->e->shape.hidden;
    if (p->layer == 0)
        embed(p, from, n);
    else
        finish_layer(p, &p->t->blocks[p->layer - 1], part, from, n, g);
    encoder_middle(p->b, p->layer, p->hidden + from * width, from, n, width);
    if (p->layer == p->t->n)
        return;
    struct rows x;
    rows_prepare(&x, p->e->precision, p->hidden + from * width, width, n, width, p->rows + part * p->rows_bytes);
    encoder_product(g, &p->t->blocks[p->layer].qkv, &x, p->qkv + from * p->qkv_stride, p->qkv_stride, NULL);
}

/* Rows of a large table are far away, each on a page of its own. */
static void fetch_row(const struct tensor *table, size_t row, size_t width)
{
    size_t bytes = width * dtype_size(table->dtype);
    for (size_t at = 0; at < bytes && !table->is_transposed; at += 64)
        __builtin_prefetch((const char *)table->data + row * bytes + at);
}

static void embed(const struct pass *p, size_t from, size_t n)
{
    enum { CHUNK = 256, AHEAD = 8 };
    const struct trunk *t = p->t;
    size_t width = p->e->shape.hidden;
    for (size_t i = from; i < from + n; i++) {
        float *row = p->hidden + i * width, more[CHUNK];
        if (i + AHEAD < from + n)
            fetch_row(t->words, (size_t)p->b->ids[i + AHEAD], width);
        const float *type = t->types + (p->b->types && p->b->types[i] < t->n_types ? p->b->types[i] * width : 0);
        tensor_floats(t->words, (size_t)p->b->ids[i] * width, width, row);
        for (size_t c = 0; c < width; c += CHUNK) {
            size_t take = width - c < CHUNK ? width - c : CHUNK;
            tensor_floats(t->positions, p->positions[i] * width + c, take, more);
            for (size_t j = 0; j < take; j++)
                row[c + j] += more[j] + type[c + j];
        }
    }
    float *rows = p->hidden + from * width;
    layer_norm(rows, n, width, t->gain, t->bias, p->e->shape.norm_epsilon, rows);
}

static void finish_layer(const struct pass *p, const struct block *b, size_t part, size_t from, size_t n, struct gang *g)
{
    size_t width = p->e->shape.hidden, wide = p->e->shape.intermediate;
    float epsilon = p->e->shape.norm_epsilon;
    float *x = p->hidden + from * width, *up = p->up + part * PANEL_ROWS * p->up_stride;
    char *scratch = p->rows + part * p->rows_bytes;
    const struct epilogue onto_x = { .residual = x, .residual_stride = width }, activated = { .activation = p->t->activation };
    struct rows in;
    rows_prepare(&in, p->e->precision, p->context + from * p->context_stride, p->context_stride, n, width, scratch);
    encoder_product(g, &b->out, &in, x, width, &onto_x);
    layer_norm(x, n, width, b->out_gain, b->out_bias, epsilon, x);
    rows_prepare(&in, p->e->precision, x, width, n, width, scratch);
    encoder_product(g, &b->up, &in, up, p->up_stride, &activated);
    rows_prepare(&in, p->e->precision, up, p->up_stride, n, wide, scratch);
    encoder_product(g, &b->down, &in, x, width, &onto_x);
    layer_norm(x, n, width, b->down_gain, b->down_bias, epsilon, x);
}

/* ---- head ---- */

void trunk_classify(const struct encoder *e, const float *hidden, uint32_t n_tokens, float *logits)
{
    const struct trunk *t = e->state;
    if (!e->shape.is_token_head)
        n_tokens = n_tokens ? 1 : 0;    /* the first token speaks for the text */
    for (uint32_t i = 0; i < n_tokens; i++)
        classifier_run(e, &t->head, hidden + (size_t)i * e->shape.hidden, logits + (size_t)i * e->shape.n_labels);
}
