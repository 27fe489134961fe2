#include "models/clockmap.h"

#include <math.h>
#include <string.h>

#include "protocol/clock.h"
#include "protocol/event.h"
#include "protocol/log.h"

/* Weight, in points, of what is assumed about noise before any is seen. */
#define PRIOR_POINTS 3.0
/* Typical distance of arrivals from the line before it is seen. */
#define PRIOR_JITTER_NS 1e6
/* Of the tightest line below n points that lie above the truth by exponential noise of
 * mean 1, evenly in time: rms error at their centre times n, and of its slope times n
 * times their span; by simulation, n = 5 to 64. */
#define HULL_LATE_RMS  2.3
#define HULL_DRIFT_RMS 7.1

void clockmap_reset(struct clockmap *map, double rate_hz)
{
    CHECK(rate_hz > 0.0);
    memset(map, 0, sizeof *map);
    map->ns_per_sample = (double)NS_PER_S / rate_hz;
    map->line.late_sd_ns = map->by_arrivals.late_sd_ns = map->by_pairs.late_sd_ns =
        HUGE_VAL;
}

/* origin + since, where that is a time or a sample at all. */
static int64_t whole(int64_t origin, double since)
{
    int64_t sum;
    if (!(fabs(since) < 4e18) || __builtin_add_overflow(origin, llrint(since), &sum))
        return CLOCK_UNKNOWN;
    return sum;
}

/* a - b, which never overflows for times that can be. */
static double since_ns(int64_t a, int64_t b)
{
    return (double)(int64_t)((uint64_t)a - (uint64_t)b);
}

static struct clockmap_point point(struct clockmap *map, int64_t sample, int64_t host_ns)
{
    if (map->n_arrivals == 0 && map->n_pairs == 0) {
        map->origin_sample = sample;
        map->origin_ns = host_ns;
    }
    double at_ns = (double)(sample - map->origin_sample) * map->ns_per_sample;
    if (at_ns > map->newest_ns)
        map->newest_ns = at_ns;
    return (struct clockmap_point){at_ns, since_ns(host_ns, map->origin_ns) - at_ns};
}

static double line_at(const struct clockmap_line *line, double at_ns)
{
    return line->late_ns + line->drift * (at_ns - line->at_ns);
}

static double line_sd(const struct clockmap_line *line, double at_ns)
{
    return hypot(line->late_sd_ns, line->drift_sd * (at_ns - line->at_ns));
}

/* Points of a ring, oldest first. */
static int in_order(const struct clockmap_point *ring, int64_t n_ever,
                    struct clockmap_point *points)
{
    int n = n_ever < CLOCKMAP_N ? (int)n_ever : CLOCKMAP_N;
    for (int i = 0; i < n; i++)
        points[i] = ring[(n_ever - n + i) % CLOCKMAP_N];
    return n;
}

static double mean_at(const struct clockmap_point *points, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += points[i].at_ns;
    return sum / n;
}

/* Slope of the edge of the points' lower convex hull that lies below at_ns: of all lines
 * below all points the one nearest to them. n >= 2. */
static double hull_slope(const struct clockmap_point *points, int n, double at_ns)
{
    struct clockmap_point hull[CLOCKMAP_N];
    int top = 0, i = 1;
    for (int k = 0; k < n; k++) {
        const struct clockmap_point *p = &points[k];
        while (top >= 2) {
            const struct clockmap_point *a = &hull[top - 2], *b = &hull[top - 1];
            if ((b->at_ns - a->at_ns) * (p->late_ns - a->late_ns) >
                (b->late_ns - a->late_ns) * (p->at_ns - a->at_ns))
                break;
            top--;
        }
        hull[top++] = *p;
    }
    while (i < top - 1 && hull[i].at_ns < at_ns)
        i++;
    return (hull[i].late_ns - hull[i - 1].late_ns) / (hull[i].at_ns - hull[i - 1].at_ns);
}

static double median(double *value, int n)
{
    for (int i = 1; i < n; i++) {
        double v = value[i];
        int k = i;
        for (; k > 0 && value[k - 1] > v; k--)
            value[k] = value[k - 1];
        value[k] = v;
    }
    return n % 2 ? value[n / 2] : 0.5 * (value[n / 2 - 1] + value[n / 2]);
}

/* Mean distance of arrivals from the line, if it is exponential; bursts do not count. */
static double jitter_ns(const struct clockmap_point *points, int n, double at_ns,
                        double slope)
{
    double over[CLOCKMAP_N], least = HUGE_VAL;
    for (int i = 0; i < n; i++) {
        over[i] = points[i].late_ns - slope * (points[i].at_ns - at_ns);
        least = fmin(least, over[i]);
    }
    double seen = (median(over, n) - least) / 0.6931471805599453;
    return (PRIOR_POINTS * PRIOR_JITTER_NS + n * seen) / (PRIOR_POINTS + n);
}

static void fit_arrivals(struct clockmap *map)
{
    struct clockmap_point points[CLOCKMAP_N];
    struct clockmap_line *line = &map->by_arrivals;
    int n = in_order(map->arrival, map->n_seconds, points);
    double prior = CLOCKMAP_DRIFT_SD * CLOCKMAP_DRIFT_SD, jitter = PRIOR_JITTER_NS;

    line->at_ns = mean_at(points, n);
    line->drift = 0.0;
    line->drift_sd = CLOCKMAP_DRIFT_SD;
    if (n >= 2) {
        double slope = hull_slope(points, n, line->at_ns);
        jitter = jitter_ns(points, n, line->at_ns, slope);
        double sd =
            HULL_DRIFT_RMS * jitter / (n * (points[n - 1].at_ns - points[0].at_ns));
        line->drift = slope * prior / (prior + sd * sd);
        line->drift_sd = sd * CLOCKMAP_DRIFT_SD / sqrt(prior + sd * sd);
    }
    line->late_ns = HUGE_VAL;
    for (int i = 0; i < n; i++)
        line->late_ns =
            fmin(line->late_ns,
                 points[i].late_ns - line->drift * (points[i].at_ns - line->at_ns));
    line->late_sd_ns = hypot(CLOCKMAP_LATENCY_NS, HULL_LATE_RMS * jitter / n);
}

/* Least squares, with what is known before as a prior on the slope and the noise. */
static void fit_pairs(struct clockmap *map)
{
    struct clockmap_point points[CLOCKMAP_N];
    struct clockmap_line *line = &map->by_pairs;
    int n = in_order(map->pair, map->n_pairs, points);
    double xx = 0.0, xy = 0.0, yy = 0.0;

    line->at_ns = mean_at(points, n);
    line->late_ns = 0.0;
    for (int i = 0; i < n; i++)
        line->late_ns += points[i].late_ns / n;
    for (int i = 0; i < n; i++) {
        double x = points[i].at_ns - line->at_ns, y = points[i].late_ns - line->late_ns;
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    double rest = xx > 0.0 ? fmax(yy - xy * xy / xx, 0.0) : yy;
    double noise = (PRIOR_POINTS * CLOCKMAP_FLIP_NS * CLOCKMAP_FLIP_NS + rest) /
                   (PRIOR_POINTS + (n > 2 ? n - 2 : 0));
    double weight = xx + noise / (CLOCKMAP_DRIFT_SD * CLOCKMAP_DRIFT_SD);
    line->drift = xy / weight;
    line->drift_sd = sqrt(noise / weight);
    line->late_sd_ns = sqrt(noise / n);
}

static void believe(struct clockmap *map)
{
    map->line = line_sd(&map->by_pairs, map->newest_ns) <
                        line_sd(&map->by_arrivals, map->newest_ns)
                    ? map->by_pairs
                    : map->by_arrivals;
}

void clockmap_add_arrival(struct clockmap *map, int64_t end_sample, int64_t arrival_ns)
{
    struct clockmap_point p = point(map, end_sample, arrival_ns);
    struct clockmap_point *second =
        &map->arrival[(map->n_seconds + CLOCKMAP_N - 1) % CLOCKMAP_N];
    if (map->n_arrivals++ == 0 || p.at_ns - map->second_ns >= (double)NS_PER_S) {
        map->second_ns = p.at_ns;
        map->arrival[map->n_seconds++ % CLOCKMAP_N] = p;
        fit_arrivals(map);
    } else if (p.at_ns >= map->second_ns && p.late_ns < second->late_ns) {
        *second = p;
        fit_arrivals(map);
    }
    believe(map);
}

void clockmap_add_pair(struct clockmap *map, int64_t sample, int64_t host_ns)
{
    map->pair[map->n_pairs % CLOCKMAP_N] = point(map, sample, host_ns);
    map->n_pairs++;
    fit_pairs(map);
    believe(map);
}

int64_t clockmap_host_ns(const struct clockmap *map, int64_t sample)
{
    if (map->n_arrivals == 0 && map->n_pairs == 0)
        return CLOCK_UNKNOWN;
    double at_ns = (double)(sample - map->origin_sample) * map->ns_per_sample;
    return whole(map->origin_ns, at_ns + line_at(&map->line, at_ns));
}

int64_t clockmap_sample(const struct clockmap *map, int64_t host_ns)
{
    if (map->n_arrivals == 0 && map->n_pairs == 0)
        return CLOCK_UNKNOWN;
    const struct clockmap_line *line = &map->line;
    double host = since_ns(host_ns, map->origin_ns);
    double at_ns = (host - line->late_ns + line->drift * line->at_ns) / (1 + line->drift);
    return whole(map->origin_sample, at_ns / map->ns_per_sample);
}

int64_t clockmap_uncertainty_ns(const struct clockmap *map)
{
    if (map->n_arrivals == 0 && map->n_pairs == 0)
        return INT64_MAX;
    return llrint(fmin(line_sd(&map->line, map->newest_ns), 4e18));
}
