/* front/explain.c -- the answer of a gateway that has no model to ask.
 *
 * The text is made once, from an eager run of the policy over the same facts, and put into whatever form the client
 * asked for. No token is claimed to have been generated. */
#include "front/explain.h"

#include <math.h>
#include <stdlib.h>

#include "pipeline/relay.h"

enum { DETAIL_MAX = 120, SIGNALS_MAX = 40 /* named; the rest is counted */ };

/* ---- what happened, in words ---- */

static void words_of_facts(const struct req *r, struct buf *out)
{
    uint32_t n = r->chat.n_messages;
    buf_printf(out, "What it saw: %u message%s, %llu tokens to plan for (text and the room for an answer)",
               n, n == 1 ? "" : "s", (unsigned long long)r->facts.context_tokens);
    if (r->chat.n_tools)
        buf_printf(out, ", %u tool%s", r->chat.n_tools, r->chat.n_tools == 1 ? "" : "s");
    if (r->facts.n_images)
        buf_printf(out, ", %u image%s", r->facts.n_images, r->facts.n_images == 1 ? "" : "s");
    buf_str(out, S(".\n\n"));
}

static void words_of_signal(const struct policy *p, const struct sigset *s, uint32_t slot,
                            struct buf *out)
{
    buf_printf(out, "- " STR_FMT " `" STR_FMT "`", STR_ARG(policy_slot_type(p, slot)),
               STR_ARG(policy_slot_name(p, slot)));
    if (s->detail[slot].len)
        buf_printf(out, ": " STR_FMT "%s", STR_ARG(str_upto(s->detail[slot], DETAIL_MAX)),
                   s->detail[slot].len > DETAIL_MAX ? "..." : "");
    else if (!isnan(s->value[slot]))
        buf_printf(out, ": %g", s->value[slot]);
    buf_char(out, '\n');
}

static void words_of_signals(const struct policy *p, const struct sigset *s, struct buf *out)
{
    unsigned n = 0, unknown = 0;
    buf_str(out, S("Signals that fired:\n"));
    for (uint32_t slot = 0; slot < s->n_slots; slot++) {
        if (sig_yes(s, slot) && n++ < SIGNALS_MAX)
            words_of_signal(p, s, slot, out);
        unknown += !sig_known(s, slot);
    }
    if (n == 0)
        buf_str(out, S("- none\n"));
    if (n > SIGNALS_MAX)
        buf_printf(out, "- and %u more\n", n - SIGNALS_MAX);
    if (unknown)
        buf_printf(out, "- %u could not be told (their models are not built in)\n", unknown);
    buf_char(out, '\n');
}

/* The leaves that make a rule hold: of an OR those that are true, under NOT those that are not. */
static void words_of_rule(const struct policy *p, const struct sigset *s, const struct rule *rule,
                          bool negated, unsigned *n, struct buf *out)
{
    if (rule->kind != RULE_LEAF) {
        for (size_t i = 0; i < rule->n_children; i++)
            words_of_rule(p, s, rule->children[i], negated != (rule->kind == RULE_NOT), n, out);
        return;
    }
    int64_t slot = policy_slot_find(p, rule->type, rule->name);
    bool holds = rule->has_predicate || (slot >= 0 && sig_yes(s, (uint32_t)slot));
    if (holds == negated)
        return;
    buf_printf(out, "%s%s" STR_FMT " `" STR_FMT "`", (*n)++ ? " and " : "", negated ? "not " : "",
               STR_ARG(rule->type), STR_ARG(rule->name));
}

/* As the selector has ordered them; for a request that was not routed, as the file does. */
static void words_of_models(const struct req *r, const struct plan *p, struct buf *out)
{
    bool is_routed = r->plan == p && r->n_order;
    size_t n = is_routed ? r->n_order : p->conf->n_refs;
    for (size_t i = 0; i < n; i++) {
        str name = is_routed ? r->order[i]->name : p->conf->refs[i].model;
        if (i == 0)
            buf_printf(out, ".\n\nModel: **" STR_FMT "** would answer", STR_ARG(name));
        else
            buf_printf(out, "%s" STR_FMT, i == 1 ? "; should it fail, " : ", ", STR_ARG(name));
    }
}

void explain_because(const struct policy *p, const struct decision *d, struct buf *out)
{
    unsigned n = 0;
    if (d->conf->rules)
        words_of_rule(p, d->signals, d->conf->rules, false, &n, out);
    if (n == 0)
        buf_str(out, d->conf->rules ? S("its rule holds without any signal")
                                    : S("no decision above it holds and it has no rule"));
}

static void words_of_decision(const struct req *r, const struct recipe *recipe,
                              const struct decision *d, struct buf *out)
{
    if (!d->conf) {
        buf_str(out, S("Decision: none matched, so the default model would answer"));
        if (r->snap->default_model)
            buf_printf(out, ": **" STR_FMT "**", STR_ARG(r->snap->default_model->name));
        buf_str(out, S(".\n\n"));
        return;
    }
    buf_printf(out, "Decision: **" STR_FMT "**", STR_ARG(d->conf->name));
    buf_str(out, S(", because "));
    explain_because(recipe->policy, d, out);
    if (d->conf->description.len)
        buf_printf(out, " (" STR_FMT ")", STR_ARG(d->conf->description));
    words_of_models(r, &recipe->plans[d->index], out);
    buf_str(out, S(".\n\n"));
}

static const char how_to_connect[] =
    "To connect a model, do one of these and start again:\n"
    "1. A key:           OPENAI_API_KEY=sk-... signalbox serve   (OPENAI_BASE_URL for another compatible service), or\n"
    "                    ANTHROPIC_API_KEY=sk-ant-... signalbox serve\n"
    "2. A local server:  ollama pull llama3.2 && ollama serve   (also looked for: vLLM on 8000, llama-server on 8080, LM Studio "
    "on 1234)\n"
    "3. Your own file:   signalbox config dump > signalbox.yaml, edit providers, signalbox check -c signalbox.yaml\n"
    "\n";

static bool is_any_connected(const struct snap *s)
{
    for (size_t i = 0; i < s->models.n; i++) {
        const struct model *m = s->models.entries[i].value;
        if (m->n_backends && m->backends[0].provider != &provider_explain)
            return true;
    }
    return false;
}

void explain_text(const struct req *r, struct buf *out)
{
    const struct recipe *recipe = r->recipe ? r->recipe : &r->snap->recipes[0];
    struct decide_scratch *scratch = decide_scratch_new(r->a, recipe->policy);
    struct gatherer gatherer = { r->snap->signal_models, r->a, r->deadline ? r->deadline : NEVER };
    decide_gather(scratch, models_gather, &gatherer);
    struct decision d = decide_run(recipe->policy, &r->facts, scratch, r->a, DECIDE_EAGER, NULL);
    if (r->recipe)
        buf_str(out, S("This is signalbox, not a language model: no model is connected for this request, "
                       "so nobody has answered it. Here is what the router did with it.\n\n"));
    else
        buf_str(out, S("This is signalbox, not a language model. You asked for `" EXPLAIN_MODEL
                       "`; here is what the router would do "
                       "with this request if you asked for `auto`.\n\n"));
    words_of_facts(r, out);
    words_of_signals(recipe->policy, d.signals, out);
    words_of_decision(r, recipe, &d, out);
    bool connected = is_any_connected(r->snap);
    if (!connected)
        buf_str(out, str_of(how_to_connect));
    buf_str(out, S("The same decision without a gateway: signalbox route --explain 'your text'\n"));
}

/* ---- the same on the wire ---- */

static int64_t prompt_tokens(const struct chat *c) /* four bytes a token, as good as any guess */
{
    uint64_t bytes = c->structured_bytes;
    for (uint32_t i = 0; i < c->n_messages; i++)
        bytes += c->messages[i].text_bytes + c->messages[i].structured_bytes;
    return (int64_t)((bytes + 3) / 4);
}

WAITS int explain_answer(struct req *r)
{
    r->response_path = "explain";
    if (r->endpoint == ENDPOINT_EMBEDDINGS) {
        req_fail(r, 400, "invalid_request_error", "no_embedding_model", "no_embedding_model",
                 "no embedding model is connected: name one under providers.models and ask for it by "
                 "that name (the built-in " EXPLAIN_MODEL " only explains decisions)");
        return relay_fail(r);
    }
    struct buf text = { 0 };
    explain_text(r, &text);
    r->model = r->order[0];
    r->ref = r->refs ? r->refs[0] : NULL;
    r->usage.prompt_tokens = prompt_tokens(&r->chat);
    r->response_model = S(EXPLAIN_MODEL);
    int rc = relay_own_answer(r, r->response_model, buf_view(&text));
    buf_free(&text);
    return rc;
}
