/* From `mr run`'s options to what is submitted. */
#ifndef MAPREDUCE_MR_SPEC_H
#define MAPREDUCE_MR_SPEC_H

#include "common/arena.h"
#include "common/err.h"
#include "mapreduce/job_types.h"
#include "mapreduce/mr/options.h"
#include "mapreduce/mr/upload.h"

/* The job's files and commands: adds the library and the files given, and those that commands name.
 */
int spec_commands(const struct run_command *command, struct uploads *uploads, struct arena *arena,
                  struct job_spec *spec, struct err *e) MUST_CHECK;

/* All that follows from options and settings; inputs, output and files are the caller's. `job` is
 * the same job as the engine sees it; strings are borrowed from both. Settings with Hadoop's names
 * count unless a flag says otherwise. */
int spec_fill(const struct run_command *command, const struct job *job, struct arena *arena,
              struct job_spec *spec, struct err *e) MUST_CHECK;

/* The settings of a job as they travel; again after one was added. */
void spec_settings(const struct job *job, struct arena *arena, struct job_spec *spec);

/* After the upload. */
void spec_files(const struct uploads *uploads, struct arena *arena, struct job_spec *spec);

#endif
