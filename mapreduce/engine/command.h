/* From the text of --mapper and its kin to what is executed. Pure but for looking for the program
 * among the job's files. One thread. */
#ifndef MAPREDUCE_ENGINE_COMMAND_H
#define MAPREDUCE_ENGINE_COMMAND_H

#include <stddef.h>

#include "common/err.h"
#include "mapreduce/engine/task.h"

struct child_command {
    char **argv; /* NULL-terminated; owned */
    char **envp; /* NULL-terminated "NAME=value", each name once; owned */
};

struct command_options {
    const char *text;
    const struct job *job;
    const struct task_identity *identity;
    const struct task_split *splits; /* of a map task; more than one for its combiner only */
    size_t split_count;
    bool is_map;
};

/* The text is split at spaces, ' and " group words; if it has any other character that a shell
 * treats specially, /bin/sh -c runs it. A program without a slash is looked for in the work
 * directory first; if it is there it is made executable. The environment is ours, then the job's
 * settings with every character that is no letter or digit as '_', then the task's own names, then
 * the job's environment. ERR_INVALID: no command, or a quote is missing. */
int child_command_init(struct child_command *c, const struct command_options *options,
                       struct err *e) MUST_CHECK;
void child_command_deinit(struct child_command *c); /* accepts zeroed */

#endif
