/*
 * stage.h: a loop among a display, a rig and a worker that do what they are asked, in
 * virtual time; for tests of the loop.
 *
 * Flow:      stage_run() lets time pass: every millisecond each of them says what is due,
 *            and hears by loop_fold() what the loop says.
 * Invariant: of every trial told, stage.c checks that it was predicted by a model that
 *            had learned only those before, and that only valid ones are learned.
 */
#ifndef EVOKE_STAGE_H
#define EVOKE_STAGE_H

#include "daemon/conf.h"
#include "events.h"

#define STAGE_SAID   16384 /* most events kept */
#define STAGE_SHOWN  1024  /* most stimuli */
#define STAGE_PIXELS 16    /* 4 by 4 */
#define STAGE_UNITS  3
#define STAGE_JOBS   4

/* What goes wrong in trials, as long as it is set. */
enum stage_fault {
    STAGE_WELL,
    STAGE_NOT_SHOWN,
    STAGE_LATE,
    STAGE_LATE_AT_END,
    STAGE_WRONG,
    STAGE_NOT_HIDDEN
};

struct stage {
    struct conf conf;
    struct loop_conf loop_conf;
    struct loop *loop;
    struct model *model; /* another one, that learns by what the loop tells */
    int64_t now_ns;

    /* who is there */
    int display, rig, worker;
    enum stage_fault fault;

    /* of the display */
    uint32_t display_epoch;
    int asked;                   /* must answer a SCREEN */
    struct event present;        /* the last one */
    int to_send;                 /* it is on its way */
    int64_t shown_ns, hidden_ns; /* CLOCK_UNKNOWN: nothing due */
    int64_t onset_ns;
    /* of the rig: bins of 10 ms; sample s is at s ms */
    struct sender sender;
    int64_t sample;
    int n_lose; /* so many of its next messages are lost */
    /* of the workers */
    struct event jobs[STAGE_JOBS];
    int n_jobs;

    /* what the loop said, without payload; BEAT and STATUS only counted */
    struct event said[STAGE_SAID];
    int n_said, n_beats, n_statuses;
    uint64_t digest; /* of all of it, payloads too */
    struct {
        uint64_t hash;
        uint8_t pixels[STAGE_PIXELS];
        int n_sent, n_told;
    } stimuli[STAGE_SHOWN];
    int n_stimuli;
    uint64_t n_learned;
    unsigned state; /* as told */
};

/* ini: what differs from the stage's standard configuration; fill: what the loop's memory
 * holds before. */
struct stage *stage_open(const char *ini, int fill);
void stage_close(struct stage *stage);

/* Tell the loop one event, now. */
void stage_tell(struct stage *stage, struct event ev);

/* Let so many milliseconds pass. */
void stage_run(struct stage *stage, int ms);

/* Let time pass until the loop is in this state; 0 if it is not within 10 s. */
int stage_reach(struct stage *stage, enum loop_state state);

/* Bring a new stage into this state by the shortest way. */
void stage_go_to(struct stage *stage, enum loop_state state);

/* The next event of a type that was said from index *i on, which moves behind it; NULL if
 * there is none. */
const struct event *stage_next(const struct stage *stage, unsigned type, int *i);

/* How many of a type were said from index i on. */
int stage_count(const struct stage *stage, unsigned type, int i);

#endif
