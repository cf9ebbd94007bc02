/* The fence: whoever raised it last is the mrmaster, and everybody else has been deposed.
 *
 * Nothing that a deposed mrmaster does can count, since each change in the store carries its fence.
 * But it must also stop giving out work and telling users how their jobs go. It learns of its end
 * from any step that the store refuses, from a task whose commit was refused, or, when nothing else
 * happens, by asking the store now and then. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "mapreduce/master_internal.h"

struct fence_check {
    struct job work;
    struct mr_master *m;
    struct store_at at;
    int code;
    struct err err;
};

void master_store_answered(struct mr_master *m)
{
    m->store_answered = clock_mono_ms();
    gauge_set(m->metrics.store_answered, (int64_t)(clock_wall_ms() / 1000));
}

static void check_done(void *arg)
{
    struct fence_check *c = arg;
    struct mr_master *m = c->m;
    m->fence_checking = false;
    m->fence_checked = clock_mono_ms();
    if (c->code == ERR_FENCED) {
        master_deposed(m, err_message(&c->err));
    } else if (c->code < 0) {
        log_warning("mrmaster", "the store cannot be asked for the fence error=\"%s\"",
                    err_message(&c->err));
    } else {
        master_store_answered(m);
    }
    free(c);
}

static void check_run(struct job *work)
{
    struct fence_check *c = CONTAINER_OF(work, struct fence_check, work);
    c->code = store_check_fence(c->at, &c->err);
    rpc_loop_post(c->m->options.loop, check_done, c);
}

void master_check_fence(struct mr_master *m)
{
    if (m->fence_checking || m->draining) {
        return;
    }
    struct fence_check *c = xcalloc(1, sizeof(*c));
    c->work.run = check_run;
    c->m = m;
    c->at = (struct store_at){m->dfs, m->fence};
    m->fence_checking = true;
    int r = workpool_submit(m->pool, &c->work, NULL);
    CHECK(r == 0); /* the pool takes more than JOB_COUNT_MAX jobs have steps */
}

void master_deposed(struct mr_master *m, const char *why)
{
    if (m->draining) {
        return;
    }
    log_error("mrmaster",
              "deposed: another mrmaster has taken over, this one ends epoch=%" PRIu64
              " error=\"%s\"",
              m->fence, why);
    master_end_all(m, ERR_NOT_LEADER, "this mrmaster was deposed by another one");
    m->options.deposed(m->options.arg);
}
