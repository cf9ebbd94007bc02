/* Calls to trireme.v1.Raft as an operator makes them: wire to plain and back. One thread per call.
 */
#ifndef CLIENT_RAFT_RPC_H
#define CLIENT_RAFT_RPC_H

#include <trireme/dfs_admin.h>

#include "client/internal.h"

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
int raft_group_change(struct call *c, const struct raft_change_request *request, uint64_t *ret_id,
                      struct err *e) MUST_CHECK;
int raft_group_transfer(struct call *c, uint64_t id, struct err *e) MUST_CHECK;

#endif
