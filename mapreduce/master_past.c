/* After a restart, or when a worker had lost us: what workers tell of the past goes into the books.
 *
 * The store knows which jobs there are and which parts are committed. Which maps are finished only
 * the workers know that have their outputs, and nobody else needs to: an output that its worker
 * does not tell of cannot be fetched either. So workers' reports are the journal of finished maps.
 * A report counts if its map is of the same plan, whichever mrmaster had assigned it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "mapreduce/master_internal.h"
#include "mapreduce/mr_pack.h"

/* ---- One attempt ---- */

/* The finished output of a map that nobody has done, or that runs again: it counts. */
static bool take_output(struct mr_master *m, const struct mr_worker *w, struct mr_job *job,
                        struct attempt_record *attempt, const struct past_attempt *past)
{
    uint32_t number = 0;
    if (!past->held || past->plan != job->plan_id || attempt->id.kind != SCHED_MAP ||
        !scheduler_map_found(m->scheduler, &attempt->id, w->id, &m->effects, &number)) {
        return false;
    }
    attempt->id.number = number; /* under this scheduler; its name stays */
    job_task_done(job, attempt, &past->end);
    job_note_map(job, attempt->id.task);
    return true;
}

/* A part that was found in the store gets the counters of the attempt that made it. */
static void take_part(struct mr_job *job, struct attempt_record *attempt,
                      const struct past_attempt *past)
{
    const struct task_record *task = &job->tasks[attempt->id.kind][attempt->id.task];
    if (past->end.committed && task->permille == 1000 && !task->latest) {
        job_task_done(job, attempt, &past->end);
    }
}

static void take_attempt(struct mr_master *m, struct mr_worker *w, struct mr_job *job,
                         const struct past_attempt *past)
{
    struct attempt_name name;
    if (!attempt_name_parse(past->end.attempt, &name) || name.job != job->record.number ||
        name.task >= (name.reduce ? job->reduces : job->plan.map_count) ||
        map_get_str(&job->running, past->end.attempt)) {
        return;
    }
    struct attempt_record *attempt = job_attempt_found(job, &name, past, w);
    bool counts = take_output(m, w, job, attempt, past);
    if (!counts) {
        take_part(job, attempt, past);
    }
    job->outputs_found += counts;
}

static void take_page(struct mr_master *m, struct mr_worker *w, struct mr_job *only,
                      const struct worker_past *past)
{
    struct mr_job *job = NULL;
    for (size_t i = 0; i < past->attempt_count; i++) {
        struct attempt_name name;
        if (!attempt_name_parse(past->attempts[i].end.attempt, &name)) {
            continue;
        }
        bool same = job && job->record.number == name.job;
        job = same ? job : master_find_number(m, name.job);
        if (job && (!only || job == only) && job->state == JOB_STATE_RUNNING && !job->discarding) {
            take_attempt(m, w, job, &past->attempts[i]);
            job->changed = true;
        }
    }
}

/* ---- What a worker tells ---- */

/* A job waits for its plan: what workers told of it is needed then. */
static bool somebody_waits(const struct mr_master *m)
{
    LIST_FOR_EACH(node, &m->jobs)
    {
        const struct mr_job *job = LIST_ENTRY(node, struct mr_job, link);
        if (job->taken_up && !job->ended && job->state == JOB_STATE_QUEUED) {
            return true;
        }
    }
    return false;
}

void worker_past_free(struct mr_worker *w)
{
    LIST_FOR_EACH_SAFE(node, &w->past)
    {
        struct past_page *page = LIST_ENTRY(node, struct past_page, link);
        list_remove(node);
        arena_deinit(&page->arena);
        free(page);
    }
}

static void forget_pasts(struct mr_master *m)
{
    if (!somebody_waits(m)) {
        LIST_FOR_EACH(node, &m->workers)
        {
            worker_past_free(LIST_ENTRY(node, struct mr_worker, link));
        }
    }
}

int worker_take_past(struct mr_worker *w, const struct worker_past *past, struct err *e)
{
    struct past_page *page = xcalloc(1, sizeof(*page));
    struct worker_message message = {.past = (struct worker_past *)past};
    struct worker_message copy = {0};
    struct buf bytes = BUF_INIT;
    arena_init(&page->arena, 0);
    list_init(&page->link);
    worker_message_pack(&message, &bytes);
    int r = worker_message_unpack((struct span){bytes.data, bytes.length}, &page->arena, &copy, e);
    buf_deinit(&bytes);
    if (r < 0) {
        arena_deinit(&page->arena);
        free(page);
        return r;
    }
    page->past = *copy.past;
    list_push_back(&w->past, &page->link);
    return 0;
}

void worker_past_told(struct mr_master *m, struct mr_worker *w)
{
    LIST_FOR_EACH(node, &w->past)
    {
        const struct past_page *page = LIST_ENTRY(node, struct past_page, link);
        for (size_t i = 0; i < page->past.job_count; i++) {
            const struct mr_job *job = master_find_job(m, page->past.jobs[i]);
            if (!job || job->ended) {
                worker_forget_name(w, page->past.jobs[i]);
            }
        }
        take_page(m, w, NULL, &page->past);
    }
    forget_pasts(m);
    roster_returned(m, w->key);
}

void job_take_past(struct mr_master *m, struct mr_job *job)
{
    LIST_FOR_EACH(node, &m->workers)
    {
        struct mr_worker *w = LIST_ENTRY(node, struct mr_worker, link);
        LIST_FOR_EACH(at, &w->past)
        {
            take_page(m, w, job, &LIST_ENTRY(at, struct past_page, link)->past);
        }
    }
    forget_pasts(m);
    if (job->outputs_found > 0) {
        log_info("mrmaster", "finished maps found on workers job=%s maps=%" PRIu32, job->record.job,
                 job->outputs_found);
    }
}
