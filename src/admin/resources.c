/* admin/resources.c */
#include "admin/resources.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "front/gateway.h"
#include "front/models.h"
#include "front/process.h"
#include "observe/latency.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "pipeline/attempt.h"
#include "pipeline/count.h"
#include "pipeline/snap.h"
#include "runtime/offload.h"

static void health(struct admin_req *r)
{
    buf_str(&r->out, S("{\"status\":\"healthy\",\"service\":\"signalbox\"}"));
}

static void ready(struct admin_req *r)
{
    bool is_ready = !server_is_draining();
    r->status = is_ready ? 200 : 503;
    buf_str(&r->out, is_ready ? S("{\"status\":\"ready\",\"ready\":true}") : S("{\"status\":\"draining\",\"ready\":false}"));
}

struct scrape { struct buf *out; bool is_open; };

static void scrape_write(void *arg)
{
    struct scrape *s = arg;
    count_encoder();
    metrics_write(s->out, s->is_open);
}

static void release_nothing(void *arg)
{
    (void)arg;
}

/* Hundreds of series take a while to print: on an offload thread, so that streams go on. */
static WAITS void metrics(struct admin_req *r)
{
    bool open = str_find(http_get(&r->head, S("accept")), S("application/openmetrics-text")) >= 0;
    struct scrape s = { &r->out, open };
    r->type = open ? S(METRICS_CONTENT_TYPE_OPENMETRICS) : S(METRICS_CONTENT_TYPE);
    fiber_shield(true);                         /* s lies on this stack: nothing may end the wait early */
    if (offload(scrape_write, &s, release_nothing, NEVER) < 0)
        admin_error(r, 503, "OVERLOADED", "too much is waiting; try again");
    fiber_shield(false);
}

static void index_of_all(struct admin_req *r)
{
    struct json_writer w = { .out = &r->out };
    jw_begin(&w, '{');
    put_str(&w, S("service"), S("signalbox"));
    put_open(&w, S("endpoints"), '[');
    for (const struct admin_route *t = admin_routes; t->handle; t++) {
        jw_begin(&w, '{');
        put_str(&w, S("method"), t->method);
        put_str(&w, S("path"), t->path);
        put_str(&w, S("description"), str_of(t->help));
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    jw_end(&w, '}');
}

/* ---- configuration ---- */

static void findings_json(const struct findings *f, struct json_writer *w)
{
    static const char *const names[] = { "info", "warning", "error" };
    jw_begin(w, '[');
    for (size_t i = 0; i < f->n; i++) {
        const struct finding *one = &f->items[i];
        jw_begin(w, '{');
        put_str(w, S("name"), str_of(one->name));
        put_str(w, S("severity"), str_of(names[one->severity]));
        put_int(w, S("line"), one->at.line);
        put_int(w, S("column"), one->at.col);
        put_str(w, S("path"), one->path);
        put_str(w, S("message"), one->text);
        put_str(w, S("hint"), one->hint);
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

static void config_get(struct admin_req *r)
{
    snap_lock();
    const struct snap *s = snap_present();
    bool as_json = str_find(http_get(&r->head, S("accept")), S("application/json")) >= 0;
    if (as_json) {
        struct buf yaml = { 0 };
        config_dump_yaml(s->config, &yaml);     /* masked; read back, so that both forms say the same */
        struct value *v = yaml_parse(r->a, arena_str(r->a, buf_view(&yaml)), "dump", NULL);
        if (v)
            value_to_json(v, &r->out);
        buf_free(&yaml);
    } else {
        r->type = S("application/yaml");
        config_dump_yaml(s->config, &r->out);
    }
    snap_unlock();
}

static void config_hash(struct admin_req *r)
{
    snap_lock();
    const struct snap *s = snap_present();
    struct json_writer w = { .out = &r->out };
    jw_begin(&w, '{');
    put_str(&w, S("hash"), s->config->hash);
    put_int(&w, S("snapshot"), (int64_t)s->id);
    put_str(&w, S("source"), process_config_path() ? str_of(process_config_path()) : S("(embedded)"));
    jw_end(&w, '}');
    snap_unlock();
}

static void config_result(struct admin_req *r, bool ok, const char *verb, const struct findings *found)
{
    r->status = ok ? 200 : 422;
    struct json_writer w = { .out = &r->out };
    jw_begin(&w, '{');
    put_bool(&w, str_of(verb), ok);
    put_int(&w, S("errors"), (int64_t)found->n_by_severity[SEVERITY_ERROR]);
    put_int(&w, S("warnings"), (int64_t)found->n_by_severity[SEVERITY_WARNING]);
    jw_key(&w, S("findings"));
    findings_json(found, &w);
    jw_end(&w, '}');
}

/* Compiling takes milliseconds: on an offload thread, so that streams go on. */
struct change { struct admin_req *r; struct findings found; bool ok; };

static void change_apply(void *arg)
{
    struct change *c = arg;
    c->ok = process_reload(c->r->body, "PUT /api/v1/config", &c->found) == 0;
}

static void change_validate(void *arg)
{
    struct change *c = arg;
    struct snap *s = snap_build(c->r->body, "(request)", false, &c->found);
    c->ok = s != NULL;
    snap_free(s);
}

static WAITS void change_run(struct admin_req *r, void (*work)(void *), const char *verb)
{
    struct change c = { .r = r, .found.a = r->a };
    fiber_shield(true);                         /* c lies on this stack: nothing may end the wait early */
    if (offload(work, &c, release_nothing, NEVER) < 0)
        admin_error(r, 503, "OVERLOADED", "too many changes are waiting; try again");
    else
        config_result(r, c.ok, verb, &c.found);
    fiber_shield(false);
}

static WAITS void config_put(struct admin_req *r)
{
    change_run(r, change_apply, "applied");
}

static WAITS void config_validate(struct admin_req *r)
{
    change_run(r, change_validate, "valid");
}

static void config_schema(struct admin_req *r)
{
    config_schema_json(&r->out);
}

/* ---- what is running ---- */

static void backend_json(const struct backend *b, struct json_writer *w)
{
    uint64_t now = clock_now();
    const struct backend_state *s = b->state;
    uint64_t until = atomic_load(&s->ejected_until);
    jw_begin(w, '{');
    put_str(w, S("name"), b->name);
    put_str(w, S("address"), b->host_header);
    put_str(w, S("provider"), b->provider->name);
    put_str(w, S("upstream_model"), b->upstream_model);
    put_int(w, S("weight"), b->conf->weight);
    put_str(w, S("state"), atomic_load(&s->is_down) ? S("down") : until > now ? S("ejected") : until ? S("half_open") : S("up"));
    put_int(w, S("in_flight"), atomic_load(&s->in_flight));
    put_int(w, S("consecutive_failures"), atomic_load(&s->failures));
    if (until > now)
        put_double(w, S("ejected_for_seconds"), (double)((until - now) / NS_PER_MS) / 1e3);
    jw_end(w, '}');
}

static void models(struct admin_req *r)
{
    struct json_writer w = { .out = &r->out };
    snap_lock();
    const struct snap *s = snap_present();
    jw_begin(&w, '{');
    put_open(&w, S("models"), '[');
    for (size_t i = 0; i < s->models.n; i++) {
        const struct model *m = s->models.entries[i].value;
        if (!str_eq(m->name, s->models.entries[i].key))
            continue;
        jw_begin(&w, '{');
        put_str(&w, S("name"), m->name);
        put_double(&w, S("quality_score"), m->quality);
        put_int(&w, S("in_flight"), latency_in_flight(m->state->latency));
        put_double(&w, S("ttft_p50_seconds"), latency_ttft(m->state->latency, 50));
        put_double(&w, S("ttft_p95_seconds"), latency_ttft(m->state->latency, 95));
        put_double(&w, S("tpot_p50_seconds"), latency_tpot(m->state->latency, 50));
        put_double(&w, S("tpot_p95_seconds"), latency_tpot(m->state->latency, 95));
        put_open(&w, S("backends"), '[');
        for (unsigned k = 0; k < m->n_backends; k++)
            backend_json(&m->backends[k], &w);
        jw_end(&w, ']');
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    jw_end(&w, '}');
    snap_unlock();
}

static void decisions(struct admin_req *r)
{
    struct json_writer w = { .out = &r->out };
    snap_lock();
    const struct snap *s = snap_present();
    jw_begin(&w, '{');
    put_open(&w, S("recipes"), '[');
    for (unsigned i = 0; i < s->n_recipes; i++) {
        const struct profile *p = s->recipes[i].profile;
        jw_begin(&w, '{');
        put_str(&w, S("name"), p->name);
        put_str(&w, S("strategy"), p->strategy == STRATEGY_CONFIDENCE ? S("confidence") : S("priority"));
        put_open(&w, S("decisions"), '[');
        for (size_t k = 0; k < p->n_decisions; k++) {
            const struct decision_conf *d = &p->decisions[k];
            jw_begin(&w, '{');
            put_str(&w, S("name"), d->name);
            put_str(&w, S("description"), d->description);
            put_int(&w, S("priority"), d->priority);
            put_int(&w, S("tier"), d->tier);
            put_str(&w, S("algorithm"), d->algorithm.type.len ? d->algorithm.type : S("static"));
            put_open(&w, S("models"), '[');
            for (size_t m = 0; m < d->n_refs; m++)
                jw_str(&w, d->refs[m].model);
            jw_end(&w, ']');
            put_open(&w, S("plugins"), '[');
            for (size_t m = 0; m < d->n_plugins; m++)
                jw_str(&w, d->plugins[m].type);
            jw_end(&w, ']');
            put_double(&w, S("matches"), metric_value(s->recipes[i].plans[k].cell_match));
            jw_end(&w, '}');
        }
        jw_end(&w, ']');
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    jw_end(&w, '}');
    snap_unlock();
}

static void model_list(struct admin_req *r)
{
    snap_lock();
    models_all(snap_present(), r->a, NULL, &r->out);
    snap_unlock();
}

#define ROUTE(method_, path_) .method = { method_, sizeof method_ - 1 }, .path = { path_, sizeof path_ - 1 }

const struct admin_route admin_routes[] = {
    { ROUTE("GET", "/health"), .is_open = true, .handle = health, .help = "alive" },
    { ROUTE("GET", "/ready"), .is_open = true, .handle = ready, .help = "takes traffic; 503 while draining" },
    { ROUTE("GET", "/metrics"), .handle = metrics, .help = "Prometheus metrics" },
    { ROUTE("GET", "/api/v1"), .handle = index_of_all, .help = "this list" },
    { ROUTE("POST", "/api/v1/eval"), .handle = admin_eval, .help = "decide without calling a model; ?trace=true explains everything" },
    { ROUTE("POST", "/api/v1/classify/intent"), .handle = admin_intent, .help = "domain of a text, and what would be decided" },
    { ROUTE("POST", "/api/v1/classify/pii"), .handle = admin_pii, .help = "personal data: types, places, masked text" },
    { ROUTE("POST", "/api/v1/classify/security"), .handle = admin_security, .help = "risk of a jailbreak or prompt injection" },
    { ROUTE("POST", "/api/v1/classify/fact-check"), .handle = admin_fact_check, .help = "whether an answer needs facts" },
    { ROUTE("POST", "/api/v1/classify/user-feedback"), .handle = admin_feedback, .help = "what a user says of the last answer" },
    { ROUTE("POST", "/api/v1/classify/combined"), .handle = admin_combined, .help = "intent, pii and security at once" },
    { ROUTE("POST", "/api/v1/classify/batch"), .handle = admin_batch, .help = "one task_type over many texts" },
    { ROUTE("POST", "/api/v1/embeddings"), .handle = admin_embeddings, .help = "vectors of texts" },
    { ROUTE("POST", "/api/v1/similarity"), .handle = admin_similarity, .help = "cosine of two texts" },
    { ROUTE("POST", "/api/v1/similarity/batch"), .handle = admin_similarity_batch, .help = "candidates by nearness to a query" },
    { ROUTE("POST", "/api/v1/nli"), .handle = admin_nli, .help = "whether a hypothesis follows from a premise" },
    { ROUTE("GET", "/api/v1/config"), .handle = config_get, .help = "the effective configuration, secrets masked" },
    { ROUTE("PUT", "/api/v1/config"), .is_write = true, .handle = config_put, .help = "replace the configuration (YAML or JSON)" },
    { ROUTE("POST", "/api/v1/config/validate"), .is_write = true, .handle = config_validate, .help = "findings of a configuration, nothing changes" },
    { ROUTE("GET", "/api/v1/config/hash"), .handle = config_hash, .help = "hash and source of the configuration in use" },
    { ROUTE("GET", "/api/v1/config/schema"), .handle = config_schema, .help = "JSON Schema of the configuration" },
    { ROUTE("GET", "/api/v1/models"), .handle = models, .help = "models, backends, health, live latencies" },
    { ROUTE("GET", "/api/v1/decisions"), .handle = decisions, .help = "recipes and their decisions, with counts of matches" },
    { ROUTE("POST", "/api/v1/outcomes"), .is_write = true, .handle = admin_outcomes, .help = "how good answers were: learned from" },
    { ROUTE("POST", "/v1/router/outcomes"), .is_write = true, .handle = admin_outcomes, .help = "the same under VSR's name" },
    { ROUTE("GET", "/api/v1/outcomes/"), .is_prefix = true, .handle = admin_outcome_get, .help = "what is remembered of a request's decision" },
    { ROUTE("GET", "/api/v1/sessions"), .handle = admin_sessions, .help = "conversations and the models they are held on" },
    { ROUTE("GET", "/api/v1/learning"), .handle = admin_learning, .help = "what was learned of each model" },
    { ROUTE("GET", "/api/v1/learning/export"), .handle = admin_learning_export, .help = "the learned sums, for another instance" },
    { ROUTE("POST", "/api/v1/learning/merge"), .is_write = true, .handle = admin_learning_merge, .help = "take in another instance's export" },
    { ROUTE("GET", "/api/v1/keys"), .permission = "keys.read", .handle = admin_keys, .help = "virtual keys, without their secrets" },
    { ROUTE("GET", "/api/v1/keys/"), .is_prefix = true, .permission = "keys.read", .handle = admin_keys, .help = "one of them" },
    { ROUTE("POST", "/api/v1/keys"), .is_write = true, .permission = "keys.write", .handle = admin_keys,
      .help = "make a key; its secret is shown once" },
    { ROUTE("POST", "/api/v1/keys/"), .is_prefix = true, .is_write = true, .permission = "keys.write", .handle = admin_keys,
      .help = "{id}/rotate: a new secret; the old one is good for {\"grace\": \"24h\"}" },
    { ROUTE("PATCH", "/api/v1/keys/"), .is_prefix = true, .is_write = true, .permission = "keys.write", .handle = admin_keys,
      .help = "change members of a key" },
    { ROUTE("DELETE", "/api/v1/keys/"), .is_prefix = true, .is_write = true, .permission = "keys.write", .handle = admin_keys,
      .help = "remove a key" },
    { ROUTE("GET", "/api/v1/budgets"), .permission = "budgets.read", .handle = admin_budgets, .help = "budgets, and what is spent of them" },
    { ROUTE("GET", "/api/v1/budgets/"), .is_prefix = true, .permission = "budgets.read", .handle = admin_budgets, .help = "one of them" },
    { ROUTE("POST", "/api/v1/budgets"), .is_write = true, .permission = "budgets.write", .handle = admin_budgets, .help = "make a budget" },
    { ROUTE("PUT", "/api/v1/budgets/"), .is_prefix = true, .is_write = true, .permission = "budgets.write", .handle = admin_budgets,
      .help = "replace a budget; what was spent stays" },
    { ROUTE("DELETE", "/api/v1/budgets/"), .is_prefix = true, .is_write = true, .permission = "budgets.write", .handle = admin_budgets,
      .help = "remove a budget" },
    { ROUTE("GET", "/api/v1/spend"), .permission = "spend.read", .handle = admin_spend,
      .help = "what was spent: ?group_by=key,user,team,project,model,day&from=&to=&format=json|csv" },
    { ROUTE("GET", "/v1/models"), .handle = model_list, .help = "the data plane's model list" },
    { .handle = NULL },
};
