#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/animal.h"

enum { HEIGHT = 20, WIDTH = 16, N = HEIGHT * WIDTH, N_UNITS = 30 };

#define assert_near(a, b, tolerance)                                                     \
    do {                                                                                 \
        double near_a = (double)(a), near_b = (double)(b);                               \
        if (!(fabs(near_a - near_b) <= (double)(tolerance)))                             \
            fail_msg("%s is %.9g, not %.9g", #a, near_a, near_b);                        \
    } while (0)

static const struct space space = {HEIGHT, WIDTH, 0, 0.25f, -1, 1};

static struct animal *make(enum animal_kind kind, uint64_t seed)
{
    const struct animal_conf conf = {.kind = kind,
                                     .n_units = N_UNITS,
                                     .space = space,
                                     .rate_grey = 2,
                                     .rate_best = 15};
    void *mem = aligned_alloc(64, (animal_size(&conf) + 63) / 64 * 64);
    assert_non_null(mem);
    return animal_init(mem, &conf, seed);
}

static void cells_answer_grey_and_their_filter_as_asked(void **state)
{
    (void)state;
    for (int kind = ANIMAL_LN; kind <= ANIMAL_ENERGY; kind++) {
        struct animal *animal = make((enum animal_kind)kind, 3);
        float x[N] = {0}, rate[N_UNITS];
        animal_rate(animal, x, rate);
        for (int unit = 0; unit < N_UNITS; unit++)
            assert_near(rate[unit], 2, 1e-6);
        for (int unit = 0; unit < N_UNITS; unit++) {
            memcpy(x, animal_filter(animal, unit), sizeof x);
            assert_int_equal(space_project(&space, x), 0);
            animal_rate(animal, x, rate);
            assert_near(rate[unit], 15, 1e-3);
        }
        free(animal);
    }
}

/* Only the complex cell answers to its filter turned into its negative. */
static void kinds_differ_in_what_phase_means(void **state)
{
    (void)state;
    for (int kind = ANIMAL_LN; kind <= ANIMAL_ENERGY; kind++) {
        struct animal *animal = make((enum animal_kind)kind, 4);
        for (int unit = 0; unit < N_UNITS; unit++) {
            float x[N], rate[N_UNITS];
            memcpy(x, animal_filter(animal, unit), sizeof x);
            space_project(&space, x);
            for (int i = 0; i < N; i++)
                x[i] = -x[i];
            animal_rate(animal, x, rate);
            assert_near(rate[unit], kind == ANIMAL_LN ? 2 * 2 / 15.0 : 15, 1e-3);
        }
        free(animal);
    }
}

/* What is orthogonal to its filter leaves a simple cell at grey, but not a complex one,
 * which has a second filter in quadrature. */
static void complex_cells_have_two_filters(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 1, 1);
    for (int kind = ANIMAL_LN; kind <= ANIMAL_ENERGY; kind++) {
        struct animal *animal = make((enum animal_kind)kind, 8);
        for (int unit = 0; unit < N_UNITS; unit++) {
            const float *w = animal_filter(animal, unit);
            float x[N], rate[N_UNITS];
            double wx = 0, ww = 0, most = 0;
            for (int k = 0; k < 10; k++) {
                wx = ww = 0;
                for (int i = 0; i < N; i++) {
                    x[i] = (float)random_normal(&random);
                    wx += (double)w[i] * (double)x[i];
                    ww += (double)w[i] * (double)w[i];
                }
                for (int i = 0; i < N; i++)
                    x[i] -= (float)(wx / ww * (double)w[i]);
                animal_rate(animal, x, rate);
                most = fmax(most, fabs((double)rate[unit] - 2));
            }
            assert_true(kind == ANIMAL_LN ? most < 1e-3 : most > 0.1);
        }
        free(animal);
    }
}

static void an_animal_is_a_function_of_its_seed(void **state)
{
    (void)state;
    struct animal *a = make(ANIMAL_LN, 5), *b = make(ANIMAL_LN, 5),
                  *c = make(ANIMAL_LN, 6);
    for (int unit = 0; unit < N_UNITS; unit++) {
        size_t size = N * sizeof(float);
        assert_memory_equal(animal_filter(a, unit), animal_filter(b, unit), size);
        assert_memory_not_equal(animal_filter(a, unit), animal_filter(c, unit), size);
        assert_memory_not_equal(animal_filter(a, unit),
                                animal_filter(a, (unit + 1) % N_UNITS), size);
    }
    free(a);
    free(b);
    free(c);
}

static void counts_have_the_mean_and_variance_of_the_rate(void **state)
{
    (void)state;
    enum { N_DRAWS = 20000 };
    struct animal *animal = make(ANIMAL_LN, 7);
    struct random random;
    float x[N], rate[N_UNITS], count[N_UNITS];
    double sum[N_UNITS] = {0}, sum2[N_UNITS] = {0};
    memcpy(x, animal_filter(animal, 0), sizeof x);
    space_project(&space, x);
    animal_rate(animal, x, rate);
    random_init(&random, 1, 1);
    for (int k = 0; k < N_DRAWS; k++) {
        animal_respond(animal, x, &random, count);
        for (int unit = 0; unit < N_UNITS; unit++) {
            sum[unit] += (double)count[unit];
            sum2[unit] += (double)count[unit] * (double)count[unit];
        }
    }
    for (int unit = 0; unit < N_UNITS; unit++) {
        double mean = sum[unit] / N_DRAWS, var = sum2[unit] / N_DRAWS - mean * mean;
        assert_near(mean, rate[unit], 5 * sqrt((double)rate[unit] / N_DRAWS));
        assert_near(var / mean, 1, 0.1);
    }
    free(animal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_answer_grey_and_their_filter_as_asked),
        cmocka_unit_test(kinds_differ_in_what_phase_means),
        cmocka_unit_test(complex_cells_have_two_filters),
        cmocka_unit_test(an_animal_is_a_function_of_its_seed),
        cmocka_unit_test(counts_have_the_mean_and_variance_of_the_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
