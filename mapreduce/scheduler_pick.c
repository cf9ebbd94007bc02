/* Who runs what: queues by place, the wait for a nearer slot, backups, and the one deadlock that
 * must be broken.
 *
 * Each pending map stands in the queue of each host and rack that holds its input, and in the queue
 * of all. A worker's question "is there a map on my host?" is one pop. Only when that fails does
 * the job wait: from the first refusal on, one wait for its rack, two for any (delay scheduling). A
 * launch on a host ends the wait, so a job that finds near work never goes far. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "mapreduce/scheduler_state.h"

#define NO_TASK UINT32_MAX

/* ---- Queues ---- */

static struct task_queue *place_queue(struct map *queues, label_no place)
{
    struct task_queue *q = map_get_u64(queues, place);
    if (!q) {
        q = xcalloc(1, sizeof(*q));
        map_put_u64(queues, place, q);
    }
    return q;
}

void job_enqueue(struct sched_job *job, enum sched_kind kind, uint32_t number)
{
    const struct sched_task *task = &job->tasks[kind][number];
    task_queue_push(&job->any[kind], number);
    if (kind != SCHED_MAP || job->blind) {
        return;
    }
    for (uint32_t i = 0; i < task->place_count; i++) {
        task_queue_push(place_queue(&job->by_host, task->places[i]), number);
        task_queue_push(place_queue(&job->by_rack, task->places[task->place_count + i]), number);
    }
}

void job_queues_free(struct sched_job *job)
{
    struct map *maps[] = {&job->by_host, &job->by_rack};
    for (int i = 0; i < 2; i++) {
        MAP_FOR_EACH(it, maps[i])
        {
            struct task_queue *q = it.value;
            free(q->tasks);
            free(q);
        }
        map_deinit(maps[i]);
    }
    free(job->any[SCHED_MAP].tasks);
    free(job->any[SCHED_REDUCE].tasks);
}

/* The first pending task of a queue that did not just fail on this worker; else the first pending
 * one if `also_failed`. Removes entries that are no longer pending as it meets them. */
static uint32_t queue_take(struct task_queue *q, const struct sched_task *tasks, uint64_t worker,
                           bool also_failed)
{
    while (q->head < q->count && tasks[q->tasks[q->head]].state != TASK_PENDING) {
        q->head++;
    }
    if (q->head == q->count) {
        q->head = q->count = 0;
        return NO_TASK;
    }
    for (size_t i = q->head; i < q->count; i++) {
        const struct sched_task *task = &tasks[q->tasks[i]];
        if (task->state == TASK_PENDING && task->failed_on != worker) {
            uint32_t number = q->tasks[i];
            q->tasks[i] = q->tasks[q->head++];
            return number;
        }
    }
    return also_failed ? q->tasks[q->head++] : NO_TASK;
}

static uint32_t place_take(struct map *queues, label_no place, const struct sched_task *tasks,
                           uint64_t worker)
{
    struct task_queue *q = map_get_u64(queues, place);
    return q ? queue_take(q, tasks, worker, false) : NO_TASK;
}

/* Undoes the latest queue_take(). */
static void queue_put_back(struct task_queue *q, uint32_t task)
{
    CHECK(q->head > 0);
    q->tasks[--q->head] = task;
}

/* Whether the job has another worker than this one that it does not avoid and that can start tasks.
 */
static bool has_other_worker(const struct scheduler *s, const struct sched_job *job,
                             uint64_t worker)
{
    for (size_t i = 0; i < s->worker_count; i++) {
        uint64_t id = s->workers[i]->id;
        uintptr_t failures = (uintptr_t)map_get_u64(&job->worker_failures, id);
        if (id != worker && s->workers[i]->slots > 0 && s->workers[i]->start_failures == 0 &&
            failures < s->options.worker_failures_max) {
            return true;
        }
    }
    return false;
}

/* Whether the job avoids a worker and has another one to go to. */
static bool job_avoids(const struct scheduler *s, const struct sched_job *job, uint64_t worker)
{
    uintptr_t failures = (uintptr_t)map_get_u64(&job->worker_failures, worker);
    return failures >= s->options.worker_failures_max && has_other_worker(s, job, worker);
}

/* ---- How long things take ---- */

void job_duration_add(struct sched_job *job, enum sched_kind kind, time_ms duration)
{
    uint32_t at = job->duration_count[kind]++ % SCHED_DURATIONS_MAX;
    job->durations[kind][at] = duration < UINT32_MAX ? (uint32_t)duration : UINT32_MAX;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Median of the latest durations; 0 when no task has ended yet. */
static time_ms duration_median(const struct sched_job *job, enum sched_kind kind)
{
    uint32_t sorted[SCHED_DURATIONS_MAX];
    uint32_t n = job->duration_count[kind];
    n = n < SCHED_DURATIONS_MAX ? n : SCHED_DURATIONS_MAX;
    if (n == 0) {
        return 0;
    }
    memcpy(sorted, job->durations[kind], n * sizeof(sorted[0]));
    qsort(sorted, n, sizeof(sorted[0]), compare_u32);
    return sorted[n / 2];
}

/* As long as a near worker needs to become free: one and a half maps, within bounds. */
static time_ms near_wait(const struct scheduler *s, const struct sched_job *job)
{
    time_ms wait = duration_median(job, SCHED_MAP) * 3 / 2;
    if (job->duration_count[SCHED_MAP] == 0 || wait > s->options.wait_ms_max) {
        return s->options.wait_ms_max;
    }
    return wait < s->options.wait_ms_min ? s->options.wait_ms_min : wait;
}

/* ---- Starting ---- */

static enum sched_locality locality_of(const struct sched_task *task, const struct sched_worker *w)
{
    if (task->place_count == 0) {
        return SCHED_NO_PREFERENCE;
    }
    enum sched_locality best = SCHED_ELSEWHERE;
    for (uint32_t i = 0; i < task->place_count; i++) {
        if (task->places[i] == w->host) {
            return SCHED_ON_HOST;
        }
        if (task->places[task->place_count + i] == w->rack) {
            best = SCHED_IN_RACK;
        }
    }
    return best;
}

struct start {
    struct sched_job *job;
    enum sched_kind kind;
    uint32_t task;
    struct sched_worker *worker;
    bool backup;
};

static void start_attempt(struct scheduler *s, const struct start *start, time_ms now,
                          struct sched_effects *effects)
{
    struct sched_task *task = &start->job->tasks[start->kind][start->task];
    struct running_attempt *slot = NULL;
    for (int i = 0; i < SCHED_RUNNING_MAX && !slot; i++) {
        slot = task->running[i].worker ? NULL : &task->running[i];
    }
    CHECK(slot != NULL);
    *slot = (struct running_attempt){.worker = start->worker,
                                     .number = task->next_number++,
                                     .started = now,
                                     .backup = start->backup,
                                     .skips = task->skip_count};
    start->worker->busy++;
    s->busy++;
    if (start->worker->start_failures > 0) { /* one try at a time */
        start->worker->rests_until = now + worker_rest_ms(s, start->worker);
    }
    if (task->state == TASK_PENDING) {
        task_set_state(start->job, start->kind, task, TASK_RUNNING);
    }
    start->job->backups += start->backup;
    struct sched_effect assign = {
        .kind = SCHED_ASSIGN,
        .attempt = {.job = start->job->id,
                    .kind = start->kind,
                    .task = start->task,
                    .number = slot->number},
        .worker = start->worker->id,
        .locality =
            start->kind == SCHED_MAP ? locality_of(task, start->worker) : SCHED_NO_PREFERENCE,
        .backup = start->backup,
    };
    sched_effect_add(effects, &assign);
}

/* ---- Maps ---- */

/* Whether a live worker is on a host that holds the task's input: only then is waiting worth it. */
static bool has_near_worker(const struct scheduler *s, const struct sched_task *task)
{
    for (uint32_t i = 0; i < task->place_count; i++) {
        if (s->host_workers[task->places[i]] > 0) {
            return true;
        }
    }
    return false;
}

/* The pending map that this worker should run now; NO_TASK when there is none, or when the job
 * should wait, until *ret_wake. */
static uint32_t pick_map(struct scheduler *s, struct sched_job *job, const struct sched_worker *w,
                         time_ms now, time_ms *ret_wake)
{
    struct sched_task *tasks = job->tasks[SCHED_MAP];
    uint32_t task = place_take(&job->by_host, w->host, tasks, w->id);
    if (task != NO_TASK) {
        job->waiting_since = 0;
        return task;
    }
    struct task_queue *any = &job->any[SCHED_MAP];
    task = queue_take(any, tasks, w->id, !has_other_worker(s, job, w->id));
    if (task == NO_TASK || job->blind || !has_near_worker(s, &tasks[task]) ||
        locality_of(&tasks[task], w) == SCHED_ON_HOST) { /* it failed here, and there is no other */
        return task;
    }
    if (job->waiting_since == 0) {
        job->waiting_since = now;
    }
    time_ms wait = near_wait(s, job);
    if (now - job->waiting_since >= 2 * wait) {
        return task;
    }
    uint32_t in_rack = NO_TASK;
    if (now - job->waiting_since >= wait) {
        in_rack = place_take(&job->by_rack, w->rack, tasks, w->id);
    }
    if (in_rack != task) {
        queue_put_back(any, task);
    }
    time_ms next = job->waiting_since + (now - job->waiting_since >= wait ? 2 * wait : wait);
    if (in_rack == NO_TASK && next < *ret_wake) {
        *ret_wake = next;
    }
    return in_rack;
}

/* ---- Reduces ---- */

static bool reduces_may_start(const struct scheduler *s, const struct sched_job *job)
{
    if (job->count[SCHED_REDUCE][TASK_PENDING] == 0) {
        return false;
    }
    uint32_t maps = job->task_count[SCHED_MAP];
    uint32_t done = job->count[SCHED_MAP][TASK_DONE];
    if (done == maps) {
        return true;
    }
    bool share = (uint64_t)done * 100 >= (uint64_t)maps * s->options.slowstart_percent;
    return share && job->count[SCHED_MAP][TASK_PENDING] == 0 && s->slots - s->busy > 1;
}

/* The worker on which every pending map failed last; 0 when there is no such one. */
static uint64_t pending_maps_shun(const struct sched_job *job)
{
    uint64_t shunned = 0;
    for (uint32_t t = 0; t < job->task_count[SCHED_MAP]; t++) {
        const struct sched_task *task = &job->tasks[SCHED_MAP][t];
        if (task->state != TASK_PENDING) {
            continue;
        }
        if (task->failed_on == 0 || (shunned != 0 && task->failed_on != shunned)) {
            return 0;
        }
        shunned = task->failed_on;
    }
    return shunned;
}

/* Whether a slot of this worker would help the job's pending maps. */
static bool takes_maps(const struct scheduler *s, const struct sched_job *job,
                       const struct sched_worker *w, uint64_t shunned)
{
    return !job_avoids(s, job, w->id) && (w->id != shunned || !has_other_worker(s, job, w->id));
}

static bool has_free_slot_for_maps(const struct scheduler *s, const struct sched_job *job,
                                   uint64_t shunned)
{
    for (size_t i = 0; i < s->worker_count; i++) {
        const struct sched_worker *w = s->workers[i];
        if (w->busy < w->slots && w->start_failures == 0 && takes_maps(s, job, w, shunned)) {
            return true;
        }
    }
    return false;
}

/* Which attempt of the job's reduces gives way: one whose task has another, for nothing is lost
 * with it; else the youngest. NULL: none has a slot that would help. */
static struct running_attempt *pick_victim(const struct scheduler *s, const struct sched_job *job,
                                           uint64_t shunned, struct sched_task **ret_task)
{
    struct running_attempt *victim = NULL;
    bool victim_paired = false;
    for (uint32_t t = 0; t < job->task_count[SCHED_REDUCE]; t++) {
        struct sched_task *task = &job->tasks[SCHED_REDUCE][t];
        bool paired = task->running[0].worker && task->running[1].worker;
        for (int i = 0; i < SCHED_RUNNING_MAX; i++) {
            struct running_attempt *a = &task->running[i];
            if (!a->worker || !takes_maps(s, job, a->worker, shunned)) {
                continue;
            }
            bool better =
                paired == victim_paired ? !victim || a->started > victim->started : paired;
            if (better) {
                victim = a;
                victim_paired = paired;
                *ret_task = task;
            }
        }
    }
    return victim;
}

/* Maps that were lost or failed wait while reduces, which wait for these maps, hold every slot that
 * could run them: one of those gives way. */
static void break_deadlock(struct scheduler *s, struct sched_job *job,
                           struct sched_effects *effects)
{
    if (job->count[SCHED_REDUCE][TASK_RUNNING] == 0 || job->count[SCHED_MAP][TASK_PENDING] == 0 ||
        job->count[SCHED_MAP][TASK_RUNNING] > 0) {
        return;
    }
    uint64_t shunned = pending_maps_shun(job);
    if (has_free_slot_for_maps(s, job, shunned)) {
        return;
    }
    struct sched_task *task = NULL;
    struct running_attempt *victim = pick_victim(s, job, shunned, &task);
    if (!victim) {
        return;
    }
    uint32_t number = (uint32_t)(task - job->tasks[SCHED_REDUCE]);
    struct sched_effect kill = {
        .kind = SCHED_KILL,
        .attempt = {job->id, SCHED_REDUCE, number, victim->number},
        .worker = victim->worker->id,
    };
    task_attempt_end(s, victim);
    if (!task->running[0].worker && !task->running[1].worker) {
        task_set_state(job, SCHED_REDUCE, task, TASK_PENDING);
        job_enqueue(job, SCHED_REDUCE, number);
    }
    sched_effect_add(effects, &kill);
}

/* ---- Backups (OSDI'04 section 3.6; remaining time as in LATE, OSDI'08) ---- */

/* Milliseconds an attempt will probably still need, by its own progress. */
static time_ms remaining(const struct running_attempt *a, time_ms now)
{
    time_ms age = now - a->started;
    uint32_t done = a->permille > 0 ? a->permille : 1;
    return age * (1000 - (done < 1000 ? done : 1000)) / done;
}

/* The running task of `kind` that a copy on `w` would probably overtake by most; NO_TASK: none. */
static uint32_t pick_backup(const struct scheduler *s, const struct sched_job *job,
                            enum sched_kind kind, const struct sched_worker *w, time_ms now)
{
    time_ms median = duration_median(job, kind);
    bool pending = job->count[kind][TASK_PENDING] > 0 || job->count[SCHED_MAP][TASK_PENDING] > 0;
    if (job->no_backups || job->duration_count[kind] == 0 || pending) {
        return NO_TASK; /* a copy of a reduce would wait for those maps too, and hold their slot */
    }
    uint32_t best = NO_TASK;
    time_ms best_remaining = median;
    for (uint32_t t = 0; t < job->task_count[kind]; t++) {
        const struct sched_task *task = &job->tasks[kind][t];
        const struct running_attempt *a =
            task->running[0].worker ? &task->running[0] : &task->running[1];
        bool alone =
            task->state == TASK_RUNNING && !(task->running[0].worker && task->running[1].worker);
        if (!alone || a->worker == w || task->failed_on == w->id) {
            continue;
        }
        time_ms age = now - a->started;
        time_ms left = remaining(a, now);
        if (age >= s->options.backup_ms_min && age > median * 3 / 2 && left > best_remaining) {
            best = t;
            best_remaining = left;
        }
    }
    return best;
}

/* ---- The round ---- */

/* Gives worker `w` one task of `job` if there is one for it. */
static bool offer(struct scheduler *s, struct sched_job *job, struct sched_worker *w, time_ms now,
                  struct sched_effects *effects, time_ms *ret_wake)
{
    struct start start = {.job = job, .kind = SCHED_MAP, .task = NO_TASK, .worker = w};
    if (job->count[SCHED_MAP][TASK_PENDING] > 0) {
        start.task = pick_map(s, job, w, now, ret_wake);
    }
    if (start.task == NO_TASK && reduces_may_start(s, job)) {
        start.kind = SCHED_REDUCE;
        start.task = queue_take(&job->any[SCHED_REDUCE], job->tasks[SCHED_REDUCE], w->id,
                                !has_other_worker(s, job, w->id));
    }
    for (int kind = SCHED_MAP; kind <= SCHED_REDUCE && start.task == NO_TASK; kind++) {
        start.kind = (enum sched_kind)kind;
        start.task = pick_backup(s, job, start.kind, w, now);
        start.backup = start.task != NO_TASK;
    }
    if (start.task == NO_TASK) {
        return false;
    }
    start_attempt(s, &start, now, effects);
    return true;
}

/* One slot of one worker: the first job in line that has something for it. */
static bool fill_slot(struct scheduler *s, struct sched_worker *w, time_ms now,
                      struct sched_effects *effects, time_ms *ret_wake)
{
    for (size_t j = 0; j < s->job_count; j++) {
        if (!job_avoids(s, s->jobs[j], w->id) && offer(s, s->jobs[j], w, now, effects, ret_wake)) {
            return true;
        }
    }
    return false;
}

/* Something runs that may need a backup later. */
static bool backups_possible(const struct scheduler *s)
{
    for (size_t j = 0; j < s->job_count; j++) {
        const struct sched_job *job = s->jobs[j];
        if (!job->no_backups &&
            (job->count[SCHED_MAP][TASK_RUNNING] || job->count[SCHED_REDUCE][TASK_RUNNING])) {
            return true;
        }
    }
    return false;
}

/* A slot of this worker may be filled now; one that rests will be asked again at *ret_wake. */
static bool has_slot(const struct scheduler *s, const struct sched_worker *w, time_ms now,
                     time_ms *ret_wake)
{
    if (w->busy >= w->slots) {
        return false;
    }
    bool rests = now < w->rests_until;
    if (rests && s->job_count > 0 && w->rests_until < *ret_wake) {
        *ret_wake = w->rests_until;
    }
    return !rests;
}

void scheduler_assign(struct scheduler *s, time_ms now, struct sched_effects *effects,
                      time_ms *ret_wake)
{
    *ret_wake = UINT64_MAX;
    for (size_t j = 0; j < s->job_count; j++) {
        break_deadlock(s, s->jobs[j], effects);
    }
    /* One slot of each worker per round, so that work spreads before it piles up. */
    bool placed = true;
    while (placed && s->busy < s->slots) {
        placed = false;
        for (size_t i = 0; i < s->worker_count; i++) {
            struct sched_worker *w = s->workers[(s->next_worker + i) % s->worker_count];
            placed |= has_slot(s, w, now, ret_wake) && fill_slot(s, w, now, effects, ret_wake);
        }
    }
    s->next_worker = s->worker_count ? (s->next_worker + 1) % s->worker_count : 0;
    if (backups_possible(s) && s->busy<s->slots && * ret_wake> now + 500) {
        *ret_wake = now + 500;
    }
}
