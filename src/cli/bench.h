/* cli/bench.h -- what measurements of a configuration share: options, the file, one report of all its profiles. */
#ifndef SBX_CLI_BENCH_H
#define SBX_CLI_BENCH_H

#include "base/json.h"
#include "cli/cli.h"

struct bench_report { bool is_json; struct json_writer w; };     /* JSON or lines for people, into w.out */

/* Runs `tell` for every profile, until one is not CLI_FINE, and prints. argv[0] is the measurement's name. */
int bench_profiles(int argc, char **argv, int (*tell)(const struct config *c, size_t profile, struct bench_report *r));

#endif
