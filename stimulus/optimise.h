/*
 * optimise.h: the stimulus that maximises an objective within a space: projected
 * gradient ascent with a Gaussian-smoothed gradient (Walker et al. 2019, methods).
 *
 * Flow:      start image -> optimise_step() again and again -> optimise_best().
 * Memory:    caller's, optimise_size() bytes.
 * Errors:    an objective that gives NaN counts as one that fell.
 * Invariant: anytime: after any number of steps, optimise_best() is a valid stimulus and
 *            the best one seen. Deterministic: same objective, start and number of steps
 *            give the same bits.
 *
 * Step rule: a step adds the gradient, scaled to `step` times the norm of x, and
 * projects. What rises is kept and the step doubles; what falls is dropped and the step
 * becomes a quarter, so the value never falls. Doubling is safe because the limit of a
 * long step, projecting the gradient itself, never falls where the objective is convex
 * (generalised power method: Journee et al. 2010, JMLR 11:517): exponentials of linear
 * filters, energies. There some five steps suffice; elsewhere the quartering finds the
 * length that climbs.
 */
#ifndef EVOKE_OPTIMISE_H
#define EVOKE_OPTIMISE_H

#include <stddef.h>

#include "stimulus/space.h"

/* Value of the objective at x and its gradient (height, width). */
typedef double optimise_objective(void *context, const float *x, float *grad);

struct optimise_conf {
    double step;    /* length of the first step relative to the norm of x */
    double blur_px; /* sigma of the gradient's smoothing, 0: none */
    double
        settle; /* stop when 5 steps rose by less than this share of the value; 0: no */
};

struct optimise;

/* [any] */
size_t optimise_size(const struct space *space);

/* [any] Start at x (projected first; grey if flat). */
struct optimise *optimise_init(void *mem, const struct space *space,
                               const struct optimise_conf *conf,
                               optimise_objective *objective, void *context,
                               const float *x);

/* [any] One step, one call of the objective; 1 while it goes on, 0 once it has settled
 * (and does nothing any more). */
int optimise_step(struct optimise *opt);

/* [any] Best stimulus so far (height, width), its value (NULL ok); steps done. */
const float *optimise_best(const struct optimise *opt, double *value);
int optimise_steps(const struct optimise *opt);

/* [any] Separable Gaussian blur in place, reflecting at the border (edge pixel not
 * repeated), support max(round(4 sigma), 1); work: height*width floats. */
void optimise_blur(float *image, int height, int width, double sigma_px, float *work);

#endif
