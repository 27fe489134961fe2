#include "models/pca.h"

#include <math.h>
#include <string.h>

#include "models/linalg.h"
#include "protocol/log.h"

size_t pca_work(int n)
{
    return (size_t)n * (size_t)n + 2 * (size_t)n + linalg_eigen_work(n);
}

static void covariance(int n_rows, int n, const double *x, const double *mean,
                       double *row, double *cov)
{
    memset(cov, 0, (size_t)n * (size_t)n * sizeof *cov);
    for (int t = 0; t < n_rows; t++) {
        for (int i = 0; i < n; i++)
            row[i] = x[(size_t)t * (size_t)n + (size_t)i] - mean[i];
        for (int i = 0; i < n; i++)
            for (int j = 0; j <= i; j++)
                cov[(size_t)i * (size_t)n + (size_t)j] += row[i] * row[j] / (n_rows - 1);
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            cov[(size_t)j * (size_t)n + (size_t)i] =
                cov[(size_t)i * (size_t)n + (size_t)j];
}

/* +1 or -1, with which the largest entry is positive. */
static double sign_of(int n, const double *component)
{
    double largest = 0.0;
    for (int i = 0; i < n; i++)
        if (fabs(component[i]) > fabs(largest))
            largest = component[i];
    return largest < 0.0 ? -1.0 : 1.0;
}

int pca_fit(int n_rows, int n, const double *x, int n_kept, double *mean,
            double *component, double *variance, double *work)
{
    CHECK(n_rows >= 2 && n_kept <= n);
    double *cov = work, *value = cov + (size_t)n * (size_t)n, *row = value + n;
    memset(mean, 0, (size_t)n * sizeof *mean);
    for (int t = 0; t < n_rows; t++)
        for (int i = 0; i < n; i++)
            mean[i] += x[(size_t)t * (size_t)n + (size_t)i] / n_rows;
    covariance(n_rows, n, x, mean, row, cov);
    int failed = linalg_eigen(n, cov, value, row + n);
    for (int k = 0; k < n_kept; k++) {
        const double *from = cov + (size_t)k * (size_t)n;
        double sign = sign_of(n, from);
        variance[k] = value[k];
        for (int i = 0; i < n; i++)
            component[(size_t)k * (size_t)n + (size_t)i] = sign * from[i];
    }
    return failed;
}

void pca_scores(int n, int n_kept, const double *mean, const double *component,
                const double *x, double *score)
{
    for (int k = 0; k < n_kept; k++) {
        score[k] = 0.0;
        for (int i = 0; i < n; i++)
            score[k] += component[(size_t)k * (size_t)n + (size_t)i] * (x[i] - mean[i]);
    }
}
