#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/metrics.h"
#include "report.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double report_median(size_t n, double *values)
{
    size_t m = 0;

    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i]))
            values[m++] = values[i];
    if (m == 0)
        return (double)NAN;
    qsort(values, m, sizeof(double), by_value);
    return m % 2 ? values[m / 2] : (values[m / 2 - 1] + values[m / 2]) / 2;
}

/* Mean and standard error from sums. */
static struct report_mean mean_of(uint64_t n, double sum, double squares)
{
    double count = (double)n, mean = n ? sum / count : (double)NAN;
    double variance = n > 1 ? (squares - sum * mean) / (count - 1) : (double)NAN;

    return (struct report_mean){n, mean, sqrt(fmax(variance, 0) / count)};
}

/* --- prediction against observation, unit by unit --- */

static void score_unit(struct report *report, int u)
{
    struct report_unit *unit = &report->units[u];
    struct metrics_running all = {0}, late = {0};
    size_t seen = 0;

    for (size_t i = 0; i < report->n_trials; i++) {
        const float *response = report->trials[i].response;
        if (!response || !report->trials[i].learned)
            continue;
        metrics_running_add(&all, response[report->n_units + u], response[u]);
        if (seen++ >= report->n_learned / 2)
            metrics_running_add(&late, response[report->n_units + u], response[u]);
    }
    unit->n = (uint64_t)all.corr.n;
    unit->mean_count = all.corr.n ? all.n_spikes / (double)all.corr.n : (double)NAN;
    unit->correlation = metrics_running_corr(&all);
    unit->correlation_late = metrics_running_corr(&late);
    unit->bits_per_spike = metrics_running_bits_per_spike(&all);
}

/* Responses to a unit's own MEI, and to the random stimuli that were shown between MEIs
 * (to all random ones if there were none between). */
static void score_mei(struct report *report, int u)
{
    struct report_unit *unit = &report->units[u];
    double sum[2] = {0, 0}, squares[2] = {0, 0};
    uint64_t n[2] = {0, 0};
    size_t first = 0;

    while (first < report->n_trials && report->trials[first].kind != JOB_MEI)
        first++;
    for (size_t i = first; i < report->n_trials; i++) {
        const struct report_trial *trial = &report->trials[i];
        int is_own = trial->kind == JOB_MEI && trial->unit == (uint32_t)u;
        double count;
        if (!trial->response || (!is_own && trial->kind != JOB_RANDOM))
            continue;
        count = (double)trial->response[u];
        if (isnan(count))
            continue;
        n[is_own]++;
        sum[is_own] += count;
        squares[is_own] += count * count;
    }
    unit->own = mean_of(n[1], sum[1], squares[1]);
    unit->control = mean_of(n[0], sum[0], squares[0]);
    unit->gain = n[1] && n[0] && unit->control.mean > 0
                     ? unit->own.mean / unit->control.mean
                     : (double)NAN;
}

/* --- calibration: what was observed where so much was predicted --- */

static int bin_of(double predicted)
{
    double i = floor((log10(predicted) + 3) * 8);

    return i < 0 ? 0 : i >= REPORT_BINS ? REPORT_BINS - 1 : (int)i;
}

static void score_bins(struct report *report)
{
    double predicted[2][REPORT_BINS] = {{0}}, observed[2][REPORT_BINS] = {{0}},
           squares[2][REPORT_BINS] = {{0}};
    uint64_t n[2][REPORT_BINS] = {{0}};
    size_t seen = 0;

    for (size_t i = 0; i < report->n_trials; i++) {
        const float *response = report->trials[i].response;
        int half = seen >= report->n_valid / 2;
        seen += response != NULL;
        for (int u = 0; response && u < report->n_units; u++) {
            double rate = (double)response[report->n_units + u];
            double count = (double)response[u];
            int b;
            if (!isfinite(rate) || !isfinite(count) || rate <= 0)
                continue;
            b = bin_of(rate);
            n[half][b]++;
            predicted[half][b] += rate;
            observed[half][b] += count;
            squares[half][b] += count * count;
        }
    }
    for (int half = 0; half < 2; half++) {
        for (int b = 0; b < REPORT_BINS; b++) {
            struct report_mean mean =
                mean_of(n[half][b], observed[half][b], squares[half][b]);
            report->bins[half][b] =
                (struct report_bin){n[half][b], predicted[half][b] / (double)n[half][b],
                                    mean.mean, mean.error};
        }
    }
}

/* --- repeats of held-out stimuli --- */

static int by_hash(const void *a, const void *b)
{
    const struct report_trial *x = *(const struct report_trial *const *)a,
                              *y = *(const struct report_trial *const *)b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* The trials of held-out stimuli that came twice or more, sorted by stimulus; the start
 * of each stimulus and one past the last in start: (n_images + 1). */
struct repeats {
    const struct report_trial **trials;
    size_t *start;
    size_t n_images, n_most;
};

static void find_repeats(const struct report *report, struct repeats *repeats)
{
    size_t n = 0, kept = 0;

    memset(repeats, 0, sizeof(*repeats));
    repeats->trials = report_take(report->n_valid, sizeof(*repeats->trials));
    repeats->start = report_take(report->n_valid + 1, sizeof(size_t));
    for (size_t i = 0; i < report->n_trials; i++) {
        const struct report_trial *trial = &report->trials[i];
        if (trial->response && trial->kind == 0 && !trial->learned)
            repeats->trials[n++] = trial;
    }
    qsort(repeats->trials, n, sizeof(*repeats->trials), by_hash);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n; to++)
            if (repeats->trials[to]->hash != repeats->trials[from]->hash)
                break;
        size_t m = to - from < REPORT_REPEATS ? to - from : REPORT_REPEATS;
        if (m < 2)
            continue;
        memmove(repeats->trials + kept, repeats->trials + from,
                m * sizeof(*repeats->trials));
        repeats->start[repeats->n_images++] = kept;
        kept += m;
        repeats->n_most = m > repeats->n_most ? m : repeats->n_most;
    }
    repeats->start[repeats->n_images] = kept;
}

static void score_repeats_unit(struct report *report, const struct repeats *repeats,
                               int u, double *response, double *prediction)
{
    struct report_unit *unit = &report->units[u];
    struct metrics_trials trials = {(int)repeats->n_images, (int)repeats->n_most,
                                    response};

    for (size_t i = 0; i < repeats->n_images; i++) {
        size_t n = repeats->start[i + 1] - repeats->start[i];
        prediction[i] = 0;
        for (size_t r = 0; r < repeats->n_most; r++) {
            const struct report_trial *trial =
                r < n ? repeats->trials[repeats->start[i] + r] : NULL;
            response[i * repeats->n_most + r] =
                trial ? (double)trial->response[u] : (double)NAN;
            if (trial)
                prediction[i] += (double)trial->response[report->n_units + u] / (double)n;
        }
    }
    unit->repeat_correlation = metrics_corr_average(&trials, prediction, 0);
    unit->explainable = metrics_fev(&trials);
    unit->explained = metrics_feve(&trials, prediction);
    unit->cc_norm = metrics_cc_norm(&trials, prediction);
}

static void score_repeats(struct report *report)
{
    struct repeats repeats;
    double *response, *prediction;

    find_repeats(report, &repeats);
    report->n_repeated = repeats.n_images;
    report->n_repeats = repeats.start[repeats.n_images];
    response = report_take(repeats.n_images * repeats.n_most, sizeof(double));
    prediction = report_take(repeats.n_images, sizeof(double));
    for (int u = 0; u < report->n_units; u++) {
        struct report_unit *unit = &report->units[u];
        unit->repeat_correlation = unit->explainable = unit->explained = unit->cc_norm =
            (double)NAN;
        if (repeats.n_images > 1)
            score_repeats_unit(report, &repeats, u, response, prediction);
    }
    free(response);
    free(prediction);
    free(repeats.trials);
    free(repeats.start);
}

/* --- times --- */

static void quantiles(struct report_quantiles *q)
{
    qsort(q->sorted, q->n, sizeof(double), by_value);
    q->p50 = q->p99 = q->most = (double)NAN;
    if (q->n == 0)
        return;
    q->p50 = q->sorted[(q->n - 1) / 2];
    q->p99 = q->sorted[(q->n * 99 + 99) / 100 - 1]; /* nearest rank */
    q->most = q->sorted[q->n - 1];
}

static void score_times(struct report *report)
{
    struct report_quantiles *latency = &report->latency_ms,
                            *uncertainty = &report->uncertainty_ms;

    latency->sorted = report_take(report->n_trials, sizeof(double));
    uncertainty->sorted = report_take(report->n_trials, sizeof(double));
    for (size_t i = 0; i < report->n_trials; i++) {
        const struct report_trial *trial = &report->trials[i];
        if (trial->latency_ns != CLOCK_UNKNOWN && trial->latency_ns >= 0)
            latency->sorted[latency->n++] = (double)trial->latency_ns * 1e-6;
        if (trial->verdict == VERDICT_VALID && trial->uncertainty_ns != CLOCK_UNKNOWN &&
            trial->uncertainty_ns >= 0)
            uncertainty->sorted[uncertainty->n++] = (double)trial->uncertainty_ns * 1e-6;
    }
    quantiles(latency);
    quantiles(uncertainty);
}

/* --- the whole --- */

struct ranked {
    double score;
    int unit;
};

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int known = isfinite(x->score) - isfinite(y->score);

    if (known != 0)
        return -known;
    if (isfinite(x->score) && x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->unit - y->unit;
}

static void rank(struct report *report)
{
    size_t n = (size_t)report->n_units;
    struct ranked *ranked = report_take(n, sizeof(*ranked));

    report->order = report_take(n, sizeof(int));
    for (size_t u = 0; u < n; u++)
        ranked[u] = (struct ranked){report->units[u].correlation, (int)u};
    qsort(ranked, n, sizeof(*ranked), by_score);
    for (size_t i = 0; i < n; i++)
        report->order[i] = ranked[i].unit;
    free(ranked);
}

double report_over_units(const struct report *report, size_t offset, int *n)
{
    size_t n_units = (size_t)report->n_units;
    double *values = report_take(n_units, sizeof(double)), median;
    int known = 0;

    for (size_t u = 0; u < n_units; u++) {
        memcpy(&values[u], (const char *)&report->units[u] + offset, sizeof(double));
        known += isfinite(values[u]) != 0;
    }
    median = report_median(n_units, values);
    free(values);
    if (n)
        *n = known;
    return median;
}

void report_score(struct report *report)
{
    for (int u = 0; u < report->n_units; u++) {
        score_unit(report, u);
        score_mei(report, u);
    }
    score_bins(report);
    score_repeats(report);
    score_times(report);
    rank(report);
#define OVER_UNITS(field)                                                                \
    report->field = report_over_units(report, offsetof(struct report_unit, field), NULL)
    OVER_UNITS(correlation);
    OVER_UNITS(correlation_late);
    OVER_UNITS(bits_per_spike);
    OVER_UNITS(repeat_correlation);
    OVER_UNITS(explainable);
    OVER_UNITS(explained);
#undef OVER_UNITS
    report->gain =
        report_over_units(report, offsetof(struct report_unit, gain), &report->n_gain);
}
