#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/ops.h"
#include "models/random.h"

#define SENTINEL 1234.5F

static void fill(struct random *random, float *a, int n)
{
    for (int i = 0; i < n; i++)
        a[i] = (float)random_normal(random);
}

static void rows_are_what_plain_loops_give(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 11, 0);
    enum { ROWS_MAX = 40, N_MAX = 70 };
    static float a[ROWS_MAX * N_MAX + 1], x[N_MAX], y[N_MAX + 1], z[N_MAX];
    for (int round = 0; round < 300; round++) {
        int n_rows = 1 + (int)random_below(&random, ROWS_MAX);
        int n = 1 + (int)random_below(&random, N_MAX);
        fill(&random, a, n_rows * n);
        fill(&random, x, n);
        fill(&random, z, n_rows);
        a[n_rows * n] = y[n_rows] = SENTINEL;
        ops_rows_dot(n_rows, n, a, x, y);
        assert_true(y[n_rows] == SENTINEL);
        for (int i = 0; i < n_rows; i++) {
            double sum = 0.0, size = 0.0;
            for (int j = 0; j < n; j++) {
                sum += (double)a[i * n + j] * (double)x[j];
                size += fabs((double)a[i * n + j] * (double)x[j]);
            }
            assert_true(fabs((double)y[i] - sum) <= 1e-6 * size);
            assert_true(ops_dot(n, a + i * n, x) == y[i]); /* alone as in the batch */
        }
        y[n] = SENTINEL;
        ops_rows_sum(n_rows, n, a, z, y);
        assert_true(y[n] == SENTINEL);
        for (int j = 0; j < n; j++) {
            double sum = 0.0, size = 0.0;
            for (int i = 0; i < n_rows; i++) {
                sum += (double)a[i * n + j] * (double)z[i];
                size += fabs((double)a[i * n + j] * (double)z[i]);
            }
            assert_true(fabs((double)y[j] - sum) <= 1e-6 * size);
        }
    }
}

static void small_integers_are_exact(void **state)
{
    (void)state;
    float a[2 * 3 + 1] = {1, 2, 3, 4, 5, 6, SENTINEL}, x[3] = {1, -2, 3}, z[2] = {10, -1};
    float y[3];
    ops_rows_dot(2, 3, a, x, y);
    assert_true(y[0] == 6.0F && y[1] == 12.0F);
    ops_rows_sum(2, 3, a, z, y);
    assert_true(y[0] == 6.0F && y[1] == 15.0F && y[2] == 24.0F);
    ops_rows_add(2, 3, a, z, x);
    const float sum[7] = {11, -18, 33, 3, 7, 3, SENTINEL};
    assert_memory_equal(a, sum, sizeof sum);
    ops_add(3, 2.0F, x, a);
    assert_true(a[0] == 13.0F && a[1] == -22.0F && a[2] == 39.0F && a[3] == 3.0F);
    assert_true(ops_norm2(3, x) == 14.0);
    /* the norm is summed in double */
    static float many[1 << 16];
    for (int i = 0; i < 1 << 16; i++)
        many[i] = i ? 0x1p-13F : 1.0F;
    assert_true(ops_norm2(1 << 16, many) == 1.0 + 65535.0 * 0x1p-26);
}

static void denormals_become_zero(void **state)
{
    (void)state;
    volatile float least = FLT_MIN, half = 0.5F;
    ops_flush_denormals();
    assert_true(least * half == 0.0F);
    volatile uint32_t bits = 1;
    float denormal;
    memcpy(&denormal, (const void *)&bits, sizeof denormal);
    volatile float input = denormal, large = 1e30F;
    assert_true(input * large == 0.0F);
}

static void a_hash_sees_every_bit(void **state)
{
    (void)state;
    unsigned char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (unsigned char)(i * 7);
    uint64_t whole = ops_hash(1, bytes, sizeof bytes);
    assert_true(whole == ops_hash(1, bytes, sizeof bytes));
    assert_true(whole != ops_hash(2, bytes, sizeof bytes));
    assert_true(whole != ops_hash(1, bytes, 192));
    for (int bit = 0; bit < 256 * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (ops_hash(1, bytes, sizeof bytes) == whole)
            fail_msg("bit %d is not seen", bit);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (int i = 0; i < 192; i++) { /* nor may rows change places */
        unsigned char other[256];
        memcpy(other, bytes, sizeof bytes);
        memcpy(other + i % 3 * 64, bytes + (i % 3 + 1) * 64, 64);
        memcpy(other + (i % 3 + 1) * 64, bytes + i % 3 * 64, 64);
        assert_true(ops_hash(1, other, sizeof other) != whole);
    }
}

static int start(void **state)
{
    (void)state;
    ops_init();
    print_message("BLAS core: %s\n", ops_core());
    return strlen(ops_core()) == 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_what_plain_loops_give),
        cmocka_unit_test(small_integers_are_exact),
        cmocka_unit_test(a_hash_sees_every_bit),
        cmocka_unit_test(denormals_become_zero),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
