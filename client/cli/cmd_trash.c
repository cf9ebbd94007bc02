/* dfs expunge and undelete: the trash that rm fills. */
#include <stdlib.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "client/cli/trash.h"
#include "common/limits.h"

static int run_expunge(struct cli *cli)
{
    struct trash trash;
    uint64_t keep_ms = cli->options.trash_keep_ms;
    keep_ms = cli->options.immediate             ? 0
              : keep_ms == CLI_TRASH_KEEP_UNSAID ? TRASH_KEEP_MS
                                                 : keep_ms;
    if (trash_init(&trash, cli)) {
        (void)trash_empty(&trash, true, keep_ms);
    }
    trash_deinit(&trash);
    return cli->status;
}

static int run_undelete(struct cli *cli)
{
    struct trash trash;
    json_t *done = cli->options.json ? json_array() : NULL;
    bool ready = trash_init(&trash, cli);
    for (size_t i = 0; ready && i < cli->argument_count; i++) {
        struct dfs_err e = {0};
        char *path = NULL;
        if (dfs_resolve_path(cli->dfs, cli->arguments[i], &path, &e) < 0) {
            cli_dfs_error(cli, cli->arguments[i], &e);
        } else if (trash_take_back(&trash, path) && done) {
            (void)json_array_append_new(done, json_string(path));
        }
        free(path);
    }
    if (done) {
        cli_print_json(json_pack("{s:o}", "done", done));
    }
    trash_deinit(&trash);
    return cli->status;
}

/* ---- Pages ---------------------------------------------------------------------------------- */

static const struct config_row expunge_rows[] = {
    {ONCE("immediate", CONFIG_BOOL, immediate), .help = "Delete all of it, however new."},
    ROW_TRASH_KEEP,
};

const struct cli_command cli_expunge_page = {
    .name = "expunge",
    .summary = "empty your trash",
    .run = run_expunge,
    ROWS(expunge_rows),
    .description =
        "Makes what was removed so far a checkpoint of your trash, and deletes the "
        "checkpoints that are older than --trash-keep. The file master does the same for "
        "everybody, by its own --trash-keep, a day unless it was told otherwise.",
    .footer = "Examples:\n  dfs expunge\n  dfs expunge -immediate",
};

const struct cli_command cli_undelete_page = {
    .name = "undelete",
    .summary = "take back what rm has moved to your trash",
    .run = run_undelete,
    .arguments = "PATH...",
    .arguments_min = 1,
    .arguments_max = ARGUMENTS_MANY,
    .description = "Moves what was removed last under each PATH back there. Something that is "
                   "there already is an error.",
    .footer = "Examples:\n  dfs undelete /books/book.txt",
};
