/* Entries that this member proposes: what the server itself wants, and what clients ask. A client's
 * request is one entry; if it allocates chunks, servers are chosen first, which may have to wait
 * for enough of them to be there. */
#include <inttypes.h>
#include <string.h>

#include "common/arena.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/command_rpc.h"
#include "fsmaster/placement.h"
#include "fsmaster/server_internal.h"

/* ---- Commands ------------------------------------------------------------------------------- */

static void command_applied(struct proposal *p, int code, const void *result)
{
    struct command *c = CONTAINER_OF(p, struct command, proposal);
    c->done(c, code, result);
}

void command_propose(struct command *c, struct server *s, struct command_entry *entry,
                     void (*done)(struct command *, int, const struct apply_result *))
{
    struct arena arena = ARENA_INIT;
    struct err e = ERR_INIT;
    entry->cluster_ms = server_cluster_now(s);
    entry->wall_ms = clock_wall_ms();
    if (!entry->caller.user) {
        entry->caller.user = "";
    }
    c->server = s;
    c->done = done;
    buf_init(&c->bytes);
    int r = command_encode(entry, &arena, &c->bytes, &e);
    arena_deinit(&arena);
    c->proposal = (struct proposal){.done = command_applied};
    if (r < 0) {
        /* Consensus refuses what is too large, and answers when the proposer is ready for it. */
        buf_clear(&c->bytes);
        buf_append_fill(&c->bytes, 0, LOG_ENTRY_BYTES_MAX + 1);
    }
    c->proposal.bytes = (struct span){c->bytes.data, c->bytes.length};
    consensus_propose(s->consensus, &c->proposal);
}

void command_deinit(struct command *c)
{
    buf_deinit(&c->bytes);
}

/* ---- Audit ---------------------------------------------------------------------------------- */

static const char *const operation_names[] = {
    [OPERATION_NONE] = "unknown",
    [OPERATION_MKDIR] = "mkdir",
    [OPERATION_CREATE] = "create",
    [OPERATION_ACQUIRE_LEASE] = "acquire_lease",
    [OPERATION_ALLOCATE] = "allocate",
    [OPERATION_SEAL_CHUNK] = "seal_chunk",
    [OPERATION_ABANDON_CHUNK] = "abandon_chunk",
    [OPERATION_CLOSE] = "close",
    [OPERATION_ABANDON] = "abandon",
    [OPERATION_RENAME] = "rename",
    [OPERATION_DELETE] = "delete",
    [OPERATION_SET_ATTRIBUTES] = "set_attributes",
    [OPERATION_RAISE_FENCE] = "raise_fence",
    [OPERATION_SET_QUOTA] = "set_quota",
    [OPERATION_SET_XATTR] = "set_xattr",
};

/* The path that an operation changes, and the second one of a rename; "" for those that change no
 * name. */
static const char *path_of(const struct operation *op, const char **ret_target)
{
    *ret_target = "";
    switch (op->kind) {
    case OPERATION_MKDIR:
        return op->mkdir.path;
    case OPERATION_CREATE:
        return op->create.path;
    case OPERATION_ACQUIRE_LEASE:
        return op->acquire_lease.path;
    case OPERATION_CLOSE:
        return op->close.link_path;
    case OPERATION_RENAME:
        *ret_target = op->rename.target;
        return op->rename.source;
    case OPERATION_DELETE:
        return op->delete_.path;
    case OPERATION_SET_ATTRIBUTES:
        return op->set_attributes.path;
    case OPERATION_RAISE_FENCE:
        return op->raise_fence.name;
    case OPERATION_SET_QUOTA:
        return op->set_quota.path;
    case OPERATION_SET_XATTR:
        return op->set_xattr.path;
    default:
        return "";
    }
}

static void audit(const struct mutate *m, const struct operation *op,
                  const struct op_result *result)
{
    const char *target;
    const char *path = path_of(op, &target);
    bool denied = result->code == ERR_PERMISSION;
    if ((path[0] == '\0' && !denied) || result->repeated ||
        (result->code != 0 && !denied && op->kind != OPERATION_RAISE_FENCE)) {
        return;
    }
    log_info("audit", "%s user=%s from=%s op=%s inode=%" PRIu64 " path=%s%s%s",
             denied ? "denied" : "done", m->caller.user, rpc_call_caller(m->call)->address,
             operation_names[op->kind], result->inode, path, target[0] ? " target=" : "", target);
}

static void count_results(const struct mutate *m, const struct apply_result *result)
{
    struct server *s = m->server;
    bool audited = s->options.audit && log_enabled(LOG_LEVEL_INFO);
    for (uint32_t i = 0; i < result->result_count && i < m->request.operation_count; i++) {
        const struct operation *op = &m->request.operations[i];
        counter_add(s->metrics.operations[op->kind], 1);
        if (result->results[i].code < 0) {
            counter_add(s->metrics.operation_errors, 1);
        }
        if (audited) {
            audit(m, op, &result->results[i]);
        }
    }
}

/* ---- Clients' requests ---------------------------------------------------------------------- */

static void mutate_finish(struct mutate *m, int code, const char *text)
{
    struct server *s = m->server;
    s->mutates--;
    if (code == ERR_NOT_LEADER) {
        rpc_call_set_leader(m->call, s->status.leader);
    }
    histogram_observe(s->metrics.mutate, clock_mono_us() - m->begun_us);
    command_deinit(&m->command);
    rpc_call_finish(m->call, code, text);
}

static void mutate_applied(struct command *c, int code, const struct apply_result *result)
{
    struct mutate *m = CONTAINER_OF(c, struct mutate, command);
    if (code == 0) {
        count_results(m, result);
        code = result->code;
    }
    if (code == 0) {
        command_to_reply(result, c->server->totals.applied.index, rpc_call_arena(m->call),
                         rpc_call_reply(m->call));
    }
    mutate_finish(m, code, NULL);
}

static void mutate_propose(struct mutate *m)
{
    struct command_entry entry = {.kind = ENTRY_MUTATE, .caller = m->caller, .mutate = m->request};
    command_propose(&m->command, m->server, &entry, mutate_applied);
}

/* What a client asks the leader to choose servers for. */
struct wish {
    uint32_t copies; /* 0: the default */
    const char *writer_host;
    const server_id *exclude;
    uint32_t exclude_count;
};

/* Chooses servers for one chunk. False: too few. */
static bool place(struct mutate *m, const struct wish *wish, const server_id **ret_servers,
                  uint32_t *ret_count)
{
    struct server *s = m->server;
    server_id chosen[CHUNK_REPLICAS_MAX];
    uint32_t wanted = wish->copies ? wish->copies : s->totals.default_replication;
    struct placement_request request = {
        .wanted = MIN(MAX(wanted, 1U), (uint32_t)CHUNK_REPLICAS_MAX),
        .writer_host = chunkservers_host(s->servers, wish->writer_host),
        .chunk_bytes = CHUNK_BYTES_DEFAULT,
        .exclude = wish->exclude,
        .exclude_count = wish->exclude_count,
    };
    request.servers = chunkservers_candidates(s->servers, &request.server_count);
    uint32_t count = placement_choose(&request, &s->rng, chosen);
    if (count < MIN(request.wanted, (uint32_t)CHUNK_WRITE_REPLICAS_MIN)) {
        return false;
    }
    *ret_servers = arena_copy(rpc_call_arena(m->call), chosen, count * sizeof(chosen[0]));
    *ret_count = count;
    for (uint32_t i = 0; i < count; i++) {
        /* Counted now and not at apply, so that a burst of allocations spreads. */
        chunkservers_find(s->servers, chosen[i])->allocated++;
    }
    return true;
}

/* False: too few servers, it should wait. */
static bool place_allocation(struct mutate *m, struct op_allocate *op)
{
    struct wish wish = {.copies = lease_table_copies(m->server->leases, op->inode),
                        .writer_host = op->writer_host,
                        .exclude = op->exclude,
                        .exclude_count = op->exclude_count};
    return op->server_count > 0 || place(m, &wish, &op->servers, &op->server_count);
}

/* A file is made without waiting for anything: with too few servers it has no chunk yet. */
static void place_first_chunk(struct mutate *m, struct op_create *op)
{
    struct wish wish = {.copies = op->replication, .writer_host = op->writer_host};
    if (op->first_chunk && op->server_count == 0) {
        (void)place(m, &wish, &op->servers, &op->server_count);
    }
}

/* False: some allocation has too few servers. */
static bool place_all(struct mutate *m)
{
    /* Decoded for us alone (command_rpc.h): const in the plain struct, ours to complete. */
    struct operation *operations = (struct operation *)m->request.operations;
    for (uint32_t i = 0; i < m->request.operation_count; i++) {
        struct operation *op = &operations[i];
        if (op->kind == OPERATION_CREATE) {
            place_first_chunk(m, &op->create);
        } else if (op->kind == OPERATION_ALLOCATE && !place_allocation(m, &op->allocate)) {
            return false;
        }
    }
    return true;
}

/* A writer that works is a writer that lives. */
static void renew_leases(const struct mutate *m, time_ms now)
{
    for (uint32_t i = 0; i < m->request.operation_count; i++) {
        const struct operation *op = &m->request.operations[i];
        if (op->kind == OPERATION_ALLOCATE) {
            (void)lease_table_renew(m->server->leases, op->allocate.inode, op->allocate.lease_epoch,
                                    now);
        }
    }
}

void mutate_start(struct mutate *m)
{
    struct server *s = m->server;
    time_ms now = clock_mono_ms();
    s->mutates++;
    m->begun_us = clock_mono_us();
    buf_init(&m->command.bytes);
    list_init(&m->link);
    if (!s->status.is_leader || s->stopping) {
        mutate_finish(m, ERR_NOT_LEADER, NULL);
        return;
    }
    renew_leases(m, now);
    if (place_all(m)) {
        mutate_propose(m);
        return;
    }
    m->give_up_ms = now + ALLOCATE_WAIT_MS;
    list_push_back(&s->allocations, &m->link);
    log_info("placement", "an allocation waits for servers live=%" PRIu32 " least=%d user=%s",
             chunkservers_live_count(s->servers), CHUNK_WRITE_REPLICAS_MIN, m->caller.user);
}

void mutates_retry(struct server *s, time_ms now)
{
    LIST_FOR_EACH_SAFE(node, &s->allocations)
    {
        struct mutate *m = LIST_ENTRY(node, struct mutate, link);
        bool over = now >= m->give_up_ms || s->stopping || !s->status.is_leader ||
                    rpc_call_is_cancelled(m->call);
        if (!place_all(m) && !over) {
            renew_leases(m, now); /* it waits for us */
            continue;
        }
        /* Without servers apply answers ERR_FEW_SERVERS, in the session like any other result. */
        list_remove(&m->link);
        mutate_propose(m);
    }
}
