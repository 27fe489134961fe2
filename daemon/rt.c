#include "rt.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "protocol/log.h"

#define STACK_SIZE (1 << 20)

void rt_lock_memory(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0)
        log_line(LOG_INFO, "memory is locked");
    else
        log_line(LOG_NOTICE, "memory is not locked (%s): raise LimitMEMLOCK to have it",
                 strerror(errno));
}

static int start(pthread_t *thread, int priority, void *(*run)(void *), void *arg)
{
    struct sched_param param = {.sched_priority = priority};
    pthread_attr_t attr;
    int error;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    if (priority > 0) {
        pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
        pthread_attr_setschedparam(&attr, &param);
    }
    error = pthread_create(thread, &attr, run, arg);
    pthread_attr_destroy(&attr);
    return -error;
}

int rt_thread(pthread_t *thread, const char *name, int priority, void *(*run)(void *),
              void *arg)
{
    int error = start(thread, priority, run, arg);

    if (error == -EPERM && priority > 0) {
        log_line(
            LOG_NOTICE,
            "thread %s runs without real-time priority: raise LimitRTPRIO to have it",
            name);
        error = start(thread, 0, run, arg);
    } else if (!error && priority > 0) {
        log_line(LOG_INFO, "thread %s has SCHED_FIFO %d", name, priority);
    }
    if (!error)
        pthread_setname_np(*thread, name);
    return error;
}
