/*
 * fuzz.h: what every fuzz target is: any bytes, and nothing but a CHECK may stop it.
 */
#ifndef EVOKE_FUZZ_H
#define EVOKE_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
