#include <math.h>
#include <stdlib.h>

#include "models/metrics.h"
#include "report.h"

#define POINTS_MOST 60
#define BLOCK_LEAST 20
#define BLOCK_MOST  2000

/* The correlation of one unit in trials from..from+n-1; NAN where so many of other kinds
 * came between that the block would mix what was long before with what is now. */
static double block(const struct report *report, const struct report_trial **trials,
                    int from, int n, int u)
{
    struct metrics_corr corr = {0};

    if (trials[from + n - 1]->number - trials[from]->number > 4 * (uint64_t)n)
        return (double)NAN;
    for (int i = from; i < from + n; i++)
        metrics_corr_add(&corr, (double)trials[i]->response[u],
                         (double)trials[i]->response[report->n_units + u]);
    return corr.n < BLOCK_LEAST / 2 ? (double)NAN : metrics_corr_value(&corr, 0);
}

static void curve(struct report *report, unsigned kind)
{
    struct report_curve *curve = &report->curves[kind];
    int n = 0;
    const struct report_trial **trials = report_take(report->n_valid, sizeof(*trials));
    size_t n_units = (size_t)report->n_units;
    double *sorted = report_take(n_units, sizeof(double));

    for (size_t i = 0; i < report->n_trials; i++)
        if (report->trials[i].response && report->trials[i].learned &&
            report->trials[i].kind == kind)
            trials[n++] = &report->trials[i];
    curve->n_trials = n;
    curve->n_block = n / 8 < BLOCK_LEAST  ? BLOCK_LEAST
                     : n / 8 > BLOCK_MOST ? BLOCK_MOST
                                          : n / 8;
    curve->n_points = n < curve->n_block ? 0 : n - curve->n_block + 1;
    if (curve->n_points > POINTS_MOST)
        curve->n_points = POINTS_MOST;
    curve->trial = report_take((size_t)curve->n_points, sizeof(double));
    curve->median = report_take((size_t)curve->n_points, sizeof(double));
    curve->unit = report_take((size_t)curve->n_points * n_units, sizeof(double));
    for (int p = 0; p < curve->n_points; p++) {
        int from = curve->n_points == 1
                       ? 0
                       : (int)((int64_t)(n - curve->n_block) * p / (curve->n_points - 1));
        curve->trial[p] = (double)trials[from + curve->n_block - 1]->number;
        for (size_t u = 0; u < n_units; u++)
            sorted[u] = curve->unit[(size_t)p * n_units + u] =
                block(report, trials, from, curve->n_block, (int)u);
        curve->median[p] = report_median(n_units, sorted);
    }
    free(sorted);
    free(trials);
}

void report_curves(struct report *report)
{
    for (unsigned kind = 0; kind < REPORT_KINDS; kind++)
        curve(report, kind);
}
