/* evoke status | pause | resume | stop | note: control of the running daemon. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client.h"
#include "tools/tool.h"

#define PATIENCE_MS 2000

static const char help[] =
    "Usage: evoke status [--json]\n"
    "       evoke pause | resume | stop [--json]\n"
    "       evoke note TEXT [--json]\n\n"
    "Control of the daemon whose sockets lie in $EVOKE_RUNTIME (see evoked --help).\n"
    "status tells what it does and has counted; pause greys the screen and waits; stop\n"
    "ends the session; note writes a line into it. --json prints the daemon's reply.\n\n"
    "Example: evoke note \"animal drowsy\"\n";

static void print_counters(const json_t *counters)
{
    const char *name;
    json_t *value;
    void *at;

    json_object_foreach_safe((json_t *)(uintptr_t)counters, at, name, value)
    {
        if (json_is_integer(value) && json_integer_value(value) > 0)
            printf("  %-20s %lld\n", name, (long long)json_integer_value(value));
    }
    json_object_foreach_safe((json_t *)(uintptr_t)counters, at, name, value)
    {
        const char *reason;
        json_t *n;
        void *inner;
        if (!json_is_object(value))
            continue;
        json_object_foreach_safe(value, inner, reason, n)
        {
            if (json_integer_value(n) > 0)
                printf("  %s: %-*s %lld\n", name, 18 - (int)strlen(name), reason,
                       (long long)json_integer_value(n));
        }
    }
}

static double number(const json_t *reply, const char *object, const char *key)
{
    return json_number_value(json_object_get(json_object_get(reply, object), key));
}

static const char *string(const json_t *reply, const char *key)
{
    const char *value = json_string_value(json_object_get(reply, key));
    return value ? value : "";
}

static void print_status(const json_t *reply)
{
    const json_t *display = json_object_get(reply, "display");

    printf("%s%s%s\n", string(reply, "state"), string(reply, "why")[0] ? ": " : "",
           string(reply, "why"));
    printf("session  %s, for %.0f s\n", string(reply, "session"),
           json_number_value(json_object_get(reply, "seconds")));
    if (display)
        printf("display  %s, %g Hz, flip times %s\n", string(display, "driver"),
               json_number_value(json_object_get(display, "refresh_hz")),
               string(display, "quality"));
    if (number(reply, "latency", "n") > 0)
        printf("latency  p50 %.3f ms, p99 %.3f ms (last count in, next stimulus out)\n",
               number(reply, "latency", "p50_ns") / 1e6,
               number(reply, "latency", "p99_ns") / 1e6);
    print_counters(json_object_get(reply, "counters"));
}

int tool_control(int argc, char **argv)
{
    int json = argc > 1 && strcmp(argv[argc - 1], "--json") == 0;
    int is_note = strcmp(argv[0], "note") == 0, ok;
    json_t *asked, *reply;
    char *request, *answer;

    if (tool_usage(argc, argv, help))
        return TOOL_DONE;
    if (argc - json != 1 + is_note)
        return tool_fail(TOOL_USAGE, argv[0], "%s; --help tells more",
                         is_note ? "give one text, in quotes" : "takes no arguments");
    asked = is_note ? json_pack("{s:s, s:s}", "do", "note", "text", argv[1])
                    : json_pack("{s:s}", "do", argv[0]);
    if (!asked)
        return tool_fail(TOOL_USAGE, argv[0], "the text is not UTF-8");
    request = json_dumps(asked, JSON_COMPACT);
    answer = client_ask(request, PATIENCE_MS);
    free(request);
    json_decref(asked);
    if (!answer)
        return tool_fail(
            TOOL_FAILED, argv[0],
            "no daemon answers; is it running, and is EVOKE_RUNTIME its own?");
    reply = json_loads(answer, 0, NULL);
    ok = json_is_true(json_object_get(reply, "ok"));
    if (json)
        puts(answer);
    else if (!ok)
        tool_fail(TOOL_FAILED, argv[0], "%s", string(reply, "error"));
    else if (strcmp(argv[0], "status") == 0)
        print_status(reply);
    else
        printf("the daemon was told: %s\n", argv[0]);
    json_decref(reply);
    free(answer);
    return ok ? TOOL_DONE : TOOL_FAILED;
}
