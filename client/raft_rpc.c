/* See raft_rpc.h. */
#include "client/raft_rpc.h"

#include <stdio.h>
#include <stdlib.h>

#include <proto/raft.pb-c.h>

#include "client/master.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/macros.h"

enum { ASK_MS = 500 }; /* one member, for an operator who waits */

#define METHOD(variable, name, request, reply)                                                     \
    static const struct rpc_method variable = {"/trireme.v1.Raft/" name, RPC_UNARY,                \
                                               &trireme__v1__##request##__descriptor,              \
                                               &trireme__v1__##reply##__descriptor}

METHOD(method_status, "RaftStatus", raft_status_request, raft_status_reply);
METHOD(method_change, "RaftChange", raft_change_request, raft_change_reply);
METHOD(method_transfer, "RaftTransfer", raft_transfer_request, raft_transfer_reply);

static void copy_text(char *to, size_t bytes, const char *from)
{
    (void)snprintf(to, bytes, "%s", from);
}

static void member_from_wire(const Trireme__V1__RaftMemberStatus *from,
                             struct dfs_master_status *to)
{
    to->id = from->id;
    copy_text(to->key, sizeof(to->key), from->key);
    copy_text(to->address, sizeof(to->address), from->address);
    copy_text(to->role, sizeof(to->role), from->role);
    copy_text(to->state, sizeof(to->state), from->state);
    to->voter = from->voter;
    to->known = from->known;
    to->match = from->match;
    to->lag = from->lag;
    to->heard = from->heard;
    to->heard_age_ms = from->heard_age_ms;
}

static struct dfs_group *group_from_wire(const Trireme__V1__RaftStatusReply *from)
{
    struct dfs_group *to = xcalloc(1, sizeof(*to));
    copy_text(to->cluster_id, sizeof(to->cluster_id), from->cluster_id);
    copy_text(to->role, sizeof(to->role), from->role);
    copy_text(to->key, sizeof(to->key), from->key);
    to->asked = from->id;
    to->leader = from->leader;
    to->term = from->term;
    to->commit = from->commit;
    to->applied = from->applied;
    to->first = from->first;
    to->last = from->last;
    to->config_index = from->config_index;
    to->member_count = from->n_members;
    to->members = xcalloc(from->n_members + 1, sizeof(*to->members));
    for (size_t i = 0; i < from->n_members; i++) {
        member_from_wire(from->members[i], &to->members[i]);
    }
    return to;
}

int raft_group_of_leader(struct call *c, struct dfs_group **ret, struct err *e)
{
    Trireme__V1__RaftStatusRequest q = TRIREME__V1__RAFT_STATUS_REQUEST__INIT;
    struct master_request request = {
        .method = &method_status, .message = &q.base, .attempt_ms = ASK_MS};
    ProtobufCMessage *reply = NULL;
    q.from_leader = true;
    int r = master_call(c, &request, &reply, e);
    if (r == 0) {
        *ret = group_from_wire((const void *)reply);
    }
    return r;
}

int raft_group_of(struct call *c, const char *address, struct dfs_group **ret, struct err *e)
{
    struct rpc_channel *channel = NULL;
    struct rpc_result result;
    ProtobufCMessage *reply = NULL;
    Trireme__V1__RaftStatusRequest q = TRIREME__V1__RAFT_STATUS_REQUEST__INIT;
    int r = rpc_pool_get(c->dfs->pool, address, RPC_CONTROL, &channel, e);
    if (r < 0) {
        return r;
    }
    struct rpc_request call = {.channel = channel,
                               .method = &method_status,
                               .message = &q.base,
                               .deadline = MIN(clock_mono_ms() + ASK_MS, c->deadline)};
    r = rpc_call(c->loop, &call, &c->arena, &reply, &result);
    rpc_channel_unref(channel);
    if (r < 0) {
        return rpc_result_err(&result, address, e);
    }
    *ret = group_from_wire((const void *)reply);
    return 0;
}

int raft_group_change(struct call *c, const struct raft_change_request *plain, uint64_t *ret_id,
                      struct err *e)
{
    static const Trireme__V1__RaftChangeRequest__Kind kinds[] = {
        [DFS_GROUP_ADD] = TRIREME__V1__RAFT_CHANGE_REQUEST__KIND__KIND_ADD_LEARNER,
        [DFS_GROUP_PROMOTE] = TRIREME__V1__RAFT_CHANGE_REQUEST__KIND__KIND_PROMOTE,
        [DFS_GROUP_REMOVE] = TRIREME__V1__RAFT_CHANGE_REQUEST__KIND__KIND_REMOVE};
    Trireme__V1__RaftChangeRequest q = TRIREME__V1__RAFT_CHANGE_REQUEST__INIT;
    /* The master gives a change up before this attempt ends, and says what it knows. */
    struct master_request request = {.method = &method_change,
                                     .message = &q.base,
                                     .changes = true,
                                     .attempt_ms = RAFT_CHANGE_MS + ASK_MS};
    ProtobufCMessage *reply = NULL;
    q.kind = kinds[plain->change];
    q.id = plain->id;
    q.address = (char *)plain->address;
    int r = master_call(c, &request, &reply, e);
    if (r == 0) {
        *ret_id = ((const Trireme__V1__RaftChangeReply *)(const void *)reply)->id;
    }
    return r;
}

int raft_group_transfer(struct call *c, uint64_t id, struct err *e)
{
    Trireme__V1__RaftTransferRequest q = TRIREME__V1__RAFT_TRANSFER_REQUEST__INIT;
    struct master_request request = {.method = &method_transfer, .message = &q.base};
    ProtobufCMessage *reply = NULL;
    q.id = id;
    return master_call(c, &request, &reply, e);
}
