/*
 * pca.h: principal components: the directions in which a population varies most.
 *
 * Flow:      responses of many trials -> mean, components, variances; then the scores of
 *            any response.
 * Memory:    the caller's; matrices are row-major.
 * Errors:    0, or -EDOM where the eigenvectors do not converge.
 * Invariant: a component's entry of largest magnitude is positive, so that a component
 *            has one sign.
 */
#ifndef EVOKE_PCA_H
#define EVOKE_PCA_H

#include <stddef.h>

/* [slow] x: (n_rows, n), mean: (n), component: (n_kept, n) of unit length, variance:
 * (n_kept), of scores, over n_rows - 1; work: pca_work(n). n_kept <= n, n_rows >= 2.
 * O(n_rows n^2 + n^3). */
int pca_fit(int n_rows, int n, const double *x, int n_kept, double *mean,
            double *component, double *variance, double *work);
size_t pca_work(int n); /* [any] numbers, not bytes */

/* [rt] Of one response x: (n); score: (n_kept). */
void pca_scores(int n, int n_kept, const double *mean, const double *component,
                const double *x, double *score);

#endif
