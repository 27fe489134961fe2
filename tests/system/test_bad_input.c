/*
 * What a rig, a display or a person may do wrong, to a real daemon. Each time: it goes on,
 * nothing of it reaches the model, it is counted under its name in `evoke status`, the
 * trial that it hit has the right verdict and its stimulus is shown again, and the session
 * replays without a difference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <zmq.h>

#include "rig_test.h"
#include "session_test.h"
#include "spoil.h"
#include "tools/client.h"

#define N_UNITS      SPOIL_UNITS
#define AGAIN_WITHIN 100 /* trials */

static const char closed_loop[] =
    "[session]\nname = bad\nresume = no\n"
    "[ingest]\nunits = 3\nsilence_s = 0.5\n"
    "[display]\nsilence_ms = 400\n"
    "[stimulus]\nheight = 4\nwidth = 4\n"
    "[trial]\nstimulus_ms = 10\ngap_ms = 5\ndelay_ms = 10\nwindow_ms = 40\n"
    "onset_timeout_ms = 800\ncounts_timeout_ms = 800\nmax_attempts = 50\n"
    "[learn]\nstart = 5\ntrials = 1000000\n"
    "[sim]\nbin_ms = 4\n";

static struct rig_test *test;

/* What waits to be done to the one message that lies in the middle of a window, and the
 * trial that it hit. */
static const struct spoil *armed;
static struct event hit;

/* Is this bin well inside the window of the trial that is on? */
static int is_inside(const struct rig_test *bench, const struct event *ev)
{
    int64_t middle_ns = rig_test_bin_ns(bench, ev->counts.first_sample) +
                        llrint(bench->conf.sim.bin_ms / 2 * 1e6);
    int64_t since_ns =
        middle_ns - bench->onset_ns - llrint(bench->conf.trial.delay_ms * 1e6);
    int64_t window_ns = llrint(bench->conf.trial.window_ms * 1e6);

    return ev->type == EVENT_COUNTS && bench->onset_ns != CLOCK_UNKNOWN &&
           since_ns > window_ns * 3 / 10 && since_ns < window_ns * 7 / 10;
}

static void send_or_spoil(struct rig_test *bench, struct rig_test_message *message)
{
    if (armed && is_inside(bench, &message->ev)) {
        hit = bench->present;
        armed->send(bench, message);
        armed = NULL;
        return;
    }
    spoil_pass_on(bench, message);
}

/* The trial of that number ended as it should; whatever it observed came from the rig. */
static const struct event *await_verdict(uint64_t number, enum verdict verdict)
{
    const struct event *ev = rig_test_await_trial(test, number);

    if (ev->trial.verdict != verdict)
        fail_msg("trial %" PRIu64 " is %s, not %s", number,
                 verdict_name(ev->trial.verdict), verdict_name(verdict));
    assert_int_equal(ev->trial.learned, verdict == VERDICT_VALID);
    for (uint32_t u = 0; u < N_UNITS; u++) {
        float observed = ((const float *)ev->data)[u];
        assert_int_equal(isnan(observed), verdict != VERDICT_VALID);
        assert_false(observed >= RIG_TEST_POISON);
    }
    return ev;
}

/* A stimulus whose trial was invalid is shown again until a trial of it is valid. */
static void await_again(const struct event *present)
{
    uint32_t attempt = 1;
    const struct event *ev;
    int n = 0;

    do {
        ev = rig_test_await(test, EVENT_TRIAL);
        assert_true(n++ < AGAIN_WITHIN);
        if (ev->trial.hash == present->present.hash) {
            assert_true(ev->trial.attempt > attempt);
            attempt = ev->trial.attempt;
        }
    } while (ev->trial.hash != present->present.hash ||
             ev->trial.verdict != VERDICT_VALID);
}

static void await_valid_trials(int n)
{
    while (n > 0)
        n -= rig_test_await(test, EVENT_TRIAL)->trial.verdict == VERDICT_VALID;
}

static void start_with(const char *configuration, int rig_is_off)
{
    rig_test_configure(test, configuration);
    test->rig_is_off = rig_is_off;
    test->display_is_off = 0;
    test->rig_send = send_or_spoil;
    test->display_answer = NULL;
    armed = NULL;
    rig_test_start(test);
}

static void start(const char *configuration)
{
    start_with(configuration, 0);
}

static void stop_and_check(void)
{
    assert_int_equal(rig_test_stop(test), 0);
    rig_test_check_session(test);
}

static void path_of(const char *counter, char *path, size_t size)
{
    snprintf(path, size, "counters.%s", counter);
}

static void test_rig_faults(void **state)
{
    (void)state;
    char path[128];

    start(closed_loop);
    await_valid_trials(5);
    for (int i = 0; i < spoil_n; i++) {
        int64_t before;
        path_of(spoil_all[i].counter, path, sizeof(path));
        before = rig_test_count(test, path);
        armed = &spoil_all[i];
        while (armed)
            rig_test_next(test);
        print_message("  %-20s %s, %s\n", spoil_all[i].name, spoil_all[i].counter,
                      verdict_name(spoil_all[i].verdict));
        await_verdict(hit.present.trial, spoil_all[i].verdict);
        if (spoil_all[i].verdict != VERDICT_VALID)
            await_again(&hit);
        rig_test_await_count(test, path, before + 1);
        await_valid_trials(2);
    }
    stop_and_check();
}

/* Random frames are refused one by one and hit no trial. */
static void test_garbage(void **state)
{
    (void)state;
    enum { N = 400 };
    static uint8_t bytes[6][4096];
    static const char *const reasons[] = {"truncated", "oversized", "magic", "version",
                                          "type",      "field",     "dtype", "value",
                                          "unit",      "stimulus"};
    const struct event *ev;
    int64_t n_refused;

    start(closed_loop);
    await_valid_trials(2);
    for (int i = 0; i < N; i++) {
        int n_frames = 1 + (int)random_below(&test->random, 6);
        const void *frames[6];
        size_t sizes[6];
        for (int k = 0; k < n_frames; k++) {
            sizes[k] = random_below(&test->random, i % 2 ? 64 : sizeof(bytes[0]));
            for (size_t b = 0; b < sizes[k]; b++)
                bytes[k][b] = (uint8_t)random_u64(&test->random);
            frames[k] = bytes[k];
        }
        if (i % 3 == 0 && sizes[0] > 6) /* it looks like ours at first */
            memcpy(bytes[0], "EVOK\1\0", 6);
        rig_test_send_frames(test, frames, sizes, n_frames);
        rig_test_turn(test);
    }
    do {
        json_t *status = rig_test_status(test);
        const json_t *refused =
            json_object_get(json_object_get(status, "counters"), "refused");
        n_refused = 0;
        for (size_t r = 0; r < sizeof(reasons) / sizeof(reasons[0]); r++)
            n_refused += json_integer_value(json_object_get(refused, reasons[r]));
        json_decref(status);
        ev = rig_test_await(test, EVENT_TRIAL);
        assert_int_equal(ev->trial.verdict, VERDICT_VALID);
    } while (n_refused < N);
    assert_int_equal(n_refused, N);
    stop_and_check();
}

static void ask_nonsense(const void *bytes, size_t size)
{
    const int patience_ms = 20000, no_linger = 0;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_REQ);
    char endpoint[300], text[4096];
    json_t *reply;
    int n;

    conf_endpoint("control", endpoint, sizeof(endpoint));
    zmq_setsockopt(socket, ZMQ_LINGER, &no_linger, sizeof(no_linger));
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof(patience_ms));
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    assert_int_equal(zmq_send(socket, bytes, size, 0), (int)size);
    n = zmq_recv(socket, text, sizeof(text), 0);
    assert_true(n > 0);
    reply = json_loadb(text, (size_t)n, 0, NULL);
    assert_true(json_is_false(json_object_get(reply, "ok")));
    assert_true(json_string_length(json_object_get(reply, "error")) > 0);
    json_decref(reply);
    zmq_close(socket);
    zmq_ctx_term(context);
    rig_test_turn(test);
}

static void test_control_nonsense(void **state)
{
    (void)state;
    static char deep[40000], random[512];
    static const char *const texts[] = {"",
                                        "{",
                                        "null",
                                        "[]",
                                        "\"do\"",
                                        "{}",
                                        "{\"do\":1}",
                                        "{\"do\":\"\"}",
                                        "{\"do\":\"dance\"}",
                                        "{\"do\":\"note\"}",
                                        "{\"do\":\"note\",\"text\":7}",
                                        "{\"do\":\"stop\",\"do\":\"stop\"}",
                                        "{\"do\":\"stop\"} {",
                                        "{\"do\":\"sto\\u0000p\"}",
                                        "{\"do\":\"note\",\"text\":\"\xff\"}"};

    start(closed_loop);
    await_valid_trials(2);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ask_nonsense(texts[i], strlen(texts[i]));
    memset(deep, '[', sizeof(deep));
    ask_nonsense(deep, sizeof(deep));
    memset(deep, 'x', sizeof(deep));
    memcpy(deep, "{\"do\":\"note\",\"text\":\"", 21);
    memcpy(deep + sizeof(deep) - 2, "\"}", 2);
    ask_nonsense(deep, sizeof(deep));
    for (int i = 0; i < 100; i++) {
        size_t n = random_below(&test->random, sizeof(random));
        for (size_t b = 0; b < n; b++)
            random[b] = (char)random_u64(&test->random);
        ask_nonsense(random, n);
    }
    await_valid_trials(2);
    stop_and_check();
}

/* What the display does to the one trial that it spoils. */
struct display_fault {
    const char *name;
    void (*answer)(struct rig_test *bench, const struct event *present);
    const char *counter;
    enum verdict verdict;
};

static void (*next_answer)(struct rig_test *bench, const struct event *present);

static void answer_once(struct rig_test *bench, const struct event *present)
{
    void (*answer)(struct rig_test *, const struct event *) =
        next_answer ? next_answer : rig_test_answer;

    if (next_answer)
        hit = *present;
    next_answer = NULL;
    answer(bench, present);
}

static void die(struct rig_test *bench, const struct event *present)
{
    (void)present;
    bench->display_is_off = 1;
}

static void answer_and_die(struct rig_test *bench, const struct event *present)
{
    rig_test_answer(bench, present);
    bench->display_is_off = 1;
}

static void begin_anew(struct rig_test *bench, const struct event *present)
{
    (void)present;
    rig_test_new_display(bench);
}

static void say_nothing(struct rig_test *bench, const struct event *present)
{
    (void)bench, (void)present;
}

static void answer_for_another(struct rig_test *bench, const struct event *present)
{
    struct event other = *present;

    other.present.trial += 1000;
    rig_test_answer(bench, &other);
}

static void show_another(struct rig_test *bench, const struct event *present)
{
    struct event other = *present;

    other.present.hash ^= 1;
    rig_test_answer(bench, &other);
}

static void show_late(struct rig_test *bench, const struct event *present)
{
    rig_test_answer_late(bench, present, 1);
}

static const struct display_fault display_faults[] = {
    {"killed before the onset", die, "display_lost", VERDICT_DISPLAY_LOST},
    {"begins anew", begin_anew, "display_lost", VERDICT_DISPLAY_LOST},
    {"never reports", say_nothing, "invalid.no_onset", VERDICT_NO_ONSET},
    {"reports another trial", answer_for_another, "invalid.no_onset", VERDICT_NO_ONSET},
    {"shows another stimulus", show_another, "invalid.wrong_stimulus",
     VERDICT_WRONG_STIMULUS},
    {"one frame late", show_late, "late_frames", VERDICT_LATE_FRAME},
};

static void test_display_faults(void **state)
{
    (void)state;
    char path[128];

    start(closed_loop);
    test->display_answer = answer_once;
    await_valid_trials(5);
    for (size_t i = 0; i < sizeof(display_faults) / sizeof(display_faults[0]); i++) {
        const struct display_fault *fault = &display_faults[i];
        int64_t before;
        path_of(fault->counter, path, sizeof(path));
        before = rig_test_count(test, path);
        next_answer = fault->answer;
        while (next_answer)
            rig_test_next(test);
        print_message("  %-24s %s, %s\n", fault->name, fault->counter,
                      verdict_name(fault->verdict));
        await_verdict(hit.present.trial, fault->verdict);
        if (test->display_is_off) {
            rig_test_await_state(test, STATE_ARMED);
            test->display_is_off = 0;
            rig_test_new_display(test);
        }
        await_again(&hit);
        rig_test_await_count(test, path, before + 1);
        await_valid_trials(2);
    }
    stop_and_check();
}

/* A display that dies after it showed the stimulus: the trial may already be over, but
 * the next one waits for another display. */
static void test_display_dies_while_it_shows(void **state)
{
    (void)state;
    int64_t before;

    start(closed_loop);
    test->display_answer = answer_once;
    await_valid_trials(2);
    before = rig_test_count(test, "counters.display_lost");
    next_answer = answer_and_die;
    rig_test_await_state(test, STATE_ARMED);
    rig_test_await_count(test, "counters.display_lost", before + 1);
    test->display_is_off = 0;
    rig_test_new_display(test);
    await_valid_trials(3);
    stop_and_check();
}

/* Bytes that are no event, and events that a display may not send, on its socket. */
static void test_display_nonsense(void **state)
{
    (void)state;
    static const uint8_t junk[40] = {1, 2, 3};
    struct event ev = {.type = EVENT_COMMAND};
    uint8_t head[WIRE_HEAD_MAX];

    start(closed_loop);
    await_valid_trials(2);
    zmq_send(test->display, junk, sizeof(junk), 0);
    rig_test_await_count(test, "counters.refused.magic", 1);
    zmq_send(test->display, "", 0, 0);
    rig_test_await_count(test, "counters.refused.truncated", 1);
    ev.command.command = COMMAND_STOP;
    zmq_send(test->display, head, wire_encode(&ev, head), 0);
    rig_test_await_count(test, "counters.refused.type", 1);
    await_valid_trials(2);
    stop_and_check();
}

/* The real simulated rig, killed in the middle of a window, and started again. */
static void test_simulator_killed(void **state)
{
    (void)state;
    const char *const argv[] = {"evoke", "sim", test->conf_path, NULL};
    pid_t sim;

    start_with(closed_loop, 1);
    sim = rig_test_spawn(test, NULL, argv);
    await_valid_trials(5);
    rig_test_await(test, EVENT_SHOWN);
    hit = test->present;
    kill(sim, SIGKILL);
    assert_int_equal(waitpid(sim, NULL, 0), sim);
    await_verdict(hit.present.trial, VERDICT_NO_COUNTS);
    rig_test_await_state(test, STATE_ARMED);
    rig_test_await_count(test, "counters.source_lost", 1);
    rig_test_await_count(test, "counters.invalid.no_counts", 1);
    sim = rig_test_spawn(test, NULL, argv);
    await_again(&hit);
    rig_test_await_count(test, "counters.source_restarts", 1);
    await_valid_trials(3);
    assert_int_equal(rig_test_stop(test), 0);
    assert_int_equal(rig_test_reap(test, sim), 0);
    rig_test_check_session(test);
}

static const char external[] = "[session]\nname = bad\nresume = no\n"
                               "[ingest]\nunits = 3\n"
                               "[stimulus]\nheight = 2\nwidth = 3\n"
                               "[trial]\nexternal = yes\ndelay_ms = 10\nwindow_ms = 40\n"
                               "[sim]\nbin_ms = 4\n";

/* A stimulus of another system, shown now; nothing else is set. */
static struct event shown_now(const float *light)
{
    struct event ev = {.type = EVENT_EXTERNAL};

    ev.external.first_sample =
        test->rig_sample + llrint((double)(clock_now_ns() - test->rig_origin_ns) / 1e9 *
                                  test->conf.sim.sample_rate_hz);
    ev.external.sample_rate_hz = test->conf.sim.sample_rate_hz;
    ev.external.n_samples = 300;
    ev.external.learn = 1;
    ev.external.height = 2;
    ev.external.width = 3;
    ev.external.dtype = DTYPE_F32;
    ev.data = light;
    ev.data_size = 6 * sizeof(float);
    return ev;
}

static void test_external_stimuli(void **state)
{
    (void)state;
    float light[12] = {0.1f, 0.9f, 0.5f, 0.2f, 0.7f, 0.4f};
    struct event ev;

    start(external);
    rig_test_await_state(test, STATE_COLLECT);
    ev = shown_now(light);
    ev.external.height = 3;
    ev.external.width = 2;
    rig_test_send(test, &ev);
    rig_test_await_count(test, "counters.refused.stimulus", 1);
    ev = shown_now(light);
    ev.external.height = 4;
    ev.data_size = 12 * sizeof(float);
    rig_test_send(test, &ev);
    rig_test_await_count(test, "counters.refused.stimulus", 2);
    ev = shown_now(light);
    ev.external.dtype = 7;
    rig_test_send(test, &ev);
    rig_test_await_count(test, "counters.refused.dtype", 1);
    ev = shown_now(light);
    ev.external.learn = 2;
    rig_test_send(test, &ev);
    rig_test_await_count(test, "counters.refused.field", 1);
    light[4] = nanf("");
    ev = shown_now(light);
    rig_test_send(test, &ev);
    rig_test_await_count(test, "counters.refused.value", 1);
    assert_int_equal(rig_test_count(test, "counters.trials"), 0);
    light[4] = 0.7f;
    ev = shown_now(light);
    rig_test_send(test, &ev);
    ev = *rig_test_await(test, EVENT_TRIAL);
    assert_int_equal(ev.trial.verdict, VERDICT_VALID);
    rig_test_await_count(test, "counters.valid", 1);
    assert_int_equal(rig_test_count(test, "counters.trials"), 1);
    assert_int_equal(rig_test_stop(test), 0);
    session_test_newest(test->sessions, test->session, sizeof(test->session));
    assert_int_equal(
        rig_test_run(test, "evoke", "replay", test->session, "--verify", NULL), 0);
    assert_non_null(strstr(test->text, "1 trials, 1 valid"));
}

static void check_refused(const char *text, const char *place, const char *what)
{
    char path[256], expected[300];
    FILE *file;

    snprintf(path, sizeof(path), "%s/wrong.conf", test->folder);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    snprintf(expected, sizeof(expected), "%s%s", path, place);
    for (int check = 0; check < 2; check++) {
        int code =
            rig_test_run(test, "evoked", "-c", path, check ? "--check" : NULL, NULL);
        if (code != 1 || !strstr(test->error_text, expected) ||
            !strstr(test->error_text, what))
            fail_msg("exit %d: %s", code, test->error_text);
        assert_ptr_equal(strchr(test->error_text, '\n'),
                         test->error_text + strlen(test->error_text) - 1);
    }
}

static void test_configuration(void **state)
{
    (void)state;
    check_refused("[session]\nname = a\n[trial]\nstimulus_mss = 200\n",
                  ":4: ", "[trial] stimulus_mss");
    check_refused("[sesion]\nname = a\n", ":2: ", "[sesion] name");
    check_refused("[ingest]\nunits = many\n", ":2: ", "[ingest] units = many");
    check_refused("[ingest]\nunits = 0\n", ":2: ", "from 1 to 100000");
    check_refused("[ingest]\nunits = 2.5\n", ":2: ", "whole number");
    check_refused("[model]\nfront = retina\n", ":2: ", "pixels | gabor");
    check_refused("[session]\n\nname\n", ":3: ", "key = value");
    check_refused("[ingest]\nendpoint = tcp://*:5555\n", ": ", "insecure = yes");
}

static int setup(void **state)
{
    (void)state;
    test = rig_test_open(closed_loop);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_test_close(test);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rig_faults),       TEST(test_garbage),
        TEST(test_control_nonsense), TEST(test_display_faults),
        TEST(test_display_nonsense), TEST(test_display_dies_while_it_shows),
        TEST(test_simulator_killed), TEST(test_external_stimuli),
        TEST(test_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
