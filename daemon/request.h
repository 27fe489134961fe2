/*
 * request.h: what the control socket is asked, and the answers; JSON in, JSON out.
 *
 * Flow:   events from the loop -> request_tell(); a request -> request_answer() -> a
 *         reply and, for some, a command for the loop.
 * Owner:  the main thread.
 * Errors: total: any bytes give a reply; {"ok": false, "error": "..."} says what to
 *         change.
 */
#ifndef EVOKE_REQUEST_H
#define EVOKE_REQUEST_H

#include "daemon/conf.h"
#include "protocol/hist.h"

struct request {
    const struct conf *conf;
    const char *session; /* path of the session file */
    int64_t started_ns;
    uint64_t counters[COUNTER_END];
    unsigned state;
    char why[256];              /* of the state */
    struct event trial;         /* the last one, without payload */
    double observed, predicted; /* of its unit, or the mean over units */
    struct event model, display;
    char driver[64];
    struct hist latency; /* last count received to stimulus command sent */
};

void request_init(struct request *request, const struct conf *conf, const char *session,
                  int64_t now_ns);

/* [any] Keep what the loop said. */
void request_tell(struct request *request, const struct event *ev);

/* [slow] Answer one request. reply: to be freed by the caller. command: type EVENT_NONE
 * if the loop has nothing to do; its payload lies in note (at least CONF_TEXT bytes). */
char *request_answer(const struct request *request, const char *text, size_t size,
                     int64_t now_ns, struct event *command, char *note);

#endif
