/*
 * kalman.h: a latent linear state behind noisy observations, followed in time.
 *
 *     x_0 ~ N(mean, cov), x_t = A x_{t-1} + N(0, Q), y_t = C x_t + N(0, R)
 *
 * Flow:      one observation (say a row of counts) in, the state's mean and covariance
 *            given all observations so far out (Kalman 1960).
 * Owner:     the caller. Memory: the caller's; A, C, Q, R are borrowed.
 * Errors:    an observation that is NaN was not made; the others count.
 * Invariant: the first observation is of the state at its start, x_0.
 */
#ifndef EVOKE_KALMAN_H
#define EVOKE_KALMAN_H

#include <stddef.h>

struct kalman_system {
    int n_state, n_observed;
    const double *a; /* (n_state, n_state) row-major, as all below */
    const double *c; /* (n_observed, n_state) */
    const double *q; /* (n_state, n_state) */
    const double *r; /* (n_observed, n_observed) */
};

struct kalman {
    struct kalman_system system;
    int n_steps;  /* observations so far */
    double *mean; /* (n_state) */
    double *cov;  /* (n_state, n_state) */
    double *work;
};

/* [any] */
size_t kalman_size(const struct kalman_system *system);

/* [any] The state at its start has this mean: (n_state), and cov: (n_state, n_state). */
struct kalman *kalman_init(void *mem, const struct kalman_system *system,
                           const double *mean, const double *cov);

/* [rt] Predict (but for the first), then correct by y: (n_observed). Log-likelihood of y
 * given those before, in nats; NaN if its predicted covariance is not positive definite
 * (then nothing was learned from it). O(n_observed^3). */
double kalman_step(struct kalman *kalman, const double *y);

/* [slow] Bring cov to where it stays once all is observed for long, by iterating the
 * Riccati equation; gain: (n_state, n_observed), of which the correction is then made.
 * 0, or -EDOM if it settles nowhere. */
int kalman_settle(struct kalman *kalman, double *gain);

/* [rt] Predict, then correct by y with that gain: all n_observed are there.
 * O(n_state n_observed). */
void kalman_follow(struct kalman *kalman, const double *gain, const double *y);

#endif
