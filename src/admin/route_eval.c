/* admin/route_eval.c -- POST /api/v1/eval: what would be decided, and why, without calling a model. */
#include "admin/eval.h"

#include "admin/resources.h"
#include "base/clock.h"
#include "pipeline/route.h"

static const struct recipe *recipe_of(struct admin_req *r, const struct snap *s, str model)
{
    const struct recipe *found = model.len ? map_get(&s->virtuals, model) : &s->recipes[0];
    if (!found)
        admin_error(r, 400, EVAL_INVALID_MODEL,
                    map_has(&s->models, model) ? "model '" STR_FMT "' is a concrete model: requests for it are not routed"
                                               : "model '" STR_FMT "' is not one of this configuration's automatic names or entrypoints",
                    STR_ARG(model));
    return found;
}

static void evaluate(struct admin_req *r, const struct snap *s, struct eval_request *q)
{
    const struct recipe *recipe = recipe_of(r, s, q->chat.model);
    if (!recipe)
        return;
    static const char *const no_identity[] = { "authz", NULL };     /* absent from eval: spec 01, 2.2 */
    struct facts facts = { 0 };
    facts_build(&facts, r->a, &q->chat);
    facts.now_ns = clock_wall();
    facts.seed = 1;                             /* the same question gets the same answer */
    struct decide_scratch *scratch = decide_scratch_new(r->a, recipe->policy);
    struct gatherer gatherer = { s->signal_models, r->a, NEVER };
    decide_gather(scratch, models_gather, &gatherer);
    decide_clock(scratch, clock_now);
    struct decision d = decide_run(recipe->policy, &facts, scratch, r->a, DECIDE_EAGER, no_identity);
    struct pick pick = { 0 };
    struct eval_in in = {
        .original_text = q->text, .requested_model = q->chat.model, .recipe = recipe->profile->name,
        .policy = recipe->policy, .scratch = scratch, .decision = &d, .facts = &facts,
        .default_model = s->config->default_model,
        .with_trace = str_ieq(http_query_get(r->head.query, S("trace"), r->a), S("true"))
                      || str_eq(http_query_get(r->head.query, S("trace"), r->a), S("1")),
    };
    if (d.conf && d.conf->n_refs) {
        const struct plan *plan = &recipe->plans[d.index];
        in.selector = plan->selector;
        in.pick = &pick;
        struct select_in select = route_select_in(r->a, plan, &facts, recipe->policy, d.signals, s->signal_models,
                                                  clock_now() + s->config->limits.signals_ns, clock_now());
        select_run(plan->selector, &select, r->a, &pick, &in.method);
    }
    struct decision lazy;
    if (in.with_trace) {                        /* what the data path would have asked; the answers are in the cache by now */
        struct decide_scratch *again = decide_scratch_new(r->a, recipe->policy);
        decide_gather(again, models_gather, &gatherer);
        lazy = decide_run(recipe->policy, &facts, again, r->a, DECIDE_WINNER, no_identity);
        in.lazy = &lazy;
        in.lazy_scratch = again;
        bool *is_enough = ARENA_ARRAY(r->a, bool, policy_n_units(recipe->policy));
        decide_enough(scratch, is_enough);
        in.is_enough = is_enough;
    }
    eval_render(&in, &r->out);
}

void admin_eval(struct admin_req *r)
{
    struct eval_request q;
    struct err e = { 0 };
    struct snap *s = snap_enter(loop_self());
    if (eval_parse(r->a, r->body, &q, &e) < 0)
        admin_error(r, 400, EVAL_INVALID_INPUT, "%s", e.text);
    else
        evaluate(r, s, &q);
    snap_leave(loop_self(), s);
}
