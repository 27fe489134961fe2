#include "wire.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "payloads are little-endian and are used in place"
#endif

#define FIELD(member, field, kind)                                                       \
    {                                                                                    \
#field, kind, offsetof(struct event, member.field)                               \
    }
#define U32(member, field) FIELD(member, field, WIRE_U32)
#define U64(member, field) FIELD(member, field, WIRE_U64)
#define I64(member, field) FIELD(member, field, WIRE_I64)
#define F64(member, field) FIELD(member, field, WIRE_F64)

/* The wire format of every type: this table is what PROTOCOL.md prints. */
static const struct wire_field counts_fields[] = {
    I64(counts, first_sample), F64(counts, sample_rate_hz), U32(counts, bin_samples),
    U32(counts, n_bins),       U32(counts, first_unit),     U32(counts, n_units),
    U32(counts, dtype)};
static const struct wire_field edge_fields[] = {
    I64(edge, sample), F64(edge, sample_rate_hz), U32(edge, line), U32(edge, level)};
static const struct wire_field external_fields[] = {
    I64(external, first_sample), F64(external, sample_rate_hz), U32(external, n_samples),
    U32(external, learn),        U32(external, height),         U32(external, width),
    U32(external, dtype)};
static const struct wire_field truth_fields[] = {U32(truth, unit), U32(truth, height),
                                                 U32(truth, width), U32(truth, kind)};
static const struct wire_field display_fields[] = {
    F64(display, refresh_hz), U32(display, width_px), U32(display, height_px),
    U32(display, quality), U32(display, n_text)};
static const struct wire_field shown_fields[] = {
    U64(shown, trial),    U64(shown, hash),           I64(shown, requested_ns),
    I64(shown, onset_ns), I64(shown, uncertainty_ns), U32(shown, quality),
    U32(shown, n_late)};
static const struct wire_field hidden_fields[] = {
    U64(hidden, trial), I64(hidden, offset_ns), U32(hidden, n_frames),
    U32(hidden, n_late)};
static const struct wire_field screen_fields[] = {
    F64(screen, width_cm),     F64(screen, height_cm), F64(screen, distance_cm),
    F64(screen, x_deg),        F64(screen, y_deg),     F64(screen, size_deg),
    F64(screen, diode_deg),    F64(screen, grey),      I64(screen, silence_ns),
    U32(screen, diode_corner), U32(screen, fullscreen)};
static const struct wire_field stimulus_fields[] = {
    U64(stimulus, hash), U32(stimulus, height), U32(stimulus, width),
    U32(stimulus, dtype)};
static const struct wire_field present_fields[] = {
    U64(present, trial), U64(present, hash), I64(present, not_before_ns),
    I64(present, duration_ns), I64(present, cause_ns)};
static const struct wire_field command_fields[] = {U32(command, command),
                                                   U32(command, n_text)};
static const struct wire_field reject_fields[] = {U32(reject, reason), U32(reject, type),
                                                  U64(reject, size)};
static const struct wire_field sent_fields[] = {U64(sent, trial), I64(sent, cause_ns)};
static const struct wire_field job_fields[] = {
    U64(job, job),  U64(job, seed), U64(job, model),    U32(job, kind),
    U32(job, unit), U32(job, slot), U32(job, max_steps)};
static const struct wire_field result_fields[] = {
    U64(result, job),    U64(result, model), U64(result, hash), F64(result, value),
    U32(result, kind),   U32(result, unit),  U32(result, slot), U32(result, n_steps),
    U32(result, height), U32(result, width), U32(result, dtype)};
static const struct wire_field lost_fields[] = {U32(lost, ring), U64(lost, n_lost)};
static const struct wire_field trial_fields[] = {
    U64(trial, trial),     U64(trial, hash),           I64(trial, onset_ns),
    I64(trial, window_ns), I64(trial, uncertainty_ns), I64(trial, latency_ns),
    U32(trial, verdict),   U32(trial, kind),           U32(trial, unit),
    U32(trial, attempt),   U32(trial, learned),        U32(trial, n_units)};
static const struct wire_field state_fields[] = {
    U32(state, state), U32(state, before), U64(state, n_trials), U32(state, n_text)};
static const struct wire_field status_fields[] = {U32(status, n_counters),
                                                  U32(status, state)};
static const struct wire_field model_fields[] = {U64(model, n_trials), U64(model, hash)};

static const struct {
    const struct wire_field *fields;
    int n;
} tables[EVENT_TYPE_END] = {
#define T(type, table) [type] = {table, (int)(sizeof(table) / sizeof((table)[0]))}
    T(EVENT_COUNTS, counts_fields),     T(EVENT_EDGE, edge_fields),
    T(EVENT_EXTERNAL, external_fields), T(EVENT_TRUTH, truth_fields),
    T(EVENT_DISPLAY, display_fields),   T(EVENT_SHOWN, shown_fields),
    T(EVENT_HIDDEN, hidden_fields),     T(EVENT_SCREEN, screen_fields),
    T(EVENT_STIMULUS, stimulus_fields), T(EVENT_PRESENT, present_fields),
    T(EVENT_COMMAND, command_fields),   T(EVENT_REJECT, reject_fields),
    T(EVENT_SENT, sent_fields),         T(EVENT_JOB, job_fields),
    T(EVENT_RESULT, result_fields),     T(EVENT_LOST, lost_fields),
    T(EVENT_TRIAL, trial_fields),       T(EVENT_STATE, state_fields),
    T(EVENT_STATUS, status_fields),     T(EVENT_MODEL, model_fields),
#undef T
};

const struct wire_field *wire_fields(unsigned type, int *n_fields)
{
    int known = type < EVENT_TYPE_END;
    *n_fields = known ? tables[type].n : 0;
    return known ? tables[type].fields : NULL;
}

static size_t kind_size(enum wire_kind kind)
{
    return kind == WIRE_U32 ? 4 : 8;
}

static size_t fields_size(unsigned type)
{
    size_t size = 0;
    for (int i = 0; i < tables[type].n; i++)
        size += kind_size(tables[type].fields[i].kind);
    return size;
}

int wire_field_text(const struct event *ev, const struct wire_field *field, char *text,
                    size_t size)
{
    const char *at = (const char *)ev + field->offset;
    uint32_t u32;
    uint64_t u64;
    int64_t i64;
    double f64;

    switch (field->kind) {
    case WIRE_U32:
        memcpy(&u32, at, sizeof(u32));
        return snprintf(text, size, "%" PRIu32, u32);
    case WIRE_U64:
        memcpy(&u64, at, sizeof(u64));
        return snprintf(text, size, "%" PRIu64, u64);
    case WIRE_I64:
        memcpy(&i64, at, sizeof(i64));
        return snprintf(text, size, "%" PRId64, i64);
    default:
        memcpy(&f64, at, sizeof(f64));
        return snprintf(text, size, "%.17g", f64);
    }
}

static unsigned char *put(unsigned char *at, const void *value, size_t size)
{
    memcpy(at, value, size);
    return at + size;
}

static const unsigned char *get(const unsigned char *at, void *value, size_t size)
{
    memcpy(value, at, size);
    return at + size;
}

size_t wire_encode(const struct event *ev, void *head)
{
    const uint32_t magic = WIRE_MAGIC, source = ev->source;
    const uint16_t version = WIRE_VERSION;
    unsigned char *at = head;

    at = put(at, &magic, 4);
    at = put(at, &version, 2);
    at = put(at, &ev->type, 2);
    at = put(at, &source, 4);
    at = put(at, &ev->epoch, 4);
    at = put(at, &ev->seq, 8);
    at = put(at, &ev->time_ns, 8);
    for (int i = 0; i < tables[ev->type].n; i++) {
        const struct wire_field *field = &tables[ev->type].fields[i];
        at = put(at, (const char *)ev + field->offset, kind_size(field->kind));
    }
    return (size_t)(at - (unsigned char *)head);
}

static enum reject decode_head(const void *head, size_t size, struct event *ev)
{
    const unsigned char *at = head;
    uint32_t magic, source;
    uint16_t version;

    memset(ev, 0, sizeof(*ev));
    if (size < WIRE_HEADER_SIZE)
        return REJECT_TRUNCATED;
    at = get(at, &magic, 4);
    at = get(at, &version, 2);
    at = get(at, &ev->type, 2);
    at = get(at, &source, 4);
    at = get(at, &ev->epoch, 4);
    at = get(at, &ev->seq, 8);
    at = get(at, &ev->time_ns, 8);
    if (magic != WIRE_MAGIC)
        return REJECT_MAGIC;
    if (version != WIRE_VERSION)
        return REJECT_VERSION;
    if (strcmp(event_name(ev->type), "unknown") == 0)
        return REJECT_TYPE;
    if (source > UINT16_MAX)
        return REJECT_FIELD;
    ev->source = (uint16_t)source;
    if (size < WIRE_HEADER_SIZE + fields_size(ev->type))
        return REJECT_TRUNCATED;
    for (int i = 0; i < tables[ev->type].n; i++) {
        const struct wire_field *field = &tables[ev->type].fields[i];
        at = get(at, (char *)ev + field->offset, kind_size(field->kind));
    }
    return REJECT_NONE;
}

/* A recorder's clock runs between a sample an hour and the fastest sampler there is. */
static int rate_ok(double rate_hz)
{
    return rate_hz >= 1e-4 && rate_hz <= 1e9;
}

/* Sample numbers are added to and scaled: far from the ends of int64. */
static int sample_ok(int64_t sample)
{
    return sample > -(INT64_C(1) << 60) && sample < INT64_C(1) << 60;
}

/* So are times, unless they are unknown. */
static int time_ok(int64_t time_ns)
{
    return time_ns == CLOCK_UNKNOWN || sample_ok(time_ns);
}

static enum reject check_image(uint32_t height, uint32_t width, uint32_t dtype)
{
    if (dtype_size(dtype) == 0)
        return REJECT_DTYPE;
    return height >= 1 && height <= 4096 && width >= 1 && width <= 4096 ? REJECT_NONE
                                                                        : REJECT_FIELD;
}

static enum reject check_fields(const struct event *ev)
{
    uint64_t n_samples;

    switch (ev->type) {
    case EVENT_COUNTS:
        if (dtype_size(ev->counts.dtype) == 0)
            return REJECT_DTYPE;
        if (!rate_ok(ev->counts.sample_rate_hz) || !sample_ok(ev->counts.first_sample))
            return REJECT_FIELD;
        if (ev->counts.bin_samples == 0 || ev->counts.n_bins == 0 ||
            ev->counts.n_units == 0)
            return REJECT_FIELD;
        n_samples = (uint64_t)ev->counts.n_bins * ev->counts.bin_samples;
        return n_samples < UINT64_C(1) << 60 &&
                       sample_ok(ev->counts.first_sample + (int64_t)n_samples)
                   ? REJECT_NONE
                   : REJECT_FIELD;
    case EVENT_EDGE:
        return rate_ok(ev->edge.sample_rate_hz) && sample_ok(ev->edge.sample) &&
                       ev->edge.level <= 1
                   ? REJECT_NONE
                   : REJECT_FIELD;
    case EVENT_EXTERNAL:
        if (!rate_ok(ev->external.sample_rate_hz) ||
            !sample_ok(ev->external.first_sample) || ev->external.n_samples == 0 ||
            ev->external.learn > 1)
            return REJECT_FIELD;
        return check_image(ev->external.height, ev->external.width, ev->external.dtype);
    case EVENT_TRUTH:
        return check_image(ev->truth.height, ev->truth.width, DTYPE_F32);
    case EVENT_SHOWN:
        return time_ok(ev->shown.onset_ns) && time_ok(ev->shown.requested_ns)
                   ? REJECT_NONE
                   : REJECT_FIELD;
    case EVENT_HIDDEN:
        return time_ok(ev->hidden.offset_ns) ? REJECT_NONE : REJECT_FIELD;
    case EVENT_STIMULUS:
        return check_image(ev->stimulus.height, ev->stimulus.width, ev->stimulus.dtype);
    case EVENT_RESULT:
        return check_image(ev->result.height, ev->result.width, ev->result.dtype);
    case EVENT_DISPLAY:
        return ev->display.n_text <= 4096 && isfinite(ev->display.refresh_hz)
                   ? REJECT_NONE
                   : REJECT_FIELD;
    case EVENT_COMMAND:
        return ev->command.n_text <= 4096 ? REJECT_NONE : REJECT_FIELD;
    case EVENT_STATE:
        return ev->state.n_text <= 4096 ? REJECT_NONE : REJECT_FIELD;
    default:
        return REJECT_NONE;
    }
}

/* Counts and pixels are finite and not negative, filters finite. */
static enum reject check_values(const struct event *ev)
{
    size_t n = ev->data_size / sizeof(float);
    int filter = ev->type == EVENT_TRUTH;
    int floats = (ev->type == EVENT_COUNTS && ev->counts.dtype == DTYPE_F32) ||
                 (ev->type == EVENT_EXTERNAL && ev->external.dtype == DTYPE_F32) ||
                 (ev->type == EVENT_STIMULUS && ev->stimulus.dtype == DTYPE_F32) ||
                 filter;
    for (size_t i = 0; floats && i < n; i++) {
        float value = dtype_get(ev->data, DTYPE_F32, i);
        if (!isfinite(value) || (!filter && value < 0))
            return REJECT_VALUE;
    }
    return REJECT_NONE;
}

enum reject wire_decode(const void *head, size_t head_size, const void *data,
                        size_t data_size, struct event *ev)
{
    enum reject reject = decode_head(head, head_size, ev);
    size_t want;

    if (reject)
        return reject;
    if (head_size > WIRE_HEADER_SIZE + fields_size(ev->type))
        return REJECT_OVERSIZED;
    reject = check_fields(ev);
    if (reject)
        return reject;
    want = event_data_size(ev);
    if (want > WIRE_DATA_MAX || data_size > want)
        return REJECT_OVERSIZED;
    if (data_size < want)
        return REJECT_TRUNCATED;
    ev->data = want ? data : NULL;
    ev->data_size = (uint32_t)want;
    return check_values(ev);
}

enum reject wire_decode_row(const void *row, size_t size, struct event *ev)
{
    enum reject reject = decode_head(row, size, ev);
    size_t head;

    if (reject)
        return reject;
    head = WIRE_HEADER_SIZE + fields_size(ev->type);
    return wire_decode(row, head, (const char *)row + head, size - head, ev);
}

uint64_t wire_hash(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

uint64_t wire_hash_stimulus(uint32_t height, uint32_t width, uint32_t dtype,
                            const void *data)
{
    const uint32_t shape[3] = {height, width, dtype};
    uint64_t hash = wire_hash(WIRE_HASH_START, shape, sizeof(shape));
    return wire_hash(hash, data, (size_t)height * width * dtype_size(dtype));
}
