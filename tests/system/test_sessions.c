/*
 * Whole sessions by the commands that people type: evoke run with the real daemon, the
 * real display (SDL's dummy driver, 200 Hz) and the simulated rig.
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
#include <unistd.h>

#include "rig_test.h"
#include "session_test.h"

#define N_LEARN 40
#define N_MEI   12

#define FAST                                                                             \
    "[session]\nname = fast\n"                                                           \
    "[ingest]\nunits = 4\ndiode_line = 0\n"                                              \
    "[display]\nrefresh_hz = 200\n"                                                      \
    "[stimulus]\nheight = 8\nwidth = 8\n"                                                \
    "[trial]\nstimulus_ms = 15\ngap_ms = 10\ndelay_ms = 10\nwindow_ms = 20\n"            \
    "max_attempts = 100\n"                                                               \
    "[learn]\nstart = 10\n"                                                              \
    "[sim]\nstart = yes\nbin_ms = 5\n"

static const char short_session[] = FAST "[learn]\ntrials = 40\n[mei]\ntrials = 12\n";
static const char long_session[] = FAST "[learn]\ntrials = 1000000\n";

static struct rig_test *test;

/* The last line of a text, without its end. */
static const char *last_line(char *text)
{
    size_t n = strlen(text);
    char *line;

    if (n > 0 && text[n - 1] == '\n')
        text[n - 1] = '\0';
    line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

static int n_lines(const char *text)
{
    int n = 0;

    while (*text)
        n += *text++ == '\n';
    return n;
}

/* evoke run in the background; this program only follows. */
static pid_t start_run(const char *output)
{
    const char *const argv[] = {"evoke", "run", test->conf_path, NULL};
    pid_t pid;

    test->display_is_off = test->rig_is_off = 1;
    pid = rig_test_spawn(test, output, argv);
    rig_test_connect(test);
    return pid;
}

static const struct event *await_valid_trial(void)
{
    const struct event *ev;

    do
        ev = rig_test_await(test, EVENT_TRIAL);
    while (ev->trial.verdict != VERDICT_VALID);
    return ev;
}

static void test_a_whole_session(void **state)
{
    (void)state;
    struct session_test found;
    char path[512];

    rig_test_configure(test, short_session);
    assert_int_equal(rig_test_run(test, "evoke", "run", test->conf_path, NULL), 0);
    snprintf(path, sizeof(path), "%s", last_line(test->text));
    assert_int_equal(access(path, R_OK), 0);
    assert_string_equal(rig_test_check_session(test), path);
    session_test_read(path, &found);
    print_message("whole session: %" PRId64 " trials, %" PRId64 " valid; %s",
                  found.n_trials, found.n_valid, test->text);
    assert_true(found.ended);
    assert_int_equal(found.n_valid, N_LEARN + N_MEI);
}

/* A bit flips in what a session holds: found, and the event that holds it is named. */
static void flip_and_find(const char *path, unsigned type, int from_end)
{
    int64_t id = session_test_flip(path, type, from_end);
    char name[64];

    assert_int_equal(rig_test_run(test, "evoke", "replay", path, "--verify", NULL), 1);
    snprintf(name, sizeof(name), "event %" PRId64, id);
    print_message("flipped a bit of %s (%s): %s", name, event_name(type),
                  test->error_text);
    assert_non_null(strstr(test->error_text, "difference: "));
    assert_non_null(strstr(test->error_text, name));
    assert_int_equal(n_lines(test->error_text), 1);
    session_test_flip(path, type, from_end);
    assert_int_equal(rig_test_run(test, "evoke", "replay", path, "--verify", NULL), 0);
}

static void test_b_a_flipped_bit_is_named(void **state)
{
    (void)state;
    rig_test_configure(test, short_session);
    session_test_newest(test->sessions, test->session, sizeof(test->session));
    flip_and_find(test->session, EVENT_COUNTS, 1);    /* a count */
    flip_and_find(test->session, EVENT_COUNTS, 40);   /* its place in time */
    flip_and_find(test->session, EVENT_TRIAL, 1);     /* a prediction */
    flip_and_find(test->session, EVENT_TRIAL, 4 * 9); /* a verdict's neighbour */
    flip_and_find(test->session, EVENT_RESULT, 5);    /* a pixel */
    flip_and_find(test->session, EVENT_SHOWN, 20);    /* an onset */
}

static void test_c_interrupt_ends_cleanly(void **state)
{
    (void)state;
    struct session_test found;
    char output[256], text[RIG_TEST_TEXT];
    FILE *file;
    size_t n;
    pid_t pid;

    rig_test_configure(test, long_session);
    snprintf(output, sizeof(output), "%s/run.out", test->folder);
    pid = start_run(output);
    for (int i = 0; i < 15; i++)
        await_valid_trial();
    kill(pid, SIGINT);
    assert_int_equal(rig_test_reap(test, pid), 0);
    file = fopen(output, "r");
    assert_non_null(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    rig_test_check_session(test);
    assert_string_equal(last_line(text), test->session);
    session_test_read(test->session, &found);
    assert_true(found.ended);
    assert_true(found.n_valid >= 15);
}

/* No stimulus is asked for and no trial ends until the state changes again. */
static void check_that_nothing_runs(int n_status)
{
    const struct event *ev;

    for (int n = 0; n < n_status; n += ev->type == EVENT_STATUS) {
        ev = rig_test_next(test);
        assert_int_not_equal(ev->type, EVENT_PRESENT);
        if (ev->type == EVENT_STATUS)
            assert_int_equal(ev->status.state, STATE_PAUSED);
    }
}

static void check_watched(const char *output)
{
    char line[RIG_TEST_TEXT];
    FILE *file = fopen(output, "r");
    int n_lines_read = 0, n_trials = 0, n_ends = 0;

    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        json_error_t why;
        json_t *ev = json_loads(line, JSON_REJECT_DUPLICATES, &why);
        const char *name;
        if (!ev)
            fail_msg("evoke watch --json: %s: %s", why.text, line);
        name = json_string_value(json_object_get(ev, "event"));
        assert_non_null(name);
        assert_true(json_is_integer(json_object_get(ev, "time_ns")));
        n_trials += strcmp(name, "trial") == 0;
        n_ends += strcmp(name, "state") == 0 &&
                  json_integer_value(json_object_get(ev, "state")) == STATE_END;
        json_decref(ev);
        n_lines_read++;
    }
    fclose(file);
    print_message("evoke watch --json: %d lines, %d trials\n", n_lines_read, n_trials);
    assert_true(n_trials >= 5);
    assert_int_equal(n_ends, 1);
}

static json_int_t counter(const char *name)
{
    json_t *status = rig_test_status(test);
    const json_t *counters = json_object_get(status, "counters");
    json_int_t n = json_integer_value(json_object_get(counters, name));

    json_decref(status);
    return n;
}

/* It says why it cannot be, and its display and rig never come near the first one's. */
static void check_that_a_second_run_is_harmless(void)
{
    json_int_t n_restarts = counter("source_restarts"), n_lost = counter("display_lost");

    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_test_run(test, "evoke", "run", test->conf_path, NULL), 1);
        assert_non_null(strstr(test->error_text, "another evoked runs here"));
        assert_string_equal(test->text, "");
        await_valid_trial();
    }
    assert_int_equal(counter("source_restarts"), n_restarts);
    assert_int_equal(counter("display_lost"), n_lost);
}

static void test_d_commands_control_it(void **state)
{
    (void)state;
    static const char note[] = "animal drowsy; \"quoted\" \xc3\xa9";
    const char *const watch[] = {"evoke", "watch", "--json", NULL};
    const struct event *ev;
    char output[256];
    json_t *status;
    pid_t run, watcher;

    rig_test_configure(test, long_session);
    snprintf(output, sizeof(output), "%s/watch.out", test->folder);
    run = start_run(NULL);
    await_valid_trial();
    watcher = rig_test_spawn(test, output, watch);
    for (int i = 0; i < 10; i++)
        await_valid_trial();
    assert_int_equal(rig_test_run(test, "evoke", "pause", NULL), 0);
    rig_test_await_state(test, STATE_PAUSED);
    check_that_nothing_runs(3);
    assert_int_equal(rig_test_run(test, "evoke", "note", note, NULL), 0);
    do
        ev = rig_test_await(test, EVENT_COMMAND);
    while (ev->command.command != COMMAND_NOTE);
    assert_int_equal(ev->data_size, sizeof(note) - 1);
    assert_memory_equal(ev->data, note, sizeof(note) - 1);
    status = rig_test_status(test);
    assert_string_equal(json_string_value(json_object_get(status, "state")), "paused");
    json_decref(status);
    assert_int_equal(rig_test_run(test, "evoke", "resume", "--json", NULL), 0);
    check_that_a_second_run_is_harmless();
    for (int i = 0; i < 10; i++)
        await_valid_trial();
    assert_int_equal(rig_test_run(test, "evoke", "status", NULL), 0);
    assert_non_null(strstr(test->text, "session  "));
    assert_int_equal(rig_test_run(test, "evoke", "stop", NULL), 0);
    assert_int_equal(rig_test_reap(test, run), 0);
    assert_int_equal(rig_test_reap(test, watcher), 0);
    check_watched(output);
    rig_test_check_session(test);
}

static void check_help(const char *program, const char *command)
{
    assert_int_equal(rig_test_run(test, program, command, "--help", NULL), 0);
    assert_non_null(strstr(test->text, "Usage: "));
    assert_non_null(strstr(test->text, "xample: "));
    assert_string_equal(test->error_text, "");
}

static void test_e_help(void **state)
{
    (void)state;
    static const char *const commands[] = {"run",  "status", "watch",  "pause",
                                           "stop", "resume", "note",   "sim",
                                           "feed", "replay", "report", "mei"};

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        check_help("evoke", commands[i]);
    check_help("evoked", "--help");
    check_help("evoke-display", "--help");
    assert_int_equal(rig_test_run(test, "evoke", "--help", NULL), 0);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        assert_non_null(strstr(test->text, commands[i]));
}

static void check_fails(int code, const char *program, const char *a, const char *b,
                        const char *c)
{
    int got = rig_test_run(test, program, a, b, c, NULL);

    if (got != code || n_lines(test->error_text) != 1)
        fail_msg("%s %s %s %s: exit %d, expected %d, and one line: %s%s", program,
                 a ? a : "", b ? b : "", c ? c : "", got, code, test->error_text,
                 test->text);
}

static void test_f_wrong_usage(void **state)
{
    (void)state;
    check_fails(2, "evoke", "dance", NULL, NULL);
    check_fails(2, "evoke", "run", NULL, NULL);
    check_fails(2, "evoke", "run", "a", "b");
    check_fails(2, "evoke", "status", "now", NULL);
    check_fails(2, "evoke", "watch", "now", NULL);
    check_fails(2, "evoke", "pause", "now", NULL);
    check_fails(2, "evoke", "resume", "now", NULL);
    check_fails(2, "evoke", "stop", "now", NULL);
    check_fails(2, "evoke", "note", NULL, NULL);
    check_fails(2, "evoke", "note", "\xff\xfe", NULL);
    check_fails(2, "evoke", "sim", NULL, NULL);
    check_fails(2, "evoke", "feed", NULL, NULL);
    check_fails(2, "evoke", "feed", "--speed", "0");
    check_fails(2, "evoke", "feed", "--sped", "1");
    check_fails(2, "evoke", "replay", NULL, NULL);
    check_fails(2, "evoke", "replay", "a", "--verfy");
    check_fails(2, "evoke", "report", NULL, NULL);
    check_fails(2, "evoke", "mei", NULL, NULL);
    check_fails(2, "evoked", NULL, NULL, NULL);
    check_fails(2, "evoked", "--conf", "a", "b");
    check_fails(2, "evoke-display", "--refresh", "0", NULL);
    /* right usage that cannot be done */
    check_fails(1, "evoke", "run", "/nowhere.conf", NULL);
    check_fails(1, "evoke", "sim", "/nowhere.conf", NULL);
    check_fails(1, "evoke", "status", NULL, NULL);
    check_fails(1, "evoke", "note", "nobody hears", NULL);
    check_fails(1, "evoke", "feed", "/nowhere", NULL);
    check_fails(1, "evoke", "replay", "/nowhere.evoke", NULL);
    check_fails(1, "evoke", "report", "/nowhere.evoke", NULL);
    check_fails(1, "evoked", "-c", "/nowhere.conf", NULL);
}

static int setup(void **state)
{
    (void)state;
    setenv("SDL_VIDEODRIVER", "dummy", 1);
    setenv("SDL_AUDIODRIVER", "dummy", 1);
    test = rig_test_open(FAST);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_session),
        cmocka_unit_test(test_b_a_flipped_bit_is_named),
        cmocka_unit_test(test_c_interrupt_ends_cleanly),
        cmocka_unit_test(test_d_commands_control_it),
        cmocka_unit_test(test_e_help),
        cmocka_unit_test(test_f_wrong_usage),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
