/* `mr run` on a cluster. */
#ifndef MAPREDUCE_MR_RUN_CLUSTER_H
#define MAPREDUCE_MR_RUN_CLUSTER_H

#include "mapreduce/mr/options.h"

/* Submits the job, watches it and tells the user how it went. Returns the exit code. */
int run_cluster(const struct run_command *command);

#endif
