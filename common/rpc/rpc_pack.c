/* protobuf-c messages to and from bytes. The unpacked form is larger than the packed one, without a
 * bound of its own (an empty sub-message takes two bytes on the wire and a hundred in memory), so
 * it comes from an arena that refuses. */
#include <string.h>

#include "common/arena.h"
#include "common/rpc/rpc_internal.h"

static void *arena_allocate(void *arena, size_t size)
{
    return arena_try_alloc(arena, size);
}

static void arena_keep(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

int rpc_unpack(const ProtobufCMessageDescriptor *type, struct span packed, struct arena *arena,
               ProtobufCMessage **ret_message)
{
    ProtobufCAllocator allocator = {arena_allocate, arena_keep, arena};
    size_t before = arena->bytes_used;
    size_t bytes_max = arena->bytes_max;
    if (bytes_max == 0 || bytes_max - before > RPC_UNPACK_BYTES_MAX) {
        arena->bytes_max = before + RPC_UNPACK_BYTES_MAX;
    }
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, &allocator, packed.length, packed.data);
    bool full = arena->bytes_used - before > RPC_UNPACK_BYTES_MAX / 2;
    arena->bytes_max = bytes_max;
    if (message == NULL) {
        return full ? ERR_TOO_LARGE : ERR_CORRUPT;
    }
    *ret_message = message;
    return 0;
}

int rpc_unpack_bytes(const ProtobufCMessageDescriptor *type, const struct rpc_bytes *packed,
                     struct arena *arena, ProtobufCMessage **ret_message)
{
    size_t length = rpc_bytes_length(packed);
    struct iovec one = {.iov_base = NULL, .iov_len = 0};
    (void)rpc_bytes_iov(packed, 0, &one, 1);
    if (one.iov_len < length) {
        one.iov_base = arena_try_alloc(arena, length);
        if (one.iov_base == NULL) {
            return ERR_TOO_LARGE;
        }
        rpc_bytes_read(packed, 0, one.iov_base, length);
    }
    return rpc_unpack(type, (struct span){one.iov_base, length}, arena, ret_message);
}

grpc_slice rpc_pack(const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    grpc_slice slice = grpc_slice_malloc(length);
    CHECK(protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice)) == length);
    return slice;
}

int rpc_unpack_buffer(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buffer,
                      struct arena *arena, ProtobufCMessage **ret_message)
{
    struct rpc_bytes *bytes = rpc_bytes_take_buffer(buffer);
    if (bytes == NULL) {
        return ERR_CORRUPT;
    }
    int r = rpc_unpack_bytes(type, bytes, arena, ret_message);
    rpc_bytes_unref(bytes);
    return r;
}
