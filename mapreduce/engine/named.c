/* See named.h. */
#include "mapreduce/engine/named.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

#define COUNTER_GROUP "Named Outputs"

void named_init(struct named_outputs *n, const struct job *job, const struct task_sinks *sinks,
                struct err *e)
{
    *n = (struct named_outputs){.job = job, .sinks = sinks, .e = e};
    n->count = job_output_count(job);
    n->items = xcalloc(n->count + 1, sizeof(*n->items));
    for (size_t i = 0; i < n->count; i++) {
        n->items[i].name = job->native->outputs[i];
    }
}

void named_deinit(struct named_outputs *n)
{
    for (size_t i = 0; i < n->count; i++) {
        output_deinit(&n->items[i].output);
    }
    free(n->items);
    *n = (struct named_outputs){.count = 0};
}

static struct named_output *find(struct named_outputs *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++) {
        if (strcmp(n->items[i].name, name) == 0) {
            return &n->items[i];
        }
    }
    return NULL;
}

static int open_output(struct named_outputs *n, struct named_output *named)
{
    struct sink *sink = NULL;
    if (!n->sinks) {
        return err_set(n->e, ERR_INTERNAL, "no place for the output %s", named->name);
    }
    int r = n->sinks->make(n->sinks->arg, named->name, &sink, n->e);
    if (r == 0) {
        output_init(&named->output, n->job, sink, n->e);
        named->open = true;
    }
    return r;
}

void named_record(struct named_outputs *n, const char *name, struct mr_span key,
                  struct mr_span value)
{
    if (n->error < 0) {
        return;
    }
    struct named_output *named = find(n, name);
    if (!named) {
        n->error =
            err_set(n->e, ERR_TASK,
                    "mr_emit_to(): the job declares no output '%.100s' (mr_job.outputs)", name);
        return;
    }
    n->error = named->open ? 0 : open_output(n, named);
    if (n->error == 0) {
        output_record(&named->output, key, value);
    }
}

int named_error(struct named_outputs *n)
{
    for (size_t i = 0; i < n->count && n->error == 0; i++) {
        n->error = n->items[i].output.error;
    }
    return n->error;
}

int named_finish(struct named_outputs *n, struct counters *counters)
{
    int r = named_error(n);
    for (size_t i = 0; i < n->count && r == 0; i++) {
        struct named_output *named = &n->items[i];
        if (!named->open) {
            continue;
        }
        r = output_finish(&named->output);
        counters_add(counters, COUNTER_BYTES_WRITTEN, named->output.bytes);
        counters_add_named(counters, (struct span){COUNTER_GROUP, strlen(COUNTER_GROUP)},
                           (struct span){named->name, strlen(named->name)},
                           (int64_t)named->output.records);
    }
    return r;
}
