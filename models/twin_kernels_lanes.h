/*
 * twin_kernels_lanes.h: body of twin_kernels.c, included there once per register width.
 * Expects LANES, FMA(a, b, c), SPLAT(number), TILE_X (output pixels a tile), TILE_C (registers of channels a tile),
 * TARGET (function attribute), NAME and KERNEL(name), and undefines them.
 */
#define VEC     KERNEL(vec)
#define IVEC    KERNEL(ivec)
#define LOAD(p) (*(const VEC *)(p))
#define INLINE  static inline __attribute__((always_inline)) TARGET

typedef float VEC __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t IVEC __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* One tile: n_x pixels of one output row by n_c registers of channels, one kernel row. */
INLINE void KERNEL(tile)(const struct twin_conv *job, const float *in, ptrdiff_t in_x,
                         const float *weight, float *out, int n_x, int n_c)
{
    VEC acc[TILE_X][TILE_C];
#pragma GCC unroll 8
    for (int i = 0; i < n_x; i++)
#pragma GCC unroll 8
        for (int j = 0; j < n_c; j++)
            acc[i][j] = LOAD(out + i * (ptrdiff_t)job->out_pitch + j * LANES);
    int n_in = job->n_in, n_out = job->n_out, n_taps = job->kernel;
    ptrdiff_t next_x = job->dilation * (ptrdiff_t)job->in_pitch;
    if (next_x == n_in) { /* the kernel's row is one piece of memory */
        n_in *= n_taps;
        n_taps = 1;
    }
    for (int kx = 0; kx < n_taps; kx++, in += next_x)
        for (int c = 0; c < n_in; c++, weight += n_out) {
            VEC w[TILE_C];
#pragma GCC unroll 8
            for (int j = 0; j < n_c; j++)
                w[j] = LOAD(weight + j * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < n_x; i++)
#pragma GCC unroll 8
                for (int j = 0; j < n_c; j++)
                    acc[i][j] = FMA(SPLAT(in[i * in_x + c]), w[j], acc[i][j]);
        }
#pragma GCC unroll 8
    for (int i = 0; i < n_x; i++)
#pragma GCC unroll 8
        for (int j = 0; j < n_c; j++)
            *(VEC *)(out + i * (ptrdiff_t)job->out_pitch + j * LANES) = acc[i][j];
}

INLINE void KERNEL(row)(const struct twin_conv *job, const float *in, const float *weight,
                        float *out, int n_c)
{
    ptrdiff_t in_x = job->stride * (ptrdiff_t)job->in_pitch;
    ptrdiff_t out_x = job->out_pitch;
    int x = 0, n = job->out_w;
    for (; x + TILE_X <= n; x += TILE_X)
        KERNEL(tile)(job, in + x * in_x, in_x, weight, out + x * out_x, TILE_X, n_c);
    in += x * in_x;
    out += x * out_x;
    switch (n - x) {
    case 5:
        KERNEL(tile)(job, in, in_x, weight, out, 5 % TILE_X, n_c);
        break;
    case 4:
        KERNEL(tile)(job, in, in_x, weight, out, 4 % TILE_X, n_c);
        break;
    case 3:
        KERNEL(tile)(job, in, in_x, weight, out, 3, n_c);
        break;
    case 2:
        KERNEL(tile)(job, in, in_x, weight, out, 2, n_c);
        break;
    case 1:
        KERNEL(tile)(job, in, in_x, weight, out, 1, n_c);
        break;
    }
}

TARGET static void KERNEL(fill_bias)(const struct twin_conv *job)
{
    for (int y = 0; y < job->out_h; y++)
        for (int x = 0; x < job->out_w; x++) {
            float *out = job->out + y * job->out_row + x * (ptrdiff_t)job->out_pitch;
            for (int c = 0; c < job->n_out; c += LANES)
                *(VEC *)(out + c) = LOAD(job->bias + c);
        }
}

/* Kernel rows are outermost: one row's weights (7 x 64 x 64 floats: 115 KB) stay in the
 * second-level cache while all pixels pass. */
TARGET static void KERNEL(conv)(const struct twin_conv *given)
{
    struct twin_conv job = *given;
    if (job.bias)
        KERNEL(fill_bias)(&job);
    /* pixels of several rows in one tile, where they lie evenly */
    if (job.kernel == 1 && job.stride == 1 && job.row0 == 0 &&
        job.in_row == job.out_w * (ptrdiff_t)job.in_pitch &&
        job.out_row == job.out_w * (ptrdiff_t)job.out_pitch) {
        job.out_w *= job.out_h;
        job.out_h = 1;
    }
    size_t kernel_row = (size_t)job.kernel * (size_t)job.n_in * (size_t)job.n_out;
    for (int ky = 0; ky < job.kernel; ky++)
        for (int c = 0; c < job.n_out;) {
            int n_left = (job.n_out - c) / LANES;
            int n_c = n_left >= TILE_C ? TILE_C : n_left >= 2 ? 2 : 1;
            for (int y = 0; y < job.out_h; y++) {
                int row = y * job.stride + job.row0 + ky * job.dilation;
                if (row < 0 || row >= job.in_h)
                    continue;
                const float *in = job.in + row * job.in_row;
                const float *weight = job.weight + (size_t)ky * kernel_row + c;
                float *out = job.out + y * job.out_row + c;
                if (n_c == TILE_C)
                    KERNEL(row)(&job, in, weight, out, TILE_C);
                else if (n_c == 2)
                    KERNEL(row)(&job, in, weight, out, 2);
                else
                    KERNEL(row)(&job, in, weight, out, 1);
            }
            c += n_c * LANES;
        }
}

/* n_x pixels of one output row, one register of channels, the whole kernel. */
INLINE void KERNEL(depthwise_tile)(const struct twin_conv *job, int y, int x, int c,
                                   int n_x)
{
    ptrdiff_t in_x = job->stride * (ptrdiff_t)job->in_pitch;
    ptrdiff_t next_x = job->dilation * (ptrdiff_t)job->in_pitch;
    VEC acc[8], zero = {0};
#pragma GCC unroll 8
    for (int i = 0; i < n_x; i++)
        acc[i] = job->bias ? LOAD(job->bias + c) : zero;
    for (int ky = 0; ky < job->kernel; ky++) {
        int row = y * job->stride + job->row0 + ky * job->dilation;
        if (row < 0 || row >= job->in_h)
            continue;
        const float *in = job->in + row * job->in_row + x * in_x + c;
        const float *weight = job->weight + (ptrdiff_t)ky * job->kernel * job->n_out + c;
        for (int kx = 0; kx < job->kernel; kx++, in += next_x, weight += job->n_out) {
            VEC w = LOAD(weight);
#pragma GCC unroll 8
            for (int i = 0; i < n_x; i++)
                acc[i] = FMA(LOAD(in + i * in_x), w, acc[i]);
        }
    }
    float *out = job->out + y * job->out_row + x * (ptrdiff_t)job->out_pitch + c;
#pragma GCC unroll 8
    for (int i = 0; i < n_x; i++)
        *(VEC *)(out + i * (ptrdiff_t)job->out_pitch) = acc[i];
}

TARGET static void KERNEL(depthwise)(const struct twin_conv *job)
{
    for (int y = 0; y < job->out_h; y++)
        for (int c = 0; c < job->n_out; c += LANES) {
            int x = 0;
            for (; x + 8 <= job->out_w; x += 8)
                KERNEL(depthwise_tile)(job, y, x, c, 8);
            for (; x + 4 <= job->out_w; x += 4)
                KERNEL(depthwise_tile)(job, y, x, c, 4);
            for (; x + 2 <= job->out_w; x += 2)
                KERNEL(depthwise_tile)(job, y, x, c, 2);
            for (; x < job->out_w; x++)
                KERNEL(depthwise_tile)(job, y, x, c, 1);
        }
}

/* n_i input channels by n_c registers of output channels of one tap, all pixels. */
INLINE void KERNEL(grad_tile)(const struct twin_conv *job, int ky, int kx, int i0, int c,
                              float *grad, int n_i, int n_c)
{
    ptrdiff_t in_x = job->stride * (ptrdiff_t)job->in_pitch, n_out = job->n_out;
    VEC acc[TILE_X][TILE_C];
#pragma GCC unroll 8
    for (int i = 0; i < n_i; i++)
#pragma GCC unroll 8
        for (int j = 0; j < n_c; j++)
            acc[i][j] = LOAD(grad + i * n_out + j * LANES);
    for (int y = 0; y < job->out_h; y++) {
        int row = y * job->stride + job->row0 + ky * job->dilation;
        if (row < 0 || row >= job->in_h)
            continue;
        const float *in = job->in + row * job->in_row + i0 +
                          kx * (ptrdiff_t)job->dilation * job->in_pitch;
        const float *out = job->out + y * job->out_row + c;
        for (int x = 0; x < job->out_w; x++, in += in_x, out += job->out_pitch)
#pragma GCC unroll 8
            for (int i = 0; i < n_i; i++)
#pragma GCC unroll 8
                for (int j = 0; j < n_c; j++)
                    acc[i][j] = FMA(SPLAT(in[i]), LOAD(out + j * LANES), acc[i][j]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < n_i; i++)
#pragma GCC unroll 8
        for (int j = 0; j < n_c; j++)
            *(VEC *)(grad + i * n_out + j * LANES) = acc[i][j];
}

TARGET static void KERNEL(conv_grad)(const struct twin_conv *job, float *grad)
{
    for (int tap = 0; tap < job->kernel * job->kernel; tap++)
        for (int c = 0; c < job->n_out;) {
            int ky = tap / job->kernel, kx = tap % job->kernel, i = 0;
            int wide = c + TILE_C * LANES <= job->n_out;
            float *at = grad + (ptrdiff_t)tap * job->n_in * job->n_out + c;
            for (; wide && i + TILE_X <= job->n_in; i += TILE_X)
                KERNEL(grad_tile)
            (job, ky, kx, i, c, at + i * (ptrdiff_t)job->n_out, TILE_X, TILE_C);
            for (; wide && i < job->n_in; i++)
                KERNEL(grad_tile)
            (job, ky, kx, i, c, at + i * (ptrdiff_t)job->n_out, 1, TILE_C);
            for (; i < job->n_in; i++)
                KERNEL(grad_tile)
            (job, ky, kx, i, c, at + i * (ptrdiff_t)job->n_out, 1, 1);
            c += wide ? TILE_C * LANES : LANES;
        }
}

TARGET static void KERNEL(depthwise_grad)(const struct twin_conv *job, float *grad)
{
    ptrdiff_t in_x = job->stride * (ptrdiff_t)job->in_pitch;
    int n = job->kernel;
    for (int tap = 0; tap < n * n; tap++)
        for (int c = 0; c < job->n_out; c += LANES) {
            VEC sum = {0};
            for (int y = 0; y < job->out_h; y++) {
                int row = y * job->stride + job->row0 + tap / n * job->dilation;
                if (row < 0 || row >= job->in_h)
                    continue;
                const float *in = job->in + row * job->in_row + c +
                                  tap % n * (ptrdiff_t)job->dilation * job->in_pitch;
                const float *out = job->out + y * job->out_row + c;
                for (int x = 0; x < job->out_w; x++)
                    sum = FMA(LOAD(in + x * in_x),
                              LOAD(out + x * (ptrdiff_t)job->out_pitch), sum);
            }
            *(VEC *)(grad + (ptrdiff_t)tap * job->n_out + c) += sum;
        }
}

/* exp(x) for x <= 0: 2^n times a polynomial on [-ln2/2, ln2/2], within 1e-7 of relative
 * error (coefficients as in Cephes expf); 0 below the smallest normal number. */
INLINE VEC KERNEL(exp_negative)(VEC x)
{
    IVEC in_range = (IVEC)(x > -87.0f);
    x = (VEC)((IVEC)x & in_range);
    VEC n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f;
    VEC r = FMA(n, SPLAT(-0.693359375f), x);
    r = FMA(n, SPLAT(2.12194440e-4f), r);
    VEC p = FMA(r, SPLAT(1.9875691500e-4f), SPLAT(1.3981999507e-3f));
    p = FMA(p, r, SPLAT(8.3334519073e-3f));
    p = FMA(p, r, SPLAT(4.1665795894e-2f));
    p = FMA(p, r, SPLAT(1.6666665459e-1f));
    p = FMA(p, r, SPLAT(5.0000001201e-1f));
    p = FMA(p, r * r, r) + 1.0f;
    IVEC scale = (__builtin_convertvector(n, IVEC) + 127) << 23;
    return (VEC)((IVEC)(p * (VEC)scale) & in_range);
}

/* log(1 + e) for 0 <= e <= 1: atanh series of e / (2 + e), |s| <= 1/3. */
INLINE VEC KERNEL(log1p_unit)(VEC e)
{
    VEC s = e / (e + 2.0f), s2 = s * s;
    VEC p = s2 * (1.0f / 15.0f) + 1.0f / 13.0f;
    p = p * s2 + 1.0f / 11.0f;
    p = p * s2 + 1.0f / 9.0f;
    p = p * s2 + 1.0f / 7.0f;
    p = p * s2 + 1.0f / 5.0f;
    p = p * s2 + 1.0f / 3.0f;
    return 2.0f * s * (p * s2 + 1.0f);
}

TARGET static void KERNEL(act)(enum twin_act act, float shift_x, float shift_y, size_t n,
                               float *y)
{
    for (size_t i = 0; i < n && act != TWIN_LINEAR; i += LANES) {
        VEC t = LOAD(y + i), out;
        if (act == TWIN_ELU) {
            t -= shift_x;
            IVEC above = (IVEC)(t > 0.0f);
            VEC below = KERNEL(exp_negative)((VEC)((IVEC)t & ~above)) - 1.0f;
            out = (VEC)(((IVEC)t & above) | ((IVEC)below & ~above)) + shift_y;
        } else {
            IVEC above = (IVEC)(t > 0.0f);
            VEC negative = (VEC)((IVEC)t | INT32_MIN); /* -|t| */
            out = (VEC)((IVEC)t & above) +
                  KERNEL(log1p_unit)(KERNEL(exp_negative)(negative));
        }
        *(VEC *)(y + i) = out;
    }
}

TARGET static void KERNEL(act_back)(enum twin_act act, float shift_y, size_t n,
                                    const float *y, float *dy)
{
    for (size_t i = 0; i < n && act != TWIN_LINEAR; i += LANES) {
        VEC out = LOAD(y + i) - shift_y, slope;
        if (act == TWIN_ELU) { /* exp(t) is the output + 1 */
            IVEC above = (IVEC)(out > 0.0f);
            slope = (VEC)((IVEC)out & ~above) + 1.0f;
        } else { /* 1 / (1 + exp(-t)) is 1 - exp(-output) */
            slope = 1.0f - KERNEL(exp_negative)(-LOAD(y + i));
        }
        *(VEC *)(dy + i) = LOAD(dy + i) * slope;
    }
}

TARGET static float KERNEL(dot)(int n, const float *a, const float *b)
{
    VEC sum = {0};
    for (int i = 0; i < n; i += LANES)
        sum = FMA(LOAD(a + i), LOAD(b + i), sum);
    float total = 0.0f;
    for (int i = 0; i < LANES; i++)
        total += sum[i];
    return total;
}

TARGET static void KERNEL(add_scaled)(int n, float scale, const float *x, float *y)
{
    for (int i = 0; i < n; i += LANES)
        *(VEC *)(y + i) = FMA(SPLAT(scale), LOAD(x + i), LOAD(y + i));
}

static const struct twin_kernels KERNEL(kernels) = {
    NAME,
    KERNEL(conv),
    KERNEL(depthwise),
    KERNEL(conv_grad),
    KERNEL(depthwise_grad),
    KERNEL(act),
    KERNEL(act_back),
    KERNEL(dot),
    KERNEL(add_scaled),
};

#undef VEC
#undef IVEC
#undef LOAD
#undef INLINE
#undef LANES
#undef FMA
#undef SPLAT
#undef TILE_X
#undef TILE_C
#undef TARGET
#undef KERNEL
#undef NAME
