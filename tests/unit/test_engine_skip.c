/* Bad records within a task: the note, what is left out, and programs on a few records at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "mapreduce/engine/careful.h"

struct run {
    struct job job;
    struct task_identity identity;
    struct task_events events;
    struct counters counters;
    struct buf tail;
    struct buf log;
    struct buf out;
    struct err e;
};

static void take_line(void *arg, struct mr_span line)
{
    struct run *run = arg;
    buf_append(&run->out, line.data, line.length);
    buf_append_byte(&run->out, ';');
}

static void take_log_line(void *arg, const char *line, size_t length)
{
    struct run *run = arg;
    buf_append(&run->log, line, length);
    buf_append_byte(&run->log, '\n');
}

static void run_init(struct run *run, const char *command)
{
    *run = (struct run){.tail = BUF_INIT, .log = BUF_INIT, .out = BUF_INIT};
    run->events = (struct task_events){.arg = run, .stderr_line = take_log_line};
    run->job.map_command = command;
    counters_init(&run->counters);
    assert_int_equal(job_resolve(&run->job, NULL), 0);
}

static void run_deinit(struct run *run)
{
    job_deinit(&run->job);
    counters_deinit(&run->counters);
    buf_deinit(&run->tail);
    buf_deinit(&run->log);
    buf_deinit(&run->out);
}

/* Lines 0 .. count - 1, those that are told as "bad N". Returns how many were left out, or the
 * error. */
static int64_t run_lines(struct run *run, size_t count, const size_t *bad, size_t bad_count,
                         uint64_t most)
{
    struct stream_options options = {.job = &run->job,
                                     .identity = &run->identity,
                                     .events = &run->events,
                                     .is_map = true,
                                     .command = run->job.map_command,
                                     .counters = &run->counters,
                                     .stderr_tail = &run->tail,
                                     .line = take_line,
                                     .arg = run};
    struct task_skip skip = {.most = most, .careful = true};
    struct careful *c = careful_new(&options, &skip);
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        bool is_bad = false;
        for (size_t k = 0; k < bad_count; k++) {
            is_bad |= bad[k] == i;
        }
        char *line = xprintf("%s%zu\n", is_bad ? "bad " : "", i);
        struct careful_unit unit = {.name = mr_string("/in"), .offset = 10 * i};
        r = careful_begin(c, &unit, &run->e);
        r = r < 0 ? r : careful_add(c, mr_string(line), &run->e);
        free(line);
    }
    r = r < 0 ? r : careful_finish(c, &run->e);
    int64_t left_out = (int64_t)careful_skipped_units(c);
    careful_free(c);
    return r < 0 ? r : left_out;
}

/* Fails at the first bad line, after it has printed what came before. */
static const char program[] = "awk '/bad/ { exit 3 } { print; "
                              "print \"reporter:counter:g,n,1\" >\"/dev/stderr\" }'";

static void test_each_place(void **state)
{
    (void)state;
    enum { LINES = 9 };
    for (size_t a = 0; a < LINES; a++) {
        for (size_t b = a; b < LINES; b += 4) {
            struct run run;
            struct buf wanted = BUF_INIT;
            const size_t bad[] = {a, b};
            for (size_t i = 0; i < LINES; i++) {
                if (i != a && i != b) {
                    buf_printf(&wanted, "%zu;", i);
                }
            }
            run_init(&run, program);
            int64_t bad_count = 1 + (a != b);
            assert_int_equal(run_lines(&run, LINES, bad, 2, 2), bad_count);
            assert_string_equal(run.out.data, wanted.data);
            assert_int_equal(counters_get(&run.counters, "g", "n"), LINES - bad_count);
            run_deinit(&run);
            buf_deinit(&wanted);
        }
    }
}

static void test_many_batches(void **state)
{
    (void)state;
    enum { LINES = 3 * MR_CAREFUL_RECORDS + 5 };
    static const size_t bad[] = {0, MR_CAREFUL_RECORDS - 1, MR_CAREFUL_RECORDS, LINES - 1};
    struct run run;
    run_init(&run, "awk '/bad/ { exit 3 } { n++; sum += $1 } END { print n, sum }'");
    assert_int_equal(run_lines(&run, LINES, bad, ARRAY_COUNT(bad), 4), 4);
    uint64_t lines = 0;
    uint64_t sum = 0;
    for (const char *at = run.out.data; *at; at = strchr(at, ';') + 1) {
        char *rest = NULL;
        lines += strtoull(at, &rest, 10);
        sum += strtoull(rest, NULL, 10);
    }
    assert_int_equal(lines, LINES - 4);
    assert_int_equal(sum, (uint64_t)LINES * (LINES - 1) / 2 - bad[1] - bad[2] - bad[3]);
    assert_non_null(strstr(run.log.data, "skipped: the record at offset 40960 of /in (record 4097 "
                                         "of the task), 9 bytes: "));
    run_deinit(&run);
}

static void test_too_many(void **state)
{
    (void)state;
    static const size_t bad[] = {1, 3};
    struct run run;
    run_init(&run, program);
    assert_int_equal(run_lines(&run, 5, bad, 2, 1), ERR_TASK);
    assert_non_null(strstr(run.e.msg,
                           "exited with status 3, at the record at offset 30 of /in "
                           "(record 4 of the task); the task has left out as many as it may "
                           "(mr run --skip-bad-records 1)"));
    run_deinit(&run);
    run_init(&run, "no-such-program");
    assert_int_equal(run_lines(&run, 5, bad, 2, 5), ERR_TASK);
    assert_non_null(strstr(run.e.msg, "cannot start"));
    assert_int_equal(run.log.length, 0);
    run_deinit(&run);
}

/* What several records print is held; if it is too much, as if one of them were bad. */
static void test_prints_much(void **state)
{
    (void)state;
    struct run run;
    run_init(&run, "awk '{ for (i = 0; i < 40 * 1024; i++) printf \"%1000s\\n\", $1 }'");
    assert_int_equal(run_lines(&run, 3, NULL, 0, 1), 0);
    assert_int_equal(run.out.length, 3 * 1001 * 40 * 1024);
    run_deinit(&run);
}

static void test_no_input(void **state)
{
    (void)state;
    struct run run;
    run_init(&run, "wc -l");
    assert_int_equal(run_lines(&run, 0, NULL, 0, 1), 0);
    assert_string_equal(run.out.data, "0;");
    run_deinit(&run);
    run_init(&run, "false");
    assert_int_equal(run_lines(&run, 0, NULL, 0, 1), ERR_TASK);
    run_deinit(&run);
}

static void test_note(void **state)
{
    (void)state;
    static const uint64_t ordinals[] = {1, 2, 4};
    struct skip_note note = {0};
    struct task_skip task = {.most = 9, .ordinals = ordinals, .count = 3, .note = &note};
    struct skip skip;
    struct buf text = BUF_INIT;
    skip_init(&skip, &task, NULL, false);
    skip_file(&skip, "/in/a");
    for (uint64_t i = 0; i < 6; i++) {
        assert_int_equal(skip_record(&skip, 100 * i), i == 1 || i == 2 || i == 4);
    }
    assert_int_equal(note.record, 6);
    skip_note_text(&note, false, &text);
    assert_string_equal(text.data, "the record at offset 500 of /in/a (record 6 of the task)");
    assert_int_equal(skip_pause(&skip), 6);
    assert_int_equal(note.record, 0);
    skip_resume(&skip, 6);
    assert_int_equal(note.record, 6);
    skip_init(&skip, &task, NULL, true);
    assert_false(skip_group(&skip, mr_string("a\tb\xff")));
    buf_clear(&text);
    skip_note_text(&note, true, &text);
    assert_string_equal(text.data, "the key 'a?b?' (key group 1 of the task)");
    assert_true(skip_group(&skip, mr_string("b")));
    note.name_length = UINT32_MAX; /* another process may have written anything */
    memset(note.name, 'x', sizeof(note.name));
    buf_clear(&text);
    skip_note_text(&note, true, &text);
    assert_true(text.length < 300);
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_place), cmocka_unit_test(test_many_batches),
        cmocka_unit_test(test_too_many),   cmocka_unit_test(test_prints_much),
        cmocka_unit_test(test_no_input),   cmocka_unit_test(test_note),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
