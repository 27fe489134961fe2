#include "models/npy.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "protocol/log.h"

static const struct {
    const char *descr;
    size_t size;
} types[NPY_TYPE_END] = {
    [NPY_B1] = {"|b1", 1}, [NPY_U1] = {"|u1", 1}, [NPY_I1] = {"|i1", 1},
    [NPY_U2] = {"<u2", 2}, [NPY_I2] = {"<i2", 2}, [NPY_I4] = {"<i4", 4},
    [NPY_I8] = {"<i8", 8}, [NPY_F4] = {"<f4", 4}, [NPY_F8] = {"<f8", 8},
};

/* The header is a Python dictionary literal; this walks it. */
struct text {
    const char *at, *end;
};

static void skip_space(struct text *text)
{
    while (text->at < text->end && strchr(" \t\r\n", *text->at) && *text->at)
        text->at++;
}

static int take(struct text *text, char c)
{
    skip_space(text);
    if (text->at == text->end || *text->at != c)
        return 0;
    text->at++;
    return 1;
}

/* A quoted string without escapes; its bytes are [*begin, *begin + *n). */
static int take_string(struct text *text, const char **begin, size_t *n)
{
    skip_space(text);
    if (text->at == text->end || (*text->at != '\'' && *text->at != '"'))
        return 0;
    char quote = *text->at++;
    const char *close = memchr(text->at, quote, (size_t)(text->end - text->at));
    if (!close)
        return 0;
    *begin = text->at;
    *n = (size_t)(close - text->at);
    text->at = close + 1;
    return 1;
}

static int take_word(struct text *text, const char *word)
{
    skip_space(text);
    size_t n = strlen(word);
    if ((size_t)(text->end - text->at) < n || memcmp(text->at, word, n) != 0)
        return 0;
    text->at += n;
    return 1;
}

static int take_size(struct text *text, size_t *value)
{
    skip_space(text);
    const char *begin = text->at;
    *value = 0;
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++) {
        if (__builtin_mul_overflow(*value, (size_t)10, value) ||
            __builtin_add_overflow(*value, (size_t)(*text->at - '0'), value))
            return 0;
    }
    return text->at > begin;
}

static const char *take_type(struct text *text, struct npy *npy)
{
    const char *name;
    size_t n;
    if (!take_string(text, &name, &n))
        return "its header has no simple number type";
    for (int t = NPY_B1; t < NPY_TYPE_END; t++) {
        if (n == 3 && memcmp(name, types[t].descr, 3) == 0)
            npy->type = (enum npy_type)t;
    }
    return npy->type ? NULL
                     : "its number type is not one of b1 u1 i1 u2 i2 i4 i8 f4 f8, "
                       "little-endian";
}

static const char *take_shape(struct text *text, struct npy *npy)
{
    if (!take(text, '('))
        return "its header has no shape";
    npy->n_dims = 0;
    npy->n = 1;
    while (!take(text, ')')) {
        if (npy->n_dims == NPY_DIMS_MAX)
            return "it has more dimensions than 8";
        size_t *dim = &npy->shape[npy->n_dims++];
        if (!take_size(text, dim))
            return "its shape is not made of sizes";
        if (__builtin_mul_overflow(npy->n, *dim, &npy->n))
            return "its shape is absurdly large";
        if (!take(text, ',') && (text->at == text->end || *text->at != ')'))
            return "its shape does not end";
    }
    return NULL;
}

static const char *take_header(struct text *text, struct npy *npy)
{
    int has_order = 0, has_shape = 0;
    if (!take(text, '{'))
        return "its header is no dictionary";
    while (!take(text, '}')) {
        const char *key, *why = NULL;
        size_t n;
        if (!take_string(text, &key, &n) || !take(text, ':'))
            return "its header is no dictionary";
        if (n == 5 && memcmp(key, "descr", 5) == 0) {
            why = take_type(text, npy);
        } else if (n == 13 && memcmp(key, "fortran_order", 13) == 0) {
            has_order = take_word(text, "False");
            if (!has_order)
                why = "it is in Fortran order; write it in C order";
        } else if (n == 5 && memcmp(key, "shape", 5) == 0) {
            has_shape = 1;
            why = take_shape(text, npy);
        } else {
            why = "its header has an unknown key";
        }
        if (why)
            return why;
        if (!take(text, ',') && (text->at == text->end || *text->at != '}'))
            return "its header does not end";
    }
    return has_order && has_shape && npy->type ? NULL : "its header lacks a key";
}

const char *npy_parse(struct npy *npy, const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    memset(npy, 0, sizeof *npy);
    if (size < 10 || memcmp(b, "\x93NUMPY", 6) != 0)
        return "it is no .npy file";
    if (b[6] < 1 || b[6] > 3)
        return "its .npy version is unknown";
    size_t begin = b[6] == 1 ? 10 : 12;
    if (size < begin)
        return "it ends inside its header";
    size_t n_header = b[8] | (size_t)b[9] << 8;
    if (b[6] > 1)
        n_header |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (n_header > size - begin)
        return "it ends inside its header";
    struct text text = {(const char *)b + begin, (const char *)b + begin + n_header};
    const char *why = take_header(&text, npy);
    if (why)
        return why;
    size_t n_bytes;
    if (__builtin_mul_overflow(npy->n, types[npy->type].size, &n_bytes))
        return "its shape is absurdly large";
    if (n_bytes != size - begin - n_header)
        return "its data are not as long as its shape says";
    npy->data = b + begin + n_header;
    return NULL;
}

static const char *read_file(FILE *file, void **bytes, size_t *size)
{
    struct stat status;
    if (fstat(fileno(file), &status) != 0)
        return strerror(errno);
    if (!S_ISREG(status.st_mode))
        return "it is no regular file";
    *size = (size_t)status.st_size;
    *bytes = malloc(*size + 1);
    if (!*bytes)
        return strerror(ENOMEM);
    return fread(*bytes, 1, *size, file) == *size ? NULL : "it cannot be read";
}

const char *npy_open(struct npy *npy, const char *path)
{
    memset(npy, 0, sizeof *npy);
    FILE *file = fopen(path, "rb");
    if (!file)
        return strerror(errno);
    void *bytes = NULL;
    size_t size = 0;
    const char *why = read_file(file, &bytes, &size);
    fclose(file);
    if (!why)
        why = npy_parse(npy, bytes, size);
    if (why)
        free(bytes);
    else
        npy->file = bytes;
    return why;
}

void npy_close(struct npy *npy)
{
    if (npy)
        free(npy->file);
}

size_t npy_type_size(enum npy_type type)
{
    return types[type].size;
}

#define LOAD(type)                                                                       \
    type v;                                                                              \
    memcpy(&v, at, sizeof v);                                                            \
    return (double)v

double npy_get(const struct npy *npy, size_t i)
{
    const unsigned char *at =
        (const unsigned char *)npy->data + i * types[npy->type].size;
    switch (npy->type) {
    case NPY_B1:
        return *at != 0;
    case NPY_U1:
        return *at;
    case NPY_I1: {
        LOAD(int8_t);
    }
    case NPY_U2: {
        LOAD(uint16_t);
    }
    case NPY_I2: {
        LOAD(int16_t);
    }
    case NPY_I4: {
        LOAD(int32_t);
    }
    case NPY_I8: {
        LOAD(int64_t);
    }
    case NPY_F4: {
        LOAD(float);
    }
    case NPY_F8: {
        LOAD(double);
    }
    case NPY_TYPE_END:
        break;
    }
    CHECK(!"a type of struct npy");
    return 0.0;
}

void npy_floats(const struct npy *npy, size_t first, size_t n, float *out)
{
    CHECK(first <= npy->n && n <= npy->n - first);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)npy_get(npy, first + i);
}

int npy_write(const char *path, enum npy_type type, int n_dims, const size_t *shape,
              const void *data)
{
    CHECK((type == NPY_F4 || type == NPY_U1) && n_dims >= 0 && n_dims <= NPY_DIMS_MAX);
    char head[10 + 310];
    size_t n = 1;
    int at = 10 + snprintf(head + 10, sizeof head - 10,
                           "{'descr': '%s', 'fortran_order': False, 'shape': (",
                           types[type].descr);
    for (int d = 0; d < n_dims; d++) {
        at += snprintf(head + at, sizeof head - (size_t)at, "%zu,%s", shape[d],
                       d + 1 < n_dims ? " " : "");
        n *= shape[d];
    }
    at += snprintf(head + at, sizeof head - (size_t)at, "), }");
    while (at % 64 != 63)
        head[at++] = ' ';
    head[at++] = '\n';
    memcpy(head, "\x93NUMPY\x01\x00", 8);
    head[8] = (char)((at - 10) & 255);
    head[9] = (char)((at - 10) >> 8);

    FILE *file = fopen(path, "wb");
    if (!file)
        return -errno;
    size_t n_bytes = n * types[type].size;
    int bad = fwrite(head, 1, (size_t)at, file) != (size_t)at ||
              fwrite(data, 1, n_bytes, file) != n_bytes;
    bad |= fclose(file) != 0;
    return bad ? (errno ? -errno : -EIO) : 0;
}
