/* dfs admin quota: how much may be below directories. */
#include <stdio.h>
#include <string.h>

#include <trireme/dfs_admin.h>

#include "client/cli/admin.h"
#include "client/cli/table.h"
#include "common/limits.h"
#include "common/macros.h"

enum { USAGE = 2 };

/* ---- Show ----------------------------------------------------------------------------------- */

static json_t *number_or_null(uint64_t quota)
{
    return quota == DFS_NO_QUOTA ? json_null() : json_integer((json_int_t)quota);
}

static json_t *row_json(const char *path, const struct dfs_stat *s)
{
    json_t *json = json_pack("{s:s, s:I, s:I, s:I}", "path", path, "names",
                             (json_int_t)cli_names_used(s), "space", (json_int_t)cli_space_used(s),
                             "reserved_bytes", (json_int_t)s->reserved_bytes);
    (void)json_object_set_new(json, "names_quota", number_or_null(s->names_quota));
    (void)json_object_set_new(json, "space_quota", number_or_null(s->space_quota));
    return json;
}

static char *quota_text(const struct cli *cli, uint64_t quota, bool bytes,
                        char text[FORMAT_TEXT_BYTES])
{
    if (quota == DFS_NO_QUOTA) {
        (void)snprintf(text, FORMAT_TEXT_BYTES, "none");
        return text;
    }
    return bytes && cli->out_tty ? format_bytes(quota, text) : table_number(quota, text);
}

static void show_row(struct libscols_table *table, const struct cli *cli, const char *path,
                     const struct dfs_stat *s)
{
    char texts[4][FORMAT_TEXT_BYTES];
    uint64_t space = cli_space_used(s);
    const char *fields[] = {
        table_number(cli_names_used(s), texts[0]),
        quota_text(cli, s->names_quota, false, texts[1]),
        cli->out_tty ? format_bytes(space, texts[2]) : table_number(space, texts[2]),
        quota_text(cli, s->space_quota, true, texts[3]),
        path,
    };
    table_add(table, fields, ARRAY_COUNT(fields));
}

/* Only a directory has any. */
static bool stat_directory(struct cli *cli, const char *path, struct dfs_stat *ret)
{
    int r = cli_stat(cli, path, ret);
    if (r == 0) {
        cli_not_found(cli, path);
    } else if (r > 0 && !ret->directory) {
        cli_error(cli, path, "%s", cli_error_text(DFS_ENOT_DIR));
    }
    return r > 0 && ret->directory;
}

static int show(struct cli *cli, const struct cli_paths *paths)
{
    static const struct column columns[] = {{"NAMES", true},
                                            {"NAMES-QUOTA", true},
                                            {"SPACE", true},
                                            {"SPACE-QUOTA", true},
                                            {"PATH", false}};
    json_t *json = cli->options.json ? json_array() : NULL;
    struct libscols_table *table = json ? NULL : table_new(cli, columns, ARRAY_COUNT(columns));
    for (size_t i = 0; i < paths->count; i++) {
        struct dfs_stat s;
        if (!stat_directory(cli, paths->items[i], &s)) {
            continue;
        }
        if (json) {
            (void)json_array_append_new(json, row_json(paths->items[i], &s));
        } else {
            show_row(table, cli, paths->items[i], &s);
        }
    }
    if (json) {
        cli_print_json(json);
    }
    table_end(table);
    return cli->status;
}

/* ---- Set ------------------------------------------------------------------------------------ */

/* "none", or a number of names or bytes. False: it said what is wrong. */
static bool take_quota(struct cli *cli, const char *text, bool bytes, uint64_t *ret)
{
    struct err e = ERR_INIT;
    if (strcmp(text, "none") == 0) {
        *ret = DFS_NO_QUOTA;
        return true;
    }
    if ((bytes ? parse_size(text, ret, &e) : parse_u64(text, ret, &e)) < 0) {
        cli_error(cli, NULL, "%s `%s': %s", bytes ? "--space" : "--names", text, err_message(&e));
        return false;
    }
    if (*ret > QUOTA_VALUE_MAX) {
        cli_error(cli, NULL, "%s `%s': more than %llu", bytes ? "--space" : "--names", text,
                  (unsigned long long)QUOTA_VALUE_MAX);
        return false;
    }
    return true;
}

static int set(struct cli *cli, const struct cli_paths *paths, const struct dfs_quota *quota)
{
    for (size_t i = 0; i < paths->count; i++) {
        struct dfs_err e = {0};
        if (dfs_set_quota(cli->dfs, paths->items[i], quota, &e) < 0) {
            cli_dfs_error(cli, paths->items[i], &e);
        }
    }
    return cli->status;
}

int admin_quota(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    const struct cli_options *o = &cli->options;
    struct dfs_quota quota = {.set_names = o->names_quota, .set_space = o->space_quota};
    if ((quota.set_names && !take_quota(cli, o->names_quota, false, &quota.names)) ||
        (quota.set_space && !take_quota(cli, o->space_quota, true, &quota.space))) {
        return USAGE;
    }
    (void)cli_expand_arguments(cli, 1, cli->argument_count, &paths);
    if (quota.set_names || quota.set_space) {
        (void)set(cli, &paths, &quota);
    }
    if ((!quota.set_names && !quota.set_space) || o->json) {
        (void)show(cli, &paths);
    }
    cli_paths_free(&paths);
    return cli->status;
}
