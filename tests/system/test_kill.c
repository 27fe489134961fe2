/*
 * The daemon killed with SIGKILL at random moments, also while it starts: the session file
 * opens and is whole, what was said long enough before is in it, it replays without a
 * difference, and the next session names it and goes on with what it had learned.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "rig_test.h"
#include "session_test.h"

#define N_KILLS    110
#define LATEST_MS  700 /* of a kill, after the start */
#define EARLY      5   /* one of so many kills comes while the daemon still starts */
#define EARLY_MS   60
#define HORIZON_NS (100 * NS_PER_MS) /* what was said so long before is on the disk */
#define SEEN_MAX   4096

static const char configuration[] =
    "[session]\nname = kill\n"
    "[ingest]\nunits = 3\n"
    "[stimulus]\nheight = 4\nwidth = 4\n"
    "[trial]\nstimulus_ms = 5\ngap_ms = 0\ndelay_ms = 2\nwindow_ms = 10\n"
    "[learn]\nstart = 3\ntrials = 1000000\n"
    "[optimise]\nmax_steps = 5\ncandidates = 2\n"
    "[sim]\nbin_ms = 2\n";

static struct rig_test *test;
static struct random moments;

/* Trials as they were published. */
static struct {
    int64_t heard_ns;
    struct event trial; /* without payload */
} seen[SEEN_MAX];
static int n_seen;

/* Follow until that moment, then kill. */
static int64_t run_until(int64_t kill_ns)
{
    n_seen = 0;
    while (clock_now_ns() < kill_ns) {
        const struct event *ev = rig_test_next_before(test, kill_ns);
        if (!ev || ev->type != EVENT_TRIAL)
            continue;
        assert_true(n_seen < SEEN_MAX);
        seen[n_seen].heard_ns = clock_now_ns();
        seen[n_seen++].trial = *ev;
    }
    kill_ns = clock_now_ns();
    rig_test_kill(test);
    return kill_ns;
}

/* Every trial that was heard before the horizon is recorded as it was said. */
static int check_horizon(const char *path, int64_t kill_ns)
{
    struct event *recorded = calloc(SEEN_MAX, sizeof(*recorded));
    int n = session_test_trials(path, recorded, SEEN_MAX), n_checked = 0;

    for (int i = 0; i < n_seen; i++) {
        const struct event *said = &seen[i].trial, *kept = NULL;
        if (seen[i].heard_ns > kill_ns - HORIZON_NS)
            continue;
        for (int k = 0; k < n && !kept; k++)
            if (recorded[k].trial.trial == said->trial.trial)
                kept = &recorded[k];
        if (!kept)
            fail_msg("trial %" PRIu64 ", heard %.0f ms before the kill, is not there",
                     said->trial.trial, (double)(kill_ns - seen[i].heard_ns) / 1e6);
        assert_int_equal(kept->trial.verdict, said->trial.verdict);
        assert_int_equal(kept->trial.hash, said->trial.hash);
        assert_int_equal(kept->seq, said->seq);
        n_checked++;
    }
    free(recorded);
    return n_checked;
}

/* The session that lies in path began with the model that last left, if it learned. */
static void check_goes_on(const char *path, const char *last, uint64_t model)
{
    char continues[512], start[512];

    session_test_meta(path, "continues", continues, sizeof(continues));
    session_test_meta(path, "model_start", start, sizeof(start));
    assert_string_equal(continues, last);
    assert_int_equal(strtoull(start, NULL, 10), model);
}

/* Killed while it starts: is there a new session at all? */
static int has_begun(const char *last)
{
    session_test_newest(test->sessions, test->session, sizeof(test->session));
    return strcmp(test->session, last) != 0 && session_test_has_begun(test->session);
}

static void test_kill_at_any_moment(void **state)
{
    (void)state;
    char last[512] = "";
    uint64_t model = 0;
    int64_t n_trials = 0, n_valid = 0, n_checked = 0;
    int n_early = 0, n_went_on = 0;

    for (int i = 0; i < N_KILLS; i++) {
        int early = i % EARLY == EARLY - 1;
        int64_t delay_ns = (int64_t)(random_uniform(&moments) *
                                     (early ? EARLY_MS : LATEST_MS) * NS_PER_MS);
        struct session_test found;
        int64_t kill_ns;
        rig_test_launch(test);
        if (!early)
            rig_test_await(test, EVENT_STATUS);
        kill_ns = run_until(clock_now_ns() + delay_ns);
        if (early && !has_begun(last)) {
            n_early++;
            continue;
        }
        session_test_newest(test->sessions, test->session, sizeof(test->session));
        if (last[0]) {
            check_goes_on(test->session, last, model);
            n_went_on++;
        }
        session_test_read(test->session, &found);
        assert_false(found.ended);
        session_test_replay(test->session, &model);
        assert_int_equal(model, found.model);
        n_checked += check_horizon(test->session, kill_ns);
        n_trials += found.n_trials;
        n_valid += found.n_valid;
        strcpy(last, test->session);
    }
    print_message("%d kills, %d before a session had begun; %d sessions went on with the "
                  "one before; %" PRId64 " trials recorded, %" PRId64 " valid, %" PRId64
                  " heard before the horizon: all there\n",
                  N_KILLS, n_early, n_went_on, n_trials, n_valid, n_checked);
    assert_true(n_went_on >= N_KILLS / 2);
    assert_true(n_checked > N_KILLS);
    rig_test_start(test);
    assert_int_equal(rig_test_stop(test), 0);
    rig_test_check_session(test);
    check_goes_on(test->session, last, model);
    /* a session that came to its end is not gone on with */
    rig_test_start(test);
    assert_int_equal(rig_test_stop(test), 0);
    rig_test_check_session(test);
    session_test_meta(test->session, "continues", last, sizeof(last));
    assert_string_equal(last, "");
}

static int setup(void **state)
{
    (void)state;
    const char *text = getenv("EVOKE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)clock_now_ns();

    print_message("EVOKE_SEED=%" PRIu64 "\n", seed);
    random_init(&moments, seed, 0);
    test = rig_test_open(configuration);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_test_close(test);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill_at_any_moment)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
