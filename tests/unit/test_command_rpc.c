/* The codec of commands: every entry and operation survives the way to bytes and back; what is not
 * ours is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/arena.h"
#include "fsmaster/command_rpc.h"
#include "proto/fslog.pb-c.h"

static struct arena arena = ARENA_INIT;

/* Entry -> bytes -> entry -> bytes: both bytes are equal; the entry in between comes back. */
static struct command_entry round_trip(const struct command_entry *entry)
{
    struct buf first = BUF_INIT;
    struct buf second = BUF_INIT;
    struct command_entry back;
    assert_int_equal(command_encode(entry, &arena, &first, NULL), 0);
    char *bytes = arena_copy(&arena, first.data, first.length);
    assert_int_equal(command_decode((struct span){bytes, first.length}, &arena, &back, NULL), 0);
    assert_int_equal(command_encode(&back, &arena, &second, NULL), 0);
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    assert_int_equal(back.kind, entry->kind);
    buf_deinit(&first);
    buf_deinit(&second);
    return back;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void test_internal(void **state)
{
    (void)state;
    struct command_entry e = {.kind = ENTRY_NOOP, .cluster_ms = 7, .wall_ms = 8};
    struct command_entry back = round_trip(&e);
    assert_int_equal(back.cluster_ms, 7);
    assert_int_equal(back.wall_ms, 8);
    e.kind = ENTRY_FORMAT;
    e.format = (struct cmd_format){"c", "root", 3};
    back = round_trip(&e);
    assert_string_equal(back.format.cluster_id, "c");
    assert_string_equal(back.format.superuser, "root");
    assert_int_equal(back.format.default_replication, 3);
    e.kind = ENTRY_REGISTER_SERVER;
    e.register_server = (struct cmd_register_server){{{1, 2, 3}}, "h", "r", "a:1", "/s"};
    back = round_trip(&e);
    assert_int_equal(back.register_server.key.bytes[2], 3);
    assert_string_equal(back.register_server.host, "h");
    assert_string_equal(back.register_server.rack, "r");
    assert_string_equal(back.register_server.address, "a:1");
    assert_string_equal(back.register_server.local_socket, "/s");
    e.kind = ENTRY_SEAL_BEGIN;
    e.seal_begin = (struct cmd_seal_begin){5, 2, "why"};
    back = round_trip(&e);
    assert_int_equal(back.seal_begin.chunk, 5);
    assert_int_equal(back.seal_begin.new_version, 2);
    assert_string_equal(back.seal_begin.reason, "why");
    e.kind = ENTRY_SEAL_END;
    e.seal_end = (struct cmd_seal_end){{5, 2}, 99, true};
    back = round_trip(&e);
    assert_int_equal(back.seal_end.chunk.id, 5);
    assert_int_equal(back.seal_end.chunk.version, 2);
    assert_int_equal(back.seal_end.length, 99);
    assert_true(back.seal_end.drop);
    struct lease_ref leases[] = {{3, 4}, {5, 6}};
    e.kind = ENTRY_EXPIRE_LEASES;
    e.expire_leases = (struct cmd_expire_leases){leases, 2};
    back = round_trip(&e);
    assert_int_equal(back.expire_leases.count, 2);
    assert_int_equal(back.expire_leases.leases[1].epoch, 6);
    e.kind = ENTRY_TICK;
    round_trip(&e);
    e.kind = ENTRY_REAP;
    e.reap.count = 12;
    assert_int_equal(round_trip(&e).reap.count, 12);
    e.kind = ENTRY_BEGIN_ERA;
    e.era_floor = UINT64_C(1) << 51;
    assert_int_equal(round_trip(&e).era_floor, UINT64_C(1) << 51);
    e.kind = ENTRY_RELEASE_ORPHANS;
    round_trip(&e);
    e.kind = ENTRY_ADMIN_SERVER;
    e.admin_server = (struct cmd_admin_server){7, SERVER_IN_MAINTENANCE, 99, true};
    back = round_trip(&e);
    assert_int_equal(back.admin_server.server, 7);
    assert_int_equal(back.admin_server.state, SERVER_IN_MAINTENANCE);
    assert_int_equal(back.admin_server.until_ms, 99);
    assert_true(back.admin_server.over);
    e.admin_server.state = 12; /* of a newer program: apply refuses it */
    assert_int_equal(round_trip(&e).admin_server.state, 12);
}

static void check_xattr(const struct op_set_xattr *op)
{
    assert_string_equal(op->path, "/x");
    assert_string_equal(op->name, "user.a");
    assert_int_equal(op->value.length, 2);
    assert_memory_equal(op->value.data, "\0b", 2);
    assert_int_equal(op->mode, XATTR_REPLACE);
}

static void check_quotas(const struct op_create *create, const struct op_set_quota *quota)
{
    assert_string_equal(create->link_path, "/l");
    assert_int_equal(create->link_bytes, 99);
    assert_string_equal(quota->path, "/q");
    assert_int_equal(quota->fields, QUOTA_NAMES | QUOTA_SPACE);
    assert_int_equal(quota->names, 7);
    assert_true(quota->space == QUOTA_NONE);
}

static void test_operations(void **state)
{
    (void)state;
    static const server_id servers[] = {4, 5};
    static const server_id exclude[] = {6};
    const struct precondition preconditions[] = {
        {PRECONDITION_PATH_ABSENT, "/x", 0},
        {PRECONDITION_PATH_IS, "/y", 77},
        {PRECONDITION_FENCE_IS, "f", 78},
        {PRECONDITION_NONE, "", 0},
    };
    const struct operation operations[] = {
        {.seq = 1,
         .kind = OPERATION_MKDIR,
         .preconditions = preconditions,
         .precondition_count = 4,
         .mkdir = {"/m", 0700, true}},
        {.seq = 2,
         .kind = OPERATION_CREATE,
         .create = {"/c", 0600, 2, 1 << 20, true, true, true, "host", servers, 2, "/l", 99}},
        {.seq = 3, .kind = OPERATION_ACQUIRE_LEASE, .acquire_lease = {"/l"}},
        {.seq = 4,
         .kind = OPERATION_ALLOCATE,
         .allocate = {9, 1, 64, {3, 1}, 64, "host", exclude, 1, servers, 2}},
        {.seq = 5, .kind = OPERATION_SEAL_CHUNK, .seal_chunk = {9, 1, {3, 1}, 64}},
        {.seq = 6, .kind = OPERATION_ABANDON_CHUNK, .abandon_chunk = {9, 1, {3, 1}}},
        {.seq = 7, .kind = OPERATION_CLOSE, .close = {9, 1, {3, 1}, 64, "/n", true, true, 5}},
        {.seq = 8, .kind = OPERATION_ABANDON, .abandon = {9, 1}},
        {.seq = 9, .kind = OPERATION_RENAME, .rename = {"/s", "/t", true}},
        {.seq = 10, .kind = OPERATION_DELETE, .delete_ = {"/d", true}},
        {.seq = 11,
         .kind = OPERATION_SET_ATTRIBUTES,
         .set_attributes = {"/a", 31, 0711, "o", "g", 6, 2}},
        {.seq = 12, .kind = OPERATION_RAISE_FENCE, .raise_fence = {"f"}},
        {.seq = 13, .kind = OPERATION_SET_QUOTA, .set_quota = {"/q", 3, 7, QUOTA_NONE}},
        {.seq = 14, .kind = OPERATION_SET_XATTR, .set_xattr = {"/x", "user.a", {"\0b", 2}, 2}},
    };
    static const char *const groups[] = {"g1", "g2"};
    struct command_entry e = {
        .kind = ENTRY_MUTATE, .caller = {"ada", groups, 2, true}, .mutate = {5, 2, operations, 14}};
    struct command_entry back = round_trip(&e);
    const struct operation *op = back.mutate.operations;
    assert_int_equal(back.mutate.session, 5);
    assert_int_equal(back.mutate.acked_below, 2);
    assert_int_equal(back.mutate.operation_count, 14);
    assert_string_equal(back.caller.user, "ada");
    assert_string_equal(back.caller.groups[1], "g2");
    assert_true(back.caller.is_superuser);
    for (uint32_t i = 0; i < 14; i++) {
        assert_int_equal(op[i].kind, operations[i].kind);
        assert_int_equal(op[i].seq, i + 1);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(op[0].preconditions[i].kind, preconditions[i].kind);
        assert_string_equal(op[0].preconditions[i].name, preconditions[i].name);
        assert_int_equal(op[0].preconditions[i].number, preconditions[i].number);
    }
    assert_true(op[1].create.first_chunk);
    assert_string_equal(op[1].create.writer_host, "host");
    assert_int_equal(op[1].create.server_count, 2);
    assert_int_equal(op[1].create.servers[1], 5);
    assert_string_equal(op[3].allocate.writer_host, "host");
    assert_int_equal(op[3].allocate.previous.id, 3);
    assert_int_equal(op[3].allocate.servers[1], 5);
    assert_int_equal(op[3].allocate.exclude[0], 6);
    assert_string_equal(op[6].close.link_path, "/n");
    assert_int_equal(op[6].close.mtime_ms, 5);
    assert_string_equal(op[10].set_attributes.group, "g");
    check_quotas(&op[1].create, &op[12].set_quota);
    check_xattr(&op[13].set_xattr);
}

static void test_request(void **state)
{
    (void)state;
    uint64_t servers[] = {1, 2, 3};
    Trireme__V1__Allocate allocate = TRIREME__V1__ALLOCATE__INIT;
    allocate.servers = servers;
    allocate.n_servers = 3;
    Trireme__V1__Operation op = TRIREME__V1__OPERATION__INIT;
    op.kind_case = TRIREME__V1__OPERATION__KIND_ALLOCATE;
    op.allocate = &allocate;
    Trireme__V1__Operation *ops[NAMESPACE_BATCH_COUNT_MAX + 1];
    for (size_t i = 0; i < NAMESPACE_BATCH_COUNT_MAX + 1; i++) {
        ops[i] = &op;
    }
    Trireme__V1__MutateRequest request = TRIREME__V1__MUTATE_REQUEST__INIT;
    request.operations = ops;
    request.n_operations = 1;
    struct cmd_mutate cmd;
    assert_int_equal(command_from_request(&request.base, &arena, &cmd, NULL), 0);
    assert_int_equal(cmd.operations[0].allocate.server_count, 0); /* the leader's to choose */
    Trireme__V1__Create create = TRIREME__V1__CREATE__INIT;
    create.servers = servers;
    create.n_servers = 3;
    op.kind_case = TRIREME__V1__OPERATION__KIND_CREATE;
    op.create = &create;
    assert_int_equal(command_from_request(&request.base, &arena, &cmd, NULL), 0);
    assert_int_equal(cmd.operations[0].create.server_count, 0);
    request.n_operations = NAMESPACE_BATCH_COUNT_MAX + 1;
    assert_int_equal(command_from_request(&request.base, &arena, &cmd, NULL), ERR_TOO_LARGE);
    Trireme__V1__Precondition precondition = TRIREME__V1__PRECONDITION__INIT;
    Trireme__V1__Precondition *preconditions[NAMESPACE_PRECONDITION_COUNT_MAX + 1];
    for (size_t i = 0; i < NAMESPACE_PRECONDITION_COUNT_MAX + 1; i++) {
        preconditions[i] = &precondition;
    }
    request.n_operations = 1;
    op.preconditions = preconditions;
    op.n_preconditions = NAMESPACE_PRECONDITION_COUNT_MAX + 1;
    assert_int_equal(command_from_request(&request.base, &arena, &cmd, NULL), ERR_TOO_LARGE);
}

static void test_refused(void **state)
{
    (void)state;
    struct command_entry back;
    struct err e = ERR_INIT;
    static const uint8_t garbage[] = {0xff, 0xff, 0xff};
    static const uint8_t newer_field[] = {0x52, 0x00, 0xf8, 0x07, 0x01}; /* noop, 127: 1 */
    static const uint8_t newer_command[] = {0xf2, 0x07, 0x00};           /* 126: {} */
    static const uint8_t newer_operation[] = {0x62, 0x05, 0x1a, 0x03, 0xf2, 0x07, 0x00};
    static const uint8_t short_key[] = {0x6a, 0x03, 0x0a, 0x01, 0x00};
    assert_int_equal(command_decode((struct span){garbage, 3}, &arena, &back, &e), ERR_CORRUPT);
    assert_int_equal(command_decode((struct span){"", 0}, &arena, &back, &e), ERR_VERSION);
    assert_int_equal(command_decode((struct span){newer_field, 5}, &arena, &back, &e), ERR_VERSION);
    assert_int_equal(command_decode((struct span){newer_command, 3}, &arena, &back, &e),
                     ERR_VERSION);
    assert_int_equal(command_decode((struct span){newer_operation, 7}, &arena, &back, &e),
                     ERR_VERSION);
    assert_int_equal(command_decode((struct span){short_key, 5}, &arena, &back, &e), ERR_CORRUPT);
}

static void test_reply(void **state)
{
    (void)state;
    const struct server_record servers[] = {
        {.id = 3, .host = "h", .rack = "r", .address = "a", .local_socket = "s"}};
    const struct op_result results[] = {
        {.code = ERR_NOT_FOUND, .text = "/x: no such file"},
        {.text = "",
         .inode = 4,
         .lease_epoch = 5,
         .fence_epoch = 6,
         .length = 7,
         .chunk = {8, 9},
         .open_chunk = {10, 11},
         .replicas = servers,
         .replica_count = 1,
         .chunk_bytes = 12,
         .replication = 13},
        {.code = ERR_INVALID, .text = "cut \xc3"},
    };
    const struct apply_result result = {.results = results, .result_count = 3};
    Trireme__V1__MutateReply reply = TRIREME__V1__MUTATE_REPLY__INIT;
    command_to_reply(&result, 77, &arena, &reply.base);
    assert_int_equal(reply.applied_index, 77);
    assert_int_equal(reply.n_results, 3);
    assert_string_equal(reply.results[0]->outcome->error_name, "ERR_NOT_FOUND");
    assert_string_equal(reply.results[0]->outcome->error_text, "/x: no such file");
    assert_null(reply.results[0]->chunk);
    const Trireme__V1__OperationResult *m = reply.results[1];
    assert_string_equal(m->outcome->error_name, "");
    assert_int_equal(m->inode, 4);
    assert_int_equal(m->lease_epoch, 5);
    assert_int_equal(m->fence_epoch, 6);
    assert_int_equal(m->length, 7);
    assert_int_equal(m->chunk->version, 9);
    assert_int_equal(m->open_chunk->id, 10);
    assert_int_equal(m->replicas[0]->id, 3);
    assert_string_equal(m->replicas[0]->address, "a");
    assert_int_equal(m->chunk_bytes, 12);
    assert_int_equal(m->replication, 13);
    assert_string_equal(reply.results[2]->outcome->error_text, "cut ?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_internal), cmocka_unit_test(test_operations),
        cmocka_unit_test(test_request),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_reply),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
