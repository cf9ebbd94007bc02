/* fsmaster/leaving: which chunks still need a server that is out of service, counted in rounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fsmaster/leaving.h"

static const server_id set[] = {1, 2, 3};

static void learn(struct locations *l, chunk_id chunk, enum location_state state, uint32_t servers)
{
    struct location_fact fact = {{chunk, 1}, state, state == LOCATION_SEALED ? 100 : 0,
                                 3,          set,   servers};
    locations_learn(l, &fact);
}

static void copied(struct locations *l, server_id server, chunk_id chunk)
{
    struct location_report report = {{chunk, 1}, 100, true, false};
    assert_int_equal(locations_report(l, server, &report), 0);
}

static struct leaving_count count(struct leaving *v, server_id server)
{
    struct leaving_count found;
    leaving_restart(v);
    assert_false(leaving_find(v, server, &found)); /* nothing is said before a round is over */
    while (!leaving_step(v, 1000)) {
    }
    assert_true(leaving_find(v, server, &found));
    return found;
}

static struct locations *five_servers(void)
{
    struct locations *l = locations_new(NULL, NULL);
    for (server_id i = 1; i <= 5; i++) {
        locations_set_live(l, i, true);
    }
    return l;
}

static void test_decommissioned(void **state)
{
    (void)state;
    struct locations *l = five_servers();
    struct leaving *v = leaving_new(l);
    for (chunk_id i = 1; i <= 20; i++) {
        learn(l, i, LOCATION_SEALED, 3);
    }
    learn(l, 30, LOCATION_OPEN, 3);
    assert_int_equal(count(v, 3).chunks, 0); /* in service: nothing to count */
    (void)locations_set_admin(l, 3, SERVER_DECOMMISSIONED);
    struct leaving_count c = count(v, 3);
    assert_int_equal(c.chunks, 21);
    assert_int_equal(c.needed, 20);
    assert_int_equal(c.writing, 1);
    assert_int_equal(c.last, 0);
    assert_int_equal(c.sample_count, LEAVING_SAMPLE_COUNT);
    for (chunk_id i = 1; i <= 19; i++) {
        copied(l, 4, i);
    }
    c = count(v, 3);
    assert_int_equal(c.needed, 1);
    assert_int_equal(c.sample_count, 1);
    assert_int_equal(c.samples[0], 20);
    locations_set_live(l, 1, false);
    locations_set_live(l, 2, false);
    c = count(v, 3);
    assert_int_equal(c.needed, 20); /* others were lost meanwhile */
    assert_int_equal(c.last, 1);    /* only chunk 20 has no copy on 4 */
    (void)locations_set_admin(l, 4, SERVER_DECOMMISSIONED);
    assert_int_equal(count(v, 4).chunks, 19);
    assert_int_equal(count(v, 4).last, 0); /* 3 has them, too */
    (void)locations_set_admin(l, 3, SERVER_IN_SERVICE);
    assert_int_equal(count(v, 3).chunks, 0);
    leaving_free(v);
    locations_free(l);
}

static void test_in_maintenance(void **state)
{
    (void)state;
    struct locations *l = five_servers();
    struct leaving *v = leaving_new(l);
    learn(l, 1, LOCATION_SEALED, 3);
    learn(l, 2, LOCATION_SEALED, 1); /* on server 1 alone */
    learn(l, 3, LOCATION_OPEN, 3);
    (void)locations_set_admin(l, 1, SERVER_IN_MAINTENANCE);
    struct leaving_count c = count(v, 1);
    assert_int_equal(c.chunks, 3);
    assert_int_equal(c.needed, 1); /* that others have too few copies is no matter of this server */
    assert_int_equal(c.samples[0], 2);
    copied(l, 2, 2);
    assert_int_equal(count(v, 1).needed, 0);
    locations_set_live(l, 1, false); /* it is away: its copies still count */
    assert_int_equal(count(v, 1).chunks, 3);
    (void)locations_set_admin(l, 2, SERVER_IN_MAINTENANCE);
    assert_int_equal(count(v, 2).needed, 1); /* the copy of chunk 2 */
    leaving_free(v);
    locations_free(l);
}

/* What was said stays until the next round is complete. */
/* While a recovery fences the holders of the version before, and until one of them says that its
 * copy is cut, nobody has a copy as it should be; each may have the bytes that decide. */
static void test_recovery_needs_the_holders_of_before(void **state)
{
    (void)state;
    struct locations *l = five_servers();
    struct leaving *v = leaving_new(l);
    struct location_report held = {{1, 1}, 70, false, false};
    struct location_report cut = {{1, 2}, 70, true, false};
    learn(l, 1, LOCATION_OPEN, 3);
    (void)locations_set_admin(l, 3, SERVER_DECOMMISSIONED);
    assert_int_equal(locations_report(l, 3, &held), 0);
    assert_int_equal(count(v, 3).writing, 1);
    locations_learn(l, &(struct location_fact){.chunk = {1, 2}, .state = LOCATION_SEALING});
    assert_int_equal(count(v, 3).writing, 1);
    locations_learn(l, &(struct location_fact){
                           .chunk = {1, 2}, .state = LOCATION_SEALED, .length = 70, .wanted = 3});
    struct leaving_count c = count(v, 3);
    assert_int_equal(c.needed, 1);
    assert_int_equal(c.last, 1);
    for (server_id i = 1; i <= 2; i++) { /* two good ones, and one is still to be copied */
        assert_int_equal(locations_report(l, i, &cut), 0);
    }
    assert_int_equal(count(v, 3).needed, 0); /* its old copy is worth nothing any more */
    leaving_free(v);
    locations_free(l);
}

static void test_rounds(void **state)
{
    (void)state;
    struct locations *l = five_servers();
    struct leaving *v = leaving_new(l);
    struct leaving_count c;
    for (chunk_id i = 1; i <= 5000; i++) {
        learn(l, i, LOCATION_SEALED, 3);
    }
    (void)locations_set_admin(l, 1, SERVER_DECOMMISSIONED);
    assert_int_equal(count(v, 1).needed, 5000);
    for (chunk_id i = 1; i <= 5000; i++) {
        copied(l, 5, i);
    }
    int steps = 0;
    while (!leaving_step(v, 1000)) {
        assert_true(leaving_find(v, 1, &c));
        assert_int_equal(c.needed, 5000);
        steps++;
    }
    assert_true(steps > 3);
    assert_true(leaving_find(v, 1, &c));
    assert_int_equal(c.needed, 0);
    assert_int_equal(c.chunks, 5000);
    leaving_free(v);
    locations_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decommissioned),
        cmocka_unit_test(test_in_maintenance),
        cmocka_unit_test(test_recovery_needs_the_holders_of_before),
        cmocka_unit_test(test_rounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
