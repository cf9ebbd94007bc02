/* See sample.h. Files are opened when a piece of them is read: there may be thousands. */
#include "mapreduce/mr/sample.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "common/macros.h"
#include "mapreduce/engine/task.h"
#include "mapreduce/master_store.h"
#include "mapreduce/task_io.h"

enum { BYTES_PER_REDUCE = 8 * 1024 * 1024 }; /* fewer are not worth a task */

struct late_source {
    struct source base;
    struct dfs *dfs;
    const struct input_split *split;
    struct source *file; /* NULL before the first read */
};

static int64_t late_read(struct source *s, uint64_t offset, void *data, size_t length,
                         struct err *e)
{
    struct late_source *l = CONTAINER_OF(s, struct late_source, base);
    int r = l->file ? 0 : task_source_open(l->dfs, l->split, &l->file, e);
    return r < 0 ? r : l->file->read(l->file, offset, data, length, e);
}

struct pieces {
    struct late_source *sources;
    struct task_split *splits;
    size_t count;
};

static void pieces_make(struct pieces *p, const struct job_plan *plan, struct dfs *dfs)
{
    size_t total = 0;
    for (uint32_t i = 0; i < plan->map_count; i++) {
        total += plan->maps[i].split_count;
    }
    p->sources = xcalloc(total + 1, sizeof(*p->sources));
    p->splits = xcalloc(total + 1, sizeof(*p->splits));
    for (uint32_t i = 0; i < plan->map_count; i++) {
        for (size_t s = 0; s < plan->maps[i].split_count; s++) {
            const struct input_split *split = &plan->maps[i].splits[s];
            struct late_source *source = &p->sources[p->count];
            source->base = (struct source){
                .name = split->path, .length = split->file_length, .read = late_read};
            source->dfs = dfs;
            source->split = split;
            p->splits[p->count++] =
                (struct task_split){&source->base, split->offset, split->length};
        }
    }
}

static void pieces_deinit(struct pieces *p)
{
    for (size_t i = 0; i < p->count; i++) {
        source_free(p->sources[i].file);
    }
    free(p->sources);
    free(p->splits);
}

int sample_boundaries(struct job *job, struct dfs *dfs, const struct job_spec *spec, uint32_t slots,
                      struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct job_plan plan = {NULL, 0, 0};
    struct pieces pieces = {NULL, NULL, 0};
    struct task_identity identity = {.task_id = "task_sample", .attempt_id = "attempt_sample"};
    int r = store_plan(dfs, spec, slots, &arena, &plan, e);
    if (r == 0 && job->reduces == 0) {
        uint64_t by_size = plan.bytes / BYTES_PER_REDUCE + 1;
        job->reduces = (uint32_t)MIN(by_size, (uint64_t)MAX(slots, 1U));
    }
    if (r == 0 && job_wants_boundaries(job)) {
        pieces_make(&pieces, &plan, dfs);
        r = task_sample(job, &identity, pieces.splits, pieces.count, e);
        r = r < 0 ? err_wrap(e, r, "sampling the input") : 0;
    }
    pieces_deinit(&pieces);
    arena_deinit(&arena);
    return r;
}
