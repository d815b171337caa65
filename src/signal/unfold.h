/* signal/unfold.h -- what a tool brought back, as people would read it: JSON becomes lines. */
#ifndef SBX_SIGNAL_UNFOLD_H
#define SBX_SIGNAL_UNFOLD_H

#include "base/arena.h"

/* A text that is a JSON object or array as one line for each value, "key: value", strings decoded; other texts as they are.
 * In a. */
str unfold(str text, struct arena *a);

#endif
