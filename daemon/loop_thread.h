/*
 * loop_thread.h: drives the loop with what the rings bring, and sends on what it says.
 *
 * Owner:     the loop thread, real-time: no allocation, no lock, no I/O; it sleeps on one
 *            futex.
 * Invariant: an event is folded only when it and all that one step can say fit into the
 *            ring to the disk: what is not recorded does not happen (ARCHITECTURE.md, I4).
 */
#ifndef EVOKE_LOOP_THREAD_H
#define EVOKE_LOOP_THREAD_H

#include "daemon/rings.h"

struct loop_thread {
    struct rings *rings;
    struct loop *loop;
    struct event lost; /* a ring was full: told to the loop at the next turn */
};

/* The thread: runs until rings->stop. arg: struct loop_thread. */
void *loop_thread_run(void *arg);

#endif
