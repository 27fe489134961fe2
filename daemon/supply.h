/*
 * supply.h: stimuli in the making and stimuli that are ready, so that the next one waits
 * for the trial and never the trial for it.
 *
 * Flow:   supply_plan() asks the policy and sends jobs to free workers, each with a
 *         snapshot; supply_result() takes what comes back and tells the display;
 *         supply_next() gives the oldest; supply_again() puts one back.
 * Owner:  the loop; a worker reads the snapshot of its own slot, only between its job
 *         and its result.
 * Memory: caller's, supply_size() bytes.
 */
#ifndef EVOKE_SUPPLY_H
#define EVOKE_SUPPLY_H

#include "daemon/outbox.h"
#include "models/model.h"
#include "stimulus/policy.h"

struct supply_conf {
    struct policy_conf policy;
    int height, width;
    int n_workers;
    int n_ahead; /* stimuli ready or in the making */
    uint32_t max_steps;
    uint64_t seed;
    size_t snapshot_size;
};

enum supply_slot_state { SLOT_FREE, SLOT_READY, SLOT_TAKEN };

struct supply_slot {
    enum supply_slot_state state;
    uint64_t order; /* the smallest is shown next */
    uint64_t hash;
    uint32_t kind, unit; /* of the job that made it */
    uint32_t attempt;    /* times shown, this one included */
    uint8_t *pixels;     /* (height, width) */
};

struct supply;

size_t supply_size(const struct supply_conf *conf); /* [any] */
struct supply *supply_init(void *mem, const struct supply_conf *conf);

/* [rt] Send the next job if a worker is free and less is ready than shall be; 1 if one
 * was sent. */
int supply_plan(struct supply *supply, const struct model *model, struct outbox *out);

/* [rt] What a worker made: kept, and sent to the display to be kept ready there. 0, or
 * -EINVAL if it answers no job that is out. */
int supply_result(struct supply *supply, const struct event *result, struct outbox *out);

/* [rt] The oldest one that is ready, now taken; NULL if there is none. */
struct supply_slot *supply_next(struct supply *supply);

/* [rt] To be shown again later: said anew, for a follower that was not there the first
 * time; or done with. */
void supply_again(struct supply *supply, struct supply_slot *slot, struct outbox *out);
void supply_done(struct supply_slot *slot);

/* [rt] The display began anew: send it all that is ready. */
void supply_resend(struct supply *supply, struct outbox *out);

/* [rt] 1 when the policy has no more and nothing is ready or in the making. */
int supply_is_over(const struct supply *supply);

/* [any] The snapshot of a slot; for the worker that has this slot's job. */
void *supply_snapshot(const struct supply *supply, uint32_t slot);

#endif
