#include "models/bins.h"

#include <string.h>

#include "protocol/event.h"
#include "protocol/log.h"
#include "protocol/memory.h"

#define LANES 16 /* numbers added at once: a constant, so that they become vectors */

struct row {
    int64_t first; /* samples [first, first + width) */
    uint32_t width;
    uint16_t dtype;
    uint32_t slot; /* where its counts lie */
};

struct bins {
    int n_units, n_units_max, n_rows;
    int oldest, n;        /* rows in a ring, sorted by centre; the rest are free slots */
    size_t slot_size;     /* bytes, wide enough for any dtype */
    struct row *row;      /* (n_rows) */
    unsigned char *count; /* (n_rows) slots of (n_units_max) numbers of row.dtype */
};

static size_t lay_out(struct bins *bins, int n_units_max, int n_rows, void *mem)
{
    struct memory memory = {mem, 0};
    struct memory slot = {NULL, 0};
    CHECK(n_units_max > 0 && n_rows > 0);
    memory_take(&slot, (size_t)n_units_max, sizeof(float));
    memory_take(&memory, 1, sizeof *bins);
    bins->slot_size = slot.size;
    bins->row = memory_take(&memory, (size_t)n_rows, sizeof *bins->row);
    bins->count = memory_take(&memory, (size_t)n_rows, slot.size);
    return memory.size;
}

size_t bins_size(int n_units_max, int n_rows)
{
    struct bins measured;
    return lay_out(&measured, n_units_max, n_rows, NULL);
}

struct bins *bins_init(void *mem, int n_units_max, int n_rows)
{
    struct bins *bins = memset(mem, 0, bins_size(n_units_max, n_rows));
    lay_out(bins, n_units_max, n_rows, mem);
    bins->n_units = n_units_max;
    bins->n_units_max = n_units_max;
    bins->n_rows = n_rows;
    for (int i = 0; i < n_rows; i++)
        bins->row[i].slot = (uint32_t)i;
    return bins;
}

void bins_reset(struct bins *bins, int n_units)
{
    CHECK(n_units > 0 && n_units <= bins->n_units_max);
    bins->n_units = n_units;
    bins->oldest = 0;
    bins->n = 0;
}

/* Row i from the oldest; i up to n_rows - 1, those from n on are free. */
static struct row *row_at(const struct bins *bins, int i)
{
    int at = bins->oldest + i;
    return &bins->row[at < bins->n_rows ? at : at - bins->n_rows];
}

static int64_t row_end(const struct row *row)
{
    return row->first + row->width;
}

/* Rounded down, which is exact for comparison with whole samples. */
static int64_t row_centre(const struct row *row)
{
    return row->first + row->width / 2;
}

static int row_holds(const struct row *row, int64_t sample)
{
    return row->first <= sample && sample < row_end(row);
}

static int rows_clash(const struct row *a, const struct row *b)
{
    return row_holds(a, row_centre(b)) || row_holds(b, row_centre(a));
}

/* How many rows have their centre before this sample. */
static int rows_before(const struct bins *bins, int64_t sample)
{
    int low = 0, high = bins->n;
    /* new rows and windows are near the newest: most searches end here */
    if (high > 0 && row_centre(row_at(bins, high - 1)) < sample)
        return high;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (row_centre(row_at(bins, middle)) < sample)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t bins_end(const struct bins *bins)
{
    return bins->n > 0 ? row_end(row_at(bins, bins->n - 1)) : INT64_MIN;
}

/* Put a row before row i: with memory full the oldest goes. */
static void insert(struct bins *bins, int i, struct row row, const void *counts)
{
    if (bins->n == bins->n_rows) {
        if (i == 0)
            return;
        bins->oldest = (bins->oldest + 1) % bins->n_rows;
        bins->n--;
        i--;
    }
    row.slot = row_at(bins, bins->n)->slot;
    for (int k = bins->n; k > i; k--)
        *row_at(bins, k) = *row_at(bins, k - 1);
    *row_at(bins, i) = row;
    bins->n++;
    memcpy(bins->count + row.slot * bins->slot_size, counts,
           (size_t)bins->n_units * dtype_size(row.dtype));
}

enum bins_added bins_add(struct bins *bins, int64_t first, uint32_t width,
                         const void *counts, uint32_t dtype, int64_t jump_samples)
{
    CHECK(width > 0 && dtype_size(dtype) > 0 && dtype_size(dtype) <= sizeof(float));
    struct row row = {.first = first, .width = width, .dtype = (uint16_t)dtype};
    enum bins_added added = BINS_OK;

    if (bins->n > 0) {
        int64_t leap = first - bins_end(bins);
        if (leap > jump_samples || leap < -jump_samples) {
            bins_reset(bins, bins->n_units);
            added = BINS_JUMP;
        }
    }
    int i = rows_before(bins, row_centre(&row));
    if ((i > 0 && rows_clash(row_at(bins, i - 1), &row)) ||
        (i < bins->n && rows_clash(row_at(bins, i), &row)))
        return BINS_DUPLICATE;
    if (i < bins->n)
        added = BINS_LATE;
    insert(bins, i, row, counts);
    return added;
}

static int64_t half(const struct row *a, const struct row *b)
{
    return (a->width < b->width ? a->width : b->width) / 2;
}

static int rows_touch(const struct row *a, const struct row *b)
{
    return b->first - row_end(a) <= half(a, b);
}

/* Could no row of this width, just before this one, have its centre at or after? */
static int meets_first(const struct row *row, int64_t first)
{
    return row_centre(row) - row->width < first;
}

static int meets_end(const struct row *row, int64_t end)
{
    return row_centre(row) + row->width >= end;
}

/* Do rows low..high-1, which have their centres in the window, cover it? */
static enum bins_cover cover(const struct bins *bins, int low, int high, int64_t first,
                             int64_t end)
{
    if (high == bins->n && (bins->n == 0 || !meets_end(row_at(bins, bins->n - 1), end)))
        return BINS_WAIT;
    if (low == 0 && (high == 0 || !meets_first(row_at(bins, 0), first)))
        return BINS_BEFORE;
    if (low == high)
        return BINS_HOLE;
    if (!meets_first(row_at(bins, low), first) &&
        !rows_touch(row_at(bins, low - 1), row_at(bins, low)))
        return BINS_HOLE;
    if (!meets_end(row_at(bins, high - 1), end) &&
        !rows_touch(row_at(bins, high - 1), row_at(bins, high)))
        return BINS_HOLE;
    for (int i = low + 1; i < high; i++)
        if (!rows_touch(row_at(bins, i - 1), row_at(bins, i)))
            return BINS_HOLE;
    return BINS_COMPLETE;
}

static void add_u8(float *restrict sum, const unsigned char *restrict count, int n)
{
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            sum[i + k] += (float)count[i + k];
    for (; i < n; i++)
        sum[i] += (float)count[i];
}

static void add_u16(float *restrict sum, const uint16_t *restrict count, int n)
{
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            sum[i + k] += (float)count[i + k];
    for (; i < n; i++)
        sum[i] += (float)count[i];
}

static void add_f32(float *restrict sum, const float *restrict count, int n)
{
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            sum[i + k] += count[i + k];
    for (; i < n; i++)
        sum[i] += count[i];
}

enum bins_cover bins_window(const struct bins *bins, int64_t first, int64_t end,
                            float *sum)
{
    CHECK(first < end);
    int low = rows_before(bins, first), high = rows_before(bins, end);
    enum bins_cover covered = cover(bins, low, high, first, end);
    if (covered != BINS_COMPLETE || sum == NULL)
        return covered;
    memset(sum, 0, (size_t)bins->n_units * sizeof *sum);
    for (int i = low; i < high; i++) {
        const struct row *row = row_at(bins, i);
        const void *count = bins->count + row->slot * bins->slot_size;
        if (row->dtype == DTYPE_U8)
            add_u8(sum, count, bins->n_units);
        else if (row->dtype == DTYPE_U16)
            add_u16(sum, count, bins->n_units);
        else
            add_f32(sum, count, bins->n_units);
    }
    return BINS_COMPLETE;
}
