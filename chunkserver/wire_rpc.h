/* Wire messages of the Append and Read streams to plain structs and back; the only file of the data
 * path that knows generated types. Any thread. Parsers take a peer's bytes: ERR_CORRUPT,
 * ERR_INVALID (a field out of its range), ERR_VERSION. */
#ifndef CHUNKSERVER_WIRE_RPC_H
#define CHUNKSERVER_WIRE_RPC_H

#include <stdbool.h>
#include <stdint.h>

#include "chunkserver/append.h"
#include "common/err.h"
#include "common/ids.h"
#include "common/limits.h"
#include "common/rpc/rpc_bytes.h"

struct rpc_channel;
struct rpc_loop;
struct rpc_stream;
struct rpc_stream_ops;

/* Blocks that one data message can touch. */
enum { WIRE_BLOCKS_MAX = DATA_MESSAGE_BYTES_MAX / CHUNK_BLOCK_BYTES + 1 };

struct wire_server {
    server_id id;
    char address[LIMIT_ADDRESS_BYTES_MAX];
};

struct wire_open {
    struct chunk_ref chunk;
    uint64_t chunk_bytes;
    bool create;
    bool first;              /* the receiver is the first of the chain */
    server_id self;          /* who the receiver is meant to be */
    struct wire_server next; /* the one after it; id 0: none */
};

struct wire_append {
    struct append_message message; /* crcs point into `crcs` below */
    uint32_t crcs[WIRE_BLOCKS_MAX];
    struct rpc_bytes *data; /* the caller's reference; length message.length */
};

/* What opens an Append stream: the first message. It may carry bytes, which wire_append_parse()
 * gives. */
int wire_open_parse(const struct rpc_bytes *bytes, struct wire_open *ret, struct err *e) MUST_CHECK;
/* The rest of it, and any later one; ERR_INVALID for a later one that opens again, when `first` is
 * false. On success the caller drops ret->data. ret must not move: it points into itself. */
int wire_append_parse(const struct rpc_bytes *bytes, bool first, struct wire_append *ret,
                      struct err *e) MUST_CHECK;

/* Opens the stream to the next replica, its first message being `open` (as received, bytes and all)
 * for the next position. */
struct rpc_stream *wire_append_open(struct rpc_loop *loop, struct rpc_channel *channel,
                                    const struct rpc_bytes *open, const struct rpc_stream_ops *ops,
                                    void *state);

/* Passes a later message on, as received; `last`: with the end of the stream behind it. */
int wire_append_relay(struct rpc_stream *stream, struct rpc_bytes *bytes, bool last) MUST_CHECK;

/* text: of the failure, may be NULL. */
int wire_ack_send(struct rpc_stream *stream, const struct append_ack *ack,
                  const char *text) MUST_CHECK;
int wire_ack_parse(const struct rpc_bytes *bytes, struct append_ack *ret, char *ret_text,
                   size_t text_bytes_max) MUST_CHECK;

struct wire_read {
    struct chunk_ref chunk; /* version 0: any */
    uint64_t offset;
    uint64_t length; /* 0: to the end */
    uint64_t seen;
    bool open; /* the reader does not know that it is sealed */
};

struct wire_read_header {
    uint64_t offset;
    const uint32_t *crcs; /* borrowed */
    size_t crc_count;
    uint64_t readable;
    bool sealed;
    uint64_t version;
};

int wire_read_parse(const struct rpc_bytes *bytes, struct wire_read *ret) MUST_CHECK;
int wire_read_send(struct rpc_stream *stream, const struct wire_read_header *header,
                   struct rpc_bytes *data) MUST_CHECK;

/* The client's side, for copies. */
struct rpc_stream *wire_read_open(struct rpc_loop *loop, struct rpc_channel *channel,
                                  const struct wire_read *read, const struct rpc_stream_ops *ops,
                                  void *state);
struct wire_read_data {
    struct wire_read_header header; /* crcs point into `crcs` */
    uint32_t crcs[WIRE_BLOCKS_MAX];
    struct rpc_bytes *data; /* the caller's reference */
};
int wire_read_data_parse(const struct rpc_bytes *bytes, struct wire_read_data *ret) MUST_CHECK;

#endif
