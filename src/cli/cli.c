/* cli/cli.c -- finds the command, reads its words, and holds what commands share. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "front/default.h"

/* ---- suggestions ---- */

/* The nearest of the names that `name_at(i)` gives; NULL when none is near. */
static const char *nearest(str word, const char *(*name_at)(const void *list, size_t i),
                           const void *list)
{
    const char *best = NULL, *name;
    unsigned limit = word.len < 4 ? 1 : word.len < 8 ? 2 : 3;
    for (size_t i = 0; (name = name_at(list, i)) != NULL; i++) {
        unsigned d = str_distance(word, str_of(name), limit);
        bool begins = word.len >= 2 && str_starts(str_of(name), word);
        if (d > limit && !begins)
            continue;
        best = name;
        limit = d > 0 && d <= limit ? d - 1 : 0;
    }
    return best;
}

static const char *command_name_at(const void *list, size_t i)
{
    return ((const struct command *)list)[i].name;
}

static const char *option_name_at(const void *list, size_t i)
{
    const struct cli_option *o = &((const struct cli_option *)list)[i];
    return o->id ? o->name : NULL;
}

const struct command *command_find(str name)
{
    for (const struct command *c = commands; c->name; c++)
        if (str_eq(str_of(c->name), name))
            return c;
    return NULL;
}

/* ---- the parser ---- */

struct cli_args cli_args_start(const char *command, int argc, char **argv)
{
    return (struct cli_args){
        .command = command_find(str_of(command)), .words = argv, .n = argc, .at = 1
    };
}

int cli_usage_error(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "signalbox %s: ", command);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nTry `signalbox %s --help`.\n", command);
    va_end(args);
    return CLI_USAGE;
}

static const struct cli_option *option_long(const struct command *c, str name)
{
    for (const struct cli_option *o = c->options; o && o->id; o++)
        if (str_eq(str_of(o->name), name))
            return o;
    return NULL;
}

static const struct cli_option *option_short(const struct command *c, char letter)
{
    for (const struct cli_option *o = c->options; o && o->id && letter >= 'a' && letter <= 'z'; o++)
        if (o->id == letter)
            return o;
    return NULL;
}

static int option_unknown(const struct cli_args *a, str name, bool is_long)
{
    const char *like = is_long && a->command->options
                           ? nearest(name, option_name_at, a->command->options)
                           : NULL;
    fprintf(stderr, "signalbox %s: unknown option %s" STR_FMT, a->command->name,
            is_long ? "--" : "-", STR_ARG(name));
    if (like)
        fprintf(stderr, "; did you mean --%s?", like);
    fprintf(stderr, "\nTry `signalbox %s --help`.\n", a->command->name);
    return CLI_BAD;
}

static int value_missing(const struct cli_args *a, const struct cli_option *o)
{
    cli_usage_error(a->command->name, "--%s needs a value: --%s %s", o->name, o->name, o->value);
    return CLI_BAD;
}

static int next_long(struct cli_args *a, str text)
{
    str value = text, name = str_cut(&value, '=');
    bool has_value = name.len < text.len;
    const struct cli_option *o = option_long(a->command, name);
    if (!o)
        return option_unknown(a, name, true);
    if (!o->value && has_value) {
        cli_usage_error(a->command->name, "--%s takes no value", o->name);
        return CLI_BAD;
    }
    if (o->value && !has_value && a->at >= a->n)
        return value_missing(a, o);
    a->value = !o->value ? NULL : has_value ? value.ptr : a->words[a->at++];
    return o->id;
}

static int next_short(struct cli_args *a)
{
    char letter = *a->letters++;
    const struct cli_option *o = option_short(a->command, letter);
    if (!o)
        return option_unknown(a, (str){ &letter, 1 }, false);
    if (o->value) {
        if (!*a->letters && a->at >= a->n)
            return value_missing(a, o);
        a->value = *a->letters ? a->letters : a->words[a->at++];
        a->letters = "";
    } else {
        a->value = NULL;
    }
    return o->id;
}

int cli_next(struct cli_args *a)
{
    if (a->letters && *a->letters)
        return next_short(a);
    if (a->at >= a->n)
        return CLI_END;
    char *word = a->words[a->at++];
    if (!a->only_words && strcmp(word, "--") == 0) {
        a->only_words = true;
        return cli_next(a);
    }
    if (a->only_words || word[0] != '-' || word[1] == '\0') {
        a->value = word;
        return CLI_WORD;
    }
    if (word[1] == '-')
        return next_long(a, str_of(word + 2));
    a->letters = word + 1;
    return next_short(a);
}

/* ---- what commands share ---- */

bool cli_colour(FILE *f)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(f)) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

bool cli_read(struct arena *a, const char *path, str *out, struct err *e)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(path, "re");
    if (!f) {
        err_set(e, "%s: %s", path, strerror(errno));
        return false;
    }
    struct buf all = { 0 };
    bool ok = stream_read(f, path, CLI_FILE_MAX, &all, e) == 0;
    if (ok)
        *out = arena_str(a, buf_view(&all));
    buf_free(&all);
    if (!is_stdin)
        fclose(f);
    return ok;
}

bool cli_config_text(struct arena *a, const char *path, str *text, const char **file)
{
    struct err e = { 0 };
    if (!path && access("signalbox.yaml", F_OK) == 0)
        path = "signalbox.yaml";
    *file = path ? path : "(embedded default)";
    if (path) {
        if (cli_read(a, path, text, &e))
            return true;
        fprintf(stderr, "signalbox: %s\n", e.text);
        return false;
    }
    struct buf out = { 0 };
    default_config_write(&out);
    *text = arena_str(a, buf_view(&out));
    bool ok = !out.is_failed;
    buf_free(&out);
    return ok;
}

struct snap *cli_snap(struct arena *a, const char *path, enum severity from)
{
    str text;
    const char *file;
    if (!cli_config_text(a, path, &text, &file))
        return NULL;
    struct findings list = { .a = a };
    struct snap *s = snap_build(text, file, false, &list);
    cli_findings(stderr, &list, s ? from : SEVERITY_ERROR);
    if (!s)
        fprintf(stderr,
                "signalbox: %s cannot be used; `signalbox check -c %s` shows all findings\n", file,
                file);
    return s;
}

void cli_findings(FILE *f, const struct findings *list, enum severity from)
{
    static const struct { const char *name, *colour; } looks[] = {
        [SEVERITY_INFO] = { "info", "\033[36m" }, [SEVERITY_WARNING] = { "warning", "\033[33m" },
        [SEVERITY_ERROR] = { "error", "\033[31m" },
    };
    bool colour = cli_colour(f);
    for (size_t i = 0; i < list->n; i++) {
        const struct finding *x = &list->items[i];
        if (x->severity < from)
            continue;
        if (x->at.file && x->at.line)
            fprintf(f, "%s:%u:%u: ", x->at.file, x->at.line, x->at.col);
        fprintf(f, "%s%s%s [%s] ", colour ? looks[x->severity].colour : "", looks[x->severity].name,
                colour ? "\033[0m" : "", x->name);
        if (x->path.len)
            fprintf(f, STR_FMT ": ", STR_ARG(x->path));
        fprintf(f, STR_FMT "\n", STR_ARG(x->text));
        if (x->hint.len)
            fprintf(f, "    " STR_FMT "\n", STR_ARG(x->hint));
    }
}

/* Told once: a command that goes on writing has nothing new to say. */
static int cannot_write(const char *why)
{
    static bool is_told;
    if (!is_told)
        fprintf(stderr, "signalbox: cannot write: %s\n", why);
    is_told = true;
    return CLI_USAGE;
}

int cli_put(FILE *f, str s)
{
    return fwrite(s.ptr ? s.ptr : "", 1, s.len, f) == s.len && fflush(f) == 0 ? 0 : cannot_write(strerror(errno));
}

/* What a command printed has arrived, or the command has failed, whatever it thinks of that. */
static int all_written(int rc)
{
    bool is_lost = ferror(stdout);
    if (fflush(stdout) != 0)
        return cannot_write(strerror(errno));
    return is_lost ? cannot_write("part of the output is lost") : rc;
}

int cli_write_whole(const char *path, str bytes, struct arena *a, struct err *e)
{
    struct stat st;
    bool is_device = stat(path, &st) == 0 && !S_ISREG(st.st_mode);     /* a pipe, a terminal: must not be replaced by a file */
    const char *beside = is_device ? path : arena_printf(a, "%s.%ld", path, (long)getpid()).ptr;
    FILE *f = fopen(beside, "wb");
    if (!f)
        return err_set(e, "cannot write '%s': %s", beside, strerror(errno));
    bool ok = fwrite(bytes.ptr, 1, bytes.len, f) == bytes.len && fflush(f) == 0 && (is_device || fsync(fileno(f)) == 0);
    ok = fclose(f) == 0 && ok && (is_device || rename(beside, path) == 0);
    int why = errno;
    if (!ok && !is_device)
        unlink(beside);
    return ok ? 0 : err_set(e, "cannot write '%s': %s", path, strerror(why));
}

/* ---- the door ---- */

static int run(const struct command *c, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            command_help(c, stdout);
            return CLI_FINE;
        }
    /* Checked here for all, so that no command can take an option that help and completion do not know. */
    struct cli_args a = cli_args_start(c->name, argc, argv);
    for (int o = cli_next(&a); o != CLI_END; o = cli_next(&a))
        if (o == CLI_BAD)
            return CLI_USAGE;
    return c->run(argc, argv);
}

int cli_main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader that left is an error of write, told once */
    const char *word = argc > 1 ? argv[1] : "help";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    else if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        word = "version";
    const struct command *c = command_find(str_of(word));
    if (c)
        return all_written(argc > 1 ? run(c, argc - 1, argv + 1) : run(c, argc, argv));
    const char *like = nearest(str_of(word), command_name_at, commands);
    fprintf(stderr, "signalbox: unknown %s '%s'", word[0] == '-' ? "option" : "command", word);
    if (like)
        fprintf(stderr, "; did you mean `signalbox %s`?", like);
    fprintf(stderr, "\nTry `signalbox help`.\n");
    return CLI_USAGE;
}
