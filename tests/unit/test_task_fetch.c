/* Which segments a reduce fetches when: what is told, withdrawn, told again, fails and is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/limits.h"
#include "mapreduce/task_fetch.h"

static int tell(struct fetch_plan *p, uint32_t map, const char *attempt, const char *address)
{
    struct map_done done = {.job = "job_1_0001",
                            .map = map,
                            .attempt = attempt,
                            .address = address ? address : "",
                            .host = "h",
                            .withdrawn = address == NULL};
    return fetch_plan_told(p, &done, NULL);
}

static void assert_next(struct fetch_plan *p, time_ms now, uint32_t map, const char *attempt)
{
    struct fetch_wanted wanted;
    assert_true(fetch_plan_next(p, now, &wanted));
    assert_int_equal(wanted.map, map);
    assert_string_equal(wanted.attempt, attempt);
}

static void assert_none(struct fetch_plan *p, time_ms now)
{
    struct fetch_wanted wanted;
    assert_false(fetch_plan_next(p, now, &wanted));
}

static void test_in_order_of_telling(void **state)
{
    (void)state;
    struct fetch_plan *p = fetch_plan_new(3);
    assert_none(p, 0);
    assert_int_equal(tell(p, 2, "a2", "x:1"), 0);
    assert_int_equal(tell(p, 2, "a2", "x:1"), 0); /* twice is once */
    assert_int_equal(tell(p, 0, "a0", "y:1"), 0);
    assert_int_equal(tell(p, 3, "a3", "y:1"), ERR_INVALID);
    assert_next(p, 0, 2, "a2");
    assert_next(p, 0, 0, "a0");
    assert_none(p, 0);
    assert_int_equal(fetch_plan_fetching(p), 2);
    fetch_plan_done(p, 0);
    fetch_plan_done(p, 2);
    assert_false(fetch_plan_complete(p));
    assert_int_equal(tell(p, 1, "a1", "x:1"), 0);
    assert_next(p, 0, 1, "a1");
    fetch_plan_done(p, 1);
    assert_true(fetch_plan_complete(p));
    assert_int_equal(fetch_plan_fetched(p), 3);
    fetch_plan_free(p);
}

static void test_prefers_idle_workers(void **state)
{
    (void)state;
    struct fetch_plan *p = fetch_plan_new(4);
    assert_int_equal(tell(p, 0, "a0", "x:1"), 0);
    assert_int_equal(tell(p, 1, "a1", "x:1"), 0);
    assert_int_equal(tell(p, 2, "a2", "y:1"), 0);
    assert_int_equal(tell(p, 3, "a3", "x:1"), 0);
    assert_next(p, 0, 0, "a0");
    assert_next(p, 0, 2, "a2");
    assert_next(p, 0, 1, "a1"); /* all are busy: in order */
    fetch_plan_done(p, 2);
    assert_next(p, 0, 3, "a3");
    fetch_plan_free(p);
}

static void test_withdrawn_before_it_was_fetched(void **state)
{
    (void)state;
    struct fetch_plan *p = fetch_plan_new(1);
    assert_int_equal(tell(p, 0, "a0", "x:1"), 0);
    assert_int_equal(tell(p, 0, "", NULL), 0);
    assert_int_equal(tell(p, 0, "", NULL), 0);
    assert_none(p, 0);
    assert_int_equal(tell(p, 0, "b0", "y:1"), 0);
    assert_next(p, 0, 0, "b0");
    fetch_plan_done(p, 0);
    assert_int_equal(tell(p, 0, "", NULL), 0); /* kept */
    assert_true(fetch_plan_complete(p));
    fetch_plan_free(p);
}

static void test_withdrawn_while_it_is_fetched(void **state)
{
    (void)state;
    struct fetch_plan *p = fetch_plan_new(2);
    assert_int_equal(tell(p, 0, "a0", "x:1"), 0);
    assert_int_equal(tell(p, 1, "a1", "x:1"), 0);
    assert_next(p, 0, 0, "a0");
    assert_next(p, 0, 1, "a1");
    assert_int_equal(tell(p, 0, "", NULL), 0);
    assert_int_equal(tell(p, 1, "", NULL), 0);
    assert_int_equal(tell(p, 1, "b1", "y:1"), 0);
    assert_false(fetch_plan_failed(p, 0, true, 0)); /* not lost: nobody wants it any more */
    assert_none(p, 0);
    assert_false(fetch_plan_failed(p, 1, false, 0)); /* its successor, at once */
    assert_next(p, 0, 1, "b1");
    fetch_plan_done(p, 1);
    assert_int_equal(tell(p, 0, "b0", "y:1"), 0);
    assert_next(p, 0, 0, "b0");
    assert_int_equal(tell(p, 0, "", NULL), 0);
    fetch_plan_done(p, 0); /* it came after all: kept */
    assert_true(fetch_plan_complete(p));
    fetch_plan_free(p);
}

static void test_successor_withdrawn_too(void **state)
{
    (void)state;
    struct fetch_plan *p = fetch_plan_new(1);
    assert_int_equal(tell(p, 0, "a0", "x:1"), 0);
    assert_next(p, 0, 0, "a0");
    assert_int_equal(tell(p, 0, "b0", "y:1"), 0);
    assert_int_equal(tell(p, 0, "", NULL), 0);
    assert_false(fetch_plan_failed(p, 0, false, 0));
    assert_none(p, 0);
    assert_int_equal(tell(p, 0, "c0", "z:1"), 0);
    assert_next(p, 0, 0, "c0");
    fetch_plan_free(p);
}

/* Its worker was away for a moment. */
static void test_withdrawn_and_back(void **state)
{
    (void)state;
    struct fetch_plan *p = fetch_plan_new(2);
    assert_int_equal(tell(p, 0, "a0", "x:1"), 0);
    assert_int_equal(tell(p, 1, "a1", "x:1"), 0);
    assert_next(p, 0, 0, "a0");
    for (uint32_t map = 0; map < 2; map++) {
        assert_int_equal(tell(p, map, "", NULL), 0);
    }
    assert_none(p, 0);
    assert_int_equal(tell(p, 0, "b0", "y:1"), 0); /* but a successor stands for a moment */
    assert_int_equal(tell(p, 0, "a0", "x:1"), 0);
    assert_int_equal(tell(p, 1, "a1", "x:1"), 0);
    assert_next(p, 0, 1, "a1");
    assert_false(fetch_plan_failed(p, 0, false, 0));
    assert_none(p, 0); /* tried again later, as any that stands */
    assert_next(p, TASK_FETCH_RETRY_MS, 0, "a0");
    fetch_plan_free(p);
}

static void test_back_off_and_loss(void **state)
{
    (void)state;
    struct fetch_wanted lost;
    struct fetch_plan *p = fetch_plan_new(2);
    assert_int_equal(tell(p, 0, "a0", "x:1"), 0);
    assert_int_equal(tell(p, 1, "a1", "x:1"), 0);
    assert_next(p, 0, 0, "a0");
    assert_int_equal(fetch_plan_wake(p), CLOCK_NEVER);
    assert_false(fetch_plan_failed(p, 0, false, 1000));
    assert_int_equal(fetch_plan_wake(p), 1000 + TASK_FETCH_RETRY_MS);
    assert_next(p, 1000, 1, "a1");
    assert_false(fetch_plan_failed(p, 1, false, 1001));
    assert_none(p, 1000 + TASK_FETCH_RETRY_MS - 1);
    assert_next(p, 1000 + TASK_FETCH_RETRY_MS, 0, "a0");
    assert_false(fetch_plan_failed(p, 0, false, 2000));
    assert_next(p, 2000, 1, "a1"); /* its time came before that of the second failure */
    fetch_plan_done(p, 1);
    assert_int_equal(fetch_plan_wake(p), 2000 + 4 * TASK_FETCH_RETRY_MS);
    assert_next(p, 2000 + 4 * TASK_FETCH_RETRY_MS, 0, "a0");
    assert_false(fetch_plan_lost(p, 0, &lost));
    assert_true(fetch_plan_failed(p, 0, false, 9000));
    assert_true(fetch_plan_lost(p, 0, &lost));
    assert_int_equal(lost.map, 0);
    assert_string_equal(lost.attempt, "a0");
    assert_false(fetch_plan_lost(p, 1, &lost));
    fetch_plan_free(p);
}

static void test_gone_is_lost_at_once(void **state)
{
    (void)state;
    struct fetch_plan *p = fetch_plan_new(1);
    assert_int_equal(tell(p, 0, "a0", "x:1"), 0);
    assert_next(p, 0, 0, "a0");
    assert_true(fetch_plan_failed(p, 0, true, 0));
    fetch_plan_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order_of_telling),
        cmocka_unit_test(test_prefers_idle_workers),
        cmocka_unit_test(test_withdrawn_before_it_was_fetched),
        cmocka_unit_test(test_withdrawn_while_it_is_fetched),
        cmocka_unit_test(test_successor_withdrawn_too),
        cmocka_unit_test(test_withdrawn_and_back),
        cmocka_unit_test(test_back_off_and_loss),
        cmocka_unit_test(test_gone_is_lost_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
