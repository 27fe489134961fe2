/*
 * rig.h: a simulated rig: an animal, and a recorder with a clock of its own. Pure: time
 * is told to it, so that it serves the process (sim.c) and the tests in virtual time.
 *
 * Flow:   what the daemon publishes -> rig_hear(); rig_run(until) -> what a rig sends:
 *         counts in bins, edges of the photodiode.
 * Memory: its own (rig_open). Units: host ns; samples of the recorder's clock, which
 *         starts anywhere and drifts.
 * Invariant: a stimulus whose pixels the rig never saw gives no counts: a hole, never an
 *         invented response.
 */
#ifndef EVOKE_RIG_H
#define EVOKE_RIG_H

#include "daemon/conf.h"

struct rig;

typedef void rig_emit(void *context, const struct event *ev);

/* [slow] epoch: of this start; now_ns: when it starts. NULL: no memory. */
struct rig *rig_open(const struct conf *conf, uint32_t epoch, int64_t now_ns);
void rig_close(struct rig *rig);

/* [slow] What the simulated units are made of: EVENT_TRUTH of each. */
void rig_tell_truth(struct rig *rig, rig_emit *emit, void *context);

/* [any] STIMULUS, SHOWN and HIDDEN matter. */
void rig_hear(struct rig *rig, const struct event *ev);

/* [any] All bins that end before then, and edges. */
void rig_run(struct rig *rig, int64_t until_ns, rig_emit *emit, void *context);

/* [any] The animal's filter of a unit, (height, width). */
const float *rig_filter(const struct rig *rig, int unit);

#endif
