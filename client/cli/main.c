/* dfs: the store's command. `dfs VERB ...`, also written `dfs -VERB ...` as hadoop fs has it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/complete.h"
#include "client/cli/hadoop.h"
#include "common/macros.h"
#include "common/sys.h"

enum { USAGE = 2 };

static void print_overview(FILE *to)
{
    (void)fputs("Usage: dfs COMMAND [OPTION]... [ARGUMENT]...\n\n"
                "Work with files in a Trireme store.\n\nCommands:\n",
                to);
    for (size_t i = 0; i < cli_command_count; i++) {
        (void)fprintf(to, "  %-10s  %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
    (void)fputs(
        "\nEach command may be written with a leading dash (dfs -ls). Paths are absolute or start "
        "at\n/user/NAME; put patterns in quotes: dfs cat '/counts/part-*'.\n\n"
        "The store is the one that DFS_MASTER=HOST:PORT or --master names.\n"
        "`dfs help COMMAND` tells all about one, `dfs help --man COMMAND` as a man page; for the "
        "shell:\n. <(dfs completion bash). Exit status: 0 done, 1 failed, 2 wrong usage.\n",
        to);
}

static int unknown(const char *name)
{
    const struct cli_command *near = cli_nearest(name);
    (void)fprintf(stderr, "dfs: there is no command `%s'", name);
    if (near) {
        (void)fprintf(stderr, "; did you mean `%s'?\n", near->name);
    } else {
        (void)fputs("; `dfs help' lists all\n", stderr);
    }
    return USAGE;
}

/* Pages without a command: help [--man] [COMMAND]. */
static void print_overview_man(void)
{
    (void)printf(
        ".TH DFS 1 \"\" \"Trireme %s\" \"Trireme\"\n.SH NAME\ndfs \\- work with files in a "
        "Trireme store\n.SH SYNOPSIS\n\\fBdfs\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR]... "
        "[\\fIARGUMENT\\fR]...\n.SH COMMANDS\n",
        config_version());
    for (size_t i = 0; i < cli_command_count; i++) {
        (void)printf(".TP\n\\fBdfs\\-%s\\fR(1)\n%s\n", cli_commands[i]->name,
                     cli_commands[i]->summary);
    }
}

static int help(int argc, char **argv)
{
    bool man = argc > 1 && strcmp(argv[1], "--man") == 0;
    const char *name = argc > 1 + man ? argv[1 + man] : NULL;
    if (!name && man) {
        print_overview_man();
        return 0;
    }
    if (!name) {
        print_overview(stdout);
        return 0;
    }
    const struct cli_command *command = cli_find(name + (name[0] == '-'));
    if (!command) {
        return unknown(name);
    }
    struct config_row *rows = NULL;
    char *full = NULL;
    struct buf text = BUF_INIT;
    struct config_program program = cli_program(command, &rows, &full);
    if (man) {
        config_print_man(&program, &text);
    } else {
        config_print_help(&program, &text);
    }
    (void)fwrite(text.data, 1, text.length, stdout);
    buf_deinit(&text);
    free(rows);
    free(full);
    return 0;
}

/* usage [COMMAND]...: one line each, as hadoop fs -usage. */
static int usage(int argc, char **argv)
{
    for (size_t i = 0; argc < 2 && i < cli_command_count; i++) {
        const struct cli_command *c = cli_commands[i];
        (void)printf("Usage: dfs %s [OPTION]... %s\n", c->name, c->arguments ? c->arguments : "");
    }
    for (int i = 1; i < argc; i++) {
        const struct cli_command *c = cli_find(argv[i] + (argv[i][0] == '-'));
        if (!c) {
            return unknown(argv[i]);
        }
        (void)printf("Usage: dfs %s [OPTION]... %s\n", c->name, c->arguments ? c->arguments : "");
    }
    return 0;
}

static int version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)printf("dfs (Trireme) %s\n", config_version());
    return 0;
}

static int completion(int argc, char **argv)
{
    struct buf text = BUF_INIT;
    if (argc != 2 || strcmp(argv[1], "bash") != 0) {
        (void)fputs("Usage: dfs completion bash\n"
                    "Prints a script for bash, and for zsh after `autoload -U bashcompinit; "
                    "bashcompinit':\n  . <(dfs completion bash)\n",
                    stderr);
        return USAGE;
    }
    complete_print_bash(&text);
    (void)fwrite(text.data, 1, text.length, stdout);
    buf_deinit(&text);
    return 0;
}

/* Commands about dfs itself, which talk to no cluster. */
static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} words[] = {{"help", help},   {"usage", usage},           {"version", version},
             {"--help", help}, {"completion", completion}, {"--version", version},
             {"-h", help}};

/* The status when what was printed has arrived where it was to go, else at least 1. */
static int end_output(const char *name, int status)
{
    struct err e = ERR_INIT;
    if (sys_end_stdout(&e) < 0) {
        (void)fprintf(stderr, "%s: %s\n", name, err_message(&e));
        return status == 0 ? 1 : status;
    }
    return status;
}

/* What is left is memory and connections, which end with the process. Taking them down one by one,
 * gRPC's threads above all, costs a short command a third of its time. Checkers of leaks get it. */
static int end(struct cli *cli)
{
#ifndef __SANITIZE_ADDRESS__
    _exit(cli->status);
#endif
    dfs_disconnect(cli->dfs);
    cli_paths_free(&cli->sources);
    config_deinit(&cli->config);
    sync_deinit(&cli->lock);
    return cli->status;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct cli cli = {.command = command,
                      .out_tty = isatty(STDOUT_FILENO) == 1,
                      .err_tty = isatty(STDERR_FILENO) == 1};
    int status = cli_parse(&cli, argc, argv);
    if (status >= 0) {
        return end_output(command->name, status);
    }
    sync_init(&cli.lock);
    bool possible = !command->check || command->check(&cli);
    if (possible && cli_connect(&cli)) {
        cli.status = command->run(&cli);
    }
    cli.status = end_output(command->name, cli.status);
    return end(&cli);
}

/* Flags before the command belong to it all the same: `dfs --master H:P ls /`. Moves the command's
 * name to the front of them. */
static void bring_command_first(int argc, char **argv)
{
    static const char *const with_value[] = {"--master",   "--user",    "--host",  "--rack",
                                             "--config",   "--timeout", "--stale", "--tls-ca",
                                             "--tls-cert", "--tls-key"};
    int at = 1;
    while (at < argc && strncmp(argv[at], "--", 2) == 0) {
        bool takes_next = false;
        for (size_t i = 0; i < ARRAY_COUNT(with_value); i++) {
            takes_next = takes_next || strcmp(argv[at], with_value[i]) == 0;
        }
        at += takes_next ? 2 : 1;
    }
    if (at < argc) {
        char *command = argv[at];
        memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof(*argv));
        argv[1] = command;
    }
}

int main(int argc, char **argv)
{
    enum hadoop_name as = hadoop_name_of(argv[0]);
    int status = as == HADOOP_NONE ? -1 : hadoop_translate(as, &argc, &argv);
    if (status >= 0) {
        return end_output("dfs", status);
    }
    bring_command_first(argc, argv);
    if (argc < 2) {
        print_overview(stderr);
        return USAGE;
    }
    const char *name = argv[1];
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (strcmp(name, words[i].name) == 0 ||
            (name[0] == '-' && strcmp(name + 1, words[i].name) == 0)) {
            return end_output("dfs", words[i].run(argc - 1, argv + 1));
        }
    }
    argv[1] += name[0] == '-';
    const struct cli_command *command = cli_find(argv[1]);
    return command ? run(command, argc - 1, argv + 1) : unknown(argv[1]);
}
