#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/model.h"
#include "models/random.h"
#include "protocol/wire.h"
#include "stimulus/job.h"

#define assert_near(a, b, tolerance)                                                     \
    do {                                                                                 \
        double near_a = (double)(a), near_b = (double)(b);                               \
        if (!(fabs(near_a - near_b) <= (double)(tolerance)))                             \
            fail_msg("%s is %.9g, not %.9g", #a, near_a, near_b);                        \
    } while (0)

enum { HEIGHT = 12, WIDTH = 10, N = HEIGHT * WIDTH, N_UNITS = 3 };

static uint64_t seed;
static struct images *images;
static struct job_conf conf;
static struct model *model;
static void *snapshot, *work;
static size_t work_size;
static float filters[N_UNITS][N];

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static const struct model_conf model_conf = {.kind = MODEL_GLM,
                                             .front = FRONT_PIXELS,
                                             .n_units = N_UNITS,
                                             .n_frames = 1,
                                             .height = HEIGHT,
                                             .width = WIDTH,
                                             .memory_bytes = 1 << 28,
                                             .prior_sd = 2,
                                             .smooth_px = 1,
                                             .bias_sd = 2,
                                             .forgetting = 1};

/* A GLM that has seen some trials of smooth filters. */
static int open_all(void **state)
{
    (void)state;
    char text[200];
    if (images_open(&images, IMAGES_MIXED, NULL, HEIGHT, WIDTH, text, sizeof text) != 0 ||
        model_check(&model_conf))
        return -1;
    conf = (struct job_conf){.space = {HEIGHT, WIDTH, 0, 0.25f, -1, 1},
                             .ascent = {.step = 1},
                             .images = images,
                             .images_seed = seed,
                             .n_candidates = 3};
    model = model_init(aligned_alloc(64, (model_size(&model_conf) + 63) / 64 * 64),
                       &model_conf);
    snapshot = aligned_alloc(64, (model_snapshot_size(&model_conf) + 63) / 64 * 64);

    float x[N], rate[N_UNITS], count[N_UNITS], scratch[N];
    struct random random;
    random_init(&random, seed, 1);
    for (int unit = 0; unit < N_UNITS; unit++) {
        for (int i = 0; i < N; i++)
            filters[unit][i] = (float)random_normal(&random);
        optimise_blur(filters[unit], HEIGHT, WIDTH, 1.5, scratch);
        space_project(&conf.space, filters[unit]);
    }
    for (int trial = 0; trial < 300; trial++) {
        for (int i = 0; i < N; i++)
            x[i] = (float)random_normal(&random);
        space_project(&conf.space, x);
        model_predict(model, x, rate);
        for (int unit = 0; unit < N_UNITS; unit++)
            count[unit] = (float)random_poisson(&random, exp(dot(filters[unit], x)));
        model_learn(model, count);
    }
    const uint32_t units[] = {1, 0, 2};
    model_snapshot(model, units, N_UNITS, snapshot);
    work_size = job_work_size(&conf, snapshot_work_size(snapshot));
    work = aligned_alloc(64, work_size + 64);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    images_close(images);
    free(model);
    free(snapshot);
    free(work);
    return 0;
}

static struct event make_job(unsigned kind, uint64_t of_seed, uint32_t max_steps)
{
    return (struct event){.type = EVENT_JOB,
                          .job = {.job = 7,
                                  .seed = of_seed,
                                  .model = 99,
                                  .kind = kind,
                                  .unit = 1,
                                  .slot = 2,
                                  .max_steps = max_steps}};
}

/* Run it in work whose old contents must not matter; pixels are copied out. */
static struct event run(unsigned kind, uint64_t of_seed, uint32_t max_steps,
                        int (*go_on)(void *context), void *context, uint8_t *pixels)
{
    static int n_runs;
    struct event result, job = make_job(kind, of_seed, max_steps);
    memset(work, ++n_runs, work_size + 64);
    job_run(&conf, &job, job_needs_snapshot(kind) ? snapshot : NULL, go_on, context, work,
            &result);
    assert_int_equal(((uint8_t *)work)[work_size], (uint8_t)n_runs);
    assert_int_equal(result.data_size, N);
    assert_int_equal(event_data_size(&result), N);
    memcpy(pixels, result.data, N);
    return result;
}

static void only_model_based_jobs_need_a_snapshot(void **state)
{
    (void)state;
    assert_int_equal(job_needs_snapshot(JOB_RANDOM), 0);
    assert_int_equal(job_needs_snapshot(JOB_INFOMAX), 1);
    assert_int_equal(job_needs_snapshot(JOB_MEI), 1);
}

static void a_result_answers_its_job(void **state)
{
    (void)state;
    for (unsigned kind = JOB_RANDOM; kind <= JOB_MEI; kind++) {
        uint8_t pixels[N];
        struct event result = run(kind, 3, 10, NULL, NULL, pixels);
        assert_int_equal(result.type, EVENT_RESULT);
        assert_int_equal(result.result.job, 7);
        assert_int_equal(result.result.model, 99);
        assert_int_equal(result.result.kind, kind);
        assert_int_equal(result.result.unit, 1);
        assert_int_equal(result.result.slot, 2);
        assert_int_equal(result.result.height, HEIGHT);
        assert_int_equal(result.result.width, WIDTH);
        assert_int_equal(result.result.dtype, DTYPE_U8);
        assert_true(result.result.n_steps <= 10);
        assert_true(result.result.hash ==
                    wire_hash_stimulus(HEIGHT, WIDTH, DTYPE_U8, pixels));
    }
}

static void a_random_job_shows_the_image_of_its_seed(void **state)
{
    (void)state;
    uint8_t pixels[N], want[N];
    float x[N];
    void *scratch = malloc(images_work_size(images));
    for (uint64_t i = 0; i < 6; i++) {
        struct event result = run(JOB_RANDOM, i, 0, NULL, NULL, pixels);
        images_get(images, conf.images_seed, i, scratch, x);
        space_project(&conf.space, x);
        space_encode(x, N, want);
        assert_memory_equal(pixels, want, N);
        assert_int_equal(result.result.n_steps, 0);
    }
    free(scratch);
}

static void the_value_is_that_of_the_pixels_shown(void **state)
{
    (void)state;
    void *scratch = aligned_alloc(64, (snapshot_work_size(snapshot) + 63) / 64 * 64);
    for (uint64_t of_seed = 0; of_seed < 5; of_seed++) {
        uint8_t pixels[N];
        float x[N];
        struct event result = run(JOB_MEI, of_seed, 10, NULL, NULL, pixels);
        space_decode(pixels, N, x);
        const void *focused = snapshot_focus(snapshot, 3, scratch);
        assert_true(result.result.value == snapshot_rate(focused, scratch, x, NULL));
        result = run(JOB_INFOMAX, of_seed, 10, NULL, NULL, pixels);
        space_decode(pixels, N, x);
        focused = snapshot_focus(snapshot, 0, scratch);
        assert_true(result.result.value == snapshot_info(focused, scratch, x, NULL));
    }
    free(scratch);
}

static int n_asked;

static int until(void *context)
{
    n_asked++;
    return n_asked <= *(int *)context;
}

/* The deadline falls between any two steps; what was made until then can be made again. */
static void a_job_cut_short_repeats_bit_for_bit(void **state)
{
    (void)state;
    for (unsigned kind = JOB_INFOMAX; kind <= JOB_MEI; kind++) {
        for (int n_steps = 0; n_steps < 12; n_steps++) {
            uint8_t first[N], second[N];
            n_asked = 0;
            struct event a = run(kind, 5, 1000, until, &n_steps, first);
            assert_true(a.result.n_steps <= (uint32_t)n_steps);
            assert_true((int)a.result.n_steps == n_steps || n_asked <= n_steps);
            struct event b = run(kind, 5, a.result.n_steps, NULL, NULL, second);
            assert_int_equal(a.result.n_steps, b.result.n_steps);
            assert_memory_equal(first, second, N);
            assert_true(a.result.value == b.result.value);
            assert_true(a.result.hash == b.result.hash);
        }
    }
}

static void more_steps_are_never_worse(void **state)
{
    (void)state;
    for (unsigned kind = JOB_INFOMAX; kind <= JOB_MEI; kind++) {
        double before = -INFINITY;
        for (uint32_t n_steps = 0; n_steps < 20; n_steps++) {
            uint8_t pixels[N];
            struct event result = run(kind, 8, n_steps, NULL, NULL, pixels);
            /* What quantisation takes differs from image to image: sd 0.6 % of the rate,
             * 2.7 (norm of the filter) by 0.0023 (sd of a pixel's rounding). */
            assert_true(result.result.value >= before * (1 - 0.025));
            before = result.result.value;
        }
    }
}

/* The image of the mean log rate of one unit alone is its field, projected: the model's
 * MEI in closed form. And it resembles the true filter. */
static void an_mei_is_the_field_of_the_unit(void **state)
{
    (void)state;
    void *scratch = aligned_alloc(64, (snapshot_work_size(snapshot) + 63) / 64 * 64);
    void *all = snapshot;
    for (uint32_t unit = 0; unit < N_UNITS; unit++) {
        uint8_t pixels[N];
        float x[N], field[N];
        model_snapshot(model, &unit, 1, snapshot);
        run(JOB_MEI, 4, 30, NULL, NULL, pixels);
        space_decode(pixels, N, x);
        snapshot_field(snapshot_focus(snapshot, 3, scratch), scratch, field);
        space_project(&conf.space, field);
        assert_near(dot(x, field) / sqrt(dot(x, x) * dot(field, field)), 1, 2e-3);
        assert_true(dot(x, filters[unit]) /
                        sqrt(dot(x, x) * dot(filters[unit], filters[unit])) >
                    0.8);
    }
    const uint32_t units[] = {1, 0, 2};
    model_snapshot(model, units, N_UNITS, all);
    free(scratch);
}

static void gradients_of_focused_snapshots_match_differences(void **state)
{
    (void)state;
    void *scratch = aligned_alloc(64, (snapshot_work_size(snapshot) + 63) / 64 * 64);
    const void *focused = snapshot_focus(snapshot, 1, scratch);
    struct random random;
    random_init(&random, seed, 2);
    for (int k = 0; k < 6; k++) {
        float x[N], grad[N], way[N];
        double (*value)(const void *, void *, const float *, float *) =
            k % 2 ? snapshot_rate : snapshot_info;
        for (int i = 0; i < N; i++) {
            x[i] = (float)random_normal(&random);
            way[i] = (float)random_normal(&random);
        }
        space_project(&conf.space, x);
        value(focused, scratch, x, grad);
        double slope = dot(grad, way), h = 1e-3, ends[2];
        for (int side = 0; side < 2; side++) {
            float at[N];
            for (int i = 0; i < N; i++)
                at[i] = x[i] + (float)(side ? h : -h) * way[i];
            ends[side] = value(focused, scratch, at, NULL);
        }
        assert_near((ends[1] - ends[0]) / (2 * h), slope, 2e-3 * (fabs(slope) + ends[0]));
    }
    free(scratch);
}

/* Before any trial no place is known: the focused snapshot answers as the other does. */
static void without_a_place_focus_changes_nothing(void **state)
{
    (void)state;
    struct model *fresh = model_init(
        aligned_alloc(64, (model_size(&model_conf) + 63) / 64 * 64), &model_conf);
    void *none = aligned_alloc(64, (model_snapshot_size(&model_conf) + 63) / 64 * 64);
    void *scratch = aligned_alloc(64, (snapshot_work_size(snapshot) + 63) / 64 * 64);
    const uint32_t units[] = {1, 0, 2};
    float x[N], raw_grad[N], grad[N];
    struct random random;
    random_init(&random, seed, 3);
    model_snapshot(fresh, units, N_UNITS, none);
    for (int i = 0; i < N; i++)
        x[i] = (float)random_normal(&random);
    double raw_info = snapshot_info(none, scratch, x, raw_grad);
    const void *focused = snapshot_focus(none, 2, scratch);
    assert_true(snapshot_info(focused, scratch, x, grad) == raw_info);
    assert_memory_equal(grad, raw_grad, sizeof grad);
    assert_true(snapshot_rate(focused, scratch, x, NULL) ==
                snapshot_rate(none, scratch, x, NULL));
    free(fresh);
    free(none);
    free(scratch);
}

static void the_ascent_tells_more_than_the_best_of_many_images(void **state)
{
    (void)state;
    for (uint64_t of_seed = 0; of_seed < 5; of_seed++) {
        uint8_t pixels[N];
        int n = conf.n_candidates;
        double few = run(JOB_INFOMAX, of_seed, 0, NULL, NULL, pixels).result.value;
        double climbed = run(JOB_INFOMAX, of_seed, 10, NULL, NULL, pixels).result.value;
        conf.n_candidates = 200;
        double many = run(JOB_INFOMAX, of_seed, 0, NULL, NULL, pixels).result.value;
        conf.n_candidates = n;
        assert_true(many >= few);
        assert_true(climbed > many);
    }
}

static void the_seed_decides_the_image(void **state)
{
    (void)state;
    for (unsigned kind = JOB_RANDOM; kind <= JOB_INFOMAX; kind++) {
        uint8_t a[N], b[N];
        run(kind, 1, 2, NULL, NULL, a);
        run(kind, 2, 2, NULL, NULL, b);
        assert_memory_not_equal(a, b, N);
    }
}

int main(void)
{
    const char *env = getenv("EVOKE_SEED");
    seed = env ? strtoull(env, NULL, 0) : 1;
    printf("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_model_based_jobs_need_a_snapshot),
        cmocka_unit_test(a_result_answers_its_job),
        cmocka_unit_test(a_random_job_shows_the_image_of_its_seed),
        cmocka_unit_test(the_value_is_that_of_the_pixels_shown),
        cmocka_unit_test(a_job_cut_short_repeats_bit_for_bit),
        cmocka_unit_test(more_steps_are_never_worse),
        cmocka_unit_test(an_mei_is_the_field_of_the_unit),
        cmocka_unit_test(gradients_of_focused_snapshots_match_differences),
        cmocka_unit_test(without_a_place_focus_changes_nothing),
        cmocka_unit_test(the_ascent_tells_more_than_the_best_of_many_images),
        cmocka_unit_test(the_seed_decides_the_image),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
