#include "rig.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/clock.h"
#include "protocol/memory.h"
#include "stimulus/space.h"
#include "tools/animal.h"

#define N_PIXELS_KEPT 64 /* stimuli whose pixels are remembered */
#define N_SHOWN       8  /* presentations whose responses may still run */

/* A stimulus whose pixels were published. */
struct seen {
    uint64_t hash;
    float *rate; /* (n_units) counts in the window */
};

/* A presentation: its response lasts from onset + delay to onset + delay + window. */
struct shown {
    int64_t onset_ns, offset_ns;
    const struct seen *seen; /* NULL: pixels unknown */
    int edges;               /* sent: 0 none, 1 the rising one, 2 both */
};

struct rig {
    struct conf conf;
    struct animal *animal;
    struct random random;
    uint32_t epoch;
    uint64_t seq;
    int64_t origin_ns;
    int64_t first_sample; /* at origin_ns */
    double rate_hz;       /* true rate of the recorder's clock */
    int64_t n_bins;       /* sent so far */
    int64_t bin_samples;
    struct seen seen[N_PIXELS_KEPT];
    uint64_t n_seen;
    struct shown shown[N_SHOWN];
    uint64_t n_shown;
    float *x;       /* (height, width) */
    float *grey;    /* (n_units) */
    uint8_t *count; /* (n_units) */
};

static void *zeros(size_t n, size_t size)
{
    void *mem = memory_open(n * size);
    CHECK(mem != NULL);
    return mem;
}

struct rig *rig_open(const struct conf *conf, uint32_t epoch, int64_t now_ns)
{
    struct rig *rig = zeros(1, sizeof(*rig));
    size_t n_units = (size_t)conf->ingest.units;
    size_t n_pixels = (size_t)conf->stimulus.height * (size_t)conf->stimulus.width;
    struct job_conf job;
    struct animal_conf animal;

    conf_job(conf, NULL, &job);
    animal = (struct animal_conf){.kind = (enum animal_kind)conf->sim.kind,
                                  .n_units = (int)n_units,
                                  .space = job.space,
                                  .rate_grey = conf->sim.rate_grey,
                                  .rate_best = conf->sim.rate_best};
    rig->conf = *conf;
    rig->animal =
        animal_init(zeros(1, animal_size(&animal)), &animal, (uint64_t)conf->sim.seed);
    random_init(&rig->random, (uint64_t)conf->sim.seed, epoch);
    rig->epoch = epoch;
    rig->origin_ns = now_ns;
    rig->first_sample = random_below(&rig->random, 1u << 30);
    rig->rate_hz = conf->sim.sample_rate_hz * (1 + conf->sim.drift_ppm * 1e-6);
    rig->bin_samples = llrint(conf->sim.bin_ms * 1e-3 * conf->sim.sample_rate_hz);
    rig->bin_samples += rig->bin_samples == 0;
    rig->x = zeros(n_pixels, sizeof(float));
    rig->grey = zeros(n_units, sizeof(float));
    rig->count = zeros(n_units, 1);
    for (int i = 0; i < N_PIXELS_KEPT; i++)
        rig->seen[i].rate = zeros(n_units, sizeof(float));
    animal_rate(rig->animal, rig->x, rig->grey);
    return rig;
}

void rig_close(struct rig *rig)
{
    if (!rig)
        return;
    for (int i = 0; i < N_PIXELS_KEPT; i++)
        free(rig->seen[i].rate);
    free(rig->x);
    free(rig->grey);
    free(rig->count);
    free(rig->animal);
    free(rig);
}

const float *rig_filter(const struct rig *rig, int unit)
{
    return animal_filter(rig->animal, unit);
}

static void send(struct rig *rig, struct event *ev, rig_emit *emit, void *context)
{
    ev->source = 1;
    ev->epoch = rig->epoch;
    ev->seq = rig->seq++;
    if (random_uniform(&rig->random) >= rig->conf.sim.lose)
        emit(context, ev);
}

void rig_tell_truth(struct rig *rig, rig_emit *emit, void *context)
{
    for (uint32_t unit = 0; unit < (uint32_t)rig->conf.ingest.units; unit++) {
        struct event ev = {.type = EVENT_TRUTH};
        ev.truth.unit = unit;
        ev.truth.height = (uint32_t)rig->conf.stimulus.height;
        ev.truth.width = (uint32_t)rig->conf.stimulus.width;
        ev.truth.kind = rig->conf.sim.kind != ANIMAL_LN;
        ev.data = rig_filter(rig, (int)unit);
        ev.data_size = (uint32_t)event_data_size(&ev);
        send(rig, &ev, emit, context);
    }
}

static const struct seen *find(const struct rig *rig, uint64_t hash)
{
    for (int i = 0; i < N_PIXELS_KEPT; i++)
        if ((uint64_t)i < rig->n_seen && rig->seen[i].hash == hash)
            return &rig->seen[i];
    return NULL;
}

static void hear_stimulus(struct rig *rig, const struct event *ev)
{
    struct seen *seen = &rig->seen[rig->n_seen % N_PIXELS_KEPT];
    int n_pixels = rig->conf.stimulus.height * rig->conf.stimulus.width;

    if (ev->stimulus.dtype != DTYPE_U8 || ev->data_size != (uint32_t)n_pixels ||
        find(rig, ev->stimulus.hash))
        return;
    space_decode(ev->data, n_pixels, rig->x);
    animal_rate(rig->animal, rig->x, seen->rate);
    seen->hash = ev->stimulus.hash;
    rig->n_seen++;
}

void rig_hear(struct rig *rig, const struct event *ev)
{
    struct shown *last = &rig->shown[(rig->n_shown + N_SHOWN - 1) % N_SHOWN];

    if (ev->type == EVENT_STIMULUS) {
        hear_stimulus(rig, ev);
    } else if (ev->type == EVENT_SHOWN) {
        rig->shown[rig->n_shown++ % N_SHOWN] = (struct shown){
            ev->shown.onset_ns, CLOCK_UNKNOWN, find(rig, ev->shown.hash), 0};
    } else if (ev->type == EVENT_HIDDEN && rig->n_shown > 0) {
        last->offset_ns = ev->hidden.offset_ns;
    }
}

static int64_t sample_at(const struct rig *rig, int64_t host_ns)
{
    return rig->first_sample +
           llrint((double)(host_ns - rig->origin_ns) * 1e-9 * rig->rate_hz);
}

static void send_edges(struct rig *rig, rig_emit *emit, void *context)
{
    for (uint64_t i = 0; i < N_SHOWN && i < rig->n_shown; i++) {
        struct shown *shown = &rig->shown[i];
        while (shown->edges < 2) {
            int64_t at_ns = shown->edges == 0 ? shown->onset_ns : shown->offset_ns;
            struct event ev = {.type = EVENT_EDGE};
            if (at_ns == CLOCK_UNKNOWN)
                break;
            ev.edge.sample = sample_at(rig, at_ns);
            ev.edge.sample_rate_hz = rig->conf.sim.sample_rate_hz;
            ev.edge.level = shown->edges == 0;
            shown->edges++;
            send(rig, &ev, emit, context);
        }
    }
}

/* Which presentation the neurons answer at this moment, NULL for none. */
static const struct shown *answered(const struct rig *rig, int64_t host_ns)
{
    int64_t delay_ns = llrint(rig->conf.trial.delay_ms * 1e6);
    int64_t window_ns = llrint(rig->conf.trial.window_ms * 1e6);

    for (uint64_t i = 0; i < N_SHOWN && i < rig->n_shown; i++) {
        int64_t since_ns = host_ns - rig->shown[i].onset_ns - delay_ns;
        if (since_ns >= 0 && since_ns < window_ns)
            return &rig->shown[i];
    }
    return NULL;
}

static void send_bin(struct rig *rig, int64_t middle_ns, rig_emit *emit, void *context)
{
    const struct shown *shown = answered(rig, middle_ns);
    const float *rate = shown && shown->seen ? shown->seen->rate : rig->grey;
    double share = (double)rig->bin_samples / rig->conf.sim.sample_rate_hz * 1e3 /
                   rig->conf.trial.window_ms;
    struct event ev = {.type = EVENT_COUNTS};

    ev.counts.first_sample = rig->first_sample + rig->n_bins * rig->bin_samples;
    rig->n_bins++;
    if (shown && !shown->seen) { /* nobody knows what it would have answered */
        rig->seq++;
        return;
    }
    for (int64_t u = 0; u < rig->conf.ingest.units; u++) {
        uint32_t count = random_poisson(&rig->random, (double)rate[u] * share);
        rig->count[u] = (uint8_t)(count > 255 ? 255 : count);
    }
    ev.counts.sample_rate_hz = rig->conf.sim.sample_rate_hz;
    ev.counts.bin_samples = (uint32_t)rig->bin_samples;
    ev.counts.n_bins = 1;
    ev.counts.n_units = (uint32_t)rig->conf.ingest.units;
    ev.counts.dtype = DTYPE_U8;
    ev.data = rig->count;
    ev.data_size = (uint32_t)rig->conf.ingest.units;
    send(rig, &ev, emit, context);
}

void rig_run(struct rig *rig, int64_t until_ns, rig_emit *emit, void *context)
{
    double bin_ns = (double)rig->bin_samples / rig->rate_hz * 1e9;

    if (rig->conf.sim.diode)
        send_edges(rig, emit, context);
    for (;;) {
        int64_t start_ns = rig->origin_ns + llrint((double)rig->n_bins * bin_ns);
        if (start_ns + (int64_t)bin_ns > until_ns)
            return;
        send_bin(rig, start_ns + (int64_t)(bin_ns / 2), emit, context);
    }
}
