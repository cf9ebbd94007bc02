#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/macros.h"
#include "common/workpool.h"

/* A job that adds up, on a worker and again on the owner. */
struct sum {
    struct job job;
    atomic_int *ran;
    int *done; /* owner only */
};

static void sum_run(struct job *job)
{
    atomic_fetch_add(CONTAINER_OF(job, struct sum, job)->ran, 1);
}

static void sum_done(struct job *job)
{
    struct sum *s = CONTAINER_OF(job, struct sum, job);
    (*s->done)++;
    free(s);
}

static void parallel_jobs_all_run_and_come_home(void **state)
{
    enum { JOBS = 5000 };
    struct mailbox *home = mailbox_new(1, 100);
    struct workpool *pool = workpool_new("test", 3, 50);
    atomic_int ran = 0;
    int done = 0, started = 0;
    (void)state;
    while (done < JOBS) {
        while (started < JOBS) {
            struct sum *s = xmalloc(sizeof(*s));
            *s = (struct sum){{.run = sum_run, .done = sum_done}, &ran, &done};
            if (workpool_submit(pool, &s->job, home) < 0) {
                free(s);
                break;
            }
            started++;
        }
        (void)mailbox_run(home, CLOCK_NEVER);
    }
    assert_int_equal(atomic_load(&ran), JOBS);
    assert_int_equal(workpool_depth(pool), 0);
    assert_true(mailbox_idle(home));
    workpool_free(pool);
    workpool_free(NULL);
    mailbox_free(home);
}

enum { STRANDS = 5, PER_STRAND = 800 };

struct lane {
    struct strand strand;
    int running; /* not atomic on purpose: a strand's jobs follow each other, and TSan checks that
                  */
    int last_run;
    int last_done; /* owner only */
};

struct step {
    struct job job;
    struct lane *lane;
    int number;
};

static void step_run(struct job *job)
{
    struct step *s = CONTAINER_OF(job, struct step, job);
    CHECK(s->lane->running == 0);
    s->lane->running = 1;
    CHECK(s->lane->last_run == s->number - 1);
    s->lane->last_run = s->number;
    s->lane->running = 0;
}

static void step_done(struct job *job)
{
    struct step *s = CONTAINER_OF(job, struct step, job);
    CHECK(s->lane->last_done == s->number - 1);
    s->lane->last_done = s->number;
    if (s->number == PER_STRAND) {
        CHECK(s->lane->strand.count == 0);
        free(s->lane); /* the last done is the end of the strand */
    }
    free(s);
}

static void strands_keep_their_order(void **state)
{
    struct mailbox *home = mailbox_new(1, STRANDS * PER_STRAND);
    struct workpool *pool = workpool_new("test", 3, STRANDS * PER_STRAND);
    struct lane *lanes[STRANDS];
    (void)state;
    for (size_t i = 0; i < STRANDS; i++) {
        lanes[i] = xcalloc(1, sizeof(*lanes[i]));
    }
    for (int number = 1; number <= PER_STRAND; number++) {
        for (size_t i = 0; i < STRANDS; i++) {
            struct step *s = xmalloc(sizeof(*s));
            *s = (struct step){{.run = step_run, .done = step_done}, lanes[i], number};
            assert_int_equal(workpool_submit_ordered(pool, &lanes[i]->strand, &s->job, home), 0);
        }
    }
    size_t handled = 0;
    while (handled < STRANDS * PER_STRAND) {
        handled += mailbox_run(home, CLOCK_NEVER);
    }
    workpool_free(pool);
    mailbox_free(home);
}

struct turn {
    struct job job;
    atomic_int *ran;
    int *last_done; /* owner only */
    int number;
};

static void turn_run(struct job *job)
{
    struct turn *t = CONTAINER_OF(job, struct turn, job);
    atomic_store(t->ran, t->number);
}

static void turn_done(struct job *job)
{
    struct turn *t = CONTAINER_OF(job, struct turn, job);
    CHECK(*t->last_done == t->number - 1);
    *t->last_done = t->number;
}

/* The next job comes when the last one has run but may not have told so: it must not overtake it.
 */
static void an_emptying_strand_keeps_its_order(void **state)
{
    enum { TURNS = 3000 };
    struct mailbox *home = mailbox_new(1, TURNS);
    struct workpool *pool = workpool_new("test", 2, TURNS);
    struct strand strand = STRAND_INIT;
    struct turn *turns = xcalloc(TURNS, sizeof(*turns));
    atomic_int ran = 0;
    int last_done = 0;
    (void)state;
    for (int i = 0; i < TURNS; i++) {
        turns[i] = (struct turn){{.run = turn_run, .done = turn_done}, &ran, &last_done, i + 1};
        assert_int_equal(workpool_submit_ordered(pool, &strand, &turns[i].job, home), 0);
        while (atomic_load(&ran) != i + 1) {
            sched_yield();
        }
    }
    workpool_drain(pool);
    assert_int_equal(mailbox_run(home, 0), TURNS);
    assert_int_equal(last_done, TURNS);
    workpool_free(pool);
    mailbox_free(home);
    free(turns);
}

/* A job that holds its worker until it is told to go on. */
struct gate {
    struct job job;
    pthread_mutex_t lock;
    int done;
};

static void gate_run(struct job *job)
{
    struct gate *g = CONTAINER_OF(job, struct gate, job);
    pthread_mutex_lock(&g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void gate_done(struct job *job)
{
    CONTAINER_OF(job, struct gate, job)->done++;
}

static void bounds_refuse_and_reserved_goes_on(void **state)
{
    struct mailbox *home = mailbox_new(1, 3);
    struct workpool *pool = workpool_new("test", 1, 2);
    struct strand strand = STRAND_INIT;
    struct gate gates[4];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        gates[i] = (struct gate){.job = {.run = gate_run, .done = gate_done}};
        pthread_mutex_init(&gates[i].lock, NULL);
    }
    pthread_mutex_lock(&gates[0].lock);
    assert_int_equal(workpool_submit_ordered(pool, &strand, &gates[0].job, home), 0);
    assert_int_equal(workpool_submit_ordered(pool, &strand, &gates[1].job, home), 0);
    assert_int_equal(workpool_submit(pool, &gates[2].job, home), ERR_BUSY);
    assert_int_equal(mailbox_reserve(home), 0); /* the refused job gave its slot back */
    assert_int_equal(mailbox_reserve(home), ERR_BUSY);
    workpool_submit_reserved(pool, &strand, &gates[2].job, home);
    assert_int_equal(workpool_depth(pool), 3);
    assert_int_equal(strand.count, 3);
    assert_int_equal(workpool_submit(pool, &gates[3].job, home), ERR_BUSY);
    pthread_mutex_unlock(&gates[0].lock);
    workpool_drain(pool);
    assert_int_equal(mailbox_run(home, 0), 3);
    assert_int_equal(gates[0].done + gates[1].done + gates[2].done, 3);
    assert_int_equal(gates[3].done, 0);
    workpool_free(pool);
    mailbox_free(home);
    for (size_t i = 0; i < 4; i++) {
        pthread_mutex_destroy(&gates[i].lock);
    }
}

static void run_and_free(struct job *job)
{
    struct sum *s = CONTAINER_OF(job, struct sum, job);
    atomic_fetch_add(s->ran, 1);
    free(s);
}

static void freeing_a_pool_runs_what_waits(void **state)
{
    struct workpool *pool = workpool_new("test", 2, 1000);
    struct strand strand = STRAND_INIT;
    atomic_int ran = 0;
    (void)state;
    for (int i = 0; i < 500; i++) {
        struct sum *s = xmalloc(sizeof(*s));
        *s = (struct sum){{.run = run_and_free}, &ran, NULL};
        int r = i % 2 == 0 ? workpool_submit(pool, &s->job, NULL)
                           : workpool_submit_ordered(pool, &strand, &s->job, NULL);
        assert_int_equal(r, 0);
    }
    workpool_free(pool);
    assert_int_equal(atomic_load(&ran), 500);
    assert_int_equal(strand.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parallel_jobs_all_run_and_come_home),
        cmocka_unit_test(strands_keep_their_order),
        cmocka_unit_test(an_emptying_strand_keeps_its_order),
        cmocka_unit_test(bounds_refuse_and_reserved_goes_on),
        cmocka_unit_test(freeing_a_pool_runs_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
