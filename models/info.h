/*
 * info.h: what the response to a stimulus is expected to tell about Poisson weights.
 */
#ifndef EVOKE_INFO_H
#define EVOKE_INFO_H

/* [any] Nats of information that a Poisson count of log rate rho = phi.w gives about w,
 * expected over rho ~ N(mean, s): E 1/2 log(1 + exp(rho) s) (Lewi, Butera & Paninski
 * 2009, eq. 16 and 23); d_mean, d_s: its derivatives. s >= 0; grows like rho, not like
 * exp(rho), where the response is sure to be strong. */
double info_expected(double mean, double s, double *d_mean, double *d_s);

#endif
