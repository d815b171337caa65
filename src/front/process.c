/* front/process.c */
#include "front/process.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/version.h"
#include "front/default.h"
#include "front/gateway.h"
#include "net/client.h"
#include "net/dns.h"
#include "neural/service.h"
#include "observe/access.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "observe/trace.h"
#include "pipeline/health.h"
#include "pipeline/budget.h"
#include "pipeline/judge.h"
#include "pipeline/learning_request.h"
#include "pipeline/snap.h"
#include "runtime/offload.h"

enum {
    CONFIG_BYTES_MAX = 16 << 20,
    HEADS_LOOK_MS = 2000, DEBOUNCE_MS = 250,              /* editors write in several steps */
    LISTEN_MAX = 32,
    DRAIN_POLL_MS = 20,
};

static struct process_options options;
static char config_path[4096];      /* "": embedded default */
static struct loop *loops[LOOPS_MAX];
static pthread_t threads[LOOPS_MAX];
static unsigned n_loops;
static pthread_mutex_t reload_lock = PTHREAD_MUTEX_INITIALIZER;

/* A listening address of the process: one socket per loop, SO_REUSEPORT. */
struct address {
    char host[256]; uint16_t port;
    bool is_wanted;                 /* by the configuration that is being applied */
    struct listener *listeners[LOOPS_MAX];
};
static struct address addresses[LISTEN_MAX];
static unsigned n_addresses;

const char *process_config_path(void)
{
    return config_path[0] ? config_path : NULL;
}

/* ---- reading configurations ---- */

static int config_read(struct buf *text, struct err *e)
{
    struct err why = { 0 };
    if (!config_path[0])
        default_config_write(text);
    else if (file_read(config_path, CONFIG_BYTES_MAX, text, &why) < 0)
        return err_set(e, "cannot read %s", why.text);
    return 0;
}

static void findings_print(const struct findings *f, enum severity from)
{
    static const char *const names[] = { "info", "warning", "error" };
    for (size_t i = 0; i < f->n; i++) {
        const struct finding *one = &f->items[i];
        if (one->severity < from)
            continue;
        if (one->at.line)
            fprintf(stderr, "%s:%u:%u: ", one->at.file ? one->at.file : "config", one->at.line, one->at.col);
        fprintf(stderr, "%s[%s]: " STR_FMT "\n", names[one->severity], one->name, STR_ARG(one->text));
        if (one->hint.len)
            fprintf(stderr, "  hint: " STR_FMT "\n", STR_ARG(one->hint));
    }
}

/* ---- what a new configuration changes outside requests ---- */

static void observe_apply(const struct config *c)
{
    const struct observability_conf *o = &c->observability;
    struct err e = { 0 };
    struct access_conf access = { .sink = o->access_log, .capture = o->access_log_capture };
    if (access_open(&access, &e) < 0)
        log_error("access_log", "%s; the log stays where it is", e.text);
    /* VSR traces by default, to a collector of its own container set-up. That name says nobody has chosen one. */
    bool is_asked = !str_eq(o->trace_endpoint, S("vllm-sr-jaeger:4317"));
    struct trace_conf trace = {
        .is_enabled = is_asked && o->tracing_enabled && o->trace_endpoint.len, .endpoint = o->trace_endpoint, .is_secure = false,
        .service_name = o->service_name, .service_version = S(SIGNALBOX_VERSION), .environment = o->environment,
        .rate = o->trace_rate,
    };
    trace_sampling_parse(o->trace_sampling, &trace.sampling);
    e = (struct err){ 0 };
    if (trace_open(&trace, &e) < 0)
        log_error("tracing", "%s", e.text);
    struct server_limits limits = { c->limits.connections, c->limits.idle_client_ns };
    server_limits_set(&limits);
}

static struct ssl_ctx_st *listener_tls(const struct listener_conf *l, struct findings *out, bool *ok)
{
    if (!l->tls.certificate.len)
        return NULL;
    struct tls_paths files = { l->tls.certificate, l->tls.key, l->tls.ca, l->tls.require_client_certificate, false };
    struct err e = { 0 };
    struct ssl_ctx_st *ctx = tls_server_context(&files, &e);
    if (!ctx) {
        *ok = false;
        finding_add(out, "tls", SEVERITY_ERROR, l->tls.at, S("listeners[].tls"), S("check the files that `tls` names"), "%s", e.text);
    }
    return ctx;
}

/* What a loop shall do with one address; posts arrive in the order they were made. */
enum listen_verb { LISTEN_OPEN, LISTEN_UPDATE, LISTEN_CLOSE };
struct listen_job {
    enum listen_verb verb;
    struct loop *loop;
    struct address *at;
    int fd;
    struct ssl_ctx_st *tls;
    struct key_list *keys;
    uint64_t timeout_ns;
};

static void listen_on_loop(void *arg)
{
    struct listen_job *j = arg;
    struct listener **slot = &j->at->listeners[loop_index(j->loop)];
    if (j->verb == LISTEN_OPEN)
        *slot = server_listen(j->loop, j->fd, NULL, 0, gateway_serve);
    if (j->verb == LISTEN_CLOSE && *slot) {
        server_unlisten(*slot);
        *slot = NULL;
    } else if (*slot) {
        server_tls_set(*slot, j->tls);
        server_keys_set(*slot, j->keys);
        (*slot)->timeout_ns = j->timeout_ns;
    }
    free(j);
}

static struct key_list *keys_copy(const struct strings *keys)
{
    size_t bytes = sizeof(struct key_list) + keys->n * sizeof(str);
    if (keys->n == 0)
        return NULL;
    for (size_t i = 0; i < keys->n; i++)
        bytes += keys->items[i].len;
    struct key_list *k = malloc(bytes);
    if (!k)
        abort();                                /* better no gateway than one without its keys */
    k->n = keys->n;
    k->items = (str *)(void *)(k + 1);
    char *to = (char *)(k->items + keys->n);
    for (size_t i = 0; i < keys->n; i++) {
        k->items[i] = (str){ memcpy(to, keys->items[i].ptr, keys->items[i].len), keys->items[i].len };
        to += keys->items[i].len;
    }
    return k;
}

static void listen_post(enum listen_verb verb, struct address *at, unsigned i, int fd, struct ssl_ctx_st *tls,
                        const struct listener_conf *conf)
{
    struct listen_job *j = malloc(sizeof *j);
    if (!j)
        abort();
    *j = (struct listen_job){ verb, loops[i], at, fd, tls_context_ref(tls), conf ? keys_copy(&conf->api_keys) : NULL,
                              conf ? conf->timeout_ns : 0 };
    while (!loop_post(loops[i], listen_on_loop, j))
        ;
}

/* Everything that can fail is done before anything is changed. */
struct listen_plan {
    struct listener_conf conf;
    struct ssl_ctx_st *tls;
    struct address *at;             /* open already; NULL: fds are new */
    char host[256];
    int fds[LOOPS_MAX]; unsigned n_fds;
};

static struct address *address_find(const char *host, int64_t port)
{
    for (unsigned k = 0; k < n_addresses; k++)
        if (addresses[k].port == port && port && strcmp(addresses[k].host, host) == 0)
            return &addresses[k];
    return NULL;
}

static int plan_one(struct listen_plan *p, const struct listener_conf *l, struct findings *out)
{
    bool ok = true;
    *p = (struct listen_plan){ .conf = *l };
    snprintf(p->host, sizeof p->host, STR_FMT, STR_ARG(l->address));
    p->tls = listener_tls(l, out, &ok);
    p->at = address_find(p->host, l->port);
    uint16_t port = (uint16_t)l->port;
    for (unsigned i = 0; ok && !p->at && i < n_loops; i++) {
        struct err e = { 0 };
        int fd = sock_listen(l->address, port, n_loops > 1, &e);
        ok = fd >= 0;
        if (ok) {
            p->fds[p->n_fds++] = fd;
            port = sock_port(fd);
        } else {
            finding_add(out, "listen", SEVERITY_ERROR, l->at, S("listeners"), S(""), "%s", e.text);
        }
    }
    p->conf.port = port;
    return ok ? 0 : -1;
}

static void plans_drop(struct listen_plan *p, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        tls_context_free(p[k].tls);
        for (unsigned i = 0; i < p[k].n_fds; i++)
            close(p[k].fds[i]);
    }
}

static struct address *address_new(void)
{
    for (unsigned k = 0; k < n_addresses; k++)
        if (addresses[k].port == 0)             /* closed; posts are ordered, so its loops have let go by then */
            return &addresses[k];
    return n_addresses < LISTEN_MAX ? &addresses[n_addresses++] : NULL;
}

static void plan_commit(struct listen_plan *p)
{
    bool is_new = !p->at;
    struct address *at = is_new ? address_new() : p->at;
    if (is_new) {
        memcpy(at->host, p->host, sizeof at->host);
        at->port = (uint16_t)p->conf.port;
        fprintf(stderr, "signalbox: listening on %s://%s:%u\n", p->tls ? "https" : "http", at->host, at->port);
    }
    at->is_wanted = true;
    for (unsigned i = 0; i < n_loops; i++)
        listen_post(is_new ? LISTEN_OPEN : LISTEN_UPDATE, at, i, is_new ? p->fds[i] : -1, p->tls, &p->conf);
    p->n_fds = 0;
    tls_context_free(p->tls);
}

/* Closes the addresses that the new configuration no longer names; connections made through them stay. */
static void addresses_sweep(void)
{
    for (unsigned k = 0; k < n_addresses; k++) {
        struct address *at = &addresses[k];
        if (at->is_wanted || at->port == 0)
            continue;
        for (unsigned i = 0; i < n_loops; i++)
            listen_post(LISTEN_CLOSE, at, i, -1, NULL, NULL);
        fprintf(stderr, "signalbox: no longer listening on %s:%u\n", at->host, at->port);
        at->port = 0;
    }
}

static struct listen_plan plans[LISTEN_MAX];    /* reload_lock */
static unsigned n_plans;

static int listeners_plan(const struct config *c, struct findings *out)
{
    struct listener_conf own;
    const struct listener_conf *list = c->listeners;
    size_t n = c->n_listeners;
    n_plans = 0;
    if (options.listen) {
        struct endpoint at;
        if (!endpoint_parse(str_of(options.listen), 8899, &at)) {
            finding_add(out, "listen", SEVERITY_ERROR, (struct place){ 0 }, S("--listen"), S("write host:port"),
                        "'%s' is not an address", options.listen);
            return -1;
        }
        own = n ? c->listeners[0] : (struct listener_conf){ .name = S("http") };
        own.address = at.host;
        own.port = at.port;
        list = &own;
        n = 1;
    }
    unsigned n_open = 0;
    for (unsigned k = 0; k < n_addresses; k++)
        n_open += addresses[k].port != 0;
    int rc = 0;
    if (n + n_open > LISTEN_MAX) {
        finding_add(out, "listen", SEVERITY_ERROR, (struct place){ 0 }, S("listeners"), S(""),
                    "more than %d addresses, counting those of the configuration in use", LISTEN_MAX);
        return -1;
    }
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = plan_one(&plans[n_plans++], &list[i], out);
    if (rc < 0)
        plans_drop(plans, n_plans);
    return rc;
}

static void listeners_commit(void)
{
    for (unsigned k = 0; k < n_addresses; k++)
        addresses[k].is_wanted = false;
    for (unsigned k = 0; k < n_plans; k++)
        plan_commit(&plans[k]);
    addresses_sweep();
}

static void health_on_loop(void *arg)
{
    health_start(arg);
}

int process_reload(str text, const char *source, struct findings *out)
{
    pthread_mutex_lock(&reload_lock);
    uint64_t from = clock_now();
    struct snap *s = snap_build(text, source, options.strict, out);
    int rc = s ? listeners_plan(s->config, out) : -1;
    if (rc == 0) {
        listeners_commit();
        observe_apply(s->config);
        learning_start(s);
        snap_publish(s);
        loop_post(loops[0], health_on_loop, loops[0]);
    } else if (s) {
        snap_free(s);
    }
    str result = rc == 0 ? S("success") : S("refused");
    metric_add(metric_cell(METRIC_CONFIG_RELOADS, &result), 1);
    if (rc == 0)
        log_info("config_loaded", "%s: configuration in use after %.1f ms; %zu warnings (see `signalbox check`)", source,
                 (double)(clock_now() - from) / 1e6, out->n_by_severity[SEVERITY_WARNING]);
    else
        log_error("config_refused", "%s: %zu errors; the configuration in use stays", source, out->n_by_severity[SEVERITY_ERROR]);
    pthread_mutex_unlock(&reload_lock);
    return rc;
}

static int reload_from_file(enum severity show)
{
    struct buf text = { 0 };
    struct err e = { 0 };
    struct findings found = { .a = arena_new() };
    int rc = config_read(&text, &e);
    if (rc < 0)
        log_error("config_refused", "%s; the configuration in use stays", e.text);
    else
        rc = process_reload(buf_view(&text), config_path[0] ? config_path : "(embedded)", &found);
    findings_print(&found, show);
    buf_free(&text);
    arena_free(found.a);
    return rc;
}

/* ---- threads ---- */

static void *loop_thread(void *arg)
{
    struct loop *l = arg;
    metrics_thread(loop_index(l));
    loop_run(l);
    return NULL;
}

static unsigned loops_wanted(int64_t configured)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t n = configured > 0 ? configured : cores / 2;
    return n < 1 ? 1 : n > LOOPS_MAX - 1 ? LOOPS_MAX - 1 : (unsigned)n;
}

static int loops_start(int64_t configured)
{
    n_loops = loops_wanted(configured);
    for (unsigned i = 0; i < n_loops; i++) {
        loops[i] = loop_new(i);
        if (!loops[i]) {
            fprintf(stderr, "signalbox: cannot make an event loop: %s\n", strerror(errno));
            return -1;
        }
        snap_register_loop(loops[i]);
    }
    return 0;
}

/* ---- the watch over the configuration file ---- */

static int watch_open(void)
{
    if (!config_path[0])
        return -1;
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", config_path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *(slash == folder ? slash + 1 : slash) = 0;
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd >= 0 && inotify_add_watch(fd, slash ? folder : ".", IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Did something happen to our file, or to Kubernetes' ..data link beside it? */
static bool watch_hit(int fd)
{
    char buf[8192] __attribute__((aligned(8)));
    const char *base = strrchr(config_path, '/') ? strrchr(config_path, '/') + 1 : config_path;
    bool hit = false;
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0) {
        for (char *p = buf; p < buf + n; ) {
            struct inotify_event *e = (struct inotify_event *)(void *)p;
            if (e->len && (strcmp(e->name, base) == 0 || strncmp(e->name, "..data", 6) == 0))
                hit = true;
            p += sizeof *e + e->len;
        }
    }
    return hit;
}

/* ---- the end ---- */

static void drain_on_loop(void *arg)
{
    server_stop_accepting(arg);
    server_drain(arg);
}

static void close_on_loop(void *arg)
{
    client_close_idle(arg);
    dns_close(arg);
}

static void count_on_loop(void *arg)
{
    atomic_int *count = arg;
    server_drain(loop_self());                  /* those that became idle meanwhile */
    atomic_fetch_add(count, (int)server_clients(loop_self()) + 1000000);
}

static int clients_now(void)
{
    atomic_int count = 0;
    for (unsigned i = 0; i < n_loops; i++)
        loop_post(loops[i], count_on_loop, &count);
    while (atomic_load(&count) < (int)n_loops * 1000000)
        usleep(1000);
    return atomic_load(&count) - (int)n_loops * 1000000;
}

/* Returns the number of connections that are still busy when it gives up. */
static int drain(int signals, uint64_t limit_ns)
{
    uint64_t until = clock_now() + limit_ns;
    for (unsigned i = 0; i < n_loops; i++)
        loop_post(loops[i], drain_on_loop, loops[i]);
    int left;
    while ((left = clients_now()) > 0 && clock_now() < until) {
        struct pollfd p = { signals, POLLIN, 0 };
        if (poll(&p, 1, DRAIN_POLL_MS) > 0) {
            fprintf(stderr, "signalbox: second signal, not waiting for %d connections\n", left);
            return left;
        }
    }
    if (left > 0)
        log_warn("drain", "%d connections were still busy after the drain time", left);
    return left;
}

/* Heads that were replaced on disk are read again; a bad one changes nothing and is told. */
static void heads_look(void)
{
    snap_lock();
    models_reload_heads(snap_present()->signal_models);
    snap_unlock();
}

static void run(int signals)
{
    int watch = watch_open();
    uint64_t reload_at = 0;
    for (;;) {
        struct pollfd p[2] = { { signals, POLLIN, 0 }, { watch, POLLIN, 0 } };
        int wait = HEADS_LOOK_MS;
        if (reload_at) {
            uint64_t now = clock_now();
            wait = now >= reload_at ? 0 : (int)((reload_at - now) / NS_PER_MS + 1);
        }
        if (poll(p, watch >= 0 ? 2 : 1, wait) == 0 && !reload_at)
            heads_look();
        if (reload_at && clock_now() >= reload_at) {
            reload_at = 0;
            reload_from_file(SEVERITY_ERROR);
        }
        if (watch >= 0 && (p[1].revents & POLLIN) && watch_hit(watch))
            reload_at = clock_now() + DEBOUNCE_MS * NS_PER_MS;
        struct signalfd_siginfo s;
        if (!(p[0].revents & POLLIN) || read(signals, &s, sizeof s) != sizeof s)
            continue;
        if (s.ssi_signo == SIGHUP)
            reload_from_file(SEVERITY_ERROR);
        else if (s.ssi_signo == SIGUSR1)
            access_reopen();
        else
            break;
    }
    if (watch >= 0)
        close(watch);
}

static int signals_block(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void files_raise(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

/* A streamed request takes two descriptors: its client's and its provider's. */
static void files_check(int64_t connections)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < 2 * (uint64_t)connections)
        log_info("open_files", "this process may open %llu files: at most %llu requests at once, though limits.connections is "
                 "%lld; raise it with `ulimit -n` or LimitNOFILE", (unsigned long long)r.rlim_cur,
                 (unsigned long long)r.rlim_cur / 2, (long long)connections);
}

static void config_choose(void)
{
    struct stat st;
    const char *path = options.config;
    if (!path && stat("signalbox.yaml", &st) == 0)
        path = "signalbox.yaml";
    if (path)
        snprintf(config_path, sizeof config_path, "%s", path);
}

/* The number of loops is asked for before the snapshot exists: its listeners need them. */
static int64_t loops_configured(str text)
{
    struct arena *a = arena_new();
    struct value *v = yaml_parse(a, text, "config", NULL), *n = v ? value_path(v, "global.limits.loops") : NULL;
    int64_t loops_n = 0;
    if (n && n->kind == VALUE_SCALAR)
        str_int(n->text, &loops_n);
    arena_free(a);
    return loops_n;
}

/* glibc takes blocks below a threshold from heaps that it seldom gives back, and raises the threshold to the size of any large block that is
 * freed. One body of megabytes or one replaced head, and from then on all such blocks lie among small ones that stay, and leave holes. A
 * threshold that is set stays; what is larger goes back when it is freed. Under reloads and load it spares 7 MB of 163 in a minute. */
enum { LARGE_BLOCK_BYTES = 256 << 10 };

int process_run(const struct process_options *o)
{
    options = *o;
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
    int signals = signals_block();
    files_raise();
    config_choose();
    struct buf text = { 0 };
    struct err e = { 0 };
    if (config_read(&text, &e) < 0) {
        fprintf(stderr, "signalbox: %s\n", e.text);
        return 2;
    }
    if (loops_start(loops_configured(buf_view(&text))) < 0)
        return 2;
    struct findings found = { .a = arena_new() };
    int rc = process_reload(buf_view(&text), config_path[0] ? config_path : "(embedded)", &found);
    findings_print(&found, rc < 0 ? SEVERITY_WARNING : SEVERITY_ERROR);
    buf_free(&text);
    snap_lock();
    if (rc == 0 && books_open(snap_present()->config, &e) < 0) {
        fprintf(stderr, "signalbox: %s\n", e.text);
        rc = -2;
    }
    snap_unlock();
    if (rc == 0 && admin_start(loops[0], options.admin, &e) < 0) {
        fprintf(stderr, "signalbox: %s\n", e.text);
        rc = -2;
    }
    bool listen_failed = false;
    for (size_t i = 0; i < found.n; i++)
        listen_failed |= strcmp(found.items[i].name, "listen") == 0;
    arena_free(found.a);
    if (rc < 0)
        return rc == -2 || listen_failed ? 2 : 1;
    metric_set(metric_cell(METRIC_BUILD_INFO, (str[]){ S(SIGNALBOX_VERSION), S(__VERSION__) }), 1);
    for (unsigned i = 0; i < n_loops; i++)
        pthread_create(&threads[i], NULL, loop_thread, loops[i]);
    snap_lock();
    files_check(snap_present()->config->limits.connections);
    snap_unlock();
    run(signals);
    snap_lock();
    uint64_t limit = snap_present()->config->limits.drain_ns;
    snap_unlock();
    int busy = drain(signals, limit ? limit : 30 * NS_PER_S);
    for (unsigned i = 0; i < n_loops; i++) {
        loop_post(loops[i], close_on_loop, loops[i]);
        loop_stop(loops[i]);
    }
    for (unsigned i = 0; i < n_loops; i++)
        pthread_join(threads[i], NULL);
    neural_stop();
    offload_stop();
    books_close();
    trace_close();
    access_close();
    close(signals);
    if (busy > 0 || judge_is_at_work())
        _exit(0);                               /* fibers are parked in the middle of requests: nothing to tidy up */
    return 0;
}
