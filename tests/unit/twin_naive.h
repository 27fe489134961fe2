/*
 * twin_naive.h: a network of random architecture as PyTorch would hold it, and its rates
 * computed in double by the plainest loops: the oracle of test_twin.
 *
 * Flow:   naive_make() draws tensors and configuration -> naive_write() -> twin_open();
 *         naive_rates() gives the rates that the tensors' values mean.
 * Memory: heap until naive_free().
 */
#ifndef EVOKE_TWIN_NAIVE_H
#define EVOKE_TWIN_NAIVE_H

#include <stddef.h>

#include "models/random.h"

#define NAIVE_TENSORS 128
#define NAIVE_LAYERS  4

struct naive_tensor {
    char name[128];
    int n_dims, dims[4], trainable;
    size_t count;
    double *value; /* representable as float */
};

enum naive_norm { NAIVE_NO_NORM, NAIVE_NORM, NAIVE_SCALE, NAIVE_BIAS };

struct naive {
    int channels, height, width, n_layers;
    int hidden[NAIVE_LAYERS], kernel[NAIVE_LAYERS], pad[NAIVE_LAYERS];
    int stride, dilation, skip, pad_input, separable, conv_bias;
    unsigned stack;
    enum naive_norm norm;
    int act; /* 0 none, 1 ELU, 2 softplus */
    int act_last;
    double elu_x, elu_y, offset;
    int factorised, normalize, pool_steps, pool_kernel, align, predictor, tanh_last;
    int n_units, has_shift;
    float shift[2];
    int h, w, n_features; /* of the map that the readout sees */
    char config[2048];
    int n_tensors;
    struct naive_tensor tensor[NAIVE_TENSORS];
};

void naive_make(struct naive *net, struct random *random);
int naive_write(const struct naive *net, const char *path);
void naive_rates(const struct naive *net, const double *image, double *rate);
void naive_free(struct naive *net);

#endif
