/* See master_metrics.h. A mrmaster is healthy while it is the active one, which the store says, and
 * the store answers: without it no job begins and none ends. */
#include "mapreduce/master_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "mapreduce/master_internal.h"

enum {
    STORE_SILENT_MS = 15 * 1000, /* three questions for the fence without an answer */
};

static const char *const kinds[2] = {"map", "reduce"};
static const char *const task_states[TASK_STATE_COUNT] = {"pending", "running", "done"};
static const char *const attempt_states[ATTEMPT_STATE_COUNT] = {"succeeded", "failed", "killed",
                                                                "lost"};
static const char *const localities[LOCALITY_COUNT] = {[SCHED_ON_HOST] = "host",
                                                       [SCHED_IN_RACK] = "rack",
                                                       [SCHED_ELSEWHERE] = "remote",
                                                       [SCHED_NO_PREFERENCE] = "any"};

/* ---- Making ---- */

static void make_jobs(struct master_metrics *x)
{
    struct metrics *m = x->registry;
    char label[64];
    x->jobs_submitted =
        metrics_counter(m, "mrmaster_jobs_submitted_total", NULL, "Jobs accepted from users.");
    for (int state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT; state++) {
        (void)snprintf(label, sizeof(label), "state=\"%s\"", job_state_name(state));
        x->jobs[state] = metrics_gauge(m, "mrmaster_jobs", label,
                                       "Jobs by state, ended ones as long as they are remembered.");
        if (job_state_ended(state)) {
            x->jobs_ended[state] =
                metrics_counter(m, "mrmaster_jobs_ended_total", label, "Jobs that have ended.");
        }
    }
}

static void make_tasks(struct master_metrics *x, enum sched_kind kind)
{
    struct metrics *m = x->registry;
    char label[64];
    (void)snprintf(label, sizeof(label), "kind=\"%s\"", kinds[kind]);
    x->attempts_started[kind] =
        metrics_counter(m, "mrmaster_attempts_started_total", label, "Attempts given to workers.");
    x->attempts_backup[kind] =
        metrics_counter(m, "mrmaster_attempts_backup_total", label,
                        "Of them speculative ones: beside a slow attempt of the same task.");
    for (int i = 0; i < TASK_STATE_COUNT; i++) {
        (void)snprintf(label, sizeof(label), "kind=\"%s\",state=\"%s\"", kinds[kind],
                       task_states[i]);
        x->tasks[kind][i] =
            metrics_gauge(m, "mrmaster_tasks", label, "Tasks of running jobs by kind and state.");
    }
    for (int i = 0; i < ATTEMPT_STATE_COUNT; i++) {
        (void)snprintf(label, sizeof(label), "kind=\"%s\",state=\"%s\"", kinds[kind],
                       attempt_states[i]);
        x->attempts_ended[kind][i] =
            metrics_counter(m, "mrmaster_attempts_ended_total", label,
                            "Attempts that have ended; lost: with their worker, or never begun.");
    }
}

static void make_workers(struct master_metrics *x)
{
    struct metrics *m = x->registry;
    x->workers = metrics_gauge(m, "mrmaster_workers", NULL, "Workers that have joined.");
    x->workers_awaited = metrics_gauge(m, "mrmaster_workers_awaited", NULL,
                                       "Workers of before a restart that are not back.");
    x->workers_joined =
        metrics_counter(m, "mrmaster_workers_joined_total", NULL, "Times that a worker joined.");
    x->workers_lost = metrics_counter(m, "mrmaster_workers_lost_total", NULL,
                                      "Times that a worker was given up or left.");
    x->slots = metrics_gauge(m, "mrmaster_slots", NULL, "Tasks that the workers run at a time.");
    x->slots_used = metrics_gauge(m, "mrmaster_slots_used", NULL, "Slots that have a task.");
    x->beats = metrics_counter(m, "mrmaster_heartbeats_total", NULL, "Heartbeats of workers.");
}

void master_metrics_init(struct master_metrics *x)
{
    char label[64];
    struct metrics *m = metrics_new();
    *x = (struct master_metrics){
        .registry = m,
        .active = metrics_gauge(m, "mrmaster_active", NULL,
                                "1: the one mrmaster of its store, as far as it knows."),
        .fence = metrics_gauge(m, "mrmaster_fence_epoch", NULL,
                               "Epoch of the fence; rises with each mrmaster that takes over."),
        .store_answered = metrics_gauge(m, "mrmaster_store_answered_timestamp_seconds", NULL,
                                        "When the file masters last confirmed the fence."),
        .store_retries = metrics_counter(m, "mrmaster_store_retries_total", NULL,
                                         "Steps of jobs tried again because the store was away."),
    };
    make_jobs(x);
    make_tasks(x, SCHED_MAP);
    make_tasks(x, SCHED_REDUCE);
    for (int i = 0; i < LOCALITY_COUNT; i++) {
        (void)snprintf(label, sizeof(label), "locality=\"%s\"", localities[i]);
        x->maps_placed[i] = metrics_counter(m, "mrmaster_map_attempts_placed_total", label,
                                            "Attempts of maps by how near their input is.");
    }
    x->map_outputs_lost = metrics_counter(m, "mrmaster_map_outputs_lost_total", NULL,
                                          "Outputs of finished maps that had to be made again.");
    make_workers(x);
    metrics_report(m, &(struct metrics_report){
                          .trouble = "mrmaster starts: the file masters have not answered yet"});
}

void master_metrics_deinit(struct master_metrics *x)
{
    metrics_free(x->registry);
    x->registry = NULL;
}

/* ---- As things happen ---- */

void master_metrics_started(struct master_metrics *x, const struct sched_effect *effect)
{
    enum sched_kind kind = effect->attempt.kind;
    counter_add(x->attempts_started[kind], 1);
    counter_add(x->attempts_backup[kind], effect->backup);
    if (kind == SCHED_MAP) {
        counter_add(x->maps_placed[effect->locality], 1);
    }
}

void master_metrics_ended(struct master_metrics *x, enum sched_kind kind, const char *state)
{
    for (int i = 0; i < ATTEMPT_STATE_COUNT; i++) {
        if (strcmp(state, attempt_states[i]) == 0) {
            counter_add(x->attempts_ended[kind][i], 1);
        }
    }
}

/* ---- Once a second ---- */

static void count_jobs(struct mr_master *m)
{
    struct master_metrics *x = &m->metrics;
    int64_t jobs[JOB_STATE_COUNT] = {0};
    int64_t tasks[2][TASK_STATE_COUNT] = {{0}};
    LIST_FOR_EACH(node, &m->jobs)
    {
        const struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        struct sched_job_counts counts = {0};
        jobs[job->state]++;
        if (!job->ended && scheduler_counts(m->scheduler, job->record.number, &counts)) {
            for (int kind = 0; kind < 2; kind++) {
                tasks[kind][0] += counts.pending[kind];
                tasks[kind][1] += counts.running[kind];
                tasks[kind][2] += counts.done[kind];
            }
        }
    }
    for (int state = JOB_STATE_QUEUED; state < JOB_STATE_COUNT; state++) {
        gauge_set(x->jobs[state], jobs[state]);
    }
    for (int kind = 0; kind < 2; kind++) {
        for (int i = 0; i < TASK_STATE_COUNT; i++) {
            gauge_set(x->tasks[kind][i], tasks[kind][i]);
        }
    }
}

static void count_workers(struct mr_master *m)
{
    struct master_metrics *x = &m->metrics;
    int64_t workers = 0;
    int64_t slots = 0;
    int64_t used = 0;
    LIST_FOR_EACH(node, &m->workers)
    {
        const struct mr_worker *w = LIST_ENTRY(node, struct mr_worker, link);
        workers++;
        slots += w->slots;
        used += w->busy;
    }
    gauge_set(x->workers, workers);
    gauge_set(x->workers_awaited, (int64_t)m->awaited);
    gauge_set(x->slots, slots);
    gauge_set(x->slots_used, used);
}

void master_say_trouble(const struct mr_master *m, struct buf *out)
{
    const char *waiting = master_store_trouble(m);
    time_ms silent_ms = clock_mono_ms() - m->store_answered;
    if (m->end_text) {
        buf_append_str(out, m->end_text);
    } else if (waiting) {
        buf_printf(out, "the store does not answer: %s", waiting);
    } else if (silent_ms > STORE_SILENT_MS) {
        buf_printf(out, "the store does not answer: nothing for %" PRIu64 " s", silent_ms / 1000);
    }
}

static void say_state(const struct mr_master *m, struct buf *out)
{
    const struct master_metrics *x = &m->metrics;
    buf_printf(out,
               "\"active\": %s, \"fence_epoch\": %" PRIu64 ", \"jobs_not_ended\": %zu, "
               "\"workers\": %" PRId64 ", \"workers_awaited\": %zu, \"slots\": %" PRId64
               ", \"slots_used\": %" PRId64,
               m->draining ? "false" : "true", m->fence, m->live_jobs, gauge_value(x->workers),
               m->awaited, gauge_value(x->slots), gauge_value(x->slots_used));
}

void master_metrics_tick(struct mr_master *m)
{
    struct master_metrics *x = &m->metrics;
    struct buf trouble = BUF_INIT;
    struct buf state = BUF_INIT;
    count_jobs(m);
    count_workers(m);
    gauge_set(x->active, !m->draining);
    gauge_set(x->fence, (int64_t)m->fence);
    master_say_trouble(m, &trouble);
    say_state(m, &state);
    metrics_take_report(x->registry, &trouble, &state, m->draining);
}
