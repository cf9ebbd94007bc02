/* Client sessions: exactly once per (session, seq), also across fail-over and snapshot (DESIGN 5
 * "Sessions"; Ongaro's dissertation, 6.3).
 *
 * A session keeps the replies of all seqs not below its acked_below, which its client raises with
 * each request; seqs reach at most SESSION_WINDOW_COUNT_MAX above it. Each session stands in
 * ROW_SESSION_DUE under the time when it could expire at the earliest; Tick looks at those that are
 * due only, and puts one that was used since back under its new time. So a request writes no more
 * than the session's row, and a Tick costs what it expires. */
#include <string.h>

#include "common/check.h"
#include "common/macros.h"
#include "common/path.h"
#include "fsmaster/namespace_chunk.h"
#include "fsmaster/namespace_internal.h"
#include "fsmaster/namespace_quota.h"
#include "fsmaster/namespace_xattr.h"

/* ---- Rows ------------------------------------------------------------------------------------ */

/* ERR_NOT_FOUND, or broken. */
static int session_get(struct namespace *ns, session_id id, struct ns_session **ret)
{
    struct ns_session *session = map_get_u64(&ns->sessions, id);
    if (!session) {
        struct row_key key = row_key_u64(ROW_SESSION, id);
        int r = ns_get(ns, &key);
        if (r < 0) {
            return r;
        }
        session = arena_calloc(&ns->memory, sizeof(*session));
        session->id = id;
        r = ns_decoded(ns, session_decode(ns_value(ns), &session->row));
        if (r < 0) {
            return r;
        }
        map_put_u64(&ns->sessions, id, session);
    }
    if (session->deleted) {
        return ERR_NOT_FOUND;
    }
    *ret = session;
    return 0;
}

static void touch(struct namespace *ns, struct ns_session *session)
{
    if (!session->touched) {
        session->touched = true;
        session->next = ns->touched_sessions;
        ns->touched_sessions = session;
    }
}

static void due_put(struct namespace *ns, struct ns_session *session)
{
    session->row.due_ms = session->row.used_ms + SESSION_LIFE_MS;
    touch(ns, session);
    struct row_key key = row_key_u64_pair(ROW_SESSION_DUE, session->row.due_ms, session->id);
    mark_encode(&ns->value);
    ns_put(ns, &key);
}

static struct ns_session *session_open(struct namespace *ns, session_id id)
{
    struct ns_session *session = map_get_u64(&ns->sessions, id);
    if (!session) {
        session = arena_calloc(&ns->memory, sizeof(*session));
        session->id = id;
        map_put_u64(&ns->sessions, id, session);
    }
    session->deleted = false; /* one that was there before */
    session->row =
        (struct session_row){.acked_below = 1, .next_seq = 1, .used_ms = ns->meta.cluster_ms};
    memcpy(session->row.user, ns->caller->user, strlen(ns->caller->user) + 1);
    due_put(ns, session);
    ns->meta.sessions++;
    ns->meta_dirty = true;
    return session;
}

void ns_sessions_flush(struct namespace *ns)
{
    for (struct ns_session *session = ns->touched_sessions; session; session = session->next) {
        struct row_key key = row_key_u64(ROW_SESSION, session->id);
        if (session->deleted) {
            ns_del(ns, &key);
        } else {
            session_encode(&session->row, &ns->value);
            ns_put(ns, &key);
        }
        session->touched = false;
    }
    ns->touched_sessions = NULL;
}

/* The replies of `count` seqs from `from` on are not asked for again. Not all of them exist. */
static void replies_del(struct namespace *ns, session_id id, uint64_t from, uint64_t count)
{
    for (uint64_t i = 0; i < count && i < SESSION_WINDOW_COUNT_MAX; i++) {
        struct row_key key = row_key_u64_pair(ROW_REPLY, id, from + i);
        ns_del(ns, &key);
    }
}

/* ---- Replies --------------------------------------------------------------------------------- */

/* Of an operation that was just run, so there is none yet. */
static void reply_put(struct namespace *ns, uint64_t seq, const struct op_result *result)
{
    struct reply_row reply = {
        .code = result->code,
        .inode = result->inode,
        .lease_epoch = result->lease_epoch,
        .fence_epoch = result->fence_epoch,
        .length = result->length,
        .chunk = result->chunk,
        .open_chunk = result->open_chunk,
        .chunk_bytes = result->chunk_bytes,
        .replication = result->replication,
        .server_count = result->replica_count,
    };
    for (uint32_t i = 0; i < result->replica_count; i++) {
        reply.servers[i] = result->replicas[i].id;
    }
    struct row_key key = row_key_u64_pair(ROW_REPLY, ns->session, seq);
    reply_encode(&reply, &ns->value);
    kv_view_put_new(ns->view, row_key_span(&key), ns_value(ns));
}

/* The reply of the first time; ERR_NOT_FOUND when this is the first time. */
static int reply_get(struct namespace *ns, uint64_t seq, struct op_result *ret)
{
    struct reply_row reply;
    struct row_key key = row_key_u64_pair(ROW_REPLY, ns->session, seq);
    int r = ns_get(ns, &key);
    if (r == 0) {
        r = ns_decoded(ns, reply_decode(ns_value(ns), &reply));
    }
    if (r != 0) {
        return r;
    }
    *ret = (struct op_result){
        .code = reply.code,
        .text = reply.code ? err_text(reply.code) : "",
        .inode = reply.inode,
        .lease_epoch = reply.lease_epoch,
        .fence_epoch = reply.fence_epoch,
        .length = reply.length,
        .chunk = reply.chunk,
        .open_chunk = reply.open_chunk,
        .chunk_bytes = reply.chunk_bytes,
        .replication = reply.replication,
        .replica_count = reply.server_count,
        .repeated = true,
    };
    struct server_record *servers =
        arena_alloc(ns->arena, reply.server_count * sizeof(struct server_record));
    for (uint32_t i = 0; r == 0 && i < reply.server_count; i++) {
        r = ns_server_get(ns, reply.servers[i], &servers[i]);
    }
    ret->replicas = servers;
    return r;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static int apply_kind(struct namespace *ns, const struct operation *op, struct op_result *result)
{
    switch (op->kind) {
    case OPERATION_MKDIR:
        return ns_apply_mkdir(ns, &op->mkdir, result);
    case OPERATION_CREATE:
        return ns_apply_create(ns, &op->create, result);
    case OPERATION_ACQUIRE_LEASE:
        return ns_apply_acquire_lease(ns, &op->acquire_lease, result);
    case OPERATION_ALLOCATE:
        return ns_apply_allocate(ns, &op->allocate, result);
    case OPERATION_SEAL_CHUNK:
        return ns_apply_seal_chunk(ns, &op->seal_chunk, result);
    case OPERATION_ABANDON_CHUNK:
        return ns_apply_abandon_chunk(ns, &op->abandon_chunk, result);
    case OPERATION_CLOSE:
        return ns_apply_close(ns, &op->close, result);
    case OPERATION_ABANDON:
        return ns_apply_abandon(ns, &op->abandon, result);
    case OPERATION_RENAME:
        return ns_apply_rename(ns, &op->rename, result);
    case OPERATION_DELETE:
        return ns_apply_delete(ns, &op->delete_, result);
    case OPERATION_SET_ATTRIBUTES:
        return ns_apply_set_attributes(ns, &op->set_attributes, result);
    case OPERATION_RAISE_FENCE:
        return ns_apply_raise_fence(ns, &op->raise_fence, result);
    case OPERATION_SET_QUOTA:
        return ns_apply_set_quota(ns, &op->set_quota, result);
    case OPERATION_SET_XATTR:
        return ns_apply_set_xattr(ns, &op->set_xattr, result);
    case OPERATION_NONE:
        break;
    }
    return ERR_UNSUPPORTED;
}

/* A refusal: the operation did not run, and no reply is kept. */
static void refuse(struct op_result *result, int code, const char *text)
{
    *result = (struct op_result){.code = code, .text = text};
}

static int run(struct namespace *ns, const struct operation *op, struct op_result *result)
{
    *result = (struct op_result){.text = ""};
    ns->err = (struct err)ERR_INIT;
    int r = ns_check_preconditions(ns, op);
    if (r == 0) {
        r = apply_kind(ns, op, result);
    }
    if (ns->broken) {
        return ns->broken;
    }
    if (r < 0) {
        const char *text = ns->err.code == r ? arena_strdup(ns->arena, ns->err.msg) : err_text(r);
        *result = (struct op_result){.code = r, .text = text};
    }
    reply_put(ns, op->seq, result);
    return 0;
}

static int apply_operation(struct namespace *ns, struct ns_session *session,
                           const struct operation *op, struct op_result *result)
{
    uint64_t acked_below = session->row.acked_below;
    if (op->seq < acked_below) {
        refuse(result, ERR_STALE, "the reply was acknowledged before");
        return 0;
    }
    if (op->seq - acked_below >= SESSION_WINDOW_COUNT_MAX) {
        refuse(result, ERR_BUSY, "too many operations of the session are not acknowledged");
        return 0;
    }
    if (op->seq == SESSION_SEQ_UNKNOWN) {
        refuse(result, ERR_INVALID, "no operation has this number");
        return 0;
    }
    bool asks = op->seq < session->row.next_seq; /* else it cannot have been run */
    int r = asks ? reply_get(ns, op->seq, result) : ERR_NOT_FOUND;
    if (r != ERR_NOT_FOUND) {
        return r;
    }
    session->row.next_seq = MAX(session->row.next_seq, op->seq + 1);
    return run(ns, op, result);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static bool caller_ok(const struct caller *caller)
{
    return path_check_name(caller->user, strlen(caller->user), NULL) == 0 &&
           strlen(caller->user) <= LIMIT_HOST_BYTES_MAX &&
           caller->group_count <= CALLER_GROUP_COUNT_MAX;
}

/* The session of the request, opened if need be. Refusals leave *ret_text for all operations. */
static int session_of(struct namespace *ns, const struct cmd_mutate *cmd, struct ns_session **ret,
                      const char **ret_text)
{
    if (!ns->meta.cluster_id[0]) {
        *ret_text = "the cluster is not formatted yet";
        return ERR_UNAVAILABLE;
    }
    if (cmd->session == 0 || cmd->acked_below == 0 || !caller_ok(ns->caller) ||
        cmd->operation_count > NAMESPACE_BATCH_COUNT_MAX) {
        *ret_text = "malformed request";
        return ERR_INVALID;
    }
    int r = session_get(ns, cmd->session, ret);
    if (r == 0 && strcmp((*ret)->row.user, ns->caller->user) != 0) {
        *ret_text = "the session belongs to another user";
        return ERR_PERMISSION;
    }
    if (r == 0 && (*ret)->row.used_ms < ns->meta.era.begun_ms) {
        *ret_text = "the session is from before the file masters' state was restored";
        return ERR_STALE;
    }
    if (r != ERR_NOT_FOUND) {
        return r;
    }
    if (cmd->acked_below != 1) {
        *ret_text = "unknown session: it has expired";
        return ERR_STALE;
    }
    if (ns->meta.sessions >= SESSION_COUNT_MAX) {
        *ret_text = "too many sessions";
        return ERR_BUSY;
    }
    *ret = session_open(ns, cmd->session);
    return 0;
}

int ns_apply_mutate(struct namespace *ns, const struct cmd_mutate *cmd, struct apply_result *result)
{
    struct ns_session *session = NULL;
    const char *text = "";
    struct op_result *results =
        arena_alloc(ns->arena, cmd->operation_count * sizeof(struct op_result));
    result->results = results;
    result->result_count = cmd->operation_count;
    ns->session = cmd->session;
    int r = session_of(ns, cmd, &session, &text);
    if (ns->broken) {
        return ns->broken;
    }
    if (r < 0) {
        for (uint32_t i = 0; i < cmd->operation_count; i++) {
            refuse(&results[i], r, text);
        }
        return 0;
    }
    session->row.used_ms = ns->meta.cluster_ms;
    touch(ns, session);
    if (cmd->acked_below > session->row.acked_below) {
        uint64_t from = session->row.acked_below;
        replies_del(ns, session->id, from, cmd->acked_below - from);
        session->row.acked_below = cmd->acked_below;
    }
    for (uint32_t i = 0; r == 0 && i < cmd->operation_count; i++) {
        r = apply_operation(ns, session, &cmd->operations[i], &results[i]);
    }
    return r;
}

/* ---- Expiry ---------------------------------------------------------------------------------- */

struct due {
    time_ms due_ms;
    session_id session;
};

struct due_list {
    struct due rows[NAMESPACE_TICK_COUNT_MAX];
    uint32_t count;
};

static int pick_due(void *arg, struct span key, struct span value)
{
    struct due_list *list = arg;
    struct due *due = &list->rows[list->count];
    (void)value;
    int r = row_key_read_u64_pair(key, ROW_SESSION_DUE, &due->due_ms, &due->session);
    if (r < 0) {
        return r;
    }
    list->count++;
    return list->count == NAMESPACE_TICK_COUNT_MAX;
}

static int expire_due(struct namespace *ns, const struct due *due)
{
    struct ns_session *session = NULL;
    struct row_key key = row_key_u64_pair(ROW_SESSION_DUE, due->due_ms, due->session);
    ns_del(ns, &key);
    int r = session_get(ns, due->session, &session);
    if (r < 0) {
        return r == ERR_NOT_FOUND ? ns_broken(ns, ERR_CORRUPT) : r;
    }
    if (session->row.used_ms + SESSION_LIFE_MS > ns->meta.cluster_ms) {
        due_put(ns, session);
        return 0;
    }
    replies_del(ns, session->id, session->row.acked_below, SESSION_WINDOW_COUNT_MAX);
    session->deleted = true;
    touch(ns, session);
    ns->meta.sessions--;
    ns->meta_dirty = true;
    return 0;
}

int ns_apply_tick(struct namespace *ns, struct apply_result *result)
{
    struct due_list list = {.count = 0};
    struct row_key start = row_key_table(ROW_SESSION_DUE);
    struct row_key end = row_key_u64(ROW_SESSION_DUE, ns->meta.cluster_ms + 1);
    struct kv_range range = {row_key_span(&start), row_key_span(&end), false};
    int r = kv_view_scan(ns->view, &range, pick_due, &list);
    if (r < 0) {
        return ns_broken(ns, r);
    }
    r = 0;
    for (uint32_t i = 0; r == 0 && i < list.count; i++) {
        r = expire_due(ns, &list.rows[i]);
    }
    result->more = list.count == NAMESPACE_TICK_COUNT_MAX;
    return r;
}
