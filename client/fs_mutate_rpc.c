/* Changes of the namespace: each has a sequence number of the connection's session and runs exactly
 * once, however often it is sent (DESIGN 5 "Sessions").
 *
 * A session that was not used for ten minutes is gone, and the master refuses the next request with
 * ERR_STALE; nothing ran. An operation that was sent only then is sent again under a new session.
 * One that was sent before, with an outcome that nobody saw, is reported as unknown. An operation
 * may be refused with ERR_STALE for reasons of its own, too; then it is so again under the new
 * session, where the session cannot be the reason. */
#include "proto/fs.pb-c.h"

#include <stdlib.h>
#include <string.h>

#include "client/fs_convert_rpc.h"
#include "client/fs_rpc.h"
#include "client/master.h"
#include "common/alloc.h"
#include "common/check.h"

enum { MUTATE_ATTEMPT_MS = ALLOCATE_WAIT_MS + 5 * 1000, BUSY_MS = 20 };

/* The generated structs of one operation, together. */
struct wire_op {
    Trireme__V1__Operation operation;
    Trireme__V1__ChunkRef chunk;
    union {
        Trireme__V1__Mkdir mkdir;
        Trireme__V1__Create create;
        Trireme__V1__AcquireLease acquire_lease;
        Trireme__V1__Allocate allocate;
        Trireme__V1__AbandonChunk abandon_chunk;
        Trireme__V1__Close close;
        Trireme__V1__Abandon abandon;
        Trireme__V1__Rename rename;
        Trireme__V1__Delete delete_;
        Trireme__V1__SetAttributes set_attributes;
        Trireme__V1__RaiseFence raise_fence;
        Trireme__V1__SetQuota set_quota;
        Trireme__V1__SetXattr set_xattr;
    };
};

static char *text(const char *s)
{
    return (char *)(s ? s : ""); /* protobuf-c's strings are not const, and not written to */
}

/* ---- To the wire ---------------------------------------------------------------------------- */

static Trireme__V1__Precondition *condition_to_wire(const struct dfs_condition *from,
                                                    struct arena *arena)
{
    Trireme__V1__Precondition *to = arena_alloc(arena, sizeof(*to));
    trireme__v1__precondition__init(to);
    if (from->kind == DFS_PATH_ABSENT) {
        to->kind_case = TRIREME__V1__PRECONDITION__KIND_PATH_ABSENT;
        to->path_absent = text(from->name);
    } else if (from->kind == DFS_PATH_IS) {
        to->kind_case = TRIREME__V1__PRECONDITION__KIND_PATH_IS;
        to->path_is = arena_alloc(arena, sizeof(*to->path_is));
        trireme__v1__path_is__init(to->path_is);
        to->path_is->path = text(from->name);
        to->path_is->inode = from->number;
    } else {
        to->kind_case = TRIREME__V1__PRECONDITION__KIND_FENCE_IS;
        to->fence_is = arena_alloc(arena, sizeof(*to->fence_is));
        trireme__v1__fence_is__init(to->fence_is);
        to->fence_is->name = text(from->name);
        to->fence_is->epoch = from->number;
    }
    return to;
}

static void conditions_to_wire(const struct dfs_conditions *from, struct arena *arena,
                               Trireme__V1__Operation *to)
{
    if (!from || from->count == 0) {
        return;
    }
    to->n_preconditions = from->count;
    to->preconditions = arena_calloc(arena, from->count * sizeof(*to->preconditions));
    for (size_t i = 0; i < from->count; i++) {
        to->preconditions[i] = condition_to_wire(&from->items[i], arena);
    }
}

static void attributes_to_wire(const struct fs_op *op, Trireme__V1__SetAttributes *to)
{
    const struct dfs_attributes *from = op->attributes;
    to->path = text(op->path);
    to->fields = (from->set_mode ? TRIREME__V1__SET_ATTRIBUTES__FIELD__MODE : 0) |
                 (from->set_owner ? TRIREME__V1__SET_ATTRIBUTES__FIELD__OWNER : 0) |
                 (from->set_group ? TRIREME__V1__SET_ATTRIBUTES__FIELD__GROUP : 0) |
                 (from->set_mtime ? TRIREME__V1__SET_ATTRIBUTES__FIELD__MTIME : 0) |
                 (from->set_replication ? TRIREME__V1__SET_ATTRIBUTES__FIELD__REPLICATION : 0);
    to->mode = from->mode;
    to->owner = text(from->owner);
    to->group = text(from->group);
    to->mtime_ms = from->mtime_ms;
    to->replication = from->replication;
}

static void allocate_to_wire(const struct fs_op *op, Trireme__V1__ChunkRef *chunk,
                             Trireme__V1__Allocate *to)
{
    to->inode = op->inode;
    to->lease_epoch = op->lease_epoch;
    to->offset = op->offset;
    to->previous = chunk;
    to->previous_length = op->length;
    to->writer_host = text(op->host);
    to->n_exclude = op->exclude_count;
    to->exclude = (uint64_t *)op->exclude;
}

static void close_to_wire(const struct fs_op *op, Trireme__V1__ChunkRef *chunk,
                          Trireme__V1__Close *to)
{
    to->inode = op->inode;
    to->lease_epoch = op->lease_epoch;
    to->chunk = chunk;
    to->length = op->length;
    to->link_path = text(op->path);
    to->replace = op->replace;
    to->parents = op->parents;
}

#define SET_KIND(field, NAME)                                                                      \
    trireme__v1__##field##__init(&w->field);                                                       \
    w->operation.kind_case = TRIREME__V1__OPERATION__KIND_##NAME;                                  \
    w->operation.field = &w->field

/* The kinds that change names. */
static void name_op_to_wire(const struct fs_op *op, struct wire_op *w)
{
    switch (op->kind) {
    case FS_MKDIR:
        SET_KIND(mkdir, MKDIR);
        w->mkdir.path = text(op->path);
        w->mkdir.mode = op->mode;
        w->mkdir.parents = op->parents;
        break;
    case FS_RENAME:
        SET_KIND(rename, RENAME);
        w->rename.source = text(op->path);
        w->rename.target = text(op->target);
        w->rename.replace = op->replace;
        break;
    case FS_DELETE:
        trireme__v1__delete__init(&w->delete_);
        w->operation.kind_case = TRIREME__V1__OPERATION__KIND_DELETE;
        w->operation.delete_ = &w->delete_;
        w->delete_.path = text(op->path);
        w->delete_.recursive = op->recursive;
        break;
    case FS_SET_ATTRIBUTES:
        SET_KIND(set_attributes, SET_ATTRIBUTES);
        attributes_to_wire(op, &w->set_attributes);
        break;
    case FS_RAISE_FENCE:
        SET_KIND(raise_fence, RAISE_FENCE);
        w->raise_fence.name = text(op->path);
        break;
    case FS_SET_QUOTA:
        SET_KIND(set_quota, SET_QUOTA);
        w->set_quota.path = text(op->path);
        w->set_quota.fields = (op->quota->set_names ? TRIREME__V1__SET_QUOTA__FIELD__NAMES : 0) |
                              (op->quota->set_space ? TRIREME__V1__SET_QUOTA__FIELD__SPACE : 0);
        w->set_quota.names = op->quota->names;
        w->set_quota.space = op->quota->space;
        break;
    case FS_SET_XATTR:
        SET_KIND(set_xattr, SET_XATTR);
        w->set_xattr.path = text(op->path);
        w->set_xattr.name = text(op->xattr->name);
        w->set_xattr.value.data = (uint8_t *)op->xattr->value; /* only read */
        w->set_xattr.value.len = op->xattr->length;
        w->set_xattr.mode = (uint32_t)op->xattr_mode;
        break;
    default:
        break;
    }
}

/* A writer's life. */
static void file_op_to_wire(const struct fs_op *op, struct wire_op *w)
{
    Trireme__V1__ChunkRef *chunk = op->chunk.id ? &w->chunk : NULL;
    switch (op->kind) {
    case FS_CREATE:
        SET_KIND(create, CREATE);
        w->create.path = text(op->path);
        w->create.mode = op->mode;
        w->create.replication = op->replication;
        w->create.chunk_bytes = op->chunk_bytes;
        w->create.replace = op->replace;
        w->create.parents = op->parents;
        w->create.first_chunk = op->first_chunk;
        w->create.writer_host = text(op->host);
        w->create.link_path = text(op->target);
        w->create.link_bytes = op->length;
        break;
    case FS_ACQUIRE_LEASE:
        SET_KIND(acquire_lease, ACQUIRE_LEASE);
        w->acquire_lease.path = text(op->path);
        break;
    case FS_ALLOCATE:
        SET_KIND(allocate, ALLOCATE);
        allocate_to_wire(op, chunk, &w->allocate);
        break;
    case FS_ABANDON_CHUNK:
        SET_KIND(abandon_chunk, ABANDON_CHUNK);
        w->abandon_chunk.inode = op->inode;
        w->abandon_chunk.lease_epoch = op->lease_epoch;
        w->abandon_chunk.chunk = chunk;
        break;
    case FS_CLOSE:
        SET_KIND(close, CLOSE);
        close_to_wire(op, chunk, &w->close);
        break;
    case FS_ABANDON:
        SET_KIND(abandon, ABANDON);
        w->abandon.inode = op->inode;
        w->abandon.lease_epoch = op->lease_epoch;
        break;
    default:
        name_op_to_wire(op, w);
    }
}

static void op_to_wire(const struct fs_op *op, struct arena *arena, struct wire_op *w)
{
    memset(w, 0, sizeof(*w));
    trireme__v1__operation__init(&w->operation);
    trireme__v1__chunk_ref__init(&w->chunk);
    w->chunk.id = op->chunk.id;
    w->chunk.version = op->chunk.version;
    conditions_to_wire(op->conditions, arena, &w->operation);
    file_op_to_wire(op, w);
}

/* ---- From the wire -------------------------------------------------------------------------- */

static struct chunk_ref ref_from_wire(const Trireme__V1__ChunkRef *from)
{
    return from ? (struct chunk_ref){from->id, from->version} : (struct chunk_ref){0, 0};
}

static void outcome_from_wire(const Trireme__V1__OperationResult *from, struct arena *arena,
                              struct fs_outcome *to)
{
    struct fs_result *ret = &to->result;
    *to = (struct fs_outcome){.error = ERR_INIT};
    if (from->outcome->error_name[0] != '\0') {
        int code = err_from_name(from->outcome->error_name);
        (void)err_set(&to->error, code, "%s",
                      from->outcome->error_text[0] ? from->outcome->error_text : err_text(code));
        return;
    }
    *ret = (struct fs_result){
        .inode = from->inode,
        .lease_epoch = from->lease_epoch,
        .fence_epoch = from->fence_epoch,
        .length = from->length,
        .chunk_bytes = from->chunk_bytes,
        .chunk = ref_from_wire(from->chunk),
        .open_chunk = ref_from_wire(from->open_chunk),
        .replica_count = from->n_replicas,
    };
    ret->replicas = arena_calloc(arena, (from->n_replicas + 1) * sizeof(*ret->replicas));
    for (size_t i = 0; i < from->n_replicas; i++) {
        fs_server_from_wire(from->replicas[i], arena, &ret->replicas[i]);
    }
}

static int outcomes_from_wire(const Trireme__V1__MutateReply *reply, struct arena *arena,
                              struct fs_outcome *outcomes, size_t count, struct err *e)
{
    bool good = reply->n_results == count;
    for (size_t i = 0; good && i < count; i++) {
        good = reply->results[i]->outcome && reply->results[i]->n_replicas <= CHUNK_REPLICAS_MAX;
    }
    if (!good) { /* something was done, but nobody can say what */
        return err_set(e, ERR_UNKNOWN, "the file master's answer to Mutate is malformed");
    }
    for (size_t i = 0; i < count; i++) {
        outcome_from_wire(reply->results[i], arena, &outcomes[i]);
    }
    return 0;
}

/* ---- Sessions ------------------------------------------------------------------------------- */

/* Waits while 256 operations of the connection are in flight. */
static int ticket_take(struct call *c, size_t count, struct session **ret_session,
                       struct session_ticket *ret, struct err *e)
{
    struct dfs *dfs = c->dfs;
    sync_enter(&dfs->lock);
    while (!session_begin(dfs->session, (unsigned)count, ret)) {
        if (clock_mono_ms() >= c->deadline) {
            sync_leave(&dfs->lock);
            return err_set(e, ERR_TIMEOUT, "too many changes of this connection are in flight");
        }
        dfs->window_waiters++;
        sync_wait(&dfs->lock, c->deadline);
        dfs->window_waiters--;
    }
    *ret_session = dfs->session;
    sync_leave(&dfs->lock);
    return 0;
}

static void ticket_settle(struct dfs *dfs, struct session *session, uint64_t seq, size_t count)
{
    sync_enter(&dfs->lock);
    for (size_t i = 0; i < count; i++) {
        session_settle(session, seq + i);
    }
    if (session != dfs->session && session->users == 0) {
        free(session);
    } else if (dfs->window_waiters > 0) { /* else the leases' keeper alone would hear of it */
        sync_wake(&dfs->lock);
    }
    sync_leave(&dfs->lock);
}

/* The session was refused: the connection gets a new one, unless another thread has seen to that.
 */
static void session_replace(struct dfs *dfs, session_id refused)
{
    sync_enter(&dfs->lock);
    if (dfs->session->id == refused) {
        struct session *old = dfs->session;
        dfs->session = xcalloc(1, sizeof(*dfs->session));
        session_init(dfs->session, rng_entropy_u64() | 1);
        if (old->users == 0) {
            free(old);
        }
        sync_wake(&dfs->lock);
    }
    sync_leave(&dfs->lock);
}

/* What is sent: the operations of one message, in the call's arena. */
struct message {
    size_t count;
    struct wire_op *ops;
    Trireme__V1__Operation **list; /* of them */
};

static struct message message_new(struct call *c, const struct fs_op *ops, size_t count)
{
    struct message m = {.count = count,
                        .ops = arena_alloc(&c->arena, count * sizeof(*m.ops)),
                        .list = arena_alloc(&c->arena, count * sizeof(*m.list))};
    for (size_t i = 0; i < count; i++) {
        op_to_wire(&ops[i], &c->arena, &m.ops[i]);
        m.list[i] = &m.ops[i].operation;
    }
    return m;
}

/* Sends it under the same sequence numbers until it has an answer. */
static int mutate_once(struct call *c, const struct message *m, const struct session_ticket *ticket,
                       unsigned *ret_sent, struct fs_outcome *outcomes, struct err *e)
{
    Trireme__V1__MutateRequest message = TRIREME__V1__MUTATE_REQUEST__INIT;
    for (size_t i = 0; i < m->count; i++) {
        m->list[i]->seq = ticket->seq + i;
    }
    message.session = ticket->session;
    message.acked_below = ticket->acked_below;
    message.n_operations = m->count;
    message.operations = m->list;
    struct master_request request = {.method = &fs_method_mutate,
                                     .message = &message.base,
                                     .changes = true,
                                     .attempt_ms = MUTATE_ATTEMPT_MS};
    ProtobufCMessage *reply = NULL;
    int r = master_call(c, &request, &reply, e);
    *ret_sent = request.sent;
    if (r < 0) {
        return r;
    }
    master_see(c->dfs, ((Trireme__V1__MutateReply *)reply)->applied_index);
    return outcomes_from_wire((Trireme__V1__MutateReply *)reply, &c->arena, outcomes, m->count, e);
}

/* What all of them were refused for, as it is when their session or its window was; 0: some were
 * not. */
static int refusal_of(const struct fs_outcome *outcomes, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (outcomes[i].error.code != outcomes[0].error.code) {
            return 0;
        }
    }
    return outcomes[0].error.code;
}

int fs_mutate_all(struct call *c, const struct fs_op *ops, size_t count,
                  struct fs_outcome *outcomes, struct err *e)
{
    struct message m = message_new(c, ops, count);
    CHECK(count > 0);
    CHECK(count <= CLIENT_BATCH_COUNT_MAX);
    for (;;) {
        struct session *session = NULL;
        struct session_ticket ticket;
        unsigned sent = 0;
        int r = ticket_take(c, count, &session, &ticket, e);
        if (r < 0) {
            return r;
        }
        r = mutate_once(c, &m, &ticket, &sent, outcomes, e);
        ticket_settle(c->dfs, session, ticket.seq, count);
        int refusal = r < 0 ? r : refusal_of(outcomes, count);
        if (refusal == ERR_STALE && ticket.acked_below > 1) {
            session_replace(c->dfs, ticket.session);
            if (sent > 0) {
                if (r == 0) {
                    (void)err_set(e, refusal, "%s", err_message(&outcomes[0].error));
                }
                return err_wrap(e, ERR_UNKNOWN, "sent before, it may have happened");
            }
            continue;
        }
        if (refusal != ERR_BUSY || !call_pause(c, call_jitter(c, BUSY_MS))) {
            return r;
        }
        call_waits(c, "the file master is busy");
    }
}

int fs_mutate(struct call *c, const struct fs_op *op, struct fs_result *ret, struct err *e)
{
    struct fs_outcome outcome;
    int r = fs_mutate_all(c, op, 1, &outcome, e);
    if (r == 0 && outcome.error.code < 0) {
        r = err_set(e, outcome.error.code, "%s", err_message(&outcome.error));
    }
    if (r == 0) {
        *ret = outcome.result;
    }
    return r;
}
