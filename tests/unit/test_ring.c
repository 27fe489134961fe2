#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/ring.h"

#define ROOM 8192

static struct ring *ring_new(struct wake *wake)
{
    return ring_init(aligned_alloc(64, ring_size(ROOM)), ROOM, wake);
}

/* Payload of event number i: its size and bytes follow from i. */
static uint32_t fill(uint64_t i, unsigned char *data)
{
    uint32_t size = (uint32_t)(i * 2654435761u >> 7) % 1500;
    memset(data, (int)(i % 251), size);
    return size;
}

static void check(uint64_t i, const struct event *ev)
{
    unsigned char data[1500];

    assert_int_equal(ev->seq, i);
    assert_int_equal(ev->data_size, fill(i, data));
    if (ev->data_size)
        assert_memory_equal(ev->data, data, ev->data_size);
}

/* What goes in comes out, in order, whole, whatever the sizes and the place in the
 * ring. */
static void keeps_order_and_bytes(void **state)
{
    struct ring *ring = ring_new(NULL);
    unsigned char data[1500];
    uint64_t in = 0, out = 0;

    (void)state;
    for (int turn = 0; turn < 5000; turn++) {
        int n = turn * 7919 % 9;
        for (int k = 0; k < n; k++) {
            struct event ev = {.type = EVENT_COUNTS, .seq = in, .data = data};
            ev.data_size = fill(in, data);
            int fits = ring_fits(ring, ev.data_size);
            assert_int_equal(ring_push(ring, &ev), fits);
            in += ring_take_lost(ring) == 0;
        }
        for (int k = 0; k < turn % 5 && ring_peek(ring); k++) {
            check(out++, ring_peek(ring));
            ring_drop(ring);
        }
    }
    while (ring_peek(ring)) {
        check(out++, ring_peek(ring));
        ring_drop(ring);
    }
    assert_int_equal(in, out);
    assert_true(in > 1000);
    free(ring);
}

static void full_ring_refuses_and_counts(void **state)
{
    struct ring *ring = ring_new(NULL);
    struct event ev = {.type = EVENT_TICK};
    int n = 0;

    (void)state;
    while (ring_push(ring, &ev))
        ev.seq = (uint64_t)++n;
    assert_true(n > 10);
    assert_false(ring_push(ring, &ev));
    assert_int_equal(ring_take_lost(ring), 2);
    assert_int_equal(ring_take_lost(ring), 0);
    for (int i = 0; i < n; i++) {
        assert_int_equal(ring_peek(ring)->seq, i);
        ring_drop(ring);
    }
    assert_null(ring_peek(ring));
    free(ring);
}

/* A cursor reads on while everything stays, and can begin again. */
static void cursor_gives_nothing_up(void **state)
{
    struct ring *ring = ring_new(NULL);
    struct event ev = {.type = EVENT_TICK};

    (void)state;
    for (ev.seq = 0; ev.seq < 8; ev.seq++)
        assert_true(ring_push(ring, &ev));
    for (int pass = 0; pass < 2; pass++) {
        uint64_t cursor = ring_start(ring);
        for (uint64_t i = 0; i < 8; i++)
            assert_int_equal(ring_read(ring, &cursor)->seq, i);
        assert_null(ring_read(ring, &cursor));
        if (pass == 1)
            ring_drop_to(ring, cursor);
    }
    assert_null(ring_peek(ring));
    free(ring);
}

#define N_SENT 200000

static void *produce(void *arg)
{
    struct ring *ring = arg;
    unsigned char data[1500];

    for (uint64_t i = 0; i < N_SENT;) {
        struct event ev = {.type = EVENT_COUNTS, .seq = i, .data = data};
        ev.data_size = fill(i, data);
        if (ring_push(ring, &ev))
            i++;
        else
            sched_yield();
    }
    return NULL;
}

/* Two threads, a sleeping consumer: nothing is lost, no signal either. */
static void threads_lose_nothing(void **state)
{
    struct wake wake;
    struct ring *ring;
    pthread_t producer;

    (void)state;
    wake_init(&wake);
    ring = ring_new(&wake);
    assert_int_equal(pthread_create(&producer, NULL, produce, ring), 0);
    for (uint64_t i = 0; i < N_SENT; i++) {
        while (!ring_peek(ring))
            wake_wait(&wake, 5000000000);
        check(i, ring_peek(ring));
        ring_drop(ring);
    }
    pthread_join(producer, NULL);
    assert_null(ring_peek(ring));
    free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_bytes),
        cmocka_unit_test(full_ring_refuses_and_counts),
        cmocka_unit_test(cursor_gives_nothing_up),
        cmocka_unit_test(threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
