/* What the store keeps of each job, in its directory /system/mr/jobs/JOB: the record, a file, and
 * notes, which are extended attributes: one takes one round trip and one command of the file
 * masters' log, where a file takes three and is synced on three disks. Blocking; any thread.
 *
 *   spec               the submission, with its small files, before it is acknowledged
 *   user.mr.plan       how its input was cut and which directory holds its parts, before it runs
 *   user.mr.outcome    how it ends, before it does
 *   user.mr.settled    that it has, afterwards
 *
 * How a job ends. What ends it is one change of the namespace: its hidden directory is renamed to
 * the output, or removed. The outcome is noted before, and comes true with that change: a job has
 * ended if it has an outcome and the hidden directory that this names is no longer in its place.
 * So nothing has to be written between the end and telling it, and whenever mrmaster dies the next
 * one says of each job what was told, with its counters:
 *   - before the outcome: the job goes on with the parts that it has.
 *   - after it, before the change: likewise, and the outcome is taken back first, because
 *     afterwards the hidden directory may have to be made anew.
 *   - after the change: it has ended. Whatever is noted, it has succeeded if the directory stands
 * as the output. That look at the hidden directory is needed for a moment only: soon after the end
 * it is settled, and what users do with its output later is no matter. */
#ifndef MAPREDUCE_JOB_NOTES_H
#define MAPREDUCE_JOB_NOTES_H

#include "common/arena.h"
#include "mapreduce/job_types.h"
#include "mapreduce/store_file.h"

/* `record` is a packed job_record. Durable when it returns 0, as all that is written here. */
int job_notes_write_record(struct store_at at, const char *job, struct span record,
                           struct err *e) MUST_CHECK;
/* With its small files. ERR_NOT_FOUND: there is none. */
int job_notes_read_record(struct dfs *dfs, const char *job, struct arena *arena,
                          struct job_record *ret, struct err *e) MUST_CHECK;

/* What decides which bytes a part of the output holds. Noted before the job runs: after a restart
 * the parts that stand are kept only if the job would make the same ones again. */
struct plan_note {
    uint32_t slots;   /* of the cluster, as split and reduce counts were chosen; > 0 */
    uint32_t reduces; /* 0: map-only */
    uint64_t digest;  /* of the splits: plan_digest() */
    uint64_t hidden;  /* inode of the directory that holds the parts */
};
/* ERR_NOT_FOUND: none was written. */
int job_notes_read_plan(struct dfs *dfs, const char *job, struct plan_note *ret,
                        struct err *e) MUST_CHECK;
int job_notes_write_plan(struct store_at at, const char *job, const struct plan_note *note,
                         struct err *e) MUST_CHECK;

/* in_place: only while the hidden directory of the outcome is there; else ERR_PRECONDITION. */
int job_notes_write_outcome(struct store_at at, const struct job_outcome *outcome, bool in_place,
                            struct err *e) MUST_CHECK;
/* The job has not ended after all; also if there is none. */
int job_notes_drop_outcome(struct store_at at, const char *job, struct err *e) MUST_CHECK;
/* It has ended, for good. */
int job_notes_settle(struct store_at at, const char *job, struct err *e) MUST_CHECK;

/* All jobs found, in order of their numbers. */
struct job_found {
    struct job_record record;    /* without the bytes of small files */
    struct job_outcome *outcome; /* how it has ended; NULL: it has not */
    bool settled;                /* and this is noted as it stands here */
    const char *unreadable;      /* why record or notes cannot be read, now or later: the record has
                                    the job and its number only; NULL: they can */
};
int job_notes_list(struct dfs *dfs, struct arena *arena, struct job_found **ret, size_t *ret_count,
                   struct err *e) MUST_CHECK;
/* The record of the job of that number, whatever its state, with its small files. ERR_NOT_FOUND: it
 * is not remembered. */
int job_notes_find(struct dfs *dfs, uint64_t number, struct arena *arena, struct job_record *ret,
                   struct err *e) MUST_CHECK;
/* Forgets a job, with what was uploaded for it; without that. */
int job_notes_remove(struct store_at at, const struct job_record *record, struct err *e) MUST_CHECK;
int job_notes_remove_record(struct store_at at, const char *job, struct err *e) MUST_CHECK;

#endif
