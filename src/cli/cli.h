/* cli/cli.h -- the command line: one file a command, one line in list.h, one entry in commands.c.
 *
 * A command is described once: name, synopsis, options, examples. Help, the option parser, the shell
 * completions and the man page's test all read that description, so they cannot disagree. */
#ifndef SBX_CLI_H
#define SBX_CLI_H

#include <stdio.h>

#include "base/version.h"
#include "pipeline/snap.h"

#define X(name) int cli_##name(int argc, char **argv);
#include "cli/list.h"
#undef X
int bench_decide(int argc, char **argv);        /* of `bench`; argv[0]: "decide" */
int bench_signals(int argc, char **argv);
int bench_encoder(int argc, char **argv);
int bench_tokenizer(int argc, char **argv);
int bench_select(int argc, char **argv);
int cli_evaluate_selection(int argc, char **argv);      /* of `evaluate`; argv[0]: "selection" */
int cli_evaluate_budget(int argc, char **argv);         /* argv[0]: "budget" */
int cli_evaluate_newcomer(int argc, char **argv);       /* argv[0]: "newcomer" */
int cli_evaluate_online(int argc, char **argv);         /* argv[0]: "online" */
int cli_evaluate_policy(int argc, char **argv);         /* argv[0]: "policy" */
int cli_train_selector(int argc, char **argv);          /* of `train`; argv[0]: "selector" */

enum { CLI_FINE = 0, CLI_FINDING = 1, CLI_USAGE = 2 };  /* exit codes; 2: also files that cannot be read */

enum { CLI_FILE_MAX = 256 << 20 };      /* of a configuration, a request or a line of a log; beyond: refused */

/* `id` is what the parser returns. A small letter is the short form, too: -c; a capital has only the long form. */
struct cli_option {
    char id;
    const char *name;                   /* "config" */
    const char *value;                  /* "FILE": takes a value, completed as its name says; NULL: a switch */
    const char *help;
};

struct command {
    const char *name, *summary;
    const char *synopsis;               /* "[-c FILE] [TEXT]"; lines for several forms */
    const char *about;                  /* paragraphs */
    const struct cli_option *options;   /* ends with id 0 */
    const char *words;                  /* what positional words may be, for completion: "bash zsh fish", "FILE", NULL */
    const char *examples;               /* lines */
    int (*run)(int argc, char **argv);  /* argv[0]: the command's name */
};

extern const struct command commands[];         /* ends with a NULL name */
const struct command *command_find(str name);   /* NULL: none */

int cli_main(int argc, char **argv);

/* ---- reading a command's words ---- */

enum { CLI_END = 0, CLI_BAD = -1, CLI_WORD = -2 };

struct cli_args {
    const struct command *command;
    char **words; int n, at;
    const char *letters;                /* rest of a bundle: -je */
    bool only_words;                    /* behind -- */
    const char *value;                  /* of the option or word just returned */
};

struct cli_args cli_args_start(const char *command, int argc, char **argv);
/* The id of the next option, CLI_WORD with the word in value, CLI_END, or CLI_BAD when the trouble has been told. */
int cli_next(struct cli_args *a);
int cli_usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
                                        /* prints and returns CLI_USAGE */

/* ---- what commands share ---- */

bool cli_colour(FILE *f);               /* a terminal, and neither NO_COLOR nor TERM=dumb */
/* A whole file, "-" for standard input, in the arena. False: *e says why. */
bool cli_read(struct arena *a, const char *path, str *out, struct err *e);
/* The configuration a command works on. path NULL: ./signalbox.yaml when it is there, else the embedded default. *file
 * gets the name for messages. */
bool cli_config_text(struct arena *a, const char *path, str *text, const char **file);
/* The same compiled. Findings of at least `from` go to stderr. NULL: it has been told why. */
struct snap *cli_snap(struct arena *a, const char *path, enum severity from);
void cli_findings(FILE *f, const struct findings *list, enum severity from);
int cli_put(FILE *f, str s);            /* writes all; a full disk or closed pipe: CLI_USAGE, else 0 */
int cli_write_whole(const char *path, str bytes, struct arena *a, struct err *e);     /* a file, whole or not at all. 0, or -1 and *e */

void command_help(const struct command *c, FILE *f);
void cli_help_all(FILE *f);

#endif
