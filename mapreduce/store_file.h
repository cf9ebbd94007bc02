/* What mrmaster's changes of the store have in common: under which fence they are made, and small
 * files that are written and read whole. Blocking; any thread. */
#ifndef MAPREDUCE_STORE_FILE_H
#define MAPREDUCE_STORE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include <trireme/dfs.h>

#include "common/buf.h"
#include "common/err.h"

#define MR_FENCE_NAME        "mrmaster"
#define MR_SYSTEM_DIRECTORY  "/system/mr"
#define MR_UPLOADS_DIRECTORY MR_SYSTEM_DIRECTORY "/uploads"
#define MR_JOBS_DIRECTORY    MR_SYSTEM_DIRECTORY "/jobs"

struct store_at { /* whom and under which fence */
    struct dfs *dfs;
    uint64_t fence;
};

/* Conditions of a change. In the caller's frame, and good until it returns. */
struct store_conditions {
    struct dfs_condition items[3];
    struct dfs_conditions list;
};
/* The fence holds. */
const struct dfs_conditions *store_fenced(struct store_conditions *c, uint64_t fence);
/* And this, too; at most twice. */
const struct dfs_conditions *store_and(struct store_conditions *c, struct dfs_condition other);

/* Whether the path names that inode. */
int store_is_at(struct dfs *dfs, const char *path, uint64_t inode, bool *ret,
                struct err *e) MUST_CHECK;

/* A new file of these bytes, linked when it is complete and durable. flags as of dfs_close_link().
 * ERR_TOO_LARGE: more than could be read again. */
int store_file_write(struct dfs *dfs, const char *path, struct span bytes, int flags,
                     const struct dfs_conditions *conditions, struct err *e) MUST_CHECK;
/* Appends the whole file. ERR_TOO_LARGE: more than 4 MiB. */
int store_file_read(struct dfs *dfs, const char *path, struct buf *out, struct err *e) MUST_CHECK;

#endif
