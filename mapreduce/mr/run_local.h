/* `mr run --local`. */
#ifndef MAPREDUCE_MR_RUN_LOCAL_H
#define MAPREDUCE_MR_RUN_LOCAL_H

#include "mapreduce/mr/options.h"

/* Runs the job and tells the user how it went. Returns the exit code. */
int run_local(const struct run_command *command);

#endif
