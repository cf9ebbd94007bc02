/* client/race, through libdfs: a file master that is silent costs a little, not the call; one that
 * is slow is asked once, and keeps its turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/check.h"
#include "common/rpc/rpc_server.h"
#include "proto/fs.pb-c.h"
#include "tests/lib/rpc_fixture.h"

enum {
    MASTER_COUNT = 3,
    LOOK_MS = 2,
    /* Shorter than one attempt: a client that waits for a silent master to its end has no time
     * left. */
    TIMEOUT_MS = 9500,
    GIVE_UP_MS = 1200,
};

enum behaviour {
    ANSWERS,
    REFUSES, /* ERR_NOT_LEADER, with the hint */
    EXISTS,  /* ERR_EXISTS */
    SILENT,  /* until the client is gone */
    SLOW,    /* silent until others have refused SLOW_REFUSALS times */
};
enum { SLOW_REFUSALS = 4 };

struct fake_master {
    struct rpc_server *server;
    char address[LIMIT_ADDRESS_BYTES_MAX];
    enum behaviour behaviour;
    const char *hint;
    atomic_uint calls;
};

struct fixture {
    struct rpc_loop *loop;
    struct fake_master masters[MASTER_COUNT];
    struct dfs *dfs;
};

static atomic_uint refusals;

static int fake_fill(struct rpc_call *call)
{
    const ProtobufCMessage *request = rpc_call_request(call);
    if (request->descriptor == &trireme__v1__stat_request__descriptor) {
        Trireme__V1__Attributes *a = arena_alloc(rpc_call_arena(call), sizeof(*a));
        trireme__v1__attributes__init(a);
        a->inode = 7;
        a->kind = TRIREME__V1__KIND__KIND_FILE;
        ((Trireme__V1__StatReply *)rpc_call_reply(call))->attributes = a;
        return 0;
    }
    Trireme__V1__MutateReply *reply = (void *)rpc_call_reply(call);
    Trireme__V1__OperationResult *result = arena_alloc(rpc_call_arena(call), sizeof(*result));
    Trireme__V1__Outcome *outcome = arena_alloc(rpc_call_arena(call), sizeof(*outcome));
    trireme__v1__operation_result__init(result);
    trireme__v1__outcome__init(outcome);
    result->outcome = outcome;
    reply->n_results = 1;
    reply->results = arena_copy(rpc_call_arena(call), &result, sizeof(result));
    return 0;
}

struct held {
    struct rpc_timer timer;
    struct rpc_call *call;
    struct fake_master *master;
};

static void hold(void *arg)
{
    struct held *held = arg;
    if (rpc_call_is_cancelled(held->call)) {
        rpc_call_finish(held->call, ERR_CANCELLED, NULL);
    } else if (held->master->behaviour == SLOW && atomic_load(&refusals) >= SLOW_REFUSALS) {
        rpc_call_finish(held->call, fake_fill(held->call), NULL);
    } else {
        rpc_timer_set(rpc_call_loop(held->call), &held->timer, clock_mono_ms() + LOOK_MS, hold,
                      held);
    }
}

static int fake_step(struct rpc_call *call, void *service)
{
    struct fake_master *master = service;
    atomic_fetch_add(&master->calls, 1);
    switch (master->behaviour) {
    case ANSWERS:
        return fake_fill(call);
    case REFUSES:
        atomic_fetch_add(&refusals, 1);
        rpc_call_set_leader(call, master->hint ? master->hint : "");
        return ERR_NOT_LEADER;
    case EXISTS:
        return ERR_EXISTS;
    default:
        break;
    }
    struct held *held = arena_calloc(rpc_call_arena(call), sizeof(*held));
    held->call = call;
    held->master = master;
    hold(held);
    return RPC_PENDING;
}

static const struct rpc_method stat_method = {"/trireme.v1.FsMaster/Stat", RPC_UNARY,
                                              &trireme__v1__stat_request__descriptor,
                                              &trireme__v1__stat_reply__descriptor};
static const struct rpc_method mutate_method = {"/trireme.v1.FsMaster/Mutate", RPC_UNARY,
                                                &trireme__v1__mutate_request__descriptor,
                                                &trireme__v1__mutate_reply__descriptor};
static const struct rpc_service_row rows[] = {
    {.method = &stat_method, .steps = {{RPC_OWNER, fake_step}}},
    {.method = &mutate_method, .steps = {{RPC_OWNER, fake_step}}},
    {.method = NULL},
};

/* Steps on the masters' thread. Not as RPC_POLLER: such a method never hears of cancellations. */
static bool reserve(void *ctx, unsigned count)
{
    (void)ctx;
    (void)count;
    return true;
}

static void release(void *ctx, unsigned count)
{
    (void)ctx;
    (void)count;
}

static void submit(void *ctx, struct rpc_task *task)
{
    rpc_loop_post(ctx, task->fn, task->arg);
}

static void fake_start(struct fixture *f, struct fake_master *master)
{
    const char *any[] = {"127.0.0.1:0"};
    struct rpc_service service = {rows, master};
    struct rpc_executor owner = {f->loop, reserve, release, submit};
    struct rpc_server_options options = {
        .owner = &owner,
        .addresses = any,
        .address_count = 1,
        .loops = &f->loop,
        .loop_count = 1,
        .services = &service,
        .service_count = 1,
    };
    CHECK(rpc_server_new(&options, &master->server, NULL) == 0);
    (void)snprintf(master->address, sizeof(master->address), "127.0.0.1:%d",
                   rpc_server_port(master->server, 0));
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    rpc_init();
    atomic_store(&refusals, 0);
    f->loop = rpc_loop_new();
    for (int i = 0; i < MASTER_COUNT; i++) {
        fake_start(f, &f->masters[i]);
    }
    CHECK(rpc_loop_start_thread(f->loop, "masters", NULL) == 0);
    *state = f;
    return 0;
}

/* That the servers drain proves that every call that lost was cancelled. */
static int teardown(void **state)
{
    struct fixture *f = *state;
    dfs_disconnect(f->dfs);
    for (int i = 0; i < MASTER_COUNT; i++) {
        rpc_server_drain(f->masters[i].server, RPC_NO_DEADLINE);
        rpc_server_free(f->masters[i].server);
    }
    rpc_loop_join_thread(f->loop);
    rpc_loop_free(f->loop);
    rpc_exit();
    free(f);
    return 0;
}

/* Before the first call: behaviours are read by the masters' thread. */
static void client(struct fixture *f, uint32_t timeout_ms, const char *masters)
{
    struct dfs_options options = {.masters = masters, .user = "u", .timeout_ms = timeout_ms};
    assert_int_equal(dfs_connect(&options, &f->dfs, NULL), 0);
}

static void client_of_all(struct fixture *f, uint32_t timeout_ms)
{
    char *masters =
        xprintf("%s,%s,%s", f->masters[0].address, f->masters[1].address, f->masters[2].address);
    client(f, timeout_ms, masters);
    free(masters);
}

static void stats(struct fixture *f)
{
    struct dfs_stat stat;
    struct dfs_err e = {0};
    assert_int_equal(dfs_stat(f->dfs, "/a", &stat, &e), 0);
    assert_int_equal(stat.inode, 7);
}

static void test_silent_leader(void **state)
{
    struct fixture *f = *state;
    f->masters[0].behaviour = SILENT;
    f->masters[1].behaviour = REFUSES;
    client_of_all(f, TIMEOUT_MS);
    stats(f);
    assert_int_equal(atomic_load(&f->masters[0].calls), 1);
    stats(f); /* it has learnt who leads */
    assert_int_equal(atomic_load(&f->masters[0].calls), 1);
    assert_int_equal(atomic_load(&f->masters[2].calls), 2);
}

/* A host whose kernel takes connections for a process that is stopped. */
static void test_mute_host(void **state)
{
    struct fixture *f = *state;
    char mute[LIMIT_ADDRESS_BYTES_MAX];
    int fd = rpc_fixture_mute_listener(mute, sizeof(mute));
    char *masters = xprintf("%s,%s", mute, f->masters[1].address);
    client(f, TIMEOUT_MS, masters);
    free(masters);
    stats(f);
    assert_int_equal(close(fd), 0);
}

static void test_two_of_three_silent(void **state)
{
    struct fixture *f = *state;
    f->masters[0].behaviour = f->masters[1].behaviour = SILENT;
    client_of_all(f, TIMEOUT_MS);
    stats(f);
}

/* Nobody else leads: the slow one is waited for, and not burdened again. */
static void test_slow_leader(void **state)
{
    struct fixture *f = *state;
    f->masters[0].behaviour = SLOW;
    f->masters[1].behaviour = f->masters[2].behaviour = REFUSES;
    f->masters[1].hint = f->masters[2].hint = f->masters[0].address;
    client_of_all(f, TIMEOUT_MS);
    stats(f);
    assert_int_equal(atomic_load(&f->masters[0].calls), 1);
    assert_int_equal(atomic_load(&refusals), SLOW_REFUSALS);
}

static void test_hint_to_unconfigured(void **state)
{
    struct fixture *f = *state;
    f->masters[0].behaviour = SILENT;
    f->masters[1].behaviour = REFUSES;
    f->masters[1].hint = f->masters[2].address;
    char *masters = xprintf("%s,%s", f->masters[0].address, f->masters[1].address);
    client(f, TIMEOUT_MS, masters);
    free(masters);
    stats(f);
    assert_int_equal(atomic_load(&f->masters[2].calls), 1);
}

static void test_change(void **state)
{
    struct fixture *f = *state;
    struct dfs_err e = {0};
    f->masters[0].behaviour = SILENT;
    client_of_all(f, TIMEOUT_MS);
    assert_int_equal(dfs_mkdir(f->dfs, "/d", 0, 0, NULL, &e), 0);
}

/* The other one leads, and what it says counts. */
static void test_definite_refusal(void **state)
{
    struct fixture *f = *state;
    struct dfs_err e = {0};
    f->masters[0].behaviour = SILENT;
    f->masters[1].behaviour = f->masters[2].behaviour = EXISTS;
    client_of_all(f, TIMEOUT_MS);
    assert_int_equal(dfs_mkdir(f->dfs, "/d", 0, 0, NULL, &e), DFS_EEXISTS);
    assert_false(e.unknown);
}

static void test_all_silent(void **state)
{
    struct fixture *f = *state;
    struct dfs_stat stat;
    struct dfs_err e = {0};
    f->masters[0].behaviour = f->masters[1].behaviour = f->masters[2].behaviour = SILENT;
    client_of_all(f, GIVE_UP_MS);
    assert_int_equal(dfs_mkdir(f->dfs, "/d", 0, 0, NULL, &e), DFS_EUNKNOWN);
    assert_true(e.unknown);
    assert_int_equal(dfs_stat(f->dfs, "/d", &stat, &e), DFS_ETIMEOUT);
    assert_false(e.unknown);
}

/* Sent to a silent one and refused by all others: the first may have done it. */
static void test_given_up_after_refusals(void **state)
{
    struct fixture *f = *state;
    struct dfs_err e = {0};
    f->masters[0].behaviour = SILENT;
    f->masters[1].behaviour = f->masters[2].behaviour = REFUSES;
    client_of_all(f, GIVE_UP_MS);
    assert_int_equal(dfs_mkdir(f->dfs, "/d", 0, 0, NULL, &e), DFS_EUNKNOWN);
    assert_true(atomic_load(&refusals) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_silent_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mute_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_of_three_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hint_to_unconfigured, setup, teardown),
        cmocka_unit_test_setup_teardown(test_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_definite_refusal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_silent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_given_up_after_refusals, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
