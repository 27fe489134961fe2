#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "protocol/hist.h"

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Edges rise without a gap, so that each value has exactly one bucket. */
static void edges_rise(void **state)
{
    (void)state;
    for (int i = 0; i + 1 < HIST_N; i++)
        assert_true(hist_edge_ns(i) < hist_edge_ns(i + 1));
    assert_int_equal(hist_edge_ns(0), 0);
}

/* Every quantile is within the bucket's relative width of the exact one. */
static void quantiles_are_close(void **state)
{
    enum { N = 20000 };
    static int64_t values[N];
    struct hist hist;
    uint64_t random = 12345;

    (void)state;
    hist_init(&hist);
    for (int i = 0; i < N; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        values[i] = (int64_t)(random >> (24 + random % 37));
        hist_add(&hist, values[i]);
    }
    qsort(values, N, sizeof(values[0]), compare);
    for (double q = 0.01; q < 1; q += 0.01) {
        int64_t exact = values[(int)(q * N)], got = hist_quantile_ns(&hist, q);
        int64_t off = got > exact ? got - exact : exact - got;
        assert_true(off <= exact / 8 + 1);
    }
    assert_int_equal(hist.min_ns, values[0]);
    assert_int_equal(hist.max_ns, values[N - 1]);
}

static void extremes_are_counted(void **state)
{
    struct hist hist;

    (void)state;
    hist_init(&hist);
    assert_int_equal(hist_quantile_ns(&hist, 0.5), 0);
    hist_add(&hist, -5);
    hist_add(&hist, INT64_MAX);
    assert_int_equal(hist.n, 2);
    assert_int_equal(hist.buckets[0], 1);
    assert_int_equal(hist.buckets[HIST_N - 1], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(edges_rise),
                                       cmocka_unit_test(quantiles_are_close),
                                       cmocka_unit_test(extremes_are_counted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
