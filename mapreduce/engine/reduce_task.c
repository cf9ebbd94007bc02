/* A reduce task: segments -> merge -> user code -> output. See task.h. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/limits.h"
#include "mapreduce/engine/careful.h"
#include "mapreduce/engine/context.h"
#include "mapreduce/engine/merge.h"
#include "mapreduce/engine/runset.h"
#include "mapreduce/engine/skip.h"
#include "mapreduce/engine/stream.h"
#include "mapreduce/engine/task.h"

enum { PROGRESS_RECORDS = 1024 };

struct reduce_run {
    const struct reduce_task *task;
    struct context context;
    struct region window; /* of the run writer */
    struct runset runs;
    struct merge merge;
    struct output output;
    struct named_outputs named;
    struct stream *reducer;  /* the reduce program; NULL: functions, or a careful run */
    struct careful *careful; /* the reduce program a few key groups at a time */
    struct buf line;         /* for it */
    struct skip skip;
    uint64_t skipped; /* records of the key groups that were left out */
    struct task_result *result;
    uint64_t total; /* records of all segments */
    uint64_t groups;
    struct err *e;
};

/* Now and then: errors of the output, and progress. */
static int look_around(struct reduce_run *t)
{
    int r = context_error(&t->context);
    return r < 0 ? r : context_progress(&t->context, t->merge.records, t->total);
}

/* The group of a job that may leave out some. True: this one is left out. */
static bool skips_group(struct reduce_run *t, struct mr_span key, struct group *g)
{
    if (!t->context.skip || !skip_group(&t->skip, key)) {
        return false;
    }
    uint64_t values = 0;
    struct mr_span value;
    while (g->values.next(&g->values, &value)) {
        values++;
    }
    skip_tell_last(&t->skip, 0, key, values);
    counters_add(&t->result->counters, COUNTER_REDUCE_SKIPPED_GROUPS, 1);
    t->skipped += values;
    t->groups--;
    return true;
}

static int reduce_function(struct reduce_run *t)
{
    struct group g;
    struct mr_span key;
    uint64_t looked_at = 0;
    group_init(&g, &t->merge, t->e);
    int r;
    while ((r = group_next(&g, &key)) > 0) {
        t->groups++;
        r = job_plain_key(t->task->job, key, &key, t->e);
        if (r < 0) {
            break;
        }
        if (!skips_group(t, key, &g)) {
            t->task->job->native->reduce(&t->context.ctx, key, &g.values);
        }
        context_alive(&t->context); /* one key may take minutes */
        r = t->context.skip ? context_error(&t->context) : t->context.failed;
        if (r == 0 && t->merge.records - looked_at >= PROGRESS_RECORDS) {
            looked_at = t->merge.records;
            r = look_around(t);
        }
        if (r < 0) {
            break;
        }
    }
    if (r == 0) {
        (void)skip_pause(&t->skip);
    }
    group_deinit(&g);
    return r;
}

static int reduce_carefully(struct reduce_run *t, const struct mr_record *record, bool new_group)
{
    struct careful_unit unit = {.name = record->key};
    int r = new_group ? careful_begin(t->careful, &unit, t->e) : 0;
    buf_clear(&t->line);
    stream_append_record(t->task->job, record, &t->line);
    return r < 0 ? r : careful_add(t->careful, mr_bytes(t->line.data, t->line.length), t->e);
}

/* Each record, without a look at groups: identity, or into a program. */
static int reduce_each(struct reduce_run *t)
{
    struct mr_record record;
    struct buf last = BUF_INIT;
    int r;
    while ((r = merge_next(&t->merge, &record, t->e)) > 0) {
        uint64_t groups = t->groups;
        if (t->groups == 0 || !mr_equal(record.key, mr_bytes(last.data, last.length))) {
            t->groups++;
            buf_clear(&last);
            buf_append(&last, record.key.data, record.key.length);
        }
        r = job_plain_key(t->task->job, record.key, &record.key, t->e);
        if (r == 0 && t->careful) {
            r = reduce_carefully(t, &record, t->groups > groups);
        } else if (r == 0 && t->reducer) {
            r = stream_write_record(t->reducer, &record, t->e);
        } else if (r == 0) {
            output_record(&t->output, record.key, record.value);
        }
        if (r == 0 && t->merge.records % PROGRESS_RECORDS == 0) {
            r = look_around(t);
        }
        if (r < 0 || (t->reducer && stream_is_deaf(t->reducer))) {
            break;
        }
    }
    buf_deinit(&last);
    return r;
}

static void reduced_line(void *arg, struct mr_span line)
{
    struct reduce_run *t = arg;
    output_line(&t->output, line);
}

static int run_program_carefully(struct reduce_run *t, const struct stream_options *options)
{
    t->careful = careful_new(options, t->task->skip);
    int r = reduce_each(t);
    r = r < 0 ? r : careful_finish(t->careful, t->e);
    t->skipped = careful_skipped_pieces(t->careful);
    t->groups -= careful_skipped_units(t->careful);
    counters_add(&t->result->counters, COUNTER_REDUCE_SKIPPED_GROUPS,
                 careful_skipped_units(t->careful));
    return r;
}

static int run_program(struct reduce_run *t)
{
    struct stream_options options = {.job = t->task->job,
                                     .identity = t->task->identity,
                                     .events = t->task->events,
                                     .command = t->task->job->reduce_command,
                                     .counters = &t->result->counters,
                                     .stderr_tail = &t->result->stderr_tail,
                                     .line = reduced_line,
                                     .arg = t};
    if (t->task->skip && t->task->skip->careful) {
        return run_program_carefully(t, &options);
    }
    int r = stream_start(&options, &t->reducer, t->e);
    r = r < 0 ? r : reduce_each(t);
    return r < 0 ? r : stream_finish(t->reducer, t->e);
}

static int run_functions(struct reduce_run *t)
{
    const struct mr_job *native = t->task->job->native;
    if (!native || !native->reduce) {
        return reduce_each(t);
    }
    int r = context_setup(&t->context);
    r = r < 0 ? r : reduce_function(t);
    context_cleanup(&t->context);
    return r;
}

/* Makes runs of the segments and merges some if there are too many. */
static int begin(struct reduce_run *t)
{
    const struct task_identity *identity = t->task->identity;
    struct counters *counters = &t->result->counters;
    context_init(&t->context, t->task->job, t->task->events, counters, t->e);
    output_init(&t->output, t->task->job, t->task->output, t->e);
    t->context.output = &t->output;
    named_init(&t->named, t->task->job, t->task->sinks, t->e);
    t->context.named = &t->named;
    context_set_target(&t->context, CONTEXT_OUTPUT);
    skip_init(&t->skip, t->task->skip, t->task->events, true);
    t->context.skip = t->task->skip ? &t->skip : NULL;
    merge_init(&t->merge);
    t->merge.alive = t->task->events ? t->task->events->alive : NULL;
    t->merge.alive_arg = t->task->events ? t->task->events->arg : NULL;
    runset_init(&t->runs, identity->temp_directory, identity->attempt_id, 1, &t->window);
    t->runs.alive = t->merge.alive;
    t->runs.alive_arg = t->merge.alive_arg;
    t->runs.compress = t->task->job->compress;
    for (size_t i = 0; i < t->task->segment_count; i++) {
        const struct task_segment *segment = &t->task->segments[i];
        t->total += segment->records;
        counters_add(counters, COUNTER_REDUCE_SHUFFLE_BYTES, segment->length);
        counters_add(counters, COUNTER_SHUFFLED_MAPS, 1);
        if (segment->length > 0) {
            struct run_index index = {xcalloc(1, sizeof(struct run_segment)), 1};
            index.segments[0] = (struct run_segment){
                .offset = segment->offset, .length = segment->length, .records = segment->records};
            runset_take_run(&t->runs, segment->source, &index);
        }
    }
    counters_add(counters, COUNTER_MERGED_MAP_OUTPUTS, t->runs.count);
    int r = runset_shrink(&t->runs, MR_FAN_IN_MAX, t->e);
    counters_add(counters, COUNTER_SPILLED_RECORDS, t->runs.records_merged);
    return r;
}

int reduce_task_run(const struct reduce_task *task, struct task_result *result, struct err *e)
{
    struct err local = ERR_INIT;
    struct reduce_run t = {.task = task, .result = result, .line = BUF_INIT, .e = e ? e : &local};
    struct counters *counters = &result->counters;
    uint64_t cpu_us = clock_cpu_us();
    int r = begin(&t);
    if (r == 0) {
        runset_merge(&t.runs, 0, &t.merge);
        r = task->job->reduce_command ? run_program(&t) : run_functions(&t);
    }
    r = r < 0 ? r : context_error(&t.context);
    r = r < 0 ? r : output_finish(&t.output);
    r = r < 0 ? r : named_finish(&t.named, counters);
    counters_add(counters, COUNTER_REDUCE_INPUT_RECORDS, t.merge.records - t.skipped);
    counters_add(counters, COUNTER_REDUCE_SKIPPED_RECORDS, t.skipped);
    counters_add(counters, COUNTER_REDUCE_INPUT_GROUPS, t.groups);
    counters_add(counters, COUNTER_REDUCE_OUTPUT_RECORDS, t.output.records);
    counters_add(counters, COUNTER_BYTES_WRITTEN, t.output.bytes);
    context_cleanup(&t.context);
    careful_free(t.careful);
    buf_deinit(&t.line);
    stream_free(t.reducer);
    merge_deinit(&t.merge);
    runset_deinit(&t.runs);
    output_deinit(&t.output);
    named_deinit(&t.named);
    region_deinit(&t.window);
    counters_add(counters, COUNTER_CPU_MS, (clock_cpu_us() - cpu_us) / 1000);
    return r;
}
