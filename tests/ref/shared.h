/*
 * shared.h: arrays of the shared folder of reference facts, for the tests here.
 *
 * Errors: a missing array prints SKIPPED and ends the program with 77; a broken one
 *         ends it with 1.
 */
#ifndef EVOKE_SHARED_H
#define EVOKE_SHARED_H

#include "models/npy.h"

/* The array of that name under shared/: "fixtures/glm/design.npy"; npy_close() it. */
struct npy shared_open(const char *name);

#endif
