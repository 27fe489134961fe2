/*
 * glm.h: the LN-Poisson model, count ~ Poisson(exp(phi(x).w)), with a Gaussian posterior
 * over each unit's weights w.
 *
 * Flow:      as in model.h; MODELS.md has the equations.
 * Invariant: every update is finite for every finite count (test glm/mode).
 */
#ifndef EVOKE_GLM_H
#define EVOKE_GLM_H

/* [rt] The rank-one step for a count >= 0 whose log rate was expected to be rho with
 * variance s: a that solves a = count - exp(rho + a s), and the curvature
 * D = exp(rho + a s) there (Lewi, Butera & Paninski 2009, eq. 12 and 13). */
double glm_mode(double rho, double s, double count, double *curvature);

/* [rt] Variance s of a unit's log rate whose curvature is ratio times that of the shared
 * posterior, which says s where the prior said p: information is what adds up, so
 * 1/result = 1/p + ratio (1/s - 1/p); d_s, d_p: derivatives, or NULL. */
double glm_share(double s, double p, double ratio, double *d_s, double *d_p);

#endif
