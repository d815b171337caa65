/* neural/model.c -- trunks shared by path and options, heads that can be replaced.
 *
 * A model is in the registry from the moment somebody starts to open it: whoever wants the same one meanwhile waits for
 * that. A head's versions are a list, newest first; a reload pushes one. Readers take the newest without a lock, and none
 * goes before its head does, except that jobs on their way hold their own. */
#include "neural/model.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"

enum {
    WINDOW_TOKENS_MIN = 16,             /* frame included; less is no context */
    HEAD_VERSIONS_MAX = 64,             /* of one opened head; beyond: reload the configuration, which opens it anew */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static struct neural_model *registry;           /* lock */
static atomic_uint_fast64_t last_serial;

static uint64_t serial_next(void)
{
    return atomic_fetch_add(&last_serial, 1) + 1;
}

/* ---- models ---- */

static void model_free(struct neural_model *m)
{
    encoder_close(m->encoder);
    tokenizer_close(m->tokenizer);
    arena_free(m->a);
    free(m->folder);
    free(m->adapter);
    free(m);
}

/* Sentence-Transformers' config_sentence_transformers.json: {"prompts": {"query": "query: ", ...}, "default_prompt_name":
 * "query"}. Each prompt is tokenised once; a space at its end belongs to the word behind it. */
static int prompts_read(struct neural_model *m, struct err *e)
{
    static const char file[] = "config_sentence_transformers.json";
    struct json j;
    if (!m->folder || access(arena_printf(m->a, "%s/%s", m->folder, file).ptr, F_OK) < 0)
        return 0;
    if (encoder_json(m->a, m->folder, file, &j, e) < 0)
        return -1;
    jref prompts = json_is(&j, 0, JSON_OBJECT) ? json_get(&j, 0, S("prompts")) : JSON_NONE;
    if (!json_is(&j, prompts, JSON_OBJECT) || json_count(&j, prompts) == 0)
        return 0;
    str name = json_str(&j, json_get(&j, 0, S("default_prompt_name")), m->a);
    struct window_prompt *list = ARENA_ARRAY(m->a, struct window_prompt, PROMPTS_MAX), *by_default = NULL;
    struct tokenizer_scratch *scratch = tokenizer_scratch_new();
    uint32_t n = 0;
    int rc = scratch ? 0 : err_set(e, "no memory");
    JSON_EACH_PAIR(&j, prompts, key, value) {
        struct tokens t = { 0 };
        str text = json_str(&j, value, m->a);
        if (rc < 0 || n == PROMPTS_MAX)
            break;
        if (!json_is(&j, value, JSON_STRING) || tokenizer_encode(m->tokenizer, text, (str){ NULL, 0 }, false, scratch, &t) < 0 ||
            t.n > PROMPT_TOKENS_MAX)
            rc = err_set(e, "%s/%s: prompt \"" STR_FMT "\" is no text of at most %d tokens", m->folder, file,
                         STR_ARG(json_str(&j, key, m->a)), PROMPT_TOKENS_MAX);
        int32_t *ids = ARENA_ARRAY(m->a, int32_t, t.n);
        for (uint32_t i = 0; i < t.n; i++)
            ids[i] = t.ids[i];
        list[n] = (struct window_prompt){ text, ids, t.n };
        if (name.len && json_key_is(&j, key, name))
            by_default = &list[n];
        n++;
    }
    tokenizer_scratch_free(scratch);
    if (rc == 0)
        window_rule_prompts(&m->rule, list, n, by_default);
    return rc;
}

/* The parts are m's from here on, whatever comes of it. */
static int model_fill(struct neural_model *m, struct encoder *encoder, struct tokenizer *tokenizer, struct err *e)
{
    const struct encoder_shape *shape = &encoder->shape;
    const struct neural_model_options *o = &m->options;
    m->encoder = encoder;
    m->tokenizer = tokenizer;
    m->serial = serial_next();
    m->a = arena_new();
    if (!m->a)
        return err_set(e, "no memory");
    if (tokenizer_vocabulary(tokenizer) > shape->vocabulary)
        return err_set(e, "%s: tokenizer.json has %u tokens, the model's embedding only %u", m->folder ? m->folder : "model",
                       tokenizer_vocabulary(tokenizer), shape->vocabulary);
    if (o->dim > shape->hidden)
        return err_set(e, "%s: vectors of %u dimensions are asked for, the model has %u", m->folder ? m->folder : "model", o->dim,
                       shape->hidden);
    uint32_t tokens = o->window_tokens ? o->window_tokens : WINDOW_TOKENS;
    tokens = tokens < shape->positions ? tokens : shape->positions;
    if (tokens < WINDOW_TOKENS_MIN)
        return err_set(e, "%s: a window of %u tokens is too short, at least %d are needed", m->folder ? m->folder : "model",
                       tokens, WINDOW_TOKENS_MIN);
    window_rule_make(&m->rule, tokenizer, tokens, shape->pad_id < 0 ? 0 : shape->pad_id);
    if (prompts_read(m, e) < 0)
        return -1;
    if (tokens < WINDOW_TOKENS_MIN + m->rule.n_prompt)
        return err_set(e, "%s: a window of %u tokens leaves too few beside a prompt of %u", m->folder ? m->folder : "model", tokens,
                       m->rule.n_prompt);
    m->dim = o->dim ? o->dim : shape->hidden;
    m->n_middle = o->middle_layer && o->middle_layer < shape->exit_layer ? shape->hidden : 0;
    if (shape->is_token_head)
        span_scheme_make(&m->spans, shape->labels, shape->n_labels, m->a);
    else
        m->n_labels = shape->n_labels;
    return 0;
}

struct neural_model *neural_model_make(struct encoder *encoder, struct tokenizer *tokenizer, const struct neural_model_options *o,
                                       struct err *e)
{
    struct neural_model *m = calloc(1, sizeof *m);
    if (!m) {
        encoder_close(encoder);
        tokenizer_close(tokenizer);
        err_set(e, "no memory");
        return NULL;
    }
    m->holders = 1;
    m->state = MODEL_OPEN;
    m->options = *o;
    if (model_fill(m, encoder, tokenizer, e) < 0) {
        model_free(m);
        return NULL;
    }
    return m;
}

static bool same_cstr(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_options(const struct neural_model_options *a, const struct neural_model_options *b)
{
    return a->precision == b->precision && a->window_tokens == b->window_tokens && a->exit_layer == b->exit_layer &&
           a->dim == b->dim && a->middle_layer == b->middle_layer && same_cstr(a->adapter, b->adapter);
}

static struct neural_model *registry_find(const char *folder, const struct neural_model_options *o)
{
    struct neural_model *m = registry;
    while (m && !(m->state != MODEL_BROKEN && strcmp(m->folder, folder) == 0 && same_options(&m->options, o)))
        m = m->next;
    return m;
}

/* One holder less. With the lock, which the last one gives up for a while. */
static void registry_drop(struct neural_model *m)
{
    if (--m->holders > 0)
        return;
    struct neural_model **at = &registry;
    while (*at && *at != m)
        at = &(*at)->next;
    if (*at)
        *at = m->next;
    pthread_mutex_unlock(&lock);
    model_free(m);
    pthread_mutex_lock(&lock);
}

static int model_load(struct neural_model *m, struct err *e)
{
    char file[PATH_MAX + 32];
    snprintf(file, sizeof file, "%s/tokenizer.json", m->folder);
    struct tokenizer *tokenizer = tokenizer_open(file, e);
    if (!tokenizer)
        return -1;
    struct encoder_options o = { .precision = m->options.precision, .exit_layer = m->options.exit_layer, .adapter = m->adapter };
    if (o.precision == PRECISION_N)
        o.precision = kernel_best_precision();
    struct encoder *encoder = encoder_open(m->folder, &o, e);
    if (!encoder) {
        tokenizer_close(tokenizer);
        return -1;
    }
    return model_fill(m, encoder, tokenizer, e);
}

static struct neural_model *registry_put(const char *folder, const struct neural_model_options *o)
{
    struct neural_model *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->options = *o;
    m->folder = strdup(folder);
    m->adapter = o->adapter ? strdup(o->adapter) : NULL;
    if (!m->folder || (o->adapter && !m->adapter)) {
        model_free(m);
        return NULL;
    }
    m->options.adapter = m->adapter;
    m->holders = 1;
    m->next = registry;
    registry = m;
    return m;
}

struct neural_model *neural_model_open(const char *folder, const struct neural_model_options *o, struct err *e)
{
    char real[PATH_MAX];
    if (!realpath(folder, real)) {
        err_set(e, "%s: no such model folder", folder);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    struct neural_model *m = registry_find(real, o);
    if (m) {
        m->holders++;
        while (m->state == MODEL_OPENING)
            pthread_cond_wait(&opened, &lock);
    } else if ((m = registry_put(real, o)) != NULL) {
        pthread_mutex_unlock(&lock);
        struct err why = { .text = "" };
        int rc = model_load(m, &why);
        pthread_mutex_lock(&lock);
        m->why = why;
        m->state = rc < 0 ? MODEL_BROKEN : MODEL_OPEN;
        pthread_cond_broadcast(&opened);
    }
    if (!m || m->state == MODEL_BROKEN) {
        err_set(e, "%s", m ? m->why.text : "no memory");
        if (m)
            registry_drop(m);
        m = NULL;
    }
    pthread_mutex_unlock(&lock);
    return m;
}

struct neural_model *neural_model_hold(struct neural_model *m)
{
    pthread_mutex_lock(&lock);
    m->holders++;
    pthread_mutex_unlock(&lock);
    return m;
}

void neural_model_release(struct neural_model *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&lock);
    registry_drop(m);
    pthread_mutex_unlock(&lock);
}

const struct encoder_shape *neural_model_shape(const struct neural_model *m)
{
    return &m->encoder->shape;
}

const struct tokenizer *neural_model_tokenizer(const struct neural_model *m)
{
    return m->tokenizer;
}

uint32_t neural_model_dim(const struct neural_model *m)
{
    return m->dim;
}

/* ---- heads ---- */

struct file_stamp { dev_t device; ino_t inode; off_t bytes; struct timespec changed; };

struct neural_head {
    _Atomic(struct head_version *) now;
    char *path;
    pthread_mutex_t lock;               /* one reload at a time; of the two below */
    struct file_stamp stamp;
    unsigned n_versions;
};

static bool stamp_of(const char *path, struct file_stamp *out)
{
    struct stat s;
    if (stat(path, &s) < 0)
        return false;
    memset(out, 0, sizeof *out);
    out->device = s.st_dev;
    out->inode = s.st_ino;
    out->bytes = s.st_size;
    out->changed = s.st_mtim;
    return true;
}

struct head_version *head_version_now(const struct neural_head *h)
{
    return atomic_load_explicit(&h->now, memory_order_acquire);
}

struct head_version *head_version_hold(struct head_version *v)
{
    __atomic_fetch_add(&v->holders, 1, __ATOMIC_RELAXED);
    return v;
}

void head_version_release(struct head_version *v)
{
    if (!v || __atomic_sub_fetch(&v->holders, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    head_close(v->head);
    arena_free(v->a);
    free(v);
}

static struct head_version *version_open(const char *path, struct err *e)
{
    struct head *head = head_open(path, e);
    if (!head)
        return NULL;
    struct head_version *v = calloc(1, sizeof *v);
    if (v)
        *v = (struct head_version){ .holders = 1, .head = head, .serial = serial_next(), .a = arena_new() };
    if (!v || !v->a) {
        free(v);
        head_close(head);
        err_set(e, "%s: no memory", path);
        return NULL;
    }
    if (head->kind == HEAD_TOKENS)
        span_scheme_make(&v->spans, head->labels, head->n_labels, v->a);
    return v;
}

struct neural_head *neural_head_open(const char *path, struct err *e)
{
    struct neural_head *h = calloc(1, sizeof *h);
    if (!h || !(h->path = strdup(path))) {
        free(h);
        err_set(e, "%s: no memory", path);
        return NULL;
    }
    pthread_mutex_init(&h->lock, NULL);
    stamp_of(path, &h->stamp);                  /* before it is read: a change in between is seen by the next reload */
    struct head_version *v = version_open(path, e);
    if (!v) {
        neural_head_release(h);
        return NULL;
    }
    h->n_versions = 1;
    atomic_store_explicit(&h->now, v, memory_order_release);
    return h;
}

/* Readers size their buffers and read labels by any version, so that these must not change. */
static int version_fits(const struct head *old, const struct head *new, const char *path, struct err *e)
{
    bool same = old->kind == new->kind && old->dim == new->dim && old->layer == new->layer && old->n_labels == new->n_labels;
    for (uint32_t i = 0; same && i < old->n_labels; i++)
        same = str_eq(old->labels[i], new->labels[i]);
    return same ? 0 : err_set(e, "%s: the new head has another kind, dimension or other labels; reload the configuration", path);
}

int neural_head_reload(struct neural_head *h, struct err *e)
{
    pthread_mutex_lock(&h->lock);
    struct head_version *old = head_version_now(h), *new = NULL;
    struct file_stamp stamp;
    int rc = -1;
    if (!stamp_of(h->path, &stamp)) {
        err_set(e, "%s: no such head file", h->path);
    } else if (memcmp(&stamp, &h->stamp, sizeof stamp) == 0) {
        rc = 0;
    } else if (h->n_versions == HEAD_VERSIONS_MAX) {
        err_set(e, "%s: replaced %d times already; reload the configuration", h->path, HEAD_VERSIONS_MAX - 1);
    } else if ((new = version_open(h->path, e)) != NULL && version_fits(old->head, new->head, h->path, e) == 0) {
        new->older = old;
        atomic_store_explicit(&h->now, new, memory_order_release);
        h->n_versions++;
        h->stamp = stamp;
        new = NULL;
        rc = 1;
    }
    head_version_release(new);
    pthread_mutex_unlock(&h->lock);
    return rc;
}

void neural_head_release(struct neural_head *h)
{
    if (!h)
        return;
    for (struct head_version *v = head_version_now(h), *older; v; v = older) {
        older = v->older;
        head_version_release(v);
    }
    pthread_mutex_destroy(&h->lock);
    free(h->path);
    free(h);
}

const struct head *neural_head_get(const struct neural_head *h)
{
    return head_version_now(h)->head;
}
