/*
 * tool.h: the subcommands of `evoke`, one file each.
 *
 * Each is int tool_NAME(argc, argv) with argv[0] its own name; exits 0 done, 1 failed,
 * 2 usage. Each prints its --help itself (tool_usage()).
 */
#ifndef EVOKE_TOOL_H
#define EVOKE_TOOL_H

#include <stdio.h>

enum tool_exit { TOOL_DONE = 0, TOOL_FAILED = 1, TOOL_USAGE = 2 };

int tool_run(int argc, char **argv);
int tool_control(int argc, char **argv); /* status pause resume stop note */
int tool_watch(int argc, char **argv);
int tool_sim(int argc, char **argv);
int tool_feed(int argc, char **argv);
int tool_replay(int argc, char **argv);
int tool_report(int argc, char **argv);
int tool_mei(int argc, char **argv);
int tool_model(int argc, char **argv);
int tool_bench(int argc, char **argv);

/* Is there --help or -h among the arguments? Then prints help and returns 1. */
int tool_usage(int argc, char **argv, const char *help);

/* One line to stderr, "evoke NAME: ...", and the exit code to return. */
int tool_fail(enum tool_exit code, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
