#include "flip.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "protocol/event.h"
#include "protocol/log.h"

#define FIT_MAX      256
#define SPREAD_LIMIT 0.1   /* of a period: typical distance from the grid */
#define GAIN_PHASE   0.05  /* how much of a return's residual moves the grid */
#define GAIN_PERIOD  0.001 /* and the period */
#define GAIN_JITTER  0.05
#define CLIP         4.0    /* residuals count up to so many times the jitter */
#define JITTER_MIN   1000.0 /* ns */

void flip_clock_pace(struct flip_clock *clock, double period_ns, int64_t start_ns)
{
    CHECK(period_ns > 0.0);
    *clock = (struct flip_clock){
        .period_ns = period_ns, .refresh_ns = start_ns, .quality = QUALITY_NONE};
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, compare_double);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/* Least squares line t = offset + period * k through (k, t). */
static void fit_line(const double *k, const double *t, int n, double *offset,
                     double *period)
{
    double mean_k = 0.0, mean_t = 0.0, kk = 0.0, kt = 0.0;
    for (int i = 0; i < n; i++) {
        mean_k += k[i] / n;
        mean_t += t[i] / n;
    }
    for (int i = 0; i < n; i++) {
        kk += (k[i] - mean_k) * (k[i] - mean_k);
        kt += (k[i] - mean_k) * (t[i] - mean_t);
    }
    *period = kt / kk;
    *offset = mean_t - *period * mean_k;
}

int flip_clock_fit(struct flip_clock *clock, const int64_t *returned_ns, int n)
{
    double t[FIT_MAX], k[FIT_MAX], work[FIT_MAX], offset, period;
    if (n < 8 || n > FIT_MAX)
        return -EDOM;
    for (int i = 0; i < n; i++)
        t[i] = (double)(returned_ns[i] - returned_ns[0]);
    for (int i = 1; i < n; i++)
        work[i - 1] = t[i] - t[i - 1];
    double step = median(work, n - 1);
    if (step <= 0.0)
        return -EDOM;
    k[0] = 0.0;
    for (int i = 1; i < n; i++)
        k[i] = k[i - 1] + fmax(1.0, round((t[i] - t[i - 1]) / step));

    /* Twice: the second time without the returns that came far from the grid. */
    fit_line(k, t, n, &offset, &period);
    for (int i = 0; i < n; i++)
        work[i] = fabs(t[i] - offset - period * k[i]);
    double spread = median(work, n);
    if (!(period > 0.0) || spread > SPREAD_LIMIT * period)
        return -EDOM;
    int n_near = 0;
    double last_k = k[n - 1];
    for (int i = 0; i < n; i++) {
        double residual = fabs(t[i] - offset - period * k[i]);
        if (residual > 3.0 * spread + JITTER_MIN)
            continue;
        t[n_near] = t[i];
        k[n_near++] = k[i];
    }
    if (n_near >= n / 2)
        fit_line(k, t, n_near, &offset, &period);
    *clock = (struct flip_clock){.period_ns = period,
                                 .jitter_ns = fmax(spread, JITTER_MIN),
                                 .refresh_ns =
                                     returned_ns[0] + llround(offset + period * last_k),
                                 .quality = QUALITY_ESTIMATED};
    return 0;
}

int64_t flip_clock_next_ns(const struct flip_clock *clock)
{
    return clock->refresh_ns + llround(clock->period_ns);
}

/* Move the fitted grid towards a return that came residual away from it. */
static void follow(struct flip_clock *clock, double residual, double n_refreshes)
{
    double limit = CLIP * clock->jitter_ns;
    double clipped = fmax(-limit, fmin(limit, residual));
    clock->refresh_ns += llround(GAIN_PHASE * clipped);
    clock->period_ns += GAIN_PERIOD * clipped / n_refreshes;
    clock->jitter_ns += GAIN_JITTER * (fabs(clipped) - clock->jitter_ns);
    clock->jitter_ns = fmax(clock->jitter_ns, JITTER_MIN);
}

void flip_clock_stamp(struct flip_clock *clock, struct flip *flip)
{
    flip->requested_ns = flip_clock_next_ns(clock);
    flip->quality = clock->quality;
    double since = (double)(flip->returned_ns - clock->refresh_ns);
    double n_refreshes = fmax(1.0, round(since / clock->period_ns));
    double residual = since - n_refreshes * clock->period_ns;

    clock->refresh_ns += llround(n_refreshes * clock->period_ns);
    clock->sequence += (uint64_t)n_refreshes;
    flip->sequence = clock->sequence;
    flip->n_missed = (uint32_t)fmin(n_refreshes - 1.0, UINT32_MAX);

    if (clock->quality == QUALITY_NONE) {
        flip->onset_ns = flip->returned_ns;
        flip->uncertainty_ns = llround(clock->period_ns);
        return;
    }
    /* Two flips cannot share a refresh: one that returns so early shows that the flip
     * before it was only told late, and where the grid really is. */
    if (residual < -0.5 * clock->period_ns)
        clock->refresh_ns = flip->returned_ns;
    else
        follow(clock, residual, n_refreshes);
    flip->onset_ns = clock->refresh_ns;
    flip->uncertainty_ns = llround(fmax(
        2.0 * clock->jitter_ns, fabs((double)(flip->returned_ns - clock->refresh_ns))));
}
