/* pipeline/wire.c */
#include "pipeline/wire.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "front/server.h"
#include "pipeline/headers.h"

enum { COPY_MAX = 4096 };           /* of a body that goes behind its head in one buffer */

#define SLOW_CLIENT_NS (60 * NS_PER_S)      /* a client that takes nothing for so long is gone */

WAITS int wire_send(struct req *r, struct iovec *v, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += v[i].iov_len;
    r->relayed_bytes += total;
    if (r->client->in.stream) {
        uint64_t until = deadline_min(r->deadline, loop_now(r->loop), SLOW_CLIENT_NS);
        int sent = total ? h2_write(r->client->in.stream, v, n, until) : 0;
        r->is_client_gone |= sent < 0;
        return sent;
    }
    ssize_t put = conn_write_some(&r->client->conn, v, n);
    int rc = put < 0 ? (int)put : 0;
    if (rc == 0 && (size_t)put < total) {
        char *rest = malloc(total - (size_t)put), *to = rest;
        if (rest) {
            size_t skip = (size_t)put;
            for (int i = 0; i < n; i++) {
                size_t from = skip < v[i].iov_len ? skip : v[i].iov_len;
                skip -= from;
                memcpy(to, (char *)v[i].iov_base + from, v[i].iov_len - from);
                to += v[i].iov_len - from;
            }
            uint64_t until = loop_now(r->loop) + SLOW_CLIENT_NS;
            rc = conn_write(&r->client->conn, (str){ rest, total - (size_t)put }, until < r->deadline ? until : r->deadline);
            free(rest);
        } else {
            rc = -ENOMEM;
        }
    }
    if (rc < 0)
        r->is_client_gone = true;               /* gone, or too slow for its time */
    return rc;
}

int kept_save(struct h1 *in, struct kept *k)
{
    if (in->kept.len == 0)
        return 0;
    struct buf *copy = &k->copies[++k->turn & 1];
    copy->len = 0;
    buf_str(copy, in->kept);
    in->kept = buf_view(copy);
    return copy->is_failed ? -ENOMEM : 0;
}

void kept_free(struct req *r, struct h1 *in, struct kept *k)
{
    if (in->kept.len)
        in->kept = arena_str(r->a, in->kept);
    buf_free(&k->copies[0]);
    buf_free(&k->copies[1]);
}

void wire_head(struct req *r, int status, str content_type, int64_t length, const struct http_head *from, struct buf *out)
{
    r->status = status;
    r->is_head_sent = true;
    headers_write(r, status, content_type, length, from, out);
    if (r->client->in.stream) {                 /* frames are not bytes in line: the head goes by itself */
        if (h2_write_head(r->client->in.stream, buf_view(out), false) < 0)
            r->is_client_gone = true;
        buf_free(out);
    }
}

WAITS int wire_answer(struct req *r, int status, str content_type, int64_t length, const struct http_head *from,
                      const struct iovec *body, int n_body, bool is_scratch)
{
    struct buf head = { 0 };
    wire_head(r, status, content_type, length, from, &head);
    struct iovec v[H1_SPANS_MAX + 4];           /* the head, the spans, a chunk's size, its end, the end of chunks */
    int n = 1;
    size_t body_bytes = 0;
    for (int i = 0; i < n_body; i++)
        body_bytes += body[i].iov_len;
    if (body_bytes <= COPY_MAX)                 /* one piece is cheaper to send than two */
        for (int i = 0; i < n_body; i++)
            buf_add(&head, body[i].iov_base, body[i].iov_len);
    else
        for (int i = 0; i < n_body; i++)
            v[n++] = body[i];
    v[0] = (struct iovec){ head.ptr, head.len };
    if (!is_scratch)
        fiber_late();
    int rc = head.is_failed ? -ENOMEM : wire_send(r, v, n);
    buf_free(&head);
    return rc;
}

bool wire_is_in_scratch(const char *scratch, str span)
{
    return span.ptr >= scratch && span.ptr < scratch + LOOP_SCRATCH;
}

bool wire_is_chunked(const struct req *r)
{
    return r->head.minor == 1;
}

int wire_chunk_size(char to[24], size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char text[16];
    int len = 0, k = 0;
    do
        text[len++] = digits[n & 15];
    while (n >>= 4);
    while (len)
        to[k++] = text[--len];
    to[k++] = '\r';
    to[k++] = '\n';
    return k;
}
