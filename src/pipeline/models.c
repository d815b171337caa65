/* pipeline/models.c */
#include "pipeline/models.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "neural/pair.h"
#include "observe/log.h"
#include "pipeline/remote.h"
#include "runtime/offload.h"

enum {
    FILE_BYTES_MAX = 16 << 20,          /* of a knowledge base */
    EMBED_AT_ONCE = 256,
};

static const uint64_t BUILD_PATIENCE_NS = 60000000000;  /* for the examples of a configuration */

/* ---- trunks ---- */

/* Encoders for which heads ship. The cosines of each are brought to the scale of the reference model, for which v0.3 files write their
 * thresholds. A middle layer keeps style and intent, which the last has traded for topic. docs/internals/heads.md has the measurements. */
struct trunk {
    const char *name;                   /* of its folder, below models/ */
    const char *heads;                  /* folder of its heads */
    const char *fetch;                  /* command that brings it */
    uint32_t middle_layer;
    const float *knots_from, *knots_to; uint32_t n_knots;
};

static const float minilm_from[] = { -1, -.10f, 0, .10f, .25f, .35f, .45f, .55f, .65f, .80f, .92f, 1 };
static const float minilm_to[]   = { 0, .22f, .30f, .38f, .50f, .62f, .71f, .77f, .82f, .90f, .96f, 1 };

static const float e5_from[] = { -1, .730f, .769f, .799f, .828f, .846f, .865f, .887f, .909f, .943f, .974f, 1 };
static const float e5_to[]   = { 0, .22f, .30f, .38f, .50f, .62f, .71f, .77f, .82f, .90f, .96f, 1 };

static const struct trunk trunks[] = {
    { "all-minilm-l6-v2", "heads", "tools/deps", 4, minilm_from, minilm_to, COUNT_OF(minilm_from) },        /* the default */
    { "multilingual-e5-small", "heads/multilingual-e5-small", "tools/deps multilingual", 8, e5_from, e5_to, COUNT_OF(e5_from) },
};

struct served {                         /* source is the first member: needs point at it */
    struct need_source source;
    const char *role;
    str path;                           /* folder of the model, file of the head, or id of the remote; the key with role */
    struct neural_model *model;         /* NULL: words alone, or remote */
    struct neural_head *head;           /* NULL: the model's own */
    bool is_middle;                     /* EMBEDDING: of the middle layer, as heads read it */
    const struct remote *remote;
    char told[sizeof ((struct err *)0)->text];  /* why its head was refused, once */
};

struct models {
    struct arena *a;
    const struct config *config;
    str home;                           /* folder of the configuration */
    struct findings *findings;
    struct served **items; uint32_t n;
    const struct trunk *trunk_kind;     /* whose heads answer; NULL: not chosen yet */
    str trunk_folder;                   /* empty: it is not there */
    struct neural_model *trunk;         /* opened on first use */
    bool has_looked_for_trunk;
    uint64_t timeout_ns;
    struct signal_models face;
    pthread_mutex_t lock;
    const char *tried_role; str tried_head;     /* models_use_head */
};

/* ---- where things are ---- */

static bool is_there(const char *path)
{
    return access(path, R_OK) == 0;
}

str models_resource(struct arena *a, str relative)
{
    static const char *const beside[] = { "../share/signalbox", "..", "deps" };
    const char *home = getenv("SIGNALBOX_HOME");
    char self[4096];
    str found = { 0 };
    if (home && *home) {
        found = arena_printf(a, "%s/" STR_FMT, home, STR_ARG(relative));
        return is_there(found.ptr) ? found : (str){ 0 };
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    while (n > 0 && self[n - 1] != '/')
        n--;
    for (size_t i = 0; n > 0 && i < COUNT_OF(beside); i++) {
        found = arena_printf(a, "%.*s%s/" STR_FMT, (int)n, self, beside[i], STR_ARG(relative));
        if (is_there(found.ptr))
            return found;
    }
    found = arena_printf(a, "/usr/share/signalbox/" STR_FMT, STR_ARG(relative));
    return is_there(found.ptr) ? found : (str){ 0 };
}

/* Relative paths of a configuration: beside the file, in the working directory, else what ships under that name. */
static str path_find(struct models *m, str path, bool may_ship)
{
    if (path.len == 0)
        return path;
    if (path.ptr[0] == '/')
        return is_there(arena_cstr(m->a, path)) ? arena_str(m->a, path) : (str){ 0 };
    str beside = arena_printf(m->a, STR_FMT STR_FMT, STR_ARG(m->home), STR_ARG(path));
    if (is_there(beside.ptr))
        return beside;
    str here = arena_str(m->a, path);
    if (is_there(here.ptr))
        return here;
    return may_ship ? models_resource(m->a, path) : (str){ 0 };
}

static bool read_file(void *arg, str path, str *text, struct err *why)
{
    struct models *m = arg;
    str found = path_find(m, path, true);
    if (!found.len) {
        err_set(why, "there is no file '" STR_FMT "' beside the configuration, in the working directory or among the files that "
                "ship with signalbox", STR_ARG(path));
        return false;
    }
    int fd = open(found.ptr, O_RDONLY | O_CLOEXEC);
    struct stat st;
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_BYTES_MAX;
    size_t have = 0;
    char *bytes = ok ? arena_try(m->a, (size_t)st.st_size + 1) : NULL;
    while (bytes && have < (size_t)st.st_size) {
        ssize_t n = read(fd, bytes + have, (size_t)st.st_size - have);
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    ok = bytes && have == (size_t)st.st_size;
    if (!ok)
        err_set(why, "cannot read '" STR_FMT "': %s", STR_ARG(found),
                fd < 0 ? strerror(errno) : "it is no regular file of at most 16 MiB");
    else
        *text = (str){ bytes, have };
    if (fd >= 0)
        close(fd);
    return ok;
}

/* ---- roles ---- */

struct signal_role {
    const char *name;
    const char *module;                 /* dotted, below global: what configures it */
    const char *system;                 /* key of model_catalog.system that its model_ref means by default */
    const char *head;                   /* the one that ships, in the trunk's folder of heads; NULL: none does */
    const char *what;                   /* it tells, for people */
};

static const struct signal_role roles[] = {
    { "domain", "model_catalog.modules.classifier.domain", "domain_classifier", "domain.safetensors", "domains" },
    { "fact_check", "model_catalog.modules.hallucination_mitigation.fact_check", "fact_check_classifier",
      "fact_check.safetensors", "need of facts" },
    { "user_feedback", "model_catalog.modules.feedback_detector", "feedback_detector", "user_feedback.safetensors", "feedback" },
    { "jailbreak", "model_catalog.modules.prompt_guard", "prompt_guard", "jailbreak.safetensors", "jailbreaks" },
    { "pii", "model_catalog.modules.classifier.pii", "pii_classifier", "pii.safetensors", "names" },
    { "modality", "model_catalog.modules.modality_detector", NULL, "modality.safetensors", "modality" },
    { "nli", "model_catalog.modules.hallucination_mitigation.explainer", "hallucination_explainer", NULL, "entailment" },
};

static const struct signal_role *role_of(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(roles); i++)
        if (strcmp(roles[i].name, name) == 0)
            return &roles[i];
    return NULL;
}

static str global_text(const struct models *m, const char *path)
{
    const struct value *v = value_path(m->config->global, path);
    return v && v->kind == VALUE_SCALAR ? v->text : (str){ 0 };
}

/* The folder a role's module names: model_id, else what model_ref stands for. */
static str role_folder(struct models *m, const struct signal_role *r)
{
    char key[160];
    if (!r->system) {
        snprintf(key, sizeof key, "%s.classifier.model_path", r->module);
        return global_text(m, key);
    }
    snprintf(key, sizeof key, "%s.model_id", r->module);
    str id = global_text(m, key);
    if (id.len)
        return id;
    snprintf(key, sizeof key, "%s.model_ref", r->module);
    str ref = global_text(m, key);
    snprintf(key, sizeof key, "model_catalog.system." STR_FMT, STR_ARG(ref.len ? ref : str_of(r->system)));
    return global_text(m, key);
}

/* mmbert -> embeddings.semantic.mmbert_model_path. */
static str embedding_folder(struct models *m, str type)
{
    if (type.len == 0)
        type = global_text(m, "model_catalog.embeddings.semantic.embedding_config.model_type");
    char key[160];
    snprintf(key, sizeof key, "model_catalog.embeddings.semantic." STR_FMT "_model_path", STR_ARG(type.len ? type : S("mmbert")));
    return global_text(m, key);
}

/* ---- opening ---- */

static void model_done(void *model)
{
    neural_model_release(model);
}

static void head_done(void *head)
{
    neural_head_release(head);
}

static struct neural_model *folder_open(struct models *m, str folder, const struct value *options, uint32_t middle_layer, struct err *e)
{
    struct neural_model_options o = { .precision = PRECISION_N, .middle_layer = middle_layer };
    const struct value *dim = value_get(options, S("target_dimension"));
    int64_t n;
    if (dim && str_int(dim->text, &n) && n > 0 && n < 1 << 16)
        o.dim = (uint32_t)n;
    struct neural_model *model = neural_model_open(folder.ptr, &o, e);
    if (model)
        arena_defer(m->a, model_done, model);
    return model;
}

static str name_of_folder(str folder)
{
    while (folder.len && folder.ptr[folder.len - 1] == '/')
        folder.len--;
    size_t from = folder.len;
    while (from > 0 && folder.ptr[from - 1] != '/')
        from--;
    return str_from(folder, from);
}

/* The embedding model that the configuration names, if heads ship for it: one encoder then reads a text for all signals. Else the
 * default. */
static const struct trunk *trunk_choose(struct models *m)
{
    str folder = path_find(m, embedding_folder(m, (str){ 0 }), true);
    for (size_t i = 0; i < COUNT_OF(trunks) && !m->trunk_kind && folder.len; i++)
        if (str_eq(name_of_folder(folder), str_of(trunks[i].name))) {
            m->trunk_kind = &trunks[i];
            m->trunk_folder = folder;
        }
    if (!m->trunk_kind) {
        m->trunk_kind = &trunks[0];
        m->trunk_folder = models_resource(m->a, arena_printf(m->a, "models/%s", m->trunk_kind->name));
    }
    return m->trunk_kind;
}

static const struct trunk *trunk_of(struct models *m)
{
    return m->trunk_kind ? m->trunk_kind : trunk_choose(m);
}

static struct neural_model *trunk_open(struct models *m)
{
    if (m->has_looked_for_trunk)
        return m->trunk;
    m->has_looked_for_trunk = true;
    const struct trunk *kind = trunk_of(m);
    struct err e = { 0 };
    if (m->trunk_folder.len)
        m->trunk = folder_open(m, m->trunk_folder, NULL, kind->middle_layer, &e);
    if (!m->trunk)
        finding_add(m->findings, "encoder-missing", SEVERITY_WARNING, (struct place){ 0 }, S("global.model_catalog"),
                    arena_printf(m->a, "`%s` fetches it; or set SIGNALBOX_HOME to the folder that holds models/%s", kind->fetch,
                                 kind->name),
                    "the bundled encoder %s: signals that need one stay unknown", e.text[0] ? e.text : "is not there");
    return m->trunk;
}

static bool service_start(struct models *m)
{
    struct neural_options o = {
        .threads = m->config->limits.encoder_threads,
        .queue_tokens = (size_t)m->config->limits.encoder_queue_tokens,
        .cache_bytes = (size_t)m->config->limits.encoder_cache_bytes,
    };
    struct err e = { 0 };
    if (neural_start(&o, &e) == 0)
        return true;
    finding_add(m->findings, "encoder-missing", SEVERITY_WARNING, (struct place){ 0 }, S("global.model_catalog"), (str){ 0 },
                "encoders cannot run here: %s", e.text);
    return false;
}

static void substituted(struct models *m, const char *what, str folder, str by)
{
    for (size_t i = 0; i < COUNT_OF(trunks); i++)       /* one that we know how to get: asked for by name, not by habit */
        if (str_eq(name_of_folder(folder), str_of(trunks[i].name))) {
            finding_add(m->findings, "encoder-missing", SEVERITY_WARNING, (struct place){ 0 }, S("global.model_catalog"),
                        arena_printf(m->a, "`%s` fetches it", trunks[i].fetch),
                        "%s: '" STR_FMT "' is not there, '" STR_FMT "' answers instead", what, STR_ARG(folder), STR_ARG(by));
            return;
        }
    if (folder.len)
        finding_add(m->findings, "model-substituted", SEVERITY_INFO, (struct place){ 0 }, S("global.model_catalog"),
                    S("put the model's folder there to use it"),
                    "%s: '" STR_FMT "' is not there, '" STR_FMT "' answers instead", what, STR_ARG(folder), STR_ARG(by));
}

static void labels_of(struct served *s)
{
    if (s->head) {
        const struct head *h = neural_head_get(s->head);
        s->source.labels = h->labels;
        s->source.n_labels = h->n_labels;
        s->source.window_share = h->window_share;
    } else if (s->model) {
        const struct encoder_shape *shape = neural_model_shape(s->model);
        s->source.labels = shape->labels;
        s->source.n_labels = shape->n_labels;
    }
}

enum { COST_PER_PARAMETER_TOKEN = 128 };

/* Rough nanoseconds for 128 tokens, from the shape: 2 operations a parameter at 500 GOP/s. */
static uint32_t cost_of(const struct neural_model *model)
{
    if (!model)
        return 20000;                           /* words alone */
    const struct encoder_shape *s = neural_model_shape(model);
    double parameters = s->layers * (4.0 * s->hidden * s->hidden + 2.0 * s->hidden * s->intermediate);
    double ns = 2 * parameters * COST_PER_PARAMETER_TOKEN / 500;
    return ns > 2e9 ? 2000000000u : (uint32_t)ns;
}

static void embedding_serve(struct models *m, struct served *s, const struct model_request *r)
{
    const struct value *semantic = value_path(m->config->global, "model_catalog.embeddings.semantic");
    const struct value *options = value_get(semantic, S("embedding_config"));
    const struct value *backend = value_get(options, S("backend"));
    struct err e = { 0 };
    if (backend && str_eq(backend->text, S("openai_compatible")) && r->model.len == 0) {
        s->remote = remote_embedding(m->a, value_get(semantic, S("endpoint")), m->findings);
        s->source.dim = s->remote ? remote_dim(s->remote) : 0;
        s->source.why_absent = s->remote ? NULL : "no-model";
        s->source.name = S("remote embedding");
        return;
    }
    str named = r->model.len && str_chr(r->model, '/') >= 0 ? r->model : embedding_folder(m, r->model);
    str folder = path_find(m, named, true);
    const struct trunk *kind = trunk_of(m);
    bool is_trunk = !folder.len || str_eq(folder, m->trunk_folder);
    s->model = is_trunk ? trunk_open(m) : folder_open(m, folder, options, 0, &e);
    if (!is_trunk && !s->model)
        finding_add(m->findings, "bad-model", SEVERITY_ERROR, (struct place){ 0 }, S("global.model_catalog.embeddings"), (str){ 0 },
                    "%s", e.text);
    if (!s->model) {
        s->source.why_absent = "no-model";
        return;
    }
    s->source.dim = neural_model_dim(s->model);
    if (is_trunk) {
        s->source.knot_from = kind->knots_from;
        s->source.knot_to = kind->knots_to;
        s->source.n_knots = kind->n_knots;
        s->source.name = str_of(kind->name);
        if (!folder.len && !str_eq(named, S("models/mmbert-embed-32k-2d-matryoshka")))      /* the default, which nobody wrote */
            substituted(m, "embedding model", named, s->source.name);
    } else {
        s->source.name = folder;
    }
}

static void label_serve(struct models *m, struct served *s, const struct model_request *r)
{
    const struct signal_role *role = role_of(r->role);
    struct err e = { 0 };
    s->remote = remote_classifier(m->a, r->role, r->model, r->options, m->config->global, m->findings);
    if (s->remote) {
        s->source.name = remote_name(s->remote);
        s->source.labels = remote_labels(s->remote, &s->source.n_labels);
        return;
    }
    bool is_tried = m->tried_role && strcmp(r->role, m->tried_role) == 0;
    str named = r->model.len ? r->model : role ? role_folder(m, role) : (str){ 0 };
    str folder = is_tried ? (str){ 0 } : path_find(m, named, false);
    if (folder.len) {
        s->model = folder_open(m, folder, NULL, 0, &e);
        if (s->model && neural_model_shape(s->model)->n_labels == 0)
            err_set(&e, "'" STR_FMT "' has no classification head", STR_ARG(folder));
        s->source.name = folder;
    } else if (role && role->head) {
        str shipped = arena_printf(m->a, "%s/%s", trunk_of(m)->heads, role->head);
        str head = is_tried ? m->tried_head : models_resource(m->a, shipped);
        if (head.len)
            s->head = neural_head_open(head.ptr, &e);
        if (s->head)
            arena_defer(m->a, head_done, s->head);
        if (s->head && neural_head_get(s->head)->dim > 0)
            s->model = trunk_open(m);
        s->source.name = head.len ? shipped : (str){ 0 };
        substituted(m, role->what, named, s->source.name);
    }
    if (e.text[0])
        finding_add(m->findings, "bad-model", SEVERITY_ERROR, (struct place){ 0 }, str_of(r->role), (str){ 0 }, "%s", e.text);
    if (e.text[0] || (!s->head && !s->model) || (s->head && neural_head_get(s->head)->dim > 0 && !s->model))
        s->source.why_absent = "no-model";
    labels_of(s);
}

/* The bundled trunk alone, whatever the configuration embeds with. */
static void trunk_serve(struct models *m, struct served *s)
{
    s->model = service_start(m) ? trunk_open(m) : NULL;
    s->source.why_absent = s->model ? NULL : "no-model";
    s->source.dim = s->model ? neural_model_shape(s->model)->hidden : 0;
    s->source.name = str_of(trunk_of(m)->name);
    s->is_middle = strcmp(s->role, "middle") == 0;
}

static const struct need_source *found_or_opened(struct models *m, const struct model_request *r)
{
    bool is_trunk = strcmp(r->role, "middle") == 0 || strcmp(r->role, "last") == 0;
    str key = !is_trunk && r->kind == NEED_EMBEDDING && str_chr(r->model, '/') < 0 ? arena_printf(m->a, "embedding " STR_FMT, STR_ARG(r->model))
            : arena_printf(m->a, "%s " STR_FMT, r->role, STR_ARG(r->model));
    for (uint32_t i = 0; i < m->n; i++)
        if (m->items[i]->source.kind == r->kind && str_eq(m->items[i]->path, key) && !m->items[i]->remote)
            return &m->items[i]->source;
    struct served *s = ARENA_NEW(m->a, struct served);
    s->source.kind = r->kind;
    s->role = r->role;
    s->path = key;
    if (is_trunk)
        trunk_serve(m, s);
    else if (!service_start(m))
        s->source.why_absent = "no-model";
    else if (r->kind == NEED_EMBEDDING)
        embedding_serve(m, s, r);
    else
        label_serve(m, s, r);
    s->source.trunk = s->model;
    s->source.cost_ns = s->remote ? 50000000 : cost_of(s->model);
    *PUSH(m->a, m->items, m->n) = s;
    return &s->source;
}

/* The snapshot's arena and list are changed here alone, also when a later question of the management API comes first. */
static const struct need_source *find(void *arg, const struct model_request *r)
{
    struct models *m = arg;
    pthread_mutex_lock(&m->lock);
    const struct need_source *s = found_or_opened(m, r);
    pthread_mutex_unlock(&m->lock);
    return s;
}

struct models *models_new(struct arena *a, const struct config *c, const char *file, struct findings *out)
{
    struct models *m = ARENA_NEW(a, struct models);
    m->a = a;
    m->config = c;
    m->findings = out;
    m->timeout_ns = c->limits.signals_ns;
    pthread_mutex_init(&m->lock, NULL);
    str path = str_of(file);
    size_t n = path.len;
    while (n > 0 && path.ptr[n - 1] != '/')
        n--;
    m->home = arena_str(a, str_upto(path, n));
    return m;
}

/* ---- gathering ---- */

static enum neural_task task_of(const struct served *s)
{
    enum need_kind kind = s->source.kind;
    return s->is_middle ? NEURAL_MIDDLE : kind == NEED_EMBEDDING ? NEURAL_EMBED : kind == NEED_LABELS ? NEURAL_LABELS : NEURAL_SPANS;
}

static const char *why_of(int status)
{
    return status == -ETIMEDOUT ? "timeout" : status == -EAGAIN ? "queue-full" : status == -ECANCELED ? "cancelled" : "failed";
}

static void answer_take(struct need *n, const struct neural_ask *ask, struct arena *a)
{
    n->is_answered = ask->status == 0;
    if (!n->is_answered) {
        n->why = why_of(ask->status);
        return;
    }
    n->n_windows = ask->n_windows;
    n->n_tokens = ask->n_tokens;
    n->values = ask->values;
    struct need_span *spans = ARENA_ARRAY(a, struct need_span, ask->n_spans);
    for (uint32_t i = 0; i < ask->n_spans; i++)
        spans[i] = (struct need_span){ ask->spans[i].from, ask->spans[i].to, ask->spans[i].label, ask->spans[i].score };
    n->spans = spans;
    n->n_spans = ask->n_spans;
}

static WAITS void gather_until(struct needs *needs, uint64_t deadline, struct arena *a)
{
    uint32_t first = needs->n_gathered, n = needs->n - first, n_local = 0, n_remote = 0;
    struct neural_ask *asks = ARENA_ARRAY(a, struct neural_ask, n);
    struct need **local = ARENA_ARRAY(a, struct need *, n);
    struct remote_ask *remotes = ARENA_ARRAY(a, struct remote_ask, n);
    for (uint32_t i = first; i < needs->n; i++) {
        struct need *need = &needs->items[i];
        const struct served *s = (const struct served *)need->source;
        if (s->source.why_absent)
            continue;
        if (s->remote) {
            remotes[n_remote++] = (struct remote_ask){ s->remote, need };
            continue;
        }
        local[n_local] = need;
        asks[n_local++] = (struct neural_ask){ .task = task_of(s), .model = s->model, .head = s->head, .text = need->text };
    }
    struct remote_flight *flight = n_remote ? remote_begin(remotes, n_remote, deadline, a) : NULL;
    if (n_local)
        neural_run(asks, n_local, deadline, a);
    for (uint32_t i = 0; i < n_local; i++)
        answer_take(local[i], &asks[i], a);
    if (flight)
        remote_finish(flight);
}

void models_gather(void *gatherer, struct needs *needs)
{
    const struct gatherer *g = gatherer;
    uint64_t deadline = clock_now() + g->models->timeout_ns;
    gather_until(needs, deadline < g->deadline ? deadline : g->deadline, g->a);
}

WAITS const char *models_embed(const struct need_source *source, const str *texts, size_t n, uint32_t dim,
                               uint64_t deadline, float *out, uint64_t *tokens)
{
    const char *why = source->why_absent;
    if (dim == 0 || dim > source->dim)
        dim = source->dim;
    for (size_t at = 0; at < n && !why; at += EMBED_AT_ONCE) {
        struct arena *a = arena_new();
        if (!a)
            return "no-memory";
        struct needs list = { .a = a };
        size_t here = n - at < EMBED_AT_ONCE ? n - at : EMBED_AT_ONCE;
        for (size_t i = 0; i < here; i++)
            *PUSH(a, list.items, list.n) = (struct need){ .source = source, .text = texts[at + i] };
        gather_until(&list, deadline, a);
        for (size_t i = 0; i < here && !why; i++) {
            const struct need *need = &list.items[i];
            float *to = out + (at + i) * dim;
            if (!need->is_answered || need->n_windows == 0) {
                why = need->why ? need->why : "failed";
                break;
            }
            if (tokens)
                *tokens += need->n_tokens;
            memset(to, 0, dim * sizeof *to);
            for (uint32_t w = 0; w < need->n_windows; w++)
                for (uint32_t d = 0; d < dim; d++)
                    to[d] += need->values[w * source->dim + d];
            if (need->n_windows > 1 || dim < source->dim)
                vector_normalise(to, dim);
        }
        arena_free(a);
    }
    return why;
}

static bool embed(void *arg, const struct need_source *source, const str *texts, size_t n, float *out)
{
    (void)arg;
    return !models_embed(source, texts, n, 0, clock_now() + BUILD_PATIENCE_NS, out, NULL);
}

struct search { struct models *m; struct model_request r; const struct need_source *found; };

static void search_run(void *arg)
{
    struct search *s = arg;
    s->found = find(s->m, &s->r);
}

static void search_kept(void *arg)
{
    (void)arg;
}

WAITS const struct need_source *models_source(struct models *m, enum need_kind kind, const char *role, str model)
{
    static const struct need_source busy = { .why_absent = "queue-full" };
    struct search s = { m, { kind, role, model, NULL }, NULL };
    const struct signal_role *known = role_of(role);
    s.r.options = known ? value_path(m->config->global, known->module) : NULL;
    fiber_shield(true);                         /* s lies on this stack: nothing may end the wait early */
    int rc = offload(search_run, &s, search_kept, NEVER);
    fiber_shield(false);
    return rc < 0 ? &busy : s.found;
}

WAITS const struct need_source *models_trunk(struct models *m, bool is_middle, uint32_t *layer)
{
    const struct need_source *s = models_source(m, NEED_EMBEDDING, is_middle ? "middle" : "last", (str){ 0 });
    *layer = is_middle && m->trunk_kind ? m->trunk_kind->middle_layer : 0;
    return s;
}

/* ---- pairs ---- */

/* What classifiers call their labels; one without a "neutral" says only whether it follows. */
static const struct { const char *name; enum nli_label label; } nli_names[] = {
    { "entailment", NLI_ENTAILMENT },       { "entail", NLI_ENTAILMENT },         { "entailed", NLI_ENTAILMENT },
    { "neutral", NLI_NEUTRAL },             { "not_entailment", NLI_NEUTRAL },    { "unknown", NLI_NEUTRAL },
    { "contradiction", NLI_CONTRADICTION }, { "contradict", NLI_CONTRADICTION },  { "contradictory", NLI_CONTRADICTION },
};

static int nli_label_of(str name)
{
    for (size_t i = 0; i < COUNT_OF(nli_names); i++)
        if (str_ieq(name, str_of(nli_names[i].name)))
            return (int)nli_names[i].label;
    return -1;
}

struct pair { struct models *m; str premise, hypothesis; struct nli *out; struct arena *a; };

static void pair_run(void *arg)
{
    struct pair *p = arg;
    const struct need_source *source = find(p->m, &(struct model_request){ NEED_LABELS, "nli", { 0 }, NULL });
    const struct served *s = (const struct served *)source;
    struct nli *out = p->out;
    out->model = source->name;
    out->why = source->why_absent;
    if (out->why)
        return;
    bool has[NLI_N] = { false };
    for (uint32_t i = 0; i < source->n_labels; i++)
        if (nli_label_of(source->labels[i]) >= 0)
            has[nli_label_of(source->labels[i])] = true;
    float *scores = arena_try(p->a, source->n_labels * sizeof *scores);
    if (!has[NLI_ENTAILMENT] || !(has[NLI_NEUTRAL] || has[NLI_CONTRADICTION]))
        out->why = "bad-labels";
    else if (!scores || neural_pair(s->model, p->premise, p->hypothesis, scores, &out->is_cut) < 0)
        out->why = "failed";
    for (uint32_t i = 0; i < source->n_labels && !out->why; i++) {
        int label = nli_label_of(source->labels[i]);
        if (label >= 0)
            out->score[label] += scores[i];
        if (!isfinite(scores[i]))
            out->why = "bad-answer";
    }
}

WAITS void models_nli(struct models *m, str premise, str hypothesis, struct arena *a, struct nli *out)
{
    *out = (struct nli){ 0 };
    struct pair p = { m, premise, hypothesis, out, a };
    fiber_shield(true);                         /* p lies on this stack: nothing may end the wait early */
    if (offload(pair_run, &p, search_kept, NEVER) < 0)
        out->why = "queue-full";
    fiber_shield(false);
    for (unsigned i = 0; i < NLI_N; i++)
        if (out->score[i] > out->score[out->label])
            out->label = (enum nli_label)i;
}

void models_use_head(struct models *m, const char *role, str path)
{
    m->tried_role = role;
    m->tried_head = arena_str(m->a, path);
}

void models_be_patient(struct models *m)
{
    m->timeout_ns = NEVER / 2;
}

const struct findings *models_findings(const struct models *m)
{
    return m->findings;
}

const struct signal_models *models_for_signals(struct models *m)
{
    m->face = (struct signal_models){ m, find, embed, read_file };
    return &m->face;
}

unsigned models_reload_heads(struct models *m)
{
    unsigned n = 0;
    pthread_mutex_lock(&m->lock);
    for (uint32_t i = 0; i < m->n; i++) {
        struct served *s = m->items[i];
        struct err e = { 0 };
        int rc = s->head ? neural_head_reload(s->head, &e) : 0;
        if (rc > 0) {
            log_info("head_reloaded", STR_FMT ": read again", STR_ARG(s->source.name));
            n++;
        } else if (rc < 0 && strcmp(e.text, s->told) != 0) {
            log_warn("head_refused", "%s: the head in use stays", e.text);
            snprintf(s->told, sizeof s->told, "%s", e.text);
        }
    }
    pthread_mutex_unlock(&m->lock);
    return n;
}
