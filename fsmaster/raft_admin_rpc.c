/* What operators and other members ask of a member: the unary half of trireme.v1.Raft, and the rows
 * of its streams. */
#include <inttypes.h>
#include <string.h>

#include <proto/raft.pb-c.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/parse.h"
#include "fsmaster/raft_rpc.h"
#include "fsmaster/server_internal.h"
#include "fsmaster/server_reads.h"

static int not_leader(struct rpc_call *call, const struct server *s)
{
    rpc_call_set_leader(call, s->status.leader);
    return ERR_NOT_LEADER;
}

/* ---- Identify ------------------------------------------------------------------------------- */

static ProtobufCBinaryData bytes_in(struct arena *arena, const void *data, size_t length)
{
    return (ProtobufCBinaryData){.len = length, .data = arena_copy(arena, data, length)};
}

static int identify(struct rpc_call *call, void *service)
{
    struct server *s = service;
    struct arena *arena = rpc_call_arena(call);
    Trireme__V1__IdentifyReply *a = (void *)rpc_call_reply(call);
    const struct ident *ident = &s->datadir.ident;
    a->id = s->member;
    a->key = bytes_in(arena, ident->key.bytes, sizeof(ident->key.bytes));
    if (cluster_id_known(ident->cluster)) {
        a->cluster_id = bytes_in(arena, ident->cluster.bytes, sizeof(ident->cluster.bytes));
    }
    a->empty = consensus_is_empty(s->consensus);
    a->wire_version = TRIREME_WIRE_VERSION;
    a->address = arena_strdup(arena, s->address);
    return 0;
}

/* ---- ReadIndex ------------------------------------------------------------------------------ */

static int read_index_begin(struct rpc_call *call, void *service)
{
    static const struct read_bound linearizable = {0};
    struct server *s = service;
    const Trireme__V1__ReadIndexRequest *q = (const void *)rpc_call_request(call);
    const struct cluster_id *ours = &s->datadir.ident.cluster;
    if (q->cluster_id.len != sizeof(ours->bytes) ||
        memcmp(q->cluster_id.data, ours->bytes, sizeof(ours->bytes)) != 0) {
        return ERR_WRONG_CLUSTER;
    }
    return read_wait_begin(call, s, &linearizable);
}

/* A linearizable read could be answered now: so what this member has applied has all that was
 * committed when the question came. */
static int read_index_answer(struct rpc_call *call, void *service)
{
    const struct server *s = service;
    Trireme__V1__ReadIndexReply *a = (void *)rpc_call_reply(call);
    a->index = consensus_status(s->consensus).applied;
    return 0;
}

/* ---- Status --------------------------------------------------------------------------------- */

static const char *role_of(const struct consensus_member *m, const struct consensus_group *g)
{
    if (m->is_self) {
        return raft_role_name(g->role);
    }
    return m->is_leader ? "leader" : m->member.voter ? "follower" : "learner";
}

static char *key_text(struct arena *arena, struct member_key key)
{
    return format_hex(key.bytes, sizeof(key.bytes), arena_alloc(arena, 2 * sizeof(key.bytes) + 1));
}

static Trireme__V1__RaftMemberStatus *member_message(struct arena *arena,
                                                     const struct consensus_member *m,
                                                     const struct consensus_group *g)
{
    static const char *const states[] = {[RAFT_PEER_PROBE] = "probe",
                                         [RAFT_PEER_REPLICATE] = "replicate",
                                         [RAFT_PEER_SNAPSHOT] = "snapshot"};
    Trireme__V1__RaftMemberStatus *a = arena_alloc(arena, sizeof(*a));
    trireme__v1__raft_member_status__init(a);
    a->id = m->member.id;
    a->key = key_text(arena, m->member.directory);
    a->address = arena_strdup(arena, m->address);
    a->voter = m->member.voter;
    a->role = (char *)role_of(m, g);
    a->known = m->known;
    if (m->known) {
        a->match = m->peer.match;
        a->lag = g->raft.last - MIN(m->peer.match, g->raft.last);
        a->state = (char *)(m->is_self ? "" : states[m->peer.state]);
        a->heard = m->is_self || m->peer.heard_ms > 0;
        a->heard_age_ms = m->is_self || !a->heard ? 0 : g->now_ms - m->peer.heard_ms;
    }
    return a;
}

static int raft_status_step(struct rpc_call *call, void *service)
{
    struct server *s = service;
    struct arena *arena = rpc_call_arena(call);
    Trireme__V1__RaftStatusReply *a = (void *)rpc_call_reply(call);
    struct consensus_group *g = arena_calloc(arena, sizeof(*g));
    char cluster[CLUSTER_ID_TEXT_BYTES] = "";
    const Trireme__V1__RaftStatusRequest *q = (const void *)rpc_call_request(call);
    if (q->from_leader && !s->status.is_leader) {
        return not_leader(call, s);
    }
    consensus_group(s->consensus, g);
    if (cluster_id_known(g->cluster)) {
        (void)cluster_id_format(g->cluster, cluster);
    }
    a->id = s->member;
    a->key = key_text(arena, s->datadir.ident.key);
    a->role = (char *)raft_role_name(g->role);
    a->term = g->raft.term;
    a->commit = g->raft.commit;
    a->applied = consensus_status(s->consensus).applied;
    a->last = g->raft.last;
    a->first = g->first;
    a->config_index = g->raft.config_index;
    a->cluster_id = arena_strdup(arena, cluster);
    a->members = arena_alloc(arena, (g->member_count + 1) * sizeof(*a->members));
    for (size_t i = 0; i < g->member_count; i++) {
        a->leader = g->members[i].is_leader ? g->members[i].member.id : a->leader;
        a->members[a->n_members++] = member_message(arena, &g->members[i], g);
    }
    return 0;
}

/* ---- Changes -------------------------------------------------------------------------------- */

/* Lives in the call's arena. */
struct change {
    struct consensus_change change;
    struct rpc_call *call;
    struct server *server;
    struct mail mail; /* the new member has said who it is, or not */
    int code;
    struct raft_identity identity;
    struct err err;
};

static void change_done(struct consensus_change *change, int code, const char *text)
{
    struct change *c = CONTAINER_OF(change, struct change, change);
    Trireme__V1__RaftChangeReply *a = (void *)rpc_call_reply(c->call);
    static const char *const names[] = {
        [RAFT_ADD_LEARNER] = "added", [RAFT_PROMOTE] = "promoted", [RAFT_REMOVE] = "removed"};
    a->id = change->member.id;
    a->config_index = change->index;
    log_info("raft", "member=%" PRIu64 " %s%s index=%" PRIu64 " user=%s%s%s", change->member.id,
             code < 0 ? "not " : "", names[change->kind], change->index,
             rpc_call_caller(c->call)->user, code < 0 ? ": " : "", code < 0 ? text : "");
    if (code == ERR_NOT_LEADER) {
        rpc_call_set_leader(c->call, c->server->status.leader);
    }
    c->server->changes--;
    rpc_call_finish(c->call, code, text);
}

static int check_new_member(const struct change *c, struct err *e)
{
    const struct raft_identity *i = &c->identity;
    if (i->wire_version != TRIREME_WIRE_VERSION) {
        return err_set(e, ERR_VERSION, "it speaks wire version %" PRIu32, i->wire_version);
    }
    if (cluster_id_known(i->cluster) &&
        !cluster_id_equal(i->cluster, c->server->datadir.ident.cluster)) {
        return err_set(e, ERR_WRONG_CLUSTER, "its data directory is of another cluster");
    }
    return 0;
}

static void identified_on_owner(struct mail *mail)
{
    struct change *c = CONTAINER_OF(mail, struct change, mail);
    const Trireme__V1__RaftChangeRequest *q = (const void *)rpc_call_request(c->call);
    struct raft_member *m = &c->change.member;
    int r = c->code < 0 ? c->code : check_new_member(c, &c->err);
    if (r < 0) {
        (void)err_wrap(&c->err, r, "the file master at %s", q->address);
        c->server->changes--;
        rpc_call_finish(c->call, r == ERR_UNKNOWN ? ERR_UNAVAILABLE : r, err_message(&c->err));
        return;
    }
    *m = (struct raft_member){
        .key = raft_key_of(c->identity.key), .directory = c->identity.key, .id = c->identity.id};
    memcpy(m->address, q->address, strnlen(q->address, sizeof(m->address) - 1));
    consensus_change(c->server->consensus, &c->change);
}

static void identified_on_loop(void *arg, int code, const char *text,
                               const struct raft_identity *identity)
{
    struct change *c = arg;
    c->code = code;
    if (code < 0) {
        (void)err_set(&c->err, code, "%s", text);
    } else {
        c->identity = *identity;
    }
    mailbox_post_reserved(c->server->mailbox, &c->mail);
}

static int add_learner(struct change *c, const Trireme__V1__RaftChangeRequest *q)
{
    struct rpc_channel *channel = NULL;
    struct err *e = rpc_call_err(c->call);
    if (strlen(q->address) >= LIMIT_ADDRESS_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "the address is too long");
    }
    int r = rpc_pool_get(c->server->chunk_caller.pool, q->address, RPC_CONTROL, &channel, e);
    if (r < 0) {
        return r;
    }
    if (mailbox_reserve(c->server->mailbox) < 0) {
        rpc_channel_unref(channel);
        return ERR_BUSY;
    }
    c->mail.handle = identified_on_owner;
    c->server->changes++;
    rpc_pending_unref(raft_identify_start(
        c->server->loop, channel, clock_mono_ms() + RAFT_IDENTIFY_MS, identified_on_loop, c));
    rpc_channel_unref(channel);
    return RPC_PENDING;
}

static int change_known(struct change *c, uint64_t id)
{
    struct consensus_group *g = arena_calloc(rpc_call_arena(c->call), sizeof(*g));
    consensus_group(c->server->consensus, g);
    for (size_t i = 0; i < g->member_count; i++) {
        if (g->members[i].member.id == id) {
            c->change.member = g->members[i].member;
            c->server->changes++;
            consensus_change(c->server->consensus, &c->change);
            return RPC_PENDING;
        }
    }
    return err_set(rpc_call_err(c->call), ERR_NOT_FOUND, "no file master has id %" PRIu64, id);
}

bool server_is_operator(const struct server *s, struct rpc_call *call)
{
    return strcmp(rpc_call_caller(call)->user, s->superuser) == 0;
}

static int raft_change_step(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__RaftChangeRequest *q = (const void *)rpc_call_request(call);
    if (!server_is_operator(s, call)) {
        return err_set(rpc_call_err(call), ERR_PERMISSION, "only %s may change the members",
                       s->superuser);
    }
    if (!s->status.is_leader || s->stopping) {
        return not_leader(call, s);
    }
    struct change *c = arena_calloc(rpc_call_arena(call), sizeof(*c));
    c->call = call;
    c->server = s;
    c->change.done = change_done;
    switch (q->kind) {
    case TRIREME__V1__RAFT_CHANGE_REQUEST__KIND__KIND_ADD_LEARNER:
        c->change.kind = RAFT_ADD_LEARNER;
        return add_learner(c, q);
    case TRIREME__V1__RAFT_CHANGE_REQUEST__KIND__KIND_PROMOTE:
        c->change.kind = RAFT_PROMOTE;
        return change_known(c, q->id);
    case TRIREME__V1__RAFT_CHANGE_REQUEST__KIND__KIND_REMOVE:
        c->change.kind = RAFT_REMOVE;
        return change_known(c, q->id);
    default:
        return err_set(rpc_call_err(call), ERR_UNSUPPORTED, "no such change of the members");
    }
}

static int raft_transfer_step(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__RaftTransferRequest *q = (const void *)rpc_call_request(call);
    struct err *e = rpc_call_err(call);
    struct consensus_group *g = arena_calloc(rpc_call_arena(call), sizeof(*g));
    if (!server_is_operator(s, call)) {
        return err_set(e, ERR_PERMISSION, "only %s may choose the leader", s->superuser);
    }
    if (!s->status.is_leader || s->stopping) {
        return not_leader(call, s);
    }
    if (q->id == s->member) {
        return 0; /* it leads */
    }
    consensus_group(s->consensus, g);
    raft_key key = 0;
    for (size_t i = 0; i < g->member_count; i++) {
        key = g->members[i].member.id == q->id ? g->members[i].member.key : key;
    }
    if (q->id != 0 && key == 0) {
        return err_set(e, ERR_NOT_FOUND, "no file master has id %" PRIu64, q->id);
    }
    return consensus_transfer(s->consensus, key, e);
}

/* ---- The tables ----------------------------------------------------------------------------- */

#define METHOD(variable, name, request, reply)                                                     \
    static const struct rpc_method variable = {"/trireme.v1.Raft/" name, RPC_UNARY,                \
                                               &trireme__v1__##request##__descriptor,              \
                                               &trireme__v1__##reply##__descriptor}

METHOD(method_identify, "Identify", identify_request, identify_reply);
METHOD(method_read_index, "ReadIndex", read_index_request, read_index_reply);
METHOD(method_status, "RaftStatus", raft_status_request, raft_status_reply);
METHOD(method_change, "RaftChange", raft_change_request, raft_change_reply);
METHOD(method_transfer, "RaftTransfer", raft_transfer_request, raft_transfer_reply);

const struct rpc_service_row raft_admin_service[] = {
    {&method_identify, .steps = {{RPC_OWNER, identify}}},
    {&method_read_index, .steps = {{RPC_OWNER, read_index_begin}, {RPC_OWNER, read_index_answer}}},
    {&method_status, .steps = {{RPC_OWNER, raft_status_step}}},
    {&method_change, .steps = {{RPC_OWNER, raft_change_step}}},
    {&method_transfer, .steps = {{RPC_OWNER, raft_transfer_step}}},
    {NULL},
};

const struct rpc_service_row raft_stream_service[] = {
    {&raft_method_messages, .stream = &raft_message_stream_ops,
     .message_bytes_max = RPC_RAFT_MESSAGE_BYTES_MAX},
    {&raft_method_snapshots, .stream = &raft_snapshot_stream_ops,
     .message_bytes_max = RPC_BULK_MESSAGE_BYTES_MAX},
    {NULL},
};
