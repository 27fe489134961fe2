/*
 * record.h: the session file, written. One thread, the only writing SQLite handle.
 *
 * Flow:      ring of events -> record_put() -> rows; record_commit() every so often.
 * Owner:     the record thread, between record_open() and record_close().
 * Errors:    -errno (-ENOSPC when the disk is full), with one line logged where it
 *            happened; SQLite may then have undone the whole open transaction, so the
 *            caller keeps its events until they are committed.
 * Invariant: rows are in the order of the loop; what record_commit() returned for
 *            survives SIGKILL; nothing is ever dropped here.
 */
#ifndef EVOKE_RECORD_H
#define EVOKE_RECORD_H

#include "protocol/event.h"

struct record;

/* [slow] Make a new session file; it must not exist. */
int record_open(struct record **record, const char *path);

/* [slow] Commit what is open and close; NULL is fine. */
void record_close(struct record *record);

/* [slow] A line of meta; a later value replaces an earlier one. */
int record_meta(struct record *record, const char *key, const char *value);

/* [slow] A blob by hash. */
int record_blob(struct record *record, uint64_t hash, const char *kind, const void *body,
                size_t size);

/* [slow] The next event. */
int record_put(struct record *record, const struct event *ev);

/* [slow] Make what was put durable; cheap when there is nothing. After an error all that
 * was put since the last commit is undone and must be put again. */
int record_commit(struct record *record);

/* [slow] Undo what was put since the last commit. */
void record_rollback(struct record *record);

#endif
