/* The structs of mrworker, shared by worker*.c only; the control loop's thread. */
#ifndef MAPREDUCE_WORKER_INTERNAL_H
#define MAPREDUCE_WORKER_INTERNAL_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/map.h"
#include "common/rpc/rpc_stream.h"
#include "common/workpool.h"
#include "mapreduce/fd_watch.h"
#include "mapreduce/job_types.h"
#include "mapreduce/spawner.h"
#include "mapreduce/task_pipe.h"
#include "mapreduce/worker.h"
#include "mapreduce/worker_metrics.h"

struct dfs;

enum {
    WORKER_BEAT_MS = 500,
    WORKER_REJOIN_MS_MIN = 50,
    WORKER_REJOIN_MS_MAX = 1000,
    WORKER_MRMASTER_COUNT_MAX = 8,
    WORKER_WARM_MAX = 2,           /* task processes started ahead */
    WORKER_QUIET_MS = 25,          /* after a task has begun none is started ... */
    WORKER_ROW_MS = 50,            /* ... unless the one before began only so long ago */
    WORKER_WARM_WAIT_MS_MIN = 500, /* after one that ended by itself; doubles ... */
    WORKER_WARM_WAIT_MS_MAX = 60 * 1000,
    WORKER_BEAT_BYTES = 1024 * 1024, /* of ends in one beat; what is left goes with the next one */
    WORKER_STDERR_BYTES = 2 * MR_STDERR_TAIL_BYTES, /* of a crashed attempt's log: its last whole
                                                       lines are in them */
    WORKER_PIPE_BYTES_MAX = 1 << 20,                /* read from a task's pipe at one go */
    WORKER_LOG_PATHS_BYTES = 256 * 1024,            /* of logs that wait to be looked at */
    WORKER_LOGS_SWEEP_MS = 10 * 60 * 1000,
};

/* A task process: warm (no attempt), running one, or ended and not yet gone. */
struct task {
    struct list link; /* warm, or tasks */
    struct mr_worker_process *w;
    uint64_t id; /* with the spawner */
    int fd;      /* our end of its pipe */
    struct fd_watch *watch;
    struct fd_watch *out_watch; /* for room in a full pipe; NULL until it was needed once */
    unsigned watches;           /* that have not ended */
    struct buf in;              /* bytes read, not yet taken */
    size_t in_at;
    struct buf out; /* frames that the pipe has not taken: we never wait for a task to read */
    size_t out_at;
    size_t told;  /* of its job's maps */
    bool hung_up; /* the pipe has ended */
    bool exited;  /* the spawner has told */
    int status;
    int spawn_errno; /* not 0: there never was a process */
    /* of the attempt; attempt == NULL while warm */
    char *job;
    char *attempt;
    bool reduce;
    bool begun;            /* the process has said that it has the attempt */
    bool reported;         /* its end is told, or nobody wants to know (killed) */
    bool holds;            /* success leaves a map output here */
    uint64_t plan;         /* of the assignment */
    uint64_t memory_bytes; /* limit that its job asked for; 0: none */
    bool skips;            /* the job lets it leave out bad records: it notes which it has */
    time_ms started_ms;    /* wall */
    uint32_t permille;
    char *text;    /* its status line */
    time_ms alive; /* last sign of life */
    time_ms timeout_ms;
    const char *end_reason; /* we ended it, and this is why; NULL otherwise */
};

/* What stood of one map when mrmaster told of it. */
struct known_map {
    uint32_t map;
    const char *attempt; /* NULL: withdrawn */
    const char *address;
};

/* A job of which tasks have run here. */
struct worker_job {
    char *id;
    struct arena arena;
    struct job_spec spec;
    struct known_map *maps; /* all that mrmaster told, in its order: each reduce here reads along */
    size_t map_count, map_capacity;
    struct arena map_arena; /* their texts */
    enum { FILES_LOADING, FILES_READY, FILES_FAILED } files;
    struct err files_err;
    struct list waiting; /* struct assigned: until the files are here */
    bool forgotten;      /* freed when the load has come back */
    struct list past;    /* struct ended, acknowledged, oldest first */
};

/* An assignment that waits for files. */
struct assigned {
    struct list link;
    struct arena arena;
    struct assignment a; /* spec is the job's */
};

/* How an attempt ended: in `ended` of the process until mrmaster has acknowledged it, then with its
 * job. */
struct ended {
    struct list link;
    struct arena arena;
    const char *job;
    struct past_attempt past;
    size_t bytes;      /* of it in a message */
    uint64_t sequence; /* of the first beat that told it; 0: none yet */
};

struct mr_worker_process {
    struct worker_options options;
    struct fd_watcher *watcher;
    struct fd_watch *spawner_watch; /* NULL once it has ended */
    struct workpool *pool;          /* what may take long on a disk or in the store */
    struct strand removals; /* on it, one after the other: fetches do not wait for them all */
    uint64_t next_removal;
    struct dfs *dfs;
    char *addresses; /* of mrmasters, cut at the commas */
    struct rpc_channel *channels[WORKER_MRMASTER_COUNT_MAX];
    const char *names[WORKER_MRMASTER_COUNT_MAX]; /* into addresses */
    size_t channel_count;
    size_t current;            /* which one we are with, or try */
    struct rpc_stream *stream; /* to mrmaster; NULL while not connected */
    time_ms heard; /* mono: when mrmaster last said something on this stream; 0: not yet */
    bool ever_joined;
    bool leaving;
    bool spawner_gone;
    bool spawner_watch_ending;
    time_ms rejoin_ms;
    struct rpc_timer rejoin_timer;
    struct rpc_timer beat_timer;
    struct rpc_timer quiet_timer; /* set: no process is started ahead just now */
    uint64_t next_task;
    uint64_t sequence;
    struct list warm;
    time_ms warm_after;   /* no process is started ahead before that */
    time_ms warm_wait_ms; /* 0: the last one did well */
    time_ms started_ms;   /* mono: when a task was last given to a process */
    struct list tasks;    /* with an attempt, or ending */
    struct list ended;
    struct list pages;     /* of the past, not yet sent to the mrmaster that we have joined */
    struct map jobs;       /* id -> struct worker_job */
    size_t loading;        /* file loads under way */
    struct buf log_paths;  /* of attempts that have ended since logs were last looked at, each with
                              its NUL */
    bool logs_busy;        /* a pool thread looks at logs */
    time_ms logs_sweep_ms; /* mono: when old ones are looked for the next time */
    struct worker_metrics metrics;
};

/* ---- worker.c: the connection ---- */
void worker_beat(struct mr_worker_process *w);

/* ---- worker_past.c: what has ended ---- */

/* An attempt of the job has ended, which is told in each beat until it is acknowledged. Copies. */
void worker_tell_end(struct mr_worker_process *w, const char *job, const struct past_attempt *past);
/* The same for one whose end mrmaster knows or does not await. */
void worker_note_end(struct mr_worker_process *w, const char *job, const struct past_attempt *past);
void worker_ends_acked(struct mr_worker_process *w, uint64_t sequence);
/* mrmaster is lost: what was not acknowledged is told with the rest on joining anew. */
void worker_ends_keep(struct mr_worker_process *w);
void ends_free(struct list *list);
/* On joining: packs all that is to be told; then sends what the stream takes, again at each
 * on_sent. */
void worker_past_begin(struct mr_worker_process *w);
void worker_past_send(struct mr_worker_process *w);
void worker_past_drop(struct mr_worker_process *w);

/* ---- worker_task.c: processes ---- */
int tasks_open(struct mr_worker_process *w, struct err *e) MUST_CHECK;
void tasks_warm(struct mr_worker_process *w);
void task_start(struct mr_worker_process *w, const struct assignment *a,
                const struct job_spec *spec);
/* The job's reduces hear of what is new of its maps, as fast as they read. */
void tasks_tell_maps(struct mr_worker_process *w, const struct worker_job *job);
/* End it; reason NULL: mrmaster said so, and wants no report. */
void task_kill(struct task *task, const char *reason);
/* The same, noting how the attempt ended: state and text of a past_attempt. */
void task_drop(struct task *task, const char *state, const char *text);
void tasks_drop_all(struct mr_worker_process *w, const char *text);
void tasks_check_timeouts(struct mr_worker_process *w);
/* We leave: no more events are awaited from the spawner when no process is left. */
void tasks_close(struct mr_worker_process *w);

/* ---- worker_logs.c: what attempts have written (worker_logs.h) ---- */

/* Now and then: looks after the logs of what runs, and of what has ended. */
void worker_logs_tick(struct mr_worker_process *w);
/* This task's log is looked at with the next tick. */
void worker_logs_note(struct mr_worker_process *w, const struct task *task);

/* ---- worker_job.c: jobs and their files ---- */
int worker_take_assignment(struct mr_worker_process *w, const struct assignment *a,
                           struct err *e) MUST_CHECK;
void worker_forget(struct mr_worker_process *w, const char *id);
/* mrmaster is lost: it tells of maps from the start when we have joined anew. */
void worker_forget_maps(struct mr_worker_process *w);
void worker_job_free(struct worker_job *job);
/* A page of news of maps: noted with their jobs, and told to the reduces that run. */
void worker_take_maps(struct mr_worker_process *w, const struct map_done *list, size_t count);
/* What is at the path is gone at once and removed later, not by the owner. */
void worker_remove_tree(struct mr_worker_process *w, const char *path);
/* Drops assignments that wait for files. */
void worker_drop_waiting(struct mr_worker_process *w, const char *attempt);

#endif
