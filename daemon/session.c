#include "session.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/wire.h"

struct session {
    sqlite3 *db;
    sqlite3_stmt *meta, *blob, *events;
    uint64_t chain;
};

int session_open(struct session **out, const char *path, char *text, size_t size)
{
    struct session *session = calloc(1, sizeof(*session));

    if (!session)
        return -ENOMEM;
    if (sqlite3_open_v2(path, &session->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(session->db, "SELECT value FROM meta WHERE key = ?", -1,
                           &session->meta, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(session->db, "SELECT body FROM blob WHERE hash = ?", -1,
                           &session->blob, NULL) != SQLITE_OK) {
        snprintf(text, size, "%s is no session file: %s", path,
                 sqlite3_errmsg(session->db));
        session_close(session);
        return -EINVAL;
    }
    if (session_rewind(session, EVENT_NONE) != 0) {
        snprintf(text, size, "%s is no session file: it has no events", path);
        session_close(session);
        return -EINVAL;
    }
    *out = session;
    return 0;
}

void session_close(struct session *session)
{
    if (!session)
        return;
    sqlite3_finalize(session->meta);
    sqlite3_finalize(session->blob);
    sqlite3_finalize(session->events);
    sqlite3_close(session->db);
    free(session);
}

const char *session_meta(struct session *session, const char *key)
{
    sqlite3_reset(session->meta);
    sqlite3_bind_text(session->meta, 1, key, -1, SQLITE_TRANSIENT);
    return sqlite3_step(session->meta) == SQLITE_ROW
               ? (const char *)sqlite3_column_text(session->meta, 0)
               : NULL;
}

int session_blob(struct session *session, uint64_t hash, const void **body, size_t *size)
{
    sqlite3_reset(session->blob);
    sqlite3_bind_int64(session->blob, 1, (int64_t)hash);
    if (sqlite3_step(session->blob) != SQLITE_ROW)
        return -ENOENT;
    *body = sqlite3_column_blob(session->blob, 0);
    *size = (size_t)sqlite3_column_bytes(session->blob, 0);
    return 0;
}

int session_rewind(struct session *session, unsigned type)
{
    const char *all = "SELECT e.id, e.body, e.chain, e.blob, b.body FROM event e "
                      "LEFT JOIN blob b ON b.hash = e.blob ORDER BY e.id";
    const char *some =
        "SELECT e.id, e.body, e.chain, e.blob, b.body FROM event e "
        "LEFT JOIN blob b ON b.hash = e.blob WHERE e.type = ? ORDER BY e.id";

    sqlite3_finalize(session->events);
    session->events = NULL;
    session->chain = WIRE_HASH_START;
    if (sqlite3_prepare_v2(session->db, type ? some : all, -1, &session->events, NULL))
        return -EIO;
    if (type)
        sqlite3_bind_int(session->events, 1, (int)type);
    return 0;
}

int session_next(struct session *session, struct event *ev, int64_t *id, int check,
                 char *text, size_t size)
{
    sqlite3_stmt *row = session->events;
    int code = sqlite3_step(row);
    const void *body, *blob;
    size_t n_body, n_blob;
    enum reject reject;

    if (code == SQLITE_DONE)
        return 0;
    if (code != SQLITE_ROW) {
        snprintf(text, size, "the session file is damaged: %s",
                 sqlite3_errmsg(session->db));
        return -EBADMSG;
    }
    *id = sqlite3_column_int64(row, 0);
    body = sqlite3_column_blob(row, 1);
    n_body = (size_t)sqlite3_column_bytes(row, 1);
    blob = sqlite3_column_blob(row, 4);
    n_blob = (size_t)sqlite3_column_bytes(row, 4);
    reject = sqlite3_column_type(row, 3) == SQLITE_NULL
                 ? wire_decode_row(body, n_body, ev)
                 : wire_decode(body, n_body, blob, n_blob, ev);
    if (reject) {
        snprintf(text, size, "event %" PRId64 " is damaged: %s", *id,
                 reject_name(reject));
        return -EBADMSG;
    }
    session->chain = wire_hash(session->chain, body, n_body);
    if (blob)
        session->chain = wire_hash(session->chain, blob, n_blob);
    if (check && (int64_t)session->chain != sqlite3_column_int64(row, 2)) {
        snprintf(text, size,
                 "event %" PRId64 " (%s of source %u, number %" PRIu64
                 ") is not what was written: its hash differs",
                 *id, event_name(ev->type), ev->source, ev->seq);
        return -EBADMSG;
    }
    return 1;
}

uint64_t session_chain(const struct session *session)
{
    return session->chain;
}
