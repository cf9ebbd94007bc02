/* Files of the store as the engine's sources and sinks, for tasks and for sampling by `mr run`. One
 * thread at a time per object. */
#ifndef MAPREDUCE_TASK_IO_H
#define MAPREDUCE_TASK_IO_H

#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/source.h"
#include "mapreduce/job_types.h"

struct dfs;

/* Opens a split's file. ERR_STALE: it is not the file that was planned. The source is as long as
 * the file was then, whatever was appended since. */
int task_source_open(struct dfs *dfs, const struct input_split *split, struct source **ret_source,
                     struct err *e) MUST_CHECK;
/* Adds where the bytes of a source that task_source_open() made came from. */
void task_source_add_locality(const struct source *source, struct job_locality *locality);

/* A new file that nobody sees until task_sink_commit(). `name` is for error texts; copied. */
int task_sink_create(struct dfs *dfs, const char *name, uint32_t replication,
                     struct sink **ret_sink, struct err *e) MUST_CHECK;

struct task_commit {
    struct dfs *dfs;
    const char *path; /* final name in the hidden directory */
    const char *fence_name;
    uint64_t fence_epoch;
};
/* After finish(): makes the file durable and gives it its name, which must be new, if the fence
 * holds. The sink can only be freed after it. */
int task_sink_link(struct sink *sink, const struct task_commit *commit, struct err *e) MUST_CHECK;
/* After finish(): makes the file durable and gives it its name, which only one attempt can; 0 also
 * when another one has. ERR_FENCED: another mrmaster has taken over. The sink can only be freed
 * after it. */
int task_sink_commit(struct sink *sink, const struct task_commit *commit, uint64_t *ret_inode,
                     struct err *e) MUST_CHECK;

#endif
