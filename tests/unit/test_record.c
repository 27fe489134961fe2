#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/record.h"
#include "daemon/session.h"
#include "events.h"
#include "protocol/wire.h"

#define N_NOTE 64

static char folder[64], path[128], why[512];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/test_record-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/a.evoke", folder);
    return 0;
}

static int tear_down(void **state)
{
    const char *const ends[] = {"", "-wal", "-shm"};
    char file[160];
    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(file, sizeof(file), "%s%s", path, ends[i]);
        unlink(file);
    }
    return rmdir(folder);
}

/* Note i: an event with a payload of its own. */
static struct event note(int i)
{
    static char text[N_NOTE + 1];
    struct event ev = events_command(COMMAND_NOTE, i);
    snprintf(text, sizeof(text), "note %06d %052d", i, 7 * i);
    ev.seq = (uint64_t)i;
    ev.command.n_text = ev.data_size = N_NOTE;
    ev.data = text;
    return ev;
}

static int put_notes(struct record *record, int first, int end)
{
    int error = 0;
    for (int i = first; i < end && !error; i++) {
        struct event ev = note(i);
        error = record_put(record, &ev);
    }
    return error;
}

/* Notes 0.. of a session from its first row on, checked; how many, or -errno. */
static int read_notes(struct session *session)
{
    struct event ev;
    int64_t id, last = 0;
    int n = 0, more;
    while ((more = session_next(session, &ev, &id, 1, why, sizeof(why))) == 1) {
        struct event expected = note(n++);
        assert_int_equal(ev.type, EVENT_COMMAND);
        assert_int_equal(ev.seq, expected.seq);
        assert_memory_equal(ev.data, expected.data, N_NOTE);
        assert_true(id > last);
        last = id;
    }
    return more < 0 ? more : n;
}

static int count_notes(void)
{
    struct session *session;
    int n;
    assert_int_equal(session_open(&session, path, why, sizeof(why)), 0);
    n = read_notes(session);
    session_close(session);
    return n;
}

static unsigned char *read_file(size_t *size)
{
    FILE *file = fopen(path, "re");
    struct stat status;
    unsigned char *bytes;
    assert_non_null(file);
    fstat(fileno(file), &status);
    *size = (size_t)status.st_size;
    bytes = malloc(*size);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void write_file(const void *bytes, size_t size)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* An event of this type whose fields all differ and whose payload is valid. */
static struct event any(unsigned type, const unsigned char *payload)
{
    struct event ev = events_plain((enum event_type)type, -5);
    int n;
    const struct wire_field *fields = wire_fields(type, &n);
    ev.source = 3;
    ev.epoch = 0xfffffff0u + type;
    ev.seq = UINT64_MAX - type;
    for (int i = 0; i < n; i++) {
        char *at = (char *)&ev + fields[i].offset;
        const uint32_t u32 = 1;
        const uint64_t u64 = 0xf000000000000000u + type * 64 + (unsigned)i;
        const int64_t i64 = -1000 - i;
        const double f64 = 100.25 + i;
        if (fields[i].kind == WIRE_U32)
            memcpy(at, &u32, 4);
        else
            memcpy(at,
                   fields[i].kind == WIRE_U64   ? (const void *)&u64
                   : fields[i].kind == WIRE_I64 ? (const void *)&i64
                                                : (const void *)&f64,
                   8);
    }
    ev.data_size = (uint32_t)event_data_size(&ev);
    ev.data = ev.data_size ? payload : NULL;
    return ev;
}

static void every_type_comes_back_as_it_was(void **state)
{
    (void)state;
    unsigned char payload[64];
    struct record *record;
    struct session *session;
    struct event ev, back;
    int64_t id;
    int n = 0;
    memset(payload, 0x3f, sizeof(payload));
    assert_int_equal(record_open(&record, path), 0);
    for (unsigned type = 1; type < EVENT_TYPE_END; type++) {
        if (event_type_of(event_name(type)) != type)
            continue;
        ev = any(type, payload);
        assert_int_equal(record_put(record, &ev), 0);
        n++;
    }
    record_close(record);
    assert_true(n > 20);
    assert_int_equal(session_open(&session, path, why, sizeof(why)), 0);
    for (unsigned type = 1; type < EVENT_TYPE_END; type++) {
        char head[WIRE_HEAD_MAX], head_back[WIRE_HEAD_MAX];
        if (event_type_of(event_name(type)) != type)
            continue;
        ev = any(type, payload);
        assert_int_equal(session_next(session, &back, &id, 1, why, sizeof(why)), 1);
        assert_int_equal(wire_encode(&back, head_back), wire_encode(&ev, head));
        assert_memory_equal(head_back, head, wire_encode(&ev, head));
        assert_int_equal(back.data_size, ev.data_size);
        if (ev.data_size > 0)
            assert_memory_equal(back.data, ev.data, ev.data_size);
    }
    assert_int_equal(session_next(session, &back, &id, 1, why, sizeof(why)), 0);
    assert_int_equal(session_rewind(session, EVENT_EDGE), 0); /* one type only */
    assert_int_equal(session_next(session, &back, &id, 0, why, sizeof(why)), 1);
    assert_int_equal(back.type, EVENT_EDGE);
    assert_int_equal(session_next(session, &back, &id, 0, why, sizeof(why)), 0);
    session_close(session);
}

static void an_image_is_stored_once(void **state)
{
    (void)state;
    unsigned char image[256], *bytes;
    struct event job = events_plain(EVENT_JOB, 0), stimulus, result, back;
    struct record *record;
    struct session *session;
    const void *blob;
    size_t size, n_found = 0;
    int64_t id;
    for (int i = 0; i < 256; i++)
        image[i] = (unsigned char)(i * 167 + 3);
    result = events_result(&job, 16, 16, image, 1);
    stimulus = events_plain(EVENT_STIMULUS, 2);
    stimulus.stimulus.hash = result.result.hash;
    stimulus.stimulus.height = stimulus.stimulus.width = 16;
    stimulus.stimulus.dtype = DTYPE_U8;
    stimulus.data = image;
    stimulus.data_size = sizeof(image);
    assert_int_equal(record_open(&record, path), 0);
    assert_int_equal(record_put(record, &result), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(record_put(record, &stimulus), 0);
    assert_int_equal(record_blob(record, 42, "model", "weights", 7), 0);
    record_close(record);

    bytes = read_file(&size);
    for (size_t i = 0; i + sizeof(image) <= size; i++)
        n_found += memcmp(bytes + i, image, sizeof(image)) == 0;
    assert_int_equal(n_found, 1);
    free(bytes);
    assert_int_equal(session_open(&session, path, why, sizeof(why)), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(session_next(session, &back, &id, 1, why, sizeof(why)), 1);
        assert_int_equal(back.type, i == 0 ? EVENT_RESULT : EVENT_STIMULUS);
        assert_int_equal(back.data_size, sizeof(image));
        assert_memory_equal(back.data, image, sizeof(image));
    }
    assert_int_equal(session_blob(session, 42, &blob, &size), 0);
    assert_int_equal(size, 7);
    assert_memory_equal(blob, "weights", 7);
    assert_int_equal(session_blob(session, 43, &blob, &size), -ENOENT);
    session_close(session);
}

static void meta_is_kept_and_the_later_value_counts(void **state)
{
    (void)state;
    struct record *record;
    struct session *session;
    assert_int_equal(record_open(&record, path), 0);
    assert_int_equal(record_meta(record, "end", "no"), 0);
    assert_int_equal(record_meta(record, "conf", "[a]\nb = \xc3\xa4\n"), 0);
    assert_int_equal(record_commit(record), 0);
    assert_int_equal(record_commit(record), 0);
    assert_int_equal(record_meta(record, "end", "yes"), 0);
    record_close(record);
    record_close(NULL);
    assert_int_equal(session_open(&session, path, why, sizeof(why)), 0);
    assert_string_equal(session_meta(session, "end"), "yes");
    assert_string_equal(session_meta(session, "conf"), "[a]\nb = \xc3\xa4\n");
    assert_null(session_meta(session, "nothing"));
    session_close(session);
}

static void a_file_that_is_there_is_never_written_to(void **state)
{
    (void)state;
    struct record *record;
    write_file("", 0);
    assert_int_equal(record_open(&record, path), -EEXIST);
    unlink(path);
    assert_int_equal(record_open(&record, path), 0);
    assert_int_equal(put_notes(record, 0, 5), 0);
    record_close(record);
    assert_int_equal(record_open(&record, path), -EEXIST);
    assert_int_equal(count_notes(), 5);
}

/* Where the notes' and the image's bytes lie in the file. */
static size_t find(const unsigned char *bytes, size_t size, const void *what, size_t n)
{
    size_t at = 0;
    while (at + n <= size && memcmp(bytes + at, what, n) != 0)
        at++;
    assert_true(at + n <= size);
    return at;
}

static void any_changed_byte_is_found(void **state)
{
    (void)state;
    unsigned char *bytes, image[64];
    struct event stimulus = events_plain(EVENT_STIMULUS, 2);
    struct record *record;
    size_t size, at, blob, n;
    char head[WIRE_HEAD_MAX];
    struct event middle;
    for (int i = 0; i < 64; i++)
        image[i] = (unsigned char)(255 - i * 3);
    stimulus.stimulus.hash = wire_hash_stimulus(8, 8, DTYPE_U8, image);
    stimulus.stimulus.height = stimulus.stimulus.width = 8;
    stimulus.stimulus.dtype = DTYPE_U8;
    stimulus.data = image;
    stimulus.data_size = sizeof(image);
    assert_int_equal(record_open(&record, path), 0);
    assert_int_equal(put_notes(record, 0, 10), 0);
    assert_int_equal(record_put(record, &stimulus), 0);
    record_close(record);
    bytes = read_file(&size);
    middle = note(5);
    n = wire_encode(&middle, head);
    at = find(bytes, size, head, n);
    blob = find(bytes, size, image, sizeof(image));
    for (size_t i = 0; i < n + N_NOTE + sizeof(image); i++) {
        size_t place = i < n + N_NOTE ? at + i : blob + i - n - N_NOTE;
        struct session *session;
        struct event ev;
        int64_t id = 0;
        int more;
        bytes[place] ^= 1u << (i % 8);
        write_file(bytes, size);
        bytes[place] ^= 1u << (i % 8);
        assert_int_equal(session_open(&session, path, why, sizeof(why)), 0);
        why[0] = '\0';
        while ((more = session_next(session, &ev, &id, 1, why, sizeof(why))) == 1)
            ;
        session_close(session);
        assert_int_equal(more, -EBADMSG);
        assert_int_equal(id, i < n + N_NOTE ? 6 : 11); /* and named */
        assert_true(strlen(why) > 0);
    }
    free(bytes);
}

static void rows_in_another_order_are_found(void **state)
{
    (void)state;
    const size_t n_chain = 8;
    unsigned char *bytes, row[WIRE_HEAD_MAX + N_NOTE + 8];
    struct record *record;
    struct event first = note(3), second;
    char head[WIRE_HEAD_MAX];
    size_t size, a, b, n;
    assert_int_equal(record_open(&record, path), 0);
    assert_int_equal(put_notes(record, 0, 10), 0);
    record_close(record);
    assert_int_equal(count_notes(), 10);
    bytes = read_file(&size);
    n = wire_encode(&first, head);
    a = find(bytes, size, head, n);
    second = note(7);
    wire_encode(&second, head);
    b = find(bytes, size, head, n);
    n += N_NOTE + n_chain; /* the chain's hash follows the body */
    memcpy(row, bytes + a, n);
    memcpy(bytes + a, bytes + b, n);
    memcpy(bytes + b, row, n);
    write_file(bytes, size);
    free(bytes);
    struct session *session;
    struct event ev;
    int64_t id;
    assert_int_equal(session_open(&session, path, why, sizeof(why)), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(session_next(session, &ev, &id, 1, why, sizeof(why)), 1);
    assert_int_equal(session_next(session, &ev, &id, 1, why, sizeof(why)), -EBADMSG);
    session_close(session);
}

/* In a child: no file may grow beyond this; 0 if an error was met and got over. */
static int write_with_little_room(rlim_t room)
{
    struct rlimit limit;
    struct record *record;
    int n_errors = 0;
    signal(SIGXFSZ, SIG_IGN);
    if (record_open(&record, path) != 0 || put_notes(record, 0, 20) != 0 ||
        record_commit(record) != 0)
        return 1;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = room;
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 3; i++) { /* it is tried again and again */
        if (put_notes(record, 20, 600) != 0 || record_commit(record) != 0) {
            record_rollback(record);
            n_errors++;
        } else {
            return 2;
        }
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
    if (put_notes(record, 20, 600) != 0 || record_commit(record) != 0)
        return 3;
    record_close(record);
    return n_errors == 3 ? 0 : 4;
}

static void a_full_disk_is_survived_wherever_it_strikes(void **state)
{
    (void)state;
    int n_struck = 0;
    for (rlim_t room = 0; room < 300000; room += 7001) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            if (!freopen("/dev/null", "we", stderr))
                _exit(9);
            _exit(write_with_little_room(room));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) != 2) { /* 2: there was room enough */
            assert_int_equal(WEXITSTATUS(status), 0);
            assert_int_equal(count_notes(), 600);
            n_struck++;
        }
        tear_down(NULL);
        set_up(NULL);
    }
    assert_true(n_struck > 10);
}

static void wait_for(int fd)
{
    char byte;
    assert_int_equal(read(fd, &byte, 1), 1);
}

static void go_on(int fd)
{
    assert_int_equal(write(fd, "x", 1), 1);
}

/* A writer that commits 10, puts 5 more, waits, commits them, and is killed with 5 more
 * put. */
static void writer(const int *told, const int *asked)
{
    struct record *record;
    if (record_open(&record, path) != 0 || put_notes(record, 0, 10) != 0 ||
        record_commit(record) != 0 || put_notes(record, 10, 15) != 0)
        _exit(1);
    go_on(told[1]);
    wait_for(asked[0]);
    if (record_commit(record) != 0 || put_notes(record, 15, 20) != 0)
        _exit(1);
    go_on(told[1]);
    for (;;)
        pause();
}

static void what_is_committed_can_be_read_and_survives_a_kill(void **state)
{
    (void)state;
    int told[2], asked[2], status;
    struct session *session;
    pid_t child;
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(asked), 0);
    child = fork();
    if (child == 0)
        writer(told, asked);
    wait_for(told[0]);
    assert_int_equal(session_open(&session, path, why, sizeof(why)), 0);
    assert_int_equal(read_notes(session), 10);
    go_on(asked[1]);
    wait_for(told[0]);
    assert_int_equal(session_rewind(session, EVENT_NONE), 0);
    assert_int_equal(read_notes(session), 15);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    session_close(session);
    assert_int_equal(count_notes(), 15);
    for (int i = 0; i < 2; i++) {
        close(told[i]);
        close(asked[i]);
    }
}

static void assert_no_session(void)
{
    struct session *session = NULL;
    why[0] = '\0';
    assert_true(session_open(&session, path, why, sizeof(why)) < 0);
    assert_non_null(strstr(why, "no session file"));
    assert_non_null(strstr(why, path));
}

static void what_is_no_session_is_refused(void **state)
{
    (void)state;
    unsigned char *bytes;
    size_t size, whole;
    struct record *record;
    assert_no_session(); /* there is none */
    write_file("", 0);
    assert_no_session();
    write_file("not a session at all", 20);
    assert_no_session();
    unlink(path);
    assert_int_equal(record_open(&record, path), 0);
    assert_int_equal(put_notes(record, 0, 300), 0);
    record_close(record);
    bytes = read_file(&whole);
    for (size = 1; size < whole; size += 1777) { /* cut off anywhere */
        struct session *session;
        write_file(bytes, size);
        if (session_open(&session, path, why, sizeof(why)) == 0) {
            assert_int_equal(read_notes(session), -EBADMSG);
            session_close(session);
        }
    }
    for (size_t i = 0; i + 5 < 4096; i++) /* one without the table of events */
        if (memcmp(bytes + i, "event", 5) == 0)
            bytes[i] = 'x';
    write_file(bytes, whole);
    assert_no_session();
    free(bytes);
    session_close(NULL);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_type_comes_back_as_it_was),
        T(an_image_is_stored_once),
        T(meta_is_kept_and_the_later_value_counts),
        T(a_file_that_is_there_is_never_written_to),
        T(any_changed_byte_is_found),
        T(rows_in_another_order_are_found),
        T(a_full_disk_is_survived_wherever_it_strikes),
        T(what_is_committed_can_be_read_and_survives_a_kill),
        T(what_is_no_session_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
