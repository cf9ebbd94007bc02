/* The host's side of struct mr_ctx: what mr_emit() and the others do during a task. Private to the
 * engine. One thread, one per task attempt. */
#ifndef MAPREDUCE_ENGINE_CONTEXT_H
#define MAPREDUCE_ENGINE_CONTEXT_H

#include "common/err.h"
#include "mapreduce/engine/collector.h"
#include "mapreduce/engine/named.h"
#include "mapreduce/engine/output.h"
#include "mapreduce/engine/task.h"
#include "trireme/mapreduce.h"

/* Where mr_emit() leads. */
enum context_target {
    CONTEXT_NONE,
    CONTEXT_COLLECTOR,
    CONTEXT_COMBINED,
    CONTEXT_OUTPUT,
    CONTEXT_KEYS
};

struct context {
    struct mr_ctx ctx; /* what the user has */
    const struct job *job;
    const struct task_events *events; /* may be NULL */
    struct counters *counters;
    struct collector *collector; /* for CONTEXT_COLLECTOR and CONTEXT_COMBINED */
    struct output *output;       /* for CONTEXT_OUTPUT */
    struct named_outputs *named; /* the same, of mr_emit_to() */
    struct skip *skip; /* NULL: none may be left out, so nobody asks which record is under way */
    struct buf *keys;  /* for CONTEXT_KEYS: encoded records with empty values (sampling) */
    uint64_t combined; /* calls of combine() */
    struct err *e;
    int failed;  /* 0 or the code of the error in e */
    bool set_up; /* setup() succeeded: cleanup() is due */
};

/* Borrows everything. */
void context_init(struct context *c, const struct job *job, const struct task_events *events,
                  struct counters *counters, struct err *e);
void context_set_target(struct context *c, enum context_target target);

/* The user's setup() and cleanup(), if there are any. */
int context_setup(struct context *c) MUST_CHECK;
void context_cleanup(struct context *c);

/* The first error of user code, collector or output so far. */
int context_error(struct context *c);

/* Calls the user's map functions for a batch. */
void context_map(struct context *c, const struct mr_record *records, size_t count);

/* As struct combiner wants it, with the context as arg. */
int context_combine(void *arg, struct mr_span key, struct mr_values *values, struct err *e);

/* User code has moved. */
static inline void context_alive(const struct context *c)
{
    if (c->events && c->events->alive) {
        c->events->alive(c->events->arg);
    }
}

/* Passes progress on to the caller; an error ends the task. */
int context_progress(struct context *c, uint64_t done, uint64_t total) MUST_CHECK;

#endif
