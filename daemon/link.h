/*
 * link.h: the wire thread: moves messages between sockets and rings, and stamps them.
 *
 * Flow:   ingest and display sockets -> wire_loop ring; loop_wire ring -> display and
 *         publish sockets. Every TICK_NS a tick for the loop.
 * Owner:  main opens; then the thread alone has the sockets.
 * Errors: a message that is no event becomes EVENT_REJECT; nothing ends the thread.
 */
#ifndef EVOKE_LINK_H
#define EVOKE_LINK_H

#include "daemon/rings.h"

struct link;

/* [slow] Bind the sockets: ingest (PULL), display (ROUTER), publish (PUB). 0, or -errno
 * after one logged line. */
int link_open(struct link **link, struct rings *rings, const char *ingest,
              const char *display, const char *publish);
void link_close(struct link *link);

/* The thread: runs until rings->stop. arg: struct link. */
void *link_run(void *arg);

#endif
