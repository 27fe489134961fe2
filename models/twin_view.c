#include <string.h>

#include "models/twin_layout.h"
#include "protocol/log.h"

/* The smallest window that holds both. */
static struct twin_window join(struct twin_window a, struct twin_window b)
{
    if (a.h == 0 || a.w == 0)
        return b;
    if (b.h == 0 || b.w == 0)
        return a;
    int y = a.y < b.y ? a.y : b.y, x = a.x < b.x ? a.x : b.x;
    int bottom = a.y + a.h > b.y + b.h ? a.y + a.h : b.y + b.h;
    int right = a.x + a.w > b.x + b.w ? a.x + a.w : b.x + b.w;
    return (struct twin_window){y, x, bottom - y, right - x};
}

/* What of a map of so many pixels the kernel reads for these outputs. */
static void reach(const struct twin_layer *layer, int first, int n, int size, int *from,
                  int *count)
{
    int begin = first * layer->stride - layer->padding;
    int end = begin + (n - 1) * layer->stride + (layer->kernel - 1) * layer->dilation + 1;
    begin = begin < 0 ? 0 : begin > size ? size : begin;
    end = end < begin ? begin : end > size ? size : end;
    *from = begin;
    *count = end - begin;
}

/* From the readout down: each layer must give what the layers above read. */
static void spread(const struct twin *twin, struct twin_view *view)
{
    for (int l = twin->n_layers - 1; l >= 0; l--) {
        const struct twin_layer *layer = &twin->layer[l];
        struct twin_window out = view->out[l], *in = &view->in[l];
        *in = (struct twin_window){0};
        view->in_x[l] = out.x * layer->stride - layer->padding;
        view->in_w[l] = 0;
        if (out.h > 0 && out.w > 0) {
            reach(layer, out.y, out.h, layer->in_h, &in->y, &in->h);
            reach(layer, out.x, out.w, layer->in_w, &in->x, &in->w);
            view->in_w[l] =
                (out.w - 1) * layer->stride + (layer->kernel - 1) * layer->dilation + 1;
        }
        for (int i = 0; i < layer->n_from; i++)
            if (layer->from[i] == TWIN_IMAGE)
                view->image = *in;
            else
                view->out[layer->from[i]] = join(view->out[layer->from[i]], *in);
    }
}

static size_t reserve(size_t *at, size_t n)
{
    size_t here = *at;
    *at += (n + 15) / 16 * 16;
    return here;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t area(int h, int w, int channels)
{
    return (size_t)h * (size_t)w * (size_t)channels;
}

static void place(const struct twin *twin, struct twin_view *view)
{
    size_t at = 0, scratch = 0, scratch2 = 0;
    for (int l = 0; l < twin->n_layers; l++) {
        const struct twin_layer *layer = &twin->layer[l];
        struct twin_window out = view->out[l], in = view->in[l];
        int side = (layer->kernel - 1) * layer->dilation;
        view->act[l] = reserve(&at, area(out.h, out.w, layer->n_pad));
        view->grad[l] = reserve(&at, area(out.h, out.w, layer->n_pad));
        if (layer->separable) {
            view->mid[l] = reserve(&at, area(in.h, view->in_w[l], layer->n_pad));
            view->mid2[l] = reserve(&at, area(out.h, out.w, layer->n_pad));
        }
        for (int i = 0; i < layer->n_from; i++)
            scratch = larger(scratch, area(in.h, view->in_w[l],
                                           twin_source_pad(twin, layer->from[i])));
        scratch = larger(scratch, area(out.h, in.w + side, layer->n_pad));
        scratch2 = larger(scratch2, l ? area(in.h, in.w, layer->n_pad)
                                      : area(out.h, out.w, twin_image_taps(twin)));
    }
    view->scratch = reserve(&at, scratch);
    view->scratch2 = reserve(&at, scratch2);
    view->z = reserve(&at, (size_t)view->n_units);
    view->sum = reserve(&at, (size_t)view->readout->n_features);
    view->work_size = at * sizeof(float);
}

static void begin(const struct twin *twin, const struct twin_readout *readout,
                  const uint32_t *units, int n_units, struct twin_view *view)
{
    *view = (struct twin_view){0};
    view->readout = readout ? readout : &twin->readout;
    view->units = units;
    view->n_units = n_units;
    CHECK_EQ(view->readout->n_features, view->readout->n_levels * twin->n_stack_pad);
    CHECK(units || n_units <= view->readout->n_units);
    for (int i = 0; units && i < n_units; i++)
        CHECK(units[i] < (uint32_t)view->readout->n_units);
}

static void finish(const struct twin *twin, struct twin_view *view,
                   struct twin_window window)
{
    for (int i = 0; i < twin->n_stacked; i++)
        view->out[twin->stacked[i]] = window;
    spread(twin, view);
    place(twin, view);
}

void twin_view_units(const struct twin *twin, const struct twin_readout *readout,
                     const uint32_t *units, int n_units, const float *shift,
                     struct twin_view *view)
{
    begin(twin, readout, units, n_units, view);
    if (shift)
        memcpy(view->shift, shift, sizeof view->shift);
    finish(twin, view, twin_readout_window(twin, view));
}

void twin_view_whole(const struct twin *twin, const struct twin_readout *readout,
                     const uint32_t *units, int n_units, struct twin_view *view)
{
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    begin(twin, readout, units, n_units, view);
    finish(twin, view, (struct twin_window){0, 0, top->h, top->w});
}
