/* net/dns.c */
#include "net/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "runtime/offload.h"

enum {
    CACHE_SLOTS = 64,               /* a loop; a gateway talks to few hosts. Beyond: replaced */
    GOOD_NS_S = 30, BAD_NS_S = 5,
    HOST_MAX = 256,
};

struct cached { char host[HOST_MAX]; uint64_t until; int rc; struct dns_answer answer; };
struct cache { struct cached *slots[CACHE_SLOTS]; };

struct lookup {
    char host[HOST_MAX];
    int rc;
    struct dns_answer answer;
};

static bool numeric(const char *host, struct dns_answer *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out->addresses[0].address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out->addresses[0].address;
    memset(&out->addresses[0], 0, sizeof out->addresses[0]);
    out->n = 1;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        out->addresses[0].bytes = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        out->addresses[0].bytes = sizeof *v6;
        return true;
    }
    return false;
}

static void resolve(void *arg)
{
    struct lookup *q = arg;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *list;
    int rc = getaddrinfo(q->host, NULL, &hints, &list);
    hints.ai_flags = 0;
    if (rc == EAI_NONAME)                       /* loopback-only machines have no "configured" address */
        rc = getaddrinfo(q->host, NULL, &hints, &list);
    if (rc) {
        q->rc = rc == EAI_AGAIN || rc == EAI_SYSTEM || rc == EAI_MEMORY ? -EAGAIN : -ENOENT;
        return;
    }
    for (struct addrinfo *one = list; one && q->answer.n < DNS_ADDRESSES_MAX; one = one->ai_next) {
        struct dns_address *to = &q->answer.addresses[q->answer.n];
        if (one->ai_addrlen > sizeof to->address)
            continue;
        memcpy(&to->address, one->ai_addr, one->ai_addrlen);
        to->bytes = one->ai_addrlen;
        q->answer.n++;
    }
    freeaddrinfo(list);
    q->rc = q->answer.n ? 0 : -ENOENT;
}

static struct cached *cache_slot(struct loop *l, const char *host)
{
    struct cache *c = loop_slot(l, LOOP_SLOT_DNS);
    if (!c) {
        c = calloc(1, sizeof *c);
        if (!c)
            return NULL;
        loop_slot_set(l, LOOP_SLOT_DNS, c);
    }
    struct cached **slot = &c->slots[hash_str(str_of(host)) % CACHE_SLOTS];
    if (!*slot)
        *slot = calloc(1, sizeof **slot);
    return *slot;
}

WAITS int dns_resolve(struct loop *l, str host, uint64_t deadline, struct dns_answer *out)
{
    char name[HOST_MAX];
    if (host.len == 0 || host.len >= sizeof name)
        return -ENOENT;
    memcpy(name, host.ptr, host.len);
    name[host.len] = 0;
    if (numeric(name, out))
        return 0;

    struct cached *kept = l ? cache_slot(l, name) : NULL;
    if (kept && kept->until > clock_now() && strcmp(kept->host, name) == 0) {
        *out = kept->answer;
        return kept->rc;
    }
    struct lookup *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    memcpy(q->host, name, host.len + 1);
    int rc = offload(resolve, q, free, deadline);       /* q is freed by whoever finishes last */
    if (rc < 0)
        return rc;
    rc = q->rc;
    *out = q->answer;
    if (kept) {
        memcpy(kept->host, name, host.len + 1);
        kept->answer = q->answer;
        kept->rc = rc;
        kept->until = clock_now() + (rc ? BAD_NS_S : GOOD_NS_S) * NS_PER_S;
    }
    free(q);
    return rc;
}

void dns_close(struct loop *l)
{
    struct cache *c = loop_slot(l, LOOP_SLOT_DNS);
    for (unsigned i = 0; c && i < CACHE_SLOTS; i++)
        free(c->slots[i]);
    free(c);
    loop_slot_set(l, LOOP_SLOT_DNS, NULL);
}
