/* pipeline/wire.h -- bytes on their way to the client: the head, chunks, and what to do when the client is slow. */
#ifndef SBX_WIRE_H
#define SBX_WIRE_H

#include "net/h2.h"
#include "net/h1.h"
#include "pipeline/req.h"

/* All of it, or a negative code and r->is_client_gone. The pieces may lie in the loop's scratch: what the socket does not
 * take at once is copied before waiting. */
WAITS int wire_send(struct req *r, struct iovec *v, int n);

/* The response head into `out`; headers_write says what length means. To a client of HTTP/2 it is sent, and `out` stays
 * empty. */
void wire_head(struct req *r, int status, str content_type, int64_t length, const struct http_head *from, struct buf *out);

/* A head and as much of the body as is there. `is_scratch`: the body lies in the loop's scratch, so this fiber must not
 * let others run before it is sent. */
WAITS int wire_answer(struct req *r, int status, str content_type, int64_t length, const struct http_head *from,
                      const struct iovec *body, int n_body, bool is_scratch);

bool wire_is_chunked(const struct req *r);      /* a body of unknown length goes in chunks: HTTP/1.1 */
int wire_chunk_size(char to[24], size_t n);     /* "1f\r\n"; its length */

/* Spans of one read lie all in kept bytes, which stay, or all in the loop's scratch, which others use as soon as this
 * fiber lets them run. */
bool wire_is_in_scratch(const char *scratch, str span);

/* Bytes that the parser has kept lie in the scratch, too: saved after each read. The present spans may point into the last
 * copy, so that one stays until the next turn. */
struct kept { struct buf copies[2]; unsigned turn; };
int  kept_save(struct h1 *in, struct kept *k);
void kept_free(struct req *r, struct h1 *in, struct kept *k);   /* what is left behind the message goes with the request */

#endif
