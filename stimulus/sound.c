#include "sound.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <SDL.h>
#include <samplerate.h>
#include <sndfile.h>

#include "flip.h"
#include "protocol/clock.h"
#include "protocol/event.h"
#include "protocol/log.h"

#define N_ORDERS  64 /* powers of two */
#define N_REPORTS 256
#define FRAME_MAX (INT64_C(1) << 60)
#define FILE_MAX  (INT64_C(1) << 28) /* samples of a file */

struct clip {
    float *samples; /* (n_frames) */
    int64_t n_frames;
};

/* What the device's thread shall do: play a clip, or (no samples) stop. */
struct order {
    uint64_t id;
    struct clip clip;
    int64_t at_frame;
    float gain;
};

struct sound {
    SDL_AudioDeviceID device;
    int rate_hz, n_channels, n_clips;
    struct clip clips[SOUND_N_CLIPS];

    /* device's thread: */
    struct mix mix;
    struct flip_clock clock; /* buffers asked for, as refreshes are of a screen */
    int has_clock;

    /* between the two: */
    struct order orders[N_ORDERS];
    atomic_uint n_given, n_obeyed;
    struct mix_report reports[N_REPORTS];
    atomic_uint n_reported, n_polled;
    atomic_uint version; /* of position; odd while it is written */
    _Atomic int64_t frame, time_ns;
    _Atomic double frame_ns;
    _Atomic uint64_t n_underruns, n_limited, n_refused, n_unreported;
};

static void obey(struct sound *sound)
{
    unsigned done = atomic_load_explicit(&sound->n_obeyed, memory_order_relaxed);
    unsigned n = atomic_load_explicit(&sound->n_given, memory_order_acquire);
    for (; done != n; done++) {
        const struct order *order = &sound->orders[done % N_ORDERS];
        if (!order->clip.samples)
            mix_stop(&sound->mix);
        else if (mix_start(&sound->mix, order->id, order->clip.samples,
                           order->clip.n_frames, order->at_frame, order->gain))
            atomic_fetch_add(&sound->n_refused, 1);
    }
    atomic_store_explicit(&sound->n_obeyed, done, memory_order_release);
}

static void report(struct sound *sound, const struct mix_report *reports, int n)
{
    unsigned made = atomic_load_explicit(&sound->n_reported, memory_order_relaxed);
    unsigned polled = atomic_load_explicit(&sound->n_polled, memory_order_acquire);
    for (int i = 0; i < n; i++) {
        if (made - polled == N_REPORTS)
            atomic_fetch_add(&sound->n_unreported, 1);
        else
            sound->reports[made++ % N_REPORTS] = reports[i];
    }
    atomic_store_explicit(&sound->n_reported, made, memory_order_release);
}

/* A device asks for buffers as a screen refreshes: the same clock, the same misses. */
static void tick(struct sound *sound, int64_t now_ns, int n_frames)
{
    if (!sound->has_clock) {
        double buffer_ns = 1e9 * n_frames / sound->rate_hz;
        sound->clock = (struct flip_clock){.period_ns = buffer_ns,
                                           .jitter_ns = 0.05 * buffer_ns,
                                           .refresh_ns = now_ns,
                                           .quality = QUALITY_ESTIMATED};
        sound->has_clock = 1;
    } else {
        struct flip flip = {.returned_ns = now_ns};
        flip_clock_stamp(&sound->clock, &flip);
        atomic_fetch_add(&sound->n_underruns, flip.n_missed);
    }
    atomic_fetch_add(&sound->version, 1);
    atomic_store(&sound->frame, sound->mix.frame);
    atomic_store(&sound->time_ns, sound->clock.refresh_ns);
    atomic_store(&sound->frame_ns, sound->clock.period_ns / n_frames);
    atomic_fetch_add(&sound->version, 1);
}

static void fill(void *context, uint8_t *bytes, int size)
{
    struct sound *sound = context;
    struct mix_report reports[MIX_MAX_REPORTS];
    int n_frames = size / (int)sizeof(float) / sound->n_channels;
    tick(sound, clock_now_ns(), n_frames);
    obey(sound);
    int n = mix_fill(&sound->mix, (float *)(void *)bytes, n_frames, sound->n_channels,
                     reports);
    atomic_store(&sound->n_limited, sound->mix.n_limited);
    report(sound, reports, n);
}

static int open_device(struct sound *sound, const struct sound_conf *conf)
{
    SDL_SetHint(SDL_HINT_AUDIO_RESAMPLING_MODE, "best");
    if (SDL_AudioInit(conf->driver) != 0) {
        log_line(LOG_ERROR, "sound: audio driver %s does not start: %s",
                 conf->driver ? conf->driver : "(any)", SDL_GetError());
        return -ENODEV;
    }
    const SDL_AudioSpec wanted = {.freq = conf->rate_hz,
                                  .format = AUDIO_F32SYS,
                                  .channels = (uint8_t)conf->n_channels,
                                  .samples = (uint16_t)conf->buffer_frames,
                                  .callback = fill,
                                  .userdata = sound};
    SDL_AudioSpec got;
    sound->device =
        SDL_OpenAudioDevice(NULL, 0, &wanted, &got, SDL_AUDIO_ALLOW_FREQUENCY_CHANGE);
    if (sound->device == 0) {
        log_line(LOG_ERROR, "sound: no audio device: %s", SDL_GetError());
        return -ENODEV;
    }
    sound->rate_hz = got.freq;
    sound->n_channels = got.channels;
    mix_init(&sound->mix, (float)conf->limit, (int)lround(conf->ramp_s * got.freq));
    log_line(LOG_NOTICE, "sound: %s, %d Hz, %d channels, buffer of %d frames (%.1f ms)",
             SDL_GetCurrentAudioDriver(), got.freq, got.channels, got.samples,
             1e3 * got.samples / got.freq);
    SDL_PauseAudioDevice(sound->device, 0);
    return 0;
}

int sound_open(struct sound **out, const struct sound_conf *conf)
{
    int n = conf->buffer_frames;
    if (conf->rate_hz < 8000 || conf->rate_hz > 192000 || conf->n_channels < 1 ||
        conf->n_channels > 8 || n < 16 || n > 16384 || (n & (n - 1)) ||
        !(conf->limit >= 0.0 && conf->limit <= 1.0) ||
        !(conf->ramp_s >= 0.0 && conf->ramp_s <= 0.05)) {
        log_line(LOG_ERROR,
                 "sound: wanted are a rate of 8000 to 192000 Hz, 1 to 8 "
                 "channels, a buffer of 16 to 16384 frames (a power of two), a "
                 "limit of 0 to 1 and ramps of 0 to 0.05 s");
        return -EINVAL;
    }
    struct sound *sound = calloc(1, sizeof *sound);
    if (!sound)
        return -ENOMEM;
    int err = open_device(sound, conf);
    if (err) {
        sound_close(sound);
        return err;
    }
    *out = sound;
    return 0;
}

void sound_close(struct sound *sound)
{
    if (!sound)
        return;
    if (sound->device)
        SDL_CloseAudioDevice(sound->device);
    SDL_AudioQuit();
    for (int i = 0; i < sound->n_clips; i++)
        free(sound->clips[i].samples);
    free(sound);
}

int sound_rate_hz(const struct sound *sound)
{
    return sound->rate_hz;
}

/* Takes the samples over; frees them if it cannot. */
static int keep(struct sound *sound, float *samples, int64_t n_frames)
{
    if (sound->n_clips == SOUND_N_CLIPS) {
        free(samples);
        return -ENOSPC;
    }
    sound->clips[sound->n_clips] = (struct clip){samples, n_frames};
    return sound->n_clips++;
}

int sound_add(struct sound *sound, const float *samples, int64_t n_frames)
{
    if (n_frames <= 0 || n_frames > FILE_MAX)
        return -EINVAL;
    float *copy = malloc((size_t)n_frames * sizeof *copy);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, samples, (size_t)n_frames * sizeof *copy);
    return keep(sound, copy, n_frames);
}

/* The file's channels averaged: (n_frames) samples of its own rate, or NULL. */
static float *read_mono(SNDFILE *file, const SF_INFO *info)
{
    float *frames =
        malloc((size_t)info->frames * (size_t)info->channels * sizeof *frames);
    if (!frames || sf_readf_float(file, frames, info->frames) != info->frames) {
        free(frames);
        return NULL;
    }
    for (int64_t i = 0; i < info->frames; i++) {
        double sum = 0.0;
        for (int channel = 0; channel < info->channels; channel++)
            sum += (double)frames[i * info->channels + channel];
        frames[i] = (float)(sum / info->channels);
    }
    return frames;
}

/* samples (n_frames) at another rate; takes them over. */
static float *resample(float *samples, int64_t *n_frames, double ratio)
{
    long n_out = (long)ceil((double)*n_frames * ratio) + 1;
    float *out = malloc((size_t)n_out * sizeof *out);
    SRC_DATA job = {.data_in = samples,
                    .data_out = out,
                    .input_frames = (long)*n_frames,
                    .output_frames = n_out,
                    .src_ratio = ratio};
    int err = out ? src_simple(&job, SRC_SINC_BEST_QUALITY, 1) : -1;
    free(samples);
    if (err || job.output_frames_gen == 0) {
        free(out);
        return NULL;
    }
    *n_frames = job.output_frames_gen;
    return out;
}

int sound_load(struct sound *sound, const char *path)
{
    SF_INFO info = {0};
    SNDFILE *file = sf_open(path, SFM_READ, &info);
    const char *reason = file ? "it is empty, too long or broken" : sf_strerror(NULL);
    int64_t n_frames = info.frames;
    float *samples = NULL;
    if (file && info.frames > 0 && info.channels > 0 &&
        info.frames <= FILE_MAX / info.channels)
        samples = read_mono(file, &info);
    if (samples && info.samplerate != sound->rate_hz)
        samples = resample(samples, &n_frames, (double)sound->rate_hz / info.samplerate);
    if (!samples)
        log_line(LOG_ERROR, "sound: %s: %s", path, reason);
    if (file)
        sf_close(file);
    return samples ? keep(sound, samples, n_frames) : -EIO;
}

static int give(struct sound *sound, struct order order)
{
    unsigned n = atomic_load_explicit(&sound->n_given, memory_order_relaxed);
    if (n - atomic_load_explicit(&sound->n_obeyed, memory_order_acquire) == N_ORDERS)
        return -EAGAIN;
    sound->orders[n % N_ORDERS] = order;
    atomic_store_explicit(&sound->n_given, n + 1, memory_order_release);
    return 0;
}

int sound_start(struct sound *sound, uint64_t id, int clip, int64_t at_frame, float gain)
{
    if (clip < 0 || clip >= sound->n_clips || !isfinite(gain) || at_frame > FRAME_MAX)
        return -EINVAL;
    return give(sound, (struct order){.id = id,
                                      .clip = sound->clips[clip],
                                      .at_frame = at_frame,
                                      .gain = gain});
}

int sound_stop(struct sound *sound)
{
    return give(sound, (struct order){0});
}

int sound_poll(struct sound *sound, struct mix_report *report)
{
    unsigned n = atomic_load_explicit(&sound->n_polled, memory_order_relaxed);
    if (n == atomic_load_explicit(&sound->n_reported, memory_order_acquire))
        return 0;
    *report = sound->reports[n % N_REPORTS];
    atomic_store_explicit(&sound->n_polled, n + 1, memory_order_release);
    return 1;
}

void sound_position(struct sound *sound, struct sound_position *position)
{
    unsigned before, after;
    do {
        before = atomic_load(&sound->version);
        position->frame = atomic_load(&sound->frame);
        position->time_ns = atomic_load(&sound->time_ns);
        position->frame_ns = atomic_load(&sound->frame_ns);
        after = atomic_load(&sound->version);
    } while (before != after || before % 2);
    position->n_underruns = atomic_load(&sound->n_underruns);
    position->n_limited = atomic_load(&sound->n_limited);
    position->n_refused = atomic_load(&sound->n_refused);
    position->n_unreported = atomic_load(&sound->n_unreported);
}

int64_t sound_frame_at(struct sound *sound, int64_t time_ns)
{
    struct sound_position position;
    sound_position(sound, &position);
    if (!(position.frame_ns > 0.0))
        return CLOCK_UNKNOWN;
    double since_ns = (double)(time_ns - position.time_ns);
    return position.frame + llround(since_ns / position.frame_ns);
}
