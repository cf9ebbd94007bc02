/* What mrmaster keeps in the store, and its blocking work there. Everything runs on a worker thread
 * and touches nothing but its own struct. All changes carry the fence: a deposed mrmaster gets
 * ERR_PRECONDITION for each; store_check_fence() tells that from any other condition.
 *
 *   /system/mr/uploads/            mode 1777: libraries and side files, one directory per
 * submission, made by `mr run` /system/mr/jobs/JOB/spec       the submission: written before it is
 * acknowledged /system/mr/jobs/JOB/result     the last status: written when the job has ended
 *   /system/mr/workers/KEY         one empty directory for each worker that has joined
 *   PARENT/._mr_NAME/              hidden directory (with named outputs: task_commit.h) of the
 * output PARENT/NAME: committed parts; renamed to the output at the end
 *
 * The hidden directory's name follows from the output's alone, so two jobs cannot work on one
 * output. */
#ifndef MAPREDUCE_MASTER_STORE_H
#define MAPREDUCE_MASTER_STORE_H

#include "common/arena.h"
#include "common/err.h"
#include "mapreduce/job_types.h"
#include "mapreduce/split_plan.h"

struct dfs;

#define MR_FENCE_NAME        "mrmaster"
#define MR_UPLOADS_DIRECTORY "/system/mr/uploads"

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

struct store_at { /* whom and under which fence */
    struct dfs *dfs;
    uint64_t fence;
};

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

/* `record` is a packed job_record. Durable when it returns 0. */
int store_write_record(struct store_at at, const char *job, struct span record,
                       struct err *e) MUST_CHECK;
/* With its small files. ERR_NOT_FOUND: there is none. */
int store_read_record(struct dfs *dfs, const char *job, struct arena *arena, struct job_record *ret,
                      struct err *e) MUST_CHECK;
/* Reserves the output: makes its hidden directory. fresh: what an earlier job left there goes
 * first; otherwise it is this job's own and is kept. ERR_EXISTS: the output exists. */
int store_reserve(struct store_at user, const struct job_spec *spec, bool fresh,
                  uint64_t *ret_inode, struct err *e) MUST_CHECK;
/* Notes the hidden directory's inode with the job, so that a restart can tell its own output from
 * another's. */
int store_note_hidden(struct store_at at, const char *job, uint64_t inode,
                      struct err *e) MUST_CHECK;
/* After a restart: whether the output stands already and is this job's. */
int store_was_committed(struct store_at at, struct dfs *user, const struct job_record *record,
                        bool *ret, struct err *e) MUST_CHECK;

/* What decides which bytes a part of the output holds. Noted before the job runs: after a restart
 * the parts that stand are kept only if the job would make the same ones again. */
struct plan_note {
    uint32_t slots;   /* of the cluster, as split and reduce counts were chosen; > 0 */
    uint32_t reduces; /* 0: map-only */
    uint64_t digest;  /* of the splits: plan_digest() */
    uint64_t hidden;  /* inode of the directory that holds the parts */
};
uint64_t plan_digest(const struct job_plan *plan);
/* ERR_NOT_FOUND: none was written. */
int store_read_plan_note(struct store_at at, const char *job, struct plan_note *ret,
                         struct err *e) MUST_CHECK;
int store_write_plan_note(struct store_at at, const char *job, const struct plan_note *note,
                          struct err *e) MUST_CHECK;

/* Lists inputs, asks where their chunks are and plans. split_bytes 0: chosen from size and slots.
 */
int store_plan(struct dfs *user, const struct job_spec *spec, uint32_t slots, struct arena *arena,
               struct job_plan *ret, struct err *e) MUST_CHECK;

/* Numbers of the parts that stand in the hidden directory. The caller frees *ret. */
int store_find_committed(struct store_at user, const struct job_spec *spec, uint32_t **ret,
                         size_t *ret_count, struct err *e) MUST_CHECK;

/* _SUCCESS, empty, then the rename that makes the output appear. Settled also when a
 * reply was lost. */
int store_commit(struct store_at user, const struct job_record *record, uint64_t hidden_inode,
                 struct err *e) MUST_CHECK;
/* Removes the hidden directory so that no later rename finds it. *ret_committed: the output stands
 * already, by that inode. */
int store_discard(struct store_at user, const struct job_spec *spec, uint64_t hidden_inode,
                  bool *ret_committed, struct err *e) MUST_CHECK;

int store_write_result(struct store_at at, const struct job_status *status,
                       struct err *e) MUST_CHECK;

/* All jobs found, in order of their numbers; those with a result have *status set. */
struct job_found {
    struct job_record record;  /* without the bytes of small files */
    struct job_status *status; /* NULL: not ended */
};
int store_list_jobs(struct dfs *dfs, struct arena *arena, struct job_found **ret, size_t *ret_count,
                    struct err *e) MUST_CHECK;
/* The record of the job of that number, whatever its state, with its small files. ERR_NOT_FOUND: it
 * is not remembered. */
int store_find_record(struct dfs *dfs, uint64_t number, struct arena *arena, struct job_record *ret,
                      struct err *e) MUST_CHECK;
/* Forgets an ended job, with its uploads. */
int store_remove_job(struct store_at at, const struct job_record *record, struct err *e) MUST_CHECK;

#endif
