/*
 * job.h: one stimulus made to order: a pure function of (job, snapshot).
 *
 * Flow:      loop -> EVENT_JOB -> worker: job_run() -> EVENT_RESULT -> loop. A replay
 *            calls job_run() again with the recorded number of steps and compares.
 * Memory:    caller's, job_work_size() bytes, 64-byte aligned; the result's pixels lie in
 *            it until the next job.
 * Errors:    none: every job has a result that may be shown.
 * Invariant: the result depends on nothing but the job, the snapshot, the configuration
 *            and the number of steps; not on the thread, the time or what ran before.
 */
#ifndef EVOKE_JOB_H
#define EVOKE_JOB_H

#include "protocol/event.h"
#include "stimulus/images.h"
#include "stimulus/optimise.h"
#include "stimulus/space.h"

struct job_conf {
    struct space space;
    struct optimise_conf ascent;
    const struct images *images;
    uint64_t images_seed;
    int n_candidates; /* images from which an ascent starts: the best of so many, >= 1 */
};

/* [any] snapshot_size: snapshot_work_size() of the snapshots that jobs will get; 0 where
 * all jobs are JOB_RANDOM. */
size_t job_work_size(const struct job_conf *conf, size_t snapshot_size);

/* [any] Does this job need the snapshot that its slot holds? */
int job_needs_snapshot(unsigned kind);

/* [any] Do it: at most job->job.max_steps steps of ascent, fewer when go_on (may be
 * NULL), asked before each step, says 0. result: EVENT_RESULT, its pixels (DTYPE_U8) in
 * work; its value is the objective at these very pixels: expected rate (MEI),
 * information in nats (info-max), 0 for a random image; its time is CLOCK_UNKNOWN. */
void job_run(const struct job_conf *conf, const struct event *job, const void *snapshot,
             int (*go_on)(void *context), void *context, void *work,
             struct event *result);

#endif
