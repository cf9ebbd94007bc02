/* Begin and end of the subcommands that look at a cluster's jobs: flags, connection, and the job
 * that is meant. */
#ifndef MAPREDUCE_MR_LOOK_H
#define MAPREDUCE_MR_LOOK_H

#include "mapreduce/mr/cluster.h"

struct look_options {
    struct cluster_options cluster;
    bool all;    /* list: ended jobs too */
    bool failed; /* logs: failed attempts only */
};

#define LOOK_JSON                                                                                  \
    {                                                                                              \
        .key = "json", .type = CONFIG_BOOL, .offset = offsetof(struct look_options, cluster.json), \
        .flags = CONFIG_FLAG_ONLY, .help = "Print JSON."                                           \
    }

struct look {
    const char *verb; /* "mr status" */
    struct config config;
    struct look_options options;
    struct mr_client *client;
    struct arena arena;
    struct err err;
};

/* Parses and connects. -1 to go on, else the exit code. look_end() in any case. */
int look_begin(struct look *l, const struct config_program *program, int argc, char **argv);
/* Releases everything. code below 0: prints l->err and returns the exit code for it. */
int look_end(struct look *l, int code);

/* The argument at that position, or, without one, the newest job's id. */
int look_job(struct look *l, size_t position, const char **ret_job) MUST_CHECK;

/* ---- Attempts by name; the errors say how to list those there are ---- */

/* The id of the job whose number is in the attempt's name. ERR_INVALID: it is no such name;
 * ERR_NOT_FOUND: mrmaster knows no job of that number. */
int look_job_of_attempt(struct mr_client *client, const char *attempt, struct arena *arena,
                        const char **ret_job, struct err *e) MUST_CHECK;
int look_no_attempt(const char *attempt, const char *job, struct err *e);
int look_bad_attempt(const char *text, struct err *e);

#endif
