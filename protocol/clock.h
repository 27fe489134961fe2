/*
 * clock.h: the daemon's one clock. Units: ns of CLOCK_MONOTONIC.
 */
#ifndef EVOKE_CLOCK_H
#define EVOKE_CLOCK_H

#include <stdint.h>

#define NS_PER_S  1000000000LL
#define NS_PER_MS 1000000LL

/* [rt] */
int64_t clock_now_ns(void);

/* [slow] Sleep until then, at once if it has passed. */
void clock_sleep_until_ns(int64_t then_ns);

#endif
