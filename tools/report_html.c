/* report.html: the page. Everything in it is inline: it opens from disk, years later. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "plot.h"
#include "report_page.h"
#include "report_words.h"

/* A length of time for people. */
static void duration(FILE *to, double seconds)
{
    int64_t whole = (int64_t)seconds;

    if (seconds < 60)
        fprintf(to, "%.1f s", seconds);
    else if (seconds < 3600)
        fprintf(to, "%" PRId64 " min %" PRId64 " s", whole / 60, whole % 60);
    else
        fprintf(to, "%" PRId64 " h %" PRId64 " min", whole / 3600, whole / 60 % 60);
}

/* "2026-11-23T22:10:00Z" as people write it. */
static void date(FILE *to, const char *stamp)
{
    if (stamp && strlen(stamp) == 20 && stamp[10] == 'T' && stamp[19] == 'Z') {
        char text[20];
        snprintf(text, sizeof(text), "%.10s, %.5s", stamp, stamp + 11);
        report_text(to, text);
        fputs(" UTC", to);
    } else {
        report_text(to, stamp);
    }
}

static void section(FILE *to, const char *title, const char *says)
{
    fprintf(to, "<h2>%s</h2>\n<p class=\"says\">%s</p>\n", title, says);
}

static void key(FILE *to, const char *color, const char *name)
{
    fprintf(to, "<span><span class=\"key\" style=\"background:%s\"></span>%s</span>\n",
            color, name);
}

static const char *const model_names[] = {"model", "LN-Poisson model"};
static const char *const front_names[] = {"", "on pixels", "on Gabor energies"};

static void head(const struct report *report, FILE *to)
{
    const char *name = report_meta(report, "name");

    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n"
          "<meta name=\"viewport\" content=\"width=device-width\" />\n<title>",
          to);
    report_text(to, name ? name : "session");
    fprintf(to, " \u2013 Evoke report</title>\n<style>\n%s</style>\n</head>\n<body>\n",
            report_style);
    fputs("<h1>", to);
    report_text(to, name ? name : "session");
    fputs("</h1>\n<p class=\"sub\">", to);
    date(to, report_meta(report, "started"));
    fputs(" \u00b7 ", to);
    duration(to, report->length_s);
    fprintf(to, " \u00b7 %d unit%s", report->n_units, report->n_units == 1 ? "" : "s");
    if (!report->conf_wrong[0]) {
        int kind = (int)report->conf.model.kind, front = report->conf.model.front;
        fprintf(to, " \u00b7 %s %s of %d \u00d7 %d px",
                model_names[kind == MODEL_GLM ? 1 : 0],
                front_names[front >= 1 && front <= 2 ? front : 0], report->width,
                report->height);
        if (report->n_frames > 1)
            fprintf(to, " \u00d7 %d frames", report->n_frames);
    }
    fputs(" \u00b7 seed ", to);
    report_text(to, report_meta(report, "seed"));
    fputs(" \u00b7 Evoke ", to);
    report_text(to, report_meta(report, "version"));
    fputs("</p>\n", to);
}

static void lead(const struct report *report, FILE *to)
{
    fprintf(to, "<p class=\"lead\">%zu trial%s ended, %zu of them valid; ",
            report->n_trials, report->n_trials == 1 ? "" : "s", report->n_valid);
    if (report->n_learned)
        fprintf(to, "the model learned from %zu%s. ", report->n_learned,
                report_meta(report, "continues")
                    ? ", beside what an interrupted session before had learned"
                    : "");
    else
        fputs("the model learned from none. ", to);
    if (report->n_valid == 0)
        fputs("With nothing valid there is nothing to score: the table of trials below "
              "says why. ",
              to);
    if (!report->is_whole)
        fputs("The session did not come to its end: it was interrupted, and this is what "
              "had been committed. ",
              to);
    if (report->model_wrong[0]) {
        fputs("Its final model is not available: ", to);
        report_text(to, report->model_wrong);
        fputs(".", to);
    }
    fputs("</p>\n", to);
}

static void tile(FILE *to, const char *format, double value, const char *label)
{
    fputs("<div class=\"tile\"><b>", to);
    report_number(to, format, value);
    fprintf(to, "</b><span>%s</span></div>\n", label);
}

/* A median over some of the units, and how many. */
static void tile_of(FILE *to, const char *format, double value, const char *label,
                    int n_units)
{
    char text[128];

    snprintf(text, sizeof(text), "%s, median of %d unit%s", label, n_units,
             n_units == 1 ? "" : "s");
    tile(to, format, value, text);
}

static void tiles(const struct report *report, FILE *to)
{
    fputs("<div class=\"tiles\">\n", to);
    fprintf(to, "<div class=\"tile\"><b>%zu</b><span>valid trials of %zu</span></div>\n",
            report->n_valid, report->n_trials);
    tile(to, "%.2f", report->correlation,
         "correlation of prediction and count, all kinds of stimuli, median over units");
    tile(to, "%.2f", report->correlation_late, "the same, second half of the trials");
    tile(to, "%.2f", report->bits_per_spike,
         "bits/spike gained over the mean rate, median");
    if (isfinite(report->mei_cosine))
        tile_of(to, "%.2f", report->mei_cosine, "cosine of MEI and true filter",
                report->n_mei_cosine);
    if (isfinite(report->gain))
        tile_of(to, "\u00d7 %.1f", report->gain,
                "response to own MEI over random stimuli", report->n_gain);
    if (isfinite(report->repeat_correlation))
        tile(to, "%.2f", report->repeat_correlation,
             "correlation with the repeat average, median");
    if (report->latency_ms.n) {
        char p50[32], p99[32];
        report_time(p50, sizeof(p50), report->latency_ms.p50);
        report_time(p99, sizeof(p99), report->latency_ms.p99);
        fprintf(to,
                "<div class=\"tile\"><b>%s</b><span>latency p50; p99 %s</span></div>\n",
                p50, p99);
    }
    fputs("</div>\n", to);
}

static void timeline(const struct report *report, FILE *to)
{
    section(to, "The session in time",
            "Trials per second, and above them the state of the loop; numbered lines are "
            "the notes at the end.");
    fputs("<p class=\"keys\">", to);
    key(to, PLOT_BLUE, "valid trials");
    key(to, PLOT_RED, "invalid trials, fault");
    key(to, "#8dc6bf", "running");
    key(to, PLOT_GOLD, "paused");
    key(to, "#cbd2d9", "waiting or ended");
    fputs("</p>\n<div class=\"fig\">\n", to);
    report_figure_timeline(report, to);
    fputs("</div>\n", to);
}

/* A name of enum verdict with spaces. */
static void words(FILE *to, const char *name)
{
    for (; *name; name++)
        fputc(*name == '_' ? ' ' : *name, to);
}

static void count_row(FILE *to, const char *name, uint64_t n, uint64_t all,
                      const char *class)
{
    fputs("<tr><td>", to);
    words(to, name);
    fprintf(to,
            "</td><td class=\"n\">%" PRIu64 "</td><td class=\"n\">%.1f %%</td>"
            "<td class=\"wide\"><span class=\"%s\" style=\"width:%.2f%%\"></span></td>"
            "</tr>\n",
            n, 100 * (double)n / (double)all, class, 100 * (double)n / (double)all);
}

static void trials(const struct report *report, FILE *to)
{
    section(
        to, "Trials",
        "A trial reaches the model only if its onset is known, no count of its window "
        "was lost, no frame was late and what was shown is what was chosen; each "
        "other is recorded with its reason.");
    if (report->n_trials == 0) {
        fputs("<p>No trial ended.</p>\n", to);
        return;
    }
    fputs("<div class=\"two\">\n<table>\n<tr><th>verdict</th><th class=\"n\">trials</th>"
          "<th></th><th></th></tr>\n",
          to);
    for (unsigned v = 0; v <= VERDICT_END; v++)
        if (report->verdicts[v])
            count_row(to, verdict_name(v), report->verdicts[v], report->n_trials,
                      v == VERDICT_VALID ? "bar" : "bar bad");
    fputs("</table>\n", to);
    if (report->n_valid) {
        fputs("<table>\n<tr><th>valid trials of</th><th class=\"n\">trials</th><th></th>"
              "<th></th></tr>\n",
              to);
        for (unsigned k = 0; k < REPORT_KINDS; k++)
            if (report->kinds[k])
                count_row(to, report_kind_label(k), report->kinds[k], report->n_valid,
                          "bar");
        fputs("</table>\n", to);
    }
    fputs("</div>\n", to);
}

int report_has_curve(const struct report *report)
{
    for (unsigned k = 0; k < REPORT_KINDS; k++)
        if (report->curves[k].n_points > 1)
            return 1;
    return 0;
}

static void learning(const struct report *report, FILE *to)
{
    char name[96];

    if (!report_has_curve(report))
        return;
    section(
        to, "Learning",
        "Correlation of the prediction made before each trial was learned with the "
        "count then observed, in sliding blocks of trials of one kind: thin lines are "
        "units, thick ones their median. Kinds are apart because a correlation "
        "depends on how much the stimuli vary.");
    fputs("<p class=\"keys\">", to);
    for (unsigned k = 0; k < REPORT_KINDS; k++) {
        if (report->curves[k].n_points < 2)
            continue;
        snprintf(name, sizeof(name), "%s, in blocks of %d", report_kind_label(k),
                 report->curves[k].n_block);
        key(to, report_kind_color(k), name);
    }
    fputs("</p>\n<div class=\"fig\">\n", to);
    report_figure_learning(report, to);
    fputs("</div>\n", to);
}

static void units(const struct report *report, FILE *to)
{
    int shown = report->n_units < REPORT_SHOWN ? report->n_units : REPORT_SHOWN;

    if (report->n_valid == 0)
        return;
    section(
        to, "Units",
        "For each unit the true filter (where the rig is simulated and told it), the "
        "model\u2019s linear receptive field and the most exciting input, each on its "
        "own grey scale with 0 at mid-grey; r is the correlation of counts "
        "with predictions made before the trial was learned (prequential), over all "
        "kinds "
        "of stimuli; bits/spike is what the prediction tells more than the mean rate "
        "does; "
        "cos is the cosine with the true filter.");
    if (shown < report->n_units)
        fprintf(to,
                "<p class=\"says\">The %d of %d units with the best correlation; "
                "report.json has all.",
                shown, report->n_units);
    else
        fputs("<p class=\"says\">All units, best correlation first.", to);
    if (report->n_frames > 1)
        fputs(report->height == 1
                  ? " Time runs down, from the oldest frame of a field to "
                    "the newest."
                  : " Of a field\u2019s frames the strongest is shown.",
              to);
    else
        fputs(" MEI: the last one made in the session; MEI*: made from the final model "
              "for this report.",
              to);
    fputs("</p>\n", to);
    report_cards(report, to);
}

static void predictions(const struct report *report, FILE *to)
{
    if (report->n_valid == 0)
        return;
    fputs("<div class=\"two\">\n<div class=\"fig\">\n", to);
    section(to, "Predicted and observed counts",
            "Mean observed count where so much was predicted, all units together, with "
            "95\u00a0% intervals; a calibrated model lies on the dashed line.");
    fputs("<p class=\"keys\">", to);
    key(to, "#9aa5b1", "first half of the trials");
    key(to, PLOT_BLUE, "second half");
    fputs("</p>\n", to);
    report_figure_calibration(report, to);
    fputs("</div>\n", to);
    if (report_has_gain(report)) {
        fputs("<div class=\"fig\">\n", to);
        section(
            to, "MEIs against random stimuli",
            "Mean count of each unit when its own MEI was shown and when a random "
            "stimulus was shown between MEIs, with 95\u00a0% intervals and their ratio.");
        fputs("<p class=\"keys\">", to);
        key(to, PLOT_RED, "own MEI");
        key(to, "#9aa5b1", "random stimuli");
        fputs("</p>\n", to);
        report_figure_mei(report, to);
        fputs("</div>\n", to);
    }
    fputs("</div>\n", to);
}

static void repeat_rows(const struct report *report, FILE *to)
{
    for (int i = 0; i < report->n_units && i < REPORT_SHOWN; i++) {
        const struct report_unit *unit = &report->units[report->order[i]];
        const double values[] = {unit->repeat_correlation, unit->cc_norm,
                                 unit->explainable, unit->explained};
        fprintf(to, "<tr><td>unit %d</td>", report->order[i]);
        for (int k = 0; k < 4; k++) {
            fputs("<td class=\"n\">", to);
            report_number(to, "%.2f", values[k]);
            fputs("</td>", to);
        }
        fputs("</tr>\n", to);
    }
}

static void repeats(const struct report *report, FILE *to)
{
    char says[512];

    if (report->n_repeated < 2)
        return;
    snprintf(
        says, sizeof(says),
        "%zu held-out stimuli were shown at least twice, %zu trials in all, and never "
        "learned from: how well the prediction follows the average over repeats, and "
        "how much of the variance repeats at all.",
        report->n_repeated, report->n_repeats);
    section(to, "Repeats", says);
    fputs("<div class=\"two\">\n<div class=\"fig\">\n", to);
    report_figure_repeats(report, to);
    fputs("</div>\n<table>\n<tr><th></th><th class=\"n\">correlation</th><th class=\"n\">"
          "CC norm</th><th class=\"n\">explainable</th><th class=\"n\">explained of it"
          "</th></tr>\n",
          to);
    repeat_rows(report, to);
    fputs("</table>\n</div>\n", to);
}

static void pair(FILE *to, const char *name, const char *format, double value)
{
    fprintf(to, "<tr><td>%s</td><td class=\"n\">", name);
    report_number(to, format, value);
    fputs("</td></tr>\n", to);
}

static void display(const struct report *report, FILE *to)
{
    char name[64];

    fputs("<table>\n<tr><th>display</th><th class=\"n\">", to);
    report_text(to, report->driver ? report->driver : "none");
    fputs("</th></tr>\n", to);
    if (report->driver) {
        fprintf(to,
                "<tr><td>size</td><td class=\"n\">%u \u00d7 %u px at %.4g Hz</td></tr>\n",
                report->display_width, report->display_height, report->refresh_hz);
        for (unsigned q = 0; q <= QUALITY_PHOTODIODE; q++) {
            if (report->flips[q] == 0)
                continue;
            snprintf(name, sizeof(name), "onsets of quality \u201c%s\u201d",
                     quality_name(q));
            pair(to, name, "%.0f", (double)report->flips[q]);
        }
        pair(to, "onsets shown late", "%.0f", (double)report->late_onsets);
        pair(to, "frames shown", "%.0f", (double)report->n_frames_shown);
        pair(to, "of these late", "%.0f", (double)report->late_frames);
    }
    fputs("</table>\n", to);
}

static void ingest(const struct report *report, FILE *to)
{
    uint64_t n = report->n_lost;
    char name[64];

    for (unsigned r = 0; r <= REJECT_END; r++)
        n += report->rejects[r];
    fprintf(to, "<table>\n<tr><th>messages refused</th><th class=\"n\">%s</th></tr>\n",
            n ? "" : "none");
    for (unsigned r = 0; r <= REJECT_END; r++) {
        if (report->rejects[r] == 0)
            continue;
        snprintf(name, sizeof(name), "for their %s", reject_name(r));
        pair(to, name, "%.0f", (double)report->rejects[r]);
    }
    if (report->n_lost)
        pair(to, "events dropped by a full ring", "%.0f", (double)report->n_lost);
    fputs("</table>\n", to);
}

static void uncertainty(const struct report *report, FILE *to)
{
    if (report->uncertainty_ms.n == 0)
        return;
    fputs("<div class=\"fig\">\n<h3>Clock uncertainty</h3>\n", to);
    if (report->uncertainty_ms.most > 0)
        report_figure_times(&report->uncertainty_ms, "uncertainty, ms", to);
    else
        fprintf(to,
                "<p>None in all %" PRIu64 " trials: each window was placed in the "
                "recorder\u2019s own clock.</p>\n",
                report->uncertainty_ms.n);
    fputs("</div>\n", to);
}

static void timing(const struct report *report, FILE *to)
{
    section(
        to, "Timing",
        "Latency is from the arrival of the last count of a trial to the command that "
        "shows the next stimulus; clock uncertainty is that of the response "
        "window\u2019s start in the recorder\u2019s clock. Both axes of time are "
        "logarithmic.");
    fputs("<div class=\"two\">\n", to);
    if (report->latency_ms.n) {
        fputs("<div class=\"fig\">\n<h3>Latency</h3>\n", to);
        report_figure_times(&report->latency_ms, "latency, ms", to);
        fputs("</div>\n", to);
    }
    uncertainty(report, to);
    display(report, to);
    ingest(report, to);
    fputs("</div>\n", to);
}

static void notes(const struct report *report, FILE *to)
{
    if (report->n_notes == 0)
        return;
    section(to, "Notes", "What the experimenter wrote during the session.");
    fputs("<table>\n", to);
    for (size_t i = 0; i < report->n_notes; i++) {
        fprintf(to, "<tr><td class=\"n\">%zu</td><td class=\"n\">%.1f s</td><td>", i + 1,
                report->notes[i].time_s);
        report_text(to, report->notes[i].text);
        fputs("</td></tr>\n", to);
    }
    fputs("</table>\n", to);
}

static void identity(const struct report *report, FILE *to)
{
    section(to, "Identity",
            "With these the session can be folded again, bit for bit; every row of the "
            "file was held against the chain of hashes while this report was made.");
    fputs("<table>\n<tr><td>session file</td><td>", to);
    report_text(to, report->path);
    fputs("</td></tr>\n", to);
    for (int i = 0; report_meta_keys[i].key; i++) {
        if (!report->meta[i])
            continue;
        fprintf(to, "<tr><td>%s</td><td>", report_meta_keys[i].label);
        report_text(to, report->meta[i]);
        fputs("</td></tr>\n", to);
    }
    fprintf(to,
            "<tr><td>events</td><td>%" PRIu64 "</td></tr>\n"
            "<tr><td>end of the hash chain</td><td><code>%016" PRIx64
            "</code></td></tr>\n</table>\n",
            report->n_events, report->chain);
    section(to, "Configuration", "As the session file keeps it, in full.");
    fputs("<pre>", to);
    report_text(to, report->conf_text);
    fputs("</pre>\n", to);
}

int report_html(const struct report *report, const char *path)
{
    FILE *to = fopen(path, "we");
    int failed;

    if (!to)
        return -errno;
    head(report, to);
    lead(report, to);
    tiles(report, to);
    timeline(report, to);
    trials(report, to);
    learning(report, to);
    units(report, to);
    predictions(report, to);
    repeats(report, to);
    timing(report, to);
    notes(report, to);
    identity(report, to);
    fputs("</body>\n</html>\n", to);
    failed = ferror(to);
    errno = EIO;
    return fclose(to) != 0 || failed ? -errno : 0;
}
