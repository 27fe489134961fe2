#include "twin_naive.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/safetensors.h"

/* ---- drawing a network ---- */

static int between(struct random *random, int low, int high)
{
    return low + (int)random_below(random, (uint32_t)(high - low + 1));
}

static struct naive_tensor *add(struct naive *net, struct random *random, double scale,
                                int trainable, const char *dims, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* dims: "3,1,5,5". */
static struct naive_tensor *add(struct naive *net, struct random *random, double scale,
                                int trainable, const char *dims, const char *format, ...)
{
    struct naive_tensor *tensor = &net->tensor[net->n_tensors++];
    va_list args;
    va_start(args, format);
    vsnprintf(tensor->name, sizeof tensor->name, format, args);
    va_end(args);
    tensor->trainable = trainable;
    tensor->count = 1;
    for (char *end; *dims; dims = *end ? end + 1 : end) {
        tensor->dims[tensor->n_dims] = (int)strtol(dims, &end, 10);
        tensor->count *= (size_t)tensor->dims[tensor->n_dims++];
    }
    tensor->value = malloc(tensor->count * sizeof *tensor->value);
    for (size_t i = 0; i < tensor->count; i++)
        tensor->value[i] = (double)(float)(scale * random_normal(random));
    return tensor;
}

static const char *dims(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *dims(const char *format, ...)
{
    static char text[64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return text;
}

static int n_inputs(const struct naive *net, int l)
{
    if (l == 0)
        return net->channels;
    int n = net->skip > 1 ? (net->skip < l ? net->skip : l) : 1, sum = 0;
    for (int i = l - n; i < l; i++)
        sum += net->hidden[i];
    return sum;
}

static void add_layer(struct naive *net, struct random *random, int l)
{
    int n = net->hidden[l], n_in = n_inputs(net, l), k = net->kernel[l];
    const char *layer = "core.features.layer";
    if (l > 0 && net->separable) {
        const struct {
            const char *name;
            int n_in, k;
        } part[3] = {
            {"in_depth_conv", n_in, 1}, {"spatial_conv", 1, k}, {"out_depth_conv", n, 1}};
        for (int i = 0; i < 3; i++) {
            add(net, random, 1.0 / sqrt(part[i].n_in * part[i].k * part[i].k), 1,
                dims("%d,%d,%d,%d", n, part[i].n_in, part[i].k, part[i].k),
                "%s%d.ds_conv.%s.weight", layer, l, part[i].name);
            if (net->conv_bias)
                add(net, random, 0.3, 1, dims("%d", n), "%s%d.ds_conv.%s.bias", layer, l,
                    part[i].name);
        }
    } else {
        add(net, random, 1.0 / sqrt(n_in * k * k), 1, dims("%d,%d,%d,%d", n, n_in, k, k),
            "%s%d.conv.weight", layer, l);
        if (net->conv_bias)
            add(net, random, 0.3, 1, dims("%d", n), "%s%d.conv.bias", layer, l);
    }
    if (net->norm == NAIVE_NO_NORM)
        return;
    add(net, random, 0.3, 0, dims("%d", n), "%s%d.norm.running_mean", layer, l);
    struct naive_tensor *var =
        add(net, random, 0.5, 0, dims("%d", n), "%s%d.norm.running_var", layer, l);
    for (size_t i = 0; i < var->count; i++)
        var->value[i] = (double)(float)(0.2 + fabs(var->value[i]));
    if (net->norm == NAIVE_NORM) {
        add(net, random, 1.0, 1, dims("%d", n), "%s%d.norm.weight", layer, l);
        add(net, random, 0.3, 1, dims("%d", n), "%s%d.norm.bias", layer, l);
    } else if (net->norm == NAIVE_SCALE) {
        add(net, random, 1.0, 1, dims("1,%d,1,1", n), "%s%d.scale.scale", layer, l);
    } else {
        add(net, random, 0.3, 1, dims("1,%d,1,1", n), "%s%d.bias.bias", layer, l);
    }
}

static void add_readout(struct naive *net, struct random *random)
{
    int n = net->n_units, c = net->n_features;
    if (net->factorised) {
        add(net, random, 1.0 / sqrt(c), 1, dims("%d,%d", n, c), "readout.s._features");
        add(net, random, net->normalize ? 1.0 : 0.2, 1,
            dims("%d,%d,%d", n, net->h, net->w), "readout.s.spatial");
    } else {
        int pooled = net->pool_steps > 0;
        add(net, random, 1.0 / sqrt(c), 1,
            dims("1,%d,1,%d", c * (net->pool_steps + 1), n),
            pooled ? "readout.s.features" : "readout.s._features");
        if (net->predictor) {
            int width = net->predictor > 1 ? 5 : 2;
            add(net, random, 0.7, 0, dims("%d,3", n), "readout.s.source_grid");
            for (int i = 0, from = 3; i < net->predictor; i++, from = width) {
                int to = i == net->predictor - 1 ? 2 : width;
                add(net, random, 0.7, 1, dims("%d,%d", to, from),
                    "readout.s.mu_transform.%d.weight", 2 * i);
                add(net, random, 0.2, 1, dims("%d", to), "readout.s.mu_transform.%d.bias",
                    2 * i);
            }
        } else {
            struct naive_tensor *mu = add(net, random, 0.5, 1, dims("1,%d,1,2", n),
                                          pooled ? "readout.s.grid" : "readout.s._mu");
            for (size_t i = 0; i < mu->count; i++) /* the package clamps in place */
                mu->value[i] = fmin(fmax(mu->value[i], -1.0), 1.0);
            mu->value[0] = -1.0; /* on the edge */
        }
    }
    add(net, random, 0.3, 1, dims("%d", n), "readout.s.bias");
}

static void lay_out(struct naive *net)
{
    int h = net->height, w = net->width;
    for (int l = 0; l < net->n_layers; l++) {
        int k = net->kernel[l], d = l ? net->dilation : 1, s = l ? 1 : net->stride;
        net->pad[l] = l ? ((k - 1) * d + 1) / 2 : net->pad_input ? k / 2 : 0;
        h = (h + 2 * net->pad[l] - d * (k - 1) - 1) / s + 1;
        w = (w + 2 * net->pad[l] - d * (k - 1) - 1) / s + 1;
        if (net->stack & 1u << l)
            net->n_features += net->hidden[l];
    }
    net->h = h;
    net->w = w;
}

static void write_config(struct naive *net)
{
    static const char *const acts[] = {"AdaptiveELU", "AdaptiveELU", "SoftThreshold"};
    char hidden[64] = "", kernel[64] = "", stack[64] = "";
    for (int l = 0; l < net->n_layers; l++) {
        sprintf(hidden + strlen(hidden), "%s%d", l ? "," : "", net->hidden[l]);
        if (l > 0)
            sprintf(kernel + strlen(kernel), "%s%d", l > 1 ? "," : "", net->kernel[l]);
        if (net->stack & 1u << l)
            sprintf(stack + strlen(stack), "%s%d", *stack ? "," : "", l);
    }
    int n = snprintf(
        net->config, sizeof net->config,
        "{\"core\":{\"type\":\"Stacked2dCore\",\"input_channels\":%d,\"layers\":%d,"
        "\"hidden_channels\":[%s],\"input_kern\":%d,\"hidden_kern\":[%s],\"skip\":%d,"
        "\"stack\":[%s],\"pad_input\":%s,\"input_stride\":%d,\"hidden_dilation\":%d,"
        "\"depth_separable\":%s,\"linear\":%s,\"final_nonlinearity\":%s,"
        "\"nonlinearity_type\":\"%s\",\"elu_shift\":[%.9g,%.9g]},"
        "\"input_shape\":[%d,%d,%d],\"elu_offset\":%.9g,\"bn_eps\":0.001,",
        net->channels, net->n_layers, hidden, net->kernel[0], kernel, net->skip, stack,
        net->pad_input ? "true" : "false", net->stride, net->dilation,
        net->separable ? "true" : "false", net->act ? "false" : "true",
        net->act_last ? "true" : "false", acts[net->act], net->elu_x, net->elu_y,
        net->channels, net->height, net->width, net->offset);
    snprintf(net->config + n, sizeof net->config - (size_t)n,
             "\"readout\":{\"type\":\"%s\",\"pool_steps\":%d,\"pool_kern\":%d,"
             "\"align_corners\":%s,\"normalize\":%s,\"in_shape\":[%d,%d,%d],"
             "\"outdims\":%d,\"grid_mean_predictor\":{\"final_tanh\":%s}}}",
             net->factorised       ? "FullFactorized2d"
             : net->pool_steps > 0 ? "PointPooled2d"
                                   : "FullGaussian2d",
             net->pool_steps, net->pool_kernel, net->align ? "true" : "false",
             net->normalize ? "true" : "false", net->n_features, net->h, net->w,
             net->n_units, net->tanh_last ? "true" : "false");
}

void naive_make(struct naive *net, struct random *random)
{
    memset(net, 0, sizeof *net);
    net->channels = between(random, 1, 3);
    net->height = between(random, 11, 18);
    net->width = between(random, 11, 18);
    net->n_layers = between(random, 1, NAIVE_LAYERS);
    net->stride = between(random, 1, 2);
    net->dilation = between(random, 1, 2);
    net->pad_input = between(random, 0, 1);
    net->separable = between(random, 0, 1);
    net->conv_bias = between(random, 0, 1);
    net->skip = between(random, 0, 3);
    net->norm = (enum naive_norm)between(random, 0, 3);
    net->act = between(random, 0, 4) % 3;
    net->act_last = between(random, 0, 1);
    net->elu_x = (double)(float)(0.3 * random_normal(random));
    net->elu_y = (double)(float)(0.3 * random_normal(random));
    net->offset = (double)(float)(0.5 * random_normal(random));
    int odd_only = net->skip > 1 || between(random, 0, 1);
    for (int l = 0; l < net->n_layers; l++) {
        net->hidden[l] = between(random, 1, 20);
        net->kernel[l] = odd_only ? 1 + 2 * between(random, 0, 2) : between(random, 1, 5);
    }
    net->stack = 1u << (net->n_layers - 1);
    if (odd_only) /* maps of one size */
        net->stack |= random_below(random, 1u << net->n_layers);
    net->factorised = between(random, 0, 3) == 0;
    net->normalize = between(random, 0, 1);
    net->pool_kernel = between(random, 1, 2);
    net->pool_steps = net->factorised ? 0 : between(random, 0, 3) % 3;
    net->align = between(random, 0, 1);
    net->predictor = net->factorised || net->pool_steps ? 0 : between(random, 0, 3);
    net->tanh_last = between(random, 0, 1);
    net->n_units = between(random, 1, 6);
    net->has_shift = !net->factorised && between(random, 0, 1);
    for (int axis = 0; axis < 2; axis++)
        net->shift[axis] = net->has_shift ? (float)(0.2 * random_normal(random)) : 0.0f;
    lay_out(net);
    for (int l = 0; l < net->n_layers; l++)
        add_layer(net, random, l);
    add_readout(net, random);
    write_config(net);
}

int naive_write(const struct naive *net, const char *path)
{
    struct safetensors_tensor tensor[NAIVE_TENSORS] = {0};
    for (int i = 0; i < net->n_tensors; i++) {
        const struct naive_tensor *from = &net->tensor[i];
        float *value = malloc(from->count * sizeof *value);
        for (size_t j = 0; j < from->count; j++)
            value[j] = (float)from->value[j];
        tensor[i].name = from->name;
        tensor[i].n_dims = from->n_dims;
        for (int d = 0; d < from->n_dims; d++)
            tensor[i].dims[d] = from->dims[d];
        tensor[i].count = from->count;
        tensor[i].data = (const unsigned char *)value;
    }
    const char *metadata[][2] = {{"config", net->config}};
    int rc = safetensors_write(path, tensor, net->n_tensors,
                               (const char *const(*)[2])metadata, 1);
    for (int i = 0; i < net->n_tensors; i++)
        free((void *)(uintptr_t)tensor[i].data);
    return rc;
}

void naive_free(struct naive *net)
{
    for (int i = 0; i < net->n_tensors; i++)
        free(net->tensor[i].value);
}

/* ---- rates by the book ---- */

static const double *find(const struct naive *net, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const double *find(const struct naive *net, const char *format, ...)
{
    char name[128];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    for (int i = 0; i < net->n_tensors; i++)
        if (strcmp(net->tensor[i].name, name) == 0)
            return net->tensor[i].value;
    return NULL;
}

struct map {
    int c, h, w;
    double *value; /* (c, h, w) */
};

/* groups: 1, or the number of channels (depthwise). */
static struct map conv(struct map in, const double *weight, const double *bias, int n_out,
                       int k, int stride, int pad, int dilation, int groups)
{
    struct map out = {n_out, (in.h + 2 * pad - dilation * (k - 1) - 1) / stride + 1,
                      (in.w + 2 * pad - dilation * (k - 1) - 1) / stride + 1, NULL};
    out.value = malloc(sizeof(double) * (size_t)(out.c * out.h * out.w));
    int n_in = in.c / groups;
    for (int o = 0; o < n_out; o++)
        for (int y = 0; y < out.h; y++)
            for (int x = 0; x < out.w; x++) {
                double sum = bias ? bias[o] : 0.0;
                for (int i = 0; i < n_in * k * k; i++) {
                    int c = i / (k * k) + (groups > 1 ? o : 0);
                    int iy = y * stride - pad + i / k % k * dilation;
                    int ix = x * stride - pad + i % k * dilation;
                    if (iy >= 0 && iy < in.h && ix >= 0 && ix < in.w)
                        sum += weight[o * n_in * k * k + i] *
                               in.value[(c * in.h + iy) * in.w + ix];
                }
                out.value[(o * out.h + y) * out.w + x] = sum;
            }
    return out;
}

static void norm_and_act(const struct naive *net, int l, struct map map)
{
    const char *layer = "core.features.layer";
    const double *mean = find(net, "%s%d.norm.running_mean", layer, l);
    const double *var = find(net, "%s%d.norm.running_var", layer, l);
    const double *weight = find(net, "%s%d.norm.weight", layer, l);
    const double *bias = find(net, "%s%d.norm.bias", layer, l);
    const double *scale = find(net, "%s%d.scale.scale", layer, l);
    const double *more = find(net, "%s%d.bias.bias", layer, l);
    for (int i = 0; i < map.c * map.h * map.w; i++) {
        int c = i / (map.h * map.w);
        double v = map.value[i];
        if (mean)
            v = (v - mean[c]) / sqrt(var[c] + 0.001);
        v = v * (weight ? weight[c] : 1.0) + (bias ? bias[c] : 0.0);
        v = v * (scale ? scale[c] : 1.0) + (more ? more[c] : 0.0);
        if (net->act == 1 && (l < net->n_layers - 1 || net->act_last))
            v = (v - net->elu_x > 0.0 ? v - net->elu_x : expm1(v - net->elu_x)) +
                net->elu_y;
        else if (net->act == 2 && (l < net->n_layers - 1 || net->act_last))
            v = log1p(exp(-fabs(v))) + fmax(v, 0.0);
        map.value[i] = v;
    }
}

static struct map join(const struct map *maps, int n)
{
    struct map all = {0, maps[0].h, maps[0].w, NULL};
    for (int i = 0; i < n; i++)
        all.c += maps[i].c;
    all.value = malloc(sizeof(double) * (size_t)(all.c * all.h * all.w));
    double *to = all.value;
    for (int i = 0; i < n; i++) {
        size_t count = (size_t)(maps[i].c * maps[i].h * maps[i].w);
        memcpy(to, maps[i].value, count * sizeof *to);
        to += count;
    }
    return all;
}

static struct map layer(const struct naive *net, int l, struct map in)
{
    char name[64];
    int k = net->kernel[l], n = net->hidden[l], d = l ? net->dilation : 1;
    struct map out;
    snprintf(name, sizeof name, "core.features.layer%d", l);
    if (l > 0 && net->separable) {
        struct map a =
            conv(in, find(net, "%s.ds_conv.in_depth_conv.weight", name),
                 find(net, "%s.ds_conv.in_depth_conv.bias", name), n, 1, 1, 0, 1, 1);
        struct map b = conv(a, find(net, "%s.ds_conv.spatial_conv.weight", name),
                            find(net, "%s.ds_conv.spatial_conv.bias", name), n, k, 1,
                            net->pad[l], d, n);
        out = conv(b, find(net, "%s.ds_conv.out_depth_conv.weight", name),
                   find(net, "%s.ds_conv.out_depth_conv.bias", name), n, 1, 1, 0, 1, 1);
        free(a.value);
        free(b.value);
    } else {
        out = conv(in, find(net, "%s.conv.weight", name), find(net, "%s.conv.bias", name),
                   n, k, l ? 1 : net->stride, net->pad[l], d, 1);
    }
    norm_and_act(net, l, out);
    return out;
}

/* One channel between pixels, as torch's grid_sample with zeros outside. */
static double sample(const double *plane, int h, int w, double x, double y, int align)
{
    double px = align ? (x + 1) / 2 * (w - 1) : ((x + 1) * w - 1) / 2;
    double py = align ? (y + 1) / 2 * (h - 1) : ((y + 1) * h - 1) / 2, sum = 0.0;
    for (int iy = (int)floor(py); iy <= (int)floor(py) + 1; iy++)
        for (int ix = (int)floor(px); ix <= (int)floor(px) + 1; ix++)
            if (iy >= 0 && iy < h && ix >= 0 && ix < w)
                sum += plane[iy * w + ix] * (1 - fabs(px - ix)) * (1 - fabs(py - iy));
    return sum;
}

static void position(const struct naive *net, int unit, double pos[2])
{
    const double *mu = find(net, net->pool_steps ? "readout.s.grid" : "readout.s._mu");
    double in[5] = {0}, out[5];
    for (int axis = 0; axis < 2 && mu; axis++)
        pos[axis] = mu[2 * unit + axis];
    if (!mu) {
        memcpy(in, find(net, "readout.s.source_grid") + 3 * unit, 3 * sizeof *in);
        for (int i = 0, n_in = 3; i < net->predictor; i++) {
            const double *weight = find(net, "readout.s.mu_transform.%d.weight", 2 * i);
            const double *bias = find(net, "readout.s.mu_transform.%d.bias", 2 * i);
            int last = i == net->predictor - 1, n = last ? 2 : 5;
            for (int o = 0; o < n; o++) {
                out[o] = bias[o];
                for (int j = 0; j < n_in; j++)
                    out[o] += weight[o * n_in + j] * in[j];
                if (!last)
                    out[o] = out[o] > 0.0 ? out[o] : expm1(out[o]);
                else if (net->tanh_last)
                    out[o] = tanh(out[o]);
            }
            memcpy(in, out, sizeof in);
            n_in = n;
        }
        memcpy(pos, in, 2 * sizeof *pos);
    }
    for (int axis = 0; axis < 2; axis++)
        pos[axis] = fmin(fmax(pos[axis], -1.0), 1.0) + (double)net->shift[axis];
}

static double point(const struct naive *net, struct map map, int unit)
{
    const double *feature =
        find(net, net->pool_steps ? "readout.s.features" : "readout.s._features");
    double pos[2], sum = 0.0;
    position(net, unit, pos);
    for (int level = 0, side = 1; level <= net->pool_steps;
         level++, side *= net->pool_kernel) {
        int h = map.h, w = map.w;
        for (int i = 0; i < level; i++) {
            h /= net->pool_kernel;
            w /= net->pool_kernel;
        }
        double *pooled = calloc((size_t)(h * w), sizeof *pooled);
        for (int c = 0; c < map.c; c++) {
            for (int i = 0; i < h * w; i++) {
                pooled[i] = 0.0;
                for (int j = 0; j < side * side; j++)
                    pooled[i] += map.value[(c * map.h + i / w * side + j / side) * map.w +
                                           i % w * side + j % side] /
                                 (side * side);
            }
            sum += feature[(level * map.c + c) * net->n_units + unit] *
                   sample(pooled, h, w, pos[0], pos[1], net->align);
        }
        free(pooled);
    }
    return sum;
}

static double factorised(const struct naive *net, struct map map, int unit)
{
    int n = map.h * map.w;
    const double *mask = find(net, "readout.s.spatial") + unit * n;
    const double *feature = find(net, "readout.s._features") + unit * map.c;
    double length = 0.0, sum = 0.0;
    for (int i = 0; i < n; i++)
        length += mask[i] * mask[i];
    for (int i = 0; i < n * map.c; i++)
        sum += feature[i / n] * mask[i % n] * map.value[i];
    return net->normalize ? sum / (sqrt(length) + 1e-6) : sum;
}

void naive_rates(const struct naive *net, const double *image, double *rate)
{
    struct map maps[NAIVE_LAYERS], stacked[NAIVE_LAYERS];
    int n_stacked = 0;
    for (int l = 0; l < net->n_layers; l++) {
        int n = l == 0 ? 1 : net->skip > 1 ? (net->skip < l ? net->skip : l) : 1;
        struct map whole = {net->channels, net->height, net->width,
                            (double *)(uintptr_t)image};
        struct map in = join(l == 0 ? &whole : &maps[l - n], n);
        maps[l] = layer(net, l, in);
        free(in.value);
        if (net->stack & 1u << l)
            stacked[n_stacked++] = maps[l];
    }
    struct map top = join(stacked, n_stacked);
    const double *bias = find(net, "readout.s.bias");
    for (int unit = 0; unit < net->n_units; unit++) {
        double z = bias[unit] + net->offset +
                   (net->factorised ? factorised(net, top, unit) : point(net, top, unit));
        rate[unit] = (z > 0.0 ? z : expm1(z)) + 1.0;
    }
    free(top.value);
    for (int l = 0; l < net->n_layers; l++)
        free(maps[l].value);
}
