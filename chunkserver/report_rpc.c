/* See report_rpc.h. */
#include "chunkserver/report_rpc.h"

#include <stdlib.h>

#include "proto/fs.pb-c.h"

#include "chunkserver/methods_rpc.h"
#include "common/alloc.h"
#include "common/arena.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/parse.h"

/* What done needs beyond the plain call. */
struct sent {
    struct report_call call;
};

static struct rpc_pending *start(const struct report_call *call, int method,
                                 const ProtobufCMessage *message, rpc_done_fn done)
{
    struct sent *sent = xmalloc(sizeof(*sent));
    sent->call = *call;
    struct rpc_request request = {
        .channel = call->channel,
        .method = &report_methods[method],
        .message = message,
        .deadline = clock_mono_ms() + REPORT_CALL_MS,
    };
    return rpc_call_start_cancellable(call->loop, &request, done, sent);
}

static void finish(struct sent *sent, const struct report_reply *reply)
{
    struct report_call call = sent->call;
    free(sent);
    call.done(call.arg, reply);
}

static struct report_reply reply_of(const struct rpc_result *result)
{
    return (struct report_reply){.code = result->code, .text = result->text};
}

/* ---- Register ---- */

static void register_done(void *arg, const struct rpc_result *result,
                          const ProtobufCMessage *message)
{
    struct report_reply reply = reply_of(result);
    if (result->code == 0) {
        const Trireme__V1__RegisterReply *wire = (const void *)message;
        struct err e = ERR_INIT;
        reply.server = wire->server;
        reply.term = wire->term;
        reply.code =
            parse_hex(wire->cluster_id, reply.cluster.bytes, sizeof(reply.cluster.bytes), &e);
        if (reply.code == 0 && wire->server == 0) {
            reply.code = ERR_INVALID;
        }
        reply.text = reply.code < 0 ? "a malformed reply to Register" : "";
    }
    finish(arg, &reply);
}

struct rpc_pending *report_send_register(const struct report_call *call,
                                         const struct report_register *r)
{
    char cluster[CLUSTER_ID_TEXT_BYTES] = "";
    if (cluster_id_known(r->cluster)) {
        (void)cluster_id_format(r->cluster, cluster);
    }
    Trireme__V1__RegisterRequest wire = TRIREME__V1__REGISTER_REQUEST__INIT;
    wire.cluster_id = cluster;
    wire.member_key.data = (uint8_t *)r->key.bytes;
    wire.member_key.len = sizeof(r->key.bytes);
    wire.host = (char *)r->host;
    wire.rack = (char *)r->rack;
    wire.address = (char *)r->address;
    wire.local_socket = (char *)r->local_socket;
    wire.start_count = r->start_count;
    wire.wire_version = TRIREME_WIRE_VERSION;
    wire.capacity_bytes = r->capacity_bytes;
    wire.free_bytes = r->free_bytes;
    return start(call, FSMASTER_REGISTER, &wire.base, register_done);
}

/* ---- Heartbeat and pages ---- */

static Trireme__V1__Replica **replicas_pack(struct arena *arena, const struct report_replica *from,
                                            size_t count)
{
    Trireme__V1__Replica **list = arena_calloc(arena, (count + 1) * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        Trireme__V1__Replica *replica = arena_alloc(arena, sizeof(*replica));
        Trireme__V1__ChunkRef *ref = arena_alloc(arena, sizeof(*ref));
        trireme__v1__replica__init(replica);
        trireme__v1__chunk_ref__init(ref);
        ref->id = from[i].ref.id;
        ref->version = from[i].ref.version;
        replica->chunk = ref;
        replica->length = from[i].length;
        replica->sealed = from[i].sealed;
        replica->damaged = from[i].damaged;
        list[i] = replica;
    }
    return list;
}

static void heartbeat_done(void *arg, const struct rpc_result *result,
                           const ProtobufCMessage *message)
{
    struct report_reply reply = reply_of(result);
    if (result->code == 0) {
        const Trireme__V1__HeartbeatReply *wire = (const void *)message;
        reply.register_again = wire->register_again;
        reply.report_again = wire->report_again;
        reply.term = wire->term;
    }
    finish(arg, &reply);
}

struct rpc_pending *report_send_heartbeat(const struct report_call *call,
                                          const struct report_heartbeat *h)
{
    struct arena arena = ARENA_INIT;
    Trireme__V1__HeartbeatRequest wire = TRIREME__V1__HEARTBEAT_REQUEST__INIT;
    wire.server = h->server;
    wire.start_count = h->start_count;
    wire.capacity_bytes = h->capacity_bytes;
    wire.free_bytes = h->free_bytes;
    wire.chunk_count = h->chunk_count;
    wire.used_bytes = h->used_bytes;
    wire.sequence = h->sequence;
    wire.streams = h->streams;
    wire.term = h->term;
    wire.n_failed_disks = h->failed_disk_count;
    wire.failed_disks = (char **)h->failed_disks;
    wire.n_changed = h->changed_count;
    wire.changed = replicas_pack(&arena, h->changed, h->changed_count);
    wire.n_removed = h->removed_count;
    wire.removed = arena_calloc(&arena, (h->removed_count + 1) * sizeof(*wire.removed));
    for (size_t i = 0; i < h->removed_count; i++) {
        Trireme__V1__ChunkRef *ref = arena_alloc(&arena, sizeof(*ref));
        trireme__v1__chunk_ref__init(ref);
        ref->id = h->removed[i].id;
        ref->version = h->removed[i].version;
        wire.removed[i] = ref;
    }
    struct rpc_pending *pending = start(call, FSMASTER_HEARTBEAT, &wire.base, heartbeat_done);
    arena_deinit(&arena);
    return pending;
}

static void page_done(void *arg, const struct rpc_result *result, const ProtobufCMessage *message)
{
    (void)message;
    struct report_reply reply = reply_of(result);
    finish(arg, &reply);
}

struct rpc_pending *report_send_page(const struct report_call *call, const struct report_page *p)
{
    struct arena arena = ARENA_INIT;
    Trireme__V1__ReportChunksRequest wire = TRIREME__V1__REPORT_CHUNKS_REQUEST__INIT;
    wire.server = p->server;
    wire.start_count = p->start_count;
    wire.n_replicas = p->replica_count;
    wire.replicas = replicas_pack(&arena, p->replicas, p->replica_count);
    wire.first = p->first;
    wire.last = p->last;
    struct rpc_pending *pending = start(call, FSMASTER_REPORT_CHUNKS, &wire.base, page_done);
    arena_deinit(&arena);
    return pending;
}
