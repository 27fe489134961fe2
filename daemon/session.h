/*
 * session.h: the session file, read.
 *
 * Flow:   session_open() -> session_meta(), session_next() ... -> session_close().
 * Memory: an event from session_next() is valid until the next call.
 * Errors: -errno and one line of text; a damaged row is -EBADMSG and names itself.
 */
#ifndef EVOKE_SESSION_H
#define EVOKE_SESSION_H

#include "protocol/event.h"

struct session;

/* [slow] Read-only; works on a session that is being written, or was killed. */
int session_open(struct session **session, const char *path, char *text, size_t size);
void session_close(struct session *session);

/* [slow] A meta value, NULL if there is none; valid until the next call. */
const char *session_meta(struct session *session, const char *key);

/* [slow] A blob by hash: 0, or -ENOENT; valid until the next call. */
int session_blob(struct session *session, uint64_t hash, const void **body, size_t *size);

/* [slow] Events from the first on; only of this type, or all (EVENT_NONE). */
int session_rewind(struct session *session, unsigned type);

/* [slow] The next event and its row: 1, 0 at the end, -EBADMSG. check: also hold the row
 * against the chain of hashes (all types only). */
int session_next(struct session *session, struct event *ev, int64_t *id, int check,
                 char *text, size_t size);

/* [any] Hash of all that session_next() gave since the first event. */
uint64_t session_chain(const struct session *session);

#endif
