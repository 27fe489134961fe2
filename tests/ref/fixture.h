/*
 * fixture.h: reference arrays of ../shared/fixtures, for the tests here.
 *
 * Memory: arrays are the caller's to free().
 * Errors: where the folder is missing, fixture_require() ends the program with 77; a
 *         missing array fails the test.
 */
#ifndef EVOKE_FIXTURE_H
#define EVOKE_FIXTURE_H

#include <stddef.h>

struct twin;

/* Prints SKIPPED and exits with 77 unless the shared facts are there. */
void fixture_require(void);

/* Path under shared/: "fixtures/tiny_ds/rates.npy". Valid until the call after next. */
const char *fixture_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fixture_exists(const char *path);

/* A whole array as double, and as float. */
double *fixture_doubles(const char *path, size_t *n);
float *fixture_floats(const char *path, size_t *n);

/* Array fixtures/FOLDER/NAME.npy, which must have n numbers; and the check that each of
 * got is within tolerance of it. */
double *fixture_named(const char *folder, const char *name, size_t n);
void fixture_compare(const char *folder, const char *name, const double *got, size_t n,
                     double tolerance);

/* A number of config.json by keys: ("fixtures/tiny_ds/config.json", "fixture.neuron"). */
double fixture_number(const char *path, const char *keys);

struct twin *fixture_twin(const char *path);

/* Largest |got - want| over largest |want|; elementwise: largest |got / want - 1|. */
double fixture_error(size_t n, const float *got, const double *want);
double fixture_error_each(size_t n, const float *got, const double *want);

/* 64-byte aligned and filled with NaN, so that nothing is read before it is written. */
void *fixture_work(size_t size);

#endif
