#include "models/twin_kernels.h"

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* The same source is compiled for three register widths; twin_kernels() picks. Fused
 * multiply-add is written out, so that no compiler fuses here and not there: every path
 * through a kernel must round alike. */

#define FMA(a, b, c) ((a) * (b) + (c))
#define SPLAT(s)     ((VEC){(s), (s), (s), (s)})
#define LANES        4
#define TILE_X       4
#define TILE_C       2
#define TARGET
#define NAME         "base"
#define KERNEL(name) name##_base
#include "models/twin_kernels_lanes.h"

#if defined(__x86_64__)

#define FMA(a, b, c) ((VEC)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define SPLAT(s)     ((VEC)_mm256_set1_ps(s))
#define LANES        8
#define TILE_X       6
#define TILE_C       2
#define TARGET       __attribute__((target("avx2,fma")))
#define NAME         "avx2"
#define KERNEL(name) name##_avx2
#include "models/twin_kernels_lanes.h"

#define FMA(a, b, c) ((VEC)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define SPLAT(s)     ((VEC)_mm512_set1_ps(s))
#define LANES        16
#define TILE_X       6
#define TILE_C       4
#define TARGET       __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")))
#define NAME         "avx512"
#define KERNEL(name) name##_avx512
#include "models/twin_kernels_lanes.h"

#endif

const struct twin_kernels *twin_kernels_nth(int n)
{
    const struct twin_kernels *able[3];
    int n_able = 0;
#if defined(__x86_64__)
    int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (has_avx2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
        able[n_able++] = &kernels_avx512;
    if (has_avx2)
        able[n_able++] = &kernels_avx2;
#endif
    able[n_able++] = &kernels_base;
    return n >= 0 && n < n_able ? able[n] : NULL;
}

const struct twin_kernels *twin_kernels(void)
{
    return twin_kernels_nth(0);
}
