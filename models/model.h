/*
 * model.h: the interface of every predictive model, from the GLM to the digital twin.
 *
 * Flow:      stimulus vector x -> model_predict() -> rates; then model_learn() takes the
 *            counts of that same x. In this order only: a score made so is prequential
 *            (Dawid 1984), never fitted to what it is scored on.
 * Owner:     the loop thread. Workers only ever see a snapshot.
 * Memory:    caller's: model_size() bytes; after model_init() nothing is allocated.
 * Units:     x: contrast, (light - grey) / grey, so grey is 0 and black -1.
 *            rate: expected count in the response window.
 * Errors:    model_check() says in words what a configuration lacks; the real-time
 *            functions cannot fail.
 * Invariant: the same calls in the same order give the same bits (same binary, same
 *            CPU kernel).
 */
#ifndef EVOKE_MODEL_H
#define EVOKE_MODEL_H

#include <stddef.h>
#include <stdint.h>

enum model_kind { MODEL_GLM = 1 };

/* What is computed from the stimulus before the readout. */
enum model_front {
    FRONT_PIXELS = 1, /* the stimulus itself */
    FRONT_GABOR = 2   /* energies of a Gabor pyramid (phase-invariant), see front.h */
};

/* Whose curvature a unit's posterior has. */
enum model_posterior {
    POSTERIOR_AUTO = 0,  /* per unit where memory_bytes allows, else shared */
    POSTERIOR_UNIT = 1,  /* every unit its own covariance */
    POSTERIOR_SHARED = 2 /* one covariance, of the mean curvature of all units */
};

struct model_conf {
    enum model_kind kind;
    enum model_front front;
    enum model_posterior posterior;
    int n_units;
    int n_frames, height,
        width;            /* x is (n_frames, height, width) row-major, oldest first */
    size_t memory_bytes;  /* limit for POSTERIOR_AUTO */
    double prior_sd;      /* of the filter's effect on log rate, whole stimulus */
    double smooth_px;     /* correlation length of the prior, space */
    double smooth_frames; /* and time */
    double bias_sd;       /* of log rate */
    double forgetting;    /* 1: none; 0.999: memory of about 1000 trials */
};

#define MODEL_SNAPSHOT_UNITS 8 /* most units that one snapshot holds */

struct model;

/* [any] NULL, or why this configuration cannot be. */
const char *model_check(const struct model_conf *conf);

/* [any] Bytes for model_init(), for model_snapshot(). */
size_t model_size(const struct model_conf *conf);
size_t model_snapshot_size(const struct model_conf *conf);

/* [slow] Lay a model with its prior into mem (64-byte aligned). */
struct model *model_init(void *mem, const struct model_conf *conf);

/* [rt] Rates of all units for x; rate: (n_units). */
void model_predict(struct model *model, const float *x, float *rate);

/* [rt] Learn the counts seen for the x of the last model_predict(); count: (n_units),
 * NaN where a unit was not observed. */
void model_learn(struct model *model, const float *count);

/* [rt] Identity of everything learned (wire_hash). */
uint64_t model_hash(const struct model *model);

/* [slow] Everything learned, to be stored and put back into a model of the same
 * configuration. restore: 0, or -EINVAL if it is not of this configuration. */
size_t model_state(const struct model *model, const void **state);
int model_restore(struct model *model, const void *state, size_t size);

/* [rt] What a worker needs to reason about some units (at most MODEL_SNAPSHOT_UNITS). */
void model_snapshot(const struct model *model, const uint32_t *units, int n_units,
                    void *snapshot);

/* [any] Identity of a snapshot. */
uint64_t snapshot_hash(const void *snapshot);

/* [any] Bytes of scratch memory for those below. */
size_t snapshot_work_size(const void *snapshot);

/* [any] The snapshot with each filter refined by what is known of receptive fields in
 * general, that they have a place (see local.h), where the model has such filters; else
 * the snapshot itself. n_rounds: of search for the place, 0: a first guess. The result
 * lies in work, refers to the snapshot, is valid until the next call with that work, and
 * is only for the three below, with the same work. */
const void *snapshot_focus(const void *snapshot, int n_rounds, void *work);

/* [any] Mean over the snapshot's units of the expected rate for x, and its gradient;
 * grad: (n_frames, height, width) or NULL. */
double snapshot_rate(const void *snapshot, void *work, const float *x, float *grad);

/* [any] Expected information (nats) that the response to x would give about the weights
 * of the snapshot's units, summed (Lewi, Butera & Paninski 2009, eq. for the Poisson
 * case), and its gradient. */
double snapshot_info(const void *snapshot, void *work, const float *x, float *grad);

/* [any] The linear receptive field of the snapshot's first unit as the model sees it:
 * gradient of log rate at grey; rf: (n_frames, height, width). */
void snapshot_field(const void *snapshot, void *work, float *rf);

#endif
