#include "models/kalman.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "models/linalg.h"

#define LOG_2PI      1.8378770664093453
#define SETTLE_STEPS 100000
#define SETTLE_TO    1e-14 /* relative change of the covariance in a step */

/* Pieces of the work memory; n: how many of y were seen. */
struct work {
    double *state;    /* (n_state, n_state) */
    double *c;        /* (n, n_state) of what was seen */
    double *c_cov;    /* (n, n_state) C P */
    double *gain_t;   /* (n, n_state) S^-1 C P */
    double *s;        /* (n, n) covariance of y as predicted; its Cholesky factor */
    double *surprise; /* (n) y - C x */
    double *weighted; /* (n) S^-1 surprise */
};

static size_t n_work(const struct kalman_system *system)
{
    size_t q = (size_t)system->n_state, n = (size_t)system->n_observed;
    return q * q + 3 * n * q + n * n + 2 * n;
}

static struct work pieces(const struct kalman *kalman)
{
    size_t q = (size_t)kalman->system.n_state, n = (size_t)kalman->system.n_observed;
    struct work w = {.state = kalman->work};
    w.c = w.state + q * q;
    w.c_cov = w.c + n * q;
    w.gain_t = w.c_cov + n * q;
    w.s = w.gain_t + n * q;
    w.surprise = w.s + n * n;
    w.weighted = w.surprise + n;
    return w;
}

size_t kalman_size(const struct kalman_system *system)
{
    size_t q = (size_t)system->n_state;
    return sizeof(struct kalman) + (q + q * q + n_work(system)) * sizeof(double);
}

struct kalman *kalman_init(void *mem, const struct kalman_system *system,
                           const double *mean, const double *cov)
{
    struct kalman *kalman = mem;
    size_t q = (size_t)system->n_state;
    memset(mem, 0, kalman_size(system));
    kalman->system = *system;
    kalman->mean = (double *)(kalman + 1);
    kalman->cov = kalman->mean + q;
    kalman->work = kalman->cov + q * q;
    memcpy(kalman->mean, mean, q * sizeof *mean);
    memcpy(kalman->cov, cov, q * q * sizeof *cov);
    return kalman;
}

/* P = A P A^T + Q */
static void predict_cov(struct kalman *kalman)
{
    int q = kalman->system.n_state;
    double *half = kalman->work;
    linalg_multiply_bt(q, q, q, kalman->cov, kalman->system.a, half);
    linalg_multiply(q, q, q, kalman->system.a, half, kalman->cov);
    for (int i = 0; i < q * q; i++)
        kalman->cov[i] += kalman->system.q[i];
}

/* x = A x */
static void predict_mean(struct kalman *kalman)
{
    int q = kalman->system.n_state;
    linalg_multiply(q, q, 1, kalman->system.a, kalman->mean, kalman->work);
    memcpy(kalman->mean, kalman->work, (size_t)q * sizeof(double));
}

/* The rows of C that were seen and the covariance of what they see; y: NULL if all. */
static int gather(const struct kalman *kalman, const double *y, struct work *w)
{
    const struct kalman_system *system = &kalman->system;
    int q = system->n_state, n_all = system->n_observed, n = 0;
    for (int i = 0; i < n_all; i++) {
        if (y && isnan(y[i]))
            continue;
        memcpy(w->c + (size_t)n * (size_t)q, system->c + (size_t)i * (size_t)q,
               (size_t)q * sizeof(double));
        w->surprise[n++] = y ? y[i] : 0.0;
    }
    linalg_multiply(n, q, q, w->c, kalman->cov, w->c_cov);
    linalg_multiply_bt(n, q, n, w->c_cov, w->c, w->s);
    for (int i = 0, a = 0; i < n_all; i++) {
        if (y && isnan(y[i]))
            continue;
        for (int j = 0, b = 0; j < n_all; j++)
            if (!y || !isnan(y[j]))
                w->s[a * n + b++] += system->r[i * n_all + j];
        a++;
    }
    return n;
}

/* Gain, transposed, and P -= gain C P: 0, or -EDOM and nothing changed. */
static int correct_cov(struct kalman *kalman, int n, struct work *w)
{
    int q = kalman->system.n_state;
    if (linalg_cholesky(n, w->s) != 0)
        return -EDOM;
    memcpy(w->gain_t, w->c_cov, (size_t)n * (size_t)q * sizeof(double));
    linalg_solve(n, w->s, q, w->gain_t);
    linalg_multiply_at(q, n, q, w->gain_t, w->c_cov, w->state);
    for (int i = 0; i < q; i++) { /* kept symmetric: rounding errors would grow */
        for (int j = 0; j <= i; j++) {
            double less = 0.5 * (w->state[i * q + j] + w->state[j * q + i]);
            kalman->cov[i * q + j] -= less;
            kalman->cov[j * q + i] = kalman->cov[i * q + j];
        }
    }
    return 0;
}

double kalman_step(struct kalman *kalman, const double *y)
{
    struct work w = pieces(kalman);
    int q = kalman->system.n_state;
    double loglik = 0.0;

    if (kalman->n_steps++ > 0) {
        predict_cov(kalman);
        predict_mean(kalman);
    }
    int n = gather(kalman, y, &w);
    if (correct_cov(kalman, n, &w) != 0)
        return nan("");
    linalg_multiply(n, q, 1, w.c, kalman->mean, w.weighted);
    for (int i = 0; i < n; i++)
        w.surprise[i] -= w.weighted[i];
    memcpy(w.weighted, w.surprise, (size_t)n * sizeof(double));
    linalg_solve(n, w.s, 1, w.weighted);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < q; k++)
            kalman->mean[k] += w.gain_t[i * q + k] * w.surprise[i];
        loglik -= 0.5 * (w.surprise[i] * w.weighted[i] + LOG_2PI) + log(w.s[i * n + i]);
    }
    return loglik;
}

int kalman_settle(struct kalman *kalman, double *gain)
{
    struct work w = pieces(kalman);
    int q = kalman->system.n_state, n = kalman->system.n_observed;
    double before = HUGE_VAL;
    for (int step = 0; step < SETTLE_STEPS; step++) {
        double size = 0.0;
        predict_cov(kalman);
        gather(kalman, NULL, &w);
        if (correct_cov(kalman, n, &w) != 0)
            return -EDOM;
        for (int i = 0; i < q; i++)
            size += kalman->cov[i * q + i];
        if (fabs(size - before) <= SETTLE_TO * size) {
            for (int i = 0; i < n; i++)
                for (int k = 0; k < q; k++)
                    gain[k * n + i] = w.gain_t[i * q + k];
            return 0;
        }
        before = size;
    }
    return -EDOM;
}

void kalman_follow(struct kalman *kalman, const double *gain, const double *y)
{
    struct work w = pieces(kalman);
    int q = kalman->system.n_state, n = kalman->system.n_observed;
    if (kalman->n_steps++ > 0)
        predict_mean(kalman);
    linalg_multiply(n, q, 1, kalman->system.c, kalman->mean, w.weighted);
    for (int i = 0; i < n; i++)
        w.surprise[i] = y[i] - w.weighted[i];
    for (int k = 0; k < q; k++)
        for (int i = 0; i < n; i++)
            kalman->mean[k] += gain[k * n + i] * w.surprise[i];
}
