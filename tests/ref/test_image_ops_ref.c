/* Image operators, masks and Gabors against float64 references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "models/image_gabor.h"
#include "models/image_mask.h"
#include "models/image_ops.h"

#define HEIGHT 36
#define WIDTH  64
#define PIXELS (HEIGHT * WIDTH)

static const struct image_shape shape = {1, HEIGHT, WIDTH};

static const struct {
    const char *name;
    int n_images, iteration;
    struct image_op op;
} cases[] = {
    {"gaussianblur_0.5", 2, 0, {.kind = IMAGE_BLUR, .sigma_y = 0.5, .sigma_x = 0.5}},
    {"gaussianblur_1.0", 2, 0, {.kind = IMAGE_BLUR, .sigma_y = 1.0, .sigma_x = 1.0}},
    {"gaussianblur_1.5", 2, 0, {.kind = IMAGE_BLUR, .sigma_y = 1.5, .sigma_x = 1.5}},
    {"gaussianblur_3.0", 2, 0, {.kind = IMAGE_BLUR, .sigma_y = 3.0, .sigma_x = 3.0}},
    {"gaussianblur_2x1_const",
     2,
     0,
     {.kind = IMAGE_BLUR, .sigma_y = 2.0, .sigma_x = 1.0, .pad = IMAGE_ZERO}},
#define DECAY                                                                            \
    {                                                                                    \
        .kind = IMAGE_BLUR, .sigma_y = 1.5, .sigma_x = 1.5, .decay = -1.49 / 999.0       \
    }
    {"gaussianblur_decay_it0", 2, 0, DECAY},
    {"gaussianblur_decay_it1", 2, 1, DECAY},
    {"gaussianblur_decay_it500", 2, 500, DECAY},
    {"gaussianblur_decay_it999", 2, 999, DECAY},
    {"changenorm_10", 2, 0, {.kind = IMAGE_NORM, .amount = 10.0}},
    {"changestd_0.1", 2, 0, {.kind = IMAGE_STD, .amount = 0.1}},
    {"changestd_0.1_keepmean", 2, 0, {.kind = IMAGE_STD_MEAN, .amount = 0.1}},
    {"dividebymeanabs", 1, 0, {.kind = IMAGE_MEAN_ABS}},
    {"fouriersmoothing_0.04", 2, 0, {.kind = IMAGE_FOURIER, .amount = 0.04}},
};

static float *input(void)
{
    size_t n;
    float *x = fixture_floats(fixture_path("fixtures/ops/input.npy"), &n);
    assert_int_equal(n, 2 * PIXELS);
    return x;
}

static void operators(void **state)
{
    (void)state;
    void *work = fixture_work(image_work_size(&shape));
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        size_t n;
        float *x = input();
        double *want =
            fixture_doubles(fixture_path("fixtures/ops/%s.npy", cases[c].name), &n);
        assert_int_equal(n, cases[c].n_images * PIXELS);
        assert_null(image_op_check(&cases[c].op));
        for (int i = 0; i < cases[c].n_images; i++)
            image_op_apply(&cases[c].op, &shape, cases[c].iteration, NULL, x + i * PIXELS,
                           work);
        double error = fixture_error(n, x, want);
        print_message("%-26s %.1e\n", cases[c].name, error);
        assert_true(error <= 1e-5);
        free(x);
        free(want);
    }
    free(work);
}

static double sum_of(const char *name, size_t i)
{
    size_t n;
    double *values = fixture_doubles(fixture_path("fixtures/ops/%s.npy", name), &n);
    assert_true(i < n);
    double value = values[i];
    free(values);
    return value;
}

static void penalties(void **state)
{
    (void)state;
    float *x = input(), *grad = calloc(2 * PIXELS, sizeof *grad);
    double norm = 0.5 * (image_p_norm(PIXELS, x, 6.0, 0.0, grad) +
                         image_p_norm(PIXELS, x + PIXELS, 6.0, 0.0, grad));
    assert_true(fabs(norm / sum_of("lpnorm6", 0) - 1.0) < 1e-6);
    double similarity = image_similarity(2, PIXELS, x, 0.0, grad);
    assert_true(fabs(similarity - sum_of("similarity_corr", 0)) < 1e-6);
    double shipped[2];
    /* the reference is the package's, which subtracts the last row from every row:
     * the same with that difference in place of the neighbour's along y */
    for (int i = 0; i < 2; i++) {
        const float *image = x + i * PIXELS;
        shipped[i] = image_total_variation(&shape, image, 0.0, grad);
        for (int y = 1; y < HEIGHT; y++)
            for (int c = 0; c < WIDTH; c++) {
                double here = (double)image[y * WIDTH + c];
                shipped[i] += fabs(here - (double)image[(HEIGHT - 1) * WIDTH + c]) -
                              fabs(here - (double)image[(y - 1) * WIDTH + c]);
            }
    }
    assert_true(fabs(0.5 * (shipped[0] + shipped[1]) / sum_of("tv_shipped", 0) - 1.0) <
                1e-6);
    assert_true(fabs(shipped[0] / sum_of("tv_shipped", 1) - 1.0) < 1e-6);
    free(x);
    free(grad);
}

static void check_mask(const char *name, const uint8_t *got)
{
    size_t n;
    double *want = fixture_doubles(fixture_path("fixtures/mask/%s.npy", name), &n);
    assert_int_equal(n, PIXELS);
    for (size_t i = 0; i < n; i++)
        if ((double)got[i] != want[i])
            fail_msg("%s differs at row %zu, column %zu", name, i / WIDTH, i % WIDTH);
    free(want);
}

static void mei_mask(void **state)
{
    (void)state;
    size_t n;
    float *x = fixture_floats(fixture_path("fixtures/mask/mei.npy"), &n);
    float out[PIXELS], again[PIXELS];
    uint8_t mask[PIXELS];
    void *work = fixture_work(image_mask_work_size(HEIGHT, WIDTH));
    image_mask_threshold(HEIGHT, WIDTH, x, 0.3, mask);
    check_mask("thresholded", mask);
    image_mask_close(HEIGHT, WIDTH, 2, mask, work);
    check_mask("closed", mask);
    image_mask_largest(HEIGHT, WIDTH, mask, work);
    check_mask("largest", mask);
    image_mask_hull(HEIGHT, WIDTH, mask, work);
    check_mask("hull_pixelcentres", mask);
    image_mask_smooth(HEIGHT, WIDTH, mask, 1.0, out, work);
    double *want = fixture_doubles(fixture_path("fixtures/mask/smoothed.npy"), &n);
    assert_true(fixture_error(n, out, want) <= 1e-6);
    image_mask_mei(HEIGHT, WIDTH, x, 0.3, again, work);
    assert_memory_equal(out, again, sizeof out);
    free(x);
    free(want);
    free(work);
}

static void gabors(void **state)
{
    (void)state;
    size_t n, n_params;
    double *want = fixture_doubles(fixture_path("fixtures/gabor/images.npy"), &n);
    double *p = fixture_doubles(fixture_path("fixtures/gabor/params.npy"), &n_params);
    assert_int_equal(n / PIXELS, n_params / 7);
    for (size_t i = 0; i < n / PIXELS; i++) {
        const double *q = p + 7 * i;
        struct image_gabor gabor = {q[0], q[1], q[2], q[3], q[4], q[5], q[6]};
        float out[PIXELS];
        image_gabor(&gabor, HEIGHT, WIDTH, out);
        assert_true(fixture_error(PIXELS, out, want + i * PIXELS) <= 1e-6);
    }
    free(want);
    free(p);
}

int main(void)
{
    fixture_require();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators),
        cmocka_unit_test(penalties),
        cmocka_unit_test(mei_mask),
        cmocka_unit_test(gabors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
