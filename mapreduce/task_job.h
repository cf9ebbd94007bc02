/* From a job as it was submitted to one that the engine runs. Any thread. */
#ifndef MAPREDUCE_TASK_JOB_H
#define MAPREDUCE_TASK_JOB_H

#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/job.h"
#include "mapreduce/job_types.h"

struct task_job_options {
    const char *id;              /* "job_7_0001" */
    const struct job_spec *spec; /* borrowed for the job's life, like all that is here */
    const struct mr_job *native; /* of the library; NULL: none */
    uint32_t reduces;            /* as the master chose; 0: map-only */
    uint64_t sort_bytes;         /* when the job does not say; see task_job_sort_bytes() */
};

/* Memory for a map's output, and as much for what a reduce fetches: what the job says (--memory,
 * then mapreduce.task.io.sort.mb), else `otherwise`, else the default; at most a quarter of the
 * task's memory, if that is limited: the rest is for the user's code. */
uint64_t task_job_sort_bytes(const struct job_spec *spec, uint64_t otherwise);

/* Fills in a zeroed job and resolves it. The caller gives it to job_deinit() in any case.
 * ERR_INVALID with a text for the user. */
int task_job_init(struct job *job, const struct task_job_options *options,
                  struct err *e) MUST_CHECK;

#endif
