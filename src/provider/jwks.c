/* provider/jwks.c */
#include "provider/jwks.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/client.h"
#include "net/url.h"

enum { HEAD_MAX = 64 * 1024, LOOK_MS = 20 };

struct jwks_source {
    struct jwks_source *next;           /* sources_lock */
    char *url;
    struct url at;                      /* spans of `url` */
    struct origin origin;
    pthread_mutex_t lock;               /* all below */
    struct jwks *set;                   /* NULL: none yet */
    uint64_t fetched_at, tried_at;      /* monotonic; 0: never */
    uint64_t generation;
    bool is_fetching;
    char trouble[160];                  /* of the last fetch; "" : it went well */
};

static pthread_mutex_t sources_lock = PTHREAD_MUTEX_INITIALIZER;
static struct jwks_source *sources;

static struct jwks_source *source_new(str url, struct err *e)
{
    struct jwks_source *s = calloc(1, sizeof *s);
    if (!s || !(s->url = strndup(url.ptr, url.len))) {
        free(s);
        err_set(e, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    bool ok = url_parse(str_of(s->url), &s->at);
    if (!ok)
        err_set(e, "\"" STR_FMT "\" is no http or https address", STR_ARG(str_upto(url, 200)));
    if (ok && s->at.is_https) {
        s->origin.tls = tls_client_context(&(struct tls_paths){ 0 }, e);
        ok = s->origin.tls != NULL;
    }
    if (!ok) {
        free(s->url);
        free(s);
        return NULL;
    }
    s->origin.host = s->at.at.host;
    s->origin.port = s->at.at.port;
    s->origin.key = origin_key(s->origin.host, s->origin.port, s->at.is_https ? S("jwks") : S(""));
    return s;
}

struct jwks_source *jwks_source_get(str url, struct err *e)
{
    pthread_mutex_lock(&sources_lock);
    struct jwks_source *s = sources;
    while (s && !str_eq(str_of(s->url), url))
        s = s->next;
    if (!s && (s = source_new(url, e)) != NULL) {
        s->next = sources;
        sources = s;
    }
    pthread_mutex_unlock(&sources_lock);
    return s;
}

/* ---- fetching ---- */

static WAITS struct jwks *fetch(const struct jwks_source *s, struct loop *l, struct err *e)
{
    const char *why = NULL, *detail = NULL;
    struct upstream *u;
    struct jwks *set = NULL;
    struct http_head head;
    str body;
    uint64_t deadline = clock_now() + JWKS_TIMEOUT_S * NS_PER_S;
    struct arena *a = arena_new();
    if (!a)
        return NULL;
    str text = arena_printf(a, "GET " STR_FMT " HTTP/1.1\r\nhost: " STR_FMT ":%u\r\nuser-agent: signalbox\r\n"
                               "accept: application/json\r\nconnection: close\r\n\r\n",
                            STR_ARG(s->at.path.len ? s->at.path : S("/")), STR_ARG(s->origin.host), s->origin.port);
    if (client_get(l, &s->origin, true, deadline, &u, &why, &detail) < 0) {
        err_set(e, "no connection (%s%s%s)", why ? why : "?", detail ? ": " : "", detail ? detail : "");
    } else {
        if (conn_write(&u->conn, text, deadline) < 0 || h1_read_head(&u->in, a, HEAD_MAX, &head, deadline, false) != 1)
            err_set(e, "no answer");
        else if (head.status != 200)
            err_set(e, "status %d", head.status);
        else if (h1_read_body(&u->in, a, &head, JWKS_BYTES_MAX, &body, deadline) < 0)
            err_set(e, "the answer broke off or is too large");
        else
            set = jwks_parse(body, e);
        client_drop(u);
    }
    arena_free(a);
    return set;
}

struct job { struct jwks_source *source; struct loop *loop; };

static void fetch_fiber(void *arg)
{
    struct job *j = arg;
    struct jwks_source *s = j->source;
    struct err e = { 0 };
    struct jwks *set = fetch(s, j->loop, &e);
    pthread_mutex_lock(&s->lock);
    struct jwks *old = set ? s->set : NULL;
    if (set) {
        s->set = set;
        s->fetched_at = clock_now();
        s->generation++;
    }
    snprintf(s->trouble, sizeof s->trouble, "%.*s", (int)sizeof s->trouble - 1, e.text);
    s->is_fetching = false;
    pthread_mutex_unlock(&s->lock);
    jwks_drop(old);
    free(j);
}

/* s->lock held. */
static void fetch_start(struct jwks_source *s, struct loop *l)
{
    uint64_t now = clock_now();
    if (!l || s->is_fetching || (s->tried_at && now - s->tried_at < JWKS_AGAIN_S * NS_PER_S))
        return;
    struct job *j = malloc(sizeof *j);
    if (!j)
        return;
    *j = (struct job){ s, l };
    s->is_fetching = true;
    s->tried_at = now;
    if (!fiber_go(l, "jwks", fetch_fiber, j)) {
        s->is_fetching = false;
        free(j);
    }
}

struct jwks *jwks_present(struct jwks_source *s, struct loop *l, uint64_t refresh_ns)
{
    pthread_mutex_lock(&s->lock);
    if (s->set && clock_now() - s->fetched_at > refresh_ns)
        fetch_start(s, l);
    struct jwks *set = jwks_hold(s->set);
    pthread_mutex_unlock(&s->lock);
    return set;
}

WAITS bool jwks_renew(struct jwks_source *s, struct loop *l, uint64_t deadline)
{
    pthread_mutex_lock(&s->lock);
    uint64_t before = s->generation, now = before;
    fetch_start(s, l);
    bool waits = s->is_fetching;
    pthread_mutex_unlock(&s->lock);
    uint64_t until = clock_now() + JWKS_WAIT_MS * NS_PER_MS;
    until = deadline < until ? deadline : until;
    while (waits && now == before && clock_now() < until) {     /* the fetch may be another loop's: look, do not be woken */
        if (fiber_sleep(clock_now() + LOOK_MS * NS_PER_MS) < 0)
            break;
        pthread_mutex_lock(&s->lock);
        now = s->generation;
        waits = s->is_fetching;
        pthread_mutex_unlock(&s->lock);
    }
    return now != before;
}

str jwks_trouble(struct jwks_source *s, struct arena *a)
{
    pthread_mutex_lock(&s->lock);
    str text = arena_str(a, str_of(s->trouble));
    pthread_mutex_unlock(&s->lock);
    return text;
}
