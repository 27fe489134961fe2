#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "protocol/wire.h"
#include "stage.h"

static const enum loop_state all_states[] = {STATE_IDLE,    STATE_ARMED,   STATE_CHOOSE,
                                             STATE_PRESENT, STATE_COLLECT, STATE_PAUSED,
                                             STATE_FAULT,   STATE_END};

static int in_trial(enum loop_state state)
{
    return state == STATE_PRESENT || state == STATE_COLLECT;
}

static int is_running(enum loop_state state)
{
    return state == STATE_ARMED || state == STATE_CHOOSE || in_trial(state);
}

static uint64_t counter(const struct stage *stage, unsigned i)
{
    return loop_counters(stage->loop)[i];
}

/* The next trial told from index *i on. */
static struct event next_trial(struct stage *stage, int *i)
{
    const struct event *ev = stage_next(stage, EVENT_TRIAL, i);
    for (int ms = 0; !ev && ms < 1000; ms++) {
        stage_run(stage, 1);
        ev = stage_next(stage, EVENT_TRIAL, i);
    }
    assert_non_null(ev);
    return *ev;
}

/* It goes on: the next trials are valid. */
static void assert_goes_on(struct stage *stage)
{
    int i = stage->n_said, n_valid = 0;
    for (int k = 0; k < 4; k++) /* the first may be what was still on */
        n_valid += next_trial(stage, &i).trial.verdict == VERDICT_VALID;
    assert_true(n_valid >= 3);
}

static void a_session_goes_through_its_states(void **state)
{
    (void)state;
    struct stage *stage = stage_open("[learn]\ntrials = 4\n[mei]\ntrials = 2\n", 0);
    const enum loop_state states[] = {STATE_ARMED, STATE_CHOOSE, STATE_PRESENT,
                                      STATE_COLLECT};
    const struct event *ev;
    int i = 0, n_collect = 0;
    assert_int_equal(loop_now(stage->loop), STATE_IDLE);
    assert_int_equal(stage_reach(stage, STATE_END), 1);
    for (int k = 0; k < 4; k++) {
        do { /* the same state again has another reason */
            ev = stage_next(stage, EVENT_STATE, &i);
        } while (k > 0 && ev->state.state == states[k - 1]);
        assert_int_equal(ev->state.state, states[k]);
    }
    for (i = 0; (ev = stage_next(stage, EVENT_STATE, &i));)
        n_collect += ev->state.state == STATE_COLLECT;
    assert_int_equal(n_collect, 6);
    assert_int_equal(stage->state, STATE_END);
    assert_int_equal(stage_count(stage, EVENT_PRESENT, 0), 6);
    assert_int_equal(stage_count(stage, EVENT_TRIAL, 0), 6);
    assert_int_equal(stage_count(stage, EVENT_SCREEN, 0), 0);
    assert_int_equal(stage_count(stage, EVENT_BLANK, 0), 1);
    assert_int_equal(stage_count(stage, EVENT_MODEL, 0), 1);
    assert_int_equal(counter(stage, COUNTER_TRIALS), 6);
    assert_int_equal(counter(stage, COUNTER_VALID), 6);
    assert_int_equal(stage->n_learned, 6);
    i = stage->n_said;
    stage_run(stage, 500);
    assert_int_equal(stage->n_said, i); /* it is over */
    stage_close(stage);
}

static void what_happened_is_told_of_every_trial(void **state)
{
    (void)state;
    struct stage *stage = stage_open("", 0);
    int i = 0, p = 0;
    int64_t free_ns = 0;
    for (uint64_t n = 0; n < 20; n++) {
        struct event trial = next_trial(stage, &i);
        struct event present = *stage_next(stage, EVENT_PRESENT, &p);
        assert_int_equal(trial.trial.trial, n);
        assert_int_equal(present.present.trial, n);
        assert_true(present.present.hash == trial.trial.hash);
        assert_int_equal(trial.trial.attempt, 1);
        assert_int_equal(trial.trial.verdict, VERDICT_VALID);
        assert_int_equal(trial.trial.kind, n < 3 ? JOB_RANDOM : JOB_INFOMAX);
        assert_true(trial.trial.onset_ns >= present.present.not_before_ns);
        assert_true(present.present.not_before_ns >= free_ns);
        free_ns = trial.trial.onset_ns + stage->loop_conf.trial.duration_ns +
                  stage->loop_conf.trial.gap_ns;
        assert_true(trial.trial.window_ns == trial.trial.onset_ns + 5 * EVENTS_MS);
        assert_true(trial.trial.uncertainty_ns > 0);
        assert_int_equal(trial.trial.latency_ns, EVENTS_MS / 10); /* of SENT */
    }
    stage_close(stage);
}

/* Act first, learn later: the next command is out before the trial is learned from. */
static void the_next_stimulus_goes_out_before_the_trial_is_told(void **state)
{
    (void)state;
    struct stage *stage = stage_open("", 0);
    int n_before = 0;
    stage_run(stage, 2000);
    for (int k = 0; k + 1 < stage->n_said; k++) {
        const struct event *ev = &stage->said[k];
        int i = 0;
        if (ev->type != EVENT_PRESENT || ev->present.trial == 0)
            continue;
        while (stage->said[i].type != EVENT_TRIAL ||
               stage->said[i].trial.trial + 1 != ev->present.trial)
            assert_true(++i < stage->n_said);
        assert_true(i > k);
        assert_true(stage->said[i].time_ns == ev->time_ns); /* by the same event */
        assert_true(ev->present.cause_ns == ev->time_ns);
        n_before++;
    }
    assert_true(n_before > 20);
    stage_close(stage);
}

static void fault_here(struct stage *stage, enum verdict verdict)
{
    struct event ev;
    assert_int_equal(stage_reach(stage, STATE_COLLECT), 1);
    if (verdict != VERDICT_NO_ONSET) /* which is of the trial that begins next */
        assert_int_equal(stage_reach(stage, STATE_PRESENT), 1);
    switch (verdict) {
    case VERDICT_NO_ONSET:
        stage->fault = STAGE_NOT_SHOWN;
        break;
    case VERDICT_LATE_FRAME:
        stage->fault = STAGE_LATE_AT_END;
        break;
    case VERDICT_WRONG_STIMULUS:
        stage->fault = STAGE_WRONG;
        break;
    case VERDICT_COUNTS_LOST:
        stage_reach(stage, STATE_COLLECT);
        stage->n_lose = 2; /* the centre of the second lies in the window */
        break;
    case VERDICT_NO_COUNTS:
        stage_reach(stage, STATE_COLLECT);
        stage->rig = 0;
        break;
    case VERDICT_DISPLAY_LOST:
        stage->display_epoch++; /* it began again */
        stage->asked = 1;
        stage->shown_ns = stage->hidden_ns = CLOCK_UNKNOWN;
        break;
    case VERDICT_CLOCK_JUMP:
        stage->sample += 100000;
        stage->sender.origin_ns -= 100000 * EVENTS_MS;
        break;
    case VERDICT_BAD_COUNTS:
        ev = events_plain(EVENT_REJECT, 0);
        ev.reject.reason = REJECT_VALUE;
        ev.reject.type = EVENT_COUNTS;
        stage_tell(stage, ev);
        break;
    case VERDICT_PAUSED:
        stage_tell(stage, events_command(COMMAND_PAUSE, 0));
        stage_run(stage, 30);
        stage_tell(stage, events_command(COMMAND_RESUME, 0));
        break;
    default:
        stage_tell(stage, events_lost(RING_WIRE_LOOP, 3, 0));
        break;
    }
}

static void an_invalid_trial_is_never_learned_and_shown_again(void **state)
{
    (void)state;
    for (enum verdict why = VERDICT_NO_ONSET; why < VERDICT_END; why++) {
        struct stage *stage = stage_open("", 0);
        struct event trial, again;
        int i, n_waits = 0;
        stage_run(stage, 300);
        i = stage->n_said;
        fault_here(stage, why);
        trial = next_trial(stage, &i);
        for (int n = 0; n < 2 && trial.trial.verdict == VERDICT_VALID; n++)
            trial = next_trial(stage, &i); /* the one before had just ended */
        stage->fault = STAGE_WELL;
        stage->rig = 1;
        assert_string_equal(verdict_name(trial.trial.verdict), verdict_name(why));
        assert_int_equal(trial.trial.learned, 0);
        assert_int_equal(counter(stage, COUNTER_VERDICT + why), 1);
        assert_int_equal(counter(stage, COUNTER_AGAIN), 1);
        do {
            again = next_trial(stage, &i);
            assert_true(n_waits++ < 4);
        } while (again.trial.hash != trial.trial.hash);
        assert_int_equal(again.trial.attempt, 2);
        assert_int_equal(again.trial.verdict, VERDICT_VALID);
        assert_goes_on(stage);
        assert_int_equal(counter(stage, COUNTER_TRIALS),
                         counter(stage, COUNTER_VALID) + 1);
        stage_close(stage);
    }
}

static void a_stimulus_is_given_up_after_so_many_attempts(void **state)
{
    (void)state;
    struct stage *stage = stage_open("", 0);
    uint64_t hash = 0, model = model_hash(loop_model(stage->loop));
    int i = 0, n_attempts = 0, n_again = 0;
    stage->fault = STAGE_LATE;
    for (int n = 0; n < 30; n++) {
        struct event trial = next_trial(stage, &i);
        assert_int_equal(trial.trial.verdict, VERDICT_LATE_FRAME);
        if (n == 0)
            hash = trial.trial.hash;
        if (trial.trial.hash == hash)
            assert_int_equal(trial.trial.attempt, ++n_attempts);
        assert_true(trial.trial.attempt <= 3);
        n_again += trial.trial.attempt < 3;
    }
    assert_int_equal(n_attempts, 3);
    assert_int_equal(counter(stage, COUNTER_AGAIN), n_again);
    assert_int_equal(counter(stage, COUNTER_LATE_FRAMES), 30);
    assert_int_equal(counter(stage, COUNTER_VALID), 0);
    assert_true(model_hash(loop_model(stage->loop)) == model);
    stage_close(stage);
}

/* Where a command leads from each state. */
static void commands_are_obeyed_in_every_state(void **state)
{
    (void)state;
    for (int s = 0; s < 8; s++) {
        for (enum command command = COMMAND_PAUSE; command <= COMMAND_NOTE; command++) {
            struct stage *stage = stage_open("", 0);
            enum loop_state from = all_states[s], to = from;
            int i, pauses, resumes, stops;
            stage_go_to(stage, from);
            pauses = command == COMMAND_PAUSE && is_running(from);
            resumes = command == COMMAND_RESUME &&
                      (from == STATE_PAUSED || from == STATE_FAULT);
            stops = command == COMMAND_STOP && from != STATE_END;
            to = pauses ? STATE_PAUSED : stops ? STATE_END : from;
            i = stage->n_said;
            stage_tell(stage, events_command(command, 0));
            if (resumes) /* ARMED, and at once on */
                assert_true(in_trial(loop_now(stage->loop)));
            else
                assert_int_equal(loop_now(stage->loop), to);
            assert_int_equal(stage_count(stage, EVENT_BLANK, i), pauses || stops);
            assert_int_equal(stage_count(stage, EVENT_MODEL, i), stops);
            assert_int_equal(stage_count(stage, EVENT_TRIAL, i),
                             in_trial(from) && (pauses || stops));
            if (in_trial(from) && (pauses || stops))
                assert_int_equal(next_trial(stage, &i).trial.verdict, VERDICT_PAUSED);
            /* PAUSED, FAULT and END stay, also when time passes */
            i = stage->n_said;
            stage_run(stage, 300);
            if (to == STATE_PAUSED || to == STATE_FAULT || to == STATE_END) {
                assert_int_equal(loop_now(stage->loop) == to, !resumes);
                assert_int_equal(stage_count(stage, EVENT_PRESENT, i) > 0, resumes);
            }
            stage->display = stage->worker = 1;
            if (to == STATE_PAUSED || to == STATE_FAULT)
                stage_tell(stage, events_command(COMMAND_RESUME, 0));
            if (to != STATE_END)
                assert_goes_on(stage);
            stage_close(stage);
        }
    }
}

static void a_lost_display_is_waited_for_in_every_state(void **state)
{
    (void)state;
    for (int s = 0; s < 8; s++) {
        for (int restarts = 0; restarts < 2; restarts++) {
            struct stage *stage = stage_open("", 0);
            enum loop_state from = all_states[s];
            int known = from != STATE_IDLE && from != STATE_ARMED;
            int i, n_sent, k = 0;
            stage_go_to(stage, from);
            i = stage->n_said;
            stage->display = 0;
            stage->shown_ns = stage->hidden_ns = CLOCK_UNKNOWN;
            if (!restarts) { /* silent: 200 ms, and until the next tick */
                stage_run(stage, 199);
                stage_run(stage, 41);
                assert_int_equal(counter(stage, COUNTER_DISPLAY_LOST), known);
                assert_int_equal(loop_now(stage->loop),
                                 from == STATE_IDLE || is_running(from) ? STATE_ARMED
                                                                        : from);
                stage_run(stage, 500);
                assert_int_equal(counter(stage, COUNTER_DISPLAY_LOST), known);
            }
            if (in_trial(from) && !restarts) {
                /* not shown for 100 ms, or seen and then lost: never learned */
                struct event trial = next_trial(stage, &i);
                assert_int_not_equal(trial.trial.verdict, VERDICT_VALID);
            }
            k = stage->n_said;
            stage->display = stage->worker = 1;
            stage->display_epoch++;
            stage->asked = 1;
            stage_run(stage, 25);
            assert_int_equal(counter(stage, COUNTER_DISPLAY_LOST), known);
            if (is_running(from) && known) { /* it is told all that is ready */
                n_sent = stage_count(stage, EVENT_STIMULUS, k);
                assert_true(n_sent >= 2);
            }
            if (from == STATE_PAUSED || from == STATE_FAULT)
                stage_tell(stage, events_command(COMMAND_RESUME, 0));
            if (from != STATE_END)
                assert_goes_on(stage);
            else
                assert_int_equal(loop_now(stage->loop), STATE_END);
            stage_close(stage);
        }
    }
}

static void a_display_without_a_screen_is_told_how_to_set_it_up(void **state)
{
    (void)state;
    struct stage *stage = stage_open("[display]\nquality = hardware\nx_deg = 3\n", 0);
    struct event hello = events_display(9, QUALITY_NONE, 0);
    const struct event *screen;
    int i = 0;
    stage->display = 0;
    stage_run(stage, 50);
    hello.display.width_px = 0;
    stage_tell(stage, hello);
    screen = stage_next(stage, EVENT_SCREEN, &i);
    assert_non_null(screen);
    assert_true(screen->screen.x_deg == 3.0);
    assert_int_equal(screen->screen.silence_ns, 200 * EVENTS_MS);
    stage_tell(stage, events_display(9, QUALITY_ESTIMATED, 0));
    stage_run(stage, 100);
    assert_int_equal(loop_now(stage->loop), STATE_ARMED); /* not good enough */
    stage_tell(stage, events_display(9, QUALITY_HARDWARE, 0));
    stage_run(stage, 10);
    assert_true(in_trial(loop_now(stage->loop)));
    stage_close(stage);
}

static void a_full_ring_is_a_fault_or_an_invalid_trial(void **state)
{
    (void)state;
    for (int s = 0; s < 8; s++) {
        for (enum ring_name ring = RING_WIRE_LOOP; ring <= RING_LOOP_WORKER; ring++) {
            struct stage *stage = stage_open("", 0);
            enum loop_state from = all_states[s];
            int inward = ring == RING_WIRE_LOOP || ring == RING_MAIN_LOOP, i;
            stage_go_to(stage, from);
            i = stage->n_said;
            uint64_t before = counter(stage, COUNTER_OVERLOAD);
            stage_tell(stage, events_lost(ring, 7, 0));
            assert_int_equal(counter(stage, COUNTER_OVERLOAD), before + 7);
            assert_int_equal(stage_count(stage, EVENT_TRIAL, i), in_trial(from));
            if (in_trial(from)) {
                int k = i;
                assert_int_equal(stage_next(stage, EVENT_TRIAL, &k)->trial.verdict,
                                 VERDICT_OVERLOAD);
            }
            if (from == STATE_END || (inward && !in_trial(from))) {
                assert_int_equal(loop_now(stage->loop), from);
                assert_int_equal(stage_count(stage, EVENT_BLANK, i), 0);
            } else if (inward) {
                assert_int_equal(loop_now(stage->loop), STATE_PRESENT); /* the next */
            } else {
                assert_int_equal(loop_now(stage->loop), STATE_FAULT);
                assert_int_equal(stage_count(stage, EVENT_BLANK, i), 1);
                stage_run(stage, 300);
                assert_int_equal(loop_now(stage->loop), STATE_FAULT);
                assert_int_equal(stage_count(stage, EVENT_PRESENT, i), 0);
            }
            stage->display = stage->worker = 1;
            stage_tell(stage, events_command(COMMAND_RESUME, 0));
            if (from != STATE_END)
                assert_goes_on(stage);
            stage_close(stage);
        }
    }
}

static void a_silent_rig_is_waited_for(void **state)
{
    (void)state;
    struct stage *stage = stage_open("", 0);
    stage_go_to(stage, STATE_COLLECT);
    stage->rig = 0;
    stage_run(stage, 700); /* the trial that was on is given up */
    assert_int_equal(counter(stage, COUNTER_SOURCE_LOST), 1);
    assert_int_equal(loop_now(stage->loop), STATE_ARMED);
    stage->rig = 1;
    assert_goes_on(stage);
    assert_int_equal(counter(stage, COUNTER_SOURCE_LOST), 1);
    stage_close(stage);
}

static void the_model_is_told_every_100_trials(void **state)
{
    (void)state;
    struct stage *stage = stage_open("[learn]\ntrials = 250\n", 0);
    const uint64_t n[] = {100, 200, 250};
    int i = 0;
    assert_int_equal(stage_reach(stage, STATE_END), 1);
    for (int k = 0; k < 3; k++) {
        const struct event *ev = stage_next(stage, EVENT_MODEL, &i);
        assert_int_equal(ev->model.n_trials, n[k]);
        if (k == 2)
            assert_true(ev->model.hash == model_hash(loop_model(stage->loop)));
    }
    assert_null(stage_next(stage, EVENT_MODEL, &i));
    stage_close(stage);
}

static void the_loop_beats_and_tells_its_counters(void **state)
{
    (void)state;
    struct stage *stage = stage_open("", 0);
    stage_run(stage, 2000); /* ticks every 20 ms: a beat every 60, a status every 200 */
    assert_in_range(stage->n_beats, 2000 / 60, 2000 / 60 + 1);
    assert_int_equal(stage->n_statuses, 10);
    stage_close(stage);
}

/* The same script for two loops, with trouble of all kinds. */
static uint64_t digest_of_a_troubled_session(int fill)
{
    struct stage *stage = stage_open("[learn]\nstart = 5\n", fill);
    uint64_t digest;
    for (enum verdict why = VERDICT_NO_ONSET; why < VERDICT_END; why++) {
        stage_run(stage, 200);
        fault_here(stage, why);
        stage_run(stage, 150);
        stage->fault = STAGE_WELL;
        stage->rig = 1;
    }
    stage_run(stage, 500);
    assert_true(stage->n_learned > 20);
    digest = wire_hash(stage->digest, loop_counters(stage->loop),
                       COUNTER_END * sizeof(uint64_t));
    stage_close(stage);
    return digest;
}

static void the_same_events_give_the_same_bytes(void **state)
{
    (void)state;
    uint64_t digest = digest_of_a_troubled_session(0);
    assert_true(digest_of_a_troubled_session(0xff) == digest);
    assert_true(digest_of_a_troubled_session(0x5a) == digest);
}

/* Frames of another system: learned from, never shown. */
static void external_stimuli_are_learned_from_unless_held_out(void **state)
{
    (void)state;
    struct stage *stage = stage_open("[trial]\nexternal = yes\n", 0);
    const uint8_t last[STAGE_PIXELS] = {0};
    uint64_t model = 0;
    int i = 0;
    stage->display = stage->worker = 0;
    stage_run(stage, 15);
    assert_int_equal(stage_reach(stage, STATE_COLLECT), 1);
    for (int k = 0; k < 10; k++) {
        uint8_t pixels[STAGE_PIXELS];
        struct event ev, trial;
        memset(pixels, 20 * k, sizeof(pixels));
        ev = events_external(&stage->sender, stage->now_ns / EVENTS_MS, 20, 4, 4, pixels);
        ev.external.learn = k != 4;
        stage_tell(stage, ev);
        trial = next_trial(stage, &i);
        assert_int_equal(trial.trial.verdict, VERDICT_VALID);
        assert_int_equal(trial.trial.learned, k != 4);
        assert_int_equal(trial.trial.kind, 0);
        assert_int_equal(trial.trial.trial, k);
        assert_int_equal(model_hash(loop_model(stage->loop)) == model, k == 4);
        model = model_hash(loop_model(stage->loop));
    }
    assert_int_equal(stage->n_learned, 9);
    assert_int_equal(counter(stage, COUNTER_VALID), 10);
    assert_int_equal(stage_count(stage, EVENT_PRESENT, 0), 0);
    assert_int_equal(stage_count(stage, EVENT_JOB, 0), 0);
    /* the rig begins again: the frame that waits is of a clock that is no more */
    stage_tell(stage, events_external(&stage->sender, stage->now_ns / EVENTS_MS, 20, 4, 4,
                                      last));
    stage->sender.epoch++;
    assert_int_equal(next_trial(stage, &i).trial.verdict, VERDICT_CLOCK_JUMP);
    assert_true(model_hash(loop_model(stage->loop)) == model);
    stage_tell(stage, events_command(COMMAND_PAUSE, 0));
    assert_int_equal(loop_now(stage->loop), STATE_PAUSED);
    stage_tell(stage, events_command(COMMAND_RESUME, 0));
    assert_int_equal(loop_now(stage->loop), STATE_COLLECT);
    stage->rig = 0;
    stage_run(stage, 400);
    assert_int_equal(loop_now(stage->loop), STATE_ARMED);
    stage_close(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_goes_through_its_states),
        cmocka_unit_test(what_happened_is_told_of_every_trial),
        cmocka_unit_test(the_next_stimulus_goes_out_before_the_trial_is_told),
        cmocka_unit_test(an_invalid_trial_is_never_learned_and_shown_again),
        cmocka_unit_test(a_stimulus_is_given_up_after_so_many_attempts),
        cmocka_unit_test(commands_are_obeyed_in_every_state),
        cmocka_unit_test(a_lost_display_is_waited_for_in_every_state),
        cmocka_unit_test(a_display_without_a_screen_is_told_how_to_set_it_up),
        cmocka_unit_test(a_full_ring_is_a_fault_or_an_invalid_trial),
        cmocka_unit_test(a_silent_rig_is_waited_for),
        cmocka_unit_test(the_model_is_told_every_100_trials),
        cmocka_unit_test(the_loop_beats_and_tells_its_counters),
        cmocka_unit_test(the_same_events_give_the_same_bytes),
        cmocka_unit_test(external_stimuli_are_learned_from_unless_held_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
