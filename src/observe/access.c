/* observe/access.c -- from a record to a line, from a line to the disk.
 *
 * The first half formats: one table says what a line holds, one loop writes it straight into room
 * that was reserved for the worst case, so nothing is checked on the way. The second half carries:
 * each loop fills a buffer under its own lock, the writer swaps it for an empty one and does all
 * I/O outside. Buffers keep their size, so in steady state nobody calls malloc. */
#include "observe/access.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "runtime/loop.h"

/* ---- the line ---- */

enum field_kind { TIME, TEXT, WHOLE, SHARE, MONEY, MILLIS, FLAG, FLAG_IF_SET };

struct line_field { str key; enum field_kind kind; size_t offset; };

#define FIELD(name, kind, member) \
    { { ",\"" name "\":", sizeof name + 3 }, kind, offsetof(struct access_record, member) }

static const struct line_field line_fields[] = {
    FIELD("ts", TIME, ts),
    FIELD("request_id", TEXT, request_id),
    FIELD("trace_id", TEXT, trace_id),
    FIELD("client", TEXT, client),
    FIELD("user", TEXT, user),
    FIELD("session_id", TEXT, session_id),
    FIELD("method", TEXT, method),
    FIELD("path", TEXT, path),
    FIELD("dialect", TEXT, dialect),
    FIELD("status", WHOLE, status),
    FIELD("error", TEXT, error),
    FIELD("error_reason", TEXT, error_reason),
    FIELD("stream", FLAG, is_stream),
    FIELD("cancelled", FLAG_IF_SET, is_cancelled),
    FIELD("cache_hit", FLAG_IF_SET, is_cache_hit),
    FIELD("bytes_in", WHOLE, bytes_in),
    FIELD("bytes_out", WHOLE, bytes_out),
    FIELD("model_requested", TEXT, model_requested),
    FIELD("model", TEXT, model),
    FIELD("recipe", TEXT, recipe),
    FIELD("decision", TEXT, decision),
    FIELD("algorithm", TEXT, algorithm),
    FIELD("reason", TEXT, reason),
    FIELD("confidence", SHARE, confidence),
    FIELD("propensity", SHARE, propensity),
    FIELD("provider", TEXT, provider),
    FIELD("backend", TEXT, backend),
    FIELD("attempts", WHOLE, attempts),
    FIELD("finish_reason", TEXT, finish_reason),
    FIELD("upstream_request_id", TEXT, upstream_request_id),
    FIELD("prompt_tokens", WHOLE, prompt_tokens),
    FIELD("completion_tokens", WHOLE, completion_tokens),
    FIELD("cached_tokens", WHOLE, cached_tokens),
    FIELD("reasoning_tokens", WHOLE, reasoning_tokens),
    FIELD("cost", MONEY, cost),
    FIELD("currency", TEXT, currency),
    FIELD("ttft_ms", MILLIS, ttft_ns),
    FIELD("duration_ms", MILLIS, duration_ns),
    FIELD("units_run", WHOLE, units_run),
    FIELD("units_avoided", WHOLE, units_avoided),
};

enum {
    FIXED_BYTES = 48,               /* a number, a time or a flag with the key before it */
    PHASES_MAX = 16,                /* beyond: left out */
    HEADERS_BYTES_MAX = 16 * 1024,  /* of captured headers; beyond: left out */
};

static char *put(char *p, str s)
{
    memcpy(p, s.ptr, s.len);
    return p + s.len;
}

static char *put_u64(char *p, uint64_t v)
{
    char text[20];
    size_t n = 0;
    do
        text[sizeof text - ++n] = (char)('0' + v % 10);
    while (v /= 10);
    memcpy(p, text + sizeof text - n, n);
    return p + n;
}

/* v / 10^decimals, without trailing zeros */
static char *put_decimal(char *p, uint64_t v, unsigned decimals)
{
    static const uint64_t powers[] = {
        1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000,
    };
    p = put_u64(p, v / powers[decimals]);
    uint64_t rest = v % powers[decimals];
    if (rest == 0)
        return p;
    *p++ = '.';
    for (unsigned i = decimals; i-- > 0 && rest; rest %= powers[i])
        *p++ = (char)('0' + rest / powers[i]);
    return p;
}

static char *put_double(char *p, double v, unsigned decimals)
{
    static const double powers[] = { 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9 };
    if (fabs(v) > 1e9)              /* not a share, not money: a bug upstream, but still a number */
        return p + snprintf(p, 26, "%.17g", v);
    uint64_t scaled = (uint64_t)(fabs(v) * powers[decimals] + 0.5);
    if (v < 0 && scaled)
        *p++ = '-';
    return put_decimal(p, scaled, decimals);
}

/* True if none of the eight bytes needs an escape: no control, quote, backslash, nor byte above
 * 0x7f. */
static bool are_plain(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
    return ((w | (w - ones * 0x20) | (quote - ones) | (slash - ones)) & tops) == 0;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* A JSON string. Most are plain ASCII and go eight bytes at a time; the others take json_quote,
 * into room of six times their length, so that its buffer never grows. */
static char *put_quoted(char *p, str s)
{
    char *to = p;
    size_t i = 0;
    *to++ = '"';
    for (uint64_t w; i + 8 <= s.len; i += 8, to += 8) {
        memcpy(&w, s.ptr + i, 8);
        if (!are_plain(w))
            goto escape;
        memcpy(to, &w, 8);
    }
    for (; i < s.len; i++) {
        if (!is_plain((unsigned char)s.ptr[i]))
            goto escape;
        *to++ = s.ptr[i];
    }
    *to++ = '"';
    return to;
escape:;
    struct buf quoted = { 0 };                  /* of its own: json_quote wants more room than its result takes */
    json_quote(&quoted, s);
    size_t n = quoted.is_failed ? 0 : quoted.len;
    if (n)
        memcpy(p, quoted.ptr, n);
    else
        memcpy(p, "\"\"", n = 2);
    buf_free(&quoted);
    return p + n;
}

static str text_cut(str s)          /* not in the middle of a UTF-8 sequence */
{
    if (s.len <= ACCESS_TEXT_MAX)
        return s;
    size_t n = ACCESS_TEXT_MAX;
    while (n > ACCESS_TEXT_MAX - 4 && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)
        n--;
    return (str){ s.ptr, n };
}

static const void *member(const struct access_record *r, const struct line_field *f)
{
    return (const char *)r + f->offset;
}

static char *put_field(char *p, const struct line_field *f, const struct access_record *r)
{
    const void *m = member(r, f);
    switch (f->kind) {
    case TEXT: {
        const str *s = m;
        return s->len ? put_quoted(put(p, f->key), text_cut(*s)) : p;
    }
    case WHOLE: {
        int64_t v = *(const int64_t *)m;
        return v >= 0 ? put_u64(put(p, f->key), (uint64_t)v) : p;
    }
    case MILLIS: {                  /* to the microsecond */
        int64_t v = *(const int64_t *)m;
        return v >= 0 ? put_decimal(put(p, f->key), ((uint64_t)v + 500) / 1000, 3) : p;
    }
    case SHARE: {
        double v = *(const double *)m;
        return isfinite(v) ? put_double(put(p, f->key), v, 6) : p;
    }
    case MONEY: {
        double v = *(const double *)m;
        return isfinite(v) ? put_double(put(p, f->key), v, 9) : p;
    }
    case FLAG:
        return put(put(p, f->key), *(const bool *)m ? S("true") : S("false"));
    case FLAG_IF_SET:
        return *(const bool *)m ? put(put(p, f->key), S("true")) : p;
    case TIME: {
        char when[32];
        size_t n = clock_iso(*(const uint64_t *)m, when);
        p = put(p, f->key);
        *p++ = '"';
        p = put(p, (str){ when, n });
        *p++ = '"';
        return p;
    }
    }
    return p;
}

static char *put_phases(char *p, const struct access_record *r)
{
    size_t n = r->n_phases < PHASES_MAX ? r->n_phases : PHASES_MAX;
    if (n == 0)
        return p;
    p = put(p, S(",\"phases_ms\":{"));
    for (size_t i = 0; i < n; i++) {
        if (i)
            *p++ = ',';
        p = put_quoted(p, text_cut(str_of(r->phases[i].name)));
        *p++ = ':';
        p = put_decimal(p, (r->phases[i].ns + 500) / 1000, 3);
    }
    *p++ = '}';
    return p;
}

static char *put_signals(char *p, const struct access_record *r)
{
    size_t n = r->n_signals < ACCESS_LIST_MAX ? r->n_signals : ACCESS_LIST_MAX;
    if (n == 0)
        return p;
    p = put(p, S(",\"signals\":["));
    for (size_t i = 0; i < n; i++) {
        if (i)
            *p++ = ',';
        p = put_quoted(p, text_cut(r->signals[i]));
    }
    *p++ = ']';
    return p;
}

/* ---- capture ---- */

static bool is_secret(str header)
{
    static const char *const words[] = {
        "authorization", "cookie", "api-key", "apikey", "token", "secret", "password", "credential",
        "signature",
    };
    for (size_t w = 0; w < COUNT_OF(words); w++) {
        str word = str_of(words[w]);
        for (size_t i = 0; i + word.len <= header.len; i++)
            if (str_ieq((str){ header.ptr + i, word.len }, word))
                return true;
    }
    return false;
}

static char *put_headers(char *p, const struct access_record *r)
{
    size_t bytes = 0;
    p = put(p, S(",\"headers\":["));
    for (size_t i = 0; i < r->n_headers; i++) {
        str name = text_cut(r->headers[i].name), value = text_cut(r->headers[i].value);
        if ((bytes += name.len + value.len) > HEADERS_BYTES_MAX)
            break;
        p = put(p, i ? S(",[") : S("["));
        p = put_quoted(p, name);
        *p++ = ',';
        p = put_quoted(p, is_secret(name) ? S("***") : value);
        *p++ = ']';
    }
    *p++ = ']';
    return p;
}

static char *put_selection(char *p, const struct access_record *r)
{
    if (r->selection.len == 0 || r->selection.len > ACCESS_SELECTION_MAX)
        return p;
    return put(put(p, S(",\"selection\":")), r->selection);
}

static char *put_body(char *p, const struct access_record *r)
{
    if (r->body.len > ACCESS_CAPTURE_MAX)
        return put_u64(put(p, S(",\"request_omitted_bytes\":")), r->body.len);
    if (!r->body_is_json)
        return put_quoted(put(p, S(",\"request_text\":")), r->body);
    p = put(p, S(",\"request\":"));
    for (size_t i = 0; i < r->body.len; i++) { /* line ends in JSON can only stand between tokens */
        char c = r->body.ptr[i];
        *p++ = c == '\n' || c == '\r' ? ' ' : c;
    }
    return p;
}

/* ---- the whole ---- */

static size_t quoted_bound(str s)
{
    return 6 * (s.len < ACCESS_TEXT_MAX ? s.len : ACCESS_TEXT_MAX) + 8;
}

/* More than access_put can write. */
static size_t line_bound(const struct access_record *r, bool capture)
{
    size_t n = 256;
    for (size_t i = 0; i < COUNT_OF(line_fields); i++) {
        n += FIXED_BYTES;
        if (line_fields[i].kind == TEXT)
            n += quoted_bound(*(const str *)member(r, &line_fields[i]));
    }
    for (size_t i = 0; i < r->n_phases && i < PHASES_MAX; i++)
        n += quoted_bound(str_of(r->phases[i].name)) + FIXED_BYTES;
    for (size_t i = 0; i < r->n_signals && i < ACCESS_LIST_MAX; i++)
        n += quoted_bound(r->signals[i]);
    n += r->selection.len > ACCESS_SELECTION_MAX ? 0 : r->selection.len + 16;
    if (!capture)
        return n;
    for (size_t i = 0; i < r->n_headers; i++)
        n += quoted_bound(r->headers[i].name) + quoted_bound(r->headers[i].value) + 32;
    return n + (r->body.len > ACCESS_CAPTURE_MAX ? 0 : r->body.len * (r->body_is_json ? 1 : 6));
}

static char *access_put(char *p, const struct access_record *r, bool capture)
{
    char *start = p;
    for (size_t i = 0; i < COUNT_OF(line_fields); i++)
        p = put_field(p, &line_fields[i], r);
    p = put_phases(p, r);
    p = put_signals(p, r);
    p = put_selection(p, r);
    if (capture && r->n_headers)
        p = put_headers(p, r);
    if (capture && r->body.len)
        p = put_body(p, r);
    *start = '{';                               /* where the first key's comma stood */
    *p++ = '}';
    return p;
}

void access_format(struct buf *out, const struct access_record *r, bool capture)
{
    if (buf_reserve(out, line_bound(r, capture)))
        out->len = (size_t)(access_put(out->ptr + out->len, r, capture) - out->ptr);
}

/* ---- queues ---- */

enum { QUEUES = 65, TICK_MS = 100, CLOSE_S = 2, COMPLAIN_S = 60 };

struct queue {                      /* of one loop; [0] of all other threads */
    _Alignas(64) pthread_mutex_t lock;
    struct buf lines;               /* guarded by lock */
};

static struct queue queues[QUEUES];
static _Atomic bool is_on, captures, must_reopen;

static struct {
    pthread_mutex_t lock;           /* guards all below; never held during I/O */
    pthread_cond_t wake, done;
    bool is_running, is_stopping;
    uint64_t asked, answered;       /* flushes */
    char path[PATH_MAX];            /* "": the sink has no path */
    int next_fd;                    /* opened by access_open for the writer; -1: none */
    pthread_t thread;
} writer = { .lock = PTHREAD_MUTEX_INITIALIZER, .next_fd = -1 };

static void count_dropped(uint64_t lines)
{
    if (lines)
        metric_add(metric_cell(METRIC_LOG_DROPPED, NULL), lines);
}

static struct queue *queue_mine(void)
{
    struct loop *l = loop_self();
    return &queues[l ? 1 + loop_index(l) % (QUEUES - 1) : 0];
}

bool access_is_on(void)
{
    return atomic_load_explicit(&is_on, memory_order_relaxed);
}

bool access_captures(void)
{
    return access_is_on() && atomic_load_explicit(&captures, memory_order_relaxed);
}

void access_write(const struct access_record *r)
{
    if (!access_is_on())
        return;
    bool capture = atomic_load_explicit(&captures, memory_order_relaxed);
    size_t bound = line_bound(r, capture) + 1;
    struct queue *q = queue_mine();
    bool is_full, is_batch = false;
    pthread_mutex_lock(&q->lock);
    size_t before = q->lines.len;
    is_full = before + bound > ACCESS_QUEUE_MAX || !buf_reserve(&q->lines, bound);
    if (!is_full) {
        char *p = access_put(q->lines.ptr + before, r, capture);
        *p++ = '\n';
        q->lines.len = (size_t)(p - q->lines.ptr);
        is_batch = before < ACCESS_BATCH && q->lines.len >= ACCESS_BATCH;
    }
    q->lines.is_failed = false;                 /* no memory now need not mean none later */
    pthread_mutex_unlock(&q->lock);
    if (is_full)
        count_dropped(1);
    if (is_batch)
        pthread_cond_signal(&writer.wake);      /* lost while the writer works: it comes back */
}

/* ---- the writer's side: the file ---- */

struct sink {                       /* writer thread only */
    int fd;
    bool is_regular;
    struct buf torn;                /* the rest of a line whose beginning is in the file already */
    uint64_t dropped, complained_at;
    uint64_t give_up;               /* monotonic ns; NEVER while running */
};

static uint64_t line_count(str s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.ptr[i] == '\n';
    return n;
}

/* Waits until a pipe or terminal takes a piece. Gives up only when the process is about to end:
 * until then the queues are the bound. */
static bool sink_is_ready(struct sink *k)
{
    for (;;) {
        struct pollfd p = { .fd = k->fd, .events = POLLOUT };
        int n = poll(&p, 1, TICK_MS);
        if (n > 0)
            return true;
        pthread_mutex_lock(&writer.lock);
        bool is_stopping = writer.is_stopping || writer.next_fd >= 0;
        pthread_mutex_unlock(&writer.lock);
        if (is_stopping && k->give_up == NEVER)
            k->give_up = clock_now() + CLOSE_S * NS_PER_S / 2;
        if (clock_now() >= k->give_up) {
            errno = ETIMEDOUT;
            return false;
        }
    }
}

/* Returns the bytes written; fewer than asked: errno says why. */
static size_t sink_write(struct sink *k, str s)
{
    size_t done = 0;
    while (done < s.len) {
        size_t n = s.len - done;
        if (!k->is_regular) {
            if (!sink_is_ready(k))
                break;
            n = n < PIPE_BUF ? n : PIPE_BUF;    /* poll promises room for that much */
        }
        ssize_t put_now = write(k->fd, s.ptr + done, n);
        if (put_now < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (put_now <= 0)
            break;
        done += (size_t)put_now;
    }
    return done;
}

static void sink_complain(struct sink *k, int error)
{
    uint64_t now = clock_now();
    if (k->complained_at && now - k->complained_at < COMPLAIN_S * NS_PER_S)
        return;
    k->complained_at = now;
    log_error("access_log_write_failed",
              "access log: %s; %llu lines dropped so far, writing is tried again with each batch",
              error == ETIMEDOUT ? "its reader takes nothing" : strerror(error),
              (unsigned long long)k->dropped);
}

static void sink_drop(struct sink *k, uint64_t lines, int error)
{
    k->dropped += lines;
    count_dropped(lines);
    sink_complain(k, error);
}

/* Writes whole lines. When it breaks off inside one, the rest of that line goes first next time. */
static void sink_put(struct sink *k, str lines)
{
    if (k->torn.len) {
        size_t done = sink_write(k, buf_view(&k->torn));
        int error = errno;
        buf_drop(&k->torn, done);
        if (k->torn.len) {
            sink_drop(k, line_count(lines), error);
            return;
        }
    }
    size_t done = sink_write(k, lines);
    if (done == lines.len)
        return;
    int error = errno;
    str rest = str_from(lines, done);
    if (done > 0 && lines.ptr[done - 1] != '\n') {
        size_t n = (size_t)str_chr(rest, '\n') + 1;
        buf_add(&k->torn, rest.ptr, n);
        rest = str_from(rest, n);
    }
    sink_drop(k, line_count(rest), error);
}

static int file_open(const char *path)
{
    /* O_NONBLOCK: a FIFO without a reader is an error now, not a hang. */
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    return fd < 0 ? -errno : fd;
}

static void sink_switch(struct sink *k, int fd)
{
    if (k->torn.len) {                          /* its beginning is in the old file */
        sink_drop(k, 1, ECANCELED);
        k->torn.len = 0;
    }
    if (k->fd > STDERR_FILENO)
        close(k->fd);
    struct stat st;
    k->fd = fd;
    k->is_regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    k->give_up = NEVER;
}

/* A new sink from access_open, or the same path again after a rotation. */
static void sink_follow(struct sink *k)
{
    char path[PATH_MAX];
    pthread_mutex_lock(&writer.lock);
    int fd = writer.next_fd;
    writer.next_fd = -1;
    memcpy(path, writer.path, sizeof path);
    pthread_mutex_unlock(&writer.lock);
    bool reopen = atomic_exchange(&must_reopen, false) && path[0];
    if (fd < 0 && reopen) {
        fd = file_open(path);
        if (fd < 0)
            log_error("access_log_reopen_failed", "access log: cannot open %s again: %s; "
                      "the old file is written on", path, strerror(-fd));
    }
    if (fd >= 0)
        sink_switch(k, fd);
}

/* ---- the writer's side: the thread ---- */

static void carry(struct sink *k, struct buf *spare)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        pthread_mutex_lock(&queues[i].lock);
        struct buf full = queues[i].lines;
        if (full.len) {
            queues[i].lines = *spare;
            *spare = full;
        }
        pthread_mutex_unlock(&queues[i].lock);
        if (full.len) {
            sink_put(k, buf_view(spare));
            spare->len = 0;
        }
    }
}

static bool await_tick(uint64_t *flush)         /* false: the writer shall end */
{
    struct timespec until;
    pthread_mutex_lock(&writer.lock);
    if (writer.asked == writer.answered && !writer.is_stopping) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK_MS * 1000000l;
        until.tv_sec += until.tv_nsec / 1000000000l;
        until.tv_nsec %= 1000000000l;
        pthread_cond_timedwait(&writer.wake, &writer.lock, &until);
    }
    *flush = writer.asked;
    bool goes_on = !writer.is_stopping;
    pthread_mutex_unlock(&writer.lock);
    return goes_on;
}

static void *writer_run(void *arg)
{
    struct sink *k = arg;
    struct buf spare = { 0 };
    bool goes_on = true;
    while (goes_on) {
        uint64_t flush;
        goes_on = await_tick(&flush);           /* once more after the word to stop */
        sink_follow(k);
        carry(k, &spare);
        pthread_mutex_lock(&writer.lock);
        writer.answered = flush;
        pthread_cond_broadcast(&writer.done);
        pthread_mutex_unlock(&writer.lock);
    }
    if (k->fd > STDERR_FILENO)
        close(k->fd);
    buf_free(&spare);
    buf_free(&k->torn);
    free(k);
    return NULL;
}

/* ---- opening and closing ---- */

static void make_once(void)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&writer.wake, &attr);
    pthread_cond_init(&writer.done, &attr);
    for (unsigned i = 0; i < QUEUES; i++)
        pthread_mutex_init(&queues[i].lock, NULL);
}

static int writer_start(int fd)
{
    struct sink *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->fd = -1;
    sink_switch(k, fd);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);     /* EPIPE and EFBIG shall be codes */
    int rc = -pthread_create(&writer.thread, NULL, writer_run, k);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc < 0)
        free(k);
    else
        writer.is_running = true;
    return rc;
}

static int sink_open(str sink, char path[PATH_MAX], struct err *e)
{
    path[0] = 0;
    if (str_eq(sink, S("stdout")) || str_eq(sink, S("stderr")))
        return str_eq(sink, S("stdout")) ? STDOUT_FILENO : STDERR_FILENO;
    if (sink.len >= PATH_MAX || memchr(sink.ptr, 0, sink.len)) {
        err_set(e, "access log: the path is too long or holds a NUL byte");
        return -ENAMETOOLONG;
    }
    memcpy(path, sink.ptr, sink.len);
    path[sink.len] = 0;
    int fd = file_open(path);
    if (fd < 0)
        err_set(e, "access log: cannot open %s: %s", path, strerror(-fd));
    return fd;
}

int access_open(const struct access_conf *conf, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char path[PATH_MAX];
    pthread_once(&once, make_once);
    if (conf->sink.len == 0 || str_eq(conf->sink, S("off"))) {
        atomic_store(&is_on, false);
        return 0;
    }
    int fd = sink_open(conf->sink, path, e), rc = 0;
    if (fd < 0)
        return fd;
    pthread_mutex_lock(&writer.lock);
    if (writer.is_running) {
        if (writer.next_fd > STDERR_FILENO)
            close(writer.next_fd);
        writer.next_fd = fd;
    } else {
        rc = writer_start(fd);
    }
    if (rc == 0)
        memcpy(writer.path, path, sizeof path);
    pthread_mutex_unlock(&writer.lock);
    if (rc < 0) {
        err_set(e, "access log: cannot start the writer: %s", strerror(-rc));
        if (fd > STDERR_FILENO)
            close(fd);
        return rc;
    }
    atomic_store(&captures, conf->capture);
    atomic_store(&is_on, true);
    return 0;
}

void access_reopen(void)
{
    atomic_store(&must_reopen, true);           /* seen within 100 ms */
}

static struct timespec after(uint64_t wait_ns)
{
    uint64_t until = clock_now() + wait_ns;
    return (struct timespec){ (time_t)(until / NS_PER_S), (long)(until % NS_PER_S) };
}

void access_flush(uint64_t wait_ns)
{
    struct timespec until = after(wait_ns);
    pthread_mutex_lock(&writer.lock);
    if (writer.is_running) {
        uint64_t mine = ++writer.asked;
        pthread_cond_signal(&writer.wake);
        while (writer.answered < mine
               && pthread_cond_timedwait(&writer.done, &writer.lock, &until) != ETIMEDOUT)
            ;
    }
    pthread_mutex_unlock(&writer.lock);
}

void access_close(void)
{
    atomic_store(&is_on, false);
    pthread_mutex_lock(&writer.lock);
    bool was_running = writer.is_running;
    writer.is_stopping = true;
    if (was_running)
        pthread_cond_signal(&writer.wake);
    pthread_mutex_unlock(&writer.lock);
    if (was_running) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);  /* the clock of pthread_timedjoin_np */
        until.tv_sec += CLOSE_S;
        if (pthread_timedjoin_np(writer.thread, NULL, &until) != 0) {
            pthread_detach(writer.thread);  /* it hangs in a file system; the process ends anyway */
            return;
        }
    }
    pthread_mutex_lock(&writer.lock);
    writer.is_running = writer.is_stopping = false;
    pthread_mutex_unlock(&writer.lock);
}
