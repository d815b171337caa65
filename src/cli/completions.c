/* cli/completions.c -- shell completions out of the command table. */
#include "cli/cli.h"

static const char *value_kind(const char *value)
{
    return value && strcmp(value, "FILE") == 0 ? "file" : "";
}

static void words_of(FILE *f, const struct command *c, const char *separator)
{
    if (strcmp(c->name, "help") != 0) {
        str rest = str_of(c->words && strcmp(c->words, "FILE") != 0 ? c->words : "");
        while (rest.len) {
            str word = str_cut(&rest, ' ');
            fprintf(f, STR_FMT "%s", STR_ARG(word), rest.len ? separator : "");
        }
        return;
    }
    for (const struct command *k = commands; k->name; k++)
        fprintf(f, "%s%s", k->name, k[1].name ? separator : "");
}

/* ---- bash ---- */

static void bash_write(FILE *f)
{
    fprintf(f, "# bash completion of signalbox; made by `signalbox completions bash`\n"
               "_signalbox() {\n"
               "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
               "    local options= words= files=\n"
               "    COMPREPLY=()\n"
               "    if ((COMP_CWORD == 1)); then\n"
               "        COMPREPLY=($(compgen -W '");
    for (const struct command *c = commands; c->name; c++)
        fprintf(f, "%s%s", c->name, c[1].name ? " " : "");
    fprintf(f, "' -- \"$cur\"))\n        return\n    fi\n"
               "    case ${COMP_WORDS[1]} in\n");
    for (const struct command *c = commands; c->name; c++) {
        fprintf(f, "    %s)\n        options='", c->name);
        for (const struct cli_option *o = c->options; o->id; o++)
            fprintf(f, "--%s ", o->name);
        fprintf(f, "--help' words='");
        words_of(f, c, " ");
        fprintf(f, "' files='");
        for (const struct cli_option *o = c->options; o->id; o++)
            if (*value_kind(o->value)) {
                if (o->id >= 'a' && o->id <= 'z')
                    fprintf(f, "-%c ", o->id);
                fprintf(f, "--%s ", o->name);
            }
        fprintf(f, "' ;;\n");
    }
    fprintf(f, "    esac\n"
               "    if [[ \" $files \" == *\" $prev \"* ]]; then\n"
               "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
               "    elif [[ $cur == -* ]]; then\n"
               "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
               "    elif [[ -n $words ]]; then\n"
               "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
               "    else\n"
               "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
               "    fi\n"
               "}\n"
               "complete -o filenames -F _signalbox signalbox\n");
}

/* ---- zsh ---- */

/* Inside '...[text]': brackets and colons mean something, and an apostrophe ends the quotes. */
static void zsh_text(FILE *f, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", f);
            continue;
        }
        if (strchr("[]:\\", *text))
            fputc('\\', f);
        fputc(*text, f);
    }
}

static void zsh_option(FILE *f, const struct cli_option *o)
{
    bool has_letter = o->id >= 'a' && o->id <= 'z';
    if (has_letter)
        fprintf(f, "            '(-%c --%s)'{-%c,--%s}'[", o->id, o->name, o->id, o->name);
    else
        fprintf(f, "            '--%s[", o->name);
    zsh_text(f, o->help);
    fputc(']', f);
    if (o->value) {
        fputc(':', f);
        zsh_text(f, o->value);
        fprintf(f, ":%s", *value_kind(o->value) ? "_files" : "");
    }
    fprintf(f, "' \\\n");
}

static void zsh_write(FILE *f)
{
    fprintf(f, "#compdef signalbox\n# zsh completion of signalbox; made by `signalbox completions zsh`\n"
               "_signalbox() {\n    local -a names\n    names=(\n");
    for (const struct command *c = commands; c->name; c++) {
        fprintf(f, "        '%s:", c->name);
        zsh_text(f, c->summary);
        fprintf(f, "'\n");
    }
    fprintf(f, "    )\n"
               "    if ((CURRENT == 2)); then\n        _describe command names\n        return\n    fi\n"
               "    local name=$words[2]\n    shift words\n    ((CURRENT--))\n    case $name in\n");
    for (const struct command *c = commands; c->name; c++) {
        fprintf(f, "    %s)\n        _arguments \\\n", c->name);
        for (const struct cli_option *o = c->options; o->id; o++)
            zsh_option(f, o);
        fprintf(f, "            '(-h --help)'{-h,--help}'[help]' \\\n            '*:");
        if (c->words && strcmp(c->words, "FILE") != 0) {
            fprintf(f, "word:(");
            words_of(f, c, " ");
            fprintf(f, ")'\n");
        } else {
            fprintf(f, "file:_files'\n");
        }
        fprintf(f, "        ;;\n");
    }
    fprintf(f, "    esac\n}\n_signalbox \"$@\"\n");
}

/* ---- fish ---- */

static void fish_text(FILE *f, const char *text)
{
    fputc('\'', f);
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            fputc('\\', f);
        fputc(*text, f);
    }
    fputc('\'', f);
}

static void fish_write(FILE *f)
{
    fprintf(f, "# fish completion of signalbox; made by `signalbox completions fish`\n"
               "complete -c signalbox -f\n");
    for (const struct command *c = commands; c->name; c++) {
        fprintf(f, "complete -c signalbox -n __fish_use_subcommand -a %s -d ", c->name);
        fish_text(f, c->summary);
        fputc('\n', f);
        for (const struct cli_option *o = c->options; o->id; o++) {
            fprintf(f, "complete -c signalbox -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
            if (o->id >= 'a' && o->id <= 'z')
                fprintf(f, " -s %c", o->id);
            if (o->value)
                fprintf(f, *value_kind(o->value) ? " -r -F" : " -x");
            fprintf(f, " -d ");
            fish_text(f, o->help);
            fputc('\n', f);
        }
        if (c->words) {
            bool is_file = strcmp(c->words, "FILE") == 0;
            fprintf(f, "complete -c signalbox -n '__fish_seen_subcommand_from %s' %s", c->name,
                    is_file ? "-F" : "-a '");
            words_of(f, c, " ");
            fprintf(f, is_file ? "\n" : "'\n");
        }
    }
}

static const struct { const char *shell; void (*write)(FILE *f); } shells[] = {
    { "bash", bash_write }, { "zsh", zsh_write }, { "fish", fish_write },
};

int cli_completions(int argc, char **argv)
{
    struct cli_args a = cli_args_start("completions", argc, argv);
    int o = cli_next(&a);
    if (o == CLI_BAD)
        return CLI_USAGE;
    for (size_t i = 0; o == CLI_WORD && i < COUNT_OF(shells); i++)
        if (strcmp(a.value, shells[i].shell) == 0) {
            shells[i].write(stdout);
            return fflush(stdout) == 0 ? CLI_FINE : CLI_USAGE;
        }
    if (o == CLI_WORD)
        return cli_usage_error("completions", "no completions for '%s'; there is: bash, zsh, fish", a.value);
    return cli_usage_error("completions", "say which shell: bash, zsh or fish");
}
