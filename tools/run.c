/* evoke run: a whole session: the daemon, the display and, if the file asks for it, the
 * simulated rig, as children; with progress. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/child.h"
#include "protocol/clock.h"
#include "tools/client.h"
#include "tools/tool.h"

static const char help[] =
    "Usage: evoke run FILE\n\n"
    "Runs the session that FILE describes: starts the daemon, the display and, with\n"
    "[sim] start = yes, the simulated rig; shows progress; ends with the session. "
    "Ctrl-C\n"
    "ends the session cleanly. The last line printed is the path of the session file.\n\n"
    "Example: evoke run docs/experiments/demo.conf\n";

static volatile sig_atomic_t interrupts;

static void on_signal(int number)
{
    (void)number;
    interrupts++;
}

/* Paths and arguments live as long as the children. */
struct children {
    char daemon_path[1024], display_path[1024], self_path[1024];
    char endpoint[300], refresh[32];
    const char *daemon_argv[8], *display_argv[8], *sim_argv[8];
    struct child daemon, display, sim;
    int with_display, with_sim;
};

static void prepare(struct children *children, const struct conf *conf, const char *file)
{
    child_path("evoked", children->daemon_path, sizeof(children->daemon_path));
    child_path("evoke-display", children->display_path, sizeof(children->display_path));
    child_path("evoke", children->self_path, sizeof(children->self_path));
    conf_endpoint("display", children->endpoint, sizeof(children->endpoint));
    snprintf(children->refresh, sizeof(children->refresh), "%g",
             conf->display.refresh_hz);
    memcpy(children->daemon_argv,
           (const char *[]){children->daemon_path, "-c", file, NULL}, 4 * sizeof(char *));
    memcpy(children->display_argv,
           (const char *[]){children->display_path, "--endpoint", children->endpoint,
                            "--refresh", children->refresh, NULL},
           6 * sizeof(char *));
    memcpy(children->sim_argv, (const char *[]){children->self_path, "sim", file, NULL},
           4 * sizeof(char *));
    children->daemon = (struct child){.name = "evoked", .argv = children->daemon_argv};
    children->display =
        (struct child){.name = "evoke-display", .argv = children->display_argv};
    children->sim = (struct child){.name = "evoke sim", .argv = children->sim_argv};
    children->with_display = !conf->trial.external && !conf->display.start;
    children->with_sim = conf->sim.start;
}

/* Where the session is written, from the daemon itself; NULL until it answers: this one
 * and not another that has the sockets. */
static char *ask_session(pid_t daemon)
{
    char *answer = client_ask("{\"do\":\"status\"}", 200), *path = NULL;
    json_t *reply = answer ? json_loads(answer, 0, NULL) : NULL;
    const char *session = json_string_value(json_object_get(reply, "session"));

    if (session && json_integer_value(json_object_get(reply, "pid")) == daemon)
        path = strdup(session);
    json_decref(reply);
    free(answer);
    return path;
}

static void print_trial(const struct event *ev, const struct conf *conf, uint64_t n_valid,
                        uint64_t n_invalid)
{
    const float *observed = ev->data, *predicted = observed + ev->trial.n_units;
    /* a stimulus for all is shown with a unit in turn: one number to look at */
    uint32_t unit = ev->trial.unit < ev->trial.n_units
                        ? ev->trial.unit
                        : (uint32_t)(ev->trial.trial % ev->trial.n_units);
    const char *end = isatty(STDOUT_FILENO) ? "\033[K\r" : "\n";

    if (!isatty(STDOUT_FILENO) && ev->trial.trial % 25 != 0)
        return;
    printf("trial %" PRIu64 "/%" PRId64 "  %-7s  ", n_valid,
           conf->learn.trials + conf->mei.trials, job_name(ev->trial.kind));
    if (ev->trial.verdict != VERDICT_VALID)
        printf("invalid: %s", verdict_name(ev->trial.verdict));
    else
        printf("unit %-3u predicted %6.2f  observed %3.0f", unit, (double)predicted[unit],
               (double)observed[unit]);
    if (ev->trial.latency_ns != CLOCK_UNKNOWN)
        printf("  latency %.3f ms", (double)ev->trial.latency_ns / 1e6);
    if (n_invalid > 0)
        printf("  (%" PRIu64 " invalid so far)", n_invalid);
    fputs(end, stdout);
    fflush(stdout);
}

/* Follow until the daemon has ended; its status as wait() gives it. */
static int follow(struct children *children, const struct conf *conf,
                  struct client *client, char **session)
{
    uint64_t n_valid = 0, n_invalid = 0;
    int asked = 0, ended = 0;
    struct event ev;

    while (!child_ended(&children->daemon)) {
        client_wait(client, 100);
        while (client_next(client, &ev)) {
            n_valid += ev.type == EVENT_TRIAL && ev.trial.verdict == VERDICT_VALID;
            n_invalid += ev.type == EVENT_TRIAL && ev.trial.verdict != VERDICT_VALID;
            ended = ended || (ev.type == EVENT_STATE && ev.state.state == STATE_END);
            if (ev.type == EVENT_TRIAL)
                print_trial(&ev, conf, n_valid, n_invalid);
        }
        if (!*session)
            *session = ask_session(children->daemon.pid);
        /* the others only join a daemon that is ours and is there */
        if (*session && children->with_display && !ended)
            child_keep(&children->display);
        if (*session && children->with_sim && !ended)
            child_keep(&children->sim);
        if (interrupts > asked && ++asked)
            kill(children->daemon.pid, SIGTERM);
    }
    if (isatty(STDOUT_FILENO))
        putchar('\n');
    return children->daemon.status;
}

int tool_run(int argc, char **argv)
{
    static struct children children;
    struct conf conf;
    struct client *client;
    char text[1024], *session = NULL;
    int status;

    if (tool_usage(argc, argv, help))
        return TOOL_DONE;
    if (argc != 2)
        return tool_fail(TOOL_USAGE, "run",
                         "give the experiment's file; --help tells more");
    if (conf_read(&conf, argv[1], text, sizeof(text)) != 0)
        return tool_fail(TOOL_FAILED, "run", "%s", text);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    prepare(&children, &conf, argv[1]);
    client = client_open(NULL);
    if (!client || child_start(&children.daemon) != 0)
        return tool_fail(TOOL_FAILED, "run", "the daemon cannot be started");
    status = follow(&children, &conf, client, &session);
    child_stop(&children.display);
    child_stop(&children.sim);
    client_close(client);
    if (status != 0)
        tool_fail(TOOL_FAILED, "run",
                  "the daemon ended with %s %d; its last lines say why",
                  WIFSIGNALED(status) ? "signal" : "code",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if (session)
        puts(session);
    free(session);
    return status == 0 ? TOOL_DONE : TOOL_FAILED;
}
