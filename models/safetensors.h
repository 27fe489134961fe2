/*
 * safetensors.h: named tensors in one file, the format in which PyTorch users hand
 * models around (huggingface/safetensors: u64 header length, JSON header, raw bytes).
 *
 * Flow:      file -> safetensors_open() -> safetensors_find(), safetensors_floats();
 *            tensors in memory -> safetensors_write() -> file.
 * Memory:    the file and its index on the heap, from open to close. Sizes are checked
 *            against the file's own size before anything is allocated for them.
 * Units:     little-endian, row-major, no alignment assumed.
 * Errors:    total: any byte string gives the tensors or a reason in words.
 * Invariant: every tensor's bytes lie in the file, none overlap, none are left over.
 */
#ifndef EVOKE_SAFETENSORS_H
#define EVOKE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#define SAFETENSORS_MAX_DIMS    8
#define SAFETENSORS_HEADER_MAX  (16u << 20)
#define SAFETENSORS_FILE_MAX    ((size_t)4 << 30)
#define SAFETENSORS_TENSORS_MAX 65536

struct safetensors_tensor {
    const char *name;
    const char *dtype; /* "F32", "I64", ... */
    int n_dims;
    int64_t dims[SAFETENSORS_MAX_DIMS];
    size_t count;              /* product of dims */
    size_t size;               /* bytes */
    const unsigned char *data; /* inside the file */
};

struct safetensors;

/* [slow] NULL, and why in words (one line that names the tensor). */
struct safetensors *safetensors_open(const char *path, char *why, size_t why_size);

/* [slow] The same from bytes in memory, which must outlive the result. */
struct safetensors *safetensors_parse(const void *bytes, size_t size, char *why,
                                      size_t why_size);
void safetensors_close(struct safetensors *file);

/* [any] All tensors in the order of their bytes. */
int safetensors_count(const struct safetensors *file);
const struct safetensors_tensor *safetensors_at(const struct safetensors *file, int i);

/* [any] NULL if there is no tensor of that name. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *file,
                                                  const char *name);

/* [any] A string of the header's __metadata__, or NULL. */
const char *safetensors_metadata(const struct safetensors *file, const char *key);

/* [any] The tensor's values as float32; out: (count). F32 and F64 only: -ENOTSUP for
 * another type, -EDOM where a value is not finite in float32. */
int safetensors_floats(const struct safetensors_tensor *tensor, float *out);

/* [slow] Write F32 tensors (data: float32 bytes, size and dtype ignored) beside path and
 * rename it into place, so that a reader sees the old file or the new one. metadata:
 * n_metadata pairs of key and value. 0, or -errno. */
int safetensors_write(const char *path, const struct safetensors_tensor *tensors, int n,
                      const char *const (*metadata)[2], int n_metadata);

#endif
