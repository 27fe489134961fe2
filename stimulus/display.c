/*
 * display.c: main of evoke-display, the stimulus process: shows what the daemon asks for
 * and reports when it was seen. Decides nothing.
 *
 * Flow:   daemon -> socket -> present -> screen -> flip -> present -> socket -> daemon.
 * Owner:  one thread for everything; a second one only ends the process when the first
 *         hangs in the video driver.
 * Errors: whatever comes in or goes away, it stays, grey; bytes that are no event are
 *         counted and told at most once a second.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <zmq.h>

#include "present.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "protocol/wire.h"
#include "screen.h"

#define ENDPOINT       "ipc:///run/evoke/display.sock"
#define REFRESH_HZ     60.0
#define BEAT_NS        (50 * NS_PER_MS)
#define ANNOUNCE_NS    (200 * NS_PER_MS)
#define RETRY_NS       (2 * NS_PER_S) /* after a screen that could not be opened */
#define COMPLAIN_NS    NS_PER_S
#define RT_PRIORITY    40
#define WATCH_NS       (250 * NS_PER_MS)
#define WATCH_FRAME    8  /* ticks of the watch that a frame may take */
#define WATCH_OPEN     80 /* and the opening of a window */
#define QUEUE_RECEIVED 64 /* messages that wait in the socket */

struct display {
    void *context, *socket;
    struct screen_conf conf;

    struct screen *screen; /* NULL before the first EVENT_SCREEN */
    struct present present;
    struct event settings; /* the last EVENT_SCREEN */
    int is_set;            /* the screen is as this start of the daemon wants it */
    int64_t retry_ns;      /* settings that failed are not tried again before */

    uint32_t daemon_epoch;
    int is_daemon_known;

    uint32_t epoch;
    uint64_t seq;
    int64_t beat_ns, announce_ns; /* when the next ones are due */

    uint64_t n_refused;
    int64_t complain_ns;
    uint64_t n_untold;
};

static volatile sig_atomic_t is_stopped;
static atomic_int watch_ticks = WATCH_OPEN;

static void stop(int number)
{
    (void)number;
    is_stopped = 1;
}

/* Ends a process whose thread hangs: a flip that never returns cannot be waited for, and
 * whoever supervises the process starts it again. Counts its own ticks, so that a process
 * that was stopped and continued is not taken for one that hangs. */
static void *watch(void *nothing)
{
    for (;;) {
        clock_sleep_until_ns(clock_now_ns() + WATCH_NS);
        if (atomic_fetch_sub(&watch_ticks, 1) > 0)
            continue;
        log_line(LOG_ERROR, "display: the video driver hangs: leaving");
        _exit(1);
    }
    return nothing;
}

static void start_watch(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, watch, NULL) == 0)
        pthread_detach(thread);
    else
        log_line(LOG_WARNING, "display: no watch over the video driver: %s",
                 strerror(errno));
}

/* A message that was refused: counted, and told at most once a second. */
static void __attribute__((format(printf, 2, 3)))
complain(struct display *display, const char *format, ...)
{
    int64_t now_ns = clock_now_ns();
    display->n_refused++;
    if (now_ns < display->complain_ns) {
        display->n_untold++;
        return;
    }
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log_line(LOG_WARNING, "display: refused %s (%llu refused, %llu untold before this)",
             text, (unsigned long long)display->n_refused,
             (unsigned long long)display->n_untold);
    display->n_untold = 0;
    display->complain_ns = now_ns + COMPLAIN_NS;
}

/* A report that cannot leave at once is lost: the daemon that would read it is gone. */
static void say(struct display *display, struct event *ev)
{
    char head[WIRE_HEAD_MAX];
    ev->epoch = display->epoch;
    ev->seq = display->seq++;
    if (ev->time_ns == 0)
        ev->time_ns = clock_now_ns();
    size_t size = wire_encode(ev, head);
    int more = ev->data_size > 0 ? ZMQ_SNDMORE : 0;
    if (zmq_send(display->socket, head, size, ZMQ_DONTWAIT | more) >= 0 && more)
        zmq_send(display->socket, ev->data, ev->data_size, ZMQ_DONTWAIT);
}

/* "The screen is like this", or without settings "I am here, what shall I be?" */
static void say_display(struct display *display)
{
    struct event ev = {.type = EVENT_DISPLAY};
    if (display->is_set)
        screen_describe(display->screen, &ev);
    say(display, &ev);
}

static void say_alive(struct display *display)
{
    int64_t now_ns = clock_now_ns();
    if (display->is_set && present_is_silent(&display->present, now_ns)) {
        log_line(LOG_WARNING, "display: the daemon is silent: grey");
        display->is_set = 0;
    }
    if (display->screen && now_ns >= display->beat_ns) {
        struct event ev = {.type = EVENT_BEAT};
        say(display, &ev);
        display->beat_ns = now_ns + BEAT_NS;
    }
    if (!display->is_set && now_ns >= display->announce_ns) {
        say_display(display);
        display->announce_ns = now_ns + ANNOUNCE_NS;
    }
}

static int show_frame(struct display *display)
{
    struct flip flip;
    struct event out[PRESENT_MAX_OUT];
    atomic_store(&watch_ticks, WATCH_FRAME);
    int slot =
        present_next(&display->present, clock_now_ns(), screen_due_ns(display->screen));
    screen_draw(display->screen, slot);
    if (screen_flip(display->screen, &flip) != 0)
        return -EIO;
    int n_out = present_flipped(&display->present, &flip, out);
    for (int i = 0; i < n_out; i++)
        say(display, &out[i]);
    if (screen_wants_to_close(display->screen)) {
        log_line(LOG_NOTICE, "display: closed by hand");
        is_stopped = 1;
    }
    return 0;
}

/* Grey, and what was on is reported as gone. */
static void close_screen(struct display *display)
{
    if (!display->screen)
        return;
    present_blank(&display->present);
    show_frame(display);
    screen_close(display->screen);
    display->screen = NULL;
}

static void lock_memory(void)
{
    static int is_told;
    int err = mlockall(MCL_CURRENT) ? errno : 0;
    if (!is_told && err)
        log_line(LOG_NOTICE, "display: memory is not locked: %s", strerror(err));
    else if (!is_told)
        log_line(LOG_NOTICE, "display: memory is locked");
    is_told = 1;
}

static void take_settings(struct display *display, const struct event *ev)
{
    int is_same = memcmp(&ev->screen, &display->settings.screen, sizeof ev->screen) == 0;
    if (is_same && display->screen) {
        present_blank(&display->present);
        display->is_set = 1;
        say_display(display);
        return;
    }
    if (is_same && clock_now_ns() < display->retry_ns)
        return;
    close_screen(display);
    display->is_set = 0;
    display->settings = *ev;
    atomic_store(&watch_ticks, WATCH_OPEN);
    int err = ev->screen.silence_ns > 0 ? 0 : -EINVAL;
    if (err)
        log_line(LOG_ERROR, "display: a silence of %lld ns is no limit: make it positive",
                 (long long)ev->screen.silence_ns);
    else
        err = screen_open(&display->screen, ev, &display->conf);
    if (err) {
        display->retry_ns = clock_now_ns() + RETRY_NS;
        return;
    }
    lock_memory();
    display->is_set = 1;
    present_init(&display->present, screen_period_ns(display->screen),
                 ev->screen.silence_ns, clock_now_ns());
    struct event told;
    screen_describe(display->screen, &told);
    log_line(LOG_NOTICE, "display: %.*s, %u x %u pixels, %.2f Hz, flip times: %s",
             (int)told.display.n_text, (const char *)told.data, told.display.width_px,
             told.display.height_px, told.display.refresh_hz,
             quality_name(told.display.quality));
    say_display(display);
}

static void take_stimulus(struct display *display, const struct event *ev)
{
    int slot = present_store(&display->present, ev);
    if (slot == -EEXIST)
        return;
    int err = slot < 0 ? slot : screen_store(display->screen, slot, ev);
    if (slot >= 0 && err)
        present_forget(&display->present, slot);
    if (err)
        complain(display, "stimulus %016llx: %s", (unsigned long long)ev->stimulus.hash,
                 err == -EBADMSG  ? "its pixels have another hash"
                 : err == -ERANGE ? "light beyond 0 to 1"
                                  : strerror(-err));
}

static void take_request(struct display *display, const struct event *ev)
{
    int err = present_request(&display->present, ev);
    if (err)
        complain(display, "request of trial %llu for stimulus %016llx: %s",
                 (unsigned long long)ev->present.trial,
                 (unsigned long long)ev->present.hash,
                 err == -ENOENT   ? "it was never received"
                 : err == -ENOSPC ? "too many requests wait"
                                  : "no duration");
}

static void take(struct display *display, const struct event *ev)
{
    int64_t now_ns = clock_now_ns();
    if (display->is_daemon_known && ev->epoch != display->daemon_epoch)
        display->is_set = 0;
    display->daemon_epoch = ev->epoch;
    display->is_daemon_known = 1;
    present_heard(&display->present, now_ns);

    if (ev->type == EVENT_SCREEN)
        take_settings(display, ev);
    else if (ev->type == EVENT_STIMULUS && display->screen)
        take_stimulus(display, ev);
    else if (ev->type == EVENT_PRESENT && display->screen)
        take_request(display, ev);
    else if (ev->type == EVENT_BLANK && display->screen)
        present_blank(&display->present);
    else if (ev->type != EVENT_BEAT)
        complain(display, "%s: not for a display%s", event_name(ev->type),
                 display->screen ? "" : " without a screen");
}

/* Handle one message, if there is one. Returns whether there was. */
static int receive(struct display *display)
{
    zmq_msg_t frames[2];
    int n_frames = 0, more = 1;
    zmq_msg_init(&frames[0]);
    zmq_msg_init(&frames[1]);
    while (more) {
        zmq_msg_t *frame = &frames[n_frames < 2 ? n_frames : 1];
        if (zmq_msg_recv(frame, display->socket, ZMQ_DONTWAIT) < 0)
            break;
        more = zmq_msg_more(frame);
        n_frames++;
    }
    if (n_frames > 0) {
        struct event ev;
        enum reject reject =
            n_frames > 2
                ? REJECT_OVERSIZED
                : wire_decode(zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]),
                              zmq_msg_data(&frames[1]), zmq_msg_size(&frames[1]), &ev);
        if (reject == REJECT_NONE)
            take(display, &ev);
        else
            complain(display, "a message: %s", reject_name(reject));
    }
    zmq_msg_close(&frames[0]);
    zmq_msg_close(&frames[1]);
    return n_frames > 0;
}

/* Talk with the daemon until then. */
static void listen_until(struct display *display, int64_t until_ns)
{
    zmq_pollitem_t item = {.socket = display->socket, .events = ZMQ_POLLIN};
    int64_t left_ns;
    do {
        int got = receive(display);
        say_alive(display);
        left_ns = until_ns - clock_now_ns();
        if (got || left_ns <= 0)
            continue;
        if (left_ns < NS_PER_MS)
            clock_sleep_until_ns(until_ns);
        else
            zmq_poll(&item, 1, (long)(left_ns / NS_PER_MS));
    } while (left_ns > 0 && !is_stopped);
}

static int run(struct display *display)
{
    while (!is_stopped) {
        if (!display->screen) {
            atomic_store(&watch_ticks, WATCH_FRAME);
            listen_until(display, clock_now_ns() + BEAT_NS);
            continue;
        }
        listen_until(display, screen_draw_by_ns(display->screen));
        if (display->screen && show_frame(display) != 0)
            return 1;
    }
    close_screen(display);
    return 0;
}

static int open_socket(struct display *display, const char *endpoint)
{
    const int64_t max_size = WIRE_DATA_MAX;
    const int linger_ms = 200, reconnect_ms = 50, reconnect_max_ms = 500, yes = 1,
              n_queue = QUEUE_RECEIVED;
    display->context = zmq_ctx_new();
    display->socket = display->context ? zmq_socket(display->context, ZMQ_DEALER) : NULL;
    if (!display->socket)
        return -errno;
    void *socket = display->socket;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &reconnect_ms, sizeof reconnect_ms);
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL_MAX, &reconnect_max_ms,
                   sizeof reconnect_max_ms);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max_size, sizeof max_size);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &n_queue, sizeof n_queue);
    /* Nothing is kept for a daemon that is not there: it would be old news. */
    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &yes, sizeof yes);
    return zmq_connect(socket, endpoint) ? -errno : 0;
}

static void close_socket(struct display *display)
{
    if (display->socket)
        zmq_close(display->socket);
    if (display->context)
        zmq_ctx_term(display->context);
}

static void ask_for_priority(void)
{
    const struct sched_param param = {.sched_priority = RT_PRIORITY};
    /* Threads that libraries start later stay normal ones. */
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) == 0)
        log_line(LOG_NOTICE, "display: real-time priority FIFO %d", RT_PRIORITY);
    else
        log_line(LOG_NOTICE, "display: normal priority, FIFO %d was refused: %s",
                 RT_PRIORITY, strerror(errno));
}

static void print_help(void)
{
    printf(
        "evoke-display: show stimuli and report when they were seen\n"
        "\n"
        "Usage: evoke-display [options]\n"
        "  --endpoint ADDRESS  socket of the daemon (" ENDPOINT ")\n"
        "  --driver NAME       SDL video driver: x11, wayland, kmsdrm, offscreen, dummy\n"
        "                      (default: what there is)\n"
        "  --refresh HZ        frames a second where no vertical blank paces them, 1 to\n"
        "                      1000 (60)\n"
        "  --help\n"
        "\n"
        "Waits for the daemon for ever; grey when the daemon is silent. Ends with\n"
        "Escape, a closed window, SIGINT or SIGTERM.\n"
        "\n"
        "Example: evoke-display --endpoint ipc:///tmp/rig/display.sock --driver x11\n"
        "Exits with 0 when it was ended, 1 when the screen failed, 2 for wrong usage.\n");
}

static int usage(const char *text, const char *value)
{
    log_line(LOG_ERROR, "evoke-display: %s%s: see evoke-display --help", text, value);
    return 2;
}

/* -1 to go on, else the exit code. */
static int parse(int argc, char **argv, struct display *display, const char **endpoint)
{
    static const struct option options[] = {{"endpoint", required_argument, NULL, 'e'},
                                            {"driver", required_argument, NULL, 'd'},
                                            {"refresh", required_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    char *end;
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'e':
            *endpoint = optarg;
            break;
        case 'd':
            display->conf.driver = optarg;
            break;
        case 'r':
            display->conf.refresh_hz = strtod(optarg, &end);
            if (*end ||
                !(display->conf.refresh_hz >= 1.0 && display->conf.refresh_hz <= 1000.0))
                return usage("--refresh takes 1 to 1000 Hz, not ", optarg);
            break;
        case 'h':
            print_help();
            return 0;
        default:
            return usage("unknown or incomplete option ", argv[optind - 1]);
        }
    }
    return optind < argc ? usage("unexpected argument ", argv[optind]) : -1;
}

int main(int argc, char **argv)
{
    static struct display display = {
        .conf = {.refresh_hz = REFRESH_HZ, .n_slots = PRESENT_N_SLOTS}};
    const char *endpoint = ENDPOINT;
    int code = parse(argc, argv, &display, &endpoint);
    if (code >= 0)
        return code;

    const struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    start_watch();
    ask_for_priority();
    display.epoch = (uint32_t)(clock_now_ns() / 1000) ^ ((uint32_t)getpid() << 16);
    int err = open_socket(&display, endpoint);
    if (err) {
        log_line(LOG_ERROR,
                 "evoke-display: endpoint %s: %s: use an address like " ENDPOINT,
                 endpoint, zmq_strerror(-err));
        code = 2;
    } else {
        log_line(LOG_NOTICE, "display: waits for the daemon at %s", endpoint);
        code = run(&display);
    }
    close_socket(&display);
    return code;
}
