/* Streams on both sides: order, flow control, ends of all kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/rpc/rpc_server.h"
#include "common/rpc/rpc_stream.h"
#include "proto/echo.pb-c.h"
#include "tests/lib/echo_rpc.h"
#include "tests/lib/rpc_fixture.h"

/* ---- A client that remembers ---- */

struct client {
    struct rpc_fixture *f;
    struct rpc_stream *stream; /* NULL once closed */
    unsigned to_send;          /* messages still to be sent, then half-close */
    size_t data_bytes;         /* of each */
    uint64_t sequence;         /* of the next */
    bool keep_reading;
    const char *error_name; /* sent in the last header */

    unsigned received;
    uint64_t received_bytes;
    uint64_t received_sequence;     /* expected next */
    Trireme__V1__EchoReply counted; /* ClientStream's reply */
    bool closed;
    struct rpc_result result;
};

static void send_some(struct rpc_stream *stream)
{
    struct client *c = rpc_stream_state(stream);
    while (c->to_send > 0 && rpc_stream_writable(stream)) {
        Trireme__V1__EchoHeader header = TRIREME__V1__ECHO_HEADER__INIT;
        char *data = xcalloc(1, c->data_bytes + 1);
        struct rpc_bytes *bytes = rpc_bytes_wrap(data, c->data_bytes, free, data);
        header.sequence = c->sequence++;
        if (c->to_send == 1 && c->error_name != NULL) {
            header.error_name = (char *)c->error_name;
        }
        assert_int_equal(rpc_stream_send_data(stream, &header.base, bytes), 0);
        rpc_bytes_unref(bytes);
        c->to_send--;
        if (c->to_send == 0) {
            rpc_stream_half_close(stream);
        }
    }
}

static void check_message(struct client *c, struct rpc_bytes *bytes)
{
    struct rpc_data_message message;
    struct arena arena = ARENA_INIT;
    ProtobufCMessage *header;
    assert_int_equal(rpc_data_message_parse(bytes, &message), 0);
    assert_int_equal(
        rpc_unpack(&trireme__v1__echo_header__descriptor, message.header, &arena, &header), 0);
    assert_int_equal(((Trireme__V1__EchoHeader *)header)->sequence, c->received_sequence);
    c->received_sequence++;
    c->received_bytes += rpc_bytes_length(message.data);
    rpc_data_message_deinit(&message);
    arena_deinit(&arena);
}

static void client_message(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct client *c = rpc_stream_state(stream);
    c->received++;
    check_message(c, bytes);
    if (c->keep_reading) {
        rpc_stream_read(stream);
    }
}

static void client_count(struct rpc_stream *stream, struct rpc_bytes *bytes)
{
    struct client *c = rpc_stream_state(stream);
    ProtobufCMessage *reply;
    assert_int_equal(
        rpc_unpack_bytes(&trireme__v1__echo_reply__descriptor, bytes, &c->f->arena, &reply), 0);
    c->counted = *(Trireme__V1__EchoReply *)reply;
    c->received++;
    rpc_stream_read(stream);
}

static void client_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct client *c = rpc_stream_state(stream);
    assert_false(c->closed);
    c->closed = true;
    c->stream = NULL;
    c->result = *result;
}

static const struct rpc_stream_ops client_ops = {
    .on_message = client_message,
    .on_sent = send_some,
    .on_close = client_close,
};

static const struct rpc_stream_ops count_ops = {
    .on_message = client_count,
    .on_sent = send_some,
    .on_close = client_close,
};

static void open_stream(struct client *c, const struct rpc_method *method,
                        struct rpc_channel *channel, const ProtobufCMessage *message,
                        time_ms timeout_ms)
{
    struct rpc_request request = {channel, method, message, clock_mono_ms() + timeout_ms};
    const struct rpc_stream_ops *ops = method == &echo_client_stream ? &count_ops : &client_ops;
    c->stream = rpc_stream_open(c->f->loop, &request, ops, c);
    assert_false(c->closed);
    rpc_stream_read(c->stream);
    send_some(c->stream);
}

static void wait_closed(struct client *c)
{
    assert_true(rpc_loop_until(c->f->loop, &c->closed, clock_mono_ms() + 20000));
}

/* Steps for a while in which nothing is expected to happen. */
static void settle(struct client *c, time_ms ms)
{
    time_ms until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until) {
        (void)rpc_loop_step(c->f->loop, until);
    }
}

/* Steps until the server has so many streams. */
static void wait_streams(struct client *c, uint32_t count)
{
    time_ms until = clock_mono_ms() + 20000;
    while (rpc_server_stats(c->f->server).streams != count && clock_mono_ms() < until) {
        (void)rpc_loop_step(c->f->loop, clock_mono_ms() + 1);
    }
    assert_int_equal(rpc_server_stats(c->f->server).streams, count);
}

static void wait_no_streams(struct rpc_fixture *f)
{
    time_ms until = clock_mono_ms() + 20000;
    while (rpc_server_stats(f->server).streams > 0 && clock_mono_ms() < until) {
        clock_sleep_ms(1);
    }
    assert_int_equal(rpc_server_stats(f->server).streams, 0);
}

/* ---- All kinds ---- */

static void test_client_stream(void **state)
{
    struct client c = {.f = *state, .to_send = 100, .data_bytes = 70000};
    open_stream(&c, &echo_client_stream, c.f->channel, NULL, 20000);
    wait_closed(&c);
    assert_int_equal(c.result.code, 0);
    assert_int_equal(c.received, 1);
    assert_int_equal(c.counted.count, 100);
    assert_int_equal(c.counted.data_bytes, 100 * 70000);
}

static void test_server_stream(void **state)
{
    struct client c = {.f = *state, .keep_reading = true};
    struct rpc_channel *bulk = rpc_fixture_channel(c.f, RPC_BULK);
    Trireme__V1__EchoRequest request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.count = 50;
    request.data_bytes = DATA_MESSAGE_BYTES_MAX;
    open_stream(&c, &echo_server_stream, bulk, &request.base, 20000);
    wait_closed(&c);
    assert_int_equal(c.result.code, 0);
    assert_int_equal(c.received, 50);
    assert_int_equal(c.received_bytes, 50ULL * DATA_MESSAGE_BYTES_MAX);
    rpc_channel_unref(bulk);
}

static void test_server_stream_without_messages(void **state)
{
    struct client c = {.f = *state, .keep_reading = true};
    Trireme__V1__EchoRequest request = TRIREME__V1__ECHO_REQUEST__INIT;
    open_stream(&c, &echo_server_stream, c.f->channel, &request.base, 20000);
    wait_closed(&c);
    assert_int_equal(c.result.code, 0);
    assert_int_equal(c.received, 0);
}

static void test_bidi(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_channel *bulk = rpc_fixture_channel(f, RPC_BULK);
    const size_t sizes[] = {0, 1, 65536, DATA_MESSAGE_BYTES_MAX};
    for (size_t i = 0; i < 4; i++) {
        struct client c = {.f = f, .to_send = 60, .data_bytes = sizes[i], .keep_reading = true};
        open_stream(&c, &echo_bidi, bulk, NULL, 20000);
        wait_closed(&c);
        assert_int_equal(c.result.code, 0);
        assert_int_equal(c.received, 60);
        assert_int_equal(c.received_bytes, 60 * sizes[i]);
    }
    rpc_channel_unref(bulk);
}

/* Nothing leaves a corked stream; then everything does, in order, end included. */
static void test_corked(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_request request = {f->channel, &echo_bidi, NULL, clock_mono_ms() + 20000};
    for (unsigned count = 1; count <= 3; count++) {
        struct client c = {.f = f, .to_send = count, .data_bytes = 100, .keep_reading = true};
        c.stream = rpc_stream_open_corked(f->loop, &request, &client_ops, &c);
        rpc_stream_read(c.stream);
        send_some(c.stream);
        settle(&c, 20);
        assert_int_equal(rpc_server_stats(f->server).streams, 0);
        assert_true(rpc_stream_queued(c.stream) > count * 100);
        rpc_stream_uncork(c.stream);
        wait_closed(&c);
        assert_int_equal(c.result.code, 0);
        assert_int_equal(c.received_bytes, count * 100);
        wait_no_streams(f);
    }
    /* Also in the middle. */
    struct client c = {.f = f, .to_send = 0, .data_bytes = 100, .keep_reading = true};
    open_stream(&c, &echo_bidi, f->channel, NULL, 20000);
    wait_streams(&c, 1);
    rpc_stream_cork(c.stream);
    c.to_send = 2;
    send_some(c.stream);
    settle(&c, 20);
    assert_int_equal(c.received, 0);
    rpc_stream_uncork(c.stream);
    wait_closed(&c);
    assert_int_equal(c.received_bytes, 200);
}

static void test_cancelled_while_corked(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_request request = {f->channel, &echo_bidi, NULL, clock_mono_ms() + 20000};
    struct client c = {.f = f, .to_send = 1, .data_bytes = 100};
    c.stream = rpc_stream_open_corked(f->loop, &request, &client_ops, &c);
    send_some(c.stream);
    rpc_stream_cancel(c.stream);
    rpc_stream_uncork(c.stream);
    wait_closed(&c);
    assert_int_equal(c.result.code, ERR_UNKNOWN);
    assert_int_equal(c.result.cause, ERR_CANCELLED);
    wait_no_streams(f);
}

static void test_many_streams_on_one_connection(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_channel *bulk = rpc_fixture_channel(f, RPC_BULK);
    enum { COUNT = 40 };
    struct client *clients = xcalloc(COUNT, sizeof(*clients));
    for (size_t i = 0; i < COUNT; i++) {
        clients[i] =
            (struct client){.f = f, .to_send = 20, .data_bytes = 100000, .keep_reading = true};
        open_stream(&clients[i], &echo_bidi, bulk, NULL, 20000);
    }
    for (size_t i = 0; i < COUNT; i++) {
        wait_closed(&clients[i]);
        assert_int_equal(clients[i].result.code, 0);
        assert_int_equal(clients[i].received_bytes, 20 * 100000);
    }
    free(clients);
    rpc_channel_unref(bulk);
}

/* ---- Flow control ---- */

static void test_back_pressure_reaches_the_sender(void **state)
{
    struct client c = {.f = *state, .to_send = 200, .data_bytes = DATA_MESSAGE_BYTES_MAX};
    struct rpc_channel *bulk = rpc_fixture_channel(c.f, RPC_BULK);
    /* The client reads one reply and no more: the relay stops reading, then the client stalls. */
    open_stream(&c, &echo_bidi, bulk, NULL, 60000);
    unsigned left;
    do {
        left = c.to_send;
        settle(&c, 300);
    } while (c.to_send != left);
    assert_in_range(left, 100, 199);
    assert_false(rpc_stream_writable(c.stream));
    /* A sender that does not heed that meets the bound. */
    char *data = xcalloc(1, DATA_MESSAGE_BYTES_MAX);
    struct rpc_bytes *bytes = rpc_bytes_wrap(data, DATA_MESSAGE_BYTES_MAX, free, data);
    int r = 0;
    for (int i = 0; i < 32 && r == 0; i++) {
        r = rpc_stream_send_data(c.stream, NULL, bytes);
    }
    rpc_bytes_unref(bytes);
    assert_int_equal(r, ERR_BUSY);
    assert_true(rpc_stream_queued(c.stream) <= RPC_STREAM_QUEUE_BYTES_MAX);
    rpc_stream_cancel(c.stream);
    wait_closed(&c);
    wait_no_streams(c.f);
    rpc_channel_unref(bulk);
}

static void test_slow_reader_gets_everything(void **state)
{
    struct client c = {.f = *state, .to_send = 40, .data_bytes = DATA_MESSAGE_BYTES_MAX};
    struct rpc_channel *bulk = rpc_fixture_channel(c.f, RPC_BULK);
    open_stream(&c, &echo_bidi, bulk, NULL, 60000);
    unsigned asked = 1;
    time_ms until = clock_mono_ms() + 30000;
    while (!c.closed && clock_mono_ms() < until) {
        (void)rpc_loop_step(c.f->loop, clock_mono_ms() + 2);
        if (!c.closed && c.received == asked) {
            rpc_stream_read(c.stream);
            rpc_stream_read(c.stream); /* the same ask */
            asked++;
        }
    }
    assert_true(c.closed);
    assert_int_equal(c.result.code, 0);
    assert_int_equal(c.received, 40);
    rpc_channel_unref(bulk);
}

static void test_message_above_the_limit(void **state)
{
    struct client c = {.f = *state, .keep_reading = true};
    /* Ours: refused before it is queued. */
    struct rpc_channel *bulk = rpc_fixture_channel(c.f, RPC_BULK);
    open_stream(&c, &echo_bidi, bulk, NULL, 20000);
    size_t large = RPC_BULK_MESSAGE_BYTES_MAX + 1;
    char *data = xcalloc(1, large);
    struct rpc_bytes *bytes = rpc_bytes_wrap(data, large, free, data);
    assert_int_equal(rpc_stream_send_bytes(c.stream, bytes), ERR_TOO_LARGE);
    rpc_stream_half_close(c.stream);
    assert_int_equal(rpc_stream_send_bytes(c.stream, bytes), ERR_CANCELLED);
    wait_closed(&c);
    assert_int_equal(c.result.code, 0);
    rpc_channel_unref(bulk);
    /* Theirs: a channel with a higher limit than the method's. */
    struct client d = {.f = *state, .keep_reading = true};
    struct rpc_channel *raft = rpc_fixture_channel(d.f, RPC_RAFT);
    open_stream(&d, &echo_bidi, raft, NULL, 20000);
    assert_int_equal(rpc_stream_send_bytes(d.stream, bytes), 0);
    wait_closed(&d);
    assert_int_equal(d.result.code, ERR_TOO_LARGE);
    rpc_bytes_unref(bytes);
    rpc_channel_unref(raft);
}

/* ---- Ends ---- */

static void test_server_refuses(void **state)
{
    struct client c = {.f = *state, .to_send = 5, .data_bytes = 10, .keep_reading = true};
    c.error_name = "ERR_FENCED";
    open_stream(&c, &echo_bidi, c.f->channel, NULL, 20000);
    wait_closed(&c);
    assert_int_equal(c.result.code, ERR_FENCED);
    assert_string_equal(c.result.text, "as asked");
    assert_true(c.result.definite);
    /* The same for a client that never finishes sending. */
    struct client d = {.f = *state, .keep_reading = true};
    open_stream(&d, &echo_client_stream, d.f->channel, NULL, 20000);
    Trireme__V1__EchoHeader header = TRIREME__V1__ECHO_HEADER__INIT;
    header.error_name = (char *)"ERR_SEALED";
    assert_int_equal(rpc_stream_send_data(d.stream, &header.base, NULL), 0);
    wait_closed(&d);
    assert_int_equal(d.result.code, ERR_SEALED);
    /* And for garbage. */
    struct client e = {.f = *state, .keep_reading = true};
    open_stream(&e, &echo_bidi, e.f->channel, NULL, 20000);
    struct rpc_bytes *garbage = rpc_bytes_copy("\x0b\x0b", 2);
    assert_int_equal(rpc_stream_send_bytes(e.stream, garbage), 0);
    rpc_bytes_unref(garbage);
    wait_closed(&e);
    assert_int_equal(e.result.code, ERR_CORRUPT);
}

static void test_deadline_ends_a_stream(void **state)
{
    struct client c = {.f = *state, .keep_reading = true};
    open_stream(&c, &echo_bidi, c.f->channel, NULL, 100);
    wait_closed(&c);
    assert_int_equal(c.result.code, ERR_UNKNOWN);
    assert_int_equal(c.result.cause, ERR_TIMEOUT);
    wait_no_streams(c.f);
}

static void test_client_cancels(void **state)
{
    struct client c = {.f = *state, .keep_reading = true};
    open_stream(&c, &echo_bidi, c.f->channel, NULL, 20000);
    wait_streams(&c, 1);
    rpc_stream_cancel(c.stream);
    rpc_stream_cancel(c.stream);
    assert_false(c.closed);
    wait_closed(&c);
    assert_int_equal(c.result.cause, ERR_CANCELLED);
    wait_no_streams(c.f);
}

/* A server that notes what it sees of a client that leaves. */
static atomic_int saw_message, saw_half_close, saw_close, closed_code;

static void watch_open(struct rpc_stream *stream)
{
    rpc_stream_read(stream);
}

static void watch_message(struct rpc_stream *stream, struct rpc_bytes *message)
{
    (void)message;
    atomic_fetch_add(&saw_message, 1);
    const struct rpc_caller *caller = rpc_stream_caller(stream);
    assert_string_equal(caller->user, "alice");
    assert_memory_equal(caller->address, "127.0.0.1:", 10);
    rpc_stream_read(stream);
}

static void watch_half_close(struct rpc_stream *stream)
{
    (void)stream;
    atomic_fetch_add(&saw_half_close, 1);
}

static void watch_close(struct rpc_stream *stream, const struct rpc_result *result)
{
    (void)stream;
    atomic_store(&closed_code, result->code);
    atomic_fetch_add(&saw_close, 1);
}

static const struct rpc_stream_ops watch_ops = {.on_open = watch_open,
                                                .on_message = watch_message,
                                                .on_half_close = watch_half_close,
                                                .on_close = watch_close};

static const struct rpc_service_row watch_rows[] = {
    {.method = &echo_bidi, .stream = &watch_ops},
    {.method = NULL},
};

static void test_server_sees_the_client_leave(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_service service = {watch_rows, NULL};
    rpc_fixture_restart(f, &(struct rpc_server_options){.services = &service, .service_count = 1});
    for (int i = 0; i < 100; i++) {
        atomic_store(&saw_message, 0);
        atomic_store(&saw_half_close, 0);
        atomic_store(&saw_close, 0);
        struct client c = {.f = f, .keep_reading = true};
        open_stream(&c, &echo_bidi, f->channel, NULL, 20000);
        struct rpc_bytes *empty = rpc_bytes_copy("", 0);
        assert_int_equal(rpc_stream_send_bytes(c.stream, empty), 0);
        rpc_bytes_unref(empty);
        while (atomic_load(&saw_message) == 0) {
            (void)rpc_loop_step(f->loop, clock_mono_ms() + 1);
        }
        rpc_stream_cancel(c.stream);
        wait_closed(&c);
        wait_no_streams(f);
        assert_int_equal(atomic_load(&saw_close), 1);
        assert_int_equal(atomic_load(&closed_code), ERR_CANCELLED);
        assert_int_equal(atomic_load(&saw_half_close), 0);
    }
}

static void test_server_dies(void **state)
{
    struct client c = {.f = *state, .keep_reading = true};
    open_stream(&c, &echo_bidi, c.f->channel, NULL, 20000);
    wait_streams(&c, 1);
    rpc_server_cancel(c.f->server);
    wait_closed(&c);
    assert_int_equal(c.result.code, ERR_UNKNOWN);
    rpc_fixture_stop(c.f);
    struct client d = {.f = *state, .keep_reading = true};
    open_stream(&d, &echo_bidi, d.f->channel, NULL, 20000);
    wait_closed(&d);
    assert_int_equal(d.result.cause, ERR_UNAVAILABLE);
    rpc_fixture_start(c.f, &(struct rpc_server_options){0});
}

static void test_streams_are_limited(void **state)
{
    struct rpc_fixture *f = *state;
    rpc_fixture_restart(f, &(struct rpc_server_options){.stream_count_max = 1});
    struct client c = {.f = f, .keep_reading = true};
    open_stream(&c, &echo_bidi, f->channel, NULL, 20000);
    wait_streams(&c, 1);
    struct client d = {.f = f, .keep_reading = true};
    open_stream(&d, &echo_bidi, f->channel, NULL, 20000);
    wait_closed(&d);
    assert_int_equal(d.result.code, ERR_BUSY);
    rpc_stream_half_close(c.stream);
    wait_closed(&c);
    assert_int_equal(c.result.code, 0);
}

static void test_drain_ends_streams(void **state)
{
    struct client c = {.f = *state, .keep_reading = true};
    open_stream(&c, &echo_bidi, c.f->channel, NULL, 20000);
    wait_streams(&c, 1);
    rpc_server_drain(c.f->server, clock_mono_ms() + 50);
    assert_true(rpc_server_is_drained(c.f->server));
    wait_closed(&c);
    assert_int_equal(c.result.code, ERR_UNKNOWN);
}

#define FIXTURE_TEST(name)                                                                         \
    cmocka_unit_test_setup_teardown(name, rpc_fixture_setup, rpc_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_client_stream),
        FIXTURE_TEST(test_server_stream),
        FIXTURE_TEST(test_server_stream_without_messages),
        FIXTURE_TEST(test_bidi),
        FIXTURE_TEST(test_corked),
        FIXTURE_TEST(test_cancelled_while_corked),
        FIXTURE_TEST(test_many_streams_on_one_connection),
        FIXTURE_TEST(test_back_pressure_reaches_the_sender),
        FIXTURE_TEST(test_slow_reader_gets_everything),
        FIXTURE_TEST(test_message_above_the_limit),
        FIXTURE_TEST(test_server_refuses),
        FIXTURE_TEST(test_deadline_ends_a_stream),
        FIXTURE_TEST(test_client_cancels),
        FIXTURE_TEST(test_server_sees_the_client_leave),
        FIXTURE_TEST(test_server_dies),
        FIXTURE_TEST(test_streams_are_limited),
        FIXTURE_TEST(test_drain_ends_streams),
    };
    rpc_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_exit();
    return failed;
}
