#include "models/metrics.h"

#include <math.h>
#include <stdlib.h>

#define LOG_EPS 1e-8 /* a rate of 0 is not impossible, only unlikely (PoissonLoss) */
#define LOG_2   0.6931471805599453

static double undefined(void)
{
    return nan("");
}

void metrics_corr_add(struct metrics_corr *corr, double a, double b)
{
    if (isnan(a) || isnan(b))
        return;
    double n = (double)++corr->n;
    double da = a - corr->mean_a, db = b - corr->mean_b;
    corr->mean_a += da / n;
    corr->mean_b += db / n;
    corr->aa += da * (a - corr->mean_a);
    corr->bb += db * (b - corr->mean_b);
    corr->ab += da * (b - corr->mean_b);
}

double metrics_corr_value(const struct metrics_corr *corr, double eps)
{
    double n = (double)corr->n;
    double sd_a = sqrt(corr->aa / n) + eps, sd_b = sqrt(corr->bb / n) + eps;
    if (corr->n < 2 || !(sd_a > 0.0) || !(sd_b > 0.0))
        return undefined();
    return corr->ab / n / (sd_a * sd_b);
}

static double loglik_of(double rate, double count)
{
    return count * log(rate + LOG_EPS) - rate;
}

/* The mean before any count is taken as half a spike in one trial (Jeffreys' prior), so
 * that the first spike of a silent unit does not surprise it without bound. */
void metrics_running_add(struct metrics_running *running, float rate, float count)
{
    if (isnan(count) || isnan(rate))
        return;
    double n = (double)running->corr.n;
    double mean = (running->n_spikes + 0.5) / (n + 1.0);
    running->loglik += loglik_of((double)rate, (double)count);
    running->loglik_mean += loglik_of(mean, (double)count);
    running->n_spikes += (double)count;
    metrics_corr_add(&running->corr, (double)count, (double)rate);
}

double metrics_running_corr(const struct metrics_running *running)
{
    return metrics_corr_value(&running->corr, 0.0);
}

double metrics_running_loglik(const struct metrics_running *running)
{
    if (running->corr.n == 0)
        return undefined();
    return running->loglik / (double)running->corr.n;
}

double metrics_running_bits_per_spike(const struct metrics_running *running)
{
    if (!(running->n_spikes > 0.0))
        return undefined();
    return (running->loglik - running->loglik_mean) / (running->n_spikes * LOG_2);
}

/* Mean and variance of some numbers, one by one; NaN is left out. */
struct spread {
    int n;
    double mean, squares;
};

static void spread_add(struct spread *spread, double x)
{
    if (isnan(x))
        return;
    double d = x - spread->mean;
    spread->mean += d / ++spread->n;
    spread->squares += d * (x - spread->mean);
}

static double spread_mean(const struct spread *spread)
{
    return spread->n > 0 ? spread->mean : undefined();
}

static double spread_var(const struct spread *spread, int ddof)
{
    return spread->n > ddof ? spread->squares / (spread->n - ddof) : undefined();
}

static double response(const struct metrics_trials *trials, int image, int repeat)
{
    return trials->response[(int64_t)image * trials->n_repeats + repeat];
}

static double raw(double x)
{
    return x;
}

static double anscombe(double x)
{
    return 2.0 * sqrt(x + 0.375);
}

/* Over the repeats of one image. */
static struct spread image_spread(const struct metrics_trials *trials, int image,
                                  double (*transform)(double))
{
    struct spread spread = {0};
    for (int r = 0; r < trials->n_repeats; r++)
        spread_add(&spread, transform(response(trials, image, r)));
    return spread;
}

static struct spread all_spread(const struct metrics_trials *trials)
{
    struct spread spread = {0};
    for (int i = 0; i < trials->n_images; i++)
        for (int r = 0; r < trials->n_repeats; r++)
            spread_add(&spread, response(trials, i, r));
    return spread;
}

/* Of the averages over repeats, over images. */
static struct spread mean_spread(const struct metrics_trials *trials,
                                 double (*transform)(double))
{
    struct spread spread = {0};
    for (int i = 0; i < trials->n_images; i++) {
        struct spread image = image_spread(trials, i, transform);
        spread_add(&spread, spread_mean(&image));
    }
    return spread;
}

/* Variance over repeats, mean over images; of one repeat alone there is none. */
static double noise_var(const struct metrics_trials *trials, int ddof,
                        double (*transform)(double))
{
    struct spread var = {0};
    for (int i = 0; i < trials->n_images; i++) {
        struct spread image = image_spread(trials, i, transform);
        if (image.n >= 2)
            spread_add(&var, spread_var(&image, ddof));
    }
    return spread_mean(&var);
}

void metrics_average(const struct metrics_trials *trials, double *mean)
{
    for (int i = 0; i < trials->n_images; i++) {
        struct spread image = image_spread(trials, i, raw);
        mean[i] = spread_mean(&image);
    }
}

double metrics_corr_single(const struct metrics_trials *trials, const double *prediction)
{
    struct metrics_corr corr = {0};
    for (int i = 0; i < trials->n_images; i++)
        for (int r = 0; r < trials->n_repeats; r++)
            metrics_corr_add(&corr, response(trials, i, r), prediction[i]);
    return metrics_corr_value(&corr, METRICS_EPS);
}

double metrics_corr_average(const struct metrics_trials *trials, const double *prediction,
                            double eps)
{
    struct metrics_corr corr = {0};
    for (int i = 0; i < trials->n_images; i++) {
        struct spread image = image_spread(trials, i, raw);
        metrics_corr_add(&corr, spread_mean(&image), prediction[i]);
    }
    return metrics_corr_value(&corr, eps);
}

double metrics_feve(const struct metrics_trials *trials, const double *prediction)
{
    struct spread error = {0}, all = all_spread(trials);
    double noise = noise_var(trials, 1, raw);
    for (int i = 0; i < trials->n_images; i++)
        for (int r = 0; r < trials->n_repeats; r++)
            spread_add(&error, pow(response(trials, i, r) - prediction[i], 2.0));
    return 1.0 - (spread_mean(&error) - noise) / (spread_var(&all, 1) - noise);
}

double metrics_cc_norm(const struct metrics_trials *trials, const double *prediction)
{
    return metrics_corr_average(trials, prediction, 0.0) / metrics_cc_max(trials);
}

double metrics_r2_er(const struct metrics_trials *trials, const double *prediction)
{
    struct metrics_corr corr = {0};
    struct spread inverse_n = {0};
    for (int i = 0; i < trials->n_images; i++) {
        struct spread image = image_spread(trials, i, raw);
        metrics_corr_add(&corr, spread_mean(&image), prediction[i]);
        if (image.n > 0)
            spread_add(&inverse_n, 1.0 / image.n);
    }
    double noise = noise_var(trials, 1, raw) * spread_mean(&inverse_n);
    double explained = corr.ab * corr.ab / corr.bb - noise;
    return explained / (corr.aa - (double)(corr.n - 1) * noise);
}

double metrics_fev(const struct metrics_trials *trials)
{
    struct spread all = all_spread(trials);
    double total = spread_var(&all, 1);
    return (total - noise_var(trials, 1, raw)) / total;
}

double metrics_oracle(const struct metrics_trials *trials)
{
    struct metrics_corr corr = {0};
    for (int i = 0; i < trials->n_images; i++) {
        struct spread image = image_spread(trials, i, raw);
        for (int r = 0; r < trials->n_repeats; r++) {
            double x = response(trials, i, r); /* a lone repeat has NaN others: 0/0 */
            metrics_corr_add(&corr, x, (image.n * image.mean - x) / (image.n - 1));
        }
    }
    return metrics_corr_value(&corr, METRICS_EPS);
}

double metrics_oracle_conservative(const struct metrics_trials *trials)
{
    struct spread means = mean_spread(trials, raw);
    double signal = spread_var(&means, 0);
    return signal / sqrt(signal * (signal + noise_var(trials, 0, raw)));
}

double metrics_cc_max(const struct metrics_trials *trials)
{
    struct spread means = mean_spread(trials, raw), total = {0};
    double freedom = 0.0, weight = 0.0;
    for (int i = 0; i < trials->n_images; i++) {
        int n = image_spread(trials, i, raw).n;
        if (n == 0)
            continue;
        freedom += n - 1;
        weight += (n - 1.0) / ((double)n * n);
    }
    for (int r = 0; r < trials->n_repeats; r++) {
        struct spread repeat = {0};
        for (int i = 0; i < trials->n_images; i++)
            spread_add(&repeat, response(trials, i, r));
        spread_add(&total, spread_var(&repeat, 1));
    }
    double n = sqrt(freedom / weight); /* repeats, were they equally many */
    double power = (n * spread_var(&means, 1) - spread_mean(&total)) / (n - 1.0);
    return sqrt(power / spread_var(&means, 0));
}

double metrics_snr(const struct metrics_trials *trials)
{
    struct spread means = mean_spread(trials, anscombe);
    return spread_var(&means, 0) / noise_var(trials, 1, anscombe);
}

double metrics_loglik(int n, const double *rate, const double *count)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        if (!isnan(count[i]))
            sum += loglik_of(rate[i], count[i]);
    return sum;
}

double metrics_bits_per_spike(int n, const double *rate, const double *count)
{
    struct spread counts = {0};
    for (int i = 0; i < n; i++)
        spread_add(&counts, count[i]);
    double n_spikes = counts.mean * counts.n;
    if (!(n_spikes > 0.0))
        return undefined();
    double of_mean = counts.n * loglik_of(counts.mean, counts.mean);
    return (metrics_loglik(n, rate, count) - of_mean) / (n_spikes * LOG_2);
}

double metrics_fraction_oracle(int n_units, const double *score, const double *oracle)
{
    double xx = 0.0, xy = 0.0;
    for (int u = 0; u < n_units; u++) {
        if (isnan(score[u]) || isnan(oracle[u]))
            continue;
        xx += oracle[u] * oracle[u];
        xy += oracle[u] * score[u];
    }
    return xy / xx;
}

void metrics_rdm(int n_rows, int n, const double *x, double *rdm)
{
    for (int i = 0; i < n_rows; i++) {
        for (int j = i; j < n_rows; j++) {
            struct metrics_corr corr = {0};
            for (int k = 0; k < n; k++)
                metrics_corr_add(&corr, x[(int64_t)i * n + k], x[(int64_t)j * n + k]);
            rdm[(int64_t)i * n_rows + j] = rdm[(int64_t)j * n_rows + i] =
                1.0 - metrics_corr_value(&corr, 0.0);
        }
    }
}

double metrics_rsa_pearson(int n, const double *rdm_a, const double *rdm_b)
{
    struct metrics_corr corr = {0};
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++)
            metrics_corr_add(&corr, rdm_a[(int64_t)i * n + j], rdm_b[(int64_t)i * n + j]);
    return metrics_corr_value(&corr, 0.0);
}

/* A value and, once sorted, where it came from. */
struct ranked {
    double value, at;
};

static int compare(const void *a, const void *b)
{
    double x = ((const struct ranked *)a)->value, y = ((const struct ranked *)b)->value;
    return (x > y) - (x < y);
}

/* Ranks of values, equal ones sharing theirs; sorts the values. */
static void give_ranks(int64_t n, struct ranked *value, double *rank)
{
    qsort(value, (size_t)n, sizeof *value, compare);
    for (int64_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n; end++)
            if (value[end].value > value[first].value)
                break;
        for (int64_t k = first; k < end; k++)
            rank[(int64_t)value[k].at] = 0.5 * (double)(first + end - 1);
    }
}

/* Ranks of one RDM's strict upper triangle where both have a value; how many do. */
static int64_t rank_triangle(int n, const double *rdm, const double *other,
                             struct ranked *value, double *rank)
{
    int64_t n_pairs = 0;
    for (int i = 0; i < n; i++) {
        for (int j = i + 1; j < n; j++) {
            int64_t at = (int64_t)i * n + j;
            if (isnan(rdm[at]) || isnan(other[at]))
                continue;
            value[n_pairs] = (struct ranked){rdm[at], (double)n_pairs};
            n_pairs++;
        }
    }
    give_ranks(n_pairs, value, rank);
    return n_pairs;
}

double metrics_rsa_spearman(int n, const double *rdm_a, const double *rdm_b, double *work)
{
    struct metrics_corr corr = {0};
    int64_t most = (int64_t)n * (n - 1) / 2;
    double *rank_a = work + 2 * most, *rank_b = rank_a + most;
    int64_t n_pairs = rank_triangle(n, rdm_a, rdm_b, (struct ranked *)work, rank_a);
    rank_triangle(n, rdm_b, rdm_a, (struct ranked *)work, rank_b);
    for (int64_t k = 0; k < n_pairs; k++)
        metrics_corr_add(&corr, rank_a[k], rank_b[k]);
    return metrics_corr_value(&corr, 0.0);
}

static void centre_columns(int n_rows, int n, const double *x, double *centred)
{
    for (int k = 0; k < n; k++) {
        double mean = 0.0;
        for (int i = 0; i < n_rows; i++)
            mean += x[(int64_t)i * n + k] / n_rows;
        for (int i = 0; i < n_rows; i++)
            centred[(int64_t)i * n + k] = x[(int64_t)i * n + k] - mean;
    }
}

static double dot(int n, const double *a, const double *b)
{
    double sum = 0.0;
    for (int k = 0; k < n; k++)
        sum += a[k] * b[k];
    return sum;
}

/* By rows: |X^T Y|^2 is the sum over i, j of (x_i.x_j) (y_i.y_j). */
double metrics_cka(int n_rows, int n_x, const double *x, int n_y, const double *y,
                   double *work)
{
    double *cx = work, *cy = work + (int64_t)n_rows * n_x, xx = 0.0, xy = 0.0, yy = 0.0;
    centre_columns(n_rows, n_x, x, cx);
    centre_columns(n_rows, n_y, y, cy);
    for (int i = 0; i < n_rows; i++) {
        for (int j = 0; j < n_rows; j++) {
            double kx = dot(n_x, cx + (int64_t)i * n_x, cx + (int64_t)j * n_x);
            double ky = dot(n_y, cy + (int64_t)i * n_y, cy + (int64_t)j * n_y);
            xx += kx * kx;
            xy += kx * ky;
            yy += ky * ky;
        }
    }
    return xy / sqrt(xx * yy);
}
