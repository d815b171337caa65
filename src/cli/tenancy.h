/* cli/tenancy.h -- what key, budget and spend share: a call to a running gateway's management API, or to a state file. */
#ifndef SBX_CLI_TENANCY_H
#define SBX_CLI_TENANCY_H

#include "admin/tenancy.h"
#include "base/json.h"

struct tenancy_target {             /* from the options ADMIN_OPTIONS of commands.c */
    const char *command;            /* for messages */
    const char *admin;              /* HOST:PORT; NULL: 127.0.0.1:8080 */
    const char *token_env;          /* NULL: SIGNALBOX_ADMIN_TOKEN */
    const char *state, *config;     /* a state file, or the configuration that names it: no server is asked */
    bool json;
};

/* True: the option was one of the shared ones. */
bool tenancy_option(struct tenancy_target *t, int id, const char *value);
/* Makes the call and prints what went wrong. *text: the answer. CLI_FINE, CLI_FINDING (refused), CLI_USAGE (no connection). */
int  tenancy_ask(const struct tenancy_target *t, struct arena *a, void (*answer)(struct tenancy_call *c), const char *method,
                 str path, str query, str body, str *text);
str  path_escape(struct arena *a, str s);           /* percent-encoded, for paths and queries */

/* A table of texts, columns as wide as they must be; numbers (cells that begin with a digit or -) to the right. */
struct table { struct arena *a; str *cells; size_t n; unsigned n_columns; };
void table_cell(struct table *t, str s);
int  table_print(const struct table *t);
int  json_put(str text);                            /* with a line break behind */
/* A member as people read it: texts, numbers, lists with commas; "" when it is not there. */
str  json_shown(struct arena *a, const struct json *j, jref object, const char *key);

#endif
