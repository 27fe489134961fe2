/*
 * mei.h: the most exciting input of neurons of a twin, by gradient ascent from an image,
 * under the constraints of image_ops.h (Walker et al. 2019; Bashivan et al. 2019).
 *
 * Flow:      mei_init() with a start image -> mei_step() as often as there is time, or
 *            mei_run() until it stops by itself -> mei_best().
 * Owner:     one worker; twins are shared and only read.
 * Memory:    the caller's, mei_size() bytes, 64-byte aligned; nothing is allocated.
 * Units:     images and rates as the twins' (twin.h).
 * Errors:    mei_check() says in words what a configuration lacks; then nothing fails.
 * Invariant: only the receptive fields' windows are computed. No clock and no draw
 *            inside: the same start gives the same bits, whoever computes it.
 */
#ifndef EVOKE_MEI_H
#define EVOKE_MEI_H

#include <stddef.h>
#include <stdint.h>

#include "models/image_ops.h"
#include "models/twin.h"

#define MEI_MAX_MEMBERS 32
#define MEI_MAX_OPS     4

/* What is made large: sum over members of sum over units of weight * rate. One member is
 * one network, or one draw from a readout's posterior; a mean has weights of 1 / n, the
 * most suppressive input a weight of -1, a population as many units as it likes. */
struct mei_member {
    const struct twin *twin;
    const struct twin_readout *readout; /* NULL: the twin's own */
    const uint32_t *units;              /* (n_units) */
    const float *weights;               /* (n_units) */
    int n_units;
};

enum mei_rule {
    MEI_GRADIENT, /* x += step * gradient */
    MEI_ADAM,     /* Kingma & Ba 2015, as PyTorch's */
    MEI_BOLD      /* x += step * |x| / |gradient| * gradient from a start brought under
                   * the constraints; a step that lowers the objective is taken back and
                   * made half as long, one that raises it doubles the next, up to step */
};

enum mei_penalty_kind { MEI_NO_PENALTY, MEI_P_NORM, MEI_VARIATION, MEI_SIMILARITY };

struct mei_penalty {
    enum mei_penalty_kind kind;
    double weight, p;
};

struct mei_conf {
    const struct mei_member *members;
    int n_members;
    int n_images; /* more than one: diverse images, objective and penalty over all */
    enum mei_rule rule;
    double step;
    struct image_op gradient_op[MEI_MAX_OPS]; /* before the step, in this order */
    struct image_op image_op[MEI_MAX_OPS];    /* after it */
    struct mei_penalty penalty;
    int first_iteration; /* what the operators' decay counts from: 0 or 1 */
    double stop_gain; /* stop when stop_after steps gained less than this part of the */
    int stop_after;   /* objective; 0: never */
};

struct mei;

/* [any] NULL, or why this configuration cannot be. */
const char *mei_check(const struct mei_conf *conf);

size_t mei_size(const struct mei_conf *conf);

/* [slow] conf and what it points to are kept, not copied. start: (n_images, channels,
 * height, width). */
struct mei *mei_init(void *mem, const struct mei_conf *conf, const float *start);

/* [rt] One step; returns the objective (less the penalty) of the image before it. */
double mei_step(struct mei *mei);

/* [rt] Steps until the search stops by itself, max_steps are done, or go_on(arg) is 0
 * (asked before each step: a deadline). Returns the steps done. */
int mei_run(struct mei *mei, int max_steps, int (*go_on)(void *arg), void *arg);

/* [rt] Images as they are now, and their objective, computed. */
const float *mei_images(const struct mei *mei);
double mei_objective(struct mei *mei);

/* [rt] The best images that any step has made, their objective in *objective (-infinity
 * before the second step: each step looks at what the one before it made). */
const float *mei_best(const struct mei *mei, double *objective);

#endif
