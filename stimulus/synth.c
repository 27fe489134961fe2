#include "synth.h"

#include <math.h>

#include "models/random.h"
#include "protocol/log.h"

#define PI 3.14159265358979323846

void synth_tone(float *samples, int64_t n, double rate_hz, double frequency_hz)
{
    synth_sweep(samples, n, rate_hz, frequency_hz, frequency_hz, 0);
}

void synth_sweep(float *samples, int64_t n, double rate_hz, double from_hz, double to_hz,
                 int is_log)
{
    double duration_s = (double)n / rate_hz, ratio = is_log ? log(to_hz / from_hz) : 0.0;
    for (int64_t i = 0; i < n; i++) {
        double t = (double)i / rate_hz, part = t / duration_s;
        /* the integral of the frequency over time */
        double cycles = is_log && ratio != 0.0
                            ? from_hz * duration_s * expm1(ratio * part) / ratio
                            : from_hz * t + 0.5 * (to_hz - from_hz) * t * part;
        samples[i] = (float)sin(2.0 * PI * fmod(cycles, 1.0));
    }
}

void synth_noise(float *samples, int64_t n, uint64_t seed)
{
    struct random random;
    random_init(&random, seed, 0);
    for (int64_t i = 0; i < n; i++)
        samples[i] = (float)(2.0 * random_uniform(&random) - 1.0);
}

void synth_click(float *samples, int64_t n, int64_t n_click)
{
    CHECK(n_click >= 1 && n_click <= n);
    for (int64_t i = 0; i < n; i++)
        samples[i] = i < n_click ? 1.0f : 0.0f;
}

double synth_rms(const float *samples, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)samples[i] * (double)samples[i];
    return n > 0 ? sqrt(sum / (double)n) : 0.0;
}

double synth_gain(double rms, double level_db, double full_scale_db)
{
    return pow(10.0, (level_db - full_scale_db) / 20.0) * sqrt(0.5) / rms;
}
