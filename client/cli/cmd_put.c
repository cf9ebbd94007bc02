/* dfs put: a file is uploaded without a name and linked when it is complete and durable. */
#include <dirent.h>
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

struct upload {
    struct cli *cli;
    struct progress progress;
    char *buffer;
};

/* ---- One file ------------------------------------------------------------------------------- */

/* Everything from fd into the file. */
static bool copy_in(struct upload *u, int fd, const char *source, struct dfs_file *file)
{
    struct dfs_err e = {0};
    for (;;) {
        if (cli_interrupted()) {
            u->cli->status = CLI_INTERRUPTED;
            return false;
        }
        ssize_t n = read(fd, u->buffer, BUFFER_BYTES);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            cli_error(u->cli, source, "%s", strerror(errno));
            return false;
        }
        if (n == 0) {
            return true;
        }
        if (dfs_write(file, u->buffer, (size_t)n, &e) < 0) {
            cli_dfs_error(u->cli, source, &e);
            return false;
        }
        if (u->cli->options.sync && dfs_sync(file, &e) < 0) {
            cli_dfs_error(u->cli, source, &e);
            return false;
        }
        progress_add(&u->progress, (uint64_t)n);
    }
}

/* Refused before any byte is sent; the link checks again. */
static bool may_link(struct cli *cli, const char *target)
{
    struct dfs_stat stat;
    int r = cli_stat(cli, target, &stat);
    if (r > 0 && stat.directory) {
        cli_error(cli, target, "%s", dfs_error_text(DFS_EIS_DIR));
    } else if (r > 0 && !cli->options.force) {
        cli_error(cli, target, "%s", dfs_error_text(DFS_EEXISTS));
    }
    return r == 0 || (r > 0 && !stat.directory && cli->options.force);
}

static bool upload_fd(struct upload *u, int fd, const char *source, const char *target)
{
    struct cli *cli = u->cli;
    struct dfs_err e = {0};
    struct dfs_file *file = NULL;
    struct dfs_create_options options = {.replication = (uint32_t)cli->options.replication,
                                         .chunk_bytes = cli->options.chunk_bytes};
    /* A user's own directory is made on the way; elsewhere a missing parent is an error. */
    int flags = (cli->options.force ? DFS_REPLACE : 0) | (target[0] == '/' ? 0 : DFS_PARENTS);
    if (!may_link(cli, target)) {
        return false;
    }
    if (dfs_create(cli->dfs, NULL, &options, &file, &e) < 0) {
        cli_dfs_error(cli, target, &e);
        return false;
    }
    if (!copy_in(u, fd, source, file)) {
        dfs_abandon(file);
        return false;
    }
    if (dfs_close_link(file, target, flags, NULL, NULL, &e) < 0) {
        cli_dfs_error(cli, target, &e);
        return false;
    }
    u->progress.files++;
    return true;
}

static bool upload_file(struct upload *u, const char *source, const char *target)
{
    struct err e = ERR_INIT;
    int fd = sys_open(source, O_RDONLY, 0, &e);
    if (fd < 0) {
        cli_err(u->cli, NULL, &e);
        return false;
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    bool ok = upload_fd(u, fd, source, target);
    sys_close(&fd);
    return ok;
}

/* ---- Trees ---------------------------------------------------------------------------------- */

static int not_dots(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static bool make_directory(struct cli *cli, const char *target)
{
    struct dfs_err e = {0};
    struct dfs_stat stat;
    int r = cli_stat(cli, target, &stat);
    if (r > 0 && !stat.directory) {
        cli_error(cli, target, "%s", dfs_error_text(DFS_ENOT_DIR));
    }
    if (r != 0) {
        return r > 0 && stat.directory;
    }
    if (dfs_mkdir(cli->dfs, target, 0, target[0] == '/' ? 0 : DFS_PARENTS, NULL, &e) < 0) {
        cli_dfs_error(cli, target, &e);
        return false;
    }
    return true;
}

static void upload_any(struct upload *u, const char *source, const char *target, int depth);

/* NOLINTNEXTLINE(misc-no-recursion): bounded by depth, also where links make a circle */
static void upload_tree(struct upload *u, const char *source, const char *target, int depth)
{
    struct dirent **names = NULL;
    if (depth > LIMIT_DEPTH_MAX || !make_directory(u->cli, target)) {
        return;
    }
    int count = scandir(source, &names, not_dots, alphasort);
    if (count < 0) {
        cli_error(u->cli, source, "%s", strerror(errno));
    }
    for (int i = 0; i < count; i++) {
        if (!cli_interrupted()) {
            char *from = cli_join(source, names[i]->d_name);
            char *to = cli_join(target, names[i]->d_name);
            upload_any(u, from, to, depth + 1);
            free(from);
            free(to);
        }
        free(names[i]);
    }
    free(names);
}

/* NOLINTNEXTLINE(misc-no-recursion): upload_tree() bounds it */
static void upload_any(struct upload *u, const char *source, const char *target, int depth)
{
    struct stat st;
    if (stat(source, &st) < 0) {
        cli_error(u->cli, source, "%s", strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        upload_tree(u, source, target, depth);
    } else {
        (void)upload_file(u, source, target);
    }
}

/* Bytes below a local path, for the progress bar. */
/* NOLINTNEXTLINE(misc-no-recursion): bounded by depth, as upload_tree() */
static uint64_t size_of(const char *path, int depth)
{
    struct stat st;
    struct dirent **names = NULL;
    uint64_t sum = 0;
    if (depth > LIMIT_DEPTH_MAX || stat(path, &st) < 0) {
        return 0;
    }
    if (!S_ISDIR(st.st_mode)) {
        return S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    }
    int count = scandir(path, &names, not_dots, NULL);
    for (int i = 0; i < count; i++) {
        char *below = cli_join(path, names[i]->d_name);
        sum += size_of(below, depth + 1);
        free(below);
        free(names[i]);
    }
    free(names);
    return sum;
}

/* ---- The command ---------------------------------------------------------------------------- */

static void upload_all(struct upload *u, size_t sources, const char *target, bool into)
{
    for (size_t i = 0; i < sources && !cli_interrupted(); i++) {
        const char *source = u->cli->arguments[i];
        if (strcmp(source, "-") == 0) {
            if (into) {
                cli_error(u->cli, target, "%s", dfs_error_text(DFS_EIS_DIR));
            } else {
                (void)upload_fd(u, STDIN_FILENO, "standard input", target);
            }
            continue;
        }
        char *name = cli_base_name(source);
        char *to = into ? cli_join(target, name) : xstrdup(target);
        upload_any(u, source, to, 0);
        free(name);
        free(to);
    }
}

int cli_put(struct cli *cli)
{
    size_t sources = cli->argument_count > 1 ? cli->argument_count - 1 : 1;
    const char *target = cli->argument_count > 1 ? cli->arguments[cli->argument_count - 1] : ".";
    struct upload u = {.cli = cli};
    uint64_t total = 0;
    /* The user's own directory need not exist yet. */
    bool into = strcmp(target, ".") == 0 || cli_is_directory(cli, target);
    if (cli->status) {
        return cli->status;
    }
    if (sources > 1 && !into) {
        cli_error(cli, target, "%s", dfs_error_text(DFS_ENOT_DIR));
        return cli->status;
    }
    bool shows = cli->err_tty && !cli->options.quiet;
    for (size_t i = 0; shows && i < sources; i++) {
        total += size_of(cli->arguments[i], 0);
    }
    u.buffer = xmalloc(BUFFER_BYTES);
    cli_catch_signals();
    progress_begin(&u.progress, "put", shows, total);
    upload_all(&u, sources, target, into);
    progress_end(&u.progress);
    if (cli->options.json) {
        cli_print_json(json_pack("{s:I, s:I, s:f}", "files", (json_int_t)u.progress.files, "bytes",
                                 (json_int_t)u.progress.done, "seconds",
                                 progress_seconds(&u.progress)));
    }
    free(u.buffer);
    return cli_interrupted() ? CLI_INTERRUPTED : cli->status;
}

/* ---- append --------------------------------------------------------------------------------- */

static bool append_one(struct upload *u, const char *source, struct dfs_file *file)
{
    struct err e = ERR_INIT;
    if (strcmp(source, "-") == 0) {
        return copy_in(u, STDIN_FILENO, "standard input", file);
    }
    int fd = sys_open(source, O_RDONLY, 0, &e);
    if (fd < 0) {
        cli_err(u->cli, NULL, &e);
        return false;
    }
    bool ok = copy_in(u, fd, source, file);
    sys_close(&fd);
    return ok;
}

/* What was appended stays, also when it ends early: a file that has its name is closed, not given
 * up. */
int cli_append(struct cli *cli)
{
    size_t sources = cli->argument_count - 1;
    const char *target = cli->arguments[sources];
    struct upload u = {.cli = cli};
    struct dfs_err e = {0};
    struct dfs_file *file = NULL;
    int r = dfs_append(cli->dfs, target, &file, &e);
    if (r == DFS_ENOT_FOUND) {
        r = dfs_create(cli->dfs, target, NULL, &file, &e);
    }
    if (r < 0) {
        cli_dfs_error(cli, target, &e);
        return cli->status;
    }
    u.buffer = xmalloc(BUFFER_BYTES);
    cli_catch_signals();
    progress_begin(&u.progress, "append", cli->err_tty && !cli->options.quiet, 0);
    bool ok = true;
    for (size_t i = 0; ok && i < sources; i++) {
        ok = append_one(&u, cli->arguments[i], file);
    }
    if (dfs_close(file, &e) < 0) {
        cli_dfs_error(cli, target, &e);
    }
    progress_end(&u.progress);
    if (cli->options.json) {
        cli_print_json(json_pack("{s:I, s:f}", "bytes", (json_int_t)u.progress.done, "seconds",
                                 progress_seconds(&u.progress)));
    }
    free(u.buffer);
    return cli_interrupted() ? CLI_INTERRUPTED : cli->status;
}
