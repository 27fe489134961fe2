/*
 * picture.h: grey pictures as PNG, in memory or as a file.
 *
 * Flow:   numbers -> picture_levels() -> picture_png() or picture_write().
 * Memory: picture_png() allocates; the caller frees.
 * Units:  levels 0..255; contrast 0 (the mean) is grey 128.
 * Errors: 0 or -errno.
 */
#ifndef EVOKE_PICTURE_H
#define EVOKE_PICTURE_H

#include <stddef.h>
#include <stdint.h>

/* The n numbers as grey levels, on a scale that is symmetric about 0: the largest of
 * all |x| is black or white. A number that is none is grey. */
void picture_levels(const float *x, size_t n, uint8_t *levels);

/* levels (height, width) as a PNG, each pixel a square of scale x scale. */
int picture_png(const uint8_t *levels, int height, int width, int scale, void **png,
                size_t *size);

/* The same as a file. */
int picture_write(const char *path, const uint8_t *levels, int height, int width,
                  int scale);

/* The scale at which the longer side comes nearest to `side` pixels, at least 1. */
int picture_scale(int height, int width, int side);

#endif
