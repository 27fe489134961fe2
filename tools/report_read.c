#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/model.h"

const struct report_meta_key report_meta_keys[] = {
    {"name", "name"},
    {"started", "started"},
    {"ended", "ended"},
    {"seed", "seed"},
    {"version", "Evoke"},
    {"git", "commit"},
    {"compiler", "compiler"},
    {"blas_core", "BLAS kernels"},
    {"machine", "machine"},
    {"continues", "went on from"},
    {NULL, NULL},
};

static void out_of_memory(void)
{
    fputs("evoke report: out of memory\n", stderr);
    exit(1);
}

void *report_take(size_t n, size_t size)
{
    void *array = calloc(n ? n : 1, size);

    if (!array)
        out_of_memory();
    return array;
}

void *report_grow(void *array, size_t n, size_t size)
{
    if ((n & (n - 1)) != 0)
        return array;
    array = realloc(array, (n ? 2 * n : 1) * size);
    if (!array)
        out_of_memory();
    return array;
}

/* Bytes of a UTF-8 character at s, 0 where there is none (RFC 3629). */
static size_t character(const unsigned char *s, size_t n)
{
    size_t length = s[0] < 0x80   ? 1
                    : s[0] < 0xc2 ? 0
                    : s[0] < 0xe0 ? 2
                    : s[0] < 0xf0 ? 3
                    : s[0] < 0xf5 ? 4
                                  : 0;

    if (length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
        return 0;
    if (s[0] < ' ' && s[0] != '\n' && s[0] != '\t')
        return 0;
    return s[0] == 0x7f ? 0 : length;
}

/* A copy that every reader of UTF-8, XML and JSON takes: what is no text becomes '?'. */
static char *clean(const void *bytes, size_t n)
{
    const unsigned char *from = bytes;
    char *text = report_take(n + 1, 1), *to = text;

    for (size_t i = 0; i < n;) {
        size_t length = character(from + i, n - i);
        if (length == 0) {
            *to++ = '?';
            i++;
            continue;
        }
        memcpy(to, from + i, length);
        to += length;
        i += length;
    }
    return text;
}

const char *report_meta(const struct report *report, const char *key)
{
    for (size_t i = 0; report_meta_keys[i].key; i++)
        if (strcmp(report_meta_keys[i].key, key) == 0)
            return report->meta[i];
    return NULL;
}

static void set_units(struct report *report, int n_units)
{
    report->n_units = n_units;
    report->units = report_take((size_t)n_units, sizeof(*report->units));
}

static void read_meta(struct report *report, struct session *session)
{
    const size_t n = sizeof(report_meta_keys) / sizeof(report_meta_keys[0]);
    const char *value = session_meta(session, "config");

    report->conf_text = value ? clean(value, strlen(value)) : NULL;
    if (!value)
        snprintf(report->conf_wrong, sizeof(report->conf_wrong),
                 "the session holds no configuration");
    else if (conf_read_text(&report->conf, value, "its configuration", report->conf_wrong,
                            sizeof(report->conf_wrong)) == 0)
        report->conf_wrong[0] = '\0';
    report->meta = report_take(n, sizeof(char *));
    for (size_t i = 0; report_meta_keys[i].key; i++) {
        value = session_meta(session, report_meta_keys[i].key);
        report->meta[i] = value ? clean(value, strlen(value)) : NULL;
    }
    if (!report->conf_wrong[0]) {
        set_units(report, (int)report->conf.ingest.units);
        report->n_frames = report->conf.stimulus.frames;
        report->height = report->conf.stimulus.height;
        report->width = report->conf.stimulus.width;
    }
}

static int take_trial(struct report *report, const struct event *ev, double time_s,
                      char *text, size_t size)
{
    struct report_trial trial = {
        .number = ev->trial.trial,
        .hash = ev->trial.hash,
        .time_s = time_s,
        .uncertainty_ns = ev->trial.uncertainty_ns,
        .latency_ns = ev->trial.latency_ns,
        .verdict = ev->trial.verdict < VERDICT_END ? ev->trial.verdict : VERDICT_END,
        .kind = ev->trial.kind,
        .unit = ev->trial.unit,
        .learned = ev->trial.learned,
    };

    if (!report->units) /* without a configuration, the first trial tells */
        set_units(report, (int)ev->trial.n_units);
    if (ev->trial.n_units != (uint32_t)report->n_units || trial.kind >= REPORT_KINDS) {
        snprintf(text, size,
                 "trial %llu is of %u units and kind %u, in a session of %d units",
                 (unsigned long long)trial.number, ev->trial.n_units, trial.kind,
                 report->n_units);
        return -EBADMSG;
    }
    if (trial.verdict == VERDICT_VALID) {
        trial.response = report_take(2 * (size_t)report->n_units, sizeof(float));
        memcpy(trial.response, ev->data, ev->data_size);
        report->n_valid++;
        report->kinds[trial.kind]++;
    }
    report->n_learned += trial.learned != 0;
    report->verdicts[trial.verdict]++;
    report->trials =
        report_grow(report->trials, report->n_trials, sizeof(*report->trials));
    report->trials[report->n_trials++] = trial;
    return 0;
}

static void take_state(struct report *report, const struct event *ev, double time_s)
{
    struct report_span span = {time_s, time_s, ev->state.state,
                               clean(ev->data, ev->data_size)};

    if (report->n_spans > 0)
        report->spans[report->n_spans - 1].to_s = time_s;
    report->spans = report_grow(report->spans, report->n_spans, sizeof(span));
    report->spans[report->n_spans++] = span;
    report->is_whole = ev->state.state == STATE_END;
}

static void take_note(struct report *report, const struct event *ev, double time_s)
{
    struct report_note note = {time_s, clean(ev->data, ev->data_size)};

    report->notes = report_grow(report->notes, report->n_notes, sizeof(note));
    report->notes[report->n_notes++] = note;
}

/* A picture of a unit in the session's size, contrast; NULL if it is of another. */
static float *picture(const struct report *report, const struct event *ev,
                      uint32_t height, uint32_t width)
{
    size_t n = (size_t)height * width;
    float *x;

    if (height != (uint32_t)report->height || width != (uint32_t)report->width)
        return NULL;
    x = report_take(n, sizeof(float));
    if (ev->type == EVENT_TRUTH) {
        memcpy(x, ev->data, n * sizeof(float));
        return x;
    }
    dtype_light(ev->data, ev->result.dtype, n, x);
    for (size_t i = 0; i < n; i++)
        x[i] = 2 * x[i] - 1;
    return x;
}

static void take_truth(struct report *report, const struct event *ev)
{
    if (ev->truth.unit >= (uint32_t)report->n_units)
        return;
    free(report->units[ev->truth.unit].truth);
    report->units[ev->truth.unit].truth =
        picture(report, ev, ev->truth.height, ev->truth.width);
}

static void take_result(struct report *report, const struct event *ev)
{
    struct report_unit *unit;

    if (ev->result.kind != JOB_MEI || ev->result.unit >= (uint32_t)report->n_units)
        return;
    unit = &report->units[ev->result.unit];
    free(unit->mei);
    unit->mei = picture(report, ev, ev->result.height, ev->result.width);
    unit->mei_from = unit->mei ? REPORT_MEI_SHOWN : REPORT_MEI_NONE;
    unit->mei_rate = ev->result.value;
    unit->mei_hash = ev->result.hash;
}

static void take_display(struct report *report, const struct event *ev)
{
    if (ev->display.width_px == 0)
        return;
    free(report->driver);
    report->driver = clean(ev->data, ev->data_size);
    report->refresh_hz = ev->display.refresh_hz;
    report->display_width = ev->display.width_px;
    report->display_height = ev->display.height_px;
}

static int take(struct report *report, const struct event *ev, double time_s, char *text,
                size_t size)
{
    switch (ev->type) {
    case EVENT_TRIAL:
        return take_trial(report, ev, time_s, text, size);
    case EVENT_STATE:
        take_state(report, ev, time_s);
        break;
    case EVENT_COMMAND:
        if (ev->command.command == COMMAND_NOTE)
            take_note(report, ev, time_s);
        break;
    case EVENT_TRUTH:
        take_truth(report, ev);
        break;
    case EVENT_RESULT:
        take_result(report, ev);
        break;
    case EVENT_DISPLAY:
        take_display(report, ev);
        break;
    case EVENT_SHOWN:
        if (ev->shown.quality <= QUALITY_PHOTODIODE)
            report->flips[ev->shown.quality]++;
        report->late_onsets += ev->shown.n_late > 0;
        break;
    case EVENT_HIDDEN:
        report->n_frames_shown += ev->hidden.n_frames;
        report->late_frames += ev->hidden.n_late;
        break;
    case EVENT_REJECT:
        report
            ->rejects[ev->reject.reason < REJECT_END ? ev->reject.reason : REJECT_END]++;
        break;
    case EVENT_LOST:
        report->n_lost += ev->lost.n_lost;
        break;
    default:
        break;
    }
    return 0;
}

int report_read(struct report *report, struct session *session, const char *path,
                char *text, size_t size)
{
    int64_t id, first_ns = CLOCK_UNKNOWN;
    struct event ev;
    int more, error;

    memset(report, 0, sizeof(*report));
    report->path = path;
    read_meta(report, session);
    error = session_rewind(session, EVENT_NONE);
    if (error)
        return error;
    while ((more = session_next(session, &ev, &id, 1, text, size)) == 1) {
        if (first_ns == CLOCK_UNKNOWN)
            first_ns = ev.time_ns;
        if (ev.time_ns != CLOCK_UNKNOWN)
            report->length_s =
                fmax(report->length_s, ((double)ev.time_ns - (double)first_ns) * 1e-9);
        report->n_events++;
        error = take(report, &ev, report->length_s, text, size);
        if (error)
            return error;
    }
    if (report->n_spans > 0)
        report->spans[report->n_spans - 1].to_s = report->length_s;
    report->chain = session_chain(session);
    return more;
}

static void close_unit(struct report_unit *unit)
{
    free(unit->truth);
    free(unit->mei);
    free(unit->field);
}

void report_close(struct report *report)
{
    for (size_t i = 0; i < report->n_trials; i++)
        free(report->trials[i].response);
    for (size_t i = 0; i < report->n_spans; i++)
        free(report->spans[i].why);
    for (size_t i = 0; i < report->n_notes; i++)
        free(report->notes[i].text);
    for (int u = 0; report->units && u < report->n_units; u++)
        close_unit(&report->units[u]);
    for (size_t i = 0; report->meta && report_meta_keys[i].key; i++)
        free(report->meta[i]);
    for (int kind = 0; kind < REPORT_KINDS; kind++) {
        free(report->curves[kind].trial);
        free(report->curves[kind].median);
        free(report->curves[kind].unit);
    }
    free(report->trials);
    free(report->spans);
    free(report->notes);
    free(report->units);
    free(report->order);
    free(report->meta);
    free(report->conf_text);
    free(report->driver);
    free(report->latency_ms.sorted);
    free(report->uncertainty_ms.sorted);
}
