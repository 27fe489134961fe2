#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/linalg.h"
#include "models/random.h"

#define N_SEEDS 50
#define N_MAX   24

static uint64_t seed_of_run(void)
{
    const char *text = getenv("EVOKE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void fill(struct random *random, int n, double *x)
{
    for (int i = 0; i < n; i++)
        x[i] = random_normal(random);
}

static int size(struct random *random)
{
    return 1 + (int)random_below(random, N_MAX);
}

/* Small whole numbers are exact in any order of summing. */
static void products_agree_with_their_definition(void **state)
{
    (void)state;
    uint64_t base = seed_of_run();
    for (uint64_t seed = base; seed < base + N_SEEDS; seed++) {
        struct random random;
        double a[N_MAX * N_MAX], b[N_MAX * N_MAX], c[3][N_MAX * N_MAX + 1];
        random_init(&random, seed, 0);
        int m = size(&random), k = size(&random), n = size(&random);
        for (int i = 0; i < N_MAX * N_MAX; i++) {
            a[i] = (double)random_below(&random, 21) - 10.0;
            b[i] = (double)random_below(&random, 21) - 10.0;
        }
        for (int i = 0; i < 3; i++)
            c[i][m * n] = 77.0;
        linalg_multiply(m, k, n, a, b, c[0]);
        linalg_multiply_bt(m, k, n, a, b, c[1]);
        linalg_multiply_at(m, k, n, a, b, c[2]);
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum[3] = {0};
                for (int l = 0; l < k; l++) {
                    sum[0] += a[i * k + l] * b[l * n + j];
                    sum[1] += a[i * k + l] * b[j * k + l];
                    sum[2] += a[l * m + i] * b[l * n + j];
                }
                for (int v = 0; v < 3; v++)
                    assert_true(c[v][i * n + j] == sum[v]);
            }
        }
        for (int i = 0; i < 3; i++)
            assert_true(c[i][m * n] == 77.0);
    }
}

static void solutions_solve(void **state)
{
    (void)state;
    uint64_t base = seed_of_run();
    for (uint64_t seed = base; seed < base + N_SEEDS; seed++) {
        struct random random;
        double root[N_MAX * N_MAX], a[N_MAX * N_MAX], l[N_MAX * N_MAX];
        double x[N_MAX * 3], b[N_MAX * 3];
        random_init(&random, seed, 1);
        int n = size(&random);
        fill(&random, n * n, root);
        fill(&random, n * 3, x);
        linalg_multiply_bt(n, n, n, root, root, a);
        for (int i = 0; i < n; i++)
            a[i * n + i] += 1.0;
        memcpy(l, a, (size_t)(n * n) * sizeof *a);
        linalg_multiply(n, n, 3, a, x, b);
        assert_int_equal(linalg_cholesky(n, l), 0);
        linalg_solve(n, l, 3, b);
        for (int i = 0; i < n * 3; i++)
            assert_true(fabs(b[i] - x[i]) < 1e-9);
        a[n * n - 1] = -1.0; /* not positive definite */
        assert_int_equal(linalg_cholesky(n, a), -EDOM);
        a[0] = nan("");
        assert_int_equal(linalg_cholesky(n, a), -EDOM);
    }
}

static void least_squares_leave_a_residual_at_right_angles(void **state)
{
    (void)state;
    uint64_t base = seed_of_run();
    for (uint64_t seed = base; seed < base + N_SEEDS; seed++) {
        enum { ROWS = 60, M = 2 };
        struct random random;
        double x[ROWS * N_MAX], y[ROWS * M], fit[ROWS * M], w[N_MAX * M];
        double normal[N_MAX * M], work[N_MAX * N_MAX];
        random_init(&random, seed, 2);
        int n = size(&random);
        fill(&random, ROWS * n, x);
        fill(&random, ROWS * M, y);
        assert_int_equal(linalg_least_squares(ROWS, n, M, x, y, w, work), 0);
        linalg_multiply(ROWS, n, M, x, w, fit);
        for (int i = 0; i < ROWS * M; i++)
            y[i] -= fit[i];
        linalg_multiply_at(n, ROWS, M, x, y, normal);
        for (int i = 0; i < n * M; i++)
            assert_true(fabs(normal[i]) < 1e-10);
        for (int t = 0; t < ROWS; t++)
            x[t * n] = 0.0;
        assert_int_equal(linalg_least_squares(ROWS, n, M, x, y, w, work), -EDOM);
    }
}

static void eigenvectors_make_the_matrix_again(void **state)
{
    (void)state;
    uint64_t base = seed_of_run();
    for (uint64_t seed = base; seed < base + N_SEEDS; seed++) {
        struct random random;
        double a[N_MAX * N_MAX], v[N_MAX * N_MAX], value[N_MAX], work[N_MAX * 40];
        random_init(&random, seed, 3);
        int n = size(&random);
        assert_true(linalg_eigen_work(n) <= sizeof work / sizeof *work);
        for (int i = 0; i < n; i++)
            for (int j = 0; j <= i; j++)
                a[i * n + j] = a[j * n + i] = random_normal(&random);
        memcpy(v, a, (size_t)(n * n) * sizeof *a);
        assert_int_equal(linalg_eigen(n, v, value, work), 0);
        for (int i = 0; i < n; i++) {
            assert_true(i == 0 || value[i - 1] >= value[i]);
            for (int j = 0; j < n; j++) {
                double again = 0.0, angle = 0.0;
                for (int k = 0; k < n; k++) {
                    again += value[k] * v[k * n + i] * v[k * n + j];
                    angle += v[i * n + k] * v[j * n + k];
                }
                assert_true(fabs(again - a[i * n + j]) < 1e-11);
                assert_true(fabs(angle - (i == j)) < 1e-12);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_agree_with_their_definition),
        cmocka_unit_test(solutions_solve),
        cmocka_unit_test(least_squares_leave_a_residual_at_right_angles),
        cmocka_unit_test(eigenvectors_make_the_matrix_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
