#include "models/ops.h"

#include <cblas.h>
#include <string.h>
#ifdef __SSE2__
#include <xmmintrin.h>
#endif

#include "protocol/log.h"
#include "protocol/wire.h"

void ops_init(void)
{
    openblas_set_num_threads(1);
}

void ops_flush_denormals(void)
{
#ifdef __SSE2__
    _mm_setcsr(_mm_getcsr() | 0x8040u); /* FTZ, DAZ */
#elif defined(__aarch64__)
    unsigned long fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr | 1ul << 24)); /* FZ */
#endif
}

const char *ops_core(void)
{
    return openblas_get_corename();
}

float ops_dot(int n, const float *a, const float *b)
{
    return cblas_sdot(n, a, 1, b, 1);
}

double ops_norm2(int n, const float *a)
{
    /* not cblas_dsdot(): OpenBLAS sums blocks of it in float */
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)a[i];
    return sum;
}

void ops_add(int n, float scale, const float *x, float *y)
{
    cblas_saxpy(n, scale, x, 1, y, 1);
}

void ops_rows_dot(int n_rows, int n, const float *a, const float *x, float *y)
{
    for (int i = 0; i < n_rows; i++)
        y[i] = ops_dot(n, a + (size_t)i * (size_t)n, x);
}

void ops_rows_sum(int n_rows, int n, const float *a, const float *x, float *y)
{
    memset(y, 0, (size_t)n * sizeof *y);
    for (int i = 0; i < n_rows; i++)
        ops_add(n, x[i], a + (size_t)i * (size_t)n, y);
}

void ops_rows_add(int n_rows, int n, float *a, const float *x, const float *y)
{
    for (int i = 0; i < n_rows; i++)
        ops_add(n, x[i], y, a + (size_t)i * (size_t)n);
}

uint64_t ops_hash(uint64_t hash, const void *bytes, size_t size)
{
    enum { N_LANES = 8 };
    uint64_t lanes[N_LANES], words[N_LANES];
    CHECK_EQ(size % sizeof words, 0);
    for (int i = 0; i < N_LANES; i++)
        lanes[i] = hash + (uint64_t)i;
    for (const char *at = bytes, *end = at + size; at < end; at += sizeof words) {
        memcpy(words, at, sizeof words);
        for (int i = 0; i < N_LANES; i++)
            lanes[i] = (lanes[i] ^ words[i]) * 0x100000001b3u;
    }
    return wire_hash(hash, lanes, sizeof lanes);
}
