/* One job's books: attempts, sums of what counts, and the status that users see. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/macros.h"
#include "mapreduce/engine/counters.h"
#include "mapreduce/master_internal.h"
#include "mapreduce/mr_pack.h"

/* ---- Life ---- */

struct mr_job *job_new(struct mr_master *m, const struct job_record *record, struct dfs *dfs)
{
    struct mr_job *job = xcalloc(1, sizeof(*job));
    struct err e = ERR_INIT;
    arena_init(&job->arena, 0);
    int r = job_record_copy(record, &job->arena, &job->record, &e);
    CHECK(r == 0); /* it was decoded or checked just before */
    job->dfs = dfs;
    job->state = JOB_STATE_QUEUED;
    job->failure = xstrdup("");
    map_init(&job->running, 0);
    map_init(&job->by_name, 0);
    map_init(&job->counter_totals, 0);
    list_init(&job->attempts);
    list_init(&job->watchers);
    list_push_back(&m->jobs, &job->link);
    m->live_jobs++;
    return job;
}

static void attempt_free(struct attempt_record *attempt)
{
    free(attempt->host);
    free(attempt->address);
    free(attempt->error);
    free(attempt->stderr_tail);
    free(attempt);
}

void job_free(struct mr_job *job)
{
    list_remove(&job->link);
    LIST_FOR_EACH_SAFE(node, &job->attempts)
    {
        attempt_free(LIST_ENTRY(node, struct attempt_record, link));
    }
    MAP_FOR_EACH(it, &job->counter_totals)
    {
        struct counter_total *total = it.value;
        free(total->key);
        free(total);
    }
    uint32_t counts[2] = {job->plan.map_count, job->reduces};
    for (int kind = 0; kind < 2; kind++) {
        for (uint32_t t = 0; job->tasks[kind] && t < counts[kind]; t++) {
            free(job->tasks[kind][t].sum.counters.items);
        }
        free(job->tasks[kind]);
    }
    map_deinit(&job->running);
    map_deinit(&job->by_name);
    map_deinit(&job->counter_totals);
    free(job->committed_parts);
    free(job->map_news);
    free(job->failure);
    free(job->killers);
    arena_deinit(&job->plan_arena);
    arena_deinit(&job->arena);
    free(job);
}

/* ---- Into the scheduler ---- */

void job_run(struct mr_master *m, struct mr_job *job)
{
    job->state = JOB_STATE_RUNNING;
    job->started_ms = clock_wall_ms();
    job->tasks[SCHED_MAP] = xcalloc(job->plan.map_count + 1, sizeof(struct task_record));
    job->tasks[SCHED_REDUCE] = xcalloc(job->reduces + 1, sizeof(struct task_record));
    struct sched_map_info *maps = xcalloc(job->plan.map_count + 1, sizeof(*maps));
    for (uint32_t i = 0; i < job->plan.map_count; i++) {
        const struct job_map *map = &job->plan.maps[i];
        maps[i] = (struct sched_map_info){map->hosts, map->racks, map->host_count};
    }
    const struct job_spec *spec = &job->record.spec;
    struct sched_job_info info = {.job = job->record.number,
                                  .maps = maps,
                                  .map_count = job->plan.map_count,
                                  .reduce_count = job->reduces,
                                  .attempts_max = spec->attempts_max ? spec->attempts_max : 4,
                                  .skips_max = {spec->skip_records, spec->skip_groups},
                                  .locality_blind = spec->locality_blind,
                                  .no_backups = spec->speculative_off};
    scheduler_add_job(m->scheduler, &info, clock_mono_ms());
    free(maps);
    enum sched_kind last = job->reduces > 0 ? SCHED_REDUCE : SCHED_MAP;
    uint32_t last_count = job->reduces > 0 ? job->reduces : job->plan.map_count;
    uint32_t done = 0;
    for (size_t i = 0; i < job->committed_count; i++) {
        uint32_t t = job->committed_parts[i];
        if (t < last_count && job->tasks[last][t].permille < 1000) {
            scheduler_mark_done(m->scheduler, job->record.number, last, t);
            job->tasks[last][t].permille = 1000;
            done++;
        }
    }
    job_take_past(m, job);
    log_info("mrmaster",
             "job runs job=%s maps=%" PRIu32 " reduces=%" PRIu32 " bytes=%" PRIu64 " kept=%" PRIu32,
             job->record.job, job->plan.map_count, job->reduces, job->plan.bytes, done);
    if (done == last_count) {
        step_commit(m, job); /* also the job without input and without reduces */
    }
}

/* ---- Attempts ---- */

/* Keeps memory bounded: a task has a new latest attempt, and of a job with very many the one before
 * is forgotten. O(1), unlike a search for the oldest. */
static void attempt_forget(struct mr_job *job, struct attempt_record *old)
{
    if (old && old->ended_ms != 0 && job->attempt_count >= MR_ATTEMPTS_KEPT_MAX) {
        list_remove(&old->link);
        (void)map_remove_str(&job->by_name, old->name);
        attempt_free(old);
        job->attempt_count--;
    }
}

void job_attempt_started(struct mr_master *m, struct mr_job *job, const struct sched_effect *effect,
                         const struct mr_worker *worker)
{
    struct attempt_record *attempt = xcalloc(1, sizeof(*attempt));
    struct attempt_name name = {.fence = m->fence,
                                .job = effect->attempt.job,
                                .reduce = effect->attempt.kind == SCHED_REDUCE,
                                .task = effect->attempt.task,
                                .number = effect->attempt.number};
    attempt_name_format(&name, attempt->name);
    attempt->id = effect->attempt;
    attempt->worker = worker->id;
    attempt->host = xstrdup(worker->host);
    attempt->address = xstrdup(worker->address);
    attempt->locality = effect->locality;
    attempt->state = "running";
    attempt->started_ms = clock_wall_ms();
    attempt->error = xstrdup("");
    attempt->stderr_tail = xstrdup("");
    list_push_back(&job->attempts, &attempt->link);
    map_put_str(&job->by_name, attempt->name, attempt);
    map_put_str(&job->running, attempt->name, attempt);
    struct task_record *task = &job->tasks[effect->attempt.kind][effect->attempt.task];
    attempt_forget(job, task->latest);
    task->latest = attempt;
    job->attempt_count++;
    job->attempts_backup += effect->backup;
    master_metrics_started(&m->metrics, effect);
}

void job_attempt_ended(struct mr_master *m, struct mr_job *job, struct attempt_record *attempt,
                       const char *state, const struct attempt_end *end)
{
    master_metrics_ended(&m->metrics, attempt->id.kind, state);
    (void)map_remove_str(&job->running, attempt->name);
    attempt->state = state;
    attempt->ended_ms = clock_wall_ms();
    job->attempts_failed += strcmp(state, "failed") == 0;
    job->attempts_lost += strcmp(state, "lost") == 0;
    if (end) {
        free(attempt->error);
        free(attempt->stderr_tail);
        attempt->error = xstrdup(end->text);
        attempt->stderr_tail = xstrdup(end->code == 0 ? "" : end->stderr_tail);
    }
    job->changed = true;
}

/* The state as we spell it; a worker's word is only text. */
static const char *past_state(const char *text)
{
    static const char *const states[] = {"succeeded", "failed", "killed", "lost"};
    for (size_t i = 0; i < ARRAY_COUNT(states); i++) {
        if (strcmp(text, states[i]) == 0) {
            return states[i];
        }
    }
    return "lost";
}

static void set_text(char **text, const char *to)
{
    free(*text);
    *text = xstrdup(to);
}

static enum sched_locality locality_on(const struct mr_job *job, const struct attempt_name *name,
                                       const struct mr_worker *worker)
{
    const struct job_map *map = name->reduce ? NULL : &job->plan.maps[name->task];
    if (!map || map->host_count == 0) {
        return SCHED_NO_PREFERENCE;
    }
    enum sched_locality best = SCHED_ELSEWHERE;
    for (uint32_t i = 0; i < map->host_count && best != SCHED_ON_HOST; i++) {
        if (strcmp(map->hosts[i], worker->host) == 0) {
            best = SCHED_ON_HOST;
        } else if (strcmp(map->racks[i], worker->rack) == 0) {
            best = SCHED_IN_RACK;
        }
    }
    return best;
}

struct attempt_record *job_attempt_found(struct mr_job *job, const struct attempt_name *name,
                                         const struct past_attempt *past,
                                         const struct mr_worker *worker)
{
    struct attempt_record *attempt = map_get_str(&job->by_name, past->end.attempt);
    if (attempt) {
        job->attempts_lost -= strcmp(attempt->state, "lost") == 0;
    } else {
        attempt = xcalloc(1, sizeof(*attempt));
        attempt_name_format(name, attempt->name);
        attempt->id = (struct sched_attempt){.job = job->record.number,
                                             .kind = name->reduce ? SCHED_REDUCE : SCHED_MAP,
                                             .task = name->task,
                                             .number = UINT32_MAX}; /* none of this scheduler's */
        attempt->locality = locality_on(job, name, worker);
        attempt->started_ms = past->started_ms;
        list_push_back(&job->attempts, &attempt->link);
        map_put_str(&job->by_name, attempt->name, attempt);
        job->attempt_count++;
        job->attempts_failed += strcmp(past->state, "failed") == 0;
    }
    attempt->worker = worker->id;
    attempt->state = past_state(past->state);
    attempt->ended_ms = past->ended_ms;
    job->attempts_lost += strcmp(attempt->state, "lost") == 0;
    set_text(&attempt->host, worker->host);
    set_text(&attempt->address, worker->address);
    set_text(&attempt->error, past->end.text);
    set_text(&attempt->stderr_tail, past->end.code == 0 ? "" : past->end.stderr_tail);
    return attempt;
}

/* ---- Sums ---- */

/* A job has room for as many counters of its own as each of its tasks, so that its status and its
 * outcome stay within their limits. */
static struct counter_total *counter_total_new(struct mr_job *job, const struct buf *key,
                                               size_t group)
{
    size_t name = key->length - group - 2;
    const char *text = key->data;
    bool own =
        !counters_is_fixed((struct span){text, group}, (struct span){text + group + 1, name});
    if (group > MR_COUNTER_NAME_BYTES_MAX || name > MR_COUNTER_NAME_BYTES_MAX ||
        (own && job->own_counter_count == MR_COUNTERS_MAX)) {
        return NULL;
    }
    struct counter_total *total = xcalloc(1, sizeof(*total));
    total->key = xmalloc(key->length);
    memcpy(total->key, text, key->length);
    total->group = total->key;
    total->name = total->key + group + 1;
    job->own_counter_count += own;
    map_put_bytes(&job->counter_totals, total->key, key->length, total);
    return total;
}

/* NULL: the job has too many, and this one is dropped. */
static struct counter_total *counter_total(struct mr_job *job, const struct job_counter *counter)
{
    size_t group = strlen(counter->group);
    struct buf key = BUF_INIT;
    buf_append(&key, counter->group, group + 1);
    buf_append(&key, counter->name, strlen(counter->name) + 1);
    struct counter_total *total = map_get_bytes(&job->counter_totals, key.data, key.length);
    total = total ? total : counter_total_new(job, &key, group);
    buf_deinit(&key);
    return total;
}

/* Adds (sign 1) or takes back (-1) what a task gave. Unsigned, so that taking back is exact. */
static void job_add_sum(struct mr_job *job, const struct task_sum *sum, int sign)
{
    uint64_t s = (uint64_t)(int64_t)sign;
    for (size_t i = 0; i < sum->counters.count; i++) {
        struct counter_total *total = counter_total(job, &sum->counters.items[i]);
        CHECK(total != NULL); /* the sum has only those that there is room for */
        total->value =
            (int64_t)((uint64_t)total->value + s * (uint64_t)sum->counters.items[i].value);
    }
    struct job_locality *to = &job->locality;
    const struct job_locality *from = &sum->locality;
    to->tasks_host += s * from->tasks_host;
    to->tasks_rack += s * from->tasks_rack;
    to->tasks_remote += s * from->tasks_remote;
    to->bytes_host += s * from->bytes_host;
    to->bytes_rack += s * from->bytes_rack;
    to->bytes_remote += s * from->bytes_remote;
}

void job_task_done(struct mr_job *job, struct attempt_record *attempt,
                   const struct attempt_end *end)
{
    struct task_record *task = &job->tasks[attempt->id.kind][attempt->id.task];
    task->permille = 1000;
    task->latest = attempt;
    task->sum.locality = end->locality;
    if (attempt->id.kind == SCHED_MAP) {
        task->sum.locality.tasks_host = attempt->locality == SCHED_ON_HOST;
        task->sum.locality.tasks_rack = attempt->locality == SCHED_IN_RACK;
        task->sum.locality.tasks_remote = attempt->locality >= SCHED_ELSEWHERE;
    }
    free(task->sum.counters.items);
    task->sum.counters.count = 0;
    task->sum.counters.items = xcalloc(end->counters.count + 1, sizeof(struct job_counter));
    for (size_t i = 0; i < end->counters.count; i++) {
        const struct counter_total *total = counter_total(job, &end->counters.items[i]);
        if (total) {
            task->sum.counters.items[task->sum.counters.count++] =
                (struct job_counter){total->group, total->name, end->counters.items[i].value};
        }
    }
    job_add_sum(job, &task->sum, 1);
}

void job_task_undone(struct mr_job *job, const struct sched_attempt *id)
{
    struct task_record *task = &job->tasks[id->kind][id->task];
    job_add_sum(job, &task->sum, -1);
    free(task->sum.counters.items);
    memset(&task->sum, 0, sizeof(task->sum));
    task->permille = 0;
    if (task->latest) {
        task->latest->state = "lost";
        job->attempts_lost++;
    }
}

void job_note_map(struct mr_job *job, uint32_t map)
{
    if (job->map_news_count == job->map_news_capacity) {
        job->map_news_capacity = job->map_news_capacity ? 2 * job->map_news_capacity : 64;
        job->map_news =
            xreallocarray(job->map_news, job->map_news_capacity, sizeof(job->map_news[0]));
    }
    job->map_news[job->map_news_count++] = map;
}

/* ---- Status ---- */

void job_set_failure(struct mr_job *job, const struct attempt_record *attempt, const char *text)
{
    struct buf out = BUF_INIT;
    if (attempt) {
        if (attempt->stderr_tail[0]) {
            buf_append_str(&out, attempt->stderr_tail);
            if (out.data[out.length - 1] != '\n') {
                buf_append_byte(&out, '\n');
            }
        }
        buf_printf(&out, "%s on %s failed: %s", attempt->name, attempt->host, attempt->error);
    } else {
        buf_append_str(&out, text);
    }
    free(job->failure);
    job->failure = buf_detach(&out, NULL);
}

static uint32_t permille_of(const struct task_record *tasks, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += tasks[i].permille;
    }
    return count > 0 ? (uint32_t)(sum / count) : 1000;
}

static uint32_t done_of(const struct task_record *tasks, uint32_t count)
{
    uint32_t done = 0;
    for (uint32_t i = 0; tasks && i < count; i++) {
        done += tasks[i].permille == 1000;
    }
    return done;
}

static int by_group_and_name(const void *a, const void *b)
{
    const struct job_counter *x = a;
    const struct job_counter *y = b;
    int group = strcmp(x->group, y->group);
    return group != 0 ? group : strcmp(x->name, y->name);
}

static void status_counters(struct mr_job *job, struct arena *arena, struct job_counters *ret)
{
    ret->items = arena_calloc(arena, (job->counter_totals.count + 1) * sizeof(ret->items[0]));
    ret->count = 0;
    MAP_FOR_EACH(it, &job->counter_totals)
    {
        const struct counter_total *total = it.value;
        ret->items[ret->count++] = (struct job_counter){total->group, total->name, total->value};
    }
    if (ret->count > 0) {
        qsort(ret->items, ret->count, sizeof(ret->items[0]), by_group_and_name);
    }
}

static const char *why_waiting(struct mr_master *m, const struct mr_job *job,
                               const struct sched_job_counts *counts, struct arena *arena)
{
    const char *trouble = master_store_trouble(m);
    if (trouble) {
        return arena_printf(arena, "the store does not answer: %s", trouble);
    }
    if (job->awaits_workers) {
        return arena_printf(arena,
                            "mrmaster has restarted: %zu workers of before have not come back yet, "
                            "and may have finished maps",
                            m->awaited);
    }
    if (job->state == JOB_STATE_QUEUED) {
        return "splits are being planned";
    }
    if (job->state == JOB_STATE_COMMITTING) {
        return "the output is being committed";
    }
    if (job->state != JOB_STATE_RUNNING || counts->running[SCHED_MAP] ||
        counts->running[SCHED_REDUCE]) {
        return "";
    }
    if (list_empty(&m->workers)) {
        return "no worker is alive";
    }
    const struct mr_worker *troubled = NULL;
    bool free_slot = false;
    LIST_FOR_EACH(node, &m->workers)
    {
        const struct mr_worker *w = LIST_ENTRY(node, struct mr_worker, link);
        bool cannot = scheduler_cannot_start(m->scheduler, w->id);
        troubled = cannot ? w : troubled;
        free_slot |= !cannot && w->busy < w->slots;
    }
    if (!free_slot && troubled) {
        return arena_printf(arena, "no worker that has a free slot can start tasks: %s says \"%s\"",
                            troubled->host, troubled->trouble);
    }
    if (!free_slot) {
        return "all slots are taken by other jobs";
    }
    return "a slot near the input will be free soon";
}

void job_status(struct mr_master *m, struct mr_job *job, struct arena *arena,
                struct job_status *ret)
{
    if (job->ended) {
        *ret = *job->ended;
        return;
    }
    struct sched_job_counts counts = {0};
    (void)scheduler_counts(m->scheduler, job->record.number, &counts);
    *ret = (struct job_status){
        .job = job->record.job,
        .state = job->state,
        .name = job->record.spec.name,
        .user = job->record.user,
        .output = job->record.spec.output,
        .submitted_ms = job->record.submitted_ms,
        .started_ms = job->started_ms,
        .ended_ms = job->ended_ms,
        .maps = job->plan.map_count,
        .maps_done = done_of(job->tasks[SCHED_MAP], job->plan.map_count),
        .maps_running = counts.running[SCHED_MAP],
        .reduces = job->reduces,
        .reduces_done = done_of(job->tasks[SCHED_REDUCE], job->reduces),
        .reduces_running = counts.running[SCHED_REDUCE],
        .attempts_failed = job->attempts_failed,
        .attempts_lost = job->attempts_lost,
        .attempts_backup = job->attempts_backup,
        .locality = job->locality,
        .failure = job->failure,
        .waiting = why_waiting(m, job, &counts, arena),
    };
    if (job->tasks[SCHED_MAP]) {
        ret->map_permille = permille_of(job->tasks[SCHED_MAP], job->plan.map_count);
        ret->reduce_permille = permille_of(job->tasks[SCHED_REDUCE], job->reduces);
    }
    status_counters(job, arena, &ret->counters);
}
