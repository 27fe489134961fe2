#include "stimulus/space.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>

#include "protocol/log.h"

#define SPACE_ROUNDS 64

/* A candidate image clip(scale * (x - centre) + shift), and what it measures. */
struct stretch {
    double centre, scale, shift;
    double mean, sd;           /* after clipping */
    double inside, inside_var; /* share of pixels off the limits; variance of x in them */
};

const char *space_check(const struct space *space)
{
    if (space->height < 1 || space->width < 1 || space->height > 1024 ||
        space->width > 1024)
        return "a stimulus has 1 to 1024 pixels a side";
    if (!(space->lo < space->mean && space->mean < space->hi))
        return "the mean must lie between the limits lo and hi";
    if (!(space->rms > 0.0f) || !isfinite(space->lo) || !isfinite(space->hi))
        return "the RMS contrast must be above 0 and the limits finite";
    double half =
        sqrt((double)(space->mean - space->lo) * (double)(space->hi - space->mean));
    if ((double)space->rms > half)
        return "no stimulus between these limits has so much RMS contrast";
    return NULL;
}

static double clip(const struct space *space, double y)
{
    return fmin(fmax(y, (double)space->lo), (double)space->hi);
}

static void measure(const struct space *space, const float *x, int n, struct stretch *s)
{
    double sum = 0, sum2 = 0, in = 0, in_sum = 0, in_sum2 = 0;
    double mean = (double)space->mean, lo = (double)space->lo, hi = (double)space->hi;
    for (int i = 0; i < n; i++) {
        double z = (double)x[i] - s->centre;
        double y = s->scale * z + s->shift;
        double off = fmin(fmax(y, lo), hi) - mean;
        double is_in = y > lo && y < hi ? 1.0 : 0.0;
        sum += off;
        sum2 += off * off;
        in += is_in;
        in_sum += is_in * z;
        in_sum2 += is_in * z * z;
    }
    s->mean = mean + sum / n;
    s->sd = sqrt(fmax(sum2 / n - (sum / n) * (sum / n), 0.0));
    s->inside = in / n;
    s->inside_var =
        in > 0 ? fmax(in_sum2 / in - (in_sum / in) * (in_sum / in), 0.0) : 0.0;
}

/* The shift that gives the wanted mean at this scale: the mean rises with the shift, in
 * straight pieces, so Newton's step lands exactly once it is on the right piece. */
static void settle_shift(const struct space *space, const float *x, int n, double z_min,
                         double z_max, struct stretch *s)
{
    double low = (double)space->lo - s->scale * z_max;
    double high = (double)space->hi - s->scale * z_min;
    double tolerance = 1e-8 * (double)(space->hi - space->lo);
    for (int round = 0; round < SPACE_ROUNDS; round++) {
        measure(space, x, n, s);
        double miss = (double)space->mean - s->mean;
        if (fabs(miss) <= tolerance)
            return;
        if (miss > 0)
            low = s->shift;
        else
            high = s->shift;
        double next = s->inside > 0 ? s->shift + miss / s->inside : low;
        s->shift = next > low && next < high ? next : 0.5 * (low + high);
    }
}

/* The scale that gives the wanted RMS, or the greatest that still changes it: the SD
 * rises with the scale, so Newton's steps, kept between a scale known to be too small and
 * one known to be too large. */
static void settle_scale(const struct space *space, const float *x, int n, double z_min,
                         double z_max, struct stretch *s)
{
    double rms = (double)space->rms, low = 0, high = INFINITY;
    for (int round = 0; round < SPACE_ROUNDS; round++) {
        settle_shift(space, x, n, z_min, z_max, s);
        /* What more scale can change: the variance of the unclipped pixels. */
        double spread = s->inside * s->inside_var * s->scale * s->scale;
        double miss = rms - s->sd;
        if (fabs(miss) <= 1e-6 * rms || (miss > 0 && spread <= 1e-9 * rms * rms))
            return;
        if (miss > 0)
            low = s->scale;
        else
            high = s->scale;
        double factor = fmin(fmax(1 + miss * s->sd / spread, 0.5), 2.0);
        double next = s->scale * factor;
        s->scale = next > low && next < high ? next : 0.5 * (low + high);
    }
}

int space_project(const struct space *space, float *x)
{
    int n = space->height * space->width;
    CHECK(n > 0);
    double sum = 0, min = (double)x[0], max = (double)x[0];
    for (int i = 0; i < n; i++) {
        sum += (double)x[i];
        min = fmin(min, (double)x[i]);
        max = fmax(max, (double)x[i]);
    }
    struct stretch s = {.centre = sum / n, .shift = (double)space->mean};
    double sum2 = 0;
    for (int i = 0; i < n; i++)
        sum2 += ((double)x[i] - s.centre) * ((double)x[i] - s.centre);
    double sd = sqrt(sum2 / n);

    /* Differences as small as float rounding are no picture. */
    if (!isfinite(sd) || sd <= 1e-6 * fmax(fabs(min), fabs(max))) {
        for (int i = 0; i < n; i++)
            x[i] = space->mean;
        return -EDOM;
    }
    s.scale = (double)space->rms / sd;
    settle_scale(space, x, n, min - s.centre, max - s.centre, &s);
    for (int i = 0; i < n; i++)
        x[i] = (float)clip(space, s.scale * ((double)x[i] - s.centre) + s.shift);
    return 0;
}

void space_encode(const float *x, int n, uint8_t *pixels)
{
    for (int i = 0; i < n; i++)
        pixels[i] = (uint8_t)lrintf(fminf(fmaxf((1.0f + x[i]) * 127.5f, 0.0f), 255.0f));
}

void space_decode(const uint8_t *pixels, int n, float *x)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)pixels[i] / 127.5f - 1.0f;
}
