/* The client's half of a session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/session.h"
#include "common/rng.h"

static void seqs_rise_from_one(void **state)
{
    (void)state;
    struct session s;
    struct session_ticket a, b;
    session_init(&s, 7);
    assert_true(session_begin(&s, 1, &a));
    assert_true(session_begin(&s, 1, &b));
    assert_int_equal(a.session, 7);
    assert_int_equal(a.seq, 1);
    assert_int_equal(b.seq, 2);
    assert_int_equal(b.acked_below, 1);
    session_settle(&s, 2);
    assert_int_equal(s.acked_below, 1);
    session_settle(&s, 1);
    assert_int_equal(s.acked_below, 3);
    assert_int_equal(s.users, 0);
}

static void window_is_bounded(void **state)
{
    (void)state;
    struct session s;
    struct session_ticket t;
    session_init(&s, 1);
    for (uint64_t i = 1; i <= SESSION_WINDOW_COUNT_MAX; i++) {
        assert_true(session_begin(&s, 1, &t));
        assert_int_equal(t.seq, i);
    }
    assert_false(session_begin(&s, 1, &t));
    session_settle(&s, 2); /* not the oldest: no room yet */
    assert_false(session_begin(&s, 1, &t));
    session_settle(&s, 1);
    assert_true(session_begin(&s, 1, &t));
    assert_int_equal(t.acked_below, 3);
    assert_true(session_begin(&s, 1, &t));
    assert_false(session_begin(&s, 1, &t));
}

/* Several at once stand one after the other, and are in the window whole or not at all. */
static void batches_stay_together(void **state)
{
    (void)state;
    struct session s;
    struct session_ticket t;
    session_init(&s, 1);
    assert_true(session_begin(&s, SESSION_WINDOW_COUNT_MAX - 2, &t));
    assert_int_equal(t.seq, 1);
    assert_int_equal(s.users, SESSION_WINDOW_COUNT_MAX - 2);
    assert_false(session_begin(&s, 3, &t));
    assert_true(session_begin(&s, 2, &t));
    assert_int_equal(t.seq, SESSION_WINDOW_COUNT_MAX - 1);
    session_settle(&s, 1);
    session_settle(&s, 2);
    session_settle(&s, 3);
    assert_true(session_begin(&s, 3, &t));
    assert_int_equal(t.seq, SESSION_WINDOW_COUNT_MAX + 1);
    assert_int_equal(t.acked_below, 4);
    assert_int_equal(s.users, SESSION_WINDOW_COUNT_MAX);
}

/* Against a plain set of flags. */
static void random_orders(void **state)
{
    (void)state;
    struct rng rng;
    struct session s;
    static unsigned char settled[20000];
    uint64_t open[SESSION_WINDOW_COUNT_MAX];
    size_t count = 0;
    uint64_t below = 1;
    rng_seed(&rng, 42);
    session_init(&s, 1);
    for (int i = 0; i < 30000; i++) {
        struct session_ticket t;
        if (rng_below(&rng, 2) && s.next < sizeof(settled) && session_begin(&s, 1, &t)) {
            assert_int_equal(t.acked_below, below);
            open[count++] = t.seq;
        } else if (count > 0) {
            size_t pick = rng_below(&rng, count);
            session_settle(&s, open[pick]);
            settled[open[pick]] = 1;
            open[pick] = open[--count];
            while (settled[below]) {
                below++;
            }
        }
        assert_int_equal(s.acked_below, below);
        assert_int_equal(s.users, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seqs_rise_from_one),
        cmocka_unit_test(window_is_bounded),
        cmocka_unit_test(batches_stay_together),
        cmocka_unit_test(random_orders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
