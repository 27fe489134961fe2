/* How long from the last spike count to the next stimulus: with a real daemon, of which
 * this is the display and the rig of 1,000 units. One counts message a trial; beside it,
 * a bare ZeroMQ round trip of a message of that size, once a trial too, so that both find
 * the machine equally asleep. */
#include "tools/bench.h"

#include <math.h>
#include <string.h>

#include "protocol/clock.h"
#include "protocol/wire.h"
#include "tools/bench_link.h"
#include "tools/client.h"
#include "tools/tool.h"

#define N_TRIALS    600
#define N_UNITS     1000
#define RATE_HZ     30000.0
#define BIN_SAMPLES 150
#define BIN_NS      (5 * NS_PER_MS)
#define WINDOW_NS   (20 * NS_PER_MS)
#define SHOWN_NS    (10 * NS_PER_MS)
#define MOST_BINS   64
#define N_BLOCKS    5

static const char ini[] = "[ingest]\nunits = 1000\n"
                          "[trial]\nstimulus_ms = 10\ngap_ms = 5\ndelay_ms = 0\n"
                          "window_ms = 20\n"
                          "[learn]\npolicy = mixed\ntrials = 1000000\n"
                          "[model]\nposterior = shared\n[optimise]\nahead = 4\n";

struct rig {
    struct client *client;
    struct bench_display *display;
    struct bench_echo *echo;
    int64_t origin_ns, n_bins; /* sent so far */
    uint32_t epoch;
    uint64_t seq;
    struct event present; /* the last one */
    uint8_t counts[MOST_BINS * N_UNITS];
    double inside_ms[N_TRIALS], outside_ms[N_TRIALS], echo_ms[N_TRIALS];
    int n_inside, n_outside;
};

/* All bins that have ended by then, in one message. */
static void send_counts(struct rig *rig, int64_t until_ns)
{
    struct event ev = {.type = EVENT_COUNTS, .source = 1, .epoch = rig->epoch};
    int64_t n = (until_ns - rig->origin_ns) / BIN_NS - rig->n_bins;

    n = n < MOST_BINS ? n : MOST_BINS;
    if (n <= 0)
        return;
    for (int64_t i = 0; i < n * N_UNITS; i++)
        rig->counts[i] = (uint8_t)((i * 7 + rig->n_bins) % 3);
    ev.seq = rig->seq++;
    ev.counts.first_sample = rig->n_bins * BIN_SAMPLES;
    ev.counts.sample_rate_hz = RATE_HZ;
    ev.counts.bin_samples = BIN_SAMPLES;
    ev.counts.n_bins = (uint32_t)n;
    ev.counts.n_units = N_UNITS;
    ev.counts.dtype = DTYPE_U8;
    ev.data = rig->counts;
    ev.data_size = (uint32_t)(n * N_UNITS);
    rig->n_bins += n;
    client_send(rig->client, &ev);
}

/* The next PRESENT at the display's socket; 0 if none came in time. */
static int await_present(struct rig *rig, int timeout_ms)
{
    struct event ev;

    while (bench_display_next(rig->display, &ev, timeout_ms)) {
        if (ev.type == EVENT_PRESENT) {
            rig->present = ev;
            return 1;
        }
    }
    return 0;
}

static void follow(struct rig *rig)
{
    struct event ev;

    while (client_next(rig->client, &ev))
        if (ev.type == EVENT_TRIAL && ev.trial.verdict == VERDICT_VALID &&
            ev.trial.latency_ns != CLOCK_UNKNOWN && rig->n_inside < N_TRIALS)
            rig->inside_ms[rig->n_inside++] = (double)ev.trial.latency_ns / NS_PER_MS;
}

/* Until the session runs: the display is there, and counts come. */
static int begin(struct rig *rig)
{
    struct event ev = {.type = EVENT_DISPLAY};

    ev.display.width_px = 640;
    ev.display.height_px = 480;
    ev.display.refresh_hz = 60;
    ev.display.quality = QUALITY_ESTIMATED;
    rig->epoch = (uint32_t)clock_now_ns();
    rig->origin_ns = clock_now_ns();
    for (int i = 0; i < 500; i++) {
        bench_display_say(rig->display, &ev);
        send_counts(rig, clock_now_ns());
        if (await_present(rig, 20))
            return 1;
    }
    return 0;
}

static int run_trial(struct rig *rig)
{
    struct event shown = {.type = EVENT_SHOWN}, hidden = {.type = EVENT_HIDDEN},
                 beat = {.type = EVENT_BEAT};
    uint64_t trial = rig->present.present.trial;
    int64_t onset_ns, end_ns, sent_ns;

    clock_sleep_until_ns(rig->present.present.not_before_ns);
    onset_ns = clock_now_ns();
    shown.shown.trial = hidden.hidden.trial = trial;
    shown.shown.hash = rig->present.present.hash;
    shown.shown.requested_ns = shown.shown.onset_ns = onset_ns;
    shown.shown.quality = QUALITY_ESTIMATED;
    bench_display_say(rig->display, &shown);
    clock_sleep_until_ns(onset_ns + SHOWN_NS);
    hidden.hidden.offset_ns = clock_now_ns();
    hidden.hidden.n_frames = 1;
    bench_display_say(rig->display, &hidden);
    bench_display_say(rig->display, &beat);
    follow(rig);
    clock_sleep_until_ns(onset_ns + SHOWN_NS + BIN_NS);
    rig->echo_ms[rig->n_outside] = (double)bench_echo_ns(rig->echo) / NS_PER_MS;
    /* the first end of a bin that is surely past the window's */
    end_ns = onset_ns + WINDOW_NS + BIN_NS - rig->origin_ns;
    end_ns = rig->origin_ns + (end_ns / BIN_NS + 1) * BIN_NS;
    clock_sleep_until_ns(end_ns);
    sent_ns = clock_now_ns();
    send_counts(rig, end_ns);
    if (!await_present(rig, 1000) || rig->present.present.trial != trial + 1)
        return 0;
    rig->outside_ms[rig->n_outside++] = (double)(clock_now_ns() - sent_ns) / NS_PER_MS;
    return 1;
}

/* Two rows of one quantity: its quantile over all, and the least of its blocks'. */
static void say(const struct bench *bench, const char *name, double *ms, int n,
                double quantile, double baseline)
{
    double least = INFINITY, block;
    int n_block = n / N_BLOCKS;

    for (int i = 0; i < N_BLOCKS && n_block > 0; i++) {
        block = bench_quantile(ms + i * n_block, n_block, quantile);
        least = fmin(least, block);
    }
    bench_say(bench, &(struct bench_row){.name = name,
                                         .median = bench_quantile(ms, n, quantile),
                                         .min = least,
                                         .unit = "ms",
                                         .threads = 1,
                                         .baseline = baseline});
}

static void say_all(const struct bench *bench, struct rig *rig)
{
    static const struct {
        const char *inside, *outside, *echo;
        double quantile;
    } rows[] = {
        {"loop_latency_p50", "loop_end_to_end_p50", "ipc_roundtrip_p50", 0.5},
        {"loop_latency_p99", "loop_end_to_end_p99", "ipc_roundtrip_p99", 0.99},
    };
    double sorted[N_TRIALS];

    for (int i = 0; i < 2; i++) {
        double echo_ms;
        memcpy(sorted, rig->echo_ms, sizeof(sorted));
        echo_ms = bench_quantile(sorted, rig->n_outside, rows[i].quantile);
        memcpy(sorted, rig->inside_ms, sizeof(sorted));
        say(bench, rows[i].inside, sorted, rig->n_inside, rows[i].quantile, echo_ms);
        memcpy(sorted, rig->outside_ms, sizeof(sorted));
        say(bench, rows[i].outside, sorted, rig->n_outside, rows[i].quantile, echo_ms);
        memcpy(sorted, rig->echo_ms, sizeof(sorted));
        say(bench, rows[i].echo, sorted, rig->n_outside, rows[i].quantile, NAN);
    }
}

static int measure(const struct bench *bench, struct rig *rig)
{
    int n_failed = 0;

    if (!rig->client || !rig->display || !rig->echo || !begin(rig)) {
        tool_fail(TOOL_FAILED, "bench", "the daemon's session does not start");
        return -1;
    }
    while (rig->n_outside < N_TRIALS && n_failed < 10)
        n_failed += !run_trial(rig);
    follow(rig);
    if (n_failed > 0)
        bench_remark(bench, "%d trials were not answered by the next stimulus", n_failed);
    if (rig->n_inside < N_TRIALS / 2 || rig->n_outside < N_TRIALS / 2) {
        tool_fail(TOOL_FAILED, "bench", "%d of %d trials were valid", rig->n_inside,
                  N_TRIALS);
        return -1;
    }
    say_all(bench, rig);
    return 0;
}

int bench_latency(const struct bench *bench)
{
    static struct rig rig;
    struct bench_daemon daemon;
    int result = -1;

    memset(&rig, 0, sizeof(rig));
    if (bench_daemon_start(&daemon, ini) != 0)
        return -1;
    rig.client = client_open("");
    rig.display = bench_display_open();
    rig.echo = bench_echo_open(daemon.folder, 5 * N_UNITS);
    result = measure(bench, &rig);
    bench_echo_close(rig.echo);
    bench_display_close(rig.display);
    client_close(rig.client);
    bench_daemon_stop(&daemon);
    return result;
}
