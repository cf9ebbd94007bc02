/* Files and their writer's leases.
 *
 * A lease is a row with an epoch; the epoch stands in the inode too and only grows, so that a
 * writer of an earlier lease is refused however long it slept. Renewal is the leader's RAM: the
 * state knows only who was granted what, and takes a lease away when the leader proposes it
 * (ENTRY_EXPIRE_LEASES), when the file goes, or at Close. */
#include <string.h>

#include "common/path.h"
#include "fsmaster/namespace_chunk.h"
#include "fsmaster/namespace_internal.h"
#include "fsmaster/namespace_quota.h"

/* ---- Leases ---------------------------------------------------------------------------------- */

static int lease_get(struct namespace *ns, inode_id inode, struct lease_row *ret)
{
    struct row_key key = row_key_u64(ROW_LEASE, inode);
    int r = ns_get_known(ns, &key);
    return r < 0 ? r : ns_decoded(ns, lease_decode(inode, ns_value(ns), ret));
}

static void lease_put(struct namespace *ns, const struct lease_row *lease)
{
    struct row_key key = row_key_u64(ROW_LEASE, lease->lease.inode);
    lease_encode(lease, &ns->value);
    ns_put(ns, &key);
}

/* Gives the file's lease, under a new epoch, to the caller's session. */
static void lease_grant(struct namespace *ns, struct ns_node *file)
{
    struct lease_row lease;
    if (!(file->row.flags & INODE_LEASED)) {
        ns->meta.leases++;
        ns->meta_dirty = true;
    }
    file->row.flags |= INODE_LEASED;
    file->row.lease_epoch = ns_next_epoch(ns, file->row.lease_epoch);
    ns_touch(ns, file);
    lease.lease = (struct lease_record){.inode = file->id,
                                        .epoch = file->row.lease_epoch,
                                        .session = ns->session,
                                        .granted_ms = ns->meta.cluster_ms};
    memcpy(lease.user, ns->caller->user, strlen(ns->caller->user) + 1);
    lease_put(ns, &lease);
    struct effect *effect = ns_effect(ns, EFFECT_LEASE_GRANTED);
    effect->inode = file->id;
    effect->epoch = lease.lease.epoch;
    effect->session = ns->session;
    effect->wanted = file->row.replication;
}

/* Its writer is gone, but its last chunk is open: the lease belongs to nobody until the leader has
 * recovered the chunk and proposes its end. */
static void lease_orphan(struct namespace *ns, struct ns_node *file)
{
    struct lease_row lease = {.user = ""};
    file->row.lease_epoch = ns_next_epoch(ns, file->row.lease_epoch);
    ns_touch(ns, file);
    lease.lease = (struct lease_record){
        .inode = file->id, .epoch = file->row.lease_epoch, .granted_ms = ns->meta.cluster_ms};
    lease_put(ns, &lease);
    struct effect *effect = ns_effect(ns, EFFECT_LEASE_ORPHANED);
    effect->inode = file->id;
    effect->epoch = file->row.lease_epoch;
}

int ns_lease_end(struct namespace *ns, struct ns_node *file)
{
    if (!(file->row.flags & INODE_LEASED)) {
        return 0;
    }
    struct row_key key = row_key_u64(ROW_LEASE, file->id);
    ns_del(ns, &key);
    file->row.flags &= (uint8_t)~INODE_LEASED;
    ns_touch(ns, file);
    ns->meta.leases--;
    ns->meta_dirty = true;
    struct effect *effect = ns_effect(ns, EFFECT_LEASE_ENDED);
    effect->inode = file->id;
    effect->epoch = file->row.lease_epoch;
    return 0;
}

static int live_file(struct namespace *ns, inode_id inode, struct ns_node **ret)
{
    struct ns_node *node = NULL;
    bool live = false;
    int r = ns_node_get(ns, inode, &node);
    if (r == 0) {
        r = ns_is_live(ns, node, &live);
    }
    if (r == ERR_NOT_FOUND || (r == 0 && !live)) {
        return err_set(&ns->err, ERR_NOT_FOUND, "the file was removed (inode %llu)",
                       (unsigned long long)inode);
    }
    if (r < 0) {
        return r;
    }
    if (node->row.kind != INODE_FILE) {
        return err_set(&ns->err, ERR_IS_DIR, "inode %llu is a directory",
                       (unsigned long long)inode);
    }
    *ret = node;
    return 0;
}

int ns_writer_file(struct namespace *ns, inode_id inode, uint64_t epoch, struct ns_node **ret)
{
    struct ns_node *file = NULL;
    struct lease_row lease;
    int r = live_file(ns, inode, &file);
    if (r < 0) {
        return r;
    }
    if (!(file->row.flags & INODE_LEASED) || file->row.lease_epoch != epoch) {
        return err_set(&ns->err, ERR_STALE,
                       "%s: the writer's lease was lost (epoch %llu, now %llu)", file->row.name,
                       (unsigned long long)epoch, (unsigned long long)file->row.lease_epoch);
    }
    if (epoch < ns->meta.era.floor) {
        return err_set(&ns->err, ERR_STALE,
                       "%s: the writer's lease is from before the state was restored",
                       file->row.name);
    }
    r = lease_get(ns, inode, &lease);
    if (r < 0) {
        return r;
    }
    if (lease.lease.session == 0) {
        return err_set(&ns->err, ERR_STALE, "%s: the writer's lease was given up", file->row.name);
    }
    if (!ns->caller->is_superuser && strcmp(lease.user, ns->caller->user) != 0) {
        return err_set(&ns->err, ERR_PERMISSION, "%s: is being written by user %s", file->row.name,
                       lease.user);
    }
    *ret = file;
    return 0;
}

int ns_apply_acquire_lease(struct namespace *ns, const struct op_acquire_lease *op,
                           struct op_result *result)
{
    struct ns_walk walk;
    struct chunk_record open;
    struct lease_row lease;
    int r = ns_walk_existing(ns, op->path, &walk);
    if (r < 0) {
        return r;
    }
    struct ns_node *file = walk.node;
    if (file->row.kind != INODE_FILE) {
        return err_set(&ns->err, ERR_IS_DIR, "%s: is a directory", op->path);
    }
    r = ns_need(ns, file, NS_WRITE, op->path);
    if (r < 0) {
        return r;
    }
    if (file->row.flags & INODE_LEASED) {
        r = lease_get(ns, file->id, &lease);
        if (r < 0) {
            return r;
        }
        if (lease.lease.session != ns->session) {
            return err_set(&ns->err, ERR_LEASE, "%s: is being written by %s", op->path,
                           lease.user[0] ? lease.user : "a writer whose data is being recovered");
        }
    }
    r = ns_open_chunk(ns, file, &open);
    if (r == 0) {
        result->open_chunk = open.ref;
    } else if (r != ERR_NOT_FOUND) {
        return r;
    }
    lease_grant(ns, file);
    result->inode = file->id;
    result->lease_epoch = file->row.lease_epoch;
    result->length = file->row.length;
    result->chunk_bytes = file->row.chunk_bytes;
    result->replication = file->row.replication;
    return 0;
}

/* One lease of many; an item that does not hold any more is skipped. */
static int expire_one(struct namespace *ns, const struct lease_ref *ref)
{
    struct ns_node *file = NULL;
    struct chunk_record open;
    bool live = false;
    int r = ns_node_get(ns, ref->inode, &file);
    if (r < 0) {
        return r == ERR_NOT_FOUND ? 0 : r;
    }
    if (!(file->row.flags & INODE_LEASED) || file->row.lease_epoch != ref->epoch) {
        return 0;
    }
    if (file->row.flags & INODE_UNNAMED) {
        return ns_remove(ns, file);
    }
    r = ns_is_live(ns, file, &live);
    if (r < 0) {
        return r;
    }
    if (live) {
        r = ns_open_chunk(ns, file, &open);
        if (r != ERR_NOT_FOUND) {
            return r; /* 0: to be recovered first */
        }
    }
    return ns_lease_end(ns, file);
}

int ns_apply_expire_leases(struct namespace *ns, const struct cmd_expire_leases *cmd)
{
    int r = cmd->count > NAMESPACE_BATCH_COUNT_MAX ? ERR_INVALID : 0;
    for (uint32_t i = 0; r == 0 && i < cmd->count; i++) {
        r = expire_one(ns, &cmd->leases[i]);
    }
    return r;
}

/* ---- Create ---------------------------------------------------------------------------------- */

/* What a new file shall be, defaults filled in. */
struct new_file {
    uint32_t mode;
    uint32_t replication;
    uint64_t chunk_bytes;
};

static int new_file_of(struct namespace *ns, const struct op_create *op, struct new_file *ret)
{
    *ret = (struct new_file){
        .mode = op->mode ? op->mode : 0644,
        .replication = op->replication ? op->replication : ns->meta.default_replication,
        .chunk_bytes = op->chunk_bytes ? op->chunk_bytes : CHUNK_BYTES_DEFAULT,
    };
    if (ret->mode > NS_MODE_MAX) {
        return err_set(&ns->err, ERR_INVALID, "mode %o: more than %o", ret->mode, NS_MODE_MAX);
    }
    if (ret->replication > CHUNK_REPLICAS_MAX) {
        return err_set(&ns->err, ERR_INVALID, "replication %u: more than %d", ret->replication,
                       CHUNK_REPLICAS_MAX);
    }
    if (ret->chunk_bytes < CHUNK_BYTES_MIN || ret->chunk_bytes > CHUNK_BYTES_MAX ||
        ret->chunk_bytes % CHUNK_BLOCK_BYTES != 0) {
        return err_set(&ns->err, ERR_INVALID,
                       "chunk size %llu: from %d to %d, a multiple of %d, is allowed",
                       (unsigned long long)ret->chunk_bytes, CHUNK_BYTES_MIN, CHUNK_BYTES_MAX,
                       CHUNK_BLOCK_BYTES);
    }
    return 0;
}

/* May a file take the place of what the walk found there, if anything? */
static int may_replace(struct namespace *ns, const struct ns_walk *walk, bool replace, bool parents)
{
    if (!walk->node) {
        return ns_may_make(ns, walk, parents);
    }
    if (!replace) {
        return err_set(&ns->err, ERR_EXISTS, "%s: already exists", walk->path);
    }
    if (walk->node->row.kind == INODE_DIRECTORY) {
        return err_set(&ns->err, ERR_IS_DIR, "%s: is a directory", walk->path);
    }
    return ns_may_unlink(ns, walk);
}

/* After may_replace(): links the file where the walk leads. */
static int link_at(struct namespace *ns, struct ns_walk *walk, struct ns_node *file)
{
    int r = 0;
    if (walk->node) {
        r = ns_unlink(ns, walk->node);
        if (r == 0) {
            r = ns_remove(ns, walk->node);
        }
    } else {
        r = ns_make_parents(ns, walk);
    }
    if (r < 0) {
        return r;
    }
    memcpy(file->row.group, walk->directory->row.group, sizeof(file->row.group));
    return ns_link(ns, walk->directory, path_name(walk->path), file);
}

/* What the new file weighs when it has so many bytes, or so many are promised to it. */
static struct ns_delta new_file_weight(const struct new_file *new_file, uint64_t bytes)
{
    int64_t most =
        bytes > INT64_MAX / CHUNK_REPLICAS_MAX ? INT64_MAX / CHUNK_REPLICAS_MAX : (int64_t)bytes;
    return (struct ns_delta){.files = 1, .reserved = most * (int64_t)new_file->replication};
}

/* An unnamed file whose writer says where Close will link it, so that it is refused before it is
 * written. Whatever else stands in its way is for Close to find. */
static int may_be_linked_later(struct namespace *ns, const struct op_create *op,
                               const struct new_file *new_file)
{
    struct ns_walk walk;
    struct ns_delta weight = new_file_weight(new_file, op->link_bytes);
    int r = op->link_path[0] ? ns_walk(ns, op->link_path, &walk) : ERR_NOT_FOUND;
    if (r < 0) {
        return ns->broken;
    }
    return walk.directory ? ns_quota_fits(ns, &walk, &weight, NULL) : 0;
}

/* Everything that could refuse Create. ret_chunk: there is room for a first chunk, too. */
static int create_plan(struct namespace *ns, const struct op_create *op,
                       const struct new_file *new_file, struct ns_walk *walk, bool *ret_chunk)
{
    int r = 0;
    *ret_chunk = op->server_count > 0;
    if (!op->path[0]) {
        r = may_be_linked_later(ns, op, new_file);
    } else {
        struct ns_delta empty = new_file_weight(new_file, 0);
        r = ns_walk(ns, op->path, walk);
        if (r == 0) {
            r = may_replace(ns, walk, op->replace, op->parents);
        }
        if (r == 0) {
            r = ns_quota_fits(ns, walk, &empty, NULL);
        }
    }
    if (r < 0 || !*ret_chunk) {
        return r;
    }
    if (op->path[0]) {
        struct ns_delta weight = new_file_weight(new_file, new_file->chunk_bytes);
        r = ns_quota_fits(ns, walk, &weight, NULL);
        *ret_chunk = r == 0;
    }
    return r == 0 ? ns_may_allocate(ns, op->servers, op->server_count) : ns->broken;
}

static int first_chunk(struct namespace *ns, struct ns_node *file, const struct op_create *op,
                       bool limited, struct op_result *result)
{
    int r = limited ? ns_reserve(ns, file, file->row.chunk_bytes) : 0;
    return r < 0 ? r : ns_allocate(ns, file, op->servers, op->server_count, result);
}

int ns_apply_create(struct namespace *ns, const struct op_create *op, struct op_result *result)
{
    struct new_file new_file;
    struct ns_walk walk;
    bool named = op->path[0] != 0;
    bool chunk = false;
    int r = new_file_of(ns, op, &new_file);
    if (r == 0) {
        r = create_plan(ns, op, &new_file, &walk, &chunk);
    }
    if (r != 0) {
        return r;
    }
    struct ns_node *file = ns_node_new(ns, INODE_FILE, new_file.mode);
    file->row.replication = new_file.replication;
    file->row.chunk_bytes = new_file.chunk_bytes;
    file->row.flags = named ? 0 : INODE_UNNAMED;
    if (named) {
        r = link_at(ns, &walk, file);
        if (r < 0) {
            return r;
        }
    }
    lease_grant(ns, file);
    result->inode = file->id;
    result->lease_epoch = file->row.lease_epoch;
    result->chunk_bytes = file->row.chunk_bytes;
    result->replication = file->row.replication;
    return chunk ? first_chunk(ns, file, op, named && walk.limited, result) : 0;
}

/* ---- Close and abandon ----------------------------------------------------------------------- */

/* Close comes again under a new session because its first answer was lost: 0 if the file is as it
 * asks. */
static int close_again(struct namespace *ns, const struct op_close *op, struct op_result *result)
{
    struct ns_node *file = NULL;
    struct ns_settle settle;
    struct ns_walk walk;
    int r = live_file(ns, op->inode, &file);
    if (r < 0) {
        return r;
    }
    bool closed = !(file->row.flags & INODE_LEASED) && file->row.lease_epoch == op->lease_epoch;
    if (!closed || !ns_permits(ns, file, NS_WRITE)) {
        return ERR_STALE;
    }
    r = ns_settle_plan(ns, file, op->chunk, op->length, &settle);
    if (r < 0 || settle.kind != NS_SETTLE_NOTHING) {
        return r < 0 ? r : ERR_STALE;
    }
    if (op->link_path[0]) {
        r = ns_walk(ns, op->link_path, &walk);
        if (r < 0 || walk.node != file) {
            return r < 0 ? r : ERR_STALE;
        }
    }
    result->inode = file->id;
    result->length = file->row.length;
    return 0;
}

/* Which name Close links, if any; everything that could refuse it. */
static int close_plan(struct namespace *ns, const struct op_close *op, const struct ns_node *file,
                      struct ns_walk *walk)
{
    bool unnamed = file->row.flags & INODE_UNNAMED;
    if (unnamed != (op->link_path[0] != 0)) {
        return err_set(&ns->err, ERR_INVALID,
                       unnamed ? "an unnamed file is closed with a name, or abandoned"
                               : "%s: has its name already",
                       file->row.name);
    }
    if (!unnamed) {
        return 0;
    }
    int r = ns_walk(ns, op->link_path, walk);
    return r < 0 ? r : may_replace(ns, walk, op->replace, op->parents);
}

/* Do the quotas where it is linked allow the file as it will be? */
static int link_fits(struct namespace *ns, const struct ns_node *file,
                     const struct ns_settle *settle, const struct ns_walk *walk)
{
    struct ns_delta weight = ns_weight(file);
    if (settle->kind == NS_SETTLE_SEAL) {
        weight.replica_bytes += (int64_t)(settle->length * file->row.replication);
    }
    return ns_quota_fits(ns, walk, &weight, NULL);
}

int ns_apply_close(struct namespace *ns, const struct op_close *op, struct op_result *result)
{
    struct ns_node *file = NULL;
    struct ns_settle settle;
    struct ns_walk walk;
    int r = ns_writer_file(ns, op->inode, op->lease_epoch, &file);
    if (r == ERR_STALE) {
        struct err stale = ns->err;
        r = close_again(ns, op, result);
        if (r == ERR_STALE) {
            ns->err = stale;
        }
        return r;
    }
    bool unnamed = r == 0 && (file->row.flags & INODE_UNNAMED);
    if (r == 0) {
        r = close_plan(ns, op, file, &walk);
    }
    if (r == 0) {
        r = ns_settle_plan(ns, file, op->chunk, op->length, &settle);
    }
    if (r == 0 && unnamed) {
        r = link_fits(ns, file, &settle, &walk);
    }
    if (r == 0) {
        r = ns_settle_do(ns, file, &settle);
    }
    if (r == 0 && unnamed) {
        file->row.flags &= (uint8_t)~INODE_UNNAMED;
        r = link_at(ns, &walk, file);
    }
    if (r < 0) {
        return r;
    }
    file->row.mtime_ms = op->mtime_ms ? op->mtime_ms : ns->wall_ms;
    ns_touch(ns, file);
    result->inode = file->id;
    result->length = file->row.length;
    return ns_lease_end(ns, file);
}

int ns_apply_abandon(struct namespace *ns, const struct op_abandon *op, struct op_result *result)
{
    struct ns_node *file = NULL;
    struct chunk_record open;
    int r = ns_writer_file(ns, op->inode, op->lease_epoch, &file);
    if (r < 0) {
        return r;
    }
    result->inode = file->id;
    if (file->row.flags & INODE_UNNAMED) {
        return ns_remove(ns, file);
    }
    result->length = file->row.length;
    r = ns_open_chunk(ns, file, &open);
    if (r == 0) {
        lease_orphan(ns, file); /* readers may have seen bytes of it: recovery decides its length */
        return 0;
    }
    return r == ERR_NOT_FOUND ? ns_lease_end(ns, file) : r;
}
