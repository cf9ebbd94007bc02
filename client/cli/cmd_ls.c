/* dfs ls: lines as `hadoop fs -ls` has them, because scripts take them apart. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"

struct entry {
    char *path;
    struct dfs_stat stat;
};

struct listing {
    struct entry *items;
    size_t count;
};

/* Takes path. */
static void add(struct listing *l, char *path, const struct dfs_stat *stat)
{
    l->items = xreallocarray(l->items, l->count + 1, sizeof(*l->items));
    struct entry *entry = &l->items[l->count++];
    entry->path = path;
    entry->stat = *stat;
}

static void listing_free(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->items[i].path);
    }
    free(l->items);
}

/* ---- Order ---------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return strcmp(x->path, y->path);
}

static int by_time(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->stat.mtime_ms != y->stat.mtime_ms) {
        return x->stat.mtime_ms < y->stat.mtime_ms ? 1 : -1;
    }
    return by_name(a, b);
}

static int by_size(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->stat.length != y->stat.length) {
        return x->stat.length < y->stat.length ? 1 : -1;
    }
    return by_name(a, b);
}

static void sort(const struct cli_options *o, struct listing *l)
{
    if (l->count < 2) {
        return;
    }
    qsort(l->items, l->count, sizeof(*l->items),
          o->by_time   ? by_time
          : o->by_size ? by_size
                       : by_name);
    for (size_t i = 0; o->reverse && i < l->count / 2; i++) {
        struct entry swap = l->items[i];
        l->items[i] = l->items[l->count - 1 - i];
        l->items[l->count - 1 - i] = swap;
    }
}

/* ---- Lines ---------------------------------------------------------------------------------- */

struct widths {
    int copies, owner, group, length;
};

static void size_text(const struct cli_options *o, uint64_t bytes, char text[FORMAT_TEXT_BYTES])
{
    if (o->human) {
        format_bytes(bytes, text);
    } else {
        (void)snprintf(text, FORMAT_TEXT_BYTES, "%llu", (unsigned long long)bytes);
    }
}

static struct widths measure(const struct cli_options *o, const struct listing *l)
{
    struct widths w = {.copies = 3, .length = 10};
    for (size_t i = 0; i < l->count; i++) {
        char text[FORMAT_TEXT_BYTES];
        const struct dfs_stat *s = &l->items[i].stat;
        size_text(o, s->length, text);
        w.owner = MAX(w.owner, (int)strlen(s->owner));
        w.group = MAX(w.group, (int)strlen(s->group));
        w.length = MAX(w.length, (int)strlen(text));
    }
    return w;
}

static void print_line(const struct cli_options *o, const struct widths *w, const struct entry *at)
{
    char mode[16], time[32], size[FORMAT_TEXT_BYTES], copies[16] = "-";
    const struct dfs_stat *s = &at->stat;
    if (o->names_only) {
        (void)printf("%s\n", at->path);
        return;
    }
    cli_format_mode(s, mode);
    cli_format_time(s->mtime_ms, time);
    size_text(o, s->directory ? 0 : s->length, size);
    if (!s->directory) {
        (void)snprintf(copies, sizeof(copies), "%u", s->replication);
    }
    (void)printf("%s %*s %-*s %-*s %*s %s %s\n", mode, w->copies, copies, w->owner, s->owner,
                 w->group, s->group, w->length, size, time, at->path);
}

static void print(struct cli *cli, const struct listing *l, json_t *json)
{
    struct widths w = measure(&cli->options, l);
    for (size_t i = 0; i < l->count; i++) {
        if (json) {
            (void)json_array_append_new(json, cli_stat_json(l->items[i].path, &l->items[i].stat));
        } else {
            print_line(&cli->options, &w, &l->items[i]);
        }
    }
}

/* ---- Walking -------------------------------------------------------------------------------- */

static bool read_directory(struct cli *cli, const char *path, struct listing *l)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err e = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    int r = dfs_dir_open(cli->dfs, path, &dir, &e);
    while (r >= 0 && (r = dfs_dir_next(dir, &name, &stat, &e)) > 0) {
        add(l, cli_join(path, name), &stat);
    }
    dfs_dir_close(dir);
    if (r < 0) {
        cli_dfs_error(cli, path, &e);
    }
    return r >= 0;
}

/* One directory, then those in it. */
/* NOLINTNEXTLINE(misc-no-recursion): bounded by the store's depth */
static void list_directory(struct cli *cli, const char *path, json_t *json, int depth)
{
    struct listing l = {NULL, 0};
    if (read_directory(cli, path, &l)) {
        sort(&cli->options, &l);
        if (!json && !cli->options.recursive && !cli->options.names_only && l.count > 0) {
            (void)printf("Found %zu items\n", l.count);
        }
        if (!cli->options.recursive) {
            print(cli, &l, json);
        }
        for (size_t i = 0; cli->options.recursive && i < l.count; i++) {
            struct listing one = {&l.items[i], 1};
            print(cli, &one, json);
            if (l.items[i].stat.directory && depth < LIMIT_DEPTH_MAX) {
                list_directory(cli, l.items[i].path, json, depth + 1);
            }
        }
    }
    listing_free(&l);
}

static int run_ls(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    struct listing files = {NULL, 0};
    json_t *json = cli->options.json ? json_array() : NULL;
    if (cli->argument_count == 0) {
        cli_paths_add(&paths, ".");
    }
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    struct cli_paths directories = {NULL, 0};
    for (size_t i = 0; i < paths.count; i++) {
        struct dfs_stat stat;
        int r = cli_stat(cli, paths.items[i], &stat);
        if (r == 0) {
            cli_not_found(cli, paths.items[i]);
        } else if (r > 0 && stat.directory && !cli->options.directory) {
            cli_paths_add(&directories, paths.items[i]);
        } else if (r > 0) {
            add(&files, xstrdup(paths.items[i]), &stat);
        }
    }
    sort(&cli->options, &files);
    print(cli, &files, json);
    for (size_t i = 0; i < directories.count; i++) {
        char *shown = NULL;
        if (strcmp(directories.items[i], ".") == 0 &&
            dfs_resolve_path(cli->dfs, ".", &shown, NULL) == 0) {
            list_directory(cli, shown, json, 0);
        } else {
            list_directory(cli, directories.items[i], json, 0);
        }
        free(shown);
    }
    if (json) {
        cli_print_json(json);
    }
    listing_free(&files);
    cli_paths_free(&directories);
    cli_paths_free(&paths);
    return cli->status;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static const struct config_row ls_rows[] = {
    {ONCE("directory", CONFIG_BOOL, directory), .letter = 'd',
     .help = "Show directories themselves, not what is in them."},
    ROW_HUMAN,
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'R', .help = "Everything below, too."},
    {ONCE("names", CONFIG_BOOL, names_only), .letter = 'C', .help = "Paths only."},
    {ONCE("time", CONFIG_BOOL, by_time), .letter = 't', .help = "Newest first."},
    {ONCE("size", CONFIG_BOOL, by_size), .letter = 'S', .help = "Largest first."},
    {ONCE("reverse", CONFIG_BOOL, reverse), .letter = 'r', .help = "The other way round."},
    {ACCEPTED("access"), .letter = 'u',
     .help = "No times of access are kept; that of the last change is shown."},
};

const struct cli_command cli_ls_page = {
    .name = "ls",
    .summary = "list directories and files",
    .run = run_ls,
    ROWS(ls_rows),
    .arguments = "[PATH]...",
    .arguments_max = ARGUMENTS_MANY,
    .description =
        "Prints one line for each entry: mode, copies, owner, group, length, time of the last "
        "change, path. Without PATH: your own directory, /user/NAME.",
    .footer = "Examples:\n"
              "  dfs ls /\n"
              "  dfs ls -R -h /books\n"
              "  dfs ls -t '/counts/part-*'      newest first",
};
