#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "models/bins.h"
#include "models/random.h"
#include "protocol/event.h"

#define N_SEEDS     200
#define N_STEPS     500
#define N_UNITS_MAX 40
#define SENTINEL    (-12345.0f)
#define NO_JUMP     (INT64_C(1) << 60)

static uint64_t seed_of_run(void)
{
    const char *text = getenv("EVOKE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* A count that belongs to this row and unit only; fits u8, and exact as float. */
static unsigned count_of(int64_t row, int unit)
{
    uint64_t h =
        (uint64_t)row * 0x9e3779b97f4a7c15u + (uint64_t)unit * 0xd1342543de82ef95u;
    return (unsigned)(h >> 40) % 251;
}

static void fill(unsigned char *payload, uint32_t dtype, int64_t row, int n_units)
{
    for (int u = 0; u < n_units; u++) {
        unsigned count = count_of(row, u);
        uint16_t wide = (uint16_t)(count * 257); /* both bytes matter */
        float real = (float)count + 0.25f;
        if (dtype == DTYPE_U8)
            payload[u] = (unsigned char)count;
        else if (dtype == DTYPE_U16)
            memcpy(payload + 2 * u, &wide, 2);
        else
            memcpy(payload + 4 * u, &real, 4);
    }
}

static double value_of(uint32_t dtype, int64_t row, int unit)
{
    double count = count_of(row, unit);
    return dtype == DTYPE_U8 ? count : dtype == DTYPE_U16 ? count * 257.0 : count + 0.25;
}

/* bins_window() with sentinels before and after what it may write. */
static enum bins_cover window(const struct bins *bins, int64_t first, int64_t end,
                              int n_units, float *sum)
{
    float guarded[N_UNITS_MAX + 2];
    for (int i = 0; i < N_UNITS_MAX + 2; i++)
        guarded[i] = SENTINEL;
    enum bins_cover covered = bins_window(bins, first, end, guarded + 1);
    assert_int_equal(bins_window(bins, first, end, NULL), covered);
    assert_true(guarded[0] == SENTINEL);
    for (int u = 0; u < n_units; u++)
        assert_true((guarded[u + 1] == SENTINEL) == (covered != BINS_COMPLETE));
    for (int i = n_units + 1; i < N_UNITS_MAX + 2; i++)
        assert_true(guarded[i] == SENTINEL);
    memcpy(sum, guarded + 1, (size_t)n_units * sizeof *sum);
    return covered;
}

/* One row of one unit, whose count is its value. */
static enum bins_added add_one(struct bins *bins, int64_t first, uint32_t width,
                               unsigned char count)
{
    return bins_add(bins, first, width, &count, DTYPE_U8, NO_JUMP);
}

/* The naive reference: every row k of a source that began at origin, in a table. A row
 * is known if it came and is among the newest n_rows that came. */
#define N_TABLE 4096

struct naive {
    int64_t origin, width;
    int n_rows;
    uint32_t dtype[N_TABLE]; /* 0: did not come */
    int64_t id[N_TABLE];     /* which counts */
};

static int64_t naive_centre(const struct naive *naive, int k)
{
    return naive->origin + k * naive->width + naive->width / 2;
}

static void naive_known(const struct naive *naive, int *known)
{
    int n = 0;
    for (int k = N_TABLE - 1; k >= 0; k--) {
        known[k] = naive->dtype[k] != 0 && n < naive->n_rows;
        n += known[k];
    }
}

static enum bins_cover naive_window(const struct naive *naive, int64_t first, int64_t end,
                                    int n_units, double *sum)
{
    static int known[N_TABLE];
    int oldest = N_TABLE, newest = -1, begin = N_TABLE, stop = N_TABLE, n_missing = 0;
    naive_known(naive, known);
    for (int k = N_TABLE - 1; k >= -1; k--) { /* row -1 stands for all before */
        if (k >= 0 && known[k])
            oldest = k;
        if (k >= 0 && known[k] && newest < 0)
            newest = k;
        if (naive_centre(naive, k) >= first)
            begin = k;
        if (naive_centre(naive, k) >= end)
            stop = k;
    }
    if (newest < stop - 1 || newest < 0)
        return BINS_WAIT;
    if (begin == stop)
        return oldest < begin ? BINS_HOLE : BINS_BEFORE;
    if (oldest > begin)
        return BINS_BEFORE;
    for (int u = 0; u < n_units; u++)
        sum[u] = 0.0;
    for (int k = begin; k < stop; k++) {
        n_missing += !known[k];
        for (int u = 0; known[k] && u < n_units; u++)
            sum[u] += value_of(naive->dtype[k], naive->id[k], u);
    }
    return n_missing ? BINS_HOLE : BINS_COMPLETE;
}

struct stream {
    struct random random;
    struct bins *bins;
    struct naive naive;
    int n_units, next, n_seen[4], n_added[4];
    int64_t jump_samples, n_total;
};

/* The next row comes, is lost, comes late or comes again. */
static void stream_step(struct stream *s)
{
    unsigned char payload[N_UNITS_MAX * 4 + 1];
    struct naive *naive = &s->naive;
    uint32_t what = random_below(&s->random, 100);
    uint32_t dtype = 1 + random_below(&s->random, 3);
    int k = s->next, back = 1 + (int)random_below(&s->random, 12);
    enum bins_added expected = BINS_OK;

    if (what < 8) { /* lost */
        s->next++;
        return;
    }
    if (what < 30 && k >= back) { /* an earlier one: lost before, or here already */
        k -= back;
        static int known[N_TABLE];
        naive_known(naive, known);
        int newest = -1;
        for (int i = 0; i < N_TABLE; i++)
            newest = known[i] ? i : newest;
        if (known[k])
            expected = BINS_DUPLICATE;
        else if (naive->dtype[k]) /* came and went again */
            return;
        else if (k < newest)
            expected = BINS_LATE;
    } else {
        s->next++;
    }
    int64_t first = naive->origin + k * naive->width, id = s->n_total++;
    fill(payload + 1, dtype, id, s->n_units); /* not aligned, as on the wire */
    enum bins_added added = bins_add(s->bins, first, (uint32_t)naive->width, payload + 1,
                                     dtype, s->jump_samples);
    assert_int_equal(added, expected);
    s->n_added[added]++;
    if (added != BINS_DUPLICATE) {
        naive->dtype[k] = dtype;
        naive->id[k] = id;
    }
}

/* The recorder's clock jumps: far away, forwards or back. */
static void stream_jump(struct stream *s)
{
    unsigned char payload[N_UNITS_MAX * 4];
    struct naive *naive = &s->naive;
    int64_t end = bins_end(s->bins);
    int64_t leap = s->jump_samples + 1 + random_below(&s->random, 100000);
    if (end == INT64_MIN)
        return;
    naive->origin = random_below(&s->random, 2) ? end + leap : end - leap;
    memset(naive->dtype, 0, sizeof naive->dtype);
    naive->dtype[0] = DTYPE_U8;
    naive->id[0] = s->n_total++;
    fill(payload, DTYPE_U8, naive->id[0], s->n_units);
    assert_int_equal(bins_add(s->bins, naive->origin, (uint32_t)naive->width, payload,
                              DTYPE_U8, s->jump_samples),
                     BINS_JUMP);
    s->n_added[BINS_JUMP]++;
    s->next = 1;
}

static void stream_compare(struct stream *s)
{
    double expected[N_UNITS_MAX];
    float sum[N_UNITS_MAX];
    const struct naive *naive = &s->naive;
    int64_t now = naive->origin + s->next * naive->width;
    int64_t span = (naive->n_rows + 4) * naive->width;
    int64_t first = now - random_below(&s->random, (uint32_t)span);
    int64_t end = first + 1 + random_below(&s->random, (uint32_t)(span / 2));
    enum bins_cover covered = window(s->bins, first, end, s->n_units, sum);
    assert_int_equal(covered, naive_window(naive, first, end, s->n_units, expected));
    s->n_seen[covered]++;
    for (int u = 0; covered == BINS_COMPLETE && u < s->n_units; u++)
        assert_true((double)sum[u] == expected[u]);
}

static void random_streams_agree_with_a_table_of_all_rows(void **state)
{
    (void)state;
    static struct stream s;
    uint64_t base = seed_of_run();
    int n_seen[4] = {0}, n_added[4] = {0};
    for (uint64_t seed = base; seed < base + N_SEEDS; seed++) {
        memset(&s, 0, sizeof s);
        random_init(&s.random, seed, 0);
        s.n_units = 1 + (int)random_below(&s.random, N_UNITS_MAX);
        s.naive.n_rows = 1 + (int)random_below(&s.random, 60);
        s.naive.width = 1 + random_below(&s.random, seed % 2 ? 9 : 15000);
        s.naive.origin = (int64_t)random_below(&s.random, 1000000) - 500000;
        s.jump_samples = 64 * s.naive.width;
        void *mem = malloc(bins_size(N_UNITS_MAX, s.naive.n_rows));
        s.bins = bins_init(mem, N_UNITS_MAX, s.naive.n_rows);
        bins_reset(s.bins, s.n_units);
        for (int i = 0; i < N_STEPS; i++) {
            stream_step(&s);
            if (random_below(&s.random, 200) == 0)
                stream_jump(&s);
            stream_compare(&s);
        }
        free(mem);
        for (int i = 0; i < 4; i++) {
            n_seen[i] += s.n_seen[i];
            n_added[i] += s.n_added[i];
        }
    }
    print_message("windows: %d wait, %d complete, %d hole, %d before\n", n_seen[0],
                  n_seen[1], n_seen[2], n_seen[3]);
    print_message("rows: %d ok, %d duplicate, %d late, %d jump\n", n_added[0], n_added[1],
                  n_added[2], n_added[3]);
    for (int i = 0; i < 4; i++) /* the streams reached every answer */
        assert_true(n_seen[i] > 1000 && n_added[i] > 100);
}

static void a_row_belongs_where_its_centre_is(void **state)
{
    (void)state;
    _Alignas(64) static unsigned char mem[4096];
    assert_true(bins_size(1, 8) <= sizeof mem);
    struct bins *bins = bins_init(mem, 1, 8);
    float sum;
    assert_true(bins_end(bins) == INT64_MIN);
    assert_int_equal(window(bins, 0, 10, 1, &sum), BINS_WAIT);
    for (int k = 0; k < 4; k++)
        assert_int_equal(add_one(bins, 30 * k, 30, (unsigned char)(1 << k)), BINS_OK);
    assert_true(bins_end(bins) == 120);
    /* centres at 15, 45, 75, 105 */
    assert_int_equal(window(bins, 15, 106, 1, &sum), BINS_COMPLETE);
    assert_true(sum == 15.0f);
    assert_int_equal(window(bins, 16, 105, 1, &sum), BINS_COMPLETE);
    assert_true(sum == 6.0f);
    /* the newest row's end is met within half a bin, but not more */
    assert_int_equal(window(bins, 40, 135, 1, &sum), BINS_COMPLETE);
    assert_int_equal(window(bins, 40, 136, 1, &sum), BINS_WAIT);
    /* so is the beginning of the first */
    assert_int_equal(window(bins, -14, 60, 1, &sum), BINS_COMPLETE);
    assert_int_equal(window(bins, -15, 60, 1, &sum), BINS_BEFORE);
    /* no row stands for a window smaller than a bin unless its centre is in it */
    assert_int_equal(window(bins, 44, 47, 1, &sum), BINS_COMPLETE);
    assert_true(sum == 2.0f);
    assert_int_equal(window(bins, 46, 60, 1, &sum), BINS_HOLE);
    bins_reset(bins, 1);
    assert_int_equal(window(bins, 15, 106, 1, &sum), BINS_WAIT);
}

static void rows_that_overlap_are_duplicates(void **state)
{
    (void)state;
    _Alignas(64) static unsigned char mem[4096];
    struct bins *bins = bins_init(mem, 1, 8);
    float sum;
    assert_int_equal(add_one(bins, 100, 100, 7), BINS_OK);
    assert_int_equal(add_one(bins, 100, 100, 9), BINS_DUPLICATE);
    assert_int_equal(add_one(bins, 149, 100, 9), BINS_DUPLICATE);
    assert_int_equal(add_one(bins, 51, 100, 9), BINS_DUPLICATE);
    assert_int_equal(add_one(bins, 120, 10, 9), BINS_DUPLICATE); /* within */
    assert_int_equal(add_one(bins, 0, 1000, 9), BINS_DUPLICATE); /* around */
    assert_int_equal(add_one(bins, 10, 100, 20), BINS_LATE);     /* by less than half */
    assert_int_equal(add_one(bins, 190, 100, 40), BINS_OK);
    assert_int_equal(window(bins, 10, 290, 1, &sum), BINS_COMPLETE);
    assert_true(sum == 67.0f);
}

/* A rate that is no multiple of the bin rate: 24414.0625 Hz in bins of 1 ms. */
static void bins_whose_width_jitters_have_no_holes(void **state)
{
    (void)state;
    _Alignas(64) static unsigned char mem[65536];
    assert_true(bins_size(1, 400) <= sizeof mem);
    for (int exact = 0; exact < 2; exact++) {
        for (int lost = -1; lost < 200; lost += 67) {
            struct bins *bins = bins_init(mem, 1, 400);
            int n = 0;
            for (int k = 0; k < 200; k++) {
                int64_t first = (int64_t)(k * 24.4140625);
                int64_t next = (int64_t)((k + 1) * 24.4140625);
                if (k != lost)
                    add_one(bins, first, exact ? (uint32_t)(next - first) : 24, 1);
            }
            for (int64_t at = 200; at < 4000; at += 7) {
                float sum;
                enum bins_cover covered = bins_window(bins, at, at + 500, &sum);
                int64_t hole = (int64_t)(lost * 24.4140625 + 12.2);
                if (lost < 0 || hole < at - 2 || hole > at + 501) {
                    assert_int_equal(covered, BINS_COMPLETE);
                    assert_true(sum == 20.0f || sum == 21.0f);
                    n++;
                } else if (hole > at + 2 && hole < at + 498) {
                    assert_int_equal(covered, BINS_HOLE);
                }
            }
            assert_true(n > 100);
        }
    }
}

static void the_width_of_bins_may_change(void **state)
{
    (void)state;
    _Alignas(64) static unsigned char mem[65536];
    uint64_t base = seed_of_run();
    for (uint64_t seed = base; seed < base + N_SEEDS; seed++) {
        struct random random;
        int64_t first[101] = {0}, mass;
        random_init(&random, seed, 1);
        struct bins *bins = bins_init(mem, 1, 100);
        for (int k = 0; k < 100; k++) {
            first[k + 1] = first[k] + 1 + random_below(&random, 50);
            assert_int_equal(add_one(bins, first[k], (uint32_t)(first[k + 1] - first[k]),
                                     (unsigned char)(1 + k % 5)),
                             BINS_OK);
        }
        for (int i = 0; i < 100; i++) {
            int64_t from = random_below(&random, (uint32_t)first[100] - 1);
            int64_t to = from + 1 + random_below(&random, (uint32_t)(first[100] - from));
            float sum;
            mass = 0;
            for (int k = 0; k < 100; k++) {
                int64_t centre = (first[k] + first[k + 1]) / 2;
                mass += centre >= from && centre < to ? 1 + k % 5 : 0;
            }
            enum bins_cover covered = window(bins, from, to, 1, &sum);
            assert_int_not_equal(covered, BINS_WAIT);
            if (mass > 0 && from > 50) {
                assert_int_equal(covered, BINS_COMPLETE);
                assert_true((double)sum == (double)mass);
            } else if (mass == 0) {
                assert_int_not_equal(covered, BINS_COMPLETE);
            }
        }
    }
}

static void one_row_a_trial_is_met_within_half_of_it(void **state)
{
    (void)state;
    _Alignas(64) static unsigned char mem[65536];
    struct bins *bins = bins_init(mem, 1, 4);
    uint64_t seed = seed_of_run();
    struct random random;
    random_init(&random, seed, 2);
    float sum;
    for (int trial = 0; trial < 1000; trial++) {
        int64_t first = trial * INT64_C(45000) + random_below(&random, 9000);
        int64_t off = (int64_t)random_below(&random, 14998) - 7499;
        assert_int_equal(window(bins, first + off, first + off + 15000, 1, &sum),
                         BINS_WAIT);
        assert_int_equal(add_one(bins, first, 15000, (unsigned char)(trial % 200)),
                         BINS_OK);
        assert_int_equal(window(bins, first + off, first + off + 15000, 1, &sum),
                         BINS_COMPLETE);
        assert_true(sum == (float)(trial % 200));
    }
}

static void a_thousand_units_at_1_khz_for_2_s_fit_8_mb(void **state)
{
    (void)state;
    print_message("%zu bytes\n", bins_size(1000, 2000));
    assert_true(bins_size(1000, 2000) <= (size_t)8 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_belongs_where_its_centre_is),
        cmocka_unit_test(rows_that_overlap_are_duplicates),
        cmocka_unit_test(random_streams_agree_with_a_table_of_all_rows),
        cmocka_unit_test(bins_whose_width_jitters_have_no_holes),
        cmocka_unit_test(the_width_of_bins_may_change),
        cmocka_unit_test(one_row_a_trial_is_met_within_half_of_it),
        cmocka_unit_test(a_thousand_units_at_1_khz_for_2_s_fit_8_mb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
