/* evoke replay: fold a session again and compare. */
#include <inttypes.h>
#include <string.h>

#include "daemon/keep.h"
#include "daemon/replay.h"
#include "models/ops.h"
#include "protocol/clock.h"
#include "tools/tool.h"

static const char help[] =
    "Usage: evoke replay SESSION [--verify]\n\n"
    "Feeds the recorded events of SESSION through the same loop again. With --verify "
    "every\n"
    "row is held against its hash, everything the loop said against what it says now, "
    "and\n"
    "every optimised stimulus is made again from its snapshot; the first difference is\n"
    "named and the exit code is 1.\n\n"
    "Example: evoke replay sessions/demo-20260101-120000.evoke --verify\n";

/* Results repeat bit for bit only on the kernels that made them. */
static void warn_other_maker(struct session *session)
{
    const char *git = session_meta(session, "git"), *core;

    if (!git || strcmp(git, keep_git()) != 0)
        fprintf(stderr,
                "evoke replay: made by version %s, this is %s: it may decide otherwise\n",
                git ? git : "unknown", keep_git());
    core = session_meta(session, "blas_core");

    if (core && strcmp(core, ops_core()) == 0)
        return;
    fprintf(stderr,
            "evoke replay: made with %s kernels, here are %s: the last bits may differ\n",
            core ? core : "unknown", ops_core());
}

static int final_differs(struct session *session, const struct replay_count *count)
{
    const char *final = session_meta(session, "model_final");
    char now[32];

    snprintf(now, sizeof(now), "%" PRIu64, count->model);
    return final && strcmp(final, now) != 0;
}

int tool_replay(int argc, char **argv)
{
    int verify = argc == 3 && strcmp(argv[2], "--verify") == 0, error;
    struct session *session = NULL;
    struct replay *replay = NULL;
    struct replay_count count;
    int64_t start_ns = clock_now_ns();
    char text[512];

    if (tool_usage(argc, argv, help))
        return TOOL_DONE;
    if (argc != 2 + verify)
        return tool_fail(TOOL_USAGE, "replay",
                         "give one session file; --help tells more");
    ops_init();
    if (session_open(&session, argv[1], text, sizeof(text)) != 0)
        return tool_fail(TOOL_FAILED, "replay", "%s", text);
    if (verify)
        warn_other_maker(session);
    error = replay_open(&replay, session, verify, &count, text, sizeof(text));
    if (!error && verify && final_differs(session, &count)) {
        snprintf(text, sizeof(text), "the final model differs");
        error = 1;
    }
    printf("%" PRId64 " events, %" PRId64 " trials, %" PRId64 " valid; ", count.n_events,
           count.n_trials, count.n_valid);
    if (verify)
        printf("compared: %" PRId64 " things said, %" PRId64 " stimuli made again%s; ",
               count.n_compared, count.n_jobs,
               count.n_skipped ? " (others not: their images are not here)" : "");
    printf("%s; %.1f s\n", count.complete ? "ended" : "interrupted",
           (double)(clock_now_ns() - start_ns) / 1e9);
    if (error)
        tool_fail(TOOL_FAILED, "replay", "difference: %s", text);
    else if (verify)
        puts("no difference");
    replay_close(replay);
    session_close(session);
    return error ? TOOL_FAILED : TOOL_DONE;
}
