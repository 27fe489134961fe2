/*
 * axis.h: the axis model: a unit's rate depends on one direction in a space of features
 * (faces: Chang & Tsao 2017), and features can be read out of many units linearly.
 *
 * Flow:      features and responses of many stimuli -> each unit's axis and the cubic of
 *            the projection on it; linear maps between features and responses, either
 *            way.
 * Memory:    the caller's; matrices are row-major, one row a stimulus.
 * Errors:    0, or -EDOM where the stimuli do not determine the fit.
 */
#ifndef EVOKE_AXIS_H
#define EVOKE_AXIS_H

/* [any] Spike-triggered average, mean of (r - mean r) f; feature: (n_rows, n), response:
 * (n_rows, n_units), axis: (n_units, n). */
void axis_average(int n_rows, int n, int n_units, const double *feature,
                  const double *response, double *axis);

/* [rt] Projection of one stimulus on an axis of any length; feature, axis: (n). */
double axis_project(int n, const double *feature, const double *axis);

/* [any] Least-squares cubic; projection, response: (n_rows), cubic: (4), highest power
 * first. */
int axis_fit_cubic(int n_rows, const double *projection, const double *response,
                   double *cubic);
double axis_cubic(const double *cubic, double projection); /* [rt] */

/* [any] Least-squares map Y = [X, 1] W, from features to responses (encoding) or from
 * responses to features (decoding); x: (n_rows, n), y: (n_rows, m), w: (n + 1, m), work:
 * ((n_rows + n + 1) (n + 1)). */
int axis_fit_linear(int n_rows, int n, int m, const double *x, const double *y, double *w,
                    double *work);

/* [rt] One row of it; x: (n), y: (m). */
void axis_linear(int n, int m, const double *w, const double *x, double *y);

#endif
