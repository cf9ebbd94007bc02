/* The file master's methods with plain structs. Each retries inside (master.h). */
#ifndef CLIENT_FS_RPC_H
#define CLIENT_FS_RPC_H

#include <trireme/dfs_admin.h>

#include "client/fs_types.h"
#include "client/internal.h"

/* One change, exactly once: a new sequence number, the same one in each retry. Errors are definite
 * except ERR_UNKNOWN. */
int fs_mutate(struct call *c, const struct fs_op *op, struct fs_result *ret,
              struct err *e) MUST_CHECK;
/* Several in one message, 1 to CLIENT_BATCH_COUNT_MAX: applied in order, each with its own outcome.
 * An error is that of all of them. */
int fs_mutate_all(struct call *c, const struct fs_op *ops, size_t count,
                  struct fs_outcome *outcomes, struct err *e) MUST_CHECK;
/* path NULL: by inode. */
int fs_stat(struct call *c, const char *path, inode_id inode, struct dfs_stat *ret,
            struct err *e) MUST_CHECK;
/* The same for those who are allowed what `access` says (DFS_READ...), else ERR_PERMISSION. */
int fs_access(struct call *c, const char *path, inode_id inode, uint32_t access,
              struct dfs_stat *ret, struct err *e) MUST_CHECK;
/* name NULL: all. *ret as dfs_get_xattrs() gives it. */
int fs_get_xattrs(struct call *c, const char *path, const char *name, struct dfs_xattrs *ret,
                  struct err *e) MUST_CHECK;
int fs_list(struct call *c, const char *path, const char *after, struct fs_list *ret,
            struct err *e) MUST_CHECK;
struct fs_range {
    const char *path; /* NULL: by inode */
    inode_id inode;
    uint64_t offset;
    uint64_t length; /* 0: to the end */
};
int fs_locate(struct call *c, const struct fs_range *range, struct fs_located *ret,
              struct err *e) MUST_CHECK;
/* held has count elements. */
int fs_renew_leases(struct call *c, const struct fs_lease *leases, size_t count, bool *held,
                    struct err *e) MUST_CHECK;
int fs_recover_chunk(struct call *c, const struct fs_recover *what, uint64_t *ret_length,
                     struct err *e) MUST_CHECK;
/* At most NAMESPACE_LOCATE_COUNT_MAX chunks; *ret as dfs_explain() gives it. */
int fs_explain(struct call *c, const uint64_t *chunks, size_t count, struct dfs_explanations *ret,
               struct err *e) MUST_CHECK;
int fs_admin_server(struct call *c, server_id server, enum dfs_admin_state state, uint64_t for_ms,
                    struct err *e) MUST_CHECK;
int fs_balance(struct call *c, double threshold, uint64_t rate_bytes, struct dfs_balance *ret,
               struct err *e) MUST_CHECK;
int fs_report(struct call *c, struct dfs_report **ret, struct err *e) MUST_CHECK;

#endif
