#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/random.h"
#include "models/safetensors.h"

/* A file of this header and so many bytes of data, exactly as long as it is. */
static unsigned char *make_file(const char *header, const void *data, size_t n_data,
                                size_t *size)
{
    size_t n = strlen(header);
    *size = 8 + n + n_data;
    unsigned char *bytes = malloc(*size);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(bytes + 8, header, n);
    if (n_data)
        memcpy(bytes + 8 + n, data, n_data);
    return bytes;
}

static const char *const good =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[8,16]},"
    "\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}   ";

static void a_good_file_gives_its_tensors(void **state)
{
    (void)state;
    const float values[4] = {0.0f, 0.0f, 1.5f, -2.0f};
    size_t size;
    char why[128] = "";
    unsigned char *bytes = make_file(good, values, sizeof values, &size);
    struct safetensors *file = safetensors_parse(bytes, size, why, sizeof why);
    if (!file)
        fail_msg("%s", why);
    assert_int_equal(safetensors_count(file), 2);
    assert_string_equal(safetensors_at(file, 0)->name, "b");
    const struct safetensors_tensor *a = safetensors_find(file, "a");
    assert_int_equal(a->n_dims, 2);
    assert_int_equal(a->count, 2);
    float out[4] = {7.0f, 7.0f, 7.0f, 7.0f};
    assert_int_equal(safetensors_floats(a, out + 1), 0);
    assert_true(out[0] == 7.0f && out[1] == 1.5f && out[2] == -2.0f && out[3] == 7.0f);
    assert_int_equal(safetensors_floats(safetensors_at(file, 0), out), -ENOTSUP);
    assert_null(safetensors_find(file, "c"));
    assert_string_equal(safetensors_metadata(file, "format"), "pt");
    assert_null(safetensors_metadata(file, "other"));
    safetensors_close(file);
    free(bytes);
}

#define TENSOR(name, dtype, shape, offsets)                                              \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape                             \
    ",\"data_offsets\":" offsets "}"

static void what_is_wrong_has_a_reason(void **state)
{
    (void)state;
    const struct {
        const char *header, *names; /* what the reason must speak of */
    } cases[] = {
        {"", "JSON"},
        {"[]", "JSON"},
        {"{", "JSON"},
        {"{}", "belong to none"},
        {"{\"a\":1}", "a"},
        {"{\"a\":{}}", "a"},
        {"{" TENSOR("a", "F31", "[4]", "[0,16]") "}", "F31"},
        {"{" TENSOR("a", "F32", "[5]", "[0,16]") "}", "a"},
        {"{" TENSOR("a", "F32", "[3]", "[0,16]") "}", "a"},
        {"{" TENSOR("a", "F32", "[-4]", "[0,16]") "}", "a"},
        {"{" TENSOR("a", "F32", "[4.0]", "[0,16]") "}", "a"},
        {"{" TENSOR("a", "F32", "4", "[0,16]") "}", "a"},
        {"{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]") "}", "a"},
        {"{" TENSOR("a", "F32", "[4]", "[0,20]") "}", "outside"},
        {"{" TENSOR("a", "F32", "[4]", "[-16,0]") "}", "outside"},
        {"{" TENSOR("a", "F32", "[4]", "[16,0]") "}", "outside"},
        {"{" TENSOR("a", "F32", "[4]", "[0]") "}", "a"},
        {"{" TENSOR("a", "F32", "[4]", "[0,\"16\"]") "}", "a"},
        {"{" TENSOR("a", "F32", "[4294967296,4294967296]", "[0,16]") "}", "large"},
        {"{" TENSOR("a", "F32", "[4611686018427387905]", "[0,4]") "}", "a"},
        {"{" TENSOR("a", "F32", "[99999999999999999999]", "[0,16]") "}", "JSON"},
        {"{" TENSOR("a", "F32", "[2]", "[0,8]") "}", "belong to none"},
        {"{" TENSOR("a", "F32", "[2]", "[8,16]") "}", "belong to no tensor"},
        {"{" TENSOR("a", "F32", "[3]", "[0,12]") "," TENSOR("b", "F32", "[2]",
                                                            "[8,16]") "}",
         "overlap"},
        {"{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("a", "F32", "[2]",
                                                           "[8,16]") "}",
         "JSON"},
        {"{\"a\\u0000b\":{}}", "JSON"},
    };
    const float values[4] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        char why[256] = "";
        unsigned char *bytes = make_file(cases[i].header, values, sizeof values, &size);
        if (safetensors_parse(bytes, size, why, sizeof why))
            fail_msg("accepted: %s", cases[i].header);
        if (!strstr(why, cases[i].names))
            fail_msg("%s: \"%s\" does not name %s", cases[i].header, why, cases[i].names);
        free(bytes);
    }
    char why[64];
    assert_null(safetensors_open("/nonexistent/a.safetensors", why, sizeof why));
    assert_null(safetensors_open("/", why, sizeof why));
    assert_null(safetensors_parse("1234567", 7, why, sizeof why));
    assert_null(safetensors_parse("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, why, 64));
    assert_null(safetensors_parse("\x03\0\0\0\0\0\0\0{}", 10, why, sizeof why));
}

static void values_must_be_finite(void **state)
{
    (void)state;
    const double wide[4] = {1.0, -1e300, 0.0, 0.0};
    float narrow[4] = {1.0f, 2.0f, 3.0f, INFINITY}, out[4];
    size_t size;
    char why[128];
    unsigned char *bytes =
        make_file("{" TENSOR("a", "F64", "[4]", "[0,32]") "}", wide, sizeof wide, &size);
    struct safetensors *file = safetensors_parse(bytes, size, why, sizeof why);
    assert_non_null(file);
    assert_int_equal(safetensors_floats(safetensors_at(file, 0), out), -EDOM);
    safetensors_close(file);
    free(bytes);
    for (int bad = 0; bad < 2; bad++) {
        bytes = make_file("{" TENSOR("a", "F32", "[4]", "[0,16]") "}", narrow,
                          sizeof narrow, &size);
        file = safetensors_parse(bytes, size, why, sizeof why);
        assert_non_null(file);
        assert_int_equal(safetensors_floats(safetensors_at(file, 0), out), -EDOM);
        safetensors_close(file);
        free(bytes);
        narrow[3] = NAN;
    }
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    char path[] = "/tmp/test_safetensors_XXXXXX", why[128];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    const float a[6] = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f}, b[1] = {-1.0f};
    struct safetensors_tensor tensors[2] = {
        {.name = "core.a",
         .n_dims = 2,
         .dims = {2, 3},
         .count = 6,
         .data = (const unsigned char *)a},
        {.name = "b", .n_dims = 0, .count = 1, .data = (const unsigned char *)b}};
    const char *metadata[][2] = {{"config", "{\"x\": \"\\n\"}"}};
    assert_int_equal(
        safetensors_write(path, tensors, 2, (const char *const(*)[2])metadata, 1), 0);
    struct safetensors *file = safetensors_open(path, why, sizeof why);
    if (!file)
        fail_msg("%s", why);
    float out[6];
    assert_int_equal(safetensors_count(file), 2);
    assert_int_equal(safetensors_floats(safetensors_find(file, "core.a"), out), 0);
    assert_memory_equal(out, a, sizeof a);
    assert_int_equal(safetensors_floats(safetensors_find(file, "b"), out), 0);
    assert_true(out[0] == -1.0f);
    assert_string_equal(safetensors_metadata(file, "config"), metadata[0][1]);
    safetensors_close(file);
    assert_int_equal(safetensors_write("/nonexistent/a", tensors, 2, NULL, 0), -ENOENT);
    unlink(path);
}

static void any_bytes_give_tensors_or_a_reason(void **state)
{
    (void)state;
    uint64_t seed = getenv("EVOKE_SEED") ? strtoull(getenv("EVOKE_SEED"), NULL, 0) : 1;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    struct random random;
    random_init(&random, seed, 0);
    const float values[4] = {0.0f, 0.0f, 1.5f, -2.0f};
    int n_refused = 0, n_rounds = 100000;
    for (int round = 0; round < n_rounds; round++) {
        size_t size;
        char why[64];
        unsigned char *whole = make_file(good, values, sizeof values, &size);
        for (uint32_t n = random_below(&random, 4); n > 0; n--)
            whole[random_below(&random, (uint32_t)size)] =
                (unsigned char)random_u64(&random);
        if (random_below(&random, 4) == 0)
            size = random_below(&random, (uint32_t)size + 1);
        unsigned char *bytes = malloc(size ? size : 1);
        memcpy(bytes, whole, size);
        struct safetensors *file = safetensors_parse(bytes, size, why, sizeof why);
        n_refused += !file;
        for (int i = 0; file && i < safetensors_count(file); i++) {
            const struct safetensors_tensor *tensor = safetensors_at(file, i);
            assert_true(tensor->data >= bytes && tensor->size <= size &&
                        tensor->data + tensor->size <= bytes + size);
            float out[4];
            if (tensor->count <= 4)
                safetensors_floats(tensor, out);
        }
        safetensors_close(file);
        free(bytes);
        free(whole);
    }
    assert_true(n_refused > n_rounds / 10 && n_refused < n_rounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_gives_its_tensors),
        cmocka_unit_test(what_is_wrong_has_a_reason),
        cmocka_unit_test(values_must_be_finite),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(any_bytes_give_tensors_or_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
