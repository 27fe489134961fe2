#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "fixture.h"
#include "models/npy.h"
#include "models/twin.h"

const char *fixture_path(const char *format, ...)
{
    static char paths[2][4096];
    static int next;
    const char *shared = getenv("EVOKE_SHARED"), *source = getenv("EVOKE_SOURCE_DIR");
    char *path = paths[next ^= 1];
    int n = shared ? snprintf(path, 2048, "%s/", shared)
                   : snprintf(path, 2048, "%s/../shared/", source ? source : ".");
    va_list args;
    va_start(args, format);
    vsnprintf(path + n, 4096 - (size_t)n, format, args);
    va_end(args);
    return path;
}

int fixture_exists(const char *path)
{
    return access(path, R_OK) == 0;
}

void fixture_require(void)
{
    const char *path = fixture_path("fixtures/MANIFEST.json");
    if (fixture_exists(path))
        return;
    printf("SKIPPED: %s is not there\n", path);
    exit(77);
}

static struct npy open_array(const char *path)
{
    struct npy npy;
    const char *why = npy_open(&npy, path);
    if (why)
        fail_msg("%s: %s", path, why);
    return npy;
}

double *fixture_doubles(const char *path, size_t *n)
{
    struct npy npy = open_array(path);
    double *values = malloc((npy.n + 1) * sizeof *values);
    for (size_t i = 0; i < npy.n; i++)
        values[i] = npy_get(&npy, i);
    *n = npy.n;
    npy_close(&npy);
    return values;
}

float *fixture_floats(const char *path, size_t *n)
{
    struct npy npy = open_array(path);
    float *values = malloc((npy.n + 1) * sizeof *values);
    npy_floats(&npy, 0, npy.n, values);
    *n = npy.n;
    npy_close(&npy);
    return values;
}

double *fixture_named(const char *folder, const char *name, size_t n)
{
    size_t n_read;
    double *values =
        fixture_doubles(fixture_path("fixtures/%s/%s.npy", folder, name), &n_read);
    assert_int_equal(n_read, n);
    return values;
}

void fixture_compare(const char *folder, const char *name, const double *got, size_t n,
                     double tolerance)
{
    double *want = fixture_named(folder, name, n), worst = 0.0;
    for (size_t i = 0; i < n; i++)
        worst = fabs(got[i] - want[i]) <= worst ? worst : fabs(got[i] - want[i]);
    print_message("%-20s largest error %.1e\n", name, worst);
    assert_true(worst <= tolerance);
    free(want);
}

double fixture_number(const char *path, const char *keys)
{
    json_t *root = json_load_file(path, 0, NULL), *at = root;
    char copy[256], *rest = copy;
    snprintf(copy, sizeof copy, "%s", keys);
    for (char *key; at && (key = strsep(&rest, "."));)
        at = json_object_get(at, key);
    if (!json_is_number(at))
        fail_msg("%s: no number %s", path, keys);
    double value = json_number_value(at);
    json_decref(root);
    return value;
}

struct twin *fixture_twin(const char *path)
{
    char why[256];
    struct twin *twin = twin_open(path, NULL, NULL, why, sizeof why);
    if (!twin)
        fail_msg("%s: %s", path, why);
    return twin;
}

double fixture_error(size_t n, const float *got, const double *want)
{
    double worst = 0.0, scale = 1e-300;
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - want[i]);
        if (!(error <= worst))
            worst = isnan(error) ? HUGE_VAL : error;
        scale = fmax(scale, fabs(want[i]));
    }
    return worst / scale;
}

double fixture_error_each(size_t n, const float *got, const double *want)
{
    double worst = 0.0;
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] / want[i] - 1.0);
        if (!(error <= worst))
            worst = isnan(error) ? HUGE_VAL : error;
    }
    return worst;
}

void *fixture_work(size_t size)
{
    size = (size + 63) / 64 * 64;
    float *work = aligned_alloc(64, size ? size : 64);
    assert_non_null(work);
    for (size_t i = 0; i < size / sizeof *work; i++)
        work[i] = NAN;
    return work;
}
