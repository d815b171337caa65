/* select/evidence_cells.c -- `thompson`: sums by model and by (model, kind of query), select/bandit_cells.c. */
#include "base/hex.h"
#include "select/evidence.h"

#include <math.h>

static void believe(struct evidence *e, const struct evidence_query *query, const struct evidence_question *q, uint32_t n,
                    struct arm *arms)
{
    for (uint32_t i = 0; i < n; i++) {
        struct belief b = { q[i].expected, q[i].deviation, 0 };
        if (q[i].model != UINT32_MAX)
            b = cells_belief(&e->cells, q[i].model, query->kind, q[i].expected, q[i].deviation);
        arms[i].mean = b.mean - q[i].penalty;
        arms[i].deviation = b.deviation;
        arms[i].count = b.count;
    }
}

static void add(struct evidence *e, const struct evidence_row *row, double weight, const struct evidence_tuning *t)
{
    (void)t;
    cells_add(&e->cells, row->model, row->kind, row->reward, row->expected, weight);
}

static void change(struct evidence *e, uint32_t model, const struct evidence_row *since, uint32_t n,
                   const struct evidence_tuning *t)
{
    cells_reset(&e->cells, model);
    for (uint32_t i = 0; i < n; i++)
        add(e, &since[i], 1, t);
}

static bool merge(struct evidence *to, const struct evidence *from)
{
    return cells_merge(&to->cells, &from->cells);
}

static void release(struct evidence *e)
{
    cells_free(&e->cells);
}

/* [model, kind, n, rest, squares, wide] */
static void write_cells(const struct evidence *e, struct json_writer *w)
{
    jw_begin(w, '[');
    for (uint32_t i = 0; i < e->cells.cap; i++) {
        const struct cell *at = &e->cells.slots[i];
        if (!at->key || (at->n == 0 && at->wide == 0))
            continue;
        jw_begin(w, '[');
        jw_int(w, at->model);
        jw_hex(w, at->kind);
        jw_double(w, at->n);
        jw_double(w, at->rest);
        jw_double(w, at->squares);
        jw_float(w, at->wide);
        jw_end(w, ']');
    }
    jw_end(w, ']');
}

static bool read_cells(struct evidence *e, const struct json *j, jref list, const uint32_t *map, uint32_t n_map, struct arena *a)
{
    JSON_EACH_ITEM(j, list, item) {
        if (!json_is(j, item, JSON_ARRAY) || json_count(j, item) < 5)
            return false;
        double v[6] = { 0 };
        unsigned i = 0;
        uint64_t kind = 0;
        JSON_EACH_ITEM(j, item, part) {
            if (i == 1)
                kind = hex_or_zero(json_str(j, part, a));
            else if (i < 6 && (!json_double(j, part, &v[i]) || !isfinite(v[i])))
                return false;
            i++;
        }
        /* a residual is within -1.5 .. 1.5, a judge's in 5 more */
        if (!(v[0] >= 0 && v[0] < n_map) || v[2] < 0 || fabs(v[3]) > 6 * v[2] + 1)
            return false;
        uint32_t model = map[(uint32_t)v[0]];
        struct cell *at = model == UINT32_MAX ? NULL : cells_at(&e->cells, model, kind);
        if (!at)
            continue;
        at->n += v[2];
        at->rest += v[3];
        at->squares += v[4];
        at->wide = fmaxf(at->wide, (float)fmin(1, fmax(0, v[5])));
    }
    return true;
}

const struct evidence_ops evidence_thompson = {
    .name = "thompson", .believe = believe, .add = add, .change = change, .merge = merge, .release = release,
    .key = "cells", .write = write_cells, .read = read_cells, .is_required = true,
};
