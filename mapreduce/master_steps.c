/* Steps in the store: started by the owner, run on a worker thread on nothing but their own struct,
 * and finished by the owner again.
 *
 *   submit:  check, record, reserve -> the submitter is answered -> plan -> the job runs
 *   recover: reserve again and find committed parts -> plan -> the job runs
 *   commit:  outcome, rename                 discard: outcome, remove the hidden directory
 *
 * Two steps are taken aside, and nobody waits for them: the mark, _SUCCESS, is made while tasks
 * run, and a job that has ended is settled.
 *
 * A step of an accepted job that fails because the store is away is tried again until it succeeds:
 * at a job's end the outcome is decided, and only the store can say so. One that fails because the
 * fence has been passed ends this mrmaster: the job is another's now, and goes on there. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "mapreduce/master_internal.h"
#include "mapreduce/mr_pack.h"
#include "mapreduce/store_err.h"

enum step_kind {
    STEP_SUBMIT,
    STEP_RECOVER,
    STEP_PLAN,
    STEP_MARK,
    STEP_COMMIT,
    STEP_DISCARD,
    STEP_SETTLE,
    STEP_FORGET,
};

struct step {
    struct job work;
    enum step_kind kind;
    struct mr_master *m;
    uint64_t number;                 /* of the job, looked up again when the step is done */
    const struct job_record *record; /* the job's, which outlives its steps */
    struct store_at system;          /* under the master's name */
    struct store_at user;            /* under the job's user's */
    struct rpc_call *call;           /* SUBMIT: to answer */
    struct buf packed;               /* SUBMIT: the record, with small files */
    bool refused;                    /* SUBMIT: and nothing was written */
    bool left;                       /* SUBMIT: refused, but what was written stands */
    uint64_t hidden_inode;
    bool marked;            /* COMMIT: _SUCCESS is there */
    struct plan_note noted; /* RECOVER, PLAN: by an earlier start; slots 0: not */
    uint32_t slots;
    struct arena arena; /* of the results */
    struct job_plan plan;
    uint32_t reduces;           /* PLAN */
    uint64_t plan_id;           /* PLAN */
    uint32_t *parts;            /* RECOVER: found committed; goes to the job */
    size_t part_count;          /* PLAN: those of the job; 0 afterwards if they do not fit it */
    struct job_outcome outcome; /* COMMIT, DISCARD, SETTLE: to note; no job: it is noted */
    struct rpc_timer retry;
    int code;
    struct err err;
};

static void step_done(void *arg);

/* ---- On a worker ---- */

static void run_submit(struct step *s)
{
    const struct job_record *record = s->record;
    s->code = store_check_uploads(s->user.dfs, record->submission, &record->spec, &s->err);
    if (s->code == 0) {
        s->code = store_check_submission(s->user.dfs, &record->spec, &s->err);
    }
    if (s->code < 0) {
        s->refused = true;
        return;
    }
    s->code = job_notes_write_record(s->system, s->record->job,
                                     (struct span){s->packed.data, s->packed.length}, &s->err);
    if (s->code == 0) {
        s->code = store_reserve(s->user, &s->record->spec, true, &s->hidden_inode, &s->err);
    }
    if (s->code < 0) {
        struct err e = ERR_INIT;
        s->left = job_notes_remove(s->system, s->record, &e) < 0;
        if (s->left) { /* the next start takes it up, unless its output is another's by then */
            log_warning("mrmaster", "refused job not removed error=\"%s\"", err_message(&e));
        }
    }
}

static void run_recover(struct step *s)
{
    const char *job = s->record->job;
    s->code = job_notes_drop_outcome(s->system, job, &s->err);
    if (s->code == 0) {
        s->code = job_notes_read_plan(s->system.dfs, job, &s->noted, &s->err);
        s->code = s->code == ERR_NOT_FOUND ? 0 : s->code;
        s->hidden_inode = s->noted.hidden; /* which goes if it cannot be reserved again */
    }
    if (s->code == 0) { /* before there is a plan nothing there can be its own */
        bool fresh = s->noted.slots == 0;
        s->code = store_reserve(s->user, &s->record->spec, fresh, &s->hidden_inode, &s->err);
    }
    if (s->code == 0) {
        s->code =
            store_find_committed(s->user, &s->record->spec, &s->parts, &s->part_count, &s->err);
    }
}

/* As the job says; else enough to use every slot, but no reduce for less than a megabyte or so of
 * input. */
static uint32_t choose_reduces(const struct job_spec *spec, uint64_t bytes, uint32_t slots)
{
    enum { BYTES_PER_REDUCE = 8 * 1024 * 1024 };
    if (spec->map_only) {
        return 0;
    }
    if (spec->reduces > 0) {
        return spec->reduces;
    }
    uint64_t by_size = bytes / BYTES_PER_REDUCE + 1;
    uint64_t reduces = by_size < slots ? by_size : slots;
    return (uint32_t)(reduces < JOB_REDUCE_COUNT_MAX ? reduces : JOB_REDUCE_COUNT_MAX);
}

/* The parts that were committed before a restart belong to another plan (the input has changed):
 * they go, and everything is made again. */
static int void_parts(struct step *s)
{
    log_warning("mrmaster", "committed parts do not fit and are made again job=%s parts=%zu",
                s->record->job, s->part_count);
    int r = store_reserve(s->user, &s->record->spec, true, &s->hidden_inode, &s->err);
    s->part_count = r < 0 ? s->part_count : 0; /* or they go when this is tried again */
    return r;
}

/* Plans as the note of an earlier start says, so that parts committed then mean the same bytes. */
static void run_plan(struct step *s)
{
    const struct plan_note *noted = &s->noted;
    uint32_t slots = noted->slots > 0 ? noted->slots : s->slots;
    slots = slots > 0 ? slots : 1;
    s->code = store_plan(s->user.dfs, &s->record->spec, slots, &s->arena, &s->plan, &s->err);
    if (s->code < 0) {
        return;
    }
    s->reduces = choose_reduces(&s->record->spec, s->plan.bytes, slots);
    uint64_t digest = plan_digest(&s->plan);
    s->plan_id = hash_u64(digest ^ s->reduces);
    bool same = noted->slots == slots && noted->reduces == s->reduces && noted->digest == digest &&
                noted->hidden == s->hidden_inode;
    if (!same && s->part_count > 0) {
        s->code = void_parts(s);
    }
    if (!same && s->code == 0) {
        struct plan_note note = {slots, s->reduces, digest, s->hidden_inode};
        s->code = job_notes_write_plan(s->system, s->record->job, &note, &s->err);
    }
}

static void run_settle(struct step *s)
{
    if (s->outcome.status.job) {
        s->code = job_notes_write_outcome(s->system, &s->outcome, false, &s->err);
    }
    if (s->code == 0) {
        s->code = job_notes_settle(s->system, s->record->job, &s->err);
    }
}

static void step_run(struct job *work)
{
    struct step *s = CONTAINER_OF(work, struct step, work);
    const struct job_spec *spec = &s->record->spec;
    switch (s->kind) {
    case STEP_SUBMIT:
        run_submit(s);
        break;
    case STEP_RECOVER:
        run_recover(s);
        break;
    case STEP_PLAN:
        run_plan(s);
        break;
    case STEP_MARK:
        s->code = store_mark_success(s->user, spec, s->hidden_inode, &s->err);
        break;
    case STEP_COMMIT:
        s->code = store_commit(s->system, s->user, spec, &s->outcome, s->marked, &s->err);
        break;
    case STEP_DISCARD:
        s->code = store_discard(s->system, s->user, spec, &s->outcome, &s->err);
        break;
    case STEP_SETTLE:
        run_settle(s);
        break;
    case STEP_FORGET:
        s->code = job_notes_remove(s->system, s->record, &s->err);
        break;
    }
    struct err e = ERR_INIT;
    if (s->code == ERR_PRECONDITION && store_check_fence(s->system, &e) == ERR_FENCED) {
        s->code = ERR_FENCED;
        s->err = e;
    }
    rpc_loop_post(s->m->options.loop, step_done, s);
}

/* ---- On the owner ---- */

static struct step *step_new(struct mr_master *m, struct mr_job *job, enum step_kind kind)
{
    struct step *s = xcalloc(1, sizeof(*s));
    s->work.run = step_run;
    s->kind = kind;
    s->m = m;
    s->number = job->record.number;
    s->record = &job->record;
    s->system = (struct store_at){m->dfs, m->fence};
    s->user = (struct store_at){job->dfs, m->fence};
    s->hidden_inode = job->hidden_inode;
    s->marked = job->marked;
    arena_init(&s->arena, 0);
    buf_init(&s->packed);
    return s;
}

static void step_free(struct step *s)
{
    arena_deinit(&s->arena);
    buf_deinit(&s->packed);
    free(s->parts);
    free(s);
}

static void step_again(void *arg);

static void step_later(struct step *s)
{
    rpc_timer_set(s->m->options.loop, &s->retry, clock_mono_ms() + MR_STORE_RETRY_MS, step_again,
                  s);
}

static void step_start(struct step *s)
{
    s->code = 0;
    s->err = (struct err)ERR_INIT;
    if (workpool_submit(s->m->pool, &s->work, NULL) < 0) {
        step_later(s); /* a start has found very many jobs */
    }
}

static void step_again(void *arg)
{
    struct step *s = arg;
    if (!s->m->draining) {
        step_start(s);
        return;
    }
    if (s->call) {
        rpc_call_finish(s->call, ERR_UNAVAILABLE, "mrmaster stops");
    }
    step_free(s);
}

/* The store was away: the same step later. True if it will be tried. */
static bool step_retry(struct step *s)
{
    if (!store_is_away(s->code) || s->m->draining) {
        return false;
    }
    counter_add(s->m->metrics.store_retries, 1);
    log_warning("mrmaster", "step tried again job=%s error=\"%s\"", s->record->job,
                err_message(&s->err));
    step_later(s);
    return true;
}

/* Nothing waits for it, but it must find its job when it is done. */
static void aside_start(struct mr_job *job, struct step *s)
{
    job->asides++;
    step_start(s);
}

static void plan_start(struct mr_master *m, struct mr_job *job)
{
    struct step *s = step_new(m, job, STEP_PLAN);
    s->part_count = job->committed_count;
    s->noted = job->noted;
    LIST_FOR_EACH(node, &m->workers)
    {
        s->slots += LIST_ENTRY(node, struct mr_worker, link)->slots;
    }
    step_start(s);
}

static void submit_done(struct mr_master *m, struct mr_job *job, struct step *s)
{
    if (s->code < 0) {
        int code =
            s->left ? err_wrap(&s->err, ERR_UNKNOWN, "the job may yet be accepted") : s->code;
        rpc_call_finish(s->call, code, err_message(&s->err));
        watchers_end(job, code, err_message(&s->err));
        killers_end(job, code, err_message(&s->err));
        bool unused = s->refused && job->record.number + 1 == m->next_job;
        m->next_job -= unused; /* nobody has seen this number */
        m->live_jobs--;
        job_free(job);
        return;
    }
    job->hidden_inode = s->hidden_inode;
    counter_add(m->metrics.jobs_submitted, 1);
    submit_answer(s->call, job);
    log_info("mrmaster", "job submitted job=%s user=%s output=%s", job->record.job,
             job->record.user, job->record.spec.output);
    if (!m->draining) {
        plan_start(m, job);
    }
}

static void recover_done(struct mr_master *m, struct mr_job *job, struct step *s)
{
    job->hidden_inode = s->hidden_inode;
    if (s->code < 0) {
        job_set_failure(job, NULL, err_message(&s->err));
        step_discard(m, job, JOB_STATE_FAILED);
        return;
    }
    job->committed_parts = s->parts;
    s->parts = NULL;
    job->committed_count = s->part_count;
    job->noted = s->noted;
    job->awaits_workers = m->awaited > 0;
    if (!job->awaits_workers) {
        plan_start(m, job);
    }
}

void steps_go_on(struct mr_master *m)
{
    LIST_FOR_EACH(node, &m->jobs)
    {
        struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        if (job->awaits_workers) {
            job->awaits_workers = false;
            job->changed = true;
            plan_start(m, job);
        }
    }
}

static void plan_done(struct mr_master *m, struct mr_job *job, struct step *s)
{
    job->hidden_inode = s->hidden_inode;
    if (job->kill_wanted) {
        step_discard(m, job, JOB_STATE_KILLED);
        return;
    }
    if (s->code < 0) {
        job_set_failure(job, NULL, err_message(&s->err));
        step_discard(m, job, JOB_STATE_FAILED);
        return;
    }
    job->plan = s->plan;
    job->reduces = s->reduces;
    job->plan_id = s->plan_id;
    job->committed_count = s->part_count;
    job->plan_arena = s->arena;
    arena_init(&s->arena, 0);
    job_run(m, job);
    if (job->state == JOB_STATE_RUNNING) {
        aside_start(job, step_new(m, job, STEP_MARK));
    }
}

/* Commit makes the mark itself if this has not come so far, or has failed. */
static void mark_done(struct mr_job *job, const struct step *s)
{
    job->asides--;
    job->marked = s->code == 0 && s->hidden_inode == job->hidden_inode;
}

/* The outcome has come true: the job is history. After an error that stays it is told all the same.
 */
static void end_done(struct mr_job *job, struct step *s)
{
    if (s->code < 0) {
        log_error("mrmaster", "end not carried out job=%s error=\"%s\"", job->record.job,
                  err_message(&s->err));
    }
    job->state = s->outcome.status.state;
    job->discarding = false;
    struct err e = ERR_INIT;
    job->ended = arena_alloc(&job->arena, sizeof(*job->ended));
    int r = job_status_copy(&s->outcome.status, &job->arena, job->ended, &e);
    CHECK(r == 0);
    log_info("mrmaster", "job ended job=%s state=%s ms=%" PRIu64, job->record.job,
             job_state_name(job->state), job->ended_ms - job->record.submitted_ms);
    s->m->live_jobs--;
    counter_add(s->m->metrics.jobs_ended[job->state], 1);
    LIST_FOR_EACH(node, &s->m->workers)
    {
        struct mr_worker *w = LIST_ENTRY(node, struct mr_worker, link);
        worker_forget_job(w, job);
    }
    killers_answer(job);
    watchers_tell(s->m, job);
    if (s->code == 0) {
        step_settle(s->m, job, false);
    }
}

static void commit_done(struct mr_master *m, struct mr_job *job, struct step *s)
{
    if (s->code < 0) {
        job_set_failure(job, NULL, err_message(&s->err));
        step_discard(m, job, JOB_STATE_FAILED);
        return;
    }
    end_done(job, s);
}

/* If not, the next start does it. */
static void settle_done(struct mr_job *job, const struct step *s)
{
    job->asides--;
    if (s->code < 0) {
        log_warning("mrmaster", "end not settled job=%s error=\"%s\"", job->record.job,
                    err_message(&s->err));
    }
}

/* Forgotten in any case: what stays in the store is found, and forgotten again, at the next start.
 */
static void forget_done(struct mr_master *m, struct mr_job *job, const struct step *s)
{
    m->forgetting--;
    if (s->code < 0) {
        log_warning("mrmaster", "old job not removed job=%s error=\"%s\"", job->record.job,
                    err_message(&s->err));
    }
    job_free(job);
}

static void step_done(void *arg)
{
    struct step *s = arg;
    struct mr_master *m = s->m;
    struct mr_job *job = master_find_number(m, s->number);
    CHECK(job != NULL);
    if (s->code == ERR_FENCED) {
        if (s->kind == STEP_SUBMIT) {
            rpc_call_finish(s->call, ERR_NOT_LEADER, "this mrmaster was deposed by another one");
        }
        master_deposed(m, err_message(&s->err));
        step_free(s);
        return;
    }
    if (m->draining && s->kind != STEP_SUBMIT) {
        step_free(s); /* the next start settles the job */
        return;
    }
    bool must_end = s->kind == STEP_COMMIT || s->kind == STEP_DISCARD || s->kind == STEP_RECOVER ||
                    s->kind == STEP_SETTLE || (s->kind == STEP_PLAN && !job->kill_wanted);
    if (s->code < 0 && must_end && step_retry(s)) {
        return;
    }
    job->changed = true;
    switch (s->kind) {
    case STEP_SUBMIT:
        submit_done(m, job, s);
        break;
    case STEP_RECOVER:
        recover_done(m, job, s);
        break;
    case STEP_PLAN:
        plan_done(m, job, s);
        break;
    case STEP_MARK:
        mark_done(job, s);
        break;
    case STEP_COMMIT:
        commit_done(m, job, s);
        break;
    case STEP_DISCARD:
        end_done(job, s);
        break;
    case STEP_SETTLE:
        settle_done(job, s);
        break;
    case STEP_FORGET:
        forget_done(m, job, s);
        break;
    }
    step_free(s);
    master_pump(m);
}

/* ---- Starting them ---- */

void step_submit(struct mr_master *m, struct mr_job *job, struct rpc_call *call, struct buf *record)
{
    struct step *s = step_new(m, job, STEP_SUBMIT);
    s->call = call;
    s->packed = *record;
    buf_init(record);
    step_start(s);
}

void step_recover(struct mr_master *m, struct mr_job *job)
{
    step_start(step_new(m, job, STEP_RECOVER));
}

static void step_set_outcome(struct step *s, struct mr_job *job, enum job_state state)
{
    enum job_state now = job->state;
    job->ended_ms = clock_wall_ms();
    job->state = state;
    struct job_status status;
    struct arena arena = ARENA_INIT;
    struct err e = ERR_INIT;
    job_status(s->m, job, &arena, &status);
    status.waiting = "";
    status.failure = state == JOB_STATE_FAILED ? status.failure : "";
    int r = job_status_copy(&status, &s->arena, &s->outcome.status, &e);
    CHECK(r == 0);
    s->outcome.hidden = job->hidden_inode;
    arena_deinit(&arena);
    job->state = now;
}

void step_commit(struct mr_master *m, struct mr_job *job)
{
    CHECK(job->state != JOB_STATE_COMMITTING);
    struct step *s = step_new(m, job, STEP_COMMIT);
    step_set_outcome(s, job, JOB_STATE_SUCCEEDED);
    job->state = JOB_STATE_COMMITTING;
    scheduler_remove_job(m->scheduler, job->record.number, &m->effects);
    step_start(s);
}

void step_discard(struct mr_master *m, struct mr_job *job, enum job_state state)
{
    if (job->discarding) {
        return;
    }
    job->discarding = true;
    struct step *s = step_new(m, job, STEP_DISCARD);
    step_set_outcome(s, job, state);
    scheduler_remove_job(m->scheduler, job->record.number, &m->effects);
    step_start(s);
}

void step_settle(struct mr_master *m, struct mr_job *job, bool again)
{
    struct step *s = step_new(m, job, STEP_SETTLE);
    if (again) {
        s->outcome = (struct job_outcome){job->hidden_inode, *job->ended};
    }
    aside_start(job, s);
}

void step_forget(struct mr_master *m, struct mr_job *job)
{
    if (!job->discarding && job->asides == 0 && m->forgetting < MR_FORGET_COUNT_MAX) {
        job->discarding = true;
        m->forgetting++;
        step_start(step_new(m, job, STEP_FORGET));
    }
}
