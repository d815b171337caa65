/* select/learn_gates.c -- `gates`: one vector a model, that opens to what the model serves well; none is learned against another.
 *
 * The form for whole requests of gates that are added one by one (Dynamic Routing Between Experts, PHATGOOSE). A background is
 * fixed by `fit`: the share of each word in the texts of its rows. A model's gate compares with it the texts that the model
 * served, each counting by its quality:
 *
 *     v[word] = ln (times among its own + s) / (times to be expected of the background + s)
 *
 * where s (shrink_kind) keeps rare words quiet, and the gate's opening for a text is v times the text's words, tf-idf and of
 * length 1: 0 is a text that is no more like its own than like anything. By Bayes' rule this is also how much likelier than
 * usual the model serves the text well, so
 *
 *     score = quality = sigmoid(logit(mean of the model) + sharpness * opening)
 *
 * with one sharpness for all models, fitted on held-out halves (it comes out near 1). Where no gate opens, nobody knows the text:
 * every model stands with its mean, so the best single one (the base model) answers.
 *
 * A gate is made of its own model's sums and of what fit has frozen. So a model that comes, learns or goes changes no other gate,
 * and no score of another model, by a bit; a classifier that is trained on forgets instead (tests/unit/select/test_gates.c). */
#include <math.h>

#include "base/hash.h"
#include "select/tally.h"
#include "select/words.h"

enum { ASKED_MAX = 2000, TURNS = 20 };  /* rows a half that the sharpness is fitted on; steps of Newton's method */
#define SHARPEST 8.0
#define CLOSED -0.5                     /* 1.6 times as likely in the background as among its own */
#define FLOOR 0.02                      /* of a mean: a model that never failed yet must not win by how often it did not */

struct gate {
    double served, own[WORDS_DIMS];     /* sums of quality, of all words and of each */
    float vector[WORDS_DIMS];           /* follows from the sums */
};

struct gates {
    struct learner l;
    struct words words;
    double *background;                 /* [WORDS_DIMS] share of each word of all; NULL: never fitted */
    struct tally means;                 /* of one kind */
    struct gate **gate; uint32_t cap;   /* by model; NULL: it has served nothing yet */
    double sharpness, everybody;        /* frozen by fit */
};

static void gates_release(struct learner *l)
{
    struct gates *g = (struct gates *)l;
    for (uint32_t m = 0; m < g->cap; m++)
        free(g->gate[m]);
    free(g->gate);
    free(g->background);
    words_clear(&g->words);
    tally_clear(&g->means);
}

static bool gates_grow(struct learner *l)
{
    struct gates *g = (struct gates *)l;
    if (l->n_models > g->cap) {
        uint32_t cap = l->n_models + l->n_models / 2 + 4;
        struct gate **grown = realloc(g->gate, cap * sizeof *grown);
        if (!grown)
            return false;
        memset(grown + g->cap, 0, (cap - g->cap) * sizeof *grown);
        g->gate = grown;
        g->cap = cap;
    }
    return tally_size(&g->means, l->n_models, 0);
}

/* The gate of a model, made if there is none. NULL: no memory. */
static struct gate *gate_of(struct gates *g, uint32_t m)
{
    if (!g->gate[m])
        g->gate[m] = calloc(1, sizeof *g->gate[m]);
    return g->gate[m];
}

/* The vector from the sums. */
static void gate_solve(const struct gates *g, struct gate *at)
{
    double s = g->l.spec.shrink_kind, served = fmax(at->served, 0);
    for (uint32_t d = 0; d < WORDS_DIMS; d++)
        at->vector[d] = (float)log((fmax(at->own[d], 0) + s) / (served * g->background[d] + s));
}

static void gate_add(struct gate *at, const struct gram *x, uint32_t n, double weight)
{
    at->served += weight * n;
    for (uint32_t i = 0; i < n; i++)
        at->own[x[i].bucket] += weight;
}

static double opening(const struct gate *at, const struct gram *x, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n && at; i++)
        sum += (double)(fabsf(x[i].value) * at->vector[x[i].bucket]);
    return sum;
}

static double logit_of(const struct gates *g, uint32_t m)       /* of the model's mean */
{
    double mean = tally_mean(&g->means, &g->l.spec, m, g->everybody);
    mean = fmin(fmax(mean, FLOOR), 1 - FLOOR);
    return log(mean / (1 - mean));
}

static double sigmoid(double v)
{
    return 1 / (1 + exp(-v));
}

static void gates_observe(struct learner *l, const struct outcome *o, double weight)
{
    struct gates *g = (struct gates *)l;
    tally_add(&g->means, &l->spec, o, NULL, weight);
    if (o->model >= l->n_models || !(o->quality > 0) || !g->background)
        return;
    struct gram *x = malloc((o->x->n + 1) * sizeof *x);
    struct gate *at = x ? gate_of(g, o->model) : NULL;
    if (at) {
        gate_add(at, x, words_read(&g->words, o->x, x), weight * (double)o->quality);
        gate_solve(g, at);
    }
    free(x);
}

static void gates_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a)
{
    const struct gates *g = (const struct gates *)l;
    struct gram *grams = ARENA_ARRAY(a, struct gram, x->n);
    double *open = ARENA_ARRAY(a, double, l->n_models);
    uint32_t n = words_read(&g->words, x, grams);
    bool is_open = false;
    tally_predict(&g->means, &l->spec, x->bytes, NULL, out, a);
    for (uint32_t m = 0; m < l->n_models; m++)
        is_open |= (open[m] = opening(g->gate[m], grams, n)) > CLOSED;
    for (uint32_t m = 0; m < l->n_models; m++)
        out[m].quality = (float)sigmoid(logit_of(g, m) + (is_open ? g->sharpness * open[m] : 0));
}

/* ---- fit ---- */

static uint32_t half_of(const struct recorded *r, uint32_t row)
{
    return (uint32_t)(hash_mix(r->query ? r->query[row] : row) % 2);
}

/* The sums of all models from the rows that are not in half `without`; 2: from all. False: no memory. */
static bool gates_sum(struct gates *g, const struct recorded *r, uint32_t without, struct gram *x)
{
    for (uint32_t m = 0; m < r->n_models; m++) {
        if (!gate_of(g, m))
            return false;
        *g->gate[m] = (struct gate){ 0 };
    }
    for (uint32_t i = 0; i < recorded_n(r); i++) {
        uint32_t row = recorded_row(r, i);
        if (half_of(r, row) == without)
            continue;
        uint32_t n = words_read(&g->words, &r->x[row], x);
        for (uint32_t m = 0; m < r->n_models; m++) {
            float q = r->quality[(size_t)row * r->n_models + m];
            if (q > 0)
                gate_add(g->gate[m], x, n, (double)q);
        }
    }
    for (uint32_t m = 0; m < r->n_models; m++)
        gate_solve(g, g->gate[m]);
    return true;
}

struct seen { float logit, open, quality; };

/* The sharpness that makes what happened likeliest: one number, so Newton's method needs no more than a few turns. */
static double sharpness_fit(const struct seen *s, size_t n)
{
    double v = 1;
    for (uint32_t turn = 0; turn < TURNS && n; turn++) {
        double slope = 0, bend = 1e-9;
        for (size_t i = 0; i < n; i++) {
            double o = (double)s[i].open, p = sigmoid((double)s[i].logit + v * o);
            slope += ((double)s[i].quality - p) * o;
            bend += p * (1 - p) * o * o;
        }
        v = fmin(fmax(v + slope / bend, 0), SHARPEST);
    }
    return v;
}

static bool sharpness_learn(struct gates *g, const struct recorded *r, struct gram *x)
{
    uint32_t n = recorded_n(r), every = n / (2 * ASKED_MAX) + 1;
    size_t n_seen = 0, room = ((size_t)n / every + 1) * r->n_models;
    struct seen *seen = malloc((room + 1) * sizeof *seen);
    bool is_fine = seen != NULL;
    for (uint32_t half = 0; half < 2 && is_fine; half++) {
        is_fine = gates_sum(g, r, half, x);
        for (uint32_t i = 0; i < n && is_fine; i += every) {
            uint32_t row = recorded_row(r, i), n_grams;
            if (half_of(r, row) != half)
                continue;
            n_grams = words_read(&g->words, &r->x[row], x);
            for (uint32_t m = 0; m < r->n_models; m++) {
                float q = r->quality[(size_t)row * r->n_models + m];
                if (!isnan(q))
                    seen[n_seen++] = (struct seen){ (float)logit_of(g, m), (float)opening(g->gate[m], x, n_grams), q };
            }
        }
    }
    g->sharpness = sharpness_fit(seen, n_seen);
    free(seen);
    return is_fine;
}

static bool background_learn(struct gates *g, const struct recorded *r, struct gram *x)
{
    uint32_t n = recorded_n(r);
    double whole = 0;
    free(g->background);
    g->background = calloc(WORDS_DIMS, sizeof *g->background);
    for (uint32_t i = 0; i < n && g->background; i++)
        for (uint32_t k = words_read(&g->words, &r->x[recorded_row(r, i)], x); k-- > 0; whole++)
            g->background[x[k].bucket]++;
    for (uint32_t d = 0; d < WORDS_DIMS && g->background && whole > 0; d++)
        g->background[d] /= whole;
    return g->background != NULL;
}

static int gates_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    struct gates *g = (struct gates *)l;
    struct gram *x = malloc(recorded_longest(r) * sizeof *x);
    tally_clear(&g->means);
    bool is_fine = x && tally_size(&g->means, l->n_models, 0) && words_fit(&g->words, r) && background_learn(g, r, x);
    g->everybody = is_fine ? tally_record(&g->means, &l->spec, r) : 0.5;
    is_fine = is_fine && sharpness_learn(g, r, x) && gates_sum(g, r, 2, x);
    free(x);
    return is_fine ? 0 : err_set(e, "no memory for the gates of %u models", l->n_models);
}

/* ---- state ---- */

static void gates_forget(struct learner *l, uint32_t model, double keep)
{
    struct gates *g = (struct gates *)l;
    if (!g->background || (model != UINT32_MAX && model >= l->n_models))
        return;
    tally_forget(&g->means, model, keep);
    for (uint32_t m = 0; m < l->n_models; m++) {
        struct gate *at = g->gate[m];
        if (!at || (model != UINT32_MAX && m != model))
            continue;
        at->served *= keep;
        for (uint32_t d = 0; d < WORDS_DIMS; d++)
            at->own[d] *= keep;
        gate_solve(g, at);
    }
}

static bool gates_merge(struct learner *l, const struct learner *other, double share)
{
    struct gates *g = (struct gates *)l;
    const struct gates *o = (const struct gates *)other;
    uint32_t model_of[LEARNER_MODELS_MAX];
    if (other->ops != l->ops || other->fit_id != l->fit_id || !g->background)
        return false;
    if (!learner_models_of(l, other, model_of))
        return false;
    tally_merge(&g->means, &o->means, model_of, share);
    for (uint32_t m = 0; m < other->n_models; m++) {
        const struct gate *from = o->gate[m];
        struct gate *to = from ? gate_of(g, model_of[m]) : NULL;
        if (from && !to)
            return false;
        for (uint32_t d = 0; d < WORDS_DIMS && from; d++)
            to->own[d] += share * from->own[d];
        if (from)
            to->served += share * from->served, gate_solve(g, to);
    }
    return true;
}

static void gates_save(const struct learner *l, struct buf *out)
{
    const struct gates *g = (const struct gates *)l;
    words_save(&g->words, out);
    pack_u32(out, g->background != NULL);
    if (g->background)
        pack_sparse(out, g->background, WORDS_DIMS);
    tally_save(&g->means, out);
    pack_double(out, g->sharpness);
    pack_double(out, g->everybody);
    for (uint32_t m = 0; m < l->n_models; m++) {
        pack_u32(out, g->gate[m] != NULL);
        if (g->gate[m])
            pack_double(out, g->gate[m]->served), pack_sparse(out, g->gate[m]->own, WORDS_DIMS);
    }
}

#define TAKEN_BACK -1e-3                /* sums may lie so little below 0 when outcomes were taken back */

static bool gate_load(struct gates *g, struct unpack *u, uint32_t m)
{
    if (unpack_count(u, 1, sizeof(double)) == 0)
        return !u->is_bad;              /* it has served nothing */
    struct gate *at = gate_of(g, m);
    double served = unpack_double(u);
    if (!at || !(served >= TAKEN_BACK && served < 1e15) || !unpack_sparse(u, at->own, WORDS_DIMS, TAKEN_BACK, 1e12))
        return false;
    at->served = served;
    gate_solve(g, at);
    return true;
}

static int gates_load(struct learner *l, str bytes, struct err *e)
{
    struct gates *g = (struct gates *)l;
    struct unpack u = { bytes, false };
    if (!words_load(&g->words, &u) || !g->words.idf || unpack_u32(&u) != 1)     /* only what was fitted is saved */
        return err_set(e, "its words make no sense");
    g->background = calloc(WORDS_DIMS, sizeof *g->background);
    if (!g->background || !unpack_sparse(&u, g->background, WORDS_DIMS, 0, 1) || !tally_load(&g->means, &u, l->n_models, 0))
        return err_set(e, "its background or its sums make no sense");
    g->sharpness = unpack_double(&u);
    g->everybody = unpack_double(&u);
    bool is_sane = g->sharpness >= 0 && g->sharpness <= SHARPEST && g->everybody >= 0 && g->everybody <= 1;
    for (uint32_t m = 0; m < l->n_models && is_sane; m++)
        is_sane = gate_load(g, &u, m);
    return is_sane && !u.is_bad ? 0 : err_set(e, "its gates make no sense");
}

const struct learner_ops learner_gates = {
    .name = "gates", .summary = "one vector a model against a fixed background; the best single model where none opens",
    .bytes = sizeof(struct gates), .release = gates_release, .grow = gates_grow, .fit = gates_fit, .observe = gates_observe,
    .predict = gates_predict, .forget = gates_forget, .merge = gates_merge, .save = gates_save, .load = gates_load,
};
