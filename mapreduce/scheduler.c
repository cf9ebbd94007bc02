/* The scheduler's events: workers and jobs come and go, attempts end. Picking is in
 * scheduler_pick.c.
 *
 * Invariants (scheduler_check): a task is PENDING, RUNNING with 1..2 attempts, or DONE; counts per
 * state add up; a worker's busy slots are the running attempts on it; a pending task stands in its
 * job's queues. Queues are lazy: a task that was taken through one of them stays in the others and
 * is skipped there, so that each push costs O(1) and each entry is met once. */
#include "mapreduce/scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "mapreduce/scheduler_state.h"

const struct sched_options sched_options_default = {
    .slowstart_percent = 50,
    .wait_ms_min = 50,
    .wait_ms_max = 3000,
    .backup_ms_min = 2000,
    .worker_failures_max = 3,
    .rest_ms_min = 1000,
    .rest_ms_max = 60ULL * 1000,
};

struct label_row {
    label_no no;
    char name[];
};

/* ---- Small parts ---- */

void sched_effects_clear(struct sched_effects *effects)
{
    effects->count = 0;
}

void sched_effects_deinit(struct sched_effects *effects)
{
    if (effects) {
        free(effects->items);
        memset(effects, 0, sizeof(*effects));
    }
}

void sched_effect_add(struct sched_effects *effects, const struct sched_effect *effect)
{
    if (effects->count == effects->capacity) {
        effects->capacity = effects->capacity ? 2 * effects->capacity : 16;
        effects->items =
            xreallocarray(effects->items, effects->capacity, sizeof(effects->items[0]));
    }
    effects->items[effects->count++] = *effect;
}

void task_queue_push(struct task_queue *q, uint32_t task)
{
    if (q->count == q->capacity) {
        q->capacity = q->capacity ? 2 * q->capacity : 8;
        q->tasks = xreallocarray(q->tasks, q->capacity, sizeof(q->tasks[0]));
    }
    q->tasks[q->count++] = task;
}

/* The number of a label, new or known. `space` keeps hosts ('h') and racks ('r') apart. */
static label_no label_intern(struct scheduler *s, char space, const char *name)
{
    size_t length = strlen(name);
    struct label_row *row = xmalloc(sizeof(*row) + length + 2);
    row->name[0] = space;
    memcpy(row->name + 1, name, length + 1);
    struct label_row *known = map_get_bytes(&s->labels, row->name, length + 1);
    if (known) {
        free(row);
        return known->no;
    }
    row->no = ++s->label_count;
    map_put_bytes(&s->labels, row->name, length + 1, row);
    if (s->label_count >= s->host_workers_capacity) {
        size_t old = s->host_workers_capacity;
        s->host_workers_capacity = old ? 2 * old : 64;
        s->host_workers =
            xreallocarray(s->host_workers, s->host_workers_capacity, sizeof(s->host_workers[0]));
        memset(s->host_workers + old, 0,
               (s->host_workers_capacity - old) * sizeof(s->host_workers[0]));
    }
    return row->no;
}

static struct sched_worker *find_worker(const struct scheduler *s, uint64_t id)
{
    for (size_t i = 0; i < s->worker_count; i++) {
        if (s->workers[i]->id == id) {
            return s->workers[i];
        }
    }
    return NULL;
}

static struct sched_job *find_job(const struct scheduler *s, uint64_t id)
{
    for (size_t i = 0; i < s->job_count; i++) {
        if (s->jobs[i]->id == id) {
            return s->jobs[i];
        }
    }
    return NULL;
}

void task_set_state(struct sched_job *job, enum sched_kind kind, struct sched_task *task,
                    enum task_state state)
{
    job->count[kind][task->state]--;
    task->state = state;
    job->count[kind][state]++;
}

/* Frees the slot of a running attempt. */
void task_attempt_end(struct scheduler *s, struct running_attempt *attempt)
{
    CHECK(attempt->worker->busy > 0);
    attempt->worker->busy--;
    s->busy--;
    attempt->worker = NULL;
}

time_ms worker_rest_ms(const struct scheduler *s, const struct sched_worker *w)
{
    time_ms rest = s->options.rest_ms_min;
    for (uint32_t i = 1; i < w->start_failures && rest < s->options.rest_ms_max; i++) {
        rest *= 2;
    }
    return rest < s->options.rest_ms_max ? rest : s->options.rest_ms_max;
}

/* Something that the worker was given has begun there. */
static void worker_can_start(struct sched_worker *w)
{
    w->start_failures = 0;
    w->rests_until = 0;
}

static uint32_t attempts_running(const struct sched_task *task)
{
    uint32_t n = 0;
    for (int i = 0; i < SCHED_RUNNING_MAX; i++) {
        n += task->running[i].worker != NULL;
    }
    return n;
}

struct running_attempt *sched_find_attempt(const struct scheduler *s, const struct sched_attempt *a,
                                           struct sched_job **ret_job, struct sched_task **ret_task)
{
    struct sched_job *job = find_job(s, a->job);
    if (!job || a->task >= job->task_count[a->kind]) {
        return NULL;
    }
    struct sched_task *task = &job->tasks[a->kind][a->task];
    for (int i = 0; i < SCHED_RUNNING_MAX; i++) {
        if (task->running[i].worker && task->running[i].number == a->number) {
            *ret_job = job;
            *ret_task = task;
            return &task->running[i];
        }
    }
    return NULL;
}

/* Kills every running attempt of a task. */
static void task_kill_attempts(struct scheduler *s, struct sched_attempt name,
                               struct sched_task *task, struct sched_effects *effects)
{
    for (int i = 0; i < SCHED_RUNNING_MAX; i++) {
        struct running_attempt *attempt = &task->running[i];
        if (attempt->worker) {
            name.number = attempt->number;
            struct sched_effect kill = {
                .kind = SCHED_KILL, .attempt = name, .worker = attempt->worker->id};
            task_attempt_end(s, attempt);
            sched_effect_add(effects, &kill);
        }
    }
}

static void task_requeue(struct sched_job *job, enum sched_kind kind, uint32_t number)
{
    task_set_state(job, kind, &job->tasks[kind][number], TASK_PENDING);
    job_enqueue(job, kind, number);
}

/* ---- Life ---- */

struct scheduler *scheduler_new(const struct sched_options *options)
{
    CHECK(options->slowstart_percent <= 100);
    struct scheduler *s = xcalloc(1, sizeof(*s));
    s->options = *options;
    map_init(&s->labels, 0);
    return s;
}

static void job_free(struct sched_job *job)
{
    for (int kind = SCHED_MAP; kind <= SCHED_REDUCE; kind++) {
        for (uint32_t i = 0; i < job->task_count[kind]; i++) {
            free(job->tasks[kind][i].places);
            task_skips_free(&job->tasks[kind][i]);
        }
    }
    free(job->tasks[SCHED_MAP]);
    free(job->tasks[SCHED_REDUCE]);
    job_queues_free(job);
    map_deinit(&job->worker_failures);
    free(job);
}

void scheduler_free(struct scheduler *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; i < s->job_count; i++) {
        job_free(s->jobs[i]);
    }
    for (size_t i = 0; i < s->worker_count; i++) {
        free(s->workers[i]);
    }
    MAP_FOR_EACH(it, &s->labels)
    {
        free(it.value);
    }
    map_deinit(&s->labels);
    free(s->host_workers);
    free(s->workers);
    free(s->jobs);
    free(s);
}

/* ---- Workers ---- */

void scheduler_add_worker(struct scheduler *s, const struct sched_worker_info *info)
{
    CHECK(find_worker(s, info->worker) == NULL);
    struct sched_worker *w = xcalloc(1, sizeof(*w));
    w->id = info->worker;
    w->host = label_intern(s, 'h', info->host);
    w->rack = label_intern(s, 'r', info->rack);
    w->slots = info->slots;
    if (s->worker_count == s->worker_capacity) {
        s->worker_capacity = s->worker_capacity ? 2 * s->worker_capacity : 16;
        s->workers = xreallocarray(s->workers, s->worker_capacity, sizeof(struct sched_worker *));
    }
    s->workers[s->worker_count++] = w;
    s->host_workers[w->host]++;
    s->slots += w->slots;
}

/* One task of a job when worker `w` is gone: its attempt there, or its finished output there if it
 * is still needed. */
static void task_lose_worker(struct scheduler *s, struct sched_job *job, struct sched_attempt name,
                             const struct sched_worker *w, struct sched_effects *effects)
{
    struct sched_task *task = &job->tasks[name.kind][name.task];
    for (int i = 0; i < SCHED_RUNNING_MAX; i++) {
        if (task->running[i].worker == w) {
            task_attempt_end(s, &task->running[i]);
            job->lost++;
        }
    }
    if (task->state == TASK_RUNNING && attempts_running(task) == 0) {
        task_requeue(job, name.kind, name.task);
    }
    bool needed = name.kind == SCHED_MAP &&
                  job->count[SCHED_REDUCE][TASK_DONE] < job->task_count[SCHED_REDUCE];
    if (task->state == TASK_DONE && task->done_worker == w->id && needed) {
        name.number = task->done_number;
        struct sched_effect gone = {.kind = SCHED_MAP_WITHDRAWN, .attempt = name, .worker = w->id};
        sched_effect_add(effects, &gone);
        job->lost++;
        job->all_maps_told = false;
        task_requeue(job, name.kind, name.task);
    }
}

void scheduler_remove_worker(struct scheduler *s, uint64_t worker, time_ms now,
                             struct sched_effects *effects)
{
    (void)now;
    struct sched_worker *w = find_worker(s, worker);
    if (!w) {
        return;
    }
    for (size_t j = 0; j < s->job_count; j++) {
        struct sched_job *job = s->jobs[j];
        for (int kind = SCHED_MAP; kind <= SCHED_REDUCE; kind++) {
            for (uint32_t t = 0; t < job->task_count[kind]; t++) {
                struct sched_attempt name = {
                    .job = job->id, .kind = (enum sched_kind)kind, .task = t};
                task_lose_worker(s, job, name, w, effects);
            }
        }
    }
    CHECK(w->busy == 0);
    s->slots -= w->slots;
    s->host_workers[w->host]--;
    size_t at = 0;
    while (s->workers[at] != w) {
        at++;
    }
    memmove(&s->workers[at], &s->workers[at + 1],
            (s->worker_count - at - 1) * sizeof(struct sched_worker *));
    s->worker_count--;
    free(w);
}

/* ---- Jobs ---- */

static void task_set_places(struct scheduler *s, struct sched_task *task,
                            const struct sched_map_info *info)
{
    task->place_count = info->host_count;
    if (info->host_count == 0) {
        return;
    }
    task->places = xreallocarray(NULL, 2 * (size_t)info->host_count, sizeof(task->places[0]));
    for (uint32_t i = 0; i < info->host_count; i++) {
        task->places[i] = label_intern(s, 'h', info->hosts[i]);
        task->places[info->host_count + i] = label_intern(s, 'r', info->racks[i]);
    }
}

void scheduler_add_job(struct scheduler *s, const struct sched_job_info *info, time_ms now)
{
    (void)now;
    CHECK(info->attempts_max > 0);
    CHECK(find_job(s, info->job) == NULL);
    struct sched_job *job = xcalloc(1, sizeof(*job));
    job->id = info->job;
    job->attempts_max = info->attempts_max;
    memcpy(job->skips_max, info->skips_max, sizeof(job->skips_max));
    job->blind = info->locality_blind;
    job->no_backups = info->no_backups;
    job->task_count[SCHED_MAP] = info->map_count;
    job->task_count[SCHED_REDUCE] = info->reduce_count;
    map_init(&job->by_host, 0);
    map_init(&job->by_rack, 0);
    map_init(&job->worker_failures, 0);
    for (int kind = SCHED_MAP; kind <= SCHED_REDUCE; kind++) {
        job->tasks[kind] = xcalloc(job->task_count[kind] + 1, sizeof(struct sched_task));
        job->count[kind][TASK_PENDING] = job->task_count[kind];
    }
    for (uint32_t t = 0; t < info->map_count; t++) {
        task_set_places(s, &job->tasks[SCHED_MAP][t], &info->maps[t]);
        job_enqueue(job, SCHED_MAP, t);
    }
    for (uint32_t t = 0; t < info->reduce_count; t++) {
        job_enqueue(job, SCHED_REDUCE, t);
    }
    if (s->job_count == s->job_capacity) {
        s->job_capacity = s->job_capacity ? 2 * s->job_capacity : 16;
        s->jobs = xreallocarray(s->jobs, s->job_capacity, sizeof(struct sched_job *));
    }
    size_t at = s->job_count++;
    while (at > 0 && s->jobs[at - 1]->id > job->id) {
        s->jobs[at] = s->jobs[at - 1];
        at--;
    }
    s->jobs[at] = job;
}

static void job_kill_all(struct scheduler *s, struct sched_job *job, struct sched_effects *effects)
{
    for (int kind = SCHED_MAP; kind <= SCHED_REDUCE; kind++) {
        for (uint32_t t = 0; t < job->task_count[kind]; t++) {
            struct sched_attempt name = {.job = job->id, .kind = (enum sched_kind)kind, .task = t};
            task_kill_attempts(s, name, &job->tasks[kind][t], effects);
        }
    }
}

static void job_forget(struct scheduler *s, struct sched_job *job)
{
    size_t at = 0;
    while (s->jobs[at] != job) {
        at++;
    }
    memmove(&s->jobs[at], &s->jobs[at + 1], (s->job_count - at - 1) * sizeof(struct sched_job *));
    s->job_count--;
    job_free(job);
}

void scheduler_remove_job(struct scheduler *s, uint64_t id, struct sched_effects *effects)
{
    struct sched_job *job = find_job(s, id);
    if (job) {
        job_kill_all(s, job, effects);
        job_forget(s, job);
    }
}

void scheduler_mark_done(struct scheduler *s, uint64_t id, enum sched_kind kind, uint32_t task)
{
    struct sched_job *job = find_job(s, id);
    CHECK(job != NULL);
    CHECK(task < job->task_count[kind]);
    CHECK(job->tasks[kind][task].state == TASK_PENDING);
    task_set_state(job, kind, &job->tasks[kind][task], TASK_DONE);
}

/* ---- Reports ---- */

void scheduler_progress(struct scheduler *s, const struct sched_attempt *attempt, uint32_t permille,
                        time_ms now)
{
    (void)now;
    struct sched_job *job = NULL;
    struct sched_task *task = NULL;
    struct running_attempt *running = sched_find_attempt(s, attempt, &job, &task);
    if (running && permille <= 1000) {
        running->permille = permille;
    }
    if (running && permille > 0) {
        worker_can_start(running->worker);
    }
}

/* Says what follows from one more task being done. */
static void job_tell_done(struct sched_job *job, struct sched_effects *effects)
{
    struct sched_effect effect = {.attempt = {.job = job->id}};
    bool maps_done = job->count[SCHED_MAP][TASK_DONE] == job->task_count[SCHED_MAP];
    if (maps_done && !job->all_maps_told) {
        job->all_maps_told = true;
        effect.kind = SCHED_ALL_MAPS_DONE;
        sched_effect_add(effects, &effect);
    }
    bool reduces_done = job->count[SCHED_REDUCE][TASK_DONE] == job->task_count[SCHED_REDUCE];
    bool map_only = job->task_count[SCHED_REDUCE] == 0;
    if (!job->done_told && (map_only ? maps_done : reduces_done)) {
        job->done_told = true;
        effect.kind = SCHED_JOB_DONE;
        sched_effect_add(effects, &effect);
    }
}

bool scheduler_map_found(struct scheduler *s, const struct sched_attempt *map, uint64_t worker,
                         struct sched_effects *effects, uint32_t *ret_number)
{
    struct sched_job *job = find_job(s, map->job);
    if (!job || map->task >= job->task_count[SCHED_MAP] || !find_worker(s, worker)) {
        return false;
    }
    struct sched_task *task = &job->tasks[SCHED_MAP][map->task];
    bool needed = job->count[SCHED_REDUCE][TASK_DONE] < job->task_count[SCHED_REDUCE];
    if (task->state == TASK_DONE || !needed) {
        return false;
    }
    struct sched_attempt name = {.job = job->id, .kind = SCHED_MAP, .task = map->task};
    task_kill_attempts(s, name, task, effects);
    name.number = task->next_number++;
    task->done_worker = worker;
    task->done_number = name.number;
    task_set_state(job, SCHED_MAP, task, TASK_DONE);
    struct sched_effect done = {.kind = SCHED_TASK_DONE, .attempt = name, .worker = worker};
    sched_effect_add(effects, &done);
    job_tell_done(job, effects);
    *ret_number = name.number;
    return true;
}

void scheduler_succeeded(struct scheduler *s, const struct sched_attempt *attempt, time_ms now,
                         struct sched_effects *effects)
{
    struct sched_job *job = NULL;
    struct sched_task *task = NULL;
    struct running_attempt *running = sched_find_attempt(s, attempt, &job, &task);
    if (!running) {
        return;
    }
    job_duration_add(job, attempt->kind, now - running->started);
    worker_can_start(running->worker);
    task->done_worker = running->worker->id;
    task->done_number = running->number;
    task_attempt_end(s, running);
    task_kill_attempts(s, *attempt, task, effects);
    task_set_state(job, attempt->kind, task, TASK_DONE);
    struct sched_effect done = {
        .kind = SCHED_TASK_DONE, .attempt = *attempt, .worker = task->done_worker};
    sched_effect_add(effects, &done);
    job_tell_done(job, effects);
}

/* One more failure of the task, and of the worker where it ran. */
static void task_blame(struct sched_job *job, struct sched_task *task, uint64_t worker)
{
    task->failures++;
    task->failed_on = worker;
    uintptr_t failures = (uintptr_t)map_get_u64(&job->worker_failures, worker);
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): a number, which nobody follows */
    map_put_u64(&job->worker_failures, worker, (void *)(failures + 1));
}

static void attempt_failed(struct scheduler *s, const struct sched_attempt *attempt, bool blame,
                           uint64_t record, struct sched_effects *effects)
{
    struct sched_job *job = NULL;
    struct sched_task *task = NULL;
    struct running_attempt *running = sched_find_attempt(s, attempt, &job, &task);
    if (!running) {
        return;
    }
    uint64_t worker = running->worker->id;
    worker_can_start(running->worker);
    job->failed += blame;
    bool blames_record =
        blame && task_blames_record(job, task, running, job->skips_max[attempt->kind], record);
    task_attempt_end(s, running);
    if (blame && !blames_record) {
        task_blame(job, task, worker);
    }
    if (task->failures >= job->attempts_max && !job->done_told) {
        job_kill_all(s, job, effects);
        struct sched_effect failed = {
            .kind = SCHED_JOB_FAILED, .attempt = *attempt, .worker = worker};
        sched_effect_add(effects, &failed);
        job_forget(s, job);
        return;
    }
    if (attempts_running(task) == 0) {
        task_requeue(job, attempt->kind, attempt->task);
    }
}

void scheduler_failed(struct scheduler *s, const struct sched_attempt *attempt, bool blame,
                      time_ms now, struct sched_effects *effects)
{
    (void)now;
    attempt_failed(s, attempt, blame, 0, effects);
}

void scheduler_failed_at(struct scheduler *s, const struct sched_attempt *attempt, uint64_t record,
                         time_ms now, struct sched_effects *effects)
{
    (void)now;
    attempt_failed(s, attempt, true, record, effects);
}

void scheduler_not_started(struct scheduler *s, const struct sched_attempt *attempt, time_ms now,
                           struct sched_effects *effects)
{
    (void)effects;
    struct sched_job *job = NULL;
    struct sched_task *task = NULL;
    struct running_attempt *running = sched_find_attempt(s, attempt, &job, &task);
    if (!running) {
        return;
    }
    struct sched_worker *w = running->worker;
    if (w->start_failures == 0 || running->started >= w->start_failed) {
        w->start_failures++;
        w->start_failed = now;
        w->rests_until = now + worker_rest_ms(s, w);
    }
    job->lost++;
    task_attempt_end(s, running);
    if (attempts_running(task) == 0) {
        task_requeue(job, attempt->kind, attempt->task);
    }
}

void scheduler_map_lost(struct scheduler *s, const struct sched_attempt *map, time_ms now,
                        struct sched_effects *effects)
{
    (void)now;
    struct sched_job *job = find_job(s, map->job);
    if (!job || map->task >= job->task_count[SCHED_MAP]) {
        return;
    }
    struct sched_task *task = &job->tasks[SCHED_MAP][map->task];
    if (task->state != TASK_DONE || task->done_number != map->number || job->done_told) {
        return;
    }
    struct sched_effect gone = {
        .kind = SCHED_MAP_WITHDRAWN, .attempt = *map, .worker = task->done_worker};
    gone.attempt.kind = SCHED_MAP;
    task->failed_on = task->done_worker;
    task->losses++;
    if (task->losses / SCHED_FETCH_LOSSES_PER_ATTEMPT >= job->attempts_max) {
        job_kill_all(s, job, effects);
        gone.kind = SCHED_JOB_FAILED;
        sched_effect_add(effects, &gone);
        job_forget(s, job);
        return;
    }
    sched_effect_add(effects, &gone);
    job->lost++;
    job->all_maps_told = false;
    task_requeue(job, SCHED_MAP, map->task);
}

/* ---- Looking ---- */

bool scheduler_counts(const struct scheduler *s, uint64_t id, struct sched_job_counts *ret)
{
    const struct sched_job *job = find_job(s, id);
    if (!job) {
        return false;
    }
    memset(ret, 0, sizeof(*ret));
    for (int kind = SCHED_MAP; kind <= SCHED_REDUCE; kind++) {
        ret->pending[kind] = job->count[kind][TASK_PENDING];
        ret->running[kind] = job->count[kind][TASK_RUNNING];
        ret->done[kind] = job->count[kind][TASK_DONE];
    }
    ret->backups = job->backups;
    ret->lost = job->lost;
    ret->failed = job->failed;
    return true;
}

uint32_t scheduler_free_slots(const struct scheduler *s)
{
    return s->slots - s->busy;
}

bool scheduler_avoids(const struct scheduler *s, uint64_t id, uint64_t worker)
{
    const struct sched_job *job = find_job(s, id);
    return job &&
           (uintptr_t)map_get_u64(&job->worker_failures, worker) >= s->options.worker_failures_max;
}

bool scheduler_cannot_start(const struct scheduler *s, uint64_t worker)
{
    const struct sched_worker *w = find_worker(s, worker);
    return w && w->start_failures > 0;
}

static void check_job(const struct sched_job *job, uint32_t *ret_running)
{
    for (int kind = SCHED_MAP; kind <= SCHED_REDUCE; kind++) {
        uint32_t count[3] = {0};
        for (uint32_t t = 0; t < job->task_count[kind]; t++) {
            const struct sched_task *task = &job->tasks[kind][t];
            uint32_t running = attempts_running(task);
            count[task->state]++;
            CHECK((task->state == TASK_RUNNING) == (running > 0));
            *ret_running += running;
        }
        CHECK(memcmp(count, job->count[kind], sizeof(count)) == 0);
    }
}

void scheduler_check(const struct scheduler *s)
{
    uint32_t busy = 0;
    uint32_t slots = 0;
    uint32_t running = 0;
    for (size_t i = 0; i < s->worker_count; i++) {
        CHECK(s->workers[i]->busy <= s->workers[i]->slots);
        busy += s->workers[i]->busy;
        slots += s->workers[i]->slots;
    }
    for (size_t j = 0; j < s->job_count; j++) {
        check_job(s->jobs[j], &running);
    }
    CHECK(busy == s->busy);
    CHECK(slots == s->slots);
    CHECK(running == s->busy);
}
