/* Changes of attributes: chmod, chown, chgrp, setrep; with -R of everything below. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/mode.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/walk.h"
#include "common/alloc.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"

enum {
    LOOK_MS = 200,    /* setrep -w looks so often */
    SILENT_MS = 1000, /* before each word: most waits are over by then */
};

/* What to set; for a mode it depends on the one that is there. */
struct change {
    const char *mode;
    const char *owner;
    const char *group;
    uint32_t replication; /* of files only */
    bool recursive;
    json_t *done;
    struct cli_paths *changed; /* gets what was changed; NULL: nobody asks */
};

static void set_one(struct cli *cli, const char *path, const struct dfs_stat *stat,
                    const struct change *change)
{
    struct dfs_err e = {0};
    struct dfs_attributes a = {
        .set_owner = change->owner != NULL,
        .owner = change->owner,
        .set_group = change->group != NULL,
        .group = change->group,
        .set_replication = change->replication > 0,
        .replication = change->replication,
    };
    if (change->mode) {
        a.set_mode = true;
        if (mode_apply(change->mode, stat->mode, stat->directory, &a.mode) < 0) {
            return; /* checked before */
        }
    }
    if (change->replication > 0 && stat->directory) {
        return;
    }
    if (dfs_set_attributes(cli->dfs, path, &a, &e) < 0) {
        cli_dfs_error(cli, path, &e);
        return;
    }
    if (change->done) {
        (void)json_array_append_new(change->done, json_string(path));
    }
    if (change->changed) {
        cli_paths_add(change->changed, path);
    }
}

static bool visit(struct walk *w, const char *path, const struct dfs_stat *stat, int depth)
{
    (void)depth;
    const struct change *change = w->arg;
    set_one(w->cli, path, stat, change);
    return change->recursive;
}

static int set_all(struct cli *cli, struct change *change)
{
    struct cli_paths paths = {NULL, 0};
    change->done = cli->options.json ? json_array() : NULL;
    (void)cli_expand_arguments(cli, 1, cli->argument_count, &paths);
    struct walk walk = {.cli = cli, .visit = visit, .arg = change};
    for (size_t i = 0; i < paths.count; i++) {
        walk_path(&walk, paths.items[i]);
    }
    if (change->done) {
        cli_print_json(json_pack("{s:o}", "done", change->done));
    }
    cli_paths_free(&paths);
    return cli->status;
}

static int run_chmod(struct cli *cli)
{
    uint32_t ignored;
    struct change change = {.mode = cli->arguments[0], .recursive = cli->options.recursive};
    if (mode_apply(change.mode, 0, false, &ignored) < 0) {
        cli_error(cli, NULL, "`%s' is no mode: 755, u=rwx,go=rx or a+w are", change.mode);
        return 2;
    }
    return set_all(cli, &change);
}

static int run_chown(struct cli *cli)
{
    char *owner = xstrdup(cli->arguments[0]);
    char *colon = strchr(owner, ':');
    if (colon) {
        *colon = '\0';
    }
    struct change change = {.owner = owner[0] ? owner : NULL,
                            .group = colon && colon[1] ? colon + 1 : NULL,
                            .recursive = cli->options.recursive};
    int status = 2;
    if (change.owner || change.group) {
        status = set_all(cli, &change);
    } else {
        cli_error(cli, NULL, "neither an owner nor a group in `%s'", cli->arguments[0]);
    }
    free(owner);
    return status;
}

static int run_chgrp(struct cli *cli)
{
    struct change change = {.group = cli->arguments[0], .recursive = cli->options.recursive};
    return set_all(cli, &change);
}

/* ---- setrep --------------------------------------------------------------------------------- */

/* What setrep -w does once everything is changed. */
struct waiting {
    struct cli *cli;
    uint32_t wanted;
    time_ms silent_ms; /* since when */
    char *said;        /* what it waits for, in the words of `dfs why`; owned */
};

/* Why the chunk has too few copies, unless that has been said. What cannot be asked now is asked at
 * the next look. */
static void say_why(struct waiting *w, const char *path, uint64_t chunk)
{
    struct dfs_err e = {0};
    struct dfs_explanations got;
    if (w->cli->options.quiet || clock_mono_ms() - w->silent_ms < SILENT_MS ||
        dfs_explain(w->cli->dfs, &chunk, 1, &got, &e) < 0) {
        return;
    }
    const struct dfs_explanation *x = got.count > 0 ? &got.items[0] : NULL;
    bool waits = x && x->known && strcmp(x->reason, "nothing") != 0;
    if (waits && strcmp(x->waits_for, w->said) != 0) {
        (void)fprintf(stderr, "setrep: `%s': waits for %s\n", path, x->waits_for);
        free(w->said);
        w->said = xstrdup(x->waits_for);
        w->silent_ms = clock_mono_ms();
    }
    dfs_explanations_free(&got);
}

/* Whether there is no more to wait for: every sealed chunk has its copies, or the file is gone, or
 * it said what is wrong. */
static bool is_done(struct waiting *w, const char *path)
{
    struct dfs_err e = {0};
    struct dfs_extents extents;
    uint64_t lacking = 0;
    if (dfs_locate(w->cli->dfs, path, 0, 0, &extents, &e) < 0) {
        if (e.code != DFS_ENOT_FOUND) {
            cli_dfs_error(w->cli, path, &e);
        }
        return true;
    }
    for (size_t i = 0; i < extents.count && lacking == 0; i++) {
        const struct dfs_extent *x = &extents.items[i];
        lacking = x->open || x->replica_count >= w->wanted ? 0 : x->chunk;
    }
    dfs_extents_free(&extents);
    if (lacking != 0) {
        say_why(w, path, lacking);
    }
    return lacking == 0;
}

static int wait_for_copies(struct cli *cli, const struct cli_paths *files, uint32_t wanted)
{
    struct waiting w = {
        .cli = cli, .wanted = wanted, .silent_ms = clock_mono_ms(), .said = xstrdup("")};
    cli_catch_signals();
    for (size_t i = 0; i < files->count && !cli_interrupted(); i++) {
        while (!is_done(&w, files->items[i]) && !cli_interrupted()) {
            clock_sleep_ms(LOOK_MS);
        }
    }
    free(w.said);
    return cli_interrupted() ? CLI_INTERRUPTED : cli->status;
}

static int run_setrep(struct cli *cli)
{
    uint64_t wanted = 0;
    if (parse_u64(cli->arguments[0], &wanted, NULL) < 0 || wanted < 1 ||
        wanted > CHUNK_REPLICAS_MAX) {
        cli_error(cli, NULL, "the number of copies is 1 to %d, not `%s'", CHUNK_REPLICAS_MAX,
                  cli->arguments[0]);
        return 2;
    }
    struct cli_paths changed = {NULL, 0};
    struct change change = {.replication = (uint32_t)wanted,
                            .recursive = true,
                            .changed = cli->options.wait ? &changed : NULL};
    int status = set_all(cli, &change);
    if (cli->options.wait) {
        status = wait_for_copies(cli, &changed, (uint32_t)wanted);
    }
    cli_paths_free(&changed);
    return status;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static const struct config_row recursive_rows[] = {
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'R', .help = "Everything below, too."},
};

const struct cli_command cli_chmod_page = {
    .name = "chmod",
    .summary = "change modes",
    .run = run_chmod,
    ROWS(recursive_rows),
    .arguments = "MODE PATH...",
    .arguments_min = 2,
    .arguments_max = ARGUMENTS_MANY,
    .description = "MODE is octal (750) or symbolic (u=rwx,go-w).",
    .footer = "Examples:\n  dfs chmod 750 /books\n  dfs chmod -R go-w /books",
};

const struct cli_command cli_chown_page = {
    .name = "chown",
    .summary = "change owners",
    .run = run_chown,
    ROWS(recursive_rows),
    .arguments = "OWNER[:GROUP] PATH...",
    .arguments_min = 2,
    .arguments_max = ARGUMENTS_MANY,
    .footer = "Examples:\n  dfs chown -R ada:readers /books",
};

const struct cli_command cli_chgrp_page = {
    .name = "chgrp",
    .summary = "change groups",
    .run = run_chgrp,
    ROWS(recursive_rows),
    .arguments = "GROUP PATH...",
    .arguments_min = 2,
    .arguments_max = ARGUMENTS_MANY,
    .footer = "Examples:\n  dfs chgrp readers /books",
};

static const struct config_row setrep_rows[] = {
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'R',
     .help = "Accepted for scripts of hadoop fs: directories always mean everything below."},
    {ONCE("wait", CONFIG_BOOL, wait), .letter = 'w',
     .help = "Wait until every file that was changed has its copies. After a second it says on "
             "stderr what it waits for, in the words of `dfs why'."},
};

const struct cli_command cli_setrep_page = {
    .name = "setrep",
    .summary = "change how many copies are kept",
    .run = run_setrep,
    ROWS(setrep_rows),
    .arguments = "N PATH...",
    .arguments_min = 2,
    .arguments_max = ARGUMENTS_MANY,
    .footer = "Examples:\n  dfs setrep -w 2 /books/book.txt",
};
