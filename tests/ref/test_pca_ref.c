/* Principal components against float64 NumPy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "models/pca.h"

#define TOLERANCE 1e-10

static double *load(const char *name, size_t n)
{
    return fixture_named("pca", name, n);
}

static void compare(const char *name, const double *got, size_t n)
{
    fixture_compare("pca", name, got, n, TOLERANCE);
}

enum { ROWS = 400, N = 30, KEPT = 8 };

static void components_agree(void **state)
{
    (void)state;
    double *x = load("data", ROWS * N),
           *work = fixture_work(pca_work(N) * sizeof(double));
    double mean[N], component[KEPT * N], variance[KEPT];
    static double score[ROWS * KEPT];
    assert_int_equal(pca_fit(ROWS, N, x, KEPT, mean, component, variance, work), 0);
    for (int t = 0; t < ROWS; t++)
        pca_scores(N, KEPT, mean, component, x + t * N, score + t * KEPT);
    compare("mean", mean, N);
    compare("components", component, KEPT * N);
    compare("variance", variance, KEPT);
    compare("scores", score, ROWS * KEPT);
    free(x);
    free(work);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(components_agree),
    };
    fixture_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
