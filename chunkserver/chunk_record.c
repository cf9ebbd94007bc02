/* Every value begins with the format byte. Lengths are checked against the limits before anything
 * is believed, so a decoded record can be used without further doubt about its ranges. */
#include "chunkserver/chunk_record.h"

#include "common/check.h"

enum { FORMAT = 1, FLAG_INLINE = 1, FLAG_DAMAGED = 2, FLAG_CLEAN = 4, FLAGS_KNOWN = 7 };

const struct span term_key = {"t", 1};
const struct span start_count_key = {"n", 1};

static struct cursor value_begin(struct span value, int *ret)
{
    struct cursor c = cursor_of(value.data, value.length);
    uint8_t format = cursor_u8(&c);
    *ret = c.failed          ? ERR_CORRUPT
           : format > FORMAT ? ERR_VERSION
           : format < FORMAT ? ERR_CORRUPT
                             : 0;
    return c;
}

void chunk_record_encode(const struct chunk_record *r, struct buf *out)
{
    unsigned flags = (r->inlined ? FLAG_INLINE : 0u) | (r->damaged ? FLAG_DAMAGED : 0u) |
                     (r->clean ? FLAG_CLEAN : 0u);
    buf_append_byte(out, FORMAT);
    buf_append_u64le(out, r->ref.version);
    buf_append_byte(out, (uint8_t)r->state);
    buf_append_byte(out, (uint8_t)flags);
    buf_append_u64le(out, r->length);
    buf_append_u64le(out, r->durable);
    buf_append_u32le(out, r->durable_crc);
    buf_append_u64le(out, r->acked);
    buf_append_u64le(out, r->granted_start);
    buf_append_u64le(out, r->chunk_bytes);
}

static bool record_is_sound(const struct chunk_record *r, unsigned state, unsigned flags)
{
    bool known =
        state >= CHUNK_OPEN && state <= CHUNK_SEALED && (flags & ~(unsigned)FLAGS_KNOWN) == 0;
    bool ranges = r->ref.version > 0 && r->chunk_bytes <= CHUNK_BYTES_MAX &&
                  r->length <= r->chunk_bytes && r->durable <= r->length && r->acked <= r->length;
    return known && ranges && (!r->inlined || r->length <= CHUNK_INLINE_BYTES_MAX);
}

int chunk_record_decode(chunk_id id, struct span value, struct chunk_record *ret)
{
    int r;
    struct cursor c = value_begin(value, &r);
    if (r < 0) {
        return r;
    }
    struct chunk_record record = {.ref = {.id = id}};
    record.ref.version = cursor_u64le(&c);
    unsigned state = cursor_u8(&c);
    unsigned flags = cursor_u8(&c);
    record.inlined = (flags & FLAG_INLINE) != 0;
    record.damaged = (flags & FLAG_DAMAGED) != 0;
    record.clean = (flags & FLAG_CLEAN) != 0;
    record.length = cursor_u64le(&c);
    record.durable = cursor_u64le(&c);
    record.durable_crc = cursor_u32le(&c);
    record.acked = cursor_u64le(&c);
    record.granted_start = cursor_u64le(&c);
    record.chunk_bytes = cursor_u64le(&c);
    if (cursor_finish(&c) < 0 || !record_is_sound(&record, state, flags)) {
        return ERR_CORRUPT;
    }
    record.state = (enum chunk_state)state;
    *ret = record;
    return 0;
}

void crc_segment_encode(const struct crc_segment *segment, struct buf *out)
{
    CHECK(segment->count <= CRC_SEGMENT_BLOCKS);
    buf_append_byte(out, FORMAT);
    buf_append_u64le(out, segment->length);
    for (uint32_t i = 0; i < segment->count; i++) {
        buf_append_u32le(out, segment->values[i]);
    }
}

int crc_segment_decode(struct span value, struct crc_segment *ret)
{
    int r;
    struct cursor c = value_begin(value, &r);
    if (r < 0) {
        return r;
    }
    uint64_t length = cursor_u64le(&c);
    if (c.failed || length > CHUNK_BYTES_MAX || c.left % 4 != 0 ||
        c.left / 4 > CRC_SEGMENT_BLOCKS) {
        return ERR_CORRUPT;
    }
    ret->length = length;
    ret->count = (uint32_t)(c.left / 4);
    for (uint32_t i = 0; i < ret->count; i++) {
        ret->values[i] = cursor_u32le(&c);
    }
    return 0;
}

void inline_data_encode(const struct inline_data *data, struct buf *out)
{
    CHECK(data->bytes.length <= CHUNK_INLINE_BYTES_MAX);
    buf_append_byte(out, FORMAT);
    buf_append_u32le(out, data->crc);
    buf_append(out, data->bytes.data, data->bytes.length);
}

int inline_data_decode(struct span value, struct inline_data *ret)
{
    int r;
    struct cursor c = value_begin(value, &r);
    if (r < 0) {
        return r;
    }
    uint32_t crc = cursor_u32le(&c);
    if (c.failed || c.left > CHUNK_INLINE_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    *ret = (struct inline_data){.crc = crc, .bytes = {c.at, c.left}};
    return 0;
}

void index_number_encode(uint64_t number, struct buf *out)
{
    buf_append_byte(out, FORMAT);
    buf_append_u64le(out, number);
}

int index_number_decode(struct span value, uint64_t *ret)
{
    int r;
    struct cursor c = value_begin(value, &r);
    if (r < 0) {
        return r;
    }
    uint64_t number = cursor_u64le(&c);
    if (cursor_finish(&c) < 0) {
        return ERR_CORRUPT;
    }
    *ret = number;
    return 0;
}

/* ---- Keys ---- */

static void key_begin(char letter, uint64_t number, struct buf *out)
{
    buf_clear(out);
    buf_append_byte(out, (uint8_t)letter);
    buf_append_u64be(out, number);
}

void chunk_key(chunk_id id, struct buf *out)
{
    key_begin('c', id, out);
}

void crc_segment_key(chunk_id id, uint32_t segment, struct buf *out)
{
    key_begin('b', id, out);
    buf_append_u32be(out, segment);
}

void inline_key(chunk_id id, struct buf *out)
{
    key_begin('d', id, out);
}

void trash_key(const struct trash_entry *entry, struct buf *out)
{
    key_begin('x', entry->due_wall_ms, out);
    buf_append_u64be(out, entry->ref.id);
    buf_append_u64be(out, entry->ref.version);
}

int chunk_key_decode(struct span key, chunk_id *ret)
{
    struct cursor c = cursor_of(key.data, key.length);
    uint8_t letter = cursor_u8(&c);
    chunk_id id = cursor_u64be(&c);
    if (cursor_finish(&c) < 0 || letter != 'c') {
        return ERR_CORRUPT;
    }
    *ret = id;
    return 0;
}

void trash_value_encode(const struct trash_entry *entry, struct buf *out)
{
    buf_append_byte(out, FORMAT);
    buf_append_byte(out, entry->inlined ? FLAG_INLINE : 0);
}

int trash_decode(struct span key, struct span value, struct trash_entry *ret)
{
    int r;
    struct cursor v = value_begin(value, &r);
    if (r < 0) {
        return r;
    }
    struct cursor k = cursor_of(key.data, key.length);
    struct trash_entry entry = {0};
    uint8_t letter = cursor_u8(&k);
    entry.due_wall_ms = cursor_u64be(&k);
    entry.ref.id = cursor_u64be(&k);
    entry.ref.version = cursor_u64be(&k);
    uint8_t flags = cursor_u8(&v);
    if (cursor_finish(&k) < 0 || cursor_finish(&v) < 0 || letter != 'x' || flags > FLAG_INLINE) {
        return ERR_CORRUPT;
    }
    entry.inlined = (flags & FLAG_INLINE) != 0;
    *ret = entry;
    return 0;
}
