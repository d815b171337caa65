/* pipeline/snap.c -- from a decoded configuration to what a request runs on. */
#include "pipeline/snap.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "net/url.h"
#include "observe/latency.h"
#include "observe/metrics.h"
#include "observe/window.h"
#include "signal/compress.h"
#include "signal/scanner.h"
#include "signal/signal.h"
#include "pipeline/ask.h"
#include "pipeline/attempt.h"
#include "pipeline/count.h"
#include "pipeline/judge.h"
#include "pipeline/learning_request.h"
#include "pipeline/key.h"
#include "pipeline/limit.h"

enum { SCHEDULE_MAX = 256 };

/* ---- live state: process life, found by name ---- */

static pthread_mutex_t states_lock = PTHREAD_MUTEX_INITIALIZER;
static struct arena *states_arena;
static struct map backend_states, model_states;     /* states_lock */

static void *state_get(struct map *m, str id, size_t size, bool *is_new)
{
    if (!states_arena)
        states_arena = arena_new();
    m->a = states_arena;
    void *s = map_get(m, id);
    *is_new = !s;
    if (!s) {
        s = arena_alloc(states_arena, size);
        map_put(m, arena_str(states_arena, id), s);
    }
    return s;
}

struct backend_state *backend_state_get(str model, str backend)
{
    bool is_new;
    char text[1024];
    int n = snprintf(text, sizeof text, STR_FMT "/" STR_FMT, STR_ARG(model), STR_ARG(backend));
    str id = { text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1 };
    pthread_mutex_lock(&states_lock);
    struct backend_state *s = state_get(&backend_states, id, sizeof *s, &is_new);
    if (is_new) {
        s->id = arena_str(states_arena, id);
        str labels[2] = { model, backend };
        s->cell_up = metric_cell(METRIC_BACKEND_UP, labels);
        s->cell_ejections = metric_cell(METRIC_BACKEND_EJECTIONS, labels);
        metric_set(s->cell_up, 1);
    }
    pthread_mutex_unlock(&states_lock);
    return s;
}

struct model_state *model_state_get(str name)
{
    bool is_new;
    pthread_mutex_lock(&states_lock);
    struct model_state *s = state_get(&model_states, name, sizeof *s, &is_new);
    if (is_new) {
        s->name = arena_str(states_arena, name);
        s->latency = latency_new();
        s->window = window_of(s->name);
    }
    pthread_mutex_unlock(&states_lock);
    return s;
}

/* ---- models and backends ---- */

static double view_ttft(const struct latency_view *v, double percentile)
{
    return latency_ttft((struct latency *)(uintptr_t)v->state, percentile);
}

static double view_tpot(const struct latency_view *v, double percentile)
{
    return latency_tpot((struct latency *)(uintptr_t)v->state, percentile);
}

static void release_tls(void *ctx)
{
    tls_context_free(ctx);
}

static bool backend_tls(struct snap *s, const struct backend_conf *c, struct backend *b, struct findings *out)
{
    struct tls_paths files = { c->tls.certificate, c->tls.key, c->tls.ca, false, c->tls_insecure };
    struct err e = { 0 };
    b->origin.tls = tls_client_context(&files, &e);
    if (!b->origin.tls) {
        finding_add(out, "tls", SEVERITY_ERROR, c->at, c->name, S("check the files that `tls` names"), "%s", e.text);
        return false;
    }
    arena_defer(s->a, release_tls, b->origin.tls);
    return true;
}

static str upstream_name(const struct model_conf *m, const struct backend_conf *c)
{
    str kind = c->type.len && !str_eq(c->type, S("chat")) ? c->type : c->provider.len ? c->provider : S("vllm");
    for (size_t i = 0; i < m->external_model_ids.n; i++)
        if (str_ieq(m->external_model_ids.items[i][0], kind))
            return m->external_model_ids.items[i][1];
    return m->provider_model_id.len ? m->provider_model_id : m->name;
}

static void backend_headers(struct snap *s, const struct backend_conf *c, struct backend *b)
{
    if (c->api_key.len) {
        bool own = c->auth_header.len > 0;
        str name = own ? c->auth_header : b->provider->auth_header;
        str prefix = b->provider->auth_prefix;
        if (c->auth_prefix.len)
            prefix = arena_printf(s->a, STR_FMT " ", STR_ARG(str_trim(c->auth_prefix)));
        else if (own && !str_ieq(name, S("authorization")))
            prefix = S("");
        b->auth_line = arena_printf(s->a, STR_FMT ": " STR_FMT STR_FMT "\r\n", STR_ARG(name), STR_ARG(prefix),
                                    STR_ARG(c->api_key));
    }
    struct buf lines = { 0 };
    for (size_t i = 0; i < c->extra_headers.n; i++)
        buf_printf(&lines, STR_FMT ": " STR_FMT "\r\n", STR_ARG(c->extra_headers.items[i][0]),
                   STR_ARG(c->extra_headers.items[i][1]));
    b->extra_lines = arena_str(s->a, buf_view(&lines));
    buf_free(&lines);
}

/* Signatures and fetched tokens; a plain key goes as a header line. */
static bool backend_credential(const struct backend_conf *c, struct backend *b, struct findings *out)
{
    const struct provider_ops *p = b->provider;
    if (p->auth == AUTH_ENTRA && c->client_id.len == 0)
        return true;
    struct err e = { 0 };
    struct credential_conf conf = {
        .auth = p->auth, .auth_header = p->auth_header, .auth_prefix = p->auth_prefix,
        .region = c->region.len ? c->region : c->location, .access_key_id = c->access_key_id,
        .secret_access_key = c->secret_access_key, .session_token = c->session_token, .service_account = c->service_account,
        .token_url = c->token_url, .scope = c->token_scope, .tenant_id = c->tenant_id, .client_id = c->client_id,
        .client_secret = c->client_secret,
    };
    b->credential = credential_get(&conf, &e);
    if (!b->credential)
        finding_add(out, "credential", SEVERITY_ERROR, c->at, c->name, S("see docs/providers.md"), "%s", e.text);
    return b->credential != NULL;
}

static bool backend_build(struct snap *s, struct model *m, const struct backend_conf *c, unsigned index,
                          struct backend *b, struct findings *out)
{
    struct url u = { 0 };
    str kind = c->type.len && !str_eq(c->type, S("chat")) ? c->type : c->provider;
    *b = (struct backend){ .model = m, .conf = c, .provider = provider_choose(kind, m->conf->api_format) };
    if (!b->provider && provider_by_name(kind)) {
        finding_add(out, "bad-value", SEVERITY_ERROR, c->at, c->name, S("leave api_format out, or name a provider that speaks it"),
                    "provider '" STR_FMT "' does not speak api_format '" STR_FMT "'", STR_ARG(kind), STR_ARG(m->conf->api_format));
        return false;
    }
    if (!b->provider) {
        finding_add(out, "unknown-provider", SEVERITY_WARNING, c->at, c->name,
                    S("it is spoken to as an OpenAI-compatible server"), "unknown provider '" STR_FMT "'", STR_ARG(kind));
        b->provider = &provider_vllm;
    }
    bool ok = true;
    if (b->provider == &provider_encoder) {
        u.at = (struct endpoint){ S("here"), 0 };
    } else if (c->base_url.len) {
        ok = url_parse(c->base_url, &u);
        if (!ok)
            finding_add(out, "bad-value", SEVERITY_ERROR, c->at, c->name, S("write http://host[:port][/path] or https://..."),
                        "base_url '" STR_FMT "' is not a URL", STR_ARG(c->base_url));
    } else if (c->endpoint.len == 0 && b->provider->default_host.len) {
        u.is_https = true;
        u.path = b->provider->default_base;
        u.at = (struct endpoint){ provider_default_host(b->provider, c->location.len ? c->location : c->region, s->a), 443 };
        ok = u.at.host.len > 0;
        if (!ok)
            finding_add(out, "missing-key", SEVERITY_ERROR, c->at, c->name, S("name its region or location, or a base_url"),
                        "the host of provider '" STR_FMT "' depends on where it runs", STR_ARG(b->provider->name));
    } else {
        u.is_https = str_ieq(c->protocol, S("https"));
        ok = endpoint_parse(c->endpoint, u.is_https ? 443 : 80, &u.at);
        if (!ok)
            finding_add(out, "bad-value", SEVERITY_ERROR, c->at, c->name, S("write host:port"),
                        "endpoint '" STR_FMT "' is not host:port", STR_ARG(c->endpoint));
    }
    if (!ok)
        return false;
    b->name = c->name.len ? c->name : index == 0 && m->conf->n_backends == 1 ? S("primary")
            : arena_printf(s->a, "backend-%u", index + 1);
    b->base_path = u.path.len == 0 && b->provider->keeps_version_path ? S("/v1") : u.path;
    b->host_header = u.at.port == (u.is_https ? 443 : 80)
        ? arena_printf(s->a, str_chr(u.at.host, ':') >= 0 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(u.at.host))
        : arena_printf(s->a, str_chr(u.at.host, ':') >= 0 ? "[" STR_FMT "]:%u" : STR_FMT ":%u", STR_ARG(u.at.host), u.at.port);
    b->upstream_model = upstream_name(m->conf, c);
    b->dialect = b->provider->dialect ? dialect_by_name(str_of(b->provider->dialect)) : &dialect_openai_chat;
    b->place = (struct provider_place){ b->base_path, b->upstream_model, c->api_version, c->chat_path, c->project,
                                        c->location.len ? c->location : c->region };
    b->target = b->provider->quirks;
    b->target.drops_unsupported = str_eq(s->config->unsupported, S("drop"));
    if (u.is_https && !backend_tls(s, c, b, out))
        return false;
    str identity = u.is_https ? arena_printf(s->a, "tls|" STR_FMT "|" STR_FMT "|" STR_FMT "|%d", STR_ARG(c->tls.ca),
                                             STR_ARG(c->tls.certificate), STR_ARG(c->tls.key), c->tls_insecure)
                              : S("");
    b->origin.host = u.at.host;
    b->origin.port = u.at.port;
    b->origin.http2 = str_eq(c->http2, S("always")) ? HTTP2_KNOWN : str_eq(c->http2, S("never")) || !u.is_https ? HTTP2_NEVER
                    : HTTP2_OFFERED;
    b->origin.key = origin_key(u.at.host, u.at.port, arena_printf(s->a, STR_FMT "|h%d", STR_ARG(identity), b->origin.http2));
    b->state = backend_state_get(m->name, arena_printf(s->a, STR_FMT "@" STR_FMT ":%u", STR_ARG(b->name),
                                                       STR_ARG(u.at.host), u.at.port));
    backend_headers(s, c, b);
    return b->provider->auth == AUTH_HEADER || c->api_key.len || backend_credential(c, b, out);
}

/* Smooth weighted round robin, written out once: spreads {5,1,1} as a a b a c a a. */
static void schedule_build(struct snap *s, struct model *m)
{
    int64_t total = 0, current[BACKENDS_MAX] = { 0 };
    for (unsigned i = 0; i < m->n_backends; i++)
        total += m->backends[i].conf->weight > 0 ? m->backends[i].conf->weight : 0;
    if (total <= 0)
        total = m->n_backends;
    unsigned n = total < SCHEDULE_MAX ? (unsigned)total : SCHEDULE_MAX;
    m->schedule = arena_alloc(s->a, n + 1);
    m->n_schedule = n;
    for (unsigned k = 0; k < n; k++) {
        unsigned best = 0;
        for (unsigned i = 0; i < m->n_backends; i++) {
            int64_t weight = m->backends[i].conf->weight;
            current[i] += weight;
            if (current[i] > current[best])
                best = i;
        }
        current[best] -= total;
        m->schedule[k] = (uint8_t)best;
    }
}

static const struct card_conf *card_of(const struct config *c, str name)
{
    for (size_t i = 0; i < c->n_cards; i++)
        if (str_eq(c->cards[i].name, name))
            return &c->cards[i];
    return NULL;
}

static void model_cells(struct model *m)
{
    str label[2] = { m->name, m->conf->pricing.currency.len ? m->conf->pricing.currency : S("USD") };
    m->cells = (struct model_cells){
        .requests = metric_cell(METRIC_MODEL_REQUESTS, label),
        .tokens = metric_cell(METRIC_MODEL_TOKENS, label),
        .prompt_tokens = metric_cell(METRIC_MODEL_PROMPT_TOKENS, label),
        .completion_tokens = metric_cell(METRIC_MODEL_COMPLETION_TOKENS, label),
        .cost = metric_cell(METRIC_MODEL_COST, label),
        .completion_seconds = metric_cell(METRIC_MODEL_COMPLETION_LATENCY, label),
        .ttft = metric_cell(METRIC_MODEL_TTFT, label),
        .tpot = metric_cell(METRIC_MODEL_TPOT, label),
        .in_flight = metric_cell(METRIC_MODEL_INFLIGHT, label),
        .routing_seconds = metric_cell(METRIC_MODEL_ROUTING_LATENCY, NULL),
    };
}

static struct model *model_build(struct snap *s, const struct model_conf *c, struct findings *out)
{
    const struct reliability_conf *r = &c->reliability;
    struct model *m = ARENA_NEW(s->a, struct model);
    *m = (struct model){ .name = c->name, .conf = c, .card = card_of(s->config, c->name), .quality = (double)NAN };
    if (m->card && m->card->quality_score > 0)
        m->quality = m->card->quality_score;
    for (size_t i = 0; i < s->config->n_families; i++)
        if (str_eq(s->config->families[i].name, c->reasoning_family))
            m->family = &s->config->families[i];
    m->state = model_state_get(c->name);
    m->latency = (struct latency_view){ view_ttft, view_tpot, m->state->latency };
    m->connect_ns = r->connect_timeout_ns;
    m->first_byte_ns = r->first_byte_timeout_ns;
    m->idle_ns = r->idle_timeout_ns;
    m->total_ns = r->total_timeout_ns;
    attempt_retry_conf(r, &m->retry_count, &m->retry_on);
    unsigned n = c->n_backends < BACKENDS_MAX ? (unsigned)c->n_backends : BACKENDS_MAX;
    if (c->n_backends > BACKENDS_MAX)
        finding_add(out, "out-of-range", SEVERITY_WARNING, c->at, c->name, S(""), "only the first %u backends are used", n);
    m->backends = ARENA_ARRAY(s->a, struct backend, n);
    for (unsigned i = 0; i < n; i++)
        if (backend_build(s, m, &c->backends[i], i, &m->backends[m->n_backends], out))
            m->n_backends++;
    if (m->n_backends)
        schedule_build(s, m);
    model_cells(m);
    return m;
}

static void models_build(struct snap *s, struct findings *out)
{
    const struct config *c = s->config;
    s->models.a = s->virtuals.a = s->a;
    for (size_t i = 0; i < c->n_models; i++) {
        struct model *m = model_build(s, &c->models[i], out);
        map_put(&s->models, m->name, m);
        for (size_t k = 0; m->card && k < m->card->n_loras; k++)
            map_put(&s->models, m->card->loras[k].name, m);
    }
    for (size_t i = 0; i < s->models.n; i++) {
        struct model *m = s->models.entries[i].value;
        if (m->n_backends && m->backends[0].provider == &provider_encoder)
            m->encoder = models_source(s->signal_models, NEED_EMBEDDING, "embedding", m->conf->provider_model_id);
    }
    s->default_model = map_get(&s->models, c->default_model);
    if (!s->default_model && c->default_model.len == 0 && c->n_models == 1)
        s->default_model = s->models.entries[0].value;
}

/* ---- recipes ---- */

/* The file of a trained selector: named by its own block, or by global keys of VSR's. "" : none is named. */
static str trained_path(const struct snap *s, const struct decision_conf *d, const struct select_ops *ops)
{
    static const char global_mark[] = "global.";
    str path = S("");
    if (strncmp(ops->file_key, global_mark, sizeof global_mark - 1) == 0) {
        const struct value *v = s->config->global ? value_path(s->config->global, ops->file_key + sizeof global_mark - 1) : NULL;
        if (v && v->kind == VALUE_SCALAR)
            path = v->text;
    } else if (d->algorithm.conf) {
        const char *key = strrchr(ops->file_key, '.') + 1;
        const str *given = field_get(&ops->fields, d->algorithm.conf, key, FIELD_STR);
        path = given ? *given : path;
    }
    return config_relative(s->config, s->a, path);
}

enum { TRAINED_MAX = 512 << 20 };

static const void *trained_read(struct snap *s, const struct decision_conf *d, const struct select_ops *ops, struct findings *out)
{
    str path = trained_path(s, d, ops);
    struct err e = { 0 };
    struct buf all = { 0 };
    const void *trained = NULL;
    if (path.len == 0)
        err_set(&e, "%s names no file", ops->file_key);
    else if (file_read(arena_cstr(s->a, path), TRAINED_MAX, &all, &e) == 0)
        trained = ops->load(s->a, buf_view(&all), &e);
    buf_free(&all);
    if (!trained)
        finding_add(out, "unreadable-table", SEVERITY_WARNING, d->algorithm.at, d->name,
                    S("signalbox train selector writes such tables; until then the first candidate is taken"),
                    "decision '" STR_FMT "': the table of algorithm '%s': %s", STR_ARG(d->name), ops->name, e.text);
    return trained;
}

/* A selector that asks a model which is not there would fall back for ever. A warning: VSR finds out at the first request. */
static void helper_check(const struct snap *s, const struct decision_conf *d, const struct select_ops *ops, struct findings *out)
{
    const str *name = d->algorithm.conf ? field_get(&ops->fields, d->algorithm.conf, "model", FIELD_STR) : NULL;
    if (ops->ask && name && name->len && !ask_finds(s, *name))
        finding_add(out, "undefined-reference", SEVERITY_WARNING, d->algorithm.at, d->name,
                    S("name a model of providers.models that answers chats; until then the first candidate is taken"),
                    "decision '" STR_FMT "': algorithm '%s' asks the model '" STR_FMT "', which cannot be asked", STR_ARG(d->name),
                    ops->name, STR_ARG(*name));
}

static void plan_build(struct snap *s, const struct recipe *r, const struct decision_conf *d, struct plan *p, struct findings *out)
{
    *p = (struct plan){ .conf = d };
    p->selector = select_by_name(d->algorithm.type.len ? d->algorithm.type : S("static"));
    if (!p->selector)
        p->selector = select_by_name(S("static"));
    if (p->selector->load)
        p->trained = trained_read(s, d, p->selector, out);
    helper_check(s, d, p->selector, out);
    p->candidates = ARENA_ARRAY(s->a, const struct model *, d->n_refs);
    for (size_t i = 0; i < d->n_refs; i++)
        p->candidates[i] = map_get(&s->models, d->refs[i].model);
    p->chain = ARENA_ARRAY(s->a, struct plugin_step, d->n_plugins);
    for (size_t k = 0; plugin_all[k]; k++)          /* the order of list.h, not of the file */
        for (size_t i = 0; i < d->n_plugins; i++)
            if (plugin_by_type(d->plugins[i].type) == plugin_all[k] && plugin_all[k]->is_built)
                p->chain[p->n_chain++] = (struct plugin_step){ plugin_all[k], d->plugins[i].conf };
    str label = str_eq(r->profile->name, S("default")) ? d->name
              : arena_printf(s->a, STR_FMT "::" STR_FMT, STR_ARG(r->profile->name), STR_ARG(d->name));
    p->cell_match = metric_cell(METRIC_DECISION_MATCH, &label);
    p->cell_confidence = metric_cell(METRIC_DECISION_CONFIDENCE, &label);
}

static bool recipes_build(struct snap *s, struct findings *out)
{
    const struct config *c = s->config;
    s->n_recipes = (unsigned)c->n_profiles;
    s->recipes = ARENA_ARRAY(s->a, struct recipe, s->n_recipes);
    for (unsigned i = 0; i < s->n_recipes; i++) {
        struct recipe *r = &s->recipes[i];
        struct signal_make_arg arg = { scanner_new(s->a), c->global, models_for_signals(s->signal_models) };
        r->profile = &c->profiles[i];
        r->policy = policy_build(s->a, r->profile, signal_make_all, &arg, out);
        if (!r->policy)
            return false;
        count_cells(s->a, r);
        for (size_t k = 0; k < r->profile->n_signals; k++)
            r->needs_identity |= strcmp(r->profile->signals[k].ops->type, "authz") == 0;
        r->plans = ARENA_ARRAY(s->a, struct plan, r->profile->n_decisions);
        for (size_t k = 0; k < r->profile->n_decisions; k++)
            plan_build(s, r, &r->profile->decisions[k], &r->plans[k], out);
    }
    for (size_t i = 0; i < c->auto_names.n; i++)
        map_put(&s->virtuals, c->auto_names.items[i], &s->recipes[0]);
    for (size_t i = 0; i < c->n_entrypoints; i++)
        for (unsigned k = 0; k < s->n_recipes; k++)
            if (str_eq(s->recipes[k].profile->name, c->entrypoints[i].recipe))
                for (size_t n = 0; n < c->entrypoints[i].model_names.n; n++)
                    map_put(&s->virtuals, c->entrypoints[i].model_names.items[n], &s->recipes[k]);
    return true;
}

struct snap *snap_build(str text, const char *file, bool strict, struct findings *out)
{
    static atomic_ullong ids;
    struct arena *a = arena_new();
    if (!a)
        return NULL;
    struct snap *s = ARENA_NEW(a, struct snap);
    s->a = a;
    s->id = atomic_fetch_add(&ids, 1) + 1;
    s->built_wall_ns = clock_wall();
    str kept = arena_str(a, text);
    s->config = config_load(a, kept, arena_cstr(a, str_of(file)), NULL, strict, out);
    if (s->config) {
        s->signal_models = models_new(a, s->config, arena_cstr(a, str_of(file)), out);
        s->compression = compression_make(a, s->config->global, out);
        models_build(s, out);
        s->keyring = keyring_build(a, s->config, out);
        s->limits = limit_build(a, s->config, out);
        s->learning = learning_conf_build(a, s->config, out);
        judge_check(s, out);
    }
    if (!s->config || out->n_by_severity[SEVERITY_ERROR] > 0 || !recipes_build(s, out)
        || out->n_by_severity[SEVERITY_ERROR] > 0) {
        arena_free(a);
        return NULL;
    }
    return s;
}

void snap_free(struct snap *s)
{
    if (s)
        arena_free(s->a);
}

/* ---- publication ---- */

static pthread_mutex_t present_lock = PTHREAD_MUTEX_INITIALIZER;
static struct snap *present;                    /* present_lock */
static struct loop *loops[LOOPS_MAX];           /* set before threads start */
static unsigned n_loops;

void snap_register_loop(struct loop *l)
{
    loops[n_loops++] = l;
}

static void holder_gone(struct snap *s)
{
    if (atomic_fetch_sub(&s->holders, 1) == 1)
        snap_free(s);
}

static void swap_in(void *arg)                  /* on each loop */
{
    struct snap *s = arg;
    struct loop *l = loop_self();
    struct snap *old = loop_slot(l, LOOP_SLOT_SNAP);
    loop_slot_set(l, LOOP_SLOT_SNAP, s);
    if (old && old->in_use[loop_index(l)] == 0)
        holder_gone(old);
}

void snap_publish(struct snap *s)
{
    pthread_mutex_lock(&present_lock);
    struct snap *old = present;
    atomic_store(&s->holders, (int)n_loops + 1);        /* each loop, and `present` */
    present = s;
    for (unsigned i = 0; i < n_loops; i++)
        while (!loop_post(loops[i], swap_in, s))
            ;
    pthread_mutex_unlock(&present_lock);
    if (old)
        holder_gone(old);
}

struct snap *snap_enter(struct loop *l)
{
    struct snap *s = loop_slot(l, LOOP_SLOT_SNAP);
    if (s)
        s->in_use[loop_index(l)]++;
    return s;
}

void snap_leave(struct loop *l, struct snap *s)
{
    if (--s->in_use[loop_index(l)] == 0 && loop_slot(l, LOOP_SLOT_SNAP) != s)
        holder_gone(s);
}

struct snap *snap_present(void)
{
    return present;
}

void snap_lock(void)
{
    pthread_mutex_lock(&present_lock);
}

void snap_unlock(void)
{
    pthread_mutex_unlock(&present_lock);
}
