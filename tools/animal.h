/*
 * animal.h: a simulated population: what it would answer to a stimulus, and what its
 * neurons really want to see.
 *
 * Flow:      conf, seed -> filters; x -> rates -> Poisson counts.
 * Memory:    caller's, animal_size() bytes (64-byte aligned).
 * Units:     x: contrast. rate: expected count in the response window.
 * Errors:    none.
 * Invariant: a pure function of (configuration, seed); draws come only from the caller's
 *            generator.
 *
 * Filters are Gabors (Jones & Palmer 1987): places all over the stimulus, all
 * orientations and phases, wavelengths from 0.35 to 0.6 of the shorter side, round
 * envelopes of 0.4 wavelengths.
 */
#ifndef EVOKE_ANIMAL_H
#define EVOKE_ANIMAL_H

#include <stddef.h>

#include "models/random.h"
#include "stimulus/space.h"

enum animal_kind {
    ANIMAL_LN = 1, /* simple cells: exp(w.x + bias) */
    ANIMAL_ENERGY =
        2, /* complex cells: grey + gain ((w.x)^2 + (v.x)^2), v in quadrature */
};

struct animal_conf {
    enum animal_kind kind;
    int n_units;
    struct space space; /* in which stimuli are sought */
    double rate_grey;   /* to a grey screen; at least a thousandth of rate_best */
    double rate_best;   /* to the preferred stimulus, the filter put into the space */
};

struct animal;

/* [any] */
size_t animal_size(const struct animal_conf *conf);
struct animal *animal_init(void *mem, const struct animal_conf *conf, uint64_t seed);

/* [any] Expected counts of all units for x; rate: (n_units). */
void animal_rate(const struct animal *animal, const float *x, float *rate);

/* [any] Counts of one presentation; count: (n_units). */
void animal_respond(const struct animal *animal, const float *x, struct random *random,
                    float *count);

/* [any] The unit's filter w, (height, width); its projection into the space is the
 * stimulus that the unit prefers (to the unit of kind ENERGY, one of those). */
const float *animal_filter(const struct animal *animal, int unit);

#endif
