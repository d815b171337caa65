/* select/evidence_linear.c -- `linucb`: how far outcomes stray from what was expected, regressed on a context; one arm a model, and
 * what all arms have in common as the prior of each.
 *
 * GreenServ's disjoint LinUCB on two dozen numbers, with Symphony's candidate figures among them and its one shared model as the
 * prior: a model that has no outcome yet is believed to stray as the others do. The belief's deviation goes to the die, which scales
 * it by `exploration`; with rewards of 0 and 1 their deviation is about a half, so 0.3 there is a width of 0.15. */
#include "select/evidence.h"

#include <math.h>
#include <stdlib.h>

static const double arm_ridge = 1, common_ridge = 4;    /* contexts are scaled by deviations: one deviation, and half of one */

static struct linear *arm_at(struct linear_arms *l, uint32_t model)
{
    if (model >= l->cap) {
        uint32_t cap = l->cap ? l->cap : 16;
        while (cap <= model)
            cap *= 2;
        struct linear **more = realloc(l->of, cap * sizeof *more);
        if (!more)
            return NULL;
        for (uint32_t i = l->cap; i < cap; i++)
            more[i] = NULL;
        l->of = more;
        l->cap = cap;
    }
    if (!l->of[model] && (l->of[model] = malloc(sizeof **l->of)))
        linear_start(l->of[model], CONTEXT_N, arm_ridge);
    return l->of[model];
}

static const double *common_theta(struct linear_arms *l)
{
    if (!l->is_common) {
        linear_start(&l->common, CONTEXT_N, common_ridge);
        for (uint32_t i = 0; i < l->cap; i++)
            if (l->of[i] && l->of[i]->count > 0)
                linear_witness(&l->common, l->of[i]);
        l->is_common = true;
    }
    return linear_theta(&l->common);
}

static void believe(struct evidence *e, const struct evidence_query *query, const struct evidence_question *q, uint32_t n,
                    struct arm *arms)
{
    const double *common = common_theta(&e->linear);
    struct linear unknown;
    linear_start(&unknown, CONTEXT_N, arm_ridge);
    for (uint32_t i = 0; i < n; i++) {
        struct linear *l = q[i].model < e->linear.cap ? e->linear.of[q[i].model] : NULL;
        float cues[CONTEXT_N];
        double x[CONTEXT_N];
        context_fill(&query->context, &q[i].context, cues);
        for (int k = 0; k < CONTEXT_N; k++)
            x[k] = (double)cues[k];
        struct belief b = linear_belief(l ? l : &unknown, x, common);
        arms[i].mean = q[i].expected + b.mean - q[i].penalty;
        arms[i].deviation = b.deviation;
        arms[i].count = b.count;
    }
}

/* A row counts by what its outcome can tell: the noise of a reward depends on what is expected of it. */
static void add(struct evidence *e, const struct evidence_row *row, double weight, const struct evidence_tuning *t)
{
    struct linear *l = arm_at(&e->linear, row->model);
    double by = 1 / sqrt(reward_noise(row->expected)), x[CONTEXT_N];
    (void)t;
    if (!l || !row->x)
        return;
    for (int i = 0; i < CONTEXT_N; i++)
        x[i] = by * (double)row->x[i];
    linear_add(l, x, by * (row->reward - row->expected), weight);
    e->linear.is_common = false;
}

static void change(struct evidence *e, uint32_t model, const struct evidence_row *since, uint32_t n,
                   const struct evidence_tuning *t)
{
    if (model < e->linear.cap && e->linear.of[model])
        linear_start(e->linear.of[model], CONTEXT_N, arm_ridge);
    e->linear.is_common = false;
    for (uint32_t i = 0; i < n; i++)
        add(e, &since[i], 1, t);
}

static bool merge(struct evidence *to, const struct evidence *from)
{
    for (uint32_t i = 0; i < from->linear.cap; i++) {
        if (!from->linear.of[i])
            continue;
        struct linear *l = arm_at(&to->linear, i);
        if (!l)
            return false;
        linear_merge(l, from->linear.of[i]);
    }
    to->linear.is_common = false;
    return true;
}

static void release(struct evidence *e)
{
    for (uint32_t i = 0; i < e->linear.cap; i++)
        free(e->linear.of[i]);
    free(e->linear.of);
    e->linear = (struct linear_arms){ 0 };
}

/* [model, count, [sum of x reward], [sum of x x', the lower triangle]] */
static void write_arms(const struct evidence *e, struct json_writer *w)
{
    jw_begin(w, '[');
    for (uint32_t i = 0; i < e->linear.cap; i++) {
        const struct linear *l = e->linear.of[i];
        if (!l || l->count == 0)
            continue;
        jw_begin(w, '[');
        jw_int(w, i);
        jw_double(w, l->count);
        jw_begin(w, '[');
        for (int k = 0; k < CONTEXT_N; k++)
            jw_double(w, l->b[k]);
        jw_end(w, ']');
        jw_begin(w, '[');
        for (int k = 0; k < CONTEXT_N * (CONTEXT_N + 1) / 2; k++)
            jw_double(w, l->rows[k]);
        jw_end(w, ']');
        jw_end(w, ']');
    }
    jw_end(w, ']');
}

static bool numbers_read(const struct json *j, jref list, uint32_t n, double most, double *out)
{
    uint32_t i = 0;
    if (!json_is(j, list, JSON_ARRAY) || json_count(j, list) != n)
        return false;
    JSON_EACH_ITEM(j, list, item)
        if (!json_double(j, item, &out[i]) || !(fabs(out[i++]) <= most))
            return false;
    return true;
}

/* A context of another length is one of another version: passed over, the cells know the same outcomes. */
static bool read_arms(struct evidence *e, const struct json *j, jref list, const uint32_t *map, uint32_t n_map, struct arena *a)
{
    (void)a;
    JSON_EACH_ITEM(j, list, item) {
        int64_t model;
        struct linear l;
        linear_start(&l, CONTEXT_N, arm_ridge);
        if (!json_is(j, item, JSON_ARRAY) || json_count(j, item) < 4)
            return false;
        jref count = item + 2, b = j->nodes[count].next;
        if (!json_int(j, item + 1, &model) || model < 0 || model >= n_map || !json_double(j, count, &l.count)
            || !(l.count >= 0 && l.count < 1e15))
            return false;
        if (json_is(j, b, JSON_ARRAY) && json_count(j, b) != CONTEXT_N)
            continue;
        double most = 1 + 100 * l.count;                /* noise >= .04 and |x| <= 2 */
        if (!numbers_read(j, b, CONTEXT_N, most, l.b)
            || !numbers_read(j, j->nodes[b].next, CONTEXT_N * (CONTEXT_N + 1) / 2, most, l.rows))
            return false;
        struct linear *to = map[model] == UINT32_MAX ? NULL : arm_at(&e->linear, map[model]);
        if (to)
            linear_merge(to, &l);
    }
    e->linear.is_common = false;
    return true;
}

const struct evidence_ops evidence_linucb = {
    .name = "linucb", .believe = believe, .add = add, .change = change, .merge = merge, .release = release,
    .key = "linear", .write = write_arms, .read = read_arms,
};
