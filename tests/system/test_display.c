/*
 * The real evoke-display, on SDL's dummy driver at 200 Hz; this program is the daemon.
 * Nothing here waits for a time to pass: always for a message, or for its absence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zmq.h>

#include "protocol/clock.h"
#include "protocol/wire.h"

#define REFRESH_HZ  200
#define PERIOD_NS   (NS_PER_S / REFRESH_HZ)
#define SILENCE_NS  (300 * NS_PER_MS)
#define PATIENCE_NS (20 * NS_PER_S)
#define SIDE        8

static char folder[] = "/tmp/evoke-test-display-XXXXXX", endpoint[128], program[4096];
static uint64_t random_state;

/* The daemon's side. */
static void *context, *router;
static uint8_t identity[256];
static size_t identity_size;
static uint32_t epoch = 1;
static uint64_t seq;
static int is_beating;
static int64_t beat_ns;

static pid_t display;

static uint32_t draw(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static void bind_router(void)
{
    const int no_linger = 0, yes = 1, patience_ms = 5000;
    router = zmq_socket(context, ZMQ_ROUTER);
    assert_non_null(router);
    /* Wait for a display that is behind, instead of dropping what it did not read. */
    zmq_setsockopt(router, ZMQ_ROUTER_MANDATORY, &yes, sizeof yes);
    zmq_setsockopt(router, ZMQ_SNDTIMEO, &patience_ms, sizeof patience_ms);
    zmq_setsockopt(router, ZMQ_LINGER, &no_linger, sizeof no_linger);
    /* A display that was killed and started again must not be hidden by the old one. */
    zmq_setsockopt(router, ZMQ_ROUTER_HANDOVER, &yes, sizeof yes);
    assert_int_equal(zmq_bind(router, endpoint), 0);
    identity_size = 0;
}

static pid_t start(char *const argv[], int output)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (output >= 0)
            dup2(output, STDOUT_FILENO);
        execv(program, argv);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static void start_display(void)
{
    char *argv[] = {program, "--endpoint", endpoint, "--driver",
                    "dummy", "--refresh",  "200",    NULL};
    display = start(argv, -1);
}

static int end_of(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void send_bytes(const void *head, size_t head_size, const void *data,
                       size_t data_size)
{
    if (zmq_send(router, identity, identity_size, ZMQ_SNDMORE) < 0)
        return; /* it is dead */
    zmq_send(router, head, head_size, data ? ZMQ_SNDMORE : 0);
    if (data)
        zmq_send(router, data, data_size, 0);
}

static void send_event(struct event *ev)
{
    char head[WIRE_HEAD_MAX];
    ev->epoch = epoch;
    ev->seq = seq++;
    ev->time_ns = clock_now_ns();
    if (identity_size)
        send_bytes(head, wire_encode(ev, head), ev->data, ev->data_size);
}

static void beat(void)
{
    struct event ev = {.type = EVENT_BEAT};
    if (!is_beating || clock_now_ns() < beat_ns)
        return;
    send_event(&ev);
    beat_ns = clock_now_ns() + 20 * NS_PER_MS;
}

/* The next event within the time, payload in data (256 bytes); 0 if none came. */
static int receive(struct event *ev, char *data, int64_t patience_ns)
{
    int64_t until_ns = clock_now_ns() + patience_ns;
    uint8_t head[WIRE_HEAD_MAX];
    zmq_pollitem_t item = {.socket = router, .events = ZMQ_POLLIN};
    while (zmq_poll(&item, 1, 10) == 0) {
        beat();
        if (clock_now_ns() > until_ns)
            return 0;
    }
    beat();
    int more = 0, size = zmq_recv(router, identity, sizeof identity, 0), data_size = 0;
    size_t more_size = sizeof more;
    assert_true(size > 0);
    identity_size = (size_t)size;
    size = zmq_recv(router, head, sizeof head, 0);
    zmq_getsockopt(router, ZMQ_RCVMORE, &more, &more_size);
    if (more)
        data_size = zmq_recv(router, data, 256, 0);
    assert_int_equal(wire_decode(head, (size_t)size, data, (size_t)data_size, ev),
                     REJECT_NONE);
    return 1;
}

/* The next event of what matters: anything but beats and, unless wanted, DISPLAY. */
static struct event expect(unsigned type)
{
    static char data[256];
    struct event ev;
    int64_t until_ns = clock_now_ns() + PATIENCE_NS;
    while (clock_now_ns() < until_ns) {
        if (!receive(&ev, data, PATIENCE_NS))
            break;
        if (ev.type == type)
            return ev;
        if (ev.type != EVENT_BEAT && ev.type != EVENT_DISPLAY)
            fail_msg("%s came, not %s", event_name(ev.type), event_name(type));
    }
    fail_msg("%s never came", event_name(type));
    return ev;
}

static struct event screen_event(void)
{
    struct event ev = {.type = EVENT_SCREEN};
    ev.screen.width_cm = 40.0;
    ev.screen.height_cm = 30.0;
    ev.screen.distance_cm = 57.0;
    ev.screen.size_deg = 8.0;
    ev.screen.diode_deg = 2.0;
    ev.screen.diode_corner = 4;
    ev.screen.grey = 0.5;
    ev.screen.silence_ns = SILENCE_NS;
    return ev;
}

/* As a daemon does: whenever the display asks what it shall be, tell it; until it is. */
static struct event set_up(struct event screen)
{
    int64_t until_ns = clock_now_ns() + PATIENCE_NS;
    struct event ev = expect(EVENT_DISPLAY);
    while (ev.display.width_px == 0) {
        assert_true(clock_now_ns() < until_ns);
        send_event(&screen);
        ev = expect(EVENT_DISPLAY);
    }
    return ev;
}

static uint64_t send_stimulus(uint8_t level)
{
    uint8_t pixels[SIDE * SIDE];
    struct event ev = {
        .type = EVENT_STIMULUS, .data = pixels, .data_size = sizeof pixels};
    memset(pixels, level, sizeof pixels);
    ev.stimulus.height = ev.stimulus.width = SIDE;
    ev.stimulus.dtype = DTYPE_U8;
    ev.stimulus.hash = wire_hash_stimulus(SIDE, SIDE, DTYPE_U8, pixels);
    send_event(&ev);
    return ev.stimulus.hash;
}

static void send_request(uint64_t trial, uint64_t hash, int64_t not_before_ns,
                         int64_t duration_ns)
{
    struct event ev = {.type = EVENT_PRESENT};
    ev.present.trial = trial;
    ev.present.hash = hash;
    ev.present.not_before_ns = not_before_ns;
    ev.present.duration_ns = duration_ns;
    send_event(&ev);
}

static struct event expect_shown(uint64_t trial, uint64_t hash)
{
    struct event ev = expect(EVENT_SHOWN);
    assert_int_equal(ev.shown.trial, trial);
    assert_int_equal(ev.shown.hash, hash);
    assert_int_equal(ev.shown.quality, QUALITY_NONE);
    assert_int_equal(ev.shown.uncertainty_ns, PERIOD_NS);
    assert_true(ev.shown.onset_ns <= clock_now_ns());
    return ev;
}

static struct event expect_hidden(uint64_t trial, const struct event *shown)
{
    struct event ev = expect(EVENT_HIDDEN);
    assert_int_equal(ev.hidden.trial, trial);
    assert_true(ev.hidden.offset_ns > shown->shown.onset_ns);
    assert_true(ev.hidden.n_frames >= 1);
    return ev;
}

/* One whole trial, to see that the display still works. */
static void assert_works(uint64_t trial)
{
    uint64_t hash = send_stimulus((uint8_t)trial);
    send_request(trial, hash, 0, 4 * PERIOD_NS);
    struct event shown = expect_shown(trial, hash);
    expect_hidden(trial, &shown);
}

static int setup(void **state)
{
    (void)state;
    is_beating = 1;
    bind_router();
    start_display();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (display > 0) {
        kill(display, SIGKILL);
        waitpid(display, NULL, 0);
        display = 0;
    }
    zmq_close(router);
    return 0;
}

static void test_announces_until_it_is_set_up(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct event ev = expect(EVENT_DISPLAY);
        assert_int_equal(ev.display.width_px, 0);
        assert_int_equal(ev.display.height_px, 0);
    }
    struct event ev = set_up(screen_event());
    assert_int_equal(ev.display.width_px, 800);
    assert_int_equal(ev.display.height_px, 600);
    assert_int_equal(ev.display.quality, QUALITY_NONE);
    assert_true(ev.display.refresh_hz == (double)REFRESH_HZ);
    assert_int_equal(ev.display.n_text, strlen("dummy/software"));
    assert_memory_equal(ev.data, "dummy/software", ev.display.n_text);
    for (int i = 0; i < 5; i++)
        expect(EVENT_BEAT);
}

static void test_one_trial(void **state)
{
    (void)state;
    set_up(screen_event());
    uint64_t hash = send_stimulus(3);
    int64_t then_ns = clock_now_ns() + 250 * NS_PER_MS;
    send_request(9, hash, then_ns, 20 * PERIOD_NS + PERIOD_NS / 3);
    struct event shown = expect_shown(9, hash);
    assert_true(shown.shown.requested_ns >= then_ns);
    assert_true(shown.shown.requested_ns < then_ns + PERIOD_NS);
    assert_true(shown.shown.onset_ns >= shown.shown.requested_ns);
    struct event hidden = expect_hidden(9, &shown);
    assert_true(hidden.hidden.n_frames >= 20);
    /* More than 20 only if frames were late, and then it says so. */
    assert_true(hidden.hidden.n_frames <= 20 + hidden.hidden.n_late);
    int64_t on_ns = hidden.hidden.offset_ns - shown.shown.onset_ns;
    assert_true(llabs(on_ns - (int64_t)hidden.hidden.n_frames * PERIOD_NS) < PERIOD_NS);
}

static void test_back_to_back(void **state)
{
    (void)state;
    set_up(screen_event());
    uint64_t first = send_stimulus(1), second = send_stimulus(2);
    send_request(1, first, 0, 10 * PERIOD_NS);
    send_request(2, second, 0, 10 * PERIOD_NS);
    struct event shown = expect_shown(1, first);
    struct event hidden = expect_hidden(1, &shown);
    shown = expect_shown(2, second);
    assert_int_equal(shown.shown.onset_ns, hidden.hidden.offset_ns);
    assert_true(shown.shown.n_late >= 10); /* it was meant to come at once */
    expect_hidden(2, &shown);
}

static void test_unknown_stimulus_is_never_shown(void **state)
{
    (void)state;
    set_up(screen_event());
    uint8_t pixels[SIDE * SIDE] = {1};
    struct event lie = {
        .type = EVENT_STIMULUS, .data = pixels, .data_size = sizeof pixels};
    lie.stimulus.height = lie.stimulus.width = SIDE;
    lie.stimulus.dtype = DTYPE_U8;
    lie.stimulus.hash = 0x1234;
    send_event(&lie);
    send_request(1, 0x1234, 0, PERIOD_NS);
    send_request(2, 0x9999, 0, PERIOD_NS);
    assert_works(3); /* expect() fails on a SHOWN of another trial */
}

static void test_blank(void **state)
{
    (void)state;
    set_up(screen_event());
    uint64_t hash = send_stimulus(1);
    send_request(1, hash, 0, 1000 * NS_PER_S);
    send_request(2, hash, 0, PERIOD_NS);
    struct event shown = expect_shown(1, hash);
    struct event blank = {.type = EVENT_BLANK};
    send_event(&blank);
    expect_hidden(1, &shown);
    assert_works(3);
}

static void test_grey_when_the_heart_stops(void **state)
{
    (void)state;
    set_up(screen_event());
    uint64_t hash = send_stimulus(1);
    send_request(1, hash, 0, 1000 * NS_PER_S);
    struct event shown = expect_shown(1, hash);
    for (int i = 0; i < 10; i++)
        expect(EVENT_BEAT);
    is_beating = 0;
    int64_t stopped_ns = clock_now_ns();
    struct event hidden = expect_hidden(1, &shown);
    assert_true(hidden.hidden.offset_ns > stopped_ns - 40 * NS_PER_MS + SILENCE_NS);
    struct event ev = expect(EVENT_DISPLAY);
    assert_int_equal(ev.display.width_px, 0);
    is_beating = 1;
    set_up(screen_event());
    assert_works(2);
}

static void test_killed_and_started_again(void **state)
{
    (void)state;
    set_up(screen_event());
    for (uint64_t i = 1; i <= 3; i++) {
        uint64_t hash = send_stimulus(1);
        send_request(100 * i, hash, 0, 1000 * NS_PER_S);
        expect_shown(100 * i, hash);
        kill(display, SIGKILL);
        assert_int_equal(end_of(display), -SIGKILL);
        start_display();
        set_up(screen_event());
        assert_works(i);
    }
}

static void test_daemon_started_again(void **state)
{
    (void)state;
    set_up(screen_event());
    for (uint64_t i = 1; i <= 3; i++) {
        zmq_close(router);
        epoch++;
        bind_router();
        struct event ev = expect(EVENT_DISPLAY); /* it asks again */
        assert_int_equal(ev.display.width_px, 0);
        set_up(screen_event());
        assert_works(i);
    }
}

/* A daemon that was away for less than the silence: only its epoch tells. */
static void test_another_epoch_is_another_daemon(void **state)
{
    (void)state;
    set_up(screen_event());
    assert_works(1);
    epoch++;
    struct event beat_now = {.type = EVENT_BEAT};
    send_event(&beat_now);
    assert_int_equal(expect(EVENT_DISPLAY).display.width_px, 0);
    set_up(screen_event());
    assert_works(2);
}

static void test_other_settings(void **state)
{
    (void)state;
    set_up(screen_event());
    uint64_t hash = send_stimulus(1);
    send_request(1, hash, 0, 1000 * NS_PER_S);
    struct event shown = expect_shown(1, hash), screen = screen_event();
    screen.screen.x_deg = 3.0;
    send_event(&screen);
    expect_hidden(1, &shown);
    struct event ev = expect(EVENT_DISPLAY);
    assert_int_equal(ev.display.width_px, 800);
    send_request(2, hash, 0, PERIOD_NS); /* another window knows no old stimuli */
    assert_works(3);

    screen.screen.x_deg = 85.0; /* nowhere: it goes on asking */
    send_event(&screen);
    assert_int_equal(expect(EVENT_DISPLAY).display.width_px, 0);
    set_up(screen_event());
    assert_works(4);
}

static void test_any_bytes(void **state)
{
    (void)state;
    set_up(screen_event());
    uint8_t head[WIRE_HEAD_MAX], bytes[4096];
    char data[256];
    struct event said;
    zmq_pollitem_t item = {.socket = router, .events = ZMQ_POLLIN};
    for (int i = 0; i < 5000; i++) {
        struct event ev = {.type = (uint16_t)(draw(8) ? 21 + draw(3) : draw(50))},
                     screen = screen_event();
        if (strcmp(event_name(ev.type), "unknown") == 0 ||
            (ev.type == EVENT_SCREEN && draw(10)))
            ev.type = EVENT_PRESENT;
        if (i % 200 == 0) /* most of it shall meet an open screen */
            send_event(&screen);
        if (ev.type == EVENT_STIMULUS) { /* of a size that the data do not have */
            ev.stimulus.height = 1 + draw(2000);
            ev.stimulus.width = 1 + draw(2000);
            ev.stimulus.dtype = 1 + draw(3);
        }
        for (size_t k = 0; k < sizeof bytes; k += 1 + draw(64))
            bytes[k] = (uint8_t)draw(256);
        size_t size = wire_encode(&ev, head), data_size = draw(sizeof bytes);
        for (uint32_t n = draw(6); n > 0; n--)
            head[draw(4) ? WIRE_HEADER_SIZE + draw(96) : draw((uint32_t)size)] =
                (uint8_t)draw(256);
        size = draw(3) ? size : draw(sizeof head);
        send_bytes(head, size, draw(2) ? bytes : NULL, data_size);
        if (draw(100) == 0 && /* too many frames */
            zmq_send(router, identity, identity_size, ZMQ_SNDMORE) > 0) {
            for (int k = 0; k < 5; k++)
                zmq_send(router, bytes, draw(64), k < 4 ? ZMQ_SNDMORE : 0);
        }
        while (zmq_poll(&item, 1, 0) > 0)
            receive(&said, data, PATIENCE_NS);
        assert_int_equal(waitpid(display, NULL, WNOHANG), 0); /* it lives */
    }
    /* Some of it may have been a request or other settings: begin again. */
    struct event blank = {.type = EVENT_BLANK}, screen = screen_event(), ev;
    screen.screen.y_deg = 1.5;
    send_event(&blank);
    send_event(&screen);
    int64_t until_ns = clock_now_ns() + PATIENCE_NS;
    uint64_t hash = 0;
    do {
        assert_true(receive(&ev, data, PATIENCE_NS) && clock_now_ns() < until_ns);
        if (ev.type == EVENT_DISPLAY && ev.display.width_px == 0)
            send_event(&screen);
        if (ev.type == EVENT_DISPLAY && ev.display.width_px > 0) {
            hash = send_stimulus(77);
            send_request(77, hash, 0, PERIOD_NS);
        }
    } while (ev.type != EVENT_SHOWN || ev.shown.trial != 77);
    assert_int_equal(ev.shown.hash, hash);
}

static void test_stopped_and_continued(void **state)
{
    (void)state;
    set_up(screen_event());
    uint64_t hash = send_stimulus(1);
    send_request(1, hash, 0, 400 * NS_PER_MS);
    struct event shown = expect_shown(1, hash), ev;
    char data[256];
    kill(display, SIGSTOP);
    while (receive(&ev, data, 200 * NS_PER_MS)) /* until nothing comes any more */
        assert_int_equal(ev.type, EVENT_BEAT);
    kill(display, SIGCONT);
    struct event hidden = expect_hidden(1, &shown);
    assert_true(hidden.hidden.n_late >= 30);
    assert_works(2);
}

static void test_ends_when_told(void **state)
{
    (void)state;
    const int signals[] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        set_up(screen_event());
        uint64_t hash = send_stimulus(1);
        send_request(1, hash, 0, 1000 * NS_PER_S);
        struct event shown = expect_shown(1, hash);
        kill(display, signals[i]);
        expect_hidden(1, &shown);
        assert_int_equal(end_of(display), 0);
        start_display();
    }
}

static int run_with(const char *a, const char *b, char *output, size_t size)
{
    char *argv[] = {program, (char *)(uintptr_t)a, (char *)(uintptr_t)b, NULL};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = start(argv, ends[1]);
    close(ends[1]);
    size_t n = 0;
    ssize_t got;
    while (n + 1 < size && (got = read(ends[0], output + n, size - 1 - n)) > 0)
        n += (size_t)got;
    output[n] = 0;
    close(ends[0]);
    return end_of(pid);
}

static void test_options(void **state)
{
    (void)state;
    char output[4096];
    assert_int_equal(run_with("--help", NULL, output, sizeof output), 0);
    assert_non_null(strstr(output, "Example: evoke-display "));
    assert_int_equal(run_with("--refresh", "0", output, sizeof output), 2);
    assert_int_equal(run_with("--refresh", "60x", output, sizeof output), 2);
    assert_int_equal(run_with("--refresh", NULL, output, sizeof output), 2);
    assert_int_equal(run_with("--colour", "1", output, sizeof output), 2);
    assert_int_equal(run_with("more", NULL, output, sizeof output), 2);
    assert_int_equal(run_with("--endpoint", "nonsense", output, sizeof output), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_announces_until_it_is_set_up),
        TEST(test_one_trial),
        TEST(test_back_to_back),
        TEST(test_unknown_stimulus_is_never_shown),
        TEST(test_blank),
        TEST(test_grey_when_the_heart_stops),
        TEST(test_killed_and_started_again),
        TEST(test_daemon_started_again),
        TEST(test_another_epoch_is_another_daemon),
        TEST(test_other_settings),
        TEST(test_any_bytes),
        TEST(test_stopped_and_continued),
        TEST(test_ends_when_told),
        cmocka_unit_test(test_options),
    };
    const char *bin = getenv("EVOKE_BIN_DIR"), *seed = getenv("EVOKE_SEED");
    random_state = seed ? strtoull(seed, NULL, 0) : 99;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)random_state);
    if (argc > 1)
        snprintf(program, sizeof program, "%s", argv[1]);
    else
        snprintf(program, sizeof program, "%s/evoke-display", bin ? bin : ".");
    if (access(program, X_OK) != 0) {
        printf("no %s: set EVOKE_BIN_DIR\n", program);
        return 1;
    }
    if (!mkdtemp(folder))
        return 1;
    snprintf(endpoint, sizeof endpoint, "ipc://%s/display.sock", folder);
    context = zmq_ctx_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    zmq_ctx_term(context);
    unlink(endpoint + strlen("ipc://"));
    rmdir(folder);
    return failed;
}
