#include "loop.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "daemon/presence.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "protocol/memory.h"
#include "stimulus/space.h"

#define BEAT_NS   (50 * NS_PER_MS)
#define STATUS_NS (200 * NS_PER_MS)

struct loop {
    struct loop_conf conf;
    enum loop_state state;
    const char *why; /* it is in this state */
    int64_t now_ns;
    uint64_t seq; /* of what the loop says */
    uint64_t counters[COUNTER_END];

    struct sources *sources;
    struct stream *stream;
    struct supply *supply;
    struct model *model;
    float *x;        /* (n_frames, height, width) */
    float *response; /* (2, n_units): observed, predicted */

    struct presence display;
    int64_t beat_ns, status_ns;

    struct trial trial; /* PRESENT, COLLECT */
    struct trial ended; /* UPDATE: to be learned from and told */
    enum verdict ended_as;
    int has_ended;
    int64_t free_ns; /* the next stimulus may not be shown before */
    uint64_t n_trials, n_learned, n_model_said;
    int more; /* see loop_has_more() */
};

static size_t lay_out(struct loop *loop, const struct loop_conf *conf, void *mem)
{
    struct memory memory = {mem, 0};
    size_t n_x = (size_t)conf->model.n_frames * (size_t)conf->model.height *
                 (size_t)conf->model.width;
    void *sources, *stimuli, *model;

    memory_take(&memory, 1, sizeof(*loop));
    sources = memory_take(&memory, 1, sources_size(&conf->sources));
    stimuli = memory_take(&memory, 1,
                          conf->trial.external ? stream_size(&conf->stream)
                                               : supply_size(&conf->supply));
    model = memory_take(&memory, 1, model_size(&conf->model));
    loop->x = memory_take(&memory, n_x, sizeof(float));
    loop->response = memory_take(&memory, 2 * (size_t)conf->model.n_units, sizeof(float));
    if (mem) {
        loop->sources = sources_init(sources, &conf->sources);
        loop->model = model_init(model, &conf->model);
        if (conf->trial.external)
            loop->stream = stream_init(stimuli, &conf->stream);
        else
            loop->supply = supply_init(stimuli, &conf->supply);
    }
    return memory.size;
}

size_t loop_size(const struct loop_conf *conf)
{
    struct loop measured;
    return lay_out(&measured, conf, NULL);
}

struct loop *loop_init(void *mem, const struct loop_conf *conf)
{
    struct loop *loop = memset(mem, 0, sizeof(struct loop));

    loop->conf = *conf;
    lay_out(loop, conf, mem);
    loop->trial.onset_ns = CLOCK_UNKNOWN;
    loop->free_ns = INT64_MIN;
    loop->why = "";
    loop->more = 1;
    return loop;
}

static void go_to(struct loop *loop, enum loop_state state, const char *why,
                  struct outbox *out)
{
    struct event *ev;

    if (state == loop->state && strcmp(why, loop->why) == 0)
        return;
    loop->why = why;
    ev = outbox_add(out, EVENT_STATE);
    ev->state.state = (uint32_t)state;
    ev->state.before = (uint32_t)loop->state;
    ev->state.n_trials = loop->n_trials;
    ev->state.n_text = (uint32_t)strlen(why);
    ev->data = why;
    ev->data_size = ev->state.n_text;
    loop->state = state;
}

static int in_trial(const struct loop *loop)
{
    return !loop->conf.trial.external &&
           (loop->state == STATE_PRESENT || loop->state == STATE_COLLECT);
}

/* ARMED, or one of the states of a running session. */
static int is_running(const struct loop *loop)
{
    return loop->state >= STATE_ARMED && loop->state <= STATE_COLLECT;
}

/* Something happened that the trial that is on, if one is, does not survive. */
static void break_trial(struct loop *loop, enum verdict why)
{
    if (in_trial(loop))
        trial_break(&loop->trial, why);
}

/* Show the oldest stimulus that is ready; state CHOOSE if none is. cause_ns: arrival of
 * what ended the trial before. */
static void begin_trial(struct loop *loop, int64_t cause_ns, struct outbox *out)
{
    struct supply_slot *slot = supply_next(loop->supply);
    struct event *ev;

    if (!slot) {
        go_to(loop, STATE_CHOOSE, "no stimulus is ready yet", out);
        return;
    }
    ev = outbox_add(out, EVENT_PRESENT);
    ev->present.trial = loop->n_trials;
    ev->present.hash = slot->hash;
    ev->present.not_before_ns =
        loop->free_ns > loop->now_ns ? loop->free_ns : loop->now_ns;
    ev->present.duration_ns = loop->conf.trial.duration_ns;
    ev->present.cause_ns = cause_ns;
    trial_begin(&loop->trial, &loop->conf.trial, loop->n_trials++, slot,
                ev->present.not_before_ns);
    go_to(loop, STATE_PRESENT, "", out);
}

/* The trial is over. What follows is put off: the next stimulus goes out first. */
static void end_trial(struct loop *loop, enum verdict verdict)
{
    CHECK(!loop->has_ended);
    loop->ended = loop->trial;
    loop->ended_as = verdict;
    loop->has_ended = 1;
    loop->more = 1;
    if (loop->trial.onset_ns != CLOCK_UNKNOWN)
        loop->free_ns =
            loop->trial.onset_ns + loop->conf.trial.duration_ns + loop->conf.trial.gap_ns;
}

/* Is all there that a session needs? If not, why (for the experimenter). */
static const char *missing(const struct loop *loop)
{
    int source = sources_live(loop->sources) > 0;

    if (loop->conf.trial.external)
        return source ? NULL : "waiting for a source of spike counts";
    if (!loop->display.known)
        return source ? "waiting for the display"
                      : "waiting for the display and a source";
    if (loop->display.poor)
        return "the display's flip times are not as good as [display] quality asks; give "
               "it a screen whose vertical blank it can wait for, or ask for less";
    if (!loop->display.ready)
        return "waiting for the display to be ready";
    return source ? NULL : "waiting for a source of spike counts";
}

/* Go on as far as what is known allows. */
static void advance(struct loop *loop, struct outbox *out)
{
    enum verdict verdict;
    const char *why;

    if (in_trial(loop) && !loop->has_ended) {
        verdict = trial_verdict(&loop->trial, &loop->conf.trial, loop->sources,
                                loop->now_ns, loop->response);
        if (verdict == VERDICT_END)
            return;
        end_trial(loop, verdict);
        loop->state = STATE_CHOOSE;
    }
    if (!is_running(loop) || in_trial(loop))
        return;
    why = missing(loop);
    if (why) {
        go_to(loop, STATE_ARMED, why, out);
        return;
    }
    if (loop->conf.trial.external) {
        go_to(loop, STATE_COLLECT, "", out);
    } else {
        begin_trial(loop, loop->now_ns, out);
    }
}

/* End the trial that is on, if one is, without beginning another. */
static void stop_trial(struct loop *loop, enum verdict why, struct outbox *out)
{
    if (in_trial(loop))
        end_trial(loop, why);
    outbox_add(out, EVENT_BLANK);
}

static void tell_model(struct loop *loop, struct outbox *out)
{
    struct event *ev = outbox_add(out, EVENT_MODEL);
    ev->model.n_trials = loop->n_learned;
    ev->model.hash = model_hash(loop->model);
    loop->n_model_said = loop->n_learned;
}

/* Predict, tell, learn: in this order, so that every score is prequential. x: the
 * stimulus, NULL if the trial does not count. */
static void tell_trial(struct loop *loop, struct event *ev, const float *x, int learn)
{
    int n = loop->conf.model.n_units;
    float *predicted = loop->response + n;

    if (x) {
        model_predict(loop->model, x, predicted);
    } else {
        for (int u = 0; u < 2 * n; u++)
            loop->response[u] = nanf("");
    }
    ev->trial.learned = x && learn;
    ev->trial.n_units = (uint32_t)n;
    ev->data = loop->response;
    ev->data_size = (uint32_t)(2 * (size_t)n * sizeof(float));
    loop->counters[COUNTER_TRIALS]++;
    loop->counters[COUNTER_VERDICT + ev->trial.verdict]++;
    loop->counters[COUNTER_VALID] += x != NULL;
    if (ev->trial.learned) {
        model_learn(loop->model, loop->response);
        loop->n_learned++;
    }
}

/* The trial that ended is learned from and told, or will be shown again. */
static void update(struct loop *loop, struct outbox *out)
{
    const struct trial *ended = &loop->ended;
    struct event *ev = outbox_add(out, EVENT_TRIAL);
    int n_pixels = loop->conf.model.height * loop->conf.model.width;
    const float *x = NULL;

    if (loop->ended_as == VERDICT_VALID) {
        space_decode(ended->slot->pixels, n_pixels, loop->x);
        x = loop->x;
    }
    ev->trial.trial = ended->number;
    ev->trial.hash = ended->slot->hash;
    ev->trial.onset_ns = ended->onset_ns;
    ev->trial.window_ns = ended->onset_ns == CLOCK_UNKNOWN
                              ? CLOCK_UNKNOWN
                              : ended->onset_ns + loop->conf.trial.delay_ns;
    ev->trial.uncertainty_ns = ended->uncertainty_ns;
    ev->trial.latency_ns = ended->latency_ns;
    ev->trial.verdict = loop->ended_as;
    ev->trial.kind = ended->slot->kind;
    ev->trial.unit = ended->slot->unit;
    ev->trial.attempt = ended->slot->attempt;
    tell_trial(loop, ev, x, 1);
    if (loop->ended_as == VERDICT_VALID ||
        ended->slot->attempt >= (uint32_t)loop->conf.trial.max_attempts) {
        supply_done(ended->slot);
    } else {
        supply_again(loop->supply, ended->slot, out);
        loop->counters[COUNTER_AGAIN]++;
    }
    loop->has_ended = 0;
}

/* A frame of another system's stream and its response: a trial that only is learned. */
static void update_stream(struct loop *loop, const struct stream_trial *trial,
                          struct outbox *out)
{
    struct event *ev = outbox_add(out, EVENT_TRIAL);

    ev->trial.trial = loop->n_trials++;
    ev->trial.hash = trial->hash;
    ev->trial.onset_ns = trial->onset_ns;
    ev->trial.window_ns = trial->window_ns;
    ev->trial.uncertainty_ns = trial->uncertainty_ns;
    ev->trial.latency_ns = CLOCK_UNKNOWN;
    ev->trial.verdict = trial->verdict;
    ev->trial.unit = UNIT_ALL;
    ev->trial.attempt = 1;
    tell_trial(loop, ev, trial->verdict == VERDICT_VALID ? trial->x : NULL, trial->learn);
}

/* The work that was put off: one piece of it. */
static void work(struct loop *loop, struct outbox *out)
{
    struct stream_trial trial;

    loop->more = 1;
    if (loop->has_ended) {
        update(loop, out);
    } else if (loop->conf.trial.external && loop->state == STATE_COLLECT &&
               stream_next(loop->stream, loop->sources, loop->now_ns, &trial,
                           loop->response)) {
        update_stream(loop, &trial, out);
    } else if (!loop->conf.trial.external && is_running(loop) &&
               supply_plan(loop->supply, loop->model, out)) {
        /* a job was sent */
    } else if (loop->n_learned >= loop->n_model_said + LOOP_MODEL_EVERY) {
        tell_model(loop, out);
    } else if (!loop->conf.trial.external && loop->state == STATE_CHOOSE &&
               supply_is_over(loop->supply)) {
        outbox_add(out, EVENT_BLANK);
        tell_model(loop, out);
        go_to(loop, STATE_END, "all trials are done", out);
    } else {
        loop->more = 0;
        advance(loop, out);
    }
}

static void lose_display(struct loop *loop)
{
    loop->counters[COUNTER_DISPLAY_LOST]++;
    break_trial(loop, VERDICT_DISPLAY_LOST);
}

static void take_display(struct loop *loop, const struct event *in, struct outbox *out)
{
    int lost;
    enum presence_news news =
        presence_hear(&loop->display, in, loop->conf.trial.min_quality, &lost);

    if (lost)
        lose_display(loop);
    if (news == PRESENCE_ASKS)
        outbox_add(out, EVENT_SCREEN)->screen = loop->conf.screen.screen;
    if (news == PRESENCE_READY && loop->supply)
        supply_resend(loop->supply, out);
}

static void take_shown(struct loop *loop, const struct event *in, struct outbox *out)
{
    if (!in_trial(loop) || !trial_shown(&loop->trial, in))
        return;
    loop->counters[COUNTER_LATE_FRAMES] += in->shown.n_late;
    go_to(loop, STATE_COLLECT, "", out);
}

static void take_hidden(struct loop *loop, const struct event *in)
{
    if (in_trial(loop) && trial_hidden(&loop->trial, in))
        loop->counters[COUNTER_LATE_FRAMES] += in->hidden.n_late;
}

static void take_rig(struct loop *loop, const struct event *in)
{
    int added;

    if (!source_take(loop->sources, in, loop->counters))
        return;
    if (loop->sources->jumped) {
        loop->sources->jumped = 0;
        break_trial(loop, VERDICT_CLOCK_JUMP);
        if (loop->stream)
            stream_break(loop->stream, VERDICT_CLOCK_JUMP);
    }
    if (in->type == EVENT_EXTERNAL && loop->stream) {
        added = stream_add(loop->stream, in);
        loop->counters[COUNTER_REJECT + REJECT_STIMULUS] += added == -EINVAL;
        loop->counters[COUNTER_OVERLOAD] += added == -ENOSPC;
    }
    loop->more = 1;
}

static void take_command(struct loop *loop, const struct event *in, struct outbox *out)
{
    switch (in->command.command) {
    case COMMAND_PAUSE:
        if (is_running(loop)) {
            stop_trial(loop, VERDICT_PAUSED, out);
            go_to(loop, STATE_PAUSED, "paused by the experimenter", out);
        }
        break;
    case COMMAND_RESUME:
        if (loop->state == STATE_PAUSED || loop->state == STATE_FAULT)
            go_to(loop, STATE_ARMED, "resumed", out);
        break;
    case COMMAND_STOP:
        if (loop->state != STATE_END) {
            stop_trial(loop, VERDICT_PAUSED, out);
            tell_model(loop, out);
            go_to(loop, STATE_END, "stopped by the experimenter", out);
        }
        break;
    default: /* a note is only recorded */
        break;
    }
}

static void take_lost(struct loop *loop, const struct event *in, struct outbox *out)
{
    loop->counters[COUNTER_OVERLOAD] += in->lost.n_lost;
    if (loop->state == STATE_END)
        return;
    if (in->lost.ring == RING_WIRE_LOOP || in->lost.ring == RING_MAIN_LOOP) {
        break_trial(loop, VERDICT_OVERLOAD);
        return;
    }
    stop_trial(loop, VERDICT_OVERLOAD, out);
    go_to(loop, STATE_FAULT,
          in->lost.ring == RING_LOOP_RECORD
              ? "the disk does not keep up: nothing is shown "
                "that is not recorded"
              : "a ring to the display or a worker is full",
          out);
}

static void take_reject(struct loop *loop, const struct event *in)
{
    if (in->reject.reason < REJECT_END)
        loop->counters[COUNTER_REJECT + in->reject.reason]++;
    if (in->reject.reason == REJECT_VALUE && in->reject.type == EVENT_COUNTS)
        break_trial(loop, VERDICT_BAD_COUNTS);
}

static void take_tick(struct loop *loop, struct outbox *out)
{
    struct event *ev;

    if (loop->state == STATE_IDLE)
        go_to(loop, STATE_ARMED, "started", out);
    if (presence_is_lost(&loop->display, loop->now_ns, loop->conf.display_silence_ns))
        lose_display(loop);
    loop->counters[COUNTER_SOURCE_LOST] +=
        (uint64_t)sources_tick(loop->sources, loop->now_ns);
    if (loop->now_ns - loop->beat_ns >= BEAT_NS) {
        outbox_add(out, EVENT_BEAT);
        loop->beat_ns = loop->now_ns;
    }
    if (loop->now_ns - loop->status_ns >= STATUS_NS) {
        ev = outbox_add(out, EVENT_STATUS);
        ev->status.n_counters = COUNTER_END;
        ev->status.state = (uint32_t)loop->state;
        ev->data = loop->counters;
        ev->data_size = sizeof(loop->counters);
        loop->status_ns = loop->now_ns;
    }
    loop->more = 1;
}

static void take(struct loop *loop, const struct event *in, struct outbox *out)
{
    loop->counters[COUNTER_EVENTS]++;
    switch (in->type) {
    case EVENT_COUNTS:
    case EVENT_EDGE:
    case EVENT_EXTERNAL:
    case EVENT_TRUTH:
        take_rig(loop, in);
        break;
    case EVENT_DISPLAY:
    case EVENT_BEAT:
        take_display(loop, in, out);
        break;
    case EVENT_SHOWN:
        take_shown(loop, in, out);
        break;
    case EVENT_HIDDEN:
        take_hidden(loop, in);
        break;
    case EVENT_TICK:
        take_tick(loop, out);
        break;
    case EVENT_COMMAND:
        take_command(loop, in, out);
        break;
    case EVENT_REJECT:
        take_reject(loop, in);
        break;
    case EVENT_SENT:
        if (in->sent.trial == loop->trial.number)
            loop->trial.latency_ns = in->time_ns - in->sent.cause_ns;
        break;
    case EVENT_RESULT:
        if (loop->supply)
            supply_result(loop->supply, in, out);
        break;
    case EVENT_LOST:
        take_lost(loop, in, out);
        break;
    default:
        break;
    }
}

int loop_step(struct loop *loop, const struct event *in, struct event *out_events,
              int max_out)
{
    struct outbox out = {out_events, 0, max_out, in->time_ns, &loop->seq};

    loop->now_ns = in->time_ns;
    if (in->type == EVENT_NONE) {
        work(loop, &out);
    } else {
        take(loop, in, &out);
        advance(loop, &out);
    }
    return out.n;
}

int loop_has_more(const struct loop *loop)
{
    return loop->more || loop->has_ended;
}

void loop_fold(struct loop *loop, const struct event *in, loop_emit *emit, void *context)
{
    struct event out[LOOP_OUT_MAX];
    struct event more = {.type = EVENT_NONE, .time_ns = in->time_ns};
    int n = loop_step(loop, in, out, LOOP_OUT_MAX);

    for (int i = 0; i < n; i++)
        emit(context, &out[i]);
    while (loop_has_more(loop)) {
        n = loop_step(loop, &more, out, LOOP_OUT_MAX);
        for (int i = 0; i < n; i++)
            emit(context, &out[i]);
    }
}

enum loop_state loop_now(const struct loop *loop)
{
    return loop->state;
}

struct model *loop_model(struct loop *loop)
{
    return loop->model;
}

void *loop_snapshot(const struct loop *loop, uint32_t slot)
{
    return supply_snapshot(loop->supply, slot);
}

const uint64_t *loop_counters(const struct loop *loop)
{
    return loop->counters;
}
