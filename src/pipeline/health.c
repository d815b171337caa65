/* pipeline/health.c */
#include "pipeline/health.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/rand.h"
#include "observe/log.h"
#include "observe/metrics.h"

struct check { struct loop *loop; struct snap *snap; const struct backend *backend; };

/* One GET. True: 2xx or 3xx in time. */
static WAITS bool check_once(const struct check *c, uint64_t deadline)
{
    const struct backend *b = c->backend;
    const char *why = NULL, *detail = NULL;
    struct upstream *u;
    struct arena *a = arena_new();
    bool ok = false;
    if (!a)
        return true;                            /* no memory says nothing about the backend */
    if (client_get(c->loop, &b->origin, true, deadline, &u, &why, &detail) == 0) {
        struct http_head head;
        str text = arena_printf(a, "GET " STR_FMT " HTTP/1.1\r\nhost: " STR_FMT "\r\nuser-agent: signalbox-health\r\n"
                                   STR_FMT "connection: close\r\n\r\n", STR_ARG(b->model->conf->reliability.health_check_path),
                                STR_ARG(b->host_header), STR_ARG(b->auth_line));
        struct iovec v = { (void *)(uintptr_t)text.ptr, text.len };
        ok = client_send(u, &v, 1, deadline) == 0
             && h1_read_head(&u->in, a, 64 * 1024, &head, deadline, false) == 1
             && head.status >= 200 && head.status < 400;
        client_drop(u);
    }
    arena_free(a);
    return ok;
}

static void note(const struct backend *b, bool ok)
{
    struct backend_state *s = b->state;
    if (ok) {
        atomic_store(&s->check_failures, 0);
        if (atomic_exchange(&s->is_down, false)) {
            metric_set(s->cell_up, 1);
            log_info("backend_up", "backend " STR_FMT " answers its health check again", STR_ARG(s->id));
        }
    } else if (atomic_fetch_add(&s->check_failures, 1) + 1 >= HEALTH_DOWN_AFTER && !atomic_exchange(&s->is_down, true)) {
        metric_set(s->cell_up, 0);
        log_warn("backend_down", "backend " STR_FMT " failed %d health checks in a row", STR_ARG(s->id), HEALTH_DOWN_AFTER);
    }
}

static void check_fiber(void *arg)
{
    struct check *c = arg;
    const struct reliability_conf *r = &c->backend->model->conf->reliability;
    uint64_t interval = r->health_check_interval_ns;
    uint64_t timeout = r->health_check_timeout_ns;
    uint64_t seed = rand_system();
    while (loop_slot(c->loop, LOOP_SLOT_SNAP) == c->snap) {
        note(c->backend, check_once(c, clock_now() + timeout));
        uint64_t jitter = rand_below(&seed, interval / 10 + 1);
        if (fiber_sleep(clock_now() + interval - interval / 20 + jitter) < 0)
            break;
    }
    snap_leave(c->loop, c->snap);
    free(c);
}

/* Nobody checks this backend any more: the last verdict must not stay for ever. */
static void unchecked(const struct model *m)
{
    for (unsigned k = 0; k < m->n_backends; k++) {
        atomic_store(&m->backends[k].state->check_failures, 0);
        if (atomic_exchange(&m->backends[k].state->is_down, false))
            metric_set(m->backends[k].state->cell_up, 1);
    }
}

void health_start(struct loop *l)
{
    struct snap *s = loop_slot(l, LOOP_SLOT_SNAP);
    for (size_t i = 0; s && i < s->models.n; i++) {
        const struct model *m = s->models.entries[i].value;
        if (!str_eq(s->models.entries[i].key, m->name))
            continue;                           /* a LoRA's name is another key of the same model */
        if (m->conf->reliability.health_check_path.len == 0) {
            unchecked(m);
            continue;
        }
        for (unsigned k = 0; k < m->n_backends; k++) {
            struct check *c = malloc(sizeof *c);
            if (!c)
                return;
            *c = (struct check){ l, snap_enter(l), &m->backends[k] };
            if (!fiber_go(l, "health", check_fiber, c)) {
                snap_leave(l, s);
                free(c);
                return;
            }
        }
    }
}
