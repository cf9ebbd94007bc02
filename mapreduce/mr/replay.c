/* See replay.h. The splits are planned again, as the mrmaster's note of the plan says, and must
 * give the digest that is noted there; so task 3 is what it was.
 *
 *   DIRECTORY/work/       the job's library and side files; the current directory of user code
 *   DIRECTORY/temporary/  spills, map outputs, a reduce's segments; gone at the end */
#include "mapreduce/mr/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/sys.h"
#include "mapreduce/engine/exit_guard.h"
#include "mapreduce/job_files.h"
#include "mapreduce/job_notes.h"
#include "mapreduce/master_store.h"
#include "mapreduce/mr/look.h"
#include "mapreduce/task_io.h"
#include "mapreduce/task_job.h"

struct replay {
    const struct replay_options *o;
    struct arena arena;
    struct attempt_name name;
    struct job_record record;
    struct plan_note note;
    struct job_plan plan;
    struct job_library library;
    struct job job;
    char *directory; /* absolute, as the next two: user code runs elsewhere */
    const char *work;
    const char *temporary;
    struct task_events events;
    struct sink *named[MR_NAMED_OUTPUTS_MAX];
    size_t named_count;
    struct task_sinks sinks;
};

static void print_error_line(void *arg, const char *line, size_t length)
{
    (void)arg;
    (void)fwrite(line, 1, length, stderr);
    (void)fputc('\n', stderr);
}

/* ---- The job as it was ---- */

/* Of the mrmaster that took the job in; the attempts' are its own and those of later ones. */
static uint64_t fence_of_job(const char *job)
{
    const char *number = strchr(job, '_');
    return number ? strtoull(number + 1, NULL, 10) : 0;
}

static int find_job(struct replay *p, struct err *e)
{
    if (!attempt_name_parse(p->o->attempt, &p->name)) {
        return look_bad_attempt(p->o->attempt, e);
    }
    int r = job_notes_find(p->o->dfs, p->name.job, &p->arena, &p->record, e);
    if (r < 0) {
        return err_wrap(e, r, "%s", p->o->attempt);
    }
    if (p->name.fence < fence_of_job(p->record.job)) {
        return look_no_attempt(p->o->attempt, p->record.job, e);
    }
    r = job_notes_read_plan(p->o->dfs, p->record.job, &p->note, e);
    if (r == ERR_NOT_FOUND && p->record.job) {
        r = err_set(e, r, "%s never came as far as having tasks", p->record.job);
    }
    return r;
}

static int plan(struct replay *p, struct err *e)
{
    int r = store_plan(p->o->dfs, &p->record.spec, p->note.slots, &p->arena, &p->plan, e);
    if (r == 0 && plan_digest(&p->plan) != p->note.digest) {
        r = err_set(
            e, ERR_STALE,
            "the input of %s is no longer cut as it was when the job ran: files were added, "
            "removed or changed, or chunks have moved to other hosts",
            p->record.job);
    }
    uint32_t count = p->name.reduce ? p->note.reduces : p->plan.map_count;
    if (r == 0 && p->name.task >= count) {
        r = err_set(e, ERR_NOT_FOUND, "%s: %s has %" PRIu32 " %s", p->o->attempt, p->record.job,
                    count, p->name.reduce ? "reduces" : "maps");
    }
    return r;
}

static int make_directories(struct replay *p, struct err *e)
{
    if (mkdir(p->o->directory, 0755) < 0) {
        return err_errno(e, "make %s", p->o->directory);
    }
    p->directory = realpath(p->o->directory, NULL);
    if (!p->directory) {
        return err_errno(e, "%s", p->o->directory);
    }
    p->work = arena_printf(&p->arena, "%s/work", p->directory);
    p->temporary = arena_printf(&p->arena, "%s/temporary", p->directory);
    exit_guard_directory(p->temporary);
    return sys_mkdir_scratch(p->temporary, e);
}

/* After the files are here. */
static int make_job(struct replay *p, struct err *e)
{
    const struct job_spec *spec = &p->record.spec;
    int r = 0;
    if (spec->library) {
        const char *path = arena_printf(&p->arena, "%s/%s", p->work, spec->library->name);
        r = job_library_open(path, &p->library, e);
    }
    struct task_job_options options = {.id = p->record.job,
                                       .spec = spec,
                                       .native = p->library.job,
                                       .reduces = spec->map_only ? 0 : p->note.reduces};
    r = r < 0 ? r : task_job_init(&p->job, &options, e);
    if (r == 0 && chdir(p->work) < 0) {
        r = err_errno(e, "chdir %s", p->work);
    }
    return r;
}

/* ---- Tasks ---- */

static struct task_identity identity_of(struct replay *p, bool reduce, uint32_t task)
{
    bool own = reduce == p->name.reduce && task == p->name.task;
    struct attempt_name name = p->name;
    char text[ATTEMPT_NAME_BYTES_MAX];
    name.reduce = reduce;
    name.task = task;
    name.number = own ? name.number : 0;
    attempt_name_format(&name, text);
    const char *attempt = arena_strdup(&p->arena, text);
    const char *last = strrchr(attempt, '_');
    const char *first = strchr(attempt, '_');
    return (struct task_identity){
        .number = task,
        .attempt = name.number,
        .task_id = arena_printf(&p->arena, "task%.*s", (int)(last - first), first),
        .attempt_id = attempt,
        .work_directory = p->work,
        .temp_directory = p->temporary,
        .output_directory = p->directory};
}

static int make_named(void *arg, const char *name, struct sink **ret_sink, struct err *e)
{
    struct replay *p = arg;
    CHECK(p->named_count < MR_NAMED_OUTPUTS_MAX);
    const char *path =
        arena_printf(&p->arena, "%s/%s-%05" PRIu32, p->directory, name, p->name.task);
    int r = sink_create_file(path, &p->named[p->named_count], e);
    if (r == 0) {
        *ret_sink = p->named[p->named_count++];
    }
    return r;
}

static int create_part(struct replay *p, struct sink **ret_sink, struct err *e)
{
    const char *path =
        arena_printf(&p->arena, "%s/%s", p->directory, part_name(p->name.task, &p->arena));
    return sink_create_file(path, ret_sink, e);
}

static int open_splits(struct replay *p, const struct job_map *map, struct task_split *splits,
                       struct err *e)
{
    int r = 0;
    for (size_t i = 0; i < map->split_count && r == 0; i++) {
        const struct input_split *split = &map->splits[i];
        r = task_source_open(p->o->dfs, split, &splits[i].source, e);
        splits[i].start = split->offset;
        splits[i].length = split->length;
    }
    return r;
}

/* `output`: of a job without reduces; otherwise the map output goes to `path`. */
static int run_map(struct replay *p, uint32_t number, const char *path, struct sink *output,
                   struct task_result *result, struct err *e)
{
    const struct job_map *map = &p->plan.maps[number];
    struct task_identity identity = identity_of(p, false, number);
    struct task_split *splits = xcalloc(map->split_count + 1, sizeof(*splits));
    struct map_task task = {.job = &p->job,
                            .identity = &identity,
                            .events = &p->events,
                            .splits = splits,
                            .split_count = map->split_count,
                            .output_path = output ? NULL : path,
                            .output = output,
                            .sinks = &p->sinks};
    int r = open_splits(p, map, splits, e);
    r = r < 0 ? r : map_task_run(&task, result, e);
    for (size_t i = 0; i < map->split_count; i++) {
        source_free(splits[i].source);
    }
    free(splits);
    return r < 0 ? err_wrap(e, r, "%s", identity.attempt_id) : 0;
}

/* ---- A map ---- */

/* One partition of the map output as text: what a job without a reduce function would write. */
static int write_partition(struct replay *p, struct source *file, const struct run_index *index,
                           uint32_t partition, struct err *e)
{
    const struct run_segment *from = &index->segments[partition];
    struct task_identity identity = identity_of(p, true, partition);
    struct task_segment segment = {file, from->offset, from->length, from->records};
    struct task_result ignored;
    struct job plain = p->job; /* borrows what the job owns */
    struct reduce_task task = {
        .job = &plain, .identity = &identity, .segments = &segment, .segment_count = 1};
    plain.native = NULL;
    plain.reduce_command = NULL;
    plain.output = MR_OUTPUT_TEXT;
    task_result_init(&ignored);
    const char *path = arena_printf(&p->arena, "%s/partition-%05" PRIu32, p->directory, partition);
    int r = sink_create_file(path, &task.output, e);
    r = r < 0 ? r : reduce_task_run(&task, &ignored, e);
    sink_free(task.output);
    task_result_deinit(&ignored);
    return r;
}

static int replay_map(struct replay *p, struct task_result *result, struct err *e)
{
    struct source *file = NULL;
    struct sink *output = NULL;
    if (p->job.reduces == 0) {
        int r = create_part(p, &output, e);
        r = r < 0 ? r : run_map(p, p->name.task, NULL, output, result, e);
        sink_free(output);
        return r;
    }
    const char *path = arena_printf(&p->arena, "%s/map", p->temporary);
    int r = run_map(p, p->name.task, path, NULL, result, e);
    r = r < 0 ? r : source_open_file(path, &file, e);
    for (uint32_t i = 0; r == 0 && i < result->index.count; i++) {
        r = result->index.segments[i].records == 0 ? 0
                                                   : write_partition(p, file, &result->index, i, e);
    }
    source_free(file);
    return r;
}

/* ---- A reduce ---- */

static int append_segment(const char *path, const struct run_segment *segment, struct sink *to,
                          struct err *e)
{
    enum { PIECE = 256 * 1024 };
    struct source *file = NULL;
    char *data = xmalloc(PIECE);
    int r = source_open_file(path, &file, e);
    for (uint64_t at = 0; r == 0 && at < segment->length;) {
        uint64_t left = segment->length - at;
        size_t piece = left < PIECE ? (size_t)left : PIECE;
        r = source_read_full(file, segment->offset + at, data, piece, e);
        r = r < 0 ? r : to->write(to, data, piece, e);
        at += piece;
    }
    source_free(file);
    free(data);
    return r;
}

/* Runs every map and keeps the reduce's segment of it: all of them in one file. */
static int gather(struct replay *p, struct task_segment *segments, const char *path, struct err *e)
{
    const char *map = arena_printf(&p->arena, "%s/map", p->temporary);
    struct sink *sink = NULL;
    uint64_t at = 0;
    int r = sink_create_file(path, &sink, e);
    for (uint32_t i = 0; r == 0 && i < p->plan.map_count; i++) {
        struct task_result result;
        task_result_init(&result);
        if (!p->o->quiet) {
            (void)fprintf(stderr, "map %" PRIu32 " of %" PRIu32 ", for the reduce's input\n", i + 1,
                          p->plan.map_count);
        }
        r = run_map(p, i, map, NULL, &result, e);
        if (r == 0) {
            const struct run_segment *segment = &result.index.segments[p->name.task];
            segments[i] = (struct task_segment){
                .offset = at, .length = segment->length, .records = segment->records};
            at += segment->length;
            r = append_segment(map, segment, sink, e);
        }
        task_result_deinit(&result);
    }
    r = r < 0 ? r : sink->finish(sink, e);
    sink_free(sink);
    return r;
}

static int replay_reduce(struct replay *p, struct task_result *result, struct err *e)
{
    const char *path = arena_printf(&p->arena, "%s/segments", p->temporary);
    struct task_identity identity = identity_of(p, true, p->name.task);
    struct task_segment *segments = xcalloc((size_t)p->plan.map_count + 1, sizeof(*segments));
    struct source *file = NULL;
    struct reduce_task task = {.job = &p->job,
                               .identity = &identity,
                               .events = &p->events,
                               .segments = segments,
                               .segment_count = p->plan.map_count,
                               .sinks = &p->sinks};
    int r = gather(p, segments, path, e);
    r = r < 0 ? r : source_open_file(path, &file, e);
    for (uint32_t i = 0; r == 0 && i < p->plan.map_count; i++) {
        segments[i].source = file;
    }
    r = r < 0 ? r : create_part(p, &task.output, e);
    if (r == 0) {
        r = reduce_task_run(&task, result, e);
        r = r < 0 ? err_wrap(e, r, "%s", identity.attempt_id) : 0;
    }
    sink_free(task.output);
    source_free(file);
    free(segments);
    return r;
}

/* ---- */

static void release(struct replay *p)
{
    exit_guard_directory(NULL);
    if (p->temporary) {
        struct err ignored = ERR_INIT; /* the task's own error matters more */
        int r = sys_remove_tree(p->temporary, &ignored);
        (void)r;
    }
    while (p->named_count > 0) {
        sink_free(p->named[--p->named_count]);
    }
    job_deinit(&p->job);
    job_library_close(&p->library);
    free(p->directory);
    arena_deinit(&p->arena);
}

int replay_run(const struct replay_options *options, struct task_result *result, struct err *e)
{
    struct replay p = {.o = options, .arena = ARENA_INIT};
    p.events = (struct task_events){.stderr_line = print_error_line};
    p.sinks = (struct task_sinks){make_named, &p};
    int r = find_job(&p, e);
    r = r < 0 ? r : plan(&p, e);
    r = r < 0 ? r : make_directories(&p, e);
    r = r < 0 ? r : job_files_fetch(options->dfs, p.record.job, &p.record.spec, p.work, e);
    r = r < 0 ? r : make_job(&p, e);
    if (r == 0) {
        r = p.name.reduce ? replay_reduce(&p, result, e) : replay_map(&p, result, e);
    }
    release(&p);
    return r;
}
