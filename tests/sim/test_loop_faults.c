/*
 * The real loop in virtual time while everything goes wrong at random: messages lost,
 * doubled and out of order, late frames, displays and rigs that begin anew, clocks that
 * jump, an experimenter who pauses. After each event the loop's invariants are checked
 * against what this program did and knows.
 * EVOKE_SEED: first seed. EVOKE_SEEDS: how many.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/ops.h"
#include "models/random.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "protocol/memory.h"
#include "protocol/wire.h"
#include "stimulus/space.h"
#include "world.h"

enum {
    N_UNITS = 3,
    N_PX = 4 * 4,
    N_LEARN = 60,
    N_MEI = 8,
    MAX_ATTEMPTS = 4,
    N_BINS_KEPT = 256,
    N_IN_WINDOW = 10, /* bins */
    N_STIMULI = 1024,
    N_PROCESSES = 2
};

#define LIMIT_NS (2000 * NS_PER_S) /* of a session, in virtual time */

static const char configuration[] =
    "[session]\nseed = %llu\n"
    "[ingest]\nunits = 3\ndiode_line = 0\n"
    "[stimulus]\nheight = 4\nwidth = 4\n"
    "[trial]\nstimulus_ms = 100\ngap_ms = 100\ndelay_ms = 30\nwindow_ms = 100\n"
    "max_attempts = 4\n"
    "[learn]\nstart = 10\ntrials = 60\ntogether = 2\n[mei]\ntrials = 8\n"
    "[optimise]\nmax_steps = 5\ncandidates = 2\n"
    "[sim]\nseed = %llu\nbin_ms = 10\n";

struct bin {
    int64_t first;
    uint32_t width;
    uint8_t count[N_UNITS];
};

/* A stimulus, by its last trial. */
struct stimulus {
    uint64_t hash;
    uint8_t pixels[N_PX];
    uint32_t attempt; /* 0: not shown yet */
    int is_valid, is_at_display;
};

/* Everything that this program knows, and has seen. */
struct test {
    struct world *world;
    struct random random;
    uint64_t seed;

    /* what it did to the messages of the rig */
    int64_t shift; /* of the rig's clock */
    int rig_is_known, rig_has_bins, has_jumped, is_held;
    struct event held;
    uint8_t held_data[N_UNITS];
    uint64_t rig_seq;
    uint64_t n_lost_since; /* messages lost since the last that arrived */
    uint64_t n_counts, n_lost, n_doubled, n_reordered, n_jumps, n_rigs;
    struct bin bins[N_BINS_KEPT]; /* that arrived, since the clock last changed */
    uint64_t n_bins;
    int64_t edge; /* of the stimulus that is on; CLOCK_UNKNOWN */

    /* what the loop was told and said */
    struct event *inputs;
    int n_inputs, room;
    uint64_t said_hash;
    uint64_t n_trials, n_valid, n_again, n_presents;
    enum loop_state state;
    uint32_t display_epoch;
    int was_blanked;
    struct stimulus stimuli[N_STIMULI];
    int n_stimuli;
    struct model *model; /* learns the valid trials and nothing else */
};

static struct test *now_testing;

#define EXPECT(cond)                                                                     \
    do {                                                                                 \
        if (!(cond)) {                                                                   \
            printf("FAILED: seed %" PRIu64 ", line %d: %s\n", now_testing->seed,         \
                   __LINE__, #cond);                                                     \
            fflush(stdout);                                                              \
            _exit(1);                                                                    \
        }                                                                                \
    } while (0)

static int happens(struct test *test, double probability)
{
    return random_uniform(&test->random) < probability;
}

/* A message of the rig reaches the loop. */
static void arrive(struct test *test, const struct event *ev)
{
    if (ev->type == EVENT_COUNTS) {
        struct bin *bin = &test->bins[test->n_bins++ % N_BINS_KEPT];
        bin->first = ev->counts.first_sample;
        bin->width = ev->counts.bin_samples;
        memcpy(bin->count, ev->data, N_UNITS);
        test->n_jumps += (uint64_t)(test->has_jumped && test->rig_has_bins);
        test->has_jumped = 0;
        test->rig_has_bins = 1;
        test->n_counts++;
    } else if (ev->type == EVENT_EDGE && ev->edge.level == 1) {
        test->edge = ev->edge.sample;
    }
    if (test->rig_is_known)
        test->n_lost += test->n_lost_since;
    test->n_lost_since = 0;
    test->rig_is_known = 1;
    world_deliver(test->world, *ev);
}

static void sent(void *context, const struct event *from_rig)
{
    struct test *test = context;
    struct event ev = *from_rig;

    if (ev.type == EVENT_COUNTS)
        ev.counts.first_sample += test->shift;
    else
        ev.edge.sample += test->shift;
    test->n_lost_since += ev.seq - test->rig_seq; /* the rig left some out itself */
    test->rig_seq = ev.seq + 1;
    if (happens(test, 0.003)) {
        test->n_lost_since++;
        return;
    }
    if (ev.type == EVENT_COUNTS && test->rig_is_known && !test->is_held &&
        happens(test, 0.003)) {
        test->held = ev;
        memcpy(test->held_data, ev.data, N_UNITS);
        test->held.data = test->held_data;
        test->is_held = 1;
        return;
    }
    arrive(test, &ev);
    if (happens(test, 0.003)) {
        test->n_doubled++;
        world_deliver(test->world, ev);
    }
    if (test->is_held) {
        test->is_held = 0;
        test->n_reordered++;
        arrive(test, &test->held);
    }
}

static uint32_t late(void *context)
{
    struct test *test = context;
    return happens(test, 0.02) ? 1 + random_below(&test->random, 3) : 0;
}

static void forget_clock(struct test *test)
{
    test->n_bins = 0;
    test->edge = CLOCK_UNKNOWN;
}

static void command(struct test *test, enum command what)
{
    struct event ev = {.type = EVENT_COMMAND};

    ev.command.command = what;
    world_deliver(test->world, ev);
}

/* Once a frame: what happens to the experiment as a whole. */
static void disturb(struct test *test)
{
    if (happens(test, 1.0 / 60 / 15))
        world_restart_display(test->world);
    if (happens(test, 1.0 / 60 / 30)) {
        test->n_rigs += (uint64_t)test->rig_is_known;
        test->rig_is_known = test->rig_has_bins = test->is_held = test->has_jumped = 0;
        test->n_lost_since = test->rig_seq = 0;
        forget_clock(test);
        world_restart_rig(test->world);
    }
    if (!test->is_held && !test->has_jumped && happens(test, 1.0 / 60 / 20)) {
        int64_t shift = (3 + random_below(&test->random, 100)) * 30000;
        test->shift += happens(test, 0.5) ? shift : -shift;
        test->has_jumped = 1;
        forget_clock(test);
    }
    if (test->state == STATE_PAUSED ? happens(test, 1.0 / 60)
                                    : happens(test, 1.0 / 60 / 20))
        command(test, test->state == STATE_PAUSED ? COMMAND_RESUME : COMMAND_PAUSE);
}

static void told(void *context, const struct event *ev)
{
    struct test *test = context;
    struct event *kept;
    void *data;

    if (test->n_inputs == test->room) {
        test->room = 2 * test->room + 1024;
        test->inputs = realloc(test->inputs, (size_t)test->room * sizeof(*test->inputs));
        CHECK(test->inputs != NULL);
    }
    kept = &test->inputs[test->n_inputs++];
    *kept = *ev;
    if (ev->data_size > 0) {
        data = malloc(ev->data_size);
        CHECK(data != NULL);
        kept->data = memcpy(data, ev->data, ev->data_size);
    }
    if (ev->type == EVENT_SHOWN)
        test->edge = CLOCK_UNKNOWN;
    if (ev->type == EVENT_RESULT) {
        struct stimulus *stimulus = &test->stimuli[test->n_stimuli++];
        CHECK(test->n_stimuli <= N_STIMULI);
        stimulus->hash = ev->result.hash;
        memcpy(stimulus->pixels, ev->data, N_PX);
    }
    if (ev->type == EVENT_DISPLAY && ev->epoch != test->display_epoch)
        for (int i = 0; i < test->n_stimuli; i++)
            test->stimuli[i].is_at_display = 0;
    if (ev->type == EVENT_DISPLAY)
        test->display_epoch = ev->epoch;
}

static uint64_t hash_of(uint64_t hash, const struct event *ev)
{
    char head[WIRE_HEAD_MAX];
    size_t n = wire_encode(ev, head);

    hash = wire_hash(hash, head, n);
    return ev->data_size ? wire_hash(hash, ev->data, ev->data_size) : hash;
}

/* Counts in a valid trial are those of the bins that arrived in its window, all of them. */
static void check_counts(const struct test *test, const float *observed)
{
    const double rate_hz = world_conf(test->world)->sim.sample_rate_hz;
    int64_t first = test->edge + llrint(0.030 * rate_hz),
            end = test->edge + llrint(0.130 * rate_hz);
    uint32_t sum[N_UNITS] = {0};
    int n = 0;

    EXPECT(test->edge != CLOCK_UNKNOWN);
    for (uint64_t i = 0; i < N_BINS_KEPT && i < test->n_bins; i++) {
        const struct bin *bin = &test->bins[i];
        int64_t twice_middle = 2 * bin->first + bin->width;
        if (twice_middle < 2 * first || twice_middle >= 2 * end)
            continue;
        n++;
        for (int u = 0; u < N_UNITS; u++)
            sum[u] += bin->count[u];
    }
    EXPECT(n == N_IN_WINDOW);
    for (int u = 0; u < N_UNITS; u++)
        EXPECT(observed[u] == (float)sum[u]);
}

static void check_learned(struct test *test, const struct stimulus *stimulus,
                          const float *response)
{
    float x[N_PX], predicted[N_UNITS];

    space_decode(stimulus->pixels, N_PX, x);
    model_predict(test->model, x, predicted);
    EXPECT(memcmp(predicted, response + N_UNITS, sizeof(predicted)) == 0);
    model_learn(test->model, response);
}

/* The stimulus with this hash whose last trial was this attempt. */
static struct stimulus *find(struct test *test, uint64_t hash, uint32_t attempt)
{
    for (int i = 0; i < test->n_stimuli; i++) {
        struct stimulus *stimulus = &test->stimuli[i];
        if (stimulus->hash == hash && stimulus->attempt == attempt && !stimulus->is_valid)
            return stimulus;
    }
    return NULL;
}

static void say_trial(struct test *test, const struct event *ev)
{
    const float *response = ev->data;
    int is_valid = ev->trial.verdict == VERDICT_VALID;
    struct stimulus *stimulus = find(test, ev->trial.hash, ev->trial.attempt - 1);

    EXPECT(ev->trial.trial == test->n_trials);
    EXPECT(ev->trial.verdict < VERDICT_END);
    EXPECT(ev->trial.learned == (uint32_t)is_valid);
    EXPECT(ev->trial.attempt >= 1 && ev->trial.attempt <= MAX_ATTEMPTS);
    EXPECT(stimulus != NULL);
    stimulus->attempt = ev->trial.attempt;
    stimulus->is_valid = is_valid;
    test->n_trials++;
    test->n_valid += (uint64_t)is_valid;
    test->n_again += (uint64_t)(!is_valid && ev->trial.attempt < MAX_ATTEMPTS);
    for (int u = 0; u < 2 * N_UNITS; u++)
        EXPECT(isnan(response[u]) == !is_valid);
    if (is_valid)
        check_learned(test, stimulus, response);
    if (is_valid)
        check_counts(test, response);
}

static void say_stimulus(struct test *test, const struct event *ev)
{
    int n = 0;

    for (int i = 0; i < test->n_stimuli; i++) {
        if (test->stimuli[i].hash != ev->stimulus.hash)
            continue;
        test->stimuli[i].is_at_display = 1;
        n++;
    }
    EXPECT(n > 0);
}

static void say_present(struct test *test, const struct event *ev)
{
    int is_there = 0;

    for (int i = 0; i < test->n_stimuli; i++)
        is_there |=
            test->stimuli[i].hash == ev->present.hash && test->stimuli[i].is_at_display;
    EXPECT(is_there);
    EXPECT(ev->present.trial == test->n_presents);
    EXPECT(test->n_presents - test->n_trials <= 1);
    test->n_presents++;
    test->was_blanked = 0;
}

static const unsigned char may_follow[STATE_END + 1][STATE_END + 1] = {
    [STATE_IDLE] = {[STATE_ARMED] = 1},
    [STATE_ARMED] = {[STATE_ARMED] = 1, /* for another reason */
                     [STATE_CHOOSE] = 1,
                     [STATE_PRESENT] = 1,
                     [STATE_PAUSED] = 1},
    [STATE_CHOOSE] = {[STATE_CHOOSE] = 1, /* the trial before has ended */
                      [STATE_ARMED] = 1,
                      [STATE_PRESENT] = 1,
                      [STATE_PAUSED] = 1,
                      [STATE_END] = 1},
    [STATE_PRESENT] = {[STATE_COLLECT] = 1, [STATE_PAUSED] = 1},
    [STATE_COLLECT] = {[STATE_PAUSED] = 1},
    [STATE_PAUSED] = {[STATE_ARMED] = 1},
};

static void say_state(struct test *test, const struct event *ev)
{
    unsigned before = ev->state.before, state = ev->state.state;
    int has_chosen = before == STATE_CHOOSE &&
                     (test->state == STATE_PRESENT || test->state == STATE_COLLECT);

    EXPECT(state <= STATE_END && before <= STATE_END);
    EXPECT(before == test->state || has_chosen); /* a trial's end is told by itself */
    if (!may_follow[before][state])
        printf("%s to %s\n", state_name(before), state_name(state));
    EXPECT(may_follow[before][state]);
    if (state == STATE_PAUSED || state == STATE_END)
        EXPECT(test->was_blanked);
    test->state = (enum loop_state)state;
}

static void said(void *context, const struct event *ev)
{
    struct test *test = context;

    test->said_hash = hash_of(test->said_hash, ev);
    switch (ev->type) {
    case EVENT_TRIAL:
        say_trial(test, ev);
        break;
    case EVENT_STIMULUS:
        say_stimulus(test, ev);
        break;
    case EVENT_PRESENT:
        say_present(test, ev);
        break;
    case EVENT_STATE:
        say_state(test, ev);
        break;
    case EVENT_BLANK:
        test->was_blanked = 1;
        break;
    default:
        break;
    }
}

static void folded(void *context, struct loop *loop)
{
    struct test *test = context;
    const uint64_t *counters = loop_counters(loop);
    uint64_t n_verdicts = 0;

    for (int i = 0; i < VERDICT_END; i++)
        n_verdicts += counters[COUNTER_VERDICT + i];
    EXPECT(counters[COUNTER_EVENTS] == (uint64_t)test->n_inputs);
    EXPECT(counters[COUNTER_TRIALS] == test->n_trials);
    EXPECT(counters[COUNTER_VALID] == test->n_valid);
    EXPECT(counters[COUNTER_AGAIN] == test->n_again);
    EXPECT(n_verdicts == test->n_trials);
    EXPECT(test->n_presents - test->n_trials <= 1);
    EXPECT(!loop_has_more(loop));
    EXPECT(model_hash(loop_model(loop)) == model_hash(test->model));
}

static void check_end(struct test *test)
{
    const uint64_t *counters = loop_counters(world_loop(test->world));

    EXPECT(counters[COUNTER_COUNTS] == test->n_counts);
    EXPECT(counters[COUNTER_BINS] == test->n_counts);
    EXPECT(counters[COUNTER_GAPS] == test->n_lost);
    EXPECT(counters[COUNTER_DUPLICATES] == test->n_doubled);
    EXPECT(counters[COUNTER_REORDERED] == test->n_reordered);
    EXPECT(counters[COUNTER_RESTARTS] == test->n_rigs);
    EXPECT(counters[COUNTER_JUMPS] == test->n_jumps);
    EXPECT(counters[COUNTER_OVERLOAD] == 0);
    for (int i = 0; i < REJECT_END; i++)
        EXPECT(counters[COUNTER_REJECT + i] == 0);
    for (int i = 0; i < test->n_stimuli; i++)
        EXPECT(test->stimuli[i].is_valid || test->stimuli[i].attempt == MAX_ATTEMPTS);
    EXPECT(test->n_stimuli == N_LEARN + N_MEI);
}

static void hash_said(void *context, const struct event *ev)
{
    uint64_t *hash = context;
    *hash = hash_of(*hash, ev);
}

/* The same inputs into a loop of its own: the same is said, bit for bit. */
static void check_determinism(struct test *test)
{
    struct loop_conf conf;
    struct loop *loop;
    uint64_t hash = WIRE_HASH_START;

    conf_loop(world_conf(test->world), &conf);
    loop = loop_init(memory_open(loop_size(&conf)), &conf);
    for (int i = 0; i < test->n_inputs; i++)
        loop_fold(loop, &test->inputs[i], hash_said, &hash);
    EXPECT(hash == test->said_hash);
    EXPECT(model_hash(loop_model(loop)) == model_hash(test->model));
    free(loop);
}

static void run(uint64_t seed)
{
    struct test *test = calloc(1, sizeof(*test));
    const struct world_hooks hooks = {test, told, said, folded, sent, late};
    struct loop_conf conf;
    const uint64_t *counters;
    char text[1024];
    int64_t start_ns;

    CHECK(test != NULL);
    now_testing = test;
    test->seed = seed;
    test->edge = CLOCK_UNKNOWN;
    test->said_hash = WIRE_HASH_START;
    random_init(&test->random, seed, 99);
    snprintf(text, sizeof(text), configuration, (unsigned long long)seed,
             (unsigned long long)seed);
    test->world = world_open(text, &hooks);
    conf_loop(world_conf(test->world), &conf);
    test->model = model_init(memory_open(model_size(&conf.model)), &conf.model);
    start_ns = world_now_ns(test->world);
    while (loop_now(world_loop(test->world)) != STATE_END) {
        disturb(test);
        world_step(test->world);
        EXPECT(world_now_ns(test->world) - start_ns < LIMIT_NS);
    }
    check_end(test);
    check_determinism(test);
    counters = loop_counters(world_loop(test->world));
    printf("seed %" PRIu64 ": %" PRIu64 " trials, %" PRIu64 " valid, %" PRIu64
           " shown again; invalid:",
           seed, test->n_trials, test->n_valid, test->n_again);
    for (unsigned i = 1; i < VERDICT_END; i++)
        if (counters[COUNTER_VERDICT + i])
            printf(" %s %" PRIu64, verdict_name(i), counters[COUNTER_VERDICT + i]);
    printf("\n");
    for (int i = 0; i < test->n_inputs; i++)
        free((void *)(uintptr_t)test->inputs[i].data);
    free(test->inputs);
    free(test->model);
    world_close(test->world);
    free(test);
}

int main(void)
{
    const char *env = getenv("EVOKE_SEED"), *env_n = getenv("EVOKE_SEEDS");
    uint64_t first = env ? strtoull(env, NULL, 0) : 1;
    int n_seeds = env_n ? atoi(env_n) : 500, n_failed = 0;

    ops_init();
    printf("EVOKE_SEED=%" PRIu64 ", %d seeds\n", first, n_seeds);
    fflush(stdout);
    for (int i = 0; i < n_seeds + N_PROCESSES; i++) { /* a process each */
        int status;
        if (i >= N_PROCESSES && wait(&status) > 0)
            n_failed += status != 0;
        if (i < n_seeds && fork() == 0) {
            run(first + (uint64_t)i);
            fflush(stdout);
            _exit(0);
        }
    }
    printf("%d of %d seeds failed\n", n_failed, n_seeds);
    return n_failed != 0;
}
