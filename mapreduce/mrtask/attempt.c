/* A map: splits from the store -> engine -> map output file, or a committed part. A reduce: the
 * shuffle -> engine -> a committed part. See attempt.h. */
#include "mapreduce/mrtask/attempt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"
#include "mapreduce/engine/skip_note.h"
#include "mapreduce/task_commit.h"
#include "mapreduce/task_io.h"
#include "mapreduce/task_job.h"
#include "mapreduce/task_pipe.h"

enum { FETCHED_PERMILLE = 333, MERGED_PERMILLE = 667 };

/* ---- How it goes ---- */

static int on_progress(void *arg, uint64_t done, uint64_t total)
{
    struct attempt *a = arg;
    uint32_t base = a->assignment->reduce ? MERGED_PERMILLE : 0;
    uint64_t permille = total > 0 ? MIN(done, total) * (1000 - base) / total : 0;
    return task_report_progress(&a->report, base + (uint32_t)permille, NULL);
}

static void on_status(void *arg, const char *text)
{
    struct attempt *a = arg;
    struct arena arena = ARENA_INIT;
    task_report_set_status(&a->report, task_text(text, strlen(text), &arena));
    arena_deinit(&arena);
    int r = task_report_progress(&a->report, 0, NULL);
    (void)r; /* a worker that is gone ends us anyhow */
}

static void on_alive(void *arg)
{
    struct attempt *a = arg;
    int r = task_report_progress(&a->report, 0, NULL);
    (void)r;
}

/* A program's line goes to the log. */
static void on_stderr_line(void *arg, const char *line, size_t length)
{
    struct attempt *a = arg;
    struct iovec parts[2] = {{(void *)line, length}, {(void *)"\n", 1}};
    ssize_t n = writev(STDERR_FILENO, parts, 2);
    (void)n; /* a full disk must not fail the task for its log */
    on_alive(a);
}

static int on_fetched(void *arg, uint32_t fetched, uint32_t maps, struct err *e)
{
    struct attempt *a = arg;
    uint64_t permille = (uint64_t)fetched * FETCHED_PERMILLE / MAX(maps, 1U);
    return task_report_progress(&a->report, (uint32_t)permille, e);
}

/* ---- Bad records ---- */

static const struct task_skip *skip_of(const struct attempt *a)
{
    return a->skip.most > 0 ? &a->skip : NULL;
}

/* User code, not the machine, has failed: at which record. */
static void name_bad_record(struct attempt *a)
{
    const struct skip_note *note = a->skip.note;
    bool users = a->end.code == ERR_TASK || a->end.code == ERR_TOO_LARGE;
    if (!note || !users || note->record == 0) {
        return;
    }
    struct buf place = BUF_INIT;
    skip_note_text(note, a->assignment->reduce, &place);
    a->end.bad_record = note->record;
    a->end.text = arena_printf(&a->arena, "%s, at %s", a->end.text, place.data);
    buf_deinit(&place);
}

/* A word about a success that is not whole, which stands in the list of the job's attempts. */
static void name_skipped(struct attempt *a)
{
    int64_t records = a->result.counters.fixed[COUNTER_MAP_SKIPPED_RECORDS];
    int64_t groups = a->result.counters.fixed[COUNTER_REDUCE_SKIPPED_GROUPS];
    if (records + groups > 0) {
        a->end.text = arena_printf(&a->arena, "bad %s skipped: %" PRId64 "; its log says which",
                                   records > 0 ? "records" : "key groups", records + groups);
    }
}

/* ---- Map ---- */

static int open_splits(struct attempt *a, struct task_split *splits, struct err *e)
{
    const struct assignment *from = a->assignment;
    for (size_t i = 0; i < from->split_count; i++) {
        const struct input_split *split = &from->splits[i];
        bool same = i > 0 && strcmp(split->path, split[-1].path) == 0;
        int r = same ? 0 : task_source_open(a->dfs, split, &splits[i].source, e);
        if (r < 0) {
            return r;
        }
        splits[i].source = same ? splits[i - 1].source : splits[i].source;
        splits[i].start = split->offset;
        splits[i].length = split->length;
    }
    return 0;
}

/* Adds up where bytes came from, and closes. */
static void close_splits(struct attempt *a, struct task_split *splits)
{
    size_t count = a->assignment->split_count;
    for (size_t i = 0; i < count; i++) {
        bool last = i + 1 == count || splits[i].source != splits[i + 1].source;
        if (splits[i].source && last) {
            task_source_add_locality(splits[i].source, &a->end.locality);
            source_free(splits[i].source);
        }
    }
    free(splits);
}

static const char *final_path(struct attempt *a)
{
    return arena_printf(&a->arena, "%s/%s", a->assignment->hidden_directory,
                        a->assignment->output_name);
}

static int create_output(struct attempt *a, struct sink **ret_sink, struct err *e)
{
    return task_sink_create(a->dfs, final_path(a), a->assignment->spec->output_replication,
                            ret_sink, e);
}

/* The file "errors-00003" beside "part-00003". */
static int make_named(void *arg, const char *name, struct sink **ret_sink, struct err *e)
{
    struct attempt *a = arg;
    CHECK(a->named_count < MR_NAMED_OUTPUTS_MAX);
    const char *number = strrchr(a->assignment->output_name, '-');
    const char *file = arena_printf(&a->arena, "%s%s", name, number ? number : "");
    int r = task_sink_create(a->dfs, file, a->assignment->spec->output_replication,
                             &a->named[a->named_count], e);
    if (r == 0) {
        a->named_files[a->named_count] = file;
        *ret_sink = a->named[a->named_count++];
    }
    return r;
}

static void free_named(struct attempt *a)
{
    while (a->named_count > 0) {
        sink_free(a->named[--a->named_count]);
    }
}

static struct task_place place_of(const struct attempt *a)
{
    return (struct task_place){.dfs = a->dfs,
                               .hidden = a->assignment->hidden_directory,
                               .hidden_inode = a->assignment->hidden_inode,
                               .fence_name = a->assignment->fence_name,
                               .fence_epoch = a->assignment->fence_epoch};
}

/* The part and what named outputs there are, together. */
static int commit_files(struct attempt *a, struct sink *sink, struct err *e)
{
    struct task_place at = place_of(a);
    struct task_file files[MR_NAMED_OUTPUTS_MAX + 1];
    for (size_t i = 0; i < a->named_count; i++) {
        files[i] = (struct task_file){a->named_files[i], a->named[i]};
    }
    files[a->named_count] = (struct task_file){a->assignment->output_name, sink};
    return task_commit_files(&at, a->assignment->attempt, files, a->named_count + 1,
                             &a->end.output_inode, e);
}

static int commit_output(struct attempt *a, struct sink *sink, struct err *e)
{
    if (job_output_count(&a->job) > 0) { /* also if this attempt has made none: another may have */
        int r = commit_files(a, sink, e);
        a->end.committed = r == 0;
        return r;
    }
    struct task_place at = place_of(a);
    int r = task_sink_commit(sink, &at, final_path(a), &a->end.output_inode, e);
    a->end.committed = r == 0;
    return r;
}

/* The map output was made in the attempt's own directory, so that one that dies leaves nothing. */
static int place_map_output(struct attempt *a, const char *made, struct err *e)
{
    struct buf path = BUF_INIT;
    task_path(TASK_PATH_MAP_OUTPUT, a->env.data, a->assignment->job, a->assignment->attempt, &path);
    char *slash = strrchr(path.data, '/');
    *slash = '\0';
    (void)mkdir(path.data, 0755); /* most often it exists; if not, rename says so */
    *slash = '/';
    int r = rename(made, path.data) < 0 ? err_errno(e, "rename %s to %s", made, path.data) : 0;
    buf_deinit(&path);
    return r;
}

static int run_map(struct attempt *a, struct err *e)
{
    const char *made = arena_printf(&a->arena, "%s/output", a->temp);
    struct task_split *splits = xcalloc(a->assignment->split_count + 1, sizeof(*splits));
    bool map_only = a->job.reduces == 0;
    struct map_task task = {.job = &a->job,
                            .identity = &a->identity,
                            .events = &a->events,
                            .splits = splits,
                            .split_count = a->assignment->split_count,
                            .output_path = map_only ? NULL : made,
                            .sinks = &a->sinks,
                            .skip = skip_of(a)};
    int r = open_splits(a, splits, e);
    r = r < 0 || !map_only ? r : create_output(a, &task.output, e);
    r = r < 0 ? r : map_task_run(&task, &a->result, e);
    if (r == 0) {
        r = map_only ? commit_output(a, task.output, e) : place_map_output(a, made, e);
    }
    sink_free(task.output);
    free_named(a);
    close_splits(a, splits);
    return r;
}

/* ---- Reduce ---- */

static int run_reduce(struct attempt *a, struct err *e)
{
    int r = shuffle_run(a->shuffle, e);
    if (r < 0) {
        shuffle_lost(a->shuffle, &a->arena, &a->end);
        return r;
    }
    struct reduce_task task = {.job = &a->job,
                               .identity = &a->identity,
                               .events = &a->events,
                               .segments = shuffle_segments(a->shuffle),
                               .segment_count = a->assignment->maps,
                               .sinks = &a->sinks,
                               .skip = skip_of(a)};
    r = create_output(a, &task.output, e);
    r = r < 0 ? r : reduce_task_run(&task, &a->result, e);
    if (r == ERR_CORRUPT && shuffle_find_corrupt(a->shuffle) > 0) {
        shuffle_lost(a->shuffle, &a->arena, &a->end);
    }
    r = r < 0 ? r : commit_output(a, task.output, e);
    sink_free(task.output);
    free_named(a);
    return r;
}

/* ---- Begin and end ---- */

static struct shuffle *make_shuffle(struct attempt *a)
{
    struct buf work = BUF_INIT;
    task_path(TASK_PATH_WORK, a->env.data, a->assignment->job, a->assignment->attempt, &work);
    static const struct job_spec none; /* attempt_setup() refuses such an assignment */
    const struct job_spec *spec = a->assignment->spec ? a->assignment->spec : &none;
    struct shuffle_options options = {.loop = a->loop,
                                      .pool = a->pool,
                                      .data = a->env.data,
                                      .job = a->assignment->job,
                                      .address = a->env.address,
                                      .temp_directory =
                                          arena_printf(&a->arena, "%s/.tmp", work.data),
                                      .partition = a->assignment->task,
                                      .maps = a->assignment->maps,
                                      .memory_bytes = task_job_sort_bytes(spec, a->env.sort_bytes),
                                      .progress = on_fetched,
                                      .arg = a};
    buf_deinit(&work);
    return shuffle_new(&options);
}

void attempt_init(struct attempt *a, const struct task_environment *env,
                  const struct assignment *assignment, int pipe_fd)
{
    a->env = *env;
    a->assignment = assignment;
    a->events = (struct task_events){.arg = a,
                                     .progress = on_progress,
                                     .status = on_status,
                                     .alive = on_alive,
                                     .stderr_line = on_stderr_line};
    a->sinks = (struct task_sinks){make_named, a};
    task_result_init(&a->result);
    task_report_init(&a->report, pipe_fd, assignment->attempt);
    if (assignment->reduce) {
        a->loop = rpc_loop_new();
        a->pool = rpc_pool_new(a->tls, assignment->user);
        a->shuffle = make_shuffle(a);
    }
}

/* The user's last words: what programs wrote to stderr, else the end of the log. */
static const char *last_words(struct attempt *a)
{
    if (a->result.stderr_tail.length > 0) {
        return task_text_tail(a->result.stderr_tail.data, a->result.stderr_tail.length, &a->arena);
    }
    struct buf path = BUF_INIT;
    struct source *log = NULL;
    const char *text = "";
    task_path(TASK_PATH_LOG, a->env.data, a->assignment->job, a->assignment->attempt, &path);
    (void)fflush(NULL); /* what a library printed */
    if (source_open_file(path.data, &log, NULL) == 0 && log->length > a->log_start) {
        uint64_t most = 2 * (uint64_t)MR_STDERR_TAIL_BYTES;
        uint64_t length = MIN(log->length - a->log_start, most);
        char *bytes = arena_alloc(&a->arena, length);
        if (source_read_full(log, log->length - length, bytes, length, NULL) == 0) {
            text = task_text_tail(bytes, length, &a->arena);
        }
    }
    source_free(log);
    buf_deinit(&path);
    return text;
}

int attempt_run(struct attempt *a, struct err *e)
{
    struct err why = ERR_INIT;
    int r = task_report_progress(&a->report, 0, &why); /* from here on it is the attempt that ends,
                                                          not a process that could not start */
    r = r < 0 ? r : attempt_setup(a, &why);
    r = r < 0 ? r : a->assignment->reduce ? run_reduce(a, &why) : run_map(a, &why);
    a->end.attempt = a->assignment->attempt;
    a->end.code = r;
    a->end.text = "";
    a->end.stderr_tail = "";
    a->end.counters = task_report_counters(&a->result.counters, &a->arena);
    if (r < 0) {
        const char *message = err_message(&why);
        a->end.text = task_text(message, strlen(message), &a->arena);
        name_bad_record(a);
        a->end.stderr_tail = last_words(a);
        (void)fprintf(stderr, "%s: %s\n", a->assignment->attempt, a->end.text);
    } else {
        name_skipped(a);
    }
    return task_report_end(&a->report, &a->end, e);
}
