/*
 * keep.h: the life of a session file: named, begun with what an interrupted one had
 * learned, and ended with the final model.
 *
 * Errors: -errno after one logged line.
 */
#ifndef EVOKE_KEEP_H
#define EVOKE_KEEP_H

#include "daemon/conf.h"
#include "daemon/record.h"

struct keep {
    struct record *record;
    char path[1024];
};

/* [slow] A new session file for this configuration, with all that identifies it. If the
 * last session of this name was interrupted, its final model is put into model, and the
 * new file names the old one (meta "continues") and keeps that model. images: of the
 * random stimuli, NULL if there are none. */
int keep_open(struct keep *keep, const struct conf *conf, const struct images *images,
              struct model *model);

/* [slow] The final model, and, if ended, that the session came to its end. */
int keep_final(struct keep *keep, const struct model *model, int ended);

void keep_close(struct keep *keep);

/* [any] What this program was built from, as a session file's meta "git" has it. */
const char *keep_git(void);

#endif
