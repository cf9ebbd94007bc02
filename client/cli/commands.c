/* The table of subcommands: their flags and their pages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "common/alloc.h"
#include "common/macros.h"
#include "common/parse.h"

#define ROW(name, kind, member)                                                                    \
    .key = (name), .type = (kind), .offset = offsetof(struct cli_options, member)
#define ONCE(name, kind, member) ROW(name, kind, member), .flags = CONFIG_FLAG_ONLY

/* ---- Flags that all have -------------------------------------------------------------------- */

static const struct config_row common_rows[] = {
    {.type = CONFIG_HEADING, .key = "", .help = "The cluster"},
    {ROW("master", CONFIG_STRING, master), .value_name = "HOST:PORT[,...]", .env = "DFS_MASTER",
     .help = "File masters."},
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
    {ROW("tls-ca", CONFIG_STRING, tls_ca), .value_name = "FILE", .help = "CA of the cluster, PEM."},
    {ROW("tls-cert", CONFIG_STRING, tls_cert), .value_name = "FILE",
     .help = "Your certificate, PEM."},
    {ROW("tls-key", CONFIG_STRING, tls_key), .value_name = "FILE", .help = "Its key, PEM."},
    {ROW("no-local-reads", CONFIG_BOOL, no_local_reads), .env = "DFS_NO_LOCAL_READS",
     .flags = CONFIG_HIDDEN, .help = "Read through chunkservers even on this host."},
    {ONCE("quiet", CONFIG_BOOL, quiet), .letter = 'q',
     .help = "No progress and no word about waiting."},
};
static const struct config_row json_row = {ONCE("json", CONFIG_BOOL, json), .help = "Print JSON."};

/* ---- Flags of each -------------------------------------------------------------------------- */

static const struct config_row ls_rows[] = {
    {ONCE("directory", CONFIG_BOOL, directory), .letter = 'd',
     .help = "Show directories themselves, not what is in them."},
    {ONCE("human", CONFIG_BOOL, human), .letter = 'h', .help = "Sizes such as 64.0 M."},
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'R', .help = "Everything below, too."},
    {ONCE("names", CONFIG_BOOL, names_only), .letter = 'C', .help = "Paths only."},
    {ONCE("time", CONFIG_BOOL, by_time), .letter = 't', .help = "Newest first."},
    {ONCE("size", CONFIG_BOOL, by_size), .letter = 'S', .help = "Largest first."},
    {ONCE("reverse", CONFIG_BOOL, reverse), .letter = 'r', .help = "The other way round."},
};
static const struct config_row put_rows[] = {
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f', .help = "Replace files that exist."},
    {ONCE("replication", CONFIG_INT, replication), .value_name = "N", .min = 1, .max = 16,
     .help = "Copies of each chunk. Default: the cluster's."},
    {ONCE("chunk-size", CONFIG_SIZE, chunk_bytes), .value_name = "SIZE", .min = 1 << 20,
     .max = 1 << 30, .help = "Bytes of a chunk, a multiple of 64K. Default: 64M."},
};
static const struct config_row append_rows[] = {
    {ONCE("sync", CONFIG_BOOL, sync), .letter = 's',
     .help = "Make every piece durable, and visible to readers, as soon as it has been read."},
};
static const struct config_row get_rows[] = {
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f', .help = "Replace local files that exist."},
};
static const struct config_row mkdir_rows[] = {
    {ONCE("parents", CONFIG_BOOL, parents), .letter = 'p',
     .help = "Make missing parents; a directory that exists is fine."},
};
static const struct config_row rm_rows[] = {
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'r',
     .help = "Directories and all that is in them."},
    {ROW("R", CONFIG_BOOL, recursive), .letter = 'R', .flags = CONFIG_FLAG_ONLY | CONFIG_HIDDEN,
     .help = "The same."},
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f', .help = "What does not exist is fine."},
    {ONCE("skip-trash", CONFIG_BOOL, skip_trash),
     .help = "Accepted for scripts of hadoop fs: deleting is at once anyway."},
};
static const struct config_row mv_rows[] = {
    {ONCE("force", CONFIG_BOOL, force), .letter = 'f',
     .help = "Replace a file by a file, an empty directory by a directory."},
};
static const struct config_row recursive_rows[] = {
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'R', .help = "Everything below, too."},
};
static const struct config_row setrep_rows[] = {
    {ONCE("recursive", CONFIG_BOOL, recursive), .letter = 'R',
     .help = "Accepted for scripts of hadoop fs: directories always mean everything below."},
    {ONCE("wait", CONFIG_BOOL, wait), .letter = 'w', .help = "Wait until the copies are there."},
};
static const struct config_row test_rows[] = {
    {ONCE("exists", CONFIG_BOOL, exists), .letter = 'e', .help = "It exists."},
    {ONCE("directory", CONFIG_BOOL, directory), .letter = 'd', .help = "It is a directory."},
    {ONCE("file", CONFIG_BOOL, is_file), .letter = 'f', .help = "It is a file."},
    {ONCE("size", CONFIG_BOOL, not_empty), .letter = 's',
     .help = "It has at least one byte or "
             "entry."},
    {ONCE("zero", CONFIG_BOOL, is_empty), .letter = 'z', .help = "It is a file of length 0."},
};
static const struct config_row stat_rows[] = {
    {ONCE("format", CONFIG_STRING, format), .letter = 'c', .value_name = "FORMAT",
     .help = "What to print, as hadoop fs -stat has it: %a octal mode, %A mode, %b length, %F "
             "kind, %g group, %n name, %o chunk size, %r copies, %u owner, %y time, %Y "
             "milliseconds, %% a percent sign."},
};
static const struct config_row du_rows[] = {
    {ONCE("summary", CONFIG_BOOL, summary), .letter = 's', .help = "One line for each argument."},
    {ONCE("human", CONFIG_BOOL, human), .letter = 'h', .help = "Sizes such as 64.0 M."},
};
static const struct config_row human_rows[] = {
    {ONCE("human", CONFIG_BOOL, human), .letter = 'h', .help = "Sizes such as 64.0 M."},
};
static const struct config_row head_rows[] = {
    {ONCE("bytes", CONFIG_SIZE, bytes), .letter = 'c', .value_name = "SIZE", .default_text = "1K",
     .min = 0, .max = INT64_MAX, .help = "How much to print."},
};
static const struct config_row tail_rows[] = {
    {ONCE("bytes", CONFIG_SIZE, bytes), .letter = 'c', .value_name = "SIZE", .default_text = "1K",
     .min = 0, .max = INT64_MAX, .help = "How much to print."},
    {ONCE("follow", CONFIG_BOOL, follow), .letter = 'f',
     .help = "Go on with what is written to the file later, until interrupted."},
};

/* ---- The table ------------------------------------------------------------------------------ */

#define ROWS(table) .rows = (table), .row_count = ARRAY_COUNT(table)
enum { MANY = 1 << 20 };

const struct cli_command cli_commands[] = {
    {.name = "ls",
     .summary = "list directories and files",
     .run = cli_ls,
     ROWS(ls_rows),
     .arguments = "[PATH]...",
     .arguments_max = MANY,
     .description =
         "Prints one line for each entry: mode, copies, owner, group, length, time of the last "
         "change, path. Without PATH: your own directory, /user/NAME.",
     .footer = "Examples:\n"
               "  dfs ls /\n"
               "  dfs ls -R -h /books\n"
               "  dfs ls -t '/counts/part-*'      newest first"},
    {.name = "put",
     .summary = "copy local files into the store",
     .run = cli_put,
     ROWS(put_rows),
     .arguments = "SOURCE... TARGET",
     .arguments_min = 1,
     .arguments_max = MANY,
     .description =
         "Copies files, and directories with all that is in them. If TARGET is a directory, they "
         "go into it. `-' as SOURCE is standard input. A file appears whole and at once, when all "
         "its bytes are durable on all their servers; an upload that is cut off leaves nothing to "
         "see. With one argument, TARGET is your own directory.",
     .footer = "Examples:\n"
               "  dfs put book.txt /books/book.txt\n"
               "  dfs put *.txt /books\n"
               "  zcat dump.gz | dfs put -f - /dumps/today\n"
               "  dfs put --replication 2 --chunk-size 4M logs /logs"},
    {.name = "append",
     .summary = "write at the end of a file",
     .run = cli_append,
     ROWS(append_rows),
     .arguments = "SOURCE... TARGET",
     .arguments_min = 2,
     .arguments_max = MANY,
     .description = "Adds local files, or standard input as `-', to the end of TARGET, which is "
                    "made if it does not exist. One writer at a time. Also called appendToFile.",
     .footer = "Examples:\n"
               "  dfs append today.log /logs/all\n"
               "  journalctl -f | dfs append --sync - /logs/journal"},
    {.name = "get",
     .summary = "copy files out of the store",
     .run = cli_get,
     ROWS(get_rows),
     .arguments = "SOURCE... [TARGET]",
     .arguments_min = 1,
     .arguments_max = MANY,
     .description =
         "Copies files, and directories with all that is in them, to local ones. If TARGET is a "
         "local directory, they go into it; `-' is standard output. A file is written under a "
         "temporary name and renamed when it is complete; on an error it is removed. Every byte "
         "is checked against its checksum; a bad copy is skipped for a good one.",
     .footer = "Examples:\n"
               "  dfs get /books/book.txt\n"
               "  dfs get '/counts/part-*' results/\n"
               "  dfs get -f /logs ./logs"},
    {.name = "cat",
     .summary = "print files",
     .run = cli_cat,
     .raw = true,
     .arguments = "PATH...",
     .arguments_min = 1,
     .arguments_max = MANY,
     .description = "Prints files one after the other.",
     .footer = "Examples:\n"
               "  dfs cat /books/book.txt | wc -w\n"
               "  dfs cat '/counts/part-*' | sort -t$'\\t' -k2,2nr | head"},
    {.name = "mkdir",
     .summary = "make directories",
     .run = cli_mkdir,
     ROWS(mkdir_rows),
     .arguments = "PATH...",
     .arguments_min = 1,
     .arguments_max = MANY,
     .footer = "Examples:\n  dfs mkdir -p /books/2026/03"},
    {.name = "rm",
     .summary = "remove files and directories",
     .run = cli_rm,
     ROWS(rm_rows),
     .arguments = "PATH...",
     .arguments_min = 1,
     .arguments_max = MANY,
     .description = "The names are gone at once, however much lies below them; the space comes "
                    "back in the background.",
     .footer = "Examples:\n  dfs rm /books/book.txt\n  dfs rm -r -f '/tmp/job-*'"},
    {.name = "rmdir",
     .summary = "remove empty directories",
     .run = cli_rmdir,
     .arguments = "PATH...",
     .arguments_min = 1,
     .arguments_max = MANY,
     .footer = "Examples:\n  dfs rmdir /books/empty"},
    {.name = "mv",
     .summary = "move or rename",
     .run = cli_mv,
     ROWS(mv_rows),
     .arguments = "SOURCE... TARGET",
     .arguments_min = 2,
     .arguments_max = MANY,
     .description = "If TARGET is a directory, SOURCE moves into it; `dfs rename' never does "
                    "that. Each move is atomic.",
     .footer = "Examples:\n  dfs mv /books/a.txt /books/b.txt\n  dfs mv '/in/*.log' /archive"},
    {.name = "rename",
     .summary = "give a file or directory another name",
     .run = cli_rename,
     ROWS(mv_rows),
     .arguments = "SOURCE TARGET",
     .arguments_min = 2,
     .arguments_max = 2,
     .description = "TARGET is the new name itself. Atomic: everybody sees the old name or the "
                    "new one. Without -f, an existing TARGET is an error and nothing changes.",
     .footer = "Examples:\n  dfs rename /out.tmp /out\n  dfs rename -f /list.new /list"},
    {.name = "stat",
     .summary = "show what is known about a path",
     .run = cli_stat_command,
     ROWS(stat_rows),
     .arguments = "[FORMAT] PATH...",
     .arguments_min = 1,
     .arguments_max = MANY,
     .description = "A first argument with a percent sign is a format, as hadoop fs -stat has it.",
     .footer = "Examples:\n  dfs stat /books\n  dfs stat '%n %b %r' '/books/*'"},
    {.name = "loc",
     .summary = "show on which servers a file's chunks are",
     .run = cli_loc,
     .arguments = "PATH...",
     .arguments_min = 1,
     .arguments_max = MANY,
     .description = "One line for each chunk: its number, its version, where in the file it "
                    "begins, its length, and the hosts that hold it.",
     .footer = "Examples:\n  dfs loc /books/book.txt\n  dfs loc --json /books/book.txt"},
    {.name = "report",
     .summary = "show the cluster's servers and health",
     .run = cli_report,
     .arguments = NULL,
     .description = "The chunkservers with their state and space, and what the file master knows "
                    "about the chunks.",
     .footer = "Examples:\n  dfs report\n"
               "  dfs report --json | jq '.servers[] | select(.live | not) | .host'"},
    {.name = "admin",
     .summary = "look at the group of file masters, and change it",
     .run = cli_admin,
     .arguments = "raft status|add HOST:PORT|promote ID|remove ID|transfer [ID]",
     .arguments_min = 2,
     .arguments_max = 3,
     .description =
         "status shows each file master, how far its log is, and when the leader last heard of it. "
         "add makes the empty file master at an address a learner: it gets the log and has no "
         "vote. promote gives a learner that has caught up its vote. remove takes a member out. "
         "transfer hands leadership over. Changes are made one at a time and are answered when a "
         "majority has them; only the superuser may make them.",
     .footer =
         "Examples:\n  dfs admin raft status\n"
         "  dfs admin raft status --json | jq '.members[] | select(.role == \"leader\")'\n"
         "  dfs admin raft remove 3 && dfs admin raft add c:7000 && dfs admin raft promote 3"},
    {.name = "head",
     .summary = "print the beginning of a file",
     .run = cli_head,
     ROWS(head_rows),
     .raw = true,
     .arguments = "PATH",
     .arguments_min = 1,
     .arguments_max = 1,
     .footer = "Examples:\n  dfs head -c 100 /books/book.txt"},
    {.name = "tail",
     .summary = "print the end of a file",
     .run = cli_tail,
     ROWS(tail_rows),
     .raw = true,
     .arguments = "PATH",
     .arguments_min = 1,
     .arguments_max = 1,
     .footer = "Examples:\n  dfs tail -f /logs/today"},
    {.name = "test",
     .summary = "ask about a path by exit status",
     .run = cli_test,
     ROWS(test_rows),
     .arguments = "PATH",
     .arguments_min = 1,
     .arguments_max = 1,
     .description = "Exit status 0 if everything asked is so, else 1. Without a flag: -e.",
     .footer = "Examples:\n  dfs test -e /out/_SUCCESS && dfs cat '/out/part-*'"},
    {.name = "du",
     .summary = "show how much space files take",
     .run = cli_du,
     ROWS(du_rows),
     .arguments = "[PATH]...",
     .arguments_max = MANY,
     .description = "Length, space with all copies, path. Totals of directories are kept by the "
                    "file master, so this is quick at any size.",
     .footer = "Examples:\n  dfs du -h /books\n  dfs du -s -h /"},
    {.name = "count",
     .summary = "count directories, files and bytes",
     .run = cli_count,
     ROWS(human_rows),
     .arguments = "PATH...",
     .arguments_min = 1,
     .arguments_max = MANY,
     .description = "Directories (with the path itself), files, bytes, path.",
     .footer = "Examples:\n  dfs count /books"},
    {.name = "df",
     .summary = "show the cluster's free space",
     .run = cli_df,
     ROWS(human_rows),
     .arguments = NULL,
     .footer = "Examples:\n  dfs df -h"},
    {.name = "touchz",
     .summary = "make empty files",
     .run = cli_touchz,
     .arguments = "PATH...",
     .arguments_min = 1,
     .arguments_max = MANY,
     .description = "A file of length 0 that exists is fine; a longer one is an error.",
     .footer = "Examples:\n  dfs touchz /out/_SUCCESS"},
    {.name = "chmod",
     .summary = "change modes",
     .run = cli_chmod,
     ROWS(recursive_rows),
     .arguments = "MODE PATH...",
     .arguments_min = 2,
     .arguments_max = MANY,
     .description = "MODE is octal (750) or symbolic (u=rwx,go-w).",
     .footer = "Examples:\n  dfs chmod 750 /books\n  dfs chmod -R go-w /books"},
    {.name = "chown",
     .summary = "change owners",
     .run = cli_chown,
     ROWS(recursive_rows),
     .arguments = "OWNER[:GROUP] PATH...",
     .arguments_min = 2,
     .arguments_max = MANY,
     .footer = "Examples:\n  dfs chown -R ada:readers /books"},
    {.name = "chgrp",
     .summary = "change groups",
     .run = cli_chgrp,
     ROWS(recursive_rows),
     .arguments = "GROUP PATH...",
     .arguments_min = 2,
     .arguments_max = MANY,
     .footer = "Examples:\n  dfs chgrp readers /books"},
    {.name = "setrep",
     .summary = "change how many copies are kept",
     .run = cli_setrep,
     ROWS(setrep_rows),
     .arguments = "N PATH...",
     .arguments_min = 2,
     .arguments_max = MANY,
     .footer = "Examples:\n  dfs setrep -w 2 /books/book.txt"},
};
const size_t cli_command_count = ARRAY_COUNT(cli_commands);

enum { NEAR = 2 }; /* letters that a name may differ in */

const struct cli_command *cli_find(const char *name)
{
    if (strcmp(name, "appendToFile") == 0) { /* hadoop fs calls it so */
        name = "append";
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        if (strcmp(cli_commands[i].name, name) == 0) {
            return &cli_commands[i];
        }
    }
    return NULL;
}

const struct cli_command *cli_nearest(const char *name)
{
    const struct cli_command *best = NULL;
    size_t best_distance = NEAR + 1;
    for (size_t i = 0; i < cli_command_count; i++) {
        size_t distance = text_distance(name, cli_commands[i].name);
        /* Of a short word, two changes leave nothing. */
        if (distance < best_distance && distance < strlen(cli_commands[i].name)) {
            best = &cli_commands[i];
            best_distance = distance;
        }
    }
    return best;
}

/* ---- Parsing -------------------------------------------------------------------------------- */

struct config_program cli_program(const struct cli_command *command, struct config_row **ret_rows,
                                  char **ret_name)
{
    struct config_row *rows =
        xcalloc(command->row_count + ARRAY_COUNT(common_rows) + 1, sizeof(*rows));
    size_t count = 0;
    if (command->row_count > 0) {
        memcpy(rows, command->rows, command->row_count * sizeof(*rows));
        count = command->row_count;
    }
    if (!command->raw) {
        rows[count++] = json_row;
    }
    memcpy(rows + count, common_rows, sizeof(common_rows));
    count += ARRAY_COUNT(common_rows);
    *ret_rows = rows;
    *ret_name = xprintf("dfs %s", command->name);
    return (struct config_program){.name = *ret_name,
                                   .summary = command->summary,
                                   .arguments = command->arguments,
                                   .description = command->description,
                                   .footer = command->footer,
                                   .rows = rows,
                                   .row_count = count};
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

int cli_parse(struct cli *cli, int argc, char **argv)
{
    struct config_row *rows = NULL;
    char *name = NULL;
    /* hadoop fs has this one with a single dash. */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-skipTrash") == 0) {
            argv[i] = (char *)"--skip-trash"; /* only read */
        }
    }
    struct config_program program = cli_program(cli->command, &rows, &name);
    int status = config_start(&cli->config, &program, &cli->options, argc, argv);
    free(rows);
    free(name);
    if (status >= 0) {
        return status;
    }
    cli->arguments = cli->config.arguments;
    cli->argument_count = cli->config.argument_count;
    if (cli->argument_count < cli->command->arguments_min ||
        cli->argument_count > cli->command->arguments_max) {
        return wrong_count(cli);
    }
    return -1;
}
