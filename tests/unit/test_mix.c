#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stimulus/mix.h"

#define N_TOTAL 6000
#define N_SOUND 700
#define N_RAMP  64

static uint64_t random_state;

static int setup(void **state)
{
    (void)state;
    const char *text = getenv("EVOKE_SEED");
    random_state = text ? strtoull(text, NULL, 0) : 31;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)random_state);
    return 0;
}

static uint32_t draw(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

/* A sound by definition, added to wanted (N_TOTAL). */
static void add(double *wanted, const float *samples, int64_t n, int64_t first,
                double gain, int n_ramp)
{
    for (int64_t i = 0; i < n && first + i < N_TOTAL; i++) {
        double up = i < n_ramp ? pow(sin(acos(0.0) * ((double)i + 0.5) / n_ramp), 2) : 1;
        double left = (double)(n - 1 - i);
        double down = left < n_ramp ? pow(sin(acos(0.0) * (left + 0.5) / n_ramp), 2) : 1;
        wanted[first + i] += gain * up * down * (double)samples[i];
    }
}

/* Any buffer size, any number of channels: the same samples at the same frames. */
static void test_sample_exact(void **state)
{
    (void)state;
    static struct mix mix;
    static float out[2 * N_TOTAL + 1], samples[N_SOUND];
    for (int i = 0; i < N_SOUND; i++)
        samples[i] = (float)draw(2001) / 1000.0f - 1.0f;
    for (int round = 0; round < 200; round++) {
        static double wanted[N_TOTAL];
        int n_channels = 1 + round % 2, n_begun = 0, n_ended = 0;
        int64_t first[8];
        memset(wanted, 0, sizeof wanted);
        mix_init(&mix, 1.0f, N_RAMP);
        for (int i = 0; i < 8; i++) {
            int64_t n = 1 + draw(N_SOUND);
            float gain = (float)draw(100) / 1000.0f;
            first[i] = draw(N_TOTAL - N_SOUND);
            assert_int_equal(mix_start(&mix, (uint64_t)i, samples, n, first[i], gain), 0);
            add(wanted, samples, n, first[i], (double)gain, N_RAMP);
        }
        out[n_channels * N_TOTAL] = 77.0f;
        while (mix.frame < N_TOTAL) {
            struct mix_report reports[MIX_MAX_REPORTS];
            int64_t before = mix.frame;
            int n = 1 + (int)draw(700);
            n = n > N_TOTAL - mix.frame ? (int)(N_TOTAL - mix.frame) : n;
            int n_reports =
                mix_fill(&mix, out + n_channels * mix.frame, n, n_channels, reports);
            assert_int_equal(mix.frame, before + n);
            for (int i = 0; i < n_reports; i++) {
                n_begun += reports[i].what == MIX_BEGAN;
                n_ended += reports[i].what == MIX_ENDED;
                assert_true(reports[i].frame >= before && reports[i].frame <= mix.frame);
                if (reports[i].what == MIX_BEGAN) {
                    assert_int_equal(reports[i].frame, first[reports[i].id]);
                    assert_int_equal(reports[i].asked_frame, first[reports[i].id]);
                }
            }
        }
        for (int i = 0; i < n_channels * N_TOTAL; i++)
            if (!(fabs((double)out[i] - wanted[i / n_channels]) < 1e-6))
                fail_msg("round %d frame %d: %g, should be %g", round, i / n_channels,
                         (double)out[i], wanted[i / n_channels]);
        assert_true(out[n_channels * N_TOTAL] == 77.0f);
        assert_int_equal(n_begun, 8);
        assert_int_equal(n_ended, 8);
        assert_int_equal(mix.n_limited, 0);
    }
}

static void test_never_beyond_the_limit(void **state)
{
    (void)state;
    static struct mix mix;
    struct mix_report reports[MIX_MAX_REPORTS];
    float samples[100], out[200];
    mix_init(&mix, 0.25f, 0);
    for (int i = 0; i < 100; i++)
        samples[i] = i % 2 ? 1.0f : -1.0f;
    samples[50] = NAN;
    samples[51] = INFINITY;
    samples[52] = 0.1f;
    mix_start(&mix, 1, samples, 100, 10, 2.0f);
    mix_fill(&mix, out, 200, 1, reports);
    for (int i = 0; i < 200; i++) {
        assert_true(fabsf(out[i]) <= 0.25f);
        if (i >= 10 && i < 60)
            assert_true(out[i] == (i % 2 ? 0.25f : -0.25f));
    }
    assert_true(out[60] == 0.0f && out[61] == 0.25f && out[62] == 0.2f);
    assert_int_equal(mix.n_limited, 99);
}

static void test_late_start_is_told(void **state)
{
    (void)state;
    static struct mix mix;
    struct mix_report reports[MIX_MAX_REPORTS];
    const float samples[2] = {0.5f, -0.5f};
    float out[100];
    mix_init(&mix, 1.0f, 0);
    mix_fill(&mix, out, 100, 1, reports);
    mix_start(&mix, 1, samples, 2, 60, 1.0f);
    mix_start(&mix, 2, samples, 2, MIX_AT_ONCE, 0.5f);
    assert_int_equal(mix_fill(&mix, out, 50, 1, reports), 4);
    assert_int_equal(reports[0].frame, 100);
    assert_int_equal(reports[0].asked_frame, 60);
    assert_int_equal(reports[1].what, MIX_ENDED);
    assert_int_equal(reports[1].frame, 102);
    assert_int_equal(reports[2].frame, 100);
    assert_true(out[0] == 0.75f && out[1] == -0.75f && out[2] == 0.0f);
}

static void test_stop_ramps_down(void **state)
{
    (void)state;
    static struct mix mix;
    static float ones[1000];
    struct mix_report reports[MIX_MAX_REPORTS];
    float out[400];
    for (int i = 0; i < 1000; i++)
        ones[i] = 1.0f;
    mix_init(&mix, 1.0f, N_RAMP);
    mix_start(&mix, 1, ones, 1000, 0, 1.0f);
    mix_start(&mix, 2, ones, 1000, 500, 1.0f); /* waits */
    mix_fill(&mix, out, 200, 1, reports);
    mix_stop(&mix);
    assert_int_equal(mix_fill(&mix, out, 400, 1, reports), 1);
    assert_int_equal(reports[0].what, MIX_ENDED);
    assert_int_equal(reports[0].frame, 200 + N_RAMP);
    float before = 1.0f;
    for (int i = 0; i < N_RAMP; i++) {
        assert_true(out[i] < before && before - out[i] < 0.03f);
        before = out[i];
    }
    assert_true(before < 0.001f);
    for (int i = N_RAMP; i < 400; i++)
        assert_true(out[i] == 0.0f);
}

static void test_voices_are_bounded(void **state)
{
    (void)state;
    static struct mix mix;
    struct mix_report reports[MIX_MAX_REPORTS];
    const float sample = 0.01f;
    float out[10];
    mix_init(&mix, 1.0f, 0);
    for (int i = 0; i < MIX_N_VOICES; i++)
        assert_int_equal(mix_start(&mix, 1, &sample, 1, 0, 1.0f), 0);
    assert_int_equal(mix_start(&mix, 1, &sample, 1, 0, 1.0f), -ENOSPC);
    assert_int_equal(mix_fill(&mix, out, 10, 1, reports), MIX_MAX_REPORTS);
    assert_int_equal(mix_start(&mix, 1, &sample, 1, 0, 1.0f), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_exact),
        cmocka_unit_test(test_never_beyond_the_limit),
        cmocka_unit_test(test_late_start_is_told),
        cmocka_unit_test(test_stop_ramps_down),
        cmocka_unit_test(test_voices_are_bounded),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
