#include "ring.h"

#include <stdatomic.h>
#include <string.h>

#include "log.h"

#define ALIGN 64

/* An event lies in one piece: struct event, then its payload, rounded up to ALIGN. One
 * that would not fit before the end of the room is put at its start; a record of size 0
 * says so to the consumer. */
struct record {
    uint64_t size; /* of the whole record; 0: go on at the start */
    struct event ev;
};

struct ring {
    _Alignas(ALIGN) _Atomic uint64_t head; /* producer writes */
    uint64_t tail_seen;                    /* producer's last look at tail */
    uint64_t lost;
    _Alignas(ALIGN) _Atomic uint64_t tail; /* consumer writes */
    _Alignas(ALIGN) uint64_t room;
    struct wake *wake;
    _Alignas(ALIGN) unsigned char bytes[];
};

size_t ring_size(size_t room)
{
    return sizeof(struct ring) + room;
}

struct ring *ring_init(void *mem, size_t room, struct wake *wake)
{
    struct ring *ring = mem;

    CHECK(room >= 4096 && (room & (room - 1)) == 0);
    CHECK((uintptr_t)mem % ALIGN == 0);
    memset(ring, 0, ring_size(room)); /* touches every page before the session */
    ring->room = room;
    ring->wake = wake;
    return ring;
}

static uint64_t record_size(size_t data_size)
{
    return (sizeof(struct record) + data_size + ALIGN - 1) / ALIGN * ALIGN;
}

/* Where a record of this size would go: bytes to skip first, or -1 if it does not fit. */
static int64_t place(struct ring *ring, uint64_t head, uint64_t size)
{
    uint64_t at = head & (ring->room - 1);
    uint64_t skip = at + size > ring->room ? ring->room - at : 0;

    if (head + skip + size - ring->tail_seen > ring->room) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head + skip + size - ring->tail_seen > ring->room)
            return -1;
    }
    return (int64_t)skip;
}

int ring_fits(const struct ring *ring, size_t data_size)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    return place((struct ring *)ring, head, record_size(data_size)) >= 0;
}

int ring_push(struct ring *ring, const struct event *ev)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t size = record_size(ev->data_size);
    int64_t skip = place(ring, head, size);
    struct record *record;

    if (skip < 0) {
        ring->lost++;
        return 0;
    }
    if (skip > 0) {
        record = (struct record *)(ring->bytes + (head & (ring->room - 1)));
        record->size = 0;
        head += (uint64_t)skip;
    }
    record = (struct record *)(ring->bytes + (head & (ring->room - 1)));
    record->size = size;
    record->ev = *ev;
    record->ev.data = NULL;
    if (ev->data_size > 0) {
        memcpy(record + 1, ev->data, ev->data_size);
        record->ev.data = record + 1;
    }
    atomic_store_explicit(&ring->head, head + size, memory_order_release);
    if (ring->wake)
        wake_signal(ring->wake);
    return 1;
}

uint64_t ring_take_lost(struct ring *ring)
{
    uint64_t lost = ring->lost;
    ring->lost = 0;
    return lost;
}

uint64_t ring_start(const struct ring *ring)
{
    return atomic_load_explicit(&ring->tail, memory_order_relaxed);
}

const struct event *ring_read(struct ring *ring, uint64_t *cursor)
{
    struct record *record;

    if (*cursor == atomic_load_explicit(&ring->head, memory_order_acquire))
        return NULL;
    record = (struct record *)(ring->bytes + (*cursor & (ring->room - 1)));
    if (record->size == 0) {
        *cursor += ring->room - (*cursor & (ring->room - 1));
        record = (struct record *)ring->bytes;
    }
    *cursor += record->size;
    return &record->ev;
}

void ring_drop_to(struct ring *ring, uint64_t cursor)
{
    atomic_store_explicit(&ring->tail, cursor, memory_order_release);
}

const struct event *ring_peek(struct ring *ring)
{
    uint64_t cursor = ring_start(ring);
    return ring_read(ring, &cursor);
}

void ring_drop(struct ring *ring)
{
    uint64_t cursor = ring_start(ring);
    CHECK(ring_read(ring, &cursor) != NULL);
    ring_drop_to(ring, cursor);
}
