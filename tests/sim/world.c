#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/worker.h"
#include "models/ops.h"
#include "protocol/clock.h"
#include "protocol/memory.h"

#define FRAMES_HZ   60
#define FRAMES_BEAT 3  /* 50 ms, as the real wire and display */
#define QUEUE       16 /* results of jobs that wait to be folded */
#define START_NS    (1000 * NS_PER_S)

struct screen {
    uint32_t epoch;
    int is_set;
    int has_request, is_on;
    struct event request;
    int64_t onset_ns;
    uint64_t frame_off; /* the stimulus goes in this frame */
    uint32_t n_late;
};

struct world {
    struct conf conf;
    struct loop_conf loop_conf;
    struct job_conf job;
    struct images *images;
    struct world_hooks hooks;
    struct loop *loop;
    struct rig *rig;
    uint32_t rig_epoch;
    uint64_t frame;
    int64_t now_ns;
    struct screen screen;
    void *work, *mei_work, *mei_snapshot;
    struct event results[QUEUE];
    uint8_t *pixels[QUEUE];
    int n_results;
    int is_folding;
};

static void *taken(size_t size)
{
    void *mem = memory_open(size);
    CHECK(mem != NULL);
    return mem;
}

struct world *world_open(const char *configuration, const struct world_hooks *hooks)
{
    struct world *world = taken(sizeof(*world));
    char text[512];
    size_t work;

    memset(world, 0, sizeof(*world));
    if (conf_read_text(&world->conf, configuration, "configuration", text,
                       sizeof(text)) ||
        images_open(&world->images, (enum images_kind)world->conf.stimulus.images, NULL,
                    world->conf.stimulus.height, world->conf.stimulus.width, text,
                    sizeof(text))) {
        fprintf(stderr, "%s\n", text);
        exit(1);
    }
    ops_flush_denormals();
    world->hooks = *hooks;
    conf_loop(&world->conf, &world->loop_conf);
    conf_job(&world->conf, world->images, &world->job);
    world->loop = loop_init(taken(loop_size(&world->loop_conf)), &world->loop_conf);
    world->mei_snapshot = taken(model_snapshot_size(&world->loop_conf.model));
    work = worker_work_size(loop_model(world->loop), world->loop_conf.model.n_units,
                            world->mei_snapshot, &world->job);
    world->work = taken(work);
    world->mei_work = taken(work);
    for (int i = 0; i < QUEUE; i++)
        world->pixels[i] = taken((size_t)world->conf.stimulus.height *
                                 (size_t)world->conf.stimulus.width);
    world->now_ns = START_NS;
    world->screen.epoch = 1;
    world_restart_rig(world);
    return world;
}

void world_close(struct world *world)
{
    rig_close(world->rig);
    images_close(world->images);
    for (int i = 0; i < QUEUE; i++)
        free(world->pixels[i]);
    free(world->loop);
    free(world->work);
    free(world->mei_work);
    free(world->mei_snapshot);
    free(world);
}

static void do_job(struct world *world, const struct event *job)
{
    struct event *result = &world->results[world->n_results];

    CHECK(world->n_results < QUEUE);
    job_run(&world->job, job, loop_snapshot(world->loop, job->job.slot), NULL, NULL,
            world->work, result);
    memcpy(world->pixels[world->n_results], result->data, result->data_size);
    result->data = world->pixels[world->n_results++];
}

/* What the loop says goes to whom it is for. */
static void hear(void *context, const struct event *ev)
{
    struct world *world = context;

    if (world->hooks.said)
        world->hooks.said(world->hooks.context, ev);
    switch (ev->type) {
    case EVENT_JOB:
        do_job(world, ev);
        break;
    case EVENT_STIMULUS:
        rig_hear(world->rig, ev);
        break;
    case EVENT_SCREEN:
        world->screen.is_set = 1;
        break;
    case EVENT_PRESENT:
        world->screen.has_request = world->screen.is_set; /* else it knows no stimulus */
        world->screen.request = *ev;
        break;
    case EVENT_BLANK:
        world->screen.has_request = 0;
        if (world->screen.is_on)
            world->screen.frame_off = world->frame;
        break;
    default:
        break;
    }
}

static void fold(struct world *world, struct event ev)
{
    ev.time_ns = world->now_ns;
    if (world->hooks.told)
        world->hooks.told(world->hooks.context, &ev);
    loop_fold(world->loop, &ev, hear, world);
    if (world->hooks.folded)
        world->hooks.folded(world->hooks.context, world->loop);
}

void world_deliver(struct world *world, struct event ev)
{
    fold(world, ev);
    for (int i = 0; i < world->n_results; i++) /* grows while results are folded */
        fold(world, world->results[i]);
    world->n_results = 0;
}

static void send(void *context, const struct event *ev)
{
    struct world *world = context;

    if (world->hooks.sent)
        world->hooks.sent(world->hooks.context, ev);
    else
        world_deliver(world, *ev);
}

static void tell(struct world *world, struct event ev)
{
    ev.epoch = world->screen.epoch;
    if (ev.type == EVENT_SHOWN || ev.type == EVENT_HIDDEN)
        rig_hear(world->rig, &ev);
    world_deliver(world, ev);
}

static uint32_t lateness(struct world *world)
{
    return world->hooks.late ? world->hooks.late(world->hooks.context) : 0;
}

static void hide(struct world *world)
{
    struct screen *screen = &world->screen;
    struct event ev = {.type = EVENT_HIDDEN};

    screen->is_on = 0;
    ev.hidden.trial = screen->request.present.trial;
    ev.hidden.offset_ns = world->now_ns;
    ev.hidden.n_frames = 1;
    ev.hidden.n_late = screen->n_late;
    tell(world, ev);
}

static void show(struct world *world)
{
    struct screen *screen = &world->screen;
    struct event ev = {.type = EVENT_SHOWN};
    uint32_t n_late = lateness(world);
    int64_t n_frames = screen->request.present.duration_ns * FRAMES_HZ / NS_PER_S;

    screen->has_request = 0;
    screen->is_on = 1;
    screen->n_late = lateness(world);
    screen->frame_off = world->frame + (uint64_t)n_frames + screen->n_late;
    ev.shown.trial = screen->request.present.trial;
    ev.shown.hash = screen->request.present.hash;
    ev.shown.requested_ns = world->now_ns;
    ev.shown.onset_ns = world->now_ns;
    ev.shown.quality = QUALITY_HARDWARE;
    ev.shown.n_late = n_late;
    tell(world, ev);
}

static void say_presence(struct world *world)
{
    struct event ev = {.type = EVENT_DISPLAY};

    if (world->screen.is_set) {
        ev.display.refresh_hz = FRAMES_HZ;
        ev.display.width_px = 640;
        ev.display.height_px = 480;
        ev.display.quality = QUALITY_HARDWARE;
    }
    tell(world, ev);
}

void world_step(struct world *world)
{
    struct screen *screen = &world->screen;
    struct event tick = {.type = EVENT_TICK};

    world->frame++;
    world->now_ns = START_NS + (int64_t)world->frame * NS_PER_S / FRAMES_HZ;
    if (screen->is_on && world->frame >= screen->frame_off)
        hide(world);
    if (!screen->is_on && screen->has_request &&
        screen->request.present.not_before_ns <= world->now_ns)
        show(world);
    rig_run(world->rig, world->now_ns, send, world);
    if (world->frame % FRAMES_BEAT)
        return;
    say_presence(world);
    world_deliver(world, tick);
}

int64_t world_now_ns(const struct world *world)
{
    return world->now_ns;
}

void world_restart_display(struct world *world)
{
    world->screen = (struct screen){.epoch = world->screen.epoch + 1};
}

void world_restart_rig(struct world *world)
{
    rig_close(world->rig);
    world->rig = rig_open(&world->conf, ++world->rig_epoch, world->now_ns);
}

struct loop *world_loop(struct world *world)
{
    return world->loop;
}

const struct rig *world_rig(const struct world *world)
{
    return world->rig;
}

const struct conf *world_conf(const struct world *world)
{
    return &world->conf;
}

void world_mei(struct world *world, uint32_t unit, float *x)
{
    struct event result, job = {.type = EVENT_JOB};

    job.job.kind = JOB_MEI;
    job.job.unit = unit;
    job.job.max_steps = world->loop_conf.supply.max_steps;
    model_snapshot(loop_model(world->loop), &unit, 1, world->mei_snapshot);
    job_run(&world->job, &job, world->mei_snapshot, NULL, NULL, world->mei_work, &result);
    space_decode(result.data, world->conf.stimulus.height * world->conf.stimulus.width,
                 x);
}
