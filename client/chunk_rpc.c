/* See chunk_rpc.h. */
#include "proto/chunk.pb-c.h"

#include "client/chunk_rpc.h"

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/crc32c.h"
#include "common/macros.h"

#define METHOD(variable, rpc_name, rpc_kind, request_type, reply_type)                             \
    static const struct rpc_method variable = {                                                    \
        .name = "/trireme.v1.Chunkserver/" rpc_name,                                               \
        .kind = rpc_kind,                                                                          \
        .request = &trireme__v1__##request_type##__descriptor,                                     \
        .reply = &trireme__v1__##reply_type##__descriptor,                                         \
    }

METHOD(method_append, "Append", RPC_BIDI, append_message, append_ack);
METHOD(method_read, "Read", RPC_SERVER_STREAM, read_request, read_message);
METHOD(method_checksum, "ChecksumChunk", RPC_UNARY, checksum_chunk_request, checksum_chunk_reply);
METHOD(method_stat, "StatChunk", RPC_UNARY, stat_chunk_request, stat_chunk_reply);

enum { STAT_MS = 3 * 1000 };

static int channel_of(const struct stream_owner *owner, const char *address,
                      struct rpc_request *request, struct err *e)
{
    request->deadline = RPC_NO_DEADLINE;
    return rpc_pool_get(owner->dfs->pool, address, RPC_BULK, &request->channel, e);
}

void chunk_connect(struct dfs *dfs, const char *address)
{
    struct rpc_channel *channel = NULL;
    if (rpc_pool_get(dfs->pool, address, RPC_BULK, &channel, NULL) == 0) {
        rpc_channel_connect(channel);
        rpc_channel_unref(channel);
    }
}

/* ---- Append --------------------------------------------------------------------------------- */

static void header_fill(const struct chain_data *data, Trireme__V1__AppendHeader *header)
{
    header->offset = data->offset;
    header->acked = data->acked;
    header->sync = data->sync;
    header->finish = data->finish;
    header->n_block_crcs = data->crc_count;
    header->block_crcs = (uint32_t *)data->crcs;
}

/* The end of the stream goes with the message that is the last, in one packet if it fits. */
static int send_message(struct rpc_stream *stream, const Trireme__V1__AppendHeader *header,
                        struct rpc_bytes *bytes)
{
    rpc_stream_cork(stream);
    int r = rpc_stream_send_data(stream, &header->base, bytes);
    if (header->finish) {
        rpc_stream_half_close(stream);
    }
    rpc_stream_uncork(stream);
    return r;
}

int chain_stream_open(const struct stream_owner *owner, const struct chain_open *open,
                      const struct chain_data *first, struct rpc_stream **ret, struct err *e)
{
    Trireme__V1__AppendHeader header = TRIREME__V1__APPEND_HEADER__INIT;
    Trireme__V1__AppendOpen opening = TRIREME__V1__APPEND_OPEN__INIT;
    Trireme__V1__ChunkRef chunk = TRIREME__V1__CHUNK_REF__INIT;
    Trireme__V1__Server servers[CHUNK_REPLICAS_MAX];
    Trireme__V1__Server *chain[CHUNK_REPLICAS_MAX];
    chunk.id = open->chunk.id;
    chunk.version = open->chunk.version;
    opening.chunk = &chunk;
    opening.n_chain = MIN(open->server_count, (size_t)CHUNK_REPLICAS_MAX);
    opening.chain = chain;
    for (size_t i = 0; i < opening.n_chain; i++) {
        const struct fs_server *from = &open->servers[i];
        chain[i] = &servers[i];
        trireme__v1__server__init(chain[i]);
        chain[i]->id = from->id;
        chain[i]->host = (char *)from->host;
        chain[i]->rack = (char *)from->rack;
        chain[i]->address = (char *)from->address;
        chain[i]->local_socket = (char *)from->local_socket;
    }
    opening.chunk_bytes = open->chunk_bytes;
    opening.create = true;
    opening.wire_version = TRIREME_WIRE_VERSION;
    header.open = &opening;
    if (first) {
        header_fill(first, &header);
    }
    struct rpc_request request = {.method = &method_append};
    int r = channel_of(owner, open->servers[0].address, &request, e);
    if (r < 0) {
        return r;
    }
    *ret = rpc_stream_open_corked(owner->loop, &request, owner->ops, owner->state);
    rpc_channel_unref(request.channel);
    if (send_message(*ret, &header, first ? first->bytes : NULL) < 0) {
        rpc_stream_cancel(*ret); /* labels too long for a message; told by on_close */
    }
    return 0;
}

int chain_stream_send(struct rpc_stream *stream, const struct chain_data *data)
{
    Trireme__V1__AppendHeader header = TRIREME__V1__APPEND_HEADER__INIT;
    header_fill(data, &header);
    return send_message(stream, &header, data->bytes);
}

int chain_ack_parse(const struct rpc_bytes *message, struct chain_ack *ret)
{
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *unpacked = NULL;
    int r = rpc_unpack_bytes(&trireme__v1__append_ack__descriptor, message, &arena, &unpacked);
    if (r == 0) {
        const Trireme__V1__AppendAck *from = (Trireme__V1__AppendAck *)unpacked;
        *ret = (struct chain_ack){
            .written = from->written,
            .durable = from->durable,
            .sealed = from->sealed,
            .blamed = from->blamed,
        };
        if (from->failure && from->failure->error_name[0] != '\0') {
            ret->failure = err_from_name(from->failure->error_name);
            (void)snprintf(ret->text, sizeof(ret->text), "%.200s",
                           from->failure->error_text[0] ? from->failure->error_text
                                                        : err_text(ret->failure));
        }
    }
    arena_deinit(&arena);
    return r < 0 ? ERR_CORRUPT : 0;
}

/* ---- Read ----------------------------------------------------------------------------------- */

int chunk_read_open(const struct stream_owner *owner, const char *address,
                    const struct chunk_read *read, struct rpc_stream **ret, struct err *e)
{
    Trireme__V1__ReadRequest message = TRIREME__V1__READ_REQUEST__INIT;
    Trireme__V1__ChunkRef chunk = TRIREME__V1__CHUNK_REF__INIT;
    chunk.id = read->chunk.id;
    chunk.version = read->chunk.version;
    message.chunk = &chunk;
    message.offset = read->offset;
    message.length = read->length;
    message.seen = read->seen;
    message.open = read->open;
    struct rpc_request request = {.method = &method_read, .message = &message.base};
    int r = channel_of(owner, address, &request, e);
    if (r == 0) {
        *ret = rpc_stream_open(owner->loop, &request, owner->ops, owner->state);
        rpc_channel_unref(request.channel);
    }
    return r;
}

/* CRC32C of length bytes from offset on. */
static uint32_t crc_of(const struct rpc_bytes *bytes, size_t offset, size_t length)
{
    struct iovec iov[8];
    uint32_t crc = 0;
    while (length > 0) {
        int count = rpc_bytes_iov(bytes, offset, iov, (int)ARRAY_COUNT(iov));
        for (int i = 0; i < count && length > 0; i++) {
            size_t run = MIN(iov[i].iov_len, length);
            crc = crc32c_extend(crc, iov[i].iov_base, run);
            offset += run;
            length -= run;
        }
    }
    return crc;
}

static int verify(const Trireme__V1__ReadHeader *header, const struct rpc_bytes *data)
{
    size_t length = rpc_bytes_length(data);
    size_t blocks = (length + CHUNK_BLOCK_BYTES - 1) / CHUNK_BLOCK_BYTES;
    if (header->offset % CHUNK_BLOCK_BYTES != 0 || header->offset > CHUNK_BYTES_MAX ||
        length > DATA_MESSAGE_BYTES_MAX || header->n_block_crcs != blocks) {
        return ERR_CORRUPT;
    }
    for (size_t i = 0; i < blocks; i++) {
        size_t from = i * CHUNK_BLOCK_BYTES;
        size_t run = MIN(length - from, (size_t)CHUNK_BLOCK_BYTES);
        if (crc_of(data, from, run) != header->block_crcs[i]) {
            return ERR_CORRUPT;
        }
    }
    return 0;
}

int chunk_piece_parse(const struct rpc_bytes *message, struct chunk_piece *ret)
{
    struct arena arena = ARENA_INIT;
    struct rpc_data_message parts = {0};
    ProtobufCMessage *unpacked = NULL;
    int r = rpc_data_message_parse(message, &parts);
    if (r == 0) {
        r = rpc_unpack(&trireme__v1__read_header__descriptor, parts.header, &arena, &unpacked);
    }
    if (r == 0) {
        const Trireme__V1__ReadHeader *header = (Trireme__V1__ReadHeader *)unpacked;
        r = verify(header, parts.data);
        *ret = (struct chunk_piece){header->offset, header->readable, header->sealed, NULL};
    }
    if (r == 0) {
        ret->data = rpc_bytes_ref(parts.data);
    }
    rpc_data_message_deinit(&parts);
    arena_deinit(&arena);
    return r < 0 ? ERR_CORRUPT : 0;
}

/* One short call to a chunkserver; the reply lies in the call's arena. */
static int ask(struct call *c, const char *address, const struct rpc_request *base,
               ProtobufCMessage **ret, struct err *e)
{
    struct rpc_request request = *base;
    struct rpc_result result;
    int r = rpc_pool_get(c->dfs->pool, address, RPC_CONTROL, &request.channel, e);
    if (r < 0) {
        return r;
    }
    request.deadline = MIN(clock_mono_ms() + STAT_MS, c->deadline);
    r = rpc_call(c->loop, &request, &c->arena, ret, &result);
    rpc_channel_unref(request.channel);
    return r < 0 ? rpc_result_err(&result, address, e) : 0;
}

int chunk_checksums(struct call *c, const char *address, struct chunk_ref chunk, uint64_t length,
                    uint32_t **ret_crcs, struct err *e)
{
    Trireme__V1__ChunkRef ref = TRIREME__V1__CHUNK_REF__INIT;
    Trireme__V1__ChecksumChunkRequest message = TRIREME__V1__CHECKSUM_CHUNK_REQUEST__INIT;
    struct rpc_request request = {.method = &method_checksum, .message = &message.base};
    ProtobufCMessage *reply = NULL;
    ref.id = chunk.id;
    ref.version = chunk.version;
    message.chunk = &ref;
    int r = ask(c, address, &request, &reply, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__ChecksumChunkReply *kept = (Trireme__V1__ChecksumChunkReply *)reply;
    size_t blocks = (size_t)((length + CHUNK_BLOCK_BYTES - 1) / CHUNK_BLOCK_BYTES);
    if (kept->length != length || kept->n_block_crcs != blocks) {
        return err_set(e, ERR_CORRUPT, "%s: chunk %llu has %llu bytes there, not %llu", address,
                       (unsigned long long)chunk.id, (unsigned long long)kept->length,
                       (unsigned long long)length);
    }
    *ret_crcs = xmemdup(kept->block_crcs, blocks * sizeof(**ret_crcs));
    return 0;
}

int chunk_stat(struct call *c, const char *address, chunk_id id, uint64_t *ret_readable,
               struct err *e)
{
    Trireme__V1__StatChunkRequest message = TRIREME__V1__STAT_CHUNK_REQUEST__INIT;
    struct rpc_request request = {.method = &method_stat, .message = &message.base};
    ProtobufCMessage *reply = NULL;
    message.id = id;
    int r = ask(c, address, &request, &reply, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__StatChunkReply *stat = (Trireme__V1__StatChunkReply *)reply;
    *ret_readable = stat->acked; /* also where a replica has sealed: others may not have */
    return 0;
}
