/* Changes of names: mkdir, rm, rmdir, mv, rename, touchz; and touch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/trash.h"
#include "common/alloc.h"
#include "common/clock.h"

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

static int run_mkdir(struct cli *cli)
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

/* To the trash, or for good; `seen`: it was there just now. 0, or DFS_E* with *e filled; 1: it said
 * why not. */
static int remove_one(struct cli *cli, struct trash *trash, const char *path, bool seen,
                      struct dfs_err *e)
{
    const struct cli_options *o = &cli->options;
    int flags = o->recursive ? DFS_RECURSIVE : 0;
    char *absolute = NULL;
    if (!o->trash || o->skip_trash) {
        return dfs_delete(cli->dfs, path, flags, NULL, e);
    }
    int r = dfs_resolve_path(cli->dfs, path, &absolute, e);
    if (r == 0 && trash_fits(trash, absolute) == TRASH_WITHIN) {
        r = dfs_delete(cli->dfs, absolute, flags, NULL, e);
    } else if (r == 0 && trash_fits(trash, absolute) == TRASH_CONTAINS) {
        cli_error(cli, path, "Cannot be moved to the trash, which is in it; -skipTrash removes it");
        r = 1;
    } else if (r == 0) {
        r = trash_put(trash, absolute, seen, e);
    }
    free(absolute);
    return r;
}

static int run_rm(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    struct trash trash;
    json_t *done = begin(cli);
    bool ready = trash_init(&trash, cli);
    if (ready) {
        (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    }
    for (size_t i = 0; i < paths.count; i++) {
        struct dfs_err e = {0};
        const char *path = paths.items[i];
        struct dfs_stat stat;
        int found = cli->options.recursive ? 0 : cli_stat(cli, path, &stat);
        if (found < 0) {
            continue; /* it may be a directory */
        }
        if (found > 0 && stat.directory) {
            cli_error(cli, path, "%s; -r removes it", cli_error_text(DFS_EIS_DIR));
            continue;
        }
        int r = remove_one(cli, &trash, path, found > 0, &e);
        if (r < 0 && !(r == DFS_ENOT_FOUND && cli->options.force)) {
            cli_dfs_error(cli, path, &e);
        } else if (r == 0) {
            did(done, path);
        }
    }
    trash_deinit(&trash);
    cli_paths_free(&paths);
    return finish(cli, done);
}

static int run_rmdir(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    json_t *done = begin(cli);
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        struct dfs_err e = {0};
        struct dfs_stat stat;
        const char *path = paths.items[i];
        if (cli_stat(cli, path, &stat) > 0 && !stat.directory) {
            cli_error(cli, path, "%s", cli_error_text(DFS_ENOT_DIR));
        } else if (dfs_delete(cli->dfs, path, 0, NULL, &e) < 0) {
            cli_dfs_error(cli, path, &e);
        } else {
            did(done, path);
        }
    }
    cli_paths_free(&paths);
    return finish(cli, done);
}

/* `/new/` says that a directory is meant, which only a directory can become. False: it said so. */
static bool may_become(struct cli *cli, const char *source, const char *target)
{
    struct dfs_stat stat;
    if (!cli_names_directory(target)) {
        return true; /* nothing is asked for that */
    }
    int r = cli_stat(cli, source, &stat);
    if (r == 0) {
        cli_not_found(cli, source);
    }
    return r > 0 && cli_may_become(cli, target, stat.directory);
}

static void rename_one(struct cli *cli, const char *source, const char *target, json_t *done)
{
    struct dfs_err e = {0};
    if (!may_become(cli, source, target)) {
        return;
    }
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

static int run_mv(struct cli *cli)
{
    struct cli_paths sources = {NULL, 0};
    json_t *done = begin(cli);
    size_t last = cli->argument_count - 1;
    const char *target = cli->arguments[last];
    bool expanded = cli_expand_arguments(cli, 0, last, &sources);
    bool into = cli_is_directory(cli, target);
    if (sources.count > 1 && !into) {
        cli_error(cli, target, "%s", cli_error_text(DFS_ENOT_DIR));
    } else if (expanded || into) {
        for (size_t i = 0; i < sources.count; i++) {
            char *name = cli_resolved_name(cli, sources.items[i]);
            char *to = into && name ? cli_join(target, name) : xstrdup(target);
            if (name) {
                rename_one(cli, sources.items[i], to, done);
            }
            free(name);
            free(to);
        }
    }
    cli_paths_free(&sources);
    return finish(cli, done);
}

static int run_rename(struct cli *cli)
{
    json_t *done = begin(cli);
    rename_one(cli, cli->arguments[0], cli->arguments[1], done);
    return finish(cli, done);
}

/* ---- touchz and touch ----------------------------------------------------------------------- */

static int make_empty(struct cli *cli, const char *path, struct dfs_err *e)
{
    struct dfs_file *file = NULL;
    int r = dfs_create(cli->dfs, path, NULL, &file, e);
    return r < 0 ? r : dfs_close(file, e);
}

/* It could not be made because there is something; only an empty file is fine. */
static void expect_empty(struct cli *cli, const char *path, const struct dfs_err *e)
{
    struct dfs_stat stat;
    int r = cli_stat(cli, path, &stat);
    if (r == 0) {
        cli_dfs_error(cli, path, e); /* it is gone again */
    } else if (r > 0 && (stat.directory || stat.length > 0)) {
        cli_error(cli, path, "%s",
                  stat.directory ? cli_error_text(DFS_EIS_DIR) : "Not a zero-length file");
    }
}

static int run_touchz(struct cli *cli)
{
    json_t *done = begin(cli);
    for (size_t i = 0; i < cli->argument_count; i++) {
        struct dfs_err e = {0};
        const char *path = cli->arguments[i];
        int r = make_empty(cli, path, &e);
        if (r == 0) {
            did(done, path);
        } else if (r == DFS_EEXISTS) {
            expect_empty(cli, path, &e);
        } else {
            cli_dfs_error(cli, path, &e);
        }
    }
    return finish(cli, done);
}

/* "20260301:123456" in local time, as hadoop fs -touch has it. */
static bool parse_time(const char *text, uint64_t *ret_ms)
{
    struct tm broken = {.tm_isdst = -1};
    const char *end = strptime(text, "%Y%m%d:%H%M%S", &broken);
    time_t seconds = end && *end == '\0' ? mktime(&broken) : -1;
    if (seconds < 0) {
        return false;
    }
    *ret_ms = (uint64_t)seconds * 1000;
    return true;
}

/* No times of access are kept, so there is nothing to do for them but to make the file. */
static bool touch_access(struct cli *cli, const char *path)
{
    struct dfs_err e = {0};
    struct dfs_stat stat;
    int r = cli_stat(cli, path, &stat);
    if (r == 0 && !cli->options.no_create) {
        r = make_empty(cli, path, &e) == 0;
        if (r == 0) {
            cli_dfs_error(cli, path, &e);
        }
    }
    return r > 0;
}

static bool touch_one(struct cli *cli, const char *path, uint64_t mtime_ms)
{
    struct dfs_err e = {0};
    struct dfs_attributes a = {.set_mtime = true, .mtime_ms = mtime_ms};
    if (cli->options.atime_only && !cli->options.mtime_only) {
        return touch_access(cli, path);
    }
    bool makes = !cli->options.no_create;
    int r = makes ? dfs_touch(cli->dfs, path, mtime_ms, &e)
                  : dfs_set_attributes(cli->dfs, path, &a, &e);
    if (r < 0 && (makes || (r != DFS_ENOT_FOUND && r != DFS_ENOT_DIR))) {
        cli_dfs_error(cli, path, &e);
    }
    return r == 0;
}

static int run_touch(struct cli *cli)
{
    uint64_t mtime_ms = clock_wall_ms();
    const char *text = cli->options.time_text;
    if (text && !parse_time(text, &mtime_ms)) {
        cli_error(cli, NULL, "`%s' is no time: 20260301:123456 is one", text);
        return 2;
    }
    json_t *done = begin(cli);
    struct cli_paths paths = {NULL, 0};
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        if (touch_one(cli, paths.items[i], mtime_ms)) {
            did(done, paths.items[i]);
        }
    }
    cli_paths_free(&paths);
    return finish(cli, done);
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static const struct config_row mkdir_rows[] = {
    {ONCE("parents", CONFIG_BOOL, parents), .letter = 'p',
     .help = "Make missing parents; a directory that exists is fine."},
};

const struct cli_command cli_mkdir_page = {
    .name = "mkdir",
    .summary = "make directories",
    .run = run_mkdir,
    ROWS(mkdir_rows),
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .footer = "Examples:\n  dfs mkdir -p /books/2026/03",
};

static const struct config_row rm_rows[] = {
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'r',
     .help = "Directories and all that is in them."},
    {ROW("R", CONFIG_BOOL, recursive), .letter = 'R', .flags = CONFIG_FLAG_ONLY | CONFIG_HIDDEN,
     .help = "The same."},
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f', .help = "What does not exist is fine."},
    {ONCE("skip-trash", CONFIG_BOOL, skip_trash),
     .help = "For good and at once, whatever --trash says. Also -skipTrash."},
    ROW_TRASH,
    ROW_TRASH_KEEP,
    {ACCEPTED("safely"), .help = "There is the trash."},
};

const struct cli_command cli_rm_page = {
    .name = "rm",
    .summary = "remove files and directories",
    .run = run_rm,
    ROWS(rm_rows),
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Moves files and directories to your trash, from where the file master takes "
                   "them a day after or later; what is in the trash already is deleted. With "
                   "-skipTrash the names are gone at once, however much lies below them, and the "
                   "space comes back in the background.",
    .footer = "Examples:\n  dfs rm /books/book.txt\n  dfs rm -r -f '/tmp/job-*'",
};

const struct cli_command cli_rmdir_page = {
    .name = "rmdir",
    .summary = "remove empty directories",
    .run = run_rmdir,
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .footer = "Examples:\n  dfs rmdir /books/empty",
};

static const struct config_row mv_rows[] = {
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f',
     .help = "Replace a file by a file, an empty directory by a directory."},
};

const struct cli_command cli_mv_page = {
    .name = "mv",
    .summary = "move or rename",
    .run = run_mv,
    ROWS(mv_rows),
    .arguments = "SOURCE... TARGET",
    .arguments_min = 2,
    .arguments_max = ARGUMENTS_MANY,
    .description = "If TARGET is a directory, SOURCE moves into it; `dfs rename' never does "
                   "that. Each move is atomic.",
    .footer = "Examples:\n  dfs mv /books/a.txt /books/b.txt\n  dfs mv '/in/*.log' /archive",
};

const struct cli_command cli_rename_page = {
    .name = "rename",
    .summary = "give a file or directory another name",
    .run = run_rename,
    ROWS(mv_rows),
    .arguments = "SOURCE TARGET",
    .arguments_min = 2,
    .arguments_max = 2,
    .description = "TARGET is the new name itself. Atomic: everybody sees the old name or the "
                   "new one. Without -f, an existing TARGET is an error and nothing changes.",
    .footer = "Examples:\n  dfs rename /out.tmp /out\n  dfs rename -f /list.new /list",
};

const struct cli_command cli_touchz_page = {
    .name = "touchz",
    .summary = "make empty files",
    .run = run_touchz,
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "A file of length 0 that exists is fine; a longer one is an error.",
    .footer = "Examples:\n  dfs touchz /out/_SUCCESS",
};

static const struct config_row touch_rows[] = {
    {ONCE("time", CONFIG_STRING, time_text), .letter = 't', .value_name = "YYYYMMDD:HHMMSS",
     .help = "This time instead of the present one."},
    {ONCE("no-create", CONFIG_BOOL, no_create), .letter = 'c', .help = "Make no files."},
    {ONCE("modification", CONFIG_BOOL, mtime_only), .letter = 'm',
     .help = "Set the time of the last change: what it does anyway."},
    {ONCE("access", CONFIG_BOOL, atime_only), .letter = 'a',
     .help = "Set the time of access only. None are kept, so that this only makes files."},
};

const struct cli_command cli_touch_page = {
    .name = "touch",
    .summary = "set times, make empty files",
    .run = run_touch,
    ROWS(touch_rows),
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Sets the time of the last change of files and directories. A path that does "
                   "not exist becomes an empty file.",
    .footer = "Examples:\n  dfs touch /jobs/ready\n  dfs touch -c -t 20260301:120000 /books/a.txt",
};
