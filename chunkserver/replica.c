/* See replica.h. Order of every change: bytes to the file (pwrite returned), then the index entry
 * that makes them count; to be durable: the file's sync, then the entry, then the index's sync.
 *
 * A chunk begins inlined and moves to a file when it grows beyond CHUNK_INLINE_BYTES_MAX, or is
 * saved so often that rewriting its bytes costs more than a file. If a part of it was durable while
 * inlined, the file is synced before the entry lets go of the inline bytes, else a power cut
 * between could take back what dfs_sync promised. */
#include "chunkserver/replica.h"

#include <inttypes.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/rpc/rpc_bytes.h"

enum { IOV_COUNT = 64, VERIFY_BYTES = 1024 * 1024 };

void replica_init(struct replica *r, struct chunk_disk *disk, const struct chunk_record *record)
{
    *r = (struct replica){.record = *record, .disk = disk, .file = CHUNK_FILE_CLOSED};
    r->dirty_block = UINT32_MAX;
    buf_init(&r->inlined);
}

static struct index_batch *scratch_batch(struct replica *r)
{
    if (r->batch == NULL) {
        r->batch = index_batch_new(r->disk->index);
    }
    index_batch_clear(r->batch);
    return r->batch;
}

void replica_deinit(struct replica *r)
{
    if (r->disk == NULL) {
        return;
    }
    chunk_file_close(&r->file);
    buf_deinit(&r->inlined);
    free(r->crcs);
    index_batch_free(r->batch);
    *r = (struct replica){.file = CHUNK_FILE_CLOSED};
}

static void crcs_reserve(struct replica *r, uint32_t count)
{
    if (count > r->crc_capacity) {
        uint32_t wanted = MAX(count, 2 * r->crc_capacity);
        r->crcs = xreallocarray(r->crcs, wanted, sizeof(*r->crcs));
        r->crc_capacity = wanted;
    }
}

static int load_crcs(struct replica *r, struct err *e)
{
    uint32_t count = block_count(r->record.length);
    crcs_reserve(r, count);
    for (uint32_t at = 0; at < count; at += CRC_SEGMENT_BLOCKS) {
        struct crc_segment segment;
        int code = chunk_index_get_crcs(r->disk->index, r->record.ref.id, at / CRC_SEGMENT_BLOCKS,
                                        &segment, e);
        if (code < 0) {
            return code == ERR_NOT_FOUND
                       ? err_set(e, ERR_CORRUPT, "chunk %" PRIu64 ": no checksums",
                                 r->record.ref.id)
                       : code;
        }
        uint32_t part = MIN(count - at, CRC_SEGMENT_BLOCKS);
        if (segment.count < part) {
            return err_set(e, ERR_CORRUPT, "chunk %" PRIu64 ": checksums are missing",
                           r->record.ref.id);
        }
        memcpy(r->crcs + at, segment.values, part * sizeof(*r->crcs));
    }
    return 0;
}

static int load_inline(struct replica *r, struct err *e)
{
    struct buf value = BUF_INIT;
    struct inline_data data;
    int code = chunk_index_get_inline(r->disk->index, r->record.ref.id, &value, &data, e);
    if (code == 0 && data.bytes.length != r->record.length) {
        code = err_set(e, ERR_CORRUPT, "chunk %" PRIu64 ": %zu inline bytes of %" PRIu64,
                       r->record.ref.id, data.bytes.length, r->record.length);
    }
    if (code == 0) {
        buf_append(&r->inlined, data.bytes.data, data.bytes.length);
        r->inline_saves = 1; /* the index has them */
        crcs_reserve(r, 1);
        r->crcs[0] = data.crc;
    }
    buf_deinit(&value);
    return code;
}

int replica_load(struct replica *r, struct chunk_disk *disk, chunk_id id, struct err *e)
{
    struct chunk_record record;
    int code = chunk_index_get(disk->index, id, &record, e);
    if (code < 0) {
        return code;
    }
    replica_init(r, disk, &record);
    if (record.inlined) {
        code = load_inline(r, e);
    } else {
        code = load_crcs(r, e);
        if (code == 0) {
            code = chunk_file_open(&disk->dirs, id, true, &r->file, e);
        }
    }
    if (code < 0) {
        replica_deinit(r);
    }
    return code;
}

uint32_t replica_tail_crc(const struct replica *r)
{
    uint64_t length = r->record.length;
    return length % CHUNK_BLOCK_BYTES == 0 ? 0 : r->crcs[length / CHUNK_BLOCK_BYTES];
}

/* ---- Append ---- */

/* Verifies each block that the bytes touch. */
static int bytes_verify(const struct replica *r, const struct replica_bytes *b, struct err *e)
{
    uint64_t at = r->record.length;
    uint64_t end = at + b->length;
    size_t skip = b->skip;
    uint32_t crc = b->seed;
    for (size_t block = 0; at < end; block++) {
        uint64_t block_end = MIN((at / CHUNK_BLOCK_BYTES + 1) * CHUNK_BLOCK_BYTES, end);
        while (at < block_end) {
            struct iovec run;
            int n = rpc_bytes_iov(b->data, skip, &run, 1);
            CHECK(n == 1);
            size_t part = (size_t)MIN(run.iov_len, block_end - at);
            crc = crc32c_extend(crc, run.iov_base, part);
            skip += part;
            at += part;
        }
        if (crc != b->crcs[block]) {
            return err_set(e, ERR_CORRUPT,
                           "chunk %" PRIu64 ": bytes up to %" PRIu64
                           " have checksum %08x, the writer says %08x",
                           r->record.ref.id, at, crc, b->crcs[block]);
        }
        crc = 0;
    }
    return 0;
}

/* Leaves the index for a file. */
static int move_to_file(struct replica *r, struct err *e)
{
    struct chunk_dirs *dirs = &r->disk->dirs;
    int code = r->is_copy ? chunk_file_create_copy(dirs, r->record.ref.id, &r->file, e)
                          : chunk_file_create(dirs, r->record.ref.id, &r->file, e);
    if (code < 0) {
        return code;
    }
    r->file.limit = r->record.chunk_bytes;
    if (r->inlined.length > 0) {
        struct iovec run = {r->inlined.data, r->inlined.length};
        code = chunk_file_write(&r->file, 0, &run, 1, e);
        if (code == 0 && r->record.durable > 0) {
            code = chunk_file_sync(&r->file, e);
        }
    }
    if (code < 0 && r->is_copy) {
        chunk_file_remove_copy(&r->file);
    } else if (code < 0) {
        chunk_file_close(&r->file);
    }
    if (code < 0) {
        return code;
    }
    r->record.inlined = false;
    r->inline_gone = r->inline_saves > 0 || r->is_copy;
    r->inline_dirty = false;
    r->dirty_block = 0;
    buf_deinit(&r->inlined);
    return 0;
}

static int write_to_file(struct replica *r, const struct replica_bytes *b, struct err *e)
{
    uint64_t at = r->record.length;
    size_t skip = b->skip;
    size_t left = b->length;
    while (left > 0) {
        struct iovec iov[IOV_COUNT];
        int n = rpc_bytes_iov(b->data, skip, iov, IOV_COUNT);
        CHECK(n > 0);
        size_t total = 0;
        for (int i = 0; i < n; i++) {
            iov[i].iov_len = MIN(iov[i].iov_len, left - total);
            total += iov[i].iov_len;
            if (total == left) {
                n = i + 1;
            }
        }
        int code = chunk_file_write(&r->file, at, iov, n, e);
        if (code < 0) {
            return code;
        }
        at += total;
        skip += total;
        left -= total;
    }
    return 0;
}

bool replica_stays_inlined(const struct replica *r, uint64_t length)
{
    return r->record.inlined && r->record.length + length <= CHUNK_INLINE_BYTES_MAX &&
           r->inline_saves < CHUNK_INLINE_WRITES_MAX;
}

int replica_append(struct replica *r, const struct replica_bytes *b, struct err *e)
{
    CHECK(r->record.state == CHUNK_OPEN);
    CHECK(b->length > 0);
    uint64_t end = r->record.length + b->length;
    CHECK(end <= r->record.chunk_bytes);
    int code = bytes_verify(r, b, e);
    if (code < 0) {
        return code;
    }
    if (r->record.inlined && !replica_stays_inlined(r, b->length)) {
        code = move_to_file(r, e);
    }
    if (code == 0 && r->record.inlined) {
        buf_append_fill(&r->inlined, 0, b->length);
        rpc_bytes_read(b->data, b->skip, r->inlined.data + r->record.length, b->length);
        r->inline_dirty = true;
    } else if (code == 0) {
        code = write_to_file(r, b, e);
    }
    if (code < 0) {
        return code;
    }
    uint32_t first = (uint32_t)(r->record.length / CHUNK_BLOCK_BYTES);
    uint32_t count = block_count(end);
    crcs_reserve(r, count);
    memcpy(r->crcs + first, b->crcs, (count - first) * sizeof(*r->crcs));
    r->dirty_block = MIN(r->dirty_block, first);
    r->record.length = end;
    return 0;
}

/* ---- Durable ---- */

int replica_sync(struct replica *r, struct err *e)
{
    int code = r->file.fd >= 0 ? chunk_file_sync(&r->file, e) : 0;
    if (code == 0) {
        r->record.durable = r->record.length;
        r->record.durable_crc = replica_tail_crc(r);
    }
    return code;
}

int replica_close_at(struct replica *r, enum chunk_state state, uint64_t version, struct err *e)
{
    if (state == CHUNK_SEALED && r->file.fd >= 0 && r->file.allocated != r->record.length) {
        /* Gives back what was reserved, also by a process that was killed. */
        int code = chunk_file_cut(&r->file, r->record.length, e);
        if (code < 0) {
            return code;
        }
    }
    int code = replica_sync(r, e);
    if (code == 0) {
        r->record.state = state;
        r->record.ref.version = version;
    }
    return code;
}

/* CRC of the first `length` bytes of `block`, read from the disk. ERR_CORRUPT also for a block that
 * cannot be read: a sector that is lost is no reason to give up what is before it. A whole disk
 * that fails does not let anything become durable either, and is known by that. */
static int block_crc(struct replica *r, uint32_t block, size_t length, uint32_t *ret, struct err *e)
{
    uint64_t offset = (uint64_t)block * CHUNK_BLOCK_BYTES;
    if (r->record.inlined) {
        CHECK(offset + length <= r->inlined.length);
        *ret = crc32c(r->inlined.data + offset, length);
        return 0;
    }
    uint8_t *bytes = xmalloc(CHUNK_BLOCK_BYTES);
    int code = chunk_file_read(&r->file, offset, bytes, length, e);
    if (code == 0) {
        *ret = crc32c(bytes, length);
    }
    free(bytes);
    return code == ERR_IO ? err_wrap(e, ERR_CORRUPT, "block %u", block) : code;
}

static size_t block_bytes(const struct replica *r, uint32_t block)
{
    uint64_t offset = (uint64_t)block * CHUNK_BLOCK_BYTES;
    return (size_t)MIN(r->record.length - offset, (uint64_t)CHUNK_BLOCK_BYTES);
}

int replica_cut(struct replica *r, uint64_t length, struct err *e)
{
    CHECK(length <= r->record.length);
    if (length == r->record.length) {
        return 0;
    }
    uint32_t block = (uint32_t)(length / CHUNK_BLOCK_BYTES);
    size_t part = (size_t)(length % CHUNK_BLOCK_BYTES);
    if (part > 0) {
        uint32_t whole;
        uint32_t prefix;
        int code = block_crc(r, block, block_bytes(r, block), &whole, e);
        if (code == 0 && whole != r->crcs[block]) {
            code = err_set(e, ERR_CORRUPT, "chunk %" PRIu64 ": block %u is damaged",
                           r->record.ref.id, block);
        }
        if (code == 0) {
            code = block_crc(r, block, part, &prefix, e);
        }
        if (code != 0) {
            return code;
        }
        r->crcs[block] = prefix;
    }
    if (r->record.inlined) {
        r->inlined.length = (size_t)length;
        r->inlined.data[length] = 0;
        r->inline_dirty = true;
    } else {
        int code = chunk_file_cut(&r->file, length, e);
        if (code < 0) {
            return code;
        }
    }
    r->dirty_block = MIN(r->dirty_block, block);
    r->record.length = length;
    r->record.acked = MIN(r->record.acked, length);
    r->record.durable = MIN(r->record.durable, length);
    r->record.durable_crc = replica_tail_crc(r);
    return 0;
}

/* What of a block that does not verify at its full length was synced and still does. */
static int synced_part(struct replica *r, uint32_t block, uint64_t *ret_length, struct err *e)
{
    uint64_t start = (uint64_t)block * CHUNK_BLOCK_BYTES;
    *ret_length = start;
    if (r->record.durable <= start || r->record.durable % CHUNK_BLOCK_BYTES == 0) {
        return 0;
    }
    if (r->record.durable / CHUNK_BLOCK_BYTES != block) {
        return 0;
    }
    uint32_t crc;
    int code = block_crc(r, block, (size_t)(r->record.durable - start), &crc, e);
    if (code == 0 && crc == r->record.durable_crc) {
        *ret_length = r->record.durable;
    }
    return code == ERR_CORRUPT ? 0 : code;
}

int replica_check(struct chunk_disk *disk, const struct chunk_record *record, struct err *e)
{
    struct replica r;
    uint64_t verified = 0;
    uint64_t needed = record->state == CHUNK_OPEN ? record->acked : record->length;
    replica_init(&r, disk, record);
    int code = record->inlined ? load_inline(&r, e) : load_crcs(&r, e);
    if (code == 0 && !record->inlined) {
        code = chunk_file_open(&disk->dirs, record->ref.id, false, &r.file, e);
        code = code == ERR_IO ? err_wrap(e, ERR_CORRUPT, "chunk %" PRIu64, record->ref.id) : code;
    }
    if (code == ERR_NOT_FOUND) { /* bytes of which there is a record */
        code = err_wrap(e, ERR_CORRUPT, "chunk %" PRIu64, record->ref.id);
    }
    if (code == 0) {
        code = replica_verify(&r, &verified, e);
    }
    if (code == 0 && verified < needed) {
        code = err_set(e, ERR_CORRUPT, "chunk %" PRIu64 ": %" PRIu64 " of %" PRIu64 " bytes verify",
                       record->ref.id, verified, needed);
    }
    replica_deinit(&r);
    return code;
}

int replica_verify(struct replica *r, uint64_t *ret_length, struct err *e)
{
    uint32_t count = block_count(r->record.length);
    for (uint32_t block = 0; block < count; block++) {
        uint32_t crc = 0;
        int code = block_crc(r, block, block_bytes(r, block), &crc, e);
        if (code < 0 && code != ERR_CORRUPT) {
            return code;
        }
        if (code == ERR_CORRUPT || crc != r->crcs[block]) {
            return synced_part(r, block, ret_length, e);
        }
    }
    *ret_length = r->record.length;
    return 0;
}

void replica_settle(struct replica *r, uint64_t length)
{
    CHECK(length <= r->record.length);
    if (length == r->record.length) {
        return;
    }
    uint32_t block = (uint32_t)(length / CHUNK_BLOCK_BYTES);
    if (length % CHUNK_BLOCK_BYTES != 0) {
        CHECK(length == r->record.durable); /* the only prefix of a block that has a CRC */
        r->crcs[block] = r->record.durable_crc;
    }
    r->dirty_block = MIN(r->dirty_block, block);
    r->record.length = length;
    r->record.acked = MIN(r->record.acked, length);
    r->record.durable = MIN(r->record.durable, length);
    r->record.durable_crc = replica_tail_crc(r);
    if (r->record.inlined) {
        r->inlined.length = (size_t)length;
        r->inlined.data[length] = 0;
        r->inline_dirty = true;
    }
}

/* Copies the first `length` bytes into a new file of the chunk's ".copy" name. */
static int copy_prefix(struct replica *r, uint64_t length, struct chunk_file *copy, struct err *e)
{
    int code = chunk_file_create_copy(&r->disk->dirs, r->record.ref.id, copy, e);
    uint8_t *bytes = xmalloc(VERIFY_BYTES);
    for (uint64_t at = 0; code == 0 && at < length;) {
        size_t part = (size_t)MIN(length - at, (uint64_t)VERIFY_BYTES);
        code = chunk_file_read(&r->file, at, bytes, part, e);
        if (code == 0) {
            struct iovec run = {bytes, part};
            code = chunk_file_write(copy, at, &run, 1, e);
        }
        at += part;
    }
    free(bytes);
    return code;
}

int replica_set_aside(struct replica *r, uint64_t length, time_ms due_wall_ms, struct err *e)
{
    uint64_t bytes = 0;
    if (r->record.inlined) {
        return 0;
    }
    int code = chunk_file_bytes(&r->file, &bytes, e);
    if (code < 0 || bytes <= length) {
        return code;
    }
    struct chunk_file copy = CHUNK_FILE_CLOSED;
    struct trash_entry entry = {.due_wall_ms = due_wall_ms, .ref = r->record.ref};
    /* To the end of the block: the cut that follows verifies it whole. */
    uint64_t blocks_end = (uint64_t)block_count(length) * CHUNK_BLOCK_BYTES;
    code = copy_prefix(r, MIN(blocks_end, r->record.length), &copy, e);
    if (code == 0) {
        index_put_trash(scratch_batch(r), &entry);
        code = chunk_index_write(r->disk->index, r->batch, e);
    }
    if (code == 0) {
        code = chunk_file_trash_link(&r->disk->dirs, r->record.ref, e);
    }
    if (code == 0) {
        code = chunk_file_adopt_copy(&copy, e); /* the name now means the copy */
    }
    if (code < 0) {
        chunk_file_remove_copy(&copy);
        return code;
    }
    chunk_file_close(&r->file);
    r->file = copy;
    return 0;
}

void replica_make_copy(struct replica *r)
{
    CHECK(r->record.length == 0);
    r->is_copy = true;
}

int replica_adopt_copy(struct replica *r, struct err *e)
{
    int code = 0;
    if (r->file.fd >= 0) {
        code = chunk_file_cut(&r->file, r->record.length, e);
        if (code == 0) {
            code = chunk_file_adopt_copy(&r->file, e);
        }
    }
    if (code == 0) {
        r->is_copy = false;
        r->record.state = CHUNK_SEALED;
        r->record.acked = r->record.length;
        r->record.durable = r->record.length;
        r->record.durable_crc = replica_tail_crc(r);
    }
    return code;
}

void replica_remove_copy(struct replica *r)
{
    if (r->is_copy && r->file.fd >= 0) {
        chunk_file_remove_copy(&r->file);
    }
}

/* ---- Index ---- */

static void put_crcs(const struct replica *r, struct index_batch *batch)
{
    uint32_t count = block_count(r->record.length);
    for (uint32_t at = r->dirty_block / CRC_SEGMENT_BLOCKS * CRC_SEGMENT_BLOCKS; at < count;
         at += CRC_SEGMENT_BLOCKS) {
        struct crc_segment segment = {.length = r->record.length,
                                      .count = MIN(count - at, CRC_SEGMENT_BLOCKS)};
        memcpy(segment.values, r->crcs + at, segment.count * sizeof(*r->crcs));
        index_put_crcs(batch, r->record.ref.id, at / CRC_SEGMENT_BLOCKS, &segment);
    }
}

void replica_put(struct replica *r, struct index_batch *batch)
{
    index_put_chunk(batch, &r->record);
    if (r->record.inlined && (r->inline_dirty || r->inline_saves == 0)) {
        struct inline_data data = {.crc = r->record.length == 0 ? 0 : r->crcs[0],
                                   .bytes = {r->inlined.data, r->inlined.length}};
        index_put_inline(batch, r->record.ref.id, &data);
    } else if (!r->record.inlined && r->dirty_block != UINT32_MAX) {
        put_crcs(r, batch);
    }
    if (r->inline_gone) {
        index_remove_inline(batch, r->record.ref.id);
    }
    r->inline_saves += r->inline_dirty ? 1 : 0;
    r->inline_dirty = false;
    r->inline_gone = false;
    r->dirty_block = UINT32_MAX;
}

int replica_save(struct replica *r, struct err *e)
{
    replica_put(r, scratch_batch(r));
    return chunk_index_write(r->disk->index, r->batch, e);
}

void replica_forget(const struct chunk_record *record, time_ms due_wall_ms,
                    struct index_batch *batch)
{
    struct trash_entry entry = {
        .due_wall_ms = due_wall_ms, .ref = record->ref, .inlined = record->inlined};
    index_remove_chunk(batch, record->ref.id, record->chunk_bytes);
    if (!record->inlined) {
        index_put_trash(batch, &entry);
    }
}
