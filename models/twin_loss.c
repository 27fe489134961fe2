#include "models/twin_loss.h"

#include <math.h>

double twin_poisson(int n, const float *rate, const float *count, double scale,
                    float *rate_grad)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        double mu = (double)rate[i] + 1e-8, y = (double)count[i];
        rate_grad[i] = 0.0f;
        if (isnan(y))
            continue;
        sum += (double)rate[i] - y * log(mu);
        rate_grad[i] = (float)(scale * (1.0 - y / mu));
    }
    return sum;
}

/* 4 w - its neighbours, zeros outside, at one pixel of a k x k kernel. */
static double laplace(const float *w, int k, int y, int x)
{
    double sum = 4.0 * (double)w[y * k + x];
    if (y > 0)
        sum -= (double)w[(y - 1) * k + x];
    if (y < k - 1)
        sum -= (double)w[(y + 1) * k + x];
    if (x > 0)
        sum -= (double)w[y * k + x - 1];
    if (x < k - 1)
        sum -= (double)w[y * k + x + 1];
    return sum;
}

static double rough(const float *w, int k, int y, int x)
{
    return y < 0 || y >= k || x < 0 || x >= k ? 0.0 : laplace(w, k, y, x);
}

static double penalty_input(const struct twin *twin, float *raw_grad)
{
    const struct twin_param *param = &twin->param[twin->layer[0].param[TWIN_CONV_W]];
    const float *weight = twin->raw + param->offset;
    int k = twin->layer[0].kernel, n_kernels = (int)(param->count / (size_t)(k * k));
    double roughness = 0.0, size = 0.0;
    for (int i = 0; i < n_kernels; i++)
        for (int at = 0; at < k * k; at++) {
            const float *w = weight + (size_t)i * (size_t)(k * k);
            double r = laplace(w, k, at / k, at % k);
            roughness += r * r;
            size += (double)w[at] * (double)w[at];
        }
    if (size == 0.0)
        return 0.0;
    double ratio = roughness / size, gamma = twin->config.gamma_input;
    for (int i = 0; raw_grad && i < n_kernels; i++)
        for (int at = 0; at < k * k; at++) {
            const float *w = weight + (size_t)i * (size_t)(k * k);
            int y = at / k, x = at % k;
            double twice = 4.0 * rough(w, k, y, x) - rough(w, k, y - 1, x) -
                           rough(w, k, y + 1, x) - rough(w, k, y, x - 1) -
                           rough(w, k, y, x + 1);
            raw_grad[param->offset + (size_t)(i * k * k + at)] +=
                (float)(gamma * 2.0 * (twice - ratio * (double)w[at]) / size);
        }
    return gamma * ratio;
}

/* Mean over (output, input) pairs of the length of their kernel, mean over layers. */
static double penalty_hidden(const struct twin *twin, float *raw_grad)
{
    int n_hidden = twin->n_layers > 1 ? twin->n_layers - 1 : 1;
    double sum = 0.0, gamma = twin->config.gamma_hidden;
    for (int l = 1; l < twin->n_layers; l++) {
        const struct twin_layer *layer = &twin->layer[l];
        if (layer->separable)
            continue;
        const struct twin_param *param = &twin->param[layer->param[TWIN_CONV_W]];
        size_t taps = (size_t)(layer->kernel * layer->kernel), n = param->count / taps;
        double each = gamma / ((double)n * n_hidden);
        for (size_t i = 0; i < n; i++) {
            const float *w = twin->raw + param->offset + i * taps;
            double square = 0.0;
            for (size_t t = 0; t < taps; t++)
                square += (double)w[t] * (double)w[t];
            sum += each * sqrt(square);
            for (size_t t = 0; raw_grad && square > 0.0 && t < taps; t++)
                raw_grad[param->offset + i * taps + t] +=
                    (float)(each * (double)w[t] / sqrt(square));
        }
    }
    return sum;
}

double twin_penalty_core(const struct twin *twin, float *raw_grad)
{
    double sum = 0.0;
    if (twin->config.gamma_input != 0.0)
        sum += penalty_input(twin, raw_grad);
    if (twin->config.gamma_hidden != 0.0)
        sum += penalty_hidden(twin, raw_grad);
    return sum;
}

static double sum_abs(size_t n, const float *x)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)x[i]);
    return sum;
}

static void add_signs(size_t n, const float *x, double scale, float *grad)
{
    for (size_t i = 0; grad && i < n; i++)
        grad[i] += (float)(scale * ((x[i] > 0.0f) - (x[i] < 0.0f)));
}

/* Length of a unit's mask, and what divides it (normalised masks). */
static double mask_divisor(const struct twin *twin, size_t at, size_t n, double *length)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)twin->raw[at + i] * (double)twin->raw[at + i];
    *length = sqrt(sum);
    return twin->config.normalize ? *length + 1e-6 : 1.0;
}

/* The sum of all |masks|_1 times the sum of all |features|_1: the package multiplies
 * every unit's masks by every unit's features. Models were trained with that. */
static double penalty_masks(const struct twin *twin, float *raw_grad)
{
    const struct twin_param *feature = &twin->param[twin->feature_param];
    const struct twin_param *mask = &twin->param[twin->mask_param];
    size_t n = (size_t)mask->dims[1] * (size_t)mask->dims[2];
    double gamma = twin->config.feature_reg, masks = 0.0, length;
    double features = sum_abs(feature->count, twin->raw + feature->offset);
    for (size_t at = mask->offset; at < mask->offset + mask->count; at += n)
        masks += sum_abs(n, twin->raw + at) / mask_divisor(twin, at, n, &length);
    if (!raw_grad)
        return gamma * features * masks;
    add_signs(feature->count, twin->raw + feature->offset, gamma * masks,
              raw_grad + feature->offset);
    for (size_t at = mask->offset; at < mask->offset + mask->count; at += n) {
        double divisor = mask_divisor(twin, at, n, &length);
        double along =
            gamma * features * sum_abs(n, twin->raw + at) / (divisor * divisor);
        add_signs(n, twin->raw + at, gamma * features / divisor, raw_grad + at);
        for (size_t i = 0; twin->config.normalize && length > 0.0 && i < n; i++)
            raw_grad[at + i] -= (float)(along * (double)twin->raw[at + i] / length);
    }
    return gamma * features * masks;
}

double twin_penalty_readout(const struct twin *twin, float *raw_grad)
{
    const struct twin_param *feature = &twin->param[twin->feature_param];
    double gamma = twin->config.feature_reg;
    if (twin->readout.kind == TWIN_FACTORISED)
        return penalty_masks(twin, raw_grad);
    add_signs(feature->count, twin->raw + feature->offset, gamma,
              raw_grad ? raw_grad + feature->offset : NULL);
    return gamma * sum_abs(feature->count, twin->raw + feature->offset);
}
