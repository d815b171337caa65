/* select/learn_field.c -- other people's routers on our features, to be judged on the same folds; none of them is served.
 *
 * Each is a choice of what to learn from (the label "best model", pairs, all outcomes) and of a form. Where the original reads an
 * encoder's vector, this reads hashed words, as ours do, so that a difference is one of method.
 *   vsr_knn      5 nearest queries vote for their best model (VSR, LLMRouter)
 *   vsr_kmeans   8 clusters, the best model of each (VSR)            avengers   64 clusters, mean quality of each model
 * (Avengers)
 *   vsr_svm      one against all, hinge loss on the best model       vsr_mlp    hidden layer, softmax on the best model
 * (LLMRouter)
 *   routellm_mf  low rank, Bradley-Terry on pairs (RouteLLM)         embedllm   low rank, cross-entropy on every outcome
 * (EmbedLLM)
 *   routerdc     low rank, contrast of the best three with the worst three (RouterDC)                                            
 *         */
#include <math.h>
#include <stdlib.h>

#include "base/rand.h"
#include "select/learner.h"
#include "select/words.h"

enum loss { BEST_SOFTMAX, BEST_HINGE, PAIRS, OUTCOMES, CONTRAST };
enum { HIDDEN = 32, EPOCHS = 8, ENDS = 3 };

struct field {
    struct learner l;
    struct learner *inner;              /* those that are a learner of ours on other targets */
    float *in, *out, *bias;             /* [WORDS_DIMS][HIDDEN], [HIDDEN][n_models], [n_models] */
    struct words words;
    float *cost;                        /* [n_models] */
    bool is_relu;
};

static void field_release(struct learner *l)
{
    struct field *f = (struct field *)l;
    learner_free(f->inner);
    free(f->in);
    free(f->out);
    free(f->bias);
    words_clear(&f->words);
    free(f->cost);
}

static bool costs_set(struct field *f, const struct recorded *r)
{
    f->cost = calloc(r->n_models, sizeof *f->cost);
    for (uint32_t m = 0; f->cost && m < r->n_models; m++) {
        double sum = 0, n = 0;
        for (uint32_t i = 0; r->cost_usd && i < recorded_n(r); i++) {
            float c = r->cost_usd[(size_t)recorded_row(r, i) * r->n_models + m];
            if (!isnan(c))
                sum += (double)c, n++;
        }
        f->cost[m] = n > 0 ? (float)(sum / n) : NAN;
    }
    return f->cost != NULL;
}

static uint32_t best_of(const float *q, uint32_t n)     /* the first of equals, as the originals do */
{
    uint32_t best = UINT32_MAX;
    for (uint32_t m = 0; m < n; m++)
        if (!isnan(q[m]) && (best == UINT32_MAX || q[m] > q[best]))
            best = m;
    return best;
}

/* ---- those that are a learner of ours, told less ---- */

static int told_fit(struct learner *l, const struct recorded *r, const char *name, struct learner_spec spec, bool is_label,
                    struct err *e)
{
    struct field *f = (struct field *)l;
    size_t cells = (size_t)r->n * r->n_models;
    struct recorded told = *r;
    float *quality = malloc((cells + 1) * sizeof *quality);
    struct features *x = malloc((r->n + 1) * sizeof *x);
    f->inner = learner_new(name, &spec);
    int rc = quality && x && f->inner && costs_set(f, r) ? 0 : err_set(e, "no memory");
    for (uint32_t i = 0; i < r->n && rc == 0; i++) {
        const float *q = r->quality + (size_t)i * r->n_models;
        uint32_t best = best_of(q, r->n_models);
        x[i] = r->x[i];
        x[i].kind = S("");              /* clusters, not labels */
        for (uint32_t m = 0; m < r->n_models; m++)
            quality[(size_t)i * r->n_models + m] = !is_label ? q[m] : m == best ? fmaxf(q[m], 0.01f) : 0;
    }
    told.quality = quality;
    told.x = x;
    if (rc == 0)
        rc = learner_fit(f->inner, &told, e);
    free(quality);
    free(x);
    return rc;
}

static int vsr_knn_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return told_fit(l, r, "knn", (struct learner_spec){ .neighbours = 5, .shrink_kind = 1e-3 }, true, e);
}

static int vsr_kmeans_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return told_fit(l, r, "table", (struct learner_spec){ .n_clusters = 8 }, false, e);
}

static int avengers_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return told_fit(l, r, "table", (struct learner_spec){ .n_clusters = 64 }, false, e);
}

static void told_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a)
{
    const struct field *f = (const struct field *)l;
    learner_predict(f->inner, x, out, a);
    for (uint32_t m = 0; m < l->n_models; m++)
        out[m].cost_usd = f->cost[m];
}

/* ---- two layers, trained by stochastic descent ---- */

static void forward(const struct field *f, const struct gram *x, uint32_t n, float hidden[HIDDEN], float *score,
                    uint32_t n_models)
{
    memset(hidden, 0, HIDDEN * sizeof *hidden);
    for (uint32_t g = 0; g < n; g++)
        for (uint32_t h = 0; h < HIDDEN; h++)
            hidden[h] += x[g].value * f->in[(size_t)x[g].bucket * HIDDEN + h];
    for (uint32_t h = 0; h < HIDDEN && f->is_relu; h++)
        hidden[h] = fmaxf(hidden[h], 0);
    memcpy(score, f->bias, n_models * sizeof *score);
    for (uint32_t h = 0; h < HIDDEN; h++)
        for (uint32_t m = 0; m < n_models; m++)
            score[m] += hidden[h] * f->out[(size_t)h * n_models + m];
}

static float sigmoid(float v)
{
    return 1 / (1 + expf(-v));
}

/* d loss / d score, in place of score. False: the row says nothing. */
static bool slope(enum loss loss, const float *q, float *score, float *d, uint32_t n)
{
    uint32_t best = best_of(q, n);
    if (best == UINT32_MAX)
        return false;
    float most = -INFINITY, sum = 0;
    memset(d, 0, n * sizeof *d);
    for (uint32_t m = 0; m < n; m++)
        most = fmaxf(most, score[m]);
    switch (loss) {
    case BEST_SOFTMAX:
        for (uint32_t m = 0; m < n; m++)
            sum += d[m] = expf(score[m] - most);
        for (uint32_t m = 0; m < n; m++)
            d[m] = d[m] / sum - (m == best);
        return true;
    case BEST_HINGE:
        for (uint32_t m = 0; m < n; m++) {
            float sign = m == best ? 1 : -1;
            d[m] = sign * score[m] < 1 ? -sign : 0;
        }
        return true;
    case PAIRS:
        for (uint32_t m = 0; m < n; m++)
            if (!isnan(q[m]) && q[m] < q[best]) {
                float p = sigmoid(score[best] - score[m]) - 1;
                d[best] += p / n;
                d[m] -= p / n;
            }
        return true;
    case OUTCOMES:
        for (uint32_t m = 0; m < n; m++)
            d[m] = isnan(q[m]) ? 0 : sigmoid(score[m]) - q[m];
        return true;
    case CONTRAST: {
        uint32_t top[ENDS], last[ENDS], n_top = 0, n_last = 0;
        for (uint32_t k = 0; k < ENDS; k++) {           /* the best not yet taken with score > 0, and the worst with score <= 0.5
                                                         * */
            uint32_t hi = UINT32_MAX, lo = UINT32_MAX;
            for (uint32_t m = 0; m < n; m++) {
                bool is_taken = isnan(q[m]);
                for (uint32_t j = 0; j < n_top; j++)
                    is_taken |= top[j] == m;
                for (uint32_t j = 0; j < n_last; j++)
                    is_taken |= last[j] == m;
                if (!is_taken && q[m] > 0 && (hi == UINT32_MAX || q[m] > q[hi]))
                    hi = m;
                if (!is_taken && q[m] <= 0.5f && (lo == UINT32_MAX || q[m] < q[lo]))
                    lo = m;
            }
            if (hi != UINT32_MAX)
                top[n_top++] = hi;
            if (lo != UINT32_MAX && lo != hi)
                last[n_last++] = lo;
        }
        for (uint32_t k = 0; k < n_top && n_last; k++) {
            sum = expf(score[top[k]] - most);
            for (uint32_t j = 0; j < n_last; j++)
                sum += expf(score[last[j]] - most);
            d[top[k]] += expf(score[top[k]] - most) / sum - 1;
            for (uint32_t j = 0; j < n_last; j++)
                d[last[j]] += expf(score[last[j]] - most) / sum;
        }
        return n_top > 0 && n_last > 0;
    }
    }
    return false;
}

static int net_fit(struct learner *l, const struct recorded *r, enum loss loss, bool is_relu, struct err *e)
{
    struct field *f = (struct field *)l;
    uint32_t n = recorded_n(r), k = r->n_models;
    uint64_t seed = l->spec.seed;
    f->is_relu = is_relu;
    f->in = calloc((size_t)WORDS_DIMS * HIDDEN, sizeof *f->in);
    f->out = calloc((size_t)HIDDEN * k, sizeof *f->out);
    f->bias = calloc(k, sizeof *f->bias);
    float *score = calloc(2 * (size_t)k, sizeof *score), *d = score ? score + k : NULL, hidden[HIDDEN], back[HIDDEN];
    struct gram *x = malloc(recorded_longest(r) * sizeof *x);
    uint32_t *order = malloc((n + 1) * sizeof *order);
    bool is_fine = f->in && f->out && f->bias && words_fit(&f->words, r) && score && x && order && costs_set(f, r);
    for (uint32_t i = 0; i < n && is_fine; i++)
        order[i] = i;
    for (size_t i = 0; i < (size_t)WORDS_DIMS * HIDDEN && is_fine; i++)
        f->in[i] = (float)(rand_unit(&seed) - 0.5) * 0.5f;
    for (size_t i = 0; i < (size_t)HIDDEN * k && is_fine; i++)
        f->out[i] = (float)(rand_unit(&seed) - 0.5) * 0.5f;
    for (uint32_t epoch = 0; epoch < EPOCHS && is_fine; epoch++) {
        float rate = 0.2f * (1 - (float)epoch / EPOCHS), decay = 1e-4f;
        rand_shuffle(&seed, order, n);
        for (uint32_t i = 0; i < n; i++) {
            uint32_t row = recorded_row(r, order[i]), grams = words_read(&f->words, &r->x[row], x);
            forward(f, x, grams, hidden, score, k);
            if (!slope(loss, r->quality + (size_t)row * k, score, d, k))
                continue;
            for (uint32_t h = 0; h < HIDDEN; h++) {
                float *out = f->out + (size_t)h * k, sum = 0;
                for (uint32_t m = 0; m < k; m++) {
                    sum += d[m] * out[m];
                    out[m] -= rate * (d[m] * hidden[h] + decay * out[m]);
                }
                back[h] = f->is_relu && hidden[h] <= 0 ? 0 : sum;
            }
            for (uint32_t m = 0; m < k; m++)
                f->bias[m] -= rate * 0.1f * d[m];
            for (uint32_t g = 0; g < grams; g++)
                for (uint32_t h = 0; h < HIDDEN; h++) {
                    float *w = &f->in[(size_t)x[g].bucket * HIDDEN + h];
                    *w -= rate * (back[h] * x[g].value + decay * *w);
                }
        }
    }
    free(score);
    free(x);
    free(order);
    return is_fine ? 0 : err_set(e, "no memory");
}

static void net_predict(const struct learner *l, const struct features *x, struct prediction *out, struct arena *a)
{
    const struct field *f = (const struct field *)l;
    struct gram *in = ARENA_ARRAY(a, struct gram, x->n);
    float *score = ARENA_ARRAY(a, float, l->n_models), hidden[HIDDEN], most = -INFINITY;
    forward(f, in, words_read(&f->words, x, in), hidden, score, l->n_models);
    for (uint32_t m = 0; m < l->n_models; m++)
        most = fmaxf(most, score[m]);
    for (uint32_t m = 0; m < l->n_models; m++)          /* to (0, 1), so that a price can be set against it */
        out[m] = (struct prediction){ .quality = sigmoid(score[m] - most + 1), .deviation = 0.1f, .cost_usd = f->cost[m],
                                      .out_tokens = NAN,
                                      .out_tokens_90 = NAN, .latency_s = NAN, .latency_90_s = NAN };
}

static int vsr_svm_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return net_fit(l, r, BEST_HINGE, false, e);
}

static int vsr_mlp_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return net_fit(l, r, BEST_SOFTMAX, true, e);
}

static int routellm_mf_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return net_fit(l, r, PAIRS, false, e);
}

static int embedllm_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return net_fit(l, r, OUTCOMES, false, e);
}

static int routerdc_fit(struct learner *l, const struct recorded *r, struct err *e)
{
    return net_fit(l, r, CONTRAST, false, e);
}


#define FIELD_LEARNER(symbol, form, summary_) \
    const struct learner_ops learner_##symbol = { \
        .name = #symbol, .summary = summary_, .bytes = sizeof(struct field), .release = field_release, .fit = symbol##_fit, \
        .predict = form##_predict, \
    }
FIELD_LEARNER(vsr_knn, told, "5 nearest queries vote for their best model");
FIELD_LEARNER(vsr_kmeans, told, "8 clusters of queries, the best model of each");
FIELD_LEARNER(vsr_svm, net, "one against all on the best model");
FIELD_LEARNER(vsr_mlp, net, "hidden layer, softmax on the best model");
FIELD_LEARNER(avengers, told, "64 clusters of queries, mean quality of each model");
FIELD_LEARNER(routellm_mf, net, "matrix factorisation on pairs");
FIELD_LEARNER(embedllm, net, "matrix factorisation on every outcome");
FIELD_LEARNER(routerdc, net, "contrast of good and bad models");
