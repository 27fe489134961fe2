/* evoke watch: follow the running session, trial by trial. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/wire.h"
#include "tools/client.h"
#include "tools/tool.h"

static const char help[] = "Usage: evoke watch [--json]\n\n"
                           "Prints each trial of the running session as it ends: what "
                           "was shown, what the model\n"
                           "predicted, what was observed (counts in the response window, "
                           "the mean over units where\n"
                           "the stimulus was for all). --json prints every published "
                           "event, one a line. Ends\n"
                           "with the session or Ctrl-C.\n\n"
                           "Example: evoke watch\n";

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* Identities use all 64 bits, more than readers of JSON keep of a number: as text. */
static int is_identity(const struct wire_field *field)
{
    return strcmp(field->name, "hash") == 0 || strcmp(field->name, "model") == 0;
}

static void print_json(const struct event *ev)
{
    char value[64];
    int n;
    const struct wire_field *fields = wire_fields(ev->type, &n);

    printf("{\"event\":\"%s\",\"source\":%u,\"seq\":%" PRIu64 ",\"time_ns\":%" PRId64,
           event_name(ev->type), ev->source, ev->seq, ev->time_ns);
    for (int i = 0; i < n; i++) {
        wire_field_text(ev, &fields[i], value, sizeof(value));
        printf(is_identity(&fields[i]) ? ",\"%s\":\"%s\"" : ",\"%s\":%s", fields[i].name,
               value);
    }
    puts("}");
}

static void print_trial(const struct event *ev)
{
    const float *observed = ev->data, *predicted = observed + ev->trial.n_units;
    uint32_t n = ev->trial.n_units, first = 0, n_seen = 0;
    double sum_predicted = 0, sum_observed = 0;
    char whose[32] = "all units";

    printf("%6" PRIu64 "  %-8s ", ev->trial.trial, job_name(ev->trial.kind));
    if (ev->trial.verdict != VERDICT_VALID) {
        printf("invalid: %s\n", verdict_name(ev->trial.verdict));
        return;
    }
    if (ev->trial.unit < n) {
        first = ev->trial.unit;
        n = first + 1;
        snprintf(whose, sizeof(whose), "unit %u", first);
    }
    for (uint32_t u = first; u < n; u++) {
        if (isnan(observed[u]))
            continue;
        sum_predicted += (double)predicted[u];
        sum_observed += (double)observed[u];
        n_seen++;
    }
    printf("%-10s predicted %7.2f  observed %7.2f\n", whose, sum_predicted / n_seen,
           sum_observed / n_seen);
}

int tool_watch(int argc, char **argv)
{
    int json = argc == 2 && strcmp(argv[1], "--json") == 0, ended = 0;
    struct client *client;
    struct event ev;
    char *answer;

    if (tool_usage(argc, argv, help))
        return TOOL_DONE;
    if (argc > 1 + json)
        return tool_fail(TOOL_USAGE, "watch", "takes only --json; --help tells more");
    answer = client_ask("{\"do\":\"status\"}", 2000);
    if (!answer)
        return tool_fail(
            TOOL_FAILED, "watch",
            "no daemon answers; is it running, and is EVOKE_RUNTIME its own?");
    free(answer);
    client = client_open(NULL);
    if (!client)
        return tool_fail(TOOL_FAILED, "watch", "cannot connect to the daemon's sockets");
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    while (!stopped && !ended) {
        client_wait(client, 200);
        while (!ended && client_next(client, &ev)) {
            ended = ev.type == EVENT_STATE && ev.state.state == STATE_END;
            if (json)
                print_json(&ev);
            else if (ev.type == EVENT_TRIAL)
                print_trial(&ev);
            else if (ev.type == EVENT_STATE && ev.state.n_text > 0)
                printf("        %s: %.*s\n", state_name(ev.state.state),
                       (int)ev.state.n_text, (const char *)ev.data);
        }
        fflush(stdout);
    }
    client_close(client);
    return TOOL_DONE;
}
