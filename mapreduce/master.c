/* mrmaster's heart: its life, and the pump that turns scheduler effects into messages and store
 * steps. */
#include "mapreduce/master.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "mapreduce/master_internal.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/store_err.h"

enum { STORE_THREADS = 4, TICK_MS = 1000 };

/* ---- Looking up ---- */

struct mr_job *master_find_number(struct mr_master *m, uint64_t number)
{
    LIST_FOR_EACH(node, &m->jobs)
    {
        struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        if (job->record.number == number) {
            return job;
        }
    }
    return NULL;
}

struct mr_job *master_find_job(struct mr_master *m, const char *id)
{
    LIST_FOR_EACH(node, &m->jobs)
    {
        struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        if (strcmp(job->record.job, id) == 0) {
            return job;
        }
    }
    return NULL;
}

struct user_dfs {
    struct dfs *dfs;
    char name[];
};

/* ---- What the store lets us wait for ---- */

struct told_waiting {
    struct mr_master *m;
    char text[];
};

static void waiting_on_owner(void *arg)
{
    struct told_waiting *t = arg;
    free(t->m->store_trouble);
    t->m->store_trouble = xstrdup(t->text);
    t->m->store_trouble_ms = clock_mono_ms();
    free(t);
}

/* On whichever thread waits. */
static void on_store_waiting(void *arg, const char *what)
{
    struct mr_master *m = arg;
    size_t length = strlen(what) + 1;
    struct told_waiting *t = xmalloc(sizeof(*t) + length);
    t->m = m;
    memcpy(t->text, what, length);
    rpc_loop_post(m->options.loop, waiting_on_owner, t);
}

const char *master_store_trouble(const struct mr_master *m)
{
    bool news = m->store_trouble && clock_mono_ms() - m->store_trouble_ms < MR_STORE_TROUBLE_MS;
    return news ? m->store_trouble : NULL;
}

struct dfs *master_user_dfs(struct mr_master *m, const char *user, struct err *e)
{
    struct user_dfs *known = map_get_str(&m->users, user);
    if (known) {
        return known->dfs;
    }
    struct dfs_err de = {0};
    struct dfs *dfs = NULL;
    struct dfs_options options = {.masters = m->options.masters,
                                  .user = user,
                                  .host = m->options.host,
                                  .rack = m->options.rack,
                                  .tls_ca = m->options.tls_ca,
                                  .tls_cert = m->options.tls_cert,
                                  .tls_key = m->options.tls_key,
                                  .waiting = on_store_waiting,
                                  .waiting_arg = m};
    if (dfs_connect(&options, &dfs, &de) < 0) {
        (void)err_from_dfs(e, &de, "connect to the store as %s", user);
        return NULL;
    }
    size_t length = strlen(user);
    struct user_dfs *row = xmalloc(sizeof(*row) + length + 1);
    row->dfs = dfs;
    memcpy(row->name, user, length + 1);
    map_put_str(&m->users, row->name, row);
    return dfs;
}

/* ---- The pump ---- */

static void carry_out_assign(struct mr_master *m, struct mr_job *job,
                             const struct sched_effect *effect)
{
    struct mr_worker *w = master_find_worker(m, effect->worker);
    CHECK(w != NULL);
    job_attempt_started(m, job, effect, w);
    worker_assign(m, w, job, effect);
}

static void carry_out_kill(struct mr_master *m, struct mr_job *job,
                           const struct sched_effect *effect)
{
    struct attempt_name name = {.fence = m->fence,
                                .job = effect->attempt.job,
                                .reduce = effect->attempt.kind == SCHED_REDUCE,
                                .task = effect->attempt.task,
                                .number = effect->attempt.number};
    char text[ATTEMPT_NAME_BYTES_MAX];
    attempt_name_format(&name, text);
    struct attempt_record *attempt = job ? map_get_str(&job->running, text) : NULL;
    if (!attempt) {
        return; /* its end was told in the same beat as what killed it */
    }
    struct mr_worker *w = master_find_worker(m, effect->worker);
    if (w) {
        worker_kill(w, text);
    }
    job_attempt_ended(m, job, attempt, "killed", NULL);
}

static void carry_out(struct mr_master *m, const struct sched_effect *effect)
{
    struct mr_job *job = master_find_number(m, effect->attempt.job);
    if (job) {
        job->changed = true;
    }
    switch (effect->kind) {
    case SCHED_ASSIGN:
        CHECK(job != NULL);
        carry_out_assign(m, job, effect);
        break;
    case SCHED_KILL:
        carry_out_kill(m, job, effect);
        break;
    case SCHED_MAP_WITHDRAWN:
        CHECK(job != NULL);
        counter_add(m->metrics.map_outputs_lost, 1);
        job_task_undone(job, &effect->attempt);
        job_note_map(job, effect->attempt.task);
        break;
    case SCHED_TASK_DONE:     /* the reporter has done it: it knows the sums */
    case SCHED_ALL_MAPS_DONE: /* reduces see it by the number of maps they have heard of */
        break;
    case SCHED_JOB_DONE:
        CHECK(job != NULL);
        step_commit(m, job);
        break;
    case SCHED_JOB_FAILED:
        CHECK(job != NULL);
        step_discard(m, job, JOB_STATE_FAILED);
        break;
    }
}

static void on_assign_timer(void *arg)
{
    master_pump(arg);
}

void master_pump(struct mr_master *m)
{
    if (m->draining) {
        return;
    }
    time_ms now = clock_mono_ms();
    time_ms wake = UINT64_MAX;
    do {
        for (size_t i = 0; i < m->effects.count; i++) {
            struct sched_effect effect = m->effects.items[i];
            carry_out(m, &effect);
        }
        sched_effects_clear(&m->effects);
        scheduler_assign(m->scheduler, now, &m->effects, &wake);
    } while (m->effects.count > 0);
    LIST_FOR_EACH_SAFE(node, &m->workers)
    {
        worker_flush(LIST_ENTRY(node, struct mr_worker, link));
    }
    watchers_tell_all(m);
    if (wake != UINT64_MAX) {
        rpc_timer_set(m->options.loop, &m->assign_timer, wake, on_assign_timer, m);
    }
}

/* Once a second: silent workers, jobs whose watchers want news, ended jobs past their time. */
static void on_tick(void *arg)
{
    struct mr_master *m = arg;
    time_ms now = clock_mono_ms();
    LIST_FOR_EACH_SAFE(node, &m->workers)
    {
        struct mr_worker *w = LIST_ENTRY(node, struct mr_worker, link);
        if (now - w->heard > m->options.worker_silent_ms) {
            worker_remove(m, w, "silent");
        } else if (now - w->told >= MR_TELL_MS && rpc_stream_writable(w->stream)) {
            w->out_used = true; /* of nothing, but it hears from us */
        }
    }
    if (now - m->fence_checked >= MR_FENCE_CHECK_MS) {
        master_check_fence(m);
    }
    roster_tick(m);
    time_ms wall = clock_wall_ms();
    LIST_FOR_EACH_SAFE(node, &m->jobs)
    {
        struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        bool old =
            job->ended && wall > job->ended_ms && wall - job->ended_ms > m->options.history_ms;
        if (old && list_empty(&job->watchers)) {
            step_forget(m, job);
        }
    }
    rpc_timer_set(m->options.loop, &m->tick_timer, now + TICK_MS, on_tick, m);
    master_pump(m);
    master_metrics_tick(m);
}

/* ---- Life ---- */

struct mr_master *mr_master_new(const struct mr_master_options *options)
{
    struct mr_master *m = xcalloc(1, sizeof(*m));
    m->options = *options;
    master_metrics_init(&m->metrics);
    m->next_job = 1;
    m->next_worker = 1;
    m->scheduler = scheduler_new(&sched_options_default);
    m->pool = workpool_new("store", STORE_THREADS, 4 * (size_t)JOB_COUNT_MAX);
    map_init(&m->users, 0);
    map_init(&m->roster, 0);
    list_init(&m->jobs);
    list_init(&m->workers);
    list_init(&m->strangers);
    return m;
}

void mr_master_free(struct mr_master *m)
{
    if (!m) {
        return;
    }
    m->draining = true;
    workpool_free(m->pool);
    while (rpc_loop_step(m->options.loop, 0)) { /* the ends of its last steps need us */
    }
    LIST_FOR_EACH_SAFE(node, &m->workers)
    {
        worker_free(LIST_ENTRY(node, struct mr_worker, link));
    }
    LIST_FOR_EACH_SAFE(node, &m->jobs)
    {
        job_free(LIST_ENTRY(node, struct mr_job, link));
    }
    MAP_FOR_EACH(it, &m->users)
    {
        struct user_dfs *row = it.value;
        dfs_disconnect(row->dfs);
        free(row);
    }
    map_deinit(&m->users);
    roster_free(m);
    free(m->store_trouble);
    sched_effects_deinit(&m->effects);
    scheduler_free(m->scheduler);
    dfs_disconnect(m->dfs);
    master_metrics_deinit(&m->metrics);
    free(m);
}

struct metrics *mr_master_metrics(struct mr_master *m)
{
    return m->metrics.registry;
}

static int keep_as_history(struct mr_master *m, struct mr_job *job, const struct job_found *found,
                           struct err *e)
{
    const struct job_status *status = &found->outcome->status;
    job->state = status->state;
    job->hidden_inode = found->outcome->hidden;
    job->ended_ms = status->ended_ms;
    job->ended = arena_alloc(&job->arena, sizeof(*job->ended));
    m->live_jobs--;
    int r = job_status_copy(status, &job->arena, job->ended, e);
    if (r == 0 && !found->settled) {
        step_settle(m, job, true);
    }
    return r;
}

/* Takes one job of the store up again, or keeps it as history. */
static int take_up(struct mr_master *m, const struct job_found *found, struct err *e)
{
    const struct job_record *record = &found->record;
    m->next_job = record->number >= m->next_job ? record->number + 1 : m->next_job;
    if (found->unreadable) {
        log_error("mrmaster",
                  "job left alone: dfs rm -r " MR_JOBS_DIRECTORY "/%s forgets it error=\"%s\"",
                  record->job, found->unreadable);
        return 0;
    }
    struct dfs *dfs = master_user_dfs(m, record->user, e);
    if (!dfs) {
        return e->code;
    }
    struct mr_job *job = job_new(m, record, dfs);
    if (found->outcome) {
        return keep_as_history(m, job, found, e);
    }
    log_info("mrmaster", "job taken up job=%s user=%s output=%s", job->record.job, job->record.user,
             job->record.spec.output);
    job->taken_up = true;
    step_recover(m, job);
    return 0;
}

/* The first of them was refused, and could not be removed then, or has been told its end: else the
 * other would not have been accepted for its output. */
static bool gives_way(const struct job_found *found, const struct job_found *later)
{
    return !found->outcome && !found->unreadable && !later->unreadable &&
           strcmp(found->record.spec.output, later->record.spec.output) == 0;
}

static int take_up_all(struct mr_master *m, const struct job_found *found, size_t count,
                       struct err *e)
{
    struct store_at at = {m->dfs, m->fence};
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        const struct job_found *later = NULL;
        for (size_t k = i + 1; k < count && !later && !found[i].outcome; k++) {
            later = gives_way(&found[i], &found[k]) ? &found[k] : NULL;
        }
        const struct job_record *record = &found[i].record;
        if (!later) {
            r = take_up(m, &found[i], e);
        } else if (strcmp(record->submission, later->record.submission) == 0) {
            r = job_notes_remove_record(at, record->job, e); /* tried again: the same uploads */
        } else {
            r = job_notes_remove(at, record, e);
        }
    }
    return r;
}

int mr_master_start(struct mr_master *m, struct err *e)
{
    struct dfs_options options = {.masters = m->options.masters,
                                  .user = m->options.tls_ca ? NULL : m->options.user,
                                  .host = m->options.host,
                                  .rack = m->options.rack,
                                  .tls_ca = m->options.tls_ca,
                                  .tls_cert = m->options.tls_cert,
                                  .tls_key = m->options.tls_key,
                                  .waiting = on_store_waiting,
                                  .waiting_arg = m};
    struct dfs_err de = {0};
    if (dfs_connect(&options, &m->dfs, &de) < 0) {
        return err_from_dfs(e, &de, "connect to the store");
    }
    log_info("mrmaster", "asking the store masters=%s", m->options.masters);
    int r = store_open(m->dfs, &m->fence, e);
    r = r < 0 ? r : roster_load(m, e);
    struct arena arena = ARENA_INIT;
    struct job_found *found = NULL;
    size_t count = 0;
    if (r == 0) {
        r = job_notes_list(m->dfs, &arena, &found, &count, e);
    }
    r = r < 0 ? r : take_up_all(m, found, count, e);
    arena_deinit(&arena);
    if (r == 0) {
        log_info("mrmaster", "fence raised epoch=%" PRIu64 " jobs=%zu live=%zu", m->fence, count,
                 m->live_jobs);
        master_store_answered(m);
        master_metrics_tick(m);
        rpc_timer_set(m->options.loop, &m->tick_timer, clock_mono_ms() + TICK_MS, on_tick, m);
    }
    return r;
}

void master_end_all(struct mr_master *m, int code, const char *text)
{
    m->draining = true;
    m->end_text = text;
    rpc_timer_cancel(m->options.loop, &m->assign_timer);
    rpc_timer_cancel(m->options.loop, &m->watch_timer);
    rpc_timer_cancel(m->options.loop, &m->tick_timer);
    LIST_FOR_EACH_SAFE(node, &m->workers)
    {
        rpc_stream_finish(LIST_ENTRY(node, struct mr_worker, link)->stream, code, text);
    }
    LIST_FOR_EACH_SAFE(node, &m->strangers)
    {
        rpc_stream_finish(LIST_ENTRY(node, struct mr_worker, link)->stream, code, text);
    }
    LIST_FOR_EACH(node, &m->jobs)
    {
        struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        watchers_end(job, code, text);
        killers_end(job, code, text);
    }
    master_metrics_tick(m);
}

bool mr_master_settle(struct mr_master *m, time_ms deadline)
{
    enum { LOOK_MS = 20 };
    m->draining = true;
    while (workpool_depth(m->pool) > 0 && clock_mono_ms() < deadline) {
        (void)rpc_loop_step(m->options.loop, MIN(deadline, clock_mono_ms() + LOOK_MS));
    }
    size_t left = workpool_depth(m->pool);
    if (left > 0) {
        log_warning("mrmaster",
                    "ends without waiting any longer: the store does not answer steps=%zu "
                    "said=\"%s\"",
                    left, m->store_trouble ? m->store_trouble : "nothing");
    }
    return left == 0;
}

void mr_master_drain(struct mr_master *m)
{
    master_end_all(m, ERR_UNAVAILABLE, "mrmaster stops");
}
