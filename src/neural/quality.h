/* neural/quality.h -- how good scores are: curves, rates at a bar, intervals.
 *
 * A score is higher the likelier the row is positive. Ties count half. Intervals are bootstrap percentiles over rows (Efron 1979), by a
 * seed, so that a report can be made again. */
#ifndef SBX_QUALITY_H
#define SBX_QUALITY_H

#include "base/arena.h"

struct scored { float score; bool is_positive; };

struct curve_point { float threshold, false_positive_rate, true_positive_rate, precision; };

/* Sorts the rows by falling score. Area under the ROC curve; NAN without both kinds. */
double quality_auc(struct scored *rows, size_t n);
/* Of sorted rows: highest recall whose false positive rate is at most `rate`; *threshold (may be NULL) reaches it: score >= threshold. */
double quality_recall_at(const struct scored *rows, size_t n, double rate, float *threshold);
double quality_accuracy(const struct scored *rows, size_t n, float threshold);
double quality_average_precision(const struct scored *rows, size_t n);         /* of sorted rows */
/* Of sorted rows: at most `max` points from (0, 0) to (1, 1), evenly chosen. Returns how many. */
size_t quality_curve(const struct scored *rows, size_t n, struct curve_point *out, size_t max);

struct interval { double low, high; };
/* 95 % by `draws` bootstrap samples of what `figure` says of (sorted) rows. */
struct interval quality_bootstrap(const struct scored *rows, size_t n, unsigned draws, uint64_t seed,
                                  double (*figure)(struct scored *rows, size_t n, void *arg), void *arg);
/* 95 % of a share k of n (Wilson 1927). */
struct interval quality_share(size_t k, size_t n);

struct bin { double mean_score, share_positive; size_t n; };
/* Reliability: rows by probability into `n_bins` bins of equal width. Returns the expected calibration error. */
double quality_reliability(const struct scored *rows, size_t n, struct bin *bins, unsigned n_bins);

#endif
