/* The chunkservers' messages with plain structs. */
#ifndef CLIENT_CHUNK_RPC_H
#define CLIENT_CHUNK_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/fs_types.h"
#include "client/internal.h"
#include "common/rpc/rpc_bytes.h"
#include "common/rpc/rpc_stream.h"

/* Who has the stream: what to open it with. */
struct stream_owner {
    struct dfs *dfs;
    struct rpc_loop *loop;
    const struct rpc_stream_ops *ops;
    void *state; /* for ops */
};

/* A stream to that chunkserver is opened soon: the connection is made while something else is
 * waited for. */
void chunk_connect(struct dfs *dfs, const char *address);

enum { CHUNK_MESSAGE_BLOCKS_MAX = DATA_MESSAGE_BYTES_MAX / CHUNK_BLOCK_BYTES + 1 };

/* ---- Append --------------------------------------------------------------------------------- */

struct chain_open {
    struct chunk_ref chunk;
    uint64_t chunk_bytes;
    const struct fs_server *servers; /* in chain order; the stream goes to the first */
    size_t server_count;
};

struct chain_data {
    uint64_t offset; /* in the chunk */
    uint64_t acked;  /* watermark */
    bool sync;
    bool finish;
    const uint32_t *crcs;
    size_t crc_count;
    struct rpc_bytes *bytes; /* NULL: none */
};

/* Opens the stream and sends its first message, with the first bytes, or without (first NULL).
 * Nothing can be sent after a finish. ERR_INVALID: a bad address; everything else comes through
 * ops. */
int chain_stream_open(const struct stream_owner *owner, const struct chain_open *open,
                      const struct chain_data *first, struct rpc_stream **ret,
                      struct err *e) MUST_CHECK;
int chain_stream_send(struct rpc_stream *stream, const struct chain_data *data) MUST_CHECK;

struct chain_ack {
    uint64_t written;
    uint64_t durable;
    bool sealed;
    int failure; /* 0 or ERR_* */
    server_id blamed;
    char text[256]; /* of the failure */
};
/* ERR_CORRUPT: not an ack. */
int chain_ack_parse(const struct rpc_bytes *message, struct chain_ack *ret) MUST_CHECK;

/* ---- Read ----------------------------------------------------------------------------------- */

struct chunk_read {
    struct chunk_ref chunk;
    uint64_t offset;
    uint64_t length; /* 0: to the end */
    uint64_t seen;
    bool open; /* as far as the file master has said */
};
int chunk_read_open(const struct stream_owner *owner, const char *address,
                    const struct chunk_read *read, struct rpc_stream **ret,
                    struct err *e) MUST_CHECK;

struct chunk_piece {
    uint64_t offset;   /* in the chunk; a block boundary */
    uint64_t readable; /* what the replica serves up to now */
    bool sealed;
    struct rpc_bytes *data; /* the caller unrefs it */
};
/* Takes one message apart and verifies every block. ERR_CORRUPT: malformed, or a block differs. */
int chunk_piece_parse(const struct rpc_bytes *message, struct chunk_piece *ret) MUST_CHECK;

/* The checksums that the replica keeps of a sealed chunk; *ret_crcs is freed by the caller. One
 * attempt. ERR_CORRUPT: they are not as many as `length` bytes have blocks. */
int chunk_checksums(struct call *c, const char *address, struct chunk_ref chunk, uint64_t length,
                    uint32_t **ret_crcs, struct err *e) MUST_CHECK;

/* Up to where an open chunk can be read at that replica. One attempt. */
int chunk_stat(struct call *c, const char *address, chunk_id id, uint64_t *ret_readable,
               struct err *e) MUST_CHECK;

#endif
