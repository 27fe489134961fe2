#include "models/factor.h"

#include <math.h>
#include <string.h>

#include "models/ops.h"

static size_t column(int j)
{
    return (size_t)j * ((size_t)j + 1) / 2;
}

size_t factor_size(int d)
{
    return column(d);
}

void factor_init(float *factor, int d)
{
    memset(factor, 0, factor_size(d) * sizeof *factor);
    for (int j = 0; j < d; j++)
        factor[column(j) + (size_t)j] = 1.0F;
}

void factor_project(const float *factor, int d, const float *phi, float *f)
{
    for (int j = 0; j < d; j++)
        f[j] = ops_dot(j + 1, factor + column(j), phi);
}

void factor_project_one(const float *factor, int d, int k, float *f)
{
    memset(f, 0, (size_t)k * sizeof *f);
    for (int j = k; j < d; j++)
        f[j] = factor[column(j) + (size_t)k];
}

void factor_expand(const float *factor, int d, const float *f, float *v)
{
    memset(v, 0, (size_t)d * sizeof *v);
    for (int j = 0; j < d; j++)
        ops_add(j + 1, f[j], factor + column(j), v);
}

/* One column of Carlson's update. Element by element, so that its bits do not depend on
 * how wide the compiler makes it. */
static void observe_column(float *restrict s, float *restrict v, int n, float scale,
                           float beta, float gamma, float f)
{
    for (int i = 0; i < n; i++) {
        float t = scale * s[i];
        s[i] = beta * t - gamma * v[i];
        v[i] += f * t;
    }
}

void factor_observe(float *factor, int d, float scale, const float *f, double curvature,
                    float *v)
{
    memset(v, 0, (size_t)d * sizeof *v);
    double before = 1.0; /* 1 + D sum of f^2 over the columns done */
    for (int j = 0; j < d; j++) {
        double fj = (double)f[j], after = before + curvature * fj * fj;
        double gamma = curvature * fj / sqrt(before * after);
        observe_column(factor + column(j), v, j + 1, scale, (float)sqrt(before / after),
                       (float)gamma, f[j]);
        before = after;
    }
}
