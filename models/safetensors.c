#include "models/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "protocol/log.h"

struct safetensors {
    void *bytes; /* owned, or NULL if the caller's */
    json_t *header;
    int n;
    struct safetensors_tensor *tensor; /* (n) by offset */
};

static const struct {
    const char *name;
    int size;
} dtypes[] = {
    {"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"U16", 2},     {"I16", 2},
    {"F16", 2},  {"BF16", 2}, {"U32", 4}, {"I32", 4},     {"F32", 4},
    {"U64", 8},  {"I64", 8},  {"F64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
};

struct reason {
    char *text;
    size_t size;
};

static int refuse(struct reason why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int refuse(struct reason why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why.text, why.size, format, args);
    va_end(args);
    return -EINVAL;
}

static int dtype_size(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return dtypes[i].size;
    return 0;
}

static int read_dims(struct safetensors_tensor *tensor, const json_t *shape,
                     struct reason why)
{
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_MAX_DIMS)
        return refuse(why, "%s: shape is no list of at most %d numbers", tensor->name,
                      SAFETENSORS_MAX_DIMS);
    tensor->n_dims = (int)json_array_size(shape);
    tensor->count = 1;
    for (int i = 0; i < tensor->n_dims; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        json_int_t value = json_integer_value(dim);
        if (!json_is_integer(dim) || value < 0)
            return refuse(why, "%s: dimension %d is no count", tensor->name, i);
        if (__builtin_mul_overflow(tensor->count, (size_t)value, &tensor->count))
            return refuse(why, "%s: shape is too large", tensor->name);
        tensor->dims[i] = value;
    }
    return 0;
}

static int read_tensor(struct safetensors_tensor *tensor, const json_t *entry,
                       const unsigned char *data, size_t data_size, struct reason why)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!dtype || dtype_size(dtype) == 0)
        return refuse(why, "%s: dtype %s is not known", tensor->name,
                      dtype ? dtype : "(none)");
    tensor->dtype = dtype;
    int rc = read_dims(tensor, json_object_get(entry, "shape"), why);
    if (rc)
        return rc;
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) ||
        !json_is_integer(last))
        return refuse(why, "%s: data_offsets are no two numbers", tensor->name);
    json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin || (size_t)end > data_size)
        return refuse(why, "%s: bytes %lld..%lld lie outside the file's %zu",
                      tensor->name, (long long)begin, (long long)end, data_size);
    tensor->size = (size_t)(end - begin);
    size_t expected;
    if (__builtin_mul_overflow(tensor->count, (size_t)dtype_size(dtype), &expected) ||
        expected != tensor->size)
        return refuse(why, "%s: shape and dtype do not make %zu bytes", tensor->name,
                      tensor->size);
    tensor->data = data + begin;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size);
}

/* The format wants the buffer used without overlap and without holes. */
static int check_cover(const struct safetensors *file, const unsigned char *data,
                       size_t data_size, struct reason why)
{
    const unsigned char *next = data;
    for (int i = 0; i < file->n; i++) {
        const struct safetensors_tensor *tensor = &file->tensor[i];
        if (tensor->data != next)
            return refuse(why, "%s: %s", tensor->name,
                          tensor->data < next ? "overlaps the tensor before it"
                                              : "bytes before it belong to no tensor");
        next += tensor->size;
    }
    if (next != data + data_size)
        return refuse(why, "%zu bytes after the last tensor belong to none",
                      (size_t)(data + data_size - next));
    return 0;
}

static int read_index(struct safetensors *file, const unsigned char *data,
                      size_t data_size, struct reason why)
{
    size_t n = json_object_size(file->header);
    if (n > SAFETENSORS_TENSORS_MAX)
        return refuse(why, "%zu tensors are more than %d", n, SAFETENSORS_TENSORS_MAX);
    file->tensor = calloc(n + 1, sizeof *file->tensor);
    if (!file->tensor)
        return refuse(why, "no memory for the index of %zu tensors", n);
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct safetensors_tensor *tensor = &file->tensor[file->n];
        tensor->name = name;
        int rc = read_tensor(tensor, entry, data, data_size, why);
        if (rc)
            return rc;
        file->n++;
    }
    qsort(file->tensor, (size_t)file->n, sizeof *file->tensor, by_offset);
    return check_cover(file, data, data_size, why);
}

static int parse(struct safetensors *file, const unsigned char *bytes, size_t size,
                 struct reason why)
{
    uint64_t header_size = 0;
    if (size < 8)
        return refuse(why, "too short for a safetensors file (%zu bytes)", size);
    for (int i = 7; i >= 0; i--)
        header_size = header_size << 8 | bytes[i];
    if (header_size > size - 8 || header_size > SAFETENSORS_HEADER_MAX)
        return refuse(why,
                      "header of %llu bytes does not fit in the file (%zu) or is "
                      "over %u",
                      (unsigned long long)header_size, size, SAFETENSORS_HEADER_MAX);
    json_error_t error;
    file->header = json_loadb((const char *)bytes + 8, (size_t)header_size,
                              JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(file->header))
        return refuse(why, "header is no JSON object: %s", error.text);
    return read_index(file, bytes + 8 + header_size, size - 8 - (size_t)header_size, why);
}

struct safetensors *safetensors_parse(const void *bytes, size_t size, char *why,
                                      size_t why_size)
{
    struct reason reason = {why, why_size};
    struct safetensors *file = calloc(1, sizeof *file);
    if (!file) {
        refuse(reason, "no memory");
        return NULL;
    }
    if (parse(file, bytes, size, reason)) {
        safetensors_close(file);
        return NULL;
    }
    return file;
}

static int read_all(int fd, unsigned char *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, bytes + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

struct safetensors *safetensors_open(const char *path, char *why, size_t why_size)
{
    struct reason reason = {why, why_size};
    struct safetensors *file = NULL;
    unsigned char *bytes = NULL;
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &stat) < 0) {
        refuse(reason, "%s", strerror(errno));
    } else if (!S_ISREG(stat.st_mode) || (size_t)stat.st_size > SAFETENSORS_FILE_MAX) {
        refuse(reason, "no regular file of at most %zu bytes", SAFETENSORS_FILE_MAX);
    } else if (!(bytes = malloc((size_t)stat.st_size + 1))) {
        refuse(reason, "no memory for %lld bytes", (long long)stat.st_size);
    } else if (read_all(fd, bytes, (size_t)stat.st_size) < 0) {
        refuse(reason, "could not be read whole");
    } else {
        file = safetensors_parse(bytes, (size_t)stat.st_size, why, why_size);
    }
    if (fd >= 0)
        close(fd);
    if (file)
        file->bytes = bytes;
    else
        free(bytes);
    return file;
}

void safetensors_close(struct safetensors *file)
{
    if (!file)
        return;
    json_decref(file->header);
    free(file->tensor);
    free(file->bytes);
    free(file);
}

int safetensors_count(const struct safetensors *file)
{
    return file->n;
}

const struct safetensors_tensor *safetensors_at(const struct safetensors *file, int i)
{
    CHECK(i >= 0 && i < file->n);
    return &file->tensor[i];
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *file,
                                                  const char *name)
{
    for (int i = 0; i < file->n; i++)
        if (strcmp(file->tensor[i].name, name) == 0)
            return &file->tensor[i];
    return NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    const json_t *metadata = json_object_get(file->header, "__metadata__");
    return json_string_value(json_object_get(metadata, key));
}

static uint64_t little_endian(const unsigned char *bytes, int n)
{
    uint64_t value = 0;
    for (int i = n - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

int safetensors_floats(const struct safetensors_tensor *tensor, float *out)
{
    int is_double = strcmp(tensor->dtype, "F64") == 0;
    if (!is_double && strcmp(tensor->dtype, "F32") != 0)
        return -ENOTSUP;
    int width = is_double ? 8 : 4;
    for (size_t i = 0; i < tensor->count; i++) {
        uint64_t raw = little_endian(tensor->data + i * (size_t)width, width);
        if (is_double) {
            double value;
            memcpy(&value, &raw, sizeof value);
            out[i] = (float)value;
        } else {
            uint32_t low = (uint32_t)raw;
            memcpy(&out[i], &low, sizeof low);
        }
        if (!isfinite(out[i]))
            return -EDOM;
    }
    return 0;
}

static json_t *make_header(const struct safetensors_tensor *tensors, int n,
                           const char *const (*metadata)[2], int n_metadata)
{
    json_t *header = json_object();
    if (n_metadata > 0) {
        json_t *pairs = json_object();
        for (int i = 0; i < n_metadata; i++)
            json_object_set_new(pairs, metadata[i][0], json_string(metadata[i][1]));
        json_object_set_new(header, "__metadata__", pairs);
    }
    json_int_t offset = 0;
    for (int i = 0; i < n; i++) {
        json_t *shape = json_array();
        for (int d = 0; d < tensors[i].n_dims; d++)
            json_array_append_new(shape, json_integer(tensors[i].dims[d]));
        json_int_t end = offset + (json_int_t)tensors[i].count * 4;
        json_object_set_new(header, tensors[i].name,
                            json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F32", "shape",
                                      shape, "data_offsets", offset, end));
        offset = end;
    }
    return header;
}

static int write_tensors(FILE *out, const char *header,
                         const struct safetensors_tensor *tensors, int n)
{
    size_t length = strlen(header), padded = (length + 7) / 8 * 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)(padded >> (8 * i));
    fwrite(size, 1, 8, out);
    fprintf(out, "%s%*s", header, (int)(padded - length), "");
    for (int i = 0; i < n; i++)
        fwrite(tensors[i].data, 4, tensors[i].count, out);
    if (fflush(out) != 0 || ferror(out) || fsync(fileno(out)) != 0)
        return errno ? -errno : -EIO;
    return 0;
}

int safetensors_write(const char *path, const struct safetensors_tensor *tensors, int n,
                      const char *const (*metadata)[2], int n_metadata)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
        return -ENAMETOOLONG;
    json_t *object = make_header(tensors, n, metadata, n_metadata);
    char *header = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (!header)
        return -ENOMEM;
    errno = 0;
    FILE *out = fopen(part, "wbe");
    int rc = out ? write_tensors(out, header, tensors, n) : -errno;
    free(header);
    if (out && fclose(out) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(part, path) != 0)
        rc = -errno;
    if (rc)
        unlink(part);
    return rc;
}
