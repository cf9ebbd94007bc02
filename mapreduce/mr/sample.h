/* The ranges of a totally ordered job, found by running its map over pieces of its input here, as
 * Hadoop's TotalOrderPartitioner has it done before the job. */
#ifndef MAPREDUCE_MR_SAMPLE_H
#define MAPREDUCE_MR_SAMPLE_H

#include "common/err.h"
#include "mapreduce/engine/job.h"
#include "mapreduce/job_types.h"

struct dfs;

/* Lists the inputs of the spec. With job->reduces 0: chooses their number first, for so many slots.
 * Then samples, which sets the boundaries as a setting of the job. */
int sample_boundaries(struct job *job, struct dfs *dfs, const struct job_spec *spec, uint32_t slots,
                      struct err *e) MUST_CHECK;

#endif
