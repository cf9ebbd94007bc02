/* What `mr run` takes. Read-only after parsing. */
#ifndef MAPREDUCE_MR_OPTIONS_H
#define MAPREDUCE_MR_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/config.h"
#include "common/err.h"
#include "mapreduce/engine/job.h"
#include "mapreduce/mr/cluster.h"

struct run_options {
    bool local;
    const char *library;
    const char *mapper;
    const char *reducer; /* "NONE": no reduces */
    const char *combiner;
    struct config_list inputs;
    const char *output;
    struct config_list files;
    const char *reduces; /* a number; NULL: not given */
    const char *partitioner;
    int64_t key_fields; /* 0: not given */
    const char *field_separator;
    const char *partition_by;
    const char *sort_by;
    const char *format;
    const char *output_format;
    uint64_t memory_bytes;
    uint64_t split_bytes;
    bool map_only;
    struct config_list more_files; /* Hadoop's -files a,b */
    /* On a cluster only: */
    uint64_t task_memory_bytes;
    uint64_t timeout_ms;
    int64_t attempts;
    int64_t skip_bad_records;
    int64_t output_replication;
    bool locality_blind;
    bool no_speculative;
    bool detach;
    bool kill_on_interrupt;
    bool json;
    bool hadoop;
    struct cluster_options cluster;
    int64_t parallel;
    struct config_list cmdenv;
    struct config_list settings;
    const char *name;
    bool quiet;
};

struct run_command {
    struct config config;
    struct run_options options;
    char **argv; /* with Hadoop's spellings replaced by ours; owned, strings borrowed */
};

/* Parses `mr run ARGS`; argv[0] is "run". As config_start(): -1 to go on, else the exit code. */
int run_command_parse(struct run_command *c, int argc, char **argv);
void run_command_deinit(struct run_command *c);

/* That it has input and output; ERR_INVALID says what it lacks. */
int run_command_paths(const struct run_command *c, struct err *e) MUST_CHECK;

/* Opens the library, if one was given. Never ERR_INVALID: a file that is no library is no mistake
 * in the command line's form, just as one that is not there. */
int run_command_library(const struct run_command *c, struct job_library *ret_library,
                        struct err *e) MUST_CHECK;

/* Whether the user said how many reduces there are to be, in any way. */
bool run_command_says_reduces(const struct run_command *c);

/* Which flags of the command line change nothing, because of --local or without it: a sentence for
 * people, not an error, since Hadoop's command lines have them. Adds nothing if all are heeded. */
void run_command_unheeded(const struct run_command *c, struct buf *out);

/* Fills in a zeroed job from the options; the library is opened by the caller and given. The job
 * borrows strings of the command. */
int run_command_job(const struct run_command *c, const struct mr_job *native, struct job *ret_job,
                    struct err *e) MUST_CHECK;

#endif
