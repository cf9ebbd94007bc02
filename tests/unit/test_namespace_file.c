/* Files: creation, leases, allocation, sealing by the writer and after a failure, closing,
 * locating. Every entry is followed by a walk of all invariants (namespace_fixture). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/lib/namespace_fixture.h"

static const struct chunk_ref no_chunk = {0, 0};

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

/* From here on requests come from another client. */
static void as_session(struct fixture *f, session_id session)
{
    f->session = session;
    f->seq += 1000;
    fixture_apply(f, (struct command_entry){.kind = ENTRY_MUTATE,
                                            .mutate = {.session = session, .acked_below = 1}});
}

static struct op_result seal(struct fixture *f, const struct op_result *file,
                             struct chunk_ref chunk, uint64_t length)
{
    return fixture_run(
        f, (struct operation){.kind = OPERATION_SEAL_CHUNK,
                              .seal_chunk = {file->inode, file->lease_epoch, chunk, length}});
}

static struct op_result acquire(struct fixture *f, const char *path)
{
    return fixture_run(
        f, (struct operation){.kind = OPERATION_ACQUIRE_LEASE, .acquire_lease = {path}});
}

static struct op_result abandon(struct fixture *f, const struct op_result *file)
{
    return fixture_run(f, (struct operation){.kind = OPERATION_ABANDON,
                                             .abandon = {file->inode, file->lease_epoch}});
}

static void expire(struct fixture *f, inode_id inode, uint64_t epoch)
{
    struct lease_ref lease = {inode, epoch};
    struct command_entry entry = {.kind = ENTRY_EXPIRE_LEASES, .expire_leases = {&lease, 1}};
    assert_int_equal(fixture_apply(f, entry)->code, 0);
}

static int seal_begin(struct fixture *f, chunk_id chunk, uint64_t new_version)
{
    struct command_entry entry = {.kind = ENTRY_SEAL_BEGIN, .seal_begin = {chunk, new_version, ""}};
    return fixture_apply(f, entry)->code;
}

static int seal_end(struct fixture *f, struct chunk_ref chunk, uint64_t length, bool drop)
{
    struct command_entry entry = {.kind = ENTRY_SEAL_END, .seal_end = {chunk, length, drop}};
    return fixture_apply(f, entry)->code;
}

static int64_t length_of(struct fixture *f, const char *path)
{
    struct attributes a;
    int64_t r = fixture_stat(f, path, &a);
    return r < 0 ? r : (int64_t)a.length;
}

/* ---- Create ---- */

static void test_create(void **state)
{
    struct fixture *f = *state;
    struct attributes a;
    struct operation op = {.kind = OPERATION_CREATE, .create = {.path = "/tmp/f"}};
    struct op_result r = fixture_run(f, op);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.lease_epoch, 1);
    assert_int_equal(r.replication, 3);
    assert_int_equal(r.chunk_bytes, CHUNK_BYTES_DEFAULT);
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_GRANTED), 1);
    assert_int_equal(fixture_stat(f, "/tmp/f", &a), (int64_t)r.inode);
    assert_int_equal(a.mode, 0644);
    assert_true(a.open);
    assert_int_equal(fixture_run(f, op).code, ERR_EXISTS);
    op.create.replace = true; /* the old one goes, its lease with it */
    struct op_result again = fixture_run(f, op);
    assert_int_equal(again.code, 0);
    assert_true(again.inode != r.inode);
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ENDED), 1);
    assert_int_equal(fixture_close(f, &r, no_chunk, 0, "").code, ERR_NOT_FOUND);
    op.create.path = "/tmp";
    assert_int_equal(fixture_run(f, op).code, ERR_IS_DIR);
    op.create.path = "/tmp/a/b";
    assert_int_equal(fixture_run(f, op).code, ERR_NOT_FOUND);
    op.create.parents = true;
    assert_int_equal(fixture_run(f, op).code, 0);
    op.create.path = "/tmp/bad";
    op.create.replication = CHUNK_REPLICAS_MAX + 1;
    assert_int_equal(fixture_run(f, op).code, ERR_INVALID);
    op.create.replication = 1;
    static const uint64_t sizes[] = {1, CHUNK_BYTES_MIN - CHUNK_BLOCK_BYTES, CHUNK_BYTES_MIN + 1,
                                     2ull * CHUNK_BYTES_MAX};
    for (size_t i = 0; i < 4; i++) {
        op.create.chunk_bytes = sizes[i];
        assert_int_equal(fixture_run(f, op).code, ERR_INVALID);
    }
    op.create.chunk_bytes = CHUNK_BYTES_MAX;
    op.create.mode = 010000;
    assert_int_equal(fixture_run(f, op).code, ERR_INVALID);
    op.create.mode = 0600;
    assert_int_equal(fixture_run(f, op).code, 0);
}

static void test_unnamed(void **state)
{
    struct fixture *f = *state;
    struct attributes a;
    struct op_result file = fixture_create(f, "");
    struct op_result chunk = fixture_allocate(f, &file, 0, no_chunk, 0);
    struct target by_inode = {.path = "", .inode = file.inode};
    assert_int_equal(chunk.code, 0);
    assert_int_equal(namespace_stat(&f->view, &f->caller, &by_inode, &f->arena, &a), 0);
    struct caller bob = {.user = "bob"};
    assert_int_equal(namespace_stat(&f->view, &bob, &by_inode, &f->arena, &a), ERR_NOT_FOUND);
    assert_int_equal(fixture_stat(f, "/tmp", &a) > 0 ? (int)a.subtree_files : -1, 0);
    /* refused closings change nothing */
    assert_int_equal(fixture_close(f, &file, chunk.chunk, 5, "").code, ERR_INVALID);
    assert_int_equal(fixture_close(f, &file, chunk.chunk, 5, "/tmp/no/f").code, ERR_NOT_FOUND);
    assert_int_equal(fixture_close(f, &file, chunk.chunk, 5, "/tmp").code, ERR_EXISTS);
    assert_int_equal(fixture_close(f, &file, no_chunk, 0, "/tmp/f").code, ERR_PRECONDITION);
    struct op_result closed = fixture_close(f, &file, chunk.chunk, 5, "/tmp/f");
    assert_int_equal(closed.code, 0);
    assert_int_equal(closed.length, 5);
    assert_int_equal(fixture_stat(f, "/tmp/f", &a), (int64_t)file.inode);
    assert_false(a.open);
    assert_int_equal(a.length, 5);
    /* the same again, as after a lost reply and a new session */
    as_session(f, 9);
    assert_int_equal(fixture_close(f, &file, chunk.chunk, 5, "/tmp/f").code, 0);
    assert_int_equal(fixture_close(f, &file, chunk.chunk, 6, "/tmp/f").code, ERR_SEALED);
    assert_int_equal(fixture_close(f, &file, chunk.chunk, 5, "/tmp/g").code, ERR_STALE);
    /* only the first of two gets the name */
    struct op_result second = fixture_create(f, "");
    assert_int_equal(fixture_close(f, &second, no_chunk, 0, "/tmp/f").code, ERR_EXISTS);
    struct operation replace = {.kind = OPERATION_CLOSE,
                                .close = {.inode = second.inode,
                                          .lease_epoch = second.lease_epoch,
                                          .link_path = "/tmp/f",
                                          .replace = true,
                                          .mtime_ms = 77}};
    assert_int_equal(fixture_run(f, replace).code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_FREED), 1);
    assert_int_equal(fixture_stat(f, "/tmp/f", &a), (int64_t)second.inode);
    assert_int_equal(a.mtime_ms, 77);
    struct op_result third = fixture_create(f, "");
    replace.close.inode = third.inode;
    replace.close.link_path = "/tmp/p/q/f";
    replace.close.parents = true;
    assert_int_equal(fixture_run(f, replace).code, 0);
    assert_true(fixture_stat(f, "/tmp/p/q/f", NULL) > 0);
}

static void test_unnamed_goes(void **state)
{
    struct fixture *f = *state;
    size_t rows = f->kv.count;
    struct op_result file = fixture_create(f, "");
    fixture_allocate(f, &file, 0, no_chunk, 0);
    expire(f, file.inode, file.lease_epoch + 1); /* not the current one */
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ENDED), 0);
    expire(f, file.inode, file.lease_epoch);
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ENDED), 1);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_FREED), 1);
    expire(f, file.inode, file.lease_epoch);
    struct op_result other = fixture_create(f, "");
    fixture_allocate(f, &other, 0, no_chunk, 0);
    assert_int_equal(abandon(f, &other).code, 0);
    assert_int_equal(abandon(f, &other).code, ERR_NOT_FOUND);
    assert_int_equal(f->kv.count, rows + 3); /* session, its due row, its last reply */
}

/* ---- Allocation ---- */

static void test_allocate(void **state)
{
    struct fixture *f = *state;
    struct op_result file = fixture_create(f, "/tmp/f");
    struct op_result first = fixture_allocate(f, &file, 0, no_chunk, 0);
    assert_int_equal(first.code, 0);
    assert_int_equal(first.chunk.version, 1);
    assert_int_equal(first.replica_count, 3);
    assert_int_equal(first.replicas[2].id, 3);
    assert_string_equal(first.replicas[2].host, "h");
    assert_int_equal(first.chunk_bytes, FIXTURE_MIB);
    const struct effect *effect = &f->result.effects[0];
    assert_int_equal(effect->kind, EFFECT_CHUNK_ALLOCATED);
    assert_int_equal(effect->server_count, 3);
    assert_int_equal(effect->wanted, 3);
    /* refused: the first is still open; wrong offset; too long; unknown chunk; old version */
    struct chunk_ref stranger = {first.chunk.id + 9, 1};
    struct chunk_ref newer = {first.chunk.id, 2};
    assert_int_equal(fixture_allocate(f, &file, 0, no_chunk, 0).code, ERR_PRECONDITION);
    assert_int_equal(fixture_allocate(f, &file, 9, first.chunk, 10).code, ERR_PRECONDITION);
    assert_int_equal(fixture_allocate(f, &file, FIXTURE_MIB + 1, first.chunk, FIXTURE_MIB + 1).code,
                     ERR_INVALID);
    assert_int_equal(fixture_allocate(f, &file, 10, stranger, 10).code, ERR_PRECONDITION);
    assert_int_equal(fixture_allocate(f, &file, 10, newer, 10).code, ERR_STALE);
    assert_int_equal(length_of(f, "/tmp/f"), 0);
    struct op_result second = fixture_allocate(f, &file, 10, first.chunk, 10);
    assert_int_equal(second.code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_SEALED), 1);
    assert_int_equal(length_of(f, "/tmp/f"), 10);
    /* nothing was written to the second: it goes, the next one takes its place */
    struct op_result third = fixture_allocate(f, &file, 10, second.chunk, 0);
    assert_int_equal(third.code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_FREED), 1);
    assert_true(third.chunk.id > second.chunk.id);
    assert_int_equal(fixture_close(f, &file, third.chunk, 7, "").length, 17);
    assert_int_equal(fixture_allocate(f, &file, 17, no_chunk, 0).code, ERR_STALE);
}

static void test_allocate_servers(void **state)
{
    struct fixture *f = *state;
    struct op_result file = fixture_create(f, "/tmp/f");
    server_id servers[CHUNK_REPLICAS_MAX + 1] = {1, 2, 1};
    struct operation op = {.kind = OPERATION_ALLOCATE,
                           .allocate = {.inode = file.inode,
                                        .lease_epoch = file.lease_epoch,
                                        .writer_host = "",
                                        .servers = servers,
                                        .server_count = 3}};
    assert_int_equal(fixture_run(f, op).code, ERR_INVALID); /* twice */
    op.allocate.server_count = 0;
    assert_int_equal(fixture_run(f, op).code, ERR_FEW_SERVERS);
    servers[0] = FIXTURE_SERVER_COUNT + 1;
    op.allocate.server_count = 1;
    assert_int_equal(fixture_run(f, op).code, ERR_INVALID); /* unknown */
    servers[0] = 0;
    assert_int_equal(fixture_run(f, op).code, ERR_INVALID);
    op.allocate.server_count = CHUNK_REPLICAS_MAX + 1;
    assert_int_equal(fixture_run(f, op).code, ERR_INVALID);
    servers[0] = 4;
    op.allocate.server_count = 1;
    assert_int_equal(fixture_run(f, op).code, 0);
}

static struct op_result create_with_chunk(struct fixture *f, const char *path, uint32_t count)
{
    static const server_id servers[] = {3, 1, 2, 2};
    return fixture_run(f, (struct operation){.kind = OPERATION_CREATE,
                                             .create = {.path = path,
                                                        .chunk_bytes = FIXTURE_MIB,
                                                        .first_chunk = true,
                                                        .servers = servers,
                                                        .server_count = count,
                                                        .link_path = ""}});
}

/* A small file: two commands. */
static void test_create_with_a_first_chunk(void **state)
{
    struct fixture *f = *state;
    struct op_result file = create_with_chunk(f, "/tmp/f", 3);
    assert_int_equal(file.code, 0);
    assert_int_not_equal(file.chunk.id, 0);
    assert_int_equal(file.chunk_bytes, FIXTURE_MIB);
    assert_int_equal(file.replica_count, 3);
    assert_int_equal(file.replicas[0].id, 3);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_ALLOCATED), 1);
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_GRANTED), 1);
    assert_int_equal(fixture_allocate(f, &file, 0, no_chunk, 0).code, ERR_PRECONDITION);
    assert_int_equal(fixture_close(f, &file, file.chunk, 7, "").length, 7);
    assert_int_equal(length_of(f, "/tmp/f"), 7);

    file = create_with_chunk(f, "/tmp/g", 0); /* too few servers: the file alone */
    assert_int_equal(file.code, 0);
    assert_int_equal(file.chunk.id, 0);
    assert_int_equal(fixture_allocate(f, &file, 0, no_chunk, 0).code, 0);

    assert_int_equal(create_with_chunk(f, "/tmp/h", 4).code, ERR_INVALID); /* one named twice */
    struct op_result absent = fixture_create(f, "/tmp/h");
    assert_int_equal(absent.code, 0); /* nothing was made */
}

static void test_first_chunk_that_no_byte_needed(void **state)
{
    struct fixture *f = *state;
    struct op_result file = create_with_chunk(f, "/tmp/empty", 3);
    assert_int_equal(fixture_close(f, &file, file.chunk, 0, "").code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_FREED), 1);
    assert_int_equal(length_of(f, "/tmp/empty"), 0);

    file = create_with_chunk(f, "", 3); /* abandoned, it leaves nothing */
    struct operation op = {.kind = OPERATION_ABANDON, .abandon = {file.inode, file.lease_epoch}};
    assert_int_equal(fixture_run(f, op).code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_FREED), 1);

    file = create_with_chunk(f, "/tmp/named", 3);
    op = (struct operation){.kind = OPERATION_ABANDON_CHUNK,
                            .abandon_chunk = {file.inode, file.lease_epoch, file.chunk}};
    assert_int_equal(fixture_run(f, op).code, 0);
    op = (struct operation){.kind = OPERATION_ABANDON, .abandon = {file.inode, file.lease_epoch}};
    assert_int_equal(fixture_run(f, op).code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ENDED), 1); /* nothing is to be recovered */
}

static void test_create_with_a_chunk_is_repeated_whole(void **state)
{
    struct fixture *f = *state;
    struct op_result file = create_with_chunk(f, "/tmp/f", 3);
    f->seq--;
    struct op_result again = create_with_chunk(f, "/tmp/f", 3);
    assert_int_equal(again.code, 0);
    assert_true(again.repeated);
    assert_int_equal(again.chunk.id, file.chunk.id);
    assert_int_equal(again.replica_count, 3);
    assert_int_equal(again.replicas[2].id, 2);
}

static void test_seal_chunk(void **state)
{
    struct fixture *f = *state;
    struct op_result file = fixture_create(f, "/tmp/f");
    struct op_result other = fixture_create(f, "/tmp/g");
    struct op_result chunk = fixture_allocate(f, &file, 0, no_chunk, 0);
    assert_int_equal(seal(f, &file, no_chunk, 5).code, ERR_INVALID);
    assert_int_equal(seal(f, &other, chunk.chunk, 5).code, ERR_INVALID);
    assert_int_equal(seal(f, &file, chunk.chunk, 5).length, 5);
    assert_int_equal(seal(f, &file, chunk.chunk, 5).code, 0); /* idempotent */
    assert_int_equal(seal(f, &file, chunk.chunk, 6).code, ERR_SEALED);
    struct chunk_ref gone = {77, 1};
    assert_int_equal(seal(f, &file, gone, 6).code, ERR_STALE);
    struct op_result next = fixture_allocate(f, &file, 5, chunk.chunk, 5);
    assert_int_equal(next.code, 0); /* sealed before: only compared */
    struct operation drop = {.kind = OPERATION_ABANDON_CHUNK,
                             .abandon_chunk = {file.inode, file.lease_epoch, next.chunk}};
    assert_int_equal(fixture_run(f, drop).code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_FREED), 1);
    assert_int_equal(fixture_run(f, drop).code, 0);
    assert_int_equal(fixture_close(f, &file, no_chunk, 0, "").length, 5);
    assert_int_equal(fixture_close(f, &file, no_chunk, 0, "/tmp/named").code, ERR_STALE);
}

/* ---- Leases ---- */

static void test_lease(void **state)
{
    struct fixture *f = *state;
    struct lease_record lease;
    struct op_result file = fixture_create(f, "/tmp/f");
    assert_int_equal(namespace_lease(&f->view, file.inode, &lease), 0);
    assert_int_equal(lease.session, 1);
    assert_int_equal(lease.granted_ms, f->cluster_ms);
    as_session(f, 2);
    assert_int_equal(acquire(f, "/tmp/f").code, ERR_LEASE);
    assert_int_equal(acquire(f, "/tmp").code, ERR_IS_DIR);
    assert_int_equal(acquire(f, "/tmp/nope").code, ERR_NOT_FOUND);
    /* the same user may write under the epoch, whatever the session; another may not */
    assert_int_equal(fixture_allocate(f, &file, 0, no_chunk, 0).code, 0);
    f->caller.user = "bob";
    as_session(f, 3);
    assert_int_equal(fixture_allocate(f, &file, 0, no_chunk, 0).code, ERR_PERMISSION);
    assert_int_equal(acquire(f, "/tmp/f").code, ERR_PERMISSION);
    f->caller.user = "ada";
    f->session = 1;
    struct op_result again = acquire(f, "/tmp/f"); /* its own session: a new epoch */
    assert_int_equal(again.lease_epoch, file.lease_epoch + 1);
    assert_int_equal(again.open_chunk.version, 1);
    assert_int_equal(seal(f, &file, again.open_chunk, 4).code, ERR_STALE);
    assert_int_equal(seal(f, &again, again.open_chunk, 4).code, 0);
    assert_int_equal(fixture_close(f, &again, no_chunk, 0, "").code, 0);
    assert_int_equal(namespace_lease(&f->view, file.inode, &lease), ERR_NOT_FOUND);
    f->session = 2;
    struct op_result append = acquire(f, "/tmp/f");
    assert_int_equal(append.lease_epoch, file.lease_epoch + 2); /* never used again */
    assert_int_equal(append.length, 4);
    assert_int_equal(append.open_chunk.id, 0);
    assert_int_equal(append.chunk_bytes, FIXTURE_MIB);
    struct op_result chunk = fixture_allocate(f, &append, 4, no_chunk, 0);
    assert_int_equal(fixture_close(f, &append, chunk.chunk, 6, "").length, 10);
    struct op_result directory = {.inode = 1, .lease_epoch = 0};
    assert_int_equal(fixture_allocate(f, &directory, 0, no_chunk, 0).code, ERR_IS_DIR);
}

static void test_expiry(void **state)
{
    struct fixture *f = *state;
    struct chunk_record open;
    struct op_result file = fixture_create(f, "/tmp/f");
    struct op_result first = fixture_allocate(f, &file, 0, no_chunk, 0);
    struct op_result second = fixture_allocate(f, &file, 10, first.chunk, 10);
    expire(f, file.inode, file.lease_epoch); /* its open chunk comes first */
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ENDED), 0);
    assert_int_equal(namespace_open_chunk(&f->view, file.inode, &open), 0);
    assert_int_equal(open.ref.id, second.chunk.id);
    assert_int_equal(open.server_count, 3);
    assert_int_equal(seal_begin(f, open.ref.id, 2), 0);
    expire(f, file.inode, file.lease_epoch);
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ENDED), 0);
    assert_int_equal(seal_end(f, (struct chunk_ref){open.ref.id, 2}, 3, false), 0);
    expire(f, file.inode, file.lease_epoch);
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ENDED), 1);
    assert_int_equal(length_of(f, "/tmp/f"), 13);
    assert_int_equal(namespace_open_chunk(&f->view, file.inode, &open), ERR_NOT_FOUND);
    assert_int_equal(seal(f, &file, second.chunk, 3).code, ERR_STALE);
}

static void test_abandon_named(void **state)
{
    struct fixture *f = *state;
    struct lease_record lease;
    struct op_result file = fixture_create(f, "/tmp/f");
    assert_int_equal(abandon(f, &file).code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ENDED), 1);
    file = acquire(f, "/tmp/f");
    struct op_result chunk = fixture_allocate(f, &file, 0, no_chunk, 0);
    assert_int_equal(abandon(f, &file).code, 0); /* bytes of it may have been read */
    assert_int_equal(fixture_effects(f, EFFECT_LEASE_ORPHANED), 1);
    assert_int_equal(namespace_lease(&f->view, file.inode, &lease), 0);
    assert_int_equal(lease.session, 0);
    assert_int_equal(seal(f, &file, chunk.chunk, 3).code, ERR_STALE);
    assert_int_equal(acquire(f, "/tmp/f").code, ERR_LEASE);
    struct op_result guess = {.inode = file.inode, .lease_epoch = lease.epoch};
    assert_int_equal(seal(f, &guess, chunk.chunk, 3).code, ERR_STALE);
    assert_int_equal(seal_begin(f, chunk.chunk.id, 2), 0);
    assert_int_equal(seal_end(f, (struct chunk_ref){chunk.chunk.id, 2}, 8, false), 0);
    expire(f, file.inode, lease.epoch);
    assert_int_equal(acquire(f, "/tmp/f").length, 8);
}

static void test_writer_of_removed_file(void **state)
{
    struct fixture *f = *state;
    fixture_mkdir(f, "/tmp/d");
    struct op_result file = fixture_create(f, "/tmp/d/f");
    struct op_result chunk = fixture_allocate(f, &file, 0, no_chunk, 0);
    assert_int_equal(fixture_delete(f, "/tmp/d", true), 0);
    assert_int_equal(seal(f, &file, chunk.chunk, 3).code, ERR_NOT_FOUND);
    assert_int_equal(fixture_close(f, &file, chunk.chunk, 3, "").code, ERR_NOT_FOUND);
    assert_int_equal(seal_begin(f, chunk.chunk.id, 2), 0); /* a recovery already under way */
    assert_int_equal(seal_end(f, (struct chunk_ref){chunk.chunk.id, 2}, 3, false), 0);
    expire(f, file.inode, file.lease_epoch);
    fixture_reap(f);
    assert_int_equal(seal_begin(f, chunk.chunk.id, 3), ERR_NOT_FOUND);
}

/* ---- Recovery ---- */

static void test_seal_after_failure(void **state)
{
    struct fixture *f = *state;
    struct op_result file = fixture_create(f, "/tmp/f");
    struct op_result chunk = fixture_allocate(f, &file, 0, no_chunk, 0);
    struct chunk_ref v2 = {chunk.chunk.id, 2};
    struct chunk_ref v3 = {chunk.chunk.id, 3};
    struct chunk_record record;
    assert_int_equal(seal_end(f, chunk.chunk, 5, false), ERR_STALE); /* not begun */
    assert_int_equal(seal_begin(f, chunk.chunk.id, 3), ERR_STALE);
    assert_int_equal(seal_begin(f, chunk.chunk.id + 7, 2), ERR_NOT_FOUND);
    assert_int_equal(seal_begin(f, chunk.chunk.id, 2), 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_SEALING), 1);
    assert_int_equal(seal_begin(f, chunk.chunk.id, 2), 0); /* again: nothing happens */
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_SEALING), 0);
    assert_int_equal(seal(f, &file, chunk.chunk, 5).code, ERR_STALE);
    assert_int_equal(seal(f, &file, v2, 5).code, ERR_STALE);
    assert_int_equal(seal_begin(f, chunk.chunk.id, 3), 0); /* a new leader tries again */
    assert_int_equal(namespace_chunk(&f->view, chunk.chunk.id, &record), 0);
    assert_int_equal(record.open_version, 1); /* what its set was given */
    assert_int_equal(seal_end(f, v2, 5, false), ERR_STALE);
    assert_int_equal(seal_end(f, v3, FIXTURE_MIB + 1, false), ERR_INVALID);
    assert_int_equal(seal_end(f, v3, 5, false), 0);
    assert_int_equal(f->result.length, 5);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_SEALED), 1);
    assert_int_equal(seal_end(f, v3, 5, false), 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_SEALED), 0);
    assert_int_equal(seal_end(f, v3, 6, false), ERR_SEALED);
    assert_int_equal(seal_end(f, v3, 5, true), ERR_SEALED);
    assert_int_equal(seal_begin(f, chunk.chunk.id, 4), ERR_SEALED);
    /* the writer goes on in a new chunk */
    struct op_result next = fixture_allocate(f, &file, 5, v3, 5);
    assert_int_equal(next.code, 0);
    struct chunk_ref next_v2 = {next.chunk.id, 2};
    assert_int_equal(seal_begin(f, next.chunk.id, 2), 0);
    assert_int_equal(seal_end(f, next_v2, 9, true), 0); /* nothing to keep */
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_FREED), 1);
    assert_int_equal(seal_end(f, next_v2, 9, true), 0);
    assert_int_equal(seal_end(f, next_v2, 9, false), ERR_NOT_FOUND);
    assert_int_equal(fixture_close(f, &file, no_chunk, 0, "").length, 5);
}

/* ---- Locate and tables ---- */

static struct located locate(struct fixture *f, const char *path, uint64_t offset, uint64_t length)
{
    struct locate_request request = {{.path = path}, offset, length};
    struct located located;
    assert_int_equal(namespace_locate(&f->view, &f->caller, &request, &f->arena, &located), 0);
    return located;
}

static void test_locate(void **state)
{
    struct fixture *f = *state;
    struct located l;
    fixture_file(f, "/tmp/f", 4, 100);
    l = locate(f, "/tmp/f", 0, 0);
    assert_int_equal(l.count, 4);
    assert_int_equal(l.attributes.length, 3 * FIXTURE_MIB + 100);
    assert_int_equal(l.extents[3].length, 100);
    assert_int_equal(l.extents[3].chunk.state, CHUNK_SEALED);
    l = locate(f, "/tmp/f", FIXTURE_MIB - 1, 2);
    assert_int_equal(l.count, 2);
    assert_int_equal(l.extents[0].offset, 0);
    l = locate(f, "/tmp/f", FIXTURE_MIB, FIXTURE_MIB);
    assert_int_equal(l.count, 1);
    assert_int_equal(l.extents[0].offset, FIXTURE_MIB);
    assert_int_equal(locate(f, "/tmp/f", 3 * FIXTURE_MIB + 99, 0).count, 1);
    assert_int_equal(locate(f, "/tmp/f", 3 * FIXTURE_MIB + 100, 0).count, 0);
    assert_int_equal(locate(f, "/tmp/f", UINT64_MAX, UINT64_MAX).count, 0);
    fixture_touch(f, "/tmp/empty");
    assert_int_equal(locate(f, "/tmp/empty", 0, 0).count, 0);
    struct op_result file = acquire(f, "/tmp/f");
    fixture_allocate(f, &file, 3 * FIXTURE_MIB + 100, no_chunk, 0);
    l = locate(f, "/tmp/f", 3 * FIXTURE_MIB + 5000, 1); /* perhaps in the open chunk */
    assert_int_equal(l.count, 1);
    assert_int_equal(l.extents[0].chunk.state, CHUNK_OPEN);
    assert_true(l.attributes.open);
    struct locate_request request = {{.path = "/tmp"}, 0, 0};
    assert_int_equal(namespace_locate(&f->view, &f->caller, &request, &f->arena, &l), ERR_IS_DIR);
    request.target.path = "/nope";
    assert_int_equal(namespace_locate(&f->view, &f->caller, &request, &f->arena, &l),
                     ERR_NOT_FOUND);
    struct caller bob = {.user = "bob"};
    struct operation op = {
        .kind = OPERATION_SET_ATTRIBUTES,
        .set_attributes = {
            .path = "/tmp/f", .fields = ATTRIBUTE_MODE, .mode = 0600, .owner = "", .group = ""}};
    assert_int_equal(fixture_run(f, op).code, 0);
    request.target.path = "/tmp/f";
    assert_int_equal(namespace_locate(&f->view, &bob, &request, &f->arena, &l), ERR_PERMISSION);
}

static void test_locate_pages(void **state)
{
    struct fixture *f = *state;
    const uint32_t count = NAMESPACE_LOCATE_COUNT_MAX + 10;
    f->unchecked = true;
    fixture_file(f, "/tmp/f", count, 100);
    struct located l = locate(f, "/tmp/f", 0, 0);
    assert_int_equal(l.count, NAMESPACE_LOCATE_COUNT_MAX);
    assert_true(l.more);
    const struct located_extent *last = &l.extents[l.count - 1];
    l = locate(f, "/tmp/f", last->offset + last->length, 0);
    assert_int_equal(l.count, 10);
    assert_false(l.more);
}

struct tally {
    uint64_t count;
    uint64_t stop_at;
};

static int tally_one(struct tally *tally)
{
    tally->count++;
    return tally->count == tally->stop_at ? 7 : 0;
}

static int tally_lease(void *arg, const struct lease_record *lease)
{
    (void)lease;
    return tally_one(arg);
}

static int tally_chunk(void *arg, const struct chunk_record *chunk)
{
    (void)chunk;
    return tally_one(arg);
}

static int tally_server(void *arg, const struct server_record *server)
{
    assert_string_equal(server->address, "127.0.0.1:1");
    return tally_one(arg);
}

static void test_tables(void **state)
{
    struct fixture *f = *state;
    struct tally t = {0, 0};
    fixture_file(f, "/tmp/f", 3, 1);
    struct op_result file = fixture_create(f, "/tmp/g");
    struct op_result chunk = fixture_allocate(f, &file, 0, no_chunk, 0);
    assert_int_equal(namespace_scan_leases(&f->view, 0, tally_lease, &t), 0);
    assert_int_equal(t.count, 1);
    t = (struct tally){0, 0};
    assert_int_equal(namespace_scan_leases(&f->view, file.inode, tally_lease, &t), 0);
    assert_int_equal(t.count, 0);
    assert_int_equal(namespace_scan_chunks(&f->view, 0, tally_chunk, &t), 0);
    assert_int_equal(t.count, 4);
    t = (struct tally){0, 2};
    assert_int_equal(namespace_scan_chunks(&f->view, 0, tally_chunk, &t), 7);
    t = (struct tally){0, 0};
    assert_int_equal(namespace_scan_open_chunks(&f->view, 0, tally_chunk, &t), 0);
    assert_int_equal(t.count, 1);
    assert_int_equal(namespace_scan_open_chunks(&f->view, chunk.chunk.id, tally_chunk, &t), 0);
    assert_int_equal(t.count, 1);
    t = (struct tally){0, 0};
    assert_int_equal(namespace_scan_servers(&f->view, tally_server, &t), 0);
    assert_int_equal(t.count, FIXTURE_SERVER_COUNT);
}

/* ---- Servers ---- */

static void test_register(void **state)
{
    struct fixture *f = *state;
    struct command_entry entry = {.kind = ENTRY_REGISTER_SERVER,
                                  .register_server = {{{2}}, "new", "rack", "127.0.0.1:9", "/s"}};
    assert_int_equal(fixture_apply(f, entry)->server, 2); /* known by its key */
    assert_int_equal(fixture_effects(f, EFFECT_SERVER_CHANGED), 1);
    assert_string_equal(f->result.effects[0].server->host, "new");
    struct op_result file = fixture_create(f, "/tmp/f");
    assert_string_equal(fixture_allocate(f, &file, 0, no_chunk, 0).replicas[1].address,
                        "127.0.0.1:9");
    entry.register_server.key.bytes[0] = 99;
    assert_int_equal(fixture_apply(f, entry)->server, FIXTURE_SERVER_COUNT + 1);
    entry.register_server.host = "";
    assert_int_equal(fixture_apply(f, entry)->code, ERR_INVALID);
    entry.register_server.host = "\xff";
    assert_int_equal(fixture_apply(f, entry)->code, ERR_INVALID);
    entry.register_server.host = "h";
    entry.register_server.address = "";
    assert_int_equal(fixture_apply(f, entry)->code, ERR_INVALID);
}

static int count_leaving(void *arg, const struct server_record *server)
{
    struct server_record *found = arg;
    if (server->admin != SERVER_IN_SERVICE) {
        assert_int_equal(found->id, 0);
        *found = (struct server_record){
            .id = server->id, .admin = server->admin, .until_ms = server->until_ms};
    }
    return 0;
}

static struct server_record leaving(struct fixture *f)
{
    struct server_record found = {.id = 0};
    assert_int_equal(namespace_scan_servers(&f->view, count_leaving, &found), 0);
    return found;
}

static void test_admin_server(void **state)
{
    struct fixture *f = *state;
    struct command_entry entry = {.kind = ENTRY_ADMIN_SERVER,
                                  .admin_server = {2, SERVER_IN_MAINTENANCE, 5000, false}};
    f->cluster_ms = 1000;
    assert_int_equal(fixture_apply(f, entry)->code, 0);
    assert_int_equal(fixture_effects(f, EFFECT_SERVER_CHANGED), 1);
    assert_int_equal(f->result.effects[0].server->admin, SERVER_IN_MAINTENANCE);
    assert_int_equal(leaving(f).until_ms, 5000);
    assert_int_equal(fixture_apply(f, entry)->code, 0); /* said again */
    assert_int_equal(f->result.effect_count, 0);
    /* It registers anew and stays what it was. */
    struct command_entry registers = {
        .kind = ENTRY_REGISTER_SERVER,
        .register_server = {{{2}}, "new", "rack", "127.0.0.1:9", "/s"}};
    assert_int_equal(fixture_apply(f, registers)->server, 2);
    assert_int_equal(leaving(f).admin, SERVER_IN_MAINTENANCE);
    /* Its time is over when cluster time says so, not before. */
    struct command_entry over = {.kind = ENTRY_ADMIN_SERVER,
                                 .admin_server = {.server = 2, .over = true}};
    f->cluster_ms = 4998; /* each entry is a millisecond later */
    assert_int_equal(fixture_apply(f, over)->code, 0);
    assert_int_equal(leaving(f).id, 2);
    assert_int_equal(fixture_apply(f, over)->code, 0);
    assert_int_equal(leaving(f).id, 0);
    entry.admin_server = (struct cmd_admin_server){2, SERVER_DECOMMISSIONED, 0, false};
    assert_int_equal(fixture_apply(f, entry)->code, 0);
    f->cluster_ms = 9000;
    assert_int_equal(fixture_apply(f, over)->code, 0); /* that has no end */
    assert_int_equal(leaving(f).admin, SERVER_DECOMMISSIONED);
    entry.admin_server.state = SERVER_IN_SERVICE;
    assert_int_equal(fixture_apply(f, entry)->code, 0);
    assert_int_equal(leaving(f).id, 0);
}

static void test_admin_server_refused(void **state)
{
    struct fixture *f = *state;
    struct command_entry entry = {.kind = ENTRY_ADMIN_SERVER,
                                  .admin_server = {99, SERVER_DECOMMISSIONED, 0, false}};
    assert_int_equal(fixture_apply(f, entry)->code, ERR_NOT_FOUND);
    entry.admin_server.server = 0;
    assert_int_equal(fixture_apply(f, entry)->code, ERR_NOT_FOUND);
    entry.admin_server = (struct cmd_admin_server){2, SERVER_ADMIN_COUNT, 0, false};
    assert_int_equal(fixture_apply(f, entry)->code, ERR_INVALID);
    entry.admin_server = (struct cmd_admin_server){2, SERVER_IN_MAINTENANCE, 0, false};
    assert_int_equal(fixture_apply(f, entry)->code, ERR_INVALID); /* until when? */
    entry.admin_server = (struct cmd_admin_server){2, SERVER_DECOMMISSIONED, 7, false};
    assert_int_equal(fixture_apply(f, entry)->code, ERR_INVALID);
    entry.admin_server = (struct cmd_admin_server){2, SERVER_DECOMMISSIONED, 0, true};
    assert_int_equal(fixture_apply(f, entry)->code, ERR_INVALID);
    assert_int_equal(leaving(f).id, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unnamed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unnamed_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_allocate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_create_with_a_first_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_chunk_that_no_byte_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_create_with_a_chunk_is_repeated_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_allocate_servers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seal_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lease, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abandon_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writer_of_removed_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_seal_after_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locate_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tables, setup, teardown),
        cmocka_unit_test_setup_teardown(test_register, setup, teardown),
        cmocka_unit_test_setup_teardown(test_admin_server, setup, teardown),
        cmocka_unit_test_setup_teardown(test_admin_server_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
