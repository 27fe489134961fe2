#include "stream.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "protocol/clock.h"
#include "protocol/memory.h"
#include "protocol/wire.h"

struct frame {
    int64_t first_sample, end_sample;
    int64_t arrival_ns;
    double rate_hz;
    int from; /* index of its source */
    int learn;
    int depth; /* frames before it that it follows without a gap */
    enum verdict broken;
};

struct stream {
    struct stream_conf conf;
    int n_slots;
    int64_t n_added, n_answered; /* frame i lies in slot i % n_slots */
    struct frame *frames;        /* (n_slots) */
    float *pixels;               /* (n_slots, height, width), contrast */
    float *x;                    /* (n_frames, height, width) */
};

static size_t lay_out(struct stream *stream, const struct stream_conf *conf, void *mem)
{
    struct memory memory = {mem, 0};
    size_t n_pixels = (size_t)conf->height * (size_t)conf->width;

    memory_take(&memory, 1, sizeof(*stream));
    stream->n_slots = conf->n_kept + conf->n_frames;
    stream->frames = memory_take(&memory, (size_t)stream->n_slots, sizeof(struct frame));
    stream->pixels =
        memory_take(&memory, (size_t)stream->n_slots * n_pixels, sizeof(float));
    stream->x = memory_take(&memory, (size_t)conf->n_frames * n_pixels, sizeof(float));
    return memory.size;
}

size_t stream_size(const struct stream_conf *conf)
{
    struct stream measured;
    return lay_out(&measured, conf, NULL);
}

struct stream *stream_init(void *mem, const struct stream_conf *conf)
{
    struct stream *stream = memset(mem, 0, stream_size(conf));

    stream->conf = *conf;
    lay_out(stream, conf, mem);
    return stream;
}

static struct frame *frame_at(const struct stream *stream, int64_t i)
{
    return &stream->frames[i % stream->n_slots];
}

static float *pixels_at(const struct stream *stream, int64_t i)
{
    return stream->pixels +
           (i % stream->n_slots) * (int64_t)stream->conf.height * stream->conf.width;
}

/* Does the frame begin where the one before it ended (within half of its length)? */
static int follows(const struct frame *frame, const struct frame *before)
{
    int64_t gap = frame->first_sample - before->end_sample;
    int64_t half = (frame->end_sample - frame->first_sample) / 2;
    return !before->broken && frame->from == before->from && gap <= half && gap >= -half;
}

int stream_add(struct stream *stream, const struct event *ev)
{
    struct frame *frame = frame_at(stream, stream->n_added);
    float *pixels = pixels_at(stream, stream->n_added);
    int n_pixels = stream->conf.height * stream->conf.width;

    if (ev->external.height != (uint32_t)stream->conf.height ||
        ev->external.width != (uint32_t)stream->conf.width)
        return -EINVAL;
    if (stream->n_added - stream->n_answered >= stream->conf.n_kept)
        return -ENOSPC;
    frame->first_sample = ev->external.first_sample;
    frame->end_sample = ev->external.first_sample + ev->external.n_samples;
    frame->arrival_ns = ev->time_ns;
    frame->rate_hz = ev->external.sample_rate_hz;
    frame->from = ev->source - 1;
    frame->learn = (int)ev->external.learn;
    frame->depth = 0;
    frame->broken = VERDICT_VALID;
    if (stream->n_added > 0) {
        const struct frame *before = frame_at(stream, stream->n_added - 1);
        if (follows(frame, before))
            frame->depth = before->depth + 1;
    }
    dtype_light(ev->data, ev->external.dtype, (size_t)n_pixels, pixels);
    for (int i = 0; i < n_pixels; i++)
        pixels[i] = (pixels[i] - stream->conf.grey) / stream->conf.grey;
    stream->n_added++;
    return 0;
}

void stream_break(struct stream *stream, enum verdict why)
{
    int64_t newest = stream->n_added - 1;

    for (int64_t i = stream->n_answered; i < newest; i++)
        frame_at(stream, i)->broken = why;
    if (newest >= 0) /* even if it is answered: none shall follow it */
        frame_at(stream, newest)->broken = why;
}

/* The stimulus vector that ends with frame i. */
static void assemble(struct stream *stream, int64_t i)
{
    size_t n_pixels = (size_t)stream->conf.height * (size_t)stream->conf.width;

    for (int k = 0; k < stream->conf.n_frames; k++)
        memcpy(stream->x + (size_t)k * n_pixels,
               pixels_at(stream, i - stream->conf.n_frames + 1 + k),
               n_pixels * sizeof(float));
}

int stream_next(struct stream *stream, struct sources *sources, int64_t now_ns,
                struct stream_trial *trial, float *response)
{
    const struct stream_conf *conf = &stream->conf;
    struct window_at at;
    const struct frame *frame;
    enum window window;

    while (stream->n_answered < stream->n_added &&
           frame_at(stream, stream->n_answered)->depth < conf->n_frames - 1)
        stream->n_answered++; /* context only */
    if (stream->n_answered == stream->n_added)
        return 0;
    frame = frame_at(stream, stream->n_answered);
    at.onset_ns = frame->broken ? CLOCK_UNKNOWN
                                : clockmap_host_ns(&sources->source[frame->from].map,
                                                   frame->first_sample);
    at.sample = frame->first_sample;
    at.from = frame->from;
    at.delay_ns = conf->delay_ns;
    at.length_ns = conf->window_ns
                       ? conf->window_ns
                       : llrint((double)(frame->end_sample - frame->first_sample) /
                                frame->rate_hz * (double)NS_PER_S);
    window = sources_window(sources, &at, response, &trial->uncertainty_ns);
    if (!frame->broken && (window == WINDOW_WAIT || window == WINDOW_UNKNOWN) &&
        now_ns - frame->arrival_ns < conf->timeout_ns)
        return 0;
    trial->verdict = frame->broken               ? frame->broken
                     : window == WINDOW_COMPLETE ? VERDICT_VALID
                     : window == WINDOW_HOLE     ? VERDICT_COUNTS_LOST
                                                 : VERDICT_NO_COUNTS;
    assemble(stream, stream->n_answered);
    trial->x = stream->x;
    trial->hash = wire_hash(WIRE_HASH_START, stream->x,
                            (size_t)conf->n_frames * (size_t)conf->height *
                                (size_t)conf->width * sizeof(float));
    trial->onset_ns = at.onset_ns;
    trial->window_ns =
        at.onset_ns == CLOCK_UNKNOWN ? CLOCK_UNKNOWN : at.onset_ns + conf->delay_ns;
    trial->learn = frame->learn;
    stream->n_answered++;
    return 1;
}
