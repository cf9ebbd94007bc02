/* fsmaster/raft_rpc: each kind of message comes out as it went in; what no honest member sends is
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/limits.h"
#include "common/macros.h"
#include "fsmaster/raft_rpc.h"

static const struct raft_envelope envelope = {
    .cluster = {{1, 2, 3}}, .from = {{4, 5, 6, 7}}, .to = {{8, 9, 10, 11, 12, 13, 14, 15, 16}}};

static int there_and_back(const struct raft_message *m, struct arena *arena,
                          struct raft_unpacked *ret)
{
    struct rpc_bytes *packed = raft_message_pack(&envelope, m);
    int r = raft_message_unpack(packed, arena, ret, NULL);
    rpc_bytes_unref(packed);
    if (r == 0) {
        assert_memory_equal(&ret->envelope, &envelope, sizeof(envelope));
        assert_false(ret->is_hello);
        assert_int_equal(ret->message.kind, m->kind);
        assert_int_equal(ret->message.term, m->term);
        assert_int_equal(ret->message.from, raft_key_of(envelope.from));
        assert_int_equal(ret->message.to, raft_key_of(envelope.to));
    }
    return r;
}

static void test_append(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct raft_unpacked u;
    struct log_entry entries[] = {{8, 3, LOG_ENTRY_EMPTY, {NULL, 0}},
                                  {9, 3, LOG_ENTRY_COMMAND, {"abc", 3}},
                                  {10, 4, LOG_ENTRY_CONFIG, {"\0x", 2}}};
    struct raft_message m = {.kind = RAFT_APPEND,
                             .term = 4,
                             .append = {.prev_index = 7,
                                        .prev_term = 2,
                                        .commit = 6,
                                        .round = 99,
                                        .count = 3,
                                        .entries = entries}};
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    const struct raft_append *a = &u.message.append;
    assert_int_equal(a->prev_index, 7);
    assert_int_equal(a->prev_term, 2);
    assert_int_equal(a->commit, 6);
    assert_int_equal(a->round, 99);
    assert_int_equal(a->count, 3);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->entries[i].index, entries[i].index);
        assert_int_equal(a->entries[i].term, entries[i].term);
        assert_int_equal(a->entries[i].type, entries[i].type);
        assert_int_equal(a->entries[i].data.length, entries[i].data.length);
        assert_true(entries[i].data.length == 0 ||
                    memcmp(a->entries[i].data.data, entries[i].data.data, entries[i].data.length) ==
                        0);
    }
    m.append.count = 0; /* a heartbeat */
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    assert_int_equal(u.message.append.count, 0);
    arena_deinit(&arena);
}

static void test_the_others(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct raft_unpacked u;
    struct raft_message m = {
        .kind = RAFT_APPEND_REPLY, .term = 9, .append_reply = {true, 1, 2, 3, 4, 5}};
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    assert_memory_equal(&u.message.append_reply, &m.append_reply, sizeof(m.append_reply));
    m = (struct raft_message){.kind = RAFT_VOTE, .term = 9, .vote = {10, 8, true, true}};
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    assert_int_equal(u.message.vote.last_index, 10);
    assert_int_equal(u.message.vote.last_term, 8);
    assert_true(u.message.vote.pre && u.message.vote.transfer);
    m = (struct raft_message){.kind = RAFT_VOTE_REPLY, .term = 9, .vote_reply = {true, false}};
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    assert_true(u.message.vote_reply.granted && !u.message.vote_reply.pre);
    m = (struct raft_message){
        .kind = RAFT_SNAPSHOT, .term = 9, .snapshot = {5, 4, 100, 1000, {"piece", 5}}};
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    assert_int_equal(u.message.snapshot.index, 5);
    assert_int_equal(u.message.snapshot.last_term, 4);
    assert_int_equal(u.message.snapshot.offset, 100);
    assert_int_equal(u.message.snapshot.bytes, 1000);
    assert_int_equal(u.message.snapshot.data.length, 5);
    assert_memory_equal(u.message.snapshot.data.data, "piece", 5);
    m = (struct raft_message){
        .kind = RAFT_SNAPSHOT_REPLY, .term = 9, .snapshot_reply = {5, 100, false, true}};
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    assert_int_equal(u.message.snapshot_reply.offset, 100);
    assert_true(u.message.snapshot_reply.refused && !u.message.snapshot_reply.installed);
    m = (struct raft_message){.kind = RAFT_TIMEOUT_NOW, .term = 9};
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    arena_deinit(&arena);
}

static void test_hello(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct raft_unpacked u;
    struct raft_hello hello = {.wire_version = 3, .address = "[::1]:7000"};
    struct rpc_bytes *packed = raft_hello_pack(&envelope, &hello);
    assert_int_equal(raft_message_unpack(packed, &arena, &u, NULL), 0);
    rpc_bytes_unref(packed);
    assert_true(u.is_hello);
    assert_int_equal(u.hello.wire_version, 3);
    assert_string_equal(u.hello.address, "[::1]:7000");
    arena_deinit(&arena);
}

static void test_refused(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct raft_unpacked u;
    struct raft_message m = {
        .kind = RAFT_SNAPSHOT, .term = 9, .snapshot = {5, 4, 998, 1000, {"piece", 5}}};
    assert_int_equal(there_and_back(&m, &arena, &u), ERR_CORRUPT); /* beyond its end */
    m.snapshot.offset = UINT64_MAX - 1;
    assert_int_equal(there_and_back(&m, &arena, &u), ERR_CORRUPT);

    struct log_entry *entries = xcalloc(RAFT_APPEND_COUNT_MAX + 1, sizeof(*entries));
    for (size_t i = 0; i <= RAFT_APPEND_COUNT_MAX; i++) {
        entries[i].type = LOG_ENTRY_COMMAND;
    }
    m = (struct raft_message){.kind = RAFT_APPEND,
                              .term = 9,
                              .append = {.count = RAFT_APPEND_COUNT_MAX + 1, .entries = entries}};
    assert_int_equal(there_and_back(&m, &arena, &u), ERR_TOO_LARGE);
    m.append.count = 1;
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    m.append.prev_index = UINT64_MAX - 1;
    assert_int_equal(there_and_back(&m, &arena, &u), ERR_CORRUPT);
    m.append.prev_index = 0;
    entries[0].type = 77;
    assert_int_equal(there_and_back(&m, &arena, &u), ERR_CORRUPT);
    entries[0].type = LOG_ENTRY_COMMAND;
    char *large = xcalloc(1, LOG_ENTRY_BYTES_MAX + 1);
    entries[0].data = (struct span){large, LOG_ENTRY_BYTES_MAX};
    assert_int_equal(there_and_back(&m, &arena, &u), 0);
    entries[0].data.length++;
    assert_int_equal(there_and_back(&m, &arena, &u), ERR_TOO_LARGE);
    free(large);
    free(entries);

    struct rpc_bytes *nothing = rpc_bytes_copy("", 0); /* no keys */
    assert_int_equal(raft_message_unpack(nothing, &arena, &u, NULL), ERR_CORRUPT);
    rpc_bytes_unref(nothing);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_the_others),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
