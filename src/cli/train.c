/* cli/train.c -- `train head`: labelled lines in, a head file out, with a report on rows it has not seen.
 *
 * The report comes first: the rows are cut into folds (by source with --by-source, so that nothing of a source is both learned from and
 * scored), a head is trained on the others and scores the fold. Out-of-fold logits also say how the two parts of a head (trunk, words) are
 * weighed against each other, and give the calibration and the thresholds, so that none of these is set on a row the head has learned
 * from. Then the head that is written learns from all rows. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/put.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "cli/learn.h"
#include "neural/quality.h"

enum { FILES_MAX = 64, FOLDS_MAX = 64, FOLDS_DEFAULT = 5, DRAWS = 200, WORD_BITS = 18 };
#define NO_FOLD UINT32_MAX

/* What the probabilities of a two-class head mean. */
enum calibration {
    CALIBRATION_PLATT,                  /* a frequency: likeliest on held-out rows */
    CALIBRATION_FALSE_ALARMS,           /* 0.5 is where 1 % of held-out negatives lie above, 0.7 where 0.5 % do */
    CALIBRATION_ANCHOR,                 /* `anchor` is where `anchor_rate` of held-out negatives lie above; rate 0: where balanced
                                         * accuracy is best */
};

struct wish {
    const char *signal, *out, *config, *positive, *licence, *note;
    const char *files[FILES_MAX + 1]; size_t n_files;
    const char *without[FILES_MAX + 1]; size_t n_without;
    const char *always[FILES_MAX]; size_t n_always;
    int64_t folds;                      /* negative: not given */
    bool by_source, as_json, no_trunk, uses_last_layer;
    double evenness, trunk_share, copies;
    struct { str source; double factor; } shares[FILES_MAX]; size_t n_shares;
    enum calibration calibration; double anchor, anchor_rate;
    struct train_options train;
};

struct lesson {                         /* everything that one training needs */
    struct learn learn;
    struct train_rows rows;
    float *vectors;
    struct ngram_feature *features; uint64_t *starts;
    uint32_t *label, *source;
    float *weight;
    uint32_t *fold; uint32_t n_folds;   /* NO_FOLD: always learned from, never scored */
    uint32_t *scored, n_scored;         /* rows that have a fold */
    bool is_alike;                      /* of some fold most rows were copies: they were kept */
    uint32_t n_copies;                  /* rows not learned from for a fold, over all folds */
    float *by_vector, *by_words;        /* [n][n_labels] logits of the parts, out of fold; NULL: no such part */
    float vector_deviation, words_deviation;
    struct ngram_feature *word; uint64_t *word_starts;  /* bags of words, to tell near copies */
    float *logits;                      /* [n][n_labels] their sum, each divided by its deviation */
};

/* ---- folds ---- */

static bool is_always(const struct wish *w, str source)
{
    for (size_t i = 0; i < w->n_always; i++)
        if (str_starts(source, str_of(w->always[i])))
            return true;
    return false;
}

/* Whole sources to `n` folds, the largest first and each to the fold that has least. */
static void sources_deal(const struct lesson *l, const struct wish *w, uint32_t n, uint32_t *fold_of, struct arena *a)
{
    uint32_t *size = ARENA_ARRAY(a, uint32_t, l->learn.n_sources), *held = ARENA_ARRAY(a, uint32_t, n);
    for (uint32_t i = 0; i < l->learn.n; i++)
        size[l->source[i]] += !is_always(w, l->learn.sources[l->source[i]]);
    for (uint32_t k = 0; k < l->learn.n_sources; k++) {
        uint32_t largest = 0, least = 0;
        for (uint32_t s = 1; s < l->learn.n_sources; s++)
            largest = size[s] > size[largest] ? s : largest;
        for (uint32_t f = 1; f < n; f++)
            least = held[f] < held[least] ? f : least;
        fold_of[largest] = least;
        held[least] += size[largest];
        size[largest] = 0;
    }
}

static void folds_set(struct lesson *l, const struct wish *w)
{
    uint32_t n = l->learn.n, most = w->by_source ? l->learn.n_sources : n;
    uint64_t seed = w->train.seed;
    l->n_folds = w->folds < 0 ? (w->by_source ? most : FOLDS_DEFAULT) : w->folds > 0 ? (uint32_t)w->folds : 1;
    if (l->n_folds > most)
        l->n_folds = most;
    struct arena *a = arena_new();
    uint32_t *fold_of = ARENA_ARRAY(a, uint32_t, l->learn.n_sources);
    sources_deal(l, w, l->n_folds, fold_of, a);
    for (uint32_t i = 0; i < n; i++)
        l->fold[i] = w->by_source ? fold_of[l->source[i]] : (uint32_t)rand_below(&seed, l->n_folds);
    for (uint32_t i = 0; i < n; i++) {
        if (is_always(w, l->learn.sources[l->source[i]]))
            l->fold[i] = NO_FOLD;
        else
            l->scored[l->n_scored++] = i;
    }
    arena_free(a);
}

/* Rows that are learned from and are nearly the same as a scored one would make the report a lie: bags of words whose cosine is
 * above `copies`. By an inverted index over the fold. Returns how many are left out. */
static uint32_t copies_drop(const struct lesson *l, const struct wish *w, uint32_t fold, struct arena *a, float *weight)
{
    enum { WORD_BUCKETS = 1 << WORD_BITS };
    uint32_t *head = ARENA_ARRAY(a, uint32_t, WORD_BUCKETS), n = l->rows.n, dropped = 0, n_posts = 0;   /* index + 1; 0: none */
    for (uint32_t i = 0; i < n; i++)
        n_posts += l->fold[i] == fold ? (uint32_t)(l->word_starts[i + 1] - l->word_starts[i]) : 0;
    struct post { uint32_t row, next; float value; } *posts = ARENA_ARRAY(a, struct post, n_posts);
    float *likeness = ARENA_ARRAY(a, float, n);
    uint32_t *touched = ARENA_ARRAY(a, uint32_t, n), at = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint64_t f = l->word_starts[i]; f < l->word_starts[i + 1] && l->fold[i] == fold; f++) {
            posts[at] = (struct post){ i, head[l->word[f].bucket], l->word[f].value };
            head[l->word[f].bucket] = ++at;
        }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t n_touched = 0;
        bool is_copy = false;
        for (uint64_t f = l->word_starts[i]; f < l->word_starts[i + 1] && weight[i] > 0; f++)
            for (uint32_t p = head[l->word[f].bucket]; p; p = posts[p - 1].next) {
                uint32_t row = posts[p - 1].row;
                if (likeness[row] == 0)
                    touched[n_touched++] = row;
                likeness[row] += l->word[f].value * posts[p - 1].value;
            }
        for (uint32_t k = 0; k < n_touched; k++) {
            is_copy |= (double)likeness[touched[k]] > w->copies;
            likeness[touched[k]] = 0;
        }
        if (is_copy)
            weight[i] = 0;
        dropped += is_copy;
    }
    return dropped;
}

/* Trains the parts on rows whose weight is above 0; *v and *w are NULL where there is no such part. */
static int parts_train(const struct lesson *l, const struct wish *w, const float *weight, struct arena *a, struct head **by_vector,
                       struct head **by_words, struct err *e)
{
    struct train_rows rows = l->rows;
    rows.weight = weight;
    *by_vector = l->by_vector ? ARENA_NEW(a, struct head) : NULL;
    *by_words = l->by_words ? ARENA_NEW(a, struct head) : NULL;
    if (*by_vector && train_part(&rows, TRAIN_VECTOR, &w->train, a, *by_vector, e) < 0)
        return -1;
    return *by_words ? train_part(&rows, TRAIN_WORDS, &w->train, a, *by_words, e) : 0;
}

static float *fold_weights(const struct lesson *l, uint32_t fold, struct arena *a)
{
    float *weight = ARENA_ARRAY(a, float, l->rows.n);
    for (uint32_t i = 0; i < l->rows.n; i++)
        weight[i] = l->fold[i] == fold && l->n_folds > 1 ? 0 : l->weight[i];
    return weight;
}

/* Whether for some fold most of the other rows are copies: such data can only be learned from as it is. */
static bool rows_are_alike(const struct lesson *l, const struct wish *w)
{
    bool is_alike = false;
    for (uint32_t f = 0; l->word && l->n_folds > 1 && f < l->n_folds && !is_alike; f++) {
        struct arena *a = arena_new();
        float *weight = fold_weights(l, f, a);
        uint32_t left = 0, dropped = copies_drop(l, w, f, a, weight);
        for (uint32_t i = 0; i < l->rows.n; i++)
            left += weight[i] > 0;
        is_alike = dropped > left;
        arena_free(a);
    }
    return is_alike;
}

static int fold_run(struct lesson *l, const struct wish *w, uint32_t fold, struct arena *a, struct err *e)
{
    struct head *by_vector, *by_words;
    uint32_t k = l->rows.n_labels;
    float *weight = fold_weights(l, fold, a);
    if (l->word && l->n_folds > 1 && !l->is_alike)
        l->n_copies += copies_drop(l, w, fold, a, weight);
    if (parts_train(l, w, weight, a, &by_vector, &by_words, e) < 0)
        return -1;
    for (uint32_t i = 0; i < l->rows.n; i++) {
        if (l->fold[i] == fold && by_vector)
            train_logits(by_vector, &l->rows, i, l->by_vector + (size_t)i * k);
        if (l->fold[i] == fold && by_words)
            train_logits(by_words, &l->rows, i, l->by_words + (size_t)i * k);
    }
    return 0;
}

static float deviation(const struct lesson *l, const float *x)
{
    double sum = 0, squares = 0, n = (double)l->n_scored * l->rows.n_labels;
    for (uint32_t s = 0; s < l->n_scored; s++)
        for (uint32_t c = 0; c < l->rows.n_labels; c++) {
            double v = (double)x[(size_t)l->scored[s] * l->rows.n_labels + c];
            sum += v, squares += v * v;
        }
    double variance = n > 0 ? squares / n - sum / n * (sum / n) : 0;
    return variance > 1e-12 ? (float)sqrt(variance) : 1;
}

/* Every row scored by heads that have not seen its fold; with one fold, by a head that has. */
static int folds_run(struct lesson *l, const struct wish *w, struct err *e)
{
    struct progress progress = progress_start("folds");
    size_t n = (size_t)l->rows.n * l->rows.n_labels;
    int rc = 0;
    l->is_alike = rows_are_alike(l, w);
    for (uint32_t f = 0; f < l->n_folds && rc >= 0; f++) {
        struct arena *a = arena_new();
        rc = fold_run(l, w, f, a, e);
        arena_free(a);
        progress_show(&progress, (double)(f + 1) / l->n_folds, f + 1);
    }
    progress_end(&progress);
    bool is_sum = l->by_vector && l->by_words;
    l->vector_deviation = is_sum ? deviation(l, l->by_vector) / (float)w->trunk_share : 1;
    l->words_deviation = is_sum ? deviation(l, l->by_words) : 1;
    for (size_t i = 0; i < n; i++)
        l->logits[i] = (l->by_vector ? l->by_vector[i] / l->vector_deviation : 0) + (l->by_words ? l->by_words[i] / l->words_deviation : 0);
    return rc;
}

/* ---- the report ---- */

struct figures { double auc, recall, accuracy; struct interval auc_range, recall_range; uint32_t n, n_positive; };

static double auc_figure(struct scored *rows, size_t n, void *arg)
{
    (void)arg;
    return quality_auc(rows, n);
}

static double recall_figure(struct scored *rows, size_t n, void *arg)
{
    (void)arg;
    return quality_recall_at(rows, n, 0.01, NULL);
}

/* By logits: probabilities near 1 run out of digits, and what runs together cannot be ranked. */
static struct figures figures_of(const struct lesson *l, const float *score, int64_t source)
{
    struct scored *rows = malloc(l->rows.n * sizeof *rows);
    struct figures f = { 0 };
    uint32_t right = 0;
    for (uint32_t k = 0; rows && k < l->n_scored; k++) {
        uint32_t i = l->scored[k];
        if (source >= 0 && l->source[i] != (uint32_t)source)
            continue;
        rows[f.n++] = (struct scored){ l->logits[i], l->label[i] == 1 };
        right += (score[i] >= 0.5f) == (l->label[i] == 1);
        f.n_positive += l->label[i] == 1;
    }
    if (rows && f.n) {
        f.auc = quality_auc(rows, f.n);
        f.recall = quality_recall_at(rows, f.n, 0.01, NULL);
        f.accuracy = (double)right / f.n;
        f.auc_range = quality_bootstrap(rows, f.n, DRAWS, 1, auc_figure, NULL);
        f.recall_range = quality_bootstrap(rows, f.n, DRAWS, 1, recall_figure, NULL);
    }
    free(rows);
    return f;
}

static void figures_print(const char *name, const struct figures *f)
{
    printf("  %-24s %7u %7u", name, f->n, f->n_positive);
    if (isnan(f->auc))
        printf("  (one class only)      accuracy %.3f\n", f->accuracy);
    else
        printf("  %.3f (%.3f .. %.3f)   %5.1f %% (%.1f .. %.1f)   %.3f\n", f->auc, f->auc_range.low, f->auc_range.high, 100 * f->recall,
               100 * f->recall_range.low, 100 * f->recall_range.high, f->accuracy);
}

static uint32_t best_label(const float *z, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = z[i] > z[best] ? i : best;
    return best;
}

static double share_right(const struct lesson *l, int64_t source, uint32_t *n)
{
    uint32_t right = 0;
    *n = 0;
    for (uint32_t s = 0; s < l->n_scored; s++) {
        uint32_t i = l->scored[s];
        if (source >= 0 && l->source[i] != (uint32_t)source)
            continue;
        right += best_label(l->logits + (size_t)i * l->rows.n_labels, l->rows.n_labels) == l->label[i];
        ++*n;
    }
    return *n ? (double)right / *n : (double)NAN;
}

static void report(const struct lesson *l, const struct wish *w, const float *score)
{
    const char *how = l->n_folds < 2 ? "rows scored by a head that has seen them: not a measure of quality" : w->by_source ? "each source scored by a head that has not seen it" : "each row scored by a head that has not seen it";
    printf("%u rows, %u sources, %u folds: %s\n", l->rows.n, l->learn.n_sources, l->n_folds, how);
    if (l->is_alike)
        printf("  most rows are nearly the same as others, so copies were kept: these figures flatter\n");
    if (l->n_copies)
        printf("  %u times a row was not learned from, being nearly the same as a scored one\n", l->n_copies);
    if (l->n_scored < l->rows.n)
        printf("  %u rows are learned from in every fold and not scored\n", l->rows.n - l->n_scored);
    if (l->rows.n_labels > 1) {
        uint32_t n;
        double all = share_right(l, -1, &n);
        struct interval r = quality_share((size_t)(all * n + .5), n);
        printf("  accuracy %.3f (%.3f .. %.3f)\n", all, r.low, r.high);
        for (uint32_t s = 0; s < l->learn.n_sources && l->learn.n_sources > 1; s++) {
            double one = share_right(l, s, &n);
            if (n)
                printf("  %-24.*s %7u  %.3f\n", (int)l->learn.sources[s].len, l->learn.sources[s].ptr, n, one);
        }
        return;
    }
    printf("  %-24s %7s %7s  %-24s   %-22s   %s\n", "source", "rows", "labelled", "AUC (95 %)", "recall at 1 % false", "accuracy");
    struct figures all = figures_of(l, score, -1);
    for (uint32_t s = 0; s < l->learn.n_sources && l->learn.n_sources > 1; s++) {
        char name[64];
        struct figures f = figures_of(l, score, s);
        snprintf(name, sizeof name, STR_FMT, STR_ARG(l->learn.sources[s]));
        if (f.n)
            figures_print(name, &f);
    }
    figures_print("all", &all);
}

/* ---- calibration on out-of-fold logits ---- */

static void thresholds_set(const struct lesson *l, const float *score, struct head *h)
{
    static const float rates[] = { 0.001f, 0.005f, 0.01f, 0.02f, 0.05f, 0.1f };
    struct scored *rows = malloc((l->n_scored + 1) * sizeof *rows);
    uint32_t negatives = 0;
    for (uint32_t k = 0; rows && k < l->n_scored; k++) {
        uint32_t i = l->scored[k];
        rows[k] = (struct scored){ score[i], l->label[i] == 1 };
        negatives += l->label[i] == 0;
    }
    if (rows && !isnan(quality_auc(rows, l->n_scored)))
        for (size_t i = 0; i < COUNT_OF(rates); i++) {
            float threshold;
            quality_recall_at(rows, l->n_scored, (double)rates[i], &threshold);
            uint32_t alarms = 0;
            for (uint32_t k = 0; k < l->n_scored; k++)
                alarms += !rows[k].is_positive && rows[k].score >= threshold;
            struct interval r = quality_share(alarms, negatives);
            h->thresholds[h->n_thresholds++] = (struct head_threshold){ rates[i], threshold, (float)r.low, (float)r.high };
        }
    free(rows);
}

static double logit(double p)
{
    return log(p / (1 - p));
}

/* The logit above which `rate` of the held-out negatives lie. */
static float alarm_logit(struct scored *rows, uint32_t n, double rate)
{
    float threshold;
    quality_recall_at(rows, n, rate, &threshold);
    return threshold;
}

static float best_balanced(const struct scored *rows, uint32_t n)   /* sorted */
{
    double p = 0, hit = 0, best = -1;
    float at = 0;
    for (uint32_t i = 0; i < n; i++)
        p += rows[i].is_positive;
    for (uint32_t i = 0; i < n; i++) {
        hit += rows[i].is_positive;
        double balanced = hit / fmax(p, 1) + 1 - (i + 1 - hit) / fmax(n - p, 1);
        if (balanced > best && (i + 1 == n || rows[i + 1].score < rows[i].score)) {
            best = balanced;
            at = i + 1 == n ? rows[i].score : (rows[i].score + rows[i + 1].score) / 2;
        }
    }
    return at;
}

/* The temperature that is likeliest while logit `fixed` keeps its probability. */
static float likeliest_temperature(const struct scored *rows, uint32_t n, float fixed, double shift)
{
    double best = INFINITY;
    float at = 1;
    for (float t = 0.02f; t < 50; t *= 1.15f) {
        double loss = 0;
        for (uint32_t i = 0; i < n; i++) {
            double z = (double)((rows[i].score - fixed) / t) + shift, margin = rows[i].is_positive ? z : -z;
            loss += margin > 0 ? log1p(exp(-margin)) : -margin + log1p(exp(margin));
        }
        if (loss < best) {
            best = loss;
            at = t;
        }
    }
    return at;
}

static void calibrate_binary(const struct lesson *l, const struct wish *w, struct head *h, struct arena *a)
{
    uint32_t n = l->n_scored;
    struct scored *rows = ARENA_ARRAY(a, struct scored, n);
    bool *truth = ARENA_ARRAY(a, bool, n);
    float *logits = ARENA_ARRAY(a, float, n);
    for (uint32_t k = 0; k < n; k++) {
        truth[k] = l->label[l->scored[k]] == 1;
        logits[k] = l->logits[l->scored[k]];
        rows[k] = (struct scored){ logits[k], truth[k] };
    }
    quality_auc(rows, n);                       /* sorts them */
    float half = alarm_logit(rows, n, 0.005), one = alarm_logit(rows, n, 0.01);
    if (w->calibration == CALIBRATION_FALSE_ALARMS && half > one) {
        h->temperature = (half - one) / (float)logit(0.7);
        h->offset[0] = -one / h->temperature;
    } else if (w->calibration == CALIBRATION_ANCHOR) {
        float fixed = w->anchor_rate > 0 ? alarm_logit(rows, n, w->anchor_rate) : best_balanced(rows, n);
        h->temperature = likeliest_temperature(rows, n, fixed, logit(w->anchor));
        h->offset[0] = (float)logit(w->anchor) - fixed / h->temperature;
    } else {
        train_platt(logits, truth, n, &h->temperature, &h->offset[0]);
    }
}

static void calibrate_classes(const struct lesson *l, struct head *h)
{
    uint32_t k = l->rows.n_labels;
    double best = INFINITY;
    for (float t = 0.05f; t <= 20; t *= 1.1f) {
        double loss = 0;
        for (uint32_t s = 0; s < l->n_scored; s++) {
            uint32_t i = l->scored[s];
            const float *z = l->logits + (size_t)i * k;
            double most = (double)z[best_label(z, k)], sum = 0;
            for (uint32_t c = 0; c < k; c++)
                sum += exp(((double)z[c] - most) / (double)t);
            loss += log(sum) - ((double)z[l->label[i]] - most) / (double)t;
        }
        if (loss < best) {
            best = loss;
            h->temperature = t;
        }
    }
}

/* Sets temperature and offset of the head by out-of-fold logits; returns what it then says of those rows (two classes). */
static float *calibrated(const struct lesson *l, const struct wish *w, struct head *h, struct arena *a)
{
    float *score = ARENA_ARRAY(a, float, l->rows.n);
    h->offset = ARENA_ARRAY(a, float, l->rows.n_labels);
    if (l->rows.n_labels > 1) {
        calibrate_classes(l, h);
        return score;
    }
    calibrate_binary(l, w, h, a);
    for (uint32_t i = 0; i < l->rows.n; i++)
        score[i] = 1 / (1 + expf(-(l->logits[i] / h->temperature + h->offset[0])));
    return score;
}

/* ---- the file ---- */

static void names_write(struct json_writer *j, const char *key, const str *names, uint32_t n)
{
    put_strs(j, str_of(key), names, n);
}

static str card_write(const struct lesson *l, const struct wish *w, const struct head *h, str trunk, const float *score, struct arena *a)
{
    static const char *const kinds[] = { "linear", "mlp", "tokens" };
    struct buf out = { 0 };
    struct json_writer j = { .out = &out };
    jw_begin(&j, '{');
    jw_key(&j, S("signal")), jw_str(&j, str_of(w->signal));
    jw_key(&j, S("kind")), jw_str(&j, str_of(kinds[h->kind]));
    jw_key(&j, S("trunk")), jw_str(&j, h->dim ? trunk : S(""));
    names_write(&j, "labels", h->labels, h->n_labels);
    jw_key(&j, S("dim")), jw_int(&j, h->dim);
    jw_key(&j, S("layer")), jw_int(&j, h->layer);
    jw_key(&j, S("hidden")), jw_int(&j, h->hidden);
    put_open(&j, S("ngrams"), '{');
    jw_key(&j, S("buckets")), jw_int(&j, h->ngrams.buckets);
    jw_key(&j, S("character_min")), jw_int(&j, h->ngrams.character_min);
    jw_key(&j, S("character_max")), jw_int(&j, h->ngrams.character_max);
    jw_key(&j, S("word_max")), jw_int(&j, h->ngrams.word_max);
    jw_key(&j, S("is_normalised")), jw_bool(&j, h->ngrams.is_normalised);
    jw_end(&j, '}');
    jw_key(&j, S("temperature")), jw_float(&j, h->temperature);
    jw_key(&j, S("window_share")), jw_float(&j, h->window_share);
    jw_key(&j, S("thresholds"));
    head_thresholds_json(h, &j);
    jw_key(&j, S("rows")), jw_int(&j, l->rows.n);
    names_write(&j, "sources", l->learn.sources, l->learn.n_sources);
    jw_key(&j, S("report")), jw_str(&j, w->by_source ? S("leave one source out") : S("folds"));
    if (h->n_labels == 1) {
        struct figures f = figures_of(l, score, -1);
        jw_key(&j, S("auc")), jw_double(&j, f.auc);
        jw_key(&j, S("recall_at_1_percent")), jw_double(&j, f.recall);
    } else {
        uint32_t n;
        jw_key(&j, S("accuracy")), jw_double(&j, share_right(l, -1, &n));
    }
    jw_key(&j, S("licence")), jw_str(&j, str_of(w->licence));
    jw_key(&j, S("note")), jw_str(&j, str_of(w->note));
    jw_end(&j, '}');
    return buf_to_arena(&out, a);
}

/* ---- the command ---- */

static void labels_name(const struct lesson *l, struct head *h, struct arena *a)
{
    str positive = l->learn.positive;
    h->labels = ARENA_ARRAY(a, str, h->n_labels);
    for (uint32_t i = 0; i < h->n_labels; i++)
        h->labels[i] = h->n_labels == 1 ? positive.len ? positive : S("positive") : l->learn.labels[i];
}

/* What --share asks for; afterwards weights have mean 1 again. */
static void shares_apply(struct lesson *l, const struct wish *w)
{
    double sum = 0;
    for (uint32_t i = 0; i < l->learn.n; i++) {
        for (size_t k = 0; k < w->n_shares; k++)
            if (str_eq(l->learn.sources[l->source[i]], w->shares[k].source))
                l->weight[i] *= (float)w->shares[k].factor;
        sum += (double)l->weight[i];
    }
    for (uint32_t i = 0; i < l->learn.n && sum > 0; i++)
        l->weight[i] *= (float)(l->learn.n / sum);
}

static bool rows_prepare_all(struct lesson *l, const struct wish *w, const struct need_source *trunk, struct arena *a)
{
    uint32_t n = l->learn.n;
    if (trunk && !(l->vectors = learn_vectors(&l->learn, trunk, "train")))
        return false;
    if (w->train.ngrams.buckets && !learn_words(&l->learn, &w->train.ngrams, &l->features, &l->starts)) {
        fprintf(stderr, "signalbox train: no memory for the words of %u rows\n", n);
        return false;
    }
    static const struct ngram_spec bag = { .buckets = 1 << WORD_BITS, .word_max = 1, .is_normalised = true };
    if (w->copies < 1 && w->folds != 0 && !learn_words(&l->learn, &bag, &l->word, &l->word_starts)) {
        fprintf(stderr, "signalbox train: no memory for the words of %u rows\n", n);
        return false;
    }
    l->label = ARENA_ARRAY(a, uint32_t, n);
    l->source = ARENA_ARRAY(a, uint32_t, n);
    l->fold = ARENA_ARRAY(a, uint32_t, n);
    l->scored = ARENA_ARRAY(a, uint32_t, n);
    l->weight = ARENA_ARRAY(a, float, n);
    for (uint32_t i = 0; i < n; i++) {
        l->label[i] = l->learn.rows[i].label;
        l->source[i] = l->learn.rows[i].source;
    }
    train_balance(l->label, l->source, n, w->evenness, l->weight);
    for (uint32_t i = 0; i < n && l->learn.has_weights; i++)        /* the data knows better */
        l->weight[i] = l->learn.rows[i].weight;
    shares_apply(l, w);
    l->rows = (struct train_rows){
        .n = n, .n_labels = l->learn.is_binary ? 1 : l->learn.n_labels, .dim = trunk ? trunk->dim : 0, .vectors = l->vectors,
        .features = l->features, .starts = l->starts, .label = l->label, .weight = l->weight,
    };
    size_t n_logits = (size_t)n * l->rows.n_labels;
    l->logits = ARENA_ARRAY(a, float, n_logits);
    l->by_vector = trunk ? ARENA_ARRAY(a, float, n_logits) : NULL;
    l->by_words = l->features ? ARENA_ARRAY(a, float, n_logits) : NULL;
    return true;
}

static int lesson_run(struct lesson *l, const struct wish *w, const struct need_source *trunk, uint32_t layer, struct arena *a, struct err *e)
{
    struct head h, *by_vector, *by_words;
    folds_set(l, w);
    if (folds_run(l, w, e) < 0 || parts_train(l, w, l->weight, a, &by_vector, &by_words, e) < 0)
        return -1;
    if (by_vector && by_vector->kind == HEAD_MLP)
        h = *by_vector;
    else
        train_add(by_vector, l->vector_deviation, by_words, l->words_deviation, a, &h);
    h.layer = layer;
    h.window_share = strcmp(w->signal, "jailbreak") == 0 ? 0.9f : 0;
    float *score = calibrated(l, w, &h, a);
    if (h.n_labels == 1)
        thresholds_set(l, score, &h);
    if (!w->as_json)
        report(l, w, score);
    labels_name(l, &h, a);
    h.signal = str_of(w->signal);
    h.card = card_write(l, w, &h, trunk ? trunk->name : S(""), score, a);
    if (w->as_json)
        cli_put(stdout, arena_printf(a, STR_FMT "\n", STR_ARG(h.card)));
    if (head_write(&h, w->out, e) < 0)
        return -1;
    if (!w->as_json)
        printf("written: %s\n", w->out);
    return 0;
}

static bool number(const struct cli_args *args, double low, double high, double *out)
{
    if (str_double(str_of(args->value), out) && *out >= low && *out <= high)
        return true;
    cli_usage_error("train", "'%s' is no number of %g to %g", args->value, low, high);
    return false;
}

static int one_more(const char **list, size_t *n, const char *what, const char *value)
{
    if (*n == FILES_MAX)
        return cli_usage_error("train", "at most %d %s", FILES_MAX, what);
    list[(*n)++] = value;
    return CLI_FINE;
}

static int wish_number(struct wish *w, const struct cli_args *args, int id)
{
    static const struct { char id; double low, high; } ranges[] = {
        { 'f', 0, FOLDS_MAX }, { 'b', 0, 22 }, { 'v', 1e-9, 1e9 }, { 'w', 1e-9, 1e9 }, { 'D', 0, 1 }, { 'T', 1e-3, 1e3 },
        { 'a', 0.01, 0.99 }, { 'R', 0, 1 }, { 'e', 0, 1 }, { 'C', 0, 16 }, { 'G', 0, 8 },
    };
    double v = 0;
    size_t i = 0;
    while (i < COUNT_OF(ranges) && ranges[i].id != id)
        i++;
    if (i == COUNT_OF(ranges) || !number(args, ranges[i].low, ranges[i].high, &v))
        return CLI_USAGE;
    switch (id) {
    case 'f': w->folds = (int64_t)v; break;
    case 'b': w->train.ngrams.buckets = v > 0 ? 1u << (unsigned)v : 0; break;
    case 'v': w->train.c_vector = v; break;
    case 'w': w->train.c_words = v; break;
    case 'D': w->copies = v; break;
    case 'T': w->trunk_share = v; break;
    case 'a': w->anchor = v; w->calibration = CALIBRATION_ANCHOR; break;
    case 'R': w->anchor_rate = v; break;
    case 'e': w->evenness = v; break;
    case 'C': w->train.ngrams.character_max = (uint8_t)v; break;
    default:  w->train.ngrams.word_max = (uint8_t)v; break;
    }
    return CLI_FINE;
}

static int wish_share(struct wish *w, const char *text)         /* SOURCE=FACTOR */
{
    double v = 0;
    str factor = str_of(text), source = str_cut(&factor, '=');
    if (w->n_shares == FILES_MAX || !str_double(factor, &v) || v < 0)
        return cli_usage_error("train", "--share SOURCE=FACTOR, not '%s'", text);
    w->shares[w->n_shares].source = source;
    w->shares[w->n_shares++].factor = v;
    return CLI_FINE;
}

static int wish_kind(struct wish *w, const char *text)
{
    bool is_mlp = strcmp(text, "mlp") == 0;
    if (!is_mlp && strcmp(text, "linear") != 0)
        return cli_usage_error("train", "--kind is linear or mlp, not '%s'", text);
    w->train.kind = is_mlp ? HEAD_MLP : HEAD_LINEAR;
    return CLI_FINE;
}

static int wish_option(struct wish *w, const struct cli_args *args, int id)
{
    switch (id) {
    case 'c': w->config = args->value; return CLI_FINE;
    case 's': w->signal = args->value; return CLI_FINE;
    case 'o': w->out = args->value; return CLI_FINE;
    case 'P': w->positive = args->value; return CLI_FINE;
    case 'L': w->licence = args->value; return CLI_FINE;
    case 'N': w->note = args->value; return CLI_FINE;
    case 'j': w->as_json = true; return CLI_FINE;
    case 'W': w->no_trunk = true; return CLI_FINE;
    case 'B': w->by_source = true; return CLI_FINE;
    case 'l': w->uses_last_layer = true; return CLI_FINE;
    case 'F': w->calibration = CALIBRATION_FALSE_ALARMS; return CLI_FINE;
    case 'd': return one_more(w->files, &w->n_files, "files", args->value);
    case 'x': return one_more(w->without, &w->n_without, "sources", args->value);
    case 'A': return one_more(w->always, &w->n_always, "sources", args->value);
    case 'k': return wish_kind(w, args->value);
    case 'Q': return wish_share(w, args->value);
    case CLI_WORD: return cli_usage_error("train", "what is '%s'? Files are given with --data", args->value);
    default:  return wish_number(w, args, id);
    }
}

static int wish_read(struct wish *w, int argc, char **argv)
{
    struct cli_args args = cli_args_start("train", argc, argv);
    for (int id, rc; (id = cli_next(&args)) != CLI_END;)
        if ((rc = wish_option(w, &args, id)) != CLI_FINE)
            return rc;
    if (!w->signal || !w->out || !w->n_files)
        return cli_usage_error("train", "--signal NAME, --data FILE and --out FILE are needed");
    if (w->no_trunk && !w->train.ngrams.buckets)
        return cli_usage_error("train", "--no-trunk and no words: there is nothing to learn from; try --words 16");
    if (w->train.kind == HEAD_MLP)
        w->train.ngrams.buckets = 0;
    if (!w->train.ngrams.character_max)
        w->train.ngrams.character_min = 0;
    return CLI_FINE;
}

int cli_train(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "selector") == 0)
        return cli_train_selector(argc - 1, argv + 1);
    if (argc < 2 || strcmp(argv[1], "head") != 0) {
        if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
            command_help(command_find(S("train")), stdout);
            return CLI_FINE;
        }
        return cli_usage_error("train", "say what to train: head or selector");
    }
    struct wish w = { .folds = -1, .licence = "", .note = "", .evenness = 0.5, .trunk_share = 1, .copies = 0.85, .train = train_defaults() };
    w.train.ngrams = (struct ngram_spec){ .buckets = 1 << 16, .character_min = 3, .character_max = 5, .word_max = 2, .is_normalised = true };
    int rc = wish_read(&w, argc - 1, argv + 1);
    if (rc != CLI_FINE)
        return rc;
    struct arena *a = arena_new();
    struct err e = { 0 };
    struct lesson l = { .learn = { .a = a, .positive = w.positive ? str_of(w.positive) : learn_positive(str_of(w.signal)) } };
    struct models *models = w.no_trunk ? NULL : cli_models(a, w.config, "train");
    uint32_t layer = 0;
    const struct need_source *trunk = models ? models_trunk(models, !w.uses_last_layer, &layer) : NULL;
    rc = CLI_USAGE;
    if (!w.no_trunk && !models)
        ;
    else if (trunk && trunk->why_absent)
        cli_models_tell(models, "train");
    else if (learn_read(&l.learn, w.files, w.n_files, w.without, &e) == 0 && rows_prepare_all(&l, &w, trunk, a) &&
             lesson_run(&l, &w, trunk, layer, a, &e) == 0)
        rc = CLI_FINE;
    if (e.text[0])
        fprintf(stderr, "signalbox train: %s\n", e.text);
    free(l.vectors);
    free(l.features);
    free(l.starts);
    free(l.word);
    free(l.word_starts);
    arena_free(a);
    return rc;
}
