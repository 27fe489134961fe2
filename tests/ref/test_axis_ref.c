/* The axis model and linear maps against float64 NumPy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "models/axis.h"

#define TOLERANCE 1e-10

static double *load(const char *name, size_t n)
{
    return fixture_named("axis", name, n);
}

static void compare(const char *name, const double *got, size_t n)
{
    fixture_compare("axis", name, got, n, TOLERANCE);
}

enum { ROWS = 500, N = 50, UNITS = 20 };

static void axes_and_tuning_agree(void **state)
{
    (void)state;
    double *feature = load("features", ROWS * N),
           *response = load("responses", ROWS * UNITS);
    static double axis[UNITS * N], projection[ROWS * UNITS], cubic[UNITS * 4];
    double along[ROWS], of_unit[ROWS];
    axis_average(ROWS, N, UNITS, feature, response, axis);
    for (int u = 0; u < UNITS; u++) {
        for (int t = 0; t < ROWS; t++) {
            along[t] = axis_project(N, feature + t * N, axis + u * N);
            of_unit[t] = response[t * UNITS + u];
            projection[t * UNITS + u] = along[t];
        }
        assert_int_equal(axis_fit_cubic(ROWS, along, of_unit, cubic + u * 4), 0);
        const double *c = cubic + u * 4;
        assert_true(fabs(axis_cubic(c, 2.0) - (8 * c[0] + 4 * c[1] + 2 * c[2] + c[3])) <
                    TOLERANCE);
    }
    compare("sta", axis, UNITS * N);
    compare("projection", projection, ROWS * UNITS);
    compare("cubic", cubic, UNITS * 4);
    free(feature);
    free(response);
}

static void linear_maps_agree(void **state)
{
    (void)state;
    double *feature = load("features", ROWS * N),
           *response = load("responses", ROWS * UNITS);
    double *work = fixture_work((ROWS + N + 1) * (N + 1) * sizeof(double));
    static double encode[(N + 1) * UNITS], decode[(UNITS + 1) * N];
    double y[N], expected;
    assert_int_equal(axis_fit_linear(ROWS, N, UNITS, feature, response, encode, work), 0);
    assert_int_equal(axis_fit_linear(ROWS, UNITS, N, response, feature, decode, work), 0);
    compare("encode_W", encode, (N + 1) * UNITS);
    compare("decode_W", decode, (UNITS + 1) * N);
    axis_linear(UNITS, N, decode, response, y);
    for (int k = 0; k < N; k++) {
        expected = decode[UNITS * N + k];
        for (int u = 0; u < UNITS; u++)
            expected += response[u] * decode[u * N + k];
        assert_true(fabs(y[k] - expected) < TOLERANCE);
    }
    free(feature);
    free(response);
    free(work);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_and_tuning_agree),
        cmocka_unit_test(linear_maps_agree),
    };
    fixture_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
