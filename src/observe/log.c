/* observe/log.c -- one line, one write.
 *
 * A line is built in a buffer on the stack, so the log works when memory is out. The limit per
 * event is a small table of counters keyed by the event's hash; two events that fall on one place
 * share their allowance. */
#include "observe/log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"

enum { EVENTS = 256 };

static _Atomic int level_from = LOG_INFO;
static _Atomic int format_chosen = LOG_AUTO;

static struct event {
    _Atomic uint64_t owner;         /* hash of the event's name; 0: nobody's yet */
    _Atomic uint64_t period;        /* number of the stretch of LOG_BURST_S */
    _Atomic uint32_t n, n_held;     /* lines in it; lines kept back and not yet told of */
} events[EVENTS];

static const char *const level_names[] = { "debug", "info", "warn", "error" };

/* ---- setting up ---- */

void log_setup(enum log_level from, enum log_format format)
{
    atomic_store(&level_from, from);
    atomic_store(&format_chosen, format);
}

bool log_level_parse(str name, enum log_level *out)
{
    static const struct { const char *name; enum log_level level; } table[] = {
        { "debug", LOG_DEBUG }, { "info", LOG_INFO }, { "warn", LOG_WARN }, { "warning", LOG_WARN },
        { "error", LOG_ERROR }, { "off", LOG_OFF },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_ieq(name, str_of(table[i].name))) {
            *out = table[i].level;
            return true;
        }
    return false;
}

bool log_format_parse(str name, enum log_format *out)
{
    static const struct { const char *name; enum log_format format; } table[] = {
        { "auto", LOG_AUTO }, { "json", LOG_JSON }, { "text", LOG_TEXT }, { "console", LOG_TEXT },
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_ieq(name, str_of(table[i].name))) {
            *out = table[i].format;
            return true;
        }
    return false;
}

/* ---- the limit ---- */

/* Every event has a place of its own, so that a storm of one holds no other back; beyond EVENTS they share. */
static struct event *event_of(const char *name)
{
    uint64_t hash = hash_str(str_of(name)) | 1;
    for (uint64_t i = 0; i < EVENTS; i++) {
        struct event *e = &events[((hash >> 1) + i) % EVENTS];
        uint64_t owner = atomic_load(&e->owner);
        if (owner == hash || (owner == 0 && atomic_compare_exchange_strong(&e->owner, &owner, hash)) || owner == hash)
            return e;
    }
    return &events[(hash >> 1) % EVENTS];
}

/* True: the line may go out; *n_held is then the number of lines before it that might not. */
static bool event_allows(const char *name, uint32_t *n_held)
{
    struct event *e = event_of(name);
    uint64_t period = clock_now() / (LOG_BURST_S * NS_PER_S) + 1;
    uint64_t seen = atomic_load(&e->period);
    if (seen != period && atomic_compare_exchange_strong(&e->period, &seen, period))
        atomic_store(&e->n, 0);
    if (atomic_fetch_add(&e->n, 1) >= LOG_BURST) {
        atomic_fetch_add(&e->n_held, 1);
        return false;
    }
    *n_held = atomic_exchange(&e->n_held, 0);
    return true;
}

/* ---- the line ---- */

struct line { char bytes[LOG_LINE_MAX]; size_t n; };

enum { LINE_END = 4 };              /* kept free for the newline */

static void put(struct line *l, str s)
{
    s = str_upto(s, sizeof l->bytes - LINE_END - l->n);
    memcpy(l->bytes + l->n, s.ptr, s.len);
    l->n += s.len;
}

static void put_number(struct line *l, uint64_t v)
{
    char text[24];
    put(l, (str){ text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)v) });
}

/* A JSON string; quoting grows a text at most sixfold. Without memory for it: an empty one. */
static void put_quoted(struct line *l, str s)
{
    struct buf quoted = { 0 };
    assert(s.len * 6 + 2 <= sizeof l->bytes - LINE_END - l->n);
    json_quote(&quoted, s);
    put(l, quoted.is_failed ? S("\"\"") : buf_view(&quoted));
    buf_free(&quoted);
}

static void put_plain(struct line *l, str s)     /* nothing that could move the terminal's cursor */
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        put(l, (str){ (char[]){ c < 0x20 || c == 0x7f ? ' ' : (char)c }, 1 });
    }
}

static bool is_text(void)
{
    static _Atomic int terminal = -1;
    int format = atomic_load(&format_chosen);
    if (format != LOG_AUTO)
        return format == LOG_TEXT;
    if (atomic_load(&terminal) < 0)
        atomic_store(&terminal, isatty(STDERR_FILENO) != 0);
    return atomic_load(&terminal) != 0;
}

static void line_head(struct line *l, bool text, enum log_level level, const char *event)
{
    char when[32];
    size_t n = clock_iso(clock_wall(), when);
    if (text) {
        put(l, (str){ when + 11, n - 12 });     /* the time of day is enough on a terminal */
        put(l, S(" "));
        put(l, str_of(level_names[level]));
        put(l, level == LOG_INFO || level == LOG_WARN ? S("  ") : S(" "));
        put(l, str_of(event));
        put(l, S(": "));
        return;
    }
    put(l, S("{\"ts\":\""));
    put(l, (str){ when, n });
    put(l, S("\",\"level\":\""));
    put(l, str_of(level_names[level]));
    put(l, S("\",\"event\":\""));
    put(l, str_of(event));
    put(l, S("\""));
}

static void line_send(struct line *l)
{
    for (size_t at = 0; at < l->n; ) {
        ssize_t put_now = write(STDERR_FILENO, l->bytes + at, l->n - at);
        if (put_now < 0 && errno == EINTR)
            continue;
        if (put_now <= 0)
            return;                             /* whom could we tell? */
        at += (size_t)put_now;
    }
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    uint32_t n_held;
    if ((int)level < atomic_load(&level_from) || level >= LOG_OFF || !event_allows(event, &n_held))
        return;
    char message[LOG_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    str said = { message, n < 0 ? 0 : (size_t)n < sizeof message ? (size_t)n : sizeof message - 1 };

    struct line l;
    l.n = 0;
    bool text = is_text();
    line_head(&l, text, level, event);
    if (text) {
        put_plain(&l, said);
        if (n_held) {
            put(&l, S(" (and "));
            put_number(&l, n_held);
            put(&l, S(" more before)"));
        }
    } else {
        put(&l, S(",\"msg\":"));
        put_quoted(&l, said);
        if (n_held) {
            put(&l, S(",\"suppressed\":"));
            put_number(&l, n_held);
        }
        put(&l, S("}"));
    }
    l.bytes[l.n++] = '\n';
    line_send(&l);
}

void log_fields(enum log_level level, const char *event, str members)
{
    uint32_t n_held = 0;
    if ((int)level < atomic_load(&level_from) || level >= LOG_OFF)
        return;
    if (level >= LOG_WARN && !event_allows(event, &n_held))
        return;
    struct line l;
    l.n = 0;
    bool text = is_text();
    line_head(&l, text, level, event);
    if (members.len > sizeof l.bytes - l.n - 64)
        members = S("\"truncated\":true");      /* half an object would break the reader */
    if (text) {
        put_plain(&l, members);
    } else {
        if (members.len)
            put(&l, S(","));
        put(&l, members);
        if (n_held) {
            put(&l, S(",\"suppressed\":"));
            put_number(&l, n_held);
        }
        put(&l, S("}"));
    }
    l.bytes[l.n++] = '\n';
    line_send(&l);
}
