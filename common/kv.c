/* RocksDB (7.8) behind kv.h.
 *
 * Small and quick to open: two background threads, no statistics, no directory of log files, small
 * write buffers, one block cache that also holds indexes and filters, table files opened when they
 * are needed.
 *
 * Traps that are dealt with here: error strings are malloc'ed and ours to free. An iterator stays
 * valid when its bounds go out of scope only if we keep the bytes, so bounds live as long as it
 * does. A checkpoint with a non-zero log_size_for_flush is
 * empty without a WAL. Reading the persisted tier without a WAL skips the memtables, which is just
 * what kv_get_persisted() is for.
 *
 * The filter of a table of short rows is half a megabyte. Whole, it did not fit into its shard of
 * the cache beside others, so that from some hundred thousand rows on every get read one from the
 * file and checked its sum. In pieces it is cached as far as it is used.
 *
 * A batch holds its changes itself (kv_changes.h) and gives them to RocksDB in the order of keys:
 * its memtable then finds the place of most of them beside the one before, which is a third of what
 * a write costs. RocksDB's own indexed batch keeps the order in which they came, replaced ones too.
 */
#include "common/kv.h"

#include <stdlib.h>
#include <string.h>

#include <rocksdb/c.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/kv_changes.h"

enum {
    CACHE_BYTES_DEFAULT = 32 * 1024 * 1024,
    WRITE_BUFFER_BYTES_DEFAULT = 16 * 1024 * 1024,
    WRITE_BUFFER_COUNT = 3,
    BLOCK_BYTES = 8 * 1024,
    METADATA_BLOCK_BYTES = 4 * 1024, /* of a filter or index: see below */
    CACHE_SHARD_BITS = 2,            /* each a lock; few threads read */
    BLOOM_BITS_PER_KEY = 10,
    OPEN_FILES_MAX = 512,
    TABLE_BYTES = 32 * 1024 * 1024,
    LOG_FILE_BYTES = 1024 * 1024, /* RocksDB's own text log */
    LOG_LEVEL_WARN = 2,
    READ_TIER_PERSISTED = 2, /* ReadTier::kPersistedTier */
    WAL_BYTES_MAX = 64 * 1024 * 1024,
};

/* Of a write buffer, for a filter over its keys (10 bits for each of our short rows): most of what
 * is asked for by key is not there, a new name or a new request. */
#define MEMTABLE_BLOOM_PART 0.02

/* How the error of an open in a directory that cannot be made begins. */
#define NO_PARENT "IO error: No such file or directory: While mkdir"

struct kv {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read;      /* newest state */
    rocksdb_readoptions_t *persisted; /* persisted tier */
    rocksdb_writeoptions_t *unsynced;
    rocksdb_writeoptions_t *synced;
    bool wal;
};

struct kv_snapshot {
    struct kv *kv;
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *read;
    struct err error;
};

struct kv_batch {
    struct kv *kv;
    struct kv_changes *changes;
    rocksdb_writebatch_t *batch; /* empty but while they are written */
    bool sole;                   /* nobody else writes: what was absent stays so */
    int scanning;                /* depth of scans on the view, during which it must not change */
    struct err error;
};

/* ---- errors ---- */

struct prefix_row {
    const char *prefix;
    int code;
};

/* Status::ToString() of RocksDB 7.8, most specific first. None is ERR_NOT_FOUND: that a table file
 * is gone must never pass for the absence of a key. */
static const struct prefix_row prefixes[] = {
    {"IO error: No space left on device", ERR_NO_SPACE},
    {"IO error: Space limit reached", ERR_NO_SPACE},
    {"IO error: While lock file", ERR_BUSY},
    {"IO error: lock ", ERR_BUSY},
    {"IO error", ERR_IO},
    {"Corruption", ERR_CORRUPT},
    {"Not implemented", ERR_UNSUPPORTED},
    {"Invalid argument", ERR_INVALID},
    {"Resource busy", ERR_BUSY},
    {"Operation timed out", ERR_TIMEOUT},
    {"Shutdown in progress", ERR_UNAVAILABLE},
};

static int classify(const char *text)
{
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (strncmp(text, prefixes[i].prefix, strlen(prefixes[i].prefix)) == 0) {
            /* A full disk is also told at the end of a longer text. */
            return prefixes[i].code == ERR_IO && strstr(text, "No space left on device")
                       ? ERR_NO_SPACE
                       : prefixes[i].code;
        }
    }
    return ERR_INTERNAL;
}

/* Turns RocksDB's error string into e and frees it. 0 when there is none. */
static int take_error(char *text, struct err *e, const char *what)
{
    if (!text) {
        return 0;
    }
    int code = err_set(e, classify(text), "%s: %s", what, text);
    rocksdb_free(text);
    return code;
}

/* ---- open ---- */

static void set_table_options(struct kv *kv, uint64_t cache_bytes)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_lru_cache_options_t *cache = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(cache, cache_bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(cache, CACHE_SHARD_BITS);
    kv->cache = rocksdb_cache_create_lru_opts(cache);
    rocksdb_lru_cache_options_destroy(cache);
    rocksdb_block_based_options_set_block_cache(table, kv->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(table, 1);
    rocksdb_block_based_options_set_index_type(
        table, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(table, 1);
    rocksdb_block_based_options_set_metadata_block_size(table, METADATA_BLOCK_BYTES);
    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_filter_policy(
        table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY));
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_options_set_block_based_table_factory(kv->options, table);
    rocksdb_block_based_options_destroy(table); /* the factory has a copy */
}

static void set_options(struct kv *kv, const struct kv_options *o)
{
    rocksdb_options_t *options = rocksdb_options_create();
    kv->options = options;
    rocksdb_options_set_create_if_missing(options, !o->must_exist);
    rocksdb_options_set_write_buffer_size(
        options, o->write_buffer_bytes ? o->write_buffer_bytes : WRITE_BUFFER_BYTES_DEFAULT);
    rocksdb_options_set_max_write_buffer_number(options, WRITE_BUFFER_COUNT);
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(options, MEMTABLE_BLOOM_PART);
    rocksdb_options_set_memtable_whole_key_filtering(options, 1);
    rocksdb_options_set_target_file_size_base(options, TABLE_BYTES);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
    rocksdb_options_set_max_file_opening_threads(options, 1);
    rocksdb_options_set_max_total_wal_size(options, WAL_BYTES_MAX);
    rocksdb_options_set_recycle_log_file_num(options, 0);
    rocksdb_options_set_bytes_per_sync(options, 1 << 20);
    rocksdb_options_set_skip_stats_update_on_db_open(options, 1);
    rocksdb_options_set_skip_checking_sst_file_sizes_on_db_open(options, 1);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
    rocksdb_options_set_info_log_level(options, LOG_LEVEL_WARN);
    rocksdb_options_set_max_log_file_size(options, LOG_FILE_BYTES);
    rocksdb_options_set_keep_log_file_num(options, 2);
    set_table_options(kv, o->cache_bytes ? o->cache_bytes : CACHE_BYTES_DEFAULT);
}

int kv_open(const char *path, const struct kv_options *o, struct kv **ret_kv, struct err *e)
{
    struct kv *kv = xcalloc(1, sizeof(*kv));
    char *error = NULL;
    kv->wal = o->wal;
    set_options(kv, o);
    kv->read = rocksdb_readoptions_create();
    kv->persisted = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(kv->persisted, READ_TIER_PERSISTED);
    kv->unsynced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(kv->unsynced, !o->wal);
    kv->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(kv->synced, 1);
    kv->db = rocksdb_open(kv->options, path, &error);
    bool absent = error && (strstr(error, "(create_if_missing is false)") ||
                            strncmp(error, NO_PARENT, strlen(NO_PARENT)) == 0);
    int r = take_error(error, e, "open database");
    r = absent ? err_wrap(e, ERR_NOT_FOUND, "%s", path) : r;
    if (r < 0) {
        kv_close(kv);
        return r;
    }
    *ret_kv = kv;
    return 0;
}

void kv_close(struct kv *kv)
{
    if (!kv) {
        return;
    }
    if (kv->db) {
        rocksdb_close(kv->db);
    }
    rocksdb_writeoptions_destroy(kv->synced);
    rocksdb_writeoptions_destroy(kv->unsynced);
    rocksdb_readoptions_destroy(kv->persisted);
    rocksdb_readoptions_destroy(kv->read);
    rocksdb_options_destroy(kv->options);
    rocksdb_cache_destroy(kv->cache);
    free(kv);
}

/* RocksDB counts each comparison of keys for whoever wants to see it, by thread, unless told not
 * to: a fifth of what a write into the state costs. So each thread tells it, which is one store. */
static void count_nothing(void)
{
    rocksdb_set_perf_level(rocksdb_disable);
}

/* ---- reading ---- */

static int get(struct kv *kv, const rocksdb_readoptions_t *read, struct span key,
               struct buf *ret_value, struct err *e)
{
    char *error = NULL;
    count_nothing();
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(kv->db, read, key.data, key.length, &error);
    int r = take_error(error, e, "get");
    if (r < 0) {
        return r;
    }
    if (!slice) {
        return ERR_NOT_FOUND;
    }
    size_t length = 0;
    const char *value = rocksdb_pinnableslice_value(slice, &length);
    buf_clear(ret_value);
    buf_append(ret_value, value, length);
    rocksdb_pinnableslice_destroy(slice);
    return 0;
}

int kv_get(struct kv *kv, const struct kv_snapshot *snapshot, struct span key,
           struct buf *ret_value, struct err *e)
{
    return get(kv, snapshot ? snapshot->read : kv->read, key, ret_value, e);
}

int kv_get_persisted(struct kv *kv, struct span key, struct buf *ret_value, struct err *e)
{
    return get(kv, kv->persisted, key, ret_value, e);
}

static bool below(const char *a, size_t a_length, struct span b)
{
    size_t common = a_length < b.length ? a_length : b.length;
    int order = common ? memcmp(a, b.data, common) : 0;
    return order < 0 || (order == 0 && a_length < b.length);
}

/* Stands on the first pair of the range in its direction, or beyond it. */
static void seek_first(rocksdb_iterator_t *it, const struct kv_range *range)
{
    if (!range->reverse && range->start.length > 0) {
        rocksdb_iter_seek(it, range->start.data, range->start.length);
    } else if (!range->reverse) {
        rocksdb_iter_seek_to_first(it);
    } else if (range->end.length > 0) {
        size_t length = 0;
        rocksdb_iter_seek_for_prev(it, range->end.data, range->end.length);
        const char *key = rocksdb_iter_valid(it) ? rocksdb_iter_key(it, &length) : NULL;
        if (key && !below(key, length, range->end)) { /* the end itself is not in the range */
            rocksdb_iter_prev(it);
        }
    } else {
        rocksdb_iter_seek_to_last(it);
    }
}

/* Visits what the iterator gives within the range. Frees the iterator. */
static int visit_range(rocksdb_iterator_t *it, const struct kv_range *range, kv_visit_fn visit,
                       void *arg, struct err *e)
{
    int r = 0;
    char *error = NULL;
    count_nothing();
    for (seek_first(it, range); r == 0 && rocksdb_iter_valid(it);
         range->reverse ? rocksdb_iter_prev(it) : rocksdb_iter_next(it)) {
        size_t key_length = 0;
        size_t value_length = 0;
        const char *key = rocksdb_iter_key(it, &key_length);
        if (range->reverse ? below(key, key_length, range->start)
                           : range->end.length > 0 && !below(key, key_length, range->end)) {
            break;
        }
        const char *value = rocksdb_iter_value(it, &value_length);
        r = visit(arg, (struct span){key, key_length}, (struct span){value, value_length});
    }
    if (r == 0) {
        rocksdb_iter_get_error(it, &error);
        r = take_error(error, e, "scan");
    }
    rocksdb_iter_destroy(it);
    return r;
}

/* Read options of a scan: the bounds keep it from walking over deleted pairs outside of the range.
 */
static rocksdb_readoptions_t *scan_options(const rocksdb_snapshot_t *snapshot,
                                           const struct kv_range *range)
{
    rocksdb_readoptions_t *read = rocksdb_readoptions_create();
    if (snapshot) {
        rocksdb_readoptions_set_snapshot(read, snapshot);
    }
    if (range->start.length > 0) {
        rocksdb_readoptions_set_iterate_lower_bound(read, range->start.data, range->start.length);
    }
    if (range->end.length > 0) {
        rocksdb_readoptions_set_iterate_upper_bound(read, range->end.data, range->end.length);
    }
    return read;
}

int kv_scan(struct kv *kv, const struct kv_snapshot *snapshot, const struct kv_range *range,
            kv_visit_fn visit, void *arg, struct err *e)
{
    rocksdb_readoptions_t *read = scan_options(snapshot ? snapshot->snapshot : NULL, range);
    int r = visit_range(rocksdb_create_iterator(kv->db, read), range, visit, arg, e);
    rocksdb_readoptions_destroy(read);
    return r;
}

struct kv_snapshot *kv_snapshot_new(struct kv *kv)
{
    struct kv_snapshot *s = xcalloc(1, sizeof(*s));
    s->kv = kv;
    s->snapshot = rocksdb_create_snapshot(kv->db);
    s->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(s->read, s->snapshot);
    return s;
}

void kv_snapshot_free(struct kv_snapshot *s)
{
    if (!s) {
        return;
    }
    rocksdb_readoptions_destroy(s->read);
    rocksdb_release_snapshot(s->kv->db, s->snapshot);
    free(s);
}

const struct err *kv_snapshot_error(const struct kv_snapshot *snapshot)
{
    return &snapshot->error;
}

static int snapshot_get(void *ctx, struct span key, struct buf *ret_value)
{
    struct kv_snapshot *s = ctx;
    return kv_get(s->kv, s, key, ret_value, &s->error);
}

static void snapshot_put(void *ctx, struct span key, struct span value)
{
    (void)ctx;
    (void)key;
    (void)value;
    CHECK(!"a snapshot cannot change");
}

static void snapshot_del(void *ctx, struct span key)
{
    (void)ctx;
    (void)key;
    CHECK(!"a snapshot cannot change");
}

static int snapshot_scan(void *ctx, const struct kv_range *range, kv_visit_fn visit, void *arg)
{
    struct kv_snapshot *s = ctx;
    return kv_scan(s->kv, s, range, visit, arg, &s->error);
}

struct kv_view kv_snapshot_view(struct kv_snapshot *snapshot)
{
    return (struct kv_view){snapshot,     snapshot_get, snapshot_put,
                            snapshot_put, snapshot_del, snapshot_scan};
}

/* ---- writing ---- */

struct kv_batch *kv_batch_new(struct kv *kv)
{
    struct kv_batch *b = xcalloc(1, sizeof(*b));
    b->kv = kv;
    b->changes = kv_changes_new();
    b->batch = rocksdb_writebatch_create();
    return b;
}

struct kv_batch *kv_batch_new_sole(struct kv *kv)
{
    struct kv_batch *b = kv_batch_new(kv);
    b->sole = true;
    return b;
}

void kv_batch_free(struct kv_batch *b)
{
    if (b) {
        kv_changes_free(b->changes);
        rocksdb_writebatch_destroy(b->batch);
        free(b);
    }
}

void kv_batch_put(struct kv_batch *b, struct span key, struct span value)
{
    CHECK(b->scanning == 0);
    kv_changes_put(b->changes, key, value);
}

void kv_batch_del(struct kv_batch *b, struct span key)
{
    CHECK(b->scanning == 0);
    kv_changes_del(b->changes, key);
}

void kv_batch_clear(struct kv_batch *b)
{
    CHECK(b->scanning == 0);
    kv_changes_clear(b->changes);
}

size_t kv_batch_count(const struct kv_batch *b)
{
    return kv_changes_count(b->changes);
}

size_t kv_batch_bytes(const struct kv_batch *b)
{
    return kv_changes_bytes(b->changes);
}

const struct err *kv_batch_error(const struct kv_batch *batch)
{
    return &batch->error;
}

static int batch_get(void *ctx, struct span key, struct buf *ret_value)
{
    struct kv_batch *b = ctx;
    const struct kv_change *change = kv_changes_find(b->changes, key);
    if (!change) {
        int r = get(b->kv, b->kv->read, key, ret_value, &b->error);
        if (r == ERR_NOT_FOUND && b->sole && b->scanning == 0) {
            kv_changes_absent(b->changes, key);
        }
        return r;
    }
    if (change->deleted) {
        return ERR_NOT_FOUND;
    }
    buf_clear(ret_value);
    buf_append(ret_value, change->value.data, change->value.length);
    return 0;
}

static void batch_put(void *ctx, struct span key, struct span value)
{
    kv_batch_put(ctx, key, value);
}

static void batch_put_new(void *ctx, struct span key, struct span value)
{
    struct kv_batch *b = ctx;
    CHECK(b->scanning == 0);
    if (b->sole) {
        kv_changes_put_new(b->changes, key, value);
    } else {
        kv_changes_put(b->changes, key, value);
    }
}

static void batch_del(void *ctx, struct span key)
{
    kv_batch_del(ctx, key);
}

/* A scan over what is written, and the changes that go before it. */
struct merge {
    struct kv_cursor cursor;
    kv_visit_fn visit;
    void *arg;
};

/* Visits the changes that come before `key`, or all that are left when it is empty. *ret_hidden:
 * one of them is of this very key. */
static int visit_changes(struct merge *m, struct span key, bool *ret_hidden)
{
    const struct kv_change *change = NULL;
    int r = 0;
    *ret_hidden = false;
    while (r == 0 && !*ret_hidden && (change = kv_cursor_get(&m->cursor)) != NULL) {
        if (key.length > 0) {
            bool is_below = below(change->key.data, change->key.length, key);
            *ret_hidden = !is_below && !below(key.data, key.length, change->key);
            if (!*ret_hidden && is_below == m->cursor.range->reverse) {
                break;
            }
        }
        r = change->deleted ? 0 : m->visit(m->arg, change->key, change->value);
        kv_cursor_next(&m->cursor);
    }
    return r;
}

static int visit_written(void *arg, struct span key, struct span value)
{
    struct merge *m = arg;
    bool hidden = false;
    int r = visit_changes(m, key, &hidden);
    return r == 0 && !hidden ? m->visit(m->arg, key, value) : r;
}

static int batch_scan(void *ctx, const struct kv_range *range, kv_visit_fn visit, void *arg)
{
    struct kv_batch *b = ctx;
    struct merge m = {.visit = visit, .arg = arg};
    bool hidden = false;
    kv_cursor_begin(&m.cursor, b->changes, range);
    b->scanning++;
    int r = kv_scan(b->kv, NULL, range, visit_written, &m, &b->error);
    if (r == 0) {
        r = visit_changes(&m, (struct span){NULL, 0}, &hidden);
    }
    b->scanning--;
    return r;
}

struct kv_view kv_batch_view(struct kv_batch *batch)
{
    return (struct kv_view){batch, batch_get, batch_put, batch_put_new, batch_del, batch_scan};
}

static void fill(struct kv_batch *b)
{
    static const struct kv_range all;
    struct kv_cursor cursor;
    const struct kv_change *change = NULL;
    kv_cursor_begin(&cursor, b->changes, &all);
    while ((change = kv_cursor_get(&cursor)) != NULL) {
        if (change->deleted && !change->is_new) {
            rocksdb_writebatch_delete(b->batch, change->key.data, change->key.length);
        } else if (!change->deleted) {
            rocksdb_writebatch_put(b->batch, change->key.data, change->key.length,
                                   change->value.data, change->value.length);
        }
        kv_cursor_next(&cursor);
    }
}

int kv_write(struct kv *kv, struct kv_batch *b, enum kv_durability durability, struct err *e)
{
    char *error = NULL;
    CHECK(b->kv == kv);
    CHECK(durability == KV_UNSYNCED || kv->wal);
    count_nothing();
    fill(b);
    rocksdb_write(kv->db, durability == KV_SYNCED ? kv->synced : kv->unsynced, b->batch, &error);
    rocksdb_writebatch_clear(b->batch);
    int r = take_error(error, e, "write");
    if (r == 0) {
        kv_batch_clear(b);
    }
    return r;
}

int kv_sync(struct kv *kv, struct err *e)
{
    char *error = NULL;
    CHECK(kv->wal);
    rocksdb_flush_wal(kv->db, 1, &error);
    return take_error(error, e, "sync");
}

int kv_flush(struct kv *kv, struct err *e)
{
    char *error = NULL;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    rocksdb_flush(kv->db, options, &error);
    rocksdb_flushoptions_destroy(options);
    return take_error(error, e, "flush");
}

int kv_checkpoint(struct kv *kv, const char *path, struct err *e)
{
    char *error = NULL;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(kv->db, &error);
    int r = take_error(error, e, "checkpoint");
    if (r < 0) {
        return r;
    }
    rocksdb_checkpoint_create(checkpoint, path, 0, &error); /* 0: always flush */
    rocksdb_checkpoint_object_destroy(checkpoint);
    return take_error(error, e, "checkpoint");
}

/* ---- looking ---- */

static uint64_t property(struct kv *kv, const char *name)
{
    uint64_t value = 0;
    return rocksdb_property_int(kv->db, name, &value) == 0 ? value : 0;
}

struct kv_stats kv_stats(struct kv *kv)
{
    return (struct kv_stats){
        .key_count = property(kv, "rocksdb.estimate-num-keys"),
        .table_bytes = property(kv, "rocksdb.live-sst-files-size"),
        .memtable_bytes = property(kv, "rocksdb.cur-size-all-mem-tables"),
        .cache_bytes = rocksdb_cache_get_usage(kv->cache),
    };
}
