/* The scheduler's books, shared by scheduler.c (events), scheduler_pick.c (who runs what) and
 * scheduler_skip.c (bad records).
 * Private to the three. */
#ifndef MAPREDUCE_SCHEDULER_STATE_H
#define MAPREDUCE_SCHEDULER_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/map.h"
#include "mapreduce/scheduler.h"

/* A label (host or rack) as a small number; 0 is "none". */
typedef uint32_t label_no;

enum {
    SCHED_RUNNING_MAX = 2,    /* attempts of one task at a time: the first and one backup */
    SCHED_DURATIONS_MAX = 64, /* latest task durations kept for the median */
    SCHED_FETCH_LOSSES_PER_ATTEMPT = 4, /* a map's outputs may get lost so often per attempt that
                                           may fail: machines restart, and that is nobody's fault */
};

/* Task numbers in the order in which they became pending; taken ones are skipped when met. */
struct task_queue {
    uint32_t *tasks;
    size_t head;
    size_t count; /* end of the used part */
    size_t capacity;
};

struct sched_worker {
    uint64_t id;
    label_no host;
    label_no rack;
    uint32_t slots;
    uint32_t busy;
    uint32_t start_failures; /* attempts it could not start, since one began; those that were under
                                way together count once */
    time_ms start_failed;    /* when the latest of them was told */
    time_ms rests_until;     /* nothing is given to it before that */
};

struct running_attempt {
    struct sched_worker *worker; /* NULL: place is free */
    uint32_t number;
    uint32_t permille;
    time_ms started;
    bool backup;
    uint32_t skips; /* how many records its task left out when it began */
};

/* A record at which attempts of its task have failed. */
struct bad_record {
    uint64_t record; /* ordinal + 1 */
    uint64_t worker; /* of the first of them */
    uint32_t rank;   /* 1 of the first record that was left out, and so on; 0: it is not */
};

enum task_state {
    TASK_PENDING, /* stands in the queues of its job */
    TASK_RUNNING, /* at least one attempt */
    TASK_DONE,
};

struct sched_task {
    enum task_state state;
    uint32_t next_number; /* of its next attempt */
    uint32_t failures;    /* attempts that failed with blame */
    uint32_t losses;      /* maps: outputs that reduces could not fetch */
    uint64_t failed_on;   /* worker of the latest failure or loss: try another one first */
    struct running_attempt running[SCHED_RUNNING_MAX];
    uint32_t done_number;   /* DONE: the attempt that counts */
    uint64_t done_worker;   /* DONE: where it ran; 0: unknown, from before a take-over */
    label_no *places;       /* maps: host labels, then as many rack labels */
    uint32_t place_count;   /* hosts */
    struct bad_record *bad; /* in the order of their first failure */
    uint32_t bad_count;
    uint64_t *skips; /* ordinals of those that are left out, rising */
    uint32_t skip_count;
};

struct sched_job {
    uint64_t id;
    struct sched_task *tasks[2]; /* by sched_kind */
    uint32_t task_count[2];
    uint32_t count[2][3]; /* tasks by kind and task_state */
    uint32_t attempts_max;
    uint32_t skips_max[2];
    bool blind;
    bool no_backups;
    bool all_maps_told;       /* ALL_MAPS_DONE was said and holds */
    bool done_told;           /* JOB_DONE was said: nothing that is still reported changes that */
    struct task_queue any[2]; /* every pending task */
    struct map by_host;       /* label_no -> struct task_queue of maps */
    struct map by_rack;
    time_ms waiting_since; /* a slot was refused for lack of near work; 0: not waiting */
    uint32_t durations[2][SCHED_DURATIONS_MAX]; /* ms, a ring */
    uint32_t duration_count[2];                 /* ever added */
    struct map worker_failures;                 /* worker -> count as a pointer value */
    uint32_t backups, lost, failed;
};

struct scheduler {
    struct sched_options options;
    struct map labels; /* "h" or "r" and label -> struct label_row */
    label_no label_count;
    uint32_t
        *host_workers; /* by label_no: live workers there, to know whether waiting makes sense */
    size_t host_workers_capacity;
    struct sched_worker **workers; /* in order of joining */
    size_t worker_count, worker_capacity;
    struct sched_job **jobs; /* in order of their numbers */
    size_t job_count, job_capacity;
    uint32_t slots, busy; /* sums over workers */
    size_t next_worker;   /* round robin */
};

/* scheduler.c */
void task_queue_push(struct task_queue *q, uint32_t task);
void sched_effect_add(struct sched_effects *effects, const struct sched_effect *effect);
void task_set_state(struct sched_job *job, enum sched_kind kind, struct sched_task *task,
                    enum task_state state);
void task_attempt_end(struct scheduler *s, struct running_attempt *attempt);
/* The running attempt that a report names; NULL when it no longer runs. Fills the job and task it
 * belongs to. */
struct running_attempt *sched_find_attempt(const struct scheduler *s, const struct sched_attempt *a,
                                           struct sched_job **ret_job,
                                           struct sched_task **ret_task);
/* How long a worker rests after as many failures to start as it has now. */
time_ms worker_rest_ms(const struct scheduler *s, const struct sched_worker *w);

/* scheduler_skip.c: an attempt has failed at a record. True: the record is to blame and not the
 * task, which leaves it out from now on; what was noted against task and worker is taken back. */
bool task_blames_record(struct sched_job *job, struct sched_task *task,
                        const struct running_attempt *attempt, uint32_t skips_max, uint64_t record);
void task_skips_free(struct sched_task *task);

/* scheduler_pick.c: puts a pending task into the queues of its job. */
void job_enqueue(struct sched_job *job, enum sched_kind kind, uint32_t number);
void job_queues_free(struct sched_job *job);
void job_duration_add(struct sched_job *job, enum sched_kind kind, time_ms duration);

#endif
