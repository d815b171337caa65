/* net/http.h -- the model of a message head, whatever protocol carried it. */
#ifndef SBX_HTTP_H
#define SBX_HTTP_H

#include "base/arena.h"
#include "base/buf.h"

enum { HEADERS_MAX = 128 };         /* more than any client sends; beyond: 431 */

struct header { str name, value; };

struct http_head {
    str method, target;             /* request */
    str path, query;                /* of target; query without the '?' */
    int status; str reason;         /* response */
    unsigned minor;                 /* HTTP/1.x */
    struct header *headers; unsigned n_headers;
    int64_t content_length;         /* -1: not given */
    bool is_chunked;
    bool keep_alive;                /* what the sender wishes */
    bool expects_continue;
};

str  http_get(const struct http_head *h, str name);         /* first of that name; "" (ptr NULL) if absent */
bool http_has(const struct http_head *h, str name);
bool http_token_in(str list, str token);                    /* comma list, ASCII case */
const char *http_reason(int status);
bool http_is_named_in_connection(const struct http_head *h, str name);  /* RFC 9110 7.6.1: for the next hop only */
bool http_is_hop_by_hop(str name);                          /* RFC 9110 7.6.1, and content-length */
str  http_query_get(str query, str name, struct arena *a);  /* percent-decoded; "" if absent */
str  http_path_decode(str path, struct arena *a);           /* %2F and the like */
/* Percent-encodes all but letters, digits, -._~ and what `also` holds. */
void http_path_encode(str s, const char *also, struct buf *out);

/* "Wed, 25 Nov 2026 16:00:00 GMT", made once a second per thread. */
str  http_date(void);
/* Seconds or a date (RFC 9110 10.2.3) or retry-after-ms; 0: absent or nonsense. */
uint64_t http_retry_after_ns(const struct http_head *h);

#endif
