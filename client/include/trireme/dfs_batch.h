/* libdfs: several changes of names in one message. Threads, errors and connections are as in dfs.h.
 *
 * They are applied one after the other, and nothing else comes between them, but each stands alone:
 * one that fails does not keep the next from being tried. It costs what one of them does. */
#ifndef TRIREME_DFS_BATCH_H
#define TRIREME_DFS_BATCH_H

#include <trireme/dfs.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DFS_CHANGE_COUNT_MAX = 64 }; /* in one message */

struct dfs_change {
    enum { DFS_CHANGE_MKDIR = 1, DFS_CHANGE_RENAME } kind;
    const char *path;
    const char *target;                      /* of a rename */
    uint32_t mode;                           /* of a directory; 0: 0755 */
    int flags;                               /* as of dfs_mkdir() and dfs_rename() */
    const struct dfs_conditions *conditions; /* NULL: none */
    struct dfs_err outcome;                  /* out; code 0: it is done */
};

/* 0: each has its outcome. Else none has: it is the same for all of them, as an error says that
 * dfs.h speaks of. */
DFS_EXPORT int dfs_change_all(struct dfs *dfs, struct dfs_change *changes, size_t count,
                              struct dfs_err *e);

#ifdef __cplusplus
}
#endif

#endif
