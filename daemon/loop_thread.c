#include "loop_thread.h"

#include "daemon/route.h"
#include "models/ops.h"
#include "protocol/clock.h"

#define WAIT_NS (100 * NS_PER_MS) /* longest sleep: the watchdog looks at the ticks */
#define ROOM_NS NS_PER_MS         /* between two looks for room on the way to the disk */

static void push(struct loop_thread *thread, struct ring *ring, enum ring_name name,
                 const struct event *ev)
{
    if (ring_push(ring, ev))
        return;
    thread->lost.type = EVENT_LOST;
    thread->lost.lost.ring = name;
    thread->lost.lost.n_lost++;
}

static void send_on(struct loop_thread *thread, const struct event *ev)
{
    struct rings *rings = thread->rings;
    unsigned route = route_of(ev->type);

    if (route & (ROUTE_DISPLAY | ROUTE_PUBLISH))
        push(thread, rings->loop_wire, RING_LOOP_WIRE, ev);
    if (route & ROUTE_WORKER)
        push(thread, rings->loop_worker[ev->job.slot], RING_LOOP_WORKER, ev);
    if (route & ROUTE_MAIN)
        ring_push(rings->loop_main, ev); /* only for the eye: may be dropped */
}

/* What the loop says: on its way first, then to the disk. */
static void emit(void *context, const struct event *ev)
{
    struct loop_thread *thread = context;

    send_on(thread, ev);
    if ((route_of(ev->type) & (ROUTE_RECORD | ROUTE_SAID)) == (ROUTE_RECORD | ROUTE_SAID))
        CHECK(ring_push(thread->rings->loop_record, ev));
}

/* Wait until the disk has room for a step; 0 when the daemon stops before. */
static int await_room(struct loop_thread *thread, size_t data_size)
{
    while (
        !ring_fits(thread->rings->loop_record, thread->rings->step_bytes + data_size)) {
        if (atomic_load(&thread->rings->stop))
            return 0;
        /* alive: it waits for the disk, and a restart would not help */
        atomic_fetch_add_explicit(&thread->rings->ticks_loop, 1, memory_order_relaxed);
        wake_wait(&thread->rings->loop_wake, ROOM_NS);
    }
    return 1;
}

static void fold(struct loop_thread *thread, const struct event *in)
{
    struct event out[LOOP_OUT_MAX], more = {.type = EVENT_NONE, .time_ns = in->time_ns};
    int n;

    if (!await_room(thread, in->data_size))
        return;
    CHECK(ring_push(thread->rings->loop_record, in));
    if (route_of(in->type) & (ROUTE_PUBLISH | ROUTE_MAIN) && in->type != EVENT_BEAT)
        send_on(thread, in);
    n = loop_step(thread->loop, in, out, LOOP_OUT_MAX);
    for (int i = 0; i < n; i++)
        emit(thread, &out[i]);
    while (loop_has_more(thread->loop) && await_room(thread, 0)) {
        n = loop_step(thread->loop, &more, out, LOOP_OUT_MAX);
        for (int i = 0; i < n; i++)
            emit(thread, &out[i]);
    }
}

/* Fold the oldest event of a ring; 0 if there is none. */
static int turn(struct loop_thread *thread, struct ring *ring)
{
    const struct event *ev = ring_peek(ring);

    if (!ev)
        return 0;
    fold(thread, ev);
    ring_drop(ring);
    return 1;
}

void *loop_thread_run(void *arg)
{
    struct loop_thread *thread = arg;
    struct rings *rings = thread->rings;

    ops_flush_denormals();
    while (!atomic_load(&rings->stop)) {
        int n = turn(thread, rings->wire_loop) + turn(thread, rings->main_loop) +
                turn(thread, rings->record_loop);
        for (int i = 0; i < rings->n_workers; i++)
            n += turn(thread, rings->worker_loop[i]);
        if (thread->lost.type == EVENT_LOST) {
            struct event lost = thread->lost;
            thread->lost = (struct event){.type = EVENT_NONE};
            lost.time_ns = clock_now_ns();
            fold(thread, &lost);
            n++;
        }
        atomic_fetch_add_explicit(&rings->ticks_loop, 1, memory_order_relaxed);
        if (n == 0)
            wake_wait(&rings->loop_wake, WAIT_NS);
    }
    return NULL;
}
