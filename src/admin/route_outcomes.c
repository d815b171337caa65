/* admin/route_outcomes.c -- outcomes come in, the learned state goes out, another instance's comes in.
 *
 * POST /api/v1/outcomes takes one outcome or a list. Each names the request (the id of its `x-request-id` header) and says a
 * reward between 0 and 1, or one of VSR's verdicts. A source has one say per request: again is a repetition, something else a
 * correction, `retract` takes it back. Outcomes may be late, partial (`weight`) and in any order; each gets its own answer. A
 * source is kept as it was named (VSR stores all as operator's). */
#include "admin/resources.h"

#include <math.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/put.h"
#include "pipeline/learning.h"

enum { OUTCOMES_A_POST_MAX = 10000 };

static const struct verdict { const char *name; double reward; } verdicts[] = {
    { "good_fit", 1 },
    /* the answer was right: a cheaper model might have done; price is in the choice already */
    { "overprovisioned", .8 },
    { "underpowered", 0 },
    { "failed", 0 },
};

static const char *const results[] = {
    [SAID_NEW] = "recorded", [SAID_AGAIN] = "duplicate", [SAID_CORRECTED] = "corrected", [SAID_OVERRULED] = "recorded",
    [SAID_UNKNOWN] = "unknown_request", [SAID_NO_ROOM] = "no_room",
};

struct outcome_said { str id; enum outcome_source source; double reward, weight; };

/* False: *why is a sentence. */
static bool outcome_read(const struct json *j, jref n, struct arena *a, struct outcome_said *out, str *why)
{
    static const char *const id_keys[] = { "request_id", "replay_id", "id" }, *const reward_keys[] = { "reward", "quality",
            "score" };
    *out = (struct outcome_said){ .source = SOURCE_OPERATOR, .reward = (double)NAN, .weight = 1 };
    if (!json_is(j, n, JSON_OBJECT)) {
        *why = S("expected an object");
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(id_keys) && !out->id.len; i++)
        out->id = json_str(j, json_get(j, n, str_of(id_keys[i])), a);
    if (out->id.len == 0 || out->id.len > 256) {
        *why = S("request_id: expected the x-request-id of an answer, at most 256 bytes");
        return false;
    }
    str source = json_str(j, json_get(j, n, S("source")), a), verdict = json_str(j, json_get(j, n, S("verdict")), a);
    bool is_known = source.len == 0;
    for (int s = 0; s < OUTCOME_SOURCES; s++)
        if (str_eq(source, str_of(outcome_sources[s]))) {
            out->source = (enum outcome_source)s;
            is_known = true;
        }
    if (!is_known) {
        *why = S("source: expected operator, user, judge or implicit");
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(verdicts); i++)
        if (str_eq(verdict, str_of(verdicts[i].name)))
            out->reward = verdicts[i].reward;
    if (verdict.len && isnan(out->reward)) {
        *why = S("verdict: expected good_fit, overprovisioned, underpowered or failed");
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(reward_keys) && isnan(out->reward); i++) {
        jref v = json_get(j, n, str_of(reward_keys[i]));
        double d;
        bool b = json_is(j, v, JSON_TRUE);
        if (b || json_is(j, v, JSON_FALSE))
            out->reward = b;
        else if (json_double(j, v, &d))
            out->reward = d;
    }
    if (json_bool(j, json_get(j, n, S("retract")), false)) {
        out->reward = out->weight = 0;
        return true;
    }
    jref weight = json_get(j, n, S("weight"));
    if (weight != JSON_NONE && !(json_double(j, weight, &out->weight) && out->weight >= 0 && out->weight <= 1)) {
        *why = S("weight: expected a number from 0 to 1");
        return false;
    }
    if (!(out->reward >= 0 && out->reward <= 1)) {
        *why = S("reward: expected a number from 0 to 1, or a verdict");
        return false;
    }
    return true;
}

static void stamp(struct json_writer *w)
{
    char time[32];
    put_str(w, S("timestamp"), (str){ time, clock_iso(clock_wall(), time) });
}

struct tally { uint64_t recorded, corrected, duplicate, unknown, refused; };

static void outcome_take(struct learning *l, const struct json *j, jref n, struct arena *a, struct json_writer *w,
                         struct tally *t)
{
    struct outcome_said o;
    str why = S("");
    jw_begin(w, '{');
    if (outcome_read(j, n, a, &o, &why)) {
        enum outcome_result r = learning_say(l, o.id, o.source, o.reward, o.weight);
        t->recorded += r == SAID_NEW || r == SAID_OVERRULED;
        t->corrected += r == SAID_CORRECTED;
        t->duplicate += r == SAID_AGAIN;
        t->unknown += r == SAID_UNKNOWN;
        put_str(w, S("request_id"), o.id);
        put_str(w, S("result"), str_of(results[r]));
        if (r == SAID_OVERRULED)
            put_str(w, S("note"), S("a better informed source has spoken of this request"));
    } else {
        t->refused++;
        put_str(w, S("request_id"), o.id);
        put_str(w, S("result"), S("refused"));
        put_str(w, S("error"), why);
    }
    jw_end(w, '}');
}

void admin_outcomes(struct admin_req *r)
{
    struct json j;
    struct json_error e;
    struct learning *l = learning_process();
    struct tally t = { 0 };
    if (!l) {
        admin_error(r, 503, "NO_MEMORY", "there is no memory for the learned state");
        return;
    }
    if (json_parse(r->a, r->body, &j, &e) < 0) {
        admin_error(r, 400, "INVALID_INPUT", "malformed JSON body: %s at byte %zu", e.what, e.at);
        return;
    }
    jref list = json_is(&j, 0, JSON_ARRAY) ? 0 : json_get(&j, 0, S("outcomes"));
    bool is_list = json_is(&j, list, JSON_ARRAY);
    if (!is_list && !json_is(&j, 0, JSON_OBJECT)) {
        admin_error(r, 400, "INVALID_INPUT", "expected an outcome, or a list of them under \"outcomes\"");
        return;
    }
    if (is_list && json_count(&j, list) > OUTCOMES_A_POST_MAX) {
        admin_error(r, 400, "INVALID_INPUT", "at most %d outcomes a request", OUTCOMES_A_POST_MAX);
        return;
    }
    struct json_writer w = { .out = &r->out };
    jw_begin(&w, '{');
    put_open(&w, S("results"), '[');
    if (is_list) {
        JSON_EACH_ITEM(&j, list, item)
            outcome_take(l, &j, item, r->a, &w, &t);
    } else {
        outcome_take(l, &j, 0, r->a, &w, &t);
    }
    jw_end(&w, ']');
    put_bool(&w, S("success"), t.refused + t.unknown == 0);
    put_int(&w, S("recorded"), t.recorded);
    put_int(&w, S("corrected"), t.corrected);
    put_int(&w, S("duplicate"), t.duplicate);
    put_int(&w, S("unknown"), t.unknown);
    put_int(&w, S("refused"), t.refused);
    stamp(&w);
    jw_end(&w, '}');
    if (!is_list && t.unknown)
        r->status = 404;
    else if (!is_list && t.refused)
        r->status = 400;
}

void admin_learning(struct admin_req *r)
{
    struct learning *l = learning_process();
    if (l)
        learning_show(l, &r->out);
    else
        admin_error(r, 503, "NO_MEMORY", "there is no memory for the learned state");
}

void admin_learning_export(struct admin_req *r)
{
    struct learning *l = learning_process();
    if (l)
        learning_export(l, &r->out);
    else
        admin_error(r, 503, "NO_MEMORY", "there is no memory for the learned state");
}

void admin_learning_merge(struct admin_req *r)
{
    struct err e = { 0 };
    struct learning *l = learning_process();
    int rc = l ? learning_import(l, r->body, &e) : err_set(&e, "there is no memory for the learned state");
    if (rc < 0) {
        admin_error(r, 400, "INVALID_INPUT", "%s", e.text);
        return;
    }
    struct json_writer w = { .out = &r->out };
    jw_begin(&w, '{');
    put_str(&w, S("result"), rc == 0 ? S("merged") : S("older_than_held"));
    stamp(&w);
    jw_end(&w, '}');
}

/* GET /api/v1/outcomes/{request id}: what is remembered of a decision, and what was said of it. */
void admin_outcome_get(struct admin_req *r)
{
    struct learning *l = learning_process();
    struct remembered d;
    char model[LEARNING_NAME_MAX];
    str id = str_from(r->head.path, sizeof "/api/v1/outcomes/" - 1);
    if (!l || !learning_recall(l, id, &d, model)) {
        admin_error(r, 404, "NOT_FOUND", "no decision of request '" STR_FMT "' is remembered (the last %d are)", STR_ARG(id),
                    OUTCOMES_MAX);
        return;
    }
    struct json_writer w = { .out = &r->out };
    jw_begin(&w, '{');
    put_str(&w, S("request_id"), id);
    put_str(&w, S("model"), str_of(model));
    put_int(&w, S("at"), d.at_s);
    put_float(&w, S("expected"), d.expected);
    put_float(&w, S("believed"), d.mean);
    put_float(&w, S("deviation"), d.deviation);
    put_float(&w, S("propensity"), d.propensity);
    put_open(&w, S("said"), '{');
    for (int s = 0; s < OUTCOME_SOURCES; s++) {
        if (d.said[s].weight <= 0)
            continue;
        put_open(&w, str_of(outcome_sources[s]), '{');
        put_float(&w, S("reward"), d.said[s].reward);
        put_float(&w, S("weight"), d.said[s].weight);
        jw_end(&w, '}');
    }
    jw_end(&w, '}');
    jw_end(&w, '}');
}

void admin_sessions(struct admin_req *r)
{
    enum { SESSIONS_SHOWN = 1000 };
    struct learning *l = learning_process();
    if (!l) {
        admin_error(r, 503, "NO_MEMORY", "there is no memory for the learned state");
        return;
    }
    buf_str(&r->out, S("{\"data\":"));
    learning_sessions_write(l, SESSIONS_SHOWN, &r->out);
    buf_char(&r->out, '}');
}
