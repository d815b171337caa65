/* pipeline/limit.c
 *
 * Read limit_admit: it collects the rules that match, takes from all of their meters for the first model, and when only
 * money was missing and the rule reroutes, tries cheaper models. limit_settle is its mirror. */
#include "pipeline/limit.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "dialect/canonical.h"
#include "pipeline/budget.h"
#include "pipeline/key.h"
#include "pipeline/meter.h"
#include "pipeline/price.h"
#include "pipeline/req.h"
#include "store/ledger.h"

enum {
    ANSWER_UNKNOWN = 4096,          /* tokens reserved for an answer when the client gives no maximum */
    ANSWER_EXPECTED = 512,          /* expected of a model that has not answered yet */
    RETRY_FULL_NS = 1000000000,
};

/* What one request holds, and what its client is told about it. In the request's arena. */
struct reservation {
    const struct limit_rule **rules; struct hold *holds; unsigned n;    /* that match for `model` */
    const struct limit_rule **all; unsigned n_all;                      /* that match for some model: settling looks again */
    const struct model *model;
    struct budget_set *set;             /* held: run-time rules */
    int64_t input, output, most_output; /* estimates, tokens */
    struct gauge_view told[GAUGE_N];    /* the tightest of each kind */
    bool tells_windows;                 /* VSR's headers, too */
    bool is_over;
};

/* ---- compiling rules ---- */

static const struct { str word; unsigned bit; } per_words[] = {
    { { "key", 3 }, PER_KEY }, { { "user", 4 }, PER_USER }, { { "team", 4 }, PER_TEAM }, { { "project", 7 }, PER_PROJECT },
    { { "model", 5 }, PER_MODEL },
};

static unsigned per_bits(const struct strings *list)
{
    unsigned bits = 0;
    for (size_t i = 0; i < list->n; i++)
        for (size_t k = 0; k < COUNT_OF(per_words); k++)
            if (str_eq(list->items[i], per_words[k].word))
                bits |= per_words[k].bit;
    return bits;
}

static void rule_rates(struct limit_rule *r, const struct rate_conf *c)
{
    r->window_ns = 60 * NS_PER_S;
    r->most[GAUGE_REQUESTS] = c->requests_per_minute;
    r->most[GAUGE_INPUT] = c->input_tokens_per_minute;
    r->most[GAUGE_OUTPUT] = c->output_tokens_per_minute;
    r->most[GAUGE_TOKENS] = c->tokens_per_minute;
    r->concurrent = c->concurrent;
}

static void rule_money(struct limit_rule *r, const struct money_conf *m)
{
    r->window_ns = 60 * NS_PER_S;
    r->has_money = true;
    r->is_hard = m->is_hard;
    r->reroutes = str_eq(m->on_budget, S("reroute")) || !m->is_hard;
    r->reserves_expected = str_eq(m->reserve, S("expected"));
    r->amount = llround(m->amount_usd * 1e6);
    r->reroute_to = m->reroute_to;
    r->period = PERIOD_MONTH;
    period_parse(m->period, &r->period);
}

int limit_rule_of_budget(struct arena *a, const struct budget_conf *c, struct limit_rule *out, struct err *e)
{
    *out = (struct limit_rule){ .name = arena_printf(a, "budget:" STR_FMT, STR_ARG(c->name)), .match = c->match,
                                .per = per_bits(&c->per) };
    rule_money(out, &c->money);
    return c->money.amount_usd >= 0 ? 0 : err_set(e, "amount_usd: a number from 0 on");
}

void limit_rules_of_key(struct arena *a, const struct key_conf *c, struct limit_rule **rules, unsigned *n)
{
    const struct rate_conf *r = &c->limits;
    size_t count = 0;
    *rules = NULL;
    if (r->requests_per_minute | r->tokens_per_minute | r->input_tokens_per_minute | r->output_tokens_per_minute
        | r->concurrent) {
        struct limit_rule *one = PUSH(a, *rules, count);
        one->name = arena_printf(a, "key:" STR_FMT, STR_ARG(c->id));
        rule_rates(one, r);
    }
    if (c->budget.amount_usd >= 0) {
        struct limit_rule *one = PUSH(a, *rules, count);
        one->name = arena_printf(a, "budget:key:" STR_FMT, STR_ARG(c->id));
        rule_money(one, &c->budget);
    }
    *n = (unsigned)count;
}

static void rule_add(struct arena *a, struct limit_rules *all, const struct limit_rule *r)
{
    size_t n = all->n;
    *PUSH(a, all->items, n) = *r;
    all->n = (unsigned)n;
}

/* VSR's local limiter: fixed windows, for each user and model apart (spec 02, 4.11). */
static void windows_build(struct arena *a, const struct limiter_conf *c, size_t at, struct limit_rules *all)
{
    static const struct { const char *word; uint64_t seconds; } units[] = {
        { "second", 1 }, { "minute", 60 }, { "hour", 3600 }, { "day", 86400 },
    };
    for (size_t i = 0; i < c->n_rules; i++) {
        const struct window_conf *w = &c->rules[i];
        struct limit_rule r = {
            /* names may be missing or alike */
            .name = arena_printf(a, "ratelimit:" STR_FMT "#%zu.%zu", STR_ARG(w->name), at, i),
            .match = { .user = w->user, .group = w->group, .model = w->model },
            .per = PER_USER | PER_MODEL, .is_fixed = true, .window_ns = 60 * NS_PER_S,
            .most = { [GAUGE_REQUESTS] = w->requests, [GAUGE_TOKENS] = w->tokens },
        };
        for (size_t k = 0; k < COUNT_OF(units); k++)
            if (str_eq(w->unit, str_of(units[k].word)))
                r.window_ns = units[k].seconds * NS_PER_S;
        if (w->requests > 0 || w->tokens > 0)
            rule_add(a, all, &r);
    }
}

struct limit_rules *limit_build(struct arena *a, const struct config *c, struct findings *out)
{
    const struct tenancy_conf *t = &c->tenancy;
    struct limit_rules *all = ARENA_NEW(a, struct limit_rules);
    for (size_t i = 0; i < t->n_limiters; i++)
        if (!str_eq(t->limiters[i].type, S("envoy-ratelimit")))
            windows_build(a, &t->limiters[i], i, all);
    for (size_t i = 0; i < t->n_quotas; i++) {
        const struct quota_conf *q = &t->quotas[i];
        struct limit_rule r = { .name = arena_printf(a, "quota:" STR_FMT, STR_ARG(q->name)), .match = q->match,
                                .per = per_bits(&q->per) };
        rule_rates(&r, &q->rate);
        rule_add(a, all, &r);
    }
    for (size_t i = 0; i < t->n_budgets; i++) {
        struct limit_rule r;
        struct err e = { 0 };
        if (limit_rule_of_budget(a, &t->budgets[i], &r, &e) == 0)
            rule_add(a, all, &r);
        else
            finding_add(out, "bad-value", SEVERITY_ERROR, t->budgets[i].at, S("global.budgets"), S(""), "%s", e.text);
    }
    return all;
}

/* ---- matching ---- */

bool limit_glob(str pattern, str text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, from = 0;
    while (t < text.len) {
        if (p < pattern.len && (pattern.ptr[p] == '?' || pattern.ptr[p] == text.ptr[t]) && pattern.ptr[p] != '*') {
            p++;
            t++;
        } else if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            from = t;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

static bool fits(str pattern, str text)
{
    return pattern.len == 0 || limit_glob(pattern, text);
}

/* All but the model. */
static bool rule_matches(const struct limit_rule *rule, const struct req *r)
{
    static const struct caller nobody;
    const struct match_conf *m = &rule->match;
    const struct caller *c = r->caller ? r->caller : &nobody;
    if (!fits(m->key, c->key_id) || !fits(m->user, r->facts.user_id) || !fits(m->team, c->team) || !fits(m->project, c->project)
        || !fits(m->entrypoint, r->chat.model))
        return false;
    if (m->group.len == 0 || str_eq(m->group, S("*")))
        return true;
    for (uint32_t i = 0; i < r->facts.n_groups; i++)
        if (limit_glob(m->group, r->facts.groups[i]))
            return true;
    return false;
}

static bool is_of_model(const struct limit_rule *rule)
{
    return (rule->per & PER_MODEL) || rule->match.model.len;
}

/* "key=ann&model=gpt": readable, and no two subjects of a rule are spelt alike. */
static size_t escaped(char *to, size_t room, str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool plain = c > 0x20 && c != 0x7f && c != '&' && c != '%';
        if (n + (plain ? 1 : 3) > room)
            break;
        if (plain) {
            to[n++] = (char)c;
        } else {
            to[n++] = '%';
            to[n++] = "0123456789ABCDEF"[c >> 4];
            to[n++] = "0123456789ABCDEF"[c & 15];
        }
    }
    return n;
}

static str subject_of(const struct limit_rule *rule, const struct req *r, const struct model *m, char to[1024])
{
    static const struct caller nobody;
    const struct caller *c = r->caller ? r->caller : &nobody;
    const str values[] = { c->key_id, r->facts.user_id, c->team, c->project, m ? m->name : S("") };
    size_t n = 0;
    uint64_t long_hash = 0;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        if (!(rule->per & per_words[i].bit))
            continue;
        if (n)
            to[n++] = '&';
        memcpy(to + n, per_words[i].word.ptr, per_words[i].word.len);
        n += per_words[i].word.len;
        to[n++] = '=';
        if (values[i].len > 150)
            long_hash = hash_stable(values[i], long_hash + 1);
        n += escaped(to + n, 150, values[i]);
    }
    if (n > SUBJECT_MAX - 17 || long_hash) {    /* too long to keep: the start and a hash of all */
        uint64_t hash = hash_stable((str){ to, n }, long_hash);
        n = n > SUBJECT_MAX - 17 ? SUBJECT_MAX - 17 : n;
        n += (size_t)snprintf(to + n, 18, "~%016llx", (unsigned long long)hash);
    }
    return (str){ to, n };
}

/* ---- estimates ---- */

static void estimate(struct req *r, struct reservation *v)
{
    int64_t most = r->chat.output_reserve > INT32_MAX ? INT32_MAX : (int64_t)r->chat.output_reserve, answers = 1;
    if (r->prompt)
        answers = r->prompt->n_answers;
    else if (r->json.n)
        json_int(&r->json, json_get(&r->json, 0, S("n")), &answers);
    answers = answers < 1 ? 1 : answers > 1024 ? 1024 : answers;
    v->input = (int64_t)r->facts.prompt_tokens;
    if (r->endpoint == ENDPOINT_EMBEDDINGS)
        return;
    v->most_output = (most > 0 ? most : ANSWER_UNKNOWN) * answers;
}

/* Tokens that answers of the model have had, twice over, at most the client's maximum. */
static int64_t expected_output(const struct reservation *v, const struct model *m)
{
    uint32_t typical = atomic_load_explicit(&m->state->typical_answer, memory_order_relaxed);
    int64_t expected = typical ? 2 * (int64_t)typical : ANSWER_EXPECTED;
    return expected < v->most_output ? expected : v->most_output;
}

static void typical_learn(const struct model *m, int64_t tokens)
{
    uint32_t had = atomic_load_explicit(&m->state->typical_answer, memory_order_relaxed);
    uint32_t now = tokens > INT32_MAX ? INT32_MAX : (uint32_t)tokens;
    /* Races lose a sample, which an average of sixteen survives. */
    atomic_store_explicit(&m->state->typical_answer, had ? had + (uint32_t)(((int64_t)now - (int64_t)had) / 16) : now,
                          memory_order_relaxed);
}

static int64_t micro_of(const struct req *r, const struct model *m, double cost)
{
    double rate = exchange_rate(r->snap->config, m->conf->pricing.currency);
    return micro_usd(cost, rate > 0 ? rate : 1);
}

static struct take take_for(const struct req *r, const struct reservation *v, const struct limit_rule *rule,
                            const struct model *m, uint64_t now)
{
    int64_t expected = expected_output(v, m);
    struct take t = { .now = now, .wall = (int64_t)(r->facts.now_ns / NS_PER_S) };
    t.tokens[GAUGE_REQUESTS] = !r->is_inner;
    t.tokens[GAUGE_INPUT] = v->input;
    t.tokens[GAUGE_OUTPUT] = expected;
    t.tokens[GAUGE_TOKENS] = v->input + expected;
    if (rule->has_money)
        t.money = micro_of(r, m, price_most(m, v->input, rule->reserves_expected ? expected : v->most_output, r->facts.now_ns));
    return t;
}

/* ---- taking ---- */

static void told_note(struct reservation *v, const struct limit_rule *rule, const struct meter_view *view)
{
    for (int g = 0; g < GAUGE_N; g++) {
        const struct gauge_view *now = &view->gauges[g];
        struct gauge_view *told = &v->told[g];
        if (now->most > 0 && (!told->most || now->left < told->left))
            *told = *now;
    }
    v->tells_windows |= rule->is_fixed;
}

static void undo_all(struct reservation *v)
{
    while (v->n > 0)
        meter_undo(&v->holds[--v->n]);
}

/* Takes from every rule that matches the model. TAKE_OK, or nothing is held and *failed, *view say why. `forced`: soft budgets
 * do not count. */
static enum verdict take_all(struct req *r, struct reservation *v, const struct model *m, bool forced, uint64_t now,
                             const struct limit_rule **failed, struct meter_view *view)
{
    char text[1024];
    memset(v->told, 0, sizeof v->told);
    for (unsigned i = 0; i < v->n_all; i++) {
        const struct limit_rule *rule = v->all[i];
        if (!fits(rule->match.model, m->name))
            continue;
        struct take t = take_for(r, v, rule, m, now);
        t.ignores_money = forced && !rule->is_hard;
        enum verdict verdict = meter_take(rule, subject_of(rule, r, m, text), &t, &v->holds[v->n], view);
        told_note(v, rule, view);
        if (verdict == TAKE_FULL && r->snap->config->tenancy.fail_open && !rule->has_money)
            continue;
        if (verdict != TAKE_OK) {
            undo_all(v);
            *failed = rule;
            return verdict;
        }
        v->rules[v->n++] = rule;
    }
    v->model = m;
    return TAKE_OK;
}

/* ---- refusing ---- */

static const char *period_words(enum period p)
{
    static const char *const words[PERIOD_N] = { "this minute's", "this hour's", "today's", "this week's", "this month's",
                                                 "the whole" };
    return words[p];
}

static int refuse_money(struct req *r, const struct limit_rule *rule, const struct meter_view *view)
{
    int64_t left = view->amount - view->spent - view->reserved;
    r->response_path = "rate_limited";
    req_fail(r, 429, "insufficient_quota", "budget_exceeded", "budget",
             "%s budget '" STR_FMT "' of %.2f USD is used up: %.6f USD are spent, %.6f USD reserved by requests that run, and "
             "this request may cost more than the %.6f USD that are left", period_words(rule->period),
             STR_ARG(str_from(rule->name, sizeof "budget:" - 1)), (double)view->amount / 1e6, (double)view->spent / 1e6,
             (double)view->reserved / 1e6, (double)(left > 0 ? left : 0) / 1e6);
    r->fail.no_retry = true;
    return -1;
}

static int refuse_rate(struct req *r, const struct limit_rule *rule, enum verdict verdict, const struct meter_view *view)
{
    static const char *const what[] = { [TAKE_REQUESTS] = "requests", [TAKE_INPUT] = "input tokens",
                                        [TAKE_OUTPUT] = "output tokens", [TAKE_TOKENS] = "tokens" };
    str name = rule->name;
    str_cut(&name, ':');
    r->response_path = "rate_limited";
    if (verdict == TAKE_FULL) {
        req_fail(r, 503, "overloaded_error", "overloaded", "meters", "too many different callers are being counted; try again");
        r->fail.retry_after_ns = RETRY_FULL_NS;
        return -1;
    }
    if (verdict == TAKE_CONCURRENT) {
        req_fail(r, 429, "rate_limit_error", "rate_limit_exceeded", "rate_limit",
                 "limit '" STR_FMT "': %lld requests at once are running already", STR_ARG(name), (long long)rule->concurrent);
    } else {
        const struct gauge_view *g = &view->gauges[verdict - TAKE_REQUESTS];
        bool is_never = view->wait_ns == UINT64_MAX;
        req_fail(r, 429, "rate_limit_error", "rate_limit_exceeded", "rate_limit",
                 is_never ? "limit '" STR_FMT "': this request alone has more %s than the %lld that %llu seconds allow"
                          : "limit '" STR_FMT "': no more %s than %lld in %llu seconds; try again later",
                 STR_ARG(name), what[verdict], (long long)g->most, (unsigned long long)(rule->window_ns / NS_PER_S));
        r->fail.no_retry = is_never;
    }
    r->fail.retry_after_ns = view->wait_ns == UINT64_MAX ? 0 : view->wait_ns ? view->wait_ns : NS_PER_S;
    return -1;
}

/* ---- the order of models ---- */

static void order_put(struct req *r, unsigned at, const struct model *m, const struct model_ref *ref)
{
    r->order[at] = m;
    if (r->refs)
        r->refs[at] = ref;
}

/* Room for the models that a budget names besides. */
static void order_widen(struct req *r, const struct strings *more)
{
    const struct model **order = ARENA_ARRAY(r->a, const struct model *, r->n_order + more->n);
    const struct model_ref **refs = ARENA_ARRAY(r->a, const struct model_ref *, r->n_order + more->n);
    for (unsigned i = 0; i < r->n_order; i++) {
        order[i] = r->order[i];
        refs[i] = r->refs ? r->refs[i] : NULL;
    }
    r->order = order;
    r->refs = refs;
    for (size_t i = 0; i < more->n; i++) {
        const struct model *m = map_get(&r->snap->models, more->items[i]);
        bool is_there = !m;
        for (unsigned k = 0; k < r->n_order; k++)
            is_there |= r->order[k] == m;
        if (!is_there)
            order_put(r, r->n_order++, m, NULL);
    }
}

static double most_cost(const struct req *r, const struct reservation *v, const struct model *m)
{
    double cost = price_most(m, v->input, v->most_output, r->facts.now_ns);
    return cost == cost ? cost : 0;             /* no price: ours to run */
}

static void order_cheapest(struct req *r, const struct reservation *v)
{
    for (unsigned i = 1; i < r->n_order; i++)   /* a handful, stable */
        for (unsigned k = i; k > 0 && most_cost(r, v, r->order[k]) < most_cost(r, v, r->order[k - 1]); k--) {
            const struct model *m = r->order[k];
            const struct model_ref *ref = r->refs ? r->refs[k] : NULL;
            order_put(r, k, r->order[k - 1], r->refs ? r->refs[k - 1] : NULL);
            order_put(r, k - 1, m, ref);
        }
}

static void order_remove(struct req *r, unsigned at)
{
    for (unsigned i = at + 1; i < r->n_order; i++)
        order_put(r, i - 1, r->order[i], r->refs ? r->refs[i] : NULL);
    r->n_order--;
}

/* The other models may be tried when the first fails. What they may cost more is held, too; those that do not fit leave. */
static void tail_fit(struct req *r, struct reservation *v, bool forced)
{
    for (unsigned i = 1; i < r->n_order; i++) {
        bool ok = true;
        for (unsigned k = 0; k < v->n && ok; k++) {
            struct hold *h = &v->holds[k];
            if (!h->rule->has_money)
                continue;
            struct take t = take_for(r, v, h->rule, r->order[i], 0);
            ok = t.money <= h->money || meter_extend(h, t.money - h->money, forced && !h->rule->is_hard);
        }
        if (!ok)
            order_remove(r, i--);
    }
}

static enum verdict reroute(struct req *r, struct reservation *v, uint64_t now, const struct limit_rule **failed,
                            struct meter_view *view)
{
    const struct limit_rule *first = *failed;
    const struct meter_view first_view = *view;
    order_widen(r, &first->reroute_to);
    if (key_permits(r) < 0)
        return TAKE_OK;                         /* has failed */
    order_cheapest(r, v);
    for (unsigned i = 0; i < r->n_order; i++) {
        enum verdict verdict = take_all(r, v, r->order[i], false, now, failed, view);
        if (verdict == TAKE_OK) {
            while (i-- > 0)                     /* cheaper ones that failed for another reason */
                order_remove(r, 0);
            r->method = "budget";
            tail_fit(r, v, false);
            return TAKE_OK;
        }
        if (verdict != TAKE_MONEY)
            return verdict;
    }
    enum verdict verdict = take_all(r, v, r->order[0], true, now, failed, view);
    if (verdict == TAKE_OK) {                   /* only soft budgets stood in the way */
        r->method = "budget";
        r->n_order = 1;
    } else if (verdict == TAKE_MONEY && *failed == first) {
        *view = first_view;
    }
    return verdict;
}

/* ---- admission ---- */

static void give_back(void *arg)                /* with the request's arena */
{
    struct reservation *v = arg;
    if (!v->is_over)
        for (unsigned i = 0; i < v->n; i++) {
            int64_t start;
            const struct take nothing = { .tokens = { [GAUGE_REQUESTS] = 1 }, .now = clock_now(),
                                          .wall = (int64_t)(clock_wall() / NS_PER_S) };
            meter_settle(&v->holds[i], &nothing, &start);
        }
    budget_set_drop(v->set);
}

static unsigned rules_collect(const struct limit_rules *rules, const struct req *r, const struct limit_rule **to)
{
    unsigned n = 0;
    for (unsigned i = 0; rules && i < rules->n; i++)
        if (rule_matches(&rules->items[i], r))
            to[n++] = &rules->items[i];
    return n;
}

int limit_admit(struct req *r)
{
    if (key_permits(r) < 0)
        return -1;
    struct budget_set *set;
    const struct limit_rules *own = r->snap->limits, *made = budget_set_hold(&set);
    const struct key *key = r->caller ? r->caller->key : NULL;
    unsigned most = (own ? own->n : 0) + (made ? made->n : 0) + (key ? key->n_rules : 0);
    if (most == 0 || r->n_order == 0) {
        budget_set_drop(set);
        return 0;
    }
    struct reservation *v = ARENA_NEW(r->a, struct reservation);
    v->set = set;
    v->all = ARENA_ARRAY(r->a, const struct limit_rule *, most);
    v->n_all = rules_collect(own, r, v->all);
    v->n_all += rules_collect(made, r, v->all + v->n_all);
    for (unsigned i = 0; key && i < key->n_rules; i++)
        v->all[v->n_all++] = &key->rules[i];
    arena_defer(r->a, give_back, v);
    if (v->n_all == 0)
        return 0;
    v->rules = ARENA_ARRAY(r->a, const struct limit_rule *, v->n_all);
    v->holds = ARENA_ARRAY(r->a, struct hold, v->n_all);
    r->reservation = v;
    if (!r->facts.now_ns)
        r->facts.now_ns = clock_wall();
    estimate(r, v);
    uint64_t now = clock_now();
    const struct limit_rule *failed = NULL;
    struct meter_view view;
    enum verdict verdict = take_all(r, v, r->order[0], false, now, &failed, &view);
    if (verdict == TAKE_OK)
        tail_fit(r, v, false);
    else if (verdict == TAKE_MONEY && failed->reroutes)
        verdict = reroute(r, v, now, &failed, &view);
    if (r->fail.status)
        return -1;
    if (verdict == TAKE_OK)
        return 0;
    return verdict == TAKE_MONEY ? refuse_money(r, failed, &view) : refuse_rate(r, failed, verdict, &view);
}

/* ---- settling ---- */

static void ledger_write(const struct req *r, const struct usage *u, int64_t micro, const struct ledger_charge *charges,
                         unsigned n)
{
    static const struct caller nobody;
    const struct caller *c = r->caller ? r->caller : &nobody;
    struct ledger *l = books();
    if (!l)
        return;
    struct ledger_entry e = {
        .day = (int64_t)((r->facts.now_ns ? r->facts.now_ns : clock_wall()) / NS_PER_S / 86400), .key = c->key_id,
        .user = r->facts.user_id, .team = c->team, .project = c->project, .model = r->model->name, .requests = 1,
        .prompt_tokens = u->prompt_tokens, .cached_tokens = u->cached_tokens, .cache_write_tokens = u->cache_write_tokens,
        .completion_tokens = u->completion_tokens, .reasoning_tokens = u->reasoning_tokens, .micro_usd = micro,
    };
    ledger_add(l, &e, charges, n);
}

/* Of an answer whose provider said nothing: four bytes a token, as elsewhere. */
static struct usage guess_usage(const struct req *r)
{
    return (struct usage){ .prompt_tokens = (int64_t)r->facts.prompt_tokens,
                           .completion_tokens = r->endpoint == ENDPOINT_EMBEDDINGS ? 0 : (int64_t)(r->relayed_bytes / 4) };
}

void limit_settle(struct req *r, const struct usage *u, double cost)
{
    struct reservation *v = r->reservation;
    struct ledger_charge charges[LEDGER_CHARGES_MAX];
    unsigned n = 0;
    static const struct usage none;
    struct usage guess;
    bool is_answered = r->model && r->status == 200 && r->relayed_bytes && r->response_path
                       && strcmp(r->response_path, "upstream") == 0;
    if (u && is_answered && !u->is_known && !u->completion_tokens) {    /* a provider that does not count is not free */
        guess = guess_usage(r);
        u = &guess;
        cost = price_of(r->model, u, r->facts.now_ns);
    }
    bool is_used = u && r->model && (u->prompt_tokens > 0 || u->completion_tokens > 0);
    const struct usage *used = is_used ? u : &none;
    int64_t micro = is_used ? micro_of(r, r->model, cost) : 0;
    struct take truth = { .tokens = { !r->is_inner, used->prompt_tokens, used->completion_tokens,
                                      used->prompt_tokens + used->completion_tokens }, .money = micro };
    if (v && !v->is_over) {
        truth.now = clock_now();
        truth.wall = (int64_t)(clock_wall() / NS_PER_S);
        v->is_over = true;
        bool is_other = r->model && r->model != v->model;
        for (unsigned i = 0; i < v->n_all; i++) {
            const struct limit_rule *rule = v->all[i];
            char text[1024];
            struct hold *h = NULL;
            int64_t start = 0;
            for (unsigned k = 0; k < v->n && !h; k++)
                h = v->rules[k] == rule ? &v->holds[k] : NULL;
            bool is_charged = true;
            if (is_other && is_of_model(rule)) {        /* another model answered: its meters pay */
                if (h)
                    meter_undo(h);
                is_charged = is_used && fits(rule->match.model, r->model->name)
                             && meter_charge(rule, subject_of(rule, r, r->model, text), &truth, &start);
            } else if (h && h->meter) {
                meter_settle(h, &truth, &start);
            } else {
                is_charged = false;
            }
            if (is_charged && rule->has_money && micro > 0 && n < LEDGER_CHARGES_MAX) {
                str subject = subject_of(rule, r, is_other ? r->model : v->model, text);
                charges[n++] = (struct ledger_charge){ rule->name, arena_str(r->a, subject), start, micro };
            }
        }
    }
    if (!is_used)
        return;
    if (u->is_known && u->completion_tokens > 0)
        typical_learn(r->model, u->completion_tokens);
    ledger_write(r, u, micro, charges, n);
}

/* ---- headers ---- */

bool limit_has_headers(const struct req *r)
{
    const struct reservation *v = r->reservation;
    for (int g = 0; v && g < GAUGE_N; g++)
        if (v->told[g].most)
            return true;
    return false;
}

/* "1s", "6m0s", "150ms": as OpenAI writes them. */
static void duration_put(struct buf *out, uint64_t ns)
{
    uint64_t ms = (ns + NS_PER_MS - 1) / NS_PER_MS, s = (ms + 999) / 1000;
    if (ms < 1000) {
        buf_u64(out, ms);
        buf_str(out, S("ms"));
        return;
    }
    if (s >= 3600) {
        buf_u64(out, s / 3600);
        buf_char(out, 'h');
    }
    if (s >= 60) {
        buf_u64(out, s / 60 % 60);
        buf_char(out, 'm');
    }
    buf_u64(out, s % 60);
    buf_char(out, 's');
}

static void number_line(struct buf *out, str prefix, str verb, const char *suffix, int64_t v)
{
    buf_str(out, prefix);
    buf_str(out, verb);
    buf_str(out, str_of(suffix));
    buf_str(out, S(": "));
    buf_u64(out, (uint64_t)v);
    buf_str(out, S("\r\n"));
}

static void openai_lines(struct buf *out, const char *suffix, const struct gauge_view *g)
{
    number_line(out, S("x-ratelimit-"), S("limit"), suffix, g->most);
    number_line(out, S("x-ratelimit-"), S("remaining"), suffix, g->left);
    buf_str(out, S("x-ratelimit-reset"));
    buf_str(out, str_of(suffix));
    buf_str(out, S(": "));
    if (*suffix)
        duration_put(out, g->reset_ns);
    else                                        /* VSR's: seconds */
        buf_u64(out, (g->reset_ns + NS_PER_S - 1) / NS_PER_S);
    buf_str(out, S("\r\n"));
}

static void anthropic_lines(struct buf *out, str kind, const struct gauge_view *g)
{
    char time[32];
    uint64_t at = (clock_wall() + g->reset_ns + NS_PER_S - 1) / NS_PER_S * NS_PER_S;
    number_line(out, S("anthropic-ratelimit-"), kind, "-limit", g->most);
    number_line(out, S("anthropic-ratelimit-"), kind, "-remaining", g->left);
    size_t n = clock_iso(at, time);
    buf_str(out, S("anthropic-ratelimit-"));
    buf_str(out, kind);
    buf_str(out, S("-reset: "));
    buf_str(out, (str){ time, n });
    buf_str(out, S("\r\n"));
}

void limit_headers(const struct req *r, bool is_anthropic, struct buf *out)
{
    const struct reservation *v = r->reservation;
    if (!v)
        return;
    const struct gauge_view *requests = &v->told[GAUGE_REQUESTS], *tokens = &v->told[GAUGE_TOKENS];
    if (is_anthropic) {
        static const str kinds[GAUGE_N] = { { "requests", 8 }, { "input-tokens", 12 }, { "output-tokens", 13 }, { "tokens", 6 } };
        for (int g = 0; g < GAUGE_N; g++)
            if (v->told[g].most)
                anthropic_lines(out, kinds[g], &v->told[g]);
    } else {
        if (!tokens->most)
            tokens = v->told[GAUGE_INPUT].most ? &v->told[GAUGE_INPUT] : &v->told[GAUGE_OUTPUT];
        if (requests->most)
            openai_lines(out, "-requests", requests);
        if (tokens->most)
            openai_lines(out, "-tokens", tokens);
    }
    if (v->tells_windows && (requests->most || tokens->most))
        openai_lines(out, "", requests->most ? requests : tokens);
}
