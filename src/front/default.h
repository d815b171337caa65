/* front/default.h -- the configuration for those who have none yet. */
#ifndef SBX_DEFAULT_H
#define SBX_DEFAULT_H

#include "base/buf.h"

/* The embedded configuration as YAML: its policy is fixed, its providers are found at run time. With a key in the
 * environment, the public API; else a local server that answers; else the built-in model that explains. Waits up to
 * DEFAULT_PROBE_MS for a local server; runs on a plain thread. */
enum { DEFAULT_PROBE_MS = 300 };
void default_config_write(struct buf *out);
/* Who answers, as a sentence, since the last default_config_write; e.g. for the log. */
const char *default_config_source(void);

#endif
