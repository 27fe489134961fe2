/*
 * world.h: an experiment in virtual time: the real loop, the simulated rig, a display of
 * 60 frames a second and a worker that answers at once.
 *
 * Flow:   world_step() is one frame: display and rig act, each of their events is folded
 *         by loop_fold(), what the loop says goes back to them.
 * Owner:  the test, in one thread. Memory: its own.
 * Units:  ns of virtual time. Errors: what cannot be set up ends the program.
 * Invariant: a function of the configuration and of what the hooks do; no clock.
 */
#ifndef EVOKE_WORLD_H
#define EVOKE_WORLD_H

#include "daemon/conf.h"
#include "tools/rig.h"

struct world;

/* What a test may do to the world; each may be NULL. */
struct world_hooks {
    void *context;
    /* Called before an event is folded, and after it with what came of it. */
    void (*told)(void *context, const struct event *ev);
    void (*said)(void *context, const struct event *ev);
    void (*folded)(void *context, struct loop *loop);
    /* Called instead of world_deliver() for what the rig sends. */
    void (*sent)(void *context, const struct event *ev);
    /* Frames by which this stimulus comes late, or stays too long. */
    uint32_t (*late)(void *context);
};

struct world *world_open(const char *configuration, const struct world_hooks *hooks);
void world_close(struct world *world);

/* One frame, and its time. */
void world_step(struct world *world);
int64_t world_now_ns(const struct world *world);

/* Fold an event at this moment. */
void world_deliver(struct world *world, struct event ev);

/* The display, or the rig, is another one from now on. */
void world_restart_display(struct world *world);
void world_restart_rig(struct world *world);

struct loop *world_loop(struct world *world);
const struct rig *world_rig(const struct world *world);
const struct conf *world_conf(const struct world *world);

/* The unit's MEI by the live model, (height, width) contrast; leaves the loop alone. */
void world_mei(struct world *world, uint32_t unit, float *x);

#endif
