/* pipeline/learning_request.c -- evidence and sessions in the path of a request (spec 02, 1.17).
 *
 * Two steps after the selector. *Adaptation* turns every candidate into an offer: what a trained table, or the model's card,
 * expects of it, less what price and slowness are worth; the evidence of outcomes moves that, and a die is thrown over the
 * chances of each to be the best. *Protection* then asks whether the conversation may change its model now. What differs from
 * VSR, and why: a candidate never tried has a prior instead of a free ride; the die is seeded with the request's seed and its
 * propensity is logged; evidence survives restarts; failures, answers that nobody waited for, repeated questions and complaints
 * of the next turn are outcomes as well. */
#include "pipeline/learning_request.h"
#include "pipeline/key.h"
#include "pipeline/session.h"

#include <math.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/put.h"
#include "observe/log.h"
#include "pipeline/ask.h"
#include "pipeline/judge.h"
#include "pipeline/route.h"
#include "select/learner.h"
#include "select/pacing.h"

/* ---- the configuration ---- */

/* VSR's: the wider the reach, the more is asked */
static const double margins[] = { [SET_DECISION] = 0, [SET_TIER] = .03, [SET_GLOBAL] = .08 };
static const double price_weights[] = { [SET_DECISION] = .04, [SET_TIER] = .06, [SET_GLOBAL] = .10 };
static const double latency_weight = .02;       /* of a second to the first token, at most one */
static const double unknown_quality = .5, unknown_deviation = .25, card_deviation = .15;

static enum candidate_set set_of(str name, enum candidate_set fallback)
{
    return str_eq(name, S("decision")) ? SET_DECISION : str_eq(name, S("tier")) ? SET_TIER : str_eq(name, S("global"))
        ? SET_GLOBAL : fallback;
}

/* VSR's name for the default is kept. */
static const struct evidence_ops *strategy_of(str name)
{
    const struct evidence_ops *ops = evidence_by_name(name);
    return ops ? ops : evidence_all[0];
}

static enum learning_mode mode_of(const struct value *v, enum learning_mode fallback)
{
    str name = v && v->kind == VALUE_SCALAR ? v->text : S("");
    return str_eq(name, S("apply")) ? LEARNING_APPLY : str_eq(name, S("observe")) ? LEARNING_OBSERVE
         : str_eq(name, S("bypass")) ? LEARNING_BYPASS : fallback;
}

static double number_of(const struct value *v, double fallback)
{
    double d;
    return v && v->kind == VALUE_SCALAR && str_double(v->text, &d) && d >= 0 ? d : fallback;
}

static struct decision_learning decision_read(const struct value *decision, const struct router_learning_conf *k)
{
    const struct value *v = decision ? value_get(decision, S("adaptations")) : NULL;
    enum candidate_set set = set_of(k->candidate_set, SET_DECISION);
    struct decision_learning out = { LEARNING_APPLY, LEARNING_APPLY, set, k->holds.margin, k->holds.stability };
    if (!v)
        return out;
    enum learning_mode both = mode_of(value_get(v, S("mode")), LEARNING_APPLY);
    const struct value *named = value_path(v, "adaptation.candidate_set");
    out.adaptation = mode_of(value_path(v, "adaptation.mode"), both);
    out.protection = mode_of(value_path(v, "protection.mode"), both);
    out.set = set_of(named && named->kind == VALUE_SCALAR ? named->text : S(""), set);
    out.margin = number_of(value_path(v, "protection.switch_margin"), k->holds.margin);
    out.stability = number_of(value_path(v, "protection.stability_weight"), k->holds.stability);
    return out;
}

static const struct value *decision_value(const struct value *list, str name)
{
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->n_items; i++) {
        const struct value *n = value_get(list->items[i], S("name"));
        if (n && str_eq(n->text, name))
            return list->items[i];
    }
    return NULL;
}

static void table_free(void *table)
{
    learner_free(table);
}

enum { TABLE_BYTES_MAX = 512 << 20 };

static struct learner *table_read(struct arena *a, str path, struct findings *out)
{
    struct err e = { 0 };
    struct buf all = { 0 };
    struct learner *l = NULL;
    if (file_read(arena_cstr(a, path), TABLE_BYTES_MAX, &all, &e) == 0)
        l = learner_load(buf_view(&all), &e);
    buf_free(&all);
    if (!l)
        finding_add(out, "unreadable-table", SEVERITY_WARNING, (struct place){ 0 }, S("global.router.learning.table"),
                    S("signalbox train selector writes such tables; without it the model cards say what to expect"),
                    "table '" STR_FMT "': %s", STR_ARG(path), e.text);
    else
        arena_defer(a, table_free, l);
    return l;
}

/* Learning is off: conversations stay on their model all the same, since a switch throws the provider's prompt cache away
 * (`global.router.session_affinity`). Nothing else is learned or kept. */
static const char *const payers[] = { [PAYER_ALL] = "all", [PAYER_KEY] = "key", [PAYER_USER] = "user", [PAYER_TEAM] = "team",
                                      [PAYER_PROJECT] = "project" };

static enum payer payer_of(str name)            /* one of them: the configuration's table has checked it */
{
    uint32_t at = 0;
    while (at + 1 < COUNT_OF(payers) && !str_eq(name, str_of(payers[at])))
        at++;
    return (enum payer)at;
}

static struct learning_conf *affinity_build(struct arena *a, const struct config *c)
{
    const struct affinity_conf *k = &c->affinity;
    if (!k->is_enabled)
        return NULL;
    struct learning_conf *l = ARENA_NEW(a, struct learning_conf);
    *l = (struct learning_conf){
        .protects = true, .session_header = c->learning.session_header, .conversation_header = c->learning.conversation_header,
        .idle_s = (double)k->holds.idle_s, .turns_min = k->holds.turns_min, .output_tokens = c->learning.output_tokens,
        .budget_window_ns = NS_PER_S, .decisions = ARENA_ARRAY(a, struct decision_learning *, c->n_profiles),
    };
    for (size_t p = 0; p < c->n_profiles; p++) {
        l->decisions[p] = ARENA_ARRAY(a, struct decision_learning, c->profiles[p].n_decisions);
        for (size_t i = 0; i < c->profiles[p].n_decisions; i++)
            l->decisions[p][i] = (struct decision_learning){ .adaptation = LEARNING_BYPASS, .protection = LEARNING_APPLY,
                                                             .set = SET_DECISION, .margin = k->holds.margin,
                                                             .stability = k->holds.stability };
    }
    return l;
}

struct learning_conf *learning_conf_build(struct arena *a, const struct config *c, struct findings *out)
{
    const struct router_learning_conf *k = &c->learning;
    if (!k->is_enabled)
        return affinity_build(a, c);
    struct learning_conf *l = ARENA_NEW(a, struct learning_conf);
    *l = (struct learning_conf){
        .adapts = k->adapts, .protects = k->protects, .is_whole_session = str_eq(k->scope, S("session")),
        .session_header = k->session_header, .conversation_header = k->conversation_header,
        .idle_s = (double)k->holds.idle_s, .turns_min = k->holds.turns_min, .scale = k->scale, .floor = k->floor,
        .strategy = strategy_of(k->strategy), .screen_top = k->screen_top < LEARNING_ARMS_MAX ? (uint32_t)k->screen_top : 0,
        .tuning = { k->rate, k->share },
        .state_dir = config_relative(c, a, k->state_dir), .checkpoint_ns = k->checkpoint_ns,
        .budget_usd = k->budget_usd < 9e9 ? k->budget_usd : 0,
        .budget_window_ns = k->window_ns > NS_PER_S ? k->window_ns : NS_PER_S, .budget_slides = k->window_slides, .budget_per = payer_of(k->budget_per),
        .output_tokens = k->output_tokens, .decisions = ARENA_ARRAY(a, struct decision_learning *, c->n_profiles),
    };
    for (size_t p = 0; p < c->n_profiles; p++) {
        const struct value *list = config_profile_value(c, p, "routing.decisions");
        l->decisions[p] = ARENA_ARRAY(a, struct decision_learning, c->profiles[p].n_decisions);
        for (size_t i = 0; i < c->profiles[p].n_decisions; i++)
            l->decisions[p][i] = decision_read(decision_value(list, c->profiles[p].decisions[i].name), k);
    }
    l->judge = judge_build(a, c->global ? value_path(c->global, "router.learning.judge") : NULL);
    if (k->table.len)
        l->table = table_read(a, config_relative(c, a, k->table), out);
    if (l->table) {
        l->places = ARENA_ARRAY(a, uint8_t, l->table->n_kinds);
        context_places(l->table->kinds, l->table->n_kinds, l->places);
    }
    return l;
}

/* The state directory is opened when the first request comes, not when a configuration is only checked. */
static struct learning *process_state(const struct learning_conf *conf)
{
    struct learning *l = learning_process();
    static _Atomic uint64_t tried;
    uint64_t which = conf->state_dir.len ? hash_str(conf->state_dir) : 0;
    if (l && conf->adapts)
        learning_tune(l, &conf->tuning);        /* before the journal is replayed */
    if (l && which && tried != which) {
        struct err e = { 0 };
        tried = which;
        if (learning_open(l, conf->state_dir, &e) < 0)
            log_error("learning_state_failed", "learning: %s; outcomes are kept in memory only", e.text);
        else
            learning_keep(l, conf->checkpoint_ns);
    }
    return l;
}

void learning_start(const struct snap *s)
{
    struct learning *l = s->learning ? process_state(s->learning) : NULL;
    if (l && s->learning->judge) {
        const struct judge_conf *c = s->learning->judge->conf;
        learning_judge(l, hash_stable(c->instructions, hash_stable(c->model, 1)));
    }
}

/* ---- offers ---- */

struct reach { const struct model **models; const struct model_ref **refs; uint32_t n; struct candidate *of; };

static bool reaches(const struct reach *k, const struct model_ref *ref)
{
    for (uint32_t i = 0; i < k->n; i++)
        if (str_eq(k->refs[i]->model, ref->model) && str_eq(k->refs[i]->lora_name, ref->lora_name))
            return true;
    return false;
}

/* The selector's order first, then what the candidate set adds. */
static void reach_plan(struct req *r, struct reach *k, const struct plan *p, uint64_t now)
{
    struct candidate *c = route_candidates(r->a, p, now);
    for (size_t i = 0; i < p->conf->n_refs && k->n < LEARNING_ARMS_MAX; i++) {
        if (!p->candidates[i] || reaches(k, &p->conf->refs[i]))
            continue;
        k->models[k->n] = p->candidates[i];
        k->refs[k->n] = &p->conf->refs[i];
        k->of[k->n++] = c[i];
    }
}

static struct reach reach_all(struct req *r, enum candidate_set set, uint64_t now)
{
    struct reach k = { ARENA_ARRAY(r->a, const struct model *, LEARNING_ARMS_MAX), ARENA_ARRAY(r->a, const struct model_ref *,
            LEARNING_ARMS_MAX),
                       0, ARENA_ARRAY(r->a, struct candidate, LEARNING_ARMS_MAX) };
    reach_plan(r, &k, r->plan, now);
    for (uint32_t i = 1; i < k.n; i++)          /* the base choice first, the rest as declared */
        if (r->n_order && k.refs[i] == r->refs[0]) {
            struct candidate c = k.of[i];
            const struct model *m = k.models[i];
            const struct model_ref *ref = k.refs[i];
            k.of[i] = k.of[0], k.models[i] = k.models[0], k.refs[i] = k.refs[0];
            k.of[0] = c, k.models[0] = m, k.refs[0] = ref;
        }
    if (set == SET_DECISION)
        return k;
    for (size_t i = 0; i < r->recipe->profile->n_decisions; i++) {
        const struct plan *p = &r->recipe->plans[i];
        if (p != r->plan && (set == SET_GLOBAL || p->conf->tier == r->plan->conf->tier))
            reach_plan(r, &k, p, now);
    }
    return k;
}

static str arm_name(struct arena *a, const struct model_ref *ref)   /* (model, adapter, mode) is an arm */
{
    if (!ref->lora_name.len && !ref->use_reasoning)
        return ref->model;
    return arena_printf(a, STR_FMT "%s" STR_FMT "%s" STR_FMT, STR_ARG(ref->model), ref->lora_name.len ? "/" : "",
                        STR_ARG(ref->lora_name),
                        ref->use_reasoning ? "+reasoning" : "", STR_ARG(ref->reasoning_effort));
}

struct expectations { struct prediction *of; const struct learner *table; uint32_t kind; struct query_context query; };

/* Without a table the decision stands where the kind of query would. */
static struct expectations expect(struct req *r, const struct learning_conf *conf, uint64_t decision)
{
    const struct learner *table = conf->table;
    struct expectations x = { .table = table };
    const struct features *f = r->pick.features;    /* `learned` has read them already */
    uint32_t n = table ? table->n_kinds : 0;
    if (table || conf->strategy != evidence_all[0]) {
        if (!f) {
            struct features *read = ARENA_NEW(r->a, struct features);
            features_read(read, r->a, r->facts.evaluation_text);
            f = read;
        }
        query_context_read(&x.query, f);
    }
    if (table) {
        x.of = ARENA_ARRAY(r->a, struct prediction, table->n_models);
        learner_predict(table, f, x.of, r->a);
    }
    float *p = ARENA_ARRAY(r->a, float, n);
    if (!n || !learner_kinds(table, f, p, r->a)) {
        x.query.kinds[decision % CONTEXT_KINDS] = 1;
        return x;
    }
    for (uint32_t i = 0; i < n; i++) {
        x.kind = p[i] > p[x.kind] ? i : x.kind;
        x.query.kinds[conf->places[i]] += p[i];
    }
    return x;
}

static double load_of(const struct candidate *c)
{
    static const double half_at = 8;            /* answers in flight */
    return c->in_flight / (c->in_flight + half_at);
}

static struct offer offer_of(struct req *r, const struct expectations *x, const struct candidate *c,
                             const struct model_ref *ref, double price_top,
                             double price_weight)
{
    struct offer o = { .model = arm_name(r->a, ref), .expected = unknown_quality, .deviation = unknown_deviation,
                       .cost = (double)NAN,
                       .is_out = !c->is_healthy };
    uint32_t at = x->table ? learner_find(x->table, c->model) : UINT32_MAX;
    if (at != UINT32_MAX && isfinite(x->of[at].quality)) {
        o.expected = (double)x->of[at].quality;
        o.deviation = isfinite(x->of[at].deviation) ? (double)x->of[at].deviation : unknown_deviation;
        o.cost = (double)x->of[at].cost_usd;
        o.is_new = !(x->of[at].count > 0);
    } else if (c->quality > 0) {
        o.expected = fmin(1, c->quality);
        o.deviation = card_deviation;
    } else if (x->table) {                      /* what models of about its price are expected to do */
        struct prediction p = select_stranger(x->of, x->table->n_models, c, &r->facts);
        o.expected = (double)p.quality;
        o.deviation = fmax((double)p.deviation, unknown_deviation);
    }
    o.is_new = o.is_new || (x->table && at == UINT32_MAX);
    double price = (isnan(c->prompt_price) ? 0 : c->prompt_price) + (isnan(c->completion_price) ? 0 : c->completion_price);
    double late = c->latency ? c->latency->ttft_s(c->latency, 50) : (double)NAN;
    o.penalty = price_weight * (price_top > 0 ? price / price_top : 0) + (late > 0 ? latency_weight * fmin(1, late) : 0);
    o.latency_s = late > 0 ? late : 0;
    o.load = load_of(c);
    return o;
}

/* ---- the budget ---- */

static int64_t nano(double usd)
{
    return usd > 0 && usd < 9e9 ? (int64_t)(usd * 1e9 + .5) : 0;
}

/* Whose budget it is. Callers without the attribute share one. */
static uint64_t purse_of(const struct req *r, enum payer per)
{
    static const struct caller nobody = { 0 };
    const struct caller *c = r->caller ? r->caller : &nobody;
    str who[] = { [PAYER_ALL] = S(""), [PAYER_KEY] = c->key_id, [PAYER_USER] = c->user, [PAYER_TEAM] = c->team,
                  [PAYER_PROJECT] = c->project };
    return hash_stable(who[per], (uint64_t)per) | 1;    /* 0 is that of those who find no room */
}

/* Costs of the offers; the pace's price is taken off, and those that do not fit are out. */
static void budget_look(struct req *r, struct learning *l, const struct learning_conf *conf, const struct reach *k, struct learned *n)
{
    struct pacing_rules rules = { .budget = nano(conf->budget_usd), .window = conf->budget_window_ns,
                                  .is_sliding = conf->budget_slides, .step = PACING_STEP };
    double in = (double)r->facts.prompt_tokens, out = r->chat.output_reserve ? (double)r->chat.output_reserve
        : (double)conf->output_tokens;
    uint64_t now = r->facts.now_ns;
    n->most = ARENA_ARRAY(r->a, int64_t, k->n);
    n->cheapest = INT64_MAX;
    for (uint32_t i = 0; i < k->n; i++) {
        double pp = fmax(0, k->of[i].prompt_price), cp = fmax(0, k->of[i].completion_price);   /* unknown: free */
        n->most[i] = nano(((1.25 * in + 64) * pp + out * cp) / 1e6);        /* the estimate of tokens may be a quarter off */
        if (isnan(n->offers[i].cost))
            n->offers[i].cost = (in * pp + fmin(out, 400) * cp) / 1e6;
        if (!n->offers[i].is_out && n->most[i] < n->cheapest)
            n->cheapest = n->most[i];
    }
    bool *may = ARENA_ARRAY(r->a, bool, k->n);
    n->purse = purse_of(r, conf->budget_per);
    double price = learning_pace(l, n->purse, &rules, n->most, n->cheapest, now, k->n, may);
    for (uint32_t i = 0; i < k->n; i++) {
        n->offers[i].penalty += price * n->offers[i].cost;
        n->offers[i].is_out = n->offers[i].is_out || !may[i];
    }
}

static bool budget_reserve(struct req *r, struct learning *l, struct learned *n, uint32_t at)
{
    bool ok = learning_promise(l, n->purse, n->most[at], r->facts.now_ns);
    if (ok)
        n->reserved = n->most[at];
    return ok;
}

/* The clock must not run back behind a request's own. */
static void budget_settle(struct learning *l, struct learned *n, double cost_usd)
{
    if (!learning_spend(l, n->purse, n->reserved, nano(cost_usd), n->cheapest / 4, clock_wall()))
        log_warn("cost_above_bound", "learning: an answer of '" STR_FMT "' cost %.6f USD, at most %.6f were reserved for it",
                 STR_ARG(n->model), cost_usd,
                 (double)n->reserved / 1e9);
    n->reserved = 0;
}

/* ---- sessions ---- */

static uint64_t session_key(struct req *r, const struct learning_conf *conf)
{
    str session = http_get(&r->head, conf->session_header), conversation = http_get(&r->head, conf->conversation_header);
    uint64_t h = hash_stable(r->recipe->profile->name, 1);
    if (session.len == 0)                       /* the agents' own names for it */
        session = session_id(r);
    if (session.len == 0)
        return 0;
    if (r->caller && r->caller->key_id.len)     /* two tenants may use the same name */
        h = hash_stable(r->caller->key_id, h);
    h = hash_stable(session, h);
    return (conf->is_whole_session || conversation.len == 0 ? h : hash_stable(conversation, h)) | 1;
}

static double saved_by_cache(const struct model *m)
{
    return fmax(0, m->conf->pricing.prompt - m->conf->pricing.cached_input);
}

static void prices_compare(const struct reach *k, uint32_t present, uint32_t proposal, struct session_facts *f)
{
    double top = 0, price = 0;
    for (uint32_t i = 0; i < k->n; i++) {
        top = fmax(top, saved_by_cache(k->models[i]));
        price = fmax(price, k->models[i]->conf->pricing.prompt);
    }
    f->is_frontier = price > 0 && k->models[present]->conf->pricing.prompt == price;
    f->pressure = top > 0 ? fmax(saved_by_cache(k->models[present]), saved_by_cache(k->models[proposal])) / top : 0;
}

static uint32_t place_of(const struct reach *k, struct arena *a, str arm)
{
    for (uint32_t i = 0; i < k->n; i++)
        if (str_eq(arm_name(a, k->refs[i]), arm))
            return i;
    return UINT32_MAX;
}

static bool has_provider_state(const struct req *r)
{
    return r->json.n > 0 && json_is(&r->json, 0, JSON_OBJECT) && json_get(&r->json, 0, S("previous_response_id")) != JSON_NONE;
}

/* ---- the next turn speaks of the last one ---- */

static const struct mood { const char *type, *name; double reward, weight; } moods[] = {    /* name "": any rule of the type */
    { "user_feedback", "satisfied", 1, 1 },
    { "user_feedback", "wrong_answer", 0, 1 },
    { "user_feedback", "want_different", .25, .5 },
    { "user_feedback", "need_clarification", .5, .5 },
    { "reask", "", .25, .5 },
};

static bool mood_holds(const struct req *r, const struct mood *m)
{
    const struct policy *p = r->recipe->policy;
    const struct sigset *s = r->decision.signals;
    if (!s)
        return false;
    if (m->name[0]) {
        int64_t slot = policy_slot_find(p, str_of(m->type), str_of(m->name));
        return slot >= 0 && sig_yes(s, (uint32_t)slot);
    }
    for (uint32_t i = 0; i < policy_n_slots(p); i++)
        if (str_eq(policy_slot_type(p, i), str_of(m->type)) && sig_yes(s, i))
            return true;
    return false;
}

static void hear_last_turn(const struct req *r, struct learning *l, const struct session *s)
{
    if (s->last_len == 0)
        return;
    for (size_t i = 0; i < COUNT_OF(moods); i++)
        if (mood_holds(r, &moods[i])) {
            learning_say(l, (str){ s->last, s->last_len }, SOURCE_IMPLICIT, moods[i].reward, moods[i].weight);
            return;
        }
}

/* ---- adaptation and protection ---- */

static void put_first(struct req *r, const struct reach *k, uint32_t at)
{
    const struct model **order = ARENA_ARRAY(r->a, const struct model *, r->n_order + 1);
    const struct model_ref **refs = ARENA_ARRAY(r->a, const struct model_ref *, r->n_order + 1);
    unsigned n = 0;
    order[n] = k->models[at];
    refs[n++] = k->refs[at];
    for (unsigned i = 0; i < r->n_order; i++) {
        if (r->refs[i] == k->refs[at])
            continue;
        order[n] = r->order[i];
        refs[n++] = r->refs[i];
    }
    r->order = order;
    r->refs = refs;
    r->n_order = n;
}

static uint64_t decision_hash(const struct req *r)
{
    return hash_stable(r->plan->conf->name, hash_stable(r->recipe->profile->name, 2));
}

static struct session_choice protect(struct req *r, const struct learning_conf *conf, const struct decision_learning *d,
                                     const struct session *s,
                                     const struct reach *k, uint32_t present, uint32_t proposal, const struct learned *n)
{
    struct session_rules rules = session_defaults;
    rules.idle_ns = (uint64_t)(conf->idle_s * 1e9);
    rules.turns_min = (uint32_t)conf->turns_min;
    rules.margin = d->margin;
    rules.stability = d->stability;
    rules.is_whole_session = conf->is_whole_session;
    uint64_t now_s = r->facts.now_ns / NS_PER_S;
    const struct arm *arms = n->chosen.arms;
    struct session_facts f = {
        .has_previous = present != UINT32_MAX && !arms[present].is_out, .is_same = present == proposal,
        .is_tool_loop = r->facts.is_tool_loop_active, .has_state = has_provider_state(r),
            .has_drifted = s->decision != n->decision,
        .silent_ns = (now_s > s->seen_s ? now_s - s->seen_s : 0) * NS_PER_S, .turns = s->turns, .switches = s->switches,
        .history_tokens = (double)r->facts.context_tokens, .warmth = (double)NAN, .is_failing = s->failures >= 2,
    };
    if (f.has_previous) {
        f.gain = arms[proposal].mean - arms[present].mean;
        prices_compare(k, present, proposal, &f);
    }
    return session_choose(&rules, &f);
}

static void remember(struct req *r, struct learning *l, struct learned *n, uint32_t at, double propensity)
{
    float x[CONTEXT_N];
    learning_context(&n->chosen, at, x);
    learning_remember(l, &(struct decided){
        .id = r->request_id, .model = n->model, .kind = n->kind, .decision = n->decision, .session = n->session, .now_s = r->facts.now_ns / NS_PER_S,
        .expected = n->offers[at].expected, .mean = n->value, .deviation = n->chosen.arms[at].deviation, .propensity = propensity,
        .cost = n->offers[at].cost, .n_arms = n->chosen.n, .x = x });
    if (n->session)
        learning_session_turn(l, n->session, n->model, n->decision, (double)r->facts.context_tokens, r->request_id,
                              r->facts.now_ns / NS_PER_S);
}

int learning_adapt(struct req *r)
{
    const struct learning_conf *conf = r->snap->learning;
    if (!conf || !r->plan || r->n_order == 0 || !r->refs)
        return 0;
    /* the command line only asks: no state is touched */
    struct learning *l = r->loop ? process_state(conf) : learning_process();
    const struct decision_learning *d = &conf->decisions[r->recipe - r->snap->recipes][r->plan - r->recipe->plans];
    if (!l || (d->adaptation == LEARNING_BYPASS && d->protection == LEARNING_BYPASS))
        return 0;
    if (!conf->adapts && conf->budget_usd <= 0 && (r->plan->conf->n_refs < 2 || session_key(r, conf) == 0))
        return 0;                               /* no choice, or no conversation to keep */
    uint64_t now = r->loop ? loop_now(r->loop) : clock_now();
    struct learned *n = r->learned = ARENA_NEW(r->a, struct learned);
    struct reach k = reach_all(r, d->set, now);
    n->decision = decision_hash(r);
    struct expectations x = expect(r, conf, n->decision);
    struct session s = { 0 };
    char model[LEARNING_NAME_MAX] = "";
    n->kind = hash_stable(x.table && x.table->n_kinds ? x.table->kinds[x.kind] : S(""), n->decision);
    n->session = conf->protects ? session_key(r, conf) : 0;
    n->has_session = n->session && learning_session(l, n->session, &s, model);
    if (n->has_session && r->loop)
        hear_last_turn(r, l, &s);
    double top = 0;
    for (uint32_t i = 0; i < k.n; i++) {
        double p = fmax(0, k.of[i].prompt_price) + fmax(0, k.of[i].completion_price);
        top = p > top ? p : top;
    }
    n->offers = ARENA_ARRAY(r->a, struct offer, k.n);
    for (uint32_t i = 0; i < k.n; i++)
        n->offers[i] = offer_of(r, &x, &k.of[i], k.refs[i], top, price_weights[d->set]);

    if (conf->budget_usd > 0)
        budget_look(r, l, conf, &k, n);

    /* A warm conversation, a tool loop, state at the provider: no experiments. */
    bool samples = conf->adapts && d->adaptation != LEARNING_BYPASS && !r->facts.is_tool_loop_active && !has_provider_state(r);
    struct bandit_rules rules = { .scale = samples ? conf->scale : 0, .floor = samples ? conf->floor : 0,
                                  .margin = conf->adapts ? margins[d->set] : 1e9 };
    struct situation at_hand = { .strategy = n->strategy = conf->strategy, .screen_top = conf->screen_top,
                                 .query = { n->kind, n->decision, x.query }, .seed = r->facts.seed, .now_ns = now };
    learning_choose(l, n->offers, k.n, &rules, &at_hand, r->a, &n->chosen);
    uint32_t at = n->chosen.at == UINT32_MAX ? 0 : n->chosen.at;
    double propensity = n->chosen.at == UINT32_MAX ? 1 : n->chosen.propensity;
    n->base = n->offers[0].model;
    n->proposal = n->offers[at].model;
    n->action = at == 0 ? "keep_base" : samples ? "propose_switch" : "suppress_sampling";
    if (d->adaptation != LEARNING_APPLY) {
        n->action = d->adaptation == LEARNING_OBSERVE ? "observe" : "bypass";
        at = 0;
        propensity = r->pick.propensity;
    }
    if (n->has_session && d->protection != LEARNING_BYPASS) {
        uint32_t present = place_of(&k, r->a, str_of(model));
        n->session_choice = protect(r, conf, d, &s, &k, present, at, n);
        if (n->session_choice.verdict == SESSION_STAY && present != UINT32_MAX && d->protection == LEARNING_APPLY) {
            propensity = present == at ? propensity : 1;    /* held, whatever the die says */
            at = present;
        }
    }
    n->model = n->offers[at].model;
    if (conf->budget_usd > 0 && r->loop && !budget_reserve(r, l, n, at))
        return req_fail(r, 429, "rate_limit_error", "budget_exhausted", "budget",
                        "the budget of this window is spent (global.router.learning.pacing.budget_usd)");
    if (at != 0) {
        put_first(r, &k, at);
        r->pick.reason = n->has_session && n->session_choice.verdict == SESSION_STAY ? n->session_choice.reason : "learned";
    }
    r->pick.propensity = propensity;
    n->value = n->chosen.arms[at].mean + n->offers[at].penalty;
    if (r->loop) {
        remember(r, l, n, at, propensity);
        r->sample = judge_begin(r);
    }
    return 0;
}

/* ---- what we see ourselves ---- */

void learning_observe(struct req *r, double cost_usd)
{
    struct learned *n = r->learned;
    struct learning *l = n && r->loop ? learning_process() : NULL;
    if (!l)
        return;
    if (n->reserved)
        budget_settle(l, n, cost_usd);
    if (r->fail.status == 429 && !r->model)         /* refused by the budget: nobody was asked */
        return;
    bool is_failed = r->fail.status >= 500 || r->status >= 500 || r->status == 429 || r->status == 408;
    bool is_abandoned = r->is_client_gone && r->is_head_sent;       /* an answer that nobody waited for */
    if (r->is_client_gone && !r->is_head_sent)
        return;
    if (r->model && r->ref && !str_eq(arm_name(r->a, r->ref), n->model)) {
        learning_failed_over(l, r->request_id, arm_name(r->a, r->ref), clock_wall() / NS_PER_S);
        if (n->session)
            learning_session_turn(l, n->session, arm_name(r->a, r->ref), n->decision, (double)r->facts.context_tokens,
                                  r->request_id,
                                  clock_wall() / NS_PER_S);
    }
    if (is_failed || is_abandoned)
        learning_say(l, r->request_id, SOURCE_IMPLICIT, 0, is_failed ? 1 : .25);
    if (is_failed && n->session)
        learning_session_failed(l, n->session);
}

void learning_answer_form(struct req *r, bool is_failed)
{
    struct learned *n = r->learned;
    struct learning *l = n ? learning_process() : NULL;
    if (!l)
        return;
    learning_form(l, n->model, is_failed, clock_now());
    if (is_failed)
        learning_say(l, r->request_id, SOURCE_IMPLICIT, 0, 1);
}

/* ---- the log ---- */

static void log_hex(struct json_writer *w, const char *key, uint64_t v)
{
    char text[17];
    put_str(w, str_of(key), (str){ text, (size_t)snprintf(text, sizeof text, "%016llx", (unsigned long long)v) });
}

static void arms_log(struct json_writer *w, const struct learned *n)
{
    const struct chosen *c = &n->chosen;
    put_number(w, S("scale"), c->rules.scale);
    put_number(w, S("floor"), c->rules.floor);
    put_number(w, S("margin"), c->rules.margin);
    log_hex(w, "kind", n->kind);
    put_str(w, S("strategy"), str_of((n->strategy ? n->strategy : evidence_all[0])->name));
    put_open(w, S("arms"), '[');
    for (uint32_t i = 0; i < c->n; i++) {
        jw_begin(w, '{');
        put_str(w, S("model"), n->offers[i].model);
        put_number(w, S("mean"), c->arms[i].mean);
        put_number(w, S("deviation"), c->arms[i].deviation);
        put_number(w, S("count"), c->arms[i].count);
        if (c->arms[i].pending)
            put_int(w, S("pending"), c->arms[i].pending);
        if (c->arms[i].is_out)
            put_bool(w, S("out"), true);
        if (c->arms[i].is_screened)
            put_bool(w, S("screened"), true);
        if (c->rules.by_share)
            put_number(w, S("share"), c->arms[i].share);
        put_number(w, S("expected"), n->offers[i].expected);
        put_number(w, S("penalty"), n->offers[i].penalty);
        put_number(w, S("cost"), n->offers[i].cost);
        put_number(w, S("chance"), c->chances[i]);
        jw_end(w, '}');
    }
    jw_end(w, ']');
    put_str(w, S("base"), n->base);
    put_str(w, S("proposal"), n->proposal);
    put_str(w, S("model"), n->model);
    put_str(w, S("action"), str_of(n->action));
    if (n->has_session) {
        put_str(w, S("session"), str_of(n->session_choice.reason ? n->session_choice.reason : ""));
        put_number(w, S("needed"), n->session_choice.needed);
    }
}

/* What a selector without learning was given and made of it. */
static void pick_log(struct json_writer *w, const struct req *r)
{
    put_open(w, S("candidates"), '[');
    for (size_t i = 0; i < r->plan->conf->n_refs && i < LEARNING_ARMS_MAX; i++) {
        const struct model *m = r->plan->candidates[i];
        jw_begin(w, '{');
        put_str(w, S("model"), r->plan->conf->refs[i].model);
        if (!isnan(r->pick.scores[i]))
            put_float(w, S("score"), r->pick.scores[i]);
        if (m && m->conf->pricing.is_set) {
            put_number(w, S("prompt_price"), m->conf->pricing.prompt);
            put_number(w, S("completion_price"), m->conf->pricing.completion);
        }
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

/* The selector's question to a model, under VSR's names. */
static void helper_log(struct json_writer *w, const struct ask_answer *h)
{
    put_str(w, S("prompt_helper_model"), h->model);
    put_number(w, S("prompt_helper_prompt_tokens"), (double)h->usage.prompt_tokens);
    put_number(w, S("prompt_helper_completion_tokens"), (double)h->usage.completion_tokens);
    put_number(w, S("prompt_helper_total_tokens"), (double)(h->usage.prompt_tokens + h->usage.completion_tokens));
    put_number(w, S("prompt_helper_latency_ms"), round((double)h->took_ns / 1e3) / 1e3);
    put_number(w, S("prompt_helper_cost"), h->cost);
}

str learning_log(struct req *r)
{
    struct buf out = { 0 };
    struct json_writer w = { .out = &out };
    if (!r->plan || !r->pick.order)
        return S("");
    jw_begin(&w, '{');
    log_hex(&w, "seed", r->facts.seed);
    log_hex(&w, "text_hash", hash_stable(r->facts.evaluation_text, 0));
    if (r->helper)
        helper_log(&w, r->helper);
    if (r->sample)
        put_str(&w, S("judge"), S("sampled"));
    if (r->pick.fallback)
        put_str(&w, S("fallback"), str_of(r->pick.fallback));
    if (r->learned)
        arms_log(&w, r->learned);
    else
        pick_log(&w, r);
    jw_end(&w, '}');
    return buf_to_arena(&out, r->a);
}
