/* Changes of names: mkdir, rm, rmdir, mv, rename, touchz. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "common/alloc.h"

/* With --json every command that changes something says what it did. */
static json_t *begin(struct cli *cli)
{
    return cli->options.json ? json_array() : NULL;
}

static void did(json_t *done, const char *path)
{
    if (done) {
        (void)json_array_append_new(done, json_string(path));
    }
}

static int finish(struct cli *cli, json_t *done)
{
    if (done) {
        cli_print_json(json_pack("{s:o}", "done", done));
    }
    return cli->status;
}

int cli_mkdir(struct cli *cli)
{
    json_t *done = begin(cli);
    for (size_t i = 0; i < cli->argument_count; i++) {
        struct dfs_err e = {0};
        const char *path = cli->arguments[i];
        if (dfs_mkdir(cli->dfs, path, 0, cli->options.parents ? DFS_PARENTS : 0, NULL, &e) < 0) {
            cli_dfs_error(cli, path, &e);
        } else {
            did(done, path);
        }
    }
    return finish(cli, done);
}

int cli_rm(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    json_t *done = begin(cli);
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        struct dfs_err e = {0};
        const char *path = paths.items[i];
        struct dfs_stat stat;
        if (!cli->options.recursive && cli_stat(cli, path, &stat) > 0 && stat.directory) {
            cli_error(cli, path, "%s; -r removes it", dfs_error_text(DFS_EIS_DIR));
            continue;
        }
        int r = dfs_delete(cli->dfs, path, cli->options.recursive ? DFS_RECURSIVE : 0, NULL, &e);
        if (r < 0 && !(r == DFS_ENOT_FOUND && cli->options.force)) {
            cli_dfs_error(cli, path, &e);
        } else if (r == 0) {
            did(done, path);
        }
    }
    cli_paths_free(&paths);
    return finish(cli, done);
}

int cli_rmdir(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    json_t *done = begin(cli);
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        struct dfs_err e = {0};
        struct dfs_stat stat;
        const char *path = paths.items[i];
        if (cli_stat(cli, path, &stat) > 0 && !stat.directory) {
            cli_error(cli, path, "%s", dfs_error_text(DFS_ENOT_DIR));
        } else if (dfs_delete(cli->dfs, path, 0, NULL, &e) < 0) {
            cli_dfs_error(cli, path, &e);
        } else {
            did(done, path);
        }
    }
    cli_paths_free(&paths);
    return finish(cli, done);
}

static void rename_one(struct cli *cli, const char *source, const char *target, json_t *done)
{
    struct dfs_err e = {0};
    if (dfs_rename(cli->dfs, source, target, cli->options.force ? DFS_REPLACE : 0, NULL, &e) < 0) {
        /* Which of the two paths is meant follows from the error. */
        bool about_target = e.code == DFS_EEXISTS || e.code == DFS_ENOT_EMPTY ||
                            e.code == DFS_EIS_DIR || e.code == DFS_ENOT_DIR;
        struct dfs_stat stat;
        if (e.code == DFS_ENOT_FOUND) {
            about_target = dfs_stat(cli->dfs, source, &stat, NULL) == 0;
        }
        cli_dfs_error(cli, about_target ? target : source, &e);
    } else {
        did(done, source);
    }
}

int cli_mv(struct cli *cli)
{
    struct cli_paths sources = {NULL, 0};
    json_t *done = begin(cli);
    size_t last = cli->argument_count - 1;
    const char *target = cli->arguments[last];
    bool expanded = cli_expand_arguments(cli, 0, last, &sources);
    bool into = cli_is_directory(cli, target);
    if (sources.count > 1 && !into) {
        cli_error(cli, target, "%s", dfs_error_text(DFS_ENOT_DIR));
    } else if (expanded || into) {
        for (size_t i = 0; i < sources.count; i++) {
            char *name = cli_base_name(sources.items[i]);
            char *to = into ? cli_join(target, name) : xstrdup(target);
            rename_one(cli, sources.items[i], to, done);
            free(name);
            free(to);
        }
    }
    cli_paths_free(&sources);
    return finish(cli, done);
}

int cli_rename(struct cli *cli)
{
    json_t *done = begin(cli);
    rename_one(cli, cli->arguments[0], cli->arguments[1], done);
    return finish(cli, done);
}

int cli_touchz(struct cli *cli)
{
    json_t *done = begin(cli);
    for (size_t i = 0; i < cli->argument_count; i++) {
        struct dfs_err e = {0};
        struct dfs_file *file = NULL;
        struct dfs_stat stat;
        const char *path = cli->arguments[i];
        int r = cli_stat(cli, path, &stat);
        if (r > 0 && (stat.directory || stat.length > 0)) {
            cli_error(cli, path, "%s",
                      stat.directory ? dfs_error_text(DFS_EIS_DIR) : "is not empty");
        }
        if (r != 0) {
            continue;
        }
        if (dfs_create(cli->dfs, path, NULL, &file, &e) < 0 || dfs_close(file, &e) < 0) {
            cli_dfs_error(cli, path, &e);
        } else {
            did(done, path);
        }
    }
    return finish(cli, done);
}
