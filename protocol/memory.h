/*
 * memory.h: parts of one piece of memory that the caller gave, laid out once.
 *
 * Flow:   a module lays out its parts with memory_take(); with base NULL that only
 *         measures, so x_size() and x_init() are the same code.
 * Memory: every part begins on a cache line (64 bytes).
 */
#ifndef EVOKE_MEMORY_H
#define EVOKE_MEMORY_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_ALIGN 64

struct memory {
    char *base;
    size_t size; /* of all parts so far */
};

/* [rt] The next part: n items of this size; NULL when it only measures. */
static inline void *memory_take(struct memory *memory, size_t n, size_t size)
{
    char *part = memory->base ? memory->base + memory->size : NULL;
    memory->size += (n * size + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
    return part;
}

/* [slow] A piece for x_init(), zeroed and so touched; free() ends it. NULL: there is
 * none. */
static inline void *memory_open(size_t size)
{
    size_t whole = (size + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
    void *mem = aligned_alloc(MEMORY_ALIGN, whole);
    return mem ? memset(mem, 0, whole) : NULL;
}

#endif
