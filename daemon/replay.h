/*
 * replay.h: a session folded again from its file.
 *
 * Flow:      session -> the same loop, fed with the recorded inputs -> what it says,
 *            compared with what is recorded; jobs are done again from the snapshots.
 * Errors:    -errno and one line of text that names the first difference.
 * Invariant: on the same CPU kernel a session replays bit for bit.
 */
#ifndef EVOKE_REPLAY_H
#define EVOKE_REPLAY_H

#include "daemon/conf.h"
#include "daemon/session.h"

struct replay_count {
    int64_t n_events;   /* rows read */
    int64_t n_compared; /* things that the loop said, equal to the record */
    int64_t n_jobs;     /* stimuli made again, equal to the record */
    int64_t n_skipped;  /* jobs not made again: their image folder is not here */
    int64_t n_trials, n_valid;
    uint64_t model; /* identity of the final model */
    int complete;   /* the session was ended, not killed */
};

struct replay;

/* [slow] Fold the whole session. verify: compare everything and stop at the first
 * difference (-EBADMSG). */
int replay_open(struct replay **replay, struct session *session, int verify,
                struct replay_count *count, char *text, size_t size);
void replay_close(struct replay *replay);

/* [any] What came out. */
struct model *replay_model(struct replay *replay);
const struct conf *replay_conf(const struct replay *replay);

/* [slow] The stimulus that this job gives on the final model, e.g. an MEI; pixels
 * (height, width) of DTYPE_U8, valid until the next call. */
const struct event *replay_job(struct replay *replay, unsigned kind, uint32_t unit);

#endif
