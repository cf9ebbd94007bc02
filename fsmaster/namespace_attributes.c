/* Attributes, fences and preconditions. */
#include <string.h>

#include "common/path.h"
#include "fsmaster/namespace_internal.h"
#include "fsmaster/namespace_quota.h"

/* ---- Attributes ------------------------------------------------------------------------------ */

static int name_ok(struct namespace *ns, const char *what, const char *name)
{
    if (path_check_name(name, strlen(name), NULL) == 0) {
        return 0;
    }
    return err_set(&ns->err, ERR_INVALID, "not a valid %s", what);
}

static bool is_member(const struct namespace *ns, const char *group)
{
    const struct caller *caller = ns->caller;
    bool member = caller->is_superuser || strcmp(caller->user, group) == 0;
    for (uint32_t i = 0; !member && i < caller->group_count; i++) {
        member = strcmp(caller->groups[i], group) == 0;
    }
    return member;
}

/* Are the wanted values any good? */
static int check_values(struct namespace *ns, const struct op_set_attributes *op,
                        const struct ns_node *node)
{
    const uint32_t known = ATTRIBUTE_MODE | ATTRIBUTE_OWNER | ATTRIBUTE_GROUP | ATTRIBUTE_MTIME |
                           ATTRIBUTE_REPLICATION;
    if (op->fields & ~known) {
        return err_set(&ns->err, ERR_UNSUPPORTED, "unknown attributes %x", op->fields & ~known);
    }
    if ((op->fields & ATTRIBUTE_MODE) && op->mode > NS_MODE_MAX) {
        return err_set(&ns->err, ERR_INVALID, "mode %o: more than %o", op->mode, NS_MODE_MAX);
    }
    int r = op->fields & ATTRIBUTE_OWNER ? name_ok(ns, "user", op->owner) : 0;
    if (r == 0 && (op->fields & ATTRIBUTE_GROUP)) {
        r = name_ok(ns, "group", op->group);
    }
    if (r < 0 || !(op->fields & ATTRIBUTE_REPLICATION)) {
        return r;
    }
    if (node->row.kind != INODE_FILE) {
        return err_set(&ns->err, ERR_IS_DIR, "%s: only files have a replication", op->path);
    }
    if (op->replication == 0 || op->replication > CHUNK_REPLICAS_MAX) {
        return err_set(&ns->err, ERR_INVALID, "replication %u: from 1 to %d", op->replication,
                       CHUNK_REPLICAS_MAX);
    }
    return 0;
}

/* Mode: the owner. Owner: a superuser. Group: the owner, who must be in it. Time and replication:
 * the owner or whoever may write. */
static int check_rights(struct namespace *ns, const struct op_set_attributes *op,
                        const struct ns_node *node)
{
    bool owner = ns_is_owner(ns, node);
    bool writer = owner || ns_permits(ns, node, NS_WRITE);
    bool refused = false;
    refused |= (op->fields & ATTRIBUTE_MODE) && !owner;
    refused |= (op->fields & ATTRIBUTE_OWNER) && !ns->caller->is_superuser;
    refused |= (op->fields & ATTRIBUTE_GROUP) && !(owner && is_member(ns, op->group));
    refused |= (op->fields & (ATTRIBUTE_MTIME | ATTRIBUTE_REPLICATION)) && !writer;
    if (refused) {
        return err_set(&ns->err, ERR_PERMISSION, "%s: permission denied: owned by %s", op->path,
                       node->row.owner);
    }
    return 0;
}

/* What that many copies more, or fewer, change above the file. */
static struct ns_delta replication_delta(const struct ns_node *file, uint32_t replication)
{
    int64_t copies = (int64_t)replication - (int64_t)file->row.replication;
    return (struct ns_delta){.replica_bytes = (int64_t)file->row.length * copies,
                             .reserved = (int64_t)file->row.reserved * copies};
}

static int check_quota(struct namespace *ns, const struct op_set_attributes *op,
                       const struct ns_node *node)
{
    if (!(op->fields & ATTRIBUTE_REPLICATION)) {
        return 0;
    }
    struct ns_delta delta = replication_delta(node, op->replication);
    return ns_quota_grows(ns, node, delta.replica_bytes + delta.reserved, NULL);
}

static int set_replication(struct namespace *ns, struct ns_node *file, uint32_t replication)
{
    if (replication == file->row.replication) {
        return 0;
    }
    struct ns_delta delta = replication_delta(file, replication);
    file->row.replication = replication;
    int r = ns_add_up(ns, file->row.parent, &delta);
    return r < 0 ? r : ns_rewant(ns, file);
}

int ns_apply_set_attributes(struct namespace *ns, const struct op_set_attributes *op,
                            struct op_result *result)
{
    struct ns_walk walk;
    int r = ns_walk_existing(ns, op->path, &walk);
    if (r == 0) {
        r = check_values(ns, op, walk.node);
    }
    if (r == 0) {
        r = check_rights(ns, op, walk.node);
    }
    if (r == 0) {
        r = check_quota(ns, op, walk.node);
    }
    if (r < 0) {
        return r;
    }
    struct ns_node *node = walk.node;
    ns_touch(ns, node);
    if (op->fields & ATTRIBUTE_MODE) {
        node->row.mode = op->mode;
    }
    if (op->fields & ATTRIBUTE_OWNER) {
        memcpy(node->row.owner, op->owner, strlen(op->owner) + 1);
    }
    if (op->fields & ATTRIBUTE_GROUP) {
        memcpy(node->row.group, op->group, strlen(op->group) + 1);
    }
    if (op->fields & ATTRIBUTE_MTIME) {
        node->row.mtime_ms = op->mtime_ms;
    }
    result->inode = node->id;
    return op->fields & ATTRIBUTE_REPLICATION ? set_replication(ns, node, op->replication) : 0;
}

/* ---- Fences ---------------------------------------------------------------------------------- */

/* A fence's name is a path without its first slash. */
static bool fence_name_ok(const char *name)
{
    char path[LIMIT_NAME_BYTES_MAX + 2] = "/";
    size_t length = strlen(name);
    if (length == 0 || length > LIMIT_NAME_BYTES_MAX) {
        return false;
    }
    memcpy(path + 1, name, length);
    return path_check(path, length + 1, NULL) == 0;
}

/* ERR_NOT_FOUND: never raised. */
static int fence_get(struct namespace *ns, const char *name, struct fence_row *ret)
{
    if (!fence_name_ok(name)) {
        return ERR_NOT_FOUND;
    }
    struct row_key key = row_key_fence((struct span){name, strlen(name)});
    int r = ns_get(ns, &key);
    return r < 0 ? r : ns_decoded(ns, fence_decode(ns_value(ns), ret));
}

/* Whoever raised it first owns it: nobody else can depose its holder. */
int ns_apply_raise_fence(struct namespace *ns, const struct op_raise_fence *op,
                         struct op_result *result)
{
    struct fence_row fence = {.owner = ""};
    if (!fence_name_ok(op->name)) {
        return err_set(&ns->err, ERR_INVALID, "not a valid name of a fence");
    }
    int r = fence_get(ns, op->name, &fence);
    if (r == ERR_NOT_FOUND) {
        if (ns->meta.fences >= NAMESPACE_FENCE_COUNT_MAX) {
            return err_set(&ns->err, ERR_TOO_LARGE, "more than %d fences",
                           NAMESPACE_FENCE_COUNT_MAX);
        }
        memcpy(fence.owner, ns->caller->user, strlen(ns->caller->user) + 1);
        ns->meta.fences++;
        ns->meta_dirty = true;
    } else if (r < 0) {
        return r;
    } else if (!ns->caller->is_superuser && strcmp(fence.owner, ns->caller->user) != 0) {
        return err_set(&ns->err, ERR_PERMISSION, "fence %s: belongs to user %s", op->name,
                       fence.owner);
    }
    fence.epoch = ns_next_epoch(ns, fence.epoch);
    fence.raised_ms = ns->meta.cluster_ms;
    struct row_key key = row_key_fence((struct span){op->name, strlen(op->name)});
    fence_encode(&fence, &ns->value);
    ns_put(ns, &key);
    result->fence_epoch = fence.epoch;
    return 0;
}

/* ---- Preconditions --------------------------------------------------------------------------- */

static int path_must_be_absent(struct namespace *ns, const char *path)
{
    struct ns_walk walk;
    int r = ns_walk(ns, path, &walk);
    if (r == 0 && walk.node) {
        return err_set(&ns->err, ERR_PRECONDITION, "%s: exists", path);
    }
    return r == ERR_NOT_DIR ? 0 : r;
}

static int path_must_be(struct namespace *ns, const char *path, inode_id inode)
{
    struct ns_walk walk;
    int r = ns_walk(ns, path, &walk);
    bool is = r == 0 && walk.node && walk.node->id == inode;
    if ((r == 0 && !is) || r == ERR_NOT_DIR) {
        return err_set(&ns->err, ERR_PRECONDITION, "%s: is not inode %llu", path,
                       (unsigned long long)inode);
    }
    return r;
}

static int fence_must_be(struct namespace *ns, const char *name, uint64_t epoch)
{
    struct fence_row fence = {.epoch = 0};
    int r = fence_get(ns, name, &fence);
    if (r < 0 && r != ERR_NOT_FOUND) {
        return r;
    }
    if (r == 0 && fence.epoch == epoch) {
        return 0;
    }
    return err_set(&ns->err, ERR_PRECONDITION, "the fence has epoch %llu, not %llu",
                   (unsigned long long)fence.epoch, (unsigned long long)epoch);
}

int ns_check_preconditions(struct namespace *ns, const struct operation *op)
{
    int r = 0;
    if (op->precondition_count > NAMESPACE_PRECONDITION_COUNT_MAX) {
        return err_set(&ns->err, ERR_TOO_LARGE, "more than %d preconditions",
                       NAMESPACE_PRECONDITION_COUNT_MAX);
    }
    for (uint32_t i = 0; r == 0 && i < op->precondition_count; i++) {
        const struct precondition *precondition = &op->preconditions[i];
        switch (precondition->kind) {
        case PRECONDITION_PATH_ABSENT:
            r = path_must_be_absent(ns, precondition->name);
            break;
        case PRECONDITION_PATH_IS:
            r = path_must_be(ns, precondition->name, precondition->number);
            break;
        case PRECONDITION_FENCE_IS:
            r = fence_must_be(ns, precondition->name, precondition->number);
            break;
        case PRECONDITION_NONE:
        default:
            r = err_set(&ns->err, ERR_PRECONDITION, "a precondition that is not known here");
        }
    }
    return r;
}
