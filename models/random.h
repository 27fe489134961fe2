/*
 * random.h: the one random generator: counter-based splitmix64, so that any draw can be
 * made again from its seed. Not for keys.
 */
#ifndef EVOKE_RANDOM_H
#define EVOKE_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state;
};

void random_init(struct random *random, uint64_t seed, uint64_t stream); /* [any] */
uint64_t random_u64(struct random *random);                              /* [rt] */
double random_uniform(struct random *random);                            /* [rt] [0,1) */
double random_normal(struct random *random);                             /* [rt] */
uint32_t random_below(struct random *random, uint32_t n);                /* [rt] 0..n-1 */
uint32_t random_poisson(struct random *random, double mean);             /* [any] */

#endif
