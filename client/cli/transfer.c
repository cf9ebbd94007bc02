/* See transfer.h. What the workers share is the command's lock; everything else of a file belongs
 * to the one who copies it. */
#include "client/cli/transfer.h"

#include <stdlib.h>
#include <string.h>

#include "client/cli/options.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/macros.h"

enum { WAIT_MS = 1000 }; /* between two looks, should nobody wake us */

struct late {
    char *path;
    struct preserved preserved;
    transfer_apply_fn apply;
};

struct transfer {
    struct cli *cli;
    transfer_copy_fn copy;
    struct workpool *pool;                   /* NULL until there is a second file */
    size_t waiting;                          /* under the lock */
    char *buffers[TRANSFER_THREADS_MAX + 1]; /* spare ones, under the lock */
    size_t buffer_count;
    struct late *late;
    size_t late_count;
};

struct transfer *transfer_new(struct cli *cli, transfer_copy_fn copy)
{
    struct transfer *t = xcalloc(1, sizeof(*t));
    t->cli = cli;
    t->copy = copy;
    cli_catch_signals();
    cli_progress_begin(cli, cli->command->name);
    return t;
}

/* ---- Files ---------------------------------------------------------------------------------- */

static char *borrow_buffer(struct transfer *t)
{
    char *buffer = NULL;
    sync_enter(&t->cli->lock);
    if (t->buffer_count > 0) {
        buffer = t->buffers[--t->buffer_count];
    }
    sync_leave(&t->cli->lock);
    return buffer ? buffer : xmalloc(TRANSFER_BUFFER_BYTES);
}

static void copy_item(struct transfer *t, struct transfer_item *item)
{
    char *buffer = borrow_buffer(t);
    if (!cli_interrupted()) {
        t->copy(t->cli, item, buffer);
    }
    sync_enter(&t->cli->lock);
    CHECK(t->buffer_count < ARRAY_COUNT(t->buffers));
    t->buffers[t->buffer_count++] = buffer;
    sync_leave(&t->cli->lock);
    free(item->source);
    free(item->target);
    free(item);
}

static void copy_on_worker(struct job *job)
{
    struct transfer_item *item = CONTAINER_OF(job, struct transfer_item, job);
    struct transfer *t = item->transfer;
    copy_item(t, item);
    sync_enter(&t->cli->lock);
    t->waiting--;
    sync_wake(&t->cli->lock);
    sync_leave(&t->cli->lock);
}

/* Until at most so many are not done. */
static void wait_for(struct transfer *t, size_t most)
{
    sync_enter(&t->cli->lock);
    while (t->waiting > most) {
        sync_wait(&t->cli->lock, clock_mono_ms() + WAIT_MS);
    }
    sync_leave(&t->cli->lock);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it owns both names now */
void transfer_take_file(struct transfer *t, char *source, char *target)
{
    struct transfer_item *item = xcalloc(1, sizeof(*item));
    *item = (struct transfer_item){
        .source = source, .target = target, .job.run = copy_on_worker, .transfer = t};
    if (!t->pool) {
        t->pool = workpool_new("copy", (size_t)t->cli->options.threads, TRANSFER_WAITING_MAX);
    }
    wait_for(t, TRANSFER_WAITING_MAX - 1);
    sync_enter(&t->cli->lock);
    t->waiting++;
    sync_leave(&t->cli->lock);
    /* The bound is ours: a file that is done may still count in the pool for a moment. */
    workpool_submit_reserved(t->pool, NULL, &item->job, NULL);
}

void transfer_stdio(struct transfer *t, const char *source, const char *target)
{
    struct transfer_item *item = xcalloc(1, sizeof(*item));
    wait_for(t, 0);
    *item = (struct transfer_item){
        .source = xstrdup(source), .target = xstrdup(target), .at_stdio = true, .transfer = t};
    copy_item(t, item);
}

/* ---- The end -------------------------------------------------------------------------------- */

void transfer_late(struct transfer *t, const char *path, const struct preserved *p,
                   transfer_apply_fn apply)
{
    t->late = xreallocarray(t->late, t->late_count + 1, sizeof(*t->late));
    t->late[t->late_count++] = (struct late){xstrdup(path), *p, apply};
}

int transfer_finish(struct transfer *t, bool silent)
{
    struct cli *cli = t->cli;
    wait_for(t, 0);
    workpool_free(t->pool);
    while (t->late_count > 0) { /* what is inside before what it is in */
        struct late *late = &t->late[--t->late_count];
        if (!cli_interrupted()) {
            late->apply(cli, late->path, &late->preserved);
        }
        free(late->path);
    }
    while (t->buffer_count > 0) {
        free(t->buffers[--t->buffer_count]);
    }
    free(t->late);
    free(t);
    cli_progress_end(cli, silent);
    return cli_interrupted() ? CLI_INTERRUPTED : cli->status;
}
