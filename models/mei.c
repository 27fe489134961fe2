#include "models/mei.h"

#include <math.h>
#include <string.h>

#include "protocol/log.h"
#include "protocol/memory.h"

struct mei {
    const struct mei_conf *conf;
    struct image_shape shape;
    size_t n;      /* pixels of one image */
    int iteration; /* steps done */
    double step;
    double best_objective, old_objective; /* now, and stop_after steps ago */
    int n_waited;                         /* steps since old_objective */
    struct twin_view view[MEI_MAX_MEMBERS];
    float *image, *best;  /* (n_images, n) */
    float *grad;          /* (n_images, n) */
    float *member_grad;   /* (n) */
    float *best_grad;     /* MEI_BOLD: (n_images, n), at best, operators applied */
    float *mean, *square; /* MEI_ADAM: (n_images, n) */
    float *rate, *rate_grad;
    void *work, *op_work;
};

static const struct twin *first_twin(const struct mei_conf *conf)
{
    return conf->members[0].twin;
}

static struct image_shape shape_of(const struct mei_conf *conf)
{
    const struct twin_config *config = &first_twin(conf)->config;
    return (struct image_shape){config->channels, config->height, config->width};
}

static const char *check_member(const struct mei_conf *conf,
                                const struct mei_member *member)
{
    if (!member->twin || !member->units || !member->weights || member->n_units < 1)
        return "a member lacks its network or its units";
    struct image_shape shape = shape_of(conf);
    const struct twin_config *config = &member->twin->config;
    if (config->channels != shape.n_channels || config->height != shape.height ||
        config->width != shape.width)
        return "members must see images of one size";
    int n_units =
        member->readout ? member->readout->n_units : member->twin->readout.n_units;
    for (int i = 0; i < member->n_units; i++)
        if (member->units[i] >= (uint32_t)n_units)
            return "a unit is not in the readout";
    return NULL;
}

const char *mei_check(const struct mei_conf *conf)
{
    if (conf->n_members < 1 || conf->n_members > MEI_MAX_MEMBERS)
        return "there must be 1 to 32 members";
    for (int m = 0; m < conf->n_members; m++) {
        const char *why = check_member(conf, &conf->members[m]);
        if (why)
            return why;
    }
    for (int i = 0; i < MEI_MAX_OPS; i++) {
        const char *why = image_op_check(&conf->gradient_op[i]);
        why = why ? why : image_op_check(&conf->image_op[i]);
        if (why)
            return why;
    }
    if (conf->n_images < 1 || conf->n_images > 1024)
        return "there must be 1 to 1024 images";
    if (!(conf->step > 0.0 && conf->step < 1e30))
        return "step must be above 0";
    if (conf->stop_after < 0 || !(conf->stop_gain >= 0.0))
        return "stop_after and stop_gain must not be negative";
    if (conf->penalty.kind == MEI_P_NORM && !(conf->penalty.p >= 1.0))
        return "the penalty's p must be at least 1";
    return NULL;
}

/* Lay out everything; mem NULL: only the size. */
static size_t lay_out(struct mei *mei, const struct mei_conf *conf, void *mem)
{
    struct memory memory = {mem, 0};
    struct image_shape shape = shape_of(conf);
    size_t n = (size_t)shape.n_channels * (size_t)shape.height * (size_t)shape.width;
    size_t n_all = (size_t)conf->n_images * n, units = 0, work = 0;
    memory_take(&memory, 1, sizeof *mei);
    for (int m = 0; m < conf->n_members; m++) {
        const struct mei_member *member = &conf->members[m];
        twin_view_units(member->twin, member->readout, member->units, member->n_units,
                        NULL, &mei->view[m]);
        work = mei->view[m].work_size > work ? mei->view[m].work_size : work;
        units = (size_t)member->n_units > units ? (size_t)member->n_units : units;
    }
    mei->image = memory_take(&memory, n_all, sizeof(float));
    mei->best = memory_take(&memory, n_all, sizeof(float));
    mei->grad = memory_take(&memory, n_all, sizeof(float));
    mei->member_grad = memory_take(&memory, n, sizeof(float));
    mei->best_grad =
        memory_take(&memory, conf->rule == MEI_BOLD ? n_all : 0, sizeof(float));
    mei->mean = memory_take(&memory, conf->rule == MEI_ADAM ? n_all : 0, sizeof(float));
    mei->square = memory_take(&memory, conf->rule == MEI_ADAM ? n_all : 0, sizeof(float));
    mei->rate = memory_take(&memory, units, sizeof(float));
    mei->rate_grad = memory_take(&memory, units, sizeof(float));
    mei->work = memory_take(&memory, 1, work);
    mei->op_work = memory_take(&memory, 1, image_work_size(&shape));
    mei->shape = shape;
    mei->n = n;
    return memory.size;
}

size_t mei_size(const struct mei_conf *conf)
{
    struct mei measured;
    return lay_out(&measured, conf, NULL);
}

static void apply(struct mei *mei, const struct image_op *ops, float *x,
                  struct image_support *support)
{
    for (int i = 0; i < MEI_MAX_OPS && ops[i].kind != IMAGE_NOTHING; i++)
        image_op_apply(&ops[i], &mei->shape, mei->conf->first_iteration + mei->iteration,
                       support, x, mei->op_work);
}

struct mei *mei_init(void *mem, const struct mei_conf *conf, const float *start)
{
    CHECK(mei_check(conf) == NULL);
    struct mei *mei = mem;
    memset(mei, 0, sizeof *mei);
    lay_out(mei, conf, mem);
    mei->conf = conf;
    mei->step = conf->step;
    mei->best_objective = mei->old_objective = -HUGE_VAL;
    size_t size = (size_t)conf->n_images * mei->n * sizeof(float);
    memcpy(mei->image, start, size);
    for (int i = 0; conf->rule == MEI_BOLD && i < conf->n_images; i++) {
        struct image_support whole = {0, 0, mei->shape.height, mei->shape.width};
        apply(mei, conf->image_op, mei->image + (size_t)i * mei->n, &whole);
    }
    memcpy(mei->best, mei->image, size);
    if (conf->rule == MEI_ADAM) {
        memset(mei->mean, 0, size);
        memset(mei->square, 0, size);
    }
    return mei;
}

static struct image_support support_of(struct twin_window window)
{
    return (struct image_support){window.y, window.x, window.h, window.w};
}

static struct image_support join(struct image_support a, struct twin_window b)
{
    int bottom = a.y + a.h > b.y + b.h ? a.y + a.h : b.y + b.h;
    int right = a.x + a.w > b.x + b.w ? a.x + a.w : b.x + b.w;
    a.y = a.y < b.y ? a.y : b.y;
    a.x = a.x < b.x ? a.x : b.x;
    a.h = bottom - a.y;
    a.w = right - a.x;
    return a;
}

/* Objective of one image; its gradient to grad unless NULL, zero outside *support. */
static double ascend(struct mei *mei, const float *image, float *grad,
                     struct image_support *support)
{
    const struct mei_conf *conf = mei->conf;
    double sum = 0.0;
    *support = support_of(mei->view[0].image);
    for (int m = 0; m < conf->n_members; m++) {
        const struct mei_member *member = &conf->members[m];
        const struct twin_view *view = &mei->view[m];
        twin_forward(member->twin, view, mei->work, image, mei->rate);
        for (int i = 0; i < member->n_units; i++) {
            sum += (double)member->weights[i] * (double)mei->rate[i];
            mei->rate_grad[i] = member->weights[i] / (float)conf->n_images;
        }
        if (!grad)
            continue;
        twin_backward(member->twin, view, mei->work, NULL, mei->rate_grad,
                      m ? mei->member_grad : grad, NULL);
        for (size_t i = 0; m && i < mei->n; i++)
            grad[i] += mei->member_grad[i];
        *support = join(*support, view->image);
    }
    return sum;
}

/* The penalty on all images; its gradient is taken from grad unless NULL. */
static double penalise(struct mei *mei, float *grad)
{
    const struct mei_conf *conf = mei->conf;
    double weight = conf->penalty.weight, each = weight / conf->n_images, sum = 0.0;
    float *to = grad ? grad : mei->grad;
    if (conf->penalty.kind == MEI_SIMILARITY)
        return weight * image_similarity(conf->n_images, mei->n, mei->image,
                                         grad ? -weight : 0.0, to);
    for (int i = 0; i < conf->n_images; i++) {
        const float *image = mei->image + (size_t)i * mei->n;
        float *image_grad = to + (size_t)i * mei->n;
        double down = grad ? -each : 0.0;
        if (conf->penalty.kind == MEI_P_NORM)
            sum += image_p_norm(mei->n, image, conf->penalty.p, down, image_grad);
        else
            sum += image_total_variation(&mei->shape, image, down, image_grad);
    }
    return each * sum;
}

static void adam(struct mei *mei, size_t at, const float *grad)
{
    const double b1 = 0.9, b2 = 0.999, eps = 1e-8;
    int t = mei->iteration + 1;
    double c1 = 1.0 - pow(b1, t), c2 = 1.0 - pow(b2, t);
    for (size_t i = 0; i < mei->n; i++) {
        double g = (double)grad[i], m = (double)mei->mean[at + i];
        double v = (double)mei->square[at + i];
        m = b1 * m + (1.0 - b1) * g;
        v = b2 * v + (1.0 - b2) * g * g;
        mei->mean[at + i] = (float)m;
        mei->square[at + i] = (float)v;
        mei->image[at + i] += (float)(mei->step / c1 * m / (sqrt(v / c2) + eps));
    }
}

static double length(size_t n, const float *x)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void move(struct mei *mei, size_t at, const float *grad,
                 struct image_support support)
{
    double step = mei->step;
    if (mei->conf->rule == MEI_ADAM) {
        adam(mei, at, grad);
        return;
    }
    if (mei->conf->rule == MEI_BOLD) {
        double slope = length(mei->n, grad);
        step *= slope > 0.0 ? length(mei->n, mei->image + at) / slope : 0.0;
    }
    float scale = (float)step;
    int rows = mei->shape.height, width = mei->shape.width;
    for (int c = 0; c < mei->shape.n_channels; c++)
        for (int y = support.y; y < support.y + support.h; y++) {
            size_t row = ((size_t)c * (size_t)rows + (size_t)y) * (size_t)width;
            float *restrict x = mei->image + at + row;
            const float *restrict g = grad + row;
            for (int i = support.x; i < support.x + support.w; i++)
                x[i] += scale * g[i];
        }
}

/* Keep what is best so far; 1 if this is. The start need not obey the constraints. */
static int keep_best(struct mei *mei, double objective)
{
    int is_start = mei->iteration == 0 && mei->conf->rule != MEI_BOLD;
    if (is_start || !(objective > mei->best_objective))
        return 0;
    mei->best_objective = objective;
    memcpy(mei->best, mei->image, (size_t)mei->conf->n_images * mei->n * sizeof(float));
    return 1;
}

/* MEI_BOLD: from where the best images were, half as far. */
static void step_back(struct mei *mei)
{
    size_t size = (size_t)mei->conf->n_images * mei->n * sizeof(float);
    mei->step *= 0.5;
    memcpy(mei->image, mei->best, size);
    memcpy(mei->grad, mei->best_grad, size);
}

/* Objective and gradient of all images as they are. */
static double look(struct mei *mei, struct image_support *support)
{
    const struct mei_conf *conf = mei->conf;
    double objective = 0.0;
    for (int i = 0; i < conf->n_images; i++)
        objective += ascend(mei, mei->image + (size_t)i * mei->n,
                            mei->grad + (size_t)i * mei->n, support) /
                     conf->n_images;
    if (conf->penalty.kind != MEI_NO_PENALTY) {
        objective -= penalise(mei, mei->grad);
        *support = (struct image_support){0, 0, mei->shape.height, mei->shape.width};
    }
    return objective;
}

double mei_step(struct mei *mei)
{
    const struct mei_conf *conf = mei->conf;
    struct image_support support, whole = {0, 0, mei->shape.height, mei->shape.width};
    double objective = look(mei, &support);
    int is_best = keep_best(mei, objective);
    if (conf->rule == MEI_BOLD && is_best)
        mei->step = fmin(2.0 * mei->step, conf->step);
    if (conf->rule == MEI_BOLD && !is_best) {
        step_back(mei);
        support = whole;
    }
    for (int i = 0; i < conf->n_images; i++) {
        size_t at = (size_t)i * mei->n;
        struct image_support spread = support;
        if (conf->rule != MEI_BOLD || is_best)
            apply(mei, conf->gradient_op, mei->grad + at, &spread);
        if (conf->rule == MEI_BOLD && is_best)
            memcpy(mei->best_grad + at, mei->grad + at, mei->n * sizeof(float));
        move(mei, at, mei->grad + at, spread);
        spread = whole;
        apply(mei, conf->image_op, mei->image + at, &spread);
    }
    mei->iteration++;
    return objective;
}

/* Whether the last stop_after steps were hardly worth it. */
static int has_settled(struct mei *mei)
{
    const struct mei_conf *conf = mei->conf;
    if (conf->stop_after == 0 || ++mei->n_waited < conf->stop_after)
        return 0;
    double gain = mei->best_objective - mei->old_objective;
    mei->n_waited = 0;
    mei->old_objective = mei->best_objective;
    return gain <= conf->stop_gain * fabs(mei->best_objective);
}

int mei_run(struct mei *mei, int max_steps, int (*go_on)(void *arg), void *arg)
{
    int n = 0;
    while (n < max_steps && (!go_on || go_on(arg))) {
        mei_step(mei);
        n++;
        if (has_settled(mei))
            break;
    }
    keep_best(mei, mei_objective(mei));
    return n;
}

const float *mei_images(const struct mei *mei)
{
    return mei->image;
}

double mei_objective(struct mei *mei)
{
    struct image_support support;
    double objective = 0.0;
    for (int i = 0; i < mei->conf->n_images; i++)
        objective += ascend(mei, mei->image + (size_t)i * mei->n, NULL, &support) /
                     mei->conf->n_images;
    if (mei->conf->penalty.kind != MEI_NO_PENALTY)
        objective -= penalise(mei, NULL);
    return objective;
}

const float *mei_best(const struct mei *mei, double *objective)
{
    *objective = mei->best_objective;
    return mei->best;
}
