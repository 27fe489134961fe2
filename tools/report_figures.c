#include <math.h>
#include <stdlib.h>

#include "plot.h"
#include "report_page.h"
#include "report_words.h"

#define FULL 1120.0 /* width of the page's column */
#define HALF 545.0
#define Z95  1.96 /* half of a 95 % interval, in standard errors */

/* --- the session in time --- */

#define SLOTS      140 /* at most */
#define SLOT_LEAST 6   /* trials in one, on average, that its rate is no lottery */

static const char *state_color(unsigned state)
{
    switch (state) {
    case STATE_CHOOSE:
    case STATE_PRESENT:
    case STATE_COLLECT:
        return "#8dc6bf";
    case STATE_PAUSED:
        return PLOT_GOLD;
    case STATE_FAULT:
        return PLOT_RED;
    default:
        return "#cbd2d9";
    }
}

/* The axis of time: in seconds, or minutes where it is long. */
struct span_axis {
    double unit_s;
    const char *label;
};

static struct span_axis span_axis(double length_s)
{
    return length_s > 600 ? (struct span_axis){60, "minutes since the first event"}
                          : (struct span_axis){1, "seconds since the first event"};
}

/* Spans of one colour that follow each other are one box. */
static void draw_states(const struct report *report, const struct plot *plot,
                        double unit_s, double low, double high)
{
    for (size_t i = 0, next; i < report->n_spans; i = next) {
        const struct report_span *span = &report->spans[i];
        const char *color = state_color(span->state);
        char text[256];
        for (next = i + 1; next < report->n_spans; next++)
            if (state_color(report->spans[next].state) != color)
                break;
        snprintf(text, sizeof(text), "%s from %.1f s", state_name(span->state),
                 span->from_s);
        plot_box(plot, span->from_s / unit_s, low, report->spans[next - 1].to_s / unit_s,
                 high, &(struct plot_style){color, 0, 1, NULL}, text);
    }
}

static void draw_notes(const struct report *report, const struct plot *plot,
                       double unit_s, double high)
{
    for (size_t i = 0; i < report->n_notes; i++) {
        double x = report->notes[i].time_s / unit_s;
        char number[24];
        snprintf(number, sizeof(number), "%zu", i + 1);
        plot_segment(plot, x, 0, x, high, &(struct plot_style){PLOT_INK, 1, 0.6, "2 3"});
        plot_text(plot, x, high, 0, -5, "middle", PLOT_INK, number);
    }
}

static void draw_rates(const double *valid, const double *invalid, int n, double slot,
                       const struct plot *plot)
{
    for (int i = 0; i < n; i++) {
        plot_box(plot, i * slot, 0, (i + 0.85) * slot, valid[i],
                 &(struct plot_style){PLOT_BLUE, 0, 0.85, NULL}, NULL);
        if (invalid[i] > 0)
            plot_box(plot, i * slot, valid[i], (i + 0.85) * slot, valid[i] + invalid[i],
                     &(struct plot_style){PLOT_RED, 0, 0.85, NULL}, NULL);
    }
}

void report_figure_timeline(const struct report *report, FILE *to)
{
    int n = (int)fmin(fmax((double)report->n_trials / SLOT_LEAST, 20), SLOTS);
    double length = fmax(report->length_s, 1e-3), slot = length / n, most = 0;
    double counts[2][SLOTS] = {{0}};
    struct span_axis axis = span_axis(length);
    struct plot plot = {.to = to,
                        .width = FULL,
                        .height = 200,
                        .left = 62,
                        .right = 12,
                        .top = 22,
                        .bottom = 46,
                        .x = {.to = length / axis.unit_s, .label = axis.label},
                        .y = {.to = 1, .label = "trials per second"}};

    for (size_t i = 0; i < report->n_trials; i++) {
        int at = (int)(report->trials[i].time_s / slot);
        at = at < 0 ? 0 : at >= n ? n - 1 : at;
        counts[report->trials[i].verdict != VERDICT_VALID][at] += 1 / slot;
    }
    for (int i = 0; i < n; i++)
        most = fmax(most, counts[0][i] + counts[1][i]);
    plot.y.to = most > 0 ? most : 1;
    plot_axis_round(&plot.y, 3);
    most = plot.y.to;
    plot.y.to = most * 1.3;
    plot_begin(&plot, "Trials per second and states over the session");
    plot_axes(&plot);
    draw_rates(counts[0], counts[1], n, slot / axis.unit_s, &plot);
    draw_states(report, &plot, axis.unit_s, most * 1.15, most * 1.3);
    draw_notes(report, &plot, axis.unit_s, most * 1.3);
    plot_end(&plot);
}

/* --- learning --- */

static void learning_range(const struct report *report, struct plot_axis *axis)
{
    axis->from = 0;
    axis->to = 0.5;
    for (unsigned k = 0; k < REPORT_KINDS; k++) {
        const struct report_curve *curve = &report->curves[k];
        for (int p = 0; p < curve->n_points; p++) {
            for (int i = 0; i < report->n_units && i < REPORT_SHOWN; i++) {
                double r = curve->unit[(size_t)p * (size_t)report->n_units +
                                       (size_t)report->order[i]];
                if (isfinite(r)) {
                    axis->from = fmin(axis->from, r);
                    axis->to = fmax(axis->to, r);
                }
            }
        }
    }
    plot_axis_round(axis, 10);
}

static void draw_units(const struct report *report, const struct report_curve *curve,
                       const char *color, const struct plot *plot)
{
    double *y = report_take((size_t)curve->n_points, sizeof(double));

    for (int i = 0; i < report->n_units && i < REPORT_SHOWN; i++) {
        for (int p = 0; p < curve->n_points; p++)
            y[p] = curve->unit[(size_t)p * (size_t)report->n_units +
                               (size_t)report->order[i]];
        plot_line(plot, curve->n_points, curve->trial, y,
                  &(struct plot_style){color, 1, 0.28, NULL});
    }
    free(y);
}

void report_figure_learning(const struct report *report, FILE *to)
{
    struct plot plot = {.to = to,
                        .width = FULL,
                        .height = 300,
                        .left = 62,
                        .right = 12,
                        .top = 12,
                        .bottom = 46,
                        .x = {.label = "trial"},
                        .y = {.label = "correlation"}};

    plot.x.to = (double)report->trials[report->n_trials - 1].number + 1;
    learning_range(report, &plot.y);
    plot_begin(&plot, "Prequential correlation over trials, by kind of stimulus");
    plot_axes(&plot);
    for (unsigned k = 0; k < REPORT_KINDS; k++)
        draw_units(report, &report->curves[k], report_kind_color(k), &plot);
    for (unsigned k = 0; k < REPORT_KINDS; k++)
        plot_line(&plot, report->curves[k].n_points, report->curves[k].trial,
                  report->curves[k].median,
                  &(struct plot_style){report_kind_color(k), 3.2, 1, NULL});
    plot_end(&plot);
}

/* --- predicted against observed --- */

#define BIN_LEAST 20 /* responses in a bin that is drawn */

static int bin_is_drawn(const struct report_bin *bin)
{
    return bin->n >= BIN_LEAST && bin->observed > 0;
}

static void draw_bins(const struct report_bin *bins, const char *color,
                      const struct plot *plot)
{
    const struct plot_style point = {color, 3.6, 1, NULL}, bar = {color, 1.2, 0.9, NULL};

    for (int b = 0; b < REPORT_BINS; b++) {
        double low = bins[b].observed - Z95 * bins[b].error;
        if (!bin_is_drawn(&bins[b]))
            continue;
        plot_segment(plot, bins[b].predicted, fmax(low, plot->y.from), bins[b].predicted,
                     fmin(bins[b].observed + Z95 * bins[b].error, plot->y.to), &bar);
        plot_point(plot, bins[b].predicted, bins[b].observed, &point);
    }
}

void report_figure_calibration(const struct report *report, FILE *to)
{
    struct plot_axis axis = {.from = INFINITY, .is_log = 1};
    struct plot plot = {.to = to,
                        .width = HALF,
                        .height = 380,
                        .left = 72,
                        .right = 12,
                        .top = 14,
                        .bottom = 46};

    for (int half = 0; half < 2; half++) {
        for (int b = 0; b < REPORT_BINS; b++) {
            const struct report_bin *bin = &report->bins[half][b];
            if (!bin_is_drawn(bin))
                continue;
            axis.from = fmin(axis.from, fmin(bin->predicted, bin->observed));
            axis.to = fmax(axis.to, fmax(bin->predicted, bin->observed));
        }
    }
    if (!(axis.to > 0))
        return;
    axis.from /= 1.25;
    axis.to *= 1.25;
    plot.x = plot.y = axis;
    plot.x.label = "predicted count";
    plot.y.label = "mean observed count";
    plot_begin(&plot, "Observed against predicted counts");
    plot_axes(&plot);
    plot_segment(&plot, axis.from, axis.from, axis.to, axis.to,
                 &(struct plot_style){PLOT_DIM, 1.2, 1, "4 4"});
    draw_bins(report->bins[0], "#9aa5b1", &plot);
    draw_bins(report->bins[1], PLOT_BLUE, &plot);
    plot_end(&plot);
}

/* --- its own MEI against random stimuli --- */

static int has_gain(const struct report_unit *unit)
{
    return unit->own.n > 0 && unit->control.n > 0;
}

int report_has_gain(const struct report *report)
{
    for (int u = 0; u < report->n_units; u++)
        if (has_gain(&report->units[u]))
            return 1;
    return 0;
}

static void draw_mean(const struct plot *plot, const struct report_mean *mean, double y,
                      const char *color)
{
    double half = isfinite(mean->error) ? Z95 * mean->error : 0;

    plot_segment(plot, fmax(mean->mean - half, 0), y, mean->mean + half, y,
                 &(struct plot_style){color, 1.6, 0.8, NULL});
    plot_point(plot, mean->mean, y, &(struct plot_style){color, 4, 1, NULL});
}

void report_figure_mei(const struct report *report, FILE *to)
{
    struct plot plot = {
        .to = to, .width = HALF, .left = 72, .right = 62, .top = 14, .bottom = 46};
    double most = 0;
    int n = 0, row = 0;

    for (int i = 0; i < report->n_units && n < REPORT_SHOWN; i++) {
        const struct report_unit *unit = &report->units[report->order[i]];
        if (!has_gain(unit))
            continue;
        n++;
        most = fmax(most, unit->own.mean + Z95 * fmax(unit->own.error, 0));
        most = fmax(most, unit->control.mean + Z95 * fmax(unit->control.error, 0));
    }
    if (n == 0)
        return;
    plot.height = fmax(60 + 27.0 * n, 160);
    plot.x = (struct plot_axis){0, most > 0 ? most : 1, 0, "mean observed count", 0};
    plot_axis_round(&plot.x, 6);
    plot.y = (struct plot_axis){n, 0, 0, NULL, 1};
    plot_begin(&plot, "Responses to the unit's own MEI and to random stimuli");
    plot_axes(&plot);
    for (int i = 0; i < report->n_units && row < n; i++) {
        const struct report_unit *unit = &report->units[report->order[i]];
        double y = row + 0.5;
        char text[40];
        if (!has_gain(unit))
            continue;
        snprintf(text, sizeof(text), "unit %d", report->order[i]);
        plot_segment(&plot, 0, y, plot.x.to, y,
                     &(struct plot_style){PLOT_GRID, 1, 1, NULL});
        plot_text(&plot, 0, y, -8, 4, "end", PLOT_INK, text);
        draw_mean(&plot, &unit->control, y, "#9aa5b1");
        draw_mean(&plot, &unit->own, y, PLOT_RED);
        if (isfinite(unit->gain)) {
            snprintf(text, sizeof(text), "\u00d7 %.1f", unit->gain);
            plot_text(&plot, plot.x.to, y, 10, 4, "start", PLOT_INK, text);
        }
        row++;
    }
    plot_end(&plot);
}

/* --- repeats --- */

void report_figure_repeats(const struct report *report, FILE *to)
{
    struct plot plot = {.to = to,
                        .width = HALF,
                        .height = 340,
                        .left = 62,
                        .right = 14,
                        .top = 14,
                        .bottom = 46,
                        .x = {.to = 1, .label = "explainable fraction of variance"},
                        .y = {.to = 1, .label = "correlation with the repeat average"}};

    for (int u = 0; u < report->n_units; u++) {
        if (isfinite(report->units[u].repeat_correlation))
            plot.y.from = fmin(plot.y.from, report->units[u].repeat_correlation);
        if (isfinite(report->units[u].explainable))
            plot.x.from = fmin(plot.x.from, report->units[u].explainable);
    }
    plot_axis_round(&plot.x, 6);
    plot_axis_round(&plot.y, 6);
    plot_begin(&plot, "Correlation with the repeat average against explainable variance");
    plot_axes(&plot);
    for (int u = 0; u < report->n_units; u++)
        plot_point(&plot, report->units[u].explainable,
                   report->units[u].repeat_correlation,
                   &(struct plot_style){PLOT_TEAL, 4, 0.8, NULL});
    plot_end(&plot);
}

/* --- times --- */

#define TIME_BINS 44

static void mark(const struct plot *plot, double value, const char *name,
                 const char *anchor)
{
    char text[64], time[32];

    report_time(time, sizeof(time), value);
    snprintf(text, sizeof(text), "%s %s", name, time);
    plot_segment(plot, value, 0, value, plot->y.to,
                 &(struct plot_style){PLOT_RED, 1.4, 1, "4 3"});
    plot_text(plot, value, plot->y.to, anchor[0] == 'e' ? -5 : 5, 11, anchor, PLOT_RED,
              text);
}

void report_figure_times(const struct report_quantiles *times, const char *label,
                         FILE *to)
{
    uint64_t counts[TIME_BINS] = {0}, most = 1;
    struct plot plot = {.to = to,
                        .width = HALF,
                        .height = 250,
                        .left = 62,
                        .right = 12,
                        .top = 14,
                        .bottom = 46};
    double least, step;

    least = fmax(times->sorted[0], 1e-6);
    plot.x = (struct plot_axis){least / 1.3, fmax(times->most, least) * 1.3, 1, label, 0};
    step = log(plot.x.to / plot.x.from) / TIME_BINS;
    for (uint64_t i = 0; i < times->n; i++) {
        int bin = (int)(log(fmax(times->sorted[i], least) / plot.x.from) / step);
        bin = bin >= TIME_BINS ? TIME_BINS - 1 : bin;
        most = ++counts[bin] > most ? counts[bin] : most;
    }
    plot.y = (struct plot_axis){0, 1.15 * (double)most, 0, "trials", 0};
    plot_axis_round(&plot.y, 5);
    plot_begin(&plot, label);
    plot_axes(&plot);
    for (int b = 0; b < TIME_BINS; b++)
        if (counts[b])
            plot_box(&plot, plot.x.from * exp(b * step), 0,
                     plot.x.from * exp((b + 0.9) * step), (double)counts[b],
                     &(struct plot_style){PLOT_BLUE, 0, 0.8, NULL}, NULL);
    mark(&plot, times->p50, "p50", "end");
    mark(&plot, times->p99, "p99", "start");
    plot_end(&plot);
}
