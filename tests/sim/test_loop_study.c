/*
 * The simulation study through the real loop, in virtual time: 20 LN-Poisson neurons,
 * 16 x 16 pixels, one trial a second, random stimuli against info-max on the same animals;
 * model, policy and optimiser as a configuration that says nothing of them has them.
 *
 * Limits: with info-max, after 1,000 trials the cosine between a unit's MEI and its true
 * one is >= 0.9 for >= 90 % of all units; the median cosine reaches 0.9 in at most 60 % of
 * the trials that random stimuli need. Printed: both curves, and how much faster than
 * real time one process is (asked for: 1,000).
 * EVOKE_SEED: first seed. EVOKE_SEEDS: how many.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "models/ops.h"
#include "protocol/clock.h"
#include "protocol/log.h"
#include "world.h"

enum {
    N_UNITS = 20,
    N_PX = 16 * 16,
    N_TRIALS = 1000,
    EVERY = 25, /* trials between two looks at the MEIs */
    N_CHECKS = N_TRIALS / EVERY,
    N_SEEDS_MAX = 1000,
    N_LOOKED = 7, /* units, at each look but the last */
    N_PROCESSES = 2
};

static const char *const policies[] = {"random", "infomax"};

static const char configuration[] =
    "[session]\nseed = %llu\n"
    "[ingest]\nunits = 20\ndiode_line = 0\n"
    "[trial]\nstimulus_ms = 500\ngap_ms = 480\ndelay_ms = 40\nwindow_ms = 400\n"
    "[learn]\npolicy = %s\ntrials = 1000\n"
    "[sim]\nseed = %llu\nbin_ms = 20\n";

/* Of one session. */
struct outcome {
    float cosine[N_CHECKS][N_UNITS];
    int n_checks, n_valid;
    double virtual_s, cpu_s; /* without the looks */
};

struct study {
    struct world *world;
    struct outcome *outcome;
};

/* Units whose MEIs are made at this look: all at the end. */
static int n_looked(int look)
{
    return look == N_CHECKS - 1 ? N_UNITS : N_LOOKED;
}

static double cpu_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
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

/* Each unit's MEI against the projection of its filter into the space of stimuli. */
static void look(struct study *study)
{
    struct job_conf job;
    struct outcome *outcome = study->outcome;
    double start_s = cpu_now_s();

    conf_job(world_conf(study->world), NULL, &job);
    for (uint32_t unit = 0; unit < (uint32_t)n_looked(outcome->n_checks); unit++) {
        float mei[N_PX], truth[N_PX];
        world_mei(study->world, unit, mei);
        memcpy(truth, rig_filter(world_rig(study->world), (int)unit), sizeof(truth));
        space_project(&job.space, truth);
        outcome->cosine[outcome->n_checks][unit] = (float)cosine(mei, truth);
    }
    outcome->n_checks++;
    outcome->cpu_s -= cpu_now_s() - start_s;
}

static void folded(void *context, struct loop *loop)
{
    struct study *study = context;
    uint64_t n_valid = loop_counters(loop)[COUNTER_VALID];

    study->outcome->n_valid = (int)n_valid;
    if (n_valid >= (uint64_t)(study->outcome->n_checks + 1) * EVERY)
        look(study);
}

static void simulate(int policy, uint64_t seed, struct outcome *outcome)
{
    struct study study = {NULL, outcome};
    const struct world_hooks hooks = {.context = &study, .folded = folded};
    char text[1024];
    double start_s = cpu_now_s();
    int64_t start_ns;

    snprintf(text, sizeof(text), configuration, (unsigned long long)seed,
             policies[policy], (unsigned long long)seed);
    study.world = world_open(text, &hooks);
    start_ns = world_now_ns(study.world);
    while (loop_now(world_loop(study.world)) != STATE_END)
        world_step(study.world);
    outcome->virtual_s =
        (double)(world_now_ns(study.world) - start_ns) / (double)NS_PER_S;
    outcome->cpu_s += cpu_now_s() - start_s;
    world_close(study.world);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of all units of all seeds after that many looks: the quantile of their cosines, and the
 * share that is good. */
static double cosine_of(struct outcome (*outcomes)[2], int policy, int n_seeds,
                        int look_at, double quantile, double *share)
{
    static float all[N_SEEDS_MAX * N_UNITS];
    int n = 0, n_good = 0;

    for (int seed = 0; seed < n_seeds; seed++)
        for (int unit = 0; unit < n_looked(look_at); unit++)
            all[n++] = outcomes[seed][policy].cosine[look_at][unit];
    qsort(all, (size_t)n, sizeof(*all), by_value);
    for (int i = 0; i < n; i++)
        n_good += all[i] >= 0.9f;
    *share = (double)n_good / n;
    return (double)all[(int)(quantile * (n - 1) + 0.5)];
}

/* Prints a policy's curve beside the other's; trials until the median is 0.9. */
static void print_curves(struct outcome (*outcomes)[2], int n_seeds, double *n_needed)
{
    double share[2], middle[2], low[2];

    n_needed[0] = n_needed[1] = INFINITY;
    printf("cosine of MEI and true MEI, %d units of each of %d animals, at last %d\n",
           N_LOOKED, n_seeds, N_UNITS);
    printf("         random                       info-max\n");
    printf("trials   median  10 %%   share >= .9   median  10 %%   share >= .9\n");
    for (int k = 0; k < N_CHECKS; k++) {
        for (int p = 0; p < 2; p++) {
            middle[p] = cosine_of(outcomes, p, n_seeds, k, 0.5, &share[p]);
            low[p] = cosine_of(outcomes, p, n_seeds, k, 0.1, &share[p]);
            if (middle[p] >= 0.9 && isinf(n_needed[p]))
                n_needed[p] = (k + 1) * EVERY;
        }
        printf("%6d   %.3f  %.3f  %.3f        %.3f  %.3f  %.3f\n", (k + 1) * EVERY,
               middle[0], low[0], share[0], middle[1], low[1], share[1]);
    }
}

/* Sessions that did not do all their trials, or whose units were not learned. */
static int count_failures(struct outcome (*outcomes)[2], uint64_t first, int n_seeds)
{
    int n_failed = 0;

    for (int seed = 0; seed < n_seeds; seed++) {
        const struct outcome *outcome = &outcomes[seed][1];
        int n_good = 0;
        for (int unit = 0; unit < N_UNITS; unit++)
            n_good += outcome->cosine[N_CHECKS - 1][unit] >= 0.9f;
        if (outcome->n_valid == N_TRIALS && outcomes[seed][0].n_valid == N_TRIALS &&
            n_good * 10 >= N_UNITS * 9)
            continue;
        n_failed++;
        printf("FAILED: seed %llu: %d and %d of %d trials valid; %d of %d units good\n",
               (unsigned long long)first + (unsigned)seed, outcomes[seed][0].n_valid,
               outcome->n_valid, N_TRIALS, n_good, N_UNITS);
    }
    return n_failed;
}

static void simulate_all(struct outcome (*outcomes)[2], uint64_t first, int n_seeds)
{
    for (int process = 0; process < N_PROCESSES; process++) {
        if (fork() != 0)
            continue;
        for (int seed = process; seed < n_seeds; seed += N_PROCESSES)
            for (int p = 0; p < 2; p++)
                simulate(p, first + (uint64_t)seed, &outcomes[seed][p]);
        _exit(0);
    }
    for (int process = 0; process < N_PROCESSES; process++) {
        int status;
        wait(&status);
        CHECK_EQ(status, 0);
    }
}

int main(void)
{
    const char *env = getenv("EVOKE_SEED"), *env_n = getenv("EVOKE_SEEDS");
    uint64_t first = env ? strtoull(env, NULL, 0) : 1;
    int n_seeds = env_n ? atoi(env_n) : 50, n_failed;
    struct outcome(*outcomes)[2];
    double n_needed[2], share, speed[2] = {0};

    CHECK(n_seeds >= 1 && n_seeds <= N_SEEDS_MAX);
    ops_init();
    printf("EVOKE_SEED=%llu, %d seeds\n", (unsigned long long)first, n_seeds);
    fflush(stdout);
    outcomes = mmap(NULL, (size_t)n_seeds * sizeof(*outcomes), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(outcomes != MAP_FAILED);
    simulate_all(outcomes, first, n_seeds);
    print_curves(outcomes, n_seeds, n_needed);
    n_failed = count_failures(outcomes, first, n_seeds);
    for (int p = 0; p < 2; p++) {
        double virtual_s = 0, cpu_s = 0;
        for (int seed = 0; seed < n_seeds; seed++) {
            virtual_s += outcomes[seed][p].virtual_s;
            cpu_s += outcomes[seed][p].cpu_s;
        }
        speed[p] = virtual_s / cpu_s;
        cosine_of(outcomes, p, n_seeds, N_CHECKS - 1, 0.5, &share);
        printf("%s: cosine >= 0.9 for %.1f %% of units; median 0.9 after %.0f trials; "
               "%.0f x real time\n",
               policies[p], 100 * share, n_needed[p], speed[p]);
    }
    printf(
        "info-max needs %.2f of the trials that random needs; %d of %d animals failed\n",
        n_needed[1] / n_needed[0], n_failed, n_seeds);
    if (share < 0.9 || !(n_needed[1] <= 0.6 * n_needed[0]))
        return 1;
    return 0;
}
