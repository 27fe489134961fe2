#include "stimulus/job.h"

#include <math.h>
#include <string.h>

#include "models/model.h"
#include "models/random.h"
#include "protocol/log.h"
#include "protocol/memory.h"
#include "protocol/wire.h"

/* Search for the place of a receptive field: an MEI is worth it, for the next stimulus of
 * many a first guess does. */
#define MEI_ROUNDS 3

/* The parts of work. */
struct desk {
    float *start, *candidate; /* (height, width) */
    uint8_t *pixels;          /* (height, width) */
    void *optimise, *images, *snapshot;
    size_t size;
};

static struct desk lay_out(const struct job_conf *conf, size_t snapshot_size, void *mem)
{
    struct memory memory = {mem, 0};
    size_t n = (size_t)conf->space.height * (size_t)conf->space.width;
    struct desk desk;
    desk.start = memory_take(&memory, n, sizeof(float));
    desk.candidate = memory_take(&memory, n, sizeof(float));
    desk.pixels = memory_take(&memory, n, 1);
    desk.optimise = memory_take(&memory, 1, optimise_size(&conf->space));
    desk.images = memory_take(&memory, 1, images_work_size(conf->images));
    desk.snapshot = memory_take(&memory, 1, snapshot_size);
    desk.size = memory.size;
    return desk;
}

/* What is climbed, and where it is computed. */
struct hill {
    unsigned kind;
    const void *snapshot;
    void *work;
};

static double climb(void *context, const float *x, float *grad)
{
    const struct hill *hill = context;
    return hill->kind == JOB_MEI ? snapshot_rate(hill->snapshot, hill->work, x, grad)
                                 : snapshot_info(hill->snapshot, hill->work, x, grad);
}

/* Put the better of desk->candidate and desk->start into desk->start. */
static void keep_better(const struct job_conf *conf, struct hill *hill, struct desk *desk,
                        double *value)
{
    space_project(&conf->space, desk->candidate);
    double v = climb(hill, desk->candidate, NULL);
    if (!(v > *value))
        return;
    *value = v;
    float *worse = desk->start;
    desk->start = desk->candidate;
    desk->candidate = worse;
}

/* Where the ascent begins: the best of some random images and, for an MEI, the model's
 * own receptive field. */
static void find_start(const struct job_conf *conf, const struct event *job,
                       struct hill *hill, struct desk *desk)
{
    double value = -(double)INFINITY;
    struct random random;
    random_init(&random, job->job.seed, job->job.kind);
    memset(desk->start, 0,
           (size_t)conf->space.height * (size_t)conf->space.width * sizeof(float));
    for (int i = 0; i < conf->n_candidates; i++) {
        images_get(conf->images, conf->images_seed, random_u64(&random), desk->images,
                   desk->candidate);
        keep_better(conf, hill, desk, &value);
    }
    if (job->job.kind == JOB_MEI) {
        snapshot_field(hill->snapshot, hill->work, desk->candidate);
        keep_better(conf, hill, desk, &value);
    }
}

size_t job_work_size(const struct job_conf *conf, size_t snapshot_size)
{
    return lay_out(conf, snapshot_size, NULL).size;
}

int job_needs_snapshot(unsigned kind)
{
    return kind == JOB_INFOMAX || kind == JOB_MEI;
}

void job_run(const struct job_conf *conf, const struct event *job, const void *snapshot,
             int (*go_on)(void *context), void *context, void *work, struct event *result)
{
    CHECK(job->type == EVENT_JOB && job->job.kind >= JOB_RANDOM &&
          job->job.kind <= JOB_MEI);
    int needs_snapshot = job_needs_snapshot(job->job.kind);
    CHECK(!needs_snapshot || (snapshot && conf->n_candidates > 0));
    int n = conf->space.height * conf->space.width, n_steps = 0;
    struct desk desk = lay_out(conf, 0, work);
    struct hill hill = {job->job.kind, NULL, desk.snapshot};
    if (needs_snapshot)
        hill.snapshot = snapshot_focus(
            snapshot, job->job.kind == JOB_MEI ? MEI_ROUNDS : 0, desk.snapshot);
    const float *x = desk.start;
    double value = 0;
    if (needs_snapshot) {
        find_start(conf, job, &hill, &desk);
        struct optimise *opt = optimise_init(desk.optimise, &conf->space, &conf->ascent,
                                             climb, &hill, desk.start);
        while ((uint32_t)optimise_steps(opt) < job->job.max_steps &&
               (!go_on || go_on(context)) && optimise_step(opt))
            ;
        x = optimise_best(opt, NULL);
        n_steps = optimise_steps(opt);
    } else {
        images_get(conf->images, conf->images_seed, job->job.seed, desk.images,
                   desk.start);
        space_project(&conf->space, desk.start);
    }
    space_encode(x, n, desk.pixels);
    if (needs_snapshot) {
        space_decode(desk.pixels, n, desk.candidate);
        value = climb(&hill, desk.candidate, NULL);
    }

    uint32_t height = (uint32_t)conf->space.height, width = (uint32_t)conf->space.width;
    memset(result, 0, sizeof *result);
    result->type = EVENT_RESULT;
    result->time_ns = CLOCK_UNKNOWN;
    result->result.job = job->job.job;
    result->result.model = job->job.model;
    result->result.hash = wire_hash_stimulus(height, width, DTYPE_U8, desk.pixels);
    result->result.value = value;
    result->result.kind = job->job.kind;
    result->result.unit = job->job.unit;
    result->result.slot = job->job.slot;
    result->result.n_steps = (uint32_t)n_steps;
    result->result.height = height;
    result->result.width = width;
    result->result.dtype = DTYPE_U8;
    result->data_size = (uint32_t)n;
    result->data = desk.pixels;
}
