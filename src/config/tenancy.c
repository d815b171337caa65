/* config/tenancy.c -- the tables of keys, issuers, quotas and budgets, and what tables cannot see about them.
 *
 * One table for a key, one for a budget: the configuration file, the management API and the state file all speak it. */
#include "config/tenancy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>

#include "base/keys.h"
#include "base/map.h"
#include "config/tables.h"

#define OURS .flags = FIELD_EXTENSION
#define REQUIRED .flags = FIELD_REQUIRED
#define OPTIONAL .flags = FIELD_EXTENSION | FIELD_OPTIONAL
#define COUNTED(type_, items_, n_) \
    static_assert(offsetof(type_, n_) == offsetof(type_, items_) + sizeof(void *), "a list is a pointer and then its count")
#define AT(type_) F(FIELD_VALUE, type_, at, FIELD_KEY_PLACE, NONE, NULL)

COUNTED(struct tenancy_conf, identity.keys, identity.n_keys);
COUNTED(struct tenancy_conf, identity.issuers, identity.n_issuers);
COUNTED(struct tenancy_conf, quotas, n_quotas);
COUNTED(struct tenancy_conf, budgets, n_budgets);
COUNTED(struct tenancy_conf, limiters, n_limiters);
COUNTED(struct limiter_conf, rules, n_rules);

/* ---- limits and money ---- */

#define RATE(member_, help_) F(FIELD_INT, struct rate_conf, member_, #member_, "0", help_, .min = 0, .max = 1e15)
#define RATES \
    RATE(requests_per_minute, "requests in any minute; 0: no limit"), \
    RATE(tokens_per_minute, "tokens, prompt and answer, in any minute"), \
    RATE(input_tokens_per_minute, "prompt tokens in any minute"), \
    RATE(output_tokens_per_minute, "answer tokens in any minute"), \
    RATE(concurrent, "requests at once")
TABLE(rate, struct rate_conf, RATES);

WORDS(periods, "minute", "hour", "day", "week", "month", "total");
WORDS(on_budget, "refuse", "reroute");
WORDS(reserves, "max_tokens", "expected");
#define MONEY \
    F(FIELD_FLOAT, struct money_conf, amount_usd, "amount_usd", "-1", "US dollars in a period; negative: no budget", \
      BOUNDS(-1, 1e9)), \
    F(FIELD_ENUM, struct money_conf, period, "period", "month", "by the calendar, UTC; weeks begin on Monday", \
      .names = periods), \
    F(FIELD_ENUM, struct money_conf, on_budget, "on_budget", "refuse", \
      "reroute: to models that what is left pays for, cheapest first; refused when there are none", .names = on_budget), \
    F(FIELD_BOOL, struct money_conf, is_hard, "hard", "true", "false: never refuse; the cheapest model takes over"), \
    F(FIELD_ENUM, struct money_conf, reserve, "reserve", "max_tokens", \
      "what a request holds until it is over: the most its max_tokens can cost, or what answers of the model have cost", \
      .names = reserves), \
    F(FIELD_STRINGS, struct money_conf, reroute_to, "reroute_to", NONE, "models tried besides the decision's own")
TABLE(money, struct money_conf, MONEY);

#define MATCH(member_, help_) F(FIELD_STR, struct match_conf, member_, #member_, NONE, help_)
TABLE(match, struct match_conf,
    MATCH(key, "id of the key; globs, here and below"),
    MATCH(user, "user: the key's owner, the token's subject, or the identity header"),
    MATCH(team, "team"),
    MATCH(group, "one of the user's groups"),
    MATCH(project, "project"),
    MATCH(model, "model that answers"),
    MATCH(entrypoint, "model that was asked for"));

LINES(quota,
    F(FIELD_STR, struct quota_conf, name, "name", NONE, "of its counts; unique", REQUIRED),
    F(FIELD_STRUCT, struct quota_conf, match, "match", NONE, "whom it limits; empty: everybody", .sub = &match),
    F(FIELD_STRINGS, struct quota_conf, per, "per", NONE,
      "key, user, team, project, model: a count for each; empty: one for all"),
    F(FIELD_STRUCT, struct quota_conf, rate, "limits", NONE, "how much", .sub = &rate),
    AT(struct quota_conf));

#define BUDGET_MONEY(type_, member_, key_, default_, help_, ...) \
    F(type_, struct budget_conf, money.member_, key_, default_, help_, __VA_ARGS__)
LINES(budget,
    F(FIELD_STR, struct budget_conf, name, "name", NONE, "of its books; unique", REQUIRED),
    F(FIELD_STR, struct budget_conf, description, "description", NONE, "for people"),
    F(FIELD_STRUCT, struct budget_conf, match, "match", NONE, "whose requests it pays; empty: everybody's", .sub = &match),
    F(FIELD_STRINGS, struct budget_conf, per, "per", NONE,
      "key, user, team, project, model: the amount for each; empty: once for all"),
    BUDGET_MONEY(FIELD_FLOAT, amount_usd, "amount_usd", NONE, "US dollars in a period", .flags = FIELD_REQUIRED, BOUNDS(0, 1e9)),
    BUDGET_MONEY(FIELD_ENUM, period, "period", "month", "by the calendar, UTC; weeks begin on Monday", .names = periods),
    BUDGET_MONEY(FIELD_ENUM, on_budget, "on_budget", "refuse",
                 "reroute: to models that what is left pays for, cheapest first; refused when there are none",
                 .names = on_budget),
    BUDGET_MONEY(FIELD_BOOL, is_hard, "hard", "true", "false: never refuse; the cheapest model takes over", .flags = 0),
    BUDGET_MONEY(FIELD_ENUM, reserve, "reserve", "max_tokens",
                 "what a request holds until it is over: the most its max_tokens can cost, or what answers of the model have "
                 "cost", .names = reserves),
    BUDGET_MONEY(FIELD_STRINGS, reroute_to, "reroute_to", NONE, "models tried besides the decision's own", .flags = 0),
    AT(struct budget_conf));

/* ---- keys and issuers ---- */

#define KEY(type_, member_, key_, default_, help_, ...) F(type_, struct key_conf, member_, key_, default_, help_, __VA_ARGS__)
LINES(key,
    KEY(FIELD_STR, id, "id", NONE, "letters, digits, . _ ; part of the key itself: sbx-<id>-<secret>", REQUIRED),
    KEY(FIELD_STR, description, "description", NONE, "for people", .flags = 0),
    KEY(FIELD_SECRET, secret, "secret", NONE, "the whole key as clients send it, or the part behind sbx-<id>-", .flags = 0),
    KEY(FIELD_STR, secret_env, "secret_env", NONE, "environment variable with it", .flags = 0),
    KEY(FIELD_STR, secret_sha256, "secret_sha256", NONE, "or its hash, hex (HMAC when there is a pepper_file)", .flags = 0),
    KEY(FIELD_STR, previous_sha256, "previous_sha256", NONE, "hash of the secret before a rotation", .flags = 0),
    KEY(FIELD_STR, previous_until, "previous_until", NONE, "until when that one is good", .flags = 0),
    KEY(FIELD_STR, owner, "owner", NONE, "user who is asking", .flags = 0),
    KEY(FIELD_STR, team, "team", NONE, "their team", .flags = 0),
    KEY(FIELD_STR, project, "project", NONE, "what it is for", .flags = 0),
    KEY(FIELD_STR, role, "role", NONE, "counts as a group of role bindings", .flags = 0),
    KEY(FIELD_STRINGS, groups, "groups", NONE, "groups of role bindings and quotas", .flags = 0),
    KEY(FIELD_STRINGS, models, "models", NONE, "globs of models that may answer; empty: all", .flags = 0),
    KEY(FIELD_STRINGS, entrypoints, "entrypoints", NONE, "globs of automatic names it may ask for; empty: all", .flags = 0),
    KEY(FIELD_STR, expires, "expires", NONE, "date or time (RFC 3339)", .flags = 0),
    KEY(FIELD_STR, created, "created", NONE, "when it was made", .flags = 0),
    KEY(FIELD_BOOL, is_disabled, "disabled", "false", "refused", .flags = 0),
    KEY(FIELD_STRUCT, limits, "limits", NONE, "of this key alone", .sub = &rate),
    KEY(FIELD_STRUCT, budget, "budget", NONE, "of this key alone", .sub = &money),
    AT(struct key_conf));

#define CLAIM(member_, default_, help_) F(FIELD_STR, struct claims_conf, member_, #member_, default_, help_)
TABLE(claims, struct claims_conf,
    CLAIM(owner, "sub", "the user; dots lead into objects: realm_access.roles"),
    CLAIM(team, "team", "the team"),
    CLAIM(project, "project", "the project"),
    CLAIM(groups, "groups", "a list, or words with commas or spaces between"),
    CLAIM(role, "role", "the role"));

#define ISSUER(type_, member_, key_, default_, help_, ...) \
    F(type_, struct issuer_conf, member_, key_, default_, help_, __VA_ARGS__)
LINES(issuer,
    ISSUER(FIELD_STR, issuer, "issuer", NONE, "`iss` of its tokens, exactly", REQUIRED),
    ISSUER(FIELD_STR, jwks_url, "jwks_url", NONE, "where its public keys are", .flags = 0),
    ISSUER(FIELD_STR, jwks, "jwks", NONE, "or the keys themselves, JSON", .flags = 0),
    ISSUER(FIELD_STR, jwks_file, "jwks_file", NONE, "or a file with them", .flags = 0),
    ISSUER(FIELD_STRINGS, audience, "audience", NONE, "one of these must be in `aud`", REQUIRED),
    ISSUER(FIELD_STRINGS, algorithms, "algorithms", NONE,
           "accepted ones; empty: RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA", .flags = 0),
    ISSUER(FIELD_DURATION, leeway_ns, "leeway", "60s", "clocks may differ by so much", BOUNDS(0, 3600)),
    ISSUER(FIELD_DURATION, refresh_ns, "refresh", "10m", "between two fetches of jwks_url", BOUNDS(5, 86400)),
    ISSUER(FIELD_STRUCT, claims, "claims", NONE, "which claims say what", .sub = &claims),
    ISSUER(FIELD_STRINGS, models, "models", NONE, "globs of models that may answer its users; empty: all", .flags = 0),
    ISSUER(FIELD_STRINGS, entrypoints, "entrypoints", NONE, "globs of automatic names they may ask for; empty: all", .flags = 0),
    AT(struct issuer_conf));

const struct fields key_fields = FIELDS(struct key_conf, key_keys);
const struct fields budget_fields = FIELDS(struct budget_conf, budget_keys);
const struct fields quota_fields = FIELDS(struct quota_conf, quota_keys);
const struct fields issuer_fields = FIELDS(struct issuer_conf, issuer_keys);

/* ---- where they stand in a document ---- */

WORDS(requires, "auto", "always", "never");
#define TENANCY(type_, member_, key_, default_, help_, ...) \
    F(type_, struct draft, config.tenancy.member_, key_, default_, help_, __VA_ARGS__)
LINES(identity,
    TENANCY(FIELD_ENUM, identity.require_key, "require_key", "auto", "auto: when keys or issuers are configured",
            .names = requires, OURS),
    TENANCY(FIELD_STRINGS, identity.trusted_peers, "trusted_peers", NONE,
            "addresses (CIDR) whose identity headers are believed; empty: everybody's", OURS),
    TENANCY(FIELD_STR, identity.team_header, "team_header", "x-authz-team-id", "header with the team, from trusted peers", OURS),
    TENANCY(FIELD_STR, identity.pepper_file, "pepper_file", NONE, "file whose bytes go into the hash of every secret", OURS),
    TENANCY(FIELD_LIST, identity.keys, "keys", NONE, "virtual keys", .sub = &key_fields, OURS),
    TENANCY(FIELD_LIST, identity.issuers, "issuers", NONE, "providers of JSON Web Tokens (OIDC)", .sub = &issuer_fields, OURS));
LINES(state,
    TENANCY(FIELD_STR, state.path, "path", NONE, "SQLite file for keys, budgets and spending; empty: memory, gone at exit", OURS),
    TENANCY(FIELD_DURATION, state.keep_ns, "keep", "9600h", "how long what was spent is kept; at least two months", OURS,
            BOUNDS(5356800, 1e10)));

const struct fields identity_fields = FIELDS(struct draft, identity_keys);
const struct fields state_fields = FIELDS(struct draft, state_keys);

/* ---- services.ratelimit ---- */

#define WINDOW(type_, member_, key_, help_, ...) F(type_, struct window_conf, member_, key_, NONE, help_, __VA_ARGS__)
TABLE(window_match, struct window_conf,
    WINDOW(FIELD_STR, user, "user", "user, * any", .flags = 0),
    WINDOW(FIELD_STR, group, "group", "group, * any", .flags = 0),
    WINDOW(FIELD_STR, model, "model", "model, * any", .flags = 0));
WORDS(units, "second", "minute", "hour", "day");
TABLE(window, struct window_conf,
    WINDOW(FIELD_STR, name, "name", "name of the rule", .flags = 0),
    GROUP("match", &window_match, "whom it counts; empty: everybody"),
    WINDOW(FIELD_INT, requests, "requests_per_unit", "requests", NOT_NEGATIVE),
    WINDOW(FIELD_INT, tokens, "tokens_per_unit", "tokens", NOT_NEGATIVE),
    WINDOW(FIELD_ENUM, unit, "unit", "window", .names = units),
    AT(struct window_conf));
WORDS(limiter_types, "local-limiter", "envoy-ratelimit");
TABLE(limiter, struct limiter_conf,
    F(FIELD_ENUM, struct limiter_conf, type, "type", NONE, "who counts", .names = limiter_types),
    F(FIELD_LIST, struct limiter_conf, rules, "rules", NONE, "local-limiter: the limits", .sub = &window),
    KEY_TEXT("address", NONE, "envoy-ratelimit: host:port"),
    KEY_TEXT("domain", NONE, "envoy-ratelimit: domain"),
    AT(struct limiter_conf));
LINES(ratelimit,
    TENANCY(FIELD_BOOL, fail_open, "fail_open", "false", "let requests through when a limiter fails", .flags = 0),
    TENANCY(FIELD_LIST, limiters, "providers", NONE, "limiters, all must agree", .sub = &limiter));
const struct fields ratelimit_fields = FIELDS(struct draft, ratelimit_keys);

/* ---- what tables cannot see ---- */

static bool is_key_id(str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_'))
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

bool key_conf_check(const struct key_conf *k, struct err *e)
{
    int64_t t;
    if (!is_key_id(k->id))
        return err_set(e, "id: 1 to 64 letters, digits, dots or underscores, not \"" STR_FMT "\"",
                       STR_ARG(str_upto(k->id, 80))) == 0;
    if (k->expires.len && !date_parse(k->expires, &t))
        return err_set(e, "expires: \"" STR_FMT "\" is no date", STR_ARG(str_upto(k->expires, 80))) == 0;
    if (k->previous_until.len && !date_parse(k->previous_until, &t))
        return err_set(e, "previous_until: \"" STR_FMT "\" is no date", STR_ARG(str_upto(k->previous_until, 80))) == 0;
    return true;
}

static bool per_check(const struct strings *per, struct err *e)
{
    static const char *const words[] = { "key", "user", "team", "project", "model" };
    for (size_t i = 0; i < per->n; i++) {
        bool ok = false;
        for (size_t k = 0; k < COUNT_OF(words); k++)
            ok |= str_eq(per->items[i], str_of(words[k]));
        if (!ok)
            return err_set(e, "per: \"" STR_FMT "\" is none of key, user, team, project, model",
                           STR_ARG(str_upto(per->items[i], 80))) == 0;
    }
    return true;
}

bool budget_conf_check(const struct budget_conf *b, struct err *e)
{
    if (b->name.len == 0 || b->name.len > 128)
        return err_set(e, "name: 1 to 128 bytes") == 0;
    return per_check(&b->per, e);
}

static void bad(struct loading *l, struct place at, str path, const struct err *e)
{
    finding_add(l->out, "bad-value", SEVERITY_ERROR, at, path, S(""), "%s", e->text);
}

static void unset(struct loading *l, const struct key_conf *k, str path)
{
    finding_add(l->out, "unset-variable", SEVERITY_WARNING, k->at, path, S("set it before serving"),
                "the environment variable " STR_FMT " is not set; nobody can use the key `" STR_FMT "`", STR_ARG(k->secret_env),
                STR_ARG(k->id));
}

static void keys_complete(struct loading *l, struct identity_conf *c)
{
    struct map seen = { .a = l->a };
    for (size_t i = 0; i < c->n_keys; i++) {
        struct key_conf *k = &c->keys[i];
        struct err e = { 0 };
        str path = arena_printf(l->a, "global.identity.keys[%zu]", i);
        if (!key_conf_check(k, &e))
            bad(l, k->at, path, &e);
        if (!map_put(&seen, k->id, k))
            finding_add(l->out, "duplicate-name", SEVERITY_ERROR, k->at, path, S("remove one"),
                        "another key is already called `" STR_FMT "`", STR_ARG(k->id));
        bool needs_secret = k->secret.len == 0 && k->secret_sha256.len == 0;
        if (needs_secret && k->secret_env.len) {
            const char *text = l->env(arena_cstr(l->a, k->secret_env));
            k->secret = arena_str(l->a, str_trim(str_of(text)));
            if (k->secret.len == 0)
                unset(l, k, path);
        } else if (needs_secret) {
            finding_add(l->out, "missing-key", SEVERITY_ERROR, k->at, path, S("secret_env: NAME keeps it out of the file"),
                        "a key needs `secret`, `secret_env` or `secret_sha256`");
        }
    }
}

static void issuers_check(struct loading *l, const struct identity_conf *c)
{
    for (size_t i = 0; i < c->n_issuers; i++) {
        const struct issuer_conf *one = &c->issuers[i];
        str path = arena_printf(l->a, "global.identity.issuers[%zu]", i);
        if ((one->jwks_url.len > 0) + (one->jwks.len > 0) + (one->jwks_file.len > 0) != 1)
            finding_add(l->out, "missing-key", SEVERITY_ERROR, one->at, path, S("jwks_url is what OIDC discovery calls jwks_uri"),
                        "an issuer needs one of `jwks_url`, `jwks` and `jwks_file`");
        if (one->jwks_url.len && !str_starts(one->jwks_url, S("https://")) && !str_starts(one->jwks_url, S("http://")))
            finding_add(l->out, "bad-value", SEVERITY_ERROR, one->at, path, S(""),
                        "`jwks_url` must start with https:// or http://");
        if (one->audience.n == 0)
            finding_add(l->out, "missing-key", SEVERITY_ERROR, one->at, path, S("the client id, or the gateway's own name"),
                        "without `audience` a token for somebody else's service would do here");
    }
    for (size_t i = 0; i < c->trusted_peers.n; i++) {
        struct cidr net;
        if (!cidr_parse(c->trusted_peers.items[i], &net))
            finding_add(l->out, "bad-value", SEVERITY_ERROR, (struct place){ 0 }, S("global.identity.trusted_peers"),
                        S("10.0.0.0/8, 192.0.2.7, fd00::/8"), "\"" STR_FMT "\" is no network",
                        STR_ARG(str_upto(c->trusted_peers.items[i], 80)));
    }
}

static void names_check(struct loading *l, const struct tenancy_conf *c)
{
    struct map seen = { .a = l->a };
    for (size_t i = 0; i < c->n_quotas; i++) {
        struct err e = { 0 };
        str path = arena_printf(l->a, "global.quotas[%zu]", i);
        if (!per_check(&c->quotas[i].per, &e))
            bad(l, c->quotas[i].at, path, &e);
        if (!map_put(&seen, c->quotas[i].name, l))
            finding_add(l->out, "duplicate-name", SEVERITY_ERROR, c->quotas[i].at, path, S("counts are found by it"),
                        "another quota is already called `" STR_FMT "`", STR_ARG(c->quotas[i].name));
    }
    seen = (struct map){ .a = l->a };
    for (size_t i = 0; i < c->n_budgets; i++) {
        struct err e = { 0 };
        str path = arena_printf(l->a, "global.budgets[%zu]", i);
        if (!budget_conf_check(&c->budgets[i], &e))
            bad(l, c->budgets[i].at, path, &e);
        if (!map_put(&seen, c->budgets[i].name, l))
            finding_add(l->out, "duplicate-name", SEVERITY_ERROR, c->budgets[i].at, path, S("books are found by it"),
                        "another budget is already called `" STR_FMT "`", STR_ARG(c->budgets[i].name));
    }
    for (size_t i = 0; i < c->n_limiters; i++)
        if (str_eq(c->limiters[i].type, S("envoy-ratelimit")))
            finding_add(l->out, "not-built", SEVERITY_WARNING, c->limiters[i].at,
                        arena_printf(l->a, "global.services.ratelimit.providers[%zu]", i),
                        S("local-limiter counts in this process"), "limits of an Envoy rate limit service are not asked");
}

static int period_order(const void *a, const void *b)
{
    const struct pricing_conf *x = a, *y = b;
    return (x->from_s > y->from_s) - (x->from_s < y->from_s);
}

static void prices_complete(struct loading *l, bool counts_money)
{
    struct config *c = &l->draft->config;
    for (size_t i = 0; i < c->n_models; i++) {
        struct pricing_conf *p = &c->models[i].pricing;
        str path = arena_printf(l->a, "providers.models[%zu].pricing", i);
        for (size_t k = 0; k < p->n_periods; k++) {
            p->periods[k].is_set = true;
            p->periods[k].currency = p->currency;
            if (!date_parse(p->periods[k].from, &p->periods[k].from_s))
                finding_add(l->out, "bad-value", SEVERITY_ERROR, c->models[i].at, path, S("2026-05-01"),
                            "periods[%zu].from: \"" STR_FMT "\" is no date", k, STR_ARG(str_upto(p->periods[k].from, 80)));
        }
        if (p->n_periods)
            qsort(p->periods, p->n_periods, sizeof *p->periods, period_order);
        bool is_known = p->currency.len == 0 || str_eq(p->currency, S("USD"));
        for (size_t k = 0; k < c->tenancy.exchange_rates.n; k++)
            is_known |= str_eq(c->tenancy.exchange_rates.items[k][0], p->currency);
        if (p->is_set && !is_known && counts_money)
            finding_add(l->out, "no-exchange-rate", SEVERITY_WARNING, c->models[i].at, path,
                        S("global.exchange_rates: {EUR: 1.08}"),
                        "budgets are in USD and there is no rate for " STR_FMT ": `" STR_FMT "` counts one for one",
                        STR_ARG(p->currency), STR_ARG(c->models[i].name));
    }
}

void config_tenancy(struct loading *l)
{
    struct tenancy_conf *c = &l->draft->config.tenancy;
    bool counts_money = c->n_budgets > 0;
    for (size_t i = 0; i < c->identity.n_keys; i++)
        counts_money |= c->identity.keys[i].budget.amount_usd >= 0;
    keys_complete(l, &c->identity);
    issuers_check(l, &c->identity);
    names_check(l, c);
    prices_complete(l, counts_money);
    for (size_t i = 0; i < c->exchange_rates.n; i++) {
        double dollars;
        if (!str_double(c->exchange_rates.items[i][1], &dollars) || dollars <= 0)
            finding_add(l->out, "bad-value", SEVERITY_ERROR, (struct place){ 0 }, S("global.exchange_rates"), S(""),
                        STR_FMT ": a positive number is needed", STR_ARG(c->exchange_rates.items[i][0]));
    }
    if (counts_money && c->state.path.len == 0)
        finding_add(l->out, "state-in-memory", SEVERITY_WARNING, (struct place){ 0 }, S("global.state.path"),
                    S("global.state.path: /var/lib/signalbox/state.db"),
                    "budgets start anew whenever the process does: there is no state file");
}

/* ---- dates and networks ---- */

static bool digits(str *s, unsigned n, int *out)
{
    if (s->len < n)
        return false;
    *out = 0;
    for (unsigned i = 0; i < n; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9')
            return false;
        *out = *out * 10 + (s->ptr[i] - '0');
    }
    *s = str_from(*s, n);
    return true;
}

static bool take(str *s, const char *any)
{
    if (!s->len || !strchr(any, s->ptr[0]))
        return false;
    *s = str_from(*s, 1);
    return true;
}

/* Days since 1970-01-01 of the Gregorian calendar; March begins the year, so that the leap day is its last. */
static int64_t day_of(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t era = y / 400, in_era = y - era * 400;
    int64_t in_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

bool date_parse(str text, int64_t *seconds)
{
    int y, mo, d, h = 0, mi = 0, s = 0, oh = 0, om = 0;
    str rest = str_trim(text);
    if (!digits(&rest, 4, &y) || !take(&rest, "-") || !digits(&rest, 2, &mo) || !take(&rest, "-") || !digits(&rest, 2, &d)
        || y < 1970 || mo < 1 || mo > 12 || d < 1 || d > 31)
        return false;
    int64_t t = day_of(y, mo, d) * 86400;
    if (mo != 2 ? d == 31 && (mo == 4 || mo == 6 || mo == 9 || mo == 11)
                : d > 28 + (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)))
        return false;
    if (rest.len) {
        if (!take(&rest, "Tt ") || !digits(&rest, 2, &h) || !take(&rest, ":") || !digits(&rest, 2, &mi) || h > 23 || mi > 59)
            return false;
        if (take(&rest, ":") && (!digits(&rest, 2, &s) || s > 60))
            return false;
        if (take(&rest, "."))
            while (take(&rest, "0123456789"))
                ;
        if (rest.len && !take(&rest, "Zz")) {
            int sign = rest.ptr[0] == '-' ? -1 : 1;
            if (!take(&rest, "+-") || !digits(&rest, 2, &oh) || !take(&rest, ":") || !digits(&rest, 2, &om))
                return false;
            t -= sign * (oh * 3600 + om * 60);
        }
    }
    *seconds = t + h * 3600 + mi * 60 + s;
    return rest.len == 0;
}

bool cidr_parse(str text, struct cidr *out)
{
    char host[64];
    str rest = str_trim(text), address = str_cut(&rest, '/');
    int64_t bits = -1;
    struct in_addr v4;
    if (address.len >= sizeof host || (rest.len && !str_int(rest, &bits)))
        return false;
    memcpy(host, address.ptr, address.len);
    host[address.len] = 0;
    *out = (struct cidr){ .bits = 128 };
    if (inet_pton(AF_INET, host, &v4) == 1) {
        memcpy(out->bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
        memcpy(out->bytes + 12, &v4, 4);
        if (bits > 32)
            return false;
        out->bits = bits < 0 ? 128 : 96 + (unsigned)bits;
        return true;
    }
    if (inet_pton(AF_INET6, host, out->bytes) != 1 || bits > 128)
        return false;
    out->bits = bits < 0 ? 128 : (unsigned)bits;
    return true;
}

bool cidr_has(const struct cidr *net, const uint8_t address[16])
{
    unsigned whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(net->bytes, address, whole) != 0)
        return false;
    return rest == 0 || ((net->bytes[whole] ^ address[whole]) & (0xff00u >> rest & 0xff)) == 0;
}
