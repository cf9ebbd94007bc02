/* Calls to trireme.v1.Raft as an operator makes them: wire to plain and back. One thread per call.
 */
#ifndef CLIENT_RAFT_RPC_H
#define CLIENT_RAFT_RPC_H

#include <trireme/dfs_admin.h>

#include "client/internal.h"
#include "common/buf.h"

/* The leader's view, found and retried as any call; the caller owns *ret. */
int raft_group_of_leader(struct call *c, struct dfs_group **ret, struct err *e) MUST_CHECK;
/* One member's own view, asked once. */
int raft_group_of(struct call *c, const char *address, struct dfs_group **ret,
                  struct err *e) MUST_CHECK;

struct raft_change_request {
    enum dfs_group_change change;
    uint64_t id;
    const char *address; /* "" for none */
};
int raft_group_change(struct call *c, const struct raft_change_request *plain, uint64_t *ret_id,
                      struct err *e) MUST_CHECK;
/* One piece. backup 0: begins one, on the leader if `from` is NULL. data is in the call's arena. */
struct raft_piece {
    uint64_t backup;
    uint64_t offset;
    struct span data;        /* out */
    struct dfs_backup about; /* out */
};
int raft_backup(struct call *c, const char *from, struct raft_piece *piece,
                struct err *e) MUST_CHECK;
/* Appends one page. *cursor: 0, then where to go on; *ret_more. */
int raft_orphans(struct call *c, uint32_t *cursor, struct dfs_orphans *orphans, bool *ret_more,
                 struct err *e) MUST_CHECK;
int raft_orphans_release(struct call *c, struct err *e) MUST_CHECK;
int raft_group_transfer(struct call *c, uint64_t id, struct err *e) MUST_CHECK;

#endif
