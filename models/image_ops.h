/*
 * image_ops.h: what is done to an image, or to the gradient at an image, between two
 * steps of a search for the best stimulus (the recipes of Walker et al. 2019 and after).
 *
 * Flow:      gradient or image -> image_op_apply() in place, one operator after another.
 * Memory:    image_work_size() bytes of scratch, 8-byte aligned; no allocation.
 * Units:     images: (n_channels, height, width) row-major; lengths in pixels.
 * Errors:    image_op_check() says in words what an operator lacks; the rest cannot
 *            fail (a constant image has no contrast to scale and stays as it is).
 * Invariant: sums over an image are kept in double.
 */
#ifndef EVOKE_IMAGE_OPS_H
#define EVOKE_IMAGE_OPS_H

#include <stddef.h>

struct image_shape {
    int n_channels, height, width;
};

/* Rows and columns outside of which an image is known to be zero, in all channels. */
struct image_support {
    int y, x, h, w;
};

enum image_op_kind {
    IMAGE_NOTHING = 0,
    IMAGE_BLUR,     /* Gaussian, separable */
    IMAGE_FOURIER,  /* spectrum times (1 - sqrt(2) |f|)^amount, f in cycles a pixel */
    IMAGE_SCALE,    /* times amount */
    IMAGE_MEAN_ABS, /* divided by the mean of |x| */
    IMAGE_NORM,     /* to the Euclidean norm amount, up or down */
    IMAGE_NORM_MAX, /* down to the p-norm amount where it is above */
    IMAGE_STD,      /* to the standard deviation amount; mean scaled with it */
    IMAGE_STD_MEAN, /* the same, mean kept */
    IMAGE_CLIP      /* into low..high */
};

enum image_pad { IMAGE_REFLECT = 0, IMAGE_REPLICATE, IMAGE_ZERO };

struct image_op {
    enum image_op_kind kind;
    double amount;
    double decay;            /* amount, or sigma, + decay * (iteration - 1) */
    double p;                /* IMAGE_NORM_MAX */
    double low, high;        /* IMAGE_CLIP */
    double sigma_y, sigma_x; /* IMAGE_BLUR */
    double truncate;         /* kernel ends after so many sigmas; 0: 4 */
    enum image_pad pad;
};

/* [any] NULL, or why this operator cannot be. */
const char *image_op_check(const struct image_op *op);

size_t image_work_size(const struct image_shape *shape);

/* [rt] x in place. support: where x may be other than 0, made larger where the operator
 * spreads it; NULL: anywhere. iteration counts from 0 or 1 as the recipe does. */
void image_op_apply(const struct image_op *op, const struct image_shape *shape,
                    int iteration, struct image_support *support, float *x, void *work);

/* [rt] Penalties and their gradients, which are added: grad += weight * d/dx. */

/* (sum |x|^p)^(1/p) */
double image_p_norm(size_t n, const float *x, double p, double weight, float *grad);

/* Sum of |differences| between neighbours along y and x (anisotropic total variation;
 * the published code subtracts the last row in place of the neighbour along y). */
double image_total_variation(const struct image_shape *shape, const float *x,
                             double weight, float *grad);

/* Largest correlation between any two of n images; x: (n_images, n). Its gradient is
 * that of the one pair (Cadena et al. 2018, diverse features). */
double image_similarity(int n_images, size_t n, const float *x, double weight,
                        float *grad);

#endif
