/* One constant table of host functions per target of mr_emit(), so that emitting needs no decision.
 */
#include "mapreduce/engine/context.h"

#include <endian.h>
#include <string.h>

#include "common/macros.h"
#include "mapreduce/engine/skip.h"
#include "mapreduce/engine/words.h"

enum { ALIVE_RECORDS = 8 };

static struct context *context_of(struct mr_ctx *ctx)
{
    return CONTAINER_OF(ctx, struct context, ctx);
}

/* ---- Emitting ---- */

static void collect(struct mr_ctx *ctx, struct mr_span key, struct mr_span value)
{
    collector_emit(context_of(ctx)->collector, key, value);
}

static void collect_batch(struct mr_ctx *ctx, const struct mr_record *records, size_t count)
{
    collector_emit_batch(context_of(ctx)->collector, records, count);
}

static void collect_keys_i64(struct mr_ctx *ctx, const struct mr_span *keys, size_t count,
                             int64_t value)
{
    collector_emit_keys_i64(context_of(ctx)->collector, keys, count, value);
}

static void combined(struct mr_ctx *ctx, struct mr_span key, struct mr_span value)
{
    collector_emit_combined(context_of(ctx)->collector, key, value);
}

static void write_record(struct mr_ctx *ctx, struct mr_span key, struct mr_span value)
{
    output_record(context_of(ctx)->output, key, value);
}

static void keep_key(struct mr_ctx *ctx, struct mr_span key, struct mr_span value)
{
    (void)value;
    struct buf *keys = context_of(ctx)->keys;
    buf_append_varint(keys, key.length);
    buf_append_varint(keys, 0);
    buf_append(keys, key.data, key.length);
}

static void drop(struct mr_ctx *ctx, struct mr_span key, struct mr_span value)
{
    (void)ctx;
    (void)key;
    (void)value;
}

/* For targets without a fast way of their own. */
static void each_record(struct mr_ctx *ctx, const struct mr_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ctx->host->emit(ctx, records[i].key, records[i].value);
    }
}

static void each_key_i64(struct mr_ctx *ctx, const struct mr_span *keys, size_t count,
                         int64_t value)
{
    uint64_t number = htole64((uint64_t)value);
    for (size_t i = 0; i < count; i++) {
        ctx->host->emit(ctx, keys[i], mr_bytes(&number, sizeof(number)));
    }
}

/* ---- Named outputs ---- */

static void write_named(struct mr_ctx *ctx, const char *name, struct mr_span key,
                        struct mr_span value)
{
    named_record(context_of(ctx)->named, name, key, value);
}

static void drop_named(struct mr_ctx *ctx, const char *name, struct mr_span key,
                       struct mr_span value)
{
    (void)ctx;
    (void)name;
    (void)key;
    (void)value;
}

static void fail(struct mr_ctx *ctx, const char *text);

/* What a map emits in a job with reduces travels to them: it has no output of its own. */
static void refuse_named(struct mr_ctx *ctx, const char *name, struct mr_span key,
                         struct mr_span value)
{
    (void)name;
    (void)key;
    (void)value;
    fail(ctx, "mr_emit_to(): only reduce, and map of a job without reduces, have outputs");
}

/* ---- The rest ---- */

static void counter_add(struct mr_ctx *ctx, const char *group, const char *name, int64_t amount)
{
    counters_add_named(context_of(ctx)->counters, (struct span){group, strlen(group)},
                       (struct span){name, strlen(name)}, amount);
}

static void status(struct mr_ctx *ctx, const char *text)
{
    const struct task_events *events = context_of(ctx)->events;
    if (events && events->status) {
        events->status(events->arg, text);
    }
}

static const char *config(struct mr_ctx *ctx, const char *name)
{
    return settings_get(&context_of(ctx)->job->settings, name);
}

static void fail(struct mr_ctx *ctx, const char *text)
{
    struct context *c = context_of(ctx);
    if (c->failed == 0) {
        c->failed = err_set(c->e, ERR_TASK, "%s", text);
    }
}

#define HOST(emit_fn, batch_fn, keys_fn, named_fn)                                                 \
    {                                                                                              \
        MR_ABI, sizeof(struct mr_host), emit_fn, batch_fn, keys_fn, counter_add, status, config,   \
            fail, words_split, named_fn                                                            \
    }

static const struct mr_host hosts[] = {
    [CONTEXT_NONE] = HOST(drop, each_record, each_key_i64, drop_named),
    [CONTEXT_COLLECTOR] = HOST(collect, collect_batch, collect_keys_i64, refuse_named),
    [CONTEXT_COMBINED] = HOST(combined, each_record, each_key_i64, refuse_named),
    [CONTEXT_OUTPUT] = HOST(write_record, each_record, each_key_i64, write_named),
    [CONTEXT_KEYS] = HOST(keep_key, each_record, each_key_i64, drop_named),
};

void context_init(struct context *c, const struct job *job, const struct task_events *events,
                  struct counters *counters, struct err *e)
{
    *c = (struct context){.job = job, .events = events, .counters = counters, .e = e};
    context_set_target(c, CONTEXT_NONE);
}

void context_set_target(struct context *c, enum context_target target)
{
    c->ctx.host = &hosts[target];
}

int context_setup(struct context *c)
{
    const struct mr_job *native = c->job->native;
    if (native && native->setup) {
        int r = native->setup(&c->ctx);
        if (r != 0 && c->failed == 0) {
            c->failed = err_set(c->e, ERR_TASK, "setup() returned %d", r);
        }
    }
    c->set_up = c->failed == 0;
    return c->failed;
}

void context_cleanup(struct context *c)
{
    if (c->set_up && c->job->native && c->job->native->cleanup) {
        c->job->native->cleanup(&c->ctx);
    }
    c->set_up = false;
}

int context_error(struct context *c)
{
    if (c->failed == 0 && c->collector) {
        c->failed = collector_error(c->collector, c->e);
    }
    if (c->failed == 0 && c->output) {
        c->failed = c->output->error;
    }
    if (c->failed == 0 && c->named) {
        c->failed = named_error(c->named);
    }
    return c->failed;
}

void context_map(struct context *c, const struct mr_record *records, size_t count)
{
    const struct mr_job *native = c->job->native;
    if (native->map_batch) {
        native->map_batch(&c->ctx, records, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        native->map(&c->ctx, records[i].key, records[i].value);
        if (i % ALIVE_RECORDS == ALIVE_RECORDS - 1) { /* a slow function is not a hung one */
            context_alive(c);
        }
    }
}

int context_combine(void *arg, struct mr_span key, struct mr_values *values, struct err *e)
{
    struct context *c = arg;
    const struct mr_host *before = c->ctx.host;          /* we may be within the user's mr_emit() */
    uint64_t record = c->skip ? skip_pause(c->skip) : 0; /* which is not to blame here */
    context_set_target(c, CONTEXT_COMBINED);
    c->job->native->combine(&c->ctx, key, values);
    c->ctx.host = before;
    if (c->skip && c->failed == 0) {
        skip_resume(c->skip, record);
    }
    if (++c->combined % ALIVE_RECORDS == 0) {
        context_alive(c);
    }
    return c->failed < 0 ? err_set(e, c->failed, "%s", err_message(c->e)) : 0;
}

int context_progress(struct context *c, uint64_t done, uint64_t total)
{
    if (!c->events || !c->events->progress) {
        return 0;
    }
    int r = c->events->progress(c->events->arg, done, total);
    return r < 0 ? err_set(c->e, r, "task ended from outside") : 0;
}
