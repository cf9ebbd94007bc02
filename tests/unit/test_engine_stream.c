/* Programs as mappers, with all the ways in which they behave badly. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "mapreduce/engine/stream.h"

struct run {
    struct job job;
    struct task_identity identity;
    struct counters counters;
    struct buf tail;
    struct buf status; /* all of them */
    struct buf out;    /* the lines, each with ';' behind it, if there are few */
    uint64_t lines;
    uint64_t bytes;
    struct err e;
    bool deaf;
};

static uint64_t program_bytes; /* limit of the programs that run_command() starts */

static void take_line(void *arg, struct mr_span line)
{
    struct run *run = arg;
    run->lines++;
    run->bytes += line.length;
    if (run->lines <= 10) {
        buf_append(&run->out, line.data, line.length);
        buf_append_byte(&run->out, ';');
    }
}

static void take_status(void *arg, const char *text)
{
    struct run *run = arg;
    buf_printf(&run->status, "%s;", text);
}

/* Gives the input, `times` times, to the command. Returns the first error. */
static int run_command(struct run *run, const char *command, const char *input, size_t length,
                       size_t times)
{
    *run = (struct run){.tail = BUF_INIT, .status = BUF_INIT, .out = BUF_INIT};
    counters_init(&run->counters);
    run->job.map_command = command;
    run->job.program_bytes = program_bytes;
    assert_int_equal(job_resolve(&run->job, NULL), 0);
    struct task_events events = {.arg = run, .status = take_status};
    struct stream_options options = {.job = &run->job,
                                     .identity = &run->identity,
                                     .events = &events,
                                     .is_map = true,
                                     .command = command,
                                     .counters = &run->counters,
                                     .stderr_tail = &run->tail,
                                     .line = take_line,
                                     .arg = run};
    struct stream *s = NULL;
    int r = stream_start(&options, &s, &run->e);
    for (size_t i = 0; i < times && r == 0; i++) {
        r = stream_write_block(s, mr_bytes(input, length), true, &run->e);
    }
    r = r < 0 ? r : stream_finish(s, &run->e);
    run->deaf = s && stream_is_deaf(s);
    stream_free(s);
    return r;
}

static void run_deinit(struct run *run)
{
    job_deinit(&run->job);
    counters_deinit(&run->counters);
    buf_deinit(&run->tail);
    buf_deinit(&run->status);
    buf_deinit(&run->out);
}

static void test_cat(void **state)
{
    (void)state;
    struct run run;
    assert_int_equal(run_command(&run, "cat", "a\tb\nc\n\nlast", 11, 1), 0);
    assert_string_equal(run.out.data, "a\tb;c;;last;");
    run_deinit(&run);
    assert_int_equal(run_command(&run, "cat", "", 0, 1), 0);
    assert_int_equal(run.lines, 0);
    run_deinit(&run);
}

/* More than all pipes hold, in both directions and on stderr at the same time. */
static void test_no_deadlock(void **state)
{
    (void)state;
    struct run run;
    enum { BLOCK = 1 << 20 };
    char *block = xmalloc(BLOCK);
    memset(block, 'x', BLOCK);
    for (size_t i = 99; i < BLOCK; i += 100) {
        block[i] = '\n';
    }
    assert_int_equal(run_command(&run, "tee /dev/stderr", block, BLOCK, 8), 0);
    assert_true(run.bytes > 8 * (BLOCK - BLOCK / 100) - 1000);
    assert_in_range(run.tail.length, MR_STDERR_TAIL_BYTES / 2, 2 * MR_STDERR_TAIL_BYTES + 200);
    run_deinit(&run);
    /* Prints much before it reads anything. */
    assert_int_equal(run_command(&run, "head -c 9000000 /dev/zero; cat", block, BLOCK, 4), 0);
    assert_true(run.bytes > 12 << 20);
    run_deinit(&run);
    free(block);
}

static void test_stops_reading(void **state)
{
    (void)state;
    struct run run;
    enum { BLOCK = 1 << 20 };
    char *block = xmalloc(BLOCK);
    memset(block, '\n', BLOCK);
    struct sigaction before;
    sigset_t mask;
    assert_int_equal(run_command(&run, "head -n 1", block, BLOCK, 8), 0); /* no error, as in sh */
    assert_true(run.deaf);
    assert_int_equal(run.lines, 1);
    run_deinit(&run);
    assert_int_equal(run_command(&run, "sh -c 'exit 3'", block, BLOCK, 8), ERR_TASK);
    assert_non_null(strstr(run.e.msg, "status 3"));
    run_deinit(&run);
    /* The process is as before: SIGPIPE neither pending nor blocked nor ignored. */
    assert_int_equal(sigaction(SIGPIPE, NULL, &before), 0);
    assert_true(before.sa_handler == SIG_DFL);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    assert_false(sigismember(&mask, SIGPIPE));
    free(block);
}

static void test_garbage(void **state)
{
    (void)state;
    struct run run;
    assert_int_equal(run_command(&run, "printf 'nul\\0in\\0it\\nno newline'", "x\n", 2, 1), 0);
    assert_int_equal(run.lines, 2);
    assert_memory_equal(run.out.data, "nul\0in\0it;no newline;", run.out.length);
    run_deinit(&run);
    assert_int_equal(run_command(&run, "head -c 20000000 /dev/zero", "", 0, 0), 0);
    assert_int_equal(run.lines, 1); /* a huge line is a record */
    assert_int_equal(run.bytes, 20000000);
    run_deinit(&run);
    assert_int_equal(run_command(&run, "head -c 300000000 /dev/zero", "", 0, 0), ERR_TOO_LARGE);
    run_deinit(&run);
    assert_int_equal(run_command(&run, "head -c 3000000 /dev/zero >&2", "", 0, 0), 0);
    run_deinit(&run);
}

static void test_failures(void **state)
{
    (void)state;
    struct run run;
    assert_int_equal(run_command(&run, "echo last words >&2; exit 7", "x\n", 2, 1), ERR_TASK);
    assert_non_null(strstr(run.e.msg, "status 7"));
    assert_string_equal(run.tail.data, "last words\n");
    run_deinit(&run);
    assert_int_equal(run_command(&run, "/no/such/program", "x\n", 2, 1), ERR_TASK);
    assert_non_null(strstr(run.e.msg, "cannot start"));
    run_deinit(&run);
    assert_int_equal(run_command(&run, "kill -9 $$", "x\n", 2, 1), ERR_TASK);
    assert_non_null(strstr(run.e.msg, "signal 9"));
    run_deinit(&run);
}

/* The limit holds before the program's first instruction, and changes nothing else of it. */
static void test_memory_limit(void **state)
{
    (void)state;
    struct run run;
    program_bytes = 512 * 1024 * 1024;
    assert_int_equal(run_command(&run, "printf '%s.' 'a  b' $x \"'\"", "", 0, 0), 0);
    assert_string_equal(run.out.data, "a  b.'.;");
    run_deinit(&run);
    assert_int_equal(run_command(&run, "sh -c 'ulimit -Sv; ulimit -Hv'", "", 0, 0), 0);
    assert_string_equal(run.out.data, "524288;524288;");
    run_deinit(&run);
    assert_int_equal(run_command(&run, "no-such-program", "", 0, 0), ERR_TASK);
    run_deinit(&run);
    program_bytes = 0;
}

static void test_reports(void **state)
{
    (void)state;
    struct run run;
    assert_int_equal(
        run_command(&run,
                    "echo reporter:counter:g,n,2 >&2; echo reporter:status:busy >&2; echo log >&2;"
                    "echo reporter:counter:g,n,3 >&2; cat >/dev/null",
                    "x\n", 2, 1),
        0);
    assert_int_equal(counters_get(&run.counters, "g", "n"), 5);
    assert_string_equal(run.status.data, "busy;");
    assert_string_equal(run.tail.data, "log\n");
    run_deinit(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cat),           cmocka_unit_test(test_no_deadlock),
        cmocka_unit_test(test_stops_reading), cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_failures),      cmocka_unit_test(test_reports),
        cmocka_unit_test(test_memory_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
