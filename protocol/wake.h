/*
 * wake.h: how a sleeping consumer learns that a ring has something for it.
 *
 * Flow:      producers wake_signal(); the one consumer looks at its rings, and if all
 *            are empty calls wake_wait(), which returns at once if a signal came between.
 * Owner:     the consumer; any thread may signal.
 * Invariant: no signal is lost; a signal without a sleeper costs no system call.
 */
#ifndef EVOKE_WAKE_H
#define EVOKE_WAKE_H

#include <stdatomic.h>
#include <stdint.h>

struct wake {
    atomic_uint word; /* 0 nothing new, 1 signalled, 2 asleep */
    int fd;           /* eventfd for a consumer that sleeps in poll(), else -1 */
};

/* [any] A consumer that sleeps in wake_wait(). */
void wake_init(struct wake *wake);

/* [any] A consumer that sleeps in poll() on wake->fd; 0 or -errno. */
int wake_open(struct wake *wake);
void wake_close(struct wake *wake);

/* [rt] */
void wake_signal(struct wake *wake);

/* [rt] consumer without fd: sleep until a signal or so many ns; clears the signal. */
void wake_wait(struct wake *wake, int64_t timeout_ns);

/* [rt] consumer with fd: call before poll(); 1 if there is news already (do not
 * sleep). And after poll(): clears the signal and the fd. */
int wake_before_poll(struct wake *wake);
void wake_after_poll(struct wake *wake);

#endif
