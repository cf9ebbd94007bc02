/* Helpers of libdfs's public calls: paths, and one change of the namespace from start to end. */
#ifndef CLIENT_NAMES_H
#define CLIENT_NAMES_H

#include "client/fs_types.h"
#include "client/internal.h"
#include "common/buf.h"

/* Appends the store path that is meant. ERR_INVALID, ERR_TOO_LARGE. */
int names_resolve(const struct dfs *dfs, const char *path, struct buf *out,
                  struct err *e) MUST_CHECK;
/* The user's conditions with store paths, in the call's arena; NULL: none. */
const struct dfs_conditions *names_conditions(struct call *c, const struct dfs_conditions *from);
/* Makes op's paths (NULL: it has none) and conditions those of the store, in the call's arena. */
int names_place(struct call *c, struct fs_op *op, struct err *e) MUST_CHECK;
/* Places op, runs it. ret may be NULL; it keeps no replicas. */
int names_change(struct dfs *dfs, struct fs_op *op, struct fs_result *ret, struct dfs_err *e);

#endif
