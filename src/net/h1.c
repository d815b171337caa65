/* net/h1.c */
#include "net/h1.h"
#include "net/h2.h"

#include <assert.h>
#include <errno.h>

enum {
    FIRST_READ = 4096,              /* a head and a small body in one read */
    FIRST_READ_ANSWER = 16 * 1024,  /* a head and a usual answer, or what there is of a stream */
    READ_SPARE = 256,
    IDLE_BYTES_MAX = 64 * 1024,     /* chunk extensions and trailers without a byte of body; beyond: 400 */
};

/* ---- llhttp callbacks: collect spans of the head, pause behind it; collect body spans ---- */

struct head_build {                 /* parser.data while a head is read */
    struct h1 *h;
    struct arena *a;
    struct http_head *head;
    bool has_field;                 /* the last header has its value already */
    bool overflow;
};

static void grow(str *s, const char *at, size_t n)
{
    if (s->len == 0)
        s->ptr = at;
    s->len += n;                    /* the buffer is contiguous: pieces follow each other */
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    struct head_build *b = p->data;
    grow(&b->head->target, at, n);
    return 0;
}

static int on_method(llhttp_t *p, const char *at, size_t n)
{
    struct head_build *b = p->data;
    grow(&b->head->method, at, n);
    return 0;
}

static int on_status(llhttp_t *p, const char *at, size_t n)
{
    struct head_build *b = p->data;
    grow(&b->head->reason, at, n);
    return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    struct head_build *b = p->data;
    struct http_head *head = b->head;
    if (b->has_field) {
        if (head->n_headers == HEADERS_MAX) {
            b->overflow = true;
            return HPE_USER;
        }
        head->headers[head->n_headers++] = (struct header){ 0 };
        b->has_field = false;
    }
    grow(&head->headers[head->n_headers - 1].name, at, n);
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct head_build *b = p->data;
    b->has_field = true;
    grow(&b->head->headers[b->head->n_headers - 1].value, at, n);
    return 0;
}

static int on_value_complete(llhttp_t *p)       /* an empty value has no on_value */
{
    struct head_build *b = p->data;
    b->has_field = true;
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    (void)p;
    return HPE_PAUSED;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct h1 *h = p->data;
    if (h->n_spans && h->spans[h->n_spans - 1].ptr + h->spans[h->n_spans - 1].len == at) {
        h->spans[h->n_spans - 1].len += n;
        return 0;
    }
    h->spans[h->n_spans++] = (str){ at, n };
    if (h->n_spans == h->spans_max) {
        h->spans_full = true;
        return HPE_PAUSED;
    }
    return 0;
}

static int on_complete(llhttp_t *p)
{
    struct h1 *h = p->data;
    h->is_complete = true;
    return HPE_PAUSED;
}

static llhttp_settings_t head_settings, body_settings;

__attribute__((constructor)) static void settings_init(void)
{
    llhttp_settings_init(&head_settings);
    head_settings.on_url = on_url;
    head_settings.on_method = on_method;
    head_settings.on_status = on_status;
    head_settings.on_header_field = on_field;
    head_settings.on_header_value = on_value;
    head_settings.on_header_value_complete = on_value_complete;
    head_settings.on_headers_complete = on_headers_complete;
    llhttp_settings_init(&body_settings);
    body_settings.on_body = on_body;
    body_settings.on_message_complete = on_complete;
}

void h1_init(struct h1 *h, struct conn *c, enum h1_side side)
{
    *h = (struct h1){ .c = c, .side = side };
}

bool h1_has_kept(const struct h1 *h)
{
    return h->kept.len > 0;
}

/* ---- heads ---- */

static int refuse(struct h1 *h, int status, const char *why)
{
    h->status = status;
    h->why = why;
    return -EBADMSG;
}

/* Looks at the lines in bytes[from..): returns the length of the head when its empty line is there, 0
 * when more is needed, -EBADMSG for bare LF or a folded line. *from moves to where to go on. */
static long head_end(struct h1 *h, str bytes, size_t *from)
{
    const char *p = bytes.ptr + *from, *end = bytes.ptr + bytes.len;
    for (const char *lf; p < end && (lf = memchr(p, '\n', (size_t)(end - p))) != NULL; p = lf + 1) {
        if (lf == bytes.ptr || lf[-1] != '\r')
            return refuse(h, 400, "a line ends in a bare LF");
        if (lf - bytes.ptr >= 3 && lf[-2] == '\n')
            return lf + 1 - bytes.ptr;
        if (lf + 1 == end) {                    /* the next line's first byte decides about folding */
            *from = (size_t)(lf - bytes.ptr);
            return 0;
        }
        if ((lf[1] == ' ' || lf[1] == '\t') && lf > bytes.ptr + 1)
            return refuse(h, 400, "a header line is folded (obs-fold)");
    }
    *from = p > bytes.ptr ? (size_t)(p - bytes.ptr) : 0;
    if (*from > bytes.len)
        *from = bytes.len;
    return 0;
}

static int length_read(struct h1 *h, str value, int64_t *out)
{
    int64_t n = 0;
    bool is_number = value.len > 0 && value.len <= 18;
    for (size_t i = 0; i < value.len && is_number; i++) {
        is_number = value.ptr[i] >= '0' && value.ptr[i] <= '9';
        n = n * 10 + value.ptr[i] - '0';
    }
    if (!is_number)
        return refuse(h, 400, "content-length is not a number");
    *out = n;
    return 0;
}

struct framing { unsigned n_host, n_length, n_coding; };

/* The few headers that say how the message is framed; told by their length first, for most are none of them. */
static int framing_read(struct h1 *h, struct http_head *head, str name, str value, struct framing *f)
{
    switch (name.len) {
    case 4:
        f->n_host += str_ieq(name, S("host"));
        return 0;
    case 6:
        if (!str_ieq(name, S("expect")))
            return 0;
        if (!str_ieq(value, S("100-continue")))
            return refuse(h, 417, "unknown expectation");
        head->expects_continue = true;
        return 0;
    case 10:
        if (str_ieq(name, S("connection"))) {
            if (http_token_in(value, S("close")))
                head->keep_alive = false;
            else if (head->minor == 0 && http_token_in(value, S("keep-alive")))
                head->keep_alive = true;
        }
        return 0;
    case 14:
        if (!str_ieq(name, S("content-length")))
            return 0;
        f->n_length++;
        return length_read(h, value, &head->content_length);
    case 17:
        if (!str_ieq(name, S("transfer-encoding")))
            return 0;
        if (!str_ieq(value, S("chunked")))
            return refuse(h, 501, "only the transfer coding 'chunked' is understood");
        head->is_chunked = true;
        f->n_coding++;
        return 0;
    default:
        return 0;
    }
}

static int target_read(struct h1 *h, struct http_head *head)
{
    str target = head->target;
    if (target.ptr != head->method.ptr + head->method.len + 1 || target.ptr[target.len + 1] != 'H')
        return refuse(h, 400, "the request line has more than one space in a row");
    bool has_path = true;
    if (str_starts(target, S("http://")) || str_starts(target, S("https://"))) {
        long at = str_find(target, S("://"));   /* absolute-form: take the path */
        str rest = str_from(target, (size_t)at + 3);
        size_t host = 0;
        while (host < rest.len && rest.ptr[host] != '/' && rest.ptr[host] != '?')
            host++;
        target = str_from(rest, host);
        has_path = target.len > 0 && target.ptr[0] == '/';
    }
    if (has_path && (target.len == 0 || (target.ptr[0] != '/' && !str_eq(target, S("*")))))
        return refuse(h, 400, "the request target must begin with '/'");
    head->query = target;
    head->path = str_cut(&head->query, '?');
    if (!has_path)                              /* RFC 9110 4.2.3: an empty path is "/" */
        head->path = S("/");
    return 0;
}

/* What the framing rules of RFC 9112 demand beyond what llhttp checks. */
static int head_check(struct h1 *h, struct http_head *head)
{
    struct framing f = { 0 };
    head->content_length = -1;
    head->keep_alive = head->minor >= 1;
    for (unsigned i = 0; i < head->n_headers; i++) {
        str name = head->headers[i].name, value = head->headers[i].value;
        while (value.len && (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t'))
            value.len--;
        head->headers[i].value = value;
        if (name.len == 0 || name.ptr[name.len - 1] == ' ' || name.ptr[name.len - 1] == '\t')
            return refuse(h, 400, "white space before the colon of a header");
        int rc = framing_read(h, head, name, value, &f);
        if (rc < 0)
            return rc;
    }
    if (f.n_length > 1 || f.n_coding > 1 || (f.n_length && f.n_coding))
        return refuse(h, 400, "conflicting content-length and transfer-encoding");
    if (f.n_coding && head->minor == 0)
        return refuse(h, 400, "transfer-encoding in an HTTP/1.0 message");
    if (h->side == H1_RESPONSES)
        return 0;
    if (f.n_host > 1 || (f.n_host == 0 && head->minor >= 1))
        return refuse(h, 400, f.n_host ? "more than one host header" : "the host header is missing");
    return target_read(h, head);
}

static int head_parse(struct h1 *h, struct arena *a, str bytes, struct http_head *out,
                      bool answers_head_request)
{
    *out = (struct http_head){ .headers = arena_try(a, HEADERS_MAX * sizeof(struct header)) };
    if (!out->headers)
        return -ENOMEM;
    struct head_build b = { h, a, out, true, false };
    llhttp_init(&h->parser, h->side == H1_REQUESTS ? HTTP_REQUEST : HTTP_RESPONSE, &head_settings);
    h->parser.data = &b;
    llhttp_errno_t rc = llhttp_execute(&h->parser, bytes.ptr, bytes.len);
    arena_trim(a, out->headers, HEADERS_MAX * sizeof(struct header), out->n_headers * sizeof(struct header));
    if (b.overflow)
        return refuse(h, 431, "more than 128 headers");
    if (rc != HPE_PAUSED) {
        if (rc == HPE_INVALID_VERSION)
            return refuse(h, 505, "only HTTP/1.0 and HTTP/1.1 are understood");
        return refuse(h, 400, rc == HPE_OK ? "not an HTTP message" : llhttp_get_error_reason(&h->parser));
    }
    out->minor = h->parser.http_minor;
    out->status = h->parser.status_code;
    if (h->parser.http_major != 1)
        return refuse(h, 505, "only HTTP/1.0 and HTTP/1.1 are understood");
    if (h->side == H1_RESPONSES && out->status < 100)
        return refuse(h, 400, "the status code is below 100");
    int bad = head_check(h, out);
    if (bad < 0)
        return bad;

    /* How the body will be read. llhttp goes on from its pause. */
    bool no_body = h->side == H1_REQUESTS ? !out->is_chunked && out->content_length <= 0
                                          : answers_head_request || out->status == 204 || out->status == 304
                                            || out->status < 200 || out->content_length == 0;
    h->is_complete = no_body;
    h->left = !no_body && out->content_length > 0 ? out->content_length : -1;
    h->in_body = !no_body && h->left < 0;
    h->idle_bytes = 0;
    if (h->in_body) {
        h->parser.settings = &body_settings;
        h->parser.data = h;
        llhttp_resume(&h->parser);
    }
    return 1;
}

/* Reads behind the first `len` bytes of *buf, which grows. The first read goes through the loop's scratch, so that the
 * arena, which a silent stream keeps for long, holds only what came. */
static WAITS ssize_t read_some(struct h1 *h, struct arena *a, char **buf, size_t len, size_t *cap, uint64_t deadline)
{
    if (len == 0 && h->c->loop) {
        char *scratch = loop_scratch(h->c->loop);
        ssize_t got = conn_read(h->c, scratch, h->side == H1_REQUESTS ? FIRST_READ : FIRST_READ_ANSWER, deadline);
        if (got <= 0)
            return got;
        *buf = arena_try(a, (size_t)got);
        *cap = (size_t)got;
        if (!*buf)
            return -ENOMEM;
        memcpy(*buf, scratch, (size_t)got);
        return got;
    }
    if (len == *cap) {
        size_t bigger = 2 * *cap > FIRST_READ ? 2 * *cap : FIRST_READ;
        char *more = arena_try(a, bigger);
        if (!more)
            return -ENOMEM;
        if (len)
            memcpy(more, *buf, len);
        *buf = more;
        *cap = bigger;
    }
    return conn_read(h->c, *buf + len, *cap - len, deadline);
}

static WAITS int stream_head(struct h1 *h, struct arena *a, struct http_head *out, uint64_t deadline)
{
    int rc = h2_read_head(h->stream, a, out, deadline);
    h->is_complete = rc == 1 && h2_is_complete(h->stream);
    return rc == -EBADMSG ? refuse(h, 431, "the head is too large") : rc;
}

static WAITS int stream_body(struct h1 *h, str *piece, uint64_t deadline)
{
    int n = h->is_complete ? 0 : h2_body_next(h->stream, piece, deadline);
    h->is_complete = n == 0 || (n > 0 && h2_is_complete(h->stream));
    return n;
}

WAITS int h1_read_head(struct h1 *h, struct arena *a, size_t limit, struct http_head *out,
                       uint64_t deadline, bool answers_head_request)
{
    if (h->stream)
        return stream_head(h, a, out, deadline);
    size_t len = h->kept.len, looked = 0, cap = len;
    char *buf = len ? arena_try(a, cap) : NULL;
    if (len && !buf)
        return -ENOMEM;
    if (len)
        memcpy(buf, h->kept.ptr, len);
    h->kept = (str){ 0 };
    if (h->side == H1_REQUESTS)
        while (len >= 2 && buf[0] == '\r' && buf[1] == '\n')     /* RFC 9112 2.2: ignore empty lines before */
            memmove(buf, buf + 2, len -= 2);
    for (;;) {
        if (h->side == H1_REQUESTS && len && buf[0] != '\r' && (unsigned)((buf[0] | 32) - 'a') > 'z' - 'a')
            return refuse(h, 400, "not an HTTP request");       /* a TLS handshake, say: do not wait for its end */
        long end = len ? head_end(h, (str){ buf, len }, &looked) : 0;
        if (end < 0)
            return (int)end;
        if (end > 0) {
            if ((size_t)end > limit)
                return refuse(h, 431, "the head is too large");
            int rc = head_parse(h, a, (str){ buf, (size_t)end }, out, answers_head_request);
            h->kept = (str){ buf + end, len - (size_t)end };
            return rc;
        }
        if (len >= limit)
            return refuse(h, 431, "the head is too large");
        ssize_t got = read_some(h, a, &buf, len, &cap, deadline);
        if (got < 0)
            return got == -ETIMEDOUT && len == 0 ? -EAGAIN : (int)got;
        if (got == 0)
            return len ? -EPIPE : 0;
        len += (size_t)got;
        if (h->side == H1_REQUESTS && looked == 0)
            while (len >= 2 && buf[0] == '\r' && buf[1] == '\n')
                memmove(buf, buf + 2, len -= 2);
    }
}

/* ---- bodies ---- */

/* Runs `bytes` through the parser; unused bytes become `kept`. */
static int parse_piece(struct h1 *h, str bytes)
{
    llhttp_errno_t rc = llhttp_execute(&h->parser, bytes.ptr, bytes.len);
    if (rc == HPE_OK) {
        h->kept = (str){ 0 };
        return 0;
    }
    if (rc == HPE_PAUSED) {
        const char *at = llhttp_get_error_pos(&h->parser);
        llhttp_resume(&h->parser);
        h->kept = (str){ at, (size_t)(bytes.ptr + bytes.len - at) };
        return 0;
    }
    return refuse(h, 400, llhttp_get_error_reason(&h->parser));
}

WAITS int h1_body_next(struct h1 *h, char *to, size_t room, str spans[H1_SPANS_MAX], uint64_t deadline)
{
    if (h->stream)
        return stream_body(h, &spans[0], deadline);
    if (h->left > 0) {                          /* a length body: no parser needed */
        str piece = str_upto(h->kept, (size_t)h->left);
        if (piece.len) {
            h->kept = str_from(h->kept, piece.len);
        } else {
            ssize_t got = conn_read(h->c, to, room, deadline);  /* a short read saves the one that says EAGAIN */
            if (got <= 0)
                return got ? (int)got : -EPIPE;
            piece = str_upto((str){ to, (size_t)got }, (size_t)h->left);
            h->kept = (str){ to + piece.len, (size_t)got - piece.len };
        }
        h->left -= (int64_t)piece.len;
        h->is_complete = h->left == 0;
        spans[0] = piece;
        return 1;
    }
    h->spans = spans;
    h->spans_max = H1_SPANS_MAX;
    h->n_spans = 0;
    while (!h->is_complete) {
        int rc;
        if (h->kept.len) {
            h->idle_bytes += h->kept.len;
            rc = parse_piece(h, h->kept);
        } else {
            ssize_t got = conn_read(h->c, to, room, deadline);
            if (got < 0)
                return (int)got;
            if (got == 0) {                     /* a response without a length ends with its connection */
                if (h->side == H1_RESPONSES && llhttp_message_needs_eof(&h->parser)) {
                    h->is_complete = true;
                    break;
                }
                return -EPIPE;
            }
            h->idle_bytes += (size_t)got;
            rc = parse_piece(h, (str){ to, (size_t)got });
        }
        if (rc < 0)
            return rc;
        if (h->n_spans) {
            h->idle_bytes = 0;
            return (int)h->n_spans;
        }
        if (h->idle_bytes > IDLE_BYTES_MAX)
            return refuse(h, 400, "chunk extensions or trailers are too long");
    }
    return 0;
}

static WAITS int read_length_body(struct h1 *h, struct arena *a, size_t n, str *out, uint64_t deadline)
{
    if (h->kept.len >= n) {                     /* all here: use it in place */
        *out = str_upto(h->kept, n);
        h->kept = str_from(h->kept, n);
    } else {
        /* With room to spare the last read comes back short, which says that the socket is empty. */
        char *body = arena_try(a, n + READ_SPARE);
        if (!body)
            return -ENOMEM;
        size_t have = h->kept.len;
        if (have)
            memcpy(body, h->kept.ptr, have);
        while (have < n) {
            ssize_t got = conn_read(h->c, body + have, n + READ_SPARE - have, deadline);
            if (got <= 0) {
                h->kept = (str){ 0 };
                return got ? (int)got : -EPIPE;
            }
            have += (size_t)got;
        }
        *out = (str){ body, n };
        h->kept = (str){ body + n, have - n };  /* the next message has begun */
    }
    h->left = 0;
    h->is_complete = true;
    return 0;
}

WAITS int h1_read_body(struct h1 *h, struct arena *a, const struct http_head *head, size_t limit,
                       str *out, uint64_t deadline)
{
    *out = S("");
    if (h->is_complete)
        return 0;
    if (head->content_length > 0 && (uint64_t)head->content_length > limit)
        return -EMSGSIZE;
    if (head->content_length > 0 && !h->stream) {
        return read_length_body(h, a, (size_t)head->content_length, out, deadline);
    }
    struct buf body = { 0 };
    str spans[H1_SPANS_MAX];
    char piece[8 * 1024 - 512];
    int n;
    while ((n = h1_body_next(h, piece, sizeof piece, spans, deadline)) > 0) {
        for (int i = 0; i < n; i++)
            buf_str(&body, spans[i]);
        if (body.len > limit || body.is_failed) {
            n = body.is_failed ? -ENOMEM : -EMSGSIZE;
            break;
        }
    }
    if (n == 0) {
        char *copy = arena_try(a, body.len + 1);
        if (copy && body.len)
            memcpy(copy, body.ptr, body.len);
        *out = (str){ copy, body.len };
        char *rest = h->kept.len ? arena_try(a, h->kept.len) : NULL;
        n = copy && (rest || !h->kept.len) ? 0 : -ENOMEM;
        if (rest)                               /* the next message began in `piece`, which is on this stack */
            h->kept.ptr = memcpy(rest, h->kept.ptr, h->kept.len);
        else
            h->kept = (str){ 0 };
    }
    buf_free(&body);
    return n;
}
