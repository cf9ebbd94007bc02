/* The output side of a map task: takes what map() emits, partitions, combines, sorts and spills it,
 * and leaves one map output file (run.h). One thread.
 *
 * Without a combiner records go to a sort buffer (recbuf). With one they go to a hash table first
 * (table); when that is full its keys, combined, move to the sort buffer. A full sort buffer is
 * sorted and spilled to a run on disk; at the end all runs are merged. */
#ifndef MAPREDUCE_ENGINE_COLLECTOR_H
#define MAPREDUCE_ENGINE_COLLECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/counters.h"
#include "mapreduce/engine/partition.h"
#include "mapreduce/engine/recbuf.h"
#include "mapreduce/engine/runset.h"
#include "mapreduce/engine/table.h"

/* A user's combiner, as the collector sees it. What it emits is handed to collector_emit_combined()
 * before it returns. */
struct combiner {
    void *arg;
    /* A function: called once per key with some of its values. NULL: none. */
    int (*combine)(void *arg, struct mr_span key, struct mr_values *values, struct err *e);
    /* A program: called once per partition of a spill, gets sorted records one by one and a last
     * call with NULL. NULL: none. */
    int (*feed)(void *arg, const struct mr_record *record, struct err *e);
};

struct collector_options {
    size_t memory_bytes;   /* for buffers, all together */
    bool compress;         /* spills and the map output */
    const char *directory; /* where spills go; borrowed */
    const char *name;      /* their names begin with it; borrowed */
    enum mr_aggregate aggregate;
    struct combiner combiner;              /* if aggregate is MR_AGGREGATE_NONE */
    const struct partitioner *partitioner; /* borrowed */
    void (*alive)(void *arg); /* called now and then while files are written; NULL: not */
    void *alive_arg;
};

struct collector;

/* Never NULL. */
struct collector *collector_new(const struct collector_options *options);
void collector_free(struct collector *c); /* accepts NULL; removes spills */

/* Errors are kept: collector_error() and collector_finish() return them, later records are dropped.
 */
void collector_emit(struct collector *c, struct mr_span key, struct mr_span value);
void collector_emit_batch(struct collector *c, const struct mr_record *records, size_t count);
void collector_emit_keys_i64(struct collector *c, const struct mr_span *keys, size_t count,
                             int64_t value);

/* From within a combiner. */
void collector_emit_combined(struct collector *c, struct mr_span key, struct mr_span value);

/* 0, or the first error; e gets its text. */
int collector_error(const struct collector *c, struct err *e);

/* After the last emit: writes the map output file. *ret_index is the caller's. Adds to the task's
 * counters. */
int collector_finish(struct collector *c, const char *path, struct counters *counters,
                     struct run_index *ret_index, struct err *e) MUST_CHECK;

#endif
