/* Extents and chunks of files: allocation, sealing by the writer, sealing after a failure.
 *
 * The sealed extents of a file cover [0, length) without a gap; the only chunk that is not sealed,
 * if there is one, has its extent at `length`. So the end of a file, and what is open there, are
 * found by two point reads, and a sealed length never changes (DESIGN 4 "Chunk"). */
#include <string.h>

#include "common/check.h"
#include "fsmaster/namespace_chunk.h"
#include "fsmaster/namespace_internal.h"
#include "fsmaster/namespace_quota.h"

/* ---- Rows ------------------------------------------------------------------------------------ */

int ns_chunk_get(struct namespace *ns, chunk_id id, struct chunk_record *ret)
{
    struct row_key key = row_key_u64(ROW_CHUNK, id);
    int r = ns_get(ns, &key);
    return r < 0 ? r : ns_decoded(ns, chunk_decode(id, ns_value(ns), ret));
}

static int chunk_get_known(struct namespace *ns, chunk_id id, struct chunk_record *ret)
{
    int r = ns_chunk_get(ns, id, ret);
    return r == ERR_NOT_FOUND ? ns_broken(ns, ERR_CORRUPT) : r;
}

void ns_chunk_put(struct namespace *ns, const struct chunk_record *chunk)
{
    struct row_key key = row_key_u64(ROW_CHUNK, chunk->ref.id);
    chunk_encode(chunk, &ns->value);
    ns_put(ns, &key);
}

static void extent_put(struct namespace *ns, inode_id inode, uint64_t offset,
                       const struct extent_row *extent)
{
    struct row_key key = row_key_u64_pair(ROW_EXTENT, inode, offset);
    extent_encode(extent, &ns->value);
    ns_put(ns, &key);
}

static void open_mark_del(struct namespace *ns, chunk_id id)
{
    struct row_key key = row_key_u64(ROW_OPEN_CHUNK, id);
    ns_del(ns, &key);
}

/* An effect about a chunk with the set of servers that is open, if it is. */
static struct effect *chunk_effect(struct namespace *ns, enum effect_kind kind,
                                   const struct chunk_record *chunk)
{
    struct effect *effect = ns_effect(ns, kind);
    effect->inode = chunk->inode;
    effect->chunk = chunk->ref;
    effect->length = chunk->length;
    effect->wanted = chunk->wanted;
    if (chunk->server_count > 0) {
        effect->servers =
            arena_copy(ns->arena, chunk->servers, chunk->server_count * sizeof(server_id));
        effect->server_count = chunk->server_count;
    }
    return effect;
}

int ns_open_chunk(struct namespace *ns, const struct ns_node *file, struct chunk_record *ret)
{
    struct extent_row extent;
    struct row_key key = row_key_u64_pair(ROW_EXTENT, file->id, file->row.length);
    int r = ns_get(ns, &key);
    if (r == 0) {
        r = ns_decoded(ns, extent_decode(ns_value(ns), &extent));
    }
    if (r == 0) {
        r = chunk_get_known(ns, extent.chunk, ret);
    }
    if (r == 0 && ret->state == CHUNK_SEALED) {
        r = ns_broken(ns, ERR_CORRUPT);
    }
    return r;
}

int ns_chunk_release(struct namespace *ns, chunk_id id)
{
    struct chunk_record chunk;
    int r = chunk_get_known(ns, id, &chunk);
    if (r < 0) {
        return r;
    }
    chunk.references--;
    if (chunk.references > 0) {
        ns_chunk_put(ns, &chunk);
        return 0;
    }
    struct row_key key = row_key_u64(ROW_CHUNK, id);
    ns_del(ns, &key);
    if (chunk.state != CHUNK_SEALED) {
        open_mark_del(ns, id);
    }
    ns->meta.chunks--;
    ns->meta_dirty = true;
    chunk_effect(ns, EFFECT_CHUNK_FREED, &chunk);
    return 0;
}

/* ---- Sealing --------------------------------------------------------------------------------- */

/* The file's open chunk is sealed at length > 0: the file grows by it. */
static int seal_open(struct namespace *ns, struct ns_node *file, struct chunk_record *chunk,
                     uint64_t length)
{
    CHECK(length > 0);
    chunk->length = length;
    chunk->state = CHUNK_SEALED;
    chunk_effect(ns, EFFECT_CHUNK_SEALED, chunk);
    chunk->server_count = 0;
    ns_chunk_put(ns, chunk);
    open_mark_del(ns, chunk->ref.id);
    struct extent_row extent = {chunk->ref.id, length};
    extent_put(ns, file->id, chunk->offset, &extent);
    file->row.length += length;
    file->row.mtime_ms = ns->wall_ms;
    ns_touch(ns, file);
    struct ns_delta delta = {.bytes = (int64_t)length,
                             .replica_bytes = (int64_t)(length * file->row.replication)};
    int r = ns_reserve(ns, file, 0);
    return r < 0 ? r : ns_add_up(ns, file->row.parent, &delta);
}

static int drop_open(struct namespace *ns, struct ns_node *file, const struct chunk_record *chunk)
{
    struct row_key key = row_key_u64_pair(ROW_EXTENT, file->id, chunk->offset);
    ns_del(ns, &key);
    int r = ns_reserve(ns, file, 0);
    return r < 0 ? r : ns_chunk_release(ns, chunk->ref.id);
}

/* The chunk that a writer means is the one that is open at the end of its file. */
static int settle_open(struct namespace *ns, struct chunk_ref ref, uint64_t length,
                       struct ns_settle *ret)
{
    const struct chunk_record *open = &ret->chunk;
    if (ref.id != open->ref.id) {
        return err_set(&ns->err, ERR_PRECONDITION, "chunk %llu of the file is still open",
                       (unsigned long long)open->ref.id);
    }
    if (ref.version != open->ref.version || open->state != CHUNK_OPEN) {
        return err_set(&ns->err, ERR_STALE,
                       "chunk %llu is being recovered (version %llu, now %llu)",
                       (unsigned long long)ref.id, (unsigned long long)ref.version,
                       (unsigned long long)open->ref.version);
    }
    if (length > open->bytes_max) {
        return err_set(&ns->err, ERR_INVALID, "chunk %llu: length %llu is more than %llu",
                       (unsigned long long)ref.id, (unsigned long long)length,
                       (unsigned long long)open->bytes_max);
    }
    ret->kind = length > 0 ? NS_SETTLE_SEAL : NS_SETTLE_DROP;
    ret->length = length;
    return 0;
}

/* No chunk is open: the one that the writer means was settled before, and must be as it says. */
static int settle_done(struct namespace *ns, const struct ns_node *file, struct chunk_ref ref,
                       uint64_t length)
{
    struct chunk_record chunk;
    int r = ns_chunk_get(ns, ref.id, &chunk);
    if (r == ERR_NOT_FOUND && length == 0) {
        return 0; /* dropped */
    }
    if (r == ERR_NOT_FOUND) {
        return err_set(&ns->err, ERR_STALE, "chunk %llu is gone", (unsigned long long)ref.id);
    }
    if (r < 0) {
        return r;
    }
    if (chunk.inode != file->id) {
        return err_set(&ns->err, ERR_INVALID, "chunk %llu is not of this file",
                       (unsigned long long)ref.id);
    }
    if (chunk.length != length) {
        return err_set(&ns->err, ERR_SEALED, "chunk %llu is sealed at %llu, not %llu",
                       (unsigned long long)ref.id, (unsigned long long)chunk.length,
                       (unsigned long long)length);
    }
    return 0;
}

int ns_settle_plan(struct namespace *ns, const struct ns_node *file, struct chunk_ref ref,
                   uint64_t length, struct ns_settle *ret)
{
    ret->kind = NS_SETTLE_NOTHING;
    int r = ns_open_chunk(ns, file, &ret->chunk);
    if (r == 0) {
        return settle_open(ns, ref, length, ret);
    }
    if (r != ERR_NOT_FOUND || ref.id == 0) {
        return r == ERR_NOT_FOUND ? 0 : r;
    }
    return settle_done(ns, file, ref, length);
}

int ns_settle_do(struct namespace *ns, struct ns_node *file, struct ns_settle *settle)
{
    switch (settle->kind) {
    case NS_SETTLE_NOTHING:
        return 0;
    case NS_SETTLE_SEAL:
        return seal_open(ns, file, &settle->chunk, settle->length);
    case NS_SETTLE_DROP:
        return drop_open(ns, file, &settle->chunk);
    }
    return ERR_INTERNAL;
}

int ns_apply_seal_chunk(struct namespace *ns, const struct op_seal_chunk *op,
                        struct op_result *result)
{
    struct ns_node *file = NULL;
    struct ns_settle settle;
    int r = ns_writer_file(ns, op->inode, op->lease_epoch, &file);
    if (r == 0 && op->chunk.id == 0) {
        r = err_set(&ns->err, ERR_INVALID, "no chunk is named");
    }
    if (r == 0) {
        r = ns_settle_plan(ns, file, op->chunk, op->length, &settle);
    }
    if (r == 0) {
        r = ns_settle_do(ns, file, &settle);
    }
    if (r == 0) {
        result->inode = file->id;
        result->length = file->row.length;
    }
    return r;
}

int ns_apply_abandon_chunk(struct namespace *ns, const struct op_abandon_chunk *op,
                           struct op_result *result)
{
    struct op_seal_chunk seal = {op->inode, op->lease_epoch, op->chunk, 0};
    return ns_apply_seal_chunk(ns, &seal, result);
}

/* ---- Allocation ------------------------------------------------------------------------------ */

/* Known servers, none twice. */
int ns_may_allocate(struct namespace *ns, const server_id *servers, uint32_t count)
{
    if (count == 0) {
        return err_set(&ns->err, ERR_FEW_SERVERS,
                       "too few live chunkservers in service with room for a new chunk");
    }
    if (count > CHUNK_REPLICAS_MAX) {
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (servers[i] == 0 || servers[i] >= ns->meta.next_server) {
            return err_set(&ns->err, ERR_INVALID, "no chunkserver %llu",
                           (unsigned long long)servers[i]);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (servers[i] == servers[j]) {
                return err_set(&ns->err, ERR_INVALID, "chunkserver %llu is named twice",
                               (unsigned long long)servers[i]);
            }
        }
    }
    return 0;
}

static int check_offset(struct namespace *ns, const struct op_allocate *op,
                        const struct ns_node *file, const struct ns_settle *settle)
{
    uint64_t end = file->row.length + (settle->kind == NS_SETTLE_SEAL ? settle->length : 0);
    if (op->offset != end) {
        return err_set(&ns->err, ERR_PRECONDITION, "%s: ends at %llu, not at %llu", file->row.name,
                       (unsigned long long)end, (unsigned long long)op->offset);
    }
    if (end > INT64_MAX - CHUNK_BYTES_MAX) {
        return err_set(&ns->err, ERR_TOO_LARGE, "%s: no file is longer", file->row.name);
    }
    return 0;
}

static void chunk_make(struct namespace *ns, const struct ns_node *file, const server_id *servers,
                       uint32_t count, struct chunk_record *ret)
{
    *ret = (struct chunk_record){
        .ref = {ns->meta.next_chunk++, CHUNK_VERSION_FIRST},
        .state = CHUNK_OPEN,
        .bytes_max = file->row.chunk_bytes,
        .references = 1,
        .wanted = file->row.replication,
        .inode = file->id,
        .offset = file->row.length,
        .open_version = CHUNK_VERSION_FIRST,
        .server_count = count,
    };
    memcpy(ret->servers, servers, count * sizeof(server_id));
    ns->meta.chunks++;
    ns->meta_dirty = true;
    ns_chunk_put(ns, ret);
    struct extent_row extent = {ret->ref.id, 0};
    extent_put(ns, file->id, ret->offset, &extent);
    struct row_key mark = row_key_u64(ROW_OPEN_CHUNK, ret->ref.id);
    mark_encode(&ns->value);
    ns_put(ns, &mark);
    chunk_effect(ns, EFFECT_CHUNK_ALLOCATED, ret)->length = ret->bytes_max;
}

static int result_replicas(struct namespace *ns, const struct chunk_record *chunk,
                           struct op_result *result)
{
    struct server_record *servers =
        arena_alloc(ns->arena, chunk->server_count * sizeof(struct server_record));
    for (uint32_t i = 0; i < chunk->server_count; i++) {
        int r = ns_server_get(ns, chunk->servers[i], &servers[i]);
        if (r < 0) {
            return r;
        }
    }
    result->replicas = servers;
    result->replica_count = chunk->server_count;
    return 0;
}

int ns_allocate(struct namespace *ns, const struct ns_node *file, const server_id *servers,
                uint32_t count, struct op_result *result)
{
    struct chunk_record chunk;
    chunk_make(ns, file, servers, count, &chunk);
    result->chunk = chunk.ref;
    result->chunk_bytes = chunk.bytes_max;
    return result_replicas(ns, &chunk, result);
}

/* How much more space the file takes with the chunk before settled and the next one at its most. */
static int64_t next_chunk_space(const struct ns_node *file, const struct ns_settle *settle)
{
    int64_t bytes = (int64_t)file->row.chunk_bytes - (int64_t)file->row.reserved;
    bytes += settle->kind == NS_SETTLE_SEAL ? (int64_t)settle->length : 0;
    return bytes * (int64_t)file->row.replication;
}

int ns_apply_allocate(struct namespace *ns, const struct op_allocate *op, struct op_result *result)
{
    struct ns_node *file = NULL;
    struct ns_settle settle;
    bool limited = false;
    int r = ns_writer_file(ns, op->inode, op->lease_epoch, &file);
    if (r == 0) {
        r = ns_settle_plan(ns, file, op->previous, op->previous_length, &settle);
    }
    if (r == 0) {
        r = check_offset(ns, op, file, &settle);
    }
    if (r == 0) {
        r = ns_quota_grows(ns, file, next_chunk_space(file, &settle), &limited);
    }
    if (r == 0) {
        r = ns_may_allocate(ns, op->servers, op->server_count);
    }
    if (r == 0) {
        r = ns_settle_do(ns, file, &settle);
    }
    if (r == 0 && limited) {
        r = ns_reserve(ns, file, file->row.chunk_bytes);
    }
    if (r < 0) {
        return r;
    }
    result->inode = file->id;
    return ns_allocate(ns, file, op->servers, op->server_count, result);
}

/* ---- Sealing after a failure ----------------------------------------------------------------- */

int ns_apply_seal_begin(struct namespace *ns, const struct cmd_seal_begin *cmd,
                        struct apply_result *result)
{
    struct chunk_record chunk;
    int r = ns_chunk_get(ns, cmd->chunk, &chunk);
    if (r < 0) {
        return r;
    }
    result->chunk = chunk.ref;
    if (chunk.state == CHUNK_SEALED) {
        return ERR_SEALED;
    }
    if (chunk.state == CHUNK_SEALING && cmd->new_version == chunk.ref.version) {
        return 0;
    }
    if (cmd->new_version != era_version(&ns->meta.era, chunk.ref.version)) {
        return ERR_STALE;
    }
    chunk.ref.version = cmd->new_version;
    chunk.state = CHUNK_SEALING;
    ns_chunk_put(ns, &chunk);
    chunk_effect(ns, EFFECT_CHUNK_SEALING, &chunk);
    result->chunk = chunk.ref;
    return 0;
}

/* The chunk's state allows its end: 0, > 0 when it was sealed so before, or ERR_*. */
static int seal_end_allowed(const struct chunk_record *chunk, const struct cmd_seal_end *cmd)
{
    if (chunk->ref.version != cmd->chunk.version || chunk->state == CHUNK_OPEN) {
        return ERR_STALE;
    }
    if (chunk->state == CHUNK_SEALED) {
        return !cmd->drop && chunk->length == cmd->length ? 1 : ERR_SEALED;
    }
    return cmd->length > chunk->bytes_max ? ERR_INVALID : 0;
}

int ns_apply_seal_end(struct namespace *ns, const struct cmd_seal_end *cmd,
                      struct apply_result *result)
{
    struct chunk_record chunk;
    struct ns_node *file = NULL;
    bool drop = cmd->drop || cmd->length == 0;
    int r = ns_chunk_get(ns, cmd->chunk.id, &chunk);
    if (r < 0) {
        return r == ERR_NOT_FOUND && drop ? 0 : r;
    }
    result->chunk = chunk.ref;
    r = seal_end_allowed(&chunk, cmd);
    if (r != 0) {
        result->length = chunk.length;
        return r < 0 ? r : 0;
    }
    r = ns_node_get_known(ns, chunk.inode, &file);
    if (r == 0 && drop) {
        r = drop_open(ns, file, &chunk);
    } else if (r == 0) {
        r = seal_open(ns, file, &chunk, cmd->length);
        result->length = cmd->length;
    }
    return r;
}
