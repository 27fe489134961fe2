/*
 * present.h: what the display shows in the next frame and what it reports: pure.
 *
 * Flow:      daemon's events -> present_store(), present_request(), present_blank();
 *            each frame present_next() -> drawing and flip -> present_flipped() -> events.
 * Owner:     the display's one thread; memory is the caller's, of fixed size.
 * Units:     ns of CLOCK_MONOTONIC, given by the caller: no clock inside; durations are
 *            counted in refreshes.
 * Errors:    a request that cannot be met is refused (-errno) and never reported as shown.
 * Invariant: SHOWN is said only of a stimulus whose pixels had the hash that the request
 *            names; each SHOWN is followed by one HIDDEN, from the flip that removed it.
 */
#ifndef EVOKE_PRESENT_H
#define EVOKE_PRESENT_H

#include "flip.h"
#include "protocol/event.h"

#define PRESENT_N_SLOTS 32 /* stimuli kept ready */
#define PRESENT_N_QUEUE 8  /* requests waiting, and the one on the screen */
#define PRESENT_MAX_OUT 2  /* events that one flip can cause */
#define PRESENT_GREY    (-1)

struct present_slot {
    uint64_t hash;
    uint64_t age; /* when it was last sent; 0: empty */
};

struct present_request {
    uint64_t trial, hash;
    int64_t not_before_ns;
    int64_t
        requested_ns;  /* refresh that it is meant for; CLOCK_UNKNOWN until looked at */
    uint64_t first;    /* sequence of the refresh that showed it */
    uint32_t n_frames; /* wanted */
    uint32_t n_missed; /* while it was on */
    int slot;
};

struct present {
    double period_ns;
    int64_t silence_ns;
    int64_t heard_ns;  /* last word of the daemon */
    uint64_t sequence; /* of the last flip */
    uint64_t age;
    int is_on;    /* queue[0] is on the screen */
    int drawn;    /* queue[drawn] is in the frame being drawn, or PRESENT_GREY */
    int is_ended; /* whatever is on goes with the next flip */
    int n_queue;
    struct present_slot slots[PRESENT_N_SLOTS];
    struct present_request queue[PRESENT_N_QUEUE];
};

/* [rt] Start with an empty store and grey. */
void present_init(struct present *present, double period_ns, int64_t silence_ns,
                  int64_t now_ns);

/* [rt] EVENT_STIMULUS: the slot its pixels belong into. The oldest that no request needs
 * is replaced. -EEXIST: they are there already; -EBADMSG: the pixels do not have the
 * hash. */
int present_store(struct present *present, const struct event *ev);

/* [rt] The slot could not be filled after all. */
void present_forget(struct present *present, int slot);

/* [rt] EVENT_PRESENT: queue it behind those before it; nothing but a blank cuts a
 * stimulus short. It is shown at the first flip that is due at or after not_before_ns; who
 * wants one certain refresh asks for half a period before it. 0; -ENOENT: no such stimulus here; -ENOSPC: too many wait; -EINVAL: no
 * duration. */
int present_request(struct present *present, const struct event *ev);

/* [rt] Grey from the next flip on; waiting requests are dropped. */
void present_blank(struct present *present);

/* [rt] The daemon said something. */
void present_heard(struct present *present, int64_t now_ns);

/* [rt] Has it been silent for too long? */
int present_is_silent(const struct present *present, int64_t now_ns);

/* [rt] Slot to draw for the flip that is due then, or PRESENT_GREY. */
int present_next(struct present *present, int64_t now_ns, int64_t due_ns);

/* [rt] That frame was flipped: out takes up to PRESENT_MAX_OUT events, first HIDDEN then
 * SHOWN (type, time_ns and fields; the sender adds the rest). Returns how many. */
int present_flipped(struct present *present, const struct flip *flip, struct event *out);

#endif
