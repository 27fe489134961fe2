/*
 * ring.h: the one way from thread to thread: a single-producer single-consumer ring of
 * events.
 *
 * Owner:     one thread pushes, one other peeks and drops; nobody else.
 * Memory:    caller's, ring_size() bytes; an event's payload is copied in.
 * Errors:    a full ring refuses (returns 0) and counts; nothing is ever overwritten. An
 *            event larger than half of the room may never fit.
 * Invariant: wait-free on both sides: no lock, no allocation, no system call, except
 *            the wake-up of a consumer that sleeps (wake.h).
 */
#ifndef EVOKE_RING_H
#define EVOKE_RING_H

#include "event.h"
#include "wake.h"

struct ring;

/* [any] Bytes that a ring with so many bytes of room needs (room: a power of two). */
size_t ring_size(size_t room);

/* [any] Lay a ring into mem (64-byte aligned); wake may be NULL. */
struct ring *ring_init(void *mem, size_t room, struct wake *wake);

/* [rt] producer: copy an event in; 1 done, 0 full (counted). */
int ring_push(struct ring *ring, const struct event *ev);

/* [rt] producer: would an event with so many bytes of payload fit now? */
int ring_fits(const struct ring *ring, size_t data_size);

/* [rt] producer: refused pushes since the last call. */
uint64_t ring_take_lost(struct ring *ring);

/* [rt] consumer: the oldest event, or NULL; valid until ring_drop(). */
const struct event *ring_peek(struct ring *ring);

/* [rt] consumer: done with the event that ring_peek() gave. */
void ring_drop(struct ring *ring);

/* [rt] consumer: read on without giving up what was read: ring_start() gives a cursor at
 * the oldest event, ring_read() the event there (or NULL) and moves it on,
 * ring_drop_to() is done with all before it. */
uint64_t ring_start(const struct ring *ring);
const struct event *ring_read(struct ring *ring, uint64_t *cursor);
void ring_drop_to(struct ring *ring, uint64_t cursor);

#endif
