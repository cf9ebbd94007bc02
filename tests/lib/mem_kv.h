/* A struct kv_view in memory, for tests and fuzzers of pure cores: a sorted array of copies. One
 * thread. Every put is O(n) in pointers moved, which is below a microsecond for the few thousand
 * keys that a test holds. */
#ifndef TESTS_LIB_MEM_KV_H
#define TESTS_LIB_MEM_KV_H

#include <stddef.h>
#include <stdint.h>

#include "common/kvview.h"

struct mem_kv_row {
    struct buf key;
    struct buf value;
};

struct mem_kv {
    struct mem_kv_row **rows; /* sorted by key, no two alike */
    size_t count;
    size_t capacity;
    uint64_t fail_countdown; /* the n-th get or scan from now gives ERR_IO; 0: never */
    bool scanning;           /* put and del check that no visit callback calls them */
};

void mem_kv_init(struct mem_kv *kv);
void mem_kv_deinit(struct mem_kv *kv);

/* Valid as long as kv. */
struct kv_view mem_kv_view(struct mem_kv *kv);

/* Replaces what `to` holds by a copy of `from`. */
void mem_kv_copy(struct mem_kv *to, const struct mem_kv *from);
bool mem_kv_equal(const struct mem_kv *a, const struct mem_kv *b);

#endif
