/*
 * space.h: the set of stimuli that may be shown: images of a size, with a mean, an RMS
 * contrast and limits.
 *
 * Flow:      images and optimise -> space_project() -> space_encode() -> pixels.
 * Memory:    none but the caller's.
 * Units:     contrast: (light - grey) / grey; so the mean of a stimulus is 0 and its RMS
 *            contrast is the standard deviation of x over its pixels.
 * Errors:    a flat or non-finite x has no direction to project: -EDOM.
 * Invariant: what space_project() returns is inside: limits hold exactly; mean and RMS
 *            are met as nearly as the limits allow, the mean before the RMS.
 */
#ifndef EVOKE_SPACE_H
#define EVOKE_SPACE_H

#include <stdint.h>

struct space {
    int height, width;
    float mean; /* wanted mean of x */
    float rms;  /* wanted standard deviation of x */
    float lo, hi;
};

/* [any] NULL, or why there is no such space. */
const char *space_check(const struct space *space);

/* [any] Put x (height, width) into the space: the one scale and shift of x that, once
 * clipped to the limits, has the mean and RMS. 0, or -EDOM for a flat or non-finite x,
 * which becomes the mean everywhere. */
int space_project(const struct space *space, float *x);

/* [any] x to the 8-bit light levels that are shown and back; n pixels. */
void space_encode(const float *x, int n, uint8_t *pixels);
void space_decode(const uint8_t *pixels, int n, float *x);

#endif
