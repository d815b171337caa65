/* cli/rows.c */
#include "cli/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "cli/cli.h"

enum { READ_BYTES = 256 << 10, BUFFER_BYTES = 1 << 20, PROGRESS_AFTER_MS = 2000, PROGRESS_EVERY_MS = 200, BAR = 30 };

struct rows {
    gzFile file;                        /* reads plain files as well */
    const char *path;
    struct buf held;                    /* read and not handed out */
    size_t at;
    uint64_t line;
    bool is_over;
    int64_t bytes_total;                /* of the file as it lies; 0: unknown */
    bool is_bad; struct err why;        /* what rows_take still has to tell */
};

struct rows *rows_open(const char *path, struct err *e)
{
    bool is_stdin = strcmp(path, "-") == 0;
    struct stat st;
    struct rows *r = calloc(1, sizeof *r);
    if (!r) {
        err_set(e, "no memory");
        return NULL;
    }
    r->path = is_stdin ? "standard input" : path;
    errno = 0;
    r->file = is_stdin ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path, "rb");
    if (!r->file || (!is_stdin && stat(path, &st) == 0 && S_ISDIR(st.st_mode))) {
        err_set(e, "cannot read '%s': %s", path, r->file ? "it is a folder" : errno ? strerror(errno) : "no memory");
        rows_close(r);
        return NULL;
    }
    gzbuffer(r->file, BUFFER_BYTES);
    if (!is_stdin && stat(path, &st) == 0 && S_ISREG(st.st_mode))
        r->bytes_total = st.st_size;
    return r;
}

void rows_close(struct rows *r)
{
    if (!r)
        return;
    if (r->file)
        gzclose(r->file);
    buf_free(&r->held);
    free(r);
}

double rows_share(const struct rows *r)
{
    z_off_t at = gzoffset(r->file);
    return r->bytes_total > 0 && at >= 0 ? (double)at / (double)r->bytes_total : -1;
}

/* 1 with the bytes of a line, 0 at the end, -1. */
static int line_next(struct rows *r, str *out, struct err *e)
{
    size_t seen = 0;
    for (;;) {
        str rest = str_from(buf_view(&r->held), r->at);
        const char *end = seen < rest.len ? memchr(rest.ptr + seen, '\n', rest.len - seen) : NULL;
        if (end || (r->is_over && rest.len)) {
            size_t n = end ? (size_t)(end - rest.ptr) : rest.len;
            *out = str_upto(rest, n);
            r->at += n + (end ? 1 : 0);
            r->line++;
            return 1;
        }
        if (r->is_over)
            return 0;
        seen = rest.len;
        if (seen > ROW_BYTES_MAX)
            return err_set(e, "%s:%llu: the line is longer than %d MiB", r->path, (unsigned long long)r->line + 1, ROW_BYTES_MAX >> 20);
        buf_drop(&r->held, r->at);
        r->at = 0;
        if (!buf_reserve(&r->held, READ_BYTES))
            return err_set(e, "%s:%llu: no memory for this line", r->path, (unsigned long long)r->line + 1);
        int n = gzread(r->file, r->held.ptr + r->held.len, READ_BYTES), code;
        if (n < 0 || (n == 0 && !gzeof(r->file)))
            return err_set(e, "%s: %s", r->path, gzerror(r->file, &code));
        r->held.len += (size_t)n;
        r->is_over = n == 0;
    }
}

/* A text that is there but blank is data too: it is scored as it is. */
static bool is_blank_text(const struct json *j, struct arena *a)
{
    jref text = json_get(j, 0, S("text"));
    return json_is(j, text, JSON_STRING) && str_trim(json_str(j, text, a)).len == 0;
}

static int row_read(struct rows *r, struct arena *a, str line, struct row *out, struct err *e)
{
    *out = (struct row){ .line = r->line, .raw = arena_str(a, line) };
    str trimmed = str_trim(out->raw);
    struct eval_request q = { 0 };
    struct err why = { 0 };
    struct json_error je;
    out->is_json = str_starts(trimmed, S("{"));
    if (!out->is_json) {
        struct buf body = { 0 };
        buf_str(&body, S("{\"text\":"));
        json_quote(&body, trimmed);
        buf_char(&body, '}');
        eval_parse(a, buf_to_arena(&body, a), &q, &why);
    } else if (json_parse(a, trimmed, &out->json, &je) < 0) {
        return err_set(e, "%s:%llu: malformed JSON: %s at byte %zu", r->path, (unsigned long long)r->line, je.what, je.at);
    } else {
        if (eval_parse(a, trimmed, &q, &why) < 0 && !is_blank_text(&out->json, a))
            return err_set(e, "%s:%llu: %s", r->path, (unsigned long long)r->line, why.text);
        jref label = json_get(&out->json, 0, S("label"));
        out->label = json_is(&out->json, label, JSON_STRING) ? json_str(&out->json, label, a)
                   : label != JSON_NONE ? json_raw(&out->json, label) : (str){ 0 };
        out->source = json_str(&out->json, json_get(&out->json, 0, S("source")), a);
    }
    out->chat = q.chat;
    out->text = q.text;
    facts_build(&out->facts, a, &out->chat);
    return 1;
}

int rows_next(struct rows *r, struct arena *a, struct row *out, struct err *e)
{
    str line;
    int rc;
    while ((rc = line_next(r, &line, e)) == 1 && str_trim(line).len == 0)
        ;
    return rc == 1 ? row_read(r, a, line, out, e) : rc;
}

int rows_take(struct rows *r, struct arena *a, struct row out[ROWS_AT_ONCE], struct err *e)
{
    int n = 0;
    size_t bytes = 0;
    while (!r->is_bad && n < ROWS_AT_ONCE && bytes < ROWS_BYTES) {
        int rc = rows_next(r, a, &out[n], &r->why);
        r->is_bad = rc < 0;
        if (rc < 1)
            break;
        bytes += out[n++].facts.evaluation_text.len;
    }
    return n || !r->is_bad ? n : err_set(e, "%s", r->why.text);
}

/* ---- progress ---- */

struct progress progress_start(const char *what)
{
    return (struct progress){ .what = what, .started = clock_now() };
}

void progress_show(struct progress *p, double share, uint64_t n)
{
    uint64_t now = clock_now();
    if ((now - p->started) / NS_PER_MS < PROGRESS_AFTER_MS || (now - p->shown) / NS_PER_MS < PROGRESS_EVERY_MS || !isatty(2))
        return;
    p->shown = now;
    p->is_shown = true;
    int full = share < 0 ? 0 : (int)(share * BAR + .5);
    double left = share > 0.01 ? (double)(now - p->started) / 1e9 * (1 - share) / share : -1;
    fprintf(stderr, "\r%s [%.*s%.*s] %llu", p->what, full > BAR ? BAR : full, "##############################",
            BAR - (full > BAR ? BAR : full), "..............................", (unsigned long long)n);
    if (left >= 0)
        fprintf(stderr, ", %.0f s left", left);
    fprintf(stderr, "\033[K");
}

void progress_end(struct progress *p)
{
    if (p->is_shown)
        fprintf(stderr, "\r\033[K");
}

/* ---- models ---- */

struct models *cli_models(struct arena *a, const char *config, const char *command)
{
    const char *file;
    str text;
    struct findings found = { .a = a };
    if (!cli_config_text(a, config, &text, &file))
        return NULL;
    const struct config *c = config_load(a, text, file, NULL, false, &found);
    if (!c || found.n_by_severity[SEVERITY_ERROR]) {
        fprintf(stderr, "signalbox %s: the configuration has errors:\n", command);
        cli_findings(stderr, &found, SEVERITY_ERROR);
        return NULL;
    }
    struct findings *later = ARENA_NEW(a, struct findings);
    later->a = a;
    struct models *m = models_new(a, c, file, later);
    models_be_patient(m);
    return m;
}

void cli_models_tell(const struct models *m, const char *command)
{
    fprintf(stderr, "signalbox %s: the model is not there:\n", command);
    cli_findings(stderr, models_findings(m), SEVERITY_WARNING);
}
