/* Brings a reduce's segments together: from this worker's own map outputs as files, from others'
 * over the network into memory or local files. Everything runs on the thread that drives the
 * caller's loop. */
#ifndef MAPREDUCE_TASK_SHUFFLE_H
#define MAPREDUCE_TASK_SHUFFLE_H

#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "mapreduce/engine/run.h"
#include "mapreduce/job_types.h"

struct rpc_loop;
struct rpc_pool;

struct shuffle_options {
    struct rpc_loop *loop; /* all strings and pointers are borrowed for life */
    struct rpc_pool *pool;
    const char *data;           /* the worker's data directory */
    const char *job;            /* "job_7_0001" */
    const char *address;        /* of this worker's MrWorker service */
    const char *temp_directory; /* for segments that memory has no room for */
    uint32_t partition;
    uint32_t maps;
    uint64_t memory_bytes; /* for segments */
    /* Called when a segment has come, and every second: below 0 ends the shuffle. May be NULL. */
    int (*progress)(void *arg, uint32_t fetched, uint32_t maps, struct err *e);
    void *arg;
};

struct shuffle;

/* Never NULL. */
struct shuffle *shuffle_new(const struct shuffle_options *options);
/* Fetches must be over: after shuffle_run(). Frees the sources of the segments. Accepts NULL. */
void shuffle_free(struct shuffle *s);

/* A map has finished or was withdrawn. Loop's thread, also while shuffle_run() runs. */
int shuffle_told(struct shuffle *s, const struct map_done *done, struct err *e) MUST_CHECK;

/* Drives the loop until every segment is here. ERR_UNAVAILABLE: an output is lost, see
 * shuffle_lost(). Another error, with no output lost: a local file for a segment could not be
 * written, or progress() said so. */
int shuffle_run(struct shuffle *s, struct err *e) MUST_CHECK;

/* After success: one per map, in their order; the sources belong to the shuffle. */
const struct task_segment *shuffle_segments(const struct shuffle *s);

/* After a merge met wrong bytes: reads every segment once more and counts the ones that are bad as
 * lost. Returns how many. */
uint32_t shuffle_find_corrupt(struct shuffle *s);

/* Which outputs could not be had, in the arena. */
void shuffle_lost(const struct shuffle *s, struct arena *arena, struct attempt_end *end);

#endif
