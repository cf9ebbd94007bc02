/* What is asked of us, of etcd, and of a bare echo server; see load.h. A create names a new file
 * and gives it an inode, attributes and a lease; a put stores the same name with a value so long
 * that both logs take in equally many bytes. */
#include <stdio.h>
#include <string.h>

#include <etcd/etcd_kv.pb-c.h>
#include <proto/echo.pb-c.h>
#include <proto/fs.pb-c.h>

#include "bench/lib/load.h"
#include "bench/lib/measure.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/macros.h"
#include "fsmaster/command_rpc.h"
#include "tests/lib/echo_rpc.h"

enum { ECHO_BYTES_OF_MESSAGE = 24, ECHO_BYTES_OF_OP = 22 }; /* of a request with creates */
enum { CLOSES_OF_MESSAGE = 64 };

static const struct rpc_method method_mutate = {"/trireme.v1.FsMaster/Mutate", RPC_UNARY,
                                                &trireme__v1__mutate_request__descriptor,
                                                &trireme__v1__mutate_reply__descriptor};
static const struct rpc_method method_stat = {"/trireme.v1.FsMaster/Stat", RPC_UNARY,
                                              &trireme__v1__stat_request__descriptor,
                                              &trireme__v1__stat_reply__descriptor};
static const struct rpc_method method_put = {"/etcdserverpb.KV/Put", RPC_UNARY,
                                             &etcdserverpb__put_request__descriptor,
                                             &etcdserverpb__put_response__descriptor};
static const struct rpc_method method_txn = {"/etcdserverpb.KV/Txn", RPC_UNARY,
                                             &etcdserverpb__txn_request__descriptor,
                                             &etcdserverpb__txn_response__descriptor};
static const struct rpc_method method_range = {"/etcdserverpb.KV/Range", RPC_UNARY,
                                               &etcdserverpb__range_request__descriptor,
                                               &etcdserverpb__range_response__descriptor};

static char *new_path(struct load_lane *lane)
{
    char *path = arena_alloc(&lane->arena, LOAD_PATH_BYTES);
    load_next_path(path);
    return path;
}

/* ---- Ours ---- */

/* A session is the window of one lane of one run, so sequence numbers begin anew. */
static uint64_t session_of(const struct load_lane *lane)
{
    return lane->load->run * LOAD_FLIGHT_MAX + lane->number;
}

static Trireme__V1__Operation *create_op(struct load_lane *lane)
{
    Trireme__V1__Operation *operation = arena_alloc(&lane->arena, sizeof(*operation));
    trireme__v1__operation__init(operation);
    operation->create = arena_alloc(&lane->arena, sizeof(*operation->create));
    trireme__v1__create__init(operation->create);
    operation->create->path = new_path(lane);
    operation->kind_case = TRIREME__V1__OPERATION__KIND_CREATE;
    operation->seq = ++lane->seq;
    return operation;
}

static ProtobufCMessage *create_request(struct load_lane *lane)
{
    const struct load *load = lane->load;
    Trireme__V1__MutateRequest *request = arena_alloc(&lane->arena, sizeof(*request));
    trireme__v1__mutate_request__init(request);
    request->session = session_of(lane);
    request->acked_below = lane->seq + 1;
    request->n_operations = load->ops;
    lane->asked = load->ops;
    request->operations = arena_alloc(&lane->arena, load->ops * sizeof(void *));
    for (uint32_t i = 0; i < load->ops; i++) {
        request->operations[i] = create_op(lane);
    }
    return &request->base;
}

static void note_file(struct load_lane *lane, const Trireme__V1__OperationResult *result)
{
    if (lane->file_count == lane->file_capacity) {
        lane->file_capacity = lane->file_capacity ? 2 * lane->file_capacity : 1024;
        lane->files = xreallocarray(lane->files, lane->file_capacity, sizeof(lane->files[0]));
    }
    lane->files[lane->file_count++] = (struct load_file){result->inode, result->lease_epoch};
}

static void mutate_check(struct load_lane *lane, const ProtobufCMessage *reply)
{
    const Trireme__V1__MutateReply *mutated = (const void *)reply;
    const struct load *load = lane->load;
    if (mutated->n_results != lane->asked) {
        bench_fail("%zu results for %zu operations", mutated->n_results, lane->asked);
    }
    for (size_t i = 0; i < mutated->n_results; i++) {
        const Trireme__V1__OperationResult *result = mutated->results[i];
        if (result->outcome && result->outcome->error_name[0]) {
            bench_fail("%s: %s", load->finishing ? "close" : "create", result->outcome->error_name);
        }
        if (!load->finishing) {
            note_file(lane, result);
        }
    }
}

/* Else their leases would end during the loads that follow. */
static ProtobufCMessage *close_request(struct load_lane *lane)
{
    size_t count = MIN(lane->file_count, (size_t)CLOSES_OF_MESSAGE);
    if (count == 0) {
        return NULL;
    }
    Trireme__V1__MutateRequest *request = arena_alloc(&lane->arena, sizeof(*request));
    trireme__v1__mutate_request__init(request);
    request->session = session_of(lane);
    request->acked_below = lane->seq + 1;
    request->n_operations = count;
    lane->asked = count;
    request->operations = arena_alloc(&lane->arena, count * sizeof(void *));
    for (size_t i = 0; i < count; i++) {
        const struct load_file *file = &lane->files[--lane->file_count];
        Trireme__V1__Operation *operation = arena_alloc(&lane->arena, sizeof(*operation));
        trireme__v1__operation__init(operation);
        operation->close = arena_alloc(&lane->arena, sizeof(*operation->close));
        trireme__v1__close__init(operation->close);
        operation->close->inode = file->inode;
        operation->close->lease_epoch = file->lease_epoch;
        operation->kind_case = TRIREME__V1__OPERATION__KIND_CLOSE;
        operation->seq = ++lane->seq;
        request->operations[i] = operation;
    }
    return &request->base;
}

const struct load_ask load_create = {&method_mutate, create_request, mutate_check, close_request};

size_t load_create_entry_bytes(void)
{
    char path[LOAD_PATH_BYTES];
    struct arena arena = ARENA_INIT;
    struct buf bytes = BUF_INIT;
    load_next_path(path);
    struct operation operation = {.seq = 1000, .kind = OPERATION_CREATE, .create = {.path = path}};
    struct command_entry entry = {.kind = ENTRY_MUTATE,
                                  .cluster_ms = 1 << 20,
                                  .wall_ms = clock_wall_ms(),
                                  .caller = {.user = "root", .is_superuser = true},
                                  .mutate = {1000, 1000, &operation, 1}};
    if (command_encode(&entry, &arena, &bytes, NULL) < 0) {
        bench_fail("cannot encode a create");
    }
    size_t length = bytes.length;
    buf_deinit(&bytes);
    arena_deinit(&arena);
    return length;
}

static ProtobufCMessage *mkdir_request(struct load_lane *lane)
{
    Trireme__V1__MutateRequest *request = (void *)create_request(lane);
    for (size_t i = 0; i < request->n_operations; i++) {
        Trireme__V1__Operation *operation = request->operations[i];
        operation->mkdir = arena_alloc(&lane->arena, sizeof(*operation->mkdir));
        trireme__v1__mkdir__init(operation->mkdir);
        operation->mkdir->path = arena_alloc(&lane->arena, LOAD_PATH_BYTES);
        (void)snprintf(operation->mkdir->path, LOAD_PATH_BYTES, "/d%02zu", i);
        operation->kind_case = TRIREME__V1__OPERATION__KIND_MKDIR;
    }
    return &request->base;
}

void load_make_directories(const char *address)
{
    static const struct load_ask ask = {.method = &method_mutate,
                                        .request = mkdir_request}; /* or they exist */
    struct load load = {.ask = &ask, .address = address, .flight = 1, .ops = LOAD_DIRECTORIES};
    load_run(&load);
    load_end(&load);
}

static ProtobufCMessage *stat_request(struct load_lane *lane)
{
    Trireme__V1__StatRequest *request = arena_alloc(&lane->arena, sizeof(*request));
    trireme__v1__stat_request__init(request);
    request->path = arena_alloc(&lane->arena, LOAD_PATH_BYTES);
    (void)snprintf(request->path, LOAD_PATH_BYTES, "/d%02u", lane->number % LOAD_DIRECTORIES);
    return &request->base;
}

const struct load_ask load_stat = {.method = &method_stat, .request = stat_request};

/* ---- The floor ---- */

static ProtobufCMessage *echo_request(struct load_lane *lane)
{
    size_t length = ECHO_BYTES_OF_MESSAGE + ECHO_BYTES_OF_OP * (size_t)lane->load->ops;
    Trireme__V1__EchoRequest *request = arena_alloc(&lane->arena, sizeof(*request));
    trireme__v1__echo_request__init(request);
    request->text = arena_alloc(&lane->arena, length + 1);
    memset(request->text, 'x', length);
    request->text[length] = '\0';
    return &request->base;
}

const struct load_ask load_echo = {.method = &echo_unary, .request = echo_request};

/* ---- etcd ---- */

static void put_fill(struct load_lane *lane, Etcdserverpb__PutRequest *put)
{
    size_t bytes = lane->load->value_bytes;
    etcdserverpb__put_request__init(put);
    put->key.data = (uint8_t *)new_path(lane);
    put->key.len = strlen((const char *)put->key.data);
    put->value.data = arena_alloc(&lane->arena, bytes);
    put->value.len = bytes;
    memset(put->value.data, 'v', bytes);
}

static ProtobufCMessage *put_request(struct load_lane *lane)
{
    Etcdserverpb__PutRequest *put = arena_alloc(&lane->arena, sizeof(*put));
    put_fill(lane, put);
    return &put->base;
}

static void put_check(struct load_lane *lane, const ProtobufCMessage *reply)
{
    const Etcdserverpb__PutResponse *response = (const void *)reply;
    (void)lane;
    if (!response->header || response->header->revision <= 1) {
        bench_fail("etcd has not put anything");
    }
}

const struct load_ask load_etcd_put = {
    .method = &method_put, .request = put_request, .check = put_check};

static ProtobufCMessage *txn_request(struct load_lane *lane)
{
    uint32_t ops = lane->load->ops;
    Etcdserverpb__TxnRequest *txn = arena_alloc(&lane->arena, sizeof(*txn));
    etcdserverpb__txn_request__init(txn);
    txn->n_success = ops;
    txn->success = arena_alloc(&lane->arena, ops * sizeof(void *));
    for (uint32_t i = 0; i < ops; i++) {
        Etcdserverpb__RequestOp *op = arena_alloc(&lane->arena, sizeof(*op));
        etcdserverpb__request_op__init(op);
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = arena_alloc(&lane->arena, sizeof(*op->request_put));
        put_fill(lane, op->request_put);
        txn->success[i] = op;
    }
    return &txn->base;
}

static void txn_check(struct load_lane *lane, const ProtobufCMessage *reply)
{
    (void)lane;
    if (!((const Etcdserverpb__TxnResponse *)(const void *)reply)->succeeded) {
        bench_fail("etcd has refused a transaction");
    }
}

const struct load_ask load_etcd_txn = {
    .method = &method_txn, .request = txn_request, .check = txn_check};

static ProtobufCMessage *range_request(struct load_lane *lane)
{
    Etcdserverpb__RangeRequest *range = arena_alloc(&lane->arena, sizeof(*range));
    etcdserverpb__range_request__init(range);
    range->key.data = (uint8_t *)"/d01/f00000001";
    range->key.len = strlen((const char *)range->key.data);
    return &range->base;
}

const struct load_ask load_etcd_range = {.method = &method_range, .request = range_request};
