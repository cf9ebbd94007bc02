/* libdfs: extended attributes, small named values on files and directories. Threads, errors and
 * connections are as in dfs.h.
 *
 * Names begin with "user." and have at most 255 bytes, values at most 16 KiB; a file or directory
 * has at most 32. They stay with it when it is renamed and go with it; a file that takes the place
 * of another has its own. Who may write the file may set them (in a sticky directory, of the
 * directory itself, its owner), who may read it may get them. struct dfs_stat says how many there
 * are. */
#ifndef TRIREME_DFS_XATTR_H
#define TRIREME_DFS_XATTR_H

#include <trireme/dfs.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dfs_xattr {
    const char *name;
    const void *value; /* one that was got has a NUL behind its end */
    size_t length;
};
struct dfs_xattrs {
    struct dfs_xattr *items; /* in byte order of names */
    size_t count;
};

enum dfs_xattr_mode {
    DFS_XATTR_SET = 0, /* whether it is there or not */
    DFS_XATTR_CREATE,  /* DFS_EEXISTS if it is */
    DFS_XATTR_REPLACE, /* DFS_ENO_XATTR if it is not */
};
/* conditions may be NULL, as in dfs.h. */
DFS_EXPORT int dfs_set_xattr(struct dfs *dfs, const char *path, const struct dfs_xattr *xattr,
                             enum dfs_xattr_mode mode, const struct dfs_conditions *conditions,
                             struct dfs_err *e);
/* DFS_ENO_XATTR: it is not there. */
DFS_EXPORT int dfs_remove_xattr(struct dfs *dfs, const char *path, const char *name,
                                const struct dfs_conditions *conditions, struct dfs_err *e);
/* The one of that name, or DFS_ENO_XATTR; name NULL: all. Release with dfs_xattrs_free(). */
DFS_EXPORT int dfs_get_xattrs(struct dfs *dfs, const char *path, const char *name,
                              struct dfs_xattrs *ret, struct dfs_err *e);
DFS_EXPORT void dfs_xattrs_free(struct dfs_xattrs *xattrs); /* zeroed, too */

#ifdef __cplusplus
}
#endif

#endif
