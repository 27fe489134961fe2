#include <math.h>
#include <string.h>

#include "models/twin_layout.h"
#include "protocol/log.h"

/* One of the four neighbours between which grid_sample interpolates, as the square of
 * map pixels whose mean it is. */
struct tap {
    struct twin_window cell;
    double weight; /* of the cell's mean */
    double dx, dy; /* weight's derivative by the position */
};

static uint32_t unit_at(const struct twin_view *view, int i)
{
    return view->units ? view->units[i] : (uint32_t)i;
}

/* Pixels along one side at a position of -1..1, and pixels per unit of position. */
static double to_pixels(double pos, int size, int align_corners, double *scale)
{
    *scale = align_corners ? (size - 1) / 2.0 : size / 2.0;
    return align_corners ? (pos + 1.0) * *scale : (pos + 1.0) * *scale - 0.5;
}

/* Bilinear taps at one level of pooling (grid_sample: zeros outside). Pooling means of
 * means are means of larger squares, as the squares tile. Returns how many taps. */
static int find_taps(const struct twin_readout *readout, const struct twin_layer *top,
                     int level, const double pos[2], struct tap taps[4])
{
    int side = 1, h = top->h, w = top->w, n = 0;
    for (int i = 0; i < level; i++) {
        side *= readout->pool_kernel;
        h /= readout->pool_kernel;
        w /= readout->pool_kernel;
    }
    double scale_x, scale_y;
    double px = to_pixels(pos[0], w, readout->align_corners, &scale_x);
    double py = to_pixels(pos[1], h, readout->align_corners, &scale_y);
    if (!(px > -1.0 && px < w && py > -1.0 && py < h))
        return 0;
    int x0 = (int)floor(px), y0 = (int)floor(py);
    double fx = px - x0, fy = py - y0;
    for (int i = 0; i < 4; i++) {
        int x = x0 + (i & 1), y = y0 + (i >> 1);
        if (x < 0 || x >= w || y < 0 || y >= h)
            continue;
        double wx = i & 1 ? fx : 1.0 - fx, wy = i >> 1 ? fy : 1.0 - fy;
        taps[n++] = (struct tap){{y * side, x * side, side, side},
                                 wx * wy,
                                 (i & 1 ? 1.0 : -1.0) * wy * scale_x,
                                 (i >> 1 ? 1.0 : -1.0) * wx * scale_y};
    }
    return n;
}

static void unit_position(const struct twin_view *view, uint32_t unit, double pos[2])
{
    for (int axis = 0; axis < 2; axis++)
        pos[axis] = (double)view->readout->pos[2 * (size_t)unit + (size_t)axis] +
                    (double)view->shift[axis];
}

static void grow(struct twin_window *all, struct twin_window cell)
{
    if (all->h == 0) {
        *all = cell;
        return;
    }
    int bottom = all->y + all->h, right = all->x + all->w;
    if (cell.y + cell.h > bottom)
        bottom = cell.y + cell.h;
    if (cell.x + cell.w > right)
        right = cell.x + cell.w;
    all->y = cell.y < all->y ? cell.y : all->y;
    all->x = cell.x < all->x ? cell.x : all->x;
    all->h = bottom - all->y;
    all->w = right - all->x;
}

static void grow_mask(const float *mask, const struct twin_layer *top,
                      struct twin_window *all)
{
    for (int y = 0; y < top->h; y++)
        for (int x = 0; x < top->w; x++)
            if (mask[(size_t)y * (size_t)top->w + (size_t)x] != 0.0f)
                grow(all, (struct twin_window){y, x, 1, 1});
}

struct twin_window twin_readout_window(const struct twin *twin,
                                       const struct twin_view *view)
{
    const struct twin_readout *readout = view->readout;
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    struct twin_window all = {0};
    for (int i = 0; i < view->n_units; i++) {
        uint32_t unit = unit_at(view, i);
        if (readout->kind == TWIN_FACTORISED) {
            grow_mask(readout->mask + (size_t)unit * (size_t)top->h * (size_t)top->w, top,
                      &all);
            continue;
        }
        double pos[2];
        struct tap taps[4];
        unit_position(view, unit, pos);
        for (int level = 0; level < readout->n_levels; level++) {
            int n = find_taps(readout, top, level, pos, taps);
            for (int t = 0; t < n; t++)
                grow(&all, taps[t].cell);
        }
    }
    return all;
}

/* A pixel of stacked layer s in the view's memory. */
static float *map_pixel(const struct twin *twin, const struct twin_view *view,
                        float *maps, int s, int y, int x)
{
    int l = twin->stacked[s];
    struct twin_window out = view->out[l];
    return maps + ((size_t)(y - out.y) * (size_t)out.w + (size_t)(x - out.x)) *
                      (size_t)twin->layer[l].n_pad;
}

/* A view made for other positions would read past its maps. */
static void check_inside(const struct twin *twin, const struct twin_view *view,
                         const struct tap *tap)
{
    struct twin_window out = view->out[twin->stacked[0]], cell = tap->cell;
    CHECK(cell.y >= out.y && cell.y + cell.h <= out.y + out.h && cell.x >= out.x &&
          cell.x + cell.w <= out.x + out.w);
}

/* What a neuron reads at one tap: mean over the cell of <feature, map>. */
static double tap_response(const struct twin *twin, const struct twin_view *view,
                           float *work, const struct tap *tap, const float *feature)
{
    double sum = 0.0;
    check_inside(twin, view, tap);
    for (int s = 0; s < twin->n_stacked; s++) {
        int l = twin->stacked[s], n = twin->layer[l].n_pad;
        for (int y = 0; y < tap->cell.h; y++)
            for (int x = 0; x < tap->cell.w; x++)
                sum += (double)twin->kernels->dot(
                    n, feature,
                    map_pixel(twin, view, work + view->act[l], s, tap->cell.y + y,
                              tap->cell.x + x));
        feature += n;
    }
    return sum / ((double)tap->cell.h * (double)tap->cell.w);
}

/* Add scale times the cell's mean of the map to out (stacked features). */
static void tap_features(const struct twin *twin, const struct twin_view *view,
                         float *work, const struct tap *tap, double scale, float *out)
{
    float each = (float)(scale / ((double)tap->cell.h * (double)tap->cell.w));
    check_inside(twin, view, tap);
    for (int s = 0; s < twin->n_stacked; s++) {
        int l = twin->stacked[s], n = twin->layer[l].n_pad;
        for (int y = 0; y < tap->cell.h; y++)
            for (int x = 0; x < tap->cell.w; x++)
                twin->kernels->add_scaled(n, each,
                                          map_pixel(twin, view, work + view->act[l], s,
                                                    tap->cell.y + y, tap->cell.x + x),
                                          out);
        out += n;
    }
}

/* Add scale times feature to the gradient of the maps under a tap's cell. */
static void tap_back(const struct twin *twin, const struct twin_view *view, float *work,
                     const struct tap *tap, double scale, const float *feature)
{
    float each = (float)(scale / ((double)tap->cell.h * (double)tap->cell.w));
    check_inside(twin, view, tap);
    for (int s = 0; s < twin->n_stacked; s++) {
        int l = twin->stacked[s], n = twin->layer[l].n_pad;
        for (int y = 0; y < tap->cell.h; y++)
            for (int x = 0; x < tap->cell.w; x++)
                twin->kernels->add_scaled(n, each, feature,
                                          map_pixel(twin, view, work + view->grad[l], s,
                                                    tap->cell.y + y, tap->cell.x + x));
        feature += n;
    }
}

static double point_response(const struct twin *twin, const struct twin_view *view,
                             float *work, uint32_t unit)
{
    const struct twin_readout *readout = view->readout;
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    const float *feature = readout->feature + (size_t)unit * (size_t)readout->n_features;
    double pos[2], sum = 0.0;
    struct tap taps[4];
    unit_position(view, unit, pos);
    for (int level = 0; level < readout->n_levels; level++) {
        int n = find_taps(readout, top, level, pos, taps);
        for (int t = 0; t < n; t++)
            sum += taps[t].weight * tap_response(twin, view, work, &taps[t], feature);
        feature += twin->n_stack_pad;
    }
    return sum;
}

static void point_back(const struct twin *twin, const struct twin_view *view, float *work,
                       uint32_t unit, double g, const struct twin_readout_grad *grad)
{
    const struct twin_readout *readout = view->readout;
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    size_t at = (size_t)unit * (size_t)readout->n_features;
    double pos[2];
    struct tap taps[4];
    unit_position(view, unit, pos);
    for (int level = 0; level < readout->n_levels; level++) {
        int n = find_taps(readout, top, level, pos, taps);
        for (int t = 0; t < n; t++) {
            const struct tap *tap = &taps[t];
            tap_back(twin, view, work, tap, g * tap->weight, readout->feature + at);
            if (grad->feature)
                tap_features(twin, view, work, tap, g * tap->weight, grad->feature + at);
            if (grad->pos) {
                double r = g * tap_response(twin, view, work, tap, readout->feature + at);
                grad->pos[2 * (size_t)unit] += (float)(r * tap->dx);
                grad->pos[2 * (size_t)unit + 1] += (float)(r * tap->dy);
            }
        }
        at += (size_t)twin->n_stack_pad;
    }
}

/* Sum over the window of mask times map: (n_stack_pad). */
static void masked_map(const struct twin *twin, const struct twin_view *view, float *work,
                       const float *mask, float *out)
{
    int width = twin->layer[twin->stacked[0]].w;
    memset(out, 0, (size_t)twin->n_stack_pad * sizeof(float));
    for (int s = 0; s < twin->n_stacked; s++) {
        int l = twin->stacked[s], n = twin->layer[l].n_pad;
        struct twin_window w = view->out[twin->stacked[0]];
        for (int y = w.y; y < w.y + w.h; y++) {
            struct twin_conv job = {
                .in = mask + (size_t)y * (size_t)width + (size_t)w.x,
                .in_pitch = w.w,
                .in_h = 1,
                .weight = map_pixel(twin, view, work + view->act[l], s, y, w.x),
                .out = out,
                .out_pitch = n,
                .out_h = 1,
                .out_w = 1,
                .kernel = 1,
                .dilation = 1,
                .stride = 1,
                .n_in = w.w,
                .n_out = n};
            twin->kernels->conv(&job);
        }
        out += n;
    }
}

static void masked_back(const struct twin *twin, const struct twin_view *view,
                        float *work, uint32_t unit, double g,
                        const struct twin_readout_grad *grad)
{
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    const struct twin_readout *readout = view->readout;
    const float *feature = readout->feature + (size_t)unit * (size_t)readout->n_features;
    size_t row = (size_t)unit * (size_t)top->h * (size_t)top->w;
    struct twin_window w = view->out[twin->stacked[0]];
    for (int y = w.y; y < w.y + w.h; y++)
        for (int x = w.x; x < w.x + w.w; x++) {
            size_t at = row + (size_t)y * (size_t)top->w + (size_t)x;
            struct tap pixel = {{y, x, 1, 1}, 1.0, 0.0, 0.0};
            tap_back(twin, view, work, &pixel, g * (double)readout->mask[at], feature);
            if (grad->mask)
                grad->mask[at] +=
                    (float)(g * tap_response(twin, view, work, &pixel, feature));
        }
    if (!grad->feature)
        return;
    float *sum = work + view->sum;
    masked_map(twin, view, work, readout->mask + row, sum);
    twin->kernels->add_scaled(twin->n_stack_pad, (float)g, sum,
                              grad->feature + (size_t)unit * (size_t)readout->n_features);
}

void twin_readout_forward(const struct twin *twin, const struct twin_view *view,
                          float *work, float *rate)
{
    const struct twin_readout *readout = view->readout;
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    size_t n_pixels = (size_t)top->h * (size_t)top->w;
    for (int i = 0; i < view->n_units; i++) {
        uint32_t unit = unit_at(view, i);
        double z;
        if (readout->kind == TWIN_POINT) {
            z = point_response(twin, view, work, unit);
        } else {
            float *sum = work + view->sum;
            masked_map(twin, view, work, readout->mask + (size_t)unit * n_pixels, sum);
            z = (double)twin->kernels->dot(
                twin->n_stack_pad, sum,
                readout->feature + (size_t)unit * (size_t)readout->n_features);
        }
        z += (double)readout->bias[unit] + readout->elu_offset;
        work[view->z + (size_t)i] = (float)z;
        rate[i] = (float)(z > 0.0 ? z + 1.0 : exp(z));
    }
}

void twin_readout_backward(const struct twin *twin, const struct twin_view *view,
                           float *work, const float *rate_grad,
                           const struct twin_readout_grad *grad)
{
    for (int i = 0; i < view->n_units; i++) {
        uint32_t unit = unit_at(view, i);
        double z = (double)work[view->z + (size_t)i];
        double g = (double)rate_grad[i] * (z > 0.0 ? 1.0 : exp(z));
        if (g == 0.0)
            continue;
        if (grad->bias)
            grad->bias[unit] += (float)g;
        if (view->readout->kind == TWIN_POINT)
            point_back(twin, view, work, unit, g, grad);
        else
            masked_back(twin, view, work, unit, g, grad);
    }
}

void twin_features(const struct twin *twin, const struct twin_view *view,
                   const void *work, const float pos[2], float *out)
{
    const struct twin_readout *readout = view->readout;
    const struct twin_layer *top = &twin->layer[twin->stacked[0]];
    double at[2] = {(double)pos[0] + (double)view->shift[0],
                    (double)pos[1] + (double)view->shift[1]};
    struct tap taps[4];
    CHECK(readout->kind == TWIN_POINT);
    memset(out, 0, (size_t)readout->n_features * sizeof(float));
    for (int level = 0; level < readout->n_levels; level++) {
        int n = find_taps(readout, top, level, at, taps);
        for (int t = 0; t < n; t++)
            tap_features(twin, view, (float *)(uintptr_t)work, &taps[t], taps[t].weight,
                         out);
        out += twin->n_stack_pad;
    }
}
