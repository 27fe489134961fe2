/*
 * metrics.h: how well predictions and responses agree.
 *
 * Flow:      while a session runs, struct metrics_running takes each trial's prediction,
 *            made before the trial was learned, and its count. Afterwards the functions
 *            on struct metrics_trials score predictions of repeated stimuli, unit by
 *            unit, and those on matrices compare whole populations.
 * Owner:     the caller. Memory: the caller's; nothing is allocated.
 * Units:     counts and rates of the same window; double.
 * Errors:    a trial that was not observed is NaN and is left out; what too few trials
 *            leave undefined is NaN, never a guess.
 */
#ifndef EVOKE_METRICS_H
#define EVOKE_METRICS_H

#include <stdint.h>

/* Added to each standard deviation by scores that are to be compared with those of
 * neuralpredictors (Sinz lab), which define it so. */
#define METRICS_EPS 1e-8

/* Pearson's correlation, pair by pair (Welford 1962, Technometrics 4:419). */
struct metrics_corr {
    int64_t n;
    double mean_a, mean_b;
    double aa, bb, ab; /* sums of products of deviations */
};

/* [rt] Start from all zeroes. A pair with a NaN in it is left out. */
void metrics_corr_add(struct metrics_corr *corr, double a, double b);

/* [rt] eps: 0 or METRICS_EPS; NaN with fewer than 2 pairs, or without variance. */
double metrics_corr_value(const struct metrics_corr *corr, double eps);

/* Prequential scores of one unit (Dawid 1984). Start from all zeroes. */
struct metrics_running {
    struct metrics_corr corr; /* a: count, b: rate */
    double n_spikes;
    double loglik;      /* nats, without the term that no model changes */
    double loglik_mean; /* of the mean of the counts before each trial, likewise */
};

/* [rt] One trial: the rate that was predicted before it and the count, NaN if it was
 * not observed. */
void metrics_running_add(struct metrics_running *running, float rate, float count);

/* [rt] Correlation, single trial; Poisson log-likelihood in nats a trial; and how much of
 * it, in bits a spike, is more than the running mean has. NaN if undefined. */
double metrics_running_corr(const struct metrics_running *running);
double metrics_running_loglik(const struct metrics_running *running);
double metrics_running_bits_per_spike(const struct metrics_running *running);

/* Responses of one unit to repeated stimuli; NaN where there is no such repeat. */
struct metrics_trials {
    int n_images, n_repeats;
    const double *response; /* (n_images, n_repeats) row-major */
};

/* [any] Mean over the repeats there are; mean: (n_images), NaN where there is none. */
void metrics_average(const struct metrics_trials *trials, double *mean);

/* Of a prediction (n_images): */

/* [any] Correlation with single trials, with METRICS_EPS. */
double metrics_corr_single(const struct metrics_trials *trials, const double *prediction);

/* [any] Correlation with the average over repeats (CC_abs with eps 0). */
double metrics_corr_average(const struct metrics_trials *trials, const double *prediction,
                            double eps);

/* [any] Fraction of the explainable variance that is explained: 1 - (mse - noise) /
 * (total - noise). Read it only where metrics_fev() is at least 0.15 (as Sensorium does;
 * Willeke et al. 2022). */
double metrics_feve(const struct metrics_trials *trials, const double *prediction);

/* [any] CC_abs / CC_max (Schoppe et al. 2016). */
double metrics_cc_norm(const struct metrics_trials *trials, const double *prediction);

/* [any] Squared correlation with the noiseless average, unbiased (Pospisil & Bair 2021,
 * PLoS Comput Biol 17:e1009212), for counts whose variance is alike for all
 * stimuli: take square roots of counts first if it is not. May lie outside 0..1. */
double metrics_r2_er(const struct metrics_trials *trials, const double *prediction);

/* Of the responses alone: */

/* [any] Fraction of explainable variance, (total - noise) / total. */
double metrics_fev(const struct metrics_trials *trials);

/* [any] Correlation of each trial with the mean of the other repeats. */
double metrics_oracle(const struct metrics_trials *trials);

/* [any] What it would be with infinitely many repeats: sqrt(signal / (signal + noise)),
 * signal the variance of averages (conservative: it still holds some noise). */
double metrics_oracle_conservative(const struct metrics_trials *trials);

/* [any] Highest CC_abs that a perfect model reaches (Schoppe et al. 2016, doi
 * 10.3389/fncom.2016.00010, with unequal numbers of repeats). NaN if there is no signal
 * power. */
double metrics_cc_max(const struct metrics_trials *trials);

/* [any] Signal to noise variance of Anscombe-transformed counts, 2 sqrt(x + 3/8). */
double metrics_snr(const struct metrics_trials *trials);

/* Of rates and counts, trial by trial: */

/* [any] Poisson log-likelihood in nats, without log(count!). */
double metrics_loglik(int n, const double *rate, const double *count);

/* [any] Of it, in bits a spike, what the mean count does not have. */
double metrics_bits_per_spike(int n, const double *rate, const double *count);

/* Of populations: */

/* [any] Slope through the origin of scores on oracles over units (Lurz et al. 2021). */
double metrics_fraction_oracle(int n_units, const double *score, const double *oracle);

/* [slow] 1 - Pearson between rows; x: (n_rows, n), rdm: (n_rows, n_rows). */
void metrics_rdm(int n_rows, int n, const double *x, double *rdm);

/* [slow] Similarity of two RDMs: correlation of their strict upper triangles, of values
 * or of ranks; rdm_a, rdm_b: (n, n); work: (2 n (n - 1)). A NaN in either is left out. */
double metrics_rsa_pearson(int n, const double *rdm_a, const double *rdm_b);
double metrics_rsa_spearman(int n, const double *rdm_a, const double *rdm_b,
                            double *work);

/* [slow] Linear CKA, biased, columns centred (Kornblith et al. 2019, ICML); x: (n_rows,
 * n_x), y: (n_rows, n_y), work: (n_rows (n_x + n_y)). */
double metrics_cka(int n_rows, int n_x, const double *x, int n_y, const double *y,
                   double *work);

#endif
