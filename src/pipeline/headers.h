/* pipeline/headers.h -- the response head: what the upstream said, and who decided what (spec 02, 4.7). */
#ifndef SBX_HEADERS_H
#define SBX_HEADERS_H

#include "pipeline/req.h"

/* length >= 0: content-length; -1: chunked; -2: until the connection closes. `from` (may be NULL): the upstream's head
 * whose harmless headers are passed on. */
void headers_write(struct req *r, int status, str content_type, int64_t length, const struct http_head *from,
                   struct buf *out);

#endif
