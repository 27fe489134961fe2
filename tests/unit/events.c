#include "events.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocol/clock.h"
#include "protocol/log.h"
#include "protocol/wire.h"

uint64_t events_seed(void)
{
    const char *text = getenv("EVOKE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    printf("EVOKE_SEED=%" PRIu64 "\n", seed);
    return seed;
}

int64_t events_host_ns(const struct sender *sender, int64_t sample)
{
    return sender->origin_ns +
           llrint((double)sample / sender->rate_hz * (double)NS_PER_S);
}

struct event events_plain(enum event_type type, int64_t time_ns)
{
    return (struct event){.type = (uint16_t)type, .time_ns = time_ns};
}

/* Payload of the size that the fields ask for. */
static void attach(struct event *ev, const void *data)
{
    ev->data_size = (uint32_t)event_data_size(ev);
    ev->data = data;
    CHECK(ev->data_size > 0 && data);
}

static struct event message(struct sender *sender, enum event_type type,
                            int64_t end_sample)
{
    struct event ev =
        events_plain(type, events_host_ns(sender, end_sample) + sender->latency_ns);

    ev.source = sender->source;
    ev.epoch = sender->epoch;
    ev.seq = sender->seq++;
    return ev;
}

struct event events_counts(struct sender *sender, int64_t first_sample, uint32_t n_bins,
                           const uint8_t *counts)
{
    int64_t end = first_sample + (int64_t)n_bins * sender->bin_samples;
    struct event ev = message(sender, EVENT_COUNTS, end);

    ev.counts.first_sample = first_sample;
    ev.counts.sample_rate_hz = sender->rate_hz;
    ev.counts.bin_samples = sender->bin_samples;
    ev.counts.n_bins = n_bins;
    ev.counts.first_unit = sender->first_unit;
    ev.counts.n_units = sender->n_units;
    ev.counts.dtype = DTYPE_U8;
    attach(&ev, counts);
    return ev;
}

struct event events_edge(struct sender *sender, int64_t sample, uint32_t line)
{
    struct event ev = message(sender, EVENT_EDGE, sample);

    ev.edge.sample = sample;
    ev.edge.sample_rate_hz = sender->rate_hz;
    ev.edge.line = line;
    ev.edge.level = 1;
    return ev;
}

struct event events_external(struct sender *sender, int64_t first_sample,
                             uint32_t n_samples, uint32_t height, uint32_t width,
                             const uint8_t *pixels)
{
    struct event ev = message(sender, EVENT_EXTERNAL, first_sample);

    ev.external.first_sample = first_sample;
    ev.external.sample_rate_hz = sender->rate_hz;
    ev.external.n_samples = n_samples;
    ev.external.learn = 1;
    ev.external.height = height;
    ev.external.width = width;
    ev.external.dtype = DTYPE_U8;
    attach(&ev, pixels);
    return ev;
}

struct event events_display(uint32_t epoch, enum quality quality, int64_t time_ns)
{
    static const char driver[] = {'t', 'e', 's', 't'};
    struct event ev = events_plain(EVENT_DISPLAY, time_ns);

    ev.epoch = epoch;
    ev.display.refresh_hz = 60;
    ev.display.width_px = 640;
    ev.display.height_px = 480;
    ev.display.quality = quality;
    ev.display.n_text = sizeof(driver);
    attach(&ev, driver);
    return ev;
}

struct event events_shown(const struct event *present, int64_t onset_ns, int64_t time_ns)
{
    struct event ev = events_plain(EVENT_SHOWN, time_ns);

    ev.shown.trial = present->present.trial;
    ev.shown.hash = present->present.hash;
    ev.shown.requested_ns = ev.shown.onset_ns = onset_ns;
    ev.shown.quality = QUALITY_ESTIMATED;
    return ev;
}

struct event events_hidden(const struct event *present, int64_t time_ns)
{
    struct event ev = events_plain(EVENT_HIDDEN, time_ns);

    ev.hidden.trial = present->present.trial;
    ev.hidden.offset_ns = time_ns;
    ev.hidden.n_frames = 1;
    return ev;
}

struct event events_command(enum command command, int64_t time_ns)
{
    struct event ev = events_plain(EVENT_COMMAND, time_ns);

    ev.command.command = command;
    return ev;
}

struct event events_lost(enum ring_name ring, uint64_t n_lost, int64_t time_ns)
{
    struct event ev = events_plain(EVENT_LOST, time_ns);

    ev.lost.ring = ring;
    ev.lost.n_lost = n_lost;
    return ev;
}

struct event events_result(const struct event *job, uint32_t height, uint32_t width,
                           const uint8_t *pixels, int64_t time_ns)
{
    struct event ev = events_plain(EVENT_RESULT, time_ns);

    ev.result.job = job->job.job;
    ev.result.model = job->job.model;
    ev.result.kind = job->job.kind;
    ev.result.unit = job->job.unit;
    ev.result.slot = job->job.slot;
    ev.result.height = height;
    ev.result.width = width;
    ev.result.dtype = DTYPE_U8;
    ev.result.hash = wire_hash_stimulus(height, width, DTYPE_U8, pixels);
    attach(&ev, pixels);
    return ev;
}
