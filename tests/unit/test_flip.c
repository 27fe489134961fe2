#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "protocol/clock.h"
#include "protocol/event.h"
#include "stimulus/flip.h"

#define START_NS INT64_C(123456789012345)

static uint64_t random_state;

static int setup(void **state)
{
    (void)state;
    const char *text = getenv("EVOKE_SEED");
    random_state = text ? strtoull(text, NULL, 0) : 20231;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)random_state);
    return 0;
}

static double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

/* A wake-up is late by 30 us on average, now and then by 2 ms, never early. */
static int64_t lateness_ns(void)
{
    return llround(-30e3 * log(1.0 - uniform()) + (uniform() < 0.01 ? 2e6 : 0.0));
}

static int64_t refresh_ns(double period_ns, int64_t k)
{
    return START_NS + llround((double)k * period_ns);
}

static void test_fit_and_follow(void **state)
{
    (void)state;
    const double periods_ns[] = {1e9 / 59.94, 1e9 / 60.0, 1e9 / 75.0, 1e9 / 144.0};
    for (size_t p = 0; p < sizeof periods_ns / sizeof periods_ns[0]; p++) {
        double period_ns = periods_ns[p];
        int64_t returned_ns[60], k = 0;
        for (int i = 0; i < 60; i++) {
            k += uniform() < 0.05 ? 2 : 1;
            returned_ns[i] = refresh_ns(period_ns, k) + lateness_ns();
        }
        struct flip_clock clock;
        assert_int_equal(flip_clock_fit(&clock, returned_ns, 60), 0);
        assert_int_equal(clock.quality, QUALITY_ESTIMATED);
        assert_true(fabs(clock.period_ns / period_ns - 1.0) < 1e-3);

        /* 20,000 flips, each missed refresh found, none invented. */
        int64_t worst_ns = 0;
        for (int i = 0; i < 20000; i++) {
            uint32_t n_missed = uniform() < 0.02 ? 1 + (uint32_t)(10.0 * uniform()) : 0;
            uint64_t before = clock.sequence;
            k += 1 + n_missed;
            struct flip flip = {.returned_ns = refresh_ns(period_ns, k) + lateness_ns()};
            flip_clock_stamp(&clock, &flip);
            assert_int_equal(flip.n_missed, n_missed);
            assert_int_equal(flip.sequence, before + 1 + n_missed);
            int64_t error_ns = llabs(flip.onset_ns - refresh_ns(period_ns, k));
            if (i > 200 && error_ns > worst_ns)
                worst_ns = error_ns;
        }
        print_message("%.2f Hz: worst onset error %lld ns, period off by %.1e\n",
                      1e9 / period_ns, (long long)worst_ns,
                      clock.period_ns / period_ns - 1.0);
        assert_true(worst_ns < 200000);
        assert_true(fabs(clock.period_ns / period_ns - 1.0) < 1e-4);
    }
}

static void test_what_is_no_clock(void **state)
{
    (void)state;
    int64_t returned_ns[60];
    struct flip_clock clock;
    for (int round = 0; round < 100; round++) {
        returned_ns[0] = START_NS;
        for (int i = 1; i < 60; i++)
            returned_ns[i] =
                returned_ns[i - 1] + 1 + llround(-5e6 * log(1.0 - uniform()));
        assert_int_equal(flip_clock_fit(&clock, returned_ns, 60), -EDOM);
    }
    for (int i = 0; i < 60; i++)
        returned_ns[i] = START_NS;
    assert_int_equal(flip_clock_fit(&clock, returned_ns, 60), -EDOM);
    for (int i = 0; i < 60; i++)
        returned_ns[i] = START_NS + i * 16666667;
    assert_int_equal(flip_clock_fit(&clock, returned_ns, 60), 0);
    assert_int_equal(flip_clock_fit(&clock, returned_ns, 7), -EDOM);
}

/* A return told half a period late looks like a missed refresh; the next one, which
 * comes too early, puts the grid right again. */
static void test_late_return_does_not_move_the_grid(void **state)
{
    (void)state;
    int64_t returned_ns[60];
    struct flip_clock clock;
    const double period_ns = 1e7;
    for (int i = 0; i < 60; i++)
        returned_ns[i] = refresh_ns(period_ns, i);
    assert_int_equal(flip_clock_fit(&clock, returned_ns, 60), 0);
    struct flip flip = {.returned_ns = refresh_ns(period_ns, 60) + 7000000};
    flip_clock_stamp(&clock, &flip);
    assert_int_equal(flip.n_missed, 1);
    flip.returned_ns = refresh_ns(period_ns, 61);
    flip_clock_stamp(&clock, &flip);
    assert_int_equal(flip.onset_ns, refresh_ns(period_ns, 61));
    assert_true(llabs(flip_clock_next_ns(&clock) - refresh_ns(period_ns, 62)) < 1000);
}

static void test_paced(void **state)
{
    (void)state;
    struct flip_clock clock;
    flip_clock_pace(&clock, 5e6, START_NS);
    int64_t k = 0;
    for (int i = 0; i < 10000; i++) {
        uint32_t n_missed = uniform() < 0.1 ? 1 + (uint32_t)(3.0 * uniform()) : 0;
        assert_int_equal(flip_clock_next_ns(&clock), START_NS + 5000000 * (k + 1));
        k += 1 + n_missed;
        struct flip flip = {.returned_ns = START_NS + 5000000 * k +
                                           llround((uniform() - 0.01) * 2.4e6)};
        flip_clock_stamp(&clock, &flip);
        assert_int_equal(flip.quality, QUALITY_NONE);
        assert_int_equal(flip.onset_ns, flip.returned_ns);
        assert_int_equal(flip.uncertainty_ns, 5000000);
        assert_int_equal(flip.n_missed, n_missed);
        assert_int_equal(flip.sequence, k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fit_and_follow),
        cmocka_unit_test(test_what_is_no_clock),
        cmocka_unit_test(test_late_return_does_not_move_the_grid),
        cmocka_unit_test(test_paced),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
