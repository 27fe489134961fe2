#include "picture.h"

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/log.h"

void picture_levels(const float *x, size_t n, uint8_t *levels)
{
    float most = 0;

    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i]) && fabsf(x[i]) > most)
            most = fabsf(x[i]);
    for (size_t i = 0; i < n; i++) {
        double contrast = most > 0 && isfinite(x[i]) ? (double)x[i] / (double)most : 0;
        levels[i] = (uint8_t)lrint(127.5 + 127.5 * contrast);
    }
}

int picture_scale(int height, int width, int side)
{
    int longer = height > width ? height : width, scale = (side + longer / 2) / longer;

    return scale > 1 ? scale : 1;
}

/* Each pixel a square: (height * scale, width * scale), malloc'd. */
static uint8_t *enlarge(const uint8_t *levels, int height, int width, int scale)
{
    size_t line = (size_t)width * (size_t)scale;
    uint8_t *large = malloc(line * (size_t)height * (size_t)scale);

    for (int y = 0; large && y < height * scale; y++)
        for (int x = 0; x < width; x++)
            memset(large + (size_t)y * line + (size_t)x * (size_t)scale,
                   levels[(size_t)(y / scale) * (size_t)width + (size_t)x],
                   (size_t)scale);
    return large;
}

static void describe(png_image *image, int height, int width, int scale)
{
    CHECK(height > 0 && width > 0 && scale > 0);
    memset(image, 0, sizeof(*image));
    image->version = PNG_IMAGE_VERSION;
    image->width = (png_uint_32)width * (png_uint_32)scale;
    image->height = (png_uint_32)height * (png_uint_32)scale;
    image->format = PNG_FORMAT_GRAY;
}

int picture_png(const uint8_t *levels, int height, int width, int scale, void **png,
                size_t *size)
{
    uint8_t *large = enlarge(levels, height, width, scale);
    png_alloc_size_t room;
    png_image image;
    int error = large ? 0 : -ENOMEM;

    describe(&image, height, width, scale);
    *png = NULL;
    if (!error && !png_image_write_get_memory_size(image, room, 0, large, 0, NULL))
        error = -EIO;
    if (!error && !(*png = malloc(room)))
        error = -ENOMEM;
    if (!error && !png_image_write_to_memory(&image, *png, &room, 0, large, 0, NULL))
        error = -EIO;
    *size = error ? 0 : room;
    if (error) {
        free(*png);
        *png = NULL;
    }
    free(large);
    return error;
}

int picture_write(const char *path, const uint8_t *levels, int height, int width,
                  int scale)
{
    void *png;
    size_t size;
    int error = picture_png(levels, height, width, scale, &png, &size);
    FILE *file;

    if (error)
        return error;
    file = fopen(path, "wbe");
    if (!file)
        error = -errno;
    if (!error && fwrite(png, 1, size, file) != size)
        error = -EIO;
    if (file && fclose(file) != 0 && !error)
        error = -errno;
    free(png);
    return error;
}
