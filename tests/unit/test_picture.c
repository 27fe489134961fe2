/* Grey pictures: written by the project, read back by libpng. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/picture.h"

static void levels_are_symmetric(void **state)
{
    const float x[] = {-2, -1, 0, 1, 2, NAN, INFINITY};
    const float flat[] = {0, 0, NAN};
    uint8_t levels[8];

    (void)state;
    memset(levels, 77, sizeof(levels));
    picture_levels(x, 7, levels);
    assert_int_equal(levels[0], 0);
    assert_int_equal(levels[1], 64);
    assert_int_equal(levels[2], 128);
    assert_int_equal(levels[3], 191);
    assert_int_equal(levels[4], 255);
    assert_int_equal(levels[5], 128);
    assert_int_equal(levels[6], 128);
    assert_int_equal(levels[7], 77);
    picture_levels(flat, 3, levels);
    for (int i = 0; i < 3; i++)
        assert_int_equal(levels[i], 128);
}

static void scale_brings_the_longer_side_near(void **state)
{
    (void)state;
    assert_int_equal(picture_scale(16, 16, 96), 6);
    assert_int_equal(picture_scale(10, 31, 96), 3);
    assert_int_equal(picture_scale(1, 31, 512), 17);
    assert_int_equal(picture_scale(1000, 700, 96), 1);
}

/* levels (height, width) as libpng reads the PNG: each pixel a square. */
static void check(png_image *image, const uint8_t *pixels, const uint8_t *levels,
                  int height, int width, int scale)
{
    assert_int_equal(image->width, width * scale);
    assert_int_equal(image->height, height * scale);
    for (int y = 0; y < height * scale; y++)
        for (int x = 0; x < width * scale; x++)
            assert_int_equal(pixels[y * width * scale + x],
                             levels[y / scale * width + x / scale]);
}

#define HEIGHT 5
#define WIDTH  9
#define SCALE  3

static void fill(uint8_t *levels)
{
    for (int i = 0; i < HEIGHT * WIDTH; i++)
        levels[i] = (uint8_t)(i * 37 + 11);
}

static void round_trip_in_memory(void **state)
{
    uint8_t levels[HEIGHT * WIDTH], pixels[HEIGHT * WIDTH * SCALE * SCALE];
    png_image image = {.version = PNG_IMAGE_VERSION};
    void *png;
    size_t size;

    (void)state;
    fill(levels);
    assert_int_equal(picture_png(levels, HEIGHT, WIDTH, SCALE, &png, &size), 0);
    assert_true(png_image_begin_read_from_memory(&image, png, size));
    assert_int_equal(image.format, PNG_FORMAT_GRAY);
    image.format = PNG_FORMAT_GRAY;
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
    check(&image, pixels, levels, HEIGHT, WIDTH, SCALE);
    free(png);
}

static void round_trip_as_file(void **state)
{
    uint8_t levels[HEIGHT * WIDTH], pixels[HEIGHT * WIDTH];
    png_image image = {.version = PNG_IMAGE_VERSION};
    char path[] = "/tmp/evoke-test-picture-XXXXXX";

    (void)state;
    fill(levels);
    close(mkstemp(path));
    assert_int_equal(picture_write(path, levels, HEIGHT, WIDTH, 1), 0);
    assert_true(png_image_begin_read_from_file(&image, path));
    image.format = PNG_FORMAT_GRAY;
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
    check(&image, pixels, levels, HEIGHT, WIDTH, 1);
    unlink(path);
}

static void place_that_cannot_be_written(void **state)
{
    uint8_t levels[HEIGHT * WIDTH];

    (void)state;
    fill(levels);
    assert_int_equal(picture_write("/nowhere/at/all.png", levels, HEIGHT, WIDTH, 1),
                     -ENOENT);
    if (access("/dev/full", W_OK) == 0)
        assert_true(picture_write("/dev/full", levels, HEIGHT, WIDTH, 1) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_symmetric),
        cmocka_unit_test(scale_brings_the_longer_side_near),
        cmocka_unit_test(round_trip_in_memory),
        cmocka_unit_test(round_trip_as_file),
        cmocka_unit_test(place_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
