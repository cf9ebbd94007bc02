/* A unary call on the server: unpack, run the steps, pack, send.
 *
 * Two batches: one that ends when the call does, early if the client cancels, and one that sends
 * the answer. A method whose steps all run on the poller needs no news of a cancellation, so both
 * go into one batch there, which saves an event. All events come to the loop's thread, where the
 * call is put back among the spares; between arrival and answer it belongs to whoever runs its
 * step. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/macros.h"
#include "common/rpc/rpc_server_internal.h"

enum {
    SPARE_ARENA_BYTES = 64 * 1024, /* an arena that grew beyond is not kept */
    SPARE_COUNT_MAX = 256,
};

struct rpc_call {
    struct rpc_arrival arrival;
    struct rpc_tag closed; /* recv_close_on_server */
    struct rpc_tag sent;   /* the answer */
    unsigned events;       /* loop's thread: tags still to come */
    int gone;              /* gRPC writes here; not 0: the client left before the answer */
    atomic_bool cancelled; /* the same, for any thread */

    struct arena arena; /* request, reply, state of the steps */
    ProtobufCMessage *request;
    ProtobufCMessage *reply;
    void *state;
    struct err err;
    const char *leader;              /* in the arena, or NULL */
    uint64_t position;               /* 0: none */
    struct rpc_caller_store *caller; /* in the arena, filled at the first question */

    unsigned step;                    /* running, or the next to run */
    unsigned slots[RPC_THREAD_COUNT]; /* reserved and not yet used */
    struct rpc_task task;             /* travels to the step's thread */
    struct rpc_call *next_spare;
    unsigned spare_count; /* in the list from here on */
};

const ProtobufCMessage *rpc_call_request(const struct rpc_call *call)
{
    return call->request;
}

ProtobufCMessage *rpc_call_reply(struct rpc_call *call)
{
    return call->reply;
}

struct arena *rpc_call_arena(struct rpc_call *call)
{
    return &call->arena;
}

struct err *rpc_call_err(struct rpc_call *call)
{
    return &call->err;
}

const struct rpc_caller *rpc_call_caller(struct rpc_call *call)
{
    if (call->caller == NULL) {
        call->caller = arena_alloc(&call->arena, sizeof(*call->caller));
        rpc_caller_fill(call->caller, call->arrival.call, &call->arrival.metadata,
                        call->arrival.deadline);
    }
    return &call->caller->caller;
}

struct rpc_loop *rpc_call_loop(const struct rpc_call *call)
{
    return call->arrival.loop;
}

void rpc_call_set_state(struct rpc_call *call, void *state)
{
    call->state = state;
}

void *rpc_call_state(const struct rpc_call *call)
{
    return call->state;
}

bool rpc_call_is_cancelled(const struct rpc_call *call)
{
    return atomic_load_explicit(&call->cancelled, memory_order_relaxed);
}

void rpc_call_set_leader(struct rpc_call *call, const char *address)
{
    call->leader =
        arena_strndup(&call->arena, address, strnlen(address, LIMIT_ADDRESS_BYTES_MAX - 1));
}

void rpc_call_set_position(struct rpc_call *call, uint64_t position)
{
    call->position = position;
}

/* ---- Life ---- */

static void call_free(struct rpc_call *call)
{
    arena_deinit(&call->arena);
    free(call);
}

void rpc_call_free_spares(struct rpc_call *first)
{
    while (first != NULL) {
        struct rpc_call *next = first->next_spare;
        call_free(first);
        first = next;
    }
}

static void release(struct rpc_call *call)
{
    struct rpc_server *server = call->arrival.server;
    grpc_call_unref(call->arrival.call);
    grpc_metadata_array_destroy(&call->arrival.metadata);
    struct rpc_call **spares = rpc_server_spare_calls(server, call->arrival.loop_index);
    unsigned count = *spares == NULL ? 0 : (*spares)->spare_count;
    if (count >= SPARE_COUNT_MAX || call->arena.bytes_used > SPARE_ARENA_BYTES) {
        call_free(call);
    } else {
        arena_reset(&call->arena);
        call->spare_count = count + 1;
        call->next_spare = *spares;
        *spares = call;
    }
    rpc_server_call_ended(server);
}

static void event(struct rpc_call *call)
{
    if (--call->events == 0) {
        release(call);
    }
}

static void closed_done(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, closed);
    if (!ok || call->gone) {
        atomic_store_explicit(&call->cancelled, true, memory_order_relaxed);
    }
    event(call);
}

static void sent_done(struct rpc_tag *tag, bool ok)
{
    (void)ok; /* nobody is told that an answer did not arrive */
    event(CONTAINER_OF(tag, struct rpc_call, sent));
}

static struct rpc_call *call_new(struct rpc_arrival *arrival)
{
    struct rpc_call **spares = rpc_server_spare_calls(arrival->server, arrival->loop_index);
    struct rpc_call *call = *spares;
    struct arena arena = ARENA_INIT;
    if (call == NULL) {
        call = xmalloc(sizeof(*call));
        arena_init(&arena, 0);
    } else {
        *spares = call->next_spare;
        arena = call->arena;
    }
    *call = (struct rpc_call){.arrival = *arrival, .arena = arena};
    call->closed.done = closed_done;
    call->sent.done = sent_done;
    return call;
}

/* ---- Answer ---- */

static void give_back_slots(struct rpc_call *call)
{
    for (enum rpc_thread thread = RPC_OWNER; thread < RPC_THREAD_COUNT; thread++) {
        if (call->slots[thread] > 0) {
            const struct rpc_executor *executor = rpc_server_executor(call->arrival.server, thread);
            executor->release(executor->ctx, call->slots[thread]);
        }
    }
}

static grpc_op close_op(struct rpc_call *call)
{
    return (grpc_op){.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                     .data.recv_close_on_server.cancelled = &call->gone};
}

/* From here on the call may be gone: the last that its thread does with it. */
static void answer(struct rpc_call *call, int code, const char *text)
{
    grpc_byte_buffer *payload = NULL;
    if (code == 0) {
        grpc_slice packed = rpc_pack(call->reply);
        if (GRPC_SLICE_LENGTH(packed) > call->arrival.row->message_bytes_max) {
            code = ERR_TOO_LARGE;
            text = "reply above the limit for a message";
        } else {
            payload = grpc_raw_byte_buffer_create(&packed, 1);
        }
        grpc_slice_unref(packed);
    }
    struct rpc_trailer trailer;
    rpc_trailer_init(&trailer, code, code == 0 ? "" : text, call->leader);
    if (code < 0 && call->position > 0) {
        rpc_trailer_set_position(&trailer, call->position);
    }
    grpc_op ops[4] = {0};
    size_t count = 0;
    ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (payload != NULL) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = payload;
    }
    rpc_trailer_op(&trailer, &ops[count++]);
    if (call->arrival.row->poller_only) {
        ops[count++] = close_op(call);
    }
    give_back_slots(call);
    rpc_batch(call->arrival.call, ops, count, &call->sent);
    rpc_trailer_deinit(&trailer);
    if (payload != NULL) {
        grpc_byte_buffer_destroy(payload);
    }
}

void rpc_call_finish(struct rpc_call *call, int code, const char *text)
{
    CHECK(code <= 0);
    if (text == NULL) {
        text = call->err.msg[0] != '\0' ? call->err.msg : err_text(code);
    }
    answer(call, code, text);
}

/* ---- Steps ---- */

static const struct rpc_step *step_of(const struct rpc_call *call)
{
    return &call->arrival.row->row->steps[call->step];
}

static void dispatch(struct rpc_call *call);

/* Runs steps for as long as they are this thread's. */
static void run_steps(void *arg)
{
    struct rpc_call *call = arg;
    void *service = call->arrival.row->service;
    for (;;) {
        const struct rpc_step *step = step_of(call);
        call->step++;
        int r = step->fn(call, service);
        if (r == RPC_PENDING) {
            return; /* somebody else's by now */
        }
        if (r < 0 || step_of(call)->thread == RPC_END) {
            rpc_call_finish(call, r, NULL);
            return;
        }
        if (step_of(call)->thread != step->thread) {
            dispatch(call);
            return;
        }
    }
}

/* Sends the call to the thread of its next step. */
static void dispatch(struct rpc_call *call)
{
    enum rpc_thread thread = step_of(call)->thread;
    if (thread == RPC_POLLER) {
        rpc_loop_post(call->arrival.loop, run_steps, call);
        return;
    }
    const struct rpc_executor *executor = rpc_server_executor(call->arrival.server, thread);
    CHECK(call->slots[thread] > 0);
    call->slots[thread]--;
    call->task.fn = run_steps;
    call->task.arg = call;
    executor->submit(executor->ctx, &call->task);
}

void rpc_call_resume(struct rpc_call *call)
{
    if (step_of(call)->thread == RPC_END) {
        rpc_call_finish(call, 0, NULL);
    } else {
        dispatch(call);
    }
}

/* ---- Arrival ---- */

static bool reserve_slots(struct rpc_call *call)
{
    const struct rpc_row *row = call->arrival.row;
    for (enum rpc_thread thread = RPC_OWNER; thread < RPC_THREAD_COUNT; thread++) {
        if (row->uses[thread] == 0) {
            continue;
        }
        const struct rpc_executor *executor = rpc_server_executor(call->arrival.server, thread);
        if (!executor->reserve(executor->ctx, row->uses[thread])) {
            return false;
        }
        call->slots[thread] = row->uses[thread];
    }
    return true;
}

static int read_request(struct rpc_call *call)
{
    const struct rpc_row *row = call->arrival.row;
    grpc_byte_buffer *payload = call->arrival.payload;
    call->arrival.payload = NULL;
    if (payload == NULL) {
        return err_set(&call->err, ERR_INVALID, "the call came without a request");
    }
    size_t length = grpc_byte_buffer_length(payload);
    if (length > row->message_bytes_max) {
        grpc_byte_buffer_destroy(payload);
        return err_set(&call->err, ERR_TOO_LARGE, "request of %zu bytes, limit is %zu", length,
                       row->message_bytes_max);
    }
    int r = rpc_unpack_buffer(row->row->method->request, payload, &call->arena, &call->request);
    return r < 0 ? err_set(&call->err, ERR_INVALID, "the request cannot be decoded") : 0;
}

static ProtobufCMessage *reply_new(struct rpc_call *call)
{
    const ProtobufCMessageDescriptor *type = call->arrival.row->row->method->reply;
    ProtobufCMessage *reply = arena_alloc(&call->arena, type->sizeof_message);
    protobuf_c_message_init(type, reply);
    return reply;
}

void rpc_call_arrived(struct rpc_arrival *arrival)
{
    int refused = rpc_server_call_began(arrival->server);
    if (refused < 0) {
        rpc_arrival_refuse(arrival, refused);
        return;
    }
    struct rpc_call *call = call_new(arrival);
    call->events = 1;
    if (!arrival->row->poller_only) {
        call->events = 2;
        grpc_op op = close_op(call);
        rpc_batch(call->arrival.call, &op, 1, &call->closed);
    }
    int r = read_request(call);
    if (r < 0) {
        rpc_call_finish(call, r, NULL);
        return;
    }
    if (!reserve_slots(call)) {
        rpc_call_finish(call, ERR_BUSY, "too many requests are waiting");
        return;
    }
    call->reply = reply_new(call);
    if (step_of(call)->thread == RPC_POLLER) {
        run_steps(call);
    } else {
        dispatch(call);
    }
}
