/* Passes: while there are too many runs, the cheapest row of neighbours is merged, of just the
 * length that the last pass can be full; so records are read once more only where that is needed,
 * and equal keys keep their order, which merging anything but neighbours would lose. */
#include "mapreduce/engine/runset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/macros.h"

void runset_init(struct runset *s, const char *directory, const char *name, uint32_t partitions,
                 struct region *memory)
{
    *s = (struct runset){
        .directory = directory, .name = name, .partitions = partitions, .memory = memory};
}

static void run_release(struct runset_run *run)
{
    if (run->temp_path) {
        source_free(run->source);
        (void)unlink(run->temp_path);
        free(run->temp_path);
    }
    run_index_deinit(&run->index);
}

void runset_deinit(struct runset *s)
{
    for (size_t i = 0; i < s->count; i++) {
        run_release(&s->runs[i]);
    }
    free(s->runs);
    *s = (struct runset){0};
}

static void append(struct runset *s, struct runset_run run)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 16;
        s->runs = xreallocarray(s->runs, s->capacity, sizeof(*s->runs));
    }
    s->runs[s->count++] = run;
}

void runset_take_run(struct runset *s, struct source *source, struct run_index *index)
{
    CHECK(index->count == s->partitions);
    append(s, (struct runset_run){source, *index, NULL});
    *index = (struct run_index){NULL, 0};
}

int runset_make_file(struct runset *s, char **ret_path, struct sink **ret_sink, struct err *e)
{
    char *path = xprintf("%s/%s.run%" PRIu32, s->directory, s->name, s->files_made++);
    int r = sink_create_file(path, ret_sink, e);
    if (r < 0) {
        free(path);
        return r;
    }
    *ret_path = path;
    return 0;
}

int runset_keep_file(struct runset *s, char *path, struct run_index *index, struct err *e)
{
    struct source *source = NULL;
    int r = source_open_file(path, &source, e);
    if (r < 0) {
        (void)unlink(path);
        free(path);
        run_index_deinit(index);
        return r;
    }
    append(s, (struct runset_run){source, *index, path});
    *index = (struct run_index){NULL, 0};
    return 0;
}

/* Adds the segments of a partition of runs[first, first + count). */
static void merge_segments(const struct runset *s, size_t first, size_t count, uint32_t partition,
                           struct merge *m)
{
    merge_begin(m);
    for (size_t i = first; i < first + count; i++) {
        const struct run_segment *segment = &s->runs[i].index.segments[partition];
        if (segment->length > 0) {
            merge_add(m, s->runs[i].source, segment->offset, segment->length);
        }
    }
}

void runset_merge(const struct runset *s, uint32_t partition, struct merge *m)
{
    merge_segments(s, 0, s->count, partition, m);
}

/* Merges runs[first, first + count) into a new file. */
static int write_merged(struct runset *s, size_t first, size_t count, struct merge *m,
                        struct run_writer *w, struct err *e)
{
    for (uint32_t p = 0; p < s->partitions; p++) {
        struct mr_record record;
        merge_segments(s, first, count, p, m);
        int r;
        while ((r = merge_next(m, &record, e)) > 0) {
            r = run_writer_add(w, record.key, record.value, e);
            if (r < 0) {
                return r;
            }
        }
        r = r < 0 ? r : run_writer_end_segment(w, e);
        if (r < 0) {
            return r;
        }
        s->records_merged += m->records;
    }
    return 0;
}

/* Replaces runs[first, first + count) by one run. */
static int merge_neighbours(struct runset *s, size_t first, size_t count, struct merge *m,
                            struct err *e)
{
    char *path = NULL;
    struct sink *sink = NULL;
    struct run_index index = {NULL, 0};
    struct run_writer w = {0};
    int r = runset_make_file(s, &path, &sink, e);
    if (r < 0) {
        return r;
    }
    run_writer_init(&w, sink, s->memory, s->partitions, s->compress);
    r = write_merged(s, first, count, m, &w, e);
    r = r < 0 ? r : run_writer_finish(&w, &index, e);
    run_writer_deinit(&w);
    sink_free(sink);
    if (r < 0) {
        (void)unlink(path);
        free(path);
        return r;
    }
    r = runset_keep_file(s, path, &index, e);
    if (r < 0) {
        return r;
    }
    struct runset_run merged = s->runs[--s->count];
    for (size_t i = first; i < first + count; i++) {
        run_release(&s->runs[i]);
    }
    s->runs[first] = merged;
    memmove(&s->runs[first + 1], &s->runs[first + count],
            (s->count - first - count) * sizeof(*s->runs));
    s->count -= count - 1;
    return 0;
}

static uint64_t run_bytes(const struct runset_run *run)
{
    const struct run_segment *last = &run->index.segments[run->index.count - 1];
    return last->offset + last->length - run->index.segments[0].offset;
}

static size_t cheapest_row(const struct runset *s, size_t count)
{
    size_t best = 0;
    uint64_t best_bytes = UINT64_MAX;
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->count; i++) {
        bytes += run_bytes(&s->runs[i]);
        if (i + 1 >= count) {
            size_t first = i + 1 - count;
            if (bytes < best_bytes) {
                best_bytes = bytes;
                best = first;
            }
            bytes -= run_bytes(&s->runs[first]);
        }
    }
    return best;
}

int runset_shrink(struct runset *s, size_t count_max, struct err *e)
{
    CHECK(count_max >= 2);
    CHECK(count_max <= MR_FAN_IN_MAX);
    struct merge m;
    merge_init(&m);
    m.alive = s->alive;
    m.alive_arg = s->alive_arg;
    int r = 0;
    while (s->count > count_max && r == 0) {
        size_t count = MIN(count_max, s->count - count_max + 1);
        r = merge_neighbours(s, cheapest_row(s, count), count, &m, e);
    }
    merge_deinit(&m);
    return r;
}
