/* provider/sigv4.h -- AWS Signature Version 4: who sent this request, and that nobody changed it on the way.
 *
 * Pure: keys, time and request in, header lines out. Sources: AWS's "Create a signed AWS API request", and its test suite. */
#ifndef SBX_SIGV4_H
#define SBX_SIGV4_H

#include "base/buf.h"

struct sigv4_keys { str access_key_id, secret_access_key, session_token; };     /* session_token "" : long-lived keys */

struct sigv4_header { str name, value; };       /* name in lower case */

struct sigv4_request {
    str method, path, query;                    /* as on the wire: escaped once; query without '?' */
    const struct sigv4_header *headers; size_t n_headers;       /* sorted by name; all are signed */
    str body;
};

enum { SIGV4_HEX = 64, SIGV4_DATE = 16 };       /* 20150830T123600Z */

void sigv4_date(uint64_t wall_s, char out[SIGV4_DATE + 1]);
/* The request in the form that is hashed. The path is escaped once more (every service but S3 wants that). */
void sigv4_canonical(const struct sigv4_request *r, struct buf *out);
/* The value of the header `authorization`. `date` as of sigv4_date. */
void sigv4_authorization(const struct sigv4_keys *k, const char *date, str region, str service, const struct sigv4_request *r,
                         struct buf *out);
/* Region in the name of a host: bedrock-runtime.eu-central-1.amazonaws.com, also of PrivateLink and FIPS; "" none. */
str sigv4_region_of_host(str host);

#endif
