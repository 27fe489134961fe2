/* report.json: every number of the page, for programs. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>

#include "report.h"

/* A number, null where it is unknown. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *text(const char *value)
{
    return value ? json_string(value) : json_null();
}

static json_t *hash(uint64_t value)
{
    char hex[17];

    snprintf(hex, sizeof(hex), "%016" PRIx64, value);
    return json_string(hex);
}

static json_t *numbers(int n, const double *values)
{
    json_t *array = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(array, number(values[i]));
    return array;
}

static json_t *identity(const struct report *report)
{
    json_t *object = json_object();

    for (int i = 0; report_meta_keys[i].key; i++)
        json_object_set_new(object, report_meta_keys[i].key, text(report->meta[i]));
    json_object_set_new(object, "length_s", number(report->length_s));
    json_object_set_new(object, "complete", json_boolean(report->is_whole));
    json_object_set_new(object, "events", json_integer((json_int_t)report->n_events));
    json_object_set_new(object, "chain", hash(report->chain));
    json_object_set_new(object, "configuration", text(report->conf_text));
    return object;
}

static json_t *trials(const struct report *report)
{
    json_t *object = json_object(), *verdicts = json_object(), *kinds = json_object();

    for (unsigned v = 0; v <= VERDICT_END; v++)
        if (report->verdicts[v])
            json_object_set_new(verdicts, verdict_name(v),
                                json_integer((json_int_t)report->verdicts[v]));
    for (unsigned k = 0; k < REPORT_KINDS; k++)
        if (report->kinds[k])
            json_object_set_new(kinds, job_name(k),
                                json_integer((json_int_t)report->kinds[k]));
    json_object_set_new(object, "all", json_integer((json_int_t)report->n_trials));
    json_object_set_new(object, "valid", json_integer((json_int_t)report->n_valid));
    json_object_set_new(object, "learned", json_integer((json_int_t)report->n_learned));
    json_object_set_new(object, "by_verdict", verdicts);
    json_object_set_new(object, "valid_by_kind", kinds);
    return object;
}

static json_t *timeline(const struct report *report)
{
    json_t *array = json_array();

    for (size_t i = 0; i < report->n_spans; i++) {
        const struct report_span *span = &report->spans[i];
        json_array_append_new(array,
                              json_pack("{s:f, s:f, s:s, s:s}", "from_s", span->from_s,
                                        "to_s", span->to_s, "state",
                                        state_name(span->state), "why", span->why));
    }
    return array;
}

static json_t *notes(const struct report *report)
{
    json_t *array = json_array();

    for (size_t i = 0; i < report->n_notes; i++)
        json_array_append_new(array,
                              json_pack("{s:f, s:s}", "time_s", report->notes[i].time_s,
                                        "text", report->notes[i].text));
    return array;
}

static json_t *display(const struct report *report)
{
    json_t *object = json_object(), *flips = json_object();

    for (unsigned q = 0; q <= QUALITY_PHOTODIODE; q++)
        json_object_set_new(flips, quality_name(q),
                            json_integer((json_int_t)report->flips[q]));
    json_object_set_new(object, "driver", text(report->driver));
    json_object_set_new(object, "refresh_hz", number(report->refresh_hz));
    json_object_set_new(object, "width_px", json_integer(report->display_width));
    json_object_set_new(object, "height_px", json_integer(report->display_height));
    json_object_set_new(object, "onsets_by_quality", flips);
    json_object_set_new(object, "late_onsets",
                        json_integer((json_int_t)report->late_onsets));
    json_object_set_new(object, "frames",
                        json_integer((json_int_t)report->n_frames_shown));
    json_object_set_new(object, "late_frames",
                        json_integer((json_int_t)report->late_frames));
    return object;
}

static json_t *ingest(const struct report *report)
{
    json_t *object = json_object(), *rejects = json_object();

    for (unsigned r = 0; r <= REJECT_END; r++)
        if (report->rejects[r])
            json_object_set_new(rejects, reject_name(r),
                                json_integer((json_int_t)report->rejects[r]));
    json_object_set_new(object, "rejected", rejects);
    json_object_set_new(object, "events_dropped",
                        json_integer((json_int_t)report->n_lost));
    return object;
}

static json_t *quantiles(const struct report_quantiles *q)
{
    json_t *object = json_object();

    json_object_set_new(object, "n", json_integer((json_int_t)q->n));
    json_object_set_new(object, "p50", number(q->p50));
    json_object_set_new(object, "p99", number(q->p99));
    json_object_set_new(object, "max", number(q->most));
    return object;
}

static json_t *scores(const struct report *report)
{
    json_t *object = json_object();

    json_object_set_new(object, "correlation", number(report->correlation));
    json_object_set_new(object, "correlation_second_half",
                        number(report->correlation_late));
    json_object_set_new(object, "bits_per_spike", number(report->bits_per_spike));
    json_object_set_new(object, "field_truth_cosine", number(report->field_cosine));
    json_object_set_new(object, "mei_truth_cosine", number(report->mei_cosine));
    json_object_set_new(object, "mei_truth_units", json_integer(report->n_mei_cosine));
    json_object_set_new(object, "mei_gain", number(report->gain));
    json_object_set_new(object, "mei_gain_units", json_integer(report->n_gain));
    json_object_set_new(object, "repeat_correlation", number(report->repeat_correlation));
    json_object_set_new(object, "explainable_variance", number(report->explainable));
    json_object_set_new(object, "explained_of_explainable", number(report->explained));
    return object;
}

static json_t *curves(const struct report *report)
{
    json_t *object = json_object();

    for (unsigned k = 0; k < REPORT_KINDS; k++) {
        const struct report_curve *curve = &report->curves[k];
        json_t *one = json_object();
        if (curve->n_points == 0) {
            json_decref(one);
            continue;
        }
        json_object_set_new(one, "trials", json_integer(curve->n_trials));
        json_object_set_new(one, "trials_in_block", json_integer(curve->n_block));
        json_object_set_new(one, "last_trial", numbers(curve->n_points, curve->trial));
        json_object_set_new(one, "median", numbers(curve->n_points, curve->median));
        json_object_set_new(object, job_name(k), one);
    }
    return object;
}

/* The learning curves of one unit: by kind, as many points as the median has. */
static json_t *unit_curves(const struct report *report, int u)
{
    json_t *object = json_object();

    for (unsigned k = 0; k < REPORT_KINDS; k++) {
        const struct report_curve *curve = &report->curves[k];
        json_t *array = json_array();
        for (int p = 0; p < curve->n_points; p++)
            json_array_append_new(
                array,
                number(curve->unit[(size_t)p * (size_t)report->n_units + (size_t)u]));
        if (curve->n_points > 0)
            json_object_set_new(object, job_name(k), array);
        else
            json_decref(array);
    }
    return object;
}

static json_t *calibration(const struct report *report, int half)
{
    json_t *array = json_array();

    for (int b = 0; b < REPORT_BINS; b++) {
        const struct report_bin *bin = &report->bins[half][b];
        json_t *one = json_object();
        if (bin->n == 0) {
            json_decref(one);
            continue;
        }
        json_object_set_new(one, "n", json_integer((json_int_t)bin->n));
        json_object_set_new(one, "predicted", number(bin->predicted));
        json_object_set_new(one, "observed", number(bin->observed));
        json_object_set_new(one, "standard_error", number(bin->error));
        json_array_append_new(array, one);
    }
    return array;
}

static json_t *mean(const struct report_mean *m)
{
    json_t *object = json_object();

    json_object_set_new(object, "n", json_integer((json_int_t)m->n));
    json_object_set_new(object, "mean", number(m->mean));
    json_object_set_new(object, "standard_error", number(m->error));
    return object;
}

static json_t *mei(const struct report_unit *unit)
{
    json_t *object = json_object();

    if (unit->mei_from == REPORT_MEI_NONE) {
        json_decref(object);
        return json_null();
    }
    json_object_set_new(object, "made_in_session",
                        json_boolean(unit->mei_from == REPORT_MEI_SHOWN));
    json_object_set_new(object, "expected_count", number(unit->mei_rate));
    json_object_set_new(object, "hash",
                        unit->mei_from == REPORT_MEI_SHOWN ? hash(unit->mei_hash)
                                                           : json_null());
    return object;
}

static json_t *unit(const struct report *report, int u)
{
    const struct report_unit *unit = &report->units[u];
    json_t *object = json_object();

    json_object_set_new(object, "unit", json_integer(u));
    json_object_set_new(object, "trials", json_integer((json_int_t)unit->n));
    json_object_set_new(object, "mean_count", number(unit->mean_count));
    json_object_set_new(object, "correlation", number(unit->correlation));
    json_object_set_new(object, "correlation_second_half",
                        number(unit->correlation_late));
    json_object_set_new(object, "bits_per_spike", number(unit->bits_per_spike));
    json_object_set_new(object, "field_truth_cosine", number(unit->field_cosine));
    json_object_set_new(object, "mei_truth_cosine", number(unit->mei_cosine));
    json_object_set_new(object, "mei", mei(unit));
    json_object_set_new(object, "response_to_own_mei", mean(&unit->own));
    json_object_set_new(object, "response_to_random", mean(&unit->control));
    json_object_set_new(object, "mei_gain", number(unit->gain));
    json_object_set_new(object, "repeat_correlation", number(unit->repeat_correlation));
    json_object_set_new(object, "explainable_variance", number(unit->explainable));
    json_object_set_new(object, "explained_of_explainable", number(unit->explained));
    json_object_set_new(object, "cc_norm", number(unit->cc_norm));
    json_object_set_new(object, "learning", unit_curves(report, u));
    return object;
}

int report_json(const struct report *report, const char *path)
{
    json_t *root = json_object(), *units = json_array();
    int failed;

    json_object_set_new(root, "session", identity(report));
    json_object_set_new(root, "trials", trials(report));
    json_object_set_new(root, "timeline", timeline(report));
    json_object_set_new(root, "notes", notes(report));
    json_object_set_new(root, "median_over_units", scores(report));
    json_object_set_new(root, "learning", curves(report));
    json_object_set_new(root, "calibration",
                        json_pack("{s:o, s:o}", "first_half", calibration(report, 0),
                                  "second_half", calibration(report, 1)));
    json_object_set_new(root, "repeats",
                        json_pack("{s:I, s:I}", "stimuli", (json_int_t)report->n_repeated,
                                  "trials", (json_int_t)report->n_repeats));
    json_object_set_new(root, "latency_ms", quantiles(&report->latency_ms));
    json_object_set_new(root, "clock_uncertainty_ms", quantiles(&report->uncertainty_ms));
    json_object_set_new(root, "display", display(report));
    json_object_set_new(root, "ingest", ingest(report));
    json_object_set_new(root, "model_unavailable",
                        report->model_wrong[0] ? text(report->model_wrong) : json_null());
    for (int u = 0; u < report->n_units; u++)
        json_array_append_new(units, unit(report, u));
    json_object_set_new(root, "units", units);
    errno = 0;
    failed = json_dump_file(root, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    return !failed ? 0 : errno ? -errno : -EIO;
}
