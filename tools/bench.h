/*
 * bench.h: what `evoke bench` measures, one file a subject.
 *
 * Flow:   bench.c calls each bench_NAME() of which a row is wanted; it measures and says
 *         its rows with bench_say().
 * Units:  in the row. Errors: 0, or -1 after one line to stderr.
 */
#ifndef EVOKE_BENCH_H
#define EVOKE_BENCH_H

#include <stdint.h>
#include <sys/types.h>

#include "daemon/child.h"

struct bench {
    int json;
    double seconds;            /* of the ingest bench */
    const char *const *wanted; /* names of rows; none: all */
    int n_wanted;
};

struct bench_row {
    const char *name;
    double median, min; /* over the repeats of this run */
    const char *unit;
    int threads;
    double baseline; /* median of what it is compared with, same run; NaN: nothing */
};

/* Print a row, if it is wanted. */
void bench_say(const struct bench *bench, const struct bench_row *row);

/* A remark for people; not in JSON. */
void bench_remark(const struct bench *bench, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Sort values and give the one at this quantile, 0..1. */
double bench_quantile(double *values, int n, double quantile);

int bench_latency(const struct bench *bench); /* bench_latency.c */
int bench_ingest(const struct bench *bench);  /* bench_ingest.c */
int bench_models(const struct bench *bench);  /* bench_models.c */

/* A daemon of our own, with sockets and sessions in a folder of its own, which
 * bench_daemon_stop() removes (bench_daemon.c). EVOKE_RUNTIME names the folder. */
struct bench_daemon {
    char folder[64], program[1024], conf[96], log[96];
    const char *argv[8];
    struct child child;
};
int bench_daemon_start(struct bench_daemon *daemon, const char *ini);
void bench_daemon_stop(struct bench_daemon *daemon);

/* A number of its status ("counters", "count_bins"; object NULL: at the top); -1 where
 * there is none. */
double bench_daemon_status(const char *object, const char *key);

#endif
