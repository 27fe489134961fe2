#include "models/local.h"

#include <math.h>
#include <string.h>

#include "models/factor.h"
#include "models/ops.h"
#include "protocol/log.h"
#include "protocol/memory.h"

#define N_ORDERS     10         /* Hermite functions a direction */
#define N_RANK       LOCAL_ROWS /* their products, and the bias */
#define LEAST        1e-3 /* variance of a product relative to the first that counts */
#define EVIDENCE_MIN 1.0  /* nats by which a place must beat none */

_Static_assert(N_RANK == N_ORDERS * (N_ORDERS + 1) / 2 + 1, "products of two orders");

struct local {
    const struct prior *prior;
    const float *factor;
    int d, n_modes, n_rank;
    struct prior_mode *modes;    /* (n_modes) */
    double *cosines[2];          /* (height, height), (width, width): [k][i] */
    double *hermite;             /* (N_ORDERS, longer side) */
    double *part[2];             /* (N_ORDERS, height), (N_ORDERS, width): [order][k] */
    float *basis, *white;        /* (N_RANK, d): Z, S^-1 Z */
    float *white_mean;           /* (d): S^-1 mean */
    double chol[N_RANK][N_RANK]; /* lower */
    double weight[N_RANK];       /* of the basis, in the posterior mean */
};

static size_t lay_out(struct local *local, const struct prior *prior, void *mem)
{
    struct memory memory = {mem, 0};
    size_t n_modes = (size_t)prior_modes(prior), d = n_modes + 1;
    size_t side[2] = {(size_t)prior->height, (size_t)prior->width};
    memory_take(&memory, 1, sizeof *local);
    struct local l = {.prior = prior, .n_modes = (int)n_modes, .d = (int)d};
    l.modes = memory_take(&memory, n_modes, sizeof *l.modes);
    for (int axis = 0; axis < 2; axis++) {
        l.cosines[axis] = memory_take(&memory, side[axis] * side[axis], sizeof(double));
        l.part[axis] = memory_take(&memory, N_ORDERS * side[axis], sizeof(double));
    }
    l.hermite = memory_take(&memory, N_ORDERS * (side[0] + side[1]), sizeof(double));
    l.basis = memory_take(&memory, N_RANK * d, sizeof(float));
    l.white = memory_take(&memory, N_RANK * d, sizeof(float));
    l.white_mean = memory_take(&memory, d, sizeof(float));
    if (local)
        *local = l;
    return memory.size;
}

size_t local_size(const struct prior *prior)
{
    return lay_out(NULL, prior, NULL);
}

/* The cosine coefficients of rho^(k/2) psi_k, Hermite functions of this centre and scale;
 * power: (N_ORDERS) the sum of squares of each. */
static void make_part(struct local *local, int axis, double centre, double scale,
                      double rho, double *power)
{
    int n = axis == 0 ? local->prior->height : local->prior->width;
    double *psi = local->hermite;
    for (int i = 0; i < n; i++) {
        double t = (i - centre) / scale, before = 0.0, now = exp(-0.5 * t * t);
        for (int k = 0; k < N_ORDERS; k++) {
            psi[k * n + i] = pow(rho, 0.5 * k) * now;
            double next = sqrt(2.0 / (k + 1)) * t * now - sqrt(k / (k + 1.0)) * before;
            before = now;
            now = next;
        }
    }
    for (int k = 0; k < N_ORDERS; k++) {
        power[k] = 0.0;
        for (int i = 0; i < n; i++)
            power[k] += psi[k * n + i] * psi[k * n + i];
        for (int m = 0; m < n; m++) {
            double sum = 0.0;
            for (int i = 0; i < n; i++)
                sum += local->cosines[axis][m * n + i] * psi[k * n + i];
            local->part[axis][k * n + m] = sum;
        }
    }
}

/* Z: the local prior's filters in the coordinates where the smooth prior is white, with
 * the same total variance; the bias comes last. */
static void make_basis(struct local *local, const struct local_place *place)
{
    double length = local->prior->smooth_px, power[2][N_ORDERS], total = 0.0;
    double ratio = place->sd * place->sd / (length * length), half = 0.5 / ratio;
    double rho = 1.0 + half - sqrt(1.0 / ratio + half * half); /* rho/(1-rho)^2 = ratio */
    double scale = length * sqrt(2.0 * rho / (1.0 - rho * rho));
    make_part(local, 0, place->row, scale, rho, power[0]);
    make_part(local, 1, place->col, scale, rho, power[1]);
    int n_rank = 0, h = local->prior->height, w = local->prior->width;
    for (int j = 0; j < N_ORDERS; j++) {
        for (int k = 0; j + k < N_ORDERS && pow(rho, j + k) >= LEAST; k++) {
            float *z = local->basis + n_rank++ * local->d;
            for (int m = 0; m < local->n_modes; m++) {
                const struct prior_mode *mode = &local->modes[m];
                z[m] = (float)(local->part[0][j * h + mode->y] *
                               local->part[1][k * w + mode->x] / mode->sd);
            }
            total += power[0][j] * power[1][k];
        }
    }
    float gain = (float)(place->prior_sd / sqrt(total));
    for (int k = 0; k < n_rank; k++) {
        for (int m = 0; m < local->n_modes; m++)
            local->basis[k * local->d + m] *= gain;
        local->basis[k * local->d + local->n_modes] = 0.0F;
    }
    float *bias = local->basis + n_rank++ * local->d;
    memset(bias, 0, (size_t)local->d * sizeof *bias);
    bias[local->n_modes] = 1.0F;
    local->n_rank = n_rank;
}

/* y = S^-1 z. */
static void whiten(const struct local *local, const float *z, float *y)
{
    memcpy(y, z, (size_t)local->d * sizeof *y);
    for (int j = local->d - 1; j >= 0; j--) {
        const float *column = local->factor + (size_t)j * ((size_t)j + 1) / 2;
        y[j] /= column[j];
        ops_add(j, -y[j], column, y);
    }
}

/* Precision of the basis' weights, P = I + Z^T (C^-1 - I) Z, its Cholesky factor and the
 * posterior mean of the weights, P^-1 Z^T C^-1 mean. Returns the log evidence of the
 * place, -INFINITY where P is not positive. */
static double weigh(struct local *local, const struct local_place *place)
{
    int d = local->d;
    double evidence = 0.0, t[N_RANK];
    make_basis(local, place);
    for (int i = 0; i < local->n_rank; i++) {
        double *row = local->chol[i];
        const float *zi = local->basis + i * d, *yi = local->white + i * d;
        whiten(local, zi, local->white + i * d);
        t[i] = (double)ops_dot(d, yi, local->white_mean);
        for (int j = 0; j <= i; j++) {
            const double *other = local->chol[j];
            row[j] = (i == j) + (double)ops_dot(d, yi, local->white + j * d) -
                     (double)ops_dot(d, zi, local->basis + j * d);
            for (int k = 0; k < j; k++)
                row[j] -= row[k] * other[k];
            if (j < i)
                row[j] /= other[j];
        }
        if (!(row[i] > 1e-6))
            return -(double)INFINITY;
        row[i] = sqrt(row[i]);
        for (int k = 0; k < i; k++)
            t[i] -= row[k] * t[k];
        t[i] /= row[i];
        evidence += 0.5 * t[i] * t[i] - log(row[i]);
    }
    for (int i = local->n_rank - 1; i >= 0; i--) {
        for (int k = i + 1; k < local->n_rank; k++)
            t[i] -= local->chol[k][i] * local->weight[k];
        local->weight[i] = t[i] / local->chol[i][i];
    }
    return evidence;
}

/* The log evidence of the smooth prior itself. */
static double weigh_none(const struct local *local)
{
    double evidence = 0.5 * ops_norm2(local->d, local->white_mean);
    for (int j = 0; j < local->d; j++)
        evidence += log((double)local->factor[(size_t)j * ((size_t)j + 3) / 2]);
    return evidence;
}

/* Where the filter's strong parts are: moments of its fourth power, which passes over
 * noise. */
static struct local_place first_guess(const struct local *local, const float *mean)
{
    int h = local->prior->height, w = local->prior->width;
    double sum = 1e-300, row = 0.0, col = 0.0, square = 0.0;
    for (int i = 0; i < h * w; i++) {
        double value = 0.0, y = i / w, x = i % w;
        for (int m = 0; m < local->n_modes; m++) {
            const struct prior_mode *mode = &local->modes[m];
            value += (double)mean[m] * mode->sd * local->cosines[0][mode->y * h + i / w] *
                     local->cosines[1][mode->x * w + i % w];
        }
        double weight = value * value * value * value;
        sum += weight;
        row += weight * y;
        col += weight * x;
        square += weight * (x * x + y * y);
    }
    row /= sum;
    col /= sum;
    /* The fourth power of a Gaussian of sd s has sd s/2, its square (variance) s/sqrt 2. */
    double sd = sqrt(fmax(square / sum - row * row - col * col, 1.0));
    return (struct local_place){
        .row = row, .col = col, .sd = sd, .prior_sd = local->prior->prior_sd};
}

/* Pattern search: of the neighbours of a place, any that is better is taken. */
static void search(struct local *local, int n_rounds, struct local_place *best)
{
    double step = 1.0;
    for (int round = 0; round < n_rounds; round++, step *= 0.5) {
        for (int k = 0; k < 8; k++) {
            struct local_place place = *best;
            double sign = k % 2 ? -step : step;
            if (k / 2 == 0)
                place.prior_sd *= exp2(sign);
            else if (k / 2 == 1)
                place.sd *= exp2(sign);
            else
                *(k / 2 == 2 ? &place.row : &place.col) += sign * 0.5 * place.sd;
            place.evidence = weigh(local, &place);
            if (place.evidence > best->evidence)
                *best = place;
        }
    }
}

/* root = L^-1 Z^T and refined = Z weight, as weigh() left them. */
static void write_posterior(const struct local *local, float *refined, float *root)
{
    int d = local->d;
    memset(refined, 0, (size_t)d * sizeof *refined);
    for (int i = 0; i < local->n_rank; i++) {
        const float *z = local->basis + i * d;
        float *row = root + i * d;
        ops_add(d, (float)local->weight[i], z, refined);
        memcpy(row, z, (size_t)d * sizeof *row);
        for (int k = 0; k < i; k++)
            ops_add(d, (float)-local->chol[i][k], root + k * d, row);
        for (int m = 0; m < d; m++)
            row[m] = (float)((double)row[m] / local->chol[i][i]);
    }
}

int local_refine(const struct prior *prior, const float *factor, const float *mean,
                 int n_rounds, void *mem, float *refined, float *root,
                 struct local_place *place)
{
    struct local *local = mem;
    CHECK(prior->n_frames == 1 && prior->smooth_px > 0.0);
    lay_out(local, prior, mem);
    local->factor = factor;
    prior_list(prior, local->modes);
    for (int axis = 0; axis < 2; axis++) {
        int n = axis == 0 ? prior->height : prior->width;
        for (int i = 0; i < n * n; i++)
            local->cosines[axis][i] = prior_cosine(i / n, n, i % n);
    }
    whiten(local, mean, local->white_mean);
    *place = first_guess(local, mean);
    memmove(refined, mean, (size_t)local->d * sizeof *refined);
    place->evidence = weigh(local, place);
    if (n_rounds > 0) {
        search(local, n_rounds, place);
        weigh(local, place);
    }
    place->evidence -= weigh_none(local);
    if (!(place->evidence > EVIDENCE_MIN))
        return 0;
    write_posterior(local, refined, root);
    return local->n_rank;
}
