#include "models/front.h"

#include <math.h>
#include <string.h>

#include "models/ops.h"
#include "models/prior.h"

#define PI 3.14159265358979323846

/* FRONT_GABOR: wavelengths are the shorter side divided by these. */
static const double cycles[FRONT_SCALES] = {3.0, 6.0, 12.0};
#define WAVELENGTH_MIN_PX 2.0
#define ENVELOPE_SD       0.5 /* of a wavelength */
#define LUMINANCE_GRID    4

/* In 1/f noise of RMS contrast 0.3, in which filters of unit length answer in proportion
 * to their size: energy / wavelength^2, luminance / sd of the blur. */
#define ENERGY_PER_PX2   0.008
#define LUMINANCE_PER_PX 0.63

/* Then (energy + floor)^(1/4) has this variance, and in natural images about this mean. */
#define FEATURE_VARIANCE 0.065
#define FEATURE_MEAN     0.6F

static struct prior prior_of(const struct model_conf *conf)
{
    return (struct prior){.n_frames = conf->n_frames,
                          .height = conf->height,
                          .width = conf->width,
                          .smooth_px = conf->smooth_px,
                          .smooth_frames = conf->smooth_frames,
                          .prior_sd = conf->prior_sd};
}

static int shorter_side(const struct model_conf *conf)
{
    return conf->height < conf->width ? conf->height : conf->width;
}

const char *front_check(const struct model_conf *conf)
{
    if (conf->front != FRONT_PIXELS && conf->front != FRONT_GABOR)
        return "front: no such front end; choose pixels or gabor";
    if (!(conf->smooth_px >= 0.0 && conf->smooth_px <= 1000.0))
        return "smooth_px: give a length in pixels, 0 for none";
    if (!(conf->smooth_frames >= 0.0 && conf->smooth_frames <= 1000.0))
        return "smooth_frames: give a length in frames, 0 for none";
    if (conf->front == FRONT_GABOR && conf->n_frames != 1)
        return "front: gabor sees one frame; set frames to 1, or choose pixels";
    if (conf->front == FRONT_GABOR && shorter_side(conf) < 8)
        return "front: gabor needs a stimulus of at least 8 x 8 pixels";
    return NULL;
}

/* The grid of places one wavelength (or luminance patch) apart, and the prior over it:
 * variance a place, correlated as far as smooth_px reaches. */
static struct prior prior_of_map(const struct model_conf *conf,
                                 const struct front_map *map, double variance)
{
    return (struct prior){.n_frames = 1,
                          .height = map->height,
                          .width = map->width,
                          .smooth_px = conf->smooth_px * map->height / conf->height,
                          .prior_sd = sqrt(variance * map->height * map->width)};
}

static void add_map(struct front *front, const struct model_conf *conf, double step_px,
                    int n_channels)
{
    struct front_map *map = &front->maps[front->n_maps++];
    map->height = (int)lround(conf->height / step_px);
    map->width = (int)lround(conf->width / step_px);
    map->n_channels = n_channels;
    struct prior prior = prior_of_map(conf, map, 1.0);
    map->n_modes = prior_modes(&prior);
    front->n_features += n_channels * map->n_modes;
}

static int n_places(const struct front_map *map)
{
    return map->height * map->width;
}

static void shape_gabor(struct front *front, const struct model_conf *conf)
{
    int side = shorter_side(conf);
    for (int i = 0; i < FRONT_SCALES && side / cycles[i] >= WAVELENGTH_MIN_PX; i++) {
        add_map(front, conf, side / cycles[i], FRONT_ORIENTATIONS);
        front->n_energies += FRONT_ORIENTATIONS * n_places(&front->maps[i]);
    }
    add_map(front, conf, (double)side / LUMINANCE_GRID, 1);
    int n_luminance = n_places(&front->maps[front->n_maps - 1]);
    front->n_linear = 2 * front->n_energies + n_luminance;
    front->n_work = front->n_linear + front->n_energies + n_luminance;
}

void front_shape(struct front *front, const struct model_conf *conf)
{
    memset(front, 0, sizeof *front);
    front->kind = conf->front;
    front->n_px = conf->n_frames * conf->height * conf->width;
    front->bias = (float)conf->bias_sd;
    if (front->kind == FRONT_GABOR) {
        shape_gabor(front, conf);
    } else {
        struct prior prior = prior_of(conf);
        front->n_features = front->n_linear = front->n_work = prior_modes(&prior);
    }
    front->n_features++;
}

static size_t mode_size(const struct front_map *map)
{
    return (size_t)map->n_modes * (size_t)n_places(map);
}

size_t front_size(const struct front *front)
{
    size_t n = (size_t)front->n_linear * (size_t)front->n_px;
    for (int i = 0; i < front->n_maps; i++)
        n += mode_size(&front->maps[i]);
    return n * sizeof(float);
}

/* One filter: a Gaussian at (cx, cy) times a wave, or alone where wavelength is 0; of
 * length `norm`; the wave has no mean. */
struct filter {
    double cx, cy, sd, wavelength, angle, phase, norm;
};

static double envelope(const struct filter *filter, int x, int y)
{
    double dx = x + 0.5 - filter->cx, dy = y + 0.5 - filter->cy;
    return exp(-0.5 * (dx * dx + dy * dy) / (filter->sd * filter->sd));
}

static double wave(const struct filter *filter, int x, int y)
{
    if (filter->wavelength == 0.0)
        return 1.0;
    double along = (x + 0.5 - filter->cx) * cos(filter->angle) +
                   (y + 0.5 - filter->cy) * sin(filter->angle);
    return cos(2.0 * PI * along / filter->wavelength + filter->phase);
}

static float *write_filter(const struct model_conf *conf, const struct filter *filter,
                           float *row)
{
    double sum = 0.0, sum_envelope = 0.0, norm2 = 0.0;
    for (int y = 0; y < conf->height; y++)
        for (int x = 0; x < conf->width; x++) {
            sum += envelope(filter, x, y) * wave(filter, x, y);
            sum_envelope += envelope(filter, x, y);
        }
    double mean = filter->wavelength == 0.0 ? 0.0 : sum / sum_envelope;
    float *at = row;
    for (int y = 0; y < conf->height; y++)
        for (int x = 0; x < conf->width; x++) {
            double value = envelope(filter, x, y) * (wave(filter, x, y) - mean);
            norm2 += value * value;
            *at++ = (float)value;
        }
    float scale = (float)(filter->norm / sqrt(norm2));
    for (; row < at; row++)
        *row *= scale;
    return at;
}

/* The filters of one map, channel by channel; an energy has two. */
static float *write_map(const struct front_map *map, const struct model_conf *conf,
                        float *at)
{
    double step = (double)conf->height / map->height;
    int n_phases = map->n_channels > 1 ? 2 : 1;
    for (int c = 0; c < map->n_channels; c++)
        for (int i = 0; i < n_places(map) * n_phases; i++) {
            int place = i / n_phases;
            struct filter filter = {
                .cx = (place % map->width + 0.5) * conf->width / map->width,
                .cy = (place / map->width + 0.5) * step,
                .sd = ENVELOPE_SD * step,
                .norm = 1.0 / (LUMINANCE_PER_PX * ENVELOPE_SD * step)};
            if (n_phases == 2) {
                filter.wavelength = step;
                filter.angle = PI * c / map->n_channels;
                filter.phase = i % 2 * PI / 2.0;
                filter.norm = 1.0 / (sqrt(ENERGY_PER_PX2) * step);
            }
            at = write_filter(conf, &filter, at);
        }
    return at;
}

static void init_gabor(struct front *front, const struct model_conf *conf, float *at)
{
    int n_luminance = front->n_linear - 2 * front->n_energies;
    double variance = conf->prior_sd * conf->prior_sd /
                      (FEATURE_VARIANCE * front->n_energies + n_luminance);
    for (int i = 0; i < front->n_maps; i++)
        at = write_map(&front->maps[i], conf, at);
    for (int i = 0; i < front->n_maps; i++) {
        struct front_map *map = &front->maps[i];
        struct prior prior = prior_of_map(conf, map, variance);
        prior_basis(&prior, at);
        map->mode = at;
        at += mode_size(map);
    }
}

void front_init(struct front *front, const struct model_conf *conf, void *mem)
{
    front_shape(front, conf);
    front->a = mem;
    if (front->kind == FRONT_GABOR) {
        init_gabor(front, conf, mem);
    } else {
        struct prior prior = prior_of(conf);
        prior_basis(&prior, mem);
    }
}

/* Maps of energies and luminance into phi. */
static void apply_gabor(const struct front *front, float *work, float *phi)
{
    const float *u = work;
    float *g = work + front->n_linear;
    for (int i = 0; i < front->n_energies; i++, u += 2)
        *g++ = sqrtf(sqrtf(u[0] * u[0] + u[1] * u[1] + FRONT_FLOOR)) - FEATURE_MEAN;
    memcpy(g, u, (size_t)(front->n_linear - 2 * front->n_energies) * sizeof *g);
    g = work + front->n_linear;
    for (int i = 0; i < front->n_maps; i++) {
        const struct front_map *map = &front->maps[i];
        for (int c = 0; c < map->n_channels; c++) {
            ops_rows_dot(map->n_modes, n_places(map), map->mode, g, phi);
            g += n_places(map);
            phi += map->n_modes;
        }
    }
}

static void pull_gabor(const struct front *front, float *work, const float *d_phi)
{
    float *u = work, *d_g = work + front->n_linear;
    for (int i = 0; i < front->n_maps; i++) {
        const struct front_map *map = &front->maps[i];
        for (int c = 0; c < map->n_channels; c++) {
            ops_rows_sum(map->n_modes, n_places(map), map->mode, d_phi, d_g);
            d_g += n_places(map);
            d_phi += map->n_modes;
        }
    }
    d_g = work + front->n_linear;
    for (int i = 0; i < front->n_energies; i++, u += 2) {
        float z = u[0] * u[0] + u[1] * u[1] + FRONT_FLOOR;
        float slope =
            *d_g++ * 0.5F * sqrtf(sqrtf(z)) / z; /* d z^(1/4) = this * (u . du) */
        u[0] *= slope;
        u[1] *= slope;
    }
    memcpy(u, d_g, (size_t)(front->n_linear - 2 * front->n_energies) * sizeof *u);
}

void front_apply(const struct front *front, const float *x, float *work, float *phi)
{
    ops_rows_dot(front->n_linear, front->n_px, front->a, x, work);
    if (front->kind == FRONT_GABOR)
        apply_gabor(front, work, phi);
    else
        memcpy(phi, work, (size_t)front->n_linear * sizeof *phi);
    phi[front->n_features - 1] = front->bias;
}

void front_pull(const struct front *front, float *work, const float *d_phi, float *d_x)
{
    if (front->kind == FRONT_GABOR)
        pull_gabor(front, work, d_phi);
    else
        memcpy(work, d_phi, (size_t)front->n_linear * sizeof *work);
    ops_rows_sum(front->n_linear, front->n_px, front->a, work, d_x);
}
