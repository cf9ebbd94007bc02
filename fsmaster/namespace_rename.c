/* Rename: one small batch, whatever hangs below. The table of cases is in
 * tests/unit/test_namespace.c and, for users, in docs/. */
#include <string.h>

#include "common/path.h"
#include "fsmaster/namespace_internal.h"
#include "fsmaster/namespace_quota.h"

/* May `source` take the place of what the walk to the target found there? */
static int may_replace(struct namespace *ns, const struct ns_node *source,
                       const struct ns_walk *target, bool replace)
{
    bool source_is_directory = source->row.kind == INODE_DIRECTORY;
    bool target_is_directory = target->node->row.kind == INODE_DIRECTORY;
    if (!replace || !target->directory) {
        return err_set(&ns->err, ERR_EXISTS, "%s: already exists", target->path);
    }
    if (target_is_directory && !source_is_directory) {
        return err_set(&ns->err, ERR_IS_DIR, "%s: a directory is not replaced by a file",
                       target->path);
    }
    if (!target_is_directory && source_is_directory) {
        return err_set(&ns->err, ERR_NOT_DIR, "%s: a file is not replaced by a directory",
                       target->path);
    }
    if (target->node->row.child_count > 0) {
        return err_set(&ns->err, ERR_NOT_EMPTY, "%s: directory not empty", target->path);
    }
    return ns_may_unlink(ns, target);
}

/* Nothing may come to hang deeper than LIMIT_DEPTH_MAX. */
static int check_depth(struct namespace *ns, const struct ns_node *source,
                       const struct ns_walk *target)
{
    size_t depth = path_depth(target->path);
    if (depth + source->row.height > LIMIT_DEPTH_MAX) {
        return err_set(&ns->err, ERR_TOO_LARGE, "%s: deeper than %d directories", target->path,
                       LIMIT_DEPTH_MAX);
    }
    return 0;
}

static int plan_target(struct namespace *ns, const struct op_rename *op,
                       const struct ns_node *source, struct ns_walk *target)
{
    int r = ns_walk(ns, op->target, target);
    if (r < 0) {
        return r;
    }
    r = target->node ? may_replace(ns, source, target, op->replace)
                     : ns_may_make(ns, target, false);
    return r < 0 ? r : check_depth(ns, source, target);
}

static int move(struct namespace *ns, struct ns_node *source, const struct ns_walk *target)
{
    int r = 0;
    if (target->node) {
        r = ns_unlink(ns, target->node);
        if (r == 0) {
            r = ns_remove(ns, target->node);
        }
    }
    if (r == 0) {
        r = ns_unlink(ns, source);
    }
    return r < 0 ? r : ns_link(ns, target->directory, path_name(target->path), source);
}

int ns_apply_rename(struct namespace *ns, const struct op_rename *op, struct op_result *result)
{
    struct ns_walk source;
    struct ns_walk target;
    int r = ns_walk_existing(ns, op->source, &source);
    if (r < 0) {
        return r;
    }
    if (strcmp(op->source, op->target) == 0) {
        result->inode = source.node->id; /* it is where it shall be */
        return 0;
    }
    r = path_check(op->target, strlen(op->target), NULL);
    if (r < 0) {
        return err_set(&ns->err, r, "the new name is not a valid path");
    }
    if (source.node->row.kind == INODE_DIRECTORY && path_is_under(op->target, op->source)) {
        return err_set(&ns->err, ERR_CYCLE, "%s: cannot be moved into itself", op->source);
    }
    r = ns_may_unlink(ns, &source);
    if (r == 0) {
        r = plan_target(ns, op, source.node, &target);
    }
    if (r == 0) {
        struct ns_delta weight = ns_weight(source.node);
        r = ns_quota_fits(ns, &target, &weight, source.directory);
    }
    if (r == 0) {
        result->inode = source.node->id;
        r = move(ns, source.node, &target);
    }
    return r;
}
