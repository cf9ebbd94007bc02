/* Keys and values: chunk_record.h and docs/formats.md 6. One RocksDB with its WAL.
 *
 * Group commit: RocksDB's WAL is one file, so making one write durable makes all writes before it
 * durable. The sync thread takes all mails that wait, writes what they bring along in one batch,
 * flushes the WAL and tells everybody. While that runs the next group gathers in the mailbox. Write
 * and flush are two calls, since a synced write would hold up everybody else's unsynced ones. */
#include "chunkserver/chunk_index.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/kv.h"
#include "common/macros.h"

enum { GROUP_BYTES_MAX = 4 * 1024 * 1024 }; /* of changes gathered before they are written */

struct chunk_index {
    struct kv *kv;
    uint64_t start_count;
    term_no term;
    struct mailbox *syncs;     /* of the sync thread */
    struct index_sync *group;  /* sync thread: those that the next sync covers */
    struct index_batch *batch; /* sync thread: their changes */
    bool stop;                 /* sync thread */
    pthread_t thread;
    bool has_thread;
};

struct index_batch {
    struct kv_batch *kv;
    struct buf key, value; /* scratch */
};

/* ---- Sync thread ---- */

static void sync_arrived(struct mail *mail)
{
    struct index_sync *sync = CONTAINER_OF(mail, struct index_sync, mail);
    sync->next = sync->index->group;
    sync->index->group = sync;
}

/* The changes of a group, then the flush that makes them and all before them durable. */
static int write_group(struct chunk_index *index, struct index_sync *group, struct err *e)
{
    struct kv_batch *kv = index->batch->kv;
    int r = 0;
    for (struct index_sync *sync = group; sync != NULL && r == 0; sync = sync->next) {
        if (sync->put != NULL) {
            sync->put(sync, index->batch);
        }
        bool full = kv_batch_bytes(kv) >= GROUP_BYTES_MAX || sync->next == NULL;
        if (full && kv_batch_count(kv) > 0) {
            r = kv_write(index->kv, kv, KV_UNSYNCED, e);
        }
    }
    return r < 0 ? r : kv_sync(index->kv, e);
}

static void *sync_thread(void *arg)
{
    struct chunk_index *index = arg;
    mailbox_own(index->syncs);
    while (!index->stop) {
        (void)mailbox_run(index->syncs, CLOCK_NEVER);
        struct index_sync *group = index->group;
        index->group = NULL;
        if (group == NULL) {
            continue;
        }
        struct err e = ERR_INIT;
        const struct err *failure = write_group(index, group, &e) < 0 ? &e : NULL;
        while (group != NULL) {
            struct index_sync *sync = group;
            group = sync->next; /* done() may free it */
            sync->done(sync, failure);
        }
    }
    return NULL;
}

void chunk_index_sync(struct chunk_index *index, struct index_sync *sync)
{
    int r = mailbox_reserve(index->syncs);
    CHECK(r == 0); /* INDEX_SYNC_COUNT_MAX is above what calls and streams can ask for */
    sync->index = index;
    sync->mail.handle = sync_arrived;
    mailbox_post_reserved(index->syncs, &sync->mail);
}

struct stop_mail {
    struct mail mail;
    struct chunk_index *index;
};

static void stop_arrived(struct mail *mail)
{
    CONTAINER_OF(mail, struct stop_mail, mail)->index->stop = true;
}

int chunk_index_sync_now(struct chunk_index *index, struct err *e)
{
    int r = kv_sync(index->kv, e);
    return r < 0 ? err_wrap(e, r, "chunk index") : 0;
}

/* ---- Open and close ---- */

static int read_number(struct chunk_index *index, struct span key, uint64_t *ret, struct err *e)
{
    struct buf value = BUF_INIT;
    int r = kv_get(index->kv, NULL, key, &value, e);
    if (r == ERR_NOT_FOUND) {
        *ret = 0;
        r = 0;
    } else if (r == 0) {
        r = index_number_decode((struct span){value.data, value.length}, ret);
        if (r < 0) {
            (void)err_set(e, r, "chunk index: bad number under '%.1s'", (const char *)key.data);
        }
    }
    buf_deinit(&value);
    return r;
}

int chunk_index_open(const char *data_path, struct chunk_index **ret, struct err *e)
{
    struct chunk_index *index = xcalloc(1, sizeof(*index));
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/index", data_path);
    struct kv_options options = {.wal = true};
    int r = kv_open(path.data, &options, &index->kv, e);
    if (r == 0) {
        r = read_number(index, term_key, &index->term, e);
    }
    if (r == 0) {
        r = read_number(index, start_count_key, &index->start_count, e);
    }
    if (r == 0) {
        index->syncs = mailbox_new(1, INDEX_SYNC_COUNT_MAX);
        index->batch = index_batch_new(index);
        int code = pthread_create(&index->thread, NULL, sync_thread, index);
        CHECK(code == 0);
        (void)pthread_setname_np(index->thread, "index-sync");
        index->has_thread = true;
        *ret = index;
    } else {
        r = err_wrap(e, r, "chunk index %s", path.data);
        chunk_index_close(index);
    }
    buf_deinit(&path);
    return r;
}

int chunk_index_begin(struct chunk_index *index, uint64_t start_count, struct err *e)
{
    struct buf value = BUF_INIT;
    struct kv_batch *batch = kv_batch_new(index->kv);
    index->start_count = start_count;
    index_number_encode(start_count, &value);
    kv_batch_put(batch, start_count_key, (struct span){value.data, value.length});
    int r = kv_write(index->kv, batch, KV_SYNCED, e);
    kv_batch_free(batch);
    buf_deinit(&value);
    return r < 0 ? err_wrap(e, r, "chunk index") : 0;
}

void chunk_index_close(struct chunk_index *index)
{
    if (index == NULL) {
        return;
    }
    if (index->has_thread) {
        struct stop_mail stop = {.mail = {.handle = stop_arrived}, .index = index};
        int r = mailbox_reserve(index->syncs);
        CHECK(r == 0);
        mailbox_post_reserved(index->syncs, &stop.mail);
        (void)pthread_join(index->thread, NULL);
        mailbox_free(index->syncs);
        index_batch_free(index->batch);
    }
    kv_close(index->kv);
    free(index);
}

uint64_t chunk_index_start_count(const struct chunk_index *index)
{
    return index->start_count;
}

uint64_t chunk_index_term(const struct chunk_index *index)
{
    return index->term;
}

/* ---- Batches ---- */

struct index_batch *index_batch_new(struct chunk_index *index)
{
    struct index_batch *b = xcalloc(1, sizeof(*b));
    b->kv = kv_batch_new(index->kv);
    buf_init(&b->key);
    buf_init(&b->value);
    return b;
}

void index_batch_free(struct index_batch *b)
{
    if (b != NULL) {
        kv_batch_free(b->kv);
        buf_deinit(&b->key);
        buf_deinit(&b->value);
        free(b);
    }
}

void index_batch_clear(struct index_batch *b)
{
    kv_batch_clear(b->kv);
}

static struct span span_of(const struct buf *b)
{
    return (struct span){b->data, b->length};
}

static void put(struct index_batch *b)
{
    kv_batch_put(b->kv, span_of(&b->key), span_of(&b->value));
    buf_clear(&b->value);
}

static void del(struct index_batch *b)
{
    kv_batch_del(b->kv, span_of(&b->key));
}

void index_put_chunk(struct index_batch *b, const struct chunk_record *record)
{
    chunk_key(record->ref.id, &b->key);
    chunk_record_encode(record, &b->value);
    put(b);
}

void index_put_crcs(struct index_batch *b, chunk_id id, uint32_t segment,
                    const struct crc_segment *values)
{
    crc_segment_key(id, segment, &b->key);
    crc_segment_encode(values, &b->value);
    put(b);
}

void index_put_inline(struct index_batch *b, chunk_id id, const struct inline_data *data)
{
    inline_key(id, &b->key);
    inline_data_encode(data, &b->value);
    put(b);
}

void index_remove_inline(struct index_batch *b, chunk_id id)
{
    inline_key(id, &b->key);
    del(b);
}

void index_remove_chunk(struct index_batch *b, chunk_id id, uint64_t length)
{
    chunk_key(id, &b->key);
    del(b);
    inline_key(id, &b->key);
    del(b);
    uint32_t segments = (block_count(length) + CRC_SEGMENT_BLOCKS - 1) / CRC_SEGMENT_BLOCKS;
    for (uint32_t i = 0; i < segments; i++) {
        crc_segment_key(id, i, &b->key);
        del(b);
    }
}

void index_put_trash(struct index_batch *b, const struct trash_entry *entry)
{
    trash_key(entry, &b->key);
    trash_value_encode(entry, &b->value);
    put(b);
}

void index_remove_trash(struct index_batch *b, const struct trash_entry *entry)
{
    trash_key(entry, &b->key);
    del(b);
}

void index_put_term(struct index_batch *b, term_no term)
{
    index_number_encode(term, &b->value);
    kv_batch_put(b->kv, term_key, span_of(&b->value));
    buf_clear(&b->value);
}

int chunk_index_write(struct chunk_index *index, struct index_batch *b, struct err *e)
{
    int r = kv_write(index->kv, b->kv, KV_UNSYNCED, e);
    return r < 0 ? err_wrap(e, r, "chunk index") : 0;
}

/* ---- Reads ---- */

/* The value under b->key. */
static int get(struct chunk_index *index, struct buf *key, struct buf *value, struct err *e)
{
    int r = kv_get(index->kv, NULL, span_of(key), value, e);
    buf_deinit(key);
    return r < 0 && r != ERR_NOT_FOUND ? err_wrap(e, r, "chunk index") : r;
}

static int decoded(int r, chunk_id id, struct err *e)
{
    return r < 0 ? err_set(e, r, "chunk index: chunk %" PRIu64 " has a malformed record", id) : 0;
}

int chunk_index_get(struct chunk_index *index, chunk_id id, struct chunk_record *ret, struct err *e)
{
    struct buf key = BUF_INIT;
    struct buf value = BUF_INIT;
    chunk_key(id, &key);
    int r = get(index, &key, &value, e);
    if (r == ERR_NOT_FOUND) {
        r = err_set(e, r, "chunk %" PRIu64 " is not on this server", id);
    } else if (r == 0) {
        r = decoded(chunk_record_decode(id, span_of(&value), ret), id, e);
    }
    buf_deinit(&value);
    return r;
}

int chunk_index_get_crcs(struct chunk_index *index, chunk_id id, uint32_t segment,
                         struct crc_segment *ret, struct err *e)
{
    struct buf key = BUF_INIT;
    struct buf value = BUF_INIT;
    crc_segment_key(id, segment, &key);
    int r = get(index, &key, &value, e);
    if (r == ERR_NOT_FOUND) {
        r = err_set(e, r, "chunk %" PRIu64 " has no checksums for segment %u", id, segment);
    } else if (r == 0) {
        r = decoded(crc_segment_decode(span_of(&value), ret), id, e);
    }
    buf_deinit(&value);
    return r;
}

int chunk_index_get_all_crcs(struct chunk_index *index, chunk_id id, uint64_t length,
                             uint32_t *ret_crcs, struct err *e)
{
    uint32_t count = block_count(length);
    for (uint32_t at = 0; at < count; at += CRC_SEGMENT_BLOCKS) {
        struct crc_segment segment;
        uint32_t part = MIN(count - at, CRC_SEGMENT_BLOCKS);
        int r = chunk_index_get_crcs(index, id, at / CRC_SEGMENT_BLOCKS, &segment, e);
        if (r != 0) {
            return r;
        }
        if (segment.count < part) {
            return err_set(e, ERR_CORRUPT, "chunk %" PRIu64 ": %u checksums for %u blocks", id,
                           at + segment.count, count);
        }
        memcpy(ret_crcs + at, segment.values, part * sizeof(*ret_crcs));
    }
    return 0;
}

int chunk_index_get_inline(struct chunk_index *index, chunk_id id, struct buf *value,
                           struct inline_data *ret, struct err *e)
{
    struct buf key = BUF_INIT;
    inline_key(id, &key);
    int r = get(index, &key, value, e);
    if (r == ERR_NOT_FOUND) {
        return err_set(e, r, "chunk %" PRIu64 " has no inline bytes", id);
    }
    return r < 0 ? r : decoded(inline_data_decode(span_of(value), ret), id, e);
}

struct scan {
    index_visit_fn visit;
    index_trash_fn visit_trash;
    void *arg;
    struct err *e;
};

static int scan_chunk(void *arg, struct span key, struct span value)
{
    struct scan *scan = arg;
    chunk_id id = 0;
    struct chunk_record record;
    int r = chunk_key_decode(key, &id);
    if (r == 0) {
        r = chunk_record_decode(id, value, &record);
    }
    return r < 0 ? decoded(r, id, scan->e) : scan->visit(scan->arg, &record);
}

int chunk_index_scan(struct chunk_index *index, chunk_id after, index_visit_fn visit, void *arg,
                     struct err *e)
{
    if (after == UINT64_MAX) {
        return 0;
    }
    struct scan scan = {.visit = visit, .arg = arg, .e = e};
    struct buf start = BUF_INIT;
    chunk_key(after + 1, &start);
    struct kv_range range = {.start = span_of(&start), .end = {"d", 1}};
    int r = kv_scan(index->kv, NULL, &range, scan_chunk, &scan, e);
    buf_deinit(&start);
    return r;
}

static int scan_trash(void *arg, struct span key, struct span value)
{
    struct scan *scan = arg;
    struct trash_entry entry;
    int r = trash_decode(key, value, &entry);
    return r < 0 ? err_set(scan->e, r, "chunk index: malformed trash entry")
                 : scan->visit_trash(scan->arg, &entry);
}

int chunk_index_scan_trash(struct chunk_index *index, index_trash_fn visit, void *arg,
                           struct err *e)
{
    struct scan scan = {.visit_trash = visit, .arg = arg, .e = e};
    struct kv_range range = {.start = {"x", 1}, .end = {"y", 1}};
    return kv_scan(index->kv, NULL, &range, scan_trash, &scan, e);
}
