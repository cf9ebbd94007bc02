/* Frames between worker and task: whole, in pieces, wrong; what a task reports; users' texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/task_pipe.h"
#include "mapreduce/task_report.h"

static time_ms fake_now;

static uint64_t fake_mono_us(void *context)
{
    (void)context;
    return fake_now * 1000;
}

static uint64_t fake_wall_ms(void *context)
{
    (void)context;
    return fake_now;
}

static void test_pieces(void **state)
{
    (void)state;
    int fds[2];
    struct buf wire = BUF_INIT;
    struct buf in = BUF_INIT;
    size_t at = 0;
    enum task_frame_kind kind;
    struct span payload;
    int code = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(task_frame_write(fds[0], TASK_ASSIGN, (struct span){"hello", 5}, NULL), 0);
    assert_int_equal(task_frame_write(fds[0], TASK_BEAT, (struct span){"", 0}, NULL), 0);
    buf_reserve(&wire, 64);
    wire.length = (size_t)read(fds[1], wire.data, 64);
    assert_int_equal(wire.length, 4 + 6 + 4 + 1);
    for (size_t i = 0; i < wire.length; i++) {
        buf_append(&in, wire.data + i, 1);
        bool whole = task_frame_take(&in, &at, &kind, &payload, &code);
        assert_int_equal(code, 0);
        assert_int_equal(whole, i == 9 || i == 14);
        if (i == 9) {
            assert_int_equal(kind, TASK_ASSIGN);
            assert_memory_equal(payload.data, "hello", 5);
        }
    }
    assert_int_equal(kind, TASK_BEAT);
    assert_int_equal(payload.length, 0);
    assert_int_equal(at, in.length);
    close(fds[1]);
    assert_int_equal(task_frame_write(fds[0], TASK_BEAT, (struct span){"", 0}, NULL),
                     err_from_errno(32 /* EPIPE */));
    close(fds[0]);
    buf_deinit(&wire);
    buf_deinit(&in);
}

static void test_wrong_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } wrong[] = {{"\0\0\0\0", 4}, {"\xff\xff\xff\xff", 4}, {"\1\0\0\0\0", 5}, {"\1\0\0\0\x09", 5}};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        struct buf in = BUF_INIT;
        size_t at = 0;
        enum task_frame_kind kind;
        struct span payload;
        int code = 0;
        buf_append(&in, wrong[i].bytes, wrong[i].length);
        assert_false(task_frame_take(&in, &at, &kind, &payload, &code));
        assert_int_equal(code, ERR_CORRUPT);
        buf_deinit(&in);
    }
}

/* The next beat that the other end has been sent, in the arena; NULL when there is none. */
static struct worker_beat *receive(int fd, struct arena *arena)
{
    char bytes[4096];
    struct buf in = BUF_INIT;
    size_t at = 0;
    enum task_frame_kind kind;
    struct span payload;
    int code = 0;
    struct worker_message message = {.beat = NULL};
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n > 0) {
        buf_append(&in, bytes, (size_t)n);
        assert_true(task_frame_take(&in, &at, &kind, &payload, &code));
        assert_int_equal(at, in.length); /* one at a time */
        assert_int_equal(kind, TASK_BEAT);
        assert_int_equal(worker_message_unpack(payload, arena, &message, NULL), 0);
    }
    buf_deinit(&in);
    return message.beat;
}

static void test_report(void **state)
{
    (void)state;
    const struct clock clock = {fake_mono_us, fake_wall_ms, NULL};
    struct arena arena = ARENA_INIT;
    struct task_report report;
    int fds[2];
    clock_install(&clock);
    fake_now = 1000;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    task_report_init(&report, fds[0], "attempt_1_1_m_000000_0");
    assert_int_equal(task_report_progress(&report, 10, NULL), 0);
    assert_int_equal(receive(fds[1], &arena)->running[0].permille, 10);
    task_report_set_status(&report, "half");
    assert_int_equal(task_report_progress(&report, 20, NULL), 0);
    assert_null(receive(fds[1], &arena)); /* too soon */
    fake_now += TASK_BEAT_MS;
    assert_int_equal(task_report_progress(&report, 0, NULL), 0);
    struct worker_beat *beat = receive(fds[1], &arena);
    assert_int_equal(beat->running[0].permille, 20); /* never falls */
    assert_string_equal(beat->running[0].status, "half");
    struct attempt_end end = {.attempt = "a", .code = ERR_TASK, .text = "t", .stderr_tail = "s"};
    assert_int_equal(task_report_end(&report, &end, NULL), 0); /* at once */
    beat = receive(fds[1], &arena);
    assert_int_equal(beat->ended_count, 1);
    assert_int_equal(beat->ended[0].code, ERR_TASK);
    task_report_deinit(&report);
    clock_install(NULL);
    close(fds[0]);
    close(fds[1]);
    arena_deinit(&arena);
}

static void test_texts(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct buf lines = BUF_INIT;
    assert_string_equal(task_text("a\tb\nc\x1b[0m\0d", 11, &arena), "a\tb\nc?[0m?d");
    assert_string_equal(task_text("gr\xc3\xbc\xc3\x9f", 6, &arena), "gr\xc3\xbc\xc3\x9f");
    assert_string_equal(task_text("gr\xfc\xdf", 4, &arena), "gr??");
    assert_string_equal(task_text_tail("x\n", 2, &arena), "x\n");
    for (int i = 0; i < 1000; i++) {
        buf_printf(&lines, "line %d\n", i);
    }
    const char *tail = task_text_tail(lines.data, lines.length, &arena);
    assert_true(strlen(tail) <= MR_STDERR_TAIL_BYTES);
    assert_true(strlen(tail) > MR_STDERR_TAIL_BYTES - 10);
    assert_memory_equal(tail, "line ", 5);
    assert_string_equal(tail + strlen(tail) - 9, "line 999\n");
    buf_clear(&lines);
    buf_append_fill(&lines, 'x', 2 * MR_STDERR_TAIL_BYTES); /* one line, longer than all */
    assert_int_equal(strlen(task_text_tail(lines.data, lines.length, &arena)),
                     MR_STDERR_TAIL_BYTES);
    buf_deinit(&lines);
    arena_deinit(&arena);
}

static void test_counters(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct counters counters;
    counters_init(&counters);
    counters_add(&counters, COUNTER_MAP_INPUT_RECORDS, 3);
    counters_add_named(&counters, (struct span){"My\xff", 3}, (struct span){"n", 1}, -1);
    struct job_counters list = task_report_counters(&counters, &arena);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].name, "Map input records");
    assert_true(list.items[0].value == 3);
    assert_string_equal(list.items[1].group, "My?");
    assert_true(list.items[1].value == -1);
    counters_deinit(&counters);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),   cmocka_unit_test(test_wrong_bytes),
        cmocka_unit_test(test_report),   cmocka_unit_test(test_texts),
        cmocka_unit_test(test_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
