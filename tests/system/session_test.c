#include "session_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "daemon/conf.h"
#include "daemon/replay.h"
#include "daemon/session.h"
#include "models/ops.h"
#include "stimulus/space.h"

/* name-YYYYMMDD-HHMMSS.evoke, or -N before the dot for the N-th within one second. */
#define STAMP 15

/* When a file of this name was begun, and which of that second it is; 0: no session. */
static int moment(const char *name, char *stamp)
{
    const char *end = strrchr(name, '.'), *dash, *at;
    int n = 1;

    if (!end || strcmp(end, ".evoke") != 0 || end - name < STAMP)
        return 0;
    dash = end - 1;
    while (dash > name && *dash != '-')
        dash--;
    if (end - dash - 1 != 6)
        n = atoi(dash + 1);
    else
        dash = end;
    at = dash - STAMP;
    if (at < name)
        return 0;
    memcpy(stamp, at, STAMP);
    stamp[STAMP] = '\0';
    return n;
}

void session_test_newest(const char *folder, char *path, size_t size)
{
    char last[STAMP + 1] = "", stamp[STAMP + 1];
    int n_last = 0, n, order;
    const struct dirent *entry;
    DIR *dir = opendir(folder);

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        n = moment(entry->d_name, stamp);
        order = n ? strcmp(stamp, last) : -1;
        if (order > 0 || (order == 0 && n > n_last)) {
            strcpy(last, stamp);
            n_last = n;
            snprintf(path, size, "%s/%s", folder, entry->d_name);
        }
    }
    closedir(dir);
    if (!n_last)
        fail_msg("no session in %s", folder);
}

static sqlite3 *opened(const char *path, int flags)
{
    sqlite3 *db;

    if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK)
        fail_msg("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 10000);
    return db;
}

static void check_whole(const char *path)
{
    sqlite3 *db = opened(path, SQLITE_OPEN_READONLY);
    sqlite3_stmt *check;

    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &check, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(check), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(check, 0), "ok");
    sqlite3_finalize(check);
    sqlite3_close(db);
}

/* The one row that the statement gives; columns from first on are read by the caller. */
static sqlite3_stmt *row_of(sqlite3 *db, const char *sql, int64_t bound)
{
    sqlite3_stmt *row;

    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
    sqlite3_bind_int64(row, 1, bound);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    return row;
}

static void flip_body(sqlite3 *db, const char *select, const char *update, int64_t key,
                      int from_end)
{
    sqlite3_stmt *row = row_of(db, select, key), *change;
    int size = sqlite3_column_bytes(row, 0);
    uint8_t *body = malloc((size_t)size);

    assert_true(size >= from_end);
    memcpy(body, sqlite3_column_blob(row, 0), (size_t)size);
    sqlite3_finalize(row);
    body[size - from_end] ^= 1;
    assert_int_equal(sqlite3_prepare_v2(db, update, -1, &change, NULL), SQLITE_OK);
    sqlite3_bind_blob(change, 1, body, size, SQLITE_STATIC);
    sqlite3_bind_int64(change, 2, key);
    assert_int_equal(sqlite3_step(change), SQLITE_DONE);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_finalize(change);
    free(body);
}

int64_t session_test_flip(const char *path, unsigned type, int from_end)
{
    sqlite3 *db = opened(path, SQLITE_OPEN_READWRITE);
    sqlite3_stmt *row =
        row_of(db,
               "SELECT id, blob FROM event WHERE type = ?1 ORDER BY id LIMIT 1 OFFSET "
               "(SELECT count(*) / 2 FROM event WHERE type = ?1)",
               type);
    int64_t id = sqlite3_column_int64(row, 0), blob = sqlite3_column_int64(row, 1);
    int has_blob = sqlite3_column_type(row, 1) != SQLITE_NULL;

    sqlite3_finalize(row);
    if (has_blob)
        flip_body(db, "SELECT body FROM blob WHERE hash = ?",
                  "UPDATE blob SET body = ? WHERE hash = ?", blob, from_end);
    else
        flip_body(db, "SELECT body FROM event WHERE id = ?",
                  "UPDATE event SET body = ? WHERE id = ?", id, from_end);
    sqlite3_close(db);
    return id;
}

/* The fold of the valid trials alone. */
struct fold {
    struct session *session;
    struct model_conf conf;
    struct model *model;
    float *x, *predicted;
};

static void begin(struct fold *fold, const char *path)
{
    struct conf conf;
    struct loop_conf loop;
    char text[512];
    const char *start;
    const void *state;
    size_t size;

    if (session_open(&fold->session, path, text, sizeof(text)) != 0 ||
        conf_read_text(&conf, session_meta(fold->session, "config"), "session", text,
                       sizeof(text)) != 0)
        fail_msg("%s: %s", path, text);
    conf_loop(&conf, &loop);
    fold->conf = loop.model;
    ops_flush_denormals();
    fold->model = model_init(aligned_alloc(64, (model_size(&loop.model) + 63) / 64 * 64),
                             &loop.model);
    fold->x = calloc((size_t)(loop.model.height * loop.model.width), sizeof(float));
    fold->predicted = calloc((size_t)loop.model.n_units, sizeof(float));
    start = session_meta(fold->session, "model_start");
    if (start) {
        assert_int_equal(
            session_blob(fold->session, strtoull(start, NULL, 10), &state, &size), 0);
        assert_int_equal(model_restore(fold->model, state, size), 0);
    }
}

static void end(struct fold *fold)
{
    session_close(fold->session);
    free(fold->model);
    free(fold->x);
    free(fold->predicted);
}

static void learn(struct fold *fold, const struct event *trial)
{
    const void *pixels;
    size_t size, n_pixels = (size_t)(fold->conf.height * fold->conf.width);

    assert_int_equal(session_blob(fold->session, trial->trial.hash, &pixels, &size), 0);
    assert_int_equal(size, n_pixels);
    space_decode(pixels, (int)n_pixels, fold->x);
    model_predict(fold->model, fold->x, fold->predicted);
    assert_memory_equal(fold->predicted, (const float *)trial->data + fold->conf.n_units,
                        (size_t)fold->conf.n_units * sizeof(float));
    model_learn(fold->model, trial->data);
}

void session_test_read(const char *path, struct session_test *found)
{
    struct fold fold;
    struct event ev;
    char text[512];
    const char *final;
    int64_t id;
    int more;

    memset(found, 0, sizeof(*found));
    check_whole(path);
    begin(&fold, path);
    assert_int_equal(session_rewind(fold.session, EVENT_TRIAL), 0);
    while ((more = session_next(fold.session, &ev, &id, 0, text, sizeof(text)))) {
        if (more < 0)
            fail_msg("%s: %s", path, text);
        found->n_trials++;
        found->n_again += ev.trial.attempt > 1;
        assert_int_equal(ev.trial.learned, ev.trial.verdict == VERDICT_VALID);
        if (ev.trial.verdict == VERDICT_VALID) {
            assert_true(ev.trial.onset_ns != CLOCK_UNKNOWN);
            found->n_valid++;
            learn(&fold, &ev);
        }
    }
    found->model = model_hash(fold.model);
    final = session_meta(fold.session, "model_final");
    found->model_final = final ? strtoull(final, NULL, 10) : 0;
    found->ended = session_meta(fold.session, "ended") != NULL;
    if (final)
        assert_int_equal(found->model, found->model_final);
    end(&fold);
}

void session_test_replay(const char *path, uint64_t *model)
{
    struct session *session = NULL;
    struct replay *replay = NULL;
    struct replay_count count;
    char text[512];

    ops_flush_denormals();
    if (session_open(&session, path, text, sizeof(text)) != 0 ||
        replay_open(&replay, session, 1, &count, text, sizeof(text)) != 0)
        fail_msg("%s: %s", path, text);
    *model = count.model;
    replay_close(replay);
    session_close(session);
}

void session_test_meta(const char *path, const char *key, char *text, size_t size)
{
    struct session *session;
    const char *value;

    if (session_open(&session, path, text, size) != 0)
        fail_msg("%s: %s", path, text);
    value = session_meta(session, key);
    snprintf(text, size, "%s", value ? value : "");
    session_close(session);
}

int session_test_has_begun(const char *path)
{
    struct session *session;
    char text[512];
    int has = session_open(&session, path, text, sizeof(text)) == 0;

    if (has) {
        has = session_meta(session, "config") != NULL;
        session_close(session);
    }
    return has;
}

int session_test_trials(const char *path, struct event *trials, int n_max)
{
    struct session *session;
    char text[512];
    int n = 0;
    int64_t id;

    assert_int_equal(session_open(&session, path, text, sizeof(text)), 0);
    session_rewind(session, EVENT_TRIAL);
    while (n < n_max && session_next(session, &trials[n], &id, 0, text, sizeof(text)) > 0)
        n++;
    session_close(session);
    return n;
}
