/* Streams of messages, the same on both sides: a state machine run by the thread of the loop that
 * owns it. gRPC writes to the socket in the thread that starts a write, so bulk bytes move on
 * pollers and the owner sees only begin and end.
 *
 * Everything here belongs to the loop's thread. Nothing is read until rpc_stream_read() asks for
 * it, one message at a time, which is what makes flow control reach the sender. Writes are queued
 * up to RPC_STREAM_QUEUE_BYTES_MAX; a sender that heeds rpc_stream_writable() never meets ERR_BUSY.
 * on_close is the last callback in any case, also after a cancellation or a lost connection; the
 * stream is gone when it returns.
 *
 * A client hears on_close only when it has read all messages before the status: keep a read
 * outstanding. */
#ifndef COMMON_RPC_RPC_STREAM_H
#define COMMON_RPC_RPC_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_bytes.h"
#include "common/rpc/rpc_server.h" /* struct rpc_caller */

struct rpc_stream;

/* NULL members are allowed except on_close. */
struct rpc_stream_ops {
    /* Server: a call has come; set the state and ask for the first message. */
    void (*on_open)(struct rpc_stream *stream);
    /* One message for one rpc_stream_read(). Borrowed: rpc_bytes_ref() to keep it. */
    void (*on_message)(struct rpc_stream *stream, struct rpc_bytes *message);
    /* A write was taken by the connection: rpc_stream_queued() fell. */
    void (*on_sent)(struct rpc_stream *stream);
    /* Server, instead of a message: the client will send no more. A client that vanished is told
     * apart from that as far as gRPC allows; where it matters, the last message says that it is. */
    void (*on_half_close)(struct rpc_stream *stream);
    /* Over. Client: the outcome. Server: code 0 if the status was sent, ERR_CANCELLED if the client
     * left or its deadline passed first. */
    void (*on_close)(struct rpc_stream *stream, const struct rpc_result *result);
};

/* Client: begins a call of any streaming kind; request->message, if not NULL, is sent first, and
 * for RPC_SERVER_STREAM also ends the sending side. Never NULL; failures come through on_close,
 * never before this returns. */
struct rpc_stream *rpc_stream_open(struct rpc_loop *loop, const struct rpc_request *request,
                                   const struct rpc_stream_ops *ops, void *state);

/* The same, corked and without a message: nothing goes before rpc_stream_uncork(). */
struct rpc_stream *rpc_stream_open_corked(struct rpc_loop *loop, const struct rpc_request *request,
                                          const struct rpc_stream_ops *ops, void *state);
/* Between the two nothing is written, so that the beginning, one message and the end go together,
 * in one packet if they fit: cork, send, half-close or finish, uncork. */
void rpc_stream_cork(struct rpc_stream *stream);
void rpc_stream_uncork(struct rpc_stream *stream);

void rpc_stream_set_state(struct rpc_stream *stream, void *state);
void *rpc_stream_state(const struct rpc_stream *stream);
struct rpc_loop *rpc_stream_loop(const struct rpc_stream *stream);
void *rpc_stream_service(const struct rpc_stream *stream);             /* server side, else NULL */
const struct rpc_caller *rpc_stream_caller(struct rpc_stream *stream); /* server side, else NULL */

/* Asks for one message. A second ask before the answer is the same one. */
void rpc_stream_read(struct rpc_stream *stream);

/* Queues one message, sent in order. ERR_BUSY: the queue is full (RPC_STREAM_QUEUE_BYTES_MAX);
 * ERR_TOO_LARGE: over the channel's limit; ERR_CANCELLED: the stream is ending and nobody will read
 * it. */
int rpc_stream_send(struct rpc_stream *stream, const struct ProtobufCMessage *message) MUST_CHECK;
/* A data message {header = 1, data = 2}: header is packed (NULL: absent), data goes by reference
 * (NULL: absent). */
int rpc_stream_send_data(struct rpc_stream *stream, const struct ProtobufCMessage *header,
                         struct rpc_bytes *data) MUST_CHECK;
/* Bytes that are a packed message already, by reference: relays a received message unchanged. */
int rpc_stream_send_bytes(struct rpc_stream *stream, struct rpc_bytes *message) MUST_CHECK;

size_t
rpc_stream_queued(const struct rpc_stream *stream); /* bytes not yet taken by the connection */
bool rpc_stream_writable(
    const struct rpc_stream *stream); /* queued < RPC_STREAM_WRITABLE_BYTES: go on sending */

/* Client: no more messages from here, once the queue is sent. */
void rpc_stream_half_close(struct rpc_stream *stream);
/* Server, once: ends the call, once the queue is sent. ERR_*: the queue is dropped, text (NULL:
 * none) goes along. */
void rpc_stream_finish(struct rpc_stream *stream, int code, const char *text);
/* Either side: ends it now; on_close follows soon, not from inside this call. No-op on a stream
 * that is ending. */
void rpc_stream_cancel(struct rpc_stream *stream);

#endif
