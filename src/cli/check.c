/* cli/check.c -- everything a configuration has to say about itself, by place.
 *
 * The configuration is compiled as `serve` would compile it, so that patterns and references are
 * tried, not only read. Nothing is contacted. */
#include "cli/cli.h"

#include "base/json.h"
#include "base/put.h"

int cli_check(int argc, char **argv);

static const char *const severity_names[] = { "info", "warning", "error" };

static void check_json(const struct findings *list, const char *file, struct buf *out)
{
    struct json_writer w = { .out = out };
    jw_begin(&w, '{');
    put_str(&w, S("file"), str_of(file));
    put_bool(&w, S("ok"), list->n_by_severity[SEVERITY_ERROR] == 0);
    put_int(&w, S("errors"), (int64_t)list->n_by_severity[SEVERITY_ERROR]);
    put_int(&w, S("warnings"), (int64_t)list->n_by_severity[SEVERITY_WARNING]);
    put_int(&w, S("infos"), (int64_t)list->n_by_severity[SEVERITY_INFO]);
    put_open(&w, S("findings"), '[');
    for (size_t i = 0; i < list->n; i++) {
        const struct finding *f = &list->items[i];
        jw_begin(&w, '{');
        put_str(&w, S("name"), str_of(f->name));
        put_str(&w, S("severity"), str_of(severity_names[f->severity]));
        put_str(&w, S("file"), str_of(f->at.file ? f->at.file : file));
        put_int(&w, S("line"), f->at.line);
        put_int(&w, S("column"), f->at.col);
        put_str(&w, S("path"), f->path);
        put_str(&w, S("message"), f->text);
        put_str(&w, S("hint"), f->hint);
        jw_end(&w, '}');
    }
    jw_end(&w, ']');
    jw_end(&w, '}');
    buf_char(out, '\n');
}

static void check_text(const struct findings *list, const char *file, bool colour, struct buf *out)
{
    static const char *const colours[] = { "\033[36m", "\033[33m", "\033[31m" };
    for (size_t i = 0; i < list->n; i++) {
        const struct finding *f = &list->items[i];
        buf_printf(out, "%s%s", colour ? "\033[1m" : "", f->at.file ? f->at.file : file);
        if (f->at.line)
            buf_printf(out, ":%u:%u", f->at.line, f->at.col);
        buf_printf(out, ":%s %s%s[%s]%s: ", colour ? "\033[0m" : "",
                   colour ? colours[f->severity] : "", severity_names[f->severity], f->name,
                   colour ? "\033[0m" : "");
        if (f->path.len)
            buf_printf(out, STR_FMT ": ", STR_ARG(f->path));
        buf_str(out, f->text);
        buf_char(out, '\n');
        if (f->hint.len)
            buf_printf(out, "  hint: " STR_FMT "\n", STR_ARG(f->hint));
    }
    const size_t *n = list->n_by_severity;
    buf_printf(out, "%s: %zu error%s, %zu warning%s, %zu remark%s\n", file, n[SEVERITY_ERROR],
               n[SEVERITY_ERROR] == 1 ? "" : "s", n[SEVERITY_WARNING],
               n[SEVERITY_WARNING] == 1 ? "" : "s", n[SEVERITY_INFO],
               n[SEVERITY_INFO] == 1 ? "" : "s");
}

int cli_check(int argc, char **argv)
{
    struct cli_args args = cli_args_start("check", argc, argv);
    const char *path = NULL, *file;
    bool strict = false, json = false;
    for (int o; (o = cli_next(&args)) != CLI_END; ) {
        if (o == 'c' || (o == CLI_WORD && !path))
            path = args.value;
        else if (o == 'S')
            strict = true;
        else if (o == 'J')
            json = true;
        else
            return o == CLI_WORD ? cli_usage_error("check", "one file at a time; '%s' is too many",
                                                   args.value) : CLI_USAGE;
    }
    struct arena *a = arena_new();
    str text;
    int rc = CLI_USAGE;
    if (a && cli_config_text(a, path, &text, &file)) {
        struct findings list = { .a = a };
        struct buf out = { 0 };
        snap_free(snap_build(text, file, strict, &list));
        config_findings_settle(&list, strict);
        if (json)
            check_json(&list, file, &out);
        else
            check_text(&list, file, cli_colour(stdout), &out);
        rc = cli_put(stdout, buf_view(&out));
        if (rc == 0 && list.n_by_severity[SEVERITY_ERROR])
            rc = CLI_FINDING;
        buf_free(&out);
    }
    arena_free(a);
    return rc;
}
