/*
 * policy.h: what kind of stimulus comes next. Pure; the schedule of the session.
 *
 * Flow:      trial number -> policy_next() -> the job's kind and units -> job.h.
 * Memory:    none. Errors: none.
 * Invariant: a pure function of (configuration, seed, trial number).
 *
 * Two phases: first n_learn trials to learn from, then n_mei trials that show MEIs, each
 * unit in turn, with random stimuli between.
 */
#ifndef EVOKE_POLICY_H
#define EVOKE_POLICY_H

#include <stdint.h>

#include "models/model.h"

enum policy_learn {
    POLICY_RANDOM = 1,
    POLICY_INFOMAX = 2,
    POLICY_MIXED = 3 /* the two in turn */
};

struct policy_conf {
    enum policy_learn learn;
    int64_t n_start; /* random trials first: a model must know something */
    int64_t n_learn;
    int64_t n_mei;
    int n_units;
    int n_together; /* units that one info-max stimulus asks about */
};

struct policy_choice {
    unsigned kind;                        /* enum job; 0 when the session is over */
    uint32_t unit;                        /* UNIT_ALL where it is for the population */
    uint32_t units[MODEL_SNAPSHOT_UNITS]; /* whose readouts go into the snapshot */
    int n_units;
};

/* [rt] What the i-th stimulus of the session (from 0) shall be, and on which units the
 * model must be asked. */
struct policy_choice policy_next(const struct policy_conf *conf, uint64_t seed,
                                 int64_t i);

#endif
