/*
 * notify.h: the service manager's notification protocol (sd_notify), without its library.
 */
#ifndef EVOKE_NOTIFY_H
#define EVOKE_NOTIFY_H

/* [slow] "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=..."; nothing happens where
 * $NOTIFY_SOCKET is not set. */
void notify_service(const char *state);

#endif
