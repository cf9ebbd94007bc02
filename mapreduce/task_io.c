/* See task_io.h. */
#include "mapreduce/task_io.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"
#include "mapreduce/store_err.h"

/* ---- Sources ---- */

struct task_source {
    struct source base;
    struct dfs_file *file;
    char *name;
};

static int file_is_shorter(const char *path, struct err *e)
{
    return err_set(e, ERR_STALE, "input %s is shorter than when the job began", path);
}

static int64_t source_read(struct source *s, uint64_t offset, void *data, size_t length,
                           struct err *e)
{
    struct task_source *t = CONTAINER_OF(s, struct task_source, base);
    struct dfs_err de = {0};
    if (offset >= s->length) {
        return 0;
    }
    length = MIN(length, (size_t)MIN(s->length - offset, (uint64_t)SIZE_MAX));
    int64_t n = dfs_pread(t->file, data, length, offset, &de);
    if (n == 0 && length > 0) { /* the end, before the one that was planned */
        return file_is_shorter(t->name, e);
    }
    return n < 0 ? err_from_dfs(e, &de, "read %s at %" PRIu64, t->name, offset) : n;
}

static void source_close(struct source *s)
{
    struct task_source *t = CONTAINER_OF(s, struct task_source, base);
    if (t->file) {
        (void)dfs_close(t->file, NULL); /* only read: there is nothing to lose */
    }
    free(t->name);
    free(t);
}

/* The name still means the planned file. Asked after the open: what was opened is then that file,
 * or one that had this name before it and cannot have come back. */
static int check_planned(struct dfs *dfs, const struct input_split *split, struct err *e)
{
    struct dfs_stat stat;
    struct dfs_err de = {0};
    if (dfs_stat(dfs, split->path, &stat, &de) < 0) {
        return err_from_dfs(e, &de, "input %s", split->path);
    }
    if (stat.inode != split->inode) {
        return err_set(e, ERR_STALE, "input %s was replaced while the job ran", split->path);
    }
    if (stat.length < split->file_length) {
        return file_is_shorter(split->path, e);
    }
    return 0;
}

int task_source_open(struct dfs *dfs, const struct input_split *split, struct source **ret_source,
                     struct err *e)
{
    struct dfs_err de = {0};
    struct task_source *t = xcalloc(1, sizeof(*t));
    t->name = xstrdup(split->path);
    t->base.name = t->name;
    t->base.length = split->file_length;
    t->base.read = source_read;
    t->base.free = source_close;
    int r = dfs_open(dfs, split->path, &t->file, &de);
    r = r < 0 ? err_from_dfs(e, &de, "input %s", split->path) : check_planned(dfs, split, e);
    if (r < 0) {
        source_close(&t->base);
        return r;
    }
    *ret_source = &t->base;
    return 0;
}

void task_source_add_locality(const struct source *source, struct job_locality *locality)
{
    const struct task_source *t = CONTAINER_OF(source, const struct task_source, base);
    struct dfs_read_stats stats = {0};
    dfs_read_stats(t->file, &stats);
    locality->bytes_host += stats.bytes_local;
    locality->bytes_rack += stats.bytes_rack;
    locality->bytes_remote += stats.bytes_remote;
}

/* ---- Sinks ---- */

struct task_sink {
    struct sink base;
    struct dfs_file *file; /* NULL once it was committed, or failed to be */
    char *name;
};

static int sink_write(struct sink *s, const void *data, size_t length, struct err *e)
{
    struct task_sink *t = CONTAINER_OF(s, struct task_sink, base);
    struct dfs_err de = {0};
    int r = length > 0 ? dfs_write(t->file, data, length, &de) : 0;
    return r < 0 ? err_from_dfs(e, &de, "write %s", t->name) : 0;
}

/* Nothing: commit is what waits for the bytes. */
static int sink_finish(struct sink *s, struct err *e)
{
    (void)s;
    (void)e;
    return 0;
}

static void sink_close(struct sink *s)
{
    struct task_sink *t = CONTAINER_OF(s, struct task_sink, base);
    dfs_abandon(t->file);
    free(t->name);
    free(t);
}

int task_sink_create(struct dfs *dfs, const char *name, uint32_t replication,
                     struct sink **ret_sink, struct err *e)
{
    struct dfs_create_options options = {.replication = replication};
    struct dfs_err de = {0};
    struct task_sink *t = xcalloc(1, sizeof(*t));
    t->name = xstrdup(name);
    t->base.name = t->name;
    t->base.write = sink_write;
    t->base.finish = sink_finish;
    t->base.free = sink_close;
    if (dfs_create(dfs, NULL, &options, &t->file, &de) < 0) {
        int r = err_from_dfs(e, &de, "create %s", name);
        sink_close(&t->base);
        return r;
    }
    *ret_sink = &t->base;
    return 0;
}

/* ---- Commit ---- */

static void add(struct task_conditions *c, struct dfs_condition condition)
{
    CHECK(c->list.count < TASK_CONDITION_COUNT_MAX);
    c->items[c->list.count++] = condition;
}

void task_conditions_begin(struct task_conditions *c, const struct task_place *at)
{
    c->list = (struct dfs_conditions){c->items, 0};
    add(c, (struct dfs_condition){
               .kind = DFS_FENCE_IS, .name = at->fence_name, .number = at->fence_epoch});
    if (at->hidden_inode != 0) {
        add(c, (struct dfs_condition){
                   .kind = DFS_PATH_IS, .name = at->hidden, .number = at->hidden_inode});
    }
}

void task_conditions_add_absent(struct task_conditions *c, const char *path)
{
    add(c, (struct dfs_condition){.kind = DFS_PATH_ABSENT, .name = path});
}

/* 0, ERR_STALE, or why that could not be found out. */
static int check_place(const struct task_place *at, struct err *e)
{
    struct dfs_err de = {0};
    struct dfs_stat stat;
    if (at->hidden_inode == 0) {
        return 0;
    }
    int r = dfs_stat(at->dfs, at->hidden, &stat, &de);
    if (r == DFS_ENOT_FOUND || (r == 0 && stat.inode != at->hidden_inode)) {
        return err_set(e, ERR_STALE, "%s is not this job's: the job has ended, or lost it",
                       at->hidden);
    }
    return r < 0 ? err_from_dfs(e, &de, "stat %s", at->hidden) : 0;
}

int task_place_failed(const struct task_place *at, const struct dfs_err *de, const char *what,
                      const char *path, struct err *e)
{
    if (de->unknown || (de->code != DFS_EPRECONDITION && de->code != DFS_EFENCED)) {
        return err_from_dfs(e, de, "%s %s", what, path);
    }
    int r = check_place(at, e);
    return r < 0 ? r : err_set(e, ERR_FENCED, "%s %s: another mrmaster has taken over", what, path);
}

static int link_sink(struct sink *sink, const struct task_place *at, const char *path,
                     uint64_t *ret_inode, struct dfs_err *de)
{
    struct task_sink *t = CONTAINER_OF(sink, struct task_sink, base);
    struct task_conditions c;
    struct dfs_file *file = t->file;
    t->file = NULL;
    task_conditions_begin(&c, at);
    return dfs_close_link(file, path, 0, &c.list, ret_inode, de);
}

int task_sink_link(struct sink *sink, const struct task_place *at, const char *path, struct err *e)
{
    struct dfs_err de = {0};
    int r = link_sink(sink, at, path, NULL, &de);
    return r < 0 ? task_place_failed(at, &de, "write", path, e) : 0;
}

int task_sink_commit(struct sink *sink, const struct task_place *at, const char *path,
                     uint64_t *ret_inode, struct err *e)
{
    struct dfs_err de = {0};
    struct dfs_stat stat;
    int r = link_sink(sink, at, path, ret_inode, &de);
    if (r == 0) {
        return 0;
    }
    r = task_place_failed(at, &de, "commit", path, e);
    if (r == ERR_FENCED || r == ERR_STALE) {
        return r;
    }
    /* A file of that name is the output of this task, by this attempt (a lost reply) or another. */
    if (dfs_stat(at->dfs, path, &stat, NULL) == 0 && !stat.directory) {
        *ret_inode = stat.inode;
        r = check_place(at, e); /* and the directory was the job's then */
    }
    return r;
}
