/* What chunkservers say of themselves: that they are there, how they are, and which chunks they
 * have. All of it is the owner's, and soft, but for the entry that gives a server its number. */
#include <inttypes.h>
#include <string.h>

#include <proto/fs.pb-c.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "fsmaster/server_internal.h"

static int not_leader(struct rpc_call *call, const struct server *s)
{
    rpc_call_set_leader(call, s->status.leader);
    return ERR_NOT_LEADER;
}

/* ---- Registration --------------------------------------------------------------------------- */

struct registration {
    struct command command;
    struct rpc_call *call;
    struct member_key key;
};

static void register_answer(struct rpc_call *call, struct server *s, struct chunkserver *server)
{
    const Trireme__V1__RegisterRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__RegisterReply *a = (void *)rpc_call_reply(call);
    struct chunkserver_load load = {.capacity_bytes = q->capacity_bytes,
                                    .free_bytes = q->free_bytes};
    if (!server->joined || server->start_count != q->start_count) {
        server->trusted_from = s->totals.next_chunk;
    }
    bool found = chunkservers_join(s->servers, server, q->start_count, clock_mono_ms());
    chunkserver_set_load(server, &load);
    if (found) {
        care_server_found(s, server);
    }
    log_info("fsmaster",
             "chunkserver joined server=%" PRIu64 " host=%s rack=%s address=%s start=%" PRIu64,
             server->record.id, server->record.host, server->record.rack, server->record.address,
             q->start_count);
    a->cluster_id = arena_strdup(rpc_call_arena(call), s->totals.cluster_id);
    a->server = server->record.id;
    a->term = s->status.term;
}

static void registered(struct command *c, int code, const struct apply_result *result)
{
    struct registration *r = CONTAINER_OF(c, struct registration, command);
    struct rpc_call *call = r->call;
    const char *text = NULL;
    command_deinit(c);
    if (code == 0) {
        code = result->code;
        text = code < 0 ? result->text : NULL;
    }
    if (code == 0) {
        register_answer(call, c->server, chunkservers_find_key(c->server->servers, r->key));
    }
    rpc_call_finish(call, code, text);
}

static int register_check(struct rpc_call *call, const struct server *s)
{
    const Trireme__V1__RegisterRequest *q = (const void *)rpc_call_request(call);
    if (s->totals.cluster_id[0] == '\0') {
        return not_leader(call, s);
    }
    if (q->cluster_id[0] && strcmp(q->cluster_id, s->totals.cluster_id) != 0) {
        return err_set(rpc_call_err(call), ERR_WRONG_CLUSTER,
                       "chunkserver %s belongs to cluster %s, this is %s", q->address,
                       q->cluster_id, s->totals.cluster_id);
    }
    if (q->wire_version != TRIREME_WIRE_VERSION) {
        return err_set(rpc_call_err(call), ERR_VERSION,
                       "chunkserver %s speaks wire version %" PRIu32 ", this master %d", q->address,
                       q->wire_version, TRIREME_WIRE_VERSION);
    }
    if (q->member_key.len != sizeof(struct member_key) || !q->address[0] || !q->host[0]) {
        return err_set(rpc_call_err(call), ERR_INVALID,
                       "a registration needs key, host and address");
    }
    return 0;
}

static bool is_unchanged(const struct chunkserver *server, const Trireme__V1__RegisterRequest *q)
{
    return strcmp(server->record.host, q->host) == 0 && strcmp(server->record.rack, q->rack) == 0 &&
           strcmp(server->record.address, q->address) == 0 &&
           strcmp(server->record.local_socket, q->local_socket) == 0;
}

static int register_server(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__RegisterRequest *q = (const void *)rpc_call_request(call);
    int r = register_check(call, s);
    if (r < 0) {
        return r;
    }
    struct registration *registration = arena_calloc(rpc_call_arena(call), sizeof(*registration));
    memcpy(registration->key.bytes, q->member_key.data, sizeof(registration->key.bytes));
    struct chunkserver *server = chunkservers_find_key(s->servers, registration->key);
    if (server && server->joined && server->state == CHUNKSERVER_LIVE &&
        q->start_count < server->start_count) {
        return err_set(rpc_call_err(call), ERR_STALE,
                       "chunkserver %" PRIu64 " has registered in a later start: is its data "
                       "directory in use twice?",
                       server->record.id);
    }
    if (server && is_unchanged(server, q)) {
        register_answer(call, s, server);
        return 0;
    }
    if (!s->status.is_leader) {
        return not_leader(call, s);
    }
    registration->call = call;
    struct command_entry entry = {.kind = ENTRY_REGISTER_SERVER,
                                  .register_server = {.key = registration->key,
                                                      .host = q->host,
                                                      .rack = q->rack,
                                                      .address = q->address,
                                                      .local_socket = q->local_socket}};
    command_propose(&registration->command, s, &entry, registered);
    return RPC_PENDING;
}

/* ---- Heartbeats and reports ----------------------------------------------------------------- */

static void take_replicas(struct server *s, server_id server, Trireme__V1__Replica **replicas,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!replicas[i]->chunk) {
            continue;
        }
        struct location_report taken = {
            .chunk = {replicas[i]->chunk->id, replicas[i]->chunk->version},
            .length = replicas[i]->length,
            .sealed = replicas[i]->sealed,
            .damaged = replicas[i]->damaged,
        };
        if (locations_report(s->locations, server, &taken) < 0) {
            log_warning("fsmaster",
                        "impossible replica reported server=%" PRIu64 " chunk=%" PRIu64
                        " version=%" PRIu64 " length=%" PRIu64,
                        server, taken.chunk.id, taken.chunk.version, taken.length);
        }
    }
}

static int hear(struct server *s, server_id id, uint64_t start_count, struct chunkserver **ret)
{
    bool revived = false;
    int r = chunkservers_hear(s->servers, id, start_count, clock_mono_ms(), ret, &revived);
    if (r == 0 && revived) {
        log_info("fsmaster", "chunkserver heard again server=%" PRIu64, id);
        care_server_found(s, *ret);
    }
    return r;
}

static int heartbeat(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__HeartbeatRequest *q = (const void *)rpc_call_request(call);
    Trireme__V1__HeartbeatReply *a = (void *)rpc_call_reply(call);
    struct chunkserver *server = NULL;
    a->term = s->status.term;
    int r = hear(s, q->server, q->start_count, &server);
    if (r == ERR_NOT_FOUND) {
        a->register_again = true;
        return 0;
    }
    if (r < 0 || q->sequence < server->sequence) {
        return ERR_STALE;
    }
    server->sequence = q->sequence;
    struct chunkserver_load load = {.capacity_bytes = q->capacity_bytes,
                                    .free_bytes = q->free_bytes,
                                    .used_bytes = q->used_bytes,
                                    .chunk_count = q->chunk_count,
                                    .streams = q->streams};
    chunkserver_set_load(server, &load);
    if (q->n_failed_disks <= DISK_COUNT_MAX &&
        chunkserver_set_failed_disks(server, q->failed_disks, q->n_failed_disks)) {
        log_warning("fsmaster", "chunkserver has lost a disk server=%" PRIu64 " disks=%zu: %s",
                    q->server, q->n_failed_disks, q->failed_disks[q->n_failed_disks - 1]);
    }
    take_replicas(s, q->server, q->changed, q->n_changed);
    for (size_t i = 0; i < q->n_removed; i++) {
        locations_remove(s->locations, q->server, q->removed[i]->id);
    }
    a->report_again = !server->reported && !server->listing;
    return 0;
}

static int report_chunks(struct rpc_call *call, void *service)
{
    struct server *s = service;
    const Trireme__V1__ReportChunksRequest *q = (const void *)rpc_call_request(call);
    struct chunkserver *server = NULL;
    int r = hear(s, q->server, q->start_count, &server);
    if (r < 0) {
        return r == ERR_NOT_FOUND ? err_set(rpc_call_err(call), r, "register first") : r;
    }
    if (q->n_replicas > REPORT_PAGE_COUNT_MAX) {
        return ERR_TOO_LARGE;
    }
    if (q->first) {
        server->listing = true;
        locations_report_begin(s->locations, q->server);
    } else if (!server->listing) {
        return err_set(rpc_call_err(call), ERR_STALE, "a report begins with its first page");
    }
    take_replicas(s, q->server, q->replicas, q->n_replicas);
    if (q->last) {
        server->listing = false;
        server->reported = true;
        leaving_restart(s->leaving);
        locations_report_end(s->locations, q->server);
        if (chunkservers_all_reported(s->servers)) {
            locations_sweep_again(s->locations); /* what could not be judged before */
            repair_queue_hurry(s->repair);
        }
    }
    return 0;
}

/* ---- The table ------------------------------------------------------------------------------ */

static const struct rpc_method method_register = {"/trireme.v1.FsMaster/RegisterServer", RPC_UNARY,
                                                  &trireme__v1__register_request__descriptor,
                                                  &trireme__v1__register_reply__descriptor};
static const struct rpc_method method_heartbeat = {"/trireme.v1.FsMaster/Heartbeat", RPC_UNARY,
                                                   &trireme__v1__heartbeat_request__descriptor,
                                                   &trireme__v1__heartbeat_reply__descriptor};
static const struct rpc_method method_report_chunks = {
    "/trireme.v1.FsMaster/ReportChunks", RPC_UNARY, &trireme__v1__report_chunks_request__descriptor,
    &trireme__v1__report_chunks_reply__descriptor};

const struct rpc_service_row chunkservers_service[] = {
    {&method_register, .steps = {{RPC_OWNER, register_server}}},
    {&method_heartbeat, .steps = {{RPC_OWNER, heartbeat}}},
    {&method_report_chunks, .steps = {{RPC_OWNER, report_chunks}}},
    {NULL},
};
