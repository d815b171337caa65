/* signal/context.c -- how many tokens the request needs (spec 2.4.9).
 *
 * The estimate is made with the facts; a rule is a range of it, both ends included. */
#include "signal/rule.h"

#include <math.h>

struct context_conf { str description; double min_tokens, max_tokens; uint64_t set; };

enum { KEY_MAX_TOKENS = 1 };

static const struct field context_table[] = {
    F(FIELD_COUNT, struct context_conf, min_tokens, "min_tokens", "0",
      "fewest tokens of a match; K and M are thousands and millions", .min = 0, .max = 1e15),
    [KEY_MAX_TOKENS] = F(FIELD_COUNT, struct context_conf, max_tokens, "max_tokens", "0",
        "most tokens of a match; without it the rule never matches", .min = 0, .max = 1e15),
    F(FIELD_STR, struct context_conf, description, "description", NULL, "for people"),
    { .key = FIELD_KEY_SET, .offset = offsetof(struct context_conf, set) },
};

struct range { uint32_t slot; double min, max; };
struct context { struct range *ranges; size_t n; };

static void context_check(const struct signal_rule *rule, const struct profile *p,
                          struct findings *out)
{
    (void)p;
    const struct context_conf *c = rule->conf;
    if (!(c->set >> KEY_MAX_TOKENS & 1) || c->max_tokens <= 0)
        rule_finding(rule, out, "dead-rule", SEVERITY_WARNING, S("give max_tokens, such as 1M"),
                     "context rule without max_tokens never matches");
    else if (c->min_tokens > c->max_tokens)
        rule_finding(rule, out, "dead-rule", SEVERITY_WARNING, S("swap the bounds"),
                     "min_tokens %.0f is above max_tokens %.0f", c->min_tokens, c->max_tokens);
}

static void context_run(const void *state, const struct facts *f, const uint64_t *wanted,
                        struct arena *request, struct sigset *out)
{
    (void)wanted, (void)request;
    const struct context *c = state;
    double tokens = (double)f->context_tokens;
    for (size_t i = 0; i < c->n; i++)
        sig_set(out, c->ranges[i].slot, tokens >= c->ranges[i].min && tokens <= c->ranges[i].max);
}

static void context_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct context *c = ARENA_NEW(b->a, struct context);
    struct signal_unit *u = policy_unit(b->policy, S("context"), 10);
    c->ranges = ARENA_ARRAY(b->a, struct range, n);
    for (size_t i = 0; i < n; i++) {
        const struct context_conf *conf = rules[i]->conf;
        c->ranges[c->n++] = (struct range){
            .slot = rule_slot(b, u, S("context"), rules[i]->name),
            .min = conf->min_tokens,
            .max = conf->max_tokens,
        };
    }
    u->state = c;
    u->run = context_run;
}

const struct signal_ops signal_context = {
    .type = "context",
    .collection = "context",
    .response_key = "context",
    .header = "x-vsr-matched-context",
    .fields = FIELDS(struct context_conf, context_table),
    .check = context_check,
    .make = context_make,
};
