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
METHOD(method_backup, "Backup", backup_request, backup_reply);
METHOD(method_orphans, "ListOrphans", list_orphans_request, list_orphans_reply);
METHOD(method_release, "ReleaseOrphans", release_orphans_request, release_orphans_reply);

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

/* ---- Backups -------------------------------------------------------------------------------- */

static int one_call(struct call *c, const char *address, const struct rpc_method *method,
                    const ProtobufCMessage *message, ProtobufCMessage **ret_reply, struct err *e)
{
    struct rpc_channel *channel = NULL;
    struct rpc_result result;
    int r = rpc_pool_get(c->dfs->pool, address, RPC_CONTROL, &channel, e);
    if (r < 0) {
        return r;
    }
    struct rpc_request call = {
        .channel = channel, .method = method, .message = message, .deadline = c->deadline};
    r = rpc_call(c->loop, &call, &c->arena, ret_reply, &result);
    rpc_channel_unref(channel);
    return r < 0 ? rpc_result_err(&result, address, e) : 0;
}

int raft_backup(struct call *c, const char *from, struct raft_piece *piece, struct err *e)
{
    Trireme__V1__BackupRequest q = TRIREME__V1__BACKUP_REQUEST__INIT;
    /* To make a copy of a large state takes a while. */
    struct master_request request = {
        .method = &method_backup, .message = &q.base, .attempt_ms = BACKUP_IDLE_MS};
    ProtobufCMessage *reply = NULL;
    q.backup = piece->backup;
    q.offset = piece->offset;
    q.from_leader = !from;
    int r = from ? one_call(c, from, &method_backup, &q.base, &reply, e)
                 : master_call(c, &request, &reply, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__BackupReply *a = (const void *)reply;
    piece->backup = a->backup;
    piece->data = (struct span){a->data.data, a->data.len};
    copy_text(piece->about.cluster_id, sizeof(piece->about.cluster_id), a->cluster_id);
    copy_text(piece->about.address, sizeof(piece->about.address), a->address);
    piece->about.member = a->member;
    piece->about.index = a->index;
    piece->about.term = a->term;
    piece->about.bytes = a->bytes;
    return 0;
}

/* ---- Orphans -------------------------------------------------------------------------------- */

static void orphan_from_wire(const Trireme__V1__ListOrphansReply__Orphan *from,
                             struct dfs_orphan *to)
{
    *to = (struct dfs_orphan){.chunk = from->chunk,
                              .known_version = from->known_version,
                              .replicas = xcalloc(from->n_replicas + 1, sizeof(*to->replicas)),
                              .replica_count = from->n_replicas};
    for (size_t i = 0; i < from->n_replicas; i++) {
        to->replicas[i] = (struct dfs_orphan_replica){.server = from->replicas[i]->server,
                                                      .version = from->replicas[i]->version,
                                                      .length = from->replicas[i]->length};
    }
}

int raft_orphans(struct call *c, uint32_t *cursor, struct dfs_orphans *orphans, bool *ret_more,
                 struct err *e)
{
    Trireme__V1__ListOrphansRequest q = TRIREME__V1__LIST_ORPHANS_REQUEST__INIT;
    struct master_request request = {.method = &method_orphans, .message = &q.base};
    ProtobufCMessage *reply = NULL;
    q.cursor = *cursor;
    int r = master_call(c, &request, &reply, e);
    if (r < 0) {
        return r;
    }
    const Trireme__V1__ListOrphansReply *a = (const void *)reply;
    orphans->kept = a->kept;
    orphans->floor = a->floor;
    orphans->restored_ms = a->begun_ms;
    orphans->complete = a->complete;
    orphans->items =
        xreallocarray(orphans->items, orphans->count + a->n_orphans + 1, sizeof(*orphans->items));
    for (size_t i = 0; i < a->n_orphans; i++) {
        orphan_from_wire(a->orphans[i], &orphans->items[orphans->count++]);
    }
    *ret_more = a->more && a->cursor > *cursor;
    *cursor = a->cursor;
    return 0;
}

int raft_orphans_release(struct call *c, struct err *e)
{
    Trireme__V1__ReleaseOrphansRequest q = TRIREME__V1__RELEASE_ORPHANS_REQUEST__INIT;
    struct master_request request = {
        .method = &method_release, .message = &q.base, .changes = true};
    ProtobufCMessage *reply = NULL;
    return master_call(c, &request, &reply, e);
}
