#include "source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/clock.h"
#include "protocol/memory.h"

static size_t lay_out(struct sources *sources, const struct sources_conf *conf, void *mem)
{
    struct memory memory = {mem, 0};

    memory_take(&memory, 1, sizeof(*sources));
    sources->source =
        memory_take(&memory, (size_t)conf->n_sources, sizeof(struct source));
    sources->sum = memory_take(&memory, (size_t)conf->n_units, sizeof(float));
    for (int i = 0; i < conf->n_sources; i++) {
        void *bins = memory_take(&memory, 1, bins_size(conf->n_units, conf->n_rows));
        if (mem)
            sources->source[i].bins = bins_init(bins, conf->n_units, conf->n_rows);
    }
    return memory.size;
}

size_t sources_size(const struct sources_conf *conf)
{
    struct sources measured;
    return lay_out(&measured, conf, NULL);
}

struct sources *sources_init(void *mem, const struct sources_conf *conf)
{
    struct sources *sources = memset(mem, 0, sources_size(conf));

    sources->conf = *conf;
    lay_out(sources, conf, mem);
    return sources;
}

/* The source began again, or its clock did: what was known of it is no longer true. */
static void forget(struct source *source, const struct event *ev)
{
    source->known = 1;
    source->first_unit = ev->counts.first_unit;
    source->n_units = ev->counts.n_units;
    source->rate_hz = ev->counts.sample_rate_hz;
    source->n_edges = 0;
    bins_reset(source->bins, (int)source->n_units);
    clockmap_reset(&source->map, source->rate_hz);
}

/* Sequence numbers: 1 if this message is new. */
static int sequence(struct source *source, const struct event *ev, uint64_t *counters)
{
    uint64_t back;

    if (source->next_seq == 0 || ev->epoch != source->epoch) {
        int again = source->next_seq != 0;
        counters[COUNTER_RESTARTS] += (uint64_t)again;
        source->epoch = ev->epoch;
        source->known = 0;
        source->next_seq = ev->seq + 1;
        source->seen = UINT64_MAX;
        return 1;
    }
    if (ev->seq >= source->next_seq) {
        uint64_t ahead = ev->seq - source->next_seq;
        counters[COUNTER_GAPS] += ahead;
        source->seen = ahead < 63 ? (source->seen << (ahead + 1)) | 1 : 1;
        source->next_seq = ev->seq + 1;
        return 1;
    }
    back = source->next_seq - 1 - ev->seq;
    if (back > 63 || (source->seen >> back & 1)) {
        counters[COUNTER_DUPLICATES]++;
        return 0;
    }
    source->seen |= UINT64_C(1) << back;
    counters[COUNTER_REORDERED]++;
    counters[COUNTER_GAPS]--;
    return 1;
}

/* Units that this message names are units of the session and of no other source. */
static int units_ok(const struct sources *sources, const struct source *me,
                    const struct event *ev)
{
    uint64_t first = ev->counts.first_unit, end = first + ev->counts.n_units;

    if (end > (uint64_t)sources->conf.n_units)
        return 0;
    for (int i = 0; i < sources->conf.n_sources; i++) {
        const struct source *other = &sources->source[i];
        if (other != me && other->live && first < other->first_unit + other->n_units &&
            other->first_unit < end)
            return 0;
    }
    return 1;
}

static int take_counts(struct sources *sources, struct source *source,
                       const struct event *ev, uint64_t *counters)
{
    size_t row = (size_t)ev->counts.n_units * dtype_size(ev->counts.dtype);
    int64_t jump =
        (int64_t)((double)sources->conf.history_ns * 1e-9 * ev->counts.sample_rate_hz);

    if (!units_ok(sources, source, ev)) {
        counters[COUNTER_REJECT + REJECT_UNIT]++;
        return 0;
    }
    if (!source->known || source->rate_hz != ev->counts.sample_rate_hz ||
        source->first_unit != ev->counts.first_unit ||
        source->n_units != ev->counts.n_units) {
        sources->jumped |= source->live; /* samples seen before are of another clock */
        forget(source, ev);
    }
    for (uint32_t i = 0; i < ev->counts.n_bins; i++) {
        int64_t first = ev->counts.first_sample + (int64_t)i * ev->counts.bin_samples;
        const char *counts = (const char *)ev->data + i * row;
        enum bins_added added = bins_add(source->bins, first, ev->counts.bin_samples,
                                         counts, ev->counts.dtype, jump);
        if (added == BINS_JUMP) {
            counters[COUNTER_JUMPS]++;
            sources->jumped = 1;
            clockmap_reset(&source->map, source->rate_hz);
            source->n_edges = 0;
        }
    }
    counters[COUNTER_COUNTS]++;
    counters[COUNTER_BINS] += ev->counts.n_bins;
    clockmap_add_arrival(&source->map,
                         ev->counts.first_sample +
                             (int64_t)ev->counts.n_bins * ev->counts.bin_samples,
                         ev->time_ns);
    source->live = 1;
    source->last_ns = ev->time_ns;
    return 1;
}

static void take_edge(const struct sources *sources, struct source *source,
                      const struct event *ev)
{
    if ((int)ev->edge.line != sources->conf.diode_line || ev->edge.level != 1)
        return;
    if (source->n_edges == SOURCE_EDGES) {
        memmove(source->edges, source->edges + 1, sizeof(int64_t) * (SOURCE_EDGES - 1));
        source->n_edges--;
    }
    source->edges[source->n_edges++] = ev->edge.sample;
}

int source_take(struct sources *sources, const struct event *ev, uint64_t *counters)
{
    struct source *source;

    if (ev->source < 1 || ev->source > sources->conf.n_sources) {
        counters[COUNTER_REJECT + REJECT_FIELD]++;
        return 0;
    }
    source = &sources->source[ev->source - 1];
    /* a stranger under this number must not make the source begin anew */
    if (ev->type == EVENT_COUNTS && ev->epoch != source->epoch &&
        !units_ok(sources, source, ev)) {
        counters[COUNTER_REJECT + REJECT_UNIT]++;
        return 0;
    }
    if (!sequence(source, ev, counters))
        return 0;
    switch (ev->type) {
    case EVENT_COUNTS:
        return take_counts(sources, source, ev, counters);
    case EVENT_EDGE:
        counters[COUNTER_EDGES]++;
        take_edge(sources, source, ev);
        return 1;
    default:
        return 1;
    }
}

int sources_tick(struct sources *sources, int64_t now_ns)
{
    int n_lost = 0;
    for (int i = 0; i < sources->conf.n_sources; i++) {
        struct source *source = &sources->source[i];
        if (source->live && now_ns - source->last_ns > sources->conf.silence_ns) {
            source->live = 0;
            source->known = 0; /* its rows are no longer contiguous with what will come */
            n_lost++;
        }
    }
    return n_lost;
}

int sources_live(const struct sources *sources)
{
    int n = 0;
    for (int i = 0; i < sources->conf.n_sources; i++)
        n += sources->source[i].live;
    return n;
}

int64_t sources_edge(const struct sources *sources, int64_t host_ns, int64_t tolerance_ns,
                     int64_t *sample, int *from)
{
    int64_t best = CLOCK_UNKNOWN, nearest = tolerance_ns;

    for (int i = 0; i < sources->conf.n_sources; i++) {
        const struct source *source = &sources->source[i];
        for (int k = 0; source->live && k < source->n_edges; k++) {
            int64_t at = clockmap_host_ns(&source->map, source->edges[k]);
            int64_t off = at == CLOCK_UNKNOWN ? INT64_MAX : llabs(at - host_ns);
            if (off <= nearest) {
                nearest = off;
                best = at;
                *sample = source->edges[k];
                *from = i;
            }
        }
    }
    return best;
}

/* The window in this source's samples; 0 if its clock is not known or so slow that no
 * sample is in it. */
static int window_samples(const struct sources *sources, int i,
                          const struct window_at *at, int64_t *first, int64_t *end)
{
    const struct source *source = &sources->source[i];
    double per_ns = source->rate_hz / (double)NS_PER_S;
    int64_t onset = i == at->from ? at->sample : CLOCK_UNKNOWN;

    if (onset == CLOCK_UNKNOWN) {
        if (clockmap_host_ns(&source->map, 0) == CLOCK_UNKNOWN)
            return 0;
        onset = clockmap_sample(&source->map, at->onset_ns);
    }
    *first = onset + llrint((double)at->delay_ns * per_ns);
    *end = onset + llrint((double)(at->delay_ns + at->length_ns) * per_ns);
    return *first < *end;
}

enum window sources_window(struct sources *sources, const struct window_at *at,
                           float *response, int64_t *uncertainty_ns)
{
    int n_complete = 0;
    int64_t first, end;

    *uncertainty_ns = 0;
    for (int u = 0; u < sources->conf.n_units; u++)
        response[u] = nanf("");
    for (int i = 0; i < sources->conf.n_sources; i++) {
        struct source *source = &sources->source[i];
        int64_t uncertainty = i == at->from ? 0 : clockmap_uncertainty_ns(&source->map);
        if (!source->live || !window_samples(sources, i, at, &first, &end))
            continue;
        switch (bins_window(source->bins, first, end, sources->sum)) {
        case BINS_WAIT:
            return WINDOW_WAIT;
        case BINS_COMPLETE:
            memcpy(response + source->first_unit, sources->sum,
                   source->n_units * sizeof(float));
            n_complete++;
            break;
        case BINS_BEFORE: /* it joined after the window opened */
            break;
        default:
            return WINDOW_HOLE;
        }
        if (uncertainty > *uncertainty_ns)
            *uncertainty_ns = uncertainty;
    }
    return n_complete > 0 ? WINDOW_COMPLETE : WINDOW_UNKNOWN;
}
