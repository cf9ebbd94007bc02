/* See task_commit.h. Each step can be done twice and by two at a time: a rename whose source is
 * gone was somebody else's. */
#include "mapreduce/task_commit.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "mapreduce/store_err.h"

#define TASK_PREFIX    "_part-"
#define ATTEMPT_PREFIX "_attempt_"

/* Names of a directory, read before any of them is changed. */
struct names {
    struct arena arena;
    const char **items;
    size_t count;
    size_t capacity;
};

static void names_deinit(struct names *n)
{
    free(n->items);
    arena_deinit(&n->arena);
}

/* Entries that begin with `prefix`. A directory that is not there has none. */
static int list_names(struct dfs *dfs, const char *path, const char *prefix, struct names *ret,
                      struct err *e)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err de = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    int r = dfs_dir_open(dfs, path, &dir, &de);
    while (r >= 0 && (r = dfs_dir_next(dir, &name, &stat, &de)) == 1) {
        if (strncmp(name, prefix, strlen(prefix)) != 0) {
            continue;
        }
        if (ret->count == ret->capacity) {
            ret->capacity = ret->capacity ? 2 * ret->capacity : 16;
            ret->items = xreallocarray(ret->items, ret->capacity, sizeof(ret->items[0]));
        }
        ret->items[ret->count++] = arena_strdup(&ret->arena, name);
    }
    dfs_dir_close(dir);
    return r < 0 && r != DFS_ENOT_FOUND ? err_from_dfs(e, &de, "list %s", path) : 0;
}

/* Those of the place, and up to two paths do not exist. */
static const struct dfs_conditions *conditions(struct task_conditions *c,
                                               const struct task_place *at, const char *absent,
                                               const char *absent2)
{
    task_conditions_begin(c, at);
    if (absent) {
        task_conditions_add_absent(c, absent);
    }
    if (absent2) {
        task_conditions_add_absent(c, absent2);
    }
    return &c->list;
}

/* ---- After a task was committed ---- */

static int move_out(const struct task_place *at, const char *directory, const char *name,
                    struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct task_conditions c;
    struct dfs_err de = {0};
    const char *from = arena_printf(&arena, "%s/%s/%s", at->hidden, directory, name);
    const char *to = arena_printf(&arena, "%s/%s", at->hidden, name);
    int r = dfs_rename(at->dfs, from, to, 0, conditions(&c, at, NULL, NULL), &de);
    r = r < 0 && r != DFS_ENOT_FOUND ? task_place_failed(at, &de, "move out", from, e) : 0;
    arena_deinit(&arena);
    return r;
}

/* Moves a committed task's files out of its directory, "_part-00003", the part last. */
static int settle_task(const struct task_place *at, const char *directory, struct err *e)
{
    struct names names = {.arena = ARENA_INIT};
    struct task_conditions c;
    struct dfs_err de = {0};
    const char *part = directory + 1;
    const char *path = arena_printf(&names.arena, "%s/%s", at->hidden, directory);
    int r = list_names(at->dfs, path, "", &names, e);
    for (size_t i = 0; i < names.count && r == 0; i++) {
        r = strcmp(names.items[i], part) == 0 ? 0 : move_out(at, directory, names.items[i], e);
    }
    r = r < 0 ? r : move_out(at, directory, part, e);
    if (r == 0) {
        r = dfs_delete(at->dfs, path, 0, conditions(&c, at, NULL, NULL), &de);
        r = r < 0 && r != DFS_ENOT_FOUND ? task_place_failed(at, &de, "remove", path, e) : 0;
    }
    names_deinit(&names);
    return r;
}

int task_commit_settle(const struct task_place *at, bool all, struct err *e)
{
    struct names names = {.arena = ARENA_INIT};
    int r = list_names(at->dfs, at->hidden, "_", &names, e);
    for (size_t i = 0; i < names.count && r == 0; i++) {
        const char *name = names.items[i];
        if (strncmp(name, TASK_PREFIX, strlen(TASK_PREFIX)) == 0) {
            r = settle_task(at, name, e);
        } else if (all && strncmp(name, ATTEMPT_PREFIX, strlen(ATTEMPT_PREFIX)) == 0) {
            struct task_conditions c;
            struct dfs_err de = {0};
            const char *path = arena_printf(&names.arena, "%s/%s", at->hidden, name);
            r = dfs_delete(at->dfs, path, DFS_RECURSIVE, conditions(&c, at, NULL, NULL), &de);
            r = r < 0 && r != DFS_ENOT_FOUND ? task_place_failed(at, &de, "remove", path, e) : 0;
        }
    }
    names_deinit(&names);
    return r;
}

/* ---- Commit ---- */

struct commit {
    const struct task_place *at;
    struct arena arena;
    const char *own;       /* the attempt's directory */
    const char *directory; /* "_part-00003" */
    const char *task;      /* the task's, as a path */
    const char *part;      /* as a path */
};

/* The directory first: it goes only after the part has come. */
static bool is_committed(const struct commit *c)
{
    struct dfs_stat stat;
    return dfs_stat(c->at->dfs, c->task, &stat, NULL) == 0 ||
           dfs_stat(c->at->dfs, c->part, &stat, NULL) == 0;
}

/* Links the files into the attempt's directory and renames it. */
static int place(const struct commit *c, const struct task_file *files, size_t count, struct err *e)
{
    struct task_conditions when;
    struct dfs_err de = {0};
    const struct dfs_conditions *first = conditions(&when, c->at, c->task, c->part);
    if (dfs_mkdir(c->at->dfs, c->own, 0755, 0, first, &de) < 0) {
        return task_place_failed(c->at, &de, "make", c->own, e);
    }
    for (size_t i = 0; i < count; i++) {
        struct arena arena = ARENA_INIT;
        const char *path = arena_printf(&arena, "%s/%s", c->own, files[i].name);
        int r = task_sink_link(files[i].sink, c->at, path, e);
        arena_deinit(&arena);
        if (r < 0) {
            return r;
        }
    }
    if (dfs_rename(c->at->dfs, c->own, c->task, 0, first, &de) < 0) {
        return task_place_failed(c->at, &de, "commit", c->task, e);
    }
    return 0;
}

int task_commit_files(const struct task_place *at, const char *attempt,
                      const struct task_file *files, size_t count, uint64_t *ret_inode,
                      struct err *e)
{
    struct commit c = {.at = at, .arena = ARENA_INIT};
    struct task_conditions when;
    struct dfs_err de = {0};
    struct dfs_stat stat = {0};
    const char *part = files[count - 1].name;
    c.own = arena_printf(&c.arena, "%s/_%s", at->hidden, attempt);
    c.directory = arena_printf(&c.arena, "_%s", part);
    c.task = arena_printf(&c.arena, "%s/%s", at->hidden, c.directory);
    c.part = arena_printf(&c.arena, "%s/%s", at->hidden, part);
    int r = place(&c, files, count, e);
    if (r < 0 && is_committed(&c)) { /* by another attempt, or by us and the reply was lost */
        int ignored = dfs_delete(at->dfs, c.own, DFS_RECURSIVE, conditions(&when, at, NULL, NULL),
                                 NULL); /* the mrmaster removes it if we cannot */
        (void)ignored;
        r = 0;
    }
    r = r < 0 ? r : settle_task(at, c.directory, e);
    if (r == 0 && dfs_stat(at->dfs, c.part, &stat, &de) < 0) {
        r = err_from_dfs(e, &de, "commit %s", c.part);
    }
    if (r == 0) {
        *ret_inode = stat.inode;
    }
    arena_deinit(&c.arena);
    return r;
}
