/* Sorting: one counting pass over the partitions moves the entries, in the order in which they
 * came, into the scratch half; sort_entries() then works on each partition for itself. */
#include "mapreduce/engine/recbuf.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"

enum { BYTES_MIN = 64 * 1024 };

void recbuf_init(struct recbuf *b, size_t bytes_max, uint32_t partitions)
{
    CHECK(partitions > 0);
    *b = (struct recbuf){.partitions = partitions};
    b->bytes_max = MAX(bytes_max, (size_t)BYTES_MIN) & ~(size_t)(RECBUF_ENTRY_BYTES - 1);
    b->bytes_max = MIN(b->bytes_max, (size_t)UINT32_MAX & ~(size_t)(RECBUF_ENTRY_BYTES - 1));
    b->starts = xcalloc((size_t)partitions + 1, sizeof(*b->starts));
    region_reserve(&b->region, b->bytes_max);
    recbuf_clear(b);
}

void recbuf_deinit(struct recbuf *b)
{
    region_deinit(&b->region);
    free(b->starts);
    *b = (struct recbuf){0};
}

void recbuf_clear(struct recbuf *b)
{
    b->end = b->region.data;
    b->entries = (void *)(b->region.data + b->bytes_max);
    b->count = 0;
    b->left = b->bytes_max;
    b->sorted = NULL;
}

void recbuf_sort(struct recbuf *b)
{
    struct sort_entry *sorted = b->entries - b->count; /* the scratch half */
    memset(b->starts, 0, ((size_t)b->partitions + 1) * sizeof(*b->starts));
    for (size_t i = 0; i < b->count; i++) {
        b->starts[b->entries[i].partition + 1]++;
    }
    for (uint32_t p = 0; p < b->partitions; p++) {
        b->starts[p + 1] += b->starts[p];
    }
    for (size_t i = b->count; i > 0; i--) { /* oldest first; starts[p] moves on to p's end */
        sorted[b->starts[b->entries[i - 1].partition]++] = b->entries[i - 1];
    }
    uint32_t low = 0;
    for (uint32_t p = 0; p < b->partitions; p++) {
        uint32_t high = b->starts[p];
        sort_entries(sorted + low, b->entries + low, high - low, b->region.data);
        b->starts[p] = low;
        low = high;
    }
    b->sorted = sorted;
}
