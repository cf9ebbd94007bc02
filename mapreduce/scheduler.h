/* The scheduler of MapReduce tasks: which attempt runs where, and when again (OSDI'04 sections 3.1
 * to 3.6). Pure: no I/O, no clock, no threads; events and `now` go in, effects come out. mrmaster's
 * owner thread, or a simulator.
 *
 * Rules, in order:
 *  - A free slot gets a map whose input lies on the worker's own host label; else, after a short
 * wait, one of its rack; else, after twice that wait, any. The wait is adapted to how long maps
 * take, and there is none for a task that no live worker is near to (delay scheduling, Zaharia et
 * al., EuroSys 2010). Picking is O(1) amortised.
 *  - Reduces start when a share of the maps is done, and never take the last slot that unfinished
 * maps could need.
 *  - Near the end the slowest attempts get a backup on another worker; the first to finish counts,
 * the other is killed.
 *  - What was lost with a worker runs again without blame: its running attempts, and its finished
 * maps as long as a reduce still needs them. Finished reduces are kept.
 *  - A task that fails attempts_max times fails its job. A worker that keeps failing a job's tasks
 * is avoided by it.
 *  - A map whose output cannot be fetched runs again on another worker if there is one, without
 * blame; so many times over that nobody will ever fetch it, and it fails its job.
 *  - A job may allow its tasks to leave out some records. A record that has ended two attempts of a
 * task is left out from then on (section 4.6); what it ended is neither the task's nor a worker's
 * failure. A program's task, of which nobody knows what it had read, becomes careful instead.
 *  - An attempt that its worker could not start says nothing about the task: it runs again without
 * blame. The worker rests, twice as long each time, and is then tried with one task at a time until
 * one of them has begun. */
#ifndef MAPREDUCE_SCHEDULER_H
#define MAPREDUCE_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ids.h" /* time_ms */

struct scheduler;

enum sched_kind {
    SCHED_MAP,
    SCHED_REDUCE,
};

enum sched_locality {
    SCHED_ON_HOST,
    SCHED_IN_RACK,
    SCHED_ELSEWHERE,
    SCHED_NO_PREFERENCE, /* reduces, and maps whose input is nowhere in particular */
};

/* One attempt of one task. `number` counts all attempts of the task from 0. */
struct sched_attempt {
    uint64_t job;
    enum sched_kind kind;
    uint32_t task;
    uint32_t number;
};

enum sched_effect_kind {
    SCHED_ASSIGN, /* start `attempt` on `worker` */
    SCHED_KILL, /* stop `attempt` on `worker`: another one won, or its slot is needed. No report of
                   it is needed */
    SCHED_MAP_WITHDRAWN, /* the output of map `attempt` is gone: reduces must wait for another */
    SCHED_TASK_DONE,     /* `attempt` is the one that counts */
    SCHED_ALL_MAPS_DONE,
    SCHED_JOB_DONE,   /* every task of the job is done */
    SCHED_JOB_FAILED, /* `attempt` failed, or its output got lost, once too often; all that ran of
                         the job has been killed */
};

struct sched_effect {
    enum sched_effect_kind kind;
    struct sched_attempt attempt;
    uint64_t worker;
    enum sched_locality locality; /* ASSIGN */
    bool backup;                  /* ASSIGN: another attempt of the task is running */
};

/* Collects effects in the order in which they must be carried out. Caller's; zeroed = empty. */
struct sched_effects {
    struct sched_effect *items;
    size_t count;
    size_t capacity;
};
void sched_effects_clear(struct sched_effects *effects);
void sched_effects_deinit(struct sched_effects *effects);

struct sched_options {
    uint32_t slowstart_percent; /* reduces start when so many of the maps are done; 0..100 */
    time_ms wait_ms_min;        /* bounds of the wait for a nearer slot */
    time_ms wait_ms_max;
    time_ms backup_ms_min; /* an attempt younger than this gets no backup */
    uint32_t
        worker_failures_max; /* a worker with so many failed attempts of a job is avoided by it */
    time_ms rest_ms_min; /* of a worker that could not start an attempt; doubles each time ... */
    time_ms rest_ms_max; /* ... up to this */
};
extern const struct sched_options sched_options_default;

/* Never NULL. */
struct scheduler *scheduler_new(const struct sched_options *options);
void scheduler_free(struct scheduler *s); /* accepts NULL */

/* ---- Workers. Numbers are the caller's and never used again. ---- */

struct sched_worker_info {
    uint64_t worker;
    const char *host; /* label; copied */
    const char *rack;
    uint32_t slots;
};
void scheduler_add_worker(struct scheduler *s, const struct sched_worker_info *info);
/* Dead or gone: see the rules for what runs again. */
void scheduler_remove_worker(struct scheduler *s, uint64_t worker, time_ms now,
                             struct sched_effects *effects);

/* ---- Jobs. Served in the order of their numbers. ---- */

struct sched_map_info {
    const char *const *hosts; /* labels that hold the input; copied */
    const char *const *racks; /* their racks, same order */
    uint32_t host_count;
};
struct sched_job_info {
    uint64_t job;
    const struct sched_map_info *maps;
    uint32_t map_count;
    uint32_t reduce_count;
    uint32_t attempts_max; /* > 0 */
    uint32_t skips_max[2]; /* by sched_kind: records that each task may leave out; 0: none */
    bool locality_blind;   /* maps in plain order to whoever is free */
    bool no_backups;
};
void scheduler_add_job(struct scheduler *s, const struct sched_job_info *info, time_ms now);
/* Ended or killed: kills what runs, forgets the rest. */
void scheduler_remove_job(struct scheduler *s, uint64_t id, struct sched_effects *effects);
/* A reduce (or map of a map-only job) whose output was found committed, after a take-over. No
 * effects. */
void scheduler_mark_done(struct scheduler *s, uint64_t id, enum sched_kind kind, uint32_t task);

/* The output of a map was found on a worker that has come back: of an attempt that is not one of
 * ours, or that was lost. It counts as if the attempt had succeeded just now, under a new number,
 * and what runs of the task is killed. False: it is not needed. */
bool scheduler_map_found(struct scheduler *s, const struct sched_attempt *map, uint64_t worker,
                         struct sched_effects *effects, uint32_t *ret_number);

/* ---- What workers tell. Reports about attempts that no longer run are ignored. ---- */

void scheduler_progress(struct scheduler *s, const struct sched_attempt *attempt, uint32_t permille,
                        time_ms now);
void scheduler_succeeded(struct scheduler *s, const struct sched_attempt *attempt, time_ms now,
                         struct sched_effects *effects);
/* blame: counts towards attempts_max and the worker's failures; false for attempts that could not
 * have gone well. */
void scheduler_failed(struct scheduler *s, const struct sched_attempt *attempt, bool blame,
                      time_ms now, struct sched_effects *effects);
/* The same with blame, at a record that user code had: its ordinal + 1, of the key group in a
 * reduce; 0: unknown. */
void scheduler_failed_at(struct scheduler *s, const struct sched_attempt *attempt, uint64_t record,
                         time_ms now, struct sched_effects *effects);
/* The worker could not start it. */
void scheduler_not_started(struct scheduler *s, const struct sched_attempt *attempt, time_ms now,
                           struct sched_effects *effects);
/* A reduce could not fetch this map's output: runs the map again, unless another attempt has taken
 * its place already, or fails the job (JOB_FAILED with this map) when that has happened to the map
 * 4 * attempts_max times. */
void scheduler_map_lost(struct scheduler *s, const struct sched_attempt *map, time_ms now,
                        struct sched_effects *effects);

/* Fills free slots. Call it after any of the above and at *ret_wake at the latest (UINT64_MAX:
 * nothing to wait for). */
void scheduler_assign(struct scheduler *s, time_ms now, struct sched_effects *effects,
                      time_ms *ret_wake);

/* ---- Looking ---- */

struct sched_job_counts {
    uint32_t pending[2]; /* by sched_kind */
    uint32_t running[2]; /* tasks with at least one attempt */
    uint32_t done[2];
    uint32_t backups; /* attempts started as backups so far */
    uint32_t lost;    /* attempts and outputs lost with workers so far */
    uint32_t failed;  /* attempts that failed so far */
};
/* False: no such job. */
bool scheduler_counts(const struct scheduler *s, uint64_t id, struct sched_job_counts *ret);
uint32_t scheduler_free_slots(const struct scheduler *s);
bool scheduler_avoids(const struct scheduler *s, uint64_t id, uint64_t worker);
/* Of a running attempt's task: ordinals of the records that the next one leaves out, rising. Valid
 * until the next event. NULL and 0: none, or no such attempt. */
const uint64_t *scheduler_skips(const struct scheduler *s, const struct sched_attempt *attempt,
                                size_t *ret_count);
/* Whether a program is to run on few records at a time, so as to find the one that ends it: the job
 * allows to leave some out, and the task has failed twice (once, of two attempts that it has) for
 * reasons unknown. */
bool scheduler_careful(const struct scheduler *s, const struct sched_attempt *attempt);
/* The latest attempt that the worker was to start did not start. */
bool scheduler_cannot_start(const struct scheduler *s, uint64_t worker);
/* O(n): aborts by CHECK when the books do not balance. */
void scheduler_check(const struct scheduler *s);

#endif
