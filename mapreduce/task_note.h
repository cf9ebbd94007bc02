/* The file by which a worker learns which record a task had when it died: a note
 * (engine/skip_note.h) in the attempt's working directory, which the task has mapped shared. What
 * was stored there stays, however the process ends. */
#ifndef MAPREDUCE_TASK_NOTE_H
#define MAPREDUCE_TASK_NOTE_H

#include <stdbool.h>

#include "common/err.h"

struct skip_note;

/* The task: makes the file in its working directory. The note stays mapped as long as the process
 * lives. */
int task_note_create(const char *work, struct skip_note **ret_note, struct err *e) MUST_CHECK;

/* The worker, when the process has ended. False: user code had no record, or there is no note. */
bool task_note_read(const char *data, const char *job, const char *attempt,
                    struct skip_note *ret_note);

#endif
