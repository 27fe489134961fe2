/*
 * bins.h: counts in, one response per unit and trial out.
 *
 * Flow:      bins_add() takes the rows of every counts message of one source, in the
 *            order in which they come; bins_window() asks whether they cover a window
 *            and sums them.
 * Owner:     the loop. Memory: caller's, bins_size() bytes, aligned as malloc's; holds
 *            the newest rows, in the number format in which they came.
 * Units:     windows are in the recorder's own samples, all |sample| < 2^60. A row
 *            belongs to a window if its centre does, so counts stay whole and the
 *            window's edges are met within half a bin.
 * Errors:    a row that is already there is a duplicate; a row out of order finds its
 *            place; a row that jumps forgets what was before.
 * Invariant: no row's centre lies in another row, so rows sorted by centre are sorted by
 *            first and last sample too.
 */
#ifndef EVOKE_BINS_H
#define EVOKE_BINS_H

#include <stddef.h>
#include <stdint.h>

struct bins;

enum bins_added {
    BINS_OK,        /* newer than all before */
    BINS_DUPLICATE, /* was there already: not kept */
    BINS_LATE,      /* kept in its place, unless it is older than all that are kept */
    BINS_JUMP       /* kept, all before it forgotten */
};

enum bins_cover {
    BINS_WAIT,     /* not yet: rows up to its end have not come */
    BINS_COMPLETE, /* every row of the window is there */
    BINS_HOLE,     /* later rows are there, some of the window (or all) are missing */
    BINS_BEFORE    /* the window began before the first row that is known */
};

/* [any] For one source: so many units at most, so many rows kept. */
size_t bins_size(int n_units_max, int n_rows);
struct bins *bins_init(void *mem, int n_units_max, int n_rows);

/* [rt] Forget all rows (the source began again); those to come have n_units, which is at
 * most n_units_max. */
void bins_reset(struct bins *bins, int n_units);

/* [rt] One row: samples [first, first + width), counts as a payload of dtype: (n_units);
 * jump_samples: a row that begins further than this from the end of the newest is a
 * jump. */
enum bins_added bins_add(struct bins *bins, int64_t first, uint32_t width,
                         const void *counts, uint32_t dtype, int64_t jump_samples);

/* [rt] Is [first, end) covered, and if complete its sum; sum: (n_units) or NULL.
 * A gap of up to half a bin between rows is jitter of the bins, not a hole; a window in
 * which no row has its centre is never complete. */
enum bins_cover bins_window(const struct bins *bins, int64_t first, int64_t end,
                            float *sum);

/* [rt] End of the newest row, INT64_MIN if there is none. */
int64_t bins_end(const struct bins *bins);

#endif
