#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/sys.h"

static int setup(void **state)
{
    static struct buf dir;
    buf_init(&dir);
    *state = &dir;
    return sys_make_temp_dir("test-sys", &dir, NULL);
}

static int teardown(void **state)
{
    struct buf *dir = *state;
    int r = sys_remove_tree(dir->data, NULL);
    bool gone = access(dir->data, F_OK) < 0;
    buf_deinit(dir);
    return r == 0 && gone ? 0 : -1;
}

static const char *in_dir(void **state, const char *name)
{
    static struct buf path = BUF_INIT;
    buf_clear(&path);
    buf_printf(&path, "%s/%s", ((struct buf *)*state)->data, name);
    return path.data;
}

static void whole_transfers(void **state)
{
    struct err e = ERR_INIT;
    char data[8] = {0};
    int fd = sys_open(in_dir(state, "file"), O_RDWR | O_CREAT, 0600, &e);
    assert_true(fd >= 0);
    assert_int_equal(sys_pwrite_full(fd, "world", 5, 3, &e), 0);
    assert_int_equal(sys_write_full(fd, "abc", 3, &e), 0);
    assert_int_equal(sys_pread_full(fd, data, 8, 0, &e), 0);
    assert_memory_equal(data, "abcworld", 8);
    assert_int_equal(sys_read_full(fd, data, 5, &e), 0);
    assert_memory_equal(data, "world", 5);
    assert_int_equal(sys_read_full(fd, data, 1, &e), ERR_EOF);
    assert_int_equal(sys_pread_full(fd, data, 8, 1, &e), ERR_EOF);
    sys_close(&fd);
    assert_int_equal(fd, -1);
    sys_close(&fd);
    assert_int_equal(sys_open(in_dir(state, "absent"), O_RDONLY, 0, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "absent"));
}

static size_t entries_of(const char *path)
{
    size_t count = 0;
    DIR *stream = opendir(path);
    assert_non_null(stream);
    while (readdir(stream) != NULL) {
        count++;
    }
    closedir(stream);
    return count - 2;
}

static void files_are_replaced_whole(void **state)
{
    struct buf content = BUF_INIT;
    struct err e = ERR_INIT;
    const char *path = in_dir(state, "file");
    assert_int_equal(sys_write_file_atomic(path, "old", 3, &e), 0);
    assert_int_equal(sys_write_file_atomic(path, "newer", 5, &e), 0);
    assert_int_equal(sys_read_file(path, 5, &content, &e), 0);
    assert_string_equal(content.data, "newer");
    assert_int_equal(sys_read_file(path, 4, &content, &e), ERR_TOO_LARGE);
    assert_string_equal(content.data, "newer");
    assert_int_equal(entries_of(((struct buf *)*state)->data), 1);
    assert_int_equal(sys_write_file_atomic(in_dir(state, "no/such/dir"), "x", 1, &e),
                     ERR_NOT_FOUND);
    buf_deinit(&content);
}

/* A target that cannot be replaced: the old thing stays, and nothing is left behind. */
static void a_failed_replacement_leaves_nothing(void **state)
{
    struct err e = ERR_INIT;
    assert_int_equal(sys_mkdir_p(in_dir(state, "taken/below"), &e), 0);
    assert_true(sys_write_file_atomic(in_dir(state, "taken"), "x", 1, &e) < 0);
    assert_int_equal(entries_of(((struct buf *)*state)->data), 1);
}

static void directories(void **state)
{
    struct err e = ERR_INIT;
    struct buf content = BUF_INIT;
    assert_int_equal(sys_mkdir_p(in_dir(state, "a//b/c/"), &e), 0);
    assert_int_equal(sys_mkdir_p(in_dir(state, "a/b/c"), &e), 0);
    assert_int_equal(sys_write_file_atomic(in_dir(state, "a/b/file"), "", 0, &e), 0);
    assert_int_equal(sys_read_file(in_dir(state, "a/b/file"), 0, &content, &e), 0);
    assert_int_equal(sys_mkdir_p(in_dir(state, "a/b/file"), &e), ERR_NOT_DIR);
    assert_int_equal(sys_mkdir_p(in_dir(state, "a/b/file/x"), &e), ERR_NOT_DIR);
    assert_int_equal(sys_mkdir_scratch(in_dir(state, "a/b/c/d/e"), &e), 0);
    assert_int_equal(access(in_dir(state, "a/b/c/d/e"), X_OK), 0);
    assert_int_equal(sys_mkdir_scratch(in_dir(state, "a/b/file/x"), &e), ERR_NOT_DIR);
    assert_int_equal(sys_fsync_dir(in_dir(state, "a/b"), &e), 0);
    assert_true(sys_fsync_dir(in_dir(state, "a/b/file"), &e) < 0);
    assert_int_equal(content.length, 0);
    buf_deinit(&content);
}

static void removal_does_not_follow_links(void **state)
{
    struct err e = ERR_INIT;
    assert_int_equal(sys_mkdir_p(in_dir(state, "kept/inside"), &e), 0);
    assert_int_equal(sys_mkdir_p(in_dir(state, "gone/sub"), &e), 0);
    assert_int_equal(symlink("../kept", in_dir(state, "gone/link")), 0);
    assert_int_equal(sys_remove_tree(in_dir(state, "gone"), &e), 0);
    assert_int_equal(access(in_dir(state, "gone"), F_OK), -1);
    assert_int_equal(access(in_dir(state, "kept/inside"), F_OK), 0);
    assert_int_equal(sys_remove_tree(in_dir(state, "gone"), &e), 0);
}

static void names(void **state)
{
    struct buf name = BUF_INIT;
    (void)state;
    sys_host_name(&name);
    assert_true(name.length > 0);
    buf_clear(&name);
    sys_user_name(&name);
    assert_true(name.length > 0);
    buf_deinit(&name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_transfers, setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_replaced_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_replacement_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(directories, setup, teardown),
        cmocka_unit_test_setup_teardown(removal_does_not_follow_links, setup, teardown),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
