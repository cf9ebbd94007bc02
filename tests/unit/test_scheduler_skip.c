/* Records that end attempts of their task: when they are left out, and whose failures those are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "mapreduce/scheduler.h"

/* One job of one task, and two workers. */
struct world {
    struct scheduler *s;
    struct sched_effects effects;
    time_ms now;
    enum sched_kind kind;
    struct sched_attempt attempt; /* the latest that was begun */
    uint64_t worker;              /* where */
    bool job_failed;
};

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    w->s = scheduler_new(&sched_options_default);
    w->now = 1000;
    for (uint64_t i = 1; i <= 2; i++) {
        struct sched_worker_info info = {i, i == 1 ? "a" : "b", "r", 2};
        scheduler_add_worker(w->s, &info);
    }
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    scheduler_free(w->s);
    sched_effects_deinit(&w->effects);
    free(w);
    return 0;
}

static void add_job(struct world *w, uint32_t attempts, uint32_t skips)
{
    struct sched_map_info map = {0};
    struct sched_job_info job = {.job = 1,
                                 .maps = &map,
                                 .map_count = 1,
                                 .reduce_count = w->kind == SCHED_REDUCE,
                                 .attempts_max = attempts};
    job.skips_max[w->kind] = skips;
    scheduler_add_job(w->s, &job, w->now);
}

/* The next attempt begins. */
static void begin(struct world *w)
{
    time_ms wake = 0;
    sched_effects_clear(&w->effects);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    assert_int_equal(w->effects.count, 1);
    assert_int_equal(w->effects.items[0].kind, SCHED_ASSIGN);
    w->attempt = w->effects.items[0].attempt;
    w->worker = w->effects.items[0].worker;
    sched_effects_clear(&w->effects);
}

static void end(struct world *w, const struct sched_attempt *attempt, uint64_t record)
{
    scheduler_failed_at(w->s, attempt, record, w->now, &w->effects);
    for (size_t i = 0; i < w->effects.count; i++) {
        w->job_failed |= w->effects.items[i].kind == SCHED_JOB_FAILED;
    }
    sched_effects_clear(&w->effects);
    scheduler_check(w->s);
}

/* An attempt runs and fails at a record; 0: nobody knows at which. */
static void fail_at(struct world *w, uint64_t record)
{
    begin(w);
    end(w, &w->attempt, record);
}

/* What the attempt that has just begun leaves out. */
static void assert_skips(struct world *w, const uint64_t *ordinals, size_t count)
{
    size_t got = 99;
    const uint64_t *skips = scheduler_skips(w->s, &w->attempt, &got);
    assert_int_equal(got, count);
    if (count > 0) {
        assert_memory_equal(skips, ordinals, count * sizeof(ordinals[0]));
    }
}

static void a_record_that_fails_twice_is_left_out(void **state)
{
    struct world *w = *state;
    static const uint64_t ordinals[] = {3, 8, 400};
    add_job(w, 2, 3);
    fail_at(w, 9);
    begin(w);
    assert_skips(w, NULL, 0);
    end(w, &w->attempt, 9);
    assert_false(w->job_failed); /* though two attempts have failed */
    begin(w);
    assert_skips(w, ordinals + 1, 1);
    assert_false(scheduler_careful(w->s, &w->attempt));
    end(w, &w->attempt, 4);
    fail_at(w, 4);
    fail_at(w, 401);
    fail_at(w, 401);
    begin(w);
    assert_skips(w, ordinals, 3);
    scheduler_succeeded(w->s, &w->attempt, w->now, &w->effects);
    scheduler_check(w->s);
    assert_false(w->job_failed);
}

static void key_groups_likewise(void **state)
{
    struct world *w = *state;
    static const uint64_t first = 0;
    w->kind = SCHED_REDUCE;
    add_job(w, 2, 1);
    begin(w);
    scheduler_succeeded(w->s, &w->attempt, w->now, &w->effects);
    fail_at(w, 1);
    assert_int_equal(w->attempt.kind, SCHED_REDUCE);
    fail_at(w, 1);
    begin(w);
    assert_skips(w, &first, 1);
}

static void not_more_than_the_job_allows(void **state)
{
    struct world *w = *state;
    add_job(w, 3, 1);
    fail_at(w, 5);
    fail_at(w, 5);
    for (int i = 0; i < 3; i++) {
        assert_false(w->job_failed);
        fail_at(w, 6);
    }
    assert_true(w->job_failed);
}

static void a_job_that_allows_none_fails_as_ever(void **state)
{
    struct world *w = *state;
    add_job(w, 2, 0);
    fail_at(w, 5);
    begin(w);
    assert_false(scheduler_careful(w->s, &w->attempt));
    end(w, &w->attempt, 5);
    assert_true(w->job_failed);
}

static void different_records_are_the_tasks_failures(void **state)
{
    struct world *w = *state;
    add_job(w, 4, 9);
    for (uint64_t i = 1; i <= 4; i++) {
        assert_false(w->job_failed);
        fail_at(w, i);
    }
    assert_true(w->job_failed);
}

static void workers_are_not_blamed(void **state)
{
    struct world *w = *state;
    add_job(w, 100, 100);
    for (uint64_t i = 1; i <= 20; i++) {
        fail_at(w, i);
        fail_at(w, i);
    }
    assert_false(scheduler_avoids(w->s, 1, 1));
    assert_false(scheduler_avoids(w->s, 1, 2));
    uint64_t failed[3] = {0};
    for (uint64_t i = 0; i < 2 * sched_options_default.worker_failures_max; i++) {
        fail_at(w, 0);
        failed[w->worker]++;
    }
    assert_int_equal(failed[1], failed[2]); /* another one is tried first */
    assert_true(scheduler_avoids(w->s, 1, 1));
}

/* The copy of a slow attempt has begun before the record was known to be bad. */
static void an_attempt_that_was_not_told_is_not_blamed(void **state)
{
    struct world *w = *state;
    static const uint64_t ordinal = 6;
    struct sched_map_info maps[2] = {0};
    struct sched_job_info job = {
        .job = 1, .maps = maps, .map_count = 2, .attempts_max = 2, .skips_max = {1, 0}};
    struct sched_worker_info third = {3, "c", "r", 2};
    time_ms wake = 0;
    scheduler_add_worker(w->s, &third);
    scheduler_add_job(w->s, &job, w->now);
    scheduler_assign(w->s, w->now, &w->effects, &wake);
    assert_int_equal(w->effects.count, 2);
    struct sched_attempt quick = w->effects.items[0].attempt;
    struct sched_attempt slow = w->effects.items[1].attempt;
    w->now += 100;
    scheduler_succeeded(w->s, &quick, w->now, &w->effects);
    w->now += 10 * sched_options_default.backup_ms_min;
    begin(w);
    struct sched_attempt copy = w->attempt;
    end(w, &slow, 7);
    w->now += 10 * sched_options_default.backup_ms_min;
    begin(w);
    struct sched_attempt another = w->attempt;
    end(w, &copy, 7);
    end(w, &another, 7);
    assert_int_equal(another.task, slow.task);
    assert_false(w->job_failed);
    begin(w);
    assert_skips(w, &ordinal, 1);
    end(w, &w->attempt, 7); /* this one was told */
    assert_false(w->job_failed);
    fail_at(w, 7);
    assert_true(w->job_failed);
}

static void unknown_failures_make_a_task_careful(void **state)
{
    static const uint32_t table[][2] = {{1, 0}, {2, 1}, {3, 2}, {4, 2}, {100, 2}};
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        void *own = NULL;
        (void)setup(&own);
        struct world *w = own;
        add_job(w, table[i][0], 1);
        for (uint32_t failures = 0; failures < table[i][1]; failures++) {
            begin(w);
            assert_false(scheduler_careful(w->s, &w->attempt));
            end(w, &w->attempt, 0);
        }
        begin(w);
        assert_true(scheduler_careful(w->s, &w->attempt));
        (void)teardown(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_record_that_fails_twice_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(key_groups_likewise, setup, teardown),
        cmocka_unit_test_setup_teardown(not_more_than_the_job_allows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_job_that_allows_none_fails_as_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(different_records_are_the_tasks_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(workers_are_not_blamed, setup, teardown),
        cmocka_unit_test_setup_teardown(an_attempt_that_was_not_told_is_not_blamed, setup,
                                        teardown),
        cmocka_unit_test(unknown_failures_make_a_task_careful),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
