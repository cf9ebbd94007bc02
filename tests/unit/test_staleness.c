/* fsmaster/staleness: no read is answered by a state that may miss what it was promised, whatever
 * is late, lost or stopped; and reads that can be answered are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/rng.h"
#include "fsmaster/staleness.h"

static struct staleness s;

/* A read that came at `now` and allows that age. */
static struct stale_read read_of(time_ms now, time_ms age_ms)
{
    return (struct stale_read){.since_ms = now > age_ms ? now - age_ms : 0,
                               .give_up_ms = now + STALENESS_WAIT_MS};
}

static bool may(time_ms now, time_ms age_ms)
{
    struct stale_read read = read_of(now, age_ms);
    bool yes = staleness_read(&s, &read);
    if (!yes) {
        list_remove(&read.link);
    }
    return yes;
}

/* The next decided read is this one, with that code. */
static void assert_next(const struct stale_read *read, int code)
{
    int got = 1;
    assert_ptr_equal(staleness_next(&s, &got), read);
    assert_int_equal(got, code);
}

static void assert_none(void)
{
    int code;
    assert_null(staleness_next(&s, &code));
}

static int setup(void **state)
{
    (void)state;
    staleness_init(&s, 10);
    return 0;
}

static void test_a_mark_grows_old(void **state)
{
    (void)state;
    assert_false(may(1000, 1000000)); /* nothing is known at first, however much is allowed */
    assert_true(staleness_wants(&s, 0));
    uint64_t question = staleness_ask(&s, 1000);
    staleness_answer(&s, question, 10);
    assert_true(may(1000, 1));
    assert_true(may(1100, 100));
    assert_false(may(1101, 100));
    assert_true(may(1101, 101));
}

/* The mark is as old as the question, not as its answer. */
static void test_late_answer(void **state)
{
    (void)state;
    uint64_t question = staleness_ask(&s, 1000);
    staleness_answer(&s, question, 10); /* at 11000 */
    assert_false(may(11000, 9999));
    assert_true(may(11000, 10000));
}

/* Stopped for a minute between two instructions, or with everything still in the socket. */
static void test_stopped(void **state)
{
    (void)state;
    staleness_answer(&s, staleness_ask(&s, 1000), 10);
    assert_true(may(1001, 50));
    struct stale_read read = read_of(61000, 50);
    assert_false(staleness_read(&s, &read));
    assert_true(staleness_wants(&s, 61000));
    staleness_answer(&s, staleness_ask(&s, 61000), 11); /* what was written meanwhile */
    assert_none();
    staleness_applied(&s, 11);
    assert_next(&read, 0);
}

static void test_answer_to_a_question_given_up(void **state)
{
    (void)state;
    uint64_t first = staleness_ask(&s, 1000);
    staleness_fail(&s, first);
    staleness_answer(&s, first, 10);
    assert_false(may(1000, 500));
    uint64_t second = staleness_ask(&s, 20000);
    staleness_answer(&s, first, 10); /* comes now, and must not pass for the second's */
    assert_false(may(20000, 500));
    staleness_fail(&s, first);
    staleness_answer(&s, second, 10);
    assert_true(may(20000, 500));
    staleness_answer(&s, second, 9);
    assert_true(may(20000, 500));
}

static void test_not_before_it_is_applied(void **state)
{
    (void)state;
    struct stale_read read = read_of(1000, 100);
    assert_false(staleness_read(&s, &read));
    staleness_answer(&s, staleness_ask(&s, 1000), 12);
    staleness_applied(&s, 11);
    assert_none();
    assert_false(may(1000, 100));
    staleness_applied(&s, 12);
    assert_next(&read, 0);
    assert_none();
    assert_true(may(1000, 100));
}

/* A question under way serves those that came later only if they allow its age. */
static void test_one_question_for_all(void **state)
{
    (void)state;
    struct stale_read reads[] = {read_of(1000, 10), read_of(1005, 10), read_of(1020, 10)};
    assert_false(staleness_read(&s, &reads[0]));
    uint64_t question = staleness_ask(&s, 1000);
    assert_false(staleness_read(&s, &reads[1]));
    assert_false(staleness_read(&s, &reads[2]));
    assert_false(staleness_wants(&s, 1020)); /* one at a time */
    staleness_answer(&s, question, 10);
    assert_next(&reads[0], 0);
    assert_next(&reads[1], 0);
    assert_none();
    assert_true(staleness_wants(&s, 1021));
    staleness_answer(&s, staleness_ask(&s, 1021), 10);
    assert_next(&reads[2], 0);
}

/* A state that is always behind the newest answer still comes to each read's own. */
static void test_always_behind(void **state)
{
    (void)state;
    struct stale_read first = read_of(1000, 10);
    assert_false(staleness_read(&s, &first));
    staleness_answer(&s, staleness_ask(&s, 1000), 20);
    struct stale_read second = read_of(1100, 10);
    assert_false(staleness_read(&s, &second));
    staleness_applied(&s, 19);
    staleness_answer(&s, staleness_ask(&s, 1100), 30);
    staleness_answer(&s, staleness_ask(&s, 1200), 40);
    staleness_applied(&s, 20);
    assert_next(&first, 0);
    assert_none();
    assert_true(may(1100, 100)); /* the first mark was not pushed out by the second */
    staleness_applied(&s, 30);
    assert_next(&second, 0);
}

/* An index that is too high makes reads wait; a later one that is not helps them at once. */
static void test_younger_mark_stays(void **state)
{
    (void)state;
    staleness_answer(&s, staleness_ask(&s, 1000), 20);
    staleness_answer(&s, staleness_ask(&s, 2000), 10);
    assert_true(may(2000, 10));
    staleness_applied(&s, 20);
    assert_true(may(2000, 10));
}

static void test_never_back_behind_what_was_seen(void **state)
{
    (void)state;
    staleness_answer(&s, staleness_ask(&s, 1000), 10);
    struct stale_read read = read_of(1001, 100);
    read.at_least = 12;
    assert_false(staleness_read(&s, &read));
    assert_false(staleness_wants(&s, 1001)); /* it waits for the state, not for an answer */
    staleness_applied(&s, 11);
    assert_none();
    staleness_applied(&s, 12);
    assert_next(&read, 0);
}

static void test_nobody_to_ask(void **state)
{
    (void)state;
    struct stale_read young = read_of(1000, 10);
    assert_false(staleness_read(&s, &young));
    uint64_t question = staleness_ask(&s, 1000);
    staleness_answer(&s, question, 15);
    struct stale_read other = read_of(2000, 10);
    assert_false(staleness_read(&s, &other));
    staleness_fail(&s, staleness_ask(&s, 2000));
    assert_next(&other, ERR_NOT_LEADER);
    assert_none(); /* the first has its answer and waits for the state alone */
    staleness_applied(&s, 15);
    assert_next(&young, 0);
    assert_true(may(2000, 1000)); /* what is known stays known */
}

static void test_gives_up(void **state)
{
    (void)state;
    struct stale_read read = read_of(1000, 10);
    assert_false(staleness_read(&s, &read));
    staleness_tick(&s, 1000 + STALENESS_WAIT_MS - 1);
    assert_none();
    staleness_tick(&s, 1000 + STALENESS_WAIT_MS);
    assert_next(&read, ERR_NOT_LEADER);
}

static void test_asks_now_and_then(void **state)
{
    (void)state;
    staleness_answer(&s, staleness_ask(&s, 1000), 10);
    assert_false(staleness_wants(&s, 1000 + STALENESS_IDLE_MS - 1));
    assert_true(staleness_wants(&s, 1000 + STALENESS_IDLE_MS));
}

/* ---- Against a model ------------------------------------------------------------------------ */

/* A log that grows, a member that applies it some time later, and a network that delays, loses and
 * cuts. Every read that is answered is compared with what had been acknowledged. */
enum { STEPS = 20000, LOG_MAX = STEPS + 16 };

struct model {
    struct rng rng;
    time_ms now;
    log_index committed;
    time_ms committed_at[LOG_MAX]; /* of each entry */
    bool in_flight;
    bool answered; /* the leader has said `index`, and that is under way */
    uint64_t question;
    log_index index;
    size_t served;
    size_t refused;
    struct stale_read reads[8];
    bool used[8];
};

static void model_check(struct model *m, const struct stale_read *read)
{
    log_index next = s.applied + 1;
    assert_true(next > m->committed || m->committed_at[next] >= read->since_ms);
    m->served++;
}

static void model_decided(struct model *m)
{
    struct stale_read *read;
    int code;
    while ((read = staleness_next(&s, &code)) != NULL) {
        if (code == 0) {
            model_check(m, read);
        } else {
            m->refused++;
        }
        m->used[read - m->reads] = false;
    }
}

static void model_read(struct model *m)
{
    size_t at = rng_below(&m->rng, ARRAY_COUNT(m->reads));
    if (m->used[at]) {
        return;
    }
    m->reads[at] = read_of(m->now, 1 + rng_below(&m->rng, 200));
    if (staleness_read(&s, &m->reads[at])) {
        model_check(m, &m->reads[at]);
    } else {
        m->used[at] = true;
    }
}

static void model_network(struct model *m)
{
    if (!m->in_flight && staleness_wants(&s, m->now)) {
        m->question = staleness_ask(&s, m->now);
        m->in_flight = true;
        m->answered = false;
    } else if (m->in_flight && !m->answered) {
        m->index = m->committed; /* the leader has it now, however long it took */
        m->answered = true;
    } else if (m->in_flight) {
        if (rng_below(&m->rng, 8) == 0) {
            staleness_fail(&s, m->question);
        }
        staleness_answer(&s, m->question, m->index);
        m->in_flight = false;
    }
}

static void model_step(struct model *m)
{
    m->now += rng_below(&m->rng, 40) == 0 ? rng_below(&m->rng, 2000) : rng_below(&m->rng, 10);
    switch (rng_below(&m->rng, 6)) {
    case 0:
        m->committed_at[++m->committed] = m->now;
        break;
    case 1:
        if (s.applied < m->committed) {
            staleness_applied(&s, s.applied + 1 + rng_below(&m->rng, m->committed - s.applied));
        }
        break;
    case 2:
        model_read(m);
        break;
    case 3:
        staleness_tick(&s, m->now);
        break;
    default:
        model_network(m);
        break;
    }
    model_decided(m);
}

static void test_model(void **state)
{
    (void)state;
    static struct model m;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        m = (struct model){.now = 1000, .committed = 10};
        rng_seed(&m.rng, seed);
        staleness_init(&s, 10);
        for (int i = 0; i < STEPS; i++) {
            model_step(&m);
        }
        assert_true(m.served > STEPS / 50);
        assert_true(m.refused > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_mark_grows_old, setup),
        cmocka_unit_test_setup(test_late_answer, setup),
        cmocka_unit_test_setup(test_stopped, setup),
        cmocka_unit_test_setup(test_answer_to_a_question_given_up, setup),
        cmocka_unit_test_setup(test_not_before_it_is_applied, setup),
        cmocka_unit_test_setup(test_one_question_for_all, setup),
        cmocka_unit_test_setup(test_always_behind, setup),
        cmocka_unit_test_setup(test_younger_mark_stays, setup),
        cmocka_unit_test_setup(test_never_back_behind_what_was_seen, setup),
        cmocka_unit_test_setup(test_nobody_to_ask, setup),
        cmocka_unit_test_setup(test_gives_up, setup),
        cmocka_unit_test_setup(test_asks_now_and_then, setup),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
