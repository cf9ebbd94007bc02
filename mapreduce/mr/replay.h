/* One task of a job run again on this machine: its input from the store, its code as it was
 * submitted, in this process, so that a debugger sees it. Nothing in the store changes. */
#ifndef MAPREDUCE_MR_REPLAY_H
#define MAPREDUCE_MR_REPLAY_H

#include <stdbool.h>

#include "common/err.h"
#include "mapreduce/engine/task.h"

struct dfs;

struct replay_options {
    struct dfs *dfs;
    const char *attempt;   /* "attempt_1_0001_m_000003_0" */
    const char *directory; /* is made; gets work/ (the job's files) and the task's output */
    bool quiet;
};

/* A map's output for reduces goes to partition-00000 and so on as text, everything else to files of
 * the names that they have in the job's output. A reduce's input is what the maps give when they
 * are run again here. ERR_STALE: the input is not what it was. *result is the task's, initialised
 * by the caller. */
int replay_run(const struct replay_options *options, struct task_result *result,
               struct err *e) MUST_CHECK;

#endif
