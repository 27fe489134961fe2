/* evoke sim: the simulated rig as a process: neurons that answer what is shown. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "models/ops.h"
#include "protocol/clock.h"
#include "tools/client.h"
#include "tools/rig.h"
#include "tools/tool.h"

#define LAG_NS  (5 * NS_PER_MS) /* a flip is reported to us by then */
#define POLL_MS 2

static const char help[] = "Usage: evoke sim FILE\n\n"
                           "The simulated rig of FILE's [sim] section: follows what the "
                           "running daemon shows and\n"
                           "sends spike counts and photodiode edges, as a real rig "
                           "would. Ends with the session.\n\n"
                           "Example: evoke sim experiment.conf\n";

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static void emit(void *context, const struct event *ev)
{
    client_send(context, ev);
}

static void simulate(struct client *client, struct rig *rig)
{
    int heard = 0, ended = 0;
    struct event ev;

    while (!stopped && !ended) {
        client_wait(client, POLL_MS);
        while (!ended && client_next(client, &ev)) {
            /* what is published reaches us: from now on the daemon may count on us */
            if (!heard)
                rig_tell_truth(rig, emit, client);
            heard = 1;
            ended = ev.type == EVENT_STATE && ev.state.state == STATE_END;
            rig_hear(rig, &ev);
        }
        if (heard)
            rig_run(rig, clock_now_ns() - LAG_NS, emit, client);
    }
}

int tool_sim(int argc, char **argv)
{
    struct conf conf;
    char text[1024];
    struct client *client;
    struct rig *rig;

    if (tool_usage(argc, argv, help))
        return TOOL_DONE;
    if (argc != 2)
        return tool_fail(TOOL_USAGE, "sim",
                         "give the experiment's file; --help tells more");
    ops_init();
    if (conf_read(&conf, argv[1], text, sizeof(text)) != 0)
        return tool_fail(TOOL_FAILED, "sim", "%s", text);
    client = client_open(conf.ingest.endpoint);
    if (!client)
        return tool_fail(TOOL_FAILED, "sim", "cannot connect: %s", strerror(errno));
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    rig = rig_open(&conf, (uint32_t)clock_now_ns(), clock_now_ns());
    simulate(client, rig);
    rig_close(rig);
    client_close(client);
    return TOOL_DONE;
}
