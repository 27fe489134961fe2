/*
 * v4.h: the recording of macaque V4 (50 units, 640 images): its single trials in random
 * order, the Gabor energies of its images, and ridge regression on these, fitted offline.
 *
 * Owner:  the test; one at a time. Memory: its own, static.
 * Units:  images: contrast; responses: spikes in 100 ms.
 * Errors: where the recording is missing, v4_open() says SKIPPED and ends the program.
 */
#ifndef EVOKE_V4_H
#define EVOKE_V4_H

#include <stdint.h>

#include "models/model.h"

enum {
    V4_N_IMAGES = 640,
    V4_N_REPEATS = 10,
    V4_N_UNITS = 50,
    V4_SIDE = 28, /* area average of 4 x 4 */
    V4_N_PX = V4_SIDE * V4_SIDE,
    V4_N_TRIALS_MAX = V4_N_IMAGES * V4_N_REPEATS
};

/* One row is one observation: a single trial, or an image with its average. */
struct v4_table {
    int n;
    int image[V4_N_TRIALS_MAX];
    float response[V4_N_TRIALS_MAX][V4_N_UNITS]; /* NaN: not observed */
};

extern const struct model_conf v4_conf; /* whose front end gives the features */

/* Read everything; seed: of the order of the trials. */
void v4_open(uint64_t seed);
void v4_close(void);

const struct v4_table *v4_trials(void);
const float *v4_image(int k); /* (V4_SIDE, V4_SIDE) */
int v4_n_features(void);

/* Correlation of a unit's predictions with its responses, trials [begin, end). */
double v4_score(const double *prediction, int unit, int begin, int end);

/* Over the units. */
double v4_median(const double *values);

/* Ridge fitted on the first half of the trials, its strength chosen there unit by unit:
 * median r over the second half. */
double v4_offline_ridge(void);

/* Repeat averages, 5 folds: median r of the best ridge; prints that of each. */
double v4_cross_validated(void);

#endif
