/*
 * flip.h: when a frame reached the screen, and how well that is known.
 *
 * Flow:      screen_flip() notes when its call returned; the flip clock turns that into
 *            an onset, a sequence number and the frames that were missed.
 * Owner:     the display's one thread; memory is the caller's.
 * Units:     ns of CLOCK_MONOTONIC; a sequence number counts refreshes, not calls.
 * Invariant: sequence grows by 1 + n_missed at each flip; the grid of refreshes never
 *            moves because a frame was late.
 */
#ifndef EVOKE_FLIP_H
#define EVOKE_FLIP_H

#include <stdint.h>

struct flip {
    int64_t requested_ns;   /* refresh that it was meant for, as predicted */
    int64_t returned_ns;    /* the call came back */
    int64_t onset_ns;       /* best knowledge of the refresh that showed it */
    int64_t uncertainty_ns; /* of onset_ns */
    uint64_t sequence;      /* of that refresh */
    uint32_t n_missed;      /* refreshes that passed since the flip before, beyond one */
    uint32_t quality;       /* enum quality of protocol/event.h */
};

struct flip_clock {
    double period_ns;
    double jitter_ns;   /* running mean of |returned - fitted| */
    int64_t refresh_ns; /* of the last flip, on the fitted grid */
    uint64_t sequence;
    uint32_t quality;
};

/* [any] A frame clock of the display's own, for drivers that wait for nothing: a fixed
 * grid from start_ns on. Its flips have QUALITY_NONE and the time of the call. */
void flip_clock_pace(struct flip_clock *clock, double period_ns, int64_t start_ns);

/* [any] Fit a clock to the returns (n) of calls that wait for the vertical blank:
 * median period, then least squares over the refreshes between. Returns 0, or -EDOM when
 * these are no ticks of a clock (nothing waited, or it waited for something else) or n
 * < 8. */
int flip_clock_fit(struct flip_clock *clock, const int64_t *returned_ns, int n);

/* [rt] The refresh that the next flip is expected to hit. */
int64_t flip_clock_next_ns(const struct flip_clock *clock);

/* [rt] flip->returned_ns is set: fill in the rest. Jumps of more than 1.5 periods are
 * missed refreshes. The fitted grid follows the returns slowly and ignores outliers: a
 * process that was woken late says nothing about the screen. */
void flip_clock_stamp(struct flip_clock *clock, struct flip *flip);

#endif
