/* See worker_metrics.h. A worker is healthy while a mrmaster has it and says so, and while there
 * are processes for its tasks. */
#include "mapreduce/worker_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "mapreduce/engine/counters.h"
#include "mapreduce/worker_internal.h"

enum {
    MASTER_SILENT_MS = 10 * 1000, /* mrmaster says something every 2 s (MR_TELL_MS) */
};

static const char *const kinds[2] = {"map", "reduce"};
static const char *const attempt_states[WORKER_ATTEMPT_STATES] = {"succeeded", "failed", "killed",
                                                                  "lost"};
static const char *const localities[WORKER_LOCALITIES] = {"host", "rack", "remote"};

/* Job counters that are shown as metrics: of ended attempts, under the framework's names. */
static const struct sum {
    const char *group;
    const char *counter;
    const char *name;
    const char *help;
} sums[WORKER_SUMS] = {
    {COUNTER_GROUP_FRAMEWORK, "Reduce shuffle bytes", "mrworker_shuffle_bytes_total",
     "Bytes of map outputs that reduces have taken in, from this worker's disk or another's."},
    {COUNTER_GROUP_FRAMEWORK, "Map output materialized bytes", "mrworker_map_output_bytes_total",
     "Bytes of finished map outputs on this worker's disk, as they were written."},
    {COUNTER_GROUP_FRAMEWORK, "Spilled Records", "mrworker_spilled_records_total",
     "Records that sorting and merging wrote to local disk; one written twice counts twice."},
    {COUNTER_GROUP_WRITTEN, "Bytes Written", "mrworker_written_bytes_total",
     "Bytes of output that attempts have written to the store."},
};

/* ---- Making ---- */

static void make_attempts(struct worker_metrics *x, int kind)
{
    char label[64];
    (void)snprintf(label, sizeof(label), "kind=\"%s\"", kinds[kind]);
    x->attempts_started[kind] = metrics_counter(x->registry, "mrworker_attempts_started_total",
                                                label, "Attempts given to a process.");
    for (int i = 0; i < WORKER_ATTEMPT_STATES; i++) {
        (void)snprintf(label, sizeof(label), "kind=\"%s\",state=\"%s\"", kinds[kind],
                       attempt_states[i]);
        x->attempts_ended[kind][i] = metrics_counter(
            x->registry, "mrworker_attempts_ended_total", label,
            "Attempts that have ended; lost: mrmaster was lost, or no process could take it.");
    }
}

void worker_metrics_init(struct worker_metrics *x, struct metrics *m)
{
    char label[64];
    *x = (struct worker_metrics){
        .registry = m,
        .connected = metrics_gauge(m, "mrworker_connected", NULL, "1: a mrmaster has this worker."),
        .joins = metrics_counter(m, "mrworker_joins_total", NULL,
                                 "Times that a mrmaster has taken this worker."),
        .beats = metrics_counter(m, "mrworker_heartbeats_total", NULL, "Heartbeats sent."),
        .heard = metrics_gauge(m, "mrworker_mrmaster_heard_timestamp_seconds", NULL,
                               "When mrmaster last said something; 0: never."),
        .slots = metrics_gauge(m, "mrworker_slots", NULL, "Tasks at one time."),
        .slots_used = metrics_gauge(m, "mrworker_slots_used", NULL, "Attempts that run."),
        .ready = metrics_gauge(m, "mrworker_processes_ready", NULL,
                               "Task processes that wait for an attempt."),
        .jobs = metrics_gauge(m, "mrworker_jobs", NULL, "Jobs whose files are kept here."),
        .timeouts = metrics_counter(m, "mrworker_attempts_timed_out_total", NULL,
                                    "Attempts ended for showing no progress; they count as failed, "
                                    "too."),
    };
    make_attempts(x, 0);
    make_attempts(x, 1);
    for (int i = 0; i < WORKER_LOCALITIES; i++) {
        (void)snprintf(label, sizeof(label), "locality=\"%s\"", localities[i]);
        x->read_bytes[i] =
            metrics_counter(m, "mrworker_read_bytes_total", label,
                            "Bytes of input that maps have read, by where the chunkserver was.");
    }
    for (int i = 0; i < WORKER_SUMS; i++) {
        x->sums[i] = metrics_counter(m, sums[i].name, NULL, sums[i].help);
    }
}

/* ---- As things happen ---- */

void worker_metrics_started(struct worker_metrics *x, bool reduce)
{
    counter_add(x->attempts_started[reduce], 1);
}

void worker_metrics_ended(struct worker_metrics *x, const struct past_attempt *past)
{
    struct attempt_name name = {0};
    const struct job_locality *bytes = &past->end.locality;
    (void)attempt_name_parse(past->end.attempt, &name); /* one that is none counts as a map */
    for (int i = 0; i < WORKER_ATTEMPT_STATES; i++) {
        if (strcmp(past->state, attempt_states[i]) == 0) {
            counter_add(x->attempts_ended[name.reduce][i], 1);
        }
    }
    counter_add(x->read_bytes[0], bytes->bytes_host);
    counter_add(x->read_bytes[1], bytes->bytes_rack);
    counter_add(x->read_bytes[2], bytes->bytes_remote);
    for (size_t i = 0; i < past->end.counters.count; i++) {
        const struct job_counter *counter = &past->end.counters.items[i];
        for (int s = 0; s < WORKER_SUMS; s++) {
            bool same = counter->value > 0 && strcmp(counter->group, sums[s].group) == 0 &&
                        strcmp(counter->name, sums[s].counter) == 0;
            counter_add(x->sums[s], same ? (uint64_t)counter->value : 0);
        }
    }
}

/* ---- With each beat ---- */

static size_t ready_count(const struct mr_worker_process *w)
{
    size_t count = 0;
    LIST_FOR_EACH(node, &w->warm)
    {
        count += !LIST_ENTRY(node, struct task, link)->hung_up;
    }
    return count;
}

void worker_say_trouble(const struct mr_worker_process *w, struct buf *out)
{
    const char *mrmaster = w->names[w->current];
    time_ms silent_ms = clock_mono_ms() - w->heard;
    if (w->leaving) {
        buf_append_str(out, "mrworker stops");
    } else if (w->heard == 0) {
        buf_printf(out, "no mrmaster has this worker; it tries %s", mrmaster);
    } else if (silent_ms > MASTER_SILENT_MS) {
        buf_printf(out, "mrmaster at %s has said nothing for %" PRIu64 " s", mrmaster,
                   silent_ms / 1000);
    } else if (w->warm_wait_ms > 0 && ready_count(w) == 0) {
        buf_append_str(out, "no process for tasks (mrtask) can be started; the log says why");
    }
}

static void say_state(const struct mr_worker_process *w, struct buf *out)
{
    const char *separator = "";
    buf_printf(out, "\"connected\": %s, \"mrmaster\": ", json_bool(w->heard));
    buf_append_json(out, w->names[w->current]);
    buf_printf(out, ", \"slots\": %" PRIu32 ", \"attempts\": [", w->options.slots);
    LIST_FOR_EACH(node, &w->tasks)
    {
        const struct task *task = LIST_ENTRY(node, struct task, link);
        if (task->attempt && !task->reported) {
            buf_append_str(out, separator);
            buf_append_json(out, task->attempt);
            separator = ", ";
        }
    }
    buf_append_byte(out, ']');
}

static int64_t running_count(const struct mr_worker_process *w)
{
    int64_t count = 0;
    LIST_FOR_EACH(node, &w->tasks)
    {
        const struct task *task = LIST_ENTRY(node, struct task, link);
        count += task->attempt && !task->reported;
    }
    return count;
}

void worker_metrics_tick(struct mr_worker_process *w)
{
    struct worker_metrics *x = &w->metrics;
    struct buf trouble = BUF_INIT;
    struct buf state = BUF_INIT;
    gauge_set(x->connected, w->heard != 0);
    gauge_set(x->slots, w->options.slots);
    gauge_set(x->slots_used, running_count(w));
    gauge_set(x->ready, (int64_t)ready_count(w));
    gauge_set(x->jobs, (int64_t)w->jobs.count);
    worker_say_trouble(w, &trouble);
    say_state(w, &state);
    metrics_take_report(x->registry, &trouble, &state, w->leaving);
}
