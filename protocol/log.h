/*
 * log.h: one line to stderr, in the form journald reads (<priority> in front when
 * stderr is not a terminal).
 *
 * Owner:  any thread but the loop's (it says everything by events).
 * Errors: text is written once, where it happened; log_fail() also gives the
 *         exit code for start-up errors.
 */
#ifndef EVOKE_LOG_H
#define EVOKE_LOG_H

#include <stdio.h>
#include <stdlib.h>

enum log_level { LOG_ERROR = 3, LOG_WARNING = 4, LOG_NOTICE = 5, LOG_INFO = 6 };

/* [slow] */
void log_line(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A bug, not an input: prints the expression and both values, aborts. */
#define CHECK(cond)                                                                      \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            fprintf(stderr, "%s:%d: %s: CHECK(%s) failed\n", __FILE__, __LINE__,         \
                    __func__, #cond);                                                    \
            abort();                                                                     \
        }                                                                                \
    } while (0)

#define CHECK_EQ(a, b)                                                                   \
    do {                                                                                 \
        long long check_a = (long long)(a), check_b = (long long)(b);                    \
        if (check_a != check_b) {                                                        \
            fprintf(stderr, "%s:%d: %s: CHECK(%s == %s) failed: %lld, %lld\n", __FILE__, \
                    __LINE__, __func__, #a, #b, check_a, check_b);                       \
            abort();                                                                     \
        }                                                                                \
    } while (0)

#endif
