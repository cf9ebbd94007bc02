#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"

static uint64_t fixed(void *context)
{
    return *(uint64_t *)context;
}

static uint64_t wall_ms = 1000000000123;
static const struct clock test_clock = {fixed, fixed, &wall_ms};

static void collect(void *context, const char *line, size_t length)
{
    buf_append(context, line, length);
}

static int setup(void **state)
{
    static struct buf lines;
    buf_init(&lines);
    clock_install(&test_clock);
    log_init(LOG_LEVEL_INFO, collect, &lines);
    *state = &lines;
    return 0;
}

static int teardown(void **state)
{
    log_init(LOG_LEVEL_WARNING, NULL, NULL);
    clock_install(NULL);
    buf_deinit(*state);
    return 0;
}

static void one_line_per_event(void **state)
{
    struct buf *lines = *state;
    log_info("fsmaster", "server joined server=%d host=%s", 3, "a");
    log_error("raft", "flush failed");
    assert_string_equal(lines->data,
                        "2001-09-09T01:46:40.123Z info fsmaster: server joined server=3 host=a\n"
                        "2001-09-09T01:46:40.123Z error raft: flush failed\n");
}

static int must_not_run(void)
{
    fail();
    return 0;
}

static void levels_filter_before_arguments(void **state)
{
    struct buf *lines = *state;
    log_debug("x", "costly value=%d", must_not_run());
    assert_int_equal(lines->length, 0);
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("x", "seen");
    assert_true(lines->length > 0);
    log_set_level(LOG_LEVEL_ERROR);
    assert_false(log_enabled(LOG_LEVEL_WARNING));
    assert_true(log_enabled(LOG_LEVEL_ERROR));
}

static void control_characters_stay_inside_their_line(void **state)
{
    struct buf *lines = *state;
    log_info("x", "name=%s", "a\nb\tc\x1b[31m\x7f");
    assert_non_null(strstr(lines->data, "name=a\\nb\\tc\\x1b[31m\\x7f\n"));
    assert_ptr_equal(strchr(lines->data, '\n'), lines->data + lines->length - 1);
}

static void long_lines_are_cut_visibly(void **state)
{
    struct buf *lines = *state;
    char text[2 * LOG_LINE_BYTES_MAX];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    log_info("x", "%s", text);
    assert_true(lines->length <= LOG_LINE_BYTES_MAX);
    assert_string_equal(lines->data + lines->length - 5, "x...\n");
}

static void level_names(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        enum log_level parsed = LOG_LEVEL_ERROR;
        assert_int_equal(log_level_from_name(log_level_name(level), &parsed, &e), 0);
        assert_int_equal(parsed, level);
    }
    enum log_level untouched = LOG_LEVEL_DEBUG;
    assert_int_equal(log_level_from_name("loud", &untouched, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "error, warning, info or debug"));
}

static void *log_much(void *argument)
{
    (void)argument;
    for (int i = 0; i < 200; i++) {
        log_info("thread", "0123456789");
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    struct buf *lines = *state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_much, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    static const char expected[] = "2001-09-09T01:46:40.123Z info thread: 0123456789\n";
    assert_int_equal(lines->length, 800 * strlen(expected));
    for (size_t i = 0; i < 800; i++) {
        assert_memory_equal(lines->data + i * strlen(expected), expected, strlen(expected));
    }
}

/* What a line looks like on a stderr that is this file, with that in JOURNAL_STREAM. */
static void read_stderr(FILE *file, const char *journal, char text[256])
{
    int kept = dup(STDERR_FILENO);
    assert_int_equal(dup2(fileno(file), STDERR_FILENO), STDERR_FILENO);
    setenv("JOURNAL_STREAM", journal, 1);
    log_init(LOG_LEVEL_DEBUG, NULL, NULL);
    log_error("x", "a");
    log_warning("x", "b");
    log_info("x", "c");
    log_debug("x", "d");
    unsetenv("JOURNAL_STREAM");
    (void)dup2(kept, STDERR_FILENO); /* before anything can fail */
    close(kept);
    ssize_t length = pread(fileno(file), text, 255, 0);
    assert_true(length > 0);
    text[length] = 0;
    assert_int_equal(ftruncate(fileno(file), 0), 0);
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
}

static void the_journal_gets_the_level_of_each_line(void **state)
{
    FILE *file = tmpfile();
    struct stat stat;
    char journal[64];
    char text[256];
    (void)state;
    assert_non_null(file);
    assert_int_equal(fstat(fileno(file), &stat), 0);
    (void)snprintf(journal, sizeof(journal), "%ju:%ju", (uintmax_t)stat.st_dev,
                   (uintmax_t)stat.st_ino);
    read_stderr(file, journal, text);
    assert_string_equal(text, "<3>2001-09-09T01:46:40.123Z error x: a\n"
                              "<4>2001-09-09T01:46:40.123Z warning x: b\n"
                              "<6>2001-09-09T01:46:40.123Z info x: c\n"
                              "<7>2001-09-09T01:46:40.123Z debug x: d\n");
    read_stderr(file, "0:1", text); /* redirected: JOURNAL_STREAM is inherited, stderr is not */
    assert_string_equal(text, "2001-09-09T01:46:40.123Z error x: a\n"
                              "2001-09-09T01:46:40.123Z warning x: b\n"
                              "2001-09-09T01:46:40.123Z info x: c\n"
                              "2001-09-09T01:46:40.123Z debug x: d\n");
    (void)fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_line_per_event, setup, teardown),
        cmocka_unit_test_setup_teardown(levels_filter_before_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(control_characters_stay_inside_their_line, setup, teardown),
        cmocka_unit_test_setup_teardown(long_lines_are_cut_visibly, setup, teardown),
        cmocka_unit_test(level_names),
        cmocka_unit_test_setup_teardown(the_journal_gets_the_level_of_each_line, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
