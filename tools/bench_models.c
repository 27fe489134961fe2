/* How long the models take for their part of a trial. */
#include "tools/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/model.h"
#include "models/ops.h"
#include "models/random.h"
#include "protocol/clock.h"
#include "protocol/log.h"

#define N_REPEATS 30
#define N_WARM    3

static void *zeros(size_t size)
{
    void *mem = aligned_alloc(64, (size + 63) / 64 * 64);
    CHECK(mem != NULL);
    return memset(mem, 0, size);
}

/* One trial of the GLM, predicted and learned: 1,000 units, 1,024 pixels. */
static void glm_update(const struct bench *bench)
{
    const struct model_conf conf = {.kind = MODEL_GLM,
                                    .front = FRONT_PIXELS,
                                    .posterior = POSTERIOR_AUTO,
                                    .n_units = 1000,
                                    .n_frames = 1,
                                    .height = 32,
                                    .width = 32,
                                    .memory_bytes = 512u << 20,
                                    .prior_sd = 1,
                                    .smooth_px = 1.5,
                                    .smooth_frames = 2,
                                    .bias_sd = 2,
                                    .forgetting = 1};
    struct model *model = model_init(zeros(model_size(&conf)), &conf);
    float *x = zeros(1024 * sizeof(float)), *rate = zeros(1000 * sizeof(float));
    double ms[N_REPEATS], median;
    struct random random;

    random_init(&random, 1, 1);
    for (int i = -N_WARM; i < N_REPEATS; i++) {
        int64_t start_ns;
        for (int k = 0; k < 1024; k++)
            x[k] = 0.35f * (float)random_normal(&random);
        start_ns = clock_now_ns();
        model_predict(model, x, rate);
        for (int u = 0; u < 1000; u++)
            rate[u] = (float)(u % 4);
        model_learn(model, rate);
        if (i >= 0)
            ms[i] = (double)(clock_now_ns() - start_ns) / NS_PER_MS;
    }
    median = bench_quantile(ms, N_REPEATS, 0.5);
    bench_say(bench, &(struct bench_row){.name = "glm_update_1000x1024",
                                         .median = median,
                                         .min = ms[0],
                                         .unit = "ms",
                                         .threads = 1,
                                         .baseline = NAN});
    free(rate);
    free(x);
    free(model);
}

int bench_models(const struct bench *bench)
{
    ops_flush_denormals();
    glm_update(bench);
    return 0;
}
