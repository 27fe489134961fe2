#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "models/info.h"

/* The integral by brute force. */
static double exact(double mean, double s)
{
    double sum = 0.0, step = 1e-3;
    for (double t = -10.0; t <= 10.0; t += step) {
        double x = mean + sqrt(s) * t + log(s);
        sum += step * exp(-0.5 * t * t) * (fmax(x, 0.0) + log1p(exp(-fabs(x))));
    }
    return 0.5 * sum / sqrt(2.0 * acos(-1.0));
}

static void it_is_the_integral(void **state)
{
    (void)state;
    const double means[] = {-20.0, -3.0, 0.0, 2.0, 15.0, 300.0};
    const double variances[] = {1e-9, 1e-3, 0.3, 3.0, 12.0};
    double d_mean, d_s, worst = 0.0;
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 5; j++) {
            double law = exact(means[i], variances[j]);
            double info = info_expected(means[i], variances[j], &d_mean, &d_s);
            assert_true(isfinite(d_mean) && isfinite(d_s));
            worst = fmax(worst, fabs(info - law) / (law + 1e-3));
        }
    print_message("worst error, relative above a thousandth of a nat, %.2g\n", worst);
    assert_true(worst < 1e-6);
}

static void its_derivatives_are_right(void **state)
{
    (void)state;
    for (double mean = -12.0; mean < 40.0; mean += 1.7)
        for (double s = 1e-6; s < 50.0; s *= 3.0) {
            double d_mean, d_s, unused, h = 1e-4;
            info_expected(mean, s, &d_mean, &d_s);
            double by_mean = (info_expected(mean + h, s, &unused, &unused) -
                              info_expected(mean - h, s, &unused, &unused)) /
                             (2.0 * h);
            double by_s = (info_expected(mean, s * (1.0 + h), &unused, &unused) -
                           info_expected(mean, s * (1.0 - h), &unused, &unused)) /
                          (2.0 * h * s);
            assert_true(fabs(d_mean - by_mean) <= 1e-6 * d_mean + 1e-12);
            assert_true(fabs(d_s - by_s) <= 1e-6 * d_s + 1e-12);
            assert_true(d_mean > 0.0 && d_s > 0.0);
        }
}

static void it_saturates_and_survives_the_edges(void **state)
{
    (void)state;
    double d_mean, d_s;
    double strong = info_expected(50.0, 1.0, &d_mean, &d_s);
    assert_true(fabs(strong - 25.0) < 1e-6 && fabs(d_mean - 0.5) < 1e-6);
    assert_true(info_expected(0.0, 0.0, &d_mean, &d_s) < 1e-20);
    assert_true(fabs(d_s - 0.5) < 1e-6);
    assert_true(isfinite(info_expected(1e6, 1e6, &d_mean, &d_s)));
    assert_true(info_expected(-1e6, 1.0, &d_mean, &d_s) == 0.0 && isfinite(d_s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_integral),
        cmocka_unit_test(its_derivatives_are_right),
        cmocka_unit_test(it_saturates_and_survives_the_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
