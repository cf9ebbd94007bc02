/* A map task: splits -> records -> user code -> collector or output. See task.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/macros.h"
#include "mapreduce/engine/careful.h"
#include "mapreduce/engine/context.h"
#include "mapreduce/engine/inflated.h"
#include "mapreduce/engine/input.h"
#include "mapreduce/engine/record.h"
#include "mapreduce/engine/skip.h"
#include "mapreduce/engine/stream.h"
#include "mapreduce/engine/task.h"

struct map_run {
    const struct map_task *task;
    struct context context;
    struct partitioner partitioner;
    struct output output;
    struct named_outputs named;
    struct input *input;
    struct stream *mapper;   /* the map program, while it has a split; not in a careful run */
    struct careful *careful; /* the map program a few records at a time */
    struct skip skip;
    uint64_t paused;         /* its record, while a combiner program runs */
    struct stream *combiner; /* the combine program */
    struct buf coded;        /* the key that is emitted just now, if keys are sorted by fields */
    struct buf combined;     /* the same of what the combiner prints while that one waits */
    struct task_result *result;
    uint64_t total; /* bytes of all splits */
    uint64_t done;  /* of finished splits */
    struct err *e;
};

void task_result_init(struct task_result *r)
{
    *r = (struct task_result){.stderr_tail = BUF_INIT};
    counters_init(&r->counters);
}

void task_result_deinit(struct task_result *r)
{
    counters_deinit(&r->counters);
    run_index_deinit(&r->index);
    buf_deinit(&r->stderr_tail);
}

/* What the engine sorts a program's key by. Valid until the next one in this buffer. */
static struct mr_span coded_key(const struct map_run *m, struct mr_span key, struct buf *coded)
{
    const struct job *job = m->task->job;
    if (!job->sort_by_fields) {
        return key;
    }
    buf_clear(coded);
    keyfields_code(&job->sort_fields, key, coded);
    return mr_bytes(coded->data, coded->length);
}

/* A job without map function and program: lines are cut at the separator, as `cat` would. */
static void map_identity(struct map_run *m, const struct mr_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct mr_record cut = stream_cut_line(&m->task->job->map_fields, records[i].value);
        bool sorted = m->task->job->reduces > 0;
        struct mr_span key = sorted ? coded_key(m, cut.key, &m->coded) : cut.key;
        mr_emit(&m->context.ctx, key, cut.value);
    }
}

static void map_functions(struct map_run *m, const struct mr_record *records, size_t count)
{
    if (m->task->job->native) {
        context_map(&m->context, records, count);
    } else {
        map_identity(m, records, count);
    }
}

static uint64_t offset_of(const struct map_run *m, const struct mr_record *record)
{
    return m->task->job->input == MR_INPUT_FILES ? 0 : mr_get_u64(record->key);
}

/* Functions of a job that may leave out records: one by one, so that it is known which they have.
 */
static int map_watched(struct map_run *m, const struct input_batch *batch)
{
    enum { ALIVE_RECORDS = 8 };
    for (size_t i = 0; i < batch->count; i++) {
        const struct mr_record *record = &batch->records[i];
        uint64_t offset = offset_of(m, record);
        if (skip_record(&m->skip, offset)) {
            skip_tell_last(&m->skip, offset, m->skip.name, record->value.length);
            m->result->counters.fixed[COUNTER_MAP_SKIPPED_RECORDS]++;
            m->result->counters.fixed[COUNTER_MAP_INPUT_RECORDS]--;
            continue;
        }
        map_functions(m, record, 1);
        int r = context_error(&m->context);
        if (r < 0) {
            return r;
        }
        if (i % ALIVE_RECORDS == ALIVE_RECORDS - 1) {
            context_alive(&m->context);
        }
    }
    (void)skip_pause(&m->skip);
    return 0;
}

static bool ends_line(struct mr_span bytes)
{
    return bytes.length > 0 && ((const char *)bytes.data)[bytes.length - 1] == '\n';
}

static int map_carefully(struct map_run *m, const struct input_batch *batch)
{
    int r = 0;
    for (size_t i = 0; i < batch->count && r == 0; i++) {
        struct mr_span value = batch->records[i].value;
        bool whole_line = m->task->job->input == MR_INPUT_LINES;
        struct careful_unit unit = {.name = m->skip.name,
                                    .offset = offset_of(m, &batch->records[i])};
        r = careful_begin(m->careful, &unit, m->e);
        r = r < 0 ? r : careful_add(m->careful, value, m->e);
        if (r == 0 && whole_line && !ends_line(value)) {
            r = careful_add(m->careful, mr_bytes("\n", 1), m->e);
        }
    }
    return r;
}

static int map_batch(struct map_run *m, const struct input_batch *batch)
{
    if (m->careful) {
        return map_carefully(m, batch);
    }
    if (m->mapper) {
        for (size_t i = 0; i < batch->count; i++) {
            struct mr_span value = batch->records[i].value;
            bool whole_lines = m->task->job->input == MR_INPUT_LINES;
            int r = stream_write_block(m->mapper, value, whole_lines, m->e);
            if (r < 0) {
                return r;
            }
        }
        return 0;
    }
    if (m->skip.task) {
        return map_watched(m, batch);
    }
    map_functions(m, batch->records, batch->count);
    return 0;
}

/* The text of a compressed file; NULL: it is not one. */
static int open_text(const struct map_run *m, const struct task_split *split,
                     struct source **ret_text)
{
    const struct job *job = m->task->job;
    enum inflate_kind kind = INFLATE_NONE;
    int r = job->decompress ? inflated_kind(split->source->name, job->input, &kind, m->e) : 0;
    *ret_text = r < 0 || kind == INFLATE_NONE ? NULL : inflated_new(split->source, kind);
    return r;
}

static int map_records(struct map_run *m)
{
    for (;;) {
        struct input_batch batch;
        int r = input_next(m->input, &batch, m->e);
        if (r < 0) {
            return r;
        }
        if (batch.count == 0) {
            return 0;
        }
        counters_add(&m->result->counters, COUNTER_MAP_INPUT_RECORDS, batch.lines);
        r = map_batch(m, &batch);
        r = r < 0 ? r : context_error(&m->context);
        r = r < 0 ? r : context_progress(&m->context, m->done + input_done(m->input), m->total);
        if (r < 0) {
            return r;
        }
        if (m->mapper && stream_is_deaf(m->mapper)) {
            return 0; /* it reads no more: the rest is not needed; whether that is an error it says
                       */
        }
    }
}

static int start_mapper(struct map_run *m, const struct task_split *split);
static int end_mapper(struct map_run *m);

static int map_split(struct map_run *m, const struct task_split *split)
{
    struct source *text = NULL;
    int r = open_text(m, split, &text);
    if (r < 0) {
        return r;
    }
    if (text) {
        input_begin(m->input, text, 0, UINT64_MAX);
    } else {
        input_begin(m->input, split->source, split->start, split->length);
    }
    skip_file(&m->skip, split->source->name);
    r = start_mapper(m, split);
    r = r < 0 ? r : map_records(m);
    r = r < 0 ? r : end_mapper(m);
    source_free(text);
    m->done += split->length;
    return r;
}

static int map_splits(struct map_run *m)
{
    for (size_t i = 0; i < m->task->split_count; i++) {
        int r = map_split(m, &m->task->splits[i]);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* ---- Programs ---- */

static void mapped_line(void *arg, struct mr_span line)
{
    struct map_run *m = arg;
    if (m->task->job->reduces == 0) {
        output_line(&m->output, line);
        return;
    }
    struct mr_record cut = stream_cut_line(&m->task->job->map_fields, line);
    collector_emit(m->context.collector, coded_key(m, cut.key, &m->coded), cut.value);
}

static void combined_line(void *arg, struct mr_span line)
{
    struct map_run *m = arg;
    struct mr_record cut = stream_cut_line(&m->task->job->map_fields, line);
    struct mr_span key = coded_key(m, cut.key, &m->combined);
    collector_emit_combined(m->context.collector, key, cut.value);
}

static struct stream_options stream_options_of(struct map_run *m, const char *command)
{
    return (struct stream_options){.job = m->task->job,
                                   .identity = m->task->identity,
                                   .events = m->task->events,
                                   .splits = m->task->splits,
                                   .split_count = m->task->split_count,
                                   .is_map = true,
                                   .command = command,
                                   .counters = &m->result->counters,
                                   .stderr_tail = &m->result->stderr_tail,
                                   .arg = m};
}

/* A process for each split: a program knows by its environment which file it reads and where it
 * begins, and may be done with it before its end. */
static int start_mapper(struct map_run *m, const struct task_split *split)
{
    const char *command = m->task->job->map_command;
    if (!command) {
        return 0;
    }
    if (m->careful) {
        careful_set_split(m->careful, split);
        return 0;
    }
    struct stream_options options = stream_options_of(m, command);
    options.splits = split;
    options.split_count = 1;
    options.line = mapped_line;
    return stream_start(&options, &m->mapper, m->e);
}

static int end_mapper(struct map_run *m)
{
    if (m->careful) {
        return careful_finish(m->careful, m->e);
    }
    int r = m->mapper ? stream_finish(m->mapper, m->e) : 0;
    stream_free(m->mapper);
    m->mapper = NULL;
    return r;
}

/* struct combiner's feed: one process per partition of a spill. */
static int feed_combiner(void *arg, const struct mr_record *record, struct err *e)
{
    struct map_run *m = arg;
    if (!m->combiner) {
        m->paused = skip_pause(&m->skip); /* the record that made us spill is not to blame */
        struct stream_options options = stream_options_of(m, m->task->job->combine_command);
        options.line = combined_line;
        int r = stream_start(&options, &m->combiner, e);
        if (r < 0) {
            return r;
        }
    }
    if (record) {
        struct mr_record plain = *record;
        int r = job_plain_key(m->task->job, record->key, &plain.key, e);
        return r < 0 ? r : stream_write_record(m->combiner, &plain, e);
    }
    int r = stream_finish(m->combiner, e);
    stream_free(m->combiner);
    m->combiner = NULL;
    if (r == 0) {
        skip_resume(&m->skip, m->paused);
    }
    return r;
}

/* ---- Begin and end ---- */

static int make_partitioner(struct map_run *m)
{
    const struct job *job = m->task->job;
    partitioner_init(&m->partitioner, job->reduces);
    const char *boundaries = settings_get(&job->settings, PARTITION_BOUNDARIES_SETTING);
    if (boundaries) {
        return partitioner_set_boundaries(&m->partitioner, boundaries, m->e);
    }
    if (job->native && job->native->partition) {
        m->partitioner.function = job->native->partition;
        m->partitioner.ctx = &m->context.ctx;
    }
    if (job->partition_by_fields || job->sort_by_fields) {
        m->partitioner.job = job;
    }
    return 0;
}

static int make_collector(struct map_run *m)
{
    const struct job *job = m->task->job;
    int r = make_partitioner(m);
    if (r < 0) {
        return r;
    }
    struct collector_options options = {.memory_bytes = job->sort_bytes,
                                        .compress = job->compress,
                                        .directory = m->task->identity->temp_directory,
                                        .name = m->task->identity->attempt_id,
                                        .partitioner = &m->partitioner};
    if (m->task->events) {
        options.alive = m->task->events->alive;
        options.alive_arg = m->task->events->arg;
    }
    if (job->combine_command) {
        options.combiner = (struct combiner){.arg = m, .feed = feed_combiner};
    } else if (job->native && !job->map_command) {
        options.aggregate = job->native->aggregate;
        if (job->native->combine) {
            options.combiner = (struct combiner){.arg = &m->context, .combine = context_combine};
        }
    }
    m->context.collector = collector_new(&options);
    context_set_target(&m->context, CONTEXT_COLLECTOR);
    return 0;
}

static int begin(struct map_run *m)
{
    const struct job *job = m->task->job;
    for (size_t i = 0; i < m->task->split_count; i++) {
        m->total += m->task->splits[i].length;
    }
    context_init(&m->context, job, m->task->events, &m->result->counters, m->e);
    if (job->reduces > 0) {
        int r = make_collector(m);
        if (r < 0) {
            return r;
        }
    } else {
        output_init(&m->output, job, m->task->output, m->e);
        m->context.output = &m->output;
        named_init(&m->named, job, m->task->sinks, m->e);
        m->context.named = &m->named;
        context_set_target(&m->context, CONTEXT_OUTPUT);
    }
    skip_init(&m->skip, m->task->skip, m->task->events, false);
    m->context.skip = m->task->skip ? &m->skip : NULL;
    struct input_options options = {job->input, job->record_bytes, job->record_bytes_max,
                                    m->task->skip && (!job->map_command || m->task->skip->careful)};
    if (job->map_command && job->input == MR_INPUT_LINES) {
        options.format = MR_INPUT_BLOCKS; /* a program gets the lines as they are */
    }
    m->input = input_new(&options);
    if (job->map_command && m->task->skip && m->task->skip->careful) {
        struct stream_options stream = stream_options_of(m, job->map_command);
        stream.line = mapped_line;
        m->careful = careful_new(&stream, m->task->skip);
    }
    return job->map_command ? 0 : context_setup(&m->context);
}

static int finish(struct map_run *m)
{
    struct counters *counters = &m->result->counters;
    context_cleanup(&m->context);
    int r = context_error(&m->context);
    if (m->careful) {
        uint64_t skipped = careful_skipped_units(m->careful);
        counters_add(counters, COUNTER_MAP_SKIPPED_RECORDS, skipped);
        counters->fixed[COUNTER_MAP_INPUT_RECORDS] -= (int64_t)skipped;
    }
    counters_add(counters, COUNTER_BYTES_READ, input_bytes_read(m->input));
    if (r < 0) {
        return r;
    }
    if (m->task->job->reduces > 0) {
        return collector_finish(m->context.collector, m->task->output_path, counters,
                                &m->result->index, m->e);
    }
    counters_add(counters, COUNTER_MAP_OUTPUT_RECORDS, m->output.records);
    counters_add(counters, COUNTER_BYTES_WRITTEN, m->output.bytes);
    r = output_finish(&m->output);
    return r < 0 ? r : named_finish(&m->named, counters);
}

static void release(struct map_run *m)
{
    context_cleanup(&m->context);
    careful_free(m->careful);
    stream_free(m->mapper);
    stream_free(m->combiner);
    collector_free(m->context.collector);
    output_deinit(&m->output);
    named_deinit(&m->named);
    input_free(m->input);
    partitioner_deinit(&m->partitioner);
    buf_deinit(&m->coded);
    buf_deinit(&m->combined);
}

int map_task_run(const struct map_task *t, struct task_result *result, struct err *e)
{
    struct err local = ERR_INIT;
    struct map_run m = {
        .task = t, .result = result, .coded = BUF_INIT, .combined = BUF_INIT, .e = e ? e : &local};
    uint64_t cpu_us = clock_cpu_us();
    int r = begin(&m);
    r = r < 0 ? r : map_splits(&m);
    r = r < 0 ? r : finish(&m);
    release(&m);
    counters_add(&result->counters, COUNTER_CPU_MS, (clock_cpu_us() - cpu_us) / 1000);
    return r;
}

/* ---- Sampling ---- */

enum { SAMPLE_PIECES = 64, SAMPLE_PIECE_BYTES = 64 * 1024 };

/* What input_begin() is to begin with, into context->keys. */
static int sample_records(struct map_run *m)
{
    struct input_batch batch;
    int r;
    while ((r = input_next(m->input, &batch, m->e)) == 0 && batch.count > 0) {
        if (m->task->job->native) {
            context_map(&m->context, batch.records, batch.count);
        } else {
            map_identity(m, batch.records, batch.count);
        }
        if (m->context.failed < 0) {
            return m->context.failed;
        }
    }
    return r;
}

/* One piece of the whole input, counted over all splits: emits into context->keys. Pieces are
 * `step` bytes apart. Those of a compressed file are one at its beginning, as long as all of them.
 */
static int sample_piece(struct map_run *m, uint64_t at, uint64_t step)
{
    const struct task_split *split = m->task->splits;
    struct source *text = NULL;
    while (at >= split->length) {
        at -= split->length;
        split++;
    }
    int r = open_text(m, split, &text);
    if (text && at < step) {
        uint64_t pieces = (split->length - at - 1) / step + 1;
        input_begin(m->input, text, 0, pieces * SAMPLE_PIECE_BYTES);
        r = sample_records(m);
    } else if (r == 0 && !text) {
        uint64_t length = MIN(split->length - at, (uint64_t)SAMPLE_PIECE_BYTES);
        input_begin(m->input, split->source, split->start + at, length);
        r = sample_records(m);
    }
    source_free(text);
    return r;
}

static int choose_boundaries(struct job *job, const struct buf *encoded, struct err *e)
{
    size_t count = 0;
    struct mr_span *keys = calloc(MR_SAMPLE_KEYS_MAX, sizeof(*keys));
    const uint8_t *at = (const uint8_t *)encoded->data;
    const uint8_t *end = at + encoded->length;
    while (keys && at < end && count < MR_SAMPLE_KEYS_MAX) {
        struct mr_record record;
        at = record_get(at, &record);
        keys[count++] = record.key;
    }
    struct buf text = BUF_INIT;
    partition_choose(keys, count, job->reduces, &text);
    int r = settings_set(&job->settings, PARTITION_BOUNDARIES_SETTING, text.data, e);
    buf_deinit(&text);
    free(keys);
    return r;
}

int task_sample(struct job *job, const struct task_identity *identity,
                const struct task_split *splits, size_t split_count, struct err *e)
{
    struct task_result result;
    struct buf keys = BUF_INIT;
    struct map_task task = {
        .job = job, .identity = identity, .splits = splits, .split_count = split_count};
    struct map_run m = {.task = &task, .result = &result, .coded = BUF_INIT, .e = e};
    if (job->map_command) {
        return err_set(e, ERR_INVALID,
                       "a total order needs a map function or boundaries in the "
                       "setting " PARTITION_BOUNDARIES_SETTING);
    }
    task_result_init(&result);
    for (size_t i = 0; i < split_count; i++) {
        m.total += splits[i].length;
    }
    context_init(&m.context, job, NULL, &result.counters, e);
    m.context.keys = &keys;
    context_set_target(&m.context, CONTEXT_KEYS);
    struct input_options options = {job->input, job->record_bytes, job->record_bytes_max, false};
    m.input = input_new(&options);
    int r = context_setup(&m.context);
    uint64_t pieces = MIN(m.total / SAMPLE_PIECE_BYTES + 1, (uint64_t)SAMPLE_PIECES);
    for (uint64_t i = 0; i < pieces && m.total > 0 && r == 0; i++) {
        r = sample_piece(&m, m.total / pieces * i, m.total / pieces);
    }
    context_cleanup(&m.context);
    r = r < 0 ? r : choose_boundaries(job, &keys, e);
    input_free(m.input);
    buf_deinit(&m.coded);
    buf_deinit(&keys);
    task_result_deinit(&result);
    return r;
}
