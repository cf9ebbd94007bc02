/* Bad records (OSDI'04 section 4.6): which record of a task has ended two of its attempts, and what
 * that makes of the failures that were noted against the task and its workers.
 *
 * An attempt that failed at a record which it had been told to leave out is the task's failure like
 * any other, so that nothing goes on for ever; one that began before is not. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "mapreduce/scheduler_state.h"

enum { CAREFUL_FAILURES = 2 };

void task_skips_free(struct sched_task *task)
{
    free(task->bad);
    free(task->skips);
}

static struct bad_record *find_bad(const struct sched_task *task, uint64_t record)
{
    for (uint32_t i = 0; i < task->bad_count; i++) {
        if (task->bad[i].record == record) {
            return &task->bad[i];
        }
    }
    return NULL;
}

static void add_bad(struct sched_task *task, uint64_t record, uint64_t worker)
{
    task->bad = xreallocarray(task->bad, (size_t)task->bad_count + 1, sizeof(task->bad[0]));
    task->bad[task->bad_count++] = (struct bad_record){record, worker, 0};
}

static void add_skip(struct sched_task *task, uint64_t ordinal)
{
    task->skips = xreallocarray(task->skips, (size_t)task->skip_count + 1, sizeof(task->skips[0]));
    uint32_t at = task->skip_count++;
    while (at > 0 && task->skips[at - 1] > ordinal) {
        task->skips[at] = task->skips[at - 1];
        at--;
    }
    task->skips[at] = ordinal;
}

/* The first failure at a record was noted as the task's. */
static void take_back_blame(struct sched_job *job, struct sched_task *task, uint64_t worker)
{
    uintptr_t failures = (uintptr_t)map_get_u64(&job->worker_failures, worker);
    CHECK(task->failures > 0 && failures > 0);
    task->failures--;
    task->failed_on = 0;
    if (failures == 1) {
        (void)map_remove_u64(&job->worker_failures, worker);
        return;
    }
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): a number, which nobody follows */
    map_put_u64(&job->worker_failures, worker, (void *)(failures - 1));
}

bool task_blames_record(struct sched_job *job, struct sched_task *task,
                        const struct running_attempt *attempt, uint32_t skips_max, uint64_t record)
{
    struct bad_record *bad = record > 0 ? find_bad(task, record) : NULL;
    if (record == 0 || skips_max == 0) {
        return false;
    }
    if (!bad) {
        add_bad(task, record, attempt->worker->id);
        return false;
    }
    if (bad->rank > 0) {
        return bad->rank > attempt->skips; /* else it had been told */
    }
    if (task->skip_count == skips_max) {
        return false;
    }
    take_back_blame(job, task, bad->worker);
    add_skip(task, record - 1);
    bad->rank = task->skip_count;
    return true;
}

const uint64_t *scheduler_skips(const struct scheduler *s, const struct sched_attempt *attempt,
                                size_t *ret_count)
{
    struct sched_job *job = NULL;
    struct sched_task *task = NULL;
    bool runs = sched_find_attempt(s, attempt, &job, &task) != NULL;
    *ret_count = runs ? task->skip_count : 0;
    return runs ? task->skips : NULL;
}

bool scheduler_careful(const struct scheduler *s, const struct sched_attempt *attempt)
{
    struct sched_job *job = NULL;
    struct sched_task *task = NULL;
    if (!sched_find_attempt(s, attempt, &job, &task) || job->skips_max[attempt->kind] == 0) {
        return false;
    }
    uint32_t last = job->attempts_max - 1; /* the last attempt at least is careful */
    return task->failures >= (last < CAREFUL_FAILURES ? last : CAREFUL_FAILURES);
}
