/* admin/admin.h -- the management API: a listener of its own, on loopback unless a token guards it. */
#ifndef SBX_ADMIN_H
#define SBX_ADMIN_H

#include "front/server.h"

/* Listens on the present configuration's address, or on `override` ("host:port"). 0, or -1 and *e. */
int admin_start(struct loop *l, const char *override, struct err *e);

/* One management request. */
struct admin_req {
    struct arena *a;
    struct client *client;
    struct http_head head;
    str body;
    int status;
    str type;                       /* content type; default application/json */
    struct buf out;
};

/* Handlers fill status and out. */
struct admin_route {
    str method, path;
    bool is_prefix, is_open;        /* open: no token needed */
    bool is_write;
    const char *permission;         /* a role needs it; NULL: reading is free, writing needs config.write */
    void (*handle)(struct admin_req *r);
    const char *help;
};

void admin_error_write(struct buf *out, const char *code, str message);        /* instead of what is in it */
void admin_error(struct admin_req *r, int status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
