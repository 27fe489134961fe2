#include "rig_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define BEAT_NS     (50 * NS_PER_MS)
#define ANNOUNCE_NS (100 * NS_PER_MS)
#define ARGS_MAX    16
#define REFRESH_HZ  200.0

static int64_t deadline(void)
{
    return clock_now_ns() + RIG_TEST_PATIENCE_NS;
}

/* The log of the daemon helps whoever reads the failure. */
static void fail_with_log(struct rig_test *test, const char *what)
{
    char line[512];
    FILE *log = fopen(test->log_path, "r");

    while (log && fgets(line, sizeof(line), log))
        print_error("  | %s", line);
    if (log)
        fclose(log);
    fail_msg("%s", what);
}

void rig_test_configure(struct rig_test *test, const char *configuration)
{
    char text[512];
    FILE *file = fopen(test->conf_path, "w");

    assert_non_null(file);
    fprintf(file, "%s\n[session]\ndirectory = %s\n", configuration, test->sessions);
    fclose(file);
    if (conf_read(&test->conf, test->conf_path, text, sizeof(text)) != 0)
        fail_msg("%s", text);
}

struct rig_test *rig_test_open(const char *configuration)
{
    struct rig_test *test = calloc(1, sizeof(*test));
    const char *seed = getenv("EVOKE_SEED");

    assert_non_null(test);
    signal(SIGPIPE, SIG_IGN);
    snprintf(test->folder, sizeof(test->folder), "/tmp/evoke-test-XXXXXX");
    assert_non_null(mkdtemp(test->folder));
    snprintf(test->runtime, sizeof(test->runtime), "%s/run", test->folder);
    snprintf(test->sessions, sizeof(test->sessions), "%s/sessions", test->folder);
    snprintf(test->conf_path, sizeof(test->conf_path), "%s/test.conf", test->folder);
    snprintf(test->log_path, sizeof(test->log_path), "%s/log", test->folder);
    assert_int_equal(mkdir(test->runtime, 0770), 0);
    assert_int_equal(mkdir(test->sessions, 0770), 0);
    setenv("EVOKE_RUNTIME", test->runtime, 1);
    random_init(&test->random, seed ? strtoull(seed, NULL, 0) : 1, 77);
    rig_test_configure(test, configuration);
    return test;
}

static int remove_entry(const char *path, const struct stat *stat, int type,
                        struct FTW *walk)
{
    (void)stat, (void)type, (void)walk;
    return remove(path);
}

static void disconnect(struct rig_test *test)
{
    void *sockets[] = {test->display, test->ingest, test->follow};

    for (int i = 0; i < 3; i++)
        if (sockets[i])
            zmq_close(sockets[i]);
    if (test->context)
        zmq_ctx_term(test->context);
    test->context = test->display = test->ingest = test->follow = NULL;
}

void rig_test_close(struct rig_test *test)
{
    if (!test)
        return;
    if (test->daemon)
        rig_test_kill(test);
    disconnect(test);
    if (getenv("EVOKE_KEEP"))
        print_message("kept: %s\n", test->folder);
    else
        nftw(test->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(test);
}

static void *connected(struct rig_test *test, int type, const char *name)
{
    const int linger = 0, soon_ms = 2, many = 100000;
    void *socket = zmq_socket(test->context, type);
    char endpoint[300];

    conf_endpoint(name, endpoint, sizeof(endpoint));
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &soon_ms, sizeof(soon_ms));
    zmq_setsockopt(socket, ZMQ_SNDHWM, &many, sizeof(many));
    zmq_setsockopt(socket, ZMQ_RCVHWM, &many, sizeof(many));
    if (type == ZMQ_SUB)
        zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0);
    assert_int_equal(zmq_connect(socket, endpoint), 0);
    return socket;
}

pid_t rig_test_spawn(struct rig_test *test, const char *output, const char *const *argv)
{
    const char *folder = getenv("EVOKE_BIN_DIR");
    char path[4096];
    int log;
    pid_t pid;

    assert_non_null(folder);
    snprintf(path, sizeof(path), "%s/%s", folder, argv[0]);
    log = open(output ? output : test->log_path,
               O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0660);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
        signal(SIGPIPE, SIG_DFL);
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execv(path, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(log);
    assert_true(pid > 0);
    return pid;
}

void rig_test_new_display(struct rig_test *test)
{
    if (test->display)
        zmq_close(test->display);
    test->display = connected(test, ZMQ_DEALER, "display");
    test->display_epoch++;
    test->display_seq = 0;
    test->display_is_set = 0;
    test->display_announce_ns = 0;
}

void rig_test_connect(struct rig_test *test)
{
    disconnect(test);
    test->context = zmq_ctx_new();
    test->follow = connected(test, ZMQ_SUB, "publish");
    test->ingest = connected(test, ZMQ_PUSH, "ingest");
    rig_test_new_display(test);
    test->rig_epoch++;
    test->rig_seq = 0;
    test->rig_origin_ns = clock_now_ns();
    test->rig_sample = (int64_t)random_below(&test->random, 1u << 30);
    test->rig_n_bins = 0;
    memset(&test->present, 0, sizeof(test->present));
    test->onset_ns = CLOCK_UNKNOWN;
}

void rig_test_launch(struct rig_test *test)
{
    const char *const argv[] = {"evoked", "-c", test->conf_path, NULL};

    assert_int_equal(test->daemon, 0);
    test->daemon = rig_test_spawn(test, NULL, argv);
    rig_test_connect(test);
}

void rig_test_start(struct rig_test *test)
{
    rig_test_launch(test);
    rig_test_await(test, EVENT_STATUS);
}

static int exit_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int rig_test_reap(struct rig_test *test, pid_t pid)
{
    int64_t until_ns = deadline();
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_now_ns() > until_ns)
            fail_with_log(test, "a process does not end");
        rig_test_turn(test);
    }
    return exit_code(status);
}

int rig_test_stop(struct rig_test *test)
{
    pid_t pid = test->daemon;

    assert_int_equal(rig_test_run(test, "evoke", "stop", NULL), 0);
    test->daemon = 0;
    return rig_test_reap(test, pid);
}

void rig_test_kill(struct rig_test *test)
{
    int status;

    kill(test->daemon, SIGKILL);
    waitpid(test->daemon, &status, 0);
    test->daemon = 0;
}

/* One message of a socket; 0 if none waits, else the number of its frames. */
static int receive(void *socket, struct rig_test_message *message, int n_skip)
{
    int n = 0, more = 1, size;
    size_t more_size = sizeof(more);

    message->n_head = message->n_data = 0;
    while (more) {
        uint8_t *to = n == n_skip ? message->head : message->data;
        size_t room = n == n_skip ? sizeof(message->head) : sizeof(message->data);
        size = zmq_recv(socket, to, room, ZMQ_DONTWAIT);
        if (size < 0)
            return 0;
        assert_true((size_t)size <= room);
        if (n == n_skip)
            message->n_head = (size_t)size;
        else if (n == n_skip + 1)
            message->n_data = (size_t)size;
        zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &more_size);
        n++;
    }
    assert_int_equal(wire_decode(message->head, message->n_head, message->data,
                                 message->n_data, &message->ev),
                     REJECT_NONE);
    return n;
}

void rig_test_send_frames(struct rig_test *test, const void *const *frames,
                          const size_t *sizes, int n_frames)
{
    for (int i = 0; i < n_frames; i++)
        zmq_send(test->ingest, frames[i], sizes[i],
                 ZMQ_DONTWAIT | (i < n_frames - 1 ? ZMQ_SNDMORE : 0));
}

void rig_test_send_message(struct rig_test *test, const struct rig_test_message *message)
{
    const void *frames[] = {message->head, message->data};
    const size_t sizes[] = {message->n_head, message->n_data};

    rig_test_send_frames(test, frames, sizes, message->n_data > 0 ? 2 : 1);
}

void rig_test_send(struct rig_test *test, struct event *ev)
{
    static struct rig_test_message message;

    ev->source = 1;
    ev->epoch = test->rig_epoch;
    ev->seq = test->rig_seq++;
    message.ev = *ev;
    message.n_head = wire_encode(ev, message.head);
    message.n_data = ev->data_size;
    assert_true(ev->data_size <= sizeof(message.data));
    if (ev->data_size)
        memcpy(message.data, ev->data, ev->data_size);
    message.ev.data = message.data;
    if (test->rig_send)
        test->rig_send(test, &message);
    else
        rig_test_send_message(test, &message);
}

int64_t rig_test_bin_ns(const struct rig_test *test, int64_t first_sample)
{
    return test->rig_origin_ns + llrint((double)(first_sample - test->rig_sample) /
                                        test->conf.sim.sample_rate_hz * 1e9);
}

/* All bins that have ended; each unit 0..2 counts in each. */
static void run_rig(struct rig_test *test)
{
    uint8_t counts[1024];
    size_t n_units = (size_t)test->conf.ingest.units;
    int64_t bin_samples =
        llrint(test->conf.sim.bin_ms * 1e-3 * test->conf.sim.sample_rate_hz);

    assert_true(n_units <= sizeof(counts));
    for (;;) {
        int64_t first = test->rig_sample + test->rig_n_bins * bin_samples;
        struct event ev = {.type = EVENT_COUNTS, .data = counts};
        if (rig_test_bin_ns(test, first + bin_samples) > clock_now_ns())
            return;
        test->rig_n_bins++;
        for (size_t u = 0; u < n_units; u++)
            counts[u] = (uint8_t)random_below(&test->random, 3);
        ev.counts.first_sample = first;
        ev.counts.sample_rate_hz = test->conf.sim.sample_rate_hz;
        ev.counts.bin_samples = (uint32_t)bin_samples;
        ev.counts.n_bins = 1;
        ev.counts.n_units = (uint32_t)n_units;
        ev.counts.dtype = DTYPE_U8;
        ev.data_size = (uint32_t)n_units;
        rig_test_send(test, &ev);
    }
}

static void say(struct rig_test *test, struct event *ev)
{
    uint8_t head[WIRE_HEAD_MAX];
    size_t n_head;

    ev->epoch = test->display_epoch;
    ev->seq = test->display_seq++;
    ev->time_ns = clock_now_ns();
    n_head = wire_encode(ev, head);
    zmq_send(test->display, head, n_head,
             ZMQ_DONTWAIT | (ev->data_size ? ZMQ_SNDMORE : 0));
    if (ev->data_size)
        zmq_send(test->display, ev->data, ev->data_size, ZMQ_DONTWAIT);
}

void rig_test_answer_late(struct rig_test *test, const struct event *present,
                          uint32_t n_late)
{
    struct event shown = {.type = EVENT_SHOWN}, hidden = {.type = EVENT_HIDDEN};
    int64_t now_ns = clock_now_ns();

    shown.shown.trial = hidden.hidden.trial = present->present.trial;
    shown.shown.hash = present->present.hash;
    shown.shown.requested_ns =
        now_ns > present->present.not_before_ns ? now_ns : present->present.not_before_ns;
    shown.shown.onset_ns = shown.shown.requested_ns + n_late * 5 * NS_PER_MS;
    shown.shown.quality = QUALITY_ESTIMATED;
    shown.shown.n_late = n_late;
    hidden.hidden.offset_ns = shown.shown.onset_ns + present->present.duration_ns;
    hidden.hidden.n_frames = 1;
    test->onset_ns = shown.shown.onset_ns;
    say(test, &shown);
    say(test, &hidden);
}

void rig_test_answer(struct rig_test *test, const struct event *present)
{
    rig_test_answer_late(test, present, 0);
}

static void obey(struct rig_test *test, const struct event *ev)
{
    switch (ev->type) {
    case EVENT_SCREEN:
        test->display_is_set = 1;
        test->display_announce_ns = 0;
        break;
    case EVENT_BLANK:
        test->display_n_blank++;
        break;
    case EVENT_PRESENT:
        test->present = *ev;
        test->onset_ns = CLOCK_UNKNOWN;
        if (test->display_answer)
            test->display_answer(test, ev);
        else
            rig_test_answer(test, ev);
        break;
    default:
        break;
    }
}

static void announce(struct rig_test *test)
{
    static const char driver[] = "test";
    struct event ev = {.type = EVENT_DISPLAY};

    if (test->display_is_set) {
        ev.display.refresh_hz = REFRESH_HZ;
        ev.display.width_px = 640;
        ev.display.height_px = 480;
        ev.display.quality = QUALITY_ESTIMATED;
        ev.display.n_text = sizeof(driver) - 1;
        ev.data = driver;
        ev.data_size = ev.display.n_text;
    }
    say(test, &ev);
}

static void run_display(struct rig_test *test)
{
    static struct rig_test_message message;
    struct event beat = {.type = EVENT_BEAT};

    while (receive(test->display, &message, 0))
        if (!test->display_is_off)
            obey(test, &message.ev);
    if (test->display_is_off)
        return;
    if (clock_now_ns() >= test->display_announce_ns) {
        announce(test);
        test->display_announce_ns = clock_now_ns() + ANNOUNCE_NS;
    }
    if (clock_now_ns() >= test->display_beat_ns) {
        say(test, &beat);
        test->display_beat_ns = clock_now_ns() + BEAT_NS;
    }
}

void rig_test_turn(struct rig_test *test)
{
    zmq_pollitem_t items[] = {{test->display, 0, ZMQ_POLLIN, 0},
                              {test->follow, 0, ZMQ_POLLIN, 0}};

    if (!test->context) {
        poll(NULL, 0, 1); /* nobody to serve */
        return;
    }
    zmq_poll(items, 1, 1);
    run_display(test);
    if (!test->rig_is_off)
        run_rig(test);
}

const struct event *rig_test_next_before(struct rig_test *test, int64_t until_ns)
{
    int status;

    while (clock_now_ns() < until_ns) {
        if (receive(test->follow, &test->heard, 1))
            return &test->heard.ev;
        if (test->daemon && waitpid(test->daemon, &status, WNOHANG) != 0) {
            test->daemon = 0;
            print_error("the daemon ended with %d\n", exit_code(status));
            fail_with_log(test, "the daemon ended");
        }
        rig_test_turn(test);
    }
    return NULL;
}

const struct event *rig_test_next(struct rig_test *test)
{
    const struct event *ev = rig_test_next_before(test, deadline());

    if (!ev)
        fail_with_log(test, "the daemon says nothing");
    return ev;
}

const struct event *rig_test_await(struct rig_test *test, unsigned type)
{
    int64_t until_ns = deadline();
    const struct event *ev;

    while ((ev = rig_test_next(test))->type != type)
        if (clock_now_ns() > until_ns)
            fail_with_log(test, event_name(type));
    return ev;
}

const struct event *rig_test_await_trial(struct rig_test *test, uint64_t number)
{
    const struct event *ev;

    do {
        ev = rig_test_await(test, EVENT_TRIAL);
        assert_true(ev->trial.trial <= number);
    } while (ev->trial.trial != number);
    return ev;
}

void rig_test_await_state(struct rig_test *test, enum loop_state state)
{
    int64_t until_ns = deadline();
    const struct event *ev;

    for (;;) {
        ev = rig_test_next(test);
        if ((ev->type == EVENT_STATE && ev->state.state == state) ||
            (ev->type == EVENT_STATUS && ev->status.state == state))
            return;
        if (clock_now_ns() > until_ns)
            fail_with_log(test, state_name(state));
    }
}

/* What can be read of a pipe now; 0 at its end. */
static int read_some(int fd, char *text, size_t *n)
{
    ssize_t got = read(fd, text + *n, RIG_TEST_TEXT - 1 - *n);

    if (got > 0)
        *n += (size_t)got;
    text[*n] = '\0';
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

int rig_test_run(struct rig_test *test, const char *program, ...)
{
    const char *argv[ARGS_MAX] = {program}, *folder = getenv("EVOKE_BIN_DIR");
    int out[2], err[2], n = 1, going = 3;
    size_t n_out = 0, n_err = 0;
    char path[4096];
    va_list args;
    pid_t pid;

    assert_non_null(folder);
    snprintf(path, sizeof(path), "%s/%s", folder, program);
    va_start(args, program);
    while (n < ARGS_MAX - 1 && (argv[n] = va_arg(args, const char *)))
        n++;
    va_end(args);
    assert_int_equal(pipe2(out, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_NONBLOCK | O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        fcntl(out[1], F_SETFL, 0);
        fcntl(err[1], F_SETFL, 0);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        execv(path, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_true(pid > 0);
    close(out[1]);
    close(err[1]);
    while (going) {
        going = read_some(out[0], test->text, &n_out);
        going |= read_some(err[0], test->error_text, &n_err);
        if (going)
            rig_test_turn(test);
    }
    close(out[0]);
    close(err[0]);
    return rig_test_reap(test, pid);
}
