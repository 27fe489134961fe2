#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/factor.h"
#include "models/ops.h"
#include "models/random.h"

#define D_MAX 48

/* The same covariance, dense and in double. */
struct dense {
    int d;
    double c[D_MAX][D_MAX];
};

static void dense_init(struct dense *dense, int d)
{
    memset(dense, 0, sizeof *dense);
    dense->d = d;
    for (int i = 0; i < d; i++)
        dense->c[i][i] = 1.0;
}

/* C = scale2 C, then C -= D/(1+Ds) v v^T; v: (d) is C phi; returns s. */
static double dense_observe(struct dense *dense, double scale2, const float *phi,
                            double curvature, double *v)
{
    int d = dense->d;
    double s = 0.0;
    for (int i = 0; i < d; i++) {
        v[i] = 0.0;
        for (int j = 0; j < d; j++)
            v[i] += scale2 * dense->c[i][j] * (double)phi[j];
        s += v[i] * (double)phi[i];
    }
    double shrink = curvature / (1.0 + curvature * s);
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++)
            dense->c[i][j] = scale2 * dense->c[i][j] - shrink * v[i] * v[j];
    return s;
}

static double factor_element(const float *factor, int i, int j, int d)
{
    double sum = 0.0;
    for (int k = i > j ? i : j; k < d; k++)
        sum += (double)factor[k * (k + 1) / 2 + i] * (double)factor[k * (k + 1) / 2 + j];
    return sum;
}

/* Largest error of C in units of the standard deviations of row and column. */
static double worst_error(const float *factor, const struct dense *dense)
{
    double worst = 0.0;
    for (int i = 0; i < dense->d; i++)
        for (int j = 0; j <= i; j++)
            worst = fmax(worst,
                         fabs(factor_element(factor, i, j, dense->d) - dense->c[i][j]) /
                             sqrt(dense->c[i][i] * dense->c[j][j]));
    return worst;
}

static float new_factor[D_MAX * (D_MAX + 1) / 2 + 1];

static float *make_factor(int d)
{
    new_factor[factor_size(d)] = 77.0F; /* sentinel */
    factor_init(new_factor, d);
    return new_factor;
}

static void updates_are_those_of_a_dense_matrix(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 5, 0);
    for (int d = 1; d <= D_MAX; d++) {
        struct dense dense;
        dense_init(&dense, d);
        float *factor = make_factor(d), phi[D_MAX], f[D_MAX + 1], v[D_MAX + 1];
        f[d] = v[d] = 77.0F;
        for (int t = 0; t < 60; t++) {
            double curvature = t % 7 == 0 ? 0.0 : exp(3.0 * random_normal(&random));
            double forgetting = t % 3 == 0 ? 0.95 : 1.0, wide[D_MAX];
            float scale = (float)(1.0 / sqrt(forgetting));
            for (int i = 0; i < d; i++)
                phi[i] = (float)random_normal(&random);
            if (t % 5 == 0) { /* one coordinate alone */
                int k = (int)random_below(&random, (uint32_t)d);
                memset(phi, 0, sizeof phi);
                phi[k] = 1.0F;
                factor_project_one(factor, d, k, f);
            } else {
                factor_project(factor, d, phi, f);
            }
            for (int i = 0; i < d; i++)
                f[i] *= scale;
            double s = dense_observe(&dense, 1.0 / forgetting, phi, curvature, wide);
            assert_true(fabs(ops_norm2(d, f) - s) <= 1e-4 * s);
            factor_observe(factor, d, scale, f, curvature, v);
            for (int i = 0; i < d; i++)
                assert_true(fabs((double)v[i] - wide[i]) <=
                            1e-4 * sqrt(s * dense.c[i][i]) + 1e-5 * sqrt(s));
        }
        if (worst_error(factor, &dense) > 1e-4)
            fail_msg("d %d: error %g", d, worst_error(factor, &dense));
        assert_true(factor[factor_size(d)] == 77.0F && f[d] == 77.0F && v[d] == 77.0F);
        factor_project(factor, d, phi, f);
        factor_expand(factor, d, f, v);
        for (int i = 0; i < d; i++) {
            double sum = 0.0;
            for (int j = 0; j < d; j++)
                sum += dense.c[i][j] * (double)phi[j];
            assert_true(fabs((double)v[i] - sum) <= 1e-3 * sqrt(dense.c[i][i]));
        }
    }
}

/* 300,000 trials of correlated features, as a smooth prior gives them: the scale of the
 * features falls over three decades, so C ends between 1e-5 and 1. */
static void long_run(void **state)
{
    (void)state;
    enum { D = 32 };
    struct random random;
    random_init(&random, 17, 0);
    struct dense dense;
    dense_init(&dense, D);
    float *factor = make_factor(D), phi[D], f[D], v[D];
    double wide[D], smallest = 1.0;
    for (int t = 1; t <= 300000; t++) {
        float common = (float)random_normal(&random);
        for (int i = 0; i < D; i++)
            phi[i] = (common + (float)random_normal(&random)) *
                     powf(10.0F, -3.0F * (float)i / D);
        double curvature = exp(random_normal(&random) - 1.0);
        factor_project(factor, D, phi, f);
        factor_observe(factor, D, 1.0F, f, curvature, v);
        dense_observe(&dense, 1.0, phi, curvature, wide);
        if (t % 100000 == 0)
            print_message("after %d updates: error %.2g\n", t,
                          worst_error(factor, &dense));
    }
    for (int j = 0; j < D; j++) {
        assert_true(factor[j * (j + 1) / 2 + j] > 0.0F);
        smallest = fmin(smallest, dense.c[j][j]);
    }
    print_message("smallest variance %.2g\n", smallest);
    assert_true(smallest < 1e-5);
    assert_true(worst_error(factor, &dense) < 2e-3);
}

/* Enormous and tiny curvatures in turn on nearly the same feature. */
static void it_stays_positive_definite(void **state)
{
    (void)state;
    enum { D = 16 };
    struct random random;
    random_init(&random, 3, 0);
    float *factor = make_factor(D), phi[D], f[D], v[D];
    for (int t = 0; t < 200000; t++) {
        for (int i = 0; i < D; i++)
            phi[i] = 1.0F + 1e-3F * (float)random_normal(&random);
        factor_project(factor, D, phi, f);
        factor_observe(factor, D, 1.0F, f, t % 2 ? 1e12 : 1e-12, v);
    }
    for (int j = 0; j < D; j++)
        assert_true(factor[j * (j + 1) / 2 + j] > 0.0F);
    for (size_t i = 0; i < factor_size(D); i++)
        assert_true(isfinite(factor[i]));
}

int main(void)
{
    ops_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_are_those_of_a_dense_matrix),
        cmocka_unit_test(long_run),
        cmocka_unit_test(it_stays_positive_definite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
