/* Blocks are built in place behind the room for their header, one after the other in a window of
 * memory that is written out when the next block would not fit: no copy between a record's place in
 * the sort buffer and write(). A record larger than a block has a block of its own.
 *
 * File: segments, index, footer (docs/formats-mr.md). All numbers are little-endian. */
#include "mapreduce/engine/run.h"

#include <endian.h>
#include <inttypes.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/macros.h"
#include "mapreduce/engine/record.h"

enum {
    BLOCK_HEADER_BYTES = 16,
    WINDOW_BYTES = 1024 * 1024, /* written at a time */
    FOOTER_BYTES = 32,
    INDEX_ROW_BYTES = 40,
    CODEC_NONE = 0,
    CODEC_LZ4 = 1,
};

static const char footer_magic[8] = {'t', 'r', 'i', 'r', 'u', 'n', '0', '1'};

/* The most bytes that a block can hold: one record of the greatest length. */
static const size_t block_bytes_max = (size_t)MR_RECORD_BYTES_MAX + RECORD_HEAD_BYTES_MAX;

static void put_u32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

void run_index_deinit(struct run_index *index)
{
    if (index) {
        free(index->segments);
        *index = (struct run_index){NULL, 0};
    }
}

/* ---- Index ---- */

static void index_encode(const struct run_index *index, uint64_t offset, struct buf *out)
{
    for (uint32_t i = 0; i < index->count; i++) {
        const struct run_segment *s = &index->segments[i];
        buf_append_u64le(out, s->offset);
        buf_append_u64le(out, s->length);
        buf_append_u64le(out, s->records);
        buf_append_u64le(out, s->raw_bytes);
        buf_append_u32le(out, s->crc);
        buf_append_u32le(out, 0);
    }
    uint32_t crc = crc32c(out->data, out->length);
    size_t footer = out->length;
    buf_append(out, footer_magic, sizeof(footer_magic));
    buf_append_u32le(out, TRIREME_DISK_FORMAT);
    buf_append_u32le(out, index->count);
    buf_append_u64le(out, offset);
    buf_append_u32le(out, crc);
    buf_append_u32le(out, crc32c(out->data + footer, out->length - footer));
}

struct run_footer {
    uint32_t count;
    uint64_t index_offset;
    uint32_t index_crc;
};

static int footer_decode(const uint8_t *bytes, struct source *file, struct run_footer *ret,
                         struct err *e)
{
    struct cursor c = cursor_of(bytes, FOOTER_BYTES);
    struct span magic = cursor_bytes(&c, sizeof(footer_magic));
    uint32_t version = cursor_u32le(&c);
    ret->count = cursor_u32le(&c);
    ret->index_offset = cursor_u64le(&c);
    ret->index_crc = cursor_u32le(&c);
    uint32_t crc = cursor_u32le(&c);
    if (memcmp(magic.data, footer_magic, sizeof(footer_magic)) != 0) {
        return err_set(e, ERR_CORRUPT, "%s: not a map output file", file->name);
    }
    if (crc != crc32c(bytes, FOOTER_BYTES - 4)) {
        return err_set(e, ERR_CORRUPT, "%s: footer checksum does not match", file->name);
    }
    if (version != TRIREME_DISK_FORMAT) {
        return err_set(e, ERR_VERSION, "%s: format %" PRIu32 ", this program knows %d", file->name,
                       version, TRIREME_DISK_FORMAT);
    }
    uint64_t index_bytes = (uint64_t)ret->count * INDEX_ROW_BYTES;
    if (ret->count == 0 || ret->count > MR_REDUCES_MAX || ret->index_offset > file->length ||
        file->length - ret->index_offset != index_bytes + FOOTER_BYTES) {
        return err_set(e, ERR_CORRUPT, "%s: footer does not fit the file", file->name);
    }
    return 0;
}

static int index_decode(const uint8_t *bytes, const struct run_footer *footer,
                        struct run_index *index, struct source *file, struct err *e)
{
    struct cursor c = cursor_of(bytes, (size_t)footer->count * INDEX_ROW_BYTES);
    if (crc32c(bytes, (size_t)footer->count * INDEX_ROW_BYTES) != footer->index_crc) {
        return err_set(e, ERR_CORRUPT, "%s: index checksum does not match", file->name);
    }
    uint64_t at = 0;
    for (uint32_t i = 0; i < footer->count; i++) {
        struct run_segment *s = &index->segments[i];
        s->offset = cursor_u64le(&c);
        s->length = cursor_u64le(&c);
        s->records = cursor_u64le(&c);
        s->raw_bytes = cursor_u64le(&c);
        s->crc = cursor_u32le(&c);
        (void)cursor_u32le(&c);
        if (s->offset != at || s->length > footer->index_offset - at) {
            return err_set(e, ERR_CORRUPT, "%s: segment %" PRIu32 " does not fit the file",
                           file->name, i);
        }
        at += s->length;
    }
    if (at != footer->index_offset) {
        return err_set(e, ERR_CORRUPT, "%s: segments do not fill the file", file->name);
    }
    return 0;
}

int run_index_read(struct source *file, struct run_index *ret_index, struct err *e)
{
    uint8_t bytes[FOOTER_BYTES];
    struct run_footer footer = {0};
    if (file->length < FOOTER_BYTES) {
        return err_set(e, ERR_CORRUPT, "%s: too short for a map output file", file->name);
    }
    int r = source_read_full(file, file->length - FOOTER_BYTES, bytes, FOOTER_BYTES, e);
    if (r < 0 || (r = footer_decode(bytes, file, &footer, e)) < 0) {
        return r;
    }
    struct run_index index = {xcalloc(footer.count, sizeof(struct run_segment)), footer.count};
    size_t index_bytes = (size_t)footer.count * INDEX_ROW_BYTES;
    uint8_t *rows = xmalloc(index_bytes);
    r = source_read_full(file, footer.index_offset, rows, index_bytes, e);
    r = r < 0 ? r : index_decode(rows, &footer, &index, file, e);
    free(rows);
    if (r < 0) {
        run_index_deinit(&index);
        return r;
    }
    *ret_index = index;
    return 0;
}

/* ---- Writing ---- */

static size_t pack_bytes(void)
{
    return (size_t)LZ4_COMPRESSBOUND(MR_BLOCK_BYTES + RECORD_HEAD_BYTES_MAX);
}

void run_writer_init(struct run_writer *w, struct sink *sink, struct region *memory,
                     uint32_t partitions, bool compress)
{
    CHECK(partitions > 0);
    CHECK(partitions <= MR_REDUCES_MAX);
    *w = (struct run_writer){.sink = sink, .memory = memory, .compress = compress};
    region_reserve(memory, WINDOW_BYTES + (compress ? pack_bytes() : 0));
    w->index.segments = xcalloc(partitions, sizeof(struct run_segment));
    w->index.count = 0;
    w->block = memory->data;
    w->at = w->block + BLOCK_HEADER_BYTES;
    w->limit = w->block + BLOCK_HEADER_BYTES + MR_BLOCK_BYTES;
    w->pack = compress ? memory->data + WINDOW_BYTES : NULL;
}

void run_writer_deinit(struct run_writer *w)
{
    run_index_deinit(&w->index);
    *w = (struct run_writer){0};
}

static int flush_window(struct run_writer *w, struct err *e)
{
    size_t length = (size_t)(w->block - w->memory->data);
    w->block = w->memory->data;
    w->at = w->block + BLOCK_HEADER_BYTES;
    w->limit = w->at + MR_BLOCK_BYTES;
    return length > 0 ? w->sink->write(w->sink, w->memory->data, length, e) : 0;
}

/* Compresses the payload in place if that makes it smaller. Returns its stored length. */
static size_t pack_block(struct run_writer *w, size_t raw, uint8_t *ret_codec)
{
    *ret_codec = CODEC_NONE;
    if (!w->compress || raw > MR_BLOCK_BYTES + RECORD_HEAD_BYTES_MAX) {
        return raw;
    }
    char *payload = (char *)w->block + BLOCK_HEADER_BYTES;
    int packed = LZ4_compress_default(payload, (char *)w->pack, (int)raw, (int)pack_bytes());
    if (packed <= 0 || (size_t)packed >= raw) {
        return raw;
    }
    memcpy(payload, w->pack, (size_t)packed);
    *ret_codec = CODEC_LZ4;
    return (size_t)packed;
}

static void fill_header(uint8_t *header, size_t raw, size_t stored, uint8_t codec)
{
    put_u32(header, (uint32_t)raw);
    put_u32(header + 4, (uint32_t)stored);
    put_u32(header + 8, codec);
}

static void count_block(struct run_writer *w, size_t raw, size_t stored)
{
    w->segment.length += BLOCK_HEADER_BYTES + stored;
    w->segment.raw_bytes += raw;
    w->written += BLOCK_HEADER_BYTES + stored;
}

/* Ends the current block, if it has records, and makes room for another. */
static int end_block(struct run_writer *w, struct err *e)
{
    size_t raw = (size_t)(w->at - w->block) - BLOCK_HEADER_BYTES;
    if (raw == 0) {
        return 0;
    }
    uint8_t codec;
    size_t stored = pack_block(w, raw, &codec);
    fill_header(w->block, raw, stored, codec);
    uint32_t crc = crc32c(w->block, 12);
    crc = crc32c_extend(crc, w->block + BLOCK_HEADER_BYTES, stored);
    put_u32(w->block + 12, crc);
    w->segment.crc = crc32c_extend(w->segment.crc, w->block, BLOCK_HEADER_BYTES + stored);
    count_block(w, raw, stored);
    w->block += BLOCK_HEADER_BYTES + stored;
    w->at = w->block + BLOCK_HEADER_BYTES;
    w->limit = w->at + MR_BLOCK_BYTES;
    size_t used = (size_t)(w->limit - w->memory->data);
    return used > WINDOW_BYTES ? flush_window(w, e) : 0;
}

/* A record that no block has room for: a block of its own, written in pieces. */
static int add_large(struct run_writer *w, const struct mr_span *pieces, size_t count,
                     struct err *e)
{
    int r = end_block(w, e);
    if (r < 0 || (r = flush_window(w, e)) < 0) {
        return r;
    }
    size_t raw = 0;
    for (size_t i = 0; i < count; i++) {
        raw += pieces[i].length;
    }
    if (raw > block_bytes_max) {
        return err_set(e, ERR_TOO_LARGE,
                       "a record of %zu bytes was emitted, at most %d are possible", raw,
                       MR_RECORD_BYTES_MAX);
    }
    uint8_t header[BLOCK_HEADER_BYTES];
    fill_header(header, raw, raw, CODEC_NONE);
    uint32_t crc = crc32c(header, 12);
    for (size_t i = 0; i < count; i++) {
        crc = crc32c_extend(crc, pieces[i].data, pieces[i].length);
    }
    put_u32(header + 12, crc);
    w->segment.crc = crc32c_extend(w->segment.crc, header, sizeof(header));
    r = w->sink->write(w->sink, header, sizeof(header), e);
    for (size_t i = 0; i < count && r == 0; i++) {
        w->segment.crc = crc32c_extend(w->segment.crc, pieces[i].data, pieces[i].length);
        r = pieces[i].length > 0 ? w->sink->write(w->sink, pieces[i].data, pieces[i].length, e) : 0;
    }
    count_block(w, raw, raw);
    w->segment.records++;
    return r;
}

int run_writer_add(struct run_writer *w, struct mr_span key, struct mr_span value, struct err *e)
{
    size_t most = RECORD_HEAD_BYTES_MAX + key.length + value.length;
    if (most > (size_t)(w->limit - w->at)) {
        if (most > MR_BLOCK_BYTES) {
            uint8_t head[RECORD_HEAD_BYTES_MAX];
            uint8_t *end = record_put_length(record_put_length(head, key.length), value.length);
            struct mr_span pieces[] = {mr_bytes(head, (size_t)(end - head)), key, value};
            return add_large(w, pieces, ARRAY_COUNT(pieces), e);
        }
        int r = end_block(w, e);
        if (r < 0) {
            return r;
        }
    }
    w->at = record_put(w->at, key, value);
    w->segment.records++;
    return 0;
}

int run_writer_add_encoded(struct run_writer *w, const uint8_t *record, size_t length,
                           struct err *e)
{
    if (length > (size_t)(w->limit - w->at)) {
        if (length > MR_BLOCK_BYTES) {
            struct mr_span piece = mr_bytes(record, length);
            return add_large(w, &piece, 1, e);
        }
        int r = end_block(w, e);
        if (r < 0) {
            return r;
        }
    }
    memcpy(w->at, record, length);
    w->at += length;
    w->segment.records++;
    return 0;
}

int run_writer_end_segment(struct run_writer *w, struct err *e)
{
    int r = end_block(w, e);
    w->index.segments[w->index.count++] = w->segment;
    w->segment = (struct run_segment){.offset = w->written};
    return r;
}

int run_writer_finish(struct run_writer *w, struct run_index *ret_index, struct err *e)
{
    int r = flush_window(w, e);
    if (r < 0) {
        return r;
    }
    struct buf tail = BUF_INIT;
    index_encode(&w->index, w->written, &tail);
    r = w->sink->write(w->sink, tail.data, tail.length, e);
    buf_deinit(&tail);
    r = r < 0 ? r : w->sink->finish(w->sink, e);
    if (r == 0) {
        *ret_index = w->index;
        w->index = (struct run_index){NULL, 0};
    }
    return r;
}

/* ---- Reading ---- */

enum {
    READ_BYTES = MR_BLOCK_BYTES + 2 * BLOCK_HEADER_BYTES
}; /* a block and the next one's header */

void run_reader_init(struct run_reader *r)
{
    *r = (struct run_reader){0};
}

void run_reader_deinit(struct run_reader *r)
{
    free(r->buffer);
    free(r->raw);
    *r = (struct run_reader){0};
}

void run_reader_begin(struct run_reader *r, struct source *source, uint64_t offset, uint64_t length)
{
    r->source = source;
    r->offset = offset;
    r->left = length;
    r->begin = r->end = 0;
    r->at = r->stop = NULL;
}

static int corrupt(const struct run_reader *r, const char *what, struct err *e)
{
    uint64_t at = r->offset - (r->end - r->begin);
    return err_set(e, ERR_CORRUPT, "%s: block at offset %" PRIu64 ": %s", r->source->name, at,
                   what);
}

/* Has at least `bytes` undecoded bytes in the buffer, and what one more read gives. The length was
 * found in the file, but it is not beyond the segment's. */
static int want(struct run_reader *r, size_t bytes, struct err *e)
{
    size_t held = r->end - r->begin;
    if (held >= bytes) {
        return 0;
    }
    if (bytes - held > r->left) {
        return corrupt(r, "goes beyond its segment", e);
    }
    size_t capacity = MAX(bytes, (size_t)READ_BYTES);
    if (capacity > r->capacity) {
        uint8_t *buffer = realloc(r->buffer, capacity);
        if (!buffer) {
            return err_set(e, ERR_TOO_LARGE, "no memory for a block of %zu bytes", bytes);
        }
        r->buffer = buffer;
        r->capacity = capacity;
    }
    if (held > 0) {
        memmove(r->buffer, r->buffer + r->begin, held);
    }
    r->begin = 0;
    r->end = held;
    size_t length = MIN(capacity - held, r->left);
    int error = source_read_full(r->source, r->offset, r->buffer + held, length, e);
    if (error < 0) {
        return error;
    }
    r->end += length;
    r->offset += length;
    r->left -= length;
    return 0;
}

static int unpack_block(struct run_reader *r, const uint8_t *payload, size_t stored, size_t raw,
                        struct err *e)
{
    if (raw > r->raw_capacity) {
        free(r->raw);
        r->raw_capacity = 0;
        r->raw = malloc(raw);
        if (!r->raw) {
            return err_set(e, ERR_TOO_LARGE, "no memory for a block of %zu bytes", raw);
        }
        r->raw_capacity = raw;
    }
    int n = LZ4_decompress_safe((const char *)payload, (char *)r->raw, (int)stored, (int)raw);
    if (n < 0 || (size_t)n != raw) {
        return corrupt(r, "does not decompress", e);
    }
    r->at = r->raw;
    r->stop = r->raw + raw;
    return 0;
}

static int next_block(struct run_reader *r, struct err *e)
{
    int error = want(r, BLOCK_HEADER_BYTES, e);
    if (error < 0) {
        return error;
    }
    size_t raw = get_u32(r->buffer + r->begin);
    size_t stored = get_u32(r->buffer + r->begin + 4);
    uint32_t codec = get_u32(r->buffer + r->begin + 8);
    if (raw == 0 || raw > block_bytes_max || stored > raw || codec > CODEC_LZ4 ||
        (codec == CODEC_NONE && stored != raw) ||
        (codec == CODEC_LZ4 && raw > MR_BLOCK_BYTES + RECORD_HEAD_BYTES_MAX)) {
        return corrupt(r, "bad header", e);
    }
    error = want(r, BLOCK_HEADER_BYTES + stored, e);
    if (error < 0) {
        return error;
    }
    const uint8_t *header = r->buffer + r->begin;
    const uint8_t *payload = header + BLOCK_HEADER_BYTES;
    if (crc32c_extend(crc32c(header, 12), payload, stored) != get_u32(header + 12)) {
        return corrupt(r, "checksum does not match", e);
    }
    r->at = payload;
    r->stop = payload + stored;
    if (codec == CODEC_LZ4) {
        error = unpack_block(r, payload, stored, raw, e);
    }
    r->begin += BLOCK_HEADER_BYTES + stored;
    return error;
}

int run_reader_next(struct run_reader *r, struct mr_record *ret, struct err *e)
{
    if (r->at == r->stop) {
        if (r->left == 0 && r->begin == r->end) {
            return 0;
        }
        int error = next_block(r, e);
        if (error < 0) {
            return error;
        }
    }
    const uint8_t *end = record_get_checked(r->at, r->stop, ret);
    if (!end) {
        return corrupt(r, "bad record", e);
    }
    r->at = end;
    return 1;
}
