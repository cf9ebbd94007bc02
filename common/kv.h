/* One RocksDB database: an ordered map on disk. Masters keep their replicated state in it, without
 * its write-ahead log (the Raft log is one); chunkservers their index, with it. One column family;
 * keys order as memcmp does. This is the only module that knows RocksDB; its error strings end here
 * as ERR_*.
 *
 * Any thread may use a struct kv; all calls may block on the disk. Batches, snapshots and views
 * belong to one thread at a time. Errors of all functions: ERR_NO_SPACE, ERR_IO, ERR_CORRUPT;
 * anything unknown is ERR_INTERNAL. After an error of a write, flush or sync the database accepts
 * no more writes: stop the process. */
#ifndef COMMON_KV_H
#define COMMON_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/kvview.h"

struct kv_options {
    bool wal;             /* false: writes are durable after kv_flush() alone */
    bool must_exist;      /* ERR_NOT_FOUND instead of an empty database */
    uint64_t cache_bytes; /* bound of the block cache, indexes and filters included; 0: 32 MiB */
    uint64_t
        write_buffer_bytes; /* a memtable is flushed at this size, at most three exist; 0: 16 MiB */
};

struct kv;

/* Opens or creates the database in this directory, whose parent must exist. ERR_BUSY: another
 * process has it open. Release with kv_close() after all batches and snapshots; without a WAL it
 * flushes, so that the next start replays little. */
int kv_open(const char *path, const struct kv_options *options, struct kv **ret_kv,
            struct err *e) MUST_CHECK;
void kv_close(struct kv *kv); /* accepts NULL */

/* ---- reading ---- */

/* A frozen state of the database. Costs nothing to make; an old one keeps dead values alive. NULL
 * as a snapshot argument means the newest state. */
struct kv_snapshot;

struct kv_snapshot *kv_snapshot_new(struct kv *kv);
void kv_snapshot_free(struct kv_snapshot *snapshot); /* accepts NULL */

/* 0: ret_value holds the value. ERR_NOT_FOUND: no such key, ret_value untouched and e too. */
int kv_get(struct kv *kv, const struct kv_snapshot *snapshot, struct span key,
           struct buf *ret_value, struct err *e) MUST_CHECK;

/* As kv_get(), but what a power failure now would leave: without a WAL that is what has been
 * flushed. */
int kv_get_persisted(struct kv *kv, struct span key, struct buf *ret_value,
                     struct err *e) MUST_CHECK;

/* Visits the pairs of a range in order; see kv_visit_fn. Returns 0 at the end, what visit returned,
 * or an error. */
int kv_scan(struct kv *kv, const struct kv_snapshot *snapshot, const struct kv_range *range,
            kv_visit_fn visit, void *arg, struct err *e) MUST_CHECK;

/* The snapshot for pure cores that read; put and del fail a CHECK. Valid as long as the snapshot.
 */
struct kv_view kv_snapshot_view(struct kv_snapshot *snapshot);

/* ---- writing ---- */

/* Changes that happen together or not at all. Its view reads them over the database (read your
 * writes). */
struct kv_batch;

struct kv_batch *kv_batch_new(struct kv *kv);
/* For the only writer of a database: between two writes its view remembers which keys it did not
 * find, and what was put upon such a key and deleted again is not written at all. */
struct kv_batch *kv_batch_new_sole(struct kv *kv);
void kv_batch_free(struct kv_batch *batch); /* accepts NULL; changes not written are forgotten */
void kv_batch_put(struct kv_batch *batch, struct span key, struct span value);
void kv_batch_del(struct kv_batch *batch, struct span key);
void kv_batch_clear(struct kv_batch *batch);
size_t kv_batch_count(const struct kv_batch *batch); /* of keys changed or remembered */
size_t kv_batch_bytes(const struct kv_batch *batch);

/* Valid as long as the batch, also after kv_write() and kv_batch_clear(). */
struct kv_view kv_batch_view(struct kv_batch *batch);

/* The text of the last error that the view of a batch or snapshot returned. */
const struct err *kv_batch_error(const struct kv_batch *batch);
const struct err *kv_snapshot_error(const struct kv_snapshot *snapshot);

enum kv_durability {
    KV_UNSYNCED, /* survives the end of this process if there is a WAL, not a power failure */
    KV_SYNCED,   /* needs a WAL (checked); durable on return, with everything written before it */
};

/* Writes the batch and empties it. After an error its content stays. */
int kv_write(struct kv *kv, struct kv_batch *batch, enum kv_durability durability,
             struct err *e) MUST_CHECK;

/* Makes everything written so far durable in the WAL (checked: there is one). Writers go on
 * meanwhile, which they do not during a write with KV_SYNCED: for group commit. */
int kv_sync(struct kv *kv, struct err *e) MUST_CHECK;

/* Makes everything written so far durable in table files. */
int kv_flush(struct kv *kv, struct err *e) MUST_CHECK;

/* Makes a second database of the present state in a directory that must not exist, by hard links
 * where possible. Flushes first. */
int kv_checkpoint(struct kv *kv, const char *path, struct err *e) MUST_CHECK;

/* ---- looking ---- */

struct kv_stats {
    uint64_t key_count;      /* an estimate */
    uint64_t table_bytes;    /* of live table files */
    uint64_t memtable_bytes; /* in RAM */
    uint64_t cache_bytes;    /* in RAM */
};

struct kv_stats kv_stats(struct kv *kv);

#endif
