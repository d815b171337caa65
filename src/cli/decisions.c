/* cli/decisions.c */
#include "cli/decisions.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hex.h"

static str text(const struct json *j, jref object, const char *key, struct arena *a)
{
    jref v = json_is(j, object, JSON_OBJECT) ? json_get(j, object, str_of(key)) : JSON_NONE;
    return v == JSON_NONE ? S("") : json_str(j, v, a);
}

static double number(const struct json *j, jref object, const char *key)
{
    double v;
    jref n = json_is(j, object, JSON_OBJECT) ? json_get(j, object, str_of(key)) : JSON_NONE;
    return n != JSON_NONE && json_double(j, n, &v) ? v : (double)NAN;
}

static void arms_read(struct arena *a, const struct json *j, jref list, struct logged *d)
{
    uint32_t n = json_count(j, list), most = n < DECISION_ARMS_MAX ? n : DECISION_ARMS_MAX;
    d->arms = ARENA_ARRAY(a, struct logged_arm, most);
    d->has_chances = n > 0;
    JSON_EACH_ITEM(j, list, item) {
        if (d->n_arms == DECISION_ARMS_MAX || !json_is(j, item, JSON_OBJECT))
            break;
        struct logged_arm *m = &d->arms[d->n_arms++];
        int64_t pending = 0;
        json_int(j, json_get(j, item, S("pending")), &pending);
        double count = number(j, item, "count");
        *m = (struct logged_arm){
            .model = text(j, item, "model", a), .expected = number(j, item, "expected"), .penalty = number(j, item, "penalty"),
            .cost = number(j, item, "cost"), .chance = number(j, item, "chance"),
            .arm = { number(j, item, "mean"), number(j, item, "deviation"), isnan(count) ? 0 : count,
                     pending > 0 && pending < UINT32_MAX ? (uint32_t)pending : 0,
                     json_bool(j, json_get(j, item, S("out")), false), json_bool(j, json_get(j, item, S("screened")), false),
                     number(j, item, "share") },
        };
        d->has_chances = d->has_chances && m->chance >= 0 && m->chance <= 1;
    }
}

static str body_of(const struct json *j, struct arena *a)
{
    static const char *const keys[] = { "request", "body" };
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        jref n = json_get(j, 0, str_of(keys[i]));
        if (json_is(j, n, JSON_OBJECT))
            return json_raw(j, n);
        if (json_is(j, n, JSON_STRING))
            return json_str(j, n, a);
    }
    return json_str(j, json_get(j, 0, S("request_text")), a);
}

bool logged_read(struct arena *a, const struct json *j, struct logged *d)
{
    if (!json_is(j, 0, JSON_OBJECT))
        return false;
    jref s = json_get(j, 0, S("selection"));
    *d = (struct logged){
        .id = text(j, 0, "request_id", a), .decision = text(j, 0, "decision", a), .recipe = text(j, 0, "recipe", a),
        .model = text(j, 0, "model", a), .algorithm = text(j, 0, "algorithm", a), .reason = text(j, 0, "reason", a),
        .base = text(j, s, "base", a), .proposal = text(j, s, "proposal", a), .action = text(j, s, "action", a),
        .session = text(j, s, "session", a), .body = body_of(j, a), .headers = json_get(j, 0, S("headers")),
        .propensity = number(j, 0, "propensity"), .cost = number(j, 0, "cost"), .duration_ms = number(j, 0, "duration_ms"),
        .needed = number(j, s, "needed"), .status = -1,
    };
    json_int(j, json_get(j, 0, S("status")), &d->status);
    str chosen = text(j, s, "model", a);
    if (chosen.len)                             /* the arm, with its mode; the line's own model is the name alone */
        d->model = chosen;
    if (!json_is(j, s, JSON_OBJECT))
        return d->model.len > 0;
    d->has_seed = hex_u64(text(j, s, "seed", a), &d->seed);
    hex_u64(text(j, s, "kind", a), &d->kind);
    hex_u64(text(j, s, "text_hash", a), &d->question);
    d->rules = (struct bandit_rules){ .scale = number(j, s, "scale"), .floor = number(j, s, "floor"),
                                      .margin = number(j, s, "margin") };
    const struct evidence_ops *strategy = evidence_by_name(text(j, s, "strategy", a));
    d->rules.by_share = strategy && strategy->by_share;
    jref arms = json_get(j, s, S("arms"));
    if (json_is(j, arms, JSON_ARRAY))
        arms_read(a, j, arms, d);
    return d->model.len > 0;
}

uint32_t logged_at(const struct logged *d, str model)
{
    for (uint32_t i = 0; i < d->n_arms; i++)
        if (str_eq(d->arms[i].model, model))
            return i;
    return UINT32_MAX;
}

bool logged_replays(const struct logged *d)
{
    struct arm arms[DECISION_ARMS_MAX];
    double chance[DECISION_ARMS_MAX];
    if (!d->has_seed || !d->n_arms || isnan(d->rules.scale))
        return false;
    for (uint32_t i = 0; i < d->n_arms; i++)
        arms[i] = d->arms[i].arm;
    bandit_chances(&d->rules, arms, d->n_arms, chance);
    uint32_t at = bandit_throw(chance, d->n_arms, d->seed);
    for (uint32_t i = 0; i < d->n_arms; i++)
        if (chance[i] != d->arms[i].chance)
            return false;
    return at < d->n_arms ? str_eq(d->arms[at].model, d->proposal) || str_eq(d->action, S("observe"))
        || str_eq(d->action, S("bypass"))
                          : true;
}

/* ---- rewards ---- */

static bool reward_of(const struct json *j, struct arena *a, double *out)
{
    static const char *const keys[] = { "reward", "quality", "score" };
    static const struct { const char *name; double reward; } verdicts[] = {
        { "good_fit", 1 }, { "overprovisioned", .8 }, { "underpowered", 0 }, { "failed", 0 },
    };
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        jref v = json_get(j, 0, str_of(keys[i]));
        if (json_is(j, v, JSON_TRUE) || json_is(j, v, JSON_FALSE)) {
            *out = json_is(j, v, JSON_TRUE);
            return true;
        }
        if (v != JSON_NONE && json_double(j, v, out))
            return true;
    }
    str verdict = text(j, 0, "verdict", a);
    for (size_t i = 0; i < COUNT_OF(verdicts); i++)
        if (str_eq(verdict, str_of(verdicts[i].name))) {
            *out = verdicts[i].reward;
            return true;
        }
    return false;
}

int rewards_read(struct arena *a, const char *path, struct map *out, struct err *e)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, "%s: %s", path, strerror(errno));
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, f)) > 0) {
        struct arena *of_line = arena_new();
        struct json j;
        struct json_error je;
        double reward;
        if (of_line && json_parse(of_line, (str){ line, (size_t)n }, &j, &je) == 0 && json_is(&j, 0, JSON_OBJECT)
            && reward_of(&j, of_line, &reward)) {
            str id = text(&j, 0, "request_id", of_line);
            if (id.len == 0)
                id = text(&j, 0, "id", of_line);        /* a journal's events */
            double *to = map_get(out, id);
            if (!to && id.len) {
                to = ARENA_NEW(a, double);
                map_put(out, arena_str(a, id), to);
            }
            if (to)
                *to = reward;
        }
        arena_free(of_line);
    }
    free(line);
    fclose(f);
    return 0;
}
