#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/supply.h"
#include "events.h"
#include "models/random.h"
#include "protocol/memory.h"
#include "protocol/wire.h"

#define SIDE     4
#define N_PIXELS (SIDE * SIDE)
#define N_UNITS  3
#define N_OUT    64

static const struct model_conf model_conf = {.kind = MODEL_GLM,
                                             .front = FRONT_PIXELS,
                                             .posterior = POSTERIOR_UNIT,
                                             .n_units = N_UNITS,
                                             .n_frames = 1,
                                             .height = SIDE,
                                             .width = SIDE,
                                             .memory_bytes = 1 << 20,
                                             .prior_sd = 1,
                                             .smooth_px = 1,
                                             .smooth_frames = 1,
                                             .bias_sd = 2,
                                             .forgetting = 1};

struct world {
    struct supply_conf conf;
    struct supply *supply;
    struct model *model;
    struct event said[N_OUT];
    uint64_t seq;
    struct outbox out;
    uint8_t pixels[N_PIXELS];
};

static void begin(struct world *world, int n_workers, int n_ahead, int64_t n_trials)
{
    world->conf = (struct supply_conf){.policy = {.learn = POLICY_INFOMAX,
                                                  .n_start = 2,
                                                  .n_learn = n_trials,
                                                  .n_mei = 2,
                                                  .n_units = N_UNITS,
                                                  .n_together = 2},
                                       .height = SIDE,
                                       .width = SIDE,
                                       .n_workers = n_workers,
                                       .n_ahead = n_ahead,
                                       .max_steps = 17,
                                       .seed = 3,
                                       .snapshot_size = model_snapshot_size(&model_conf)};
    free(world->supply);
    world->supply = supply_init(memory_open(supply_size(&world->conf)), &world->conf);
    world->out = (struct outbox){world->said, 0, N_OUT, 1000, &world->seq};
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    world->model = model_init(memory_open(model_size(&model_conf)), &model_conf);
    begin(world, 1, 2, 10);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    free(world->supply);
    free(world->model);
    free(world);
    return 0;
}

/* The job that supply_plan() sends, type EVENT_NONE if it sends none. */
static struct event plan(struct world *world)
{
    world->out.n = 0;
    if (!supply_plan(world->supply, world->model, &world->out)) {
        assert_int_equal(world->out.n, 0);
        return (struct event){.type = EVENT_NONE};
    }
    assert_int_equal(world->out.n, 1);
    assert_int_equal(world->said[0].type, EVENT_JOB);
    return world->said[0];
}

/* The answer to a job, whose first pixel is this value. */
static struct event result(struct world *world, const struct event *job, uint8_t value)
{
    memset(world->pixels, 7, N_PIXELS);
    world->pixels[0] = value;
    return events_result(job, SIDE, SIDE, world->pixels, 1000);
}

static void answer(struct world *world, const struct event *job, uint8_t value)
{
    struct event ev = result(world, job, value);
    world->out.n = 0;
    assert_int_equal(supply_result(world->supply, &ev, &world->out), 0);
}

/* What went to the display is this stimulus. */
static void assert_sent(const struct world *world, int i, uint8_t value)
{
    const struct event *ev = &world->said[i];
    const uint8_t *pixels = ev->data;
    assert_int_equal(ev->type, EVENT_STIMULUS);
    assert_int_equal(ev->data_size, N_PIXELS);
    assert_int_equal(event_data_size(ev), N_PIXELS);
    assert_int_equal(pixels[0], value);
    assert_int_equal(pixels[1], 7);
    assert_true(ev->stimulus.hash == wire_hash_stimulus(SIDE, SIDE, DTYPE_U8, pixels));
}

static void assert_next(struct world *world, struct supply_slot **slot, uint8_t value,
                        uint32_t attempt)
{
    *slot = supply_next(world->supply);
    assert_non_null(*slot);
    assert_int_equal((*slot)->pixels[0], value);
    assert_int_equal((*slot)->attempt, attempt);
    assert_int_equal((*slot)->state, SLOT_TAKEN);
}

static void a_stimulus_goes_from_job_to_display_to_trial(void **state)
{
    struct world *world = *state;
    struct event job = plan(world);
    struct supply_slot *slot;
    assert_int_equal(job.job.kind, JOB_RANDOM);
    assert_int_equal(job.job.unit, UNIT_ALL);
    assert_int_equal(job.job.slot, 0);
    assert_int_equal(job.job.seed, 0);
    assert_int_equal(job.job.max_steps, 17);
    assert_null(supply_next(world->supply));
    answer(world, &job, 1);
    assert_int_equal(world->out.n, 1);
    assert_sent(world, 0, 1);
    assert_next(world, &slot, 1, 1);
    assert_true(slot->hash == world->said[0].stimulus.hash);
    assert_int_equal(slot->kind, JOB_RANDOM);
    assert_int_equal(slot->unit, UNIT_ALL);
    assert_null(supply_next(world->supply));
    supply_done(slot);
}

static void only_so_many_are_made_ahead(void **state)
{
    struct world *world = *state;
    struct supply_slot *slot;
    struct event first, second;
    begin(world, 2, 3, 10);
    first = plan(world);
    second = plan(world);
    assert_int_equal(first.job.slot, 0);
    assert_int_equal(second.job.slot, 1);
    assert_int_equal(plan(world).type, EVENT_NONE); /* both workers are busy */
    answer(world, &second, 2);
    second = plan(world);
    assert_int_equal(second.job.slot, 1);
    answer(world, &second, 3);
    assert_int_equal(plan(world).type, EVENT_NONE); /* two ready, one in the making */
    answer(world, &first, 1);
    assert_int_equal(plan(world).type, EVENT_NONE);
    assert_next(world, &slot, 2, 1); /* in the order in which they were ready */
    assert_int_equal(plan(world).type, EVENT_JOB);
    assert_int_equal(plan(world).type, EVENT_NONE);
}

static void every_job_is_the_next_choice_of_the_policy(void **state)
{
    struct world *world = *state;
    struct supply_slot *slot;
    for (int i = 0; i < 10 + 2; i++) {
        struct event job = plan(world);
        struct policy_choice choice = policy_next(&world->conf.policy, 3, i);
        assert_int_equal(job.type, EVENT_JOB);
        assert_int_equal(job.job.job, i);
        assert_int_equal(job.job.seed, i);
        assert_int_equal(job.job.kind, choice.kind);
        assert_int_equal(job.job.unit, choice.unit);
        answer(world, &job, (uint8_t)i);
        slot = supply_next(world->supply);
        assert_int_equal(slot->kind, choice.kind);
        assert_int_equal(slot->unit, choice.unit);
        assert_int_equal(supply_is_over(world->supply), 0);
        supply_done(slot);
    }
    assert_int_equal(plan(world).type, EVENT_NONE);
    assert_int_equal(supply_is_over(world->supply), 1);
}

static void an_optimised_one_gets_a_snapshot_of_the_model_of_now(void **state)
{
    struct world *world = *state;
    const float count[N_UNITS] = {3, 0, 5};
    float x[N_PIXELS] = {0.5f}, rate[N_UNITS];
    void *snapshot = memory_open(world->conf.snapshot_size);
    uint64_t before = 0;
    struct policy_choice choice;
    for (int i = 0; i < 5; i++) {
        struct event job = plan(world);
        choice = policy_next(&world->conf.policy, 3, i);
        if (choice.kind == JOB_RANDOM) {
            assert_int_equal(job.job.model, 0);
        } else {
            model_snapshot(world->model, choice.units, choice.n_units, snapshot);
            assert_true(job.job.model == snapshot_hash(snapshot));
            assert_true(snapshot_hash(supply_snapshot(world->supply, 0)) ==
                        job.job.model);
            assert_true(job.job.model != before);
            before = job.job.model;
        }
        model_predict(world->model, x, rate);
        model_learn(world->model, count);
        answer(world, &job, 0);
        supply_done(supply_next(world->supply));
    }
    assert_true(before != 0);
    free(snapshot);
}

static void one_to_be_shown_again_waits_at_the_end(void **state)
{
    struct world *world = *state;
    struct supply_slot *slot, *other;
    struct event job;
    begin(world, 1, 3, 10);
    for (uint8_t i = 1; i <= 3; i++) {
        job = plan(world);
        answer(world, &job, i);
    }
    assert_next(world, &slot, 1, 1);
    world->out.n = 0;
    supply_again(world->supply, slot, &world->out);
    assert_int_equal(world->out.n, 1);
    assert_sent(world, 0, 1);
    assert_int_equal(plan(world).type, EVENT_NONE); /* it is one of those ahead */
    assert_next(world, &other, 2, 1);
    supply_done(other);
    assert_next(world, &other, 3, 1);
    supply_done(other);
    assert_next(world, &slot, 1, 2);
    supply_again(world->supply, slot, &world->out);
    assert_next(world, &slot, 1, 3);
    supply_done(slot);
    assert_null(supply_next(world->supply));
}

static void a_result_that_answers_no_job_is_refused(void **state)
{
    struct world *world = *state;
    struct event job = plan(world), good = result(world, &job, 1), bad;
    uint8_t other[N_PIXELS] = {0};
    world->out.n = 0;
    for (int fault = 0; fault < 8; fault++) {
        bad = good;
        switch (fault) {
        case 0:
            bad.result.job++;
            break;
        case 1:
            bad.result.slot = 1;
            break;
        case 2:
            bad.result.slot = UINT32_MAX;
            break;
        case 3:
            bad.result.hash++;
            break;
        case 4:
            bad.data = other;
            break;
        case 5:
            bad.result.height = 2;
            break;
        case 6:
            bad.result.width = 2 * SIDE;
            break;
        default:
            bad.result.dtype = DTYPE_U16;
        }
        assert_int_equal(supply_result(world->supply, &bad, &world->out), -EINVAL);
    }
    assert_int_equal(world->out.n, 0);
    assert_null(supply_next(world->supply));
    assert_int_equal(supply_result(world->supply, &good, &world->out), 0);
    assert_int_equal(supply_result(world->supply, &good, &world->out),
                     -EINVAL); /* twice */
    assert_int_equal(world->out.n, 1);
}

static void a_display_that_begins_anew_gets_all_that_are_ready(void **state)
{
    struct world *world = *state;
    struct supply_slot *slot;
    struct event job;
    begin(world, 1, 3, 10);
    for (uint8_t i = 1; i <= 3; i++) {
        job = plan(world);
        answer(world, &job, i);
    }
    assert_next(world, &slot, 1, 1);
    world->out.n = 0;
    supply_resend(world->supply, &world->out);
    assert_int_equal(world->out.n, 2);
    assert_sent(world, 0, 2);
    assert_sent(world, 1, 3);
}

static void the_end_waits_for_what_is_in_the_making_and_ready(void **state)
{
    struct world *world = *state;
    struct supply_slot *slot;
    struct event job;
    begin(world, 1, 1, 1);
    world->conf.policy.n_mei = 0;
    free(world->supply);
    world->supply = supply_init(memory_open(supply_size(&world->conf)), &world->conf);
    assert_int_equal(supply_is_over(world->supply), 0);
    job = plan(world);
    plan(world);
    assert_int_equal(supply_is_over(world->supply), 0);
    answer(world, &job, 1);
    plan(world);
    assert_int_equal(supply_is_over(world->supply), 0);
    assert_next(world, &slot, 1, 1);
    plan(world); /* learns that there is no more */
    assert_int_equal(supply_is_over(world->supply), 1);
    supply_again(world->supply, slot, &world->out);
    assert_int_equal(supply_is_over(world->supply), 0);
    supply_done(supply_next(world->supply));
    assert_int_equal(supply_is_over(world->supply), 1);
}

/* As the loop uses it: one on the screen, one that ended and is not yet learned from,
 * any of them shown again. There is always a slot for a result, and each stimulus is
 * shown in order of its readiness against a queue. */
static void slots_never_run_out(void **state)
{
    struct world *world = *state;
    struct random random;
    random_init(&random, events_seed(), 0);
    for (int run = 0; run < 100; run++) {
        struct event jobs[4];
        int n_jobs = 0, n_queue = 0, n_shown = 0;
        uint8_t queue[5000], value = 0;
        struct supply_slot *now = NULL, *ended = NULL;
        int first = 0;
        begin(world, 1 + (int)random_below(&random, 4), 1 + (int)random_below(&random, 5),
              200);
        for (int i = 0; i < 2000; i++) {
            unsigned what = random_below(&random, 4);
            struct event job;
            world->out.n = 0;
            if (what == 0 && (job = plan(world)).type == EVENT_JOB) {
                jobs[n_jobs++] = job;
            } else if (what == 1 && n_jobs > 0) {
                int k = (int)random_below(&random, (uint32_t)n_jobs);
                answer(world, &jobs[k], ++value);
                jobs[k] = jobs[--n_jobs];
                queue[n_queue++] = value;
            } else if (what == 2 && !ended) { /* the trial ends, the next begins */
                ended = now;
                now = supply_next(world->supply);
                assert_int_equal(now != NULL, first < n_queue);
                if (now)
                    assert_int_equal(now->pixels[0], queue[first++]);
                n_shown += now != NULL;
            } else if (what == 3 && ended) { /* and it is learned from, or again */
                if (random_below(&random, 2)) {
                    supply_done(ended);
                } else {
                    queue[n_queue++] = ended->pixels[0];
                    supply_again(world->supply, ended, &world->out);
                }
                ended = NULL;
            }
        }
        assert_true(n_shown > 100);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_stimulus_goes_from_job_to_display_to_trial),
        T(only_so_many_are_made_ahead),
        T(every_job_is_the_next_choice_of_the_policy),
        T(an_optimised_one_gets_a_snapshot_of_the_model_of_now),
        T(one_to_be_shown_again_waits_at_the_end),
        T(a_result_that_answers_no_job_is_refused),
        T(a_display_that_begins_anew_gets_all_that_are_ready),
        T(the_end_waits_for_what_is_in_the_making_and_ready),
        T(slots_never_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
