/* See walk.h. */
#include "client/cli/walk.h"

#include <stdlib.h>

#include "common/limits.h"

/* NOLINTNEXTLINE(misc-no-recursion): bounded by the store's depth */
static void walk_any(struct walk *w, const char *path, const struct dfs_stat *stat, int depth)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err e = {0};
    struct dfs_stat below;
    const char *name = NULL;
    if (cli_interrupted() || !w->visit(w, path, stat, depth) || !stat->directory ||
        depth > LIMIT_DEPTH_MAX) {
        return;
    }
    int r = dfs_dir_open(w->cli->dfs, path, &dir, &e);
    while (r >= 0 && !cli_interrupted() && (r = dfs_dir_next(dir, &name, &below, &e)) > 0) {
        char *child = cli_join(path, name);
        walk_any(w, child, &below, depth + 1);
        free(child);
    }
    dfs_dir_close(dir);
    if (r < 0) {
        cli_dfs_error(w->cli, path, &e);
    }
}

void walk_from(struct walk *w, const char *path, const struct dfs_stat *stat)
{
    walk_any(w, path, stat, 0);
}

void walk_path(struct walk *w, const char *path)
{
    struct dfs_stat stat;
    int r = cli_stat(w->cli, path, &stat);
    if (r == 0) {
        cli_not_found(w->cli, path);
    } else if (r > 0) {
        walk_from(w, path, &stat);
    }
}
