/* signal/authz.c -- roles of the caller, from identity headers that a proxy vouches for
 * (spec 2.4.13).
 *
 * A binding gives a role to users and groups. The names that rules refer to are the roles, not
 * the bindings. */
#include "signal/rule.h"

struct subject { str kind, name; };
struct authz_conf { str description, role; struct list subjects; };

static const char *const kinds[] = { "User", "Group", NULL };

static const struct field subject_table[] = {
    F(FIELD_ENUM, struct subject, kind, "kind", NULL, "User or Group", .names = kinds,
      .flags = FIELD_REQUIRED),
    F(FIELD_STR, struct subject, name, "name", NULL, "as the identity header has it",
      .flags = FIELD_REQUIRED),
};
static const struct fields subject_fields = FIELDS(struct subject, subject_table);

static const struct field authz_table[] = {
    F(FIELD_STR, struct authz_conf, role, "role", NULL, "what rules refer to",
      .flags = FIELD_REQUIRED),
    F(FIELD_LIST, struct authz_conf, subjects, "subjects", NULL, "who has the role",
      .sub = &subject_fields),
    F(FIELD_STR, struct authz_conf, description, "description", NULL, "for people"),
};

struct binding { uint32_t slot; const struct authz_conf *conf; };
struct authz { struct binding *bindings; size_t n; };

static void authz_check(const struct signal_rule *rule, const struct profile *p,
                        struct findings *out)
{
    (void)p;
    const struct authz_conf *c = rule->conf;
    if (c->subjects.n == 0)
        rule_finding(rule, out, "dead-rule", SEVERITY_WARNING, S("add subjects"),
                     "nobody has role " STR_FMT " by this binding", STR_ARG(c->role));
}

static bool authz_has(const struct authz_conf *c, const struct facts *f)
{
    const struct subject *subjects = c->subjects.items;
    for (size_t i = 0; i < c->subjects.n; i++) {
        if (str_eq(subjects[i].kind, S("User"))) {
            if (f->user_id.len && str_eq(subjects[i].name, f->user_id))
                return true;
            continue;
        }
        for (uint32_t k = 0; k < f->n_groups; k++) {
            if (str_eq(subjects[i].name, f->groups[k]))
                return true;
        }
    }
    return false;
}

static void authz_run(const void *state, const struct facts *f, const uint64_t *wanted,
                      struct arena *request, struct sigset *out)
{
    (void)wanted, (void)request;
    const struct authz *z = state;
    for (size_t i = 0; i < z->n; i++)       /* several bindings may give one role: any suffices */
        sig_set(out, z->bindings[i].slot, authz_has(z->bindings[i].conf, f));
}

static void authz_make(struct signal_build *b, const struct signal_rule *const *rules, size_t n)
{
    struct authz *z = ARENA_NEW(b->a, struct authz);
    struct signal_unit *u = policy_unit(b->policy, S("authz"), 20);
    z->bindings = ARENA_ARRAY(b->a, struct binding, n);
    for (size_t i = 0; i < n; i++) {
        const struct authz_conf *c = rules[i]->conf;
        uint32_t slot = policy_slot(b->policy, S("authz"), c->role);
        bool is_new = true;
        for (size_t k = 0; k < z->n; k++)
            is_new &= z->bindings[k].slot != slot;
        if (is_new)
            unit_fills(b->policy, u, slot);
        z->bindings[z->n++] = (struct binding){ slot, c };
    }
    u->state = z;
    u->run = authz_run;
}

const struct signal_ops signal_authz = {
    .type = "authz",
    .collection = "role_bindings",
    .response_key = "authz",
    .header = "x-vsr-matched-authz",
    .fields = FIELDS(struct authz_conf, authz_table),
    .check = authz_check,
    .make = authz_make,
};
