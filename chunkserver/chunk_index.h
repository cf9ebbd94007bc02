/* The chunk index: RocksDB with its WAL on, behind typed records (chunk_record.h). Any thread;
 * calls may block on the disk unless said otherwise.
 *
 * Two strengths. A write returns when its WAL record is in the page cache: a killed process loses
 * nothing. A sync makes all writes before it survive a power cut; all syncs asked for while one is
 * under way share the next (group commit), and with it the write of what they bring along, so
 * closing a thousand chunks costs few writes and flushes. */
#ifndef CHUNKSERVER_CHUNK_INDEX_H
#define CHUNKSERVER_CHUNK_INDEX_H

#include "chunkserver/chunk_record.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/mailbox.h"

struct chunk_index;

/* Opens or creates DATA/index. ERR_CORRUPT, ERR_VERSION, ERR_IO. */
int chunk_index_open(const char *data_path, struct chunk_index **ret, struct err *e) MUST_CHECK;
/* The present start has this count, which is above those before: written and synced. */
int chunk_index_begin(struct chunk_index *index, uint64_t start_count, struct err *e) MUST_CHECK;
void chunk_index_close(struct chunk_index *index); /* no sync may be under way; accepts NULL */

uint64_t chunk_index_start_count(const struct chunk_index *index); /* of the latest start */
uint64_t chunk_index_term(const struct chunk_index *index);        /* as of the open */

/* ---- Changes ---- */

struct index_batch; /* changes that are written together or not at all; one thread */

struct index_batch *index_batch_new(struct chunk_index *index);
void index_batch_free(struct index_batch *b); /* accepts NULL */
void index_batch_clear(struct index_batch *b);

void index_put_chunk(struct index_batch *b, const struct chunk_record *record);
void index_put_crcs(struct index_batch *b, chunk_id id, uint32_t segment,
                    const struct crc_segment *values);
void index_put_inline(struct index_batch *b, chunk_id id, const struct inline_data *data);
void index_remove_inline(struct index_batch *b, chunk_id id);
/* The record, the data and the CRCs of a chunk that may have `length` bytes. */
void index_remove_chunk(struct index_batch *b, chunk_id id, uint64_t length);
void index_put_trash(struct index_batch *b, const struct trash_entry *entry);
void index_remove_trash(struct index_batch *b, const struct trash_entry *entry);
void index_put_term(struct index_batch *b, term_no term);

int chunk_index_write(struct chunk_index *index, struct index_batch *b, struct err *e) MUST_CHECK;

/* Lies in its owner's struct until `done` has run. Both functions run on the index's sync thread
 * and must not block. `put`, if set, adds changes of its own, which are written together with those
 * of the whole group and are durable with it: that is cheaper than a write for each before the
 * sync. An error is final, the index cannot be trusted any more and the process must end. */
struct index_sync {
    struct mail mail;                                                 /* private */
    void (*put)(struct index_sync *sync, struct index_batch *batch);  /* NULL: nothing to add */
    void (*done)(struct index_sync *sync, const struct err *failure); /* failure NULL: durable */
    struct chunk_index *index;                                        /* private */
    struct index_sync *next;                                          /* private */
};
void chunk_index_sync(struct chunk_index *index, struct index_sync *sync); /* never blocks */
int chunk_index_sync_now(struct chunk_index *index, struct err *e) MUST_CHECK;

/* ---- Reads ---- */

/* ERR_NOT_FOUND; ERR_CORRUPT. */
int chunk_index_get(struct chunk_index *index, chunk_id id, struct chunk_record *ret,
                    struct err *e) MUST_CHECK;
int chunk_index_get_crcs(struct chunk_index *index, chunk_id id, uint32_t segment,
                         struct crc_segment *ret, struct err *e) MUST_CHECK;
/* The CRCs of all blocks of a chunk of that length that is in a file. ERR_CORRUPT: fewer are kept.
 */
int chunk_index_get_all_crcs(struct chunk_index *index, chunk_id id, uint64_t length,
                             uint32_t *ret_crcs, struct err *e) MUST_CHECK;
/* ret->bytes lies in `value`. */
int chunk_index_get_inline(struct chunk_index *index, chunk_id id, struct buf *value,
                           struct inline_data *ret, struct err *e) MUST_CHECK;

/* Records with id > after, ascending, until visit returns other than 0, which is returned. */
typedef int (*index_visit_fn)(void *arg, const struct chunk_record *record);
int chunk_index_scan(struct chunk_index *index, chunk_id after, index_visit_fn visit, void *arg,
                     struct err *e) MUST_CHECK;

/* Trash entries, those due first. */
typedef int (*index_trash_fn)(void *arg, const struct trash_entry *entry);
int chunk_index_scan_trash(struct chunk_index *index, index_trash_fn visit, void *arg,
                           struct err *e) MUST_CHECK;

#endif
