#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/model.h"
#include "models/ops.h"
#include "models/random.h"

enum { SIDE = 8, N_PX = SIDE * SIDE };

static const struct model_conf small = {
    .kind = MODEL_GLM,
    .front = FRONT_PIXELS,
    .posterior = POSTERIOR_UNIT,
    .n_units = 3,
    .n_frames = 1,
    .height = SIDE,
    .width = SIDE,
    .memory_bytes = 64u << 20,
    .prior_sd = 1.0,
    .smooth_px = 1.0,
    .bias_sd = 2.0,
    .forgetting = 1.0,
};

static void *make_block(size_t size)
{
    void *mem = aligned_alloc(64, (size + 63) / 64 * 64);
    assert_non_null(mem);
    memset(mem, 0xa5, (size + 63) / 64 * 64); /* as uninitialised memory may be */
    return mem;
}

static struct model *make_model(const struct model_conf *conf)
{
    const char *why = model_check(conf);
    if (why)
        fail_msg("%s", why);
    return model_init(make_block(model_size(conf)), conf);
}

static void *make_snapshot(const struct model_conf *conf, const struct model *model,
                           const uint32_t *units, int n_units)
{
    void *snap = make_block(model_snapshot_size(conf));
    model_snapshot(model, units, n_units, snap);
    return snap;
}

static void draw_stimulus(struct random *random, float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)random_normal(random) * 0.5F;
}

static void an_unobserved_unit_learns_nothing(void **state)
{
    (void)state;
    const enum model_posterior posteriors[] = {POSTERIOR_UNIT, POSTERIOR_SHARED};
    for (int k = 0; k < 2; k++) {
        struct model_conf conf = small;
        conf.posterior = posteriors[k];
        struct model *model = make_model(&conf);
        struct random random;
        random_init(&random, 2, 0);
        float x[N_PX], rate[3], before[3], count[3] = {1.0F, 2.0F, 3.0F};
        for (int t = 0; t < 20; t++) {
            draw_stimulus(&random, x, N_PX);
            model_predict(model, x, rate);
            model_learn(model, count);
        }
        model_predict(model, x, before);
        const float odd[] = {NAN, INFINITY, -1.0F, -INFINITY};
        for (int i = 0; i < 4; i++) {
            const float partly[3] = {odd[i], 4.0F, odd[i]},
                        none[3] = {odd[i], odd[i], odd[i]};
            model_predict(model, x, rate);
            model_learn(model, partly);
            model_predict(model, x, rate);
            assert_true(rate[0] == before[0] && rate[2] == before[2]);
            assert_true(rate[1] > before[1]);
            before[1] = rate[1];
            model_learn(model, none);
            model_predict(model, x, rate);
            assert_memory_equal(rate, before, sizeof rate);
        }
        free(model);
    }
}

static struct model *make_learned(const struct model_conf *conf, int n_trials, float *x)
{
    struct model *model = make_model(conf);
    struct random random;
    random_init(&random, 6, 0);
    float rate[N_PX], count[N_PX];
    for (int t = 0; t < n_trials; t++) {
        draw_stimulus(&random, x, N_PX);
        model_predict(model, x, rate);
        for (int i = 0; i < conf->n_units; i++)
            count[i] = (float)random_poisson(&random,
                                             exp(0.5 * i - 0.5 + 2.0 * (double)x[5 * i]));
        model_learn(model, count);
    }
    return model;
}

/* Central differences along random directions, in a function of many pixels. */
static void check_gradient(double (*function)(const void *, void *, const float *,
                                              float *),
                           const void *snap, const float *x)
{
    void *work = make_block(snapshot_work_size(snap));
    float grad[N_PX + 1], y[N_PX];
    struct random random;
    random_init(&random, 7, 0);
    grad[N_PX] = 77.0F;
    double value = function(snap, work, x, grad);
    assert_true(grad[N_PX] == 77.0F);
    assert_true(value == function(snap, work, x, NULL));
    double norm = sqrt(ops_norm2(N_PX, grad));
    assert_true(norm > 0.0);
    for (int round = 0; round < 20; round++) {
        double h = 0.01, slope = 0.0, ends[2], direction[N_PX];
        for (int i = 0; i < N_PX; i++) {
            direction[i] = round ? random_normal(&random) / SIDE : (double)grad[i] / norm;
            slope += direction[i] * (double)grad[i];
        }
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < N_PX; i++)
                y[i] = (float)((double)x[i] + (side ? h : -h) * direction[i]);
            ends[side] = function(snap, work, y, NULL);
        }
        double seen = (ends[1] - ends[0]) / (2.0 * h);
        if (fabs(seen - slope) > 2e-3 * norm)
            fail_msg("direction %d: slope %g, gradient says %g", round, seen, slope);
    }
    free(work);
}

static void gradients_are_right(void **state)
{
    (void)state;
    const int n_learned[] = {0, 6, 100, 500};
    const enum model_posterior posteriors[] = {POSTERIOR_UNIT, POSTERIOR_SHARED};
    for (int k = 0; k < 4; k++)
        for (int step = 0; step < 4; step++) {
            int n_trials = n_learned[step];
            struct model_conf conf = small;
            conf.posterior = posteriors[k % 2];
            conf.front = k < 2 ? FRONT_PIXELS : FRONT_GABOR;
            conf.n_units = 5;
            float x[N_PX];
            struct random random;
            struct model *model = make_learned(&conf, n_trials, x);
            random_init(&random, 8, 0);
            draw_stimulus(&random, x, N_PX);
            const uint32_t all[5] = {4, 2, 0, 1, 3};
            for (int n = 1; n <= 5; n += 2) {
                void *snap = make_snapshot(&conf, model, all, n);
                check_gradient(snapshot_info, snap, x);
                if (n_trials > 0)
                    check_gradient(snapshot_rate, snap, x);
                free(snap);
            }
            free(model);
        }
}

static void a_snapshot_says_what_the_model_said(void **state)
{
    (void)state;
    struct model_conf conf = small;
    float x[N_PX], rate[3], field[N_PX], count[3] = {5.0F, 5.0F, 5.0F};
    struct model *model = make_learned(&conf, 100, x);
    const uint32_t units[] = {2, 0}, others[] = {0, 2};
    void *snap = make_snapshot(&conf, model, units, 2);
    void *other = make_snapshot(&conf, model, others, 2);
    void *work = make_block(snapshot_work_size(snap));
    uint64_t hash = snapshot_hash(snap);
    assert_true(hash != snapshot_hash(other));
    model_predict(model, x, rate);
    double mean = 0.5 * ((double)rate[0] + (double)rate[2]);
    double said = snapshot_rate(snap, work, x, NULL);
    assert_true(fabs(said - mean) < 1e-6 * mean);
    /* its field is the slope of log rate at grey */
    snapshot_field(snap, work, field);
    float grey[N_PX] = {0};
    grey[10] = 0.01F;
    model_predict(model, grey, rate);
    double up = log((double)rate[2]);
    grey[10] = -0.01F;
    model_predict(model, grey, rate);
    assert_true(fabs((up - log((double)rate[2])) / 0.02 - (double)field[10]) < 1e-3);
    /* it does not move with the model */
    for (int t = 0; t < 10; t++) {
        model_predict(model, x, rate);
        model_learn(model, count);
    }
    assert_true(snapshot_hash(snap) == hash);
    assert_true(snapshot_rate(snap, work, x, NULL) == said);
    model_snapshot(model, units, 2, snap);
    assert_true(snapshot_hash(snap) != hash);
    free(work);
    free(snap);
    free(other);
    free(model);
}

/* The identity of a snapshot is what it holds, not what its memory held before: a
 * replay takes it into memory of its own. */
static void a_snapshot_is_known_by_its_content(void **state)
{
    (void)state;
    const uint32_t units[] = {2, 0, 1};
    for (int width = 3; width <= SIDE; width++) { /* arrays of many lengths */
        struct model_conf conf = small;
        conf.width = width;
        struct model *model = make_model(&conf);
        for (int n_units = 1; n_units <= 3; n_units++) {
            void *snap = make_snapshot(&conf, model, units, n_units);
            uint64_t hash = snapshot_hash(snap);
            memset(snap, 0, model_snapshot_size(&conf));
            model_snapshot(model, units, n_units, snap);
            assert_true(snapshot_hash(snap) == hash);
            free(snap);
        }
        free(model);
    }
}

static void a_state_goes_on_where_it_was(void **state)
{
    (void)state;
    const enum model_posterior posteriors[] = {POSTERIOR_UNIT, POSTERIOR_SHARED};
    for (int k = 0; k < 2; k++) {
        struct model_conf conf = small, wider = small;
        conf.posterior = posteriors[k];
        conf.forgetting = 0.995;
        wider.posterior = posteriors[k];
        wider.forgetting = 0.995;
        wider.prior_sd = 1.5;
        float x[N_PX], count[3] = {0.0F, 1.0F, 7.0F}, rate[2][3];
        struct model *model = make_learned(&conf, 120, x), *copy = make_model(&conf);
        struct model *other = make_model(&wider);
        const void *stored;
        size_t size = model_state(model, &stored);
        assert_true(model_hash(model) != model_hash(copy));
        assert_int_equal(model_restore(copy, stored, size - 64), -EINVAL);
        assert_int_equal(model_restore(copy, stored, 0), -EINVAL);
        assert_int_equal(model_restore(other, stored, size), -EINVAL);
        unsigned char *bytes = make_block(size); /* as read from a disk */
        memcpy(bytes, stored, size);
        assert_int_equal(model_restore(copy, bytes, size), 0);
        for (int t = 0; t < 50; t++) {
            assert_true(model_hash(model) == model_hash(copy));
            model_predict(model, x, rate[0]);
            model_predict(copy, x, rate[1]);
            assert_memory_equal(rate[0], rate[1], sizeof rate[0]);
            model_learn(model, count);
            model_learn(copy, count);
        }
        count[1] += 1.0F;
        model_predict(copy, x, rate[1]);
        model_learn(copy, count);
        count[1] -= 1.0F;
        model_predict(model, x, rate[0]);
        model_learn(model, count);
        assert_true(model_hash(model) != model_hash(copy));
        free(bytes);
        free(model);
        free(copy);
        free(other);
    }
}

static void a_configuration_is_checked_in_words(void **state)
{
    (void)state;
    struct model_conf conf = small;
    assert_null(model_check(&conf));
#define REFUSED(field, value)                                                            \
    do {                                                                                 \
        conf = small;                                                                    \
        conf.field = (value);                                                            \
        assert_non_null(model_check(&conf));                                             \
    } while (0)
    REFUSED(kind, 0);
    REFUSED(kind, 99);
    REFUSED(front, 0);
    REFUSED(posterior, 9);
    REFUSED(n_units, 0);
    REFUSED(n_frames, 0);
    REFUSED(height, -3);
    REFUSED(width, 1 << 30);
    REFUSED(prior_sd, 0.0);
    REFUSED(prior_sd, (double)NAN);
    REFUSED(bias_sd, -1.0);
    REFUSED(smooth_px, -1.0);
    REFUSED(smooth_frames, (double)NAN);
    REFUSED(forgetting, 1.1);
    REFUSED(forgetting, 0.5);
    REFUSED(memory_bytes, 1000);
    /* auto takes a covariance a unit where there is room for it, one for all where not */
    conf = small;
    conf.n_units = 100;
    size_t unit = model_size(&conf);
    conf.posterior = POSTERIOR_SHARED;
    size_t shared = model_size(&conf);
    assert_true(shared < unit / 10);
    conf.posterior = POSTERIOR_AUTO;
    assert_int_equal(model_size(&conf), unit);
    conf.memory_bytes = unit - 1;
    assert_null(model_check(&conf));
    assert_int_equal(model_size(&conf), shared);
    conf.posterior = POSTERIOR_UNIT;
    assert_non_null(model_check(&conf));
}

static int start(void **state)
{
    (void)state;
    ops_init();
    ops_flush_denormals();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unobserved_unit_learns_nothing),
        cmocka_unit_test(gradients_are_right),
        cmocka_unit_test(a_snapshot_says_what_the_model_said),
        cmocka_unit_test(a_snapshot_is_known_by_its_content),
        cmocka_unit_test(a_state_goes_on_where_it_was),
        cmocka_unit_test(a_configuration_is_checked_in_words),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
