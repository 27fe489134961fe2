/*
 * report.h: what a session says, as plain arrays, and the numbers made from them.
 *
 * Flow:      session file -> report_read() -> report_score() -> report_model() ->
 *            report_json(), report_html(): two writings of the same numbers.
 * Owner:     the one who called report_read(), until report_close().
 * Memory:    grows as the file is read; a valid trial keeps its responses.
 * Units:     _s is seconds since the first event of the session.
 * Errors:    -errno and one line of text; what a session does not tell is NAN or NULL.
 * Invariant: every number on the page is a field here, and so is in report.json.
 */
#ifndef EVOKE_REPORT_H
#define EVOKE_REPORT_H

#include <stddef.h>

#include "daemon/conf.h"
#include "daemon/session.h"

#define REPORT_SHOWN   24  /* units that the page shows one by one */
#define REPORT_KINDS   4   /* external, random, info-max, MEI: enum job from 0 */
#define REPORT_BINS    48  /* of predicted counts: eight a decade from 0.001 on */
#define REPORT_REPEATS 256 /* most repeats of a stimulus that are used */

struct report_trial {
    uint64_t number, hash;
    double time_s;
    int64_t uncertainty_ns, latency_ns; /* CLOCK_UNKNOWN where it is */
    uint32_t verdict, kind, unit, learned;
    float *response; /* (2, n_units): observed, predicted; NULL unless valid */
};

struct report_span { /* of one state of the loop; why it was entered */
    double from_s, to_s;
    uint32_t state;
    char *why;
};

struct report_note {
    double time_s;
    char *text;
};

struct report_mean {
    uint64_t n;
    double mean, error; /* standard error of the mean */
};

enum report_mei { REPORT_MEI_NONE, REPORT_MEI_SHOWN, REPORT_MEI_NOW };

struct report_unit {
    uint64_t n; /* trials learned from in which it was observed */
    double mean_count;
    double correlation;              /* prequential: of trials predicted, then learned */
    double correlation_late;         /* of their second half */
    double bits_per_spike;           /* prequential, over a constant rate */
    double field_cosine, mei_cosine; /* with the true filter */
    double mei_rate;                 /* that the model expects for its MEI */
    uint64_t mei_hash;
    enum report_mei mei_from;
    struct report_mean own, control; /* response to its MEI, to random stimuli between */
    double gain;                     /* own over control */
    double repeat_correlation;       /* of the prediction with the mean of repeats */
    double explainable, explained;   /* fractions of variance, from repeats */
    double cc_norm;                  /* repeat_correlation over its ceiling */
    float *truth, *mei;              /* (height, width); NULL: unknown */
    float *field;                    /* (n_frames, height, width) */
    int field_frame;                 /* the one with most in it */
};

/* Correlation in sliding blocks of trials that one policy chose. */
struct report_curve {
    int n_trials; /* of this kind, learned from */
    int n_block;  /* trials in a block */
    int n_points;
    double *trial;  /* (n_points) number of a block's last trial */
    double *median; /* (n_points) over units */
    double *unit;   /* (n_points, n_units) */
};

struct report_bin {
    uint64_t n;
    double predicted, observed, error; /* means, standard error of observed */
};

struct report_quantiles {
    uint64_t n;
    double p50, p99, most;
    double *sorted; /* (n) */
};

struct report {
    const char *path;
    struct conf conf;
    char *conf_text;
    char conf_wrong[512]; /* why the configuration cannot be read; empty: it can */
    char model_wrong[512];
    char **meta; /* as report_meta_keys[] */
    uint64_t n_events, chain;
    double length_s;
    int is_whole; /* it came to state END */
    int n_units, n_frames, height, width;

    struct report_trial *trials;
    size_t n_trials, n_valid, n_learned;
    uint64_t verdicts[VERDICT_END + 1], kinds[REPORT_KINDS];
    struct report_span *spans;
    size_t n_spans;
    struct report_note *notes;
    size_t n_notes;
    uint64_t rejects[REJECT_END + 1], n_lost;

    char *driver; /* of the display; NULL: there was none */
    double refresh_hz;
    uint32_t display_width, display_height;
    uint64_t flips[QUALITY_PHOTODIODE + 1], late_onsets, n_frames_shown, late_frames;

    struct report_unit *units; /* (n_units) */
    int *order;                /* (n_units) best first */
    struct report_curve curves[REPORT_KINDS];
    struct report_bin bins[2][REPORT_BINS]; /* first and second half of the trials */
    struct report_quantiles latency_ms, uncertainty_ms;
    size_t n_repeated, n_repeats; /* stimuli held out and repeated, trials of them */
    int n_mei_cosine, n_gain;     /* units that have one */
    /* medians over units that have one */
    double correlation, correlation_late, bits_per_spike, field_cosine, mei_cosine, gain,
        repeat_correlation, explainable, explained;
};

/* Meta keys of a session that the report tells, and what they mean. */
struct report_meta_key {
    const char *key, *label;
};
extern const struct report_meta_key report_meta_keys[];

/* [slow] Everything in the session, each row held against the chain of hashes. */
int report_read(struct report *report, struct session *session, const char *path,
                char *text, size_t size);
void report_close(struct report *report);

/* [slow] The numbers that trials alone give. */
void report_score(struct report *report);
void report_curves(struct report *report);

/* [slow] Receptive fields of all units, MEIs where the session showed none, and their
 * likeness to the truth; report->model_wrong says why not. */
void report_model(struct report *report, struct session *session);

/* [slow] Write it; 0 or -errno. */
int report_json(const struct report *report, const char *path);
int report_html(const struct report *report, const char *path);

/* Value of a meta key, NULL if there is none. */
const char *report_meta(const struct report *report, const char *key);

/* A count of n things of this size, grown by one; ends the program when memory does. */
void *report_grow(void *array, size_t n, size_t size);

/* n zeroed things. */
void *report_take(size_t n, size_t size);

/* Median of those of n numbers that are finite, NAN if none is; sorts them. */
double report_median(size_t n, double *values);

/* Median over units of the double at this offset in struct report_unit; n: of how many,
 * may be NULL. */
double report_over_units(const struct report *report, size_t offset, int *n);

#endif
