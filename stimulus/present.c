#include "present.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "protocol/log.h"
#include "protocol/wire.h"

_Static_assert(PRESENT_N_SLOTS > PRESENT_N_QUEUE, "a slot is always free to be filled");

void present_init(struct present *present, double period_ns, int64_t silence_ns,
                  int64_t now_ns)
{
    CHECK(period_ns > 0.0);
    *present = (struct present){.period_ns = period_ns,
                                .silence_ns = silence_ns,
                                .heard_ns = now_ns,
                                .drawn = PRESENT_GREY};
}

static int find_slot(const struct present *present, uint64_t hash)
{
    for (int i = 0; i < PRESENT_N_SLOTS; i++)
        if (present->slots[i].age && present->slots[i].hash == hash)
            return i;
    return -ENOENT;
}

static int is_needed(const struct present *present, int slot)
{
    for (int i = 0; i < present->n_queue; i++)
        if (present->queue[i].slot == slot)
            return 1;
    return 0;
}

int present_store(struct present *present, const struct event *ev)
{
    uint64_t hash = ev->stimulus.hash;
    if (wire_hash_stimulus(ev->stimulus.height, ev->stimulus.width, ev->stimulus.dtype,
                           ev->data) != hash)
        return -EBADMSG;
    int slot = find_slot(present, hash);
    if (slot >= 0) {
        present->slots[slot].age = ++present->age;
        return -EEXIST;
    }
    for (int i = 0; i < PRESENT_N_SLOTS; i++)
        if (!is_needed(present, i) &&
            (slot < 0 || present->slots[i].age < present->slots[slot].age))
            slot = i;
    CHECK(slot >= 0);
    present->slots[slot] = (struct present_slot){.hash = hash, .age = ++present->age};
    return slot;
}

void present_forget(struct present *present, int slot)
{
    CHECK(!is_needed(present, slot));
    present->slots[slot] = (struct present_slot){0};
}

int present_request(struct present *present, const struct event *ev)
{
    int slot = find_slot(present, ev->present.hash);
    if (slot < 0)
        return slot;
    if (ev->present.duration_ns <= 0)
        return -EINVAL;
    if (present->n_queue == PRESENT_N_QUEUE)
        return -ENOSPC;
    double n_frames = round((double)ev->present.duration_ns / present->period_ns);
    present->queue[present->n_queue++] = (struct present_request){
        .trial = ev->present.trial,
        .hash = ev->present.hash,
        .not_before_ns = ev->present.not_before_ns,
        .requested_ns = CLOCK_UNKNOWN,
        .n_frames = (uint32_t)fmax(1.0, fmin(n_frames, UINT32_MAX)),
        .slot = slot};
    return 0;
}

void present_blank(struct present *present)
{
    present->n_queue = present->is_on;
    present->is_ended = 1;
}

void present_heard(struct present *present, int64_t now_ns)
{
    present->heard_ns = now_ns;
}

int present_is_silent(const struct present *present, int64_t now_ns)
{
    return now_ns - present->heard_ns > present->silence_ns;
}

/* The first refresh of the grid through due_ns that is not before the wanted time. */
static int64_t refresh_for(const struct present *present, int64_t not_before_ns,
                           int64_t due_ns)
{
    double ahead = (double)not_before_ns - (double)due_ns;
    if (ahead <= 0.0)
        return due_ns;
    double then = (double)due_ns + ceil(ahead / present->period_ns) * present->period_ns;
    return then < 9e18 ? due_ns + llround(then - (double)due_ns) : not_before_ns;
}

int present_next(struct present *present, int64_t now_ns, int64_t due_ns)
{
    if (present_is_silent(present, now_ns))
        present_blank(present);
    for (int i = 0; i < present->n_queue; i++)
        if (present->queue[i].requested_ns == CLOCK_UNKNOWN)
            present->queue[i].requested_ns =
                refresh_for(present, present->queue[i].not_before_ns, due_ns);

    int next = 0;
    if (present->is_on) {
        const struct present_request *on = &present->queue[0];
        int is_over = present->sequence + 1 - on->first >= on->n_frames;
        next = is_over || present->is_ended;
    }
    int is_due =
        next < present->n_queue &&
        ((next == 0 && present->is_on) || present->queue[next].not_before_ns <= due_ns);
    present->is_ended = 0;
    present->drawn = is_due ? next : PRESENT_GREY;
    return is_due ? present->queue[next].slot : PRESENT_GREY;
}

static struct event say_hidden(const struct present_request *request,
                               const struct flip *flip)
{
    struct event ev = {.type = EVENT_HIDDEN, .time_ns = flip->returned_ns};
    ev.hidden.trial = request->trial;
    ev.hidden.offset_ns = flip->onset_ns;
    ev.hidden.n_frames = (uint32_t)(flip->sequence - request->first);
    ev.hidden.n_late = request->n_missed;
    return ev;
}

static struct event say_shown(const struct present *present,
                              const struct present_request *request,
                              const struct flip *flip)
{
    struct event ev = {.type = EVENT_SHOWN, .time_ns = flip->returned_ns};
    double late =
        round((double)(flip->onset_ns - request->requested_ns) / present->period_ns);
    ev.shown.trial = request->trial;
    ev.shown.hash = request->hash;
    ev.shown.requested_ns = request->requested_ns;
    ev.shown.onset_ns = flip->onset_ns;
    ev.shown.uncertainty_ns = flip->uncertainty_ns;
    ev.shown.quality = flip->quality;
    ev.shown.n_late = (uint32_t)fmax(0.0, fmin(late, UINT32_MAX));
    return ev;
}

int present_flipped(struct present *present, const struct flip *flip, struct event *out)
{
    int n_out = 0;
    present->sequence = flip->sequence;
    if (present->is_on) {
        present->queue[0].n_missed += flip->n_missed;
        if (present->drawn != 0) {
            out[n_out++] = say_hidden(&present->queue[0], flip);
            present->n_queue--;
            memmove(&present->queue[0], &present->queue[1],
                    (size_t)present->n_queue * sizeof present->queue[0]);
            present->is_on = 0;
            present->drawn -= present->drawn > 0;
        }
    }
    if (present->drawn == 0 && !present->is_on) {
        present->queue[0].first = flip->sequence;
        present->is_on = 1;
        out[n_out++] = say_shown(present, &present->queue[0], flip);
    }
    return n_out;
}
