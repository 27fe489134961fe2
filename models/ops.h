/*
 * ops.h: dense vector arithmetic; the only caller of BLAS.
 *
 * Flow:      built from level-1 BLAS alone, row by row. Level 2 of OpenBLAS takes a
 *            process-wide lock for its buffers (blas_memory_alloc), which the real-time
 *            loop would share with idle workers; and a row computed alone would differ
 *            in its last bit from the same row in a batch. These have neither fault.
 * Memory:    caller's; matrices are row-major, rows without gaps; nothing overlaps.
 * Errors:    none.
 * Invariant: result of a row does not depend on the rows around it.
 */
#ifndef EVOKE_OPS_H
#define EVOKE_OPS_H

#include <stddef.h>
#include <stdint.h>

/* [slow] One BLAS thread a caller; before anything else here. */
void ops_init(void);

/* [any] Denormal numbers count as zero in the calling thread, from now on. */
void ops_flush_denormals(void);

/* [any] Name of the CPU kernels that BLAS chose: results repeat bit for bit on the same
 * name only. */
const char *ops_core(void);

/* [rt] a.b; a, b: (n). */
float ops_dot(int n, const float *a, const float *b);

/* [rt] |a|^2, summed in double. */
double ops_norm2(int n, const float *a);

/* [rt] y += scale x; x, y: (n). */
void ops_add(int n, float scale, const float *x, float *y);

/* [rt] y = A x; A: (n_rows, n), x: (n), y: (n_rows). */
void ops_rows_dot(int n_rows, int n, const float *a, const float *x, float *y);

/* [rt] y = A^T x; A: (n_rows, n), x: (n_rows), y: (n). */
void ops_rows_sum(int n_rows, int n, const float *a, const float *x, float *y);

/* [rt] A += x y^T; A: (n_rows, n), x: (n_rows), y: (n). */
void ops_rows_add(int n_rows, int n, float *a, const float *x, const float *y);

/* [rt] Content identity of size bytes, a multiple of 64: eight lanes of FNV-1a over
 * 64-bit words, then wire_hash() over the lanes. Bytewise FNV would take longer than
 * learning does. */
uint64_t ops_hash(uint64_t hash, const void *bytes, size_t size);

#endif
