/* A whole job on this machine, on local files, without a cluster: `mr run --local`. The tasks are
 * the cluster's, run by a few forked children, or one after the other in the calling process, where
 * a debugger sees them. One thread; the caller has not started others. */
#ifndef MAPREDUCE_ENGINE_LOCAL_H
#define MAPREDUCE_ENGINE_LOCAL_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/counters.h"
#include "mapreduce/engine/job.h"

struct local_progress {
    uint32_t maps;
    uint32_t maps_done;
    uint32_t reduces;
    uint32_t reduces_done;
    uint32_t map_permille;    /* of the input's bytes */
    uint32_t reduce_permille; /* of the tasks */
};

struct local_options {
    struct job *job;           /* resolved; sampling adds a setting */
    const char *const *inputs; /* files, or directories, whose files are meant */
    size_t input_count;
    const char *output;       /* a directory that does not exist */
    const char *const *files; /* copied to where programs run; "path" or "path#name" */
    size_t file_count;
    uint64_t split_bytes; /* 0: by size of the input */
    uint32_t parallel;    /* children; 1: none; 0: one per processor */
    void (*progress)(void *arg, const struct local_progress *progress); /* may be NULL */
    void *arg;
};

struct local_result {
    struct counters counters; /* of all tasks */
    struct buf stderr_tail;   /* of the task that failed */
    uint32_t maps;
    uint32_t reduces;
};

void local_result_init(struct local_result *r);
void local_result_deinit(struct local_result *r);

/* The output directory appears with part-00000... and _SUCCESS in it when all is done, or not at
 * all. ERR_EXISTS: it is there. ERR_NOT_FOUND: an input is not. ERR_TASK: the user's code failed.
 */
int local_run(const struct local_options *options, struct local_result *result,
              struct err *e) MUST_CHECK;

#endif
