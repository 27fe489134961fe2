#include "mix.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "protocol/log.h"

void mix_init(struct mix *mix, float limit, int n_ramp)
{
    CHECK(limit >= 0.0f && limit <= 1.0f && n_ramp >= 0 && n_ramp <= MIX_RAMP_MAX);
    memset(mix, 0, sizeof *mix);
    mix->limit = limit;
    mix->n_ramp = n_ramp;
    for (int i = 0; i < n_ramp; i++)
        mix->ramp[i] = (float)(0.5 - 0.5 * cos(acos(-1.0) * (i + 0.5) / n_ramp));
}

int mix_start(struct mix *mix, uint64_t id, const float *samples, int64_t n_frames,
              int64_t at_frame, float gain)
{
    CHECK(n_frames > 0);
    for (int i = 0; i < MIX_N_VOICES; i++) {
        struct mix_voice *voice = &mix->voices[i];
        if (voice->samples)
            continue;
        int64_t first = at_frame > mix->frame ? at_frame : mix->frame;
        *voice = (struct mix_voice){.samples = samples,
                                    .n_frames = n_frames,
                                    .id = id,
                                    .asked_frame = at_frame,
                                    .first_frame = first,
                                    .end_frame = first + n_frames,
                                    .gain = gain};
        return 0;
    }
    return -ENOSPC;
}

void mix_stop(struct mix *mix)
{
    for (int i = 0; i < MIX_N_VOICES; i++) {
        struct mix_voice *voice = &mix->voices[i];
        int64_t end = mix->frame + mix->n_ramp;
        if (voice->samples && !voice->has_begun)
            voice->samples = NULL;
        else if (voice->samples && end < voice->end_frame)
            voice->end_frame = end;
    }
}

static float envelope(const struct mix *mix, const struct mix_voice *voice, int64_t frame)
{
    int64_t since = frame - voice->first_frame, left = voice->end_frame - 1 - frame;
    float up = since < mix->n_ramp ? mix->ramp[since] : 1.0f;
    float down = left < mix->n_ramp ? mix->ramp[left] : 1.0f;
    return up * down;
}

/* Add one voice's part of the frames from mix->frame to end to out; its reports. */
static int add_voice(struct mix *mix, struct mix_voice *voice, float *out, int64_t end,
                     int n_channels, struct mix_report *reports)
{
    int n_reports = 0;
    int64_t from = voice->first_frame > mix->frame ? voice->first_frame : mix->frame;
    int64_t to = voice->end_frame < end ? voice->end_frame : end;
    if (voice->first_frame < end && !voice->has_begun) {
        voice->has_begun = 1;
        reports[n_reports++] = (struct mix_report){.id = voice->id,
                                                   .frame = voice->first_frame,
                                                   .asked_frame = voice->asked_frame,
                                                   .what = MIX_BEGAN};
    }
    for (int64_t frame = from; frame < to; frame++) {
        float sample = voice->gain * envelope(mix, voice, frame) *
                       voice->samples[frame - voice->first_frame];
        for (int channel = 0; channel < n_channels; channel++)
            out[(frame - mix->frame) * n_channels + channel] += sample;
    }
    if (voice->end_frame <= end) {
        voice->samples = NULL;
        reports[n_reports++] = (struct mix_report){
            .id = voice->id, .frame = voice->end_frame, .what = MIX_ENDED};
    }
    return n_reports;
}

int mix_fill(struct mix *mix, float *out, int n_frames, int n_channels,
             struct mix_report *reports)
{
    int n_reports = 0, n = n_frames * n_channels;
    int64_t end = mix->frame + n_frames;
    memset(out, 0, (size_t)n * sizeof *out);
    for (int i = 0; i < MIX_N_VOICES; i++)
        if (mix->voices[i].samples)
            n_reports += add_voice(mix, &mix->voices[i], out, end, n_channels,
                                   reports + n_reports);
    for (int i = 0; i < n; i++) {
        if (fabsf(out[i]) <= mix->limit)
            continue;
        mix->n_limited++;
        out[i] = isnan(out[i]) ? 0.0f : copysignf(mix->limit, out[i]);
    }
    mix->frame = end;
    return n_reports;
}
