/*
 * final_model.h: the model as a session left it, and what can be asked of it.
 *
 * Flow:   session -> final_model_open() -> final_model_field(), final_model_mei().
 * Memory: its own; some floats come out. Errors: -errno and one line of text.
 * Invariant: the answers depend on the session file alone (and, for an MEI that starts
 *            from a folder's pictures, on that folder).
 */
#ifndef EVOKE_FINAL_MODEL_H
#define EVOKE_FINAL_MODEL_H

#include "daemon/conf.h"
#include "daemon/session.h"

struct final_model;

int final_model_open(struct final_model **final, struct session *session,
                     const struct conf *conf, char *text, size_t size);
void final_model_close(struct final_model *final); /* NULL ok */

/* The linear receptive field of a unit; rf: (n_frames, height, width). */
void final_model_field(struct final_model *final, uint32_t unit, float *rf);

/* The most exciting input of a unit: x (height, width), contrast, as an 8-bit display
 * shows it; rate: expected count. -ENOTSUP for a model of more than one frame, or the
 * error of opening the pictures to start from. */
int final_model_mei(struct final_model *final, uint32_t unit, float *x, double *rate,
                    char *text, size_t size);

#endif
