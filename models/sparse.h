/*
 * sparse.h: sparse coding: an image as a sum of few atoms of a dictionary.
 *
 * Flow:      dictionary and image -> coefficients (three ways to the same minimum of
 *            |y - Phi a|^2 / 2 + penalty |a|_1); images and coefficients -> a better
 *            dictionary.
 * Owner:     the caller. Memory: the caller's; work: sparse_work() numbers.
 * Errors:    none.
 */
#ifndef EVOKE_SPARSE_H
#define EVOKE_SPARSE_H

#include <stddef.h>

struct sparse {
    int n_pixels, n_atoms;
    double *phi; /* (n_pixels, n_atoms) row-major; atoms of unit length */
};

/* [any] Numbers, not bytes, of work memory for any function here. */
size_t sparse_work(const struct sparse *sparse);

/* [slow] Largest eigenvalue of Phi^T Phi; NaN if LAPACK fails to find it. */
double sparse_curvature(const struct sparse *sparse, double *work);

/* In all of these: y: (n_pixels), a: (n_atoms), written from zero on. */

/* [rt] Iterative soft thresholding, steps of 1 / curvature (Daubechies, Defrise & De Mol
 * 2004). */
void sparse_ista(const struct sparse *sparse, const double *y, double penalty,
                 double curvature, int n_steps, double *a, double *work);

/* [rt] The same with momentum (Beck & Teboulle 2009, FISTA). */
void sparse_fista(const struct sparse *sparse, const double *y, double penalty,
                  double curvature, int n_steps, double *a, double *work);

/* [rt] Locally competitive algorithm, steps of dt / tau = rate (Rozell et al. 2008). */
void sparse_lca(const struct sparse *sparse, const double *y, double penalty, double rate,
                int n_steps, double *a, double *work);

/* [rt] |y - Phi a|^2 / 2 + penalty |a|_1. */
double sparse_objective(const struct sparse *sparse, const double *y, double penalty,
                        const double *a, double *work);

/* [rt] |y - Phi a|^2 + lambda sum log(1 + (a / sigma)^2) (Olshausen & Field 1996) and
 * its gradient; grad: (n_atoms) or NULL. */
double sparse_energy(const struct sparse *sparse, const double *y, double lambda,
                     double sigma, const double *a, double *grad, double *work);

/* [any] Direction in which the dictionary fits better: mean over images of
 * (y - Phi a) a^T; y: (n_images, n_pixels), a: (n_images, n_atoms), dphi: (n_pixels,
 * n_atoms). */
void sparse_direction(const struct sparse *sparse, int n_images, const double *y,
                      const double *a, double *dphi, double *work);

/* [any] A step in that direction; then atoms have unit length again. */
void sparse_learn(struct sparse *sparse, const double *dphi, double rate);

#endif
