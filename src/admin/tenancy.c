/* admin/tenancy.c */
#include "admin/tenancy.h"

#include "base/value.h"
#include "net/http.h"
#include "observe/log.h"
#include "pipeline/budget.h"
#include "pipeline/snap.h"
#include "runtime/offload.h"

void tenancy_error(struct tenancy_call *c, int status, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    admin_error_write(c->out, code, arena_vprintf(c->a, format, args));
    va_end(args);
    c->status = status;
    c->type = S("");
}

str tenancy_part(struct arena *a, str *rest)
{
    return http_path_decode(str_cut(rest, '/'), a);
}

const struct value *tenancy_body(struct tenancy_call *c)
{
    struct err e = { 0 };
    str text = str_trim(c->body);
    if (text.len == 0)
        return value_map(c->a);
    const struct value *v = yaml_parse(c->a, arena_str(c->a, text), "body", &e);
    if (!v)
        tenancy_error(c, 400, "INVALID_INPUT", "the body is neither JSON nor YAML: %s", e.text);
    return v;
}

struct work { struct tenancy_call call; void (*answer)(struct tenancy_call *c); };

static void work_run(void *arg)
{
    struct work *w = arg;
    if (books())
        w->answer(&w->call);
    else
        tenancy_error(&w->call, 503, "UNAVAILABLE", "the books are not open");
}

static void work_release(void *arg)
{
    (void)arg;
}

WAITS void tenancy_serve(struct admin_req *r, void (*answer)(struct tenancy_call *c))
{
    struct snap *s = snap_enter(loop_self());
    struct work w = { { .a = r->a, .snap = s, .method = r->head.method, .path = r->head.path, .query = r->head.query,
                        .body = r->body, .status = 200, .out = &r->out }, answer };
    if (str_eq(w.call.method, S("HEAD")))
        w.call.method = S("GET");
    fiber_shield(true);                         /* w lies on this stack: nothing may end the wait early */
    if (offload(work_run, &w, work_release, NEVER) < 0)
        tenancy_error(&w.call, 503, "OVERLOADED", "too much is waiting; try again");
    fiber_shield(false);
    if (!str_eq(w.call.method, S("GET")) && w.call.status < 300)
        log_info("tenancy_changed", STR_FMT " " STR_FMT, STR_ARG(w.call.method), STR_ARG(w.call.path));
    r->status = w.call.status;
    r->type = w.call.type;
    snap_leave(loop_self(), s);
}
