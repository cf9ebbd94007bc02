/* dfs get: a file is written under a temporary name and renamed when it is complete. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/local_file.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/preserve.h"
#include "client/cli/transfer.h"
#include "client/cli/walk.h"
#include "common/alloc.h"
#include "common/crc32c.h"
#include "common/macros.h"
#include "common/sys.h"

/* ---- One file ------------------------------------------------------------------------------- */

/* Everything of the file from `at` on to fd, which the user calls `target`. */
static bool copy_out(struct cli *cli, struct dfs_file *file, const struct transfer_item *item,
                     uint64_t at, int fd, char *buffer)
{
    struct dfs_err e = {0};
    struct err le = ERR_INIT;
    while (!cli_interrupted()) {
        int64_t n = dfs_pread(file, buffer, TRANSFER_BUFFER_BYTES, at, &e);
        if (n < 0) {
            cli_dfs_error(cli, item->source, &e);
            return false;
        }
        if (n == 0) {
            return true;
        }
        if (sys_write_full(fd, buffer, (size_t)n, &le) < 0) {
            cli_err(cli, item->target, &le);
            return false;
        }
        at += (uint64_t)n;
        cli_progress_add(cli, (uint64_t)n);
    }
    return false;
}

/* How much of the local file is as the store has it, by checksums; -1: it said why not. Nothing is
 * fetched for that (dfs_checksum()). */
static int64_t same_prefix(struct cli *cli, struct dfs_file *file, const struct transfer_item *item,
                           int fd, char *buffer)
{
    struct dfs_err e = {0};
    uint64_t at = 0, length = 0;
    if (dfs_length(file, &length, &e) < 0) {
        cli_dfs_error(cli, item->source, &e);
        return -1;
    }
    while (at < length && !cli_interrupted()) {
        uint32_t crc = 0;
        ssize_t n = pread(fd, buffer, MIN(TRANSFER_BUFFER_BYTES, length - at), (off_t)at);
        if (n < 0) {
            cli_error(cli, item->target, "%s", strerror(errno));
            return -1;
        }
        if (n > 0 && dfs_checksum(file, at, (uint64_t)n, &crc, &e) < 0) {
            cli_dfs_error(cli, item->source, &e);
            return -1;
        }
        if (n == 0 || crc != crc32c(buffer, (size_t)n)) {
            break;
        }
        at += (uint64_t)n;
    }
    return (int64_t)at;
}

/* Goes on behind what an earlier get left and what is right of it. */
static bool continue_at(struct cli *cli, struct dfs_file *file, const struct transfer_item *item,
                        int fd, char *buffer)
{
    int64_t at = same_prefix(cli, file, item, fd, buffer);
    if (at < 0) {
        return false;
    }
    if (ftruncate(fd, at) < 0 || lseek(fd, at, SEEK_SET) < 0) {
        cli_error(cli, item->target, "%s", strerror(errno));
        return false;
    }
    cli_progress_expect(cli, 0 - (uint64_t)at); /* so much less */
    return copy_out(cli, file, item, (uint64_t)at, fd, buffer);
}

/* With --continue: whether the target is there already, all of it. */
static bool is_complete(struct cli *cli, struct dfs_file *file, const struct transfer_item *item,
                        char *buffer)
{
    struct stat st;
    struct dfs_err e = {0};
    uint64_t length = 0;
    int fd = open(item->target, O_RDONLY | O_CLOEXEC);
    bool complete = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                    dfs_length(file, &length, &e) == 0 && (uint64_t)st.st_size == length &&
                    same_prefix(cli, file, item, fd, buffer) == st.st_size;
    sys_close(&fd);
    if (complete) {
        cli_progress_expect(cli, 0 - length);
    }
    return complete;
}

/* Into a new local file; true when it has its name. */
static bool save(struct cli *cli, struct dfs_file *file, const struct transfer_item *item,
                 char *buffer)
{
    const struct cli_options *o = &cli->options;
    struct local_file to;
    if (o->resume && is_complete(cli, file, item, buffer)) {
        return true;
    }
    if (!local_file_may_write(cli, item->target, o->force) ||
        !(o->resume ? local_file_begin_kept(cli, &to, item->target)
                    : local_file_begin(cli, &to, item->target))) {
        return false;
    }
    bool ok = o->resume ? continue_at(cli, file, item, to.fd, buffer)
                        : copy_out(cli, file, item, 0, to.fd, buffer);
    return local_file_end(cli, &to, ok, o->force);
}

/* What has come to stand there since it was opened stays. */
static void remove_source(struct cli *cli, const char *source, uint64_t inode)
{
    struct dfs_err e = {0};
    char *absolute = NULL;
    int r = dfs_resolve_path(cli->dfs, source, &absolute, &e);
    if (r == 0) {
        struct dfs_condition same = {.kind = DFS_PATH_IS, .name = absolute, .number = inode};
        struct dfs_conditions conditions = {&same, 1};
        r = dfs_delete(cli->dfs, source, 0, &conditions, &e);
    }
    if (r < 0) {
        cli_dfs_error(cli, source, &e);
    }
    free(absolute);
}

/* What -p and --move ask for once the file is here. */
static void afterwards(struct cli *cli, const struct transfer_item *item,
                       const struct dfs_stat *stat)
{
    struct preserved p;
    if (cli->options.preserve) {
        if (stat->xattr_count > 0) {
            preserve_xattrs_down(cli, item->source, item->target);
        }
        preserved_from_store(&p, stat);
        preserve_locally(cli, item->target, &p);
    }
    if (cli->options.remove_source) {
        remove_source(cli, item->source, stat->inode);
    }
}

static void download(struct cli *cli, struct transfer_item *item, char *buffer)
{
    struct dfs_stat stat;
    struct dfs_file *file = transfer_open(cli, item, &stat);
    if (!file) {
        return;
    }
    bool ok = item->at_stdio ? copy_out(cli, file, item, 0, STDOUT_FILENO, buffer)
                             : save(cli, file, item, buffer);
    if (ok) {
        cli_progress_file(cli);
    }
    if (ok && !item->at_stdio) {
        afterwards(cli, item, &stat);
    }
}

/* ---- Trees ---------------------------------------------------------------------------------- */

struct tree {
    struct transfer *transfer;
    const char *source;
    const char *target;    /* what source becomes */
    struct dfs_file *file; /* source, if it is open and nobody has taken it */
};

static void remove_directory(struct cli *cli, const char *path, const struct preserved *p)
{
    struct dfs_err e = {0};
    (void)p;
    /* It is not empty if something in it could not be copied; that has been said. */
    if (dfs_delete(cli->dfs, path, 0, NULL, &e) < 0 && e.code != DFS_ENOT_EMPTY) {
        cli_dfs_error(cli, path, &e);
    }
}

static bool download_directory(struct tree *tree, struct cli *cli, const char *path,
                               const char *target, const struct dfs_stat *stat)
{
    struct preserved p;
    if (mkdir(target, 0777) < 0 && errno != EEXIST) {
        cli_error(cli, target, "%s", strerror(errno));
        return false;
    }
    preserved_from_store(&p, stat);
    if (cli->options.remove_source) {
        transfer_late(tree->transfer, path, &p, remove_directory);
    }
    if (cli->options.preserve && stat->xattr_count > 0) {
        preserve_xattrs_down(cli, path, target);
    }
    if (cli->options.preserve) {
        transfer_late(tree->transfer, target, &p, preserve_locally);
    }
    return true;
}

static bool visit(struct walk *w, const char *path, const struct dfs_stat *stat, int depth)
{
    struct tree *tree = w->arg;
    const char *below = path + strlen(tree->source);
    char *target =
        depth == 0 ? xstrdup(tree->target) : cli_join(tree->target, below + strspn(below, "/"));
    if (!stat->directory) {
        transfer_take_file(tree->transfer, xstrdup(path), target, tree->file);
        tree->file = NULL;
        return true;
    }
    bool into = download_directory(tree, w->cli, path, target, stat);
    free(target);
    return into;
}

/* ---- The command ---------------------------------------------------------------------------- */

static bool is_local_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* `to` is what the source becomes; NULL: it goes to standard output. */
static void download_one(struct cli *cli, struct transfer *t, const char *source, const char *to,
                         bool only)
{
    struct dfs_stat stat;
    struct tree tree = {.transfer = t, .source = source, .target = to};
    struct walk walk = {.cli = cli, .visit = visit, .arg = &tree};
    if (!transfer_find(cli, source, only, &stat, &tree.file)) {
        return;
    }
    cli_progress_expect(cli, stat.directory ? stat.subtree_bytes : stat.length);
    if (!to) {
        transfer_stdio(t, source, "-", tree.file);
        return;
    }
    walk_from(&walk, source, &stat);
    if (tree.file) {
        (void)dfs_close(tree.file, NULL);
    }
}

/* What the source becomes in the local directory `target`. NULL: it said why. */
static char *join_local(struct cli *cli, const char *target, const char *source)
{
    char *name = cli_source_name(cli, source);
    if (!name) {
        return NULL;
    }
    bool here = strcmp(target, ".") == 0 && name[0] != '\0';
    char *path = here ? xstrdup(name) : cli_join(target, name);
    free(name);
    return path;
}

static bool check_get(struct cli *cli)
{
    const char *target = cli->arguments[cli->argument_count - 1];
    if (cli->argument_count == 1 || strcmp(target, "-") == 0 || is_local_directory(target)) {
        return true;
    }
    if (cli->argument_count > 2) {
        cli_error(cli, target, "%s", strerror(ENOTDIR));
        return false;
    }
    return local_file_has_place(cli, target);
}

static int run_get(struct cli *cli)
{
    struct cli_paths sources = {NULL, 0};
    size_t last = cli->argument_count > 1 ? cli->argument_count - 1 : 1;
    const char *target = cli->argument_count > 1 ? cli->arguments[last] : ".";
    bool to_stdout = strcmp(target, "-") == 0;
    bool into = is_local_directory(target);
    (void)cli_expand_arguments(cli, 0, last, &sources);
    if (sources.count > 1 && !into && !to_stdout) {
        cli_error(cli, target, "%s", strerror(ENOTDIR));
        cli_paths_free(&sources);
        return cli->status;
    }
    struct transfer *t = transfer_new(cli, download);
    for (size_t i = 0; i < sources.count && !cli_interrupted(); i++) {
        char *to = into ? join_local(cli, target, sources.items[i]) : xstrdup(target);
        if (to) {
            download_one(cli, t, sources.items[i], to_stdout ? NULL : to, sources.count == 1);
        }
        free(to);
    }
    cli_paths_free(&sources);
    return transfer_finish(t, to_stdout);
}

/* ---- getmerge ------------------------------------------------------------------------------- */

/* One file to the end of fd. False: it said why. */
static bool merge_file(struct cli *cli, const char *path, int fd, char *buffer)
{
    struct dfs_err e = {0};
    struct err le = ERR_INIT;
    struct dfs_file *file = NULL;
    uint64_t before = cli->progress.done;
    if (dfs_open(cli->dfs, path, &file, &e) < 0) {
        cli_dfs_error(cli, path, &e);
        return false;
    }
    const struct transfer_item item = {.source = (char *)path}; /* only read */
    bool ok = copy_out(cli, file, &item, 0, fd, buffer);
    (void)dfs_close(file, NULL);
    bool skipped = cli->options.skip_empty && cli->progress.done == before;
    if (ok && cli->options.newline && !skipped && sys_write_full(fd, "\n", 1, &le) < 0) {
        cli_err(cli, path, &le);
        ok = false;
    }
    if (ok) {
        cli_progress_file(cli);
    }
    return ok;
}

/* The path itself, or the files that are right in the directory. False: it said why. */
static bool find_parts(struct cli *cli, const char *path, struct cli_paths *parts)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err e = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    int r = cli_stat(cli, path, &stat);
    if (r == 0) {
        cli_not_found(cli, path);
    }
    if (r > 0 && !stat.directory) {
        cli_paths_add(parts, path);
    }
    if (r <= 0 || !stat.directory) {
        return r > 0;
    }
    r = dfs_dir_open(cli->dfs, path, &dir, &e);
    while (r >= 0 && (r = dfs_dir_next(dir, &name, &stat, &e)) > 0) {
        char *part = cli_join(path, name);
        if (!stat.directory) {
            cli_paths_add(parts, part);
            cli_progress_expect(cli, stat.length);
        }
        free(part);
    }
    dfs_dir_close(dir);
    if (r < 0) {
        cli_dfs_error(cli, path, &e);
    }
    return r >= 0;
}

static bool merge_all(struct cli *cli, const struct cli_paths *parts, int fd)
{
    char *buffer = xmalloc(TRANSFER_BUFFER_BYTES);
    bool ok = true;
    for (size_t i = 0; ok && i < parts->count; i++) {
        ok = merge_file(cli, parts->items[i], fd, buffer);
    }
    free(buffer);
    return ok;
}

static bool check_getmerge(struct cli *cli)
{
    const char *target = cli->arguments[cli->argument_count - 1];
    return strcmp(target, "-") == 0 ||
           (local_file_may_write(cli, target, true) && local_file_has_place(cli, target));
}

/* All or nothing: half of a merged file looks like a whole one. */
static int run_getmerge(struct cli *cli)
{
    size_t last = cli->argument_count - 1;
    const char *target = cli->arguments[last];
    bool to_stdout = strcmp(target, "-") == 0;
    struct cli_paths sources = {NULL, 0}, parts = {NULL, 0};
    struct local_file to;
    cli_catch_signals();
    cli_progress_begin(cli, "getmerge");
    bool ok = cli_expand_arguments(cli, 0, last, &sources);
    for (size_t i = 0; ok && i < sources.count; i++) {
        ok = find_parts(cli, sources.items[i], &parts);
    }
    ok = ok && (to_stdout || local_file_begin(cli, &to, target));
    if (ok && to_stdout) {
        (void)merge_all(cli, &parts, STDOUT_FILENO);
    } else if (ok) {
        (void)local_file_end(cli, &to, merge_all(cli, &parts, to.fd), true);
    }
    cli_paths_free(&sources);
    cli_paths_free(&parts);
    cli_progress_end(cli, to_stdout);
    return cli_interrupted() ? CLI_INTERRUPTED : cli->status;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static const struct config_row get_rows[] = {
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f', .help = "Replace local files that exist."},
    {ONCE("preserve", CONFIG_BOOL, preserve), .letter = 'p',
     .help = "Keep modes, times, extended attributes, and for the superuser owners and groups."},
    ROW_THREADS,
    {ONCE("continue", CONFIG_BOOL, resume), .letter = 'c',
     .help =
         "Keep what has been copied when this is interrupted, as .NAME.dfs-part, and go on "
         "from there the next time. What is there is compared with the store's checksums first; "
         "files that are complete are left alone."},
    {ONCE("move", CONFIG_BOOL, remove_source),
     .help = "Remove each file from the store when it is here. moveToLocal implies this."},
    {ACCEPTED("ignore-crc"), .help = "Every byte is checked all the same."},
    {ACCEPTED("crc"), .help = "No files of checksums are written."},
};

const struct cli_command cli_get_page = {
    .name = "get",
    .summary = "copy files out of the store",
    .check = check_get,
    .run = run_get,
    ROWS(get_rows),
    .arguments = "SOURCE... [TARGET]",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description =
        "Copies files, and directories with all that is in them, to local ones. If TARGET is a "
        "local directory, they go into it; `-' is standard output. A file is written under a "
        "temporary name and renamed when it is complete; on an error it is removed. Every byte "
        "is checked against its checksum; a bad copy is skipped for a good one. "
        "Also called copyToLocal.",
    .footer = "Examples:\n"
              "  dfs get /books/book.txt\n"
              "  dfs get '/counts/part-*' results/\n"
              "  dfs get -f /logs ./logs\n"
              "  dfs get --continue /backup .",
};

static const struct config_row getmerge_rows[] = {
    {ONCE("nl", CONFIG_BOOL, newline), .help = "Write a newline after each file."},
    {ONCE("skip-empty-file", CONFIG_BOOL, skip_empty), .help = "But not after an empty one."},
};

const struct cli_command cli_getmerge_page = {
    .name = "getmerge",
    .summary = "copy many files into one local file",
    .check = check_getmerge,
    .run = run_getmerge,
    ROWS(getmerge_rows),
    .arguments = "SOURCE... TARGET",
    .arguments_min = 2,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Writes files one after the other into the local file TARGET, or to standard "
                   "output as `-'. A directory stands for the files in it, in the order of their "
                   "names, without those in its directories. TARGET is replaced when everything "
                   "is complete, and stays as it is when something fails.",
    .footer = "Examples:\n"
              "  dfs getmerge /counts counts.txt\n"
              "  dfs getmerge -nl -skip-empty-file /logs/mon /logs/tue -",
};
