#include "stage.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/memory.h"
#include "protocol/wire.h"
#include "stimulus/space.h"

#define FLIP_NS  (7 * EVENTS_MS)  /* from a PRESENT to its onset, at least */
#define WIRE_NS  (EVENTS_MS / 10) /* from a PRESENT to its SENT */
#define TICK_MS  20
#define BEAT_MS  50
#define BIN_MS   10
#define LIMIT_MS 10000

static const char standard[] =
    "[ingest]\nunits = 3\nhistory_s = 1\nmax_bin_hz = 200\nsilence_s = 0.3\n"
    "[display]\nsilence_ms = 200\n"
    "[stimulus]\nheight = 4\nwidth = 4\nimages = white\n"
    "[trial]\nstimulus_ms = 20\ngap_ms = 10\ndelay_ms = 5\nwindow_ms = 20\n"
    "onset_timeout_ms = 100\ncounts_timeout_ms = 100\nmax_attempts = 3\n"
    "[optimise]\nworkers = 2\nahead = 3\n"
    "[learn]\npolicy = infomax\nstart = 3\ntrials = 1000000\n";

struct stage *stage_open(const char *ini, int fill)
{
    struct stage *stage = calloc(1, sizeof(*stage));
    char text[2048], why[256];
    void *mem;

    snprintf(text, sizeof(text), "%s%s", standard, ini);
    if (conf_read_text(&stage->conf, text, "stage", why, sizeof(why)) != 0) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    conf_loop(&stage->conf, &stage->loop_conf);
    mem = memory_open(loop_size(&stage->loop_conf));
    memset(mem, fill, loop_size(&stage->loop_conf));
    stage->loop = loop_init(mem, &stage->loop_conf);
    stage->model = model_init(memory_open(model_size(&stage->loop_conf.model)),
                              &stage->loop_conf.model);
    stage->now_ns = 1000 * EVENTS_MS;
    stage->display = stage->rig = stage->worker = 1;
    stage->display_epoch = 5;
    stage->asked = 1;
    stage->shown_ns = stage->hidden_ns = CLOCK_UNKNOWN;
    stage->sender = (struct sender){
        .source = 1, .rate_hz = 1000, .n_units = STAGE_UNITS, .bin_samples = BIN_MS};
    stage->sample = 1000;
    stage->digest = WIRE_HASH_START;
    return stage;
}

void stage_close(struct stage *stage)
{
    free(stage->loop);
    free(stage->model);
    free(stage);
}

static void check_state(struct stage *stage, const struct event *ev)
{
    int chose = ev->state.before == STATE_CHOOSE &&
                (stage->state == STATE_PRESENT || stage->state == STATE_COLLECT);

    CHECK(ev->state.before == stage->state || chose);
    stage->state = ev->state.state;
}

/* Which stimulus has this hash; a new one if none has. */
static int stimulus_of(struct stage *stage, uint64_t hash)
{
    int i = 0;

    while (i < stage->n_stimuli && stage->stimuli[i].hash != hash)
        i++;
    if (i == stage->n_stimuli) {
        CHECK(stage->n_stimuli++ < STAGE_SHOWN);
        stage->stimuli[i].hash = hash;
    }
    return i;
}

static void check_stimulus(struct stage *stage, const struct event *ev)
{
    int i = stimulus_of(stage, ev->stimulus.hash);

    CHECK_EQ(ev->data_size, STAGE_PIXELS);
    memcpy(stage->stimuli[i].pixels, ev->data, STAGE_PIXELS);
    stage->stimuli[i].n_sent++;
}

static void check_trial(struct stage *stage, const struct event *ev)
{
    const float *observed = ev->data, *predicted = observed + STAGE_UNITS;
    int valid = ev->trial.verdict == VERDICT_VALID, i;
    float x[STAGE_PIXELS], rate[STAGE_UNITS];

    CHECK_EQ(ev->data_size, 2 * STAGE_UNITS * sizeof(float));
    CHECK(valid || !ev->trial.learned);
    for (int u = 0; u < STAGE_UNITS; u++)
        CHECK(valid ? observed[u] >= 0 && predicted[u] >= 0
                    : isnan(observed[u]) && isnan(predicted[u]));
    if (!stage->conf.trial.external) {
        i = stimulus_of(stage, ev->trial.hash);
        CHECK_EQ(ev->trial.learned, valid);
        CHECK_EQ(ev->trial.attempt, ++stage->stimuli[i].n_told);
        if (valid) {
            space_decode(stage->stimuli[i].pixels, STAGE_PIXELS, x);
            model_predict(stage->model, x, rate);
            CHECK(memcmp(rate, predicted, sizeof(rate)) == 0);
            model_learn(stage->model, observed);
        }
        CHECK(model_hash(stage->model) == model_hash(loop_model(stage->loop)));
    }
    stage->n_learned += ev->trial.learned;
}

static void hear(void *context, const struct event *ev)
{
    struct stage *stage = context;
    char head[WIRE_HEAD_MAX];

    stage->digest = wire_hash(stage->digest, head, wire_encode(ev, head));
    if (ev->data_size > 0)
        stage->digest = wire_hash(stage->digest, ev->data, ev->data_size);
    CHECK_EQ(ev->data_size, event_data_size(ev));
    CHECK_EQ(ev->time_ns, stage->now_ns);
    stage->n_beats += ev->type == EVENT_BEAT;
    stage->n_statuses += ev->type == EVENT_STATUS;
    if (ev->type == EVENT_BEAT || ev->type == EVENT_STATUS)
        return;
    CHECK(stage->n_said < STAGE_SAID);
    stage->said[stage->n_said] = *ev;
    stage->said[stage->n_said++].data = NULL;
    switch (ev->type) {
    case EVENT_STATE:
        check_state(stage, ev);
        break;
    case EVENT_STIMULUS:
        check_stimulus(stage, ev);
        break;
    case EVENT_TRIAL:
        check_trial(stage, ev);
        break;
    case EVENT_SCREEN:
        stage->asked = 1;
        break;
    case EVENT_PRESENT:
        stage->present = *ev;
        stage->to_send = 1;
        break;
    case EVENT_JOB:
        CHECK(stage->n_jobs < STAGE_JOBS);
        stage->jobs[stage->n_jobs++] = *ev;
        break;
    default:
        break;
    }
}

void stage_tell(struct stage *stage, struct event ev)
{
    ev.time_ns = stage->now_ns;
    loop_fold(stage->loop, &ev, hear, stage);
    CHECK(!loop_has_more(stage->loop));
    CHECK_EQ(loop_now(stage->loop) == STATE_END, stage->state == STATE_END);
}

/* A PRESENT was said: hand it to the display. */
static void send_present(struct stage *stage)
{
    struct event sent = events_plain(EVENT_SENT, 0);
    int64_t first_ns = stage->now_ns + FLIP_NS;

    sent.sent.trial = stage->present.present.trial;
    sent.sent.cause_ns = stage->present.present.cause_ns;
    stage->onset_ns = stage->present.present.not_before_ns > first_ns
                          ? stage->present.present.not_before_ns
                          : first_ns;
    stage->to_send = 0;
    if (stage->display && stage->fault != STAGE_NOT_SHOWN) {
        stage->shown_ns = stage->onset_ns;
        stage->hidden_ns = stage->onset_ns + stage->loop_conf.trial.duration_ns;
    }
    stage->now_ns += WIRE_NS;
    stage_tell(stage, sent);
    stage->now_ns -= WIRE_NS;
}

static void display_speaks(struct stage *stage)
{
    struct event ev;

    if (stage->asked) {
        stage->asked = 0;
        stage_tell(stage, events_display(stage->display_epoch, QUALITY_ESTIMATED, 0));
    } else if (stage->now_ns / EVENTS_MS % BEAT_MS == 0) {
        ev = events_plain(EVENT_BEAT, 0);
        ev.epoch = stage->display_epoch;
        stage_tell(stage, ev);
    }
    if (stage->shown_ns <= stage->now_ns && stage->shown_ns != CLOCK_UNKNOWN) {
        ev = events_shown(&stage->present, stage->onset_ns, 0);
        ev.shown.n_late = stage->fault == STAGE_LATE;
        ev.shown.hash ^= stage->fault == STAGE_WRONG;
        stage->shown_ns = CLOCK_UNKNOWN;
        stage_tell(stage, ev);
    }
    if (stage->hidden_ns <= stage->now_ns && stage->hidden_ns != CLOCK_UNKNOWN) {
        ev = events_hidden(&stage->present, 0);
        ev.hidden.n_late = stage->fault == STAGE_LATE_AT_END;
        stage->hidden_ns = CLOCK_UNKNOWN;
        if (stage->fault != STAGE_NOT_HIDDEN)
            stage_tell(stage, ev);
    }
}

static void rig_speaks(struct stage *stage)
{
    uint8_t counts[STAGE_UNITS];
    struct event ev;

    for (int u = 0; u < STAGE_UNITS; u++)
        counts[u] = (uint8_t)((uint64_t)(stage->sample + 3 * u) * 2654435761u >> 16) % 5;
    ev = events_counts(&stage->sender, stage->sample, 1, counts);
    stage->sample += BIN_MS;
    if (stage->n_lose > 0)
        stage->n_lose--;
    else
        stage_tell(stage, ev);
}

/* Every stimulus is another one. */
static void worker_speaks(struct stage *stage)
{
    struct event job = stage->jobs[0];
    uint8_t pixels[STAGE_PIXELS];

    for (uint64_t i = 0; i < STAGE_PIXELS; i++)
        pixels[i] =
            (uint8_t)(((job.job.job + 1) * 0x9e3779b97f4a7c15u >> (4 + i)) + 37 * i);
    stage->n_jobs--;
    memmove(stage->jobs, stage->jobs + 1, sizeof(job) * (size_t)stage->n_jobs);
    stage_tell(stage, events_result(&job, 4, 4, pixels, 0));
}

static void pass_ms(struct stage *stage)
{
    int64_t ms;

    if (stage->to_send)
        send_present(stage);
    stage->now_ns += EVENTS_MS;
    ms = stage->now_ns / EVENTS_MS;
    if (ms % TICK_MS == 0)
        stage_tell(stage, events_plain(EVENT_TICK, 0));
    if (stage->display)
        display_speaks(stage);
    if (ms % BIN_MS == 0) {
        if (stage->rig)
            rig_speaks(stage);
        else
            stage->sample += BIN_MS;
    }
    if (stage->worker && stage->n_jobs > 0)
        worker_speaks(stage);
}

void stage_run(struct stage *stage, int ms)
{
    for (int i = 0; i < ms; i++)
        pass_ms(stage);
}

int stage_reach(struct stage *stage, enum loop_state state)
{
    for (int i = 0; i < LIMIT_MS && loop_now(stage->loop) != state; i++)
        pass_ms(stage);
    return loop_now(stage->loop) == state;
}

void stage_go_to(struct stage *stage, enum loop_state state)
{
    stage->display = state != STATE_ARMED;
    stage->worker = state != STATE_CHOOSE;
    if (state == STATE_IDLE)
        return;
    if (state == STATE_PAUSED || state == STATE_FAULT || state == STATE_END)
        CHECK(stage_reach(stage, STATE_COLLECT));
    if (state == STATE_PAUSED)
        stage_tell(stage, events_command(COMMAND_PAUSE, 0));
    else if (state == STATE_END)
        stage_tell(stage, events_command(COMMAND_STOP, 0));
    else if (state == STATE_FAULT)
        stage_tell(stage, events_lost(RING_LOOP_WIRE, 1, 0));
    else
        CHECK(stage_reach(stage, state));
    CHECK_EQ(loop_now(stage->loop), state);
}

const struct event *stage_next(const struct stage *stage, unsigned type, int *i)
{
    while (*i < stage->n_said)
        if (stage->said[(*i)++].type == type)
            return &stage->said[*i - 1];
    return NULL;
}

int stage_count(const struct stage *stage, unsigned type, int i)
{
    int n = 0;
    while (stage_next(stage, type, &i))
        n++;
    return n;
}
