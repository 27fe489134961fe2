#include <string.h>

#include "models/twin_layout.h"

/* Copy the part of a map that a layer reads, with its padding left and right. src holds
 * the window `have` of the map. */
static void copy_padded(const float *src, struct twin_window have, int pitch,
                        struct twin_window want, int x, int w, float *dst)
{
    size_t pixel = (size_t)pitch, row = (size_t)w * pixel;
    size_t left = (size_t)(want.x - x) * pixel, middle = (size_t)want.w * pixel;
    for (int y = 0; y < want.h; y++) {
        float *to = dst + (size_t)y * row;
        const float *from = src + ((size_t)(want.y - have.y + y) * (size_t)have.w +
                                   (size_t)(want.x - have.x)) *
                                      pixel;
        memset(to, 0, left * sizeof(float));
        memcpy(to + left, from, middle * sizeof(float));
        memset(to + left + middle, 0, (row - left - middle) * sizeof(float));
    }
}

/* The image's window with its padding, channels innermost. */
static void load_image(const struct twin *twin, const struct twin_view *view,
                       const float *image, float *dst)
{
    int n = twin->config.channels, width = twin->config.width, w = view->in_w[0];
    struct twin_window in = view->in[0];
    size_t plane = (size_t)width * (size_t)twin->config.height;
    memset(dst, 0, (size_t)in.h * (size_t)w * (size_t)n * sizeof(float));
    for (int c = 0; c < n; c++)
        for (int y = 0; y < in.h; y++) {
            const float *from = image + (size_t)c * plane +
                                (size_t)(in.y + y) * (size_t)width + (size_t)in.x;
            float *to =
                dst +
                ((size_t)y * (size_t)w + (size_t)(in.x - view->in_x[0])) * (size_t)n +
                (size_t)c;
            for (int x = 0; x < in.w; x++)
                to[(size_t)x * (size_t)n] = from[x];
        }
}

static void zero_columns(float *map, int h, int w, int first, int n, int pitch)
{
    size_t pixel = (size_t)pitch, left = (size_t)first * pixel;
    size_t right = (size_t)(w - first - n) * pixel;
    for (int y = 0; y < h; y++) {
        float *row = map + (size_t)y * (size_t)w * pixel;
        memset(row, 0, left * sizeof(float));
        memset(row + (size_t)(first + n) * pixel, 0, right * sizeof(float));
    }
}

/* A 1x1 convolution between two windows of maps, pixel for pixel. */
static struct twin_conv pointwise(const float *in, int in_w, int n_in, float *out,
                                  int out_w, int n_out, int h, int w)
{
    return (struct twin_conv){.in = in,
                              .in_row = (ptrdiff_t)in_w * n_in,
                              .in_pitch = n_in,
                              .in_h = h,
                              .out = out,
                              .out_row = (ptrdiff_t)out_w * n_out,
                              .out_pitch = n_out,
                              .out_h = h,
                              .out_w = w,
                              .kernel = 1,
                              .dilation = 1,
                              .stride = 1,
                              .n_in = n_in,
                              .n_out = n_out};
}

/* The layer's k x k convolution: map with padding -> window of the output. */
static struct twin_conv spatial(const struct twin_layer *layer,
                                const struct twin_view *view, int l, const float *in,
                                int n_in, float *out)
{
    struct twin_window w = view->out[l];
    return (struct twin_conv){.in = in,
                              .in_row = (ptrdiff_t)view->in_w[l] * n_in,
                              .in_pitch = n_in,
                              .in_h = view->in[l].h,
                              .row0 =
                                  w.y * layer->stride - layer->padding - view->in[l].y,
                              .out = out,
                              .out_row = (ptrdiff_t)w.w * layer->n_pad,
                              .out_pitch = layer->n_pad,
                              .out_h = w.h,
                              .out_w = w.w,
                              .kernel = layer->kernel,
                              .dilation = layer->dilation,
                              .stride = layer->stride,
                              .n_in = n_in,
                              .n_out = layer->n_pad};
}

/* Where the window that layer l reads begins in what its source keeps. */
static size_t source_at(const struct twin *twin, const struct twin_view *view, int l,
                        int from)
{
    struct twin_window in = view->in[l], have = view->out[from];
    return ((size_t)(in.y - have.y) * (size_t)have.w + (size_t)(in.x - have.x)) *
           (size_t)twin->layer[from].n_pad;
}

/* Pad a source's activations (or the image) for layer l into scratch. */
static void load_source(const struct twin *twin, const struct twin_view *view, int l,
                        int from, float *work, const float *image)
{
    float *scratch = work + view->scratch;
    if (from == TWIN_IMAGE)
        load_image(twin, view, image, scratch);
    else
        copy_padded(work + view->act[from], view->out[from], twin->layer[from].n_pad,
                    view->in[l], view->in_x[l], view->in_w[l], scratch);
}

static void forward_dense(const struct twin *twin, const struct twin_view *view, int l,
                          float *work, const float *image)
{
    const struct twin_layer *layer = &twin->layer[l];
    for (int i = 0; i < layer->n_from; i++) {
        int from = layer->from[i];
        load_source(twin, view, l, from, work, image);
        struct twin_conv job = spatial(layer, view, l, work + view->scratch,
                                       twin_source_pad(twin, from), work + view->act[l]);
        job.weight = twin->weight + layer->in[i];
        job.bias = i == 0 ? twin->weight + layer->in_bias : NULL;
        twin->kernels->conv(&job);
    }
}

/* 1x1, then each channel its own kernel, then 1x1. The zeros that pad the middle stand
 * after the first 1x1's bias, as in PyTorch. */
static void forward_separable(const struct twin *twin, const struct twin_view *view,
                              int l, float *work)
{
    const struct twin_layer *layer = &twin->layer[l];
    struct twin_window in = view->in[l], out = view->out[l];
    int first = in.x - view->in_x[l];
    float *mid = work + view->mid[l], *mid2 = work + view->mid2[l];
    zero_columns(mid, in.h, view->in_w[l], first, in.w, layer->n_pad);
    for (int i = 0; i < layer->n_from; i++) {
        int from = layer->from[i];
        struct twin_conv job = pointwise(
            work + view->act[from] + source_at(twin, view, l, from), view->out[from].w,
            twin->layer[from].n_pad, mid + (size_t)first * (size_t)layer->n_pad,
            view->in_w[l], layer->n_pad, in.h, in.w);
        job.weight = twin->weight + layer->in[i];
        job.bias = i == 0 ? twin->weight + layer->in_bias : NULL;
        twin->kernels->conv(&job);
    }
    struct twin_conv space = spatial(layer, view, l, mid, layer->n_pad, mid2);
    space.weight = twin->weight + layer->space;
    space.bias = twin->weight + layer->space_bias;
    twin->kernels->depthwise(&space);
    struct twin_conv last = pointwise(mid2, out.w, layer->n_pad, work + view->act[l],
                                      out.w, layer->n_pad, out.h, out.w);
    last.weight = twin->weight + layer->out;
    last.bias = twin->weight + layer->out_bias;
    twin->kernels->conv(&last);
}

static size_t layer_size(const struct twin *twin, const struct twin_view *view, int l)
{
    return (size_t)view->out[l].h * (size_t)view->out[l].w * (size_t)twin->layer[l].n_pad;
}

void twin_forward(const struct twin *twin, const struct twin_view *view, void *work,
                  const float *image, float *rate)
{
    float *memory = work;
    for (int l = 0; l < twin->n_layers; l++) {
        const struct twin_layer *layer = &twin->layer[l];
        if (view->out[l].h == 0)
            continue;
        if (layer->separable)
            forward_separable(twin, view, l, memory);
        else
            forward_dense(twin, view, l, memory, image);
        twin->kernels->act(layer->act, (float)twin->config.elu_x,
                           (float)twin->config.elu_y, layer_size(twin, view, l),
                           memory + view->act[l]);
    }
    twin_readout_forward(twin, view, memory, rate);
}

/* Gradient at a layer's output, padded left and right so that the flipped kernel can
 * gather it: one pixel of the result for each pixel that the layer read. */
static struct twin_conv gather(const struct twin_layer *layer,
                               const struct twin_view *view, int l, const float *padded,
                               float *out, ptrdiff_t out_row, int n_out)
{
    struct twin_window in = view->in[l], w = view->out[l];
    int side = (layer->kernel - 1) * layer->dilation;
    return (struct twin_conv){.in = padded,
                              .in_row = (ptrdiff_t)(in.w + side) * layer->n_pad,
                              .in_pitch = layer->n_pad,
                              .in_h = w.h,
                              .row0 = in.y + layer->padding - side - w.y,
                              .out = out,
                              .out_row = out_row,
                              .out_pitch = n_out,
                              .out_h = in.h,
                              .out_w = in.w,
                              .kernel = layer->kernel,
                              .dilation = layer->dilation,
                              .stride = 1,
                              .n_in = layer->n_pad,
                              .n_out = n_out};
}

/* Where the output window's columns begin among the gathered ones. */
static int gather_first(const struct twin_layer *layer, const struct twin_view *view,
                        int l)
{
    int side = (layer->kernel - 1) * layer->dilation;
    return view->out[l].x - (view->in[l].x + layer->padding - side);
}

static void add_bias_grad(const struct twin *twin, const float *grad, size_t n_pixels,
                          int n_pad, float *bias_grad)
{
    for (size_t i = 0; i < n_pixels; i++)
        twin->kernels->add_scaled(n_pad, 1.0f, grad + i * (size_t)n_pad, bias_grad);
}

static void backward_dense(const struct twin *twin, const struct twin_view *view, int l,
                           float *work, const float *image, float *weight_grad)
{
    const struct twin_layer *layer = &twin->layer[l];
    struct twin_window out = view->out[l];
    float *grad = work + view->grad[l], *scratch = work + view->scratch;
    if (weight_grad) {
        add_bias_grad(twin, grad, (size_t)out.h * (size_t)out.w, layer->n_pad,
                      weight_grad + layer->in_bias);
        for (int i = 0; i < layer->n_from; i++) {
            int from = layer->from[i];
            load_source(twin, view, l, from, work, image);
            struct twin_conv job =
                spatial(layer, view, l, scratch, twin_source_pad(twin, from), grad);
            twin->kernels->conv_grad(&job, weight_grad + layer->in[i]);
        }
    }
    if (l == 0)
        return;
    int first = gather_first(layer, view, l);
    int w = view->in[l].w + (layer->kernel - 1) * layer->dilation;
    copy_padded(grad, out, layer->n_pad, out, out.x - first, w, scratch);
    for (int i = 0; i < layer->n_from; i++) {
        int from = layer->from[i], n = twin->layer[from].n_pad;
        float *to = work + view->grad[from] + source_at(twin, view, l, from);
        struct twin_conv job =
            gather(layer, view, l, scratch, to, (ptrdiff_t)view->out[from].w * n, n);
        job.weight = twin->weight + layer->in_back[i];
        twin->kernels->conv(&job);
    }
}

static void separable_grads(const struct twin *twin, const struct twin_view *view, int l,
                            float *work, float *grad2, ptrdiff_t grad2_row, float *grad1,
                            float *weight_grad)
{
    const struct twin_layer *layer = &twin->layer[l];
    struct twin_window out = view->out[l], in = view->in[l];
    const float *mid2 = work + view->mid2[l];
    struct twin_conv last = pointwise(mid2, out.w, layer->n_pad, work + view->grad[l],
                                      out.w, layer->n_pad, out.h, out.w);
    twin->kernels->conv_grad(&last, weight_grad + layer->out);
    add_bias_grad(twin, work + view->grad[l], (size_t)out.h * (size_t)out.w, layer->n_pad,
                  weight_grad + layer->out_bias);
    struct twin_conv space =
        spatial(layer, view, l, work + view->mid[l], layer->n_pad, NULL);
    space.out = grad2;
    space.out_row = grad2_row;
    twin->kernels->depthwise_grad(&space, weight_grad + layer->space);
    for (int y = 0; y < out.h; y++)
        add_bias_grad(twin, grad2 + y * grad2_row, (size_t)out.w, layer->n_pad,
                      weight_grad + layer->space_bias);
    for (int i = 0; i < layer->n_from; i++) {
        int from = layer->from[i];
        struct twin_conv first = pointwise(
            work + view->act[from] + source_at(twin, view, l, from), view->out[from].w,
            twin->layer[from].n_pad, grad1, in.w, layer->n_pad, in.h, in.w);
        twin->kernels->conv_grad(&first, weight_grad + layer->in[i]);
    }
    add_bias_grad(twin, grad1, (size_t)in.h * (size_t)in.w, layer->n_pad,
                  weight_grad + layer->in_bias);
}

static void backward_separable(const struct twin *twin, const struct twin_view *view,
                               int l, float *work, float *weight_grad)
{
    const struct twin_layer *layer = &twin->layer[l];
    struct twin_window out = view->out[l], in = view->in[l];
    int first = gather_first(layer, view, l);
    int w = in.w + (layer->kernel - 1) * layer->dilation;
    size_t pixel = (size_t)layer->n_pad;
    float *padded = work + view->scratch, *grad1 = work + view->scratch2;
    float *grad2 = padded + (size_t)first * pixel;
    memset(padded, 0, (size_t)out.h * (size_t)w * pixel * sizeof(float));
    struct twin_conv last = pointwise(work + view->grad[l], out.w, layer->n_pad, grad2, w,
                                      layer->n_pad, out.h, out.w);
    last.weight = twin->weight + layer->out_back;
    twin->kernels->conv(&last);
    struct twin_conv space = gather(layer, view, l, padded, grad1,
                                    (ptrdiff_t)in.w * layer->n_pad, layer->n_pad);
    space.weight = twin->weight + layer->space_back;
    twin->kernels->depthwise(&space);
    if (weight_grad)
        separable_grads(twin, view, l, work, grad2, w * (ptrdiff_t)layer->n_pad, grad1,
                        weight_grad);
    for (int i = 0; i < layer->n_from; i++) {
        int from = layer->from[i], n = twin->layer[from].n_pad;
        struct twin_conv before =
            pointwise(grad1, in.w, layer->n_pad,
                      work + view->grad[from] + source_at(twin, view, l, from),
                      view->out[from].w, n, in.h, in.w);
        before.weight = twin->weight + layer->in_back[i];
        twin->kernels->conv(&before);
    }
}

/* Every output pixel gives its kernel's footprint of the image. */
static void backward_image(const struct twin *twin, const struct twin_view *view,
                           float *work, float *image_grad)
{
    const struct twin_layer *layer = &twin->layer[0];
    struct twin_window out = view->out[0], in = view->in[0];
    int n = twin->config.channels, width = twin->config.width, k = layer->kernel;
    int n_taps = twin_image_taps(twin);
    float *column = work + view->scratch2;
    size_t plane = (size_t)width * (size_t)twin->config.height;
    memset(image_grad, 0, plane * (size_t)n * sizeof(float));
    memset(column, 0, (size_t)out.h * (size_t)out.w * (size_t)n_taps * sizeof(float));
    struct twin_conv job = pointwise(work + view->grad[0], out.w, layer->n_pad, column,
                                     out.w, n_taps, out.h, out.w);
    job.weight = twin->weight + layer->in_back[0];
    twin->kernels->conv(&job);
    for (int y = 0; y < out.h; y++)
        for (int x = 0; x < out.w; x++, column += n_taps) {
            int top = (out.y + y) * layer->stride - layer->padding;
            int left = (out.x + x) * layer->stride - layer->padding;
            int kx0 = left < 0 ? -left : 0;
            int kx1 = left + k > in.x + in.w ? in.x + in.w - left : k;
            for (int ky = 0; ky < k; ky++) {
                if (top + ky < in.y || top + ky >= in.y + in.h)
                    continue;
                for (int c = 0; c < n; c++) {
                    float *to = image_grad + (size_t)c * plane +
                                (size_t)(top + ky) * (size_t)width;
                    for (int kx = kx0; kx < kx1; kx++)
                        to[left + kx] += column[(ky * k + kx) * n + c];
                }
            }
        }
}

void twin_backward(const struct twin *twin, const struct twin_view *view, void *work,
                   const float *image, const float *rate_grad, float *image_grad,
                   float *weight_grad)
{
    float *memory = work;
    for (int l = 0; l < twin->n_layers; l++)
        memset(memory + view->grad[l], 0, layer_size(twin, view, l) * sizeof(float));
    struct twin_readout_grad grad = {0};
    if (weight_grad && view->readout == &twin->readout) {
        int point = twin->readout.kind == TWIN_POINT;
        grad.feature = weight_grad + twin->feature_at;
        grad.bias = weight_grad + twin->unit_bias_at;
        grad.pos = point ? weight_grad + twin->pos_at : NULL;
        grad.mask = point ? NULL : weight_grad + twin->mask_at;
    }
    twin_readout_backward(twin, view, memory, rate_grad, &grad);
    for (int l = twin->n_layers - 1; l >= 0; l--) {
        const struct twin_layer *layer = &twin->layer[l];
        if (view->out[l].h == 0)
            continue;
        twin->kernels->act_back(layer->act, (float)twin->config.elu_y,
                                layer_size(twin, view, l), memory + view->act[l],
                                memory + view->grad[l]);
        if (layer->separable)
            backward_separable(twin, view, l, memory, weight_grad);
        else
            backward_dense(twin, view, l, memory, image, weight_grad);
    }
    if (image_grad)
        backward_image(twin, view, memory, image_grad);
}
