#include "models/glm.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "models/factor.h"
#include "models/front.h"
#include "models/info.h"
#include "models/kind.h"
#include "models/local.h"
#include "models/ops.h"
#include "protocol/log.h"
#include "protocol/memory.h"
#include "protocol/wire.h"

#define LOG_RATE_MAX 80.0 /* exp() of it is still a float */

/* What was learned, in one piece: this, then the arrays. */
struct state_head {
    uint64_t of_conf; /* identity of the configuration */
    uint64_t n_trials;
};

struct glm {
    const struct kind *kind;
    struct front front;
    int n_units, d, n_factors; /* one factor a unit, or one for all */
    double forgetting;
    struct prior prior; /* of the filters, where they have a place; else height 0 */
    int n_back;         /* coordinates a trial that get their prior back */
    double back;        /* and its curvature */
    size_t state_size;
    struct state_head *state;
    double *curvature; /* (n_units + 1), sums over trials; last: mean of the units */
    float *mean;       /* (n_units, d) row-major */
    float *factor;     /* (n_factors, factor_size(d)) */
    /* from predict to learn */
    float *work, *phi; /* (front.n_work), (d) */
    float *log_rate;   /* (n_units) */
    /* inside learn */
    float *f, *v, *step; /* (d), (d), (n_units) */
};

struct snapshot {
    const struct kind *kind;
    const struct front *front; /* borrowed: it never changes */
    int n_units, d, n_factors;
    uint32_t units[MODEL_SNAPSHOT_UNITS];
    double ratio[MODEL_SNAPSHOT_UNITS]; /* see glm_share() */
    struct prior prior;                 /* as in struct glm */
    /* of a focused one: */
    const struct snapshot *source;    /* NULL: not focused */
    int n_rows[MODEL_SNAPSHOT_UNITS]; /* of the covariance's root; 0: as in the source */
};

/* Where the next array begins, in bytes from the start of a block. */
static size_t reserve(size_t *end, size_t n, size_t size)
{
    size_t at = *end;
    *end = at + (n * size + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
    return at;
}

static size_t layout(struct glm *glm, const struct model_conf *conf, int n_factors)
{
    char *base = (char *)glm;
    struct front front;
    front_shape(&front, conf);
    size_t n_units = (size_t)conf->n_units, d = (size_t)front.n_features, end = 0;
    reserve(&end, 1, sizeof *glm);
    size_t a = reserve(&end, 1, front_size(&front));
    size_t state = reserve(&end, 1, sizeof *glm->state);
    size_t curvature = reserve(&end, n_units + 1, sizeof(double));
    size_t mean = reserve(&end, n_units * d, sizeof(float));
    size_t factor = reserve(&end, (size_t)n_factors * factor_size((int)d), sizeof(float));
    size_t state_end = end;
    size_t work = reserve(&end, (size_t)front.n_work, sizeof(float));
    size_t phi = reserve(&end, d, sizeof(float));
    size_t log_rate = reserve(&end, n_units, sizeof(float));
    size_t f = reserve(&end, d, sizeof(float));
    size_t v = reserve(&end, d, sizeof(float));
    size_t step = reserve(&end, n_units, sizeof(float));
    if (!glm)
        return end;
    memset(glm, 0, end);
    front_init(&front, conf, base + a);
    glm->front = front;
    glm->n_units = conf->n_units;
    glm->d = front.n_features;
    glm->n_factors = n_factors;
    glm->state_size = state_end - state;
    glm->state = (struct state_head *)(base + state);
    glm->curvature = (double *)(base + curvature);
    glm->mean = (float *)(base + mean);
    glm->factor = (float *)(base + factor);
    glm->work = (float *)(base + work);
    glm->phi = (float *)(base + phi);
    glm->log_rate = (float *)(base + log_rate);
    glm->f = (float *)(base + f);
    glm->v = (float *)(base + v);
    glm->step = (float *)(base + step);
    return end;
}

static int n_factors_of(const struct model_conf *conf)
{
    if (conf->posterior == POSTERIOR_AUTO)
        return layout(NULL, conf, conf->n_units) <= conf->memory_bytes ? conf->n_units
                                                                       : 1;
    return conf->posterior == POSTERIOR_UNIT ? conf->n_units : 1;
}

static size_t glm_size(const struct model_conf *conf)
{
    return layout(NULL, conf, n_factors_of(conf));
}

static const char *glm_check(const struct model_conf *conf)
{
    const char *why = front_check(conf);
    if (why)
        return why;
    if (!(conf->prior_sd > 0.0 && conf->prior_sd <= 100.0))
        return "prior_sd: give the sd of log rate, above 0 and at most 100";
    if (!(conf->bias_sd > 0.0 && conf->bias_sd <= 100.0))
        return "bias_sd: give the sd of log rate, above 0 and at most 100";
    if (!(conf->forgetting >= 0.9 && conf->forgetting <= 1.0))
        return "forgetting: give a factor a trial from 0.9 to 1";
    if (glm_size(conf) > conf->memory_bytes) {
        return conf->posterior == POSTERIOR_UNIT
                   ? "memory: too little for a posterior of every unit; choose posterior "
                     "auto or shared, more memory, or a longer smooth_px"
                   : "memory: too little even for one shared posterior; choose a longer "
                     "smooth_px or a smaller stimulus";
    }
    return NULL;
}

static uint64_t hash_conf(const struct model_conf *conf, int n_factors)
{
    const double numbers[] = {conf->kind,     conf->front,      conf->n_units,
                              conf->n_frames, conf->height,     conf->width,
                              conf->prior_sd, conf->smooth_px,  conf->smooth_frames,
                              conf->bias_sd,  conf->forgetting, n_factors};
    return wire_hash(WIRE_HASH_START, numbers, sizeof numbers);
}

static void glm_init(struct model *model, const struct model_conf *conf)
{
    struct glm *glm = (struct glm *)model;
    int n_factors = n_factors_of(conf);
    layout(glm, conf, n_factors);
    glm->kind = &glm_kind;
    glm->state->of_conf = hash_conf(conf, n_factors);
    if (conf->front == FRONT_PIXELS && conf->n_frames == 1 && conf->smooth_px > 0.0 &&
        n_factors == conf->n_units)
        glm->prior = (struct prior){.n_frames = 1,
                                    .height = conf->height,
                                    .width = conf->width,
                                    .smooth_px = conf->smooth_px,
                                    .prior_sd = conf->prior_sd};
    glm->forgetting = conf->forgetting;
    if (conf->forgetting < 1.0) {
        glm->n_back = (int)ceil(glm->d * (1.0 - conf->forgetting) / log(2.0));
        glm->back = 1.0 - pow(conf->forgetting, ceil((double)glm->d / glm->n_back));
    }
    for (int i = 0; i <= glm->n_units; i++)
        glm->curvature[i] = 1.0; /* as after one trial of rate 1 */
    for (int i = 0; i < n_factors; i++)
        factor_init(glm->factor + (size_t)i * factor_size(glm->d), glm->d);
}

static void glm_predict(struct model *model, const float *x, float *rate)
{
    struct glm *glm = (struct glm *)model;
    front_apply(&glm->front, x, glm->work, glm->phi);
    ops_rows_dot(glm->n_units, glm->d, glm->mean, glm->phi, glm->log_rate);
    for (int i = 0; i < glm->n_units; i++)
        rate[i] = (float)exp(fmin((double)glm->log_rate[i], LOG_RATE_MAX));
}

/* With c = rho + s count, the log rate at the mode solves eta + s exp(eta) = c. The left
 * side is convex and rises, so Newton from the right of the root falls to it without
 * overshoot; with z = c + log s, such starts are c where z <= 1, log z - log s else. */
double glm_mode(double rho, double s, double count, double *curvature)
{
    s = fmax(s, 1e-30);
    double c = rho + s * count, log_s = log(s), z = c + log_s;
    double eta = z > 1.0 ? log(z) - log_s : c, u = s * exp(eta);
    for (int i = 0; i < 100; i++) {
        double step = (eta + u - c) / (1.0 + u);
        eta -= step;
        u = s * exp(eta);
        if (fabs(step) <= 1e-14 * (1.0 + fabs(eta)))
            break;
    }
    *curvature = u / s;
    return u > 1.0 ? (eta - rho) / s : count - *curvature;
}

double glm_share(double s, double p, double ratio, double *d_s, double *d_p)
{
    double q = s + ratio * (p - s);
    int beyond = s >= p; /* only after forgetting */
    if (d_s)
        *d_s = beyond ? 1.0 : ratio * p * p / (q * q);
    if (d_p)
        *d_p = beyond ? 0.0 : (1.0 - ratio) * s * s / (q * q);
    return beyond ? s : s * p / q;
}

static int is_observed(float count)
{
    return isfinite(count) && count >= 0.0F;
}

/* Coordinate k is seen once more to be 0 with curvature `back`: its prior, again. */
static void put_back(struct glm *glm, float *factor, float *mean, int n_means, int k)
{
    factor_project_one(factor, glm->d, k, glm->f);
    double a = -glm->back / (1.0 + glm->back * ops_norm2(glm->d, glm->f));
    factor_observe(factor, glm->d, 1.0F, glm->f, glm->back, glm->v);
    for (int i = 0; i < n_means; i++, mean += glm->d)
        ops_add(glm->d, (float)(a * (double)mean[k]), glm->v, mean);
}

/* Forgetting discounts all information, the prior's too; so the prior of a few
 * coordinates is put back each trial, in turn: C stays below twice the prior. */
static void put_back_some(struct glm *glm, float *factor, float *mean, int n_means)
{
    uint64_t first = glm->state->n_trials * (uint64_t)glm->n_back;
    for (int i = 0; i < glm->n_back; i++)
        put_back(glm, factor, mean, n_means,
                 (int)((first + (uint64_t)i) % (uint64_t)glm->d));
}

/* f = S^T phi of the discounted covariance; returns its variance s. */
static double project(struct glm *glm, const float *factor, float *scale)
{
    *scale = (float)(1.0 / sqrt(glm->forgetting));
    factor_project(factor, glm->d, glm->phi, glm->f);
    if (glm->forgetting < 1.0) {
        for (int i = 0; i < glm->d; i++)
            glm->f[i] *= *scale;
    }
    return ops_norm2(glm->d, glm->f);
}

static void learn_unit(struct glm *glm, int unit, float count)
{
    float *factor = glm->factor + (size_t)unit * factor_size(glm->d), scale;
    float *mean = glm->mean + (size_t)unit * (size_t)glm->d;
    if (!is_observed(count) && glm->forgetting == 1.0)
        return;
    double s = project(glm, factor, &scale), a = 0.0, curvature = 0.0;
    if (is_observed(count))
        a = glm_mode((double)glm->log_rate[unit], s, (double)count, &curvature);
    factor_observe(factor, glm->d, scale, glm->f, curvature, glm->v);
    ops_add(glm->d, (float)a, glm->v, mean);
    put_back_some(glm, factor, mean, 1);
}

static double ratio_of(const struct glm *glm, int unit)
{
    return glm->n_factors == 1 ? glm->curvature[unit] / glm->curvature[glm->n_units]
                               : 1.0;
}

static void learn_shared(struct glm *glm, const float *count)
{
    float scale;
    double s = project(glm, glm->factor, &scale), p = ops_norm2(glm->d, glm->phi);
    double sum = 0.0, *curvature = glm->curvature;
    int n_observed = 0;
    for (int i = 0; i < glm->n_units; i++) {
        glm->step[i] = 0.0F;
        curvature[i] *= glm->forgetting;
        if (!is_observed(count[i]))
            continue;
        double own, s_own = glm_share(s, p, ratio_of(glm, i), NULL, NULL);
        double a = glm_mode((double)glm->log_rate[i], s_own, (double)count[i], &own);
        glm->step[i] = (float)(a * s_own / s);
        curvature[i] += own;
        sum += own;
        n_observed++;
    }
    if (n_observed == 0 && glm->forgetting == 1.0)
        return;
    double mean = n_observed ? sum / n_observed : 0.0;
    curvature[glm->n_units] = glm->forgetting * curvature[glm->n_units] + mean;
    factor_observe(glm->factor, glm->d, scale, glm->f, mean, glm->v);
    ops_rows_add(glm->n_units, glm->d, glm->mean, glm->step, glm->v);
    put_back_some(glm, glm->factor, glm->mean, glm->n_units);
}

static void glm_learn(struct model *model, const float *count)
{
    struct glm *glm = (struct glm *)model;
    if (glm->n_factors == 1 && glm->n_units > 1) {
        learn_shared(glm, count);
    } else {
        for (int i = 0; i < glm->n_units; i++)
            learn_unit(glm, i, count[i]);
    }
    glm->state->n_trials++;
}

static size_t glm_state(const struct model *model, const void **state)
{
    const struct glm *glm = (const struct glm *)model;
    *state = glm->state;
    return glm->state_size;
}

static int glm_restore(struct model *model, const void *state, size_t size)
{
    struct glm *glm = (struct glm *)model;
    struct state_head head;
    if (size != glm->state_size)
        return -EINVAL;
    memcpy(&head, state, sizeof head);
    if (head.of_conf != glm->state->of_conf)
        return -EINVAL;
    memcpy(glm->state, state, size);
    return 0;
}

/* The arrays behind a snapshot: means (n_units, d), then factors. */
static size_t snapshot_layout(int n_units, int n_factors, int d, size_t *mean,
                              size_t *factor)
{
    size_t end = 0;
    reserve(&end, 1, sizeof(struct snapshot));
    *mean = reserve(&end, (size_t)n_units * (size_t)d, sizeof(float));
    *factor = reserve(&end, (size_t)n_factors * factor_size(d), sizeof(float));
    return end;
}

static const float *snapshot_mean(const struct snapshot *snap, int i)
{
    size_t mean, factor;
    snapshot_layout(snap->n_units, snap->n_factors, snap->d, &mean, &factor);
    return (const float *)((const char *)snap + mean) + (size_t)i * (size_t)snap->d;
}

static const float *snapshot_factor(const struct snapshot *snap, int i)
{
    size_t mean, factor;
    snapshot_layout(snap->n_units, snap->n_factors, snap->d, &mean, &factor);
    return (const float *)((const char *)snap + factor) +
           (snap->n_factors == 1 ? 0 : (size_t)i * factor_size(snap->d));
}

static size_t glm_snapshot_size(const struct model_conf *conf)
{
    struct front front;
    front_shape(&front, conf);
    int n_factors = n_factors_of(conf) == 1 ? 1 : MODEL_SNAPSHOT_UNITS;
    size_t mean, factor;
    return snapshot_layout(MODEL_SNAPSHOT_UNITS, n_factors, front.n_features, &mean,
                           &factor);
}

static void glm_snapshot(const struct model *model, const uint32_t *units, int n_units,
                         void *snapshot)
{
    const struct glm *glm = (const struct glm *)model;
    struct snapshot *snap = snapshot;
    CHECK(n_units >= 1 && n_units <= MODEL_SNAPSHOT_UNITS);
    memset(snap, 0, sizeof *snap);
    snap->kind = &glm_kind;
    snap->front = &glm->front;
    snap->n_units = n_units;
    snap->n_factors = glm->n_factors == 1 ? 1 : n_units;
    snap->d = glm->d;
    snap->prior = glm->prior;
    size_t d = (size_t)glm->d, n_factor = factor_size(glm->d), mean, factor;
    size_t end = snapshot_layout(n_units, snap->n_factors, glm->d, &mean, &factor);
    /* its identity goes over the gaps behind the arrays, too */
    memset((char *)snapshot + factor - MEMORY_ALIGN, 0, MEMORY_ALIGN);
    memset((char *)snapshot + end - MEMORY_ALIGN, 0, MEMORY_ALIGN);
    for (int i = 0; i < n_units; i++) {
        size_t unit = units[i];
        CHECK(unit < (size_t)glm->n_units);
        snap->units[i] = units[i];
        snap->ratio[i] = ratio_of(glm, (int)unit);
        memcpy((float *)snapshot_mean(snap, i), glm->mean + unit * d, d * sizeof(float));
        if (i < snap->n_factors)
            memcpy((float *)snapshot_factor(snap, i),
                   glm->factor + (glm->n_factors == 1 ? 0 : unit * n_factor),
                   n_factor * sizeof(float));
    }
}

static uint64_t glm_snapshot_hash(const void *snapshot)
{
    const struct snapshot *snap = snapshot;
    size_t mean, factor;
    size_t end = snapshot_layout(snap->n_units, snap->n_factors, snap->d, &mean, &factor);
    const char *base = snapshot;
    uint64_t hash = wire_hash(WIRE_HASH_START, snap->units,
                              (size_t)snap->n_units * sizeof *snap->units);
    hash = wire_hash(hash, snap->ratio, (size_t)snap->n_units * sizeof *snap->ratio);
    return ops_hash(hash, base + mean, end - mean);
}

/* Scratch memory of the snapshot functions. */
struct work {
    float *front, *phi, *d_phi, *f, *v;
    struct snapshot *focused; /* with roots in place of factors */
    void *local;
};

static size_t work_layout(const struct snapshot *snap, void *mem, struct work *work)
{
    size_t end = 0, d = (size_t)snap->d;
    size_t front = reserve(&end, (size_t)snap->front->n_work, sizeof(float));
    size_t phi = reserve(&end, d, sizeof(float));
    size_t d_phi = reserve(&end, d, sizeof(float));
    size_t f = reserve(&end, d > LOCAL_ROWS ? d : LOCAL_ROWS, sizeof(float));
    size_t v = reserve(&end, d, sizeof(float));
    size_t mean, root, n_roots = (size_t)snap->n_units * LOCAL_ROWS * d;
    snapshot_layout(snap->n_units, 0, snap->d, &mean, &root);
    int is_local = snap->prior.height > 0;
    size_t focused = reserve(&end, 1, is_local ? root + n_roots * sizeof(float) : 0);
    size_t local = reserve(&end, 1, is_local ? local_size(&snap->prior) : 0);
    if (mem) {
        char *base = mem;
        *work = (struct work){.front = (float *)(base + front),
                              .phi = (float *)(base + phi),
                              .d_phi = (float *)(base + d_phi),
                              .f = (float *)(base + f),
                              .v = (float *)(base + v),
                              .focused = (struct snapshot *)(base + focused),
                              .local = base + local};
    }
    return end;
}

static size_t glm_work_size(const void *snapshot)
{
    return work_layout(snapshot, NULL, NULL);
}

/* The root of the covariance of a focused snapshot's unit: (LOCAL_ROWS, d). */
static const float *snapshot_root(const struct snapshot *snap, int i)
{
    size_t mean, root;
    snapshot_layout(snap->n_units, 0, snap->d, &mean, &root);
    return (const float *)((const char *)snap + root) +
           (size_t)i * LOCAL_ROWS * (size_t)snap->d;
}

static const void *glm_focus(const void *snapshot, int n_rounds, void *mem)
{
    const struct snapshot *snap = snapshot;
    struct work work;
    if (snap->prior.height == 0)
        return snapshot;
    work_layout(snap, mem, &work);
    *work.focused = *snap;
    work.focused->source = snap;
    for (int i = 0; i < snap->n_units; i++) {
        struct local_place place;
        work.focused->n_rows[i] =
            local_refine(&snap->prior, snapshot_factor(snap, i), snapshot_mean(snap, i),
                         n_rounds, work.local, (float *)snapshot_mean(work.focused, i),
                         (float *)snapshot_root(work.focused, i), &place);
    }
    return work.focused;
}

static double glm_rate(const void *snapshot, void *mem, const float *x, float *grad)
{
    const struct snapshot *snap = snapshot;
    struct work work;
    work_layout(snap, mem, &work);
    front_apply(snap->front, x, work.front, work.phi);
    memset(work.d_phi, 0, (size_t)snap->d * sizeof(float));
    double sum = 0.0;
    for (int i = 0; i < snap->n_units; i++) {
        const float *mean = snapshot_mean(snap, i);
        double rho = (double)ops_dot(snap->d, mean, work.phi);
        double rate = exp(fmin(rho, LOG_RATE_MAX)) / snap->n_units;
        ops_add(snap->d, (float)rate, mean, work.d_phi);
        sum += rate;
    }
    if (grad)
        front_pull(snap->front, work.front, work.d_phi, grad);
    return sum;
}

/* Variance s of the log rate of a unit for work->phi, and v = C phi if asked for. */
static double spread(const struct snapshot *snap, int i, const struct work *work,
                     int has_v)
{
    if (snap->n_rows[i] > 0) {
        const float *root = snapshot_root(snap, i);
        ops_rows_dot(snap->n_rows[i], snap->d, root, work->phi, work->f);
        if (has_v)
            ops_rows_sum(snap->n_rows[i], snap->d, root, work->f, work->v);
        return ops_norm2(snap->n_rows[i], work->f);
    }
    const float *factor = snapshot_factor(snap->source ? snap->source : snap, i);
    factor_project(factor, snap->d, work->phi, work->f);
    if (has_v)
        factor_expand(factor, snap->d, work->f, work->v);
    return ops_norm2(snap->d, work->f);
}

static double glm_info(const void *snapshot, void *mem, const float *x, float *grad)
{
    const struct snapshot *snap = snapshot;
    struct work work;
    work_layout(snap, mem, &work);
    front_apply(snap->front, x, work.front, work.phi);
    memset(work.d_phi, 0, (size_t)snap->d * sizeof(float));
    double p = ops_norm2(snap->d, work.phi), s = 0.0, sum = 0.0;
    for (int i = 0; i < snap->n_units; i++) {
        const float *mean = snapshot_mean(snap, i);
        if (i < snap->n_factors)
            s = spread(snap, i, &work, grad != NULL);
        double d_mean, d_own, d_s = 1.0, d_p = 0.0, own = s;
        if (snap->ratio[i] != 1.0)
            own = glm_share(s, p, snap->ratio[i], &d_s, &d_p);
        sum +=
            info_expected((double)ops_dot(snap->d, mean, work.phi), own, &d_mean, &d_own);
        ops_add(snap->d, (float)d_mean, mean, work.d_phi);
        if (grad)
            ops_add(snap->d, (float)(2.0 * d_own * d_s), work.v, work.d_phi);
        ops_add(snap->d, (float)(2.0 * d_own * d_p), work.phi, work.d_phi);
    }
    if (grad)
        front_pull(snap->front, work.front, work.d_phi, grad);
    return sum;
}

static void glm_field(const void *snapshot, void *mem, float *rf)
{
    const struct snapshot *snap = snapshot;
    struct work work;
    work_layout(snap, mem, &work);
    memset(rf, 0, (size_t)snap->front->n_px * sizeof *rf); /* grey */
    front_apply(snap->front, rf, work.front, work.phi);
    front_pull(snap->front, work.front, snapshot_mean(snap, 0), rf);
}

const struct kind glm_kind = {
    .check = glm_check,
    .size = glm_size,
    .snapshot_size = glm_snapshot_size,
    .init = glm_init,
    .predict = glm_predict,
    .learn = glm_learn,
    .state = glm_state,
    .restore = glm_restore,
    .snapshot = glm_snapshot,
    .snapshot_hash = glm_snapshot_hash,
    .work_size = glm_work_size,
    .focus = glm_focus,
    .rate = glm_rate,
    .info = glm_info,
    .field = glm_field,
};
