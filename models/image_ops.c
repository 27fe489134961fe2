#include "models/image_ops.h"

#include <math.h>
#include <string.h>

static size_t n_pixels(const struct image_shape *shape)
{
    return (size_t)shape->n_channels * (size_t)shape->height * (size_t)shape->width;
}

const char *image_op_check(const struct image_op *op)
{
    switch (op->kind) {
    case IMAGE_BLUR:
        if (!(op->sigma_y >= 0.0 && op->sigma_x >= 0.0 && op->sigma_y <= 1e4 &&
              op->sigma_x <= 1e4))
            return "a blur's sigma must be 0 to 10000 pixels";
        return op->truncate >= 0.0 && op->truncate <= 100.0 ? NULL
                                                            : "truncate must be 0 to 100";
    case IMAGE_NORM:
    case IMAGE_NORM_MAX:
    case IMAGE_STD:
    case IMAGE_STD_MEAN:
        if (!(op->amount > 0.0 && op->amount < 1e30))
            return "norm and contrast must be above 0";
        return op->kind != IMAGE_NORM_MAX || (op->p >= 1.0 && op->p <= 100.0)
                   ? NULL
                   : "p must be 1 to 100";
    case IMAGE_CLIP:
        return op->low <= op->high ? NULL : "the range to clip to is empty";
    case IMAGE_FOURIER:
    case IMAGE_SCALE:
        return isfinite(op->amount) ? NULL : "amount must be finite";
    case IMAGE_NOTHING:
    case IMAGE_MEAN_ABS:
        return NULL;
    }
    return "no such operator";
}

/* ---- blur ---- */

static int pad_index(int i, int n, enum image_pad pad)
{
    if (i >= 0 && i < n)
        return i;
    if (pad == IMAGE_ZERO)
        return -1;
    if (pad == IMAGE_REPLICATE || n == 1)
        return i < 0 ? 0 : n - 1;
    int period = 2 * (n - 1); /* the edge pixel is not repeated */
    i %= period;
    if (i < 0)
        i += period;
    return i < n ? i : period - i;
}

/* Half width and the reciprocal of the weights' sum. */
static int blur_half(double sigma, double truncate, double *scale)
{
    int half = (int)nearbyint(sigma * (truncate > 0.0 ? truncate : 4.0));
    half = half < 1 ? 1 : half;
    double sum = 0.0;
    for (int i = -half; i <= half; i++)
        sum += sigma > 0.0 ? exp(-0.5 * i * i / (sigma * sigma)) : i == 0;
    *scale = 1.0 / sum;
    return half;
}

static float blur_weight(double sigma, int i, double scale)
{
    double weight = sigma > 0.0 ? exp(-0.5 * i * i / (sigma * sigma)) : i == 0;
    return (float)(weight * scale);
}

static void grow(int *first, int *n, int by, int size)
{
    int begin = *first - by, end = *first + *n + by;
    *first = begin < 0 ? 0 : begin;
    *n = (end > size ? size : end) - *first;
}

static void add_row(int n, float weight, const float *restrict from, float *restrict to)
{
    for (int x = 0; x < n; x++)
        to[x] += weight * from[x];
}

/* One channel, rows then columns; was: where x is not zero, is: where it will be. */
static void blur_plane(const struct image_op *op, double sigma_y, double sigma_x, int h,
                       int w, struct image_support was, struct image_support is, float *x,
                       float *turned)
{
    double scale;
    int half = blur_half(sigma_y, op->truncate, &scale);
    for (int y = is.y; y < is.y + is.h; y++)
        memset(turned + (size_t)y * (size_t)w + was.x, 0, (size_t)was.w * sizeof(float));
    for (int i = -half; i <= half; i++) {
        float weight = blur_weight(sigma_y, i, scale);
        for (int y = is.y; y < is.y + is.h; y++) {
            int from = pad_index(y + i, h, op->pad);
            if (from >= was.y && from < was.y + was.h)
                add_row(was.w, weight, x + (size_t)from * (size_t)w + was.x,
                        turned + (size_t)y * (size_t)w + was.x);
        }
    }
    half = blur_half(sigma_x, op->truncate, &scale);
    for (int y = is.y; y < is.y + is.h; y++)
        memset(x + (size_t)y * (size_t)w + is.x, 0, (size_t)is.w * sizeof(float));
    for (int i = -half; i <= half; i++) {
        float weight = blur_weight(sigma_x, i, scale);
        /* columns that read inside `was` without leaving the image */
        int begin = was.x - i > is.x ? was.x - i : is.x;
        int end = was.x + was.w - i < is.x + is.w ? was.x + was.w - i : is.x + is.w;
        for (int y = is.y; y < is.y + is.h; y++) {
            float *to = x + (size_t)y * (size_t)w;
            const float *from = turned + (size_t)y * (size_t)w;
            if (end > begin)
                add_row(end - begin, weight, from + begin + i, to + begin);
            int edge = i < 0 ? is.x : w - i > is.x ? w - i : is.x;
            int edge_end = i < 0 ? (-i < is.x + is.w ? -i : is.x + is.w) : is.x + is.w;
            for (int column = edge; column < edge_end; column++) {
                int at = pad_index(column + i, w, op->pad);
                if (at >= was.x && at < was.x + was.w)
                    to[column] += weight * from[at];
            }
        }
    }
}

static void blur(const struct image_op *op, const struct image_shape *shape,
                 double change, struct image_support *support, float *x, float *work)
{
    double sigma_y = fmax(op->sigma_y + change, 0.0), scale;
    double sigma_x = fmax(op->sigma_x + change, 0.0);
    struct image_support was = *support;
    int h = shape->height, w = shape->width;
    grow(&support->y, &support->h, blur_half(sigma_y, op->truncate, &scale), h);
    grow(&support->x, &support->w, blur_half(sigma_x, op->truncate, &scale), w);
    for (int c = 0; c < shape->n_channels; c++)
        blur_plane(op, sigma_y, sigma_x, h, w, was, *support,
                   x + (size_t)c * (size_t)h * (size_t)w, work);
}

/* ---- spectrum ---- */

struct spectrum {
    double *cos_x, *sin_x; /* (width) */
    double *cos_y, *sin_y; /* (height) */
    double *re, *im;       /* (height, width / 2 + 1) */
    double *column;        /* (2, height) */
};

static size_t half_width(const struct image_shape *shape)
{
    return (size_t)shape->width / 2 + 1;
}

size_t image_work_size(const struct image_shape *shape)
{
    size_t h = (size_t)shape->height, w = (size_t)shape->width;
    size_t spectrum = 2 * w + 4 * h + 2 * h * half_width(shape);
    return spectrum * sizeof(double); /* more than one plane of floats */
}

static struct spectrum place_spectrum(const struct image_shape *shape, double *work)
{
    size_t h = (size_t)shape->height, w = (size_t)shape->width;
    struct spectrum s = {.cos_x = work};
    s.sin_x = s.cos_x + w;
    s.cos_y = s.sin_x + w;
    s.sin_y = s.cos_y + h;
    s.column = s.sin_y + h;
    s.re = s.column + 2 * h;
    s.im = s.re + h * half_width(shape);
    for (size_t i = 0; i < w; i++) {
        s.cos_x[i] = cos(2.0 * M_PI * (double)i / (double)w);
        s.sin_x[i] = sin(2.0 * M_PI * (double)i / (double)w);
    }
    for (size_t i = 0; i < h; i++) {
        s.cos_y[i] = cos(2.0 * M_PI * (double)i / (double)h);
        s.sin_y[i] = sin(2.0 * M_PI * (double)i / (double)h);
    }
    return s;
}

/* Transform of one column of the half spectrum along y, in place; sign -1: back. */
static void turn_column(struct spectrum *s, size_t h, size_t stride, size_t at,
                        double sign)
{
    for (size_t k = 0; k < h; k++) {
        double re = 0.0, im = 0.0;
        for (size_t y = 0, turn = 0; y < h; y++) {
            double c = s->cos_y[turn], n = sign * s->sin_y[turn];
            double a = s->re[y * stride + at], b = s->im[y * stride + at];
            re += a * c + b * n;
            im += b * c - a * n;
            turn = turn + k >= h ? turn + k - h : turn + k;
        }
        s->column[k] = re;
        s->column[h + k] = im;
    }
    for (size_t k = 0; k < h; k++) {
        s->re[k * stride + at] = s->column[k];
        s->im[k * stride + at] = s->column[h + k];
    }
}

static void smooth_column(struct spectrum *s, size_t h, size_t w, size_t stride,
                          size_t at, double exponent)
{
    turn_column(s, h, stride, at, 1.0);
    double fx = (double)at / (double)w;
    for (size_t k = 0; k < h; k++) {
        double fy = (double)(2 * k < h ? k : h - k) / (double)h;
        double base = fmax(1.0 - sqrt(2.0) * sqrt(fx * fx + fy * fy), 0.0);
        double gain = pow(base, exponent) / ((double)h * (double)w);
        s->re[k * stride + at] *= gain;
        s->im[k * stride + at] *= gain;
    }
    turn_column(s, h, stride, at, -1.0);
}

static void fourier_plane(const struct image_shape *shape, double exponent, float *x,
                          struct spectrum *s)
{
    size_t h = (size_t)shape->height, w = (size_t)shape->width;
    size_t n = half_width(shape);
    for (size_t y = 0; y < h; y++)
        for (size_t k = 0; k < n; k++) {
            double re = 0.0, im = 0.0;
            for (size_t i = 0, turn = 0; i < w; i++) {
                re += (double)x[y * w + i] * s->cos_x[turn];
                im -= (double)x[y * w + i] * s->sin_x[turn];
                turn = turn + k >= w ? turn + k - w : turn + k;
            }
            s->re[y * n + k] = re;
            s->im[y * n + k] = im;
        }
    for (size_t k = 0; k < n; k++)
        smooth_column(s, h, w, n, k, exponent);
    for (size_t y = 0; y < h; y++)
        for (size_t i = 0; i < w; i++) {
            double sum = 0.0;
            for (size_t k = 0, turn = 0; k < n; k++) {
                double twice = k == 0 || 2 * k == w ? 1.0 : 2.0;
                sum += twice * (s->re[y * n + k] * s->cos_x[turn] -
                                s->im[y * n + k] * s->sin_x[turn]);
                turn = (turn + i) % w;
            }
            x[y * w + i] = (float)sum;
        }
}

/* ---- scales ---- */

static double p_norm(size_t n, const float *x, double p)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += p == 2.0 ? (double)x[i] * (double)x[i] : pow(fabs((double)x[i]), p);
    return p == 2.0 ? sqrt(sum) : pow(sum, 1.0 / p);
}

static void scale(size_t n, double by, float *restrict x)
{
    float factor = (float)by;
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

static void change_std(size_t n, double wanted, int keep_mean, float *x)
{
    double mean = 0.0, sum = 0.0;
    for (size_t i = 0; i < n; i++)
        mean += (double)x[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - mean) * ((double)x[i] - mean);
    double by = wanted / (sqrt(sum / (double)(n - 1)) + 1e-9);
    if (sum == 0.0)
        return;
    scale(n, by, x);
    for (size_t i = 0; keep_mean && i < n; i++)
        x[i] += (float)(mean - mean * by);
}

static void clip(size_t n, float low, float high, float *restrict x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}

void image_op_apply(const struct image_op *op, const struct image_shape *shape,
                    int iteration, struct image_support *support, float *x, void *work)
{
    size_t n = n_pixels(shape), plane = (size_t)shape->height * (size_t)shape->width;
    double change = op->decay * (iteration - 1), amount = op->amount + change, norm;
    struct image_support whole = {0, 0, shape->height, shape->width};
    struct image_support *area = support ? support : &whole;
    struct spectrum spectrum;
    switch (op->kind) {
    case IMAGE_NOTHING:
        break;
    case IMAGE_BLUR:
        blur(op, shape, change, area, x, work);
        break;
    case IMAGE_FOURIER:
        *area = (struct image_support){0, 0, shape->height, shape->width};
        spectrum = place_spectrum(shape, work);
        for (int c = 0; c < shape->n_channels; c++)
            fourier_plane(shape, amount, x + (size_t)c * plane, &spectrum);
        break;
    case IMAGE_SCALE:
        scale(n, amount, x);
        break;
    case IMAGE_MEAN_ABS:
        norm = p_norm(n, x, 1.0);
        scale(n, norm > 0.0 ? (double)n / norm : 1.0, x);
        break;
    case IMAGE_NORM:
    case IMAGE_NORM_MAX:
        norm = p_norm(n, x, op->kind == IMAGE_NORM ? 2.0 : op->p);
        if (norm > (op->kind == IMAGE_NORM ? 0.0 : amount))
            scale(n, amount / norm, x);
        break;
    case IMAGE_STD:
    case IMAGE_STD_MEAN:
        change_std(n, amount, op->kind == IMAGE_STD_MEAN, x);
        break;
    case IMAGE_CLIP:
        clip(n, (float)op->low, (float)op->high, x);
        break;
    }
}

/* ---- penalties ---- */

double image_p_norm(size_t n, const float *x, double p, double weight, float *grad)
{
    double norm = p_norm(n, x, p);
    for (size_t i = 0; norm > 0.0 && i < n; i++)
        grad[i] += (float)(weight * copysign(pow(fabs((double)x[i]) / norm, p - 1.0),
                                             (double)x[i]));
    return norm;
}

/* |a - b| and its gradient at both. */
static double difference(const float *a, const float *b, float weight, float *grad_a,
                         float *grad_b)
{
    float sign = *a > *b ? weight : *a < *b ? -weight : 0.0f;
    *grad_a += sign;
    *grad_b -= sign;
    return fabs((double)*a - (double)*b);
}

double image_total_variation(const struct image_shape *shape, const float *x,
                             double weight, float *grad)
{
    int h = shape->height, w = shape->width;
    double sum = 0.0;
    for (int y = 0; y < h * shape->n_channels; y++)
        for (int i = 0; i < w; i++) {
            size_t at = (size_t)y * (size_t)w + (size_t)i;
            if (i > 0)
                sum += difference(x + at, x + at - 1, (float)weight, grad + at,
                                  grad + at - 1);
            if (y % h > 0)
                sum += difference(x + at, x + at - w, (float)weight, grad + at,
                                  grad + at - w);
        }
    return sum;
}

static double mean_of(size_t n, const float *x)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum / (double)n;
}

/* Sum of (a - mean a) (b - mean b). */
static double product(size_t n, const float *a, double mean_a, const float *b,
                      double mean_b)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - mean_a) * ((double)b[i] - mean_b);
    return sum;
}

/* Gradient of r = ab / sqrt(aa bb) at a. */
static void correlation_back(size_t n, const float *a, double mean_a, const float *b,
                             double mean_b, double r, double aa, double bb, double weight,
                             float *grad)
{
    double root = sqrt(aa * bb) + 1e-9;
    for (size_t i = 0; i < n; i++)
        grad[i] += (float)(weight * (((double)b[i] - mean_b) / root -
                                     r * ((double)a[i] - mean_a) / aa));
}

double image_similarity(int n_images, size_t n, const float *x, double weight,
                        float *grad)
{
    double largest = -HUGE_VAL;
    const float *best[2] = {x, x};
    for (int i = 0; i < n_images; i++)
        for (int j = i + 1; j < n_images; j++) {
            const float *a = x + (size_t)i * n, *b = x + (size_t)j * n;
            double ma = mean_of(n, a), mb = mean_of(n, b);
            double r = product(n, a, ma, b, mb) /
                       (sqrt(product(n, a, ma, a, ma) * product(n, b, mb, b, mb)) + 1e-9);
            if (r > largest) {
                largest = r;
                best[0] = a;
                best[1] = b;
            }
        }
    if (n_images < 2)
        return 0.0;
    const float *a = best[0], *b = best[1];
    double ma = mean_of(n, a), mb = mean_of(n, b);
    double aa = product(n, a, ma, a, ma), bb = product(n, b, mb, b, mb);
    if (aa > 0.0 && bb > 0.0) {
        correlation_back(n, a, ma, b, mb, largest, aa, bb, weight, grad + (a - x));
        correlation_back(n, b, mb, a, ma, largest, bb, aa, weight, grad + (b - x));
    }
    return largest;
}
