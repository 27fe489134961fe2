#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/front.h"
#include "models/ops.h"
#include "models/prior.h"
#include "models/random.h"

#define SENTINEL 77.0F

struct bench {
    struct front front;
    void *filters;
    float *x, *work, *phi, *d_phi, *d_x; /* each with a sentinel behind it */
};

static float *make_floats(int n)
{
    float *a = malloc((size_t)(n + 1) * sizeof *a);
    memset(a, 0xff, (size_t)(n + 1) * sizeof *a); /* NaN */
    a[n] = SENTINEL;
    return a;
}

static struct bench make_bench(const struct model_conf *conf)
{
    struct bench b;
    const char *why = front_check(conf);
    if (why)
        fail_msg("%s", why);
    front_shape(&b.front, conf);
    b.filters = malloc(front_size(&b.front) + sizeof(float));
    *(float *)((char *)b.filters + front_size(&b.front)) = SENTINEL;
    front_init(&b.front, conf, b.filters);
    assert_true(*(float *)((char *)b.filters + front_size(&b.front)) == SENTINEL);
    b.x = make_floats(b.front.n_px);
    b.work = make_floats(b.front.n_work);
    b.phi = make_floats(b.front.n_features);
    b.d_phi = make_floats(b.front.n_features);
    b.d_x = make_floats(b.front.n_px);
    return b;
}

static void free_bench(struct bench *b)
{
    assert_true(b->x[b->front.n_px] == SENTINEL && b->d_x[b->front.n_px] == SENTINEL);
    assert_true(b->work[b->front.n_work] == SENTINEL);
    assert_true(b->phi[b->front.n_features] == SENTINEL);
    free(b->filters);
    free(b->x);
    free(b->work);
    free(b->phi);
    free(b->d_phi);
    free(b->d_x);
}

static struct model_conf conf_of(enum model_front front, int n_frames, int height,
                                 int width, double smooth_px)
{
    return (struct model_conf){.kind = MODEL_GLM,
                               .front = front,
                               .n_units = 1,
                               .n_frames = n_frames,
                               .height = height,
                               .width = width,
                               .prior_sd = 1.5,
                               .smooth_px = smooth_px,
                               .smooth_frames = 1.0,
                               .bias_sd = 3.0};
}

static const struct {
    enum model_front front;
    int n_frames, height, width;
    double smooth_px;
} shapes[] = {
    {FRONT_PIXELS, 1, 16, 16, 1.5}, {FRONT_PIXELS, 24, 1, 31, 1.5},
    {FRONT_PIXELS, 3, 5, 4, 0.0},   {FRONT_GABOR, 1, 28, 28, 4.0},
    {FRONT_GABOR, 1, 16, 24, 1.5},  {FRONT_GABOR, 1, 8, 8, 0.0},
    {FRONT_GABOR, 1, 30, 17, 2.0},
};

static void gradients_are_right(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 21, 0);
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        struct model_conf conf =
            conf_of(shapes[k].front, shapes[k].n_frames, shapes[k].height,
                    shapes[k].width, shapes[k].smooth_px);
        struct bench b = make_bench(&conf);
        int n_px = b.front.n_px, n = b.front.n_features;
        double worst = 0.0;
        for (int round = 0; round < 20; round++) {
            double slope = 0.0, ends[2] = {0.0, 0.0}, h = 5e-4, norm = 0.0;
            double direction[1024], centre[1024];
            assert_true(n_px <= 1024);
            for (int i = 0; i < n; i++)
                b.d_phi[i] = (float)random_normal(&random);
            for (int i = 0; i < n_px; i++) {
                centre[i] = 0.4 * random_normal(&random);
                direction[i] = random_normal(&random);
                b.x[i] = (float)centre[i];
            }
            front_apply(&b.front, b.x, b.work, b.phi);
            front_pull(&b.front, b.work, b.d_phi, b.d_x);
            for (int i = 0; i < n_px; i++) {
                slope += direction[i] * (double)b.d_x[i];
                norm += (double)b.d_x[i] * (double)b.d_x[i];
            }
            for (int side = 0; side < 2; side++) {
                for (int i = 0; i < n_px; i++)
                    b.x[i] = (float)(centre[i] + (side ? h : -h) * direction[i]);
                front_apply(&b.front, b.x, b.work, b.phi);
                for (int i = 0; i < n; i++)
                    ends[side] += (double)b.phi[i] * (double)b.d_phi[i];
            }
            double seen = (ends[1] - ends[0]) / (2.0 * h);
            worst = fmax(worst, fabs(seen - slope) / sqrt(norm));
        }
        print_message(
            "front %d, %d x %d x %d: %d linear, %d features, gradient off by %.1e\n",
            conf.front, conf.n_frames, conf.height, conf.width, b.front.n_linear, n,
            worst);
        assert_true(worst < 2e-3);
        free_bench(&b);
    }
}

static void pixels_are_seen_through_the_prior(void **state)
{
    (void)state;
    struct model_conf conf = conf_of(FRONT_PIXELS, 2, 6, 5, 1.0);
    struct prior prior = {2, 6, 5, 1.0, 1.0, 1.5};
    struct bench b = make_bench(&conf);
    int n_modes = prior_modes(&prior);
    assert_int_equal(b.front.n_features, n_modes + 1);
    float *basis = malloc((size_t)n_modes * 60 * sizeof *basis);
    prior_basis(&prior, basis);
    for (int i = 0; i < 60; i++)
        b.x[i] = (float)(i % 7) - 3.0F;
    front_apply(&b.front, b.x, b.work, b.phi);
    for (int k = 0; k < n_modes; k++) {
        double sum = 0.0;
        for (int i = 0; i < 60; i++)
            sum += (double)basis[k * 60 + i] * (double)b.x[i];
        assert_true(fabs(sum - (double)b.phi[k]) < 1e-5);
    }
    assert_true(b.phi[n_modes] == 3.0F);
    free(basis);
    free_bench(&b);
}

static void draw_grating(float *x, int side, double wavelength, double angle,
                         double phase, double contrast)
{
    for (int i = 0; i < side * side; i++)
        x[i] = (float)(contrast *
                       cos(6.283185307 / wavelength *
                               ((i % side) * cos(angle) + (i / side) * sin(angle)) +
                           phase));
}

/* Energy of a channel at the middle place. */
static double energy_of(const struct bench *b, int scale, int orientation)
{
    const float *u = b->work;
    for (int s = 0;; s++) {
        const struct front_map *map = &b->front.maps[s];
        int n = map->height * map->width;
        if (s == scale) {
            u += 2 * (orientation * n + map->height / 2 * map->width + map->width / 2);
            return (double)u[0] * (double)u[0] + (double)u[1] * (double)u[1];
        }
        u += 2 * n * map->n_channels;
    }
}

static void gabors_are_tuned_and_blind_to_phase(void **state)
{
    (void)state;
    struct model_conf conf = conf_of(FRONT_GABOR, 1, 28, 28, 4.0);
    struct bench b = make_bench(&conf);
    assert_int_equal(b.front.n_maps, FRONT_SCALES + 1);
    for (int s = 0; s < FRONT_SCALES; s++)
        for (int o = 0; o < FRONT_ORIENTATIONS; o++) {
            double least = 1e30, most = 0.0;
            for (int step = 0; step < 8; step++) {
                draw_grating(b.x, 28, 28.0 / (3 << s),
                             3.14159265 * o / FRONT_ORIENTATIONS, 0.7854 * step, 0.5);
                front_apply(&b.front, b.x, b.work, b.phi);
                double own = energy_of(&b, s, o);
                for (int other = 0; other < FRONT_ORIENTATIONS; other++)
                    assert_true(other == o || energy_of(&b, s, other) < 0.5 * own);
                least = fmin(least, own);
                most = fmax(most, own);
            }
            print_message("scale %d, orientation %d: energy over phases %.2f to %.2f\n",
                          s, o, least, most);
            /* the finest wavelength, 2.33 px, beats with the pixels */
            assert_true(s == FRONT_SCALES - 1 || least > 0.95 * most);
        }
    free_bench(&b);
}

/* Energies of 1/f noise of contrast 0.3 are of order 1 at every scale, and so is the
 * luminance: the constants are right, and no data were needed. */
static void energies_are_normalised_for_natural_spectra(void **state)
{
    (void)state;
    enum { SIDE = 28, N_WAVES = 400 };
    struct model_conf conf = conf_of(FRONT_GABOR, 1, SIDE, SIDE, 4.0);
    struct bench b = make_bench(&conf);
    struct random random;
    random_init(&random, 22, 0);
    double sum[FRONT_SCALES + 1] = {0};
    for (int round = 0; round < 200; round++) {
        /* waves of random direction, uniform in log frequency: power 1/f^2 in the plane */
        memset(b.x, 0, SIDE * SIDE * sizeof *b.x);
        for (int w = 0; w < N_WAVES; w++) {
            double f = exp(log(1.0 / (2 * SIDE)) + log(SIDE) * random_uniform(&random));
            float wave[SIDE * SIDE];
            draw_grating(wave, SIDE, 1.0 / f, 6.2832 * random_uniform(&random),
                         6.2832 * random_uniform(&random), 0.3 * sqrt(2.0 / N_WAVES));
            ops_add(SIDE * SIDE, 1.0F, wave, b.x);
        }
        front_apply(&b.front, b.x, b.work, b.phi);
        const float *u = b.work;
        for (int s = 0; s <= FRONT_SCALES; s++) {
            const struct front_map *map = &b.front.maps[s];
            int n = map->height * map->width * map->n_channels;
            int n_u = s < FRONT_SCALES ? 2 * n : n;
            sum[s] += ops_norm2(n_u, u) / n / 200.0;
            u += n_u;
        }
    }
    for (int s = 0; s <= FRONT_SCALES; s++) {
        print_message("map %d: mean square %.2f\n", s, sum[s]);
        assert_true(sum[s] > 0.5 && sum[s] < 2.0);
    }
    free_bench(&b);
}

static void what_it_cannot_do_it_says(void **state)
{
    (void)state;
    struct model_conf conf = conf_of(FRONT_GABOR, 2, 28, 28, 1.0);
    assert_non_null(front_check(&conf));
    conf = conf_of(FRONT_GABOR, 1, 28, 7, 1.0);
    assert_non_null(front_check(&conf));
    conf = conf_of(FRONT_PIXELS, 1, 28, 28, -1.0);
    assert_non_null(front_check(&conf));
    conf = conf_of((enum model_front)7, 1, 28, 28, 1.0);
    assert_non_null(front_check(&conf));
}

int main(void)
{
    ops_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_right),
        cmocka_unit_test(pixels_are_seen_through_the_prior),
        cmocka_unit_test(gabors_are_tuned_and_blind_to_phase),
        cmocka_unit_test(energies_are_normalised_for_natural_spectra),
        cmocka_unit_test(what_it_cannot_do_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
