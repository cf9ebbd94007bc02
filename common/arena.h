/* Block arena: many small allocations that die together, such as the decoded request and the reply
 * of one RPC. One thread at a time. Everything handed out belongs to the arena until arena_reset()
 * or arena_deinit(); nothing is freed alone.
 *
 * The plain functions abort when memory is exhausted. arena_try_alloc() is for sizes that a peer
 * chose: it also keeps the arena below `bytes_max` and returns NULL beyond it, which makes it fit
 * for protobuf-c's allocator. */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stddef.h>

#include "common/err.h"

enum { ARENA_BLOCK_BYTES = 8 * 1024 - 64 }; /* first block; later ones double up to 1 MiB */

struct arena_block; /* one malloc; private to arena.c */

struct arena {
    struct arena_block *blocks; /* newest first; NULL before the first allocation */
    size_t bytes_used;          /* handed out, padding included */
    size_t bytes_max;           /* bound for arena_try_alloc(); 0 is none */
};

#define ARENA_INIT                                                                                 \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

void arena_init(struct arena *a, size_t bytes_max);
void arena_deinit(struct arena *a); /* accepts NULL and zeroed; leaves an empty, usable arena */
void arena_reset(struct arena *a);  /* all allocations end; the newest block is kept for reuse */

/* Aligned for any type, not cleared; never NULL, also for size 0. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_calloc(struct arena *a, size_t size); /* zeroed */
/* NULL: no memory, or over bytes_max. */
void *arena_try_alloc(struct arena *a, size_t size) MUST_CHECK;

void *arena_copy(struct arena *a, const void *data, size_t length);
char *arena_strdup(struct arena *a, const char *string);
/* Exactly length bytes, and a NUL. */
char *arena_strndup(struct arena *a, const char *string, size_t length);
char *arena_printf(struct arena *a, const char *format, ...) ERR_PRINTF(2, 3);

#endif
