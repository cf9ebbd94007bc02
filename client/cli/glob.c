/* Patterns in store paths: `dfs cat '/counts/part-*'`. Each component with * ? or [...] is matched
 * against the directory that the components before it make. Names with a leading dot are matched
 * only by patterns with one, as a shell does it. What stands under the very name of a pattern is
 * meant by it, and nothing else. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "common/alloc.h"

static bool is_pattern(const char *text)
{
    return strpbrk(text, "*?[") != NULL;
}

/* What `directory` holds that matches; nothing if it is no directory. False: it said why. */
static bool match_entries(struct cli *cli, const char *directory, const char *pattern,
                          bool directories_only, struct cli_paths *out)
{
    struct dfs_dir *dir = NULL;
    struct dfs_err e = {0};
    struct dfs_stat stat;
    const char *name = NULL;
    int r = dfs_stat(cli->dfs, directory, &stat, &e);
    if (r == 0 && stat.directory) {
        r = dfs_dir_open(cli->dfs, directory, &dir, &e);
    }
    if (r == DFS_ENOT_FOUND || r == DFS_ENOT_DIR || (r == 0 && !dir)) {
        return true;
    }
    while (r >= 0 && (r = dfs_dir_next(dir, &name, &stat, &e)) > 0) {
        if (fnmatch(pattern, name, FNM_PERIOD) == 0 && (stat.directory || !directories_only)) {
            char *path = cli_join(directory, name);
            cli_paths_add(out, path);
            free(path);
        }
    }
    dfs_dir_close(dir);
    if (r < 0) {
        cli_dfs_error(cli, directory, &e);
    }
    return r >= 0;
}

/* `found` are the paths that the components so far have made; the next one is applied to each. */
static bool apply_component(struct cli *cli, const char *component, bool last,
                            struct cli_paths *found)
{
    struct cli_paths next = {NULL, 0};
    bool ok = true;
    for (size_t i = 0; ok && i < found->count; i++) {
        if (is_pattern(component)) {
            ok = match_entries(cli, found->items[i], component, !last, &next);
        } else {
            char *path = cli_join(found->items[i], component);
            cli_paths_add(&next, path);
            free(path);
        }
    }
    cli_paths_free(found);
    *found = next;
    return ok;
}

/* After a pattern, components without one may lead nowhere. */
static bool keep_existing(struct cli *cli, struct cli_paths *found, struct cli_paths *out)
{
    bool ok = true;
    for (size_t i = 0; ok && i < found->count; i++) {
        struct dfs_stat stat;
        int r = cli_stat(cli, found->items[i], &stat);
        if (r > 0) {
            cli_paths_add(out, found->items[i]);
        }
        ok = r >= 0;
    }
    return ok;
}

/* Names may have the characters of patterns: /p/photo[1].jpg is a file, and must not stand for
 * /p/photo1.jpg. 1: it is there, 0: not, as far as this user can tell; -1: it said what is wrong.
 */
static int stands_there(struct cli *cli, const char *pattern)
{
    struct dfs_err e = {0};
    struct dfs_stat stat;
    int r = dfs_stat(cli->dfs, pattern, &stat, &e);
    switch (r) {
    case DFS_ENOT_FOUND:
    case DFS_ENOT_DIR:
    case DFS_EPERMISSION: /* a directory may be listed by those who may not look into it */
    case DFS_EINVALID:    /* a pattern need not be a name */
    case DFS_ETOO_LARGE:
        return 0;
    default:
        if (r < 0) {
            cli_dfs_error(cli, pattern, &e);
        }
        return r < 0 ? -1 : 1;
    }
}

bool cli_expand(struct cli *cli, const char *pattern, struct cli_paths *paths)
{
    int there = is_pattern(pattern) ? stands_there(cli, pattern) : 1;
    if (there != 0) {
        if (there > 0) {
            cli_paths_add(paths, pattern);
        }
        return there > 0;
    }
    struct cli_paths found = {NULL, 0};
    char *copy = xstrdup(pattern);
    char *state = NULL;
    char *component = strtok_r(copy, "/", &state);
    size_t before = paths->count;
    bool ok = true, last_is_pattern = false;
    cli_paths_add(&found, pattern[0] == '/' ? "/" : "");
    if (pattern[0] != '/' && component && is_pattern(component)) {
        free(found.items[0]);
        found.items[0] = xstrdup("."); /* the user's own directory */
    }
    while (ok && component) {
        char *next = strtok_r(NULL, "/", &state);
        last_is_pattern = is_pattern(component);
        ok = apply_component(cli, component, !next, &found);
        component = next;
    }
    if (ok && last_is_pattern) {
        for (size_t i = 0; i < found.count; i++) {
            const char *path = found.items[i];
            cli_paths_add(paths, strncmp(path, "./", 2) == 0 ? path + 2 : path);
        }
    } else if (ok) {
        ok = keep_existing(cli, &found, paths);
    }
    if (ok && paths->count == before && !cli->options.force) { /* rm -f: that is fine */
        cli_not_found(cli, pattern);
        ok = false;
    }
    cli_paths_free(&found);
    free(copy);
    return ok;
}

bool cli_expand_arguments(struct cli *cli, size_t from, size_t to, struct cli_paths *paths)
{
    bool ok = true;
    for (size_t i = from; i < to; i++) {
        ok = cli_expand(cli, cli->arguments[i], paths) && ok;
    }
    return ok;
}
