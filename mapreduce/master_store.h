/* mrmaster's work in the store beside its notes of jobs (job_notes.h). It blocks, runs on a worker
 * thread and touches nothing but its own struct. All changes carry the fence: a deposed mrmaster
 * gets ERR_PRECONDITION for each; store_check_fence() tells that from any other condition.
 *
 *   /system/mr/uploads/            mode 1777: libraries and side files that are not small, one
 *                                  directory per submission, made by `mr run`
 *   /system/mr/jobs/JOB/           what is known of a job: job_notes.h
 *   /system/mr/workers/KEY         one empty directory for each worker that has joined
 *   PARENT/._mr_NAME/              hidden directory of the output PARENT/NAME: committed parts
 * (with named outputs: task_commit.h); renamed to the output at the end
 *
 * The hidden directory's name follows from the output's alone, so two jobs cannot work on one
 * output. */
#ifndef MAPREDUCE_MASTER_STORE_H
#define MAPREDUCE_MASTER_STORE_H

#include "common/arena.h"
#include "common/err.h"
#include "mapreduce/job_types.h"
#include "mapreduce/split_plan.h"
#include "mapreduce/store_file.h"

/* One map task's input. */
struct job_map {
    struct input_split *splits;
    size_t split_count;
    uint64_t bytes;
    const char **hosts;
    const char **racks;
    uint32_t host_count;
};

struct job_plan {
    struct job_map *maps;
    uint32_t map_count;
    uint64_t bytes;
};

/* "/a/._mr_b" for "/a/b". In the arena. */
const char *hidden_directory(const char *output, struct arena *arena);
/* Output file of a task: "part-00000". In the arena. */
const char *part_name(uint32_t task, struct arena *arena);

/* Makes the directories above and raises the fence. */
int store_open(struct dfs *dfs, uint64_t *ret_fence, struct err *e) MUST_CHECK;

/* ERR_FENCED: another mrmaster has raised the fence since. */
int store_check_fence(struct store_at at, struct err *e) MUST_CHECK;

/* The roster of workers: names of at most 32 bytes. The caller frees *ret and each. */
int store_read_roster(struct dfs *dfs, char ***ret, size_t *ret_count, struct err *e) MUST_CHECK;
int store_roster_add(struct store_at at, const char *name, struct err *e) MUST_CHECK;
int store_roster_remove(struct store_at at, const char *name, struct err *e) MUST_CHECK;

/* The inputs exist and the output does not. */
int store_check_submission(struct dfs *user, const struct job_spec *spec, struct err *e) MUST_CHECK;
/* What was uploaded for the submission, if anything was, is the user's: it goes with the job. */
int store_check_uploads(struct dfs *user, const char *submission, const struct job_spec *spec,
                        struct err *e) MUST_CHECK;

/* Reserves the output: makes its hidden directory. fresh: what an earlier job left there goes
 * first; otherwise it is this job's own and is kept. ERR_EXISTS: the output exists. */
int store_reserve(struct store_at user, const struct job_spec *spec, bool fresh,
                  uint64_t *ret_inode, struct err *e) MUST_CHECK;

/* Of all splits: what decides which bytes a part holds. */
uint64_t plan_digest(const struct job_plan *plan);

/* Lists inputs, asks where their chunks are and plans. split_bytes 0: chosen from size and slots.
 */
int store_plan(struct dfs *user, const struct job_spec *spec, uint32_t slots, struct arena *arena,
               struct job_plan *ret, struct err *e) MUST_CHECK;

/* Numbers of the parts that stand in the hidden directory. The caller frees *ret. */
int store_find_committed(struct store_at user, const struct job_spec *spec, uint32_t **ret,
                         size_t *ret_count, struct err *e) MUST_CHECK;

/* _SUCCESS, empty, in the hidden directory, if that is in its place. */
int store_mark_success(struct store_at user, const struct job_spec *spec, uint64_t hidden_inode,
                       struct err *e) MUST_CHECK;
/* Notes the outcome, then the rename that makes the output appear. marked: _SUCCESS is there
 * already. Settled also when a reply was lost. */
int store_commit(struct store_at system, struct store_at user, const struct job_spec *spec,
                 const struct job_outcome *outcome, bool marked, struct err *e) MUST_CHECK;
/* Notes the outcome, then removes the hidden directory so that no later rename finds it. If the
 * output stands already, by its inode, the job has succeeded, and the outcome says so. An error
 * that stays, not store_is_away(): if the outcome is noted, it is settled, too, and holds, although
 * the directory stands. */
int store_discard(struct store_at system, struct store_at user, const struct job_spec *spec,
                  struct job_outcome *outcome, struct err *e) MUST_CHECK;

#endif
