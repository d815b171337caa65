/* pipeline/learning_store.c -- the state file, the journal, and what instances send each other: all JSON.
 *
 * Files in the state directory: `state.json`, written beside and renamed; `journal.jsonl`, one event a line, appended before the
 * event takes effect; `journal.old.jsonl`, the one before, for the decisions whose outcomes are still to come. Every event has a
 * number and the state file says up to which number it knows, so replaying a journal twice changes nothing. A line torn by a kill
 * is passed over. A reader ignores keys that it does not know; a state of a later version is kept under another name and not
 * used. */
#include "pipeline/learning_state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/put.h"
#include "observe/log.h"

enum {
    STATE_VERSION = 1,
    STATE_BYTES_MAX = 256 << 20,
    LINE_MAX_BYTES = 256 << 10,         /* a change with all outcomes since it, 256 contexts */
    JOURNAL_LONG = 32 << 20,            /* then a checkpoint is wanted */
};

/* ---- small readers ---- */

static double number(const struct json *j, jref object, const char *key, double fallback)
{
    double v;
    return json_double(j, json_get(j, object, str_of(key)), &v) && isfinite(v) ? v : fallback;
}

uint64_t state_whole(const struct json *j, jref object, const char *key)
{
    int64_t v;
    return json_int(j, json_get(j, object, str_of(key)), &v) && v > 0 ? (uint64_t)v : 0;
}

static str text(const struct json *j, jref object, const char *key, struct arena *a)
{
    return json_str(j, json_get(j, object, str_of(key)), a);
}

/* ---- models ---- */

static void models_write(struct json_writer *w, const struct learning *l)
{
    put_open(w, S("models"), '[');
    for (uint32_t i = 0; i < l->n_models; i++) {
        const struct learned_model *m = l->models[i];
        jw_begin(w, '{');
        put_str(w, S("name"), m->name);
        put_int(w, S("calls"), m->calls);
        put_int(w, S("outcomes"), m->outcomes);
        put_double(w, S("reward"), m->reward);
        put_double(w, S("reputation"), m->reputation);
        put_int(w, S("failures"), m->failures);
        put_int(w, S("changes"), m->changes);
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

/* Fills map with our indices of the file's models; how many, or -1. */
static int64_t models_read(struct learning *l, const struct json *j, bool is_own, uint32_t map[LEARNING_MODELS_MAX],
                           struct arena *a)
{
    jref list = json_get(j, 0, S("models"));
    uint32_t n = 0;
    if (!json_is(j, list, JSON_ARRAY))
        return -1;
    JSON_EACH_ITEM(j, list, item) {
        if (n == LEARNING_MODELS_MAX || !json_is(j, item, JSON_OBJECT))
            return -1;
        uint32_t i = map[n++] = learned_index(l, text(j, item, "name", a));
        if (i == UINT32_MAX || !is_own)
            continue;
        struct learned_model *m = l->models[i];
        m->calls = state_whole(j, item, "calls");
        m->outcomes = state_whole(j, item, "outcomes");
        m->reward = number(j, item, "reward", 0);
        m->reputation = fmin(1, fmax(-1, number(j, item, "reputation", 0)));
        m->failures = state_whole(j, item, "failures");
        m->changes = state_whole(j, item, "changes");
    }
    return n;
}

/* ---- the journal ---- */

static void append(struct learning *l, struct buf *line)
{
    struct journal *g = &l->journal;
    buf_char(line, '\n');
    if (g->fd >= 0 && !line->is_failed) {
        ssize_t n = write(g->fd, line->ptr, line->len);
        if (n == (ssize_t)line->len) {
            g->bytes += line->len;
        } else if (!g->is_failing) {
            g->is_failing = true;
            log_error("learning_journal_failed", "learning: %s/journal.jsonl: %s; outcomes from now on are lost at a restart",
                      g->dir,
                      n < 0 ? strerror(errno) : "the disk is full");
        }
    }
    buf_free(line);
}

static bool is_kept(const struct learning *l)
{
    return l->journal.fd >= 0 && !l->journal.is_replaying;
}

static struct json_writer event(struct learning *l, struct buf *line, const char *kind)
{
    struct json_writer w = { .out = line };
    jw_begin(&w, '{');
    put_int(&w, S("s"), l->seq);
    put_str(&w, S("t"), str_of(kind));
    return w;
}

static void context_write(struct json_writer *w, const float *x)
{
    jw_begin(w, '[');
    for (int i = 0; i < CONTEXT_N; i++)
        jw_float(w, x[i]);
    jw_end(w, ']');
}

/* None, or one of another version: all zeros, which says nothing. */
static void context_read(const struct json *j, jref list, float x[CONTEXT_N])
{
    int i = 0;
    bool ok = json_is(j, list, JSON_ARRAY) && json_count(j, list) == CONTEXT_N;
    memset(x, 0, CONTEXT_N * sizeof *x);
    if (!ok)
        return;
    JSON_EACH_ITEM(j, list, item) {
        double v;
        ok = ok && json_double(j, item, &v) && fabs(v) <= 1;
        x[i++] = ok ? (float)v : 0;
    }
    if (!ok)
        memset(x, 0, CONTEXT_N * sizeof *x);
}

void journal_decided(struct learning *l, const struct decided *d)
{
    struct buf line = { 0 };
    if (!is_kept(l))
        return;
    struct json_writer w = event(l, &line, "decided");
    put_str(&w, S("id"), d->id);
    put_str(&w, S("model"), d->model);
    put_hex(&w, S("kind"), d->kind);
    put_hex(&w, S("decision"), d->decision);
    put_hex(&w, S("session"), d->session);
    put_int(&w, S("at"), d->now_s);
    put_double(&w, S("expected"), d->expected);
    put_double(&w, S("mean"), d->mean);
    put_double(&w, S("deviation"), d->deviation);
    put_double(&w, S("propensity"), d->propensity);
    put_double(&w, S("cost"), d->cost);
    put_int(&w, S("arms"), d->n_arms);
    if (d->x) {
        jw_key(&w, S("x"));
        context_write(&w, d->x);
    }
    jw_end(&w, '}');
    append(l, &line);
}

void journal_said(struct learning *l, str id, enum outcome_source source, struct verdict_said say)
{
    struct buf line = { 0 };
    if (!is_kept(l))
        return;
    struct json_writer w = event(l, &line, "said");
    put_str(&w, S("id"), id);
    put_str(&w, S("source"), str_of(outcome_sources[source]));
    put_float(&w, S("reward"), say.reward);
    put_float(&w, S("weight"), say.weight);
    jw_end(&w, '}');
    append(l, &line);
}

void journal_judge(struct learning *l, uint64_t judge)
{
    struct buf line = { 0 };
    if (!is_kept(l))
        return;
    struct json_writer w = event(l, &line, "judge");
    put_hex(&w, S("which"), judge);
    jw_end(&w, '}');
    append(l, &line);
}

void journal_promised(struct learning *l, uint64_t purse, const struct pacing_rules *rules, int64_t most, uint64_t now)
{
    struct buf line = { 0 };
    if (!is_kept(l))
        return;
    struct json_writer w = event(l, &line, "promised");
    put_hex(&w, S("purse"), purse);
    put_int(&w, S("budget"), rules->budget);
    put_int(&w, S("window"), (int64_t)rules->window);
    put_bool(&w, S("sliding"), rules->is_sliding);
    put_int(&w, S("most"), most);
    put_int(&w, S("at"), (int64_t)now);
    jw_end(&w, '}');
    append(l, &line);
}

void journal_spent(struct learning *l, uint64_t purse, int64_t most, int64_t cost, int64_t cheapest, uint64_t now)
{
    struct buf line = { 0 };
    if (!is_kept(l))
        return;
    struct json_writer w = event(l, &line, "spent");
    put_hex(&w, S("purse"), purse);
    put_int(&w, S("most"), most);
    put_int(&w, S("cost"), cost);
    put_int(&w, S("cheapest"), cheapest);
    put_int(&w, S("at"), (int64_t)now);
    jw_end(&w, '}');
    append(l, &line);
}

void journal_reset(struct learning *l, uint32_t model, const struct seen *after, uint32_t n)
{
    struct buf line = { 0 };
    if (!is_kept(l))
        return;
    struct json_writer w = event(l, &line, "changed");
    put_str(&w, S("model"), l->models[model]->name);
    put_open(&w, S("after"), '[');
    for (uint32_t i = 0; i < n; i++) {
        jw_begin(&w, '[');
        jw_hex(&w, after[i].kind);
        jw_float(&w, after[i].reward);
        jw_float(&w, after[i].expected);
        jw_hex(&w, after[i].decision);
        jw_float(&w, after[i].propensity);
        jw_int(&w, after[i].n_arms);
        context_write(&w, after[i].x);
        jw_end(&w, ']');
    }
    jw_end(&w, ']');
    jw_end(&w, '}');
    append(l, &line);
}

static double share(const struct json *j, const char *key, double fallback)
{
    return fmin(1.5, fmax(-.5, number(j, 0, key, fallback)));
}

static uint32_t arms_of(const struct json *j, jref n)
{
    int64_t v;
    return json_int(j, n, &v) && v > 0 && v <= LEARNING_ARMS_MAX ? (uint32_t)v : 0;
}

static void replay_decided(struct learning *l, const struct json *j, struct arena *a, bool is_known)
{
    float x[CONTEXT_N];
    context_read(j, json_get(j, 0, S("x")), x);
    struct decided d = {
        .id = text(j, 0, "id", a), .model = text(j, 0, "model", a), .kind = hex_or_zero(text(j, 0, "kind", a)),
        .session = hex_or_zero(text(j, 0, "session", a)), .now_s = state_whole(j, 0, "at"), .expected = share(j, "expected", .5),
        .mean = share(j, "mean", .5), .deviation = share(j, "deviation", .25),
        .propensity = number(j, 0, "propensity", (double)NAN), .cost = number(j, 0, "cost", (double)NAN),
        .decision = hex_or_zero(text(j, 0, "decision", a)), .n_arms = arms_of(j, json_get(j, 0, S("arms"))), .x = x,
    };
    uint32_t m = learned_index(l, d.model);
    uint64_t calls = m == UINT32_MAX ? 0 : l->models[m]->calls;
    learned_decide(l, &d);
    if (m != UINT32_MAX && is_known)            /* the state file has counted it */
        l->models[m]->calls = calls;
}

/* An outcome that the state file has counted only fills the memory. */
static void replay_said(struct learning *l, const struct json *j, struct arena *a, bool is_known)
{
    str id = text(j, 0, "id", a), from = text(j, 0, "source", a);
    struct verdict_said say = { (float)number(j, 0, "reward", 0), (float)number(j, 0, "weight", 0) }, take, add;
    if (!(say.reward >= 0 && say.reward <= 1 && say.weight >= 0 && say.weight <= 1))
        return;
    for (int s = 0; s < OUTCOME_SOURCES; s++) {
        if (!str_eq(from, str_of(outcome_sources[s])))
            continue;
        struct remembered *d = memory_find(&l->memory, id);
        if (d && is_known)
            remembered_say(d, (enum outcome_source)s, say, &take, &add);
        else if (d)
            learned_say(l, id, (enum outcome_source)s, say);
    }
}

/* [kind, reward, expected], since contexts are known [..., decision, propensity, arms, context] */
static bool seen_read(const struct json *j, jref item, struct seen *out, struct arena *a)
{
    double reward, expected, propensity;
    uint32_t n = json_is(j, item, JSON_ARRAY) ? json_count(j, item) : 0;
    if ((n != 3 && n != 7) || !json_double(j, item + 2, &reward) || !json_double(j, item + 3, &expected))
        return false;
    *out = (struct seen){ .kind = hex_or_zero(json_str(j, item + 1, a)), .reward = (float)reward, .expected = (float)expected,
                          .propensity = NAN };
    if (n == 3)
        return true;
    out->decision = hex_or_zero(json_str(j, item + 4, a));
    out->propensity = json_double(j, item + 5, &propensity) ? (float)propensity : NAN;
    out->n_arms = arms_of(j, item + 6);
    context_read(j, item + 7, out->x);
    return true;
}

static void replay_changed(struct learning *l, const struct json *j, struct arena *a)
{
    uint32_t n = 0, m = learned_index(l, text(j, 0, "model", a));
    jref list = json_get(j, 0, S("after"));
    if (m == UINT32_MAX || !json_is(j, list, JSON_ARRAY))
        return;
    JSON_EACH_ITEM(j, list, item)
        if (n == CHANGE_WINDOW || !seen_read(j, item, &l->after[n++], a))
            return;
    learned_reset(l, m, l->after, n);
}

/* Money is at most what a state file may hold; what was promised was promised, whatever the budget says by now. */
static void replay_money(struct learning *l, const struct json *j, struct arena *a, bool is_spent)
{
    uint64_t now = state_whole(j, 0, "at");
    int64_t most = purse_money(state_whole(j, 0, "most"));
    struct pacing_rules rules = { .budget = purse_money(state_whole(j, 0, "budget")), .window = state_whole(j, 0, "window"), .step = PACING_STEP,
                                  .is_sliding = json_bool(j, json_get(j, 0, S("sliding")), false) };
    struct purse *p = now && (is_spent || rules.window) ? purse_at(l, hex_or_zero(text(j, 0, "purse", a)), now) : NULL;
    if (p && !is_spent) {
        pacing_rule(&p->of, &rules, now);
        p->of.promised += most;
        p->of.parts[p->of.part % (PACING_SLOTS + 1)].begun++;
    } else if (p && p->of.rules.window) {
        pacing_settle(&p->of, most, purse_money(state_whole(j, 0, "cost")), purse_money(state_whole(j, 0, "cheapest")), now);
    }
}

static void replay_line(struct learning *l, str line, uint64_t known)
{
    struct arena *a = arena_new();
    struct json j;
    struct json_error e;
    if (a && json_parse(a, line, &j, &e) == 0 && json_is(&j, 0, JSON_OBJECT)) {
        str kind = text(&j, 0, "t", a);
        uint64_t seq = state_whole(&j, 0, "s");
        bool is_known = seq <= known;
        if (str_eq(kind, S("decided")))
            replay_decided(l, &j, a, is_known);
        else if (str_eq(kind, S("said")))
            replay_said(l, &j, a, is_known);
        else if (str_eq(kind, S("changed")) && !is_known)
            replay_changed(l, &j, a);
        else if (str_eq(kind, S("judge")) && !is_known)
            learned_judge(l, hex_or_zero(text(&j, 0, "which", a)));
        else if ((str_eq(kind, S("promised")) || str_eq(kind, S("spent"))) && !is_known)
            replay_money(l, &j, a, str_eq(kind, S("spent")));
        if (seq > l->seq)
            l->seq = seq;
    }
    arena_free(a);
}

static void path_of(const struct learning *l, const char *name, char out[600])
{
    snprintf(out, 600, "%s/%s", l->journal.dir, name);
}

/* Whether the file's last line is whole; a torn one gets its line end before anything is appended. */
static bool replay_file(struct learning *l, const char *name, uint64_t known)
{
    char path[600], *line = NULL;
    size_t cap = 0;
    ssize_t n;
    bool is_whole = true;
    path_of(l, name, path);
    FILE *f = fopen(path, "re");
    if (!f)
        return true;
    while ((n = getline(&line, &cap, f)) > 0) {
        is_whole = line[n - 1] == '\n';
        if (is_whole && n < LINE_MAX_BYTES)
            replay_line(l, (str){ line, (size_t)n - 1 }, known);
    }
    free(line);
    fclose(f);
    return is_whole;
}

/* ---- the state ---- */

static void judge_write(struct json_writer *w, const struct learning *l)
{
    put_open(w, S("judge"), '{');
    put_hex(w, S("which"), l->judge);
    put_double(w, S("right"), l->agreement.right);
    put_double(w, S("too_kind"), l->agreement.too_kind);
    put_double(w, S("too_harsh"), l->agreement.too_harsh);
    jw_end(w, '}');
}

/* A state from before there were judges has none. */
static void judge_read_state(struct learning *l, const struct json *j, jref at, struct arena *a)
{
    static const double most = 1e12;
    if (!json_is(j, at, JSON_OBJECT))
        return;
    l->judge = hex_or_zero(text(j, at, "which", a));
    l->agreement = (struct agreement){ fmin(most, fmax(0, number(j, at, "right", 0))), fmin(most, fmax(0, number(j, at, "too_kind", 0))),
                                       fmin(most, fmax(0, number(j, at, "too_harsh", 0))) };
}

static void state_write(const struct learning *l, struct buf *out, bool is_export)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_int(&w, S("version"), STATE_VERSION);
    put_str(&w, S("instance"), str_of(l->instance));
    put_int(&w, S("seq"), l->seq);
    models_write(&w, l);
    evidence_write(&l->own, &w);
    if (!is_export) {
        put_double(&w, S("answered"), l->answered);
        judge_write(&w, l);
        purses_write(l, &w);
        put_open(&w, S("peers"), '[');
        for (uint32_t i = 0; i < l->n_peers; i++) {
            jw_begin(&w, '{');
            put_str(&w, S("instance"), str_of(l->peers[i].instance));
            put_int(&w, S("seq"), l->peers[i].seq);
            evidence_write(&l->peers[i].evidence, &w);
            jw_end(&w, '}');
        }
        jw_end(&w, ']');
    }
    jw_end(&w, '}');
    buf_char(out, '\n');
}

static bool instance_read(char to[INSTANCE_MAX], str from)
{
    if (from.len == 0 || from.len >= INSTANCE_MAX)
        return false;
    memcpy(to, from.ptr, from.len);
    to[from.len] = 0;
    return true;
}

/* Lock held, or nobody else has it yet. 0, or -1 and *e; then nothing of it is used. */
static int state_read(struct learning *l, str json, struct arena *a, struct err *e)
{
    struct json j;
    struct json_error je;
    uint32_t map[LEARNING_MODELS_MAX];
    if (json_parse(a, json, &j, &je) < 0)
        return err_set(e, "malformed JSON: %s at byte %zu", je.what, je.at);
    if (!json_is(&j, 0, JSON_OBJECT) || state_whole(&j, 0, "version") == 0)
        return err_set(e, "this is no learning state: it has no version");
    if (state_whole(&j, 0, "version") > STATE_VERSION)
        return err_set(e, "version %llu was written by a later signalbox; this one reads up to %d",
                       (unsigned long long)state_whole(&j, 0, "version"), STATE_VERSION);
    struct evidence own = { 0 };
    int64_t n = models_read(l, &j, true, map, a);
    if (n < 0 || !evidence_read(&own, &j, 0, map, (uint32_t)n, a)) {
        evidence_free(&own);
        return err_set(e, "models or sums are not as they must be");
    }
    evidence_free(&l->own);
    l->own = own;
    instance_read(l->instance, text(&j, 0, "instance", a));
    l->seq = state_whole(&j, 0, "seq");
    l->answered = fmin(1, fmax(0, number(&j, 0, "answered", .5)));
    judge_read_state(l, &j, json_get(&j, 0, S("judge")), a);
    purses_read(l, &j, json_get(&j, 0, S("purses")), a);
    jref peers = json_get(&j, 0, S("peers"));
    if (json_is(&j, peers, JSON_ARRAY)) {
        JSON_EACH_ITEM(&j, peers, item) {
            struct peer *p = &l->peers[l->n_peers];
            if (l->n_peers < LEARNING_PEERS_MAX && json_is(&j, item, JSON_OBJECT) && instance_read(p->instance,
                    text(&j, item, "instance", a))
                && evidence_read(&p->evidence, &j, item, map, (uint32_t)n, a)) {
                p->seq = state_whole(&j, item, "seq");
                l->n_peers++;
            }
        }
    }
    learned_sum(l);
    return 0;
}

static int file_read(struct arena *a, const char *path, str *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return errno == ENOENT ? 1 : err_set(e, "%s: %s", path, strerror(errno));
    int rc = -1;
    char *to = NULL;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > STATE_BYTES_MAX)
        err_set(e, "%s: not a file of at most %d MiB", path, STATE_BYTES_MAX >> 20);
    else if (!(to = arena_try(a, (size_t)st.st_size + 1)))
        err_set(e, "%s: no memory", path);
    else if (read(fd, to, (size_t)st.st_size) != st.st_size)
        err_set(e, "%s: cannot be read", path);
    else
        rc = 0, *out = (str){ to, (size_t)st.st_size };
    close(fd);
    return rc;
}

static int journal_start(struct learning *l, bool is_whole, struct err *e)
{
    char path[600];
    path_of(l, "journal.jsonl", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_set(e, "%s: %s", path, strerror(errno));
    struct stat st;
    l->journal.fd = fd;
    l->journal.bytes = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (!is_whole && write(fd, "\n", 1) != 1)
        return err_set(e, "%s: %s", path, strerror(errno));
    return 0;
}

int learning_open(struct learning *l, str dir, struct err *e)
{
    char path[600];
    str json;
    int rc = 0;
    pthread_mutex_lock(&l->lock);
    if (l->journal.fd >= 0 && str_eq(str_of(l->journal.dir), dir))
        goto out;
    rc = -1;
    if (dir.len == 0 || dir.len >= sizeof l->journal.dir) {
        err_set(e, "learning: the state directory's name is empty or too long");
        goto out;
    }
    if (l->journal.fd >= 0)
        close(l->journal.fd);
    l->journal = (struct journal){ .fd = -1 };
    memcpy(l->journal.dir, dir.ptr, dir.len);
    if (mkdir(l->journal.dir, 0750) < 0 && errno != EEXIST) {
        err_set(e, "learning: %s: %s", l->journal.dir, strerror(errno));
        goto out;
    }
    struct arena *a = arena_new();
    struct err why = { 0 };
    path_of(l, "state.json", path);
    int got = a ? file_read(a, path, &json, &why) : -1;
    if (got < 0 || (got == 0 && state_read(l, json, a, &why) < 0)) {
        char aside[640];
        snprintf(aside, sizeof aside, "%s.unreadable", path);
        rename(path, aside);
        log_error("learning_state_unreadable", "learning: %s: %s; kept as %s, the journal is read without it", path, why.text,
                  aside);
    }
    arena_free(a);
    l->journal.is_replaying = true;
    uint64_t known = l->seq;
    replay_file(l, "journal.old.jsonl", known);
    bool is_whole = replay_file(l, "journal.jsonl", known);
    l->journal.is_replaying = false;
    for (uint32_t i = 0; i < l->n_models; i++)  /* those requests have died with the process */
        l->models[i]->pending = 0;
    for (uint32_t i = 0; i < l->memory.n; i++)
        l->memory.ring[i].is_pending = false;
    purses_recover(l);
    rc = journal_start(l, is_whole, e);
out:
    pthread_mutex_unlock(&l->lock);
    return rc;
}

static bool file_write(const char *path, str s)
{
    char beside[640];
    snprintf(beside, sizeof beside, "%s.new", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return false;
    size_t done = 0;
    while (done < s.len) {
        ssize_t n = write(fd, s.ptr + done, s.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    bool ok = done == s.len && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    return ok && rename(beside, path) == 0;
}

/* The state is taken under the lock and written outside of it. Events in between are in the new journal, with numbers above the
 * state's. Only when the state is safe the old journal may go: until then its events are found in journal.old.jsonl, and counted
 * once by their numbers. */
void learning_checkpoint(struct learning *l)
{
    struct buf out = { 0 };
    struct err e = { 0 };
    char now[600], old[600], state[600];
    pthread_mutex_lock(&l->lock);
    bool is_kept_now = l->journal.fd >= 0;
    if (is_kept_now) {
        bool rotates = l->journal.bytes > JOURNAL_LONG;
        state_write(l, &out, false);
        path_of(l, "journal.jsonl", now);
        path_of(l, "journal.old.jsonl", old);
        path_of(l, "state.json", state);
        if (rotates && !out.is_failed && file_write(state, buf_view(&out)) && rename(now, old) == 0) {
            close(l->journal.fd);
            l->journal.fd = -1;
            if (journal_start(l, true, &e) < 0)
                log_error("learning_journal_failed", "learning: %s", e.text);
            buf_free(&out);
        }
    }
    pthread_mutex_unlock(&l->lock);
    if (out.len && !out.is_failed && !file_write(state, buf_view(&out)))
        log_error("learning_state_failed", "learning: %s: %s", state, strerror(errno));
    buf_free(&out);
}

/* Sleeps, writes, sleeps. The last state is written at the end, so that an orderly restart replays nothing. */
static void *keeper_run(void *arg)
{
    struct learning *l = arg;
    uint64_t written = 0;
    pthread_mutex_lock(&l->lock);
    while (!l->is_stopping) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (time_t)(l->keep_ns / NS_PER_S);
        pthread_cond_timedwait(&l->stops, &l->lock, &until);
        if (l->seq == written)
            continue;
        written = l->seq;
        pthread_mutex_unlock(&l->lock);
        learning_checkpoint(l);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

void learning_keep(struct learning *l, uint64_t every_ns)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_mutex_lock(&l->lock);
    l->keep_ns = every_ns > NS_PER_S ? every_ns : NS_PER_S;
    if (!l->is_kept) {
        pthread_sigmask(SIG_BLOCK, &all, &old);
        l->is_kept = pthread_create(&l->keeper, NULL, keeper_run, l) == 0;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    pthread_mutex_unlock(&l->lock);
}

void learning_free(struct learning *l)
{
    if (!l)
        return;
    if (l->is_kept) {
        pthread_mutex_lock(&l->lock);
        l->is_stopping = true;
        pthread_cond_signal(&l->stops);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->keeper, NULL);
    }
    pthread_cond_destroy(&l->stops);
    if (l->journal.fd >= 0)
        close(l->journal.fd);
    for (uint32_t i = 0; i < l->n_models; i++) {
        free((void *)(uintptr_t)l->models[i]->name.ptr);
        free(l->models[i]);
    }
    free(l->models);
    evidence_free(&l->own);
    evidence_free(&l->all);
    for (uint32_t i = 0; i < l->n_peers; i++)
        evidence_free(&l->peers[i].evidence);
    memory_free(&l->memory);
    purses_free(l);
    free(l->sessions);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- instances ---- */

void learning_export(struct learning *l, struct buf *out)
{
    pthread_mutex_lock(&l->lock);
    state_write(l, out, true);
    pthread_mutex_unlock(&l->lock);
}

static struct peer *peer_of(struct learning *l, str instance)
{
    for (uint32_t i = 0; i < l->n_peers; i++)
        if (str_eq(str_of(l->peers[i].instance), instance))
            return &l->peers[i];
    return NULL;
}

/* Lock held. */
static int import(struct learning *l, const struct json *j, struct arena *a, struct err *e)
{
    uint32_t map[LEARNING_MODELS_MAX];
    str instance = text(j, 0, "instance", a);
    uint64_t seq = state_whole(j, 0, "seq");
    struct evidence sums = { 0 };
    struct peer *p = peer_of(l, instance);
    if (instance.len == 0 || instance.len >= INSTANCE_MAX)
        return err_set(e, "instance: expected the name that an export carries");
    if (str_eq(instance, str_of(l->instance)))
        return err_set(e, "instance: this is this instance's own export");
    if (p && p->seq >= seq)
        return 1;
    if (!p && l->n_peers == LEARNING_PEERS_MAX)
        return err_set(e, "instance: sums of %d others are held already", LEARNING_PEERS_MAX);
    int64_t n = models_read(l, j, false, map, a);
    if (n < 0 || !evidence_read(&sums, j, 0, map, (uint32_t)n, a)) {
        evidence_free(&sums);
        return err_set(e, "models or sums are not as they must be");
    }
    if (!p) {
        p = &l->peers[l->n_peers++];
        instance_read(p->instance, instance);
    }
    evidence_free(&p->evidence);
    p->evidence = sums;
    p->seq = seq;
    learned_sum(l);
    return 0;
}

int learning_import(struct learning *l, str json, struct err *e)
{
    struct arena *a = arena_new();
    struct json j;
    struct json_error je;
    int rc = -1;
    if (!a)
        return err_set(e, "no memory");
    if (json_parse(a, json, &j, &je) < 0) {
        err_set(e, "malformed JSON: %s at byte %zu", je.what, je.at);
    } else if (!json_is(&j, 0, JSON_OBJECT) || state_whole(&j, 0, "version") == 0 || state_whole(&j, 0, "version") > STATE_VERSION) {
        err_set(e, "version: this one reads exports up to version %d", STATE_VERSION);
    } else {
        pthread_mutex_lock(&l->lock);
        rc = import(l, &j, a, e);
        pthread_mutex_unlock(&l->lock);
    }
    arena_free(a);
    return rc;
}

/* ---- for people ---- */

static const char *breaker_name(const struct breaker *b)
{
    return b->state == BREAKER_CLOSED ? "in" : b->state == BREAKER_OPEN ? "dropped" : "on_trial";
}

/* How far the judge is to be trusted, as far as that is known. */
static void judge_show(struct json_writer *w, const struct agreement *g)
{
    double low, high;
    agreement_interval(g, &low, &high);
    put_open(w, S("judge"), '{');
    put_double(w, S("pairs"), agreement_pairs(g));
    put_double(w, S("right"), g->right);
    put_double(w, S("too_kind"), g->too_kind);
    put_double(w, S("too_harsh"), g->too_harsh);
    put_double(w, S("error"), agreement_error(g));
    put_double(w, S("error_low"), low);
    put_double(w, S("error_high"), high);
    put_double(w, S("weight"), agreement_weight(g));
    put_str(w, S("note"), str_of(agreement_note(g)));
    jw_end(w, '}');
}

void learning_show(struct learning *l, struct buf *out)
{
    struct json_writer w = { .out = out };
    pthread_mutex_lock(&l->lock);
    jw_begin(&w, '{');
    put_str(&w, S("instance"), str_of(l->instance));
    put_int(&w, S("seq"), l->seq);
    put_str(&w, S("directory"), l->journal.fd >= 0 ? str_of(l->journal.dir) : S(""));
    put_int(&w, S("decisions_remembered"), l->memory.n);
    put_double(&w, S("outcomes_per_decision"), l->answered);
    put_int(&w, S("cells"), l->own.cells.used);
    judge_show(&w, &l->agreement);
    put_open(&w, S("models"), '[');
    for (uint32_t i = 0; i < l->n_models; i++) {
        const struct learned_model *m = l->models[i];
        struct belief b = cells_belief(l->n_peers ? &l->all.cells : &l->own.cells, i, CELL_ALL, 0, .25);
        jw_begin(&w, '{');
        put_str(&w, S("name"), m->name);
        put_int(&w, S("calls"), m->calls);
        put_int(&w, S("pending"), m->pending);
        put_int(&w, S("outcomes"), m->outcomes);
        put_double(&w, S("mean_reward"), m->outcomes ? m->reward / (double)m->outcomes : (double)NAN);
        put_double(&w, S("offset"), b.mean);
        put_double(&w, S("offset_deviation"), b.deviation);
        put_int(&w, S("changes"), m->changes);
        put_str(&w, S("form"), str_of(breaker_name(&m->breaker)));
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    put_open(&w, S("peers"), '[');
    for (uint32_t i = 0; i < l->n_peers; i++) {
        jw_begin(&w, '{');
        put_str(&w, S("instance"), str_of(l->peers[i].instance));
        put_int(&w, S("seq"), l->peers[i].seq);
        put_int(&w, S("cells"), l->peers[i].evidence.cells.used);
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    jw_end(&w, '}');
    pthread_mutex_unlock(&l->lock);
}
