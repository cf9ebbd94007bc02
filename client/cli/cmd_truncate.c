/* dfs truncate: chunks never shrink, so the bytes that stay go into a new file, which takes the
 * name in one step. Meanwhile the old one's lease is ours, so that nobody writes what would be
 * lost, and the name must still be that of the file that was read. */
#include <inttypes.h>
#include <stdlib.h>

#include <trireme/dfs_xattr.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "common/alloc.h"
#include "common/macros.h"
#include "common/parse.h"

enum { BUFFER_BYTES = 1024 * 1024 };

/* The first `length` bytes. False: it said why not. */
static bool copy_beginning(struct cli *cli, const char *path, uint64_t length, struct dfs_file *to)
{
    struct dfs_err e = {0};
    struct dfs_file *from = NULL;
    char *buffer = xmalloc(BUFFER_BYTES);
    uint64_t at = 0;
    int64_t n = dfs_open(cli->dfs, path, &from, &e);
    while (n >= 0 && at < length && !cli_interrupted()) {
        n = dfs_pread(from, buffer, (size_t)MIN(length - at, (uint64_t)BUFFER_BYTES), at, &e);
        if (n == 0) {
            n = DFS_ESTALE; /* shorter than it was: somebody replaced it */
            e = (struct dfs_err){.code = DFS_ESTALE, .msg = "it has changed meanwhile"};
        }
        if (n > 0) {
            at += (uint64_t)n;
            n = dfs_write(to, buffer, (size_t)n, &e);
        }
    }
    free(buffer);
    if (from) {
        (void)dfs_close(from, NULL);
    }
    if (n < 0) {
        cli_dfs_error(cli, path, &e);
    }
    return n >= 0 && at == length;
}

/* The new file belongs to whoever truncates; the superuser gives it back. */
static void keep_owner(struct cli *cli, const char *path, const struct dfs_stat *was)
{
    struct dfs_err e = {0};
    struct dfs_attributes a = {
        .set_owner = true, .owner = was->owner, .set_group = true, .group = was->group};
    if (dfs_set_attributes(cli->dfs, path, &a, &e) < 0 && e.code != DFS_EPERMISSION) {
        cli_dfs_error(cli, path, &e);
    }
}

static bool replace(struct cli *cli, const char *path, const struct dfs_stat *was, uint64_t length)
{
    struct dfs_err e = {0};
    struct dfs_file *to = NULL;
    char *absolute = NULL;
    struct dfs_create_options options = {
        .mode = was->mode, .replication = was->replication, .chunk_bytes = was->chunk_bytes};
    bool ok = dfs_resolve_path(cli->dfs, path, &absolute, &e) == 0 &&
              dfs_create(cli->dfs, NULL, &options, &to, &e) == 0;
    if (!ok) {
        cli_dfs_error(cli, path, &e);
    } else if (!copy_beginning(cli, path, length, to)) {
        dfs_abandon(to);
        ok = false;
    } else {
        struct dfs_condition same = {.kind = DFS_PATH_IS, .name = absolute, .number = was->inode};
        struct dfs_conditions conditions = {&same, 1};
        ok = dfs_close_link(to, path, DFS_REPLACE, &conditions, NULL, &e) == 0;
        if (!ok) {
            cli_dfs_error(cli, path, &e);
        }
    }
    free(absolute);
    if (ok) {
        keep_owner(cli, path, was);
    }
    return ok;
}

/* With its extended attributes, which are of the file and not of the name. */
static bool replace_all(struct cli *cli, const char *path, const struct dfs_stat *was,
                        uint64_t length)
{
    struct dfs_err e = {0};
    struct dfs_xattrs xattrs = {NULL, 0};
    bool ok = was->xattr_count == 0 || dfs_get_xattrs(cli->dfs, path, NULL, &xattrs, &e) == 0;
    if (!ok) {
        cli_dfs_error(cli, path, &e);
    }
    ok = ok && replace(cli, path, was, length);
    for (size_t i = 0; ok && i < xattrs.count; i++) {
        ok = dfs_set_xattr(cli->dfs, path, &xattrs.items[i], DFS_XATTR_SET, NULL, &e) == 0;
        if (!ok) {
            cli_dfs_error(cli, path, &e);
        }
    }
    dfs_xattrs_free(&xattrs);
    return ok;
}

static bool truncate_one(struct cli *cli, const char *path, uint64_t length)
{
    struct dfs_err e = {0};
    struct dfs_stat stat;
    struct dfs_file *old = NULL;
    int r = cli_stat(cli, path, &stat);
    if (r == 0) {
        cli_not_found(cli, path);
    } else if (r > 0 && stat.directory) {
        cli_error(cli, path, "%s", cli_error_text(DFS_EIS_DIR));
    } else if (r > 0 && length > stat.length) {
        cli_error(cli, path,
                  "Cannot truncate to a larger file size. Current size: %" PRIu64
                  ", truncate size: %" PRIu64,
                  stat.length, length);
    }
    if (r <= 0 || stat.directory || length > stat.length) {
        return false;
    }
    if (dfs_append(cli->dfs, path, &old, &e) < 0) {
        cli_dfs_error(cli, path, &e);
        return false;
    }
    bool ok = length == stat.length || replace_all(cli, path, &stat, length);
    dfs_abandon(old); /* nothing was written to it */
    return ok;
}

static int run_truncate(struct cli *cli)
{
    uint64_t length = 0;
    struct err e = ERR_INIT;
    struct cli_paths paths = {NULL, 0};
    if (parse_size(cli->arguments[0], &length, &e) < 0) {
        cli_error(cli, NULL, "%s", err_message(&e));
        return 2;
    }
    json_t *done = cli->options.json ? json_array() : NULL;
    cli_catch_signals();
    (void)cli_expand_arguments(cli, 1, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count && !cli_interrupted(); i++) {
        if (truncate_one(cli, paths.items[i], length) && done) {
            (void)json_array_append_new(done, json_string(paths.items[i]));
        }
    }
    if (done) {
        cli_print_json(json_pack("{s:o}", "done", done));
    }
    cli_paths_free(&paths);
    return cli_interrupted() ? CLI_INTERRUPTED : cli->status;
}

/* ---- Page ----------------------------------------------------------------------------------- */

static const struct config_row truncate_rows[] = {
    {ONCE("wait", CONFIG_BOOL, wait), .letter = 'w',
     .help = "Accepted for scripts of hadoop fs: it is always complete when this returns."},
};

const struct cli_command cli_truncate_page = {
    .name = "truncate",
    .summary = "cut files to a length",
    .run = run_truncate,
    ROWS(truncate_rows),
    .arguments = "LENGTH PATH...",
    .arguments_min = 2,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Keeps the first LENGTH bytes of each file. Readers see the whole file or the "
                   "cut one; a file that somebody writes is refused. What stays is copied into a "
                   "new file that takes the name, so this takes as long as copying it, and the "
                   "file is yours afterwards unless you are the superuser.",
    .footer = "Examples:\n  dfs truncate 0 /logs/today\n  dfs truncate 64M /dumps/cut-off",
};
