/* The named outputs of one task attempt (mr_emit_to()): each is made when its first record comes.
 * Private to the engine. One thread. */
#ifndef MAPREDUCE_ENGINE_NAMED_H
#define MAPREDUCE_ENGINE_NAMED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/counters.h"
#include "mapreduce/engine/output.h"
#include "mapreduce/engine/task.h"

struct named_output {
    const char *name; /* the job's */
    struct output output;
    bool open;
};

struct named_outputs {
    const struct job *job;          /* borrowed, as the next two */
    const struct task_sinks *sinks; /* NULL: the caller has no place for them */
    struct err *e;                  /* the first error's text */
    struct named_output *items;     /* those that the job declares */
    size_t count;
    int error; /* the first; later records are dropped */
};

void named_init(struct named_outputs *n, const struct job *job, const struct task_sinks *sinks,
                struct err *e);
void named_deinit(
    struct named_outputs *n); /* accepts zeroed; without named_finish() data is lost */

/* An error is kept. ERR_TASK: the job declares no such output. */
void named_record(struct named_outputs *n, const char *name, struct mr_span key,
                  struct mr_span value);

/* The first error so far, of a sink too. */
int named_error(struct named_outputs *n);

/* Finishes the sinks; adds to counters. */
int named_finish(struct named_outputs *n, struct counters *counters) MUST_CHECK;

#endif
