/* signal/metadata.c -- what the client says in the body's `metadata` (spec 2.4.19).
 *
 * Untrusted: whoever may send requests may send any metadata. */
#include "signal/rule.h"

#include <math.h>

struct metadata_predicate { str equals; struct strings in; bool exists; uint64_t set; };
struct metadata_conf { str description, key; struct metadata_predicate predicate; };

enum { KEY_EQUALS, KEY_IN, KEY_EXISTS };

static const struct field predicate_table[] = {
    [KEY_EQUALS] = F(FIELD_STR, struct metadata_predicate, equals, "equals", NULL,
        "the value is this text"),
    [KEY_IN] = F(FIELD_STRINGS, struct metadata_predicate, in, "in", NULL,
        "the value is one of these texts"),
    [KEY_EXISTS] = F(FIELD_BOOL, struct metadata_predicate, exists, "exists", NULL,
        "true: the key is there; false: it is not"),
    { .key = FIELD_KEY_SET, .offset = offsetof(struct metadata_predicate, set) },
};
static const struct fields predicate_keys = FIELDS(struct metadata_predicate, predicate_table);

static const struct field metadata_table[] = {
    F(FIELD_STR, struct metadata_conf, key, "key", NULL, "key of the request's metadata",
      .flags = FIELD_REQUIRED),
    F(FIELD_STRUCT, struct metadata_conf, predicate, "predicate", NULL,
      "exactly one of equals, in, exists", .sub = &predicate_keys),
    F(FIELD_STR, struct metadata_conf, description, "description", NULL, "for people"),
};

struct rule_code { uint32_t slot; const struct metadata_conf *conf; };
struct metadata { struct rule_code *rules; size_t n; };

static void metadata_check(const struct signal_rule *rule, const struct profile *p,
                           struct findings *out)
{
    (void)p;
    const struct metadata_conf *c = rule->conf;
    int given = __builtin_popcountll(c->predicate.set & 7);
    if (given != 1)
        rule_finding(rule, out, "bad-predicate", SEVERITY_ERROR,
                     S("give exactly one of equals, in, exists"),
                     "the predicate has %d conditions", given);
}

static bool metadata_holds(const struct metadata_predicate *p, const str *value)
{
    if (p->set >> KEY_EXISTS & 1)
        return (value != NULL) == p->exists;
    if (!value)
        return false;
    if (p->set >> KEY_EQUALS & 1)
        return str_eq(*value, p->equals);
    for (size_t i = 0; i < p->in.n; i++) {
        if (str_eq(*value, p->in.items[i]))
            return true;
    }
    return false;
}

static void metadata_run(const void *state, const struct facts *f, const uint64_t *wanted,
                         struct arena *request, struct sigset *out)
{
    (void)wanted, (void)request;
    const struct metadata *m = state;
    uint32_t n = f->chat ? f->chat->n_metadata : 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct metadata_conf *c = m->rules[i].conf;
        const str *value = NULL;
        for (uint32_t k = 0; k < n; k++) {              /* the last of equal keys counts */
            if (str_eq(f->chat->metadata[k].key, c->key))
                value = &f->chat->metadata[k].value;
        }
        bool matched = metadata_holds(&c->predicate, value);
        rule_says(out, m->rules[i].slot, matched, matched ? 1 : (double)NAN, (double)NAN);
    }
}

static void metadata_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct metadata *m = ARENA_NEW(b->a, struct metadata);
    struct signal_unit *u = policy_unit(b->policy, S("metadata"), 20);
    m->rules = ARENA_ARRAY(b->a, struct rule_code, n);
    for (size_t i = 0; i < n; i++)
        m->rules[m->n++] = (struct rule_code){
            rule_slot(b, u, S("metadata"), rules[i]->name), rules[i]->conf };
    u->state = m;
    u->run = metadata_run;
}

const struct signal_ops signal_metadata = {
    .type = "metadata",
    .collection = "metadata",
    .response_key = "metadata",
    .fields = FIELDS(struct metadata_conf, metadata_table),
    .check = metadata_check,
    .make = metadata_make,
};
