#include "stimulus/policy.h"

#include "models/random.h"
#include "protocol/event.h"

static unsigned learn_kind(const struct policy_conf *conf, int64_t i)
{
    if (i < conf->n_start || conf->learn == POLICY_RANDOM)
        return JOB_RANDOM;
    if (conf->learn == POLICY_MIXED && i % 2)
        return JOB_RANDOM;
    return JOB_INFOMAX;
}

/* Some units of the population, drawn anew each time, in rising order (selection
 * sampling: Knuth, TAOCP 2, 3.4.2 S). */
static void draw_units(const struct policy_conf *conf, uint64_t seed, int64_t i,
                       struct policy_choice *choice)
{
    struct random random;
    random_init(&random, seed, (uint64_t)i);
    for (int unit = 0; unit < conf->n_units; unit++) {
        int n_left = conf->n_units - unit, n_wanted = conf->n_together - choice->n_units;
        if (random_below(&random, (uint32_t)n_left) < (uint32_t)n_wanted)
            choice->units[choice->n_units++] = (uint32_t)unit;
    }
}

struct policy_choice policy_next(const struct policy_conf *conf, uint64_t seed, int64_t i)
{
    struct policy_choice choice = {.unit = UNIT_ALL};
    int64_t shown = i - conf->n_learn;
    if (shown < 0) {
        choice.kind = learn_kind(conf, i);
        if (choice.kind == JOB_INFOMAX)
            draw_units(conf, seed, i, &choice);
    } else if (shown < conf->n_mei && shown % 2 == 0) {
        choice.kind = JOB_MEI;
        choice.unit = (uint32_t)(shown / 2 % conf->n_units);
        choice.units[choice.n_units++] = choice.unit;
    } else if (shown < conf->n_mei) {
        choice.kind = JOB_RANDOM;
    }
    return choice;
}
