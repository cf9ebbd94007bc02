/* Which records of a task are left out, and the note of the one that user code has just now.
 * Private to the engine. One thread. */
#ifndef MAPREDUCE_ENGINE_SKIP_H
#define MAPREDUCE_ENGINE_SKIP_H

#include <stdbool.h>
#include <stdint.h>

#include "mapreduce/engine/skip_note.h"
#include "mapreduce/engine/task.h"
#include "trireme/mapreduce.h"

struct skip {
    const struct task_skip *task;     /* borrowed; NULL: none may be left out */
    const struct task_events *events; /* may be NULL */
    bool reduce;
    uint64_t ordinal;    /* of the next record */
    size_t next;         /* in task->ordinals */
    struct mr_span name; /* of the file that records come from */
};

void skip_init(struct skip *s, const struct task_skip *task, const struct task_events *events,
               bool reduce);

/* Records come from this file now. Borrowed until the next. */
void skip_file(struct skip *s, const char *name);

/* The next record, which begins at `offset` of the file. True: it is left out, and the caller tells
 * by skip_tell(). False: user code has it from now on. */
bool skip_record(struct skip *s, uint64_t offset);
/* The same of a reduce's key groups. */
bool skip_group(struct skip *s, struct mr_span key);

/* User code has no record any more. It may be within a call: returns what to resume. */
uint64_t skip_pause(struct skip *s);
void skip_resume(struct skip *s, uint64_t record);

/* The record is left out, says the task's log. size: bytes of a record, values of a key group. */
void skip_tell(const struct task_events *events, const struct skip_place *place, uint64_t size,
               const char *why);
/* Of the latest that skip_record() or skip_group() was asked about. */
void skip_tell_last(const struct skip *s, uint64_t offset, struct mr_span name, uint64_t size);

#endif
