/* Client sessions: exactly once, the window of replies, unknown and foreign sessions, expiry; what
 * an entry gives before the namespace is formatted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fsmaster/keys.h"
#include "tests/lib/namespace_fixture.h"

static int setup(void **state)
{
    static struct fixture f;
    fixture_init(&f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_deinit(*state);
    return 0;
}

static const struct op_result *mutate(struct fixture *f, session_id session, uint64_t acked_below,
                                      const struct operation *operations, uint32_t count)
{
    struct command_entry entry = {.kind = ENTRY_MUTATE,
                                  .mutate = {session, acked_below, operations, count}};
    return fixture_apply(f, entry)->results;
}

static struct op_result mkdir_seq(struct fixture *f, uint64_t acked_below, uint64_t seq,
                                  const char *path)
{
    struct operation op = {.seq = seq, .kind = OPERATION_MKDIR, .mkdir = {path, 0, false}};
    return *mutate(f, 5, acked_below, &op, 1);
}

static uint64_t session_count(struct fixture *f)
{
    struct namespace_totals totals;
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    return totals.sessions;
}

static void test_once(void **state)
{
    struct fixture *f = *state;
    struct op_result first = mkdir_seq(f, 1, 1, "/tmp/a");
    assert_int_equal(first.code, 0);
    assert_false(first.repeated);
    struct op_result again = mkdir_seq(f, 1, 1, "/tmp/a");
    assert_true(again.repeated);
    assert_int_equal(again.code, 0);
    assert_int_equal(again.inode, first.inode);
    /* an error is kept as well, even when it would go well now */
    assert_int_equal(mkdir_seq(f, 1, 2, "/tmp/b/c").code, ERR_NOT_FOUND);
    assert_int_equal(mkdir_seq(f, 1, 3, "/tmp/b").code, 0);
    struct op_result refused = mkdir_seq(f, 1, 2, "/tmp/b/c");
    assert_true(refused.repeated);
    assert_int_equal(refused.code, ERR_NOT_FOUND);
    assert_string_equal(refused.text, err_text(ERR_NOT_FOUND));
    /* acknowledged: stale, and nothing runs */
    assert_int_equal(mkdir_seq(f, 3, 4, "/tmp/d").code, 0);
    assert_int_equal(mkdir_seq(f, 3, 2, "/tmp/e").code, ERR_STALE);
    assert_int_equal(mkdir_seq(f, 1, 2, "/tmp/e").code, ERR_STALE); /* a late request */
    assert_true(mkdir_seq(f, 1, 3, "/tmp/e").repeated);
    assert_int_equal(fixture_stat(f, "/tmp/e", NULL), ERR_NOT_FOUND);
}

/* In any order, and up to the last number. */
static void test_once_in_any_order(void **state)
{
    struct fixture *f = *state;
    const uint64_t last = UINT64_MAX - 1;
    assert_int_equal(mkdir_seq(f, 1, 3, "/tmp/c").code, 0);
    assert_false(mkdir_seq(f, 1, 1, "/tmp/a").repeated);
    assert_true(mkdir_seq(f, 1, 3, "/tmp/c").repeated);
    assert_true(mkdir_seq(f, 1, 1, "/tmp/a").repeated);
    assert_false(mkdir_seq(f, 1, 2, "/tmp/b").repeated);
    assert_int_equal(mkdir_seq(f, last, last, "/tmp/d").code, 0);
    assert_true(mkdir_seq(f, last, last, "/tmp/d").repeated);
    assert_int_equal(mkdir_seq(f, last, UINT64_MAX, "/tmp/e").code, ERR_INVALID);
    assert_int_equal(fixture_stat(f, "/tmp/e", NULL), ERR_NOT_FOUND);
}

/* A row that does not say which numbers are new. */
static void test_row_of_before(void **state)
{
    struct fixture *f = *state;
    struct row_key key = row_key_u64(ROW_SESSION, 5);
    struct session_row row;
    struct buf value = BUF_INIT;
    assert_int_equal(mkdir_seq(f, 1, 2, "/tmp/a").code, 0);
    assert_int_equal(kv_view_get(&f->view, row_key_span(&key), &value), 0);
    assert_int_equal(session_decode((struct span){value.data, value.length}, &row), 0);
    assert_int_equal(row.next_seq, 3);
    row.next_seq = SESSION_SEQ_UNKNOWN;
    session_encode(&row, &value);
    kv_view_put(&f->view, row_key_span(&key), (struct span){value.data, value.length});
    buf_deinit(&value);
    namespace_free(f->ns); /* with what it remembers */
    f->ns = namespace_new(0);
    assert_true(mkdir_seq(f, 1, 2, "/tmp/a").repeated);
    assert_int_equal(mkdir_seq(f, 1, 3, "/tmp/b").code, 0);
    assert_true(mkdir_seq(f, 1, 3, "/tmp/b").repeated);
}

static void test_all_fields_are_kept(void **state)
{
    struct fixture *f = *state;
    static const server_id servers[] = {4, 2};
    struct operation op = {.seq = 1, .kind = OPERATION_CREATE, .create = {.path = "/tmp/f"}};
    struct op_result file = *mutate(f, 5, 1, &op, 1);
    struct op_result kept = *mutate(f, 5, 1, &op, 1);
    assert_int_equal(kept.inode, file.inode);
    assert_int_equal(kept.lease_epoch, file.lease_epoch);
    assert_int_equal(kept.chunk_bytes, file.chunk_bytes);
    assert_int_equal(kept.replication, file.replication);
    op = (struct operation){.seq = 2,
                            .kind = OPERATION_ALLOCATE,
                            .allocate = {.inode = file.inode,
                                         .lease_epoch = file.lease_epoch,
                                         .writer_host = "",
                                         .servers = servers,
                                         .server_count = 2}};
    struct op_result chunk = *mutate(f, 5, 1, &op, 1);
    assert_int_equal(chunk.code, 0);
    op.allocate.server_count = 0; /* the leader chooses anew: the first choice stands */
    kept = *mutate(f, 5, 1, &op, 1);
    assert_true(kept.repeated);
    assert_int_equal(kept.chunk.id, chunk.chunk.id);
    assert_int_equal(kept.replica_count, 2);
    assert_int_equal(kept.replicas[0].id, 4);
    assert_string_equal(kept.replicas[1].host, "h");
    op = (struct operation){.seq = 3, .kind = OPERATION_RAISE_FENCE, .raise_fence = {"f"}};
    assert_int_equal(mutate(f, 5, 1, &op, 1)->fence_epoch, 1);
    assert_int_equal(mutate(f, 5, 1, &op, 1)->fence_epoch, 1);
    op = (struct operation){.seq = 4, .kind = OPERATION_ACQUIRE_LEASE, .acquire_lease = {"/tmp/f"}};
    struct op_result lease = *mutate(f, 5, 1, &op, 1);
    kept = *mutate(f, 5, 1, &op, 1);
    assert_int_equal(kept.lease_epoch, lease.lease_epoch);
    assert_int_equal(kept.open_chunk.id, chunk.chunk.id);
    assert_int_equal(kept.open_chunk.version, 1);
}

static void test_many_in_one_request(void **state)
{
    struct fixture *f = *state;
    struct operation ops[] = {
        {.seq = 1, .kind = OPERATION_MKDIR, .mkdir = {"/tmp/a", 0, false}},
        {.seq = 2, .kind = OPERATION_MKDIR, .mkdir = {"/tmp/a/b", 0, false}},
        {.seq = 2, .kind = OPERATION_MKDIR, .mkdir = {"/tmp/a/c", 0, false}}, /* the same seq */
        {.seq = 3, .kind = OPERATION_DELETE, .delete_ = {"/tmp/nope", false}},
        {.seq = 4, .kind = OPERATION_NONE},
        {.seq = 5, .kind = OPERATION_MKDIR, .mkdir = {"/tmp/a/d", 0, false}},
    };
    const struct op_result *r = mutate(f, 5, 1, ops, 6);
    assert_int_equal(f->result.result_count, 6);
    assert_int_equal(r[1].code, 0);
    assert_true(r[2].repeated);
    assert_int_equal(r[3].code, ERR_NOT_FOUND);
    assert_int_equal(r[4].code, ERR_UNSUPPORTED);
    assert_int_equal(r[5].code, 0);
    assert_int_equal(fixture_stat(f, "/tmp/a/c", NULL), ERR_NOT_FOUND);
}

static void test_window(void **state)
{
    struct fixture *f = *state;
    char path[32];
    for (uint64_t seq = SESSION_WINDOW_COUNT_MAX; seq >= 1; seq--) { /* in any order */
        (void)snprintf(path, sizeof(path), "/tmp/%u", (unsigned)seq);
        assert_int_equal(mkdir_seq(f, 1, seq, path).code, 0);
    }
    assert_int_equal(mkdir_seq(f, 1, SESSION_WINDOW_COUNT_MAX + 1, "/tmp/x").code, ERR_BUSY);
    assert_int_equal(mkdir_seq(f, 2, SESSION_WINDOW_COUNT_MAX + 1, "/tmp/x").code, 0);
    assert_int_equal(mkdir_seq(f, 1, UINT64_MAX, "/tmp/y").code, ERR_BUSY);
    assert_int_equal(mkdir_seq(f, 1, 0, "/tmp/y").code, ERR_STALE);
    size_t rows = f->kv.count;
    assert_int_equal(mkdir_seq(f, 100000, 100000, "/tmp/z").code, 0); /* all replies go */
    assert_int_equal(f->kv.count, rows - SESSION_WINDOW_COUNT_MAX + 3);
}

static void test_unknown(void **state)
{
    struct fixture *f = *state;
    struct operation op = {.seq = 7, .kind = OPERATION_MKDIR, .mkdir = {"/tmp/a", 0, false}};
    assert_int_equal(mutate(f, 9, 7, &op, 1)->code, ERR_STALE);
    assert_int_equal(fixture_stat(f, "/tmp/a", NULL), ERR_NOT_FOUND);
    assert_int_equal(session_count(f), 0);
    assert_int_equal(mutate(f, 0, 1, &op, 1)->code, ERR_INVALID);
    assert_int_equal(mutate(f, 9, 0, &op, 1)->code, ERR_INVALID);
    mutate(f, 9, 1, NULL, 0); /* opens and does nothing */
    assert_int_equal(session_count(f), 1);
    assert_int_equal(mutate(f, 9, 7, &op, 1)->code, 0);
    f->caller.user = "bob"; /* not his, and its replies are none of his business */
    assert_int_equal(mutate(f, 9, 7, &op, 1)->code, ERR_PERMISSION);
    static const char *const bad[] = {"", "a/b", "\xff", "."};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        f->caller.user = bad[i];
        assert_int_equal(mutate(f, 10, 1, &op, 1)->code, ERR_INVALID);
    }
    f->caller.user = "ada";
    f->caller.group_count = CALLER_GROUP_COUNT_MAX + 1;
    assert_int_equal(mutate(f, 10, 1, &op, 1)->code, ERR_INVALID);
    f->caller.group_count = 0;
    static struct operation many[NAMESPACE_BATCH_COUNT_MAX + 1];
    assert_int_equal(mutate(f, 10, 1, many, NAMESPACE_BATCH_COUNT_MAX + 1)->code, ERR_INVALID);
    assert_int_equal(mutate(f, 10, 1, many, NAMESPACE_BATCH_COUNT_MAX)->code, ERR_STALE);
}

static const struct apply_result *tick_at(struct fixture *f, time_ms cluster_ms)
{
    f->cluster_ms = cluster_ms - 1;
    return fixture_apply(f, (struct command_entry){.kind = ENTRY_TICK});
}

static void test_expiry(void **state)
{
    struct fixture *f = *state;
    size_t rows = f->kv.count;
    mkdir_seq(f, 1, 1, "/tmp/a");
    time_ms opened = f->cluster_ms;
    tick_at(f, opened + SESSION_LIFE_MS - 1);
    assert_int_equal(session_count(f), 1);
    assert_true(mkdir_seq(f, 1, 1, "/tmp/a").repeated); /* used: lives on */
    time_ms used = f->cluster_ms;
    tick_at(f, used + SESSION_LIFE_MS - 1);
    assert_int_equal(session_count(f), 1);
    tick_at(f, used + SESSION_LIFE_MS);
    assert_int_equal(session_count(f), 0);
    assert_int_equal(f->kv.count, rows + 2); /* the directory is all that is left */
    assert_int_equal(mkdir_seq(f, 2, 2, "/tmp/b").code, ERR_STALE);
}

static void test_expiry_is_bounded(void **state)
{
    struct fixture *f = *state;
    for (session_id s = 1; s <= 2 * NAMESPACE_TICK_COUNT_MAX + 3; s++) {
        mutate(f, s, 1, NULL, 0);
    }
    time_ms late = f->cluster_ms + SESSION_LIFE_MS + 10;
    assert_true(tick_at(f, late)->more);
    assert_int_equal(session_count(f), NAMESPACE_TICK_COUNT_MAX + 3);
    assert_true(tick_at(f, late + 1)->more);
    assert_false(tick_at(f, late + 2)->more);
    assert_int_equal(session_count(f), 0);
    /* cluster time never goes back */
    struct namespace_totals totals;
    tick_at(f, 5);
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    assert_int_equal(totals.cluster_ms, late + 2);
}

/* Expired and opened again within one batch. */
static void test_reopened_in_one_batch(void **state)
{
    struct fixture *f = *state;
    struct apply_result result;
    struct operation op = {.seq = 1, .kind = OPERATION_MKDIR, .mkdir = {"/tmp/a", 0, false}};
    mutate(f, 5, 1, &op, 1);
    time_ms late = f->cluster_ms + SESSION_LIFE_MS;
    struct command_entry tick = {.kind = ENTRY_TICK, .cluster_ms = late, .caller = f->caller};
    struct command_entry again = {
        .kind = ENTRY_MUTATE, .cluster_ms = late, .caller = f->caller, .mutate = {5, 1, &op, 1}};
    namespace_begin(f->ns, &f->view);
    f->at.index++;
    assert_int_equal(namespace_apply(f->ns, &tick, f->at, &f->arena, &result), 0);
    f->at.index++;
    assert_int_equal(namespace_apply(f->ns, &again, f->at, &f->arena, &result), 0);
    assert_int_equal(result.results[0].code, ERR_EXISTS); /* it ran */
    assert_int_equal(namespace_end(f->ns), 0);
    assert_int_equal(session_count(f), 1);
    struct err e = ERR_INIT;
    assert_int_equal(namespace_check(&f->view, &e), 0);
}

static void test_not_formatted(void **state)
{
    (void)state;
    struct fixture f;
    struct attributes a;
    struct namespace_totals totals;
    struct operation op = {.seq = 1, .kind = OPERATION_MKDIR, .mkdir = {"/tmp/a", 0, false}};
    fixture_init_empty(&f);
    assert_int_equal(namespace_totals(&f.view, &totals), 0);
    assert_string_equal(totals.cluster_id, "");
    assert_int_equal(totals.applied.index, 0);
    assert_int_equal(mutate(&f, 1, 1, &op, 1)->code, ERR_UNAVAILABLE);
    assert_int_equal(fixture_apply(&f, (struct command_entry){.kind = ENTRY_NOOP})->code, 0);
    assert_int_equal(fixture_apply(&f, (struct command_entry){.kind = ENTRY_TICK})->code,
                     ERR_UNAVAILABLE);
    assert_int_equal(fixture_stat(&f, "/", &a), ERR_UNAVAILABLE);
    struct command_entry format = {.kind = ENTRY_FORMAT, .format = {"", "root", 3}};
    assert_int_equal(fixture_apply(&f, format)->code, ERR_INVALID);
    format.format = (struct cmd_format){"c", "", 3};
    assert_int_equal(fixture_apply(&f, format)->code, ERR_INVALID);
    format.format = (struct cmd_format){"c", "root", 0};
    assert_int_equal(fixture_apply(&f, format)->code, ERR_INVALID);
    assert_int_equal(namespace_totals(&f.view, &totals), 0);
    assert_int_equal(totals.applied.index, f.at.index); /* errors count as applied */
    fixture_deinit(&f);
}

static void test_unknown_command_stops(void **state)
{
    struct fixture *f = *state;
    struct apply_result result;
    struct mem_kv before;
    mem_kv_init(&before);
    mem_kv_copy(&before, &f->kv);
    struct command_entry unknown = {.kind = ENTRY_NONE};
    struct log_position next = {f->at.index + 1, 1};
    namespace_begin(f->ns, &f->view);
    assert_int_equal(namespace_apply(f->ns, &unknown, next, &f->arena, &result), ERR_UNSUPPORTED);
    assert_int_equal(namespace_end(f->ns), ERR_UNSUPPORTED);
    assert_true(mem_kv_equal(&before, &f->kv));
    namespace_begin(f->ns, &f->view); /* other modules' entries count as applied */
    namespace_skip(f->ns, next);
    assert_int_equal(namespace_end(f->ns), 0);
    struct namespace_totals totals;
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    assert_int_equal(totals.applied.index, next.index);
    mem_kv_deinit(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_once_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_row_of_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_fields_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_in_one_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_window, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopened_in_one_batch, setup, teardown),
        cmocka_unit_test(test_not_formatted),
        cmocka_unit_test_setup_teardown(test_unknown_command_stops, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
