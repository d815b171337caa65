/* cli/config.c -- what can be written, what holds, and what changes between two configurations.
 *
 * `diff` compares effective documents: after defaults and environment, secrets masked. List items
 * with a name are matched by it, so that moving one is no change. */
#include "cli/cli.h"

int cli_config(int argc, char **argv);

/* ---- diff ---- */

struct diff { struct arena *a; struct buf *out; size_t n; bool colour; };

static str scalar_text(struct arena *a, const struct value *v)
{
    struct buf b = { 0 };
    value_to_json(v, &b);
    str s = arena_str(a, str_upto(buf_view(&b), 160));
    if (b.len > 160)
        s = arena_printf(a, STR_FMT "...", STR_ARG(s));
    buf_free(&b);
    return s;
}

static void diff_line(struct diff *d, char mark, str path, const struct value *v)
{
    const char *colour = !d->colour ? "" : mark == '+' ? "\033[32m" : "\033[31m";
    buf_printf(d->out, "%s%c " STR_FMT ": " STR_FMT "%s\n", colour, mark, STR_ARG(path),
               STR_ARG(scalar_text(d->a, v)), d->colour ? "\033[0m" : "");
    d->n++;
}

static str item_name(const struct value *v)
{
    const struct value *name = value_get(v, S("name"));
    if (!name)
        name = value_get(v, S("type"));
    if (!name)
        name = value_get(v, S("model"));
    return name && name->kind == VALUE_SCALAR ? name->text : S("");
}

static const struct value *item_find(const struct value *list, str name)
{
    for (size_t i = 0; i < list->n_items; i++)
        if (str_eq(item_name(list->items[i]), name))
            return list->items[i];
    return NULL;
}

static bool are_named(const struct value *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        if (item_name(list->items[i]).len == 0)
            return false;
    return list->n_items > 0;
}

static bool is_same(const struct value *x, const struct value *y)
{
    if (x->kind != y->kind || x->n_items != y->n_items || x->n_pairs != y->n_pairs)
        return false;
    if (x->kind == VALUE_SCALAR)
        return str_eq(x->text, y->text);
    for (size_t i = 0; i < x->n_items; i++)
        if (!is_same(x->items[i], y->items[i]))
            return false;
    for (size_t i = 0; i < x->n_pairs; i++) {
        const struct value *other = value_get(y, x->pairs[i].key);
        if (!other || !is_same(x->pairs[i].value, other))
            return false;
    }
    return true;
}

static str key_path(struct diff *d, str path, str key)
{
    return path.len ? arena_printf(d->a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(key)) : key;
}

static void diff_values(struct diff *d, const struct value *x, const struct value *y, str path);

static void diff_named(struct diff *d, const struct value *x, const struct value *y, str path)
{
    for (size_t i = 0; i < x->n_items; i++) {
        str name = item_name(x->items[i]);
        str here = arena_printf(d->a, STR_FMT "[" STR_FMT "]", STR_ARG(path), STR_ARG(name));
        const struct value *other = item_find(y, name);
        if (other)
            diff_values(d, x->items[i], other, here);
        else
            diff_line(d, '-', here, x->items[i]);
    }
    for (size_t i = 0; i < y->n_items; i++) {
        str name = item_name(y->items[i]);
        if (!item_find(x, name))
            diff_line(d, '+', arena_printf(d->a, STR_FMT "[" STR_FMT "]", STR_ARG(path),
                                           STR_ARG(name)), y->items[i]);
    }
}

static void diff_values(struct diff *d, const struct value *x, const struct value *y, str path)
{
    if (is_same(x, y))
        return;
    if (x->kind == VALUE_MAP && y->kind == VALUE_MAP) {
        for (size_t i = 0; i < x->n_pairs; i++) {
            const struct value *other = value_get(y, x->pairs[i].key);
            str here = key_path(d, path, x->pairs[i].key);
            if (other)
                diff_values(d, x->pairs[i].value, other, here);
            else
                diff_line(d, '-', here, x->pairs[i].value);
        }
        for (size_t i = 0; i < y->n_pairs; i++)
            if (!value_get(x, y->pairs[i].key))
                diff_line(d, '+', key_path(d, path, y->pairs[i].key), y->pairs[i].value);
    } else if (x->kind == VALUE_LIST && y->kind == VALUE_LIST && are_named(x) && are_named(y)) {
        diff_named(d, x, y, path);
    } else {
        diff_line(d, '-', path, x);
        diff_line(d, '+', path, y);
    }
}

/* The effective document of a file as a tree; NULL: it has been told why. */
static struct value *effective(struct arena *a, const char *path)
{
    struct snap *s = cli_snap(a, path, SEVERITY_ERROR);
    struct buf b = { 0 };
    struct err e = { 0 };
    if (!s)
        return NULL;
    config_dump_yaml(s->config, &b);
    snap_free(s);
    str text = arena_str(a, buf_view(&b));
    buf_free(&b);
    struct value *v = yaml_parse(a, text, path, &e);
    if (!v)
        fprintf(stderr, "signalbox config: %s: the dump cannot be read back: %s\n", path, e.text);
    return v;
}

static int config_diff(struct arena *a, const char *left, const char *right, struct buf *out)
{
    struct diff d = { .a = a, .out = out, .colour = cli_colour(stdout) };
    struct value *x = effective(a, left), *y = x ? effective(a, right) : NULL;
    if (!y)
        return CLI_USAGE;
    diff_values(&d, x, y, S(""));
    return d.n ? CLI_FINDING : CLI_FINE;
}

/* ---- the others ---- */

static int config_dump(struct arena *a, const char *path, struct buf *out)
{
    struct snap *s = cli_snap(a, path, SEVERITY_ERROR);
    if (!s)
        return CLI_USAGE;
    config_dump_yaml(s->config, out);
    snap_free(s);
    return CLI_FINE;
}

static int config_run(struct arena *a, const char *what, const char *path, const char *const *files,
                      size_t n_files, struct buf *out)
{
    if (!strcmp(what, "diff"))
        return n_files == 2 ? config_diff(a, files[0], files[1], out)
                            : cli_usage_error("config", "diff compares two files: config diff A B");
    if (n_files)
        return cli_usage_error("config", "unexpected word '%s'", files[0]);
    if (!strcmp(what, "schema"))
        config_schema_json(out);
    else if (!strcmp(what, "defaults"))
        config_defaults_yaml(out);
    else if (!strcmp(what, "reference"))
        config_reference_markdown(out);
    else if (!strcmp(what, "dump"))
        return config_dump(a, path, out);
    else
        return cli_usage_error("config", "'%s' is not one of schema, defaults, dump, reference, diff",
                               what);
    return CLI_FINE;
}

int cli_config(int argc, char **argv)
{
    struct cli_args args = cli_args_start("config", argc, argv);
    const char *path = NULL, *words[3] = { NULL };
    size_t n = 0;
    for (int o; (o = cli_next(&args)) != CLI_END; ) {
        if (o == 'c')
            path = args.value;
        else if (o != CLI_WORD)
            return CLI_USAGE;
        else if (n == COUNT_OF(words))
            return cli_usage_error("config", "unexpected word '%s'", args.value);
        else
            words[n++] = args.value;
    }
    if (n == 0)
        return cli_usage_error("config",
                               "say what to print: schema, defaults, dump, reference or diff");
    struct arena *a = arena_new();
    struct buf out = { 0 };
    int rc = CLI_USAGE;
    if (a)
        rc = config_run(a, words[0], path, words + 1, n - 1, &out);
    if (a && out.is_failed) {
        fputs("signalbox config: no memory\n", stderr);
        rc = CLI_USAGE;
    } else if (out.len && cli_put(stdout, buf_view(&out)) != 0) {
        rc = CLI_USAGE;
    }
    buf_free(&out);
    arena_free(a);
    return rc;
}
