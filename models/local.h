/*
 * local.h: a receptive field is somewhere: the filter that a posterior gives under a prior
 * which knows a place (Park & Pillow 2011, PLoS Comput Biol 7:e1002219, automatic
 * locality determination; here with one width and one strength).
 *
 * Flow:      posterior under the smooth prior -> the place whose prior has the highest
 *            evidence -> posterior under that prior.
 * Memory:    caller's: local_size() bytes.
 * Units:     px; coordinates of the posterior are those of prior_basis(), then the bias.
 * Errors:    where no place explains the data better than none, the mean stays as it is.
 * Invariant: data enter through the posterior alone: its precision less the prior's is
 *            the likelihood's (test local/closed_form).
 *
 * The local prior is the smooth one times a Gaussian envelope of sd w: its covariance has
 * Hermite functions as eigenfunctions (Mehler's formula), of which a few span it.
 */
#ifndef EVOKE_LOCAL_H
#define EVOKE_LOCAL_H

#include <stddef.h>

#include "models/prior.h"

struct local_place {
    double row, col; /* centre of the envelope */
    double sd;       /* of the prior's variance over space */
    double prior_sd; /* as in struct prior */
    double evidence; /* log, less that of no place */
};

/* [any] */
size_t local_size(const struct prior *prior);

#define LOCAL_ROWS 56 /* most rows that root can have */

/* [any] Posterior under the best local prior that n_rounds of search find, its steps
 * halved from one to the next; 0: only a first guess is weighed. With d = prior_modes() +
 * 1: factor: of the posterior's covariance (see factor.h); mean, refined: (d); root:
 * (LOCAL_ROWS, d), the new covariance is root^T root. One frame, smooth_px > 0. Returns
 * the rows of root and the place; or 0, refined is mean, where no place is clearly better.
 * Cost: (2 + 8 n_rounds) 60 d^2. */
int local_refine(const struct prior *prior, const float *factor, const float *mean,
                 int n_rounds, void *mem, float *refined, float *root,
                 struct local_place *place);

#endif
