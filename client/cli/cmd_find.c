/* dfs find: what is below some paths and is as asked. The expression is a conjunction, as that of
 * hadoop fs -find is; its tests are flags, so their order means nothing. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/walk.h"
#include "common/clock.h"
#include "common/parse.h"

enum { DAY_MS = 24 * 3600 * 1000 };

/* "+5", "-5", "5": more, less, exactly. */
struct amount {
    char sign; /* '+', '-' or '=' */
    uint64_t number;
};

struct find {
    bool has_size, has_mtime;
    struct amount size;  /* bytes */
    struct amount mtime; /* days ago */
    uint64_t now_ms;
    uint64_t newer_ms;
    json_t *json; /* NULL: lines */
};

static bool amount_holds(const struct amount *a, uint64_t value)
{
    return a->sign == '+'   ? value > a->number
           : a->sign == '-' ? value < a->number
                            : value == a->number;
}

static bool kind_holds(const struct cli_options *o, const char *path, const struct dfs_stat *s)
{
    char *name = cli_base_name(path);
    bool holds = (!o->type || (o->type[0] == 'd') == s->directory) &&
                 (!o->name || fnmatch(o->name, name, 0) == 0) &&
                 (!o->iname || fnmatch(o->iname, name, FNM_CASEFOLD) == 0);
    free(name);
    return holds;
}

static bool holds(const struct find *f, const struct cli_options *o, const char *path,
                  const struct dfs_stat *s)
{
    uint64_t age_ms = f->now_ms > s->mtime_ms ? f->now_ms - s->mtime_ms : 0;
    return kind_holds(o, path, s) && (!o->of_user || strcmp(o->of_user, s->owner) == 0) &&
           (!o->of_group || strcmp(o->of_group, s->group) == 0) &&
           (!o->empty || (s->directory ? s->child_count : s->length) == 0) &&
           (!f->has_size || (!s->directory && amount_holds(&f->size, s->length))) &&
           (!f->has_mtime || amount_holds(&f->mtime, age_ms / DAY_MS)) &&
           (!o->newer || s->mtime_ms > f->newer_ms);
}

static bool visit(struct walk *w, const char *path, const struct dfs_stat *stat, int depth)
{
    const struct cli_options *o = &w->cli->options;
    struct find *f = w->arg;
    if (depth >= o->depth_min && holds(f, o, path, stat)) {
        if (f->json) {
            (void)json_array_append_new(f->json, cli_stat_json(path, stat));
        } else {
            (void)printf("%s%c", path, o->print0 ? '\0' : '\n');
        }
    }
    return depth < o->depth_max;
}

static bool parse_amount(struct cli *cli, const char *flag, const char *text, bool is_size,
                         struct amount *ret)
{
    struct err e = ERR_INIT;
    bool is_signed = text[0] == '+' || text[0] == '-';
    ret->sign = '=';
    if (is_signed) {
        ret->sign = text[0];
    }
    int r = is_size ? parse_size(text + is_signed, &ret->number, &e)
                    : parse_u64(text + is_signed, &ret->number, &e);
    if (r < 0) {
        cli_error(cli, NULL, "--%s: %s", flag, err_message(&e));
        cli->status = 2;
    }
    return r == 0;
}

static bool prepare(struct cli *cli, struct find *f)
{
    const struct cli_options *o = &cli->options;
    struct dfs_stat stat;
    f->has_size = o->size != NULL;
    f->has_mtime = o->mtime != NULL;
    if ((o->size && !parse_amount(cli, "size", o->size, true, &f->size)) ||
        (o->mtime && !parse_amount(cli, "mtime", o->mtime, false, &f->mtime))) {
        return false;
    }
    if (o->newer) {
        int r = cli_stat(cli, o->newer, &stat);
        if (r == 0) {
            cli_not_found(cli, o->newer);
        }
        if (r <= 0) {
            return false;
        }
        f->newer_ms = stat.mtime_ms;
    }
    return true;
}

static int run_find(struct cli *cli)
{
    struct cli_paths paths = {NULL, 0};
    struct find f = {.now_ms = clock_wall_ms()};
    struct walk walk = {.cli = cli, .visit = visit, .arg = &f};
    if (!prepare(cli, &f)) {
        return cli->status;
    }
    f.json = cli->options.json ? json_array() : NULL;
    if (cli->argument_count == 0) {
        cli_paths_add(&paths, ".");
    }
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        walk_path(&walk, paths.items[i]);
    }
    if (f.json) {
        cli_print_json(f.json);
    }
    cli_paths_free(&paths);
    return cli->status;
}

/* ---- Page ----------------------------------------------------------------------------------- */

static const struct config_row find_rows[] = {
    {ONCE("name", CONFIG_STRING, name), .value_name = "PATTERN",
     .help = "The last part of the path matches (* ? [...])."},
    {ONCE("iname", CONFIG_STRING, iname), .value_name = "PATTERN",
     .help = "The same; upper and lower case are one."},
    {ONCE("type", CONFIG_STRING, type), .value_name = "f|d", .choices = "f|d",
     .help = "It is a file, or a directory."},
    {ONCE("size", CONFIG_STRING, size), .value_name = "[+-]SIZE",
     .help = "A file of more (+64M), less (-1K) or exactly so many bytes."},
    {ONCE("mtime", CONFIG_STRING, mtime), .value_name = "[+-]DAYS",
     .help = "Changed more (+7), less (-1) or exactly so many days ago."},
    {ONCE("newer", CONFIG_STRING, newer), .value_name = "PATH",
     .help = "Changed after that path of the store was."},
    {ONCE("empty", CONFIG_BOOL, empty),
     .help = "A file of length 0, or a directory without entries."},
    {ONCE("owner", CONFIG_STRING, of_user), .value_name = "NAME",
     .help = "It belongs to that user."},
    {ONCE("group", CONFIG_STRING, of_group), .value_name = "NAME", .help = "It is of that group."},
    {ONCE("mindepth", CONFIG_INT, depth_min), .value_name = "N", .default_text = "0", .min = 0,
     .max = 1000, .help = "Not what is nearer to PATH; PATH itself is at 0."},
    {ONCE("maxdepth", CONFIG_INT, depth_max), .value_name = "N", .default_text = "1000", .min = 0,
     .max = 1000, .help = "Not what is farther from PATH."},
    {ACCEPTED("print"), .help = "Print the path: what it does anyway."},
    {ONCE("print0", CONFIG_BOOL, print0), .help = "End each path with a NUL, for xargs -0."},
    {ACCEPTED("a"), .letter = 'a', .help = "And: what stands between two tests anyway."},
    {ACCEPTED("and"), .help = "The same."},
};

const struct cli_command cli_find_page = {
    .name = "find",
    .summary = "find files and directories",
    .run = run_find,
    ROWS(find_rows),
    .arguments = "[PATH]... [TEST]...",
    .arguments_max = ARGUMENTS_MANY,
    .description = "Prints the paths below each PATH, itself included, for which all tests hold. "
                   "Without PATH: your own directory.",
    .footer = "Examples:\n"
              "  dfs find /logs -name '*.gz' -size +64M\n"
              "  dfs find / -type d -empty\n"
              "  dfs find /tmp -mtime +7 -print0 | xargs -0 dfs rm -r",
};
