#include <math.h>
#include <stdlib.h>

#include "final_model.h"
#include "models/ops.h"
#include "report.h"

/* Cosine of the angle between two pictures (n); NAN where one is flat or missing. */
static double cosine(int n, const float *a, const float *b)
{
    double norms = a && b ? sqrt(ops_norm2(n, a) * ops_norm2(n, b)) : 0;

    return norms > 0 ? (double)ops_dot(n, a, b) / norms : (double)NAN;
}

/* The frame of a field (n_frames, n) that has most in it. */
static int strongest(const float *field, int n_frames, int n)
{
    int best = 0;

    for (int f = 1; f < n_frames; f++)
        if (ops_norm2(n, field + f * n) > ops_norm2(n, field + best * n))
            best = f;
    return best;
}

/* What the model makes of its units: fields of all, MEIs of those that are shown one by
 * one and have none yet. */
static void ask(struct report *report, struct final_model *final)
{
    size_t n = (size_t)report->height * (size_t)report->width;
    char text[256];

    for (int i = 0; i < report->n_units; i++) {
        struct report_unit *unit = &report->units[report->order[i]];
        uint32_t number = (uint32_t)report->order[i];
        unit->field = report_take((size_t)report->n_frames * n, sizeof(float));
        final_model_field(final, number, unit->field);
        unit->field_frame = strongest(unit->field, report->n_frames, (int)n);
        if (unit->mei || i >= REPORT_SHOWN)
            continue;
        unit->mei = report_take(n, sizeof(float));
        if (final_model_mei(final, number, unit->mei, &unit->mei_rate, text,
                            sizeof(text)) == 0) {
            unit->mei_from = REPORT_MEI_NOW;
        } else {
            free(unit->mei);
            unit->mei = NULL;
        }
    }
}

void report_model(struct report *report, struct session *session)
{
    int n = report->height * report->width;
    struct final_model *final;

    if (report->conf_wrong[0]) {
        snprintf(report->model_wrong, sizeof(report->model_wrong), "%s",
                 report->conf_wrong);
    } else if (final_model_open(&final, session, &report->conf, report->model_wrong,
                                sizeof(report->model_wrong)) == 0) {
        report->model_wrong[0] = '\0';
        ask(report, final);
        final_model_close(final);
    }
    for (int u = 0; u < report->n_units; u++) {
        struct report_unit *unit = &report->units[u];
        unit->field_cosine = cosine(
            n, unit->truth, unit->field ? unit->field + unit->field_frame * n : NULL);
        unit->mei_cosine = cosine(n, unit->truth, unit->mei);
    }
    report->field_cosine =
        report_over_units(report, offsetof(struct report_unit, field_cosine), NULL);
    report->mei_cosine = report_over_units(
        report, offsetof(struct report_unit, mei_cosine), &report->n_mei_cosine);
}
