/* dfs: the store's command. `dfs VERB ...`, also written `dfs -VERB ...` as hadoop fs has it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "common/macros.h"

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
        "`dfs help COMMAND` tells all about one. Exit status: 0 done, 1 failed, 2 wrong usage.\n",
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

static int help(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stdout);
        return 0;
    }
    const char *name = argv[1][0] == '-' ? argv[1] + 1 : argv[1];
    const struct cli_command *command = cli_find(name);
    if (!command) {
        return unknown(name);
    }
    struct config_row *rows = NULL;
    char *full = NULL;
    struct buf text = BUF_INIT;
    struct config_program program = cli_program(command, &rows, &full);
    config_print_help(&program, &text);
    (void)fwrite(text.data, 1, text.length, stdout);
    buf_deinit(&text);
    free(rows);
    free(full);
    return 0;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    struct cli cli = {.command = command,
                      .out_tty = isatty(STDOUT_FILENO) == 1,
                      .err_tty = isatty(STDERR_FILENO) == 1};
    int status = cli_parse(&cli, argc, argv);
    if (status >= 0) {
        return status;
    }
    sync_init(&cli.lock);
    if (cli_connect(&cli)) {
        cli.status = command->run(&cli);
    }
    dfs_disconnect(cli.dfs);
    config_deinit(&cli.config);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_error(&cli, NULL, "cannot write to standard output");
    }
    sync_deinit(&cli.lock);
    return cli.status;
}

/* Flags before the command belong to it all the same: `dfs --master H:P ls /`. Moves the command's
 * name to the front of them. */
static void bring_command_first(int argc, char **argv)
{
    static const char *const with_value[] = {"--master", "--user",     "--host",
                                             "--rack",   "--config",   "--timeout",
                                             "--tls-ca", "--tls-cert", "--tls-key"};
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
    bring_command_first(argc, argv);
    if (argc < 2) {
        print_overview(stderr);
        return USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0) {
        (void)printf("dfs (Trireme) %s\n", config_version());
        return 0;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_overview(stdout);
        return 0;
    }
    name += name[0] == '-';
    if (strcmp(name, "help") == 0) {
        return help(argc - 1, argv + 1);
    }
    const struct cli_command *command = cli_find(name);
    argv[1] += argv[1][0] == '-';
    return command ? run(command, argc - 1, argv + 1) : unknown(name);
}
