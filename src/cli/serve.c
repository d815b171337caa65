/* cli/serve.c */
#include <getopt.h>
#include <stdio.h>

#include "cli/cli.h"
#include "front/process.h"

static const char usage[] =
    "signalbox serve [-c FILE] [--listen ADDR] [--admin ADDR] [--strict]\n"
    "\n"
    "Runs the gateway until SIGTERM or Ctrl-C; requests in flight are finished first.\n"
    "Without -c: ./signalbox.yaml if it is there, else the embedded default, which works without a key.\n"
    "\n"
    "  -c, --config FILE   a VSR v0.3 configuration\n"
    "      --listen ADDR   host:port for clients, instead of the configuration's listeners\n"
    "      --admin ADDR    host:port of the management API (default 127.0.0.1:8080)\n"
    "      --strict        refuse a configuration that has warnings\n"
    "\n"
    "SIGHUP, and a change of the file, load the configuration again; SIGUSR1 reopens the access log.\n"
    "\n"
    "  signalbox serve\n"
    "  signalbox serve -c router.yaml --listen 0.0.0.0:8899\n";

int cli_serve(int argc, char **argv)
{
    static const struct option longs[] = {
        { "config", required_argument, NULL, 'c' }, { "listen", required_argument, NULL, 'l' },
        { "admin", required_argument, NULL, 'a' },  { "strict", no_argument, NULL, 's' },
        { "help", no_argument, NULL, 'h' },         { 0 },
    };
    struct process_options o = { 0 };
    int c;
    while ((c = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
        switch (c) {
        case 'c': o.config = optarg; break;
        case 'l': o.listen = optarg; break;
        case 'a': o.admin = optarg; break;
        case 's': o.strict = true; break;
        case 'h': fputs(usage, stdout); return 0;
        default:  fputs(usage, stderr); return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "signalbox serve: unexpected argument '%s'\n\n%s", argv[optind], usage);
        return 2;
    }
    return process_run(&o);
}
