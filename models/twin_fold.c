#include <math.h>
#include <string.h>

#include "models/twin_layout.h"
#include "protocol/log.h"

/* What batch norm and its relatives do to one channel: scale * conv + shift. */
struct fold {
    double inverse; /* 1 / sqrt(var + eps) */
    double gain;    /* learned scales */
    double mean, shift;
};

static double value(const struct twin *twin, int param, int i, double standard)
{
    return param < 0 ? standard
                     : (double)twin->raw[twin->param[param].offset + (size_t)i];
}

static struct fold fold_channel(const struct twin *twin, const struct twin_layer *layer,
                                int c)
{
    const int *p = layer->param;
    struct fold fold = {1.0, 1.0, 0.0, 0.0};
    if (p[TWIN_NORM_MEAN] >= 0) {
        fold.mean = value(twin, p[TWIN_NORM_MEAN], c, 0.0);
        fold.inverse =
            1.0 / sqrt(value(twin, p[TWIN_NORM_VAR], c, 1.0) + twin->config.bn_eps);
    }
    fold.gain = value(twin, p[TWIN_NORM_W], c, 1.0) * value(twin, p[TWIN_SCALE], c, 1.0);
    /* scale.scale stands where norm.bias is absent, so its order does not matter */
    fold.shift = value(twin, p[TWIN_NORM_B], c, 0.0) + value(twin, p[TWIN_BIAS], c, 0.0);
    return fold;
}

static size_t reserve(size_t *at, size_t n)
{
    size_t here = *at;
    *at += (n + TWIN_LANES - 1) / TWIN_LANES * TWIN_LANES;
    return here;
}

static void lay_out_layer(const struct twin *twin, struct twin_layer *layer, size_t *at)
{
    size_t pad = (size_t)layer->n_pad;
    size_t taps = (size_t)layer->kernel * (size_t)layer->kernel;
    for (int i = 0; i < layer->n_from; i++) {
        size_t n_in = (size_t)twin_source_pad(twin, layer->from[i]);
        layer->in[i] = reserve(at, (layer->separable ? 1 : taps) * n_in * pad);
    }
    layer->in_bias = reserve(at, pad);
    if (layer->separable) {
        layer->space = reserve(at, taps * pad);
        layer->space_bias = reserve(at, pad);
        layer->out = reserve(at, pad * pad);
        layer->out_bias = reserve(at, pad);
    }
}

static void lay_out_back(const struct twin *twin, struct twin_layer *layer, size_t *at)
{
    size_t pad = (size_t)layer->n_pad;
    size_t taps = (size_t)layer->kernel * (size_t)layer->kernel;
    for (int i = 0; i < layer->n_from; i++) {
        size_t n_in = (size_t)twin_source_pad(twin, layer->from[i]);
        if (layer->from[i] == TWIN_IMAGE)
            layer->in_back[i] = reserve(at, pad * (size_t)twin_image_taps(twin));
        else
            layer->in_back[i] = reserve(at, (layer->separable ? 1 : taps) * n_in * pad);
    }
    if (layer->separable) {
        layer->space_back = reserve(at, taps * pad);
        layer->out_back = reserve(at, pad * pad);
    }
}

void twin_layout(struct twin *twin)
{
    const struct twin_config *config = &twin->config;
    struct twin_readout *readout = &twin->readout;
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    size_t n = (size_t)readout->n_units, at = 0;
    int point = config->readout == TWIN_POINT;
    readout->kind = config->readout;
    readout->n_levels = point ? config->pool_steps + 1 : 1;
    readout->pool_kernel = config->pool_kernel;
    readout->align_corners = config->align_corners;
    readout->n_features = readout->n_levels * twin->n_stack_pad;
    readout->elu_offset = config->elu_offset;
    for (int l = 0; l < twin->n_layers; l++)
        lay_out_layer(twin, &twin->layer[l], &at);
    twin->feature_at = reserve(&at, n * (size_t)readout->n_features);
    twin->unit_bias_at = reserve(&at, n);
    twin->pos_at = reserve(&at, point ? 2 * n : 0);
    twin->mask_at = reserve(&at, point ? 0 : n * (size_t)top->h * (size_t)top->w);
    twin->n_forward = at;
    for (int l = 0; l < twin->n_layers; l++)
        lay_out_back(twin, &twin->layer[l], &at);
    twin->n_weight = at;
}

/* One convolution's weights, or their gradient, seen from both sides: raw is
 * (n_out, n_in of all sources, k, k), laid out per source (k, k, n_in, n_pad). */
struct weights {
    size_t raw; /* of output 0, input 0 of this source */
    int raw_in, n_in, pad_in, n_out, n_pad, taps;
};

static size_t raw_index(const struct weights *w, int out, int in, int tap)
{
    return w->raw + ((size_t)out * (size_t)w->raw_in + (size_t)in) * (size_t)w->taps +
           (size_t)tap;
}

static size_t laid_index(const struct weights *w, int out, int in, int tap)
{
    return ((size_t)tap * (size_t)w->pad_in + (size_t)in) * (size_t)w->n_pad +
           (size_t)out;
}

/* The weights of source i of a layer; *channel runs over the concatenated inputs. */
static struct weights source_weights(const struct twin *twin,
                                     const struct twin_layer *layer, int i, int *channel)
{
    int role = layer->separable ? TWIN_IN_W : TWIN_CONV_W;
    const struct twin_param *param = &twin->param[layer->param[role]];
    int taps = layer->separable ? 1 : layer->kernel * layer->kernel;
    struct weights w = {param->offset + (size_t)*channel * (size_t)taps,
                        param->dims[1],
                        twin_source_channels(twin, layer->from[i]),
                        twin_source_pad(twin, layer->from[i]),
                        layer->n_out,
                        layer->n_pad,
                        taps};
    *channel += w.n_in;
    return w;
}

static struct weights out_weights(const struct twin *twin, const struct twin_layer *layer)
{
    const struct twin_param *param = &twin->param[layer->param[TWIN_OUT_W]];
    return (struct weights){param->offset,
                            layer->n_out,
                            layer->n_out,
                            layer->n_pad,
                            layer->n_out,
                            layer->n_pad,
                            1};
}

static void fold_source(struct twin *twin, const struct twin_layer *layer, int i,
                        const struct weights *w)
{
    float *forward = twin->weight + layer->in[i],
          *back = twin->weight + layer->in_back[i];
    int from_image = layer->from[i] == TWIN_IMAGE;
    size_t columns = (size_t)twin_image_taps(twin);
    for (int out = 0; out < w->n_out; out++) {
        struct fold fold = fold_channel(twin, layer, out);
        double scale = layer->separable ? 1.0 : fold.gain * fold.inverse;
        for (int in = 0; in < w->n_in; in++)
            for (int tap = 0; tap < w->taps; tap++) {
                double raw = (double)twin->raw[raw_index(w, out, in, tap)];
                float folded = (float)(raw * scale);
                forward[laid_index(w, out, in, tap)] = folded;
                size_t at =
                    from_image
                        ? (size_t)out * columns + (size_t)tap * (size_t)w->n_in +
                              (size_t)in
                        : ((size_t)(w->taps - 1 - tap) * (size_t)w->n_pad + (size_t)out) *
                                  (size_t)w->pad_in +
                              (size_t)in;
                back[at] = folded;
            }
    }
}

static void fold_separable(struct twin *twin, const struct twin_layer *layer)
{
    const int *p = layer->param;
    int n_pad = layer->n_pad, taps = layer->kernel * layer->kernel;
    const float *space = twin->raw + twin->param[p[TWIN_SPACE_W]].offset;
    struct weights w = out_weights(twin, layer);
    for (int c = 0; c < layer->n_out; c++) {
        struct fold fold = fold_channel(twin, layer, c);
        double scale = fold.gain * fold.inverse;
        for (int tap = 0; tap < taps; tap++) {
            float weight = space[c * taps + tap];
            twin->weight[layer->space + (size_t)(tap * n_pad + c)] = weight;
            twin->weight[layer->space_back + (size_t)((taps - 1 - tap) * n_pad + c)] =
                weight;
        }
        for (int in = 0; in < layer->n_out; in++) {
            float folded = (float)((double)twin->raw[raw_index(&w, c, in, 0)] * scale);
            twin->weight[layer->out + laid_index(&w, c, in, 0)] = folded;
            twin->weight[layer->out_back + (size_t)(c * n_pad + in)] = folded;
        }
        twin->weight[layer->in_bias + (size_t)c] = (float)value(twin, p[TWIN_IN_B], c, 0);
        twin->weight[layer->space_bias + (size_t)c] =
            (float)value(twin, p[TWIN_SPACE_B], c, 0);
        twin->weight[layer->out_bias + (size_t)c] =
            (float)((value(twin, p[TWIN_OUT_B], c, 0) - fold.mean) * scale + fold.shift);
    }
}

static void fold_layer(struct twin *twin, const struct twin_layer *layer)
{
    int channel = 0;
    for (int i = 0; i < layer->n_from; i++) {
        struct weights w = source_weights(twin, layer, i, &channel);
        fold_source(twin, layer, i, &w);
    }
    if (layer->separable) {
        fold_separable(twin, layer);
        return;
    }
    for (int c = 0; c < layer->n_out; c++) {
        struct fold fold = fold_channel(twin, layer, c);
        double bias = value(twin, layer->param[TWIN_CONV_B], c, 0.0);
        twin->weight[layer->in_bias + (size_t)c] =
            (float)((bias - fold.mean) * fold.gain * fold.inverse + fold.shift);
    }
}

/* Where feature channel c of the state_dict (all levels, all stacked layers) lies in a
 * unit's row. */
static int feature_index(const struct twin *twin, int c)
{
    int at = 0;
    for (;;)
        for (int i = 0; i < twin->n_stacked; i++) {
            const struct twin_layer *layer = &twin->layer[twin->stacked[i]];
            if (c < layer->n_out)
                return at + c;
            c -= layer->n_out;
            at += layer->n_pad;
        }
}

static double mask_length(const struct twin *twin, int unit, size_t n_pixels)
{
    const float *mask =
        twin->raw + twin->param[twin->mask_param].offset + (size_t)unit * n_pixels;
    double sum = 0.0;
    for (size_t i = 0; i < n_pixels; i++)
        sum += (double)mask[i] * (double)mask[i];
    return sqrt(sum);
}

static void fold_features(struct twin *twin)
{
    const struct twin_param *param = &twin->param[twin->feature_param];
    const struct twin_readout *readout = &twin->readout;
    int point = readout->kind == TWIN_POINT, n = readout->n_units;
    int n_channels = param->dims[1];
    for (int c = 0; c < n_channels; c++) {
        size_t at = twin->feature_at + (size_t)feature_index(twin, c);
        for (int unit = 0; unit < n; unit++)
            twin->weight[at + (size_t)unit * (size_t)readout->n_features] =
                twin->raw[param->offset +
                          (point ? (size_t)c * (size_t)n + (size_t)unit
                                 : (size_t)unit * (size_t)n_channels + (size_t)c)];
    }
    for (int unit = 0; unit < n; unit++)
        twin->weight[twin->unit_bias_at + (size_t)unit] =
            (float)value(twin, twin->bias_param, unit, 0.0);
}

static void fold_masks(struct twin *twin)
{
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    size_t n_pixels = (size_t)top->h * (size_t)top->w;
    for (int unit = 0; unit < twin->readout.n_units; unit++) {
        double length = mask_length(twin, unit, n_pixels) + 1e-6;
        double scale = twin->config.normalize ? 1.0 / length : 1.0;
        size_t row = (size_t)unit * n_pixels;
        for (size_t i = 0; i < n_pixels; i++)
            twin->weight[twin->mask_at + row + i] =
                (float)((double)
                            twin->raw[twin->param[twin->mask_param].offset + row + i] *
                        scale);
    }
}

/* The position before it is clamped to the map, x and y. */
static void raw_position(const struct twin *twin, int unit, double pos[2])
{
    if (twin->predictor.n_layers > 0) {
        const struct twin_param *grid = &twin->param[twin->grid_param];
        twin_mlp_forward(twin, &twin->predictor,
                         twin->raw + grid->offset + (size_t)unit * (size_t)grid->dims[1],
                         pos);
        return;
    }
    for (int axis = 0; axis < 2; axis++)
        pos[axis] = value(twin, twin->pos_param, 2 * unit + axis, 0.0);
}

static void fold_positions(struct twin *twin)
{
    for (int unit = 0; unit < twin->readout.n_units; unit++) {
        double pos[2];
        raw_position(twin, unit, pos);
        for (int axis = 0; axis < 2; axis++)
            twin->weight[twin->pos_at + (size_t)(2 * unit + axis)] =
                (float)fmin(fmax(pos[axis], -1.0), 1.0);
    }
}

void twin_fold(struct twin *twin)
{
    memset(twin->weight, 0, twin->n_weight * sizeof(float));
    for (int l = 0; l < twin->n_layers; l++)
        fold_layer(twin, &twin->layer[l]);
    fold_features(twin);
    struct twin_readout *readout = &twin->readout;
    if (readout->kind == TWIN_POINT)
        fold_positions(twin);
    else
        fold_masks(twin);
    readout->feature = twin->weight + twin->feature_at;
    readout->bias = twin->weight + twin->unit_bias_at;
    readout->pos = readout->kind == TWIN_POINT ? twin->weight + twin->pos_at : NULL;
    readout->mask = readout->kind == TWIN_POINT ? NULL : twin->weight + twin->mask_at;
}

void twin_clamp_positions(struct twin *twin)
{
    if (twin->pos_param < 0)
        return;
    const struct twin_param *param = &twin->param[twin->pos_param];
    for (size_t i = param->offset; i < param->offset + param->count; i++)
        twin->raw[i] = fminf(fmaxf(twin->raw[i], -1.0f), 1.0f);
}

/* ---- the same in reverse ---- */

static void put(const struct twin *twin, float *raw_grad, int param, int i, double grad)
{
    if (param >= 0)
        raw_grad[twin->param[param].offset + (size_t)i] = (float)grad;
}

/* Gradient of scale * conv + shift at the scales, given that at the folded weights
 * (sum over them of raw * grad) and at the folded bias. */
static void grad_channel(const struct twin *twin, const struct twin_layer *layer, int c,
                         double raw_times_grad, double bias_grad, int bias_param,
                         float *raw_grad)
{
    const int *p = layer->param;
    struct fold fold = fold_channel(twin, layer, c);
    double bias = value(twin, bias_param, c, 0.0);
    double at_scale = (raw_times_grad + (bias - fold.mean) * bias_grad) * fold.inverse;
    put(twin, raw_grad, bias_param, c, bias_grad * fold.gain * fold.inverse);
    put(twin, raw_grad, p[TWIN_NORM_W], c, at_scale * value(twin, p[TWIN_SCALE], c, 1.0));
    put(twin, raw_grad, p[TWIN_SCALE], c, at_scale * value(twin, p[TWIN_NORM_W], c, 1.0));
    put(twin, raw_grad, p[TWIN_NORM_B], c, bias_grad);
    put(twin, raw_grad, p[TWIN_BIAS], c, bias_grad);
}

/* raw_grad = scale * grad for one output channel; returns the sum of raw * grad. */
static double grad_weights(const struct twin *twin, const struct weights *w, int out,
                           double scale, const float *grad, float *raw_grad)
{
    double sum = 0.0;
    for (int in = 0; in < w->n_in; in++)
        for (int tap = 0; tap < w->taps; tap++) {
            double g = (double)grad[laid_index(w, out, in, tap)];
            size_t at = raw_index(w, out, in, tap);
            raw_grad[at] = (float)(g * scale);
            sum += g * (double)twin->raw[at];
        }
    return sum;
}

static void grad_separable(const struct twin *twin, const struct twin_layer *layer, int c,
                           const float *grad, float *raw_grad)
{
    const int *p = layer->param;
    int taps = layer->kernel * layer->kernel;
    struct fold fold = fold_channel(twin, layer, c);
    struct weights w = out_weights(twin, layer);
    for (int tap = 0; tap < taps; tap++)
        raw_grad[twin->param[p[TWIN_SPACE_W]].offset + (size_t)(c * taps + tap)] =
            grad[layer->space + (size_t)(tap * layer->n_pad + c)];
    put(twin, raw_grad, p[TWIN_IN_B], c, (double)grad[layer->in_bias + (size_t)c]);
    put(twin, raw_grad, p[TWIN_SPACE_B], c, (double)grad[layer->space_bias + (size_t)c]);
    double sum =
        grad_weights(twin, &w, c, fold.gain * fold.inverse, grad + layer->out, raw_grad);
    grad_channel(twin, layer, c, sum, (double)grad[layer->out_bias + (size_t)c],
                 p[TWIN_OUT_B], raw_grad);
}

static void grad_layer(const struct twin *twin, const struct twin_layer *layer,
                       const float *grad, float *raw_grad)
{
    for (int c = 0; c < layer->n_out; c++) {
        struct fold fold = fold_channel(twin, layer, c);
        double scale = layer->separable ? 1.0 : fold.gain * fold.inverse, sum = 0.0;
        int channel = 0;
        for (int i = 0; i < layer->n_from; i++) {
            struct weights w = source_weights(twin, layer, i, &channel);
            sum += grad_weights(twin, &w, c, scale, grad + layer->in[i], raw_grad);
        }
        if (layer->separable)
            grad_separable(twin, layer, c, grad, raw_grad);
        else
            grad_channel(twin, layer, c, sum, (double)grad[layer->in_bias + (size_t)c],
                         layer->param[TWIN_CONV_B], raw_grad);
    }
}

static void grad_masks(const struct twin *twin, const float *grad, float *raw_grad)
{
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    size_t n_pixels = (size_t)top->h * (size_t)top->w;
    size_t offset = twin->param[twin->mask_param].offset;
    for (int unit = 0; unit < twin->readout.n_units; unit++) {
        double length = mask_length(twin, unit, n_pixels), inner = 0.0;
        double scale = twin->config.normalize ? 1.0 / (length + 1e-6) : 1.0;
        const float *mask = twin->raw + offset + (size_t)unit * n_pixels;
        const float *mask_grad = grad + twin->mask_at + (size_t)unit * n_pixels;
        for (size_t i = 0; i < n_pixels; i++)
            inner += (double)mask[i] * (double)mask_grad[i];
        double along =
            twin->config.normalize && length > 0.0 ? inner * scale * scale / length : 0.0;
        for (size_t i = 0; i < n_pixels; i++)
            raw_grad[offset + (size_t)unit * n_pixels + i] =
                (float)((double)mask_grad[i] * scale - along * (double)mask[i]);
    }
}

/* _mu and grid are clamped in place before they are used, so the clamp lets every
 * gradient pass; a predicted position's clamp does not. */
static void grad_positions(const struct twin *twin, const float *grad, float *raw_grad)
{
    for (int unit = 0; unit < twin->readout.n_units; unit++) {
        double pos[2], g[2];
        raw_position(twin, unit, pos);
        for (int axis = 0; axis < 2; axis++) {
            g[axis] = (double)grad[twin->pos_at + (size_t)(2 * unit + axis)];
            put(twin, raw_grad, twin->pos_param, 2 * unit + axis, g[axis]);
            g[axis] = fabs(pos[axis]) <= 1.0 ? g[axis] : 0.0;
        }
        if (twin->predictor.n_layers == 0)
            continue;
        const struct twin_param *grid = &twin->param[twin->grid_param];
        twin_mlp_back(twin, &twin->predictor,
                      twin->raw + grid->offset + (size_t)unit * (size_t)grid->dims[1], g,
                      raw_grad);
    }
}

void twin_fold_grad(const struct twin *twin, const float *weight_grad, float *raw_grad)
{
    const struct twin_param *feature = &twin->param[twin->feature_param];
    const struct twin_readout *readout = &twin->readout;
    int n = readout->n_units, n_channels = feature->dims[1];
    memset(raw_grad, 0, twin->n_raw * sizeof(float));
    for (int l = 0; l < twin->n_layers; l++)
        grad_layer(twin, &twin->layer[l], weight_grad, raw_grad);
    for (int c = 0; c < n_channels; c++) {
        size_t at = twin->feature_at + (size_t)feature_index(twin, c);
        for (int unit = 0; unit < n; unit++)
            put(twin, raw_grad, twin->feature_param,
                readout->kind == TWIN_POINT ? c * n + unit : unit * n_channels + c,
                (double)weight_grad[at + (size_t)unit * (size_t)readout->n_features]);
    }
    for (int unit = 0; unit < n; unit++)
        put(twin, raw_grad, twin->bias_param, unit,
            (double)weight_grad[twin->unit_bias_at + (size_t)unit]);
    if (readout->kind == TWIN_POINT)
        grad_positions(twin, weight_grad, raw_grad);
    else
        grad_masks(twin, weight_grad, raw_grad);
}
