/*
 * Macaque V4, 50 units, 640 images, single trials in random order: each trial predicted,
 * then learned. Beside it, ridge regression on the same features, fitted offline.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "models/model.h"
#include "models/ops.h"
#include "v4.h"

static double online_glm(enum model_posterior posterior)
{
    struct model_conf own = v4_conf;
    own.posterior = posterior;
    const char *why = model_check(&own);
    if (why)
        fail_msg("%s", why);
    void *mem = aligned_alloc(64, model_size(&own));
    struct model *model = model_init(mem, &own);
    static double predictions[V4_N_UNITS][V4_N_TRIALS_MAX];
    const struct v4_table *trials = v4_trials();
    int n_trials = trials->n;
    float rate[V4_N_UNITS];
    double r[2][V4_N_UNITS];
    clock_t start = clock();
    for (int t = 0; t < n_trials; t++) {
        model_predict(model, v4_image(trials->image[t]), rate);
        for (int u = 0; u < V4_N_UNITS; u++)
            predictions[u][t] = (double)rate[u];
        model_learn(model, trials->response[t]);
    }
    double pass_s = (double)(clock() - start) / CLOCKS_PER_SEC;
    for (int u = 0; u < V4_N_UNITS; u++) {
        r[0][u] = v4_score(predictions[u], u, 0, n_trials / 2);
        r[1][u] = v4_score(predictions[u], u, n_trials / 2, n_trials);
    }
    print_message(
        "online GLM, %s posterior: median prequential r %.3f over the first half, "
        "%.3f over the second; %.2f ms a trial\n",
        posterior == POSTERIOR_UNIT ? "per-unit" : "shared", v4_median(r[0]),
        v4_median(r[1]), 1e3 * pass_s / n_trials);
    free(mem);
    return v4_median(r[1]);
}

static void online_is_as_good_as_offline(void **state)
{
    (void)state;
    double ridge = v4_offline_ridge();
    print_message("offline ridge on the first half: median r %.3f over the second\n",
                  ridge);
    assert_true(online_glm(POSTERIOR_UNIT) >= ridge - 0.03);
    assert_true(online_glm(POSTERIOR_SHARED) >= ridge - 0.03);
}

static void features_are_of_the_known_class(void **state)
{
    (void)state;
    double best = v4_cross_validated();
    print_message("%d features, 5 folds of repeat averages: median r %.3f "
                  "(Gabor energies known there: .464)\n",
                  v4_n_features(), best);
    assert_true(best > 0.464);
}

int main(void)
{
    const char *text = getenv("EVOKE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    ops_init();
    ops_flush_denormals();
    v4_open(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_of_the_known_class),
        cmocka_unit_test(online_is_as_good_as_offline),
    };
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    v4_close();
    return n_failed;
}
