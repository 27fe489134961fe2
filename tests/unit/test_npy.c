#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/npy.h"
#include "models/random.h"

static size_t make_file(unsigned char *bytes, const char *dict, const void *data,
                        size_t n)
{
    size_t n_dict = strlen(dict);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (unsigned char)(n_dict & 255);
    bytes[9] = (unsigned char)(n_dict >> 8);
    memcpy(bytes + 10, dict, n_dict);
    if (n)
        memcpy(bytes + 10 + n_dict, data, n);
    return 10 + n_dict + n;
}

static void all_types_give_their_numbers(void **state)
{
    (void)state;
    const struct {
        const char *descr;
        const void *data;
        size_t size;
        double second;
    } cases[] = {
        {"|b1", "\0\1", 1, 1.0},
        {"|u1", "\1\xff", 1, 255.0},
        {"|i1", "\1\xff", 1, -1.0},
        {"<u2", "\1\0\xfe\xff", 2, 65534.0},
        {"<i2", "\1\0\xfe\xff", 2, -2.0},
        {"<i4", "\1\0\0\0\xfd\xff\xff\xff", 4, -3.0},
        {"<i8", "\1\0\0\0\0\0\0\0\xfc\xff\xff\xff\xff\xff\xff\xff", 8, -4.0},
        {"<f4", "\0\0\0\0\0\0\x20\xc0", 4, -2.5},
        {"<f8", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\xc0", 8, -2.5},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        unsigned char bytes[256];
        char dict[128];
        snprintf(dict, sizeof dict,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (2, 1), }  \n",
                 cases[c].descr);
        size_t size = make_file(bytes, dict, cases[c].data, 2 * cases[c].size);
        struct npy npy;
        const char *why = npy_parse(&npy, bytes, size);
        if (why)
            fail_msg("%s: %s", cases[c].descr, why);
        assert_int_equal(npy.n, 2);
        assert_int_equal(npy.n_dims, 2);
        assert_int_equal(npy.shape[0], 2);
        assert_int_equal(npy_type_size(npy.type), cases[c].size);
        assert_true(npy_get(&npy, 1) == cases[c].second);
        float both[4] = {7.0F, 7.0F, 7.0F, 7.0F};
        npy_floats(&npy, 1, 1, both + 1);
        assert_true(both[0] == 7.0F && both[1] == (float)cases[c].second &&
                    both[2] == 7.0F);
    }
}

static void what_is_wrong_has_a_reason(void **state)
{
    (void)state;
    const char *dicts[] = {
        "",
        "{}",
        "{'descr': '<f4', 'fortran_order': False, }",
        "{'descr': '<f4', 'shape': (2,), }",
        "{'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775809, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2), }",
    };
    for (size_t i = 0; i < sizeof dicts / sizeof *dicts; i++) {
        unsigned char bytes[256];
        float data[2] = {1.0F, 2.0F};
        size_t size = make_file(bytes, dicts[i], data, sizeof data);
        struct npy npy;
        if (!npy_parse(&npy, bytes, size))
            fail_msg("accepted: %s", dicts[i]);
    }
    struct npy npy;
    assert_non_null(npy_open(&npy, "/nonexistent/a.npy"));
    assert_non_null(npy_open(&npy, "/"));
}

static void any_bytes_give_an_array_or_a_reason(void **state)
{
    (void)state;
    uint64_t seed = getenv("EVOKE_SEED") ? strtoull(getenv("EVOKE_SEED"), NULL, 0) : 1;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    struct random random;
    random_init(&random, seed, 0);
    const char *dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    float data[6] = {1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F};
    int n_refused = 0;
    for (int round = 0; round < 200000; round++) {
        unsigned char bytes[256];
        size_t size = make_file(bytes, dict, data, sizeof data);
        for (uint32_t n = random_below(&random, 4); n > 0; n--)
            bytes[random_below(&random, (uint32_t)size)] =
                (unsigned char)random_u64(&random);
        if (random_below(&random, 4) == 0)
            size = random_below(&random, (uint32_t)size + 1);
        /* exactly as long as it is, so that a read past its end is seen by a sanitizer */
        unsigned char *exact = malloc(size ? size : 1);
        memcpy(exact, bytes, size);
        struct npy npy;
        if (npy_parse(&npy, exact, size)) {
            n_refused++;
        } else {
            assert_in_range(npy.n_dims, 0, NPY_DIMS_MAX);
            size_t n = 1;
            for (int d = 0; d < npy.n_dims; d++)
                n *= npy.shape[d];
            assert_int_equal(n, npy.n);
            const unsigned char *begin = npy.data;
            assert_true(begin >= exact &&
                        begin + npy.n * npy_type_size(npy.type) == exact + size);
            double sum = 0.0;
            for (size_t i = 0; i < npy.n; i++)
                sum += npy_get(&npy, i);
            (void)sum;
        }
        free(exact);
    }
    assert_in_range(n_refused, 50000, 199999);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    char path[] = "/tmp/test_npy_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int n_dims = 0; n_dims <= NPY_DIMS_MAX; n_dims++) {
        size_t shape[NPY_DIMS_MAX] = {3, 2, 1, 2, 1, 1, 1, 1}, n = 1;
        float data[12];
        for (int d = 0; d < n_dims; d++)
            n *= shape[d];
        for (size_t i = 0; i < n; i++)
            data[i] = (float)i - 2.5F;
        assert_int_equal(npy_write(path, NPY_F4, n_dims, shape, data), 0);
        struct npy npy;
        const char *why = npy_open(&npy, path);
        if (why)
            fail_msg("%d dimensions: %s", n_dims, why);
        assert_int_equal(npy.type, NPY_F4);
        assert_int_equal(npy.n_dims, n_dims);
        for (int d = 0; d < n_dims; d++)
            assert_int_equal(npy.shape[d], shape[d]);
        for (size_t i = 0; i < n; i++)
            assert_true(npy_get(&npy, i) == (double)data[i]);
        /* data begin at a multiple of 64, as NumPy's do */
        assert_int_equal(((const char *)npy.data - (const char *)npy.file) % 64, 0);
        npy_close(&npy);
    }
    unlink(path);
    size_t one = 1;
    assert_true(npy_write("/nonexistent/a.npy", NPY_U1, 1, &one, "x") < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_types_give_their_numbers),
        cmocka_unit_test(what_is_wrong_has_a_reason),
        cmocka_unit_test(any_bytes_give_an_array_or_a_reason),
        cmocka_unit_test(what_is_written_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
