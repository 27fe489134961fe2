/*
 * screen.h: the window on the screen: grey, a patch, the photodiode square, and flips.
 * The only user of SDL's video.
 *
 * Flow:      EVENT_SCREEN -> screen_open(); pixels -> screen_store(); each frame
 *            screen_draw() -> screen_flip() -> struct flip.
 * Owner:     the display's one thread.
 * Memory:    taken by screen_open(): one texture a slot, of the patch's size in pixels, so
 *            that showing is a copy one to one and the same on every driver.
 * Units:     linear light 0..1 of the screen's range; grey level v of a pixel is v/255.
 * Errors:    -errno; the text is logged where it happened.
 * Invariant: a stimulus' pixel (row, column) covers the patch's pixels (y, x) with
 *            row = floor((y + 1/2) height / patch height), column likewise.
 */
#ifndef EVOKE_SCREEN_H
#define EVOKE_SCREEN_H

#include <stddef.h>
#include <stdint.h>

#include "flip.h"
#include "protocol/event.h"

struct screen;

struct screen_conf {
    const char *driver; /* SDL's name of the video driver; NULL: what there is */
    double refresh_hz;  /* of frames that no vertical blank paces */
    int n_slots;
};

/* [slow] Open the window that EVENT_SCREEN describes, find out what it can do and show
 * grey. Without a screen SDL's offscreen and dummy drivers are taken. 0; -EINVAL: settings
 * that no screen can have; -ENODEV: no driver works; -ENOMEM. */
int screen_open(struct screen **screen, const struct event *settings,
                const struct screen_conf *conf);
void screen_close(struct screen *screen);

/* [any] EVENT_DISPLAY: driver, size, refresh, quality; its text is the screen's. */
void screen_describe(const struct screen *screen, struct event *ev);

/* [any] */
double screen_period_ns(const struct screen *screen);

/* [slow] Pixels of an EVENT_STIMULUS into a slot. 0; -ERANGE: light beyond the screen's
 * range; -EIO. */
int screen_store(struct screen *screen, int slot, const struct event *ev);

/* [rt] Draw the next frame: grey, the patch from a slot (none if slot < 0; the photodiode
 * square is white while there is one). */
void screen_draw(struct screen *screen, int slot);

/* [rt] Put the drawn frame on the screen and wait for that. 0 or -EIO. */
int screen_flip(struct screen *screen, struct flip *flip);

/* [rt] The refresh that the next flip is expected to hit, and until when its drawing can
 * wait for news. */
int64_t screen_due_ns(const struct screen *screen);
int64_t screen_draw_by_ns(const struct screen *screen);

/* [slow] What screen_draw() drew, before the flip: rgb (height, width, 3). 0 or -EIO. */
int screen_read_pixels(struct screen *screen, uint8_t *rgb);

/* [rt] Did somebody press Escape or close the window? Also keeps the window alive. */
int screen_wants_to_close(struct screen *screen);

#endif
