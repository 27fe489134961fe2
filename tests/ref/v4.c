#include "v4.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/front.h"
#include "models/metrics.h"
#include "models/random.h"
#include "protocol/log.h"
#include "shared.h"

enum { CAMERA = 112, D_MAX = 800, N_FOLDS = 5, N_RIDGES = 9 };

const struct model_conf v4_conf = {.kind = MODEL_GLM,
                                   .front = FRONT_GABOR,
                                   .posterior = POSTERIOR_UNIT,
                                   .n_units = V4_N_UNITS,
                                   .n_frames = 1,
                                   .height = V4_SIDE,
                                   .width = V4_SIDE,
                                   .memory_bytes = 256u << 20,
                                   .prior_sd = 1.0,
                                   .smooth_px = 4.0,
                                   .bias_sd = 3.0,
                                   .forgetting = 1.0};

static struct npy stimulus, counts;
static float image[V4_N_IMAGES][V4_N_PX];
static int n_trials, d;

static struct v4_table trials, averages;

static double *feature; /* (V4_N_IMAGES, d) */

static void read_images(void)
{
    for (size_t k = 0; k < V4_N_IMAGES; k++)
        for (size_t y = 0; y < CAMERA; y++)
            for (size_t x = 0; x < CAMERA; x++)
                image[k][y / 4 * V4_SIDE + x / 4] +=
                    ((float)npy_get(&stimulus, (k * CAMERA + y) * CAMERA + x) / 127.5F -
                     1.0F) /
                    16.0F;
}

static void compute_features(void)
{
    struct front front;
    front_shape(&front, &v4_conf);
    front_init(&front, &v4_conf, malloc(front_size(&front)));
    d = front.n_features;
    CHECK(d <= D_MAX);
    feature = malloc(sizeof *feature * V4_N_IMAGES * (size_t)d);
    float *work = malloc((size_t)front.n_work * sizeof *work), phi[D_MAX];
    for (int k = 0; k < V4_N_IMAGES; k++) {
        front_apply(&front, image[k], work, phi);
        for (int i = 0; i < d; i++)
            feature[k * d + i] = (double)phi[i];
    }
    free(work);
    free((void *)front.a);
}

/* All (image, repeat) that there are, shuffled; and the averages, shuffled. */
static void list_trials(struct random *random)
{
    for (int k = 0; k < V4_N_IMAGES; k++) {
        int n_seen[V4_N_UNITS] = {0};
        averages.image[k] = k;
        for (int r = 0; r < V4_N_REPEATS; r++) {
            float *row = trials.response[trials.n];
            int any = 0;
            for (int i = 0; i < V4_N_UNITS; i++) {
                double y =
                    npy_get(&counts, (size_t)((k * V4_N_REPEATS + r) * V4_N_UNITS + i));
                row[i] = y == 255.0 ? NAN : (float)y;
                averages.response[k][i] += y == 255.0 ? 0.0F : (float)y;
                n_seen[i] += y != 255.0;
                any |= y != 255.0;
            }
            trials.image[trials.n] = k;
            trials.n += any;
        }
        for (int i = 0; i < V4_N_UNITS; i++)
            averages.response[k][i] /= (float)n_seen[i];
    }
    averages.n = V4_N_IMAGES;
    n_trials = trials.n;
    struct v4_table *tables[] = {&trials, &averages};
    for (int t = 0; t < 2; t++)
        for (int i = tables[t]->n - 1; i > 0; i--) {
            int j = (int)random_below(random, (uint32_t)i + 1);
            float row[V4_N_UNITS];
            int k = tables[t]->image[i];
            tables[t]->image[i] = tables[t]->image[j];
            tables[t]->image[j] = k;
            memcpy(row, tables[t]->response[i], sizeof row);
            memcpy(tables[t]->response[i], tables[t]->response[j], sizeof row);
            memcpy(tables[t]->response[j], row, sizeof row);
        }
}

/* Which rows of a table: [begin, end) but those that leave fold `left_out` (-1: none),
 * or that fold alone. */
struct rows {
    const struct v4_table *table;
    int begin, end, fold, only_fold;
};

static int has_row(const struct rows *rows, int t)
{
    return rows->fold < 0 || (t % N_FOLDS == rows->fold) == rows->only_fold;
}

static double gram[D_MAX][D_MAX], xty[V4_N_UNITS][D_MAX], chol[D_MAX][D_MAX];

/* Sums over rows; every response must be observed. */
static void sum_rows(const struct rows *rows)
{
    memset(gram, 0, sizeof gram);
    memset(xty, 0, sizeof xty);
    for (int t = rows->begin; t < rows->end; t++) {
        if (!has_row(rows, t))
            continue;
        const double *phi = feature + rows->table->image[t] * d;
        for (int i = 0; i < d; i++)
            for (int j = 0; j <= i; j++)
                gram[i][j] += phi[i] * phi[j];
        for (int u = 0; u < V4_N_UNITS; u++)
            for (int i = 0; i < d; i++)
                xty[u][i] += phi[i] * (double)rows->table->response[t][u];
    }
}

/* Cholesky factor of gram + ridge; the bias, last, is free. */
static void factorise(double ridge)
{
    for (int i = 0; i < d; i++)
        for (int j = 0; j <= i; j++) {
            double sum = gram[i][j] + (i == j && i < d - 1 ? ridge : 0.0);
            for (int k = 0; k < j; k++)
                sum -= chol[i][k] * chol[j][k];
            chol[i][j] = i == j ? sqrt(sum) : sum / chol[j][j];
        }
}

static void solve(const double *b, double *w)
{
    for (int i = 0; i < d; i++) {
        w[i] = b[i];
        for (int k = 0; k < i; k++)
            w[i] -= chol[i][k] * w[k];
        w[i] /= chol[i][i];
    }
    for (int i = d - 1; i >= 0; i--) {
        for (int k = i + 1; k < d; k++)
            w[i] -= chol[k][i] * w[k];
        w[i] /= chol[i][i];
    }
}

static double correlation(const double *a, const double *b, int n)
{
    struct metrics_corr corr = {0};
    for (int i = 0; i < n; i++)
        metrics_corr_add(&corr, a[i], b[i]);
    return metrics_corr_value(&corr, METRICS_EPS);
}

static double predictions[V4_N_UNITS][V4_N_TRIALS_MAX];

static void predict_rows(const struct rows *rows, int unit, const double *w)
{
    for (int t = rows->begin; t < rows->end; t++) {
        const double *phi = feature + rows->table->image[t] * d;
        if (!has_row(rows, t))
            continue;
        predictions[unit][t] = 0.0;
        for (int i = 0; i < d; i++)
            predictions[unit][t] += w[i] * phi[i];
    }
}

static double score(const struct v4_table *table, const double *prediction, int unit,
                    int begin, int end)
{
    static double a[V4_N_TRIALS_MAX], b[V4_N_TRIALS_MAX];
    int n = 0;
    for (int t = begin; t < end; t++) {
        if (isnan(table->response[t][unit]))
            continue;
        a[n] = prediction[t];
        b[n++] = (double)table->response[t][unit];
    }
    return correlation(a, b, n);
}

double v4_score(const double *prediction, int unit, int begin, int end)
{
    return score(&trials, prediction, unit, begin, end);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double v4_median(const double *values)
{
    double sorted[V4_N_UNITS];
    memcpy(sorted, values, sizeof sorted);
    qsort(sorted, V4_N_UNITS, sizeof *sorted, ascending);
    return 0.5 * (sorted[V4_N_UNITS / 2 - 1] + sorted[V4_N_UNITS / 2]);
}

/* Scores of 5-fold cross-validation over rows [0, end), for every ridge. */
static void cross_validate(const struct v4_table *table, int end,
                           double scores[N_RIDGES][V4_N_UNITS], double *ridges)
{
    static double kept[N_RIDGES][V4_N_UNITS][V4_N_TRIALS_MAX];
    double w[D_MAX];
    for (int fold = 0; fold < N_FOLDS; fold++) {
        struct rows fit = {table, 0, end, fold, 0}, test = {table, 0, end, fold, 1};
        sum_rows(&fit);
        for (int k = 0; k < N_RIDGES; k++) {
            ridges[k] = pow(10.0, 0.5 * k - 1.5);
            factorise(ridges[k]);
            for (int u = 0; u < V4_N_UNITS; u++) {
                solve(xty[u], w);
                predict_rows(&test, u, w);
                for (int t = fold; t < end; t += N_FOLDS)
                    kept[k][u][t] = predictions[u][t];
            }
        }
    }
    for (int k = 0; k < N_RIDGES; k++)
        for (int u = 0; u < V4_N_UNITS; u++) {
            memcpy(predictions[u], kept[k][u], sizeof predictions[u]);
            scores[k][u] = score(table, predictions[u], u, 0, end);
        }
}

static int best_of(double scores[N_RIDGES][V4_N_UNITS], int unit)
{
    int best = 0;
    for (int k = 1; k < N_RIDGES; k++)
        if (scores[k][unit] > scores[best][unit])
            best = k;
    return best;
}

/* Ridge fitted on the first half, its strength chosen there unit by unit. */
double v4_offline_ridge(void)
{
    static double scores[N_RIDGES][V4_N_UNITS];
    double ridges[N_RIDGES], w[D_MAX], r[V4_N_UNITS];
    int half = n_trials / 2;
    cross_validate(&trials, half, scores, ridges);
    struct rows fit = {&trials, 0, half, -1, 0}, test = {&trials, half, n_trials, -1, 0};
    sum_rows(&fit);
    for (int k = 0; k < N_RIDGES; k++) {
        factorise(ridges[k]);
        for (int u = 0; u < V4_N_UNITS; u++) {
            if (best_of(scores, u) != k)
                continue;
            solve(xty[u], w);
            predict_rows(&test, u, w);
            r[u] = score(&trials, predictions[u], u, half, n_trials);
        }
    }
    return v4_median(r);
}

double v4_cross_validated(void)
{
    static double scores[N_RIDGES][V4_N_UNITS];
    double ridges[N_RIDGES], best = 0.0;
    cross_validate(&averages, V4_N_IMAGES, scores, ridges);
    for (int k = 0; k < N_RIDGES; k++) {
        printf("  ridge %-7.3g 5-fold median r %.3f\n", ridges[k], v4_median(scores[k]));
        best = fmax(best, v4_median(scores[k]));
    }
    return best;
}

void v4_open(uint64_t seed)
{
    struct random random;
    stimulus = shared_open("data/v4_macaque_210325/stimulus.npy");
    counts = shared_open("data/v4_macaque_210325/counts.npy");
    random_init(&random, seed, 0);
    read_images();
    compute_features();
    list_trials(&random);
}

void v4_close(void)
{
    npy_close(&stimulus);
    npy_close(&counts);
    free(feature);
}

const struct v4_table *v4_trials(void)
{
    return &trials;
}

const float *v4_image(int k)
{
    return image[k];
}

int v4_n_features(void)
{
    return d;
}
