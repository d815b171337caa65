/* pipeline/judge.c */
#include "pipeline/judge.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/put.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "pipeline/ask.h"
#include "pipeline/key.h"
#include "pipeline/learning_request.h"
#include "pipeline/limit.h"
#include "runtime/loop.h"

/* ---- the configuration ---- */

/* The judge is a caller with a key of its own. So its money and its pace are held by the limits that hold everybody's: reserved
 * before a call, true after it, in the books where there are books, and told under the key "judge". */
static struct caller *payer_build(struct arena *a, const struct judge_conf *c)
{
    static const struct key_conf nobody = { .id = { "judge", 5 } };
    struct caller *payer = ARENA_NEW(a, struct caller);
    struct key *key = ARENA_NEW(a, struct key);
    key->conf = &nobody;
    if (c->budget_usd > 0 || c->calls_per_hour > 0) {
        key->rules = ARENA_NEW(a, struct limit_rule);
        key->n_rules = 1;
        *key->rules = (struct limit_rule){
            .name = S("learning.judge"), .most[GAUGE_REQUESTS] = c->calls_per_hour, .window_ns = 3600 * NS_PER_S,
            .has_money = c->budget_usd > 0, .is_hard = true, .amount = llround(c->budget_usd * 1e6), .period = PERIOD_DAY,
        };
    }
    *payer = (struct caller){ .kind = CALLER_KEY, .key_id = nobody.id, .key = key };
    return payer;
}

struct judge *judge_build(struct arena *a, const struct value *v)
{
    struct judge_conf *c = ARENA_NEW(a, struct judge_conf);
    if (!v || v->kind != VALUE_MAP)
        return NULL;
    field_decode(a, &judge_fields, v, S(""), c, NULL);          /* findings were reported with the document */
    if (!c->model.len || !(c->sample > 0))
        return NULL;
    struct judge *j = ARENA_NEW(a, struct judge);
    *j = (struct judge){ c, payer_build(a, c) };
    return j;
}

static bool has_decision(const struct config *c, str name)
{
    for (size_t p = 0; p < c->n_profiles; p++)
        for (size_t i = 0; i < c->profiles[p].n_decisions; i++)
            if (str_eq(c->profiles[p].decisions[i].name, name))
                return true;
    return false;
}

void judge_check(const struct snap *s, struct findings *out)
{
    const struct judge *j = s->learning ? s->learning->judge : NULL;
    const str path = S("global.router.learning.judge");
    if (!j)
        return;
    const struct model *m = ask_finds(s, j->conf->model);
    if (!m)
        finding_add(out, "undefined-reference", SEVERITY_ERROR, j->conf->at, path,
                    S("name a model of providers.models that answers chats"), "model: '" STR_FMT "' cannot be asked", STR_ARG(j->conf->model));
    else if (j->conf->budget_usd > 0 && !m->conf->pricing.is_set && j->conf->calls_per_hour == 0)
        finding_add(out, "no-effect", SEVERITY_WARNING, j->conf->at, path, S("give the model prices, or set calls_per_hour"),
                    "budget_usd: the model '" STR_FMT "' has no prices, so nothing bounds what judging costs",
                    STR_ARG(j->conf->model));
    for (size_t i = 0; i < j->conf->decisions.n; i++)
        if (!has_decision(s->config, j->conf->decisions.items[i]))
            finding_add(out, "undefined-reference", SEVERITY_ERROR, j->conf->at, path, S(""),
                        "decisions: there is no decision '" STR_FMT "'", STR_ARG(j->conf->decisions.items[i]));
}

/* ---- counting ---- */

static void counted(const char *result, const char *reason)
{
    metric_add(metric_cell(METRIC_JUDGE, (str[]){ str_of(result), str_of(reason) }), 1);
}

/* ---- the sample ---- */

static bool is_listed(const struct strings *names, str name)
{
    bool found = names->n == 0;
    for (size_t i = 0; i < names->n && !found; i++)
        found = str_eq(names->items[i], name);
    return found;
}

struct sample *judge_begin(struct req *r)
{
    const struct judge *j = r->snap->learning ? r->snap->learning->judge : NULL;
    if (!j || !r->loop || r->endpoint != ENDPOINT_CHAT || !judge_samples(r->facts.seed, j->conf->sample)
        || !is_listed(&j->conf->decisions, r->plan->conf->name))
        return NULL;
    struct sample *s = arena_try(r->a, sizeof *s);
    if (s) {
        s->len = 0;
        s->block = UINT32_MAX;
        s->reader = NULL;
        s->stop = STOP_UNKNOWN;
        s->has_tools = false;
    }
    return s;
}

static void text_keep(struct sample *s, str text)
{
    str piece = str_upto(text, sizeof s->text - s->len);
    memcpy(s->text + s->len, piece.ptr, piece.len);
    s->len += piece.len;
}

void sample_delta(void *sample, const struct delta *d)
{
    struct sample *s = sample;
    if (d->kind == DELTA_BLOCK && d->block->kind == BLOCK_TEXT)
        s->block = d->index;
    else if (d->kind == DELTA_BLOCK && d->block->kind == BLOCK_TOOL_CALL)
        s->has_tools = true;
    else if (d->kind == DELTA_PIECE && d->index == s->block)
        text_keep(s, d->text);
    if (d->stop)
        s->stop = d->stop;
}

void sample_reply(struct sample *s, const struct reply *reply)
{
    s->stop = reply->stop;
    for (uint32_t i = 0; i < reply->n; i++) {
        s->has_tools |= reply->blocks[i].kind == BLOCK_TOOL_CALL;
        if (reply->blocks[i].kind == BLOCK_TEXT)
            text_keep(s, reply->blocks[i].text);
    }
}

void sample_chat(struct req *r, str json_text)
{
    struct json j;
    struct reply reply = { 0 };
    struct err e = { 0 };
    if (json_parse(r->a, json_text, &j, NULL) == 0 && dialect_openai_chat.reply_read(r->a, &j, &reply, &e) == 0)
        sample_reply(r->sample, &reply);
}

void sample_chat_event(struct req *r, str data)
{
    struct arena *scratch = arena_new();
    struct sample *s = r->sample;
    struct delta_sink to = { sample_delta, s };
    if (!scratch)
        return;
    if (!s->reader)
        s->reader = dialect_openai_chat.reader_new(r->a);
    dialect_openai_chat.reader_event(s->reader, scratch, &(struct stream_event){ .data = data }, &to);
    arena_free(scratch);
}

/* ---- the queue: of the process, across reloads ---- */

struct job {                            /* one block of malloc; texts behind it */
    struct job *next;
    uint64_t seed, answer_print, question_print;
    str id, model, question, answer;
};

static struct {
    pthread_mutex_t lock;
    struct job *first, **last;
    uint32_t n_waiting, n_running;
    struct constants constants;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .last = &queue.first };

static str text_put(char **to, str text)
{
    str kept = { *to, text.len };
    memcpy(*to, text.ptr, text.len);
    *to += text.len;
    return kept;
}

static struct job *job_new(const struct req *r, str answer)
{
    str question = str_upto(r->facts.evaluation_text, 4 * JUDGE_QUESTION_MAX);
    struct job *j = malloc(sizeof *j + r->request_id.len + r->model->name.len + question.len + answer.len);
    if (!j)
        return NULL;
    char *to = (char *)(j + 1);
    *j = (struct job){ .seed = r->facts.seed, .answer_print = judge_print(answer, true),
                       .question_print = judge_print(question, false) };
    j->id = text_put(&to, r->request_id);
    j->model = text_put(&to, r->model->name);
    j->question = text_put(&to, question);
    j->answer = text_put(&to, answer);
    return j;
}

static bool is_constant(const struct job *j)
{
    pthread_mutex_lock(&queue.lock);
    bool is_one = constants_count(&queue.constants, hash_stable(j->model, 1), j->answer_print) >= CONSTANT_AT;
    pthread_mutex_unlock(&queue.lock);
    return is_one;
}

/* What the judge has said of such answers before is taken back. */
static void constant_retract(const struct job *j)
{
    uint64_t model = hash_stable(j->model, 1);
    for (uint32_t i = 0; i < CONSTANT_RING; i++) {
        pthread_mutex_lock(&queue.lock);
        struct constant one = queue.constants.items[i];
        pthread_mutex_unlock(&queue.lock);
        if (one.model == model && one.answer == j->answer_print)
            learning_say(learning_process(), (str){ one.id, one.id_len }, SOURCE_JUDGE, 0, 0);
    }
    log_warn("judge_constant", "learning: '" STR_FMT "' has given one answer to %d different questions; the judge is not asked about it",
             STR_ARG(j->model), CONSTANT_AT);
}

/* A model that gives one answer to whatever it is asked gets nothing for it, however well a judge likes it. */
static bool constant_found(const struct job *j)
{
    struct constant one = { .model = hash_stable(j->model, 1), .question = j->question_print, .answer = j->answer_print,
                            .id_len = (uint8_t)(j->id.len <= sizeof one.id ? j->id.len : 0) };
    if (!one.answer)
        return false;
    memcpy(one.id, j->id.ptr, one.id_len);
    bool was = is_constant(j);
    pthread_mutex_lock(&queue.lock);
    constants_note(&queue.constants, &one);
    pthread_mutex_unlock(&queue.lock);
    bool is = is_constant(j);
    if (is && !was)                             /* from then on nothing is said that would have to be taken back */
        constant_retract(j);
    return is;
}

/* ---- one judgement ---- */

static void judged_log(const struct job *j, const struct ask_answer *said, double reward, double weight)
{
    struct buf members = { 0 };
    struct json_writer w = { .out = &members };
    put_str(&w, S("request_id"), j->id);
    put_str(&w, S("model"), j->model);
    put_str(&w, S("judge"), said->model);
    put_double(&w, S("reward"), reward);
    put_float(&w, S("weight"), (float)weight);
    put_int(&w, S("ms"), (int64_t)(said->took_ns / NS_PER_MS));
    log_fields(LOG_INFO, "judged", buf_view(&members));
    buf_free(&members);
}

static WAITS void job_run(struct job *j, struct snap *s, struct arena *a)
{
    const struct judge *judge = s->learning ? s->learning->judge : NULL;
    struct learning *l = learning_process();
    struct select_question q;
    struct ask_answer said;
    double reward = 0;
    const char *why;
    if (!judge || !l) {                         /* a reload has put an end to it */
        counted("dropped", "off");
        return;
    }
    judge_ask(judge->conf, j->seed, j->question, j->answer, a, &q);
    ask_model(a, s, &q, &(struct asking_for){ .payer = judge->payer, .seed = j->seed }, &said);
    why = said.heard.why;
    if (!why || strcmp(why, "budget") != 0)
        metric_observe(metric_cell(METRIC_JUDGE_SECONDS, NULL), (double)said.took_ns / 1e9);
    if (!why)
        judge_read(a, said.heard.text, &reward, &why);
    if (why) {
        counted(strcmp(why, "budget") == 0 ? "dropped" : "failed", why);
        return;
    }
    if (is_constant(j)) {                       /* as has turned out meanwhile */
        counted("skipped", "constant");
        return;
    }
    double weight = learning_judge_weight(l);
    if (learning_say(l, j->id, SOURCE_JUDGE, reward, weight) == SAID_UNKNOWN) {
        counted("failed", "forgotten");         /* 65,536 decisions later */
        return;
    }
    counted("judged", "");
    judged_log(j, &said, reward, weight);
}

static struct job *job_next(uint32_t most)
{
    pthread_mutex_lock(&queue.lock);
    struct job *j = queue.n_running <= most ? queue.first : NULL;   /* fewer at a time since a reload: this one ends */
    if (j) {
        queue.first = j->next;
        queue.last = queue.first ? queue.last : &queue.first;
        queue.n_waiting--;
    } else {
        queue.n_running--;
    }
    pthread_mutex_unlock(&queue.lock);
    return j;
}

static uint32_t at_a_time(const struct snap *s)
{
    return s && s->learning && s->learning->judge ? (uint32_t)s->learning->judge->conf->max_in_flight : 1;
}

static WAITS void judging(void *loop)
{
    struct snap *s = snap_enter(loop);
    struct job *j;
    while (s && (j = job_next(at_a_time(s))) != NULL) {
        struct arena *a = arena_new();
        if (a)
            job_run(j, s, a);
        arena_free(a);
        free(j);
        snap_leave(loop, s);                    /* the next one by what is configured then */
        s = snap_enter(loop);
    }
    if (s)
        snap_leave(loop, s);
}

/* False: the queue is full. *starts: a fiber more may run. */
static bool job_put(struct job *j, uint32_t most, bool *starts)
{
    pthread_mutex_lock(&queue.lock);
    bool has_room = queue.n_waiting < JUDGE_WAITING_MAX;
    if (has_room) {
        *queue.last = j;
        queue.last = &j->next;
        queue.n_waiting++;
        *starts = queue.n_running < most;
        queue.n_running += *starts;
    }
    pthread_mutex_unlock(&queue.lock);
    return has_room;
}

/* ---- which answers ---- */

static const char *why_not(const struct req *r, const struct judge *judge)
{
    const struct sample *s = r->sample;
    return r->status != 200 || r->fail.status || r->is_client_gone || !r->model ? "failed"
         : !judge->conf->judges_itself && ask_finds(r->snap, judge->conf->model) == r->model ? "itself"
         : s->has_tools ? "tools"
         : s->stop != STOP_END && s->stop != STOP_SEQUENCE ? "unfinished"         /* cut by a limit, a filter, or unknown */
         : r->facts.n_images ? "images"                                /* a judge would not see them */
         : str_trim((str){ s->text, s->len }).len == 0 || r->facts.evaluation_text.len == 0 ? "no-text" : NULL;
}

void judge_offer(struct req *r)
{
    const struct judge *judge = r->snap->learning ? r->snap->learning->judge : NULL;
    struct sample *s = r->sample;
    bool starts = false;
    if (!s || !judge)
        return;
    if (s->reader && dialect_openai_chat.reader_free)
        dialect_openai_chat.reader_free(s->reader);
    const char *why = why_not(r, judge);
    if (why) {
        counted("skipped", why);
        return;
    }
    struct job *j = job_new(r, (str){ s->text, s->len });
    if (!j) {
        counted("dropped", "memory");
    } else if (constant_found(j)) {
        counted("skipped", "constant");
        free(j);
    } else if (!job_put(j, at_a_time(r->snap), &starts)) {
        counted("dropped", "queue");
        free(j);
    } else if (starts && !fiber_go(r->loop, "judge", judging, r->loop)) {
        pthread_mutex_lock(&queue.lock);
        queue.n_running--;                      /* it waits for the next one that starts */
        pthread_mutex_unlock(&queue.lock);
    }
}

bool judge_is_at_work(void)
{
    pthread_mutex_lock(&queue.lock);
    bool is = queue.n_running > 0 || queue.n_waiting > 0;
    pthread_mutex_unlock(&queue.lock);
    return is;
}
