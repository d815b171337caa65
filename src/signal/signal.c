/* signal/signal.c -- finds signal types by name and compiles a profile's rules type by type.
 *
 * All types of a profile share one scanner, which is sealed here. Profiles do not share one: so
 * a request is only scanned for the words of its own profile. */
#include "signal/signal.h"

#include "signal/scanner.h"

#define X(name) extern const struct signal_ops signal_##name;
#include "signal/list.h"
#undef X

#define X(name) &signal_##name,
const struct signal_ops *const signal_all[] = {
#include "signal/list.h"
    NULL,
};
#undef X

const struct signal_ops *signal_by_collection(str key)
{
    for (const struct signal_ops *const *o = signal_all; *o; o++) {
        if (str_eq(key, str_of((*o)->collection)))
            return *o;
    }
    return NULL;
}

const struct signal_ops *signal_by_type(str type)
{
    for (const struct signal_ops *const *o = signal_all; *o; o++) {
        if (str_eq(type, str_of((*o)->type)))
            return *o;
    }
    return NULL;
}

int signal_make_all(struct policy_builder *b, const struct profile *p, void *arg)
{
    const struct signal_make_arg *given = arg;
    struct arena *a = policy_arena(b);
    struct signal_build build = {
        .policy = b,
        .a = a,
        .scanner = given && given->scanner ? given->scanner : scanner_new(a),
        .global = given ? given->global : NULL,
        .models = given ? given->models : NULL,
        .findings = policy_findings(b),
    };
    size_t errors = build.findings->n_by_severity[SEVERITY_ERROR];
    const struct signal_rule **rules = ARENA_ARRAY(a, const struct signal_rule *, p->n_signals);
    for (const struct signal_ops *const *o = signal_all; *o; o++) {
        size_t n = 0;
        for (size_t i = 0; i < p->n_signals; i++) {
            if (p->signals[i].ops == *o)
                rules[n++] = &p->signals[i];
        }
        if (n)
            (*o)->make(&build, rules, n);
    }
    if (!scanner_seal(build.scanner)) {
        finding_add(build.findings, "too-many-keywords", SEVERITY_ERROR, p->at, S("signals"),
                    S("use fewer or shorter keywords"),
                    "the keywords and patterns of profile " STR_FMT " need more than %d states",
                    STR_ARG(p->name), SCANNER_STATES_MAX);
    }
    return build.findings->n_by_severity[SEVERITY_ERROR] > errors ? -1 : 0;
}
