/* admin/route_classify.c -- single signals and vectors over the management API (spec 02, section 5).
 *
 * The same models and the same reading as the signals of the policy, through pipeline/classify.h; shapes and names are VSR's. */
#include "admin/resources.h"

#include <math.h>
#include <stdlib.h>

#include "admin/eval.h"
#include "base/clock.h"
#include "base/put.h"
#include "neural/kernel.h"
#include "pipeline/classify.h"
#include "pipeline/snap.h"
#include "runtime/loop.h"

enum {
    TEXTS_MAX = 2048,
    AT_ONCE = 32,                       /* texts of a batch asked together: even long ones stay within the time-out of signals */
};

struct ask {
    struct admin_req *r;
    struct snap *snap;
    struct json j;
    jref options;                       /* JSON_NONE: none */
    struct json_writer w;
    uint64_t from;
};

/* ---- reading ---- */

static bool body_read(struct ask *q)
{
    struct json_error e;
    if (json_parse(q->r->a, q->r->body, &q->j, &e) < 0)
        admin_error(q->r, 400, "INVALID_INPUT", "malformed JSON body: %s at byte %zu", e.what, e.at);
    else if (!json_is(&q->j, 0, JSON_OBJECT))
        admin_error(q->r, 400, "INVALID_INPUT", "the body must be a JSON object");
    else {
        q->options = json_get(&q->j, 0, S("options"));
        if (!json_is(&q->j, q->options, JSON_OBJECT))
            q->options = JSON_NONE;
        return true;
    }
    return false;
}

static bool facts_read(struct ask *q, struct facts *f)
{
    struct eval_request *e = ARENA_NEW(q->r->a, struct eval_request);
    struct err why = { 0 };
    if (!body_read(q))
        return false;
    if (eval_parse(q->r->a, q->r->body, e, &why) < 0) {
        admin_error(q->r, 400, "INVALID_INPUT", "%s", why.text);
        return false;
    }
    *f = (struct facts){ 0 };
    facts_build(f, q->r->a, &e->chat);
    return true;
}

/* A list of 1 to TEXTS_MAX texts under `key`; NULL: the caller has been told. */
static str *texts_read(struct ask *q, const char *key, size_t *n)
{
    jref list = json_get(&q->j, 0, str_of(key));
    *n = json_is(&q->j, list, JSON_ARRAY) ? json_count(&q->j, list) : 0;
    if (*n == 0 || *n > TEXTS_MAX) {
        admin_error(q->r, 400, "INVALID_INPUT", "%s: expected a list of 1 to %d texts", key, TEXTS_MAX);
        return NULL;
    }
    str *texts = ARENA_ARRAY(q->r->a, str, *n);
    size_t i = 0;
    JSON_EACH_ITEM(&q->j, list, item) {
        if (!json_is(&q->j, item, JSON_STRING)) {
            admin_error(q->r, 400, "INVALID_INPUT", "%s[%zu]: expected a string", key, i);
            return NULL;
        }
        texts[i++] = json_str(&q->j, item, q->r->a);
    }
    return texts;
}

static struct facts facts_of(struct ask *q, str text)
{
    struct chat *chat = ARENA_NEW(q->r->a, struct chat);
    struct message *m = chat->messages = ARENA_NEW(q->r->a, struct message);
    chat->n_messages = 1;
    m->role = ROLE_USER;
    *PUSH(q->r->a, m->texts, m->n_texts) = text;
    m->text_bytes = text.len;
    struct facts f = { 0 };
    facts_build(&f, q->r->a, chat);
    return f;
}

static bool option(const struct ask *q, const char *key)
{
    return q->options != JSON_NONE && json_bool(&q->j, json_get(&q->j, q->options, str_of(key)), false);
}

static double option_number(const struct ask *q, const char *key, double fallback)
{
    double v;
    return q->options != JSON_NONE && json_double(&q->j, json_get(&q->j, q->options, str_of(key)), &v) ? v : fallback;
}

/* ---- writing ---- */

static void time_write(struct ask *q, const char *key)
{
    put_double(&q->w, str_of(key), (double)(clock_now() - q->from) / 1e6);
}

static float score_of(const struct classification *c, str label)
{
    for (uint32_t i = 0; i < c->n_scores; i++)
        if (str_ieq(c->scores[i].label, label))
            return c->scores[i].score;
    return 0;
}

static WAITS bool look(struct ask *q, const char *signal, const struct facts *f, struct classification *c)
{
    classify(q->snap->signal_models, str_of(signal), f, NEVER, q->r->a, c);
    return !c->why;
}

static void unavailable(struct ask *q, const char *signal, const char *why)
{
    admin_error(q->r, 503, "CLASSIFIER_UNAVAILABLE", "the %s classifier did not answer: %s", signal, why);
}

/* ---- one object a signal; `c` has an answer ---- */

static void intent_write(struct ask *q, const struct classification *c)
{
    struct json_writer *w = &q->w;
    put_open(w, S("classification"), '{');
    put_str(w, S("category"), c->label);
    put_float(w, S("confidence"), c->score);
    time_write(q, "processing_time_ms");
    jw_end(w, '}');
    if (option(q, "return_probabilities")) {
        put_open(w, S("probabilities"), '{');
        for (uint32_t i = 0; i < c->n_scores; i++)
            put_float(w, c->scores[i].label, c->scores[i].score);
        jw_end(w, '}');
    }
}

static bool type_is_asked(const struct ask *q, str type)
{
    jref list = q->options == JSON_NONE ? JSON_NONE : json_get(&q->j, q->options, S("entity_types"));
    if (!json_is(&q->j, list, JSON_ARRAY) || json_count(&q->j, list) == 0)
        return true;
    JSON_EACH_ITEM(&q->j, list, item)
        if (str_ieq(json_str(&q->j, item, q->r->a), type) || str_eq(json_str(&q->j, item, q->r->a), S("ALL")))
            return true;
    return false;
}

static int by_place(const void *a, const void *b)
{
    const struct found_span *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

static void pii_write(struct ask *q, const struct facts *f, const struct classification *c)
{
    struct json_writer *w = &q->w;
    double least = option_number(q, "confidence_threshold", 0.5);
    struct buf masked = { 0 };
    uint32_t at = 0, n = 0;
    str text = f->evaluation_text;
    if (c->n_spans)
        qsort(c->spans, c->n_spans, sizeof *c->spans, by_place);
    put_open(w, S("entities"), '[');
    for (uint32_t i = 0; i < c->n_spans; i++) {
        const struct found_span *s = &c->spans[i];
        if ((double)s->score < least || !type_is_asked(q, s->type) || s->from < at)
            continue;
        jw_begin(w, '{');
        put_str(w, S("type"), s->type);
        if (option(q, "reveal_entity_text"))
            put_str(w, S("value"), str_upto(str_from(text, s->from), s->to - s->from));
        put_float(w, S("confidence"), s->score);
        if (option(q, "return_positions")) {
            put_int(w, S("start_position"), s->from);
            put_int(w, S("end_position"), s->to);
        }
        jw_end(w, '}');
        buf_str(&masked, str_upto(str_from(text, at), s->from - at));
        buf_printf(&masked, "[" STR_FMT "]", STR_ARG(s->type));
        at = s->to;
        n++;
    }
    jw_end(w, ']');
    put_bool(w, S("has_pii"), n > 0);
    if (option(q, "mask_entities")) {
        buf_str(&masked, str_from(text, at));
        put_str(w, S("masked_text"), buf_view(&masked));
    }
    buf_free(&masked);
    put_str(w, S("security_recommendation"), n ? S("block") : S("allow"));
    time_write(q, "processing_time_ms");
}

static void security_write(struct ask *q, const struct classification *c)
{
    struct json_writer *w = &q->w;
    const struct value *v = value_path(q->snap->config->global, "model_catalog.modules.prompt_guard.threshold");
    double threshold = 0.7;
    if (v)
        str_double(v->text, &threshold);
    threshold = option_number(q, "confidence_threshold", threshold);
    float risk = score_of(c, S("jailbreak"));
    bool is_attack = (double)risk >= threshold;
    put_bool(w, S("is_jailbreak"), is_attack);
    put_float(w, S("risk_score"), risk);
    put_open(w, S("detection_types"), '[');
    if (is_attack)
        jw_str(w, S("jailbreak"));
    jw_end(w, ']');
    put_float(w, S("confidence"), c->score);
    put_str(w, S("recommendation"), is_attack ? S("block") : S("allow"));
    put_str(w, S("reasoning"), arena_printf(q->r->a, "risk %.2f, threshold %.2f, %u window%s of the text", (double)risk, threshold,
                                          c->n_windows, c->n_windows == 1 ? "" : "s"));
    time_write(q, "processing_time_ms");
}

static void fact_check_write(struct ask *q, const struct classification *c)
{
    str label = c->label;
    bool needs = str_ieq(label, S("needs_fact_check")) || str_ieq(label, S("fact_check_needed"));
    put_bool(&q->w, S("needs_fact_check"), needs);
    put_str(&q->w, S("label"), needs ? S("FACT_CHECK_NEEDED") : S("NO_FACT_CHECK_NEEDED"));
    put_float(&q->w, S("confidence"), c->score);
    time_write(q, "processing_time_ms");
}

static void feedback_write(struct ask *q, const struct classification *c)
{
    put_str(&q->w, S("feedback_type"), c->label);
    put_float(&q->w, S("confidence"), c->score);
    time_write(q, "processing_time_ms");
}

/* ---- resources ---- */

/* Runs `body` under the present snapshot with an open object; it reports errors by admin_error. */
static WAITS void with_snap(struct admin_req *r, void (*body)(struct ask *q))
{
    struct ask q = { .r = r, .snap = snap_enter(loop_self()), .options = JSON_NONE, .w = { .out = &r->out }, .from = clock_now() };
    body(&q);
    snap_leave(loop_self(), q.snap);
}

static WAITS void one_signal(struct ask *q, const char *signal, void (*write)(struct ask *q, const struct classification *c))
{
    struct facts f;
    struct classification c;
    if (!facts_read(q, &f))
        return;
    if (!look(q, signal, &f, &c)) {
        unavailable(q, signal, c.why);
        return;
    }
    jw_begin(&q->w, '{');
    write(q, &c);
    jw_end(&q->w, '}');
}

static WAITS void intent(struct ask *q)
{
    struct facts f;
    struct classification c;
    if (!facts_read(q, &f))
        return;
    if (!look(q, "domain", &f, &c)) {
        unavailable(q, "domain", c.why);
        return;
    }
    const struct recipe *recipe = &q->snap->recipes[0];
    struct decide_scratch *scratch = decide_scratch_new(q->r->a, recipe->policy);
    struct gatherer gatherer = { q->snap->signal_models, q->r->a, NEVER };
    static const char *const no_identity[] = { "authz", NULL };
    f.now_ns = clock_wall();
    f.seed = 1;
    decide_gather(scratch, models_gather, &gatherer);
    struct decision d = decide_run(recipe->policy, &f, scratch, q->r->a, DECIDE_EAGER, no_identity);
    jw_begin(&q->w, '{');
    intent_write(q, &c);
    put_str(&q->w, S("recommended_model"), d.conf && d.conf->n_refs ? d.conf->refs[0].model : q->snap->config->default_model);
    put_str(&q->w, S("routing_decision"), d.conf ? d.conf->name : S("default"));
    jw_key(&q->w, S("matched_signals"));
    decide_signals_json(recipe->policy, scratch, true, !option(q, "evaluate_all_signals"), &q->w);
    jw_end(&q->w, '}');
}

static WAITS void pii(struct ask *q)
{
    struct facts f;
    struct classification c;
    if (!facts_read(q, &f))
        return;
    look(q, "pii", &f, &c);
    jw_begin(&q->w, '{');
    pii_write(q, &f, &c);
    jw_end(&q->w, '}');
}

static WAITS void security(struct ask *q)   { one_signal(q, "jailbreak", security_write); }
static WAITS void fact_check(struct ask *q) { one_signal(q, "fact_check", fact_check_write); }
static WAITS void feedback(struct ask *q)   { one_signal(q, "user_feedback", feedback_write); }

static const struct task {
    const char *name, *signal;
    void (*write)(struct ask *q, const struct classification *c);   /* NULL: spans */
} tasks[] = {
    { "intent", "domain", intent_write }, { "pii", "pii", NULL }, { "security", "jailbreak", security_write },
    { "fact-check", "fact_check", fact_check_write }, { "user-feedback", "user_feedback", feedback_write },
};

static void answer_write(struct ask *q, const struct task *t, const struct facts *f, const struct classification *c)
{
    jw_begin(&q->w, '{');
    if (c->why)
        put_str(&q->w, S("unavailable"), str_of(c->why));
    else if (t->write)
        t->write(q, c);
    else
        pii_write(q, f, c);
    jw_end(&q->w, '}');
}

static WAITS void task_write(struct ask *q, const struct task *t, const struct facts *f)
{
    struct classification c;
    look(q, t->signal, f, &c);
    answer_write(q, t, f, &c);
}

static WAITS void combined(struct ask *q)
{
    struct facts f;
    if (!facts_read(q, &f))
        return;
    jw_begin(&q->w, '{');
    for (size_t i = 0; i < 3; i++) {
        jw_key(&q->w, str_of(tasks[i].name));
        task_write(q, &tasks[i], &f);
    }
    time_write(q, "processing_time_ms");
    jw_end(&q->w, '}');
}

static WAITS void batch(struct ask *q)
{
    size_t n, at = 0;
    if (!body_read(q))
        return;
    str *texts = texts_read(q, "texts", &n);
    if (!texts)
        return;
    str type = json_str(&q->j, json_get(&q->j, 0, S("task_type")), q->r->a);
    while (at < COUNT_OF(tasks) && type.len && !str_eq(type, str_of(tasks[at].name)))
        at++;
    if (at == COUNT_OF(tasks)) {
        admin_error(q->r, 400, "INVALID_INPUT", "task_type: expected intent, pii, security, fact-check or user-feedback");
        return;
    }
    struct facts *facts = ARENA_ARRAY(q->r->a, struct facts, n);
    const struct facts **each = ARENA_ARRAY(q->r->a, const struct facts *, n);
    struct classification *said = ARENA_ARRAY(q->r->a, struct classification, n);
    for (size_t i = 0; i < n; i++) {
        facts[i] = facts_of(q, texts[i]);
        each[i] = &facts[i];
    }
    for (size_t i = 0, take; i < n; i += take) {
        take = n - i < AT_ONCE ? n - i : AT_ONCE;
        classify_many(q->snap->signal_models, str_of(tasks[at].signal), each + i, take, NEVER, q->r->a, said + i);
    }
    jw_begin(&q->w, '{');
    put_open(&q->w, S("results"), '[');
    for (size_t i = 0; i < n; i++)
        answer_write(q, &tasks[at], each[i], &said[i]);
    jw_end(&q->w, ']');
    put_int(&q->w, S("total_count"), (int64_t)n);
    time_write(q, "processing_time_ms");
    jw_end(&q->w, '}');
}

/* ---- vectors ---- */

static WAITS const struct need_source *embedder(struct ask *q)
{
    str model = json_str(&q->j, json_get(&q->j, 0, S("model")), q->r->a);
    bool is_auto = str_eq(model, S("auto")) || str_chr(model, '/') >= 0;    /* folders are the configuration's to name */
    const struct need_source *s = models_source(q->snap->signal_models, NEED_EMBEDDING, "embedding", is_auto ? S("") : model);
    if (!s->why_absent)
        return s;
    unavailable(q, "embedding", s->why_absent);
    return NULL;
}

static WAITS float *vectors_of(struct ask *q, const struct need_source *s, const str *texts, size_t n, uint32_t dim)
{
    float *v = arena_try(q->r->a, n * dim * sizeof *v);
    const char *why = v ? models_embed(s, texts, n, dim, NEVER, v, NULL) : "no-memory";
    if (!why)
        return v;
    unavailable(q, "embedding", why);
    return NULL;
}

static WAITS void embeddings(struct ask *q)
{
    size_t n = 0;
    str *texts = body_read(q) ? texts_read(q, "texts", &n) : NULL;
    const struct need_source *s = texts ? embedder(q) : NULL;
    if (!s)
        return;
    int64_t dim = s->dim;
    jref wanted = json_get(&q->j, 0, S("dimension"));
    if (wanted != JSON_NONE && (!json_int(&q->j, wanted, &dim) || dim < 0 || dim > s->dim)) {
        admin_error(q->r, 400, "INVALID_INPUT", "dimension: this model makes vectors of 1 to %u numbers", s->dim);
        return;
    }
    if (dim == 0)
        dim = s->dim;
    float *v = vectors_of(q, s, texts, n, (uint32_t)dim);
    if (!v)
        return;
    struct json_writer *w = &q->w;
    jw_begin(w, '{');
    put_open(w, S("embeddings"), '[');
    for (size_t i = 0; i < n; i++) {
        jw_begin(w, '{');
        put_str(w, S("text"), texts[i]);
        put_str(w, S("modality"), S("text"));
        put_open(w, S("embedding"), '[');
        for (int64_t d = 0; d < dim; d++)
            jw_float(w, v[(int64_t)i * dim + d]);
        jw_end(w, ']');
        put_int(w, S("dimension"), dim);
        put_str(w, S("model_used"), s->name);
        jw_end(w, '}');
    }
    jw_end(w, ']');
    put_int(w, S("total_count"), (int64_t)n);
    time_write(q, "total_processing_time_ms");
    jw_end(w, '}');
}

static WAITS void similarity(struct ask *q)
{
    if (!body_read(q))
        return;
    str pair[2] = { json_str(&q->j, json_get(&q->j, 0, S("text1")), q->r->a), json_str(&q->j, json_get(&q->j, 0, S("text2")), q->r->a) };
    if (!pair[0].len || !pair[1].len) {
        admin_error(q->r, 400, "INVALID_INPUT", "text1 and text2 are required");
        return;
    }
    const struct need_source *s = embedder(q);
    float *v = s ? vectors_of(q, s, pair, 2, s->dim) : NULL;
    if (!v)
        return;
    float cosine = vector_dot(v, v + s->dim, s->dim);
    jw_begin(&q->w, '{');
    put_float(&q->w, S("similarity"), cosine);
    put_float(&q->w, S("threshold_scale"), need_similarity(s, cosine));
    put_str(&q->w, S("model_used"), s->name);
    time_write(q, "processing_time_ms");
    jw_end(&q->w, '}');
}

struct match { size_t index; float similarity; };

static int by_similarity(const void *a, const void *b)
{
    const struct match *x = a, *y = b;
    return x->similarity > y->similarity ? -1 : x->similarity < y->similarity ? 1 : x->index < y->index ? -1 : 1;
}

static WAITS void similarity_batch(struct ask *q)
{
    size_t n = 0;
    str *texts = body_read(q) ? texts_read(q, "candidates", &n) : NULL;
    if (!texts)
        return;
    str query = json_str(&q->j, json_get(&q->j, 0, S("query")), q->r->a);
    int64_t top = 0;
    json_int(&q->j, json_get(&q->j, 0, S("top_k")), &top);
    const struct need_source *s = embedder(q);
    if (!s)
        return;
    str *all = ARENA_ARRAY(q->r->a, str, n + 1);
    memcpy(all, texts, n * sizeof *all);
    all[n] = query;
    float *v = vectors_of(q, s, all, n + 1, s->dim);
    if (!v)
        return;
    struct match *list = ARENA_ARRAY(q->r->a, struct match, n);
    for (size_t i = 0; i < n; i++)
        list[i] = (struct match){ i, vector_dot(v + i * s->dim, v + n * s->dim, s->dim) };
    qsort(list, n, sizeof *list, by_similarity);
    jw_begin(&q->w, '{');
    put_open(&q->w, S("matches"), '[');
    for (size_t i = 0; i < n && (top <= 0 || i < (size_t)top); i++) {
        jw_begin(&q->w, '{');
        put_int(&q->w, S("index"), (int64_t)list[i].index);
        put_float(&q->w, S("similarity"), list[i].similarity);
        put_str(&q->w, S("text"), texts[list[i].index]);
        jw_end(&q->w, '}');
    }
    jw_end(&q->w, ']');
    put_int(&q->w, S("total_candidates"), (int64_t)n);
    put_str(&q->w, S("model_used"), s->name);
    time_write(q, "processing_time_ms");
    jw_end(&q->w, '}');
}

/* ---- pairs ---- */

static bool text_read(struct ask *q, const char *key, str *out)
{
    jref value = json_get(&q->j, 0, str_of(key));
    if (json_is(&q->j, value, JSON_STRING))
        *out = str_trim(json_str(&q->j, value, q->r->a));
    if (out->len)
        return true;
    admin_error(q->r, 400, "INVALID_INPUT", "%s: expected a text", key);
    return false;
}

static WAITS void nli(struct ask *q)
{
    static const char *const names[] = {
        [NLI_ENTAILMENT] = "entailment", [NLI_NEUTRAL] = "neutral", [NLI_CONTRADICTION] = "contradiction",
    };
    str premise = { 0 }, hypothesis = { 0 };
    struct nli found;
    if (!body_read(q) || !text_read(q, "premise", &premise) || !text_read(q, "hypothesis", &hypothesis))
        return;
    models_nli(q->snap->signal_models, premise, hypothesis, q->r->a, &found);
    if (found.why && strcmp(found.why, "no-model") == 0) {
        admin_error(q->r, 503, "CLASSIFIER_UNAVAILABLE",
                    "no NLI model: set global.model_catalog.system.hallucination_explainer to the folder of a text classifier with the "
                    "labels entailment, neutral and contradiction");
        return;
    }
    if (found.why) {
        unavailable(q, "nli", found.why);
        return;
    }
    struct json_writer *w = &q->w;
    jw_begin(w, '{');
    put_str(w, S("label"), str_of(names[found.label]));
    put_float(w, S("confidence"), found.score[found.label]);
    put_open(w, S("probabilities"), '{');
    for (unsigned i = 0; i < NLI_N; i++)
        put_float(w, str_of(names[i]), found.score[i]);
    jw_end(w, '}');
    put_bool(w, S("truncated"), found.is_cut);
    put_str(w, S("model_used"), found.model);
    time_write(q, "processing_time_ms");
    jw_end(w, '}');
}

#define RESOURCE(name) WAITS void admin_##name(struct admin_req *r) { with_snap(r, name); }
RESOURCE(intent)
RESOURCE(pii)
RESOURCE(security)
RESOURCE(fact_check)
RESOURCE(feedback)
RESOURCE(combined)
RESOURCE(batch)
RESOURCE(embeddings)
RESOURCE(similarity)
RESOURCE(similarity_batch)
RESOURCE(nli)
