/* observe/latency.h -- how fast a model answers just now, for selection.
 *
 * The last 1000 times to first token and times per output token, kept sorted while they come in, so
 * that any percentile is one look. Percentiles interpolate linearly between neighbours; with fewer
 * than three samples the figure is an exponential average (alpha 0.3). Objects live with the
 * process: snapshots adopt them by model name. Any thread. */
#ifndef SBX_LATENCY_H
#define SBX_LATENCY_H

#include "base/str.h"

enum { LATENCY_SAMPLES = 1000 };

struct latency;

struct latency *latency_new(void);                  /* NULL: no memory */
struct latency *latency_of(str model);              /* find or make by name; NULL: no memory */

/* One answer. NAN (or a negative number): not known. */
void   latency_record(struct latency *l, double ttft_s, double tpot_s);
double latency_ttft(struct latency *l, double percentile);      /* 0..100; NAN: no data */
double latency_tpot(struct latency *l, double percentile);
double latency_ttft_average(struct latency *l);              /* the exponential one; NAN: no data */
double latency_tpot_average(struct latency *l);
uint64_t latency_samples(struct latency *l);                    /* answers recorded so far */

void     latency_begin(struct latency *l);                     /* a request goes to the model ... */
void     latency_end(struct latency *l);                        /* ... and has ended, however */
uint32_t latency_in_flight(const struct latency *l);

/* One attempt at an answer, and which share of the last ones failed (exponential average, alpha 1/16; 0: none so far). */
void   latency_tried(struct latency *l, bool is_failed);
double latency_failures(const struct latency *l);

#endif
