/*
 * twin_layout.h: inside the twin: where folded weights and maps lie. For the twin_*.c
 * files only.
 */
#ifndef EVOKE_TWIN_LAYOUT_H
#define EVOKE_TWIN_LAYOUT_H

#include "models/twin.h"

static inline int twin_pad(int n)
{
    return (n + TWIN_LANES - 1) / TWIN_LANES * TWIN_LANES;
}

/* Channels of a layer's source as they are, and as they lie in memory. */
static inline int twin_source_channels(const struct twin *twin, int from)
{
    return from == TWIN_IMAGE ? twin->config.channels : twin->layer[from].n_out;
}

static inline int twin_source_pad(const struct twin *twin, int from)
{
    return from == TWIN_IMAGE ? twin->config.channels : twin->layer[from].n_pad;
}

/* Taps of the first layer's kernel, padded: columns of its gradient at the image. */
static inline int twin_image_taps(const struct twin *twin)
{
    const struct twin_layer *layer = &twin->layer[0];
    return twin_pad(layer->kernel * layer->kernel * twin->config.channels);
}

/* Offsets of all folded weights. */
void twin_layout(struct twin *twin);

/* Perceptron: in (n_in) -> out (2). */
void twin_mlp_forward(const struct twin *twin, const struct twin_mlp *mlp,
                      const float *in, double out[2]);
/* Adds the gradient of sum(out_grad * out) to raw_grad (n_raw). */
void twin_mlp_back(const struct twin *twin, const struct twin_mlp *mlp, const float *in,
                   const double out_grad[2], float *raw_grad);

/* twin_readout.c: the part of a view that reads the feature map. A map is a window of
 * one stacked layer; readout_window() is what the units touch. */
struct twin_window twin_readout_window(const struct twin *twin,
                                       const struct twin_view *view);
void twin_readout_forward(const struct twin *twin, const struct twin_view *view,
                          float *work, float *rate);
void twin_readout_backward(const struct twin *twin, const struct twin_view *view,
                           float *work, const float *rate_grad,
                           const struct twin_readout_grad *grad);

#endif
