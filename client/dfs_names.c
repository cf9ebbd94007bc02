/* The namespace's calls of dfs.h: names in, one change or look-up, errors out. */
#include <stdlib.h>
#include <string.h>

#include "client/fs_rpc.h"
#include "client/internal.h"
#include "client/names.h"
#include "common/alloc.h"
#include "common/path.h"

/* ---- Paths ---------------------------------------------------------------------------------- */

/* ".." is resolved here, by the text alone: the master takes none. */
static void drop_dots(struct buf *typed)
{
    struct buf out = BUF_INIT;
    char *state = NULL;
    for (char *part = strtok_r(typed->data, "/", &state); part;
         part = strtok_r(NULL, "/", &state)) {
        if (strcmp(part, "..") == 0) {
            char *slash = strrchr(out.data, '/');
            size_t keep = slash ? (size_t)(slash - out.data) : 0;
            out.length = keep;
            if (out.capacity > 0) {
                out.data[keep] = '\0';
            }
        } else if (strcmp(part, ".") != 0) {
            buf_append_byte(&out, '/');
            buf_append_str(&out, part);
        }
    }
    if (out.length == 0) {
        buf_append_byte(&out, '/');
    }
    buf_deinit(typed);
    *typed = out;
}

int names_resolve(const struct dfs *dfs, const char *path, struct buf *out, struct err *e)
{
    struct buf typed = BUF_INIT;
    if (!path || path[0] == '\0') {
        return err_set(e, ERR_INVALID, "the path is empty");
    }
    path = path_without_scheme(path);
    if (path[0] != '/') {
        buf_append_str(&typed, dfs->home);
        buf_append_byte(&typed, '/');
    }
    buf_append_str(&typed, path);
    drop_dots(&typed);
    int r = path_normalize(typed.data, "/", out, e);
    buf_deinit(&typed);
    return r;
}

int dfs_resolve_path(struct dfs *dfs, const char *path, char **ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct buf out = BUF_INIT;
    int r = names_resolve(dfs, path, &out, &e);
    if (r == 0) {
        *ret = buf_detach(&out, NULL);
    }
    buf_deinit(&out);
    return dfs_finish(ret_e, r, &e);
}

const struct dfs_conditions *names_conditions(struct call *c, const struct dfs_conditions *from)
{
    if (!from || from->count == 0) {
        return NULL;
    }
    struct dfs_conditions *to = arena_alloc(&c->arena, sizeof(*to));
    struct dfs_condition *items = arena_alloc(&c->arena, from->count * sizeof(*items));
    for (size_t i = 0; i < from->count; i++) {
        struct buf name = BUF_INIT;
        items[i] = from->items[i];
        /* A path that cannot be is left for the master to refuse. */
        if (items[i].kind != DFS_FENCE_IS &&
            names_resolve(c->dfs, items[i].name, &name, NULL) == 0) {
            items[i].name = arena_strdup(&c->arena, name.data);
        }
        buf_deinit(&name);
    }
    *to = (struct dfs_conditions){items, from->count};
    return to;
}

/* ---- Changes -------------------------------------------------------------------------------- */

static int place(struct call *c, const char **path, struct err *e)
{
    struct buf name = BUF_INIT;
    int r = names_resolve(c->dfs, *path, &name, e);
    if (r == 0) {
        *path = arena_strdup(&c->arena, name.data);
    }
    buf_deinit(&name);
    return r;
}

int names_place(struct call *c, struct fs_op *op, struct err *e)
{
    int r = op->path && op->kind != FS_RAISE_FENCE ? place(c, &op->path, e) : 0;
    if (r == 0 && op->target) {
        r = place(c, &op->target, e);
    }
    op->conditions = names_conditions(c, op->conditions);
    return r;
}

int names_change(struct dfs *dfs, struct fs_op *op, struct fs_result *ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    struct fs_result ignored;
    call_begin(&c, dfs);
    int r = names_place(&c, op, &e);
    if (r == 0) {
        r = fs_mutate(&c, op, ret ? ret : &ignored, &e);
    }
    call_end(&c);
    if (ret) {
        ret->replicas = NULL; /* they were the call's */
        ret->replica_count = 0;
    }
    return dfs_finish(ret_e, r, &e);
}

int dfs_mkdir(struct dfs *dfs, const char *path, uint32_t mode, int flags,
              const struct dfs_conditions *conditions, struct dfs_err *e)
{
    struct fs_op op = {.kind = FS_MKDIR,
                       .path = path ? path : "",
                       .mode = mode,
                       .parents = flags & DFS_PARENTS,
                       .conditions = conditions};
    return names_change(dfs, &op, NULL, e);
}

int dfs_rename(struct dfs *dfs, const char *source, const char *target, int flags,
               const struct dfs_conditions *conditions, struct dfs_err *e)
{
    struct fs_op op = {.kind = FS_RENAME,
                       .path = source ? source : "",
                       .target = target ? target : "",
                       .replace = flags & DFS_REPLACE,
                       .conditions = conditions};
    return names_change(dfs, &op, NULL, e);
}

int dfs_delete(struct dfs *dfs, const char *path, int flags,
               const struct dfs_conditions *conditions, struct dfs_err *e)
{
    struct fs_op op = {.kind = FS_DELETE,
                       .path = path ? path : "",
                       .recursive = flags & DFS_RECURSIVE,
                       .conditions = conditions};
    return names_change(dfs, &op, NULL, e);
}

int dfs_set_attributes(struct dfs *dfs, const char *path, const struct dfs_attributes *attributes,
                       struct dfs_err *e)
{
    struct fs_op op = {
        .kind = FS_SET_ATTRIBUTES, .path = path ? path : "", .attributes = attributes};
    return names_change(dfs, &op, NULL, e);
}

int dfs_set_quota(struct dfs *dfs, const char *path, const struct dfs_quota *quota,
                  struct dfs_err *e)
{
    struct fs_op op = {.kind = FS_SET_QUOTA, .path = path ? path : "", .quota = quota};
    return names_change(dfs, &op, NULL, e);
}

int dfs_raise_fence(struct dfs *dfs, const char *name, uint64_t *ret_epoch, struct dfs_err *e)
{
    struct fs_op op = {.kind = FS_RAISE_FENCE, .path = name};
    struct fs_result result;
    int r = names_change(dfs, &op, &result, e);
    if (r == 0 && ret_epoch) {
        *ret_epoch = result.fence_epoch;
    }
    return r;
}

/* ---- Look-ups ------------------------------------------------------------------------------- */

static int stat_with(struct dfs *dfs, const char *path, unsigned access, struct dfs_stat *ret,
                     struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    struct buf name = BUF_INIT;
    int r = names_resolve(dfs, path, &name, &e);
    if (r == 0) {
        call_begin(&c, dfs);
        r = fs_access(&c, name.data, 0, access, ret, &e);
        call_end(&c);
    }
    buf_deinit(&name);
    return dfs_finish(ret_e, r, &e);
}

int dfs_stat(struct dfs *dfs, const char *path, struct dfs_stat *ret, struct dfs_err *e)
{
    return stat_with(dfs, path, 0, ret, e);
}

int dfs_access(struct dfs *dfs, const char *path, unsigned what, struct dfs_err *e)
{
    struct dfs_stat ignored;
    return stat_with(dfs, path, what, &ignored, e);
}

struct dfs_dir {
    struct call call; /* its arena holds the present page */
    struct buf path;
    struct buf after; /* the last name that was handed out */
    struct fs_list page;
    size_t at;
};

static int dir_page(struct dfs_dir *dir, struct err *e)
{
    struct dfs *dfs = dir->call.dfs;
    char *after = xstrdup(dir->after.data);
    dir->at = 0;
    dir->page = (struct fs_list){0};
    call_end(&dir->call);
    call_begin(&dir->call, dfs);
    int r = fs_list(&dir->call, dir->path.data, after, &dir->page, e);
    free(after);
    return r;
}

int dfs_dir_open(struct dfs *dfs, const char *path, struct dfs_dir **ret, struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct dfs_dir *dir = xcalloc(1, sizeof(*dir));
    buf_init(&dir->path);
    buf_init(&dir->after);
    call_begin(&dir->call, dfs);
    int r = names_resolve(dfs, path, &dir->path, &e);
    if (r == 0) {
        r = dir_page(dir, &e);
    }
    if (r < 0) {
        dfs_dir_close(dir);
        return dfs_fail(ret_e, r, &e);
    }
    *ret = dir;
    return 0;
}

int dfs_dir_next(struct dfs_dir *dir, const char **ret_name, struct dfs_stat *ret_stat,
                 struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    if (dir->at == dir->page.count && dir->page.more) {
        int r = dir_page(dir, &e);
        if (r < 0) {
            return dfs_fail(ret_e, r, &e);
        }
    }
    if (dir->at == dir->page.count) {
        return 0;
    }
    const struct fs_entry *entry = &dir->page.entries[dir->at++];
    buf_clear(&dir->after);
    buf_append_str(&dir->after, entry->name);
    *ret_name = dir->after.data;
    if (ret_stat) {
        *ret_stat = entry->stat;
    }
    return 1;
}

void dfs_dir_close(struct dfs_dir *dir)
{
    if (!dir) {
        return;
    }
    call_end(&dir->call);
    buf_deinit(&dir->path);
    buf_deinit(&dir->after);
    free(dir);
}
