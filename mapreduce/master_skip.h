/* Bad records of a job's tasks, between the scheduler, which decides, and those who are told.
 * Shared by master*.c only; the loop's thread. */
#ifndef MAPREDUCE_MASTER_SKIP_H
#define MAPREDUCE_MASTER_SKIP_H

#include "mapreduce/master_internal.h"

/* What an attempt that has just begun leaves out. The list is in the arena. */
void skips_assign(const struct mr_master *m, const struct sched_attempt *id, struct arena *arena,
                  struct assignment *ret);

/* The attempt failed at a record: notes with it, if the task has left out as many as it may, that
 * this is so. Before the scheduler hears of the end. */
void skips_note_limit(const struct mr_master *m, const struct mr_job *job,
                      struct attempt_record *attempt, const struct attempt_end *end);

#endif
