/* cli/tenancy.c */
#include "cli/tenancy.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "net/h1.h"
#include "pipeline/budget.h"

enum { ANSWER_MAX = 256 << 20, TIMEOUT_S = 60 };

bool tenancy_option(struct tenancy_target *t, int id, const char *value)
{
    switch (id) {
    case 'A': t->admin = value; return true;
    case 'T': t->token_env = value; return true;
    case 'S': t->state = value; return true;
    case 'c': t->config = value; return true;
    case 'J': t->json = true; return true;
    default:  return false;
    }
}

str path_escape(struct arena *a, str s)
{
    struct buf out = { 0 };
    http_path_encode(s, ",", &out);
    return buf_to_arena(&out, a);
}

/* ---- over the network ---- */

static int ask_server(const struct tenancy_target *t, struct arena *a, const struct tenancy_call *call, int *status, str *text)
{
    struct endpoint at;
    struct conn c = { 0 };
    struct h1 in;
    struct http_head head;
    const char *where = t->admin ? t->admin : "127.0.0.1:8080", *variable = t->token_env ? t->token_env : "SIGNALBOX_ADMIN_TOKEN";
    const char *token = getenv(variable);
    uint64_t deadline = clock_now() + TIMEOUT_S * NS_PER_S;
    if (t->token_env && !token)
        return cli_usage_error(t->command, "the environment variable %s is not set", variable);
    if (!endpoint_parse(str_of(where), 8080, &at))
        return cli_usage_error(t->command, "--admin %s: HOST:PORT is needed", where);
    int rc = conn_dial(&c, NULL, at.host, at.port, deadline);
    if (rc < 0) {
        fprintf(stderr, "signalbox %s: no gateway at %s: %s. Is it running? --admin says where, --state works without one.\n",
                t->command, where, strerror(-rc));
        return CLI_USAGE;
    }
    str request = arena_printf(a, STR_FMT " " STR_FMT "%s" STR_FMT " HTTP/1.1\r\nhost: %s\r\nuser-agent: signalbox\r\n%s%s%s"
                                  "content-type: application/json\r\ncontent-length: %zu\r\nconnection: close\r\n\r\n",
                               STR_ARG(call->method), STR_ARG(call->path), call->query.len ? "?" : "", STR_ARG(call->query),
                               where, token ? "authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "",
                               call->body.len);
    struct iovec v[2] = { { (char *)(uintptr_t)request.ptr, request.len },
                          { (char *)(uintptr_t)call->body.ptr, call->body.len } };
    h1_init(&in, &c, H1_RESPONSES);
    rc = conn_writev(&c, v, call->body.len ? 2 : 1, deadline);
    if (rc == 0 && h1_read_head(&in, a, 64 * 1024, &head, deadline, false) != 1)
        rc = -EPIPE;
    if (rc == 0)
        rc = h1_read_body(&in, a, &head, ANSWER_MAX, text, deadline);
    conn_close(&c);
    if (rc < 0) {
        fprintf(stderr, "signalbox %s: %s did not answer: %s\n", t->command, where, strerror(-rc));
        return CLI_USAGE;
    }
    *status = head.status;
    return CLI_FINE;
}

/* ---- without a server ---- */

static int ask_file(const struct tenancy_target *t, struct arena *a, struct tenancy_call *call,
                    void (*answer)(struct tenancy_call *c), int *status, str *text)
{
    struct snap *s = NULL;
    struct err e = { 0 };
    struct findings found = { .a = a };
    const struct config *conf;
    struct buf out = { 0 };
    if (t->config) {
        s = cli_snap(a, t->config, SEVERITY_ERROR);
        if (!s)
            return CLI_USAGE;
        conf = s->config;
        if (conf->tenancy.state.path.len == 0) {
            fprintf(stderr, "signalbox %s: %s names no state file (global.state.path)\n", t->command, t->config);
            snap_free(s);
            return CLI_USAGE;
        }
    } else {
        struct buf yaml = { 0 };
        buf_str(&yaml, S("global: {state: {path: "));
        json_quote(&yaml, str_of(t->state));
        buf_str(&yaml, S("}}\n"));
        conf = config_load(a, buf_to_arena(&yaml, a), "--state", NULL, false, &found);
        if (!conf)
            return cli_usage_error(t->command, "--state %s: not a usable path", t->state);
    }
    int rc = CLI_FINE;
    if (books_open(conf, &e) < 0) {
        fprintf(stderr, "signalbox %s: %s\n", t->command, e.text);
        rc = CLI_USAGE;
    } else {
        call->snap = s;
        call->out = &out;
        answer(call);
        *status = call->status;
        *text = buf_to_arena(&out, a);
        books_close();
    }
    snap_free(s);
    return rc;
}

int tenancy_ask(const struct tenancy_target *t, struct arena *a, void (*answer)(struct tenancy_call *c), const char *method,
                str path, str query, str body, str *text)
{
    struct tenancy_call call = { .a = a, .method = str_of(method), .path = path, .query = query, .body = body, .status = 200 };
    int status = 0;
    *text = S("");
    if ((t->state || t->config) && t->admin)
        return cli_usage_error(t->command, "--admin and --state exclude each other");
    int rc = t->state || t->config ? ask_file(t, a, &call, answer, &status, text) : ask_server(t, a, &call, &status, text);
    if (rc != CLI_FINE || status < 400)
        return rc;
    struct json j;
    struct json_error je;
    jref message = json_parse(a, *text, &j, &je) == 0 ? json_path(&j, "error.message") : JSON_NONE;
    fprintf(stderr, "signalbox %s: " STR_FMT "\n", t->command,
            STR_ARG(message == JSON_NONE ? arena_printf(a, "status %d", status) : json_str(&j, message, a)));
    return CLI_FINDING;
}

/* ---- printing ---- */

void table_cell(struct table *t, str s)
{
    *PUSH(t->a, t->cells, t->n) = s;
}

static size_t width_of(str s)                   /* code points; good enough for names */
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
    return n;
}

static bool is_number(str s)
{
    return s.len && ((s.ptr[0] >= '0' && s.ptr[0] <= '9' && str_chr(s, '-') < 0) || (s.ptr[0] == '-' && s.len > 1));
}

int table_print(const struct table *t)
{
    size_t *widths = ARENA_ARRAY(t->a, size_t, t->n_columns);
    struct buf out = { 0 };
    for (size_t i = 0; i < t->n; i++) {
        size_t w = width_of(t->cells[i]), *widest = &widths[i % t->n_columns];
        *widest = w > *widest ? w : *widest;
    }
    for (size_t i = 0; i < t->n; i++) {
        size_t column = i % t->n_columns, pad = widths[column] - width_of(t->cells[i]);
        bool is_last = column + 1 == t->n_columns, right = i >= t->n_columns && is_number(t->cells[i]);
        if (right)
            buf_printf(&out, "%*s", (int)pad, "");
        for (size_t k = 0; k < t->cells[i].len; k++)        /* a name must not steer the terminal */
            buf_char(&out, (unsigned char)t->cells[i].ptr[k] < 0x20 || t->cells[i].ptr[k] == 0x7f ? '?' : t->cells[i].ptr[k]);
        if (!right && !is_last)
            buf_printf(&out, "%*s", (int)pad, "");
        buf_str(&out, is_last ? S("\n") : S("  "));
    }
    int rc = cli_put(stdout, buf_view(&out));
    buf_free(&out);
    return rc;
}

int json_put(str text)
{
    int rc = cli_put(stdout, text);
    return rc ? rc : cli_put(stdout, S("\n"));
}

str json_shown(struct arena *a, const struct json *j, jref object, const char *key)
{
    jref at = object == JSON_NONE ? JSON_NONE : json_get(j, object, str_of(key));
    if (at == JSON_NONE || json_is(j, at, JSON_NULL))
        return S("");
    if (json_is(j, at, JSON_STRING))
        return json_str(j, at, a);
    if (!json_is(j, at, JSON_ARRAY))
        return json_raw(j, at);
    struct buf out = { 0 };
    JSON_EACH_ITEM(j, at, item) {
        if (out.len)
            buf_char(&out, ',');
        buf_str(&out, json_str(j, item, a));
    }
    return buf_to_arena(&out, a);
}
