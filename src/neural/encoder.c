/* neural/encoder.c -- opens a model folder, and what its architectures have in common.
 *
 * A Hugging Face folder says in config.json which architecture it is; the table below finds the file that knows it. Everything
 * here is about strangers' files (names, shapes, sizes, NaN) and about memory: weights are packed once at load, a forward takes
 * all it needs from one block that is kept between forwards. The arithmetic is kernel.h's, its order the architecture's. */
#include "neural/encoder.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/huge.h"
#include "base/json.h"
#include "neural/lora.h"

enum {
    CONFIG_BYTES_MAX = 16 << 20,                /* config.json with its labels */
    NAME_MAX_BYTES = 512,                       /* of a tensor; beyond: not found */
    LABELS_MAX = 4096,
    HIDDEN_MAX = 8192,
};

#define X(name) extern const struct encoder_ops encoder_##name;
#include "neural/encoder_list.h"
#undef X

static const struct encoder_ops *const architectures[] = {
#define X(name) &encoder_##name,
#include "neural/encoder_list.h"
#undef X
};

static const struct encoder_ops *find_architecture(const char *folder, str model_type, struct err *err);
static int read_shape(struct encoder *e, const struct json *config, struct err *err);
static int read_pooling(struct encoder *e, const char *folder, struct err *err);
static int read_labels(struct encoder *e, const struct json *config);
static int load(struct encoder *e, const char *folder, const struct encoder_options *o, struct err *err);

struct encoder *encoder_open(const char *folder, const struct encoder_options *o, struct err *err)
{
    struct arena *a = arena_new();
    if (!a) {
        err_set(err, "%s: no memory", folder);
        return NULL;
    }
    struct encoder *e = ARENA_NEW(a, struct encoder);
    *e = (struct encoder){ .a = a, .precision = o->precision };
    struct err why = { 0 };
    int rc = load(e, folder, o, &why);
    if (rc == 0 && arena_exhausted(a))
        rc = err_set(&why, "no memory");
    if (rc < 0) {
        err_set(err, "%s%s%s", strncmp(why.text, folder, strlen(folder)) ? folder : "",
                strncmp(why.text, folder, strlen(folder)) ? ": " : "", why.text);
        encoder_close(e);
        return NULL;
    }
    return e;
}

void encoder_close(struct encoder *e)
{
    if (!e)
        return;
    if (e->ops && e->ops->close)
        e->ops->close(e);
    adapter_close(e->adapter);
    weights_close(e->weights);
    arena_free(e->a);
}

static int load(struct encoder *e, const char *folder, const struct encoder_options *o, struct err *err)
{
    struct json config;
    if (encoder_json(e->a, folder, "config.json", &config, err) < 0)
        return -1;
    str model_type = json_str(&config, json_get(&config, 0, S("model_type")), e->a);
    const struct encoder_ops *ops = find_architecture(folder, model_type, err);
    if (!ops)
        return -1;
    e->shape.architecture = ops->model_type;
    e->architecture_class = json_str(&config, json_path(&config, "architectures.0"), e->a);
    e->weights = weights_open(folder, err);
    if (!e->weights || read_shape(e, &config, err) < 0 || read_pooling(e, folder, err) < 0)
        return -1;
    if (o->adapter && !(e->adapter = adapter_open(o->adapter, err)))
        return -1;
    struct encoder_shape *shape = &e->shape;
    if (o->exit_layer > shape->layers)
        return err_set(err, "%s: early exit after layer %u, but the model has %u", folder, o->exit_layer, shape->layers);
    shape->exit_layer = o->exit_layer ? o->exit_layer : shape->layers;
    shape->is_token_head = str_ends(e->architecture_class, S("ForTokenClassification")) ||
                           (e->adapter && str_eq(adapter_task(e->adapter), S("TOKEN_CLS")));
    read_labels(e, &config);
    e->ops = ops;
    if (ops->load(e, &config, o, err) < 0)
        return -1;
    weights_forget(e->weights);
    if (o->positions_max && o->positions_max < shape->positions)
        shape->positions = o->positions_max;
    /* Layers behind the exit are not loaded, so their deltas find no module: only then is that no mistake. */
    return e->adapter && shape->exit_layer == shape->layers ? adapter_check(e->adapter, err) : 0;
}

static const struct encoder_ops *find_architecture(const char *folder, str model_type, struct err *err)
{
    char known[256];
    size_t n = 0;
    known[0] = 0;
    for (size_t i = 0; i < COUNT_OF(architectures); i++) {
        if (str_eq(model_type, str_of(architectures[i]->model_type)))
            return architectures[i];
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", architectures[i]->model_type);
        assert(n < sizeof known);
    }
    err_set(err, "%s/config.json: model_type is \"" STR_FMT "\"; those that exist here are %s", folder, STR_ARG(model_type),
            known);
    return NULL;
}

/* ---- config.json ---- */

int encoder_json(struct arena *a, const char *folder, const char *name, struct json *out, struct err *err)
{
    str path = arena_printf(a, "%s/%s", folder, name);
    struct buf text = { 0 };
    if (file_read(path.ptr, CONFIG_BYTES_MAX, &text, err) < 0) {
        buf_free(&text);
        return -1;
    }
    struct json_error at;
    if (json_parse(a, buf_to_arena(&text, a), out, &at) < 0)
        return err_set(err, "%s: not JSON: %s at byte %zu", path.ptr, at.what, at.at);
    return 0;
}

int encoder_integer(const struct json *config, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
                    struct err *err)
{
    jref value = json_get(config, 0, str_of(key));
    *out = fallback;
    if (value == JSON_NONE || json_is(config, value, JSON_NULL))
        return 0;
    if (!json_int(config, value, out) || *out < min || *out > max)
        return err_set(err, "config.json: %s is " STR_FMT "; expected a whole number from %lld to %lld", key,
                       STR_ARG(str_upto(json_raw(config, value), 60)), (long long)min, (long long)max);
    return 0;
}

int encoder_number(const struct json *config, const char *key, double fallback, double min, double max, double *out,
                   struct err *err)
{
    jref value = json_get(config, 0, str_of(key));
    *out = fallback;
    if (value == JSON_NONE || json_is(config, value, JSON_NULL))
        return 0;
    if (!json_double(config, value, out) || !(*out >= min && *out <= max))
        return err_set(err, "config.json: %s is " STR_FMT "; expected a number from %g to %g", key,
                       STR_ARG(str_upto(json_raw(config, value), 60)), min, max);
    return 0;
}

int encoder_activation(const struct json *config, const char *key, enum activation *out, struct err *err)
{
    static const struct { const char *name; enum activation activation; } names[] = {
        { "gelu", ACTIVATION_GELU },          { "gelu_new", ACTIVATION_GELU_TANH },
        { "gelu_fast", ACTIVATION_GELU_TANH }, { "gelu_pytorch_tanh", ACTIVATION_GELU_TANH },
        { "relu", ACTIVATION_RELU },          { "silu", ACTIVATION_SILU },
        { "swish", ACTIVATION_SILU },         { "tanh", ACTIVATION_TANH },
    };
    jref value = json_get(config, 0, str_of(key));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (value == JSON_NONE || str_eq(json_raw(config, value), str_of(names[i].name)) ||
            (json_is(config, value, JSON_STRING) && json_key_is(config, value, str_of(names[i].name)))) {
            *out = names[i].activation;         /* absent: gelu, the first */
            return 0;
        }
    return err_set(err, "config.json: %s is " STR_FMT "; known are gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, silu, "
                   "swish, tanh", key, STR_ARG(str_upto(json_raw(config, value), 60)));
}

/* Sizes under the names that architectures give them. Tensors are checked against them later, so a lie here ends in an error
 * there. */
static int read_shape(struct encoder *e, const struct json *config, struct err *err)
{
    struct encoder_shape *shape = &e->shape;
    const struct { const char *keys[2]; uint32_t *at; uint32_t fallback, max; } sizes[] = {
        { { "hidden_size", "dim" }, &shape->hidden, 0, HIDDEN_MAX },
        { { "num_hidden_layers", "n_layers" }, &shape->layers, 0, 256 },
        { { "num_attention_heads", "n_heads" }, &shape->heads, 0, 256 },
        { { "intermediate_size", "hidden_dim" }, &shape->intermediate, 0, 1 << 17 },
        { { "vocab_size", "vocab_size" }, &shape->vocabulary, 0, 1 << 24 },
        { { "max_position_embeddings", "max_position_embeddings" }, &shape->positions, 512, 1 << 20 },
    };
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        const char *key = sizes[i].keys[json_get(config, 0, str_of(sizes[i].keys[0])) == JSON_NONE];
        int64_t v;
        if (encoder_integer(config, key, sizes[i].fallback, 1, sizes[i].max, &v, err) < 0)
            return -1;
        if (v == 0)
            return err_set(err, "config.json: %s is missing", sizes[i].keys[0]);
        *sizes[i].at = (uint32_t)v;
    }
    if (shape->hidden % shape->heads)
        return err_set(err, "config.json: hidden_size %u is not a multiple of %u heads", shape->hidden, shape->heads);
    double epsilon;
    const char *key = json_get(config, 0, S("layer_norm_eps")) == JSON_NONE ? "norm_eps" : "layer_norm_eps";
    int64_t pad;
    if (encoder_number(config, key, 1e-12, 0, 1, &epsilon, err) < 0 ||
        encoder_integer(config, "pad_token_id", 0, -1, INT32_MAX, &pad, err) < 0)
        return -1;
    shape->norm_epsilon = (float)epsilon;
    shape->pad_id = (int32_t)pad;
    return 0;
}

/* Sentence-Transformers: modules.json lists Transformer, Pooling, Normalize. Without it, the mean; classifiers read the first
 * token. */
static int read_pooling(struct encoder *e, const char *folder, struct err *err)
{
    static const struct { const char *flag, *name; enum pooling pooling; } kinds[] = {
        { "pooling_mode_cls_token", "cls", POOLING_CLS },
        { "pooling_mode_mean_tokens", "mean", POOLING_MEAN },
        { "pooling_mode_lasttoken", "lasttoken", POOLING_LAST },
    };
    e->shape.pooling = str_ends(e->architecture_class, S("ForSequenceClassification")) ? POOLING_CLS : POOLING_MEAN;
    struct json modules, pooling;
    if (access(arena_printf(e->a, "%s/modules.json", folder).ptr, F_OK) < 0)
        return 0;
    if (encoder_json(e->a, folder, "modules.json", &modules, err) < 0)
        return -1;
    if (!json_is(&modules, 0, JSON_ARRAY))
        return err_set(err, "%s/modules.json: expected an array", folder);
    JSON_EACH_ITEM(&modules, 0, module) {
        str type = json_str(&modules, json_get(&modules, module, S("type")), e->a);
        str path = json_str(&modules, json_get(&modules, module, S("path")), e->a);
        if (str_ends(type, S(".Dense")))
            return err_set(err, "%s/modules.json: a Dense layer behind the pooling is not supported", folder);
        if (!str_ends(type, S(".Pooling")))
            continue;
        if (!path.len || str_find(path, S("..")) >= 0 || path.ptr[0] == '/')
            return err_set(err, "%s/modules.json: \"" STR_FMT "\" is not a folder inside the model's", folder, STR_ARG(path));
        const char *name = arena_printf(e->a, STR_FMT "/config.json", STR_ARG(path)).ptr;
        if (encoder_json(e->a, folder, name, &pooling, err) < 0)
            return -1;
        str mode = json_str(&pooling, json_get(&pooling, 0, S("pooling_mode")), e->a);
        for (size_t i = 0; i < COUNT_OF(kinds); i++)
            if (str_eq(mode, str_of(kinds[i].name)) || json_bool(&pooling, json_get(&pooling, 0, str_of(kinds[i].flag)), false)) {
                e->shape.pooling = kinds[i].pooling;
                return 0;
            }
        return err_set(err, "%s/%s: pooling is neither cls, mean nor lasttoken", folder, name);
    }
    return 0;
}

/* id2label in the order of its numbers; gaps and absent ones are LABEL_i, as transformers calls them. n_labels is set when the
 * head is found: config.json alone does not say that there is one. */
static int read_labels(struct encoder *e, const struct json *config)
{
    e->shape.labels = ARENA_ARRAY(e->a, str, LABELS_MAX);
    jref names = json_get(config, 0, S("id2label"));
    if (!json_is(config, names, JSON_OBJECT))
        return 0;
    JSON_EACH_PAIR(config, names, key, value) {
        int64_t i;
        if (str_int(json_str(config, key, e->a), &i) && i >= 0 && i < LABELS_MAX)
            e->shape.labels[i] = arena_str(e->a, json_str(config, value, e->a));
    }
    return 0;
}

/* ---- tensors ---- */

/* Old checkpoints call gain and bias of a norm gamma and beta. */
static const char *old_name(const char *name, char *room)
{
    static const char *const pairs[][2] = { { "LayerNorm.weight", "LayerNorm.gamma" }, { "LayerNorm.bias", "LayerNorm.beta" } };
    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        if (str_ends(str_of(name), str_of(pairs[i][0]))) {
            snprintf(room, NAME_MAX_BYTES, "%.*s%s", (int)(strlen(name) - strlen(pairs[i][0])), name, pairs[i][1]);
            return room;
        }
    return NULL;
}

static const struct tensor *find_behind(const struct encoder *e, str wrapper, const char *const *prefixes, const char *name)
{
    char full[NAME_MAX_BYTES];
    const struct tensor *t = NULL;
    for (size_t i = 0; prefixes[i] && !t; i++)
        if ((size_t)snprintf(full, sizeof full, STR_FMT "%s%s", STR_ARG(wrapper), prefixes[i], name) < sizeof full)
            t = weights_find(e->weights, str_of(full));
    return t;
}

static const struct tensor *find_prefixed(const struct encoder *e, const char *const *prefixes, const char *name)
{
    const struct tensor *t = find_behind(e, e->wrapper, prefixes, name);
    return t || !e->wrapper.len ? t : find_behind(e, S(""), prefixes, name);     /* a head beside a wrapped trunk */
}

void encoder_unwrap(struct encoder *e, const char *const *prefixes, const char *name)
{
    for (size_t p = 0; prefixes[p]; p++) {
        char full[NAME_MAX_BYTES];
        snprintf(full, sizeof full, "%s%s", prefixes[p], name);
        for (size_t i = 0; i < weights_n(e->weights); i++) {
            str found = weights_at(e->weights, i)->name;
            if (!str_ends(found, str_of(full)))
                continue;
            str before = str_upto(found, found.len - strlen(full));
            if (before.len && before.ptr[before.len - 1] != '.')
                continue;
            e->wrapper = before;
            return;
        }
    }
}

const struct tensor *encoder_find(const struct encoder *e, const char *const *prefixes, const char *name)
{
    char old[NAME_MAX_BYTES];
    const struct tensor *t = e->adapter ? adapter_find(e->adapter, name) : NULL;
    if (!t)
        t = find_prefixed(e, prefixes, name);
    return t || !old_name(name, old) ? t : find_prefixed(e, prefixes, old);
}

static const char *dims_text(const size_t *dim, unsigned n, char *room, size_t size)
{
    size_t at = 0;
    room[0] = 0;
    for (unsigned i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(room + at, size - at, "%s%zu", i ? ", " : "", dim[i]);
    return room;
}

/* The tensor of exactly this shape. */
static const struct tensor *find_shaped(struct encoder *e, const char *const *prefixes, const char *name, const size_t *dim,
                                        unsigned n_dims, struct err *err)
{
    const struct tensor *t = encoder_find(e, prefixes, name);
    if (!t) {
        err_set(err, "tensor \"%s\" is missing", name);
        return NULL;
    }
    if (t->n_dims != n_dims || memcmp(t->dim, dim, n_dims * sizeof *dim) != 0) {
        char is[160], wants[160];
        err_set(err, "tensor \"" STR_FMT "\" is [%s]; config.json makes it [%s]", STR_ARG(t->name),
                dims_text(t->dim, t->n_dims, is, sizeof is), dims_text(dim, n_dims, wants, sizeof wants));
        return NULL;
    }
    return t;
}

static int check_finite(const struct tensor *t, struct err *err)
{
    size_t at;
    return tensor_is_finite(t, &at) ? 0 : err_set(err, "tensor \"" STR_FMT "\" has NaN or infinity at element %zu",
                                                  STR_ARG(t->name), at);
}

const float *encoder_floats(struct encoder *e, const char *const *prefixes, const char *name, size_t n, bool is_optional,
                            struct err *err)
{
    if (is_optional && !encoder_find(e, prefixes, name))
        return NULL;
    const struct tensor *t = find_shaped(e, prefixes, name, &n, 1, err);
    if (!t || check_finite(t, err) < 0)
        return NULL;
    float *out = ARENA_ARRAY(e->a, float, n);
    tensor_floats(t, 0, n, out);
    return out;
}

/* The check reads the whole table; the pages it has touched are let go again, since a forward reads few of its rows. */
const struct tensor *encoder_table(struct encoder *e, const char *const *prefixes, const char *name, size_t rows, size_t columns,
                                   struct err *err)
{
    const struct tensor *t = find_shaped(e, prefixes, name, (size_t[]){ rows, columns }, 2, err);
    if (!t || check_finite(t, err) < 0)
        return NULL;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)t->data, to = from + t->n * dtype_size(t->dtype);
    from = (from + page - 1) / page * page, to = to / page * page;
    if (from < to)
        madvise((void *)from, to - from, MADV_DONTNEED);
    return t;
}

int encoder_matrix_stack(struct encoder *e, const char *const *prefixes, const char *const *names, size_t n_names,
                         uint32_t n_each, uint32_t k, bool has_bias, struct matrix *out, struct err *err)
{
    size_t each = (size_t)n_each * k;
    float *weight = NULL, *bias = NULL;
    int rc = -1;
    for (size_t i = 0; i < n_names; i++) {
        char name[NAME_MAX_BYTES];
        if ((size_t)snprintf(name, sizeof name, "%s.weight", names[i]) >= sizeof name)
            goto done;
        const struct tensor *t = find_shaped(e, prefixes, name, (size_t[]){ n_each, k }, 2, err);
        if (!t || check_finite(t, err) < 0)
            goto done;
        /* Not before the first tensor is known to be there: its size bounds what config.json can make us take. */
        if (!weight && !(weight = malloc(n_names * each * sizeof *weight))) {
            err_set(err, "no memory for \"" STR_FMT "\"", STR_ARG(t->name));
            goto done;
        }
        tensor_floats(t, 0, each, weight + i * each);
        if (e->adapter && adapter_merge(e->adapter, names[i], weight + i * each, n_each, k, err) < 0)
            goto done;
        if (!has_bias)
            continue;
        snprintf(name, sizeof name, "%s.bias", names[i]);
        size_t n = n_each;
        t = find_shaped(e, prefixes, name, &n, 1, err);
        if (!t || check_finite(t, err) < 0)
            goto done;
        if (!bias && !(bias = malloc(n_names * n * sizeof *bias))) {
            err_set(err, "no memory for \"" STR_FMT "\"", STR_ARG(t->name));
            goto done;
        }
        tensor_floats(t, 0, n, bias + i * n);
    }
    rc = matrix_pack(out, e->precision, weight, bias, (uint32_t)(n_names * n_each), k, out->is_gated);
    if (rc < 0)
        err_set(err, "no memory to pack \"%s\"", names[0]);
    else
        e->bytes_packed += out->bytes;
done:
    free(weight);
    free(bias);
    return rc;
}

int encoder_matrix(struct encoder *e, const char *const *prefixes, const char *name, uint32_t n, uint32_t k, bool has_bias,
                   bool is_gated, struct matrix *out, struct err *err)
{
    out->is_gated = is_gated;
    return encoder_matrix_stack(e, prefixes, &name, 1, n, k, has_bias, out, err);
}

/* ---- heads ---- */

int encoder_classifier(struct encoder *e, const char *const *prefixes, const char *dense, enum activation activation,
                       const char *out, struct classifier *c, struct err *err)
{
    char name[NAME_MAX_BYTES];
    size_t hidden = e->shape.hidden;
    snprintf(name, sizeof name, "%s.weight", out);
    const struct tensor *t = encoder_find(e, prefixes, name);
    if (!t && str_find(e->architecture_class, S("Classification")) < 0)
        return 0;
    size_t n_labels = t && t->n_dims == 2 ? t->dim[0] : 1;
    if (n_labels < 1 || n_labels > LABELS_MAX)
        return err_set(err, "tensor \"%s\" has %zu labels; expected 1 to %d", name, n_labels, LABELS_MAX);
    if (!find_shaped(e, prefixes, name, (size_t[]){ n_labels, hidden }, 2, err) || check_finite(t, err) < 0)
        return -1;
    float *rows = ARENA_ARRAY(e->a, float, t->n);
    tensor_floats(t, 0, t->n, rows);
    if (e->adapter && adapter_merge(e->adapter, out, rows, (uint32_t)n_labels, (uint32_t)hidden, err) < 0)
        return -1;
    *c = (struct classifier){ .activation = activation, .out = rows };
    snprintf(name, sizeof name, "%s.bias", out);
    if (!(c->out_bias = encoder_floats(e, prefixes, name, n_labels, true, err)) && encoder_find(e, prefixes, name))
        return -1;
    if (dense) {
        snprintf(name, sizeof name, "%s.weight", dense);
        if (!(t = find_shaped(e, prefixes, name, (size_t[]){ hidden, hidden }, 2, err)) || check_finite(t, err) < 0)
            return -1;
        float *square = ARENA_ARRAY(e->a, float, t->n);
        tensor_floats(t, 0, t->n, square);
        if (e->adapter && adapter_merge(e->adapter, dense, square, (uint32_t)hidden, (uint32_t)hidden, err) < 0)
            return -1;
        c->dense = square;
        snprintf(name, sizeof name, "%s.bias", dense);
        if (!(c->dense_bias = encoder_floats(e, prefixes, name, hidden, true, err)) && encoder_find(e, prefixes, name))
            return -1;
    }
    e->shape.n_labels = (uint32_t)n_labels;
    for (size_t i = 0; i < n_labels; i++)
        if (!e->shape.labels[i].len)
            e->shape.labels[i] = arena_printf(e->a, "LABEL_%zu", i);
    return 0;
}

static float activate(enum activation activation, float x)
{
    switch (activation) {
    case ACTIVATION_GELU: return 0.5f * x * (1 + erff(x * 0x1.6a09e6p-1f));     /* 1 / sqrt(2) */
    case ACTIVATION_GELU_TANH: return 0.5f * x * (1 + tanhf(0x1.988454p-1f * (x + 0.044715f * x * x * x)));     /* sqrt(2 / pi) */
    case ACTIVATION_RELU: return x > 0 ? x : 0;
    case ACTIVATION_SILU: return x / (1 + expf(-x));
    case ACTIVATION_TANH: return tanhf(x);
    case ACTIVATION_NONE: break;
    }
    return x;
}

void classifier_run(const struct encoder *e, const struct classifier *c, const float *row, float *logits)
{
    size_t hidden = e->shape.hidden;
    float inner[HIDDEN_MAX];
    if (c->dense) {
        for (size_t i = 0; i < hidden; i++) {
            float sum = vector_dot(c->dense + i * hidden, row, hidden) + (c->dense_bias ? c->dense_bias[i] : 0);
            inner[i] = activate(c->activation, sum);
        }
        if (c->gain)
            layer_norm(inner, 1, hidden, c->gain, c->norm_bias, e->shape.norm_epsilon, inner);
        row = inner;
    }
    for (size_t i = 0; i < e->shape.n_labels; i++)
        logits[i] = vector_dot(c->out + i * hidden, row, hidden) + (c->out_bias ? c->out_bias[i] : 0);
}

void encoder_classify(const struct encoder *e, const float *hidden, const struct encoder_batch *b, uint32_t i, float *logits)
{
    e->ops->classify(e, hidden + (size_t)b->starts[i] * e->shape.hidden, b->starts[i + 1] - b->starts[i], logits);
}

void encoder_pool(const struct encoder_shape *shape, enum pooling how, const float *hidden, const struct encoder_batch *b,
                  uint32_t i, float *out)
{
    size_t n = shape->hidden, from = b->starts[i], to = b->starts[i + 1];
    if (from == to)
        memset(out, 0, n * sizeof *out);
    else if (how == POOLING_MEAN)
        vector_mean(hidden + from * n, to - from, n, n, out);
    else
        memcpy(out, hidden + (how == POOLING_CLS ? from : to - 1) * n, n * sizeof *out);
}

/* ---- a forward ---- */

static bool is_valid(const struct encoder *e, const struct encoder_batch *b)
{
    if (b->starts[0] != 0 || b->starts[b->n_texts] > ENCODER_TOKENS_MAX)
        return false;
    for (uint32_t i = 0; i < b->n_texts; i++)
        if (b->starts[i + 1] < b->starts[i] || b->starts[i + 1] - b->starts[i] > e->shape.positions)
            return false;
    for (uint32_t i = 0; i < b->starts[b->n_texts]; i++)
        if (b->ids[i] < 0 || (uint32_t)b->ids[i] >= e->shape.vocabulary)
            return false;
    return true;
}

/* Weights are read again every few hundred rows anyhow (see PANEL_ROWS in block.c), but what lies between the layers of a large
 * batch falls out of the caches: 2,048 tokens in one go cost a third more than four times 512. So texts are taken in groups. */
enum { GROUP_TOKENS = 512 };                    /* for each thread; one text may be longer */

static int forward_group(const struct encoder *e, const struct encoder_batch *b, uint32_t first, uint32_t end,
                         struct encoder_scratch *s, struct gang *g, const volatile bool *stop, float *hidden)
{
    size_t from = b->starts[first], width = e->shape.hidden, mark = encoder_taken(s);
    uint32_t *starts = encoder_take(s, (size_t)(end - first + 1) * sizeof *starts);
    if (!starts)
        return -1;
    for (uint32_t i = first; i <= end; i++)
        starts[i - first] = b->starts[i] - b->starts[first];
    struct encoder_batch group = *b;
    group.ids += from;
    group.types = b->types ? b->types + from : NULL;
    group.middle = b->middle ? b->middle + from * width : NULL;
    group.starts = starts;
    group.n_texts = end - first;
    int rc = e->ops->forward(e, &group, s, g, stop, hidden + from * width);
    encoder_give(s, mark);
    return rc;
}

const float *encoder_forward(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                             const volatile bool *stop)
{
    if (!is_valid(e, b))
        return NULL;
    encoder_give(s, 0);
    float *hidden = encoder_take(s, (size_t)b->starts[b->n_texts] * e->shape.hidden * sizeof *hidden);
    for (uint32_t first = 0, end; hidden && first < b->n_texts; first = end) {
        for (end = first + 1; end < b->n_texts && b->starts[end + 1] - b->starts[first] <= GROUP_TOKENS * gang_size(g);)
            end++;
        if (forward_group(e, b, first, end, s, g, stop, hidden) < 0)
            return NULL;
    }
    return hidden;
}

struct product {
    const struct matrix *w; const struct rows *x;
    float *y; size_t stride, columns, parts;
    const struct epilogue *e;
};

static void product_part(void *arg, size_t i)
{
    const struct product *p = arg;
    size_t tiles = (p->columns + KERNEL_COLUMNS - 1) / KERNEL_COLUMNS;
    size_t from = tiles * i / p->parts * KERNEL_COLUMNS, to = tiles * (i + 1) / p->parts * KERNEL_COLUMNS;
    matrix_product(p->w, p->x, from, to < p->columns ? to : p->columns, p->y, p->stride, p->e);
}

void encoder_product(struct gang *g, const struct matrix *w, const struct rows *x, float *y, size_t y_stride,
                     const struct epilogue *e)
{
    enum { ALONE_MAX = 1 << 20 };               /* multiplications that cost less than waking somebody: some 5 us */
    size_t columns = w->is_gated ? w->n / 2 : w->n, tiles = (columns + KERNEL_COLUMNS - 1) / KERNEL_COLUMNS;
    size_t parts = (size_t)x->m * w->n * w->k <= ALONE_MAX ? 1 : gang_size(g);
    struct product p = { w, x, y, y_stride, columns, parts < tiles ? parts : tiles, e };
    if (p.parts <= 1)
        matrix_product(w, x, 0, columns, y, y_stride, e);
    else
        gang_run(g, p.parts, product_part, &p);
}

/* Texts and heads are dealt out by cost, which grows with the square of a text's length. */
struct attending {
    const struct encoder *e; const struct encoder_batch *b;
    const float *q, *k, *v; size_t stride; float scale; size_t window; float *out; size_t out_stride;
    size_t parts, cost; char *scratch; size_t scratch_bytes;
};

static size_t attention_cost(size_t t)
{
    return t * (t + 64);
}

static void attention_part(void *arg, size_t part)
{
    const struct attending *w = arg;
    size_t heads = w->e->shape.heads, d = w->e->shape.hidden / heads, before = 0;   /* before: cost of the texts so far */
    for (uint32_t i = 0; i < w->b->n_texts; i++) {
        size_t at = w->b->starts[i], t = w->b->starts[i + 1] - at, cost = attention_cost(t);
        size_t from = heads, to = 0;            /* heads whose middle lies in this part's share of the cost */
        for (size_t h = 0; h < heads; h++)
            if ((before + cost * h + cost / 2) * w->parts / w->cost == part)
                from = h < from ? h : from, to = h + 1;
        if (from < to)
            attention(w->e->precision, w->q + at * w->stride, w->k + at * w->stride, w->v + at * w->stride, w->stride, t, d, from,
                      to, w->scale, w->window, NULL, w->out + at * w->out_stride, w->out_stride,
                      w->scratch + part * w->scratch_bytes);
        before += cost * heads;
    }
}

int encoder_attention(const struct encoder *e, const struct encoder_batch *b, struct encoder_scratch *s, struct gang *g,
                      const float *q, const float *k, const float *v, size_t stride, float scale, size_t window, float *out,
                      size_t out_stride)
{
    size_t longest = 0, mark = encoder_taken(s);
    struct attending w = { e, b, q, k, v, stride, scale, window, out, out_stride, .parts = gang_size(g) };
    for (uint32_t i = 0; i < b->n_texts; i++) {
        size_t t = b->starts[i + 1] - b->starts[i];
        longest = t > longest ? t : longest;
        w.cost += attention_cost(t) * e->shape.heads;
    }
    if (!longest)
        return 0;
    w.scratch_bytes = (attention_bytes(longest, e->shape.hidden / e->shape.heads) + 63) / 64 * 64;
    if (!(w.scratch = encoder_take(s, w.parts * w.scratch_bytes)))
        return -1;
    gang_run(g, w.parts, attention_part, &w);
    encoder_give(s, mark);
    return 0;
}

/* ---- scratch ---- */

/* Memory that was handed out must not move while a forward runs. So when the block is full another is put behind it, and the next
 * forward starts with one block as large as both: after the largest batch there is one block, and no allocation.
 *
 * Blocks are huge pages: a product writes tiles, two lines in each of 32 rows that lie kilobytes apart, so with small pages every
 * row of a tile is a page of its own. */
enum { BLOCKS_MAX = 48, ALIGNMENT = 64, FIRST_BYTES = 1 << 20 };

struct encoder_scratch {
    struct scratch_block { char *at; size_t from, bytes; } blocks[BLOCKS_MAX];  /* from: bytes in the blocks before */
    unsigned n;
    size_t taken;                               /* counted over all blocks, with what is left over at their ends */
};

struct encoder_scratch *encoder_scratch_new(void)
{
    return calloc(1, sizeof(struct encoder_scratch));
}

void encoder_scratch_free(struct encoder_scratch *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->n; i++)
        free(s->blocks[i].at);
    free(s);
}

static bool add_block(struct encoder_scratch *s, size_t from, size_t bytes)
{
    bytes = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    char *at = s->n < BLOCKS_MAX ? huge_alloc(bytes) : NULL;
    if (!at)
        return false;
    s->blocks[s->n++] = (struct scratch_block){ at, from, bytes };
    return true;
}

void *encoder_take(struct encoder_scratch *s, size_t bytes)
{
    if (bytes > SIZE_MAX / 4)
        return NULL;
    bytes = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    for (unsigned i = 0; i < s->n; i++) {
        struct scratch_block *b = &s->blocks[i];
        size_t at = s->taken > b->from ? s->taken - b->from : 0;
        if (at <= b->bytes && bytes <= b->bytes - at) {
            s->taken = b->from + at + bytes;
            return b->at + at;
        }
    }
    size_t from = s->n ? s->blocks[s->n - 1].from + s->blocks[s->n - 1].bytes : 0;
    size_t least = from > FIRST_BYTES ? from : FIRST_BYTES;
    if (!add_block(s, from, bytes > least ? bytes : least))
        return NULL;
    s->taken = from + bytes;
    return s->blocks[s->n - 1].at;
}

size_t encoder_taken(const struct encoder_scratch *s)
{
    return s->taken;
}

void encoder_give(struct encoder_scratch *s, size_t mark)
{
    assert(mark <= s->taken);
    s->taken = mark;
    if (mark || s->n < 2)
        return;
    size_t bytes = s->blocks[s->n - 1].from + s->blocks[s->n - 1].bytes;
    while (s->n)
        free(s->blocks[--s->n].at);
    add_block(s, 0, bytes);                     /* if this fails, the next encoder_take asks again */
}
