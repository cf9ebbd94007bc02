/* See trash.h. The age of Current is taken from the change of .Trash, which is changed when Current
 * is made, becomes a checkpoint, or a checkpoint goes: nothing else is kept about it. */
#include "client/cli/trash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs_batch.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/macros.h"

enum { TRASH_MODE = 0700, NAMES_MAX = 10 };

bool trash_init(struct trash *t, struct cli *cli)
{
    struct dfs_err e = {0};
    *t = (struct trash){.cli = cli};
    if (dfs_resolve_path(cli->dfs, ".", &t->home, &e) < 0) {
        cli_dfs_error(cli, NULL, &e);
        return false;
    }
    t->top = cli_join(t->home, TRASH_NAME);
    t->current = cli_join(t->top, TRASH_CURRENT_NAME);
    return true;
}

void trash_deinit(struct trash *t)
{
    free(t->home);
    free(t->top);
    free(t->current);
    *t = (struct trash){.cli = NULL};
}

/* Whether `path` is `top` or below it. */
static bool is_within(const char *path, const char *top)
{
    size_t length = strcmp(top, "/") == 0 ? 0 : strlen(top);
    return strncmp(path, top, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

enum trash_fit trash_fits(const struct trash *t, const char *path)
{
    return is_within(path, t->top) && strcmp(path, t->top) != 0 ? TRASH_WITHIN
           : is_within(t->top, path)                            ? TRASH_CONTAINS
                                                                : TRASH_FITS;
}

/* ---- Checkpoints ---------------------------------------------------------------------------- */

/* The names of all checkpoints, oldest first. Codes as of libdfs; no trash has none. */
static int list_checkpoints(struct trash *t, struct cli_paths *names, struct dfs_err *e)
{
    struct dfs_dir *dir = NULL;
    struct dfs_stat stat;
    const char *name = NULL;
    uint64_t ignored;
    int r = dfs_dir_open(t->cli->dfs, t->top, &dir, e);
    while (r >= 0 && (r = dfs_dir_next(dir, &name, &stat, e)) > 0) {
        if (trash_checkpoint_time(name, &ignored)) {
            cli_paths_add(names, name);
        }
    }
    dfs_dir_close(dir);
    return r == DFS_ENOT_FOUND ? 0 : r;
}

static int delete_older(struct trash *t, const struct cli_paths *names, uint64_t keep_ms,
                        struct dfs_err *e)
{
    uint64_t made_ms = 0, now = clock_wall_ms();
    int r = 0;
    for (size_t i = 0; r == 0 && i < names->count; i++) {
        bool is_one = trash_checkpoint_time(names->items[i], &made_ms);
        if (is_one && (keep_ms == 0 || made_ms + keep_ms <= now)) {
            char *path = cli_join(t->top, names->items[i]);
            r = dfs_delete(t->cli->dfs, path, DFS_RECURSIVE, NULL, e);
            r = r == DFS_ENOT_FOUND ? 0 : r; /* somebody else has emptied it */
            free(path);
        }
    }
    return r;
}

static int make_checkpoint(struct trash *t, struct dfs_err *e)
{
    int r = DFS_EEXISTS;
    for (uint64_t i = 0; r == DFS_EEXISTS && i < NAMES_MAX; i++) { /* two in a second */
        char name[16];
        trash_checkpoint_name(clock_wall_ms() + i * 1000, name);
        char *path = cli_join(t->top, name);
        r = dfs_rename(t->cli->dfs, t->current, path, 0, NULL, e);
        free(path);
    }
    return r == DFS_ENOT_FOUND ? 0 : r; /* nothing is in the trash */
}

bool trash_empty(struct trash *t, bool checkpoint, uint64_t keep_ms)
{
    struct dfs_err e = {0};
    struct cli_paths names = {NULL, 0};
    int r = checkpoint ? make_checkpoint(t, &e) : 0;
    if (r == 0) {
        r = list_checkpoints(t, &names, &e);
    }
    if (r == 0) {
        r = delete_older(t, &names, keep_ms, &e);
    }
    if (r < 0) {
        cli_dfs_error(t->cli, t->top, &e);
    }
    cli_paths_free(&names);
    return r == 0;
}

/* ---- Putting things there ------------------------------------------------------------------- */

/* Once per command, if its user wants to see to that: whether Current is old enough to become a
 * checkpoint. */
static void empty_if_due(struct trash *t)
{
    struct dfs_stat stat;
    uint64_t keep_ms = t->cli->options.trash_keep_ms;
    if (!t->looked && keep_ms != CLI_TRASH_KEEP_UNSAID &&
        dfs_stat(t->cli->dfs, t->top, &stat, NULL) == 0 &&
        stat.mtime_ms + keep_ms <= clock_wall_ms()) {
        (void)trash_empty(t, true, keep_ms);
    }
    t->looked = true;
}

/* Moves `path` into `directory`, which is made with all that is above it; only .Trash itself is for
 * its owner alone. DFS_ENOT_DIR: it cannot be made. */
static int move_into(struct trash *t, const char *path, const char *directory, const char *target,
                     struct dfs_err *e)
{
    enum { HOME, TOP, DIRECTORY, MOVE, COUNT };
    struct dfs_condition absent = {.kind = DFS_PATH_ABSENT, .name = t->home};
    struct dfs_conditions if_absent = {&absent, 1};
    struct dfs_change changes[COUNT] = {
        [HOME] = {DFS_CHANGE_MKDIR, t->home, .flags = DFS_PARENTS, .conditions = &if_absent},
        [TOP] = {DFS_CHANGE_MKDIR, t->top, .mode = TRASH_MODE},
        [DIRECTORY] = {DFS_CHANGE_MKDIR, directory, .mode = TRASH_MODE, .flags = DFS_PARENTS},
        [MOVE] = {DFS_CHANGE_RENAME, path, .target = target},
    };
    int r = dfs_change_all(t->cli->dfs, changes, COUNT, e);
    if (r < 0) {
        return r;
    }
    size_t which = MOVE;
    if (changes[TOP].outcome.code < 0 && changes[TOP].outcome.code != DFS_EEXISTS) {
        which = changes[TOP].outcome.code == DFS_ENOT_FOUND ? HOME : TOP;
    } else if (changes[DIRECTORY].outcome.code < 0) {
        which = DIRECTORY;
    }
    *e = changes[which].outcome;
    return which == DIRECTORY && e->code == DFS_EEXISTS ? DFS_ENOT_DIR : e->code;
}

/* Where a file lies in the way of a directory: all of it beside. */
static char *name_beside(const struct trash *t, const char *path)
{
    return xprintf("%s/%" PRIu64 "%s", t->current, clock_wall_ms(), path);
}

/* What was removed from there before makes way, so that the plain name is what was removed last. */
static int step_aside(struct trash *t, const char *target, struct dfs_err *e)
{
    int r = DFS_EEXISTS;
    for (unsigned try = 0; r == DFS_EEXISTS && try < NAMES_MAX; try++) {
        char *aside = xprintf("%s%" PRIu64, target, clock_wall_ms() + try);
        r = dfs_rename(t->cli->dfs, target, aside, 0, NULL, e);
        free(aside);
    }
    return r == DFS_ENOT_FOUND ? 0 : r;
}

/* DFS_ENOT_DIR: the parent cannot be made. */
static int move_to(struct trash *t, const char *path, const char *target, struct dfs_err *e)
{
    char *parent = xstrndup(target, (size_t)(strrchr(target, '/') - target));
    int r = move_into(t, path, parent, target, e);
    free(parent);
    for (unsigned try = 0; r == DFS_EEXISTS && try < NAMES_MAX; try++) {
        r = step_aside(t, target, e);
        r = r < 0 ? r : dfs_rename(t->cli->dfs, path, target, 0, NULL, e);
    }
    return r;
}

int trash_put(struct trash *t, const char *path, bool seen, struct dfs_err *e)
{
    struct dfs_stat stat;
    int r = seen ? 0 : dfs_stat(t->cli->dfs, path, &stat, e);
    if (r < 0) {
        return r; /* before anything is made */
    }
    empty_if_due(t);
    char *target = xprintf("%s%s", t->current, path);
    r = move_to(t, path, target, e);
    if (r == DFS_ENOT_DIR) {
        free(target);
        target = name_beside(t, path);
        r = move_to(t, path, target, e);
    }
    if (r == 0 && t->cli->err_tty && !t->cli->options.quiet) {
        (void)fprintf(stderr, "Moved: `%s' to trash at: %s\n", path, target);
    }
    free(target);
    return r;
}

/* ---- And taking them back ------------------------------------------------------------------- */

static int move_back(struct trash *t, const char *from, const char *path, struct dfs_err *e)
{
    size_t length = (size_t)(strrchr(path, '/') - path);
    char *parent = xstrndup(path, length > 0 ? length : 1);
    struct dfs_change changes[] = {
        {DFS_CHANGE_MKDIR, parent, .flags = DFS_PARENTS},
        {DFS_CHANGE_RENAME, from, .target = path},
    };
    int r = dfs_change_all(t->cli->dfs, changes, ARRAY_COUNT(changes), e);
    free(parent);
    if (r == 0) {
        *e = changes[changes[0].outcome.code < 0 ? 0 : 1].outcome;
        r = e->code;
    }
    return r;
}

/* From that checkpoint, or Current. 1: done, 0: it is not there, -1: it said why. */
static int take_back_from(struct trash *t, const char *place, const char *path)
{
    struct dfs_err e = {0};
    struct dfs_stat stat;
    char *from = xprintf("%s/%s%s", t->top, place, path);
    int r = dfs_stat(t->cli->dfs, from, &stat, &e);
    if (r == 0) {
        r = move_back(t, from, path, &e);
        if (r < 0) {
            cli_dfs_error(t->cli, path, &e);
        }
        free(from);
        return r < 0 ? -1 : 1;
    }
    free(from);
    if (r != DFS_ENOT_FOUND && r != DFS_ENOT_DIR) {
        cli_dfs_error(t->cli, path, &e);
        return -1;
    }
    return 0;
}

bool trash_take_back(struct trash *t, const char *path)
{
    struct dfs_err e = {0};
    struct cli_paths names = {NULL, 0};
    int r = take_back_from(t, "Current", path);
    if (r == 0 && list_checkpoints(t, &names, &e) < 0) {
        cli_dfs_error(t->cli, t->top, &e);
        r = -1;
    }
    for (size_t i = names.count; r == 0 && i > 0; i--) { /* the newest first */
        r = take_back_from(t, names.items[i - 1], path);
    }
    if (r == 0) {
        cli_error(t->cli, path, "is not in the trash");
    }
    cli_paths_free(&names);
    return r > 0;
}
