/*
 * twin_kernels.h: the inner loops of a convolutional network, on maps that keep a
 * pixel's channels side by side (rows, pixels, channels) and channels in multiples of
 * TWIN_LANES.
 *
 * Flow:      a caller lays out one convolution as a struct twin_conv and hands it over.
 * Owner:     any thread; no state.
 * Memory:    the caller's. Maps are padded with zeros to the left and right where a
 *            kernel reaches over the edge; above and below, rows that do not exist are
 *            left out (they are zeros).
 * Invariant: an output depends on its own inputs and their order only, never on where
 *            in a map or beside what else it is computed: a window of a map has the bits
 *            of the whole map. Same binary and CPU: same bits.
 */
#ifndef EVOKE_TWIN_KERNELS_H
#define EVOKE_TWIN_KERNELS_H

#include <stddef.h>

#include "models/twin_config.h"

#define TWIN_LANES 16 /* channels are padded to multiples of this */

/* One convolution. The input pixel of output (y, x) and tap (ky, kx) is in row
 * y * stride + row0 + ky * dilation and column x * stride + kx * dilation. */
struct twin_conv {
    const float *in; /* (in_h, in_row) rows; in_pitch floats a pixel */
    ptrdiff_t in_row;
    int in_pitch, in_h, row0;
    const float *weight; /* (kernel, kernel, n_in, n_out), depthwise (kernel, kernel,
                          * n_out) */
    const float *bias;   /* (n_out); NULL: add to what is in out (depthwise: 0) */
    float *out;          /* (out_h, out_row) rows; out_pitch floats a pixel */
    ptrdiff_t out_row;
    int out_pitch, out_h, out_w;
    int kernel, dilation, stride;
    int n_in, n_out; /* n_out a multiple of TWIN_LANES */
};

struct twin_kernels {
    const char *name;

    /* out = bias + in * weight; correlation, every input channel to every output. */
    void (*conv)(const struct twin_conv *job);

    /* out = bias + in * weight; every channel its own kernel. */
    void (*depthwise)(const struct twin_conv *job);

    /* weight gradient of conv: grad (kernel, kernel, n_in, n_out) += sum over pixels of
     * in * out, where out holds the gradient at the output. */
    void (*conv_grad)(const struct twin_conv *job, float *grad);

    /* weight gradient of depthwise: grad (kernel, kernel, n_out), else the same. */
    void (*depthwise_grad)(const struct twin_conv *job, float *grad);

    /* y = act(y) for n values; n a multiple of TWIN_LANES. */
    void (*act)(enum twin_act act, float shift_x, float shift_y, size_t n, float *y);

    /* dy *= act'(.), from the activations y that act() gave. */
    void (*act_back)(enum twin_act act, float shift_y, size_t n, const float *y,
                     float *dy);

    /* n a multiple of TWIN_LANES */
    float (*dot)(int n, const float *a, const float *b);
    void (*add_scaled)(int n, float scale, const float *x, float *y); /* y += scale x */
};

/* [any] The fastest kernels this CPU can run; the n-th fastest, NULL after the last. */
const struct twin_kernels *twin_kernels(void);
const struct twin_kernels *twin_kernels_nth(int n);

#endif
