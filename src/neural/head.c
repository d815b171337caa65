/* neural/head.c -- a head is a few hundred numbers a label: the file says everything else in its card.
 *
 * The card is JSON in the metadata key "signalbox.head"; shapes of the arrays must agree with it, or the file is refused. Word weights are
 * kept [bucket][label], so that the one pass over a text's features adds whole rows. */
#include "neural/head.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "neural/kernel.h"
#include "neural/ngram.h"
#include "neural/weights.h"

enum { HIDDEN_MAX = 4096, DIM_MAX = 16384, BUCKETS_MAX = 1 << 22 };

struct file_head {                      /* what head_open made; `h` is the first member */
    struct head h;
    struct arena *a;
};

static const char *const kind_names[] = { [HEAD_LINEAR] = "linear", [HEAD_MLP] = "mlp", [HEAD_TOKENS] = "tokens" };

/* ---- reading ---- */

static float *array_read(struct arena *a, const struct weights *w, const char *path, const char *name, size_t n, struct err *e)
{
    const struct tensor *t = weights_find(w, str_of(name));
    if (!t || t->n != n) {
        err_set(e, "%s: array '%s' has %zu numbers, the card says %zu", path, name, t ? t->n : (size_t)0, n);
        return NULL;
    }
    float *out = arena_try(a, n * sizeof *out + 64);
    if (!out) {
        err_set(e, "%s: no memory for array '%s'", path, name);
        return NULL;
    }
    tensor_floats(t, 0, n, out);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i])) {
            err_set(e, "%s: array '%s' holds a number that is not finite, at %zu", path, name, i);
            return NULL;
        }
    return out;
}

static uint32_t card_uint(const struct json *j, const char *path, uint32_t fallback, uint32_t most)
{
    int64_t v;
    jref n = json_path(j, path);
    return n != JSON_NONE && json_int(j, n, &v) && v >= 0 && v <= most ? (uint32_t)v : fallback;
}

static float card_float(const struct json *j, jref object, const char *key, float fallback)
{
    double v;
    jref n = json_get(j, object, str_of(key));
    return n != JSON_NONE && json_double(j, n, &v) && isfinite(v) ? (float)v : fallback;
}

static int passages_read(struct head *h, const struct json *j, const char *path, struct err *e)
{
    jref at = json_path(j, "passages");
    struct head_passages *p = &h->passages;
    p->temperature = 1;
    if (at == JSON_NONE)
        return 0;
    if (!json_is(j, at, JSON_OBJECT))
        return err_set(e, "%s: passages is no object", path);
    uint32_t bytes = card_uint(j, "passages.bytes", 240, 4096);
    *p = (struct head_passages){
        .most = card_uint(j, "passages.most", 0, PASSAGES_MAX), .bytes = bytes, .from = card_uint(j, "passages.from", bytes + 1, UINT32_MAX),
        .bar = card_float(j, at, "bar", 0), .slope = card_float(j, at, "slope", 0),
        .temperature = card_float(j, at, "temperature", 1), .offset = card_float(j, at, "offset", 0),
    };
    if (p->most && (h->kind == HEAD_TOKENS || h->n_labels != 1 || h->dim == 0 || h->ngrams.buckets == 0))
        return err_set(e, "%s: passages are for a head of one label with a trunk vector and words", path);
    if (p->most && (p->bytes < 64 || !(p->temperature > 0)))
        return err_set(e, "%s: passages.bytes must be at least 64, passages.temperature above 0", path);
    return 0;
}

static int card_read(struct file_head *f, const char *path, struct err *e)
{
    struct head *h = &f->h;
    struct json j;
    struct json_error je;
    if (h->card.len == 0)
        return err_set(e, "%s: no head: the metadata has no 'signalbox.head'", path);
    if (json_parse(f->a, h->card, &j, &je) < 0)
        return err_set(e, "%s: the card of the head is no JSON: %s at byte %zu", path, je.what, je.at);
    if (!json_is(&j, 0, JSON_OBJECT))
        return err_set(e, "%s: the card of the head is no object", path);
    str kind = json_str(&j, json_path(&j, "kind"), f->a);
    h->kind = HEAD_LINEAR;
    while (h->kind <= HEAD_TOKENS && !str_eq(kind, str_of(kind_names[h->kind])))
        h->kind++;
    if (h->kind > HEAD_TOKENS)
        return err_set(e, "%s: kind is '" STR_FMT "'; there are linear, mlp, tokens", path, STR_ARG(kind));
    h->signal = json_str(&j, json_path(&j, "signal"), f->a);
    h->trunk = json_str(&j, json_path(&j, "trunk"), f->a);
    h->dim = card_uint(&j, "dim", 0, DIM_MAX);
    h->layer = card_uint(&j, "layer", 0, 1024);
    h->hidden = card_uint(&j, "hidden", 0, HIDDEN_MAX);
    jref labels = json_path(&j, "labels");
    h->n_labels = json_is(&j, labels, JSON_ARRAY) ? json_count(&j, labels) : 0;
    if (h->n_labels == 0 || h->n_labels > HEAD_LABELS_MAX)
        return err_set(e, "%s: a head has 1 to %d labels, this one %u", path, HEAD_LABELS_MAX, h->n_labels);
    h->labels = ARENA_ARRAY(f->a, str, h->n_labels);
    uint32_t i = 0;
    JSON_EACH_ITEM(&j, labels, item)
        h->labels[i++] = json_str(&j, item, f->a);
    h->ngrams = (struct ngram_spec){
        .buckets = card_uint(&j, "ngrams.buckets", 0, BUCKETS_MAX),
        .character_min = (uint8_t)card_uint(&j, "ngrams.character_min", 0, 16),
        .character_max = (uint8_t)card_uint(&j, "ngrams.character_max", 0, 16),
        .word_max = (uint8_t)card_uint(&j, "ngrams.word_max", 0, 8),
        .is_normalised = json_path(&j, "ngrams.is_normalised") != JSON_NONE && json_bool(&j, json_path(&j, "ngrams.is_normalised"), false),
    };
    if (h->ngrams.buckets & (h->ngrams.buckets - 1))
        return err_set(e, "%s: ngrams.buckets is %u, no power of two", path, h->ngrams.buckets);
    h->temperature = card_float(&j, 0, "temperature", 1);
    h->window_share = card_float(&j, 0, "window_share", 1);
    if (!(h->temperature > 0))
        return err_set(e, "%s: temperature must be above 0", path);
    if (passages_read(h, &j, path, e) < 0)
        return -1;
    jref thresholds = json_path(&j, "thresholds");
    if (json_is(&j, thresholds, JSON_ARRAY))
        JSON_EACH_ITEM(&j, thresholds, t)
            if (json_is(&j, t, JSON_OBJECT) && h->n_thresholds < HEAD_THRESHOLDS_MAX)
                h->thresholds[h->n_thresholds++] = (struct head_threshold){
                    card_float(&j, t, "false_alarm_rate", 0), card_float(&j, t, "threshold", 1), card_float(&j, t, "low", 0),
                    card_float(&j, t, "high", 1),
                };
    if (h->dim == 0 && h->ngrams.buckets == 0)
        return err_set(e, "%s: a head needs a trunk vector (dim) or words (ngrams.buckets)", path);
    if (h->kind == HEAD_TOKENS && (h->dim == 0 || h->ngrams.buckets))
        return err_set(e, "%s: a token head reads the trunk's states, and no words", path);
    if (h->kind == HEAD_MLP && (h->hidden == 0 || h->dim == 0))
        return err_set(e, "%s: an mlp head needs hidden units and a trunk vector", path);
    return 0;
}

static int arrays_read(struct file_head *f, const struct weights *w, const char *path, struct err *e)
{
    struct head *h = &f->h;
    uint32_t first = h->kind == HEAD_MLP ? h->hidden : h->n_labels;
    if (h->dim && !(h->weight = array_read(f->a, w, path, "weight", (size_t)first * h->dim, e)))
        return -1;
    if (!(h->bias = array_read(f->a, w, path, "bias", first, e)))
        return -1;
    if (h->kind == HEAD_MLP && (!(h->weight2 = array_read(f->a, w, path, "weight2", (size_t)h->n_labels * h->hidden, e)) ||
                                !(h->bias2 = array_read(f->a, w, path, "bias2", h->n_labels, e))))
        return -1;
    if (h->ngrams.buckets &&
        !(h->ngram_weight = array_read(f->a, w, path, "ngram_weight", (size_t)h->n_labels * h->ngrams.buckets, e)))
        return -1;
    if (weights_find(w, S("offset")) && !(h->offset = array_read(f->a, w, path, "offset", h->n_labels, e)))
        return -1;
    return 0;
}

struct head *head_open(const char *path, struct err *e)
{
    struct weights *w = weights_open(path, e);
    struct arena *a = w ? arena_new() : NULL;
    if (!a) {
        if (w)
            err_set(e, "%s: no memory", path);
        weights_close(w);
        return NULL;
    }
    struct file_head *f = ARENA_NEW(a, struct file_head);
    f->a = a;
    f->h.card = arena_str(a, weights_metadata(w, S("signalbox.head")));
    int rc = card_read(f, path, e);
    if (rc == 0)
        rc = arrays_read(f, w, path, e);
    weights_close(w);
    if (rc == 0)
        return &f->h;
    arena_free(a);
    return NULL;
}

void head_close(struct head *h)
{
    if (h)
        arena_free(((struct file_head *)h)->a);
}

/* ---- writing ---- */

void head_thresholds_json(const struct head *h, struct json_writer *w)
{
    jw_begin(w, '[');
    for (uint32_t i = 0; i < h->n_thresholds; i++) {
        const struct head_threshold *t = &h->thresholds[i];
        const struct { str key; float v; } all[] = {
            { S("false_alarm_rate"), t->false_alarm_rate }, { S("threshold"), t->threshold }, { S("low"), t->low }, { S("high"), t->high },
        };
        jw_begin(w, '{');
        for (size_t k = 0; k < COUNT_OF(all); k++) {
            jw_key(w, all[k].key);
            jw_float(w, all[k].v);
        }
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

int head_write(const struct head *h, const char *path, struct err *e)
{
    struct tensor_out list[6];
    size_t n = 0, first = h->kind == HEAD_MLP ? h->hidden : h->n_labels;
    if (h->dim)
        list[n++] = (struct tensor_out){ S("weight"), 2, { first, h->dim }, h->weight };
    list[n++] = (struct tensor_out){ S("bias"), 1, { first }, h->bias };
    if (h->kind == HEAD_MLP) {
        list[n++] = (struct tensor_out){ S("weight2"), 2, { h->n_labels, h->hidden }, h->weight2 };
        list[n++] = (struct tensor_out){ S("bias2"), 1, { h->n_labels }, h->bias2 };
    }
    if (h->ngrams.buckets)
        list[n++] = (struct tensor_out){ S("ngram_weight"), 2, { h->ngrams.buckets, h->n_labels }, h->ngram_weight };
    if (h->offset)
        list[n++] = (struct tensor_out){ S("offset"), 1, { h->n_labels }, h->offset };
    str card[1][2] = { { S("signalbox.head"), h->card } };
    struct string_pairs metadata = { card, 1 };
    return weights_write(path, list, n, &metadata, e);
}

/* ---- running ---- */

static void linear(const float *weight, const float *bias, const float *x, uint32_t n, uint32_t k, float *y)
{
    for (uint32_t i = 0; i < n; i++)
        y[i] = bias[i] + (k ? vector_dot(weight + (size_t)i * k, x, k) : 0);
}

/* Logits to probabilities: one label by the logistic function, several by softmax. */
static void probabilities(const struct head *h, float *logits)
{
    float most = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < h->n_labels; i++) {
        logits[i] = logits[i] / h->temperature + (h->offset ? h->offset[i] : 0);
        most = fmaxf(most, logits[i]);
    }
    if (h->n_labels == 1) {
        logits[0] = 1 / (1 + expf(-logits[0]));
        return;
    }
    for (uint32_t i = 0; i < h->n_labels; i++)
        sum += logits[i] = expf(logits[i] - most);
    for (uint32_t i = 0; i < h->n_labels; i++)
        logits[i] /= sum;
}

void head_run(const struct head *h, const float *vector, const float *ngram_logits, float *out)
{
    if (h->kind == HEAD_MLP) {
        float units[HIDDEN_MAX];
        linear(h->weight, h->bias, vector, h->hidden, h->dim, units);
        for (uint32_t i = 0; i < h->hidden; i++)
            units[i] = units[i] > 0 ? units[i] : 0;
        linear(h->weight2, h->bias2, units, h->n_labels, h->hidden, out);
    } else {
        linear(h->weight, h->bias, vector, h->n_labels, h->dim, out);
    }
    for (uint32_t i = 0; ngram_logits && i < h->n_labels; i++)
        out[i] += ngram_logits[i];
    probabilities(h, out);
}

void head_ngrams(const struct head *h, str text, float *logits)
{
    static _Thread_local struct ngram_feature features[NGRAM_FEATURES_MAX];
    memset(logits, 0, h->n_labels * sizeof *logits);
    uint32_t n = h->ngrams.buckets ? ngram_features(&h->ngrams, text, features, NGRAM_FEATURES_MAX) : 0;
    for (uint32_t i = 0; i < n; i++) {
        const float *row = h->ngram_weight + (size_t)features[i].bucket * h->n_labels;
        for (uint32_t k = 0; k < h->n_labels; k++)
            logits[k] += features[i].value * row[k];
    }
}

void head_tokens(const struct head *h, const float *states, uint32_t n_tokens, float *out)
{
    for (uint32_t i = 0; i < n_tokens; i++)
        head_run(h, states + (size_t)i * h->dim, NULL, out + (size_t)i * h->n_labels);
}
