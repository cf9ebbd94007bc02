/* ClientStream counts, ServerStream sends as fast as the connection takes it, Bidi relays each
 * message by reference and reads no faster than it writes. */
#include "tests/lib/echo_rpc.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/check.h"
#include "proto/echo.pb-c.h"

const struct rpc_method echo_unary = {"/trireme.v1.Echo/Unary", RPC_UNARY,
                                      &trireme__v1__echo_request__descriptor,
                                      &trireme__v1__echo_reply__descriptor};
const struct rpc_method echo_client_stream = {"/trireme.v1.Echo/ClientStream", RPC_CLIENT_STREAM,
                                              &trireme__v1__echo_message__descriptor,
                                              &trireme__v1__echo_reply__descriptor};
const struct rpc_method echo_server_stream = {"/trireme.v1.Echo/ServerStream", RPC_SERVER_STREAM,
                                              &trireme__v1__echo_request__descriptor,
                                              &trireme__v1__echo_message__descriptor};
const struct rpc_method echo_bidi = {"/trireme.v1.Echo/Bidi", RPC_BIDI,
                                     &trireme__v1__echo_message__descriptor,
                                     &trireme__v1__echo_message__descriptor};

const struct rpc_service_row echo_rows[] = {
    {.method = &echo_unary, .steps = {{RPC_POLLER, echo_unary_step}}},
    {.method = &echo_client_stream,
     .stream = &echo_client_stream_ops,
     .message_bytes_max = RPC_BULK_MESSAGE_BYTES_MAX},
    {.method = &echo_server_stream, .stream = &echo_server_stream_ops},
    {.method = &echo_bidi,
     .stream = &echo_bidi_ops,
     .message_bytes_max = RPC_BULK_MESSAGE_BYTES_MAX},
    {.method = NULL},
};

/* ---- Unary ---- */

static void delay_over(void *arg)
{
    rpc_call_resume(arg);
}

int echo_unary_step(struct rpc_call *call, void *service)
{
    (void)service;
    const Trireme__V1__EchoRequest *request = (const void *)rpc_call_request(call);
    Trireme__V1__EchoReply *reply = (void *)rpc_call_reply(call);
    struct arena *arena = rpc_call_arena(call);
    if (request->error_name[0] != '\0') {
        rpc_call_set_leader(call, request->leader);
        return err_set(rpc_call_err(call), err_from_name(request->error_name), "%s", request->text);
    }
    reply->text = request->text;
    if (strcmp(request->text, "who") == 0) {
        reply->user = arena_strdup(arena, rpc_call_caller(call)->user);
        reply->authenticated = rpc_call_caller(call)->authenticated;
    }
    if (request->data_bytes > 0) {
        reply->data.len = request->data_bytes;
        reply->data.data = arena_calloc(arena, request->data_bytes);
    }
    if (request->delay_ms > 0) {
        struct rpc_timer *timer = arena_calloc(arena, sizeof(*timer));
        rpc_timer_set(rpc_call_loop(call), timer, clock_mono_ms() + request->delay_ms, delay_over,
                      call);
        return RPC_PENDING;
    }
    return 0;
}

/* ---- ClientStream ---- */

struct counter {
    uint64_t count;
    uint64_t bytes;
};

static void counter_open(struct rpc_stream *stream)
{
    rpc_stream_set_state(stream, xcalloc(1, sizeof(struct counter)));
    rpc_stream_read(stream);
}

/* The error that a message's header asks for, 0 for none, or that of a bad message. */
static int header_error(const struct rpc_data_message *message)
{
    struct arena arena;
    ProtobufCMessage *header = NULL;
    arena_init(&arena, 0);
    int r = rpc_unpack(&trireme__v1__echo_header__descriptor, message->header, &arena, &header);
    if (r == 0) {
        const char *name = ((Trireme__V1__EchoHeader *)header)->error_name;
        r = name[0] == '\0' ? 0 : err_from_name(name);
    }
    arena_deinit(&arena);
    return r;
}

static void counter_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct counter *counter = rpc_stream_state(stream);
    struct rpc_data_message message;
    int r = rpc_data_message_parse(bytes, &message);
    if (r < 0) {
        rpc_stream_finish(stream, r, NULL);
        return;
    }
    counter->count++;
    counter->bytes += rpc_bytes_length(message.data);
    r = header_error(&message);
    rpc_data_message_deinit(&message);
    if (r < 0) {
        rpc_stream_finish(stream, r, "as asked");
    } else {
        rpc_stream_read(stream);
    }
}

static void counter_half_close(struct rpc_stream *stream)
{
    const struct counter *counter = rpc_stream_state(stream);
    Trireme__V1__EchoReply reply = TRIREME__V1__ECHO_REPLY__INIT;
    reply.count = counter->count;
    reply.data_bytes = counter->bytes;
    int r = rpc_stream_send(stream, &reply.base);
    rpc_stream_finish(stream, r, NULL);
}

static void free_state(struct rpc_stream *stream, const struct rpc_result *result)
{
    (void)result;
    free(rpc_stream_state(stream));
}

const struct rpc_stream_ops echo_client_stream_ops = {
    .on_open = counter_open,
    .on_message = counter_message,
    .on_half_close = counter_half_close,
    .on_close = free_state,
};

/* ---- ServerStream ---- */

struct source {
    uint32_t left; /* messages to send */
    uint64_t sequence;
    struct rpc_bytes *data; /* the same for all of them */
};

static void source_open(struct rpc_stream *stream)
{
    rpc_stream_set_state(stream, xcalloc(1, sizeof(struct source)));
    rpc_stream_read(stream);
}

static void source_pump(struct rpc_stream *stream)
{
    struct source *source = rpc_stream_state(stream);
    if (source->data == NULL) {
        return;
    }
    while (source->left > 0 && rpc_stream_writable(stream)) {
        Trireme__V1__EchoHeader header = TRIREME__V1__ECHO_HEADER__INIT;
        header.sequence = source->sequence++;
        int r = rpc_stream_send_data(stream, &header.base, source->data);
        if (r < 0) {
            rpc_stream_finish(stream, r, NULL);
            return;
        }
        source->left--;
    }
    if (source->left == 0) {
        rpc_bytes_unref(source->data);
        source->data = NULL;
        rpc_stream_finish(stream, 0, NULL);
    }
}

static void source_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct source *source = rpc_stream_state(stream);
    struct arena arena;
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 0);
    int r = rpc_unpack_bytes(&trireme__v1__echo_request__descriptor, bytes, &arena, &message);
    const Trireme__V1__EchoRequest *request = (const void *)message;
    if (r == 0 && request->error_name[0] != '\0') {
        r = err_from_name(request->error_name);
    }
    if (r == 0 && request->data_bytes > DATA_MESSAGE_BYTES_MAX) {
        r = ERR_TOO_LARGE;
    }
    if (r < 0) {
        rpc_stream_finish(stream, r, r == ERR_CORRUPT ? NULL : request->text);
    } else {
        char *zeros = xcalloc(1, request->data_bytes + 1);
        source->left = request->count;
        source->data = rpc_bytes_wrap(zeros, request->data_bytes, free, zeros);
        source_pump(stream);
    }
    arena_deinit(&arena);
}

static void source_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct source *source = rpc_stream_state(stream);
    rpc_bytes_unref(source->data);
    free_state(stream, result);
}

const struct rpc_stream_ops echo_server_stream_ops = {
    .on_open = source_open,
    .on_message = source_message,
    .on_sent = source_pump,
    .on_close = source_close,
};

/* ---- Bidi ---- */

static void relay_open(struct rpc_stream *stream)
{
    rpc_stream_read(stream);
}

static void relay_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct rpc_data_message message;
    int r = rpc_data_message_parse(bytes, &message);
    if (r == 0) {
        r = header_error(&message);
        rpc_data_message_deinit(&message);
    }
    if (r == 0) {
        r = rpc_stream_send_bytes(stream, bytes);
    }
    if (r < 0) {
        rpc_stream_finish(stream, r, "as asked");
    } else if (rpc_stream_writable(stream)) {
        rpc_stream_read(stream);
    }
}

static void relay_sent(struct rpc_stream *stream)
{
    if (rpc_stream_writable(stream)) {
        rpc_stream_read(stream);
    }
}

static void relay_half_close(struct rpc_stream *stream)
{
    rpc_stream_finish(stream, 0, NULL);
}

static void relay_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    (void)stream;
    (void)result;
}

const struct rpc_stream_ops echo_bidi_ops = {
    .on_open = relay_open,
    .on_message = relay_message,
    .on_sent = relay_sent,
    .on_half_close = relay_half_close,
    .on_close = relay_close,
};
