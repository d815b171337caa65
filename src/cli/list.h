/* cli/list.h -- the commands, in the order in which help lists them.
 *
 * X(name) stands for `int cli_<name>(int argc, char **argv)`, one file each; what help, completion and the
 * man page know of a command stands in commands.c. */
X(serve)
X(check)
X(route)
X(explain)
X(replay)
X(classify)
X(embed)
X(train)
X(calibrate)
X(evaluate)
X(compose)
X(probe)
X(config)
X(key)
X(budget)
X(spend)
X(bench)
X(completions)
X(version)
X(help)
