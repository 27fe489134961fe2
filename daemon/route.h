/*
 * route.h: which event goes where. The only place that knows.
 */
#ifndef EVOKE_ROUTE_H
#define EVOKE_ROUTE_H

#include "protocol/event.h"

enum route {
    ROUTE_RECORD = 1,  /* to disk */
    ROUTE_DISPLAY = 2, /* to the display */
    ROUTE_PUBLISH = 4, /* to whoever follows */
    ROUTE_WORKER = 8,
    ROUTE_MAIN = 16, /* to the control thread, for `evoke status` */
    ROUTE_SAID = 32  /* the loop says it; else it is told to the loop */
};

/* [rt] All ways of events of this type. */
static inline unsigned route_of(unsigned type)
{
    switch (type) {
    case EVENT_COUNTS:
    case EVENT_EDGE:
    case EVENT_EXTERNAL:
    case EVENT_TICK:
    case EVENT_REJECT:
    case EVENT_SENT:
    case EVENT_RESULT:
    case EVENT_LOST:
        return ROUTE_RECORD;
    case EVENT_TRUTH:
    case EVENT_COMMAND:
        return ROUTE_RECORD | ROUTE_PUBLISH;
    case EVENT_SHOWN:
    case EVENT_HIDDEN:
        return ROUTE_RECORD | ROUTE_PUBLISH;
    case EVENT_DISPLAY:
        return ROUTE_RECORD | ROUTE_PUBLISH | ROUTE_MAIN;
    case EVENT_BEAT: /* both ways; as something told it is recorded, see record.c */
        return ROUTE_RECORD | ROUTE_DISPLAY;
    case EVENT_SCREEN:
    case EVENT_BLANK:
        return ROUTE_RECORD | ROUTE_DISPLAY | ROUTE_SAID;
    case EVENT_STIMULUS:
    case EVENT_PRESENT:
        return ROUTE_RECORD | ROUTE_DISPLAY | ROUTE_PUBLISH | ROUTE_SAID;
    case EVENT_JOB:
        return ROUTE_RECORD | ROUTE_WORKER | ROUTE_SAID;
    case EVENT_TRIAL:
    case EVENT_STATE:
    case EVENT_MODEL:
        return ROUTE_RECORD | ROUTE_PUBLISH | ROUTE_MAIN | ROUTE_SAID;
    case EVENT_STATUS:
        return ROUTE_PUBLISH | ROUTE_MAIN | ROUTE_SAID;
    default:
        return 0;
    }
}

#endif
