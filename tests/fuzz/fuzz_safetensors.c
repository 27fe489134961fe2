/* Any bytes as a model file: tensors or a reason, then a twin or a reason; never a crash,
 * never memory out of proportion. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/safetensors.h"
#include "models/twin.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* The whole way of a model: import, one forward pass, one gradient. */
static void use(const char *path)
{
    char why[256], text[2048];
    struct twin *twin = twin_open(path, NULL, NULL, why, sizeof why);
    if (!twin)
        return;
    struct twin_view view;
    twin_view_whole(twin, NULL, NULL, twin->readout.n_units, &view);
    size_t n_pixels = (size_t)twin->config.channels * (size_t)twin->config.height *
                      (size_t)twin->config.width;
    twin_describe(twin, text, sizeof text);
    if (view.work_size < 16u << 20 && n_pixels < 1u << 16) {
        void *work = aligned_alloc(64, (view.work_size + 127) / 64 * 64);
        float *image = calloc(n_pixels + 1, sizeof *image);
        float *grad = calloc(n_pixels + 1, sizeof *grad);
        float *rate = calloc((size_t)twin->readout.n_units + 1, sizeof *rate);
        if (work && image && grad && rate) {
            twin_forward(twin, &view, work, image, rate);
            twin_backward(twin, &view, work, image, rate, grad, NULL);
        }
        free(work);
        free(image);
        free(grad);
        free(rate);
    }
    twin_close(twin);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char why[256], path[] = "/tmp/fuzz_safetensors_XXXXXX";
    struct safetensors *file = safetensors_parse(bytes, size, why, sizeof why);
    if (!file)
        return 0;
    for (int i = 0; i < safetensors_count(file); i++) {
        const struct safetensors_tensor *tensor = safetensors_at(file, i);
        if (tensor->data < bytes || tensor->data + tensor->size > bytes + size)
            abort();
        float *values = malloc((tensor->count + 1) * sizeof *values);
        if (values)
            safetensors_floats(tensor, values);
        free(values);
    }
    int has_config = safetensors_metadata(file, "config") != NULL;
    safetensors_close(file);
    int fd = has_config ? mkstemp(path) : -1;
    if (fd < 0)
        return 0;
    if (write(fd, bytes, size) == (ssize_t)size)
        use(path);
    close(fd);
    unlink(path);
    return 0;
}
