/* Files of the store as the engine's sources and sinks, for tasks and for sampling by `mr run`. One
 * thread at a time per object. */
#ifndef MAPREDUCE_TASK_IO_H
#define MAPREDUCE_TASK_IO_H

#include <stdint.h>

#include <trireme/dfs.h>

#include "common/err.h"
#include "mapreduce/engine/source.h"
#include "mapreduce/job_types.h"

/* Opens a split's file. ERR_STALE: it is not the file that was planned. The source is as long as
 * the file was then, whatever was appended since; a read that meets an earlier end is ERR_STALE,
 * too: the file was truncated meanwhile, and what is missing must not be missed in silence. */
int task_source_open(struct dfs *dfs, const struct input_split *split, struct source **ret_source,
                     struct err *e) MUST_CHECK;
/* Adds where the bytes of a source that task_source_open() made came from. */
void task_source_add_locality(const struct source *source, struct job_locality *locality);

/* A new file that nobody sees until task_sink_commit(). `name` is for error texts; copied. */
int task_sink_create(struct dfs *dfs, const char *name, uint32_t replication,
                     struct sink **ret_sink, struct err *e) MUST_CHECK;

/* Where a job's tasks put what they have made. A task of a job that has ended may still run, on a
 * worker that was stopped or cut off, and the same name may be another job's by then: so every
 * change has two conditions, that the fence holds and that the directory is the job's own. */
struct task_place {
    struct dfs *dfs;
    const char *hidden;    /* the job's hidden directory */
    uint64_t hidden_inode; /* 0: the caller is mrmaster, who makes and removes it */
    const char *fence_name;
    uint64_t fence_epoch;
};

enum { TASK_CONDITION_COUNT_MAX = 4 };
struct task_conditions {
    struct dfs_condition items[TASK_CONDITION_COUNT_MAX];
    struct dfs_conditions list;
};
/* Those two, with room for two more. Valid as long as the place. */
void task_conditions_begin(struct task_conditions *c, const struct task_place *at);
void task_conditions_add_absent(struct task_conditions *c, const char *path);

/* Why a change at this place failed. ERR_FENCED: another mrmaster has taken over. ERR_STALE: the
 * directory is not the job's, which has ended or lost it. */
int task_place_failed(const struct task_place *at, const struct dfs_err *de, const char *what,
                      const char *path, struct err *e);

/* After finish(): makes the file durable and gives it its name, which must be new. The sink can
 * only be freed after it. */
int task_sink_link(struct sink *sink, const struct task_place *at, const char *path,
                   struct err *e) MUST_CHECK;
/* After finish(): makes the file durable and gives it its name in the hidden directory, which only
 * one attempt can; 0 also when another one has. The sink can only be freed after it. */
int task_sink_commit(struct sink *sink, const struct task_place *at, const char *path,
                     uint64_t *ret_inode, struct err *e) MUST_CHECK;

#endif
