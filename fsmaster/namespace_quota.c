/* Quotas: how many names, and how many bytes of all copies, may be below a directory.
 *
 * Counting needs nothing of its own: every directory has the totals of what is below it anyway
 * (namespace_tree.c), so setting a quota counts nothing, renaming a directory moves one sum, and a
 * check is a walk from the place of the change to the root. A walk by path goes through those
 * directories already and remembers whether one of them has a quota; if none has, which is nearly
 * always so, nothing more is done.
 *
 * What counts:
 *  - Names: files and directories below, and the directory itself, as in Hadoop.
 *  - Space: sealed bytes times wanted copies, and for each open chunk that was allocated below a
 *    quota the most that it may take ("reserved"), so that no number of writers together goes
 *    beyond a quota. What a seal leaves over is given back. A chunk that was open before there was
 *    a quota above it is counted when it is sealed: acknowledged bytes are never refused.
 *
 * What is checked: only what grows, against every directory that it grows in. A quota below what is
 * there already may be set; then nothing can be added until enough is gone. A move is not checked
 * where both its ends are below: nothing grows there. Unnamed files are nowhere, so they are
 * checked when Close links them, and, if the writer says where that will be, when they are made. */
#include "fsmaster/namespace_quota.h"

#include <stdio.h>

#include "common/path.h"

struct growth {
    int64_t names;
    int64_t space;
};

/* ---- Refusals -------------------------------------------------------------------------------- */

/* The numbers come first: a long path may not push them out of the text. */
static int refuse(struct namespace *ns, const struct ns_node *directory, const char *numbers)
{
    struct buf name = BUF_INIT;
    int r = ns_path(ns, directory->id, &name);
    if (r == 0) {
        r = err_set(&ns->err, ERR_QUOTA, "quota of %s, in directory %s", numbers, name.data);
    }
    buf_deinit(&name);
    return r;
}

/* Is there no room for so much more? */
static bool exceeds(uint64_t quota, uint64_t used, int64_t more)
{
    return quota != QUOTA_NONE && more > 0 && (used > quota || (uint64_t)more > quota - used);
}

static int check_directory(struct namespace *ns, const struct ns_node *directory,
                           const struct growth *more)
{
    char numbers[160];
    const struct inode_row *row = &directory->row;
    uint64_t names = row->files + row->directories + 1;
    uint64_t space = row->replica_bytes + row->reserved;
    if (exceeds(row->names_quota, names, more->names)) {
        (void)snprintf(numbers, sizeof(numbers),
                       "names exceeded: %llu allowed, %llu used, %lld more asked for",
                       (unsigned long long)row->names_quota, (unsigned long long)names,
                       (long long)more->names);
        return refuse(ns, directory, numbers);
    }
    if (exceeds(row->space_quota, space, more->space)) {
        (void)snprintf(numbers, sizeof(numbers),
                       "space exceeded: %llu bytes allowed, %llu used, %lld more asked for "
                       "with all copies",
                       (unsigned long long)row->space_quota, (unsigned long long)space,
                       (long long)more->space);
        return refuse(ns, directory, numbers);
    }
    return 0;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

/* All directories from `at` up, `until` and those above it left out. */
static int check_upwards(struct namespace *ns, struct ns_node *at, const struct ns_node *until,
                         const struct growth *more)
{
    int r = 0;
    while (r == 0 && at && at != until) {
        r = at->row.flags & INODE_LIMITED ? check_directory(ns, at, more) : 0;
        if (r == 0) {
            r = ns_parent(ns, at, &at);
        }
    }
    return r;
}

/* The lowest directory that has both below it, or is both. */
static int common_directory(struct namespace *ns, struct ns_node *a, struct ns_node *b,
                            struct ns_node **ret)
{
    uint32_t depth_a = 0;
    uint32_t depth_b = 0;
    int r = ns_depth(ns, a, &depth_a);
    if (r == 0) {
        r = ns_depth(ns, b, &depth_b);
    }
    while (r == 0 && a != b) {
        if (depth_a >= depth_b) {
            r = ns_parent(ns, a, &a);
            depth_a--;
        } else {
            r = ns_parent(ns, b, &b);
            depth_b--;
        }
    }
    *ret = a;
    return r;
}

static struct growth growth_of(const struct ns_delta *weight)
{
    return (struct growth){weight->files + weight->directories,
                           weight->replica_bytes + weight->reserved};
}

/* Parents that are missing on the way to the last component. */
static int64_t missing_parents(const struct ns_walk *walk)
{
    const char *at = walk->rest;
    struct span name;
    int64_t count = -1;
    while (path_next(&at, &name)) {
        count++;
    }
    return count;
}

int ns_quota_fits(struct namespace *ns, const struct ns_walk *walk, const struct ns_delta *weight,
                  struct ns_node *from)
{
    struct ns_node *common = NULL;
    if (!walk->limited) {
        return 0;
    }
    struct growth more = growth_of(weight);
    if (walk->node) {
        struct ns_delta replaced = ns_weight(walk->node);
        struct growth less = growth_of(&replaced);
        more.names -= less.names;
        more.space -= less.space;
    } else {
        more.names += missing_parents(walk);
    }
    int r = from ? common_directory(ns, from, walk->directory, &common) : 0;
    return r < 0 ? r : check_upwards(ns, walk->directory, common, &more);
}

int ns_quota_grows(struct namespace *ns, const struct ns_node *file, int64_t space,
                   bool *ret_limited)
{
    struct growth more = {.space = space};
    struct ns_node *directory = NULL;
    struct ns_node *at = NULL;
    bool limited = false;
    int r = ns_parent(ns, file, &directory);
    for (at = directory; r == 0 && at && !limited;) {
        limited = at->row.flags & INODE_LIMITED;
        r = ns_parent(ns, at, &at);
    }
    if (r == 0 && ret_limited) {
        *ret_limited = limited;
    }
    return r < 0 || !limited ? r : check_upwards(ns, directory, NULL, &more);
}

int ns_reserve(struct namespace *ns, struct ns_node *file, uint64_t bytes)
{
    if (bytes == file->row.reserved) {
        return 0;
    }
    struct ns_delta delta = {.reserved = ((int64_t)bytes - (int64_t)file->row.reserved) *
                                         (int64_t)file->row.replication};
    file->row.reserved = bytes;
    ns_touch(ns, file);
    return ns_add_up(ns, file->row.parent, &delta);
}

/* ---- Setting --------------------------------------------------------------------------------- */

static int value_ok(struct namespace *ns, const struct op_set_quota *op, uint64_t value,
                    uint64_t least)
{
    if (value == QUOTA_NONE || (value >= least && value <= QUOTA_VALUE_MAX)) {
        return 0;
    }
    return err_set(&ns->err, ERR_INVALID, "%s: a quota of %llu: from %llu to %llu", op->path,
                   (unsigned long long)value, (unsigned long long)least,
                   (unsigned long long)QUOTA_VALUE_MAX);
}

static int check_set(struct namespace *ns, const struct op_set_quota *op,
                     const struct ns_node *node)
{
    const uint32_t known = QUOTA_NAMES | QUOTA_SPACE;
    if (op->fields & ~known) {
        return err_set(&ns->err, ERR_UNSUPPORTED, "unknown quotas %x", op->fields & ~known);
    }
    if (!ns->caller->is_superuser) {
        return err_set(&ns->err, ERR_PERMISSION,
                       "%s: permission denied: only the superuser sets quotas", op->path);
    }
    if (node->row.kind != INODE_DIRECTORY) {
        return err_set(&ns->err, ERR_NOT_DIR, "%s: only directories have quotas", op->path);
    }
    int r = op->fields & QUOTA_NAMES ? value_ok(ns, op, op->names, 1) : 0;
    return r == 0 && (op->fields & QUOTA_SPACE) ? value_ok(ns, op, op->space, 0) : r;
}

int ns_apply_set_quota(struct namespace *ns, const struct op_set_quota *op,
                       struct op_result *result)
{
    struct ns_walk walk;
    int r = ns_walk_existing(ns, op->path, &walk);
    if (r == 0) {
        r = check_set(ns, op, walk.node);
    }
    if (r < 0) {
        return r;
    }
    struct inode_row *row = &walk.node->row;
    row->names_quota = op->fields & QUOTA_NAMES ? op->names : row->names_quota;
    row->space_quota = op->fields & QUOTA_SPACE ? op->space : row->space_quota;
    row->flags &= (uint8_t)~INODE_LIMITED;
    if (row->names_quota != QUOTA_NONE || row->space_quota != QUOTA_NONE) {
        row->flags |= INODE_LIMITED;
    }
    ns_touch(ns, walk.node);
    result->inode = walk.node->id;
    return 0;
}
