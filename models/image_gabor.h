/*
 * image_gabor.h: a Gabor patch, the control that an MEI is measured against.
 *
 * Units: pixels and radians; the centre is counted from the middle of the image.
 */
#ifndef EVOKE_IMAGE_GABOR_H
#define EVOKE_IMAGE_GABOR_H

struct image_gabor {
    double theta, sigma_px, wavelength_px, phase;
    double aspect; /* height over width of the envelope is 1 / aspect */
    double x_px, y_px;
};

/* [any] out: (height, width); contrast 1, grey 0. */
void image_gabor(const struct image_gabor *gabor, int height, int width, float *out);

#endif
