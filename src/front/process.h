/* front/process.h -- the running gateway: loops, listeners, reload, signals, the end. */
#ifndef SBX_PROCESS_H
#define SBX_PROCESS_H

#include "base/err.h"
#include "base/buf.h"

struct process_options {
    const char *config;             /* path; NULL: ./signalbox.yaml if there, else the embedded default */
    const char *listen;             /* "host:port" instead of the configuration's listeners; NULL */
    const char *admin;              /* "host:port" instead of the configuration's management address; NULL */
    bool strict;
};

/* Runs until SIGTERM or SIGINT and the drain are over. Exit code: 0, or 1 (configuration refused), 2 (cannot start). */
int process_run(const struct process_options *o);

/* Replaces the configuration, from any thread. 0: published; -1: refused, the old one stays. `source`: for the log, e.g. the
 * path. Findings are in *out either way. */
int process_reload(str text, const char *source, struct findings *out);
const char *process_config_path(void);          /* NULL: embedded */

#endif
