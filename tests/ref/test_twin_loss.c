/* Losses, regularisers and a few steps of training the readout (batch norm frozen)
 * against float64 PyTorch. */
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
#include "models/safetensors.h"
#include "models/twin_loss.h"

#define TOLERANCE 1e-5

static const char *const folders[] = {
    "tiny_dense",       "tiny_ds",         "tiny_bn_nobias",     "tiny_bn_noscale",
    "tiny_dilation2",   "tiny_factorized", "tiny_gridpred",      "tiny_iso",
    "tiny_linear",      "tiny_nobn",       "tiny_nofinalnl",     "tiny_pad",
    "tiny_pointpooled", "tiny_se2d",       "tiny_softplus_core", "tiny_stack_all",
    "tiny_stride2",     "tiny_uncorr",     "full_ds_100",        "full_ds_1000",
    "full_dense_1000",
};

static double stated(const char *folder, const char *what)
{
    char keys[128];
    snprintf(keys, sizeof keys, "fixture.loss.%s_f64", what);
    return fixture_number(fixture_path("fixtures/%s/config.json", folder), keys);
}

static void check(const char *folder, const char *what, double got)
{
    double want = stated(folder, what), error = fabs(got / want - 1.0);
    if (!(error <= TOLERANCE))
        fail_msg("%s %s: %.9g, expected %.9g", folder, what, got, want);
}

static void losses(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        struct twin *twin =
            fixture_twin(fixture_path("fixtures/%s/model.safetensors", folders[f]));
        size_t n, n_counts, n_units = (size_t)twin->readout.n_units;
        float *input =
            fixture_floats(fixture_path("fixtures/%s/inputs.npy", folders[f]), &n);
        float *count =
            fixture_floats(fixture_path("fixtures/%s/counts.npy", folders[f]), &n_counts);
        struct twin_view view;
        twin_view_whole(twin, NULL, NULL, (int)n_units, &view);
        void *work = fixture_work(view.work_size);
        float *rate = calloc(2 * n_units, sizeof *rate);
        size_t n_images = n_counts / n_units, n_pixels = n / n_images;
        double sum = 0.0;
        for (size_t i = 0; i < n_images; i++) {
            twin_forward(twin, &view, work, input + i * n_pixels, rate);
            sum += twin_poisson((int)n_units, rate, count + i * n_units, 1.0,
                                rate + n_units);
        }
        check(folders[f], "poisson_sum", sum);
        check(folders[f], "core_regularizer", twin_penalty_core(twin, NULL));
        check(folders[f], "readout_regularizer", twin_penalty_readout(twin, NULL));
        free(input);
        free(count);
        free(work);
        free(rate);
        twin_close(twin);
    }
}

/* One recipe of the reference: so many steps, batches of inputs in order. */
struct recipe {
    const char *folder, *name;
    int n_steps, batch, all, adam;
    double rate;
};

static const struct recipe recipes[] = {
    {"tiny_dense", "online_readout_sgd_bs1", 5, 1, 0, 0, 1e-4},
    {"tiny_dense", "online_readout_adam_bs1", 5, 1, 0, 1, 1e-3},
    {"tiny_dense", "online_all_adam_bs2", 3, 2, 1, 1, 1e-3},
    {"tiny_ds", "online_readout_sgd_bs1", 5, 1, 0, 0, 1e-4},
    {"tiny_ds", "online_readout_adam_bs1", 5, 1, 0, 1, 1e-3},
    {"tiny_ds", "online_all_adam_bs2", 3, 2, 1, 1, 1e-3},
    {"full_ds_100", "online_readout_sgd_bs1", 5, 1, 0, 0, 1e-4},
    {"full_ds_100", "online_readout_adam_bs1", 5, 1, 0, 1, 1e-3},
};

struct training {
    struct twin *twin;
    struct twin_view view;
    void *work;
    float *input, *count, *rate, *weight_grad, *raw_grad;
    double *mean, *square;
    unsigned char *idle; /* (n_raw) first gradient was 0 but for rounding */
    size_t n_pixels, n_units;
};

static void adam(struct training *t, const struct recipe *recipe, int step)
{
    double c1 = 1.0 - pow(0.9, step), c2 = 1.0 - pow(0.999, step);
    for (int p = 0; p < t->twin->n_params; p++) {
        const struct twin_param *param = &t->twin->param[p];
        int core = strncmp(param->name, "core.", 5) == 0;
        int fixed = !param->trainable || p == t->twin->sigma_param;
        for (size_t i = param->offset; i < param->offset + param->count; i++) {
            double g = (double)t->raw_grad[i];
            if (fixed || (core && !recipe->all))
                continue;
            t->mean[i] = 0.9 * t->mean[i] + 0.1 * g;
            t->square[i] = 0.999 * t->square[i] + 0.001 * g * g;
            double move =
                recipe->adam ? t->mean[i] / c1 / (sqrt(t->square[i] / c2) + 1e-8) : g;
            t->twin->raw[i] -= (float)(recipe->rate * move);
        }
    }
    twin_fold(t->twin);
}

static double train_step(struct training *t, const struct recipe *recipe, int step)
{
    double scale = sqrt(4472.0 / recipe->batch), loss = 0.0;
    twin_clamp_positions(t->twin);
    memset(t->weight_grad, 0, t->twin->n_forward * sizeof(float));
    for (int b = 0; b < recipe->batch; b++) {
        size_t at = (size_t)((step - 1) * recipe->batch + b);
        const float *image = t->input + at * t->n_pixels;
        twin_forward(t->twin, &t->view, t->work, image, t->rate);
        loss += scale * twin_poisson((int)t->n_units, t->rate, t->count + at * t->n_units,
                                     scale, t->rate + t->n_units);
        twin_backward(t->twin, &t->view, t->work, image, t->rate + t->n_units, NULL,
                      t->weight_grad);
    }
    twin_fold_grad(t->twin, t->weight_grad, t->raw_grad);
    loss += twin_penalty_readout(t->twin, t->raw_grad);
    if (recipe->all)
        loss += twin_penalty_core(t->twin, t->raw_grad);
    adam(t, recipe, step);
    return loss;
}

/* Adam's first step is the sign of the gradient: where the gradient is 0 but for rounding
 * (a bias that batch norm or a kernel of sum 0 takes away), it is a coin toss;
 * those few follow the reference's coin. */
static void mark_idle(struct training *t)
{
    size_t n_idle = 0;
    for (int p = 0; p < t->twin->n_params; p++) {
        const struct twin_param *param = &t->twin->param[p];
        float largest = 0.0f;
        for (size_t i = param->offset; i < param->offset + param->count; i++)
            largest = fmaxf(largest, fabsf(t->raw_grad[i]));
        for (size_t i = param->offset; i < param->offset + param->count; i++) {
            t->idle[i] = fabsf(t->raw_grad[i]) < 1e-5f * largest;
            n_idle += t->idle[i];
        }
    }
    assert_true(n_idle <= t->twin->n_raw / 50);
}

/* Parameters after a step. Largest difference over the largest parameter. */
static double parameter_error(const struct training *t, const struct recipe *recipe,
                              int step)
{
    char why[256];
    const char *path = fixture_path("fixtures/%s/%s_step%d.safetensors", recipe->folder,
                                    recipe->name, step);
    if (!fixture_exists(path))
        return 0.0;
    struct safetensors *file = safetensors_open(path, why, sizeof why);
    assert_non_null(file);
    double worst = 0.0;
    int n_checked = 0;
    for (int i = 0; i < safetensors_count(file); i++) {
        const struct safetensors_tensor *tensor = safetensors_at(file, i);
        int p = twin_find_param(t->twin, tensor->name);
        if (p < 0)
            continue;
        float *want = malloc(tensor->count * sizeof *want);
        double *as_double = malloc(tensor->count * sizeof *as_double);
        assert_int_equal(safetensors_floats(tensor, want), 0);
        float *raw = t->twin->raw + t->twin->param[p].offset;
        for (size_t j = 0; j < tensor->count; j++) {
            as_double[j] = (double)want[j];
            if (t->idle[t->twin->param[p].offset + j])
                raw[j] = want[j]; /* the same coin */
        }
        double error = fixture_error(tensor->count,
                                     t->twin->raw + t->twin->param[p].offset, as_double);
        if (error > 1e-4)
            print_message("%s %s %s: %.1e\n", recipe->folder, recipe->name, tensor->name,
                          error);
        worst = fmax(worst, error);
        n_checked++;
        free(want);
        free(as_double);
    }
    assert_true(n_checked >= 3);
    twin_fold(t->twin);
    safetensors_close(file);
    return worst;
}

static void training_steps(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof recipes / sizeof *recipes; r++) {
        const struct recipe *recipe = &recipes[r];
        struct training t;
        size_t n, n_counts, n_losses;
        t.twin =
            fixture_twin(fixture_path("fixtures/%s/model.safetensors", recipe->folder));
        t.input =
            fixture_floats(fixture_path("fixtures/%s/inputs.npy", recipe->folder), &n);
        t.count = fixture_floats(fixture_path("fixtures/%s/counts.npy", recipe->folder),
                                 &n_counts);
        t.n_units = (size_t)t.twin->readout.n_units;
        t.n_pixels = n / (n_counts / t.n_units);
        twin_view_whole(t.twin, NULL, NULL, (int)t.n_units, &t.view);
        t.work = fixture_work(t.view.work_size);
        t.rate = calloc(2 * t.n_units, sizeof *t.rate);
        t.weight_grad = calloc(t.twin->n_forward, sizeof *t.weight_grad);
        t.raw_grad = calloc(t.twin->n_raw, sizeof *t.raw_grad);
        t.mean = calloc(t.twin->n_raw, sizeof *t.mean);
        t.square = calloc(t.twin->n_raw, sizeof *t.square);
        t.idle = calloc(t.twin->n_raw, 1);
        double *want = fixture_doubles(
            fixture_path("fixtures/%s/%s_losses_f64.npy", recipe->folder, recipe->name),
            &n_losses);
        assert_int_equal(n_losses, recipe->n_steps);
        double loss_error = 0.0, error = 0.0;
        for (int step = 1; step <= recipe->n_steps; step++) {
            double loss = train_step(&t, recipe, step);
            if (step == 1)
                mark_idle(&t);
            loss_error = fmax(loss_error, fabs(loss / want[step - 1] - 1.0));
            error = fmax(error, parameter_error(&t, recipe, step));
        }
        print_message("%-12s %-24s losses %.1e, parameters %.1e\n", recipe->folder,
                      recipe->name, loss_error, error);
        assert_true(loss_error <= TOLERANCE && error <= 1e-4);
        free(t.input);
        free(t.count);
        free(t.work);
        free(t.rate);
        free(t.weight_grad);
        free(t.raw_grad);
        free(t.mean);
        free(t.square);
        free(t.idle);
        free(want);
        twin_close(t.twin);
    }
}

int main(void)
{
    fixture_require();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses),
        cmocka_unit_test(training_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
