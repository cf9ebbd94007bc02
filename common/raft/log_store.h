/* The Raft log on disk: entries and the hard state (term, vote), in preallocated segment files of
 * one directory that nothing else uses. It is the only write-ahead log of a master (DESIGN 5).
 * Blocks on the disk; one thread at a time.
 *
 * Writing and making durable are apart, so that group commit is the caller's choice: any number of
 * log_store_append() and log_store_truncate(), then one log_store_sync(). What was synced is there
 * after any crash; what was not may be lost from any point on, but never in the middle, and never
 * comes back later. log_store.c says why.
 *
 * Errors: after ERR_IO or ERR_CORRUPT from a function that changes the log, every later change
 * fails with the same code; stop the process. ERR_NO_SPACE (a new segment cannot be made) leaves a
 * usable log: entries up to log_store_last() are in it. ERR_CORRUPT from log_store_open(): bytes
 * that had been synced are damaged; this member must not vote again, and comes back as a learner
 * with an empty directory. */
#ifndef COMMON_RAFT_LOG_STORE_H
#define COMMON_RAFT_LOG_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/disk.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/raft/log_entry.h"
#include "common/raft/log_format.h" /* struct log_hard_state */

struct log_store_options {
    struct disk *disk;      /* borrowed until log_store_close() */
    uint64_t segment_bytes; /* 0: LOG_SEGMENT_BYTES; tests use small ones */
    uint64_t salt_seed;     /* unpredictable in production, fixed in a simulation */
};

struct log_store_stats {
    uint64_t torn_count;     /* torn tails cut by log_store_open(): 0 or 1 */
    uint64_t batch_count;    /* written since open */
    uint64_t byte_count;     /* of these batches */
    uint64_t sync_count;     /* of batches, since open */
    uint64_t recycled_count; /* segments made from spare files since open */
    uint64_t segment_count;  /* files in use now */
    uint64_t spare_count;    /* dropped files kept for reuse now */
};

struct log_store;

/* Opens the log in options->disk, or begins an empty one when no segment is there. Costs one or two
 * syncs. Release with log_store_close(), which syncs nothing. */
int log_store_open(const struct log_store_options *options, struct log_store **ret_store,
                   struct err *e) MUST_CHECK;
void log_store_close(struct log_store *s); /* accepts NULL */

/* Writes the hard state, unless NULL, and count entries after the last one: entries[0].index ==
 * log_store_last() + 1, and so on (checked). ERR_TOO_LARGE: an entry is over LOG_ENTRY_BYTES_MAX,
 * nothing was written. */
int log_store_append(struct log_store *s, const struct log_hard_state *hard,
                     const struct log_entry *entries, size_t count, struct err *e) MUST_CHECK;

/* Removes the entries from index `from` on; log_store_start() < from <= log_store_last() + 1. Not
 * durable before sync. */
int log_store_truncate(struct log_store *s, log_index from, struct err *e) MUST_CHECK;

/* Makes everything before it durable. */
int log_store_sync(struct log_store *s, struct err *e) MUST_CHECK;

/* Entries up to index (<= log_store_last()) are in persisted state and no longer needed. Drops the
 * segments that hold no others, durably, and keeps their files for reuse; log_store_start() then
 * tells how far the log was really cut. */
int log_store_compact(struct log_store *s, log_index index, struct err *e) MUST_CHECK;

/* Forgets all entries, durably: the next one is index + 1, after an entry of this term. For an
 * installed snapshot. */
int log_store_reset(struct log_store *s, log_index index, term_no term, struct err *e) MUST_CHECK;

/* To be called now and then. After LOG_IDLE_MS without a batch it writes and syncs an empty one,
 * which records that the last batch had been synced, so that damage to it is known for what it is.
 */
int log_store_tick(struct log_store *s, time_ms now, struct err *e) MUST_CHECK;

/* Entries read, and the memory that their data stands in. Reuse it from call to call. */
struct log_read {
    struct log_entry *entries;
    size_t count;
    size_t capacity;  /* of entries */
    struct buf bytes; /* what entries[].data points into */
};

void log_read_init(struct log_read *r);
void log_read_deinit(struct log_read *r); /* accepts zeroed */

/* Reads entries from `from` up to, not including, `to`, while they take at most bytes_max bytes
 * together, but at least one. Returns their count. ERR_NOT_FOUND: `from` is not in the log.
 * ERR_CORRUPT: the disk gave back other bytes. */
int log_store_read(struct log_store *s, log_index from, log_index to, size_t bytes_max,
                   struct log_read *ret_read, struct err *e) MUST_CHECK;

/* 0, or ERR_NOT_FOUND unless log_store_start() <= index <= log_store_last(). Memory only. */
int log_store_term(const struct log_store *s, log_index index, term_no *ret_term) MUST_CHECK;

struct log_hard_state log_store_hard(const struct log_store *s); /* the newest written */
log_index
log_store_start(const struct log_store *s);          /* the last index before the log; 0 at first */
log_index log_store_last(const struct log_store *s); /* log_store_start() when there is no entry */
struct log_store_stats log_store_stats(const struct log_store *s);

#endif
