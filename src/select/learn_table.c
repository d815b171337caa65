/* select/learn_table.c -- `table`: guess the kind of query, look up what each model did on that kind. `mean` is the same with one
 * kind.
 *
 * Most of what can be learned from recorded outcomes is how strong a model is on a kind of query (LLMRouterBench; and our own
 * folds), so this small table is hard to beat. Which kinds there are is learned once, by `fit`: the labels of the rows, or
 * clusters when they have none. From then on outcomes go into the cells in proportion to what the text looks like. */
#include <math.h>

#include "select/tally.h"
#include "select/kinds.h"

struct table {
    struct learner l;
    struct kinds kinds;                 /* n 0: one kind */
    struct tally cells;
};

static void table_release(struct learner *l)
{
    struct table *t = (struct table *)l;
    kinds_clear(&t->kinds);
    tally_clear(&t->cells);
}

static bool table_grow(struct learner *l)
{
    struct table *t = (struct table *)l;
    return tally_size(&t->cells, l->n_models, t->kinds.n);
}

/* The kinds of a text: for sure if it is labelled with one we know, else as likely as the words say. */
static void table_shares(const struct table *t, const struct features *x, float *p)
{
    uint32_t known = x->kind.len ? learner_kind(&t->l, x->kind) : UINT32_MAX;
    if (t->kinds.n == 0)
        return;
    if (known == UINT32_MAX) {
        kinds_predict(&t->kinds, x, p);
        return;
    }
    memset(p, 0, t->kinds.n * sizeof *p);
    p[known] = 1;
}

static void table_observe(struct learner *l, const struct outcome *o, double weight)
{
    struct table *t = (struct table *)l;
    float p[LEARNER_KINDS_MAX];
    table_shares(t, o->x, p);
    tally_add(&t->cells, &l->spec, o, p, weight);
}

static void table_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a)
{
    const struct table *t = (const struct table *)l;
    float *p = ARENA_ARRAY(a, float, t->kinds.n);
    table_shares(t, x, p);
    tally_predict(&t->cells, &l->spec, x->bytes, p, out, a);
}

static bool kinds_learn(struct table *t, const struct recorded *r, bool heeds_labels, struct arena *a)
{
    uint32_t *label = ARENA_ARRAY(a, uint32_t, r->n);
    str *names = ARENA_ARRAY(a, str, LEARNER_KINDS_MAX);
    uint32_t n = kinds_name(r, &t->l.spec, heeds_labels, label, names, a);
    kinds_clear(&t->kinds);
    return n != UINT32_MAX && learner_kinds_set(&t->l, names, n) && (n == 0 || kinds_fit(&t->kinds, r, label, n));
}

static int table_learn(struct table *t, const struct recorded *r, bool has_kinds, bool heeds_labels, struct err *e)
{
    struct arena *a = arena_new();
    bool is_fine = a && (!has_kinds || kinds_learn(t, r, heeds_labels, a));
    arena_free(a);
    tally_clear(&t->cells);
    if (!is_fine || !tally_size(&t->cells, t->l.n_models, t->kinds.n))
        return err_set(e, "no memory for a table of %u models", t->l.n_models);
    float p[LEARNER_KINDS_MAX];
    for (uint32_t i = 0; i < recorded_n(r); i++) {
        uint32_t row = recorded_row(r, i);
        table_shares(t, &r->x[row], p);
        for (uint32_t m = 0; m < r->n_models; m++) {
            struct outcome o = recorded_outcome(r, row, m);
            tally_add(&t->cells, &t->l.spec, &o, p, 1);
        }
    }
    tally_weigh(&t->cells, &t->l.spec);
    return 0;
}

static int table_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return table_learn((struct table *)l, r, true, true, e);
}

static int clusters_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return table_learn((struct table *)l, r, true, false, e);
}

static int mean_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return table_learn((struct table *)l, r, false, false, e);
}

static void table_forget(struct learner *l, uint32_t model, double keep)
{
    struct table *t = (struct table *)l;
    if (model == UINT32_MAX || model < l->n_models)
        tally_forget(&t->cells, model, keep);
}

static bool table_merge(struct learner *l, const struct learner *other, double share)
{
    struct table *t = (struct table *)l;
    const struct table *o = (const struct table *)other;
    if (other->ops != l->ops || (t->kinds.n && other->fit_id != l->fit_id) || t->kinds.n != o->kinds.n)
        return false;
    uint32_t model_of[LEARNER_MODELS_MAX];
    if (!learner_models_of(l, other, model_of))
        return false;
    tally_merge(&t->cells, &o->cells, model_of, share);
    tally_weigh(&t->cells, &l->spec);
    return true;
}

static void table_save(const struct learner *l, struct buf *out)
{
    const struct table *t = (const struct table *)l;
    kinds_save(&t->kinds, out);
    tally_save(&t->cells, out);
}

static int table_load(struct learner *l, str bytes, struct err *e)
{
    struct table *t = (struct table *)l;
    struct unpack u = { bytes, false };
    if (!kinds_load(&t->kinds, &u) || t->kinds.n != l->n_kinds)
        return err_set(e, "its kinds of queries make no sense");
    if (!tally_load(&t->cells, &u, l->n_models, t->kinds.n))
        return err_set(e, "its sums make no sense");
    return 0;
}

static bool table_kinds(const struct learner *l, const struct features *x, float *p, struct arena *a)
{
    (void)a;
    table_shares((const struct table *)l, x, p);
    return l->n_kinds > 0;
}

static bool table_cell(const struct learner *l, uint32_t kind, uint32_t model, struct prediction *out)
{
    const struct table *t = (const struct table *)l;
    const struct tally_cell *c = t->cells.cell + (size_t)model * (t->kinds.n + 1) + kind;
    *out = (struct prediction){
        .quality = c->n > 0 ? (float)(c->quality / c->n) : NAN, .count = (float)c->n, .deviation = NAN,
        .cost_usd = c->costs > 0 ? (float)(c->cost / c->costs) : NAN, .out_tokens = NAN, .out_tokens_90 = NAN, .latency_s = NAN,
            .latency_90_s = NAN,
    };
    return true;
}

const struct learner_ops learner_table = {
    .name = "table", .summary = "kind of query by its words, shrunken mean of each model on that kind", .bytes =
        sizeof(struct table),
    .release = table_release, .grow = table_grow, .fit = table_fit, .observe = table_observe, .predict = table_predict, .forget =
        table_forget,
    .merge = table_merge, .save = table_save, .load = table_load, .kinds = table_kinds, .cell = table_cell,
};

const struct learner_ops learner_clusters = {
    .name = "clusters", .summary = "the same on kinds made up by likeness, whatever the labels", .bytes = sizeof(struct table),
    .release = table_release, .grow = table_grow, .fit = clusters_fit, .observe = table_observe, .predict = table_predict,
        .forget = table_forget,
    .merge = table_merge, .save = table_save, .load = table_load, .kinds = table_kinds, .cell = table_cell,
};

const struct learner_ops learner_mean = {
    .name = "mean", .summary = "mean of each model over all queries: the best single model", .bytes = sizeof(struct table),
    .release = table_release, .grow = table_grow, .fit = mean_fit, .observe = table_observe, .predict = table_predict, .forget =
        table_forget,
    .merge = table_merge, .save = table_save, .load = table_load,
};
