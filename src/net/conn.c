/* net/conn.c */
#include "net/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/dns.h"

/* ---- reading ---- */

static ssize_t tls_code(struct conn *c, int rc, int *wait_for)
{
    *wait_for = 0;
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_WANT_READ:   *wait_for = IO_IN; return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:  *wait_for = IO_OUT; return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL:     return errno ? -errno : 0;
    default:                    ERR_clear_error(); return -EPROTO;
    }
}

static ssize_t read_now(struct conn *c, void *to, size_t n, int *wait_for)
{
    if (c->ssl) {
        ERR_clear_error();                      /* another connection's error must not become ours */
        errno = 0;
        int rc = SSL_read(c->ssl, to, n > INT_MAX ? INT_MAX : (int)n);
        return rc > 0 ? rc : tls_code(c, rc, wait_for);
    }
    ssize_t got = recv(c->io.fd, to, n, 0);
    *wait_for = IO_IN;
    if (got < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    if ((size_t)got < n && !(c->io.ready & IO_HUP))
        c->io.ready &= (uint8_t)~IO_IN;         /* a short read drained it: the next edge will tell */
    return got;
}

enum { EAGER_MAX = 1 << 20 };       /* bytes that one connection reads in a turn of the loop */

/* A peer that sends faster than we read never makes us wait: it must neither outlast the deadline nor keep the loop to itself. */
static WAITS bool is_late(struct conn *c, uint64_t deadline)
{
    if (c->eager_bytes > EAGER_MAX) {
        c->eager_bytes = 0;
        fiber_yield();
    }
    return c->loop && deadline <= loop_now(c->loop);
}

WAITS ssize_t conn_read(struct conn *c, void *to, size_t n, uint64_t deadline)
{
    if (is_late(c, deadline))
        return -ETIMEDOUT;
    for (;;) {
        if (c->io.fd < 0)
            return -ECANCELED;
        if (!c->ssl && !(c->io.ready & IO_IN)) {
            int rc = io_wait(&c->io, IO_IN, deadline);
            if (rc < 0)
                return rc;
        }
        int wait_for;
        ssize_t got = read_now(c, to, n, &wait_for);
        if (got == -EINTR)
            continue;
        if (got != -EAGAIN) {
            if (got > 0) {
                c->bytes_in += (uint64_t)got;
                c->eager_bytes += (uint64_t)got;
            } else if (got == 0) {
                c->io.ready |= IO_HUP;          /* read before its event was: not to be pooled */
            }
            return got;
        }
        c->io.ready &= (uint8_t)~(wait_for & ~(c->io.ready & IO_HUP ? IO_IN : 0));
        int rc = io_wait(&c->io, wait_for, deadline);
        if (rc < 0)
            return rc;
    }
}

ssize_t conn_read_some(struct conn *c, void *to, size_t n)
{
    int wait_for;
    ssize_t got;
    if (c->io.fd < 0)
        return -ECANCELED;
    while ((got = read_now(c, to, n, &wait_for)) == -EINTR)
        ;
    if (got > 0)
        c->bytes_in += (uint64_t)got;
    if (got == -EAGAIN)
        c->io.ready &= (uint8_t)~(wait_for & ~(c->io.ready & IO_HUP ? IO_IN : 0));
    return got;
}

bool conn_has_pending(const struct conn *c)
{
    return c->ssl && SSL_pending(c->ssl) > 0;
}

bool conn_is_quiet(struct conn *c)
{
    char byte;
    if (c->io.fd < 0 || (c->io.ready & IO_HUP))
        return false;
    if (!(c->io.ready & IO_IN))
        return !conn_has_pending(c);
    if (c->ssl) {
        int wait_for;
        ERR_clear_error();
        errno = 0;
        int rc = SSL_peek(c->ssl, &byte, 1);    /* session tickets are taken in, and are not data */
        if (rc > 0 || tls_code(c, rc, &wait_for) != -EAGAIN)
            return false;
    } else if (recv(c->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
        return false;
    }
    c->io.ready &= (uint8_t)~IO_IN;
    return true;
}

/* ---- writing ---- */

ssize_t conn_write_some(struct conn *c, const struct iovec *v, int n)
{
    if (c->io.fd < 0)
        return -ECANCELED;
    if (c->ssl) {
        size_t done = 0;
        for (int i = 0; i < n; i++) {
            if (v[i].iov_len == 0)
                continue;
            ERR_clear_error();
            errno = 0;
            size_t len = v[i].iov_len > INT_MAX ? INT_MAX : v[i].iov_len;
            int rc = SSL_write(c->ssl, v[i].iov_base, (int)len);
            if (rc > 0) {
                done += (size_t)rc;
                c->bytes_out += (uint64_t)rc;
                if ((size_t)rc < v[i].iov_len)
                    break;
                continue;
            }
            int wait_for;
            ssize_t code = tls_code(c, rc, &wait_for);
            if (code == -EAGAIN || done) {
                if (code == -EAGAIN)
                    c->io.ready &= (uint8_t)~wait_for;
                break;
            }
            return code < 0 ? code : -EPIPE;
        }
        return (ssize_t)done;
    }
    struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n };
    for (;;) {
        ssize_t put = n == 1 ? send(c->io.fd, v->iov_base, v->iov_len, MSG_NOSIGNAL)    /* the cheaper call */
                             : sendmsg(c->io.fd, &m, MSG_NOSIGNAL);
        if (put >= 0) {
            c->bytes_out += (uint64_t)put;
            return put;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return -errno;
        c->io.ready &= (uint8_t)~IO_OUT;
        return 0;
    }
}

/* Has the peer sent something? The ready bit may be left over from a read that filled its buffer. */
static bool has_input(struct conn *c)
{
    char byte;
    if (!(c->io.ready & IO_IN))
        return false;
    if (recv(c->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
        return true;
    c->io.ready &= (uint8_t)~IO_IN;
    return false;
}

static WAITS int write_all(struct conn *c, struct iovec *v, int n, uint64_t deadline, bool ends_on_input)
{
    while (n > 0 && v->iov_len == 0)
        v++, n--;
    while (n > 0) {
        ssize_t put = conn_write_some(c, v, n > IOV_MAX ? IOV_MAX : n);
        if (put < 0)
            return (int)put;
        size_t left = (size_t)put;
        while (n > 0 && left >= v->iov_len) {
            left -= v->iov_len;
            v++, n--;
        }
        if (n == 0)
            break;
        v->iov_base = (char *)v->iov_base + left;
        v->iov_len -= left;
        if (put > 0 && (c->io.ready & IO_OUT))
            continue;
        if (ends_on_input && has_input(c))
            return CONN_INPUT;
        c->io.ready &= (uint8_t)~IO_OUT;
        int rc = io_wait(&c->io, ends_on_input ? IO_OUT | IO_IN : IO_OUT, deadline);
        if (rc < 0)
            return rc;
    }
    return 0;
}

WAITS int conn_writev(struct conn *c, struct iovec *v, int n, uint64_t deadline)
{
    return write_all(c, v, n, deadline, false);
}

WAITS int conn_send(struct conn *c, struct iovec *v, int n, uint64_t deadline)
{
    return write_all(c, v, n, deadline, !c->ssl);   /* TLS peers also send tickets: their bytes need not be an answer */
}

WAITS int conn_write(struct conn *c, str bytes, uint64_t deadline)
{
    struct iovec v = { (void *)(uintptr_t)bytes.ptr, bytes.len };
    return conn_writev(c, &v, 1, deadline);
}

/* ---- the end ---- */

void conn_close(struct conn *c)
{
    if (c->ssl) {
        if (c->io.fd >= 0)
            SSL_shutdown(c->ssl);
        ERR_clear_error();
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    io_close(&c->io);
}

/* ---- addresses ---- */

bool endpoint_parse(str text, uint16_t default_port, struct endpoint *out)
{
    *out = (struct endpoint){ .port = default_port };
    str port = S("");
    if (text.len && text.ptr[0] == '[') {
        long end = str_chr(text, ']');
        if (end < 0)
            return false;
        out->host = (str){ text.ptr + 1, (size_t)end - 1 };
        str rest = str_from(text, (size_t)end + 1);
        if (rest.len && rest.ptr[0] != ':')
            return false;
        port = str_from(rest, 1);
        if (rest.len == 1)
            return false;
    } else {
        long colon = str_chr(text, ':');
        out->host = colon < 0 ? text : str_upto(text, (size_t)colon);
        if (colon >= 0) {
            port = str_from(text, (size_t)colon + 1);
            if (port.len == 0)
                return false;
        }
    }
    int64_t n;
    if (port.len) {
        if (!str_int(port, &n) || n < 0 || n > 65535)
            return false;
        out->port = (uint16_t)n;
    }
    return out->host.len > 0;
}

static int socket_open(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static WAITS int dial_one(struct conn *c, struct loop *l, const struct dns_address *to, uint16_t port, uint64_t deadline)
{
    struct sockaddr_storage ss;
    memcpy(&ss, &to->address, sizeof ss);
    if (ss.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&ss)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)(void *)&ss)->sin_port = htons(port);
    int fd = socket_open(ss.ss_family);
    if (fd < 0)
        return fd;
    c->loop = l;
    int rc = l ? io_open(l, &c->io, fd) : (c->io.fd = fd, 0);
    if (rc < 0) {
        close(fd);
        c->io.fd = -1;
        return rc;
    }
    c->io.ready = 0;
    if (connect(fd, (struct sockaddr *)&ss, to->bytes) < 0 && errno != EINPROGRESS) {
        rc = -errno;
        goto close;
    }
    rc = io_wait(&c->io, IO_OUT, deadline);
    if (rc < 0)
        goto close;
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error) {
        rc = -error;
        goto close;
    }
    return 0;
close:
    conn_close(c);
    return rc;
}

WAITS int conn_dial(struct conn *c, struct loop *l, str host, uint16_t port, uint64_t deadline)
{
    struct dns_answer found;
    int rc = dns_resolve(l, host, deadline, &found);
    if (rc < 0)
        return rc;
    uint64_t now = clock_now();
    for (unsigned i = 0; i < found.n; i++) {
        uint64_t until = deadline;              /* share what is left, so that one dead address cannot eat it all */
        if (i + 1 < found.n && deadline != NEVER && deadline > now)
            until = now + (deadline - now) / (found.n - i);
        rc = dial_one(c, l, &found.addresses[i], port, until);
        if (rc == 0 || rc == -ECANCELED)
            return rc;
        now = clock_now();
    }
    return rc;
}

int sock_listen(str host, uint16_t port, bool reuse_port, struct err *e)
{
    char name[256], service[8];
    if (host.len >= sizeof name)
        return err_set(e, "listen: the host name is too long");
    snprintf(name, sizeof name, STR_FMT, STR_ARG(host));
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *list;
    int rc = getaddrinfo(name, service, &hints, &list);
    if (rc) {
        err_set(e, "listen on %s: %s", name, gai_strerror(rc));
        return -EADDRNOTAVAIL;
    }
    int fd = socket_open(list->ai_family), one = 1;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (reuse_port)
            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        if (bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, 4096) < 0) {
            int error = errno;
            close(fd);
            fd = -error;
        }
    }
    if (fd < 0)
        err_set(e, "cannot listen on %s port %u: %s%s", name, port, strerror(-fd),
                fd == -EADDRINUSE ? " (another program uses this port; choose one with --listen)" : "");
    freeaddrinfo(list);
    return fd;
}

str sock_peer_text(int fd, char out[64])
{
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    char ip[INET6_ADDRSTRLEN] = "?";
    int len;
    if (getpeername(fd, (struct sockaddr *)&ss, &n) < 0)
        return S("");
    if (ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)(const void *)&ss;
        inet_ntop(AF_INET6, &a->sin6_addr, ip, sizeof ip);
        len = snprintf(out, 64, "[%s]:%u", ip, ntohs(a->sin6_port));
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)(const void *)&ss;
        inet_ntop(AF_INET, &a->sin_addr, ip, sizeof ip);
        len = snprintf(out, 64, "%s:%u", ip, ntohs(a->sin_port));
    }
    return (str){ out, (size_t)len };
}

uint16_t sock_port(int fd)
{
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &n) < 0)
        return 0;
    return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&ss)->sin6_port
                                          : ((struct sockaddr_in *)(void *)&ss)->sin_port);
}
