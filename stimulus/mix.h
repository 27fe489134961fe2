/*
 * mix.h: which samples leave for the loudspeaker: pure, so that it is tested without one.
 *
 * Flow:      mix_start() -> each buffer mix_fill() -> samples and what began or ended.
 * Owner:     one thread, the audio device's; memory is the caller's, of fixed size.
 * Units:     frames of the device since it was opened; samples -1..1 of full scale.
 * Errors:    a start in the past begins at once and says so in its report.
 * Invariant: the first sample of a sound is exactly at the frame that was reported; no
 *            sample is beyond the limit, whatever was asked for.
 */
#ifndef EVOKE_MIX_H
#define EVOKE_MIX_H

#include <stdint.h>

#define MIX_N_VOICES    32
#define MIX_MAX_REPORTS (2 * MIX_N_VOICES) /* of one mix_fill() */
#define MIX_RAMP_MAX    9600               /* frames: 50 ms at 192 kHz */
#define MIX_AT_ONCE     INT64_MIN

enum mix_what { MIX_BEGAN = 1, MIX_ENDED = 2 };

struct mix_report {
    uint64_t id;
    int64_t frame;       /* the first sample, or the one after the last */
    int64_t asked_frame; /* MIX_BEGAN: where it should have been */
    enum mix_what what;
};

struct mix_voice {
    const float *samples; /* (n_frames), the caller's until MIX_ENDED; NULL: free */
    int64_t n_frames;
    uint64_t id;
    int64_t asked_frame, first_frame;
    int64_t end_frame; /* cut here; else first_frame + n_frames */
    float gain;
    int has_begun;
};

struct mix {
    int64_t frame; /* the next one to fill */
    float limit;
    uint64_t n_limited; /* samples that the limit cut */
    int n_ramp;
    float ramp[MIX_RAMP_MAX]; /* raised cosine from 0 to 1 */
    struct mix_voice voices[MIX_N_VOICES];
};

/* [any] limit: 0..1; n_ramp: length of the ramp at both ends of each sound, 0 to
 * MIX_RAMP_MAX. */
void mix_init(struct mix *mix, float limit, int n_ramp);

/* [rt] Play samples (n_frames) times gain from at_frame on, or from the next frame that is
 * filled if that has passed. 0, -ENOSPC: as many as it can play are waiting. */
int mix_start(struct mix *mix, uint64_t id, const float *samples, int64_t n_frames,
              int64_t at_frame, float gain);

/* [rt] Ramp down all that plays, from the next frame on; drop what waits. */
void mix_stop(struct mix *mix);

/* [rt] The next n_frames, each to n_channels alike, into out (n_frames, n_channels);
 * reports takes MIX_MAX_REPORTS. Returns how many were made. */
int mix_fill(struct mix *mix, float *out, int n_frames, int n_channels,
             struct mix_report *reports);

#endif
