/*
 * sound.h: the audio device: sounds loaded beforehand, started at an exact sample. The only
 * user of SDL's audio and of libsndfile.
 *
 * Flow:      files or samples -> sound_load(), sound_add() -> sound_start() -> the device's
 *            thread mixes (mix.h) -> sound_poll(): what began and ended at which frame.
 * Owner:     one thread for all functions here; the device's own thread shares nothing with
 *            it but two queues and the position, without a lock.
 * Memory:    a clip's samples are the sound's, from loading to sound_close().
 * Units:     frames of the device since it was opened; ns of CLOCK_MONOTONIC when a
 *            buffer was asked for: what is heard comes a constant device latency later.
 * Errors:    -errno; the text is logged where it happened.
 */
#ifndef EVOKE_SOUND_H
#define EVOKE_SOUND_H

#include <stdint.h>

#include "mix.h"

#define SOUND_N_CLIPS 1024

struct sound;

struct sound_conf {
    const char *driver; /* SDL's name of the audio driver; NULL: what there is */
    int rate_hz, n_channels;
    int buffer_frames; /* a power of two */
    double ramp_s;     /* at both ends of each sound */
    double limit;      /* 0..1 of full scale: never louder, whatever was asked for */
};

struct sound_position {
    int64_t frame;         /* the first frame of the last buffer that was filled */
    int64_t time_ns;       /* when it was asked for, on the fitted clock of the buffers */
    double frame_ns;       /* length of a frame by that clock */
    uint64_t n_underruns;  /* buffers that came too late */
    uint64_t n_limited;    /* samples that the limit cut */
    uint64_t n_refused;    /* starts that found every voice taken */
    uint64_t n_unreported; /* reports that nobody fetched */
};

/* [slow] Open the device; it plays silence. 0; -ENODEV; -EINVAL; -ENOMEM. */
int sound_open(struct sound **sound, const struct sound_conf *conf);
void sound_close(struct sound *sound);

/* [any] As the device gave it. */
int sound_rate_hz(const struct sound *sound);

/* [slow] Keep samples (n_frames) ready; the number of the clip, or -ENOSPC, -ENOMEM,
 * -EINVAL. */
int sound_add(struct sound *sound, const float *samples, int64_t n_frames);

/* [slow] The same from a file that libsndfile reads: its channels are averaged, and it is
 * resampled to the device's rate. The clip; -EIO; else as sound_add(). */
int sound_load(struct sound *sound, const char *path);

/* [rt] Play a clip from at_frame on (MIX_AT_ONCE: as soon as it can be). 0; -EINVAL: no
 * such clip, or no gain or time that can be; -EAGAIN: the queue is full. */
int sound_start(struct sound *sound, uint64_t id, int clip, int64_t at_frame, float gain);

/* [rt] Silence, by a ramp; what waits is dropped. 0 or -EAGAIN. */
int sound_stop(struct sound *sound);

/* [rt] The oldest report that was not fetched yet: 1, or 0 if there is none. */
int sound_poll(struct sound *sound, struct mix_report *report);

/* [rt] */
void sound_position(struct sound *sound, struct sound_position *position);

/* [rt] The frame that is asked for at this time; CLOCK_UNKNOWN before the first buffer. */
int64_t sound_frame_at(struct sound *sound, int64_t time_ns);

#endif
