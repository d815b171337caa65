/* net/dns.h -- names to addresses: numbers at once, names by getaddrinfo on an offload thread,
 * kept for 30 s per loop (5 s when they did not resolve). */
#ifndef SBX_DNS_H
#define SBX_DNS_H

#include <sys/socket.h>

#include "base/str.h"
#include "runtime/loop.h"

enum { DNS_ADDRESSES_MAX = 8 };

struct dns_address { struct sockaddr_storage address; socklen_t bytes; };
struct dns_answer { struct dns_address addresses[DNS_ADDRESSES_MAX]; unsigned n; };

/* Returns 0, -ENOENT (no such name), -EAGAIN (the resolver failed), or a wait's code. l may be NULL
 * on plain threads. */
WAITS int dns_resolve(struct loop *l, str host, uint64_t deadline, struct dns_answer *out);
void dns_close(struct loop *l);                 /* at the loop's end: forgets what is kept */

#endif
