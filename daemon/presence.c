#include "presence.h"

enum presence_news presence_hear(struct presence *presence, const struct event *ev,
                                 int min_quality, int *lost)
{
    int was_ready;

    *lost = presence->known && ev->epoch != presence->epoch;
    if (ev->type == EVENT_BEAT) {
        /* from one that was there before us, or came back: it shall say what it is */
        if (!presence->known || *lost) {
            presence->known = presence->ready = 0;
            return PRESENCE_ASKS;
        }
        presence->heard_ns = ev->time_ns;
        return PRESENCE_SAME;
    }
    was_ready = presence->ready && !*lost;
    presence->known = 1;
    presence->epoch = ev->epoch;
    presence->heard_ns = ev->time_ns;
    presence->ready = ev->display.width_px > 0 && (int)ev->display.quality >= min_quality;
    presence->poor = ev->display.width_px > 0 && !presence->ready;
    if (ev->display.width_px == 0)
        return PRESENCE_ASKS;
    return presence->ready && !was_ready ? PRESENCE_READY : PRESENCE_SAME;
}

int presence_is_lost(struct presence *presence, int64_t now_ns, int64_t silence_ns)
{
    if (!presence->known || now_ns - presence->heard_ns <= silence_ns)
        return 0;
    presence->known = presence->ready = 0;
    return 1;
}
