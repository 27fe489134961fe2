#include "tools/bench.h"

#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/clock.h"
#include "tools/client.h"
#include "tools/tool.h"

#define PATIENCE_NS (10 * NS_PER_S)

static int delete_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

double bench_daemon_status(const char *object, const char *key)
{
    char *answer = client_ask("{\"do\":\"status\"}", 2000);
    json_t *reply = answer ? json_loads(answer, 0, NULL) : NULL;
    const json_t *in = object ? json_object_get(reply, object) : reply;
    const json_t *value = json_object_get(in, key);
    double number = json_is_number(value) ? json_number_value(value) : -1;

    json_decref(reply);
    free(answer);
    return number;
}

static int write_conf(const struct bench_daemon *daemon, const char *ini)
{
    FILE *file = fopen(daemon->conf, "we");
    int error = !file || fprintf(file, "[session]\nname = bench\ndirectory = %s\n%s",
                                 daemon->folder, ini) < 0;

    if (file && fclose(file) != 0)
        error = 1;
    return error;
}

int bench_daemon_start(struct bench_daemon *daemon, const char *ini)
{
    int64_t give_up_ns = clock_now_ns() + PATIENCE_NS;

    memset(daemon, 0, sizeof(*daemon));
    strcpy(daemon->folder, "/tmp/evoke-bench-XXXXXX");
    if (!mkdtemp(daemon->folder))
        return tool_fail(TOOL_FAILED, "bench", "no folder can be made in /tmp"), -1;
    setenv("EVOKE_RUNTIME", daemon->folder, 1);
    snprintf(daemon->conf, sizeof(daemon->conf), "%s/evoke.conf", daemon->folder);
    snprintf(daemon->log, sizeof(daemon->log), "%s/evoked.log", daemon->folder);
    child_path("evoked", daemon->program, sizeof(daemon->program));
    memcpy(daemon->argv,
           (const char *[]){"/bin/sh", "-c", "exec \"$0\" -c \"$1\" 2>\"$2\"",
                            daemon->program, daemon->conf, daemon->log, NULL},
           7 * sizeof(char *));
    daemon->child = (struct child){.name = "evoked", .argv = daemon->argv};
    if (write_conf(daemon, ini) != 0 || child_start(&daemon->child) != 0)
        return tool_fail(TOOL_FAILED, "bench", "the daemon cannot be started"), -1;
    while (bench_daemon_status(NULL, "seconds") < 0) {
        if (child_ended(&daemon->child) || clock_now_ns() > give_up_ns) {
            tool_fail(TOOL_FAILED, "bench", "the daemon did not start; %s says why",
                      daemon->log);
            child_stop(&daemon->child);
            return -1;
        }
    }
    return 0;
}

void bench_daemon_stop(struct bench_daemon *daemon)
{
    child_stop(&daemon->child);
    nftw(daemon->folder, delete_one, 8, FTW_DEPTH | FTW_PHYS);
}
