/* Every metric against arrays that the field's own packages computed in float64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "fixture.h"
#include "models/metrics.h"

#define N_IMAGES  30
#define N_REPEATS 10
#define N_UNITS   12
#define TOLERANCE 1e-9

static double *load(const char *name, size_t n)
{
    return fixture_named("metrics", name, n);
}

static void compare(const char *name, const double *got, size_t n)
{
    fixture_compare("metrics", name, got, n, TOLERANCE);
}

/* Responses and prediction of one unit, out of [image, repeat, unit]. */
static void one_unit(const double *responses, const double *predictions, int unit,
                     double *response, double *prediction)
{
    for (int k = 0; k < N_IMAGES * N_REPEATS; k++)
        response[k] = responses[k * N_UNITS + unit];
    for (int i = 0; i < N_IMAGES; i++)
        prediction[i] = predictions[i * N_UNITS + unit];
}

enum {
    SINGLE,
    AVERAGE,
    FEV,
    FEVE,
    ORACLE,
    CONSERVATIVE,
    CC_ABS,
    CC_MAX,
    CC_NORM,
    SNR,
    N
};
static const char *const names[N] = {
    "single_trial_corr",   "corr_to_average", "fev",    "feve",    "oracle_jackknife",
    "oracle_conservative", "cc_abs",          "cc_max", "cc_norm", "snr"};

static void metrics_of_units_agree(void **state)
{
    (void)state;
    double *responses = load("responses", N_IMAGES * N_REPEATS * N_UNITS);
    double *predictions = load("predictions", N_IMAGES * N_UNITS);
    double got[N][N_UNITS], response[N_IMAGES * N_REPEATS], p[N_IMAGES];
    struct metrics_trials trials = {N_IMAGES, N_REPEATS, response};
    for (int u = 0; u < N_UNITS; u++) {
        one_unit(responses, predictions, u, response, p);
        got[SINGLE][u] = metrics_corr_single(&trials, p);
        got[AVERAGE][u] = metrics_corr_average(&trials, p, METRICS_EPS);
        got[FEV][u] = metrics_fev(&trials);
        got[FEVE][u] = metrics_feve(&trials, p);
        got[ORACLE][u] = metrics_oracle(&trials);
        got[CONSERVATIVE][u] = metrics_oracle_conservative(&trials);
        got[CC_ABS][u] = metrics_corr_average(&trials, p, 0.0);
        got[CC_MAX][u] = metrics_cc_max(&trials);
        got[CC_NORM][u] = metrics_cc_norm(&trials, p);
        got[SNR][u] = metrics_snr(&trials);
    }
    for (int k = 0; k < N; k++)
        compare(names[k], got[k], N_UNITS);
    compare("explainable_var", got[FEV], N_UNITS);
    double slope = metrics_fraction_oracle(N_UNITS, got[SINGLE], got[ORACLE]);
    compare("fraction_oracle", &slope, 1);
    free(responses);
    free(predictions);
}

static void metrics_of_populations_agree(void **state)
{
    (void)state;
    static double mean[N_IMAGES * N_UNITS], data[N_IMAGES * N_IMAGES];
    static double model[N_IMAGES * N_IMAGES], work[2 * N_IMAGES * (N_IMAGES - 1)];
    double *responses = load("responses", N_IMAGES * N_REPEATS * N_UNITS);
    double *predictions = load("predictions", N_IMAGES * N_UNITS);
    double response[N_IMAGES * N_REPEATS], p[N_IMAGES], average[N_IMAGES];
    struct metrics_trials trials = {N_IMAGES, N_REPEATS, response};
    for (int u = 0; u < N_UNITS; u++) {
        one_unit(responses, predictions, u, response, p);
        metrics_average(&trials, average);
        for (int i = 0; i < N_IMAGES; i++)
            mean[i * N_UNITS + u] = average[i];
    }
    metrics_rdm(N_IMAGES, N_UNITS, mean, data);
    metrics_rdm(N_IMAGES, N_UNITS, predictions, model);
    compare("rdm_data", data, N_IMAGES * N_IMAGES);
    compare("rdm_model", model, N_IMAGES * N_IMAGES);
    double rsa = metrics_rsa_pearson(N_IMAGES, data, model);
    compare("rsa_pearson", &rsa, 1);
    rsa = metrics_rsa_spearman(N_IMAGES, data, model, work);
    compare("rsa_spearman", &rsa, 1);
    double cka = metrics_cka(N_IMAGES, N_UNITS, mean, N_UNITS, predictions, work);
    compare("linear_cka", &cka, 1);
    free(responses);
    free(predictions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_of_units_agree),
        cmocka_unit_test(metrics_of_populations_agree),
    };
    fixture_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
