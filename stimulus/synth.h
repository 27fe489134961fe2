/*
 * synth.h: sounds that need no file. Pure; peak amplitude 1, no ramps (mix.h makes them).
 *
 * Units: samples (n) at rate_hz; frequencies in Hz, up to half the rate.
 */
#ifndef EVOKE_SYNTH_H
#define EVOKE_SYNTH_H

#include <stdint.h>

/* [any] A sine that starts at phase 0. */
void synth_tone(float *samples, int64_t n, double rate_hz, double frequency_hz);

/* [any] A sine whose frequency goes from one to the other over n samples: by equal
 * differences, or (is_log) by equal ratios. */
void synth_sweep(float *samples, int64_t n, double rate_hz, double from_hz, double to_hz,
                 int is_log);

/* [any] White noise, uniform in -1..1, a pure function of the seed. */
void synth_noise(float *samples, int64_t n, uint64_t seed);

/* [any] A rectangular pulse of n_click samples (1..n), then silence. */
void synth_click(float *samples, int64_t n, int64_t n_click);

/* [any] RMS of samples (n). */
double synth_rms(const float *samples, int64_t n);

/* [any] The gain that plays a sound of this RMS at level_db, where a sine at full scale
 * was measured as full_scale_db (both dB SPL). */
double synth_gain(double rms, double level_db, double full_scale_db);

#endif
