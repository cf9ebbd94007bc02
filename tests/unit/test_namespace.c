/* The tree: format, mkdir, stat, list, delete, rename, attributes, permissions, fences,
 * preconditions. Every entry is followed by a walk of all invariants (namespace_fixture). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

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

static void test_format(void **state)
{
    struct fixture *f = *state;
    struct attributes a;
    struct namespace_totals totals;
    assert_int_equal(fixture_stat(f, "/", &a), 1);
    assert_int_equal(a.kind, INODE_DIRECTORY);
    assert_int_equal(a.mode, 0755);
    assert_string_equal(a.owner, "root");
    assert_int_equal(a.subtree_directories, 2);
    assert_true(fixture_stat(f, "/user", &a) > 0);
    assert_int_equal(a.mode, 01777);
    assert_true(fixture_stat(f, "/tmp", &a) > 0);
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    assert_string_equal(totals.cluster_id, "c1");
    assert_int_equal(totals.directories, 3);
    assert_int_equal(totals.files, 0);
    assert_int_equal(totals.servers, FIXTURE_SERVER_COUNT);
    assert_int_equal(totals.applied.index, f->at.index);
    struct log_entry again = {
        .kind = ENTRY_FORMAT,
        .format = {.cluster_id = "c2", .superuser = "eve", .default_replication = 1}};
    assert_int_equal(fixture_apply(f, again)->code, ERR_EXISTS);
}

static void test_mkdir(void **state)
{
    struct fixture *f = *state;
    struct attributes a;
    assert_true(fixture_mkdir(f, "/tmp/a") > 0);
    assert_int_equal(fixture_mkdir(f, "/tmp/a"), ERR_EXISTS);
    assert_int_equal(fixture_mkdir(f, "/tmp/x/y"), ERR_NOT_FOUND);
    assert_int_equal(fixture_mkdir(f, "/a"), ERR_PERMISSION);
    assert_int_equal(fixture_stat(f, "/tmp/x", NULL), ERR_NOT_FOUND);
    assert_true(fixture_touch(f, "/tmp/a/f") > 0);
    assert_int_equal(fixture_mkdir(f, "/tmp/a/f/g"), ERR_NOT_DIR);
    assert_true(fixture_stat(f, "/tmp", &a) > 0);
    assert_int_equal(a.child_count, 1);
    assert_int_equal(a.subtree_files, 1);
    assert_int_equal(a.subtree_directories, 1);
    struct op_result r = fixture_run(
        f, (struct operation){.kind = OPERATION_MKDIR,
                              .mkdir = {.path = "/tmp/p/q/r", .mode = 0700, .parents = true}});
    assert_int_equal(r.code, 0);
    assert_int_equal(fixture_stat(f, "/tmp/p/q/r", &a), (int64_t)r.inode);
    assert_int_equal(a.mode, 0700);
    assert_true(fixture_stat(f, "/tmp/p/q", &a) > 0);
    assert_int_equal(a.mode, 0755);
    assert_string_equal(a.owner, "ada");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_format, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mkdir, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
