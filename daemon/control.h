/*
 * control.h: the control socket (REP): takes requests, gives answers (request.h).
 *
 * Owner: the main thread. Errors: -errno after one logged line.
 */
#ifndef EVOKE_CONTROL_H
#define EVOKE_CONTROL_H

#include "daemon/request.h"
#include "protocol/ring.h"

struct control;

/* [slow] */
int control_open(struct control **control, const char *endpoint);
void control_close(struct control *control);

/* [slow] Sleep until a request comes, fd or signal_fd can be read, or so many ms pass;
 * answers what came. Commands go into the ring. */
void control_serve(struct control *control, struct request *request,
                   struct ring *commands, int fd, int signal_fd, int timeout_ms);

#endif
