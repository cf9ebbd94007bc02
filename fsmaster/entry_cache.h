/* The newest entries of the log in memory, and the memory that entries share on their way to the
 * log, to the peers and to the machine. Owner thread.
 *
 * A block holds the bytes of the entries that came together; whoever needs them later counts a
 * reference. The cache is a run of entries without gaps up to the last one; it gives up the oldest
 * ones when it grows beyond its bound. */
#ifndef FSMASTER_ENTRY_CACHE_H
#define FSMASTER_ENTRY_CACHE_H

#include <stddef.h>

#include "common/raft/log_entry.h"

struct entry_block {
    unsigned refs;
    size_t bytes;
    char data[];
};

struct cached_entry {
    struct log_entry entry; /* data lies in block */
    struct entry_block *block;
};

struct entry_cache {
    struct cached_entry *slots; /* [head, head + count) are in use */
    size_t head;
    size_t count;
    size_t capacity;
    size_t bytes;    /* of data */
    log_index first; /* of slots[head]; of the next entry when there is none */
};

void entry_cache_init(struct entry_cache *c, log_index first);
void entry_cache_deinit(struct entry_cache *c);                   /* accepts zeroed */
void entry_cache_restart(struct entry_cache *c, log_index first); /* empty, the next one is first */

/* Copies entries that continue the run, as one block. */
void entry_cache_add(struct entry_cache *c, const struct log_entry *entries, size_t count);
/* Entries from this index on are gone. */
void entry_cache_truncate(struct entry_cache *c, log_index from);
/* Gives up entries up to `index` at most, until bytes_max are kept. */
void entry_cache_trim(struct entry_cache *c, log_index index, size_t bytes_max);

/* NULL: not cached. */
const struct cached_entry *entry_cache_find(const struct entry_cache *c, log_index index);

/* Some entries in a row, with a reference to each one's block. */
struct entry_run {
    struct log_entry *entries;
    struct entry_block **blocks; /* distinct ones, each counted once */
    size_t count;
    size_t block_count;
    size_t bytes; /* of data */
    size_t capacity;
    size_t block_capacity;
};

void entry_run_deinit(struct entry_run *run); /* accepts zeroed; gives the references back */
/* Appends cached entries from index `from` on: at most count_max of them, and not more than
 * bytes_max of data once it has one. Returns how many; 0: `from` is not cached. */
size_t entry_run_take(struct entry_run *run, const struct entry_cache *c, log_index from,
                      size_t count_max, size_t bytes_max);
/* Copies entries from elsewhere, as one block. */
void entry_run_copy(struct entry_run *run, const struct log_entry *entries, size_t count);

#endif
