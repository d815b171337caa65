/* pipeline/budget.c */
#include "pipeline/budget.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "pipeline/key.h"
#include "pipeline/meter.h"
#include "pipeline/snap.h"
#include "store/ledger.h"

enum { BUDGETS_MAX = 10000 };       /* made at run time: each request looks at all of them */

/* ---- the calendar, UTC ---- */

static const char *const names[PERIOD_N] = { "minute", "hour", "day", "week", "month", "total" };

const char *period_name(enum period p)
{
    return names[p];
}

bool period_parse(str text, enum period *out)
{
    for (unsigned i = 0; i < PERIOD_N; i++)
        if (str_eq(text, str_of(names[i]))) {
            *out = (enum period)i;
            return true;
        }
    return false;
}

static int64_t floor_to(int64_t v, int64_t step)
{
    int64_t rest = v % step;
    return v - (rest < 0 ? rest + step : rest);
}

int64_t period_start(enum period p, int64_t seconds)
{
    struct tm t;
    time_t at = seconds;
    switch (p) {
    case PERIOD_MINUTE: return floor_to(seconds, 60);
    case PERIOD_HOUR:   return floor_to(seconds, 3600);
    case PERIOD_DAY:    return floor_to(seconds, 86400);
    case PERIOD_WEEK:   return floor_to(seconds - 4 * 86400, 7 * 86400) + 4 * 86400;   /* 1970-01-05 was a Monday */
    case PERIOD_MONTH:
        gmtime_r(&at, &t);
        t.tm_mday = 1;
        t.tm_hour = t.tm_min = t.tm_sec = 0;
        return timegm(&t);
    default: return 0;
    }
}

int64_t period_end(enum period p, int64_t start)
{
    static const int64_t seconds[PERIOD_N] = { 60, 3600, 86400, 7 * 86400 };
    if (p == PERIOD_TOTAL)
        return INT64_MAX;
    return p == PERIOD_MONTH ? period_start(p, start + 31 * 86400) : start + seconds[p];
}

/* ---- the ledger ---- */

static _Atomic(struct ledger *) ledger;

struct ledger *books(void)
{
    return atomic_load_explicit(&ledger, memory_order_acquire);
}

static void charge_load(void *arg, const struct ledger_charge *c)
{
    size_t *lost = arg;
    *lost += !meter_load(c->budget, c->subject, c->period_start, c->micro_usd);
}

/* ---- budgets made at run time ---- */

struct budget_set {                 /* immutable but for refs; one reference is `present`'s */
    struct arena *a;
    struct limit_rules rules;       /* items[i] is compiled from budgets[i] */
    const struct budget_conf **budgets;
    str *bodies;                    /* JSON, as kept in the ledger */
    atomic_uint refs;
};

static pthread_mutex_t set_lock = PTHREAD_MUTEX_INITIALIZER;      /* `present`: swapping and taking hold */
static pthread_mutex_t change_lock = PTHREAD_MUTEX_INITIALIZER;   /* one change at a time; never taken on a loop */
static _Atomic(struct budget_set *) present;

const struct limit_rules *budget_set_hold(struct budget_set **held)
{
    *held = NULL;
    if (!atomic_load_explicit(&present, memory_order_relaxed))
        return NULL;
    pthread_mutex_lock(&set_lock);
    struct budget_set *s = atomic_load(&present);
    if (s)
        atomic_fetch_add(&s->refs, 1);
    pthread_mutex_unlock(&set_lock);
    *held = s;
    return s ? &s->rules : NULL;
}

void budget_set_drop(struct budget_set *held)
{
    if (held && atomic_fetch_sub(&held->refs, 1) == 1)
        arena_free(held->a);
}

static void set_publish(struct budget_set *s)
{
    pthread_mutex_lock(&set_lock);
    struct budget_set *old = atomic_exchange(&present, s);
    pthread_mutex_unlock(&set_lock);
    budget_set_drop(old);
}

/* One budget from its JSON, checked. */
static const struct budget_conf *budget_decode(struct arena *a, const struct value *body, struct limit_rule *rule, struct err *e)
{
    struct findings found = { .a = a };
    struct budget_conf *c = ARENA_NEW(a, struct budget_conf);
    bool ok = body && body->kind == VALUE_MAP && field_decode(a, &budget_fields, body, S(""), c, &found);
    for (size_t i = 0; i < found.n; i++)        /* a typo must not make a budget that holds nobody */
        if (found.items[i].severity != SEVERITY_INFO) {
            err_set(e, "%s%s" STR_FMT, found.items[i].path.len ? arena_cstr(a, found.items[i].path) : "",
                    found.items[i].path.len ? ": " : "", STR_ARG(found.items[i].text));
            return NULL;
        }
    if (!ok) {
        err_set(e, "a budget is an object with name and amount_usd");
        return NULL;
    }
    if (!budget_conf_check(c, e) || limit_rule_of_budget(a, c, rule, e) < 0)
        return NULL;
    return c;
}

static bool set_add(struct budget_set *s, str body, struct err *e)
{
    struct limit_rule rule;
    str kept = arena_str(s->a, body);
    const struct budget_conf *c = budget_decode(s->a, yaml_parse(s->a, kept, "budget", e), &rule, e);
    if (!c)
        return false;
    size_t n = s->rules.n, k = n, j = n;
    *PUSH(s->a, s->bodies, k) = kept;
    *PUSH(s->a, s->budgets, j) = c;
    *PUSH(s->a, s->rules.items, n) = rule;
    s->rules.n = (unsigned)n;
    return true;
}

static struct budget_set *set_new(void)
{
    struct arena *a = arena_new();
    if (!a)
        return NULL;
    struct budget_set *s = ARENA_NEW(a, struct budget_set);
    s->a = a;
    atomic_init(&s->refs, 1);
    return s;
}

/* The present set without `name`, and with `body` unless it is "". */
static int set_change(str name, str body, struct err *e)
{
    struct budget_set *old = atomic_load(&present), *s = set_new();     /* change_lock: nobody swaps it now */
    if (!s)
        return err_set(e, "out of memory");
    for (unsigned i = 0; old && i < old->rules.n; i++)
        if (!str_eq(old->budgets[i]->name, name) && !set_add(s, old->bodies[i], e))
            goto drop;
    if (body.len && s->rules.n >= BUDGETS_MAX) {
        err_set(e, "more than %d budgets", BUDGETS_MAX);
        goto drop;
    }
    if (body.len && !set_add(s, body, e))
        goto drop;
    if (s->rules.n == 0) {
        arena_free(s->a);
        s = NULL;
    }
    set_publish(s);
    return 0;
drop:
    arena_free(s->a);
    return -1;
}

static bool set_has(str name)
{
    const struct budget_set *s = atomic_load(&present);
    for (unsigned i = 0; s && i < s->rules.n; i++)
        if (str_eq(s->budgets[i]->name, name))
            return true;
    return false;
}

static int put(str name, const struct value *body, bool is_new, struct err *e)
{
    struct arena *a = arena_new();
    struct limit_rule rule;
    struct buf json = { 0 };
    int rc = a ? 0 : err_set(e, "out of memory");
    const struct budget_conf *c = rc == 0 ? budget_decode(a, body, &rule, e) : NULL;
    if (!c)
        rc = -1;
    else if (name.len && !str_eq(name, c->name))
        rc = err_set(e, "the path says " STR_FMT ", the body " STR_FMT, STR_ARG(name), STR_ARG(c->name));
    else if (set_has(c->name) == is_new)
        rc = is_new ? -EEXIST : -ENOENT;
    if (rc == 0) {
        value_to_json(body, &json);
        if (ledger_put(books(), S("budget"), c->name, buf_view(&json)) < 0)
            rc = err_set(e, "the state file could not be written");
        else
            rc = set_change(c->name, buf_view(&json), e);
    }
    buf_free(&json);
    arena_free(a);
    return rc;
}

int budgets_put(str name, const struct value *body, bool is_new, struct err *e)
{
    pthread_mutex_lock(&change_lock);
    int rc = put(name, body, is_new, e);
    pthread_mutex_unlock(&change_lock);
    return rc;
}

int budgets_delete(str name, struct err *e)
{
    pthread_mutex_lock(&change_lock);
    int rc = set_has(name) ? ledger_remove(books(), S("budget"), name) : -ENOENT;
    if (rc == 0)
        rc = set_change(name, S(""), e);
    else if (rc == -EIO)
        err_set(e, "the state file could not be written");
    pthread_mutex_unlock(&change_lock);
    return rc;
}

/* ---- telling ---- */

static void usd(struct json_writer *w, const char *key, int64_t micro)
{
    put_double(w, str_of(key), (double)micro / 1e6);
}

struct subjects { struct json_writer *w; int64_t amount, n; };

static void subject_write(void *arg, str subject, int64_t spent, int64_t reserved)
{
    struct subjects *s = arg;
    if (s->n++ >= 1000)
        return;
    jw_begin(s->w, '{');
    put_str(s->w, S("subject"), subject);
    usd(s->w, "spent_usd", spent);
    usd(s->w, "reserved_usd", reserved);
    usd(s->w, "left_usd", s->amount > spent + reserved ? s->amount - spent - reserved : 0);
    jw_end(s->w, '}');
}

static void match_write(struct json_writer *w, const struct match_conf *m)
{
    const struct { const char *key; str value; } lines[] = {
        { "key", m->key }, { "user", m->user }, { "team", m->team }, { "group", m->group }, { "project", m->project },
        { "model", m->model }, { "entrypoint", m->entrypoint },
    };
    put_open(w, S("match"), '{');
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (lines[i].value.len)
            put_str(w, str_of(lines[i].key), lines[i].value);
    jw_end(w, '}');
}

static void budget_write(struct json_writer *w, const struct budget_conf *c, const struct limit_rule *rule, const char *source)
{
    int64_t now = (int64_t)(clock_wall() / NS_PER_S);
    char time[32];
    jw_begin(w, '{');
    put_str(w, S("name"), c->name);
    if (c->description.len)
        put_str(w, S("description"), c->description);
    put_str(w, S("source"), str_of(source));
    match_write(w, &c->match);
    put_strs(w, S("per"), c->per.items, c->per.n);
    usd(w, "amount_usd", rule->amount);
    put_str(w, S("period"), str_of(names[rule->period]));
    put_str(w, S("on_budget"), rule->reroutes ? S("reroute") : S("refuse"));
    put_bool(w, S("hard"), rule->is_hard);
    put_str(w, S("reserve"), rule->reserves_expected ? S("expected") : S("max_tokens"));
    put_strs(w, S("reroute_to"), c->money.reroute_to.items, c->money.reroute_to.n);
    if (rule->period != PERIOD_TOTAL) {
        jw_key(w, S("resets_at"));
        uint64_t end = (uint64_t)period_end(rule->period, period_start(rule->period, now)) * NS_PER_S;
        jw_str(w, (str){ time, clock_iso(end, time) });
    }
    struct subjects subjects = { w, rule->amount, 0 };
    put_open(w, S("subjects"), '[');
    meters_money(rule, now, subject_write, &subjects);
    jw_end(w, ']');
    if (subjects.n > 1000)
        put_int(w, S("subjects_left_out"), subjects.n - 1000);
    jw_end(w, '}');
}

bool budgets_write(str name, const struct snap *s, struct json_writer *w)
{
    struct budget_set *held;
    struct err e = { 0 };
    struct arena *a = arena_new();
    bool is_found = name.len == 0;
    budget_set_hold(&held);
    for (size_t i = 0; a && s && i < s->config->tenancy.n_budgets; i++) {
        const struct budget_conf *c = &s->config->tenancy.budgets[i];
        struct limit_rule rule;
        if ((name.len && !str_eq(name, c->name)) || limit_rule_of_budget(a, c, &rule, &e) < 0)
            continue;
        is_found = true;
        budget_write(w, c, &rule, "configuration");
    }
    for (unsigned i = 0; held && i < held->rules.n; i++)
        if (name.len == 0 || str_eq(name, held->budgets[i]->name)) {
            is_found = true;
            budget_write(w, held->budgets[i], &held->rules.items[i], "api");
        }
    budget_set_drop(held);
    arena_free(a);
    return is_found;
}

/* ---- start and end ---- */

struct loading_budgets { struct budget_set *set; size_t bad; struct err first; };

static void budget_load(void *arg, str id, str body)
{
    struct loading_budgets *l = arg;
    struct err e = { 0 };
    (void)id;
    if (!set_add(l->set, body, &e)) {
        l->bad++;
        err_set(&l->first, "budget " STR_FMT " of the state file: %s", STR_ARG(id), e.text);
    }
}

int books_open(const struct config *c, struct err *e)
{
    int64_t now = (int64_t)(clock_wall() / NS_PER_S);
    size_t lost = 0;
    struct loading_budgets load = { .set = set_new() };
    struct ledger *l = load.set ? ledger_open(c->tenancy.state.path, e) : NULL;
    if (!l) {
        if (load.set)
            arena_free(load.set->a);
        return err_set(e, "out of memory");     /* the first sentence stays */
    }
    atomic_store_explicit(&ledger, l, memory_order_release);
    int rc = ledger_charges(l, period_start(PERIOD_MONTH, now) - 8 * 86400, charge_load, &lost);
    if (rc == 0)
        rc = ledger_records(l, S("budget"), budget_load, &load);
    if (rc < 0)
        err_set(e, "the state file could not be read");
    if (load.bad || lost)
        rc = load.bad ? err_set(e, "%s", load.first.text) : err_set(e, "more than %d budgets have spent something", METERS_MAX);
    if (rc == 0 && load.set->rules.n)
        set_publish(load.set);
    else
        arena_free(load.set->a);
    if (rc == 0)
        rc = keys_load(e);
    if (rc == 0)
        ledger_prune(l, now / 86400 - (int64_t)(c->tenancy.state.keep_ns / NS_PER_S / 86400));
    else
        books_close();
    return rc;
}

void books_close(void)
{
    ledger_close(atomic_exchange(&ledger, NULL));
    set_publish(NULL);
}
