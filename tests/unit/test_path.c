#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/limits.h"
#include "common/macros.h"
#include "common/path.h"

static void typed_paths_become_store_paths(void **state)
{
    static const struct {
        const char *typed;
        const char *stored; /* NULL: refused */
    } cases[] = {
        {"/", "/"},
        {"//", "/"},
        {"/a/b", "/a/b"},
        {"//a///b/", "/a/b"},
        {"/./a/./b/.", "/a/b"},
        {"a", "/user/ada/a"},
        {".", "/user/ada"},
        {"./a//b", "/user/ada/a/b"},
        {"/a b/\xc3\xa9", "/a b/\xc3\xa9"},
        {"/...", "/..."},
        {"", NULL},
        {"..", NULL},
        {"/a/../b", NULL},
        {"/a/..", NULL},
        {"/a\nb", NULL},
        {"/a\x7f", NULL},
        {"/\xff", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf out = BUF_INIT;
        struct err e = ERR_INIT;
        buf_append_str(&out, "kept");
        int r = path_normalize(cases[i].typed, "/user/ada", &out, &e);
        if (cases[i].stored == NULL) {
            assert_int_equal(r, ERR_INVALID);
            assert_true(e.msg[0] != 0);
            assert_string_equal(out.data, "kept");
        } else {
            assert_int_equal(r, 0);
            assert_string_equal(out.data + 4, cases[i].stored);
            assert_int_equal(path_check(out.data + 4, out.length - 4, NULL), 0);
        }
        buf_deinit(&out);
    }
}

static void peers_send_store_paths_only(void **state)
{
    static const struct span bad[] = {
        {"", 0},   {"a", 1},     {"/a/", 3},   {"//", 2},    {"/a//b", 5},
        {"/.", 2}, {"/a/..", 5}, {"/a\0b", 4}, {"/\xc3", 2}, {"/a\x01", 3},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(path_check(bad[i].data, bad[i].length, NULL), ERR_INVALID);
    }
    assert_int_equal(path_check("/", 1, NULL), 0);
    assert_int_equal(path_check("/a/b", 4, NULL), 0);
    assert_int_equal(path_check("/a/bcut-here", 4, NULL), 0);
}

static void limits_are_exact(void **state)
{
    struct buf path = BUF_INIT, out = BUF_INIT;
    (void)state;
    buf_append_byte(&path, '/');
    buf_append_fill(&path, 'n', LIMIT_NAME_BYTES_MAX);
    assert_int_equal(path_check(path.data, path.length, NULL), 0);
    buf_append_byte(&path, 'n');
    assert_int_equal(path_check(path.data, path.length, NULL), ERR_TOO_LARGE);

    buf_clear(&path);
    for (size_t i = 0; i < LIMIT_DEPTH_MAX; i++) {
        buf_append_str(&path, "/d");
    }
    assert_int_equal(path_check(path.data, path.length, NULL), 0);
    assert_int_equal(path_depth(path.data), LIMIT_DEPTH_MAX);
    assert_int_equal(path_normalize(path.data, "/", &out, NULL), 0);
    assert_int_equal(path_normalize(path.data + 1, "/base", &out, NULL), ERR_TOO_LARGE);
    buf_append_str(&path, "/d");
    assert_int_equal(path_check(path.data, path.length, NULL), ERR_TOO_LARGE);

    buf_clear(&path);
    while (path.length < LIMIT_PATH_BYTES_MAX) {
        buf_append_byte(&path, '/');
        buf_append_fill(&path, 'n', MIN((size_t)127, LIMIT_PATH_BYTES_MAX - path.length));
    }
    assert_int_equal(path_check(path.data, path.length, NULL), 0);
    buf_append_byte(&path, 'n');
    assert_int_equal(path_check(path.data, path.length, NULL), ERR_TOO_LARGE);
    buf_deinit(&path);
    buf_deinit(&out);
}

static void components_and_relations(void **state)
{
    const char *at = "/a/bc";
    struct span name;
    (void)state;
    assert_true(path_next(&at, &name));
    assert_int_equal(name.length, 1);
    assert_true(path_next(&at, &name));
    assert_memory_equal(name.data, "bc", 2);
    assert_false(path_next(&at, &name));
    assert_int_equal(path_depth("/"), 0);
    assert_int_equal(path_depth("/a/bc"), 2);
    assert_string_equal(path_name("/a/bc"), "bc");
    assert_string_equal(path_name("/"), "");
    assert_true(path_is_under("/a/b", "/a"));
    assert_true(path_is_under("/a", "/a"));
    assert_true(path_is_under("/a", "/"));
    assert_false(path_is_under("/ab", "/a"));
    assert_false(path_is_under("/", "/a"));
}

static void splitting(void **state)
{
    struct buf parent = BUF_INIT;
    const char *name = NULL;
    (void)state;
    assert_int_equal(path_split("/a/b/c", &parent, &name), 0);
    assert_string_equal(parent.data, "/a/b");
    assert_string_equal(name, "c");
    buf_clear(&parent);
    assert_int_equal(path_split("/a", &parent, &name), 0);
    assert_string_equal(parent.data, "/");
    assert_string_equal(name, "a");
    assert_int_equal(path_split("/", &parent, &name), ERR_INVALID);
    buf_deinit(&parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typed_paths_become_store_paths),
        cmocka_unit_test(peers_send_store_paths_only),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(components_and_relations),
        cmocka_unit_test(splitting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
