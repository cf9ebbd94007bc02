/* See wire_rpc.h. Headers are unpacked into an arena on the stack frame's life; the data field
 * never passes through here except by reference. */
#include "chunkserver/wire_rpc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/chunk.pb-c.h"

#include "chunkserver/methods_rpc.h"
#include "common/arena.h"
#include "common/check.h"
#include "common/rpc/rpc_stream.h"

/* A message without values has NULL for an array. */
static void crcs_copy(uint32_t *to, const uint32_t *from, size_t count)
{
    if (count > 0) {
        memcpy(to, from, count * sizeof(*to));
    }
}

static int header_unpack(const struct rpc_bytes *bytes, struct arena *arena,
                         struct rpc_data_message *parts, Trireme__V1__AppendHeader **ret)
{
    int r = rpc_data_message_parse(bytes, parts);
    if (r < 0) {
        return r;
    }
    ProtobufCMessage *message = NULL;
    r = rpc_unpack(&trireme__v1__append_header__descriptor, parts->header, arena, &message);
    if (r == 0) {
        *ret = (Trireme__V1__AppendHeader *)message;
    }
    return r;
}

static int open_check(const Trireme__V1__AppendOpen *open, struct err *e)
{
    if (open->wire_version > TRIREME_WIRE_VERSION) {
        return err_set(e, ERR_VERSION, "append of wire version %u, this server knows %d",
                       open->wire_version, TRIREME_WIRE_VERSION);
    }
    if (open->chunk == NULL || open->chunk->id == 0 || open->chunk->version == 0) {
        return err_set(e, ERR_INVALID, "append without a chunk and version");
    }
    if (open->n_chain > CHUNK_REPLICAS_MAX || open->position >= open->n_chain) {
        return err_set(e, ERR_INVALID, "append at position %u of a chain of %zu", open->position,
                       open->n_chain);
    }
    if (open->chunk_bytes < CHUNK_BYTES_MIN || open->chunk_bytes > CHUNK_BYTES_MAX) {
        return err_set(e, ERR_INVALID, "append to a chunk of %" PRIu64 " bytes", open->chunk_bytes);
    }
    return 0;
}

static int open_fill(const Trireme__V1__AppendOpen *open, struct wire_open *ret, struct err *e)
{
    int r = open_check(open, e);
    if (r < 0) {
        return r;
    }
    struct wire_open out = {
        .chunk = {open->chunk->id, open->chunk->version},
        .chunk_bytes = open->chunk_bytes,
        .create = open->create,
        .first = open->position == 0,
        .self = open->chain[open->position]->id,
    };
    if (open->position + 1 < open->n_chain) {
        const Trireme__V1__Server *next = open->chain[open->position + 1];
        int n = snprintf(out.next.address, sizeof(out.next.address), "%s", next->address);
        if (next->id == 0 || n < 0 || (size_t)n >= sizeof(out.next.address)) {
            return err_set(e, ERR_INVALID, "append with a bad next server");
        }
        out.next.id = next->id;
    }
    *ret = out;
    return 0;
}

int wire_open_parse(const struct rpc_bytes *bytes, struct wire_open *ret, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct rpc_data_message parts = {0};
    Trireme__V1__AppendHeader *header = NULL;
    int r = header_unpack(bytes, &arena, &parts, &header);
    if (r == 0 && header->open == NULL) {
        r = err_set(e, ERR_INVALID, "an append must begin with `open`");
    } else if (r == 0) {
        r = open_fill(header->open, ret, e);
    } else {
        (void)err_set(e, r, "malformed append header");
    }
    rpc_data_message_deinit(&parts);
    arena_deinit(&arena);
    return r;
}

int wire_append_parse(const struct rpc_bytes *bytes, bool first, struct wire_append *ret,
                      struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct rpc_data_message parts = {0};
    Trireme__V1__AppendHeader *header = NULL;
    int r = header_unpack(bytes, &arena, &parts, &header);
    if (r != 0) {
        (void)err_set(e, r, "malformed append header");
    } else if ((header->open != NULL && !first) || header->n_block_crcs > WIRE_BLOCKS_MAX) {
        r = err_set(e, ERR_INVALID, "append with a second open or %zu checksums",
                    header->n_block_crcs);
    } else {
        crcs_copy(ret->crcs, header->block_crcs, header->n_block_crcs);
        ret->message = (struct append_message){
            .offset = header->offset,
            .length = rpc_bytes_length(parts.data),
            .crcs = ret->crcs,
            .crc_count = header->n_block_crcs,
            .acked = header->acked,
            .finish = header->finish,
            .sync = header->sync,
        };
        ret->data = rpc_bytes_ref(parts.data);
    }
    rpc_data_message_deinit(&parts);
    arena_deinit(&arena);
    return r;
}

struct rpc_stream *wire_append_open(struct rpc_loop *loop, struct rpc_channel *channel,
                                    const struct rpc_bytes *open, const struct rpc_stream_ops *ops,
                                    void *state)
{
    struct arena arena = ARENA_INIT;
    struct rpc_data_message parts = {0};
    Trireme__V1__AppendHeader *header = NULL;
    int r = header_unpack(open, &arena, &parts, &header);
    CHECK(r == 0); /* it was parsed before */
    header->open->position++;
    struct rpc_request request = {
        .channel = channel,
        .method = &chunkserver_methods[CHUNKSERVER_APPEND],
        .deadline = RPC_NO_DEADLINE,
    };
    struct rpc_stream *stream = rpc_stream_open_corked(loop, &request, ops, state);
    r = rpc_stream_send_data(stream, &header->base, parts.data);
    if (header->finish) {
        rpc_stream_half_close(stream);
    }
    rpc_stream_uncork(stream);
    if (r < 0) { /* the longer position made it too large */
        rpc_stream_cancel(stream);
    }
    rpc_data_message_deinit(&parts);
    arena_deinit(&arena);
    return stream;
}

int wire_append_relay(struct rpc_stream *stream, struct rpc_bytes *bytes, bool last)
{
    rpc_stream_cork(stream);
    int r = rpc_stream_send_bytes(stream, bytes);
    if (last) {
        rpc_stream_half_close(stream);
    }
    rpc_stream_uncork(stream);
    return r;
}

int wire_ack_send(struct rpc_stream *stream, const struct append_ack *ack, const char *text)
{
    Trireme__V1__Outcome outcome = TRIREME__V1__OUTCOME__INIT;
    Trireme__V1__AppendAck message = TRIREME__V1__APPEND_ACK__INIT;
    message.written = ack->written;
    message.durable = ack->durable;
    message.sealed = ack->sealed;
    if (ack->failure != 0) {
        outcome.error_name = (char *)err_name(ack->failure);
        outcome.error_text = (char *)(text != NULL ? text : err_text(ack->failure));
        message.failure = &outcome;
        message.blamed = ack->blamed;
    }
    return rpc_stream_send(stream, &message.base);
}

int wire_ack_parse(const struct rpc_bytes *bytes, struct append_ack *ret, char *ret_text,
                   size_t text_bytes_max)
{
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *message = NULL;
    int r = rpc_unpack_bytes(&trireme__v1__append_ack__descriptor, bytes, &arena, &message);
    if (r == 0) {
        const Trireme__V1__AppendAck *ack = (const Trireme__V1__AppendAck *)message;
        *ret = (struct append_ack){.written = ack->written,
                                   .durable = ack->durable,
                                   .sealed = ack->sealed,
                                   .blamed = ack->blamed};
        ret_text[0] = '\0';
        if (ack->failure != NULL && ack->failure->error_name[0] != '\0') {
            ret->failure = err_from_name(ack->failure->error_name);
            (void)snprintf(ret_text, text_bytes_max, "%s", ack->failure->error_text);
        }
    }
    arena_deinit(&arena);
    return r;
}

/* ---- Read ---- */

int wire_read_parse(const struct rpc_bytes *bytes, struct wire_read *ret)
{
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *message = NULL;
    int r = rpc_unpack_bytes(&trireme__v1__read_request__descriptor, bytes, &arena, &message);
    if (r == 0) {
        const Trireme__V1__ReadRequest *request = (const Trireme__V1__ReadRequest *)message;
        if (request->chunk == NULL || request->chunk->id == 0) {
            r = ERR_INVALID;
        } else {
            *ret = (struct wire_read){.chunk = {request->chunk->id, request->chunk->version},
                                      .offset = request->offset,
                                      .length = request->length,
                                      .seen = request->seen,
                                      .open = request->open};
        }
    }
    arena_deinit(&arena);
    return r;
}

int wire_read_send(struct rpc_stream *stream, const struct wire_read_header *header,
                   struct rpc_bytes *data)
{
    Trireme__V1__ReadHeader wire = TRIREME__V1__READ_HEADER__INIT;
    wire.offset = header->offset;
    wire.n_block_crcs = header->crc_count;
    wire.block_crcs = (uint32_t *)header->crcs;
    wire.readable = header->readable;
    wire.sealed = header->sealed;
    wire.version = header->version;
    return rpc_stream_send_data(stream, &wire.base, data);
}

struct rpc_stream *wire_read_open(struct rpc_loop *loop, struct rpc_channel *channel,
                                  const struct wire_read *read, const struct rpc_stream_ops *ops,
                                  void *state)
{
    Trireme__V1__ChunkRef chunk = TRIREME__V1__CHUNK_REF__INIT;
    Trireme__V1__ReadRequest message = TRIREME__V1__READ_REQUEST__INIT;
    chunk.id = read->chunk.id;
    chunk.version = read->chunk.version;
    message.chunk = &chunk;
    message.offset = read->offset;
    message.length = read->length;
    message.seen = read->seen;
    message.open = read->open;
    struct rpc_request request = {
        .channel = channel,
        .method = &chunkserver_methods[CHUNKSERVER_READ],
        .message = &message.base,
        .deadline = RPC_NO_DEADLINE,
    };
    return rpc_stream_open(loop, &request, ops, state);
}

int wire_read_data_parse(const struct rpc_bytes *bytes, struct wire_read_data *ret)
{
    struct arena arena = ARENA_INIT;
    struct rpc_data_message parts = {0};
    ProtobufCMessage *message = NULL;
    int r = rpc_data_message_parse(bytes, &parts);
    if (r == 0) {
        r = rpc_unpack(&trireme__v1__read_header__descriptor, parts.header, &arena, &message);
    }
    if (r == 0) {
        const Trireme__V1__ReadHeader *wire = (const Trireme__V1__ReadHeader *)message;
        if (wire->n_block_crcs > WIRE_BLOCKS_MAX) {
            r = ERR_INVALID;
        } else {
            crcs_copy(ret->crcs, wire->block_crcs, wire->n_block_crcs);
            ret->header = (struct wire_read_header){.offset = wire->offset,
                                                    .crcs = ret->crcs,
                                                    .crc_count = wire->n_block_crcs,
                                                    .readable = wire->readable,
                                                    .sealed = wire->sealed,
                                                    .version = wire->version};
            ret->data = rpc_bytes_ref(parts.data);
        }
    }
    rpc_data_message_deinit(&parts);
    arena_deinit(&arena);
    return r;
}
