/* Sorts records by their keys, moving 16-byte entries instead of records. Pure; one thread.
 *
 * Records stand encoded (record.h) in one piece of memory below 4 GiB; an entry has a record's
 * offset there and the first 8 bytes of its key. The order is that of keys; records with equal keys
 * keep the order of their entries. */
#ifndef MAPREDUCE_ENGINE_SORTER_H
#define MAPREDUCE_ENGINE_SORTER_H

#include <stddef.h>
#include <stdint.h>

struct sort_entry {
    uint64_t prefix;    /* key_prefix() of the key; not meaningful after sorting */
    uint32_t offset;    /* of the record */
    uint32_t partition; /* not looked at by sort_entries() */
};

/* `records` is what offsets count from. `scratch` has room for count entries. The sorted entries
 * are in `entries` again. */
void sort_entries(struct sort_entry *entries, struct sort_entry *scratch, size_t count,
                  const uint8_t *records);

#endif
