/* See dfs_batch.h. */
#include <trireme/dfs_batch.h>

#include <assert.h>

#include "client/fs_rpc.h"
#include "client/internal.h"
#include "client/names.h"
#include "common/limits.h"

static_assert((int)DFS_CHANGE_COUNT_MAX == (int)CLIENT_BATCH_COUNT_MAX, "the same, for others");

static struct fs_op op_of(const struct dfs_change *change)
{
    struct fs_op op = {.kind = FS_MKDIR,
                       .path = change->path ? change->path : "",
                       .mode = change->mode,
                       .parents = change->flags & DFS_PARENTS,
                       .replace = change->flags & DFS_REPLACE,
                       .conditions = change->conditions};
    if (change->kind == DFS_CHANGE_RENAME) {
        op.kind = FS_RENAME;
        op.target = change->target ? change->target : "";
    }
    return op;
}

static int run(struct call *c, struct dfs_change *changes, size_t count, struct err *e)
{
    struct fs_op *ops = arena_alloc(&c->arena, count * sizeof(*ops));
    struct fs_outcome *outcomes = arena_alloc(&c->arena, count * sizeof(*outcomes));
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        ops[i] = op_of(&changes[i]);
        r = names_place(c, &ops[i], e);
    }
    if (r == 0) {
        r = fs_mutate_all(c, ops, count, outcomes, e);
    }
    for (size_t i = 0; r == 0 && i < count; i++) {
        changes[i].outcome = (struct dfs_err){.code = 0};
        (void)dfs_finish(&changes[i].outcome, outcomes[i].error.code, &outcomes[i].error);
    }
    return r;
}

int dfs_change_all(struct dfs *dfs, struct dfs_change *changes, size_t count, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    int r;
    if (count == 0 || count > DFS_CHANGE_COUNT_MAX) {
        r = err_set(&e, ERR_INVALID, "1 to %d changes are made at a time", DFS_CHANGE_COUNT_MAX);
        return dfs_fail(ret_e, r, &e);
    }
    call_begin(&c, dfs);
    r = run(&c, changes, count, &e);
    call_end(&c);
    return dfs_finish(ret_e, r, &e);
}
