/*
 * How fast a population is learned: 20 LN-Poisson neurons, 16 x 16 pixels, one trial a
 * second, in virtual time. Both policies on the same animals; printed are the learning
 * curves (cosine between each unit's MEI and its true one) and the time a trial costs.
 *
 * Limits: with info-max, after 1,000 trials cosine >= 0.9 for >= 90 % of the units of every
 * animal; the trials to 0.9, of the median unit and of 90 % of units, at most 60 % of what
 * random images need.
 * EVOKE_SEED: first seed. EVOKE_SEEDS: how many.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "models/model.h"
#include "stimulus/job.h"
#include "stimulus/policy.h"
#include "tools/animal.h"

enum {
    SIDE = 16,
    N_PX = SIDE * SIDE,
    N_UNITS = 20,
    N_TRIALS = 1000,
    N_CHECKS = 25,
    N_SEEDS_MAX = 1000
};

static const struct space space = {SIDE, SIDE, 0, 0.25f, -1, 1};

static const struct model_conf model_conf = {.kind = MODEL_GLM,
                                             .front = FRONT_PIXELS,
                                             .posterior = POSTERIOR_UNIT,
                                             .n_units = N_UNITS,
                                             .n_frames = 1,
                                             .height = SIDE,
                                             .width = SIDE,
                                             .memory_bytes = 64 << 20,
                                             .prior_sd = 1,
                                             .smooth_px = 2,
                                             .bias_sd = 2,
                                             .forgetting = 1};

static const struct animal_conf animal_conf = {.kind = ANIMAL_LN,
                                               .n_units = N_UNITS,
                                               .space = space,
                                               .rate_grey = 2,
                                               .rate_best = 20};

/* Everything of one run, all memory taken once. */
struct run {
    struct job_conf job;
    struct model *model;
    struct animal *animal;
    void *snapshot, *work;
    int64_t cpu_ns; /* spent in trials */
};

/* What came out, per policy. */
struct outcome {
    float cosine[N_CHECKS][N_SEEDS_MAX * N_UNITS];
    float n_needed[N_SEEDS_MAX * N_UNITS]; /* trials to 0.9; INFINITY: not reached */
    int n_good[N_SEEDS_MAX];               /* units at the end */
    int64_t cpu_ns;
};

static struct outcome outcomes[POLICY_INFOMAX + 1];

/* Trials after which the MEIs are looked at: close together at first. */
static int check_at(int k)
{
    return k < 20 ? 25 * (k + 1) : 500 + 100 * (k - 19);
}

static int64_t cpu_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *take(size_t size)
{
    void *mem = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!mem)
        exit(1);
    return mem;
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < N_PX; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* A stimulus of this kind for these units into x. */
static void make(struct run *run, unsigned kind, const uint32_t *units, int n_units,
                 uint64_t seed, float *x)
{
    struct event result,
        job = {.type = EVENT_JOB, .job = {.kind = kind, .seed = seed, .max_steps = 10}};
    if (n_units > 0)
        model_snapshot(run->model, units, n_units, run->snapshot);
    job_run(&run->job, &job, run->snapshot, NULL, NULL, run->work, &result);
    space_decode(result.data, N_PX, x);
}

static void do_trial(struct run *run, const struct policy_conf *policy, uint64_t seed,
                     int i, struct random *noise)
{
    float x[N_PX], rate[N_UNITS], count[N_UNITS];
    int64_t start_ns = cpu_now_ns();
    struct policy_choice choice = policy_next(policy, seed, i);
    make(run, choice.kind, choice.units, choice.n_units, (uint64_t)i, x);
    animal_respond(run->animal, x, noise, count);
    model_predict(run->model, x, rate);
    model_learn(run->model, count);
    run->cpu_ns += cpu_now_ns() - start_ns;
}

/* Each unit's MEI against its true one. */
static void check(struct run *run, struct outcome *outcome, int at, int k)
{
    for (uint32_t unit = 0; unit < N_UNITS; unit++) {
        float mei[N_PX], truth[N_PX];
        make(run, JOB_MEI, &unit, 1, (uint64_t)k, mei);
        memcpy(truth, animal_filter(run->animal, (int)unit), sizeof truth);
        space_project(&space, truth);
        double c = cosine(mei, truth);
        outcome->cosine[k][at + (int)unit] = (float)c;
        if (c >= 0.9 && isinf(outcome->n_needed[at + (int)unit]))
            outcome->n_needed[at + (int)unit] = (float)check_at(k);
    }
}

static void simulate(struct run *run, enum policy_learn learn, uint64_t seed, int k_seed)
{
    struct outcome *outcome = &outcomes[learn];
    const struct policy_conf policy = {.learn = learn,
                                       .n_start = 20,
                                       .n_learn = N_TRIALS,
                                       .n_units = N_UNITS,
                                       .n_together = 2};
    struct random noise;
    random_init(&noise, seed, 1);
    animal_init(run->animal, &animal_conf, seed);
    model_init(run->model, &model_conf);
    run->job.images_seed = seed;
    run->cpu_ns = 0;
    int at = k_seed * N_UNITS, k = 0;
    for (int unit = 0; unit < N_UNITS; unit++)
        outcome->n_needed[at + unit] = INFINITY;
    for (int i = 0; i < N_TRIALS; i++) {
        do_trial(run, &policy, seed, i, &noise);
        if (i + 1 == check_at(k))
            check(run, outcome, at, k++);
    }
    outcome->n_good[k_seed] = 0;
    for (int unit = 0; unit < N_UNITS; unit++)
        outcome->n_good[k_seed] += outcome->cosine[N_CHECKS - 1][at + unit] >= 0.9f;
    outcome->cpu_ns += run->cpu_ns;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(float *values, int n, double q)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return (double)values[(int)(q * (n - 1) + 0.5)];
}

static double share_good(const float *values, int n)
{
    int n_good = 0;
    for (int i = 0; i < n; i++)
        n_good += values[i] >= 0.9f;
    return (double)n_good / n;
}

static void print_curves(int n)
{
    printf("cosine of MEI and true MEI, %d units\n", n);
    printf("         random                        info-max\n");
    printf("trials   median  10 %%   share >= 0.9   median  10 %%   share >= 0.9\n");
    for (int k = 0; k < N_CHECKS; k++) {
        printf("%6d", check_at(k));
        for (int p = POLICY_RANDOM; p <= POLICY_INFOMAX; p++) {
            float *c = outcomes[p].cosine[k];
            printf("   %.3f  %.3f  %.3f       ", quantile(c, n, 0.5), quantile(c, n, 0.1),
                   share_good(c, n));
        }
        printf("\n");
    }
}

/* Returns the number of animals whose units were not learned well enough. */
static int count_failures(enum policy_learn learn, uint64_t first_seed, int n_seeds)
{
    int n_failed = 0;
    for (int k = 0; k < n_seeds; k++) {
        int n_good = outcomes[learn].n_good[k];
        if (n_good * 10 >= N_UNITS * 9)
            continue;
        n_failed++;
        if (learn == POLICY_INFOMAX)
            printf("FAILED: seed %llu: %d of %d units\n",
                   (unsigned long long)first_seed + (unsigned)k, n_good, N_UNITS);
    }
    return n_failed;
}

int main(void)
{
    const char *env = getenv("EVOKE_SEED"), *env_n = getenv("EVOKE_SEEDS");
    uint64_t seed = env ? strtoull(env, NULL, 0) : 1;
    int n_seeds = env_n ? atoi(env_n) : 50;
    n_seeds = n_seeds < 1 ? 1 : n_seeds > N_SEEDS_MAX ? N_SEEDS_MAX : n_seeds;
    printf("EVOKE_SEED=%llu, %d seeds\n", (unsigned long long)seed, n_seeds);

    char text[200];
    struct images *images;
    if (images_open(&images, IMAGES_MIXED, NULL, SIDE, SIDE, text, sizeof text) != 0) {
        fprintf(stderr, "%s\n", text);
        return 1;
    }
    struct run run = {.job = {.space = space,
                              .ascent = {.step = 1, .settle = 0.01},
                              .images = images,
                              .n_candidates = 4}};
    run.model = model_init(take(model_size(&model_conf)), &model_conf);
    run.animal = animal_init(take(animal_size(&animal_conf)), &animal_conf, 0);
    run.snapshot = take(model_snapshot_size(&model_conf));
    const uint32_t units[MODEL_SNAPSHOT_UNITS] = {0};
    model_snapshot(run.model, units, MODEL_SNAPSHOT_UNITS, run.snapshot);
    run.work = take(job_work_size(&run.job, snapshot_work_size(run.snapshot)));

    for (int k = 0; k < n_seeds; k++)
        for (enum policy_learn p = POLICY_RANDOM; p <= POLICY_INFOMAX; p++)
            simulate(&run, p, seed + (uint64_t)k, k);

    int n = n_seeds * N_UNITS, n_failed[POLICY_INFOMAX + 1];
    double half[POLICY_INFOMAX + 1], most[POLICY_INFOMAX + 1];
    print_curves(n);
    for (enum policy_learn p = POLICY_RANDOM; p <= POLICY_INFOMAX; p++) {
        n_failed[p] = count_failures(p, seed, n_seeds);
        half[p] = quantile(outcomes[p].n_needed, n, 0.5);
        most[p] = quantile(outcomes[p].n_needed, n, 0.9);
        double trial_ns = (double)outcomes[p].cpu_ns / n_seeds / N_TRIALS;
        printf(
            "%s: >= 0.9 for >= 90 %% of units in %d of %d animals; trials to 0.9: median "
            "%.0f, 90 %% of units %.0f; %.0f us a trial: %.0f x real time\n",
            p == POLICY_RANDOM ? "random" : "info-max", n_seeds - n_failed[p], n_seeds,
            half[p], most[p], trial_ns / 1e3, 1e9 / trial_ns);
    }
    double half_ratio = half[POLICY_INFOMAX] / half[POLICY_RANDOM];
    double most_ratio = most[POLICY_INFOMAX] / most[POLICY_RANDOM];
    printf(
        "info-max needs %.3f of the trials that random needs, %.3f for 90 %% of units\n",
        half_ratio, most_ratio);
    images_close(images);
    free(run.work);
    free(run.snapshot);
    free(run.animal);
    free(run.model);
    if (n_failed[POLICY_INFOMAX] > 0 || !(half_ratio <= 0.6 && most_ratio <= 0.6)) {
        printf("FAILED\n");
        return 1;
    }
    return 0;
}
