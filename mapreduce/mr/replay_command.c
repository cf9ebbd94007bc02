/* mr replay: its flags, and what it says. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <trireme/dfs.h>

#include "common/limits.h"
#include "common/macros.h"
#include "mapreduce/mr/cluster.h"
#include "mapreduce/mr/commands.h"
#include "mapreduce/mr/replay.h"

struct replay_flags {
    const char *directory;
    bool quiet;
    struct cluster_options cluster;
};

static const struct config_row rows[] = {
    {.key = "output",
     .letter = 'o',
     .type = CONFIG_STRING,
     .offset = offsetof(struct replay_flags, directory),
     .flags = CONFIG_FLAG_ONLY,
     .value_name = "DIR",
     .help = "Directory of this machine for the task's output and its files; it must not exist. "
             "Default: the attempt's name, here."},
    {.key = "quiet",
     .letter = 'q',
     .type = CONFIG_BOOL,
     .offset = offsetof(struct replay_flags, quiet),
     .flags = CONFIG_FLAG_ONLY,
     .help = "No progress and no counters."},
    CLUSTER_ROWS(struct replay_flags),
    {.key = "master",
     .type = CONFIG_STRING,
     .offset = offsetof(struct replay_flags, cluster.master),
     .value_name = "HOST:PORT,...",
     .env = "DFS_MASTER",
     .help = "The store's file masters."},
};

static const struct config_program program = {
    .name = "mr replay",
    .summary = "run one task again on this machine",
    .arguments = "ATTEMPT",
    .description =
        "Runs the task of an attempt again, here and in this process, with the input that it had: "
        "splits from the store, the library or programs and side files as they were submitted. "
        "The job may have ended in any way, as long as it is remembered (mr history) and its input "
        "has not changed. Nothing in the store changes, and no mrmaster is needed.\nIn DIR are "
        "afterwards the job's files (work/, where the task ran) and what the task made: part-N and "
        "named outputs, or, of a map for reduces, its records of each reduce as text, "
        "partition-N. For a reduce all maps are run again first, because what they made has gone "
        "with the job.",
    .rows = rows,
    .row_count = ARRAY_COUNT(rows),
    .footer = "Examples:\n"
              "  mr replay attempt_3_0001_m_000003_0\n"
              "  gdb --args mr replay -o /tmp/again attempt_3_0001_r_000000_1\n"
              "\n"
              "Exit status: 0 the task succeeded, 1 it failed, or could not be run, 2 usage.\n",
};

static void show_counter(void *arg, const char *group, const char *name, int64_t value)
{
    char *shown = arg; /* the heading that we are under */
    if (strcmp(shown, group) != 0) {
        (void)fprintf(stderr, "\t%s\n", group);
        (void)snprintf(shown, MR_COUNTER_NAME_BYTES_MAX + 1, "%s", group);
    }
    (void)fprintf(stderr, "\t\t%s=%" PRId64 "\n", name, value);
}

static int replay(const struct config *config, const struct replay_flags *flags, struct err *e)
{
    char heading[MR_COUNTER_NAME_BYTES_MAX + 1] = "";
    struct replay_options options = {.quiet = flags->quiet};
    struct task_result result;
    if (config->argument_count != 1) {
        return err_set(e, ERR_INVALID, "which attempt? See mr logs");
    }
    options.attempt = config->arguments[0];
    options.directory = flags->directory ? flags->directory : options.attempt;
    int r = cluster_open_store(&flags->cluster, &options.dfs, e);
    if (r < 0) {
        return r;
    }
    task_result_init(&result);
    r = replay_run(&options, &result, e);
    if (r == 0 && !flags->quiet) {
        (void)fprintf(stderr, "%s succeeded\nCounters:\n", options.attempt);
        counters_visit(&result.counters, show_counter, heading);
        (void)fprintf(stderr, "Output: %s\n", options.directory);
    }
    task_result_deinit(&result);
    dfs_disconnect(options.dfs);
    return r;
}

int command_replay(int argc, char **argv)
{
    struct config config;
    struct replay_flags flags = {.quiet = false};
    struct err e = ERR_INIT;
    int code = config_start(&config, &program, &flags, argc, argv);
    if (code < 0) {
        int r = replay(&config, &flags, &e);
        code = r < 0 ? cluster_fail("mr replay", r, &e) : 0;
    }
    config_deinit(&config);
    return code;
}
