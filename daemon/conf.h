/*
 * conf.h: one configuration file for a session: read, checked, printed.
 *
 * Flow:   file -> conf_read() -> struct conf -> conf_loop() -> struct loop_conf. The text
 *         that conf_print() makes reads back as the same configuration; it is what the
 *         session file keeps.
 * Errors: conf_read() gives 0 or -EINVAL / -errno and one line that says what to change.
 */
#ifndef EVOKE_CONF_H
#define EVOKE_CONF_H

#include <stdio.h>

#include "daemon/loop.h"
#include "stimulus/job.h"

#define CONF_TEXT 256 /* longest text value */

struct conf {
    struct {
        char name[CONF_TEXT], directory[CONF_TEXT];
        int64_t seed;
        int resume;
    } session;
    struct {
        char endpoint[CONF_TEXT];
        int insecure;
        int64_t units, sources, diode_line;
        double history_s, max_bin_hz, silence_s;
    } ingest;
    struct {
        int start, fullscreen, quality, diode_corner;
        double refresh_hz;
        double width_cm, height_cm, distance_cm, x_deg, y_deg, size_deg, diode_deg;
        double grey, silence_ms;
    } display;
    struct {
        int height, width, frames;
        double rms;
        int images;
        char folder[CONF_TEXT];
    } stimulus;
    struct {
        int external;
        double stimulus_ms, gap_ms, delay_ms, window_ms, onset_timeout_ms,
            counts_timeout_ms;
        int64_t max_attempts;
    } trial;
    struct {
        int kind, front, posterior;
        double memory_mb, prior_sd, smooth_px, smooth_frames, bias_sd, forgetting;
    } model;
    struct {
        int policy;
        int64_t start, trials, together;
    } learn;
    struct {
        int64_t trials;
    } mei;
    struct {
        int64_t max_steps, candidates, workers, ahead;
        double step, blur_px, settle;
    } optimise;
    struct {
        int start, kind, diode;
        int64_t seed;
        double rate_best, rate_grey, bin_ms, sample_rate_hz, drift_ppm, lose;
    } sim;
};

/* [slow] Read a file over the defaults. text: what is wrong. */
int conf_read(struct conf *conf, const char *path, char *text, size_t size);

/* [slow] The same from a string; name: of it, for the messages. */
int conf_read_text(struct conf *conf, const char *ini, const char *name, char *text,
                   size_t size);

/* [slow] All keys with their values; with help: and what each means. */
void conf_print(const struct conf *conf, FILE *to, int help);

/* [slow] What the loop and its workers need; images is the caller's and may be NULL for
 * external stimuli. */
void conf_loop(const struct conf *conf, struct loop_conf *loop);
void conf_job(const struct conf *conf, const struct images *images, struct job_conf *job);

/* [any] The folder of the images, NULL where they are made. */
const char *conf_folder(const struct conf *conf);

/* [slow] The folder of the sockets: $EVOKE_RUNTIME, else $RUNTIME_DIRECTORY, else
 * $XDG_RUNTIME_DIR/evoke, else /tmp/evoke-UID. */
void conf_runtime(char *path, size_t size);

/* [slow] Endpoint of one of our own sockets ("display", "publish", "control", "ingest"). */
void conf_endpoint(const char *socket, char *endpoint, size_t size);

#endif
