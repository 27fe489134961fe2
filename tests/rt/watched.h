/*
 * watched.h: a thread that is caught when it breaks the real-time promise.
 *
 * Flow:      watched_begin() on the thread; what it does from then on is counted; after
 *            watched_end() it may do anything again that ends a thread.
 * Errors:    the first call of each forbidden kind is kept, with its caller.
 * Invariant: the filter is the kernel's: nothing that the thread calls gets past it.
 */
#ifndef EVOKE_WATCHED_H
#define EVOKE_WATCHED_H

/* Why this machine or this build cannot watch; NULL if it can. */
const char *watched_missing(void);

/* From now on the calling thread may only sleep on futexes, write to these two file
 * descriptors, read the clock and end. */
void watched_begin(int fd, int other_fd);
void watched_end(void);

/* Has anything forbidden happened? And what: one line each. */
int watched_fault(void);
void watched_print(void);

#endif
