/* select/learn_pilots.c -- `pilots`: every model has a few landmarks among texts; who has the nearest one answers (RouterRetriever).
 *
 * A recorded query is labelled with the model that served it best, and each (kind of query, label) has one pilot: the mean of
 * those queries' words. Several models usually serve a query equally well. Then the label goes to the one with the better mean,
 * and then to the cheaper: taking the first in the table instead teaches nothing but the order of the table. Queries that nobody
 * served are nobody's.
 *
 * `score` is the likeness (cosine) of the query to the model's nearest pilot, brought to the scale of quality by one line for all
 * models, so that a price can be set against it; it says nothing of how good a model is elsewhere. `pilots_mean` takes the average
 * over a model's pilots instead: the paper says average, its authors' program nearest. `quality` is the model's mean over all
 * queries: likeness says who serves a text best and not how well (moving quality along the line made Brier scores worse).
 *
 * A pilot is a sum over its own model's queries and nothing else: adding or removing a model leaves the others' as they are, to
 * the bit. A later outcome counts for its model's pilot by its quality. */
#include <math.h>

#include "select/kinds.h"
#include "select/tally.h"
#include "select/words.h"

enum {
    PILOTS_MAX = 2048,                  /* 64 MB of sums; beyond: an outcome counts for means, and moves no pilot */
    ASKED_MAX = 1000,                   /* rows that the line is fitted on */
};

struct pilot { uint32_t model, kind; double n, length, sum[WORDS_DIMS]; };

struct pilots {
    struct learner l;
    struct words words;
    struct kinds kinds;
    struct tally means;                 /* of one kind: means of models, costs, tokens, seconds */
    struct pilot **pilot; uint32_t n, cap;      /* by age */
    double slope, usual, everybody;     /* frozen by fit: quality per likeness; mean likeness; mean quality */
};

static bool is_mean(const struct learner *l)
{
    return str_eq(str_of(l->ops->name), S("pilots_mean"));
}

static void pilots_drop(struct pilots *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        free(p->pilot[i]);
    p->n = 0;
}

static void pilots_release(struct learner *l)
{
    struct pilots *p = (struct pilots *)l;
    pilots_drop(p);
    free(p->pilot);
    words_clear(&p->words);
    kinds_clear(&p->kinds);
    tally_clear(&p->means);
}

static bool pilots_grow(struct learner *l)
{
    return tally_size(&((struct pilots *)l)->means, l->n_models, 0);
}

/* The pilot of a model for a kind, made if there is none. NULL: PILOTS_MAX reached or no memory. */
static struct pilot *pilot_of(struct pilots *p, uint32_t model, uint32_t kind)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->pilot[i]->model == model && p->pilot[i]->kind == kind)
            return p->pilot[i];
    if (p->n == PILOTS_MAX)
        return NULL;
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? 2 * p->cap : 64;
        struct pilot **grown = realloc(p->pilot, cap * sizeof *grown);
        if (!grown)
            return NULL;
        p->pilot = grown;
        p->cap = cap;
    }
    struct pilot *made = calloc(1, sizeof *made);
    if (made) {
        made->model = model;
        made->kind = kind;
        p->pilot[p->n++] = made;
    }
    return made;
}

static void pilot_move(struct pilot *at, const struct gram *x, uint32_t n, double weight)
{
    at->n += weight;
    for (uint32_t g = 0; g < n; g++)
        at->sum[x[g].bucket] += weight * (double)x[g].value;
}

static void pilot_measure(struct pilot *at)
{
    double square = 0;
    for (uint32_t d = 0; d < WORDS_DIMS; d++)
        square += at->sum[d] * at->sum[d];
    at->length = sqrt(square);
}

/* Likeness of x to a pilot: their cosine, less where few queries made the pilot (`worth`: as if so many more had been unlike
 * everything), for a pilot of one query is near to something by chance. `without`: had it not seen x. */
static double likeness(const struct pilot *at, const struct gram *x, uint32_t n, bool without, double worth)
{
    double inner = 0, own = 0, length = at->length;
    for (uint32_t g = 0; g < n; g++) {
        inner += (double)x[g].value * at->sum[x[g].bucket];
        own += (double)(x[g].value * x[g].value);
    }
    if (without) {
        length = sqrt(fmax(length * length - 2 * inner + own, 0));
        inner -= own;
    }
    return inner / (length + worth);
}

/* Of x to every model, by its nearest pilot or all of them: out[n_models]; 0: it has none. seen_by: the model that x is part of a
 * pilot of; UINT32_MAX: none. */
static void likenesses(const struct pilots *p, const struct gram *x, uint32_t n, uint32_t seen_by, uint32_t seen_kind, double *out)
{
    uint32_t count[LEARNER_MODELS_MAX] = { 0 };
    memset(out, 0, p->l.n_models * sizeof *out);
    for (uint32_t i = 0; i < p->n; i++) {
        const struct pilot *at = p->pilot[i];
        double v = likeness(at, x, n, at->model == seen_by && at->kind == seen_kind, p->l.spec.shrink_kind);
        double *to = &out[at->model];
        if (is_mean(&p->l))
            *to += v;
        else if (!count[at->model] || v > *to)
            *to = v;
        count[at->model]++;
    }
    for (uint32_t m = 0; m < p->l.n_models && is_mean(&p->l); m++)
        out[m] /= count[m] ? count[m] : 1;
}

static uint32_t kind_of(const struct pilots *p, const struct features *x)
{
    uint32_t known = x->kind.len ? learner_kind(&p->l, x->kind) : UINT32_MAX, best = 0;
    if (known != UINT32_MAX || p->kinds.n == 0)
        return known != UINT32_MAX ? known : 0;
    float share[LEARNER_KINDS_MAX];
    kinds_predict(&p->kinds, x, share);
    for (uint32_t t = 1; t < p->kinds.n; t++)
        best = share[t] > share[best] ? t : best;
    return best;
}

static void pilots_observe(struct learner *l, const struct outcome *o, double weight)
{
    struct pilots *p = (struct pilots *)l;
    tally_add(&p->means, &l->spec, o, NULL, weight);
    if (o->model >= l->n_models || !(o->quality > 0) || !p->words.idf)
        return;
    struct gram *x = malloc((o->x->n + 1) * sizeof *x);
    struct pilot *at = x ? pilot_of(p, o->model, kind_of(p, o->x)) : NULL;
    if (at) {
        pilot_move(at, x, words_read(&p->words, o->x, x), weight * (double)o->quality);
        pilot_measure(at);
    }
    free(x);
}

static void pilots_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a)
{
    const struct pilots *p = (const struct pilots *)l;
    struct gram *grams = ARENA_ARRAY(a, struct gram, x->n);
    double *like = ARENA_ARRAY(a, double, l->n_models);
    tally_predict(&p->means, &l->spec, x->bytes, NULL, out, a);
    uint32_t n = words_read(&p->words, x, grams);
    likenesses(p, grams, n, UINT32_MAX, 0, like);
    for (uint32_t m = 0; m < l->n_models; m++)          /* a text without words is near to nothing: the means decide */
        out[m].score = (float)(n ? p->everybody + p->slope * (like[m] - p->usual) : tally_mean(&p->means, &l->spec, m, p->everybody));
}

/* ---- fit ---- */

struct rank { double mean, cost; uint32_t model; };

static int by_mean(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    if (x->mean != y->mean)
        return x->mean > y->mean ? -1 : 1;
    return x->cost < y->cost ? -1 : x->cost > y->cost ? 1 : x->model < y->model ? -1 : x->model > y->model;
}

/* The models, whom a tie goes to first. */
static struct rank *ranks(const struct pilots *p, uint32_t n, struct arena *a)
{
    struct rank *r = ARENA_ARRAY(a, struct rank, n);
    for (uint32_t m = 0; m < n; m++) {
        const struct tally_cell *c = &p->means.cell[m];
        r[m] = (struct rank){ c->n > 0 ? c->quality / c->n : -1, c->costs > 0 ? c->cost / c->costs : HUGE_VAL, m };
    }
    qsort(r, n, sizeof *r, by_mean);
    return r;
}

/* Who served a row best; UINT32_MAX: nobody. */
static uint32_t label_of(const struct recorded *r, uint32_t row, const struct rank *order)
{
    const float *q = r->quality + (size_t)row * r->n_models;
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < r->n_models; i++) {
        uint32_t m = order[i].model;
        if (q[m] > 0 && (best == UINT32_MAX || q[m] > q[best]))
            best = m;
    }
    return best;
}

/* Quality against likeness, least squares on a sample of the rows. Both are centred by query and by model: what is looked at is
 * where a query is nearer to one model than to others, and nearer than usual. A row is not asked about a pilot that has seen it. */
static void line_fit(struct pilots *p, const struct recorded *r, const struct rank *order, const uint32_t *kind, struct gram *x,
                     struct arena *a)
{
    uint32_t n = recorded_n(r), every = n / ASKED_MAX + 1, k = r->n_models;
    struct line { double n, like, quality; } *of = ARENA_ARRAY(a, struct line, k);
    double *like = ARENA_ARRAY(a, double, k), squares = 0, products = 0, seen = 0;
    for (uint32_t i = 0; i < n; i += every) {
        uint32_t row = recorded_row(r, i);
        const float *q = r->quality + (size_t)row * k;
        double like_mean = 0, quality_mean = 0, known = 0;
        likenesses(p, x, words_read(&p->words, &r->x[row], x), label_of(r, row, order), kind[row], like);
        for (uint32_t m = 0; m < k; m++)
            if (!isnan(q[m]))
                like_mean += like[m], quality_mean += (double)q[m], known++;
        for (uint32_t m = 0; m < k; m++) {
            if (isnan(q[m]))
                continue;
            double l = like[m] - like_mean / known, d = (double)q[m] - quality_mean / known;
            of[m].n++, of[m].like += l, of[m].quality += d;
            squares += l * l, products += l * d;
            p->usual += like[m], seen++;
        }
    }
    for (uint32_t m = 0; m < k; m++) {
        double count = fmax(of[m].n, 1);
        squares -= of[m].like * of[m].like / count;
        products -= of[m].like * of[m].quality / count;
    }
    p->usual /= fmax(seen, 1);
    p->slope = fmax(squares > 1e-9 ? products / squares : 0, 0.01);     /* never against likeness: it is what ranks */
}

static bool pilots_learn(struct pilots *p, const struct recorded *r, struct arena *a)
{
    uint32_t n = recorded_n(r), *kind = ARENA_ARRAY(a, uint32_t, r->n);
    str *names = ARENA_ARRAY(a, str, LEARNER_KINDS_MAX);
    uint32_t n_kinds = kinds_name(r, &p->l.spec, true, kind, names, a);
    kinds_clear(&p->kinds);
    tally_clear(&p->means);
    pilots_drop(p);
    p->usual = 0;
    if (n_kinds == UINT32_MAX || !learner_kinds_set(&p->l, names, n_kinds) || !tally_size(&p->means, p->l.n_models, 0) ||
        !words_fit(&p->words, r) || (n_kinds && !kinds_fit(&p->kinds, r, kind, n_kinds)))
        return false;
    p->everybody = tally_record(&p->means, &p->l.spec, r);
    const struct rank *order = ranks(p, r->n_models, a);
    struct gram *x = ARENA_ARRAY(a, struct gram, recorded_longest(r));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = recorded_row(r, i), m = label_of(r, row, order);
        kind[row] = kind[row] == UINT32_MAX ? kind_of(p, &r->x[row]) : kind[row];
        struct pilot *at = m == UINT32_MAX ? NULL : pilot_of(p, m, kind[row]);
        if (at)
            pilot_move(at, x, words_read(&p->words, &r->x[row], x), 1);
    }
    for (uint32_t i = 0; i < p->n; i++)
        pilot_measure(p->pilot[i]);
    line_fit(p, r, order, kind, x, a);
    return true;
}

static int pilots_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    struct arena *a = arena_new();
    bool is_fine = a && pilots_learn((struct pilots *)l, r, a);
    arena_free(a);
    return is_fine ? 0 : err_set(e, "no memory for the pilots of %u models", l->n_models);
}

/* ---- state ---- */

static void pilots_forget(struct learner *l, uint32_t model, double keep)
{
    struct pilots *p = (struct pilots *)l;
    uint32_t kept = 0;
    if (model != UINT32_MAX && model >= l->n_models)
        return;
    tally_forget(&p->means, model, keep);
    for (uint32_t i = 0; i < p->n; i++) {
        struct pilot *at = p->pilot[i];
        bool is_meant = model == UINT32_MAX || at->model == model;
        if (is_meant && keep <= 0) {
            free(at);
            continue;
        }
        for (uint32_t d = 0; d < WORDS_DIMS && is_meant; d++)
            at->sum[d] *= keep;
        at->n *= is_meant ? keep : 1;
        pilot_measure(at);
        p->pilot[kept++] = at;
    }
    p->n = kept;
}

static bool pilots_merge(struct learner *l, const struct learner *other, double share)
{
    struct pilots *p = (struct pilots *)l;
    const struct pilots *o = (const struct pilots *)other;
    uint32_t model_of[LEARNER_MODELS_MAX];
    if (other->ops != l->ops || other->fit_id != l->fit_id || p->kinds.n != o->kinds.n)
        return false;
    if (!learner_models_of(l, other, model_of))
        return false;
    tally_merge(&p->means, &o->means, model_of, share);
    for (uint32_t i = 0; i < o->n; i++) {
        struct pilot *at = pilot_of(p, model_of[o->pilot[i]->model], o->pilot[i]->kind);
        if (!at)
            return false;
        for (uint32_t d = 0; d < WORDS_DIMS; d++)
            at->sum[d] += share * o->pilot[i]->sum[d];
        at->n += share * o->pilot[i]->n;
        pilot_measure(at);
    }
    return true;
}

static void pilot_save(const struct pilot *at, struct buf *out)
{
    pack_u32(out, at->model);
    pack_u32(out, at->kind);
    pack_double(out, at->n);
    pack_sparse(out, at->sum, WORDS_DIMS);
}

static void pilots_save(const struct learner *l, struct buf *out)
{
    const struct pilots *p = (const struct pilots *)l;
    words_save(&p->words, out);
    kinds_save(&p->kinds, out);
    tally_save(&p->means, out);
    pack_double(out, p->slope);
    pack_double(out, p->usual);
    pack_double(out, p->everybody);
    pack_u32(out, p->n);
    for (uint32_t i = 0; i < p->n; i++)
        pilot_save(p->pilot[i], out);
}

static bool pilot_load(struct pilots *p, struct unpack *u)
{
    uint32_t model = unpack_u32(u), kind = unpack_u32(u), before = p->n;
    double weight = unpack_double(u);
    if (u->is_bad || model >= p->l.n_models || kind > p->kinds.n || !(fabs(weight) < 1e12))
        return false;
    struct pilot *at = pilot_of(p, model, kind);
    if (!at || p->n == before || !unpack_sparse(u, at->sum, WORDS_DIMS, -1e12, 1e12))  /* or the same pilot twice */
        return false;
    at->n = weight;
    pilot_measure(at);
    return true;
}

static int pilots_load(struct learner *l, str bytes, struct err *e)
{
    struct pilots *p = (struct pilots *)l;
    struct unpack u = { bytes, false };
    if (!words_load(&p->words, &u) || !kinds_load(&p->kinds, &u) || p->kinds.n != l->n_kinds)
        return err_set(e, "its words or kinds of queries make no sense");
    if (!tally_load(&p->means, &u, l->n_models, 0))
        return err_set(e, "its sums make no sense");
    p->slope = unpack_double(&u);
    p->usual = unpack_double(&u);
    p->everybody = unpack_double(&u);
    bool is_sane = fabs(p->slope) < 1e6 && fabs(p->usual) <= 2 && p->everybody >= 0 && p->everybody <= 1;
    uint32_t n = unpack_count(&u, PILOTS_MAX, 20);
    for (uint32_t i = 0; i < n && is_sane; i++)
        is_sane = pilot_load(p, &u);
    return u.is_bad || !is_sane ? err_set(e, "its pilots make no sense") : 0;
}

static bool pilots_kinds(const struct learner *l, const struct features *x, float *share, struct arena *a)
{
    const struct pilots *p = (const struct pilots *)l;
    (void)a;
    if (p->kinds.n)
        kinds_predict(&p->kinds, x, share);
    return p->kinds.n > 0;
}

#define PILOTS(symbol, summary_) \
    const struct learner_ops learner_##symbol = { \
        .name = #symbol, .summary = summary_, .has_score = true, .bytes = sizeof(struct pilots), .release = pilots_release, \
        .grow = pilots_grow, .fit = pilots_fit, .observe = pilots_observe, .predict = pilots_predict, .forget = pilots_forget, \
        .merge = pilots_merge, .save = pilots_save, .load = pilots_load, .kinds = pilots_kinds, \
    }
PILOTS(pilots, "the model with the nearest mean of queries that it served best");
PILOTS(pilots_mean, "the model whose means of queries it served best are nearest on average");
