/* Unary calls of a client: one batch with all six operations, so one event per call.
 *
 * Whether a failed call was ever sent cannot be learnt from gRPC afterwards: a deadline that passes
 * while it connects looks like one that passes while the server works. So a call is begun only on a
 * connected channel, and waits for that here; what fails before is definite, what fails after is
 * unknown. When the channel cannot connect, a probe of a method that nobody has fetches the reason
 * ("Connection refused", a certificate), which gRPC tells to calls alone. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/macros.h"
#include "common/rpc/rpc_internal.h"

/* gRPC cannot take a watch back: of a cancelled call it stays in the loop for at most so long. */
enum { WATCH_MS = 50 };

struct rpc_pending {
    struct rpc_tag tag; /* of the watch, the probe or the call: one at a time */
    atomic_uint refs;   /* done is still to come; a watch of the channel; the caller's handle */
    struct rpc_loop *loop;
    struct rpc_channel *channel;
    const struct rpc_method *method;
    grpc_call *call;  /* begun or not; so that it can be cancelled from any thread */
    grpc_call *probe; /* or NULL */
    time_ms deadline;
    atomic_bool cancelled;
    bool over; /* loop's thread: done has run, though the watch has not come back */

    rpc_done_fn done;
    void *arg;                 /* for done */
    struct arena own;          /* for the reply, unless the caller brought an arena */
    struct arena *arena;       /* where the reply goes */
    grpc_byte_buffer *request; /* packed; NULL once it was sent */
    grpc_byte_buffer *payload; /* received reply */
    struct rpc_received received;
    struct rpc_result result;
};

static struct rpc_pending *pending_ref(struct rpc_pending *pending)
{
    atomic_fetch_add_explicit(&pending->refs, 1, memory_order_relaxed);
    return pending;
}

void rpc_pending_unref(struct rpc_pending *pending)
{
    if (pending == NULL || atomic_fetch_sub_explicit(&pending->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    if (pending->request != NULL) {
        grpc_byte_buffer_destroy(pending->request);
    }
    if (pending->payload != NULL) {
        grpc_byte_buffer_destroy(pending->payload);
    }
    if (pending->probe != NULL) {
        grpc_call_unref(pending->probe);
    }
    grpc_call_unref(pending->call);
    rpc_received_deinit(&pending->received);
    rpc_channel_unref(pending->channel);
    arena_deinit(&pending->own);
    struct rpc_loop *loop = pending->loop;
    free(pending);
    rpc_loop_release(loop);
}

/* ---- End ---- */

static void finish(struct rpc_pending *pending, const ProtobufCMessage *reply)
{
    pending->over = true;
    pending->done(pending->arg, &pending->result, reply);
    rpc_pending_unref(pending);
}

/* It was not sent. */
static void fail(struct rpc_pending *pending, int code, const char *text)
{
    rpc_result_fail(&pending->result, code, text);
    finish(pending, NULL);
}

/* A reply that cannot be read says nothing about the request: unknown. */
static ProtobufCMessage *read_reply(struct rpc_pending *pending)
{
    struct rpc_result *result = &pending->result;
    ProtobufCMessage *reply = NULL;
    int r = ERR_CORRUPT;
    if (pending->payload != NULL) {
        r = rpc_unpack_buffer(pending->method->reply, pending->payload, pending->arena, &reply);
        pending->payload = NULL;
    }
    if (r < 0) {
        rpc_result_fail(result, ERR_UNKNOWN, "the reply cannot be decoded");
        result->cause = r;
        result->definite = false;
    }
    return reply;
}

static void call_done(struct rpc_tag *tag, bool ok)
{
    (void)ok; /* the status tells all */
    struct rpc_pending *pending = CONTAINER_OF(tag, struct rpc_pending, tag);
    rpc_received_result(&pending->received, &pending->result);
    ProtobufCMessage *reply = pending->result.code == 0 ? read_reply(pending) : NULL;
    finish(pending, reply);
}

/* ---- Call ---- */

/* The ops that receive; ops has room for three. */
static void receive_ops(struct rpc_pending *pending, grpc_op *ops)
{
    ops[0].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[0].data.recv_initial_metadata.recv_initial_metadata = &pending->received.initial;
    ops[1].op = GRPC_OP_RECV_MESSAGE;
    ops[1].data.recv_message.recv_message = &pending->payload;
    ops[2].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[2].data.recv_status_on_client.status = &pending->received.status;
    ops[2].data.recv_status_on_client.status_details = &pending->received.details;
    ops[2].data.recv_status_on_client.trailing_metadata = &pending->received.trailing;
}

/* The pending may be over and gone when this returns. */
static void send_call(struct rpc_pending *pending)
{
    grpc_byte_buffer *request = pending->request;
    pending->request = NULL;
    pending->tag.done = call_done;
    grpc_metadata user;
    grpc_op ops[6] = {0};
    rpc_channel_metadata(pending->channel, &user, &ops[0]);
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = request;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    receive_ops(pending, &ops[3]);
    rpc_batch(pending->call, ops, ARRAY_COUNT(ops), &pending->tag);
    grpc_byte_buffer_destroy(request); /* gRPC has taken the slices out of it */
}

/* ---- Waiting for the connection ---- */

static void begin(struct rpc_pending *pending);

static void probe_done(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_pending *pending = CONTAINER_OF(tag, struct rpc_pending, tag);
    struct rpc_result *result = &pending->result;
    rpc_received_result(&pending->received, result);
    rpc_received_deinit(&pending->received);
    rpc_received_init(&pending->received);
    grpc_call_unref(pending->probe);
    pending->probe = NULL;
    if (result->definite) { /* answered: there is a connection after all */
        begin(pending);
        return;
    }
    result->code = result->cause == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE;
    result->cause = result->code;
    result->definite = true; /* for the call itself was never begun */
    finish(pending, NULL);
}

static void send_probe(struct rpc_pending *pending)
{
    pending->tag.done = probe_done;
    pending->probe = rpc_channel_call(pending->channel, pending->loop, "/none", pending->deadline);
    grpc_op ops[5] = {0};
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[1].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    receive_ops(pending, &ops[2]);
    rpc_batch(pending->probe, ops, ARRAY_COUNT(ops), &pending->tag);
}

static void watch_done(struct rpc_tag *tag, bool ok)
{
    struct rpc_pending *pending = CONTAINER_OF(tag, struct rpc_pending, tag);
    if (!pending->over && (ok || clock_mono_ms() < pending->deadline)) {
        begin(pending);
    } else if (!pending->over) {
        fail(pending, ERR_TIMEOUT, "no connection within the time given");
    }
    rpc_pending_unref(pending); /* NOLINT(clang-analyzer-unix.Malloc): the watch's reference */
}

/* Goes on according to the channel's state. */
static void begin(struct rpc_pending *pending)
{
    grpc_connectivity_state state = rpc_channel_state(pending->channel);
    switch (state) {
    case GRPC_CHANNEL_READY:
        send_call(pending);
        break;
    case GRPC_CHANNEL_IDLE:
    case GRPC_CHANNEL_CONNECTING:
        pending->tag.done = watch_done;
        (void)pending_ref(pending);
        rpc_channel_watch(pending->channel, state,
                          MIN(pending->deadline, clock_mono_ms() + WATCH_MS), pending->loop,
                          &pending->tag);
        break;
    default:
        send_probe(pending);
    }
}

/* Ends a call that waits for its connection; a call that was sent is ended by gRPC. */
static void cancel_on_loop(void *arg)
{
    struct rpc_pending *pending = arg;
    if (!pending->over && pending->tag.done == watch_done) {
        fail(pending, ERR_CANCELLED, "cancelled");
    } else if (pending->probe != NULL) {
        CHECK(grpc_call_cancel(pending->probe, NULL) == GRPC_CALL_OK);
    }
    rpc_pending_unref(pending); /* NOLINT(clang-analyzer-unix.Malloc): the one that came with arg */
}

void rpc_pending_cancel(struct rpc_pending *pending)
{
    CHECK(grpc_call_cancel(pending->call, NULL) == GRPC_CALL_OK);
    if (!atomic_exchange(&pending->cancelled, true)) {
        rpc_loop_post(pending->loop, cancel_on_loop, pending_ref(pending));
    }
}

/* ---- Begin ---- */

/* Where the reply goes and who is told. */
struct reception {
    rpc_done_fn done;
    void *arg;
    struct arena *arena; /* NULL: one of the call's own */
};

static void too_large(void *arg)
{
    fail(arg, ERR_TOO_LARGE, "request above the channel's limit for a message");
}

/* handle: the caller wants a reference. */
static struct rpc_pending *start(struct rpc_loop *loop, const struct rpc_request *request,
                                 const struct reception *to, bool handle)
{
    CHECK(request->method->kind == RPC_UNARY);
    CHECK(request->message->descriptor == request->method->request);
    struct rpc_pending *pending = xcalloc(1, sizeof(*pending));
    atomic_init(&pending->refs, handle ? 2 : 1);
    pending->loop = loop;
    pending->channel = rpc_channel_ref(request->channel);
    pending->method = request->method;
    pending->deadline = request->deadline;
    pending->done = to->done;
    pending->arg = to->arg;
    arena_init(&pending->own, 0);
    pending->arena = to->arena != NULL ? to->arena : &pending->own;
    rpc_received_init(&pending->received);
    rpc_loop_hold(loop);
    pending->call =
        rpc_channel_call(request->channel, loop, request->method->name, request->deadline);
    size_t length = protobuf_c_message_get_packed_size(request->message);
    if (length > rpc_channel_message_bytes_max(request->channel)) {
        rpc_loop_post(loop, too_large, pending);
        return pending;
    }
    grpc_slice packed = rpc_pack(request->message);
    pending->request = grpc_raw_byte_buffer_create(&packed, 1);
    grpc_slice_unref(packed);
    begin(pending);
    return pending;
}

void rpc_call_start(struct rpc_loop *loop, const struct rpc_request *request, rpc_done_fn done,
                    void *arg)
{
    struct reception to = {.done = done, .arg = arg};
    (void)start(loop, request, &to, false);
}

struct rpc_pending *rpc_call_start_cancellable(struct rpc_loop *loop,
                                               const struct rpc_request *request, rpc_done_fn done,
                                               void *arg)
{
    struct reception to = {.done = done, .arg = arg};
    return start(loop, request, &to, true);
}

struct rpc_pending *rpc_call_start_in(struct rpc_loop *loop, const struct rpc_request *request,
                                      struct arena *arena, rpc_done_fn done, void *arg)
{
    struct reception to = {.done = done, .arg = arg, .arena = arena};
    return start(loop, request, &to, true);
}

/* A synchronous call in progress, on its caller's stack. */
struct waiting {
    bool done;
    ProtobufCMessage *reply;
    struct rpc_result *result;
};

static void waiting_done(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    struct waiting *waiting = arg;
    waiting->done = true;
    waiting->reply = (ProtobufCMessage *)reply; /* in the caller's own arena */
    *waiting->result = *result;
}

int rpc_call(struct rpc_loop *loop, const struct rpc_request *request, struct arena *arena,
             ProtobufCMessage **ret_reply, struct rpc_result *ret_result)
{
    CHECK(!rpc_loop_is_stepping(loop));
    struct waiting waiting = {.result = ret_result};
    struct reception to = {.done = waiting_done, .arg = &waiting, .arena = arena};
    (void)start(loop, request, &to, false);
    CHECK(rpc_loop_until(loop, &waiting.done, RPC_NO_DEADLINE)); /* gRPC ends it at the deadline */
    if (ret_result->code == 0) {
        *ret_reply = waiting.reply;
    }
    return ret_result->code;
}
