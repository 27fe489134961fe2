#include "models/prior.h"

#include <math.h>

#define PI 3.14159265358979323846

/* Variance of cosine k of n, before scaling. */
static double variance(int k, int n, double length)
{
    double l_omega = length * PI * k / n;
    return exp(-0.5 * l_omega * l_omega);
}

double prior_cosine(int k, int n, int i)
{
    return sqrt((k ? 2.0 : 1.0) / n) * cos(PI * k * (i + 0.5) / n);
}

static double variance_of_mode(const struct prior *prior, int kt, int ky, int kx)
{
    return variance(kt, prior->n_frames, prior->smooth_frames) *
           variance(ky, prior->height, prior->smooth_px) *
           variance(kx, prior->width, prior->smooth_px);
}

/* Calls visit() for every mode that is kept. */
static void each_mode(const struct prior *prior,
                      void (*visit)(const struct prior *prior, int kt, int ky, int kx,
                                    void *arg),
                      void *arg)
{
    for (int kt = 0; kt < prior->n_frames; kt++)
        for (int ky = 0; ky < prior->height; ky++)
            for (int kx = 0; kx < prior->width; kx++)
                if (variance_of_mode(prior, kt, ky, kx) >= PRIOR_LEAST)
                    visit(prior, kt, ky, kx, arg);
}

struct tally {
    int n_modes;
    double variance;
};

static void count_mode(const struct prior *prior, int kt, int ky, int kx, void *arg)
{
    struct tally *tally = arg;
    tally->n_modes++;
    tally->variance += variance_of_mode(prior, kt, ky, kx);
}

int prior_modes(const struct prior *prior)
{
    struct tally tally = {0, 0.0};
    each_mode(prior, count_mode, &tally);
    return tally.n_modes;
}

struct lister {
    double scale;
    struct prior_mode *at;
};

static void list_mode(const struct prior *prior, int kt, int ky, int kx, void *arg)
{
    struct lister *lister = arg;
    double sd = lister->scale * sqrt(variance_of_mode(prior, kt, ky, kx));
    *lister->at++ = (struct prior_mode){kt, ky, kx, sd};
}

/* Brings the total variance to prior_sd^2. */
static double total_scale(const struct prior *prior)
{
    struct tally tally = {0, 0.0};
    each_mode(prior, count_mode, &tally);
    return prior->prior_sd / sqrt(tally.variance);
}

void prior_list(const struct prior *prior, struct prior_mode *modes)
{
    struct lister lister = {total_scale(prior), modes};
    each_mode(prior, list_mode, &lister);
}

struct writer {
    double scale;
    float *at;
};

static void write_mode(const struct prior *prior, int kt, int ky, int kx, void *arg)
{
    struct writer *writer = arg;
    double sd = writer->scale * sqrt(variance_of_mode(prior, kt, ky, kx));
    for (int t = 0; t < prior->n_frames; t++)
        for (int y = 0; y < prior->height; y++) {
            double row = sd * prior_cosine(kt, prior->n_frames, t) *
                         prior_cosine(ky, prior->height, y);
            for (int x = 0; x < prior->width; x++)
                *writer->at++ = (float)(row * prior_cosine(kx, prior->width, x));
        }
}

void prior_basis(const struct prior *prior, float *a)
{
    struct writer writer = {total_scale(prior), a};
    each_mode(prior, write_mode, &writer);
}
