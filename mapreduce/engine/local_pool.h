/* Forked children that run tasks for the parent, one each at a time. Private to the engine. The
 * parent deals out numbers, a child answers with what came of each; a child that dies fails its
 * task only. */
#ifndef MAPREDUCE_ENGINE_LOCAL_POOL_H
#define MAPREDUCE_ENGINE_LOCAL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct local_pool;

/* Runs task `number` in the child; appends its answer for the parent. Below 0 with e: it failed. */
typedef int (*local_pool_task_fn)(void *arg, uint32_t number, struct buf *answer, struct err *e);

/* In the parent, once for each task: r below 0 and e if it failed. A result below 0 ends the run.
 */
typedef int (*local_pool_done_fn)(void *arg, uint32_t number, int r, struct span answer,
                                  struct err *e);

struct local_pool_run {
    local_pool_task_fn task;
    local_pool_done_fn done;
    void (*progress)(void *arg, uint32_t number, uint32_t permille); /* in the parent */
    void *arg;
    uint32_t count;    /* tasks 0 to count - 1 */
    uint32_t parallel; /* children; 1: all runs in this process */
};

/* Runs all tasks. The first error of done() ends it, and the children. */
int local_pool_run(const struct local_pool_run *run, struct err *e) MUST_CHECK;

/* In a task: tells the parent how far it is, now and then. */
void local_pool_report(uint32_t permille);

#endif
