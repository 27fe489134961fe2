/*
 * image_mask.h: which pixels of a stimulus drive the neuron: the mask of an MEI (Ding et
 * al. 2026; Bashivan et al. 2019 in spirit): threshold, closing, largest piece, convex
 * hull, soft edge.
 *
 * Flow:      image -> image_mask_threshold() -> ..close() -> ..largest() -> ..hull() ->
 *            ..smooth(); image_mask_mei() does all.
 * Memory:    the caller's; work: image_mask_work_size() bytes, 8-byte aligned.
 * Units:     pixels; binary masks are bytes 0 and 1, (height, width).
 * Errors:    an empty mask stays empty.
 */
#ifndef EVOKE_IMAGE_MASK_H
#define EVOKE_IMAGE_MASK_H

#include <stddef.h>
#include <stdint.h>

size_t image_mask_work_size(int height, int width);

/* [any] 1 where |x - mean| > limit standard deviations. */
void image_mask_threshold(int height, int width, const float *x, double limit,
                          uint8_t *mask);

/* [any] Grown by n steps over edges, then shrunk by n (beyond the border counts as 0). */
void image_mask_close(int height, int width, int n, uint8_t *mask, void *work);

/* [any] Only the largest piece stays; corners connect. The first of equal ones. */
void image_mask_largest(int height, int width, uint8_t *mask, void *work);

/* [any] Convex hull of the pixels' centres. */
void image_mask_hull(int height, int width, uint8_t *mask, void *work);

/* [any] Gaussian edge: out: (height, width) 0..1; the border repeats its pixels. */
void image_mask_smooth(int height, int width, const uint8_t *mask, double sigma_px,
                       float *out, void *work);

/* [any] All of them: |z| > limit, closing by 2, largest, hull, sigma 1. */
void image_mask_mei(int height, int width, const float *x, double limit, float *out,
                    void *work);

#endif
