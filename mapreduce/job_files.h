/* A job's library and side files, from the store to a directory: for workers, and for mr replay.
 * Small ones are in the job's record, the others in files of their own. Blocking; any thread. */
#ifndef MAPREDUCE_JOB_FILES_H
#define MAPREDUCE_JOB_FILES_H

#include "common/err.h"
#include "mapreduce/job_types.h"

struct dfs;

/* Makes the directory, and in it each file, under a temporary name until it is whole. If the spec
 * lacks the bytes of small files, the record of `job` is read. ERR_CORRUPT: one is not what was
 * submitted. */
int job_files_fetch(struct dfs *dfs, const char *job, const struct job_spec *spec,
                    const char *directory, struct err *e) MUST_CHECK;

#endif
