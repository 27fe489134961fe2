#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/random.h"
#include "stimulus/optimise.h"

#define N_MAX 1024

#define assert_near(a, b, tolerance)                                                     \
    do {                                                                                 \
        double near_a = (double)(a), near_b = (double)(b);                               \
        if (!(fabs(near_a - near_b) <= (double)(tolerance)))                             \
            fail_msg("%s is %.9g, not %.9g", #a, near_a, near_b);                        \
    } while (0)

static uint64_t seed;
static _Alignas(64) char mem[1 << 16];

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static double cosine(const float *a, const float *b, int n)
{
    return dot(a, b, n) / sqrt(dot(a, a, n) * dot(b, b, n));
}

static void draw(struct random *random, int n, float *x)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)random_normal(random);
}

/* A filter of norm 1. */
static void draw_filter(struct random *random, int n, float *w)
{
    draw(random, n, w);
    double norm = sqrt(dot(w, w, n));
    for (int i = 0; i < n; i++)
        w[i] = (float)((double)w[i] / norm);
}

/* Objectives. All give their gradient; a test below holds each against differences. */
struct hill {
    int n, n_filters;
    const float *w; /* (n_filters, n) */
};

/* LN neuron: exp(w.x). */
static double ln_rate(void *context, const float *x, float *grad)
{
    const struct hill *hill = context;
    double rate = exp(dot(hill->w, x, hill->n));
    for (int i = 0; grad && i < hill->n; i++)
        grad[i] = (float)(rate * (double)hill->w[i]);
    return rate;
}

/* Complex cell: sum of (w.x)^2. */
static double energy(void *context, const float *x, float *grad)
{
    const struct hill *hill = context;
    double sum = 0;
    if (grad)
        memset(grad, 0, (size_t)hill->n * sizeof *grad);
    for (int k = 0; k < hill->n_filters; k++) {
        const float *w = hill->w + k * hill->n;
        double a = dot(w, x, hill->n);
        sum += a * a;
        for (int i = 0; grad && i < hill->n; i++)
            grad[i] += (float)(2 * a * (double)w[i]);
    }
    return sum;
}

/* Concave: nearness to the image w. */
static double nearness(void *context, const float *x, float *grad)
{
    const struct hill *hill = context;
    double sum = 0;
    for (int i = 0; i < hill->n; i++) {
        double off = (double)x[i] - (double)hill->w[i];
        sum -= off * off;
        if (grad)
            grad[i] = (float)(-2 * off);
    }
    return sum;
}

/* Neither: a subunit cell with divisive normalisation. */
static double normalised(void *context, const float *x, float *grad)
{
    const struct hill *hill = context;
    int n = hill->n;
    double a = dot(hill->w, x, n), b = dot(hill->w + n, x, n);
    double top = a > 0 ? a * a : 0, bottom = 1 + b * b;
    for (int i = 0; grad && i < n; i++)
        grad[i] = (float)((a > 0 ? 2 * a * (double)hill->w[i] / bottom : 0) -
                          top * 2 * b * (double)hill->w[n + i] / (bottom * bottom));
    return top / bottom;
}

static double not_a_number(void *context, const float *x, float *grad)
{
    double value = ln_rate(context, x, grad);
    return value > 3 ? (double)NAN : value;
}

static void gradients_of_these_tests_match_differences(void **state)
{
    (void)state;
    static float w[2 * 36], x[36], grad[36];
    struct random random;
    random_init(&random, seed, 1);
    optimise_objective *objectives[] = {ln_rate, energy, nearness, normalised};
    for (int k = 0; k < 4; k++) {
        struct hill hill = {36, 2, w};
        draw_filter(&random, 36, w);
        draw_filter(&random, 36, w + 36);
        draw(&random, 36, x);
        for (int i = 0; i < 36; i++)
            x[i] *= 0.2f;
        objectives[k](&hill, x, grad);
        for (int i = 0; i < 36; i += 7) {
            float at = x[i], h = 1e-2f;
            x[i] = at + h;
            double up = objectives[k](&hill, x, NULL);
            x[i] = at - h;
            double down = objectives[k](&hill, x, NULL);
            x[i] = at;
            assert_near((up - down) / (2 * (double)h), grad[i],
                        1e-3 * (1 + fabs((double)grad[i])));
        }
    }
}

/* Under mean and RMS alone the best stimulus of exp(w.x) is w without its mean. */
static void ln_neuron_reaches_its_closed_form_in_ten_steps(void **state)
{
    (void)state;
    static float w[N_MAX], x[N_MAX];
    struct random random;
    random_init(&random, seed, 2);
    for (int k = 0; k < 50; k++) {
        struct space space = {.height = 2 + (int)random_below(&random, 31),
                              .width = 2 + (int)random_below(&random, 31),
                              .mean = 0,
                              .rms = 0.2f,
                              .lo = -100,
                              .hi = 100};
        struct optimise_conf conf = {.step = 1};
        int n = space.height * space.width;
        draw_filter(&random, n, w);
        draw(&random, n, x);
        struct hill hill = {n, 1, w};
        struct optimise *opt = optimise_init(mem, &space, &conf, ln_rate, &hill, x);
        for (int i = 0; i < 10; i++)
            optimise_step(opt);
        double value;
        const float *best = optimise_best(opt, &value);
        assert_true(value == ln_rate(&hill, best, NULL));
        space_project(&space, w);
        double c = cosine(best, w, n);
        if (c <= 0.9999)
            fail_msg("%d x %d: cosine %.6f", space.height, space.width, c);
    }
}

/* What the smoothing is for: of a smooth filter measured with noise, the MEI keeps the
 * smooth part. */
static void blurred_ascent_passes_over_noise_in_the_filter(void **state)
{
    (void)state;
    static float smooth[400], w[400], x[400], work[400], found[2][400];
    struct random random;
    random_init(&random, seed, 3);
    struct space space = {20, 20, 0, 0.2f, -100, 100};
    for (int k = 0; k < 10; k++) {
        draw(&random, 400, smooth);
        optimise_blur(smooth, 20, 20, 2, work);
        space_project(&space, smooth);
        for (int i = 0; i < 400; i++)
            w[i] = smooth[i] + (float)(0.2 * random_normal(&random));
        draw(&random, 400, x);
        optimise_blur(x, 20, 20, 1, work);
        struct hill hill = {400, 1, w};
        for (int sharp = 0; sharp < 2; sharp++) {
            struct optimise_conf conf = {.step = 1, .blur_px = sharp ? 0 : 1};
            struct optimise *opt = optimise_init(mem, &space, &conf, ln_rate, &hill, x);
            for (int i = 0; i < 20; i++)
                optimise_step(opt);
            memcpy(found[sharp], optimise_best(opt, NULL), sizeof found[sharp]);
        }
        assert_true(cosine(found[0], smooth, 400) > 0.9);
        assert_true(cosine(found[1], smooth, 400) < 0.8);
    }
}

static void energy_reaches_its_first_eigenvector(void **state)
{
    (void)state;
    static float w[3 * 256], x[256], v[256], g[256];
    struct random random;
    random_init(&random, seed, 4);
    for (int k = 0; k < 10; k++) {
        struct space space = {16, 16, 0, 0.2f, -100, 100};
        struct optimise_conf conf = {.step = 1};
        struct hill hill = {256, 3, w};
        for (int f = 0; f < 3; f++) {
            draw_filter(&random, 256, w + 256 * f);
            for (int i = 0; i < 256; i++)
                w[256 * f + i] *= (float)(3 - f);
        }
        draw(&random, 256, x);
        draw(&random, 256, v);
        for (int i = 0; i < 500; i++) { /* oracle: power iteration */
            space_project(&space, v);
            energy(&hill, v, g);
            memcpy(v, g, sizeof v);
        }
        space_project(&space, v);
        struct optimise *opt = optimise_init(mem, &space, &conf, energy, &hill, x);
        for (int i = 0; i < 30; i++)
            optimise_step(opt);
        assert_true(fabs(cosine(optimise_best(opt, NULL), v, 256)) > 0.9999);
    }
}

static void concave_objective_reaches_its_top(void **state)
{
    (void)state;
    static float target[256], x[256];
    struct random random;
    random_init(&random, seed, 5);
    struct space space = {16, 16, 0, 0.3f, -1, 1};
    struct optimise_conf conf = {.step = 1};
    struct hill hill = {256, 1, target};
    draw(&random, 256, target);
    draw(&random, 256, x);
    space_project(&space, target);
    struct optimise *opt = optimise_init(mem, &space, &conf, nearness, &hill, x);
    for (int i = 0; i < 30; i++)
        optimise_step(opt);
    assert_true(cosine(optimise_best(opt, NULL), target, 256) > 0.9999);
}

/* At the end no small step in any of many directions climbs noticeably. */
static void where_it_settles_nothing_near_is_better(void **state)
{
    (void)state;
    static float w[512], x[256], y[256];
    struct random random;
    random_init(&random, seed, 6);
    struct space space = {16, 16, 0, 0.2f, -0.5f, 0.5f};
    struct optimise_conf conf = {.step = 1};
    struct hill hill = {256, 2, w};
    for (int k = 0; k < 10; k++) {
        draw_filter(&random, 256, w);
        draw_filter(&random, 256, w + 256);
        draw(&random, 256, x);
        for (int i = 0; i < 256; i++) /* not on the side where the cell is silent */
            x[i] += 5 * w[i];
        struct optimise *opt = optimise_init(mem, &space, &conf, normalised, &hill, x);
        for (int i = 0; i < 200 && optimise_step(opt); i++)
            ;
        double value;
        const float *best = optimise_best(opt, &value);
        for (int j = 0; j < 200; j++) {
            for (int i = 0; i < 256; i++)
                y[i] = best[i] + (float)(0.02 * random_normal(&random));
            space_project(&space, y);
            assert_true(normalised(&hill, y, NULL) <= value * (1 + 1e-3));
        }
    }
}

static void any_number_of_steps_leaves_a_valid_rising_best(void **state)
{
    (void)state;
    static float w[512], x[256], at_7[256];
    struct random random;
    random_init(&random, seed, 7);
    optimise_objective *objectives[] = {ln_rate, energy, nearness, normalised};
    struct space space = {16, 16, 0.1f, 0.3f, -0.8f, 0.9f};
    struct optimise_conf conf = {.step = 0.5, .blur_px = 1};
    for (int k = 0; k < 4; k++) {
        struct hill hill = {256, 2, w};
        draw_filter(&random, 256, w);
        draw_filter(&random, 256, w + 256);
        draw(&random, 256, x);
        struct optimise *opt = optimise_init(mem, &space, &conf, objectives[k], &hill, x);
        double before = -INFINITY;
        for (int step = 0; step < 25; step++) {
            double value, mean = 0, sd = 0;
            const float *best = optimise_best(opt, &value);
            assert_int_equal(optimise_steps(opt), step);
            assert_true(value >= before);
            assert_true(value == objectives[k](&hill, best, NULL));
            before = value;
            for (int i = 0; i < 256; i++) {
                assert_true(best[i] >= space.lo && best[i] <= space.hi);
                mean += (double)best[i] / 256;
            }
            for (int i = 0; i < 256; i++)
                sd += ((double)best[i] - mean) * ((double)best[i] - mean) / 256;
            assert_near(mean, 0.1, 1e-5);
            assert_near(sqrt(sd), 0.3, 1e-4);
            if (step == 7)
                memcpy(at_7, best, sizeof at_7);
            if (!optimise_step(opt))
                break;
        }
        opt = optimise_init(mem, &space, &conf, objectives[k], &hill, x);
        for (int step = 0; step < 7; step++)
            optimise_step(opt);
        if (optimise_steps(opt) == 7)
            assert_memory_equal(at_7, optimise_best(opt, NULL), sizeof at_7);
    }
}

static void it_settles_by_itself(void **state)
{
    (void)state;
    static float w[512], x[256];
    struct random random;
    random_init(&random, seed, 8);
    struct space space = {16, 16, 0, 0.2f, -1, 1};
    struct optimise_conf conf = {.step = 1, .blur_px = 1, .settle = 1e-3};
    int n_spared = 0;
    optimise_objective *objectives[] = {ln_rate, energy, nearness, normalised};
    for (int k = 0; k < 4; k++) {
        struct hill hill = {256, 2, w};
        draw_filter(&random, 256, w);
        draw_filter(&random, 256, w + 256);
        draw(&random, 256, x);
        struct optimise *opt = optimise_init(mem, &space, &conf, objectives[k], &hill, x);
        int n = 0;
        while (optimise_step(opt))
            assert_true(++n < 100);
        int n_steps = optimise_steps(opt);
        assert_int_equal(optimise_step(opt), 0);
        assert_int_equal(optimise_steps(opt), n_steps);

        struct optimise_conf on = conf;
        on.settle = 0;
        opt = optimise_init(mem, &space, &on, objectives[k], &hill, x);
        while (optimise_step(opt))
            assert_true(optimise_steps(opt) < 1000);
        n_spared += optimise_steps(opt) - n_steps;
    }
    assert_true(n_spared > 10);
}

static void nan_is_never_the_best(void **state)
{
    (void)state;
    static float w[64], x[64];
    struct random random;
    random_init(&random, seed, 9);
    struct space space = {8, 8, 0, 0.3f, -1, 1};
    struct optimise_conf conf = {.step = 1};
    struct hill hill = {64, 1, w};
    for (int k = 0; k < 20; k++) {
        draw_filter(&random, 64, w);
        draw(&random, 64, x);
        struct optimise *opt = optimise_init(mem, &space, &conf, not_a_number, &hill, x);
        double value, start;
        optimise_best(opt, &start);
        for (int i = 0; i < 30; i++)
            optimise_step(opt);
        optimise_best(opt, &value);
        assert_true(value > start && value > 2.9 && value <= 3);
    }
}

static void a_flat_start_climbs(void **state)
{
    (void)state;
    static float w[64], x[64];
    struct random random;
    random_init(&random, seed, 11);
    draw_filter(&random, 64, w);
    struct space space = {8, 8, 0, 0.1f, -10, 10};
    struct optimise_conf conf = {.step = 1};
    struct hill hill = {64, 1, w};
    struct optimise *opt = optimise_init(mem, &space, &conf, ln_rate, &hill, x);
    optimise_step(opt);
    space_project(&space, w);
    assert_true(cosine(optimise_best(opt, NULL), w, 64) > 0.999);
}

static double naive_blur(const float *image, int h, int w, double sigma, int row, int col)
{
    int radius = (int)round(4 * sigma);
    double sum = 0, norm = 0;
    radius = radius < 1 ? 1 : radius;
    for (int i = -radius; i <= radius; i++) {
        for (int j = -radius; j <= radius; j++) {
            int r = row + i, c = col + j;
            while (h > 1 && (r < 0 || r >= h))
                r = r < 0 ? -r : 2 * (h - 1) - r;
            while (w > 1 && (c < 0 || c >= w))
                c = c < 0 ? -c : 2 * (w - 1) - c;
            double weight = exp(-(i * i + j * j) / (2 * sigma * sigma));
            sum += weight * (double)image[(h > 1 ? r : 0) * w + (w > 1 ? c : 0)];
            norm += weight;
        }
    }
    return sum / norm;
}

static void blur_matches_the_naive_sum(void **state)
{
    (void)state;
    static float image[N_MAX], blurred[N_MAX + 1], work[N_MAX + 1];
    struct random random;
    random_init(&random, seed, 10);
    for (int k = 0; k < 60; k++) {
        int h = 1 + (int)random_below(&random, 20),
            w = 1 + (int)random_below(&random, 20);
        double sigma = 0.1 + 3.3 * random_uniform(&random);
        draw(&random, h * w, image);
        memcpy(blurred, image, sizeof image);
        blurred[h * w] = work[h * w] = 77;
        optimise_blur(blurred, h, w, sigma, work);
        assert_true(blurred[h * w] == 77 && work[h * w] == 77);
        for (int i = 0; i < h * w; i++)
            assert_near(blurred[i], naive_blur(image, h, w, sigma, i / w, i % w), 1e-5);
    }
}

int main(void)
{
    const char *text = getenv("EVOKE_SEED");
    seed = text ? strtoull(text, NULL, 0) : 1;
    printf("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_these_tests_match_differences),
        cmocka_unit_test(ln_neuron_reaches_its_closed_form_in_ten_steps),
        cmocka_unit_test(blurred_ascent_passes_over_noise_in_the_filter),
        cmocka_unit_test(energy_reaches_its_first_eigenvector),
        cmocka_unit_test(concave_objective_reaches_its_top),
        cmocka_unit_test(where_it_settles_nothing_near_is_better),
        cmocka_unit_test(any_number_of_steps_leaves_a_valid_rising_best),
        cmocka_unit_test(it_settles_by_itself),
        cmocka_unit_test(nan_is_never_the_best),
        cmocka_unit_test(a_flat_start_climbs),
        cmocka_unit_test(blur_matches_the_naive_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
