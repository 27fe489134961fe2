#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/random.h"

#define N_DRAWS 400000

static uint64_t seed_of_run(void)
{
    const char *text = getenv("EVOKE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 20240607;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* Chi-square of counts against expected ones, as a normal deviate (Wilson & Hilferty
 * 1931); cells expecting fewer than 10 are pooled. */
static double chi_square_z(const double *seen, const double *expected, int n)
{
    double chi2 = 0.0, rest_seen = 0.0, rest_expected = 0.0;
    int df = -1;
    for (int i = 0; i < n; i++) {
        rest_seen += seen[i];
        rest_expected += expected[i];
        if (rest_expected >= 10.0) {
            chi2 +=
                (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
            rest_seen = rest_expected = 0.0;
            df++;
        }
    }
    assert_true(df >= 2);
    double v = 2.0 / (9.0 * df);
    return (cbrt(chi2 / df) - (1.0 - v)) / sqrt(v);
}

static void the_same_seed_gives_the_same_draws(void **state)
{
    (void)state;
    struct random a, b, other;
    random_init(&a, 7, 1);
    random_init(&b, 7, 1);
    random_init(&other, 7, 2);
    int n_equal = 0;
    for (int i = 0; i < 1000; i++) {
        double normal = random_normal(&a);
        assert_true(normal == random_normal(&b));
        assert_int_equal(random_poisson(&a, 0.1 * i), random_poisson(&b, 0.1 * i));
        n_equal += random_normal(&other) == normal;
    }
    assert_int_equal(n_equal, 0);
    /* the state is all there is: a copy goes on alike */
    struct random copy = a;
    assert_true(random_normal(&copy) == random_normal(&a));
    /* splitmix64's published sequence for state 1234567 */
    struct random known = {1234567};
    assert_true(random_u64(&known) == 6457827717110365317u);
    assert_true(random_u64(&known) == 3203168211198807973u);
}

static void uniform_and_below_are_flat(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, seed_of_run(), 1);
    double seen[2][60] = {{0}}, expected[60];
    for (int i = 0; i < 60; i++)
        expected[i] = N_DRAWS / 60.0;
    for (int i = 0; i < N_DRAWS; i++) {
        double u = random_uniform(&random);
        assert_true(u >= 0.0 && u < 1.0);
        seen[0][(int)(u * 60.0)]++;
        uint32_t k = random_below(&random, 60);
        assert_in_range(k, 0, 59);
        seen[1][k]++;
    }
    for (int k = 0; k < 2; k++) {
        double z = chi_square_z(seen[k], expected, 60);
        print_message("flat %d: z %.2f\n", k, z);
        assert_true(fabs(z) < 4.0);
    }
    /* where 2^32 is no multiple of n, some results would come twice as often */
    double thirds[3] = {0}, equal[3] = {N_DRAWS / 3.0, N_DRAWS / 3.0, N_DRAWS / 3.0};
    for (int i = 0; i < N_DRAWS; i++)
        thirds[random_below(&random, 3u << 30) % 3]++;
    assert_true(fabs(chi_square_z(thirds, equal, 3)) < 4.0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(random_below(&random, 1), 0);
        assert_int_equal(random_below(&random, 0), 0);
    }
}

static void normal_follows_its_law(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, seed_of_run(), 2);
    enum { N_CELLS = 80 };
    double seen[N_CELLS] = {0}, expected[N_CELLS], moment[5] = {0};
    double previous = 0.0, lag = 0.0;
    for (int i = 0; i < N_CELLS; i++) {
        double low = i == 0 ? (double)-INFINITY : -4.0 + 0.1 * i;
        double high = i == N_CELLS - 1 ? (double)INFINITY : -4.0 + 0.1 * (i + 1);
        expected[i] = N_DRAWS * 0.5 * (erf(high / sqrt(2.0)) - erf(low / sqrt(2.0)));
    }
    for (int i = 0; i < N_DRAWS; i++) {
        double x = random_normal(&random);
        double cell = floor((x + 4.0) * 10.0);
        seen[(int)fmin(fmax(cell, 0.0), N_CELLS - 1.0)]++;
        for (int m = 1; m < 5; m++)
            moment[m] += pow(x, m) / N_DRAWS;
        lag += x * previous / N_DRAWS;
        previous = x;
    }
    double z = chi_square_z(seen, expected, N_CELLS), se = 1.0 / sqrt(N_DRAWS);
    print_message(
        "normal: mean %.4f variance %.4f third %.4f fourth %.4f lag %.4f z %.2f\n",
        moment[1], moment[2], moment[3], moment[4], lag, z);
    assert_true(fabs(z) < 4.0);
    assert_true(fabs(moment[1]) < 4.0 * se);
    assert_true(fabs(moment[2] - 1.0) < 4.0 * sqrt(2.0) * se);
    assert_true(fabs(moment[3]) < 4.0 * sqrt(15.0) * se);
    assert_true(fabs(moment[4] - 3.0) < 4.0 * sqrt(96.0) * se);
    assert_true(fabs(lag) < 4.0 * se);
}

static void poisson_follows_its_law(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, seed_of_run(), 3);
    const double means[] = {0.05, 0.7, 3.0, 9.99, 10.0, 12.0, 40.0, 400.0, 1e5};
    for (size_t m = 0; m < sizeof means / sizeof *means; m++) {
        double mean = means[m];
        enum { N_CELLS = 4001 };
        static double seen[N_CELLS], expected[N_CELLS];
        memset(seen, 0, sizeof seen);
        double first = fmax(0.0, floor(mean) - 2000.0), sum = 0.0, sum2 = 0.0;
        for (int i = 0; i < N_DRAWS; i++) {
            double k = random_poisson(&random, mean);
            sum += k - mean;
            sum2 += (k - mean) * (k - mean);
            seen[(int)fmin(fmax(k - first, 0.0), N_CELLS - 1.0)]++;
        }
        for (int i = 0; i < N_CELLS; i++) {
            double k = first + i;
            expected[i] = N_DRAWS * exp(k * log(mean) - mean - lgamma(k + 1.0));
        }
        double z = chi_square_z(seen, expected, N_CELLS);
        double z_mean = sum / N_DRAWS / sqrt(mean / N_DRAWS);
        double z_variance =
            (sum2 / N_DRAWS - mean) / sqrt((mean + 2.0 * mean * mean) / N_DRAWS);
        print_message("Poisson %g: z of mean %.2f, variance %.2f, law %.2f\n", mean,
                      z_mean, z_variance, z);
        assert_true(fabs(z) < 4.0 && fabs(z_mean) < 4.0 && fabs(z_variance) < 4.0);
    }
    assert_int_equal(random_poisson(&random, 0.0), 0);
    assert_int_equal(random_poisson(&random, -1.0), 0);
    assert_int_equal(random_poisson(&random, (double)NAN), 0);
    assert_int_equal(random_poisson(&random, (double)INFINITY), UINT32_MAX);
    assert_true(random_poisson(&random, 3.9e9) > 3800000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_draws),
        cmocka_unit_test(uniform_and_below_are_flat),
        cmocka_unit_test(normal_follows_its_law),
        cmocka_unit_test(poisson_follows_its_law),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
