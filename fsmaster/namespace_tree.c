/* Paths, permissions, links and counters of the namespace; mkdir and delete.
 *
 * Invariants, which namespace_check() walks:
 *  - A directory's counters cover everything below it, itself not included. Each change adds a
 *    delta to the parent and everything above it: O(depth), and depth is at most LIMIT_DEPTH_MAX.
 *  - For that to hold although a directory of any size is renamed in O(1), each directory keeps an
 *    upper bound of its height, and depth + height of what is linked must stay within the limit.
 *    The bound is raised on link and falls to zero only when a directory becomes empty, so it may
 *    refuse a rename into great depth that would just fit, never allow one that does not.
 *  - An unlinked subtree keeps its inner links; only its top is marked and has no parent. */
#include <string.h>

#include "common/check.h"
#include "common/path.h"
#include "fsmaster/namespace_internal.h"
#include "fsmaster/namespace_quota.h"

/* ---- Permissions ----------------------------------------------------------------------------- */

bool ns_is_owner(const struct namespace *ns, const struct ns_node *node)
{
    return ns->caller->is_superuser || strcmp(node->row.owner, ns->caller->user) == 0;
}

static bool in_group(const struct caller *caller, const char *group)
{
    if (strcmp(caller->user, group) == 0) {
        return true;
    }
    for (uint32_t i = 0; i < caller->group_count; i++) {
        if (strcmp(caller->groups[i], group) == 0) {
            return true;
        }
    }
    return false;
}

bool ns_permits(const struct namespace *ns, const struct ns_node *node, uint32_t bits)
{
    const struct inode_row *row = &node->row;
    if (ns->caller->is_superuser) {
        return true;
    }
    if (strcmp(row->owner, ns->caller->user) == 0) {
        return ((row->mode >> 6) & bits) == bits;
    }
    if (in_group(ns->caller, row->group)) {
        return ((row->mode >> 3) & bits) == bits;
    }
    return (row->mode & bits) == bits;
}

/* "drwxr-x---" */
static void mode_text(const struct inode_row *row, char ret[11])
{
    static const char all[] = "drwxrwxrwx";
    memcpy(ret, all, sizeof(all));
    if (row->kind == INODE_FILE) {
        ret[0] = '-';
    }
    for (int i = 0; i < 9; i++) {
        if (!(row->mode >> (8 - i) & 1)) {
            ret[1 + i] = '-';
        }
    }
}

/* Everything that the one who was refused needs to know, or to tell the owner: where, what, who. */
int ns_need(struct namespace *ns, const struct ns_node *node, uint32_t bits, const char *path)
{
    if (ns_permits(ns, node, bits)) {
        return 0;
    }
    char mode[11];
    struct buf where = BUF_INIT;
    mode_text(&node->row, mode);
    if (ns_path(ns, node->id, &where) < 0) {
        buf_clear(&where);
        buf_printf(&where, "%s", node->row.name);
    }
    int r = err_set(&ns->err, ERR_PERMISSION,
                    "%s%spermission denied: user=%s needs %s%s%s on %s (%s %s %s)", path,
                    path[0] ? ": " : "", ns->caller->user, bits & NS_READ ? "r" : "",
                    bits & NS_WRITE ? "w" : "", bits & NS_EXECUTE ? "x" : "", where.data, mode,
                    node->row.owner, node->row.group);
    buf_deinit(&where);
    return r;
}

/* ---- Walking --------------------------------------------------------------------------------- */

static void entry_cache(struct namespace *ns, const struct row_key *key, struct ns_node *node)
{
    struct ns_entry *entry = arena_alloc(&ns->memory, sizeof(*entry));
    entry->node = node;
    entry->key = *key;
    map_put_bytes(&ns->entries, entry->key.bytes, entry->key.length, entry);
}

int ns_child(struct namespace *ns, inode_id parent, struct span name, struct ns_node **ret)
{
    struct dirent_row dirent;
    struct ns_node *node = NULL;
    struct row_key key = row_key_dirent(parent, name);
    const struct ns_entry *entry = map_get_bytes(&ns->entries, key.bytes, key.length);
    if (entry) {
        *ret = entry->node;
        return 0;
    }
    int r = ns_get(ns, &key);
    if (r == 0) {
        r = ns_decoded(ns, dirent_decode(ns_value(ns), &dirent));
    }
    if (r == 0) {
        r = ns_node_get_known(ns, dirent.inode, &node);
    }
    if (r != 0) {
        return r;
    }
    if (node->row.kind == INODE_DIRECTORY) {
        entry_cache(ns, &key, node);
    }
    *ret = node;
    return 0;
}

/* One step from walk->node, a component on the way, to its child `name`. */
static int walk_step(struct namespace *ns, struct ns_walk *walk, struct span name)
{
    struct ns_node *directory = walk->node;
    if (directory->row.kind != INODE_DIRECTORY) {
        return err_set(&ns->err, ERR_NOT_DIR, "%s: \"%s\" is not a directory", walk->path,
                       directory->row.name);
    }
    int r = ns_need(ns, directory, NS_EXECUTE, walk->path);
    if (r < 0) {
        return r;
    }
    walk->directory = directory;
    walk->limited = walk->limited || (directory->row.flags & INODE_LIMITED);
    walk->node = NULL;
    r = ns_child(ns, directory->id, name, &walk->node);
    return r == ERR_NOT_FOUND ? 0 : r;
}

int ns_walk(struct namespace *ns, const char *path, struct ns_walk *ret)
{
    struct ns_walk walk = {.path = path, .rest = path, .parent_exists = true};
    const char *at = path;
    struct span name;
    int r = path_check(path, strlen(path), NULL);
    if (r < 0) {
        return err_set(
            &ns->err, r,
            "not a valid path: absolute, UTF-8, no empty, \".\" or \"..\" parts, at most "
            "%d bytes and %d parts",
            LIMIT_PATH_BYTES_MAX, LIMIT_DEPTH_MAX);
    }
    r = ns_node_get(ns, NS_ROOT, &walk.node);
    if (r < 0) {
        return r == ERR_NOT_FOUND ? ERR_UNAVAILABLE : r;
    }
    while (walk.node && path_next(&at, &name)) {
        r = walk_step(ns, &walk, name);
        if (r < 0) {
            return r;
        }
        if (walk.node) {
            walk.rest = at;
        }
    }
    walk.parent_exists = walk.node || !path_next(&at, &name);
    *ret = walk;
    return 0;
}

int ns_walk_existing(struct namespace *ns, const char *path, struct ns_walk *ret)
{
    int r = ns_walk(ns, path, ret);
    if (r == 0 && !ret->node) {
        r = err_set(&ns->err, ERR_NOT_FOUND, "%s: no such file or directory", path);
    }
    return r;
}

int ns_may_make(struct namespace *ns, const struct ns_walk *walk, bool parents)
{
    CHECK(!walk->node);
    if (!walk->parent_exists && !parents) {
        return err_set(&ns->err, ERR_NOT_FOUND, "%s: its parent directory does not exist",
                       walk->path);
    }
    return ns_need(ns, walk->directory, NS_WRITE, walk->path);
}

int ns_may_unlink(struct namespace *ns, const struct ns_walk *walk)
{
    if (!walk->directory) {
        return err_set(&ns->err, ERR_INVALID, "/: the root stays");
    }
    int r = ns_need(ns, walk->directory, NS_WRITE, walk->path);
    if (r < 0) {
        return r;
    }
    if ((walk->directory->row.mode & NS_MODE_STICKY) && !ns_is_owner(ns, walk->node) &&
        !ns_is_owner(ns, walk->directory)) {
        return err_set(&ns->err, ERR_PERMISSION,
                       "%s: permission denied: user %s owns neither it nor its sticky directory",
                       walk->path, ns->caller->user);
    }
    return 0;
}

/* ---- Counters -------------------------------------------------------------------------------- */

int ns_parent(struct namespace *ns, const struct ns_node *node, struct ns_node **ret)
{
    if (node->row.parent == 0) {
        *ret = NULL;
        return 0;
    }
    return ns_node_get_known(ns, node->row.parent, ret);
}

/* The node at the top above `node`, and how many steps that is. */
static int node_top(struct namespace *ns, const struct ns_node *node,
                    const struct ns_node **ret_top, uint32_t *ret_depth)
{
    const struct ns_node *at = node;
    struct ns_node *parent = NULL;
    for (uint32_t depth = 0; depth <= LIMIT_DEPTH_MAX; depth++) {
        int r = ns_parent(ns, at, &parent);
        if (r < 0) {
            return r;
        }
        if (!parent) {
            *ret_top = at;
            *ret_depth = depth;
            return 0;
        }
        at = parent;
    }
    return ns_broken(ns, ERR_CORRUPT);
}

int ns_depth(struct namespace *ns, const struct ns_node *node, uint32_t *ret_depth)
{
    const struct ns_node *top = NULL;
    return node_top(ns, node, &top, ret_depth);
}

int ns_is_live(struct namespace *ns, const struct ns_node *node, bool *ret_live)
{
    const struct ns_node *top = NULL;
    uint32_t depth = 0;
    int r = node_top(ns, node, &top, &depth);
    if (r == 0) {
        *ret_live = !(top->row.flags & INODE_UNLINKED);
    }
    return r;
}

int ns_add_up(struct namespace *ns, inode_id directory, const struct ns_delta *delta)
{
    struct ns_node *at = NULL;
    int r = directory ? ns_node_get_known(ns, directory, &at) : 0;
    for (uint32_t depth = 0; r == 0 && at; depth++) {
        if (depth > LIMIT_DEPTH_MAX) {
            return ns_broken(ns, ERR_CORRUPT);
        }
        at->row.files += (uint64_t)delta->files;
        at->row.directories += (uint64_t)delta->directories;
        at->row.bytes += (uint64_t)delta->bytes;
        at->row.replica_bytes += (uint64_t)delta->replica_bytes;
        at->row.reserved += (uint64_t)delta->reserved;
        ns_touch(ns, at);
        r = ns_parent(ns, at, &at);
    }
    return r;
}

struct ns_delta ns_weight(const struct ns_node *node)
{
    const struct inode_row *row = &node->row;
    if (row->kind == INODE_FILE) {
        return (struct ns_delta){.files = 1,
                                 .bytes = (int64_t)row->length,
                                 .replica_bytes = (int64_t)(row->length * row->replication),
                                 .reserved = (int64_t)(row->reserved * row->replication)};
    }
    return (struct ns_delta){.files = (int64_t)row->files,
                             .directories = (int64_t)row->directories + 1,
                             .bytes = (int64_t)row->bytes,
                             .replica_bytes = (int64_t)row->replica_bytes,
                             .reserved = (int64_t)row->reserved};
}

/* ---- Links ----------------------------------------------------------------------------------- */

/* A directory has got a branch of that height: so have all above it. */
static int raise_heights(struct namespace *ns, struct ns_node *directory, uint32_t height)
{
    struct ns_node *at = directory;
    struct ns_node *above = NULL;
    int r = 0;
    while (r == 0 && at && at->row.height < height) {
        at->row.height = height++;
        ns_touch(ns, at);
        r = ns_parent(ns, at, &above);
        at = above;
    }
    return r;
}

int ns_link(struct namespace *ns, struct ns_node *parent, const char *name, struct ns_node *child)
{
    struct dirent_row dirent = {child->id, child->row.kind};
    size_t length = strlen(name);
    CHECK(length > 0);
    CHECK(length <= LIMIT_NAME_BYTES_MAX);
    struct row_key key = row_key_dirent(parent->id, (struct span){name, length});
    dirent_encode(&dirent, &ns->value);
    ns_put(ns, &key);
    memcpy(child->row.name, name, length + 1);
    child->row.parent = parent->id;
    ns_touch(ns, child);
    parent->row.child_count++;
    parent->row.mtime_ms = ns->wall_ms;
    struct ns_delta weight = ns_weight(child);
    int r = ns_add_up(ns, parent->id, &weight);
    return r < 0 ? r : raise_heights(ns, parent, child->row.height + 1);
}

int ns_unlink(struct namespace *ns, struct ns_node *child)
{
    struct ns_node *parent = NULL;
    struct span name = {child->row.name, strlen(child->row.name)};
    int r = ns_node_get_known(ns, child->row.parent, &parent);
    if (r < 0) {
        return r;
    }
    struct row_key key = row_key_dirent(parent->id, name);
    ns_del(ns, &key);
    map_remove_bytes(&ns->entries, key.bytes, key.length);
    struct ns_delta weight = ns_weight(child);
    weight = (struct ns_delta){-weight.files, -weight.directories, -weight.bytes,
                               -weight.replica_bytes, -weight.reserved};
    r = ns_add_up(ns, parent->id, &weight);
    parent->row.child_count--;
    parent->row.mtime_ms = ns->wall_ms;
    if (parent->row.child_count == 0) {
        parent->row.height = 0;
    }
    child->row.parent = 0;
    child->row.name[0] = 0;
    ns_touch(ns, child);
    return r;
}

int ns_make_parents(struct namespace *ns, struct ns_walk *walk)
{
    char name[LIMIT_NAME_BYTES_MAX + 1];
    const char *at = walk->rest;
    struct span next;
    struct span after;
    bool more = path_next(&at, &next);
    while (more && path_next(&at, &after)) {
        struct ns_node *made = ns_node_new(ns, INODE_DIRECTORY, 0755);
        memcpy(made->row.group, walk->directory->row.group, sizeof(made->row.group));
        memcpy(name, next.data, next.length);
        name[next.length] = 0;
        int r = ns_link(ns, walk->directory, name, made);
        if (r < 0) {
            return r;
        }
        walk->directory = made;
        next = after;
    }
    walk->parent_exists = true;
    return 0;
}

/* ---- Operations ------------------------------------------------------------------------------ */

int ns_apply_mkdir(struct namespace *ns, const struct op_mkdir *op, struct op_result *result)
{
    struct ns_walk walk;
    uint32_t mode = op->mode ? op->mode : 0755;
    if (mode > NS_MODE_MAX) {
        return err_set(&ns->err, ERR_INVALID, "mode %o: more than %o", mode, NS_MODE_MAX);
    }
    int r = ns_walk(ns, op->path, &walk);
    if (r < 0) {
        return r;
    }
    if (walk.node) {
        if (op->parents && walk.node->row.kind == INODE_DIRECTORY) {
            result->inode = walk.node->id;
            return 0;
        }
        return err_set(&ns->err, ERR_EXISTS, "%s: already exists", op->path);
    }
    struct ns_delta weight = {.directories = 1};
    r = ns_may_make(ns, &walk, op->parents);
    if (r == 0) {
        r = ns_quota_fits(ns, &walk, &weight, NULL);
    }
    if (r == 0) {
        r = ns_make_parents(ns, &walk);
    }
    if (r < 0) {
        return r;
    }
    struct ns_node *made = ns_node_new(ns, INODE_DIRECTORY, mode);
    memcpy(made->row.group, walk.directory->row.group, sizeof(made->row.group));
    result->inode = made->id;
    return ns_link(ns, walk.directory, path_name(op->path), made);
}

/* Taking a whole subtree away is one step, so nobody asks the directories inside it: its top must
 * be writable to the caller, as each of them would have to be for `rm -r`. */
int ns_apply_delete(struct namespace *ns, const struct op_delete *op, struct op_result *result)
{
    struct ns_walk walk;
    int r = ns_walk_existing(ns, op->path, &walk);
    if (r == 0) {
        r = ns_may_unlink(ns, &walk);
    }
    if (r < 0) {
        return r;
    }
    struct ns_node *node = walk.node;
    if (node->row.kind == INODE_DIRECTORY && node->row.child_count > 0) {
        if (!op->recursive) {
            return err_set(&ns->err, ERR_NOT_EMPTY, "%s: directory not empty", op->path);
        }
        r = ns_need(ns, node, NS_WRITE | NS_EXECUTE, op->path);
        if (r < 0) {
            return r;
        }
    }
    result->inode = node->id;
    r = ns_unlink(ns, node);
    return r < 0 ? r : ns_remove(ns, node);
}
