/* Searches for the most exciting input against float64 runs of the mei package. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "models/mei.h"
#include "models/ops.h"

#define PIXEL_TOLERANCE 1e-4

/* One run of a folder: files NAME_start.npy, NAME_end_f64.npy, ... */
struct run {
    const char *folder, *name;
    int n_steps;
    struct mei_conf conf;
    int n_models;
    const char *models[2];
};

#define BLUR(sigma)                                                                      \
    {                                                                                    \
        .kind = IMAGE_BLUR, .sigma_y = sigma, .sigma_x = sigma                           \
    }
#define NORM(norm)                                                                       \
    {                                                                                    \
        .kind = IMAGE_NORM, .amount = norm                                               \
    }

#define SGD_BLUR_NORM(lr, norm)                                                          \
    {                                                                                    \
        .n_members = 1, .n_images = 1, .rule = MEI_GRADIENT, .step = lr,                 \
        .gradient_op = {BLUR(1.0)}, .image_op = {                                        \
            NORM(norm)                                                                   \
        }                                                                                \
    }
#define ADAM_BLUR_NORM(norm)                                                             \
    {                                                                                    \
        .n_members = 1, .n_images = 1, .rule = MEI_ADAM, .step = 0.05,                   \
        .gradient_op = {BLUR(1.0)}, .image_op = {                                        \
            NORM(norm)                                                                   \
        }                                                                                \
    }
#define SGD_STD(std)                                                                     \
    {                                                                                    \
        .n_members = 1, .n_images = 1, .rule = MEI_GRADIENT, .step = 1.0,                \
        .gradient_op = {BLUR(1.0)}, .image_op = {                                        \
            {.kind = IMAGE_STD, .amount = std}                                           \
        }                                                                                \
    }
#define SGD_CLIP(lr, norm)                                                               \
    {                                                                                    \
        .n_members = 1, .n_images = 1, .rule = MEI_GRADIENT, .step = lr, .image_op = {   \
            {.kind = IMAGE_NORM_MAX, .amount = norm, .p = 2.0},                          \
            {.kind = IMAGE_CLIP, .low = -1.0, .high = 1.0}                               \
        }                                                                                \
    }
#define SGD_PENALTY                                                                      \
    {                                                                                    \
        .n_members = 1, .n_images = 1, .rule = MEI_GRADIENT, .step = 1.0,                \
        .penalty = {MEI_P_NORM, 0.05, 6.0}, .image_op = {NORM(3.0)}, .gradient_op = {    \
            {.kind = IMAGE_BLUR,                                                         \
             .sigma_y = 1.0,                                                             \
             .sigma_x = 1.0,                                                             \
             .truncate = 3.0,                                                            \
             .pad = IMAGE_REPLICATE}                                                     \
        }                                                                                \
    }
#define SGD_PLAIN                                                                        \
    {                                                                                    \
        .n_members = 1, .n_images = 1, .rule = MEI_GRADIENT, .step = 1.0                 \
    }
/* Walker et al. 2019: iterations count from 1; decays as for 1,000 steps. */
#define WALKER                                                                           \
    {                                                                                    \
        .n_members = 1, .n_images = 1, .rule = MEI_GRADIENT, .step = 1.0,                \
        .first_iteration = 1,                                                            \
        .gradient_op = {{.kind = IMAGE_FOURIER, .amount = 0.04},                         \
                        {.kind = IMAGE_MEAN_ABS},                                        \
                        {.kind = IMAGE_SCALE,                                            \
                         .amount = 1.0 / 850.0,                                          \
                         .decay = (1.0 / 20400.0 - 1.0 / 850.0) / 999.0}},               \
        .image_op = {                                                                    \
            {.kind = IMAGE_CLIP,                                                         \
             .low = -111.28 / 60.92,                                                     \
             .high = (255.0 - 111.28) / 60.92},                                          \
            {.kind = IMAGE_BLUR,                                                         \
             .sigma_y = 1.5,                                                             \
             .sigma_x = 1.5,                                                             \
             .decay = (0.01 - 1.5) / 999.0}                                              \
        }                                                                                \
    }

static struct run runs[] = {
    {"tiny_dense", "mei_sgd_blur_norm", 100, SGD_BLUR_NORM(1.0, 3.0), 1, {"model"}},
    {"tiny_dense", "mei_adam_blur_norm", 100, ADAM_BLUR_NORM(3.0), 1, {"model"}},
    {"tiny_dense", "mei_sgd_changestd", 100, SGD_STD(0.1875), 1, {"model"}},
    {"tiny_dense", "mei_sgd_pnorm_clip", 100, SGD_CLIP(1.0, 3.0), 1, {"model"}},
    {"tiny_dense", "mei_sgd_plain", 100, SGD_PLAIN, 1, {"model"}},
    {"tiny_dense", "mei_sgd_blur_clipnorm_tv", 100, SGD_PENALTY, 1, {"model"}},
    {"tiny_dense", "mei_walker", 200, WALKER, 1, {"model"}},
    {"tiny_ds", "mei_sgd_blur_norm", 100, SGD_BLUR_NORM(1.0, 3.0), 1, {"model"}},
    {"tiny_ds", "mei_adam_blur_norm", 100, ADAM_BLUR_NORM(3.0), 1, {"model"}},
    {"tiny_ds", "mei_sgd_changestd", 100, SGD_STD(0.1875), 1, {"model"}},
    {"tiny_ds", "mei_sgd_pnorm_clip", 100, SGD_CLIP(1.0, 3.0), 1, {"model"}},
    {"tiny_ds", "mei_sgd_plain", 100, SGD_PLAIN, 1, {"model"}},
    {"tiny_ds", "mei_sgd_blur_clipnorm_tv", 100, SGD_PENALTY, 1, {"model"}},
    {"tiny_ds", "mei_walker", 200, WALKER, 1, {"model"}},
    {"tiny_ensemble2",
     "mei_sgd_blur_norm",
     100,
     SGD_BLUR_NORM(1.0, 3.0),
     2,
     {"model0", "model1"}},
    {"full_ds_100", "mei_sgd_blur_norm", 100, SGD_BLUR_NORM(10.0, 10.0), 1, {"model"}},
    {"full_ds_100", "mei_sgd_changestd", 100, SGD_STD(0.20833333333333334), 1, {"model"}},
    {"full_ds_100", "mei_sgd_pnorm_clip", 100, SGD_CLIP(10.0, 10.0), 1, {"model"}},
    {"full_ds_100", "mei_walker", 1000, WALKER, 1, {"model"}},
    {"full_ds_1000", "mei_sgd_blur_norm", 100, SGD_BLUR_NORM(10.0, 10.0), 1, {"model"}},
    {"full_ds_1000", "mei_adam_blur_norm", 100, ADAM_BLUR_NORM(10.0), 1, {"model"}},
    {"full_dense_1000",
     "mei_sgd_blur_norm",
     100,
     SGD_BLUR_NORM(10.0, 10.0),
     1,
     {"model"}},
    {"full_dense_1000", "mei_adam_blur_norm", 100, ADAM_BLUR_NORM(10.0), 1, {"model"}},
};

static double *run_array(const struct run *run, const char *what, size_t *n)
{
    return fixture_doubles(
        fixture_path("fixtures/%s/%s_%s.npy", run->folder, run->name, what), n);
}

static double worst_difference(size_t n, const float *got, const double *want)
{
    double worst = 0.0;
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= worst))
            worst = fabs((double)got[i] - want[i]);
    return worst;
}

static void check_run(struct run *run)
{
    struct twin *twin[2] = {NULL, NULL};
    struct mei_member member[2];
    size_t n, n_eval, n_start;
    const char *config =
        strcmp(run->folder, "tiny_ensemble2") == 0 ? "tiny_dense" : run->folder;
    uint32_t unit = (uint32_t)fixture_number(
        fixture_path("fixtures/%s/config.json", config), "fixture.neuron");
    float weight = 1.0f / (float)run->n_models;
    for (int m = 0; m < run->n_models; m++) {
        char why[256];
        twin[m] = twin_open(
            fixture_path("fixtures/%s/%s.safetensors", run->folder, run->models[m]),
            fixture_path("fixtures/%s/config.json", config), NULL, why, sizeof why);
        if (!twin[m])
            fail_msg("%s: %s", run->folder, why);
        member[m] = (struct mei_member){twin[m], NULL, &unit, &weight, 1};
    }
    float *start = fixture_floats(
        fixture_path("fixtures/%s/%s_start.npy", run->folder, run->name), &n_start);
    double *end = run_array(run, "end_f64", &n);
    double *eval = run_array(run, "eval_f64", &n_eval);
    assert_int_equal(n_eval, run->n_steps + 1);
    run->conf.members = member;
    run->conf.n_members = run->n_models;
    assert_null(mei_check(&run->conf));
    void *mem = fixture_work(mei_size(&run->conf));
    struct mei *mei = mei_init(mem, &run->conf, start);
    double rate_error = 0.0;
    float *ignored = calloc(n, sizeof *ignored);
    for (int i = 0; i <= run->n_steps; i++) {
        double penalty = 0.0; /* the package notes the rate without it */
        if (run->conf.penalty.kind == MEI_P_NORM)
            penalty = run->conf.penalty.weight *
                      image_p_norm(n, mei_images(mei), run->conf.penalty.p, 0.0, ignored);
        double rate = i < run->n_steps ? mei_step(mei) : mei_objective(mei);
        rate_error =
            fmax(rate_error, fabs(rate + penalty - eval[i]) / fmax(eval[i], 1.0));
    }
    double error = worst_difference(n, mei_images(mei), end);
    print_message("%-16s %-25s pixels %.1e, rates %.1e\n", run->folder, run->name, error,
                  rate_error);
    assert_true(error <= PIXEL_TOLERANCE);
    assert_true(rate_error <= 1e-4);
    free(mem);
    free(ignored);
    free(start);
    free(end);
    free(eval);
    for (int m = 0; m < run->n_models; m++)
        twin_close(twin[m]);
}

static void every_recipe_ends_where_the_package_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        check_run(&runs[i]);
}

/* Four images that all excite one neuron but do not resemble each other. */
static void diverse_inputs(void **state)
{
    (void)state;
    struct twin *twin = fixture_twin(fixture_path("fixtures/tiny_dei/model.safetensors"));
    size_t n, n_eval;
    float *start = fixture_floats(fixture_path("fixtures/tiny_dei/start.npy"), &n);
    double *end = fixture_doubles(fixture_path("fixtures/tiny_dei/end_f64.npy"), &n);
    double *eval =
        fixture_doubles(fixture_path("fixtures/tiny_dei/eval_f64.npy"), &n_eval);
    double *reg = fixture_doubles(fixture_path("fixtures/tiny_dei/reg_f64.npy"), &n_eval);
    uint32_t unit = 3;
    float one = 1.0f;
    struct mei_member member = {twin, NULL, &unit, &one, 1};
    struct mei_conf conf = {.members = &member,
                            .n_members = 1,
                            .n_images = 4,
                            .rule = MEI_GRADIENT,
                            .step = 10.0,
                            .first_iteration = 1,
                            .penalty = {MEI_SIMILARITY, 1.0, 0.0},
                            .image_op = {{.kind = IMAGE_STD, .amount = 0.2}}};
    void *mem = fixture_work(mei_size(&conf));
    struct mei *mei = mei_init(mem, &conf, start);
    double worst = 0.0;
    for (int i = 0; i <= 100; i++) {
        double objective = i < 100 ? mei_step(mei) : mei_objective(mei);
        worst = fmax(worst, fabs(objective - (eval[i] - reg[i])));
    }
    double error = worst_difference(n, mei_images(mei), end);
    print_message("tiny_dei pixels %.1e, objective %.1e\n", error, worst);
    assert_true(error <= 1e-2 && worst <= 1e-2);
    free(mem);
    free(start);
    free(end);
    free(eval);
    free(reg);
    twin_close(twin);
}

int main(void)
{
    fixture_require();
    ops_flush_denormals(); /* as every worker does */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipe_ends_where_the_package_does),
        cmocka_unit_test(diverse_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
