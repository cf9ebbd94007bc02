/* dfs put and append. A file that is put is uploaded without a name and linked when it is complete
 * and durable. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/preserve.h"
#include "client/cli/transfer.h"
#include "common/alloc.h"
#include "common/limits.h"
#include "common/sys.h"

enum { LOOK_MS = 500 }; /* after the file, while its bytes are awaited */

/* ---- One file ------------------------------------------------------------------------------- */

/* What a pipe has brought shows to readers while it brings no more, also when a chunkserver fails
 * meanwhile. */
static int wait_for_bytes(int fd, struct dfs_file *file, struct dfs_err *e)
{
    struct pollfd from = {.fd = fd, .events = POLLIN};
    int r = 0;
    while (r == 0 && !cli_interrupted() && poll(&from, 1, LOOK_MS) == 0) {
        r = dfs_write(file, "", 0, e);
    }
    return r;
}

/* Everything from fd into the file. Errors of the store are said of `path`; NULL: they are left to
 * dfs_close(), which says them again. */
static bool copy_in(struct cli *cli, int fd, const char *source, struct dfs_file *file,
                    const char *path, char *buffer)
{
    struct dfs_err e = {0};
    int r;
    while ((r = wait_for_bytes(fd, file, &e)) == 0 && !cli_interrupted()) {
        ssize_t n = read(fd, buffer, TRANSFER_BUFFER_BYTES);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            cli_error(cli, source, "%s", strerror(errno));
            return false;
        }
        if (n == 0) {
            return true;
        }
        r = dfs_write(file, buffer, (size_t)n, &e);
        r = r == 0 && cli->options.sync ? dfs_sync(file, &e) : r;
        if (r < 0) {
            break;
        }
        cli_progress_add(cli, (uint64_t)n);
    }
    if (r < 0 && path) {
        cli_dfs_error(cli, path, &e);
    }
    return false;
}

/* Refused before any byte is sent; the link checks again. */
static bool may_link(struct cli *cli, const struct transfer_item *item)
{
    struct dfs_stat stat;
    int r = transfer_stat_target(cli, item, &stat);
    if (r > 0 && stat.directory) {
        cli_error(cli, item->target, "%s", cli_error_text(DFS_EIS_DIR));
    } else if (r > 0 && !cli->options.force) {
        cli_error(cli, item->target, "%s", cli_error_text(DFS_EEXISTS));
    }
    return r == 0 || (r > 0 && !stat.directory && cli->options.force);
}

static bool upload_fd(struct cli *cli, int fd, const struct transfer_item *item, char *buffer)
{
    struct dfs_err e = {0};
    struct dfs_file *file = NULL;
    const char *target = item->target;
    struct stat st;
    struct dfs_create_options options = {
        .replication = (uint32_t)cli->options.replication,
        .chunk_bytes = cli->options.chunk_bytes,
        .link_path = target,
        .link_bytes = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0};
    /* A user's own directory is made on the way; elsewhere a missing parent is an error. */
    int flags = (cli->options.force ? DFS_REPLACE : 0) | (target[0] == '/' ? 0 : DFS_PARENTS);
    if (!may_link(cli, item)) {
        return false;
    }
    if (dfs_create(cli->dfs, NULL, &options, &file, &e) < 0) {
        cli_dfs_error(cli, target, &e);
        return false;
    }
    if (!copy_in(cli, fd, item->source, file, item->source, buffer)) {
        dfs_abandon(file);
        return false;
    }
    if (dfs_close_link(file, target, flags, NULL, NULL, &e) < 0) {
        cli_dfs_error(cli, target, &e);
        return false;
    }
    cli_progress_file(cli);
    return true;
}

static void upload(struct cli *cli, struct transfer_item *item, char *buffer)
{
    struct err e = ERR_INIT;
    struct stat st;
    struct preserved p;
    if (item->at_stdio) {
        (void)upload_fd(cli, STDIN_FILENO, item, buffer);
        return;
    }
    int fd = sys_open(item->source, O_RDONLY, 0, &e);
    if (fd < 0) {
        cli_err(cli, NULL, &e);
        return;
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    bool ok = upload_fd(cli, fd, item, buffer);
    if (ok && cli->options.preserve && fstat(fd, &st) == 0) {
        preserve_xattrs_up(cli, item->source, item->target);
        preserved_from_local(&p, &st);
        preserve_in_store(cli, item->target, &p);
    }
    sys_close(&fd);
    if (ok && cli->options.remove_source && unlink(item->source) < 0) {
        cli_error(cli, item->source, "%s", strerror(errno));
    }
}

/* ---- Trees ---------------------------------------------------------------------------------- */

static int not_dots(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static void remove_directory(struct cli *cli, const char *path, const struct preserved *p)
{
    (void)p;
    /* It is not empty if something in it could not be put; that has been said. */
    if (rmdir(path) < 0 && errno != ENOTEMPTY && errno != EEXIST) {
        cli_error(cli, path, "%s", strerror(errno));
    }
}

static void upload_any(struct cli *cli, struct transfer *t, const char *source, const char *target,
                       int depth);

/* NOLINTNEXTLINE(misc-no-recursion): bounded by depth, also where links make a circle */
static void upload_tree(struct cli *cli, struct transfer *t, const char *source, const char *target,
                        int depth)
{
    struct dirent **names = NULL;
    if (depth > LIMIT_DEPTH_MAX || !cli_make_directory(cli, target)) {
        return;
    }
    if (cli->options.preserve) {
        preserve_xattrs_up(cli, source, target);
    }
    int count = scandir(source, &names, not_dots, alphasort);
    if (count < 0) {
        cli_error(cli, source, "%s", strerror(errno));
    }
    for (int i = 0; i < count; i++) {
        if (!cli_interrupted()) {
            char *from = cli_join(source, names[i]->d_name);
            char *to = cli_join(target, names[i]->d_name);
            upload_any(cli, t, from, to, depth + 1);
            free(from);
            free(to);
        }
        free(names[i]);
    }
    free(names);
}

/* NOLINTNEXTLINE(misc-no-recursion): upload_tree() bounds it */
static void upload_any(struct cli *cli, struct transfer *t, const char *source, const char *target,
                       int depth)
{
    struct stat st;
    struct preserved p;
    if (stat(source, &st) < 0) {
        cli_error(cli, source, "%s", strerror(errno));
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        cli_progress_expect(cli, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
        transfer_take_file(t, xstrdup(source), xstrdup(target), NULL);
        return;
    }
    preserved_from_local(&p, &st);
    if (cli->options.remove_source) {
        transfer_late(t, source, &p, remove_directory);
    }
    if (cli->options.preserve) {
        transfer_late(t, target, &p, preserve_in_store);
    }
    upload_tree(cli, t, source, target, depth);
}

/* ---- The command ---------------------------------------------------------------------------- */

/* The shell has replaced patterns already, unless they were in quotes or nothing matched them. */
static void expand_local(const char *pattern, struct cli_paths *paths)
{
    glob_t found = {0};
    struct stat st;
    if (strcmp(pattern, "-") == 0 || lstat(pattern, &st) == 0 ||
        glob(pattern, 0, NULL, &found) != 0) {
        cli_paths_add(paths, pattern);
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        cli_paths_add(paths, found.gl_pathv[i]);
    }
    globfree(&found);
}

static bool is_local_directory(const char *path)
{
    struct stat st;
    return strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void upload_one(struct cli *cli, struct transfer *t, const char *source, const char *target,
                       bool into)
{
    if (strcmp(source, "-") == 0 && into) {
        cli_error(cli, target, "%s", cli_error_text(DFS_EIS_DIR));
        return;
    }
    if (!into && !cli_may_become(cli, target, is_local_directory(source))) {
        return;
    }
    if (strcmp(source, "-") == 0) {
        transfer_stdio(t, "standard input", target, NULL);
        return;
    }
    char *name = cli_base_name(source);
    bool named = into && !cli_is_dots(source) && name[0] != '\0';
    char *to = named ? cli_join(target, name) : xstrdup(target);
    upload_any(cli, t, source, to, 0);
    free(name);
    free(to);
}

/* Without a target the one argument is a source. */
static size_t count_sources(const struct cli *cli)
{
    return cli->argument_count > 1 ? cli->argument_count - 1 : 1;
}

/* What is not there is said now and left out. */
static bool check_put(struct cli *cli)
{
    struct cli_paths named = {NULL, 0};
    struct stat st;
    for (size_t i = 0; i < count_sources(cli); i++) {
        expand_local(cli->arguments[i], &named);
    }
    for (size_t i = 0; i < named.count; i++) {
        const char *path = named.items[i];
        if (strcmp(path, "-") == 0 || stat(path, &st) == 0) {
            cli_paths_add(&cli->sources, path);
        } else {
            cli_error(cli, path, "%s", strerror(errno));
            cli->sources_missing++;
        }
    }
    cli_paths_free(&named);
    return cli->sources.count > 0;
}

static int run_put(struct cli *cli)
{
    const struct cli_paths *sources = &cli->sources;
    const char *target = cli->argument_count > 1 ? cli->arguments[count_sources(cli)] : ".";
    struct dfs_stat stat = {0};
    int found = 0;
    bool into = strcmp(target, ".") == 0; /* the user's own directory need not exist yet */
    if (!into) {
        found = cli_stat(cli, target, &stat);
        if (found < 0) {
            return cli->status;
        }
        into = found > 0 && stat.directory;
    }
    if (sources->count + cli->sources_missing > 1 && !into) {
        cli_error(cli, target, "%s", cli_error_text(DFS_ENOT_DIR));
        return cli->status;
    }
    struct transfer *t = transfer_new(cli, upload);
    if (!into) {
        transfer_know_target(t, target, found, &stat);
    }
    for (size_t i = 0; i < sources->count && !cli_interrupted(); i++) {
        upload_one(cli, t, sources->items[i], target, into);
    }
    return transfer_finish(t, false);
}

/* ---- append --------------------------------------------------------------------------------- */

static bool append_one(struct cli *cli, const char *source, struct dfs_file *file, char *buffer)
{
    struct err e = ERR_INIT;
    if (strcmp(source, "-") == 0) {
        return copy_in(cli, STDIN_FILENO, "standard input", file, NULL, buffer);
    }
    int fd = sys_open(source, O_RDONLY, 0, &e);
    if (fd < 0) {
        cli_err(cli, NULL, &e);
        return false;
    }
    bool ok = copy_in(cli, fd, source, file, NULL, buffer);
    sys_close(&fd);
    return ok;
}

/* A part of what was asked for is not appended because the rest is not there. */
static bool check_append(struct cli *cli)
{
    struct stat st;
    for (size_t i = 0; i + 1 < cli->argument_count; i++) {
        const char *source = cli->arguments[i];
        if (strcmp(source, "-") == 0) {
            continue;
        }
        int number = stat(source, &st) < 0 ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
        if (number != 0) {
            cli_error(cli, source, "%s", strerror(number));
        }
    }
    return cli->status == 0;
}

/* What was appended stays, also when it ends early: a file that has its name is closed, not given
 * up. */
static int run_append(struct cli *cli)
{
    size_t sources = cli->argument_count - 1;
    const char *target = cli->arguments[sources];
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
    char *buffer = xmalloc(TRANSFER_BUFFER_BYTES);
    cli_catch_signals();
    cli_progress_begin(cli, "append");
    bool ok = true;
    for (size_t i = 0; ok && i < sources; i++) {
        ok = append_one(cli, cli->arguments[i], file, buffer);
        if (ok) {
            cli_progress_file(cli);
        }
    }
    if (dfs_close(file, &e) < 0) {
        cli_dfs_error(cli, target, &e);
    }
    cli_progress_end(cli, false);
    free(buffer);
    return cli_interrupted() ? CLI_INTERRUPTED : cli->status;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static const struct config_row put_rows[] = {
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f', .help = "Replace files that exist."},
    {ONCE("replication", CONFIG_INT, replication), .value_name = "N", .min = 1, .max = 16,
     .help = "Copies of each chunk. Default: the cluster's."},
    {ONCE("chunk-size", CONFIG_SIZE, chunk_bytes), .value_name = "SIZE", .min = 1 << 20,
     .max = 1 << 30, .help = "Bytes of a chunk, a multiple of 64K. Default: 64M."},
    {ONCE("preserve", CONFIG_BOOL, preserve), .letter = 'p',
     .help = "Keep modes, times, extended attributes, and for the superuser owners and groups."},
    ROW_THREADS,
    {ONCE("move", CONFIG_BOOL, remove_source),
     .help = "Remove each local file when it is in the store. moveFromLocal implies this."},
    {ACCEPTED("direct"), .letter = 'd', .help = "Never an intermediate file: always so here."},
    {ACCEPTED("lazy-persist"), .letter = 'l', .help = "Nothing is lazy."},
};

const struct cli_command cli_put_page = {
    .name = "put",
    .summary = "copy local files into the store",
    .check = check_put,
    .run = run_put,
    ROWS(put_rows),
    .arguments = "SOURCE... TARGET",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description =
        "Copies files, and directories with all that is in them. If TARGET is a directory, they "
        "go into it. `-' as SOURCE is standard input. A file appears whole and at once, when all "
        "its bytes are durable on all their servers; an upload that is cut off leaves nothing to "
        "see. Patterns in quotes are matched here. With one argument, TARGET is your own "
        "directory. Also called copyFromLocal; moveFromLocal removes the sources.",
    .footer = "Examples:\n"
              "  dfs put book.txt /books/book.txt\n"
              "  dfs put *.txt /books\n"
              "  zcat dump.gz | dfs put -f - /dumps/today\n"
              "  dfs put --replication 2 --chunk-size 4M logs /logs\n"
              "  dfs put -p -t 16 photos /archive",
};

static const struct config_row append_rows[] = {
    {ONCE("sync", CONFIG_BOOL, sync), .letter = 's',
     .help = "Make every piece durable, and visible to readers, before the next one is read."},
};

const struct cli_command cli_append_page = {
    .name = "append",
    .summary = "write at the end of a file",
    .check = check_append,
    .run = run_append,
    ROWS(append_rows),
    .arguments = "SOURCE... TARGET",
    .arguments_min = 2,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Adds local files, or standard input as `-', to the end of TARGET, which is "
                   "made if it does not exist; nothing is added if one of the local files is not "
                   "there. What comes in slowly shows to readers as soon as it pauses. One writer "
                   "at a time. Also called appendToFile.",
    .footer = "Examples:\n"
              "  dfs append today.log /logs/all\n"
              "  journalctl -f | dfs append --sync - /logs/journal",
};
