/* See raft_rpc.h. Everything that comes is checked here for form (lengths of keys, counts, sizes of
 * entries); what it means is for the library to judge. */
#include "fsmaster/raft_rpc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <proto/raft.pb-c.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"

const struct rpc_method raft_method_messages = {"/trireme.v1.Raft/Messages", RPC_BIDI,
                                                &trireme__v1__raft_message__descriptor,
                                                &trireme__v1__raft_message__descriptor};
const struct rpc_method raft_method_snapshots = {"/trireme.v1.Raft/Snapshots", RPC_CLIENT_STREAM,
                                                 &trireme__v1__raft_message__descriptor,
                                                 &trireme__v1__raft_end__descriptor};
static const struct rpc_method method_identify = {"/trireme.v1.Raft/Identify", RPC_UNARY,
                                                  &trireme__v1__identify_request__descriptor,
                                                  &trireme__v1__identify_reply__descriptor};

static const struct rpc_method method_read_index = {"/trireme.v1.Raft/ReadIndex", RPC_UNARY,
                                                    &trireme__v1__read_index_request__descriptor,
                                                    &trireme__v1__read_index_reply__descriptor};

/* ---- Packing -------------------------------------------------------------------------------- */

static ProtobufCBinaryData bytes_of(const void *data, size_t length)
{
    return (ProtobufCBinaryData){.len = length, .data = (uint8_t *)data};
}

static void envelope_fill(const struct raft_envelope *e, Trireme__V1__RaftMessage *m)
{
    trireme__v1__raft_message__init(m);
    m->cluster_id = bytes_of(e->cluster.bytes, sizeof(e->cluster.bytes));
    m->from = bytes_of(e->from.bytes, sizeof(e->from.bytes));
    m->to = bytes_of(e->to.bytes, sizeof(e->to.bytes));
}

static struct rpc_bytes *pack(const Trireme__V1__RaftMessage *m)
{
    size_t length = trireme__v1__raft_message__get_packed_size(m);
    uint8_t *data = xmalloc(length);
    CHECK(trireme__v1__raft_message__pack(m, data) == length);
    return rpc_bytes_wrap(data, length, free, data);
}

struct rpc_bytes *raft_hello_pack(const struct raft_envelope *envelope,
                                  const struct raft_hello *hello)
{
    Trireme__V1__RaftMessage m;
    Trireme__V1__RaftHello h = TRIREME__V1__RAFT_HELLO__INIT;
    envelope_fill(envelope, &m);
    h.wire_version = hello->wire_version;
    h.address = (char *)hello->address;
    m.kind_case = TRIREME__V1__RAFT_MESSAGE__KIND_HELLO;
    m.hello = &h;
    return pack(&m);
}

/* Each takes the envelope by value and hangs its own kind into it. */

static struct rpc_bytes *append_pack(Trireme__V1__RaftMessage m, const struct raft_append *a)
{
    Trireme__V1__RaftAppend wire = TRIREME__V1__RAFT_APPEND__INIT;
    Trireme__V1__RaftEntry *entries = xcalloc(a->count + 1, sizeof(*entries));
    Trireme__V1__RaftEntry **list = xcalloc(a->count + 1, sizeof(*list));
    for (size_t i = 0; i < a->count; i++) {
        const struct log_entry *entry = &a->entries[i];
        trireme__v1__raft_entry__init(&entries[i]);
        entries[i].term = entry->term;
        entries[i].type = entry->type;
        entries[i].data = bytes_of(entry->data.data, entry->data.length);
        list[i] = &entries[i];
    }
    wire.prev_index = a->prev_index;
    wire.prev_term = a->prev_term;
    wire.commit = a->commit;
    wire.round = a->round;
    wire.n_entries = a->count;
    wire.entries = list;
    m.kind_case = TRIREME__V1__RAFT_MESSAGE__KIND_APPEND;
    m.append = &wire;
    struct rpc_bytes *packed = pack(&m);
    free(list);
    free(entries);
    return packed;
}

static struct rpc_bytes *append_reply_pack(Trireme__V1__RaftMessage m,
                                           const struct raft_append_reply *a)
{
    Trireme__V1__RaftAppendAnswer wire = TRIREME__V1__RAFT_APPEND_ANSWER__INIT;
    wire.ok = a->ok;
    wire.round = a->round;
    wire.match = a->match;
    wire.prev_index = a->prev_index;
    wire.hint_index = a->hint_index;
    wire.hint_term = a->hint_term;
    m.kind_case = TRIREME__V1__RAFT_MESSAGE__KIND_APPEND_ANSWER;
    m.append_answer = &wire;
    return pack(&m);
}

static struct rpc_bytes *vote_pack(Trireme__V1__RaftMessage m, const struct raft_vote *v)
{
    Trireme__V1__RaftVote wire = TRIREME__V1__RAFT_VOTE__INIT;
    wire.last_index = v->last_index;
    wire.last_term = v->last_term;
    wire.pre = v->pre;
    wire.transfer = v->transfer;
    m.kind_case = TRIREME__V1__RAFT_MESSAGE__KIND_VOTE;
    m.vote = &wire;
    return pack(&m);
}

static struct rpc_bytes *vote_reply_pack(Trireme__V1__RaftMessage m,
                                         const struct raft_vote_reply *v)
{
    Trireme__V1__RaftVoteAnswer wire = TRIREME__V1__RAFT_VOTE_ANSWER__INIT;
    wire.granted = v->granted;
    wire.pre = v->pre;
    m.kind_case = TRIREME__V1__RAFT_MESSAGE__KIND_VOTE_ANSWER;
    m.vote_answer = &wire;
    return pack(&m);
}

static struct rpc_bytes *snapshot_pack(Trireme__V1__RaftMessage m, const struct raft_snapshot *s)
{
    Trireme__V1__RaftSnapshot wire = TRIREME__V1__RAFT_SNAPSHOT__INIT;
    wire.index = s->index;
    wire.last_term = s->last_term;
    wire.offset = s->offset;
    wire.bytes = s->bytes;
    wire.data = bytes_of(s->data.data, s->data.length);
    m.kind_case = TRIREME__V1__RAFT_MESSAGE__KIND_SNAPSHOT;
    m.snapshot = &wire;
    return pack(&m);
}

static struct rpc_bytes *snapshot_reply_pack(Trireme__V1__RaftMessage m,
                                             const struct raft_snapshot_reply *s)
{
    Trireme__V1__RaftSnapshotAnswer wire = TRIREME__V1__RAFT_SNAPSHOT_ANSWER__INIT;
    wire.index = s->index;
    wire.offset = s->offset;
    wire.installed = s->installed;
    wire.refused = s->refused;
    m.kind_case = TRIREME__V1__RAFT_MESSAGE__KIND_SNAPSHOT_ANSWER;
    m.snapshot_answer = &wire;
    return pack(&m);
}

static struct rpc_bytes *timeout_now_pack(Trireme__V1__RaftMessage m)
{
    Trireme__V1__RaftTimeoutNow wire = TRIREME__V1__RAFT_TIMEOUT_NOW__INIT;
    m.kind_case = TRIREME__V1__RAFT_MESSAGE__KIND_TIMEOUT_NOW;
    m.timeout_now = &wire;
    return pack(&m);
}

struct rpc_bytes *raft_message_pack(const struct raft_envelope *envelope,
                                    const struct raft_message *message)
{
    Trireme__V1__RaftMessage m;
    envelope_fill(envelope, &m);
    m.term = message->term;
    switch (message->kind) {
    case RAFT_APPEND:
        return append_pack(m, &message->append);
    case RAFT_APPEND_REPLY:
        return append_reply_pack(m, &message->append_reply);
    case RAFT_VOTE:
        return vote_pack(m, &message->vote);
    case RAFT_VOTE_REPLY:
        return vote_reply_pack(m, &message->vote_reply);
    case RAFT_SNAPSHOT:
        return snapshot_pack(m, &message->snapshot);
    case RAFT_SNAPSHOT_REPLY:
        return snapshot_reply_pack(m, &message->snapshot_reply);
    case RAFT_TIMEOUT_NOW:
        break;
    }
    CHECK(message->kind == RAFT_TIMEOUT_NOW);
    return timeout_now_pack(m);
}

/* ---- Unpacking ------------------------------------------------------------------------------ */

static bool take_bytes(const ProtobufCBinaryData *from, void *to, size_t length)
{
    if (from->len != length) {
        return false;
    }
    memcpy(to, from->data, length);
    return true;
}

static int take_address(const char *from, char to[LIMIT_ADDRESS_BYTES_MAX], struct err *e)
{
    size_t length = strlen(from);
    if (length >= LIMIT_ADDRESS_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "an address of %zu bytes", length);
    }
    memcpy(to, from, length + 1);
    return 0;
}

static int take_append(const Trireme__V1__RaftAppend *wire, struct arena *arena,
                       struct raft_append *ret, struct err *e)
{
    *ret = (struct raft_append){.prev_index = wire->prev_index,
                                .prev_term = wire->prev_term,
                                .commit = wire->commit,
                                .round = wire->round,
                                .count = wire->n_entries};
    if (wire->n_entries > RAFT_APPEND_COUNT_MAX) {
        return err_set(e, ERR_TOO_LARGE, "%zu entries in one message", wire->n_entries);
    }
    if (wire->prev_index > UINT64_MAX - RAFT_APPEND_COUNT_MAX - 1) {
        return err_set(e, ERR_CORRUPT, "entries after %" PRIu64, wire->prev_index);
    }
    struct log_entry *entries = arena_alloc(arena, (wire->n_entries + 1) * sizeof(*entries));
    for (size_t i = 0; i < wire->n_entries; i++) {
        const Trireme__V1__RaftEntry *one = wire->entries[i];
        if (one->data.len > LOG_ENTRY_BYTES_MAX) {
            return err_set(e, ERR_TOO_LARGE, "an entry of %zu bytes", one->data.len);
        }
        if (one->type < LOG_ENTRY_EMPTY || one->type > LOG_ENTRY_CONFIG) {
            return err_set(e, ERR_CORRUPT, "an entry of type %" PRIu32, one->type);
        }
        entries[i] = (struct log_entry){.index = wire->prev_index + 1 + i,
                                        .term = one->term,
                                        .type = (uint8_t)one->type,
                                        .data = {one->data.data, one->data.len}};
    }
    ret->entries = entries;
    return 0;
}

static int take_snapshot(const Trireme__V1__RaftSnapshot *wire, struct raft_snapshot *ret,
                         struct err *e)
{
    *ret = (struct raft_snapshot){.index = wire->index,
                                  .last_term = wire->last_term,
                                  .offset = wire->offset,
                                  .bytes = wire->bytes,
                                  .data = {wire->data.data, wire->data.len}};
    if (wire->offset > wire->bytes || wire->data.len > wire->bytes - wire->offset) {
        return err_set(e, ERR_CORRUPT, "a piece beyond the end of its snapshot");
    }
    return 0;
}

/* table */
static int take_kind(const Trireme__V1__RaftMessage *wire, struct arena *arena,
                     struct raft_message *m, struct err *e)
{
    switch (wire->kind_case) {
    case TRIREME__V1__RAFT_MESSAGE__KIND_APPEND:
        m->kind = RAFT_APPEND;
        return take_append(wire->append, arena, &m->append, e);
    case TRIREME__V1__RAFT_MESSAGE__KIND_APPEND_ANSWER:
        m->kind = RAFT_APPEND_REPLY;
        m->append_reply = (struct raft_append_reply){.ok = wire->append_answer->ok,
                                                     .round = wire->append_answer->round,
                                                     .match = wire->append_answer->match,
                                                     .prev_index = wire->append_answer->prev_index,
                                                     .hint_index = wire->append_answer->hint_index,
                                                     .hint_term = wire->append_answer->hint_term};
        return 0;
    case TRIREME__V1__RAFT_MESSAGE__KIND_VOTE:
        m->kind = RAFT_VOTE;
        m->vote = (struct raft_vote){.last_index = wire->vote->last_index,
                                     .last_term = wire->vote->last_term,
                                     .pre = wire->vote->pre,
                                     .transfer = wire->vote->transfer};
        return 0;
    case TRIREME__V1__RAFT_MESSAGE__KIND_VOTE_ANSWER:
        m->kind = RAFT_VOTE_REPLY;
        m->vote_reply = (struct raft_vote_reply){.granted = wire->vote_answer->granted,
                                                 .pre = wire->vote_answer->pre};
        return 0;
    case TRIREME__V1__RAFT_MESSAGE__KIND_SNAPSHOT:
        m->kind = RAFT_SNAPSHOT;
        return take_snapshot(wire->snapshot, &m->snapshot, e);
    case TRIREME__V1__RAFT_MESSAGE__KIND_SNAPSHOT_ANSWER:
        m->kind = RAFT_SNAPSHOT_REPLY;
        m->snapshot_reply =
            (struct raft_snapshot_reply){.index = wire->snapshot_answer->index,
                                         .offset = wire->snapshot_answer->offset,
                                         .installed = wire->snapshot_answer->installed,
                                         .refused = wire->snapshot_answer->refused};
        return 0;
    case TRIREME__V1__RAFT_MESSAGE__KIND_TIMEOUT_NOW:
        m->kind = RAFT_TIMEOUT_NOW;
        return 0;
    default:
        return err_set(e, ERR_CORRUPT, "a message of no kind that we know");
    }
}

int raft_message_unpack(const struct rpc_bytes *packed, struct arena *arena,
                        struct raft_unpacked *ret, struct err *e)
{
    ProtobufCMessage *unpacked = NULL;
    int r = rpc_unpack_bytes(&trireme__v1__raft_message__descriptor, packed, arena, &unpacked);
    if (r < 0) {
        return err_set(e, r, "not a message of Raft");
    }
    const Trireme__V1__RaftMessage *wire = (const void *)unpacked;
    memset(ret, 0, sizeof(*ret));
    if (!take_bytes(&wire->cluster_id, ret->envelope.cluster.bytes, 16) ||
        !take_bytes(&wire->from, ret->envelope.from.bytes, 16) ||
        !take_bytes(&wire->to, ret->envelope.to.bytes, 16)) {
        return err_set(e, ERR_CORRUPT, "a message without cluster and keys");
    }
    if (wire->kind_case == TRIREME__V1__RAFT_MESSAGE__KIND_HELLO) {
        ret->is_hello = true;
        ret->hello.wire_version = wire->hello->wire_version;
        return take_address(wire->hello->address, ret->hello.address, e);
    }
    ret->message.term = wire->term;
    ret->message.from = raft_key_of(ret->envelope.from);
    ret->message.to = raft_key_of(ret->envelope.to);
    return take_kind(wire, arena, &ret->message, e);
}

/* ---- Identify ------------------------------------------------------------------------------- */

struct asked {
    raft_identify_fn done;
    void *arg;
};

static int take_identity(const Trireme__V1__IdentifyReply *wire, struct raft_identity *ret,
                         struct err *e)
{
    *ret = (struct raft_identity){
        .id = wire->id, .empty = wire->empty, .wire_version = wire->wire_version};
    if (!take_bytes(&wire->key, ret->key.bytes, sizeof(ret->key.bytes)) || wire->id == 0 ||
        (wire->cluster_id.len > 0 &&
         !take_bytes(&wire->cluster_id, ret->cluster.bytes, sizeof(ret->cluster.bytes)))) {
        return err_set(e, ERR_CORRUPT, "an identity without id or key");
    }
    return take_address(wire->address, ret->address, e);
}

static void identified(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    struct asked *asked = arg;
    struct raft_identity identity;
    struct err e = ERR_INIT;
    int r = result->code;
    if (r == 0) {
        r = take_identity((const void *)reply, &identity, &e);
    } else {
        (void)err_set(&e, r, "%s", result->text);
    }
    asked->done(asked->arg, r, err_message(&e), r == 0 ? &identity : NULL);
    free(asked);
}

struct rpc_pending *raft_identify_start(struct rpc_loop *loop, struct rpc_channel *channel,
                                        time_ms deadline, raft_identify_fn done, void *arg)
{
    struct asked *asked = xmalloc(sizeof(*asked));
    *asked = (struct asked){done, arg};
    Trireme__V1__IdentifyRequest q = TRIREME__V1__IDENTIFY_REQUEST__INIT;
    struct rpc_request request = {
        .channel = channel, .method = &method_identify, .message = &q.base, .deadline = deadline};
    return rpc_call_start_cancellable(loop, &request, identified, asked);
}

/* ---- ReadIndex ------------------------------------------------------------------------------ */

struct index_asked {
    raft_read_index_fn done;
    void *arg;
};

static void index_heard(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    struct index_asked *asked = arg;
    const Trireme__V1__ReadIndexReply *a = (const void *)reply;
    asked->done(asked->arg, result->code, a ? a->index : 0);
    free(asked);
}

struct rpc_pending *raft_read_index_start(struct rpc_loop *loop, const struct raft_read_index *ask)
{
    struct index_asked *asked = xmalloc(sizeof(*asked));
    *asked = (struct index_asked){ask->done, ask->arg};
    Trireme__V1__ReadIndexRequest q = TRIREME__V1__READ_INDEX_REQUEST__INIT;
    q.cluster_id = bytes_of(ask->cluster.bytes, sizeof(ask->cluster.bytes));
    struct rpc_request request = {.channel = ask->channel,
                                  .method = &method_read_index,
                                  .message = &q.base,
                                  .deadline = ask->deadline};
    return rpc_call_start_cancellable(loop, &request, index_heard, asked);
}
