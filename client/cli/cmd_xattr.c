/* dfs setfattr and getfattr: extended attributes, with the flags and lines of hadoop fs. */
#include <stdio.h>
#include <string.h>

#include <trireme/dfs_xattr.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/walk.h"
#include "client/cli/xattr_value.h"

enum { USAGE = 2 };

static int misused(struct cli *cli, const char *text)
{
    cli_error(cli, NULL, "%s", text);
    return USAGE;
}

/* ---- setfattr ------------------------------------------------------------------------------- */

static void set_one(struct cli *cli, const char *path, const struct dfs_xattr *xattr)
{
    struct dfs_err e = {0};
    int r = cli->options.remove_name
                ? dfs_remove_xattr(cli->dfs, path, cli->options.remove_name, NULL, &e)
                : dfs_set_xattr(cli->dfs, path, xattr, DFS_XATTR_SET, NULL, &e);
    if (r < 0) {
        cli_dfs_error(cli, path, &e);
    }
}

static int run_setfattr(struct cli *cli)
{
    const struct cli_options *o = &cli->options;
    struct cli_paths paths = {NULL, 0};
    struct buf value = BUF_INIT;
    struct err e = ERR_INIT;
    if (!o->name == !o->remove_name || (o->remove_name && o->value)) {
        return misused(cli, "either -n NAME and -v VALUE, or -x NAME");
    }
    if (o->value && xattr_value_parse(o->value, &value, &e) < 0) {
        cli_error(cli, NULL, "-v: %s", err_message(&e));
        buf_deinit(&value);
        return USAGE;
    }
    struct dfs_xattr xattr = {.name = o->name, .value = value.data, .length = value.length};
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        set_one(cli, paths.items[i], &xattr);
    }
    cli_paths_free(&paths);
    buf_deinit(&value);
    return cli->status;
}

/* ---- getfattr ------------------------------------------------------------------------------- */

struct getting {
    struct cli *cli;
    enum xattr_encoding encoding;
    json_t *json; /* NULL: lines */
};

static void print_lines(const struct getting *g, const char *path, const struct dfs_xattrs *xattrs)
{
    (void)printf("# file: %s\n", path);
    for (size_t i = 0; i < xattrs->count; i++) {
        const struct dfs_xattr *x = &xattrs->items[i];
        struct buf line = BUF_INIT;
        buf_append_str(&line, x->name);
        if (x->length > 0) {
            buf_append_byte(&line, '=');
            xattr_value_print((struct span){x->value, x->length}, g->encoding, &line);
        }
        buf_append_byte(&line, '\n');
        (void)fwrite(line.data, 1, line.length, stdout);
        buf_deinit(&line);
    }
}

/* JSON has only text: what is none is written in base64, and each says what it is. */
static json_t *value_json(const struct getting *g, const struct dfs_xattr *x)
{
    struct span value = {x->value, x->length};
    enum xattr_encoding encoding = g->encoding;
    struct buf text = BUF_INIT;
    if (encoding == XATTR_AS_FITS || encoding == XATTR_AS_TEXT) {
        encoding = xattr_is_text(value) ? XATTR_AS_TEXT : XATTR_AS_BASE64;
    }
    xattr_value_print(value, encoding, &text);
    size_t quote = encoding == XATTR_AS_TEXT ? 1 : 0;
    json_t *json = json_pack("{s:s, s:s%, s:s}", "name", x->name, "value", text.data + quote,
                             text.length - 2 * quote, "encoding", xattr_encoding_name(encoding));
    buf_deinit(&text);
    return json;
}

static void get_one(struct getting *g, const char *path, uint32_t count)
{
    struct cli *cli = g->cli;
    struct dfs_err e = {0};
    struct dfs_xattrs xattrs = {NULL, 0};
    bool any = count > 0 || cli->options.name; /* most have none: nobody asks for them then */
    if (any && dfs_get_xattrs(cli->dfs, path, cli->options.name, &xattrs, &e) < 0) {
        if (e.code == DFS_ENO_XATTR) {
            cli_error(cli, path, "no extended attribute %s", cli->options.name);
        } else {
            cli_dfs_error(cli, path, &e);
        }
        return;
    }
    if (g->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < xattrs.count; i++) {
            (void)json_array_append_new(list, value_json(g, &xattrs.items[i]));
        }
        (void)json_array_append_new(g->json,
                                    json_pack("{s:s, s:o}", "path", path, "attributes", list));
    } else {
        print_lines(g, path, &xattrs);
    }
    dfs_xattrs_free(&xattrs);
}

static bool visit(struct walk *w, const char *path, const struct dfs_stat *stat, int depth)
{
    (void)depth;
    get_one(w->arg, path, stat->xattr_count);
    return true;
}

static void get_path(struct getting *g, const char *path)
{
    struct walk walk = {.cli = g->cli, .visit = visit, .arg = g};
    struct dfs_stat stat;
    if (g->cli->options.recursive) {
        walk_path(&walk, path);
        return;
    }
    int r = cli_stat(g->cli, path, &stat);
    if (r > 0) {
        get_one(g, path, stat.xattr_count);
    } else if (r == 0) {
        cli_not_found(g->cli, path);
    }
}

static int run_getfattr(struct cli *cli)
{
    const struct cli_options *o = &cli->options;
    struct getting g = {.cli = cli, .encoding = XATTR_AS_FITS};
    struct cli_paths paths = {NULL, 0};
    if (!o->name == !o->dump) {
        return misused(cli, "either -n NAME or -d");
    }
    if (o->encoding && !xattr_encoding_of(o->encoding, &g.encoding)) {
        return misused(cli, "-e is one of text, hex, base64");
    }
    g.json = o->json ? json_array() : NULL;
    (void)cli_expand_arguments(cli, 0, cli->argument_count, &paths);
    for (size_t i = 0; i < paths.count; i++) {
        get_path(&g, paths.items[i]);
    }
    if (g.json) {
        cli_print_json(g.json);
    }
    cli_paths_free(&paths);
    return cli->status;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static const struct config_row setfattr_rows[] = {
    {ONCE("name", CONFIG_STRING, name), .letter = 'n', .value_name = "NAME",
     .help = "The attribute to set; its name begins with \"user.\"."},
    {ONCE("value", CONFIG_STRING, value), .letter = 'v', .value_name = "VALUE",
     .help = "Text, with or without \"quotes\" around it, 0x and hexadecimal digits, or 0s and "
             "base64. Default: empty."},
    {ONCE("remove", CONFIG_STRING, remove_name), .letter = 'x', .value_name = "NAME",
     .help = "The attribute to take away."},
};

const struct cli_command cli_setfattr_page = {
    .name = "setfattr",
    .summary = "set or remove extended attributes",
    .run = run_setfattr,
    ROWS(setfattr_rows),
    .arguments = "-n NAME [-v VALUE] | -x NAME PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Small named values on files and directories, at most 32 on each and 16 KiB "
                   "long. They stay through mv, and cp -p, put -p and get -p keep them.",
    .footer = "Examples:\n  dfs setfattr -n user.source -v scanner /books/a.txt\n"
              "  dfs setfattr -x user.source /books/a.txt",
};

static const struct config_row getfattr_rows[] = {
    {ONCE("name", CONFIG_STRING, name), .letter = 'n', .value_name = "NAME",
     .help = "Only this attribute."},
    {ONCE("dump", CONFIG_BOOL, dump), .letter = 'd', .help = "All attributes."},
    {ONCE("encoding", CONFIG_STRING, encoding), .letter = 'e', .value_name = "text|hex|base64",
     .help = "How values are written. Default: as text what can be read as one, else in base64."},
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'R', .help = "Everything below, too."},
};

const struct cli_command cli_getfattr_page = {
    .name = "getfattr",
    .summary = "show extended attributes",
    .run = run_getfattr,
    ROWS(getfattr_rows),
    .arguments = "-n NAME | -d PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Lines as hadoop fs prints them; setfattr -v takes the values as they are here.",
    .footer = "Examples:\n  dfs getfattr -d /books/a.txt\n"
              "  dfs getfattr -R -d -e hex /books",
};
