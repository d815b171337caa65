/* cli/help.c -- teaches: what there is, then one command with its options and examples. */
#include "cli/cli.h"

struct ink { const char *bold, *dim, *off; };

static struct ink ink_of(FILE *f)
{
    return cli_colour(f) ? (struct ink){ "\033[1m", "\033[2m", "\033[0m" } : (struct ink){ "", "", "" };
}

static void lines_indented(FILE *f, const char *text, const char *before)
{
    str rest = str_of(text);
    while (rest.len) {
        str line = str_cut(&rest, '\n');
        fprintf(f, "%s" STR_FMT "\n", line.len ? before : "", STR_ARG(line));
    }
}

void cli_help_all(FILE *f)
{
    struct ink k = ink_of(f);
    fprintf(f, "%ssignalbox%s sets the points for language models: it reads each request, decides by\n"
               "declared policy which model answers, and carries the request there and the answer back.\n\n"
               "%sUsage%s\n  signalbox COMMAND [options]\n\n%sCommands%s\n",
            k.bold, k.off, k.bold, k.off, k.bold, k.off);
    for (const struct command *c = commands; c->name; c++)
        fprintf(f, "  %s%-12s%s %s\n", k.bold, c->name, k.off, c->summary);
    fprintf(f, "\n%sFirst steps%s\n", k.bold, k.off);
    lines_indented(f,
        "signalbox serve                            # a gateway on http://127.0.0.1:8899/v1\n"
        "signalbox route --explain 'Prove it'       # see a decision without calling a model\n"
        "signalbox config dump > signalbox.yaml     # the configuration in use, to start from\n"
        "signalbox check -c signalbox.yaml          # what is wrong with a configuration, and where\n", "  ");
    fprintf(f, "\n`signalbox COMMAND --help` tells more.\n"
               "Exit codes: 0 fine, 1 a negative finding, 2 usage or I/O error.\n");
}

void command_help(const struct command *c, FILE *f)
{
    struct ink k = ink_of(f);
    fprintf(f, "%ssignalbox %s%s -- %s\n\n%sUsage%s\n", k.bold, c->name, k.off, c->summary, k.bold, k.off);
    str rest = str_of(c->synopsis);
    while (rest.len) {
        str form = str_cut(&rest, '\n');
        fprintf(f, "  signalbox %s " STR_FMT "\n", c->name, STR_ARG(form));
    }
    if (c->about) {
        fprintf(f, "\n");
        lines_indented(f, c->about, "");
    }
    fprintf(f, "\n%sOptions%s\n", k.bold, k.off);
    for (const struct cli_option *o = c->options; o->id; o++) {
        char left[64];
        bool has_letter = o->id >= 'a' && o->id <= 'z';
        snprintf(left, sizeof left, "%c%c%c --%s%s%s", has_letter ? '-' : ' ', has_letter ? o->id : ' ',
                 has_letter ? ',' : ' ', o->name, o->value ? " " : "", o->value ? o->value : "");
        fprintf(f, "  %-26s %s\n", left, o->help);
    }
    fprintf(f, "  %-26s %s\n\n%sExamples%s\n", "-h, --help", "this text", k.bold, k.off);
    lines_indented(f, c->examples, "  ");
}

int cli_help(int argc, char **argv)
{
    struct cli_args a = cli_args_start("help", argc, argv);
    int o = cli_next(&a);
    if (o == CLI_BAD)
        return CLI_USAGE;
    if (o == CLI_END) {
        cli_help_all(stdout);
        return CLI_FINE;
    }
    const struct command *c = command_find(str_of(a.value));
    if (!c)
        return cli_usage_error("help", "there is no command '%s'", a.value);
    command_help(c, stdout);
    return CLI_FINE;
}
