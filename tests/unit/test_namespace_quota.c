/* Quotas: what each operation may add below a directory that has one, what counts, and that a
 * refusal changes nothing. Every entry is followed by a walk of all invariants (namespace_fixture),
 * so sums and reservations are right after each step of these tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fsmaster/keys.h"
#include "tests/lib/namespace_fixture.h"

#define MIB ((uint64_t)FIXTURE_MIB)

static const struct chunk_ref no_chunk;

static int setup(void **state)
{
    static struct fixture f;
    fixture_init(&f);
    *state = &f;
    assert_true(fixture_mkdir(&f, "/tmp/q") > 0);
    return 0;
}

static int teardown(void **state)
{
    fixture_deinit(*state);
    return 0;
}

static struct op_result set_fields(struct fixture *f, struct op_set_quota op)
{
    f->caller.is_superuser = true;
    struct op_result r =
        fixture_run(f, (struct operation){.kind = OPERATION_SET_QUOTA, .set_quota = op});
    f->caller.is_superuser = false;
    return r;
}

static int set_quota(struct fixture *f, const char *path, uint64_t names, uint64_t space)
{
    return set_fields(f, (struct op_set_quota){path, QUOTA_NAMES | QUOTA_SPACE, names, space}).code;
}

static struct attributes stat_of(struct fixture *f, const char *path)
{
    struct attributes a;
    assert_true(fixture_stat(f, path, &a) > 0);
    return a;
}

static int set_replication(struct fixture *f, const char *path, uint32_t replication)
{
    struct op_set_attributes op = {
        .path = path, .fields = ATTRIBUTE_REPLICATION, .replication = replication};
    struct operation operation = {.kind = OPERATION_SET_ATTRIBUTES, .set_attributes = op};
    return fixture_run(f, operation).code;
}

/* ---- Setting ---- */

static void test_set(void **state)
{
    struct fixture *f = *state;
    struct op_set_quota op = {"/tmp/q", QUOTA_NAMES, 5, 0};
    struct operation operation = {.kind = OPERATION_SET_QUOTA, .set_quota = op};
    assert_true(stat_of(f, "/tmp/q").names_quota == QUOTA_NONE);
    assert_int_equal(fixture_run(f, operation).code, ERR_PERMISSION);
    assert_int_equal(set_fields(f, op).code, 0);
    assert_int_equal(stat_of(f, "/tmp/q").names_quota, 5);
    assert_true(stat_of(f, "/tmp/q").space_quota == QUOTA_NONE);
    op = (struct op_set_quota){"/tmp/q", QUOTA_SPACE, 77, 0};
    assert_int_equal(set_fields(f, op).code, 0);
    assert_int_equal(stat_of(f, "/tmp/q").names_quota, 5);
    assert_int_equal(stat_of(f, "/tmp/q").space_quota, 0);
    assert_int_equal(set_quota(f, "/tmp/q", QUOTA_NONE, QUOTA_NONE), 0);
    assert_true(stat_of(f, "/tmp/q").names_quota == QUOTA_NONE);
    assert_true(stat_of(f, "/tmp/q").space_quota == QUOTA_NONE);

    assert_int_equal(set_quota(f, "/tmp/q", 0, 1), ERR_INVALID);
    assert_int_equal(set_quota(f, "/tmp/q", 1, QUOTA_VALUE_MAX + 1), ERR_INVALID);
    assert_int_equal(set_quota(f, "/tmp/q", QUOTA_VALUE_MAX, QUOTA_VALUE_MAX), 0);
    op.fields = 4;
    assert_int_equal(set_fields(f, op).code, ERR_UNSUPPORTED);
    assert_int_equal(set_quota(f, "/tmp/none", 1, 1), ERR_NOT_FOUND);
    assert_true(fixture_touch(f, "/tmp/q/f") > 0);
    assert_int_equal(set_quota(f, "/tmp/q/f", 1, 1), ERR_NOT_DIR);
    assert_int_equal(set_quota(f, "/", 1000, QUOTA_NONE), 0); /* the root, too */
}

/* ---- Names ---- */

static void test_names(void **state)
{
    struct fixture *f = *state;
    struct operation deep = {.kind = OPERATION_MKDIR, .mkdir = {"/tmp/q/a/b/c", 0, true}};
    assert_int_equal(set_quota(f, "/tmp/q", 3, QUOTA_NONE), 0);
    struct op_result r = fixture_run(f, deep); /* itself and three more */
    assert_int_equal(r.code, ERR_QUOTA);
    assert_string_equal(
        r.text,
        "quota of names exceeded: 3 allowed, 1 used, 3 more asked for, in directory /tmp/q");
    assert_int_equal(fixture_stat(f, "/tmp/q/a", NULL), ERR_NOT_FOUND);
    deep.mkdir.path = "/tmp/q/a/b";
    assert_int_equal(fixture_run(f, deep).code, 0);
    assert_int_equal(fixture_run(f, deep).code, 0); /* is there */
    assert_int_equal(fixture_mkdir(f, "/tmp/q/a/b/c"), ERR_QUOTA);
    assert_int_equal(fixture_create(f, "/tmp/q/f").code, ERR_QUOTA);
    assert_int_equal(fixture_delete(f, "/tmp/q/a", true), 0);
    assert_int_equal(fixture_create(f, "/tmp/q/f").code, 0); /* its room is there at once */
    assert_true(fixture_touch(f, "/tmp/q/g") > 0);
    assert_true(fixture_mkdir(f, "/tmp/other") > 0); /* beside it nobody is asked */
    fixture_reap(f);
}

/* A file that takes the place of another is no more names. */
static void test_replace(void **state)
{
    struct fixture *f = *state;
    struct op_create create = {.path = "/tmp/q/f", .replace = true, .link_path = ""};
    assert_true(fixture_touch(f, "/tmp/q/f") > 0);
    assert_true(fixture_touch(f, "/tmp/new") > 0);
    assert_int_equal(set_quota(f, "/tmp/q", 2, QUOTA_NONE), 0);
    assert_int_equal(
        fixture_run(f, (struct operation){.kind = OPERATION_CREATE, .create = create}).code, 0);
    assert_int_equal(fixture_rename(f, "/tmp/new", "/tmp/q/g", false), ERR_QUOTA);
    assert_int_equal(fixture_rename(f, "/tmp/new", "/tmp/q/f", true), 0);
    create.path = "/tmp/q/g";
    assert_int_equal(
        fixture_run(f, (struct operation){.kind = OPERATION_CREATE, .create = create}).code,
        ERR_QUOTA);
}

/* Below what is there: nothing is added, everything else goes on. */
static void test_exceeded(void **state)
{
    struct fixture *f = *state;
    assert_true(fixture_mkdir(f, "/tmp/q/d") > 0);
    assert_true(fixture_file(f, "/tmp/q/f", 1, MIB) > 0);
    assert_true(fixture_touch(f, "/tmp/q/g") > 0);
    assert_int_equal(set_quota(f, "/tmp/q", 1, 10), 0);
    assert_int_equal(fixture_create(f, "/tmp/q/h").code, ERR_QUOTA);
    assert_int_equal(set_replication(f, "/tmp/q/f", 4), ERR_QUOTA);
    assert_int_equal(set_replication(f, "/tmp/q/f", 3), 0);
    assert_int_equal(set_replication(f, "/tmp/q/f", 1), 0);
    assert_int_equal(fixture_rename(f, "/tmp/q/f", "/tmp/q/d/f", false), 0);
    assert_int_equal(fixture_rename(f, "/tmp/q/d/f", "/tmp/out", false), 0);
    assert_int_equal(fixture_rename(f, "/tmp/out", "/tmp/q/d/f", false), ERR_QUOTA);
    assert_int_equal(fixture_rename(f, "/tmp/q/d", "/tmp/q/e", false), 0);
    assert_int_equal(fixture_delete(f, "/tmp/q/g", false), 0);
    assert_int_equal(fixture_rename(f, "/tmp/q", "/tmp/r", false), 0); /* takes its quota along */
    assert_int_equal(fixture_create(f, "/tmp/r/h").code, ERR_QUOTA);
    fixture_reap(f);
}

/* ---- Moves ---- */

static void test_move(void **state)
{
    struct fixture *f = *state;
    assert_true(fixture_mkdir(f, "/tmp/q/in") > 0);
    assert_true(fixture_mkdir(f, "/tmp/q/to") > 0);
    assert_true(fixture_mkdir(f, "/tmp/d") > 0);
    assert_true(fixture_file(f, "/tmp/d/f", 2, MIB) > 0); /* 6 MiB with its copies */
    assert_int_equal(set_quota(f, "/tmp/q", 5, QUOTA_NONE), 0);
    assert_int_equal(set_quota(f, "/tmp/q/to", QUOTA_NONE, 6 * MIB - 1), 0);
    assert_int_equal(fixture_rename(f, "/tmp/d", "/tmp/q/to/d", false), ERR_QUOTA); /* space */
    assert_int_equal(fixture_rename(f, "/tmp/d", "/tmp/q/in/d", false), 0);         /* names fit */
    assert_int_equal(fixture_mkdir(f, "/tmp/q/x"), ERR_QUOTA);
    /* Within q its names do not grow; to's space would. */
    assert_int_equal(fixture_rename(f, "/tmp/q/in/d", "/tmp/q/to/d", false), ERR_QUOTA);
    assert_int_equal(fixture_rename(f, "/tmp/q/in/d", "/tmp/q/d", false), 0);
    assert_int_equal(set_quota(f, "/tmp/q/to", QUOTA_NONE, 6 * MIB), 0);
    assert_int_equal(fixture_rename(f, "/tmp/q/d", "/tmp/q/to/d", false), 0);
    assert_int_equal(stat_of(f, "/tmp/q/to").subtree_replica_bytes, 6 * MIB);
    assert_int_equal(fixture_rename(f, "/tmp/q/to/d/f", "/tmp/f", false), 0);
    assert_true(fixture_touch(f, "/tmp/q/x") > 0); /* a name has become free */
}

/* ---- Space ---- */

static void test_space(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set_quota(f, "/tmp/q", QUOTA_NONE, 7 * MIB), 0);
    struct op_result a = fixture_create(f, "/tmp/q/a");
    struct op_result b = fixture_create(f, "/tmp/q/b");
    struct op_result c = fixture_create(f, "/tmp/q/c"); /* an empty file needs none */
    struct op_result a1 = fixture_allocate(f, &a, 0, no_chunk, 0);
    struct op_result b1 = fixture_allocate(f, &b, 0, no_chunk, 0);
    assert_int_equal(a1.code | b1.code | c.code, 0);
    assert_int_equal(stat_of(f, "/tmp/q").reserved_bytes, 6 * MIB);
    assert_int_equal(stat_of(f, "/tmp").reserved_bytes, 6 * MIB);
    /* Two open chunks of three copies are promised: there is no room for a third. */
    struct op_result c1 = fixture_allocate(f, &c, 0, no_chunk, 0);
    assert_int_equal(c1.code, ERR_QUOTA);
    assert_string_equal(c1.text,
                        "quota of space exceeded: 7340032 bytes allowed, 6291456 used, 3145728 "
                        "more asked for with all copies, in directory /tmp/q");
    /* What a chunk did not need comes back. */
    assert_int_equal(fixture_close(f, &a, a1.chunk, 100, "").code, 0);
    assert_int_equal(stat_of(f, "/tmp/q").reserved_bytes, 3 * MIB);
    assert_int_equal(stat_of(f, "/tmp/q").subtree_replica_bytes, 300);
    assert_int_equal(fixture_allocate(f, &c, 0, no_chunk, 0).code, 0);
    /* The next chunk of a file counts with what became of the one before. */
    assert_int_equal(fixture_allocate(f, &b, MIB, b1.chunk, MIB).code, ERR_QUOTA);
    assert_int_equal(stat_of(f, "/tmp/q/b").length, 0); /* nothing of it was done */
    assert_int_equal(fixture_allocate(f, &b, MIB / 4, b1.chunk, MIB / 4).code, 0);
    assert_int_equal(fixture_delete(f, "/tmp/q", true), 0);
    fixture_reap(f);
    assert_int_equal(stat_of(f, "/tmp").reserved_bytes, 0);
}

/* A writer's abandoned chunk and one that recovery ends. */
static void test_space_released(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set_quota(f, "/tmp/q", QUOTA_NONE, 3 * MIB), 0);
    struct op_result a = fixture_create(f, "/tmp/q/a");
    struct op_result chunk = fixture_allocate(f, &a, 0, no_chunk, 0);
    struct operation give_up = {.kind = OPERATION_ABANDON_CHUNK,
                                .abandon_chunk = {a.inode, a.lease_epoch, chunk.chunk}};
    assert_int_equal(fixture_run(f, give_up).code, 0);
    assert_int_equal(stat_of(f, "/tmp/q").reserved_bytes, 0);
    chunk = fixture_allocate(f, &a, 0, no_chunk, 0);
    assert_int_equal(chunk.code, 0);
    struct command_entry begin = {.kind = ENTRY_SEAL_BEGIN,
                                  .seal_begin = {chunk.chunk.id, chunk.chunk.version + 1, ""}};
    assert_int_equal(fixture_apply(f, begin)->code, 0);
    assert_int_equal(stat_of(f, "/tmp/q").reserved_bytes, 3 * MIB);
    struct command_entry end = {.kind = ENTRY_SEAL_END,
                                .seal_end = {{chunk.chunk.id, chunk.chunk.version + 1}, 10, false}};
    assert_int_equal(fixture_apply(f, end)->code, 0);
    assert_int_equal(stat_of(f, "/tmp/q").reserved_bytes, 0);
    assert_int_equal(stat_of(f, "/tmp/q").subtree_replica_bytes, 30);
}

/* Replication counts what is promised, too; a moved file takes it along. */
static void test_space_open(void **state)
{
    struct fixture *f = *state;
    assert_true(fixture_mkdir(f, "/tmp/p") > 0);
    assert_int_equal(set_quota(f, "/tmp/q", QUOTA_NONE, 6 * MIB), 0);
    struct op_result a = fixture_create(f, "/tmp/q/a");
    struct op_result chunk = fixture_allocate(f, &a, 0, no_chunk, 0);
    assert_int_equal(set_replication(f, "/tmp/q/a", 7), ERR_QUOTA);
    assert_int_equal(set_replication(f, "/tmp/q/a", 6), 0);
    assert_int_equal(stat_of(f, "/tmp/q").reserved_bytes, 6 * MIB);
    assert_int_equal(fixture_rename(f, "/tmp/q/a", "/tmp/p/a", false), 0);
    assert_int_equal(stat_of(f, "/tmp/q").reserved_bytes, 0);
    assert_int_equal(stat_of(f, "/tmp/p").reserved_bytes, 6 * MIB);
    assert_int_equal(fixture_close(f, &a, chunk.chunk, 1, "").code, 0);
    assert_int_equal(stat_of(f, "/tmp/p").reserved_bytes, 0);
    /* A chunk from before the quota is counted when it is sealed, and never refused. */
    struct op_result b = fixture_create(f, "/tmp/p/b");
    struct op_result old = fixture_allocate(f, &b, 0, no_chunk, 0);
    assert_int_equal(set_quota(f, "/tmp/p", QUOTA_NONE, 0), 0);
    assert_int_equal(stat_of(f, "/tmp/p").reserved_bytes, 0);
    assert_int_equal(fixture_close(f, &b, old.chunk, MIB, "").code, 0);
    assert_int_equal(stat_of(f, "/tmp/p").subtree_replica_bytes, 3 * MIB + 6);
    /* Nothing may be kept below a quota of no space, but files may be there. */
    struct op_result c = fixture_create(f, "/tmp/p/c");
    assert_int_equal(c.code, 0);
    assert_int_equal(fixture_allocate(f, &c, 0, no_chunk, 0).code, ERR_QUOTA);
}

static struct op_result create_with_chunk(struct fixture *f, const char *path, const char *link,
                                          uint64_t bytes)
{
    static const server_id servers[] = {1, 2, 3};
    struct op_create create = {.path = path,
                               .chunk_bytes = MIB,
                               .first_chunk = true,
                               .servers = servers,
                               .server_count = 3,
                               .link_path = link,
                               .link_bytes = bytes};
    return fixture_run(f, (struct operation){.kind = OPERATION_CREATE, .create = create});
}

/* A first chunk without room for it is left out, as one without servers. */
static void test_first_chunk(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set_quota(f, "/tmp/q", QUOTA_NONE, 4 * MIB), 0);
    struct op_result a = create_with_chunk(f, "/tmp/q/a", "", 0);
    assert_int_equal(a.code, 0);
    assert_int_not_equal(a.chunk.id, 0);
    assert_int_equal(stat_of(f, "/tmp/q").reserved_bytes, 3 * MIB);
    struct op_result b = create_with_chunk(f, "/tmp/q/b", "", 0);
    assert_int_equal(b.code, 0);
    assert_int_equal(b.chunk.id, 0);
    assert_int_equal(fixture_allocate(f, &b, 0, no_chunk, 0).code, ERR_QUOTA);
    assert_int_equal(fixture_close(f, &b, no_chunk, 0, "").code, 0);
    assert_int_equal(fixture_close(f, &a, a.chunk, MIB, "").code, 0);
}

/* Unnamed files are nowhere until they are linked. */
static void test_link(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set_quota(f, "/tmp/q", 2, 3 * MIB), 0);
    assert_int_equal(create_with_chunk(f, "", "/tmp/q/a/b", 0).code, ERR_QUOTA); /* names */
    assert_int_equal(create_with_chunk(f, "", "/tmp/q/a", MIB + 1).code, ERR_QUOTA);
    assert_int_equal(create_with_chunk(f, "", "/tmp/q/a", UINT64_MAX).code, ERR_QUOTA);
    assert_int_equal(create_with_chunk(f, "", "/tmp/none/a", MIB).code, 0); /* Close will say it */
    assert_int_equal(create_with_chunk(f, "", "nowhere", MIB).code, 0);
    struct op_result a = create_with_chunk(f, "", "/tmp/q/a", MIB);
    struct op_result b = create_with_chunk(f, "", "/tmp/q/b", MIB);
    assert_int_equal(a.code | b.code, 0);
    assert_int_equal(stat_of(f, "/tmp/q").reserved_bytes, 0);
    struct op_result next = fixture_allocate(f, &a, MIB, a.chunk, MIB);
    assert_int_equal(next.code, 0); /* nobody is asked while it is nowhere */
    assert_int_equal(fixture_close(f, &a, next.chunk, 1, "/tmp/q/a").code, ERR_QUOTA);
    assert_int_equal(fixture_close(f, &b, b.chunk, MIB, "/tmp/q/b").code, 0);
    assert_int_equal(fixture_close(f, &a, next.chunk, 1, "/tmp/a").code, 0); /* elsewhere */
    struct op_result c = create_with_chunk(f, "", "", 0);
    assert_int_equal(fixture_close(f, &c, no_chunk, 0, "/tmp/q/c").code, ERR_PRECONDITION);
    assert_int_equal(fixture_close(f, &c, c.chunk, 0, "/tmp/q/c").code, ERR_QUOTA);
    /* In the place of b it is neither a name nor a byte more. */
    struct op_close over = {.inode = c.inode,
                            .lease_epoch = c.lease_epoch,
                            .chunk = c.chunk,
                            .length = MIB,
                            .link_path = "/tmp/q/b",
                            .replace = true};
    assert_int_equal(
        fixture_run(f, (struct operation){.kind = OPERATION_CLOSE, .close = over}).code, 0);
}

/* Quotas at several heights: each is asked. */
static void test_nested(void **state)
{
    struct fixture *f = *state;
    assert_true(fixture_mkdir(f, "/tmp/q/in") > 0);
    assert_int_equal(set_quota(f, "/", 8, QUOTA_NONE), 0); /* 5 are there */
    assert_int_equal(set_quota(f, "/tmp/q/in", 2, 3 * MIB), 0);
    assert_true(fixture_touch(f, "/tmp/q/in/f") > 0);
    assert_int_equal(fixture_create(f, "/tmp/q/in/g").code, ERR_QUOTA);
    assert_true(fixture_touch(f, "/tmp/f") > 0);
    assert_true(fixture_touch(f, "/tmp/g") > 0);
    struct op_result r = fixture_create(f, "/tmp/h");
    assert_int_equal(r.code, ERR_QUOTA);
    assert_non_null(strstr(r.text, "in directory /"));
    assert_int_equal(set_quota(f, "/", QUOTA_NONE, QUOTA_NONE), 0);
    assert_true(fixture_touch(f, "/tmp/h") > 0);
}

/* ---- Rows ---- */

/* Inodes without a quota keep the bytes that they had before there were quotas. */
static void test_rows(void **state)
{
    struct fixture *f = *state;
    struct inode_row row = {0};
    struct buf value = BUF_INIT;
    struct row_key key = row_key_u64(ROW_INODE, stat_of(f, "/tmp/q").inode);
    assert_int_equal(kv_view_get(&f->view, row_key_span(&key), &value), 0);
    size_t plain = value.length;
    assert_int_equal(value.data[0], 1);
    assert_int_equal(set_quota(f, "/tmp/q", 9, QUOTA_NONE), 0);
    assert_int_equal(kv_view_get(&f->view, row_key_span(&key), &value), 0);
    assert_int_equal(value.data[0], 2);
    assert_int_equal(value.length, plain + 28);
    assert_int_equal(inode_decode((struct span){value.data, value.length}, &row), 0);
    assert_int_equal(row.names_quota, 9);
    assert_int_equal(row.flags, INODE_LIMITED);
    value.data[0] = 3;
    assert_int_equal(inode_decode((struct span){value.data, value.length}, &row), ERR_VERSION);
    value.data[0] = 1;
    assert_int_equal(inode_decode((struct span){value.data, value.length}, &row), ERR_CORRUPT);
    value.data[0] = 2;
    value.data[2] = 0; /* no flag, and yet a quota */
    assert_int_equal(inode_decode((struct span){value.data, value.length}, &row), ERR_CORRUPT);
    assert_int_equal(set_quota(f, "/tmp/q", QUOTA_NONE, QUOTA_NONE), 0);
    assert_int_equal(kv_view_get(&f->view, row_key_span(&key), &value), 0);
    assert_int_equal(value.length, plain);
    assert_int_equal(value.data[0], 1);
    buf_deinit(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exceeded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_move, setup, teardown),
        cmocka_unit_test_setup_teardown(test_space, setup, teardown),
        cmocka_unit_test_setup_teardown(test_space_released, setup, teardown),
        cmocka_unit_test_setup_teardown(test_space_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_link, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nested, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
