/* evoke feed: plays a recorded data set into the running daemon, as a rig would. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/metrics.h"
#include "models/npy.h"
#include "models/random.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "tools/client.h"
#include "tools/tool.h"

#define SAMPLE_RATE_HZ 30000.0
#define IN_FLIGHT      256 /* trials sent and not yet answered, at full speed */
#define PATIENCE_NS    (10 * NS_PER_S)
#define NO_REPEAT      255 /* in counts with repeats: there is no such repeat */

static const char help[] =
    "Usage: evoke feed DIR [--speed N|max] [--segment N] [--seed N] [--stop] [--json]\n\n"
    "Plays the recorded data set in DIR (stimulus.npy, counts.npy, meta.json; and, held "
    "out,\n"
    "stimulus_test.npy, counts_test.npy) into the running daemon over its ingest socket, "
    "as\n"
    "a rig would, and prints how well the daemon's model predicted. The daemon's file "
    "needs\n"
    "[trial] external = yes and the size to which the frames shall be averaged.\n\n"
    "  --speed N    N times real time, or max (standard): as fast as nothing is lost\n"
    "  --segment N  a pause after every N frames: history does not reach across it\n"
    "  --seed N     order of images with repeats (counts of 3 dimensions); standard 1\n"
    "  --stop       end the session when all is played\n"
    "  --json       print the scores as JSON\n\n"
    "Example: evoke feed recordings/retina --speed max --segment 2160 --stop\n";

/* A data set: frames, and for each the counts of all units in one or more repeats. */
struct part {
    struct npy stimulus, counts;
    size_t n_frames, n_repeats, n_units;
    int shuffled; /* repeats are single trials in random order, not whole passes */
    double scale; /* of pixels, to light 0..1 */
    double least;
};

struct feed {
    struct client *client;
    int height, width, n_units, history; /* of the session */
    double bin_s, speed;                 /* speed 0: max */
    size_t segment;
    uint64_t seed;
    uint32_t epoch;
    uint64_t seq;
    int64_t sample, start_ns;
    int run;       /* frames since the last pause */
    int64_t n_due; /* trials that the daemon will tell */
    int64_t n_told;
    int64_t n_learned_due;
    float *light;  /* (height, width) */
    float *counts; /* (n_units) */
    /* scores */
    struct metrics_running *running; /* (n_units): second half of what was learned */
    double *test_rate, *test_count;  /* (n_units, n_test_frames, n_repeats) */
    size_t n_test_frames, n_test_repeats;
    int64_t n_test_told, n_valid;
};

static const char *part_open(struct part *part, const char *folder, const char *suffix,
                             char *path, size_t size)
{
    const char *why;
    double most = -INFINITY;

    memset(part, 0, sizeof(*part));
    snprintf(path, size, "%s/stimulus%s.npy", folder, suffix);
    why = npy_open(&part->stimulus, path);
    if (why)
        return why;
    snprintf(path, size, "%s/counts%s.npy", folder, suffix);
    why = npy_open(&part->counts, path);
    if (why)
        return why;
    if (part->stimulus.n_dims != 3)
        return "the stimulus must be (frames, height, width)";
    if (part->counts.n_dims != 2 && part->counts.n_dims != 3)
        return "counts must be (frames, units) or (frames, repeats, units)";
    part->n_frames = part->stimulus.shape[0];
    part->n_repeats = part->counts.n_dims == 3 ? part->counts.shape[1] : 1;
    part->n_units = part->counts.shape[part->counts.n_dims - 1];
    if (part->counts.shape[0] != part->n_frames)
        return "there are not as many counts as frames";
    part->least = INFINITY;
    for (size_t i = 0; i < part->stimulus.n; i++) {
        double value = npy_get(&part->stimulus, i);
        most = value > most ? value : most;
        part->least = value < part->least ? value : part->least;
    }
    /* bytes of pictures keep their range; anything else is stretched from its least to
     * its most light */
    if (part->stimulus.type == NPY_U1 && most > 1)
        part->least = 0, most = 255;
    part->scale = most > part->least ? 1 / (most - part->least) : 0;
    return NULL;
}

static void part_close(struct part *part)
{
    npy_close(&part->stimulus);
    npy_close(&part->counts);
}

/* Frame i averaged over areas to the session's size, as light. */
static void average(const struct feed *feed, const struct part *part, size_t i)
{
    size_t h = part->stimulus.shape[1], w = part->stimulus.shape[2];

    for (int y = 0; y < feed->height; y++) {
        size_t y0 = (size_t)y * h / (size_t)feed->height,
               y1 = ((size_t)y + 1) * h / (size_t)feed->height;
        for (int x = 0; x < feed->width; x++) {
            size_t x0 = (size_t)x * w / (size_t)feed->width,
                   x1 = ((size_t)x + 1) * w / (size_t)feed->width;
            double sum = 0;
            for (size_t v = y0; v < y1; v++)
                for (size_t u = x0; u < x1; u++)
                    sum += npy_get(&part->stimulus, (i * h + v) * w + u) - part->least;
            feed->light[y * feed->width + x] =
                (float)(sum * part->scale / (double)((y1 - y0) * (x1 - x0)));
        }
    }
}

/* A trial was told: score it. Trials come in the order of their frames. */
static void score(struct feed *feed, const struct event *ev)
{
    const float *observed = ev->data, *predicted = observed + ev->trial.n_units;
    int64_t i = feed->n_told++;

    feed->n_valid += ev->trial.verdict == VERDICT_VALID;
    for (int u = 0; u < feed->n_units; u++) {
        if (i < feed->n_learned_due) {
            if (i >= feed->n_learned_due / 2)
                metrics_running_add(&feed->running[u], predicted[u], observed[u]);
        } else if (feed->n_test_frames > 0) {
            size_t n = feed->n_test_frames * feed->n_test_repeats;
            size_t frame = (size_t)feed->n_test_told % feed->n_test_frames;
            size_t repeat = (size_t)feed->n_test_told / feed->n_test_frames;
            size_t at = (size_t)u * n + frame * feed->n_test_repeats + repeat;
            if (repeat < feed->n_test_repeats) {
                feed->test_count[at] = (double)observed[u];
                feed->test_rate[(size_t)u * feed->n_test_frames + frame] =
                    (double)predicted[u];
            }
        }
    }
    feed->n_test_told += i >= feed->n_learned_due;
}

/* Hear what the daemon says until at most so many trials are out; 0, or -1 if it says
 * nothing any more. */
static int await(struct feed *feed, int64_t most_out)
{
    int64_t give_up_ns = clock_now_ns() + PATIENCE_NS;
    struct event ev;

    for (;;) {
        while (client_next(feed->client, &ev)) {
            if (ev.type == EVENT_TRIAL && (int)ev.trial.n_units == feed->n_units) {
                score(feed, &ev);
                give_up_ns = clock_now_ns() + PATIENCE_NS;
            }
        }
        if (feed->n_due - feed->n_told <= most_out)
            return 0;
        if (clock_now_ns() > give_up_ns)
            return -1;
        client_wait(feed->client, 100);
    }
}

static int send(struct feed *feed, struct event *ev)
{
    ev->source = 1;
    ev->epoch = feed->epoch;
    ev->seq = feed->seq++;
    return client_send(feed->client, ev) ? 0 : -1;
}

/* One frame and its counts. */
static int play(struct feed *feed, const struct part *part, size_t frame, size_t repeat,
                int learn)
{
    int64_t n_samples = llrint(feed->bin_s * SAMPLE_RATE_HZ);
    struct event shown = {.type = EVENT_EXTERNAL}, counts = {.type = EVENT_COUNTS};

    average(feed, part, frame);
    shown.external.first_sample = feed->sample;
    shown.external.sample_rate_hz = SAMPLE_RATE_HZ;
    shown.external.n_samples = (uint32_t)n_samples;
    shown.external.learn = (uint32_t)learn;
    shown.external.height = (uint32_t)feed->height;
    shown.external.width = (uint32_t)feed->width;
    shown.external.dtype = DTYPE_F32;
    shown.data = feed->light;
    shown.data_size = (uint32_t)event_data_size(&shown);
    npy_floats(&part->counts, (frame * part->n_repeats + repeat) * part->n_units,
               part->n_units, feed->counts);
    counts.counts.first_sample = feed->sample;
    counts.counts.sample_rate_hz = SAMPLE_RATE_HZ;
    counts.counts.bin_samples = (uint32_t)n_samples;
    counts.counts.n_bins = 1;
    counts.counts.n_units = (uint32_t)feed->n_units;
    counts.counts.dtype = DTYPE_F32;
    counts.data = feed->counts;
    counts.data_size = (uint32_t)event_data_size(&counts);
    feed->sample += n_samples;
    feed->run++;
    feed->n_due += feed->run >= feed->history;
    if (feed->speed > 0)
        clock_sleep_until_ns(feed->start_ns + llrint((double)feed->sample /
                                                     SAMPLE_RATE_HZ / feed->speed * 1e9));
    if (send(feed, &shown) != 0 || send(feed, &counts) != 0)
        return -1;
    return await(feed, feed->speed > 0 ? INT64_MAX : IN_FLIGHT);
}

/* Nothing shown for a while: the history of the next frame begins anew. */
static void pause_stream(struct feed *feed)
{
    feed->sample += llrint(SAMPLE_RATE_HZ * 0.5);
    feed->run = 0;
}

static int has_repeat(const struct part *part, size_t frame, size_t repeat)
{
    size_t first = (frame * part->n_repeats + repeat) * part->n_units;
    return part->counts.type != NPY_U1 || npy_get(&part->counts, first) != NO_REPEAT;
}

/* Single trials of images with repeats, in random order. */
static int play_shuffled(struct feed *feed, const struct part *part)
{
    size_t n = part->n_frames * part->n_repeats, *order = malloc(n * sizeof(*order));
    struct random random;
    int error = order ? 0 : -1;

    random_init(&random, feed->seed, 0);
    for (size_t i = 0; i < n && order; i++) {
        size_t j = random_below(&random, (uint32_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < n && !error; i++) {
        size_t frame = order[i] / part->n_repeats, repeat = order[i] % part->n_repeats;
        if (has_repeat(part, frame, repeat))
            error = play(feed, part, frame, repeat, 1);
    }
    free(order);
    return error;
}

static int play_in_order(struct feed *feed, const struct part *part, int learn)
{
    int error = 0;

    for (size_t repeat = 0; repeat < part->n_repeats && !error; repeat++) {
        pause_stream(feed);
        for (size_t frame = 0; frame < part->n_frames && !error; frame++) {
            if (learn && feed->segment && frame > 0 && frame % feed->segment == 0)
                pause_stream(feed);
            error = play(feed, part, frame, repeat, learn);
        }
    }
    return error;
}

/* The session's shape, from the daemon. */
static const char *ask_shape(struct feed *feed)
{
    char *answer = client_ask("{\"do\":\"status\"}", 2000);
    json_t *reply = answer ? json_loads(answer, 0, NULL) : NULL;
    const json_t *shape = json_object_get(reply, "shape");
    const char *why = NULL;

    if (!answer)
        why = "no daemon answers; is it running, and is EVOKE_RUNTIME its own?";
    else if (!json_is_true(json_object_get(shape, "external")))
        why = "the daemon shows stimuli itself; its file needs [trial] external = yes";
    feed->height = (int)json_integer_value(json_object_get(shape, "height"));
    feed->width = (int)json_integer_value(json_object_get(shape, "width"));
    feed->n_units = (int)json_integer_value(json_object_get(shape, "units"));
    feed->history = (int)json_integer_value(json_object_get(shape, "frames"));
    json_decref(reply);
    free(answer);
    return why;
}

/* Seconds a frame, from meta.json. */
static const char *read_bin(struct feed *feed, const char *folder)
{
    char path[1024];
    json_t *meta;

    snprintf(path, sizeof(path), "%s/meta.json", folder);
    meta = json_load_file(path, 0, NULL);
    feed->bin_s = json_number_value(json_object_get(meta, "bin_s"));
    json_decref(meta);
    return feed->bin_s > 1e-4 && feed->bin_s < 100
               ? NULL
               : "meta.json has no \"bin_s\" in seconds";
}

static const char *check_part(const struct feed *feed, const struct part *part)
{
    if (part->n_units != (size_t)feed->n_units)
        return "the daemon's [ingest] units is another number than the data set's";
    if (part->stimulus.shape[1] < (size_t)feed->height ||
        part->stimulus.shape[2] < (size_t)feed->width)
        return "the daemon's [stimulus] height and width are larger than the frames";
    return NULL;
}

static void take_memory(struct feed *feed, const struct part *test)
{
    size_t n_units = (size_t)feed->n_units;

    if (test && test->n_frames + 1 > (size_t)feed->history) {
        feed->n_test_frames = test->n_frames - (size_t)feed->history + 1;
        feed->n_test_repeats = test->n_repeats;
    }
    feed->light = calloc((size_t)feed->height * (size_t)feed->width, sizeof(float));
    feed->counts = calloc(n_units, sizeof(float));
    feed->running = calloc(n_units, sizeof(*feed->running));
    feed->test_rate = calloc(n_units * feed->n_test_frames + 1, sizeof(double));
    feed->test_count =
        calloc(n_units * feed->n_test_frames * feed->n_test_repeats + 1, sizeof(double));
    CHECK(feed->light && feed->counts && feed->running && feed->test_rate &&
          feed->test_count);
}

/* How many trials of a part will be learned: known before, to score the second half. */
static int64_t count_learned(const struct feed *feed, const struct part *part)
{
    int64_t n = 0, run = 0;

    for (size_t repeat = 0; repeat < part->n_repeats; repeat++) {
        run = part->shuffled ? run : 0;
        for (size_t frame = 0; frame < part->n_frames; frame++) {
            if (part->shuffled && !has_repeat(part, frame, repeat))
                continue;
            if (!part->shuffled && feed->segment && frame > 0 &&
                frame % feed->segment == 0)
                run = 0;
            n += ++run >= feed->history;
        }
    }
    return n;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof(double), compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double mean(const double *values, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += values[i];
    return n ? sum / n : 0;
}

/* Fields of the daemon's own count. */
static int64_t daemon_count(const char *name)
{
    char *answer = client_ask("{\"do\":\"status\"}", 2000);
    json_t *reply = answer ? json_loads(answer, 0, NULL) : NULL;
    int64_t n =
        json_integer_value(json_object_get(json_object_get(reply, "counters"), name));

    json_decref(reply);
    free(answer);
    return n;
}

static void print_scores(const struct feed *feed, double seconds, int json)
{
    int n = feed->n_units;
    double *online = calloc((size_t)n, sizeof(double)),
           *test = calloc((size_t)n, sizeof(double));
    json_t *units = json_array();
    json_t *all;
    char *text;

    CHECK(online && test);
    for (int u = 0; u < n; u++) {
        struct metrics_trials trials = {
            (int)feed->n_test_frames, (int)feed->n_test_repeats,
            feed->test_count + (size_t)u * feed->n_test_frames * feed->n_test_repeats};
        online[u] = metrics_running_corr(&feed->running[u]);
        test[u] = feed->n_test_frames > 0
                      ? metrics_corr_average(
                            &trials, feed->test_rate + (size_t)u * feed->n_test_frames, 0)
                      : 0;
        json_array_append_new(units, json_pack("{s:f, s:f}", "prequential", online[u],
                                               "held_out", test[u]));
    }
    all = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:o}", "messages",
                    (json_int_t)feed->seq, "trials", (json_int_t)feed->n_told, "valid",
                    (json_int_t)feed->n_valid, "messages_lost",
                    (json_int_t)daemon_count("messages_lost"), "events_dropped",
                    (json_int_t)daemon_count("events_dropped"), "seconds", seconds,
                    "held_out_mean", mean(test, n), "prequential_mean", mean(online, n),
                    "prequential_median", median(online, n), "units", units);
    if (json) {
        text = json_dumps(all, JSON_COMPACT);
        puts(text);
        free(text);
    } else {
        printf("%" PRIu64 " messages, %" PRId64 " trials, %" PRId64 " valid, %.1f s\n",
               feed->seq, feed->n_told, feed->n_valid, seconds);
        printf("lost: %lld messages, %lld events\n",
               (long long)json_integer_value(json_object_get(all, "messages_lost")),
               (long long)json_integer_value(json_object_get(all, "events_dropped")));
        printf("predicted before learned, second half: r median %.3f, mean %.3f\n",
               median(online, n), mean(online, n));
        if (feed->n_test_frames > 0)
            printf("held out, with the average of %zu repeats: r mean %.3f\n",
                   feed->n_test_repeats, mean(test, n));
    }
    json_decref(all);
    free(online);
    free(test);
}

static int play_all(struct feed *feed, const struct part *part, const struct part *test)
{
    int error;

    feed->start_ns = clock_now_ns();
    feed->epoch = (uint32_t)feed->start_ns;
    feed->n_learned_due = count_learned(feed, part);
    error = part->shuffled ? play_shuffled(feed, part) : play_in_order(feed, part, 1);
    if (!error && test)
        error = play_in_order(feed, test, 0);
    return error ? error : await(feed, 0);
}

static int feed_folder(struct feed *feed, const char *folder, int stop, int json)
{
    struct part part, test;
    char path[1024];
    const char *why = ask_shape(feed);
    int has_test, error;

    if (!why)
        why = read_bin(feed, folder);
    if (why)
        return tool_fail(TOOL_FAILED, "feed", "%s", why);
    why = part_open(&part, folder, "", path, sizeof(path));
    if (why)
        return tool_fail(TOOL_FAILED, "feed", "%s: %s", path, why);
    part.shuffled = part.counts.n_dims == 3;
    has_test = part_open(&test, folder, "_test", path, sizeof(path)) == NULL;
    why = check_part(feed, &part);
    if (!why && has_test)
        why = check_part(feed, &test);
    if (why)
        return tool_fail(TOOL_FAILED, "feed", "%s", why);
    take_memory(feed, has_test ? &test : NULL);
    feed->client = client_open("");
    if (!feed->client)
        return tool_fail(TOOL_FAILED, "feed", "cannot connect: %s", strerror(errno));
    client_wait(feed->client, 2000); /* what is published reaches us */
    error = play_all(feed, &part, has_test ? &test : NULL);
    if (!error)
        print_scores(feed, (double)(clock_now_ns() - feed->start_ns) / 1e9, json);
    if (stop)
        free(client_ask("{\"do\":\"stop\"}", 2000));
    client_close(feed->client);
    free(feed->light);
    free(feed->counts);
    free(feed->running);
    free(feed->test_rate);
    free(feed->test_count);
    part_close(&part);
    if (has_test)
        part_close(&test);
    return error ? tool_fail(TOOL_FAILED, "feed", "the daemon stopped answering")
                 : TOOL_DONE;
}

int tool_feed(int argc, char **argv)
{
    static const struct option options[] = {{"speed", required_argument, NULL, 's'},
                                            {"segment", required_argument, NULL, 'g'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {"stop", no_argument, NULL, 'p'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    struct feed feed = {.seed = 1};
    int option, stop = 0, json = 0;

    if (tool_usage(argc, argv, help))
        return TOOL_DONE;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            feed.speed = strcmp(optarg, "max") == 0 ? 0 : strtod(optarg, NULL);
            if (feed.speed <= 0 && strcmp(optarg, "max") != 0)
                return tool_fail(TOOL_USAGE, "feed", "--speed: a number above 0, or max");
            break;
        case 'g':
            feed.segment = strtoul(optarg, NULL, 10);
            break;
        case 'r':
            feed.seed = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            stop = 1;
            break;
        case 'j':
            json = 1;
            break;
        default:
            return TOOL_USAGE;
        }
    }
    if (optind != argc - 1)
        return tool_fail(TOOL_USAGE, "feed", "give one folder; --help tells more");
    return feed_folder(&feed, argv[optind], stop, json);
}
