#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/glm.h"
#include "models/info.h"
#include "models/model.h"
#include "models/ops.h"
#include "models/prior.h"
#include "models/random.h"

enum { SIDE = 6, N_PX = SIDE * SIDE, D_MAX = N_PX + 1 };

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

static uint64_t seed_of_run(void)
{
    const char *text = getenv("EVOKE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

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

/* The same posterior in double, dense: one unit. */
struct reference {
    int n_px, d;
    const float *basis; /* (d - 1, n_px) */
    double bias, mean[D_MAX], c[D_MAX][D_MAX], phi[D_MAX], v[D_MAX], rho, s;
};

static void reference_init(struct reference *ref, const struct model_conf *conf,
                           const float *basis, int n_modes)
{
    memset(ref, 0, sizeof *ref);
    ref->n_px = conf->height * conf->width * conf->n_frames;
    ref->d = n_modes + 1;
    ref->basis = basis;
    ref->bias = conf->bias_sd;
    for (int i = 0; i < ref->d; i++)
        ref->c[i][i] = 1.0;
}

static void reference_predict(struct reference *ref, const float *x)
{
    ref->rho = ref->s = 0.0;
    for (int i = 0; i < ref->d; i++) {
        ref->phi[i] = i == ref->d - 1 ? ref->bias : 0.0;
        for (int j = 0; i < ref->d - 1 && j < ref->n_px; j++)
            ref->phi[i] += (double)ref->basis[i * ref->n_px + j] * (double)x[j];
        ref->rho += ref->mean[i] * ref->phi[i];
    }
    for (int i = 0; i < ref->d; i++) {
        ref->v[i] = 0.0;
        for (int j = 0; j < ref->d; j++)
            ref->v[i] += ref->c[i][j] * ref->phi[j];
        ref->s += ref->v[i] * ref->phi[i];
    }
}

static void reference_learn(struct reference *ref, double count)
{
    double low = fmin(-ref->rho / ref->s, 0.0) - 60.0 / ref->s, high = count;
    for (int i = 0; i < 200; i++) { /* bisection */
        double a = 0.5 * (low + high);
        if (a - count + exp(ref->rho + a * ref->s) > 0.0)
            high = a;
        else
            low = a;
    }
    double curvature = exp(ref->rho + low * ref->s);
    double shrink = curvature / (1.0 + curvature * ref->s);
    for (int i = 0; i < ref->d; i++) {
        ref->mean[i] += low * ref->v[i];
        for (int j = 0; j < ref->d; j++)
            ref->c[i][j] -= shrink * ref->v[i] * ref->v[j];
    }
}

static float *make_basis(const struct model_conf *conf, int *n_modes)
{
    struct prior prior = {conf->n_frames,  conf->height,        conf->width,
                          conf->smooth_px, conf->smooth_frames, conf->prior_sd};
    *n_modes = prior_modes(&prior);
    float *basis = malloc((size_t)*n_modes * N_PX * sizeof *basis);
    prior_basis(&prior, basis);
    return basis;
}

static void mode_solves_its_equation_everywhere(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, seed_of_run(), 0);
    for (int i = 0; i < 300000; i++) {
        double rho =
            random_normal(&random) * pow(10.0, 4.0 * random_uniform(&random) - 1.0);
        double s = pow(10.0, 12.0 * random_uniform(&random) - 8.0), curvature;
        double count = floor(
            pow(10.0, 39.0 * random_uniform(&random) * random_uniform(&random)) - 1.0);
        double a = glm_mode(rho, s, count, &curvature);
        assert_true(isfinite(a) && isfinite(curvature) && curvature >= 0.0);
        /* the root is where this changes sign: g rises with slope of at least 1 */
        double h = 1e-9 * (1.0 + fabs(a)) + 1e-12 * (1.0 + fabs(rho)) / s;
        double below = (a - h) - count + exp(rho + (a - h) * s);
        double above = (a + h) - count + exp(rho + (a + h) * s);
        if (!(below <= 1e-13 * count && above >= -1e-13 * count))
            fail_msg("rho %g s %g count %g: a %.17g, %g %g", rho, s, count, a, below,
                     above);
    }
    double curvature;
    assert_true(fabs(glm_mode(0.0, 1e-300, 5.0, &curvature) - 4.0) < 1e-9);
    assert_true(fabs(glm_mode(0.0, 0.0, 5.0, &curvature) - 4.0) < 1e-9);
    assert_true(isfinite(glm_mode(1e5, 0.0, 0.0, &curvature)) && isfinite(curvature));
    assert_true(isfinite(glm_mode(-1e5, 1e4, 3.4e38, &curvature)) && isfinite(curvature));
}

static void share_adds_information(void **state)
{
    (void)state;
    double d_s, d_p, h = 1e-6;
    assert_true(fabs(glm_share(0.3, 2.0, 1.0, NULL, NULL) - 0.3) < 1e-12);
    for (double ratio = 0.01; ratio < 100.0; ratio *= 1.7)
        for (double s = 0.01; s < 1.9; s += 0.13) {
            double p = 2.0, own = glm_share(s, p, ratio, &d_s, &d_p);
            assert_true(fabs(1.0 / own - (1.0 / p + ratio * (1.0 / s - 1.0 / p))) <
                        1e-9 / own);
            double by_s = glm_share(s + h, p, ratio, NULL, NULL) -
                          glm_share(s - h, p, ratio, NULL, NULL);
            double by_p = glm_share(s, p + h, ratio, NULL, NULL) -
                          glm_share(s, p - h, ratio, NULL, NULL);
            assert_true(fabs(d_s - by_s / (2.0 * h)) < 1e-6 * (1.0 + d_s));
            assert_true(fabs(d_p - by_p / (2.0 * h)) < 1e-6 * (1.0 + fabs(d_p)));
        }
    assert_true(glm_share(2.5, 2.0, 1e6, &d_s, &d_p) == 2.5 && d_s == 1.0 && d_p == 0.0);
}

/* Three units, some trials unobserved, against the dense reference. */
static void compare_with_reference(int n_trials, double tolerance)
{
    struct random random;
    random_init(&random, seed_of_run(), 1);
    int n_modes;
    float *basis = make_basis(&small, &n_modes);
    struct model *model = make_model(&small);
    static struct reference ref[3];
    float x[N_PX], rate[4], count[3];
    double worst = 0.0;
    for (int i = 0; i < 3; i++)
        reference_init(&ref[i], &small, basis, n_modes);
    for (int t = 0; t < n_trials; t++) {
        draw_stimulus(&random, x, N_PX);
        rate[3] = 77.0F;
        model_predict(model, x, rate);
        assert_true(rate[3] == 77.0F);
        for (int i = 0; i < 3; i++) {
            double truth = exp(-0.5 + (double)x[7 * i] - 0.7 * (double)x[7 * i + 1]);
            count[i] = (float)random_poisson(&random, truth);
            if (random_below(&random, 10) == 0)
                count[i] = NAN;
            reference_predict(&ref[i], x);
            /* in units of what the posterior itself does not know */
            worst = fmax(worst, fabs(log((double)rate[i]) - ref[i].rho) / sqrt(ref[i].s));
            if (!isnan(count[i]))
                reference_learn(&ref[i], (double)count[i]);
        }
        model_learn(model, count);
    }
    print_message("%d trials: worst log rate off by %.2g posterior sd\n", n_trials,
                  worst);
    assert_true(worst < tolerance);
    /* and so does the posterior's width agree */
    const uint32_t unit = 1;
    void *snap = make_snapshot(&small, model, &unit, 1);
    void *work = make_block(snapshot_work_size(snap));
    reference_predict(&ref[1], x);
    double unused, law = info_expected(ref[1].rho, ref[1].s, &unused, &unused);
    double info = snapshot_info(snap, work, x, NULL);
    print_message("information %.6g, reference %.6g\n", info, law);
    assert_true(fabs(info - law) < 1e-3 * law);
    free(work);
    free(snap);
    free(model);
    free(basis);
}

static void learning_is_the_rank_one_laplace_update(void **state)
{
    (void)state;
    compare_with_reference(300, 1e-4);
}

static void it_holds_for_100000_trials(void **state)
{
    (void)state;
    compare_with_reference(100000, 5e-2);
}

/* Error of log rate of a weak unit among strong ones, 60 times as active. */
static double error_of_weak_unit(enum model_posterior posterior)
{
    struct model_conf conf = small;
    conf.posterior = posterior;
    struct model *model = make_model(&conf);
    struct random random;
    random_init(&random, seed_of_run(), 9);
    float x[N_PX], rate[3], count[3];
    double error = 0.0;
    for (int t = 0; t < 4000; t++) {
        double drive = 0.0;
        draw_stimulus(&random, x, N_PX);
        for (int i = 0; i < 3; i++)
            drive += 0.8 * (double)x[7 + i] + 0.8 * (double)x[13 + i];
        model_predict(model, x, rate);
        for (int i = 0; i < 3; i++)
            count[i] = (float)random_poisson(&random, exp(drive + (i == 1 ? -2.0 : 2.1)));
        if (t >= 3000)
            error += fabs(log((double)rate[1]) - (drive - 2.0)) / 1000.0;
        model_learn(model, count);
    }
    free(model);
    return error;
}

static void a_weak_unit_learns_among_strong_ones(void **state)
{
    (void)state;
    double unit = error_of_weak_unit(POSTERIOR_UNIT);
    double shared = error_of_weak_unit(POSTERIOR_SHARED);
    print_message("error of log rate %.3f per unit, %.3f shared\n", unit, shared);
    assert_true(shared < 1.3 * unit);
}

static void enormous_counts_leave_it_finite(void **state)
{
    (void)state;
    const enum model_posterior posteriors[] = {POSTERIOR_UNIT, POSTERIOR_SHARED};
    for (int k = 0; k < 2; k++) {
        struct model_conf conf = small;
        conf.posterior = posteriors[k];
        conf.prior_sd = 30.0;
        struct model *model = make_model(&conf);
        struct random random;
        random_init(&random, seed_of_run(), 3);
        float x[N_PX], rate[3], count[3];
        const float counts[] = {0.0F, 3.4e38F, 1.0F, 1e9F, 65535.0F};
        for (int t = 0; t < 2000; t++) {
            draw_stimulus(&random, x, N_PX);
            model_predict(model, x, rate);
            for (int i = 0; i < 3; i++) {
                assert_true(isfinite(rate[i]) && rate[i] >= 0.0F);
                count[i] = counts[random_below(&random, 5)];
            }
            model_learn(model, count);
        }
        free(model);
    }
}

static double cosine(const float *a, const float *b, int n)
{
    double aa = 0.0, bb = 0.0, ab = 0.0;
    for (int i = 0; i < n; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        ab += (double)a[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb + 1e-300);
}

static void draw_gabor(struct random *random, int side, float *w)
{
    double angle = 3.14159 * random_uniform(random),
           phase = 6.28318 * random_uniform(random);
    double cx = side * (0.3 + 0.4 * random_uniform(random));
    double cy = side * (0.3 + 0.4 * random_uniform(random)), norm2 = 0.0;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            double u = (x - cx) * cos(angle) + (y - cy) * sin(angle);
            double v = (y - cy) * cos(angle) - (x - cx) * sin(angle);
            w[y * side + x] = (float)(exp(-(u * u + v * v) / 12.5) * cos(u + phase));
            norm2 += (double)w[y * side + x] * (double)w[y * side + x];
        }
    for (int i = 0; i < side * side; i++)
        w[i] /= (float)sqrt(norm2);
}

/* Twenty Gabor-like units of unequal rates, white noise; returns how many fields are
 * within a cosine of 0.9 of the truth. */
static int learn_gabors(enum model_posterior posterior, int n_trials, double *median)
{
    enum { W = 16 };
    struct model_conf conf = small;
    conf.posterior = posterior;
    conf.n_units = 20;
    conf.height = conf.width = W;
    conf.smooth_px = 1.5;
    struct model *model = make_model(&conf);
    struct random random;
    random_init(&random, seed_of_run(), 4);
    static float w[20][W * W];
    float x[W * W], rate[20], count[20], field[W * W];
    double cosines[20];
    for (int i = 0; i < 20; i++)
        draw_gabor(&random, W, w[i]);
    for (int t = 0; t < n_trials; t++) {
        draw_stimulus(&random, x, W * W);
        model_predict(model, x, rate);
        for (int i = 0; i < 20; i++)
            count[i] = (float)random_poisson(
                &random, 0.2 * exp(0.15 * i + 2.5 * (double)ops_dot(W * W, w[i], x)));
        model_learn(model, count);
    }
    int n_good = 0;
    for (uint32_t i = 0; i < 20; i++) {
        void *snap = make_snapshot(&conf, model, &i, 1);
        void *work = make_block(snapshot_work_size(snap));
        snapshot_field(snap, work, field);
        cosines[i] = cosine(field, w[i], W * W);
        n_good += cosines[i] >= 0.9;
        free(work);
        free(snap);
    }
    *median = 0.0;
    for (int i = 0; i < 20; i++) {
        int n_below = 0;
        for (int j = 0; j < 20; j++)
            n_below += cosines[j] < cosines[i];
        if (n_below == 10)
            *median = cosines[i];
    }
    free(model);
    return n_good;
}

static void it_finds_receptive_fields(void **state)
{
    (void)state;
    const int n_trials[] = {250, 500, 1000, 2000};
    int n_unit = 0, n_shared = 0;
    for (int k = 0; k < 4; k++) {
        double unit, shared;
        n_unit = learn_gabors(POSTERIOR_UNIT, n_trials[k], &unit);
        n_shared = learn_gabors(POSTERIOR_SHARED, n_trials[k], &shared);
        print_message("%d trials: per unit %d of 20 (median %.3f), shared %d of 20 "
                      "(median %.3f) with cosine >= 0.9\n",
                      n_trials[k], n_unit, unit, n_shared, shared);
    }
    assert_true(n_unit >= 18);
    assert_true(n_shared >= 16);
}

/* 20,000 trials of a filter that turns round half-way; only the upper half of the screen
 * is ever used. error: mean error of log rate long after start, and after the change. */
static struct model *learn_a_change(const struct model_conf *conf, double *error)
{
    struct model *model = make_model(conf);
    struct random random;
    random_init(&random, seed_of_run(), 5);
    float x[N_PX], rate[3], count[3];
    error[0] = error[1] = 0.0;
    for (int t = 0; t < 20000; t++) {
        draw_stimulus(&random, x, N_PX);
        memset(x + N_PX / 2, 0, N_PX / 2 * sizeof *x);
        model_predict(model, x, rate);
        double drive = 0.0;
        for (int i = 0; i < 3; i++)
            drive += (double)x[7 + i] + (double)x[13 + i];
        for (int i = 0; i < 3; i++) {
            double rho = 1.0 + (t < 10000 ? 0.8 : -0.8) * drive;
            count[i] = (float)random_poisson(&random, exp(rho));
            if (t % 10000 >= 9000)
                error[t / 10000] += fabs(log((double)rate[i]) - rho) / 3000.0;
        }
        model_learn(model, count);
    }
    return model;
}

static void forgetting_follows_a_change_and_stays_bounded(void **state)
{
    (void)state;
    const enum model_posterior posteriors[] = {POSTERIOR_UNIT, POSTERIOR_SHARED};
    for (int k = 0; k < 2; k++) {
        struct model_conf conf = small;
        double kept[2], error[2];
        conf.posterior = posteriors[k];
        free(learn_a_change(&conf, kept));
        conf.forgetting = 0.99;
        struct model *model = learn_a_change(&conf, error);
        print_message("error of log rate before and after a change: %.3f %.3f, without "
                      "forgetting %.3f %.3f\n",
                      error[0], error[1], kept[0], kept[1]);
        assert_true(error[1] < 1.3 * error[0] && error[1] < 0.5 * kept[1]);

        int n_modes;
        float *basis = make_basis(&conf, &n_modes), phi[D_MAX], x[N_PX], rate[3];
        struct random random;
        random_init(&random, seed_of_run(), 6);
        const uint32_t unit = 0;
        void *snap = make_snapshot(&conf, model, &unit, 1);
        void *work = make_block(snapshot_work_size(snap));
        double widest = 0.0;
        for (int round = 0; round < 300; round++) {
            draw_stimulus(&random, x, N_PX);
            if (round % 2)
                memset(x, 0, N_PX / 2 * sizeof *x); /* never seen */
            ops_rows_dot(n_modes, N_PX, basis, x, phi);
            double prior = ops_norm2(n_modes, phi) + conf.bias_sd * conf.bias_sd, unused;
            model_predict(model, x, rate);
            double rho = log((double)rate[0]), info = snapshot_info(snap, work, x, NULL);
            double most = info_expected(rho, 2.1 * prior, &unused, &unused);
            assert_true(info <= most);
            widest = fmax(widest, info / info_expected(rho, prior, &unused, &unused));
        }
        print_message("information at most %.2f of what the prior would give\n", widest);
        free(work);
        free(snap);
        free(basis);
        free(model);
    }
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
        cmocka_unit_test(mode_solves_its_equation_everywhere),
        cmocka_unit_test(share_adds_information),
        cmocka_unit_test(learning_is_the_rank_one_laplace_update),
        cmocka_unit_test(it_holds_for_100000_trials),
        cmocka_unit_test(a_weak_unit_learns_among_strong_ones),
        cmocka_unit_test(enormous_counts_leave_it_finite),
        cmocka_unit_test(it_finds_receptive_fields),
        cmocka_unit_test(forgetting_follows_a_change_and_stays_bounded),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
