/* A counted array of gRPC slices. gRPC's own byte buffers cannot be shared: sending one empties it.
 * A slice is a counted reference itself, so parts and relays cost a few atomic additions. A small
 * part keeps the whole read buffer of its slice alive: holders of small things copy them out. */
#include "common/rpc/rpc_bytes.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/macros.h"
#include "common/rpc/rpc_internal.h"

struct rpc_bytes {
    atomic_uint refs;
    size_t length;       /* of all slices together */
    size_t count;        /* of slices */
    grpc_slice slices[]; /* one reference each; none is empty */
};

static struct rpc_bytes *bytes_new(size_t slice_count)
{
    struct rpc_bytes *bytes = xmalloc(sizeof(*bytes) + slice_count * sizeof(grpc_slice));
    atomic_init(&bytes->refs, 1);
    bytes->length = 0;
    bytes->count = 0;
    return bytes;
}

/* Takes the reference. */
static void bytes_add(struct rpc_bytes *bytes, grpc_slice slice)
{
    size_t length = GRPC_SLICE_LENGTH(slice);
    if (length == 0) {
        grpc_slice_unref(slice);
        return;
    }
    bytes->slices[bytes->count++] = slice;
    bytes->length += length;
}

struct rpc_bytes *rpc_bytes_take_slice(grpc_slice slice)
{
    struct rpc_bytes *bytes = bytes_new(1);
    bytes_add(bytes, slice);
    return bytes;
}

struct rpc_bytes *rpc_bytes_copy(const void *data, size_t length)
{
    return rpc_bytes_take_slice(grpc_slice_from_copied_buffer(data, length));
}

struct rpc_bytes *rpc_bytes_wrap(const void *data, size_t length, void (*release)(void *arg),
                                 void *arg)
{
    return rpc_bytes_take_slice(grpc_slice_new_with_user_data((void *)data, length, release, arg));
}

struct rpc_bytes *rpc_bytes_part(const struct rpc_bytes *bytes, size_t offset, size_t length)
{
    CHECK(offset <= bytes->length);
    CHECK(length <= bytes->length - offset);
    struct rpc_bytes *part = bytes_new(bytes->count);
    for (size_t i = 0; i < bytes->count && length > 0; i++) {
        size_t slice_length = GRPC_SLICE_LENGTH(bytes->slices[i]);
        if (offset >= slice_length) {
            offset -= slice_length;
            continue;
        }
        size_t take = MIN(length, slice_length - offset);
        bytes_add(part, grpc_slice_sub(bytes->slices[i], offset, offset + take));
        offset = 0;
        length -= take;
    }
    return part;
}

struct rpc_bytes *rpc_bytes_join(struct rpc_bytes *const *list, size_t count)
{
    size_t slices = 0;
    for (size_t i = 0; i < count; i++) {
        slices += list[i]->count;
    }
    struct rpc_bytes *whole = bytes_new(slices);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < list[i]->count; j++) {
            bytes_add(whole, grpc_slice_ref(list[i]->slices[j]));
        }
    }
    return whole;
}

struct rpc_bytes *rpc_bytes_ref(struct rpc_bytes *bytes)
{
    atomic_fetch_add_explicit(&bytes->refs, 1, memory_order_relaxed);
    return bytes;
}

void rpc_bytes_unref(struct rpc_bytes *bytes)
{
    if (bytes == NULL || atomic_fetch_sub_explicit(&bytes->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < bytes->count; i++) {
        grpc_slice_unref(bytes->slices[i]);
    }
    free(bytes);
}

size_t rpc_bytes_length(const struct rpc_bytes *bytes)
{
    return bytes->length;
}

int rpc_bytes_iov(const struct rpc_bytes *bytes, size_t offset, struct iovec *iov, int iov_count)
{
    int filled = 0;
    for (size_t i = 0; i < bytes->count && filled < iov_count; i++) {
        size_t length = GRPC_SLICE_LENGTH(bytes->slices[i]);
        if (offset >= length) {
            offset -= length;
            continue;
        }
        iov[filled].iov_base = (uint8_t *)GRPC_SLICE_START_PTR(bytes->slices[i]) + offset;
        iov[filled].iov_len = length - offset;
        filled++;
        offset = 0;
    }
    return filled;
}

void rpc_bytes_read(const struct rpc_bytes *bytes, size_t offset, void *to, size_t length)
{
    CHECK(offset <= bytes->length);
    CHECK(length <= bytes->length - offset);
    char *at = to;
    for (size_t i = 0; i < bytes->count && length > 0; i++) {
        size_t slice_length = GRPC_SLICE_LENGTH(bytes->slices[i]);
        if (offset >= slice_length) {
            offset -= slice_length;
            continue;
        }
        size_t take = MIN(length, slice_length - offset);
        memcpy(at, GRPC_SLICE_START_PTR(bytes->slices[i]) + offset, take);
        at += take;
        length -= take;
        offset = 0;
    }
}

struct rpc_bytes *rpc_bytes_take_buffer(grpc_byte_buffer *buffer)
{
    if (buffer->data.raw.compression != GRPC_COMPRESS_NONE) {
        grpc_byte_buffer_destroy(buffer); /* gRPC has unpacked what it could */
        return NULL;
    }
    const grpc_slice_buffer *list = &buffer->data.raw.slice_buffer;
    struct rpc_bytes *bytes = bytes_new(list->count);
    for (size_t i = 0; i < list->count; i++) {
        bytes_add(bytes, grpc_slice_ref(list->slices[i]));
    }
    grpc_byte_buffer_destroy(buffer);
    return bytes;
}

size_t rpc_bytes_slice_count(const struct rpc_bytes *bytes)
{
    return bytes->count;
}

size_t rpc_bytes_slices(const struct rpc_bytes *bytes, grpc_slice *out)
{
    memcpy(out, bytes->slices, bytes->count * sizeof(*out));
    return bytes->count;
}

/* ---- Data messages ---- */

/* Walks the fields of a message that lies in slices. */
struct walker {
    const struct rpc_bytes *bytes;
    size_t slice;  /* the current one */
    size_t within; /* offset in it */
    size_t at;     /* offset in the whole */
};

static size_t left(const struct walker *w)
{
    return w->bytes->length - w->at;
}

/* Goes on by length, which is at most what is left. */
static void skip(struct walker *w, size_t length)
{
    w->at += length;
    w->within += length;
    while (w->slice < w->bytes->count &&
           w->within >= GRPC_SLICE_LENGTH(w->bytes->slices[w->slice])) {
        w->within -= GRPC_SLICE_LENGTH(w->bytes->slices[w->slice]);
        w->slice++;
    }
}

static bool take_varint(struct walker *w, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && left(w) > 0; shift += 7) {
        uint8_t byte = GRPC_SLICE_START_PTR(w->bytes->slices[w->slice])[w->within];
        skip(w, 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static int take_header(const struct walker *w, size_t length, struct rpc_data_message *message)
{
    if (length > RPC_DATA_HEADER_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    free(message->copied);
    message->copied = NULL;
    message->header = (struct span){"", 0};
    if (length == 0) {
        return 0;
    }
    const grpc_slice *slice = &w->bytes->slices[w->slice];
    if (GRPC_SLICE_LENGTH(*slice) - w->within >= length) {
        message->header = (struct span){GRPC_SLICE_START_PTR(*slice) + w->within, length};
        return 0;
    }
    message->copied = xmalloc(length);
    rpc_bytes_read(w->bytes, w->at, message->copied, length);
    message->header = (struct span){message->copied, length};
    return 0;
}

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* One field after its tag: the length of what is to be skipped, or -1. */
static int64_t field_length(struct walker *w, unsigned wire_type)
{
    uint64_t value;
    switch (wire_type) {
    case WIRE_VARINT:
        return take_varint(w, &value) ? 0 : -1;
    case WIRE_64:
        return left(w) >= 8 ? 8 : -1;
    case WIRE_32:
        return left(w) >= 4 ? 4 : -1;
    case WIRE_BYTES:
        return take_varint(w, &value) && value <= left(w) ? (int64_t)value : -1;
    default:
        return -1; /* groups are gone from proto3 */
    }
}

static int walk(struct walker *w, struct rpc_data_message *message, size_t *data_at,
                size_t *data_length)
{
    while (left(w) > 0) {
        uint64_t tag;
        if (!take_varint(w, &tag) || tag >> 3 == 0 || tag > UINT32_MAX) {
            return ERR_CORRUPT;
        }
        int64_t length = field_length(w, tag & 7);
        if (length < 0) {
            return ERR_CORRUPT;
        }
        if (tag == (1 << 3 | WIRE_BYTES)) {
            int r = take_header(w, (size_t)length, message);
            if (r < 0) {
                return r;
            }
        } else if (tag == (2 << 3 | WIRE_BYTES)) {
            *data_at = w->at;
            *data_length = (size_t)length;
        } else if (tag >> 3 <= 2) {
            return ERR_CORRUPT; /* the field of another type */
        }
        skip(w, (size_t)length);
    }
    return 0;
}

int rpc_data_message_parse(const struct rpc_bytes *message, struct rpc_data_message *ret_message)
{
    struct rpc_data_message parsed = {.header = {"", 0}};
    struct walker w = {.bytes = message};
    size_t data_at = 0;
    size_t data_length = 0;
    int r = walk(&w, &parsed, &data_at, &data_length);
    if (r < 0) {
        free(parsed.copied);
        return r;
    }
    parsed.data = rpc_bytes_part(message, data_at, data_length);
    *ret_message = parsed;
    return 0;
}

void rpc_data_message_deinit(struct rpc_data_message *message)
{
    rpc_bytes_unref(message->data);
    free(message->copied);
    *message = (struct rpc_data_message){.header = {"", 0}};
}
