#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/metrics.h"
#include "models/random.h"

#define N_SEEDS   50
#define N_IMAGES  120
#define N_REPEATS 8

static uint64_t seed_of_run(void)
{
    const char *text = getenv("EVOKE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void assert_close(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance * fmax(1.0, fabs(b))))
        fail_msg("%.17g is not %.17g", a, b);
}

/* Two passes, in the order of the definition. */
static double naive_corr(int n, const double *a, const double *b)
{
    double mean_a = 0.0, mean_b = 0.0, aa = 0.0, bb = 0.0, ab = 0.0;
    for (int i = 0; i < n; i++) {
        mean_a += a[i] / n;
        mean_b += b[i] / n;
    }
    for (int i = 0; i < n; i++) {
        aa += (a[i] - mean_a) * (a[i] - mean_a);
        bb += (b[i] - mean_b) * (b[i] - mean_b);
        ab += (a[i] - mean_a) * (b[i] - mean_b);
    }
    return ab / sqrt(aa * bb);
}

static void correlation_agrees_with_two_passes(void **state)
{
    (void)state;
    uint64_t base = seed_of_run();
    for (uint64_t seed = base; seed < base + N_SEEDS; seed++) {
        struct random random;
        double a[200], b[200];
        struct metrics_corr corr = {0};
        random_init(&random, seed, 0);
        double far = 1e6 * random_normal(&random); /* Welford's reason */
        for (int i = 0; i < 200; i++) {
            a[i] = far + random_normal(&random);
            b[i] = 0.3 * (a[i] - far) + random_normal(&random);
            metrics_corr_add(&corr, a[i], b[i]);
            metrics_corr_add(&corr, nan(""), b[i]);
            metrics_corr_add(&corr, a[i], nan(""));
        }
        assert_int_equal(corr.n, 200);
        assert_close(metrics_corr_value(&corr, 0.0), naive_corr(200, a, b), 1e-8);
    }
}

static void what_is_undefined_is_nan(void **state)
{
    (void)state;
    struct metrics_corr corr = {0};
    struct metrics_running running = {0};
    assert_true(isnan(metrics_corr_value(&corr, METRICS_EPS)));
    metrics_corr_add(&corr, 1.0, 2.0);
    assert_true(isnan(metrics_corr_value(&corr, METRICS_EPS)));
    metrics_corr_add(&corr, 1.0, 3.0); /* a does not vary */
    assert_true(isnan(metrics_corr_value(&corr, 0.0)));
    assert_true(metrics_corr_value(&corr, METRICS_EPS) == 0.0);

    assert_true(isnan(metrics_running_corr(&running)));
    assert_true(isnan(metrics_running_loglik(&running)));
    metrics_running_add(&running, 1.0f, 0.0f); /* no spike yet */
    assert_true(isnan(metrics_running_bits_per_spike(&running)));
    metrics_running_add(&running, 1.0f, nanf(""));
    assert_int_equal(running.corr.n, 1);

    double none[6] = {nan(""), 1, nan(""), 2, nan(""), nan("")}, mean[3],
           p[3] = {1, 2, 3};
    struct metrics_trials trials = {3, 2, none};
    metrics_average(&trials, mean);
    assert_true(mean[0] == 1.0 && mean[1] == 2.0 && isnan(mean[2]));
    assert_true(isnan(metrics_oracle(&trials))); /* no image has two repeats */
    assert_true(isnan(metrics_fev(&trials)));
    assert_true(isnan(metrics_feve(&trials, p)));
    assert_true(isnan(metrics_snr(&trials)));
    assert_true(isnan(metrics_cc_max(&trials)));
    assert_close(metrics_corr_average(&trials, p, 0.0), 1.0, 1e-12);
}

static void running_scores_agree_with_their_definitions(void **state)
{
    (void)state;
    uint64_t base = seed_of_run();
    for (uint64_t seed = base; seed < base + N_SEEDS; seed++) {
        struct random random;
        struct metrics_running running = {0};
        double count[300], rate[300], sum = 0.0, loglik = 0.0, loglik_mean = 0.0;
        int n = 0;
        random_init(&random, seed, 1);
        for (int i = 0; i < 300; i++) {
            float r = (float)exp(0.7 * random_normal(&random)), c = nanf("");
            if (random_uniform(&random) < 0.9)
                c = (float)random_poisson(&random, (double)r);
            metrics_running_add(&running, r, c);
            if (isnan(c))
                continue;
            double mean = (sum + 0.5) / (n + 1.0); /* of the counts before */
            rate[n] = (double)r;
            count[n] = (double)c;
            loglik += count[n] * log(rate[n]) - rate[n];
            loglik_mean += count[n] * log(mean) - mean;
            sum += count[n++];
        }
        assert_close(metrics_running_corr(&running), naive_corr(n, count, rate), 1e-12);
        assert_close(metrics_running_loglik(&running), loglik / n, 1e-6);
        double bits = (loglik - loglik_mean) / sum / log(2.0);
        assert_close(metrics_running_bits_per_spike(&running), bits, 1e-6);
        assert_true(bits > 0.0); /* the truth beats its mean */
        assert_close(metrics_loglik(n, rate, count), loglik, 1e-6);
        double mean = sum / n, of_mean = sum * log(mean) - sum;
        assert_close(metrics_bits_per_spike(n, rate, count),
                     (loglik - of_mean) / sum / log(2.0), 1e-6);
        for (int i = 0; i < n; i++)
            rate[i] = mean;
        assert_close(metrics_bits_per_spike(n, rate, count), 0.0, 1e-6);
    }
}

/* A unit with known means; some repeats are missing if so asked. */
static void draw(struct random *random, double signal, double noise, double missing,
                 double *mean, double *response)
{
    for (int i = 0; i < N_IMAGES; i++) {
        mean[i] = 5.0 + signal * random_normal(random);
        for (int r = 0; r < N_REPEATS; r++)
            response[i * N_REPEATS + r] = random_uniform(random) < missing
                                              ? nan("")
                                              : mean[i] + noise * random_normal(random);
    }
}

static void a_missing_repeat_is_as_if_it_were_not_there(void **state)
{
    (void)state;
    struct random random;
    double mean[N_IMAGES], full[N_IMAGES * N_REPEATS], wide[N_IMAGES * (N_REPEATS + 2)];
    random_init(&random, seed_of_run(), 2);
    draw(&random, 2.0, 1.0, 0.0, mean, full);
    for (int i = 0; i < N_IMAGES * (N_REPEATS + 2); i++) /* columns 0 and 5 are absent */
        wide[i] = nan("");
    for (int i = 0; i < N_IMAGES; i++)
        for (int r = 0; r < N_REPEATS; r++)
            wide[i * (N_REPEATS + 2) + r + 1 + (r >= 4)] = full[i * N_REPEATS + r];
    struct metrics_trials a = {N_IMAGES, N_REPEATS, full};
    struct metrics_trials b = {N_IMAGES, N_REPEATS + 2, wide};
    assert_close(metrics_corr_single(&b, mean), metrics_corr_single(&a, mean), 1e-12);
    assert_close(metrics_feve(&b, mean), metrics_feve(&a, mean), 1e-12);
    assert_close(metrics_cc_norm(&b, mean), metrics_cc_norm(&a, mean), 1e-12);
    assert_close(metrics_r2_er(&b, mean), metrics_r2_er(&a, mean), 1e-12);
    assert_close(metrics_fev(&b), metrics_fev(&a), 1e-12);
    assert_close(metrics_oracle(&b), metrics_oracle(&a), 1e-12);
    assert_close(metrics_oracle_conservative(&b), metrics_oracle_conservative(&a), 1e-12);
    assert_close(metrics_snr(&b), metrics_snr(&a), 1e-12);
}

static void small_cases_agree_with_a_calculation_by_hand(void **state)
{
    (void)state;
    double lone[] = {1, 3, 5, nan(""), 2, 4}, full[] = {1, 3, 2, 2, 4, 8};
    double prediction[] = {0, 1, 5}, rate[] = {1, 9, 2}, count[] = {2, nan(""), 0};
    struct metrics_trials a = {3, 2, lone}, b = {3, 2, full};
    /* means 2 5 3, variance 14/9; noise variance 1, of the two images that have one */
    assert_close(metrics_oracle_conservative(&a), sqrt(14.0 / 23.0), 1e-12);
    /* trials 1 3 2 4 against 3 1 4 2 */
    assert_close(metrics_oracle(&a), -0.6, 1e-6);
    /* means 2 2 6; noise variance 10/3 of one trial; deviations of the prediction
     * -2 -1 3, of the means -4/3 -4/3 8/3 */
    assert_close(metrics_r2_er(&b, prediction),
                 (144.0 / 14.0 - 5.0 / 3.0) / (96.0 / 9.0 - 10.0 / 3.0), 1e-12);
    assert_close(metrics_loglik(3, rate, count), -3.0, 1e-7);
}

/* Ceilings do what they are for: with them, the truth scores 1 whatever the noise. */
static void the_truth_scores_one_under_its_ceiling(void **state)
{
    (void)state;
    uint64_t base = seed_of_run();
    for (int k = 0; k < 4; k++) {
        double noise = k < 2 ? 1.0 : 3.0, missing = k % 2 ? 0.3 : 0.0;
        double feve = 0.0, cc_norm = 0.0, r2_er = 0.0, half = 0.0, fev = 0.0, raw = 0.0;
        int n = 0;
        for (uint64_t seed = base; seed < base + 400; seed++, n++) {
            struct random random;
            double mean[N_IMAGES], response[N_IMAGES * N_REPEATS], other[N_IMAGES];
            struct metrics_trials trials = {N_IMAGES, N_REPEATS, response};
            random_init(&random, seed, 3 + (uint64_t)k);
            draw(&random, 2.0, noise, missing, mean, response);
            for (int i = 0; i < N_IMAGES; i++) /* shares half of its variance */
                other[i] = mean[i] + 2.0 * random_normal(&random);
            feve += metrics_feve(&trials, mean);
            fev += metrics_fev(&trials);
            cc_norm += metrics_cc_norm(&trials, mean);
            r2_er += metrics_r2_er(&trials, mean);
            half += metrics_r2_er(&trials, other);
            raw += metrics_corr_average(&trials, mean, 0.0);
        }
        print_message("noise %.0f, missing %.1f: raw %.3f feve %.3f cc_norm %.3f r2_er "
                      "%.3f, of half %.3f, fev %.3f\n",
                      noise, missing, raw / n, feve / n, cc_norm / n, r2_er / n, half / n,
                      fev / n);
        assert_close(feve / n, 1.0, 0.03);
        assert_close(r2_er / n, 1.0, 0.03);
        assert_close(cc_norm / n, 1.0, 0.03);
        assert_close(half / n, 0.5, 0.03);
        assert_close(fev / n, 4.0 / (4.0 + noise * noise), 0.03);
        assert_true(raw / n < (noise > 1.0 ? 0.90 : 0.99));
    }
}

static void similarity_of_populations_is_invariant(void **state)
{
    (void)state;
    enum { ROWS = 12, COLS = 5 };
    uint64_t base = seed_of_run();
    for (uint64_t seed = base; seed < base + N_SEEDS; seed++) {
        struct random random;
        double x[ROWS * COLS], y[ROWS * COLS], a[ROWS * ROWS], b[ROWS * ROWS];
        double work[2 * ROWS * ROWS + 2];
        random_init(&random, seed, 9);
        for (int i = 0; i < ROWS * COLS; i++)
            x[i] = random_normal(&random);
        for (int i = 0; i < ROWS; i++) { /* turned, scaled and shifted */
            const double *from = x + i * COLS;
            double *to = y + i * COLS;
            to[0] = 3.0 * (0.6 * from[0] - 0.8 * from[1]) + 7.0;
            to[1] = 3.0 * (0.8 * from[0] + 0.6 * from[1]) - 1.0;
            for (int k = 2; k < COLS; k++)
                to[k] = -3.0 * from[COLS + 1 - k];
        }
        assert_close(metrics_cka(ROWS, COLS, x, COLS, y, work), 1.0, 1e-12);
        assert_true(metrics_cka(ROWS, 1, x, 1, x + 12, work) < 1.0);
        metrics_rdm(ROWS, COLS, x, a);
        for (int i = 0; i < ROWS; i++) {
            assert_close(a[i * ROWS + i], 0.0, 1e-12);
            for (int j = 0; j < ROWS; j++) {
                double r = naive_corr(COLS, x + i * COLS, x + j * COLS);
                assert_close(a[i * ROWS + j], 1.0 - r, 1e-12);
                b[i * ROWS + j] = exp(a[i * ROWS + j]); /* the same order */
            }
        }
        work[2 * ROWS * (ROWS - 1)] = 77.0;
        assert_close(metrics_rsa_spearman(ROWS, a, b, work), 1.0, 1e-12);
        assert_true(work[2 * ROWS * (ROWS - 1)] == 77.0);
        assert_true(metrics_rsa_pearson(ROWS, a, b) < 1.0 - 1e-6);
        assert_close(metrics_rsa_pearson(ROWS, a, a), 1.0, 1e-12);
        a[3] = nan(""); /* an image without any response */
        assert_close(metrics_rsa_spearman(ROWS, a, b, work), 1.0, 1e-12);
        assert_false(isnan(metrics_rsa_pearson(ROWS, a, b)));
    }
}

static void equal_values_share_their_rank(void **state)
{
    (void)state;
    /* upper triangles 1 2 2 4 5 6 and 1 3 2 5 5 4: Spearman's rho with ties by hand */
    double a[16] = {0, 1, 2, 2, 0, 0, 4, 5, 0, 0, 0, 6};
    double b[16] = {0, 1, 3, 2, 0, 0, 5, 5, 0, 0, 0, 4}, work[24];
    double ranks_a[] = {0, 1.5, 1.5, 3, 4, 5}, ranks_b[] = {0, 2, 1, 4.5, 4.5, 3};
    assert_close(metrics_rsa_spearman(4, a, b, work), naive_corr(6, ranks_a, ranks_b),
                 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(correlation_agrees_with_two_passes),
        cmocka_unit_test(what_is_undefined_is_nan),
        cmocka_unit_test(running_scores_agree_with_their_definitions),
        cmocka_unit_test(a_missing_repeat_is_as_if_it_were_not_there),
        cmocka_unit_test(small_cases_agree_with_a_calculation_by_hand),
        cmocka_unit_test(the_truth_scores_one_under_its_ceiling),
        cmocka_unit_test(similarity_of_populations_is_invariant),
        cmocka_unit_test(equal_values_share_their_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
