/* See preserve.h: extended attributes that go with a copy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include <trireme/dfs_xattr.h>

#include "client/cli/preserve.h"
#include "common/alloc.h"
#include "common/limits.h"

enum { LOCAL_NAMES_BYTES_MAX = 64 * 1024 }; /* XATTR_LIST_MAX of Linux */

/* What is there; false: it said why not. */
static bool get_all(struct cli *cli, const char *path, struct dfs_xattrs *ret)
{
    struct dfs_err e = {0};
    if (dfs_get_xattrs(cli->dfs, path, NULL, ret, &e) < 0) {
        cli_dfs_error(cli, path, &e);
        return false;
    }
    return true;
}

static void set_one(struct cli *cli, const char *path, const struct dfs_xattr *xattr)
{
    struct dfs_err e = {0};
    if (dfs_set_xattr(cli->dfs, path, xattr, DFS_XATTR_SET, NULL, &e) < 0) {
        cli_dfs_error(cli, path, &e);
    }
}

void preserve_xattrs_within(struct cli *cli, const char *source, const char *target)
{
    struct dfs_xattrs xattrs;
    if (get_all(cli, source, &xattrs)) {
        for (size_t i = 0; i < xattrs.count; i++) {
            set_one(cli, target, &xattrs.items[i]);
        }
        dfs_xattrs_free(&xattrs);
    }
}

static void put_one(struct cli *cli, const char *local, const char *name, const char *target)
{
    char *value = xmalloc(XATTR_VALUE_BYTES_MAX + 1);
    ssize_t length = getxattr(local, name, value, XATTR_VALUE_BYTES_MAX + 1);
    if (length >= 0) {
        struct dfs_xattr xattr = {name, value, (size_t)length};
        set_one(cli, target, &xattr);
    } else if (errno != ENODATA) { /* gone meanwhile */
        cli_error(cli, local, "%s: %s", name, strerror(errno));
    }
    free(value);
}

void preserve_xattrs_up(struct cli *cli, const char *local, const char *target)
{
    char *names = xmalloc(LOCAL_NAMES_BYTES_MAX);
    ssize_t length = listxattr(local, names, LOCAL_NAMES_BYTES_MAX);
    if (length < 0 && errno != ENOTSUP) {
        cli_error(cli, local, "its extended attributes: %s", strerror(errno));
    }
    for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
        if (strncmp(names + at, "user.", 5) == 0) {
            put_one(cli, local, names + at, target);
        }
    }
    free(names);
}

void preserve_xattrs_down(struct cli *cli, const char *source, const char *local)
{
    struct dfs_xattrs xattrs;
    if (!get_all(cli, source, &xattrs)) {
        return;
    }
    bool supported = true;
    for (size_t i = 0; supported && i < xattrs.count; i++) {
        const struct dfs_xattr *x = &xattrs.items[i];
        if (setxattr(local, x->name, x->value, x->length, 0) < 0) {
            supported = errno != ENOTSUP;
            if (supported) {
                cli_error(cli, local, "%s: %s", x->name, strerror(errno));
            }
        }
    }
    dfs_xattrs_free(&xattrs);
}
