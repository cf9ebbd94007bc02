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
#include "common/map.h"
#include "common/rng.h"

enum { WAIT_MS = 1000 }; /* between two looks, should nobody wake us */

struct late {
    char *path;
    struct preserved preserved;
    transfer_apply_fn apply;
};

struct transfer {
    struct cli *cli;
    transfer_copy_fn copy;
    struct transfer_item *first;             /* taken, and kept until there is a second one */
    struct workpool *pool;                   /* NULL until there is a second file */
    size_t waiting;                          /* under the lock */
    char *buffers[TRANSFER_THREADS_MAX + 1]; /* spare ones, under the lock */
    size_t buffer_count;
    struct late *late;
    size_t late_count;
    struct map names; /* targets, each its own value; owned */
    bool may_repeat;  /* else nobody looks them up, and none are kept */
    char *known_path; /* the target that was looked at; NULL: none was */
    int known_found;
    struct dfs_stat known;
};

struct transfer *transfer_new(struct cli *cli, transfer_copy_fn copy)
{
    struct transfer *t = xcalloc(1, sizeof(*t));
    t->cli = cli;
    t->copy = copy;
    map_init(&t->names, rng_entropy_u64()); /* others may have chosen them */
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
    if (item->from) {
        (void)dfs_close(item->from, NULL);
    }
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

static void hand_over(struct transfer *t, struct transfer_item *item)
{
    wait_for(t, TRANSFER_WAITING_MAX - 1);
    sync_enter(&t->cli->lock);
    t->waiting++;
    sync_leave(&t->cli->lock);
    /* The bound is ours: a file that is done may still count in the pool for a moment. */
    workpool_submit_reserved(t->pool, NULL, &item->job, NULL);
}

static void take(struct transfer *t, struct transfer_item *item)
{
    if (!t->pool && !t->first) {
        t->first = item;
        return;
    }
    if (!t->pool) {
        t->pool = workpool_new("copy", (size_t)t->cli->options.threads, TRANSFER_WAITING_MAX);
        hand_over(t, t->first);
        t->first = NULL;
    }
    hand_over(t, item);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it owns both names now */
void transfer_take_file(struct transfer *t, char *source, char *target, struct dfs_file *from)
{
    struct transfer_item *item = xcalloc(1, sizeof(*item));
    *item = (struct transfer_item){
        .source = source, .target = target, .from = from, .job.run = copy_on_worker, .transfer = t};
    take(t, item);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it owns both names now */
void transfer_take_kept(struct transfer *t, char *source, char *target)
{
    struct transfer_item *item = xcalloc(1, sizeof(*item));
    *item = (struct transfer_item){
        .source = source, .target = target, .kept = true, .job.run = copy_on_worker, .transfer = t};
    take(t, item);
}

/* All that were taken are done when it returns. */
static void finish_files(struct transfer *t)
{
    if (t->first) {
        copy_item(t, t->first);
        t->first = NULL;
    }
    wait_for(t, 0);
}

void transfer_stdio(struct transfer *t, const char *source, const char *target,
                    struct dfs_file *from)
{
    struct transfer_item *item = xcalloc(1, sizeof(*item));
    finish_files(t);
    *item = (struct transfer_item){.source = xstrdup(source),
                                   .target = xstrdup(target),
                                   .at_stdio = true,
                                   .from = from,
                                   .transfer = t};
    copy_item(t, item);
}

/* ---- Targets that two sources have ---------------------------------------------------------- */

static void forget_names(struct transfer *t)
{
    MAP_FOR_EACH(it, &t->names)
    {
        free(it.value);
    }
    map_clear(&t->names);
}

/* Whether it was there already. */
static bool note_name(struct transfer *t, const char *text)
{
    if (map_get_str(&t->names, text)) {
        return true;
    }
    char *name = xstrdup(text);
    (void)map_put_str(&t->names, name, name);
    return false;
}

/* Sources whose last components differ share no target, unless one of them is "." or the like and
 * brings what is in it. */
void transfer_expect(struct transfer *t, const struct cli_paths *sources)
{
    for (size_t i = 0; !t->may_repeat && sources->count > 1 && i < sources->count; i++) {
        char *name = cli_base_name(sources->items[i]);
        t->may_repeat = name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
                        note_name(t, name);
        free(name);
    }
    forget_names(t);
}

bool transfer_may_repeat(const struct transfer *t)
{
    return t->may_repeat;
}

bool transfer_repeats(struct transfer *t, const char *target)
{
    return t->may_repeat && note_name(t, target);
}

bool transfer_repeats_in_store(struct transfer *t, const char *target)
{
    char *absolute = NULL;
    if (!t->may_repeat || dfs_resolve_path(t->cli->dfs, target, &absolute, NULL) < 0) {
        return false; /* what is wrong with the name is said when it is used */
    }
    bool repeats = note_name(t, absolute);
    free(absolute);
    if (repeats) {
        finish_files(t);
    }
    return repeats;
}

/* ---- What is known of them ------------------------------------------------------------------ */

/* 1: open, 0: it is no file, or not ours to read; -1: it said what is wrong. */
static int open_file(struct cli *cli, const char *path, struct dfs_stat *ret_stat,
                     struct dfs_file **ret_file)
{
    struct dfs_err e = {0};
    int r = dfs_open(cli->dfs, path, ret_file, &e);
    r = r < 0 ? r : dfs_fstat(*ret_file, ret_stat, &e);
    if (r == 0) {
        return 1;
    }
    if (r == DFS_EIS_DIR || r == DFS_EPERMISSION) {
        return 0;
    }
    if (r == DFS_ENOT_FOUND || r == DFS_ENOT_DIR) {
        cli_not_found(cli, path);
    } else {
        cli_dfs_error(cli, path, &e);
    }
    return -1;
}

bool transfer_find(struct cli *cli, const char *path, bool only, struct dfs_stat *ret_stat,
                   struct dfs_file **ret_file)
{
    *ret_file = NULL;
    int r = only ? open_file(cli, path, ret_stat, ret_file) : 0;
    if (r != 0) {
        return r > 0;
    }
    r = cli_stat(cli, path, ret_stat);
    if (r == 0) {
        cli_not_found(cli, path);
    }
    return r > 0;
}

struct dfs_file *transfer_open(struct cli *cli, struct transfer_item *item,
                               struct dfs_stat *ret_stat)
{
    struct dfs_err e = {0};
    int r = item->from ? 0 : dfs_open(cli->dfs, item->source, &item->from, &e);
    r = r < 0 ? r : dfs_fstat(item->from, ret_stat, &e);
    if (r < 0) {
        cli_dfs_error(cli, item->source, &e);
    }
    return r < 0 ? NULL : item->from;
}

void transfer_know_target(struct transfer *t, const char *path, int found,
                          const struct dfs_stat *stat)
{
    t->known_path = xstrdup(path);
    t->known_found = found;
    t->known = *stat;
}

int transfer_stat_target(struct cli *cli, const struct transfer_item *item, struct dfs_stat *ret)
{
    const struct transfer *t = item->transfer;
    if (t->known_path && strcmp(item->target, t->known_path) == 0) {
        *ret = t->known;
        return t->known_found;
    }
    return cli_stat(cli, item->target, ret);
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
    finish_files(t);
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
    forget_names(t);
    map_deinit(&t->names);
    free(t->late);
    free(t->known_path);
    free(t);
    cli_progress_end(cli, silent);
    return cli_interrupted() ? CLI_INTERRUPTED : cli->status;
}
