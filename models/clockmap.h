/*
 * clockmap.h: the recorder's clock mapped to ours, with its uncertainty.
 *
 * Two kinds of evidence, each kept for about CLOCKMAP_N seconds and fitted by a line,
 * offset and drift; the line that is surer at the newest evidence is believed.
 * Arrivals: counts that end at sample s arrived at host time t, so s happened before t.
 * The tightest line below the smallest t - s/rate of each second is the map (as in
 * Moon, Skelly & Towsley 1999, INFOCOM, eq. 6): bursts of latency do not move it. What
 * no arrival tells is the smallest latency itself; it is part of the uncertainty.
 * Pairs: an edge at sample s belongs to a flip at host time t, exact up to the flip's
 * own error, whose size is seen in the residuals of a least-squares line.
 *
 * Memory: a value of the caller's. Units: ns, samples; drift in parts (1e-6 is 1 ppm).
 * Errors: before any evidence, both directions are CLOCK_UNKNOWN.
 * Invariant: times are kept relative to the first evidence, so that doubles hold them to
 *            less than a nanosecond for a month.
 */
#ifndef EVOKE_CLOCKMAP_H
#define EVOKE_CLOCKMAP_H

#include <stdint.h>

#define CLOCKMAP_N 64 /* points of evidence kept, of each kind */

/* What is known of any rig before it has shown anything, as standard deviations. */
#define CLOCKMAP_DRIFT_SD   5e-5  /* quartz against quartz */
#define CLOCKMAP_LATENCY_NS 2e6   /* smallest way of counts to us: bus, driver, network */
#define CLOCKMAP_FLIP_NS    0.5e6 /* flip against its edge */

struct clockmap_point {
    double at_ns;   /* recorder's time since the origin */
    double late_ns; /* our time since the origin, minus that */
};

struct clockmap_line {
    double at_ns, late_ns, drift; /* late_ns + drift * (x - at_ns) */
    double late_sd_ns, drift_sd;
};

struct clockmap {
    double ns_per_sample;
    int64_t origin_sample, origin_ns;
    int64_t n_arrivals, n_pairs, n_seconds;    /* since reset */
    struct clockmap_point arrival[CLOCKMAP_N]; /* a ring: least late of each second */
    struct clockmap_point pair[CLOCKMAP_N];    /* a ring */
    double second_ns;                          /* when the newest second began */
    double newest_ns;                          /* newest evidence */
    struct clockmap_line by_arrivals, by_pairs;
    struct clockmap_line line; /* the one that is believed */
};

void clockmap_reset(struct clockmap *map, double rate_hz); /* [rt] */

/* [rt] Counts that end at this sample arrived at that time. */
void clockmap_add_arrival(struct clockmap *map, int64_t end_sample, int64_t arrival_ns);

/* [rt] What happened at this sample happened at that time. */
void clockmap_add_pair(struct clockmap *map, int64_t sample, int64_t host_ns);

/* [rt] To the other clock, nearest ns or sample; CLOCK_UNKNOWN without evidence. */
int64_t clockmap_host_ns(const struct clockmap *map, int64_t sample);
int64_t clockmap_sample(const struct clockmap *map, int64_t host_ns);

/* [rt] One standard deviation of either, near the newest evidence; INT64_MAX if
 * unknown. */
int64_t clockmap_uncertainty_ns(const struct clockmap *map);

#endif
