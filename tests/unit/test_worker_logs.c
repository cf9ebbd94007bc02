/* Logs on a worker's disk: cut while they are written to, and removed when they are old or too
 * many.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/sys.h"
#include "mapreduce/worker_logs.h"

enum { LOG_MAX = 64 * 1024 };

struct fixture {
    struct buf directory;
    struct buf live;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    buf_init(&f->directory);
    buf_init(&f->live);
    assert_int_equal(sys_make_temp_dir("worker-logs", &f->directory, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int r = sys_remove_tree(f->directory.data, NULL);
    buf_deinit(&f->directory);
    buf_deinit(&f->live);
    free(f);
    return r;
}

static void path_of(const struct fixture *f, const char *name, struct buf *out)
{
    buf_clear(out);
    buf_printf(out, "%s/%s", f->directory.data, name);
}

static void write_lines(int fd, int from, int to)
{
    for (int i = from; i < to; i++) {
        struct buf line = BUF_INIT;
        buf_printf(&line, "line %06d\n", i);
        assert_int_equal(sys_write_full(fd, line.data, line.length, NULL), 0);
        buf_deinit(&line);
    }
}

/* First and last lines stay, whole, and so does what is written after the cut; again and again. */
static void a_long_log_is_cut(void **state)
{
    const struct fixture *f = *state;
    struct buf path = BUF_INIT;
    struct buf text = BUF_INIT;
    path_of(f, "log", &path);
    assert_int_equal(log_trim(path.data, LOG_MAX, NULL), 0); /* there is none */
    int fd = sys_open(path.data, O_WRONLY | O_CREAT | O_APPEND, 0644, NULL);
    assert_true(fd >= 0);
    write_lines(fd, 0, 1000);
    assert_int_equal(log_trim(path.data, LOG_MAX, NULL), 0); /* short enough */
    for (int round = 1; round < 4; round++) {
        write_lines(fd, round * 10000, round * 10000 + 10000);
        assert_int_equal(log_trim(path.data, LOG_MAX, NULL), 1);
        assert_int_equal(log_trim(path.data, LOG_MAX, NULL), 0);
        write_lines(fd, 999999, 1000000);
        buf_clear(&text);
        assert_int_equal(sys_read_file(path.data, LOG_MAX, &text, NULL), 0);
        assert_memory_equal(text.data, "line 000000\nline 000001\n", 24);
        const char *mark = strstr(text.data, "\n[mrworker: the middle of this log is left out");
        assert_non_null(mark);
        assert_null(strstr(mark + 2, "[mrworker: "));
        const char *rest = strchr(mark + 1, '\n');
        assert_memory_equal(rest, "\nline ", 6);
        const char *end = text.data + text.length - 24;
        struct buf wanted = BUF_INIT;
        buf_printf(&wanted, "line %06d\nline 999999\n", round * 10000 + 9999);
        assert_string_equal(end, wanted.data);
        buf_deinit(&wanted);
    }
    sys_close(&fd);
    buf_deinit(&path);
    buf_deinit(&text);
}

/* A job's log of so many bytes, last written to at that second. */
static void make_log(const struct fixture *f, const char *job, size_t bytes, time_t second)
{
    struct buf path = BUF_INIT;
    const struct timespec times[2] = {{.tv_sec = second}, {.tv_sec = second}};
    char *data = xcalloc(1, bytes + 1);
    path_of(f, job, &path);
    assert_int_equal(sys_mkdir_p(path.data, NULL), 0);
    buf_append_str(&path, "/attempt");
    assert_int_equal(sys_write_file_atomic(path.data, data, bytes, NULL), 0);
    assert_int_equal(utimensat(AT_FDCWD, path.data, times, 0), 0);
    path_of(f, job, &path);
    assert_int_equal(utimensat(AT_FDCWD, path.data, times, 0), 0);
    free(data);
    buf_deinit(&path);
}

static bool is_there(const struct fixture *f, const char *job)
{
    struct buf path = BUF_INIT;
    path_of(f, job, &path);
    bool there = access(path.data, F_OK) == 0;
    buf_deinit(&path);
    return there;
}

static uint32_t sweep(const struct fixture *f, uint64_t bytes_max)
{
    struct err e = ERR_INIT;
    const struct logs_sweep s = {.directory = f->directory.data,
                                 .now_ms = 10000 * 1000,
                                 .keep_ms = 5000 * 1000,
                                 .bytes_max = bytes_max,
                                 .live = &f->live};
    uint32_t removed = logs_sweep(&s, &e);
    assert_int_equal(e.code, 0);
    return removed;
}

static void old_logs_go(void **state)
{
    struct fixture *f = *state;
    make_log(f, "0001", 100, 1000);
    make_log(f, "0002", 100, 2000);
    make_log(f, "0003", 100, 5001);
    make_log(f, "0004", 100, 9000);
    buf_append(&f->live, "0002", 5); /* runs, and has been silent */
    assert_int_equal(sweep(f, 1 << 20), 1);
    assert_false(is_there(f, "0001"));
    assert_true(is_there(f, "0002") && is_there(f, "0003") && is_there(f, "0004"));
    assert_int_equal(sweep(f, 1 << 20), 0);
}

static void too_many_logs_go_oldest_first(void **state)
{
    struct fixture *f = *state;
    make_log(f, "0001", 300, 7000);
    make_log(f, "0002", 300, 6000);
    make_log(f, "0003", 300, 8000);
    make_log(f, "0004", 300, 9000);
    buf_append(&f->live, "0001", 5);
    assert_int_equal(sweep(f, 1200), 0);
    assert_int_equal(sweep(f, 700), 2);
    assert_true(is_there(f, "0001") && is_there(f, "0004"));
    assert_int_equal(sweep(f, 0), 1);
    assert_true(is_there(f, "0001"));
}

static void no_logs_at_all(void **state)
{
    const struct fixture *f = *state;
    struct buf live = BUF_INIT;
    struct buf path = BUF_INIT;
    path_of(f, "none", &path);
    const struct logs_sweep s = {.directory = path.data, .now_ms = 1, .live = &live};
    assert_int_equal(logs_sweep(&s, NULL), 0);
    buf_deinit(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_long_log_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(old_logs_go, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_logs_go_oldest_first, setup, teardown),
        cmocka_unit_test_setup_teardown(no_logs_at_all, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
