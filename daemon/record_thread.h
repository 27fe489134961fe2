/*
 * record_thread.h: empties the ring to the disk into the session file.
 *
 * Invariant: an event leaves the ring only when it is committed.
 */
#ifndef EVOKE_RECORD_THREAD_H
#define EVOKE_RECORD_THREAD_H

#include "daemon/record.h"
#include "daemon/rings.h"

struct record_thread {
    struct rings *rings;
    struct record *record;
    int complete; /* at its end: everything in the ring was written */
};

/* The thread: runs until rings->stop and the ring is empty (or cannot be written). */
void *record_thread_run(void *arg);

#endif
