#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/factor.h"
#include "models/glm.h"
#include "models/info.h"
#include "models/ops.h"
#include "shared.h"

enum { D = 23, N_TRIALS = 600, N_CANDIDATES = 40 };
#define PRIOR_VARIANCE 0.5

static double design[N_TRIALS][D], counts[N_TRIALS], candidates[N_CANDIDATES][D];

/* The posterior in coordinates where the prior is white: w = sqrt(1/2) z. */
static float mean[D], factor[D * (D + 1) / 2];

static void read_array(const char *name, double *to, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "fixtures/glm/%s.npy", name);
    struct npy npy = shared_open(path);
    assert_int_equal(npy.n, n);
    for (size_t i = 0; i < n; i++)
        to[i] = npy_get(&npy, i);
    npy_close(&npy);
}

static void whiten(const double *row, float *phi)
{
    for (int i = 0; i < D; i++)
        phi[i] = (float)(sqrt(PRIOR_VARIANCE) * row[i]);
}

static void learn(int t)
{
    float phi[D], f[D], v[D];
    double curvature;
    whiten(design[t], phi);
    factor_project(factor, D, phi, f);
    double a =
        glm_mode((double)ops_dot(D, mean, phi), ops_norm2(D, f), counts[t], &curvature);
    factor_observe(factor, D, 1.0F, f, curvature, v);
    ops_add(D, (float)a, v, mean);
}

static double covariance(int i, int j)
{
    double sum = 0.0;
    for (int k = i > j ? i : j; k < D; k++)
        sum += (double)factor[k * (k + 1) / 2 + i] * (double)factor[k * (k + 1) / 2 + j];
    return PRIOR_VARIANCE * sum;
}

static void compare_posterior(int n_trials)
{
    char name[32];
    double mu[D], c[D][D], worst_mean = 0.0, worst_c = 0.0;
    snprintf(name, sizeof name, "lewi_mu_t%d", n_trials);
    read_array(name, mu, D);
    snprintf(name, sizeof name, "lewi_C_t%d", n_trials);
    read_array(name, c[0], (size_t)D * D);
    for (int i = 0; i < D; i++) {
        double own = sqrt(PRIOR_VARIANCE) * (double)mean[i];
        worst_mean = fmax(worst_mean, fabs(own - mu[i]) / sqrt(c[i][i]));
        for (int j = 0; j < D; j++)
            worst_c =
                fmax(worst_c, fabs(covariance(i, j) - c[i][j]) / sqrt(c[i][i] * c[j][j]));
    }
    print_message("%d trials: mean off by %.2g sd, covariance by %.2g of its sds\n",
                  n_trials, worst_mean, worst_c);
    assert_true(worst_mean < 2e-5 && worst_c < 2e-5);
}

static void posterior_is_lewis(void **state)
{
    (void)state;
    memset(mean, 0, sizeof mean);
    factor_init(factor, D);
    for (int t = 0; t < N_TRIALS; t++) {
        learn(t);
        if (t + 1 == 1 || t + 1 == 10 || t + 1 == 100 || t + 1 == 600)
            compare_posterior(t + 1);
    }
}

static void information_is_the_exact_one(void **state)
{
    (void)state;
    double exact[N_CANDIDATES], linear[N_CANDIDATES], worst = 0.0;
    read_array("infomax_exact", exact, N_CANDIDATES);
    read_array("infomax_linear", linear, N_CANDIDATES);
    for (int i = 0; i < N_CANDIDATES; i++) {
        float phi[D], f[D];
        double unused;
        whiten(candidates[i], phi);
        factor_project(factor, D, phi, f);
        double info = info_expected((double)ops_dot(D, mean, phi), ops_norm2(D, f),
                                    &unused, &unused);
        worst = fmax(worst, fabs(info / exact[i] - 1.0));
        /* the first order of the same, which does not saturate */
        assert_true(info < 0.5 * linear[i] * 1.0001);
    }
    print_message("information off by %.2g of it\n", worst);
    assert_true(worst < 1e-5);
}

/* One pass of rank-one updates against the batch's own mode and curvature (there with a
 * free bias, the last weight). */
static void one_pass_is_near_the_batch_fit(void **state)
{
    (void)state;
    double map[D], c[D][D], sum2 = 0.0;
    read_array("w_map", map, D);
    read_array("laplace_cov", c[0], (size_t)D * D);
    for (int i = 0; i < D - 1; i++) {
        double z = (sqrt(PRIOR_VARIANCE) * (double)mean[i] - map[i]) / sqrt(c[i][i]);
        sum2 += z * z / (D - 1);
        assert_true(fabs(log(covariance(i, i) / c[i][i])) < 0.2);
    }
    print_message("sequential against batch: rms difference %.2f posterior sd\n",
                  sqrt(sum2));
    assert_true(sqrt(sum2) < 0.5);
}

int main(void)
{
    read_array("design", design[0], (size_t)N_TRIALS * D);
    read_array("counts", counts, N_TRIALS);
    read_array("cand", candidates[0], (size_t)N_CANDIDATES * D);
    ops_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posterior_is_lewis),
        cmocka_unit_test(information_is_the_exact_one),
        cmocka_unit_test(one_pass_is_near_the_batch_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
