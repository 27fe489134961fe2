/* Any bytes as a .npy file: an array whose every number can be read, or a reason. */
#include "fuzz.h"
#include "models/npy.h"
#include "protocol/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct npy npy;
    const char *why = npy_parse(&npy, bytes, size);
    double sum = 0;
    float last;

    if (why) {
        CHECK(why[0] != '\0');
        return 0;
    }
    CHECK(npy.n <= size);
    for (size_t i = 0; i < npy.n; i++)
        sum += npy_get(&npy, i);
    if (npy.n > 0)
        npy_floats(&npy, npy.n - 1, 1, &last);
    (void)sum;
    return 0;
}
