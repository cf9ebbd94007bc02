/* mr: runs MapReduce jobs and looks after them. */
#include <stdio.h>
#include <string.h>

#include "common/config.h"
#include "common/macros.h"
#include "common/parse.h"
#include "common/sys.h"
#include "mapreduce/mr/cluster.h"
#include "mapreduce/mr/commands.h"
#include "mapreduce/mr/options.h"
#include "mapreduce/mr/run_cluster.h"
#include "mapreduce/mr/run_local.h"

static void warn_of_unheeded(const struct run_command *command)
{
    struct buf text = BUF_INIT;
    run_command_unheeded(command, &text);
    if (text.length > 0) {
        (void)fprintf(stderr, "mr run: %s\n", text.data);
    }
    buf_deinit(&text);
}

static int command_run(int argc, char **argv)
{
    struct run_command command;
    int code = run_command_parse(&command, argc, argv);
    if (code < 0) {
        warn_of_unheeded(&command);
        code = command.options.local ? run_local(&command) : run_cluster(&command);
    }
    run_command_deinit(&command);
    return code;
}

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"run", command_run},       {"list", command_list},       {"status", command_status},
    {"kill", command_kill},     {"logs", command_logs},       {"counters", command_counters},
    {"why", command_why},       {"workers", command_workers}, {"history", command_history},
    {"replay", command_replay},
};

static const struct config_program program = {
    .name = "mr",
    .summary = "run MapReduce jobs and look after them",
    .arguments = "COMMAND [ARG]...",
    .description = "Runs jobs on the cluster whose mrmaster MR_MASTER names and whose store "
                   "DFS_MASTER names, or, with mr run --local, on this machine alone.",
    .stop_at_argument = true,
    .footer = "Commands (mr help COMMAND, or mr COMMAND --help, has their options):\n"
              "  run        run a job and watch it\n"
              "  list       jobs that have not ended\n"
              "  history    all jobs that are remembered\n"
              "  status     how a job goes\n"
              "  why        what a job waits for\n"
              "  logs       a job's attempts, and what one of them said\n"
              "  counters   a job's counters\n"
              "  replay     run one task again on this machine\n"
              "  kill       end a job\n"
              "  workers    the workers and their slots\n"
              "\n"
              "Examples:\n"
              "  mr run --lib wordcount.so -i /books -o /counts\n"
              "  mr run --mapper ./words.py --reducer 'uniq -c' --file words.py -i /b -o /c\n"
              "  mr run --local --lib wordcount.so -i books/ -o counts\n"
              "  mr status\n"
              "\n"
              "Exit status: 0 done, 1 failed, 2 usage.\n",
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *nearest = NULL;
    size_t least = 3; /* more than two edits away is another word */
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        size_t distance = text_distance(name, commands[i].name);
        if (distance < least) {
            least = distance;
            nearest = commands[i].name;
        }
    }
    (void)fprintf(stderr, "mr: unknown command \"%.100s\"%s%s%s\nTry: mr help\n", name,
                  nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    return 2;
}

static int print_help(void)
{
    struct buf text = BUF_INIT;
    config_print_help(&program, &text);
    (void)fwrite(text.data, 1, text.length, stdout);
    buf_deinit(&text);
    return 0;
}

static int command_help(int argc, char **argv)
{
    if (argc < 2) {
        return print_help();
    }
    const struct command *command = find_command(argv[1]);
    char flag[] = "--help";
    char *arguments[] = {argv[1], flag, NULL};
    return command ? command->run(2, arguments) : unknown_command(argv[1]);
}

static int run(int argc, char **argv)
{
    struct config config;
    struct {
        char nothing;
    } options;
    int code = config_start(&config, &program, &options, argc, argv);
    if (code >= 0) {
        return code;
    }
    if (config.argument_count == 0) {
        (void)fprintf(stderr, "mr: which command? Try: mr help\n");
        config_deinit(&config);
        return 2;
    }
    int at = argc - (int)config.argument_count;
    config_deinit(&config);
    if (strcmp(argv[at], "help") == 0) {
        return command_help(argc - at, argv + at);
    }
    const struct command *command = find_command(argv[at]);
    return command ? command->run(argc - at, argv + at) : unknown_command(argv[at]);
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    int code = run(argc, argv);
    if (sys_end_stdout(&e) < 0) {
        (void)fprintf(stderr, "mr: %s\n", err_message(&e));
        code = code == 0 ? 1 : code;
    }
    return cluster_end(code);
}
