/*
 * twin_loss.h: what a twin is trained on: Poisson loss and the regularisers of
 * neuralpredictors.
 *
 * Flow:      rates and counts -> twin_poisson() -> twin_backward(); penalties on the
 *            parameters themselves are added to the gradient of twin_fold_grad().
 * Memory:    the caller's.
 * Units:     loss in nats but for log(count!); sums in double.
 */
#ifndef EVOKE_TWIN_LOSS_H
#define EVOKE_TWIN_LOSS_H

#include "models/twin.h"

/* [rt] sum of rate - count * log(rate + 1e-8); its gradient, times scale, to rate_grad:
 * (n). A count that is NaN was not observed: no loss, no gradient. */
double twin_poisson(int n, const float *rate, const float *count, double scale,
                    float *rate_grad);

/* [any] gamma_input * |laplace * w|^2 / |w|^2 of the first layer (LaplaceL2norm, zero
 * padding 1), and gamma_hidden * group sparsity of dense hidden layers. raw_grad: (n_raw)
 * is added to, or NULL. */
double twin_penalty_core(const struct twin *twin, float *raw_grad);

/* [any] feature_reg * L1 of the features; factorised: times L1 of the masks. As above. */
double twin_penalty_readout(const struct twin *twin, float *raw_grad);

#endif
