/*
 * Rat retina, 6 cells, 30 min at 60 Hz: one online pass in order, then frozen on the
 * test sequence and compared with the average of its 54 repeats. Known there: ridge
 * .570, published LN filters .679, smooth LNP fitted offline .686.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/metrics.h"
#include "models/model.h"
#include "models/ops.h"
#include "shared.h"

enum {
    N_CELLS = 6,
    N_PX = 31,
    N_LAGS = 24,
    SEGMENT = 2160, /* frames that belong together */
    N_TEST = 400,
    N_REPEATS = 54
};

static struct npy stimulus, counts, stimulus_test, counts_test;
static float window[N_LAGS][N_PX];

static void push_frame(const struct npy *frames, size_t t)
{
    memmove(window[0], window[1], sizeof window - sizeof window[0]);
    for (int i = 0; i < N_PX; i++)
        window[N_LAGS - 1][i] =
            2.0F * (float)npy_get(frames, t * N_PX + (size_t)i) - 1.0F;
}

/* One pass; prints the prequential information of single bins on the way. */
static void learn(struct model *model)
{
    double gain = 0.0, sum[N_CELLS] = {0}, n_spikes = 0.0;
    size_t n_frames = stimulus.shape[0];
    for (size_t t = 0; t < n_frames; t++) {
        float rate[N_CELLS], count[N_CELLS];
        if (t % SEGMENT == 0)
            memset(window, 0, sizeof window);
        push_frame(&stimulus, t);
        npy_floats(&counts, t * N_CELLS, N_CELLS, count);
        model_predict(model, window[0], rate);
        for (int i = 0; i < N_CELLS; i++) {
            double y = (double)count[i], mean = (sum[i] + 1.0) / ((double)t + 2.0);
            double p = fmax((double)rate[i], 1e-30);
            gain += y * log(p / mean) - (p - mean);
            sum[i] += y;
            n_spikes += y;
        }
        model_learn(model, count);
        if ((t + 1) % (n_frames / 4) == 0)
            print_message("  %zu frames: %.3f bits a spike so far\n", t + 1,
                          gain / n_spikes / log(2.0));
    }
}

static double correlation(const double *a, const double *b, int n)
{
    struct metrics_corr corr = {0};
    for (int i = 0; i < n; i++)
        metrics_corr_add(&corr, a[i], b[i]);
    return metrics_corr_value(&corr, METRICS_EPS);
}

static double score(struct model *model)
{
    static double predicted[N_CELLS][N_TEST], average[N_CELLS][N_TEST];
    memset(average, 0, sizeof average);
    memset(window, 0, sizeof window);
    for (size_t t = 0; t < N_TEST; t++) {
        float rate[N_CELLS];
        push_frame(&stimulus_test, t);
        model_predict(model, window[0], rate);
        for (size_t i = 0; i < N_CELLS; i++) {
            predicted[i][t] = (double)rate[i];
            for (size_t r = 0; r < N_REPEATS; r++)
                average[i][t] += npy_get(&counts_test, (t * N_REPEATS + r) * N_CELLS + i);
        }
    }
    double mean = 0.0;
    for (int i = 0; i < N_CELLS; i++) {
        double r =
            correlation(predicted[i] + N_LAGS, average[i] + N_LAGS, N_TEST - N_LAGS);
        print_message("  cell %d: r %.3f\n", i, r);
        mean += r / N_CELLS;
    }
    return mean;
}

static void correlation_with_repeats(void **state)
{
    (void)state;
    const enum model_posterior posteriors[] = {POSTERIOR_UNIT, POSTERIOR_SHARED};
    for (int k = 0; k < 2; k++) {
        const struct model_conf conf = {.kind = MODEL_GLM,
                                        .front = FRONT_PIXELS,
                                        .posterior = posteriors[k],
                                        .n_units = N_CELLS,
                                        .n_frames = N_LAGS,
                                        .height = 1,
                                        .width = N_PX,
                                        .memory_bytes = 64u << 20,
                                        .prior_sd = 1.0,
                                        .smooth_px = 1.5,
                                        .smooth_frames = 2.0,
                                        .bias_sd = 3.0,
                                        .forgetting = 1.0};
        assert_null(model_check(&conf));
        void *mem = aligned_alloc(64, model_size(&conf));
        struct model *model = model_init(mem, &conf);
        clock_t start = clock();
        learn(model);
        double pass_s = (double)(clock() - start) / CLOCKS_PER_SEC;
        double r = score(model);
        print_message(
            "%s posterior: mean r %.4f (published LN filters .679, offline smooth "
            "LNP .686); one pass took %.1f s\n",
            k ? "shared" : "per-unit", r, pass_s);
        assert_true(r >= (k ? 0.68 : 0.685));
        free(mem);
    }
}

int main(void)
{
    stimulus = shared_open("data/retina_rat_bars/stimulus.npy");
    counts = shared_open("data/retina_rat_bars/counts.npy");
    stimulus_test = shared_open("data/retina_rat_bars/stimulus_test.npy");
    counts_test = shared_open("data/retina_rat_bars/counts_test.npy");
    ops_flush_denormals();
    const struct CMUnitTest tests[] = {cmocka_unit_test(correlation_with_repeats)};
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    npy_close(&stimulus);
    npy_close(&counts);
    npy_close(&stimulus_test);
    npy_close(&counts_test);
    return n_failed;
}
