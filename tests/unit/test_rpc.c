/* Loop, channels, unary calls, server: tests/unit/test_rpc_stream.c has the streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/macros.h"
#include "common/rpc/rpc_args.h"
#include "common/rpc/rpc_server.h"
#include "proto/echo.pb-c.h"
#include "tests/lib/echo_rpc.h"
#include "tests/lib/rpc_fixture.h"

typedef Trireme__V1__EchoRequest echo_request;
typedef Trireme__V1__EchoReply echo_reply;

/* One call with a request for the default fixture. */
static int call(struct rpc_fixture *f, const echo_request *request, time_ms timeout_ms,
                struct rpc_result *ret_result)
{
    struct rpc_request r = {f->channel, &echo_unary, &request->base, clock_mono_ms() + timeout_ms};
    ProtobufCMessage *reply = NULL;
    arena_reset(&f->arena);
    int code = rpc_call(f->loop, &r, &f->arena, &reply, ret_result);
    f->reply = reply;
    return code;
}

static const echo_reply *reply_of(const struct rpc_fixture *f)
{
    return f->reply;
}

/* ---- Arguments ---- */

static int arg(bool server, enum rpc_class class, const char *key)
{
    struct rpc_arg rows[64];
    size_t count = rpc_args_rows(server, class, rows, ARRAY_COUNT(rows));
    int found = -1;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(rows[i].key, rows[j].key); /* each at most once */
        }
        if (strcmp(rows[i].key, key) == 0) {
            found = rows[i].value;
        }
    }
    return found;
}

static void test_arguments(void **state)
{
    (void)state;
    for (int class = 0; class < RPC_CLASS_COUNT; class ++) {
        assert_int_equal(arg(true, class, "grpc.so_reuseport"), 0);
        assert_int_equal(arg(false, class, "grpc.use_local_subchannel_pool"), 1);
        assert_int_equal(arg(false, class, "grpc.enable_http_proxy"), 0);
        assert_int_equal(arg(false, class, "grpc.service_config_disable_resolution"), 1);
        assert_int_equal(arg(false, class, "grpc.enable_retries"), 0);
        assert_int_equal(arg(false, class, "grpc.initial_reconnect_backoff_ms"), 50);
        assert_int_equal(arg(false, class, "grpc.max_reconnect_backoff_ms"), 500);
        assert_int_equal(arg(false, class, "grpc.keepalive_time_ms"), 2000);
        /* The server must take pings more often than the client sends them. */
        assert_in_range(arg(true, class, "grpc.http2.min_ping_interval_without_data_ms"), 1, 1999);
        assert_int_equal(arg(false, class, "grpc.http2.bdp_probe"), 0);
        assert_true(arg(true, class, "grpc.max_receive_message_length") >=
                    arg(false, class, "grpc.max_send_message_length"));
        assert_int_equal(arg(true, class, "grpc.max_send_message_length"),
                         RPC_RAFT_MESSAGE_BYTES_MAX);
        assert_true(arg(true, class, "grpc.max_metadata_size") > 0);
        assert_true(arg(true, class, "grpc.server_handshake_timeout_ms") > 0);
        assert_true(arg(true, class, "grpc.max_connection_idle_ms") > 0);
        assert_true(arg(true, class, "grpc.max_concurrent_streams") > 0);
    }
    for (int server = 0; server < 2; server++) {
        assert_true(arg(server, RPC_BULK, "grpc.experimental.tcp_read_chunk_size") >= 256 * 1024);
        assert_int_equal(arg(server, RPC_BULK, "grpc.http2.max_frame_size"), 1024 * 1024);
        assert_int_equal(arg(server, RPC_BULK, "grpc.http2.lookahead_bytes"), 4 * 1024 * 1024);
        assert_int_equal(arg(server, RPC_CONTROL, "grpc.experimental.tcp_read_chunk_size"), -1);
    }
}

/* ---- Loop ---- */

enum { POSTERS = 4, POSTS = 5000 };

struct posting {
    struct rpc_loop *loop;
    unsigned last[POSTERS]; /* of each poster: posts arrive in its order */
    unsigned count;
};

struct post_item {
    struct posting *posting;
    unsigned poster;
    unsigned number;
};

static void post_arrived(void *arg)
{
    struct post_item *item = arg;
    assert_true(rpc_loop_is_mine(item->posting->loop));
    assert_int_equal(item->number, item->posting->last[item->poster] + 1);
    item->posting->last[item->poster] = item->number;
    item->posting->count++;
    free(item);
}

struct poster {
    struct posting *posting;
    unsigned index;
};

static void *poster_main(void *arg)
{
    struct poster *poster = arg;
    for (unsigned i = 1; i <= POSTS; i++) {
        struct post_item *item = xmalloc(sizeof(*item));
        *item = (struct post_item){poster->posting, poster->index, i};
        rpc_loop_post(poster->posting->loop, post_arrived, item);
    }
    return NULL;
}

static void test_posts_from_many_threads_arrive_in_order(void **state)
{
    (void)state;
    struct posting posting = {.loop = rpc_loop_new()};
    pthread_t threads[POSTERS];
    struct poster posters[POSTERS];
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){&posting, i};
        assert_int_equal(pthread_create(&threads[i], NULL, poster_main, &posters[i]), 0);
    }
    while (posting.count < POSTERS * POSTS) {
        assert_true(rpc_loop_step(posting.loop, clock_mono_ms() + 10000));
    }
    for (unsigned i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
    }
    rpc_loop_free(posting.loop);
}

struct called {
    struct rpc_loop *loop;
    pthread_t on;
    int count;
};

static void note_thread(void *arg)
{
    struct called *called = arg;
    called->on = pthread_self();
    called->count++;
}

static void *call_from_elsewhere(void *arg)
{
    struct called *called = arg;
    assert_false(rpc_loop_is_mine(called->loop));
    rpc_loop_call(called->loop, note_thread, called);
    return NULL;
}

static void test_calls_run_at_once_on_the_own_thread_only(void **state)
{
    (void)state;
    struct called called = {.loop = rpc_loop_new()};
    pthread_t other;
    rpc_loop_own(called.loop);
    rpc_loop_call(called.loop, note_thread, &called);
    assert_int_equal(called.count, 1);
    assert_false(rpc_loop_step(called.loop, 0)); /* nothing was posted */

    assert_int_equal(pthread_create(&other, NULL, call_from_elsewhere, &called), 0);
    pthread_join(other, NULL);
    assert_int_equal(called.count, 1);
    assert_true(rpc_loop_step(called.loop, clock_mono_ms() + 10000));
    assert_int_equal(called.count, 2);
    assert_true(pthread_equal(called.on, pthread_self()));
    rpc_loop_free(called.loop);
}

struct timer_log {
    struct rpc_loop *loop;
    struct rpc_timer timers[4];
    int order[8];
    size_t count;
};

static struct timer_log *timer_log;

static void timer_fired(void *arg)
{
    struct rpc_timer *timer = arg;
    assert_false(rpc_timer_is_set(timer));
    int index = (int)(timer - timer_log->timers);
    timer_log->order[timer_log->count++] = index;
    if (index == 0 && timer_log->count < 4) { /* sets itself again */
        rpc_timer_set(timer_log->loop, timer, clock_mono_ms() + 1, timer_fired, timer);
    }
}

static void test_timers_fire_in_order_and_can_be_cancelled(void **state)
{
    (void)state;
    struct timer_log log = {.loop = rpc_loop_new()};
    timer_log = &log;
    time_ms now = clock_mono_ms();
    const time_ms at[] = {now + 60, now + 20, now + 40, now + 30};
    for (size_t i = 0; i < 4; i++) {
        rpc_timer_set(log.loop, &log.timers[i], at[i], timer_fired, &log.timers[i]);
    }
    rpc_timer_cancel(log.loop, &log.timers[2]);
    rpc_timer_cancel(log.loop, &log.timers[2]);
    assert_false(rpc_loop_step(log.loop, 0));
    while (log.count < 4) {
        assert_true(rpc_loop_step(log.loop, RPC_NO_DEADLINE));
    }
    const int expected[] = {1, 3, 0, 0};
    assert_memory_equal(log.order, expected, sizeof(expected));
    rpc_loop_free(log.loop);
}

/* ---- Unary ---- */

static void test_unary(void **state)
{
    struct rpc_fixture *f = *state;
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.text = (char *)"hello";
    struct rpc_result result;
    assert_int_equal(call(f, &request, 5000, &result), 0);
    assert_string_equal(reply_of(f)->text, "hello");
    assert_true(result.definite);
    assert_string_equal(result.text, "");
    request.text = (char *)"who";
    request.data_bytes = 3 * 1024 * 1024;
    assert_int_equal(call(f, &request, 5000, &result), 0);
    assert_string_equal(reply_of(f)->user, "alice");
    assert_false(reply_of(f)->authenticated);
    assert_int_equal(reply_of(f)->data.len, 3 * 1024 * 1024);
}

static void test_errors_keep_their_names(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_result result;
    for (int code = ERR_EOF; code < 0; code++) {
        echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
        request.error_name = (char *)err_name(code);
        request.text = (char *)"caf\xc3\xa9: 100% \x01";
        request.leader = (char *)(code == ERR_NOT_LEADER ? "10.0.0.2:7000" : "");
        assert_int_equal(call(f, &request, 5000, &result), code);
        assert_int_equal(result.cause, code);
        assert_string_equal(result.text, "caf\xc3\xa9: 100% ?");
        assert_string_equal(result.leader, request.leader);
        assert_int_equal(result.definite, code != ERR_UNKNOWN);
    }
}

static void test_error_text_is_bounded(void **state)
{
    struct rpc_fixture *f = *state;
    char text[8000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.error_name = (char *)"ERR_BUSY";
    request.text = text;
    request.leader = (char *)"bad\nleader"; /* cannot be sent: left out */
    struct rpc_result result;
    assert_int_equal(call(f, &request, 5000, &result), ERR_BUSY);
    assert_in_range(strlen(result.text), 100, RPC_ERROR_TEXT_BYTES_MAX - 1);
    assert_string_equal(result.leader, "");
    struct err e = ERR_INIT;
    assert_int_equal(rpc_result_err(&result, "here:1", &e), ERR_BUSY);
    assert_memory_equal(e.msg, "here:1: xxx", 11);
}

static void test_unknown_method(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_method method = echo_unary;
    method.name = "/trireme.v1.Echo/Missing";
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    struct rpc_request r = {f->channel, &method, &request.base, clock_mono_ms() + 5000};
    struct rpc_result result;
    ProtobufCMessage *reply = NULL;
    assert_int_equal(rpc_call(f->loop, &r, &f->arena, &reply, &result), ERR_UNSUPPORTED);
    assert_null(reply);
}

static void test_deadline_is_unknown(void **state)
{
    struct rpc_fixture *f = *state;
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.delay_ms = 1000;
    struct rpc_result result;
    assert_int_equal(call(f, &request, 50, &result), ERR_UNKNOWN);
    assert_int_equal(result.cause, ERR_TIMEOUT);
    assert_false(result.definite);
    struct err e = ERR_INIT;
    assert_int_equal(rpc_result_err(&result, "here:1", &e), ERR_UNKNOWN);
    assert_non_null(strstr(e.msg, "may have been done"));
}

static void test_sizes_are_limited(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_result result;
    char *text = xmalloc(RPC_MESSAGE_BYTES_MAX + 1);
    memset(text, 'x', RPC_MESSAGE_BYTES_MAX);
    text[RPC_MESSAGE_BYTES_MAX] = '\0';
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.text = text; /* above the client's limit: never sent */
    assert_int_equal(call(f, &request, 5000, &result), ERR_TOO_LARGE);
    assert_true(result.definite);
    /* Above the method's limit, and below the one of this channel: the server says no. */
    struct rpc_channel *raft = rpc_fixture_channel(f, RPC_RAFT);
    struct rpc_request r = {raft, &echo_unary, &request.base, clock_mono_ms() + 5000};
    ProtobufCMessage *reply = NULL;
    assert_int_equal(rpc_call(f->loop, &r, &f->arena, &reply, &result), ERR_TOO_LARGE);
    assert_true(result.definite);
    rpc_channel_unref(raft);
    free(text);
    /* The reply. */
    request.text = (char *)"";
    request.data_bytes = RPC_MESSAGE_BYTES_MAX;
    assert_int_equal(call(f, &request, 5000, &result), ERR_TOO_LARGE);
    assert_true(result.definite);
}

enum { IN_FLIGHT = 64, CALLS = 5000 };

struct flood {
    struct rpc_fixture *f;
    unsigned started;
    unsigned done;
};

static void flood_start(struct flood *flood);

static void flood_done(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    struct flood *flood = arg;
    assert_int_equal(result->code, 0);
    assert_non_null(reply);
    flood->done++;
    if (flood->started < CALLS) {
        flood_start(flood);
    }
}

static void flood_start(struct flood *flood)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", flood->started++);
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.text = text;
    struct rpc_request r = {flood->f->channel, &echo_unary, &request.base, clock_mono_ms() + 20000};
    rpc_call_start(flood->f->loop, &r, flood_done, flood);
}

static void test_many_calls_in_flight(void **state)
{
    struct flood flood = {.f = *state};
    while (flood.started < IN_FLIGHT) {
        flood_start(&flood);
    }
    while (flood.done < CALLS) {
        assert_true(rpc_loop_step(flood.f->loop, clock_mono_ms() + 20000));
    }
    time_ms until =
        clock_mono_ms() + 20000; /* the server hears a little later that it is through */
    while (rpc_server_stats(flood.f->server).in_flight > 0 && clock_mono_ms() < until) {
        (void)rpc_loop_step(flood.f->loop, clock_mono_ms() + 1);
    }
    assert_int_equal(rpc_server_stats(flood.f->server).in_flight, 0);
}

struct outcome {
    bool done;
    struct rpc_result result;
};

static void outcome_done(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    struct outcome *outcome = arg;
    (void)reply;
    outcome->done = true;
    outcome->result = *result;
}

/* Starts a call that the server answers after delay_ms. */
static struct rpc_pending *start_slow(struct rpc_fixture *f, uint32_t delay_ms,
                                      struct outcome *outcome)
{
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.delay_ms = delay_ms;
    struct rpc_request r = {f->channel, &echo_unary, &request.base, clock_mono_ms() + 20000};
    struct rpc_pending *pending = rpc_call_start_cancellable(f->loop, &r, outcome_done, outcome);
    while (!outcome->done && rpc_server_stats(f->server).in_flight == 0) {
        (void)rpc_loop_step(f->loop, clock_mono_ms() + 1);
    }
    return pending;
}

static void test_client_cancels(void **state)
{
    struct rpc_fixture *f = *state;
    struct outcome outcome = {0};
    struct rpc_pending *pending = start_slow(f, 1000, &outcome);
    rpc_pending_cancel(pending);
    assert_true(rpc_loop_until(f->loop, &outcome.done, clock_mono_ms() + 5000));
    assert_int_equal(outcome.result.code, ERR_UNKNOWN);
    assert_int_equal(outcome.result.cause, ERR_CANCELLED);
    rpc_pending_cancel(pending); /* too late, no harm */
    rpc_pending_unref(pending);
}

static void test_above_the_limit_is_busy(void **state)
{
    struct rpc_fixture *f = *state;
    rpc_fixture_restart(f, &(struct rpc_server_options){.call_count_max = 1});
    struct outcome outcome = {0};
    struct rpc_pending *pending = start_slow(f, 700, &outcome);
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    struct rpc_result result;
    assert_int_equal(call(f, &request, 5000, &result), ERR_BUSY);
    assert_true(result.definite);
    assert_int_equal(rpc_server_stats(f->server).refused, 1);
    assert_true(rpc_loop_until(f->loop, &outcome.done, clock_mono_ms() + 5000));
    assert_int_equal(outcome.result.code, 0);
    rpc_pending_unref(pending);
}

/* ---- Threads ---- */

enum { CLIENT_THREADS = 3, CALLS_EACH = 1500 };

static void *client_main(void *arg)
{
    struct rpc_channel *channel = arg;
    struct rpc_loop *loop = rpc_loop_new();
    struct arena arena = ARENA_INIT;
    uintptr_t good = 0;
    for (int i = 0; i < CALLS_EACH; i++) {
        echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
        request.text = (char *)(i % 3 == 0 ? "who" : "x");
        struct rpc_request r = {channel, &echo_unary, &request.base, clock_mono_ms() + 20000};
        struct rpc_result result;
        ProtobufCMessage *reply;
        arena_reset(&arena);
        good += rpc_call(loop, &r, &arena, &reply, &result) == 0 &&
                strcmp(((echo_reply *)reply)->text, request.text) == 0;
    }
    arena_deinit(&arena);
    rpc_loop_free(loop);
    return (void *)good; /* cmocka's asserts belong to the test's thread */
}

static void test_two_pollers_and_three_clients(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_loop *loops[] = {f->server_loop, rpc_loop_new()};
    rpc_fixture_restart(f, &(struct rpc_server_options){.loops = loops, .loop_count = 2});
    assert_int_equal(rpc_loop_start_thread(loops[1], "second", NULL), 0);
    pthread_t threads[CLIENT_THREADS];
    for (size_t i = 0; i < CLIENT_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, client_main, f->channel), 0);
    }
    for (size_t i = 0; i < CLIENT_THREADS; i++) {
        void *good = NULL;
        pthread_join(threads[i], &good);
        assert_int_equal((uintptr_t)good, CALLS_EACH);
    }
    assert_int_equal(rpc_server_stats(f->server).calls, CLIENT_THREADS * CALLS_EACH);
    rpc_fixture_stop(f);
    rpc_loop_join_thread(loops[1]);
    rpc_loop_free(loops[1]);
}

static atomic_uint answered;

static void count_answer(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    (void)reply;
    if (result->code == 0 && rpc_loop_is_mine(arg)) {
        atomic_fetch_add(&answered, 1);
    }
}

/* An owner thread starts calls on a loop that a poller drives. */
static void test_calls_from_a_thread_that_is_not_the_loops(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_loop *loop = rpc_loop_new();
    assert_int_equal(rpc_loop_start_thread(loop, "poller", NULL), 0);
    atomic_store(&answered, 0);
    for (int i = 0; i < 2000; i++) {
        echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
        struct rpc_request r = {f->channel, &echo_unary, &request.base, clock_mono_ms() + 20000};
        rpc_call_start(loop, &r, count_answer, loop);
        if (i % 100 == 0) {
            rpc_pending_unref(rpc_call_start_cancellable(loop, &r, count_answer, loop));
        }
    }
    time_ms until = clock_mono_ms() + 20000;
    while (atomic_load(&answered) < 2020 && clock_mono_ms() < until) {
        clock_sleep_ms(1);
    }
    assert_int_equal(atomic_load(&answered), 2020);
    rpc_loop_join_thread(loop);
    rpc_loop_free(loop);
}

/* ---- Steps ---- */

/* A service with an owner that has a mailbox, and a pool. */
struct steps_service {
    struct mailbox *mailbox;
    struct workpool *pool;
    struct rpc_loop *server_loop;
    pthread_t owner;
    atomic_bool stop;
    char order[64];        /* a letter for each step that ran */
    atomic_bool cancelled; /* seen by the worker */
    atomic_bool in_worker;
};

static void step_note(struct steps_service *s, char letter)
{
    size_t length = strlen(s->order);
    s->order[length] = letter;
    s->order[length + 1] = '\0';
}

static int step_poller(struct rpc_call *call, void *service)
{
    struct steps_service *s = service;
    assert_true(rpc_loop_is_mine(s->server_loop));
    rpc_call_set_state(call, arena_strdup(rpc_call_arena(call), "state"));
    step_note(s, 'p');
    return 0;
}

static void resume_later(struct job *job)
{
    struct rpc_call **call = (struct rpc_call **)(job + 1);
    rpc_call_resume(*call);
    free(job);
}

/* Gives the call to a worker, which brings it back to the next step. */
static int step_owner(struct rpc_call *call, void *service)
{
    struct steps_service *s = service;
    assert_true(pthread_equal(pthread_self(), s->owner));
    step_note(s, 'o');
    struct job *job = xcalloc(1, sizeof(*job) + sizeof(call));
    memcpy(job + 1, &call, sizeof(call));
    job->run = resume_later;
    assert_int_equal(workpool_submit(s->pool, job, NULL), 0);
    return RPC_PENDING;
}

static int step_owner_again(struct rpc_call *call, void *service)
{
    struct steps_service *s = service;
    (void)call;
    assert_true(pthread_equal(pthread_self(), s->owner));
    step_note(s, 'O');
    return 0;
}

static int step_worker(struct rpc_call *call, void *service)
{
    struct steps_service *s = service;
    assert_false(pthread_equal(pthread_self(), s->owner));
    assert_false(rpc_loop_is_mine(s->server_loop));
    const echo_request *request = (const void *)rpc_call_request(call);
    echo_reply *reply = (void *)rpc_call_reply(call);
    step_note(s, 'w');
    if (strcmp(request->text, "wait") == 0) {
        atomic_store(&s->in_worker, true);
        time_ms until = clock_mono_ms() + 20000;
        while (!rpc_call_is_cancelled(call) && clock_mono_ms() < until) {
            clock_sleep_ms(1);
        }
        atomic_store(&s->cancelled, rpc_call_is_cancelled(call));
    }
    if (strcmp(request->text, "skip") == 0) {
        rpc_call_finish(call, ERR_STALE, "skipped");
        return RPC_PENDING;
    }
    reply->text = rpc_call_state(call);
    return 0;
}

static const struct rpc_service_row steps_rows[] = {
    {.method = &echo_unary,
     .steps = {{RPC_POLLER, step_poller},
               {RPC_OWNER, step_owner},
               {RPC_OWNER, step_owner_again},
               {RPC_WORKER, step_worker}}},
    {.method = NULL},
};

static void *owner_main(void *arg)
{
    struct steps_service *s = arg;
    mailbox_own(s->mailbox);
    while (!atomic_load(&s->stop)) {
        (void)mailbox_run(s->mailbox, clock_mono_ms() + 1000);
    }
    return NULL;
}

static void steps_start(struct steps_service *s, struct rpc_fixture *f, size_t reserved_max)
{
    *s = (struct steps_service){.server_loop = f->server_loop};
    s->mailbox = mailbox_new(16, reserved_max);
    s->pool = workpool_new("test", 2, 16);
    assert_int_equal(pthread_create(&s->owner, NULL, owner_main, s), 0);
    struct rpc_executor owner = rpc_executor_mailbox(s->mailbox);
    struct rpc_executor worker = rpc_executor_workpool(s->pool);
    struct rpc_service service = {steps_rows, s};
    rpc_fixture_restart(
        f, &(struct rpc_server_options){
               .services = &service, .service_count = 1, .owner = &owner, .worker = &worker});
}

static void steps_stop(struct steps_service *s, struct rpc_fixture *f)
{
    rpc_server_drain(f->server, clock_mono_ms() + 5000);
    workpool_free(s->pool);
    atomic_store(&s->stop, true);
    mailbox_wake(s->mailbox);
    pthread_join(s->owner, NULL);
    mailbox_free(s->mailbox); /* CHECKs that no slot is left reserved */
}

static void test_steps_run_on_their_threads(void **state)
{
    struct rpc_fixture *f = *state;
    struct steps_service s;
    struct rpc_result result;
    steps_start(&s, f, 16);
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    assert_int_equal(call(f, &request, 5000, &result), 0);
    assert_string_equal(reply_of(f)->text, "state");
    request.text = (char *)"skip";
    assert_int_equal(call(f, &request, 5000, &result), ERR_STALE);
    assert_string_equal(result.text, "skipped");
    steps_stop(&s, f);
    assert_string_equal(s.order, "poOwpoOw");
}

static void test_full_owner_refuses_new_calls(void **state)
{
    struct rpc_fixture *f = *state;
    struct steps_service s;
    struct rpc_result result;
    steps_start(&s, f, 1); /* the two steps of one call do not fit */
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    assert_int_equal(call(f, &request, 5000, &result), ERR_BUSY);
    assert_true(result.definite);
    steps_stop(&s, f);
    assert_string_equal(s.order, "");
}

static void test_step_sees_cancellation(void **state)
{
    struct rpc_fixture *f = *state;
    struct steps_service s;
    steps_start(&s, f, 16);
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.text = (char *)"wait";
    struct outcome outcome = {0};
    struct rpc_request r = {f->channel, &echo_unary, &request.base, clock_mono_ms() + 20000};
    struct rpc_pending *pending = rpc_call_start_cancellable(f->loop, &r, outcome_done, &outcome);
    while (!atomic_load(&s.in_worker)) {
        (void)rpc_loop_step(f->loop, clock_mono_ms() + 1);
    }
    rpc_pending_cancel(pending);
    rpc_pending_unref(pending);
    assert_true(rpc_loop_until(f->loop, &outcome.done, clock_mono_ms() + 5000));
    steps_stop(&s, f);
    assert_true(atomic_load(&s.cancelled));
}

/* ---- Life ---- */

static void test_drain_lets_calls_end(void **state)
{
    struct rpc_fixture *f = *state;
    struct outcome outcome = {0};
    struct rpc_pending *pending = start_slow(f, 500, &outcome);
    rpc_server_shutdown(f->server);
    assert_false(rpc_server_is_drained(f->server));
    assert_true(rpc_loop_until(f->loop, &outcome.done, clock_mono_ms() + 5000));
    assert_int_equal(outcome.result.code, 0);
    rpc_pending_unref(pending);
    rpc_server_drain(f->server, clock_mono_ms() + 5000);
    assert_true(rpc_server_is_drained(f->server));
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    struct rpc_result result;
    assert_int_equal(call(f, &request, 5000, &result), ERR_UNAVAILABLE);
    assert_true(result.definite);
}

static void test_drain_cancels_at_its_deadline(void **state)
{
    struct rpc_fixture *f = *state;
    struct outcome outcome = {0};
    struct rpc_pending *pending = start_slow(f, 1500, &outcome);
    rpc_server_drain(f->server, clock_mono_ms() + 20);
    assert_true(rpc_loop_until(f->loop, &outcome.done, clock_mono_ms() + 5000));
    assert_int_equal(outcome.result.code, ERR_UNKNOWN);
    rpc_pending_unref(pending);
}

static void test_dead_server_fails_fast_and_definitely(void **state)
{
    struct rpc_fixture *f = *state;
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    struct rpc_result result;
    assert_int_equal(call(f, &request, 5000, &result), 0);
    rpc_fixture_stop(f);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(call(f, &request, 5000, &result), ERR_UNAVAILABLE);
        assert_true(result.definite);
    }
    rpc_fixture_start(f, &(struct rpc_server_options){0}); /* same port */
    time_ms give_up = clock_mono_ms() + 10000;
    int r = ERR_UNAVAILABLE;
    while (r == ERR_UNAVAILABLE && clock_mono_ms() < give_up) {
        r = call(f, &request, 5000, &result);
        (void)rpc_loop_step(f->loop, clock_mono_ms() + 10);
    }
    assert_int_equal(r, 0);
}

/* A server that accepts connections and never says a word. */
static void test_deadline_before_sending_is_definite(void **state)
{
    struct rpc_fixture *f = *state;
    char address[32];
    int fd = rpc_fixture_mute_listener(address, sizeof(address));
    struct rpc_channel *channel;
    struct rpc_channel_options options = {.address = address, .class = RPC_CONTROL};
    assert_int_equal(rpc_channel_open(&options, &channel, NULL), 0);
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    struct rpc_request r = {channel, &echo_unary, &request.base, clock_mono_ms() + 200};
    struct rpc_result result;
    ProtobufCMessage *reply;
    assert_int_equal(rpc_call(f->loop, &r, &f->arena, &reply, &result), ERR_TIMEOUT);
    assert_true(result.definite);
    rpc_channel_unref(channel);
    close(fd);
}

static void test_listening_is_guarded(void **state)
{
    struct rpc_fixture *f = *state;
    struct err e = ERR_INIT;
    assert_int_equal(rpc_fixture_try_listen(f, "0.0.0.0:0", false, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "--insecure"));
    assert_int_equal(rpc_fixture_try_listen(f, ":0", false, &e), ERR_INVALID);
    assert_int_equal(rpc_fixture_try_listen(f, "192.0.2.1:0", false, &e), ERR_INVALID);
    assert_int_equal(rpc_fixture_try_listen(f, "0.0.0.0:0", true, &e), 0);
    assert_int_equal(rpc_fixture_try_listen(f, "localhost:0", false, &e), 0);
    assert_int_equal(rpc_fixture_try_listen(f, "[::1]:0", false, &e), 0);
    assert_int_equal(rpc_fixture_try_listen(f, "127.0.0.1", false, &e), ERR_INVALID);
    e.msg[0] = '\0';
    assert_int_equal(rpc_fixture_try_listen(f, f->address, false, &e), ERR_BUSY);
    assert_non_null(strstr(e.msg, f->address));
    assert_non_null(strstr(e.msg, "in use"));
}

static void test_addresses_of_channels(void **state)
{
    (void)state;
    struct rpc_channel *channel = NULL;
    const char *bad[] = {"", "host", "host:", ":80", "host:0", "host:99999", "[::1:80"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct rpc_channel_options options = {.address = bad[i]};
        assert_int_equal(rpc_channel_open(&options, &channel, NULL), ERR_INVALID);
    }
    struct rpc_channel_options user = {.address = "127.0.0.1:1", .user = "a\nb"};
    assert_int_equal(rpc_channel_open(&user, &channel, NULL), ERR_INVALID);
}

static void test_other_address_families(void **state)
{
    struct rpc_fixture *f = *state;
    const char *listen[] = {"[::1]:0", "localhost:0"};
    for (size_t i = 0; i < ARRAY_COUNT(listen); i++) {
        const char *addresses[] = {listen[i]};
        rpc_fixture_restart(
            f, &(struct rpc_server_options){.addresses = addresses, .address_count = 1});
        echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
        struct rpc_result result;
        assert_int_equal(call(f, &request, 5000, &result), 0);
        /* The same when nobody is there: resolved or not, it was not sent. */
        rpc_fixture_stop(f);
        assert_int_equal(call(f, &request, 5000, &result), ERR_UNAVAILABLE);
        rpc_fixture_start(f, &(struct rpc_server_options){0});
    }
}

static void test_pool_shares_channels(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_pool *pool = rpc_pool_new(NULL, "bob");
    struct rpc_channel *a = NULL, *b = NULL, *c = NULL;
    assert_int_equal(rpc_pool_get(pool, f->address, RPC_CONTROL, &a, NULL), 0);
    assert_int_equal(rpc_pool_get(pool, f->address, RPC_CONTROL, &b, NULL), 0);
    assert_int_equal(rpc_pool_get(pool, f->address, RPC_BULK, &c, NULL), 0);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_int_equal(rpc_channel_class(c), RPC_BULK);
    assert_int_equal(rpc_pool_get(pool, "nonsense", RPC_BULK, &c, NULL), ERR_INVALID);
    rpc_pool_free(pool);
    echo_request request = TRIREME__V1__ECHO_REQUEST__INIT;
    request.text = (char *)"who"; /* a reference outlives the pool */
    struct rpc_request r = {a, &echo_unary, &request.base, clock_mono_ms() + 5000};
    struct rpc_result result;
    ProtobufCMessage *reply;
    assert_int_equal(rpc_call(f->loop, &r, &f->arena, &reply, &result), 0);
    assert_string_equal(((echo_reply *)reply)->user, "bob");
    rpc_channel_unref(a);
    rpc_channel_unref(b);
    rpc_channel_unref(c);
}

/* Waiting on any loop takes it on. */
static void test_connects_before_there_is_a_call(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_loop *other = rpc_loop_new();
    time_ms give_up = clock_mono_ms() + 10 * 1000;
    assert_false(rpc_channel_is_connected(f->channel));
    rpc_channel_connect(f->channel);
    while (!rpc_channel_is_connected(f->channel) && clock_mono_ms() < give_up) {
        (void)rpc_loop_step(other, clock_mono_ms() + 10);
    }
    assert_true(rpc_channel_is_connected(f->channel));
    rpc_loop_free(other);
}

#define FIXTURE_TEST(name)                                                                         \
    cmocka_unit_test_setup_teardown(name, rpc_fixture_setup, rpc_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_posts_from_many_threads_arrive_in_order),
        cmocka_unit_test(test_calls_run_at_once_on_the_own_thread_only),
        cmocka_unit_test(test_timers_fire_in_order_and_can_be_cancelled),
        FIXTURE_TEST(test_unary),
        FIXTURE_TEST(test_errors_keep_their_names),
        FIXTURE_TEST(test_error_text_is_bounded),
        FIXTURE_TEST(test_unknown_method),
        FIXTURE_TEST(test_deadline_is_unknown),
        FIXTURE_TEST(test_sizes_are_limited),
        FIXTURE_TEST(test_many_calls_in_flight),
        FIXTURE_TEST(test_client_cancels),
        FIXTURE_TEST(test_above_the_limit_is_busy),
        FIXTURE_TEST(test_two_pollers_and_three_clients),
        FIXTURE_TEST(test_calls_from_a_thread_that_is_not_the_loops),
        FIXTURE_TEST(test_steps_run_on_their_threads),
        FIXTURE_TEST(test_full_owner_refuses_new_calls),
        FIXTURE_TEST(test_step_sees_cancellation),
        FIXTURE_TEST(test_drain_lets_calls_end),
        FIXTURE_TEST(test_drain_cancels_at_its_deadline),
        FIXTURE_TEST(test_dead_server_fails_fast_and_definitely),
        FIXTURE_TEST(test_deadline_before_sending_is_definite),
        FIXTURE_TEST(test_listening_is_guarded),
        cmocka_unit_test(test_addresses_of_channels),
        FIXTURE_TEST(test_other_address_families),
        FIXTURE_TEST(test_pool_shares_channels),
        FIXTURE_TEST(test_connects_before_there_is_a_call),
    };
    rpc_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_exit();
    return failed;
}
