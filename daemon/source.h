/*
 * source.h: the rigs that send to us: their sequence numbers, counts, clocks and edges.
 *
 * Flow:   source_take() gets every event of a rig; source_window() gives the response of
 *         all units in a window that starts at a host time (or at an edge).
 * Owner:  the loop. Memory: caller's, sources_size() bytes.
 * Units:  host ns of CLOCK_MONOTONIC; samples of the source's own clock.
 * Errors: what is wrong with a message is counted; a message that cannot be used changes
 *         nothing else.
 */
#ifndef EVOKE_SOURCE_H
#define EVOKE_SOURCE_H

#include "models/bins.h"
#include "models/clockmap.h"
#include "protocol/event.h"

struct sources_conf {
    int n_units;
    int n_sources;      /* at most; their ids are 1..n_sources */
    int n_rows;         /* bins kept, per source */
    int64_t history_ns; /* how far back the rows shall reach; more is a clock jump */
    int64_t silence_ns; /* a source without counts for so long is lost */
    int diode_line;     /* -1: no photodiode */
};

#define SOURCE_EDGES 16

struct source {
    int known; /* has sent counts since it (re)started */
    int live;
    uint32_t epoch;
    uint64_t next_seq;
    uint64_t seen; /* bit k: next_seq - 1 - k was received */
    uint32_t first_unit, n_units;
    double rate_hz;
    int64_t last_ns; /* arrival of its last counts */
    struct bins *bins;
    struct clockmap map;
    int n_edges;
    int64_t edges[SOURCE_EDGES]; /* samples of rising edges on the diode's line */
};

struct sources {
    struct sources_conf conf;
    struct source *source; /* (n_sources) */
    float *sum;            /* (n_units) work */
    int jumped;            /* since the caller last cleared it: a clock began anew */
};

/* What a window gave, over all live sources. */
enum window {
    WINDOW_WAIT, /* its counts are still coming */
    WINDOW_COMPLETE,
    WINDOW_HOLE,   /* counts of it are lost */
    WINDOW_UNKNOWN /* no source, or none whose clock is known */
};

size_t sources_size(const struct sources_conf *conf); /* [any] */
struct sources *sources_init(void *mem, const struct sources_conf *conf);

/* [rt] One event of a rig: 1 if it is new and may be used, 0 if it was dropped. */
int source_take(struct sources *sources, const struct event *ev, uint64_t *counters);

/* [rt] Sources that fell silent by now; returns how many did so newly. */
int sources_tick(struct sources *sources, int64_t now_ns);

/* [rt] How many live sources there are. */
int sources_live(const struct sources *sources);

/* [rt] A rising edge of the diode within tolerance_ns of host_ns: its host time by the
 * source's clock and *sample, *from which source; CLOCK_UNKNOWN if there is none. */
int64_t sources_edge(const struct sources *sources, int64_t host_ns, int64_t tolerance_ns,
                     int64_t *sample, int *from);

/* A response window: it opens delay_ns after the onset and is length_ns long. With
 * from >= 0, the onset is this sample of that source, exactly. */
struct window_at {
    int64_t onset_ns;
    int64_t sample;
    int from;
    int64_t delay_ns, length_ns;
};

/* [rt] The state of a window; complete: response (n_units), NaN where no source covers a
 * unit, and the uncertainty of the window's start in our clock. */
enum window sources_window(struct sources *sources, const struct window_at *at,
                           float *response, int64_t *uncertainty_ns);

#endif
