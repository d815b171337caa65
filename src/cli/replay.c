/* cli/replay.c -- what would have happened: recorded requests decided again.
 *
 * A decision is a function of the request and the configuration, so replaying is exact but for selectors
 * that look at live figures. Every line gets an arena of its own; what is kept is a matrix of
 * "was decided so, is now decided so" and a few examples. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/put.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/rows.h"
#include "pipeline/route.h"

enum {
    EXAMPLES_DEFAULT = 10, EXAMPLES_MAX = 100000,
    CELLS_MAX = 4096,               /* of the matrix; further pairs are counted together */
    EXCERPT = 72,                   /* bytes of an example's text */
};

struct verdict { str decision, model; };        /* "" where there is none */

struct cell { struct verdict from, to; uint64_t n; };

struct example { uint64_t line; struct verdict from, to; str text; };

struct replay {
    struct arena *a;                /* of what is kept */
    struct snap *under, *against;   /* against: NULL: compare with the record */
    const char *log;
    int64_t examples_max;
    struct map cells;
    struct example *examples; size_t n_examples;
    uint64_t lines, requests, unreadable, bodyless, compared, changed, refused;
    str first_trouble;              /* of an unreadable line */
    struct progress bar;
    int64_t bytes, bytes_total;     /* total 0: unknown */
};

/* ---- one line ---- */

struct record { str body; struct verdict was; bool has_was; jref headers; };

/* An access line with a captured body, {"body": ...}, or a request itself. False: there is no body in it. */
static bool record_read(struct arena *a, const struct json *j, struct record *out)
{
    static const str keys[] = { { "request", 7 }, { "body", 4 } };
    *out = (struct record){ .headers = json_get(j, 0, S("headers")) };
    for (size_t i = 0; i < COUNT_OF(keys) && !out->body.len; i++) {
        jref n = json_get(j, 0, keys[i]);
        if (json_is(j, n, JSON_OBJECT))
            out->body = json_raw(j, n);
        else if (json_is(j, n, JSON_STRING))
            out->body = json_str(j, n, a);
    }
    if (!out->body.len)
        out->body = json_str(j, json_get(j, 0, S("request_text")), a);
    if (!out->body.len) {
        bool is_request = json_get(j, 0, S("messages")) != JSON_NONE ||
                          json_get(j, 0, S("prompt")) != JSON_NONE ||
                          json_get(j, 0, S("input")) != JSON_NONE ||
                          json_get(j, 0, S("text")) != JSON_NONE;
        out->body = is_request ? json_raw(j, 0) : (str){ 0 };
        return is_request;
    }
    jref model = json_get(j, 0, S("model")), decision = json_get(j, 0, S("decision"));
    out->has_was = model != JSON_NONE || decision != JSON_NONE;
    out->was = (struct verdict){ json_str(j, decision, a), json_str(j, model, a) };
    return true;
}

/* headers: [["name", "value"], ...] as the access log has them, or an object. */
static void headers_take(struct req *r, const struct json *j, jref headers)
{
    if (json_is(j, headers, JSON_OBJECT)) {
        JSON_EACH_PAIR(j, headers, key, value)
            ask_header(r, json_str(j, key, r->a), json_str(j, value, r->a));
    } else if (json_is(j, headers, JSON_ARRAY)) {
        JSON_EACH_ITEM(j, headers, pair)
            if (json_is(j, pair, JSON_ARRAY) && json_count(j, pair) == 2)
                ask_header(r, json_str(j, pair + 1, r->a), json_str(j, pair + 2, r->a));
    }
}

/* NULL: the line is no request that could be decided. */
static const struct req *decide(struct snap *s, struct arena *a, const struct json *j,
                                const struct record *rec, struct verdict *out, struct err *e)
{
    struct req *r = ask_new(a, s, rec->body, e);
    if (!r)
        return NULL;
    headers_take(r, j, rec->headers);
    if (route_request(r) < 0) {
        *out = (struct verdict){ arena_printf(a, "refused: %s", r->fail.code ? r->fail.code : "error"), S("") };
        return r;
    }
    *out = (struct verdict){ r->decision.conf ? r->decision.conf->name : S(""), r->n_order ? r->order[0]->name : S("") };
    return r;
}

static struct verdict verdict_keep(struct arena *a, struct verdict v)
{
    return (struct verdict){ arena_str(a, v.decision), arena_str(a, v.model) };
}

static void count(struct replay *p, struct arena *a, struct verdict from, struct verdict to)
{
    str key = arena_printf(a, STR_FMT "\t" STR_FMT "\t" STR_FMT "\t" STR_FMT,
                           STR_ARG(from.decision), STR_ARG(from.model), STR_ARG(to.decision),
                           STR_ARG(to.model));
    if (p->cells.n >= CELLS_MAX && !map_has(&p->cells, key)) {
        from = to = (struct verdict){ S("(others)"), S("(others)") };
        key = S("(others)");
    }
    struct cell *c = map_get(&p->cells, key);
    if (!c) {
        c = ARENA_NEW(p->a, struct cell);
        *c = (struct cell){ verdict_keep(p->a, from), verdict_keep(p->a, to), 0 };
        map_put(&p->cells, arena_str(p->a, key), c);
    }
    c->n++;
}

static void example_keep(struct replay *p, const struct req *r, struct verdict from,
                         struct verdict to)
{
    if ((int64_t)p->n_examples >= p->examples_max)
        return;
    str text = str_upto(r->facts.current_user, EXCERPT);
    while (text.len && text.len < r->facts.current_user.len &&
           (r->facts.current_user.ptr[text.len] & 0xC0) == 0x80)
        text.len--;                             /* not in the middle of a character */
    struct example *x = PUSH(p->a, p->examples, p->n_examples);
    *x = (struct example){ p->lines, verdict_keep(p->a, from), verdict_keep(p->a, to), arena_str(p->a, text) };
}

static void line_replay(struct replay *p, struct arena *a, str line)
{
    struct json j;
    struct json_error je;
    struct record rec;
    struct err e = { 0 };
    if (json_parse(a, line, &j, &je) < 0)
        err_set(&e, "malformed JSON: %s at byte %zu", je.what, je.at);
    else if (!json_is(&j, 0, JSON_OBJECT))
        err_set(&e, "expected an object, got %s", json_kind_name(json_kind(&j, 0)));
    if (!e.text[0] && !record_read(a, &j, &rec)) {
        p->bodyless++;
        return;
    }
    struct verdict from = { 0 }, to;
    const struct req *r = e.text[0] ? NULL : decide(p->under, a, &j, &rec, &to, &e);
    if (!r) {
        if (p->unreadable++ == 0)
            p->first_trouble = arena_printf(p->a, "line %llu: %s", (unsigned long long)p->lines,
                                            e.text);
        return;
    }
    p->requests++;
    bool has_from = rec.has_was;
    if (p->against) {                           /* -c is what was, --against what is to come */
        from = to;
        has_from = decide(p->against, a, &j, &rec, &to, &e) != NULL;
    } else if (has_from) {
        from = rec.was;
    }
    p->refused += str_starts(to.decision, S("refused: "));
    if (!has_from)
        from = to;
    p->compared += has_from;
    count(p, a, from, to);
    if (!str_eq(from.decision, to.decision) || !str_eq(from.model, to.model)) {
        p->changed++;
        example_keep(p, r, from, to);
    }
}

/* ---- all lines ---- */

static void progress(struct replay *p)
{
    progress_show(&p->bar, p->bytes_total > 0 ? (double)p->bytes / (double)p->bytes_total : -1, p->lines);
}

static bool replay_all(struct replay *p, FILE *f)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    struct stat st;
    if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode))
        p->bytes_total = st.st_size;
    p->bar = progress_start("replaying");
    while ((n = getline(&line, &cap, f)) > 0) {
        str text = str_trim((str){ line, (size_t)n });
        struct arena *a = arena_new();
        p->lines++;
        p->bytes += n;
        if (!a)
            break;
        if (text.len > CLI_FILE_MAX)
            p->unreadable++;
        else if (text.len)
            line_replay(p, a, text);
        arena_free(a);
        progress(p);
    }
    progress_end(&p->bar);
    bool ok = !ferror(f);
    free(line);
    return ok;
}

/* ---- the report ---- */

static int cell_more(const void *a, const void *b)
{
    const struct cell *x = *(const struct cell *const *)a, *y = *(const struct cell *const *)b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n)
                        : str_cmp(x->from.decision, y->from.decision);
}

static bool cell_changes(const struct cell *c)
{
    return !str_eq(c->from.decision, c->to.decision) || !str_eq(c->from.model, c->to.model);
}

static struct cell **cells_sorted(struct replay *p)
{
    struct cell **list = ARENA_ARRAY(p->a, struct cell *, p->cells.n);
    for (size_t i = 0; i < p->cells.n; i++)
        list[i] = p->cells.entries[i].value;
    qsort(list, p->cells.n, sizeof *list, cell_more);
    return list;
}

static str verdict_text(struct arena *a, struct verdict v)
{
    return arena_printf(a, STR_FMT "%s" STR_FMT,
                        STR_ARG(v.decision.len ? v.decision : S("(no decision)")),
                        v.model.len ? " -> " : "", STR_ARG(v.model));
}

static void table(struct replay *p, struct cell **cells, bool changes, const char *title,
                  struct buf *out)
{
    bool any = false;
    for (size_t i = 0; i < p->cells.n; i++) {
        if (cell_changes(cells[i]) != changes)
            continue;
        if (!any)
            buf_printf(out, "\n%s\n", title);
        any = true;
        str from = verdict_text(p->a, cells[i]->from), to = verdict_text(p->a, cells[i]->to);
        buf_printf(out, "%9llu  " STR_FMT, (unsigned long long)cells[i]->n, STR_ARG(from));
        if (changes)
            buf_printf(out, "%*s  =>  " STR_FMT, from.len < 36 ? (int)(36 - from.len) : 0, "",
                       STR_ARG(to));
        buf_char(out, '\n');
    }
}

static void report_text(struct replay *p, struct buf *out)
{
    struct cell **cells = cells_sorted(p);
    double share = p->compared ? 100 * (double)p->changed / (double)p->compared : 0;
    buf_printf(out, "%llu requests in %llu lines", (unsigned long long)p->requests,
               (unsigned long long)p->lines);
    if (p->bodyless)
        buf_printf(out, ", %llu lines without a body", (unsigned long long)p->bodyless);
    if (p->unreadable)
        buf_printf(out, ", %llu unreadable", (unsigned long long)p->unreadable);
    buf_char(out, '\n');
    if (p->first_trouble.len)
        buf_printf(out, "first trouble: " STR_FMT "\n", STR_ARG(p->first_trouble));
    if (p->refused)
        buf_printf(out, "%llu would be refused\n", (unsigned long long)p->refused);
    if (p->compared)
        buf_printf(out, "%llu of %llu change (%.1f %%)\n", (unsigned long long)p->changed,
                   (unsigned long long)p->compared, share);
    else if (p->requests)
        buf_str(out, S("nothing to compare with: the lines hold requests only; --against FILE compares "
                       "two configurations\n"));
    table(p, cells, true, "Changed", out);
    const char *rest = p->compared == p->requests ? "Unchanged"
                     : p->compared ? "Unchanged, or nothing to compare with" : "Decided";
    table(p, cells, false, rest, out);
    if (p->n_examples)
        buf_str(out, S("\nExamples\n"));
    for (size_t i = 0; i < p->n_examples; i++) {
        const struct example *x = &p->examples[i];
        str from = verdict_text(p->a, x->from), to = verdict_text(p->a, x->to);
        buf_printf(out, "%s:%llu: " STR_FMT "  =>  " STR_FMT "\n    ", p->log,
                   (unsigned long long)x->line, STR_ARG(from), STR_ARG(to));
        json_quote(out, x->text);
        buf_char(out, '\n');
    }
}

static void verdict_json(struct json_writer *w, const char *key, struct verdict v)
{
    put_open(w, str_of(key), '{');
    put_str(w, S("decision"), v.decision);
    put_str(w, S("model"), v.model);
    jw_end(w, '}');
}

static void report_json(struct replay *p, struct buf *out)
{
    struct json_writer w = { .out = out };
    struct cell **cells = cells_sorted(p);
    jw_begin(&w, '{');
    put_int(&w, S("lines"), p->lines);
    put_int(&w, S("requests"), p->requests);
    put_int(&w, S("without_body"), p->bodyless);
    put_int(&w, S("unreadable"), p->unreadable);
    put_int(&w, S("refused"), p->refused);
    put_int(&w, S("compared"), p->compared);
    put_int(&w, S("changed"), p->changed);
    put_open(&w, S("matrix"), '[');
    for (size_t i = 0; i < p->cells.n; i++) {
        jw_begin(&w, '{');
        verdict_json(&w, "from", cells[i]->from);
        verdict_json(&w, "to", cells[i]->to);
        put_int(&w, S("count"), cells[i]->n);
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    put_open(&w, S("examples"), '[');
    for (size_t i = 0; i < p->n_examples; i++) {
        jw_begin(&w, '{');
        put_int(&w, S("line"), p->examples[i].line);
        put_str(&w, S("text"), p->examples[i].text);
        verdict_json(&w, "from", p->examples[i].from);
        verdict_json(&w, "to", p->examples[i].to);
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    jw_end(&w, '}');
    buf_char(out, '\n');
}

/* ---- the command ---- */

static int replay(struct replay *p, FILE *f, bool json)
{
    struct buf out = { 0 };
    if (!replay_all(p, f)) {
        fprintf(stderr, "signalbox replay: %s: %s\n", p->log, strerror(errno));
        return CLI_USAGE;
    }
    if (json)
        report_json(p, &out);
    else
        report_text(p, &out);
    int put = cli_put(stdout, buf_view(&out));
    buf_free(&out);
    return put ? put : p->changed ? CLI_FINDING : CLI_FINE;
}

int cli_replay(int argc, char **argv)
{
    struct cli_args args = cli_args_start("replay", argc, argv);
    const char *config = NULL, *against = NULL;
    struct replay p = { .examples_max = EXAMPLES_DEFAULT };
    bool json = false;
    int o, rc = CLI_USAGE;
    while ((o = cli_next(&args)) != CLI_END) {
        switch (o) {
        case 'c': config = args.value; break;
        case 'a': against = args.value; break;
        case 'J': json = true; break;
        case 'n':
            if (!str_int(str_of(args.value), &p.examples_max) || p.examples_max < 0 ||
                p.examples_max > EXAMPLES_MAX)
                return cli_usage_error("replay", "--examples %s: a number from 0 to %d", args.value,
                                       EXAMPLES_MAX);
            break;
        case CLI_WORD:
            if (p.log)
                return cli_usage_error("replay", "one LOG at a time; '%s' is a second one",
                                       args.value);
            p.log = args.value;
            break;
        default:
            return CLI_USAGE;
        }
    }
    if (!p.log)
        return cli_usage_error("replay", "which LOG?");
    FILE *f = strcmp(p.log, "-") == 0 ? stdin : fopen(p.log, "re");
    if (!f) {
        fprintf(stderr, "signalbox replay: %s: %s\n", p.log, strerror(errno));
        return CLI_USAGE;
    }
    p.a = p.cells.a = arena_new();
    p.under = cli_snap(p.a, config, SEVERITY_ERROR);
    p.against = against && p.under ? cli_snap(p.a, against, SEVERITY_ERROR) : NULL;
    if (p.under && (p.against || !against))
        rc = replay(&p, f, json);
    snap_free(p.against);
    snap_free(p.under);
    arena_free(p.a);
    if (f != stdin)
        fclose(f);
    return rc;
}
