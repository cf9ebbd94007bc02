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
    struct command_entry again = {
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

static void test_bad_paths(void **state)
{
    struct fixture *f = *state;
    char name[LIMIT_NAME_BYTES_MAX + 8] = "/tmp/";
    char deep[LIMIT_DEPTH_MAX * 2 + 8] = "";
    static const char *const bad[] = {"",          "tmp",       "/tmp/",   "//tmp",
                                      "/tmp//a",   "/./a",      "/tmp/..", "/tmp/\x01b",
                                      "/tmp/\x7f", "/tmp/\xff", "/tmp/."};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(fixture_mkdir(f, bad[i]), ERR_INVALID);
    }
    memset(name + 5, 'n', LIMIT_NAME_BYTES_MAX);
    assert_true(fixture_mkdir(f, name) > 0);
    memset(name + 5, 'n', LIMIT_NAME_BYTES_MAX + 1);
    assert_int_equal(fixture_mkdir(f, name), ERR_TOO_LARGE);
    for (int i = 0; i < LIMIT_DEPTH_MAX + 1; i++) {
        memcpy(deep + 2 * i, "/d", 3);
    }
    assert_int_equal(fixture_mkdir(f, deep), ERR_TOO_LARGE);
    assert_int_equal(fixture_stat(f, deep, NULL), ERR_TOO_LARGE);
    assert_int_equal(fixture_mkdir(f, "/"), ERR_EXISTS);
    struct operation mode = {.kind = OPERATION_MKDIR, .mkdir = {"/tmp/m", 010000, false}};
    assert_int_equal(fixture_run(f, mode).code, ERR_INVALID);
}

/* ---- List ---- */

static struct list_page list(struct fixture *f, const char *path, const char *after, uint32_t limit)
{
    struct list_request request = {path, after, limit};
    struct list_page page = {0};
    assert_int_equal(namespace_list(&f->view, &f->caller, &request, &f->arena, &page), 0);
    return page;
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    struct list_page page;
    const char *after = "";
    char path[32];
    fixture_mkdir(f, "/tmp/d");
    assert_int_equal(list(f, "/tmp/d", "", 0).count, 0);
    for (int i = 0; i < 25; i++) {
        (void)snprintf(path, sizeof(path), "/tmp/d/%02d", (i * 7) % 25);
        assert_true(fixture_mkdir(f, path) > 0);
    }
    uint32_t seen = 0;
    do {
        page = list(f, "/tmp/d", after, 10);
        for (uint32_t i = 0; i < page.count; i++, seen++) {
            (void)snprintf(path, sizeof(path), "%02u", seen);
            assert_string_equal(page.entries[i].name, path);
            assert_int_equal(page.entries[i].attributes.kind, INODE_DIRECTORY);
            after = page.entries[i].name;
        }
    } while (page.more);
    assert_int_equal(seen, 25);
    assert_false(list(f, "/tmp/d", "", 25).more);
    assert_int_equal(list(f, "/tmp/d", "24", 0).count, 0);
    assert_int_equal(list(f, "/tmp/d", "2", 0).count, 5);
    fixture_touch(f, "/tmp/file");
    page = list(f, "/tmp/file", "", 0);
    assert_int_equal(page.count, 1);
    assert_string_equal(page.entries[0].name, "file");
    assert_int_equal(page.entries[0].attributes.kind, INODE_FILE);
    struct list_request missing = {"/nope", "", 0};
    assert_int_equal(namespace_list(&f->view, &f->caller, &missing, &f->arena, &page),
                     ERR_NOT_FOUND);
}

/* ---- Delete ---- */

static void test_delete(void **state)
{
    struct fixture *f = *state;
    struct attributes a;
    struct namespace_totals totals;
    fixture_mkdir(f, "/tmp/d");
    fixture_mkdir(f, "/tmp/d/e");
    fixture_file(f, "/tmp/d/e/f", 20, 5);
    fixture_file(f, "/tmp/d/g", 2, 7);
    assert_int_equal(fixture_delete(f, "/tmp/nope", false), ERR_NOT_FOUND);
    assert_int_equal(fixture_delete(f, "/tmp/d", false), ERR_NOT_EMPTY);
    assert_int_equal(fixture_delete(f, "/tmp/d/g/h", false), ERR_NOT_DIR);
    assert_int_equal(fixture_delete(f, "/tmp", true), ERR_PERMISSION);
    f->caller.is_superuser = true;
    assert_int_equal(fixture_delete(f, "/", true), ERR_INVALID);
    f->caller.is_superuser = false;
    /* A small file goes at once, with its chunks. */
    assert_int_equal(fixture_delete(f, "/tmp/d/g", false), 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_FREED), 2);
    /* A tree leaves in one step and its counters with it; the rest follows. */
    assert_int_equal(fixture_delete(f, "/tmp/d", true), 0);
    assert_int_equal(fixture_effects(f, EFFECT_REMOVAL_QUEUED), 1);
    assert_int_equal(fixture_stat(f, "/tmp/d", NULL), ERR_NOT_FOUND);
    assert_true(fixture_stat(f, "/tmp", &a) > 0);
    assert_int_equal(a.subtree_files + a.subtree_directories + a.subtree_bytes, 0);
    assert_true(fixture_mkdir(f, "/tmp/d") > 0);
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    assert_int_equal(totals.chunks, 20);
    assert_int_equal(totals.removal_queue, 1);
    fixture_reap(f);
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    assert_int_equal(totals.chunks, 0);
    assert_int_equal(totals.removal_queue, 0);
    struct command_entry reap = {.kind = ENTRY_REAP, .reap = {NAMESPACE_REAP_COUNT_MAX + 1}};
    assert_int_equal(fixture_apply(f, reap)->code, ERR_INVALID);
    reap.reap.count = 0;
    assert_int_equal(fixture_apply(f, reap)->code, ERR_INVALID);
}

static void test_delete_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct mem_kv before;
    mem_kv_init(&before);
    fixture_mkdir(f, "/tmp/d");
    assert_int_equal(fixture_delete(f, "/tmp/d", false), 0);
    size_t rows = f->kv.count;
    char path[64];
    fixture_mkdir(f, "/tmp/d");
    for (int i = 0; i < 30; i++) {
        (void)snprintf(path, sizeof(path), "/tmp/d/%d", i);
        fixture_mkdir(f, path);
        (void)snprintf(path, sizeof(path), "/tmp/d/%d/f", i);
        fixture_file(f, path, i % 12, 100);
    }
    struct op_result open = fixture_create(f, "/tmp/d/open");
    fixture_allocate(f, &open, 0, (struct chunk_ref){0, 0}, 0);
    assert_int_equal(fixture_delete(f, "/tmp/d", true), 0);
    fixture_reap(f);
    assert_int_equal(f->kv.count, rows);
    mem_kv_deinit(&before);
}

/* ---- Rename: the table ---- */

struct rename_case {
    const char *source;
    const char *target;
    bool replace;
    int code;
    const char *gone; /* must be absent afterwards */
};

/* Before each: /tmp/r/{file, file2, empty/, empty2/, full/x, full/sub/y}. */
static const struct rename_case rename_cases[] = {
    /* to a new name */
    {"/tmp/r/file", "/tmp/r/new", false, 0, "/tmp/r/file"},
    {"/tmp/r/file", "/tmp/r/new", true, 0, "/tmp/r/file"},
    {"/tmp/r/full", "/tmp/r/new", false, 0, "/tmp/r/full"},
    {"/tmp/r/full", "/tmp/r/empty/new", false, 0, "/tmp/r/full"},
    {"/tmp/r/full/x", "/tmp/r/x", false, 0, "/tmp/r/full/x"},
    {"/tmp/r/full/sub", "/tmp/r/full/bus", false, 0, "/tmp/r/full/sub"},
    /* nothing there */
    {"/tmp/r/nope", "/tmp/r/new", false, ERR_NOT_FOUND, NULL},
    {"/tmp/r/file", "/tmp/nope/new", false, ERR_NOT_FOUND, NULL},
    {"/tmp/r/file/x", "/tmp/r/new", false, ERR_NOT_DIR, NULL},
    {"/tmp/r/file", "/tmp/r/file2/new", false, ERR_NOT_DIR, NULL},
    {"/tmp/r/file", "/tmp/r/file/new", false, ERR_NOT_DIR, NULL},
    /* itself */
    {"/tmp/r/file", "/tmp/r/file", false, 0, NULL},
    {"/tmp/r/full", "/tmp/r/full", true, 0, NULL},
    {"/tmp/r/nope", "/tmp/r/nope", true, ERR_NOT_FOUND, NULL},
    /* cycles */
    {"/tmp/r/full", "/tmp/r/full/new", false, ERR_CYCLE, NULL},
    {"/tmp/r/full", "/tmp/r/full/sub/new", true, ERR_CYCLE, NULL},
    {"/tmp/r/full", "/tmp/r/full/sub", true, ERR_CYCLE, NULL},
    {"/", "/tmp/r/new", false, ERR_CYCLE, NULL},
    {"/tmp/r/full/sub", "/tmp/r/full", true, ERR_NOT_EMPTY, NULL},
    {"/tmp/r/full/x", "/tmp/r/full", true, ERR_IS_DIR, NULL},
    {"/tmp/r/full", "/tmp/r/fuller", false, 0, "/tmp/r/full"}, /* a prefix is no ancestor */
    /* target exists, not to be replaced */
    {"/tmp/r/file", "/tmp/r/file2", false, ERR_EXISTS, NULL},
    {"/tmp/r/file", "/tmp/r/empty", false, ERR_EXISTS, NULL},
    {"/tmp/r/empty", "/tmp/r/empty2", false, ERR_EXISTS, NULL},
    {"/tmp/r/empty", "/tmp/r/file", false, ERR_EXISTS, NULL},
    {"/tmp/r/file", "/", false, ERR_EXISTS, NULL},
    {"/tmp/r/file", "/", true, ERR_EXISTS, NULL},
    /* target exists, to be replaced */
    {"/tmp/r/file", "/tmp/r/file2", true, 0, "/tmp/r/file"},
    {"/tmp/r/file", "/tmp/r/full/x", true, 0, "/tmp/r/file"},
    {"/tmp/r/empty", "/tmp/r/empty2", true, 0, "/tmp/r/empty"},
    {"/tmp/r/full", "/tmp/r/empty", true, 0, "/tmp/r/full"},
    {"/tmp/r/empty", "/tmp/r/full", true, ERR_NOT_EMPTY, NULL},
    {"/tmp/r/file", "/tmp/r/empty", true, ERR_IS_DIR, NULL},
    {"/tmp/r/file", "/tmp/r/full", true, ERR_IS_DIR, NULL},
    {"/tmp/r/empty", "/tmp/r/file", true, ERR_NOT_DIR, NULL},
    {"/tmp/r/full", "/tmp/r/file", true, ERR_NOT_DIR, NULL},
    /* not a path */
    {"/tmp/r/file", "/tmp/r/", true, ERR_INVALID, NULL},
    {"/tmp/r/file/", "/tmp/r/new", true, ERR_INVALID, NULL},
    {"/tmp/r/file", "", false, ERR_INVALID, NULL},
};

static void rename_tree_make(struct fixture *f)
{
    fixture_mkdir(f, "/tmp/r");
    fixture_file(f, "/tmp/r/file", 1, 10);
    fixture_file(f, "/tmp/r/file2", 1, 20);
    fixture_mkdir(f, "/tmp/r/empty");
    fixture_mkdir(f, "/tmp/r/empty2");
    fixture_mkdir(f, "/tmp/r/full");
    fixture_touch(f, "/tmp/r/full/x");
    fixture_mkdir(f, "/tmp/r/full/sub");
    fixture_touch(f, "/tmp/r/full/sub/y");
}

static void test_rename_table(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(rename_cases) / sizeof(rename_cases[0]); i++) {
        const struct rename_case *c = &rename_cases[i];
        rename_tree_make(f);
        int64_t source = fixture_stat(f, c->source, NULL);
        int64_t target = fixture_stat(f, c->target, NULL);
        int code = fixture_rename(f, c->source, c->target, c->replace);
        if (code != c->code) {
            fail_msg("%s -> %s%s: %s instead of %s", c->source, c->target,
                     c->replace ? " (replace)" : "", err_name(code), err_name(c->code));
        }
        if (code == 0) {
            assert_int_equal(fixture_stat(f, c->target, NULL), source);
        } else {
            assert_int_equal(fixture_stat(f, c->source, NULL), source);
            assert_int_equal(fixture_stat(f, c->target, NULL), target);
        }
        if (c->gone) {
            assert_int_equal(fixture_stat(f, c->gone, NULL), ERR_NOT_FOUND);
        }
        assert_int_equal(fixture_delete(f, "/tmp/r", true), 0);
        fixture_reap(f);
    }
}

static void test_rename_moves_counters(void **state)
{
    struct fixture *f = *state;
    struct attributes a;
    fixture_mkdir(f, "/tmp/from");
    fixture_mkdir(f, "/tmp/to");
    fixture_mkdir(f, "/tmp/from/d");
    fixture_file(f, "/tmp/from/d/f", 2, 100);
    int64_t inode = fixture_stat(f, "/tmp/from/d/f", NULL);
    assert_int_equal(fixture_rename(f, "/tmp/from/d", "/tmp/to/d", false), 0);
    assert_true(fixture_stat(f, "/tmp/from", &a) > 0);
    assert_int_equal(a.subtree_bytes + a.subtree_files + a.subtree_directories + a.child_count, 0);
    assert_int_equal(a.mtime_ms, f->wall_ms);
    assert_true(fixture_stat(f, "/tmp/to", &a) > 0);
    assert_int_equal(a.subtree_bytes, FIXTURE_MIB + 100);
    assert_int_equal(a.subtree_replica_bytes, 3 * (FIXTURE_MIB + 100));
    assert_int_equal(a.subtree_files, 1);
    assert_int_equal(a.subtree_directories, 1);
    assert_int_equal(fixture_stat(f, "/tmp/to/d/f", NULL), inode);
    struct buf path = BUF_INIT;
    assert_int_equal(namespace_path(&f->view, (inode_id)inode, &path), 0);
    assert_string_equal(path.data, "/tmp/to/d/f");
    assert_int_equal(namespace_path(&f->view, 1, &path), 0);
    assert_string_equal(path.data, "/");
    assert_int_equal(namespace_path(&f->view, 999, &path), ERR_NOT_FOUND);
    buf_deinit(&path);
}

/* However trees are hung into each other, nothing comes to lie deeper than the limit. */
static void test_rename_depth(void **state)
{
    struct fixture *f = *state;
    char half[LIMIT_DEPTH_MAX + 8] = "/tmp";
    char target[2 * LIMIT_DEPTH_MAX + 32];
    f->unchecked = true;
    for (int i = 0; i < LIMIT_DEPTH_MAX / 2; i++) {
        strncat(half, "/a", sizeof(half) - strlen(half) - 1);
    }
    struct operation make = {.kind = OPERATION_MKDIR, .mkdir = {half, 0, true}};
    assert_int_equal(fixture_run(f, make).code, 0); /* depth 129 */
    make.mkdir.path = "/tmp/b/c";
    assert_int_equal(fixture_run(f, make).code, 0);
    assert_true(fixture_mkdir(f, "/tmp/b/c/d") > 0);
    assert_int_equal(fixture_rename(f, "/tmp/a", "/tmp/b/c/d/a", false), 0); /* 132 deep */
    make.mkdir.path = half;
    assert_int_equal(fixture_run(f, make).code, 0);
    (void)snprintf(target, sizeof(target), "%s/b", half); /* depth 130 + height 131 */
    assert_int_equal(fixture_rename(f, "/tmp/b", target, false), ERR_TOO_LARGE);
    /* Emptied, it is low again. */
    assert_int_equal(fixture_delete(f, "/tmp/b/c", true), 0);
    assert_int_equal(fixture_rename(f, "/tmp/b", target, false), 0);
    f->unchecked = false;
    fixture_reap(f);
}

/* ---- Permissions ---- */

static void as(struct fixture *f, const char *user)
{
    f->caller.user = user;
    f->caller.is_superuser = strcmp(user, "root") == 0;
    f->session = (session_id)user[0];
    f->seq += 1000; /* far above what the session has seen */
    struct command_entry open = {.kind = ENTRY_MUTATE,
                                 .mutate = {.session = f->session, .acked_below = 1}};
    fixture_apply(f, open);
}

static int set(struct fixture *f, struct op_set_attributes attributes)
{
    struct operation op = {.kind = OPERATION_SET_ATTRIBUTES, .set_attributes = attributes};
    return fixture_run(f, op).code;
}

static int chmod_as(struct fixture *f, const char *user, const char *path, uint32_t mode)
{
    as(f, user);
    return set(f,
               (struct op_set_attributes){
                   .path = path, .fields = ATTRIBUTE_MODE, .mode = mode, .owner = "", .group = ""});
}

static int access_as(struct fixture *f, const char *user, uint32_t bits)
{
    struct target target = {.path = "/tmp/f", .access = bits};
    struct attributes a;
    as(f, user);
    return namespace_stat(&f->view, &f->caller, &target, &f->arena, &a);
}

static void test_access(void **state)
{
    struct fixture *f = *state;
    as(f, "ada");
    assert_true(fixture_touch(f, "/tmp/f") > 0);
    assert_int_equal(chmod_as(f, "ada", "/tmp/f", 0614), 0);
    assert_int_equal(access_as(f, "ada", 6), 0);
    assert_int_equal(access_as(f, "ada", 1), ERR_PERMISSION);
    assert_int_equal(access_as(f, "bob", 4), 0);
    assert_int_equal(access_as(f, "bob", 2), ERR_PERMISSION);
    assert_int_equal(access_as(f, "bob", 6), ERR_PERMISSION);
    assert_int_equal(access_as(f, "bob", 0), 0);
    assert_int_equal(access_as(f, "bob", 8), 0); /* means nothing */
    assert_int_equal(access_as(f, "root", 7), 0);
}

static void test_permission_bits(void **state)
{
    struct fixture *f = *state;
    struct list_request request = {"/tmp/d", "", 0};
    struct list_page page;
    static const char *const groups[] = {"team"};
    as(f, "ada");
    fixture_mkdir(f, "/tmp/d");
    fixture_file(f, "/tmp/d/f", 1, 3);
    assert_int_equal(chmod_as(f, "ada", "/tmp/d", 0711), 0);
    as(f, "bob"); /* x only: reach, not list, not write */
    assert_true(fixture_stat(f, "/tmp/d/f", NULL) > 0);
    assert_int_equal(namespace_list(&f->view, &f->caller, &request, &f->arena, &page),
                     ERR_PERMISSION);
    assert_int_equal(fixture_touch(f, "/tmp/d/g"), ERR_PERMISSION);
    assert_int_equal(fixture_delete(f, "/tmp/d/f", false), ERR_PERMISSION);
    assert_int_equal(fixture_rename(f, "/tmp/d/f", "/tmp/f", false), ERR_PERMISSION);
    assert_int_equal(chmod_as(f, "bob", "/tmp/d", 0777), ERR_PERMISSION);
    assert_int_equal(chmod_as(f, "ada", "/tmp/d", 0744), 0);
    as(f, "bob"); /* r only: list, not reach */
    assert_int_equal(namespace_list(&f->view, &f->caller, &request, &f->arena, &page), 0);
    assert_int_equal(fixture_stat(f, "/tmp/d/f", NULL), ERR_PERMISSION);
    struct attributes a;
    as(f, "ada");
    int64_t inode = fixture_stat(f, "/tmp/d/f", NULL);
    as(f, "bob"); /* not by its number either */
    struct target by_inode = {.path = "", .inode = (inode_id)inode};
    assert_int_equal(namespace_stat(&f->view, &f->caller, &by_inode, &f->arena, &a),
                     ERR_PERMISSION);
    /* the group's bits count for its members, the owner's for the owner even if they give less */
    as(f, "ada");
    f->caller.groups = groups;
    f->caller.group_count = 1;
    struct op_set_attributes group = {.path = "/tmp/d",
                                      .fields = ATTRIBUTE_GROUP | ATTRIBUTE_MODE,
                                      .mode = 0070,
                                      .owner = "",
                                      .group = "team"};
    assert_int_equal(set(f, group), 0);
    assert_int_equal(fixture_stat(f, "/tmp/d/f", NULL), ERR_PERMISSION);
    as(f, "bob");
    assert_true(fixture_touch(f, "/tmp/d/g") > 0);
    f->caller.group_count = 0;
    assert_int_equal(fixture_touch(f, "/tmp/d/h"), ERR_PERMISSION);
    as(f, "root");
    assert_true(fixture_touch(f, "/tmp/d/h") > 0);
}

static void test_sticky(void **state)
{
    struct fixture *f = *state;
    as(f, "ada");
    assert_true(fixture_touch(f, "/tmp/f") > 0);
    assert_true(fixture_touch(f, "/tmp/g") > 0);
    as(f, "bob");
    assert_true(fixture_touch(f, "/tmp/mine") > 0);
    assert_int_equal(fixture_delete(f, "/tmp/f", false), ERR_PERMISSION);
    assert_int_equal(fixture_rename(f, "/tmp/f", "/tmp/h", false), ERR_PERMISSION);
    assert_int_equal(fixture_rename(f, "/tmp/mine", "/tmp/f", true), ERR_PERMISSION);
    assert_int_equal(fixture_delete(f, "/tmp/mine", false), 0);
    as(f, "root");
    assert_int_equal(fixture_delete(f, "/tmp/f", false), 0);
    as(f, "ada"); /* a whole tree: its top must be writable */
    fixture_mkdir(f, "/tmp/open");
    assert_int_equal(chmod_as(f, "ada", "/tmp/open", 0777), 0);
    fixture_mkdir(f, "/tmp/open/closed");
    assert_true(fixture_touch(f, "/tmp/open/closed/f") > 0);
    as(f, "bob");
    assert_int_equal(fixture_delete(f, "/tmp/open/closed", true), ERR_PERMISSION);
}

static void test_attributes(void **state)
{
    struct fixture *f = *state;
    struct attributes a;
    as(f, "ada");
    fixture_file(f, "/tmp/f", 1, 100);
    struct op_set_attributes op = {.path = "/tmp/f",
                                   .fields = ATTRIBUTE_MTIME,
                                   .mode = 0,
                                   .owner = "",
                                   .group = "",
                                   .mtime_ms = 42};
    assert_int_equal(set(f, op), 0);
    assert_true(fixture_stat(f, "/tmp/f", &a) > 0);
    assert_int_equal(a.mtime_ms, 42);
    op.fields = ATTRIBUTE_OWNER;
    op.owner = "bob";
    assert_int_equal(set(f, op), ERR_PERMISSION);
    op.fields = ATTRIBUTE_GROUP;
    op.group = "others"; /* not hers */
    assert_int_equal(set(f, op), ERR_PERMISSION);
    op.group = "ada";
    assert_int_equal(set(f, op), 0);
    op.fields = ATTRIBUTE_REPLICATION;
    op.replication = 0;
    assert_int_equal(set(f, op), ERR_INVALID);
    op.replication = CHUNK_REPLICAS_MAX + 1;
    assert_int_equal(set(f, op), ERR_INVALID);
    op.path = "/tmp";
    op.replication = 2;
    as(f, "root");
    assert_int_equal(set(f, op), ERR_IS_DIR);
    op.path = "/tmp/f";
    op.fields = ATTRIBUTE_OWNER | ATTRIBUTE_GROUP;
    op.group = "staff";
    assert_int_equal(set(f, op), 0);
    assert_true(fixture_stat(f, "/tmp/f", &a) > 0);
    assert_string_equal(a.owner, "bob");
    assert_string_equal(a.group, "staff");
    op.owner = "not/valid";
    assert_int_equal(set(f, op), ERR_INVALID);
    op.owner = "";
    assert_int_equal(set(f, op), ERR_INVALID);
    op.fields = 1024;
    assert_int_equal(set(f, op), ERR_UNSUPPORTED);
    op.fields = ATTRIBUTE_MODE;
    op.mode = 010000;
    assert_int_equal(set(f, op), ERR_INVALID);
    op.path = "/tmp/nope";
    assert_int_equal(set(f, op), ERR_NOT_FOUND);
}

static void test_replication(void **state)
{
    struct fixture *f = *state;
    struct attributes a;
    struct namespace_totals totals;
    fixture_file(f, "/tmp/small", 3, 10);
    struct op_set_attributes op = {.path = "/tmp/small",
                                   .fields = ATTRIBUTE_REPLICATION,
                                   .owner = "",
                                   .group = "",
                                   .replication = 2};
    assert_int_equal(set(f, op), 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_WANTED), 3);
    assert_true(fixture_stat(f, "/tmp", &a) > 0);
    assert_int_equal(a.subtree_replica_bytes, 2 * (2 * FIXTURE_MIB + 10));
    fixture_file(f, "/tmp/big", 30, 10);
    op.path = "/tmp/big";
    assert_int_equal(set(f, op), 0);
    assert_int_equal(fixture_effects(f, EFFECT_CHUNK_WANTED), NAMESPACE_INLINE_COUNT_MAX);
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    assert_int_equal(totals.rewant_queue, 1);
    op.replication = 5; /* once more, before the first change was carried out */
    assert_int_equal(set(f, op), 0);
    struct command_entry reap = {.kind = ENTRY_REAP, .reap = {5}};
    assert_true(fixture_apply(f, reap)->more);
    fixture_reap(f);
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    assert_int_equal(totals.rewant_queue, 0);
    op.replication = 4; /* waiting, and then removed */
    assert_int_equal(set(f, op), 0);
    assert_int_equal(fixture_delete(f, "/tmp/big", false), 0);
    fixture_reap(f);
    assert_int_equal(namespace_totals(&f->view, &totals), 0);
    assert_int_equal(totals.rewant_queue + totals.removal_queue, 0);
}

/* ---- Fences and preconditions ---- */

static void test_fences(void **state)
{
    struct fixture *f = *state;
    struct operation raise = {.kind = OPERATION_RAISE_FENCE, .raise_fence = {"mr/default"}};
    as(f, "ada");
    assert_int_equal(fixture_run(f, raise).fence_epoch, 1);
    assert_int_equal(fixture_run(f, raise).fence_epoch, 2);
    as(f, "bob");
    assert_int_equal(fixture_run(f, raise).code, ERR_PERMISSION);
    as(f, "root");
    assert_int_equal(fixture_run(f, raise).fence_epoch, 3);
    static const char *const bad[] = {"", "/x", "x/", "a//b", "..", "\xff"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        raise.raise_fence.name = bad[i];
        assert_int_equal(fixture_run(f, raise).code, ERR_INVALID);
    }
    struct precondition holds = {PRECONDITION_FENCE_IS, "mr/default", 3};
    struct operation mkdir = {.kind = OPERATION_MKDIR,
                              .mkdir = {"/tmp/d", 0, false},
                              .preconditions = &holds,
                              .precondition_count = 1};
    holds.number = 2;
    assert_int_equal(fixture_run(f, mkdir).code, ERR_PRECONDITION);
    holds.number = 3;
    assert_int_equal(fixture_run(f, mkdir).code, 0);
    holds.name = "never raised";
    assert_int_equal(fixture_run(f, mkdir).code, ERR_PRECONDITION);
    holds.name = "";
    holds.number = 0;
    assert_int_equal(fixture_run(f, mkdir).code, ERR_PRECONDITION);
}

static void test_preconditions(void **state)
{
    struct fixture *f = *state;
    struct precondition p[NAMESPACE_PRECONDITION_COUNT_MAX + 1] = {{0}};
    struct operation mkdir = {.kind = OPERATION_MKDIR,
                              .mkdir = {"/tmp/d", 0, true},
                              .preconditions = p,
                              .precondition_count = 1};
    int64_t file = fixture_touch(f, "/tmp/f");
    static const struct {
        struct precondition precondition;
        int code;
    } cases[] = {
        {{PRECONDITION_PATH_ABSENT, "/tmp/f", 0}, ERR_PRECONDITION},
        {{PRECONDITION_PATH_ABSENT, "/tmp/nope", 0}, 0},
        {{PRECONDITION_PATH_ABSENT, "/nope/nope", 0}, 0},
        {{PRECONDITION_PATH_ABSENT, "/tmp/f/g", 0}, 0},
        {{PRECONDITION_PATH_ABSENT, "bad", 0}, ERR_INVALID},
        {{PRECONDITION_PATH_IS, "/tmp/f", 12345}, ERR_PRECONDITION},
        {{PRECONDITION_PATH_IS, "/tmp/nope", 12345}, ERR_PRECONDITION},
        {{PRECONDITION_PATH_IS, "/tmp/f/g", 12345}, ERR_PRECONDITION},
        {{PRECONDITION_PATH_IS, "/", 1}, 0},
        {{PRECONDITION_NONE, "", 0}, ERR_PRECONDITION},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        p[0] = cases[i].precondition;
        assert_int_equal(fixture_run(f, mkdir).code, cases[i].code);
    }
    p[0] = (struct precondition){PRECONDITION_PATH_IS, "/tmp/f", (inode_id)file};
    assert_int_equal(fixture_run(f, mkdir).code, 0);
    for (size_t i = 0; i < NAMESPACE_PRECONDITION_COUNT_MAX + 1; i++) {
        p[i] = p[0];
    }
    mkdir.precondition_count = NAMESPACE_PRECONDITION_COUNT_MAX;
    assert_int_equal(fixture_run(f, mkdir).code, 0);
    mkdir.precondition_count++;
    assert_int_equal(fixture_run(f, mkdir).code, ERR_TOO_LARGE);
    p[1].number++; /* all must hold */
    mkdir.precondition_count = 2;
    assert_int_equal(fixture_run(f, mkdir).code, ERR_PRECONDITION);
}

/* What is kept from batch to batch is let go and read again several times on the way. */
static void test_more_than_is_kept(void **state)
{
    enum { FILE_COUNT = 9000 };
    struct fixture *f = *state;
    struct attributes a;
    struct err e = ERR_INIT;
    char path[64];
    size_t rows = 0;
    f->unchecked = true;
    for (int i = 0; i < FILE_COUNT; i++) {
        (void)snprintf(path, sizeof(path), "/tmp/d%d", i % 7);
        if (i < 7) {
            fixture_mkdir(f, path);
            rows = f->kv.count;
        }
        (void)snprintf(path, sizeof(path), "/tmp/d%d/%d", i % 7, i);
        assert_true(fixture_create(f, path).inode > 0);
    }
    assert_int_equal(namespace_check(&f->view, &e), 0);
    assert_true(fixture_stat(f, "/tmp", &a) > 0);
    assert_int_equal(a.subtree_files, FILE_COUNT);
    for (int i = 0; i < FILE_COUNT; i++) {
        (void)snprintf(path, sizeof(path), "/tmp/d%d/%d", i % 7, i);
        assert_int_equal(fixture_delete(f, path, false), 0);
    }
    assert_int_equal(namespace_check(&f->view, &e), 0);
    assert_true(fixture_stat(f, "/tmp", &a) > 0);
    assert_int_equal(a.subtree_files, 0);
    assert_int_equal(a.subtree_directories, 7);
    assert_true(f->kv.count <= rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_format, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mkdir, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rename_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rename_moves_counters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rename_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_permission_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_access, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sticky, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attributes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replication, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fences, setup, teardown),
        cmocka_unit_test_setup_teardown(test_preconditions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_more_than_is_kept, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
