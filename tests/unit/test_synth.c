#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "stimulus/synth.h"

#define N    48000
#define RATE 48000.0

static float samples[N + 1];

/* Amplitude of a frequency in samples from..to, by correlation. */
static double amplitude(int from, int to, double frequency_hz)
{
    double s = 0.0, c = 0.0;
    for (int i = from; i < to; i++) {
        double phase = 2.0 * acos(-1.0) * frequency_hz * i / RATE;
        s += (double)samples[i] * sin(phase);
        c += (double)samples[i] * cos(phase);
    }
    return 2.0 * sqrt(s * s + c * c) / (to - from);
}

static void test_tone(void **state)
{
    (void)state;
    samples[N] = 99.0f;
    synth_tone(samples, N, RATE, 1000.0);
    assert_true(samples[N] == 99.0f);
    assert_true(samples[0] == 0.0f && samples[12] == 1.0f && fabsf(samples[24]) < 1e-6f);
    assert_true(fabs(amplitude(0, N, 1000.0) - 1.0) < 1e-6);
    assert_true(amplitude(0, N, 2000.0) < 1e-6 && amplitude(0, N, 500.0) < 1e-6);
    assert_true(fabs(synth_rms(samples, N) - sqrt(0.5)) < 1e-6);
}

/* Upward zero crossings count the cycles up to a sample. */
static int crossings(int from, int to)
{
    int n = 0;
    for (int i = from + 1; i < to; i++)
        n += samples[i - 1] < 0.0f && samples[i] >= 0.0f;
    return n;
}

static void test_sweep(void **state)
{
    (void)state;
    synth_sweep(samples, N, RATE, 200.0, 4200.0, 0);
    /* mean frequency of each half: 1200, 3200 Hz for half a second */
    assert_true(abs(crossings(0, N / 2) - 600) <= 1);
    assert_true(abs(crossings(N / 2, N) - 1600) <= 1);
    synth_sweep(samples, N, RATE, 250.0, 4000.0, 1);
    /* geometric: the middle is at 1000 Hz; cycles = (1000 - 250) / ln(4000 / 250) */
    assert_true(abs(crossings(0, N / 2) - (int)(750.0 / log(16.0))) <= 1);
    assert_true(abs(crossings(N / 2, N) - (int)(3000.0 / log(16.0))) <= 1);
    synth_sweep(samples, N, RATE, 440.0, 440.0, 1);
    assert_true(fabs(amplitude(0, N, 440.0) - 1.0) < 1e-6);
}

static void test_noise(void **state)
{
    (void)state;
    double mean = 0.0, lag = 0.0;
    synth_noise(samples, N, 5);
    float first = samples[0];
    for (int i = 0; i < N; i++) {
        assert_true(fabsf(samples[i]) <= 1.0f);
        mean += (double)samples[i] / N;
        lag += i ? (double)samples[i] * (double)samples[i - 1] / N : 0.0;
    }
    assert_true(fabs(mean) < 0.02 && fabs(lag) < 0.01);
    assert_true(fabs(synth_rms(samples, N) - sqrt(1.0 / 3.0)) < 0.01);
    synth_noise(samples, N, 6);
    assert_true(samples[0] != first);
    synth_noise(samples, N, 5);
    assert_true(samples[0] == first);
}

static void test_click(void **state)
{
    (void)state;
    synth_click(samples, 10, 3);
    for (int i = 0; i < 10; i++)
        assert_true(samples[i] == (i < 3 ? 1.0f : 0.0f));
}

static void test_level(void **state)
{
    (void)state;
    /* A full-scale sine measured as 94 dB is 74 dB at a tenth of the amplitude. */
    assert_true(fabs(synth_gain(sqrt(0.5), 74.0, 94.0) - 0.1) < 1e-12);
    assert_true(fabs(synth_gain(sqrt(0.5), 94.0, 94.0) - 1.0) < 1e-12);
    /* Half the RMS needs twice the gain. */
    assert_true(fabs(synth_gain(sqrt(0.5) / 2.0, 94.0, 94.0) - 2.0) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tone),  cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_noise), cmocka_unit_test(test_click),
        cmocka_unit_test(test_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
