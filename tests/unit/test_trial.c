#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/trial.h"
#include "events.h"
#include "protocol/memory.h"

#define N_UNITS 2
#define HASH    0xfeedu
#define NUMBER  12u
#define DUE_MS  1000 /* host time at which the stimulus is to appear */
#define MS(t)   ((t)*EVENTS_MS)

static const struct trial_conf conf = {.duration_ns = MS(50),
                                       .gap_ns = MS(30),
                                       .delay_ns = MS(40),
                                       .window_ns = MS(100),
                                       .onset_timeout_ns = MS(200),
                                       .counts_timeout_ns = MS(300)};

struct world {
    struct sources *sources;
    struct sender sender; /* sample s is at s ms; bins of 10 */
    uint64_t counters[COUNTER_END];
    struct supply_slot slot;
    struct trial trial;
    struct event present;
    float response[N_UNITS];
};

static void begin(struct world *world, int diode_line)
{
    struct sources_conf sources = {.n_units = N_UNITS,
                                   .n_sources = 1,
                                   .n_rows = 400,
                                   .history_ns = MS(3000),
                                   .silence_ns = MS(3000),
                                   .diode_line = diode_line};
    free(world->sources);
    world->sources = sources_init(memory_open(sources_size(&sources)), &sources);
    world->sender = (struct sender){
        .source = 1, .rate_hz = 1000, .n_units = N_UNITS, .bin_samples = 10};
    world->slot = (struct supply_slot){.state = SLOT_TAKEN, .hash = HASH};
    world->present = events_plain(EVENT_PRESENT, MS(DUE_MS));
    world->present.present.trial = NUMBER;
    world->present.present.hash = HASH;
    trial_begin(&world->trial, &conf, NUMBER, &world->slot, MS(DUE_MS));
}

static int set_up(void **state)
{
    *state = calloc(1, sizeof(struct world));
    begin(*state, -1);
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    free(world->sources);
    free(world);
    return 0;
}

/* Counts of [from, to) ms, one a bin in unit 0, two in unit 1. */
static void send_counts(struct world *world, int64_t from, int64_t to)
{
    for (int64_t at = from; at < to; at += 10) {
        const uint8_t counts[N_UNITS] = {1, 2};
        struct event ev = events_counts(&world->sender, at, 1, counts);
        assert_int_equal(source_take(world->sources, &ev, world->counters), 1);
    }
}

static void send_edge(struct world *world, int64_t at)
{
    struct event ev = events_edge(&world->sender, at, 0);
    assert_int_equal(source_take(world->sources, &ev, world->counters), 1);
}

static void show(struct world *world, int64_t onset)
{
    struct event ev = events_shown(&world->present, MS(onset), MS(onset));
    assert_int_equal(trial_shown(&world->trial, &ev), 1);
}

static void hide(struct world *world, int64_t at)
{
    struct event ev = events_hidden(&world->present, MS(at));
    assert_int_equal(trial_hidden(&world->trial, &ev), 1);
}

static enum verdict verdict_ns(struct world *world, int64_t now_ns)
{
    return trial_verdict(&world->trial, &conf, world->sources, now_ns, world->response);
}

static enum verdict verdict(struct world *world, int64_t now)
{
    return verdict_ns(world, MS(now));
}

static void a_trial_is_valid_once_counts_and_its_end_are_there(void **state)
{
    struct world *world = *state;
    send_counts(world, 900, 1140);
    assert_int_equal(verdict(world, 1000), VERDICT_END);
    show(world, 1010);
    assert_int_equal(verdict(world, 1140), VERDICT_END); /* window: 1050 to 1150 */
    hide(world, 1060);
    assert_int_equal(verdict(world, 1140), VERDICT_END);
    send_counts(world, 1140, 1150);
    assert_int_equal(verdict(world, 1150), VERDICT_VALID);
    assert_true(world->response[0] == 10.0f);
    assert_true(world->response[1] == 20.0f);
    assert_true(world->trial.onset_ns == MS(1010));
    assert_true(world->trial.uncertainty_ns > 0);
    assert_true(world->trial.uncertainty_ns < MS(10));
}

static void it_waits_for_its_end_but_not_for_ever(void **state)
{
    struct world *world = *state;
    send_counts(world, 900, 1400);
    show(world, 1000);
    assert_int_equal(verdict(world, 1440), VERDICT_END);
    assert_int_equal(verdict_ns(world, MS(1440) + 1), VERDICT_DISPLAY_LOST);
    hide(world, 1450);
    assert_int_equal(verdict_ns(world, MS(1440) + 1), VERDICT_VALID);
}

static void without_an_onset_it_is_given_up(void **state)
{
    struct world *world = *state;
    send_counts(world, 900, 1400);
    assert_int_equal(verdict(world, 1200), VERDICT_END);
    assert_int_equal(verdict_ns(world, MS(1200) + 1), VERDICT_NO_ONSET);
}

static void counts_that_never_come_are_given_up(void **state)
{
    struct world *world = *state;
    show(world, 1000); /* no source at all */
    hide(world, 1050);
    assert_int_equal(verdict(world, 1440), VERDICT_END);
    assert_int_equal(verdict_ns(world, MS(1440) + 1), VERDICT_NO_COUNTS);

    begin(world, -1); /* one that stops in the window */
    send_counts(world, 900, 1100);
    show(world, 1000);
    hide(world, 1050);
    assert_int_equal(verdict(world, 1440), VERDICT_END);
    assert_int_equal(verdict_ns(world, MS(1440) + 1), VERDICT_NO_COUNTS);

    begin(world, -1); /* one that began in the window */
    send_counts(world, 1100, 1400);
    show(world, 1000);
    hide(world, 1050);
    assert_int_equal(verdict(world, 1440), VERDICT_END);
    assert_int_equal(verdict_ns(world, MS(1440) + 1), VERDICT_NO_COUNTS);
}

static void a_hole_counts_only_within_the_window(void **state)
{
    struct world *world = *state;
    const int64_t holes[] = {1030, 1040, 1130, 1140}; /* window: 1040 to 1140 */
    for (int i = 0; i < 4; i++) {
        begin(world, -1);
        send_counts(world, 900, holes[i]);
        send_counts(world, holes[i] + 10, 1300);
        show(world, 1000);
        hide(world, 1050);
        assert_int_equal(verdict(world, 1300),
                         i == 1 || i == 2 ? VERDICT_COUNTS_LOST : VERDICT_VALID);
    }
}

static void a_late_frame_is_seen_at_either_end(void **state)
{
    struct world *world = *state;
    struct event ev = events_shown(&world->present, MS(1000), MS(1000));
    ev.shown.n_late = 1;
    assert_int_equal(trial_shown(&world->trial, &ev), 1);
    assert_int_equal(verdict(world, 1000), VERDICT_LATE_FRAME);

    begin(world, -1);
    send_counts(world, 900, 1300);
    show(world, 1000);
    ev = events_hidden(&world->present, MS(1050));
    ev.hidden.n_late = 1;
    assert_int_equal(trial_hidden(&world->trial, &ev), 1);
    assert_int_equal(verdict(world, 1300), VERDICT_LATE_FRAME);
}

static void another_stimulus_is_wrong(void **state)
{
    struct world *world = *state;
    struct event ev = events_shown(&world->present, MS(1000), MS(1000));
    ev.shown.hash = HASH + 1;
    ev.shown.n_late = 1; /* but that it is wrong is said first */
    assert_int_equal(trial_shown(&world->trial, &ev), 1);
    assert_int_equal(verdict(world, 1000), VERDICT_WRONG_STIMULUS);
}

static void reports_of_another_trial_are_ignored(void **state)
{
    struct world *world = *state;
    struct event shown, hidden;
    for (uint64_t number = NUMBER - 1; number <= NUMBER + 1; number += 2) {
        world->present.present.trial = number;
        shown = events_shown(&world->present, MS(1000), MS(1000));
        hidden = events_hidden(&world->present, MS(1050));
        shown.shown.hash = hidden.hidden.n_late = 1;
        assert_int_equal(trial_shown(&world->trial, &shown), 0);
        assert_int_equal(trial_hidden(&world->trial, &hidden), 0);
    }
    assert_true(world->trial.onset_ns == CLOCK_UNKNOWN);
    assert_int_equal(world->trial.hidden, 0);
    assert_int_equal(verdict(world, 1200), VERDICT_END);
}

static void the_first_reason_counts(void **state)
{
    struct world *world = *state;
    for (enum verdict why = VERDICT_NO_ONSET; why < VERDICT_END; why++) {
        begin(world, -1);
        send_counts(world, 900, 1300);
        show(world, 1000);
        hide(world, 1050);
        assert_int_equal(verdict(world, 1300), VERDICT_VALID);
        trial_break(&world->trial, why);
        trial_break(&world->trial,
                    why == VERDICT_PAUSED ? VERDICT_OVERLOAD : VERDICT_PAUSED);
        assert_int_equal(verdict(world, 1300), why);
    }
}

static void with_a_photodiode_the_edge_opens_the_window(void **state)
{
    struct world *world = *state;
    int64_t mapped;
    begin(world, 0);
    world->sender.latency_ns = MS(3); /* the map by arrivals is wrong by so much */
    send_counts(world, 900, 1130);
    show(world, 1000);
    hide(world, 1050);
    assert_int_equal(verdict(world, 1130), VERDICT_END); /* no edge yet */
    send_edge(world, 1007);                              /* window: 1047 to 1147 */
    assert_int_equal(verdict(world, 1140), VERDICT_END);
    send_counts(world, 1130, 1150);
    assert_int_equal(verdict(world, 1150), VERDICT_VALID);
    assert_true(world->response[0] == 10.0f);
    assert_int_equal(world->trial.at.sample, 1007);
    assert_int_equal(world->trial.at.from, 0);
    assert_int_equal(world->trial.uncertainty_ns, 0);
    /* and the clocks are known better by it: it was 3 ms off by the arrivals alone,
     * and the flip is what its edge is held against */
    mapped = clockmap_host_ns(&world->sources->source[0].map, 1007);
    assert_true(mapped == MS(1000));
    assert_int_equal(world->sources->source[0].map.n_pairs, 1);
    assert_int_equal(verdict(world, 1160), VERDICT_VALID);
    assert_int_equal(world->sources->source[0].map.n_pairs, 1);
}

static void an_edge_far_from_the_flip_is_of_another_trial(void **state)
{
    struct world *world = *state;
    const int64_t far[] = {959, 960, 1040, 1041}; /* half of 50 + 30 ms */
    for (int i = 0; i < 4; i++) {
        begin(world, 0);
        send_counts(world, 900, 1600);
        send_edge(world, far[i]);
        show(world, 1000);
        hide(world, 1050);
        assert_int_equal(verdict(world, 1440),
                         i == 1 || i == 2 ? VERDICT_VALID : VERDICT_END);
        if (i == 0 || i == 3)
            assert_int_equal(verdict_ns(world, MS(1440) + 1), VERDICT_NO_ONSET);
    }
}

static void an_onset_that_cannot_be_is_none(void **state)
{
    struct world *world = *state;
    const int64_t onsets[] = {INT64_MAX, MS(1000 + 3600000), INT64_MIN + 1};
    for (int i = 0; i < 3; i++) {
        begin(world, i == 1 ? 0 : -1);
        send_counts(world, 900, 1300);
        struct event ev = events_shown(&world->present, onsets[i], MS(1000));
        assert_int_equal(trial_shown(&world->trial, &ev), 1);
        hide(world, 1050);
        assert_int_equal(verdict(world, 1300), VERDICT_NO_ONSET);
        assert_true(world->trial.onset_ns == CLOCK_UNKNOWN);
    }
}

/* A stimulus longer than its window ends later than that. */
static void a_long_stimulus_is_waited_for(void **state)
{
    struct world *world = *state;
    struct trial_conf longer = conf;
    longer.duration_ns = MS(500);
    send_counts(world, 900, 1900);
    show(world, 1000);
    assert_int_equal(
        trial_verdict(&world->trial, &longer, world->sources, MS(1800), world->response),
        VERDICT_END);
    assert_int_equal(trial_verdict(&world->trial, &longer, world->sources, MS(1800) + 1,
                                   world->response),
                     VERDICT_DISPLAY_LOST);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_trial_is_valid_once_counts_and_its_end_are_there),
        T(it_waits_for_its_end_but_not_for_ever),
        T(without_an_onset_it_is_given_up),
        T(counts_that_never_come_are_given_up),
        T(a_hole_counts_only_within_the_window),
        T(a_late_frame_is_seen_at_either_end),
        T(another_stimulus_is_wrong),
        T(reports_of_another_trial_are_ignored),
        T(the_first_reason_counts),
        T(with_a_photodiode_the_edge_opens_the_window),
        T(an_edge_far_from_the_flip_is_of_another_trial),
        T(an_onset_that_cannot_be_is_none),
        T(a_long_stimulus_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
