/* The real-time promise, enforced: over 100,000 events the loop's thread allocates
 * nothing, takes no lock and makes no system call but to sleep, to wake others and to look
 * at the clock.
 *
 * The real loop_thread_run() runs on its own thread, with the daemon's rings and workers.
 * The allocator and the mutex are replaced by ones that count what that thread does; a
 * seccomp filter on that thread traps every other system call. This file is the rest of
 * the rig: a source of 1,000 units, a display, a photodiode, an experimenter, a disk. */
#include "watched.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/loop_thread.h"
#include "daemon/route.h"
#include "daemon/worker.h"
#include "models/ops.h"
#include "protocol/clock.h"
#include "protocol/log.h"

#define N_EVENTS 100000
#define N_UNITS  1000
#define N_AHEAD  64 /* events that may wait for the loop */

static const char ini[] =
    "[ingest]\nunits = 1000\ndiode_line = 0\n"
    "[stimulus]\nheight = 16\nwidth = 16\n"
    "[trial]\nstimulus_ms = 20\ngap_ms = 5\ndelay_ms = 5\nwindow_ms = 20\n"
    "[model]\nposterior = shared\n"
    "[learn]\npolicy = mixed\nstart = 20\ntrials = 1000000\n"
    "[optimise]\nmax_steps = 5\nworkers = 2\nahead = 4\n";

struct rig {
    struct rings rings;
    struct loop_conf loop_conf;
    struct conf conf;
    struct job_conf job;
    struct loop_thread loop;
    struct worker_thread workers[2];
    pthread_t loop_id, disk_id, worker_ids[2];

    /* the disk */
    atomic_ulong n_told, n_said; /* events that the loop took, that it made */
    unsigned long n_types[EVENT_TYPE_END], n_valid, n_infomax;
    /* everything else */
    unsigned long n_sent;
    int64_t now_ns, sample;
    uint64_t seq;
    struct event present;
    int is_presenting;
    uint8_t counts[N_UNITS];
};

static void *watched_loop(void *arg)
{
    struct rig *rig = arg;

    watched_begin(rig->rings.wire_wake.fd, rig->rings.main_wake.fd);
    loop_thread_run(&rig->loop);
    watched_end();
    return NULL;
}

/* Takes what the loop records, as the record thread does, and counts it. */
static void *disk(void *arg)
{
    struct rig *rig = arg;
    const struct event *ev;

    while (!atomic_load(&rig->rings.stop)) {
        if (!(ev = ring_peek(rig->rings.loop_record))) {
            sched_yield();
            continue;
        }
        rig->n_types[ev->type]++;
        rig->n_valid += ev->type == EVENT_TRIAL && ev->trial.learned;
        rig->n_infomax += ev->type == EVENT_JOB && ev->job.kind == JOB_INFOMAX;
        if (route_of(ev->type) & ROUTE_SAID)
            atomic_fetch_add(&rig->n_said, 1);
        else
            atomic_fetch_add(&rig->n_told, 1);
        ring_drop(rig->rings.loop_record);
    }
    return NULL;
}

/* What the loop says to the display and to the main thread. */
static void hear(struct rig *rig)
{
    const struct event *ev;

    wake_before_poll(&rig->rings.wire_wake);
    wake_after_poll(&rig->rings.wire_wake);
    while ((ev = ring_peek(rig->rings.loop_wire))) {
        if (ev->type == EVENT_PRESENT) {
            rig->present = *ev;
            rig->is_presenting = 1;
        }
        ring_drop(rig->rings.loop_wire);
    }
    wake_before_poll(&rig->rings.main_wake);
    wake_after_poll(&rig->rings.main_wake);
    while (ring_peek(rig->rings.loop_main))
        ring_drop(rig->rings.loop_main);
}

static void tell(struct rig *rig, struct ring *ring, struct event *ev)
{
    while (rig->n_sent > atomic_load(&rig->n_told) + N_AHEAD && !watched_fault()) {
        hear(rig);
        sched_yield();
    }
    ev->time_ns = rig->now_ns;
    while (!ring_push(ring, ev))
        sched_yield();
    rig->n_sent++;
}

static void tell_wire(struct rig *rig, unsigned type)
{
    struct event ev = {.type = (uint16_t)type};

    if (type == EVENT_DISPLAY) {
        ev.display.width_px = 640;
        ev.display.height_px = 480;
        ev.display.refresh_hz = 60;
        ev.display.quality = QUALITY_ESTIMATED;
    }
    tell(rig, rig->rings.wire_loop, &ev);
}

/* One bin of a millisecond. */
static void tell_counts(struct rig *rig)
{
    struct event ev = {.type = EVENT_COUNTS, .source = 1, .epoch = 1, .seq = rig->seq++};

    for (int u = 0; u < N_UNITS; u += 1 + (int)(rig->seq % 7))
        rig->counts[u] = (uint8_t)(rig->seq * 31 + (uint64_t)u) % 3;
    ev.counts.first_sample = rig->sample;
    ev.counts.sample_rate_hz = 30000;
    ev.counts.bin_samples = 30;
    ev.counts.n_bins = 1;
    ev.counts.n_units = N_UNITS;
    ev.counts.dtype = DTYPE_U8;
    ev.data = rig->counts;
    ev.data_size = N_UNITS;
    rig->sample += 30;
    rig->now_ns += NS_PER_MS;
    tell(rig, rig->rings.wire_loop, &ev);
    if (rig->seq % 50 == 0) {
        tell_wire(rig, EVENT_TICK);
        tell_wire(rig, EVENT_BEAT);
    }
}

static void tell_command(struct rig *rig, unsigned command)
{
    struct event ev = {.type = EVENT_COMMAND};

    ev.command.command = command;
    tell(rig, rig->rings.main_loop, &ev);
}

/* The display shows it, the diode sees it, the neurons answer. */
static void play_trial(struct rig *rig)
{
    struct event sent = {.type = EVENT_SENT}, shown = {.type = EVENT_SHOWN},
                 hidden = {.type = EVENT_HIDDEN}, edge = {.type = EVENT_EDGE};

    rig->is_presenting = 0;
    sent.sent.trial = rig->present.present.trial;
    sent.sent.cause_ns = rig->now_ns;
    tell(rig, rig->rings.wire_loop, &sent);
    while (rig->now_ns < rig->present.present.not_before_ns)
        tell_counts(rig);
    shown.shown.trial = hidden.hidden.trial = rig->present.present.trial;
    shown.shown.hash = rig->present.present.hash;
    shown.shown.onset_ns = rig->now_ns;
    shown.shown.requested_ns = rig->now_ns;
    shown.shown.quality = QUALITY_ESTIMATED;
    tell(rig, rig->rings.wire_loop, &shown);
    edge.source = 1;
    edge.epoch = 1;
    edge.seq = rig->seq++;
    edge.edge.sample = rig->sample;
    edge.edge.sample_rate_hz = 30000;
    edge.edge.level = 1;
    tell(rig, rig->rings.wire_loop, &edge);
    for (int i = 0; i < 20; i++)
        tell_counts(rig);
    hidden.hidden.offset_ns = rig->now_ns;
    hidden.hidden.n_frames = 1;
    tell(rig, rig->rings.wire_loop, &hidden);
    for (int i = 0; i < 7; i++)
        tell_counts(rig);
}

static void start(struct rig *rig)
{
    static struct images *images;
    char why[256];
    size_t size;
    void *mem;

    ops_init();
    if (conf_read_text(&rig->conf, ini, "test", why, sizeof(why)) != 0) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    CHECK(images_open(&images, (enum images_kind)rig->conf.stimulus.images, NULL, 16, 16,
                      why, sizeof(why)) == 0);
    conf_loop(&rig->conf, &rig->loop_conf);
    conf_job(&rig->conf, images, &rig->job);
    CHECK(rings_open(&rig->rings, &rig->loop_conf) == 0);
    mem = aligned_alloc(64, (loop_size(&rig->loop_conf) + 63) / 64 * 64);
    rig->loop = (struct loop_thread){.rings = &rig->rings,
                                     .loop = loop_init(mem, &rig->loop_conf)};
    size = worker_work_size(loop_model(rig->loop.loop), N_UNITS,
                            loop_snapshot(rig->loop.loop, 0), &rig->job);
    for (int i = 0; i < 2; i++) {
        rig->workers[i] =
            (struct worker_thread){.rings = &rig->rings,
                                   .index = i,
                                   .loop = rig->loop.loop,
                                   .conf = &rig->job,
                                   .patience_ns = NS_PER_S,
                                   .work = aligned_alloc(64, (size + 63) / 64 * 64)};
        CHECK(pthread_create(&rig->worker_ids[i], NULL, worker_run, &rig->workers[i]) ==
              0);
    }
    CHECK(pthread_create(&rig->disk_id, NULL, disk, rig) == 0);
    CHECK(pthread_create(&rig->loop_id, NULL, watched_loop, rig) == 0);
}

static void stop(struct rig *rig)
{
    rings_stop(&rig->rings);
    pthread_join(rig->loop_id, NULL);
    pthread_join(rig->disk_id, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(rig->worker_ids[i], NULL);
}

int main(void)
{
    static struct rig rig;
    unsigned long n_trials = 0;
    int64_t quiet_ns = 0;

    if (watched_missing()) {
        printf("SKIPPED: %s\n", watched_missing());
        return 77;
    }
    rig.now_ns = clock_now_ns(); /* and runs ahead of it: virtual time */
    start(&rig);
    tell_wire(&rig, EVENT_DISPLAY);
    while (rig.n_sent < N_EVENTS && !watched_fault()) {
        hear(&rig);
        if (rig.is_presenting) {
            play_trial(&rig);
            if (++n_trials % 100 == 50) {
                tell_command(&rig, COMMAND_PAUSE);
                tell_command(&rig, COMMAND_NOTE);
                tell_command(&rig, COMMAND_RESUME);
            }
        } else if (clock_now_ns() > quiet_ns) { /* the workers take real time */
            tell_counts(&rig);
            quiet_ns = clock_now_ns() + NS_PER_MS / 2;
        } else {
            sched_yield();
        }
    }
    while (atomic_load(&rig.n_told) < rig.n_sent && !watched_fault())
        hear(&rig);
    stop(&rig);
    printf("%lu events folded, %lu said; %lu trials learned, %lu info-max jobs, %lu "
           "results, %lu commands, %lu edges\n",
           rig.n_told, rig.n_said, rig.n_valid, rig.n_infomax, rig.n_types[EVENT_RESULT],
           rig.n_types[EVENT_COMMAND], rig.n_types[EVENT_EDGE]);
    watched_print();
    fflush(stdout);
    CHECK(!watched_fault());
    CHECK(rig.n_told >= N_EVENTS);
    CHECK(rig.n_valid > 1000 && rig.n_infomax > 300 && rig.n_types[EVENT_RESULT] > 1000);
    CHECK(rig.n_types[EVENT_COMMAND] > 20);
    return 0;
}
