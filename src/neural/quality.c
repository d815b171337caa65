/* neural/quality.c */
#include "neural/quality.h"

#include <math.h>
#include <stdlib.h>

#include "base/rand.h"

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

static size_t positives(const struct scored *rows, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        k += rows[i].is_positive;
    return k;
}

/* Rows of one score count together: the end of the run that begins at i. */
static size_t tie_end(const struct scored *rows, size_t n, size_t i, size_t *hits)
{
    size_t end = i;
    *hits = 0;
    for (; end < n && rows[end].score == rows[i].score; end++)
        *hits += rows[end].is_positive;
    return end;
}

double quality_auc(struct scored *rows, size_t n)
{
    qsort(rows, n, sizeof *rows, by_score);
    double p = (double)positives(rows, n), q = (double)n - p, above = 0, pairs = 0;
    for (size_t i = 0; i < n;) {
        size_t hits, end = tie_end(rows, n, i, &hits);
        double misses = (double)(end - i - hits);
        pairs += misses * (above + (double)hits / 2);
        above += (double)hits;
        i = end;
    }
    return p > 0 && q > 0 ? pairs / (p * q) : (double)NAN;
}

double quality_recall_at(const struct scored *rows, size_t n, double rate, float *threshold)
{
    double p = (double)positives(rows, n), q = (double)n - p, best = 0;
    size_t hit = 0, missed = 0;
    if (threshold)
        *threshold = n ? nextafterf(rows[0].score, INFINITY) : INFINITY;
    for (size_t i = 0; i < n;) {
        size_t hits, end = tie_end(rows, n, i, &hits);
        hit += hits;
        missed += end - i - hits;
        if ((double)missed > rate * q)
            break;
        best = p > 0 ? (double)hit / p : 0;
        if (threshold)
            *threshold = rows[i].score;
        i = end;
    }
    return p > 0 && q > 0 ? best : (double)NAN;
}

double quality_accuracy(const struct scored *rows, size_t n, float threshold)
{
    size_t right = 0;
    for (size_t i = 0; i < n; i++)
        right += (rows[i].score >= threshold) == rows[i].is_positive;
    return n ? (double)right / (double)n : (double)NAN;
}

double quality_average_precision(const struct scored *rows, size_t n)
{
    double p = (double)positives(rows, n), sum = 0;
    size_t hit = 0;
    for (size_t i = 0; i < n;) {
        size_t hits, end = tie_end(rows, n, i, &hits);
        hit += hits;
        sum += (double)hits * (double)hit / (double)end;
        i = end;
    }
    return p > 0 ? sum / p : (double)NAN;
}

size_t quality_curve(const struct scored *rows, size_t n, struct curve_point *out, size_t max)
{
    double p = (double)positives(rows, n), q = (double)n - p;
    size_t hit = 0, made = 0, due = 0;
    if (max < 2 || p == 0 || q == 0)
        return 0;
    out[made++] = (struct curve_point){ INFINITY, 0, 0, 1 };
    for (size_t i = 0; i < n;) {
        size_t hits, end = tie_end(rows, n, i, &hits);
        hit += hits;
        if (end == n || (end >= due && made < max - 1)) {
            out[made++] = (struct curve_point){ rows[i].score, (float)((double)(end - hit) / q), (float)((double)hit / p),
                                                (float)((double)hit / (double)end) };
            due = end + n / max;
        }
        i = end;
    }
    return made;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct interval quality_bootstrap(const struct scored *rows, size_t n, unsigned draws, uint64_t seed,
                                  double (*figure)(struct scored *rows, size_t n, void *arg), void *arg)
{
    struct interval none = { (double)NAN, (double)NAN };
    struct scored *sample = malloc((n ? n : 1) * sizeof *sample);
    double *values = malloc((draws ? draws : 1) * sizeof *values);
    unsigned kept = 0;
    for (unsigned d = 0; sample && values && n && d < draws; d++) {
        for (size_t i = 0; i < n; i++)
            sample[i] = rows[rand_below(&seed, n)];
        qsort(sample, n, sizeof *sample, by_score);
        double v = figure(sample, n, arg);
        if (!isnan(v))
            values[kept++] = v;
    }
    if (kept) {
        qsort(values, kept, sizeof *values, by_value);
        none = (struct interval){ values[(size_t)(.025 * (kept - 1) + .5)], values[(size_t)(.975 * (kept - 1) + .5)] };
    }
    free(sample);
    free(values);
    return none;
}

struct interval quality_share(size_t k, size_t n)
{
    const double z = 1.959964;
    if (n == 0)
        return (struct interval){ 0, 1 };
    double share = (double)k / (double)n, m = (double)n;
    double middle = (share + z * z / (2 * m)) / (1 + z * z / m);
    double reach = z / (1 + z * z / m) * sqrt(share * (1 - share) / m + z * z / (4 * m * m));
    return (struct interval){ fmax(0, middle - reach), fmin(1, middle + reach) };
}

double quality_reliability(const struct scored *rows, size_t n, struct bin *bins, unsigned n_bins)
{
    double error = 0;
    for (unsigned b = 0; b < n_bins; b++)
        bins[b] = (struct bin){ 0 };
    for (size_t i = 0; i < n; i++) {
        int b = (int)((double)rows[i].score * n_bins);
        struct bin *to = &bins[b < 0 ? 0 : b >= (int)n_bins ? (int)n_bins - 1 : b];
        to->mean_score += (double)rows[i].score;
        to->share_positive += rows[i].is_positive;
        to->n++;
    }
    for (unsigned b = 0; b < n_bins; b++) {
        if (!bins[b].n)
            continue;
        bins[b].mean_score /= (double)bins[b].n;
        bins[b].share_positive /= (double)bins[b].n;
        error += (double)bins[b].n / (double)n * fabs(bins[b].mean_score - bins[b].share_positive);
    }
    return error;
}
