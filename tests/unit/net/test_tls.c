/* tests/unit/net/test_tls.c -- both sides of TLS, with certificates made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "party.h"

/* ---- certificates ---- */

static char folder[64];
enum { PATHS = 16 };
static char paths[PATHS][128];
static unsigned n_paths;

static str path_new(const char *name)
{
    snprintf(paths[n_paths], sizeof paths[0], "%s/%s", folder, name);
    return str_of(paths[n_paths++]);
}

struct identity { str certificate, key; X509 *x; EVP_PKEY *k; };

static void extend(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

static struct identity identity_new(const char *name, const char *names, const struct identity *issuer)
{
    static int serial = 1;
    struct identity id = { .k = EVP_EC_gen("P-256"), .x = X509_new() };
    X509_set_version(id.x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(id.x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(id.x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(id.x), 86400);
    X509_set_pubkey(id.x, id.k);
    X509_NAME *n = X509_get_subject_name(id.x);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(id.x, X509_get_subject_name(issuer ? issuer->x : id.x));
    if (names)
        extend(id.x, NID_subject_alt_name, names);
    else
        extend(id.x, NID_basic_constraints, "critical,CA:TRUE");
    X509_sign(id.x, issuer ? issuer->k : id.k, EVP_sha256());
    char file[40];
    snprintf(file, sizeof file, "%s.crt", name);
    id.certificate = path_new(file);
    snprintf(file, sizeof file, "%s.key", name);
    id.key = path_new(file);
    FILE *f = fopen(id.certificate.ptr, "w");
    PEM_write_X509(f, id.x);
    fclose(f);
    f = fopen(id.key.ptr, "w");
    PEM_write_PrivateKey(f, id.k, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    return id;
}

static struct identity ca, other_ca, server_id, client_id, stranger_id;

static int make_certificates(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/tls-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    ca = identity_new("ca", NULL, NULL);
    other_ca = identity_new("other-ca", NULL, NULL);
    server_id = identity_new("server", "DNS:good.test,DNS:*.wild.test,IP:127.0.0.1", &ca);
    client_id = identity_new("client", "DNS:client.test", &ca);
    stranger_id = identity_new("stranger", "DNS:client.test", &other_ca);
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    const struct identity *all[] = { &ca, &other_ca, &server_id, &client_id, &stranger_id };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        X509_free(all[i]->x);
        EVP_PKEY_free(all[i]->k);
    }
    for (unsigned i = 0; i < n_paths; i++)
        unlink(paths[i]);
    return rmdir(folder);
}

/* ---- a client and a server on one loop ---- */

struct talk {
    struct party p;
    struct ssl_ctx_st *server, *client;
    const char *host;
    int rc_server, rc_client, rc_read, rc_write;
    const char *why;
    char got[64];
    size_t bytes, wrong, size;
    struct conn a, b;
};

static void serve(void *arg)
{
    struct talk *t = arg;
    party_accept(&t->p, &t->a);
    t->rc_server = tls_accept(&t->a, t->server, clock_now() + 10 * NS_PER_S);
    ssize_t n = 0;
    char piece[3000];
    while (t->rc_server == 0 && (n = conn_read(&t->a, piece, sizeof piece, clock_now() + 10 * NS_PER_S)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            t->wrong += piece[i] != (char)((t->bytes + (size_t)i) * 7 >> 4);
        if (t->bytes / 500000 != (t->bytes + (size_t)n) / 500000)
            party_nap(5);                       /* slow now and then: the writer must wait */
        t->bytes += (size_t)n;
    }
    if (t->rc_server == 0) {
        t->rc_server = (int)n;
        conn_write(&t->a, S("answer"), NEVER);
    }
    conn_close(&t->a);
    party_leave(&t->p);
}

static void call(void *arg)
{
    struct talk *t = arg;
    t->rc_client = conn_dial(&t->b, t->p.l, S("127.0.0.1"), t->p.port, NEVER);
    if (t->rc_client == 0)
        t->rc_client = tls_connect(&t->b, t->client, str_of(t->host), false, clock_now() + 10 * NS_PER_S, &t->why);
    if (t->rc_client == 0) {
        char *bytes = malloc(t->size + 1);
        for (size_t i = 0; i < t->size; i++)
            bytes[i] = (char)(i * 7 >> 4);
        t->rc_write = conn_write(&t->b, (str){ bytes, t->size }, clock_now() + 20 * NS_PER_S);
        free(bytes);
        shutdown(t->b.io.fd, SHUT_WR);
        t->rc_read = (int)conn_read(&t->b, t->got, sizeof t->got - 1, clock_now() + 10 * NS_PER_S);
    }
    conn_close(&t->b);
    party_leave(&t->p);
}

static void talk(struct talk *t, struct tls_paths server, struct tls_paths client, const char *host, size_t size)
{
    struct err e = { 0 };
    memset(t, 0, sizeof *t);
    party_open(&t->p);
    t->server = tls_server_context(&server, &e);
    t->client = tls_client_context(&client, &e);
    if (!t->server || !t->client)
        fail_msg("%s", e.text);
    t->host = host;
    t->size = size;
    party_go(&t->p, serve, t);
    party_go(&t->p, call, t);
    party_run(&t->p);
    tls_context_free(t->server);
    tls_context_free(t->client);
}

static struct tls_paths server_paths(void)
{
    return (struct tls_paths){ .certificate = server_id.certificate, .key = server_id.key };
}

static void megabytes_pass_to_a_slow_reader_unharmed(void **state)
{
    (void)state;
    static const char *const hosts[] = { "good.test", "a.wild.test", "127.0.0.1" };
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        struct talk t;
        talk(&t, server_paths(), (struct tls_paths){ .ca = ca.certificate }, hosts[i], i ? 1000 : 5 * 1000 * 1000);
        if (t.rc_client || t.rc_server || t.rc_write)
            fail_msg("%s: client %d (%s), server %d, write %d", hosts[i], t.rc_client, t.why, t.rc_server, t.rc_write);
        assert_int_equal(t.bytes, t.size);
        assert_int_equal(t.wrong, 0);
        assert_string_equal(t.got, "answer");
    }
}

static void the_wrong_host_and_the_unknown_ca_are_refused(void **state)
{
    (void)state;
    struct { const char *host; str ca; const char *why; } cases[] = {
        { "evil.test", ca.certificate, "hostname mismatch" },
        { "a.b.wild.test", ca.certificate, "hostname mismatch" },
        { "127.0.0.2", ca.certificate, "IP address mismatch" },
        { "good.test", other_ca.certificate, "unable to get local issuer certificate" },
        { "good.test", S(""), "unable to get local issuer certificate" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct talk t;
        talk(&t, server_paths(), (struct tls_paths){ .ca = cases[i].ca }, cases[i].host, 10);
        assert_int_equal(t.rc_client, -EPROTO);
        assert_true(t.rc_server < 0);
        assert_string_equal(t.why, cases[i].why);
        assert_int_equal(t.bytes, 0);
    }
    struct talk t;
    talk(&t, server_paths(), (struct tls_paths){ .insecure = true }, "evil.test", 10);
    assert_int_equal(t.rc_client, 0);           /* asked for */
    assert_int_equal(t.bytes, 10);
}

static void client_certificates_are_demanded(void **state)
{
    (void)state;
    struct tls_paths s = server_paths();
    s.ca = ca.certificate;
    s.verify_client = true;
    const struct { const struct identity *id; bool ok; } cases[] = {
        { &client_id, true }, { &stranger_id, false }, { NULL, false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tls_paths c = { .ca = ca.certificate };
        if (cases[i].id) {
            c.certificate = cases[i].id->certificate;
            c.key = cases[i].id->key;
        }
        struct talk t;
        talk(&t, s, c, "good.test", 10);
        assert_int_equal(t.rc_server == 0, cases[i].ok);
        assert_int_equal(t.bytes, cases[i].ok ? 10 : 0);
        if (!cases[i].ok)
            assert_true(t.rc_client < 0 || t.rc_read <= 0);
    }
}

static void bad_files_are_named(void **state)
{
    (void)state;
    struct err e = { 0 };
    assert_null(tls_server_context(&(struct tls_paths){ .certificate = S("/no/such.crt") }, &e));
    assert_non_null(strstr(e.text, "/no/such.crt"));
    e = (struct err){ 0 };
    assert_null(tls_server_context(&(struct tls_paths){ .certificate = server_id.certificate, .key = client_id.key }, &e));
    assert_non_null(strstr(e.text, "client.key"));
    e = (struct err){ 0 };
    assert_null(tls_client_context(&(struct tls_paths){ .ca = server_id.key }, &e));
    assert_non_null(strstr(e.text, "server.key"));
}

/* ---- who speaks something else ---- */

struct two { struct talk t; struct conn plain; int rc_garbage; };

static void garble(void *arg)
{
    struct two *w = arg;
    conn_dial(&w->plain, w->t.p.l, S("127.0.0.1"), w->t.p.port, NEVER);
    conn_write(&w->plain, S("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), NEVER);
    char c;
    while (conn_read(&w->plain, &c, 1, clock_now() + 5 * NS_PER_S) > 0)
        ;
    conn_close(&w->plain);
    party_leave(&w->t.p);
}

/* The handshake of a stranger fails and is not cleaned up yet while a good connection finds nothing to read. */
static void read_beside_a_failed_handshake(void *arg)
{
    struct two *w = arg;
    struct talk *t = &w->t;
    struct conn bad;
    party_accept(&t->p, &t->a);
    t->rc_server = tls_accept(&t->a, t->server, NEVER);
    party_go(&t->p, garble, w);
    party_accept(&t->p, &bad);
    w->rc_garbage = tls_accept(&bad, t->server, clock_now() + 5 * NS_PER_S);
    char c;
    t->rc_read = (int)conn_read(&t->a, &c, 1, clock_now() + 20 * NS_PER_MS);
    conn_close(&bad);
    conn_close(&t->a);
    party_leave(&t->p);
}

static void only_connect(void *arg)
{
    struct two *w = arg;
    struct talk *t = &w->t;
    conn_dial(&t->b, t->p.l, S("127.0.0.1"), t->p.port, NEVER);
    t->rc_client = tls_connect(&t->b, t->client, S("good.test"), false, NEVER, &t->why);
    char c;
    conn_read(&t->b, &c, 1, clock_now() + 5 * NS_PER_S);
    conn_close(&t->b);
    party_leave(&t->p);
}

static void one_bad_handshake_does_not_break_another_connection(void **state)
{
    (void)state;
    struct two w = { 0 };
    struct err e = { 0 };
    struct tls_paths s = server_paths();
    party_open(&w.t.p);
    w.t.server = tls_server_context(&s, &e);
    w.t.client = tls_client_context(&(struct tls_paths){ .ca = ca.certificate }, &e);
    party_go(&w.t.p, read_beside_a_failed_handshake, &w);
    party_go(&w.t.p, only_connect, &w);
    party_run(&w.t.p);
    assert_int_equal(w.t.rc_server, 0);
    assert_int_equal(w.t.rc_client, 0);
    assert_int_equal(w.rc_garbage, -EPROTO);
    assert_int_equal(w.t.rc_read, -ETIMEDOUT);  /* not -EPROTO */
    tls_context_free(w.t.server);
    tls_context_free(w.t.client);
}

static bool bucket_is_empty(struct loop *l, const struct origin *o)     /* an idle one would be handed out at once */
{
    struct upstream *u;
    const char *why, *detail;
    if (client_get(l, o, false, 0, &u, &why, &detail) < 0)
        return true;                            /* it had to dial, and there was no time */
    client_drop(u);
    return false;
}

static void pool_over_tls(void *arg)
{
    struct talk *t = arg;
    struct origin o = { .host = S("127.0.0.1"), .port = t->p.port, .tls = t->client, .key = 1 };
    struct upstream *u, *again;
    const char *why, *detail;
    char text[8] = "";
    t->rc_client = client_get(t->p.l, &o, false, NEVER, &u, &why, &detail);
    conn_write(&u->conn, S("x"), NEVER);
    conn_read(&u->conn, text, 4, NEVER);        /* its tickets, too */
    client_put(u);
    party_nap(20);
    t->rc_write = client_get(t->p.l, &o, false, NEVER, &again, &why, &detail);
    t->wrong = again != u;
    conn_write(&again->conn, S("x"), NEVER);
    t->rc_read = (int)conn_read(&again->conn, text, 3, NEVER);      /* of 4: one byte is left inside TLS */
    client_put(again);
    struct upstream *third;
    client_get(t->p.l, &o, true, NEVER, &third, &why, &detail);
    t->bytes = bucket_is_empty(t->p.l, &o);
    client_drop(third);
    party_leave(&t->p);
}

static void echo_twice(void *arg)
{
    struct talk *t = arg;
    struct conn c, d;
    char byte;
    party_accept(&t->p, &c);
    t->rc_server = tls_accept(&c, t->server, NEVER);
    while (conn_read(&c, &byte, 1, NEVER) > 0)
        conn_write(&c, S("pong"), NEVER);
    party_accept(&t->p, &d);
    tls_accept(&d, t->server, NEVER);
    conn_read(&d, &byte, 1, NEVER);
    conn_close(&d);
    conn_close(&c);
    party_leave(&t->p);
}

static void connections_over_tls_are_pooled_unless_something_is_left_in_them(void **state)
{
    (void)state;
    struct talk t = { 0 };
    struct err e = { 0 };
    struct tls_paths s = server_paths();
    party_open(&t.p);
    t.server = tls_server_context(&s, &e);
    t.client = tls_client_context(&(struct tls_paths){ .ca = ca.certificate }, &e);
    party_go(&t.p, echo_twice, &t);
    party_go(&t.p, pool_over_tls, &t);
    party_run(&t.p);
    assert_int_equal(t.rc_client, 0);
    assert_int_equal(t.rc_write, 0);
    assert_int_equal(t.wrong, 0);
    assert_int_equal(t.rc_read, 3);
    assert_true(t.bytes);
    tls_context_free(t.server);
    tls_context_free(t.client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(megabytes_pass_to_a_slow_reader_unharmed),
        cmocka_unit_test(the_wrong_host_and_the_unknown_ca_are_refused),
        cmocka_unit_test(client_certificates_are_demanded),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(one_bad_handshake_does_not_break_another_connection),
        cmocka_unit_test(connections_over_tls_are_pooled_unless_something_is_left_in_them),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
