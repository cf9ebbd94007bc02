/* fsmaster/repair: order and limits of the queue, and what the plan never does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fsmaster/repair.h"

static void test_order(void **state)
{
    (void)state;
    struct repair_queue *q = repair_queue_new();
    repair_queue_add(q, 1, 2, 10);
    repair_queue_add(q, 2, 1, 30);
    repair_queue_add(q, 3, 1, 20);
    repair_queue_add(q, 4, 2, 40);
    repair_queue_add(q, 4, 1, 50); /* worse now, but its age stays */
    assert_int_equal(repair_queue_take(q, 60), 3);
    assert_int_equal(repair_queue_take(q, 60), 2);
    assert_int_equal(repair_queue_take(q, 60), 4);
    repair_queue_drop(q, 4);
    repair_queue_drop(q, 99);
    assert_int_equal(repair_queue_taken(q), 2);
    assert_int_equal(repair_queue_waiting(q), 1);
    repair_queue_finish(q, 3, 60);
    repair_queue_add(q, 2, 1, 61); /* while it is taken: once more afterwards */
    repair_queue_finish(q, 2, 62);
    assert_int_equal(repair_queue_take(q, 62), 2);
    repair_queue_finish(q, 2, 63);
    assert_int_equal(repair_queue_take(q, 63), 1);
    assert_int_equal(repair_queue_take(q, 63), 0);
    repair_queue_free(q);
}

static void test_put_off(void **state)
{
    (void)state;
    struct repair_queue *q = repair_queue_new();
    time_ms now = 1000;
    repair_queue_add(q, 1, 1, now);
    for (time_ms delay = REPAIR_RETRY_MS_MIN; delay <= 4000; delay *= 2) {
        assert_int_equal(repair_queue_take(q, now), 1);
        repair_queue_put_off(q, 1, now);
        assert_int_equal(repair_queue_take(q, now + delay - 1), 0);
        now += delay;
    }
    assert_int_equal(repair_queue_take(q, now), 1);
    repair_queue_put_off(q, 1, now);
    repair_queue_add(q, 1, 1, now);
    assert_int_equal(repair_queue_take(q, now), 0); /* nothing got worse */
    repair_queue_hurry(q);
    assert_int_equal(repair_queue_take(q, now), 1);
    repair_queue_put_off(q, 1, now);
    repair_queue_add(q, 1, 0, now); /* worse: due */
    assert_int_equal(repair_queue_take(q, now), 1);
    repair_queue_free(q);
}

static void test_wait(void **state)
{
    (void)state;
    struct repair_queue *q = repair_queue_new();
    time_ms now = 1000;
    repair_queue_add(q, 1, 1, now);
    for (int i = 0; i < 20; i++) { /* waiting for a busy server is no reason for longer delays */
        assert_int_equal(repair_queue_take(q, now), 1);
        repair_queue_wait(q, 1, now);
        assert_int_equal(repair_queue_taken(q), 0);
        assert_int_equal(repair_queue_take(q, now + REPAIR_BUSY_MS - 1), 0);
        now += REPAIR_BUSY_MS;
    }
    assert_int_equal(repair_queue_take(q, now), 1);
    repair_queue_put_off(q, 1, now);
    assert_int_equal(repair_queue_take(q, now + REPAIR_RETRY_MS_MIN), 1);
    repair_queue_drop(q, 1);
    repair_queue_wait(q, 1, now); /* dropped meanwhile */
    assert_int_equal(repair_queue_waiting(q), 0);
    repair_queue_free(q);
}

static void test_limit(void **state)
{
    (void)state;
    struct repair_queue *q = repair_queue_new();
    for (chunk_id i = 1; i <= REPAIR_COUNT_MAX + 5; i++) {
        repair_queue_add(q, i, 1, i);
    }
    for (chunk_id i = 1; i <= REPAIR_COUNT_MAX; i++) {
        assert_int_equal(repair_queue_take(q, 1000), i);
    }
    assert_int_equal(repair_queue_take(q, 1000), 0);
    repair_queue_finish(q, 3, 1000);
    assert_int_equal(repair_queue_take(q, 1000), REPAIR_COUNT_MAX + 1);
    repair_queue_free(q);
}

/* ---- The plan ---- */

static struct location sealed(uint32_t wanted)
{
    return (struct location){
        .chunk = {1, 2}, .state = LOCATION_SEALED, .length = 100, .wanted = wanted};
}

static void add(struct location *l, struct location_replica replica)
{
    replica.live = true;
    replica.agrees = replica.agrees || replica.good;
    l->good_count += replica.good;
    l->serving_count += location_serves(&replica);
    l->counted += location_counts(&replica);
    l->replicas[l->count++] = replica;
}

static void add_good(struct location *l, server_id server, bool assumed)
{
    add(l, (struct location_replica){.server = server,
                                     .version = 2,
                                     .length = 100,
                                     .good = true,
                                     .sealed = true,
                                     .assumed = assumed});
}

static struct repair_plan decide(const struct location *l, bool all_heard, bool no_target)
{
    struct repair_view view = {.chunk = l, .all_heard = all_heard, .no_target = no_target};
    struct repair_plan plan;
    repair_decide(&view, &plan);
    return plan;
}

static void test_plan_copies_first(void **state)
{
    (void)state;
    struct location l = sealed(3);
    assert_int_equal(decide(&l, true, false).kind, REPAIR_WAIT); /* none to copy from */
    add_good(&l, 5, true);
    add(&l, (struct location_replica){.server = 6, .version = 1, .length = 50});
    struct repair_plan plan = decide(&l, true, false);
    assert_int_equal(plan.kind, REPAIR_COPY);
    assert_int_equal(plan.source_count, 1);
    assert_int_equal(plan.sources[0], 5);
    /* No room: the odd one goes only once the good one is certain, and everybody was heard. */
    assert_int_equal(decide(&l, true, true).kind, REPAIR_WAIT);
    l.replicas[0].assumed = false;
    assert_int_equal(decide(&l, false, true).kind, REPAIR_WAIT);
    plan = decide(&l, true, true);
    assert_int_equal(plan.kind, REPAIR_DELETE);
    assert_int_equal(plan.server, 6);
    assert_int_equal(plan.version, 1);
    assert_int_equal(plan.copies_left, 1);
}

static void test_plan_adopts(void **state)
{
    (void)state;
    struct location l = sealed(2);
    add_good(&l, 5, false);
    add(&l, (struct location_replica){.server = 6, .version = 1, .length = 100});
    struct repair_plan plan = decide(&l, false, false);
    assert_int_equal(plan.kind, REPAIR_ADOPT);
    assert_int_equal(plan.server, 6);
    l.replicas[1].damaged = true;
    assert_int_equal(decide(&l, true, false).kind, REPAIR_COPY);
    l.replicas[1] = (struct location_replica){
        .server = 6, .version = 2, .length = 120, .sealed = true, .live = true};
    assert_int_equal(decide(&l, true, false).kind,
                     REPAIR_COPY); /* sealed elsewhere: never adopted */
}

/* A replica that was open when it was last heard of, and whose server missed the end: nothing is
 * known of it but its version, and nobody will ever tell more unless the server is asked. */
static void test_plan_of_one_that_missed_the_end(void **state)
{
    (void)state;
    struct location l = sealed(3);
    struct repair_plan plan;
    struct repair_view view = {.chunk = &l, .all_heard = true};
    add_good(&l, 5, false);
    add_good(&l, 6, false);
    add(&l, (struct location_replica){.server = 7, .version = 1, .assumed = true});
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_ADOPT);
    assert_int_equal(plan.server, 7);
    assert_int_equal(plan.version, 1);
    view.no_adoption = true; /* it did not answer: others may */
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_COPY);
    view.no_target = true; /* nor can others: it makes room for a copy */
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_DELETE);
    assert_int_equal(plan.server, 7);
    view.no_target = view.no_adoption = false;
    add_good(&l, 8, false);
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_DELETE); /* not needed any more */
    assert_int_equal(plan.server, 7);
    assert_int_equal(plan.version, 1);
    l.replicas[2].version = 2; /* fenced, and not reached since */
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_DELETE);
    l.replicas[2].sealed = true; /* its server is about to say so */
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_NOTHING);
    l = sealed(3); /* nobody was told to seal it: the leader that decided the length is gone */
    for (server_id i = 1; i <= 3; i++) {
        add(&l, (struct location_replica){.server = i, .version = 2, .assumed = true});
    }
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_ADOPT);
}

static void test_plan_deletes_only_when_sure(void **state)
{
    (void)state;
    struct location l = sealed(2);
    add_good(&l, 5, false);
    add_good(&l, 6, true);
    assert_int_equal(decide(&l, true, false).kind, REPAIR_NOTHING);
    add_good(&l, 7, false);
    assert_int_equal(decide(&l, true, false).kind, REPAIR_WAIT); /* one of the three is assumed */
    l.replicas[1].assumed = false;
    assert_int_equal(decide(&l, false, false).kind, REPAIR_WAIT);
    struct repair_plan plan = decide(&l, true, false);
    assert_int_equal(plan.kind, REPAIR_DELETE);
    assert_int_equal(plan.copies_left, 2);
    add(&l, (struct location_replica){.server = 8, .version = 1, .length = 10});
    plan = decide(&l, true, false);
    assert_int_equal(plan.server, 8); /* odd ones before surplus ones */
    l.replicas[3].version = 3;        /* ahead of the log: cannot be, so it is left alone */
    plan = decide(&l, true, false);
    assert_int_not_equal(plan.server, 8);
}

static void test_plan_of_others(void **state)
{
    (void)state;
    struct location l = sealed(2);
    l.state = LOCATION_OPEN;
    assert_int_equal(decide(&l, true, false).kind, REPAIR_NOTHING);
    l.state = LOCATION_RUMOURED;
    add_good(&l, 9, false);
    assert_int_equal(decide(&l, false, false).kind, REPAIR_WAIT);
    struct repair_plan plan = decide(&l, true, false);
    assert_int_equal(plan.kind, REPAIR_DELETE);
    assert_int_equal(plan.server, 9);
}

static enum repair_reason why(const struct repair_question *base, const struct location *l,
                              bool all_heard, bool no_target)
{
    struct repair_view view = {.chunk = l, .all_heard = all_heard, .no_target = no_target};
    struct repair_question question = *base;
    question.view = &view;
    return repair_explain(&question);
}

static void test_reasons(void **state)
{
    (void)state;
    const struct repair_question calm = {.settled = true};
    struct location l = sealed(2);
    assert_int_equal(why(&calm, &l, false, false), REPAIR_FOR_REPORTS); /* unheard */
    assert_int_equal(why(&calm, &l, true, false), REPAIR_FOR_HOLDER);   /* missing */
    add_good(&l, 5, false);
    assert_int_equal(why(&calm, &l, true, false), REPAIR_FOR_TURN);
    assert_int_equal(why(&calm, &l, true, true), REPAIR_FOR_TARGET);
    struct repair_question q = {.settled = false};
    assert_int_equal(why(&q, &l, true, false), REPAIR_FOR_REPORTS);
    q = (struct repair_question){.settled = true, .targets_busy = true};
    assert_int_equal(why(&q, &l, true, false), REPAIR_FOR_BUSY_TARGET);
    q = (struct repair_question){.settled = true, .sources_busy = true};
    assert_int_equal(why(&q, &l, true, false), REPAIR_FOR_BUSY_SOURCE);
    q = (struct repair_question){.settled = true, .turn = REPAIR_TURN_TAKEN};
    assert_int_equal(why(&q, &l, true, false), REPAIR_FOR_END);
    add_good(&l, 6, false);
    assert_int_equal(why(&calm, &l, true, false), REPAIR_FOR_NOTHING);
    add_good(&l, 7, false); /* one too many */
    assert_int_equal(why(&calm, &l, true, false), REPAIR_FOR_TURN);
    assert_int_equal(why(&calm, &l, false, false), REPAIR_FOR_REPORTS);
    l.state = LOCATION_OPEN;
    assert_int_equal(why(&calm, &l, true, false), REPAIR_FOR_WRITER);
    l.state = LOCATION_SEALING;
    assert_int_equal(why(&calm, &l, true, false), REPAIR_FOR_SEAL);
    l.state = LOCATION_RUMOURED;
    assert_int_equal(why(&calm, &l, true, false), REPAIR_FOR_LOG);
    for (int i = 0; i < REPAIR_REASON_COUNT; i++) {
        assert_non_null(repair_reason_text((enum repair_reason)i));
        assert_non_null(repair_reason_name((enum repair_reason)i));
    }
}

/* A good copy on a server that is out of service. */
static void add_leaving(struct location *l, server_id server, enum server_admin admin)
{
    add(l, (struct location_replica){.server = server,
                                     .version = 2,
                                     .length = 100,
                                     .good = true,
                                     .sealed = true,
                                     .admin = admin});
}

static void test_plan_of_decommissioned(void **state)
{
    (void)state;
    struct location l = sealed(2);
    add_good(&l, 5, false);
    add_leaving(&l, 6, SERVER_DECOMMISSIONED);
    struct repair_plan plan = decide(&l, true, false);
    assert_int_equal(plan.kind, REPAIR_COPY); /* it does not count ... */
    assert_int_equal(plan.source_count, 2);   /* ... but is copied from */
    add_good(&l, 7, false);
    assert_int_equal(decide(&l, true, false).kind, REPAIR_NOTHING); /* nor is it surplus */
    add_good(&l, 8, false);
    struct repair_view view = {.chunk = &l, .all_heard = true, .surplus = 6};
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_DELETE);
    assert_int_equal(plan.server, 8); /* of those that serve, whatever was asked */
    l = sealed(2);
    add_leaving(&l, 5, SERVER_DECOMMISSIONED);
    add_leaving(&l, 6, SERVER_DECOMMISSIONED);
    add(&l, (struct location_replica){.server = 7, .version = 1, .length = 50});
    assert_int_equal(decide(&l, true, false).kind, REPAIR_COPY);
    l = sealed(1);
    add_good(&l, 5, false);
    add_leaving(&l, 6, SERVER_DECOMMISSIONED);
    add(&l, (struct location_replica){.server = 7, .version = 1, .length = 50});
    assert_int_equal(decide(&l, true, false).server, 7); /* as always: what is odd goes */
}

static void test_plan_in_maintenance(void **state)
{
    (void)state;
    struct location l = sealed(3);
    add_good(&l, 5, false);
    add_leaving(&l, 6, SERVER_IN_MAINTENANCE);
    add_leaving(&l, 7, SERVER_IN_MAINTENANCE);
    assert_int_equal(decide(&l, true, false).kind, REPAIR_NOTHING);
    l.replicas[1].good = l.replicas[1].live = false; /* down: it still counts */
    assert_int_equal(decide(&l, true, false).kind, REPAIR_NOTHING);
    add(&l, (struct location_replica){.server = 8, .version = 1, .length = 50});
    assert_int_equal(decide(&l, true, false).kind, REPAIR_WAIT); /* one copy is no reason */
    const struct repair_question calm = {.settled = true};
    assert_int_equal(why(&calm, &l, true, false), REPAIR_FOR_AWAY);
    l = sealed(2);
    add_leaving(&l, 6, SERVER_IN_MAINTENANCE);
    add_leaving(&l, 7, SERVER_IN_MAINTENANCE);
    assert_int_equal(decide(&l, true, false).kind, REPAIR_COPY); /* nothing would serve it */
    add_good(&l, 8, false);
    assert_int_equal(decide(&l, true, false).kind, REPAIR_NOTHING);
}

/* This master has not heard what a server in maintenance holds. */
static void test_plan_with_servers_away(void **state)
{
    (void)state;
    struct location l = sealed(3);
    struct repair_plan plan;
    struct repair_view view = {.chunk = &l, .all_heard = true, .away = 1};
    add_good(&l, 5, false);
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_COPY); /* one server cannot have both that lack */
    add_good(&l, 6, false);
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_WAIT);
    struct repair_question q = {.view = &view, .settled = true};
    assert_int_equal(repair_explain(&q), REPAIR_FOR_AWAY);
    view.away = 0;
    repair_decide(&view, &plan);
    assert_int_equal(plan.kind, REPAIR_COPY);
    view.no_target = view.no_room = true;
    assert_int_equal(repair_explain(&q), REPAIR_FOR_ROOM);
    view.no_room = false;
    assert_int_equal(repair_explain(&q), REPAIR_FOR_TARGET);
    assert_true(repair_reason_passes(REPAIR_FOR_TURN));
    assert_false(repair_reason_passes(REPAIR_FOR_TARGET));
}

static void test_look(void **state)
{
    (void)state;
    struct repair_queue *q = repair_queue_new();
    struct repair_place place;
    repair_queue_look(q, 1, &place);
    assert_int_equal(place.turn, REPAIR_TURN_NONE);
    repair_queue_add(q, 1, 2, 10);
    repair_queue_look(q, 1, &place);
    assert_int_equal(place.turn, REPAIR_TURN_DUE);
    assert_int_equal(place.since_ms, 10);
    assert_int_equal(repair_queue_take(q, 20), 1);
    repair_queue_look(q, 1, &place);
    assert_int_equal(place.turn, REPAIR_TURN_TAKEN);
    repair_queue_put_off(q, 1, 20);
    repair_queue_look(q, 1, &place);
    assert_int_equal(place.turn, REPAIR_TURN_LATER);
    assert_int_equal(place.put_offs, 1);
    assert_int_equal(place.due_ms, 20 + REPAIR_RETRY_MS_MIN);
    assert_int_equal(place.since_ms, 10);
    repair_queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_look),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_plan_of_decommissioned),
        cmocka_unit_test(test_plan_in_maintenance),
        cmocka_unit_test(test_plan_with_servers_away),
        cmocka_unit_test(test_put_off),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_plan_copies_first),
        cmocka_unit_test(test_plan_adopts),
        cmocka_unit_test(test_plan_of_one_that_missed_the_end),
        cmocka_unit_test(test_plan_deletes_only_when_sure),
        cmocka_unit_test(test_plan_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
