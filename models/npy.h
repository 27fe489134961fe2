/*
 * npy.h: arrays of numbers as .npy files (NumPy's format, versions 1 to 3).
 *
 * Flow:      bytes or a file -> struct npy, numbers read with npy_get() or
 *            npy_floats(); an array in memory -> a file.
 * Owner:     whoever opened it. Memory: npy_parse() borrows the bytes; npy_open() owns
 *            a copy of the file until npy_close().
 * Errors:    total: any byte string gives an array or a reason in words.
 * Invariant: little-endian and C order only; the data are as long as the shape says.
 */
#ifndef EVOKE_NPY_H
#define EVOKE_NPY_H

#include <stddef.h>

#define NPY_DIMS_MAX 8

enum npy_type {
    NPY_B1 = 1,
    NPY_U1,
    NPY_I1,
    NPY_U2,
    NPY_I2,
    NPY_I4,
    NPY_I8,
    NPY_F4,
    NPY_F8,
    NPY_TYPE_END
};

struct npy {
    enum npy_type type;
    int n_dims; /* 0: a single number */
    size_t shape[NPY_DIMS_MAX];
    size_t n;         /* numbers in all */
    const void *data; /* not aligned */
    void *file;       /* owned copy of the file, NULL if borrowed */
};

/* [any] The array in these bytes: NULL, or why it is none. */
const char *npy_parse(struct npy *npy, const void *bytes, size_t size);

/* [slow] The array in this file: NULL, or why not (text of errno included). */
const char *npy_open(struct npy *npy, const char *path);
void npy_close(struct npy *npy);

/* [any] Bytes of one number. */
size_t npy_type_size(enum npy_type type);

/* [any] Number i (row-major), i < n. */
double npy_get(const struct npy *npy, size_t i);

/* [any] Numbers first..first+n-1 as floats. */
void npy_floats(const struct npy *npy, size_t first, size_t n, float *out);

/* [slow] Write an array of f4 or u1 (version 1.0): 0 or -errno. */
int npy_write(const char *path, enum npy_type type, int n_dims, const size_t *shape,
              const void *data);

#endif
