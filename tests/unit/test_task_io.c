/* Files of the store as a task reads them, over a store that is one file which others truncate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "mapreduce/task_io.h"

/* ---- The store; what task_io.c needs of it, instead of libdfs ---- */

static struct dfs_stat file = {.inode = 7};
static struct dfs_file *const handle = (struct dfs_file *)&file;

int dfs_open(struct dfs *dfs, const char *path, struct dfs_file **ret, struct dfs_err *e)
{
    (void)dfs;
    (void)path;
    (void)e;
    *ret = handle;
    return 0;
}

int dfs_stat(struct dfs *dfs, const char *path, struct dfs_stat *ret, struct dfs_err *e)
{
    (void)dfs;
    (void)path;
    (void)e;
    *ret = file;
    return 0;
}

int64_t dfs_pread(struct dfs_file *f, void *data, size_t length, uint64_t offset, struct dfs_err *e)
{
    (void)f;
    (void)e;
    size_t n = offset < file.length ? MIN(length, (size_t)(file.length - offset)) : 0;
    memset(data, 'x', n);
    return (int64_t)n;
}

int dfs_close(struct dfs_file *f, struct dfs_err *e)
{
    (void)f;
    (void)e;
    return 0;
}

void dfs_read_stats(const struct dfs_file *f, struct dfs_read_stats *ret)
{
    (void)f;
    (void)ret;
}

int dfs_create(struct dfs *dfs, const char *path, const struct dfs_create_options *options,
               struct dfs_file **ret, struct dfs_err *e)
{
    (void)dfs;
    (void)path;
    (void)options;
    (void)ret;
    (void)e;
    return DFS_EIO;
}

int dfs_write(struct dfs_file *f, const void *data, size_t length, struct dfs_err *e)
{
    (void)f;
    (void)data;
    (void)length;
    (void)e;
    return DFS_EIO;
}

int dfs_close_link(struct dfs_file *f, const char *path, int flags,
                   const struct dfs_conditions *conditions, uint64_t *ret_inode, struct dfs_err *e)
{
    (void)f;
    (void)path;
    (void)flags;
    (void)conditions;
    (void)ret_inode;
    (void)e;
    return DFS_EIO;
}

void dfs_abandon(struct dfs_file *f)
{
    (void)f;
}

/* ---- */

static const struct input_split split = {
    .path = "/in/file", .inode = 7, .offset = 0, .length = 100, .file_length = 100};

static void a_file_is_as_long_as_it_was_planned(void **state)
{
    (void)state;
    char data[200];
    struct source *source = NULL;
    file.length = 150; /* somebody has appended */
    assert_int_equal(task_source_open(NULL, &split, &source, NULL), 0);
    assert_int_equal(source->read(source, 0, data, sizeof(data), NULL), 100);
    assert_int_equal(source->read(source, 100, data, sizeof(data), NULL), 0);
    assert_int_equal(source->read(source, 50, data, 0, NULL), 0);
    source_free(source);
}

static void a_file_that_is_truncated_meanwhile_fails_the_task(void **state)
{
    (void)state;
    char data[200];
    struct err e = ERR_INIT;
    struct source *source = NULL;
    file.length = 100;
    assert_int_equal(task_source_open(NULL, &split, &source, &e), 0);
    assert_int_equal(source->read(source, 0, data, 40, &e), 40);
    file.length = 70;
    assert_int_equal(source->read(source, 40, data, sizeof(data), &e), 30);
    assert_int_equal(source->read(source, 70, data, sizeof(data), &e), ERR_STALE);
    assert_string_equal(e.msg, "input /in/file is shorter than when the job began");
    source_free(source);
    assert_int_equal(task_source_open(NULL, &split, &source, &e), ERR_STALE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_as_long_as_it_was_planned),
        cmocka_unit_test(a_file_that_is_truncated_meanwhile_fails_the_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
