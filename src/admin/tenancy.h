/* admin/tenancy.h -- keys, budgets and spending as resources, for the management API and for the command line alike.
 *
 * An answer is a function of a call: `signalbox key list --state FILE` makes the same call that GET /api/v1/keys does, so both
 * print the same. The functions block (they wait for commits): the API runs them on an offload thread. */
#ifndef SBX_ADMIN_TENANCY_H
#define SBX_ADMIN_TENANCY_H

#include "admin/admin.h"

struct snap;

struct tenancy_call {
    struct arena *a;
    const struct snap *snap;        /* NULL: the command line, without a configuration */
    str method, path, query, body;  /* "POST", "/api/v1/keys/ann/rotate" */
    int status;                     /* answer */
    str type;                       /* "" : JSON */
    struct buf *out;
};

void keys_answer(struct tenancy_call *c);
void budgets_answer(struct tenancy_call *c);
void spend_answer(struct tenancy_call *c);

/* Runs one of them for a management request. */
WAITS void tenancy_serve(struct admin_req *r, void (*answer)(struct tenancy_call *c));
void tenancy_error(struct tenancy_call *c, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The next part of a path, percent-decoded; *rest moves behind it. */
str  tenancy_part(struct arena *a, str *rest);
/* The body as a tree; NULL: an error has been answered. */
const struct value *tenancy_body(struct tenancy_call *c);

#endif
