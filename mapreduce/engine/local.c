/* Everything happens in a hidden directory beside the output, whose last step is to become the
 * output: .NAME.XXXXXX/part-*, and in its _temporary/ the map outputs, spills and the programs'
 * directory. */
#include "mapreduce/engine/local.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"
#include "mapreduce/engine/exit_guard.h"
#include "mapreduce/engine/local_plan.h"
#include "mapreduce/engine/local_pool.h"
#include "mapreduce/engine/task.h"

struct local {
    const struct local_options *options;
    struct local_result *result;
    struct local_plan plan;
    uint32_t parallel;
    char *hidden;       /* becomes the output */
    char *real;         /* the same, absolute: user code may be elsewhere when it calls exit() */
    char *temporary;    /* in it */
    char *work;         /* where programs run; NULL: the current directory */
    uint32_t *permille; /* of each map task */
    struct local_progress progress;
    bool reducing; /* which kind of task runs */
};

void local_result_init(struct local_result *r)
{
    *r = (struct local_result){.stderr_tail = BUF_INIT};
    counters_init(&r->counters);
}

void local_result_deinit(struct local_result *r)
{
    counters_deinit(&r->counters);
    buf_deinit(&r->stderr_tail);
}

/* ---- Names ---- */

struct names {
    char *task_id;
    char *attempt_id;
    struct task_identity identity;
};

static void names_init(struct names *n, const struct local *l, uint32_t number)
{
    const char *id = l->options->job->id; /* "job_local_0001" */
    const char *tail = strchr(id, '_') ? strchr(id, '_') + 1 : id;
    n->task_id = xprintf("task_%s_%c_%06" PRIu32, tail, l->reducing ? 'r' : 'm', number);
    n->attempt_id = xprintf("attempt_%s_%c_%06" PRIu32 "_0", tail, l->reducing ? 'r' : 'm', number);
    n->identity = (struct task_identity){.number = number,
                                         .task_id = n->task_id,
                                         .attempt_id = n->attempt_id,
                                         .work_directory = l->work,
                                         .temp_directory = l->temporary,
                                         .output_directory = l->hidden};
}

static void names_deinit(struct names *n)
{
    free(n->task_id);
    free(n->attempt_id);
}

static char *map_output_path(const struct local *l, uint32_t map)
{
    return xprintf("%s/map-%06" PRIu32 ".out", l->temporary, map);
}

static char *part_path(const struct local *l, uint32_t number)
{
    return xprintf("%s/part-%05" PRIu32, l->hidden, number);
}

/* ---- In the task's process ---- */

static int report_progress(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    local_pool_report(total > 0 ? (uint32_t)(MIN(done, total) * 1000 / total) : 1000);
    return 0;
}

/* Programs' own words go to the user at once. */
static void print_error_line(void *arg, const char *line, size_t length)
{
    (void)arg;
    (void)fwrite(line, 1, length, stderr);
    (void)fputc('\n', stderr);
}

static const struct task_events task_events = {.progress = report_progress,
                                               .stderr_line = print_error_line};

/* The answer of a task to the parent: u32 length of the stderr tail, the tail, the counters. */
static void encode_answer(const struct task_result *result, struct buf *answer)
{
    buf_append_u32le(answer, (uint32_t)result->stderr_tail.length);
    buf_append(answer, result->stderr_tail.data, result->stderr_tail.length);
    counters_encode(&result->counters, answer);
}

static int open_splits(const struct local_piece *pieces, struct task_split *splits, size_t count,
                       struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        bool same = i > 0 && pieces[i].path == pieces[i - 1].path;
        int r = same ? 0 : source_open_file(pieces[i].path, &splits[i].source, e);
        if (r < 0) {
            return r;
        }
        splits[i].source = same ? splits[i - 1].source : splits[i].source;
        splits[i].start = pieces[i].start;
        splits[i].length = pieces[i].length;
    }
    return 0;
}

static void close_splits(struct task_split *splits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (splits[i].source && (i + 1 == count || splits[i].source != splits[i + 1].source)) {
            source_free(splits[i].source);
        }
    }
    free(splits);
}

/* The named outputs of a task: NAME-00003 beside part-00003. */
struct named_sinks {
    const struct local *local;
    uint32_t task;
    struct sink *sinks[MR_NAMED_OUTPUTS_MAX];
    size_t count;
    struct task_sinks base;
};

static int make_named_sink(void *arg, const char *name, struct sink **ret_sink, struct err *e)
{
    struct named_sinks *n = arg;
    CHECK(n->count < MR_NAMED_OUTPUTS_MAX);
    char *path = xprintf("%s/%s-%05" PRIu32, n->local->hidden, name, n->task);
    int r = sink_create_file(path, &n->sinks[n->count], e);
    free(path);
    if (r == 0) {
        *ret_sink = n->sinks[n->count++];
    }
    return r;
}

static void named_sinks_init(struct named_sinks *n, const struct local *l, uint32_t task)
{
    *n = (struct named_sinks){.local = l, .task = task};
    n->base = (struct task_sinks){make_named_sink, n};
}

static void named_sinks_deinit(struct named_sinks *n)
{
    for (size_t i = 0; i < n->count; i++) {
        sink_free(n->sinks[i]);
    }
}

static int run_map(struct local *l, const struct names *names, struct task_result *result,
                   struct err *e)
{
    uint32_t number = names->identity.number;
    size_t first = l->plan.firsts[number];
    size_t count = l->plan.firsts[number + 1] - first;
    struct task_split *splits = xcalloc(count + 1, sizeof(*splits));
    bool final = l->options->job->reduces == 0;
    char *path = final ? part_path(l, number) : map_output_path(l, number);
    struct named_sinks named;
    named_sinks_init(&named, l, number);
    struct map_task task = {.job = l->options->job,
                            .identity = &names->identity,
                            .events = &task_events,
                            .splits = splits,
                            .split_count = count,
                            .output_path = final ? NULL : path,
                            .sinks = &named.base};
    int r = open_splits(l->plan.pieces + first, splits, count, e);
    if (r == 0 && final) {
        r = sink_create_file(path, &task.output, e);
    }
    r = r < 0 ? r : map_task_run(&task, result, e);
    sink_free(task.output);
    named_sinks_deinit(&named);
    close_splits(splits, count);
    free(path);
    return r;
}

static int open_segments(const struct local *l, uint32_t partition, struct task_segment *segments,
                         struct err *e)
{
    for (uint32_t map = 0; map < l->plan.maps; map++) {
        char *path = map_output_path(l, map);
        struct run_index index = {NULL, 0};
        int r = source_open_file(path, &segments[map].source, e);
        free(path);
        r = r < 0 ? r : run_index_read(segments[map].source, &index, e);
        if (r < 0) {
            return r;
        }
        segments[map].offset = index.segments[partition].offset;
        segments[map].length = index.segments[partition].length;
        segments[map].records = index.segments[partition].records;
        run_index_deinit(&index);
    }
    return 0;
}

static int run_reduce(struct local *l, const struct names *names, struct task_result *result,
                      struct err *e)
{
    uint32_t number = names->identity.number;
    struct task_segment *segments = xcalloc((size_t)l->plan.maps + 1, sizeof(*segments));
    char *path = part_path(l, number);
    struct named_sinks named;
    named_sinks_init(&named, l, number);
    struct reduce_task task = {.job = l->options->job,
                               .identity = &names->identity,
                               .events = &task_events,
                               .segments = segments,
                               .segment_count = l->plan.maps,
                               .sinks = &named.base};
    int r = open_segments(l, number, segments, e);
    r = r < 0 ? r : sink_create_file(path, &task.output, e);
    r = r < 0 ? r : reduce_task_run(&task, result, e);
    sink_free(task.output);
    named_sinks_deinit(&named);
    for (uint32_t i = 0; i < l->plan.maps; i++) {
        source_free(segments[i].source);
    }
    free(segments);
    free(path);
    return r;
}

static int run_task(void *arg, uint32_t number, struct buf *answer, struct err *e)
{
    struct local *l = arg;
    struct names names;
    struct task_result result;
    task_result_init(&result);
    names_init(&names, l, number);
    int r = l->reducing ? run_reduce(l, &names, &result, e) : run_map(l, &names, &result, e);
    r = r < 0 ? err_wrap(e, r, "%s", names.attempt_id) : 0;
    encode_answer(&result, answer);
    names_deinit(&names);
    task_result_deinit(&result);
    return r;
}

/* ---- In the parent ---- */

static void show_progress(struct local *l)
{
    if (l->options->progress) {
        l->options->progress(l->options->arg, &l->progress);
    }
}

static void task_progress(void *arg, uint32_t number, uint32_t permille)
{
    struct local *l = arg;
    uint32_t count = l->reducing ? l->progress.reduces : l->progress.maps;
    if (number >= count) {
        return;
    }
    uint64_t sum = 0;
    l->permille[number] = MIN(permille, (uint32_t)1000);
    for (uint32_t i = 0; i < count; i++) {
        sum += l->permille[i];
    }
    uint32_t mean = (uint32_t)(sum / count);
    l->progress.map_permille = l->reducing ? 1000 : mean;
    l->progress.reduce_permille = l->reducing ? mean : 0;
    show_progress(l);
}

static int task_done(void *arg, uint32_t number, int r, struct span answer, struct err *e)
{
    struct local *l = arg;
    struct cursor c = cursor_of(answer.data, answer.length);
    struct span tail = cursor_bytes(&c, cursor_u32le(&c));
    if (r < 0) {
        if (!c.failed) {
            buf_append(&l->result->stderr_tail, tail.data, tail.length);
        }
        if (answer.length == 0) { /* it died: nobody has named it yet */
            struct names names;
            names_init(&names, l, number);
            r = err_wrap(e, r, "%s", names.attempt_id);
            names_deinit(&names);
        }
        return r;
    }
    if (c.failed || counters_decode(&l->result->counters, c.at, c.left) < 0) {
        return err_set(e, ERR_TASK, "task %" PRIu32 " gave an answer that is none", number);
    }
    if (l->reducing) {
        l->progress.reduces_done++;
    } else {
        l->progress.maps_done++;
    }
    task_progress(l, number, 1000);
    return 0;
}

static int run_tasks(struct local *l, bool reducing, struct err *e)
{
    struct local_pool_run run = {.task = run_task,
                                 .done = task_done,
                                 .progress = task_progress,
                                 .arg = l,
                                 .count = reducing ? l->progress.reduces : l->progress.maps,
                                 .parallel = l->parallel};
    l->reducing = reducing;
    free(l->permille);
    l->permille = xcalloc((size_t)run.count + 1, sizeof(*l->permille));
    return local_pool_run(&run, e);
}

static int sample(struct local *l, struct err *e)
{
    size_t count = l->plan.piece_count;
    struct task_split *splits = xcalloc(count + 1, sizeof(*splits));
    struct names names;
    names_init(&names, l, 0);
    int r = open_splits(l->plan.pieces, splits, count, e);
    r = r < 0 ? r : task_sample(l->options->job, &names.identity, splits, count, e);
    close_splits(splits, count);
    names_deinit(&names);
    return r < 0 ? err_wrap(e, r, "sampling the input") : 0;
}

/* ---- Directories ---- */

static int make_directories(struct local *l, struct err *e)
{
    struct stat st;
    const char *output = l->options->output;
    if (lstat(output, &st) == 0) {
        return err_set(e, ERR_EXISTS, "output directory %s already exists", output);
    }
    size_t length = strlen(output);
    while (length > 1 && output[length - 1] == '/') {
        length--;
    }
    char *plain = xstrndup(output, length);
    char *slash = strrchr(plain, '/');
    const char *name = slash ? slash + 1 : plain;
    char *hidden = xprintf("%.*s.%s.XXXXXX", slash ? (int)(slash + 1 - plain) : 0, plain, name);
    int r = 0;
    if (!mkdtemp(hidden)) {
        r = err_errno(e, "output %s", output);
        free(hidden);
    } else {
        (void)chmod(hidden, 0755);
        l->hidden = hidden;
        l->real = realpath(hidden, NULL);
        l->temporary = l->real ? xprintf("%s/_temporary", l->real) : NULL;
        r = l->real && mkdir(l->temporary, 0700) == 0 ? 0 : err_errno(e, "output %s", output);
        exit_guard_directory(l->real);
    }
    free(plain);
    return r;
}

static int copy_file(const char *from, const char *to, struct err *e)
{
    struct source *source = NULL;
    struct sink *sink = NULL;
    char *block = xmalloc(CHUNK_BLOCK_BYTES);
    int r = source_open_file(from, &source, e);
    r = r < 0 ? r : sink_create_file(to, &sink, e);
    uint64_t at = 0;
    while (r == 0) {
        int64_t n = source->read(source, at, block, CHUNK_BLOCK_BYTES, e);
        if (n <= 0) {
            r = (int)n;
            break;
        }
        at += (uint64_t)n;
        r = sink->write(sink, block, (size_t)n, e);
    }
    r = r < 0 ? r : sink->finish(sink, e);
    sink_free(sink);
    source_free(source);
    free(block);
    return r;
}

/* Side files: "path", or "path#name" for another name in the programs' directory. */
static int copy_side_files(struct local *l, struct err *e)
{
    if (l->options->file_count == 0) {
        return 0;
    }
    l->work = xprintf("%s/work", l->temporary);
    int r = mkdir(l->work, 0755) == 0 ? 0 : err_errno(e, "mkdir %s", l->work);
    for (size_t i = 0; i < l->options->file_count && r == 0; i++) {
        const char *file = l->options->files[i];
        const char *hash = strchr(file, '#');
        char *path = xstrndup(file, hash ? (size_t)(hash - file) : strlen(file));
        const char *slash = strrchr(path, '/');
        const char *name = hash ? hash + 1 : slash ? slash + 1 : path;
        char *to = xprintf("%s/%s", l->work, name);
        if (*name == '\0' || strchr(name, '/') || strcmp(name, "..") == 0) {
            r = err_set(e, ERR_INVALID, "side file %s: bad name", file);
        }
        r = r < 0 ? r : copy_file(path, to, e);
        if (r == 0) {
            (void)chmod(to, 0755);
        }
        free(to);
        free(path);
    }
    return r;
}

/* All is done: makes the output appear. */
static int commit(struct local *l, struct err *e)
{
    bool mark = true;
    int r = settings_get_bool(&l->options->job->settings,
                              "mapreduce.fileoutputcommitter.marksuccessfuljobs", true, &mark, e);
    r = r < 0 ? r : sys_remove_tree(l->temporary, e);
    if (r == 0 && mark) {
        char *path = xprintf("%s/_SUCCESS", l->hidden);
        struct sink *sink = NULL;
        r = sink_create_file(path, &sink, e);
        r = r < 0 ? r : sink->finish(sink, e);
        sink_free(sink);
        free(path);
    }
    if (r < 0) {
        return r;
    }
    if (renameat2(AT_FDCWD, l->hidden, AT_FDCWD, l->options->output, RENAME_NOREPLACE) < 0) {
        return err_errno(e, "output directory %s", l->options->output);
    }
    return 0;
}

static void release(struct local *l, bool failed)
{
    if (failed && l->hidden) {
        struct err ignored = ERR_INIT; /* the job's own error matters more */
        int r = sys_remove_tree(l->hidden, &ignored);
        (void)r;
    }
    exit_guard_directory(NULL);
    free(l->real);
    free(l->hidden);
    free(l->temporary);
    free(l->work);
    free(l->permille);
    local_plan_deinit(&l->plan);
}

/* A reduce has all map outputs open. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run_job(struct local *l, struct err *e)
{
    struct job *job = l->options->job;
    int r = make_directories(l, e);
    r = r < 0 ? r : copy_side_files(l, e);
    r = r < 0 ? r : local_plan_init(&l->plan, l->options, l->parallel, e);
    if (r == 0 && job_wants_boundaries(job)) {
        r = sample(l, e);
    }
    if (r < 0) {
        return r;
    }
    l->progress.maps = l->result->maps = l->plan.maps;
    l->progress.reduces = l->result->reduces = job->reduces;
    show_progress(l);
    r = run_tasks(l, false, e);
    if (r == 0 && job->reduces > 0) {
        l->progress.map_permille = 1000;
        r = run_tasks(l, true, e);
    }
    return r < 0 ? r : commit(l, e);
}

int local_run(const struct local_options *options, struct local_result *result, struct err *e)
{
    struct err ignored = ERR_INIT;
    e = e ? e : &ignored;
    struct local l = {.options = options, .result = result, .parallel = options->parallel};
    if (l.parallel == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        l.parallel = processors > 0 ? (uint32_t)processors : 1;
    }
    raise_file_limit();
    int r = run_job(&l, e);
    release(&l, r < 0);
    return r;
}
