/* signal/rule.c */
#include "signal/rule.h"

#include <math.h>
#include <stdarg.h>

void rule_finding(const struct signal_rule *rule, struct findings *out, const char *name,
                  enum severity severity, str hint, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    str text = arena_vprintf(out->a, format, args);
    va_end(args);
    str path = arena_printf(out->a, "signals.%s." STR_FMT, rule->ops->collection,
                            STR_ARG(rule->name));
    finding_add(out, name, severity, rule->at, path, hint, STR_FMT, STR_ARG(text));
}

uint32_t rule_slot(struct signal_build *b, struct signal_unit *u, str type, str name)
{
    uint32_t slot = policy_slot(b->policy, type, name);
    unit_fills(b->policy, u, slot);
    return slot;
}

uint32_t rule_number(struct signal_build *b, struct signal_unit *u, str type, str name, const char *suffix)
{
    uint32_t slot = rule_slot(b, u, type, arena_printf(b->a, STR_FMT ":%s", STR_ARG(name), suffix));
    policy_hide(b->policy, slot);
    return slot;
}

/* ---- numeric predicates ---- */

enum { GIVEN_GT = 1 << 0, GIVEN_GTE = 1 << 1, GIVEN_LT = 1 << 2, GIVEN_LTE = 1 << 3 };

static const struct field predicate_table[] = {
    F(FIELD_FLOAT, struct predicate_conf, gt, "gt", NULL, "holds above this value"),
    F(FIELD_FLOAT, struct predicate_conf, gte, "gte", NULL, "holds from this value on"),
    F(FIELD_FLOAT, struct predicate_conf, lt, "lt", NULL, "holds below this value"),
    F(FIELD_FLOAT, struct predicate_conf, lte, "lte", NULL, "holds up to this value"),
    { .key = FIELD_KEY_SET, .offset = offsetof(struct predicate_conf, set) },
};
const struct fields predicate_fields = FIELDS(struct predicate_conf, predicate_table);

struct number_predicate predicate_of(const struct predicate_conf *c)
{
    const double none = (double)NAN;
    return (struct number_predicate){
        .gt  = c->set & GIVEN_GT  ? c->gt  : none,
        .gte = c->set & GIVEN_GTE ? c->gte : none,
        .lt  = c->set & GIVEN_LT  ? c->lt  : none,
        .lte = c->set & GIVEN_LTE ? c->lte : none,
    };
}

bool predicate_is_empty(const struct number_predicate *p)
{
    return isnan(p->gt) && isnan(p->gte) && isnan(p->lt) && isnan(p->lte);
}

bool predicate_holds(const struct number_predicate *p, double value)
{
    return isfinite(value)
        && (isnan(p->gt)  || value >  p->gt)
        && (isnan(p->gte) || value >= p->gte)
        && (isnan(p->lt)  || value <  p->lt)
        && (isnan(p->lte) || value <= p->lte);
}

double predicate_confidence(const struct number_predicate *p, double value)
{
    const double bounds[] = { p->gt, p->gte, p->lt, p->lte };
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        if (!isnan(bounds[i]))
            return fmax(0.5, 1 / (1 + exp(-4 * fabs(value - bounds[i]))));
    }
    return 1;
}

void predicate_check(const struct predicate_conf *c, const struct signal_rule *rule,
                     struct findings *out)
{
    struct number_predicate p = predicate_of(c);
    if (predicate_is_empty(&p)) {
        rule_finding(rule, out, "bad-predicate", SEVERITY_ERROR, S("give gt, gte, lt or lte"),
                     "the predicate compares with nothing");
        return;
    }
    if ((!isnan(p.gt) && !isnan(p.gte)) || (!isnan(p.lt) && !isnan(p.lte))) {
        rule_finding(rule, out, "bad-predicate", SEVERITY_ERROR, S("keep one of the two"),
                     "the predicate has %s", !isnan(p.gt) && !isnan(p.gte)
                     ? "both gt and gte" : "both lt and lte");
        return;
    }
    double low = isnan(p.gt) ? p.gte : p.gt, high = isnan(p.lt) ? p.lte : p.lt;
    bool is_open = !isnan(p.gt) || !isnan(p.lt);
    if (low > high || (low == high && is_open))
        rule_finding(rule, out, "bad-predicate", SEVERITY_ERROR, S("swap the bounds"),
                     "no number lies between %g and %g", low, high);
}
