/* The structs of mrmaster, shared by master*.c only. Everything belongs to the loop's thread. */
#ifndef MAPREDUCE_MASTER_INTERNAL_H
#define MAPREDUCE_MASTER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/list.h"
#include "common/map.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_server.h"
#include "common/rpc/rpc_stream.h"
#include "common/workpool.h"
#include "mapreduce/job_notes.h"
#include "mapreduce/job_types.h"
#include "mapreduce/master.h"
#include "mapreduce/master_metrics.h"
#include "mapreduce/master_store.h"
#include "mapreduce/scheduler.h"

enum {
    MR_ATTEMPTS_KEPT_MAX = 100000, /* attempt reports of one job */
    MR_FORGET_COUNT_MAX = 64,      /* ended jobs being removed from the store at one time */
    MR_WATCH_MS = 100,             /* between two states sent to one watcher */
    MR_FENCE_CHECK_MS = 5000,   /* the store is asked so often whether we are the mrmaster still */
    MR_STORE_TROUBLE_MS = 3000, /* what libdfs told is news for so long; it tells every second */
    MR_STORE_RETRY_MS =
        2000,          /* between tries of a step at the end of a job while the store is away */
    MR_TELL_MS = 2000, /* a worker that was told nothing for so long is told that we are there */
};

/* One attempt, running or ended, as `mr` shows it. */
struct attempt_record {
    struct list link; /* mr_job.attempts, in the order in which they began or were found */
    struct sched_attempt id;
    char name[ATTEMPT_NAME_BYTES_MAX]; /* of one from before a restart it says another fence, and
                                          another number than `id` does */
    uint64_t worker;
    char *host;
    char *address;
    enum sched_locality locality;
    const char *state;  /* "running", "succeeded", "failed", "killed", "lost"; static */
    time_ms started_ms; /* wall */
    time_ms ended_ms;
    char *error;       /* "" while there is none */
    char *stderr_tail; /* "" likewise */
};

/* What a finished task adds to its job, kept so that it can be taken back when the output is lost.
 */
struct task_sum {
    struct job_counters counters; /* names point into mr_job.counter_names */
    struct job_locality locality;
};

struct task_record {
    uint32_t permille;             /* of its best running attempt, 1000 when done */
    struct attempt_record *latest; /* newest attempt; the one that counts when done */
    struct task_sum sum;
};

struct mr_watcher {
    struct list link;
    struct rpc_stream *stream;
};

struct mr_job {
    struct list link;   /* mr_master.jobs, in order of numbers */
    struct arena arena; /* record and plan */
    struct job_record record;
    enum job_state state;
    bool taken_up;       /* by a start of ours: an earlier mrmaster had accepted it */
    bool awaits_workers; /* recovered; planned when the workers of before are back */
    bool discarding;     /* failed or killed: the hidden directory is being removed */
    bool kill_wanted;
    struct dfs *dfs; /* as the job's user; the master's */
    uint64_t hidden_inode;
    struct plan_note noted; /* by an earlier start, for the plan; slots 0: none */
    bool marked;            /* _SUCCESS is in the hidden directory */
    unsigned asides;        /* steps under way that nothing waits for, but to forget the job */
    struct arena plan_arena;
    struct job_plan plan;      /* in plan_arena */
    uint32_t *committed_parts; /* numbers of the parts found after a restart; owned */
    size_t committed_count;
    uint32_t reduces;       /* chosen with the plan */
    uint64_t plan_id;       /* of splits and reduces: which map outputs go together */
    uint32_t outputs_found; /* maps done by what workers told of the past */
    struct task_record *tasks[2];
    uint32_t *map_news; /* numbers of maps whose output came or went, in order; each worker with a
                           reduce of the job reads along at its own pace. Owned */
    size_t map_news_count, map_news_capacity;
    struct map running; /* attempt name -> struct attempt_record, running ones */
    struct list attempts;
    struct map by_name; /* attempt name -> struct attempt_record, all */
    uint32_t attempt_count;
    uint32_t attempts_failed, attempts_lost, attempts_backup;
    struct map counter_totals; /* "group\0name" -> struct counter_total */
    size_t own_counter_count;  /* of them, that are not the framework's; at most MR_COUNTERS_MAX */
    struct job_locality locality;
    struct job_status *ended; /* final status, in the arena; NULL before */
    time_ms started_ms, ended_ms;
    char *failure;
    struct list watchers;
    bool changed;              /* since the watchers were told */
    struct rpc_call **killers; /* calls that wait for the end */
    size_t killer_count;
};

struct counter_total {
    char *key; /* group NUL name NUL */
    const char *group;
    const char *name;
    int64_t value;
};

/* How far a worker has been told of a job's maps. */
struct follow {
    struct mr_job *job;
    size_t told; /* of its map_news */
};

/* A page of what a worker told of the past. */
struct past_page {
    struct list link;
    struct arena arena;
    struct worker_past past;
};

/* A worker's stream. Before its hello only `stream` is set. */
struct mr_worker {
    struct list link; /* mr_master.workers once it has joined, else strangers */
    uint64_t id;      /* 0 before hello */
    bool joined;      /* it has told its past: the scheduler knows it */
    struct list past; /* struct past_page; kept while a job waits for its plan */
    struct rpc_stream *stream;
    struct member_key key;
    char *host, *rack, *address;
    uint32_t slots;
    uint32_t busy;
    time_ms heard;             /* mono */
    time_ms told;              /* mono: when something was last sent to it */
    char *trouble;             /* why it could not start an attempt, the last time; NULL: never */
    struct map specs_sent;     /* job number: it has the spec */
    struct map follows;        /* job number -> struct follow, once it was given a reduce of it */
    struct arena out_arena;    /* strings of `out` */
    struct master_message out; /* gathered, sent by worker_flush() */
    bool out_used;
};

struct mr_master {
    struct mr_master_options options;
    struct workpool *pool;
    struct dfs *dfs;
    struct map users; /* user -> struct dfs */
    uint64_t fence;
    uint64_t next_job;
    uint64_t next_worker;
    struct scheduler *scheduler;
    struct sched_effects effects;
    struct list jobs;
    size_t live_jobs;
    size_t forgetting; /* steps under way that forget an ended job */
    struct list workers;
    struct list strangers; /* streams without a hello */
    struct rpc_timer assign_timer;
    struct rpc_timer watch_timer;
    struct rpc_timer tick_timer;
    bool draining;
    const char *end_text;     /* why it drains; static; NULL while it does not */
    struct map roster;        /* key in hexadecimal -> struct rostered (master_roster.c) */
    size_t awaited;           /* of them, that were there before our start and are not back */
    time_ms awaited_until;    /* mono */
    bool roster_busy;         /* the store is being told */
    char *store_trouble;      /* what libdfs waits for in our calls; NULL: nothing lately */
    time_ms store_trouble_ms; /* mono: when it was told */
    bool fence_checking;      /* the store is being asked */
    time_ms fence_checked;    /* mono: when that last ended */
    time_ms store_answered;   /* mono: when it last said that the fence is ours */
    struct master_metrics metrics;
};

/* ---- master.c ---- */

/* Runs the scheduler, carries out what it says, sends what has gathered. After every event. */
void master_pump(struct mr_master *m);
struct mr_job *master_find_job(struct mr_master *m, const char *id);
struct mr_job *master_find_number(struct mr_master *m, uint64_t number);
/* The connection for a user's files; opened at the first use. NULL with e set if libdfs refuses. */
struct dfs *master_user_dfs(struct mr_master *m, const char *user, struct err *e);

/* Why the store does not answer just now; NULL: it does, as far as we know. */
const char *master_store_trouble(const struct mr_master *m);
/* No more work: ends all streams and calls that wait, with this error; text is static. */
void master_end_all(struct mr_master *m, int code, const char *text);

/* ---- master_fence.c ---- */

/* The store has just said that the fence is ours. */
void master_store_answered(struct mr_master *m);
/* Asks the store whether the fence is ours still; if not, master_deposed(). */
void master_check_fence(struct mr_master *m);
/* Another mrmaster has taken over: nothing is done or told any more. */
void master_deposed(struct mr_master *m, const char *why);

/* ---- master_job.c ---- */

struct mr_job *job_new(struct mr_master *m, const struct job_record *record, struct dfs *dfs);
void job_free(struct mr_job *job);
/* Splits are known: makes the tasks and hands the job to the scheduler. */
void job_run(struct mr_master *m, struct mr_job *job);
void job_attempt_started(struct mr_master *m, struct mr_job *job, const struct sched_effect *effect,
                         const struct mr_worker *worker);
/* An attempt of this job ended, by its worker's word or by ours (kill, lost). */
void job_attempt_ended(struct mr_master *m, struct mr_job *job, struct attempt_record *attempt,
                       const char *state, const struct attempt_end *end);
/* The attempt counts: its sums go into the job. */
void job_task_done(struct mr_job *job, struct attempt_record *attempt,
                   const struct attempt_end *end);
void job_task_undone(struct mr_job *job, const struct sched_attempt *id);
/* The output of a map came or went: all workers that run reduces of the job will be told. */
void job_note_map(struct mr_job *job, uint32_t map);
/* One that a worker tells of: its record, new or as it was, with what is told. */
struct attempt_record *job_attempt_found(struct mr_job *job, const struct attempt_name *name,
                                         const struct past_attempt *past,
                                         const struct mr_worker *worker);
/* What users see now; strings are the job's or the arena's. */
void job_status(struct mr_master *m, struct mr_job *job, struct arena *arena,
                struct job_status *ret);
/* First words of a failed job: the failing task's stderr, then which task and where. */
void job_set_failure(struct mr_job *job, const struct attempt_record *attempt, const char *text);

/* ---- master_steps.c: steps in the store ---- */

/* Takes the bytes of `record`, the packed job_record. */
void step_submit(struct mr_master *m, struct mr_job *job, struct rpc_call *call,
                 struct buf *record);
void step_recover(struct mr_master *m, struct mr_job *job);
void step_commit(struct mr_master *m, struct mr_job *job);
/* FAILED or KILLED: remove the hidden directory, then write the result. */
void step_discard(struct mr_master *m, struct mr_job *job, enum job_state state);
/* Notes that it has ended, for good. again: its outcome before, as a start found it to be. */
void step_settle(struct mr_master *m, struct mr_job *job, bool again);
/* Nothing happens if enough of them are under way: the next tick tries again. */
void step_forget(struct mr_master *m, struct mr_job *job);
/* The workers of before are back, or will not be: jobs that waited for them are planned. */
void steps_go_on(struct mr_master *m);

/* ---- master_past.c ---- */

/* A page of a worker that has not told all yet. Copies. */
int worker_take_past(struct mr_worker *w, const struct worker_past *past, struct err *e) MUST_CHECK;
/* It has told all, and has joined: what counts goes into the books of jobs that run. */
void worker_past_told(struct mr_master *m, struct mr_worker *w);
/* The job begins to run: the same for what workers told of it before. */
void job_take_past(struct mr_master *m, struct mr_job *job);
void worker_past_free(struct mr_worker *w);

/* ---- master_roster.c ---- */

/* At the start, blocking: whom to wait for. */
int roster_load(struct mr_master *m, struct err *e) MUST_CHECK;
void roster_free(struct mr_master *m);
void roster_returned(struct mr_master *m, struct member_key key);
/* Once a second: the wait may end, and the store is told who is here. */
void roster_tick(struct mr_master *m);

/* ---- master_workers.c ---- */

extern const struct rpc_stream_ops worker_stream_ops;
struct mr_worker *master_find_worker(struct mr_master *m, uint64_t id);
void worker_assign(struct mr_master *m, struct mr_worker *w, struct mr_job *job,
                   const struct sched_effect *effect);
void worker_kill(struct mr_worker *w, const char *attempt);
void worker_forget_job(struct mr_worker *w, const struct mr_job *job);
/* The same for a job that we do not know. Copies. */
void worker_forget_name(struct mr_worker *w, const char *job);
/* Sends what has gathered, then news of maps while the stream takes them. */
void worker_flush(struct mr_worker *w);
/* Gone or silent: the scheduler hears of it, the stream is cancelled. */
void worker_remove(struct mr_master *m, struct mr_worker *w, const char *why);
void worker_free(struct mr_worker *w);

/* ---- master_rpc.c: watchers and the unary calls ---- */

extern const struct rpc_stream_ops watch_stream_ops;
/* Sends the status to everybody who watches the job; after the last one the streams end. */
void watchers_tell(struct mr_master *m, struct mr_job *job);
/* The same for each job that has changed, not more often than MR_WATCH_MS. */
void watchers_tell_all(struct mr_master *m);
void killers_answer(struct mr_job *job);
/* The job will never be (submission refused), or is not ours any more (we stop). */
void watchers_end(struct mr_job *job, int code, const char *text);
void killers_end(struct mr_job *job, int code, const char *text);
void submit_answer(struct rpc_call *call, const struct mr_job *job);

#endif
