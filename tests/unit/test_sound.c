/*
 * The audio device without a loudspeaker: SDL's dummy driver, and its disk driver, which
 * writes what would be heard into a file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sndfile.h>

#include "protocol/clock.h"
#include "protocol/event.h"
#include "stimulus/sound.h"
#include "stimulus/synth.h"

#define RATE        48000
#define PATIENCE_NS (20 * NS_PER_S)

static char folder[] = "/tmp/evoke-test-sound-XXXXXX", heard[128], path[128];

static struct sound_conf conf(const char *driver)
{
    return (struct sound_conf){.driver = driver,
                               .rate_hz = RATE,
                               .n_channels = 2,
                               .buffer_frames = 256,
                               .ramp_s = 0.001,
                               .limit = 0.5};
}

static struct mix_report expect(struct sound *sound, enum mix_what what, uint64_t id)
{
    struct mix_report report;
    int64_t until_ns = clock_now_ns() + PATIENCE_NS;
    while (!sound_poll(sound, &report)) {
        assert_true(clock_now_ns() < until_ns);
        clock_sleep_until_ns(clock_now_ns() + NS_PER_MS);
    }
    assert_int_equal(report.what, what);
    assert_int_equal(report.id, id);
    return report;
}

/* Frames of the file before our first one: SDL writes whole buffers of silence until the
 * device runs. marker: where the first sound was reported. */
static int64_t frames_before(FILE *file, int64_t marker)
{
    float pair[2] = {0.0f, 0.0f};
    int64_t frame = -1;
    while (pair[0] == 0.0f) {
        assert_int_equal(fread(pair, sizeof pair, 1, file), 1);
        frame++;
    }
    assert_true(frame >= marker);
    assert_int_equal((frame - marker) % 256, 0);
    return frame - marker;
}

static void test_heard_where_it_was_reported(void **state)
{
    (void)state;
    struct sound_conf wanted = conf("disk");
    struct sound *sound;
    static float click[100];
    synth_click(click, 100, 100);
    setenv("SDL_DISKAUDIOFILE", heard, 1);
    wanted.ramp_s = 0.0;
    assert_int_equal(sound_open(&sound, &wanted), 0);
    int clip = sound_add(sound, click, 100);
    assert_int_equal(clip, 0);
    int64_t first[5];
    for (uint64_t i = 0; i < 5; i++) {
        struct sound_position position;
        sound_position(sound, &position);
        int64_t at_frame = i ? position.frame + 4001 + 37 * (int64_t)i : MIX_AT_ONCE;
        assert_int_equal(sound_start(sound, i, clip, at_frame, i == 4 ? 3.0f : 0.25f), 0);
        struct mix_report report = expect(sound, MIX_BEGAN, i);
        first[i] = report.frame;
        assert_int_equal(report.asked_frame, at_frame);
        assert_int_equal(expect(sound, MIX_ENDED, i).frame, first[i] + 100);
    }
    sound_close(sound); /* writes what is left */
    FILE *file = fopen(heard, "rb");
    assert_non_null(file);
    int64_t n_wrong = 0, n_loud = 0, frame = -frames_before(file, first[0]);
    rewind(file);
    for (float pair[2]; fread(pair, sizeof pair, 1, file) == 1; frame++) {
        float want = 0.0f;
        for (int i = 0; i < 5; i++)
            if (frame >= first[i] && frame < first[i] + 100)
                want = i == 4 ? 0.5f : 0.25f; /* 3.0 is beyond the limit */
        n_wrong += pair[0] != want || pair[1] != want;
        n_loud += pair[0] != 0.0f;
    }
    fclose(file);
    assert_int_equal(n_wrong, 0);
    assert_int_equal(n_loud, 500);
}

static void test_position_follows_the_clock(void **state)
{
    (void)state;
    const struct sound_conf wanted = conf("dummy");
    struct sound *sound;
    struct sound_position position;
    assert_int_equal(sound_open(&sound, &wanted), 0);
    assert_int_equal(sound_rate_hz(sound), RATE);
    int64_t until_ns = clock_now_ns() + PATIENCE_NS, before = 0;
    do {
        assert_true(clock_now_ns() < until_ns);
        clock_sleep_until_ns(clock_now_ns() + NS_PER_MS);
        sound_position(sound, &position);
        assert_true(position.frame >= before && position.frame % 256 == 0);
        before = position.frame;
    } while (position.frame < RATE / 4);
    assert_int_equal(sound_frame_at(sound, position.time_ns), position.frame);
    assert_true(position.time_ns <= clock_now_ns() + NS_PER_S);
    assert_true(position.frame_ns > 0.0);
    assert_int_equal(position.n_limited, 0);
    sound_close(sound);
}

static void write_wav(int rate_hz, int n_channels, double frequency_hz)
{
    static float samples[RATE];
    SF_INFO info = {.samplerate = rate_hz,
                    .channels = n_channels,
                    .format = SF_FORMAT_WAV | SF_FORMAT_FLOAT};
    synth_tone(samples, rate_hz / 2, rate_hz, frequency_hz);
    SNDFILE *file = sf_open(path, SFM_WRITE, &info);
    assert_non_null(file);
    for (int i = 0; i < rate_hz / 2; i++) {
        /* the second channel twice as loud: their average is the tone */
        const float pair[2] = {n_channels == 2 ? samples[i] * 2.0f / 3.0f : samples[i],
                               samples[i] * 4.0f / 3.0f};
        assert_int_equal(sf_writef_float(file, pair, 1), 1);
    }
    sf_close(file);
}

/* A file of another rate sounds the same: the tone is compared with the one made here. */
static void test_files_are_resampled(void **state)
{
    (void)state;
    const int rates_hz[] = {48000, 44100, 22050, 8000};
    struct sound_conf wanted = conf("disk");
    wanted.ramp_s = 0.0;
    for (int i = 0; i < 4; i++) {
        struct sound *sound;
        setenv("SDL_DISKAUDIOFILE", heard, 1);
        write_wav(rates_hz[i], 1 + i % 2, 1000.0);
        assert_int_equal(sound_open(&sound, &wanted), 0);
        const float click = 1.0f;
        assert_int_equal(sound_add(sound, &click, 1), 0);
        assert_int_equal(sound_start(sound, 0, 0, MIX_AT_ONCE, 1.0f), 0);
        int64_t marker = expect(sound, MIX_BEGAN, 0).frame;
        expect(sound, MIX_ENDED, 0);
        int clip = sound_load(sound, path);
        assert_int_equal(clip, 1);
        assert_int_equal(sound_start(sound, 1, clip, MIX_AT_ONCE, 0.4f), 0);
        int64_t first = expect(sound, MIX_BEGAN, 1).frame;
        int64_t n = expect(sound, MIX_ENDED, 1).frame - first;
        assert_true(llabs(n - RATE / 2) <= 1);
        sound_close(sound);
        FILE *file = fopen(heard, "rb");
        assert_non_null(file);
        first += frames_before(file, marker);
        assert_int_equal(fseek(file, (first + 1000) * 8, SEEK_SET), 0);
        for (int64_t k = 1000; k < n - 1000; k++) { /* away from the filter's ends */
            float pair[2];
            assert_int_equal(fread(pair, sizeof pair, 1, file), 1);
            double want = 0.4 * sin(2.0 * acos(-1.0) * 1000.0 * (double)k / RATE);
            assert_true(fabs((double)pair[0] - want) < 2e-4);
        }
        fclose(file);
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct sound_conf wanted = conf("dummy");
    struct sound *sound = NULL;
    wanted.buffer_frames = 300;
    assert_int_equal(sound_open(&sound, &wanted), -EINVAL);
    wanted = conf("dummy");
    wanted.limit = 1.5;
    assert_int_equal(sound_open(&sound, &wanted), -EINVAL);
    wanted = conf("no such driver");
    assert_int_equal(sound_open(&sound, &wanted), -ENODEV);
    assert_null(sound);
    wanted = conf("dummy");
    assert_int_equal(sound_open(&sound, &wanted), 0);
    assert_int_equal(sound_load(sound, "/nowhere/at/all.wav"), -EIO);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("no sound at all", file);
    fclose(file);
    assert_int_equal(sound_load(sound, path), -EIO);
    const float sample = 0.1f;
    assert_int_equal(sound_add(sound, &sample, 0), -EINVAL);
    assert_int_equal(sound_start(sound, 1, 0, 0, 1.0f), -EINVAL);
    int clip = sound_add(sound, &sample, 1);
    assert_int_equal(clip, 0);
    assert_int_equal(sound_start(sound, 1, clip, 0, NAN), -EINVAL);
    assert_int_equal(sound_start(sound, 1, clip, INT64_MAX, 1.0f), -EINVAL);
    assert_int_equal(sound_start(sound, 1, -1, 0, 1.0f), -EINVAL);
    sound_close(sound);
    sound_close(NULL);
}

static void test_stop_and_bounds(void **state)
{
    (void)state;
    const struct sound_conf wanted = conf("dummy");
    struct sound *sound;
    static float tone[10 * RATE];
    assert_int_equal(sound_open(&sound, &wanted), 0);
    synth_tone(tone, 10 * RATE, RATE, 440.0);
    int clip = sound_add(sound, tone, 10 * RATE);
    assert_int_equal(sound_start(sound, 1, clip, MIX_AT_ONCE, 1.0f), 0);
    int64_t first = expect(sound, MIX_BEGAN, 1).frame;
    assert_int_equal(sound_stop(sound), 0);
    struct mix_report ended = expect(sound, MIX_ENDED, 1);
    assert_true(ended.frame < first + 10 * RATE);
    int n = 0;
    while (n < 100000 && sound_stop(sound) == 0)
        n++;
    assert_true(n >= 64 && n < 100000);
    struct sound_position position;
    sound_position(sound, &position);
    assert_int_equal(position.n_refused, 0);
    sound_close(sound);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heard_where_it_was_reported),
        cmocka_unit_test(test_position_follows_the_clock),
        cmocka_unit_test(test_files_are_resampled),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_stop_and_bounds),
    };
    if (!mkdtemp(folder))
        return 1;
    snprintf(heard, sizeof heard, "%s/heard.raw", folder);
    snprintf(path, sizeof path, "%s/sound.wav", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(heard);
    unlink(path);
    rmdir(folder);
    return failed;
}
