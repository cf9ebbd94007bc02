/* What mrmaster shows at its HTTP port: metrics, whether it is healthy, and its state in short
 * (docs/metrics.md). The owner changes them as things happen and, once a second, sets those that
 * are counted afresh. */
#ifndef MAPREDUCE_MASTER_METRICS_H
#define MAPREDUCE_MASTER_METRICS_H

#include "common/metrics.h"
#include "mapreduce/job_types.h"
#include "mapreduce/scheduler.h"

struct mr_master;

enum { TASK_STATE_COUNT = 3, ATTEMPT_STATE_COUNT = 4, LOCALITY_COUNT = 4 };

/* All in the registry. Arrays are by sched_kind first, then by job_state, sched_locality, or the
 * order of the labels in master_metrics.c. */
struct master_metrics {
    struct metrics *registry; /* owned */
    struct gauge *active;
    struct gauge *fence;
    struct gauge *store_answered;
    struct counter *store_retries;
    struct gauge *jobs[JOB_STATE_COUNT];
    struct counter *jobs_submitted;
    struct counter *jobs_ended[JOB_STATE_COUNT]; /* NULL for the states that are no end */
    struct gauge *tasks[2][TASK_STATE_COUNT];
    struct counter *attempts_started[2];
    struct counter *attempts_backup[2];
    struct counter *attempts_ended[2][ATTEMPT_STATE_COUNT];
    struct counter *maps_placed[LOCALITY_COUNT];
    struct counter *map_outputs_lost;
    struct gauge *workers;
    struct gauge *workers_awaited;
    struct counter *workers_joined;
    struct counter *workers_lost;
    struct gauge *slots;
    struct gauge *slots_used;
    struct counter *beats;
};

void master_metrics_init(struct master_metrics *x);
void master_metrics_deinit(struct master_metrics *x);

void master_metrics_started(struct master_metrics *x, const struct sched_effect *effect);
/* state: of an attempt_record. */
void master_metrics_ended(struct master_metrics *x, enum sched_kind kind, const char *state);

/* Why we are not healthy; appends nothing when we are. */
void master_say_trouble(const struct mr_master *m, struct buf *out);
/* Counts what is counted afresh, and tells the HTTP thread how we are. */
void master_metrics_tick(struct mr_master *m);

#endif
