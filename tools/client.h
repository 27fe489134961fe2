/*
 * client.h: a client's end of the running daemon: follow what it publishes, send as a
 * rig, ask and command.
 *
 * Memory: an event from client_next() is valid until the next call.
 * Errors: NULL, 0 or -1 with errno; a message that is no event is skipped.
 */
#ifndef EVOKE_CLIENT_H
#define EVOKE_CLIENT_H

#include "daemon/conf.h"

struct client;

/* [slow] Follow the daemon of this runtime folder; with ingest, an endpoint ("" for the
 * runtime folder's own, NULL for none), also send to it as a rig. */
struct client *client_open(const char *ingest);
void client_close(struct client *client);

/* [slow] Sleep until something was published or so many ms. */
void client_wait(struct client *client, int timeout_ms);

/* [slow] The next event that was published, without waiting: 1 or 0. */
int client_next(struct client *client, struct event *ev);

/* [slow] Send an event as a rig: 1, or 0 if the daemon takes no more just now. */
int client_send(struct client *client, const struct event *ev);

/* [slow] One request on the control socket: the reply, to be freed; NULL if no daemon
 * answered within so many ms. */
char *client_ask(const char *request, int timeout_ms);

#endif
