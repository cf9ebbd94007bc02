/* mr replay: its flags, and what it says. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <trireme/dfs.h>

#include "common/limits.h"
#include "common/macros.h"
#include "mapreduce/engine/exit_guard.h"
#include "mapreduce/mr/cluster.h"
#include "mapreduce/mr/commands.h"
#include "mapreduce/mr/look.h"
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
     .shared_key = "masters",
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
        "has not changed. Nothing in the store changes, and no mrmaster is needed; one that can be "
        "asked says whether there was such an attempt.\nIn DIR are "
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

/* Only mrmaster knows which attempts there were. A replay needs none, so one that cannot be asked,
 * or that has no attempts of the job since it restarted, is no reason to refuse. */
static int check_attempt(const struct replay_flags *flags, const char *attempt, struct err *e)
{
    struct mr_client *client = NULL;
    struct err ignored = ERR_INIT;
    struct arena arena = ARENA_INIT;
    struct attempt_list attempts = {NULL, 0};
    const char *job = NULL;
    if (!flags->cluster.mrmaster || !flags->cluster.mrmaster[0]) {
        return 0;
    }
    int r = cluster_open_client(&flags->cluster, 0, &client, &ignored);
    r = r < 0 ? r : look_job_of_attempt(client, attempt, &arena, &job, &ignored);
    r = r < 0 ? r : mr_client_list_attempts(client, job, false, &arena, &attempts, &ignored);
    bool known = r < 0 || attempts.count == 0 || attempts.count >= MR_REPORT_COUNT_MAX;
    for (size_t i = 0; i < attempts.count && !known; i++) {
        known = strcmp(attempts.items[i].attempt, attempt) == 0;
    }
    r = known ? 0 : look_no_attempt(attempt, job, e);
    mr_client_close(client);
    arena_deinit(&arena);
    return r;
}

/* Said before the cluster is asked; replay_run() makes it. */
static int check_directory(const char *directory, struct arena *arena, struct err *e)
{
    struct stat st;
    const char *slash = strrchr(directory, '/');
    size_t length = slash ? (size_t)(slash - directory) + 1 : 0;
    const char *parent = length > 0 ? arena_strndup(arena, directory, length) : ".";
    bool exists = lstat(directory, &st) == 0;
    if (!exists && stat(parent, &st) == 0) {
        return 0;
    }
    errno = exists ? EEXIST : errno;
    return err_errno(e, "make %s", directory);
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
    struct attempt_name name;
    if (!attempt_name_parse(options.attempt, &name)) {
        return look_bad_attempt(options.attempt, e);
    }
    struct arena arena = ARENA_INIT;
    int r = check_directory(options.directory, &arena, e);
    arena_deinit(&arena);
    r = r < 0 ? r : check_attempt(flags, options.attempt, e);
    r = r < 0 ? r : cluster_open_store(&flags->cluster, &options.dfs, e);
    if (r < 0) {
        return r;
    }
    task_result_init(&result);
    exit_guard_begin("mr replay");
    r = replay_run(&options, &result, e);
    exit_guard_end();
    if (r == ERR_INVALID) {
        r = e->code = ERR_TASK; /* what the task found, not the command line's form */
    }
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
        cluster_note_where(&flags.cluster, &config, &program);
        int r = replay(&config, &flags, &e);
        code = r < 0 ? cluster_fail("mr replay", r, &e) : 0;
    }
    config_deinit(&config);
    return code;
}
