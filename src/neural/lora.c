/* neural/lora.c -- reads a PEFT adapter folder and merges it: W += scale * B A.
 *
 * The adapter keeps, for each module that it changes, A [r][k] and B [n][r]; scale is lora_alpha / r, with use_rslora lora_alpha
 * / sqrt(r). DoRA then gives each row of the sum its own length back. Merged at load, an adapter costs nothing in a forward.
 * Whatever else the file holds (a trained classifier, biases) takes the place of the base model's tensor of that name. An adapter
 * that asks for something else, or whose deltas find no module, is refused: half an adapter would answer wrongly and silently.
 * (Formats: the checkpoint page of PEFT's documentation; arXiv 2106.09685, 2312.03732, 2402.09353.) */
#include "neural/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/map.h"
#include "neural/encoder.h"

struct delta {                          /* of one module */
    const struct tensor *a, *b;         /* [r][k], [n][r] */
    const struct tensor *magnitude;     /* [n]; DoRA; NULL: none */
    bool is_used;
};

struct adapter {
    struct arena *arena;
    const char *folder;
    struct weights *weights;
    struct json config;
    str task;
    double alpha;
    bool is_rank_stabilised;
    struct map deltas;                  /* module -> struct delta, by the base model's name */
    struct map others;                  /* tensor name -> struct tensor */
};

static int read_config(struct adapter *d, struct err *e);
static int sort_tensors(struct adapter *d, struct err *e);
static int check_delta(const struct adapter *d, str module, const struct delta *delta, struct err *e);

struct adapter *adapter_open(const char *folder, struct err *e)
{
    struct arena *a = arena_new();
    if (!a) {
        err_set(e, "%s: no memory", folder);
        return NULL;
    }
    struct adapter *d = ARENA_NEW(a, struct adapter);
    *d = (struct adapter){ .arena = a, .folder = arena_cstr(a, str_of(folder)), .deltas.a = a, .others.a = a };
    if (read_config(d, e) == 0 && (d->weights = weights_open(folder, e)) && sort_tensors(d, e) == 0)
        return d;
    adapter_close(d);
    return NULL;
}

void adapter_close(struct adapter *d)
{
    if (!d)
        return;
    weights_close(d->weights);
    arena_free(d->arena);
}

str adapter_task(const struct adapter *d)
{
    return d->task;
}

static bool is_set(const struct json *j, jref n)        /* to something else than null, false, [] or {} */
{
    if (json_is(j, n, JSON_ARRAY) || json_is(j, n, JSON_OBJECT))
        return json_count(j, n) > 0;
    return n != JSON_NONE && !json_is(j, n, JSON_NULL) && !json_is(j, n, JSON_FALSE);
}

static int read_config(struct adapter *d, struct err *e)
{
    /* These change what the delta is. */
    static const char *const refused[] = { "fan_in_fan_out", "layer_replication", "megatron_config", "trainable_token_indices" };
    struct json *j = &d->config;
    if (encoder_json(d->arena, d->folder, "adapter_config.json", j, e) < 0)
        return -1;
    str type = json_str(j, json_get(j, 0, S("peft_type")), d->arena);
    if (!str_eq(type, S("LORA")))
        return err_set(e, "%s/adapter_config.json: peft_type is \"" STR_FMT "\"; only LORA is supported", d->folder,
                       STR_ARG(type));
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        if (is_set(j, json_get(j, 0, str_of(refused[i]))))
            return err_set(e, "%s/adapter_config.json: %s is not supported", d->folder, refused[i]);
    if (!json_double(j, json_get(j, 0, S("lora_alpha")), &d->alpha) || !isfinite(d->alpha))
        return err_set(e, "%s/adapter_config.json: lora_alpha is missing", d->folder);
    d->is_rank_stabilised = json_bool(j, json_get(j, 0, S("use_rslora")), false);
    d->task = json_str(j, json_get(j, 0, S("task_type")), d->arena);
    return 0;
}

/* "base_model.model.bert.x.modules_to_save.default.weight" is the base model's "bert.x.weight". */
static str base_name(struct adapter *d, str name)
{
    static const char *const dropped[] = { ".modules_to_save", ".original_module", ".default", ".base_layer" };
    if (str_starts(name, S("base_model.model.")))
        name = str_from(name, strlen("base_model.model."));
    for (size_t i = 0; i < COUNT_OF(dropped); i++) {
        long at = str_find(name, str_of(dropped[i]));
        size_t end = (size_t)at + strlen(dropped[i]);
        if (at >= 0 && (end == name.len || name.ptr[end] == '.'))
            name = arena_printf(d->arena, "%.*s" STR_FMT, (int)at, name.ptr, STR_ARG(str_from(name, end)));
    }
    return name;
}

static int sort_tensors(struct adapter *d, struct err *e)
{
    static const struct { const char *end; size_t at; } parts[] = {
        { ".lora_A.weight", offsetof(struct delta, a) },
        { ".lora_B.weight", offsetof(struct delta, b) },
        { ".lora_magnitude_vector.weight", offsetof(struct delta, magnitude) },
        { ".lora_magnitude_vector", offsetof(struct delta, magnitude) },
    };
    for (size_t i = 0; i < weights_n(d->weights); i++) {
        const struct tensor *t = weights_at(d->weights, i);
        str name = base_name(d, t->name), module = name;
        size_t at, part = 0;
        if (!tensor_is_finite(t, &at))
            return err_set(e, "%s: tensor \"" STR_FMT "\" has NaN or infinity at element %zu", d->folder, STR_ARG(t->name), at);
        while (part < COUNT_OF(parts) && !str_ends(name, str_of(parts[part].end)))
            part++;
        if (part == COUNT_OF(parts)) {
            if (str_find(name, S(".lora_")) >= 0)
                return err_set(e, "%s: tensor \"" STR_FMT "\": this kind of delta is not supported", d->folder, STR_ARG(t->name));
            map_put(&d->others, name, (void *)(uintptr_t)t);
            continue;
        }
        module.len -= strlen(parts[part].end);
        struct delta *delta = map_get(&d->deltas, module);
        if (!delta)
            map_put(&d->deltas, module, delta = ARENA_NEW(d->arena, struct delta));
        memcpy((char *)delta + parts[part].at, &t, sizeof t);
    }
    for (size_t i = 0; i < d->deltas.n; i++)
        if (check_delta(d, d->deltas.entries[i].key, d->deltas.entries[i].value, e) < 0)
            return -1;
    return 0;
}

static int check_delta(const struct adapter *d, str module, const struct delta *delta, struct err *e)
{
    const struct tensor *a = delta->a, *b = delta->b, *m = delta->magnitude;
    if (!a || !b)
        return err_set(e, "%s: module \"" STR_FMT "\" has lora_%s but no lora_%s", d->folder, STR_ARG(module), a ? "A" : "B",
                       a ? "B" : "A");
    if (a->n_dims != 2 || b->n_dims != 2 || a->dim[0] == 0 || a->dim[0] != b->dim[1] || (m && m->n != b->dim[0]))
        return err_set(e, "%s: module \"" STR_FMT "\": the shapes of lora_A, lora_B and magnitude do not fit together", d->folder,
                       STR_ARG(module));
    return 0;
}

/* Adapters name modules from the model's root ("bert.encoder..."), architectures without it. */
static bool is_named(str full, str name)
{
    return str_ends(full, name) && (full.len == name.len || full.ptr[full.len - name.len - 1] == '.');
}

static void *find(const struct map *m, str name)
{
    for (size_t i = 0; i < m->n; i++)
        if (is_named(m->entries[i].key, name))
            return m->entries[i].value;
    return NULL;
}

const struct tensor *adapter_find(const struct adapter *d, const char *name)
{
    return find(&d->others, str_of(name));
}

/* lora_alpha, or what alpha_pattern has for this module: its keys are module names or their ends. */
static double alpha_of(const struct adapter *d, str module)
{
    const struct json *j = &d->config;
    double alpha = d->alpha;
    jref pattern = json_get(j, 0, S("alpha_pattern"));
    if (json_is(j, pattern, JSON_OBJECT))
        JSON_EACH_PAIR(j, pattern, key, value)
            if (is_named(module, json_str(j, key, d->arena)) && json_double(j, value, &alpha))
                break;
    return alpha;
}

static void restore_lengths(const struct tensor *magnitude, float *weight, uint32_t n, uint32_t k)
{
    for (uint32_t i = 0; i < n; i++) {
        float *row = weight + (size_t)i * k, length = sqrtf(vector_dot(row, row, k)), wanted;
        tensor_floats(magnitude, i, 1, &wanted);
        for (uint32_t c = 0; c < k && length > 0; c++)
            row[c] *= wanted / length;
    }
}

int adapter_merge(const struct adapter *d, const char *module, float *weight, uint32_t n, uint32_t k, struct err *e)
{
    struct delta *delta = find(&d->deltas, str_of(module));
    if (!delta)
        return 0;
    size_t rank = delta->a->dim[0];
    if (delta->b->dim[0] != n || delta->a->dim[1] != k)
        return err_set(e, "%s: module \"%s\" is [%u, %u] in the model, but its delta is [%zu, %zu]", d->folder, module, n, k,
                       delta->b->dim[0], delta->a->dim[1]);
    float *a = malloc((rank * k + rank) * sizeof *a), *b = a ? a + rank * k : NULL;     /* [r][k], one row of B [r] */
    if (!a)
        return err_set(e, "%s: no memory", d->folder);
    double alpha = alpha_of(d, str_of(module));
    float scale = (float)(alpha / (d->is_rank_stabilised ? sqrt((double)rank) : (double)rank));
    tensor_floats(delta->a, 0, rank * k, a);
    for (uint32_t i = 0; i < n; i++) {
        tensor_floats(delta->b, (size_t)i * rank, rank, b);
        for (size_t r = 0; r < rank; r++)
            for (uint32_t c = 0; c < k; c++)
                weight[(size_t)i * k + c] += scale * b[r] * a[r * k + c];
    }
    free(a);
    if (delta->magnitude)
        restore_lengths(delta->magnitude, weight, n, k);
    delta->is_used = true;
    return 0;
}

int adapter_check(const struct adapter *d, struct err *e)
{
    for (size_t i = 0; i < d->deltas.n; i++)
        if (!((const struct delta *)d->deltas.entries[i].value)->is_used)
            return err_set(e, "%s: the model has no module \"" STR_FMT "\"", d->folder, STR_ARG(d->deltas.entries[i].key));
    return 0;
}
