/*
 * session_test.h: what every session file must be, however the session ended.
 *
 * Errors: what is not so fails the cmocka test that is running.
 */
#ifndef EVOKE_SESSION_TEST_H
#define EVOKE_SESSION_TEST_H

#include <stddef.h>
#include <stdint.h>

#include "protocol/event.h"

/* What was found. */
struct session_test {
    int64_t n_trials, n_valid, n_again; /* again: shown more than once */
    uint64_t model;                     /* of the start model and the valid trials */
    uint64_t model_final;               /* as the session says; 0 if it was killed */
    int ended;
};

/* The newest session file of a folder, in the order of the daemon's names. */
void session_test_newest(const char *folder, char *path, size_t size);

/* SQLite finds the file whole; every trial that was learned from is valid, was seen, and
 * its prediction, and the final model, are bit for bit those of a model that learned the
 * valid trials in their order and nothing else. For sessions that show stimuli. */
void session_test_read(const char *path, struct session_test *found);

/* Folding it again gives no difference (in this process); *model: the final one. */
void session_test_replay(const char *path, uint64_t *model);

/* A meta value as text; "" if there is none. */
void session_test_meta(const char *path, const char *key, char *text, size_t size);

/* Has the session in this file begun, or is the file only its empty beginning? */
int session_test_has_begun(const char *path);

/* All its trials, without payload, at most so many; how many there are. */
int session_test_trials(const char *path, struct event *trials, int n_max);

/* Flip the lowest bit of a byte (counted from the end, from 1) of what the middle event of
 * this type holds, its image if it has one; the event's number. */
int64_t session_test_flip(const char *path, unsigned type, int from_end);

#endif
