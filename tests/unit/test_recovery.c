/* fsmaster/recovery: the rules of "seal and go on" one by one, then random histories against them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/rng.h"
#include "fsmaster/recovery.h"

static const server_id set[] = {11, 12, 13};

static struct recovery fencing(uint64_t acked)
{
    struct recovery r;
    struct recovery_effect effect;
    struct recovery_start start = {
        .chunk = {7, 1}, .new_version = 2, .set = set, .set_count = 3, .acked = acked};
    recovery_init(&r, &start, 0);
    assert_true(recovery_next(&r, &effect));
    assert_int_equal(effect.kind, RECOVERY_PROPOSE_BEGIN);
    assert_false(recovery_next(&r, &effect));
    recovery_begun(&r, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(recovery_next(&r, &effect));
        assert_int_equal(effect.kind, RECOVERY_SEND_FENCE);
        assert_int_equal(effect.server, set[i]);
    }
    assert_false(recovery_next(&r, &effect));
    return r;
}

static void held(struct recovery *r, server_id server, uint64_t length, bool clean, time_ms now)
{
    struct recovery_answer answer = {server, RECOVERY_ANSWER_HELD, length, clean};
    recovery_fenced(r, &answer, now);
}

static void other(struct recovery *r, server_id server, enum recovery_answer_kind kind, time_ms now)
{
    struct recovery_answer answer = {.server = server, .kind = kind};
    recovery_fenced(r, &answer, now);
}

static void expect_end(struct recovery *r, uint64_t length)
{
    struct recovery_effect effect;
    assert_int_equal(r->state, RECOVERY_ENDING);
    assert_true(recovery_next(r, &effect));
    assert_int_equal(effect.kind, RECOVERY_PROPOSE_END);
    assert_int_equal(effect.length, length);
    assert_false(recovery_next(r, &effect));
}

static void test_shortest_clean(void **state)
{
    (void)state;
    struct recovery_effect effect;
    struct recovery r = fencing(100);
    held(&r, 11, 300, true, 1);
    held(&r, 12, 50, true, 2); /* below what is acknowledged: left out */
    assert_int_equal(r.state, RECOVERY_FENCING);
    held(&r, 13, 200, true, 3);
    expect_end(&r, 200);
    recovery_ended(&r, 200);
    assert_true(recovery_next(&r, &effect));
    assert_int_equal(effect.kind, RECOVERY_SEND_SEAL);
    assert_int_equal(effect.server, 11);
    assert_true(recovery_next(&r, &effect));
    assert_int_equal(effect.server, 13);
    assert_false(recovery_next(&r, &effect));
}

static void test_one_dead(void **state)
{
    (void)state;
    struct recovery r = fencing(0);
    other(&r, 12, RECOVERY_ANSWER_FAILED, 1);
    held(&r, 11, 10, true, 1);
    assert_int_equal(r.state, RECOVERY_FENCING); /* 13 may still speak */
    recovery_tick(&r, RECOVERY_PATIENCE_MS - 1);
    assert_int_equal(r.state, RECOVERY_FENCING);
    recovery_tick(&r, RECOVERY_PATIENCE_MS);
    expect_end(&r, 10);
    recovery_ended(&r, 10);
    held(&r, 13, 12, true, 5000); /* late, but long enough */
    struct recovery_effect effect;
    assert_true(recovery_next(&r, &effect));
    assert_int_equal(effect.server, 11);
    assert_true(recovery_next(&r, &effect));
    assert_int_equal(effect.server, 13);
}

static void test_blamed_is_not_waited_for(void **state)
{
    (void)state;
    struct recovery r = fencing(0);
    server_id blamed[] = {12};
    recovery_tell(&r, 5, blamed, 1);
    held(&r, 11, 10, true, 1);
    held(&r, 13, 20, true, 1);
    expect_end(&r, 10);
}

static void test_no_clean_waits_for_all(void **state)
{
    (void)state;
    struct recovery_effect effect;
    server_id waits[CHUNK_REPLICAS_MAX];
    struct recovery r = fencing(100);
    held(&r, 11, 120, false, 1);
    held(&r, 12, 140, false, 1);
    other(&r, 13, RECOVERY_ANSWER_FAILED, 1);
    recovery_tick(&r, 100000);
    assert_int_equal(r.state, RECOVERY_FENCING);
    assert_int_equal(recovery_waits_for(&r, waits), 1);
    assert_int_equal(waits[0], 13);
    assert_true(recovery_next(&r, &effect)); /* asked again */
    assert_int_equal(effect.kind, RECOVERY_SEND_FENCE);
    recovery_tick(&r, 200000);
    assert_false(recovery_next(&r, &effect)); /* not twice for one answer */
    held(&r, 13, 130, false, 200001);
    assert_true(r.unverified);
    expect_end(&r, 140);
}

static void test_not_found(void **state)
{
    (void)state;
    struct recovery r = fencing(0);
    other(&r, 11, RECOVERY_ANSWER_NOT_FOUND, 1);
    other(&r, 12, RECOVERY_ANSWER_NOT_FOUND, 1);
    assert_int_equal(r.state, RECOVERY_FENCING);
    other(&r, 13, RECOVERY_ANSWER_NOT_FOUND, 1);
    expect_end(&r, 0);

    r = fencing(1); /* something was acknowledged: never given up */
    for (int i = 0; i < 3; i++) {
        other(&r, set[i], RECOVERY_ANSWER_NOT_FOUND, 1);
    }
    recovery_tick(&r, 1 << 30);
    assert_int_equal(r.state, RECOVERY_FENCING);

    r = fencing(0); /* never written here, elsewhere empty */
    other(&r, 11, RECOVERY_ANSWER_NOT_FOUND, 1);
    other(&r, 12, RECOVERY_ANSWER_NOT_FOUND, 1);
    held(&r, 13, 0, true, 1);
    expect_end(&r, 0);
}

/* The first of the set died before a byte went on: one that cannot have lost the chunk proves that
 * nothing was acknowledged. */
static void test_never(void **state)
{
    (void)state;
    struct recovery r = fencing(0);
    other(&r, 11, RECOVERY_ANSWER_FAILED, 1);
    other(&r, 12, RECOVERY_ANSWER_NEVER, 1);
    other(&r, 13, RECOVERY_ANSWER_NOT_FOUND, 1);
    assert_int_equal(r.state, RECOVERY_FENCING); /* the first may still speak */
    recovery_tick(&r, RECOVERY_PATIENCE_MS);
    expect_end(&r, 0);

    r = fencing(0);
    other(&r, 11, RECOVERY_ANSWER_FAILED, 1);
    other(&r, 12, RECOVERY_ANSWER_NOT_FOUND, 1); /* they may have lost it */
    other(&r, 13, RECOVERY_ANSWER_NOT_FOUND, 1);
    recovery_tick(&r, 1 << 30);
    assert_int_equal(r.state, RECOVERY_FENCING);

    r = fencing(1); /* the writer knows better */
    other(&r, 12, RECOVERY_ANSWER_NEVER, 1);
    recovery_tick(&r, 1 << 30);
    assert_int_equal(r.state, RECOVERY_FENCING);
}

static void test_resumed_and_refused(void **state)
{
    (void)state;
    struct recovery r;
    struct recovery_effect effect;
    struct recovery_start start = {
        .chunk = {7, 3}, .begun = true, .new_version = 4, .set = set, .set_count = 1};
    recovery_init(&r, &start, 50);
    assert_true(recovery_next(&r, &effect));
    assert_int_equal(effect.kind, RECOVERY_SEND_FENCE);
    held(&r, 11, 9, true, 51);
    expect_end(&r, 9);
    recovery_propose_again(&r);
    expect_end(&r, 9);
}

/* Whatever the order of answers: with a clean holder of the acknowledged bytes the length is never
 * below them nor above what that holder has, and a decision needs one answer from a holder. */
static void test_random_histories(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 42);
    for (int round = 0; round < 20000; round++) {
        uint64_t acked = rng_below(&rng, 3) * 100;
        struct recovery r = fencing(acked);
        uint64_t clean_least = UINT64_MAX;
        bool any_held = false;
        time_ms now = 0;
        for (int step = 0; step < 12 && r.state == RECOVERY_FENCING; step++) {
            server_id server = set[rng_below(&rng, 3)];
            now += rng_below(&rng, 700);
            switch (rng_below(&rng, 4)) {
            case 0:
                other(&r, server, RECOVERY_ANSWER_FAILED, now);
                break;
            case 1: {
                uint64_t length = acked + rng_below(&rng, 50);
                clean_least = length < clean_least ? length : clean_least;
                any_held = true;
                held(&r, server, length, true, now);
                break;
            }
            case 2:
                any_held = true;
                held(&r, server, rng_below(&rng, 300), false, now);
                break;
            default:
                recovery_tick(&r, now);
            }
        }
        if (r.state == RECOVERY_ENDING) {
            assert_true(any_held);
            if (!r.unverified) {
                assert_true(r.length >= acked);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shortest_clean),
        cmocka_unit_test(test_one_dead),
        cmocka_unit_test(test_blamed_is_not_waited_for),
        cmocka_unit_test(test_no_clean_waits_for_all),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_resumed_and_refused),
        cmocka_unit_test(test_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
