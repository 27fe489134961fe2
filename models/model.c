#include "models/model.h"

#include "models/kind.h"
#include "models/ops.h"
#include "protocol/log.h"
#include "protocol/wire.h"

#define N_PX_MAX    (1 << 20)
#define N_UNITS_MAX (1 << 20)

static const struct kind *const kinds[] = {[MODEL_GLM] = &glm_kind};

/* The kind is the first field of a model and of a snapshot. */
static const struct kind *kind_of(const void *model_or_snapshot)
{
    return *(const struct kind *const *)model_or_snapshot;
}

const char *model_check(const struct model_conf *conf)
{
    if (conf->kind != MODEL_GLM)
        return "kind: no such model; choose glm";
    if (conf->n_units < 1 || conf->n_units > N_UNITS_MAX)
        return "units: give from 1 to 1048576";
    if (conf->n_frames < 1 || conf->height < 1 || conf->width < 1 ||
        (int64_t)conf->n_frames * conf->height > N_PX_MAX / conf->width)
        return "stimulus: frames, height and width must be at least 1, and at most "
               "1048576 pixels together";
    if (conf->posterior != POSTERIOR_AUTO && conf->posterior != POSTERIOR_UNIT &&
        conf->posterior != POSTERIOR_SHARED)
        return "posterior: choose auto, unit or shared";
    return kinds[conf->kind]->check(conf);
}

size_t model_size(const struct model_conf *conf)
{
    return kinds[conf->kind]->size(conf);
}

size_t model_snapshot_size(const struct model_conf *conf)
{
    return kinds[conf->kind]->snapshot_size(conf);
}

struct model *model_init(void *mem, const struct model_conf *conf)
{
    CHECK((uintptr_t)mem % 64 == 0);
    CHECK(!model_check(conf));
    struct model *model = mem;
    ops_init();
    kinds[conf->kind]->init(model, conf);
    return model;
}

void model_predict(struct model *model, const float *x, float *rate)
{
    kind_of(model)->predict(model, x, rate);
}

void model_learn(struct model *model, const float *count)
{
    kind_of(model)->learn(model, count);
}

uint64_t model_hash(const struct model *model)
{
    const void *state;
    size_t size = model_state(model, &state);
    return ops_hash(WIRE_HASH_START, state, size);
}

size_t model_state(const struct model *model, const void **state)
{
    return kind_of(model)->state(model, state);
}

int model_restore(struct model *model, const void *state, size_t size)
{
    return kind_of(model)->restore(model, state, size);
}

void model_snapshot(const struct model *model, const uint32_t *units, int n_units,
                    void *snapshot)
{
    kind_of(model)->snapshot(model, units, n_units, snapshot);
}

uint64_t snapshot_hash(const void *snapshot)
{
    return kind_of(snapshot)->snapshot_hash(snapshot);
}

size_t snapshot_work_size(const void *snapshot)
{
    return kind_of(snapshot)->work_size(snapshot);
}

const void *snapshot_focus(const void *snapshot, int n_rounds, void *work)
{
    return kind_of(snapshot)->focus(snapshot, n_rounds, work);
}

double snapshot_rate(const void *snapshot, void *work, const float *x, float *grad)
{
    return kind_of(snapshot)->rate(snapshot, work, x, grad);
}

double snapshot_info(const void *snapshot, void *work, const float *x, float *grad)
{
    return kind_of(snapshot)->info(snapshot, work, x, grad);
}

void snapshot_field(const void *snapshot, void *work, float *rf)
{
    kind_of(snapshot)->field(snapshot, work, rf);
}
