/* What mrworker shows at its HTTP port: metrics, whether it is healthy, and its state in short
 * (docs/metrics.md). Control loop's thread; what is served is counted by the other loop, in
 * counters of worker_serve.h. */
#ifndef MAPREDUCE_WORKER_METRICS_H
#define MAPREDUCE_WORKER_METRICS_H

#include "common/metrics.h"
#include "mapreduce/job_types.h"

struct mr_worker_process;

enum { WORKER_ATTEMPT_STATES = 4, WORKER_LOCALITIES = 3, WORKER_SUMS = 4 };

/* All in the registry, which the process owns. The first index of two is 0 for maps, 1 for reduces;
 * others are in the order of the labels in worker_metrics.c. */
struct worker_metrics {
    struct metrics *registry;
    struct gauge *connected;
    struct counter *joins;
    struct counter *beats;
    struct gauge *heard;
    struct gauge *slots;
    struct gauge *slots_used;
    struct gauge *ready;
    struct gauge *jobs;
    struct counter *attempts_started[2];
    struct counter *attempts_ended[2][WORKER_ATTEMPT_STATES];
    struct counter *timeouts;
    struct counter *read_bytes[WORKER_LOCALITIES];
    struct counter *sums[WORKER_SUMS]; /* what ends say in job counters */
};

void worker_metrics_init(struct worker_metrics *x, struct metrics *m);

void worker_metrics_started(struct worker_metrics *x, bool reduce);
/* Its bytes and records count whether or not the attempt does: they were moved. */
void worker_metrics_ended(struct worker_metrics *x, const struct past_attempt *past);

/* Why we are not healthy; appends nothing when we are. */
void worker_say_trouble(const struct mr_worker_process *w, struct buf *out);
/* With each beat: counts what is counted afresh, and tells the HTTP thread how we are. */
void worker_metrics_tick(struct mr_worker_process *w);

#endif
