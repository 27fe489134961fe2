#include "conf.h"

#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "protocol/clock.h"

enum kind { TEXT, INT, INT64, REAL, CHOICE };

/* One key: where it lies, its default, its limits, what it means. */
struct key {
    const char *section, *name;
    enum kind kind;
    size_t offset;
    const char *standard;
    double least, most;
    const char *const *choices; /* CHOICE: names, numbered from first; NULL at the end */
    int first;
    const char *help;
};

static const char *const no_yes[] = {"no", "yes", NULL};
static const char *const qualities[] = {"none", "estimated", "hardware", NULL};
static const char *const corners[] = {"none",        "top-left",     "top-right",
                                      "bottom-left", "bottom-right", NULL};
static const char *const image_kinds[] = {"noise", "leaves", "mixed",
                                          "white", "folder", NULL};
static const char *const model_kinds[] = {"glm", NULL};
static const char *const fronts[] = {"pixels", "gabor", NULL};
static const char *const posteriors[] = {"auto", "unit", "shared", NULL};
static const char *const policies[] = {"random", "infomax", "mixed", NULL};
static const char *const animals[] = {"ln", "complex", NULL};

#define AT(s, k) offsetof(struct conf, s.k)
#define TEXT_KEY(s, k, d, help)                                                          \
    {                                                                                    \
#s, #k, TEXT, AT(s, k), d, 0, 0, NULL, 0, help                                   \
    }
#define INT_KEY(s, k, d, lo, hi, help)                                                   \
    {                                                                                    \
#s, #k, INT, AT(s, k), d, lo, hi, NULL, 0, help                                  \
    }
#define INT64_KEY(s, k, d, lo, hi, help)                                                 \
    {                                                                                    \
#s, #k, INT64, AT(s, k), d, lo, hi, NULL, 0, help                                \
    }
#define REAL_KEY(s, k, d, lo, hi, help)                                                  \
    {                                                                                    \
#s, #k, REAL, AT(s, k), d, lo, hi, NULL, 0, help                                 \
    }
#define CHOICE_KEY(s, k, d, names, first, help)                                          \
    {                                                                                    \
#s, #k, CHOICE, AT(s, k), d, 0, 0, names, first, help                            \
    }

/* clang-format off */
static const struct key keys[] = {
    TEXT_KEY(session, name, "session", "first part of the session file's name"),
    TEXT_KEY(session, directory, "sessions", "folder of the session files"),
    INT64_KEY(session, seed, "1", 0, 1e15, "of every random choice"),
    CHOICE_KEY(session, resume, "yes", no_yes, 0,
               "go on with what an interrupted session of this name had learned"),

    INT64_KEY(ingest, units, "20", 1, 100000, "units of all sources together"),
    INT64_KEY(ingest, sources, "1", 1, 15, "rigs that may send; their ids are 1..sources"),
    TEXT_KEY(ingest, endpoint, "",
             "where rigs connect; empty: ingest.sock in the runtime folder"),
    CHOICE_KEY(ingest, insecure, "no", no_yes, 0,
               "yes: allow a TCP endpoint that anybody on the network may write to"),
    REAL_KEY(ingest, history_s, "2", 0.1, 60, "counts kept; a longer jump is a clock jump"),
    REAL_KEY(ingest, max_bin_hz, "1000", 0.1, 20000, "fastest rate of bins"),
    REAL_KEY(ingest, silence_s, "2", 0.05, 3600, "a source silent for so long is lost"),
    INT64_KEY(ingest, diode_line, "-1", -1, 255,
              "line of the photodiode; -1: none, the flip opens the window"),

    CHOICE_KEY(display, start, "no", no_yes, 0, "the daemon starts evoke-display itself"),
    CHOICE_KEY(display, fullscreen, "no", no_yes, 0, "the stimulus window takes the whole screen"),
    CHOICE_KEY(display, quality, "none", qualities, 0,
               "flip times must be at least this good, or the session does not start"),
    REAL_KEY(display, refresh_hz, "60", 1, 1000,
             "frames a second where there is no vertical blank to wait for"),
    REAL_KEY(display, width_cm, "48", 1, 1000, "of the visible screen"),
    REAL_KEY(display, height_cm, "27", 1, 1000, "of the visible screen"),
    REAL_KEY(display, distance_cm, "40", 1, 10000, "from the eye to the screen's centre"),
    REAL_KEY(display, x_deg, "0", -89, 89, "centre of the stimulus, right of the screen's"),
    REAL_KEY(display, y_deg, "0", -89, 89, "above it"),
    REAL_KEY(display, size_deg, "20", 0.01, 170, "height of the stimulus"),
    REAL_KEY(display, diode_deg, "4", 0, 90, "side of the photodiode's square"),
    CHOICE_KEY(display, diode_corner, "bottom-right", corners, 0, "where its square is"),
    REAL_KEY(display, grey, "0.5", 0.01, 0.99, "neutral level, linear light"),
    REAL_KEY(display, silence_ms, "500", 20, 60000,
             "grey when the daemon was silent for so long, and lost when the display was"),

    INT_KEY(stimulus, height, "16", 1, 1024, "pixels"),
    INT_KEY(stimulus, width, "16", 1, 1024, "pixels"),
    INT_KEY(stimulus, frames, "1", 1, 256, "frames of history that a response depends on"),
    REAL_KEY(stimulus, rms, "0.25", 0.001, 1, "RMS contrast"),
    CHOICE_KEY(stimulus, images, "mixed", image_kinds, IMAGES_NOISE, "random stimuli"),
    TEXT_KEY(stimulus, folder, "", "images = folder: with PNG and .npy images"),

    CHOICE_KEY(trial, external, "no", no_yes, 0,
               "stimuli are shown by another system; Evoke only learns"),
    REAL_KEY(trial, stimulus_ms, "200", 1, 600000, "on the screen"),
    REAL_KEY(trial, gap_ms, "300", 0, 600000, "grey between two stimuli, at least"),
    REAL_KEY(trial, delay_ms, "40", 0, 60000, "response window: opens after the onset"),
    REAL_KEY(trial, window_ms, "200", 0, 60000,
             "its length; 0 with external stimuli: as long as the stimulus"),
    REAL_KEY(trial, onset_timeout_ms, "1000", 10, 600000,
             "a stimulus not seen after so long makes the trial invalid"),
    REAL_KEY(trial, counts_timeout_ms, "1000", 10, 600000,
             "and counts not received so long after its window"),
    INT64_KEY(trial, max_attempts, "5", 1, 1000, "times a stimulus is shown, until valid"),

    CHOICE_KEY(model, kind, "glm", model_kinds, MODEL_GLM, "LN-Poisson"),
    CHOICE_KEY(model, front, "pixels", fronts, FRONT_PIXELS, "what the readout reads"),
    CHOICE_KEY(model, posterior, "auto", posteriors, POSTERIOR_AUTO,
               "covariance of each unit, or one shared"),
    REAL_KEY(model, memory_mb, "512", 1, 1e6, "for the covariances, posterior = auto"),
    REAL_KEY(model, prior_sd, "1", 1e-6, 100,
             "of log rate, for stimuli of RMS contrast 1, before any trial"),
    REAL_KEY(model, smooth_px, "2", 0, 100, "correlation length of the filters"),
    REAL_KEY(model, smooth_frames, "2", 0, 100, "the same in time"),
    REAL_KEY(model, bias_sd, "2", 1e-3, 100, "of the log of the mean rate"),
    REAL_KEY(model, forgetting, "1", 0.9, 1, "1: none; 0.999: about 1000 trials"),

    CHOICE_KEY(learn, policy, "infomax", policies, POLICY_RANDOM,
               "stimuli to learn from"),
    INT64_KEY(learn, start, "20", 0, 1e9, "random trials before the first optimised one"),
    INT64_KEY(learn, trials, "1000", 0, 1e9, "trials of the learning phase"),
    INT64_KEY(learn, together, "2", 1, MODEL_SNAPSHOT_UNITS,
              "units that one info-max stimulus asks about"),
    INT64_KEY(mei, trials, "0", 0, 1e9, "trials that show MEIs, random ones between"),

    INT64_KEY(optimise, max_steps, "10", 0, 100000, "of gradient ascent"),
    REAL_KEY(optimise, step, "1", 1e-6, 10, "first step, of the stimulus' norm"),
    REAL_KEY(optimise, blur_px, "0", 0, 20, "sigma of the gradient's smoothing"),
    REAL_KEY(optimise, settle, "0.01", 0, 1, "stop when it gains less; 0: never"),
    INT64_KEY(optimise, candidates, "4", 1, 1000, "images to start from, the best is taken"),
    INT64_KEY(optimise, workers, "1", 1, 64, "threads"),
    INT64_KEY(optimise, ahead, "2", 1, 24, "stimuli made ahead"),

    CHOICE_KEY(sim, start, "no", no_yes, 0, "evoke run starts the simulated rig"),
    CHOICE_KEY(sim, kind, "ln", animals, 1, "cells of the animal"),
    INT64_KEY(sim, seed, "7", 0, 1e15, "of the animal"),
    REAL_KEY(sim, rate_best, "20", 0.01, 10000, "counts in the window for the best stimulus"),
    REAL_KEY(sim, rate_grey, "2", 0, 10000, "and for grey"),
    REAL_KEY(sim, bin_ms, "10", 0.1, 10000, "bins of counts"),
    REAL_KEY(sim, sample_rate_hz, "30000", 1, 1e9, "of the recorder's clock"),
    REAL_KEY(sim, drift_ppm, "20", -1000, 1000, "of that clock"),
    CHOICE_KEY(sim, diode, "yes", no_yes, 0, "it has a photodiode, on line 0"),
    REAL_KEY(sim, lose, "0", 0, 1, "fraction of its messages that it loses, to try"),
};
/* clang-format on */

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static int set_choice(const struct key *key, void *at, const char *value)
{
    for (int i = 0; key->choices[i]; i++) {
        if (strcmp(key->choices[i], value) == 0) {
            *(int *)at = key->first + i;
            return 0;
        }
    }
    return -EINVAL;
}

static int set_number(const struct key *key, void *at, const char *value)
{
    char *end;
    double number = strtod(value, &end);

    if (end == value || *end != '\0' || !(number >= key->least && number <= key->most))
        return -EINVAL;
    if (key->kind != REAL && number != floor(number))
        return -EINVAL;
    if (key->kind == INT)
        *(int *)at = (int)number;
    else if (key->kind == INT64)
        *(int64_t *)at = (int64_t)number;
    else
        *(double *)at = number;
    return 0;
}

static int set_key(struct conf *conf, const struct key *key, const char *value)
{
    void *at = (char *)conf + key->offset;

    if (key->kind == CHOICE)
        return set_choice(key, at, value);
    if (key->kind != TEXT)
        return set_number(key, at, value);
    if (strlen(value) >= CONF_TEXT || strchr(value, '\n'))
        return -EINVAL;
    strcpy(at, value);
    return 0;
}

/* As short as reads back as the same number. */
static void get_real(double value, char *text, size_t size)
{
    for (int n_digits = 15; n_digits <= 17; n_digits++) {
        snprintf(text, size, "%.*g", n_digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

static void get_key(const struct conf *conf, const struct key *key, char *text,
                    size_t size)
{
    const void *at = (const char *)conf + key->offset;

    switch (key->kind) {
    case TEXT:
        snprintf(text, size, "%s", (const char *)at);
        break;
    case CHOICE:
        snprintf(text, size, "%s", key->choices[*(const int *)at - key->first]);
        break;
    case INT:
        snprintf(text, size, "%d", *(const int *)at);
        break;
    case INT64:
        snprintf(text, size, "%lld", (long long)*(const int64_t *)at);
        break;
    default:
        get_real(*(const double *)at, text, size);
        break;
    }
}

/* What a value of this key may be, for people. */
static void allowed(const struct key *key, char *text, size_t size)
{
    size_t n = 0;

    if (key->kind == TEXT) {
        snprintf(text, size, "text of at most %d characters", CONF_TEXT - 1);
    } else if (key->kind == CHOICE) {
        text[0] = '\0';
        for (int i = 0; key->choices[i] && n < size; i++)
            n +=
                (size_t)snprintf(text + n, size - n, i ? " | %s" : "%s", key->choices[i]);
    } else {
        snprintf(text, size, "%s from %.15g to %.15g",
                 key->kind == REAL ? "a number" : "a whole number", key->least,
                 key->most);
    }
}

struct reading {
    struct conf *conf;
    const char *rest; /* of the file */
    int line;         /* that was read last */
    int bad_line;     /* the first that text says something about, 0: none */
    char *text;
    size_t size;
};

/* The next line for inih, none after a bad one; without its indentation, by which inih
 * would take it for more of the line before. */
static char *read_line(char *line, int room, void *user)
{
    struct reading *reading = user;
    const char *at = reading->rest + strspn(reading->rest, " \t");
    size_t n = strcspn(at, "\n");

    if (reading->bad_line || *reading->rest == '\0')
        return NULL;
    reading->line++;
    reading->rest = at + n + (at[n] == '\n');
    if (n + 2 > (size_t)room) {
        reading->bad_line = reading->line;
        snprintf(reading->text, reading->size, "longer than %d characters", room - 2);
        return NULL;
    }
    memcpy(line, at, n);
    strcpy(line + n, "\n");
    return line;
}

static int read_key(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    char range[256];

    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(keys[i].section, section) || strcmp(keys[i].name, name))
            continue;
        if (set_key(reading->conf, &keys[i], value) == 0)
            return 1;
        reading->bad_line = reading->line;
        allowed(&keys[i], range, sizeof(range));
        snprintf(reading->text, reading->size, "[%s] %s = %s: must be %s", section, name,
                 value, range);
        return 0;
    }
    reading->bad_line = reading->line;
    snprintf(reading->text, reading->size,
             "[%s] %s: no such key; evoked --print-config lists all", section, name);
    return 0;
}

/* What no single key can tell. */
static int check_all(const struct conf *conf, char *text, size_t size)
{
    struct loop_conf loop;
    const char *wrong;

    if (conf->display.grey != 0.5) {
        snprintf(text, size, "[display] grey: only 0.5 is possible in this version");
        return -EINVAL;
    }
    if (!conf->trial.external && conf->stimulus.frames != 1) {
        snprintf(text, size,
                 "[stimulus] frames: more than 1 needs [trial] external = yes");
        return -EINVAL;
    }
    if (!conf->trial.external && conf->trial.window_ms <= 0) {
        snprintf(text, size, "[trial] window_ms: must be more than 0");
        return -EINVAL;
    }
    if (strncmp(conf->ingest.endpoint, "tcp://", 6) == 0 && !conf->ingest.insecure) {
        snprintf(text, size,
                 "[ingest] endpoint: tcp needs insecure = yes, in so many words: "
                 "anybody on that network could write counts");
        return -EINVAL;
    }
    if (conf->stimulus.images == IMAGES_FOLDER && conf->stimulus.folder[0] == '\0') {
        snprintf(text, size, "[stimulus] folder: must be set for images = folder");
        return -EINVAL;
    }
    conf_loop(conf, &loop);
    wrong = model_check(&loop.model);
    if (wrong) {
        snprintf(text, size, "[model]: %s", wrong);
        return -EINVAL;
    }
    return 0;
}

int conf_read_text(struct conf *conf, const char *ini, const char *name, char *text,
                   size_t size)
{
    struct reading reading = {.conf = conf, .rest = ini, .text = text, .size = size};
    int line;

    memset(conf, 0, sizeof(*conf));
    for (size_t i = 0; i < N_KEYS; i++)
        CHECK(set_key(conf, &keys[i], keys[i].standard) == 0);
    text[0] = '\0';
    line = ini_parse_stream(read_line, &reading, read_key, &reading);
    if (line == 0)
        line = reading.bad_line;
    if (line != 0) {
        char why[512];
        snprintf(why, sizeof(why), "%s",
                 line == reading.bad_line ? text : "not of the form key = value");
        snprintf(text, size, "%s:%d: %s", name, line, why);
        return -EINVAL;
    }
    if (check_all(conf, text, size) != 0) {
        char why[512];
        snprintf(why, sizeof(why), "%s", text);
        snprintf(text, size, "%s: %s", name, why);
        return -EINVAL;
    }
    return 0;
}

int conf_read(struct conf *conf, const char *path, char *text, size_t size)
{
    char ini[65536];
    FILE *file = fopen(path, "re");
    size_t n;

    if (!file) {
        int error = errno;
        snprintf(text, size, "%s: %s", path, strerror(error));
        return -error;
    }
    n = fread(ini, 1, sizeof(ini) - 1, file);
    if (ferror(file)) {
        snprintf(text, size, "%s: cannot be read", path);
        fclose(file);
        return -EIO;
    }
    fclose(file);
    ini[n] = '\0';
    if (n == sizeof(ini) - 1 || memchr(ini, '\0', n)) {
        snprintf(text, size, "%s: is no configuration: %s", path,
                 n == sizeof(ini) - 1 ? "too long" : "not text");
        return -EINVAL;
    }
    return conf_read_text(conf, ini, path, text, size);
}

void conf_print(const struct conf *conf, FILE *to, int help)
{
    const char *section = "";
    char value[CONF_TEXT], range[256];

    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(section, keys[i].section) != 0)
            fprintf(to, "%s[%s]\n", section[0] ? "\n" : "", keys[i].section);
        section = keys[i].section;
        get_key(conf, &keys[i], value, sizeof(value));
        if (help) {
            allowed(&keys[i], range, sizeof(range));
            fprintf(to, "# %s%s%s\n", keys[i].help, keys[i].help[0] ? "; " : "", range);
        }
        fprintf(to, "%s = %s\n", keys[i].name, value);
    }
}

static int64_t ms(double value)
{
    return llrint(value * (double)NS_PER_MS);
}

static void conf_model(const struct conf *conf, struct model_conf *model)
{
    *model = (struct model_conf){
        .kind = (enum model_kind)conf->model.kind,
        .front = (enum model_front)conf->model.front,
        .posterior = (enum model_posterior)conf->model.posterior,
        .n_units = (int)conf->ingest.units,
        .n_frames = conf->stimulus.frames,
        .height = conf->stimulus.height,
        .width = conf->stimulus.width,
        .memory_bytes = (size_t)(conf->model.memory_mb * 1048576),
        .prior_sd = conf->model.prior_sd,
        .smooth_px = conf->model.smooth_px,
        .smooth_frames = conf->model.smooth_frames,
        .bias_sd = conf->model.bias_sd,
        .forgetting = conf->model.forgetting,
    };
}

static void conf_screen(const struct conf *conf, struct event *ev)
{
    memset(ev, 0, sizeof(*ev));
    ev->type = EVENT_SCREEN;
    ev->screen.width_cm = conf->display.width_cm;
    ev->screen.height_cm = conf->display.height_cm;
    ev->screen.distance_cm = conf->display.distance_cm;
    ev->screen.x_deg = conf->display.x_deg;
    ev->screen.y_deg = conf->display.y_deg;
    ev->screen.size_deg = conf->display.size_deg;
    ev->screen.diode_deg = conf->display.diode_deg;
    ev->screen.grey = conf->display.grey;
    ev->screen.silence_ns = ms(conf->display.silence_ms);
    ev->screen.diode_corner = (uint32_t)conf->display.diode_corner;
    ev->screen.fullscreen = (uint32_t)conf->display.fullscreen;
}

void conf_loop(const struct conf *conf, struct loop_conf *loop)
{
    double second = (double)NS_PER_S;

    memset(loop, 0, sizeof(*loop));
    conf_model(conf, &loop->model);
    conf_screen(conf, &loop->screen);
    loop->grey = (float)conf->display.grey;
    loop->display_silence_ns = ms(conf->display.silence_ms);
    loop->sources = (struct sources_conf){
        .n_units = (int)conf->ingest.units,
        .n_sources = (int)conf->ingest.sources,
        .n_rows = (int)(conf->ingest.history_s * conf->ingest.max_bin_hz) + 2,
        .history_ns = llrint(conf->ingest.history_s * second),
        .silence_ns = llrint(conf->ingest.silence_s * second),
        .diode_line = (int)conf->ingest.diode_line,
    };
    loop->trial = (struct trial_conf){
        .external = conf->trial.external,
        .duration_ns = ms(conf->trial.stimulus_ms),
        .gap_ns = ms(conf->trial.gap_ms),
        .delay_ns = ms(conf->trial.delay_ms),
        .window_ns = ms(conf->trial.window_ms),
        .onset_timeout_ns = ms(conf->trial.onset_timeout_ms),
        .counts_timeout_ns = ms(conf->trial.counts_timeout_ms),
        .max_attempts = (int)conf->trial.max_attempts,
        .min_quality = conf->display.quality,
    };
    loop->stream = (struct stream_conf){
        .n_frames = conf->stimulus.frames,
        .height = conf->stimulus.height,
        .width = conf->stimulus.width,
        .n_kept = 1024,
        .delay_ns = loop->trial.delay_ns,
        .window_ns = loop->trial.window_ns,
        .timeout_ns = loop->trial.counts_timeout_ns,
        .grey = loop->grey,
    };
    loop->supply = (struct supply_conf){
        .policy = {.learn = (enum policy_learn)conf->learn.policy,
                   .n_start = conf->learn.start,
                   .n_learn = conf->learn.trials,
                   .n_mei = conf->mei.trials,
                   .n_units = (int)conf->ingest.units,
                   .n_together = (int)(conf->learn.together < conf->ingest.units
                                           ? conf->learn.together
                                           : conf->ingest.units)},
        .height = conf->stimulus.height,
        .width = conf->stimulus.width,
        .n_workers = (int)conf->optimise.workers,
        .n_ahead = (int)conf->optimise.ahead,
        .max_steps = (uint32_t)conf->optimise.max_steps,
        .seed = (uint64_t)conf->session.seed,
    };
    if (model_check(&loop->model) == NULL)
        loop->supply.snapshot_size = model_snapshot_size(&loop->model);
}

void conf_job(const struct conf *conf, const struct images *images, struct job_conf *job)
{
    *job = (struct job_conf){
        .space = {.height = conf->stimulus.frames * conf->stimulus.height,
                  .width = conf->stimulus.width,
                  .mean = 0,
                  .rms = (float)conf->stimulus.rms,
                  .lo = -1,
                  .hi = 1},
        .ascent = {.step = conf->optimise.step,
                   .blur_px = conf->optimise.blur_px,
                   .settle = conf->optimise.settle},
        .images = images,
        .images_seed = (uint64_t)conf->session.seed,
        .n_candidates = (int)conf->optimise.candidates,
    };
}

const char *conf_folder(const struct conf *conf)
{
    return conf->stimulus.images == IMAGES_FOLDER ? conf->stimulus.folder : NULL;
}

void conf_runtime(char *path, size_t size)
{
    const char *own = getenv("EVOKE_RUNTIME"), *systemd = getenv("RUNTIME_DIRECTORY"),
               *user = getenv("XDG_RUNTIME_DIR");

    if (own && own[0])
        snprintf(path, size, "%s", own);
    else if (systemd && systemd[0])
        snprintf(path, size, "%s", systemd);
    else if (user && user[0])
        snprintf(path, size, "%s/evoke", user);
    else
        snprintf(path, size, "/tmp/evoke-%u", (unsigned)getuid());
}

void conf_endpoint(const char *socket, char *endpoint, size_t size)
{
    char path[200];

    conf_runtime(path, sizeof(path));
    snprintf(endpoint, size, "ipc://%s/%s.sock", path, socket);
}
