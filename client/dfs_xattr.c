/* See dfs_xattr.h. */
#include <trireme/dfs_xattr.h>

#include <stdlib.h>

#include "client/fs_rpc.h"
#include "client/internal.h"
#include "client/names.h"

static int change(struct dfs *dfs, const char *path, const struct dfs_xattr *xattr, int mode,
                  const struct dfs_conditions *conditions, struct dfs_err *e)
{
    struct fs_op op = {.kind = FS_SET_XATTR,
                       .path = path ? path : "",
                       .xattr = xattr,
                       .xattr_mode = mode,
                       .conditions = conditions};
    return names_change(dfs, &op, NULL, e);
}

int dfs_set_xattr(struct dfs *dfs, const char *path, const struct dfs_xattr *xattr,
                  enum dfs_xattr_mode mode, const struct dfs_conditions *conditions,
                  struct dfs_err *e)
{
    return change(dfs, path, xattr, (int)mode, conditions, e);
}

int dfs_remove_xattr(struct dfs *dfs, const char *path, const char *name,
                     const struct dfs_conditions *conditions, struct dfs_err *e)
{
    struct dfs_xattr xattr = {.name = name};
    return change(dfs, path, &xattr, FS_XATTR_REMOVE, conditions, e);
}

int dfs_get_xattrs(struct dfs *dfs, const char *path, const char *name, struct dfs_xattrs *ret,
                   struct dfs_err *ret_e)
{
    struct err e = ERR_INIT;
    struct call c;
    struct buf store_path = BUF_INIT;
    *ret = (struct dfs_xattrs){NULL, 0};
    int r = names_resolve(dfs, path, &store_path, &e);
    if (r == 0) {
        call_begin(&c, dfs);
        r = fs_get_xattrs(&c, store_path.data, name, ret, &e);
        call_end(&c);
    }
    buf_deinit(&store_path);
    return dfs_finish(ret_e, r, &e);
}

void dfs_xattrs_free(struct dfs_xattrs *xattrs)
{
    for (size_t i = 0; i < xattrs->count; i++) {
        free((char *)xattrs->items[i].name);
        free((void *)xattrs->items[i].value);
    }
    free(xattrs->items);
    *xattrs = (struct dfs_xattrs){NULL, 0};
}
