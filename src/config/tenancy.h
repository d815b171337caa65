/* config/tenancy.h -- who may use the gateway, how fast, and for how much money: extensions below `global`.
 *
 * The same tables read the configuration file and what the management API is given, so a key or a budget is written the
 * same way in both places. */
#ifndef SBX_TENANCY_CONF_H
#define SBX_TENANCY_CONF_H

#include "base/field.h"

struct rate_conf {                      /* 0: no such limit */
    int64_t requests_per_minute, tokens_per_minute, input_tokens_per_minute, output_tokens_per_minute, concurrent;
};

struct money_conf {
    double amount_usd;                  /* of a period; negative: none given */
    str period;                         /* minute, hour, day, week, month, total: by the calendar, UTC */
    str on_budget;                      /* refuse, reroute */
    bool is_hard;                       /* false: never refuses, takes the cheapest model instead */
    str reserve;                        /* max_tokens: the most an answer may cost; expected: what answers have cost */
    struct strings reroute_to;          /* models tried besides the decision's own */
};

struct match_conf {                     /* globs; "" matches all, also nobody */
    str key, user, team, group, project, model, entrypoint;
};

struct quota_conf {                     /* global.quotas[] */
    str name;
    struct match_conf match;
    struct strings per;                 /* one count for each ...: key, user, team, project, model */
    struct rate_conf rate;
    struct place at;
};

struct budget_conf {                    /* global.budgets[] */
    str name, description;
    struct match_conf match;
    struct strings per;
    struct money_conf money;
    struct place at;
};

struct key_conf {                       /* global.identity.keys[] */
    str id, description;
    str secret, secret_env, secret_sha256;          /* one of them; the hash is hex */
    str previous_sha256, previous_until;            /* after a rotation: the old one, good until then */
    str owner, team, project, role;
    struct strings groups, models, entrypoints;     /* globs; empty: all */
    str expires, created;               /* RFC 3339; "" never, unknown */
    bool is_disabled;
    struct rate_conf limits;
    struct money_conf budget;
    struct place at;
};

struct claims_conf { str owner, team, project, groups, role; };     /* names of claims; dots go deeper */

struct issuer_conf {                    /* global.identity.issuers[] */
    str issuer, jwks_url, jwks, jwks_file;          /* jwks: JSON text */
    struct strings audience, algorithms;
    uint64_t leeway_ns, refresh_ns;
    struct claims_conf claims;
    struct strings models, entrypoints;
    struct place at;
};

struct identity_conf {
    str require_key;                    /* auto: when keys or issuers are configured; always; never */
    struct strings trusted_peers;       /* CIDR; empty: identity headers are believed from everybody */
    str team_header;
    str pepper_file;                    /* secrets are hashed with its bytes */
    struct key_conf *keys; size_t n_keys;
    struct issuer_conf *issuers; size_t n_issuers;
};

struct state_conf { str path; uint64_t keep_ns; };  /* path "": memory */

struct window_conf { str name, user, group, model, unit; int64_t requests, tokens; struct place at; };
struct limiter_conf { str type; struct window_conf *rules; size_t n_rules; struct place at; };  /* services.ratelimit */

struct tenancy_conf {
    struct identity_conf identity;
    struct state_conf state;
    struct quota_conf *quotas; size_t n_quotas;
    struct budget_conf *budgets; size_t n_budgets;
    struct string_pairs exchange_rates;             /* currency -> USD for one unit */
    bool fail_open;                                 /* services.ratelimit */
    struct limiter_conf *limiters; size_t n_limiters;
};

extern const struct fields key_fields;              /* struct key_conf */
extern const struct fields budget_fields;           /* struct budget_conf */
extern const struct fields quota_fields;            /* struct quota_conf */
extern const struct fields issuer_fields;           /* struct issuer_conf */

/* What the tables cannot see of one that came over the management API. False: *e says what. */
bool key_conf_check(const struct key_conf *k, struct err *e);
bool budget_conf_check(const struct budget_conf *b, struct err *e);

/* "2026-05-01", "2026-05-01T10:00:00Z", "...+02:00" -> seconds since 1970. */
bool date_parse(str text, int64_t *seconds);
/* "10.0.0.0/8", "fd00::/8", a single address. IPv4 is mapped into IPv6. */
struct cidr { uint8_t bytes[16]; unsigned bits; };
bool cidr_parse(str text, struct cidr *out);
bool cidr_has(const struct cidr *net, const uint8_t address[16]);

#endif
