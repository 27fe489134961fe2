#include "rings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/memory.h"

static size_t power_of_two(size_t at_least)
{
    size_t room = 1 << 16;
    while (room < at_least)
        room *= 2;
    return room;
}

static struct ring *ring_open(size_t room, struct wake *wake)
{
    void *mem = memory_open(ring_size(power_of_two(room)));
    return mem ? ring_init(mem, power_of_two(room), wake) : NULL;
}

int rings_open(struct rings *rings, const struct loop_conf *conf)
{
    size_t pixels = (size_t)conf->model.height * (size_t)conf->model.width;
    size_t counts = (size_t)conf->model.n_units * sizeof(float);
    size_t head = sizeof(struct event) + 128;
    int complete;

    memset(rings, 0, sizeof(*rings));
    rings->n_workers = conf->trial.external ? 0 : conf->supply.n_workers;
    /* a display that begins anew is sent all stimuli that are ready in one step */
    rings->step_bytes = LOOP_OUT_MAX * head + 2 * counts +
                        (size_t)(conf->supply.n_ahead + rings->n_workers + 2) * pixels;
    wake_init(&rings->loop_wake);
    wake_init(&rings->wire_wake);
    wake_init(&rings->main_wake);
    if (wake_open(&rings->wire_wake) || wake_open(&rings->main_wake)) {
        rings_close(rings);
        return -EMFILE;
    }
    rings->wire_loop =
        ring_open(4 * (counts + 4 * pixels) + (32u << 20), &rings->loop_wake);
    rings->main_loop = ring_open(1 << 16, &rings->loop_wake);
    rings->record_loop = ring_open(1 << 16, &rings->loop_wake);
    rings->loop_wire = ring_open(8 * rings->step_bytes, &rings->wire_wake);
    rings->loop_main = ring_open(8 * rings->step_bytes, &rings->main_wake);
    rings->loop_record = ring_open(16 * rings->step_bytes + (64u << 20), NULL);
    complete = rings->wire_loop && rings->main_loop && rings->record_loop &&
               rings->loop_wire && rings->loop_main && rings->loop_record;
    for (int i = 0; i < rings->n_workers; i++) {
        wake_init(&rings->worker_wake[i]);
        rings->worker_loop[i] = ring_open(4 * (pixels + head), &rings->loop_wake);
        rings->loop_worker[i] = ring_open(1 << 16, &rings->worker_wake[i]);
        complete = complete && rings->worker_loop[i] && rings->loop_worker[i];
    }
    if (!complete) {
        rings_close(rings);
        return -ENOMEM;
    }
    return 0;
}

void rings_close(struct rings *rings)
{
    wake_close(&rings->wire_wake);
    wake_close(&rings->main_wake);
    free(rings->wire_loop);
    free(rings->main_loop);
    free(rings->record_loop);
    free(rings->loop_wire);
    free(rings->loop_main);
    free(rings->loop_record);
    for (int i = 0; i < rings->n_workers; i++) {
        free(rings->worker_loop[i]);
        free(rings->loop_worker[i]);
    }
    memset(rings, 0, sizeof(*rings));
}

void rings_stop(struct rings *rings)
{
    atomic_store(&rings->stop, 1);
    wake_signal(&rings->loop_wake);
    wake_signal(&rings->wire_wake);
    for (int i = 0; i < rings->n_workers; i++)
        wake_signal(&rings->worker_wake[i]);
}
