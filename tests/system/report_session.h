/*
 * report_session.h: a session file with known numbers in it, written by record.h.
 *
 * Flow:   report_session_make() -> the file, and what was put into it.
 * Memory: static, the last session made.
 */
#ifndef EVOKE_REPORT_SESSION_H
#define EVOKE_REPORT_SESSION_H

#include <stdint.h>

#define UNITS     5 /* the last one is never observed */
#define SIDE      8
#define PIXELS    (SIDE * SIDE)
#define TRIALS    400
#define IMAGES    12 /* held out, each REPEATS times, from trial HELD_OUT on */
#define REPEATS   4
#define HELD_OUT  (TRIALS - IMAGES * REPEATS)
#define LOOKED_AT "look <script>alert(1)</script> & \"quote\" \xff"

struct put {
    uint32_t verdict, kind, unit, learned;
    uint64_t hash;
    int64_t latency_ns;
    float observed[UNITS], predicted[UNITS];
};

struct report_session {
    struct put trials[TRIALS];
    float truth[UNITS][PIXELS]; /* of unit 3 none is told */
    float field[UNITS][PIXELS]; /* of the final model */
    uint8_t mei[PIXELS];        /* of unit 1, the last of two */
    char path[256], folder[256];
};

enum report_session_kind {
    SESSION_FULL,
    SESSION_EMPTY,      /* a configuration and nothing else */
    SESSION_INVALID,    /* not one valid trial */
    SESSION_STRANGE,    /* a configuration that cannot be read */
    SESSION_CONTRADICTS /* trials of another number of units */
};

/* Makes folder/name.evoke; the same seed gives the same session. */
const struct report_session *report_session_make(const char *folder, const char *name,
                                                 enum report_session_kind kind,
                                                 uint64_t seed);

#endif
