/* The way of a record: emit -> [table -> combine ->] sort buffer -> [sort -> program ->] run ->
 * merge
 * [-> combine] -> map output file. Without spills the sort buffer is written to the final file at
 * once, so small tasks touch each byte once. See collector.h. */
#include "mapreduce/engine/collector.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"

enum {
    COMBINE_RUNS_MIN = 3, /* runs from which on a merge combines once more; as in Hadoop */
    PREFETCH_AHEAD = 16,  /* entries: the records that a sorted walk meets lie anywhere */
    NUMBERS_BATCH = 256,
};

struct collector {
    struct collector_options options;
    uint32_t partitions;
    struct recbuf records;  /* waiting to be sorted */
    struct recbuf combined; /* what a combiner program made of a sorted buffer */
    struct table table;     /* in use if table.aggregate or combiner.combine is set */
    bool use_table;
    struct runset spills;
    struct region window; /* of the run writer */
    struct err error;     /* the first; code 0 while all is well */

    struct mr_span combine_key;        /* whose values a function combines just now */
    struct run_writer *combine_writer; /* where to, if not to `records` */
    uint32_t combine_partition;        /* that a program combines just now */

    uint64_t emitted_records;
    uint64_t emitted_bytes;
    uint64_t combine_input;
    uint64_t combine_output;
    uint64_t spilled;
};

struct collector *collector_new(const struct collector_options *options)
{
    struct collector *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->partitions = options->partitioner->reduces;
    c->use_table = options->aggregate != MR_AGGREGATE_NONE || options->combiner.combine;
    size_t share =
        c->use_table || options->combiner.feed ? options->memory_bytes / 2 : options->memory_bytes;
    recbuf_init(&c->records, share, c->partitions);
    if (c->use_table) {
        table_init(&c->table, options->aggregate, share);
    } else if (options->combiner.feed) {
        recbuf_init(&c->combined, share, c->partitions);
    }
    runset_init(&c->spills, options->directory, options->name, c->partitions, &c->window);
    c->spills.compress = options->compress;
    c->spills.alive = options->alive;
    c->spills.alive_arg = options->alive_arg;
    return c;
}

void collector_free(struct collector *c)
{
    if (!c) {
        return;
    }
    recbuf_deinit(&c->records);
    recbuf_deinit(&c->combined);
    table_deinit(&c->table);
    runset_deinit(&c->spills);
    region_deinit(&c->window);
    free(c);
}

int collector_error(const struct collector *c, struct err *e)
{
    return c->error.code < 0 ? err_set(e, c->error.code, "%s", c->error.msg) : 0;
}

/* ---- Writing runs ---- */

/* Writes a sorted buffer as one run, all partitions. */
static int write_sorted(struct collector *c, const struct recbuf *b, struct run_writer *w,
                        struct err *e)
{
    for (uint32_t p = 0; p < c->partitions; p++) {
        for (uint32_t i = b->starts[p]; i < b->starts[p + 1]; i++) {
            if (i + PREFETCH_AHEAD < b->count) {
                __builtin_prefetch(b->region.data + b->sorted[i + PREFETCH_AHEAD].offset);
            }
            const uint8_t *record;
            size_t length = recbuf_record(b, &b->sorted[i], &record);
            int r = run_writer_add_encoded(w, record, length, e);
            if (r < 0) {
                return r;
            }
        }
        int r = run_writer_end_segment(w, e);
        if (r < 0) {
            return r;
        }
    }
    c->spilled += b->count;
    return 0;
}

/* Fills a file with a run: by write_sorted() or merge_all(). */
typedef int (*fill_fn)(struct collector *c, const void *arg, struct run_writer *w, struct err *e);

static int write_file(struct collector *c, struct sink *sink, fill_fn fill, const void *arg,
                      struct run_index *ret_index)
{
    struct run_writer w;
    run_writer_init(&w, sink, &c->window, c->partitions, c->options.compress);
    int r = fill(c, arg, &w, &c->error);
    r = r < 0 ? r : run_writer_finish(&w, ret_index, &c->error);
    run_writer_deinit(&w);
    c->error.code = r;
    if (c->options.alive) { /* sorting and a slow disk take their time, too */
        c->options.alive(c->options.alive_arg);
    }
    return r;
}

static int spill_file(struct collector *c, fill_fn fill, const void *arg)
{
    char *path = NULL;
    struct sink *sink = NULL;
    struct run_index index = {NULL, 0};
    int r = runset_make_file(&c->spills, &path, &sink, &c->error);
    if (r < 0) {
        c->error.code = r;
        return r;
    }
    r = write_file(c, sink, fill, arg, &index);
    sink_free(sink);
    if (r < 0) {
        (void)unlink(path);
        free(path);
        return r;
    }
    r = runset_keep_file(&c->spills, path, &index, &c->error);
    c->error.code = r;
    return r;
}

static int fill_from_recbuf(struct collector *c, const void *arg, struct run_writer *w,
                            struct err *e)
{
    return write_sorted(c, arg, w, e);
}

struct large_record {
    uint32_t partition;
    struct mr_span key;
    struct mr_span value;
};

static int fill_large(struct collector *c, const void *arg, struct run_writer *w, struct err *e)
{
    const struct large_record *large = arg;
    for (uint32_t p = 0; p < c->partitions; p++) {
        int r = p == large->partition ? run_writer_add(w, large->key, large->value, e) : 0;
        r = r < 0 ? r : run_writer_end_segment(w, e);
        if (r < 0) {
            return r;
        }
    }
    c->spilled++;
    return 0;
}

/* ---- A combiner program between sorting and writing ---- */

static int spill_recbuf(struct collector *c, struct recbuf *b)
{
    recbuf_sort(b);
    int r = spill_file(c, fill_from_recbuf, b);
    recbuf_clear(b);
    return r;
}

/* Pipes the sorted buffer through the program; c->combined gets what it prints. */
static int feed_program(struct collector *c, const struct recbuf *b)
{
    const struct combiner *combiner = &c->options.combiner;
    for (uint32_t p = 0; p < c->partitions; p++) {
        if (b->starts[p] == b->starts[p + 1]) {
            continue;
        }
        c->combine_partition = p;
        int r = 0;
        for (uint32_t i = b->starts[p]; i < b->starts[p + 1] && r == 0; i++) {
            struct mr_record record;
            (void)record_get(b->region.data + b->sorted[i].offset, &record);
            r = combiner->feed(combiner->arg, &record, &c->error);
        }
        r = r < 0 ? r : combiner->feed(combiner->arg, NULL, &c->error);
        if (r < 0 || c->error.code < 0) {
            c->error.code = r < 0 ? r : c->error.code;
            return c->error.code;
        }
    }
    c->combine_input += b->count;
    return 0;
}

/* Empties c->records, through the program if there is one. What is left is in the buffer returned,
 * sorted: it was not written yet. NULL: error. */
static struct recbuf *sort_and_combine(struct collector *c)
{
    recbuf_sort(&c->records);
    if (!c->options.combiner.feed || c->records.count == 0) {
        return &c->records;
    }
    if (feed_program(c, &c->records) < 0) {
        return NULL;
    }
    recbuf_clear(&c->records);
    recbuf_sort(&c->combined);
    return &c->combined;
}

static int spill(struct collector *c)
{
    struct recbuf *sorted = sort_and_combine(c);
    if (!sorted) {
        return c->error.code;
    }
    int r = spill_file(c, fill_from_recbuf, sorted);
    recbuf_clear(sorted);
    return r;
}

/* ---- Records into the sort buffer ---- */

static void fail(struct collector *c, int code, const char *text)
{
    if (c->error.code == 0) {
        (void)err_set(&c->error, code, "%s", text);
    }
}

/* The record does not fit: spills, and gives one that is larger than all of the buffer its own run.
 */
static void add_to_full(struct collector *c, struct recbuf *b, uint32_t partition,
                        struct mr_record record)
{
    if (record.key.length > MR_RECORD_BYTES_MAX ||
        record.value.length > MR_RECORD_BYTES_MAX - record.key.length) {
        (void)err_set(&c->error, ERR_TOO_LARGE,
                      "a record of %zu + %zu bytes was emitted, at most %d are possible",
                      record.key.length, record.value.length, MR_RECORD_BYTES_MAX);
        return;
    }
    int r = b->count == 0 ? 0 : b == &c->records ? spill(c) : spill_recbuf(c, b);
    if (r < 0 || recbuf_add(b, partition, record.key, record.value)) {
        return;
    }
    struct large_record large = {partition, record.key, record.value};
    (void)spill_file(c, fill_large, &large);
}

static inline void add_record(struct collector *c, struct mr_span key, struct mr_span value)
{
    uint32_t partition = partition_of(c->options.partitioner, key);
    if (partition >= c->partitions) {
        fail(c, ERR_INVALID, "partition() gave a number that is not below the number of reduces");
        return;
    }
    if (__builtin_expect(!recbuf_add(&c->records, partition, key, value), 0)) {
        add_to_full(c, &c->records, partition, (struct mr_record){key, value});
    }
}

/* ---- The table ---- */

static void combine_slot(struct collector *c, const struct table_slot *slot)
{
    struct mr_span key = table_key(&c->table, slot);
    if (c->options.aggregate != MR_AGGREGATE_NONE) {
        uint64_t number = htole64((uint64_t)slot->number);
        c->combine_output++;
        add_record(c, key, mr_bytes(&number, sizeof(number)));
        return;
    }
    struct table_values values;
    table_values_init(&values, &c->table, slot);
    c->combine_key = key;
    int r = c->options.combiner.combine(c->options.combiner.arg, key, &values.values, &c->error);
    if (r < 0) {
        c->error.code = r;
    }
}

/* Moves the table's keys, combined, to the sort buffer. */
static void drain_table(struct collector *c)
{
    const struct table_slot *slot;
    size_t at = 0;
    while (c->error.code == 0 && table_next(&c->table, &at, &slot)) {
        combine_slot(c, slot);
    }
    table_clear(&c->table);
}

static void add_numbers(struct collector *c, const struct mr_span *keys, size_t count,
                        const int64_t *values, size_t step)
{
    c->combine_input += count;
    size_t done = 0;
    while (done < count && c->error.code == 0) {
        done += table_add_numbers(&c->table, keys + done, count - done, values + done * step, step);
        if (done == count) {
            return;
        }
        if (c->table.count == 0) { /* a key that is larger than the table */
            uint64_t number = htole64((uint64_t)values[done * step]);
            add_record(c, keys[done], mr_bytes(&number, sizeof(number)));
            done++;
        } else {
            drain_table(c);
        }
    }
}

static void add_value(struct collector *c, struct mr_span key, struct mr_span value)
{
    c->combine_input++;
    if (table_add_value(&c->table, key, value)) {
        return;
    }
    drain_table(c);
    if (c->error.code == 0 && !table_add_value(&c->table, key, value)) {
        add_record(c, key, value);
    }
}

/* ---- Emitting ---- */

static void emit_numbers(struct collector *c, const struct mr_record *records, size_t count)
{
    struct mr_span keys[NUMBERS_BATCH];
    int64_t values[NUMBERS_BATCH];
    for (size_t done = 0; done < count && c->error.code == 0;) {
        size_t batch = MIN(count - done, (size_t)NUMBERS_BATCH);
        for (size_t i = 0; i < batch; i++) {
            if (records[done + i].value.length != sizeof(int64_t)) {
                fail(c, ERR_INVALID, "a job with an aggregate emits values of 8 bytes only");
                return;
            }
            keys[i] = records[done + i].key;
            values[i] = mr_get_i64(records[done + i].value);
        }
        add_numbers(c, keys, batch, values, 1);
        done += batch;
    }
}

void collector_emit_batch(struct collector *c, const struct mr_record *records, size_t count)
{
    c->emitted_records += count;
    for (size_t i = 0; i < count; i++) {
        c->emitted_bytes += records[i].key.length + records[i].value.length;
    }
    if (c->options.aggregate != MR_AGGREGATE_NONE) {
        emit_numbers(c, records, count);
        return;
    }
    for (size_t i = 0; i < count && c->error.code == 0; i++) {
        if (c->use_table) {
            add_value(c, records[i].key, records[i].value);
        } else {
            add_record(c, records[i].key, records[i].value);
        }
    }
}

void collector_emit(struct collector *c, struct mr_span key, struct mr_span value)
{
    struct mr_record record = {key, value};
    collector_emit_batch(c, &record, 1);
}

void collector_emit_keys_i64(struct collector *c, const struct mr_span *keys, size_t count,
                             int64_t value)
{
    c->emitted_records += count;
    for (size_t i = 0; i < count; i++) {
        c->emitted_bytes += keys[i].length + sizeof(value);
    }
    if (c->options.aggregate != MR_AGGREGATE_NONE) {
        add_numbers(c, keys, count, &value, 0);
        return;
    }
    uint64_t number = htole64((uint64_t)value);
    struct mr_span bytes = mr_bytes(&number, sizeof(number));
    for (size_t i = 0; i < count && c->error.code == 0; i++) {
        if (c->use_table) {
            add_value(c, keys[i], bytes);
        } else {
            add_record(c, keys[i], bytes);
        }
    }
}

void collector_emit_combined(struct collector *c, struct mr_span key, struct mr_span value)
{
    if (c->error.code < 0) {
        return;
    }
    c->combine_output++;
    if (c->options.combiner.feed) {
        if (!recbuf_add(&c->combined, c->combine_partition, key, value)) {
            add_to_full(c, &c->combined, c->combine_partition, (struct mr_record){key, value});
        }
        return;
    }
    if (!mr_equal(key, c->combine_key)) {
        fail(c, ERR_INVALID, "combine() emitted another key than the one that it was given");
    } else if (c->combine_writer) {
        c->error.code = run_writer_add(c->combine_writer, key, value, &c->error);
    } else {
        add_record(c, key, value);
    }
}

/* ---- The end ---- */

static int merge_plain(struct merge *m, struct run_writer *w, struct err *e)
{
    struct mr_record record;
    int r;
    while ((r = merge_next(m, &record, e)) > 0) {
        r = run_writer_add(w, record.key, record.value, e);
        if (r < 0) {
            return r;
        }
    }
    return r;
}

static int64_t aggregate_values(enum mr_aggregate kind, struct mr_values *values)
{
    struct mr_span value = mr_bytes(NULL, 0);
    (void)mr_values_next(values, &value); /* a key has at least one */
    int64_t result = mr_get_i64(value);
    while (mr_values_next(values, &value)) {
        int64_t number = mr_get_i64(value);
        switch (kind) {
        case MR_AGGREGATE_MIN:
            result = MIN(result, number);
            break;
        case MR_AGGREGATE_MAX:
            result = MAX(result, number);
            break;
        case MR_AGGREGATE_SUM:
        case MR_AGGREGATE_NONE:
            result = (int64_t)((uint64_t)result + (uint64_t)number);
            break;
        }
    }
    return result;
}

static int merge_combined(struct collector *c, struct merge *m, struct run_writer *w, struct err *e)
{
    struct group g;
    group_init(&g, m, e);
    c->combine_writer = w;
    int r;
    while ((r = group_next(&g, &c->combine_key)) > 0) {
        if (c->options.aggregate != MR_AGGREGATE_NONE) {
            int64_t sum = aggregate_values(c->options.aggregate, &g.values);
            uint64_t number = htole64((uint64_t)sum);
            c->combine_output++;
            r = run_writer_add(w, c->combine_key, mr_bytes(&number, sizeof(number)), e);
        } else {
            r = c->options.combiner.combine(c->options.combiner.arg, c->combine_key, &g.values, e);
            r = r < 0 ? r : c->error.code;
        }
        if (r < 0) {
            break;
        }
    }
    c->combine_writer = NULL;
    c->combine_input += m->records;
    group_deinit(&g);
    return r;
}

/* Merges all spills into the final file, partition by partition. */
static int fill_merged(struct collector *c, const void *arg, struct run_writer *w, struct err *e)
{
    bool combine = *(const bool *)arg;
    struct merge m;
    merge_init(&m);
    m.alive = c->options.alive;
    m.alive_arg = c->options.alive_arg;
    int r = 0;
    for (uint32_t p = 0; p < c->partitions && r == 0; p++) {
        runset_merge(&c->spills, p, &m);
        r = combine ? merge_combined(c, &m, w, e) : merge_plain(&m, w, e);
        c->spilled += w->segment.records;
        r = r < 0 ? r : run_writer_end_segment(w, e);
    }
    merge_deinit(&m);
    return r;
}

static int write_output(struct collector *c, struct sink *sink, struct run_index *ret_index)
{
    if (c->use_table) {
        drain_table(c);
    }
    struct recbuf *sorted = c->error.code < 0 ? NULL : sort_and_combine(c);
    if (!sorted) {
        return c->error.code;
    }
    if (c->spills.count == 0) { /* a program's output may have made some just now */
        return write_file(c, sink, fill_from_recbuf, sorted, ret_index);
    }
    int r = sorted->count > 0 ? spill_file(c, fill_from_recbuf, sorted) : 0;
    bool combine = c->use_table && c->spills.count >= COMBINE_RUNS_MIN;
    r = r < 0 ? r : runset_shrink(&c->spills, MR_FAN_IN_MAX, &c->error);
    if (r < 0) {
        c->error.code = r;
        return r;
    }
    c->spilled += c->spills.records_merged;
    return write_file(c, sink, fill_merged, &combine, ret_index);
}

int collector_finish(struct collector *c, const char *path, struct counters *counters,
                     struct run_index *ret_index, struct err *e)
{
    struct sink *sink = NULL;
    int r = collector_error(c, e);
    r = r < 0 ? r : sink_create_file(path, &sink, e);
    if (r < 0) {
        return r;
    }
    (void)write_output(c, sink, ret_index); /* c remembers its error */
    sink_free(sink);
    r = collector_error(c, e);
    if (r < 0) {
        (void)unlink(path);
        return r;
    }
    uint64_t stored = 0;
    for (uint32_t i = 0; i < ret_index->count; i++) {
        stored += ret_index->segments[i].length;
    }
    counters_add(counters, COUNTER_MAP_OUTPUT_RECORDS, c->emitted_records);
    counters_add(counters, COUNTER_MAP_OUTPUT_BYTES, c->emitted_bytes);
    counters_add(counters, COUNTER_MAP_MATERIALIZED_BYTES, stored);
    counters_add(counters, COUNTER_COMBINE_INPUT_RECORDS, c->combine_input);
    counters_add(counters, COUNTER_COMBINE_OUTPUT_RECORDS, c->combine_output);
    counters_add(counters, COUNTER_SPILLED_RECORDS, c->spilled);
    return 0;
}
