/*
 * trial.h: one presentation, from the command to the verdict.
 *
 * Flow:      trial_begin() with the command; the display's reports and the counts change
 *            it; trial_verdict() says when it is decided, and how.
 * Owner:     the loop. Memory: caller's.
 * Invariant: valid only if its onset is known, what was shown is what was chosen, no
 *            frame was late and no count of its window was lost.
 */
#ifndef EVOKE_TRIAL_H
#define EVOKE_TRIAL_H

#include "daemon/source.h"
#include "daemon/supply.h"

struct trial_conf {
    int external;             /* stimuli are shown by another system; learn only */
    int64_t duration_ns;      /* of a stimulus on the screen */
    int64_t gap_ns;           /* grey between two, at least */
    int64_t delay_ns;         /* response window: opens so long after the onset */
    int64_t window_ns;        /* and is so long */
    int64_t onset_timeout_ns; /* no onset reported after so long: invalid */
    int64_t
        counts_timeout_ns; /* counts still missing so long after the window: invalid */
    int max_attempts;      /* times that a stimulus is shown until it is given up */
    int min_quality;       /* enum quality that the display must have to be armed */
};

struct trial {
    uint64_t number;
    struct supply_slot *slot;
    int64_t due_ns;   /* the onset is expected then */
    int64_t onset_ns; /* reported by the display; CLOCK_UNKNOWN before */
    int64_t latency_ns;
    int hidden;          /* the display reported its end */
    enum verdict broken; /* what has already gone wrong with it */
    struct window_at at; /* at.from >= 0: found by the photodiode */
    int64_t uncertainty_ns;
};

/* [rt] Asked for now, to be seen at due_ns. */
void trial_begin(struct trial *trial, const struct trial_conf *conf, uint64_t number,
                 struct supply_slot *slot, int64_t due_ns);

/* [rt] What the display says of this trial; of any other it is ignored (returns 0). */
int trial_shown(struct trial *trial, const struct event *shown);
int trial_hidden(struct trial *trial, const struct event *hidden);

/* [rt] Something went wrong with it; the first reason counts. */
void trial_break(struct trial *trial, enum verdict why);

/* [rt] Its verdict by now, VERDICT_END while it is not decided; response: (n_units), when
 * it is valid. */
enum verdict trial_verdict(struct trial *trial, const struct trial_conf *conf,
                           struct sources *sources, int64_t now_ns, float *response);

#endif
