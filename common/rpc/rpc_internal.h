/* What the files of common/rpc share and nobody else sees: gRPC's types stop here. */
#ifndef COMMON_RPC_RPC_INTERNAL_H
#define COMMON_RPC_RPC_INTERNAL_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "common/check.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_bytes.h"

/* ---- Loop: rpc_loop.c ---- */

/* The tag of every batch; lies in the struct whose batch it is. done runs on the loop's thread. */
struct rpc_tag {
    void (*done)(struct rpc_tag *tag, bool ok);
};

grpc_completion_queue *rpc_loop_queue(struct rpc_loop *loop);
/* Calls, streams and servers that still expect events: a loop is not freed under them. */
void rpc_loop_hold(struct rpc_loop *loop);
void rpc_loop_release(struct rpc_loop *loop);
/* Some thread is inside rpc_loop_run(), or will be: events come without our stepping. */
bool rpc_loop_has_driver(const struct rpc_loop *loop);
/* One of the loop's callbacks is on the stack. Loop's thread. */
bool rpc_loop_is_stepping(const struct rpc_loop *loop);

gpr_timespec rpc_deadline_to_grpc(time_ms deadline);
time_ms rpc_deadline_from_grpc(gpr_timespec deadline);

/* A call error other than OK means that we broke gRPC's rules. */
void rpc_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag);

/* ---- Bytes: rpc_bytes.c, rpc_pack.c ---- */

/* Takes the buffer's slices and destroys the buffer. NULL: compressed in a way we never accept. */
struct rpc_bytes *rpc_bytes_take_buffer(grpc_byte_buffer *buffer);
/* Appends the slices of bytes by reference to out, which the caller gave room for. */
size_t rpc_bytes_slices(const struct rpc_bytes *bytes, grpc_slice *out);
size_t rpc_bytes_slice_count(const struct rpc_bytes *bytes);
struct rpc_bytes *rpc_bytes_take_slice(grpc_slice slice);

/* A message packed into one slice; the caller drops the reference. */
grpc_slice rpc_pack(const ProtobufCMessage *message);
/* Unpacks and destroys the buffer. */
int rpc_unpack_buffer(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buffer,
                      struct arena *arena, ProtobufCMessage **ret_message) MUST_CHECK;

/* ---- Outcomes: rpc_status.c ---- */

#define RPC_KEY_ERROR    "trireme-error"
#define RPC_KEY_LEADER   "trireme-leader"
#define RPC_KEY_POSITION "trireme-position"
#define RPC_KEY_USER     "trireme-user"

grpc_status_code rpc_status_code(int code);

/* Trailing metadata and details that tell a client how a call ended. Lives until the batch that
 * sends it was started. */
struct rpc_trailer {
    grpc_metadata metadata[3];
    size_t count;
    grpc_status_code status;
    grpc_slice details; /* owned */
};
void rpc_trailer_init(struct rpc_trailer *trailer, int code, const char *text, const char *leader);
/* For an error, and not 0: rpc_result.position. */
void rpc_trailer_set_position(struct rpc_trailer *trailer, uint64_t position);
void rpc_trailer_deinit(struct rpc_trailer *trailer);
/* Fills in a send_status op. */
void rpc_trailer_op(struct rpc_trailer *trailer, grpc_op *op);

/* What a finished call's client received. */
struct rpc_received {
    grpc_metadata_array initial;
    grpc_metadata_array trailing;
    grpc_status_code status;
    grpc_slice details;
};
void rpc_received_init(struct rpc_received *received);
void rpc_received_deinit(struct rpc_received *received);
void rpc_received_result(const struct rpc_received *received, struct rpc_result *ret_result);
void rpc_result_fail(struct rpc_result *result, int code, const char *text); /* definite */

/* The value of a key, or empty. Borrowed from the array. */
struct span rpc_metadata_get(const grpc_metadata_array *metadata, const char *key);
/* Copies printable ASCII into text (cut, always terminated); other bytes become '?'. */
void rpc_text_copy(char *text, size_t text_bytes, struct span from);

/* ---- Channels: rpc_channel.c ---- */

/* A call on the channel, and the op that begins it; copy lives until the batch was started. */
grpc_call *rpc_channel_call(struct rpc_channel *channel, struct rpc_loop *loop, const char *method,
                            time_ms deadline);
void rpc_channel_metadata(const struct rpc_channel *channel, grpc_metadata *copy, grpc_op *op);
/* Connects if it is idle. */
grpc_connectivity_state rpc_channel_state(struct rpc_channel *channel);
/* The tag comes when the state is no longer `last`, or not ok at the deadline. */
void rpc_channel_watch(struct rpc_channel *channel, grpc_connectivity_state last, time_ms deadline,
                       struct rpc_loop *loop, struct rpc_tag *tag);
size_t rpc_channel_message_bytes_max(const struct rpc_channel *channel);

/* ---- Arguments and credentials: rpc_args.c, rpc_tls.c ---- */

enum { RPC_ARG_COUNT_MAX = 40 };
struct rpc_args {
    grpc_arg rows[RPC_ARG_COUNT_MAX];
    grpc_channel_args args;
};
void rpc_args_channel(struct rpc_args *args, enum rpc_class class);
void rpc_args_server(struct rpc_args *args, enum rpc_class class);
void rpc_args_add_string(struct rpc_args *args, const char *key, const char *value); /* borrowed */

grpc_channel_credentials *rpc_tls_channel(const struct rpc_tls *tls); /* NULL: plain text */
grpc_server_credentials *rpc_tls_server(const struct rpc_tls *tls);

/* The quotas of this process, one for each side. */
grpc_resource_quota *rpc_quota(bool server);

#endif
