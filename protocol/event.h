/*
 * event.h: everything that happens, in one definition.
 *
 * Flow:      every border carries this struct: a ring between threads, a ZeroMQ frame
 *            between processes, a row on disk. loop_step() folds over it.
 * Owner:     whoever made it, until it is pushed into a ring (which copies it).
 * Memory:    a value of fixed size plus a borrowed payload; the payload of an event
 *            that was read from a ring is valid until that ring's event is dropped.
 * Units:     _ns is CLOCK_MONOTONIC of the daemon's machine; samples are the
 *            recorder's own clock, kept raw; pixels are linear light (enum dtype).
 * Invariant: a payload's size follows from the fields (event_data_size()), so that no
 *            receiver needs to trust a length.
 */
#ifndef EVOKE_EVENT_H
#define EVOKE_EVENT_H

#include <stddef.h>
#include <stdint.h>

#define CLOCK_UNKNOWN INT64_MIN /* a time that nobody knows; never a guess */
#define UNIT_ALL      UINT32_MAX

enum event_type {
    EVENT_NONE = 0,
    /* from a rig */
    EVENT_COUNTS = 1,   /* spike counts: n_bins rows of n_units */
    EVENT_EDGE = 2,     /* a photodiode or TTL edge in the recorder's clock */
    EVENT_EXTERNAL = 3, /* a stimulus that another system showed */
    EVENT_TRUTH = 4, /* what a simulated unit's filter is: recorded, never learned from */
    /* from the display */
    EVENT_DISPLAY = 10, /* the display is there, or changed: driver, size, refresh */
    EVENT_SHOWN = 11,   /* a stimulus' first frame is on the screen */
    EVENT_HIDDEN = 12,  /* and is gone again: frames, late frames */
    EVENT_BEAT = 13,    /* "I live", both ways between daemon and display */
    /* to the display */
    EVENT_SCREEN = 20,   /* how to set up the screen */
    EVENT_STIMULUS = 21, /* pixels, to be kept ready */
    EVENT_PRESENT = 22,  /* show this one */
    EVENT_BLANK = 23,    /* grey, at once */
    /* inside the daemon */
    EVENT_TICK = 30,    /* time passes */
    EVENT_COMMAND = 31, /* what the experimenter asked for */
    EVENT_REJECT = 32,  /* the wire refused a message, and why */
    EVENT_SENT = 33,    /* a PRESENT was handed to the display socket */
    EVENT_JOB = 34,     /* make a stimulus: loop to worker */
    EVENT_RESULT = 35,  /* here it is: worker to loop */
    EVENT_LOST = 36,    /* a full ring swallowed events */
    /* what the loop says */
    EVENT_TRIAL = 40,  /* a trial ended: validity, observed and predicted counts */
    EVENT_STATE = 41,  /* the loop's state changed, and why */
    EVENT_STATUS = 42, /* all counters */
    EVENT_MODEL = 43,  /* identity of the live model after so many trials */
    EVENT_TYPE_END
};

/* How payload numbers are stored. As pixels: u8 v means v/255, u16 v/65535, f32 itself,
 * of the display's range in linear light; 0.5 is the neutral grey. */
enum dtype { DTYPE_U8 = 1, DTYPE_U16 = 2, DTYPE_F32 = 3 };

/* How well a time on the screen is known. */
enum quality {
    QUALITY_NONE = 0,      /* no vertical blank to wait for: the time of the call */
    QUALITY_ESTIMATED = 1, /* the return of a call that waits for the vertical blank */
    QUALITY_HARDWARE = 2,  /* the kernel's own stamp of the flip */
    QUALITY_PHOTODIODE = 3 /* the edge in the recorder's clock */
};

enum loop_state {
    STATE_IDLE = 0,    /* nothing asked for */
    STATE_ARMED = 1,   /* waiting for what is missing: display, source */
    STATE_CHOOSE = 2,  /* waiting for a stimulus to be ready */
    STATE_PRESENT = 3, /* asked for, not yet seen */
    STATE_COLLECT = 4, /* seen; counts are coming in */
    STATE_PAUSED = 5,
    STATE_FAULT = 6, /* grey, recorded, stays until resumed */
    STATE_END = 7
};

enum command {
    COMMAND_PAUSE = 1,
    COMMAND_RESUME = 2,
    COMMAND_STOP = 3,
    COMMAND_NOTE = 4
};

/* Why a trial never reached the model. VALID is the one that did. */
enum verdict {
    VERDICT_VALID = 0,
    VERDICT_NO_ONSET = 1,       /* nobody reported that it was shown */
    VERDICT_COUNTS_LOST = 2,    /* a hole in the counts of its window */
    VERDICT_NO_COUNTS = 3,      /* the window passed and no source covered it */
    VERDICT_LATE_FRAME = 4,     /* the display missed a frame */
    VERDICT_WRONG_STIMULUS = 5, /* shown is not what was chosen */
    VERDICT_DISPLAY_LOST = 6,   /* the display died or fell silent */
    VERDICT_CLOCK_JUMP = 7,     /* the recorder's clock jumped in its window */
    VERDICT_BAD_COUNTS = 8,     /* a count that is no count (NaN, negative) */
    VERDICT_PAUSED = 9,         /* the experimenter paused or stopped in it */
    VERDICT_OVERLOAD = 10,      /* a ring was full */
    VERDICT_END
};

/* Why a message was refused before it became an event. */
enum reject {
    REJECT_NONE = 0,
    REJECT_TRUNCATED = 1, /* shorter than its header or its fields say */
    REJECT_OVERSIZED = 2, /* longer than they say, or than any message may be */
    REJECT_MAGIC = 3,     /* not ours */
    REJECT_VERSION = 4,   /* of another version */
    REJECT_TYPE = 5,      /* no such type, or not allowed from there */
    REJECT_FIELD = 6,     /* a field out of its range */
    REJECT_DTYPE = 7,     /* no such number format */
    REJECT_VALUE = 8,     /* NaN, infinite or negative where a count belongs */
    REJECT_UNIT = 9,      /* a unit that the session does not have */
    REJECT_STIMULUS = 10, /* a stimulus of another size than the session's */
    REJECT_END
};

/* Rings that can be full; field of EVENT_LOST. */
enum ring_name {
    RING_WIRE_LOOP = 1,   /* spikes and flip reports: the trial in it is invalid */
    RING_MAIN_LOOP = 2,   /* commands */
    RING_LOOP_WIRE = 3,   /* to display and followers: a fault */
    RING_LOOP_RECORD = 4, /* to disk: a fault, an unrecorded stimulus is no experiment */
    RING_LOOP_WORKER = 5
};

enum job { JOB_RANDOM = 1, JOB_INFOMAX = 2, JOB_MEI = 3 };

/* Everything that `evoke status` counts; payload of EVENT_STATUS in this order, u64. */
#define EVENT_COUNTERS(X)                                                                \
    X(EVENTS, "events", "events folded")                                                 \
    X(TRIALS, "trials", "trials ended")                                                  \
    X(VALID, "valid", "trials that reached the model")                                   \
    X(AGAIN, "shown_again", "trials shown again because an earlier one was invalid")     \
    X(COUNTS, "count_messages", "messages with spike counts")                            \
    X(BINS, "count_bins", "bins of spike counts")                                        \
    X(GAPS, "messages_lost", "messages missing from a source's sequence")                \
    X(DUPLICATES, "messages_duplicate", "messages received twice")                       \
    X(REORDERED, "messages_reordered", "messages that came after a later one")           \
    X(RESTARTS, "source_restarts", "sources that began again")                           \
    X(JUMPS, "clock_jumps", "jumps of a recorder's clock")                               \
    X(EDGES, "edges", "edges received")                                                  \
    X(LATE_FRAMES, "late_frames", "frames that the display showed late")                 \
    X(DISPLAY_LOST, "display_lost", "times that the display fell silent")                \
    X(SOURCE_LOST, "source_lost", "times that a source fell silent")                     \
    X(OVERLOAD, "events_dropped", "events lost to a full ring")

enum counter {
#define X(id, name, text) COUNTER_##id,
    EVENT_COUNTERS(X)
#undef X
        COUNTER_PER_NAME,                           /* first of the per-reason ones: */
    COUNTER_VERDICT = COUNTER_PER_NAME,             /* + enum verdict */
    COUNTER_REJECT = COUNTER_VERDICT + VERDICT_END, /* + enum reject */
    COUNTER_END = COUNTER_REJECT + REJECT_END
};

struct event {
    uint16_t type;   /* enum event_type */
    uint16_t source; /* which sender; rigs choose 1..15, 0 is Evoke itself */
    uint32_t epoch;  /* sender's start: another number is another start of it */
    uint64_t seq;    /* sender's sequence number in that epoch, from 0 */
    int64_t time_ns; /* when it reached (or was made on) the daemon's machine */
    union {
        struct { /* data: dtype[n_bins][n_units] */
            int64_t first_sample;
            double sample_rate_hz;
            uint32_t bin_samples; /* width of a bin in samples */
            uint32_t n_bins;
            uint32_t first_unit; /* which unit of the session the first column is */
            uint32_t n_units;
            uint32_t dtype;
        } counts;
        struct {
            int64_t sample;
            double sample_rate_hz;
            uint32_t line;
            uint32_t level; /* after the edge: 0 or 1 */
        } edge;
        struct { /* data: dtype[height][width] */
            int64_t first_sample;
            double sample_rate_hz;
            uint32_t n_samples; /* how long it was shown */
            uint32_t learn;     /* 0: predict only (held out), 1: predict, then learn */
            uint32_t height, width, dtype;
        } external;
        struct { /* data: f32[height][width] */
            uint32_t unit, height, width;
            uint32_t kind; /* 0: linear filter of log rate; 1: one of a quadrature pair */
        } truth;
        struct { /* data: name of the driver, text */
            double refresh_hz;
            uint32_t width_px, height_px;
            uint32_t quality;
            uint32_t n_text;
        } display;
        struct {
            uint64_t trial;
            uint64_t hash;        /* of what is on the screen */
            int64_t requested_ns; /* the vertical blank that it was meant for */
            int64_t onset_ns;
            int64_t uncertainty_ns;
            uint32_t quality;
            uint32_t n_late; /* frames between requested and onset */
        } shown;
        struct {
            uint64_t trial;
            int64_t offset_ns;
            uint32_t n_frames;
            uint32_t n_late; /* of these, shown longer than one refresh */
        } hidden;
        struct {
            double width_cm, height_cm, distance_cm; /* of the screen's visible part */
            double x_deg, y_deg, size_deg;           /* of the patch, from the centre */
            double diode_deg;                        /* side of the square, 0: none */
            double grey;                             /* neutral level, linear light */
            int64_t silence_ns; /* grey after so long without a beat */
            uint32_t
                diode_corner; /* 0 none 1 top left 2 top right 3 bottom left 4 right */
            uint32_t fullscreen;
        } screen;
        struct { /* data: dtype[height][width] */
            uint64_t hash;
            uint32_t height, width, dtype;
        } stimulus;
        struct {
            uint64_t trial;
            uint64_t hash;
            int64_t not_before_ns;
            int64_t duration_ns;
            int64_t cause_ns; /* arrival of what ended the trial before, for latency */
        } present;
        struct { /* data: text */
            uint32_t command;
            uint32_t n_text;
        } command;
        struct {
            uint32_t reason; /* enum reject */
            uint32_t type;   /* of the refused message, where it could be read */
            uint64_t size;
        } reject;
        struct {
            uint64_t trial;
            int64_t cause_ns;
        } sent;
        struct {
            uint64_t job;
            uint64_t seed;
            uint64_t model; /* identity of the snapshot */
            uint32_t kind;  /* enum job */
            uint32_t unit;  /* for which unit; UNIT_ALL: for the population */
            uint32_t slot;  /* where the snapshot lies */
            uint32_t max_steps;
        } job;
        struct { /* data: dtype[height][width] */
            uint64_t job;
            uint64_t model;
            uint64_t hash;
            double value; /* objective reached */
            uint32_t kind, unit, slot, n_steps;
            uint32_t height, width, dtype;
        } result;
        struct {
            uint32_t ring; /* which one */
            uint64_t n_lost;
        } lost;
        struct { /* data: f32[2][n_units]: observed (NaN: not), predicted before */
            uint64_t trial;
            uint64_t hash;
            int64_t onset_ns;
            int64_t window_ns;      /* start of the response window, our clock */
            int64_t uncertainty_ns; /* of that start */
            int64_t latency_ns;     /* last count in, to this trial's command out */
            uint32_t verdict;
            uint32_t kind;    /* enum job that made the stimulus, 0: external */
            uint32_t unit;    /* for which */
            uint32_t attempt; /* 1: first time shown */
            uint32_t learned; /* 1: the model learned from it */
            uint32_t n_units;
        } trial;
        struct { /* data: text */
            uint32_t state;
            uint32_t before;
            uint64_t n_trials;
            uint32_t n_text;
        } state;
        struct { /* data: u64[n_counters] */
            uint32_t n_counters;
            uint32_t state;
        } status;
        struct {
            uint64_t n_trials; /* learned from */
            uint64_t hash;
        } model;
    };
    uint32_t data_size; /* bytes */
    const void *data;   /* borrowed; see Memory */
};

/* [any] Name of a type, for people and topics ("counts"); "unknown" if there is none. */
const char *event_name(unsigned type);

/* [any] The type of that name; EVENT_NONE if there is none. */
unsigned event_type_of(const char *name);

const char *state_name(unsigned state);     /* [any] */
const char *verdict_name(unsigned verdict); /* [any] */
const char *reject_name(unsigned reject);   /* [any] */
const char *quality_name(unsigned quality); /* [any] */
const char *job_name(unsigned kind);        /* [any] */
const char *command_name(unsigned command); /* [any] */
const char *counter_name(unsigned counter); /* [any] as in `evoke status` */

/* [any] Bytes of one number; 0 if there is no such dtype. */
size_t dtype_size(unsigned dtype);

/* [rt] Bytes of payload that the fields ask for; SIZE_MAX if they are absurd. */
size_t event_data_size(const struct event *ev);

/* [rt] Number i of a payload as float, in its own units (u8 200 is 200.0). */
float dtype_get(const void *data, unsigned dtype, size_t i);

/* [rt] Payload numbers 0..n-1 as linear light 0..1 (see enum dtype). */
void dtype_light(const void *data, unsigned dtype, size_t n, float *light);

#endif
