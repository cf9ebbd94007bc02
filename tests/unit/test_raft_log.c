/* common/raft/raft_log: terms, lengths, and what is durable while writes are on their way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/raft/raft_log.h"
#include "common/rng.h"

static void append_terms(struct raft_log *l, const char *terms)
{
    for (; *terms != 0; terms++) {
        raft_log_append(l, (term_no)(*terms - '0'), 10);
    }
}

static void test_looking(void **state)
{
    (void)state;
    struct raft_log l;
    raft_log_init(&l, 0, 0);
    assert_int_equal(raft_log_last(&l), 0);
    assert_true(raft_log_matches(&l, 0, 0));
    assert_false(raft_log_has(&l, 1));
    append_terms(&l, "1123");
    assert_int_equal(raft_log_last(&l), 4);
    assert_int_equal(raft_log_last_term(&l), 3);
    assert_int_equal(raft_log_term(&l, 2), 1);
    assert_true(raft_log_matches(&l, 3, 2));
    assert_false(raft_log_matches(&l, 3, 1));
    assert_false(raft_log_matches(&l, 5, 3));
    assert_int_equal(raft_log_bytes(&l, 0, 4), 4 * (10 + RAFT_ENTRY_OVERHEAD_BYTES));
    assert_int_equal(raft_log_bytes(&l, 2, 2), 0);
    raft_log_check(&l);
    raft_log_deinit(&l);
}

static void test_up_to_date(void **state) /* 5.4.1 */
{
    (void)state;
    struct raft_log l;
    raft_log_init(&l, 0, 0);
    append_terms(&l, "1133");
    assert_false(raft_log_is_newer(&l, 4, 3));
    assert_false(raft_log_is_newer(&l, 5, 3));
    assert_false(raft_log_is_newer(&l, 1, 4)); /* a later term beats a longer log */
    assert_true(raft_log_is_newer(&l, 3, 3));
    assert_true(raft_log_is_newer(&l, 9, 2));
    raft_log_deinit(&l);
}

static log_index back_up_slowly(const struct raft_log *l, log_index from, term_no term)
{
    log_index at = from < raft_log_last(l) ? from : raft_log_last(l);
    while (at > l->start && raft_log_term(l, at) > term) {
        at--;
    }
    return at > l->start ? at : l->start;
}

static void test_back_up(void **state)
{
    (void)state;
    struct raft_log l;
    struct rng rng;
    rng_seed(&rng, 1);
    raft_log_init(&l, 20, 2);
    append_terms(&l, "224445577779");
    for (log_index from = 15; from < 40; from++) {
        for (term_no term = 0; term < 11; term++) {
            log_index expected = from <= 20 ? 20 : back_up_slowly(&l, from, term);
            assert_int_equal(raft_log_back_up(&l, from, term), expected);
        }
    }
    raft_log_deinit(&l);
}

static void test_batches(void **state)
{
    (void)state;
    struct raft_log l;
    uint64_t one = 10 + RAFT_ENTRY_OVERHEAD_BYTES;
    raft_log_init(&l, 0, 0);
    append_terms(&l, "11111");
    assert_int_equal(raft_log_batch(&l, 0, 100 * one, 100), 5);
    assert_int_equal(raft_log_batch(&l, 0, 3 * one, 100), 3);
    assert_int_equal(raft_log_batch(&l, 0, 3 * one - 1, 100), 2);
    assert_int_equal(raft_log_batch(&l, 0, 100 * one, 4), 4);
    assert_int_equal(raft_log_batch(&l, 3, 1, 100), 1); /* at least one, however large */
    assert_int_equal(raft_log_batch(&l, 5, 100 * one, 100), 0);
    raft_log_deinit(&l);
}

static void test_durable_by_writes(void **state)
{
    (void)state;
    struct raft_log l;
    time_ms since = 0;
    raft_log_init(&l, 0, 0);
    append_terms(&l, "11");
    assert_false(raft_log_pending_since(&l, &since));
    uint64_t first = raft_log_write(&l, 100);
    append_terms(&l, "1");
    uint64_t second = raft_log_write(&l, 200);
    assert_int_equal(second, first + 1);
    assert_true(raft_log_pending_since(&l, &since));
    assert_int_equal(since, 100);
    assert_int_equal(l.durable, 0);
    assert_true(raft_log_written(&l, first));
    assert_int_equal(l.durable, 2);
    assert_true(raft_log_pending_since(&l, &since));
    assert_int_equal(since, 200);
    assert_true(raft_log_written(&l, first)); /* told twice */
    assert_true(raft_log_written(&l, second));
    assert_int_equal(l.durable, 3);
    assert_false(raft_log_written(&l, second + 1));
    assert_false(raft_log_pending_since(&l, &since));
    raft_log_deinit(&l);
}

/* etcd's async_storage_writes_append_aba_race. */
static void test_overtaken_write_vouches_for_nothing(void **state)
{
    (void)state;
    struct raft_log l;
    raft_log_init(&l, 0, 0);
    append_terms(&l, "11");
    uint64_t a = raft_log_write(&l, 0);
    append_terms(&l, "22"); /* 3 and 4, of a leader that is soon forgotten */
    uint64_t b = raft_log_write(&l, 0);
    raft_log_truncate(&l, 3);
    append_terms(&l, "33"); /* other entries, equal indexes */
    uint64_t c = raft_log_write(&l, 0);
    assert_true(raft_log_written(&l, a));
    assert_int_equal(l.durable, 2);
    assert_true(raft_log_written(&l, b));
    assert_int_equal(l.durable, 2); /* not 4: that was the other 4 */
    assert_true(raft_log_written(&l, c));
    assert_int_equal(l.durable, 4);
    raft_log_truncate(&l, 4); /* what was durable is not, once it is to be truncated */
    assert_int_equal(l.durable, 3);
    raft_log_check(&l);
    raft_log_deinit(&l);
}

static void test_more_writes_than_are_known(void **state)
{
    (void)state;
    struct raft_log l;
    raft_log_init(&l, 0, 0);
    for (int i = 0; i < RAFT_WRITE_COUNT_MAX + 10; i++) {
        append_terms(&l, "1");
        assert_int_equal(raft_log_write(&l, 0), i + 1);
    }
    raft_log_check(&l);
    assert_true(raft_log_written(&l, RAFT_WRITE_COUNT_MAX - 1));
    assert_int_equal(l.durable, RAFT_WRITE_COUNT_MAX - 1);
    assert_true(raft_log_written(&l, RAFT_WRITE_COUNT_MAX + 9));
    assert_int_equal(l.durable, RAFT_WRITE_COUNT_MAX - 1); /* late, but never early */
    assert_true(raft_log_written(&l, RAFT_WRITE_COUNT_MAX + 10));
    assert_int_equal(l.durable, RAFT_WRITE_COUNT_MAX + 10);
    raft_log_deinit(&l);
}

static void test_compact_and_reset(void **state)
{
    (void)state;
    struct raft_log l;
    raft_log_init(&l, 0, 0);
    append_terms(&l, "112233");
    uint64_t pending = raft_log_write(&l, 0);
    assert_true(raft_log_written(&l, pending));
    raft_log_compact(&l, 4);
    assert_int_equal(l.start, 4);
    assert_int_equal(raft_log_term(&l, 4), 2);
    assert_false(raft_log_has(&l, 3));
    append_terms(&l, "3");
    pending = raft_log_write(&l, 0);
    raft_log_reset(&l, 100, 9);
    assert_int_equal(raft_log_last(&l), 100);
    assert_int_equal(raft_log_last_term(&l), 9);
    assert_true(raft_log_written(&l, pending));
    assert_int_equal(l.durable, 100);
    append_terms(&l, "9");
    assert_int_equal(l.durable, 100);
    raft_log_check(&l);
    raft_log_deinit(&l);
}

/* Long enough that slots move to the front and grow. */
static void test_a_long_life(void **state)
{
    (void)state;
    struct raft_log l;
    struct rng rng;
    rng_seed(&rng, 7);
    raft_log_init(&l, 0, 0);
    for (int i = 0; i < 5000; i++) {
        raft_log_append(&l, (term_no)(1 + i / 100), rng_below(&rng, 50));
        assert_true(raft_log_written(&l, raft_log_write(&l, 0)));
        if (rng_below(&rng, 20) == 0) {
            raft_log_compact(&l, rng_range(&rng, l.start, raft_log_last(&l)));
        }
        if (rng_below(&rng, 50) == 0 && raft_log_last(&l) > l.start) {
            raft_log_truncate(&l, rng_range(&rng, l.start + 1, raft_log_last(&l)));
        }
        raft_log_check(&l);
    }
    assert_true(l.capacity < 5000);
    raft_log_deinit(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_looking),
        cmocka_unit_test(test_up_to_date),
        cmocka_unit_test(test_back_up),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_durable_by_writes),
        cmocka_unit_test(test_overtaken_write_vouches_for_nothing),
        cmocka_unit_test(test_more_writes_than_are_known),
        cmocka_unit_test(test_compact_and_reset),
        cmocka_unit_test(test_a_long_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
