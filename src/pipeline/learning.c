/* pipeline/learning.c -- decisions and outcomes become sums; sums become beliefs. */
#include "pipeline/learning_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/put.h"
#include "base/rand.h"
#include "observe/log.h"

static const double false_alarm = 1e-4;         /* of the test for a change, per outcome */
static const double reputation_step = .05;
/* Doubt of a newcomer counts so many times as much, until so many of its outcomes came: a model that nobody knows is worth a look. */
static const double newcomer_doubt = 3;
enum { NEWCOMER_OUTCOMES = 100 };
static const uint64_t breaker_wait_ns = 30 * NS_PER_S;

/* ---- models ---- */

/* The search begins where the last one ended: candidates come in the same order every time. */
uint32_t learned_index(struct learning *l, str name)
{
    for (uint32_t i = 0; i < l->n_models; i++) {
        uint32_t at = l->last_model + 1 + i;
        at = at < l->n_models ? at : at % l->n_models;
        if (str_eq(l->models[at]->name, name))
            return l->last_model = at;
    }
    if (l->n_models == LEARNING_MODELS_MAX || name.len == 0 || name.len >= LEARNING_NAME_MAX)
        return UINT32_MAX;
    struct learned_model **more = realloc(l->models, (l->n_models + 1) * sizeof *more);
    struct learned_model *m = calloc(1, sizeof *m);
    char *copy = malloc(name.len);
    if (more)
        l->models = more;
    if (!more || !m || !copy) {
        free(m);
        free(copy);
        return UINT32_MAX;
    }
    memcpy(copy, name.ptr, name.len);
    m->name = (str){ copy, name.len };
    l->models[l->n_models] = m;
    return l->n_models++;
}

/* ---- choosing ---- */

static double expected_mean(const struct offer *offers, uint32_t n)
{
    double sum = 0;
    uint32_t open = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!offers[i].is_out)
            sum += offers[i].expected, open++;
    return open ? sum / open : 0;
}

/* Shares know no bar: the incumbent's margin is taken off the others' value. */
static double handicap_of(uint32_t at, const struct bandit_rules *rules)
{
    return rules->incumbent != UINT32_MAX && at != rules->incumbent ? rules->margin : 0;
}

/* Mean reward with the expectation as two outcomes. */
static double success_of(const struct learned_model *m, double expected)
{
    return m ? (m->reward + 2 * expected) / ((double)m->outcomes + 2) : expected;
}

void learning_choose(struct learning *l, const struct offer *offers, uint32_t n, const struct bandit_rules *rules,
                     const struct situation *s, struct arena *a, struct chosen *out)
{
    n = n < LEARNING_ARMS_MAX ? n : LEARNING_ARMS_MAX;
    const struct evidence_ops *ops = s->strategy ? s->strategy : evidence_all[0];
    struct screened *screened = ARENA_ARRAY(a, struct screened, n);
    *out = (struct chosen){ .n = n, .seed = s->seed, .rules = *rules, .arms = ARENA_ARRAY(a, struct arm, n),
                            .chances = ARENA_ARRAY(a, double, n), .asked = ARENA_ARRAY(a, struct evidence_question, n),
                            .query = s->query };
    out->rules.by_share = ops->by_share;
    double typical = expected_mean(offers, n);
    pthread_mutex_lock(&l->lock);
    struct evidence *e = l->n_peers ? &l->all : &l->own;
    for (uint32_t i = 0; i < n; i++) {
        const struct offer *o = &offers[i];
        uint32_t at = learned_index(l, o->model);
        struct learned_model *m = at == UINT32_MAX ? NULL : l->models[at];
        bool is_broken = m && !breaker_allows(&m->breaker, s->now_ns);
        out->arms[i].pending = m ? (uint32_t)(m->pending * l->answered + .5) : 0;
        out->arms[i].is_out = o->is_out || is_broken;
        out->asked[i] = (struct evidence_question){
            at, o->expected, o->deviation, o->penalty, handicap_of(i, rules),
            { o->expected, m ? cells_doubt(&e->cells, at, o->deviation) : o->deviation, o->load, o->latency_s,
              m ? m->reputation : 0, o->expected - typical } };
        screened[i] = (struct screened){ o->expected, success_of(m, o->expected), o->load, o->latency_s * 1000, !is_broken };
    }
    ops->believe(e, &s->query, out->asked, n, out->arms);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = out->asked[i].model;
        if (offers[i].is_new && (at == UINT32_MAX || l->models[at]->outcomes < NEWCOMER_OUTCOMES))
            out->arms[i].deviation *= newcomer_doubt;
    }
    pthread_mutex_unlock(&l->lock);
    bandit_screen(screened, n, s->screen_top, out->arms);
    bandit_chances(&out->rules, out->arms, n, out->chances);
    out->at = bandit_throw(out->chances, n, s->seed);
    out->propensity = out->at == UINT32_MAX ? 0 : out->chances[out->at];
}

void learning_context(const struct chosen *c, uint32_t at, float x[CONTEXT_N])
{
    context_fill(&c->query.context, &c->asked[at].context, x);
}

void learning_tune(struct learning *l, const struct evidence_tuning *t)
{
    pthread_mutex_lock(&l->lock);
    l->tuning = *t;
    pthread_mutex_unlock(&l->lock);
}

/* ---- what was decided ---- */

static void pending_end(struct learning *l, struct remembered *d, bool came)
{
    if (!d->is_pending)
        return;
    d->is_pending = false;
    struct learned_model *m = l->models[d->model];
    m->pending -= m->pending > 0;
    l->answered += ((came ? 1 : 0) - l->answered) / 256;
}

/* Decisions too old to be waited for; each is looked at once. */
static void pending_expire(struct learning *l, uint64_t now_s)
{
    struct memory *m = &l->memory;
    for (uint32_t i = 0; i < 64 && m->oldest_pending < m->n && m->oldest_pending != m->at; i++) {
        struct remembered *d = &m->ring[m->oldest_pending];
        if (d->is_pending && d->at_s + PENDING_S > now_s)
            return;
        pending_end(l, d, false);
        m->oldest_pending = (m->oldest_pending + 1) % m->cap;
    }
}

void learned_decide(struct learning *l, const struct decided *d)
{
    struct remembered lost, *r;
    uint32_t m = learned_index(l, d->model);
    if (m == UINT32_MAX || d->id.len == 0)
        return;
    uint32_t cap = l->memory.cap;
    r = memory_add(&l->memory, d->id, &lost);
    if (!r)
        return;
    if (l->memory.cap != cap && l->memory.oldest_pending >= cap)
        l->memory.oldest_pending = 0;
    if (lost.id)
        pending_end(l, &lost, false);
    r->model = m;
    r->kind = d->kind;
    r->decision = d->decision;
    r->n_arms = d->n_arms;
    if (d->x)
        memcpy(r->x, d->x, sizeof r->x);
    r->session = d->session;
    r->at_s = d->now_s;
    r->expected = (float)d->expected;
    r->mean = (float)d->mean;
    r->deviation = (float)d->deviation;
    r->propensity = (float)d->propensity;
    r->cost = (float)d->cost;
    r->is_pending = true;
    l->models[m]->pending++;
    l->models[m]->calls++;
    pending_expire(l, d->now_s);
}

void learning_remember(struct learning *l, const struct decided *d)
{
    pthread_mutex_lock(&l->lock);
    l->seq++;
    journal_decided(l, d);
    learned_decide(l, d);
    pthread_mutex_unlock(&l->lock);
}

/* ---- what came of it ---- */

void learned_sum(struct learning *l)
{
    evidence_free(&l->all);
    if (l->n_peers)
        evidence_merge(&l->all, &l->own);
    for (uint32_t i = 0; i < l->n_peers; i++)
        evidence_merge(&l->all, &l->peers[i].evidence);
}

static void count(struct learning *l, const struct evidence_row *row, double weight)
{
    evidence_add(&l->own, row, weight, &l->tuning);
    if (l->n_peers)
        evidence_add(&l->all, row, weight, &l->tuning);
}

/* The model's past goes; the outcomes since the change stay. */
void learned_reset(struct learning *l, uint32_t model, const struct seen *after, uint32_t n)
{
    struct learned_model *m = l->models[model];
    struct evidence_row since[CHANGE_WINDOW];
    for (uint32_t i = 0; i < n; i++)
        since[i] = (struct evidence_row){ model, after[i].n_arms, after[i].kind, after[i].decision, (double)after[i].reward,
                                          (double)after[i].expected, (double)after[i].propensity, after[i].x };
    evidence_change(&l->own, model, since, n, &l->tuning);
    for (uint32_t i = 0; i < l->n_peers; i++)   /* what others saw before it changed is no news either */
        evidence_change(&l->peers[i].evidence, model, NULL, 0, &l->tuning);
    learned_sum(l);
    m->changes++;
    m->n_recent = 0;
    m->change.n = m->change.at = 0;
}

/* An outcome is news of its model: does it still fit? */
static void watch(struct learning *l, const struct remembered *d, double reward)
{
    struct learned_model *m = l->models[d->model];
    struct seen *last = &m->recent[m->at];
    *last = (struct seen){ d->kind, d->decision, (float)reward, d->expected, d->propensity, d->n_arms, { 0 } };
    memcpy(last->x, d->x, sizeof last->x);
    m->reputation += ((reward - (double)d->expected) - m->reputation) * reputation_step;
    m->at = (m->at + 1) % CHANGE_WINDOW;
    m->n_recent += m->n_recent < CHANGE_WINDOW;
    if (l->journal.is_replaying)                /* changes are in the journal as they were found */
        return;
    struct change_found f = change_observe(&m->change, reward, (double)d->mean, (double)d->deviation, false_alarm);
    if (!f.since)
        return;
    struct seen *after = l->after;
    uint32_t n = f.since < m->n_recent ? f.since : m->n_recent;
    for (uint32_t i = 0; i < n; i++)
        after[i] = m->recent[(m->at + CHANGE_WINDOW - n + i) % CHANGE_WINDOW];
    l->seq++;
    journal_reset(l, d->model, after, n);
    learned_reset(l, d->model, after, n);
    log_warn("model_changed",
             "learning: '" STR_FMT "' has changed: %.3f was expected of its last %u outcomes, %.3f came; its past is forgotten",
             STR_ARG(m->name), f.before, f.since, f.after);
}

/* What a decision says of the judge's error; `by` -1: takes it back. */
static void measure(struct learning *l, const struct remembered *d, double by)
{
    const struct verdict_said *judge = &d->said[SOURCE_JUDGE], *operator = &d->said[SOURCE_OPERATOR];
    if (judge->weight > 0 && operator->weight > 0)
        agreement_add(&l->agreement, (double)judge->reward, (double)operator->reward, by);
}

enum outcome_result learned_say(struct learning *l, str id, enum outcome_source source, struct verdict_said say)
{
    static const enum outcome_result results[] = {
        [OUTCOME_NEW] = SAID_NEW, [OUTCOME_REPEATED] = SAID_AGAIN, [OUTCOME_CORRECTED] = SAID_CORRECTED,
            [OUTCOME_OVERRULED] = SAID_OVERRULED,
    };
    struct verdict_said take, add;
    struct remembered *d = memory_find(&l->memory, id);
    if (!d)
        return SAID_UNKNOWN;
    measure(l, d, -1);
    enum outcome_news news = remembered_say(d, source, say, &take, &add);
    measure(l, d, 1);
    struct learned_model *m = l->models[d->model];
    struct evidence_row row = { d->model, d->n_arms, d->kind, d->decision, 0, (double)d->expected, (double)d->propensity, d->x };
    if (take.weight > 0) {
        row.reward = (double)take.reward;
        count(l, &row, -(double)take.weight);
        m->outcomes -= m->outcomes > 0;
        m->reward -= (double)take.reward;
    }
    if (add.weight > 0) {
        row.reward = (double)add.reward;
        count(l, &row, (double)add.weight);
        m->outcomes++;
        m->reward += (double)add.reward;
        pending_end(l, d, true);
        if (take.weight <= 0 && add.weight >= .99f)     /* once a decision, and only what is sure */
            watch(l, d, (double)add.reward);
    }
    return results[news];
}

enum outcome_result learning_say(struct learning *l, str id, enum outcome_source source, double reward, double weight)
{
    struct verdict_said say = { (float)fmin(1, fmax(0, reward)), (float)fmin(1, fmax(0, weight)) };
    if (!isfinite(reward) || !isfinite(weight))
        return SAID_UNKNOWN;
    pthread_mutex_lock(&l->lock);
    enum outcome_result r = SAID_UNKNOWN;
    const struct remembered *d = memory_find(&l->memory, id);
    if (d) {
        const struct verdict_said *had = &d->said[source];
        bool is_news = had->weight != say.weight || (say.weight > 0 && had->reward != say.reward);
        if (is_news) {
            l->seq++;
            journal_said(l, id, source, say);   /* first the journal, then the sums: what is acknowledged is kept */
        }
        r = learned_say(l, id, source, say);
    }
    pthread_mutex_unlock(&l->lock);
    return r;
}

void learned_judge(struct learning *l, uint64_t judge)
{
    l->judge = judge;
    l->agreement = (struct agreement){ 0 };
}

void learning_judge(struct learning *l, uint64_t judge)
{
    pthread_mutex_lock(&l->lock);
    if (l->judge != judge) {
        l->seq++;
        journal_judge(l, judge);
        learned_judge(l, judge);
    }
    pthread_mutex_unlock(&l->lock);
}

double learning_judge_weight(struct learning *l)
{
    pthread_mutex_lock(&l->lock);
    double weight = agreement_weight(&l->agreement);
    pthread_mutex_unlock(&l->lock);
    return weight;
}

void learning_failed_over(struct learning *l, str id, str to_model, uint64_t now_s)
{
    struct remembered was;
    char model[LEARNING_NAME_MAX];
    if (!learning_recall(l, id, &was, model) || str_eq(str_of(model), to_model))
        return;
    learning_say(l, id, SOURCE_IMPLICIT, 0, 1);
    learning_remember(l, &(struct decided){             /* what is said from now on is said of the model that answered */
        .id = id, .model = to_model, .kind = was.kind, .decision = was.decision, .session = was.session, .now_s = now_s, .expected = (double)was.expected,
        .mean = (double)was.expected, .deviation = .25, .propensity = (double)NAN, .cost = (double)NAN });
}

void learning_form(struct learning *l, str model, bool is_failed, uint64_t now_ns)
{
    pthread_mutex_lock(&l->lock);
    uint32_t i = learned_index(l, model);
    if (i != UINT32_MAX) {
        struct learned_model *m = l->models[i];
        bool was_open = m->breaker.state == BREAKER_OPEN;
        m->failures += is_failed;
        breaker_observe(&m->breaker, is_failed, now_ns, breaker_wait_ns);
        if (!was_open && m->breaker.state == BREAKER_OPEN)
            log_warn("model_dropped",
                     "learning: '" STR_FMT "' fails too often (%llu of %llu answers); it is left out for a while",
                     STR_ARG(m->name), (unsigned long long)m->breaker.failures, (unsigned long long)m->breaker.calls);
    }
    pthread_mutex_unlock(&l->lock);
}

bool learning_recall(struct learning *l, str id, struct remembered *out, char model[LEARNING_NAME_MAX])
{
    pthread_mutex_lock(&l->lock);
    const struct remembered *d = memory_find(&l->memory, id);
    if (d) {
        *out = *d;
        str name = l->models[d->model]->name;
        memcpy(model, name.ptr, name.len);
        model[name.len] = 0;
    }
    pthread_mutex_unlock(&l->lock);
    return d != NULL;
}

/* ---- sessions ---- */

/* Eight places by the key; taken is the one it has, a free one, or the one not seen for longest. */
static struct session *session_at(struct learning *l, uint64_t key, bool makes)
{
    enum { SETS = SESSIONS_MAX / SESSION_WAYS };
    if (!l->sessions && makes)
        l->sessions = calloc((size_t)SETS * SESSION_WAYS, sizeof *l->sessions);
    if (!l->sessions || !key)
        return NULL;
    struct session *set = &l->sessions[hash_mix(key) % SETS * SESSION_WAYS], *oldest = set;
    for (unsigned i = 0; i < SESSION_WAYS; i++) {
        if (set[i].key == key)
            return &set[i];
        if (set[i].seen_s < oldest->seen_s)
            oldest = &set[i];
    }
    return makes ? oldest : NULL;
}

bool learning_session(struct learning *l, uint64_t key, struct session *out, char model[LEARNING_NAME_MAX])
{
    pthread_mutex_lock(&l->lock);
    const struct session *s = session_at(l, key, false);
    if (s && s->model < l->n_models) {
        str name = l->models[s->model]->name;
        *out = *s;
        memcpy(model, name.ptr, name.len);
        model[name.len] = 0;
    }
    pthread_mutex_unlock(&l->lock);
    return s != NULL;
}

void learning_session_turn(struct learning *l, uint64_t key, str model, uint64_t decision, double tokens, str id, uint64_t now_s)
{
    pthread_mutex_lock(&l->lock);
    struct session *s = session_at(l, key, true);
    uint32_t m = learned_index(l, model);
    if (s && m != UINT32_MAX) {
        bool is_new = s->key != key, is_same = !is_new && s->model == m;
        struct session was = is_new ? (struct session){ 0 } : *s;
        *s = (struct session){ .key = key, .seen_s = now_s, .decision = decision, .model = m,
                               .turns = is_same ? was.turns + 1 : 1,
                               .switches = was.switches + (!is_new && !is_same), .failures = is_same ? was.failures : 0,
                               .tokens = (float)tokens };
        s->last_len = (uint8_t)(id.len <= OUTCOME_ID_MAX ? id.len : 0);
        memcpy(s->last, id.ptr, s->last_len);
    }
    pthread_mutex_unlock(&l->lock);
}

static int newer_first(const void *a, const void *b)
{
    const struct session *x = a, *y = b;
    return (x->seen_s < y->seen_s) - (x->seen_s > y->seen_s);
}

void learning_sessions_write(struct learning *l, size_t limit, struct buf *out)
{
    struct json_writer w = { .out = out };
    enum { ALL = SESSIONS_MAX / SESSION_WAYS * SESSION_WAYS };
    struct session *list = malloc(ALL * sizeof *list);
    size_t n = 0;
    jw_begin(&w, '[');
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; list && l->sessions && i < ALL; i++)
        if (l->sessions[i].key)
            list[n++] = l->sessions[i];
    if (n)
        qsort(list, n, sizeof *list, newer_first);
    for (size_t i = 0; i < n && i < limit; i++) {
        char key[17];
        snprintf(key, sizeof key, "%016llx", (unsigned long long)list[i].key);
        jw_begin(&w, '{');
        put_str(&w, S("session"), str_of(key));
        put_str(&w, S("model"), list[i].model < l->n_models ? l->models[list[i].model]->name : S(""));
        put_int(&w, S("turns"), list[i].turns);
        put_int(&w, S("switches"), list[i].switches);
        put_int(&w, S("failures"), list[i].failures);
        put_float(&w, S("tokens"), list[i].tokens);
        put_int(&w, S("seen"), (int64_t)list[i].seen_s);
        jw_end(&w, '}');
    }
    pthread_mutex_unlock(&l->lock);
    free(list);
    jw_end(&w, ']');
}

void learning_session_failed(struct learning *l, uint64_t key)
{
    pthread_mutex_lock(&l->lock);
    struct session *s = session_at(l, key, false);
    if (s)
        s->failures++;
    pthread_mutex_unlock(&l->lock);
}

/* ---- life ---- */

uint64_t learning_changes(struct learning *l)
{
    uint64_t n = 0;
    pthread_mutex_lock(&l->lock);
    for (uint32_t i = 0; i < l->n_models; i++)
        n += l->models[i]->changes;
    pthread_mutex_unlock(&l->lock);
    return n;
}

struct learning *learning_new(void)
{
    struct learning *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->stops, NULL);
    l->journal.fd = -1;
    l->answered = .5;
    l->tuning = (struct evidence_tuning){ .rate = .1, .share = .005 };
    snprintf(l->instance, sizeof l->instance, "%016llx", (unsigned long long)rand_system());
    return l;
}

struct learning *learning_process(void)
{
    static struct learning *one;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    if (!one)
        one = learning_new();
    pthread_mutex_unlock(&lock);
    return one;
}
