#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "models/twin_layout.h"

struct page {
    char *text;
    size_t size, n;
};

static void say(struct page *page, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct page *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (page->n < page->size) {
        int n = vsnprintf(page->text + page->n, page->size - page->n, format, args);
        page->n += n > 0 ? (size_t)n : 0;
    }
    va_end(args);
}

static const char *act_name(enum twin_act act)
{
    return act == TWIN_ELU ? "ELU" : act == TWIN_SOFTPLUS ? "softplus" : "linear";
}

/* Pixels of the image that one output pixel of layer l sees along one axis, and how far
 * its neighbour is. */
static void field(const struct twin *twin, int l, int *pixels, int *step)
{
    const struct twin_layer *layer = &twin->layer[l];
    int below = 1, pace = 1;
    for (int i = 0; i < layer->n_from; i++)
        if (layer->from[i] != TWIN_IMAGE) {
            int other;
            field(twin, layer->from[i], &other, &pace);
            below = other > below ? other : below;
        }
    *pixels = below + (layer->kernel - 1) * layer->dilation * pace;
    *step = pace * layer->stride;
}

static void describe_layer(struct page *page, const struct twin *twin, int l)
{
    const struct twin_layer *layer = &twin->layer[l];
    const int *p = layer->param;
    int n_in = 0, pixels, step;
    for (int i = 0; i < layer->n_from; i++)
        n_in += twin_source_channels(twin, layer->from[i]);
    field(twin, l, &pixels, &step);
    say(page, "  layer %d: %s%dx%d, %d -> %d channels", l,
        layer->separable ? "depth-separable " : "", layer->kernel, layer->kernel, n_in,
        layer->n_out);
    if (layer->n_from > 1)
        say(page, " (of %d layers)", layer->n_from);
    if (layer->stride > 1)
        say(page, ", stride %d", layer->stride);
    if (layer->dilation > 1)
        say(page, ", dilation %d", layer->dilation);
    say(page, ", padding %d, %s%s, map %d x %d, sees %d x %d pixels\n", layer->padding,
        p[TWIN_NORM_MEAN] >= 0 ? "batch norm folded in, " : "", act_name(layer->act),
        layer->h, layer->w, pixels, pixels);
}

static int biases_missing(const struct twin *twin)
{
    int n = 0;
    for (int l = 0; l < twin->n_layers; l++)
        if (twin->layer[l].separable)
            n += (twin->layer[l].param[TWIN_IN_B] < 0) +
                 (twin->layer[l].param[TWIN_SPACE_B] < 0) +
                 (twin->layer[l].param[TWIN_OUT_B] < 0);
    return n;
}

static void describe_readout(struct page *page, const struct twin *twin)
{
    const struct twin_readout *readout = &twin->readout;
    int n_channels = 0;
    for (int i = 0; i < twin->n_stacked; i++)
        n_channels += twin->layer[twin->stacked[i]].n_out;
    say(page, "readout %s: %d neurons, ", twin->key, readout->n_units);
    if (readout->kind == TWIN_FACTORISED)
        say(page, "factorised, a mask (%s) and %d features each",
            twin->config.normalize ? "unit length" : "any length", n_channels);
    else if (readout->n_levels > 1)
        say(page, "one point each in the map and %d poolings by %d, %d features",
            readout->n_levels - 1, readout->pool_kernel, n_channels * readout->n_levels);
    else
        say(page, "one point each (Gaussian), %d features", n_channels);
    if (twin->n_stacked > 1)
        say(page, " of %d layers", twin->n_stacked);
    if (twin->predictor.n_layers > 0)
        say(page, ", positions predicted from %d coordinates",
            twin->param[twin->grid_param].dims[1]);
    if (!readout->align_corners)
        say(page, ", corners not aligned");
    say(page, "\n  rate = ELU(. %+g) + 1\n", readout->elu_offset);
    if (twin->shifter.n_layers > 0)
        say(page, "shifter: %d layers\n", twin->shifter.n_layers);
}

/* The window that one neuron in the middle of the map needs. */
static void describe_window(struct page *page, const struct twin *twin)
{
    if (twin->readout.kind != TWIN_POINT || twin->readout.n_units < 1)
        return;
    struct twin_readout middle = twin->readout;
    const float pos[2] = {0.01f, 0.01f};
    const uint32_t unit = 0;
    struct twin_view view;
    middle.pos = pos;
    middle.n_units = 1;
    twin_view_units(twin, &middle, &unit, 1, NULL, &view);
    say(page, "receptive field of one neuron: %d x %d of %d x %d pixels\n", view.image.h,
        view.image.w, twin->config.height, twin->config.width);
}

void twin_describe(const struct twin *twin, char *text, size_t size)
{
    struct page page = {text, size, 0};
    const struct twin_config *config = &twin->config;
    size_t n_core = 0;
    for (int i = 0; i < twin->n_params; i++)
        if (strncmp(twin->param[i].name, "core.", 5) == 0)
            n_core += twin->param[i].count;
    if (size > 0)
        text[0] = '\0';
    say(&page, "image: %d channel%s, %d x %d pixels\n", config->channels,
        config->channels == 1 ? "" : "s", config->height, config->width);
    say(&page, "core: %d layers, %s\n", twin->n_layers,
        config->depth_separable ? "depth-separable" : "dense");
    for (int l = 0; l < twin->n_layers; l++)
        describe_layer(&page, twin, l);
    describe_readout(&page, twin);
    describe_window(&page, twin);
    say(&page, "parameters: %zu (core %zu, readout and rest %zu) in %d tensors\n",
        twin->n_raw, n_core, twin->n_raw - n_core, twin->n_params);
    if (biases_missing(twin) > 0)
        say(&page, "%d convolutions without bias: taken as 0\n", biases_missing(twin));
    if (twin->n_other > 0)
        say(&page, "%d tensors of other sessions left out\n", twin->n_other);
}
