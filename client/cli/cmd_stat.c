/* What is known about paths: stat, test, du, count, df. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "common/alloc.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"

static void size_text(const struct cli *cli, uint64_t bytes, char text[FORMAT_TEXT_BYTES])
{
    if (cli->options.human) {
        format_bytes(bytes, text);
    } else {
        (void)snprintf(text, FORMAT_TEXT_BYTES, "%llu", (unsigned long long)bytes);
    }
}

/* ---- stat ----------------------------------------------------------------------------------- */

/* "2026-03-01 12:34:56", UTC as hadoop fs -stat has it. */
static void format_utc(uint64_t mtime_ms, char text[32])
{
    struct tm broken;
    time_t seconds = (time_t)(mtime_ms / 1000);
    if (!gmtime_r(&seconds, &broken) || strftime(text, 32, "%Y-%m-%d %H:%M:%S", &broken) == 0) {
        (void)snprintf(text, 32, "?");
    }
}

static void put_field(const char *path, const struct dfs_stat *s, char letter)
{
    char text[32];
    switch (letter) {
    case 'a':
        (void)printf("%o", s->mode);
        break;
    case 'A':
        cli_format_mode(s, text);
        (void)fputs(text, stdout);
        break;
    case 'b':
        (void)printf("%llu", (unsigned long long)s->length);
        break;
    case 'F':
        (void)fputs(s->directory ? "directory" : "regular file", stdout);
        break;
    case 'g':
        (void)fputs(s->group, stdout);
        break;
    case 'n': {
        char *name = cli_base_name(path);
        (void)fputs(name, stdout);
        free(name);
        break;
    }
    case 'o':
        (void)printf("%llu", (unsigned long long)s->chunk_bytes);
        break;
    case 'r':
        (void)printf("%u", s->replication);
        break;
    case 'u':
        (void)fputs(s->owner, stdout);
        break;
    case 'x':
    case 'y':
        format_utc(s->mtime_ms, text);
        (void)fputs(text, stdout);
        break;
    case 'X':
    case 'Y':
        (void)printf("%llu", (unsigned long long)s->mtime_ms);
        break;
    default:
        (void)fputc(letter, stdout);
        break;
    }
}

static void print_format(const char *format, const char *path, const struct dfs_stat *s)
{
    for (const char *at = format; *at; at++) {
        if (*at == '%' && at[1]) {
            put_field(path, s, *++at);
        } else {
            (void)fputc(*at, stdout);
        }
    }
    (void)fputc('\n', stdout);
}

static void print_limits(const struct dfs_stat *s)
{
    char quota[FORMAT_TEXT_BYTES], used[FORMAT_TEXT_BYTES];
    if (s->names_quota != DFS_NO_QUOTA) {
        (void)printf("  names:     %llu of at most %llu\n", (unsigned long long)cli_names_used(s),
                     (unsigned long long)s->names_quota);
    }
    if (s->space_quota != DFS_NO_QUOTA) {
        (void)printf("  space:     %s of at most %s, with all copies\n",
                     format_bytes(cli_space_used(s), used), format_bytes(s->space_quota, quota));
    }
}

static void print_long(const char *path, const struct dfs_stat *s)
{
    char mode[16], time[32], size[FORMAT_TEXT_BYTES], chunk[FORMAT_TEXT_BYTES];
    cli_format_mode(s, mode);
    format_utc(s->mtime_ms, time);
    (void)printf("%s\n  kind:      %s\n  inode:     %llu\n  mode:      %s (%04o)\n"
                 "  owner:     %s:%s\n  changed:   %s UTC\n",
                 path, s->directory ? "directory" : "file", (unsigned long long)s->inode, mode,
                 s->mode, s->owner, s->group, time);
    if (s->directory) {
        (void)printf("  entries:   %llu\n  below:     %llu files, %llu directories, %s "
                     "(%llu bytes)\n",
                     (unsigned long long)s->child_count, (unsigned long long)s->subtree_files,
                     (unsigned long long)s->subtree_directories,
                     format_bytes(s->subtree_bytes, size), (unsigned long long)s->subtree_bytes);
        print_limits(s);
    } else {
        (void)printf("  length:    %llu bytes (%s)\n  copies:    %u\n  chunks:    %s each%s\n",
                     (unsigned long long)s->length, format_bytes(s->length, size), s->replication,
                     format_size_exact(s->chunk_bytes, chunk),
                     s->open ? "\n  open:      a writer has it, more may come" : "");
    }
}

static int run_stat(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    json_t *json = cli->options.json ? json_array() : NULL;
    const char *format = cli->options.format;
    size_t first = 0;
    if (!format && cli->argument_count > 1 && strchr(cli->arguments[0], '%')) {
        format = cli->arguments[first++];
    }
    (void)cli_expand_arguments(cli, first, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        struct dfs_stat stat;
        int r = cli_stat(cli, paths.items[i], &stat);
        if (r == 0) {
            cli_not_found(cli, paths.items[i]);
        } else if (r > 0 && json) {
            (void)json_array_append_new(json, cli_stat_json(paths.items[i], &stat));
        } else if (r > 0 && format) {
            print_format(format, paths.items[i], &stat);
        } else if (r > 0) {
            print_long(paths.items[i], &stat);
        }
    }
    if (json) {
        cli_print_json(json);
    }
    cli_paths_free(&paths);
    return cli->status;
}

/* ---- test ----------------------------------------------------------------------------------- */

/* 1: everything asked for is allowed, 0: not, -1: it said what is wrong. */
static int is_allowed(struct cli *cli, const char *path)
{
    struct dfs_err e = {0};
    unsigned what =
        (cli->options.readable ? DFS_READ : 0U) | (cli->options.writable ? DFS_WRITE : 0U);
    int r = what ? dfs_access(cli->dfs, path, what, &e) : 0;
    if (r < 0 && r != DFS_EPERMISSION && r != DFS_ENOT_FOUND) {
        cli_dfs_error(cli, path, &e);
        return -1;
    }
    return r == 0;
}

static int run_test(struct cli *cli)
{
    const struct cli_options *o = &cli->options;
    struct dfs_stat s;
    int r = cli_stat(cli, cli->arguments[0], &s);
    if (r > 0) {
        r = is_allowed(cli, cli->arguments[0]);
    }
    if (r < 0) {
        return cli->status;
    }
    uint64_t size = r == 0 ? 0 : s.directory ? s.child_count : s.length;
    bool ok = r > 0 && (!o->directory || s.directory) && (!o->is_file || !s.directory) &&
              (!o->not_empty || size > 0) && (!o->is_empty || (!s.directory && size == 0));
    if (o->json) {
        cli_print_json(json_pack("{s:b}", "result", (int)ok));
    }
    return ok ? 0 : 1;
}

/* ---- du and count --------------------------------------------------------------------------- */

struct usage {
    char *path;
    uint64_t bytes, with_copies;
};

struct usages {
    struct usage *items;
    size_t count;
};

/* Takes path. */
static void add_usage(struct usages *u, char *path, const struct dfs_stat *s)
{
    u->items = xreallocarray(u->items, u->count + 1, sizeof(*u->items));
    struct usage *usage = &u->items[u->count++];
    usage->path = path;
    usage->bytes = s->directory ? s->subtree_bytes : s->length;
    usage->with_copies = s->directory ? s->subtree_replica_bytes : s->length * s->replication;
}

static void du_of(struct cli *cli, const char *path, struct usages *u)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err e = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    int r = cli_stat(cli, path, &stat);
    if (r == 0) {
        cli_not_found(cli, path);
    }
    if (r <= 0) {
        return;
    }
    if (!stat.directory || cli->options.summary) {
        add_usage(u, xstrdup(path), &stat);
        return;
    }
    r = dfs_dir_open(cli->dfs, path, &dir, &e);
    while (r >= 0 && (r = dfs_dir_next(dir, &name, &stat, &e)) > 0) {
        add_usage(u, cli_join(path, name), &stat);
    }
    dfs_dir_close(dir);
    if (r < 0) {
        cli_dfs_error(cli, path, &e);
    }
}

static void print_usages(struct cli *cli, const struct usages *u)
{
    static const char *const heads[] = {"SIZE", "DISK_SPACE_CONSUMED_WITH_ALL_REPLICAS",
                                        "FULL_PATH_NAME"};
    char a[FORMAT_TEXT_BYTES], b[FORMAT_TEXT_BYTES];
    bool header = cli->options.header && u->count > 0;
    int width_a = header ? (int)strlen(heads[0]) : 0;
    int width_b = header ? (int)strlen(heads[1]) : 0;
    for (size_t i = 0; i < u->count; i++) {
        size_text(cli, u->items[i].bytes, a);
        size_text(cli, u->items[i].with_copies, b);
        width_a = MAX(width_a, (int)strlen(a));
        width_b = MAX(width_b, (int)strlen(b));
    }
    if (header) {
        (void)printf("%-*s  %-*s  %s\n", width_a, heads[0], width_b, heads[1], heads[2]);
    }
    for (size_t i = 0; i < u->count; i++) {
        size_text(cli, u->items[i].bytes, a);
        size_text(cli, u->items[i].with_copies, b);
        (void)printf("%-*s  %-*s  %s\n", width_a, a, width_b, b, u->items[i].path);
    }
}

static int run_du(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    struct usages u = {NULL, 0};
    if (cli->argument_count == 0) {
        cli_paths_add(&paths, ".");
    }
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        du_of(cli, paths.items[i], &u);
    }
    if (cli->options.json) {
        json_t *json = json_array();
        for (size_t i = 0; i < u.count; i++) {
            (void)json_array_append_new(json, json_pack("{s:s, s:I, s:I}", "path", u.items[i].path,
                                                        "bytes", (json_int_t)u.items[i].bytes,
                                                        "replica_bytes",
                                                        (json_int_t)u.items[i].with_copies));
        }
        cli_print_json(json);
    } else {
        print_usages(cli, &u);
    }
    for (size_t i = 0; i < u.count; i++) {
        free(u.items[i].path);
    }
    free(u.items);
    cli_paths_free(&paths);
    return cli->status;
}

static void print_count_header(const struct cli_options *o)
{
    if (o->header && (o->quota || o->usage)) {
        (void)printf("%12s %15s %15s %15s ", "QUOTA", "REM_QUOTA", "SPACE_QUOTA",
                     "REM_SPACE_QUOTA");
    }
    if (o->header && !o->usage) {
        (void)printf("%12s %12s %18s ", "DIR_COUNT", "FILE_COUNT", "CONTENT_SIZE");
    }
    if (o->header) {
        (void)puts("PATHNAME");
    }
}

/* A quota and what is left of it, which is less than nothing if it was set below that; "none" and
 * "inf" without one, as hadoop fs has it. */
static void print_quota(const struct cli *cli, uint64_t quota, uint64_t used, int width)
{
    char all[FORMAT_TEXT_BYTES];
    char left[1 + FORMAT_TEXT_BYTES] = "-";
    if (quota == DFS_NO_QUOTA) {
        (void)printf("%*s %15s ", width, "none", "inf");
        return;
    }
    bool beyond = used > quota;
    size_text(cli, quota, all);
    size_text(cli, beyond ? used - quota : quota - used, left + 1);
    (void)printf("%*s %15s ", width, all, beyond ? left : left + 1);
}

static void print_quotas(const struct cli *cli, const struct dfs_stat *s)
{
    print_quota(cli, s->names_quota, cli_names_used(s), 12);
    print_quota(cli, s->space_quota, cli_space_used(s), 15);
}

static json_t *quota_json(uint64_t quota)
{
    return quota == DFS_NO_QUOTA ? json_null() : json_integer((json_int_t)quota);
}

static json_t *count_json(const struct cli *cli, const char *path, const struct dfs_stat *s)
{
    uint64_t directories = s->directory ? s->subtree_directories + 1 : 0;
    uint64_t files = s->directory ? s->subtree_files : 1;
    uint64_t bytes = s->directory ? s->subtree_bytes : s->length;
    json_t *json =
        json_pack("{s:s, s:I, s:I, s:I}", "path", path, "directories", (json_int_t)directories,
                  "files", (json_int_t)files, "bytes", (json_int_t)bytes);
    if (cli->options.quota || cli->options.usage) {
        uint64_t space = s->directory ? cli_space_used(s) : s->length * s->replication;
        (void)json_object_set_new(json, "names_quota", quota_json(s->names_quota));
        (void)json_object_set_new(json, "space_quota", quota_json(s->space_quota));
        (void)json_object_set_new(json, "space", json_integer((json_int_t)space));
    }
    return json;
}

static void count_one(struct cli *cli, const char *path, const struct dfs_stat *s, json_t *json)
{
    char size[FORMAT_TEXT_BYTES];
    uint64_t directories = s->directory ? s->subtree_directories + 1 : 0;
    uint64_t files = s->directory ? s->subtree_files : 1;
    uint64_t bytes = s->directory ? s->subtree_bytes : s->length;
    if (json) {
        (void)json_array_append_new(json, count_json(cli, path, s));
        return;
    }
    if (cli->options.quota || cli->options.usage) {
        print_quotas(cli, s);
    }
    if (cli->options.usage) {
        (void)puts(path);
        return;
    }
    size_text(cli, bytes, size);
    (void)printf("%12llu %12llu %18s %s\n", (unsigned long long)directories,
                 (unsigned long long)files, size, path);
}

static int run_count(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    json_t *json = cli->options.json ? json_array() : NULL;
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    if (!json) {
        print_count_header(&cli->options);
    }
    for (size_t i = 0; i < paths.count; i++) {
        struct dfs_stat s;
        int r = cli_stat(cli, paths.items[i], &s);
        if (r == 0) {
            cli_not_found(cli, paths.items[i]);
        } else if (r > 0) {
            count_one(cli, paths.items[i], &s, json);
        }
    }
    if (json) {
        cli_print_json(json);
    }
    cli_paths_free(&paths);
    return cli->status;
}

/* ---- df ------------------------------------------------------------------------------------- */

static int run_df(struct cli *cli)
{
    struct dfs_err e = {0};
    struct dfs_report *report = NULL;
    uint64_t capacity = 0, available = 0, used = 0;
    if (dfs_report(cli->dfs, &report, &e) < 0) {
        cli_dfs_error(cli, NULL, &e);
        return cli->status;
    }
    for (size_t i = 0; i < report->server_count; i++) {
        const struct dfs_server_status *s = &report->servers[i];
        capacity += s->live ? s->capacity_bytes : 0;
        available += s->live ? s->free_bytes : 0;
        used += s->live ? s->used_bytes : 0;
    }
    dfs_report_free(report);
    if (cli->options.json) {
        cli_print_json(json_pack("{s:I, s:I, s:I}", "capacity_bytes", (json_int_t)capacity,
                                 "used_bytes", (json_int_t)used, "available_bytes",
                                 (json_int_t)available));
        return 0;
    }
    char a[FORMAT_TEXT_BYTES], b[FORMAT_TEXT_BYTES], c[FORMAT_TEXT_BYTES];
    size_text(cli, capacity, a);
    size_text(cli, used, b);
    size_text(cli, available, c);
    (void)printf("%-24s %16s %16s %16s %5s\n%-24s %16s %16s %16s %4u%%\n", "Filesystem", "Size",
                 "Used", "Available", "Use%", cli->options.master, a, b, c,
                 capacity ? (unsigned)((double)used * 100 / (double)capacity) : 0);
    return 0;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static const struct config_row stat_rows[] = {
    {ONCE("format", CONFIG_STRING, format), .letter = 'c', .value_name = "FORMAT",
     .help = "What to print, as hadoop fs -stat has it: %a octal mode, %A mode, %b length, %F "
             "kind, %g group, %n name, %o chunk size, %r copies, %u owner, %y time, %Y "
             "milliseconds, %% a percent sign."},
};

const struct cli_command cli_stat_page = {
    .name = "stat",
    .summary = "show what is known about a path",
    .run = run_stat,
    ROWS(stat_rows),
    .arguments = "[FORMAT] PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "A first argument with a percent sign is a format, as hadoop fs -stat has it.",
    .footer = "Examples:\n  dfs stat /books\n  dfs stat '%n %b %r' '/books/*'",
};

static const struct config_row test_rows[] = {
    {ONCE("exists", CONFIG_BOOL, exists), .letter = 'e', .help = "It exists."},
    {ONCE("directory", CONFIG_BOOL, directory), .letter = 'd', .help = "It is a directory."},
    {ONCE("file", CONFIG_BOOL, is_file), .letter = 'f', .help = "It is a file."},
    {ONCE("size", CONFIG_BOOL, not_empty), .letter = 's',
     .help = "It has at least one byte or "
             "entry."},
    {ONCE("zero", CONFIG_BOOL, is_empty), .letter = 'z', .help = "It is a file of length 0."},
    {ONCE("readable", CONFIG_BOOL, readable), .letter = 'r', .help = "You may read it."},
    {ONCE("writable", CONFIG_BOOL, writable), .letter = 'w', .help = "You may write it."},
};

const struct cli_command cli_test_page = {
    .name = "test",
    .summary = "ask about a path by exit status",
    .run = run_test,
    ROWS(test_rows),
    .arguments = "PATH",
    .arguments_min = 1,
    .arguments_max = 1,
    .description = "Exit status 0 if everything asked is so, else 1. Without a flag: -e.",
    .footer = "Examples:\n  dfs test -e /out/_SUCCESS && dfs cat '/out/part-*'",
};

static const struct config_row du_rows[] = {
    {ONCE("summary", CONFIG_BOOL, summary), .letter = 's', .help = "One line for each argument."},
    ROW_HUMAN,
    {ONCE("header", CONFIG_BOOL, header), .letter = 'v', .help = "Say what the columns are."},
    {ACCEPTED("x"), .letter = 'x', .help = "Without snapshots: there are none."},
};

const struct cli_command cli_du_page = {
    .name = "du",
    .summary = "show how much space files take",
    .run = run_du,
    ROWS(du_rows),
    .arguments = "[PATH]...",
    .arguments_max = ARGUMENTS_MANY,
    .description = "Length, space with all copies, path. Totals of directories are kept by the "
                   "file master, so this is quick at any size.",
    .footer = "Examples:\n  dfs du -h /books\n  dfs du -s -h /",
};

static const struct config_row count_rows[] = {
    ROW_HUMAN,
    {ONCE("quota", CONFIG_BOOL, quota), .letter = 'q',
     .help = "Before the rest, quotas of names and of space, and what is left of them."},
    {ONCE("usage", CONFIG_BOOL, usage), .letter = 'u',
     .help = "Quotas and what is left of them, and nothing else."},
    {ONCE("header", CONFIG_BOOL, header), .letter = 'v', .help = "Say what the columns are."},
    {ACCEPTED("x"), .letter = 'x', .help = "Without snapshots: there are none."},
};

const struct cli_command cli_count_page = {
    .name = "count",
    .summary = "count directories, files and bytes",
    .run = run_count,
    ROWS(count_rows),
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Directories (with the path itself), files, bytes, path.",
    .footer = "Examples:\n  dfs count /books\n  dfs count -q -h -v '/user/*'",
};

static const struct config_row df_rows[] = {
    ROW_HUMAN,
};

const struct cli_command cli_df_page = {
    .name = "df",
    .summary = "show the cluster's free space",
    .run = run_df,
    ROWS(df_rows),
    .arguments = NULL,
    .footer = "Examples:\n  dfs df -h",
};
