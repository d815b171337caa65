/* neural/train.c */
#include "neural/train.h"

#include <math.h>
#include <stdlib.h>

#include "base/rand.h"
#include "neural/kernel.h"

enum {
    MEMORY = 8,                         /* pairs that L-BFGS remembers */
    HALVINGS_MAX = 30,
    WEIGHTS_MAX = 1 << 26,              /* of a head; beyond: refused */
};

struct train_options train_defaults(void)
{
    return (struct train_options){ .kind = HEAD_LINEAR, .c_vector = .003, .c_words = 1, .hidden = 64, .steps_max = 150,
                                   .seed = 1 };
}

/* ---- the loss ---- */

/* Parameters: [n_labels][dim] or [buckets][n_labels], then [n_labels] bias. */
struct model {
    const struct train_rows *rows;
    const struct train_options *o;
    uint32_t k, dim, buckets;           /* one of dim and buckets is 0 */
    size_t n, bias_at;
    float *vectors;                     /* [rows][dim] centred and scaled */
    float *idf;                         /* [buckets] */
    double l2;                          /* penalty per squared weight, of the mean loss */
    double total;                       /* of the rows' weights */
};

static void logits_of(const struct model *m, const float *w, uint32_t row, float *z)
{
    const struct train_rows *r = m->rows;
    for (uint32_t c = 0; c < m->k; c++)
        z[c] = w[m->bias_at + c] + (m->dim ? vector_dot(w + (size_t)c * m->dim, m->vectors + (size_t)row * m->dim, m->dim) : 0);
    for (uint64_t i = m->buckets ? r->starts[row] : 0; m->buckets && i < r->starts[row + 1]; i++) {
        const float *word = w + (size_t)r->features[i].bucket * m->k;
        float v = r->features[i].value * m->idf[r->features[i].bucket];
        for (uint32_t c = 0; c < m->k; c++)
            z[c] += v * word[c];
    }
}

/* Makes z the gradient by the logits and returns the loss of the row. */
static double row_loss(uint32_t k, uint32_t label, float *z)
{
    if (k == 1) {
        double margin = label ? (double)z[0] : -(double)z[0];
        z[0] = 1 / (1 + expf(-z[0])) - (float)label;
        return margin > 0 ? log1p(exp(-margin)) : -margin + log1p(exp(margin));
    }
    double most = -INFINITY, sum = 0, wanted = (double)z[label];
    for (uint32_t c = 0; c < k; c++)
        most = fmax(most, (double)z[c]);
    for (uint32_t c = 0; c < k; c++)
        sum += exp((double)z[c] - most);
    for (uint32_t c = 0; c < k; c++)
        z[c] = (float)(exp((double)z[c] - most) / sum) - (c == label);
    return most + log(sum) - wanted;
}

static double loss(const struct model *m, const float *w, float *gradient)
{
    const struct train_rows *r = m->rows;
    float z[HEAD_LABELS_MAX];
    double sum = 0, penalty = 0;
    memset(gradient, 0, m->n * sizeof *gradient);
    for (uint32_t row = 0; row < r->n; row++) {
        float weight = r->weight ? r->weight[row] : 1;
        if (weight == 0)
            continue;
        logits_of(m, w, row, z);
        sum += (double)weight * row_loss(m->k, r->label[row], z);
        for (uint32_t c = 0; c < m->k; c++) {
            float g = z[c] *= weight;
            gradient[m->bias_at + c] += g;
            float *to = gradient + (size_t)c * m->dim;
            const float *x = m->vectors + (size_t)row * m->dim;
            for (uint32_t d = 0; d < m->dim; d++)
                to[d] += g * x[d];
        }
        for (uint64_t i = m->buckets ? r->starts[row] : 0; m->buckets && i < r->starts[row + 1]; i++) {
            float *to = gradient + (size_t)r->features[i].bucket * m->k;
            float v = r->features[i].value * m->idf[r->features[i].bucket];
            for (uint32_t c = 0; c < m->k; c++)
                to[c] += v * z[c];
        }
    }
    for (size_t i = 0; i < m->n; i++) {
        double l2 = i < m->bias_at ? m->l2 : 0;
        gradient[i] = (float)((double)gradient[i] / m->total + 2 * l2 * (double)w[i]);
        penalty += l2 * (double)w[i] * (double)w[i];
    }
    return sum / m->total + penalty;
}

/* ---- L-BFGS ---- */

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t at = 0; at < n; at += 4096)     /* floats inside, doubles across: large sums keep their digits */
        sum += (double)vector_dot(a + at, b + at, n - at < 4096 ? n - at : 4096);
    return sum;
}

struct memory { float *s[MEMORY], *y[MEMORY]; double rho[MEMORY]; unsigned n, next; };

/* The direction -H gradient by the two-loop recursion. */
static void direction(const struct memory *m, const float *gradient, float *out, size_t n)
{
    double alpha[MEMORY];
    for (size_t i = 0; i < n; i++)
        out[i] = -gradient[i];
    for (unsigned k = 0; k < m->n; k++) {
        unsigned at = (m->next + MEMORY - 1 - k) % MEMORY;
        alpha[at] = m->rho[at] * dot(m->s[at], out, n);
        for (size_t i = 0; i < n; i++)
            out[i] -= (float)alpha[at] * m->y[at][i];
    }
    if (m->n) {
        unsigned last = (m->next + MEMORY - 1) % MEMORY;
        float scale = (float)(1 / (m->rho[last] * dot(m->y[last], m->y[last], n)));
        for (size_t i = 0; i < n; i++)
            out[i] *= scale;
    }
    for (unsigned k = m->n; k-- > 0;) {
        unsigned at = (m->next + MEMORY - 1 - k) % MEMORY;
        double beta = m->rho[at] * dot(m->y[at], out, n);
        for (size_t i = 0; i < n; i++)
            out[i] += (float)(alpha[at] - beta) * m->s[at][i];
    }
}

static int minimise(const struct model *m, float *w, struct err *e)
{
    const double armijo = 1e-4, tolerance = 1e-5;
    size_t n = m->n;
    float *block = calloc(n * (2 * MEMORY + 4), sizeof *block);
    if (!block)
        return err_set(e, "no memory for %zu weights", n);
    struct memory memory = { 0 };
    for (unsigned i = 0; i < MEMORY; i++) {
        memory.s[i] = block + (size_t)(2 * i) * n;
        memory.y[i] = block + (size_t)(2 * i + 1) * n;
    }
    float *gradient = block + 2 * MEMORY * n, *step = gradient + n, *tried = step + n, *there = tried + n;
    double here = loss(m, w, gradient);
    uint32_t steps = 0;
    for (bool goes_on = true; goes_on && steps < m->o->steps_max; steps++) {
        direction(&memory, gradient, step, n);
        double slope = dot(gradient, step, n), length = 1, next = here;
        if (slope >= 0)
            break;
        if (!memory.n)
            length = 1 / fmax(1, sqrt(dot(gradient, gradient, n)));
        unsigned halvings = 0;
        for (; halvings < HALVINGS_MAX; halvings++, length /= 2) {
            for (size_t i = 0; i < n; i++)
                tried[i] = w[i] + (float)length * step[i];
            next = loss(m, tried, there);
            if (next <= here + armijo * length * slope)
                break;
        }
        if (halvings == HALVINGS_MAX)
            break;
        float *s = memory.s[memory.next], *y = memory.y[memory.next];
        for (size_t i = 0; i < n; i++) {
            s[i] = tried[i] - w[i];
            y[i] = there[i] - gradient[i];
        }
        double curvature = dot(s, y, n);
        if (curvature > 1e-12) {
            memory.rho[memory.next] = 1 / curvature;
            memory.next = (memory.next + 1) % MEMORY;
            memory.n += memory.n < MEMORY;
        }
        memcpy(w, tried, n * sizeof *w);
        memcpy(gradient, there, n * sizeof *w);
        goes_on = here - next > tolerance * fmax(1e-3, fabs(next));
        here = next;
        if (m->o->progress)
            m->o->progress(m->o->arg, steps + 1, here);
    }
    free(block);
    return (int)steps;
}

/* ---- MLP ---- */

struct layers { float *w1, *b1, *w2, *b2; size_t n; };

static struct layers layers_of(float *at, uint32_t dim, uint32_t hidden, uint32_t k)
{
    struct layers l = { .w1 = at };
    l.b1 = l.w1 + (size_t)hidden * dim;
    l.w2 = l.b1 + hidden;
    l.b2 = l.w2 + (size_t)k * hidden;
    l.n = (size_t)(l.b2 + k - at);
    return l;
}

static void mlp_forward(const struct layers *l, const float *x, uint32_t dim, uint32_t hidden, uint32_t k, float *units, float *z)
{
    for (uint32_t h = 0; h < hidden; h++)
        units[h] = fmaxf(0, l->b1[h] + vector_dot(l->w1 + (size_t)h * dim, x, dim));
    for (uint32_t c = 0; c < k; c++)
        z[c] = l->b2[c] + vector_dot(l->w2 + (size_t)c * hidden, units, hidden);
}

static void mlp_backward(const struct layers *l, struct layers *g, const float *x, const float *units, const float *z, uint32_t dim,
                         uint32_t hidden, uint32_t k)
{
    for (uint32_t h = 0; h < hidden; h++) {
        float back = 0;
        for (uint32_t c = 0; c < k; c++) {
            g->w2[(size_t)c * hidden + h] += z[c] * units[h];
            back += z[c] * l->w2[(size_t)c * hidden + h];
        }
        if (units[h] <= 0)
            continue;
        g->b1[h] += back;
        for (uint32_t d = 0; d < dim; d++)
            g->w1[(size_t)h * dim + d] += back * x[d];
    }
    for (uint32_t c = 0; c < k; c++)
        g->b2[c] += z[c];
}

static double mlp_mean_loss(const struct train_rows *r, const struct layers *l, uint32_t hidden, const uint32_t *order, uint32_t from,
                            uint32_t to, float *units)
{
    float z[HEAD_LABELS_MAX];
    double sum = 0, total = 0;
    for (uint32_t i = from; i < to; i++) {
        uint32_t row = order[i];
        double weight = r->weight ? (double)r->weight[row] : 1;
        mlp_forward(l, r->vectors + (size_t)row * r->dim, r->dim, hidden, r->n_labels, units, z);
        sum += weight * row_loss(r->n_labels, r->label[row], z);
        total += weight;
    }
    return total > 0 ? sum / total : 0;
}

static void shuffle(uint32_t *order, uint32_t n, uint64_t *seed)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = (uint32_t)rand_below(seed, i), t = order[i - 1];
        order[i - 1] = order[k];
        order[k] = t;
    }
}

static int mlp_train(const struct train_rows *r, const struct train_options *o, float *kept, struct err *e)
{
    enum { BATCH = 32, PATIENCE = 8 };
    const float rate = 1e-3f, b1 = .9f, b2 = .999f;
    uint32_t hidden = o->hidden, k = r->n_labels, tenth = r->n / 10;
    size_t n = layers_of(NULL, r->dim, hidden, k).n;
    float *block = calloc(4 * n + hidden, sizeof *block);
    uint32_t *order = malloc(r->n * sizeof *order);
    uint64_t seed = o->seed;
    if (!block || !order) {
        free(block);
        free(order);
        return err_set(e, "no memory for %zu weights", n);
    }
    float *w = block, *gradient = w + n, *first = gradient + n, *second = first + n, *units = second + n, z[HEAD_LABELS_MAX];
    struct layers l = layers_of(w, r->dim, hidden, k), g = layers_of(gradient, r->dim, hidden, k);
    for (size_t i = 0; i < (size_t)hidden * r->dim; i++)        /* uniform of He's variance */
        l.w1[i] = (float)((double)rand_below(&seed, 2000001) / 1e6 - 1) * sqrtf(6.0f / (float)r->dim);
    for (size_t i = 0; i < (size_t)k * hidden; i++)
        l.w2[i] = (float)((double)rand_below(&seed, 2000001) / 1e6 - 1) * sqrtf(6.0f / (float)(hidden + k));
    for (uint32_t i = 0; i < r->n; i++)
        order[i] = i;
    shuffle(order, r->n, &seed);                /* the first tenth is looked at, not learned from */
    double best = INFINITY;
    uint32_t epoch = 0, last = 0, t = 0;
    for (; epoch < o->steps_max && epoch - last < PATIENCE; epoch++) {
        shuffle(order + tenth, r->n - tenth, &seed);
        for (uint32_t at = tenth; at < r->n; at += BATCH) {
            uint32_t end = at + BATCH < r->n ? at + BATCH : r->n;
            memset(gradient, 0, n * sizeof *gradient);
            for (uint32_t i = at; i < end; i++) {
                const float *x = r->vectors + (size_t)order[i] * r->dim;
                float weight = (r->weight ? r->weight[order[i]] : 1) / (float)(end - at);
                mlp_forward(&l, x, r->dim, hidden, k, units, z);
                row_loss(k, r->label[order[i]], z);
                for (uint32_t c = 0; c < k; c++)
                    z[c] *= weight;
                mlp_backward(&l, &g, x, units, z, r->dim, hidden, k);
            }
            t++;
            float c1 = 1 - powf(b1, (float)t), c2 = 1 - powf(b2, (float)t);
            for (size_t i = 0; i < n; i++) {
                first[i] = b1 * first[i] + (1 - b1) * gradient[i];
                second[i] = b2 * second[i] + (1 - b2) * gradient[i] * gradient[i];
                w[i] -= rate * (first[i] / c1 / (sqrtf(second[i] / c2) + 1e-8f) + 1e-4f * w[i]);
            }
        }
        double now = mlp_mean_loss(r, &l, hidden, order, 0, tenth ? tenth : r->n, units);
        if (now < best) {
            best = now;
            last = epoch;
            memcpy(kept, w, n * sizeof *w);
        }
        if (o->progress)
            o->progress(o->arg, epoch + 1, now);
    }
    free(block);
    free(order);
    return (int)epoch;
}

/* ---- the head ---- */

/* Over rows that are learned from; a word of none of them has no weight anyway. */
static float *inverse_frequencies(const struct train_rows *r, uint32_t buckets, struct arena *a)
{
    float *idf = ARENA_ARRAY(a, float, buckets), n = 0;
    for (uint32_t row = 0; row < r->n; row++) {
        bool counts = !r->weight || r->weight[row] > 0;
        n += counts;
        for (uint64_t i = r->starts[row]; counts && i < r->starts[row + 1]; i++)
            idf[r->features[i].bucket]++;
    }
    for (uint32_t b = 0; b < buckets; b++)
        idf[b] = idf[b] > 0 ? logf((1 + n) / (1 + idf[b])) + 1 : 0;
    return idf;
}

/* (v - mean) / scale with one scale for all dimensions, so that entries have variance 1: middle layers of a trunk lie in a narrow cone
 * (Ethayarajh 2019), which opens when its mean is taken away. */
static float *centred(const struct train_rows *r, struct arena *a, float *mean, float *scale)
{
    double n = 0, squares = 0;
    double *sum = ARENA_ARRAY(a, double, r->dim);
    float *out = arena_try(a, (size_t)r->n * r->dim * sizeof *out);
    for (uint32_t row = 0; row < r->n; row++) {
        bool counts = !r->weight || r->weight[row] > 0;
        n += counts;
        for (uint32_t d = 0; d < r->dim && counts; d++)
            sum[d] += (double)r->vectors[(size_t)row * r->dim + d];
    }
    for (uint32_t d = 0; d < r->dim; d++)
        mean[d] = (float)(sum[d] / fmax(n, 1));
    for (uint32_t row = 0; row < r->n && out; row++) {
        bool counts = !r->weight || r->weight[row] > 0;
        for (uint32_t d = 0; d < r->dim; d++) {
            float v = out[(size_t)row * r->dim + d] = r->vectors[(size_t)row * r->dim + d] - mean[d];
            squares += counts ? (double)v * (double)v : 0;
        }
    }
    *scale = (float)sqrt(fmax(squares, 1e-12) / fmax(n * r->dim, 1));
    for (size_t i = 0; i < (size_t)r->n * r->dim && out; i++)
        out[i] /= *scale;
    return out;
}

static int check(const struct train_rows *rows, struct err *e)
{
    uint32_t k = rows->n_labels;
    if (rows->n == 0 || k == 0 || k > HEAD_LABELS_MAX)
        return err_set(e, "%u rows with %u labels: a head needs rows and 1 to %d labels", rows->n, k, HEAD_LABELS_MAX);
    for (uint32_t i = 0; i < rows->n; i++)
        if (rows->label[i] >= (k == 1 ? 2 : k))
            return err_set(e, "row %u has label %u of %u", i, rows->label[i], k);
    return 0;
}

static int train_mlp(const struct train_rows *rows, const struct train_options *o, struct arena *a, struct head *out, struct err *e)
{
    uint32_t k = rows->n_labels;
    float *w = ARENA_ARRAY(a, float, layers_of(NULL, rows->dim, o->hidden, k).n);
    struct layers l = layers_of(w, rows->dim, o->hidden, k);
    *out = (struct head){ .kind = HEAD_MLP, .n_labels = k, .dim = rows->dim, .hidden = o->hidden, .temperature = 1, .window_share = 1,
                          .weight = l.w1, .bias = l.b1, .weight2 = l.w2, .bias2 = l.b2 };
    return mlp_train(rows, o, w, e);
}

int train_part(const struct train_rows *rows, enum train_part part, const struct train_options *o, struct arena *a, struct head *out,
               struct err *e)
{
    uint32_t k = rows->n_labels;
    if (check(rows, e) < 0)
        return -1;
    if (part == TRAIN_VECTOR && o->kind == HEAD_MLP)
        return train_mlp(rows, o, a, out, e);
    struct model m = { .rows = rows, .o = o, .k = k };
    double c = part == TRAIN_VECTOR ? o->c_vector : o->c_words;
    float *mean = NULL, scale = 1;
    if (part == TRAIN_VECTOR) {
        m.dim = rows->dim;
        mean = ARENA_ARRAY(a, float, m.dim);
        if (!(m.vectors = centred(rows, a, mean, &scale)))
            return err_set(e, "no memory for %u vectors", rows->n);
    } else {
        m.buckets = o->ngrams.buckets;
        m.idf = inverse_frequencies(rows, m.buckets, a);
    }
    m.bias_at = (size_t)k * (m.dim ? m.dim : m.buckets);
    m.n = m.bias_at + k;
    if (m.n > WEIGHTS_MAX)
        return err_set(e, "%zu weights are too many for a head (at most %d): take fewer buckets", m.n, WEIGHTS_MAX);
    for (uint32_t i = 0; i < rows->n; i++)
        m.total += rows->weight ? (double)rows->weight[i] : 1;
    if (!(m.total > 0))
        return err_set(e, "no row is left to learn from");
    m.l2 = 1 / (2 * c * m.total);
    float *w = ARENA_ARRAY(a, float, m.n), *bias = w + m.bias_at;
    int steps = minimise(&m, w, e);
    for (uint32_t i = 0; i < k && m.dim; i++)
        for (uint32_t d = 0; d < m.dim; d++) {
            w[(size_t)i * m.dim + d] /= scale;
            bias[i] -= w[(size_t)i * m.dim + d] * mean[d];
        }
    for (size_t i = 0; i < m.bias_at && m.buckets; i++)
        w[i] *= m.idf[i / k];
    *out = (struct head){ .kind = HEAD_LINEAR, .n_labels = k, .dim = m.dim, .temperature = 1, .window_share = 1, .bias = bias };
    if (m.dim) {
        out->weight = w;
    } else {
        out->ngrams = o->ngrams;
        out->ngram_weight = w;
    }
    return steps;
}

static float *scaled(struct arena *a, const float *from, size_t n, float by)
{
    float *out = ARENA_ARRAY(a, float, n);
    for (size_t i = 0; i < n; i++)
        out[i] = from[i] * by;
    return out;
}

void train_add(const struct head *vector, float vector_deviation, const struct head *words, float words_deviation, struct arena *a,
               struct head *out)
{
    uint32_t k = vector ? vector->n_labels : words->n_labels;
    float *bias = ARENA_ARRAY(a, float, k);
    *out = (struct head){ .kind = HEAD_LINEAR, .n_labels = k, .temperature = 1, .window_share = 1, .bias = bias };
    for (uint32_t i = 0; i < k; i++)
        bias[i] = (vector ? vector->bias[i] / vector_deviation : 0) + (words ? words->bias[i] / words_deviation : 0);
    if (vector) {
        out->dim = vector->dim;
        out->weight = scaled(a, vector->weight, (size_t)k * vector->dim, 1 / vector_deviation);
    }
    if (words) {
        out->ngrams = words->ngrams;
        out->ngram_weight = scaled(a, words->ngram_weight, (size_t)k * words->ngrams.buckets, 1 / words_deviation);
    }
}

void train_logits(const struct head *h, const struct train_rows *rows, uint32_t i, float *out)
{
    const float *x = rows->vectors + (size_t)i * rows->dim;
    if (h->kind == HEAD_MLP) {
        float units[4096];
        for (uint32_t u = 0; u < h->hidden; u++)
            units[u] = fmaxf(0, h->bias[u] + vector_dot(h->weight + (size_t)u * h->dim, x, h->dim));
        for (uint32_t c = 0; c < h->n_labels; c++)
            out[c] = h->bias2[c] + vector_dot(h->weight2 + (size_t)c * h->hidden, units, h->hidden);
        return;
    }
    for (uint32_t c = 0; c < h->n_labels; c++)
        out[c] = h->bias[c] + (h->dim ? vector_dot(h->weight + (size_t)c * h->dim, x, h->dim) : 0);
    for (uint64_t f = h->ngrams.buckets ? rows->starts[i] : 0; h->ngrams.buckets && f < rows->starts[i + 1]; f++)
        for (uint32_t c = 0; c < h->n_labels; c++)
            out[c] += rows->features[f].value * h->ngram_weight[(size_t)rows->features[f].bucket * h->n_labels + c];
}

void train_platt(const float *logits, const bool *is_positive, uint32_t n, float *temperature, float *offset)
{
    double a = 1, b = 0, positive = 0;
    for (uint32_t i = 0; i < n; i++)
        positive += is_positive[i];
    double high = (positive + 1) / (positive + 2), low = 1 / (n - positive + 2);   /* Platt's targets: never quite 0 or 1 */
    for (int step = 0; step < 50; step++) {
        double ga = 0, gb = 0, haa = 1e-9, hab = 0, hbb = 1e-9;
        for (uint32_t i = 0; i < n; i++) {
            double z = (double)logits[i], p = 1 / (1 + exp(-(a * z + b))), d = p - (is_positive[i] ? high : low), v = p * (1 - p);
            ga += d * z, gb += d;
            haa += v * z * z, hab += v * z, hbb += v;
        }
        double determinant = haa * hbb - hab * hab;
        if (determinant < 1e-12)
            break;
        double da = (hbb * ga - hab * gb) / determinant, db = (haa * gb - hab * ga) / determinant;
        a -= da, b -= db;
        if (fabs(da) + fabs(db) < 1e-9)
            break;
    }
    if (!(a > 1e-3))                            /* scores that say nothing: as they are */
        a = 1, b = 0;
    *temperature = (float)(1 / a);
    *offset = (float)b;
}

void train_balance(const uint32_t *label, const uint32_t *source, uint32_t n, double evenness, float *weight)
{
    uint32_t sources = 0, labels = 0;
    for (uint32_t i = 0; i < n; i++) {
        sources = source[i] >= sources ? source[i] + 1 : sources;
        labels = label[i] >= labels ? label[i] + 1 : labels;
    }
    double *count = calloc((size_t)labels * sources + labels, sizeof *count), sum = 0;
    for (uint32_t i = 0; count && i < n; i++)
        count[label[i] * sources + source[i]]++;
    double *mass = count ? count + (size_t)labels * sources : NULL;
    for (uint32_t c = 0; count && c < labels; c++)
        for (uint32_t s = 0; s < sources; s++)
            if (count[c * sources + s] > 0)
                mass[c] += pow(count[c * sources + s], 1 - evenness);
    for (uint32_t i = 0; i < n; i++) {
        double c = count ? count[label[i] * sources + source[i]] : 1;
        weight[i] = count ? (float)(pow(c, 1 - evenness) / c / mass[label[i]]) : 1;
        sum += (double)weight[i];
    }
    for (uint32_t i = 0; i < n && sum > 0; i++)
        weight[i] *= (float)(n / sum);
    free(count);
}
