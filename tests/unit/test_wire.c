#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "protocol/wire.h"

static uint64_t seed;

static uint64_t random_u64(void)
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Fields of these names must be sane for the event to be one. */
static uint64_t sane(const char *name, uint64_t value)
{
    static const char *const small[] = {"n_bins",      "n_units",   "height",
                                        "width",       "n_text",    "n_samples",
                                        "bin_samples", "n_counters"};
    if (strcmp(name, "dtype") == 0)
        return 1 + value % 3;
    if (strcmp(name, "level") == 0 || strcmp(name, "learn") == 0)
        return value % 2;
    if (strstr(name, "sample") && !strstr(name, "n_samples") && !strstr(name, "bin"))
        return value >> 8;
    if (strstr(name, "set_ns") || strcmp(name, "requested_ns") == 0)
        return value >> 8;
    for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++)
        if (strcmp(name, small[i]) == 0)
            return 1 + value % 40;
    return value;
}

static void make_event(unsigned type, struct event *ev, unsigned char *data)
{
    int n;
    const struct wire_field *fields = wire_fields(type, &n);

    memset(ev, 0, sizeof(*ev));
    ev->type = (uint16_t)type;
    ev->source = (uint16_t)random_u64();
    ev->epoch = (uint32_t)random_u64();
    ev->seq = random_u64();
    ev->time_ns = (int64_t)random_u64();
    for (int i = 0; i < n; i++) {
        char *at = (char *)ev + fields[i].offset;
        uint64_t value = sane(fields[i].name, random_u64());
        double real = 1 + (double)(value % 100000);
        uint32_t u32 = (uint32_t)value;
        if (fields[i].kind == WIRE_F64)
            memcpy(at, &real, 8);
        else if (fields[i].kind == WIRE_U32)
            memcpy(at, &u32, 4);
        else
            memcpy(at, &value, 8);
    }
    ev->data_size = (uint32_t)event_data_size(ev);
    assert_true(ev->data_size <= 1 << 16);
    for (uint32_t i = 0; i < ev->data_size; i++)
        data[i] = (unsigned char)(random_u64() & 0x3f); /* as f32: finite, positive */
    ev->data = ev->data_size ? data : NULL;
}

/* Invariant of wire.h: decode(encode(ev)) equals ev, for every type. */
static void round_trip(void **state)
{
    static unsigned char data[1 << 16], row[(1 << 16) + WIRE_HEAD_MAX];

    (void)state;
    for (int round = 0; round < 2000; round++) {
        for (unsigned type = 1; type < EVENT_TYPE_END; type++) {
            struct event ev, back;
            size_t n;
            if (strcmp(event_name(type), "unknown") == 0)
                continue;
            make_event(type, &ev, data);
            n = wire_encode(&ev, row);
            assert_true(n <= WIRE_HEAD_MAX);
            assert_int_equal(wire_decode(row, n, ev.data, ev.data_size, &back),
                             REJECT_NONE);
            if (ev.data_size)
                memcpy(row + n, ev.data, ev.data_size);
            assert_ptr_equal(back.data, ev.data);
            back.data = ev.data;
            assert_memory_equal(&back, &ev, sizeof(ev));
            assert_int_equal(wire_decode_row(row, n + ev.data_size, &back), REJECT_NONE);
            assert_int_equal(back.data_size, ev.data_size);
        }
    }
}

/* Total: any bytes give an event or a reason, and never more payload than came. */
static void any_bytes(void **state)
{
    static unsigned char row[4096], data[1 << 16];

    (void)state;
    for (int round = 0; round < 200000; round++) {
        struct event ev;
        size_t size = random_u64() % 300;
        unsigned type = (unsigned)(random_u64() % EVENT_TYPE_END);
        for (size_t i = 0; i < size; i++)
            row[i] = (unsigned char)random_u64();
        if (round % 2 && strcmp(event_name(type), "unknown") != 0) {
            make_event(type, &ev, data);
            size = wire_encode(&ev, row);
            for (int k = 0; k < 3; k++)
                row[random_u64() % size] ^= (unsigned char)(1u << random_u64() % 8);
            size -= random_u64() % 3;
        }
        if (wire_decode_row(row, size, &ev) == REJECT_NONE)
            assert_true(ev.data_size <= size);
    }
}

static enum reject decode_changed(size_t offset, const void *value, size_t n)
{
    unsigned char head[WIRE_HEAD_MAX];
    float counts[6] = {0, 1, 2, 3, 4, 5};
    struct event ev = {.type = EVENT_COUNTS}, back;
    size_t size;

    ev.counts.sample_rate_hz = 30000;
    ev.counts.bin_samples = 30;
    ev.counts.n_bins = 2;
    ev.counts.n_units = 3;
    ev.counts.dtype = DTYPE_F32;
    size = wire_encode(&ev, head);
    memcpy(head + offset, value, n);
    return wire_decode(head, size, counts, sizeof(counts), &back);
}

/* Times and lengths that could not be added to are refused (found by fuzz_loop). */
static void ends_of_numbers(void **state)
{
    const int64_t ends[] = {INT64_MAX, INT64_MIN + 1, INT64_C(1) << 60};
    const uint32_t most[2] = {UINT32_MAX, UINT32_MAX};

    (void)state;
    assert_int_equal(decode_changed(48, most, 8), REJECT_FIELD);
    for (int i = 0; i < 3; i++) {
        struct event shown = {.type = EVENT_SHOWN, .shown.onset_ns = ends[i]};
        struct event hidden = {.type = EVENT_HIDDEN, .hidden.offset_ns = ends[i]};
        unsigned char head[WIRE_HEAD_MAX];
        struct event back;
        assert_int_equal(wire_decode(head, wire_encode(&shown, head), NULL, 0, &back),
                         REJECT_FIELD);
        assert_int_equal(wire_decode(head, wire_encode(&hidden, head), NULL, 0, &back),
                         REJECT_FIELD);
        shown.shown.onset_ns = hidden.hidden.offset_ns = CLOCK_UNKNOWN;
        assert_int_equal(wire_decode(head, wire_encode(&shown, head), NULL, 0, &back),
                         REJECT_NONE);
        assert_int_equal(wire_decode(head, wire_encode(&hidden, head), NULL, 0, &back),
                         REJECT_NONE);
    }
}

static void each_fault_has_its_reason(void **state)
{
    const uint32_t zero = 0, many = 1u << 30, bad = 77;
    const uint16_t version = 9, type = 9;
    const double never = NAN, fast = 1e300;
    const int64_t far = INT64_MAX;
    unsigned char head[WIRE_HEAD_MAX];
    float counts[2] = {1, NAN};
    struct event ev = {.type = EVENT_COUNTS}, back;
    size_t size;

    (void)state;
    assert_int_equal(decode_changed(0, "EVOK", 4), REJECT_NONE);
    assert_int_equal(decode_changed(0, "evok", 4), REJECT_MAGIC);
    assert_int_equal(decode_changed(4, &version, 2), REJECT_VERSION);
    assert_int_equal(decode_changed(6, &type, 2), REJECT_TYPE);
    assert_int_equal(decode_changed(32, &far, 8), REJECT_FIELD);
    assert_int_equal(decode_changed(40, &never, 8), REJECT_FIELD);
    assert_int_equal(decode_changed(40, &fast, 8), REJECT_FIELD);
    assert_int_equal(decode_changed(48, &zero, 4), REJECT_FIELD);
    assert_int_equal(decode_changed(52, &zero, 4), REJECT_FIELD);
    assert_int_equal(decode_changed(52, &many, 4), REJECT_OVERSIZED);
    assert_int_equal(decode_changed(64, &bad, 4), REJECT_DTYPE);
    ev.counts.sample_rate_hz = 1;
    ev.counts.bin_samples = ev.counts.n_bins = 1;
    ev.counts.n_units = 2;
    ev.counts.dtype = DTYPE_F32;
    size = wire_encode(&ev, head);
    assert_int_equal(wire_decode(head, size, counts, sizeof(counts), &back),
                     REJECT_VALUE);
    counts[1] = -1;
    assert_int_equal(wire_decode(head, size, counts, sizeof(counts), &back),
                     REJECT_VALUE);
    counts[1] = 1;
    assert_int_equal(wire_decode(head, size, counts, 7, &back), REJECT_TRUNCATED);
    assert_int_equal(wire_decode(head, size, counts, 9, &back), REJECT_OVERSIZED);
    assert_int_equal(wire_decode(head, size - 1, counts, 8, &back), REJECT_TRUNCATED);
    assert_int_equal(wire_decode(head, size + 1, counts, 8, &back), REJECT_OVERSIZED);
    assert_int_equal(wire_decode(head, 31, counts, 8, &back), REJECT_TRUNCATED);
}

/* The identity that PROTOCOL.md gives as an example. */
static void hash_of_a_stimulus(void **state)
{
    const uint8_t pixels[4] = {0, 128, 255, 7};

    (void)state;
    assert_true(wire_hash(WIRE_HASH_START, "a", 1) == 0xaf63dc4c8601ec8cu);
    assert_true(wire_hash_stimulus(2, 2, DTYPE_U8, pixels) !=
                wire_hash_stimulus(1, 4, DTYPE_U8, pixels));
}

int main(void)
{
    const char *given = getenv("EVOKE_SEED");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(any_bytes),
        cmocka_unit_test(each_fault_has_its_reason), cmocka_unit_test(ends_of_numbers),
        cmocka_unit_test(hash_of_a_stimulus)};

    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
