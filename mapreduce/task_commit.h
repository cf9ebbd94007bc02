/* Commit of a task with several outputs: its part and its named outputs, all of them or none, those
 * of one attempt. One thread; blocking calls of the store.
 *
 *   HIDDEN/_attempt_1_0001_r_000003_0/    the attempt links its files here, each when it is durable
 *   HIDDEN/_part-00003/                   the same directory renamed: this commits the task
 *   HIDDEN/NAME-00003, HIDDEN/part-00003  then its files move out, the part last
 *
 * A task is committed when its directory or its part exists. Making the attempt's directory and
 * renaming it carry the conditions that neither does, and those of the place (task_io.h); so the
 * first attempt wins, and nothing of the others is left once their directories are gone. Whoever
 * finds a committed task moves out what is left, in this order, as often as it likes: the attempt
 * itself, one that came too late, the mrmaster after a restart and before the job's own commit. */
#ifndef MAPREDUCE_TASK_COMMIT_H
#define MAPREDUCE_TASK_COMMIT_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "mapreduce/engine/source.h"
#include "mapreduce/task_io.h" /* struct task_place */

struct task_file {
    const char *name;  /* "errors-00003" */
    struct sink *sink; /* of task_sink_create(), finished; it can only be freed afterwards */
};

/* `files` ends with the part. 0 also when another attempt has committed the task. *ret_inode is the
 * part's. ERR_FENCED, ERR_STALE: task_place_failed(). */
int task_commit_files(const struct task_place *at, const char *attempt,
                      const struct task_file *files, size_t count, uint64_t *ret_inode,
                      struct err *e) MUST_CHECK;

/* Moves out what committed tasks have left in their directories, and removes directories of
 * attempts that did not win. No attempt of a task that is not committed may run when `all`: then
 * theirs go too; otherwise only what is committed is touched. */
int task_commit_settle(const struct task_place *at, bool all, struct err *e) MUST_CHECK;

#endif
