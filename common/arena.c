/* A chain of blocks, newest first; only the newest is allocated from. Block sizes double up to 1
 * MiB, and a request that is larger gets a block of its own size, so an arena of n bytes makes
 * O(log n) + n / 1 MiB calls of malloc. */
#include "common/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"

enum { ARENA_ALIGN = _Alignof(max_align_t), ARENA_BLOCK_BYTES_MAX = 1024 * 1024 };

struct arena_block {
    struct arena_block *older;
    size_t size; /* of bytes[] */
    size_t used; /* of bytes[]; a multiple of ARENA_ALIGN */
    _Alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t bytes_max)
{
    *a = (struct arena){.bytes_max = bytes_max};
}

static void free_blocks(struct arena_block *block)
{
    while (block != NULL) {
        struct arena_block *older = block->older;
        free(block);
        block = older;
    }
}

void arena_deinit(struct arena *a)
{
    if (a == NULL) {
        return;
    }
    free_blocks(a->blocks);
    a->blocks = NULL;
    a->bytes_used = 0;
}

/* A request of its own size may have made a large block below a smaller one: that one is not worth
 * a search. */
void arena_reset(struct arena *a)
{
    if (a->blocks != NULL) {
        free_blocks(a->blocks->older);
        a->blocks->older = NULL;
        a->blocks->used = 0;
    }
    a->bytes_used = 0;
}

static bool block_add(struct arena *a, size_t size)
{
    size_t doubled = a->blocks == NULL ? ARENA_BLOCK_BYTES : a->blocks->size * 2;
    size_t block_size = MAX(size, MIN(doubled, (size_t)ARENA_BLOCK_BYTES_MAX));
    struct arena_block *block = malloc(sizeof(*block) + block_size);
    if (block == NULL) {
        return false;
    }
    *block = (struct arena_block){.older = a->blocks, .size = block_size};
    a->blocks = block;
    return true;
}

static void *take(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size_t padded = MAX((size + ARENA_ALIGN - 1) / ARENA_ALIGN, (size_t)1) * ARENA_ALIGN;
    struct arena_block *block = a->blocks;
    if ((block == NULL || block->size - block->used < padded) && !block_add(a, padded)) {
        return NULL;
    }
    block = a->blocks;
    void *memory = block->bytes + block->used;
    block->used += padded;
    a->bytes_used += padded;
    return memory;
}

void *arena_try_alloc(struct arena *a, size_t size)
{
    if (a->bytes_max > 0 && (a->bytes_used > a->bytes_max || size > a->bytes_max - a->bytes_used)) {
        return NULL;
    }
    return take(a, size);
}

void *arena_alloc(struct arena *a, size_t size)
{
    void *memory = take(a, size);
    if (memory == NULL) {
        alloc_failed(size);
    }
    return memory;
}

void *arena_calloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

void *arena_copy(struct arena *a, const void *data, size_t length)
{
    void *copy = arena_alloc(a, length);
    if (length > 0) {
        memcpy(copy, data, length);
    }
    return copy;
}

char *arena_strndup(struct arena *a, const char *string, size_t length)
{
    char *copy = arena_alloc(a, length + 1);
    if (length > 0) {
        memcpy(copy, string, length);
    }
    copy[length] = 0;
    return copy;
}

char *arena_strdup(struct arena *a, const char *string)
{
    return arena_strndup(a, string, strlen(string));
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(length >= 0);
    char *text = arena_alloc(a, (size_t)length + 1);
    int written = vsnprintf(text, (size_t)length + 1, format, again);
    CHECK(written == length);
    va_end(again);
    return text;
}
