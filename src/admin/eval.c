/* admin/eval.c -- one JSON object that says what was found, decided and picked.
 *
 * Field names are VSR's, so that whatever reads its answer reads ours: the conformance runner,
 * dashboards, scripts. What it lacks is added beside them: signals without an answer and why,
 * scores of projections, what the lazy path would have spared. Flows are not run here: they
 * answer "execution_required" and name no model. */
#include "admin/eval.h"

#include <math.h>
#include <stdio.h>

#include "base/put.h"
#include "dialect/openai_chat_parse.h"

/* ---- the question ---- */

static bool is_empty(const struct chat *c)
{
    for (uint32_t i = 0; i < c->n_messages; i++) {
        const struct message *m = &c->messages[i];
        if (m->n_images || m->n_tool_calls || m->structured_bytes)
            return false;
        for (uint32_t k = 0; k < m->n_texts; k++) {
            if (str_trim(m->texts[k]).len)
                return false;
        }
    }
    return true;
}

/* The floor counts the text without the white space around it; the raw one is kept for
 * `text_bytes` (spec 01, section 2.1). */
static void chat_of_text(struct arena *a, struct chat *c, str text)
{
    c->messages = ARENA_NEW(a, struct message);
    c->n_messages = 1;
    c->messages[0] = (struct message){
        .role = ROLE_USER, .texts = ARENA_NEW(a, str), .n_texts = 1,
        .text_bytes = strlen("user") + str_trim(text).len,
    };
    c->messages[0].texts[0] = text;
}

static str last_user_text(struct arena *a, const struct chat *c)
{
    struct facts f = { 0 };
    facts_build(&f, a, c);
    return f.current_user.len ? f.current_user : f.evaluation_text;
}

int eval_parse(struct arena *a, str body, struct eval_request *out, struct err *e)
{
    struct json j;
    struct json_error je;
    *out = (struct eval_request){ 0 };
    if (str_trim(body).len == 0)
        return err_set(e, "the body is empty: send {\"text\": ...} or {\"messages\": [...]}");
    if (json_parse(a, body, &j, &je) < 0)
        return err_set(e, "malformed JSON body: %s at byte %zu", je.what, je.at);
    if (openai_chat_parse_partial(a, &j, SIZES_AS_GO_MARSHALS, &out->chat, e) < 0)
        return -1;
    jref text = json_get(&j, 0, S("text"));
    if (text != JSON_NONE && json_kind(&j, text) != JSON_STRING &&
        json_kind(&j, text) != JSON_NULL)
        return err_set(e, "text: expected a string, got %s",
                       json_kind_name(json_kind(&j, text)));
    if (out->chat.n_messages) {
        if (is_empty(&out->chat))
            return err_set(e, "messages: none of them holds a text");
        out->text = last_user_text(a, &out->chat);
        return 0;
    }
    str raw = json_str(&j, text, a);
    if (str_trim(raw).len == 0)
        return err_set(e, "%s", text == JSON_NONE ? "text or messages is required"
                                                  : "text: must not be empty");
    chat_of_text(a, &out->chat, raw);
    out->text = str_trim(raw);
    out->is_text = true;
    return 0;
}

/* ---- the answer ---- */

static str ref_name(const struct model_ref *ref)
{
    return ref->lora_name.len ? ref->lora_name : ref->model;
}

static bool is_default(const struct eval_in *in)
{
    return !in->decision->conf || in->decision->conf->n_refs == 0;
}

static str algorithm_of(const struct eval_in *in)
{
    const struct decision_conf *d = in->decision->conf;
    return d && d->algorithm.type.len ? d->algorithm.type : S("static");
}

static void decision_result(const struct eval_in *in, struct json_writer *w)
{
    const struct decision_conf *d = in->decision->conf;
    put_open(w, S("decision_result"), '{');
    put_str(w, S("decision_name"), d ? d->name : S(""));
    if (d) {
        put_str(w, S("algorithm"), algorithm_of(in));
        put_float(w, S("confidence"), (float)in->decision->confidence);
        put_int(w, S("priority"), d->priority);
        put_int(w, S("tier"), d->tier);
        put_bool(w, S("failed"), in->decision->is_failed);
    }
    put_open(w, S("plugins"), '[');
    for (size_t i = 0; d && i < d->n_plugins; i++)
        jw_str(w, d->plugins[i].type);
    jw_end(w, ']');
    jw_key(w, S("matched_signals"));
    decide_signals_json(in->policy, in->scratch, true, false, w);
    jw_key(w, S("unmatched_signals"));
    decide_signals_json(in->policy, in->scratch, false, false, w);
    jw_key(w, S("used_signals"));
    decide_used_json(in->policy, in->scratch, w);
    jw_end(w, '}');
}

static void recommended_models(const struct eval_in *in, struct json_writer *w)
{
    put_open(w, S("recommended_models"), '[');
    for (size_t i = 0; !is_default(in) && i < in->decision->conf->n_refs; i++)
        jw_str(w, ref_name(&in->decision->conf->refs[i]));
    if (is_default(in) && in->default_model.len)
        jw_str(w, in->default_model);
    jw_end(w, ']');
}

/* Which model would answer. Selectors run here as they do for a request; flows do not. */
static void selection(const struct eval_in *in, struct json_writer *w)
{
    const struct decision_conf *d = in->decision->conf;
    str algorithm = algorithm_of(in);
    if (in->decision->is_failed) {
        put_str(w, S("selection_status"), S("failed"));
        put_str(w, S("selection_method"), S("none"));
        put_str(w, S("selection_reason"), S("a rule is unknown and on_unknown is fail_request"));
        return;
    }
    if (is_default(in)) {
        put_str(w, S("selection_status"), in->default_model.len ? S("selected") : S("unavailable"));
        put_str(w, S("selection_method"), S("default"));
        if (in->default_model.len)
            put_str(w, S("selected_model"), in->default_model);
        put_str(w, S("selection_reason"),
             d ? S("the decision names no model") : S("no decision matched"));
        return;
    }
    if (in->selector && in->selector->is_flow) {
        put_str(w, S("selection_status"), S("execution_required"));
        put_str(w, S("selection_method"), algorithm);
        put_str(w, S("selection_reason"), S("a flow asks several models; nothing is called here"));
        return;
    }
    /* "single" stands for static alone: whoever named an algorithm reads that name. */
    str method = str_eq(algorithm, S("static")) && in->method ? str_of(in->method) : algorithm;
    uint32_t first = in->pick ? in->pick->order[0] : 0;
    put_str(w, S("selection_status"), S("selected"));
    put_str(w, S("selection_method"), method);
    put_str(w, S("selected_model"), ref_name(&d->refs[first]));
    if (!in->pick)
        return;
    put_str(w, S("selection_reason"),
         str_of(in->pick->fallback ? in->pick->fallback : in->pick->reason));
    put_double(w, S("selection_confidence"), in->pick->confidence);
    put_double(w, S("selection_propensity"), in->pick->propensity);
    if (in->pick->fallback)
        put_str(w, S("selection_fallback"), str_of(in->pick->fallback));
    put_open(w, S("selection_scores"), '[');    /* in the order of preference; models may repeat */
    for (size_t i = 0; i < d->n_refs; i++) {
        uint32_t k = in->pick->order[i];
        jw_begin(w, '{');
        put_str(w, S("model"), ref_name(&d->refs[k]));
        put_float(w, S("score"), in->pick->scores[k]);
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

/* "type:name" -> why, of signals whose unit ran and failed. What is not there or was left out on purpose is no failure
 * of this request: it stands among the unknown signals. */
static bool is_error(const struct eval_in *in, uint32_t slot)
{
    static const char *const absences[] = { "no-model", "no-image-model", "off", "skipped", "not-built" };
    const char *why = in->decision->signals->why_unknown[slot];
    for (size_t i = 0; why && i < COUNT_OF(absences); i++)
        if (strcmp(why, absences[i]) == 0)
            return false;
    return why && !sig_known(in->decision->signals, slot);
}

static void signal_errors(const struct eval_in *in, struct json_writer *w)
{
    bool is_open = false;
    for (uint32_t i = 0; i < policy_n_slots(in->policy); i++) {
        if (!is_error(in, i))
            continue;
        if (!is_open) {
            put_open(w, S("signal_errors"), '{');
            is_open = true;
        }
        char key[256];
        str type = policy_slot_type(in->policy, i), name = policy_slot_name(in->policy, i);
        snprintf(key, sizeof key, STR_FMT ":" STR_FMT, STR_ARG(type), STR_ARG(name));
        put_str(w, str_of(key), str_of(in->decision->signals->why_unknown[i]));
    }
    if (is_open)
        jw_end(w, '}');
}

static double best_confidence(const struct eval_in *in, str type)
{
    const struct sigset *s = in->decision->signals;
    double best = 0;
    for (uint32_t i = 0; i < policy_n_slots(in->policy); i++) {
        if (!str_eq(policy_slot_type(in->policy, i), type) || !sig_yes(s, i))
            continue;
        double c = isnan(s->confidence[i]) ? 1 : (double)s->confidence[i];
        best = c > best ? c : best;
    }
    return best;
}

/* By type: the time of its units, and the highest confidence among its matches. */
static void metrics(const struct eval_in *in, struct json_writer *w)
{
    uint32_t n = policy_n_units(in->policy);
    put_open(w, S("metrics"), '{');
    for (uint32_t i = 0; i < n; i++) {
        str type = policy_unit_at(in->policy, i)->type;
        bool is_first = true;
        uint64_t ns = 0, one;
        for (uint32_t k = 0; k < n; k++) {
            if (!str_eq(policy_unit_at(in->policy, k)->type, type))
                continue;
            is_first &= k >= i;
            decide_unit_fate(in->scratch, k, &one);
            ns += one;
        }
        if (!is_first || decide_unit_fate(in->scratch, i, NULL) != UNIT_RUN)
            continue;
        put_open(w, type, '{');
        put_double(w, S("execution_time_ms"), (double)ns / 1e6);
        put_float(w, S("confidence"), (float)best_confidence(in, type));
        jw_end(w, '}');
    }
    jw_end(w, '}');
}

/* What the data plane does for the same request. */
static void lazy_json(const struct eval_in *in, struct json_writer *w)
{
    if (!in->lazy || !in->lazy_scratch)
        return;
    put_open(w, S("lazy"), '{');
    put_int(w, S("units_run"), in->lazy->n_units_run);
    put_int(w, S("units_avoided"), in->lazy->n_units_avoided);
    put_int(w, S("calls"), in->lazy->n_calls);
    put_int(w, S("calls_avoided"), in->lazy->n_calls_avoided);
    put_open(w, S("avoided_units"), '[');
    for (uint32_t i = 0; i < policy_n_units(in->policy); i++) {
        if (decide_unit_fate(in->lazy_scratch, i, NULL) == UNIT_AVOIDED)
            jw_str(w, policy_unit_at(in->policy, i)->type);
    }
    jw_end(w, ']');
    jw_key(w, S("calls_that_settle"));          /* with hindsight */
    jw_begin(w, '[');
    for (uint32_t i = 0; i < policy_n_units(in->policy); i++) {
        if (in->is_enough && in->is_enough[i])
            jw_str(w, policy_unit_at(in->policy, i)->type);
    }
    jw_end(w, ']');
    jw_end(w, '}');
}

static void facts_json(const struct facts *f, struct json_writer *w)
{
    put_open(w, S("facts"), '{');
    put_int(w, S("context_tokens"), f->context_tokens < INT64_MAX ? (int64_t)f->context_tokens
                                                               : INT64_MAX);
    put_int(w, S("messages"), f->chat->n_messages);
    put_int(w, S("tool_definitions"), f->chat->n_tools);
    put_int(w, S("tool_calls"), f->n_tool_calls);
    put_int(w, S("images"), f->n_images);
    put_bool(w, S("active_tool_loop"), f->is_tool_loop_active);
    jw_end(w, '}');
}

void eval_render(const struct eval_in *in, struct buf *out)
{
    struct json_writer writer = { .out = out }, *w = &writer;
    const struct decision_conf *d = in->decision->conf;
    jw_begin(w, '{');
    put_str(w, S("original_text"), in->original_text);
    put_str(w, S("requested_model"), in->requested_model);
    put_str(w, S("recipe"), in->recipe.len ? in->recipe : S("default"));
    put_str(w, S("routing_decision"), d ? d->name : S(""));
    decision_result(in, w);
    recommended_models(in, w);
    selection(in, w);
    if (in->with_trace) {
        jw_key(w, S("eval_trace"));
        decide_trace_json(in->policy, in->scratch, w);
    }
    signal_errors(in, w);
    metrics(in, w);
    jw_key(w, S("signal_confidences"));
    decide_numbers_json(in->policy, in->scratch, NUMBERS_CONFIDENCE, w);
    jw_key(w, S("signal_values"));
    decide_numbers_json(in->policy, in->scratch, NUMBERS_VALUE, w);
    jw_key(w, S("projection_scores"));
    decide_scores_json(in->policy, in->scratch, w);
    jw_key(w, S("unknown_signals"));
    decide_unknown_json(in->policy, in->scratch, w);
    lazy_json(in, w);
    facts_json(in->facts, w);
    jw_end(w, '}');
}
