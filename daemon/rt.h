/*
 * rt.h: what the kernel gives a real-time process, asked for once and told once.
 *
 * Errors: none is fatal: Evoke works without any of it, and says so.
 */
#ifndef EVOKE_RT_H
#define EVOKE_RT_H

#include <pthread.h>

/* [slow] Lock all memory, now and to come; logs what it got. */
void rt_lock_memory(void);

/* [slow] Start a thread with a name and, if it can be had, SCHED_FIFO at this priority
 * (0: normal). Its stack is touched before it runs. 0 or -errno. */
int rt_thread(pthread_t *thread, const char *name, int priority, void *(*run)(void *),
              void *arg);

#endif
