/* Map output in memory: encoded records that grow from the bottom of a region, their sort entries
 * from the top, until they meet. Pure but for the region; one thread. */
#ifndef MAPREDUCE_ENGINE_RECBUF_H
#define MAPREDUCE_ENGINE_RECBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mapreduce/engine/record.h"
#include "mapreduce/engine/region.h"
#include "mapreduce/engine/sorter.h"

struct recbuf {
    struct region region;
    uint8_t *end;               /* behind the last record */
    struct sort_entry *entries; /* the newest; they lie backwards until they are sorted */
    size_t count;
    size_t left;               /* bytes until it is full, scratch for sorting kept apart */
    size_t bytes_max;          /* the budget */
    struct sort_entry *sorted; /* after recbuf_sort() */
    uint32_t *starts;          /* after it: partition p is sorted[starts[p], starts[p + 1]) */
    uint32_t partitions;
};

enum { RECBUF_ENTRY_BYTES = 2 * sizeof(struct sort_entry) }; /* what a record costs beside itself */

void recbuf_init(struct recbuf *b, size_t bytes_max, uint32_t partitions);
void recbuf_deinit(struct recbuf *b); /* accepts zeroed */
void recbuf_clear(struct recbuf *b);

/* Bytes that a record takes from the budget, at most. */
static inline size_t recbuf_cost(struct mr_span key, struct mr_span value)
{
    return RECORD_HEAD_BYTES_MAX + key.length + value.length + RECBUF_ENTRY_BYTES;
}

/* Adds a record; partition < partitions. False: full, nothing was added. */
static inline bool recbuf_add(struct recbuf *b, uint32_t partition, struct mr_span key,
                              struct mr_span value)
{
    if (recbuf_cost(key, value) > b->left) {
        return false;
    }
    uint8_t *at = b->end;
    b->end = record_put(at, key, value);
    b->left -= (size_t)(b->end - at) + RECBUF_ENTRY_BYTES;
    b->count++;
    b->entries--;
    b->entries->prefix = key_prefix(key.data, key.length);
    b->entries->offset = (uint32_t)(at - b->region.data);
    b->entries->partition = partition;
    return true;
}

/* Orders by partition, then key, then age. Afterwards only reading and recbuf_clear() are possible.
 */
void recbuf_sort(struct recbuf *b);

/* The encoded record of a sorted entry. Returns its length. */
static inline size_t recbuf_record(const struct recbuf *b, const struct sort_entry *entry,
                                   const uint8_t **ret_record)
{
    struct mr_record record;
    *ret_record = b->region.data + entry->offset;
    return (size_t)(record_get(*ret_record, &record) - *ret_record);
}

#endif
