/*
 * bench_link.h: the display's end of the daemon, and a bare ZeroMQ echo to compare with.
 *
 * Memory: an event from bench_display_next() is valid until the next call.
 * Errors: NULL, 0 or -1.
 */
#ifndef EVOKE_BENCH_LINK_H
#define EVOKE_BENCH_LINK_H

#include "protocol/event.h"

/* [slow] Connect as a display to the daemon of this runtime folder. */
struct bench_display;
struct bench_display *bench_display_open(void);
void bench_display_close(struct bench_display *display);

/* [slow] Say something as the display; sequence number and epoch are added. */
void bench_display_say(struct bench_display *display, struct event *ev);

/* [slow] What the daemon says to the display, within so many ms: 1 or 0. */
int bench_display_next(struct bench_display *display, struct event *ev, int timeout_ms);

/* [slow] A thread that sends back what it gets, over ipc in this folder; size: of the
 * messages. The round trip: from before the send to after the receive, -1 if it failed. */
struct bench_echo;
struct bench_echo *bench_echo_open(const char *folder, size_t size);
void bench_echo_close(struct bench_echo *echo);
int64_t bench_echo_ns(struct bench_echo *echo);

#endif
