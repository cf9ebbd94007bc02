/* Whole tasks in this process: what their caller hears of them while they run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/sys.h"
#include "mapreduce/engine/task.h"

enum { KEYS = 100 };

static void map(struct mr_ctx *ctx, struct mr_span offset, struct mr_span line)
{
    (void)offset;
    mr_emit(ctx, line, mr_bytes(NULL, 0));
}

static uint64_t alive_calls;
static uint64_t alive_before_reduce; /* each but the first has one before it */

static void reduce(struct mr_ctx *ctx, struct mr_span key, struct mr_values *values)
{
    static uint64_t heard;
    (void)values;
    alive_before_reduce += alive_calls > heard;
    heard = alive_calls;
    mr_emit(ctx, key, mr_bytes(NULL, 0));
}

static void count_alive(void *arg)
{
    (void)arg;
    alive_calls++;
}

static const struct mr_job functions = {MR_JOB_HEADER, .name = "t", .map = map, .reduce = reduce};

/* However few keys there are, and however long each takes. */
static void a_reduce_shows_life_after_each_key(void **state)
{
    (void)state;
    struct buf directory = BUF_INIT;
    struct buf lines = BUF_INIT;
    struct buf output = BUF_INIT;
    struct job job = {.id = "job_1", .native = &functions, .reduces = 1};
    struct task_result result;
    for (int i = 0; i < KEYS; i++) {
        buf_printf(&lines, "key %d\n", i);
    }
    job.input_format = job.output_format = JOB_FORMAT_DEFAULT;
    assert_int_equal(job_resolve(&job, NULL), 0);
    assert_int_equal(sys_make_temp_dir("test_engine_task", &directory, NULL), 0);
    struct task_identity identity = {.attempt_id = "t", .temp_directory = directory.data};
    struct task_events events = {.alive = count_alive};
    char *path = xprintf("%s/map", directory.data);
    struct source *source = source_of_memory(lines.data, lines.length, "lines");
    struct task_split split = {source, 0, lines.length};
    struct map_task maps = {.job = &job,
                            .identity = &identity,
                            .splits = &split,
                            .split_count = 1,
                            .output_path = path};
    task_result_init(&result);
    assert_int_equal(map_task_run(&maps, &result, NULL), 0);
    source_free(source);

    assert_int_equal(source_open_file(path, &source, NULL), 0);
    struct run_segment *from = &result.index.segments[0];
    struct task_segment segment = {source, from->offset, from->length, from->records};
    struct reduce_task reduces = {.job = &job,
                                  .identity = &identity,
                                  .events = &events,
                                  .segments = &segment,
                                  .segment_count = 1,
                                  .output = sink_of_buf(&output)};
    assert_int_equal(reduce_task_run(&reduces, &result, NULL), 0);
    assert_int_equal(result.counters.fixed[COUNTER_REDUCE_INPUT_GROUPS], KEYS);
    assert_true(alive_before_reduce >= KEYS - 1);

    sink_free(reduces.output);
    source_free(source);
    task_result_deinit(&result);
    job_deinit(&job);
    assert_int_equal(sys_remove_tree(directory.data, NULL), 0);
    free(path);
    buf_deinit(&directory);
    buf_deinit(&lines);
    buf_deinit(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reduce_shows_life_after_each_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
