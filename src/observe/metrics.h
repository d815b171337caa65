/* observe/metrics.h -- counters, gauges and histograms that cost a few nanoseconds.
 *
 * A cell is one label set of one family. Find cells while a snapshot is built and keep their
 * numbers; updating one is then a plain addition in memory that only the calling thread writes:
 * every loop thread has its own shard, all other threads share one. A scrape sums the shards.
 *
 *     s->requests = metric_cell(METRIC_MODEL_REQUESTS, (str[]){ model });
 *     metric_add(s->requests, 1);
 *
 * Cells live as long as the process, so a reload finds the same ones again. The number 0 is a cell
 * that nobody reads: a zeroed struct may be updated safely. */
#ifndef SBX_METRICS_H
#define SBX_METRICS_H

#include "base/buf.h"

enum metric_id {
    METRIC_NONE,
#define M(id, type, buckets, name, help, ...) METRIC_##id,
#include "observe/metric_list.h"
#undef M
    METRIC_FAMILIES
};

enum {
    METRIC_LABELS_MAX = 4,          /* labels of a family */
    METRIC_SETS_MAX = 2000,      /* label sets of a family; beyond: one cell, every label "other" */
    METRIC_VALUE_MAX = 128,         /* bytes of a label value; beyond: cut */
    METRIC_SHARDS_MAX = 64,     /* loop threads with a shard of their own; beyond: they share one */
};

typedef uint32_t metric;            /* a cell */

/* Finds or makes the cell. `values` has one str per label of the family, copied (NULL without
 * labels). Any thread; about 50 ns when it exists, so rare label sets may be looked up where they
 * occur. */
metric metric_cell(enum metric_id family, const str *values);

void metric_add(metric cell, uint64_t n);           /* counter, gauge */
void metric_add_double(metric cell, double v);      /* counter (not negative), gauge */
void metric_set(metric cell, double v);     /* gauge; a gauge is either set or added to, not both */
void metric_observe(metric cell, double v);         /* histogram; NaN is ignored */

/* The calling thread is loop thread number `shard` (from 0) from now on; at most one thread per
 * number at a time. Without this call a thread uses the shared shard (atomic, ~20 ns). */
void metrics_thread(unsigned shard);

/* The exposition: Prometheus text 0.0.4, or OpenMetrics 1.0. Families in the order of the list,
 * label sets in order of their first use. Any thread; does not disturb writers. */
void metrics_write(struct buf *out, bool openmetrics);
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_CONTENT_TYPE_OPENMETRICS \
    "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Sums over the shards, for health pages and tests. */
double metric_value(metric cell);                        /* histogram: the number of observations */
double metric_sum(metric cell);                             /* histogram: the sum of observations */
double metric_quantile(metric cell, double q);     /* histogram, linear in the bucket; NAN: empty */

#endif
