/* Streams run by themselves (chain.c, read.c). Each command of a file master is checked on the
 * owner, goes on as a plain struct (fence.h, copy.h) and is answered on the owner when that is
 * done. */
#include "chunkserver/chunkserver_rpc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/chunk.pb-c.h"

#include "chunkserver/chain.h"
#include "chunkserver/copy.h"
#include "chunkserver/fence.h"
#include "chunkserver/methods_rpc.h"
#include "chunkserver/read.h"
#include "chunkserver/server.h"
#include "common/alloc.h"
#include "common/arena.h"
#include "common/macros.h"
#include "common/metrics.h"
#include "common/rpc/rpc.h"

static bool ref_is_good(const Trireme__V1__ChunkRef *ref)
{
    return ref != NULL && ref->id != 0 && ref->version != 0;
}

static int check_draining(const struct server *s, struct err *e)
{
    return s->draining ? err_set(e, ERR_UNAVAILABLE, "the chunkserver is shutting down") : 0;
}

/* What each command of a master must pass. */
static int check_command(struct server *s, struct rpc_call *call, uint64_t term,
                         const char *cluster_id, const Trireme__V1__ChunkRef *ref)
{
    struct err *e = rpc_call_err(call);
    if (!ref_is_good(ref)) {
        return err_set(e, ERR_INVALID, "a command without a chunk and version");
    }
    int r = check_draining(s, e);
    return r < 0 ? r : server_check_master(s, term, cluster_id, e);
}

/* ---- StatChunk ---- */

static int stat_on_owner(struct rpc_call *call, void *service)
{
    const Trireme__V1__StatChunkRequest *request = (const void *)rpc_call_request(call);
    Trireme__V1__StatChunkReply *reply = (void *)rpc_call_reply(call);
    const struct chunk *chunk = server_chunk(service, request->id);
    if (chunk == NULL) {
        return err_set(rpc_call_err(call), ERR_NOT_FOUND, "chunk %" PRIu64 " is not on this server",
                       request->id);
    }
    Trireme__V1__ChunkRef *ref = arena_alloc(rpc_call_arena(call), sizeof(*ref));
    trireme__v1__chunk_ref__init(ref);
    ref->id = chunk->ref.id;
    ref->version = chunk->ref.version;
    reply->chunk = ref;
    reply->length = chunk->length;
    reply->acked = chunk->readable;
    reply->sealed = chunk->state == CHUNK_SEALED;
    reply->clean = chunk->clean;
    return 0;
}

/* ---- ChecksumChunk ---- */

static int check_checksums(const struct chunk_record *record, uint64_t version, struct err *e)
{
    if (version != 0 && record->ref.version != version) {
        return err_set(e, ERR_STALE, "chunk %" PRIu64 " is at version %" PRIu64 ", not %" PRIu64,
                       record->ref.id, record->ref.version, version);
    }
    if (record->damaged) {
        return err_set(e, ERR_CORRUPT, "chunk %" PRIu64 " is damaged on this server",
                       record->ref.id);
    }
    return record->state == CHUNK_SEALED
               ? 0
               : err_set(e, ERR_BUSY, "chunk %" PRIu64 " is being written", record->ref.id);
}

/* An inlined chunk has one block, whose CRC lies with its bytes. */
static int inline_crc(struct chunk_index *index, chunk_id id, uint32_t *ret, struct err *e)
{
    struct buf value = BUF_INIT;
    struct inline_data data;
    int r = chunk_index_get_inline(index, id, &value, &data, e);
    if (r == 0) {
        *ret = data.crc;
    }
    buf_deinit(&value);
    return r;
}

/* The indexes alone answer, so a sealed chunk's record needs no owner. */
static int checksum_on_worker(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__ChecksumChunkRequest *request = (const void *)rpc_call_request(call);
    Trireme__V1__ChecksumChunkReply *reply = (void *)rpc_call_reply(call);
    struct err *e = rpc_call_err(call);
    struct chunk_record record;
    if (request->chunk == NULL || request->chunk->id == 0) {
        return err_set(e, ERR_INVALID, "a request without a chunk");
    }
    struct disk *disk = NULL;
    int r = disks_find(&s->disks, request->chunk->id, &disk, &record, e);
    if (r == 0) {
        r = check_checksums(&record, request->chunk->version, e);
    }
    if (r < 0) {
        return r;
    }
    reply->version = record.ref.version;
    reply->length = record.length;
    reply->n_block_crcs = block_count(record.length);
    reply->block_crcs =
        arena_calloc(rpc_call_arena(call), (reply->n_block_crcs + 1) * sizeof(uint32_t));
    if (record.inlined) {
        return inline_crc(disk->chunks.index, record.ref.id, reply->block_crcs, e);
    }
    return chunk_index_get_all_crcs(disk->chunks.index, record.ref.id, record.length,
                                    reply->block_crcs, e);
}

/* ---- Fence ---- */

struct fence_call {
    struct fence fence;
    struct rpc_call *call;
};

static void fence_done(struct command *cmd)
{
    struct fence_call *f = CONTAINER_OF(cmd, struct fence_call, fence.command);
    Trireme__V1__FenceReply *reply = (void *)rpc_call_reply(f->call);
    reply->found = f->fence.found;
    reply->length = f->fence.length;
    reply->clean = f->fence.clean;
    reply->start_count = cmd->server->disks.start_count;
    reply->disk_failed = disk_failures_count(&cmd->server->disks.failures) > 0;
    rpc_call_finish(f->call, cmd->code, cmd->code < 0 ? err_message(&cmd->err) : NULL);
    free(f);
}

static int fence_on_owner(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__FenceRequest *request = (const void *)rpc_call_request(call);
    int r = check_command(s, call, request->term, request->cluster_id, request->chunk);
    if (r < 0) {
        return r;
    }
    if (request->new_version <= request->chunk->version) {
        return err_set(rpc_call_err(call), ERR_INVALID, "a fence must raise the version");
    }
    struct fence_call *f = xcalloc(1, sizeof(*f));
    fence_init(&f->fence);
    f->call = call;
    f->fence.chunk = (struct chunk_ref){request->chunk->id, request->chunk->version};
    f->fence.new_version = request->new_version;
    f->fence.command.done = fence_done;
    f->fence.command.term = request->term;
    command_start(&f->fence.command, s, f->fence.chunk.id);
    return RPC_PENDING;
}

/* ---- SealReplica ---- */

struct seal_call {
    struct seal seal;
    struct rpc_call *call;
};

static void seal_done(struct command *cmd)
{
    struct seal_call *c = CONTAINER_OF(cmd, struct seal_call, seal.command);
    Trireme__V1__SealReplicaReply *reply = (void *)rpc_call_reply(c->call);
    reply->kept = c->seal.kept;
    rpc_call_finish(c->call, cmd->code, cmd->code < 0 ? err_message(&cmd->err) : NULL);
    free(c);
}

static int seal_on_owner(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__SealReplicaRequest *request = (const void *)rpc_call_request(call);
    int r = check_command(s, call, request->term, request->cluster_id, request->chunk);
    if (r < 0) {
        return r;
    }
    struct seal_call *c = xcalloc(1, sizeof(*c));
    seal_init(&c->seal);
    c->call = call;
    c->seal.chunk = (struct chunk_ref){request->chunk->id, request->chunk->version};
    c->seal.length = request->length;
    c->seal.fenced_version = request->fenced_version;
    c->seal.command.done = seal_done;
    c->seal.command.term = request->term;
    command_start(&c->seal.command, s, c->seal.chunk.id);
    return RPC_PENDING;
}

/* ---- DeleteChunks ---- */

struct delete_item {
    struct remove remove;
    struct delete_call *all;
};

struct delete_call {
    struct rpc_call *call;
    struct server *server;
    size_t left; /* items under way, and one for the loop that starts them */
    size_t count;
    struct delete_item items[];
};

static void delete_finished(struct delete_call *all)
{
    Trireme__V1__DeleteChunksReply *reply = (void *)rpc_call_reply(all->call);
    struct arena *arena = rpc_call_arena(all->call);
    reply->deleted = arena_calloc(arena, all->count * sizeof(*reply->deleted));
    for (size_t i = 0; i < all->count; i++) {
        const struct remove *item = &all->items[i].remove;
        if (item->removed) {
            Trireme__V1__ChunkRef *ref = arena_alloc(arena, sizeof(*ref));
            trireme__v1__chunk_ref__init(ref);
            ref->id = item->chunk.id;
            ref->version = item->chunk.version;
            reply->deleted[reply->n_deleted++] = ref;
        }
    }
    counter_add(all->server->counters.deleted_chunks, reply->n_deleted);
    rpc_call_finish(all->call, 0,
                    NULL); /* the reply says which are gone; the others are asked for again */
    free(all);
}

static void delete_done(struct command *cmd)
{
    struct delete_item *item = CONTAINER_OF(cmd, struct delete_item, remove.command);
    struct delete_call *all = item->all;
    if (--all->left == 0) {
        delete_finished(all);
    }
}

static int delete_on_owner(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__DeleteChunksRequest *request = (const void *)rpc_call_request(call);
    int r = 0;
    for (size_t i = 0; r == 0 && i < request->n_items; i++) {
        r = check_command(s, call, request->term, request->cluster_id, request->items[i]->chunk);
    }
    if (r < 0) {
        return r;
    }
    struct delete_call *all =
        xcalloc(1, sizeof(*all) + request->n_items * sizeof(struct delete_item));
    *all = (struct delete_call){
        .call = call, .server = s, .left = request->n_items + 1, .count = request->n_items};
    for (size_t i = 0; i < request->n_items; i++) {
        const Trireme__V1__ChunkRef *ref = request->items[i]->chunk;
        struct delete_item *item = &all->items[i];
        remove_init(&item->remove);
        item->all = all;
        item->remove.chunk = (struct chunk_ref){ref->id, ref->version};
        item->remove.trash_ms = s->options->trash_ms;
        item->remove.command.term = request->term;
        item->remove.command.done = delete_done;
        command_start(&item->remove.command, s, ref->id);
    }
    if (--all->left == 0) {
        delete_finished(all);
    }
    return RPC_PENDING;
}

/* ---- CopyChunk ---- */

static void copy_done(void *arg, int code, const char *text)
{
    rpc_call_finish(arg, code, text);
}

static int copy_on_owner(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__CopyChunkRequest *request = (const void *)rpc_call_request(call);
    struct err *e = rpc_call_err(call);
    int r = check_command(s, call, request->term, request->cluster_id, request->chunk);
    if (r < 0) {
        return r;
    }
    if (request->n_sources == 0 || request->n_sources > CHUNK_REPLICAS_MAX ||
        request->chunk_bytes > CHUNK_BYTES_MAX || request->length > request->chunk_bytes) {
        return err_set(e, ERR_INVALID, "a copy of %" PRIu64 " bytes from %zu sources",
                       request->length, request->n_sources);
    }
    struct copy_request plain = {
        .chunk = {request->chunk->id, request->chunk->version},
        .length = request->length,
        .chunk_bytes = request->chunk_bytes,
        .source_count = request->n_sources,
        .term = request->term,
    };
    for (size_t i = 0; i < request->n_sources; i++) {
        int n = snprintf(plain.sources[i], sizeof(plain.sources[i]), "%s",
                         request->sources[i]->address);
        if (n < 0 || (size_t)n >= sizeof(plain.sources[i])) {
            return err_set(e, ERR_INVALID, "a source's address is too long");
        }
    }
    copy_start(s, &plain, copy_done, call);
    return RPC_PENDING;
}

/* ---- Table ---- */

#define OWNER_STEP(fn)                                                                             \
    {                                                                                              \
        {                                                                                          \
            RPC_OWNER, fn                                                                          \
        }                                                                                          \
    }

const struct rpc_service_row chunkserver_rows[] = {
    {.method = &chunkserver_methods[CHUNKSERVER_APPEND], .stream = &chain_ops},
    {.method = &chunkserver_methods[CHUNKSERVER_READ], .stream = &read_ops},
    {.method = &chunkserver_methods[CHUNKSERVER_STAT_CHUNK], .steps = OWNER_STEP(stat_on_owner)},
    {.method = &chunkserver_methods[CHUNKSERVER_CHECKSUM_CHUNK],
     .steps = {{RPC_WORKER, checksum_on_worker}}},
    {.method = &chunkserver_methods[CHUNKSERVER_FENCE], .steps = OWNER_STEP(fence_on_owner)},
    {.method = &chunkserver_methods[CHUNKSERVER_SEAL_REPLICA], .steps = OWNER_STEP(seal_on_owner)},
    {.method = &chunkserver_methods[CHUNKSERVER_DELETE_CHUNKS],
     .steps = OWNER_STEP(delete_on_owner)},
    {.method = &chunkserver_methods[CHUNKSERVER_COPY_CHUNK], .steps = OWNER_STEP(copy_on_owner)},
    {0},
};
