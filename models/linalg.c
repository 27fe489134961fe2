#include "models/linalg.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* LAPACK 3, in OpenBLAS; Debian has no header for it there. */
extern void dsyev_(const char *jobz, const char *uplo, const int *n, double *a,
                   const int *lda, double *w, double *work, const int *lwork, int *info);

static const double *row(const double *a, int n, int i)
{
    return a + (size_t)i * (size_t)n;
}

static double dot(int n, const double *a, const double *b)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void add(int n, double scale, const double *x, double *y)
{
    for (int i = 0; i < n; i++)
        y[i] += scale * x[i];
}

void linalg_multiply(int m, int k, int n, const double *a, const double *b, double *c)
{
    memset(c, 0, (size_t)m * (size_t)n * sizeof *c);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++)
            add(n, row(a, k, i)[j], row(b, n, j), c + (size_t)i * (size_t)n);
}

void linalg_multiply_bt(int m, int k, int n, const double *a, const double *b, double *c)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++)
            c[(size_t)i * (size_t)n + (size_t)j] = dot(k, row(a, k, i), row(b, k, j));
}

void linalg_multiply_at(int m, int k, int n, const double *a, const double *b, double *c)
{
    memset(c, 0, (size_t)m * (size_t)n * sizeof *c);
    for (int j = 0; j < k; j++)
        for (int i = 0; i < m; i++)
            add(n, row(a, m, j)[i], row(b, n, j), c + (size_t)i * (size_t)n);
}

int linalg_cholesky(int n, double *a)
{
    for (int i = 0; i < n; i++) {
        double *at = a + (size_t)i * (size_t)n;
        for (int j = 0; j < i; j++)
            at[j] = (at[j] - dot(j, at, row(a, n, j))) / row(a, n, j)[j];
        double rest = at[i] - dot(i, at, at);
        if (!(rest > 0.0))
            return -EDOM;
        at[i] = sqrt(rest);
    }
    return 0;
}

void linalg_solve(int n, const double *l, int m, double *b)
{
    for (int i = 0; i < n; i++) { /* L Z = B */
        double *at = b + (size_t)i * (size_t)m;
        for (int j = 0; j < i; j++)
            add(m, -row(l, n, i)[j], row(b, m, j), at);
        for (int k = 0; k < m; k++)
            at[k] /= row(l, n, i)[i];
    }
    for (int i = n - 1; i >= 0; i--) { /* L^T X = Z */
        double *at = b + (size_t)i * (size_t)m;
        for (int j = i + 1; j < n; j++)
            add(m, -row(l, n, j)[i], row(b, m, j), at);
        for (int k = 0; k < m; k++)
            at[k] /= row(l, n, i)[i];
    }
}

int linalg_least_squares(int n_rows, int n, int m, const double *x, const double *y,
                         double *w, double *work)
{
    linalg_multiply_at(n, n_rows, n, x, x, work);
    linalg_multiply_at(n, n_rows, m, x, y, w);
    if (linalg_cholesky(n, work) != 0)
        return -EDOM;
    linalg_solve(n, work, m, w);
    return 0;
}

#define EIGEN_BLOCK 34 /* LAPACK's block of 32, and two vectors */

size_t linalg_eigen_work(int n)
{
    return (size_t)n * EIGEN_BLOCK;
}

int linalg_eigen(int n, double *a, double *value, double *work)
{
    int info, n_work = n * EIGEN_BLOCK;
    dsyev_("V", "U", &n, a, &n, value, work, &n_work, &info);
    /* LAPACK's columns are our rows; its order is the other way round */
    for (int i = 0, j = n - 1; i < j; i++, j--) {
        double v = value[i];
        value[i] = value[j];
        value[j] = v;
        memcpy(work, row(a, n, i), (size_t)n * sizeof *a);
        memcpy(a + (size_t)i * (size_t)n, row(a, n, j), (size_t)n * sizeof *a);
        memcpy(a + (size_t)j * (size_t)n, work, (size_t)n * sizeof *a);
    }
    return info == 0 ? 0 : -EDOM;
}
