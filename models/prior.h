/*
 * prior.h: the smooth Gaussian prior of a filter, as the basis in which it is white.
 *
 * Flow:      w = A^T z with z ~ N(0, I): the rows of A are the prior's own modes, each
 *            as long as its standard deviation, so features A x need no other prior.
 * Memory:    caller's. Units: correlation lengths in px and frames, 0 for none.
 * Errors:    none.
 * Invariant: trace of A^T A is prior_sd^2: that is the variance of w.x for a stimulus
 *            of independent pixels of contrast 1.
 *
 * The modes are cosines (DCT-II), their variance exp(-l^2 omega^2 / 2): a Gaussian
 * correlation of length l that is mirrored at the edges. Modes of less than
 * PRIOR_LEAST of the greatest variance are left out.
 */
#ifndef EVOKE_PRIOR_H
#define EVOKE_PRIOR_H

#define PRIOR_LEAST 1e-3

struct prior {
    int n_frames, height, width;
    double smooth_px, smooth_frames, prior_sd;
};

/* One mode: the product of these cosines, as long as its standard deviation. */
struct prior_mode {
    int t, y, x;
    double sd;
};

/* [any] Number of modes. */
int prior_modes(const struct prior *prior);

/* [any] The modes; modes: (prior_modes()). */
void prior_list(const struct prior *prior, struct prior_mode *modes);

/* [any] Cosine k of n at place i, of unit length. */
double prior_cosine(int k, int n, int i);

/* [slow] The modes; a: (prior_modes(), n_frames * height * width) row-major. */
void prior_basis(const struct prior *prior, float *a);

#endif
