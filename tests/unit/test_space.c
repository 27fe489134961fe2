#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/random.h"
#include "stimulus/space.h"

#define N_MAX 900

#define assert_near(a, b, tolerance)                                                     \
    do {                                                                                 \
        double near_a = (double)(a), near_b = (double)(b);                               \
        if (!(fabs(near_a - near_b) <= (double)(tolerance)))                             \
            fail_msg("%s is %.9g, not %.9g", #a, near_a, near_b);                        \
    } while (0)

static uint64_t seed;

static void moments(const float *x, int n, double *mean, double *sd)
{
    double sum = 0, sum2 = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i];
    *mean = sum / n;
    for (int i = 0; i < n; i++)
        sum2 += ((double)x[i] - *mean) * ((double)x[i] - *mean);
    *sd = sqrt(sum2 / n);
}

static struct space draw_space(struct random *random)
{
    struct space space;
    do {
        space = (struct space){.height = 1 + (int)random_below(random, 30),
                               .width = 2 + (int)random_below(random, 29),
                               .mean = (float)(0.6 * random_uniform(random) - 0.3),
                               .rms = (float)(0.02 + 0.9 * random_uniform(random)),
                               .lo = -1,
                               .hi = random_below(random, 2) ? 1.0f : 0.5f};
    } while (space_check(&space) != NULL);
    return space;
}

/* Images of many characters: smooth, skewed, sparse, two-valued, huge, tiny, shifted. */
static void draw_image(struct random *random, int n, float *x)
{
    int law = (int)random_below(random, 6);
    double scale = pow(10.0, 60 * random_uniform(random) - 30);
    double shift = random_below(random, 2) ? scale * 10 * random_normal(random) : 0;
    for (int i = 0; i < n; i++) {
        double v = random_normal(random);
        if (law == 1)
            v = exp(2 * v);
        else if (law == 2)
            v = i == 0 ? 1 : 0;
        else if (law == 3)
            v = i % 3 == 0 ? 1 : -1;
        else if (law == 4)
            v = fabs(v) > 2 ? v : 0;
        else if (law == 5)
            v = random_uniform(random);
        x[i] = (float)(v * scale + shift);
    }
}

/* Oracle: SD of clip(scale z + shift) where bisection found the shift for the mean. */
static double naive_sd(const struct space *space, const double *z, int n, double scale)
{
    double reach = 2 + 1e3 * scale, low = -reach, high = reach;
    double lo = (double)space->lo, hi = (double)space->hi, mean = 0, sd = 0;
    for (int k = 0; k < 200; k++) {
        double shift = 0.5 * (low + high), sum = 0, sum2 = 0;
        for (int i = 0; i < n; i++) {
            double y = fmin(fmax(scale * z[i] + shift, lo), hi);
            sum += y;
            sum2 += y * y;
        }
        mean = sum / n;
        sd = sqrt(fmax(sum2 / n - mean * mean, 0));
        if (mean < (double)space->mean)
            low = shift;
        else
            high = shift;
    }
    return sd;
}

/* The RMS contrast nearest to the wanted one that any scale reaches. */
static double naive_rms(const struct space *space, const float *x, int n)
{
    static double z[N_MAX];
    double mean, sd;
    moments(x, n, &mean, &sd);
    for (int i = 0; i < n; i++)
        z[i] = ((double)x[i] - mean) / sd;
    return fmin((double)space->rms, naive_sd(space, z, n, 1e9));
}

static void projection_meets_mean_and_rms_within_the_limits(void **state)
{
    (void)state;
    static float x[N_MAX], y[N_MAX];
    struct random random;
    random_init(&random, seed, 1);
    int n_short = 0;
    for (int k = 0; k < 400; k++) {
        struct space space = draw_space(&random);
        int n = space.height * space.width;
        draw_image(&random, n, x);
        memcpy(y, x, sizeof x);
        double mean, sd, want = naive_rms(&space, x, n);
        if (!(want > 0)) /* the shift swallowed the picture */
            continue;
        assert_int_equal(space_project(&space, y), 0);
        moments(y, n, &mean, &sd);
        assert_near(mean, space.mean, 2e-6);
        assert_near(sd, want, 2e-4 * want + 1e-6);
        n_short += want < 0.999 * (double)space.rms;
        for (int i = 0; i < n; i++) {
            assert_true(y[i] >= space.lo && y[i] <= space.hi);
            if (i > 0 && x[i] > x[i - 1])
                assert_true(y[i] >= y[i - 1]);
            if (i > 0 && x[i] == x[i - 1])
                assert_true(y[i] == y[i - 1]);
        }
    }
    assert_true(n_short > 10); /* pictures whose limits bind were among them */
}

static void projection_of_what_is_inside_changes_nothing(void **state)
{
    (void)state;
    static float x[N_MAX], y[N_MAX];
    struct random random;
    random_init(&random, seed, 2);
    for (int k = 0; k < 100; k++) {
        struct space space = {20, 20, 0, 0.3f, -1, 1};
        for (int i = 0; i < 400; i++)
            x[i] = (float)random_normal(&random);
        space_project(&space, x);
        memcpy(y, x, sizeof x);
        assert_int_equal(space_project(&space, y), 0);
        for (int i = 0; i < 400; i++)
            assert_near(y[i], x[i], 2e-6);
    }
}

static void without_limits_projection_is_a_scale_and_a_shift(void **state)
{
    (void)state;
    struct space space = {1, 4, 0.1f, 0.5f, -10, 10};
    float x[4] = {7, 9, 7, 9};
    assert_int_equal(space_project(&space, x), 0);
    for (int i = 0; i < 4; i++)
        assert_near(x[i], i % 2 ? 0.6 : -0.4, 1e-6);
}

static void flat_and_non_finite_become_the_mean(void **state)
{
    (void)state;
    struct space space = {2, 3, 0.25f, 0.3f, -1, 1};
    const float bad[][6] = {{0, 0, 0, 0, 0, 0},
                            {5, 5, 5, 5, 5, 5},
                            {1e30f, 1e30f, 1e30f, 1e30f, 1e30f, 1e30f},
                            {1, 2, NAN, 3, 4, 5},
                            {NAN, 2, 2, 3, 4, 5},
                            {1, INFINITY, 2, 3, 4, 5},
                            {1, -INFINITY, INFINITY, 3, 4, 5}};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        float x[6];
        memcpy(x, bad[k], sizeof x);
        assert_int_equal(space_project(&space, x), -EDOM);
        for (int i = 0; i < 6; i++)
            assert_true(x[i] == 0.25f);
    }
}

static void the_largest_and_smallest_floats_project(void **state)
{
    (void)state;
    struct space space = {1, 2, 0, 0.5f, -1, 1};
    float huge[2] = {-FLT_MAX, FLT_MAX}, tiny[2] = {0, FLT_TRUE_MIN};
    assert_int_equal(space_project(&space, huge), 0);
    assert_near(huge[0], -0.5, 1e-6);
    assert_near(huge[1], 0.5, 1e-6);
    assert_int_equal(space_project(&space, tiny), 0);
    assert_near(tiny[0], -0.5, 1e-6);
    assert_near(tiny[1], 0.5, 1e-6);
}

static void every_level_survives_decode_and_encode(void **state)
{
    (void)state;
    uint8_t pixels[256], again[256];
    float x[256];
    for (int i = 0; i < 256; i++)
        pixels[i] = (uint8_t)i;
    space_decode(pixels, 256, x);
    assert_near(x[0], -1, 0);
    assert_near(x[255], 1, 0);
    space_encode(x, 256, again);
    assert_memory_equal(pixels, again, 256);
    const float beyond[2] = {-3.0f, 1.5f};
    space_encode(beyond, 2, again);
    assert_int_equal(again[0], 0);
    assert_int_equal(again[1], 255);
}

/* Each pixel moves by half a level at most, so mean and SD do too (triangle inequality). */
static void encoding_keeps_mean_and_rms_within_half_a_level(void **state)
{
    (void)state;
    static float x[N_MAX], y[N_MAX];
    uint8_t pixels[N_MAX];
    struct random random;
    random_init(&random, seed, 3);
    for (int k = 0; k < 200; k++) {
        struct space space = draw_space(&random);
        int n = space.height * space.width;
        double mean[2], sd[2], half = 0.5 / 127.5 + 1e-6;
        for (int i = 0; i < n; i++)
            x[i] = (float)random_normal(&random);
        space_project(&space, x);
        space_encode(x, n, pixels);
        space_decode(pixels, n, y);
        moments(x, n, &mean[0], &sd[0]);
        moments(y, n, &mean[1], &sd[1]);
        for (int i = 0; i < n; i++)
            assert_near(x[i], y[i], half);
        assert_near(mean[0], mean[1], half);
        assert_near(sd[0], sd[1], half);
    }
}

static void impossible_spaces_are_named(void **state)
{
    (void)state;
    const struct space good = {16, 16, 0, 0.3f, -1, 1};
    assert_null(space_check(&good));
    const struct space bad[] = {
        {0, 16, 0, 0.3f, -1, 1},        {16, 2000, 0, 0.3f, -1, 1},
        {16, 16, 1, 0.3f, -1, 1},       {16, 16, 0, 0, -1, 1},
        {16, 16, 0, 1.1f, -1, 1},       {16, 16, 0.9f, 0.5f, -1, 1},
        {16, 16, NAN, 0.3f, -1, 1},     {16, 16, 0, NAN, -1, 1},
        {16, 16, 0, 0.3f, -1, INFINITY}};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_non_null(space_check(&bad[k]));
}

int main(void)
{
    const char *text = getenv("EVOKE_SEED");
    seed = text ? strtoull(text, NULL, 0) : 1;
    printf("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(projection_meets_mean_and_rms_within_the_limits),
        cmocka_unit_test(projection_of_what_is_inside_changes_nothing),
        cmocka_unit_test(without_limits_projection_is_a_scale_and_a_shift),
        cmocka_unit_test(flat_and_non_finite_become_the_mean),
        cmocka_unit_test(the_largest_and_smallest_floats_project),
        cmocka_unit_test(every_level_survives_decode_and_encode),
        cmocka_unit_test(encoding_keeps_mean_and_rms_within_half_a_level),
        cmocka_unit_test(impossible_spaces_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
