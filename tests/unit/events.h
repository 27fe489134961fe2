/*
 * events.h: valid events for tests, as a rig, a display, a worker or a person sends them.
 *
 * Memory: payloads are the caller's.
 * Units:  a sender's clock is exact: sample s is at origin_ns + s / rate_hz, and its
 *         counts arrive when their last sample ends, latency_ns later.
 */
#ifndef EVOKE_EVENTS_H
#define EVOKE_EVENTS_H

#include "protocol/event.h"

#define EVENTS_MS INT64_C(1000000)

struct sender {
    uint16_t source;
    uint32_t epoch;
    uint64_t seq; /* of its next message */
    double rate_hz;
    int64_t origin_ns, latency_ns;
    uint32_t first_unit, n_units, bin_samples;
};

/* A seed for the test's random choices: EVOKE_SEED or 1; printed. */
uint64_t events_seed(void);

/* Host time of a sample of this sender. */
int64_t events_host_ns(const struct sender *sender, int64_t sample);

/* The sender's next message: bins from first_sample on; counts: u8 (n_bins, n_units). */
struct event events_counts(struct sender *sender, int64_t first_sample, uint32_t n_bins,
                           const uint8_t *counts);

/* A rising edge. */
struct event events_edge(struct sender *sender, int64_t sample, uint32_t line);

/* A frame that another system showed; pixels: u8 (height, width). */
struct event events_external(struct sender *sender, int64_t first_sample,
                             uint32_t n_samples, uint32_t height, uint32_t width,
                             const uint8_t *pixels);

/* An event of Evoke itself, or of the display, without payload. */
struct event events_plain(enum event_type type, int64_t time_ns);

/* The display as it is after it was set up. */
struct event events_display(uint32_t epoch, enum quality quality, int64_t time_ns);

/* What the display answers to a PRESENT that went well. */
struct event events_shown(const struct event *present, int64_t onset_ns, int64_t time_ns);
struct event events_hidden(const struct event *present, int64_t time_ns);

struct event events_command(enum command command, int64_t time_ns);

/* A ring was full. */
struct event events_lost(enum ring_name ring, uint64_t n_lost, int64_t time_ns);

/* A worker's answer; pixels: u8 (height, width). */
struct event events_result(const struct event *job, uint32_t height, uint32_t width,
                           const uint8_t *pixels, int64_t time_ns);

#endif
