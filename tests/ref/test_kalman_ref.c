/* The Kalman filter against float64 NumPy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "models/kalman.h"

#define TOLERANCE 1e-10

static double *load(const char *name, size_t n)
{
    return fixture_named("kalman", name, n);
}

static void compare(const char *name, const double *got, size_t n)
{
    fixture_compare("kalman", name, got, n, TOLERANCE);
}

enum { STATE = 3, OBSERVED = 10, STEPS = 200 };

struct reference {
    struct kalman_system system;
    double *a, *c, *q, *r, *mean, *cov, *y, *filtered;
};

static struct reference reference_load(void)
{
    struct reference ref = {.a = load("A", STATE * STATE),
                            .c = load("C", OBSERVED * STATE),
                            .q = load("Q", STATE * STATE),
                            .r = load("R", OBSERVED * OBSERVED),
                            .mean = load("x0", STATE),
                            .cov = load("P0", STATE * STATE),
                            .y = load("y", STEPS * OBSERVED),
                            .filtered = load("filtered", STEPS * STATE)};
    ref.system = (struct kalman_system){STATE, OBSERVED, ref.a, ref.c, ref.q, ref.r};
    return ref;
}

static void reference_free(struct reference *ref)
{
    double *all[] = {ref->a,    ref->c,   ref->q, ref->r,
                     ref->mean, ref->cov, ref->y, ref->filtered};
    for (int i = 0; i < 8; i++)
        free(all[i]);
}

static void the_filter_agrees(void **state)
{
    (void)state;
    struct reference ref = reference_load();
    void *mem = malloc(kalman_size(&ref.system));
    struct kalman *kalman = kalman_init(mem, &ref.system, ref.mean, ref.cov);
    double loglik = 0.0, got[STEPS * STATE];
    for (int t = 0; t < STEPS; t++) {
        loglik += kalman_step(kalman, ref.y + t * OBSERVED);
        memcpy(got + t * STATE, kalman->mean, STATE * sizeof(double));
    }
    compare("filtered", got, STEPS * STATE);
    compare("P_last", kalman->cov, STATE * STATE);
    compare("loglik", &loglik, 1);
    free(mem);
    reference_free(&ref);
}

static void the_steady_gain_agrees_and_follows_as_well(void **state)
{
    (void)state;
    struct reference ref = reference_load();
    void *mem = malloc(kalman_size(&ref.system));
    struct kalman *kalman = kalman_init(mem, &ref.system, ref.mean, ref.cov);
    double gain[STATE * OBSERVED], expected[STATE], worst = 0.0;
    assert_int_equal(kalman_settle(kalman, gain), 0);
    compare("K_steady", gain, STATE * OBSERVED);
    compare("P_last", kalman->cov, STATE * STATE);
    for (int k = 0; k < STATE; k++) { /* the first observation: a correction only */
        expected[k] = ref.mean[k];
        for (int i = 0; i < OBSERVED; i++) {
            double surprise = ref.y[i];
            for (int j = 0; j < STATE; j++)
                surprise -= ref.c[i * STATE + j] * ref.mean[j];
            expected[k] += gain[k * OBSERVED + i] * surprise;
        }
    }
    for (int t = 0; t < STEPS; t++) {
        kalman_follow(kalman, gain, ref.y + t * OBSERVED);
        for (int k = 0; k < STATE && t == 0; k++)
            assert_true(fabs(kalman->mean[k] - expected[k]) <= TOLERANCE);
        for (int k = 0; k < STATE && t >= STEPS / 2; k++)
            worst = fmax(worst, fabs(kalman->mean[k] - ref.filtered[t * STATE + k]));
    }
    print_message("steady against full filter, second half: %.1e\n", worst);
    assert_true(worst <= TOLERANCE);
    free(mem);
    reference_free(&ref);
}

/* As a system that does not have these rows of C. */
static void what_was_not_observed_is_left_out(void **state)
{
    (void)state;
    enum { FEWER = OBSERVED - 2 };
    struct reference ref = reference_load();
    double c[FEWER * STATE], r[FEWER * FEWER], y_all[OBSERVED], y[FEWER];
    for (int i = 0; i < OBSERVED * OBSERVED; i++) /* noise that observations share */
        ref.r[i] += 0.1 + 0.01 * (i / OBSERVED) * (i % OBSERVED);
    int seen[FEWER] = {0, 1, 3, 4, 5, 6, 7, 8}; /* not 2 and 9 */
    for (int i = 0; i < FEWER; i++) {
        memcpy(c + i * STATE, ref.c + seen[i] * STATE, STATE * sizeof(double));
        for (int j = 0; j < FEWER; j++)
            r[i * FEWER + j] = ref.r[seen[i] * OBSERVED + seen[j]];
    }
    struct kalman_system fewer = {STATE, FEWER, ref.a, c, ref.q, r};
    void *mem_all = malloc(kalman_size(&ref.system)), *mem = malloc(kalman_size(&fewer));
    struct kalman *all = kalman_init(mem_all, &ref.system, ref.mean, ref.cov);
    struct kalman *some = kalman_init(mem, &fewer, ref.mean, ref.cov);
    for (int t = 0; t < STEPS; t++) {
        memcpy(y_all, ref.y + t * OBSERVED, sizeof y_all);
        y_all[2] = y_all[9] = nan("");
        for (int i = 0; i < FEWER; i++)
            y[i] = y_all[seen[i]];
        assert_true(fabs(kalman_step(all, y_all) - kalman_step(some, y)) < TOLERANCE);
        for (int k = 0; k < STATE; k++)
            assert_true(fabs(all->mean[k] - some->mean[k]) < TOLERANCE);
    }
    for (int i = 0; i < OBSERVED; i++)
        y_all[i] = nan("");
    assert_true(kalman_step(all, y_all) == 0.0); /* nothing seen: a prediction only */
    free(mem_all);
    free(mem);
    reference_free(&ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_filter_agrees),
        cmocka_unit_test(the_steady_gain_agrees_and_follows_as_well),
        cmocka_unit_test(what_was_not_observed_is_left_out),
    };
    fixture_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
