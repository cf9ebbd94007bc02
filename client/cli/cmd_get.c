/* dfs get: a file is written under a temporary name and renamed when it is complete. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/progress.h"
#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"

enum { BUFFER_BYTES = 1024 * 1024 };

struct download {
    struct cli *cli;
    struct progress progress;
    char *buffer;
};

/* ---- One file ------------------------------------------------------------------------------- */

/* Everything of the file to fd; only as much as there was at the start, so that an open file ends.
 */
static bool copy_out(struct download *d, struct dfs_file *file, const char *source, int fd)
{
    struct dfs_err e = {0};
    struct err le = ERR_INIT;
    uint64_t at = 0;
    for (;;) {
        if (cli_interrupted()) {
            return false;
        }
        int64_t n = dfs_pread(file, d->buffer, BUFFER_BYTES, at, &e);
        if (n < 0) {
            cli_dfs_error(d->cli, source, &e);
            return false;
        }
        if (n == 0) {
            return true;
        }
        if (sys_write_full(fd, d->buffer, (size_t)n, &le) < 0) {
            cli_err(d->cli, source, &le);
            return false;
        }
        at += (uint64_t)n;
        progress_add(&d->progress, (uint64_t)n);
    }
}

static bool to_stdout(struct download *d, const char *source)
{
    struct dfs_err e = {0};
    struct dfs_file *file = NULL;
    if (dfs_open(d->cli->dfs, source, &file, &e) < 0) {
        cli_dfs_error(d->cli, source, &e);
        return false;
    }
    bool ok = copy_out(d, file, source, STDOUT_FILENO);
    (void)dfs_close(file, NULL);
    return ok;
}

/* Without -f, what has appeared meanwhile is not replaced either. */
static bool give_name(struct cli *cli, const char *temporary, const char *target)
{
    unsigned flags = cli->options.force ? 0 : RENAME_NOREPLACE;
    int r = renameat2(AT_FDCWD, temporary, AT_FDCWD, target, flags);
    if (r < 0 && errno == EINVAL) { /* a file system without that flag */
        r = rename(temporary, target);
    }
    if (r < 0) {
        cli_error(cli, target, "%s", strerror(errno));
    }
    return r == 0;
}

static char *temporary_name(const char *target)
{
    char *name = cli_base_name(target);
    const char *slash = strrchr(target, '/');
    size_t length = slash ? (size_t)(slash - target) + 1 : 0;
    char *path = xprintf("%.*s.%.200s.dfs-get.%d", (int)length, target, name, (int)getpid());
    free(name);
    return path;
}

static bool may_write(struct cli *cli, const char *target)
{
    struct stat st;
    if (lstat(target, &st) < 0) {
        return true;
    }
    if (S_ISDIR(st.st_mode)) {
        cli_error(cli, target, "%s", strerror(EISDIR));
    } else if (!cli->options.force) {
        cli_error(cli, target, "%s; -f replaces it", strerror(EEXIST));
    }
    return !S_ISDIR(st.st_mode) && cli->options.force;
}

static void download_file(struct download *d, const char *source, const char *target)
{
    struct err le = ERR_INIT;
    struct dfs_err e = {0};
    struct dfs_file *file = NULL;
    if (!may_write(d->cli, target)) {
        return;
    }
    if (dfs_open(d->cli->dfs, source, &file, &e) < 0) {
        cli_dfs_error(d->cli, source, &e);
        return;
    }
    char *temporary = temporary_name(target);
    int fd = sys_open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0666, &le);
    bool ok = fd >= 0;
    if (!ok) {
        cli_err(d->cli, target, &le);
    }
    ok = ok && copy_out(d, file, source, fd);
    if (fd >= 0 && close(fd) < 0 && ok) {
        cli_error(d->cli, target, "%s", strerror(errno));
        ok = false;
    }
    ok = ok && give_name(d->cli, temporary, target);
    if (!ok && fd >= 0) {
        (void)unlink(temporary);
    }
    d->progress.files += ok;
    (void)dfs_close(file, NULL);
    free(temporary);
}

/* ---- Trees ---------------------------------------------------------------------------------- */

static void download_any(struct download *d, const char *source, const struct dfs_stat *stat,
                         const char *target, int depth);

/* NOLINTNEXTLINE(misc-no-recursion): download_any() bounds it */
static void download_tree(struct download *d, const char *source, const char *target, int depth)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err e = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    if (mkdir(target, 0777) < 0 && errno != EEXIST) {
        cli_error(d->cli, target, "%s", strerror(errno));
        return;
    }
    int r = dfs_dir_open(d->cli->dfs, source, &dir, &e);
    while (r >= 0 && !cli_interrupted() && (r = dfs_dir_next(dir, &name, &stat, &e)) > 0) {
        char *from = cli_join(source, name);
        char *to = cli_join(target, name);
        download_any(d, from, &stat, to, depth + 1);
        free(from);
        free(to);
    }
    dfs_dir_close(dir);
    if (r < 0) {
        cli_dfs_error(d->cli, source, &e);
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by the store's depth */
static void download_any(struct download *d, const char *source, const struct dfs_stat *stat,
                         const char *target, int depth)
{
    if (!stat->directory) {
        download_file(d, source, target);
    } else if (depth <= LIMIT_DEPTH_MAX) {
        download_tree(d, source, target, depth);
    }
}

/* ---- The command ---------------------------------------------------------------------------- */

static bool is_local_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void download_one(struct download *d, const char *source, const char *target, bool into)
{
    struct dfs_stat stat;
    int r = cli_stat(d->cli, source, &stat);
    if (r == 0) {
        cli_error(d->cli, source, "%s", dfs_error_text(DFS_ENOT_FOUND));
    }
    if (r <= 0) {
        return;
    }
    d->progress.total += stat.directory ? stat.subtree_bytes : stat.length;
    if (strcmp(target, "-") == 0) {
        (void)to_stdout(d, source);
        return;
    }
    char *name = cli_base_name(source);
    char *to =
        into && strcmp(target, ".") != 0 ? cli_join(target, name) : xstrdup(into ? name : target);
    download_any(d, source, &stat, to, 0);
    free(name);
    free(to);
}

int cli_get(struct cli *cli)
{
    struct cli_paths sources = {NULL, 0};
    size_t last = cli->argument_count > 1 ? cli->argument_count - 1 : 1;
    const char *target = cli->argument_count > 1 ? cli->arguments[last] : ".";
    struct download d = {.cli = cli};
    bool into = is_local_directory(target);
    (void)cli_expand_arguments(cli, 0, last, &sources);
    if (sources.count > 1 && !into && strcmp(target, "-") != 0) {
        cli_error(cli, target, "%s", strerror(ENOTDIR));
        cli_paths_free(&sources);
        return cli->status;
    }
    d.buffer = xmalloc(BUFFER_BYTES);
    cli_catch_signals();
    progress_begin(&d.progress, "get", cli->err_tty && !cli->options.quiet, 0);
    for (size_t i = 0; i < sources.count && !cli_interrupted(); i++) {
        download_one(&d, sources.items[i], target, into);
    }
    progress_end(&d.progress);
    if (cli->options.json && strcmp(target, "-") != 0) {
        cli_print_json(json_pack("{s:I, s:I, s:f}", "files", (json_int_t)d.progress.files, "bytes",
                                 (json_int_t)d.progress.done, "seconds",
                                 progress_seconds(&d.progress)));
    }
    free(d.buffer);
    cli_paths_free(&sources);
    return cli_interrupted() ? CLI_INTERRUPTED : cli->status;
}
