#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/log.h"
#include "protocol/wire.h"
#include "session_sql.h"

struct record {
    sqlite3 *db;
    sqlite3_stmt *insert, *insert_blob, *insert_meta;
    uint64_t chain, chain_committed;
    int in_transaction;
    int failing; /* said once, until it works again */
    char *body;
    size_t body_room;
};

static int fail(struct record *record, const char *what)
{
    int code = sqlite3_errcode(record->db);

    if (!record->failing)
        log_line(LOG_ERROR,
                 "session file: %s: %s; nothing is shown until it can be written", what,
                 sqlite3_errmsg(record->db));
    record->failing = 1;
    return code == SQLITE_FULL ? -ENOSPC : -EIO;
}

static int run(struct record *record, const char *sql)
{
    return sqlite3_exec(record->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : fail(record, sql);
}

static int step(struct record *record, sqlite3_stmt *statement, const char *what)
{
    int done = sqlite3_step(statement) == SQLITE_DONE;
    int error = done ? 0 : fail(record, what);

    sqlite3_reset(statement);
    return error;
}

int record_open(struct record **out, const char *path)
{
    struct record *record;
    int error, fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (fd < 0) {
        error = errno;
        log_line(LOG_ERROR, "%s: %s", path, strerror(error));
        return -error;
    }
    close(fd);
    record = calloc(1, sizeof(*record));
    if (!record)
        return -ENOMEM;
    record->chain = record->chain_committed = WIRE_HASH_START;
    if (sqlite3_open_v2(path, &record->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
        log_line(LOG_ERROR, "%s: %s", path, sqlite3_errmsg(record->db));
        record_close(record);
        return -EIO;
    }
    error = run(record, "PRAGMA journal_mode = WAL");
    if (!error)
        error = run(record, "PRAGMA synchronous = NORMAL");
    if (!error)
        error = run(record, "PRAGMA locking_mode = NORMAL");
    if (!error)
        error = run(record, session_sql);
    if (!error &&
        (sqlite3_prepare_v2(record->db,
                            "INSERT INTO event (type, time_ns, body, blob, chain) "
                            "VALUES (?, ?, ?, ?, ?)",
                            -1, &record->insert, NULL) ||
         sqlite3_prepare_v2(record->db, "INSERT OR IGNORE INTO blob VALUES (?, ?, ?)", -1,
                            &record->insert_blob, NULL) ||
         sqlite3_prepare_v2(record->db, "INSERT OR REPLACE INTO meta VALUES (?, ?)", -1,
                            &record->insert_meta, NULL)))
        error = fail(record, "prepare");
    if (error) {
        record_close(record);
        return error;
    }
    *out = record;
    return 0;
}

void record_close(struct record *record)
{
    if (!record)
        return;
    record_commit(record);
    sqlite3_finalize(record->insert);
    sqlite3_finalize(record->insert_blob);
    sqlite3_finalize(record->insert_meta);
    sqlite3_close(record->db);
    free(record->body);
    free(record);
}

static int begin(struct record *record)
{
    int error = 0;

    if (!record->in_transaction) {
        error = run(record, "BEGIN");
        record->in_transaction = !error;
    }
    return error;
}

int record_meta(struct record *record, const char *key, const char *value)
{
    int error = begin(record);

    if (error)
        return error;
    sqlite3_bind_text(record->insert_meta, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(record->insert_meta, 2, value, -1, SQLITE_STATIC);
    return step(record, record->insert_meta, "write meta");
}

int record_blob(struct record *record, uint64_t hash, const char *kind, const void *body,
                size_t size)
{
    int error = begin(record);

    if (error)
        return error;
    sqlite3_bind_int64(record->insert_blob, 1, (int64_t)hash);
    sqlite3_bind_text(record->insert_blob, 2, kind, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(record->insert_blob, 3, body, size, SQLITE_STATIC);
    return step(record, record->insert_blob, "write blob");
}

/* Header, fields and payload in one piece. */
static int body_of(struct record *record, const struct event *ev, size_t *size)
{
    size_t room = WIRE_HEAD_MAX + ev->data_size;

    if (room > record->body_room) {
        char *body = realloc(record->body, room);
        if (!body)
            return -ENOMEM;
        record->body = body;
        record->body_room = room;
    }
    *size = wire_encode(ev, record->body);
    if (ev->data_size > 0)
        memcpy(record->body + *size, ev->data, ev->data_size);
    return 0;
}

int record_put(struct record *record, const struct event *ev)
{
    int image = ev->type == EVENT_STIMULUS || ev->type == EVENT_RESULT;
    uint64_t hash = ev->type == EVENT_STIMULUS ? ev->stimulus.hash : ev->result.hash;
    uint64_t chain;
    size_t size;
    int error = begin(record);

    if (!error && image)
        error = record_blob(record, hash, "stimulus", ev->data, ev->data_size);
    if (!error)
        error = body_of(record, ev, &size);
    if (error)
        return error;
    chain = wire_hash(record->chain, record->body, size + ev->data_size);
    sqlite3_bind_int(record->insert, 1, ev->type);
    sqlite3_bind_int64(record->insert, 2, ev->time_ns);
    sqlite3_bind_blob64(record->insert, 3, record->body,
                        image ? size : size + ev->data_size, SQLITE_STATIC);
    if (image)
        sqlite3_bind_int64(record->insert, 4, (int64_t)hash);
    else
        sqlite3_bind_null(record->insert, 4);
    sqlite3_bind_int64(record->insert, 5, (int64_t)chain);
    error = step(record, record->insert, "write event");
    if (!error)
        record->chain = chain;
    return error;
}

int record_commit(struct record *record)
{
    if (!record->in_transaction)
        return 0;
    if (run(record, "COMMIT") != 0) {
        int error = sqlite3_errcode(record->db) == SQLITE_FULL ? -ENOSPC : -EIO;
        record_rollback(record);
        return error;
    }
    record->in_transaction = 0;
    record->chain_committed = record->chain;
    record->failing = 0;
    return 0;
}

void record_rollback(struct record *record)
{
    if (!sqlite3_get_autocommit(record->db))
        sqlite3_exec(record->db, "ROLLBACK", NULL, NULL, NULL);
    record->in_transaction = 0;
    record->chain = record->chain_committed;
}
