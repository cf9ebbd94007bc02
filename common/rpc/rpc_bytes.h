/* Immutable bytes in slices, counted references: what a stream receives, hands to pwritev and
 * passes on to another stream without copying. Any thread: the count is atomic and the bytes never
 * change, so a worker may hold and drop them.
 *
 * A data message is a protobuf message {header = 1, data = 2} of which field 1 (any message) is
 * read as bytes and field 2 as slices, because protobuf-c would copy every bytes field. */
#ifndef COMMON_RPC_RPC_BYTES_H
#define COMMON_RPC_RPC_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/buf.h" /* struct span */
#include "common/err.h"

struct arena;
struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

struct rpc_bytes;

/* Never NULL. The caller owns the returned reference. */
struct rpc_bytes *rpc_bytes_copy(const void *data, size_t length);
/* Borrows memory until release(arg), which runs on whichever thread drops the last reference,
 * gRPC's own included; the bytes must not change before that. */
struct rpc_bytes *rpc_bytes_wrap(const void *data, size_t length, void (*release)(void *arg),
                                 void *arg);
/* A part of other bytes, by reference. offset + length <= rpc_bytes_length(). */
struct rpc_bytes *rpc_bytes_part(const struct rpc_bytes *bytes, size_t offset, size_t length);

/* One after the other, by reference. */
struct rpc_bytes *rpc_bytes_join(struct rpc_bytes *const *list, size_t count);

struct rpc_bytes *rpc_bytes_ref(struct rpc_bytes *bytes);
void rpc_bytes_unref(struct rpc_bytes *bytes); /* accepts NULL */
size_t rpc_bytes_length(const struct rpc_bytes *bytes);

/* Fills iov with up to iov_count runs beginning at offset, for pwritev or a checksum. Returns how
 * many, 0 at the end. The runs live as long as the caller's reference. */
int rpc_bytes_iov(const struct rpc_bytes *bytes, size_t offset, struct iovec *iov, int iov_count);
/* Copies out. offset + length <= rpc_bytes_length(). */
void rpc_bytes_read(const struct rpc_bytes *bytes, size_t offset, void *to, size_t length);

/* Unpacks a whole message into arena (protobuf-c, bounded by RPC_UNPACK_BYTES_MAX of memory: small
 * messages can ask for much). ERR_CORRUPT: not such a message; ERR_TOO_LARGE.
 * protobuf-c recurses into sub-messages, so no type may contain itself. */
int rpc_unpack(const struct ProtobufCMessageDescriptor *type, struct span packed,
               struct arena *arena, struct ProtobufCMessage **ret_message) MUST_CHECK;
int rpc_unpack_bytes(const struct ProtobufCMessageDescriptor *type, const struct rpc_bytes *packed,
                     struct arena *arena, struct ProtobufCMessage **ret_message) MUST_CHECK;

struct rpc_data_message {
    struct span header;     /* field 1, packed; into the message's bytes, or `copied` */
    struct rpc_bytes *data; /* field 2, by reference; never NULL, empty when absent */
    void *copied;           /* owned; set when the header lay across slices */
};

/* Reads a received message. Later fields win, unknown ones are skipped, as protobuf has it. The
 * message must outlive ret_message->header. ERR_CORRUPT; ERR_TOO_LARGE for a header over
 * RPC_DATA_HEADER_BYTES_MAX. */
int rpc_data_message_parse(const struct rpc_bytes *message,
                           struct rpc_data_message *ret_message) MUST_CHECK;
void rpc_data_message_deinit(struct rpc_data_message *message); /* accepts zeroed */

#endif
