#include "final_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/replay.h"
#include "models/ops.h"
#include "protocol/log.h"
#include "protocol/memory.h"
#include "stimulus/images.h"
#include "stimulus/job.h"

struct final_model {
    struct conf conf;
    struct model *model;
    void *model_mem, *snapshot, *snapshot_work, *job_work;
    struct images *images; /* opened when the first MEI is asked for */
    struct job_conf job;
};

/* What the session stored when it ended. */
static int restore_stored(struct final_model *final, struct session *session,
                          const char *name, char *text, size_t size)
{
    const void *state;
    size_t n;

    if (session_blob(session, strtoull(name, NULL, 10), &state, &n) == 0 &&
        model_restore(final->model, state, n) == 0)
        return 0;
    snprintf(text, size, "the final model in the session file is damaged");
    return -EBADMSG;
}

/* The session was killed: learn all of it again. */
static int restore_folded(struct final_model *final, struct session *session, char *text,
                          size_t size)
{
    struct replay *replay;
    struct replay_count count;
    const void *state;
    size_t n;
    int error = replay_open(&replay, session, 0, &count, text, size);

    if (error)
        return error;
    n = model_state(replay_model(replay), &state);
    CHECK(model_restore(final->model, state, n) == 0);
    replay_close(replay);
    return 0;
}

static int restore(struct final_model *final, struct session *session, char *text,
                   size_t size)
{
    const char *name = session_meta(session, "model_final");

    return name ? restore_stored(final, session, name, text, size)
                : restore_folded(final, session, text, size);
}

int final_model_open(struct final_model **out, struct session *session,
                     const struct conf *conf, char *text, size_t size)
{
    struct final_model *final = calloc(1, sizeof(*final));
    struct loop_conf loop;
    int error;

    ops_init();
    ops_flush_denormals();
    if (!final)
        return -ENOMEM;
    final->conf = *conf;
    conf_loop(conf, &loop);
    final->model_mem = memory_open(model_size(&loop.model));
    final->snapshot = memory_open(model_snapshot_size(&loop.model));
    if (!final->model_mem || !final->snapshot) {
        snprintf(text, size, "not enough memory for the model");
        final_model_close(final);
        return -ENOMEM;
    }
    final->model = model_init(final->model_mem, &loop.model);
    error = restore(final, session, text, size);
    if (error) {
        final_model_close(final);
        return error;
    }
    model_snapshot(final->model, (const uint32_t[]){0}, 1, final->snapshot);
    final->snapshot_work = memory_open(snapshot_work_size(final->snapshot));
    CHECK(final->snapshot_work);
    *out = final;
    return 0;
}

void final_model_close(struct final_model *final)
{
    if (!final)
        return;
    images_close(final->images);
    free(final->job_work);
    free(final->snapshot_work);
    free(final->snapshot);
    free(final->model_mem);
    free(final);
}

void final_model_field(struct final_model *final, uint32_t unit, float *rf)
{
    model_snapshot(final->model, &unit, 1, final->snapshot);
    snapshot_field(final->snapshot, final->snapshot_work, rf);
}

static int open_images(struct final_model *final, char *text, size_t size)
{
    const struct conf *conf = &final->conf;
    enum images_kind kind = (enum images_kind)conf->stimulus.images;
    const char *folder = kind == IMAGES_FOLDER ? conf->stimulus.folder : NULL;
    int error = images_open(&final->images, kind, folder, conf->stimulus.height,
                            conf->stimulus.width, text, size);

    if (error)
        return error;
    conf_job(conf, final->images, &final->job);
    final->job_work =
        memory_open(job_work_size(&final->job, snapshot_work_size(final->snapshot)));
    CHECK(final->job_work);
    return 0;
}

int final_model_mei(struct final_model *final, uint32_t unit, float *x, double *rate,
                    char *text, size_t size)
{
    struct event job, result;
    int error;

    if (final->conf.stimulus.frames != 1) {
        snprintf(text, size, "an MEI is one image; this model's stimulus has %d frames",
                 final->conf.stimulus.frames);
        return -ENOTSUP;
    }
    error = final->images ? 0 : open_images(final, text, size);
    if (error)
        return error;
    model_snapshot(final->model, &unit, 1, final->snapshot);
    memset(&job, 0, sizeof(job));
    job.type = EVENT_JOB;
    job.job.seed = (uint64_t) final->conf.session.seed;
    job.job.kind = JOB_MEI;
    job.job.unit = unit;
    job.job.max_steps = (uint32_t) final->conf.optimise.max_steps;
    job_run(&final->job, &job, final->snapshot, NULL, NULL, final->job_work, &result);
    space_decode(result.data, final->conf.stimulus.height * final->conf.stimulus.width,
                 x);
    *rate = result.result.value;
    return 0;
}
