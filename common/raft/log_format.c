/* See log_format.h and docs/formats-log.md. All integers are little-endian. A batch header has a
 * CRC of its own, apart from that of its records, because what a header says about earlier batches
 * is true even when its own records are torn. */
#include "common/raft/log_format.h"

#include <assert.h>
#include <string.h>

#include "common/check.h"
#include "common/crc32c.h"
#include "common/limits.h"

static const char segment_magic[8] = "TRIRLOG";

enum {
    BATCH_MAGIC = 0x31424c54, /* "TLB1" */
    CRC_BYTES = 4,
};

static_assert(LOG_SEGMENT_HEADER_BYTES % LOG_ALIGN_BYTES == 0, "batches begin aligned");

static void patch_u32le(struct buf *out, size_t at, uint32_t value)
{
    for (size_t i = 0; i < sizeof(value); i++) {
        out->data[at + i] = (char)(uint8_t)(value >> (8 * i));
    }
}

/* 0 magic[8]; 8 version u32; 12 crc u32 of all other bytes; 16 fields; zero to the end of the
 * block. */
void log_segment_header_encode(const struct log_segment_header *h, struct buf *out)
{
    size_t at = out->length;
    buf_append(out, segment_magic, sizeof(segment_magic));
    buf_append_u32le(out, TRIREME_DISK_FORMAT);
    buf_append_u32le(out, 0);
    buf_append_u64le(out, h->number);
    buf_append_u64le(out, h->salt);
    buf_append_u64le(out, h->first_seq);
    buf_append_u64le(out, h->epoch);
    buf_append_u64le(out, h->hard.term);
    buf_append_u64le(out, h->hard.vote);
    buf_append_u64le(out, h->start_index);
    buf_append_u64le(out, h->start_term);
    buf_append_u64le(out, h->last_index);
    buf_append_fill(out, 0, LOG_SEGMENT_HEADER_BYTES - (out->length - at));
    patch_u32le(out, at + 12, crc32c(out->data + at, LOG_SEGMENT_HEADER_BYTES));
}

int log_segment_header_decode(struct span image, struct log_segment_header *ret_header,
                              struct err *e)
{
    if (image.length < LOG_SEGMENT_HEADER_BYTES ||
        memcmp(image.data, segment_magic, sizeof(segment_magic)) != 0) {
        return err_set(e, ERR_CORRUPT, "not a log segment");
    }
    struct cursor c = cursor_of(image.data, LOG_SEGMENT_HEADER_BYTES);
    (void)cursor_bytes(&c, sizeof(segment_magic));
    uint32_t version = cursor_u32le(&c);
    if (version > TRIREME_DISK_FORMAT) {
        return err_set(e, ERR_VERSION, "log segment has format %u, this program knows up to %u",
                       version, (unsigned)TRIREME_DISK_FORMAT);
    }
    uint32_t crc = cursor_u32le(&c);
    static const uint8_t zero[CRC_BYTES];
    uint32_t actual = crc32c(image.data, 12);
    actual = crc32c_extend(actual, zero, CRC_BYTES);
    actual = crc32c_extend(actual, c.at, c.left);
    if (crc != actual) {
        return err_set(e, ERR_CORRUPT, "log segment header has a wrong checksum");
    }
    ret_header->number = cursor_u64le(&c);
    ret_header->salt = cursor_u64le(&c);
    ret_header->first_seq = cursor_u64le(&c);
    ret_header->epoch = cursor_u64le(&c);
    ret_header->hard.term = cursor_u64le(&c);
    ret_header->hard.vote = cursor_u64le(&c);
    ret_header->start_index = cursor_u64le(&c);
    ret_header->start_term = cursor_u64le(&c);
    ret_header->last_index = cursor_u64le(&c);
    return 0;
}

/* 0 magic u32; 4 crc u32 of bytes 8 to 63; 8 salt; 16 seq; 24 epoch; 32 synced seq; 40 synced last
 * index; 48 record count u32; 52 body bytes u32; 56 crc u32 of the body; 60 zero u32. */
void log_batch_seal(struct log_batch *b, uint64_t salt, struct buf *out, size_t at)
{
    size_t body = out->length - at - LOG_BATCH_HEADER_BYTES;
    CHECK(body <= UINT32_MAX);
    b->body_bytes = (uint32_t)body;
    uint32_t body_crc = crc32c(out->data + at + LOG_BATCH_HEADER_BYTES, body);
    struct buf header = BUF_INIT;
    buf_append_u32le(&header, BATCH_MAGIC);
    buf_append_u32le(&header, 0);
    buf_append_u64le(&header, salt);
    buf_append_u64le(&header, b->seq);
    buf_append_u64le(&header, b->epoch);
    buf_append_u64le(&header, b->synced_seq);
    buf_append_u64le(&header, b->synced_last);
    buf_append_u32le(&header, b->record_count);
    buf_append_u32le(&header, b->body_bytes);
    buf_append_u32le(&header, body_crc);
    buf_append_u32le(&header, 0);
    CHECK(header.length == LOG_BATCH_HEADER_BYTES);
    patch_u32le(&header, 4, crc32c(header.data + 8, LOG_BATCH_HEADER_BYTES - 8));
    memcpy(out->data + at, header.data, LOG_BATCH_HEADER_BYTES);
    buf_deinit(&header);
}

enum log_batch_found log_batch_decode(struct span image, size_t offset, uint64_t salt,
                                      struct log_batch *ret_batch)
{
    if (offset > image.length || image.length - offset < LOG_BATCH_HEADER_BYTES) {
        return LOG_BATCH_NONE;
    }
    const uint8_t *header = (const uint8_t *)image.data + offset;
    struct cursor c = cursor_of(header, LOG_BATCH_HEADER_BYTES);
    uint32_t magic = cursor_u32le(&c);
    uint32_t crc = cursor_u32le(&c);
    if (magic != BATCH_MAGIC || cursor_u64le(&c) != salt ||
        crc != crc32c(header + 8, LOG_BATCH_HEADER_BYTES - 8)) {
        return LOG_BATCH_NONE;
    }
    ret_batch->seq = cursor_u64le(&c);
    ret_batch->epoch = cursor_u64le(&c);
    ret_batch->synced_seq = cursor_u64le(&c);
    ret_batch->synced_last = cursor_u64le(&c);
    ret_batch->record_count = cursor_u32le(&c);
    ret_batch->body_bytes = cursor_u32le(&c);
    uint32_t body_crc = cursor_u32le(&c);
    if (image.length - offset - LOG_BATCH_HEADER_BYTES < ret_batch->body_bytes ||
        body_crc != crc32c(header + LOG_BATCH_HEADER_BYTES, ret_batch->body_bytes)) {
        return LOG_BATCH_TORN;
    }
    return LOG_BATCH_INTACT;
}

/* 0 crc u32 of bytes 4 to the end of data; 4 data bytes u32; 8 kind u8; 9 type u8; 10 zero[6]; 16
 * index; 24 term; data, zero to a multiple of 8. */
void log_record_encode(const struct log_record *r, struct buf *out)
{
    CHECK(r->data.length <= LOG_ENTRY_BYTES_MAX);
    size_t at = out->length;
    buf_append_u32le(out, 0);
    buf_append_u32le(out, (uint32_t)r->data.length);
    buf_append_byte(out, (uint8_t)r->kind);
    buf_append_byte(out, r->type);
    buf_append_fill(out, 0, 6);
    buf_append_u64le(out, r->index);
    buf_append_u64le(out, r->term);
    buf_append(out, r->data.data, r->data.length);
    patch_u32le(out, at, crc32c(out->data + at + CRC_BYTES, out->length - at - CRC_BYTES));
    buf_append_fill(out, 0, log_record_bytes(r->data.length) - (out->length - at));
}

int log_record_decode(struct cursor *c, struct log_record *ret_record)
{
    const uint8_t *at = c->at;
    uint32_t crc = cursor_u32le(c);
    uint32_t length = cursor_u32le(c);
    uint8_t kind = cursor_u8(c);
    uint8_t type = cursor_u8(c);
    (void)cursor_bytes(c, 6);
    uint64_t index = cursor_u64le(c);
    uint64_t term = cursor_u64le(c);
    if (c->failed || length > LOG_ENTRY_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    struct span data = cursor_bytes(c, length);
    (void)cursor_bytes(c, log_record_bytes(length) - LOG_RECORD_HEADER_BYTES - length);
    if (c->failed || kind < LOG_RECORD_ENTRY || kind > LOG_RECORD_RESET ||
        crc != crc32c(at + CRC_BYTES, LOG_RECORD_HEADER_BYTES - CRC_BYTES + length)) {
        return ERR_CORRUPT;
    }
    *ret_record = (struct log_record){(enum log_record_kind)kind, type, index, term, data};
    return 0;
}
