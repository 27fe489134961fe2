/* Networks of random architecture against the plainest double arithmetic: rates, and
 * every gradient by finite differences of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/twin.h"
#include "twin_naive.h"

#define N_NETS   30
#define SENTINEL 12345.0f

static uint64_t seed;

/* A network, in both forms, with an image and weights of the units' rates. */
struct pair {
    struct naive naive;
    struct twin *twin;
    struct random random;
    size_t n_pixels;
    double *image;
    float *image_float, weight[8];
};

static struct pair open_pair(int index)
{
    struct pair pair;
    char path[] = "/tmp/test_twin_XXXXXX", why[256];
    random_init(&pair.random, seed, (uint64_t)index);
    naive_make(&pair.naive, &pair.random);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(naive_write(&pair.naive, path), 0);
    pair.twin = twin_open(path, NULL, NULL, why, sizeof why);
    unlink(path);
    if (!pair.twin)
        fail_msg("net %d: %s\n%s", index, why, pair.naive.config);
    pair.n_pixels = (size_t)(pair.naive.channels * pair.naive.height * pair.naive.width);
    pair.image = malloc(pair.n_pixels * sizeof *pair.image);
    pair.image_float = malloc(pair.n_pixels * sizeof *pair.image_float);
    for (size_t i = 0; i < pair.n_pixels; i++) {
        pair.image_float[i] = (float)random_normal(&pair.random);
        pair.image[i] = (double)pair.image_float[i];
    }
    for (int i = 0; i < 8; i++)
        pair.weight[i] = (float)random_normal(&pair.random);
    return pair;
}

static void close_pair(struct pair *pair)
{
    naive_free(&pair->naive);
    twin_close(pair->twin);
    free(pair->image);
    free(pair->image_float);
}

/* Memory for a view, full of NaN: nothing may be read before it is written. */
static void *work_for(const struct twin_view *view)
{
    size_t size = (view->work_size + 63) / 64 * 64 + 64;
    float *work = aligned_alloc(64, size);
    for (size_t i = 0; i < size / sizeof *work; i++)
        work[i] = NAN;
    work[view->work_size / sizeof *work] = SENTINEL;
    return work;
}

static void check_sentinel(const struct twin_view *view, const void *work)
{
    assert_true(((const float *)work)[view->work_size / sizeof(float)] == SENTINEL);
}

static double weighted_rate(struct pair *pair)
{
    double rate[8], sum = 0.0;
    naive_rates(&pair->naive, pair->image, rate);
    for (int i = 0; i < pair->naive.n_units; i++)
        sum += (double)pair->weight[i] * rate[i];
    return sum;
}

/* Slope of the plain arithmetic at one of its numbers, from both sides; NaN where the two
 * disagree (a kink of ELU, of the grid between pixels, of a clamp). */
static double slope(struct pair *pair, double *number)
{
    double was = *number, h = 1e-5, at = weighted_rate(pair);
    *number = was + h;
    double up = (weighted_rate(pair) - at) / h;
    *number = was - h;
    double down = (at - weighted_rate(pair)) / h;
    *number = was;
    return fabs(up - down) < 1e-3 * (1.0 + fabs(up)) ? 0.5 * (up + down) : (double)NAN;
}

static void rates(void **state)
{
    (void)state;
    double worst = 0.0;
    for (int net = 0; net < N_NETS; net++) {
        struct pair pair = open_pair(net);
        struct twin_view view;
        double want[8];
        float rate[8] = {0};
        rate[pair.naive.n_units] = SENTINEL;
        twin_view_whole(pair.twin, NULL, NULL, pair.naive.n_units, &view);
        memcpy(view.shift, pair.naive.shift, sizeof view.shift);
        void *work = work_for(&view);
        twin_forward(pair.twin, &view, work, pair.image_float, rate);
        check_sentinel(&view, work);
        assert_true(rate[pair.naive.n_units] == SENTINEL);
        naive_rates(&pair.naive, pair.image, want);
        for (int i = 0; i < pair.naive.n_units; i++) {
            double error = fabs((double)rate[i] - want[i]) / (fabs(want[i]) + 1e-2);
            if (!(error < 1e-4))
                fail_msg("net %d unit %d: %g, expected %g\n%s", net, i, (double)rate[i],
                         want[i], pair.naive.config);
            worst = fmax(worst, error);
        }
        free(work);
        close_pair(&pair);
    }
    print_message("rates: worst %.1e\n", worst);
}

/* Every unit alone, from its window: the same bits as from the whole maps. */
static void windows_have_the_bits_of_the_whole(void **state)
{
    (void)state;
    for (int net = 0; net < N_NETS; net++) {
        struct pair pair = open_pair(net);
        float *whole_grad = malloc(pair.n_pixels * sizeof *whole_grad);
        float *grad = malloc(pair.n_pixels * sizeof *grad), rate[2];
        for (uint32_t unit = 0; unit < (uint32_t)pair.naive.n_units; unit++) {
            struct twin_view whole, window;
            twin_view_whole(pair.twin, NULL, &unit, 1, &whole);
            memcpy(whole.shift, pair.naive.shift, sizeof whole.shift);
            twin_view_units(pair.twin, NULL, &unit, 1, pair.naive.shift, &window);
            void *work = work_for(&whole), *small = work_for(&window);
            /* what lies outside the window is not read */
            float *inside = malloc(pair.n_pixels * sizeof *inside);
            for (size_t i = 0; i < pair.n_pixels; i++) {
                int y = (int)i / pair.naive.width % pair.naive.height;
                int x = (int)i % pair.naive.width;
                int is_in = y >= window.image.y && y < window.image.y + window.image.h &&
                            x >= window.image.x && x < window.image.x + window.image.w;
                inside[i] = is_in ? pair.image_float[i] : NAN;
            }
            twin_forward(pair.twin, &whole, work, pair.image_float, &rate[0]);
            twin_forward(pair.twin, &window, small, inside, &rate[1]);
            twin_backward(pair.twin, &whole, work, NULL, pair.weight, whole_grad, NULL);
            twin_backward(pair.twin, &window, small, NULL, pair.weight, grad, NULL);
            check_sentinel(&window, small);
            if (rate[0] != rate[1])
                fail_msg("net %d unit %u: %.9g whole, %.9g window", net, unit,
                         (double)rate[0], (double)rate[1]);
            for (size_t i = 0; i < pair.n_pixels; i++)
                if (whole_grad[i] != grad[i])
                    fail_msg("net %d unit %u pixel %zu: %.9g whole, %.9g window", net,
                             unit, i, (double)whole_grad[i], (double)grad[i]);
            free(work);
            free(small);
            free(inside);
        }
        free(whole_grad);
        free(grad);
        close_pair(&pair);
    }
}

static int check_slope(struct pair *pair, double *number, float got, double scale,
                       const char *what, int net)
{
    double want = slope(pair, number);
    if (isnan(want))
        return 0;
    if (!(fabs((double)got - want) <= 2e-3 * (scale + fabs(want)) + 1e-7))
        fail_msg("net %d %s: %g, expected %g\n%s", net, what, (double)got, want,
                 pair->naive.config);
    return 1;
}

static float largest(const float *values, size_t n)
{
    float most = 0.0f;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(values[i]));
    return most;
}

static void gradients(void **state)
{
    (void)state;
    int n_checked = 0, n_skipped = 0;
    for (int net = 0; net < N_NETS; net++) {
        struct pair pair = open_pair(net);
        struct twin *twin = pair.twin;
        struct twin_view view;
        float rate[8], *image_grad = malloc(pair.n_pixels * sizeof *image_grad);
        float *weight_grad = calloc(twin->n_forward, sizeof *weight_grad);
        float *raw_grad = malloc(twin->n_raw * sizeof *raw_grad);
        twin_view_whole(twin, NULL, NULL, pair.naive.n_units, &view);
        memcpy(view.shift, pair.naive.shift, sizeof view.shift);
        void *work = work_for(&view);
        twin_forward(twin, &view, work, pair.image_float, rate);
        twin_backward(twin, &view, work, pair.image_float, pair.weight, image_grad,
                      weight_grad);
        twin_fold_grad(twin, weight_grad, raw_grad);
        double scale = (double)largest(image_grad, pair.n_pixels);
        for (int i = 0; i < 8; i++) {
            size_t at = random_below(&pair.random, (uint32_t)pair.n_pixels);
            int done =
                check_slope(&pair, &pair.image[at], image_grad[at], scale, "image", net);
            n_checked += done;
            n_skipped += !done;
        }
        for (int t = 0; t < pair.naive.n_tensors; t++) {
            struct naive_tensor *tensor = &pair.naive.tensor[t];
            int p = twin_find_param(twin, tensor->name);
            if (p < 0)
                fail_msg("net %d: %s was not taken", net, tensor->name);
            const float *grad = raw_grad + twin->param[p].offset;
            scale = (double)largest(grad, tensor->count);
            for (int i = 0; i < 4 && tensor->trainable; i++) {
                size_t at = random_below(&pair.random, (uint32_t)tensor->count);
                int done = check_slope(&pair, &tensor->value[at], grad[at], scale,
                                       tensor->name, net);
                n_checked += done;
                n_skipped += !done;
            }
            for (size_t i = 0; i < tensor->count && !tensor->trainable; i++)
                assert_true(grad[i] == 0.0f);
        }
        free(work);
        free(image_grad);
        free(weight_grad);
        free(raw_grad);
        close_pair(&pair);
    }
    print_message("%d slopes checked, %d at kinks left out\n", n_checked, n_skipped);
    assert_true(n_checked > 20 * n_skipped);
}

/* A file that was saved is the same model. */
static void saving_keeps_everything(void **state)
{
    (void)state;
    for (int net = 0; net < 5; net++) {
        struct pair pair = open_pair(net);
        char path[] = "/tmp/test_twin_XXXXXX", why[256], text[4096];
        int fd = mkstemp(path);
        close(fd);
        assert_int_equal(twin_save(pair.twin, path), 0);
        struct twin *again = twin_open(path, NULL, NULL, why, sizeof why);
        if (!again)
            fail_msg("%s", why);
        assert_int_equal(again->n_weight, pair.twin->n_weight);
        assert_memory_equal(again->weight, pair.twin->weight,
                            again->n_weight * sizeof(float));
        twin_describe(again, text, sizeof text);
        assert_non_null(strstr(text, "core: "));
        char small[16];
        twin_describe(again, small, sizeof small);
        assert_true(strlen(small) < sizeof small);
        twin_close(again);
        unlink(path);
        close_pair(&pair);
    }
}

/* A feature vector read at a neuron's position gives the neuron's rate. */
static void features_are_what_the_readout_reads(void **state)
{
    (void)state;
    int n_checked = 0;
    for (int net = 0; net < N_NETS; net++) {
        struct pair pair = open_pair(net);
        const struct twin_readout *readout = &pair.twin->readout;
        for (uint32_t unit = 0;
             readout->kind == TWIN_POINT && unit < (uint32_t)readout->n_units; unit++) {
            struct twin_view view;
            float rate, *feature = malloc((size_t)readout->n_features * sizeof *feature);
            twin_view_units(pair.twin, NULL, &unit, 1, pair.naive.shift, &view);
            void *work = work_for(&view);
            twin_forward(pair.twin, &view, work, pair.image_float, &rate);
            twin_features(pair.twin, &view, work, readout->pos + 2 * unit, feature);
            double z = (double)readout->bias[unit] + readout->elu_offset;
            for (int i = 0; i < readout->n_features; i++)
                z += (double)feature[i] *
                     (double)readout->feature[(int)unit * readout->n_features + i];
            double want = z > 0.0 ? z + 1.0 : exp(z);
            assert_true(fabs((double)rate - want) < 1e-4 * (1.0 + want));
            n_checked++;
            free(work);
            free(feature);
        }
        close_pair(&pair);
    }
    assert_true(n_checked > N_NETS);
}

/* What is not understood is named. */
static void refusals_name_the_tensor(void **state)
{
    (void)state;
    static const struct {
        const char *rename, *to, *names;
    } cases[] = {
        {"core.features.layer0.conv.weight", "core.features.layer0.conv.wait",
         "core.features.layer0.conv.weight is missing"},
        {"readout.s.bias", "readout.s.bias2", "readout.s.bias2 is not understood"},
        {"readout.s.bias", "readout.s.scales", "readout.s.scales is not understood"},
        {"readout.s.bias", "core.other", "core.other is not understood"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair pair = open_pair(0);
        char path[] = "/tmp/test_twin_XXXXXX", why[256] = "";
        int fd = mkstemp(path);
        close(fd);
        for (int t = 0; t < pair.naive.n_tensors; t++)
            if (strcmp(pair.naive.tensor[t].name, cases[i].rename) == 0)
                snprintf(pair.naive.tensor[t].name, sizeof pair.naive.tensor[t].name,
                         "%s", cases[i].to);
        assert_int_equal(naive_write(&pair.naive, path), 0);
        assert_null(twin_open(path, NULL, NULL, why, sizeof why));
        if (!strstr(why, cases[i].names))
            fail_msg("\"%s\" is not \"%s\"", why, cases[i].names);
        unlink(path);
        close_pair(&pair);
    }
}

/* Several sessions share one core: which is meant must be said. */
static void sessions_are_told_apart(void **state)
{
    (void)state;
    struct pair pair = open_pair(0);
    char path[] = "/tmp/test_twin_XXXXXX", why[256] = "";
    struct naive_tensor *other = &pair.naive.tensor[pair.naive.n_tensors++];
    *other = (struct naive_tensor){.name = "readout.other-1._features",
                                   .n_dims = 1,
                                   .dims = {3},
                                   .count = 3,
                                   .value = calloc(3, sizeof(double))};
    int fd = mkstemp(path);
    close(fd);
    assert_int_equal(naive_write(&pair.naive, path), 0);
    assert_null(twin_open(path, NULL, NULL, why, sizeof why));
    assert_non_null(strstr(why, "several sessions"));
    assert_null(twin_open(path, NULL, "third", why, sizeof why));
    assert_non_null(strstr(why, "readout.third._features is missing"));
    struct twin *twin = twin_open(path, NULL, "s", why, sizeof why);
    if (!twin)
        fail_msg("%s", why);
    assert_string_equal(twin->key, "s");
    assert_int_equal(twin->n_other, 1);
    assert_int_equal(twin->n_weight, pair.twin->n_weight);
    twin_close(twin);
    assert_null(twin_open(path, "/nonexistent/config.json", NULL, why, sizeof why));
    assert_non_null(strstr(why, "/nonexistent/config.json"));
    unlink(path);
    close_pair(&pair);
}

int main(void)
{
    seed = getenv("EVOKE_SEED") ? strtoull(getenv("EVOKE_SEED"), NULL, 0) : 1;
    printf("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(windows_have_the_bits_of_the_whole),
        cmocka_unit_test(gradients),
        cmocka_unit_test(saving_keeps_everything),
        cmocka_unit_test(features_are_what_the_readout_reads),
        cmocka_unit_test(refusals_name_the_tensor),
        cmocka_unit_test(sessions_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
