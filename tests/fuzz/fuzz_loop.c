/* Any bytes as a sequence of events for the loop. Whatever they are: states follow each
 * other as they may, counters add up, nothing invalid is learned, and the same events give
 * the same answers.
 *
 * The first byte chooses a configuration. Then each event is an operation, what time has
 * passed, and what the operation needs: most are what a well-behaved rig, display or
 * worker would say next, some are not, and one is any row that the wire lets through. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/route.h"
#include "fuzz.h"
#include "protocol/clock.h"
#include "protocol/wire.h"

#define N_UNITS   3
#define N_PIXELS  16
#define N_WORKERS 2
#define N_KEPT    64

static const char base[] =
    "[ingest]\nunits = 3\nsources = 2\nhistory_s = 0.5\nmax_bin_hz = 200\nsilence_s = "
    "0.2\n"
    "[display]\nsilence_ms = 100\n[stimulus]\nheight = 4\nwidth = 4\nimages = white\n"
    "[trial]\nstimulus_ms = 20\ngap_ms = 10\ndelay_ms = 5\nwindow_ms = 20\n"
    "onset_timeout_ms = 100\ncounts_timeout_ms = 100\nmax_attempts = 2\n"
    "[optimise]\nworkers = 2\nahead = 3\n[learn]\nstart = 3\ntrials = 8\n[mei]\n"
    "trials = 4\n";

struct input {
    const uint8_t *at, *end;
};

/* A loop, and what its answers must agree with. */
struct side {
    struct loop *loop;
    void *mem;
    uint64_t digest;                   /* of all it said */
    uint64_t model;                    /* identity after the last trial */
    unsigned state;                    /* last one said */
    uint64_t n_trials;                 /* said */
    uint64_t n_shows;                  /* PRESENT said */
    uint64_t hashes[N_KEPT], n_hashes; /* stimuli sent to the display */
    int busy[N_WORKERS];
    struct event jobs[N_WORKERS], present;
};

/* What the senders are at. */
struct world {
    struct conf conf;
    int64_t now_ns, sample[3];
    uint64_t seq[3];
    uint32_t epoch[3], display_epoch;
    unsigned char payload[4096];
};

static unsigned take(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static int knows(const struct side *side, uint64_t hash)
{
    for (uint64_t i = 0; i < N_KEPT && i < side->n_hashes; i++)
        if (side->hashes[i] == hash)
            return 1;
    return 0;
}

static void check_state(struct side *side, const struct event *ev)
{
    int chose = ev->state.before == STATE_CHOOSE &&
                (side->state == STATE_PRESENT || side->state == STATE_COLLECT);
    CHECK(ev->state.state <= STATE_END);
    CHECK(side->state != STATE_END);
    CHECK(ev->state.before == side->state || chose);
    side->state = ev->state.state;
}

static void check_trial(struct side *side, const struct event *ev)
{
    const float *response = ev->data;
    int valid = ev->trial.verdict == VERDICT_VALID;
    uint64_t model = model_hash(loop_model(side->loop));

    CHECK_EQ(ev->trial.trial, side->n_trials++);
    CHECK(ev->trial.verdict < VERDICT_END);
    CHECK_EQ(ev->trial.n_units, N_UNITS);
    CHECK(valid || !ev->trial.learned);
    CHECK(ev->trial.learned || model == side->model);
    for (int u = 0; u < N_UNITS; u++) {
        CHECK(valid || isnan(response[u]));
        CHECK(valid ? isfinite(response[N_UNITS + u]) : isnan(response[N_UNITS + u]));
    }
    side->model = model;
}

static void check_present(struct side *side, const struct event *ev)
{
    CHECK(side->state >= STATE_ARMED && side->state <= STATE_COLLECT);
    CHECK_EQ(ev->present.trial, side->n_shows++);
    CHECK(side->n_shows - side->n_trials <= 2); /* the one that ended may wait */
    CHECK(knows(side, ev->present.hash));
    CHECK(ev->present.duration_ns > 0);
    side->present = *ev;
}

static void check_job(struct side *side, const struct event *ev)
{
    CHECK(ev->job.slot < N_WORKERS && !side->busy[ev->job.slot]);
    side->busy[ev->job.slot] = 1;
    side->jobs[ev->job.slot] = *ev;
}

static void check_said(void *context, const struct event *ev)
{
    struct side *side = context;
    char head[WIRE_HEAD_MAX];
    size_t n = wire_encode(ev, head);

    side->digest = wire_hash(side->digest, head, n);
    if (ev->data_size > 0)
        side->digest = wire_hash(side->digest, ev->data, ev->data_size);
    CHECK_EQ(ev->data_size, event_data_size(ev));
    CHECK((route_of(ev->type) & ROUTE_SAID) || ev->type == EVENT_BEAT);
    if (ev->type == EVENT_STATE)
        check_state(side, ev);
    else if (ev->type == EVENT_TRIAL)
        check_trial(side, ev);
    else if (ev->type == EVENT_PRESENT)
        check_present(side, ev);
    else if (ev->type == EVENT_JOB)
        check_job(side, ev);
    else if (ev->type == EVENT_STIMULUS)
        side->hashes[side->n_hashes++ % N_KEPT] = ev->stimulus.hash;
}

static void check_loop(const struct side *side)
{
    const uint64_t *counters = loop_counters(side->loop);
    uint64_t sum = 0;

    CHECK(loop_now(side->loop) <= STATE_END);
    CHECK(!loop_has_more(side->loop));
    for (unsigned i = 0; i < VERDICT_END; i++)
        sum += counters[COUNTER_VERDICT + i];
    CHECK_EQ(sum, counters[COUNTER_TRIALS]);
    CHECK_EQ(counters[COUNTER_VALID], counters[COUNTER_VERDICT + VERDICT_VALID]);
    CHECK_EQ(counters[COUNTER_TRIALS], side->n_trials);
    CHECK_EQ(model_hash(loop_model(side->loop)), side->model);
}

static void open_side(struct side *side, const struct loop_conf *conf, int fill)
{
    size_t size = (loop_size(conf) + 63) / 64 * 64;

    memset(side, 0, sizeof(*side));
    side->mem = aligned_alloc(64, size);
    CHECK(side->mem != NULL);
    memset(side->mem, fill, size); /* what is there before must not matter */
    side->loop = loop_init(side->mem, conf);
    side->digest = WIRE_HASH_START;
    side->model = model_hash(loop_model(side->loop));
}

/* Sequence number and epoch of a rig's message, sometimes not the next one. */
static void number(struct world *world, struct event *ev, unsigned source, unsigned how)
{
    if ((how & 15) == 15) {
        world->epoch[source]++;
        world->seq[source] = 0;
    } else if ((how & 15) == 14) {
        world->seq[source] += 1 + (how >> 4); /* lost */
    } else if ((how & 15) == 13 && world->seq[source] > 0) {
        world->seq[source] -= 1; /* once more */
    }
    ev->source = (uint16_t)source;
    ev->epoch = world->epoch[source];
    ev->seq = world->seq[source]++;
}

static void make_counts(struct world *world, struct input *in, struct event *ev)
{
    unsigned how = take(in), source = 1 + (how & 64) / 64, n = N_UNITS;

    ev->type = EVENT_COUNTS;
    number(world, ev, source, how);
    if (how & 128) /* each source its own units, or both all */
        n = source == 1 ? 2 : 1;
    ev->counts.first_unit = n == 1 ? 2 : 0;
    ev->counts.n_units = n;
    ev->counts.n_bins = 1 + (how & 3);
    ev->counts.bin_samples = 5;
    ev->counts.sample_rate_hz = 1000;
    ev->counts.dtype = DTYPE_U8;
    if ((how & 12) == 12)
        world->sample[source] += (int64_t)(int8_t)take(in) * 20;
    ev->counts.first_sample = world->sample[source];
    world->sample[source] += (int64_t)ev->counts.n_bins * ev->counts.bin_samples;
    for (unsigned i = 0; i < ev->counts.n_bins * n; i++)
        world->payload[i] = (unsigned char)take(in);
}

/* When the display says that it was: now, about now, or anything. */
static int64_t time_of(struct world *world, struct input *in)
{
    static const int64_t ends[] = {INT64_MAX, INT64_MIN + 1, CLOCK_UNKNOWN, -1};
    unsigned how = take(in);
    uint64_t any = 0;

    if (how < 128)
        return world->now_ns;
    if (how < 248)
        return world->now_ns + ((int64_t)how - 190) * NS_PER_MS / 4;
    if (how < 252)
        return ends[how - 248];
    for (int i = 0; i < 8; i++)
        any = any << 8 | take(in);
    return (int64_t)any;
}

static void make_shown(struct world *world, struct input *in, const struct side *side,
                       struct event *ev)
{
    unsigned how = take(in);

    ev->type = EVENT_SHOWN;
    ev->epoch = world->display_epoch;
    ev->shown.trial = side->present.present.trial + ((how & 7) == 7);
    ev->shown.hash = side->present.present.hash ^ ((how & 56) == 56);
    ev->shown.onset_ns = time_of(world, in);
    ev->shown.quality = QUALITY_ESTIMATED;
    ev->shown.n_late = (how & 192) == 192;
}

static void make_result(struct world *world, struct input *in, struct side *side,
                        struct event *ev)
{
    unsigned how = take(in), slot = how & 1;
    const struct event *job = &side->jobs[slot];

    ev->type = EVENT_RESULT;
    ev->result.job = job->job.job + ((how & 12) == 12);
    ev->result.kind = job->job.kind;
    ev->result.unit = job->job.unit;
    ev->result.slot = (how & 48) == 48 ? take(in) : slot;
    ev->result.height = 4;
    ev->result.width = (how & 192) == 192 ? 3 : 4;
    ev->result.dtype = DTYPE_U8;
    for (unsigned i = 0; i < N_PIXELS; i++)
        world->payload[i] = (unsigned char)take(in);
    ev->result.hash = wire_hash_stimulus(4, ev->result.width, DTYPE_U8, world->payload);
}

static void make_external(struct world *world, struct input *in, struct event *ev)
{
    unsigned how = take(in), source = 1 + (how & 64) / 64;

    ev->type = EVENT_EXTERNAL;
    number(world, ev, source, how);
    ev->external.first_sample = world->sample[source] - (int64_t)(how & 3) * 5;
    ev->external.sample_rate_hz = 1000;
    ev->external.n_samples = 10;
    ev->external.learn = how >> 7;
    ev->external.height = 4;
    ev->external.width = (how & 48) == 48 ? 5 : 4;
    ev->external.dtype = DTYPE_U8;
    for (unsigned i = 0; i < N_PIXELS; i++)
        world->payload[i] = (unsigned char)take(in);
}

/* Any row. */
static void make_any(struct world *world, struct input *in, struct event *ev)
{
    size_t size = take(in) + 256u * (take(in) & 3), left = (size_t)(in->end - in->at);

    size = size < left ? size : left;
    memcpy(world->payload, in->at, size);
    in->at += size;
    if (wire_decode_row(world->payload, size, ev) != REJECT_NONE)
        memset(ev, 0, sizeof(*ev));
}

/* What comes from a rig or a display passes the wire first, and some of it does not. */
static void pass_wire(struct event *ev)
{
    static const unsigned char types[] = {EVENT_COUNTS, EVENT_EDGE,    EVENT_EXTERNAL,
                                          EVENT_TRUTH,  EVENT_DISPLAY, EVENT_SHOWN,
                                          EVENT_HIDDEN, EVENT_BEAT};
    char head[WIRE_HEAD_MAX];
    int64_t time_ns = ev->time_ns;

    if (!memchr(types, ev->type, sizeof(types)))
        return;
    if (wire_decode(head, wire_encode(ev, head), ev->data, ev->data_size, ev) !=
        REJECT_NONE)
        ev->type = EVENT_NONE;
    ev->time_ns = time_ns;
}

/* Is it what a worker that has a job may say? */
static int answers(const struct side *side, const struct event *ev)
{
    return ev->result.slot < N_WORKERS && side->busy[ev->result.slot] &&
           ev->result.job == side->jobs[ev->result.slot].job.job && ev->result.width == 4;
}

/* The next event; type EVENT_NONE: nothing came of it. */
static void make(struct world *world, struct input *in, struct side *side,
                 struct event *ev)
{
    unsigned operation = take(in), passed = take(in);

    memset(ev, 0, sizeof(*ev));
    /* stamps of different threads may be a little out of order */
    world->now_ns += ((int64_t)passed - 2) * NS_PER_MS / 2;
    switch (operation % 14) {
    case 0:
        ev->type = EVENT_TICK;
        break;
    case 1:
        make_counts(world, in, ev);
        break;
    case 2:
        ev->type = EVENT_EDGE;
        number(world, ev, 1, take(in));
        ev->edge.sample_rate_hz = 1000;
        ev->edge.sample = world->sample[1] - (int8_t)take(in);
        ev->edge.level = 1;
        break;
    case 3:
        ev->type = EVENT_DISPLAY;
        world->display_epoch += (passed & 15) == 15;
        ev->epoch = world->display_epoch;
        ev->display.width_px = (passed & 3) != 3;
        ev->display.refresh_hz = 60;
        ev->display.quality = QUALITY_ESTIMATED;
        break;
    case 4:
        make_shown(world, in, side, ev);
        break;
    case 5:
        ev->type = EVENT_HIDDEN;
        ev->epoch = world->display_epoch;
        ev->hidden.trial = side->present.present.trial;
        ev->hidden.n_late = (take(in) & 15) == 15;
        ev->hidden.offset_ns = time_of(world, in);
        break;
    case 6:
        ev->type = EVENT_BEAT;
        ev->epoch = world->display_epoch;
        break;
    case 7:
        ev->type = EVENT_COMMAND;
        ev->command.command = take(in);
        break;
    case 8:
        ev->type = EVENT_REJECT;
        ev->reject.reason = take(in);
        ev->reject.type = take(in);
        break;
    case 9:
        ev->type = EVENT_SENT;
        ev->sent.trial = side->present.present.trial;
        ev->sent.cause_ns = world->now_ns - NS_PER_MS;
        break;
    case 10:
        make_result(world, in, side, ev);
        break;
    case 11:
        ev->type = EVENT_LOST;
        ev->lost.ring = take(in);
        ev->lost.n_lost = take(in);
        break;
    case 12:
        make_external(world, in, ev);
        break;
    default:
        make_any(world, in, ev);
        if (ev->type > EVENT_BEAT) /* no rig and no display says that */
            ev->type = EVENT_NONE;
        break;
    }
    ev->time_ns = world->now_ns;
    if (!ev->data) {
        ev->data_size = (uint32_t)event_data_size(ev);
        ev->data = ev->data_size ? world->payload : NULL;
    }
    pass_wire(ev);
}

static void configure(struct conf *conf, unsigned how)
{
    char ini[1024], why[256];

    snprintf(
        ini, sizeof(ini),
        "%s[ingest]\ndiode_line = %d\n[trial]\nexternal = %s\n[stimulus]\nframes = %d\n"
        "[learn]\npolicy = %s\n[model]\nposterior = %s\n",
        base, how & 1 ? 0 : -1, how & 2 ? "yes" : "no", how & 2 && how & 4 ? 3 : 1,
        how & 8 ? "infomax" : "random", how & 16 ? "shared" : "unit");
    if (conf_read_text(conf, ini, "fuzz", why, sizeof(why)) != 0) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct world world;
    struct input in = {bytes, bytes + size};
    struct side one, other;
    struct loop_conf conf;
    struct event ev;

    memset(&world, 0, sizeof(world));
    world.now_ns = NS_PER_S;
    configure(&world.conf, take(&in));
    conf_loop(&world.conf, &conf);
    open_side(&one, &conf, 0);
    open_side(&other, &conf, 0xaa);
    while (in.at < in.end) {
        make(&world, &in, &one, &ev);
        if (ev.type == EVENT_NONE)
            continue;
        if (ev.type == EVENT_RESULT && answers(&one, &ev)) /* that worker is free */
            one.busy[ev.result.slot] = other.busy[ev.result.slot] = 0;
        loop_fold(one.loop, &ev, check_said, &one);
        check_loop(&one);
        loop_fold(other.loop, &ev, check_said, &other);
        CHECK(one.digest == other.digest);
    }
    free(one.mem);
    free(other.mem);
    return 0;
}
