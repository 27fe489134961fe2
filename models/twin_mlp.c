#include <math.h>
#include <string.h>

#include "models/twin_layout.h"

/* Activations of every layer for one input; [0] is the input. */
struct pass {
    int width[TWIN_MLP_LAYERS + 1];
    double value[TWIN_MLP_LAYERS + 1][TWIN_MLP_WIDTH];
};

static double activate(const struct twin_mlp *mlp, int l, double t)
{
    int last = l == mlp->n_layers - 1;
    if (last ? mlp->final_tanh : !mlp->elu)
        return tanh(t);
    return last || t > 0.0 ? t : expm1(t);
}

static double slope(const struct twin_mlp *mlp, int l, double y)
{
    int last = l == mlp->n_layers - 1;
    if (last ? mlp->final_tanh : !mlp->elu)
        return 1.0 - y * y;
    return last || y > 0.0 ? 1.0 : y + 1.0;
}

static void run(const struct twin *twin, const struct twin_mlp *mlp, const float *in,
                struct pass *pass)
{
    pass->width[0] = twin->param[mlp->weight[0]].dims[1];
    for (int l = 0; l < mlp->n_layers; l++) {
        const struct twin_param *param = &twin->param[mlp->weight[l]];
        const float *weight = twin->raw + param->offset;
        int n_in = param->dims[1], n_out = pass->width[l + 1] = param->dims[0];
        for (int o = 0; o < n_out; o++) {
            double sum =
                mlp->bias[l] < 0
                    ? 0.0
                    : (double)twin->raw[twin->param[mlp->bias[l]].offset + (size_t)o];
            for (int i = 0; i < n_in; i++)
                sum += (double)weight[(size_t)o * (size_t)n_in + (size_t)i] *
                       (l ? pass->value[l][i] : (double)in[i]);
            pass->value[l + 1][o] = activate(mlp, l, sum);
        }
    }
}

void twin_mlp_forward(const struct twin *twin, const struct twin_mlp *mlp,
                      const float *in, double out[2])
{
    struct pass pass;
    run(twin, mlp, in, &pass);
    out[0] = pass.value[mlp->n_layers][0];
    out[1] = pass.value[mlp->n_layers][1];
}

void twin_mlp_back(const struct twin *twin, const struct twin_mlp *mlp, const float *in,
                   const double out_grad[2], float *raw_grad)
{
    struct pass pass;
    double grad[TWIN_MLP_WIDTH] = {out_grad[0], out_grad[1]};
    run(twin, mlp, in, &pass);
    for (int l = mlp->n_layers - 1; l >= 0; l--) {
        const struct twin_param *param = &twin->param[mlp->weight[l]];
        const float *weight = twin->raw + param->offset;
        float *weight_grad = raw_grad + param->offset;
        int n_in = param->dims[1], n_out = param->dims[0];
        double below[TWIN_MLP_WIDTH] = {0};
        for (int o = 0; o < n_out; o++) {
            double g = grad[o] * slope(mlp, l, pass.value[l + 1][o]);
            for (int i = 0; i < n_in; i++) {
                size_t at = (size_t)o * (size_t)n_in + (size_t)i;
                double x = l ? pass.value[l][i] : (double)in[i];
                weight_grad[at] += (float)(g * x);
                if (l)
                    below[i] += g * (double)weight[at];
            }
            if (mlp->bias[l] >= 0)
                raw_grad[twin->param[mlp->bias[l]].offset + (size_t)o] += (float)g;
        }
        memcpy(grad, below, sizeof grad);
    }
}

void twin_shift(const struct twin *twin, const float *pupil, float shift[2])
{
    double out[2] = {0.0, 0.0};
    if (twin->shifter.n_layers > 0)
        twin_mlp_forward(twin, &twin->shifter, pupil, out);
    shift[0] = (float)out[0];
    shift[1] = (float)out[1];
}
