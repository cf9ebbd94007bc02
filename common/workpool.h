/* Workpool: a fixed number of threads for what may block or burn (disk, checksums, RocksDB). Jobs
 * come from an owner thread; `run` happens on a worker, then `done` on the owner, through its
 * mailbox, in a slot that was reserved when the job was submitted. So submitting may be refused,
 * finishing cannot.
 *
 * Jobs given to workpool_submit() run in parallel in any order. Jobs of one strand run one after
 * another in the order of submission, on any worker, and their `done` calls arrive in that order:
 * appends of one chunk, or the log.
 *
 * Jobs are intrusive: embed `struct job`, keep it alive until `done` (or until `run` returned, if
 * done is NULL). A worker function receives only its job: what it needs stands in the struct around
 * it. */
#ifndef COMMON_WORKPOOL_H
#define COMMON_WORKPOOL_H

#include <stddef.h>

#include "common/err.h"
#include "common/mailbox.h"

struct strand;

struct job {
    void (*run)(struct job *job);  /* on a worker; may block */
    void (*done)(struct job *job); /* on the owner; may free the job; NULL: run may free it */

    /* Private to the workpool. */
    struct mailbox *home;  /* where done goes */
    struct strand *strand; /* NULL: parallel */
    struct job *next;      /* in the pool's queue or the strand's */
    struct mail mail;      /* carries done */
};

/* An ordered queue. Lives in the struct whose work it orders; must be empty when that is freed. */
struct strand {
    struct job *first; /* waiting, oldest first */
    struct job *last;
    size_t count; /* waiting or running */
};

#define STRAND_INIT                                                                                \
    {                                                                                              \
        NULL, NULL, 0                                                                              \
    }

struct workpool;

/* Starts the threads, named "name-0"... Jobs that wait or run are at most jobs_max. Never NULL;
 * aborts if no thread can be made. */
struct workpool *workpool_new(const char *name, size_t thread_count, size_t jobs_max);
void workpool_free(struct workpool *p); /* drains, then joins the threads; accepts NULL */

/* home is where `done` goes; NULL only if done is NULL. ERR_BUSY: too many jobs, or no slot in
 * home. ERR_UNAVAILABLE: closed. On failure the job stays with the caller and nothing runs. Any
 * thread. */
int workpool_submit(struct workpool *p, struct job *job, struct mailbox *home) MUST_CHECK;
int workpool_submit_ordered(struct workpool *p, struct strand *strand, struct job *job,
                            struct mailbox *home) MUST_CHECK;

/* As the two above, but with a home slot that the caller reserved before (mailbox_reserve), and
 * beyond jobs_max: for work that may not be refused any more, such as the last steps of something
 * begun. */
void workpool_submit_reserved(struct workpool *p, struct strand *strand, struct job *job,
                              struct mailbox *home);

/* Returns when no job waits or runs; their `done` mails are then in their homes. Not from a worker.
 */
void workpool_drain(struct workpool *p);

/* Jobs that wait or run; for metrics. Any thread. */
size_t workpool_depth(struct workpool *p);

#endif
