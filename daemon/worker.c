#include "worker.h"

#include "models/ops.h"
#include "protocol/clock.h"

#define WAIT_NS (100 * NS_PER_MS)

size_t worker_work_size(const struct model *model, int n_units, void *snapshot,
                        const struct job_conf *conf)
{
    uint32_t units[MODEL_SNAPSHOT_UNITS];
    int n = n_units < MODEL_SNAPSHOT_UNITS ? n_units : MODEL_SNAPSHOT_UNITS;

    for (int i = 0; i < n; i++)
        units[i] = (uint32_t)i;
    model_snapshot(model, units, n, snapshot);
    return job_work_size(conf, snapshot_work_size(snapshot));
}

static int go_on(void *context)
{
    const struct worker_thread *thread = context;
    return clock_now_ns() < thread->due_ns && !atomic_load(&thread->rings->stop);
}

void *worker_run(void *arg)
{
    struct worker_thread *thread = arg;
    struct rings *rings = thread->rings;
    struct ring *jobs = rings->loop_worker[thread->index];

    ops_flush_denormals();
    while (!atomic_load(&rings->stop)) {
        const struct event *job = ring_peek(jobs);
        struct event result;
        if (!job) {
            wake_wait(&rings->worker_wake[thread->index], WAIT_NS);
            continue;
        }
        thread->due_ns = clock_now_ns() + thread->patience_ns;
        job_run(thread->conf, job, loop_snapshot(thread->loop, job->job.slot), go_on,
                thread, thread->work, &result);
        result.time_ns = clock_now_ns();
        CHECK(ring_push(rings->worker_loop[thread->index], &result));
        ring_drop(jobs);
    }
    return NULL;
}
