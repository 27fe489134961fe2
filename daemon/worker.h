/*
 * worker.h: a thread that makes stimuli: takes a job, gives a result, knows nothing else.
 */
#ifndef EVOKE_WORKER_H
#define EVOKE_WORKER_H

#include "daemon/rings.h"
#include "stimulus/job.h"

struct worker_thread {
    struct rings *rings;
    int index;
    const struct loop *loop; /* only for the snapshot of its own slot */
    const struct job_conf *conf;
    int64_t patience_ns; /* a job takes no longer than this, then gives what it has */
    void *work;
    int64_t due_ns;
};

/* [slow] Bytes of scratch that any job on this model may need; snapshot: of
 * model_snapshot_size(), overwritten. */
size_t worker_work_size(const struct model *model, int n_units, void *snapshot,
                        const struct job_conf *conf);

/* The thread: runs until rings->stop. arg: struct worker_thread. */
void *worker_run(void *arg);

#endif
