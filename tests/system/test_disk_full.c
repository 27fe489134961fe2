/*
 * The disk is full, or the file may not grow: the daemon stops showing, says so, loses
 * nothing, and goes on when there is room again and somebody says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rig_test.h"
#include "session_test.h"

#define SEEN_MAX 65536

static const char configuration[] =
    "[session]\nname = full\n"
    "[ingest]\nunits = 3\n"
    "[stimulus]\nheight = 4\nwidth = 4\n"
    "[trial]\nstimulus_ms = 5\ngap_ms = 0\ndelay_ms = 2\nwindow_ms = 10\n"
    "[learn]\nstart = 3\ntrials = 1000000\n"
    "[sim]\nbin_ms = 1\n";

static struct rig_test *test;
static struct event seen[SEEN_MAX]; /* trials as they were published */
static int n_seen;

static const struct event *next(void)
{
    const struct event *ev = rig_test_next(test);

    if (ev->type == EVENT_TRIAL) {
        assert_true(n_seen < SEEN_MAX);
        seen[n_seen++] = *ev;
    }
    return ev;
}

static void await_state(enum loop_state state)
{
    int64_t until_ns = clock_now_ns() + RIG_TEST_PATIENCE_NS / 2;
    const struct event *ev;

    do {
        ev = next();
        if (clock_now_ns() > until_ns)
            fail_msg("it is never in %s", state_name(state));
    } while (ev->type != EVENT_STATE || ev->state.state != state);
}

static void await_valid_trials(int n)
{
    while (n > 0) {
        const struct event *ev = next();
        n -= ev->type == EVENT_TRIAL && ev->trial.verdict == VERDICT_VALID;
    }
}

/* It says fault, and why; it shows nothing. */
static void check_fault(void)
{
    json_t *status;
    const struct event *ev;

    for (int n = 0; n < 4; n += ev->type == EVENT_STATUS) {
        ev = next();
        assert_int_not_equal(ev->type, EVENT_PRESENT);
        if (ev->type == EVENT_STATUS)
            assert_int_equal(ev->status.state, STATE_FAULT);
    }
    status = rig_test_status(test);
    print_message("  %s: %s\n", json_string_value(json_object_get(status, "state")),
                  json_string_value(json_object_get(status, "why")));
    assert_string_equal(json_string_value(json_object_get(status, "state")), "fault");
    assert_non_null(strstr(json_string_value(json_object_get(status, "why")), "disk"));
    json_decref(status);
}

/* Every trial that was published is in the file as it was said. */
static void check_all_there(void)
{
    struct event *recorded = calloc(SEEN_MAX, sizeof(*recorded));
    int n = session_test_trials(test->session, recorded, SEEN_MAX);

    assert_true(n >= n_seen);
    for (int i = 0; i < n_seen; i++) {
        uint64_t number = seen[i].trial.trial;
        assert_true(number < (uint64_t)n);
        assert_int_equal(recorded[number].trial.trial, number);
        assert_int_equal(recorded[number].trial.verdict, seen[i].trial.verdict);
        assert_int_equal(recorded[number].trial.hash, seen[i].trial.hash);
        assert_int_equal(recorded[number].seq, seen[i].seq);
    }
    print_message("  %d trials published, %d recorded\n", n_seen, n);
    free(recorded);
}

/* One session in which the disk is full, twice, and has room again. */
static void run_out_of_space(void (*fill)(void), void (*make_room)(void))
{
    n_seen = 0;
    rig_test_start(test);
    await_valid_trials(20);
    for (int i = 0; i < 2; i++) {
        uint64_t n_blank = test->display_n_blank;
        fill();
        await_state(STATE_FAULT);
        check_fault();
        assert_true(test->display_n_blank > n_blank);
        /* there is still no room: it does not go on, whatever it is told */
        assert_int_equal(rig_test_run(test, "evoke", "resume", NULL), 0);
        await_state(STATE_FAULT);
        check_fault();
        make_room();
        do /* the disk may not have been tried again yet */
            assert_int_equal(rig_test_run(test, "evoke", "resume", NULL), 0);
        while (next()->type != EVENT_TRIAL);
        await_valid_trials(20);
    }
    assert_int_equal(rig_test_stop(test), 0);
    rig_test_check_session(test);
    check_all_there();
}

static void limit_files(rlim_t most)
{
    struct rlimit limit;

    assert_int_equal(prlimit(test->daemon, RLIMIT_FSIZE, NULL, &limit), 0);
    limit.rlim_cur = most;
    assert_int_equal(prlimit(test->daemon, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* No file of the daemon may grow. */
static void forbid_growth(void)
{
    limit_files(1);
}

static void allow_growth(void)
{
    limit_files(RLIM_INFINITY);
}

static void test_file_may_not_grow(void **state)
{
    (void)state;
    run_out_of_space(forbid_growth, allow_growth);
}

static void filler_path(char *path, size_t size)
{
    snprintf(path, size, "%s/filler", test->sessions);
}

static void fill_disk(void)
{
    static const char bytes[4096];
    char path[256];
    int fd;

    filler_path(path, sizeof(path));
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void empty_disk(void)
{
    char path[256];

    filler_path(path, sizeof(path));
    assert_int_equal(unlink(path), 0);
}

static void test_disk_is_full(void **state)
{
    (void)state;
    if (mount("tmpfs", test->sessions, "tmpfs", 0, "size=16m") != 0) {
        print_message("SKIPPED: a small disk cannot be mounted here: %s\n",
                      strerror(errno));
        skip();
    }
    run_out_of_space(fill_disk, empty_disk);
}

static int setup(void **state)
{
    (void)state;
    test = rig_test_open(configuration);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    umount2(test->sessions, MNT_DETACH); /* nothing is mounted in most tests */
    rig_test_close(test);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_may_not_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_is_full, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
