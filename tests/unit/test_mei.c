#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/mei.h"
#include "models/random.h"
#include "twin_naive.h"

#define N_NETS 12

static uint64_t seed;

/* A random network with a readout, and a start image. */
struct bench {
    struct naive naive;
    struct twin *twin;
    float *start;
    size_t n;
};

static struct bench open_bench(int index)
{
    struct bench bench;
    char path[] = "/tmp/test_mei_XXXXXX", why[256];
    struct random random;
    random_init(&random, seed, (uint64_t)index);
    naive_make(&bench.naive, &random);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(naive_write(&bench.naive, path), 0);
    bench.twin = twin_open(path, NULL, NULL, why, sizeof why);
    unlink(path);
    if (!bench.twin)
        fail_msg("%s", why);
    bench.n = (size_t)(bench.naive.channels * bench.naive.height * bench.naive.width);
    bench.start = malloc(4 * bench.n * sizeof *bench.start);
    for (size_t i = 0; i < 4 * bench.n; i++)
        bench.start[i] = (float)random_normal(&random);
    return bench;
}

static void close_bench(struct bench *bench)
{
    naive_free(&bench->naive);
    twin_close(bench->twin);
    free(bench->start);
}

static void *memory(size_t size)
{
    float *mem = aligned_alloc(64, (size + 63) / 64 * 64);
    for (size_t i = 0; i < size / sizeof *mem; i++)
        mem[i] = NAN;
    return mem;
}

static const struct mei_conf bold = {
    .n_members = 1,
    .n_images = 1,
    .rule = MEI_BOLD,
    .step = 1.0,
    .gradient_op = {{.kind = IMAGE_BLUR, .sigma_y = 0.7, .sigma_x = 0.7}},
    .image_op = {{.kind = IMAGE_NORM, .amount = 3.0}},
    .stop_gain = 1e-3,
    .stop_after = 5,
};

static double rate_of(const struct twin *twin, uint32_t unit, const float *image)
{
    struct twin_view view;
    float rate;
    twin_view_units(twin, NULL, &unit, 1, NULL, &view);
    void *work = memory(view.work_size + 64);
    twin_forward(twin, &view, work, image, &rate);
    free(work);
    return (double)rate;
}

static double norm_of(size_t n, const float *x)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void it_climbs_under_the_constraint_and_stops(void **state)
{
    (void)state;
    for (int net = 0; net < N_NETS; net++) {
        struct bench bench = open_bench(net);
        const uint32_t unit = 0;
        for (int sign = -1; sign <= 1; sign += 2) {
            const float weight = (float)sign;
            struct mei_member member = {bench.twin, NULL, &unit, &weight, 1};
            struct mei_conf conf = bold;
            conf.members = &member;
            void *mem = memory(mei_size(&conf));
            struct mei *mei = mei_init(mem, &conf, bench.start);
            double before = mei_objective(mei), best;
            int n = mei_run(mei, 1000, NULL, NULL);
            const float *image = mei_best(mei, &best);
            assert_true(n >= 5 && n < 1000);
            assert_true(best >= before);
            assert_true(fabs(norm_of(bench.n, image) - 3.0) < 1e-4);
            assert_true(fabs(rate_of(bench.twin, unit, image) * sign - best) <
                        1e-4 * (1.0 + fabs(best)));
            free(mem);
        }
        close_bench(&bench);
    }
}

/* The images of a search are those of many: nothing is shared, nothing is drawn. */
static void the_same_start_gives_the_same_bits(void **state)
{
    (void)state;
    for (int net = 0; net < N_NETS; net++) {
        struct bench bench = open_bench(net);
        const uint32_t unit = 0;
        const float weight = 1.0f;
        struct mei_member member = {bench.twin, NULL, &unit, &weight, 1};
        for (int rule = MEI_GRADIENT; rule <= MEI_BOLD; rule++) {
            struct mei_conf conf = bold;
            conf.members = &member;
            conf.rule = (enum mei_rule)rule;
            void *mem[2] = {memory(mei_size(&conf)), memory(mei_size(&conf))};
            struct mei *mei[2] = {mei_init(mem[0], &conf, bench.start),
                                  mei_init(mem[1], &conf, bench.start)};
            for (int i = 0; i < 10; i++)
                mei_step(mei[0]);
            for (int i = 0; i < 10; i++)
                mei_step(mei[1]);
            assert_memory_equal(mei_images(mei[0]), mei_images(mei[1]),
                                bench.n * sizeof(float));
            free(mem[0]);
            free(mem[1]);
        }
        close_bench(&bench);
    }
}

/* The objective is what it says: weighted units, mean of members, mean of images. */
static void members_and_images_are_averaged(void **state)
{
    (void)state;
    struct bench a = open_bench(1);
    const uint32_t units[3] = {0, 0, (uint32_t)a.naive.n_units - 1};
    const float weights[3] = {0.5f, -0.25f, 2.0f}, one = 1.0f;
    struct mei_member members[2] = {{a.twin, NULL, units, weights, 3},
                                    {a.twin, NULL, units, &one, 1}};
    struct mei_conf conf = {.members = members,
                            .n_members = 2,
                            .n_images = 3,
                            .rule = MEI_GRADIENT,
                            .step = 1e-3};
    void *mem = memory(mei_size(&conf));
    struct mei *mei = mei_init(mem, &conf, a.start);
    double want = 0.0;
    for (int i = 0; i < 3; i++) {
        const float *image = a.start + (size_t)i * a.n;
        want +=
            (1.25 * rate_of(a.twin, 0, image) + 2.0 * rate_of(a.twin, units[2], image)) /
            3.0;
    }
    assert_true(fabs(mei_objective(mei) - want) < 1e-4 * (1.0 + fabs(want)));
    double before = mei_step(mei);
    assert_true(fabs(before - want) < 1e-4 * (1.0 + fabs(want)));
    assert_true(mei_objective(mei) > before);
    free(mem);
    close_bench(&a);
}

/* One step of the plain rule is step * gradient of the mean over images. */
static void a_step_is_the_gradient(void **state)
{
    (void)state;
    for (int net = 0; net < N_NETS; net++) {
        struct bench bench = open_bench(net);
        const uint32_t units[2] = {0, (uint32_t)bench.naive.n_units - 1};
        const float weights[2] = {-2.0f, 0.5f}, halves[2] = {-1.0f, 0.25f};
        struct mei_member members[2] = {{bench.twin, NULL, units, weights, 2},
                                        {bench.twin, NULL, units, weights, 2}};
        struct mei_conf conf = {.members = members,
                                .n_members = 2,
                                .n_images = 2,
                                .rule = MEI_GRADIENT,
                                .step = 0.5};
        void *mem = memory(mei_size(&conf));
        struct mei *mei = mei_init(mem, &conf, bench.start);
        struct twin_view view;
        twin_view_units(bench.twin, NULL, units, 2, NULL, &view);
        void *work = memory(view.work_size + 64);
        float rate[2], *grad = malloc(bench.n * sizeof *grad);
        mei_step(mei);
        for (size_t i = 0; i < 2; i++) {
            const float *was = bench.start + i * bench.n,
                        *is = mei_images(mei) + i * bench.n;
            twin_forward(bench.twin, &view, work, was, rate);
            twin_backward(bench.twin, &view, work, NULL, halves, grad, NULL);
            for (size_t p = 0; p < bench.n; p++)
                assert_true(fabs((double)is[p] - (double)was[p] - (double)grad[p]) <
                            1e-5 * (1.0 + fabs((double)was[p])));
        }
        free(mem);
        free(work);
        free(grad);
        close_bench(&bench);
    }
}

/* Where the bold rule ends, the gradient points along the image (or is too small for the
 * rate to show it): no way up is left under
 * the constraint of its norm. */
static void the_bold_rule_ends_on_a_summit(void **state)
{
    (void)state;
    for (int net = 0; net < N_NETS; net++) {
        struct bench bench = open_bench(net);
        const uint32_t unit = 0;
        const float weight = 1.0f;
        struct mei_member member = {bench.twin, NULL, &unit, &weight, 1};
        struct mei_conf conf = bold;
        conf.members = &member;
        conf.gradient_op[0].kind = IMAGE_NOTHING;
        conf.stop_after = 0;
        conf.step = 4.0;
        void *mem = memory(mei_size(&conf));
        struct mei *mei = mei_init(mem, &conf, bench.start);
        mei_run(mei, 2000, NULL, NULL);
        struct twin_view view;
        double best, along = 0.0, slope = 0.0, across = 0.0;
        const float *image = mei_best(mei, &best);
        twin_view_units(bench.twin, NULL, &unit, 1, NULL, &view);
        void *work = memory(view.work_size + 64);
        float rate, *grad = malloc(bench.n * sizeof *grad);
        twin_forward(bench.twin, &view, work, image, &rate);
        twin_backward(bench.twin, &view, work, NULL, &weight, grad, NULL);
        for (size_t i = 0; i < bench.n; i++) {
            along += (double)grad[i] * (double)image[i] / 9.0;
            slope += (double)grad[i] * (double)grad[i];
        }
        for (size_t i = 0; i < bench.n; i++)
            across += pow((double)grad[i] - along * (double)image[i], 2.0);
        if (!(sqrt(across) <= 2e-2 * sqrt(slope) + 1e-4))
            fail_msg("net %d: gradient %g, of it along the sphere %g", net, sqrt(slope),
                     sqrt(across));
        free(mem);
        free(work);
        free(grad);
        close_bench(&bench);
    }
}

/* A step that leads down is taken again from where it began, half as long. */
static void a_step_down_is_halved(void **state)
{
    (void)state;
    int n_down = 0;
    for (int net = 0; n_down < 3 && net < 200; net++) {
        struct bench bench = open_bench(net);
        const uint32_t unit = 0;
        const float weight = net % 2 ? 1.0f : -1.0f;
        struct mei_member member = {bench.twin, NULL, &unit, &weight, 1};
        struct mei_conf conf = {.members = &member,
                                .n_members = 1,
                                .n_images = 1,
                                .rule = MEI_BOLD,
                                .step = 1000.0};
        void *mem = memory(mei_size(&conf));
        struct mei *mei = mei_init(mem, &conf, bench.start);
        float *first = malloc(bench.n * sizeof *first);
        double before = mei_step(mei);
        memcpy(first, mei_images(mei), bench.n * sizeof *first);
        if (mei_step(mei) < before) {
            n_down++;
            for (size_t i = 0; i < bench.n; i++) {
                double half = 0.5 * ((double)bench.start[i] + (double)first[i]);
                assert_true(fabs((double)mei_images(mei)[i] - half) <
                            1e-5 * (1.0 + fabs(half)));
            }
        }
        free(first);
        free(mem);
        close_bench(&bench);
    }
    assert_int_equal(n_down, 3);
}

/* A readout that no file holds: a draw from a posterior, or one that is being learned. */
static void other_readouts_are_searched_too(void **state)
{
    (void)state;
    int n_checked = 0;
    for (int net = 0; net < N_NETS; net++) {
        struct bench bench = open_bench(net);
        struct twin_readout own = bench.twin->readout;
        const uint32_t unit = 0;
        const float weight = 1.0f, bias = own.bias[0] - 1.0f;
        own.bias = &bias;
        own.n_units = 1;
        struct mei_member member = {bench.twin, &own, &unit, &weight, 1};
        struct mei_conf conf = bold;
        conf.members = &member;
        void *mem = memory(mei_size(&conf));
        struct mei *mei = mei_init(mem, &conf, bench.start);
        double lower = mei_objective(mei);
        assert_true(lower < rate_of(bench.twin, 0, mei_images(mei)));
        n_checked++;
        free(mem);
        close_bench(&bench);
    }
    assert_int_equal(n_checked, N_NETS);
}

static int count_down(void *left)
{
    return (*(int *)left)-- > 0;
}

static void a_deadline_ends_it_with_what_there_is(void **state)
{
    (void)state;
    struct bench bench = open_bench(0);
    const uint32_t unit = 0;
    const float weight = 1.0f;
    struct mei_member member = {bench.twin, NULL, &unit, &weight, 1};
    struct mei_conf conf = bold;
    conf.members = &member;
    conf.stop_after = 0;
    void *mem = memory(mei_size(&conf));
    struct mei *mei = mei_init(mem, &conf, bench.start);
    int left = 3;
    double best, now = mei_objective(mei);
    assert_int_equal(mei_run(mei, 100, count_down, &left), 3);
    mei_best(mei, &best);
    assert_true(best >= now);
    left = 0;
    assert_int_equal(mei_run(mei, 100, count_down, &left), 0);
    assert_int_equal(mei_run(mei, 7, NULL, NULL), 7);
    free(mem);
    close_bench(&bench);
}

static void bad_configurations_are_refused(void **state)
{
    (void)state;
    struct bench bench = open_bench(0);
    const uint32_t unit = 0, beyond = (uint32_t)bench.naive.n_units;
    const float weight = 1.0f;
    struct mei_member good = {bench.twin, NULL, &unit, &weight, 1};
    struct mei_member bad = {bench.twin, NULL, &beyond, &weight, 1};
    struct mei_member none = {bench.twin, NULL, NULL, &weight, 1};
    struct mei_conf conf = bold, other;
    conf.members = &good;
    assert_null(mei_check(&conf));
    other = conf;
    other.members = &bad;
    assert_non_null(mei_check(&other));
    other.members = &none;
    assert_non_null(mei_check(&other));
    other = conf;
    other.n_members = 0;
    assert_non_null(mei_check(&other));
    other = conf;
    other.n_images = 0;
    assert_non_null(mei_check(&other));
    other = conf;
    other.step = 0.0;
    assert_non_null(mei_check(&other));
    other = conf;
    other.image_op[0].amount = -1.0;
    assert_non_null(mei_check(&other));
    close_bench(&bench);
}

int main(void)
{
    seed = getenv("EVOKE_SEED") ? strtoull(getenv("EVOKE_SEED"), NULL, 0) : 1;
    printf("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_climbs_under_the_constraint_and_stops),
        cmocka_unit_test(the_same_start_gives_the_same_bits),
        cmocka_unit_test(members_and_images_are_averaged),
        cmocka_unit_test(a_step_is_the_gradient),
        cmocka_unit_test(the_bold_rule_ends_on_a_summit),
        cmocka_unit_test(a_step_down_is_halved),
        cmocka_unit_test(other_readouts_are_searched_too),
        cmocka_unit_test(a_deadline_ends_it_with_what_there_is),
        cmocka_unit_test(bad_configurations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
