/*
 * rings.h: all rings between the daemon's threads, and what the watchdog looks at.
 *
 * Flow:   wire, main, workers, record -> loop -> wire, main, workers, record.
 * Owner:  main opens and closes; each ring has the producer and consumer of its name.
 * Memory: taken at start; touched, so that no page comes late.
 */
#ifndef EVOKE_RINGS_H
#define EVOKE_RINGS_H

#include <stdatomic.h>

#include "daemon/loop.h"
#include "protocol/ring.h"

#define RINGS_WORKERS 64

struct rings {
    int n_workers;
    /* to the loop, which sleeps on loop_wake */
    struct wake loop_wake;
    struct ring *wire_loop, *main_loop, *record_loop, *worker_loop[RINGS_WORKERS];
    /* from the loop */
    struct wake wire_wake, main_wake, worker_wake[RINGS_WORKERS];
    struct ring *loop_wire, *loop_main, *loop_record, *loop_worker[RINGS_WORKERS];
    size_t step_bytes; /* most that one step of the loop says, payloads and all */

    atomic_int stop;       /* set by main: every thread ends */
    atomic_int loop_ended; /* the loop thread said its last word */
    atomic_ulong ticks_wire, ticks_loop, ticks_record;
};

/* [slow] 0 or -errno. */
int rings_open(struct rings *rings, const struct loop_conf *conf);
void rings_close(struct rings *rings);

/* [any] Every thread shall end. */
void rings_stop(struct rings *rings);

#endif
