/* Extended attributes: set, replaced, removed, read, bounded; they stay with their inode through a
 * rename and go with it. Every entry is followed by a walk of all invariants (namespace_fixture).
 */
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
    assert_true(fixture_touch(&f, "/tmp/f") > 0);
    return 0;
}

static int teardown(void **state)
{
    fixture_deinit(*state);
    return 0;
}

static int set_bytes(struct fixture *f, const char *name, const void *value, size_t length,
                     uint32_t mode)
{
    struct op_set_xattr op = {"/tmp/f", name, {value, length}, mode};
    return fixture_run(f, (struct operation){.kind = OPERATION_SET_XATTR, .set_xattr = op}).code;
}

static int set(struct fixture *f, const char *path, const char *name, const char *value,
               uint32_t mode)
{
    struct op_set_xattr op = {path, name, {value, strlen(value)}, mode};
    return fixture_run(f, (struct operation){.kind = OPERATION_SET_XATTR, .set_xattr = op}).code;
}

/* "name=value name=value" of all, or an error. */
static const char *all_of(struct fixture *f, const char *path)
{
    static char text[1024];
    struct target target = {.path = path};
    struct xattrs xattrs;
    int r = namespace_xattrs(&f->view, &f->caller, &target, &f->arena, &xattrs);
    if (r < 0) {
        return err_name(r);
    }
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < xattrs.count; i++) {
        const struct xattr *x = &xattrs.items[i];
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s=%.*s", i ? " " : "", x->name,
                               (int)x->value.length, (const char *)x->value.data);
    }
    return text;
}

static size_t rows_of_xattrs(const struct fixture *f)
{
    size_t count = 0;
    for (size_t i = 0; i < f->kv.count; i++) {
        count += f->kv.rows[i]->key.data[0] == 'u';
    }
    return count;
}

static void test_modes(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(all_of(f, "/tmp/f"), "");
    assert_int_equal(set(f, "/tmp/f", "user.b", "1", XATTR_REPLACE), ERR_NO_XATTR);
    assert_int_equal(set(f, "/tmp/f", "user.b", "", XATTR_REMOVE), ERR_NO_XATTR);
    assert_int_equal(set(f, "/tmp/f", "user.b", "1", XATTR_CREATE), 0);
    assert_int_equal(set(f, "/tmp/f", "user.b", "2", XATTR_CREATE), ERR_EXISTS);
    assert_int_equal(set(f, "/tmp/f", "user.b", "3", XATTR_REPLACE), 0);
    assert_int_equal(set(f, "/tmp/f", "user.a", "", XATTR_SET), 0);
    assert_string_equal(all_of(f, "/tmp/f"), "user.a= user.b=3");
    assert_int_equal(set(f, "/tmp/f", "user.b", "4", XATTR_SET), 0);
    assert_int_equal(set(f, "/tmp/f", "user.a", "", XATTR_REMOVE), 0);
    assert_string_equal(all_of(f, "/tmp/f"), "user.b=4");
    assert_int_equal(set(f, "/tmp/f", "user.b", "", 4), ERR_UNSUPPORTED);
    assert_int_equal(set(f, "/tmp/f", "user.b", "", XATTR_REMOVE), 0);
    assert_int_equal(rows_of_xattrs(f), 0);
    assert_int_equal(set(f, "/tmp/none", "user.a", "", XATTR_SET), ERR_NOT_FOUND);
    assert_string_equal(all_of(f, "/tmp/none"), "ERR_NOT_FOUND");
    assert_int_equal(set(f, "/tmp", "user.a", "x", XATTR_SET), ERR_PERMISSION);
}

static void test_bounds(void **state)
{
    static uint8_t value[XATTR_VALUE_BYTES_MAX + 1];
    static const char *const bad[] = {"a",      "",           "user.",     "user",
                                      "User.a", "trusted.a",  "system.a",  "security.a",
                                      "raw.a",  "user.\x01b", "user.\xff", "user.a/b"};
    struct fixture *f = *state;
    char name[LIMIT_NAME_BYTES_MAX + 2];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(set(f, "/tmp/f", bad[i], "", XATTR_SET), ERR_INVALID);
    }
    memset(name, 'n', sizeof(name) - 1);
    memcpy(name, "user.", 5);
    name[LIMIT_NAME_BYTES_MAX + 1] = '\0';
    assert_int_equal(set(f, "/tmp/f", name, "", XATTR_SET), ERR_INVALID);
    name[LIMIT_NAME_BYTES_MAX] = '\0';
    assert_int_equal(set(f, "/tmp/f", name, "", XATTR_SET), 0);
    assert_int_equal(set_bytes(f, "user.a", value, sizeof(value), XATTR_SET), ERR_TOO_LARGE);
    assert_int_equal(set_bytes(f, "user.a", value, sizeof(value) - 1, XATTR_SET), 0);
    for (int i = 0; i < XATTR_COUNT_MAX - 2; i++) {
        (void)snprintf(name, sizeof(name), "user.%d", i);
        assert_int_equal(set(f, "/tmp/f", name, "", XATTR_SET), 0);
    }
    assert_int_equal(set(f, "/tmp/f", "user.more", "", XATTR_SET), ERR_TOO_LARGE);
    assert_int_equal(set(f, "/tmp/f", "user.a", "short", XATTR_SET), 0); /* is there already */
    assert_int_equal(set(f, "/tmp/f", "user.7", "", XATTR_REMOVE), 0);
    assert_int_equal(set(f, "/tmp/f", "user.more", "", XATTR_SET), 0);
    assert_int_equal(fixture_delete(f, "/tmp/f", false), 0);
    assert_int_equal(rows_of_xattrs(f), 0);
}

/* With their inode: through a rename, away with what replaces it, and through the removal queue. */
static void test_life(void **state)
{
    struct fixture *f = *state;
    assert_true(fixture_mkdir(f, "/tmp/d") > 0);
    assert_true(fixture_mkdir(f, "/tmp/d/e") > 0);
    assert_int_equal(set(f, "/tmp/f", "user.a", "1", XATTR_SET), 0);
    assert_int_equal(set(f, "/tmp/d", "user.d", "2", XATTR_SET), 0);
    assert_int_equal(set(f, "/tmp/d/e", "user.e", "3", XATTR_SET), 0);
    assert_int_equal(fixture_rename(f, "/tmp/f", "/tmp/d/f", false), 0);
    assert_int_equal(fixture_rename(f, "/tmp/d", "/tmp/c", false), 0);
    assert_string_equal(all_of(f, "/tmp/c/f"), "user.a=1");
    assert_string_equal(all_of(f, "/tmp/c"), "user.d=2");
    assert_true(fixture_file(f, "/tmp/g", 20, 5) > 0);
    assert_int_equal(set(f, "/tmp/g", "user.g", "4", XATTR_SET), 0);
    assert_int_equal(fixture_rename(f, "/tmp/g", "/tmp/c/f", true), 0);
    assert_string_equal(all_of(f, "/tmp/c/f"), "user.g=4");
    assert_int_equal(rows_of_xattrs(f), 3);
    assert_int_equal(fixture_delete(f, "/tmp/c", true), 0);
    fixture_reap(f);
    assert_int_equal(rows_of_xattrs(f), 0);
}

static void be(struct fixture *f, const char *user, session_id session)
{
    f->caller = (struct caller){.user = user, .is_superuser = strcmp(user, "root") == 0};
    f->session = session;
    f->seq = 0;
}

static void set_mode(struct fixture *f, const char *path, uint32_t mode)
{
    struct op_set_attributes op = {.path = path, .fields = ATTRIBUTE_MODE, .mode = mode};
    struct operation operation = {.kind = OPERATION_SET_ATTRIBUTES, .set_attributes = op};
    assert_int_equal(fixture_run(f, operation).code, 0);
}

static void test_rights(void **state)
{
    struct fixture *f = *state;
    assert_true(fixture_mkdir(f, "/tmp/d") > 0);
    set_mode(f, "/tmp/d", 01777);
    assert_int_equal(set(f, "/tmp/f", "user.a", "1", XATTR_SET), 0);
    assert_int_equal(set(f, "/tmp/d", "user.a", "1", XATTR_SET), 0);
    be(f, "bob", 2);
    assert_int_equal(set(f, "/tmp/f", "user.b", "", XATTR_SET), ERR_PERMISSION);
    assert_string_equal(all_of(f, "/tmp/f"), "user.a=1");                        /* mode 0644 */
    assert_int_equal(set(f, "/tmp/d", "user.b", "", XATTR_SET), ERR_PERMISSION); /* sticky */
    be(f, "ada", 3);
    set_mode(f, "/tmp/f", 0620);
    assert_int_equal(set(f, "/tmp/f", "user.c", "", XATTR_SET), 0);
    set_mode(f, "/tmp/f", 0602);
    be(f, "bob", 4);
    assert_int_equal(set(f, "/tmp/f", "user.b", "", XATTR_SET), 0);
    assert_string_equal(all_of(f, "/tmp/f"), "ERR_PERMISSION");
    be(f, "root", 5);
    assert_string_equal(all_of(f, "/tmp/f"), "user.a=1 user.b= user.c=");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rights, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
