#include "tools/animal.h"

#include <math.h>
#include <string.h>

struct animal {
    struct animal_conf conf;
    int n_px;
    float filters[]; /* (n_units, 2, height, width), the second in quadrature; and room
                        for one image */
};

/* Where and what a Gabor is. */
struct gabor {
    double row, col, angle, phase, wavelength;
};

size_t animal_size(const struct animal_conf *conf)
{
    size_t n_px = (size_t)conf->space.height * (size_t)conf->space.width;
    return sizeof(struct animal) + (2 * (size_t)conf->n_units + 1) * n_px * sizeof(float);
}

static struct gabor draw_gabor(const struct space *space, struct random *random)
{
    double side = space->height < space->width ? space->height : space->width;
    struct gabor gabor;
    gabor.wavelength = side * (0.35 + 0.25 * random_uniform(random));
    gabor.row = space->height * (0.2 + 0.6 * random_uniform(random)) - 0.5;
    gabor.col = space->width * (0.2 + 0.6 * random_uniform(random)) - 0.5;
    gabor.angle = M_PI * random_uniform(random);
    gabor.phase = 2 * M_PI * random_uniform(random);
    return gabor;
}

/* Without its mean, which no stimulus of the space varies. */
static void draw_filter(const struct space *space, const struct gabor *gabor,
                        double phase, float *w)
{
    double sigma = 0.4 * gabor->wavelength, sum = 0;
    int n_px = space->height * space->width;
    for (int i = 0; i < n_px; i++) {
        double dy = i / space->width - gabor->row, dx = i % space->width - gabor->col;
        double along = dx * cos(gabor->angle) + dy * sin(gabor->angle);
        double envelope = exp(-(dx * dx + dy * dy) / (2 * sigma * sigma));
        w[i] = (float)(envelope * cos(2 * M_PI * along / gabor->wavelength + phase));
        sum += (double)w[i];
    }
    for (int i = 0; i < n_px; i++)
        w[i] -= (float)(sum / n_px);
}

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Rate of the unit with the filters w (2, height, width). */
static double unit_rate(const struct animal *animal, const float *w, const float *x)
{
    double a = dot(w, x, animal->n_px);
    if (animal->conf.kind == ANIMAL_LN)
        return animal->conf.rate_grey * exp(a);
    double b = dot(w + animal->n_px, x, animal->n_px);
    return animal->conf.rate_grey + a * a + b * b;
}

/* Scale the unit's filters so that its preferred stimulus, best (made here), has the
 * rate asked for. */
static void set_gain(struct animal *animal, float *w, float *best)
{
    const struct animal_conf *conf = &animal->conf;
    int n_px = animal->n_px;
    memcpy(best, w, (size_t)n_px * sizeof *w);
    space_project(&conf->space, best);
    double a = dot(w, best, n_px), b = dot(w + n_px, best, n_px);
    double gain =
        conf->kind == ANIMAL_LN
            ? log(conf->rate_best / conf->rate_grey) / a
            : sqrt(fmax(conf->rate_best - conf->rate_grey, 0) / (a * a + b * b));
    for (int i = 0; i < 2 * n_px; i++)
        w[i] *= (float)gain;
}

struct animal *animal_init(void *mem, const struct animal_conf *conf, uint64_t seed)
{
    struct animal *animal = mem;
    struct random random;
    animal->conf = *conf;
    /* A cell that is silent at grey would need an infinite gain. */
    animal->conf.rate_grey = fmax(conf->rate_grey, 1e-3 * conf->rate_best);
    animal->n_px = conf->space.height * conf->space.width;
    random_init(&random, seed, 0);
    size_t n_px = (size_t)animal->n_px;
    float *w = animal->filters, *room = w + 2 * (size_t)conf->n_units * n_px;
    for (; w < room; w += 2 * n_px) {
        struct gabor gabor = draw_gabor(&conf->space, &random);
        draw_filter(&conf->space, &gabor, gabor.phase, w);
        draw_filter(&conf->space, &gabor, gabor.phase + M_PI / 2, w + n_px);
        set_gain(animal, w, room);
    }
    return animal;
}

const float *animal_filter(const struct animal *animal, int unit)
{
    return animal->filters + 2 * (size_t)unit * (size_t)animal->n_px;
}

void animal_rate(const struct animal *animal, const float *x, float *rate)
{
    for (int unit = 0; unit < animal->conf.n_units; unit++)
        rate[unit] = (float)unit_rate(animal, animal_filter(animal, unit), x);
}

void animal_respond(const struct animal *animal, const float *x, struct random *random,
                    float *count)
{
    animal_rate(animal, x, count);
    for (int unit = 0; unit < animal->conf.n_units; unit++)
        count[unit] = (float)random_poisson(random, (double)count[unit]);
}
