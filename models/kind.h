/*
 * kind.h: what a kind of model provides behind model.h.
 *
 * Flow:   model.c finds the kind of a model, or of a snapshot, in its first field and
 *         calls through. Meanings as in model.h.
 * Invariant: struct kind is the first field of every model and every snapshot.
 */
#ifndef EVOKE_KIND_H
#define EVOKE_KIND_H

#include "models/model.h"

struct kind {
    const char *(*check)(const struct model_conf *conf);
    size_t (*size)(const struct model_conf *conf);
    size_t (*snapshot_size)(const struct model_conf *conf);
    void (*init)(struct model *model, const struct model_conf *conf);
    void (*predict)(struct model *model, const float *x, float *rate);
    void (*learn)(struct model *model, const float *count);
    size_t (*state)(const struct model *model, const void **state);
    int (*restore)(struct model *model, const void *state, size_t size);
    void (*snapshot)(const struct model *model, const uint32_t *units, int n_units,
                     void *snapshot);
    uint64_t (*snapshot_hash)(const void *snapshot);
    size_t (*work_size)(const void *snapshot);
    const void *(*focus)(const void *snapshot, int n_rounds, void *work);
    double (*rate)(const void *snapshot, void *work, const float *x, float *grad);
    double (*info)(const void *snapshot, void *work, const float *x, float *grad);
    void (*field)(const void *snapshot, void *work, float *rf);
};

extern const struct kind glm_kind;

#endif
