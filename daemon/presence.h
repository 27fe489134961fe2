/*
 * presence.h: is the display there, is it set up, is it good enough.
 *
 * Flow:  DISPLAY and BEAT events and ticks in; presence_is_lost() tells when it went.
 * Owner: the loop. Memory: caller's.
 */
#ifndef EVOKE_PRESENCE_H
#define EVOKE_PRESENCE_H

#include "protocol/event.h"

struct presence {
    int known; /* it spoke lately */
    int ready; /* it is set up as asked, and its flip times are good enough */
    int poor;  /* it is set up, but they are not */
    uint32_t epoch;
    int64_t heard_ns;
};

enum presence_news {
    PRESENCE_SAME,
    PRESENCE_ASKS,  /* it must be told how to set up its screen */
    PRESENCE_READY, /* it just became ready: it knows no stimulus yet */
};

/* [rt] It spoke. lost: it is another one, or begins again, without having said good-bye. */
enum presence_news presence_hear(struct presence *presence, const struct event *ev,
                                 int min_quality, int *lost);

/* [rt] Silent for longer than that by now? Then it is no longer known. */
int presence_is_lost(struct presence *presence, int64_t now_ns, int64_t silence_ns);

#endif
