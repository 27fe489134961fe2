#include "models/axis.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "models/linalg.h"

void axis_average(int n_rows, int n, int n_units, const double *feature,
                  const double *response, double *axis)
{
    for (int u = 0; u < n_units; u++) {
        double *of = axis + (size_t)u * (size_t)n, mean = 0.0;
        for (int t = 0; t < n_rows; t++)
            mean += response[(size_t)t * (size_t)n_units + (size_t)u] / n_rows;
        memset(of, 0, (size_t)n * sizeof *of);
        for (int t = 0; t < n_rows; t++) {
            double r = response[(size_t)t * (size_t)n_units + (size_t)u] - mean;
            for (int k = 0; k < n; k++)
                of[k] += r * feature[(size_t)t * (size_t)n + (size_t)k] / n_rows;
        }
    }
}

double axis_project(int n, const double *feature, const double *axis)
{
    double along = 0.0, length2 = 0.0;
    for (int k = 0; k < n; k++) {
        along += axis[k] * feature[k];
        length2 += axis[k] * axis[k];
    }
    return along / sqrt(length2);
}

/* The projection is scaled to -1..1 in between, else its sixth powers cost digits. */
int axis_fit_cubic(int n_rows, const double *projection, const double *response,
                   double *cubic)
{
    double square[16] = {0}, scale = 0.0;
    memset(cubic, 0, 4 * sizeof *cubic);
    for (int t = 0; t < n_rows; t++)
        scale = fmax(scale, fabs(projection[t]));
    for (int t = 0; t < n_rows; t++) {
        double x = projection[t] / scale, power[4] = {x * x * x, x * x, x, 1.0};
        for (int i = 0; i < 4; i++) {
            cubic[i] += power[i] * response[t];
            for (int j = 0; j < 4; j++)
                square[i * 4 + j] += power[i] * power[j];
        }
    }
    int failed = linalg_cholesky(4, square);
    if (failed)
        return failed;
    linalg_solve(4, square, 1, cubic);
    for (int i = 0; i < 3; i++)
        cubic[i] /= pow(scale, 3 - i);
    return 0;
}

double axis_cubic(const double *cubic, double projection)
{
    return ((cubic[0] * projection + cubic[1]) * projection + cubic[2]) * projection +
           cubic[3];
}

int axis_fit_linear(int n_rows, int n, int m, const double *x, const double *y, double *w,
                    double *work)
{
    size_t wide = (size_t)n + 1;
    double *design = work, *square = design + (size_t)n_rows * wide;
    for (int t = 0; t < n_rows; t++) {
        memcpy(design + (size_t)t * wide, x + (size_t)t * (size_t)n,
               (size_t)n * sizeof *x);
        design[(size_t)t * wide + (size_t)n] = 1.0;
    }
    return linalg_least_squares(n_rows, n + 1, m, design, y, w, square);
}

void axis_linear(int n, int m, const double *w, const double *x, double *y)
{
    linalg_multiply(1, n, m, x, w, y);
    for (int k = 0; k < m; k++)
        y[k] += w[(size_t)n * (size_t)m + (size_t)k];
}
