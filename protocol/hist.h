/*
 * hist.h: latency histogram, HdrHistogram's idea: buckets of equal relative width.
 *
 * Memory:    fixed, in the struct.
 * Units:     ns; relative width of a bucket 1/16, so a quantile is within 6.25 %.
 * Errors:    values below 0 count as 0, above 2^40 ns (18 min) as the last bucket.
 */
#ifndef EVOKE_HIST_H
#define EVOKE_HIST_H

#include <stdint.h>

#define HIST_N (16 * 38)

struct hist {
    uint64_t n;
    int64_t min_ns, max_ns;
    uint64_t buckets[HIST_N];
};

void hist_init(struct hist *hist);                                  /* [any] */
void hist_add(struct hist *hist, int64_t value_ns);                 /* [rt] */
int64_t hist_quantile_ns(const struct hist *hist, double quantile); /* [any] 0..1 */

/* [any] Lower edge of bucket i. */
int64_t hist_edge_ns(int i);

#endif
