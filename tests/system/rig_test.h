/*
 * rig_test.h: a bench for real processes: a folder with its own sockets and sessions, a
 * daemon in it, and this program as its display, its rig and its follower.
 *
 * Flow:   rig_test_open(configuration) -> rig_test_start() -> rig_test_next() ... ->
 *         rig_test_stop() -> rig_test_check_session() -> rig_test_close().
 *         The display and the rig work whenever the test waits for something; they
 *         answer at once, with the times of a good display.
 * Memory: its own; an event from rig_test_next() is valid until the next call.
 * Errors: what must not happen fails the cmocka test that is running; every wait ends
 *         after RIG_TEST_PATIENCE_NS.
 * Invariant: a spoiled message carries RIG_TEST_POISON as its counts, and no unspoiled one
 *         ever does: what leaks is seen.
 */
#ifndef EVOKE_RIG_TEST_H
#define EVOKE_RIG_TEST_H

#include <jansson.h>
#include <sys/types.h>

#include "daemon/conf.h"
#include "models/random.h"
#include "protocol/clock.h"
#include "protocol/wire.h"

#define RIG_TEST_PATIENCE_NS (60 * NS_PER_S)
#define RIG_TEST_POISON      200 /* no bin of the rig holds so many counts */
#define RIG_TEST_DATA        65536
#define RIG_TEST_TEXT        65536

/* Head and payload as they go over the wire. */
struct rig_test_message {
    struct event ev; /* what they say */
    uint8_t head[WIRE_HEAD_MAX];
    uint8_t data[RIG_TEST_DATA];
    size_t n_head, n_data;
};

struct rig_test {
    char folder[64], runtime[128], sessions[128], conf_path[128], log_path[128];
    struct conf conf;
    pid_t daemon; /* 0: none runs */
    void *context, *display, *ingest, *follow;

    /* the rig: bins of counts in real time from origin_ns on */
    int rig_is_off;
    uint32_t rig_epoch;
    uint64_t rig_seq;
    int64_t rig_origin_ns, rig_sample;
    int64_t rig_n_bins;
    struct random random;
    /* Called for each message of the rig instead of sending it, if set. */
    void (*rig_send)(struct rig_test *test, struct rig_test_message *message);

    /* the display */
    int display_is_off;
    uint32_t display_epoch;
    uint64_t display_seq;
    int display_is_set;
    int64_t display_beat_ns, display_announce_ns;
    uint64_t display_n_blank;
    struct event present; /* the last one that the daemon asked for */
    int64_t onset_ns;     /* that it was answered with */
    /* Called for each EVENT_PRESENT instead of rig_test_answer(), if set. */
    void (*display_answer)(struct rig_test *test, const struct event *present);

    struct rig_test_message heard;
    char session[512]; /* path of the newest, see rig_test_check_session() */
    char text[RIG_TEST_TEXT], error_text[RIG_TEST_TEXT]; /* of the last rig_test_run() */
};

/* A folder, and in it a configuration: [session] directory is added to this text. */
struct rig_test *rig_test_open(const char *configuration);
void rig_test_configure(struct rig_test *test, const char *configuration);

/* Whatever still runs is killed; the folder goes, unless EVOKE_KEEP is set. */
void rig_test_close(struct rig_test *test);

/* The daemon, until it answers and what it publishes is heard. */
void rig_test_start(struct rig_test *test);

/* The same without waiting for it. */
void rig_test_launch(struct rig_test *test);

/* Only the sockets, to a daemon that something else starts. */
void rig_test_connect(struct rig_test *test);

/* Ask it to stop; its exit code. */
int rig_test_stop(struct rig_test *test);

/* SIGKILL. */
void rig_test_kill(struct rig_test *test);

/* The next event that the daemon published; fails if the daemon ends or falls silent. */
const struct event *rig_test_next(struct rig_test *test);

/* The same, but NULL when that time has come. */
const struct event *rig_test_next_before(struct rig_test *test, int64_t until_ns);

/* The next one of a type. */
const struct event *rig_test_await(struct rig_test *test, unsigned type);

/* Trial of that number. */
const struct event *rig_test_await_trial(struct rig_test *test, uint64_t number);

/* Until the loop is in this state. */
void rig_test_await_state(struct rig_test *test, enum loop_state state);

/* Let display and rig work for a moment (at most 1 ms of sleep). */
void rig_test_turn(struct rig_test *test);

/* As a display does: SHOWN and HIDDEN of what was asked for, this many frames late. */
void rig_test_answer(struct rig_test *test, const struct event *present);
void rig_test_answer_late(struct rig_test *test, const struct event *present,
                          uint32_t n_late);

/* The display is another one from now on: new epoch, nothing set up. */
void rig_test_new_display(struct rig_test *test);

/* Number and send an event of the rig, or bytes as they are. */
void rig_test_send(struct rig_test *test, struct event *ev);
void rig_test_send_message(struct rig_test *test, const struct rig_test_message *message);
void rig_test_send_frames(struct rig_test *test, const void *const *frames,
                          const size_t *sizes, int n_frames);

/* Start of a bin of the rig in our clock, and the rig's sample of a time. */
int64_t rig_test_bin_ns(const struct rig_test *test, int64_t first_sample);

/* Run a program of Evoke ("evoke", "evoked") with arguments, NULL at the end, while
 * display and rig go on; exit code, or -signal. Output in text, error_text. */
int rig_test_run(struct rig_test *test, const char *program, ...);

/* Start one and let it run; output and errors go to this file, or to the log if NULL. */
pid_t rig_test_spawn(struct rig_test *test, const char *output, const char *const *argv);

/* Wait for it while display and rig go on; exit code, or -signal. */
int rig_test_reap(struct rig_test *test, pid_t pid);

/* `evoke status --json`; to be json_decref()ed. */
json_t *rig_test_status(struct rig_test *test);

/* A number of the status by its path ("counters.refused.version"). */
int64_t rig_test_count(struct rig_test *test, const char *path);

/* Wait until it has this value; fails at once if it is more. */
void rig_test_await_count(struct rig_test *test, const char *path, int64_t value);

/* The newest session file is whole, `evoke replay --verify` finds no difference in it, and
 * its final model is the one that learned the valid trials and nothing else; its path. */
const char *rig_test_check_session(struct rig_test *test);

#endif
