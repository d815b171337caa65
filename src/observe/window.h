/* observe/window.h -- what a model did in the last 1m, 5m, 15m, 1h and 24h.
 *
 * Rings of sums: ten-second slots for a quarter of an hour, five-minute slots for a day. A record
 * touches two slots; the gauges llm_model_*_windowed* are computed when somebody scrapes. Unlike
 * VSR's, they hear of streamed answers and of failures. Not offered: utilisation and queue depth,
 * since nobody here knows a model's capacity. */
#ifndef SBX_WINDOW_H
#define SBX_WINDOW_H

#include "base/str.h"

enum { WINDOWS_MAX = 100 };         /* models with windows; ~80 KB each; beyond: NULL, no figures */

struct window;

struct window *window_of(str model);       /* find or make; lives with the process; NULL: no more */

/* One request to the model has ended. `now` is monotonic ns. Any thread; w may be NULL. */
void window_record(struct window *w, uint64_t now, double latency_s, uint64_t prompt_tokens,
                   uint64_t completion_tokens, bool is_error);

void windows_publish(uint64_t now);                 /* sets the gauges; metrics_write calls it */

#endif
