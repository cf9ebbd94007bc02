/* See chunk_rpc.h. A call is packed and sent by the owner's thread; its answer is turned into plain
 * fields on the poller and comes home as a mail. */
#include <stdlib.h>
#include <string.h>

#include <proto/chunk.pb-c.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/macros.h"
#include "common/rpc/rpc.h"
#include "fsmaster/chunk_rpc.h"

static const struct rpc_method methods[] = {
    [CHUNK_CALL_FENCE] = {"/trireme.v1.Chunkserver/Fence", RPC_UNARY,
                          &trireme__v1__fence_request__descriptor,
                          &trireme__v1__fence_reply__descriptor},
    [CHUNK_CALL_SEAL] = {"/trireme.v1.Chunkserver/SealReplica", RPC_UNARY,
                         &trireme__v1__seal_replica_request__descriptor,
                         &trireme__v1__seal_replica_reply__descriptor},
    [CHUNK_CALL_DELETE] = {"/trireme.v1.Chunkserver/DeleteChunks", RPC_UNARY,
                           &trireme__v1__delete_chunks_request__descriptor,
                           &trireme__v1__delete_chunks_reply__descriptor},
    [CHUNK_CALL_COPY] = {"/trireme.v1.Chunkserver/CopyChunk", RPC_UNARY,
                         &trireme__v1__copy_chunk_request__descriptor,
                         &trireme__v1__copy_chunk_reply__descriptor},
};

struct chunk_call *chunk_call_new(enum chunk_call_kind kind)
{
    struct chunk_call *call = xcalloc(1, sizeof(*call));
    call->kind = kind;
    call->text = "";
    list_init(&call->link);
    arena_init(&call->arena, 0);
    return call;
}

void chunk_call_free(struct chunk_call *call)
{
    if (call) {
        rpc_pending_unref(call->pending);
        arena_deinit(&call->arena);
        free(call);
    }
}

/* ---- Questions ------------------------------------------------------------------------------ */

static Trireme__V1__ChunkRef *ref_message(struct arena *arena, struct chunk_ref ref)
{
    Trireme__V1__ChunkRef *message = arena_alloc(arena, sizeof(*message));
    trireme__v1__chunk_ref__init(message);
    message->id = ref.id;
    message->version = ref.version;
    return message;
}

static Trireme__V1__Server *server_message(struct arena *arena, const struct server_record *server)
{
    Trireme__V1__Server *message = arena_alloc(arena, sizeof(*message));
    trireme__v1__server__init(message);
    message->id = server->id;
    message->host = (char *)server->host;
    message->rack = (char *)server->rack;
    message->address = (char *)server->address;
    message->local_socket = (char *)server->local_socket;
    return message;
}

static ProtobufCMessage *fence_question(struct chunk_call *call)
{
    Trireme__V1__FenceRequest *q = arena_alloc(&call->arena, sizeof(*q));
    trireme__v1__fence_request__init(q);
    q->term = call->term;
    q->cluster_id = (char *)call->cluster_id;
    q->chunk = ref_message(&call->arena, call->chunk);
    q->new_version = call->new_version;
    return &q->base;
}

static ProtobufCMessage *seal_question(struct chunk_call *call)
{
    Trireme__V1__SealReplicaRequest *q = arena_alloc(&call->arena, sizeof(*q));
    trireme__v1__seal_replica_request__init(q);
    q->term = call->term;
    q->cluster_id = (char *)call->cluster_id;
    q->chunk = ref_message(&call->arena, call->chunk);
    q->length = call->length;
    q->fenced_version = call->fenced_version;
    return &q->base;
}

static ProtobufCMessage *delete_question(struct chunk_call *call)
{
    Trireme__V1__DeleteChunksRequest *q = arena_alloc(&call->arena, sizeof(*q));
    trireme__v1__delete_chunks_request__init(q);
    q->term = call->term;
    q->cluster_id = (char *)call->cluster_id;
    q->n_items = call->item_count;
    q->items = arena_alloc(&call->arena, call->item_count * sizeof(*q->items));
    for (size_t i = 0; i < call->item_count; i++) {
        Trireme__V1__DeleteChunksRequest__Item *item = arena_alloc(&call->arena, sizeof(*item));
        trireme__v1__delete_chunks_request__item__init(item);
        item->chunk = ref_message(&call->arena, call->items[i].chunk);
        item->copies_left = call->items[i].copies_left;
        q->items[i] = item;
    }
    return &q->base;
}

static ProtobufCMessage *copy_question(struct chunk_call *call)
{
    Trireme__V1__CopyChunkRequest *q = arena_alloc(&call->arena, sizeof(*q));
    trireme__v1__copy_chunk_request__init(q);
    q->term = call->term;
    q->cluster_id = (char *)call->cluster_id;
    q->chunk = ref_message(&call->arena, call->chunk);
    q->length = call->length;
    q->chunk_bytes = call->chunk_bytes;
    q->n_sources = call->source_count;
    q->sources = arena_alloc(&call->arena, call->source_count * sizeof(*q->sources));
    for (size_t i = 0; i < call->source_count; i++) {
        q->sources[i] = server_message(&call->arena, &call->sources[i]);
    }
    return &q->base;
}

static ProtobufCMessage *question_of(struct chunk_call *call)
{
    switch (call->kind) {
    case CHUNK_CALL_FENCE:
        return fence_question(call);
    case CHUNK_CALL_SEAL:
        return seal_question(call);
    case CHUNK_CALL_DELETE:
        return delete_question(call);
    case CHUNK_CALL_COPY:
        return copy_question(call);
    }
    return NULL;
}

/* ---- Answers -------------------------------------------------------------------------------- */

static void take_deleted(struct chunk_call *call, const Trireme__V1__DeleteChunksReply *a)
{
    struct chunk_ref *deleted = arena_alloc(&call->arena, a->n_deleted * sizeof(*deleted));
    for (size_t i = 0; i < a->n_deleted; i++) {
        deleted[i] = (struct chunk_ref){a->deleted[i]->id, a->deleted[i]->version};
    }
    call->deleted = deleted;
    call->deleted_count = a->n_deleted;
}

static void take_answer(struct chunk_call *call, const ProtobufCMessage *message)
{
    switch (call->kind) {
    case CHUNK_CALL_FENCE: {
        const Trireme__V1__FenceReply *a = (const Trireme__V1__FenceReply *)message;
        call->found = a->found;
        call->clean = a->clean;
        call->start_count = a->start_count;
        call->disk_failed = a->disk_failed;
        call->held = a->length;
        break;
    }
    case CHUNK_CALL_SEAL:
        call->kept = ((const Trireme__V1__SealReplicaReply *)message)->kept;
        break;
    case CHUNK_CALL_DELETE:
        take_deleted(call, (const Trireme__V1__DeleteChunksReply *)message);
        break;
    case CHUNK_CALL_COPY:
        break;
    }
}

static void come_home(struct mail *mail)
{
    struct chunk_call *call = CONTAINER_OF(mail, struct chunk_call, mail);
    list_remove(&call->link);
    call->done(call);
}

static void answered_on_poller(void *arg, const struct rpc_result *result,
                               const ProtobufCMessage *reply)
{
    struct chunk_call *call = arg;
    call->code = result->code;
    if (reply) {
        take_answer(call, reply);
    } else {
        call->text = arena_strdup(&call->arena, result->text);
    }
    mailbox_post_reserved(call->home, &call->mail);
}

void chunk_call_start(struct chunk_call *call, struct chunk_caller *caller)
{
    struct rpc_channel *channel = NULL;
    struct err e = ERR_INIT;
    call->home = caller->home;
    call->mail.handle = come_home;
    list_push_back(&caller->calls, &call->link);
    CHECK(mailbox_reserve(caller->home) == 0);
    int r = call->address[0] ? rpc_pool_get(caller->pool, call->address, RPC_CONTROL, &channel, &e)
                             : err_set(&e, ERR_UNAVAILABLE, "no such chunkserver is registered");
    if (r < 0) {
        call->code = r;
        call->text = arena_strdup(&call->arena, err_message(&e));
        mailbox_post_reserved(call->home, &call->mail);
        return;
    }
    struct rpc_request request = {.channel = channel,
                                  .method = &methods[call->kind],
                                  .message = question_of(call),
                                  .deadline = clock_mono_ms() + call->timeout_ms};
    /* The answer comes home as a mail, so the handle is ours before it can be used. */
    call->pending = rpc_call_start_cancellable(caller->loop, &request, answered_on_poller, call);
    rpc_channel_unref(channel);
}

void chunk_calls_cancel(struct chunk_caller *caller)
{
    LIST_FOR_EACH(node, &caller->calls)
    {
        struct chunk_call *call = LIST_ENTRY(node, struct chunk_call, link);
        if (call->pending) {
            rpc_pending_cancel(call->pending);
        }
    }
}
