/* dfs cp: copies within the store. The bytes go through this client, verified when they are read; a
 * file appears whole, like one that is put. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/preserve.h"
#include "client/cli/transfer.h"
#include "client/cli/walk.h"
#include "common/alloc.h"

/* ---- One file ------------------------------------------------------------------------------- */

static bool copy_bytes(struct cli *cli, const struct transfer_item *item, struct dfs_file *from,
                       struct dfs_file *to, char *buffer)
{
    struct dfs_err e = {0};
    uint64_t at = 0;
    while (!cli_interrupted()) {
        int64_t n = dfs_pread(from, buffer, TRANSFER_BUFFER_BYTES, at, &e);
        if (n < 0) {
            cli_dfs_error(cli, item->source, &e);
            return false;
        }
        if (n == 0) {
            return true;
        }
        if (dfs_write(to, buffer, (size_t)n, &e) < 0) {
            cli_dfs_error(cli, item->target, &e);
            return false;
        }
        at += (uint64_t)n;
        cli_progress_add(cli, (uint64_t)n);
    }
    return false;
}

/* Refused before any byte is copied; the link checks again. False: it said why. */
static bool may_replace(struct cli *cli, const struct transfer_item *item)
{
    struct dfs_stat target;
    int r = transfer_stat_target(cli, item, &target);
    if (r > 0 && target.directory) {
        cli_error(cli, item->target, "%s", cli_error_text(DFS_EIS_DIR));
    } else if (r > 0 && !cli->options.force) {
        cli_error(cli, item->target, "%s", cli_error_text(DFS_EEXISTS));
    }
    return r == 0 || (r > 0 && !target.directory && cli->options.force);
}

static bool copy_file(struct cli *cli, const struct transfer_item *item, struct dfs_file *from,
                      const struct dfs_stat *stat, char *buffer)
{
    struct dfs_err e = {0};
    struct dfs_file *to = NULL;
    struct dfs_create_options options = {.replication = stat->replication,
                                         .chunk_bytes = stat->chunk_bytes,
                                         .link_path = item->target,
                                         .link_bytes = stat->length};
    int flags = (cli->options.force ? DFS_REPLACE : 0) | (item->target[0] == '/' ? 0 : DFS_PARENTS);
    if (dfs_create(cli->dfs, NULL, &options, &to, &e) < 0) {
        cli_dfs_error(cli, item->target, &e);
        return false;
    }
    if (!copy_bytes(cli, item, from, to, buffer)) {
        dfs_abandon(to);
        return false;
    }
    if (dfs_close_link(to, item->target, flags, NULL, NULL, &e) < 0) {
        cli_dfs_error(cli, item->target, &e);
        return false;
    }
    return true;
}

static void copy(struct cli *cli, struct transfer_item *item, char *buffer)
{
    struct dfs_stat stat;
    struct preserved p;
    struct dfs_file *from = may_replace(cli, item) ? transfer_open(cli, item, &stat) : NULL;
    if (!from || !copy_file(cli, item, from, &stat, buffer)) {
        return;
    }
    cli_progress_file(cli);
    if (cli->options.preserve) {
        if (stat.xattr_count > 0) {
            preserve_xattrs_within(cli, item->source, item->target);
        }
        preserved_from_store(&p, &stat);
        preserve_in_store(cli, item->target, &p);
    }
}

/* ---- Trees ---------------------------------------------------------------------------------- */

struct tree {
    struct transfer *transfer;
    const char *source;
    const char *target;    /* what source becomes */
    struct dfs_file *file; /* source, if it is open and nobody has taken it */
};

static bool visit(struct walk *w, const char *path, const struct dfs_stat *stat, int depth)
{
    struct tree *tree = w->arg;
    struct preserved p;
    const char *below = path + strlen(tree->source);
    char *target =
        depth == 0 ? xstrdup(tree->target) : cli_join(tree->target, below + strspn(below, "/"));
    if (!stat->directory) {
        transfer_take_file(tree->transfer, xstrdup(path), target, tree->file);
        tree->file = NULL;
        return true;
    }
    bool into = cli_make_directory(w->cli, target);
    if (into && w->cli->options.preserve && stat->xattr_count > 0) {
        preserve_xattrs_within(w->cli, path, target);
    }
    if (into && w->cli->options.preserve) {
        preserved_from_store(&p, stat);
        transfer_late(tree->transfer, target, &p, preserve_in_store);
    }
    free(target);
    return into;
}

/* A tree that is copied into itself would never end, and a file has only one name. False: it said
 * so. */
static bool is_apart(struct cli *cli, const char *source, const char *target, bool directory)
{
    char *from = NULL, *to = NULL;
    struct dfs_err e = {0};
    bool apart = false;
    if (dfs_resolve_path(cli->dfs, source, &from, &e) < 0 ||
        dfs_resolve_path(cli->dfs, target, &to, &e) < 0) {
        cli_dfs_error(cli, source, &e);
    } else if (directory) {
        size_t length = strcmp(from, "/") == 0 ? 0 : strlen(from);
        apart = strncmp(from, to, length) != 0 || (to[length] != '/' && to[length] != '\0');
        if (!apart) {
            cli_error(cli, source, "cannot be copied into itself, `%s'", target);
        }
    } else {
        apart = strcmp(from, to) != 0;
        if (!apart) {
            cli_error(cli, source, "is the same file as `%s'", target);
        }
    }
    free(from);
    free(to);
    return apart;
}

/* ---- The command ---------------------------------------------------------------------------- */

/* `to` is what the source becomes. */
static void copy_one(struct cli *cli, struct transfer *t, const char *source, const char *to,
                     bool only)
{
    struct dfs_stat stat;
    struct tree tree = {.transfer = t, .source = source, .target = to};
    struct walk walk = {.cli = cli, .visit = visit, .arg = &tree};
    if (!transfer_find(cli, source, only, &stat, &tree.file)) {
        return;
    }
    if (cli_may_become(cli, to, stat.directory) && is_apart(cli, source, to, stat.directory)) {
        cli_progress_expect(cli, stat.directory ? stat.subtree_bytes : stat.length);
        walk_from(&walk, source, &stat);
    }
    if (tree.file) {
        (void)dfs_close(tree.file, NULL);
    }
}

static int run_cp(struct cli *cli)
{
    struct cli_paths sources = {NULL, 0};
    struct dfs_stat stat = {0};
    size_t last = cli->argument_count - 1;
    const char *target = cli->arguments[last];
    int found = cli_stat(cli, target, &stat);
    bool into = found > 0 && stat.directory;
    (void)cli_expand_arguments(cli, 0, last, &sources);
    if (sources.count > 1 && !into) {
        cli_error(cli, target, "%s", cli_error_text(DFS_ENOT_DIR));
        cli_paths_free(&sources);
        return cli->status;
    }
    struct transfer *t = transfer_new(cli, copy);
    if (found >= 0) {
        transfer_know_target(t, target, found, &stat);
    }
    for (size_t i = 0; i < sources.count && !cli_interrupted(); i++) {
        char *name = cli_source_name(cli, sources.items[i]);
        char *to = into && name && name[0] ? cli_join(target, name) : xstrdup(target);
        if (name) {
            copy_one(cli, t, sources.items[i], to, sources.count == 1);
        }
        free(name);
        free(to);
    }
    cli_paths_free(&sources);
    return transfer_finish(t, false);
}

/* ---- Page ----------------------------------------------------------------------------------- */

/* hadoop fs -cp -p[topax]: what to keep follows in the same word. It is one thing here. */
static const char *respell(const char *flag)
{
    bool is_list = strncmp(flag, "-p", 2) == 0 && flag[2 + strspn(flag + 2, "topax")] == '\0';
    return is_list ? "-p" : flag;
}

static const struct config_row cp_rows[] = {
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f', .help = "Replace files that exist."},
    {ONCE("preserve", CONFIG_BOOL, preserve), .letter = 'p',
     .help = "Keep modes, times, extended attributes, and for the superuser owners and groups."},
    ROW_THREADS,
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'r',
     .help = "Accepted for the fingers' sake: directories always come with all that is in them."},
    {ACCEPTED("direct"), .letter = 'd', .help = "Never an intermediate file: always so here."},
};

const struct cli_command cli_cp_page = {
    .name = "cp",
    .summary = "copy within the store",
    .run = run_cp,
    .respell = respell,
    ROWS(cp_rows),
    .arguments = "SOURCE... TARGET",
    .arguments_min = 2,
    .arguments_max = ARGUMENTS_MANY,
    .description =
        "Copies files, and directories with all that is in them. If TARGET is a directory, they go "
        "into it. The number of copies and the chunk size are those of the source. The bytes go "
        "through this client and are verified on the way; a file appears whole and at once.",
    .footer = "Examples:\n"
              "  dfs cp /books/a.txt /books/b.txt\n"
              "  dfs cp -p -t 8 '/in/2026-*' /archive",
};
