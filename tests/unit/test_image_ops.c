#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/image_mask.h"
#include "models/image_ops.h"
#include "models/random.h"

#define PIXELS_MAX (3 * 24 * 24)
#define SENTINEL   12345.0f

static struct random dice;

static int between(int low, int high)
{
    return low + (int)random_below(&dice, (uint32_t)(high - low + 1));
}

static size_t count(const struct image_shape *shape)
{
    return (size_t)(shape->n_channels * shape->height * shape->width);
}

static struct image_shape draw_shape(void)
{
    return (struct image_shape){between(1, 3), between(1, 24), between(1, 24)};
}

static void draw_image(const struct image_shape *shape, float *x)
{
    for (size_t i = 0; i < count(shape); i++)
        x[i] = (float)random_normal(&dice);
    x[count(shape)] = SENTINEL;
}

/* Scratch memory of the size that was promised, with a sentinel behind it. */
static void *scratch(const struct image_shape *shape)
{
    size_t size = image_work_size(shape);
    unsigned char *work = malloc(size + 1);
    memset(work, 0xff, size + 1);
    return work;
}

static void free_scratch(const struct image_shape *shape, unsigned char *work)
{
    assert_int_equal(work[image_work_size(shape)], 0xff);
    free(work);
}

/* Where PyTorch's padding takes a pixel from; -1: zero. */
static int padded(int i, int n, enum image_pad pad)
{
    if (pad == IMAGE_ZERO)
        return i < 0 || i >= n ? -1 : i;
    while (n > 1 && pad == IMAGE_REFLECT && (i < 0 || i >= n))
        i = i < 0 ? -i : 2 * (n - 1) - i;
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* Two-dimensional sum over the whole window, in double. */
static double blurred(const struct image_op *op, const struct image_shape *shape,
                      const float *plane, int y, int x)
{
    double sum = 0.0, total = 0.0, truncate = op->truncate > 0.0 ? op->truncate : 4.0;
    int half_y = (int)fmax(nearbyint(truncate * op->sigma_y), 1.0);
    int half_x = (int)fmax(nearbyint(truncate * op->sigma_x), 1.0);
    for (int i = -half_y; i <= half_y; i++)
        for (int j = -half_x; j <= half_x; j++) {
            double weight = exp(-0.5 * (i * i / (op->sigma_y * op->sigma_y) +
                                        j * j / (op->sigma_x * op->sigma_x)));
            int from_y = padded(y + i, shape->height, op->pad);
            int from_x = padded(x + j, shape->width, op->pad);
            total += weight;
            if (from_y >= 0 && from_x >= 0)
                sum += weight * (double)plane[from_y * shape->width + from_x];
        }
    return sum / total;
}

static void blur_is_the_weighted_mean(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct image_shape shape = draw_shape();
        struct image_op op = {.kind = IMAGE_BLUR,
                              .sigma_y = 0.2 + 3.0 * random_uniform(&dice),
                              .sigma_x = 0.2 + 3.0 * random_uniform(&dice),
                              .truncate = (double)between(0, 4),
                              .pad = (enum image_pad)between(0, 2)};
        float x[PIXELS_MAX + 1], was[PIXELS_MAX + 1];
        void *work = scratch(&shape);
        draw_image(&shape, x);
        memcpy(was, x, sizeof x);
        image_op_apply(&op, &shape, 0, NULL, x, work);
        assert_true(x[count(&shape)] == SENTINEL);
        int plane = shape.height * shape.width;
        for (int i = 0; i < (int)count(&shape); i++) {
            double want = blurred(&op, &shape, was + i / plane * plane,
                                  i % plane / shape.width, i % shape.width);
            assert_true(fabs((double)x[i] - want) < 1e-5);
        }
        free_scratch(&shape, work);
    }
}

/* Knowing where an image is zero changes nothing but the work. */
static void support_changes_no_bit(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct image_shape shape = draw_shape();
        struct image_op op = {.kind = IMAGE_BLUR,
                              .sigma_y = 0.2 + 2.0 * random_uniform(&dice),
                              .sigma_x = 0.2 + 2.0 * random_uniform(&dice),
                              .pad = (enum image_pad)between(0, 2)};
        struct image_support support = {between(0, shape.height - 1),
                                        between(0, shape.width - 1), 0, 0};
        support.h = between(0, shape.height - support.y);
        support.w = between(0, shape.width - support.x);
        float x[PIXELS_MAX + 1], whole[PIXELS_MAX + 1];
        draw_image(&shape, x);
        for (int i = 0; i < (int)count(&shape); i++) {
            int y = i / shape.width % shape.height, c = i % shape.width;
            if (y < support.y || y >= support.y + support.h || c < support.x ||
                c >= support.x + support.w)
                x[i] = 0.0f;
        }
        memcpy(whole, x, sizeof x);
        void *work = scratch(&shape);
        image_op_apply(&op, &shape, 0, NULL, whole, work);
        image_op_apply(&op, &shape, 0, &support, x, work);
        for (int i = 0; i < (int)count(&shape); i++) {
            int y = i / shape.width % shape.height, c = i % shape.width;
            assert_true(x[i] == whole[i]);
            if (y < support.y || y >= support.y + support.h || c < support.x ||
                c >= support.x + support.w)
                assert_true(x[i] == 0.0f);
        }
        free_scratch(&shape, work);
    }
}

/* By the definition of the discrete transform, both ways, for odd sides too. */
static void fourier_scales_each_frequency(void **state)
{
    (void)state;
    for (int h = 1; h <= 7; h += 2)
        for (int w = 2; w <= 7; w++) {
            struct image_shape shape = {1, h, w};
            struct image_op op = {.kind = IMAGE_FOURIER, .amount = 0.7};
            float x[64], was[64];
            void *work = scratch(&shape);
            draw_image(&shape, x);
            memcpy(was, x, sizeof x);
            image_op_apply(&op, &shape, 0, NULL, x, work);
            for (int at = 0; at < h * w; at++) {
                double want = 0.0;
                for (int f = 0; f < h * w; f++) {
                    double fy = (double)(f / w) / h, fx = (double)(f % w) / w;
                    double ay = fmin(fy, 1.0 - fy), ax = fmin(fx, 1.0 - fx);
                    double gain =
                        pow(fmax(1.0 - sqrt(2.0 * (ay * ay + ax * ax)), 0.0), 0.7);
                    for (int from = 0; from < h * w; from++)
                        want +=
                            gain * (double)was[from] / (h * w) *
                            cos(2.0 * M_PI *
                                (fy * (at / w - from / w) + fx * (at % w - from % w)));
                }
                assert_true(fabs((double)x[at] - want) < 1e-5);
            }
            free_scratch(&shape, work);
        }
}

static double std_of(size_t n, const float *x, double *mean)
{
    double sum = 0.0;
    *mean = 0.0;
    for (size_t i = 0; i < n; i++)
        *mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - *mean) * ((double)x[i] - *mean);
    return sqrt(sum / (double)(n - 1));
}

static void constraints_hold_afterwards(void **state)
{
    (void)state;
    struct image_shape shape = {2, 9, 11};
    size_t n = count(&shape);
    float x[PIXELS_MAX + 1], was[PIXELS_MAX + 1];
    void *work = scratch(&shape);
    double mean, before;
    draw_image(&shape, was);
    for (size_t i = 0; i < n; i++)
        was[i] += 0.5f;
    std_of(n, was, &before);
    for (int kind = IMAGE_NORM; kind <= IMAGE_CLIP; kind++) {
        struct image_op op = {.kind = (enum image_op_kind)kind,
                              .amount = 0.7,
                              .p = 3.0,
                              .low = -0.2,
                              .high = 0.1};
        memcpy(x, was, sizeof x);
        image_op_apply(&op, &shape, 0, NULL, x, work);
        double norm = 0.0, cubes = 0.0, std = std_of(n, x, &mean), most = -1.0;
        for (size_t i = 0; i < n; i++) {
            norm += (double)x[i] * (double)x[i];
            cubes += pow(fabs((double)x[i]), 3.0);
            most = fmax(most, fabs((double)x[i] + 0.05));
        }
        if (kind == IMAGE_NORM)
            assert_true(fabs(sqrt(norm) - 0.7) < 1e-5);
        if (kind == IMAGE_NORM_MAX)
            assert_true(fabs(cbrt(cubes) - 0.7) < 1e-5);
        if (kind == IMAGE_STD || kind == IMAGE_STD_MEAN)
            assert_true(fabs(std - 0.7) < 1e-5);
        if (kind == IMAGE_STD_MEAN)
            assert_true(fabs(mean - before) < 1e-5);
        if (kind == IMAGE_CLIP)
            assert_true(fabs(most - 0.15) < 1e-6);
    }
    /* a norm below the limit stays; nothing is divided by 0 */
    struct image_op limit = {.kind = IMAGE_NORM_MAX, .amount = 1e6, .p = 2.0};
    memcpy(x, was, sizeof x);
    image_op_apply(&limit, &shape, 0, NULL, x, work);
    assert_memory_equal(x, was, sizeof x);
    for (int kind = IMAGE_NOTHING; kind <= IMAGE_CLIP; kind++) {
        struct image_op op = {.kind = (enum image_op_kind)kind,
                              .amount = 0.7,
                              .p = 2.0,
                              .low = -1.0,
                              .high = 1.0,
                              .sigma_y = 1.0,
                              .sigma_x = 1.0};
        memset(x, 0, sizeof x);
        assert_null(image_op_check(&op));
        image_op_apply(&op, &shape, 0, NULL, x, work);
        for (size_t i = 0; i < n; i++)
            assert_true(x[i] == 0.0f);
    }
    free_scratch(&shape, work);
}

static void bad_operators_are_refused(void **state)
{
    (void)state;
    const struct image_op bad[] = {
        {.kind = IMAGE_BLUR, .sigma_y = -1.0},
        {.kind = IMAGE_BLUR, .sigma_y = (double)NAN},
        {.kind = IMAGE_BLUR, .sigma_y = 1e9},
        {.kind = IMAGE_BLUR, .truncate = -1.0},
        {.kind = IMAGE_NORM},
        {.kind = IMAGE_STD, .amount = -1.0},
        {.kind = IMAGE_NORM_MAX, .amount = 1.0},
        {.kind = IMAGE_CLIP, .low = 1.0, .high = 0.0},
        {.kind = IMAGE_SCALE, .amount = (double)INFINITY},
        {.kind = (enum image_op_kind)99},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(image_op_check(&bad[i]));
}

enum { P_NORM, VARIATION, SIMILARITY, N_PENALTIES };

static double penalty(int kind, const struct image_shape *shape, const float *x,
                      double weight, float *grad)
{
    if (kind == P_NORM)
        return image_p_norm(count(shape), x, 3.0, weight, grad);
    if (kind == VARIATION)
        return image_total_variation(shape, x, weight, grad);
    return image_similarity(shape->n_channels, count(shape) / (size_t)shape->n_channels,
                            x, weight, grad);
}

static void penalties_have_their_gradients(void **state)
{
    (void)state;
    struct image_shape shape = {3, 6, 7};
    size_t n = count(&shape);
    float x[PIXELS_MAX + 1], grad[PIXELS_MAX + 1], ignored[PIXELS_MAX + 1];
    for (int kind = 0; kind < N_PENALTIES; kind++) {
        /* no two pixels equal: |difference| has no slope there */
        for (size_t i = 0; i < n; i++)
            x[i] = (float)(i * 29 % 127) / 32.0f - 2.0f;
        for (size_t i = n / 3; i < n && kind == SIMILARITY; i++)
            x[i] += x[i % (n / 3)]; /* images that are alike */
        for (size_t i = 0; i <= n; i++)
            grad[i] = 3.0f;
        penalty(kind, &shape, x, 0.5, grad);
        assert_true(grad[n] == 3.0f);
        for (size_t i = 0; i < n; i++) {
            float was = x[i], h = 1.0f / 512.0f;
            x[i] = was + h;
            double up = penalty(kind, &shape, x, 0.0, ignored);
            x[i] = was - h;
            double down = penalty(kind, &shape, x, 0.0, ignored);
            x[i] = was;
            double want = 3.0 + 0.5 * (up - down) / (2.0 * (double)h);
            if (!(fabs((double)grad[i] - want) < 2e-3))
                fail_msg("penalty %d pixel %zu: %g, expected %g", kind, i,
                         (double)grad[i], want);
        }
    }
}

static void total_variation_is_between_neighbours(void **state)
{
    (void)state;
    struct image_shape shape = {2, 2, 2};
    const float x[8] = {1, 2, 4, 8, 1, 1, 1, 2};
    float grad[8] = {0};
    assert_true(image_total_variation(&shape, x, 0.0, grad) == 1 + 4 + 3 + 6 + 1 + 1);
}

static void masks_of_little(void **state)
{
    (void)state;
    uint8_t mask[30] = {0};
    float out[30];
    void *work = malloc(image_mask_work_size(5, 6));
    image_mask_largest(5, 6, mask, work);
    image_mask_hull(5, 6, mask, work);
    for (int i = 0; i < 30; i++)
        assert_int_equal(mask[i], 0);
    /* a line's hull is the line; of two pieces the larger stays, corners connect */
    mask[0 * 6 + 0] = mask[2 * 6 + 2] = mask[4 * 6 + 4] = 1;
    image_mask_hull(5, 6, mask, work);
    for (int i = 0; i < 30; i++)
        assert_int_equal(mask[i], i / 6 == i % 6);
    mask[0 * 6 + 5] = mask[0 * 6 + 4] = 1;
    image_mask_largest(5, 6, mask, work);
    for (int i = 0; i < 30; i++)
        assert_int_equal(mask[i], i / 6 == i % 6);
    /* a piece that turns back upwards is one piece */
    memset(mask, 0, sizeof mask);
    mask[0] = mask[1 * 6 + 1] = mask[0 * 6 + 2] = mask[4 * 6 + 4] = mask[4 * 6 + 5] = 1;
    image_mask_largest(5, 6, mask, work);
    for (int i = 0; i < 30; i++)
        assert_int_equal(mask[i], i == 0 || i == 7 || i == 2);
    /* closing fills a hole of one and leaves the rest as it was */
    memset(mask, 0, sizeof mask);
    for (int i = 0; i < 9; i++)
        mask[(1 + i / 3) * 6 + 1 + i % 3] = i != 4;
    image_mask_close(5, 6, 1, mask, work);
    for (int i = 0; i < 30; i++)
        assert_int_equal(mask[i], i / 6 >= 1 && i / 6 <= 3 && i % 6 >= 1 && i % 6 <= 3);
    memset(mask, 1, sizeof mask);
    image_mask_smooth(5, 6, mask, 1.0, out, work);
    for (int i = 0; i < 30; i++)
        assert_true(fabs((double)out[i] - 1.0) < 1e-6);
    float flat[30] = {0};
    image_mask_mei(5, 6, flat, 0.3, out, work);
    for (int i = 0; i < 30; i++)
        assert_true(out[i] == 0.0f);
    free(work);
}

int main(void)
{
    uint64_t seed = getenv("EVOKE_SEED") ? strtoull(getenv("EVOKE_SEED"), NULL, 0) : 1;
    printf("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    random_init(&dice, seed, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blur_is_the_weighted_mean),
        cmocka_unit_test(support_changes_no_bit),
        cmocka_unit_test(fourier_scales_each_frequency),
        cmocka_unit_test(constraints_hold_afterwards),
        cmocka_unit_test(bad_operators_are_refused),
        cmocka_unit_test(penalties_have_their_gradients),
        cmocka_unit_test(total_variation_is_between_neighbours),
        cmocka_unit_test(masks_of_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
