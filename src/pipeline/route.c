/* pipeline/route.c */
#include "pipeline/route.h"

#include <math.h>

#include "base/clock.h"
#include "base/rand.h"
#include "observe/latency.h"
#include "observe/metrics.h"
#include "pipeline/ask.h"
#include "pipeline/attempt.h"
#include "pipeline/count.h"
#include "pipeline/key.h"
#include "pipeline/learning_request.h"
#include "signal/compress.h"
#include "signal/signal.h"

static double price(double v)
{
    return v > 0 ? v : (double)NAN;
}

struct candidate *route_candidates(struct arena *a, const struct plan *p, uint64_t now)
{
    size_t n = p->conf->n_refs;
    struct candidate *list = ARENA_ARRAY(a, struct candidate, n);
    for (size_t i = 0; i < n; i++) {
        const struct model *m = p->candidates[i];
        struct candidate *c = &list[i];
        *c = (struct candidate){ .energy = (double)NAN, .model = p->conf->refs[i].model, .ref = &p->conf->refs[i], .quality = (double)NAN,
                                 .prompt_price = (double)NAN, .completion_price = (double)NAN };
        if (!m)
            continue;
        c->quality = m->quality;
        c->prompt_price = price(m->conf->pricing.prompt);
        c->completion_price = price(m->conf->pricing.completion);
        c->in_flight = latency_in_flight(m->state->latency);
        c->failures = latency_failures(m->state->latency);
        c->latency = &m->latency;
        if (m->card) {
            c->about = m->card->description;
            c->capabilities = &m->card->capabilities;
        }
        for (unsigned k = 0; k < m->n_backends && !c->is_healthy; k++)
            c->is_healthy = backend_is_usable(&m->backends[k], now);
    }
    return list;
}

/* The first domain that matched. */
static str category_of(const struct policy *policy, const struct sigset *signals)
{
    for (uint32_t slot = 0; signals && slot < policy_n_slots(policy); slot++)
        if (sig_yes(signals, slot) && str_eq(policy_slot_type(policy, slot), S("domain")))
            return policy_slot_name(policy, slot);
    return S("");
}

/* The query and the cards of the candidates as vectors, in one call; cards are in the encoder's cache from the second time on.
 * Without an encoder the selector says that it has none. */
static WAITS void vectors_look(struct arena *a, const struct plan *p, struct select_in *in, struct models *models, uint64_t deadline)
{
    const struct need_source *source = models_source(models, NEED_EMBEDDING, "embedding", S(""));
    str *texts = ARENA_ARRAY(a, str, in->n + 1);
    struct candidate *list = (struct candidate *)(uintptr_t)in->candidates;
    if (!source || !source->dim)
        return;
    texts[0] = in->facts->current_user;
    for (uint32_t i = 0; i < in->n; i++) {
        const struct card_conf *card = p->candidates[i] ? p->candidates[i]->card : NULL;
        texts[i + 1] = card && card->description.len ? card->description : list[i].model;
    }
    float *vectors = arena_try(a, sizeof *vectors * source->dim * (in->n + 1));
    if (!vectors || texts[0].len == 0 || models_embed(source, texts, in->n + 1, source->dim, deadline, vectors, NULL))
        return;
    in->embedding = vectors;
    in->dim = source->dim;
    for (uint32_t i = 0; i < in->n; i++)
        list[i].card = vectors + (size_t)(i + 1) * source->dim;
}

WAITS struct select_in route_select_in(struct arena *a, const struct plan *p, const struct facts *f, const struct policy *policy,
                                       const struct sigset *signals, struct models *models, uint64_t deadline, uint64_t now)
{
    struct select_in in = {
        .candidates = route_candidates(a, p, now), .n = (uint32_t)p->conf->n_refs, .facts = f, .conf = p->conf->algorithm.conf,
        .seed = f->seed, .trained = p->trained, .category = category_of(policy, signals),
    };
    if (models && in.n > 1 && p->selector->reads_embedding && p->selector->reads_embedding(p->trained))
        vectors_look(a, p, &in, models, deadline);
    return in;
}

static void order_one(struct req *r, const struct model *m)
{
    r->order = ARENA_ARRAY(r->a, const struct model *, 1);
    r->order[0] = m;
    r->n_order = 1;
}

/* A selector that asks a model before it picks. The client may leave meanwhile: -1, and nothing else is done for it. */
static WAITS int helper_ask(struct req *r, struct select_in *in)
{
    struct select_question q;
    if (!r->loop || !select_asks(r->plan->selector, in, r->a, &q))      /* the command line asks nobody */
        return 0;
    unsigned span = r->trace ? span_begin(r->trace, SPAN_ROOT, SPAN_INTERNAL, S("prompt_helper")) : SPAN_NONE;
    struct ask_answer *asked = r->helper = ARENA_NEW(r->a, struct ask_answer);
    ask_model(r->a, r->snap, &q, &(struct asking_for){ .of = r, .seed = r->facts.seed }, asked);
    in->heard = &asked->heard;
    count_helper(asked);
    if (r->trace) {
        span_str(r->trace, span, "prompt_helper_model", q.model);
        span_int(r->trace, span, "prompt_helper_prompt_tokens", asked->usage.prompt_tokens);
        span_int(r->trace, span, "prompt_helper_completion_tokens", asked->usage.completion_tokens);
        if (asked->heard.why)
            span_error(r->trace, span, str_of(asked->heard.why), S("the helper said nothing; the first candidate answers"));
        span_end(r->trace, span);
    }
    r->is_client_gone = fiber_is_cancelled(fiber_self());
    return r->is_client_gone ? -1 : 0;
}

static WAITS int pick_models(struct req *r, uint64_t from)
{
    const struct plan *p = r->plan;
    size_t n = p->conf->n_refs;
    uint64_t now = r->loop ? loop_now(r->loop) : from;
    uint64_t until = deadline_min(r->deadline ? r->deadline : NEVER, clock_now(), r->snap->config->limits.signals_ns);
    struct select_in in = route_select_in(r->a, p, &r->facts, r->recipe->policy, r->decision.signals, r->snap->signal_models, until, now);
    if (helper_ask(r, &in) < 0)
        return -1;
    select_run(p->selector, &in, r->a, &r->pick, &r->method);
    r->order = ARENA_ARRAY(r->a, const struct model *, n);
    r->refs = ARENA_ARRAY(r->a, const struct model_ref *, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = r->pick.order[i];
        if (!p->candidates[k])
            continue;
        r->order[r->n_order] = p->candidates[k];
        r->refs[r->n_order++] = &p->conf->refs[k];
    }
    if (r->n_order == 0)
        return req_fail(r, 503, "server_error", "no_model", "no_model",
                        "decision '" STR_FMT "' names no model that the configuration has a provider for",
                        STR_ARG(p->conf->name));
    if (learning_adapt(r) < 0)
        return -1;
    if (r->loop)
        count_pick(r, clock_now() - from);
    return 0;
}

static uint64_t seed_next(void)                 /* chance enters here, and is recorded with the pick */
{
    static _Thread_local uint64_t state;
    if (!state)
        state = rand_system();
    return rand_next(&state);
}

/* Signals may read the best sentences of a long text. Selection, logs and what is sent are not concerned. */
static void shorten(struct req *r)
{
    const struct compression *c = r->snap->compression;
    if (!c)
        return;
    str text = compress_text(c, r->facts.evaluation_text, r->a);
    if (text.ptr == r->facts.evaluation_text.ptr)
        return;
    struct shortened *s = ARENA_NEW(r->a, struct shortened);
    *s = (struct shortened){ text, c->skip_signals.items, c->skip_signals.n };
    r->facts.shortened = s;
    if (r->loop)
        metric_add(metric_cell(METRIC_PROMPTS_SHORTENED, NULL), 1);
}

int route_request(struct req *r)
{
    facts_build(&r->facts, r->a, &r->chat);
    r->facts.now_ns = clock_wall();
    if (!r->facts.seed)
        r->facts.seed = seed_next();
    key_identity(r);
    r->recipe = map_get(&r->snap->virtuals, r->chat.model);
    if (!r->recipe) {                           /* a concrete model passes through: no signals, no decision */
        const struct model *m = map_get(&r->snap->models, r->chat.model);
        if (!m)
            return req_fail(r, 404, "invalid_request_error", "model_not_found", "unknown_model",
                            "model '" STR_FMT "' is not available; GET /v1/models lists what is", STR_ARG(r->chat.model));
        order_one(r, m);
        return 0;
    }
    if (r->recipe->needs_identity && !r->facts.has_identity && !r->snap->config->authz_fail_open)
        return req_fail(r, 403, "permission_error", "identity_required", "identity",
                        "this policy has role bindings and the request carries no user id (header '" STR_FMT "')",
                        STR_ARG(r->snap->config->user_id_header));
    shorten(r);
    struct decide_scratch *scratch = decide_scratch_new(r->a, r->recipe->policy);
    /* The winner is what matters; those who debug also want to see everything that matches. */
    enum decide_mode mode = r->wants_debug ? DECIDE_EAGER : DECIDE_WINNER;
    uint64_t from = r->t.parsed ? r->t.parsed : clock_now();
    if (count_times_units(r))
        decide_clock(scratch, clock_now);
    struct gatherer gatherer = { r->snap->signal_models, r->a, r->deadline ? r->deadline : NEVER };
    decide_gather(scratch, models_gather, &gatherer);
    r->decision = decide_run(r->recipe->policy, &r->facts, scratch, r->a, mode, NULL);
    uint64_t decided = clock_now();
    if (r->loop)                                /* a served request, not a question of the command line */
        count_decision(r, scratch, decided - from);
    if (r->decision.is_failed)
        return req_fail(r, 503, "server_error", "signal_unknown", "signal_unknown",
                        "a signal that the policy needs could not be evaluated (on_unknown: fail_request)");
    if (r->decision.conf)
        r->plan = &r->recipe->plans[r->decision.index];
    if (!r->plan || r->plan->conf->n_refs == 0) {
        r->method = "default";
        if (!r->snap->default_model)
            return r->plan && r->plan->n_chain ? 0
                 : req_fail(r, 400, "invalid_request_error", "no_route", "no_route",
                            "no decision matched and the configuration has no default_model");
        order_one(r, r->snap->default_model);
        return 0;
    }
    for (unsigned i = 0; i < r->plan->n_chain; i++)
        if (strcmp(r->plan->chain[i].ops->type, "fast_response") == 0) {
            r->method = "fast_response";
            const struct model *first = r->plan->candidates[0];
            if (first)
                order_one(r, first);
            return 0;
        }
    return pick_models(r, decided);
}
