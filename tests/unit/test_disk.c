/* struct disk: one contract, checked on the real one and on the fake one; then what only the fake
 * one can do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/disk.h"
#include "common/sys.h"
#include "tests/lib/fake_disk.h"

static struct span text(const char *string)
{
    return (struct span){string, strlen(string)};
}

static void count_name(void *arg, const char *name)
{
    *(int *)arg += name[0] == 'a' || name[0] == 'b' ? 1 : 100;
}

static void check_contract(struct disk *d)
{
    struct disk_file *f = NULL;
    char bytes[16] = {0};
    uint64_t size = 0;
    int names = 0;
    assert_int_equal(disk_open(d, "a", DISK_OPEN_EXISTING, &f, NULL), ERR_NOT_FOUND);
    assert_int_equal(disk_open(d, "a", DISK_OPEN_CREATE, &f, NULL), 0);
    assert_int_equal(disk_preallocate(f, 4096, NULL), 0);
    assert_int_equal(disk_size(f, &size, NULL), 0);
    assert_int_equal(size, 0);
    assert_int_equal(disk_write(f, text("hello"), 3, NULL), 0);
    assert_int_equal(disk_sync(f, NULL), 0);
    assert_int_equal(disk_read(f, bytes, sizeof(bytes), 0, NULL), 8);
    assert_memory_equal(bytes, "\0\0\0hello", 8);
    assert_int_equal(disk_read(f, bytes, sizeof(bytes), 8, NULL), 0);
    assert_int_equal(disk_truncate(f, 5, NULL), 0);
    assert_int_equal(disk_truncate(f, 6, NULL), 0);
    assert_int_equal(disk_read(f, bytes, sizeof(bytes), 3, NULL), 3);
    assert_memory_equal(bytes, "he\0", 3);
    disk_close(f);
    assert_int_equal(disk_open(d, "a", DISK_OPEN_CREATE, &f, NULL), ERR_EXISTS);
    assert_int_equal(disk_open(d, "b", DISK_OPEN_CREATE, &f, NULL), 0);
    disk_close(f);
    assert_int_equal(disk_list(d, count_name, &names, NULL), 0);
    assert_int_equal(names, 2);
    assert_int_equal(disk_rename(d, "a", "b", NULL), 0);
    assert_int_equal(disk_rename(d, "a", "b", NULL), ERR_NOT_FOUND);
    assert_int_equal(disk_sync_names(d, NULL), 0);
    assert_int_equal(disk_open(d, "b", DISK_OPEN_EXISTING, &f, NULL), 0);
    assert_int_equal(disk_size(f, &size, NULL), 0);
    assert_int_equal(size, 6);
    disk_close(f);
    assert_int_equal(disk_unlink(d, "b", NULL), 0);
    assert_int_equal(disk_unlink(d, "b", NULL), ERR_NOT_FOUND);
}

static void test_posix_contract(void **state)
{
    (void)state;
    struct disk *d = NULL;
    struct buf directory = BUF_INIT;
    assert_int_equal(sys_make_temp_dir("disk", &directory, NULL), 0);
    assert_int_equal(disk_posix_open("/nowhere/at/all", &d, NULL), ERR_NOT_FOUND);
    assert_int_equal(disk_posix_open(directory.data, &d, NULL), 0);
    check_contract(d);
    disk_free(d);
    assert_int_equal(sys_remove_tree(directory.data, NULL), 0);
    buf_deinit(&directory);
}

static void test_fake_contract(void **state)
{
    (void)state;
    struct fake_disk *d = fake_disk_new();
    check_contract(fake_disk_as_disk(d));
    assert_int_equal(fake_disk_open_files(d), 0);
    fake_disk_free(d);
}

static void write_file(struct fake_disk *fake, const char *name, const char *content, bool sync)
{
    struct disk *d = fake_disk_as_disk(fake);
    struct disk_file *f = NULL;
    if (disk_open(d, name, DISK_OPEN_EXISTING, &f, NULL) < 0) {
        assert_int_equal(disk_open(d, name, DISK_OPEN_CREATE, &f, NULL), 0);
    }
    (void)!disk_write(f, text(content), 0, NULL);
    if (sync) {
        assert_int_equal(disk_sync(f, NULL), 0);
        assert_int_equal(disk_sync_names(d, NULL), 0);
    }
    disk_close(f);
}

static void assert_content(struct fake_disk *d, const char *name, const char *content)
{
    size_t length = 0;
    const uint8_t *bytes = fake_disk_bytes(d, name, &length);
    assert_non_null(bytes);
    assert_int_equal(length, strlen(content));
    assert_memory_equal(bytes, content, length);
}

static void test_crash_loses_what_was_not_synced(void **state)
{
    (void)state;
    size_t length = 0;
    struct fake_disk *d = fake_disk_new();
    write_file(d, "kept", "old", true);
    write_file(d, "kept", "new", false);
    write_file(d, "lost", "x", false);
    fake_disk_crash(d, FAKE_CRASH_KILL, 1);
    struct disk_file *f = NULL;
    assert_int_equal(disk_open(fake_disk_as_disk(d), "lost", DISK_OPEN_EXISTING, &f, NULL), 0);
    disk_close(f);
    fake_disk_crash(d, FAKE_CRASH_DROP, 1);
    assert_content(d, "kept", "old");
    assert_null(fake_disk_bytes(d, "lost", &length));
    fake_disk_free(d);
}

static void test_stop_and_faults(void **state)
{
    (void)state;
    struct fake_disk *d = fake_disk_new();
    struct disk_file *f = NULL;
    write_file(d, "a", "one", true);
    assert_int_equal(disk_open(fake_disk_as_disk(d), "a", DISK_OPEN_EXISTING, &f, NULL), 0);
    fake_disk_fail_at(d, 2, ERR_NO_SPACE, true);
    assert_int_equal(disk_write(f, text("two"), 0, NULL), 0);
    assert_int_equal(disk_write(f, text("AAAA"), 0, NULL), ERR_NO_SPACE);
    assert_int_equal(disk_sync(f, NULL), 0);
    fake_disk_stop_at(d, 1);
    assert_int_equal(disk_write(f, text("three"), 0, NULL), ERR_IO);
    assert_true(fake_disk_stopped(d));
    assert_int_equal(disk_sync(f, NULL), ERR_IO);
    disk_close(f);
    fake_disk_crash(d, FAKE_CRASH_DROP, 1);
    assert_content(d, "a", "AAo");
    fake_disk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_posix_contract),
        cmocka_unit_test(test_fake_contract),
        cmocka_unit_test(test_crash_loses_what_was_not_synced),
        cmocka_unit_test(test_stop_and_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
