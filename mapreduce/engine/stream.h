/* A mapper, combiner or reducer that is any program: lines in on stdin, lines out on stdout,
 * counters and status on stderr (the conventions of Hadoop Streaming; docs/mapreduce-engine.md).
 * Private to the engine; used by one thread, which moves the bytes of all three pipes whenever it
 * calls here, so that neither side can wait for the other for ever.
 *
 * A program may stop reading early: what it is given after that is dropped, and its exit status
 * says whether that was an error. Its last line needs no newline. */
#ifndef MAPREDUCE_ENGINE_STREAM_H
#define MAPREDUCE_ENGINE_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "mapreduce/engine/task.h"
#include "trireme/mapreduce.h"

struct stream_options {
    const struct job *job;
    const struct task_identity *identity;
    const struct task_events *events; /* may be NULL */
    const struct task_split *splits;  /* of a map task, for its environment */
    size_t split_count;
    bool is_map;
    const char *command;
    struct counters *counters;
    struct buf *stderr_tail;
    void (*line)(void *arg, struct mr_span line); /* a line of stdout, without newline */
    void *arg;
};

struct stream;

/* Starts the program. Borrows all that the options name until stream_free(). ERR_TASK: it cannot be
 * started. */
int stream_start(const struct stream_options *options, struct stream **ret_stream,
                 struct err *e) MUST_CHECK;

/* Kills the program if it still runs. Accepts NULL. */
void stream_free(struct stream *s);

/* Gives it bytes as they are; with whole_lines, a missing last newline is added. */
int stream_write_block(struct stream *s, struct mr_span block, bool whole_lines,
                       struct err *e) MUST_CHECK;

/* Gives it "key TAB value NEWLINE", or "key NEWLINE" if the value is empty. */
int stream_write_record(struct stream *s, const struct mr_record *record, struct err *e) MUST_CHECK;

/* The bytes of such a line. */
void stream_append_record(const struct job *job, const struct mr_record *record, struct buf *out);

/* It has closed its stdin. */
bool stream_is_deaf(const struct stream *s);

/* Ends its input, takes what it still prints and waits for it to exit. ERR_TASK: it failed; e has
 * its exit status and its last words. */
int stream_finish(struct stream *s, struct err *e) MUST_CHECK;

/* Cuts a line into key and value. */
struct mr_record stream_cut_line(const struct job_fields *fields, struct mr_span line);

#endif
