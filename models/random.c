#include "models/random.h"

#include <math.h>

#define GOLDEN 0x9e3779b97f4a7c15u

/* Finaliser of splitmix64 (Steele, Lea & Flood 2014; Stafford's variant 13). */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void random_init(struct random *random, uint64_t seed, uint64_t stream)
{
    random->state = mix(mix(seed + GOLDEN) + stream * 0xd1342543de82ef95u);
}

uint64_t random_u64(struct random *random)
{
    random->state += GOLDEN;
    return mix(random->state);
}

double random_uniform(struct random *random)
{
    return (double)(random_u64(random) >> 11) * 0x1p-53;
}

/* Box-Muller, its cosine half only: a second half kept for later would be hidden state. */
double random_normal(struct random *random)
{
    double radius = sqrt(-2.0 * log(1.0 - random_uniform(random)));
    return radius * cos(6.283185307179586 * random_uniform(random));
}

/* Lemire 2019, "Fast random integer generation in an interval": unbiased. */
uint32_t random_below(struct random *random, uint32_t n)
{
    if (n == 0)
        return 0;
    uint32_t refused_below = (0u - n) % n;
    uint64_t product;
    do {
        product = (random_u64(random) >> 32) * n;
    } while ((uint32_t)product < refused_below);
    return (uint32_t)(product >> 32);
}

/* Inversion by sequential search. */
static uint32_t poisson_small(struct random *random, double mean)
{
    double u = random_uniform(random), p = exp(-mean), sum = p;
    uint32_t k = 0;
    while (u >= sum && p > 0.0) {
        k++;
        p *= mean / (double)k;
        sum += p;
    }
    return k;
}

/* Transformed rejection with squeeze, PTRS of Hoermann 1993. */
static uint32_t poisson_large(struct random *random, double mean)
{
    double b = 0.931 + 2.53 * sqrt(mean), a = -0.059 + 0.02483 * b;
    double inv_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2.0);
    double log_mean = log(mean);
    for (;;) {
        double u = random_uniform(random) - 0.5, v = 1.0 - random_uniform(random);
        double us = 0.5 - fabs(u), k = floor((2.0 * a / us + b) * u + mean + 0.43);
        if (us >= 0.07 && v <= v_r)
            return (uint32_t)k;
        if (k < 0.0 || k > (double)UINT32_MAX || (us < 0.013 && v > us))
            continue;
        int sign;
        double log_law = k * log_mean - mean - lgamma_r(k + 1.0, &sign);
        if (log(v * inv_alpha / (a / (us * us) + b)) <= log_law)
            return (uint32_t)k;
    }
}

uint32_t random_poisson(struct random *random, double mean)
{
    if (!(mean > 0.0))
        return 0;
    if (mean > 4e9) /* 4.5 standard deviations below what the result can hold */
        return UINT32_MAX;
    return mean < 10.0 ? poisson_small(random, mean) : poisson_large(random, mean);
}
