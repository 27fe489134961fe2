#include "replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/route.h"
#include "daemon/worker.h"
#include "models/ops.h"
#include "protocol/memory.h"
#include "protocol/wire.h"

#define SLOTS_MAX    64   /* most workers, as [optimise] workers allows */
#define EXPECTED_MAX 4096 /* most that the loop says between two recorded inputs */

/* What the loop said in the fold of the last input, not yet seen in the record. */
struct said {
    char *bytes; /* header, fields, payload */
    size_t size, room;
};

struct replay {
    struct conf conf;
    struct loop_conf loop_conf;
    struct job_conf job;
    struct images *images; /* NULL: the folder is not here */
    struct loop *loop;
    void *snapshot, *work;
    struct event jobs[SLOTS_MAX]; /* by slot: the last one said */
    struct event result;
    struct replay_count *count;
    int verify;
    struct said said[EXPECTED_MAX];
    int n_said, n_seen;
};

static int set_up(struct replay *replay, struct session *session, char *text, size_t size)
{
    const char *ini = session_meta(session, "config");
    const char *start, *images;
    char why[256];
    const void *state;
    size_t n_state;

    if (!ini) {
        snprintf(text, size, "the session file holds no configuration");
        return -EINVAL;
    }
    if (conf_read_text(&replay->conf, ini, "configuration in the session file", text,
                       size))
        return -EINVAL;
    images_open(&replay->images, (enum images_kind)replay->conf.stimulus.images,
                conf_folder(&replay->conf), replay->conf.stimulus.height,
                replay->conf.stimulus.width, why, sizeof(why));
    images = session_meta(session, "images");
    if (replay->images && images && strtoull(images, NULL, 10) != 0 &&
        strtoull(images, NULL, 10) != images_hash(replay->images)) {
        images_close(replay->images); /* others than the session's */
        replay->images = NULL;
    }
    conf_loop(&replay->conf, &replay->loop_conf);
    conf_job(&replay->conf, replay->images, &replay->job);
    replay->loop =
        loop_init(memory_open(loop_size(&replay->loop_conf)), &replay->loop_conf);
    start = session_meta(session, "model_start");
    if (start) {
        if (session_blob(session, strtoull(start, NULL, 10), &state, &n_state) != 0 ||
            model_restore(loop_model(replay->loop), state, n_state) != 0) {
            snprintf(text, size, "the model that the session began with is damaged");
            return -EBADMSG;
        }
    }
    replay->snapshot = memory_open(model_snapshot_size(&replay->loop_conf.model));
    replay->work = memory_open(worker_work_size(loop_model(replay->loop),
                                                replay->loop_conf.model.n_units,
                                                replay->snapshot, &replay->job));
    return 0;
}

static void keep_said(void *context, const struct event *ev)
{
    struct replay *replay = context;
    struct said *said;

    if ((route_of(ev->type) & (ROUTE_RECORD | ROUTE_SAID)) != (ROUTE_RECORD | ROUTE_SAID))
        return;
    CHECK(replay->n_said < EXPECTED_MAX);
    if (ev->type == EVENT_JOB)
        replay->jobs[ev->job.slot] = *ev;
    said = &replay->said[replay->n_said++];
    if (said->room < WIRE_HEAD_MAX + ev->data_size) {
        said->room = WIRE_HEAD_MAX + ev->data_size;
        said->bytes = realloc(said->bytes, said->room);
        CHECK(said->bytes != NULL);
    }
    said->size = wire_encode(ev, said->bytes);
    if (ev->data_size > 0)
        memcpy(said->bytes + said->size, ev->data, ev->data_size);
    said->size += ev->data_size;
}

/* Which field of two events of one type differs first; NULL for the payload. */
static const char *first_difference(const struct event *a, const struct event *b)
{
    char one[64], other[64];
    int n;
    const struct wire_field *fields = wire_fields(a->type, &n);

    for (int i = 0; i < n; i++) {
        wire_field_text(a, &fields[i], one, sizeof(one));
        wire_field_text(b, &fields[i], other, sizeof(other));
        if (strcmp(one, other) != 0)
            return fields[i].name;
    }
    return a->time_ns != b->time_ns ? "time_ns" : a->seq != b->seq ? "seq" : NULL;
}

/* A recorded event that the loop said: is it what it says now? */
static int compare(struct replay *replay, const struct event *ev, int64_t id, char *text,
                   size_t size)
{
    char head[WIRE_HEAD_MAX];
    const struct said *said = &replay->said[replay->n_seen];
    size_t n = wire_encode(ev, head);
    struct event now;

    if (replay->n_seen == replay->n_said) {
        snprintf(text, size, "event %" PRId64 " (%s): the replay says nothing here", id,
                 event_name(ev->type));
        return -EBADMSG;
    }
    replay->n_seen++;
    if (said->size == n + ev->data_size && memcmp(said->bytes, head, n) == 0 &&
        (ev->data_size == 0 || memcmp(said->bytes + n, ev->data, ev->data_size) == 0)) {
        replay->count->n_compared++;
        return 0;
    }
    if (wire_decode_row(said->bytes, said->size, &now) != REJECT_NONE ||
        now.type != ev->type) {
        snprintf(text, size, "event %" PRId64 ": recorded %s, replayed %s", id,
                 event_name(ev->type), event_name(now.type));
    } else {
        const char *field = first_difference(ev, &now);
        snprintf(text, size, "event %" PRId64 " (%s): %s differs", id,
                 event_name(ev->type), field ? field : "the payload");
    }
    return -EBADMSG;
}

/* A recorded result: does the job give the same pixels again? */
static int redo(struct replay *replay, const struct event *recorded, int64_t id,
                char *text, size_t size)
{
    uint32_t slot = recorded->result.slot;
    struct event job;

    if (!replay->images || slot >= (uint32_t)replay->loop_conf.supply.n_workers) {
        replay->count->n_skipped++;
        return 0;
    }
    job = replay->jobs[slot];
    if (job.type != EVENT_JOB || job.job.job != recorded->result.job) {
        snprintf(text, size, "event %" PRId64 " (result): no such job is out", id);
        return -EBADMSG;
    }
    job.job.max_steps = recorded->result.n_steps;
    job_run(&replay->job, &job, loop_snapshot(replay->loop, slot), NULL, NULL,
            replay->work, &replay->result);
    if (replay->result.result.hash != recorded->result.hash) {
        snprintf(text, size,
                 "event %" PRId64 " (result): job %" PRIu64
                 " (%s) gives another stimulus",
                 id, recorded->result.job, job_name(recorded->result.kind));
        return -EBADMSG;
    }
    replay->count->n_jobs++;
    return 0;
}

/* A recorded input: fold it. What the loop said after the last one and the record does
 * not have is a difference, unless the record ends here (the daemon was killed). */
static int fold(struct replay *replay, const struct event *ev, int64_t id, char *text,
                size_t size)
{
    int error = 0;

    if (replay->verify && replay->n_seen < replay->n_said) {
        snprintf(text, size,
                 "before event %" PRId64 ": the replay says more than the record", id);
        return -EBADMSG;
    }
    if (replay->verify && ev->type == EVENT_RESULT)
        error = redo(replay, ev, id, text, size);
    replay->n_said = replay->n_seen = 0;
    loop_fold(replay->loop, ev, keep_said, replay);
    return error;
}

static int run(struct replay *replay, struct session *session, char *text, size_t size)
{
    struct replay_count *count = replay->count;
    struct event ev;
    int64_t id;
    int more, error = 0;

    while (!error &&
           (more = session_next(session, &ev, &id, replay->verify, text, size))) {
        if (more < 0)
            return more;
        count->n_events++;
        if (!(route_of(ev.type) & ROUTE_SAID))
            error = fold(replay, &ev, id, text, size);
        else if (replay->verify)
            error = compare(replay, &ev, id, text, size);
        if (ev.type == EVENT_TRIAL) {
            count->n_trials++;
            count->n_valid += ev.trial.verdict == VERDICT_VALID;
        }
    }
    count->model = model_hash(loop_model(replay->loop));
    count->complete = loop_now(replay->loop) == STATE_END;
    return error;
}

int replay_open(struct replay **out, struct session *session, int verify,
                struct replay_count *count, char *text, size_t size)
{
    struct replay *replay = calloc(1, sizeof(*replay));
    int error;

    if (!replay)
        return -ENOMEM;
    ops_flush_denormals(); /* as the loop that made the record */
    memset(count, 0, sizeof(*count));
    replay->count = count;
    replay->verify = verify;
    error = set_up(replay, session, text, size);
    if (!error)
        error = session_rewind(session, EVENT_NONE);
    if (!error)
        error = run(replay, session, text, size);
    if (error) {
        replay_close(replay);
        return error;
    }
    *out = replay;
    return 0;
}

void replay_close(struct replay *replay)
{
    if (!replay)
        return;
    for (int i = 0; i < EXPECTED_MAX; i++)
        free(replay->said[i].bytes);
    images_close(replay->images);
    free(replay->loop);
    free(replay->snapshot);
    free(replay->work);
    free(replay);
}

struct model *replay_model(struct replay *replay)
{
    return loop_model(replay->loop);
}

const struct conf *replay_conf(const struct replay *replay)
{
    return &replay->conf;
}

const struct event *replay_job(struct replay *replay, unsigned kind, uint32_t unit)
{
    struct event job = {.type = EVENT_JOB};

    job.job.kind = kind;
    job.job.unit = unit;
    job.job.max_steps = replay->loop_conf.supply.max_steps;
    model_snapshot(loop_model(replay->loop), &unit, 1, replay->snapshot);
    job_run(&replay->job, &job, replay->snapshot, NULL, NULL, replay->work,
            &replay->result);
    return &replay->result;
}
