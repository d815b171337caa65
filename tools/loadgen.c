/* tools/loadgen.c -- asks a gateway the same question many times and says how long it took.
 *
 * One thread, one epoll, N keep-alive connections. Closed loop: each connection asks again as soon
 * as it has its answer. Open loop (--rate): questions are due at even distances and their time
 * counts from when they were due, not from when a connection was free, so a gateway that stalls
 * cannot hide the ones it kept waiting. A third way, --hold, opens N streams, says so once each has
 * brought its first event, and keeps them until its stdin ends: for measuring what an idle stream
 * costs in memory.
 *
 * With --body-list every question has a body of its own, one line of a file each, in turn; should the file end it begins
 * anew, and "list_rounds" in the result is more than 1.
 *
 * Every sample is kept and sorted at the end: percentiles are exact. The result is one line of
 * JSON on stdout. "first" is the time to the first byte of the body (of a stream: its first event),
 * "total" the time to the last one. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNS_MAX = 65536,
    HEAD_MAX = 8192,                /* of a response; beyond: an error */
    DUE_MAX = 1 << 20,              /* open loop: questions that wait for a connection; beyond: an error each */
    DIALS_AT_ONCE = 256,            /* --hold opens streams in batches: the accept queue is finite */
    GRACE_S = 5,                    /* for the last answers */
};

enum phase { IDLE, DIALLING, SENDING, HEAD, BODY };
enum framing { BY_LENGTH, BY_CHUNKS, BY_CLOSE };

struct question { char *text; size_t bytes; };

struct conn {
    int fd;
    enum phase phase;
    enum framing framing;
    const struct question *question;
    size_t sent;                    /* of the question */
    size_t head_bytes;
    uint64_t left;                  /* of the body, or of the chunk */
    enum { SIZE, SIZE_REST, DATA, DATA_END, TRAILER } chunk;
    bool is_last_chunk, line_has_bytes;
    bool has_first, is_kept;
    int status;
    uint64_t due;                   /* ns */
    char head[HEAD_MAX];
};

struct samples { float *us; size_t n, cap; };

static struct {
    struct sockaddr_in to;
    const char *host, *path;
    struct question *questions; size_t n_questions;
    unsigned n_conns;
    double rate;                    /* 0: closed loop */
    uint64_t n_max;                 /* 0: by time */
    double seconds, warm_up;
    bool holds;
    int epoll;
    struct conn *conns;
    unsigned *idle; unsigned n_idle;
    uint64_t *queue; size_t queue_from, queue_n;    /* due times, a ring */
    uint64_t begin, measure_from, end;
    uint64_t asked, answered, errors, counted, bytes, n_first;
    int bad_status;
    struct samples first, total;
} g;

static void die(const char *what)
{
    fprintf(stderr, "loadgen: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- samples ---- */

static void sample(struct samples *s, uint64_t ns)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 65536;
        s->us = realloc(s->us, s->cap * sizeof *s->us);
        if (!s->us)
            die("no memory");
    }
    s->us[s->n++] = (float)((double)ns / 1000.0);
}

static int by_size(const void *x, const void *y)
{
    float a = *(const float *)x, b = *(const float *)y;
    return (a > b) - (a < b);
}

static void samples_print(const char *name, struct samples *s)
{
    static const struct { const char *name; double share; } marks[] = {
        { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p999", 0.999 }, { "max", 1 },
    };
    double sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += (double)s->us[i];
    if (s->n)
        qsort(s->us, s->n, sizeof *s->us, by_size);
    printf(",\"%s_us\":{\"mean\":%.1f", name, s->n ? sum / (double)s->n : 0.0);
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        size_t at = (size_t)(marks[i].share * (double)s->n);
        printf(",\"%s\":%.1f", marks[i].name, s->n ? (double)s->us[at < s->n ? at : s->n - 1] : 0.0);
    }
    printf("}");
}

/* ---- a connection ---- */

static void on_ready(struct conn *c);

static void conn_idle(struct conn *c)
{
    c->phase = IDLE;
    g.idle[g.n_idle++] = (unsigned)(c - g.conns);
}

static void conn_end(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    conn_idle(c);
}

static void conn_failed(struct conn *c)
{
    g.errors++;
    conn_end(c);
}

static void conn_ask(struct conn *c, uint64_t due)
{
    c->due = due;
    c->sent = c->head_bytes = 0;
    c->has_first = false;
    c->question = &g.questions[g.asked++ % g.n_questions];
    c->phase = SENDING;
    if (c->fd < 0) {
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c->fd < 0)
            die("socket");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(c->fd, (struct sockaddr *)&g.to, sizeof g.to) < 0 && errno != EINPROGRESS) {
            conn_failed(c);
            return;
        }
        struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
        epoll_ctl(g.epoll, EPOLL_CTL_ADD, c->fd, &ev);
        c->phase = DIALLING;
        return;
    }
    on_ready(c);
}

static void answer_done(struct conn *c)
{
    uint64_t now = now_ns();
    g.answered++;
    if (c->status != 200) {
        g.errors++;
        g.bad_status = c->status;
    } else if (c->due >= g.measure_from) {
        g.counted++;
        sample(&g.total, now - c->due);
    }
    if (c->is_kept && c->framing != BY_CLOSE)
        conn_idle(c);
    else
        conn_end(c);
}

/* ---- reading an answer ---- */

static const char *header(const struct conn *c, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = c->head; (p = strstr(p, "\r\n")) != NULL; ) {
        p += 2;
        if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
            p += n + 1;
            return p + strspn(p, " ");
        }
    }
    return NULL;
}

static bool head_read(struct conn *c)
{
    c->status = c->head_bytes > 12 ? atoi(c->head + 9) : 0;
    const char *length = header(c, "content-length"), *coding = header(c, "transfer-encoding");
    const char *connection = header(c, "connection");
    c->is_kept = !connection || strncasecmp(connection, "close", 5) != 0;
    c->framing = coding ? BY_CHUNKS : length ? BY_LENGTH : BY_CLOSE;
    c->left = length ? strtoull(length, NULL, 10) : 0;
    c->chunk = SIZE;
    c->is_last_chunk = false;
    return c->status > 0;
}

static void first_byte(struct conn *c)
{
    if (c->has_first)
        return;
    c->has_first = true;
    g.n_first++;
    if (c->status == 200 && c->due >= g.measure_from)
        sample(&g.first, now_ns() - c->due);
}

/* Returns true when the last byte of the body is in. */
static bool chunks_read(struct conn *c, const char *p, size_t n)
{
    for (const char *end = p + n; p < end; ) {
        char ch = *p;
        switch (c->chunk) {
        case SIZE:
            if (ch == '\r' || ch == ';') {
                c->chunk = SIZE_REST;
            } else {
                c->left = c->left * 16 + (uint64_t)(ch <= '9' ? ch - '0' : (ch | 32) - 'a' + 10);
                p++;
            }
            break;
        case SIZE_REST:
            p++;
            if (ch == '\n') {
                c->is_last_chunk = c->left == 0;
                c->line_has_bytes = false;
                c->chunk = c->left ? DATA : TRAILER;
            }
            break;
        case DATA: {
            size_t take = (size_t)(end - p) < c->left ? (size_t)(end - p) : (size_t)c->left;
            first_byte(c);
            p += take;
            c->left -= take;
            if (c->left == 0)
                c->chunk = DATA_END;
            break;
        }
        case DATA_END:
            p++;
            if (ch == '\n') {
                c->left = 0;
                c->chunk = SIZE;
            }
            break;
        case TRAILER:
            p++;
            if (ch == '\n' && !c->line_has_bytes)
                return true;
            c->line_has_bytes = ch != '\n' && (ch != '\r' || c->line_has_bytes);
            break;
        }
    }
    return false;
}

static bool body_read(struct conn *c, const char *p, size_t n)
{
    if (c->framing == BY_CHUNKS)
        return chunks_read(c, p, n);
    if (n)
        first_byte(c);
    if (c->framing == BY_CLOSE)
        return false;
    c->left -= n < c->left ? n : c->left;
    return c->left == 0;
}

/* One read; false: nothing more for now. */
static bool conn_read(struct conn *c)
{
    static char scratch[256 * 1024];
    bool in_head = c->phase == HEAD;
    char *to = in_head ? c->head + c->head_bytes : scratch;
    size_t room = in_head ? HEAD_MAX - 1 - c->head_bytes : sizeof scratch;
    if (room == 0) {
        conn_failed(c);
        return false;
    }
    ssize_t got = read(c->fd, to, room);
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0) {
        if (c->phase == IDLE)
            return false;
        if (c->phase == BODY && c->framing == BY_CLOSE && got == 0)
            answer_done(c);
        else
            conn_failed(c);
        return false;
    }
    g.bytes += (uint64_t)got;
    const char *body = scratch;
    size_t n = (size_t)got;
    if (in_head) {
        c->head_bytes += n;
        c->head[c->head_bytes] = 0;
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end)
            return true;
        body = end + 4;
        n = (size_t)(c->head + c->head_bytes - body);
        if (!head_read(c)) {
            conn_failed(c);
            return false;
        }
        c->phase = BODY;
        if (n == 0 && !(c->framing == BY_LENGTH && c->left == 0))
            return (size_t)got == room;
    }
    if (body_read(c, body, n)) {
        answer_done(c);
        return false;
    }
    return (size_t)got == room;                 /* a short read has emptied the socket */
}

static void on_ready(struct conn *c)
{
    if (c->phase == DIALLING)
        c->phase = SENDING;
    if (c->phase == SENDING) {
        ssize_t put = send(c->fd, c->question->text + c->sent, c->question->bytes - c->sent, MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN) {
            conn_failed(c);
            return;
        }
        if (put > 0)
            c->sent += (size_t)put;
        if (c->sent < c->question->bytes)
            return;
        c->phase = HEAD;
        return;                                 /* nothing can be there yet; the edge will tell */
    }
    if (c->phase == IDLE) {                     /* closed by the peer between two questions */
        char byte;
        if (c->fd >= 0 && read(c->fd, &byte, 1) == 0) {
            close(c->fd);
            c->fd = -1;
        }
        return;
    }
    while (conn_read(c))
        ;
}

/* ---- the run ---- */

static bool is_over(void)
{
    return g.n_max ? g.asked >= g.n_max : now_ns() >= g.end;
}

static void closed_loop(void)
{
    while (g.n_idle && !is_over())
        conn_ask(&g.conns[g.idle[--g.n_idle]], now_ns());
}

static void open_loop(void)
{
    static uint64_t made;
    uint64_t now = now_ns();
    double distance = 1e9 / g.rate;
    while ((!g.n_max || made < g.n_max) && g.begin + (uint64_t)((double)made * distance) <= now) {
        uint64_t due = g.begin + (uint64_t)((double)made++ * distance);
        if (!g.n_max && due >= g.end)
            break;
        if (g.queue_n == DUE_MAX)
            g.errors++;
        else
            g.queue[(g.queue_from + g.queue_n++) % DUE_MAX] = due;
    }
    while (g.queue_n && g.n_idle) {
        uint64_t due = g.queue[g.queue_from];
        g.queue_from = (g.queue_from + 1) % DUE_MAX;
        g.queue_n--;
        conn_ask(&g.conns[g.idle[--g.n_idle]], due);
    }
}

static int pace_open(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    long ns = (long)(1e9 / g.rate);
    struct itimerspec every = { { ns / 1000000000, ns % 1000000000 }, { ns / 1000000000, ns % 1000000000 } };
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
    if (fd < 0 || timerfd_settime(fd, 0, &every, NULL) < 0 || epoll_ctl(g.epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("timerfd");
    return fd;
}

static void events_handle(int wait_ms, int pace)
{
    struct epoll_event events[512];
    int n = epoll_wait(g.epoll, events, 512, wait_ms);
    for (int i = 0; i < n; i++) {
        if (!events[i].data.ptr) {
            uint64_t ticks;
            (void)!read(pace, &ticks, sizeof ticks);
        } else {
            on_ready(events[i].data.ptr);
        }
    }
}

static void run(void)
{
    int pace = g.rate > 0 ? pace_open() : -1;
    g.begin = now_ns();
    g.measure_from = g.begin + (uint64_t)(g.warm_up * 1e9);
    g.end = g.measure_from + (uint64_t)(g.seconds * 1e9);
    uint64_t grace = 0;
    for (;;) {
        if (g.rate > 0)
            open_loop();
        else
            closed_loop();
        if (is_over() && g.queue_n == 0) {
            if (g.n_idle == g.n_conns)
                break;
            if (!grace)
                grace = now_ns() + GRACE_S * 1000000000ull;
            else if (now_ns() > grace) {
                g.errors += g.n_conns - g.n_idle;
                break;
            }
        }
        events_handle(100, pace);
    }
}

static void hold(void)
{
    uint64_t until = now_ns() + 120 * 1000000000ull;
    g.measure_from = UINT64_MAX;
    unsigned next = 0;
    while (g.n_first + g.errors < g.n_conns && now_ns() < until) {
        while (next < g.n_conns && next < g.n_first + g.errors + DIALS_AT_ONCE)
            conn_ask(&g.conns[next++], now_ns());
        events_handle(100, -1);
    }
    printf("{\"open\":%llu,\"errors\":%llu}\n", (unsigned long long)g.n_first, (unsigned long long)g.errors);
    fflush(stdout);
    fcntl(0, F_SETFL, O_NONBLOCK);
    char byte;
    ssize_t got;
    while ((got = read(0, &byte, 1)) != 0 && (got > 0 || errno == EAGAIN))
        events_handle(100, -1);
}

/* ---- the command line ---- */

static char *file_read(const char *name, size_t *n)
{
    FILE *f = fopen(name, "rb");
    if (!f)
        die(name);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    char *text = malloc((size_t)size + 1);
    if (!text || fread(text, 1, (size_t)size, f) != (size_t)size)
        die(name);
    fclose(f);
    *n = (size_t)size;
    return text;
}

static struct question question_build(const char *body, size_t n_body, const char *headers)
{
    size_t room = n_body + strlen(headers) + strlen(g.path) + strlen(g.host) + 256;
    struct question q = { .text = malloc(room) };
    if (!q.text)
        die("no memory");
    int n = body ? snprintf(q.text, room, "POST %s HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\n"
                            "content-length: %zu\r\n%s\r\n", g.path, g.host, n_body, headers)
                 : snprintf(q.text, room, "GET %s HTTP/1.1\r\nhost: %s\r\n%s\r\n", g.path, g.host, headers);
    if (n_body)
        memcpy(q.text + n, body, n_body);
    q.bytes = (size_t)n + n_body;
    return q;
}

static void questions_build(const char *body_file, const char *list_file, const char *headers)
{
    size_t n = 0, cap = 0;
    char *bodies = list_file ? file_read(list_file, &n) : body_file ? file_read(body_file, &n) : NULL;
    const char *at = bodies, *end = bodies + n;
    do {
        const char *line_end = list_file && at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        size_t n_body = (size_t)((line_end ? line_end : end) - at);
        if (g.n_questions == cap) {
            cap = cap ? 2 * cap : 64;
            g.questions = realloc(g.questions, cap * sizeof *g.questions);
            if (!g.questions)
                die("no memory");
        }
        g.questions[g.n_questions++] = question_build(at, n_body, headers);
        at = line_end ? line_end + 1 : end;
    } while (at < end);
    free(bodies);
}

static const char usage[] =
    "loadgen [options] HOST:PORT/path     HOST is an IPv4 address\n"
    "  --body-list FILE   bodies of POSTs, a line each, taken in turn\n"
    "  -b FILE   body of a POST (none: GET)     -H 'name: value'   a header (may be repeated)\n"
    "  -c N      connections (1)                -r RATE  open loop: so many a second in all\n"
    "  -d S      seconds to measure (5)         -w S     seconds before, not counted (0)\n"
    "  -n N      stop after N questions instead\n"
    "  --hold    open one stream a connection, say so, keep them until stdin ends\n";

int main(int argc, char **argv)
{
    static char headers[4096];
    const char *url = NULL, *body = NULL, *list = NULL;
    g.seconds = 5;
    g.n_conns = 1;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(a, "--hold") == 0) {
            g.holds = true;
            continue;
        }
        if (strcmp(a, "--body-list") == 0 && v) {
            list = v;
            i++;
            continue;
        }
        if (a[0] != '-') {
            url = a;
            continue;
        }
        if (!v || !strchr("bHcrdwn", a[1]) || a[2]) {
            fputs(usage, stderr);
            return 2;
        }
        i++;
        switch (a[1]) {
        case 'b': body = v; break;
        case 'c': g.n_conns = (unsigned)atoi(v); break;
        case 'r': g.rate = atof(v); break;
        case 'd': g.seconds = atof(v); break;
        case 'w': g.warm_up = atof(v); break;
        case 'n': g.n_max = strtoull(v, NULL, 10); break;
        default:
            if (strlen(headers) + strlen(v) + 3 > sizeof headers)
                die("too many headers");
            strcat(strcat(headers, v), "\r\n");
        }
    }
    static char host[64];
    unsigned port = 80;
    if (!url || sscanf(url, "%63[^:]:%u", host, &port) < 1 || g.n_conns < 1 || g.n_conns > CONNS_MAX) {
        fputs(usage, stderr);
        return 2;
    }
    const char *slash = strchr(url, '/');
    g.host = host;
    g.path = slash ? slash : "/";
    g.to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    if (inet_pton(AF_INET, host, &g.to.sin_addr) != 1)
        die("HOST must be an IPv4 address");
    questions_build(body, list, headers);
    struct rlimit files = { 0 };
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1000ul);
    g.epoll = epoll_create1(EPOLL_CLOEXEC);
    g.conns = calloc(g.n_conns, sizeof *g.conns);
    g.idle = calloc(g.n_conns, sizeof *g.idle);
    g.queue = g.rate > 0 ? calloc(DUE_MAX, sizeof *g.queue) : NULL;
    if (g.epoll < 0 || !g.conns || !g.idle || (g.rate > 0 && !g.queue))
        die("no memory");
    for (unsigned i = 0; i < g.n_conns; i++)
        g.conns[i].fd = -1;
    if (g.holds) {
        hold();
        return 0;
    }
    for (unsigned i = g.n_conns; i-- > 0; )
        conn_idle(&g.conns[i]);
    run();
    double seconds = (double)(now_ns() - g.measure_from) / 1e9;
    if (g.n_max || seconds < g.seconds)
        seconds = seconds > 0 ? seconds : 1;
    else
        seconds = g.seconds;
    printf("{\"asked\":%llu,\"answered\":%llu,\"counted\":%llu,\"errors\":%llu,\"bad_status\":%d,\"seconds\":%.3f,"
           "\"rps\":%.1f,\"bytes\":%llu", (unsigned long long)g.asked, (unsigned long long)g.answered,
           (unsigned long long)g.counted, (unsigned long long)g.errors, g.bad_status, seconds,
           (double)g.counted / seconds, (unsigned long long)g.bytes);
    samples_print("first", &g.first);
    samples_print("total", &g.total);
    if (g.n_questions > 1)
        printf(",\"list_rounds\":%zu", (size_t)(g.asked + g.n_questions - 1) / g.n_questions);
    puts("}");
    return g.answered == 0 ? 1 : 0;
}
