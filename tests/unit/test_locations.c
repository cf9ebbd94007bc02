/* fsmaster/locations: log and reports in either order; full reports; liveness; a model in plain
 * arrays driven by the same random events; and memory per chunk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/rng.h"
#include "fsmaster/locations.h"

static struct location find(const struct locations *l, chunk_id chunk)
{
    struct location found;
    assert_true(locations_find(l, chunk, &found));
    return found;
}

static void report(struct locations *l, server_id server, chunk_id chunk, uint64_t version,
                   uint64_t length, bool sealed)
{
    struct location_report r = {{chunk, version}, length, sealed, false};
    assert_int_equal(locations_report(l, server, &r), 0);
}

static void learn(struct locations *l, struct location_fact fact)
{
    locations_learn(l, &fact);
}

static const server_id set[] = {1, 2, 3};

static struct locations *with_live(int servers)
{
    struct locations *l = locations_new(NULL, NULL);
    for (int i = 1; i <= servers; i++) {
        locations_set_live(l, (server_id)i, true);
    }
    return l;
}

static void test_life_of_a_chunk(void **state)
{
    (void)state;
    struct locations *l = with_live(4);
    learn(l, (struct location_fact){{7, 1}, LOCATION_OPEN, 0, 3, set, 3});
    struct location c = find(l, 7);
    assert_int_equal(c.class, LOCATION_CLASS_WRITING);
    assert_int_equal(c.good_count, 3);
    assert_true(c.replicas[0].assumed);
    report(l, 1, 7, 1, 5000, false);
    assert_int_equal(find(l, 7).good_count, 3);
    learn(l,
          (struct location_fact){
              {7, 1}, LOCATION_SEALED, 9000, 3, set, 3}); /* the writer says that all have sealed */
    c = find(l, 7);
    assert_int_equal(c.class, LOCATION_CLASS_OK);
    assert_int_equal(c.good_count, 3);
    report(l, 2, 7, 1, 9000, true);
    assert_int_equal(locations_class_count(l, LOCATION_CLASS_OK), 1);
    locations_remove(l, 2, 7);
    c = find(l, 7);
    assert_int_equal(c.class, LOCATION_CLASS_UNDER);
    report(l, 4, 7, 1, 9000, true);
    report(l, 2, 7, 1, 9000, true);
    c = find(l, 7);
    assert_int_equal(c.class, LOCATION_CLASS_EXTRA); /* the fourth is good too */
    assert_int_equal(c.good_count, 4);
    locations_forget(l, 7);
    assert_false(locations_find(l, 7, &c));
    assert_int_equal(locations_count(l), 0);
    locations_free(l);
}

/* A server tells once that it has sealed a replica, and that may come before the log says it. */
static void test_sealed_before_the_log(void **state)
{
    (void)state;
    struct locations *l = with_live(4);
    learn(l, (struct location_fact){{7, 1}, LOCATION_OPEN, 0, 3, set, 3});
    for (server_id i = 1; i <= 3; i++) {
        report(l, i, 7, 1, 9000, true);
    }
    assert_int_equal(find(l, 7).good_count, 3);
    assert_int_equal(find(l, 7).class, LOCATION_CLASS_WRITING);
    learn(l, (struct location_fact){{7, 1}, LOCATION_SEALED, 9000, 3, set, 3});
    struct location c = find(l, 7);
    assert_int_equal(c.class, LOCATION_CLASS_OK);
    assert_int_equal(c.count, 3);
    for (uint32_t i = 0; i < c.count; i++) {
        assert_true(c.replicas[i].good);
        assert_false(c.replicas[i].assumed); /* else a copy too many would wait for ever */
    }
    report(l, 2, 9, 1, 70, true); /* even before the log has named it */
    learn(l, (struct location_fact){{9, 1}, LOCATION_OPEN, 0, 3, set, 3});
    learn(l, (struct location_fact){{9, 1}, LOCATION_SEALED, 70, 3, set, 3});
    c = find(l, 9);
    assert_int_equal(c.good_count, 3);
    for (uint32_t i = 0; i < c.count; i++) {
        assert_int_equal(c.replicas[i].assumed, c.replicas[i].server != 2);
    }
    report(l, 4, 8, 1, 50, true); /* cut off by a recovery that knows better */
    learn(l, (struct location_fact){{8, 1}, LOCATION_OPEN, 0, 3, set, 3});
    learn(l, (struct location_fact){{8, 2}, LOCATION_SEALING, 0, 3, NULL, 0});
    learn(l, (struct location_fact){{8, 2}, LOCATION_SEALED, 20, 3, NULL, 0});
    assert_int_equal(find(l, 8).good_count, 0);
    locations_free(l);
}

/* A replica that is not reached while its chunk is sealed stays at its old version, and live. */
static void test_missed_the_end(void **state)
{
    (void)state;
    struct locations *l = with_live(3);
    learn(l, (struct location_fact){{7, 1}, LOCATION_OPEN, 0, 3, set, 3});
    report(l, 3, 7, 1, 9000, false); /* as a server that was started again says it */
    learn(l, (struct location_fact){{7, 2}, LOCATION_SEALING, 0, 3, NULL, 0});
    for (server_id i = 1; i <= 2; i++) {
        report(l, i, 7, 2, 9000, false);
    }
    learn(l, (struct location_fact){{7, 2}, LOCATION_SEALED, 9000, 3, NULL, 0});
    for (server_id i = 1; i <= 2; i++) {
        report(l, i, 7, 2, 9000, true);
    }
    struct location c = find(l, 7);
    assert_int_equal(c.class, LOCATION_CLASS_UNDER);
    assert_int_equal(c.count, 3);
    for (uint32_t i = 0; i < c.count; i++) {
        bool third = c.replicas[i].server == 3;
        assert_true(c.replicas[i].live);
        assert_int_equal(c.replicas[i].good, !third);
        assert_int_equal(c.replicas[i].assumed, third);
        assert_int_equal(c.replicas[i].version, third ? 1 : 2);
    }
    locations_free(l);
}

/* A member of the set lists what it has, without the chunk, before the writer's seal is known. */
static void test_lost_before_the_seal(void **state)
{
    (void)state;
    struct locations *l = with_live(3);
    learn(l, (struct location_fact){{7, 1}, LOCATION_OPEN, 0, 3, set, 3});
    for (server_id i = 1; i <= 3; i++) {
        report(l, i, 7, 1, 9000, true);
    }
    locations_report_begin(l, 2);
    locations_report_end(l, 2);
    learn(l, (struct location_fact){{7, 1}, LOCATION_SEALED, 9000, 3, set, 3});
    assert_int_equal(find(l, 7).good_count, 2);
    assert_int_equal(find(l, 7).class, LOCATION_CLASS_UNDER);
    locations_free(l);
}

static void count_care(void *arg, chunk_id chunk, enum location_class class)
{
    assert_int_equal(chunk, 7);
    assert_int_equal(class, LOCATION_CLASS_RUMOURED);
    (*(int *)arg)++;
}

/* A chunk that another member deletes stays known until its servers say that it is gone. */
static void test_disowned(void **state)
{
    (void)state;
    int cared = 0;
    struct locations *l = locations_new(count_care, &cared);
    struct location c;
    for (server_id i = 1; i <= 4; i++) {
        locations_set_live(l, i, true);
    }
    learn(l, (struct location_fact){{7, 2}, LOCATION_SEALED, 9000, 3, set, 3});
    locations_disown(l, 7);
    c = find(l, 7);
    assert_int_equal(c.state, LOCATION_RUMOURED);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.chunk.version, 2);
    assert_int_equal(c.replicas[0].version, 2);
    assert_int_equal(locations_class_count(l, LOCATION_CLASS_RUMOURED), 1);
    assert_true(cared > 0);
    locations_remove(l, 1, 7);
    locations_remove(l, 2, 7);
    assert_int_equal(find(l, 7).count, 1);
    locations_remove(l, 3, 7);
    assert_false(locations_find(l, 7, &c));
    locations_disown(l, 7); /* nothing is known of it */
    learn(l, (struct location_fact){{7, 2}, LOCATION_SEALED, 9000, 3, NULL, 0});
    locations_disown(l, 7); /* nobody holds it */
    assert_int_equal(locations_count(l), 0);
    locations_free(l);
}

static void test_seal_and_go_on(void **state)
{
    (void)state;
    struct locations *l = with_live(3);
    learn(l, (struct location_fact){{7, 1}, LOCATION_OPEN, 0, 3, set, 3});
    report(l, 3, 7, 1, 100, false);
    learn(l, (struct location_fact){{7, 2}, LOCATION_SEALING, 0, 3, set, 0});
    struct location c = find(l, 7);
    assert_int_equal(c.good_count, 0); /* all are of the old version until they are fenced */
    assert_int_equal(c.count, 3);
    report(l, 1, 7, 2, 300, false);
    learn(l, (struct location_fact){{7, 2}, LOCATION_SEALED, 200, 3, NULL, 0});
    c = find(l, 7);
    assert_int_equal(c.class, LOCATION_CLASS_NONE);
    report(l, 1, 7, 2, 200, true); /* cut and sealed */
    report(l, 3, 7, 2, 200, true);
    c = find(l, 7);
    assert_int_equal(c.good_count, 2);
    assert_int_equal(c.class, LOCATION_CLASS_UNDER);
    assert_int_equal(c.count, 3);
    report(l, 2, 7, 1, 150, false); /* too short: stays odd */
    report(l, 1, 7, 2, 200, true);
    assert_int_equal(find(l, 7).good_count, 2);
    locations_free(l);
}

static void test_reports_before_the_log(void **state)
{
    (void)state;
    struct locations *l = with_live(3);
    report(l, 1, 9, 2, 100, true);
    report(l, 2, 9, 2, 100, true);
    report(l, 3, 9, 1, 50, false);
    struct location c = find(l, 9);
    assert_int_equal(c.class, LOCATION_CLASS_RUMOURED);
    assert_int_equal(c.count, 3);
    learn(l, (struct location_fact){{9, 2}, LOCATION_SEALED, 100, 3, NULL, 0});
    c = find(l, 9);
    assert_int_equal(c.good_count, 2);
    assert_int_equal(c.class, LOCATION_CLASS_UNDER);
    locations_set_wanted(l, 9, 2);
    assert_int_equal(find(l, 9).class, LOCATION_CLASS_EXTRA);
    locations_set_wanted(l, 77, 2);
    assert_false(locations_find(l, 77, &c));
    struct location_report bad = {{0, 1}, 0, false, false};
    assert_int_equal(locations_report(l, 1, &bad), ERR_INVALID);
    bad = (struct location_report){{5, 1ULL << 40}, 0, false, false};
    assert_int_equal(locations_report(l, 1, &bad), ERR_INVALID);
    locations_free(l);
}

static void sweep_all(struct locations *l)
{
    while (locations_sweep(l, 1000)) {
    }
}

static void test_full_report(void **state)
{
    (void)state;
    struct locations *l = with_live(2);
    for (chunk_id i = 1; i <= 1000; i++) {
        report(l, 1, i, 1, i, true);
        report(l, 2, i, 1, i, true);
        learn(l, (struct location_fact){{i, 1}, LOCATION_SEALED, i, 3, NULL, 0});
    }
    assert_int_equal(locations_class_count(l, LOCATION_CLASS_UNDER), 1000);
    locations_report_begin(l, 1);
    for (chunk_id i = 1; i <= 1000; i += 2) {
        report(l, 1, i, 1, i, true);
    }
    assert_int_equal(find(l, 2).good_count, 2); /* until the end it is still believed */
    locations_report_begin(l, 1);               /* the server starts over */
    for (chunk_id i = 1; i <= 1000; i += 4) {
        report(l, 1, i, 1, i, true);
    }
    locations_report_end(l, 1);
    assert_int_equal(find(l, 1).good_count, 2);
    assert_int_equal(find(l, 2).good_count, 1); /* at once, without a sweep */
    assert_int_equal(find(l, 3).good_count, 1);
    assert_true(locations_sweep_needed(l));
    sweep_all(l);
    assert_false(locations_sweep_needed(l));
    locations_set_live(l, 2, false);
    sweep_all(l);
    assert_int_equal(locations_class_count(l, LOCATION_CLASS_NONE), 750);
    assert_int_equal(find(l, 1).good_count, 1);
    for (int i = 0; i < 1000; i++) { /* generations go round */
        locations_report_begin(l, 1);
        report(l, 1, 1, 1, 1, true);
        locations_report_end(l, 1);
        if (i % 3 == 0) {
            sweep_all(l);
        }
    }
    sweep_all(l);
    assert_int_equal(find(l, 1).good_count, 1);
    assert_int_equal(find(l, 5).good_count, 0);
    locations_free(l);
}

static void test_out_of_service(void **state)
{
    (void)state;
    struct locations *l = with_live(5);
    learn(l, (struct location_fact){{7, 1}, LOCATION_SEALED, 900, 3, set, 3});
    assert_false(locations_set_admin(l, 2, SERVER_IN_SERVICE));
    assert_true(locations_set_admin(l, 2, SERVER_DECOMMISSIONED));
    assert_true(locations_sweep_needed(l));
    sweep_all(l);
    struct location c = find(l, 7);
    assert_int_equal(c.class, LOCATION_CLASS_UNDER);
    assert_int_equal(c.good_count, 3);
    assert_int_equal(c.counted, 2);
    report(l, 4, 7, 1, 900, true);
    assert_int_equal(find(l, 7).class, LOCATION_CLASS_OK); /* the old one is left where it is */
    (void)locations_set_admin(l, 2, SERVER_IN_SERVICE);
    sweep_all(l);
    assert_int_equal(find(l, 7).class, LOCATION_CLASS_EXTRA); /* now it is one too many */
    locations_remove(l, 4, 7);
    (void)locations_set_admin(l, 2, SERVER_IN_MAINTENANCE);
    locations_set_live(l, 2, false);
    sweep_all(l);
    c = find(l, 7);
    assert_int_equal(c.class, LOCATION_CLASS_OK); /* away, and counted */
    assert_int_equal(c.good_count, 2);
    assert_int_equal(c.counted, 3);
    (void)locations_set_admin(l, 1, SERVER_IN_MAINTENANCE);
    (void)locations_set_admin(l, 3, SERVER_IN_MAINTENANCE);
    sweep_all(l);
    assert_int_equal(find(l, 7).class, LOCATION_CLASS_UNDER); /* nothing serves it */
    report(l, 5, 7, 1, 900, true);
    assert_int_equal(find(l, 7).class, LOCATION_CLASS_OK);
    locations_free(l);
}

static void sum_ids(void *arg, chunk_id chunk)
{
    uint64_t *sum = arg;
    *sum += chunk;
}

static void test_visit_leaving(void **state)
{
    (void)state;
    static const server_id four[] = {1, 2, 4, 5};
    static const uint64_t sums[] = {[3] = 1, [4] = 4, [5] = 4 + 8};
    struct locations *l = with_live(5);
    learn(l, (struct location_fact){{1, 1}, LOCATION_SEALED, 9, 3, set, 3});
    learn(l, (struct location_fact){{2, 1}, LOCATION_SEALED, 9, 3, set, 2});
    learn(l, (struct location_fact){{4, 1}, LOCATION_SEALED, 9, 4, four, 4});
    report(l, 5, 8, 3, 7, true); /* a rumour */
    for (server_id server = 3; server <= 5; server++) {
        uint32_t cursor = 0;
        uint64_t sum = 0;
        (void)locations_set_admin(l, server, SERVER_DECOMMISSIONED);
        while (locations_visit_leaving(l, &cursor, 10, sum_ids, &sum)) {
        }
        assert_int_equal(sum, sums[server]);
        (void)locations_set_admin(l, server, SERVER_IN_SERVICE);
    }
    locations_free(l);
}

/* ---- Model ---- */

enum { CHUNKS = 40, SERVERS = 6 };

struct model {
    bool known[CHUNKS];
    uint64_t version[CHUNKS], length[CHUNKS];
    enum location_state state[CHUNKS];
    struct {
        bool present, sealed, seen;
        uint64_t version, length;
    } replicas[CHUNKS][SERVERS];
    bool live[SERVERS];
    enum server_admin admin[SERVERS];
};

static void model_compare(const struct model *m, const struct locations *l)
{
    uint64_t records = 0;
    for (int c = 0; c < CHUNKS; c++) {
        struct location found;
        bool any = m->known[c];
        for (int s = 0; s < SERVERS; s++) {
            any = any || m->replicas[c][s].present;
        }
        assert_int_equal(locations_find(l, (chunk_id)c + 1, &found), any);
        records += any;
        if (!any || !m->known[c]) {
            continue;
        }
        uint32_t good = 0, serving = 0, counted = 0;
        for (int s = 0; s < SERVERS; s++) {
            bool agrees = m->replicas[c][s].present && m->replicas[c][s].version == m->version[c] &&
                          (m->state[c] == LOCATION_OPEN ||
                           (m->replicas[c][s].sealed && m->replicas[c][s].length == m->length[c]));
            bool serves = agrees && m->live[s] && m->admin[s] == SERVER_IN_SERVICE;
            good += agrees && m->live[s];
            serving += serves;
            counted += serves || (agrees && m->admin[s] == SERVER_IN_MAINTENANCE);
        }
        assert_int_equal(found.good_count, good);
        assert_int_equal(found.serving_count, serving);
        assert_int_equal(found.counted, counted);
        if (m->state[c] == LOCATION_SEALED && !locations_sweep_needed(l)) {
            bool lacks = counted < 3 || serving == 0;
            assert_int_equal(location_lacks(&found), lacks);
            assert_int_equal(found.class == LOCATION_CLASS_NONE, good == 0);
            assert_int_equal(found.class == LOCATION_CLASS_UNDER, good > 0 && lacks);
        }
    }
    assert_int_equal(locations_count(l), records);
}

static void model_learn(struct model *m, struct locations *l, struct rng *rng, int c)
{
    m->version[c] = m->known[c] ? m->version[c] + rng_below(rng, 2) : 1 + rng_below(rng, 2);
    m->known[c] = true;
    m->length[c] = rng_below(rng, 2);
    m->state[c] = LOCATION_SEALED;
    learn(l, (struct location_fact){
                 {(chunk_id)c + 1, m->version[c]}, LOCATION_SEALED, m->length[c], 3, NULL, 0});
}

static void model_step(struct model *m, struct locations *l, struct rng *rng)
{
    int c = (int)rng_below(rng, CHUNKS);
    int s = (int)rng_below(rng, SERVERS);
    switch (rng_below(rng, 9)) {
    case 5:
        m->admin[s] = (enum server_admin)rng_below(rng, SERVER_ADMIN_COUNT);
        (void)locations_set_admin(l, (server_id)s + 1, m->admin[s]);
        sweep_all(l);
        break;
    case 0:
        model_learn(m, l, rng, c);
        break;
    case 1:
        m->known[c] = false;
        memset(m->replicas[c], 0, sizeof(m->replicas[c]));
        locations_forget(l, (chunk_id)c + 1);
        break;
    case 2:
        m->replicas[c][s].present = false;
        locations_remove(l, (server_id)s + 1, (chunk_id)c + 1);
        break;
    case 3:
        m->live[s] = !m->live[s];
        locations_set_live(l, (server_id)s + 1, m->live[s]);
        break;
    case 4:
        locations_report_begin(l, (server_id)s + 1);
        for (int i = 0; i < CHUNKS; i++) {
            if (m->replicas[i][s].present && rng_below(rng, 4) > 0) {
                report(l, (server_id)s + 1, (chunk_id)i + 1, m->replicas[i][s].version,
                       m->replicas[i][s].length, m->replicas[i][s].sealed);
            } else {
                m->replicas[i][s].present = false;
            }
        }
        locations_report_end(l, (server_id)s + 1);
        sweep_all(l);
        break;
    default:
        m->replicas[c][s].present = true;
        m->replicas[c][s].version = 1 + rng_below(rng, 3);
        m->replicas[c][s].length = rng_below(rng, 2);
        m->replicas[c][s].sealed = rng_below(rng, 4) > 0;
        report(l, (server_id)s + 1, (chunk_id)c + 1, m->replicas[c][s].version,
               m->replicas[c][s].length, m->replicas[c][s].sealed);
    }
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng rng;
        rng_seed(&rng, seed);
        struct model m;
        memset(&m, 0, sizeof(m));
        struct locations *l = locations_new(NULL, NULL);
        for (int i = 0; i < 2000; i++) {
            model_step(&m, l, &rng);
            if (i % 10 == 0) {
                model_compare(&m, l);
            }
        }
        sweep_all(l);
        model_compare(&m, l);
        locations_free(l);
    }
}

static void test_memory(void **state)
{
    (void)state;
    enum { COUNT = 1000000 };
    struct locations *l = with_live(20);
    size_t before = locations_memory(l);
    double most = 0;
    for (chunk_id i = 1; i <= COUNT; i++) {
        const server_id where[] = {i % 20 + 1, (i + 7) % 20 + 1, (i + 13) % 20 + 1};
        learn(l, (struct location_fact){{i, 1}, LOCATION_SEALED, 64 << 20, 3, where, 3});
        if (i > COUNT / 4 && i % 1000 == 0) {
            double each = (double)(locations_memory(l) - before) / (double)i;
            most = each > most ? each : most;
        }
    }
    print_message("bytes per chunk: %.1f at most\n", most);
    assert_true(most <= 64.0);
    for (chunk_id i = 1; i <= COUNT; i++) {
        locations_forget(l, i);
    }
    assert_true(locations_memory(l) - before < (size_t)COUNT * 8);
    locations_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_chunk),
        cmocka_unit_test(test_sealed_before_the_log),
        cmocka_unit_test(test_missed_the_end),
        cmocka_unit_test(test_lost_before_the_seal),
        cmocka_unit_test(test_disowned),
        cmocka_unit_test(test_seal_and_go_on),
        cmocka_unit_test(test_reports_before_the_log),
        cmocka_unit_test(test_full_report),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_out_of_service),
        cmocka_unit_test(test_visit_leaving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
