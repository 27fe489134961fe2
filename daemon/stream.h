/*
 * stream.h: stimuli that another system showed: a trial for each frame, with the frames
 * before it as context.
 *
 * Flow:   stream_add() keeps a frame; stream_next() gives the oldest frame whose response
 *         has come, as the model's stimulus vector (n_frames, height, width).
 * Owner:  the loop. Memory: caller's, stream_size() bytes.
 * Units:  the window is in the samples of the frame's own source.
 * Invariant: a frame is a trial only if the frames before it follow each other without a
 *         gap; a new start or a pause in the stream begins a new history.
 */
#ifndef EVOKE_STREAM_H
#define EVOKE_STREAM_H

#include "daemon/source.h"

struct stream_conf {
    int n_frames, height, width;
    int n_kept;         /* frames that may wait for their counts */
    int64_t delay_ns;   /* of the window, from the frame's onset */
    int64_t window_ns;  /* its length; 0: the frame's own */
    int64_t timeout_ns; /* give up when its counts have not come after so long */
    float grey;
};

struct stream_trial {
    const float *x; /* (n_frames, height, width) */
    uint64_t hash;
    int64_t onset_ns, window_ns;
    int64_t uncertainty_ns;
    int learn;
    enum verdict verdict;
};

struct stream;

size_t stream_size(const struct stream_conf *conf); /* [any] */
struct stream *stream_init(void *mem, const struct stream_conf *conf);

/* [rt] Keep a frame: 0, -EINVAL if it has another size than the session's, -ENOSPC if
 * too many wait already. */
int stream_add(struct stream *stream, const struct event *ev);

/* [rt] A clock began anew: what frames so far say of their time is no longer true. Those
 * that wait get this verdict, those to come a new history. */
void stream_break(struct stream *stream, enum verdict why);

/* [rt] The next trial, if one is decided by now; response: (n_units). 1 or 0. */
int stream_next(struct stream *stream, struct sources *sources, int64_t now_ns,
                struct stream_trial *trial, float *response);

#endif
