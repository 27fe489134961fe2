#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "models/prior.h"

struct basis {
    int n_px, n_modes;
    float *a; /* (n_modes, n_px) */
};

static struct basis make_basis(const struct prior *prior)
{
    struct basis basis = {.n_px = prior->n_frames * prior->height * prior->width,
                          .n_modes = prior_modes(prior)};
    size_t n = (size_t)basis.n_modes * (size_t)basis.n_px;
    basis.a = malloc((n + 1) * sizeof *basis.a);
    basis.a[n] = 77.0F;
    prior_basis(prior, basis.a);
    assert_true(basis.a[n] == 77.0F);
    return basis;
}

/* Element of A^T A. */
static double covariance(const struct basis *basis, int i, int j)
{
    double sum = 0.0;
    for (int m = 0; m < basis->n_modes; m++)
        sum +=
            (double)basis->a[m * basis->n_px + i] * (double)basis->a[m * basis->n_px + j];
    return sum;
}

static void without_smoothing_it_is_white(void **state)
{
    (void)state;
    struct prior prior = {2, 3, 4, 0.0, 0.0, 2.0};
    assert_int_equal(prior_modes(&prior), 24);
    struct basis basis = make_basis(&prior);
    for (int i = 0; i < 24; i++)
        for (int j = 0; j < 24; j++)
            assert_true(fabs(covariance(&basis, i, j) - (i == j ? 4.0 / 24.0 : 0.0)) <
                        1e-6);
    free(basis.a);
}

static void its_trace_is_the_variance_asked_for(void **state)
{
    (void)state;
    const struct prior priors[] = {
        {1, 16, 16, 1.5, 0.0, 1.0},
        {24, 1, 31, 1.5, 2.0, 0.5},
        {5, 7, 3, 3.0, 1.0, 3.0},
    };
    for (size_t k = 0; k < sizeof priors / sizeof *priors; k++) {
        const struct prior *prior = &priors[k];
        struct basis basis = make_basis(prior);
        double trace = 0.0;
        for (int i = 0; i < basis.n_px; i++)
            trace += covariance(&basis, i, i);
        print_message("%d modes of %d\n", basis.n_modes, basis.n_px);
        assert_true(fabs(trace - prior->prior_sd * prior->prior_sd) < 1e-5 * trace);
        assert_true(basis.n_modes < basis.n_px);
        free(basis.a);
    }
}

/* Away from the edges: correlation exp(-r^2 / 2 l^2), in space and time. */
static void its_correlation_is_gaussian(void **state)
{
    (void)state;
    struct prior prior = {16, 24, 24, 1.7, 2.2, 1.0};
    struct basis basis = make_basis(&prior);
    int centre = (8 * 24 + 12) * 24 + 12;
    double variance = covariance(&basis, centre, centre), worst = 0.0;
    for (int dt = -2; dt <= 2; dt++)
        for (int dy = -4; dy <= 4; dy++)
            for (int dx = -4; dx <= 4; dx++) {
                double r = covariance(&basis, centre, centre + (dt * 24 + dy) * 24 + dx) /
                           variance;
                double law = exp(
                    -0.5 * ((dy * dy + dx * dx) / (1.7 * 1.7) + dt * dt / (2.2 * 2.2)));
                worst = fmax(worst, fabs(r - law));
            }
    print_message("worst deviation of the correlation %.4f\n", worst);
    assert_true(worst < 0.015);
    free(basis.a);
}

/* The edge mirrors: there the images of a pixel add up. */
static void edges_mirror(void **state)
{
    (void)state;
    struct prior prior = {1, 1, 40, 2.0, 0.0, 1.0};
    struct basis basis = make_basis(&prior);
    double inside = covariance(&basis, 20, 20);
    for (int i = 0; i < 6; i++) {
        double r = covariance(&basis, 0, i) / inside;
        double law = exp(-0.125 * i * i) + exp(-0.125 * (i + 1) * (i + 1));
        assert_true(fabs(r - law) < 0.03);
    }
    free(basis.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_smoothing_it_is_white),
        cmocka_unit_test(its_trace_is_the_variance_asked_for),
        cmocka_unit_test(its_correlation_is_gaussian),
        cmocka_unit_test(edges_mirror),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
