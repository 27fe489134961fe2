/* The `evoke` command: finds the subcommand and calls it. */
#include <stdarg.h>
#include <string.h>

#include "tool.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} tools[] = {
    {"run", tool_run, "run a session: daemon, display and what else the file asks for"},
    {"status", tool_control, "what the running daemon does and has counted"},
    {"watch", tool_watch, "follow the running session, trial by trial"},
    {"pause", tool_control, "grey the screen and wait"},
    {"resume", tool_control, "go on"},
    {"stop", tool_control, "end the session"},
    {"note", tool_control, "write a line into the session"},
    {"sim", tool_sim, "a simulated rig with an animal in it"},
    {"feed", tool_feed, "play a recorded data set into the daemon"},
    {"replay", tool_replay, "fold a session again and compare"},
    {"report", tool_report, "make the report of a session"},
    {"mei", tool_mei, "the most exciting input of a unit, as a picture"},
    {"model", tool_model, "trained networks: read one, and say what it is"},
    {"bench", tool_bench, "how fast Evoke is on this machine"},
};

#define N_TOOLS (sizeof(tools) / sizeof(tools[0]))

int tool_usage(int argc, char **argv, const char *help)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 1;
        }
    }
    return 0;
}

int tool_fail(enum tool_exit code, const char *name, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "evoke %s: ", name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return (int)code;
}

static void usage(FILE *to)
{
    fputs("Usage: evoke COMMAND [ARGUMENTS]\n\n"
          "Inception loops on a recording rig, within one session.\n\n",
          to);
    for (size_t i = 0; i < N_TOOLS; i++)
        fprintf(to, "  %-8s %s\n", tools[i].name, tools[i].help);
    fputs("\nevoke COMMAND --help tells more. Example: evoke run experiment.conf\n", to);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return TOOL_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return TOOL_DONE;
    }
    for (size_t i = 0; i < N_TOOLS; i++)
        if (strcmp(argv[1], tools[i].name) == 0)
            return tools[i].run(argc - 1, argv + 1);
    fprintf(stderr, "evoke: no command '%s'; evoke --help lists all\n", argv[1]);
    return TOOL_USAGE;
}
