/* See master_skip.h. */
#include "mapreduce/master_skip.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"

void skips_assign(const struct mr_master *m, const struct sched_attempt *id, struct arena *arena,
                  struct assignment *ret)
{
    size_t count = 0;
    const uint64_t *skips = scheduler_skips(m->scheduler, id, &count);
    ret->skip = count > 0 ? arena_copy(arena, skips, count * sizeof(skips[0])) : NULL;
    ret->skip_count = count;
    ret->careful = scheduler_careful(m->scheduler, id);
}

void skips_note_limit(const struct mr_master *m, const struct mr_job *job,
                      struct attempt_record *attempt, const struct attempt_end *end)
{
    const struct job_spec *spec = &job->record.spec;
    uint32_t most = attempt->id.kind == SCHED_MAP ? spec->skip_records : spec->skip_groups;
    size_t count = 0;
    (void)scheduler_skips(m->scheduler, &attempt->id, &count);
    if (most == 0 || end->bad_record == 0 || count < most) {
        return;
    }
    char *text = xprintf(
        "%s; the task has left out as many as it may (mr run --skip-bad-records %" PRIu32 ")",
        attempt->error, most);
    free(attempt->error);
    attempt->error = text;
}
