/*
 * linalg.h: dense linear algebra in double for the small models, plain loops but for the
 * eigenvectors, which are LAPACK's (OpenBLAS brings it along).
 *
 * Memory: caller's; matrices are row-major, rows without gaps; nothing overlaps.
 * Errors: -EDOM where a matrix does not have the property that is asked for.
 */
#ifndef EVOKE_LINALG_H
#define EVOKE_LINALG_H

#include <stddef.h>

/* [rt] C = A B; a: (m, k), b: (k, n), c: (m, n). */
void linalg_multiply(int m, int k, int n, const double *a, const double *b, double *c);

/* [rt] C = A B^T; a: (m, k), b: (n, k), c: (m, n). */
void linalg_multiply_bt(int m, int k, int n, const double *a, const double *b, double *c);

/* [rt] C = A^T B; a: (k, m), b: (k, n), c: (m, n). */
void linalg_multiply_at(int m, int k, int n, const double *a, const double *b, double *c);

/* [rt] A = L L^T: L takes the place of the lower triangle of a: (n, n), symmetric. 0, or
 * -EDOM if it is not positive definite. */
int linalg_cholesky(int n, double *a);

/* [rt] X of A X = B in the place of b: (n, m), with L of linalg_cholesky(). */
void linalg_solve(int n, const double *l, int m, double *b);

/* [rt] W that makes |X W - Y|^2 least, by normal equations; x: (n_rows, n), y: (n_rows,
 * m), w: (n, m), work: (n, n). 0, or -EDOM if columns of X depend on each other. */
int linalg_least_squares(int n_rows, int n, int m, const double *x, const double *y,
                         double *w, double *work);

/* [slow] Eigenvectors of symmetric a: (n, n), into its rows, largest value first;
 * value: (n), work: linalg_eigen_work(n). 0, or -EDOM without convergence. */
int linalg_eigen(int n, double *a, double *value, double *work);
size_t linalg_eigen_work(int n); /* [any] numbers, not bytes */

#endif
