#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/stream.h"
#include "events.h"
#include "models/random.h"
#include "protocol/memory.h"
#include "protocol/wire.h"

#define N_FRAMES 3
#define N_PIXELS 4 /* 2 by 2 */
#define N_KEPT   5
#define FRAME    20 /* samples, and ms */
#define BIN      10
#define MS(t)    ((t)*EVENTS_MS)

static const struct sources_conf sources_conf = {.n_units = 2,
                                                 .n_sources = 2,
                                                 .n_rows = 1000,
                                                 .history_ns = MS(8000),
                                                 .silence_ns = MS(8000),
                                                 .diode_line = -1};
static const struct stream_conf standard = {.n_frames = N_FRAMES,
                                            .height = 2,
                                            .width = 2,
                                            .n_kept = N_KEPT,
                                            .delay_ns = MS(30),
                                            .timeout_ns = MS(300),
                                            .grey = 0.5f};

struct world {
    struct sources *sources;
    struct stream *stream;
    struct sender sender[2];
    uint64_t counters[COUNTER_END];
    struct stream_trial trial;
    float response[2];
};

static void begin(struct world *world, const struct stream_conf *conf)
{
    free(world->sources);
    free(world->stream);
    memset(world, 0, sizeof(*world));
    world->sources =
        sources_init(memory_open(sources_size(&sources_conf)), &sources_conf);
    world->stream = stream_init(memory_open(stream_size(conf)), conf);
    for (int i = 0; i < 2; i++)
        world->sender[i] = (struct sender){.source = (uint16_t)(i + 1),
                                           .rate_hz = 1000,
                                           .first_unit = (uint32_t)i,
                                           .n_units = 1,
                                           .bin_samples = BIN};
}

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct world));
    begin(*state, &standard);
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    free(world->sources);
    free(world->stream);
    free(world);
    return 0;
}

static uint8_t pixel_of(int64_t id, int p)
{
    return (uint8_t)((uint64_t)id * 37 + (uint64_t)p * 11);
}

/* Frame id: its pixels are its own. Begins at this sample. */
static struct event frame(struct world *world, int i, int64_t id, int64_t first)
{
    static uint8_t pixels[N_PIXELS];
    for (int p = 0; p < N_PIXELS; p++)
        pixels[p] = pixel_of(id, p);
    return events_external(&world->sender[i], first, FRAME, 2, 2, pixels);
}

static int add(struct world *world, int64_t id, int64_t first)
{
    struct event ev = frame(world, 0, id, first);
    return stream_add(world->stream, &ev);
}

/* Counts of [from, to), of source i: sample / BIN % 50 in each bin. */
static void send_counts(struct world *world, int i, int64_t from, int64_t to)
{
    for (int64_t at = from; at < to; at += BIN) {
        uint8_t count = (uint8_t)(at / BIN % 50);
        struct event ev = events_counts(&world->sender[i], at, 1, &count);
        assert_int_equal(source_take(world->sources, &ev, world->counters), 1);
    }
}

static int next_ns(struct world *world, int64_t now_ns)
{
    return stream_next(world->stream, world->sources, now_ns, &world->trial,
                       world->response);
}

static int next(struct world *world, int64_t now)
{
    return next_ns(world, MS(now));
}

/* The trial's stimulus is these frames, oldest first, as contrast. */
static void assert_frames(const struct world *world, const int64_t *ids)
{
    for (int k = 0; k < N_FRAMES; k++)
        for (int p = 0; p < N_PIXELS; p++)
            assert_true(fabsf(world->trial.x[k * N_PIXELS + p] -
                              ((float)pixel_of(ids[k], p) / 127.5f - 1)) < 1e-6f);
    assert_true(world->trial.hash == wire_hash(WIRE_HASH_START, world->trial.x,
                                               N_FRAMES * N_PIXELS * sizeof(float)));
}

static void assert_trial(struct world *world, int64_t id)
{
    const int64_t ids[] = {id - 2, id - 1, id};
    assert_int_equal(next(world, 10000), 1);
    assert_int_equal(world->trial.verdict, VERDICT_VALID);
    assert_frames(world, ids);
}

static void frames_become_trials_with_those_before_as_history(void **state)
{
    struct world *world = *state;
    send_counts(world, 0, 0, 1000);
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(add(world, i, i * FRAME), 0);
    assert_trial(world, 2);
    /* its window: 40 to 60, 30 later; bins 7 and 8 */
    assert_true(world->response[0] == 7.0f + 8.0f);
    assert_true(world->trial.onset_ns == MS(40));
    assert_true(world->trial.window_ns == MS(70));
    assert_int_equal(world->trial.uncertainty_ns, 0);
    assert_int_equal(world->trial.learn, 1);
    assert_trial(world, 3);
    assert_true(world->response[0] == 9.0f + 10.0f);
    assert_int_equal(next(world, 10000), 0);
}

static void a_window_may_be_longer_than_the_frame(void **state)
{
    struct world *world = *state;
    struct stream_conf longer = standard;
    longer.window_ns = MS(50);
    begin(world, &longer);
    send_counts(world, 0, 0, 1000);
    for (int64_t i = 0; i < 3; i++)
        add(world, i, i * FRAME);
    assert_trial(world, 2);
    assert_true(world->response[0] == 7.0f + 8.0f + 9.0f + 10.0f + 11.0f);
}

static void a_gap_begins_a_new_history(void **state)
{
    struct world *world = *state;
    const int64_t gaps[] = {-FRAME / 2 - 1, -FRAME / 2, 0, FRAME / 2, FRAME / 2 + 1};
    for (int g = 0; g < 5; g++) {
        begin(world, &standard);
        send_counts(world, 0, 0, 1000);
        for (int64_t i = 0; i < 5; i++)
            add(world, i, i * FRAME + (i >= 3 ? gaps[g] : 0));
        assert_trial(world, 2);
        if (g > 0 && g < 4) {
            assert_trial(world, 3);
            assert_trial(world, 4);
        }
        assert_int_equal(next(world, 10000), 0);
        add(world, 5, 5 * FRAME + gaps[g]);
        assert_trial(world, 5);
    }
}

static void a_frame_of_another_source_begins_a_new_history(void **state)
{
    struct world *world = *state;
    send_counts(world, 0, 0, 1000);
    send_counts(world, 1, 0, 1000);
    for (int64_t i = 0; i < 5; i++) {
        struct event ev = frame(world, i >= 2, i, i * FRAME);
        assert_int_equal(stream_add(world->stream, &ev), 0);
    }
    assert_trial(world, 4);
    assert_int_equal(next(world, 10000), 0);
}

static void a_frame_of_another_size_is_refused(void **state)
{
    struct world *world = *state;
    const uint8_t pixels[6] = {0};
    send_counts(world, 0, 0, 1000);
    add(world, 0, 0);
    add(world, 1, FRAME);
    for (int tall = 0; tall < 2; tall++) {
        struct event ev = events_external(&world->sender[0], 2 * FRAME, FRAME,
                                          tall ? 3 : 2, tall ? 2 : 3, pixels);
        assert_int_equal(stream_add(world->stream, &ev), -EINVAL);
    }
    assert_int_equal(next(world, 10000), 0);
    add(world, 2, 2 * FRAME); /* the right one takes its place */
    assert_trial(world, 2);
    add(world, 4, 4 * FRAME); /* and one that is missing is a gap */
    assert_int_equal(next(world, 10000), 0);
}

static void only_so_many_frames_wait(void **state)
{
    struct world *world = *state;
    const int64_t n_waiting = N_KEPT;
    send_counts(world, 0, 0, 10);
    add(world, 0, 0);
    add(world, 1, FRAME);
    assert_int_equal(next(world, 0), 0); /* context only: they do not wait */
    for (int64_t i = 2; i < 2 + n_waiting; i++)
        assert_int_equal(add(world, i, i * FRAME), 0);
    assert_int_equal(add(world, 99, (2 + n_waiting) * FRAME), -ENOSPC);
    send_counts(world, 0, 10, 1000);
    for (int64_t i = 2; i < 2 + n_waiting; i++)
        assert_trial(world, i); /* none was overwritten */
    assert_int_equal(next(world, 10000), 0);
    assert_int_equal(add(world, 2 + n_waiting, (2 + n_waiting) * FRAME), 0);
    assert_trial(world, 2 + n_waiting);
}

static void held_out_frames_are_told_as_such(void **state)
{
    struct world *world = *state;
    send_counts(world, 0, 0, 1000);
    for (int64_t i = 0; i < 5; i++) {
        struct event ev = frame(world, 0, i, i * FRAME);
        ev.external.learn = i != 3;
        stream_add(world->stream, &ev);
    }
    for (int64_t i = 2; i < 5; i++) {
        assert_trial(world, i);
        assert_int_equal(world->trial.learn, i != 3);
    }
}

static void a_hole_in_the_counts_is_told_at_once(void **state)
{
    struct world *world = *state;
    const int64_t ids[] = {0, 1, 2};
    send_counts(world, 0, 0, 80);
    send_counts(world, 0, 90, 110);
    for (int64_t i = 0; i < 4; i++)
        add(world, i, i * FRAME);
    assert_int_equal(next(world, 100), 1); /* window: 70 to 90 */
    assert_int_equal(world->trial.verdict, VERDICT_COUNTS_LOST);
    assert_frames(world, ids);
    assert_trial(world, 3); /* the hole is none in the next one */
}

static void counts_that_never_come_are_given_up(void **state)
{
    struct world *world = *state;
    int64_t arrival = MS(2 * FRAME); /* of the third frame */
    send_counts(world, 0, 0, 80);
    for (int64_t i = 0; i < 3; i++)
        add(world, i, i * FRAME);
    assert_int_equal(next_ns(world, arrival + MS(300) - 1), 0);
    assert_int_equal(next_ns(world, arrival + MS(300)), 1);
    assert_int_equal(world->trial.verdict, VERDICT_NO_COUNTS);
    assert_int_equal(next_ns(world, arrival + MS(300)), 0);
}

static void without_a_clock_its_time_is_unknown(void **state)
{
    struct world *world = *state;
    for (int64_t i = 0; i < 3; i++)
        add(world, i, i * FRAME);
    assert_int_equal(next(world, 100), 0);
    assert_int_equal(next(world, 10000), 1);
    assert_int_equal(world->trial.verdict, VERDICT_NO_COUNTS);
    assert_true(world->trial.onset_ns == CLOCK_UNKNOWN);
    assert_true(world->trial.window_ns == CLOCK_UNKNOWN);
}

static void a_clock_that_begins_anew_ends_what_waits(void **state)
{
    struct world *world = *state;
    send_counts(world, 0, 0, 80);
    for (int64_t i = 0; i < 4; i++)
        add(world, i, i * FRAME);
    assert_int_equal(next(world, 80), 0);
    stream_break(world->stream, VERDICT_CLOCK_JUMP);
    for (int i = 0; i < 2; i++) { /* at once, or with counts of another time */
        assert_int_equal(next(world, 80), 1);
        assert_int_equal(world->trial.verdict, VERDICT_CLOCK_JUMP);
        assert_true(world->trial.onset_ns == CLOCK_UNKNOWN);
        if (i == 0)
            send_counts(world, 0, 80, 1000);
    }
    for (int64_t i = 4; i < 7; i++)
        add(world, i, i * FRAME);
    assert_trial(world, 6); /* the first with a history of the new clock only */
    stream_break(world->stream, VERDICT_CLOCK_JUMP);
    for (int64_t i = 7; i < 10; i++)
        add(world, i, i * FRAME);
    assert_trial(world, 9);
    assert_int_equal(next(world, 10000), 0);
}

static void a_frame_without_length_in_counts_harms_nothing(void **state)
{
    struct world *world = *state;
    send_counts(world, 0, 0, 1000);
    for (int64_t i = 0; i < 3; i++) {
        struct event ev = frame(world, 0, i, i);
        ev.external.sample_rate_hz = 1e9; /* a frame of a nanosecond */
        ev.external.n_samples = 1;
        stream_add(world->stream, &ev);
    }
    assert_int_equal(next(world, 10000), 1);
    assert_int_not_equal(world->trial.verdict, VERDICT_VALID);
}

/* Frames with gaps, holes and refusals against a list of all that was sent. */
static void random_streams_are_as_a_list_says(void **state)
{
    struct world *world = *state;
    struct random random;
    int n_trials = 0;
    random_init(&random, events_seed(), 0);
    send_counts(world, 0, 0, 8000);
    for (int run = 0; run < 20; run++) {
        int64_t kept[400], depth[400], first = 0;
        int n = 0, answered = 0;
        free(world->stream);
        world->stream = stream_init(memory_open(stream_size(&standard)), &standard);
        for (int i = 0; i < 350; i++) {
            int gap = random_below(&random, 12) == 0;
            first += gap ? FRAME : 0;
            int done = add(world, i, first);
            if (n - answered == N_KEPT) {
                assert_int_equal(done, -ENOSPC);
            } else {
                assert_int_equal(done, 0);
                depth[n] = n > 0 && !gap && kept[n - 1] == i - 1 ? depth[n - 1] + 1 : 0;
                kept[n++] = i;
            }
            first += FRAME;
            while (random_below(&random, 3)) {
                while (answered < n && depth[answered] < N_FRAMES - 1)
                    answered++;
                assert_int_equal(next(world, 0), answered < n);
                if (answered < n) {
                    assert_int_equal(world->trial.verdict, VERDICT_VALID);
                    assert_frames(world, &kept[answered - N_FRAMES + 1]);
                    answered++;
                    n_trials++;
                }
            }
        }
    }
    assert_true(n_trials > 1000);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(frames_become_trials_with_those_before_as_history),
        T(a_window_may_be_longer_than_the_frame),
        T(a_gap_begins_a_new_history),
        T(a_frame_of_another_source_begins_a_new_history),
        T(a_frame_of_another_size_is_refused),
        T(only_so_many_frames_wait),
        T(held_out_frames_are_told_as_such),
        T(a_hole_in_the_counts_is_told_at_once),
        T(counts_that_never_come_are_given_up),
        T(without_a_clock_its_time_is_unknown),
        T(a_clock_that_begins_anew_ends_what_waits),
        T(a_frame_without_length_in_counts_harms_nothing),
        T(random_streams_are_as_a_list_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
