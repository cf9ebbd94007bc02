/* The table of subcommands, the flags that all of them have, and how a command line is taken
 * apart. Each command's own flags and its page stand beside its code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/options.h"
#include "client/cli/pages.h"
#include "common/alloc.h"
#include "common/macros.h"
#include "common/parse.h"
#include "common/path.h"

/* ---- Flags that all have -------------------------------------------------------------------- */

static const struct config_row common_rows[] = {
    {.type = CONFIG_HEADING, .key = "", .help = "The cluster"},
    {ROW("master", CONFIG_STRING, master), .value_name = "HOST:PORT[,...]", .env = "DFS_MASTER",
     .shared_key = "masters", .help = "File masters."},
    {ROW("user", CONFIG_STRING, user), .value_name = "NAME", .env = "DFS_USER",
     .help = "Act as this user. Default: the login name. With TLS the certificate says who you "
             "are, and only the superuser can act as somebody else."},
    {ROW("host", CONFIG_STRING, host), .value_name = "LABEL",
     .help = "This machine's host label, for reading nearby. Default: the host name."},
    {ROW("rack", CONFIG_STRING, rack), .value_name = "LABEL",
     .help = "This machine's rack label. Default: default."},
    {ROW("timeout", CONFIG_DURATION, timeout_ms), .value_name = "TIME", .default_text = "2m",
     .min = 100, .max = 3600LL * 1000, .env = "DFS_TIMEOUT",
     .help = "How long to try again when something cannot be reached."},
    {ROW("stale", CONFIG_DURATION, stale_ms), .value_name = "TIME", .default_text = "0", .min = 0,
     .max = 24LL * 3600 * 1000, .env = "DFS_STALE",
     .help =
         "Names and attributes may be as old as this: then any file master answers, also without "
         "a leader. 0: always the newest."},
    {ROW("tls-ca", CONFIG_STRING, tls_ca), .value_name = "FILE", .help = "CA of the cluster, PEM."},
    {ROW("tls-cert", CONFIG_STRING, tls_cert), .value_name = "FILE",
     .help = "Your certificate, PEM."},
    {ROW("tls-key", CONFIG_STRING, tls_key), .value_name = "FILE", .help = "Its key, PEM."},
    {ROW("no-local-reads", CONFIG_BOOL, no_local_reads), .env = "DFS_NO_LOCAL_READS",
     .flags = CONFIG_HIDDEN, .help = "Read through chunkservers even on this host."},
    {ONCE("quiet", CONFIG_BOOL, quiet), .letter = 'q',
     .help = "No progress and no word about waiting."},
};
/* Of some commands; the others must know them in the configuration file, where all share a section.
 */
static const struct config_row file_rows[] = {
    ROW_TRASH,
    ROW_TRASH_KEEP,
};
static const struct config_row json_row = {ONCE("json", CONFIG_BOOL, json), .help = "Print JSON."};

/* ---- The table ------------------------------------------------------------------------------ */

const struct cli_command *const cli_commands[] = {
    &cli_ls_page,       &cli_find_page,     &cli_put_page,    &cli_get_page,
    &cli_getmerge_page, &cli_append_page,   &cli_cat_page,    &cli_text_page,
    &cli_head_page,     &cli_tail_page,     &cli_mkdir_page,  &cli_cp_page,
    &cli_mv_page,       &cli_rename_page,   &cli_rm_page,     &cli_rmdir_page,
    &cli_undelete_page, &cli_expunge_page,  &cli_touch_page,  &cli_touchz_page,
    &cli_truncate_page, &cli_test_page,     &cli_stat_page,   &cli_checksum_page,
    &cli_loc_page,      &cli_du_page,       &cli_count_page,  &cli_df_page,
    &cli_chmod_page,    &cli_chown_page,    &cli_chgrp_page,  &cli_setrep_page,
    &cli_setfattr_page, &cli_getfattr_page, &cli_report_page, &cli_fsck_page,
    &cli_why_page,      &cli_admin_page,
};
const size_t cli_command_count = ARRAY_COUNT(cli_commands);

enum { NEAR = 2 }; /* letters that a name may differ in */

/* Most of these are what hadoop fs calls it. */
const struct cli_alias cli_aliases[] = {
    {"appendToFile", "append", NULL}, {"copyFromLocal", "put", NULL},
    {"copyToLocal", "get", NULL},     {"dus", "du", "--summary"},
    {"lsr", "ls", "--recursive"},     {"moveFromLocal", "put", "--move"},
    {"moveToLocal", "get", "--move"}, {"rmr", "rm", "--recursive"},
};
const size_t cli_alias_count = ARRAY_COUNT(cli_aliases);

static const struct cli_alias *find_alias(const char *name)
{
    for (size_t i = 0; i < cli_alias_count; i++) {
        if (strcmp(cli_aliases[i].name, name) == 0) {
            return &cli_aliases[i];
        }
    }
    return NULL;
}

const struct cli_command *cli_find(const char *name)
{
    const struct cli_alias *alias = find_alias(name);
    name = alias ? alias->command : name;
    for (size_t i = 0; i < cli_command_count; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0) {
            return cli_commands[i];
        }
    }
    return NULL;
}

const struct cli_command *cli_nearest(const char *name)
{
    const struct cli_command *best = NULL;
    size_t best_distance = NEAR + 1;
    for (size_t i = 0; i < cli_command_count; i++) {
        size_t distance = text_distance(name, cli_commands[i]->name);
        /* Of a short word, two changes leave nothing. */
        if (distance < best_distance && distance < strlen(cli_commands[i]->name)) {
            best = cli_commands[i];
            best_distance = distance;
        }
    }
    return best;
}

/* ---- Parsing -------------------------------------------------------------------------------- */

/* Where hadoop fs has the letter for something else (count -q), the command goes first. */
static bool has_letter(const struct cli_command *command, char letter)
{
    for (size_t i = 0; letter && i < command->row_count; i++) {
        if (command->rows[i].letter == letter) {
            return true;
        }
    }
    return false;
}

static bool has_key(const struct cli_command *command, const char *key)
{
    for (size_t i = 0; i < command->row_count; i++) {
        if (strcmp(command->rows[i].key, key) == 0) {
            return true;
        }
    }
    return false;
}

struct config_program cli_program(const struct cli_command *command, struct config_row **ret_rows,
                                  char **ret_name)
{
    struct config_row *rows = xcalloc(
        command->row_count + ARRAY_COUNT(common_rows) + ARRAY_COUNT(file_rows) + 1, sizeof(*rows));
    size_t count = 0;
    if (command->row_count > 0) {
        memcpy(rows, command->rows, command->row_count * sizeof(*rows));
        count = command->row_count;
    }
    if (!command->raw) {
        rows[count++] = json_row;
    }
    for (size_t i = 0; i < ARRAY_COUNT(common_rows); i++) {
        rows[count] = common_rows[i];
        if (has_letter(command, common_rows[i].letter)) {
            rows[count].letter = 0;
        }
        count++;
    }
    for (size_t i = 0; i < ARRAY_COUNT(file_rows); i++) {
        if (!has_key(command, file_rows[i].key)) {
            rows[count] = file_rows[i];
            rows[count++].flags |= CONFIG_HIDDEN;
        }
    }
    *ret_rows = rows;
    *ret_name = xprintf("dfs %s", command->name);
    return (struct config_program){.name = *ret_name,
                                   .summary = command->summary,
                                   .arguments = command->arguments,
                                   .description = command->description,
                                   .footer = command->footer,
                                   .rows = rows,
                                   .row_count = count,
                                   .one_dash = true};
}

static int wrong_count(struct cli *cli)
{
    const struct cli_command *c = cli->command;
    (void)fprintf(stderr, "dfs %s: too %s arguments\nUsage: dfs %s [OPTION]... %s\n", c->name,
                  cli->argument_count < c->arguments_min ? "few" : "many", c->name,
                  c->arguments ? c->arguments : "");
    config_deinit(&cli->config);
    return 2;
}

/* The words as the parser takes them: with what an alias implies. The caller frees them. */
static char **spell_out(const struct cli *cli, int argc, char **argv, int *ret_argc)
{
    const struct cli_alias *alias = argc > 0 ? find_alias(argv[0]) : NULL;
    char **words = xcalloc((size_t)argc + 2, sizeof(*words));
    int count = 0;
    for (int i = 0; i < argc; i++) {
        bool respells = cli->command->respell && i > 0 && argv[i][0] == '-';
        words[count++] =
            respells ? (char *)cli->command->respell(argv[i]) : argv[i]; /* only read */
        if (i == 0 && alias && alias->flag) {
            words[count++] = (char *)alias->flag;
        }
    }
    *ret_argc = count;
    return words;
}

/* What has no default of its own. */
static void note_unsaid(struct cli *cli, const struct config_program *program)
{
    for (size_t i = 0; i < program->row_count; i++) {
        if (strcmp(program->rows[i].key, "trash-keep") == 0 &&
            cli->config.sources[i] == CONFIG_DEFAULT) {
            cli->options.trash_keep_ms = CLI_TRASH_KEEP_UNSAID;
        }
    }
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
    struct config_row *rows = NULL;
    char *name = NULL;
    struct config_program program = cli_program(cli->command, &rows, &name);
    char **words = spell_out(cli, argc, argv, &argc);
    int status = config_start(&cli->config, &program, &cli->options, argc, words);
    free(words);
    if (status < 0) {
        note_unsaid(cli, &program);
        cli->master_where = config_where(&cli->config, &program, "master");
    }
    free(rows);
    free(name);
    if (status >= 0) {
        return status;
    }
    cli->arguments = cli->config.arguments;
    cli->argument_count = cli->config.argument_count;
    for (size_t i = 0; i < cli->argument_count; i++) {
        cli->arguments[i] = path_without_scheme(cli->arguments[i]);
    }
    if (cli->argument_count < cli->command->arguments_min ||
        cli->argument_count > cli->command->arguments_max) {
        return wrong_count(cli);
    }
    return -1;
}
