#include "event.h"

#include <math.h>
#include <string.h>

static const char *const type_names[EVENT_TYPE_END] = {
    [EVENT_COUNTS] = "counts",     [EVENT_EDGE] = "edge",
    [EVENT_EXTERNAL] = "external", [EVENT_TRUTH] = "truth",
    [EVENT_DISPLAY] = "display",   [EVENT_SHOWN] = "shown",
    [EVENT_HIDDEN] = "hidden",     [EVENT_BEAT] = "beat",
    [EVENT_SCREEN] = "screen",     [EVENT_STIMULUS] = "stimulus",
    [EVENT_PRESENT] = "present",   [EVENT_BLANK] = "blank",
    [EVENT_TICK] = "tick",         [EVENT_COMMAND] = "command",
    [EVENT_REJECT] = "reject",     [EVENT_SENT] = "sent",
    [EVENT_JOB] = "job",           [EVENT_RESULT] = "result",
    [EVENT_LOST] = "lost",         [EVENT_TRIAL] = "trial",
    [EVENT_STATE] = "state",       [EVENT_STATUS] = "status",
    [EVENT_MODEL] = "model",
};

static const char *const state_names[] = {"idle",    "armed",  "choose", "present",
                                          "collect", "paused", "fault",  "end"};

static const char *const verdict_names[VERDICT_END] = {
    "valid",      "no_onset",       "counts_lost",  "no_counts",
    "late_frame", "wrong_stimulus", "display_lost", "clock_jump",
    "bad_counts", "paused",         "overload"};

static const char *const reject_names[REJECT_END] = {
    "none",  "truncated", "oversized", "magic", "version", "type",
    "field", "dtype",     "value",     "unit",  "stimulus"};

static const char *const quality_names[] = {"none", "estimated", "hardware",
                                            "photodiode"};
static const char *const job_names[] = {"external", "random", "infomax", "mei"};
static const char *const command_names[] = {"none", "pause", "resume", "stop", "note"};

#define N(array) (sizeof(array) / sizeof((array)[0]))

static const char *name_in(const char *const *names, size_t n, unsigned i)
{
    return i < n && names[i] ? names[i] : "unknown";
}

const char *event_name(unsigned type)
{
    return name_in(type_names, N(type_names), type);
}

unsigned event_type_of(const char *name)
{
    for (unsigned type = 1; type < EVENT_TYPE_END; type++)
        if (type_names[type] && strcmp(type_names[type], name) == 0)
            return type;
    return EVENT_NONE;
}

const char *state_name(unsigned state)
{
    return name_in(state_names, N(state_names), state);
}

const char *verdict_name(unsigned verdict)
{
    return name_in(verdict_names, N(verdict_names), verdict);
}

const char *reject_name(unsigned reject)
{
    return name_in(reject_names, N(reject_names), reject);
}

const char *quality_name(unsigned quality)
{
    return name_in(quality_names, N(quality_names), quality);
}

const char *job_name(unsigned kind)
{
    return name_in(job_names, N(job_names), kind);
}

const char *command_name(unsigned command)
{
    return name_in(command_names, N(command_names), command);
}

const char *counter_name(unsigned counter)
{
    static const char *const names[] = {
#define X(id, name, text) name,
        EVENT_COUNTERS(X)
#undef X
    };
    if (counter < COUNTER_PER_NAME)
        return names[counter];
    if (counter < COUNTER_REJECT)
        return verdict_name(counter - COUNTER_VERDICT);
    return reject_name(counter - COUNTER_REJECT);
}

size_t dtype_size(unsigned dtype)
{
    switch (dtype) {
    case DTYPE_U8:
        return 1;
    case DTYPE_U16:
        return 2;
    case DTYPE_F32:
        return 4;
    default:
        return 0;
    }
}

/* a * b * size, or SIZE_MAX where that is no sane payload. */
static size_t payload(uint64_t a, uint64_t b, size_t size)
{
    const uint64_t most = 1u << 26;
    if (size == 0 || a > most || b > most || a * b > most)
        return SIZE_MAX;
    return (size_t)(a * b) * size;
}

size_t event_data_size(const struct event *ev)
{
    switch (ev->type) {
    case EVENT_COUNTS:
        return payload(ev->counts.n_bins, ev->counts.n_units,
                       dtype_size(ev->counts.dtype));
    case EVENT_EXTERNAL:
        return payload(ev->external.height, ev->external.width,
                       dtype_size(ev->external.dtype));
    case EVENT_TRUTH:
        return payload(ev->truth.height, ev->truth.width, sizeof(float));
    case EVENT_DISPLAY:
        return payload(ev->display.n_text, 1, 1);
    case EVENT_STIMULUS:
        return payload(ev->stimulus.height, ev->stimulus.width,
                       dtype_size(ev->stimulus.dtype));
    case EVENT_COMMAND:
        return payload(ev->command.n_text, 1, 1);
    case EVENT_RESULT:
        return payload(ev->result.height, ev->result.width, dtype_size(ev->result.dtype));
    case EVENT_TRIAL:
        return payload(2, ev->trial.n_units, sizeof(float));
    case EVENT_STATE:
        return payload(ev->state.n_text, 1, 1);
    case EVENT_STATUS:
        return payload(ev->status.n_counters, 1, sizeof(uint64_t));
    default:
        return 0;
    }
}

float dtype_get(const void *data, unsigned dtype, size_t i)
{
    const unsigned char *bytes = data;
    uint16_t u16;
    float f32;

    switch (dtype) {
    case DTYPE_U8:
        return (float)bytes[i];
    case DTYPE_U16:
        memcpy(&u16, bytes + 2 * i, sizeof(u16));
        return (float)u16;
    case DTYPE_F32:
        memcpy(&f32, bytes + 4 * i, sizeof(f32));
        return f32;
    default:
        return nanf("");
    }
}

void dtype_light(const void *data, unsigned dtype, size_t n, float *light)
{
    float scale = dtype == DTYPE_U8    ? 1.0f / 255.0f
                  : dtype == DTYPE_U16 ? 1.0f / 65535.0f
                                       : 1;
    for (size_t i = 0; i < n; i++)
        light[i] = dtype_get(data, dtype, i) * scale;
}
