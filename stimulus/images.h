/*
 * images.h: stimuli that nobody optimised: dead leaves and 1/f noise made here, or
 * pictures from a folder.
 *
 * Flow:      images_open() -> images_get(seed, i) -> space_project().
 * Owner:     whoever opened it; read-only afterwards, so threads may share a set.
 * Memory:    a set from a folder is loaded whole at start; generated ones need the
 *            caller's work only.
 * Units:     x is light up to a scale and shift, which the projection sets.
 * Errors:    any file that is no picture stops images_open() with a reason in words.
 * Invariant: image i of a set is a pure function of (set, seed, i), so a session needs to
 *            record only seed and i.
 */
#ifndef EVOKE_IMAGES_H
#define EVOKE_IMAGES_H

#include <stddef.h>
#include <stdint.h>

enum images_kind {
    IMAGES_NOISE = 1,  /* spectrum amplitude 1/f */
    IMAGES_LEAVES = 2, /* dead leaves: discs, radii ~ r^-3 (Lee, Mumford & Huang 2001) */
    IMAGES_MIXED = 3,  /* the two in turn */
    IMAGES_WHITE = 4,  /* white noise */
    IMAGES_FOLDER = 5  /* *.png and *.npy of a folder, in order of name */
};

struct images;

/* [slow] path: for IMAGES_FOLDER, else NULL. A .npy holds (N, height, width) or (height,
 * width), u1 or f4; a PNG's values are taken as linear light, colour as its luminance.
 * Pictures are cut to the aspect ratio from their centre and area-averaged to height x
 * width. 0 or -errno; text says why. */
int images_open(struct images **images, enum images_kind kind, const char *path,
                int height, int width, char *text, size_t text_size);
void images_close(struct images *images); /* NULL ok */

/* [any] Number of pictures of a folder; INT64_MAX for generated ones. */
int64_t images_n(const struct images *images);

/* [any] Image i of this seed into x (height, width), not yet projected; work:
 * images_work_size() bytes. A folder's are drawn with replacement by (seed, i). */
size_t images_work_size(const struct images *images);
void images_get(const struct images *images, uint64_t seed, uint64_t i, void *work,
                float *x);

/* [any] Identity of the set. */
uint64_t images_hash(const struct images *images);

#endif
