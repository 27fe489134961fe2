/*
 * evoked: the daemon. main() is the list of its life; everything is undone in the
 * reverse order.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/child.h"
#include "daemon/control.h"
#include "daemon/keep.h"
#include "daemon/link.h"
#include "daemon/loop_thread.h"
#include "daemon/notify.h"
#include "daemon/record_thread.h"
#include "daemon/rt.h"
#include "daemon/worker.h"
#include "models/ops.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "protocol/memory.h"
#include "version.h"

#define SERVE_MS    100
#define PATIENCE_NS (5 * NS_PER_S) /* from the command to stop to the loop's last word */

static const char help[] =
    "Usage: evoked -c FILE [--print-config | --check]\n\n"
    "The Evoke daemon: runs the session that FILE describes, in the foreground, and "
    "logs\n"
    "to stderr. It ends with the session, on `evoke stop`, SIGINT or SIGTERM.\n\n"
    "  -c, --config FILE   the session's configuration\n"
    "      --print-config  print every key, with its value and meaning, and exit\n"
    "      --check         only check FILE: 0 good, 1 not\n"
    "      --version\n\n"
    "Sockets lie in $EVOKE_RUNTIME, else $RUNTIME_DIRECTORY, else "
    "$XDG_RUNTIME_DIR/evoke,\n"
    "else /tmp/evoke-UID.\n\n"
    "Example: evoked -c experiment.conf\n";

/* Everything that the daemon holds. */
struct daemon {
    struct conf conf;
    struct loop_conf loop_conf;
    struct job_conf job;
    struct images *images;
    struct loop *loop;
    struct rings rings;
    struct keep keep;
    struct link *link;
    struct control *control;
    struct request request;
    int lock_fd, signal_fd;
    int64_t stopping_ns; /* when the end was asked for; 0: not */
    int64_t fed_ns;      /* the watchdog */
    unsigned long ticks[3];

    struct loop_thread loop_thread;
    struct record_thread record_thread;
    struct worker_thread workers[RINGS_WORKERS];
    pthread_t loop_id, wire_id, record_id, worker_ids[RINGS_WORKERS];

    char display_path[1024], display_endpoint[300], refresh[32];
    const char *display_argv[8];
    struct child display;
};

/* Only one daemon in a runtime folder: a second would take the first one's sockets. */
static int lock_runtime(struct daemon *daemon)
{
    char folder[256], path[300];
    struct stat info;

    conf_runtime(folder, sizeof(folder));
    if (mkdir(folder, 0770) != 0 && errno != EEXIST) {
        log_line(LOG_ERROR, "%s: %s", folder, strerror(errno));
        return -errno;
    }
    if (lstat(folder, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
        (info.st_mode & S_IWOTH)) {
        log_line(LOG_ERROR,
                 "%s: must be a folder of ours that not everybody may write to; "
                 "set EVOKE_RUNTIME to another",
                 folder);
        return -EPERM;
    }
    snprintf(path, sizeof(path), "%s/evoked.lock", folder);
    daemon->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
    if (daemon->lock_fd < 0 || flock(daemon->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        log_line(LOG_ERROR, "%s: another evoked runs here; stop it, or set EVOKE_RUNTIME",
                 path);
        return -EBUSY;
    }
    return 0;
}

/* Asked to stop: an eventfd, so that any thread may be the one that is interrupted (those
 * that a library started before main() block nothing). */
static int stop_fd = -1;

static void on_stop(int number)
{
    const uint64_t one = 1;

    (void)number;
    if (write(stop_fd, &one, sizeof(one)) < 0)
        return; /* asked more than 2^64 times */
}

static void catch_signals(struct daemon *daemon)
{
    const struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a full disk is an error, not a death */
    daemon->signal_fd = stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
}

static int open_loop(struct daemon *daemon)
{
    char text[512];
    size_t size;
    void *mem;

    if (!daemon->conf.trial.external &&
        images_open(&daemon->images, (enum images_kind)daemon->conf.stimulus.images,
                    conf_folder(&daemon->conf), daemon->conf.stimulus.height,
                    daemon->conf.stimulus.width, text, sizeof(text)) != 0) {
        log_line(LOG_ERROR, "%s", text);
        return -EINVAL;
    }
    conf_loop(&daemon->conf, &daemon->loop_conf);
    conf_job(&daemon->conf, daemon->images, &daemon->job);
    size = loop_size(&daemon->loop_conf);
    mem = memory_open(size);
    if (!mem) {
        log_line(LOG_ERROR, "%zu MB for the model are not there; fewer units or pixels?",
                 size >> 20);
        return -ENOMEM;
    }
    daemon->loop = loop_init(mem, &daemon->loop_conf);
    return 0;
}

static int open_sockets(struct daemon *daemon)
{
    char ingest[300], publish[300], control[300];

    conf_endpoint("ingest", ingest, sizeof(ingest));
    conf_endpoint("publish", publish, sizeof(publish));
    conf_endpoint("control", control, sizeof(control));
    conf_endpoint("display", daemon->display_endpoint, sizeof(daemon->display_endpoint));
    if (daemon->conf.ingest.endpoint[0])
        snprintf(ingest, sizeof(ingest), "%s", daemon->conf.ingest.endpoint);
    if (link_open(&daemon->link, &daemon->rings, ingest, daemon->display_endpoint,
                  publish) ||
        control_open(&daemon->control, control))
        return -EADDRINUSE;
    return 0;
}

static int start_workers(struct daemon *daemon)
{
    const struct trial_conf *trial = &daemon->loop_conf.trial;
    size_t size = 0;

    for (int i = 0; i < daemon->rings.n_workers; i++) {
        if (i == 0)
            size = worker_work_size(loop_model(daemon->loop),
                                    daemon->loop_conf.model.n_units,
                                    loop_snapshot(daemon->loop, 0), &daemon->job);
        daemon->workers[i] = (struct worker_thread){
            .rings = &daemon->rings,
            .index = i,
            .loop = daemon->loop,
            .conf = &daemon->job,
            .patience_ns =
                (trial->duration_ns + trial->gap_ns) * daemon->loop_conf.supply.n_ahead,
            .work = memory_open(size),
        };
        if (!daemon->workers[i].work || rt_thread(&daemon->worker_ids[i], "worker", 0,
                                                  worker_run, &daemon->workers[i]))
            return -ENOMEM;
    }
    return 0;
}

static int start_threads(struct daemon *daemon)
{
    daemon->record_thread =
        (struct record_thread){.rings = &daemon->rings, .record = daemon->keep.record};
    daemon->loop_thread =
        (struct loop_thread){.rings = &daemon->rings, .loop = daemon->loop};
    if (rt_thread(&daemon->record_id, "record", 0, record_thread_run,
                  &daemon->record_thread) ||
        start_workers(daemon) ||
        rt_thread(&daemon->loop_id, "loop", 50, loop_thread_run, &daemon->loop_thread) ||
        rt_thread(&daemon->wire_id, "wire", 60, link_run, daemon->link)) {
        log_line(LOG_ERROR, "threads cannot be started");
        return -EAGAIN;
    }
    return 0;
}

static void start_display(struct daemon *daemon)
{
    if (!daemon->conf.display.start)
        return;
    child_path("evoke-display", daemon->display_path, sizeof(daemon->display_path));
    snprintf(daemon->refresh, sizeof(daemon->refresh), "%g",
             daemon->conf.display.refresh_hz);
    daemon->display_argv[0] = daemon->display_path;
    daemon->display_argv[1] = "--endpoint";
    daemon->display_argv[2] = daemon->display_endpoint;
    daemon->display_argv[3] = "--refresh";
    daemon->display_argv[4] = daemon->refresh;
    daemon->display =
        (struct child){.name = "evoke-display", .argv = daemon->display_argv};
    child_start(&daemon->display);
}

/* Ask the loop to end the session. */
static void ask_stop(struct daemon *daemon, int64_t now_ns)
{
    struct event stop = {.type = EVENT_COMMAND, .time_ns = now_ns};

    stop.command.command = COMMAND_STOP;
    ring_push(daemon->rings.main_loop, &stop);
    if (daemon->stopping_ns == 0)
        daemon->stopping_ns = now_ns;
}

/* What the loop told us; 0 when the session has ended. */
static int hear(struct daemon *daemon)
{
    const struct event *ev;
    int going = 1;

    wake_after_poll(&daemon->rings.main_wake);
    while ((ev = ring_peek(daemon->rings.loop_main))) {
        unsigned before = daemon->request.state;
        request_tell(&daemon->request, ev);
        if (ev->type == EVENT_STATE) {
            unsigned state = ev->state.state;
            if (state != STATE_PRESENT && state != STATE_COLLECT && state != STATE_CHOOSE)
                log_line(state == STATE_FAULT ? LOG_ERROR : LOG_NOTICE, "%s: %s",
                         state_name(state), daemon->request.why);
            else if (before == STATE_ARMED)
                log_line(LOG_NOTICE, "running");
            going = going && state != STATE_END;
        }
        ring_drop(daemon->rings.loop_main);
    }
    return going;
}

/* Only while all threads tick. */
static void feed_watchdog(struct daemon *daemon, int64_t now_ns)
{
    const char *usec = getenv("WATCHDOG_USEC");
    unsigned long ticks[3] = {atomic_load(&daemon->rings.ticks_wire),
                              atomic_load(&daemon->rings.ticks_loop),
                              atomic_load(&daemon->rings.ticks_record)};
    int64_t every_ns = usec ? strtoll(usec, NULL, 10) * 1000 / 3 : 0;

    if (every_ns <= 0 || now_ns - daemon->fed_ns < every_ns)
        return;
    for (int i = 0; i < 3; i++)
        if (ticks[i] == daemon->ticks[i])
            return;
    memcpy(daemon->ticks, ticks, sizeof(ticks));
    daemon->fed_ns = now_ns;
    notify_service("WATCHDOG=1");
}

static void serve(struct daemon *daemon)
{
    uint64_t n_asked;
    int going = 1;

    while (going) {
        int64_t now_ns = clock_now_ns();
        int news = wake_before_poll(&daemon->rings.main_wake);
        control_serve(daemon->control, &daemon->request, daemon->rings.main_loop,
                      daemon->rings.main_wake.fd, daemon->signal_fd, news ? 0 : SERVE_MS);
        if (read(daemon->signal_fd, &n_asked, sizeof(n_asked)) == sizeof(n_asked))
            ask_stop(daemon, now_ns);
        going = hear(daemon);
        if (daemon->conf.display.start)
            child_keep(&daemon->display);
        feed_watchdog(daemon, now_ns);
        if (daemon->stopping_ns && now_ns - daemon->stopping_ns > PATIENCE_NS) {
            log_line(LOG_ERROR, "the loop does not end; the session is closed as it is");
            going = 0;
        }
    }
}

static void stop_threads(struct daemon *daemon)
{
    rings_stop(&daemon->rings);
    pthread_join(daemon->loop_id, NULL);
    pthread_join(daemon->wire_id, NULL);
    for (int i = 0; i < daemon->rings.n_workers; i++)
        pthread_join(daemon->worker_ids[i], NULL);
    atomic_store(&daemon->rings.loop_ended, 1);
    pthread_join(daemon->record_id, NULL);
}

static void close_all(struct daemon *daemon)
{
    if (daemon->display.pid)
        child_stop(&daemon->display);
    control_close(daemon->control);
    link_close(daemon->link);
    keep_close(&daemon->keep);
    for (int i = 0; i < RINGS_WORKERS; i++)
        free(daemon->workers[i].work);
    rings_close(&daemon->rings);
    free(daemon->loop);
    images_close(daemon->images);
    if (daemon->signal_fd >= 0)
        close(daemon->signal_fd);
    if (daemon->lock_fd >= 0)
        close(daemon->lock_fd);
}

static int run(struct daemon *daemon)
{
    int complete;

    catch_signals(daemon);
    if (lock_runtime(daemon) || open_loop(daemon) ||
        keep_open(&daemon->keep, &daemon->conf, daemon->images,
                  loop_model(daemon->loop)) ||
        rings_open(&daemon->rings, &daemon->loop_conf) || open_sockets(daemon))
        return EXIT_FAILURE;
    request_init(&daemon->request, &daemon->conf, daemon->keep.path, clock_now_ns());
    rt_lock_memory();
    if (start_threads(daemon))
        exit(EXIT_FAILURE);
    start_display(daemon);
    notify_service("READY=1");
    log_line(LOG_NOTICE, "ready; session %s", daemon->keep.path);
    serve(daemon);
    notify_service("STOPPING=1");
    stop_threads(daemon);
    complete = daemon->record_thread.complete &&
               keep_final(&daemon->keep, loop_model(daemon->loop),
                          loop_now(daemon->loop) == STATE_END) == 0;
    log_line(complete ? LOG_NOTICE : LOG_ERROR, "session %s is %s", daemon->keep.path,
             complete ? "complete" : "not complete: the disk refused its end");
    return complete ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"print-config", no_argument, NULL, 'p'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static struct daemon daemon = {.lock_fd = -1, .signal_fd = -1};
    const char *path = NULL;
    char text[1024];
    int option, print = 0, check = 0, code;

    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'p':
            print = 1;
            break;
        case 'k':
            check = 1;
            break;
        case 'v':
            printf("evoked %s (%s)\n", EVOKE_VERSION, EVOKE_GIT);
            return EXIT_SUCCESS;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        default:
            return 2;
        }
    }
    if (optind < argc || (!path && !print)) {
        fputs("evoked: give the configuration with -c FILE; --help tells more\n", stderr);
        return 2;
    }
    ops_init();
    ops_flush_denormals(); /* the prior is computed here */
    if (path ? conf_read(&daemon.conf, path, text, sizeof(text))
             : conf_read_text(&daemon.conf, "", "defaults", text, sizeof(text))) {
        log_line(LOG_ERROR, "%s", text);
        return EXIT_FAILURE;
    }
    if (print)
        conf_print(&daemon.conf, stdout, 1);
    if (print || check)
        return EXIT_SUCCESS;
    code = run(&daemon);
    close_all(&daemon);
    return code;
}
