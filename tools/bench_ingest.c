/* How much a daemon takes in: 1,000 units in bins of a millisecond in real time, without
 * loss, memory or much of the processor; then as fast as it can. */
#include "tools/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/clock.h"
#include "tools/client.h"
#include "tools/tool.h"

#define N_UNITS     1000
#define RATE_HZ     30000.0
#define BIN_SAMPLES 30
#define BURST_NS    (3 * NS_PER_S)
#define IN_FLIGHT   40000 /* bins sent and not yet counted, at full speed */
#define MOST_RATES  64
#define PATIENCE_NS (10 * NS_PER_S)

static const char ini[] = "[ingest]\nunits = 1000\n[trial]\nexternal = yes\n"
                          "[stimulus]\nheight = 1\nwidth = 1\n";

struct feed {
    struct client *client;
    uint32_t epoch;
    uint64_t n_sent;
    uint64_t n_counted; /* by the daemon, as last told */
    int64_t counted_ns;
    uint8_t counts[N_UNITS];
};

static int send_bin(struct feed *feed)
{
    struct event ev = {.type = EVENT_COUNTS, .source = 1, .epoch = feed->epoch};

    ev.seq = feed->n_sent;
    ev.counts.first_sample = (int64_t)feed->n_sent * BIN_SAMPLES;
    ev.counts.sample_rate_hz = RATE_HZ;
    ev.counts.bin_samples = BIN_SAMPLES;
    ev.counts.n_bins = 1;
    ev.counts.n_units = N_UNITS;
    ev.counts.dtype = DTYPE_U8;
    ev.data = feed->counts;
    ev.data_size = N_UNITS;
    if (!client_send(feed->client, &ev))
        return 0;
    feed->n_sent++;
    return 1;
}

/* Hear how far the daemon is; 1 if it told something new. */
static int hear(struct feed *feed)
{
    const uint64_t *counters;
    struct event ev;
    int news = 0;

    while (client_next(feed->client, &ev)) {
        if (ev.type != EVENT_STATUS)
            continue;
        counters = ev.data;
        feed->n_counted = counters[COUNTER_COUNTS];
        feed->counted_ns = ev.time_ns;
        news = 1;
    }
    return news;
}

static int await_all(struct feed *feed)
{
    int64_t give_up_ns = clock_now_ns() + PATIENCE_NS;

    while (feed->n_counted < feed->n_sent && clock_now_ns() < give_up_ns) {
        client_wait(feed->client, 10);
        hear(feed);
    }
    return feed->n_counted == feed->n_sent;
}

/* Seconds of processor time that a process has used. */
static double cpu_s(pid_t pid)
{
    char path[64];
    unsigned long user = 0, system = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                   &user, &system) != 2)
            user = system = 0;
        fclose(file);
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double rss_kb(pid_t pid)
{
    char path[64];
    unsigned long pages = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%*u %lu", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static void say(const struct bench *bench, const char *name, double median, double min,
                const char *unit)
{
    bench_say(bench, &(struct bench_row){.name = name,
                                         .median = median,
                                         .min = min,
                                         .unit = unit,
                                         .threads = 1,
                                         .baseline = NAN});
}

static int real_time(const struct bench *bench, struct feed *feed, pid_t pid)
{
    int64_t start_ns = clock_now_ns(), n_bins = (int64_t)(bench->seconds * 1000);
    double cpu_before = cpu_s(pid), rss_before = 0, rss_after, wall_s, cpu;

    for (int64_t i = 0; i < n_bins; i++) {
        clock_sleep_until_ns(start_ns + i * NS_PER_MS);
        send_bin(feed);
        if (i % 100 == 0)
            hear(feed);
        if (i == n_bins / 4) /* by then it has what it needs */
            rss_before = rss_kb(pid);
    }
    wall_s = (double)(clock_now_ns() - start_ns) / NS_PER_S;
    cpu = 100 * (cpu_s(pid) - cpu_before) / wall_s;
    rss_after = rss_kb(pid);
    say(bench, "ingest_cpu_share", cpu, cpu, "%");
    say(bench, "ingest_rss_growth", rss_after - rss_before, rss_after - rss_before, "kB");
    return await_all(feed);
}

static void burst(const struct bench *bench, struct feed *feed)
{
    double rates[MOST_RATES];
    uint64_t n_before = feed->n_counted;
    int64_t ns_before = feed->counted_ns, end_ns = clock_now_ns() + BURST_NS;
    int n = 0;

    while (clock_now_ns() < end_ns) {
        if (hear(feed)) {
            if (n < MOST_RATES && feed->counted_ns > ns_before)
                rates[n++] = (double)(feed->n_counted - n_before) * NS_PER_S /
                             (double)(feed->counted_ns - ns_before);
            n_before = feed->n_counted;
            ns_before = feed->counted_ns;
        }
        if (feed->n_sent - feed->n_counted >= IN_FLIGHT || !send_bin(feed))
            client_wait(feed->client, 1);
    }
    if (n > 1) { /* the first one began before the burst */
        double median = bench_quantile(rates + 1, n - 1, 0.5);
        say(bench, "ingest_rate", median, rates[1], "bins/s");
    }
}

static int measure(const struct bench *bench, struct feed *feed, pid_t pid)
{
    double n_lost, n_dropped;
    int whole = real_time(bench, feed, pid);

    bench_remark(bench, "%llu bins of %d units in real time, %s",
                 (unsigned long long)feed->n_sent, N_UNITS,
                 whole ? "none lost" : "not all arrived");
    if (whole) {
        burst(bench, feed);
        whole = await_all(feed);
    }
    n_lost = bench_daemon_status("counters", "messages_lost");
    n_dropped = bench_daemon_status("counters", "events_dropped");
    if (whole && n_lost == 0 && n_dropped == 0)
        return 0;
    tool_fail(TOOL_FAILED, "bench", "of %llu bins %llu arrived; %g lost, %g dropped",
              (unsigned long long)feed->n_sent, (unsigned long long)feed->n_counted,
              n_lost, n_dropped);
    return -1;
}

int bench_ingest(const struct bench *bench)
{
    struct bench_daemon daemon;
    struct feed feed = {.epoch = (uint32_t)clock_now_ns()};
    int result = -1;

    if (bench_daemon_start(&daemon, ini) != 0)
        return -1;
    for (int i = 0; i < N_UNITS; i++)
        feed.counts[i] = (uint8_t)(i % 3);
    feed.client = client_open("");
    while (feed.client && !hear(&feed)) /* what is published reaches us */
        client_wait(feed.client, 100);
    if (feed.client)
        result = measure(bench, &feed, daemon.child.pid);
    client_close(feed.client);
    bench_daemon_stop(&daemon);
    return result;
}
