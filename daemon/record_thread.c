#include "record_thread.h"

#include "protocol/clock.h"

#define COMMIT_NS (20 * NS_PER_MS)  /* between two commits */
#define RETRY_NS  (200 * NS_PER_MS) /* between two attempts when the disk refuses */
#define GIVE_UP   10                /* attempts after the stop */
#define BATCH     4096              /* events of one commit */

/* Write what is in the ring and commit it; number of events, or -errno and all of them
 * stay. */
static int write_batch(struct record_thread *thread)
{
    struct ring *ring = thread->rings->loop_record;
    uint64_t cursor = ring_start(ring), done = cursor;
    const struct event *ev;
    int n = 0, error = 0;

    while (n < BATCH && !error && (ev = ring_read(ring, &cursor))) {
        error = record_put(thread->record, ev);
        done = cursor;
        n++;
    }
    if (!error)
        error = record_commit(thread->record);
    if (error) {
        record_rollback(thread->record);
        return error;
    }
    if (n > 0)
        ring_drop_to(ring, done);
    return n;
}

void *record_thread_run(void *arg)
{
    struct record_thread *thread = arg;
    struct rings *rings = thread->rings;
    int n_failed = 0;

    for (;;) {
        int stop = atomic_load(&rings->loop_ended);
        int n = write_batch(thread);
        atomic_fetch_add_explicit(&rings->ticks_record, 1, memory_order_relaxed);
        if (n < 0) { /* the loop shall show nothing, as long as this lasts */
            struct event lost = {.type = EVENT_LOST, .time_ns = clock_now_ns()};
            lost.lost.ring = RING_LOOP_RECORD;
            ring_push(rings->record_loop, &lost);
        }
        n_failed = n < 0 ? n_failed + 1 : 0;
        if (stop && (n == 0 || n_failed > GIVE_UP))
            break;
        if (n < BATCH)
            clock_sleep_until_ns(clock_now_ns() + (n < 0 ? RETRY_NS : COMMIT_NS));
    }
    thread->complete = n_failed == 0;
    return NULL;
}
