#include "report_session.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/record.h"
#include "models/ops.h"
#include "models/random.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "protocol/wire.h"

static const char config[] = "[session]\nname = known\nseed = 3\n"
                             "[ingest]\nunits = 5\n"
                             "[stimulus]\nheight = 8\nwidth = 8\n"
                             "[optimise]\nmax_steps = 10\n";

static struct report_session made;
static struct record *record;
static struct random random_state;
static uint64_t seq;

static void put(struct event *ev, int64_t time_ns)
{
    ev->seq = seq++;
    ev->time_ns = time_ns;
    CHECK_EQ(ev->data_size, event_data_size(ev));
    CHECK(record_put(record, ev) == 0);
}

static void put_state(uint32_t state, const char *why, int64_t time_ns)
{
    struct event ev = {.type = EVENT_STATE, .data_size = (uint32_t)strlen(why)};

    ev.state.state = state;
    ev.state.n_text = ev.data_size;
    ev.data = why;
    put(&ev, time_ns);
}

static void put_truth(void)
{
    for (uint32_t u = 0; u < UNITS; u++) {
        struct event ev = {.type = EVENT_TRUTH, .source = 1};
        for (int i = 0; i < PIXELS; i++)
            made.truth[u][i] = (float)random_normal(&random_state);
        if (u == 3)
            continue;
        ev.truth.unit = u;
        ev.truth.height = ev.truth.width = SIDE;
        ev.data = made.truth[u];
        ev.data_size = sizeof(made.truth[u]);
        put(&ev, 5);
    }
}

static void put_mei(uint32_t unit, int64_t time_ns)
{
    struct event ev = {.type = EVENT_RESULT, .data_size = PIXELS};

    for (int i = 0; i < PIXELS; i++)
        made.mei[i] = (uint8_t)random_below(&random_state, 256);
    ev.result.kind = JOB_MEI;
    ev.result.unit = unit;
    ev.result.value = 7.5;
    ev.result.height = ev.result.width = SIDE;
    ev.result.dtype = DTYPE_U8;
    ev.result.hash = wire_hash_stimulus(SIDE, SIDE, DTYPE_U8, made.mei);
    ev.data = made.mei;
    put(&ev, time_ns);
}

/* What trial i shall be: first random and info-max, then MEIs with random ones between,
 * at last the repeats of what another system shows. */
static void choose(int i, enum report_session_kind kind, struct put *trial)
{
    memset(trial, 0, sizeof(*trial));
    trial->hash = random_u64(&random_state);
    trial->learned = 1;
    trial->latency_ns = i % 10 == 0 ? CLOCK_UNKNOWN : 40000 + 1000 * (i * 7919 % TRIALS);
    trial->kind = i < 100 || i % 2 ? JOB_RANDOM : i < 250 ? JOB_INFOMAX : JOB_MEI;
    trial->unit = trial->kind == JOB_MEI ? (uint32_t)(i / 2 % UNITS) : UNIT_ALL;
    if (i >= HELD_OUT) {
        trial->kind = trial->learned = 0;
        trial->hash = 1000 + (uint64_t)((i - HELD_OUT) % IMAGES);
        trial->unit = UNIT_ALL;
    } else if (kind == SESSION_INVALID || i % 17 == 3) {
        trial->verdict = i % 2 ? VERDICT_LATE_FRAME : VERDICT_COUNTS_LOST;
        trial->learned = 0;
    }
    if (kind == SESSION_INVALID)
        trial->verdict += trial->verdict == VERDICT_VALID;
}

/* Responses that the prediction explains in part; images that are repeated have a rate
 * of their own. */
static void respond(struct put *trial)
{
    for (int u = 0; u < UNITS; u++) {
        struct random of_image;
        double rate;
        random_init(&of_image, trial->hash, (uint64_t)u);
        rate = exp(0.7 * random_normal(&of_image)) * (trial->unit == (uint32_t)u ? 5 : 2);
        trial->predicted[u] = (float)(rate * exp(0.3 * random_normal(&random_state)));
        trial->observed[u] = (float)random_poisson(&random_state, rate);
        if (u == UNITS - 1 || (u == 0 && random_below(&random_state, 20) == 0))
            trial->observed[u] = nanf("");
        if (trial->verdict != VERDICT_VALID)
            trial->observed[u] = trial->predicted[u] = nanf("");
    }
}

static void put_trial(int i, const struct put *trial, uint32_t n_units)
{
    float response[2 * UNITS];
    struct event ev = {.type = EVENT_TRIAL};

    memcpy(response, trial->observed, n_units * sizeof(float));
    memcpy(response + n_units, trial->predicted, n_units * sizeof(float));
    ev.trial.trial = (uint64_t)i;
    ev.trial.hash = trial->hash;
    ev.trial.latency_ns = trial->latency_ns;
    ev.trial.uncertainty_ns = 1000 * (i % 5);
    ev.trial.verdict = trial->verdict;
    ev.trial.kind = trial->kind;
    ev.trial.unit = trial->unit;
    ev.trial.attempt = 1;
    ev.trial.learned = trial->learned;
    ev.trial.n_units = n_units;
    ev.data = response;
    ev.data_size = (uint32_t)(2 * n_units * sizeof(float));
    put(&ev, NS_PER_S + i * 100 * NS_PER_MS);
}

static void put_onsets(int i)
{
    struct event shown = {.type = EVENT_SHOWN}, hidden = {.type = EVENT_HIDDEN};
    int64_t time_ns = NS_PER_S + i * 100 * NS_PER_MS;

    shown.shown.quality = QUALITY_HARDWARE;
    shown.shown.n_late = i % 50 == 0;
    hidden.hidden.n_frames = 3;
    hidden.hidden.n_late = i % 100 == 0 ? 2 : 0;
    put(&shown, time_ns);
    put(&hidden, time_ns);
}

static void put_others(void)
{
    const char *driver = "test";
    struct event display = {.type = EVENT_DISPLAY, .data = driver, .data_size = 4};
    struct event note = {.type = EVENT_COMMAND, .data = LOOKED_AT};
    struct event reject = {.type = EVENT_REJECT};

    display.display.refresh_hz = 120;
    display.display.width_px = 640;
    display.display.height_px = 480;
    display.display.n_text = 4;
    put(&display, 6);
    note.command.command = COMMAND_NOTE;
    note.command.n_text = note.data_size = (uint32_t)strlen(LOOKED_AT);
    put(&note, 2 * NS_PER_S);
    reject.reject.reason = REJECT_VALUE;
    put(&reject, 2 * NS_PER_S);
    put(&reject, 2 * NS_PER_S);
}

/* A model that learned a little, its fields kept. */
static void put_model(void)
{
    struct conf conf;
    struct loop_conf loop;
    struct model *model;
    char text[256];
    float x[PIXELS], rate[UNITS], count[UNITS] = {3, 0, 2, 5, 1};
    void *mem, *snapshot, *work;
    const void *state;

    CHECK(conf_read_text(&conf, config, "test", text, sizeof(text)) == 0);
    conf_loop(&conf, &loop);
    mem = aligned_alloc(64, (model_size(&loop.model) + 63) / 64 * 64);
    snapshot = aligned_alloc(64, (model_snapshot_size(&loop.model) + 63) / 64 * 64);
    ops_init();
    ops_flush_denormals();
    model = model_init(mem, &loop.model);
    for (int trial = 0; trial < 30; trial++) {
        for (int i = 0; i < PIXELS; i++)
            x[i] = 0.4f * (float)random_normal(&random_state);
        model_predict(model, x, rate);
        count[trial % UNITS] += 1;
        model_learn(model, count);
    }
    for (uint32_t u = 0; u < UNITS; u++) {
        model_snapshot(model, &u, 1, snapshot);
        work = aligned_alloc(64, (snapshot_work_size(snapshot) + 63) / 64 * 64);
        snapshot_field(snapshot, work, made.field[u]);
        free(work);
    }
    size_t size = model_state(model, &state);
    CHECK(record_blob(record, 77, "model", state, size) == 0);
    CHECK(record_meta(record, "model_final", "77") == 0);
    free(snapshot);
    free(mem);
}

static void put_session(enum report_session_kind kind)
{
    put_truth();
    put_others();
    put_state(STATE_ARMED, "started", 10);
    put_state(STATE_CHOOSE, "", NS_PER_S);
    put_mei(1, NS_PER_S);
    for (int i = 0; i < TRIALS; i++) {
        choose(i, kind, &made.trials[i]);
        respond(&made.trials[i]);
        put_trial(i, &made.trials[i],
                  kind == SESSION_CONTRADICTS && i == 20 ? UNITS - 1 : UNITS);
        put_onsets(i);
    }
    put_mei(1, 42 * NS_PER_S);
    put_state(STATE_END, "all trials are done", 43 * NS_PER_S);
}

const struct report_session *report_session_make(const char *folder, const char *name,
                                                 enum report_session_kind kind,
                                                 uint64_t seed)
{
    memset(&made, 0, sizeof(made));
    seq = 0;
    random_init(&random_state, seed, 0);
    snprintf(made.folder, sizeof(made.folder), "%s/%s", folder, name);
    snprintf(made.path, sizeof(made.path), "%s/%s.evoke", folder, name);
    CHECK(record_open(&record, made.path) == 0);
    CHECK(record_meta(record, "name", "known") == 0);
    CHECK(record_meta(record, "started", "2026-03-01T09:30:00Z") == 0);
    CHECK(record_meta(record, "config",
                      kind == SESSION_STRANGE ? "[future]\nkey = \xffvalue\n" : config) ==
          0);
    if (kind != SESSION_EMPTY)
        put_session(kind);
    if (kind == SESSION_FULL || kind == SESSION_INVALID)
        put_model();
    record_close(record);
    return &made;
}
