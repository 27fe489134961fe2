/*
 * loop.h: the experiment as a pure fold over events.
 *
 * Flow:      loop_step(event) -> events. The daemon, the replay and the simulation all
 *            drive it by loop_fold(), each with another source of events.
 * Owner:     one thread; the live model and all trial state are in here.
 * Memory:    caller's, loop_size() bytes; nothing is allocated after loop_init().
 * Units:     time is what the events say; there is no clock inside.
 * Errors:    nothing that arrives makes it fail: it counts (COUNTER_*) and goes on.
 * Invariant: the same events give the same answers, bit for bit (ARCHITECTURE.md, I1);
 *            an invalid trial never reaches the model (I2).
 */
#ifndef EVOKE_LOOP_H
#define EVOKE_LOOP_H

#include "daemon/outbox.h"
#include "daemon/source.h"
#include "daemon/stream.h"
#include "daemon/supply.h"
#include "daemon/trial.h"
#include "models/model.h"

struct loop_conf {
    struct sources_conf sources;
    struct stream_conf stream; /* trial.external only */
    struct supply_conf supply; /* else */
    struct model_conf model;
    struct trial_conf trial;
    struct event screen; /* EVENT_SCREEN, as the display shall be set up */
    float grey;
    int64_t display_silence_ns; /* a display that said nothing for so long is lost */
};

#define LOOP_OUT_MAX     64  /* most events that one step says */
#define LOOP_MODEL_EVERY 100 /* trials learned between two EVENT_MODEL */

struct loop;

size_t loop_size(const struct loop_conf *conf); /* [any] */

/* [slow] Lay a loop, with the model's prior, into mem (64-byte aligned). */
struct loop *loop_init(void *mem, const struct loop_conf *conf);

/* [rt] One event in, what it leads to out; returns how many. */
int loop_step(struct loop *loop, const struct event *in, struct event *out, int max_out);

/* [rt] 1 if an EVENT_NONE step has work to do (learning, planning) that was put off so
 * that the answer to an event could go out first. */
int loop_has_more(const struct loop *loop);

/* [rt] An event and all the work it left: calls emit for every event that comes out, in
 * order, as soon as its step is done. */
typedef void loop_emit(void *context, const struct event *ev);
void loop_fold(struct loop *loop, const struct event *in, loop_emit *emit, void *context);

/* [any] For whoever owns the loop. */
enum loop_state loop_now(const struct loop *loop);
struct model *loop_model(struct loop *loop);
void *loop_snapshot(const struct loop *loop, uint32_t slot);
const uint64_t *loop_counters(const struct loop *loop);

#endif
