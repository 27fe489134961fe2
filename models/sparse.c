#include "models/sparse.h"

#include <math.h>
#include <string.h>

#include "models/linalg.h"

size_t sparse_work(const struct sparse *sparse)
{
    size_t p = (size_t)sparse->n_pixels, n = (size_t)sparse->n_atoms;
    size_t steps = p + 2 * n, eigen = p * p + p + linalg_eigen_work(sparse->n_pixels);
    return steps > eigen ? steps : eigen;
}

/* Phi Phi^T has the same largest eigenvalue, and there are fewer pixels than atoms. */
double sparse_curvature(const struct sparse *sparse, double *work)
{
    int p = sparse->n_pixels;
    double *square = work, *value = square + (size_t)p * (size_t)p;
    linalg_multiply_bt(p, sparse->n_atoms, p, sparse->phi, sparse->phi, square);
    return linalg_eigen(p, square, value, value + p) == 0 ? value[0] : nan("");
}

static double soft(double x, double threshold)
{
    return x > threshold ? x - threshold : x < -threshold ? x + threshold : 0.0;
}

/* What is left of the image: y - Phi a; rest: (n_pixels). */
static void remainder_of(const struct sparse *sparse, const double *y, const double *a,
                         double *rest)
{
    linalg_multiply(sparse->n_pixels, sparse->n_atoms, 1, sparse->phi, a, rest);
    for (int i = 0; i < sparse->n_pixels; i++)
        rest[i] = y[i] - rest[i];
}

/* Phi^T (y - Phi a); pull: (n_atoms), rest: (n_pixels). */
static void pull_of(const struct sparse *sparse, const double *y, const double *a,
                    double *pull, double *rest)
{
    remainder_of(sparse, y, a, rest);
    linalg_multiply_at(sparse->n_atoms, sparse->n_pixels, 1, sparse->phi, rest, pull);
}

void sparse_ista(const struct sparse *sparse, const double *y, double penalty,
                 double curvature, int n_steps, double *a, double *work)
{
    int n = sparse->n_atoms;
    double *pull = work, *rest = pull + n;
    memset(a, 0, (size_t)n * sizeof *a);
    for (int step = 0; step < n_steps; step++) {
        pull_of(sparse, y, a, pull, rest);
        for (int i = 0; i < n; i++)
            a[i] = soft(a[i] + pull[i] / curvature, penalty / curvature);
    }
}

void sparse_fista(const struct sparse *sparse, const double *y, double penalty,
                  double curvature, int n_steps, double *a, double *work)
{
    int n = sparse->n_atoms;
    double *pull = work, *ahead = pull + n, *rest = ahead + n, t = 1.0;
    memset(a, 0, (size_t)n * sizeof *a);
    memset(ahead, 0, (size_t)n * sizeof *ahead);
    for (int step = 0; step < n_steps; step++) {
        double t_next = 0.5 * (1.0 + sqrt(1.0 + 4.0 * t * t));
        pull_of(sparse, y, ahead, pull, rest);
        for (int i = 0; i < n; i++) {
            double next = soft(ahead[i] + pull[i] / curvature, penalty / curvature);
            ahead[i] = next + (t - 1.0) / t_next * (next - a[i]);
            a[i] = next;
        }
        t = t_next;
    }
}

void sparse_lca(const struct sparse *sparse, const double *y, double penalty, double rate,
                int n_steps, double *a, double *work)
{
    int n = sparse->n_atoms;
    double *pull = work, *potential = pull + n, *rest = potential + n;
    memset(a, 0, (size_t)n * sizeof *a);
    memset(potential, 0, (size_t)n * sizeof *potential);
    for (int step = 0; step < n_steps; step++) {
        pull_of(sparse, y, a, pull, rest);
        for (int i = 0; i < n; i++) { /* an atom does not compete with itself */
            potential[i] += rate * (pull[i] + a[i] - potential[i]);
            a[i] = soft(potential[i], penalty);
        }
    }
}

static double norm2(int n, const double *x)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

double sparse_objective(const struct sparse *sparse, const double *y, double penalty,
                        const double *a, double *work)
{
    double cost = 0.0;
    remainder_of(sparse, y, a, work);
    for (int i = 0; i < sparse->n_atoms; i++)
        cost += fabs(a[i]);
    return 0.5 * norm2(sparse->n_pixels, work) + penalty * cost;
}

double sparse_energy(const struct sparse *sparse, const double *y, double lambda,
                     double sigma, const double *a, double *grad, double *work)
{
    int n = sparse->n_atoms;
    double *pull = work, *rest = pull + n, cost = 0.0;
    pull_of(sparse, y, a, pull, rest);
    for (int i = 0; i < n; i++) {
        double s = a[i] / sigma;
        cost += log1p(s * s);
        if (grad)
            grad[i] = -2.0 * pull[i] + lambda / sigma * 2.0 * s / (1.0 + s * s);
    }
    return norm2(sparse->n_pixels, rest) + lambda * cost;
}

void sparse_direction(const struct sparse *sparse, int n_images, const double *y,
                      const double *a, double *dphi, double *work)
{
    size_t p = (size_t)sparse->n_pixels, n = (size_t)sparse->n_atoms;
    memset(dphi, 0, p * n * sizeof *dphi);
    for (int image = 0; image < n_images; image++) {
        const double *of = a + (size_t)image * n;
        remainder_of(sparse, y + (size_t)image * p, of, work);
        for (size_t i = 0; i < p; i++)
            for (size_t k = 0; k < n; k++)
                dphi[i * n + k] += work[i] * of[k] / n_images;
    }
}

void sparse_learn(struct sparse *sparse, const double *dphi, double rate)
{
    size_t p = (size_t)sparse->n_pixels, n = (size_t)sparse->n_atoms;
    for (size_t k = 0; k < n; k++) {
        double length2 = 0.0;
        for (size_t i = 0; i < p; i++) {
            sparse->phi[i * n + k] += rate * dphi[i * n + k];
            length2 += sparse->phi[i * n + k] * sparse->phi[i * n + k];
        }
        for (size_t i = 0; i < p && length2 > 0.0; i++)
            sparse->phi[i * n + k] /= sqrt(length2);
    }
}
