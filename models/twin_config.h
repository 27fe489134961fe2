/*
 * twin_config.h: what the tensors of a trained network do not say: the constructor
 * arguments that the neuralpredictors packages keep in a config.json.
 *
 * Flow:      JSON text -> twin_config_parse() -> struct twin_config -> twin_open().
 * Memory:    one flat struct, no heap after the call.
 * Errors:    total: any text gives a configuration or a reason that names the key.
 * Invariant: what parsed is within the TWIN_MAX_ limits and is computed exactly; an
 *            option that would change the numbers and is not known here is refused.
 */
#ifndef EVOKE_TWIN_CONFIG_H
#define EVOKE_TWIN_CONFIG_H

#include <stddef.h>

#define TWIN_MAX_LAYERS   16
#define TWIN_MAX_CHANNELS 4096
#define TWIN_MAX_KERNEL   64
#define TWIN_MAX_SIDE     4096 /* pixels */
#define TWIN_MAX_POOLS    8
#define TWIN_NAME         128 /* characters of a tensor's name */

enum twin_act { TWIN_LINEAR, TWIN_ELU, TWIN_SOFTPLUS };
enum twin_readout_kind { TWIN_POINT, TWIN_FACTORISED };

struct twin_config {
    /* core: Stacked2dCore, SE2dCore without squeeze-and-excite blocks */
    int channels, height, width; /* of the image */
    int n_layers;
    int hidden[TWIN_MAX_LAYERS]; /* channels */
    int kernel[TWIN_MAX_LAYERS];
    int padding[TWIN_MAX_LAYERS];
    int input_stride, hidden_dilation;
    int skip;            /* layer reads the last min(skip, l) outputs; 0, 1: the last */
    unsigned stack;      /* bit l: layer l's output goes to the readout */
    int depth_separable; /* layers >= 1 */
    enum twin_act act;
    int act_last; /* nonlinearity after the last layer */
    double elu_x, elu_y;
    double bn_eps;
    double gamma_input, gamma_hidden; /* regularisers, for training */

    /* readout */
    enum twin_readout_kind readout;
    int in_shape[3];             /* 0 where it was not said */
    int n_neurons;               /* 0 where it was not said */
    int pool_steps, pool_kernel; /* TWIN_POINT: 0 steps is the Gaussian readout */
    int align_corners;
    int predictor_tanh;  /* positions from the grid predictor end in tanh */
    int normalize;       /* TWIN_FACTORISED: masks have unit length */
    double feature_reg;  /* L1 */
    double elu_offset;   /* rate = ELU(readout + offset) + 1 */
    char key[TWIN_NAME]; /* session in the tensors' names; "" if not said */
};

/* [slow] 0, or -EINVAL and why. */
int twin_config_parse(struct twin_config *config, const char *json, size_t size,
                      char *why, size_t why_size);

#endif
