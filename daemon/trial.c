#include "trial.h"

#include <string.h>

#include "protocol/clock.h"

#define EDGE_NS   (60 * NS_PER_MS) /* most that a panel lags behind the flip */
#define REPORT_NS (60 * NS_PER_S) /* an onset further from its report is no time at all */

void trial_begin(struct trial *trial, const struct trial_conf *conf, uint64_t number,
                 struct supply_slot *slot, int64_t due_ns)
{
    memset(trial, 0, sizeof(*trial));
    trial->number = number;
    trial->slot = slot;
    trial->due_ns = due_ns;
    trial->onset_ns = CLOCK_UNKNOWN;
    trial->latency_ns = CLOCK_UNKNOWN;
    trial->at = (struct window_at){CLOCK_UNKNOWN, CLOCK_UNKNOWN, -1, conf->delay_ns,
                                   conf->window_ns};
}

void trial_break(struct trial *trial, enum verdict why)
{
    if (trial->broken == VERDICT_VALID)
        trial->broken = why;
}

int trial_shown(struct trial *trial, const struct event *shown)
{
    int64_t onset_ns = shown->shown.onset_ns;

    if (shown->shown.trial != trial->number)
        return 0;
    if (onset_ns < shown->time_ns - REPORT_NS || onset_ns > shown->time_ns + REPORT_NS) {
        trial_break(trial, VERDICT_NO_ONSET);
        return 1;
    }
    if (shown->shown.hash != trial->slot->hash)
        trial_break(trial, VERDICT_WRONG_STIMULUS);
    if (shown->shown.n_late > 0)
        trial_break(trial, VERDICT_LATE_FRAME);
    trial->onset_ns = trial->at.onset_ns = onset_ns;
    return 1;
}

int trial_hidden(struct trial *trial, const struct event *hidden)
{
    if (hidden->hidden.trial != trial->number)
        return 0;
    if (hidden->hidden.n_late > 0)
        trial_break(trial, VERDICT_LATE_FRAME);
    trial->hidden = 1;
    return 1;
}

/* Find the edge of the onset, and with it how the clocks run. */
static void find_edge(struct trial *trial, const struct trial_conf *conf,
                      struct sources *sources)
{
    int64_t half_ns = (conf->duration_ns + conf->gap_ns) / 2;

    sources_edge(sources, trial->onset_ns, half_ns < EDGE_NS ? half_ns : EDGE_NS,
                 &trial->at.sample, &trial->at.from);
    if (trial->at.from >= 0)
        clockmap_add_pair(&sources->source[trial->at.from].map, trial->at.sample,
                          trial->onset_ns);
}

enum verdict trial_verdict(struct trial *trial, const struct trial_conf *conf,
                           struct sources *sources, int64_t now_ns, float *response)
{
    int64_t over_ns = conf->delay_ns + conf->window_ns;
    int late;

    if (trial->broken != VERDICT_VALID)
        return trial->broken;
    if (trial->onset_ns == CLOCK_UNKNOWN)
        return now_ns > trial->due_ns + conf->onset_timeout_ns ? VERDICT_NO_ONSET
                                                               : VERDICT_END;
    over_ns =
        trial->onset_ns + (over_ns > conf->duration_ns ? over_ns : conf->duration_ns);
    late = now_ns > over_ns + conf->counts_timeout_ns;
    if (sources->conf.diode_line >= 0 && trial->at.from < 0) {
        find_edge(trial, conf, sources);
        if (trial->at.from < 0)
            return late ? VERDICT_NO_ONSET : VERDICT_END;
    }
    switch (sources_window(sources, &trial->at, response, &trial->uncertainty_ns)) {
    case WINDOW_COMPLETE:
        if (trial->hidden)
            return VERDICT_VALID;
        return late ? VERDICT_DISPLAY_LOST : VERDICT_END;
    case WINDOW_HOLE:
        return VERDICT_COUNTS_LOST;
    default:
        return late ? VERDICT_NO_COUNTS : VERDICT_END;
    }
}
