/* The engine's local run with a face: progress, counters, and on failure the program's last words.
 */
#include "mapreduce/mr/run_local.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/limits.h"
#include "mapreduce/engine/exit_guard.h"
#include "mapreduce/engine/local.h"

/* On a terminal one line that is written over. */
static void show_progress(void *arg, const struct local_progress *p)
{
    (void)arg;
    (void)fprintf(stderr,
                  "\r map %" PRIu32 "%% (%" PRIu32 "/%" PRIu32 ")  reduce %" PRIu32 "%% (%" PRIu32
                  "/%" PRIu32 ") ",
                  p->map_permille / 10, p->maps_done, p->maps, p->reduce_permille / 10,
                  p->reduces_done, p->reduces);
}

struct counter_list {
    char group[MR_COUNTER_NAME_BYTES_MAX + 1]; /* under whose heading we are */
};

static void show_counter(void *arg, const char *group, const char *name, int64_t value)
{
    struct counter_list *list = arg;
    if (strcmp(list->group, group) != 0) {
        (void)fprintf(stderr, "\t%s\n", group);
        (void)snprintf(list->group, sizeof(list->group), "%s", group);
    }
    (void)fprintf(stderr, "\t\t%s=%" PRId64 "\n", name, value);
}

static void show_end(const struct local_result *result, const char *output, uint64_t ms)
{
    struct counter_list list = {""};
    (void)fprintf(stderr,
                  "Job job_local_0001 completed successfully: %" PRIu32 " maps, %" PRIu32
                  " reduces, %" PRIu64 ".%03" PRIu64 " s\nCounters:\n",
                  result->maps, result->reduces, ms / 1000, ms % 1000);
    counters_visit(&result->counters, show_counter, &list);
    (void)fprintf(stderr, "Output directory: %s\n", output);
}

static int run_job(const struct run_command *command, struct job *job, struct local_result *result,
                   struct err *e)
{
    const struct run_options *o = &command->options;
    bool show = !o->quiet && isatty(STDERR_FILENO);
    const char **files =
        xreallocarray(NULL, o->files.count + o->more_files.count + 1, sizeof(*files));
    for (size_t i = 0; i < o->files.count; i++) {
        files[i] = o->files.items[i];
    }
    for (size_t i = 0; i < o->more_files.count; i++) {
        files[o->files.count + i] = o->more_files.items[i];
    }
    struct local_options options = {.job = job,
                                    .inputs = o->inputs.items,
                                    .input_count = o->inputs.count,
                                    .output = o->output,
                                    .files = files,
                                    .file_count = o->files.count + o->more_files.count,
                                    .split_bytes = o->split_bytes,
                                    .parallel = (uint32_t)o->parallel,
                                    .progress = show ? show_progress : NULL};
    job->id = "job_local_0001";
    time_ms start = clock_mono_ms();
    int r = local_run(&options, result, e);
    free(files);
    if (show) {
        (void)fputc('\n', stderr);
    }
    if (r == 0 && !o->quiet) {
        show_end(result, o->output, clock_mono_ms() - start);
    }
    return r;
}

int run_local(const struct run_command *command)
{
    struct err e = ERR_INIT;
    struct job job = {0};
    struct job_library library = {NULL, NULL};
    struct local_result result;
    local_result_init(&result);
    exit_guard_begin("mr run");
    int r = run_command_paths(command, &e);
    r = r < 0 ? r : run_command_library(command, &library, &e);
    r = r < 0 ? r : run_command_job(command, library.job, &job, &e);
    bool usage = r == ERR_INVALID;
    r = r < 0 ? r : run_job(command, &job, &result, &e);
    if (r < 0) {
        if (result.stderr_tail.length > 0) {
            (void)fprintf(stderr, "The failed task's last words:\n%s", result.stderr_tail.data);
        }
        (void)fprintf(stderr, "mr run: %s\n", err_message(&e));
    }
    local_result_deinit(&result);
    job_deinit(&job);
    job_library_close(&library);
    exit_guard_end();
    return r == 0 ? 0 : usage ? 2 : 1;
}
