/* cli/commands.c -- what every command is called, takes and is good for. Pure data: the parser, help, the shell
 * completions and the man page's test read it. */
#include "cli/cli.h"


#define CONFIG { 'c', "config", "FILE", "configuration; without: ./signalbox.yaml, else the embedded default" }
#define JSON { 'J', "json", NULL, "print JSON" }
#define END { 0, NULL, NULL, NULL }

static const struct cli_option serve_options[] = {
    CONFIG,
    { 'L', "listen", "ADDR", "data plane, instead of the configuration's listeners: HOST:PORT" },
    { 'A', "admin", "ADDR", "management API: HOST:PORT (default 127.0.0.1:8080)" },
    { 'S', "strict", NULL, "refuse a configuration that has warnings" },
    END,
};

static const struct cli_option check_options[] = {
    CONFIG,
    { 'S', "strict", NULL, "warnings count as errors" },
    JSON,
    END,
};

static const struct cli_option route_options[] = {
    CONFIG,
    { 'r', "request", "FILE", "a request body as JSON (chat, or {\"text\": ...}); -: standard input" },
    { 'm', "model", "NAME", "the model that the client asks for; default: the automatic name" },
    { 'H', "header", "NAME:VALUE", "a request header, e.g. the user's id; may be repeated" },
    { 'e', "explain", NULL, "show every signal, projection and decision tree, and the candidates" },
    JSON,
    END,
};

static const struct cli_option replay_options[] = {
    CONFIG,
    { 'a', "against", "FILE", "decide under this second configuration as well and compare the two" },
    { 'n', "examples", "N", "changed requests to list (default 10)" },
    JSON,
    END,
};

static const struct cli_option config_options[] = { CONFIG, END };

static const struct cli_option bench_options[] = {
    CONFIG,
    { 'j', "json", NULL, "print JSON" },
    END,
};

static const struct cli_option version_options[] = { JSON, END };

static const struct cli_option no_options[] = { END };

const struct command commands[] = {
    { "serve", "run the gateway", "[-c FILE] [--listen ADDR] [--admin ADDR] [--strict]",
      "Serves the OpenAI API on the configuration's listeners (127.0.0.1:8899 by default) and the\n"
      "management API on 127.0.0.1:8080. SIGHUP and a change of the file load the configuration again,\n"
      "SIGUSR1 reopens the access log, SIGTERM lets the requests in flight finish first.\n\n"
      "Without -c and without ./signalbox.yaml it runs an embedded configuration that looks for\n"
      "OPENAI_API_KEY, then for a local model server, and else explains its decisions itself.",
      serve_options, NULL,
      "signalbox serve\n"
      "signalbox serve -c gateway.yaml --listen 0.0.0.0:8899\n"
      "OPENAI_API_KEY=sk-... signalbox serve\n",
      cli_serve },
    { "check", "validate a configuration", "[-c FILE] [--strict] [--json]\nFILE [--strict] [--json]",
      "Every finding has a name, a place (file:line:column), a sentence and a hint. Exit code 1 when there\n"
      "are errors.",
      check_options, "FILE",
      "signalbox check -c gateway.yaml\n"
      "signalbox check -c gateway.yaml --strict --json\n",
      cli_check },
    { "route", "decide one request without calling a model",
      "[-c FILE] [--explain] [--json] [--model NAME] [--header NAME:VALUE]... TEXT\n"
      "[-c FILE] [options] --request FILE",
      "Prints the decision, the model and the reason. TEXT is one user message; without TEXT and --request,\n"
      "standard input is the text. Live figures (latency, load, health) are unknown here: selectors that\n"
      "need them fall back as they do in a gateway that has just started.",
      route_options, NULL,
      "signalbox route 'Write a quicksort in Rust'\n"
      "signalbox route -c gateway.yaml --explain 'Prove that sqrt(2) is irrational'\n"
      "signalbox route -c gateway.yaml --request body.json --header x-authz-user-id:ann --json\n",
      cli_route },
    { "replay", "decide recorded traffic again and print what changes", "-c FILE [--against FILE2] [--json] LOG",
      "LOG is JSON Lines: requests ({\"model\": ..., \"messages\": [...]} or {\"body\": {...}}), or lines of an\n"
      "access log that hold the request's body. Each is decided under -c; the result is compared with what\n"
      "the log says was chosen, or with what --against decides. Exit code 1 when a request is decided\n"
      "differently. Selectors that look at live figures have none here.",
      replay_options, "FILE",
      "signalbox replay -c new.yaml access.jsonl\n"
      "signalbox replay -c old.yaml --against new.yaml requests.jsonl --json\n",
      cli_replay },
    { "config", "schema, defaults and reference of all keys; what is in effect; what differs",
      "schema | defaults | reference\ndump [-c FILE]\ndiff FILE1 FILE2",
      "schema is a JSON Schema for editors, reference the same for people. dump shows a configuration after\n"
      "defaults and environment, with secrets masked; diff compares two such dumps (exit code 1 when they\n"
      "differ).",
      config_options, "schema defaults reference dump diff",
      "signalbox config schema > signalbox.schema.json\n"
      "signalbox config dump -c gateway.yaml\n"
      "signalbox config diff old.yaml new.yaml\n",
      cli_config },
    { "bench", "measure parts of signalbox in this process", "decide | signals [-c FILE] [--json]",
      "Time, cycles where the CPU lets one count them, and allocations of single steps, without a network.",
      bench_options, "decide signals",
      "signalbox bench decide\n"
      "signalbox bench signals --json\n",
      cli_bench },
    { "completions", "print shell completions", "bash | zsh | fish",
      "Made from the same table as this help.",
      no_options, "bash zsh fish",
      "source <(signalbox completions bash)\n"
      "signalbox completions fish > ~/.config/fish/completions/signalbox.fish\n",
      cli_completions },
    { "version", "version, build, libraries, CPU features in use", "[--json]", NULL, version_options, NULL,
      "signalbox version --json\n", cli_version },
    { "help", "this list, or help on one command", "[COMMAND]", NULL, no_options, "COMMAND",
      "signalbox help route\n", cli_help },
    { 0 },
};
