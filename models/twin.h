/*
 * twin.h: the digital twin: a convolutional core shared by all neurons and one small
 * readout a neuron (Lurz et al. 2021; Willeke et al. 2022), as trained in PyTorch by
 * neuralpredictors and imported with its tensors' names unchanged.
 *
 * Flow:      twin_open() -> twin_view_units() lays out what some neurons need ->
 *            twin_forward() gives their rates -> twin_backward() the gradients.
 * Owner:     read-only after twin_open(), so any number of threads share one twin, each
 *            with its own work memory. Only twin_fold() writes.
 * Memory:    heap from twin_open() to twin_close(). Forward and backward allocate
 *            nothing: the caller gives twin_view.work_size bytes, 64-byte aligned.
 * Units:     image: (channels, height, width) as the network was trained (z-scored
 *            luminance); rate: the training's response units (ELU + 1).
 * Errors:    twin_open() says in words what it does not understand; after that nothing
 *            can fail.
 * Invariant: a view of some neurons computes the receptive field's window of each layer
 *            only, and its rates and gradients have the bits of the whole computation.
 */
#ifndef EVOKE_TWIN_H
#define EVOKE_TWIN_H

#include <stddef.h>
#include <stdint.h>

#include "models/twin_config.h"
#include "models/twin_kernels.h"

#define TWIN_IMAGE      (-1) /* as a layer's source: the image itself */
#define TWIN_MLP_LAYERS 8
#define TWIN_MLP_WIDTH  256

/* One tensor of the state_dict. */
struct twin_param {
    char name[TWIN_NAME];
    int n_dims, dims[4];
    size_t offset, count; /* in twin.raw */
    int trainable;
};

/* Which tensors a layer has: index into twin.param, -1 for none. */
enum twin_role {
    TWIN_CONV_W,
    TWIN_CONV_B,
    TWIN_IN_W, /* depth-separable: 1x1, then each channel its kernel, then 1x1 */
    TWIN_IN_B,
    TWIN_SPACE_W,
    TWIN_SPACE_B,
    TWIN_OUT_W,
    TWIN_OUT_B,
    TWIN_NORM_MEAN,
    TWIN_NORM_VAR,
    TWIN_NORM_W,
    TWIN_NORM_B,
    TWIN_SCALE,
    TWIN_BIAS,
    TWIN_N_ROLES
};

/* A layer: geometry, and where its folded weights lie in twin.weight. */
struct twin_layer {
    int n_from, from[TWIN_MAX_LAYERS]; /* layers it reads, concatenated */
    int separable;
    int kernel, dilation, stride, padding;
    int in_h, in_w, h, w; /* maps it reads and writes */
    int n_out, n_pad;     /* channels; padded to TWIN_LANES */
    enum twin_act act;
    int param[TWIN_N_ROLES];
    size_t in[TWIN_MAX_LAYERS]; /* a source: dense (kernel, kernel, n_in, n_pad);
                                 * separable (n_in, n_pad) */
    size_t in_bias;
    size_t space, space_bias;        /* separable: (kernel, kernel, n_pad) */
    size_t out, out_bias;            /* separable: (n_pad, n_pad) */
    size_t in_back[TWIN_MAX_LAYERS]; /* the same transposed and flipped, for the */
    size_t space_back, out_back;     /* gradient at the input */
};

/* What turns a map of features into rates; the twin's own, or one learned online. */
struct twin_readout {
    enum twin_readout_kind kind;
    int n_units;
    int n_levels;    /* TWIN_POINT: the map and its poolings */
    int pool_kernel; /* one pooling: mean of so many pixels a side */
    int align_corners;
    int n_features; /* floats a unit: levels, stacked layers, channels (padded) */
    double elu_offset;
    const float *feature; /* (n_units, n_features) */
    const float *bias;    /* (n_units) */
    const float *pos;     /* TWIN_POINT: (n_units, 2) x, y; -1..1 over the map */
    const float *mask;    /* TWIN_FACTORISED: (n_units, h, w) */
};

/* Gradients at a readout, in its own layout; NULL: not wanted. */
struct twin_readout_grad {
    float *feature, *bias, *pos, *mask;
};

/* A small perceptron: grid predictor and shifter. */
struct twin_mlp {
    int n_layers, n_in;
    int weight[TWIN_MLP_LAYERS], bias[TWIN_MLP_LAYERS]; /* index into twin.param */
    int elu; /* between layers: ELU, else tanh */
    int final_tanh;
};

struct twin {
    struct twin_config config;
    char *config_json;   /* its text, as read */
    char key[TWIN_NAME]; /* the session whose readout this is */
    int n_other;         /* tensors of other sessions, left out */
    const struct twin_kernels *kernels;
    int n_layers;
    struct twin_layer layer[TWIN_MAX_LAYERS];
    int n_stacked, stacked[TWIN_MAX_LAYERS]; /* layers that the readout sees */
    int n_stack_pad;                         /* channels of all of them, padded */

    int n_params;
    struct twin_param *param;
    float *raw; /* the state_dict, as it was in the file */
    size_t n_raw;
    int feature_param, bias_param, pos_param, sigma_param, mask_param, grid_param;
    struct twin_mlp predictor; /* n_layers 0: none */
    struct twin_mlp shifter;

    float *weight; /* folded: [0, n_forward) forward, then the transposed copies */
    size_t n_forward, n_weight;
    size_t feature_at, unit_bias_at, pos_at, mask_at; /* of the readout, in weight */
    struct twin_readout readout;                      /* pointing into weight */
};

/* A rectangle of a map. */
struct twin_window {
    int y, x, h, w;
};

/* What is computed for some units: a window of each layer, and where it lies in the work
 * memory (offsets in floats). A plain value. */
struct twin_view {
    const struct twin_readout *readout;
    const uint32_t *units; /* (n_units), NULL: all */
    int n_units;
    float shift[2];           /* added to positions (the shifter's output); may change
                               * from image to image where whole maps are computed */
    struct twin_window image; /* pixels that matter */
    struct twin_window out[TWIN_MAX_LAYERS];
    struct twin_window in[TWIN_MAX_LAYERS]; /* of the map it reads, inside that map */
    int in_x[TWIN_MAX_LAYERS], in_w[TWIN_MAX_LAYERS]; /* columns, padding included */
    size_t act[TWIN_MAX_LAYERS], grad[TWIN_MAX_LAYERS];
    size_t mid[TWIN_MAX_LAYERS], mid2[TWIN_MAX_LAYERS]; /* inside a separable layer */
    size_t scratch, scratch2, z, sum;
    size_t work_size; /* bytes */
};

/* [slow] Read a model; config_path NULL: the text under "config" in the file's own
 * metadata, else config.json beside it; key NULL: the session that the configuration
 * names, else the only one. NULL: why, in one line. */
struct twin *twin_open(const char *path, const char *config_path, const char *key,
                       char *why, size_t why_size);
void twin_close(struct twin *twin);

/* [slow] Write the parameters back under their names, configuration inside: 0/-errno. */
int twin_save(const struct twin *twin, const char *path);

/* [any] twin.raw -> twin.weight: batch norm into the convolution before it, channels
 * innermost, positions from the predictor. After raw was changed. */
void twin_fold(struct twin *twin);

/* [any] Positions in raw back onto the map; the package does so before each forward pass
 * in training. */
void twin_clamp_positions(struct twin *twin);

/* [any] Chain rule of twin_fold(): gradient at twin.weight's first n_forward floats ->
 * gradient at raw (n_raw), overwritten; 0 where not trainable. */
void twin_fold_grad(const struct twin *twin, const float *weight_grad, float *raw_grad);

/* [any] Index of a parameter, or -1. */
int twin_find_param(const struct twin *twin, const char *name);

/* [any] Everything that units read (NULL: all n of the readout), exactly. readout NULL:
 * the twin's own. units is kept, not copied. */
void twin_view_units(const struct twin *twin, const struct twin_readout *readout,
                     const uint32_t *units, int n_units, const float *shift,
                     struct twin_view *view);

/* [any] The same units from whole maps: for shifts that change from image to image. */
void twin_view_whole(const struct twin *twin, const struct twin_readout *readout,
                     const uint32_t *units, int n_units, struct twin_view *view);

/* [rt] rate: (n_units). image: (channels, height, width); outside view.image unread. */
void twin_forward(const struct twin *twin, const struct twin_view *view, void *work,
                  const float *image, float *rate);

/* [rt] After twin_forward() with the same work: gradient of sum(rate_grad * rate).
 * image_grad: (channels, height, width), zero outside view.image, or NULL.
 * weight_grad: (n_forward) is added to, or NULL (then image is not read). */
void twin_backward(const struct twin *twin, const struct twin_view *view, void *work,
                   const float *image, const float *rate_grad, float *image_grad,
                   float *weight_grad);

/* [rt] The features that the view's readout sees at one position inside the view (after
 * twin_forward()); out: (n_features). What an online readout regresses on. */
void twin_features(const struct twin *twin, const struct twin_view *view,
                   const void *work, const float pos[2], float *out);

/* [any] Shift of all positions for this pupil position, (shifter.n_in) numbers; 0 where
 * there is no shifter. */
void twin_shift(const struct twin *twin, const float *pupil, float shift[2]);

/* [slow] Architecture, parameters and receptive field in words, to text. */
void twin_describe(const struct twin *twin, char *text, size_t size);

#endif
