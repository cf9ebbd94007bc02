/* Anonymous mappings and a small reserve of them per thread; see region.h. */
#include "mapreduce/engine/region.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    REGION_GRAIN = 2 * 1024 * 1024, /* a large page */
    RESERVE_COUNT = 8,              /* one task uses at most five at a time */
};

static _Thread_local struct region reserve[RESERVE_COUNT];

/* The smallest one that is large enough, but not by far. NULL: none. */
static struct region *reserve_find(size_t bytes)
{
    struct region *best = NULL;
    for (size_t i = 0; i < RESERVE_COUNT; i++) {
        struct region *r = &reserve[i];
        if (r->capacity >= bytes && r->capacity / 4 <= bytes &&
            (!best || r->capacity < best->capacity)) {
            best = r;
        }
    }
    return best;
}

void region_deinit(struct region *r)
{
    if (!r || !r->data) {
        return;
    }
    struct region *least = &reserve[0];
    for (size_t i = 1; i < RESERVE_COUNT; i++) {
        if (reserve[i].capacity < least->capacity) {
            least = &reserve[i];
        }
    }
    struct region drop = *r;
    if (least->capacity < r->capacity) {
        drop = *least;
        *least = *r;
    }
    if (drop.data) {
        (void)munmap(drop.data, drop.capacity);
    }
    *r = (struct region)REGION_INIT;
}

/* At a multiple of a large page, or the kernel could use none at the ends. */
static uint8_t *map_aligned(size_t capacity)
{
    uint8_t *data = mmap(NULL, capacity + REGION_GRAIN, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
        (void)fprintf(stderr, "out of memory: %zu bytes\n", capacity);
        abort();
    }
    size_t before = (REGION_GRAIN - (uintptr_t)data % REGION_GRAIN) % REGION_GRAIN;
    if (before > 0) {
        (void)munmap(data, before);
    }
    (void)munmap(data + before + capacity, REGION_GRAIN - before);
    return data + before;
}

void region_reserve(struct region *r, size_t bytes)
{
    if (bytes <= r->capacity) {
        return;
    }
    region_deinit(r);
    size_t capacity = (bytes + REGION_GRAIN - 1) / REGION_GRAIN * REGION_GRAIN;
    struct region *kept = reserve_find(capacity);
    if (kept) {
        *r = *kept;
        *kept = (struct region)REGION_INIT;
        return;
    }
    r->data = map_aligned(capacity);
    r->capacity = capacity;
    (void)madvise(r->data, capacity, MADV_HUGEPAGE); /* a wish; without it all works, slower */
}

void region_trim(void)
{
    for (size_t i = 0; i < RESERVE_COUNT; i++) {
        if (reserve[i].data) {
            (void)munmap(reserve[i].data, reserve[i].capacity);
            reserve[i] = (struct region)REGION_INIT;
        }
    }
}
