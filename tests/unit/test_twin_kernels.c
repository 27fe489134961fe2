/* The inner loops, for every register width that this CPU has, against double loops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/random.h"
#include "models/twin_kernels.h"

#define N_ROUNDS 300
#define SENTINEL 12345.0f

static struct random dice;

static int between(int low, int high)
{
    return low + (int)random_below(&dice, (uint32_t)(high - low + 1));
}

/* n numbers and a sentinel: small whole ones, so that sums are exact in float. */
static float *numbers(size_t n)
{
    float *values = malloc((n + 1) * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)between(-4, 4);
    values[n] = SENTINEL;
    return values;
}

/* A convolution with all its arrays, out of the random generator. */
struct task {
    struct twin_conv job;
    float *in, *weight, *bias, *out, *grad;
    size_t n_weight, n_out;
};

static struct task draw(int depthwise)
{
    struct task t;
    struct twin_conv *job = &t.job;
    *job = (struct twin_conv){.kernel = between(1, 5),
                              .dilation = between(1, 2),
                              .stride = between(1, 2),
                              .out_h = between(1, 6),
                              .out_w = between(1, 21),
                              .row0 = between(-3, 3)};
    job->n_out = TWIN_LANES * between(1, 7);
    job->n_in = depthwise ? job->n_out : between(1, 9);
    job->in_pitch = job->n_in + (depthwise ? 0 : between(0, 1));
    job->in_h = between(1, 8);
    int in_w = (job->out_w - 1) * job->stride + (job->kernel - 1) * job->dilation + 1;
    job->in_row = (ptrdiff_t)in_w * job->in_pitch + between(0, 1);
    job->out_pitch = job->n_out;
    job->out_row = (ptrdiff_t)job->out_w * job->out_pitch + TWIN_LANES * between(0, 1);
    t.n_out = (size_t)job->out_row * (size_t)job->out_h;
    t.n_weight = (size_t)(job->kernel * job->kernel * job->n_out) *
                 (size_t)(depthwise ? 1 : job->n_in);
    job->in = t.in = numbers((size_t)job->in_row * (size_t)job->in_h);
    job->weight = t.weight = numbers(t.n_weight);
    t.bias = numbers((size_t)job->n_out);
    job->bias = between(0, 1) ? t.bias : NULL;
    job->out = t.out = numbers(t.n_out);
    t.grad = numbers(t.n_weight);
    return t;
}

static void drop(struct task *t)
{
    free(t->in);
    free(t->weight);
    free(t->bias);
    free(t->out);
    free(t->grad);
}

/* Calls visit for each product that belongs to the convolution. */
static void each_product(const struct twin_conv *job, int depthwise,
                         void (*visit)(const struct twin_conv *job, size_t in,
                                       size_t weight, size_t out, double *to),
                         double *to)
{
    int k = job->kernel;
    for (int y = 0; y < job->out_h; y++)
        for (int x = 0; x < job->out_w; x++)
            for (int tap = 0; tap < k * k; tap++) {
                int row = y * job->stride + job->row0 + tap / k * job->dilation;
                int column = x * job->stride + tap % k * job->dilation;
                if (row < 0 || row >= job->in_h)
                    continue;
                for (int o = 0; o < job->n_out; o++)
                    for (int i = 0; i < (depthwise ? 1 : job->n_in); i++) {
                        int in = depthwise ? o : i;
                        size_t w = depthwise
                                       ? (size_t)(tap * job->n_out + o)
                                       : (size_t)((tap * job->n_in + i) * job->n_out + o);
                        visit(job,
                              (size_t)(row * job->in_row + column * job->in_pitch + in),
                              w, (size_t)(y * job->out_row + x * job->out_pitch + o), to);
                    }
            }
}

static void add_out(const struct twin_conv *job, size_t in, size_t weight, size_t out,
                    double *to)
{
    to[out] += (double)job->in[in] * (double)job->weight[weight];
}

static void add_weight(const struct twin_conv *job, size_t in, size_t weight, size_t out,
                       double *to)
{
    to[weight] += (double)job->in[in] * (double)job->out[out];
}

static void start_from(const struct task *t, int depthwise, double *want)
{
    const struct twin_conv *job = &t->job;
    for (size_t i = 0; i < t->n_out; i++)
        want[i] = (double)t->out[i];
    for (int y = 0; y < job->out_h; y++)
        for (int x = 0; x < job->out_w * job->n_out; x++) {
            double *to = &want[(size_t)(y * job->out_row + x)];
            if (job->bias)
                *to = (double)job->bias[x % job->n_out];
            else if (depthwise)
                *to = 0.0;
        }
}

/* Whole numbers: every width must give the exact sums, and touch nothing else. */
static void convolutions_are_exact_sums(void **state)
{
    (void)state;
    for (int round = 0; round < N_ROUNDS; round++) {
        int depthwise = round % 2;
        struct task t = draw(depthwise);
        double *want = malloc(t.n_out * sizeof *want);
        float *was = malloc((t.n_out + 1) * sizeof *was);
        memcpy(was, t.out, (t.n_out + 1) * sizeof *was);
        start_from(&t, depthwise, want);
        each_product(&t.job, depthwise, add_out, want);
        const struct twin_kernels *kernels;
        for (int n = 0; (kernels = twin_kernels_nth(n)); n++) {
            memcpy(t.out, was, (t.n_out + 1) * sizeof *was);
            (depthwise ? kernels->depthwise : kernels->conv)(&t.job);
            for (size_t i = 0; i < t.n_out; i++)
                if ((double)t.out[i] != want[i])
                    fail_msg("%s, round %d, at %zu: %g, expected %g", kernels->name,
                             round, i, (double)t.out[i], want[i]);
            assert_true(t.out[t.n_out] == SENTINEL);
        }
        free(want);
        free(was);
        drop(&t);
    }
}

static void weight_gradients_are_exact_sums(void **state)
{
    (void)state;
    for (int round = 0; round < N_ROUNDS; round++) {
        int depthwise = round % 2;
        struct task t = draw(depthwise);
        double *want = malloc(t.n_weight * sizeof *want);
        float *was = malloc((t.n_weight + 1) * sizeof *was);
        memcpy(was, t.grad, (t.n_weight + 1) * sizeof *was);
        for (size_t i = 0; i < t.n_weight; i++)
            want[i] = (double)t.grad[i];
        each_product(&t.job, depthwise, add_weight, want);
        const struct twin_kernels *kernels;
        for (int n = 0; (kernels = twin_kernels_nth(n)); n++) {
            memcpy(t.grad, was, (t.n_weight + 1) * sizeof *was);
            (depthwise ? kernels->depthwise_grad : kernels->conv_grad)(&t.job, t.grad);
            for (size_t i = 0; i < t.n_weight; i++)
                if ((double)t.grad[i] != want[i])
                    fail_msg("%s, round %d, at %zu: %g, expected %g", kernels->name,
                             round, i, (double)t.grad[i], want[i]);
            assert_true(t.grad[t.n_weight] == SENTINEL);
        }
        free(want);
        free(was);
        drop(&t);
    }
}

static double by_the_book(enum twin_act act, double t, double *slope)
{
    *slope = 1.0;
    if (act == TWIN_LINEAR)
        return t;
    if (act == TWIN_ELU) {
        *slope = t > 0.0 ? 1.0 : exp(t);
        return t > 0.0 ? t : expm1(t);
    }
    *slope = 1.0 / (1.0 + exp(-t));
    return log1p(exp(-fabs(t))) + fmax(t, 0.0);
}

static void activations_and_slopes(void **state)
{
    (void)state;
    enum { N = 4096 };
    float x[N], y[N + 1], dy[N + 1];
    for (int i = 0; i < N; i++)
        x[i] = (float)(i < N / 2 ? 5.0 * random_normal(&dice)
                                 : ldexp(random_normal(&dice), between(-30, 6)));
    x[0] = -200.0f;
    x[1] = 200.0f;
    x[2] = 0.0f;
    const struct twin_kernels *kernels;
    for (int n = 0; (kernels = twin_kernels_nth(n)); n++)
        for (int act = TWIN_LINEAR; act <= TWIN_SOFTPLUS; act++) {
            double shift_x = act == TWIN_ELU ? 0.25 : 0.0;
            double shift_y = act == TWIN_ELU ? -0.5 : 0.0;
            memcpy(y, x, sizeof x);
            y[N] = dy[N] = SENTINEL;
            for (int i = 0; i < N; i++)
                dy[i] = 2.0f;
            kernels->act((enum twin_act)act, (float)shift_x, (float)shift_y, N, y);
            kernels->act_back((enum twin_act)act, (float)shift_y, N, y, dy);
            for (int i = 0; i < N; i++) {
                double slope, t = (double)x[i] - shift_x;
                double want = by_the_book((enum twin_act)act, t, &slope) + shift_y;
                if (!(fabs((double)y[i] - want) <= 3e-7 * (1.0 + fabs(want))))
                    fail_msg("%s: act %d of %g: %.9g, expected %.9g", kernels->name, act,
                             (double)x[i], (double)y[i], want);
                if (!(fabs((double)dy[i] / 2.0 - slope) <= 5e-7))
                    fail_msg("%s: slope of act %d at %g: %.9g, expected %.9g",
                             kernels->name, act, (double)x[i], (double)dy[i] / 2.0,
                             slope);
            }
            assert_true(y[N] == SENTINEL && dy[N] == SENTINEL);
        }
}

static void dots_and_sums(void **state)
{
    (void)state;
    const struct twin_kernels *kernels;
    for (int n = 0; (kernels = twin_kernels_nth(n)); n++)
        for (int size = TWIN_LANES; size <= 8 * TWIN_LANES; size += TWIN_LANES) {
            float *a = numbers((size_t)size), *b = numbers((size_t)size);
            double want = 0.0;
            for (int i = 0; i < size; i++)
                want += (double)a[i] * (double)b[i];
            assert_true((double)kernels->dot(size, a, b) == want);
            float *sum = numbers((size_t)size), *was = malloc((size_t)size * sizeof *was);
            memcpy(was, sum, (size_t)size * sizeof *was);
            kernels->add_scaled(size, 3.0f, a, sum);
            for (int i = 0; i < size; i++)
                assert_true(sum[i] == was[i] + 3.0f * a[i]);
            assert_true(sum[size] == SENTINEL);
            free(a);
            free(b);
            free(sum);
            free(was);
        }
    assert_ptr_equal(twin_kernels(), twin_kernels_nth(0));
    assert_null(twin_kernels_nth(-1));
}

int main(void)
{
    uint64_t seed = getenv("EVOKE_SEED") ? strtoull(getenv("EVOKE_SEED"), NULL, 0) : 1;
    printf("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    random_init(&dice, seed, 0);
    for (int n = 0; twin_kernels_nth(n); n++)
        printf("kernels: %s\n", twin_kernels_nth(n)->name);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_are_exact_sums),
        cmocka_unit_test(weight_gradients_are_exact_sums),
        cmocka_unit_test(activations_and_slopes),
        cmocka_unit_test(dots_and_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
