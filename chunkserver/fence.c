/* See fence.h and DESIGN 4, "Failure: seal and go on". The claim keeps everybody else away, and a
 * stream that held it has drained, so what stands on the disk here is what the fence answers for.
 * Everything is durable before the answer; if that fails so has the disk, and there is no answer.
 */
#include "chunkserver/fence.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/macros.h"

static int disk_failed(struct command *cmd, const char *what, int code)
{
    server_disk_failed(cmd->server, cmd->disk, what, &cmd->err);
    return code;
}

static int save_durably(struct command *cmd, struct replica *r)
{
    struct chunk_index *index = cmd->disk->chunks.index;
    struct index_batch *batch = index_batch_new(index);
    if (cmd->term > 0) {
        index_put_term(batch, cmd->term);
    }
    int code = replica_save(r, &cmd->err);
    code = code < 0 ? code : chunk_index_write(index, batch, &cmd->err);
    code = code < 0 ? code : chunk_index_sync_now(index, &cmd->err);
    index_batch_free(batch);
    if (code < 0) {
        return disk_failed(cmd, "the chunk index cannot be made durable", code);
    }
    cmd->effect = COMMAND_CHANGED;
    cmd->record = r->record;
    return 0;
}

static int close_durably(struct command *cmd, struct replica *r, enum chunk_state state,
                         uint64_t version)
{
    int code = replica_close_at(r, state, version, &cmd->err);
    if (code < 0) {
        return disk_failed(cmd, "a chunk cannot be made durable", code);
    }
    return save_durably(cmd, r);
}

static bool is_clean(const struct command *cmd, const struct chunk_record *record)
{
    if (record->damaged) {
        return false; /* what verifies has to be looked for */
    }
    switch (record->state) {
    case CHUNK_SEALED:
        return true;
    case CHUNK_FENCED:
        return record->clean;
    case CHUNK_OPEN:
    default:
        return record->granted_start == cmd->server->disks.start_count;
    }
}

/* ---- Fence ---- */

static int fence_replica(struct fence *f, struct replica *r)
{
    struct command *cmd = &f->command;
    const struct chunk_record *record = &r->record;
    if (record->ref.version > f->new_version) {
        return err_set(&cmd->err, ERR_STALE, "chunk %" PRIu64 " is at version %" PRIu64,
                       record->ref.id, record->ref.version);
    }
    if (record->ref.version < f->chunk.version) {
        return 0; /* it missed an earlier seal: not a holder of the version that ends */
    }
    f->found = true;
    f->clean = is_clean(cmd, record);
    if (record->ref.version < f->new_version) {
        uint64_t verified = record->length;
        int code = f->clean ? 0 : replica_verify(r, &verified, &cmd->err);
        if (code < 0) {
            return code;
        }
        replica_settle(r, verified);
        r->record.clean = f->clean;
        code = close_durably(cmd, r, CHUNK_FENCED, f->new_version);
        if (code < 0) {
            return code;
        }
    }
    f->length = record->length;
    return 0;
}

static int fence_run(struct command *cmd)
{
    struct fence *f = CONTAINER_OF(cmd, struct fence, command);
    struct replica r = {0};
    int code = replica_load(&r, &cmd->disk->chunks, f->chunk.id, &cmd->err);
    if (code == ERR_NOT_FOUND) {
        return 0;
    }
    if (code == 0) {
        code = fence_replica(f, &r);
        replica_deinit(&r);
    }
    return code;
}

void fence_init(struct fence *f)
{
    *f = (struct fence){.command = {.run = fence_run, .ends_streams = true}};
}

/* ---- Seal ---- */

/* Whether the replica's bytes up to the sealed length are the chunk's. */
static int may_be_sealed(struct seal *s, struct replica *r, bool *ret)
{
    struct chunk_record *record = &r->record;
    *ret = false;
    bool version_fits =
        record->ref.version == s->chunk.version || record->ref.version <= s->fenced_version;
    if (!version_fits || record->damaged || record->length < s->length) {
        return 0;
    }
    if (record->state == CHUNK_FENCED && record->clean) {
        *ret = true;
        return 0;
    }
    uint64_t verified = 0;
    int code = replica_verify(r, &verified, &s->command.err);
    *ret = code == 0 && verified >= s->length;
    return code;
}

static int seal_replica(struct seal *s, struct replica *r)
{
    struct command *cmd = &s->command;
    struct chunk_record *record = &r->record;
    if (record->ref.version > s->chunk.version) {
        return err_set(&cmd->err, ERR_STALE, "chunk %" PRIu64 " is at version %" PRIu64,
                       record->ref.id, record->ref.version);
    }
    if (record->state == CHUNK_SEALED && record->ref.version == s->chunk.version) {
        s->kept = record->length == s->length && !record->damaged;
        return 0;
    }
    bool fits = false;
    int code = may_be_sealed(s, r, &fits);
    if (code < 0 || !fits) {
        return code;
    }
    bool aside = !is_clean(cmd, record);
    code = aside ? replica_set_aside(r, s->length, clock_wall_ms() + CHUNK_SET_ASIDE_MS, &cmd->err)
                 : 0;
    if (code == 0) {
        code = replica_cut(r, s->length, &cmd->err);
    }
    if (code == ERR_CORRUPT) {
        return 0; /* damaged after all: not kept */
    }
    if (code == 0) {
        r->record.acked = r->record.length; /* the log has it: nothing of this can be taken back */
        code = close_durably(cmd, r, CHUNK_SEALED, s->chunk.version);
        s->kept = code == 0;
    }
    return code;
}

static int seal_run(struct command *cmd)
{
    struct seal *s = CONTAINER_OF(cmd, struct seal, command);
    struct replica r = {0};
    int code = replica_load(&r, &cmd->disk->chunks, s->chunk.id, &cmd->err);
    if (code == ERR_NOT_FOUND || code == ERR_CORRUPT) {
        return 0;
    }
    if (code == 0) {
        code = seal_replica(s, &r);
        replica_deinit(&r);
    }
    return code;
}

void seal_init(struct seal *s)
{
    *s = (struct seal){.command = {.run = seal_run, .ends_streams = true}};
}

/* ---- Delete ---- */

static int remove_run(struct command *cmd)
{
    struct remove *r = CONTAINER_OF(cmd, struct remove, command);
    struct chunk_disk *disk = &cmd->disk->chunks;
    struct chunk_record record;
    int code = chunk_index_get(disk->index, r->chunk.id, &record, &cmd->err);
    if (code < 0) {
        return code == ERR_NOT_FOUND ? 0 : code;
    }
    if (record.ref.version > r->chunk.version) {
        return 0;
    }
    struct index_batch *batch = index_batch_new(disk->index);
    replica_forget(&record, clock_wall_ms() + r->trash_ms, batch);
    if (cmd->term > 0) {
        index_put_term(batch, cmd->term);
    }
    code = chunk_index_write(disk->index, batch, &cmd->err);
    code = code < 0 ? code : chunk_index_sync_now(disk->index, &cmd->err);
    index_batch_free(batch);
    if (code < 0) {
        return disk_failed(cmd, "the chunk index cannot be made durable", code);
    }
    r->removed = true;
    cmd->effect = COMMAND_REMOVED;
    /* The entry stands; should the rename not happen, the next start does it. */
    return record.inlined ? 0 : chunk_file_trash(&disk->dirs, record.ref, &cmd->err);
}

void remove_init(struct remove *r)
{
    *r = (struct remove){.command = {.run = remove_run, .ends_streams = true}};
}
