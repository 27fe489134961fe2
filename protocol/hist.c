#include "hist.h"

#include <string.h>

/* Values below 16 have buckets of their own; above, each doubling has 16. */
static int bucket_of(int64_t value)
{
    int log2, i;
    if (value < 16)
        return value < 0 ? 0 : (int)value;
    log2 = 63 - __builtin_clzll((unsigned long long)value);
    i = (log2 - 3) * 16 + (int)((value >> (log2 - 4)) & 15);
    return i < HIST_N ? i : HIST_N - 1;
}

int64_t hist_edge_ns(int i)
{
    if (i < 16)
        return i;
    return (int64_t)(16 + i % 16) << (i / 16 - 1);
}

void hist_init(struct hist *hist)
{
    memset(hist, 0, sizeof(*hist));
}

void hist_add(struct hist *hist, int64_t value_ns)
{
    if (hist->n == 0 || value_ns < hist->min_ns)
        hist->min_ns = value_ns;
    if (hist->n == 0 || value_ns > hist->max_ns)
        hist->max_ns = value_ns;
    hist->n++;
    hist->buckets[bucket_of(value_ns)]++;
}

int64_t hist_quantile_ns(const struct hist *hist, double quantile)
{
    double rank = quantile * (double)hist->n;
    uint64_t sum = 0;

    if (hist->n == 0)
        return 0;
    for (int i = 0; i < HIST_N; i++) {
        sum += hist->buckets[i];
        if (hist->buckets[i] && (double)sum >= rank) {
            int64_t middle = (hist_edge_ns(i) + hist_edge_ns(i + 1)) / 2;
            middle = middle < hist->min_ns ? hist->min_ns : middle;
            return middle > hist->max_ns ? hist->max_ns : middle;
        }
    }
    return hist->max_ns;
}
