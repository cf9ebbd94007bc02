/* From a submitted job to one that the engine runs: how much memory a task sorts in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/macros.h"
#include "mapreduce/task_job.h"

enum { MB = 1 << 20 };

static uint64_t sort_bytes_of(const struct job_spec *spec, uint64_t otherwise)
{
    struct task_job_options options = {.spec = spec, .reduces = 1, .sort_bytes = otherwise};
    struct job job = {0};
    assert_int_equal(task_job_init(&job, &options, NULL), 0);
    assert_int_equal(job.sort_bytes, task_job_sort_bytes(spec, otherwise)); /* a reduce's, too */
    uint64_t bytes = job.sort_bytes;
    job_deinit(&job);
    return bytes;
}

static void sort_memory_is_what_the_job_says(void **state)
{
    (void)state;
    struct job_setting settings[] = {{"a", "b"}, {"mapreduce.task.io.sort.mb", "7"}};
    struct job_spec spec = {
        .mapper = "cat", .combiner = "", .reducer = "", .settings = settings, .setting_count = 1};
    assert_int_equal(sort_bytes_of(&spec, 0), JOB_SORT_BYTES_DEFAULT);
    assert_int_equal(sort_bytes_of(&spec, 128 * MB), 128 * MB);
    spec.setting_count = ARRAY_COUNT(settings);
    assert_int_equal(sort_bytes_of(&spec, 128 * MB), 7 * MB);
    assert_int_equal(sort_bytes_of(&spec, 0), 7 * MB);
    settings[1].value = "9999999";
    assert_int_equal(sort_bytes_of(&spec, 0), 4095 * (uint64_t)MB);
    spec.sort_memory_bytes = 3 * MB;
    assert_int_equal(sort_bytes_of(&spec, 128 * MB), 3 * MB);
}

static void and_at_most_a_quarter_of_the_tasks(void **state)
{
    (void)state;
    struct job_spec spec = {
        .mapper = "cat", .combiner = "", .reducer = "", .task_memory_bytes = 64 * MB};
    assert_int_equal(sort_bytes_of(&spec, 128 * MB), 16 * MB);
    assert_int_equal(sort_bytes_of(&spec, 0), 16 * MB);
    assert_int_equal(sort_bytes_of(&spec, 8 * MB), 8 * MB);
    spec.sort_memory_bytes = 100 * MB;
    assert_int_equal(sort_bytes_of(&spec, 8 * MB), 16 * MB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sort_memory_is_what_the_job_says),
        cmocka_unit_test(and_at_most_a_quarter_of_the_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
