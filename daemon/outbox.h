/*
 * outbox.h: where one step of the loop puts what it says.
 *
 * Memory: the array is the caller's; payloads stay valid until the next step.
 * Errors: more than max events in one step is a bug.
 */
#ifndef EVOKE_OUTBOX_H
#define EVOKE_OUTBOX_H

#include <string.h>

#include "protocol/event.h"
#include "protocol/log.h"

struct outbox {
    struct event *events;
    int n, max;
    int64_t now_ns;
    uint64_t *seq; /* of the loop's own events */
};

/* [rt] Append an event of this type, stamped and numbered, to be filled in. */
static inline struct event *outbox_add(struct outbox *out, enum event_type type)
{
    struct event *ev;

    CHECK(out->n < out->max);
    ev = &out->events[out->n++];
    memset(ev, 0, sizeof(*ev));
    ev->type = (uint16_t)type;
    ev->time_ns = out->now_ns;
    ev->seq = (*out->seq)++;
    return ev;
}

#endif
