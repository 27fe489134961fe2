/* Rates and gradients of every reference network against float64 PyTorch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "models/safetensors.h"
#include "models/twin.h"

#define TOLERANCE 1e-4

static const char *const folders[] = {
    "tiny_dense",       "tiny_ds",         "tiny_bn_nobias",     "tiny_bn_noscale",
    "tiny_dilation2",   "tiny_factorized", "tiny_gridpred",      "tiny_iso",
    "tiny_linear",      "tiny_nobn",       "tiny_nofinalnl",     "tiny_pad",
    "tiny_pointpooled", "tiny_se2d",       "tiny_softplus_core", "tiny_stack_all",
    "tiny_stride2",     "tiny_uncorr",     "full_ds_100",        "full_ds_1000",
    "full_dense_1000",
};

/* A network with its inputs and a view of all its neurons. */
struct net {
    struct twin *twin;
    struct twin_view view;
    void *work;
    float *input, *rate;
    size_t n_inputs, n_pixels, n_units;
};

static struct net open_net(const char *folder)
{
    struct net net;
    size_t n;
    net.twin = fixture_twin(fixture_path("fixtures/%s/model.safetensors", folder));
    net.input = fixture_floats(fixture_path("fixtures/%s/inputs.npy", folder), &n);
    const struct twin_config *config = &net.twin->config;
    net.n_pixels = (size_t)(config->channels * config->height * config->width);
    net.n_inputs = n / net.n_pixels;
    net.n_units = (size_t)net.twin->readout.n_units;
    net.rate = calloc(net.n_units * net.n_inputs, sizeof *net.rate);
    twin_view_whole(net.twin, NULL, NULL, (int)net.n_units, &net.view);
    net.work = fixture_work(net.view.work_size);
    return net;
}

static void close_net(struct net *net)
{
    twin_close(net->twin);
    free(net->input);
    free(net->rate);
    free(net->work);
}

static void check_rates(struct net *net, const char *folder)
{
    size_t n;
    double *want = fixture_doubles(fixture_path("fixtures/%s/rates_f64.npy", folder), &n);
    assert_int_equal(n, net->n_inputs * net->n_units);
    for (size_t i = 0; i < net->n_inputs; i++)
        twin_forward(net->twin, &net->view, net->work, net->input + i * net->n_pixels,
                     net->rate + i * net->n_units);
    double error = fixture_error_each(n, net->rate, want);
    print_message("%-20s rates %.1e\n", folder, error);
    assert_true(error <= TOLERANCE);
    free(want);
}

static void rates(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        struct net net = open_net(folders[f]);
        check_rates(&net, folders[f]);
        close_net(&net);
    }
    const char *folded[] = {"tiny_dense_bnfolded", "tiny_ds_bnfolded"};
    for (size_t f = 0; f < 2; f++) {
        struct net net = open_net(folded[f]);
        check_rates(&net, folded[f]);
        close_net(&net);
    }
}

/* One neuron's gradient at the image: from whole maps, and from its receptive field's
 * windows only, which must give the same bits. */
static void image_gradients(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        struct net net = open_net(folders[f]);
        uint32_t unit = (uint32_t)fixture_number(
            fixture_path("fixtures/%s/config.json", folders[f]), "fixture.neuron");
        size_t n;
        double *want = fixture_doubles(
            fixture_path("fixtures/%s/grad_image_f64.npy", folders[f]), &n);
        assert_int_equal(n, net.n_inputs * net.n_pixels);
        struct twin_view whole, cone;
        twin_view_whole(net.twin, NULL, &unit, 1, &whole);
        twin_view_units(net.twin, NULL, &unit, 1, NULL, &cone);
        void *work = fixture_work(whole.work_size), *small = fixture_work(cone.work_size);
        float *got = calloc(n, sizeof *got), *other = calloc(n, sizeof *other);
        float one = 1.0f, rate[2];
        for (size_t i = 0; i < net.n_inputs; i++) {
            const float *image = net.input + i * net.n_pixels;
            twin_forward(net.twin, &whole, work, image, &rate[0]);
            twin_backward(net.twin, &whole, work, NULL, &one, got + i * net.n_pixels,
                          NULL);
            twin_forward(net.twin, &cone, small, image, &rate[1]);
            twin_backward(net.twin, &cone, small, NULL, &one, other + i * net.n_pixels,
                          NULL);
            assert_memory_equal(&rate[0], &rate[1], sizeof rate[0]);
        }
        double error = fixture_error(n, got, want);
        print_message("%-20s image gradient %.1e, window %dx%d of %dx%d\n", folders[f],
                      error, cone.image.h, cone.image.w, net.twin->config.height,
                      net.twin->config.width);
        assert_true(error <= TOLERANCE);
        for (size_t i = 0; i < n; i++)
            assert_true(got[i] == other[i]);
        free(got);
        free(other);
        free(want);
        free(work);
        free(small);
        close_net(&net);
    }
}

/* Gradient of the Poisson loss summed over all inputs and neurons, at every parameter. */
static float *loss_gradient(struct net *net, const float *count)
{
    float *weight_grad = calloc(net->twin->n_forward, sizeof *weight_grad);
    float *raw_grad = calloc(net->twin->n_raw, sizeof *raw_grad);
    float *rate_grad = calloc(net->n_units, sizeof *rate_grad);
    for (size_t i = 0; i < net->n_inputs; i++) {
        const float *image = net->input + i * net->n_pixels;
        float *rate = net->rate + i * net->n_units;
        twin_forward(net->twin, &net->view, net->work, image, rate);
        for (size_t u = 0; u < net->n_units; u++)
            rate_grad[u] = (float)(1.0 - (double)count[i * net->n_units + u] /
                                             ((double)rate[u] + 1e-8));
        twin_backward(net->twin, &net->view, net->work, image, rate_grad, NULL,
                      weight_grad);
    }
    twin_fold_grad(net->twin, weight_grad, raw_grad);
    free(weight_grad);
    free(rate_grad);
    return raw_grad;
}

static int check_param(const struct twin *twin, const char *folder,
                       const struct twin_param *param, const float *grad, double *worst)
{
    const char *short_name = strrchr(param->name, '.') + 1;
    char name[TWIN_NAME];
    const char *transform = strstr(param->name, "mu_transform");
    snprintf(name, sizeof name, "%s", transform ? transform : short_name);
    const char *path = fixture_path("fixtures/%s/grad_readout.%s_f64.npy", folder, name);
    (void)twin;
    if (strncmp(param->name, "readout.", 8) != 0 || !fixture_exists(path))
        return 0;
    size_t n;
    double *want = fixture_doubles(path, &n);
    assert_int_equal(n, param->count);
    double error = fixture_error(n, grad + param->offset, want);
    if (strcmp(name, "sigma") == 0) /* positions are not sampled: no gradient */
        for (size_t i = 0; i < n; i++)
            assert_true(want[i] == 0.0 && grad[param->offset + i] == 0.0f);
    else if (error > *worst)
        *worst = error;
    if (error > TOLERANCE)
        print_message("%s %s: %.1e\n", folder, param->name, error);
    free(want);
    return 1;
}

static int check_core(const struct twin *twin, const char *folder, const float *grad,
                      double *worst)
{
    const char *path = fixture_path("fixtures/%s/grad_core_eval.safetensors", folder);
    char why[256];
    if (!fixture_exists(path))
        return 0;
    struct safetensors *file = safetensors_open(path, why, sizeof why);
    assert_non_null(file);
    for (int i = 0; i < safetensors_count(file); i++) {
        const struct safetensors_tensor *tensor = safetensors_at(file, i);
        int param = twin_find_param(twin, tensor->name);
        if (param < 0)
            fail_msg("%s: %s is no parameter", folder, tensor->name);
        float *values = malloc(tensor->count * sizeof *values);
        double *want = malloc(tensor->count * sizeof *want);
        assert_int_equal(safetensors_floats(tensor, values), 0);
        for (size_t j = 0; j < tensor->count; j++)
            want[j] = (double)values[j];
        double error =
            fixture_error(tensor->count, grad + twin->param[param].offset, want);
        /* a bias before batch norm in training mode has a gradient of about 0 */
        if (error > *worst)
            *worst = error;
        if (error > TOLERANCE)
            print_message("%s %s: %.1e\n", folder, tensor->name, error);
        free(values);
        free(want);
    }
    int n = safetensors_count(file);
    safetensors_close(file);
    return n;
}

static void parameter_gradients(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        struct net net = open_net(folders[f]);
        size_t n;
        float *count =
            fixture_floats(fixture_path("fixtures/%s/counts.npy", folders[f]), &n);
        net.n_inputs = n / net.n_units; /* where the file has fewer counts than images */
        float *grad = loss_gradient(&net, count);
        double readout = 0.0, core = 0.0;
        int n_readout = 0;
        for (int p = 0; p < net.twin->n_params; p++)
            n_readout +=
                check_param(net.twin, folders[f], &net.twin->param[p], grad, &readout);
        int n_core = check_core(net.twin, folders[f], grad, &core);
        print_message("%-20s readout %.1e (%d tensors), core %.1e (%d tensors)\n",
                      folders[f], readout, n_readout, core, n_core);
        assert_true(readout <= TOLERANCE && core <= TOLERANCE);
        assert_true(n_readout >= 3);
        free(grad);
        free(count);
        close_net(&net);
    }
}

static void shifted_rates(void **state)
{
    (void)state;
    struct net net = open_net("tiny_shifter");
    size_t n;
    float *pupil =
        fixture_floats(fixture_path("fixtures/tiny_shifter/pupil_center.npy"), &n);
    double *want =
        fixture_doubles(fixture_path("fixtures/tiny_shifter/rates_f64.npy"), &n);
    for (size_t i = 0; i < net.n_inputs; i++) {
        float *rate = net.rate + i * net.n_units;
        twin_shift(net.twin, pupil + 2 * i, net.view.shift);
        twin_forward(net.twin, &net.view, net.work, net.input + i * net.n_pixels, rate);
        for (uint32_t unit = 0; unit < net.n_units; unit++) {
            struct twin_view cone;
            float one;
            twin_view_units(net.twin, NULL, &unit, 1, net.view.shift, &cone);
            void *work = fixture_work(cone.work_size);
            twin_forward(net.twin, &cone, work, net.input + i * net.n_pixels, &one);
            assert_true(one == rate[unit]);
            free(work);
        }
    }
    double error = fixture_error_each(n, net.rate, want);
    print_message("tiny_shifter         rates %.1e\n", error);
    assert_true(error <= TOLERANCE);
    free(pupil);
    free(want);
    close_net(&net);
}

/* A really trained model: 7,776 neurons of mouse V1. Its config.json names no biases of
 * the separable convolutions (they are 0) and no positions (they are predicted). */
static void published_model(void **state)
{
    (void)state;
    const char *path = fixture_path("published/sensorium_sota/model.safetensors");
    if (!fixture_exists(path)) {
        print_message("SKIPPED: %s is not there\n", path);
        return;
    }
    const uint32_t units[] = {5128, 1371, 52, 917, 6433}; /* grad_units of config.json */
    struct twin *twin = fixture_twin(path);
    size_t n, n_rates, n_grad;
    float *input =
        fixture_floats(fixture_path("published/sensorium_sota/inputs.npy"), &n);
    double *rates_want =
        fixture_doubles(fixture_path("published/sensorium_sota/rates_f64.npy"), &n_rates);
    double *grad_want = fixture_doubles(
        fixture_path("published/sensorium_sota/grad_image0_f64.npy"), &n_grad);
    struct twin_view view;
    twin_view_whole(twin, NULL, NULL, twin->readout.n_units, &view);
    void *work = fixture_work(view.work_size);
    float *rate = calloc(n_rates, sizeof *rate);
    size_t n_units = (size_t)twin->readout.n_units, n_pixels = 36 * 64;
    assert_int_equal(n_units, 7776);
    assert_int_equal(n_rates, n / n_pixels * n_units);
    for (size_t i = 0; i < n / n_pixels; i++)
        twin_forward(twin, &view, work, input + i * n_pixels, rate + i * n_units);
    double rate_error = fixture_error_each(n_rates, rate, rates_want), grad_error = 0.0;
    assert_int_equal(n_grad, 5 * n_pixels);
    for (size_t u = 0; u < 5; u++) {
        struct twin_view cone;
        float one = 1.0f, out, *grad = calloc(n_pixels, sizeof *grad);
        twin_view_units(twin, NULL, &units[u], 1, NULL, &cone);
        void *small = fixture_work(cone.work_size);
        twin_forward(twin, &cone, small, input, &out);
        assert_true(out == rate[units[u]]);
        twin_backward(twin, &cone, small, NULL, &one, grad, NULL);
        double error = fixture_error(n_pixels, grad, grad_want + u * n_pixels);
        grad_error = error > grad_error ? error : grad_error;
        free(grad);
        free(small);
    }
    print_message("sensorium_sota       rates %.1e, image gradients %.1e\n", rate_error,
                  grad_error);
    assert_true(rate_error <= TOLERANCE && grad_error <= TOLERANCE);
    free(input);
    free(rates_want);
    free(grad_want);
    free(rate);
    free(work);
    twin_close(twin);
}

int main(void)
{
    fixture_require();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(image_gradients),
        cmocka_unit_test(parameter_gradients),
        cmocka_unit_test(shifted_rates),
        cmocka_unit_test(published_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
