/*
 * factor.h: a covariance kept as its triangular square root, C = S S^T.
 *
 * Flow:      f = S^T phi gives the variance s = |f|^2 of a projection phi.w; an
 *            observation of that projection with curvature D shrinks C by rank one,
 *            C -= D/(1+Ds) v v^T with v = C phi.
 * Memory:    caller's: upper triangle packed by columns, column j has rows 0..j and
 *            begins at j(j+1)/2; d(d+1)/2 floats.
 * Errors:    none.
 * Invariant: C is positive definite after any number of updates: the diagonal of S is
 *            only ever multiplied by positive numbers (test factor/long_run).
 */
#ifndef EVOKE_FACTOR_H
#define EVOKE_FACTOR_H

#include <stddef.h>

/* [any] Numbers in the factor of a (d, d) covariance. */
size_t factor_size(int d);

/* [any] C = identity. */
void factor_init(float *factor, int d);

/* [rt] f = S^T phi; phi, f: (d). */
void factor_project(const float *factor, int d, const float *phi, float *f);

/* [rt] f = S^T e_k, the projection of coordinate k alone; f: (d). */
void factor_project_one(const float *factor, int d, int k, float *f);

/* [rt] v = S f; f, v: (d). */
void factor_expand(const float *factor, int d, const float *f, float *v);

/* [rt] Scale S, then observe: C becomes scale^2 C - D/(1+Ds) v v^T, by Carlson's update
 * (Bierman 1977, ch. V.3); f: (d) is the projection after scaling, curvature D >= 0;
 * v: (d) becomes scale^2 C phi. */
void factor_observe(float *factor, int d, float scale, const float *f, double curvature,
                    float *v);

#endif
