/* Sparse coding against float64 NumPy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "models/sparse.h"

#define TOLERANCE 1e-10

static double *load(const char *name, size_t n)
{
    return fixture_named("sparse", name, n);
}

static void compare(const char *name, const double *got, size_t n)
{
    fixture_compare("sparse", name, got, n, TOLERANCE);
}

enum { PIXELS = 64, ATOMS = 128, IMAGES = 5, STEPS = 200, LCA_STEPS = 300 };
#define PENALTY 0.1
#define SIGMA   0.316
#define LAMBDA  (0.14 * SIGMA)

static struct sparse sparse = {.n_pixels = PIXELS, .n_atoms = ATOMS};
static double patch[IMAGES * PIXELS]; /* (IMAGES, PIXELS) */
static double *work;

/* The files hold one image a column. */
static void turn(int n_rows, int n_columns, const double *x, double *turned)
{
    for (int i = 0; i < n_rows; i++)
        for (int j = 0; j < n_columns; j++)
            turned[j * n_rows + i] = x[i * n_columns + j];
}

static int set_up(void **state)
{
    (void)state;
    double *patches = load("patches", PIXELS * IMAGES);
    turn(PIXELS, IMAGES, patches, patch);
    free(patches);
    sparse.phi = load("dictionary", PIXELS * ATOMS);
    work = fixture_work(sparse_work(&sparse) * sizeof(double));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(sparse.phi);
    free(work);
    return 0;
}

static void coefficients_agree(void **state)
{
    (void)state;
    double ista[IMAGES * ATOMS], fista[IMAGES * ATOMS], lca[IMAGES * ATOMS];
    double objective[IMAGES], turned[IMAGES * ATOMS];
    double curvature = sparse_curvature(&sparse, work);
    for (int i = 0; i < IMAGES; i++) {
        const double *y = patch + i * PIXELS;
        sparse_ista(&sparse, y, PENALTY, curvature, STEPS, ista + i * ATOMS, work);
        sparse_fista(&sparse, y, PENALTY, curvature, STEPS, fista + i * ATOMS, work);
        sparse_lca(&sparse, y, PENALTY, 0.1, LCA_STEPS, lca + i * ATOMS, work);
        objective[i] = sparse_objective(&sparse, y, PENALTY, fista + i * ATOMS, work);
    }
    turn(IMAGES, ATOMS, ista, turned);
    compare("ista200", turned, IMAGES * ATOMS);
    turn(IMAGES, ATOMS, fista, turned);
    compare("fista200", turned, IMAGES * ATOMS);
    compare("fista200_obj", objective, IMAGES);
    turn(IMAGES, ATOMS, lca, turned);
    compare("lca300", turned, IMAGES * ATOMS);
}

static void energy_and_gradient_agree(void **state)
{
    (void)state;
    double *of_a = load("of_a", ATOMS * IMAGES), a[IMAGES * ATOMS], energy[IMAGES];
    double grad[IMAGES * ATOMS], turned[IMAGES * ATOMS];
    turn(ATOMS, IMAGES, of_a, a);
    for (int i = 0; i < IMAGES; i++) {
        energy[i] = sparse_energy(&sparse, patch + i * PIXELS, LAMBDA, SIGMA,
                                  a + i * ATOMS, grad + i * ATOMS, work);
        for (int k = 0; k < ATOMS; k += 7) { /* and the gradient is the energy's */
            double *at = a + i * ATOMS + k, here = *at, h = 1e-5, up, down;
            *at = here + h;
            up = sparse_energy(&sparse, patch + i * PIXELS, LAMBDA, SIGMA, a + i * ATOMS,
                               NULL, work);
            *at = here - h;
            down = sparse_energy(&sparse, patch + i * PIXELS, LAMBDA, SIGMA,
                                 a + i * ATOMS, NULL, work);
            *at = here;
            assert_true(fabs((up - down) / (2.0 * h) - grad[i * ATOMS + k]) < 1e-6);
        }
    }
    turn(IMAGES, ATOMS, grad, turned);
    compare("of_energy", energy, IMAGES);
    compare("of_grad_a", turned, IMAGES * ATOMS);
    free(of_a);
}

static void the_dictionary_learns(void **state)
{
    (void)state;
    double *fista = load("fista200", ATOMS * IMAGES), a[IMAGES * ATOMS];
    static double dphi[PIXELS * ATOMS];
    double before = 0.0, after = 0.0;
    turn(ATOMS, IMAGES, fista, a);
    sparse_direction(&sparse, IMAGES, patch, a, dphi, work);
    compare("of_dphi", dphi, PIXELS * ATOMS);
    for (int i = 0; i < IMAGES; i++)
        before += sparse_objective(&sparse, patch + i * PIXELS, 0.0, a + i * ATOMS, work);
    sparse_learn(&sparse, dphi, 0.01);
    for (int i = 0; i < IMAGES; i++)
        after += sparse_objective(&sparse, patch + i * PIXELS, 0.0, a + i * ATOMS, work);
    print_message("residual before %.6f, after a step %.6f\n", before, after);
    assert_true(after < before);
    for (int k = 0; k < ATOMS; k++) {
        double length2 = 0.0;
        for (int i = 0; i < PIXELS; i++)
            length2 += sparse.phi[i * ATOMS + k] * sparse.phi[i * ATOMS + k];
        assert_true(fabs(length2 - 1.0) < 1e-12);
    }
    free(fista);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(coefficients_agree),
        cmocka_unit_test(energy_and_gradient_agree),
        cmocka_unit_test(the_dictionary_learns),
    };
    fixture_require();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
