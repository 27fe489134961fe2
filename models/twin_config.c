#include "models/twin_config.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

/* One section of the configuration while it is read: every key must be asked for. */
struct section {
    const json_t *object;
    const char *name;
    char *why;
    size_t why_size;
    int failed; /* the first reason stays */
};

static void refuse(struct section *section, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void refuse(struct section *section, const char *format, ...)
{
    if (section->failed)
        return;
    section->failed = 1;
    int n = snprintf(section->why, section->why_size, "config: %s: ", section->name);
    va_list args;
    va_start(args, format);
    if (n > 0 && (size_t)n < section->why_size)
        vsnprintf(section->why + n, section->why_size - (size_t)n, format, args);
    va_end(args);
}

static int whole(struct section *section, const char *key, const json_t *value, int low,
                 int high)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < low || number > high) {
        refuse(section, "%s must be a whole number from %d to %d", key, low, high);
        return low;
    }
    return (int)number;
}

static int get_int(struct section *section, const char *key, int standard, int low,
                   int high)
{
    const json_t *value = json_object_get(section->object, key);
    return value ? whole(section, key, value, low, high) : standard;
}

static int get_bool(struct section *section, const char *key, int standard)
{
    const json_t *value = json_object_get(section->object, key);
    if (!value)
        return standard;
    if (!json_is_boolean(value))
        refuse(section, "%s must be true or false", key);
    return json_is_true(value);
}

static double get_number(struct section *section, const char *key, double standard)
{
    const json_t *value = json_object_get(section->object, key);
    if (!value)
        return standard;
    double number = json_number_value(value);
    if (!json_is_number(value) || !(fabs(number) < 1e30))
        refuse(section, "%s must be a finite number", key);
    return number;
}

/* A whole number, or a list of n of them; null and absent: *standard. */
static void get_ints(struct section *section, const char *key, int standard, int low,
                     int high, int *out, int n)
{
    const json_t *value = json_object_get(section->object, key);
    int is_list = json_is_array(value);
    if (is_list && json_array_size(value) != (size_t)n)
        refuse(section, "%s must have %d entries", key, n);
    for (int i = 0; i < n; i++) {
        const json_t *one = is_list ? json_array_get(value, (size_t)i) : value;
        out[i] =
            !one || json_is_null(one) ? standard : whole(section, key, one, low, high);
    }
}

static void check_keys(struct section *section, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)section->object, key, value)
    {
        int i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            refuse(section, "%s is not understood", key);
    }
}

/* stack: null: all layers; -1: the last; a list: those. Python's layers[stack:]. */
static unsigned read_stack(struct section *section, int n_layers)
{
    const json_t *value = json_object_get(section->object, "stack");
    unsigned all = (1u << n_layers) - 1, chosen = 0;
    if (!value || json_is_null(value))
        return all;
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            int layer = whole(section, "stack", json_array_get(value, i), -n_layers,
                              n_layers - 1);
            unsigned bit = 1u << (layer < 0 ? layer + n_layers : layer);
            if (bit <= chosen)
                refuse(section, "stack must be in rising order");
            chosen |= bit;
        }
        return chosen ? chosen : all;
    }
    int first = whole(section, "stack", value, -TWIN_MAX_LAYERS, n_layers - 1);
    first = first < -n_layers ? 0 : first < 0 ? first + n_layers : first;
    return all & ~((1u << first) - 1);
}

static void read_shift(struct section *section, struct twin_config *config)
{
    const json_t *shift = json_object_get(section->object, "elu_shift");
    const json_t *more = json_object_get(section->object, "nonlinearity_config");
    struct section own = {more, "core.nonlinearity_config", section->why,
                          section->why_size, section->failed};
    if (shift && json_array_size(shift) != 2)
        refuse(section, "elu_shift must be two numbers");
    if (shift) {
        config->elu_x = json_number_value(json_array_get(shift, 0));
        config->elu_y = json_number_value(json_array_get(shift, 1));
    }
    if (more && !json_is_null(more)) {
        static const char *const known[] = {"xshift", "yshift", NULL};
        check_keys(&own, known);
        config->elu_x = get_number(&own, "xshift", config->elu_x);
        config->elu_y = get_number(&own, "yshift", config->elu_y);
    }
    section->failed |= own.failed;
}

static void read_act(struct section *section, struct twin_config *config)
{
    const json_t *type = json_object_get(section->object, "nonlinearity_type");
    const char *name = type ? json_string_value(type) : "AdaptiveELU";
    if (get_bool(section, "linear", 0))
        config->act = TWIN_LINEAR;
    else if (name && (strcmp(name, "AdaptiveELU") == 0 || strcmp(name, "ELU") == 0))
        config->act = TWIN_ELU;
    else if (name && strcmp(name, "SoftThreshold") == 0)
        config->act = TWIN_SOFTPLUS;
    else
        refuse(section, "nonlinearity_type %s is not understood", name ? name : "?");
    config->act_last = get_bool(section, "final_nonlinearity", 1);
    read_shift(section, config);
}

static void read_geometry(struct section *section, struct twin_config *config)
{
    int n = config->n_layers = get_int(section, "layers", 3, 1, TWIN_MAX_LAYERS);
    config->channels = get_int(section, "input_channels", 0, 1, TWIN_MAX_CHANNELS);
    get_ints(section, "hidden_channels", 0, 1, TWIN_MAX_CHANNELS, config->hidden, n);
    config->kernel[0] = get_int(section, "input_kern", 0, 1, TWIN_MAX_KERNEL);
    get_ints(section, "hidden_kern", 0, 1, TWIN_MAX_KERNEL, config->kernel + 1, n - 1);
    if (!config->channels)
        refuse(section, "input_channels is missing");
    for (int l = 0; l < n; l++)
        if (!config->hidden[l] || !config->kernel[l])
            refuse(section, "hidden_channels, input_kern or hidden_kern is missing");
    config->input_stride = get_int(section, "input_stride", 1, 1, TWIN_MAX_KERNEL);
    config->hidden_dilation = get_int(section, "hidden_dilation", 1, 1, TWIN_MAX_KERNEL);
    get_ints(section, "hidden_padding", -1, 0, TWIN_MAX_SIDE, config->padding + 1, n - 1);
    config->padding[0] = get_bool(section, "pad_input", 1) ? config->kernel[0] / 2 : 0;
    for (int l = 1; l < n; l++)
        if (config->padding[l] < 0)
            config->padding[l] =
                ((config->kernel[l] - 1) * config->hidden_dilation + 1) / 2;
    config->skip = get_int(section, "skip", 0, 0, TWIN_MAX_LAYERS);
    config->stack = read_stack(section, n);
    config->depth_separable = get_bool(section, "depth_separable", 0);
}

static void read_core(struct section *section, struct twin_config *config)
{
    /* the first group says how tensors are named or how they were trained: the tensors
     * say it themselves, or it is of no consequence to what the network computes */
    static const char *const known[] = {"bias",
                                        "momentum",
                                        "batch_norm",
                                        "batch_norm_scale",
                                        "final_batchnorm_scale",
                                        "independent_bn_bias",
                                        "laplace_padding",
                                        "input_regularizer",
                                        "use_avg_reg",
                                        "gamma_input",
                                        "gamma_hidden",
                                        "type",
                                        "input_channels",
                                        "hidden_channels",
                                        "input_kern",
                                        "hidden_kern",
                                        "layers",
                                        "skip",
                                        "stride",
                                        "input_stride",
                                        "hidden_stride",
                                        "final_nonlinearity",
                                        "elu_shift",
                                        "pad_input",
                                        "hidden_padding",
                                        "hidden_dilation",
                                        "stack",
                                        "depth_separable",
                                        "attention_conv",
                                        "linear",
                                        "nonlinearity_type",
                                        "nonlinearity_config",
                                        "n_se_blocks",
                                        "se_reduction",
                                        NULL};
    const json_t *type = json_object_get(section->object, "type");
    const char *name = type ? json_string_value(type) : "Stacked2dCore";
    check_keys(section, known);
    if (!name || (strcmp(name, "Stacked2dCore") != 0 && strcmp(name, "SE2dCore") != 0))
        refuse(section, "type %s is not understood", name ? name : "?");
    if (get_bool(section, "attention_conv", 0))
        refuse(section, "attention_conv is not supported");
    if (get_int(section, "n_se_blocks", 0, 0, 1000) != 0)
        refuse(section, "n_se_blocks: squeeze-and-excite blocks are not supported");
    if (get_int(section, "stride", 1, 1, 1000) != 1 ||
        get_int(section, "hidden_stride", 1, 1, 1000) != 1)
        refuse(section, "only the first layer may have a stride (input_stride)");
    read_geometry(section, config);
    read_act(section, config);
    config->gamma_input = get_number(section, "gamma_input", 0.0);
    config->gamma_hidden = get_number(section, "gamma_hidden", 0.0);
}

static void read_predictor(struct section *section, struct twin_config *config)
{
    const json_t *value = json_object_get(section->object, "grid_mean_predictor");
    if (!value || json_is_null(value))
        return;
    static const char *const known[] = {"hidden_layers", "hidden_features",  "final_tanh",
                                        "type",          "input_dimensions", NULL};
    struct section own = {value, "readout.grid_mean_predictor", section->why,
                          section->why_size, section->failed};
    if (!json_is_object(value))
        refuse(&own, "must be an object");
    check_keys(&own, known);
    config->predictor_tanh = get_bool(&own, "final_tanh", 0);
    section->failed |= own.failed;
}

static void read_readout(struct section *section, struct twin_config *config)
{
    static const char *const known[] = {"bias",
                                        "init_mu_range",
                                        "init_sigma",
                                        "init_range",
                                        "init_noise",
                                        "gauss_type",
                                        "batch_sample",
                                        "mean_activity",
                                        "use_avg_reg",
                                        "type",
                                        "in_shape",
                                        "outdims",
                                        "pool_steps",
                                        "pool_kern",
                                        "align_corners",
                                        "grid_mean_predictor",
                                        "normalize",
                                        "constrain_pos",
                                        "positive_weights",
                                        "feature_reg_weight",
                                        "gamma_readout",
                                        "reg_weight",
                                        NULL};
    const char *type = json_string_value(json_object_get(section->object, "type"));
    check_keys(section, known);
    if (!type)
        refuse(section, "type is missing");
    else if (strcmp(type, "FullGaussian2d") == 0 || strcmp(type, "PointPooled2d") == 0)
        config->readout = TWIN_POINT;
    else if (strcmp(type, "SpatialXFeatureLinear") == 0 ||
             strcmp(type, "FullFactorized2d") == 0 || strcmp(type, "FullSXF") == 0)
        config->readout = TWIN_FACTORISED;
    else
        refuse(section, "type %s is not understood", type);
    if (get_bool(section, "constrain_pos", 0) || get_bool(section, "positive_weights", 0))
        refuse(section, "weights constrained to be positive are not supported");
    get_ints(section, "in_shape", 0, 1, TWIN_MAX_SIDE, config->in_shape, 3);
    config->n_neurons = get_int(section, "outdims", 0, 1, 1 << 24);
    config->pool_kernel = 1;
    if (type && strcmp(type, "PointPooled2d") == 0) {
        config->pool_steps = get_int(section, "pool_steps", 0, 0, TWIN_MAX_POOLS);
        config->pool_kernel = get_int(section, "pool_kern", 2, 1, TWIN_MAX_KERNEL);
    }
    config->align_corners = get_bool(section, "align_corners", 1);
    config->normalize = get_bool(section, "normalize", 1);
    config->feature_reg = get_number(section, "reg_weight", 1.0);
    config->feature_reg = get_number(section, "gamma_readout", config->feature_reg);
    config->feature_reg = get_number(section, "feature_reg_weight", config->feature_reg);
    read_predictor(section, config);
}

static void read_top(struct section *section, struct twin_config *config)
{
    const json_t *shape = json_object_get(section->object, "input_shape");
    size_t n = json_array_size(shape);
    if (n != 3 && n != 4) {
        refuse(section, "input_shape must be [channels, height, width]");
        return;
    }
    int channels =
        whole(section, "input_shape", json_array_get(shape, n - 3), 1, TWIN_MAX_CHANNELS);
    if (channels != config->channels)
        refuse(section, "input_shape has %d channels, the core %d", channels,
               config->channels);
    config->height =
        whole(section, "input_shape", json_array_get(shape, n - 2), 1, TWIN_MAX_SIDE);
    config->width =
        whole(section, "input_shape", json_array_get(shape, n - 1), 1, TWIN_MAX_SIDE);
    const char *out =
        json_string_value(json_object_get(section->object, "output_nonlinearity"));
    if (!out)
        out = json_string_value(json_object_get(section->object, "nonlinearity"));
    if (out && strcasecmp(out, "elu+1") != 0)
        refuse(section, "output_nonlinearity %s is not understood", out);
    config->elu_offset = get_number(section, "elu_offset", 0.0);
    config->bn_eps = get_number(section, "bn_eps", 1e-5);
    if (!(config->bn_eps > 0.0))
        refuse(section, "bn_eps must be above 0");
    const char *key = json_string_value(json_object_get(section->object, "data_key"));
    if (key && strlen(key) >= TWIN_NAME / 2)
        refuse(section, "data_key is too long");
    else
        snprintf(config->key, sizeof config->key, "%s", key ? key : "");
}

int twin_config_parse(struct twin_config *config, const char *json, size_t size,
                      char *why, size_t why_size)
{
    *config = (struct twin_config){0};
    json_error_t error;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
    struct section top = {root, "file", why, why_size, 0};
    struct section core = {json_object_get(root, "core"), "core", why, why_size, 0};
    struct section readout = {json_object_get(root, "readout"), "readout", why, why_size,
                              0};
    if (!json_is_object(root))
        refuse(&top, "no JSON object: line %d: %s", error.line, error.text);
    else if (!json_is_object(core.object) || !json_is_object(readout.object))
        refuse(&top, "needs \"core\" and \"readout\"");
    if (!top.failed)
        read_core(&core, config);
    readout.failed = top.failed || core.failed;
    if (!readout.failed)
        read_readout(&readout, config);
    top.failed = readout.failed;
    if (!top.failed)
        read_top(&top, config);
    json_decref(root);
    return top.failed ? -EINVAL : 0;
}
