#include "models/twin.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "models/safetensors.h"
#include "models/twin_layout.h"
#include "protocol/log.h"

#define CONFIG_SIZE_MAX (1u << 20)

/* An import under way. */
struct import {
    struct twin *twin;
    const struct safetensors *file;
    unsigned char *used; /* (tensors of the file) */
    char *why;
    size_t why_size;
};

static int refuse(struct import *im, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(struct import *im, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(im->why, im->why_size, format, args);
    va_end(args);
    return -EINVAL;
}

/* A tensor's shape in words: "[64, 1, 9, 9]". */
static const char *shape_text(int n_dims, const int64_t *dims, char text[96])
{
    int n = snprintf(text, 96, "[");
    for (int i = 0; i < n_dims && n < 80; i++)
        n += snprintf(text + n, 96 - (size_t)n, "%s%lld", i ? ", " : "",
                      (long long)dims[i]);
    snprintf(text + n, 96 - (size_t)n, "]");
    return text;
}

/* Take a tensor of this name and shape (an entry of -1 takes any) as a parameter:
 * *param is its index, or -1 where it is absent and not required. */
static int take(struct import *im, const char *name, int n_dims, const int *dims,
                int required, int trainable, int *param)
{
    const struct safetensors_tensor *tensor = safetensors_find(im->file, name);
    *param = -1;
    if (!tensor)
        return required ? refuse(im, "%s is missing", name) : 0;
    struct twin *twin = im->twin;
    int fits = tensor->n_dims == n_dims;
    int64_t wanted[4] = {0};
    for (int i = 0; i < n_dims; i++) {
        wanted[i] = dims[i];
        fits = fits && tensor->dims[i] <= INT32_MAX && tensor->dims[i] > 0 &&
               (dims[i] < 0 || tensor->dims[i] == dims[i]);
    }
    char is[96], should[96];
    if (!fits)
        return refuse(im, "%s has shape %s, expected %s", name,
                      shape_text(tensor->n_dims, tensor->dims, is),
                      shape_text(n_dims, wanted, should));
    struct twin_param *new = &twin->param[twin->n_params];
    snprintf(new->name, sizeof new->name, "%s", name);
    new->n_dims = n_dims;
    for (int i = 0; i < n_dims; i++)
        new->dims[i] = (int)tensor->dims[i];
    new->offset = twin->n_raw;
    new->count = tensor->count;
    new->trainable = trainable;
    int rc = safetensors_floats(tensor, twin->raw + twin->n_raw);
    if (rc == -ENOTSUP)
        return refuse(im, "%s has dtype %s, expected F32", name, tensor->dtype);
    if (rc)
        return refuse(im, "%s holds a value that is not finite", name);
    for (int i = 0; i < safetensors_count(im->file); i++)
        if (safetensors_at(im->file, i) == tensor)
            im->used[i] = 1;
    twin->n_raw += tensor->count;
    *param = twin->n_params++;
    return 0;
}

static int take_layer(struct import *im, int l)
{
    struct twin_layer *layer = &im->twin->layer[l];
    int n = layer->n_out, k = layer->kernel, n_in = 0;
    for (int i = 0; i < layer->n_from; i++)
        n_in += twin_source_channels(im->twin, layer->from[i]);
    const struct {
        const char *name;
        int n_dims, dims[4], required, trainable;
    } table[TWIN_N_ROLES] = {
        [TWIN_CONV_W] = {"conv.weight", 4, {n, n_in, k, k}, 1, 1},
        [TWIN_CONV_B] = {"conv.bias", 1, {n}, 0, 1},
        [TWIN_IN_W] = {"ds_conv.in_depth_conv.weight", 4, {n, n_in, 1, 1}, 1, 1},
        [TWIN_IN_B] = {"ds_conv.in_depth_conv.bias", 1, {n}, 0, 1},
        [TWIN_SPACE_W] = {"ds_conv.spatial_conv.weight", 4, {n, 1, k, k}, 1, 1},
        [TWIN_SPACE_B] = {"ds_conv.spatial_conv.bias", 1, {n}, 0, 1},
        [TWIN_OUT_W] = {"ds_conv.out_depth_conv.weight", 4, {n, n, 1, 1}, 1, 1},
        [TWIN_OUT_B] = {"ds_conv.out_depth_conv.bias", 1, {n}, 0, 1},
        [TWIN_NORM_MEAN] = {"norm.running_mean", 1, {n}, 0, 0},
        [TWIN_NORM_VAR] = {"norm.running_var", 1, {n}, 0, 0},
        [TWIN_NORM_W] = {"norm.weight", 1, {n}, 0, 1},
        [TWIN_NORM_B] = {"norm.bias", 1, {n}, 0, 1},
        [TWIN_SCALE] = {"scale.scale", 4, {1, n, 1, 1}, 0, 1},
        [TWIN_BIAS] = {"bias.bias", 4, {1, n, 1, 1}, 0, 1},
    };
    for (int role = 0; role < TWIN_N_ROLES; role++) {
        int dense = role <= TWIN_CONV_B, separable = !dense && role <= TWIN_OUT_B;
        layer->param[role] = -1;
        if (layer->separable ? dense : separable)
            continue;
        char name[TWIN_NAME];
        snprintf(name, sizeof name, "core.features.layer%d.%s", l, table[role].name);
        int rc = take(im, name, table[role].n_dims, table[role].dims,
                      table[role].required, table[role].trainable, &layer->param[role]);
        if (rc)
            return rc;
    }
    const int *p = layer->param;
    int has_norm = p[TWIN_NORM_MEAN] >= 0;
    if (has_norm != (p[TWIN_NORM_VAR] >= 0) ||
        (!has_norm && (p[TWIN_NORM_W] >= 0 || p[TWIN_NORM_B] >= 0)))
        return refuse(im,
                      "core.features.layer%d.norm: running_mean or running_var is "
                      "missing",
                      l);
    for (int c = 0; has_norm && c < n; c++)
        if (im->twin->raw[im->twin->param[p[TWIN_NORM_VAR]].offset + (size_t)c] < 0.0f)
            return refuse(im, "core.features.layer%d.norm.running_var is negative", l);
    return 0;
}

/* PREFIX.0, PREFIX.2, ...: linear maps with activations between them; n_in -1: any. */
static int take_mlp(struct import *im, const char *prefix, int n_in, struct twin_mlp *mlp)
{
    char name[TWIN_NAME * 2];
    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "%s.%d.weight", prefix, 2 * i);
        if (!safetensors_find(im->file, name))
            return i > 0 && n_in != 2 ? refuse(im, "%s does not end in 2 numbers", prefix)
                                      : 0;
        if (i == TWIN_MLP_LAYERS)
            return refuse(im, "%s has more than %d layers", prefix, TWIN_MLP_LAYERS);
        int rc = take(im, name, 2, (int[]){-1, n_in}, 1, 1, &mlp->weight[i]);
        if (rc)
            return rc;
        if (i == 0)
            mlp->n_in = im->twin->param[mlp->weight[0]].dims[1];
        n_in = im->twin->param[mlp->weight[i]].dims[0];
        if (n_in > TWIN_MLP_WIDTH)
            return refuse(im, "%s has more than %d units", name, TWIN_MLP_WIDTH);
        snprintf(name, sizeof name, "%s.%d.bias", prefix, 2 * i);
        rc = take(im, name, 1, &n_in, 0, 1, &mlp->bias[i]);
        if (rc)
            return rc;
        mlp->n_layers = i + 1;
    }
}

static int take_named(struct import *im, const char *what, int n_dims, const int *dims,
                      int required, int *param)
{
    char name[TWIN_NAME * 2];
    snprintf(name, sizeof name, "readout.%s.%s", im->twin->key, what);
    return take(im, name, n_dims, dims, required, 1, param);
}

static int take_positions(struct import *im, int n)
{
    struct twin *twin = im->twin;
    char name[TWIN_NAME * 2];
    snprintf(name, sizeof name, "readout.%s.source_grid", twin->key);
    int rc = take(im, name, 2, (int[]){n, -1}, 0, 0, &twin->grid_param);
    if (rc)
        return rc;
    if (twin->grid_param >= 0) {
        int n_in = twin->param[twin->grid_param].dims[1];
        snprintf(name, sizeof name, "readout.%s.mu_transform", twin->key);
        twin->predictor.elu = 1;
        twin->predictor.final_tanh = twin->config.predictor_tanh;
        rc = take_mlp(im, name, n_in, &twin->predictor);
        if (rc == 0 && twin->predictor.n_layers == 0)
            rc = refuse(im, "%s.0.weight is missing", name);
        return rc;
    }
    snprintf(name, sizeof name, "readout.%s.grid", twin->key);
    const char *what = safetensors_find(im->file, name) ? "grid" : "_mu";
    return take_named(im, what, 4, (int[]){1, n, 1, 2}, 1, &twin->pos_param);
}

static int take_sigma(struct import *im, int n)
{
    char name[TWIN_NAME * 2];
    snprintf(name, sizeof name, "readout.%s.sigma", im->twin->key);
    const struct safetensors_tensor *sigma = safetensors_find(im->file, name);
    int full = sigma && sigma->n_dims == 4 && sigma->dims[2] == 2;
    int iso = sigma && sigma->n_dims == 4 && sigma->dims[3] == 1;
    return take_named(im, "sigma", 4, (int[]){1, n, full ? 2 : 1, iso ? 1 : 2}, 0,
                      &im->twin->sigma_param);
}

static int take_readout(struct import *im)
{
    struct twin *twin = im->twin;
    const struct twin_config *config = &twin->config;
    int n_channels = 0, rc;
    for (int i = 0; i < twin->n_stacked; i++)
        n_channels += config->hidden[twin->stacked[i]];
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    if (config->readout == TWIN_POINT) {
        char name[TWIN_NAME * 2];
        snprintf(name, sizeof name, "readout.%s._features", twin->key);
        const char *what = safetensors_find(im->file, name) ? "_features" : "features";
        n_channels *= config->pool_steps + 1;
        rc = take_named(im, what, 4, (int[]){1, n_channels, 1, -1}, 1,
                        &twin->feature_param);
    } else {
        rc = take_named(im, "_features", 2, (int[]){-1, n_channels}, 1,
                        &twin->feature_param);
    }
    if (rc)
        return rc;
    const struct twin_param *feature = &twin->param[twin->feature_param];
    int n = twin->readout.n_units = feature->dims[config->readout == TWIN_POINT ? 3 : 0];
    if (config->n_neurons && config->n_neurons != n)
        return refuse(im, "%s is for %d neurons, config.json's outdims for %d",
                      feature->name, n, config->n_neurons);
    rc = take_named(im, "bias", 1, &n, 0, &twin->bias_param);
    if (rc == 0 && config->readout == TWIN_FACTORISED)
        rc = take_named(im, "spatial", 3, (int[]){n, top->h, top->w}, 1,
                        &twin->mask_param);
    if (rc == 0 && config->readout == TWIN_POINT)
        rc = take_positions(im, n);
    if (rc == 0 && config->readout == TWIN_POINT)
        rc = take_sigma(im, n);
    if (rc)
        return rc;
    char name[TWIN_NAME * 2];
    snprintf(name, sizeof name, "shifter.%s.mlp", twin->key);
    twin->shifter.final_tanh = 1;
    return take_mlp(im, name, -1, &twin->shifter);
}

/* Session keys in the names: "readout.KEY._features". */
static int find_key(struct import *im, const char *wanted)
{
    struct twin *twin = im->twin;
    int n_keys = 0;
    if (!wanted && twin->config.key[0])
        wanted = twin->config.key;
    for (int i = 0; i < safetensors_count(im->file); i++) {
        const char *name = safetensors_at(im->file, i)->name;
        const char *end = strrchr(name, '.');
        if (strncmp(name, "readout.", 8) != 0 || end < name + 9 ||
            (strcmp(end, "._features") != 0 && strcmp(end, ".features") != 0))
            continue;
        int length = (int)(end - name - 8);
        if (wanted && (strncmp(name + 8, wanted, (size_t)length) != 0 ||
                       strlen(wanted) != (size_t)length))
            continue;
        if (length >= TWIN_NAME / 2)
            return refuse(im, "%.80s...: session name is too long", name);
        snprintf(twin->key, sizeof twin->key, "%.*s", length, name + 8);
        n_keys++;
    }
    if (n_keys == 0)
        return refuse(im, "readout.%s._features is missing", wanted ? wanted : "KEY");
    if (n_keys > 1)
        return refuse(im, "several sessions (%s is one): say which", twin->key);
    return 0;
}

/* Every tensor of the file must have been taken, or be known to be of no consequence. */
static int check_rest(struct import *im)
{
    static const char *const ignored[] = {"num_batches_tracked", "laplace.filter",
                                          "nonlin.zero"};
    char own[2][TWIN_NAME * 2];
    snprintf(own[0], sizeof own[0], "readout.%s.", im->twin->key);
    snprintf(own[1], sizeof own[1], "shifter.%s.", im->twin->key);
    for (int i = 0; i < safetensors_count(im->file); i++) {
        const char *name = safetensors_at(im->file, i)->name;
        int known = im->used[i];
        for (size_t j = 0; j < sizeof ignored / sizeof *ignored; j++) {
            size_t n = strlen(ignored[j]), length = strlen(name);
            known |= length >= n && strcmp(name + length - n, ignored[j]) == 0;
        }
        int session =
            strncmp(name, "readout.", 8) == 0 || strncmp(name, "shifter.", 8) == 0;
        int other = session && strncmp(name, own[0], strlen(own[0])) != 0 &&
                    strncmp(name, own[1], strlen(own[1])) != 0;
        im->twin->n_other += !known && other;
        if (!known && !other)
            return refuse(im, "%s is not understood", name);
    }
    return 0;
}

/* The geometry follows from the configuration alone. */
static int lay_out(struct import *im)
{
    struct twin *twin = im->twin;
    const struct twin_config *config = &twin->config;
    twin->n_layers = config->n_layers;
    for (int l = 0; l < twin->n_layers; l++) {
        struct twin_layer *layer = &twin->layer[l];
        int wanted = config->skip > 1 ? config->skip : 1;
        layer->n_from = l == 0 ? 1 : wanted < l ? wanted : l;
        for (int i = 0; i < layer->n_from; i++)
            layer->from[i] = l == 0 ? TWIN_IMAGE : l - layer->n_from + i;
        layer->separable = l > 0 && config->depth_separable;
        layer->kernel = config->kernel[l];
        layer->padding = config->padding[l];
        layer->dilation = l ? config->hidden_dilation : 1;
        layer->stride = l ? 1 : config->input_stride;
        layer->n_out = config->hidden[l];
        layer->n_pad = twin_pad(layer->n_out);
        layer->act =
            l < twin->n_layers - 1 || config->act_last ? config->act : TWIN_LINEAR;
        layer->in_h = l ? twin->layer[layer->from[0]].h : config->height;
        layer->in_w = l ? twin->layer[layer->from[0]].w : config->width;
        int reach = (layer->kernel - 1) * layer->dilation + 1;
        int free_h = layer->in_h + 2 * layer->padding - reach;
        int free_w = layer->in_w + 2 * layer->padding - reach;
        layer->h = free_h / layer->stride + 1;
        layer->w = free_w / layer->stride + 1;
        if (layer->padding >= reach)
            return refuse(im, "layer %d: padding of %d is wider than its kernel", l,
                          layer->padding);
        if (free_h < 0 || free_w < 0 || layer->h > TWIN_MAX_SIDE ||
            layer->w > TWIN_MAX_SIDE)
            return refuse(im, "layer %d: its kernel does not fit a map of %d x %d", l,
                          layer->in_h, layer->in_w);
        for (int i = 1; i < layer->n_from; i++)
            if (twin->layer[layer->from[i]].h != layer->in_h ||
                twin->layer[layer->from[i]].w != layer->in_w)
                return refuse(im, "layer %d: skip joins maps of different size", l);
    }
    return 0;
}

static int lay_out_stack(struct import *im)
{
    struct twin *twin = im->twin;
    int n_channels = 0;
    for (int l = 0; l < twin->n_layers; l++)
        if (twin->config.stack & 1u << l) {
            twin->stacked[twin->n_stacked++] = l;
            twin->n_stack_pad += twin->layer[l].n_pad;
            n_channels += twin->layer[l].n_out;
        }
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    for (int i = 1; i < twin->n_stacked; i++)
        if (twin->layer[twin->stacked[i]].h != top->h ||
            twin->layer[twin->stacked[i]].w != top->w)
            return refuse(im, "stack joins maps of different size");
    const int *said = twin->config.in_shape;
    if (said[0] && (said[0] != n_channels || said[1] != top->h || said[2] != top->w))
        return refuse(im,
                      "the core gives %d x %d x %d, the readout's in_shape is "
                      "%d x %d x %d",
                      n_channels, top->h, top->w, said[0], said[1], said[2]);
    int smallest = top->h < top->w ? top->h : top->w;
    for (int step = 0; step < twin->config.pool_steps; step++)
        smallest /= twin->config.pool_kernel;
    if (smallest < 1)
        return refuse(im, "pool_steps: nothing of the map is left");
    return 0;
}

static int import(struct import *im, const char *key)
{
    struct twin *twin = im->twin;
    size_t n_values = 0;
    for (int i = 0; i < safetensors_count(im->file); i++)
        n_values += safetensors_at(im->file, i)->count;
    size_t n = (size_t)safetensors_count(im->file) + 1;
    twin->param = calloc(n, sizeof *twin->param);
    twin->raw = calloc(n_values + 1, sizeof *twin->raw);
    im->used = calloc(n, 1);
    if (!twin->param || !twin->raw || !im->used)
        return refuse(im, "no memory for %zu parameters", n_values);
    twin->feature_param = twin->bias_param = twin->pos_param = -1;
    twin->sigma_param = twin->mask_param = twin->grid_param = -1;
    int rc = find_key(im, key);
    if (rc == 0)
        rc = lay_out(im);
    if (rc == 0)
        rc = lay_out_stack(im);
    for (int l = 0; l < twin->n_layers && rc == 0; l++)
        rc = take_layer(im, l);
    if (rc == 0)
        rc = take_readout(im);
    if (rc == 0)
        rc = check_rest(im);
    if (rc)
        return rc;
    twin_layout(twin);
    void *weight;
    if (posix_memalign(&weight, 64, twin->n_weight * sizeof(float)))
        return refuse(im, "no memory for %zu weights", twin->n_weight);
    twin->weight = weight;
    twin->kernels = twin_kernels();
    twin_fold(twin);
    for (size_t i = 0; i < twin->n_weight; i++)
        if (!isfinite(twin->weight[i]))
            return refuse(im, "the weights overflow when batch norm is folded in");
    return 0;
}

/* Text of a file beside the model, or of the path given; NULL if there is none. */
static char *read_text(const char *path, size_t *size)
{
    struct stat stat;
    FILE *in = fopen(path, "rbe");
    char *text = NULL;
    if (in && fstat(fileno(in), &stat) == 0 && S_ISREG(stat.st_mode) &&
        stat.st_size < CONFIG_SIZE_MAX && (text = malloc((size_t)stat.st_size + 1)))
        text[ *size = fread(text, 1, (size_t)stat.st_size, in)] = '\0';
    if (in)
        fclose(in);
    return text;
}

static int read_config(struct import *im, const char *path, const char *config_path)
{
    char beside[4096];
    const char *slash = strrchr(path, '/');
    snprintf(beside, sizeof beside, "%.*sconfig.json",
             slash ? (int)(slash - path + 1) : 0, path);
    const char *inside = safetensors_metadata(im->file, "config");
    size_t size = 0;
    char *text = NULL;
    if (!config_path && inside && (text = strdup(inside)))
        size = strlen(text);
    else
        text = read_text(config_path ? config_path : beside, &size);
    if (!text)
        return refuse(im,
                      "%s cannot be read: it says what the tensors do not (image size, "
                      "padding, ...)",
                      config_path ? config_path : beside);
    im->twin->config_json = text;
    return twin_config_parse(&im->twin->config, text, size, im->why, im->why_size);
}

struct twin *twin_open(const char *path, const char *config_path, const char *key,
                       char *why, size_t why_size)
{
    struct safetensors *file = safetensors_open(path, why, why_size);
    if (!file)
        return NULL;
    struct twin *twin = calloc(1, sizeof *twin);
    struct import im = {twin, file, NULL, why, why_size};
    int rc = twin ? read_config(&im, path, config_path) : refuse(&im, "no memory");
    if (rc == 0)
        rc = import(&im, key);
    free(im.used);
    safetensors_close(file);
    if (rc == 0)
        return twin;
    twin_close(twin);
    return NULL;
}

void twin_close(struct twin *twin)
{
    if (!twin)
        return;
    free(twin->config_json);
    free(twin->param);
    free(twin->raw);
    free(twin->weight);
    free(twin);
}

int twin_save(const struct twin *twin, const char *path)
{
    size_t n = (size_t)twin->n_params;
    struct safetensors_tensor *tensor = calloc(n + 1, sizeof *tensor);
    if (!tensor)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct twin_param *param = &twin->param[i];
        tensor[i].name = param->name;
        tensor[i].n_dims = param->n_dims;
        for (int d = 0; d < param->n_dims; d++)
            tensor[i].dims[d] = param->dims[d];
        tensor[i].count = param->count;
        tensor[i].data = (const unsigned char *)(twin->raw + param->offset);
    }
    const char *metadata[][2] = {{"format", "pt"}, {"config", twin->config_json}};
    int rc = safetensors_write(path, tensor, twin->n_params,
                               (const char *const(*)[2])metadata, 2);
    free(tensor);
    return rc;
}

int twin_find_param(const struct twin *twin, const char *name)
{
    for (int i = 0; i < twin->n_params; i++)
        if (strcmp(twin->param[i].name, name) == 0)
            return i;
    return -1;
}
