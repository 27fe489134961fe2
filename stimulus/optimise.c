#include "stimulus/optimise.h"

#include <math.h>
#include <string.h>

#include "protocol/log.h"

#define OPTIMISE_LOOK_BACK  5    /* steps over which a rise is judged */
#define OPTIMISE_STEP_MIN   1e-4 /* a step that turns x by less than a grey level */
#define OPTIMISE_STEP_MAX   64.0 /* beyond it the step is the gradient's direction itself */
#define OPTIMISE_RADIUS_MAX 64   /* of the blur, pixels */

struct optimise {
    struct space space;
    struct optimise_conf conf;
    optimise_objective *objective;
    void *context;
    double step;                       /* of the next trial */
    double value;                      /* of best */
    double start;                      /* and of where it began */
    double before[OPTIMISE_LOOK_BACK]; /* value after each of the last steps */
    int n_steps;
    int settled;
    float *best, *ascent; /* (height, width) ascent: smoothed, mean 0, norm 1 */
    float *trial, *grad;  /* (height, width) of the step being tried */
    float images[];       /* the four above */
};

size_t optimise_size(const struct space *space)
{
    size_t n = (size_t)space->height * (size_t)space->width;
    return sizeof(struct optimise) + 4 * n * sizeof(float);
}

/* Index i reflected into 0..n-1, the edge not repeated. */
static int reflect(int i, int n)
{
    if (n == 1)
        return 0;
    int period = 2 * (n - 1);
    i = abs(i) % period;
    return i < n ? i : period - i;
}

static void blur_line(const float *in, float *out, int n, int stride,
                      const double *kernel, int radius)
{
    for (int i = 0; i < n; i++) {
        double sum = kernel[0] * (double)in[i * stride];
        for (int k = 1; k <= radius; k++) {
            int left = i - k >= 0 ? i - k : reflect(i - k, n);
            int right = i + k < n ? i + k : reflect(i + k, n);
            sum += kernel[k] * ((double)in[left * stride] + (double)in[right * stride]);
        }
        out[i * stride] = (float)sum;
    }
}

void optimise_blur(float *image, int height, int width, double sigma_px, float *work)
{
    double kernel[OPTIMISE_RADIUS_MAX + 1], sum = 0;
    int radius = (int)lrint(4 * sigma_px);
    radius = radius < 1 ? 1 : radius;
    CHECK(radius <= OPTIMISE_RADIUS_MAX);
    for (int k = 0; k <= radius; k++) {
        kernel[k] = exp(-k * k / (2 * sigma_px * sigma_px));
        sum += k == 0 ? kernel[k] : 2 * kernel[k];
    }
    for (int k = 0; k <= radius; k++)
        kernel[k] /= sum;
    for (int row = 0; row < height; row++)
        blur_line(image + row * width, work + row * width, width, 1, kernel, radius);
    for (int col = 0; col < width; col++)
        blur_line(work + col, image + col, height, width, kernel, radius);
}

/* The direction to climb from a gradient: smoothed, without the mean (which the space
 * fixes), of norm 1; 0 if nothing is left. */
static int make_ascent(const struct optimise *opt, const float *grad, float *ascent,
                       float *work)
{
    int n = opt->space.height * opt->space.width;
    memcpy(ascent, grad, (size_t)n * sizeof *grad);
    if (opt->conf.blur_px > 0)
        optimise_blur(ascent, opt->space.height, opt->space.width, opt->conf.blur_px,
                      work);
    double sum = 0, sum2 = 0;
    for (int i = 0; i < n; i++)
        sum += (double)ascent[i];
    for (int i = 0; i < n; i++)
        sum2 += ((double)ascent[i] - sum / n) * ((double)ascent[i] - sum / n);
    double norm = sqrt(sum2);
    if (!(norm > 0) || !isfinite(norm))
        return 0;
    for (int i = 0; i < n; i++)
        ascent[i] = (float)(((double)ascent[i] - sum / n) / norm);
    return 1;
}

struct optimise *optimise_init(void *mem, const struct space *space,
                               const struct optimise_conf *conf,
                               optimise_objective *objective, void *context,
                               const float *x)
{
    struct optimise *opt = mem;
    size_t n = (size_t)space->height * (size_t)space->width;
    *opt = (struct optimise){.space = *space,
                             .conf = *conf,
                             .objective = objective,
                             .context = context,
                             .step = conf->step};
    opt->best = opt->images;
    opt->ascent = opt->best + n;
    opt->trial = opt->ascent + n;
    opt->grad = opt->trial + n;
    memcpy(opt->best, x, n * sizeof *x);
    space_project(space, opt->best);
    opt->value = objective(context, opt->best, opt->grad);
    if (isnan(opt->value))
        opt->value = -INFINITY;
    opt->start = opt->value;
    opt->settled = !make_ascent(opt, opt->grad, opt->ascent, opt->trial);
    for (int i = 0; i < OPTIMISE_LOOK_BACK; i++)
        opt->before[i] = -INFINITY;
    return opt;
}

/* The step from best along ascent, projected, into trial. */
static void try_step(struct optimise *opt)
{
    int n = opt->space.height * opt->space.width;
    double norm2 = 0;
    for (int i = 0; i < n; i++) {
        double off = (double)opt->best[i] - (double)opt->space.mean;
        norm2 += off * off;
    }
    /* A flat start has no norm of its own: take the space's. */
    if (norm2 <= 0)
        norm2 = n * (double)opt->space.rms * (double)opt->space.rms;
    float length = (float)(opt->step * sqrt(norm2));
    for (int i = 0; i < n; i++)
        opt->trial[i] = opt->best[i] + length * opt->ascent[i];
    space_project(&opt->space, opt->trial);
}

int optimise_step(struct optimise *opt)
{
    if (opt->settled)
        return 0;
    try_step(opt);
    double value = opt->objective(opt->context, opt->trial, opt->grad);
    if (value > opt->value) {
        float *rest = opt->best;
        opt->best = opt->trial;
        opt->trial = rest;
        opt->value = value;
        opt->step = fmin(2 * opt->step, OPTIMISE_STEP_MAX);
        opt->settled = !make_ascent(opt, opt->grad, opt->ascent, opt->trial);
    } else {
        opt->step *= 0.25;
        opt->settled = opt->step < OPTIMISE_STEP_MIN;
    }
    double *before = &opt->before[opt->n_steps++ % OPTIMISE_LOOK_BACK];
    double scale = fmax(fabs(opt->value), opt->value - opt->start);
    if (opt->conf.settle > 0 && opt->value - *before < opt->conf.settle * scale)
        opt->settled = 1;
    *before = opt->value;
    return !opt->settled;
}

const float *optimise_best(const struct optimise *opt, double *value)
{
    if (value)
        *value = opt->value;
    return opt->best;
}

int optimise_steps(const struct optimise *opt)
{
    return opt->n_steps;
}
