/*
 * front.h: from a stimulus to the features that a readout weighs.
 *
 * Flow:      x -> u = A x (all that the stimulus is multiplied with) -> features phi;
 *            backwards, a gradient over phi becomes one over x.
 *            FRONT_PIXELS: A is the prior's basis, phi is u.
 *            FRONT_GABOR: A holds pairs of Gabors in quadrature and blurred luminance;
 *            phi is the prior's basis over each channel's map of (energy + FRONT_FLOOR)
 *            to the power 1/4.
 * Owner:     part of a model, never changed after front_init(); snapshots borrow it.
 * Memory:    caller's: front_size() bytes; work and phi are the caller's too.
 * Units:     x: contrast. An energy is about 1 in 1/f noise of RMS contrast 0.3: a
 *            constant, nothing is learned from the stimuli. Features are scaled by the
 *            prior: each has a weight of prior N(0, 1), the last is the bias.
 * Errors:    front_check() says in words what cannot be.
 */
#ifndef EVOKE_FRONT_H
#define EVOKE_FRONT_H

#include <stddef.h>

#include "models/model.h"

#define FRONT_SCALES       3
#define FRONT_ORIENTATIONS 4
#define FRONT_FLOOR        0.01F

/* The maps of one scale: a grid of places for each channel. */
struct front_map {
    int height, width;
    int n_channels;    /* orientations, or 1 for luminance */
    int n_modes;       /* of the prior over the map */
    const float *mode; /* (n_modes, height * width) row-major */
};

struct front {
    enum model_front kind;
    int n_px;       /* numbers in x */
    int n_linear;   /* numbers in u */
    int n_energies; /* of these, u begins with so many pairs */
    int n_work;     /* numbers in a work array, u first */
    int n_features; /* numbers in phi */
    float bias;     /* the last feature */
    const float *a; /* (n_linear, n_px) row-major */
    int n_maps;
    struct front_map maps[FRONT_SCALES + 1]; /* luminance last */
};

/* [any] NULL, or why this configuration has no front. */
const char *front_check(const struct model_conf *conf);

/* [any] Sizes alone, without filters; then the bytes that the filters need. */
void front_shape(struct front *front, const struct model_conf *conf);
size_t front_size(const struct front *front);

/* [slow] The shape, and the filters computed into mem. */
void front_init(struct front *front, const struct model_conf *conf, void *mem);

/* [any] Features of x; x: (n_px), work: (n_work) kept for front_pull(),
 * phi: (n_features). */
void front_apply(const struct front *front, const float *x, float *work, float *phi);

/* [any] Vector-Jacobian product: the gradient over x that a gradient over phi gives;
 * work is that of front_apply() and is spent; d_phi: (n_features), d_x: (n_px). */
void front_pull(const struct front *front, float *work, const float *d_phi, float *d_x);

#endif
