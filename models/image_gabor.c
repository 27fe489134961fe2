#include "models/image_gabor.h"

#include <math.h>
#include <stddef.h>

void image_gabor(const struct image_gabor *gabor, int height, int width, float *out)
{
    double c = cos(gabor->theta), s = sin(gabor->theta);
    double along = gabor->sigma_px, across = gabor->sigma_px / gabor->aspect;
    for (int row = 0; row < height; row++)
        for (int column = 0; column < width; column++) {
            double y = row - (height - 1) / 2.0 - gabor->y_px;
            double x = column - (width - 1) / 2.0 - gabor->x_px;
            double u = (x * c + y * s) / along, v = (y * c - x * s) / across;
            double wave = 2.0 * M_PI / gabor->wavelength_px * u * along + gabor->phase;
            out[(size_t)row * (size_t)width + (size_t)column] =
                (float)(exp(-0.5 * (u * u + v * v)) * cos(wave));
        }
}
